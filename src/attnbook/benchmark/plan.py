"""What a run of the benchmark does: its sections, models, sizes and number of rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BATCHING", "DATA", "MODELS", "PRECISIONS", "SECTIONS", "Plan"]

# Every decoder and score of the course, by the names that its tables use.
MODELS: dict[str, dict[str, Any]] = {
    "fixed": {"decoder": "cho"},
    "sutskever": {"decoder": "sutskever"},
    "dot": {"decoder": "luong", "score": "dot"},
    "general": {"decoder": "luong", "score": "general"},
    "concat": {"decoder": "luong", "score": "concat"},
    "dot-feeding": {"decoder": "luong", "score": "dot", "input_feeding": True},
    "general-feeding": {"decoder": "luong", "score": "general", "input_feeding": True},
    "concat-feeding": {"decoder": "luong", "score": "concat", "input_feeding": True},
    "additive": {"decoder": "bahdanau", "score": "additive"},
    "transformer": {"decoder": "transformer", "layers": 3, "feedforward_dim": 512},
}
BATCHING = ("random", "bucketed")
SECTIONS = ("training", "peers", "greedy", "beam", "attention", "heads", "levers", "memory")
DATA = ("multi30k", "grammar", "synthetic")
PRECISIONS = ("fp32", "bf16")

# The smallest and the largest value of each number. A larger one is a slip of the keyboard: it
# would take days, or more memory than a machine has.
BOUNDS = {
    "repeat": (1, 1_000),
    "words": (1, 200_000),
    "embedding_dim": (1, 8_192),
    "hidden_dim": (1, 8_192),
    "batch_tokens": (1, 10_000_000),
    "batch_sentences": (1, 100_000),
    "batches": (1, 10_000),
    "sentences": (1, 100_000),
    "beam_size": (2, 100),
    "pretraining_steps": (0, 100_000),
    "seed": (0, 2**32 - 1),
}
MOST_THREADS = 1_024


@dataclass(frozen=True)
class Plan:
    """What a run of the benchmark does.

    Attributes:
        only: sections of the result to measure; by default all.
        models: names of :data:`MODELS`.
        batching: ``"random"`` and ``"bucketed"``, how sentences are put into batches.
        threads: numbers of threads, one after the other.
        repeat: rounds; each reported number is a median over them.
        data: ``"multi30k"``, ``"grammar"`` or ``"synthetic"``.
        words: vocabulary of synthetic data.
        embedding_dim: width of a word's vector.
        hidden_dim: width of a state.
        dropout: of our own models; pairs of peers have none, so that both compute the same.
        batch_tokens: a bucketed batch, sentences times longest sentence.
        batch_sentences: sentences of a random batch.
        batches: batches that each model learns from in a round.
        sentences: sentences that each model translates in a round.
        beam_size: of beam search.
        pretraining_steps: steps that a peer's weights are trained before it translates.
        device: ``"cpu"`` or ``"cuda"``; a GPU is measured with one thread.
        precision: ``"fp32"``, or ``"bf16"`` for mixed precision.
        seed: of weights, batches and synthetic data.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    only: tuple[str, ...] = SECTIONS
    models: tuple[str, ...] = tuple(MODELS)
    batching: tuple[str, ...] = BATCHING
    threads: tuple[int, ...] = (1, 2)
    repeat: int = 5
    data: str = "multi30k"
    words: int = 6000
    embedding_dim: int = 128
    hidden_dim: int = 256
    dropout: float = 0.0
    batch_tokens: int = 1600
    batch_sentences: int = 100
    batches: int = 4
    sentences: int = 128
    beam_size: int = 5
    pretraining_steps: int = 300
    device: str = "cpu"
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run, by name."""
        self._check_names()
        for name, (least, most) in BOUNDS.items():
            _check_number(name, getattr(self, name), least, most)
        if not self.threads:
            raise ValueError("threads must hold at least one number")
        for count in self.threads:
            _check_number("threads", count, 1, MOST_THREADS)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {self.dropout}")

    def _check_names(self) -> None:
        for name, given, known in (
            ("only", self.only, SECTIONS),
            ("models", self.models, tuple(MODELS)),
            ("batching", self.batching, BATCHING),
            ("data", (self.data,), DATA),
            ("precision", (self.precision,), PRECISIONS),
        ):
            if not given:
                raise ValueError(f"{name} must name at least one of {', '.join(known)}")
            if unknown := [one for one in given if one not in known]:
                raise ValueError(f"{name} must be among {', '.join(known)}; got {unknown[0]!r}")


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least} and {most:,}, got {value:,}")
