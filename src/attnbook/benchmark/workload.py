"""What is worked on: a plan's sentences, batches and models, on its device."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from attnbook import grammar
from attnbook.batches import Batch, bucketed_batches, collate, random_batches
from attnbook.benchmark.plan import MODELS, Plan
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import beam_search, greedy_search
from attnbook.seq2seq import Translator
from attnbook.settings import TranslatorConfig, config_of
from attnbook.vocabulary import Vocabulary

__all__ = ["Workload", "search", "update"]


class Workload:
    """The sentences of a plan, and what makes batches and models of them.

    Attributes:
        plan: what the run does.
        device: where every tensor and model is.
        source: vocabulary of the source side.
        target: vocabulary of the target side.
        examples: all pairs as ids.

    Raises:
        ValueError: a model cannot have the plan's sizes, or the device cannot be timed.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.device = torch.device(plan.device)
        if not _can_be_timed(self.device):
            raise ValueError(f"device {plan.device} cannot be timed; use cpu or cuda")
        for name in plan.models:
            self.config(name)
        pairs = sentence_pairs(plan)
        least = 2 if plan.data == "multi30k" else 1
        self.source, self.target = (
            Vocabulary.from_sentences(side, min_count=least)
            for side in zip(*((pair.source, pair.target) for pair in pairs), strict=True)
        )
        self.examples = [
            (self.source.encode(pair.source), self.target.encode(pair.target)) for pair in pairs
        ]

    def config(self, name: str) -> TranslatorConfig:
        """The settings of one of :data:`~attnbook.benchmark.plan.MODELS`, in the plan's sizes."""
        plan, settings = self.plan, MODELS[name]
        sizes: dict[str, Any] = {"hidden_dim": plan.hidden_dim, "dropout": plan.dropout}
        if settings["decoder"] != "transformer":
            sizes |= {"embedding_dim": plan.embedding_dim, "bidirectional": True}
        return config_of(sizes | settings)

    def build(self, name: str) -> Translator:
        """An untrained model."""
        torch.manual_seed(self.plan.seed)
        translator = Translator.from_config(self.config(name), self.source, self.target, name=name)
        return translator.to(self.device)

    def batches(self, batching: str) -> list[Batch]:
        """The batches that a round learns from; the same for everybody."""
        plan, examples = self.plan, self.examples
        if batching == "random":
            shuffled = random_batches(examples, plan.batch_sentences, seed=plan.seed)
            made = [batch for batch, _ in zip(shuffled, range(plan.batches), strict=False)]
        else:
            cut = bucketed_batches(examples, plan.batch_tokens, seed=plan.seed)
            made = [collate([examples[one] for one in rows]) for rows in cut[: plan.batches]]
        return [batch.to(self.device) for batch in made]

    def to_translate(self, batching: str) -> list[Batch]:
        """The sentences that a round translates, in two batches, at random or by length."""
        plan = self.plan
        order = list(range(len(self.examples)))
        random.Random(plan.seed + 1).shuffle(order)
        chosen = [self.examples[number] for number in order[: plan.sentences]]
        if batching == "bucketed":
            chosen.sort(key=lambda pair: len(pair[0]))
        size = max(1, plan.sentences // 2)
        cut = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        return [collate(part).to(self.device) for part in cut]

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """As :mod:`attnbook.training` sets it up."""
        return torch.optim.Adam(
            model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9, fused=True
        )

    def step(self, translator: Translator, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        """One training step: loss, gradients, clipping, update; how many tokens it was."""
        low = self.plan.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
            objective = translator.loss(batch).objective
        update(translator, objective, optimizer)
        return float(batch.target_tokens)


def update(model: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Gradients of a loss, clipped, and one step of the optimizer."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def search(
    translator: Translator, batch: Batch, beam_size: int, limits: Sequence[int]
) -> list[tuple[int, ...]]:
    """The best translation of each sentence, as ids.

    Args:
        translator: what translates.
        batch: its source side is translated.
        beam_size: 1 is greedy search.
        limits: most words of each translation, ``<eos>`` counted.
    """
    with torch.inference_mode():
        encoded = translator.encode(batch.source, batch.source_lengths)
    if beam_size == 1:
        return [found.ids for found in greedy_search(translator, encoded, limits)]
    ranked = beam_search(translator, encoded, limits, beam_size=beam_size)
    return [best.ids for best, *_ in ranked]


def sentence_pairs(plan: Plan) -> list[SentencePair]:
    """The plan's data: captions, the grammar's sentences, or words drawn by chance."""
    match plan.data:
        case "multi30k":
            return multi30k("train")
        case "grammar":
            return list(grammar.corpus(4000, seed=plan.seed).train)
    chance = random.Random(plan.seed)
    words = [f"w{number}" for number in range(plan.words)]

    def sentence(length: int) -> tuple[str, ...]:
        return tuple(chance.choices(words, k=length))

    # About as long as captions, and a translation about as long as its source.
    lengths = [max(2, round(chance.gauss(12, 4))) for _ in range(8 * plan.words)]
    return [
        SentencePair(sentence(length), sentence(max(2, length + chance.randint(-2, 3))))
        for length in lengths
    ]


def _can_be_timed(device: torch.device) -> bool:
    try:
        return hasattr(torch.get_device_module(device), "synchronize")
    except RuntimeError:
        return False
