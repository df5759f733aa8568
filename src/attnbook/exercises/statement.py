"""An exercise's statement in words, the same on its page and in its notebook."""

from __future__ import annotations

import re

from attnbook.exercises.definition import Chapter, Exercise

__all__ = ["facts", "plain", "statement", "to_do", "totals"]

# What is to be done, by difficulty.
_TO_DO = {1: ("fill in", "a line or two"), 2: ("write", "a function"), 3: ("build", "something")}
_REPAIR = ("repair", "a function")

# A role or directive of the site; a notebook would show its source.
_ROLE = re.compile(r"(?<![\w`\\])\{[a-z:]+\}`|^\s*[`:]{3,}\{", re.MULTILINE)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def to_do(exercise: Exercise) -> tuple[str, str]:
    """What is to be done: a verb, and with what."""
    return _REPAIR if exercise.repair else _TO_DO[exercise.difficulty]


def facts(exercise: Exercise) -> str:
    """What is to be done, the time it takes and what it is worth."""
    what = " ".join(to_do(exercise)).capitalize()
    minutes, points = _count(exercise.minutes, "minute"), _count(exercise.points, "point")
    return f"{what} · {minutes} · {points}"


def totals(chapter: Chapter) -> str:
    """How many exercises a chapter has, their points and the time they take, to five minutes."""
    each = chapter.exercises
    points = sum(e.points for e in each)
    minutes = max(5, 5 * round(sum(e.minutes for e in each) / 5))
    return (
        f"{_count(len(each), 'exercise')}, {_count(points, 'point')}, "
        f"about {_count(minutes, 'minute')}"
    )


def statement(exercise: Exercise) -> str:
    """Facts, goal, shapes and example, in Markdown that site and notebooks both show.

    Raises:
        ValueError: a role or directive of the site is in it.
    """
    text = "\n\n".join(
        (
            f"*{facts(exercise)}*",
            exercise.goal,
            f"**Shapes.** {exercise.shapes}",
            f"**Example.** {exercise.example}",
        )
    )
    return plain(text, exercise.name)


def plain(text: str, name: str) -> str:
    """The same text, if a notebook can show it.

    Raises:
        ValueError: a role or directive of the site is in it.
    """
    if found := _ROLE.search(text):
        raise ValueError(f"{name}: a notebook cannot show {found[0].strip()}… of the site")
    return text
