"""Which word translates which: gold alignments, their files, and how weights compare with them.

An alignment is a set of links ``(i, j)``: source word i and target word j, counted from 0,
translate each other. People who align sentences by hand are sure of some links and find others
possible (Och & Ney 2003); every sure link is possible too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attnbook.corpora import read_lines

__all__ = [
    "AlignmentScores",
    "GoldAlignment",
    "Link",
    "align_by_weight",
    "alignment_scores",
    "mean_entropy",
    "read_alignments",
    "weights_of_words",
    "write_alignment",
]

Link = tuple[int, int]

_LINK = re.compile(r"(\d+)([-p])(\d+)")


@dataclass(frozen=True)
class GoldAlignment:
    """The right links of one sentence pair.

    Attributes:
        sure: links that every annotator would draw.
        possible: links that may be drawn; all sure ones belong to them.
    """

    sure: frozenset[Link]
    possible: frozenset[Link]

    def __post_init__(self) -> None:
        """Refuse a sure link that is not possible."""
        if extra := sorted(self.sure - self.possible):
            raise ValueError(f"the link {extra[0]} is sure but not possible")

    @classmethod
    def of(cls, links: Iterable[Link]) -> GoldAlignment:
        """All links sure, as in the grammar corpus."""
        sure = frozenset(links)
        return cls(sure, sure)


@dataclass(frozen=True)
class AlignmentScores:
    """How found links A compare with sure links S and possible links P (Och & Ney 2003, section 5).

    Attributes:
        error_rate: ``AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|)``; 0 is perfect.
        precision: ``|A∩P| / |A|``: how many of the found links are at least possible.
        recall: ``|A∩S| / |S|``: how many of the sure links were found.
        links: ``|A|``, summed over sentences.
    """

    error_rate: float
    precision: float
    recall: float
    links: int


def alignment_scores(
    found: Sequence[Iterable[Link]], gold: Sequence[GoldAlignment]
) -> AlignmentScores:
    """Score found alignments, all sentences counted together.

    Raises:
        ValueError: unequal numbers of sentences, or no link to score.
    """
    if len(found) != len(gold):
        raise ValueError(f"got alignments of {len(found)} sentences and gold of {len(gold)}")
    links = sure = found_sure = found_possible = 0
    for some, right in zip(found, gold, strict=True):
        unique = frozenset(some)
        links += len(unique)
        sure += len(right.sure)
        found_sure += len(unique & right.sure)
        found_possible += len(unique & right.possible)
    if links == 0 or sure == 0:
        raise ValueError(
            f"nothing to score: {links} links were found, and the gold alignment has {sure} sure"
        )
    return AlignmentScores(
        error_rate=1 - (found_sure + found_possible) / (links + sure),
        precision=found_possible / links,
        recall=found_sure / sure,
        links=links,
    )


def align_by_weight(weights: NDArray[np.floating]) -> frozenset[Link]:
    """Link each target word to the source word with the largest weight; ties go to the first.

    Args:
        weights: ``(target, source)``, the rows and columns of real words: cut off end markers
            before, or links to them will count as wrong. A row of zeros (everything masked) gets
            no link.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2:
        raise ValueError(f"weights must be (target, source), got {weights.ndim} axes")
    return frozenset(
        (int(row.argmax()), j) for j, row in enumerate(weights) if row.size and row.max() > 0
    )


def mean_entropy(weights: Sequence[NDArray[np.floating]]) -> float:
    """``-Σ_i α_i ln α_i`` in nats, averaged over all target words of all sentences.

    0 looks at one word only. The exponential is the number of words that would have this entropy
    if they were looked at equally.

    Args:
        weights: ``(target, source)`` of each sentence.
    """
    rows = [-np.where(row > 0, row * np.log(np.where(row > 0, row, 1.0)), 0.0).sum(axis=-1)
            for row in map(np.asarray, weights)]  # fmt: skip
    return float(np.concatenate(rows).mean())


def read_alignments(
    path: str | Path,
    lengths: Sequence[tuple[int, int]],
    *,
    first: int = 0,
) -> list[GoldAlignment]:
    """Read a file with one line of links for each sentence pair.

    A link is ``i-j`` (sure) or ``ipj`` (possible), source position first, as in the Pharaoh
    format and in the hand alignments of Och & Ney; links are separated by blanks, and an empty
    line is a pair without links.

    Args:
        path: of the file, in UTF-8.
        lengths: words in the source and the target of each pair.
        first: the number of the first word in the file, 0 or 1.

    Raises:
        ValueError: other numbers of lines and pairs, a word that is not a link, or a link to a
            word that its sentence does not have. The message names line and link.
    """
    if first not in (0, 1):
        raise ValueError(f"first must be 0 or 1, got {first}")
    lines = read_lines(path)
    if len(lines) != len(lengths):
        raise ValueError(f"{path}: {len(lines)} lines for {len(lengths)} sentence pairs")
    return [
        _parse(line, source, target, first, f"{path}, line {number}")
        for number, (line, (source, target)) in enumerate(zip(lines, lengths, strict=True), start=1)
    ]


def _parse(line: str, source: int, target: int, first: int, place: str) -> GoldAlignment:
    sure, possible = set(), set()
    for word in line.split():
        match = _LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"{place}: {word!r} is not a link; write 3-4, or 3p4 if only possible")
        i, j = int(match[1]) - first, int(match[3]) - first
        if not (0 <= i < source and 0 <= j < target):
            other = "1" if first == 0 else "0"
            raise ValueError(
                f"{place}: the link {word} lies outside a pair of {source} source and {target} "
                f"target words; is the first word number {other} in this file, or is it the file "
                "of other sentences?"
            )
        possible.add((i, j))
        if match[2] == "-":
            sure.add((i, j))
    return GoldAlignment(frozenset(sure), frozenset(possible))


def write_alignment(links: Iterable[Link], possible: Iterable[Link] = (), *, first: int = 0) -> str:
    """One line of a file: sure links as ``i-j``, the others as ``ipj``, in order."""
    sure = frozenset(links)
    rows = [(i, j, "-") for i, j in sure] + [(i, j, "p") for i, j in frozenset(possible) - sure]
    return " ".join(f"{i + first}{sign}{j + first}" for i, j, sign in sorted(rows))


def weights_of_words(
    weights: NDArray[np.floating], source: Sequence[int], target: Sequence[int]
) -> NDArray[np.float64]:
    """Attention between words, from attention between their pieces.

    A target word looks at a source word with the sum of the weights of its pieces, and its own
    pieces count alike: rows still sum to 1.

    Args:
        weights: ``(target pieces, source pieces + 1)``, the last column for ``<eos>``.
        source: for each source piece the number of its word, from
            :func:`attnbook.subwords.word_numbers`.
        target: the same for the target.

    Returns:
        ``(target words, source words + 1)``.
    """
    columns, rows = [*source, source[-1] + 1], list(target)
    from_pieces = np.eye(columns[-1] + 1)[columns]
    to_words = np.eye(rows[-1] + 1)[:, rows]
    mean = to_words / to_words.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = mean @ weights @ from_pieces
    return found
