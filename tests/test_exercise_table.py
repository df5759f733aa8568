"""The instructors' tables of exercises and weeks, in small books built by Sphinx."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from attnbook.exercises import chapters
from attnbook.exercises.statement import to_do
from attnbook.site.exercise_table import read_page

ROOT = Path(__file__).resolve().parents[1]

WEEKS = """
```{syllabus}
1 2

5
```
"""


class Book:
    """A folder with a page for each chapter and one with tables, and what building it said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings = ""
        self.html = ""
        self.chapters = {c.number: c.name for c in chapters()} | {1: "01_vectors"}
        for number, name in self.chapters.items():
            self.write(
                f"{name}.md",
                f"# About `x` {number}\n\n**Time:** {10 * number} minutes, and 30 for the "
                "[lab](index.md). **You need:** 3 things.\n",
            )

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def build(self, page: str, builder: str = "html") -> str:
        """Build a book whose first page is ``page``, and give that page."""
        names = "\n".join(sorted(self.chapters.values()))
        self.write("index.md", f"{page}\n```{{toctree}}\n{names}\n```\n")
        warnings = StringIO()
        with docutils_namespace():
            self.app = Sphinx(
                self.root, None, self.root / "_build" / builder, self.root / "_build/doctrees",
                builder,
                confoverrides={
                    "project": "book",
                    "extensions": ["myst_nb", "attnbook.site"],
                    "html_theme": "basic",
                    "nb_execution_mode": "off",
                    "exclude_patterns": ["_build"],
                },
                status=None, warning=warnings,
            )  # fmt: skip
            self.app.build(force_all=True)
        self.warnings = re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())
        suffix = {"html": "html", "text": "txt"}[builder]
        return (self.root / "_build" / builder / f"index.{suffix}").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book in which everything is as it should be, built once."""
    book = Book(tmp_path_factory.mktemp("book"))
    book.html = book.build(f"# Page\n\n```{{exercise-table}}\n```\n{WEEKS}")
    return book


def tables(html: str) -> list[list[list[str]]]:
    """The words of each table's cells, by row."""
    found = []
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
        found.append(
            [[" ".join(unescape(re.sub("<[^>]+>", " ", c)).split()) for c in row] for row in cells]
        )
    return found


def test_a_good_book_has_no_warning(book):
    assert book.warnings == ""


def test_every_exercise_has_its_row_below_its_chapter(book):
    head, *rows = tables(book.html)[0]
    assert head == ["exercise", "min", "points"]
    wanted = []
    for chapter in chapters():
        each = chapter.exercises
        sums = [str(sum(e.minutes for e in each)), str(sum(e.points for e in each))]
        wanted.append([f"{chapter.number} · About x {chapter.number}", *sums])
        wanted += [
            [f"{e.title} {e.name} · {to_do(e)[0]}", str(e.minutes), str(e.points)] for e in each
        ]
    plain = [[c.replace("’", "'") for c in row] for row in rows[:-1]]
    assert plain == [[c.replace("`", "") for c in row] for row in wanted]


def test_the_last_row_has_the_sums_of_the_course(book):
    each = [e for c in chapters() for e in c.exercises]
    assert tables(book.html)[0][-1] == [
        f"The course: {len(each)} exercises",
        str(sum(e.minutes for e in each)),
        str(sum(e.points for e in each)),
    ]


def test_weeks_add_up_pages_labs_and_exercises(book):
    two, five = (sum(e.minutes for e in c.exercises) for c in chapters() if c.number in (2, 5))
    assert tables(book.html)[1] == [
        ["chapter", "page", "lab", "exer\N{SOFT HYPHEN}cises", "h"],
        ["Week 1", "30", "60", str(two), f"{(90 + two) / 60:.1f}"],
        ["1 · About x 1", "10", "30", "–", "0.7"],
        ["2 · About x 2", "20", "30", str(two), f"{(50 + two) / 60:.1f}"],
        ["Week 2", "50", "30", str(five), f"{(80 + five) / 60:.1f}"],
        ["5 · About x 5", "50", "30", str(five), f"{(80 + five) / 60:.1f}"],
        ["Together", "80", "90", str(two + five), f"{(170 + two + five) / 60:.1f}"],
    ]


def test_chapters_are_links_and_numbers_stand_at_the_right(book):
    assert 'href="05_dot_attention.html"><span class="doc">5 · About' in book.html
    assert re.search(r'<td class="text-right"><p><strong>\d+</strong></p>', book.html)


def test_the_page_is_made_again_when_an_exercise_or_a_page_changes(book):
    names = {Path(p).name for p in book.app.env.dependencies["index"]}
    assert {"exercise_table.py", "dot_attention.py", "05_dot_attention.md"} <= names


def test_other_builders_have_the_tables(tmp_path):
    book = Book(tmp_path)
    text = book.build(f"# Page\n\n```{{exercise-table}}\n```\n{WEEKS}", "text")
    assert book.warnings == ""
    assert all(e.name in text for c in chapters() for e in c.exercises)
    assert "Week 2" in text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 2\n99", "syllabus: there is no chapter 99 in"),
        ("1 two", "syllabus: expected numbers of chapters, for instance 0 1 2; got '1 two'"),
        ("1 2\n5 1", "syllabus: chapter 1 stands in it twice"),
        ("", "syllabus: no weeks"),
        ("3", "syllabus: 03_silent.md needs a heading and a line such as **Time:** 60 minutes"),
    ],
)
def test_what_is_wrong_is_a_warning_with_its_place(tmp_path, lines, message):
    book = Book(tmp_path)
    for path in tmp_path.glob("03_*.md"):
        path.unlink()
    book.chapters[3] = "03_silent"
    book.write("03_silent.md", "# Silent\n")
    html = book.build(f"# Page\n\n```{{syllabus}}\n{lines}\n```\n")
    (found,) = [x for x in book.warnings.splitlines() if "WARNING" in x]
    assert message in found
    assert "index.md:3: WARNING: " in found
    assert "<table" not in html


def test_a_missing_page_of_an_exercise_is_a_warning(tmp_path):
    book = Book(tmp_path)
    (tmp_path / "05_dot_attention.md").unlink()
    del book.chapters[5]
    book.build("# Page\n\n```{exercise-table}\n```\n")
    assert "exercise-table: there is no chapter 5 in" in book.warnings


def test_every_page_of_the_book_says_how_long_it_takes():
    for path in sorted((ROOT / "book").glob("[0-9][0-9]_*.md")):
        page = read_page(path.parent, int(path.stem[:2]))
        assert 20 <= page.minutes <= 120
        assert 10 <= page.lab <= 60
