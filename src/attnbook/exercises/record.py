"""What a learner has passed so far: one small file on the learner's own machine.

The file lies where the system keeps a user's data, or where ``ATTNBOOK_PROGRESS`` says, for
instance in a mounted drive, because a machine of Colab forgets. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from platformdirs import user_data_path

from attnbook.exercises.definition import Chapter, Exercise

__all__ = ["Progress", "keep", "place", "recall", "was_passed"]


def place() -> Path:
    """The file that holds the progress."""
    named = os.environ.get("ATTNBOOK_PROGRESS")
    return Path(named).expanduser() if named else user_data_path("attnbook") / "progress.json"


def _passed() -> dict[str, str]:
    """When each exercise was first passed, by name. An unreadable file is set aside, not lost."""
    path = place()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(k): str(v) for k, v in stored["passed"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        aside = path.with_suffix(".unreadable")
        os.replace(path, aside)
        return {}


def keep(exercise: Exercise) -> None:
    """Note that an exercise was passed, if that can be written; a check never fails for that."""
    try:
        passed = _passed()
        passed.setdefault(exercise.name, datetime.now(UTC).isoformat(timespec="seconds"))
        path = place()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"passed": passed}, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError:
        pass


@dataclass(frozen=True)
class Progress:
    """Which exercises are passed, as a table that a notebook shows.

    Attributes:
        chapters: that are counted.
        passed: names of the exercises passed.
    """

    chapters: tuple[Chapter, ...]
    passed: frozenset[str]

    @property
    def points(self) -> int:
        """Points of what is passed."""
        return sum(e.points for c in self.chapters for e in c.exercises if e.name in self.passed)

    @property
    def total(self) -> int:
        """All points."""
        return sum(e.points for c in self.chapters for e in c.exercises)

    def __repr__(self) -> str:
        lines = [f"{self.points} of {self.total} points"]
        for one in self.chapters:
            lines.append(f"  chapter {one.number}: {one.title}")
            lines += [
                f"    {'✓' if e.name in self.passed else '·'} {e.title} ({e.points})"
                for e in one.exercises
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for one in self.chapters:
            earned = sum(e.points for e in one.exercises if e.name in self.passed)
            total = sum(e.points for e in one.exercises)
            names = ", ".join(
                f"{'✓' if e.name in self.passed else '·'}&nbsp;{escape(e.title)}"
                for e in one.exercises
            )
            rows.append(
                f"<tr><td style='text-align:left'>{one.number} · {escape(one.title)}</td>"
                f"<td style='text-align:left'>{names}</td>"
                f"<td style='text-align:right;white-space:nowrap'>{earned} of {total}</td></tr>"
            )
        return (
            "<table style='font-variant-numeric:tabular-nums'><thead><tr>"
            "<th style='text-align:left'>chapter</th><th style='text-align:left'>exercises</th>"
            "<th style='text-align:right'>points</th></tr></thead>"
            f"<tbody>{''.join(rows)}</tbody>"
            f"<tfoot><tr><td></td><td style='text-align:left'>together</td>"
            f"<td style='text-align:right'>{self.points} of {self.total}</td></tr></tfoot></table>"
        )


def was_passed(exercise: Exercise) -> bool:
    """Whether an exercise was passed earlier, as far as that can be read."""
    try:
        return exercise.name in _passed()
    except OSError:
        return False


def recall(chapters: Sequence[Chapter]) -> Progress:
    """What is passed of some chapters."""
    return Progress(tuple(chapters), frozenset(_passed()))
