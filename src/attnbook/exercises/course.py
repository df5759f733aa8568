"""All exercises of the course, by chapter and by name."""

from __future__ import annotations

import difflib
import pkgutil
import sys
from functools import lru_cache
from importlib import import_module

from attnbook.exercises.definition import Chapter, Exercise

__all__ = ["chapter", "chapters", "exercise", "exercises"]


@lru_cache(maxsize=1)
def chapters() -> tuple[Chapter, ...]:
    """The chapters that have exercises, in order: one for each module beside this with ``CHAPTER``."""
    beside = pkgutil.iter_modules(sys.modules[__package__].__path__)
    modules = [import_module(f"{__package__}.{found.name}") for found in beside]
    found: list[Chapter] = [m.CHAPTER for m in modules if hasattr(m, "CHAPTER")]
    return tuple(sorted(found, key=lambda one: one.number))


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
