"""Exercises with instant feedback: what a learner's notebook imports.

from attnbook.exercises import check, hint, progress

check(masked_softmax)     # which properties hold, what failed, and a hint
hint(masked_softmax)      # a stronger one
progress()                # points so far; kept on this machine and nowhere else
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from attnbook.exercises.course import chapter, chapters, exercise, exercises
from attnbook.exercises.definition import Chapter, Exercise
from attnbook.exercises.judge import Verdict, attempt
from attnbook.exercises.record import Progress, keep, recall, was_passed
from attnbook.exercises.report import Hint, Report

__all__ = [
    "Chapter",
    "Exercise",
    "Report",
    "Verdict",
    "chapter",
    "chapters",
    "check",
    "exercise",
    "exercises",
    "hint",
    "progress",
]

_last: dict[str, Report] = {}


def check(answer: Callable[..., Any] | type, name: str | None = None) -> Report:
    """Check an answer: run it on small inputs, and say which properties hold.

    Args:
        answer: the function or class that the exercise asks for, not what it returns.
        name: the exercise; None takes the answer's own name.

    Returns:
        A report, which a notebook shows. A pass is kept for :func:`progress`.

    Raises:
        ValueError: no exercise of this name, or the answer is the package's own.
        TypeError: the answer is not a function or class.
    """
    if not callable(answer):
        raise TypeError(
            f"check takes the function itself, without brackets: check(masked_softmax); "
            f"got {type(answer).__name__}"
        )
    found = exercise(str(name or getattr(answer, "__name__", "")))
    module = inspect.getmodule(answer)
    if module is not None and module.__name__.split(".")[0] == "attnbook":
        raise ValueError(
            f"this is {module.__name__}.{found.name}, the package's own. Write yours: a class is "
            "graded where the package is not at hand"
        )
    verdict = attempt(found, answer)
    report = Report(found, verdict, was_passed(found))
    _last[found.name] = report
    if verdict.passed:
        keep(found)
    return report


def hint(answer: Callable[..., Any] | type | str) -> Hint:
    """A stronger hint for the exercise that was checked last under this name.

    Args:
        answer: the function or class, or the exercise's name.
    """
    name = answer if isinstance(answer, str) else getattr(answer, "__name__", "")
    found = exercise(name)
    return Hint(found, _last.get(found.name))


def progress(name: str | int | None = None) -> Progress:
    """Points so far, of a chapter or of the whole course.

    Args:
        name: a chapter's number; None for the course.
    """
    return recall(chapters() if name is None else (chapter(name),))
