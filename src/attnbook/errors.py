"""Whose fault an error is: one line for what a user gave, a traceback for what is wrong with us.

Three kinds of errors end a command:

* :class:`UserError`: what was typed or given cannot be used. Commands raise it themselves, and
  around calls that only read or check what a user gave (:func:`input_errors`).
* ``OSError`` and a lack of memory: the machine refused. Both are told in one line as well.
* anything else is a fault of the package and keeps its traceback, with the address to report it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import metadata

__all__ = ["UserError", "explain", "input_errors", "report_here"]


class UserError(ValueError):
    """What a user gave cannot be used; the message is all they see, and says what to do."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Around what only reads or checks a user's input: there, a ``ValueError`` is the user's."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error


def explain(error: BaseException) -> str | None:
    """One line about an error that is not ours, or None."""
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
        if error.filename is not None:
            message = f"{error.filename}: {message}"
    elif isinstance(error, UserError | OSError):
        message = str(error)
    elif _no_memory(error):
        message = f"not enough memory ({error}); choose smaller sizes, batches or beams"
    else:
        return None
    return re.sub(r"\s*\n\s*", " ", message.strip())


def _no_memory(error: BaseException) -> bool:
    """Torch says it in an error of its own on a GPU, and in a plain one on a CPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    )


def report_here(error: BaseException) -> None:
    """Write below an error's traceback that it is ours, and where to report it."""
    error.add_note(
        "This is a fault of attnbook, not yours. Please report it, with the command and all lines "
        f"above: {_issues()}"
    )


def _issues() -> str:
    for entry in metadata("attnbook").get_all("Project-URL") or []:
        label, _, address = entry.partition(", ")
        if label == "Issues":
            return str(address)
    raise RuntimeError("attnbook's metadata lacks the address of its issues; install it again")
