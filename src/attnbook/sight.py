"""What each position may see, as a figure to choose in: the masks of the package, drawn.

Four cases of one function, :class:`~attnbook.self_attention.MultiHeadAttention`. What differs is
who asks whom, and the mask. The drawing is done by ``static/sight.js``, which needs no library
and no network; where it cannot run, there are tables (:mod:`attnbook.directives`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from attnbook.embedded import asset, data_element
from attnbook.masks import causal_mask, padding_mask

__all__ = ["Sight", "figure_data", "script", "sights", "styles", "table"]

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


def figure_data(figure: Sequence[Sight]) -> str:
    """The ``<script>`` element with the figure's data; belongs into an ``.attn-sights``."""
    return data_element([one._asdict() for one in figure])


def table(one: Sight) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, for where nothing can be chosen."""
    rows = [
        [word, *(SEES if may else HIDDEN for may in row)]
        for word, row in zip(one.rows, one.sees, strict=True)
    ]
    return ["asks", *one.columns], rows


def styles() -> str:
    """The figure's style sheet."""
    return asset("sight.css")


def script() -> str:
    """The figure's script, which brings every one of them in a page to life."""
    return asset("sight.js")
