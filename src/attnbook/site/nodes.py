"""What the course puts into a document, and how each builder writes it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from attnbook.figures.embedded import CLOSING, LiveFigure, Table, opening
from attnbook.site.svg import chart_html

__all__ = ["block", "chart", "fold_title", "live", "live_figure", "register", "tables"]

logger = logging.getLogger(__name__)


class live_figure(nodes.General, nodes.Element):
    """What a script brings to life; its children are for where nothing moves, mostly tables."""


class chart(nodes.General, nodes.Element):
    """An SVG that becomes part of the page."""


class block(nodes.General, nodes.Element):
    """A part of a question; in HTML an element of its own, ``tag``."""


class fold_title(nodes.Part, nodes.TextElement):
    """What a fold says while it is closed; elsewhere than in HTML a paragraph."""


def live(figure: LiveFigure, fallback: list[nodes.Node], alt: str = "") -> live_figure:
    """A figure with what stands there where it does not move."""
    return live_figure("", *fallback, kind=figure.name, data=figure.data_element(), alt=alt)


def tables(figure: LiveFigure) -> list[nodes.Node]:
    """A figure's tables, each below its title."""
    found: list[nodes.Node] = []
    for one in figure.tables():
        if one.title:
            title = nodes.paragraph("", "", nodes.strong("", one.title), nodes.Text(": "))
            title += nodes.literal("", one.code)
            found.append(title)
        found.append(_table(one))
    return found


def _table(table: Table) -> nodes.table:
    group = nodes.tgroup(cols=len(table.head))
    for column, cells in enumerate(zip(table.head, *table.rows, strict=True)):
        # Sphinx's text writer never ends on a column that is narrower than its words.
        width = max(map(len, cells))
        group += nodes.colspec(colwidth=width, **({"stub": 1} if column == 0 else {}))

    def row(cells: list[str]) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph("", cell)) for cell in cells]
        return nodes.row("", *entries)

    group += nodes.thead("", row(table.head))
    group += nodes.tbody("", *(row(cells) for cells in table.rows))
    # A token such as 'd is shown as it is, without typographer's quotes.
    return nodes.table("", group, support_smartquotes=False)


# ----------------------------------------------------------------------------------- builders


def _visit_live_html(self: Any, node: live_figure) -> None:
    self.body.append(opening(node["kind"], node["data"], node["alt"], node["ids"]) + "\n")


def _depart_live_html(self: Any, _node: live_figure) -> None:
    self.body.append(f"{CLOSING}\n")


def _visit_block_html(self: Any, node: block) -> None:
    self.body.append(self.starttag(node, node["tag"]))


def _depart_block_html(self: Any, node: block) -> None:
    self.body.append(f"</{node['tag']}>\n")


def _visit_fold_title_html(self: Any, node: fold_title) -> None:
    self.body.append(self.starttag(node, "summary", ""))


def _depart_fold_title_html(self: Any, _node: fold_title) -> None:
    self.body.append("</summary>\n")


def _visit_paragraph(self: Any, node: nodes.Element) -> None:
    self.visit_paragraph(node)


def _depart_paragraph(self: Any, node: nodes.Element) -> None:
    self.depart_paragraph(node)


def _pass(_self: Any, _node: nodes.Element) -> None:
    """Nothing around the children."""


def _visit_chart_html(self: Any, node: chart) -> None:
    self.attnbook_charts = getattr(self, "attnbook_charts", 0) + 1
    try:
        self.body.append(chart_html(node["svg"], node["alt"], f"chart{self.attnbook_charts}-"))
    except ValueError as error:
        logger.warning("chart: %s", error, location=node)
    raise nodes.SkipNode


def _visit_chart_latex(self: Any, node: chart) -> None:
    self.body.append(self.encode(f"[{node['alt']}]"))
    raise nodes.SkipNode


def _visit_chart_text(self: Any, node: chart) -> None:
    self.new_state()
    self.add_text(f"[{node['alt']}]")
    self.end_state()
    raise nodes.SkipNode


def _visit_chart_plain(self: Any, node: chart) -> None:
    self.body.append(f"[{node['alt']}]")
    raise nodes.SkipNode


def register(app: Sphinx) -> None:
    """Tell Sphinx how its builders write each node."""
    others = ("latex", "text", "man", "texinfo")
    bare = dict.fromkeys(others, (_pass, _pass))
    paragraphs = dict.fromkeys(others, (_visit_paragraph, _depart_paragraph))
    app.add_node(live_figure, html=(_visit_live_html, _depart_live_html), **bare)
    app.add_node(block, html=(_visit_block_html, _depart_block_html), **bare)
    app.add_node(fold_title, html=(_visit_fold_title_html, _depart_fold_title_html), **paragraphs)
    app.add_node(
        chart,
        html=(_visit_chart_html, None),
        latex=(_visit_chart_latex, None),
        text=(_visit_chart_text, None),
        man=(_visit_chart_plain, None),
        texinfo=(_visit_chart_plain, None),
    )
