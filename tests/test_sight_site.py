"""What each word may see, in a real browser: every choice by keyboard, in both themes, on paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from accessible import WIDTHS_AND_SCHEMES, violations
from attnbook.figures.sight import Sight, SightFigure, sights

SOURCE, TARGET = ["ruf", "mich", "morgen", "an"], ["<sos>", "call", "me", "tomorrow"]
FIGURE = sights(SOURCE, TARGET, padding=1)


def markup(figure: list[Sight]) -> str:
    return SightFigure(figure).element("What each word may see")


@pytest.fixture
def show(show_bare: Callable[..., Any]) -> Callable[..., Any]:
    """A page with figures, as a phone or a desk shows it; nothing may go wrong in it."""
    start = f"document.addEventListener('DOMContentLoaded', () => {{{SightFigure.script()}}})"
    style = f"body{{margin:16px}}\n{SightFigure.styles()}"
    head = f"<style>{style}</style><script>{start}</script>"
    return lambda *figures, **options: show_bare(*map(markup, figures), head=head, **options)


READ = """card => {
  const texts = (selector, within = card) =>
    [...within.querySelectorAll(selector)].map(e => e.textContent);
  const rows = [...card.querySelectorAll("tbody tr")];
  const lines = [...card.querySelectorAll(".attn-sight-chosen line")];
  return {
    status: card.querySelector("[role=status]").textContent,
    call: card.querySelector("code").textContent,
    head: texts("thead th"),
    rows: rows.map(row => texts("th", row)[0]),
    sees: rows.map(row => texts("td", row)),
    dots: rows.map(row => [...row.querySelectorAll("td i")]
      .map(e => e.classList.contains("attn-sight-dot"))),
    outlined: rows.map(row => row.classList.contains("attn-sight-row")),
    checked: rows.map(row => row.querySelector("input").checked),
    from: [...new Set(lines.map(line => line.getAttribute("x2")))],
    to: lines.map(line => line.getAttribute("x1")),
    groups: card.querySelectorAll("svg g").length,
    struck: texts(".attn-sight-hidden"),
    asks: texts(".attn-sight-asks"),
  };
}"""


def status(one: Sight, row: int) -> str:
    def quoted(words: list[str]) -> str:
        return ", ".join(f"“{word}”" for word in words)

    seen = [word for word, may in zip(one.columns, one.sees[row], strict=True) if may]
    hidden = [word for word, may in zip(one.columns, one.sees[row], strict=True) if not may]
    start = f"“{one.rows[row]}”, {row + 1} of {len(one.rows)}, sees {quoted(seen)}"
    return f"{start}; not {quoted(hidden)}." if hidden else f"{start}: all {len(seen)}."


def check(shown: dict[str, Any], one: Sight, row: int) -> None:
    """Everything that one choice shows."""
    columns, rows = len(one.columns), len(one.rows)
    assert shown["status"] == status(one, row)
    assert shown["call"] == one.call
    assert shown["head"] == ["asks", *one.columns]
    assert shown["rows"] == one.rows
    assert shown["dots"] == one.sees
    assert shown["sees"] == [
        ["sees" if may else "does not see" for may in line] for line in one.sees
    ]
    assert shown["outlined"] == shown["checked"] == [i == row for i in range(rows)]
    assert shown["groups"] == rows
    middles = [100 * (i + 0.5) / columns for i in range(columns)]
    assert [float(to.rstrip("%")) for to in shown["to"]] == pytest.approx(
        [middle for middle, may in zip(middles, one.sees[row], strict=True) if may]
    )
    assert [float(start.rstrip("%")) for start in shown["from"]] == pytest.approx(
        [100 * (row + 0.5) / rows]
    )
    assert shown["struck"] == [
        word for word, may in zip(one.columns, one.sees[row], strict=True) if not may
    ]
    assert shown["asks"] == [one.rows[row]]


def go_through(page: Any, card: Any, figure: list[Sight]) -> None:
    """Every kind and every row, by keyboard alone."""
    kinds = card.get_by_role("group", name="Kind of attention").get_by_role("radio")
    kinds.first.focus()
    for kind, one in enumerate(figure):
        if kind:
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")  # into the table, to the row that is chosen
        seen = set()
        for _ in one.rows:
            shown = card.evaluate(READ)
            row = shown["checked"].index(True)
            check(shown, one, row)
            seen.add(row)
            page.keyboard.press("ArrowDown")  # from the last row to the first one
        assert seen == set(range(len(one.rows)))
        page.keyboard.press("Shift+Tab")


def test_every_kind_and_every_row_by_keyboard(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    go_through(page, page.locator(".attn-sight"), FIGURE)


def test_by_hand(show: Callable[..., Any]) -> None:
    """What the reader is told, word for word."""
    page = show(FIGURE)
    line = page.get_by_role("status")
    assert line.get_attribute("aria-live") == "polite"
    assert line.text_content() == ("“ruf”, 1 of 4, sees “ruf”, “mich”, “morgen”, “an”: all 4.")
    page.get_by_role("radio", name="Masked self").check()
    assert line.text_content() == ("“<sos>”, 1 of 4, sees “<sos>”; not “call”, “me”, “tomorrow”.")
    page.get_by_role("radio", name="me", exact=True).check()
    assert line.text_content() == ("“me”, 3 of 4, sees “<sos>”, “call”, “me”; not “tomorrow”.")


def test_the_row_stays_where_there_is_one(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    page.get_by_role("radio", name="Padded self").check()
    page.get_by_role("radio", name="<pad>").check()
    check(page.locator(".attn-sight").evaluate(READ), FIGURE[3], 4)
    page.get_by_role("radio", name="Cross").check()
    check(page.locator(".attn-sight").evaluate(READ), FIGURE[2], 3)


def test_a_click_anywhere_in_a_row_chooses_it(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    page.locator(".attn-sight tbody tr").nth(2).locator("td").nth(1).click()
    check(page.locator(".attn-sight").evaluate(READ), FIGURE[0], 2)


def test_what_a_screen_reader_gets(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    assert page.get_by_role("group", name="What each word may see").count() == 1
    table = page.get_by_role("table")
    assert table.count() == 1  # the tables for where nothing can be chosen have gone
    heads = table.get_by_role("columnheader").all_text_contents()
    assert heads == ["asks", *FIGURE[0].columns]
    assert table.get_by_role("rowheader").all_text_contents() == FIGURE[0].rows
    assert table.get_by_role("cell", name="sees").count() == 16


@WIDTHS_AND_SCHEMES
def test_axe_finds_nothing(show: Callable[..., Any], width: int, scheme: str) -> None:
    page = show(FIGURE, FIGURE[:2], width=width, scheme=scheme)
    for kind in ("Self", "Masked self", "Padded self"):
        page.get_by_role("radio", name=kind, exact=True).first.check()
        assert violations(page, ".attn-sight-figure") == []


@pytest.mark.parametrize("width", [320, 360, 800])
def test_nothing_is_wider_than_the_page(show: Callable[..., Any], width: int) -> None:
    page = show(FIGURE, width=width)
    for radio in page.get_by_role("group", name="Kind").get_by_role("radio").all():
        radio.check()
        assert page.evaluate("document.documentElement.scrollWidth") == width
    for label in page.locator(".attn-sight label").all():
        box = label.bounding_box()
        assert box["width"] >= 24
        assert box["height"] >= 24


def test_two_figures_do_not_meddle(show: Callable[..., Any]) -> None:
    page = show(FIGURE, FIGURE)
    cards = page.locator(".attn-sight")
    cards.nth(1).get_by_role("radio", name="Cross").check()
    cards.nth(1).get_by_role("radio", name="call").check()
    check(cards.nth(0).evaluate(READ), FIGURE[0], 0)
    check(cards.nth(1).evaluate(READ), FIGURE[2], 1)


def test_paper_and_pages_without_javascript_get_all_tables(show: Callable[..., Any]) -> None:
    page = show(FIGURE)
    fallback = page.locator(".attn-fallback")
    assert not fallback.is_visible()
    page.emulate_media(media="print")
    assert fallback.is_visible()
    assert not page.locator(".attn-sight").is_visible()
    still = show(FIGURE, javascript=False)
    assert still.locator(".attn-fallback table").count() == 4
    assert still.locator(".attn-fallback").is_visible()


# ------------------------------------------------------------------------------ the built site


def work(page: Any, figure: Any) -> None:
    """A figure of the site shows all that is stored in it."""
    stored = figure.locator("script[type='application/json']").text_content()
    sights = [Sight(**one) for one in json.loads(stored)]
    go_through(page, figure.locator(".attn-sight"), sights)
