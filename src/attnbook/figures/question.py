"""Questions of a page that answer at once: choose, give a number, put in order.

What may be answered, and what is said to each answer, stands in the page itself, written by the
directive (:mod:`attnbook.site.questions`). ``question.js`` makes a question of it; where it cannot
run, the answers stand in a fold.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from attnbook.figures.embedded import LiveFigure

__all__ = ["KINDS", "Question", "number", "question"]

#: The kinds of question, with what has to be done.
KINDS = {
    "choice": "choose one",
    "number": "a number",
    "order": "put in order",
}

ELSE, RIGHT = "else", "right"


@dataclass(frozen=True)
class Question(LiveFigure):
    """What decides about an answer.

    Attributes:
        kind: one of :data:`KINDS`.
        right: the place of the right answer among the answers; for an order, 0.
        values: for a number, that of each answer, None for ``else``.
        within: how far a number may be off.
        order: for an order, in which the steps are shown first.
        names: the answers as plain text, for who hears them.
    """

    name: ClassVar[str] = "question"
    sheets: ClassVar[tuple[str, ...]] = ("card", "question")

    kind: str
    right: int = 0
    values: tuple[float | None, ...] = ()
    within: float = 0.0
    order: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """What decides; the question and its answers stand in the page."""
        data: dict[str, Any] = {"kind": self.kind, "todo": KINDS[self.kind]}
        if self.kind == "order":
            data["order"] = list(self.order)
        else:
            data["right"] = self.right
        if self.kind != "number":
            data["names"] = list(self.names)
        else:
            data |= {"values": list(self.values), "within": self.within}
        return data


def number(text: str) -> float:
    """A number as a person writes it: with comma or point, with a minus or a hyphen.

    Raises:
        ValueError: it is none.
    """
    plain = text.strip().replace("−", "-").replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text.strip()!r} is not a number")
    return value


def question(
    kind: str, answers: Sequence[str], right: str | None = None, within: str | None = None
) -> Question:
    """A question, from what its author wrote.

    Args:
        kind: one of :data:`KINDS`.
        answers: the texts of the answers; for an order, the steps in the right one; for a number,
            wrong numbers, ``else`` and ``right``.
        right: for a choice, the place of the right answer, from 1; for a number, the number.
        within: for a number, how far an answer may be off.

    Raises:
        ValueError: it does not make a question; says why.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; there are: {', '.join(KINDS)}")
    repeated = sorted({text for text in answers if answers.count(text) > 1})
    if repeated:
        raise ValueError(f"{kind}: {repeated[0]!r} stands there twice")
    if within is not None and kind != "number":
        raise ValueError(f"{kind}: :within: belongs to a number")
    if kind == "order":
        asked = _order(answers, right)
    elif right is None:
        raise ValueError(f"{kind}: :right: is missing, so that no answer would be right")
    else:
        asked = _choice(answers, right) if kind == "choice" else _number(answers, right, within)
    # Of a formula the names of its symbols remain.
    heard = (re.sub(r"[\\{}]+", " ", text).split() for text in answers)
    return replace(asked, names=tuple(map(" ".join, heard)))


def _choice(answers: Sequence[str], right: str) -> Question:
    if len(answers) < 2:
        raise ValueError(f"choice: at least 2 answers are needed, got {len(answers)}")
    if not right.isdecimal() or not 1 <= int(right) <= len(answers):
        raise ValueError(f"choice: :right: must be a number from 1 to {len(answers)}, got {right}")
    return Question("choice", int(right) - 1)


def _number(answers: Sequence[str], right: str, within: str | None) -> Question:
    for needed in (ELSE, RIGHT):
        if needed not in answers:
            raise ValueError(f"number: the answer {needed!r} is missing")
    wanted, off = number(right), number(within or "0")
    if off < 0:
        raise ValueError(f"number: :within: cannot be below 0, got {within}")
    values: list[float | None] = []
    for text in answers:
        if text == ELSE:
            values.append(None)
        elif text == RIGHT:
            values.append(wanted)
        else:
            value = number(text)
            if abs(value - wanted) <= off + 1e-12:
                raise ValueError(f"number: {text} would be right, within {off:g} of {wanted:g}")
            values.append(value)
    return Question("number", list(answers).index(RIGHT), tuple(values), off)


def _order(answers: Sequence[str], right: str | None) -> Question:
    if right is not None:
        raise ValueError("order: the steps stand in the right order; leave out :right:")
    if len(answers) < 3:
        raise ValueError(f"order: at least 3 steps are needed, got {len(answers)}")
    return Question("order", order=tuple(_shuffled(answers)))


def _shuffled(texts: Sequence[str]) -> list[int]:
    """The places of some texts in an order that depends on them alone and is never their own."""

    def digest(place: int) -> bytes:
        return hashlib.sha256("\0".join((texts[place], *texts)).encode()).digest()

    places = list(range(len(texts)))
    order = sorted(places, key=digest)
    return order if order != places else [*order[1:], order[0]]
