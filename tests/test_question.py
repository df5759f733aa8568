"""Questions that answer at once, as their author writes them: what is taken, and what is refused.

How they behave is tested in test_question_site.py.
"""

from __future__ import annotations

import json
import re

import pytest
from bs4 import BeautifulSoup

from attnbook.figures.question import Question, number, question
from small_books import SmallBook

# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.47", 0.47), ("0,47", 0.47), (" -2 ", -2.0), ("−1,5", -1.5), (".5", 0.5), ("3", 3.0)],
)
def test_a_number_is_read_as_people_write_it(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "about 3", "1,000.5", "nan", "inf", "½"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number(text)


@pytest.mark.parametrize("count", range(3, 9))
def test_steps_are_shuffled_the_same_way_each_time_and_never_right(count: int) -> None:
    for start in range(40):
        steps = [f"step {start + i}" for i in range(count)]
        asked = question("order", steps)
        assert asked == question("order", steps)
        assert sorted(asked.order) == list(range(count))
        assert list(asked.order) != list(range(count))


def test_what_decides_about_a_number() -> None:
    asked = question("number", ["0,33", "else", "right", "−2"], "0.47", "0.005")
    assert asked == Question("number", 2, (0.33, None, 0.47, -2.0), 0.005, (), asked.names)


def test_what_is_heard_of_a_formula() -> None:
    asked = question("choice", ["h_t", r"the \bar{h}_s"], "1")
    assert asked.names == ("h_t", "the bar h _s")


# --- a book with questions ----------------------------------------------------------------------

CHOICE = """
```{question} choice
:right: 2
:name: which-axis
Along which *axis* do the weights sum to $1$?

the batch
: Then sentences would **share**.

the `source`
: Each step shares out $\\sum_i \\alpha_i = 1$.
```
"""

NUMBER = """
```{question} number
:right: −0.47
:within: 0.005
The number?

    code = 1

0.33
: A third.

else
: Again.

right
: So it is.
```
"""

ORDER = """
```{question} order
Put in order.

compare
: First.

softmax over $e$
: Second.

add up
: Third.
```
"""

PAGE = f"# Page\n\nSee {{ref}}`this one <which-axis>`.\n{CHOICE}{NUMBER}{ORDER}"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> SmallBook:
    book = SmallBook(tmp_path_factory.mktemp("book"))
    book.write("plain.md", "# Plain\n\nText.\n")
    book.build(f"{PAGE}\n```{{toctree}}\nplain\n```\n")
    return book


@pytest.fixture(scope="module")
def asked(book: SmallBook) -> list:
    soup = BeautifulSoup(book.read("html/index.html"), "html.parser")
    return soup.find_all("div", class_="attn-question-figure")


def data(figure) -> dict:
    return json.loads(figure.find("script", type="application/json").string)


def texts(elements: list) -> list[str]:
    return [re.sub(r"\s+", " ", e.get_text()).strip() for e in elements]


def test_a_good_book_has_no_warning(book: SmallBook) -> None:
    assert book.warnings == ""


def test_what_the_script_is_told(asked: list) -> None:
    choice, value, order = map(data, asked)
    assert choice == {
        "kind": "choice",
        "todo": "choose one",
        "right": 1,
        "names": ["the batch", "the source"],
    }
    assert value == {
        "kind": "number",
        "todo": "a number",
        "right": 2,
        "values": [0.33, None, -0.47],
        "within": 0.005,
    }
    assert order["kind"] == "order"
    assert sorted(order["order"]) == [0, 1, 2]
    assert order["names"] == ["compare", "softmax over e", "add up"]
    assert order["order"] != [0, 1, 2]


def test_question_and_answers_stand_in_the_page(asked: list) -> None:
    choice, value, order = asked
    stem = choice.find("div", class_="attn-question-stem")
    assert stem.em.text == "axis"
    assert stem.find("span", class_="math")
    shown = choice.select(".attn-fallback > ul > li")
    assert texts(shown) == ["the batch", "the source"]
    assert shown[1].code.text == "source"
    assert value.select(".attn-fallback > ul") == []
    assert value.find("pre").text.strip() == "code = 1"
    steps = texts(order.select(".attn-fallback > ul > li"))
    right = texts(order.select("details > dl > dt"))
    assert [right[place] for place in data(order)["order"]] == steps


def test_all_answers_with_their_reasons_stand_in_a_fold(asked: list) -> None:
    choice, value, order = asked
    for figure, title in zip(asked, ("Answers", "Answers", "The right order"), strict=True):
        assert figure.details.summary.text == title
        assert not figure.details.has_attr("open")
    assert texts(choice.select("details > dl > dt")) == ["the batch", "the source (right)"]
    assert choice.select("details > dl > dd")[0].strong.text == "share"
    assert choice.select("details > dl > dd")[1].find("span", class_="math")
    assert texts(value.select("details > dl > dt")) == ["0.33", "another number", "−0.47 (right)"]
    assert texts(order.select("details > dl > dd")) == ["First.", "Second.", "Third."]


def test_a_question_can_be_referred_to(book: SmallBook, asked: list) -> None:
    assert asked[0]["id"] == "which-axis"
    assert 'href="#which-axis"' in book.read("html/index.html")


def test_script_and_style_only_where_they_are_needed(book: SmallBook) -> None:
    html = book.read("html/index.html")
    assert re.search(r'<script defer="defer" src="_static/attnbook-question\.js\?v=\w+">', html)
    assert re.search(r'href="_static/attnbook-question\.css\?v=\w+"', html)
    assert html.index("attnbook-card.css") < html.index("attnbook-question.css")
    assert "attnbook-question" not in book.read("html/plain.html")


# Each wrong use with what is said about it.
ANSWERS = "a\n: A.\n\nb\n: B.\n"
NUMBERS = "else\n: E.\n\nright\n: R.\n"
WRONG = {
    "choice\n:right: 3\nWhich?\n\n" + ANSWERS: "choice: :right: must be a number from 1 to 2, "
    "got 3",
    "choice\n:right: a\nWhich?\n\n" + ANSWERS: "choice: :right: must be a number from 1 to 2, "
    "got a",
    "choice\nWhich?\n\n" + ANSWERS: "choice: :right: is missing",
    "choice\n:right: 1\nWhich one?\n\na\n: A.": "choice: at least 2 answers are needed, got 1",
    "choice\n:right: 1\nWhich?\n\na\n: A.\n\na\n: B.": "choice: 'a' stands there twice",
    "choice\n:right: 1\n:within: 2\nWhich?\n\n" + ANSWERS: "choice: :within: belongs to a number",
    "choice\n:right: 1\nNo list.": "it has to end with its answers, as a definition list",
    "choice\n:right: 1\n" + ANSWERS: "a question needs a text before its answers",
    "choice\n:right: 1\nTwo?\n\na\n: A.\n: B.\n\nc\n: C.": "'a' needs one explanation, got 2",
    "choice\n:right: 1\nEnd?\n\n" + ANSWERS + "\nMore.": "it has to end with its answers",
    "number\n:right: 2\nHow?\n\nelse\n: E.": "number: the answer 'right' is missing",
    "number\n:right: 2\nHow?\n\nright\n: R.": "number: the answer 'else' is missing",
    "number\n:right: two\nHow?\n\n" + NUMBERS: "'two' is not a number",
    "number\n:right: 2\n:within: −1\nHow?\n\n" + NUMBERS: "number: :within: cannot be below 0",
    "number\n:right: 2\n:within: 0.1\nHow?\n\n2.05\n: N.\n\n" + NUMBERS: "number: 2.05 would be "
    "right, within 0.1 of 2",
    "number\n:right: 2\nHow?\n\nmany\n: N.\n\n" + NUMBERS: "'many' is not a number",
    "order\nOrder?\n\n" + ANSWERS: "order: at least 3 steps are needed, got 2",
    "order\n:right: 1\nOrder?\n\n" + ANSWERS: "order: the steps stand in the right order; leave",
    "guess\nWhat?\n\n" + ANSWERS: "there is no kind 'guess'; there are: choice, number, order",
}


@pytest.fixture(scope="module")
def wrong_book(tmp_path_factory: pytest.TempPathFactory) -> SmallBook:
    book = SmallBook(tmp_path_factory.mktemp("wrong"))
    uses = [f"```{{question}} {use}\n```" for use in WRONG]
    book.build("# Page\n\n" + "\n\n".join(uses) + "\n")
    return book


@pytest.mark.parametrize("use", WRONG)
def test_what_is_wrong_is_a_warning_with_its_place(wrong_book: SmallBook, use: str) -> None:
    page = (wrong_book.root / "index.md").read_text(encoding="utf-8")
    line = page.split(f"```{{question}} {use}")[0].count("\n") + 1
    found = [x for x in wrong_book.warnings.splitlines() if f"index.md:{line}: WARNING: " in x]
    assert len(found) == 1
    assert f"question: {WRONG[use]}" in found[0]


def test_every_warning_is_accounted_for(wrong_book: SmallBook) -> None:
    assert wrong_book.warnings.count("WARNING") == len(WRONG)
    assert "attn-question-figure" not in wrong_book.read("html/index.html")
