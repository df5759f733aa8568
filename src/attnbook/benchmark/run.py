"""A run of the benchmark: all sections of a plan, in order."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from attnbook.benchmark.attention import (
    TORCH_ATTENTION,
    AttentionPeer,
    AttentionSection,
    HeadsSection,
)
from attnbook.benchmark.levers import LeversSection
from attnbook.benchmark.machine import machine
from attnbook.benchmark.memory import MemorySection
from attnbook.benchmark.models import BeamSection, GreedySection, TrainingSection
from attnbook.benchmark.peers import Peer, PeersSection, Sizes
from attnbook.benchmark.plan import Plan
from attnbook.benchmark.roofline import RooflineSection
from attnbook.benchmark.section import Bench, Section
from attnbook.benchmark.turns import use_threads
from attnbook.benchmark.workload import Workload

__all__ = ["ALL_SECTIONS", "Benchmark"]

# In the order in which they are measured and shown.
ALL_SECTIONS: tuple[type[Section], ...] = (
    TrainingSection,
    RooflineSection,
    PeersSection,
    GreedySection,
    BeamSection,
    AttentionSection,
    HeadsSection,
    LeversSection,
    MemorySection,
)


class Benchmark:
    """A plan's sections, ready to run.

    Args:
        plan: what to do.
        peers: what builds each other library's model, by name; one whose package is missing is
            named as absent.
        attention_peers: the same for attention alone, given its width.
        progress: show a bar.
        say: gets a line about what cannot be measured.

    Attributes:
        result: what has been measured so far, as JSON takes it.

    Raises:
        ValueError: a model cannot have the plan's sizes, or a peer cannot be built.
    """

    def __init__(
        self,
        plan: Plan,
        peers: Mapping[str, Callable[[Sizes], Peer]] | None = None,
        attention_peers: Mapping[str, Callable[[int], AttentionPeer]] = TORCH_ATTENTION,
        *,
        progress: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.plan = plan
        workload = Workload(plan)
        self.result: dict[str, Any] = {
            "runs": [],
            "benchmark": describe(workload),
            **{kind.name: {} for kind in ALL_SECTIONS},
            "absent": {},
            "not_run": {},
        }
        bench = Bench(workload, self.result, peers or {}, attention_peers, progress, say)
        self.bench = bench
        self.sections = [kind(bench) for kind in ALL_SECTIONS if kind.is_in(plan)]

    def run(self) -> dict[str, Any]:
        """Measure everything; what is measured first is there when the rest is interrupted."""
        counts = self.plan.threads if self.bench.device.type == "cpu" else (1,)
        chosen = []
        for section in self.sections:
            if reason := section.why_not(counts):
                self.result["not_run"][section.name] = reason
                self.bench.say(f"{section.name} is left out: {reason}")
            else:
                chosen.append(section)
        for count in counts:
            with use_threads(count):
                for section in chosen:
                    if count == 1 or not section.one_thread:
                        section.measure(count)
        return self.result


def describe(workload: Workload) -> dict[str, Any]:
    """How and on what the numbers come about: plan, vocabularies, batches, machine."""
    batches = {batching: workload.batches(batching) for batching in workload.plan.batching}
    return {
        "plan": asdict(workload.plan),
        "vocabulary": [len(workload.source), len(workload.target)],
        "batches": {
            batching: {
                "sentences": statistics.fmean(map(len, made)),
                "tokens": statistics.fmean(batch.target_tokens for batch in made),
                "padding": 1
                - sum(batch.target_tokens for batch in made)
                / sum(batch.target_in.numel() for batch in made),
            }
            for batching, made in batches.items()
        },
        "machine": machine(workload.device),
    }
