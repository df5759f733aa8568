"""What runs on Gradescope when somebody hands in: ``python -m attnbook.grading.gradescope``.

Gradescope (https://gradescope-autograders.readthedocs.io) lays a submission into
``/autograder/submission``, runs ``/autograder/run_autograder`` as root in a container that is made
for this submission alone, and reads ``/autograder/results/results.json``. What the process prints
is for the instructor.

A learner's code runs in bubblewrap, or, where the container forbids that, in a locked process of
the user nobody (:mod:`attnbook.grading.sandbox`). Either is tried out before anything is graded. If
that fails, or the seed gives other inputs than it did at home, there is no results.json: Gradescope
then says that the autograder failed, shows the instructor why, and nobody gets a score of 0 for it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from attnbook.grading.assignment import Assignment
from attnbook.grading.bundle import (
    BrokenInstallationError,
    feedback,
    grade_all,
    open_grader,
    read_bundle,
)
from attnbook.grading.grader import Grade, Grader
from attnbook.grading.submissions import find

__all__ = ["main", "results_of", "run"]

LONGEST = 20_000


def run(root: Path, grader: Grader | None = None) -> dict[str, Any]:
    """Grade the submission under a folder and write its results there.

    Args:
        root: laid out as Gradescope's ``/autograder``.
        grader: one that is looked at already; None makes it.

    Returns:
        What was written.

    Raises:
        BrokenInstallationError: nothing can be graded here; there are no results.
    """
    started = time.monotonic()
    target = root / "results" / "results.json"
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    _close(root)
    assignment, seed = read_bundle(root / "source" / "bundle")
    own = grader is None
    if grader is None:
        grader, sandbox = open_grader(assignment, seed)
        print(f"learners' code runs in {sandbox}")
    try:
        best, notes = _grade(grader, root / "submission")
    finally:
        if own:
            grader.close()
    results = results_of(assignment, best, notes)
    results["execution_time"] = round(time.monotonic() - started, 1)
    part = target.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, target)
    return results


def _grade(grader: Grader, folder: Path) -> tuple[dict[str, Grade], list[str]]:
    try:
        submissions = list(find([folder]))
    except (FileNotFoundError, ValueError):
        return {}, ["there is no notebook (.ipynb) in what you handed in"]
    return grade_all(grader, submissions)


def results_of(assignment: Assignment, best: dict[str, Grade], notes: list[str]) -> dict[str, Any]:
    """Grades as Gradescope reads them.

    Args:
        assignment: what was graded.
        best: the grades by exercise; one that is missing was not handed in.
        notes: why notebooks could not be graded.
    """
    tests = []
    for one in assignment.exercises:
        grade = best.get(one.name)
        tests.append(
            {
                "name": f"{one.title} ({one.name})",
                "name_format": "text",
                "score": grade.points if grade else 0.0,
                "max_score": assignment.points[one.name],
                "status": "passed" if grade and not grade.mistake else "failed",
                "output": _plain(feedback(one.name, grade)),
                "output_format": "text",
                "visibility": "visible",
            }
        )
    head = [
        "Each exercise is tried on inputs that you have not seen, and gives all of its points or "
        "none. Inputs and numbers shown below are those of your own notebook."
    ]
    return {
        "score": sum(float(str(test["score"])) for test in tests),
        "output": _plain("\n".join([*notes, *head])),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _plain(text: str) -> str:
    """A text that any reader of JSON and any page can take."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = "".join(c for c in text if c.isprintable() or c == "\n")
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _close(root: Path) -> None:
    """Nobody but root may look at these; the sandbox hides them, too."""
    for name in ("source", "submission", "results", "submission_metadata.json"):
        path = root / name
        if path.exists() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)


def main(words: list[str] | None = None) -> int:
    """Grade one submission; the exit status is 0 if there are results."""
    parser = argparse.ArgumentParser(prog="python -m attnbook.grading.gradescope")
    parser.add_argument("root", type=Path, nargs="?", default=Path("/autograder"))
    root = parser.parse_args(words).root
    try:
        results = run(root)
    except Exception as error:
        (root / "results" / "results.json").unlink(missing_ok=True)
        if not isinstance(error, BrokenInstallationError):
            traceback.print_exc()
        print(
            "To the instructor: this submission was not graded, and that is not its author's "
            f"fault. {error} When it is repaired, choose Regrade All Submissions.",
            file=sys.stderr,
        )
        return 1
    print(f"{results['score']:g} points in {results['execution_time']:g} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
