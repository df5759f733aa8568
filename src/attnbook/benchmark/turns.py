"""Taking turns: what is compared works round by round, and a median over rounds is reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

__all__ = ["Rate", "Sample", "Work", "forward_and_backward", "take_turns", "use_threads", "versus"]

# Does its work once, and says how many units of it that was: tokens, sentences, calls.
Work = Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """One round's work of one contestant; ``cpu`` is None where the processor only waits.

    Attributes:
        units: how much was done.
        cpu: seconds of the processor.
        wall: seconds by the clock.
    """

    units: float
    cpu: float | None
    wall: float


@dataclass(frozen=True)
class Rate:
    """A median over rounds, and the slowest and fastest; units a second.

    Attributes:
        cpu: per second of the processor; None on a GPU.
        wall: per second by the clock.
        low: the slowest round, by the time that comparisons go by.
        high: the fastest.
        rounds: how many there were.
    """

    cpu: float | None
    wall: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Rate:
        """From the rounds' samples."""
        wall = [one.units / max(one.wall, 1e-9) for one in samples]
        cpu = [one.units / max(one.cpu, 1e-9) for one in samples if one.cpu is not None]
        compared = cpu or wall
        return cls(
            statistics.median(cpu) if cpu else None,
            statistics.median(wall),
            min(compared),
            max(compared),
            len(samples),
        )

    @property
    def compared(self) -> float:
        """By the time that comparisons go by: the processor's, and on a GPU the clock's."""
        return self.wall if self.cpu is None else self.cpu

    def to_dict(self, unit: str) -> dict[str, float]:
        """For the result: by the clock and, on a CPU, by the processor's time."""
        cpu = {} if self.cpu is None else {f"{unit}_per_cpu_second": self.cpu}
        return {
            f"{unit}_per_second": self.wall,
            **cpu,
            "low": self.low,
            "high": self.high,
            "rounds": self.rounds,
        }


def take_turns(
    works: Mapping[str, Work], rounds: int, device: torch.device, bar: tqdm[Any] | None = None
) -> dict[str, list[Sample]]:
    """Let all work in turn, round by round, every other round in reverse.

    Args:
        works: the work of each contestant, by name.
        rounds: how often; one more round beforehand is not counted.
        device: where the work is done; the clock waits until it has done all it was given.
        bar: moved on after each piece of work.
    """
    finish = torch.get_device_module(device).synchronize
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    for number in range(-1, rounds):
        order = list(works)
        for name in order if number % 2 == 0 else reversed(order):
            finish()
            cpu, wall = time.process_time(), time.perf_counter()
            units = works[name]()
            finish()
            wall = time.perf_counter() - wall
            spent = time.process_time() - cpu if device.type == "cpu" else None
            if number >= 0:
                samples[name].append(Sample(units, spent, wall))
            if bar is not None:
                bar.update()
    return samples


def versus(rates: Mapping[str, Rate], unit: str) -> dict[str, Any]:
    """For the result: how many times as fast ``ours`` is as ``theirs``, and both rates."""
    return {
        "ratio": rates["ours"].compared / rates["theirs"].compared,
        "wall_ratio": rates["ours"].wall / rates["theirs"].wall,
        **{name: rate.to_dict(unit) for name, rate in rates.items()},
    }


def forward_and_backward(forward: Callable[[], Tensor], module: nn.Module) -> Work:
    """A work of one unit: a number, and the gradients of the module that made it."""

    def work() -> float:
        forward().backward()
        module.zero_grad(set_to_none=True)
        return 1.0

    return work


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """So many threads inside torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
