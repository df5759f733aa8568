"""Every model of the course: how fast it trains, and how fast it translates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from attnbook.benchmark.section import Section, Table, cell, clock, number_at, threads_key
from attnbook.benchmark.turns import Work
from attnbook.benchmark.workload import search
from attnbook.vocabulary import EOS

__all__ = ["BeamSection", "GreedySection", "TrainingSection"]

# Added to the logit of <eos>, so that an untrained model never ends a sentence of itself.
NEVER = -1e4


class _ModelsSection(Section):
    """All models take turns, for each way of batching; units a second of each.

    Attributes:
        unit: what is counted.
        did: what was done with it, as a title says it.
    """

    unit: ClassVar[str]
    did: ClassVar[str]

    @abstractmethod
    def works(self, batching: str) -> dict[str, Work]:
        """One round's work of each model."""

    def measure(self, threads: int) -> None:
        """By batching, number of threads and model."""
        key = threads_key(threads)
        for batching in self.plan.batching:
            what = f"{self.name}, {batching}, {key}"
            rates = self.bench.take_turns(what, self.works(batching))
            measured = self.result.setdefault(batching, {})
            measured[key] = {name: rate.to_dict(self.unit) for name, rate in rates.items()}

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """One for each number of threads: a model in each row, a way of batching in each column."""
        measured: Mapping[str, Any] = result.get(cls.name, {})
        per, in_words = clock(result)
        keys = dict.fromkeys(key for by_threads in measured.values() for key in by_threads)
        found = []
        for key in keys:
            names = dict.fromkeys(name for one in measured.values() for name in one.get(key, {}))
            rows = [
                (
                    name,
                    *(
                        cell(number_at(measured, batching, key, name, f"{cls.unit}_per_{per}"))
                        for batching in measured
                    ),
                )
                for name in names
            ]
            count = key.removeprefix("threads")
            threads = f"; {count} thread{'' if count == '1' else 's'}" if "cpu" in per else ""
            title = f"{cls.unit.capitalize()} {cls.did} in a {in_words}{threads}"
            found.append(Table(title, ("model", *measured), rows))
        return found


class TrainingSection(_ModelsSection):
    """How many target tokens a model learns from in a second."""

    name = "training"
    unit = "tokens"
    did = "learned from"

    def works(self, batching: str) -> dict[str, Work]:
        """One training step for each batch."""
        batches = self.workload.batches(batching)

        def work(name: str) -> Work:
            translator = self.workload.build(name).train()
            optimizer = self.workload.optimizer(translator)
            return lambda: sum(self.workload.step(translator, one, optimizer) for one in batches)

        return {name: work(name) for name in self.plan.models}


class _SearchSection(_ModelsSection):
    """How many sentences an untrained model translates in a second.

    It never ends a sentence of itself, and so writes exactly as many words as the right answers
    have.
    """

    unit = "sentences"

    @property
    @abstractmethod
    def beam_size(self) -> int:
        """1 is greedy search."""

    def works(self, batching: str) -> dict[str, Work]:
        """All sentences of the round, once."""
        batches = self.workload.to_translate(batching)

        def work(name: str) -> Work:
            translator = self.workload.build(name).eval()
            with torch.no_grad():
                translator.decoder.output.bias[EOS] = NEVER

            def translate() -> float:
                for batch in batches:
                    search(translator, batch, self.beam_size, batch.target_lengths.tolist())
                return float(sum(map(len, batches)))

            return translate

        return {name: work(name) for name in self.plan.models}


class GreedySection(_SearchSection):
    """Greedy search."""

    name = "greedy"
    did = "translated by greedy search"

    @property
    def beam_size(self) -> int:
        """One beginning is kept."""
        return 1


class BeamSection(_SearchSection):
    """Beam search."""

    name = "beam"
    did = "translated by beam search"

    @property
    def beam_size(self) -> int:
        """As many beginnings as the plan says."""
        return self.plan.beam_size
