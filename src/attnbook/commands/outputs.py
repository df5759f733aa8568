"""Files that commands write: tried before the work starts, whole or not at all, never lost.

A file is written under another name beside its place and then moved there, so that a reader never
meets half of it. Only an ordinary file is replaced, and only with ``--overwrite``: what is a
folder, a device, a pipe or a link is refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbook.errors import UserError

__all__ = ["check_folder", "check_output", "locked", "write", "write_text"]


def check_output(path: Path, *, overwrite: bool) -> None:
    """Make sure that ``path`` can be written later; its folder is made where it is missing.

    Raises:
        UserError: it exists already, or is not an ordinary file.
        OSError: its folder takes no file.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link; name the file that it leads to")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a device or a pipe; name a file")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another file, or --overwrite to replace it")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Make ``folder`` where it is missing, and see that a small file can be written to it.

    Raises:
        OSError: it cannot; the error names the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"\0" * 4096)
            trial.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def write(path: Path, write_to: Callable[[Path], None]) -> None:
    """Put a result into its place; where that fails, into the folder for temporary files.

    Args:
        path: where the result belongs.
        write_to: writes it to the file that it is given.

    Raises:
        OSError: it could not be written to ``path``; the message says where it is instead.
    """
    unfinished = path.with_name(f"{path.stem}.unfinished{path.suffix}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_to(unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        try:
            rescued = Path(tempfile.mkdtemp(prefix="attnbook-")) / path.name
            write_to(rescued)
        except OSError as second:
            raise OSError(
                f"{path}: {reason}; {tempfile.gettempdir()}: {second.strerror or second}; "
                "the result is lost"
            ) from error
        raise OSError(f"{path}: {reason}; the result is in {rescued} instead") from error


def write_text(path: Path, text: str) -> None:
    """:func:`write` for a text in UTF-8."""

    def write_to(place: Path) -> None:
        place.write_text(text, encoding="utf-8")

    write(path, write_to)


@contextmanager
def locked(path: Path, use: str) -> Iterator[None]:
    """Hold ``path`` for this process alone, as long as the block lasts.

    The system releases the lock when the process ends, however it ends, so a file that a killed
    process has left behind locks nothing.

    Args:
        path: the file of the lock; it is removed at the end.
        use: what it is held for, for the message.

    Raises:
        UserError: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"another process {use}; wait until it has ended, or name another"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
