"""Fill in the blank in a real browser: every piece by keyboard, in both themes, on paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from accessible import WIDTHS_AND_SCHEMES, violations
from attnbook.figures.blanks import Blank, BlanksFigure, blanks

PIECES = ["two", "skateboard", "##ers", "are", "performing", "tricks", "."]
BOTH = [
    [(piece, 0.5), ("a", 0.25), ("the", 0.05), ("who", 0.04), ("[UNK]", 0.001)] for piece in PIECES
]
LEFT = [[("a", 0.75), ("the", 0.125), (piece, 0.0625)] for piece in PIECES]
LEFT[3] = [("is", 0.5)]
FIGURE = [
    Blank(PIECES, BOTH, LEFT),
    Blank(["dogs", "run"], [[("boys", 1.0)], [("run", 0.996)]], [[("a", 0.5)], [("run", 0.3)]]),
]


def markup(figure: list[Blank]) -> str:
    return BlanksFigure(figure).element("A caption with a blank")


@pytest.fixture
def show(show_bare: Callable[..., Any]) -> Callable[..., Any]:
    """A page with figures, as a phone or a desk shows it; nothing may go wrong in it."""
    head = (
        f"<style>body{{margin:16px}}\n{BlanksFigure.styles()}</style>"
        f"<script>{BlanksFigure.script()}</script>"
    )
    return lambda *figures, **options: show_bare(*map(markup, figures), head=head, **options)


READ = """card => {
  const texts = (selector, within = card) =>
    [...within.querySelectorAll(selector)].map(e => e.textContent);
  const tables = [...card.querySelectorAll("table")].map(table => ({
    title: table.querySelector("caption").textContent,
    rows: [...table.querySelectorAll("tbody tr")].map(row => [
      row.querySelector("th").firstChild.textContent,
      row.querySelector("td").textContent,
      row.classList.contains("attn-blank-right"),
      row.querySelector("i").style.width]),
  }));
  return {
    status: card.querySelector("[role=status]").textContent,
    options: texts("option"),
    text: card.querySelector("select").selectedIndex,
    line: texts(".attn-blank-pieces span"),
    names: [...card.querySelectorAll("input")].map(e => e.getAttribute("aria-label")),
    checked: [...card.querySelectorAll("input")].map(e => e.checked),
    unread: [...card.querySelectorAll(".attn-blank-pieces span")]
      .map(e => e.classList.contains("attn-blank-after")),
    tables,
  };
}"""


def two(value: float) -> str:
    """Two decimals as JavaScript rounds: by the exact value, halves away from zero."""
    return str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))


def verdict(guesses: list[tuple[str, float]], piece: str) -> str:
    """Where a model has the hidden piece, as the figure says it."""
    for place, (guess, probability) in enumerate(guesses):
        if guess == piece:
            name = f"guess {place + 1}" if place else "first guess"
            return f"{name}, {two(probability)}"
    return f"not among the {len(guesses)} best"


def check(shown: dict[str, Any], figure: list[Blank], text: int, i: int) -> None:
    """Everything that one choice shows."""
    one = figure[text]
    assert shown["text"] == text
    assert shown["options"] == [" ".join(b.pieces).replace(" ##", "") for b in figure]
    assert shown["names"] == one.pieces
    assert shown["line"] == [*one.pieces[:i], "[MASK]", *one.pieces[i + 1 :]]
    assert shown["checked"] == [place == i for place in range(len(one.pieces))]
    assert shown["unread"] == [place > i for place in range(len(one.pieces))]
    sides = {"Both sides seen": one.both[i], "Only the left seen": one.left[i]}
    for table, (title, guesses) in zip(shown["tables"], sides.items(), strict=True):
        assert table["title"] == title
        for row, (guess, probability) in zip(table["rows"], guesses, strict=True):
            assert row[0] == guess
            assert row[1] == two(probability)
            assert row[2] == (guess == one.pieces[i])
            assert float(row[3].rstrip("%")) == pytest.approx(100 * probability, abs=0.01)
    said = [f"{title}: {verdict(guesses, one.pieces[i])}." for title, guesses in sides.items()]
    assert shown["status"] == " ".join(
        [f"Hidden: “{one.pieces[i]}”, {i + 1} of {len(one.pieces)}.", *said]
    )


def go_through(page: Any, card: Any, figure: list[Blank]) -> None:
    """Every text and every piece, by keyboard alone."""
    for text, one in enumerate(figure):
        card.get_by_role("combobox").focus()
        if text:
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")  # to the piece that is chosen
        seen = set()
        for _ in one.pieces:
            shown = card.evaluate(READ)
            i = shown["checked"].index(True)
            check(shown, figure, text, i)
            seen.add(i)
            page.keyboard.press("ArrowRight")  # from the last piece to the first one
        assert seen == set(range(len(one.pieces)))


def test_every_text_and_every_piece_by_keyboard(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    go_through(page, page.locator(".attn-blank"), FIGURE)


def test_by_hand(show: Callable[..., Any]) -> None:
    """What the reader is told, word for word."""
    page = show(FIGURE)
    line = page.get_by_role("status")
    assert line.get_attribute("aria-live") == "polite"
    assert line.text_content() == (
        "Hidden: “are”, 4 of 7. Both sides seen: first guess, 0.50. "
        "Only the left seen: not among the 1 best."
    )
    page.get_by_role("radio", name="##ers").check()
    assert line.text_content() == (
        "Hidden: “##ers”, 3 of 7. Both sides seen: first guess, 0.50. "
        "Only the left seen: guess 3, 0.06."
    )
    page.get_by_role("combobox", name="Caption").select_option("dogs run")
    assert line.text_content() == (
        "Hidden: “run”, 2 of 2. Both sides seen: first guess, 1.00. "
        "Only the left seen: first guess, 0.30."
    )


def test_what_a_screen_reader_gets(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    assert page.get_by_role("group", name="A caption with a blank").count() == 1
    assert page.get_by_role("group", name="Hide").get_by_role("radio").count() == 7
    assert page.get_by_role("table").count() == 2  # those for where nothing can be chosen have gone
    table = page.get_by_role("table", name="Both sides seen")
    assert table.get_by_role("rowheader").all_text_contents()[0] == "are ✓ (was hidden)"


@WIDTHS_AND_SCHEMES
def test_axe_finds_nothing(show: Callable[..., Any], width: int, scheme: str) -> None:
    page = show(FIGURE, FIGURE[1:], width=width, scheme=scheme)
    assert violations(page, ".attn-blanks-figure") == []


@pytest.mark.parametrize("width", [320, 360, 800])
def test_nothing_is_wider_than_the_page(show: Callable[..., Any], width: int) -> None:
    page = show(FIGURE, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for label in page.locator(".attn-blank-pieces label").all():
        box = label.bounding_box()
        assert box["width"] >= 24
        assert box["height"] >= 24


def test_two_figures_do_not_meddle(show: Callable[..., Any]) -> None:
    page = show(FIGURE, FIGURE)
    cards = page.locator(".attn-blank")
    cards.nth(1).get_by_role("radio", name="tricks").check()
    check(cards.nth(0).evaluate(READ), FIGURE, 0, 3)
    check(cards.nth(1).evaluate(READ), FIGURE, 0, 5)


def test_paper_and_pages_without_javascript_get_all_tables(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    fallback = page.locator(".attn-fallback")
    assert not fallback.is_visible()
    page.emulate_media(media="print")
    assert fallback.is_visible()
    assert not page.locator(".attn-blank").is_visible()
    still = show(FIGURE, javascript=False)
    assert still.locator(".attn-fallback table").count() == 2
    assert still.locator(".attn-fallback").is_visible()


# ------------------------------------------------------------------------------ the built site


def work(page: Any, figure: Any) -> None:
    """A figure of the site shows all that is stored in it."""
    stored = figure.locator("script[type='application/json']").text_content()
    go_through(page, figure.locator(".attn-blank"), blanks(json.loads(stored)))
