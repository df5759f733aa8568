"""Grading a class: what is read, run and written, and what happens when it is cut off."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from attnbook.__main__ import main
from attnbook.exercises import chapter, exercise, exercises
from attnbook.exercises.definition import PRACTICE, PRELUDE, source_of, stub_of
from attnbook.exercises.judge import GENERAL, NOTHING
from attnbook.exercises.probes import unpack
from attnbook.grading import classroom, reports, sandbox
from attnbook.grading.canary import check_installation
from attnbook.grading.classroom import Results, grade_class, read_assignment, read_seed
from attnbook.grading.grader import Grade, Graded, Grader
from attnbook.grading.reports import lms_table, page_name, write_reports
from attnbook.grading.sandbox import Limits, NoSandboxError, Sandbox, reason_against
from attnbook.grading.submissions import code_cells, find
from classroom import answer, notebook, solved, write
from test_exercises import bank

ROOT = Path(__file__).resolve().parents[1]
FIVE = chapter(5).exercises


@pytest.fixture(scope="module")
def grader():
    made = Grader(FIVE, "a secret")
    yield made
    made.close()


# ---------------------------------------------------------------------------------- the sandbox


def test_there_is_a_sandbox_here():
    assert reason_against() == ""


def test_the_canary_passes(grader):
    check_installation(grader)


def test_a_leaking_sandbox_is_found_out(monkeypatch):
    """With the machine's own files in reach, the canary stops the grading."""
    real = sandbox.command

    def leaking():
        words = real()
        place = words.index("--remount-ro")
        return [*words[:place], "--bind", "/tmp", "/tmp", *words[place:]]

    monkeypatch.setattr(sandbox, "command", leaking)
    made = Grader(FIVE[:1], "a secret")
    try:
        with pytest.raises(NoSandboxError, match="write to /tmp"):
            check_installation(made)
    finally:
        made.close()


def test_a_sandbox_with_a_network_is_found_out(monkeypatch):
    real = sandbox.command
    monkeypatch.setattr(sandbox, "command", lambda: [w for w in real() if w != "--unshare-net"])
    made = Grader(FIVE[:1], "a secret")
    try:
        with pytest.raises(NoSandboxError, match="see the machine's network"):
            check_installation(made)
    finally:
        made.close()


def test_a_sandbox_without_the_filter_is_found_out(monkeypatch):
    real = sandbox.command
    monkeypatch.setattr(
        sandbox,
        "command",
        lambda: [w.replace("inside.main()", "inside.main(unsafe=True)") for w in real()],
    )
    made = Grader(FIVE[:1], "a secret")
    try:
        with pytest.raises(NoSandboxError, match=r"change the limits.*leave memory behind"):
            check_installation(made)
    finally:
        made.close()


def test_a_broken_installation_grades_nobody(monkeypatch, tmp_path):
    """If the solution itself does not pass, nothing is written: no class of zeros."""
    from attnbook.grading import canary

    monkeypatch.setattr(canary, "source_of", stub_of)
    place = write(tmp_path / "in" / "anna_05_dot_attention.ipynb", solved(FIVE)).parent
    assignment = read_assignment(chapter_names=["5"])
    results = Results(tmp_path / "results")
    with pytest.raises(RuntimeError, match="nothing was graded: the solution of dot_scores fails"):
        grade_class(find([place]), assignment, "a secret", results)
    assert not list(results)


def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    place = write(tmp_path / "in" / "anna_05_dot_attention.ipynb", solved(FIVE)).parent
    out = tmp_path / "out"
    command = ["grade", str(place), "--chapters", "5", "--out", str(out), "--quiet"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "apt-get install bubblewrap" in said
    assert "--run-unsafely-without-a-sandbox" in said
    assert not (out / "grades.csv").exists()
    assert main([*command, "--run-unsafely-without-a-sandbox"]) == 0
    assert "anna,2,3,2,7,7" in (out / "grades.csv").read_text(encoding="utf-8")


def test_where_bubblewrap_is_not_allowed_it_says_so(monkeypatch):
    real = sandbox.command()
    monkeypatch.setattr(
        sandbox, "command", lambda: [*real[:1], "--ro-bind", "/missing", "/x", *real[1:]]
    )
    assert "/missing" in reason_against()
    with pytest.raises(NoSandboxError, match="/missing"):
        classroom.make_grader(read_assignment(names=["dot_scores"]), "a secret", unsafe=False)


def test_one_sandbox_serves_many_and_is_replaced():
    with Sandbox() as one:
        one.MOST = 3
        seen = set()
        for _ in range(5):
            reply = one.run(["def f():\n    return 1"], "f", "", [({}, ())], limits=Limits(2, 5.0))
            assert len(reply.frames) == 1
            seen.add(one.process.pid)
        assert len(seen) == 2


def test_only_what_is_needed_is_in_the_sandbox():
    code = """
def f():
    import os
    found = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [d for d in folders if not os.path.join(folder, d).startswith(
            ("/proc", "/usr", "/dev", "/sys"))]
        found += [os.path.join(folder, name) for name in files]
    return [f for f in found if "attnbook" in f or "dot_attention" in f or "/grader" in f]
"""
    with Sandbox() as one:
        (frame,) = one.run([code], "f", "", [({}, ())], limits=Limits(4, 20.0)).frames
    files = sandbox.probes.unpack(frame)["value"]
    package = [f for f in files if "attnbook" in f or "dot_attention" in Path(f).stem]
    assert not [f for f in package if f.endswith((".py", ".pyc", ".ipynb"))]
    assert {f for f in files if f.startswith("/grader")} == {
        "/grader/inside.py",
        "/grader/probes.py",
    }


# Each of these reaches for the process that all answers are forked from, or leaves something for
# the next one. What comes next is somebody's honest answer.
LEFT_BEHIND = {
    "limits": """
        import resource
        for which in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
            attempt(lambda: resource.prlimit(os.getppid(), which, (4, 4)))
    """,
    "priority": """
        attempt(lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19))
        attempt(lambda: os.sched_setaffinity(os.getppid(), {0}))
    """,
    "signals": """
        import signal
        for number in (signal.SIGINT, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            attempt(lambda: os.kill(os.getppid(), number))
            attempt(lambda: os.kill(-1, number))
            attempt(lambda: os.killpg(os.getpgid(os.getppid()), number))
    """,
    "pipes": """
        for process in (1, os.getppid()):
            for number in range(20):
                attempt(lambda: os.write(os.open(f"/proc/{process}/fd/{number}", 1), bytes(9)))
                attempt(lambda: os.open(f"/proc/{process}/fd/{number}", 0))
    """,
    "environment": """
        for process in (1, os.getppid()):
            attempt(lambda: open(f"/proc/{process}/environ").read())
            attempt(lambda: open(f"/proc/{process}/mem", "rb").read(1))
    """,
    "shared-memory": """
        import ctypes
        libc = ctypes.CDLL(None)
        for key in range(20):
            attempt(lambda: refused(libc.shmget(100 + key, 1 << 20, 0o1666)))
            attempt(lambda: refused(libc.semget(100 + key, 1, 0o1666)))
            attempt(lambda: refused(libc.msgget(100 + key, 0o1666)))
    """,
    "keys": """
        import ctypes
        libc = ctypes.CDLL(None)
        for call in (248, 217):  # add_key on two architectures
            for ring in (-3, -4, -5):
                attempt(lambda: refused(libc.syscall(call, b"user", b"left", b"x", 1, ring)))
    """,
    "page-cache": """
        import glob
        large = open(glob.glob("/usr/bin/*")[0], "rb")
        attempt(lambda: os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED))
        attempt(lambda: os.preadv(large.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT))
    """,
}
ATTEMPTS = """
import os

def f():
    done = []

    def attempt(action):
        try:
            done.append(str(action()))
        except OSError:
            pass

    def refused(number):
        if number < 0:
            raise OSError

{body}
    return done
"""
HONEST = "def f():\n    return 'honest'\n"
ONE = [({}, ())]


def tried(body: str) -> str:
    return ATTEMPTS.format(body=textwrap.indent(textwrap.dedent(body), "    "))


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_nothing_reaches_the_next_answer(name):
    with Sandbox() as one:
        assert unpack(one.run([HONEST], "f", "", ONE).frames[0])["value"] == "honest"
        process = one.process
        answer = one.run([tried(LEFT_BEHIND[name])], "f", "", ONE)
        assert unpack(answer.frames[0])["value"] == []
        for _ in range(3):
            answer = one.run([HONEST], "f", "", ONE)
            assert answer.ended == ""
            assert unpack(answer.frames[0])["value"] == "honest"
        assert one.process is process


ORDINARY = """
import json, os, sys
assert os.getuid() != 0
from attnbook.exercises.probes import unpack
from attnbook.grading.canary import check_installation
from attnbook.grading.classroom import make_grader, read_assignment
from attnbook.grading.sandbox import NoSandboxError
attempts, honest = json.load(sys.stdin)
try:
    grader = make_grader(read_assignment(names=["dot_scores"]), "a secret", False)
except NoSandboxError as error:
    print(json.dumps(["none", str(error)]))
    sys.exit()
check_installation(grader)
found = []
for code in attempts:
    for each in (code, honest):
        answer = grader.hidden.run([each], "f", "", [({}, ())])
        found.append(unpack(answer.frames[0])["value"])
grader.close()
print(json.dumps(["graded", found]))
"""


def test_an_ordinary_user_has_the_same_sandbox():
    """The canary, and the attempts above, as a user without rights: the way that is recommended.

    Where such a user may have no sandbox, nothing is run.
    """
    words = [sys.executable, "-B", "-c", ORDINARY]
    if os.getuid() == 0:
        # Root's home is closed to others, and what is needed may lie in it.
        outer = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/root", "--tmpfs", "/tmp"]
        needed = {sys.base_prefix, sys.prefix, str(ROOT)}
        for folder in sorted({str(p) for f in needed for p in Path(f).parents} - {"/"}):
            outer += ["--perms", "0755", "--dir", folder]
        for folder in needed:
            outer += ["--ro-bind", folder, folder]
        rights = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
        words = [*outer, "--cap-add", "ALL", *rights, *words]
    ran = subprocess.run(
        words,
        input=json.dumps([[tried(body) for body in LEFT_BEHIND.values()], HONEST]),
        env=os.environ | {"HOME": "/tmp", "SECRET": "of the instructor"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    what, found = json.loads(ran.stdout)
    if what == "graded":
        assert found == [[], "honest"] * len(LEFT_BEHIND)
    else:
        assert "bubblewrap cannot make a sandbox here" in found


def test_a_sandbox_that_broke_by_itself_costs_nobody_a_point(monkeypatch):
    """An answer is believed to have ended its sandbox only if it does so twice."""
    real, count = sandbox._parse, 0

    def parse(reply):
        nonlocal count
        count += 1
        if count == 1:
            raise ValueError("damaged on the way")
        return real(reply)

    made = Grader(FIVE[:1], "a secret")
    monkeypatch.setattr(sandbox, "_parse", parse)
    try:
        assert made.grade_one(FIVE[0], solved(FIVE[:1])).points == 2
        monkeypatch.setattr(sandbox, "_parse", lambda reply: real(b""))
        grade = made.grade_one(FIVE[0], solved(FIVE[:1]))
    finally:
        made.close()
    assert (grade.points, grade.mistake) == (0, "ends-its-process")


# ------------------------------------------------------------------------------------- one grade


def test_right_and_wrong_answers_of_the_banks(grader):
    """What the checker says in a notebook, the sandbox says too."""
    for each in FIVE:
        right, wrong = bank(each.name)
        before = [PRELUDE]
        for function in list(right.values())[:2]:
            got = grader.grade_one(each, [*before, answer(function, each.name)])
            assert got.points == each.points, got
        told = {
            name: grader.grade_one(each, [*before, answer(function, each.name)])
            for name, function in list(wrong.items())[1:8]
        }
        assert {name: grade.mistake for name, grade in told.items()} == {n: n for n in told}
        assert all(grade.points == 0 and grade.hint and grade.more for grade in told.values())


def test_feedback_is_about_the_learners_own_inputs(grader):
    each = exercise("dot_scores")
    got = grader.grade_one(each, [PRELUDE, "def dot_scores(queries, keys):\n    return queries"])
    shown = "\n".join(got.example)
    case = each.drawn(PRACTICE)[0]
    assert f"{case.inputs['queries'].flatten()[0]:.4g}" in shown
    assert "expected: " in shown
    assert "got: " in shown


def test_an_answer_written_for_the_known_inputs_earns_nothing(grader):
    """It passes in the notebook, and says so in the feedback, without showing a hidden input."""
    each = exercise("dot_scores")
    known = [case.inputs for case in each.drawn(PRACTICE)]
    table = [
        (i["queries"].tolist(), (i["queries"] @ i["keys"].transpose(1, 2)).tolist()) for i in known
    ]
    code = f"""
TABLE = {table!r}

def dot_scores(queries, keys):
    for key, value in TABLE:
        if queries.tolist() == key:
            return (queries * 0).sum() * 0 + torch.tensor(value, dtype=queries.dtype)
    return queries @ keys.transpose(1, 2) * 2
"""
    got = grader.grade_one(each, [PRELUDE, code])
    assert got.points == 0
    assert got.example


def test_a_fault_that_only_hidden_inputs_show_is_told_without_them(grader):
    each = exercise("dot_scores")
    first = each.drawn(PRACTICE)[0].inputs["queries"].flatten()[0].item()
    code = f"""
def dot_scores(queries, keys):
    scores = queries @ keys.transpose(1, 2)
    lucky = {[round(c.inputs["queries"].flatten()[0].item(), 3) for c in each.drawn(PRACTICE)]}
    return scores if round(queries.flatten()[0].item(), 3) in lucky else scores * 7
"""
    got = grader.grade_one(each, [PRELUDE, code])
    assert got.points == 0
    assert got.example == ()
    assert "not on others of their kind" in got.hint
    assert str(first) not in got.hint


def test_what_the_function_refers_to_comes_along(grader):
    cells = [
        "import torch as t\nfrom math import sqrt as root",
        "WIDTH_FACTOR = 1\n\ndef turned(x):\n    return helper.exchange(x)",
        "class helper:\n    exchange = staticmethod(lambda x: t.transpose(x, 1, 2))",
        "raise RuntimeError('a cell that does not matter')",
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "def dot_scores(queries, keys):\n"
        "    assert nowhere is None\n"
        "    return t.bmm(queries, turned(keys)) * WIDTH_FACTOR",
    ]
    assert grader.grade_one(exercise("dot_scores"), cells).points == 2


def test_the_last_definition_counts_as_in_the_notebook(grader):
    right = source_of(exercise("dot_scores").solution)
    wrong = "def dot_scores(queries, keys):\n    return queries"
    assert grader.grade_one(exercise("dot_scores"), [PRELUDE, wrong, right]).points == 2
    assert grader.grade_one(exercise("dot_scores"), [PRELUDE, right, wrong]).points == 0


def test_the_seed_is_a_secret():
    with pytest.raises(ValueError, match="secret"):
        Grader(FIVE, PRACTICE)
    with pytest.raises(ValueError, match="secret"):
        Grader(FIVE, "")


# --------------------------------------------------------------------------------------- a class


def made_class(folder: Path, count: int = 6) -> Path:
    """Learners of whom each third has one exercise wrong."""
    _, wrong = bank("masked_softmax")
    for i in range(count):
        cells = solved(FIVE)
        if i % 3 == 1:
            cells.append(answer(wrong["no-mask"], "masked_softmax"))
        if i % 3 == 2:
            cells.append(answer(wrong["softmax-over-target"], "masked_softmax"))
            cells = [c for c in cells if "def attention_context" not in c]
        write(folder / f"learner{i}_05_dot_attention.ipynb", cells)
    return folder


def test_a_class_with_one_command(tmp_path, capsys):
    place = made_class(tmp_path / "in")
    out = tmp_path / "out"
    assert main(["grade", str(place), "--chapters", "5", "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "6 learners, 6 notebooks, 7 points; 0 could not be graded" in said
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["points"] for r in rows] == ["7", "4", "2", "7", "4", "2"]
    assert rows[2]["attention_context"] == ""
    read = json.loads((out / "grades.json").read_text(encoding="utf-8"))
    assert read["learners"][1]["exercises"]["masked_softmax"]["mistake"] == "no-mask"
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "no-mask" in report
    assert "softmax-over-target" in report
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


def test_a_second_run_grades_only_what_changed(tmp_path):
    place = made_class(tmp_path / "in")
    assignment = read_assignment(chapter_names=["5"])
    results = Results(tmp_path / "results")

    def run(seed="a secret", these=assignment):
        told: dict[str, bool] = {}
        grade_class(
            find([place]), these, seed, results, workers=1,
            after_each=lambda graded, old: told.__setitem__(graded.learner, old),
        )  # fmt: skip
        return told

    assert set(run().values()) == {False}
    assert set(run().values()) == {True}
    write(place / "learner1_05_dot_attention.ipynb", solved(FIVE))
    (place / "learner0_05_dot_attention.ipynb").unlink()
    assert [name for name, old in run().items() if not old] == ["learner1"]
    stored = {graded.learner: graded for graded in results}
    assert "learner0" not in stored
    assert sum(g.points for g in stored["learner1"].grades) == 7
    assert set(run(seed="another").values()) == {False}
    other = read_assignment(names=["dot_scores"])
    assert set(run(these=other).values()) == {False}
    damaged = results.place("learner2_05_dot_attention.ipynb")
    damaged.write_text("{", encoding="utf-8")
    assert [name for name, old in run(these=other).items() if not old] == ["learner2"]


def test_an_interrupted_run_goes_on(tmp_path):
    """Killed in the middle, and started again: what was there is kept, and nothing is missing."""
    place = made_class(tmp_path / "in", 24)
    out = tmp_path / "out"
    words = [
        sys.executable, "-m", "attnbook", "grade", str(place), "--chapters", "5", "--out", str(out),
        "--quiet", "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(out.glob("results/*.json"))) < 3:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("results/*.json")}
    assert 3 <= len(before) < 24
    assert subprocess.run(words, capture_output=True, timeout=300).returncode == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("results/*.json")}
    assert len(after) == 24
    assert all(after[name] == when for name, when in before.items())
    assert not list(out.rglob("*.part"))


def test_what_is_under_way_at_an_interruption_is_not_graded(tmp_path):
    """Ctrl-C while a right and slow answer runs: its learner has no false zero afterwards."""
    slow = source_of(FIVE[0].solution).replace(
        "    return", "    import time; time.sleep(1)\n    return"
    )
    assert "sleep" in slow
    place = tmp_path / "in"
    write(place / "a_quick_05_dot_attention.ipynb", solved(FIVE[:1]))
    write(place / "b_slow_05_dot_attention.ipynb", [PRELUDE, slow])
    results = Results(tmp_path / "results")

    def interrupt(graded, _):
        assert graded.learner == "a_quick"
        time.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_class(
            find([place]), read_assignment(names=["dot_scores"]), "a", results, workers=2,
            after_each=interrupt,
        )  # fmt: skip
    assert [graded.learner for graded in results] == ["a_quick"]


def test_one_worker_that_cannot_start_does_not_lose_results(tmp_path, monkeypatch):
    """An error in the grader itself ends the run, and what was graded stays."""
    place = made_class(tmp_path / "in", 4)
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
        grade_class(find([place]), read_assignment(chapter_names=["5"]), "a", results, workers=1)
    assert len(list(results)) == 3


def test_two_notebooks_of_one_name_are_refused(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "anna" / "05_dot_attention.ipynb", solved(FIVE))
    places = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match="two notebooks are called"):
        grade_class(find(places), read_assignment(), "s", Results(tmp_path / "r"))


def test_better_of_two_notebooks_counts(tmp_path):
    write(
        tmp_path / "in" / "anna" / "first.ipynb", [PRELUDE, "def dot_scores(q, k):\n    return q"]
    )
    write(tmp_path / "in" / "anna" / "second.ipynb", solved(FIVE))
    out = tmp_path / "out"
    words = [
        "grade",
        str(tmp_path / "in"),
        "--exercises",
        "dot_scores",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(words) == 0
    read = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
    assert [(x["learner"], x["points"], len(x["files"])) for x in read] == [("anna", 2.0, 2)]


# --------------------------------------------------------------------------- on several machines


def test_a_cluster_loses_nothing_when_a_worker_dies(tmp_path):
    """Two workers, one of which is killed half-way: each notebook has one result."""
    distributed = pytest.importorskip("distributed")
    place = made_class(tmp_path / "in", 24)
    results = Results(tmp_path / "results")
    here = Results(tmp_path / "here")
    assignment = read_assignment(chapter_names=["5"])
    told: list[tuple[str, bool]] = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
    ) as cluster:  # fmt: skip
        killed = []

        def after_each(graded: Graded, old: bool) -> None:
            told.append((graded.path, old))
            if len(told) == 8:
                pid = next(iter(cluster.workers.values())).pid
                os.kill(pid, 9)
                killed.append(pid)

        grade_class(
            find([place]), assignment, "a secret", results,
            scheduler=cluster.scheduler_address, after_each=after_each,
        )  # fmt: skip
        assert killed
        again: list[bool] = []
        grade_class(
            find([place]), assignment, "a secret", results,
            scheduler=cluster.scheduler_address, after_each=lambda g, old: again.append(old),
        )  # fmt: skip
    assert sorted(path for path, _ in told) == sorted(p.name for p in place.iterdir())
    assert again == [True] * 24
    grade_class(find([place]), assignment, "a secret", here)
    assert list(results) == list(here)


# --------------------------------------------------------------------------------- what is graded


def test_an_assignment_from_a_file(tmp_path):
    path = tmp_path / "week.toml"
    path.write_text(
        'title = "Week 3"\nchapters = [5]\n[points]\nmasked_softmax = 5\ndot_scores = 0\n',
        encoding="utf-8",
    )
    found = read_assignment(path)
    assert found.title == "Week 3"
    assert found.points == {"masked_softmax": 5.0, "attention_context": 2.0}
    assert found.total == 7
    assert read_assignment().total == sum(e.points for e in exercises().values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chapter = 5", "unknown key chapter"),
        ("chapters = [99]", "no chapter '99'"),
        ("[points]\nmasked_sofmax = 1", "did you mean masked_softmax"),
        ("[points]\nmasked_softmax = -1", "expected a number from 0"),
        ("[points]\nmasked_softmax = 0", "no exercise with points"),
        ("x = ", "week.toml"),
        ("chapters = 5", "expected a list such as"),
        ('chapters = "56"', "expected a list such as"),
        ("points = 5", "expected a table"),
    ],
)
def test_an_assignment_that_makes_no_sense_is_refused(tmp_path, text, message):
    path = tmp_path / "week.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_assignment(path)


def test_the_seed_is_made_once(tmp_path):
    first = read_seed(tmp_path)
    assert len(first) == 32
    assert read_seed(tmp_path) == first
    given = tmp_path / "mine"
    given.write_text(" words \n", encoding="utf-8")
    assert read_seed(tmp_path, given) == "words"
    given.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="empty"):
        read_seed(tmp_path, given)
    with pytest.raises(FileNotFoundError):
        read_seed(tmp_path, tmp_path / "nowhere")


def test_whose_a_notebook_is(tmp_path):
    for name in (
        "anna/05_dot_attention.ipynb", "bo/deep/er/x.ipynb", "cem_05_dot_attention.ipynb",
        "dora.ipynb", ".hidden/x.ipynb", "anna/.ipynb_checkpoints/x.ipynb", "notes.txt",
    ):  # fmt: skip
        write(tmp_path / name, [])
    assert [s.learner for s in find([tmp_path])] == ["anna", "bo", "cem", "dora"]
    with pytest.raises(ValueError, match="neither a folder"):
        list(find([tmp_path / "notes.txt"]))
    with pytest.raises(FileNotFoundError):
        list(find([tmp_path / "nowhere"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no notebook"):
        list(find([tmp_path / "empty"]))


def test_a_folder_around_all_learners_is_none(tmp_path):
    for name in ("hw/anna/05_dot_attention.ipynb", "hw/bo/05_dot_attention.ipynb"):
        write(tmp_path / "a" / name, [])
    assert [s.learner for s in find([tmp_path / "a"])] == ["anna", "bo"]
    for name in ("hw/anna_05_dot_attention.ipynb", "hw/bo_05_dot_attention.ipynb"):
        write(tmp_path / "b" / name, [])
    assert [s.learner for s in find([tmp_path / "b"])] == ["anna", "bo"]
    for name in ("anna/05_dot_attention.ipynb", "anna/06_general_concat.ipynb"):
        write(tmp_path / "c" / name, [])
    assert [s.learner for s in find([tmp_path / "c"])] == ["anna", "anna"]
    # One learner alone: it is the folder that has the name.
    for name in ("anna/my_05_dot_attention.ipynb", "anna/hw5/05_dot_attention.ipynb"):
        write(tmp_path / name.replace("/", "-") / name, [])
        assert [s.learner for s in find([tmp_path / name.replace("/", "-")])] == ["anna"]


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anna/05_dot_attention.ipynb", "{}")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x00\x00"))
    with pytest.raises(ValueError, match=r"class\.zip: a damaged zip archive"):
        list(find([path]))


def test_a_folder_of_the_instructors_own_is_left_alone(tmp_path, capsys):
    place = write(tmp_path / "in" / "anna_05_dot_attention.ipynb", solved(FIVE[:1])).parent
    out = tmp_path / "project"
    (out / "results").mkdir(parents=True)
    (out / "results" / "thesis.csv").write_text("1", encoding="utf-8")
    (out / "results" / "more").mkdir()
    words = ["grade", str(place), "--exercises", "dot_scores", "--out", str(out), "--quiet"]
    assert main(words) == 0
    assert main(words) == 0
    assert (out / "results" / "thesis.csv").read_text(encoding="utf-8") == "1"
    other = tmp_path / "other"
    (other / "feedback").mkdir(parents=True)
    capsys.readouterr()
    assert main([*words[:4], "--out", str(other), "--quiet"]) == 2
    assert "that no grading made" in capsys.readouterr().err
    assert not (other / "seed.txt").exists()


def test_old_and_odd_notebook_formats_are_read():
    cells = [{"cell_type": "code", "input": ["a = 1\n", "b = 2"]}, {"cell_type": "markdown"}, 7]
    data = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert code_cells(data) == ["a = 1\nb = 2"]
    for sheets in ([{"cells": None}], [{}], [7, {"cells": {}}]):
        assert code_cells(json.dumps({"nbformat": 3, "worksheets": sheets}).encode()) == []
    lone = json.dumps(notebook(["x"])).replace('"x"', '"\\ud800"').encode()
    assert code_cells(lone) == ["?"]


# -------------------------------------------------------------------------------------- for an LMS


@pytest.fixture
def grades(tmp_path):
    place = made_class(tmp_path / "in", 3)
    out = tmp_path / "out"
    assert main(["grade", str(place), "--chapters", "5", "--out", str(out), "--quiet"]) == 0
    return out


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


def test_an_archive_of_an_lms_finds_its_roster(tmp_path):
    moodle, canvas = tmp_path / "moodle", tmp_path / "canvas"
    cells = solved(FIVE[:1])
    write(moodle / "Anna Schmidt_4711_assignsubmission_file_" / "05_dot_attention.ipynb", cells)
    write(moodle / "Bo Ek_4712_assignsubmission_file_" / "05_dot_attention.ipynb", [])
    write(canvas / "schmidtanna_LATE_815_4711_05_dot_attention-1.ipynb", cells)
    write(canvas / "ekbo_816_4712_05_dot_attention.ipynb", [])
    rosters = {
        "moodle": "Identifier,Full name,Grade\nParticipant 4711,Anna,\nParticipant 4712,Bo,\n",
        "canvas": 'Student,ID\n"Schmidt, Anna",815\n"Ek, Bo",816\n',
    }
    for system, place in (("moodle", moodle), ("canvas", canvas)):
        out = tmp_path / f"{system}-out"
        words = ["grade", str(place), "--exercises", "dot_scores", "--out", str(out), "--quiet"]
        assert main(words) == 0
        roster = tmp_path / f"{system}.csv"
        roster.write_text(rosters[system], encoding="utf-8")
        table, strangers, without = lms_table(out / "grades.json", roster, system, "Week")
        column = {"moodle": "Grade", "canvas": "Week"}[system]
        assert [row[column] for row in csv.DictReader(table.splitlines())] == ["2", "0"]
        assert (strangers, without) == ([], [])


def test_canvas_gives_each_file_a_number_of_its_own(tmp_path):
    """Two notebooks of one learner have two names; the better answer to each exercise counts."""
    place = tmp_path / "in"
    first, second, third = FIVE
    write(place / "ekbo_816_4712_05_dot_attention.ipynb", solved([first, second]))
    write(place / "ekbo_816_4713_05_dot_attention-1.ipynb", solved([third]))
    write(place / "schmidtanna_LATE_815_4714_my answer.ipynb", solved([first]))
    out = tmp_path / "out"
    assert main(["grade", str(place), "--chapters", "5", "--out", str(out), "--quiet"]) == 0
    roster = tmp_path / "canvas.csv"
    roster.write_text('Student,ID\n"Ek, Bo",816\n"Schmidt, Anna",815\n', encoding="utf-8")
    table, strangers, without = lms_table(out / "grades.json", roster, "canvas", "Week")
    assert [row["Week"] for row in csv.DictReader(table.splitlines())] == ["7", "2"]
    assert (strangers, without) == ([], [])


def test_every_general_fault_has_words_for_the_class_report():
    made = {"too-slow", "ends-its-process", "cannot-be-run", NOTHING}
    assert set(reports._GENERAL) == {mistake.name for mistake in GENERAL} | made


@pytest.mark.parametrize("names", [["8"], ["11"], ["13"], ["5"]])
def test_full_marks_are_in_the_last_row_of_the_class_report(tmp_path, names):
    assignment = read_assignment(chapter_names=names)
    grades = tuple(Grade(e.name, assignment.points[e.name], 0.0) for e in assignment.exercises)
    results = Results(tmp_path / "results")
    for i, earned in enumerate((grades, grades[:0])):
        results.write(Graded(f"learner{i}", f"{i}.ipynb", "digest", "", earned))
    write_reports(tmp_path, assignment, results)
    page = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    counts = [row.find(class_="n").text for row in page.find("tbody").find_all("tr")]
    assert counts == ["1", *["0"] * (len(counts) - 2), "1"]
    assert f"median {assignment.total / 2:g} of {assignment.total:g}" in page.text


def test_a_roster_without_names_is_refused(grades, tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no column that names learners"):
        lms_table(grades / "grades.json", roster, "canvas")
    roster.write_text("Student\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no rows"):
        lms_table(grades / "grades.json", roster, "canvas")


def test_page_names_differ_for_different_learners():
    names = ["anna", "an/na", "an na", "an_na", "..", "", "é" * 100, "é" * 101]
    names += [page_name(name).removesuffix(".html") for name in names]  # somebody's, on purpose
    names = list(dict.fromkeys(names))
    pages = [page_name(name) for name in names]
    assert len(set(pages)) == len(names)
    assert all("/" not in page and not page.startswith(".") for page in pages)
