"""Fill in the blank, as a figure to choose in: what two stored models guess for a hidden piece.

One model saw the pieces on both sides of the blank, the other those before it. The guesses are
computed once (``book/results``), and ``static/blanks.js``, which needs no library and no network,
shows those for the piece that a reader hides. Where it cannot run, there are tables
(:mod:`attnbook.directives`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from attnbook.embedded import asset, data_element

__all__ = ["Blank", "blanks", "figure_data", "script", "styles", "table"]

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


def figure_data(texts: Sequence[Blank]) -> str:
    """The ``<script>`` element with the figure's data; belongs into an ``.attn-blanks``."""
    return data_element([one._asdict() for one in texts])


def table(one: Blank) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table with the best guesses, for where nothing can be chosen."""
    rows = [
        [piece, *(f"{row[0][0]} {row[0][1]:.2f}" for row in (both, left))]
        for piece, both, left in zip(one.pieces, one.both, one.left, strict=True)
    ]
    return ["hidden", "best guess from both sides", "best guess from the left"], rows


def styles() -> str:
    """The figure's style sheet."""
    return asset("blanks.css")


def script() -> str:
    """The figure's script, which brings every one of them in a page to life."""
    return asset("blanks.js")
