"""How well does a key answer a query: the score functions.

A score maps queries ``(…, target, query_dim)`` and keys ``(…, source, key_dim)`` to one number
for each pair, ``(…, target, source)``. What happens to the numbers afterwards (mask, softmax,
weighted sum) is the same for every score and lives in :mod:`attnbook.attention`.

Written with a query s and a key h::

    dot         sᵀ h                      Luong et al. 2015, section 3.1
    scaled dot  sᵀ h / √d                 Vaswani et al. 2017, equation 1
    general     sᵀ W h                    Luong et al. 2015, section 3.1
    concat      vᵀ tanh(W [s; h])         Luong et al. 2015, section 3.1
    additive    vᵀ tanh(W s + U h)        Bahdanau et al. 2015, appendix A.1.2

A part of the work depends on the keys alone. A decoder that asks step by step has it done once,
by :meth:`Score.project_keys`, and only :meth:`Score.score` again at every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbook.seam import exchangeable

__all__ = [
    "AdditiveScore",
    "ConcatScore",
    "DotScore",
    "GeneralScore",
    "ScaledDotScore",
    "Score",
    "additive_scores",
    "scaled_dot_scores",
]


class Score(nn.Module, ABC):
    """A function of a query and a key that is large where the key answers the query."""

    def project_keys(
        self, keys: Float[Tensor, "*batch source key_dim"]
    ) -> Float[Tensor, "*batch source projected_dim"]:
        """What can be computed from the keys alone; here nothing."""
        return keys

    @abstractmethod
    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source projected_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The score of every query with every projected key."""

    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The score of every query with every key."""
        return self.score(queries, self.project_keys(keys))


@final
class DotScore(Score):
    """``score(s, h) = sᵀ h`` (Luong et al. 2015, section 3.1, *dot*).

    It has no parameters, and needs queries and keys of equal width.
    """

    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source projected_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The dot product of every query with every key."""
        check_widths(queries, projected_keys)
        return queries @ projected_keys.transpose(-2, -1)


@exchangeable
def scaled_dot_scores(
    queries: Float[Tensor, "*batch target query_dim"],
    keys: Float[Tensor, "*batch source key_dim"],
) -> Float[Tensor, "*batch target source"]:
    """``qᵀ k / √d`` for every pair of a query q and a key k (Vaswani et al. 2017, equation 1)."""
    check_widths(queries, keys)
    # Scaled before the product, which in 16 bits may be larger than any number.
    return (queries / sqrt(keys.shape[-1])) @ keys.transpose(-2, -1)


@final
class ScaledDotScore(Score):
    """``score(s, h) = sᵀ h / √d``, d the width of the keys (Vaswani et al. 2017, equation 1).

    The dot product of two vectors of d independent numbers with mean 0 and variance 1 has
    variance d; dividing by √d brings it back to 1.
    """

    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source projected_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The dot product of every query with every key, over the root of their width."""
        return scaled_dot_scores(queries, projected_keys)


@final
class GeneralScore(Score):
    """``score(s, h) = sᵀ W h`` (Luong et al. 2015, section 3.1, *general*).

    A dot product after the keys were carried into the queries' space by a learned matrix, so the
    widths may differ.

    Args:
        query_dim: width of a query.
        key_dim: width of a key.
    """

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(key_dim, query_dim, bias=False)

    def project_keys(
        self, keys: Float[Tensor, "*batch source key_dim"]
    ) -> Float[Tensor, "*batch source query_dim"]:
        """``W h`` for every key."""
        _check_width("key_dim", keys, self.key.in_features)
        projected_keys: Tensor = self.key(keys)
        return projected_keys

    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source query_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """``sᵀ (W h)`` for every pair."""
        _check_width("query_dim", queries, self.key.out_features)
        return queries @ projected_keys.transpose(-2, -1)


@exchangeable
def additive_scores(
    queries: Float[Tensor, "*batch target attention_dim"],
    keys: Float[Tensor, "*batch source attention_dim"],
    v: Float[Tensor, " attention_dim"],
) -> Float[Tensor, "*batch target source"]:
    """``vᵀ tanh(q + k)`` for every pair of a projected query q and a projected key k.

    The sum holds ``target × source × attention_dim`` numbers for each sentence; see
    :func:`attnbook.fast.additive_scores` for the same without that tensor.
    """
    pairs = queries.unsqueeze(-2) + keys.unsqueeze(-3)  # (*batch, target, source, attention_dim)
    return torch.tanh(pairs) @ v


@final
class AdditiveScore(Score):
    """``score(s, h) = vᵀ tanh(W s + U h)`` (Bahdanau et al. 2015, appendix A.1.2).

    A small network with one hidden layer looks at query and key together. It needs no common
    width: both are carried into ``attention_dim`` numbers of its own.

    Args:
        query_dim: width of a query.
        key_dim: width of a key.
        attention_dim: width of the hidden layer.
    """

    def __init__(self, query_dim: int, key_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_dim, attention_dim, bias=False)
        self.key = nn.Linear(key_dim, attention_dim, bias=False)
        self.v = nn.Parameter(torch.empty(attention_dim).uniform_(-0.1, 0.1))

    def project_keys(
        self, keys: Float[Tensor, "*batch source key_dim"]
    ) -> Float[Tensor, "*batch source attention_dim"]:
        """``U h`` for every key."""
        _check_width("key_dim", keys, self.key.in_features)
        projected_keys: Tensor = self.key(keys)
        return projected_keys

    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source attention_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """``vᵀ tanh(W s + (U h))`` for every pair."""
        _check_width("query_dim", queries, self.query.in_features)
        return additive_scores(self.query(queries), projected_keys, self.v)


@final
class ConcatScore(Score):
    """``score(s, h) = vᵀ tanh(W [s; h])`` (Luong et al. 2015, section 3.1, *concat*).

    Cut ``W`` between the columns that meet s and those that meet h, ``W = [W_s W_h]``. Then
    ``W [s; h] = W_s s + W_h h``: this is the additive score, and it is computed as one, because
    setting every query beside every key would copy each of them many times over.

    Args:
        query_dim: width of a query.
        key_dim: width of a key.
        attention_dim: width of the hidden layer.
    """

    def __init__(self, query_dim: int, key_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.query_dim = query_dim
        self.both = nn.Linear(query_dim + key_dim, attention_dim, bias=False)
        self.v = nn.Parameter(torch.empty(attention_dim).uniform_(-0.1, 0.1))

    def project_keys(
        self, keys: Float[Tensor, "*batch source key_dim"]
    ) -> Float[Tensor, "*batch source attention_dim"]:
        """``W_h h`` for every key."""
        _check_width("key_dim", keys, self.both.in_features - self.query_dim)
        return keys @ self.both.weight[:, self.query_dim :].T

    def score(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        projected_keys: Float[Tensor, "*batch source attention_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """``vᵀ tanh(W_s s + (W_h h))`` for every pair."""
        _check_width("query_dim", queries, self.query_dim)
        projected = queries @ self.both.weight[:, : self.query_dim].T
        return additive_scores(projected, projected_keys, self.v)


def check_widths(queries: Tensor, keys: Tensor) -> None:
    if queries.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "a dot product needs queries and keys of equal width, got "
            f"query_dim={queries.shape[-1]} and key_dim={keys.shape[-1]}; GeneralScore, "
            "ConcatScore and AdditiveScore take any two"
        )


def _check_width(name: str, tensor: Tensor, expected: int) -> None:
    if tensor.shape[-1] != expected:
        raise ValueError(f"this score was made for {name}={expected}, got {tensor.shape[-1]}")
