"""Attention with several heads, within a sentence or between two, and where a word stands.

One function, three uses. What differs is only who asks whom::

    self     heads(x, x, x, mask)                 every word asks every word of its sentence
    masked   heads(y, y, y, causal=True)          every word asks itself and what stands before it
    cross    heads(y, x, x, mask)                 every target word asks every source word

Queries, keys and values are made from what is passed in by three different matrices, also where
one tensor is passed three times (Vaswani et al. 2017, section 3.2.2).

Nothing in this depends on the order of the words. Their places are told by
:func:`sinusoidal_positions`, :class:`LearnedPositions` or :func:`rotate`.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import masked_softmax
from attnbook.masks import causal_mask, check_mask
from attnbook.scores import scaled_dot_scores

__all__ = [
    "LearnedPositions",
    "MultiHead",
    "MultiHeadAttention",
    "Projected",
    "merge_heads",
    "rotate",
    "sinusoidal_positions",
    "split_heads",
]


def split_heads(
    vectors: Float[Tensor, "batch length model_dim"], heads: int
) -> Float[Tensor, "batch heads length head_dim"]:
    """Cut every vector into ``heads`` pieces of equal width, and set the heads beside the batch.

    The pieces of one word are next to each other in memory, so the cut is a ``view`` and the
    heads are moved by a ``transpose``. A ``view`` alone, straight to the last shape, would mix
    words.

    Raises:
        ValueError: the width is no multiple of ``heads``.
    """
    width = vectors.shape[-1]
    if heads < 1 or width % heads:
        raise ValueError(f"{width} numbers cannot be cut into {heads} heads of equal width")
    pieces: Tensor = vectors.unflatten(-1, (heads, width // heads))
    return pieces.transpose(-3, -2)


def merge_heads(
    pieces: Float[Tensor, "batch heads length head_dim"],
) -> Float[Tensor, "batch length model_dim"]:
    """The inverse of :func:`split_heads`: every word's pieces behind one another."""
    return pieces.transpose(-3, -2).flatten(-2)


class Projected(NamedTuple):
    """Keys and values of every head, as they are kept while a decoder goes on."""

    keys: Float[Tensor, "batch heads source head_dim"]
    values: Float[Tensor, "batch heads source head_dim"]

    def then(self, later: Projected) -> Projected:
        """These positions and those that come after them."""
        if self.keys.shape[-2] == 0:  # nothing to copy
            return later
        return Projected(
            torch.cat([self.keys, later.keys], dim=-2),
            torch.cat([self.values, later.values], dim=-2),
        )


class MultiHead(NamedTuple):
    """What several heads give.

    Attributes:
        output: what all heads found, mixed by the last matrix.
        known: the projected keys and values, those of the past included.
        weights: of each head, after the softmax; None where they were not asked for.
        scores: of each head, before it, ``-inf`` where masked; None likewise.
    """

    output: Float[Tensor, "batch target model_dim"]
    known: Projected
    weights: Float[Tensor, "batch heads target source"] | None = None
    scores: Float[Tensor, "batch heads target source"] | None = None


class MultiHeadAttention(nn.Module):
    """Several looks at once, each with its own queries, keys and values.

    ::

        head_i = attend(Q W_i^Q, K W_i^K, V W_i^V)
        output = [head_1; …; head_h] W^O

    (Vaswani et al. 2017, section 3.2.2; with a bias beside every matrix, as in all
    implementations.) Each head is ``model_dim / heads`` wide, so that all together cost as much
    as one of full width. The matrices of all heads, and those of queries, keys and values, lie in
    one: ``project_in`` makes all three in one product where they are made of the same thing.

    Weights are computed only for a caller who asks for them. Without, torch's
    ``scaled_dot_product_attention`` does the same and never writes them down.

    Args:
        model_dim: width of what goes in and comes out.
        heads: how many looks; they must divide ``model_dim``.
        dropout: probability of dropping a weight in training.
        temperature: the scores are divided by it, as in :class:`~attnbook.attention.Attention`.

    Raises:
        ValueError: ``heads`` does not divide ``model_dim``, an impossible dropout, or a
            temperature that is not above 0.
    """

    def __init__(
        self, model_dim: int, heads: int, *, dropout: float = 0.0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if heads < 1 or model_dim % heads:
            raise ValueError(f"heads must divide model_dim, got {heads} heads for {model_dim}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.heads = heads
        self.dropout = dropout
        self.temperature = temperature
        self.project_in = nn.Linear(model_dim, 3 * model_dim)
        self.project_out = nn.Linear(model_dim, model_dim)

    def forward(
        self,
        queries: Float[Tensor, "batch target model_dim"],
        keys: Float[Tensor, "batch source model_dim"],
        values: Float[Tensor, "batch source model_dim"],
        mask: Bool[Tensor, ...] | None = None,
        *,
        causal: bool = False,
        past: Projected | None = None,
        with_weights: bool = False,
    ) -> MultiHead:
        """Project, cut into heads, attend, put together.

        Args:
            queries: who asks.
            keys: who is asked.
            values: who answers.
            mask: bool, True = may be attended to; ``(target, source)``, ``(batch, target,
                source)`` or with an axis of heads in the second place.
            causal: position t sees no position after t; for a sequence that asks itself.
            past: what positions before these were projected to; they are asked, too.
            with_weights: also give scores and weights.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        width = self.project_out.in_features
        for name, given in (("queries", queries), ("keys", keys), ("values", values)):
            if given.shape[-1] != width:
                raise ValueError(f"{name} are {given.shape[-1]} wide, and model_dim is {width}")
        weight, bias = self.project_in.weight, self.project_in.bias
        if queries is keys and keys is values:
            made = self.project_in(queries).chunk(3, dim=-1)
        elif keys is values:
            made = (
                functional.linear(queries, weight[:width], bias[:width]),
                *functional.linear(keys, weight[width:], bias[width:]).chunk(2, dim=-1),
            )
        else:
            made = tuple(
                functional.linear(given, *rows)
                for given, *rows in zip(
                    (queries, keys, values), weight.chunk(3), bias.chunk(3), strict=True
                )
            )
        asked, *known = (split_heads(one, self.heads) for one in made)
        now = Projected(*known)
        return self._look(asked, past.then(now) if past else now, mask, causal, with_weights)

    def project(self, source: Float[Tensor, "batch source model_dim"]) -> Projected:
        """Keys and values of what will be asked again and again, computed once."""
        width = self.project_out.in_features
        weight, bias = self.project_in.weight, self.project_in.bias
        made = functional.linear(source, weight[width:], bias[width:]).chunk(2, dim=-1)
        return Projected(*(split_heads(one, self.heads) for one in made))

    def ask(
        self,
        queries: Float[Tensor, "batch target model_dim"],
        known: Projected,
        mask: Bool[Tensor, ...] | None = None,
        *,
        with_weights: bool = False,
    ) -> MultiHead:
        """As :meth:`forward`, of keys and values that :meth:`project` gave."""
        width = self.project_out.in_features
        asked = functional.linear(
            queries, self.project_in.weight[:width], self.project_in.bias[:width]
        )
        return self._look(split_heads(asked, self.heads), known, mask, False, with_weights)

    def _look(
        self,
        queries: Float[Tensor, "batch heads target head_dim"],
        known: Projected,
        mask: Bool[Tensor, ...] | None,
        causal: bool,
        with_weights: bool,
    ) -> MultiHead:
        (target, source), dropout = (queries.shape[-2], known.keys.shape[-2]), self.dropout
        if self.temperature != 1:
            queries = queries / self.temperature
        if causal and target > source:
            raise ValueError(f"{target} positions cannot be the last of {source}")
        if mask is not None and mask.ndim == 3:
            mask = mask.unsqueeze(1)
        # A single query that stands last sees everything. And as long as no other mask is given,
        # torch can be told that the mask is causal, and leaves out what it hides.
        alone = causal and mask is None and target == source and not with_weights
        if causal and target > 1 and not alone:
            earlier = causal_mask(target, source - target).to(queries.device)
            mask = earlier if mask is None else mask & earlier
        if mask is not None:
            check_mask(mask, queries.new_empty(()).expand(*queries.shape[:-1], source))
        if not with_weights:
            found = functional.scaled_dot_product_attention(
                queries,
                *known,
                attn_mask=mask,
                dropout_p=dropout if self.training else 0.0,
                is_causal=alone and target > 1,
            )
            return MultiHead(self.project_out(merge_heads(found)), known)
        scores = scaled_dot_scores(queries, known.keys)
        weights = masked_softmax(scores, mask)
        found = functional.dropout(weights, dropout, self.training) @ known.values
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return MultiHead(self.project_out(merge_heads(found)), known, weights, scores)


# --- where a word stands ----------------------------------------------------------------------


def sinusoidal_positions(length: int, width: int, start: int = 0) -> Float[Tensor, "length width"]:
    """Sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5).

    ``PE(t, 2k) = sin(t / 10000^{2k/width})`` and ``PE(t, 2k+1) = cos(t / 10000^{2k/width})``.
    The vector of ``t + Δ`` is the vector of ``t`` turned by angles that depend on Δ alone.

    Args:
        length: how many positions.
        width: numbers for each; even.
        start: the first position.

    Raises:
        ValueError: an odd width, or a length below 1.
    """
    if width < 2 or width % 2:
        raise ValueError(f"sines and cosines come in pairs; width must be even, got {width}")
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    angles = torch.outer(torch.arange(start, start + length).double(), _frequencies(width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).float()


def _frequencies(width: int) -> Float[Tensor, " pairs"]:
    return torch.exp(-log(10_000) * torch.arange(0, width, 2).double() / width)


class LearnedPositions(nn.Module):
    """A vector for each position, learned like a word's (Devlin et al. 2019; Gehring et al. 2017).

    It knows no position that training did not have.

    Args:
        longest: how many positions there are.
        width: numbers for each.
    """

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(longest, width)

    def forward(self, length: int, start: int = 0) -> Float[Tensor, "length width"]:
        """The vectors of ``length`` positions from ``start``.

        Raises:
            ValueError: the last one is beyond the table.
        """
        longest = self.vectors.num_embeddings
        if start < 0 or start + length > longest:
            raise ValueError(
                f"positions {start} to {start + length - 1}, and the table ends at {longest - 1}; "
                "shorten the sentence or train with a longer table"
            )
        rows: Tensor = self.vectors.weight[start : start + length]
        return rows


def rotate(
    vectors: Float[Tensor, "*batch length head_dim"], start: int = 0
) -> Float[Tensor, "*batch length head_dim"]:
    """Turn queries or keys by their position (Su et al. 2021, RoFormer, equation 34).

    Each pair of numbers ``(2k, 2k+1)`` at position t is turned by the angle
    ``t / 10000^{2k/head_dim}``. The dot product of a turned query and a turned key then depends on
    how far apart they stand, and not on where.

    Raises:
        ValueError: an odd width.
    """
    length, width = vectors.shape[-2:]
    table = sinusoidal_positions(length, width, start).to(vectors)
    sines, cosines = table[:, 0::2], table[:, 1::2]
    even, odd = vectors[..., 0::2], vectors[..., 1::2]
    turned = torch.stack([even * cosines - odd * sines, even * sines + odd * cosines], dim=-1)
    return turned.flatten(-2)
