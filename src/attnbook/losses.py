"""The loss that training minimises: cross-entropy with label smoothing."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.seam import exchangeable

__all__ = ["output_cross_entropy", "smoothed_cross_entropy"]


def smoothed_cross_entropy(
    logits: Float[Tensor, "tokens words"],
    targets: Int[Tensor, " tokens"],
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """``-Σ_w q(w) log p(w)``, ``q = (1 - ε)·onehot(y) + ε/|V|`` (Szegedy et al. 2016, section 7).

    Returns:
        The mean over tokens, which training minimises, and the sum over tokens of ``-log p(y)``,
        which is reported; both in nats.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_probs = torch.log_softmax(logits, dim=-1, dtype=wide)
    nats = functional.nll_loss(log_probs, targets, reduction="sum")
    objective = (1 - label_smoothing) * nats / len(targets)
    if label_smoothing:
        objective = objective - label_smoothing * log_probs.mean()
    return objective, nats.detach()


@exchangeable
def output_cross_entropy(
    output: nn.Linear,
    readouts: Float[Tensor, "tokens readout_dim"],
    targets: Int[Tensor, " tokens"],
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The :func:`smoothed_cross_entropy` of an output layer's logits, ``W o + b``."""
    return smoothed_cross_entropy(output(readouts), targets, label_smoothing)
