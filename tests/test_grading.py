"""Grading a class: what is run and written, and what happens when it is cut off."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest

from attnbook.__main__ import main
from attnbook.exercises import Exercise, chapter
from attnbook.exercises.definition import PRACTICE, PRELUDE, source_of
from attnbook.grading.assignment import Results, read_assignment
from attnbook.grading.classroom import grade_class
from attnbook.grading.grader import Grader
from attnbook.grading.reports import lms_table
from attnbook.grading.submissions import find
from classroom import OWN, answer, bank, program, solved, write
from scripts import load_script

pytestmark = [
    pytest.mark.needs("sandbox"),
    pytest.mark.usefixtures("own_chapter", "shared_sandboxes"),
]

NOTEBOOK = f"{OWN}.ipynb"


@pytest.fixture(scope="module")
def exercises(own_chapter):
    return own_chapter.exercises


@pytest.fixture(scope="module")
def grader(exercises, shared_sandboxes):
    made = Grader(exercises, "a secret")
    yield made
    made.close()


def commanded(place: Path, out: Path, *more: str) -> Path:
    """Grade the own chapter with the command that an instructor gives."""
    assert main(["grade", str(place), "--chapters", OWN, "--out", str(out), "--quiet", *more]) == 0
    return out


# --- one grade ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [OWN, "05_dot_attention"])
def test_right_and_wrong_answers_of_the_banks(shared_sandboxes, name):
    """What the checker says in a notebook, the sandbox says too; of the course one chapter."""
    made = Grader(chapter(name).exercises, "a secret")
    for each in made.exercises:
        right, wrong = bank(each.name)
        # Some call another answer of the bank, which would be missing here.
        alone = {k: v for k, v in wrong.items() if "right_" not in answer(v, each.name)}
        for style, function in list(right.items())[:3]:
            got = made.grade_one(each, [PRELUDE, answer(function, each.name)])
            assert got is not None
            assert got.points == each.points, (style, got)
        told = {
            mistake: made.grade_one(each, [PRELUDE, answer(function, each.name)])
            for mistake, function in list(alone.items())[:9]
        }
        for mistake, grade in told.items():
            assert grade is not None
            assert grade.mistake == mistake
            assert grade.points == 0
            assert grade.hint
            assert grade.more
    made.close()


def test_the_notebooks_of_a_chapter_of_the_course(shared_sandboxes, tmp_path):
    """As learners get them: solved, not begun, and with all answers wrong in a known way."""
    tool = load_script("tools/exercises.py")
    real = chapter(5)
    wrong = []
    for each in real.exercises:
        mistake = next(m for m in each.mistakes if m.wrong is not None)
        told = bank(each.name)[1][mistake.name]
        wrong.append((each, mistake, answer(told, each.name)))
    for name, notebook in {
        "solved": tool.notebook(real, solved=True),
        "begun": tool.notebook(real),
    }.items():
        path = tmp_path / "in" / name / f"{real.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    write(tmp_path / "in" / "wrong" / f"{real.name}.ipynb", [PRELUDE, *(w for *_, w in wrong)])
    out = tmp_path / "out"
    assert main(["grade", str(tmp_path / "in"), "--chapters", "5", "--out", str(out)]) == 0
    total = sum(each.points for each in real.exercises)
    read = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
    assert {x["learner"]: x["points"] for x in read} == {"begun": 0, "solved": total, "wrong": 0}
    page = (out / "feedback" / "wrong.html").read_text(encoding="utf-8")
    for each, mistake, _ in wrong:
        assert each.title in page
        assert read[-1]["exercises"][each.name]["mistake"] == mistake.name


def test_what_comes_back_is_limited_by_what_is_asked(grader, exercises):
    """Four megabytes where some hundred bytes are wanted are not even read."""
    each = exercises[0]
    code = "def pair_products(queries, keys):\n    return torch.zeros(1 << 20)"
    got = grader.grade_one(each, [PRELUDE, code])
    assert got.points == 0
    assert "far more than was asked for" in f"{got.hint} {got.more} {got.example}"


def test_feedback_is_about_the_learners_own_inputs(grader, exercises):
    each = exercises[0]
    got = grader.grade_one(each, [PRELUDE, "def pair_products(queries, keys):\n    return queries"])
    shown = "\n".join(got.example)
    case = each.drawn(PRACTICE)[0]
    assert f"{case.inputs['queries'].flatten()[0]:.4g}" in shown
    assert "expected: " in shown
    assert "got: " in shown


def test_an_answer_written_for_the_known_inputs_earns_nothing(grader, exercises):
    """It passes in the notebook, and says so in the feedback, without showing a hidden input."""
    each = exercises[0]
    known = [case.inputs for case in each.drawn(PRACTICE)]
    table = [
        (i["queries"].tolist(), (i["queries"] @ i["keys"].transpose(1, 2)).tolist()) for i in known
    ]
    code = f"""
TABLE = {table!r}

def pair_products(queries, keys):
    for key, value in TABLE:
        if queries.tolist() == key:
            return (queries * 0).sum() * 0 + torch.tensor(value, dtype=queries.dtype)
    return queries @ keys.transpose(1, 2) * 2
"""
    got = grader.grade_one(each, [PRELUDE, code])
    assert got.points == 0
    assert got.example


def test_a_fault_that_only_hidden_inputs_show_is_told_without_them(grader, exercises):
    each = exercises[0]
    first = each.drawn(PRACTICE)[0].inputs["queries"].flatten()[0].item()
    code = f"""
def pair_products(queries, keys):
    scores = queries @ keys.transpose(1, 2)
    lucky = {[round(c.inputs["queries"].flatten()[0].item(), 3) for c in each.drawn(PRACTICE)]}
    return scores if round(queries.flatten()[0].item(), 3) in lucky else scores * 7
"""
    got = grader.grade_one(each, [PRELUDE, code])
    assert got.points == 0
    assert got.example == ()
    assert "not on others of their kind" in got.hint
    assert str(first) not in got.hint


def test_what_the_function_refers_to_comes_along(grader, exercises):
    cells = [
        "import torch as t\nfrom math import sqrt as root",
        "WIDTH_FACTOR = 1\n\ndef turned(x):\n    return helper.exchange(x)",
        "class helper:\n    exchange = staticmethod(lambda x: t.transpose(x, 1, 2))",
        "raise RuntimeError('a cell that does not matter')",
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "def pair_products(queries, keys):\n"
        "    assert nowhere is None\n"
        "    return t.bmm(queries, turned(keys)) * WIDTH_FACTOR",
    ]
    assert grader.grade_one(exercises[0], cells).points == 2


def test_the_last_definition_counts_as_in_the_notebook(grader, exercises):
    right = source_of(exercises[0].solution)
    wrong = "def pair_products(queries, keys):\n    return queries"
    assert grader.grade_one(exercises[0], [PRELUDE, wrong, right]).points == 2
    assert grader.grade_one(exercises[0], [PRELUDE, right, wrong]).points == 0


# --- a class --------------------------------------------------------------------------------------


def made_class(exercises: Sequence[Exercise], folder: Path, count: int = 6) -> Path:
    """Learners of whom each third has one exercise wrong."""
    _, wrong = bank("masked_mean")
    for i in range(count):
        cells = solved(exercises)
        if i % 3 == 1:
            cells.append(answer(wrong["no-mask"], "masked_mean"))
        if i % 3 == 2:
            cells.append(answer(wrong["divided-by-all"], "masked_mean"))
            cells = [c for c in cells if "def cooled" not in c]
        write(folder / f"learner{i}_{OWN}.ipynb", cells)
    return folder


def test_a_class_with_one_command(tmp_path, capsys, exercises):
    out = commanded(made_class(exercises, tmp_path / "in"), tmp_path / "out")
    said = capsys.readouterr().out
    assert "6 learners, 6 notebooks, 7 points; 0 could not be graded" in said
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["points"] for r in rows] == ["7", "4", "2", "7", "4", "2"]
    assert rows[2]["cooled"] == ""
    read = json.loads((out / "grades.json").read_text(encoding="utf-8"))
    assert read["learners"][1]["exercises"]["masked_mean"]["mistake"] == "no-mask"
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "no-mask" in report
    assert "divided-by-all" in report
    page = (out / "feedback" / "learner1.html").read_text(encoding="utf-8")
    assert "The mask has no effect" in page
    assert "4 of 7 points" in page
    page = (out / "feedback" / "learner2.html").read_text(encoding="utf-8")
    assert "is not defined in what you handed in" in page
    assert stat.S_IMODE((out / "seed.txt").stat().st_mode) == 0o600
    seed = (out / "seed.txt").read_text(encoding="utf-8").strip()
    for path in out.rglob("*"):
        if path.is_file() and path.name != "seed.txt":
            assert seed not in path.read_text(encoding="utf-8")


def test_a_second_run_grades_only_what_changed(tmp_path, exercises):
    place = made_class(exercises, tmp_path / "in")
    assignment = read_assignment(chapter_names=[OWN])
    results = Results(tmp_path / "results")

    def run(seed="a secret", these=assignment):
        told: dict[str, bool] = {}
        grade_class(
            find([place]), these, seed, results, workers=1,
            after_each=lambda graded, old: told.__setitem__(graded.learner, old), drop_others=True,
        )  # fmt: skip
        return told

    assert set(run().values()) == {False}
    assert set(run().values()) == {True}
    write(place / f"learner1_{OWN}.ipynb", solved(exercises))
    (place / f"learner0_{OWN}.ipynb").unlink()
    assert [name for name, old in run().items() if not old] == ["learner1"]
    stored = {graded.learner: graded for graded in results}
    assert "learner0" not in stored
    assert sum(g.points for g in stored["learner1"].grades) == 7
    assert set(run(seed="another").values()) == {False}
    other = read_assignment(names=["pair_products"])
    assert set(run(these=other).values()) == {False}
    damaged = results.place(f"learner2_{OWN}.ipynb")
    damaged.write_text("{", encoding="utf-8")
    assert [name for name, old in run(these=other).items() if not old] == ["learner2"]


def test_one_learner_is_graded_again_and_all_others_keep_their_grades(tmp_path, capsys, exercises):
    cells = {"anna": solved(exercises), "bo": [PRELUDE], "cem": solved(exercises)[:2]}
    for name, sources in cells.items():
        write(tmp_path / "in" / name / f"{OWN}.ipynb", sources)
    out = commanded(tmp_path / "in", tmp_path / "out")

    def points():
        read = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
        return {one["learner"]: one["points"] for one in read}

    before = points()
    assert (before["anna"], before["bo"]) == (7, 0)
    write(tmp_path / "in" / "bo" / f"{OWN}.ipynb", solved(exercises))
    write(tmp_path / "in" / "anna" / f"{OWN}.ipynb", [PRELUDE])
    capsys.readouterr()
    commanded(tmp_path / "in" / "bo", out)
    assert "2 of these learners keep earlier grades" in capsys.readouterr().err
    assert points() == before | {"bo": 7}
    assert (out / "feedback" / "anna.html").is_file()
    # Worse work replaces better work.
    commanded(tmp_path / "in" / "anna", out)
    assert points() == before | {"bo": 7, "anna": 0}
    words = ["grade", str(tmp_path / "in" / "bo"), "--out", str(out), "--quiet"]
    assert main([*words, "--exercises", "pair_products"]) == 2
    assert "grades of 2 other learners on other exercises" in capsys.readouterr().err
    assert points() == before | {"bo": 7, "anna": 0}
    assert main([*words, "--exercises", "pair_products", "--drop-others"]) == 0
    assert set(points()) == {"bo"}


def test_an_interrupted_run_goes_on(tmp_path, exercises):
    """Killed in the middle, and started again: what was there is kept, and nothing is missing."""
    place = made_class(exercises, tmp_path / "in", 8)
    slow = source_of(exercises[0].solution).replace("    return", "    PAUSE()\n    return")
    pause = "import time\nPAUSE = lambda: time.sleep(0.7)\n"  # so that there is time to kill it
    write(place / f"learner4_{OWN}.ipynb", [PRELUDE, pause, slow])
    out = tmp_path / "out"
    words, more = program(
        "grade", str(place), "--chapters", OWN, "--out", str(out), "--quiet", "--workers", "1"
    )
    env, none = os.environ | more, subprocess.DEVNULL
    process = subprocess.Popen(words, env=env, stdout=none, stderr=none)
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(out.glob("results/*.json"))) < 3:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("results/*.json")}
    assert 3 <= len(before) <= 4
    again = subprocess.run(words, timeout=300, env=env, stdout=none, stderr=none)
    assert again.returncode == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("results/*.json")}
    assert len(after) == 8
    assert all(after[name] == when for name, when in before.items())
    assert not list(out.rglob("*.part"))


def test_what_is_under_way_at_an_interruption_is_not_graded(tmp_path, exercises):
    """Ctrl-C while a right and slow answer runs: its learner has no false zero afterwards."""
    slow = source_of(exercises[0].solution).replace(
        "    return", "    import time; time.sleep(1.2)\n    return"
    )
    assert "sleep" in slow
    place = tmp_path / "in"
    write(place / f"a_quick_{OWN}.ipynb", solved(exercises[:1]))
    write(place / f"b_slow_{OWN}.ipynb", [PRELUDE, slow])
    results = Results(tmp_path / "results")

    def interrupt(graded, _):
        assert graded.learner == "a_quick"
        time.sleep(0.5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_class(
            find([place]), read_assignment(names=["pair_products"]), "a", results, workers=1,
            after_each=interrupt,
        )  # fmt: skip
    assert [graded.learner for graded in results] == ["a_quick"]


def test_one_worker_that_cannot_start_does_not_lose_results(tmp_path, monkeypatch, exercises):
    """An error in the grader itself ends the run, and what was graded stays."""
    place = made_class(exercises, tmp_path / "in", 4)
    results = Results(tmp_path / "results")
    real = Grader.grade
    lock = threading.Lock()
    count = 0

    def failing(self, submission):
        nonlocal count
        with lock:
            count += 1
            if count == 4:
                raise RuntimeError("no more")
        return real(self, submission)

    monkeypatch.setattr(Grader, "grade", failing)
    with pytest.raises(RuntimeError, match="no more"):
        grade_class(find([place]), read_assignment(chapter_names=[OWN]), "a", results, workers=1)
    assert len(list(results)) == 3


def test_better_of_two_notebooks_counts(tmp_path, exercises):
    wrong = "def pair_products(queries, keys):\n    return queries"
    write(tmp_path / "in" / "anna" / "first.ipynb", [PRELUDE, wrong])
    write(tmp_path / "in" / "anna" / "second.ipynb", solved(exercises))
    out = commanded(tmp_path / "in", tmp_path / "out")
    read = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
    assert [(x["learner"], x["points"], len(x["files"])) for x in read] == [("anna", 7.0, 2)]


def test_a_folder_of_the_instructors_own_is_left_alone(tmp_path, capsys, exercises):
    place = write(tmp_path / "in" / f"anna_{OWN}.ipynb", solved(exercises[:1])).parent
    out = tmp_path / "project"
    (out / "results").mkdir(parents=True)
    (out / "results" / "thesis.csv").write_text("1", encoding="utf-8")
    (out / "results" / "more").mkdir()
    words = ["grade", str(place), "--exercises", "pair_products", "--out", str(out), "--quiet"]
    assert main(words) == 0
    assert main(words) == 0
    assert (out / "results" / "thesis.csv").read_text(encoding="utf-8") == "1"
    other = tmp_path / "other"
    (other / "feedback").mkdir(parents=True)
    capsys.readouterr()
    assert main([*words[:4], "--out", str(other), "--quiet"]) == 2
    assert "that no grading made" in capsys.readouterr().err
    assert not (other / "seed.txt").exists()


# --- for an LMS -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grades(tmp_path_factory, exercises, shared_sandboxes):
    folder = tmp_path_factory.mktemp("grades")
    return commanded(made_class(exercises, folder / "in", 3), folder / "out")


def test_tables_for_canvas_and_moodle(grades, tmp_path, capsys):
    roster = tmp_path / "canvas.csv"
    roster.write_text(
        "Student,ID,SIS Login ID,Section\n"
        "    Points Possible,,,\n"
        '"Ada, L.",1,learner0,A\n"Bo, M.",2,learner1,A\n"Zoe, N.",9,zoe,A\n',
        encoding="utf-8-sig",
    )
    out = tmp_path / "import.csv"
    words = ["export", "lms", str(grades), "--system", "canvas", "--title", "Week 3"]
    assert main([*words, "--roster", str(roster), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "not in the roster: learner2" in said
    assert "no grade for: zoe" in said or "no grade for: Zoe" in said
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["Week 3"] for r in rows] == ["", "7", "4", ""]
    roster.write_text(
        "Identifier,Full name,Email address,Grade\nParticipant 1,Ada,learner1@example.org,\n",
        encoding="utf-8",
    )
    table, strangers, without = lms_table(grades / "grades.json", roster, "moodle")
    (row,) = csv.DictReader(table.splitlines())
    assert row["Grade"] == "4"
    assert "The mask has no effect" in row["Feedback comments"]
    assert strangers == ["learner0", "learner2"]
    assert without == []


def test_an_archive_of_an_lms_finds_its_roster(tmp_path, exercises):
    moodle, canvas = tmp_path / "moodle", tmp_path / "canvas"
    cells = solved(exercises[:1])
    write(moodle / "Anna Schmidt_4711_assignsubmission_file_" / NOTEBOOK, cells)
    write(moodle / "Bo Ek_4712_assignsubmission_file_" / NOTEBOOK, [])
    write(canvas / f"schmidtanna_LATE_815_4711_{OWN}-1.ipynb", cells)
    write(canvas / f"ekbo_816_4712_{OWN}.ipynb", [])
    rosters = {
        "moodle": "Identifier,Full name,Grade\nParticipant 4711,Anna,\nParticipant 4712,Bo,\n",
        "canvas": 'Student,ID\n"Schmidt, Anna",815\n"Ek, Bo",816\n',
    }
    for system, place in (("moodle", moodle), ("canvas", canvas)):
        out = tmp_path / f"{system}-out"
        words = ["grade", str(place), "--exercises", "pair_products", "--out", str(out), "--quiet"]
        assert main(words) == 0
        roster = tmp_path / f"{system}.csv"
        roster.write_text(rosters[system], encoding="utf-8")
        table, strangers, without = lms_table(out / "grades.json", roster, system, "Week")
        column = {"moodle": "Grade", "canvas": "Week"}[system]
        assert [row[column] for row in csv.DictReader(table.splitlines())] == ["2", "0"]
        assert (strangers, without) == ([], [])


def test_canvas_gives_each_file_a_number_of_its_own(tmp_path, exercises):
    """Two notebooks of one learner have two names; the better answer to each exercise counts."""
    place = tmp_path / "in"
    first, second, third = exercises
    write(place / f"ekbo_816_4712_{OWN}.ipynb", solved([first, second]))
    write(place / f"ekbo_816_4713_{OWN}-1.ipynb", solved([third]))
    write(place / "schmidtanna_LATE_815_4714_my answer.ipynb", solved([first]))
    out = commanded(place, tmp_path / "out")
    roster = tmp_path / "canvas.csv"
    roster.write_text('Student,ID\n"Ek, Bo",816\n"Schmidt, Anna",815\n', encoding="utf-8")
    table, strangers, without = lms_table(out / "grades.json", roster, "canvas", "Week")
    assert [row["Week"] for row in csv.DictReader(table.splitlines())] == ["7", "2"]
    assert (strangers, without) == ([], [])
