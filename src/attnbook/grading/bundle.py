"""What an exported autograder carries along, and what it looks at before it grades elsewhere.

An export has the assignment, the secret seed, and the hidden inputs that the seed gave where it was
made. Where it runs, the inputs are drawn again, because some cases decide by a function that no
file can hold. If another NumPy or another torch draws other inputs there, nothing is graded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnbook.exercises import exercise
from attnbook.exercises.definition import PRACTICE
from attnbook.exercises.probes import pack, unpack
from attnbook.grading.assignment import Assignment
from attnbook.grading.canary import check_installation
from attnbook.grading.grader import Grade, Graded, Grader
from attnbook.grading.sandbox import NoSandboxError, reason_against
from attnbook.grading.submissions import Submission

__all__ = [
    "BrokenInstallationError",
    "bundle",
    "feedback",
    "grade_all",
    "hidden_inputs",
    "open_grader",
    "read_bundle",
]

#: Notebooks of one submission that are graded; nobody hands in as many by mistake.
MOST_NOTEBOOKS = 20


class BrokenInstallationError(RuntimeError):
    """Nothing can be graded here, and it is not the submission's fault."""


def hidden_inputs(assignment: Assignment, seed: str) -> dict[str, bytes]:
    """The inputs that each exercise is graded on, as bytes that depend on the seed alone.

    Args:
        assignment: what is graded.
        seed: the instructor's secret.

    Returns:
        A safetensors file for each exercise, by its name.
    """
    if not seed or seed == PRACTICE:
        raise ValueError("the seed must be a secret text, not empty and not the learners' own")
    return {
        e.name: pack([{"inputs": c.inputs, "gradients": list(c.gradients)} for c in e.drawn(seed)])
        for e in assignment.exercises
    }


def bundle(assignment: Assignment, seed: str) -> dict[str, bytes]:
    """The files that an export carries along, by their paths in it."""
    described = {
        "title": assignment.title,
        "points": {e.name: assignment.points[e.name] for e in assignment.exercises},
    }
    files = {
        "assignment.json": (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode(),
        "seed.txt": f"{seed}\n".encode(),
    }
    for name, data in hidden_inputs(assignment, seed).items():
        files[f"inputs/{name}.safetensors"] = data
    return files


def read_bundle(folder: Path) -> tuple[Assignment, str]:
    """Read what :func:`bundle` wrote, and make sure that the seed gives the same inputs here.

    Raises:
        BrokenInstallationError: it does not, or files are missing.
    """
    try:
        read = json.loads((folder / "assignment.json").read_text(encoding="utf-8"))
        seed = (folder / "seed.txt").read_text(encoding="utf-8").strip()
        points = {str(name): float(value) for name, value in read["points"].items()}
        assignment = Assignment(tuple(map(exercise, points)), points, str(read["title"]))
        for name, data in hidden_inputs(assignment, seed).items():
            stored = (folder / "inputs" / f"{name}.safetensors").read_bytes()
            if stored != data and not _alike(unpack(stored), unpack(data)):
                raise BrokenInstallationError(
                    f"the seed gives other inputs for {name} here than where this autograder was "
                    "exported; install the versions of torch and NumPy that it was exported with, "
                    "or export it again"
                )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BrokenInstallationError(f"the autograder is damaged: {error}") from error
    return assignment, seed


def _alike(a: Any, b: Any) -> bool:
    """Equal up to the last bits of a calculation, which differ between processors."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if not a.is_floating_point():
            return bool(torch.equal(a, b))
        return bool(torch.allclose(a.double(), b.double(), 1e-5, 1e-6, equal_nan=True))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-6 + 1e-5 * abs(b) or (a != a and b != b)
    return type(a) is type(b) and bool(a == b)


def open_grader(assignment: Assignment, seed: str) -> tuple[Grader, str]:
    """A grader in the best sandbox that there is here, after the canary.

    Returns:
        The grader, and what its sandbox is.

    Raises:
        BrokenInstallationError: there is no sandbox, it leaks, or a solution does not pass.
    """
    why = reason_against()
    grader = Grader(assignment.exercises, seed, assignment.points, container=bool(why))
    try:
        check_installation(grader)
    except (NoSandboxError, RuntimeError) as error:
        grader.close()
        more = f" ({why})" if why else ""
        raise BrokenInstallationError(f"{error}{more}") from error
    except BaseException:
        grader.close()
        raise
    return grader, f"a locked process, because {why}" if why else "bubblewrap"


def grade_all(
    grader: Grader, submissions: Iterable[Submission]
) -> tuple[dict[str, Grade], list[str]]:
    """Grade the notebooks of one learner; of two answers to an exercise the better one counts.

    Returns:
        The grades by exercise, and why notebooks could not be graded.
    """
    best: dict[str, Grade] = {}
    notes: list[str] = []
    for count, submission in enumerate(submissions):
        if count == MOST_NOTEBOOKS:
            notes.append(f"more than {MOST_NOTEBOOKS} notebooks; the rest was not read")
            break
        graded: Graded = grader.grade(submission)
        if graded.refused:
            notes.append(f"{submission.path}: {graded.refused}")
        for grade in graded.grades:
            old = best.get(grade.exercise)
            if old is None or grade.points > old.points:
                best[grade.exercise] = grade
    return best, notes


def feedback(name: str, grade: Grade | None) -> str:
    """What a learner is told about one exercise, in plain text without any hidden input."""
    if grade is None:
        return f"{name} is not defined in what you handed in."
    if not grade.mistake:
        return "Every property holds."
    signs = {True: "✓ {}", False: "✗ {} – does not hold", None: "· {} (not tried)"}
    lines = [signs[holds].format(what) for what, holds in grade.properties]
    if grade.example:
        lines += ["", *grade.example]
    lines += ["", f"Hint: {grade.hint}", f"A stronger hint: {grade.more}"]
    return "\n".join(lines).strip()
