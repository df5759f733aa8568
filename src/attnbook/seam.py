"""Where a readable function is exchanged for a faster one that computes the same numbers.

A function that is marked :func:`exchangeable` is written to be read, and is right as it stands.
When it is called, the function of the same name in :mod:`attnbook.fast` is asked first. Where that
one does not know the case it raises :class:`Unsuitable`, and the readable one runs. The tests hold
both equal, forward and backward; what the exchange gains is measured in the page on speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import ParamSpec, TypeVar

__all__ = ["Unsuitable", "as_written", "exchangeable"]

P = ParamSpec("P")
R = TypeVar("R")

_exchanging = ContextVar("exchanging", default=True)


class Unsuitable(Exception):
    """The faster function does not know this case."""


def exchangeable(readable: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that :mod:`attnbook.fast` has a faster one for, of the same name."""

    @wraps(readable)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if _exchanging.get():
            # Imported here, because it imports what it is faster than.
            faster = getattr(import_module("attnbook.fast"), readable.__name__)
            with suppress(Unsuitable):
                found: R = faster(*args, **kwargs)
                return found
        return readable(*args, **kwargs)

    return chosen


@contextmanager
def as_written() -> Iterator[None]:
    """Within this context every function runs as it is written, and nothing is exchanged."""
    token = _exchanging.set(False)
    try:
        yield
    finally:
        _exchanging.reset(token)
