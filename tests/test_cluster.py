"""Grading on a Dask cluster gives what grading on one machine gives."""

from __future__ import annotations

import os

import pytest

from attnbook.__main__ import main
from attnbook.grading.assignment import Results, read_assignment
from attnbook.grading.classroom import grade_class
from attnbook.grading.grader import Graded
from attnbook.grading.submissions import find
from classroom import HERE, OWN, solved, write

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.usefixtures("own_chapter", "shared_sandboxes")
needs_sandbox = pytest.mark.needs("sandbox")


@pytest.fixture
def class_of(tmp_path, own_chapter):
    """``class_of(8)`` is a folder of learners, each with another combination of empty answers."""

    def make(count):
        exercises = own_chapter.exercises
        empty = [f"def {e.name}(*arguments):\n    return None\n" for e in exercises]
        for i in range(count):
            cells = [*solved(exercises), *(empty[j] for j in range(3) if i >> j & 1)]
            write(tmp_path / "class" / f"learner-{i}" / f"{OWN}.ipynb", cells)
        return tmp_path / "class"

    return make


@needs_sandbox
def test_threads_of_one_worker_do_not_mix_up_learners(tmp_path, class_of, own_chapter):
    command = ["grade", str(class_of(8)), "--chapters", OWN, "--quiet", "--out"]
    assert main([*command, str(tmp_path / "here")]) == 0
    there = [str(tmp_path / "there"), "--seed-file", str(tmp_path / "here" / "seed.txt")]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None
    ) as cluster:
        assert main([*command, *there, "--scheduler", cluster.scheduler_address]) == 0
    here = (tmp_path / "here" / "grades.csv").read_text(encoding="utf-8")
    assert (tmp_path / "there" / "grades.csv").read_text(encoding="utf-8") == here
    points = [e.points for e in own_chapter.exercises]
    earned = [sum(p for j, p in enumerate(points) if not i >> j & 1) for i in range(8)]
    assert [line.split(",")[4] for line in here.splitlines()[1:]] == [f"{n}" for n in earned]


@needs_sandbox
def test_a_cluster_loses_nothing_when_a_worker_dies(tmp_path, class_of):
    """Two workers, one of which is killed half-way: each notebook has one result."""
    place = class_of(8)
    results, here = Results(tmp_path / "results"), Results(tmp_path / "here")
    assignment = read_assignment(chapter_names=[OWN])
    told: list[tuple[str, bool]] = []
    killed = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        preload=[str(HERE / "worker.py")],
    ) as cluster:  # fmt: skip

        def after_each(graded: Graded, old: bool) -> None:
            told.append((graded.path, old))
            if len(told) == 3:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], 9)

        def graded_there(after) -> None:
            grade_class(
                find([place]), assignment, "a secret", results,
                scheduler=cluster.scheduler_address, after_each=after,
            )  # fmt: skip

        graded_there(after_each)
        assert killed
        again: list[bool] = []
        graded_there(lambda graded, old: again.append(old))
    assert sorted(path for path, _ in told) == [f"learner-{i}/{OWN}.ipynb" for i in range(8)]
    assert again == [True] * 8
    grade_class(find([place]), assignment, "a secret", here)
    assert list(results) == list(here)


def test_a_scheduler_that_is_not_there_is_named(tmp_path, capsys):
    write(tmp_path / "class" / "anna" / f"{OWN}.ipynb", ["x = 1"])
    command = ["grade", str(tmp_path / "class"), "--chapters", OWN, "--quiet"]
    out = ["--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
    assert main([*command, *out]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
