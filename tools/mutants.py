"""Breaks the exercises' solutions in every small way, and asks whether the checks notice.

``make mutants`` calls this. mutmut changes one thing at a time in the solutions, a plus into a
minus, a number, a comparison, and runs the exercise's own check, as a learner's notebook does, for
three seeds (trainings on one). What survives has to be listed in ``tests/mutants.toml`` with the
reason why it is no fault, mostly that no input can show it.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from attnbook.exercises import exercises
from attnbook.exercises.definition import PRELUDE, source_of

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutants.toml"

TEST = """
import pytest
from answers import answers
from attnbook.exercises import exercise
from attnbook.exercises.judge import attempt

SEEDS = ("practice", "first", "second")


@pytest.mark.parametrize("name", {names!r})
def test_answer(name):
    one = exercise(name)
    for seed in SEEDS[:1] if any(case.long for case in one.drawn()) else SEEDS:
        assert attempt(one, getattr(answers, name), seed).passed
"""

SETUP = """
[mutmut]
source_paths=answers
only_mutate=answers/answers.py
pytest_add_cli_args_test_selection=tests
also_copy=
"""


def project(folder: Path, names: list[str]) -> None:
    """A project whose source is the solutions, and whose tests are the exercises' checks.

    What an exercise gives, a model for instance, lies beside them and stays as it is.
    """
    known = exercises()
    given = {g.__name__: source_of(g) for name in names for g in known[name].given}
    given = {name: source for name, source in given.items() if name not in names}
    imports = [f"from answers.given import {name}" for name in given]
    solutions = [source_of(known[name].solution) for name in names]
    texts = {
        "__init__": "",
        "given": "\n\n".join([PRELUDE, *given.values()]),
        "answers": "\n\n".join([PRELUDE, *imports, *solutions]),
    }
    (folder / "answers").mkdir()
    for name, text in texts.items():
        (folder / "answers" / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_answers.py").write_text(TEST.format(names=names), encoding="utf-8")
    (folder / "setup.cfg").write_text(SETUP, encoding="utf-8")


def survivors(folder: Path) -> list[tuple[str, str, str]]:
    """Each mutant that passed: the function, the line that was, and the line that is."""
    words = [sys.executable, "-m", "mutmut"]
    said = subprocess.run([*words, "results"], cwd=folder, capture_output=True, text=True).stdout
    found = []
    for name in re.findall(
        r"^\s*(\S+): (?:survived|no tests|timeout|suspicious)", said, re.MULTILINE
    ):
        shown = subprocess.run(
            [*words, "show", name], cwd=folder, capture_output=True, text=True
        ).stdout
        removed = re.findall(r"^-(?!--)(.*)$", shown, re.MULTILINE)
        added = re.findall(r"^\+(?!\+\+)(.*)$", shown, re.MULTILINE)
        function = re.sub(r"^.*\.x_(.*)__mutmut_\d+$", r"\1", name)
        found.append((function, "\n".join(removed).strip(), "\n".join(added).strip()))
    return found


def main() -> None:
    """Run mutmut and compare what survives with the list."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="exercises; none: all of them")
    args = parser.parse_args()
    names = args.names or list(exercises())
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"] if LIST.exists() else []
    argued = {(m["function"], m["was"], now) for m in listed for now in m["is"]}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project(folder, names)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1)],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        counts = re.findall(r"\d+/\d+[^\n\r]*", run.stdout)
        if not counts:
            sys.exit(f"mutmut did not run:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        print(counts[-1])
        found = survivors(folder)
    unargued = [m for m in found if m not in argued]
    for function, was, now in unargued:
        print(f"\n{function}")
        print("\n".join(difflib.ndiff(was.splitlines(), now.splitlines())))
    print(f"{len(found)} survived, {len(found) - len(unargued)} of them argued")
    sys.exit(bool(unargued))


if __name__ == "__main__":
    main()
