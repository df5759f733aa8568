"""Writes the exercises' notebooks: ``notebooks/exercises/NN_page.ipynb``, from the definitions.

``make notebooks`` calls this. Statement, stub and solution of an exercise stand in one place,
``attnbook.exercises``; the notebook for learners is made from it, and so is the solved one, with
the same cells and a solution in place of each stub, which tests execute and nobody commits.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from attnbook.exercises import Chapter, Exercise, chapters
from attnbook.exercises.definition import PRELUDE, source_of, stub_of
from attnbook.exercises.statement import plain, statement, totals
from notebooks import LABS, METADATA, ROOT, colab_link, page_address, setup_code

EXERCISES = LABS / "exercises"
PAGES = ROOT / "book"

HOW = (
    "Write what is missing where `...` stands{repair}. Run the cell, then the one below it: it "
    "checks your function on small inputs, and says what holds, what does not, and what may be the "
    "reason. `hint({name})` then says more. Where it is not said otherwise, results have the dtype "
    "of the inputs, and gradients flow back through them. Points are kept on this machine and "
    "nowhere else; in Colab that is until the runtime ends."
)
REPAIR = ", or repair the function that is there"


def page_link(chapter: Chapter, label: str) -> str:
    """The Markdown link to the part of the published page below a label, from a notebook.

    Raises:
        ValueError: the page has no such label above a heading.
    """
    page = (PAGES / f"{chapter.name}.md").read_text(encoding="utf-8")
    found = re.search(rf"^\({re.escape(label)}\)=\n+(?:\(.+\)=\n+)*#+ (.+)$", page, re.MULTILINE)
    if found is None:
        raise ValueError(f"book/{chapter.name}.md has no heading below the label {label}")
    return f"[{found[1].strip()}]({page_address(f'book/{chapter.name}.md', f'#{label}')})"


def _exercise(chapter: Chapter, number: int, one: Exercise, solved: bool) -> list[NotebookNode]:
    text = (
        f"## {number} · {plain(one.title, one.name)}\n\n{statement(one)}\n\n"
        f"Explained in {page_link(chapter, one.section)}."
    )
    source = source_of(one.solution) if solved else stub_of(one.solution)
    given = "\n\n".join(source_of(thing) for thing in one.given)
    return [
        new_markdown_cell(text),
        *([new_code_cell(given.rstrip(), metadata={"tags": ["given"]})] if given else []),
        new_code_cell(source.rstrip(), metadata={"tags": ["answer"]}),
        new_code_cell(f"check({one.name})"),
    ]


def notebook(chapter: Chapter, solved: bool = False) -> NotebookNode:
    """A chapter's exercises as a notebook, without outputs.

    Args:
        chapter: whose exercises.
        solved: a solution in place of each stub.
    """
    link = colab_link(f"exercises/{chapter.name}", "Open these exercises in Colab")
    repair = REPAIR if any(one.repair for one in chapter.exercises) else ""
    how = HOW.format(name=chapter.exercises[0].name, repair=repair)
    title = f"# Exercises {chapter.number}: {chapter.title}"
    cells = [
        new_markdown_cell(
            f"{title}\n\n{plain(chapter.opening, chapter.name)}\n\n"
            f"{totals(chapter)}. {how}\n\n{link}"
        ),
        new_code_cell(setup_code(), metadata={"tags": ["setup"]}),
        new_code_cell(f"{PRELUDE}\nfrom attnbook.exercises import check, hint, progress"),
    ]
    for number, one in enumerate(chapter.exercises, start=1):
        cells += _exercise(chapter, number, one, solved)
    cells += [
        new_markdown_cell("## Points so far"),
        new_code_cell(f"progress({chapter.number})"),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    made: NotebookNode = new_notebook(cells=cells, metadata=nbformat.from_dict(METADATA))
    return made


def text_of(chapter: Chapter, solved: bool = False) -> str:
    """The file of :func:`notebook`."""
    return f"{nbformat.writes(notebook(chapter, solved))}\n"


def main() -> None:
    """Write every chapter's notebook where it differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--solved", type=Path, help="write the solved notebooks into this folder")
    args = parser.parse_args()
    folder = args.solved or EXERCISES
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in chapters():
        path = folder / f"{chapter.name}.ipynb"
        text = text_of(chapter, solved=args.solved is not None)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            print(f"exercises of {chapter.name}: nothing changed")
            continue
        path.write_text(text, encoding="utf-8")
        print(f"exercises of {chapter.name}: written")


if __name__ == "__main__":
    main()
