"""The course's directives and role, in small books built by Sphinx."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from matplotlib.figure import Figure

from attnbook import plots
from attnbook.figures.embedded import asset
from attnbook.figures.scrubber import DECIMALS, Scrubber, ScrubberFigure
from attnbook.site import figures as site_figures
from attnbook.site.measured import look_up
from attnbook.site.svg import chart_html, inline_svg
from example_traces import example
from small_books import SmallBook

trace = example(links=frozenset({(3, 4)}))
fixed = example(target="i would like beer <eos>", attends=False, model="example-fixed")

SVG = (
    '<?xml version="1.0"?><!DOCTYPE svg>'
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:inkscape="urn:ink" inkscape:note="x" '
    'width="360pt" height="240pt" viewBox="0 0 360 240" version="1.1">'
    "<metadata><date>today</date></metadata><title>t</title>"
    '<defs><style type="text/css">*{stroke-linejoin: round}</style>'
    '<clipPath id="clip"><path d="M0 0"/></clipPath><path id="mark" d="M0 0"/></defs>'
    '<g id="axes" clip-path="url(#clip)" style="fill: url(#clip)">'
    '<path style="stroke: #000000; fill: #0072b2" d="M0 0"/>'
    '<path fill="black" stroke="#000" d="M0 0"/><path fill="#0000001a" d="M0 0"/>'
    '<use xlink:href="#mark"/><use href="https://example.org/#mark"/>'
    "<text style=\"font: 700 11.5px 'DejaVu Sans', sans-serif; text-anchor: middle\">black</text>"
    "<text style=\"font-size: 9px; font-family: 'DejaVu Sans'\">9</text></g></svg>"
)


class Book(SmallBook):
    """A small book with traces, figures and results."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for name in ("traces", "figures", "results"):
            (root / "book" / name).mkdir(parents=True)
        trace.save(root / "book/traces/beer.json")
        fixed.save(root / "book/traces/beer-fixed.json")
        example(source="je suis", target="i am").save(root / "book/traces/other.json")
        self.write("book/figures/lines.svg", SVG)
        results = {"bleu": {"dot": [34.25, -1.5], "n": 1000, "who": "ten-fold"}, "ok": True}
        self.write("book/results/run.json", json.dumps(results))


FIGURES = """
See {numref}`fig-beer` and {numref}`fig-lines`.

```{trace} beer
:without: beer-fixed
:step: 3
:name: fig-beer
:alt: Each word "finds" its source
The caption, with *emphasis*.

A legend.
```

```{trace} beer
```

```{chart} lines
:name: fig-lines
:alt: BLEU falls with length
BLEU.
```

```{chart} lines
:alt: again
Again.
```
"""

NUMBERS = """
A {measured}`run:bleu.dot.0|.1f`, {measured}`run:bleu.dot.1|+.2f`, {measured}`run:bleu.n|,`,
{measured}`run:bleu.n`, {measured}`run:bleu.who`.

| BLEU                               |
| ---------------------------------- |
| {measured}`run:bleu.dot.0\\|.0f` |
"""

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJ"
    "RU5ErkJggg=="
)


def lab() -> str:
    """A notebook with stored outputs: two drawings, a picture, a scrubber twice."""
    figure, _ = Scrubber(trace, fixed)._repr_mimebundle_()
    drawing = {"image/svg+xml": SVG}
    cells = [nbformat.v4.new_markdown_cell("# Lab")]
    for number, data in enumerate([drawing, drawing, {"image/png": PIXEL}, figure, figure]):
        cell = nbformat.v4.new_code_cell("show()", execution_count=number + 1)
        cell.metadata["mystnb"] = {"image": {"alt": f"drawing {number}"}}
        output = nbformat.v4.new_output("execute_result", data=data, execution_count=number + 1)
        cell.outputs = [output]
        cells.append(cell)
    language = {"name": "python", "pygments_lexer": "ipython3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": language})
    return nbformat.writes(notebook)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book in which everything is as it should be, built once."""
    book = Book(tmp_path_factory.mktemp("book"))
    book.write("plain.md", "# Plain\n\nText.\n")
    book.write("lab.ipynb", lab())
    book.build(f"# Page\n{FIGURES}{NUMBERS}\n```{{toctree}}\nplain\nlab\n```\n")
    return book


def test_a_good_book_has_no_warning(book):
    assert book.warnings == ""


# ------------------------------------------------------------------------------------ {trace}


def figures(html: str) -> list[str]:
    return re.findall(r"<figure[^>]*>.*?</figure>", html, re.DOTALL)


def test_a_trace_is_a_numbered_figure(book):
    html = book.read("html/index.html")
    figure, bare, *_ = figures(html)
    assert 'id="fig-beer"' in figure
    assert re.search(r'caption-number">Fig\. 1 </span><span class="caption-text">The cap', figure)
    assert "<em>emphasis</em>" in figure
    assert re.search(r'<div class="legend">\s*<p>A legend\.</p>', figure)
    assert 'href="#fig-beer"><span class="std std-numref">Fig. 1</span>' in html
    assert 'data-label="Each word &quot;finds&quot; its source"' in figure
    assert "<figcaption" not in bare
    assert "data-label" not in bare


def test_the_traces_stand_in_the_page(book):
    figure = figures(book.read("html/index.html"))[0]
    stored = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)[0]
    assert json.loads(stored) == {
        "trace": trace.to_dict(DECIMALS),
        "without": fixed.to_dict(DECIMALS),
        "step": 2,
    }


def test_the_table_of_weights_stands_in_the_page(book):
    html = book.read("html/index.html")
    table = re.findall(r'<div class="attn-fallback">.*?</table>', html, re.DOTALL)[0]
    cells = [unescape(cell) for cell in re.findall(r"<t[dh][^>]*><p>(.*?)</p>", table)]
    (expected,) = ScrubberFigure(trace).tables()
    assert cells == [cell for row in [expected.head, *expected.rows] for cell in row]
    assert len(re.findall('<t[hd] class="[^"]*stub', table)) == 1 + len(expected.rows)


def test_script_and_style_only_where_they_are_needed(book):
    html = book.read("html/index.html")
    assert re.search(r'<script defer="defer" src="_static/attnbook-scrubber\.js\?v=\w+">', html)
    assert re.search(r'href="_static/attnbook-scrubber\.css\?v=\w+"', html)
    assert html.index("attnbook-card.css") < html.index("attnbook-scrubber.css")
    assert "attnbook-" not in book.read("html/plain.html")


@pytest.mark.parametrize("figure", site_figures.FIGURES, ids=lambda figure: figure.name)
def test_the_site_has_the_scripts_and_styles_of_all_figures(book, figure):
    folder = "html/_static"
    assert book.read(f"{folder}/{site_figures.script_name(figure.name)}") == figure.script()
    for sheet in figure.sheets:
        assert book.read(f"{folder}/{site_figures.sheet_name(sheet)}") == asset(f"{sheet}.css")


def test_a_page_is_built_again_when_what_it_reads_has_changed(book):
    names = {Path(p).name for p in book.app.env.dependencies["index"]}
    assert names == {"beer.json", "beer-fixed.json", "lines.svg", "run.json"}


# Each wrong use with what is said about it.
WRONG = {
    "```{trace} nowhere\n```": "nowhere: there is no trace of this name in book/traces "
    "(there are: beer, beer-fixed, broken, other, text)",
    "```{trace} beer\n:without: gone\n```": "gone: there is no trace of this name in book/traces",
    "```{trace} beer\n:without: other\n```": "without: both traces must come from one source sent",
    "```{trace} beer\n:step: 9\n```": "beer: :step: this trace has steps 1 to 8, got 9",
    "```{trace} broken\n```": "broken.json: model, weights: missing from the trace",
    "```{trace} text\n```": "text.json: Expecting value",
    "```{trace} beer\n- a list\n```": "beer: the caption has to begin with a paragraph",
    "```{chart} gone\n:alt: a\n```": "gone: there is no figure of this name in book/figures "
    "(there are: broken, lines)",
    "```{chart} lines\n```": "lines: a chart needs :alt:, what is to be seen in it",
    "```{chart} broken\n:alt: a\n```": "chart: not an SVG: ",
    "A {measured}`run:bleu.x|.1f`.": "measured: run:bleu.x|.1f: no 'x' in bleu, which has dot, n",
    "A {measured}`gone:bleu|.1f`.": "measured: gone:bleu|.1f: there is no gone.json in results",
}


@pytest.fixture(scope="module")
def wrong_book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book in which everything is wrong, built once."""
    book = Book(tmp_path_factory.mktemp("wrong"))
    data = trace.to_dict()
    del data["model"], data["weights"]
    book.write("book/traces/broken.json", json.dumps(data))
    book.write("book/traces/text.json", "hello")
    book.write("book/figures/broken.svg", "<svg")
    book.build("# Page\n\n" + "\n\n".join(WRONG) + "\n")
    return book


@pytest.mark.parametrize("use", WRONG)
def test_what_is_wrong_is_a_warning_with_its_place(wrong_book, use):
    before = "# Page\n\n" + "\n\n".join(WRONG).split(use)[0]
    line = before.count("\n") + 1
    found = [x for x in wrong_book.warnings.splitlines() if WRONG[use] in x]
    assert len(found) == 1
    assert f"index.md:{line}: WARNING: " in found[0]


def test_every_warning_is_accounted_for(wrong_book):
    assert wrong_book.warnings.count("WARNING") == len(WRONG)
    # Only the figures with a mere blemish are drawn.
    html = wrong_book.read("html/index.html")
    assert html.count('class="attn-scrubber-figure"') == 1
    assert html.count('class="attn-chart"') == 1
    assert "run:bleu.x|.1f" in html


# ------------------------------------------------------------------------------------ {chart}


def test_a_chart_is_a_numbered_figure_in_the_page(book):
    html = book.read("html/index.html")
    chart = figures(html)[2]
    assert 'id="fig-lines"' in chart
    assert "Fig. 2" in chart
    assert 'role="img"' in chart
    assert 'aria-label="BLEU falls with length"' in chart
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {"chart1-axes", "chart2-axes"} <= set(ids)


def test_weights_are_light_on_a_dark_page():
    drawn = f'<path style="fill: {plots.WEIGHT}; fill-opacity: 0.5; stroke: {plots.NEGATIVE}"/>'
    out = inline_svg(SVG.replace("</svg>", f"{drawn}</svg>"), "", "p-")
    assert "fill: light-dark(#08306b, #a9d3ff); fill-opacity: 0.5" in out
    assert "stroke: light-dark(#8c510a, #f3cd8f)" in out


def test_inlined_svg_takes_the_pages_colours_and_fonts():
    out = inline_svg(SVG, 'what "is" seen', "p-")
    assert out.startswith("<svg ")
    assert 'viewBox="0 0 360 240"' in out
    assert " width=" not in out.split(">", 1)[0]
    assert "width:480px;max-width:100%;min-width:298px;height:auto" in out
    assert 'fill="currentColor"' in out.split(">", 1)[0]
    assert 'role="img"' in out
    assert 'aria-label="what &quot;is&quot; seen"' in out
    assert "stroke: currentColor; fill: #0072b2" in out
    assert 'fill="currentColor" stroke="currentColor"' in out
    assert "#0000001a" in out  # not black but nearly nothing
    assert ">black</text>" in out
    assert "font: 700 11.5px var(--book-sans, sans-serif); text-anchor" in out
    assert "font-size: 9px; font-family: inherit" in out
    assert "font-family:var(--book-sans, sans-serif)" in out.split(">", 1)[0]
    assert 'id="p-clip"' in out
    assert 'clip-path="url(#p-clip)"' in out
    assert "fill: url(#p-clip)" in out
    assert 'href="#p-mark"' in out
    assert 'href="https://example.org/#mark"' in out
    for gone in ("<style", "metadata", "<title", "xmlns", "inkscape", "xlink", "<?xml"):
        assert gone not in out


def test_formulas_are_set_letter_to_letter_in_any_font():
    """A power of ten, as matplotlib writes it: the base ends where the exponent begins."""
    power = (
        '<text transform="translate(4 9)">\n <tspan x="0" y="-0.3" style="a">1</tspan>\n'
        ' <tspan x="7.3" y="-0.3" style="a">0</tspan>\n'
        ' <tspan x="14.7" y="-5" style="b">−</tspan>\n'
        ' <tspan x="21.5" y="-5" style="b">3</tspan>\n</text>'
    )
    out = inline_svg(SVG.replace("</svg>", f"{power}</svg>"), "", "p-")
    assert (
        '<text transform="translate(4 9)"><tspan x="14.7" y="-0.3" style="a" text-anchor="end">10'
        '</tspan><tspan x="14.7" y="-5" style="b">−3</tspan></text>'
    ) in out


def test_a_decoration_is_hidden_and_pixels_stay_pixels():
    out = inline_svg(
        '<svg xmlns="http://www.w3.org/2000/svg" width="90" viewBox="0 0 90 9"/>', "", ""
    )
    assert 'aria-hidden="true"' in out
    assert "width:90px" in out


@pytest.mark.parametrize(
    "svg", ["<svg", "<html/>", '<svg xmlns="http://www.w3.org/2000/svg" width="3"/>', "{}"]
)
def test_what_is_not_an_svg_is_refused(svg):
    with pytest.raises(ValueError, match="not an SVG"):
        inline_svg(svg, "", "")


def test_only_a_wide_chart_takes_the_keyboard():
    narrow = SVG.replace("0 0 360 240", "0 0 240 240")
    wide = SVG.replace("0 0 360 240", "0 0 720 240")
    assert "tabindex" not in chart_html(narrow, "a", "p-")
    assert 'tabindex="0" role="group" aria-label=' in chart_html(wide, "a", "p-")


def test_a_figure_of_ours_survives_the_way_into_a_page(tmp_path):
    with plots.style():
        ax = plots.heatmap(trace, title="Weights")
        assert isinstance(ax.figure, Figure)
        plots.save(ax.figure, tmp_path / "a.svg")
    out = inline_svg((tmp_path / "a.svg").read_text(encoding="utf-8"), "weights", "p-")
    assert "#000000" not in out
    assert plots.GOLD.lower() in out.lower()
    assert ">möchte</text>" in out
    assert "DejaVu" not in out


# --------------------------------------------------------------------------------- {measured}


def test_a_measured_number(book):
    html = book.read("html/index.html")
    assert re.findall(r'<span class="measured">(.*?)</span>', html) == [
        "34.2", "−1.50", "1,000", "1000", "ten-fold", "34",
    ]  # fmt: skip


def test_a_bar_may_be_escaped(results):
    assert look_up(results, r"run:bleu.dot.0\|.0f") == "34"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return Book(tmp_path).root / "book/results"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gone:bleu|.1f", "there is no gone.json in results; run gone.py there"),
        ("bad:bleu|.1f", "bad.json is not JSON"),
        ("bleu.dot", "expected file:dotted.path|format"),
        ("run:", "expected file:dotted.path|format"),
        ("../run:bleu", "expected file:dotted.path|format"),
        ("run:loss|.1f", "no 'loss' in run.json, which has bleu, ok"),
        ("run:bleu.dot.2|.1f", "no position '2' in bleu.dot, a list of 2"),
        ("run:bleu.dot.best|.1f", "no position 'best' in bleu.dot, a list of 2"),
        ("run:bleu.n.x|.1f", "no 'x' in bleu.n, which is 1000"),
        ("run:bleu|.1f", "bleu is not a number or a text but dict"),
        ("run:ok", "ok is not a number or a text but bool"),
        ("run:bleu.dot.0", "bleu.dot.0 is a fraction and needs a format"),
        ("run:bleu.dot.0|d", "bleu.dot.0 is 34.25, which 'd' does not fit"),
    ],
)
def test_a_measurement_that_is_not_there_is_named(results, target, message):
    (results / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        look_up(results, target)


def test_a_new_measurement_is_read(results):
    assert look_up(results, "run:bleu.n") == "1000"
    path = results / "run.json"
    before = path.stat()
    path.write_text('{"bleu": {"n": 7}}', encoding="utf-8")
    assert path.stat().st_mtime_ns > before.st_mtime_ns
    assert look_up(results, "run:bleu.n") == "7"


# ------------------------------------------------------------------------------- labs' outputs


def test_a_labs_drawings_are_part_of_the_page(book):
    html = book.read("html/lab.html")
    assert 'aria-label="drawing 0"' in html
    assert 'aria-label="drawing 1"' in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_other_pictures_stay_pictures(book):
    html = book.read("html/lab.html")
    assert re.findall(r"<img[^>]*>", html) == re.findall(r'<img[^>]*alt="drawing 2"[^>]*>', html)


def test_a_stored_scrubber_wins_over_its_widget(book):
    html = book.read("html/lab.html")
    assert html.count('class="attn-scrubber-figure"') == 2
    assert "widget-view" not in html
    assert "Scrubber(" not in html


def test_the_authors_own_priorities_come_last():
    config = {"nb_mime_priority_overrides": [("html", "text/html", 7)]}
    site_figures._prefer_html(None, config)
    assert config["nb_mime_priority_overrides"][0] == ("html", "text/html", 5)
    assert config["nb_mime_priority_overrides"][-1] == ("html", "text/html", 7)
    alone: dict[str, Any] = {}
    site_figures._prefer_html(None, alone)
    assert alone == {}
