"""What is graded, with which hidden inputs, and where results are stored."""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from attnbook.exercises import chapter, exercise, exercises
from attnbook.exercises.definition import Exercise
from attnbook.grading.grader import Graded, Grader
from attnbook.grading.sandbox import NoSandboxError, reason_against
from attnbook.grading.submissions import Refused, Submission

__all__ = ["Assignment", "Results", "make_grader", "read_assignment", "read_seed", "stored"]


@dataclass(frozen=True)
class Assignment:
    """What is graded.

    Attributes:
        exercises: the exercises.
        points: for each of them.
        title: for the reports.
    """

    exercises: tuple[Exercise, ...]
    points: dict[str, float] = field(default_factory=dict)
    title: str = "Exercises"

    @property
    def total(self) -> float:
        """All points."""
        return sum((self.points[e.name] for e in self.exercises), 0.0)


def _text(path: Path) -> str:
    """A file's text, without the mark that some editors put before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8; save it as UTF-8 and try again") from error


def read_assignment(
    path: Path | None = None, chapter_names: Sequence[str] = (), names: Sequence[str] = ()
) -> Assignment:
    """An assignment from a file, or from chapters and exercises by name; all of the course if none.

    The file is TOML: an optional ``title``, optional ``chapters = [5, 6]``, and a table
    ``[points]`` with a number for each exercise that has other points than its own or that is added
    to the chapters'. Points of 0 leave an exercise out.

    Raises:
        ValueError: the file has another key, or no exercise of a name exists.
    """
    title: str = ""
    points: dict[str, float] = {}
    chapter_names = list(chapter_names)
    if path is not None:
        try:
            read = tomllib.loads(_text(path))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from error
        strange = set(read) - {"title", "chapters", "points"}
        if strange:
            raise ValueError(
                f"{path}: unknown key {', '.join(sorted(strange))}; there are title, "
                "chapters and points"
            )
        title = str(read.get("title", title))
        listed, points = read.get("chapters", []), read.get("points", {})
        if not isinstance(listed, list):
            raise ValueError(f"{path}: chapters: expected a list such as [5, 6], got {listed!r}")
        if not isinstance(points, dict):
            raise ValueError(f"{path}: points: expected a table [points], got {points!r}")
        chapter_names += [str(c) for c in listed]
    chosen: dict[str, Exercise] = {}
    for name in chapter_names:
        chosen |= {e.name: e for e in chapter(name).exercises}
    for name in [*names, *points]:
        chosen[name] = exercise(name)
    if not chosen:
        chosen = exercises()
    worth: dict[str, float] = {}
    for name, one in chosen.items():
        value = points.get(name, one.points)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"{path}: points of {name}: expected a number from 0, got {value!r}")
        if value:
            worth[name] = float(value)
    if not title:
        numbers = [str(chapter(name).number) for name in chapter_names]
        plural = "s" if len(numbers) > 1 else ""
        title = f"Chapter{plural} {', '.join(numbers)}" if numbers and not names else "Exercises"
    order = [e for e in exercises().values() if e.name in worth]
    if not order:
        raise ValueError("the assignment has no exercise with points")
    return Assignment(tuple(order), worth, title)


def read_seed(folder: Path, given: Path | None = None) -> str:
    """The secret seed: from a file, or the one of this folder, made when it is first needed.

    Raises:
        ValueError: the file is empty, or not UTF-8.
    """
    path = given or folder / "seed.txt"
    if path.exists():
        seed = _text(path).strip()
        if not seed:
            raise ValueError(f"{path}: the seed is empty")
        return seed
    if given is not None:
        raise FileNotFoundError(2, "no such file", str(given))
    folder.mkdir(parents=True, exist_ok=True)
    seed = secrets.token_hex(16)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(seed + "\n")
    return seed


# How the files of results, and what is left of one that was being written, are called.
_OURS = re.compile(r"\.[0-9a-f]{12}\.(json|\d+\.\d+\.part)$")


class Results:
    """A folder of results, one file for each notebook; read one at a time.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, path: str) -> Path:
        """The file for a notebook's result."""
        plain = re.sub(r"[^\w.-]+", "_", path, flags=re.ASCII)[-60:]
        return self.folder / f"{plain}.{sha256(path.encode()).hexdigest()[:12]}.json"

    def read(self, path: str) -> Graded | None:
        """A stored result; None if there is none that can be read."""
        try:
            return Graded.from_dict(json.loads(self.place(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, graded: Graded) -> None:
        """Store a result, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.place(graded.path)
        part = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
        part.write_text(json.dumps(graded.as_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, target)

    def replaced_by(self, submissions: Iterable[Submission], *, drop_others: bool) -> list[str]:
        """Remove what these learners handed in before and do not now, and nothing else.

        Args:
            submissions: all that was graded.
            drop_others: remove the results of all other learners as well.

        Returns:
            The other learners whose results are still there.
        """
        listed = list(submissions)
        wanted = {self.place(one.path) for one in listed}
        learners, others = {one.learner for one in listed}, set()
        for found in self.folder.glob("*"):
            if found in wanted or not _OURS.search(found.name):
                continue
            learner = self._learner_of(found)
            if learner is None or learner in learners or drop_others:
                found.unlink()
            else:
                others.add(learner)
        return sorted(others)

    @staticmethod
    def _learner_of(file: Path) -> str | None:
        """Whose result a file holds; None if it cannot be read, as of a write that was cut off."""
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["learner"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __iter__(self) -> Iterator[Graded]:
        """All stored results, one after the other."""
        for found in sorted(self.folder.glob("*.json")):
            if self._learner_of(found) is not None:
                yield Graded.from_dict(json.loads(found.read_text(encoding="utf-8")))


def make_grader(assignment: Assignment, seed: str, unsafe: bool) -> Grader:
    """A grader whose sandbox was looked at.

    Raises:
        NoSandboxError: there can be none here.
    """
    if not unsafe and (why := reason_against()):
        raise NoSandboxError(why)
    return Grader(assignment.exercises, seed, assignment.points, unsafe)


def stored(results: Results, submission: Submission, key: Callable[[bytes], str]) -> Graded | None:
    """The result of an earlier run, if it is still good."""
    old = results.read(submission.path)
    if old is None or not old.digest or old.learner != submission.learner:
        return None
    try:
        return old if key(submission.read()) == old.digest else None
    except (Refused, OSError):
        return None
