"""A verdict as a card: in a notebook as HTML, elsewhere as text. The two say the same.

The card takes the colours of the notebook it stands in, light or dark; what holds is told by a
sign and by words, never by colour alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any

from attnbook.exercises.definition import Exercise
from attnbook.exercises.judge import Verdict, show

__all__ = ["Hint", "Report", "inputs_in_words"]

_CARD = (
    "border:1px solid rgba(128,128,128,.5);border-left:4px solid {edge};border-radius:4px;"
    "padding:.6em .9em;margin:.3em 0;max-width:46em;line-height:1.45"
)
_PASSED, _FAILED = "#009E73", "#D55E00"
_PRE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.2em 0;font-size:.92em"


_STARS = re.compile(r"\*([^*\s](?:[^*]*[^*\s])?)\*")


def _signs(holds: bool | None) -> str:
    return {True: "✓", False: "✗", None: "·"}[holds]


def inline_code(text: str) -> str:
    """HTML of a hint: Markdown's code and emphasis; everything else is text."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"<code>{escape(p)}</code>" if i % 2 else _STARS.sub(r"<em>\1</em>", escape(p))
        for i, p in enumerate(parts)
    )


def without_emphasis(text: str) -> str:
    """A hint for where nothing can be slanted."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(p if i % 2 else _STARS.sub(r"\1", p) for i, p in enumerate(parts))


def inputs_in_words(inputs: dict[str, Any]) -> list[str]:
    """One line for each argument of a small input."""
    return [f"{name} = {show(value)}" for name, value in inputs.items()]


@dataclass(frozen=True)
class Report:
    """What a check found, as a card.

    Attributes:
        exercise: what was checked.
        verdict: what came of it.
        before: whether the exercise was passed earlier.
    """

    exercise: Exercise
    verdict: Verdict
    before: bool = False

    @property
    def passed(self) -> bool:
        """Whether the exercise is passed."""
        return self.verdict.passed

    def _title(self) -> str:
        if self.passed:
            plural = "s" if self.exercise.points > 1 else ""
            return f"{self.exercise.title}: passed, {self.exercise.points} point{plural}"
        kept = " (passed before; the points stay)" if self.before else ""
        return f"{self.exercise.title}: not yet{kept}"

    def __repr__(self) -> str:
        verdict = self.verdict
        lines = [self._title()]
        lines += [f"  {_signs(holds)} {name}" for name, holds in verdict.properties]
        if verdict.mistake is not None and verdict.case is not None:
            if verdict.mistake.name != "nothing-returned":
                lines += ["", f"First that failed: {verdict.case.holds}"]
                lines += [f"  {line}" for line in inputs_in_words(verdict.case.inputs)]
                if verdict.want:
                    lines += [f"  expected: {verdict.want}"]
                lines += [f"  got:      {verdict.got}"]
            lines += ["", f"Hint: {without_emphasis(verdict.mistake.hint)}"]
            lines += [f"For a stronger hint: hint({self.exercise.name})"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        verdict = self.verdict
        edge = _PASSED if self.passed else _FAILED
        items = "".join(
            f"<li style='list-style:none'>{_signs(holds)}&ensp;{inline_code(name)}</li>"
            for name, holds in verdict.properties
        )
        body = f"<ul style='margin:.4em 0;padding-left:.4em'>{items}</ul>"
        if verdict.mistake is not None and verdict.case is not None:
            if verdict.mistake.name != "nothing-returned":
                shown = inputs_in_words(verdict.case.inputs)
                shown += [f"expected: {verdict.want}"] if verdict.want else []
                shown += [f"got:      {verdict.got}"]
                body += (
                    f"<div>First that failed: {inline_code(verdict.case.holds)}</div>"
                    f"<pre style='{_PRE}'>{escape(chr(10).join(shown))}</pre>"
                )
            body += (
                f"<div><b>Hint.</b> {inline_code(verdict.mistake.hint)}</div>"
                f"<details style='margin-top:.3em'><summary>A stronger hint</summary>"
                f"{inline_code(verdict.mistake.more)}</details>"
            )
        return f"<div style='{_CARD.format(edge=edge)}'><b>{escape(self._title())}</b>{body}</div>"


@dataclass(frozen=True)
class Hint:
    """The stronger hint of a check.

    Attributes:
        exercise: which exercise.
        report: its last check; None if it was not checked yet.
    """

    exercise: Exercise
    report: Report | None

    def _text(self) -> str:
        if self.report is None:
            return self.exercise.start
        if self.report.verdict.mistake is None:
            page = self.exercise.chapter
            return f"This exercise is passed. Its solution, with reasons, is on the page {page}."
        return self.report.verdict.mistake.more

    def __repr__(self) -> str:
        return without_emphasis(self._text())

    def _repr_html_(self) -> str:
        card = _CARD.format(edge="#0072B2")
        return f"<div style='{card}'>{inline_code(self._text())}</div>"
