"""All exercises of the course, by chapter and by name."""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib import import_module

from attnbook.exercises.definition import Chapter, Exercise

__all__ = ["CHAPTERS", "chapter", "chapters", "exercise", "exercises"]

#: The modules that hold a chapter's exercises, in the order of the course.
CHAPTERS = (
    "recurrent",
    "encoder_decoder",
    "bottleneck",
    "dot_attention",
    "general_concat",
    "bahdanau",
    "one_table",
    "query_key_value",
    "self_attention",
    "many_heads",
    "transformer",
    "bert",
)


@lru_cache(maxsize=1)
def chapters() -> tuple[Chapter, ...]:
    """The chapters that have exercises, in order."""
    return tuple(import_module(f"attnbook.exercises.{name}").CHAPTER for name in CHAPTERS)


@lru_cache(maxsize=1)
def exercises() -> dict[str, Exercise]:
    """All exercises by name, in the order of the course."""
    found: dict[str, Exercise] = {}
    for one in chapters():
        for each in one.exercises:
            if each.name in found:
                raise ValueError(f"two exercises are called {each.name}")
            found[each.name] = each
    return found


def exercise(name: str) -> Exercise:
    """One exercise by its name.

    Raises:
        ValueError: there is none of this name; says which one may have been meant.
    """
    known = exercises()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        if near:
            raise ValueError(f"there is no exercise {name!r}; did you mean {near[0]}?")
        if name == "<lambda>":
            raise ValueError(
                "there is no exercise '<lambda>': a function written with lambda has no name. Write "
                'it with def, or say which exercise it answers: check(answer, "dot_scores")'
            )
        raise ValueError(f"there is no exercise {name!r}; there are: {', '.join(known)}")
    return known[name]


def chapter(name: str | int) -> Chapter:
    """A chapter's exercises, by the chapter's number or the name of its page.

    Raises:
        ValueError: there is no such chapter, or it has no exercises.
    """
    for one in chapters():
        if name in (one.name, one.number, str(one.number), f"{one.number:02d}"):
            return one
    there = ", ".join(str(one.number) for one in chapters())
    raise ValueError(f"there is no chapter {name!r} with exercises; there are: {there}")
