"""A heat map of the attention's weights for a terminal: words, and shades of one character."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnbook.trace import DecodingTrace

__all__ = ["heat_map", "width"]

SHADES = " ░▒▓█"
PLAIN_SHADES = " .:+#"  # where the terminal's encoding has no blocks


def heat_map(
    trace: DecodingTrace,
    *,
    backwards: bool = False,
    columns: int | None = None,
    shades: str | None = None,
) -> Iterator[str]:
    """The lines of a heat map: source words across, the translation's words down.

    A column is as wide as its word. Where the sentence is wider than the terminal, it goes on in
    further blocks, each with all words of the translation.

    Args:
        trace: of a decoder that attends.
        backwards: the encoder read from right to left; columns are in the sentence's own order.
        columns: width of the terminal; None asks it.
        shades: characters from weight 0 to weight 1; None takes blocks where they can be shown.
    """
    assert trace.weights is not None, "the caller has made sure that the model attends"
    columns = columns or shutil.get_terminal_size().columns
    shades = shades or _shades()
    order = list(range(len(trace.source_tokens)))
    if backwards:  # all but the end mark, which stays last
        order = [*order[-2::-1], order[-1]]
    words = [trace.source_tokens[place] for place in order]
    weights = trace.weights[:, order]
    label = max(map(width, trace.target_tokens))
    for start, stop in _blocks([width(word) for word in words], columns - label):
        yield ""
        yield " " * label + "".join(f" {word}" for word in words[start:stop])
        for token, row in zip(trace.target_tokens, weights, strict=True):
            cells = (
                " " + _shade(float(weight), shades) * width(word)
                for weight, word in zip(row[start:stop], words[start:stop], strict=True)
            )
            yield (" " * (label - width(token)) + token + "".join(cells)).rstrip()
    yield ""
    steps = (f"{place / len(shades):.1f} {shade}" for place, shade in enumerate(shades) if place)
    yield f"from {'  '.join(steps)}"


def _blocks(widths: list[int], room: int) -> Iterator[tuple[int, int]]:
    """From which to which column each block goes; at least one column fits."""
    start = used = 0
    for place, wide in enumerate(widths):
        if place > start and used + wide + 1 > room:
            yield start, place
            start, used = place, 0
        used += wide + 1
    yield start, len(widths)


def _shade(weight: float, shades: str) -> str:
    return shades[min(int(weight * len(shades)), len(shades) - 1)]


def _shades() -> str:
    try:
        SHADES.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN_SHADES
    return SHADES


def width(text: str) -> int:
    """Cells of a terminal that a text takes: two for a wide letter, none for a combining mark."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )
