"""What a lab trains on, by device: minutes on two cores, a larger task where there is a GPU.

A GPU is worth it only where it has enough to do. A step of a small model is some hundred small
operations; starting each costs a GPU the same, whether a batch has 500 words or 8,000. So a lab
does not run the same training there, only faster. It takes larger batches of more and longer
sentences, or real ones, and ends with a better model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnbook.corpora import SentencePair, multi30k
from attnbook.training import TrainingConfig

__all__ = ["Data", "Size", "by_device", "captions"]

# To try a lab out: `tiny` goes the way of a GPU with little of everything, on any device.
TINY = {"pairs": 600, "epochs": 1, "steps": 6, "width": 32}


@dataclass(frozen=True)
class Size:
    """How much a lab trains.

    Attributes:
        pairs: sentences to learn from.
        longest: German words of the longest.
        epochs: passes over them.
        batch_tokens: the largest batch, sentences times longest sentence.
        learning_rate: of Adam, at its peak.
        precision: ``"fp32"``, or ``"bf16"`` for mixed precision.
        width: of a state, where a lab leaves it open.
        steps: batches to learn from, where a lab counts these and not epochs.
    """

    pairs: int
    longest: int
    epochs: int = 1
    batch_tokens: int = 600
    learning_rate: float = 1e-2
    precision: str = "fp32"
    width: int = 64
    steps: int = 0

    def training(self, **changes: Any) -> TrainingConfig:
        """The settings of a training run of this size, without label smoothing."""
        settings = TrainingConfig(
            epochs=self.epochs,
            batch_tokens=self.batch_tokens,
            learning_rate=self.learning_rate,
            precision=self.precision,
            label_smoothing=0.0,
        )
        return replace(settings, **changes)


# What a recurrent model gets on a GPU: some 900 steps, in batches of some 800 sentences.
LARGE = Size(pairs=30_000, longest=12, epochs=24, batch_tokens=8_192)


@dataclass(frozen=True)
class Data:
    """Sentence pairs to learn from, to choose by, and to test with."""

    train: list[SentencePair]
    val: list[SentencePair]
    test: list[SentencePair]


def _wanted(device: torch.device) -> str:
    """The size that ``ATTNBOOK_SIZE`` names, else that of the device."""
    wanted = os.environ.get("ATTNBOOK_SIZE") or ("cpu" if device.type in ("cpu", "mps") else "gpu")
    if wanted not in ("cpu", "gpu", "tiny"):
        raise ValueError(f"ATTNBOOK_SIZE must be cpu, gpu or tiny; got {wanted!r}")
    return wanted


def by_device(device: torch.device, *, cpu: Size, gpu: Size = LARGE) -> Size:
    """The size that suits the device. The environment variable ``ATTNBOOK_SIZE`` overrules it."""
    wanted = _wanted(device)
    if wanted == "tiny":
        return replace(gpu, **{name: min(getattr(gpu, name), most) for name, most in TINY.items()})
    return cpu if wanted == "cpu" else gpu


def captions(device: torch.device) -> Data | None:
    """Real captions (Multi30k) where there is a GPU and they can be had; elsewhere None."""
    wanted = _wanted(device)
    if wanted == "cpu":
        return None
    try:
        parts = [multi30k(split) for split in ("train", "val", "test")]
    except (ConnectionError, FileNotFoundError) as error:
        print(f"no captions here, so the grammar's sentences: {error}")
        return None
    return Data(*(part[: TINY["pairs"]] if wanted == "tiny" else part for part in parts))
