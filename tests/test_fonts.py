"""The site's own fonts: small, free, complete, and the same width of a page on every machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest

import fonts
from attnbook.site.svg import inline_svg
from glyphs import lacking_in, read
from test_site import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from conftest import Chromium

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "src" / "attnbook" / "static"
FONTS_OF_MATPLOTLIB = Path(mpl.get_data_path()) / "fonts" / "ttf"


# A page of each kind, and the ones that once were too wide with one font or another.
WIDEST = [
    "book/index.html",
    "book/03_encoder_decoder.html",
    "book/05_dot_attention.html",
    "book/13_transformer.html",
    "book/glossary.html",
    "notebooks/13_transformer.html",
    "notebooks/exercises/12_many_heads.html",
]


# --- the files ------------------------------------------------------------------------------------


def test_the_fonts_are_small() -> None:
    files = {path.stem: path.stat().st_size for path in fonts.FOLDER.glob("*.woff2")}
    assert set(files) == {cut.file for cut in fonts.CUTS}
    assert sum(files.values()) <= 160_000, files


@pytest.mark.parametrize("family", fonts.FAMILIES, ids=lambda family: family.name)
def test_each_family_has_its_licence_beside_it(family: fonts.Family) -> None:
    short = family.name.split()[1].lower()
    text = (fonts.FOLDER / f"OFL-{short}.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in text
    for cut in (cut for cut in fonts.CUTS if cut.family == family):
        names = read(cut.file)["name"]
        assert "SIL Open Font License" in names.getDebugName(13)
        for number in (1, 3, 4, 6):  # a reserved name may not be the name of a changed font
            assert "Source" not in (names.getDebugName(number) or ""), cut.file


@pytest.mark.parametrize("cut", fonts.CUTS, ids=lambda cut: cut.file)
def test_the_style_sheet_says_what_is_in_a_file(cut: fonts.Cut) -> None:
    style = (fonts.FOLDER / "fonts.css").read_text(encoding="utf-8")
    assert fonts.face(cut, read(cut.file)) in style
    axes = {a.axisTag: (a.minValue, a.maxValue) for a in read(cut.file)["fvar"].axes} if (
        "fvar" in read(cut.file)
    ) else {}  # fmt: skip
    assert axes == ({"wght": cut.weights} if cut.weights[0] < cut.weights[1] else {})


def test_a_cut_keeps_what_it_is_asked_for_and_is_the_same_each_time() -> None:
    data = (FONTS_OF_MATPLOTLIB / "DejaVuSans.ttf").read_bytes()
    cut = fonts.Cut("try", fonts.SANS, "", fonts._characters("aα▢€", (0x30, 0x39)))
    first, second = fonts.cut(data, cut), fonts.cut(data, cut)
    assert set(first.getBestCmap()) == cut.characters
    assert first["name"].getDebugName(1) == "Attn Sans"
    assert first.flavor == "woff2"
    for font in (first, second):
        font.flavor = None
    assert [first.getTableData(tag) for tag in ("glyf", "cmap", "head")] == [
        second.getTableData(tag) for tag in ("glyf", "cmap", "head")
    ]


def test_ranges_are_written_as_style_sheets_have_them() -> None:
    assert fonts.ranges([0x41, 0x20, 0x21, 0x22, 0x42, 0x2192]) == "U+20-22, U+41-42, U+2192"
    assert fonts.ranges([0x2192]) == "U+2192"


# --- every character has a glyph: of scripts; of pages in test_site.py ----------------------------


def test_what_scripts_write_has_a_glyph_too() -> None:
    """Moving figures say things only when they are moved; all of it is in the sans."""
    stack = '"Attn Sans", "Attn Sans Symbols"'
    assert lacking_in(stack, False, "aβ∇") == "∇"
    for script in STATIC.glob("*.js"):
        assert lacking_in(stack, False, script.read_text(encoding="utf-8")) == "", script.name


# --- the same widths everywhere -------------------------------------------------------------------

# A machine's fonts, by the files of matplotlib's package. Chromium ends itself where it finds no
# font at all; the last set stands for that: it has no letter. Some machines fit letters to whole
# pixels (hinting), as Debian does.
MACHINES = {
    "DejaVu": "DejaVu*.ttf",
    "DejaVu, hinted": "DejaVu*.ttf",
    "STIX": "STIX*.ttf",
    "none": "cmex10.ttf",
}
HINTED = '<match target="pattern"><edit name="hintstyle"><const>hintslight</const></edit></match>'

MEASURE = """() => {
  const range = document.createRange();
  const width = element => {
    range.selectNodeContents(element);
    return range.getBoundingClientRect().width;
  };
  // Formulas hold a hidden copy for screen readers in a font of the machine.
  const some = selector => [...document.querySelectorAll(selector)]
    .filter(element => element.getClientRects().length && !element.querySelector("mjx-container"))
    .slice(0, 5).map(width);
  return {
    page: document.documentElement.scrollWidth,
    // Lines broken at another word would make it longer or shorter.
    height: document.querySelector("article").scrollHeight,
    texts: ["h1", "h2", "article p > code", "td", "th", "pre", "svg text", ".attn-word",
            ".attn-legend span", "summary", "article button", "article select",
            ".bd-sidebar-primary a"].map(some).flat(),
  };
}"""

Launch = Callable[[str], "Browser"]


@pytest.fixture(scope="module")
def launch(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts Chromium on a machine with no fonts but those of a set."""
    browsers = []

    def start(name: str) -> Browser:
        folder = tmp_path_factory.mktemp("fonts")
        for path in FONTS_OF_MATPLOTLIB.glob(MACHINES[name]):
            (folder / path.name).symlink_to(path)
        config = folder / "fonts.conf"
        config.write_text(
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
            f"<dir>{folder}</dir><cachedir>{folder}/cache</cachedir>"
            f"{HINTED * name.endswith('hinted')}</fontconfig>"
        )
        browsers.append(browser.launch(env={**os.environ, "FONTCONFIG_FILE": str(config)}))
        return browsers[-1]

    yield start
    for started in browsers:
        started.close()


def _measured(launch: Launch, name: str, address: str, paths: list[str]) -> dict[str, Any]:
    context = launch(name).new_context(
        viewport={"width": 360, "height": 740}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    found = {}
    for path in paths:
        page.goto(address + path)
        page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true) ?? true")
        page.evaluate("() => document.fonts.ready.then(() => true)")
        found[path] = page.evaluate(MEASURE)
    context.close()
    return found


def _compare(launch: Launch, address: str, paths: list[str]) -> None:
    sets = {name: _measured(launch, name, address, paths) for name in MACHINES}
    for path in paths:
        first = sets["DejaVu"][path]
        for name, measured in sets.items():
            here = measured[path]
            assert here["page"] <= 360, (path, name)
            assert len(here["texts"]) > 5, path
            assert here["height"] == pytest.approx(first["height"], abs=1), (path, name)
            assert here["texts"] == pytest.approx(first["texts"], abs=2), (path, name)


@pytest.mark.needs("linux")
def test_a_page_is_equally_wide_with_any_fonts(launch: Launch, site_url: str) -> None:
    _compare(launch, site_url, WIDEST)


@pytest.mark.exhaustive
@pytest.mark.needs("linux")
def test_all_pages_are_equally_wide_with_any_fonts(launch: Launch, site_url: str) -> None:
    _compare(launch, site_url, [path for path in PAGES if path not in WIDEST])


@pytest.mark.needs("linux")
@pytest.mark.parametrize("name", MACHINES)
def test_no_letter_of_a_chart_is_cut_off(launch: Launch, site: Path, name: str) -> None:
    """All stored charts, on one page of the site, which gives it its styles."""
    charts = sorted((ROOT / "book" / "figures").glob("*.svg"))
    drawn = [inline_svg(path.read_text("utf-8"), path.stem, f"{path.stem}-") for path in charts]
    context = launch(name).new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto((site / "book" / "models.html").as_uri())
    outside = page.evaluate(
        r"""async drawn => {
            document.querySelector("article").innerHTML = drawn.join("");
            await document.fonts.ready;
            const found = [];
            for (const svg of document.querySelectorAll("article svg")) {
                const box = svg.getBoundingClientRect();
                for (const text of svg.querySelectorAll("text")) {
                    // Along the line; across it, a line is higher than its letters are.
                    const {left, right, top, bottom} = text.getBoundingClientRect();
                    const over = /rotate\(-?90/.test(text.getAttribute("transform"))
                        ? Math.max(box.top - top, bottom - box.bottom)
                        : Math.max(box.left - left, right - box.right);
                    if (over > 0.5)
                        found.push([svg.getAttribute("aria-label"), text.textContent, over]);
                }
            }
            return found;
        }""",
        drawn,
    )
    assert page.locator("article svg text").count() > 800
    context.close()
    assert outside == []


# --- what a page loads, and when ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("book/index.html", {"serif", "sans"}),
        ("book/05_dot_attention.html", {"serif", "serif-italic", "sans", "sans-italic", "mono"}),
    ],
)
def test_a_page_loads_the_fonts_it_uses(open_page: Any, path: str, files: set[str]) -> None:
    visit = open_page(path)
    loaded = visit.page.evaluate(
        """() => performance.getEntriesByType("resource").map(entry => entry.name)"""
    )
    found = [match[1] for url in loaded if (match := re.search(r"/fonts/([\w-]+)\.woff2$", url))]
    assert set(found) == files
    assert visit.problems() == []


def test_a_page_from_a_folder_has_its_fonts_and_says_nothing(browser: Chromium, site: Path) -> None:
    url = (site / "book" / "index.html").as_uri()
    visit = browser.visit(url, site.as_uri(), width=1280, height=800)
    loaded = visit.page.evaluate(
        """[...document.fonts].filter(f => f.status === "loaded").map(f => f.family)"""
    )
    assert {"Attn Serif", "Attn Sans"} <= {name.strip('"') for name in loaded}
    assert visit.problems() == []
    browser.leave(visit)


SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    shifts.push([entry.value, entry.sources.map(source => {
      const node = source.node;
      const element = node?.nodeType === 1 ? node : node?.parentElement;
      return Boolean(element?.closest("article"));
    })]);
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.mark.needs("linux")
@pytest.mark.parametrize("path", ["book/index.html", "book/05_dot_attention.html"])
def test_text_hardly_moves_when_the_fonts_arrive(launch: Launch, site_url: str, path: str) -> None:
    """Over a slow line, on a machine whose own fonts, DejaVu, are wider."""
    context = launch("DejaVu").new_context(viewport={"width": 1280, "height": 800})
    # Without them a page shows its text sooner, so that the fonts have less time.
    context.route(re.compile("mathjax|fontawesome"), lambda route: route.abort())
    page = context.new_page()
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 150, "downloadThroughput": 2e5, "uploadThroughput": 1e5},
    )
    page.add_init_script(SHIFTS)
    page.goto(site_url + path, timeout=120_000)
    page.evaluate("() => document.fonts.ready.then(() => true)")
    page.wait_for_timeout(300)
    shifts = page.evaluate("shifts")
    context.close()
    # A busy machine draws more often in between: 0.02 was seen on one.
    assert sum(value for value, inside in shifts if any(inside)) < 0.03, shifts
