"""Questions in a real browser: answered by keyboard, in both themes, on a phone, on paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup

from accessible import WIDTHS_AND_SCHEMES, violations
from attnbook.figures.question import Question
from small_books import SmallBook

PAGE = """# Page

```{question} choice
:right: 2
Along which *axis* do the weights sum to 1?

the batch, which is the first of the three axes that the scores have
: The sentences of a batch would **share**.

the `source`
: Each step shares out 1.

the target
: A word has no share to give.
```

```{question} number
:right: −0.47
:within: 0.005
The number?

−0.33
: A third.

else
: Do it again.

right
: Half, nearly.
```

```{question} order
Put in order.

compare
: First come scores.

softmax
: Then shares.

add up
: Then the sum.

speak
: Last, the word.
```
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The three questions as the directive writes them."""
    book = SmallBook(tmp_path_factory.mktemp("book"))
    book.build(PAGE)
    assert book.warnings == ""
    soup = BeautifulSoup(book.read("html/index.html"), "html.parser")
    return [str(found) for found in soup.find_all("div", class_="attn-question-figure")]


@pytest.fixture
def show(show_bare: Callable[..., Any], figures: list[str]) -> Callable[..., Any]:
    """A page with the three questions, as a phone or a desk shows it."""
    head = f"<style>{Question.styles()}</style><script>{Question.script()}</script>"
    return lambda **options: show_bare(*figures, head=head, **options)


def said(card: Any) -> str:
    """What the live line says, as far as it can be seen."""
    return " ".join(card.get_by_role("status").inner_text().split())


# --- a choice -----------------------------------------------------------------------------------


def test_a_choice_by_keyboard(show: Callable[..., Any]) -> None:
    page = show()
    card = page.locator(".attn-question").nth(0)
    group = card.get_by_role("group", name="Along which axis do the weights sum to 1?")
    assert group.get_by_role("radio").count() == 3
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert said(card) == "✗ Not right. Try another one. The sentences of a batch would share."
    page.keyboard.press("ArrowDown")
    assert said(card) == ""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Check"
    page.keyboard.press("Enter")
    assert said(card) == "✓ Right. Each step shares out 1."
    card.get_by_role("radio", name="the target").check()
    card.get_by_role("button", name="Check").click()
    assert said(card) == "✗ Not right. Try another one. A word has no share to give."


def test_a_choice_has_to_be_made(show: Callable[..., Any]) -> None:
    page = show()
    card = page.locator(".attn-question").nth(0)
    card.get_by_role("button", name="Check").click()
    assert said(card) == "Choose an answer first."


# --- a number -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("-0.47", "✓ Right. Half, nearly."),
        ("−0,47", "✓ Right. Half, nearly."),
        (" -.465", "✓ Right. Half, nearly."),
        ("0.47", "✗ Not right. Try again. Do it again."),
        ("−0,33", "✗ Not right. Try again. A third."),
        ("3", "✗ Not right. Try again. Do it again."),
        ("a third", "Write a number, with comma or point: 0.5, −2 or 1,25."),
        ("", "Write a number, with comma or point: 0.5, −2 or 1,25."),
    ],
)
def test_a_number(show: Callable[..., Any], written: str, answer: str) -> None:
    page = show()
    card = page.locator(".attn-question").nth(1)
    field = card.get_by_role("textbox", name="Your number")
    field.fill(written)
    field.press("Enter")
    assert said(card) == answer
    field.press("1")
    assert said(card) == ""
    assert page.url.endswith(".html")  # nothing was sent anywhere


# --- an order -----------------------------------------------------------------------------------

STEPS = ["compare", "softmax", "add up", "speak"]


def shown_steps(card: Any) -> list[str]:
    return card.locator(".attn-question-step").all_text_contents()


def test_an_order_by_keyboard(show: Callable[..., Any]) -> None:
    """From the shuffled order to the right one, with nothing but Tab, Enter and the buttons."""
    page = show()
    card = page.locator(".attn-question").nth(2)
    assert sorted(shown_steps(card)) == sorted(STEPS)
    assert shown_steps(card) != STEPS
    for place, step in enumerate(STEPS):
        button = card.get_by_role("button", name=f"Move up: {step}", exact=True)
        now = shown_steps(card).index(step)
        if now > place:
            button.focus()
        for _ in range(now - place):
            page.keyboard.press("Enter")
            now -= 1
            assert shown_steps(card)[now] == step
            line = card.get_by_role("status").text_content()
            assert line.startswith(f"Place {now + 1} of 4: {step}")
            # The focus stays with the step, on the button that can still be pressed.
            move = "up" if now else "down"
            name = page.evaluate("document.activeElement.ariaLabel")
            assert name == f"Move {move}: {step}"
    card.get_by_role("button", name="Check").click()
    assert said(card) == "✓ Right. Below each step is why it comes there."
    reasons = card.locator("ol .attn-question-reason:visible").all_inner_texts()
    assert [r.strip() for r in reasons] == [
        "First come scores.", "Then shares.", "Then the sum.", "Last, the word.",
    ]  # fmt: skip
    card.get_by_role("button", name="Move down: compare").click()
    assert card.locator(".attn-question-reason:visible").count() == 0
    card.get_by_role("button", name="Check").click()
    assert said(card) == "✗ Not yet. Another step comes first. First come scores."


def test_the_first_step_out_of_place_is_told(show: Callable[..., Any]) -> None:
    page = show()
    card = page.locator(".attn-question").nth(2)
    for place, step in enumerate(STEPS[:2]):
        while shown_steps(card).index(step) > place:
            card.get_by_role("button", name=f"Move up: {step}").click()
    if shown_steps(card) == STEPS:
        card.get_by_role("button", name="Move up: speak").click()
    card.get_by_role("button", name="Check").click()
    assert said(card) == (
        "✗ Not yet. The first 2 steps are right, then comes another one. Then the sum."
    )


# --- all kinds ----------------------------------------------------------------------------------


def test_each_question_is_named(show: Callable[..., Any]) -> None:
    page = show()
    for place in (1, 2, 3):
        card = page.get_by_role("group", name=f"Question {place} of 3", exact=True)
        assert card.count() == 1
        line = card.get_by_role("status")
        assert line.get_attribute("aria-live") == "polite"


def test_reasons_are_in_the_page_from_the_beginning_and_hidden(show: Callable[..., Any]) -> None:
    """Formulas are set once, when the page is loaded."""
    page = show()
    assert page.locator(".attn-question-reason").count() == 3 + 3 + 4
    assert page.locator(".attn-question-reason:visible").count() == 0


def answer_all(page: Any) -> None:
    page.get_by_role("radio", name="the target").check()
    page.get_by_role("textbox").fill("1")
    for button in page.get_by_role("button", name="Check").all():
        button.click()


@WIDTHS_AND_SCHEMES
def test_axe_finds_nothing(show: Callable[..., Any], width: int, scheme: str) -> None:
    page = show(width=width, scheme=scheme)
    assert violations(page, ".attn-question-figure") == []
    answer_all(page)
    assert violations(page, ".attn-question-figure") == []


@pytest.mark.parametrize("width", [320, 360, 800])
def test_nothing_is_wider_than_the_page_and_all_can_be_hit(
    show: Callable[..., Any], width: int
) -> None:
    page = show(width=width)
    answer_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for target in page.locator(
        ".attn-question :is(fieldset label, button, input[type=text])"
    ).all():
        box = target.bounding_box()
        assert box["width"] >= 24
        assert box["height"] >= 24


def test_paper_gets_the_question_alone(show: Callable[..., Any]) -> None:
    page = show()
    answer_all(page)
    page.emulate_media(media="print")
    assert page.get_by_text("Along which axis").is_visible()
    assert page.get_by_text("the source").is_visible()
    for reason in page.locator(".attn-question-reason, .attn-question-verdict").all():
        assert not reason.is_visible()
    assert page.get_by_role("button").count() == 0


def test_without_javascript_the_answers_are_in_a_fold(show: Callable[..., Any]) -> None:
    page = show(javascript=False)
    assert page.locator(".attn-question").count() == 0
    assert page.get_by_text("Along which axis").is_visible()
    assert page.get_by_role("listitem").filter(has_text="the target").is_visible()
    reason = page.get_by_text("Each step shares out 1.")
    assert not reason.is_visible()
    page.locator("summary").first.click()
    assert reason.is_visible()


# --- the built site -----------------------------------------------------------------------------

TRY = """card => {
  const status = card.querySelector("[role=status]");
  const check = card.querySelector(".attn-question-check");
  const tell = () => { check.click(); return [status.dataset.said, status.innerText]; };
  const radios = [...card.querySelectorAll("input[type=radio]")];
  return radios.length ? radios.map(radio => { radio.checked = true; return tell(); }) : [tell()];
}"""


def work(page: Any, figure: Any) -> None:
    """Every answer has something to say, and one of a choice is right."""
    card = figure.locator(".attn-question")
    told = card.evaluate(TRY)
    if len(told) > 1:
        assert sorted(right for right, _ in told) == ["right"] + ["wrong"] * (len(told) - 1)
        assert all(len(text.split()) > 5 for _, text in told)
    elif card.get_by_role("textbox").count():
        card.get_by_role("textbox").fill("123456")
        card.get_by_role("button", name="Check").click()
        assert said(card).startswith("✗ Not right. Try again. ")
    else:
        assert told[0][0] == "wrong"
