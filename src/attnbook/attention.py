"""Scores, softmax, weighted sum: one way of attending, whatever the score.

The three steps of Bahdanau et al. (2015, equations 5 and 6) and of Luong et al. (2015,
equation 7), for a query ``s``, keys ``h_1 … h_n`` and values ``v_1 … v_n``::

    scores   e_i = score(s, h_i)
    weights  α_i = exp(e_i) / Σ_k exp(e_k)
    context  c   = Σ_i α_i v_i

In a recurrent translator the query is the decoder's state, and the encoder's states are both
the keys and the values. :func:`attend` is the same with the scaled dot product and nothing to
learn: a dictionary that gives back a mixture of its values.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attnbook.masks import check_mask
from attnbook.scores import Score, scaled_dot_scores
from attnbook.seam import exchangeable

__all__ = [
    "Attention",
    "AttentionOutput",
    "attend",
    "forbid",
    "masked_softmax",
    "softmax_or_zeros",
]


def masked_softmax(
    scores: Float[Tensor, "*batch target source"],
    mask: Bool[Tensor, ...] | None = None,
) -> Float[Tensor, "*batch target source"]:
    """Softmax over the source, restricted to where ``mask`` is True.

    ``α_i = exp(e_i) / Σ_k exp(e_k)``, the sum over the allowed positions alone. A masked
    position gets exactly 0. A row that may look nowhere gets zeros, and zero gradients, instead
    of the NaN that 0/0 would give.

    Args:
        scores: any float dtype.
        mask: bool, True = may be attended to, broadcastable to ``scores``; None allows all.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask does not broadcast to the scores.
    """
    return softmax_or_zeros(forbid(scores, mask), mask)


def forbid(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The scores with −∞ where the mask is False, so that ``exp(-∞) = 0`` is left of them.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask does not broadcast to the scores.
    """
    if mask is None:
        return scores
    check_mask(mask, scores)
    return scores.masked_fill(~mask, -torch.inf)


@exchangeable
def softmax_or_zeros(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of scores that are −∞ where the mask is False; zeros for a row that may look nowhere.

    The softmax of a row of −∞ is NaN, forward and backward: such a row gets zeros as scores, and
    loses its weights afterwards.
    """
    if mask is None:
        return torch.softmax(scores, dim=-1)
    nowhere = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(nowhere, 0.0), dim=-1)
    return weights.masked_fill(nowhere, 0.0)


class AttentionOutput(NamedTuple):
    """What attending gives: the answer, and how it came about."""

    context: Float[Tensor, "*batch target value_dim"]
    weights: Float[Tensor, "*batch target source"]
    scores: Float[Tensor, "*batch target source"]


def attend(
    queries: Float[Tensor, "*batch target query_dim"],
    keys: Float[Tensor, "*batch source key_dim"],
    values: Float[Tensor, "*batch source value_dim"],
    mask: Bool[Tensor, ...] | None = None,
) -> AttentionOutput:
    """Scaled dot-product attention, ``softmax(Q Kᵀ / √d) V`` (Vaswani et al. 2017, equation 1).

    A dictionary gives the value whose key equals the query. This one gives every value, each as
    much as its key resembles the query, so that there is no ``KeyError`` and the answer can be
    differentiated.

    Args:
        queries: what is looked up, one vector for each target position.
        keys: what queries are compared with; as wide as they.
        values: what is given back, one vector for each key.
        mask: bool, True = may be attended to; see :func:`masked_softmax`.

    Raises:
        TypeError: the mask is not bool.
        ValueError: queries and keys differ in width, or the mask does not fit.
    """
    return _weighted_sum(scaled_dot_scores(queries, keys), values, mask)


def _weighted_sum(
    scores: Tensor, values: Tensor, mask: Tensor | None, temperature: float = 1.0
) -> AttentionOutput:
    """What follows the score: softmax and weighted sum."""
    scores = forbid(scores, mask)
    weights = softmax_or_zeros(scores if temperature == 1 else scores / temperature, mask)
    return AttentionOutput(weights @ values, weights, scores)


class Attention(nn.Module):
    """Attend to every source position, as much as the score says.

    Args:
        score: how a query and a key are compared, for instance
            :class:`~attnbook.scores.DotScore`.
        temperature: the scores are divided by it before the softmax. 1 is the formula of the
            papers; less makes the weights sharper, more makes them flatter. It is there to be
            played with on a trained model.
    """

    def __init__(self, score: Score, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.score = score
        self.temperature = temperature

    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
        values: Float[Tensor, "*batch source value_dim"],
        mask: Bool[Tensor, ...] | None = None,
        projected_keys: Float[Tensor, "*batch source projected_dim"] | None = None,
    ) -> AttentionOutput:
        """Score, softmax, weighted sum.

        Args:
            queries: what the keys are compared with.
            keys: one vector for each source position.
            values: what is summed up, one vector for each key.
            mask: bool, True = may be attended to; see :func:`masked_softmax`.
            projected_keys: what ``score.project_keys(keys)`` gave, for a caller who attends step
                by step.
        """
        if projected_keys is None:
            projected_keys = self.score.project_keys(keys)
        return self.weighted_sum(self.score.score(queries, projected_keys), values, mask)

    def weighted_sum(
        self,
        scores: Float[Tensor, "*batch target source"],
        values: Float[Tensor, "*batch source value_dim"],
        mask: Bool[Tensor, ...] | None = None,
    ) -> AttentionOutput:
        """What follows the score: softmax and weighted sum."""
        return _weighted_sum(scores, values, mask, self.temperature)
