"""The package as it is installed: from a wheel, in an environment of its own, used by anybody.

A checkout installed with ``pip install -e`` behaves differently: its package lies outside the
environment, where a sandbox shows nothing.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from attnbook.exercises import exercises
from classroom import answer, bank, ordinary, solved, write

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("dot_scores", "masked_softmax")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel of this checkout; its libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    place = folder / "environment"
    venv.create(place, symlinks=True)
    (wheel,) = folder.glob("attnbook-*.whl")
    python = str(place / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", str(wheel)], check=True)
    # No .pth file of a folder that stands in a .pth file is read: the checkout stays out of reach.
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return place


def attnbook(place: Path, *words: object) -> list[str]:
    """A command line of the installed package."""
    return [str(place / "bin" / "attnbook"), *map(str, words)]


def outside(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command elsewhere than in the checkout."""
    names = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    return subprocess.run(
        words, cwd=folder, env=names | {"HOME": str(folder)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    python = str(installed / "bin" / "python")
    said = outside([python, "-c", "import attnbook; print(attnbook.__file__)"], tmp_path)
    assert Path(said.stdout.strip()).is_relative_to(installed), said.stderr


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("who", ["whoever runs the tests", "an ordinary user"])
def test_a_class_is_graded(installed: Path, tmp_path: Path, who: str) -> None:
    asked = [exercises()[name] for name in NAMES]
    submissions, out = tmp_path / "submissions", tmp_path / "grades"
    out.mkdir()
    write(submissions / "anna" / "05_dot_attention.ipynb", solved(asked))
    wrong = next(iter(bank(NAMES[0])[1].values()))
    cells = [solved(asked)[0], answer(wrong, NAMES[0]), *solved(asked[1:])[1:]]
    write(submissions / "ben" / "05_dot_attention.ipynb", cells)
    seed = tmp_path / "seed.txt"
    seed.write_text("the instructor's own secret", encoding="utf-8")
    words = attnbook(
        installed, "grade", submissions, "--exercises", *NAMES, "--out", out,
        "--seed-file", seed, "--quiet",
    )  # fmt: skip
    if who == "an ordinary user":
        needed = {Path(sys.base_prefix), Path(sys.prefix), installed, submissions, seed}
        words = ordinary(words, read=sorted(needed), write=[out])
    ran = outside(words, tmp_path)
    assert ran.returncode == 0, ran.stderr
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["learner"]: [row[name] for name in NAMES] for row in csv.DictReader(file)}
    first, second = (f"{one.points}" for one in asked)
    assert rows == {"anna": [first, second], "ben": ["0", second]}
