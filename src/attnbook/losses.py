"""The loss that training minimises: cross-entropy with label smoothing."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = ["smoothed_cross_entropy"]


def smoothed_cross_entropy(
    logits: Float[Tensor, "tokens words"],
    answers: Int[Tensor, " tokens"],
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """``-Σ_w q(w) log p(w)``, ``q = (1 - ε)·onehot(y) + ε/|V|`` (Szegedy et al. 2016, section 7).

    Returns:
        The mean over tokens, which training minimises, and the sum over tokens of ``-log p(y)``,
        which is reported; both in nats.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    nats = functional.nll_loss(log_probs, answers, reduction="sum")
    objective = (1 - label_smoothing) * nats / len(answers)
    if label_smoothing:
        objective = objective - label_smoothing * log_probs.mean()
    return objective, nats.detach()
