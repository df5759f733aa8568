"""Additive scores without the tensor of all pairs: computed twice rather than kept.

``vᵀ tanh(q_t + k_i)`` for every target position t and source position i passes through
``batch × target × source × attention_dim`` numbers, by far the largest tensor in training a
translator. :func:`attnbook.scores.additive_scores` writes it down and keeps it for the backward
pass. Here a few target positions are done at a time, and the backward pass computes their tanh
once more (Chen et al. 2016, "Training deep nets with sublinear memory cost"). What is computed
again stays in the processor's cache, which is why it costs no time. The tests hold both equal,
forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["recomputed_additive_scores"]

# Numbers in one block of pairs, at 4 bytes about the second-level cache of a core.
BLOCK = 1 << 18


def recomputed_additive_scores(
    queries: Float[Tensor, "*batch target attention_dim"],
    keys: Float[Tensor, "*batch source attention_dim"],
    v: Float[Tensor, " attention_dim"],
) -> Float[Tensor, "*batch target source"]:
    """``vᵀ tanh(q + k)`` for every pair, block by block; queries and keys are projected already."""
    dtype = torch.promote_types(queries.dtype, keys.dtype)
    leading = queries.shape[:-2]
    scores: Tensor = _Recomputed.apply(
        queries.to(dtype).reshape(-1, *queries.shape[-2:]),
        keys.to(dtype).reshape(-1, *keys.shape[-2:]),
        v.to(dtype),
    )
    return scores.reshape(*leading, *scores.shape[1:])


class _Recomputed(torch.autograd.Function):
    """Keeps queries, keys and v for the backward pass, and no pair."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys, v)
        scores = queries.new_empty(len(queries), queries.shape[1], keys.shape[1])
        for block in _blocks(queries, keys):
            scores[:, block] = _tanh(queries[:, block], keys) @ v
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        queries, keys, v = ctx.saved_tensors
        to_queries = torch.empty_like(queries)
        to_keys = torch.zeros_like(keys)
        to_v = torch.zeros_like(v)
        for block in _blocks(queries, keys):
            tanh = _tanh(queries[:, block], keys)
            upstream = gradient[:, block].unsqueeze(-1)
            to_v += (upstream.flatten().unsqueeze(0) @ tanh.flatten(0, 2)).squeeze(0)
            # d tanh(x) / dx = 1 - tanh(x)²; v is multiplied in where the pairs are summed up.
            slope = tanh.square_().neg_().add_(1).mul_(upstream)
            to_queries[:, block] = slope.sum(dim=2)
            to_keys += slope.sum(dim=1)
        return to_queries.mul_(v), to_keys.mul_(v), to_v


def _tanh(queries: Tensor, keys: Tensor) -> Tensor:
    return (queries.unsqueeze(2) + keys.unsqueeze(1)).tanh_()


def _blocks(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Slices of target positions that fit a block together."""
    size = max(1, BLOCK // max(1, keys.numel()))
    for start in range(0, queries.shape[1], size):
        yield slice(start, start + size)
