"""Fill in the blank, as a figure to choose in: what two stored models guess for a hidden piece.

One model saw the pieces on both sides of the blank, the other those before it. The guesses are
computed once (``book/results``), and ``blanks.js`` shows those for the piece that a reader hides.
Where it cannot run, there are tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from attnbook.figures.embedded import LiveFigure, Table

__all__ = ["Blank", "BlanksFigure", "blanks"]

Guesses = list[tuple[str, float]]


class Blank(NamedTuple):
    """A text, and for each of its pieces what is guessed when it is hidden.

    Attributes:
        pieces: the text, without special pieces.
        both: for each piece the best guesses from both sides and their probabilities, best first.
        left: the same from the pieces before it.
    """

    pieces: list[str]
    both: list[Guesses]
    left: list[Guesses]


def blanks(stored: Sequence[dict[str, Any]]) -> list[Blank]:
    """Texts with guesses, from JSON.

    Raises:
        ValueError: no text, one without pieces, guesses for another number of pieces, or a
            probability outside 0 to 1 or larger than the one before it.
    """
    if not stored:
        raise ValueError("there is no text; give at least one")
    found = []
    for number, one in enumerate(stored):
        if missing := set(Blank._fields) - set(one):
            raise ValueError(f"text {number}: there is no {' and no '.join(sorted(missing))}")
        pieces = list(one["pieces"])
        if not pieces:
            raise ValueError(f"text {number}: pieces: there must be at least one")
        sides = {name: [_guesses(row) for row in one[name]] for name in ("both", "left")}
        for name, rows in sides.items():
            if len(rows) != len(pieces):
                raise ValueError(
                    f"text {number}: {name}: {len(rows)} rows of guesses for {len(pieces)} pieces"
                )
            for piece, row in zip(pieces, rows, strict=True):
                values = [p for _, p in row]
                if not row or values != sorted(values, reverse=True):
                    raise ValueError(
                        f"text {number}: {name}: the guesses for {piece!r} must be at least one, "
                        "the most probable first"
                    )
                if not 0 <= values[-1] <= values[0] <= 1:
                    raise ValueError(
                        f"text {number}: {name}: a probability for {piece!r} is outside 0 to 1"
                    )
        found.append(Blank(pieces, sides["both"], sides["left"]))
    return found


def _guesses(row: Sequence[Sequence[Any]]) -> Guesses:
    return [(str(piece), float(probability)) for piece, probability in row]


@dataclass(frozen=True)
class BlanksFigure(LiveFigure):
    """Texts to choose from, and in each a piece to hide."""

    name: ClassVar[str] = "blanks"
    sheets: ClassVar[tuple[str, ...]] = ("card", "blanks")

    texts: Sequence[Blank]

    def data(self) -> list[dict[str, Any]]:
        """All texts with all guesses."""
        return [one._asdict() for one in self.texts]

    def tables(self) -> list[Table]:
        """For each text a table with the best guesses."""
        head = ["hidden", "best guess from both sides", "best guess from the left"]
        return [
            Table(
                head,
                [
                    [piece, *(f"{row[0][0]} {row[0][1]:.2f}" for row in (both, left))]
                    for piece, both, left in zip(one.pieces, one.both, one.left, strict=True)
                ],
            )
            for one in self.texts
        ]
