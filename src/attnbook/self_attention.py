"""Attention with several heads, within a sentence or between two, and where a word stands.

One function, three uses. What differs is only what queries, keys and values are made from::

    self     heads(x, x, x, mask)                 every word attends to every word of its sentence
    masked   heads(y, y, y, causal=True)          every word attends to itself and those before it
    cross    heads(y, x, x, mask)                 every target word attends to every source word

Queries, keys and values are made from what is passed in by three different matrices, also where
one tensor is passed three times (Vaswani et al. 2017, section 3.2.2).

Nothing in this depends on the order of the words. Their places are told by
:func:`sinusoidal_positions`, :class:`LearnedPositions` or :func:`rotate`.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import forbid, softmax_or_zeros
from attnbook.masks import causal_mask, check_mask
from attnbook.scores import scaled_dot_scores

__all__ = [
    "KVCache",
    "LearnedPositions",
    "MultiHeadAttention",
    "MultiHeadOutput",
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


class KVCache(NamedTuple):
    """Keys and values of every head: computed once, and attended to again and again."""

    keys: Float[Tensor, "batch heads source head_dim"]
    values: Float[Tensor, "batch heads source head_dim"]

    def append(self, later: KVCache) -> KVCache:
        """These positions and those that come after them."""
        if self.keys.shape[-2] == 0:  # nothing to copy
            return later
        return KVCache(
            torch.cat([self.keys, later.keys], dim=-2),
            torch.cat([self.values, later.values], dim=-2),
        )

    def select(self, rows: Int[Tensor, " rows"]) -> KVCache:
        """The given rows of the batch, in their order."""
        return KVCache(self.keys[rows], self.values[rows])


class MultiHeadOutput(NamedTuple):
    """What several heads give.

    Attributes:
        output: the heads' weighted sums, mixed by ``out_proj``.
        past_key_values: keys and values of all positions so far, for the positions to come.
        weights: of each head, after the softmax; None without ``need_weights``.
        scores: of each head, before it, ``-inf`` where masked; None likewise.
    """

    output: Float[Tensor, "batch target model_dim"]
    past_key_values: KVCache
    weights: Float[Tensor, "batch heads target source"] | None = None
    scores: Float[Tensor, "batch heads target source"] | None = None


class MultiHeadAttention(nn.Module):
    """Several attentions at once, each with its own queries, keys and values.

    ::

        head_i = scaled_dot_product_attention(Q W_i^Q, K W_i^K, V W_i^V)
        output = [head_1; …; head_h] W^O

    (Vaswani et al. 2017, section 3.2.2; with a bias beside every matrix, as in all
    implementations.) Each head is ``model_dim / num_heads`` wide, so that all together cost as
    much as one of full width. The matrices ``W_i^Q`` of all heads lie side by side in one,
    ``q_proj``, and so do those of keys and values.

    Weights are computed only for a caller who asks for them. Without, torch's
    ``scaled_dot_product_attention`` does the same and never writes them down.

    Args:
        model_dim: width of what goes in and comes out.
        num_heads: how many; it must divide ``model_dim``.
        dropout: probability of dropping a weight in training.
        temperature: the scores are divided by it, as in :class:`~attnbook.attention.Attention`.

    Raises:
        ValueError: ``num_heads`` does not divide ``model_dim``, an impossible dropout, or a
            temperature that is not above 0.
    """

    def __init__(
        self, model_dim: int, num_heads: int, *, dropout: float = 0.0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if num_heads < 1 or model_dim % num_heads:
            raise ValueError(
                f"num_heads must divide model_dim, got {num_heads} heads for {model_dim}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.temperature = temperature
        self.q_proj = nn.Linear(model_dim, model_dim)
        self.k_proj = nn.Linear(model_dim, model_dim)
        self.v_proj = nn.Linear(model_dim, model_dim)
        self.out_proj = nn.Linear(model_dim, model_dim)

    def forward(
        self,
        queries: Float[Tensor, "batch target model_dim"],
        keys: Float[Tensor, "batch source model_dim"],
        values: Float[Tensor, "batch source model_dim"],
        mask: Bool[Tensor, ...] | None = None,
        *,
        causal: bool = False,
        past_key_values: KVCache | None = None,
        need_weights: bool = False,
    ) -> MultiHeadOutput:
        """Project, cut into heads, attend, put together.

        Args:
            queries: for each of these vectors one is computed.
            keys: what queries are compared with.
            values: what is summed up, one vector for each key.
            mask: bool, True = may be attended to; ``(target, source)``, ``(batch, target,
                source)`` or with an axis of heads in the second place.
            causal: position t sees no position after t; for self-attention.
            past_key_values: of the positions before these, which are attended to as well.
            need_weights: also give scores and weights.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        cache = self.project(keys, values)
        if past_key_values is not None:
            cache = past_key_values.append(cache)
        return self.attend(queries, cache, mask, causal=causal, need_weights=need_weights)

    def project(
        self,
        keys: Float[Tensor, "batch source model_dim"],
        values: Float[Tensor, "batch source model_dim"],
    ) -> KVCache:
        """Keys and values of every head, for a caller who attends to them several times."""
        for name, given in (("keys", keys), ("values", values)):
            self._check_width(name, given)
        return KVCache(
            split_heads(self.k_proj(keys), self.num_heads),
            split_heads(self.v_proj(values), self.num_heads),
        )

    def attend(
        self,
        queries: Float[Tensor, "batch target model_dim"],
        cache: KVCache,
        mask: Bool[Tensor, ...] | None = None,
        *,
        causal: bool = False,
        need_weights: bool = False,
    ) -> MultiHeadOutput:
        """As :meth:`forward`, of keys and values that are projected already.

        With ``causal`` the queries are the last positions of the cache.
        """
        self._check_width("queries", queries)
        pieces = split_heads(self.q_proj(queries), self.num_heads)
        if self.temperature != 1:
            pieces = pieces / self.temperature
        target, source = pieces.shape[-2], cache.keys.shape[-2]
        if causal and target > source:
            raise ValueError(f"{target} positions cannot be the last of {source}")
        # Torch leaves out what a causal mask hides if it is told in place of being given one.
        told = causal and mask is None and target == source and not need_weights
        mask = self._full_mask(pieces, source, mask, causal and not told)
        if need_weights:
            found, weights, scores = self._weighted_sum(pieces, cache, mask)
            return MultiHeadOutput(self.out_proj(merge_heads(found)), cache, weights, scores)
        found = functional.scaled_dot_product_attention(
            pieces,
            *cache,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=told,
        )
        return MultiHeadOutput(self.out_proj(merge_heads(found)), cache)

    def _weighted_sum(
        self,
        queries: Float[Tensor, "batch heads target head_dim"],
        cache: KVCache,
        mask: Bool[Tensor, ...] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What torch's function computes without telling: weighted sums, weights and scores."""
        scores = forbid(scaled_dot_scores(queries, cache.keys), mask)
        weights = softmax_or_zeros(scores, mask)
        found = functional.dropout(weights, self.dropout, self.training) @ cache.values
        return found, weights, scores

    def _full_mask(
        self,
        queries: Float[Tensor, "batch heads target head_dim"],
        source: int,
        mask: Bool[Tensor, ...] | None,
        causal: bool,
    ) -> Bool[Tensor, ...] | None:
        """The given mask with an axis for the heads, and the causal one; None allows all."""
        target = queries.shape[-2]
        if mask is not None:
            if mask.ndim == 3:
                mask = mask.unsqueeze(1)
            check_mask(mask, queries.new_empty(()).expand(*queries.shape[:-1], source))
        if causal and target > 1:  # a single query that stands last sees everything
            earlier = causal_mask(target, source - target).to(queries.device)[None, None]
            mask = earlier if mask is None else mask & earlier
        return mask

    def _check_width(self, name: str, given: Tensor) -> None:
        width = self.out_proj.in_features
        if given.shape[-1] != width:
            raise ValueError(f"{name} are {given.shape[-1]} wide, and model_dim is {width}")


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
    angles = torch.outer(torch.arange(start, start + length), _frequencies(width))
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
