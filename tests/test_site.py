"""The built site, opened in a real Chromium that has no network.

Every page is opened once and looked at as a reader would, narrow and wide, light and dark. What its
figures and questions have to show is said in the tests of each of them, test_scrubber_site.py and
others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

import test_blanks_site
import test_question_site
import test_regression_figure
import test_scrubber_site
import test_sight_site
from accessible import faint, structure, violations
from glyphs import lacking

ROOT = Path(__file__).resolve().parents[1]


def _documents(entry: dict) -> list[str]:
    """All pages below an entry of _toc.yml, in reading order."""
    own = [entry[key] for key in ("root", "file") if key in entry]
    below = [e for key in ("parts", "chapters", "sections") for e in entry.get(key, [])]
    return own + [page for e in below for page in _documents(e)]


PAGES = [f"{page}.html" for page in _documents(yaml.safe_load((ROOT / "_toc.yml").read_text()))]
ALL = [*PAGES, "search.html", "genindex.html"]

# Each kind of element that can be worked, by its class, and what works it.
WORK = {
    "attn-scrubber-figure": test_scrubber_site.work,
    "attn-question-figure": test_question_site.work,
    "attn-blanks-figure": test_blanks_site.work,
    "attn-sight-figure": test_sight_site.work,
    "attn-regression-figure": test_regression_figure.work,
}


def _named(path: str) -> str:
    return path.removesuffix(".html")


class Opened:
    """A page of the site that stays open for all tests that look at it."""

    def __init__(self, visit, path: str, file: Path) -> None:
        self.visit, self.page, self.path = visit, visit.page, path
        self.html = file.read_text(encoding="utf-8")

    def show(self, place: str) -> None:
        """At a desk, light or dark, or on a phone whose owner wants nothing to move."""
        phone = place == "phone"
        scheme: Literal["light", "dark"] = "dark" if place == "dark" else "light"
        self.page.emulate_media(
            color_scheme=scheme, reduced_motion="reduce" if phone else "no-preference"
        )
        self.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        size = (360, 740) if phone else (1280, 800)
        if self.page.viewport_size["width"] != size[0]:
            self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.evaluate(SETTLED)
        assert (_brightness(self.page) > 600) == (scheme == "light")


# The theme lets some colours pass into each other, and fonts come when there is a text in them. All
# that moves is taken to its end: in a closed fold nothing is drawn, and it would never come there.
SETTLED = """async () => {
    for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame);
    const endless = animation => animation.effect.getComputedTiming().endTime === Infinity;
    for (const one of document.getAnimations().filter(one => !endless(one))) one.finish();
    await document.fonts.ready;
}"""


# Milliseconds after which the theme has seen a new width: code that scrolls takes the keyboard.
LATE = 400


def _brightness(page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(x) for x in re.findall(r"\d+", colour)[:3])


@pytest.fixture(scope="module", params=ALL, ids=_named)
def opened(open_pages, browser, site: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Each page, opened on a phone."""
    visit = open_pages(request.param, width=360, height=740, reduced_motion="reduce")
    yield Opened(visit, request.param, site / request.param)
    browser.leave(visit)


# --- every page in the browser ----------------------------------------------------------------


def test_nothing_is_wider_than_a_phone(opened: Opened) -> None:
    """At 360 px the page does not scroll sideways, and nothing sticks out of a box that cuts it."""
    opened.show("phone")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    sticking_out = opened.page.evaluate(
        """() => {
            const scrolls = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
            const found = [];
            for (const e of document.querySelectorAll("main *, footer *")) {
                const box = e.getBoundingClientRect();
                if (!box.width || !box.height || box.right <= 360.5) continue;
                const style = getComputedStyle(e);
                if (style.visibility === "hidden" || style.position === "fixed") continue;
                let up = e.parentElement;
                while (up && !scrolls(up)) up = up.parentElement;
                if (up && up.getBoundingClientRect().right <= 360.5) continue;
                if (e.closest(".visually-hidden, .sr-only, mjx-assistive-mml")) continue;
                found.push(`${e.tagName} .${e.className} to ${Math.round(box.right)} px`);
            }
            return found.slice(0, 8);
        }"""
    )
    assert sticking_out == []


def test_nothing_moves_unasked(opened: Opened) -> None:
    opened.show("phone")
    running = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert opened.page.evaluate(running) == 0


def test_formulas_are_set(opened: Opened) -> None:
    unset = opened.page.evaluate(
        """[...document.querySelectorAll(".math")]
            .filter(e => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
            .map(e => e.textContent)"""
    )
    assert unset == []


def test_every_character_has_a_glyph(opened: Opened) -> None:
    assert lacking(opened.page) == {}


def _kind(path: str) -> str:
    """Chapters, labs, exercises and the reference are alike; all other pages are by themselves."""
    folder, name = path.rsplit("/", 1) if "/" in path else ("", path)
    if re.match(r"\d\d_", name):
        return folder
    return "reference" if name.startswith("api") else path


@pytest.fixture(scope="module")
def fullest(site: Path) -> set[str]:
    """Of each kind the page with the most kinds of elements: tags with classes."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for path in ALL:
        html = (site / path).read_text(encoding="utf-8")
        elements = {m.groups() for m in re.finditer(r'<([a-z]\w*)(?: class="([^"]*)")?', html)}
        kinds.setdefault(_kind(path), []).append((len(elements), path))
    assert {"book", "notebooks", "notebooks/exercises", "book/index.html"} < set(kinds)
    return {max(pages)[1] for pages in kinds.values()}


@pytest.mark.parametrize("place", ["phone", "dark"])
def test_page_can_be_read(opened: Opened, fullest: set[str], place: str) -> None:
    """All rules of axe-core on one page of each kind; on the others the contrast of each look."""
    opened.show(place)
    if opened.path in fullest:
        opened.page.wait_for_timeout(LATE)
        assert violations(opened.page) == []
    else:
        assert faint(opened.page) == []


def test_what_can_be_worked_answers(opened: Opened) -> None:
    """Every figure and every question of the page, step by step; axe looks at the answers."""
    opened.show("light")
    worked = []
    for name, work in WORK.items():
        found = opened.page.locator(f".{name}").all()
        assert len(found) == opened.html.count(f'class="{name}"')
        for one in found:
            work(opened.page, one)
        worked += [f".{name}"] * bool(found)
    if worked:
        assert structure(opened.page, ", ".join(worked)) == []


def test_page_is_quiet_with_the_network_closed(opened: Opened) -> None:
    """No error or warning in the console, no request that fails or leaves this machine."""
    # What is loaded lazily is loaded by scrolling past it.
    waiting = opened.page.evaluate(
        """async () => {
            for (let y = 0; y < document.body.scrollHeight; y += 600) {
                scrollTo(0, y);
                await new Promise(requestAnimationFrame);
            }
            scrollTo(0, 0);
            const pictures = [...document.images];
            await Promise.allSettled(pictures.map(picture => picture.decode()));
            return pictures.filter(p => !p.naturalWidth).map(p => p.src);
        }"""
    )
    assert waiting == []
    assert opened.visit.problems() == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", ["light", "dark", "phone"])
def test_page_is_accessible(opened: Opened, place: str) -> None:
    """axe-core with all of its rules on every page; nothing is switched off."""
    opened.show(place)
    opened.page.wait_for_timeout(LATE)
    assert violations(opened.page) == []


def test_search_finds_a_page(open_page) -> None:
    visit = open_page("search.html?q=attention")
    visit.page.wait_for_selector("#search-results li a")
    # The search reads every page that it shows; leaving before would cut one of them off.
    visit.page.wait_for_load_state("networkidle")
    first = visit.page.locator("#search-results li a").first
    first.click()
    visit.page.wait_for_load_state("load")
    assert "book/" in visit.page.url or "notebooks/" in visit.page.url
    assert visit.problems() == []


def test_the_root_leads_to_the_landing_page(open_page) -> None:
    page = open_page("book/references.html").page
    page.goto(page.url.replace("book/references.html", ""), wait_until="commit")
    page.wait_for_url("**/book/book/index.html")
    assert page.locator("article h1").count() == 1


def test_the_landing_page_shows_how_to_start_without_scrolling(open_page) -> None:
    page = open_page("book/index.html", width=1280, height=800).page
    start = page.locator("a", has_text="Start").first
    box = start.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800


def test_the_scheme_can_be_switched_by_keyboard(open_page) -> None:
    page = open_page("book/index.html", alone=True).page  # it keeps what was chosen
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(background)}
    button = page.locator("button.theme-switch-button:visible").first
    button.focus()
    for _ in range(3):
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        seen.add(page.evaluate(background))
    assert len(seen) == 2


# --- the files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def soups(site: Path) -> dict[Path, BeautifulSoup]:
    """Every HTML file of the site, parsed."""
    files = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    return {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in files}


def test_every_page_of_the_contents_was_built(site: Path) -> None:
    assert [path for path in ALL if not (site / path).is_file()] == []


def test_internal_links_lead_somewhere(site: Path, soups: dict[Path, BeautifulSoup]) -> None:
    """Each link to a page, to a part of a page, and to a file of the site."""
    anchors = {
        path: {tag["id"] for tag in soup.find_all(id=True)}
        | {tag["name"] for tag in soup.find_all("a", attrs={"name": True})}
        for path, soup in soups.items()
    }
    broken = []
    for path, soup in soups.items():
        for tag, key in [("a", "href"), ("link", "href"), ("script", "src"), ("img", "src")]:
            for element in soup.find_all(tag, attrs={key: True}):
                target, fragment = urldefrag(str(element[key]))
                parts = urlsplit(target)
                if parts.scheme or parts.netloc:
                    continue
                file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                if file.is_dir():
                    file /= "index.html"
                where = f"{path.relative_to(site)}: {element[key]}"
                inside = file.is_file() and site.resolve() in file.parents
                known = not fragment or unquote(fragment) in anchors.get(file, {unquote(fragment)})
                if not inside or not known:
                    broken.append(where)
    assert broken == []


def test_links_outwards_are_https(soups: dict[Path, BeautifulSoup], site: Path) -> None:
    plain = [
        f"{path.relative_to(site)}: {a['href']}"
        for path, soup in soups.items()
        for a in soup.find_all("a", href=True)
        if str(a["href"]).startswith("http:")
    ]
    assert plain == []


def test_nothing_is_loaded_from_elsewhere(soups: dict[Path, BeautifulSoup], site: Path) -> None:
    """In the files themselves too, where a browser with a network would follow it."""
    loaded = []
    for soup in soups.values():
        for tag, key in [("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")]:
            loaded += [e[key] for e in soup.find_all(tag, attrs={key: re.compile("^(https?:)?//")})]
        for link in soup.find_all("link", href=re.compile("^(https?:)?//")):
            if set(link.get("rel") or ()) & {"stylesheet", "preload", "preconnect", "dns-prefetch"}:
                loaded.append(link["href"])
    for sheet in (site / "_static").rglob("*.css"):
        text = sheet.read_text(encoding="utf-8", errors="replace")
        loaded += re.findall(r"@import[^;]*https?:[^;]*|url\(\s*['\"]?(?:https?:)?//[^)]*\)", text)
    assert loaded == []


def test_pictures_are_described(soups: dict[Path, BeautifulSoup], site: Path) -> None:
    """A picture says what is to be seen, or is decoration: marked so, or beside a link's text."""
    poor = []
    for path, soup in soups.items():
        article = soup.find("article") or soup
        for image in article.find_all("img"):
            alt = image.get("alt")
            link = image.find_parent("a")
            spoken = link is not None and link.get_text(strip=True)
            if alt == "" and (spoken or image.get("role") == "presentation"):
                continue
            said = str(alt or "")
            if len(said.split()) < 4 or re.search(r"\.(png|svg|jpe?g)|[0-9a-f]{16}", said):
                poor.append(
                    f"{path.relative_to(site)}: {str(image.get('src', ''))[:80]} alt={alt!r}"
                )
        for drawing in article.find_all("svg"):
            hidden = drawing.get("aria-hidden") == "true" or drawing.find_parent(
                attrs={"aria-hidden": "true"}
            )
            labelled = drawing.get("aria-label") or drawing.get("aria-labelledby")
            if not hidden and not (drawing.get("role") == "img" and labelled):
                poor.append(f"{path.relative_to(site)}: {str(drawing)[:80]}")
    assert poor == []


def test_every_page_says_what_it_is(soups: dict[Path, BeautifulSoup], site: Path) -> None:
    for path in PAGES:
        soup = soups[site / path]
        assert soup.select("html")[0]["lang"] == "en"
        assert len(soup.select("article")[0].select("h1")) == 1, path
        assert soup.select("title")[0].text.strip(), path
    titles = [soups[site / path].select("title")[0].text for path in PAGES]
    assert len(set(titles)) == len(titles)


def test_headings_skip_no_level_and_ids_are_one_elements(
    soups: dict[Path, BeautifulSoup], site: Path
) -> None:
    for path in PAGES:
        article = soups[site / path].select("article")[0]
        levels = [int(heading.name[1]) for heading in article.find_all(re.compile("^h[1-6]$"))]
        assert all(below <= level + 1 for level, below in pairwise(levels)), (path, levels)
        ids = Counter(str(tag["id"]) for tag in soups[site / path].find_all(id=True))
        assert [name for name, count in ids.items() if count > 1] == [], path


def test_previous_and_next_name_their_page(soups: dict[Path, BeautifulSoup], site: Path) -> None:
    for here, following in pairwise(PAGES):
        link = soups[site / here].find("a", class_="right-next")
        assert link is not None, here
        assert link.select(".prev-next-title")[0].text.strip()
        assert (site / here).parent.joinpath(str(link["href"])).resolve() == (
            site / following
        ).resolve()
