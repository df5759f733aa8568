"""The exercises' notebooks: what the generator writes, and what a learner meets in them.

Cells of most chapters are run in this process, as IPython would; those of one chapter run in a
kernel, in a folder that holds nothing else.
"""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from attnbook.exercises import Chapter, Progress, Report, chapters
from attnbook.exercises.report import without_emphasis
from scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = chapters()

exercises = load_script("tools/exercises.py")


@pytest.fixture(params=CHAPTERS, ids=lambda c: c.name)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    return request.param


@pytest.fixture(autouse=True)
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where points are kept, and a working directory that is not the repository's."""
    monkeypatch.setenv("ATTNBOOK_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "progress.json"


def shown(notebook: NotebookNode) -> list[Any]:
    """What the cells of a notebook show: the value of each that ends in an expression."""
    names: dict[str, Any] = {"__name__": "__main__"}
    values = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell.id, "exec"), names)
        if last is not None:
            values.append(eval(compile(ast.Expression(last.value), cell.id, "eval"), names))
    return values


def words(card: str) -> str:
    """The text of an HTML card, without its folds."""
    card = re.sub(r"<details.*?</details>", " ", card, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", " ", card))
    return "".join(text.replace("`", "").split())


# --- the files ----------------------------------------------------------------------------------


def test_each_notebook_is_what_the_generator_writes(chapter: Chapter) -> None:
    path = exercises.EXERCISES / f"{chapter.name}.ipynb"
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    assert path.read_text(encoding="utf-8") == exercises.text_of(chapter), (
        f"{path.name} is not what its exercises say: run `make notebooks`"
    )


def test_there_is_no_other_notebook() -> None:
    made = {p.stem for p in exercises.EXERCISES.glob("*.ipynb")}
    assert made == {c.name for c in CHAPTERS}


def test_the_file_is_a_notebook_without_outputs(chapter: Chapter) -> None:
    stored = exercises.text_of(chapter)
    notebook = nbformat.reads(stored, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == nbformat.from_dict(exercises.METADATA)
    assert [c.id for c in notebook.cells] == [f"cell-{n:02d}" for n in range(len(notebook.cells))]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(c.outputs == [] and c.execution_count is None for c in code)
    assert stored.endswith("\n")
    assert exercises.text_of(chapter) == stored


def test_it_begins_as_a_lab_does(chapter: Chapter) -> None:
    title, setup, imports, *_ = exercises.notebook(chapter).cells
    assert title.source.startswith(f"# Exercises {chapter.number}: {chapter.title}\n")
    assert title.source.endswith(f"/notebooks/exercises/{chapter.name}.ipynb)"), (
        "the link that opens it in Colab"
    )
    assert setup.metadata.tags == ["setup"]
    assert setup.source == load_script("tools/notebooks.py").setup_code()
    assert imports.source.endswith("\nfrom attnbook.exercises import check, hint, progress")


def test_the_solved_one_differs_in_the_answers_alone(chapter: Chapter) -> None:
    stub, solved = (exercises.notebook(chapter, s).cells for s in (False, True))
    for one, other in zip(stub, solved, strict=True):
        answer = one.metadata.get("tags") == ["answer"]
        assert (one != other) == answer
        assert "SOLUTION" not in one.source + other.source
    answers = [c for c in stub if c.metadata.get("tags") == ["answer"]]
    assert len(answers) == len(chapter.exercises)


def test_links_lead_to_a_label_of_the_published_page(chapter: Chapter) -> None:
    page = (ROOT / "book" / f"{chapter.name}.md").read_text(encoding="utf-8")
    for one in chapter.exercises:
        link = exercises.page_link(chapter, one.section)
        parts = re.fullmatch(r"\[(.+)\]\((.+)\)", link)
        assert parts is not None
        title, target = parts.groups()
        assert re.search(
            rf"^\({one.section}\)=\n+(?:\(.+\)=\n+)*#+ {re.escape(title)}$", page, re.MULTILINE
        )
        assert target == exercises.page_address(f"book/{chapter.name}.md", f"#{one.section}")


def test_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="has no heading below the label nowhere"):
        exercises.page_link(CHAPTERS[0], "nowhere")


# --- what a learner meets -----------------------------------------------------------------------


def same_in_both(report: Report) -> bool:
    """Whether a card says the same as its text, which ends with where to get a stronger hint."""
    text = repr(report).replace("`", "").replace("Hint: ", "Hint. ")
    return words(report._repr_html_()) == "".join(text.split("For a stronger hint:")[0].split())


def test_solutions_get_all_points(chapter: Chapter, progress: Path) -> None:
    *reports, points = shown(exercises.notebook(chapter, solved=True))
    assert [r.exercise.name for r in reports] == [e.name for e in chapter.exercises]
    assert [r.exercise.name for r in reports if not r.passed] == []
    assert all(map(same_in_both, reports))
    assert isinstance(points, Progress)
    assert points.points == points.total == sum(e.points for e in chapter.exercises)
    kept = json.loads(progress.read_text(encoding="utf-8"))["passed"]
    assert set(kept) == {e.name for e in chapter.exercises}


def test_stubs_run_and_get_their_first_hint(chapter: Chapter, progress: Path) -> None:
    *reports, points = shown(exercises.notebook(chapter))
    for one, report in zip(chapter.exercises, reports, strict=True):
        assert isinstance(report, Report)
        assert not report.passed
        assert without_emphasis(one.start) in repr(report)
        assert same_in_both(report)
    assert points.points == 0
    assert not progress.exists()


def test_both_run_in_a_kernel_elsewhere(tmp_path: Path) -> None:
    """From the file alone; the stub first and its solution after it, in one kernel."""
    chapter = next(c for c in CHAPTERS if c.number == 5)
    stub, solved = (exercises.notebook(chapter, s) for s in (False, True))
    for number, cell in enumerate(solved.cells):
        cell["id"] = f"solved-{number:02d}"
    together = nbformat.v4.new_notebook(cells=[*stub.cells, *solved.cells], metadata=stub.metadata)
    client = NotebookClient(
        together, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [c.outputs for c in together.cells if c.get("source", "").startswith("check(")]
    assert all(len(o) == 1 for o in outputs)
    texts = [o[0].data["text/plain"] for o in outputs]
    count = len(chapter.exercises)
    for one, before, after in zip(chapter.exercises, texts[:count], texts[count:], strict=True):
        assert before.startswith(f"{one.title}: not yet\n")
        assert after.startswith(f"{one.title}: passed, {one.points} point")
    assert all("text/html" in o[0].data for o in outputs)
    (points,) = together.cells[-1].outputs
    total = sum(e.points for e in chapter.exercises)
    assert points.data["text/plain"].startswith(f"{total} of {total} points")
