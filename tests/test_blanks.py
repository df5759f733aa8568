"""Fill in the blank: guesses are checked; the page gets data, tables, script and style."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from attnbook.figures.blanks import Blank, BlanksFigure, blanks
from test_directives import Book

STORED: list[dict[str, Any]] = [
    {
        "pieces": ["two", "dog", "##s", "run"],
        "both": [
            [["two", 0.6], ["three", 0.3]],
            [["boy", 0.5], ["dog", 0.25]],
            [["##s", 0.9], ["run", 0.01]],
            [["run", 0.4], ["are", 0.4]],
        ],
        "left": [
            [["a", 0.7], ["the", 0.2]],
            [["men", 0.5], ["women", 0.2]],
            [["##s", 0.5], ["is", 0.1]],
            [["are", 0.4], [".", 0.1]],
        ],
    },
    {"pieces": ["</script>"], "both": [[["a", 1.0]]], "left": [[["b", 0.125]]]},
]
TEXTS = blanks(STORED)


def test_stored_guesses_are_read() -> None:
    assert TEXTS[0].pieces == ["two", "dog", "##s", "run"]
    assert TEXTS[0].both[1] == [("boy", 0.5), ("dog", 0.25)]
    assert TEXTS[1] == Blank(["</script>"], [[("a", 1.0)]], [[("b", 0.125)]])


def test_the_table_by_hand() -> None:
    (head, rows, *_), _ = BlanksFigure(TEXTS).tables()
    assert head == ["hidden", "best guess from both sides", "best guess from the left"]
    assert rows[:2] == [["two", "two 0.60", "a 0.70"], ["dog", "boy 0.50", "men 0.50"]]
    assert len(rows) == 4


def broken(**changes: Any) -> list[dict[str, Any]]:
    return [{**STORED[1], **changes}]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], "there is no text"),
        ([{"pieces": ["a"]}], "text 0: there is no both and no left"),
        (broken(pieces=[]), "text 0: pieces: there must be at least one"),
        (broken(left=[]), "text 0: left: 0 rows of guesses for 1 pieces"),
        (broken(both=[[]]), "text 0: both: the guesses for '</script>' must be at least one"),
        (broken(both=[[["a", 0.1], ["b", 0.2]]]), "the most probable first"),
        (broken(both=[[["a", 1.5]]]), "a probability for '</script>' is outside 0 to 1"),
        (broken(left=[[["a", 0.5], ["b", -0.5]]]), "left: a probability"),
    ],
)
def test_guesses_that_cannot_be_shown_are_refused(stored: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        blanks(stored)


def test_the_data_cannot_end_its_script() -> None:
    text = BlanksFigure(TEXTS).data_element()
    assert text.count("</script>") == 1
    inside = text.removeprefix('<script type="application/json">').removesuffix("</script>")
    assert json.loads(inside)[1]["pieces"] == ["</script>"]


# ------------------------------------------------------------------------------- the directive

PAGE = """# Page

See {numref}`fig-blanks`.

```{blanks} guesses
:name: fig-blanks
:alt: Fill "the" blank
The caption.
```
"""


@pytest.fixture
def book(tmp_path: Path) -> Book:
    book = Book(tmp_path)
    book.write("book/results/guesses.json", json.dumps({"blanks": STORED, "other": 1}))
    book.write("book/results/none.json", "{}")
    return book


def test_a_numbered_figure_with_data_tables_script_and_style(book: Book) -> None:
    book.write("plain.md", "# Plain\n\nText.\n")
    book.build(f"{PAGE}\n```{{toctree}}\nplain\n```\n")
    assert book.warnings == ""
    html = book.read("html/index.html")
    assert 'id="fig-blanks"' in html
    assert "Fig. 1" in html
    assert 'data-label="Fill &quot;the&quot; blank"' in html
    stored = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert stored is not None
    assert json.loads(stored[1]) == STORED
    assert html.count("<table") == 2
    assert "three" not in html.replace(stored[0], "")  # a table has the best guess only
    assert re.search(r'<script defer="defer" src="_static/attnbook-blanks\.js\?v=', html)
    assert html.index("attnbook-card.css") < html.index("attnbook-blanks.css")
    assert "attnbook-scrubber.js" not in html
    assert "attnbook-blanks.js" not in book.read("html/plain.html")


def test_what_is_wrong_is_a_warning_with_its_place(book: Book) -> None:
    book.build("# Page\n\n```{blanks} nothing\n```\n\n```{blanks} none\n```\n")
    gone, empty = book.warnings.splitlines()
    assert "index.md:3: WARNING: " in gone
    assert "there is no measurement of this name in book/results (there are: " in gone
    assert "index.md:6: WARNING: " in empty
    assert "none.json: there is no text; give at least one" in empty
