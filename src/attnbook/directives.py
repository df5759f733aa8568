"""The course's own words for its pages, as a Sphinx extension.

============================  ===================================================================
``{trace} name``              a scrubber for ``book/traces/<name>.json``; ``:without:`` names a
                              second trace, without attention, for the switch
``{chart} name``              ``book/figures/<name>.svg`` in the page itself, so that it takes the
                              page's colours and fonts
``{sight} source words``      what each word may see; ``:target:`` is the other sentence, and
                              ``:padding:`` adds a padded one
``{regression} file:path``    kernel regression whose points can be moved; its readings are an
                              object in ``book/results/<file>.json``
``{blanks} name``             the texts of ``book/results/<name>.json`` with a piece to hide, and
                              what two models guess
``{question} kind``           a question that answers at once: ``choice``, ``number`` or ``order``
``{exercises} NN_page``       a chapter's exercises, each with a solution in a fold
``{if-measured} name``         what is shown where ``book/results/<name>.json`` exists, and else not
``{measured}`file:path|.1f``` a number out of ``book/results/<file>.json``
============================  ===================================================================

All but the last four are numbered figures with ``:name:`` for references. A file or key that does
not exist is a warning, so that a build with ``-W`` stops: prose cannot outlive what it reports.
Figures that a lab drew as SVG are put into the page like charts. Other builders than HTML get the
tables of those that move, and the chart's description.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from xml.etree import ElementTree

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from attnbook import __version__, blanks, plots, question, regression, scrubber, sight
from attnbook.embedded import card_styles
from attnbook.exercises import Chapter, Exercise, chapter
from attnbook.exercises.definition import source_of
from attnbook.exercises.statement import plain, statement, totals
from attnbook.trace import DecodingTrace

__all__ = ["inline_svg", "look_up", "setup"]

logger = logging.getLogger(__name__)

SCRIPT = "attnbook-scrubber.js"
STYLES = "attnbook-scrubber.css"
CARD_STYLES = "attnbook-card.css"
SIGHT_SCRIPT = "attnbook-sight.js"
SIGHT_STYLES = "attnbook-sight.css"
REGRESSION_SCRIPT = "attnbook-regression.js"
REGRESSION_STYLES = "attnbook-regression.css"
BLANKS_SCRIPT = "attnbook-blanks.js"
BLANKS_STYLES = "attnbook-blanks.css"
QUESTION_SCRIPT = "attnbook-question.js"
QUESTION_STYLES = "attnbook-question.css"

_ASSETS = {
    SCRIPT: scrubber.script,
    STYLES: scrubber.styles,
    CARD_STYLES: card_styles,
    SIGHT_SCRIPT: sight.script,
    SIGHT_STYLES: sight.styles,
    REGRESSION_SCRIPT: regression.script,
    REGRESSION_STYLES: regression.styles,
    BLANKS_SCRIPT: blanks.script,
    BLANKS_STYLES: blanks.styles,
    QUESTION_SCRIPT: question.script,
    QUESTION_STYLES: question.styles,
}


class _Kind(NamedTuple):
    """What a figure that moves is in a page: its classes, its script and its style sheets."""

    container: str
    fallback: str
    script: str
    styles: tuple[str, ...]


_KINDS = {
    "trace": _Kind("attn-figure", "attn-fallback", SCRIPT, (STYLES,)),
    "sight": _Kind("attn-sights", "attn-sight-fallback", SIGHT_SCRIPT, (CARD_STYLES, SIGHT_STYLES)),
    "regression": _Kind(  # in the scrubber's card
        "attn-regression-figure", "attn-fallback", REGRESSION_SCRIPT, (STYLES, REGRESSION_STYLES)
    ),
    "blanks": _Kind(
        "attn-blanks", "attn-blank-fallback", BLANKS_SCRIPT, (CARD_STYLES, BLANKS_STYLES)
    ),
    "question": _Kind(
        "attn-questions", "attn-question-fallback", QUESTION_SCRIPT, (CARD_STYLES, QUESTION_STYLES)
    ),
}

# A chart may shrink to this part of its size before it scrolls; below, its words are too small.
_SMALLEST = 0.62
_NARROWEST_PAGE = 320  # pixels that a page of 360 has for a figure


class live_figure(nodes.General, nodes.Element):
    """What a script brings to life; its children are for where nothing moves, mostly tables."""


class chart(nodes.General, nodes.Element):
    """An SVG that becomes part of the page."""


class block(nodes.General, nodes.Element):
    """A part of a question; in HTML an element of its own, ``tag``."""


class fold_title(nodes.Part, nodes.TextElement):
    """What a fold says while it is closed; elsewhere than in HTML a paragraph."""


# -------------------------------------------------------------------------------- directives


class _Figure(SphinxDirective):
    """A numbered figure with a caption around a node of ours."""

    required_arguments = 1
    has_content = True

    def _folder(self, setting: str) -> Path:
        return Path(self.env.srcdir, self.config[setting])

    def _missing(self, what: str, path: Path) -> list[nodes.Node]:
        folder = path.parent
        known = ", ".join(sorted(p.stem for p in folder.glob(f"*{path.suffix}"))) or "none"
        logger.warning(
            "%s: there is no %s of this name in %s (there are: %s)",
            path.stem, what, self.config_path(folder), known,
            location=self.get_location(),
        )  # fmt: skip
        return []

    def config_path(self, path: Path) -> str:
        """A path as an author knows it, from the book's root."""
        root = Path(self.env.srcdir)
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    def _figure(self, content: nodes.Element) -> list[nodes.Node]:
        figure = nodes.figure("", content, classes=["attnbook-figure"])
        self.set_source_info(figure)
        self.set_source_info(content)
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        if text.children:
            first, *rest = text.children
            if not isinstance(first, nodes.paragraph):
                logger.warning(
                    "%s: the caption has to begin with a paragraph",
                    self.arguments[0],
                    location=self.get_location(),
                )
                return [figure]
            caption = nodes.caption(first.rawsource, "", *first.children)
            caption.source, caption.line = first.source, first.line
            figure += caption
            if rest:
                figure += nodes.legend("", *rest)
        self.add_name(figure)
        return [figure]

    def _live(self, kind: str, data: str, tables: list[nodes.Element]) -> list[nodes.Node]:
        alt = self.options.get("alt", "")
        return self._figure(live_figure("", *tables, kind=kind, data=data, alt=alt))


class TraceDirective(_Figure):
    """``{trace} name``: a scrubber for a stored trace."""

    option_spec: ClassVar[dict[str, Any]] = {
        "without": directives.unchanged_required,
        "step": directives.nonnegative_int,
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Read the traces, refuse what does not fit, and place the figure."""
        traces: list[DecodingTrace | None] = []
        for name in (self.arguments[0], self.options.get("without")):
            if name is None:
                traces.append(None)
                continue
            path = self._folder("attnbook_traces") / f"{name}.json"
            self.env.note_dependency(str(path))
            if not path.is_file():
                return self._missing("trace", path)
            try:
                traces.append(DecodingTrace.load(path))
            except ValueError as error:
                logger.warning("%s: %s", path.name, error, location=self.get_location())
                return []
        trace, without = traces
        assert trace is not None
        step = self.options.get("step", 1)
        try:
            if not 1 <= step <= len(trace.target_tokens):
                raise ValueError(
                    f":step: this trace has steps 1 to {len(trace.target_tokens)}, got {step}"
                )
            data = scrubber.figure_data(trace, without, step - 1)
        except ValueError as error:
            logger.warning("%s: %s", self.arguments[0], error, location=self.get_location())
            return []
        return self._live("trace", data, [_table(*scrubber.fallback_table(trace))])


class SightDirective(_Figure):
    """``{sight} source words``: what each word may see, by kind of attention."""

    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {
        "target": directives.unchanged_required,
        "padding": directives.nonnegative_int,
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Take the sentences, and place the figure with a table for each kind."""
        try:
            figure = sight.sights(
                self.arguments[0].split(),
                self.options.get("target", "").split(),
                self.options.get("padding", 0),
            )
        except ValueError as error:
            logger.warning("%s: %s", self.arguments[0], error, location=self.get_location())
            return []
        tables: list[nodes.Element] = []
        for one in figure:
            title = nodes.paragraph("", "", nodes.strong("", one.title), nodes.Text(": "))
            title += nodes.literal("", one.call)
            tables += [title, _table(*sight.table(one))]
        return self._live("sight", sight.figure_data(figure), tables)


class RegressionDirective(_Figure):
    """``{regression} file:path``: readings to be moved, and what is predicted between them."""

    option_spec: ClassVar[dict[str, Any]] = {
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Read the readings, refuse what does not fit, and place the figure."""
        folder = self._folder("attnbook_results")
        name, _, dotted = self.arguments[0].partition(":")
        self.env.note_dependency(str(folder / f"{name}.json"))
        try:
            data = _reach(folder, name, dotted)
            head, rows = regression.table(data)
            stored = regression.figure_data(data)
            if not self.options.get("alt"):
                raise ValueError("a regression needs :alt:, what is to be seen in it")
        except ValueError as error:
            logger.warning("%s: %s", self.arguments[0], error, location=self.get_location())
            return []
        return self._live("regression", stored, [_table(head, rows)])


class BlanksDirective(_Figure):
    """``{blanks} name``: a piece to hide, and the guesses of two models."""

    option_spec: ClassVar[dict[str, Any]] = {
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Read the stored guesses, and place the figure with a table for each text."""
        path = self._folder("attnbook_results") / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return self._missing("measurement", path)
        try:
            texts = blanks.blanks(json.loads(path.read_text(encoding="utf-8")).get("blanks", []))
        except ValueError as error:
            logger.warning("%s: %s", path.name, error, location=self.get_location())
            return []
        return self._live(
            "blanks", blanks.figure_data(texts), [_table(*blanks.table(one)) for one in texts]
        )


class ChartDirective(_Figure):
    """``{chart} name``: a stored SVG, in the page itself."""

    option_spec: ClassVar[dict[str, Any]] = {
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Find the file, insist on a description, and place the figure."""
        path = self._folder("attnbook_figures") / f"{self.arguments[0]}.svg"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return self._missing("figure", path)
        if not self.options.get("alt"):
            logger.warning(
                "%s: a chart needs :alt:, what is to be seen in it",
                self.arguments[0],
                location=self.get_location(),
            )
        svg = path.read_text(encoding="utf-8")
        return self._figure(chart(svg=svg, alt=self.options.get("alt", "")))


class IfMeasuredDirective(SphinxDirective):
    """``{if-measured} name``: its content where ``book/results/<name>.json`` exists.

    For what not everybody can measure; ``:otherwise:`` is what stands there without it.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"otherwise": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Look for the file, and read one text or the other."""
        folder = Path(self.env.srcdir) / self.config["attnbook_results"]
        path = folder / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        if path.is_file():
            found: list[nodes.Node] = self.parse_content_to_nodes()
        else:
            found = self.parse_text_to_nodes(self.options.get("otherwise", ""))
        return found


class QuestionDirective(SphinxDirective):
    """``{question} kind``: a question with its answers and what is said to each of them.

    The content is the question and a definition list: terms are answers, definitions what is said.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "right": directives.unchanged_required,
        "within": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Take question and answers apart, refuse what cannot be answered, and place it."""
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        try:
            stem, answers, reasons = _answers(content)
            asked = question.question(
                self.arguments[0],
                [answer.astext() for answer in answers],
                self.options.get("right"),
                self.options.get("within"),
            )
        except ValueError as error:
            logger.warning("question: %s", error, location=self.get_location())
            return []
        parts = [block("", *stem, tag="div", classes=["attn-question-stem"])]
        order = asked.order or range(len(answers))
        if asked.kind != "number":
            parts.append(
                nodes.bullet_list("", *(_item(answers[place].deepcopy()) for place in order))
            )
        parts.append(_fold(asked, answers, reasons))
        live = live_figure("", *parts, kind="question", data=question.figure_data(asked), alt="")
        self.set_source_info(live)
        self.add_name(live)
        return [live]


def _answers(
    content: nodes.Element,
) -> tuple[list[nodes.Node], list[nodes.term], list[nodes.definition]]:
    """The parts of a question: itself, the answers, and what is said to each of them."""
    *stem, last = content.children or [nodes.paragraph()]
    if not isinstance(last, nodes.definition_list):
        raise ValueError("it has to end with its answers, as a definition list")
    if not stem:
        raise ValueError("there is nothing that is asked, only answers")
    answers, reasons = [], []
    for item in last.children:
        terms = [child for child in item.children if isinstance(child, nodes.term)]
        said = [child for child in item.children if isinstance(child, nodes.definition)]
        if len(terms) != 1 or len(said) != 1:
            raise ValueError(f"{terms[0].astext()!r} needs one explanation, got {len(said)}")
        answers += terms
        reasons += said
    return stem, answers, reasons


def _item(answer: nodes.term) -> nodes.list_item:
    return nodes.list_item("", nodes.paragraph("", "", *answer.children))


def _fold(
    asked: question.Question, answers: Sequence[nodes.term], reasons: Sequence[nodes.definition]
) -> block:
    """All answers with what is said to them, for where nothing answers."""
    for place, answer in enumerate(answers):
        value = asked.values[place] if asked.kind == "number" else None
        if asked.kind == "number" and (value is None or place == asked.right):
            answer.clear()
            said = "another number" if value is None else f"{value:g}".replace("-", "−")
            answer += nodes.Text(said)
        if asked.kind != "order" and place == asked.right:
            answer += nodes.Text(" (right)")
    listed = nodes.definition_list(
        "",
        *(
            nodes.definition_list_item("", answer, reason)
            for answer, reason in zip(answers, reasons, strict=True)
        ),
    )
    title = "The right order" if asked.kind == "order" else "Answers"
    return block("", fold_title("", title), listed, tag="details", classes=["attn-question-fold"])


class ExercisesDirective(SphinxDirective):
    """``{exercises} NN_page``: what a chapter's exercises ask, with a solution in a fold each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write each exercise as a section."""
        try:
            found = chapter(self.arguments[0])
            sections = [self._section(one) for one in found.exercises]
            return [*self._parsed(self._opening(found)), *sections]
        except ValueError as error:
            logger.warning("exercises: %s", error, location=self.get_location())
            return []

    def _parsed(self, markdown: str) -> list[nodes.Node]:
        parent = nodes.Element()
        lines = StringList(markdown.splitlines(), source=self.get_source_info()[0])
        self.state.nested_parse(lines, 0, parent)
        return list(parent.children)

    def _opening(self, found: Chapter) -> str:
        notebook = f"notebooks/exercises/{found.name}"
        ways = [f"{{doc}}`their notebook </{notebook}>`"]
        theme = self.config["html_theme_options"]
        if address := theme.get("repository_url"):
            owner = address.removeprefix("https://github.com/")
            place = f"{owner}/blob/{theme.get('repository_branch') or 'main'}/{notebook}.ipynb"
            ways.append(f"[open it in Colab](https://colab.research.google.com/github/{place})")
        return f"**{totals(found)}**, in {' · '.join(ways)}."

    def _section(self, one: Exercise) -> nodes.section:
        file = inspect.getsourcefile(inspect.unwrap(one.solution))
        assert file is not None
        self.env.note_dependency(file)
        label = f"exercise-{one.name}".replace("_", "-")
        section = nodes.section("", ids=[nodes.make_id(label)], names=[label])
        self.set_source_info(section)
        (title,) = self._parsed(plain(one.title, one.name))
        section += nodes.title(one.title, "", *title.children)
        self.state.document.note_explicit_target(section, section)
        source = source_of(one.solution)
        section += self._parsed(
            f"{statement(one)}\n\n"
            f"Explained in {{ref}}`{one.section}`.\n\n"
            "````{dropdown} A solution, and why it is so\n"
            f"```python\n{source}```\n\n{plain(one.explanation, one.name)}\n````\n"
        )
        return section


def _table(head: list[str], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    for column, cells in enumerate(zip(head, *rows, strict=True)):
        # Sphinx's text writer never ends on a column that is narrower than its words.
        width = max(map(len, cells))
        group += nodes.colspec(colwidth=width, **({"stub": 1} if column == 0 else {}))

    def row(cells: list[str]) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph("", cell)) for cell in cells]
        return nodes.row("", *entries)

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    # A token such as 'd is shown as it is, without typographer's quotes.
    return nodes.table("", group, support_smartquotes=False)


# ----------------------------------------------------------------------------------- measured


@lru_cache(maxsize=64)
def _results(path: Path, _changed: int) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _reach(folder: Path, name: str, dotted: str) -> Any:
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
    value = _reach(folder, name, dotted)
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


# ---------------------------------------------------------------------------------------- SVG

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_BLACK = re.compile(r"(?<![\w#])(#000000|#000|black|rgb\(0,\s*0,\s*0\))(?![\w])")
# Dark marks that stand for numbers, and their partners on a dark page, as in the scrubber.
_PARTNERS = {plots.WEIGHT: "#a9d3ff", plots.NEGATIVE: "#f3cd8f", plots.POSITIVE: "#93e6db"}
_FONT = "var(--book-sans, sans-serif)"
_DROPPED = {f"{_SVG}metadata", f"{_SVG}title", f"{_SVG}desc", f"{_SVG}style"}


def inline_svg(svg: str, alt: str, prefix: str) -> str:
    """An SVG document as an element of a page.

    Black becomes the page's text colour, the colours of weights and signed numbers become light on
    a dark page, text takes the page's font, ids get a prefix, and the
    drawing's own style element goes, because inside a page it would style the whole page.

    Args:
        svg: the document, as matplotlib writes it.
        alt: what is to be seen; empty for decoration.
        prefix: for ids, different for each drawing of a page.

    Raises:
        ValueError: not an SVG, or one without a ``viewBox``.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG: {error}") from error
    if root.tag != f"{_SVG}svg" or not root.get("viewBox"):
        raise ValueError("not an SVG with a viewBox")
    # One CSS pixel is 0.75 pt, and matplotlib's drawings are measured in points.
    width = float(root.attrib["viewBox"].split()[2])
    pixels = width * 4 / 3 if root.get("width", "pt").endswith("pt") else width

    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in _DROPPED]:
            parent.remove(child)
    for text in root.iter(f"{_SVG}text"):
        _close_up(text)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for name, value in list(element.attrib.items()):
            if name == _HREF:
                del element.attrib[name]
                name = "href"
            elif name.startswith("{"):
                del element.attrib[name]
                continue
            element.set(name, _adapted(name, value, prefix))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("fill", "currentColor")
    smallest = round(pixels * _SMALLEST)
    root.set(
        "style",
        f"width:{round(pixels)}px;max-width:100%;min-width:{smallest}px;height:auto;"
        # What matplotlib's own style element says of all its lines.
        f"stroke-linejoin:round;stroke-linecap:butt;font-family:{_FONT}",
    )
    if alt:
        root.set("role", "img")
        root.set("aria-label", alt)
    else:
        root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _close_up(text: ElementTree.Element) -> None:
    """Set what matplotlib writes as a formula letter to letter, in any font.

    It gives each letter its place, by the widths of the font that it measured with. Of a base and
    an exponent the place between the two stays: the base ends there, the exponent begins.
    """
    spans = text.findall(f"{_SVG}tspan")
    runs = [list(run) for _, run in groupby(spans, lambda s: (s.get("y"), s.get("style")))]
    for number, (first, *rest) in enumerate(runs, start=1):
        first.text = "".join(span.text or "" for span in (first, *rest))
        first.tail = None
        for span in rest:
            text.remove(span)
        if number < len(runs):
            first.set("x", runs[number][0].get("x", "0"))
            first.set("text-anchor", "end")
    if spans:
        text.text = None


def _adapted(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    value = re.sub(r"url\(#", f"url(#{prefix}", value)
    if name in ("style", "fill", "stroke"):
        value = _BLACK.sub("currentColor", value)
    if name == "style":
        for light, dark in _PARTNERS.items():
            value = value.replace(light, f"light-dark({light}, {dark})")
    if name == "style":
        # The size stays, the family is the page's: what matplotlib measured with may be absent.
        value = re.sub(r"(font:\s*[^;]*?[\d.]+px)\s+[^;]+", rf"\1 {_FONT}", value)
        value = re.sub(r"font-family:[^;]+", "font-family: inherit", value)
    return value


def _chart_html(svg: str, alt: str, prefix: str) -> str:
    drawing = inline_svg(svg, alt, prefix)
    found = re.search(r"min-width:(\d+)px", drawing)
    assert found is not None
    scrolls = ""
    if int(found[1]) > _NARROWEST_PAGE:
        scrolls = ' tabindex="0" role="group" aria-label="Chart; scrolls sideways where it is wide"'
    return f'<div class="attn-chart" style="overflow-x:auto"{scrolls}>{drawing}</div>\n'


class InlineLabFigures(SphinxPostTransform):
    """Figures that a lab drew as SVG become part of the page, as charts are."""

    default_priority = 90  # after MyST-NB chose the output to show
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Replace each SVG image that comes from a notebook."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir) / image["uri"].lstrip("/")
            if path.suffix == ".svg" and "jupyter_execute" in path.parts and path.is_file():
                svg = path.read_text(encoding="utf-8")
                image.replace_self(chart(svg=svg, alt=image.get("alt", "")))


# ----------------------------------------------------------------------------------- builders


def _visit_live_html(self: Any, node: live_figure) -> None:
    kind = _KINDS[node["kind"]]
    label = f' data-label="{escape(node["alt"])}"' if node["alt"] else ""
    label += "".join(f' id="{name}"' for name in node["ids"][:1])
    self.body.append(
        f'<div class="{kind.container}"{label}>{node["data"]}<div class="{kind.fallback}">\n'
    )


def _depart_live_html(self: Any, _node: live_figure) -> None:
    self.body.append("</div></div>\n")


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
        self.body.append(_chart_html(node["svg"], node["alt"], f"chart{self.attnbook_charts}-"))
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


def _prefer_html(_app: Any, config: Any) -> None:
    """Without a kernel a widget's stored HTML is what works; MyST-NB would choose the widget."""
    if "nb_mime_priority_overrides" in config:
        chosen = list(config["nb_mime_priority_overrides"] or ())
        ours = [(name, "text/html", 5) for name in ("html", "dirhtml", "singlehtml")]
        config["nb_mime_priority_overrides"] = [*ours, *chosen]


def _write_assets(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _ASSETS.items():
            (folder / name).write_text(text(), encoding="utf-8")


def _add_assets(
    app: Sphinx,
    _page: str,
    _template: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """A script and its styles, on pages that have something for them."""
    if doctree is None:
        return
    there = {figure["kind"] for figure in doctree.findall(live_figure)}
    kinds = [kind for name, kind in _KINDS.items() if name in there]
    for script in (kind.script for kind in kinds):
        app.add_js_file(script, loading_method="defer")
    for styles in dict.fromkeys(name for kind in kinds for name in kind.styles):
        app.add_css_file(styles)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("attnbook_traces", "book/traces", "env", [str])
    app.add_config_value("attnbook_figures", "book/figures", "env", [str])
    app.add_config_value("attnbook_results", "book/results", "env", [str])
    app.add_node(
        live_figure,
        html=(_visit_live_html, _depart_live_html),
        latex=(_pass, _pass),
        text=(_pass, _pass),
        man=(_pass, _pass),
        texinfo=(_pass, _pass),
    )
    app.add_node(
        chart,
        html=(_visit_chart_html, _pass),
        latex=(_visit_chart_latex, _pass),
        text=(_visit_chart_text, _pass),
        man=(_visit_chart_plain, _pass),
        texinfo=(_visit_chart_plain, _pass),
    )
    app.add_node(
        block,
        html=(_visit_block_html, _depart_block_html),
        latex=(_pass, _pass),
        text=(_pass, _pass),
        man=(_pass, _pass),
        texinfo=(_pass, _pass),
    )
    app.add_node(
        fold_title,
        html=(_visit_fold_title_html, _depart_fold_title_html),
        latex=(_visit_paragraph, _depart_paragraph),
        text=(_visit_paragraph, _depart_paragraph),
        man=(_visit_paragraph, _depart_paragraph),
        texinfo=(_visit_paragraph, _depart_paragraph),
    )
    app.add_directive("trace", TraceDirective)
    app.add_directive("sight", SightDirective)
    app.add_directive("regression", RegressionDirective)
    app.add_directive("blanks", BlanksDirective)
    app.add_directive("chart", ChartDirective)
    app.add_directive("if-measured", IfMeasuredDirective)
    app.add_directive("question", QuestionDirective)
    app.add_directive("exercises", ExercisesDirective)
    app.add_role("measured", MeasuredRole())
    app.add_post_transform(InlineLabFigures)
    app.connect("config-inited", _prefer_html)
    app.connect("builder-inited", _write_assets)
    app.connect("html-page-context", _add_assets)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
