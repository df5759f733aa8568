"""How well does a key answer a query: the score functions.

A score maps queries ``(…, target, query_dim)`` and keys ``(…, source, key_dim)`` to one number
for each pair, ``(…, target, source)``. What happens to the numbers afterwards (mask, softmax,
weighted sum) is the same for every score and lives in :mod:`attnbook.attention`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["DotScore", "ScaledDotScore", "Score"]


class Score(nn.Module, ABC):
    """A function of a query and a key that is large where the key answers the query."""

    @abstractmethod
    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The score of every query with every key."""


@final
class DotScore(Score):
    """``score(s, h) = sᵀ h`` (Luong et al. 2015, equation 8, *dot*).

    It has no parameters, and needs queries and keys of equal width.
    """

    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The dot product of every query with every key."""
        _check_widths(queries, keys)
        return queries @ keys.transpose(-2, -1)


@final
class ScaledDotScore(Score):
    """``score(s, h) = sᵀ h / √d``, d the width of the keys (Vaswani et al. 2017, equation 1).

    The dot product of two vectors of d independent numbers with mean 0 and variance 1 has
    variance d; dividing by √d brings it back to 1.
    """

    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
    ) -> Float[Tensor, "*batch target source"]:
        """The dot product of every query with every key, over the root of their width."""
        _check_widths(queries, keys)
        return queries @ keys.transpose(-2, -1) / sqrt(keys.shape[-1])


def _check_widths(queries: Tensor, keys: Tensor) -> None:
    if queries.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "a dot product needs queries and keys of equal width, got "
            f"query_dim={queries.shape[-1]} and key_dim={keys.shape[-1]}"
        )
