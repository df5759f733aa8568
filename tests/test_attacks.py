"""Learners who are up to something, among others who are not, graded together.

What must come of an attack is always the same: no points, no hidden input in anything that is
written, nothing changed outside, and everybody else graded.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import socket
import threading
import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from attacks import ATTACKS, attack
from attnbook.__main__ import main
from attnbook.exercises.judge import show
from attnbook.exercises.report import inputs_in_words
from attnbook.grading import canary, classroom, grader, sandbox
from classroom import OWN, notebook, solved, write

pytestmark = [
    pytest.mark.needs("sandbox"),
    pytest.mark.usefixtures("own_chapter", "shared_sandboxes"),
]

SEED = "the instructor's own secret"
NOTEBOOK = f"{OWN}.ipynb"


@pytest.fixture(scope="module")
def exercises(own_chapter):
    return own_chapter.exercises


def graded_rows(place: Path, out: Path, *more: str) -> dict[str, dict[str, str]]:
    """Grade the own chapter with the command that an instructor gives; a row for each learner."""
    assert main(["grade", str(place), "--chapters", OWN, "--out", str(out), "--quiet", *more]) == 0
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {row["learner"]: row for row in csv.DictReader(file)}


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


class Listener(threading.Thread):
    """A server of the instructor's machine that nobody in the sandbox may reach."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.heard: list[bytes] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                self.heard.append(connection.recv(10))


def _left(pool) -> list[psutil.Process]:
    """Processes of sandboxes that are nobody's any more, some seconds after the grading."""
    ready = {process.pid for process, _ in pool.ready}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            mine = process.ppid() == 1 or psutil.Process() in process.parents()
            if mine and not ready & {process.pid, process.ppid()}:
                found += [process] if any("inside" in word for word in process.cmdline()) else []
    return psutil.wait_procs(found, timeout=20)[1]


@pytest.fixture(scope="module")
def graded(tmp_path_factory, exercises, shared_sandboxes, sandboxes):
    """A class with all attackers, graded with one command."""
    folder = tmp_path_factory.mktemp("attacks")
    home, out = folder / "home", folder / "grades"
    home.mkdir()
    secret = home / "secret.txt"
    secret.write_text("INPUT of the instructor", encoding="utf-8")
    os.chmod(folder, 0o755)
    seed = folder / "seed.txt"
    seed.write_text(SEED, encoding="utf-8")
    listener = Listener()
    listener.start()
    attacked, *others = exercises
    submissions = folder / "submissions"
    package = str(Path(main.__code__.co_filename).parents[1])
    for name in ATTACKS:
        code = attack(
            name, name=attacked.name, secret=secret, port=listener.port, out=out, package=package
        )
        # Whoever attacks in one exercise has honest answers in the others.
        write(submissions / name / NOTEBOOK, [*solved(others), code])
    for honest in ("aaron", "mia", "zoe"):
        write(submissions / honest / NOTEBOOK, solved(exercises))
    before = _digest(home)
    with pytest.MonkeyPatch.context() as patch:
        # Attackers meet what an instructor's grading starts, with all that the environment has.
        patch.setattr(grader, "Sandbox", sandbox.Sandbox)
        patch.setattr(classroom, "check_installation", canary.check_installation)
        patch.setenv("ATTNBOOK_TEST_TOKEN", "MARKER of the instructor's environment")
        rows = graded_rows(submissions, out, "--seed-file", str(seed))
    listener.server.close()
    return {
        "out": out, "rows": rows, "home": (before, _digest(home)), "left": _left(sandboxes),
        "heard": listener.heard,
    }  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_earns_a_point(graded, exercises, name):
    row = graded["rows"][name]
    attacked, *others = exercises
    assert row[attacked.name] in ("0", ""), row
    assert [row[e.name] for e in others] == [f"{e.points}" for e in others]


def test_everybody_else_is_graded(graded, exercises):
    assert len(graded["rows"]) == len(ATTACKS) + 3
    total = sum(e.points for e in exercises)
    for honest in ("aaron", "mia", "zoe"):
        assert graded["rows"][honest]["points"] == f"{total}"


def test_no_hidden_input_is_carried_out(graded, exercises):
    """No number of a hidden input, and no file of the instructor's, is in what is written."""
    hidden = exercises[0].drawn(SEED)
    numbers = [repr(case.inputs["queries"].tolist()) for case in hidden]
    lines = [line for case in hidden for line in inputs_in_words(case.inputs)]
    lines += [show(value) for case in hidden for value in case.inputs.values()]
    practice = [
        line
        for case in exercises[0].drawn()
        for line in [
            repr(case.inputs["queries"].tolist()),
            *inputs_in_words(case.inputs),
            *map(show, case.inputs.values()),
        ]
    ]
    unknown = [text for text in (*numbers, *lines) if text not in practice]
    assert len(unknown) == 5 * len(hidden)
    for path in graded["out"].rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert SEED not in text
            assert "MARKER" not in text
            assert len(text) < 2_000_000
            assert "of the instructor" not in text
            for each in unknown:
                assert each not in text, (path.name, each)


def test_nothing_outside_is_changed(graded):
    before, after = graded["home"]
    assert before == after
    assert not list(graded["out"].rglob("left-behind"))
    for folder in ("/", "/tmp", "/dev", "/dev/shm", "/var/tmp", os.getcwd()):
        assert not Path(folder, "left-behind").exists()
    assert graded["heard"] == []
    assert graded["left"] == []


def test_feedback_says_what_happened_to_a_loop(graded):
    page = (graded["out"] / "feedback" / "infinite-loop.html").read_text(encoding="utf-8")
    assert "did not end in time" in page
    page = (graded["out"] / "feedback" / "solution-import.html").read_text(encoding="utf-8")
    assert "since it has the solutions" in page


# ---------------------------------------------------------------- notebooks that are none, or odd


@pytest.fixture(scope="module")
def odd(tmp_path_factory, exercises, shared_sandboxes):
    """A class whose notebooks are damaged, huge, in another language or rearranged."""
    folder = tmp_path_factory.mktemp("odd")
    submissions = folder / "submissions"
    cells = solved(exercises)
    first = exercises[0].name
    right = {
        "plain": cells,
        "reordered": [cells[0], *reversed(cells[1:])],
        "duplicated": [c for c in cells for _ in range(3)],
        "prelude-deleted": cells[1:],
        "one-cell": ["\n\n".join(cells)],
        "stub-first": [f"def {first}(queries, keys):\n    ...\n", *cells],
        "stub-last": [*cells, f'def {first}(queries, keys):\n    """Copied."""\n    ...\n'],
        "magics": [
            "%matplotlib inline\n!pip list\nx = 1", "%%timeit\nbroken ((", "help?", *cells,
            "print(1", "model = train_for_hours()", "raise RuntimeError",
        ],
    }  # fmt: skip
    for name, these in right.items():
        write(submissions / name / NOTEBOOK, these)
    renamed = notebook(cells)
    for i, cell in enumerate(renamed["cells"]):
        cell["id"] = f"renamed-{i * 7}"
        cell["metadata"] = {"tags": ["whatever"], "name": "other"}
        cell["source"] = cell["source"].splitlines(keepends=True)
    raw = {
        "cells-renamed": json.dumps(renamed),
        "byte-order-mark": "\ufeff" + json.dumps(renamed),
    }
    refused = {
        "not-json": "this is no notebook",
        "empty": "",
        "html": "<html>login</html>",
        "list": "[]",
        "deep": "[" * 200_000,
        "no-cells": "{}",
        "cells-are-text": json.dumps({"cells": "no", "nbformat": 4}),
        "r-kernel": json.dumps(
            notebook(cells, {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}})
        ),
        "julia-kernel": json.dumps(notebook(cells, {"language_info": {"name": "julia"}})),
        "huge": json.dumps(notebook([*cells, "#" * 100_000_000])),
        "nothing-in-it": json.dumps(notebook(["x = 1"])),
        "other-names": json.dumps(notebook([c.replace(first, "other") for c in cells[:1]])),
    }
    for name, text in (raw | refused).items():
        path = submissions / name / NOTEBOOK
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    binary = submissions / "binary" / NOTEBOOK
    binary.parent.mkdir()
    binary.write_bytes(pickle.dumps(["cells"]) + bytes(range(256)))
    link = submissions / "link" / NOTEBOOK
    link.parent.mkdir()
    link.symlink_to("/etc/passwd")
    out = folder / "grades"
    rows = graded_rows(submissions, out)
    return rows, {*right, *raw}, {*refused, "binary", "link"}


def test_rearranged_notebooks_keep_their_points(odd, exercises):
    rows, right, _ = odd
    total = f"{sum(e.points for e in exercises)}"
    assert {name: rows[name]["points"] for name in right} == dict.fromkeys(right, total)


def test_what_is_no_notebook_gets_a_reason_and_no_point(odd):
    rows, _, refused = odd
    for name in refused:
        assert rows[name]["points"] == "0"
        assert rows[name]["notes"], name
    assert "MB" in rows["huge"]["notes"]
    assert "'r'" in rows["r-kernel"]["notes"]
    assert "link" in rows["link"]["notes"]


# ------------------------------------------------------------------------------------- archives


def test_archives_are_never_unpacked(tmp_path, capsys, exercises):
    right = json.dumps(notebook(solved(exercises))).encode()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open(f"bomb/{NOTEBOOK}", "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(bytes(1 << 20))
        archive.writestr(f"anna/{NOTEBOOK}", right)
        archive.writestr(f"../../climber/{NOTEBOOK}", right)
        archive.writestr(f"/absolute/{NOTEBOOK}", right)
        archive.writestr(f"__MACOSX/._{NOTEBOOK}", b"")
        archive.writestr("inner.zip", b"PK")
    data = bytearray(bomb.getvalue())
    place = tmp_path / "class.zip"
    place.write_bytes(data)
    out = tmp_path / "deep" / "er" / "grades"
    rows = graded_rows(place, out)
    assert rows["bomb"]["points"] == "0"
    assert rows["anna"]["points"] == f"{sum(e.points for e in exercises)}"
    assert not list(tmp_path.rglob("*.ipynb"))
    assert not list(tmp_path.parent.glob("climber*"))
    capsys.readouterr()


def test_names_cannot_become_formulas_markup_or_paths(tmp_path, exercises):
    names = ["=cmd|' /C calc'!A0", "<script>alert(1)</script>", "..", "a b\u202e", "+1"]
    data = json.dumps(notebook(solved(exercises[:1])))
    place = tmp_path / "class.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name in names:
            archive.writestr(f"{name}/{NOTEBOOK}", data)
    out = tmp_path / "grades"
    graded_rows(place, out)
    table = (out / "grades.csv").read_text(encoding="utf-8")
    assert "'=cmd" in table
    assert "\n=cmd" not in table
    assert "\n+1" not in table
    for page in [out / "report.html", *(out / "feedback").iterdir()]:
        assert "<script>alert" not in page.read_text(encoding="utf-8")
        assert page.resolve().is_relative_to(out.resolve())
    assert len(list((out / "feedback").iterdir())) == len(names)


def test_names_that_no_file_system_likes(tmp_path, exercises):
    """Bytes that are no letters, and names as long as they may be: a result for each."""
    cells = json.dumps(notebook(solved(exercises[:1]))).encode()
    place = tmp_path / "in"
    place.mkdir()
    for name in (b"\xff\xfe_" + NOTEBOOK.encode(), ("\U00020000" * 58 + ".ipynb").encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(place), name))).write_bytes(cells)
    rows = graded_rows(place, tmp_path / "grades")
    assert [row["points"] for row in rows.values()] == [f"{exercises[0].points}"] * 2
