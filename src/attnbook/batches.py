"""Sentences of different length in one rectangle: padding, lengths, and batches by length.

An *example* is a pair of id lists without any marker. In a batch the source ends with ``<eos>``;
the target stands there twice, shifted by one: ``target_in`` is ``<sos> y_1 … y_m`` and
``target_out`` is ``y_1 … y_m <eos>``, so that at each position the decoder sees the words before
the one it must predict.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attnbook.masks import padding_mask
from attnbook.vocabulary import EOS, PAD, SOS

__all__ = ["Batch", "Example", "bucketed_batches", "collate", "pad", "random_batches"]

Example = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Batch:
    """Sentence pairs, padded at the right to a common length.

    Attributes:
        source: ``(batch, source)``, words, ``<eos>``, then padding.
        source_lengths: ``(batch,)`` on the CPU, words and ``<eos>`` counted.
        target_in: ``(batch, target)``, what the decoder reads: ``<sos>``, words, then padding.
        target_out: ``(batch, target)``, what it must write: words, ``<eos>``, then padding.
        target_lengths: ``(batch,)`` on the CPU, words and ``<eos>`` counted.

    Raises:
        ValueError: the parts have different numbers of sentences, or a sentence is empty.
    """

    source: Int[Tensor, "batch source"]
    source_lengths: Int[Tensor, " batch"]
    target_in: Int[Tensor, "batch target"]
    target_out: Int[Tensor, "batch target"]
    target_lengths: Int[Tensor, " batch"]

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other."""
        sizes = {
            name: len(getattr(self, name))
            for name in ("source", "source_lengths", "target_in", "target_out", "target_lengths")
        }
        if len(set(sizes.values())) != 1:
            raise ValueError(f"the parts of a batch differ in their number of sentences: {sizes}")
        if sizes["source"] == 0:
            raise ValueError("a batch needs at least one sentence pair")
        for name in ("source_lengths", "target_lengths"):
            if int(getattr(self, name).min()) < 1:
                raise ValueError(f"{name}: sentence {int(getattr(self, name).argmin())} is empty")

    def __len__(self) -> int:
        """How many sentence pairs there are."""
        return len(self.source)

    @property
    def source_mask(self) -> Bool[Tensor, "batch source"]:
        """True at real source tokens."""
        return padding_mask(self.source_lengths, self.source.shape[1]).to(self.source.device)

    @property
    def target_mask(self) -> Bool[Tensor, "batch target"]:
        """True at real target tokens."""
        return padding_mask(self.target_lengths, self.target_in.shape[1]).to(self.target_in.device)

    @property
    def target_tokens(self) -> int:
        """How many words there are to predict, ``<eos>`` counted, padding not."""
        return int(self.target_lengths.sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``; the lengths stay on the CPU, where packing wants them."""
        return replace(
            self,
            source=self.source.to(device),
            target_in=self.target_in.to(device),
            target_out=self.target_out.to(device),
        )


def pad(rows: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "batch size"], Int[Tensor, " batch"]]:
    """Rows of ids as one tensor, filled up with ``<pad>`` at the right, and their lengths."""
    if not rows:
        raise ValueError("a batch needs at least one sentence")
    if empty := [number for number, row in enumerate(rows) if not row]:
        raise ValueError(f"sentence {empty[0]} is empty; drop it before batching")
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.full((len(rows), int(lengths.max())), PAD)
    # All ids at once: a batch that fills a GPU has a thousand rows, and it would wait for them.
    padded[padding_mask(lengths, padded.shape[1])] = torch.tensor([*chain.from_iterable(rows)])
    return padded, lengths


def collate(examples: Sequence[Example]) -> Batch:
    """Put markers around the examples' ids and pad them into one batch.

    Raises:
        ValueError: there is no example, or a side of one is empty.
    """
    if not examples:
        raise ValueError("a batch needs at least one sentence pair")
    for number, example in enumerate(examples):
        for side, ids in zip(("source", "target"), example, strict=True):
            if not ids:
                raise ValueError(f"sentence {number} has an empty {side}; drop it before batching")
    source, source_lengths = pad([[*source, EOS] for source, _ in examples])
    target_in, target_lengths = pad([[SOS, *target] for _, target in examples])
    target_out, _ = pad([[*target, EOS] for _, target in examples])
    return Batch(source, source_lengths, target_in, target_out, target_lengths)


def random_batches(examples: Sequence[Example], size: int, *, seed: int) -> Iterator[Batch]:
    """All examples in random order, ``size`` at a time; the last batch may be smaller."""
    if size < 1:
        raise ValueError(f"a batch needs room for at least one sentence, got size {size}")
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    for start in range(0, len(order), size):
        yield collate([examples[number] for number in order[start : start + size]])


def bucketed_batches(examples: Sequence[Example], tokens: int, *, seed: int) -> list[list[int]]:
    """Cut the examples into batches of sentences of nearly equal length.

    A batch costs what its rectangle holds, padding included: ``tokens`` bounds the number of
    sentences times the longer of the longest source and the longest target. Sentences of equal
    source length stand together, ties broken at random by ``seed``, and the batches come in
    random order.

    Args:
        examples: pairs of id lists.
        tokens: the largest rectangle; one sentence that is longer gets a batch of its own.
        seed: give another one to each epoch.

    Returns:
        For each batch the numbers of its examples.
    """
    if tokens < 1:
        raise ValueError(f"a batch needs a budget of at least 1 token, got {tokens}")
    chance = random.Random(seed)
    keys = [(len(source), len(target), chance.random()) for source, target in examples]
    order = sorted(range(len(examples)), key=keys.__getitem__)
    batches: list[list[int]] = []
    longest = 0
    for number in order:
        length = max(keys[number][:2]) + 1
        if not batches or max(longest, length) * (len(batches[-1]) + 1) > tokens:
            batches.append([])
            longest = 0
        longest = max(longest, length)
        batches[-1].append(number)
    chance.shuffle(batches)
    return batches
