"""Numbered figures of a page: those that move, charts, and what a lab drew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from attnbook.figures.blanks import BlanksFigure, blanks
from attnbook.figures.embedded import LiveFigure, asset
from attnbook.figures.question import Question
from attnbook.figures.regression import RegressionFigure
from attnbook.figures.scrubber import ScrubberFigure
from attnbook.figures.sight import SightFigure, sights
from attnbook.site.directive import Directive, Unfit
from attnbook.site.measured import reach
from attnbook.site.nodes import chart, live, live_figure, tables
from attnbook.trace import DecodingTrace

__all__ = ["FIGURES", "register", "script_name", "sheet_name"]

#: The figures that move, in the order in which a page gets their scripts and styles.
FIGURES: tuple[type[LiveFigure], ...] = (
    ScrubberFigure, SightFigure, RegressionFigure, BlanksFigure, Question,
)  # fmt: skip

_NAMED: dict[str, Any] = {"alt": directives.unchanged_required, "name": directives.unchanged}


class _Figure(Directive):
    """A numbered figure with a caption around a node of ours."""

    required_arguments = 1
    has_content = True

    @property
    def subject(self) -> str:
        """The directive's argument."""
        return str(self.arguments[0])

    def _stored(self, what: str, path: Path) -> Path:
        """A file of the book, which is there, or the build says which ones are."""
        self.env.note_dependency(str(path))
        if not path.is_file():
            folder, root = path.parent, Path(self.env.srcdir)
            known = ", ".join(sorted(p.stem for p in folder.glob(f"*{path.suffix}"))) or "none"
            # A path as an author knows it, from the book's root.
            where = folder.relative_to(root) if folder.is_relative_to(root) else folder
            raise Unfit(
                f"{path.stem}: there is no {what} of this name in {where} (there are: {known})"
            )
        return path

    def _numbered(self, content: nodes.Element) -> list[nodes.Node]:
        figure = nodes.figure("", content, classes=["attnbook-figure"])
        self.set_source_info(figure)
        self.set_source_info(content)
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        if text.children:
            first, *rest = text.children
            if not isinstance(first, nodes.paragraph):
                self.warn(f"{self.subject}: the caption has to begin with a paragraph")
                return [figure]
            caption = nodes.caption(first.rawsource, "", *first.children)
            caption.source, caption.line = first.source, first.line
            figure += caption
            if rest:
                figure += nodes.legend("", *rest)
        self.add_name(figure)
        return [figure]


class _LiveFigure(_Figure):
    """A numbered figure that moves."""

    option_spec: ClassVar[dict[str, Any]] = _NAMED

    def figure(self) -> LiveFigure:
        """What is shown, from argument and options."""
        raise NotImplementedError

    def content_nodes(self) -> list[nodes.Node]:
        """The figure with its tables and its caption."""
        figure = self.figure()
        return self._numbered(live(figure, tables(figure), self.options.get("alt", "")))


class TraceDirective(_LiveFigure):
    """``{trace} name``: a scrubber for a stored trace."""

    option_spec: ClassVar[dict[str, Any]] = _NAMED | {
        "without": directives.unchanged_required,
        "step": directives.nonnegative_int,
    }

    def figure(self) -> LiveFigure:
        """Read the traces, and refuse what does not fit."""
        trace = self._trace(self.arguments[0])
        other = self.options.get("without")
        without = None if other is None else self._trace(other)
        step, steps = self.options.get("step", 1), len(trace.target_tokens)
        if not 1 <= step <= steps:
            raise ValueError(f":step: this trace has steps 1 to {steps}, got {step}")
        return ScrubberFigure(trace, without, step - 1)

    def _trace(self, name: str) -> DecodingTrace:
        path = self._stored("trace", self.folder("attnbook_traces") / f"{name}.json")
        try:
            return DecodingTrace.load(path)
        except ValueError as error:
            raise Unfit(f"{path.name}: {error}") from error


class SightDirective(_LiveFigure):
    """``{sight} source words``: what each word may see, by kind of attention."""

    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = _NAMED | {
        "target": directives.unchanged_required,
        "padding": directives.nonnegative_int,
    }

    def figure(self) -> LiveFigure:
        """Take the sentences."""
        source, target = self.arguments[0].split(), self.options.get("target", "").split()
        return SightFigure(sights(source, target, self.options.get("padding", 0)))


class RegressionDirective(_LiveFigure):
    """``{regression} file:path``: readings to be moved, and what is predicted between them."""

    def figure(self) -> LiveFigure:
        """Read the readings, and insist on a description."""
        folder = self.folder("attnbook_results")
        name, _, dotted = self.arguments[0].partition(":")
        self.env.note_dependency(str(folder / f"{name}.json"))
        figure = RegressionFigure(reach(folder, name, dotted))
        if not self.options.get("alt"):
            raise ValueError("a regression needs :alt:, what is to be seen in it")
        return figure


class BlanksDirective(_LiveFigure):
    """``{blanks} name``: a piece to hide, and the guesses of two models."""

    def figure(self) -> LiveFigure:
        """Read the stored guesses."""
        name = self.arguments[0]
        path = self._stored("measurement", self.folder("attnbook_results") / f"{name}.json")
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return BlanksFigure(blanks(stored.get("blanks", [])))
        except ValueError as error:
            raise Unfit(f"{path.name}: {error}") from error


class ChartDirective(_Figure):
    """``{chart} name``: a stored SVG, in the page itself."""

    option_spec: ClassVar[dict[str, Any]] = _NAMED

    def content_nodes(self) -> list[nodes.Node]:
        """Find the file, insist on a description, and place the figure."""
        path = self._stored("figure", self.folder("attnbook_figures") / f"{self.subject}.svg")
        alt = self.options.get("alt", "")
        if not alt:
            self.warn(f"{self.subject}: a chart needs :alt:, what is to be seen in it")
        return self._numbered(chart(svg=path.read_text(encoding="utf-8"), alt=alt))


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


# ------------------------------------------------------------------------- scripts and styles


def script_name(name: str) -> str:
    """The file of the site that holds a figure's script."""
    return f"attnbook-{name}.js"


def sheet_name(sheet: str) -> str:
    """The file of the site that holds a style sheet."""
    return f"attnbook-{sheet}.css"


def _write_assets(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        for figure in FIGURES:
            (folder / script_name(figure.name)).write_text(figure.script(), encoding="utf-8")
            for sheet in figure.sheets:
                (folder / sheet_name(sheet)).write_text(asset(f"{sheet}.css"), encoding="utf-8")


def _add_assets(
    app: Sphinx,
    _page: str,
    _template: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Scripts and styles, on pages that have something for them."""
    if doctree is None:
        return
    kinds = {node["kind"] for node in doctree.findall(live_figure)}
    there = [figure for figure in FIGURES if figure.name in kinds]
    for figure in there:
        app.add_js_file(script_name(figure.name), loading_method="defer")
    for sheet in dict.fromkeys(sheet for figure in there for sheet in figure.sheets):
        app.add_css_file(sheet_name(sheet))


def _prefer_html(_app: Any, config: Any) -> None:
    """Without a kernel a widget's stored HTML is what works; MyST-NB would choose the widget."""
    if "nb_mime_priority_overrides" in config:
        chosen = list(config["nb_mime_priority_overrides"] or ())
        ours = [(name, "text/html", 5) for name in ("html", "dirhtml", "singlehtml")]
        config["nb_mime_priority_overrides"] = [*ours, *chosen]


def register(app: Sphinx) -> None:
    """Register the figures' directives, where their files lie, and what brings them to life."""
    app.add_config_value("attnbook_traces", "book/traces", "env", [str])
    app.add_config_value("attnbook_figures", "book/figures", "env", [str])
    app.add_directive("trace", TraceDirective)
    app.add_directive("sight", SightDirective)
    app.add_directive("regression", RegressionDirective)
    app.add_directive("blanks", BlanksDirective)
    app.add_directive("chart", ChartDirective)
    app.add_post_transform(InlineLabFigures)
    app.connect("config-inited", _prefer_html)
    app.connect("builder-inited", _write_assets)
    app.connect("html-page-context", _add_assets)
