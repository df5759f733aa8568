"""Grading on a Dask cluster gives what grading on one machine gives."""

from __future__ import annotations

import pytest

from attnbook.__main__ import main
from attnbook.exercises import chapter
from classroom import solved, write

distributed = pytest.importorskip("distributed")


def test_threads_of_one_worker_do_not_mix_up_learners(tmp_path):
    exercises = chapter(5).exercises
    right = solved(exercises)
    names = [e.name for e in exercises]
    empty = [f"def {name}(*arguments):\n    return None\n" for name in names]
    for i in range(12):
        cells = [*right, *(empty[j] for j in range(3) if i >> j & 1)]
        write(tmp_path / "class" / f"learner-{i}" / "05_dot_attention.ipynb", cells)
    command = ["grade", str(tmp_path / "class"), "--chapters", "5", "--quiet", "--out"]
    assert main([*command, str(tmp_path / "here")]) == 0
    there = [str(tmp_path / "there"), "--seed-file", str(tmp_path / "here" / "seed.txt")]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None
    ) as cluster:
        assert main([*command, *there, "--scheduler", cluster.scheduler_address]) == 0
    here = (tmp_path / "here" / "grades.csv").read_text(encoding="utf-8")
    assert (tmp_path / "there" / "grades.csv").read_text(encoding="utf-8") == here
    assert [line.split(",")[4] for line in here.splitlines()[1:4]] == ["7", "5", "4"]


def test_a_scheduler_that_is_not_there_is_named(tmp_path, capsys):
    write(tmp_path / "class" / "anna" / "05_dot_attention.ipynb", ["x = 1"])
    command = ["grade", str(tmp_path / "class"), "--chapters", "5", "--quiet"]
    out = ["--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
    assert main([*command, *out]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
