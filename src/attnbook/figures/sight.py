"""What each position may see, as a figure to choose in: the masks of the package, drawn.

Four cases of one function, :class:`~attnbook.self_attention.MultiHeadAttention`. What differs is
where queries and keys come from, and the mask. ``sight.js`` draws them; where it cannot run, there
are tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from attnbook.figures.embedded import LiveFigure, Table
from attnbook.masks import causal_mask, padding_mask

__all__ = ["Sight", "SightFigure", "sights"]

PADDING = "<pad>"
SEES, HIDDEN = "●", "–"  # in tables


class Sight(NamedTuple):
    """Who may see whom in one use of attention.

    Attributes:
        title: what the use is called.
        call: how the layer is called for it.
        rows: the words that ask.
        columns: the words that are asked.
        sees: for each row, whether it may see each column.
    """

    title: str
    call: str
    rows: list[str]
    columns: list[str]
    sees: list[list[bool]]


def sights(source: Sequence[str], target: Sequence[str], padding: int = 0) -> list[Sight]:
    """Self-attention, masked self-attention and cross-attention of a pair of sentences.

    Args:
        source: the sentence that an encoder reads.
        target: what a decoder has read of the other one, its ``<sos>`` included.
        padding: behind the source in a fourth case, self-attention of a padded sentence.

    Raises:
        ValueError: an empty sentence, or padding below 0.
    """
    for name, words in (("source", source), ("target", target)):
        if not words:
            raise ValueError(f"{name}: there must be at least one word")
    if padding < 0:
        raise ValueError(f"padding: there cannot be fewer than 0 places, got {padding}")
    read, written = list(source), list(target)
    x, y = len(read), len(written)
    found = [
        Sight("Self", "heads(x, x, x)", read, read, [[True] * x] * x),
        Sight(
            "Masked self", "heads(y, y, y, causal=True)", written, written, causal_mask(y).tolist()
        ),
        Sight("Cross", "heads(y, x, x)", written, read, [[True] * x] * y),
    ]
    if padding:
        padded = [*read, *[PADDING] * padding]
        seen = padding_mask(torch.tensor([x]), len(padded)).tolist()
        found.append(
            Sight("Padded self", "heads(x, x, x, mask)", padded, padded, seen * len(padded))
        )
    return found


@dataclass(frozen=True)
class SightFigure(LiveFigure):
    """Cases to choose from, and in each a word that asks."""

    name: ClassVar[str] = "sight"
    sheets: ClassVar[tuple[str, ...]] = ("card", "sight")

    cases: Sequence[Sight]

    def data(self) -> list[dict[str, Any]]:
        """All cases."""
        return [one._asdict() for one in self.cases]

    def tables(self) -> list[Table]:
        """A table for each case."""
        return [
            Table(
                ["asks", *one.columns],
                [
                    [word, *(SEES if may else HIDDEN for may in row)]
                    for word, row in zip(one.rows, one.sees, strict=True)
                ],
                one.title,
                one.call,
            )
            for one in self.cases
        ]
