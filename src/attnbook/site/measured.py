"""Numbers of the measurements in ``book/results``, as a page quotes them."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from attnbook.site.directive import Directive

__all__ = ["look_up", "reach", "register"]

logger = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def _results(path: Path, _changed: int) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def reach(folder: Path, name: str, dotted: str) -> Any:
    """What stands in ``<name>.json`` under keys (or positions in a list) separated by dots."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"there is no {path.name} in {folder.name}; run {name}.py there")
    try:
        value = _results(path, path.stat().st_mtime_ns)
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    reached: list[str] = []
    for key in dotted.split("."):
        where = ".".join(reached) or path.name
        if isinstance(value, dict):
            if key not in value:
                raise ValueError(f"no {key!r} in {where}, which has {', '.join(map(str, value))}")
            value = value[key]
        elif isinstance(value, list):
            if not key.isdecimal() or int(key) >= len(value):
                raise ValueError(f"no position {key!r} in {where}, a list of {len(value)}")
            value = value[int(key)]
        else:
            raise ValueError(f"no {key!r} in {where}, which is {value!r}")
        reached.append(key)
    return value


def look_up(folder: Path, target: str) -> str:
    """The text for ``{measured}`file:dotted.path|format```.

    >>> look_up(Path("book/results"), "bottleneck:bleu.dot.0|.1f")  # doctest: +SKIP
    '34.2'

    Args:
        folder: where the measurements lie.
        target: a file's name without ``.json``, keys (or positions in a list) separated by dots,
            and a format of Python's :func:`format`, which a fraction must have.

    Raises:
        ValueError: no such file or key, not a number, or a format that does not fit.
    """
    # Inside a Markdown table a bar has to be written as \\|.
    target = target.strip().replace("\\|", "|")
    match = re.fullmatch(r"([\w-]+):([^|]+?)\s*(?:\|(.*))?", target, re.DOTALL)
    if match is None:
        raise ValueError("expected file:dotted.path|format, for instance bottleneck:bleu.dot|.1f")
    name, dotted, form = match.groups()
    value = reach(folder, name, dotted)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{dotted} is not a number or a text but {type(value).__name__}")
    if isinstance(value, float) and not form:
        raise ValueError(f"{dotted} is a fraction and needs a format, for instance |.1f")
    try:
        text = format(value, form or "")
    except ValueError as error:
        raise ValueError(f"{dotted} is {value!r}, which {form!r} does not fit: {error}") from error
    return text if isinstance(value, str) else text.replace("-", "−")


class MeasuredRole(SphinxRole):
    """A measured number, read from the file that the measurement wrote."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Print the number, or warn and print the target."""
        folder = Path(self.env.srcdir) / self.config["attnbook_results"]
        name = self.text.split(":", 1)[0].strip()
        self.env.note_dependency(str(folder / f"{name}.json"))
        try:
            text = look_up(folder, self.text)
        except ValueError as error:
            logger.warning("measured: %s: %s", self.text, error, location=self.get_location())
            return [nodes.literal(self.rawtext, self.text)], []
        return [nodes.inline(self.rawtext, text, classes=["measured"])], []


class IfMeasuredDirective(Directive):
    """``{if-measured} name``: its content where ``book/results/<name>.json`` exists.

    For what not everybody can measure; ``:otherwise:`` is what stands there without it.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"otherwise": directives.unchanged_required}

    def content_nodes(self) -> list[nodes.Node]:
        """Look for the file, and read one text or the other."""
        path = self.folder("attnbook_results") / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        if path.is_file():
            found: list[nodes.Node] = self.parse_content_to_nodes()
        else:
            found = self.parse_text_to_nodes(self.options.get("otherwise", ""))
        return found


def register(app: Sphinx) -> None:
    """Register directive, role and where measurements lie."""
    app.add_config_value("attnbook_results", "book/results", "env", [str])
    app.add_directive("if-measured", IfMeasuredDirective)
    app.add_role("measured", MeasuredRole())
