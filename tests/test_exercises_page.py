"""A chapter's exercises on its page: statements, solutions in folds, and where they lead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from attnbook.exercises import Chapter, chapter, chapters
from attnbook.exercises.definition import source_of
from attnbook.exercises.statement import facts, plain, totals
from small_books import SmallBook

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = chapter(5)
NOTEBOOK = f"notebooks/exercises/{CHAPTER.name}"


def page(leave_out: str = "") -> str:
    """A page with the sections that the exercises name, and the exercises."""
    labels = sorted({one.section for one in CHAPTER.exercises} - {leave_out})
    parts = [f"({label})=\n## About {label}\n\nText.\n" for label in labels]
    return (
        "# Page\n\n"
        + "\n".join(parts)
        + f"\n## Exercises\n\n```{{exercises}} {CHAPTER.name}\n```\n"
        f"\n```{{toctree}}\n{NOTEBOOK}\n```\n"
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> SmallBook:
    book = SmallBook(tmp_path_factory.mktemp("book"))
    book.write(f"{NOTEBOOK}.md", "# Notebook\n")
    book.build(page())
    return book


@pytest.fixture(scope="module")
def soup(book: SmallBook) -> BeautifulSoup:
    return BeautifulSoup(book.read("html/index.html"), "html.parser")


def test_a_good_book_has_no_warning(book: SmallBook) -> None:
    assert book.warnings == ""


def test_the_totals_come_first_with_the_notebook(soup: BeautifulSoup) -> None:
    first = soup.select("section#exercises p")[0]
    assert first.select("strong")[0].text == totals(CHAPTER)
    assert [a["href"] for a in first.find_all("a")] == [f"{NOTEBOOK}.html"]


def test_each_exercise_is_a_section_with_its_statement(soup: BeautifulSoup) -> None:
    for one in CHAPTER.exercises:
        (section,) = soup.select(f"section#exercise-{one.name}".replace("_", "-"))
        assert section.select("h3")[0].text.startswith(one.title)
        assert section.select("p")[0].select("em")[0].text == facts(one)
        strong = [s.text for s in section.find_all("strong")]
        assert strong[:2] == ["Shapes.", "Example."]
        assert section.find_all("a", href=f"#{one.section}")[0].text == f"About {one.section}"
        written = "".join([one.goal, one.shapes, one.example, one.explanation])
        assert bool(section.find("span", class_="math")) == ("$" in written)


def test_the_solution_is_in_a_fold(soup: BeautifulSoup) -> None:
    for one in CHAPTER.exercises:
        (section,) = soup.select(f"section#exercise-{one.name}".replace("_", "-"))
        (fold,) = section.find_all("details", class_="sd-dropdown")
        assert fold.select("pre")[0].text.strip() == source_of(one.solution).strip()
        assert "SOLUTION" not in fold.text
        assert fold.find("div", class_="highlight-python")
        # The explanation's first words, as far as they are text.
        start = re.split(r"[`*$\\]", one.explanation)[0].strip()
        assert start in re.sub(r"\s+", " ", fold.text)


def test_a_page_is_built_again_when_an_exercise_has_changed(book: SmallBook) -> None:
    names = {Path(p).name for p in book.app.env.dependencies["index"]}
    assert "dot_attention.py" in names


def test_a_label_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    lacking = CHAPTER.exercises[0].section
    book = SmallBook(tmp_path)
    book.write(f"{NOTEBOOK}.md", "# Notebook\n")
    book.build(page(leave_out=lacking))
    assert f"undefined label: '{lacking}'" in book.warnings
    assert book.warnings.count("WARNING") == [e.section for e in CHAPTER.exercises].count(lacking)


def test_a_chapter_that_has_no_exercises_is_a_warning(tmp_path: Path) -> None:
    book = SmallBook(tmp_path)
    book.build("# Page\n\n```{exercises} 99_none\n```\n")
    assert "index.md:3: WARNING: exercises: there is no chapter '99_none' with" in book.warnings


def test_colab_is_linked_where_the_repository_is_known(tmp_path: Path) -> None:
    book = SmallBook(tmp_path)
    book.write(f"{NOTEBOOK}.md", "# Notebook\n")
    theme = {"repository_url": "https://github.com/a/b", "repository_branch": "main"}
    book.build(
        page(), extensions=["myst_nb", "sphinx_design", "attnbook.site"],
        html_theme="sphinx_book_theme", html_theme_options=theme,
    )  # fmt: skip
    address = f"https://colab.research.google.com/github/a/b/blob/main/{NOTEBOOK}.ipynb"
    assert address in book.read("html/index.html")


# --- the book itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("one", chapters(), ids=lambda c: c.name)
def test_every_chapter_with_exercises_shows_and_lists_them(one: Chapter) -> None:
    text = (ROOT / "book" / f"{one.name}.md").read_text(encoding="utf-8")
    assert text.count(f"```{{exercises}} {one.name}\n```\n") == 1
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    (entry,) = [c for part in parts for c in part["chapters"] if c["file"] == f"book/{one.name}"]
    exercises = {
        "file": f"notebooks/exercises/{one.name}",
        "title": f"Exercises {one.number}",
    }
    assert entry["sections"] == [entry["sections"][0], exercises], "below the lab"


@pytest.mark.parametrize("one", chapters(), ids=lambda c: c.name)
def test_what_a_notebook_shows_has_no_role_of_the_site(one: Chapter) -> None:
    plain(one.opening, one.name)
    for each in one.exercises:
        for part in ("title", "goal", "shapes", "example", "explanation"):
            assert plain(getattr(each, part), each.name) == getattr(each, part)


@pytest.mark.parametrize("text", ["see {doc}`x`", "{ref}`a <b>`", "a\n```{note}\n```", ":::{tip}"])
def test_a_role_of_the_site_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="here: a notebook cannot show"):
        plain(text, "here")


@pytest.mark.parametrize("text", ["`{a}` and `b`", r"$\mathrm{a}$ `b`", "```python\nx\n```"])
def test_braces_are_no_role(text: str) -> None:
    assert plain(text, "here") == text
