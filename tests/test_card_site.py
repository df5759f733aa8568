"""The card that figures and questions stand in, in a real browser: theme, focus, paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accessible import violations
from attnbook.figures.embedded import asset

HEAD = f"<style>{asset('card.css')}</style>"
CARD = """
<div class="attn-card" role="group" aria-label="Card">
  <p>Something to <a href="#top">read</a>. <span class="attn-card-unseen">Heard only.</span></p>
  <p class="attn-card-status" role="status">What was said.</p>
</div>
<table class="attn-card-replaced"><tr><td>for paper</td></tr></table>
"""


@pytest.mark.parametrize(
    ("scheme", "theme", "colour"),
    [
        ("light", "", "rgb(255, 255, 255)"),
        ("dark", "", "rgb(20, 24, 30)"),
        ("dark", "light", "rgb(255, 255, 255)"),
        ("light", "dark", "rgb(20, 24, 30)"),
    ],
)
def test_it_follows_its_page(
    show_bare: Callable[..., Any], scheme: str, theme: str, colour: str
) -> None:
    page = show_bare(CARD, head=HEAD, scheme=scheme)
    if theme:
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    card = "getComputedStyle(document.querySelector('.attn-card')).backgroundColor"
    assert page.evaluate(card) == colour


def test_what_is_for_the_ear_takes_no_room(show_bare: Callable[..., Any]) -> None:
    page = show_bare(CARD, head=HEAD)
    heard = page.get_by_text("Heard only.")
    box = heard.bounding_box()
    assert box["width"] <= 1
    assert box["height"] <= 1
    assert "Heard only." in page.get_by_role("group", name="Card").aria_snapshot()
    assert violations(page, ".attn-card") == []


def test_focus_is_outlined(show_bare: Callable[..., Any]) -> None:
    page = show_bare(CARD, head=HEAD)
    page.keyboard.press("Tab")
    link = page.get_by_role("link")
    assert link.evaluate("e => e === document.activeElement")
    assert link.evaluate("e => getComputedStyle(e).outlineWidth") == "2px"


def test_tables_that_were_replaced_come_back_on_paper(show_bare: Callable[..., Any]) -> None:
    page = show_bare(CARD, head=HEAD)
    table = page.get_by_text("for paper")
    assert not table.is_visible()
    page.emulate_media(media="print")
    assert table.is_visible()
