"""What every figure that moves has: data, script, styles, and tables for where no script runs.

A figure lies in three files: ``<name>.py`` checks what is to be drawn, ``<name>.js`` draws it, and
``<name>.css`` styles it. Scripts import what they share from ``shared.js``; this module joins the
two into one text, so that a page or a widget needs no second request. No script needs a library or
a network.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib import resources
from typing import Any, ClassVar, NamedTuple

__all__ = ["CLOSING", "LiveFigure", "Table", "asset", "opening"]

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./shared\.js";\n', re.MULTILINE)

#: Ends what :func:`opening` begins.
CLOSING = "</div></div>"


class Table(NamedTuple):
    """A table that stands in for a figure where no script runs.

    Attributes:
        head: the names of the columns.
        rows: a list of cells for each row; the first cell names the row.
        title: what stands above it, where a figure has several tables.
        code: after the title, set as code.
    """

    head: list[str]
    rows: list[list[str]]
    title: str = ""
    code: str = ""

    def html(self) -> str:
        """The table as HTML."""
        above = ""
        if self.title:
            above = (
                f"<p><strong>{escape(self.title)}</strong>: <code>{escape(self.code)}</code></p>"
            )
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.head)
        body = "".join(
            "<tr>"
            + f'<th scope="row">{escape(first)}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for first, *cells in self.rows
        )
        return f"{above}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class LiveFigure(ABC):
    """A figure that its script brings to life in a page, or as a widget.

    Attributes:
        name: of its script and of its class in HTML.
        sheets: the names of its style sheets; a later one overrules an earlier one.
    """

    name: ClassVar[str]
    sheets: ClassVar[tuple[str, ...]]

    @abstractmethod
    def data(self) -> Any:
        """What the script draws, in the types of JSON."""

    def tables(self) -> list[Table]:
        """The same for where no script runs: on paper, or by a reader's choice."""
        return []

    @classmethod
    def styles(cls) -> str:
        """All its style sheets as one."""
        return "".join(asset(f"{sheet}.css") for sheet in cls.sheets)

    @classmethod
    def module(cls) -> str:
        """Its script and what it shares with others, as one JavaScript module."""
        shared = re.sub(r"^export ", "", asset("shared.js"), flags=re.MULTILINE)
        return shared + _IMPORT.sub("", asset(f"{cls.name}.js"))

    @classmethod
    def script(cls) -> str:
        """A classic script that brings every figure of this kind in its page to life.

        A browser refuses module scripts from files that lie beside a page opened without a server
        (``file://``), so the module is wrapped into a function instead.
        """
        module = re.sub(r"^export (default .*\n)?", "", cls.module(), flags=re.MULTILINE)
        return f'(() => {{\n{module}\nbringToLife("{cls.name}", embed);\n}})();\n'

    def data_element(self) -> str:
        """A ``<script>`` element with the data as JSON, which cannot end that element.

        Raises:
            ValueError: a number that JSON does not have (infinity, or not a number).
        """
        text = json.dumps(self.data(), ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
        return f'<script type="application/json">{text}</script>'

    def element(self, label: str = "") -> str:
        """The figure with its tables; the page must have its script and styles."""
        tables = "".join(table.html() for table in self.tables())
        return opening(self.name, self.data_element(), label) + tables + CLOSING

    def html(self, note: str = "") -> str:
        """A piece of a page that needs nothing beside it; ``note`` is a sentence below.

        The same figure gives the same text every time, so that a stored notebook output can be
        compared; ids are given out in the page.
        """
        below = f'<p class="attn-below">{escape(note)}</p>' if note else ""
        return (
            f"<style>\n{self.styles()}</style>\n{self.element()}{below}\n"
            f"<script>\n{self.script()}</script>"
        )


def opening(name: str, data_element: str, label: str = "", ids: Iterable[str] = ()) -> str:
    """How a figure begins in HTML; its fallback and :data:`CLOSING` follow.

    Args:
        name: of the kind of figure.
        data_element: from :meth:`LiveFigure.data_element`.
        label: what the figure shows, for a screen reader.
        ids: that a link can lead to; an element takes the first.
    """
    attributes = f' data-label="{escape(label)}"' if label else ""
    attributes += "".join(f' id="{one}"' for one in [*ids][:1])
    return f'<div class="attn-{name}-figure"{attributes}>{data_element}<div class="attn-fallback">'


@cache
def asset(name: str) -> str:
    """A script or style sheet of this folder, as text."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
