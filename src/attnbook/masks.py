"""Which positions a step may look at.

A mask is a bool tensor in which **True means: may be attended to**. Masks broadcast to
``(batch, [heads,] target, source)`` and are combined with ``&``.
:func:`torch.nn.functional.scaled_dot_product_attention`, Hugging Face and Keras read a bool mask
in the same way; :class:`torch.nn.MultiheadAttention` reads it the other way round.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["causal_mask", "check_mask", "padding_mask"]


def padding_mask(lengths: Int[Tensor, " batch"], size: int) -> Bool[Tensor, "batch size"]:
    """True at the real tokens of each sentence, False at the padding behind them.

    Args:
        lengths: how many real tokens each sentence has.
        size: the padded length.

    Raises:
        ValueError: a length is below 0 or above ``size``.
    """
    if lengths.numel() and (int(lengths.min()) < 0 or int(lengths.max()) > size):
        raise ValueError(
            f"lengths must lie between 0 and the padded length {size}, "
            f"got {int(lengths.min())} to {int(lengths.max())}"
        )
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def causal_mask(size: int, before: int = 0) -> Bool[Tensor, "size source"]:
    """True where position t, a row, may look at position i, a column: at i ≤ t.

    What a position sees is then what stood before it, and itself (Vaswani et al. 2017, section
    3.2.3).

    Args:
        size: positions that look, the last ones of the sequence.
        before: positions that stand before them and are seen by all; ``source`` is their sum.

    Raises:
        ValueError: ``size`` is below 1, or ``before`` below 0.
    """
    if size < 1:
        raise ValueError(f"a causal mask needs at least one position, got size {size}")
    if before < 0:
        raise ValueError(f"there cannot be fewer than 0 positions before, got {before}")
    return torch.ones(size, before + size, dtype=torch.bool).tril(before)


def check_mask(mask: Tensor, scores: Tensor) -> None:
    """Refuse a mask that is not bool or does not broadcast to the scores' shape.

    Raises:
        TypeError: the mask is not bool. A float or integer mask is refused rather than converted,
            since 1 means "look" in some libraries and "do not look" in others.
        ValueError: the shapes do not fit.
    """
    if mask.dtype != torch.bool:
        raise TypeError(
            f"a mask must be bool with True = may be attended to, got {mask.dtype}; "
            "compare it first, for instance mask == 1"
        )
    batched = scores.ndim > 2 and scores.shape[0] > 1
    if batched and mask.ndim == 2 and scores.shape[0] == scores.shape[-2]:
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)} may be (batch, source) or (target, source) for "
            f"scores of shape {tuple(scores.shape)}; say which: a padding mask is "
            "mask.unsqueeze(1), one that holds for every sentence mask.unsqueeze(0)"
        )
    try:
        mask.expand(scores.shape)
    except RuntimeError as error:
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)} does not broadcast to scores of shape "
            f"{tuple(scores.shape)}; a padding mask (batch, source) needs a target axis: "
            "mask.unsqueeze(1)"
        ) from error
