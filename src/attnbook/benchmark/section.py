"""A section of the benchmark: it measures one thing, and turns what it measured into tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from tqdm.auto import tqdm

from attnbook.benchmark.plan import Plan
from attnbook.benchmark.turns import Rate, Work, take_turns
from attnbook.benchmark.workload import Workload

__all__ = ["TOLERANCE", "Bench", "Section", "Table", "cell", "clock", "number_at", "threads_key"]

Built = TypeVar("Built")

# Two implementations of one thing may differ by rounding, and by no more.
TOLERANCE = 1e-5


@dataclass
class Bench:
    """What all sections of a run share.

    Attributes:
        workload: data, batches and models.
        result: what has been measured so far, as JSON takes it; each section adds to it.
        peers: what builds each other library's model, by name.
        attention_peers: what builds each other library's attention, by name.
        progress: show a bar.
        say: gets a line about what cannot be measured.
    """

    workload: Workload
    result: dict[str, Any]
    peers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    attention_peers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    progress: bool = True
    say: Callable[[str], None] = lambda text: None

    @property
    def plan(self) -> Plan:
        """What the run does."""
        return self.workload.plan

    @property
    def device(self) -> torch.device:
        """Where everything is measured."""
        return self.workload.device

    def take_turns(self, what: str, works: Mapping[str, Work]) -> dict[str, Rate]:
        """Time some works side by side, in as many rounds as the plan says."""
        rounds = self.plan.repeat
        total = (rounds + 1) * len(works)
        with tqdm(total=total, desc=what, unit="turn", disable=not self.progress) as bar:
            samples = take_turns(works, rounds, self.device, bar)
        return {name: Rate.of(found) for name, found in samples.items()}

    def build_each(
        self, builders: Mapping[str, Callable[..., Built]], argument: Any
    ) -> dict[str, Built]:
        """What each builder makes on the device; one whose package is missing is named as absent.

        Raises:
            ValueError: a builder fails for another reason than a missing package.
        """
        found = {}
        for name, build in builders.items():
            torch.manual_seed(self.plan.seed)
            try:
                with self.device:
                    found[name] = build(argument)
            except ImportError as error:
                self.result["absent"][name] = str(error)
                self.say(f"{name} is left out: {error}")
            except Exception as error:
                raise ValueError(
                    f"peer {name} cannot be built: {type(error).__name__}: {error}"
                ) from error
        return found

    def refuse(self, entry: dict[str, Any], what: str, reason: str) -> None:
        """Note in the result why something was not timed, and say so."""
        entry["refused"] = reason
        self.say(f"{what}: not timed, {reason}")


@dataclass(frozen=True)
class Table:
    """A table of the result.

    Attributes:
        title: what it shows.
        head: names of the columns.
        rows: cells as text; a dash for what was not measured.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Section(ABC):
    """One part of a run.

    Attributes:
        name: its key in the result.
        measured_with: the section of the plan that it is measured with; by default itself.
        one_thread: whether it is measured with one thread alone.
        cpu_alone: why it cannot be measured on a GPU; empty where it can.
    """

    name: ClassVar[str]
    measured_with: ClassVar[str] = ""
    one_thread: ClassVar[bool] = False
    cpu_alone: ClassVar[str] = ""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.plan = bench.plan
        self.workload = bench.workload
        self.result: dict[str, Any] = bench.result.setdefault(self.name, {})

    @classmethod
    def is_in(cls, plan: Plan) -> bool:
        """Whether a plan asks for this section."""
        return (cls.measured_with or cls.name) in plan.only

    def why_not(self, threads: Sequence[int]) -> str:
        """Why a run with these numbers of threads cannot measure it; empty if it can."""
        if self.cpu_alone and self.bench.device.type != "cpu":
            return self.cpu_alone
        if self.one_thread and 1 not in threads:
            return "it is measured with one thread, which --threads does not name"
        return ""

    @abstractmethod
    def measure(self, threads: int) -> None:
        """Measure, and put what was measured into the result.

        Args:
            threads: torch's number of threads, which is set already.
        """

    @classmethod
    @abstractmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """What a result holds of this section; nothing if it was not measured.

        Args:
            result: all of it, as it is stored.
        """


def threads_key(threads: int) -> str:
    """A number of threads as a key of the result."""
    return f"threads{threads}"


def clock(result: Mapping[str, Any]) -> tuple[str, str]:
    """The time that a result's comparisons go by: as part of a key, and in words."""
    on_cpu = result["benchmark"]["plan"]["device"].partition(":")[0] == "cpu"
    return ("cpu_second", "second of CPU time") if on_cpu else ("second", "second")


def number_at(part: Mapping[str, Any], *path: str) -> float | None:
    """A number somewhere in the result; None where it was not measured."""
    found: Any = part
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return float(found) if isinstance(found, int | float) else None


def cell(number: float | None, form: str = ",.0f") -> str:
    """A number as text; a dash for one that was not measured."""
    return "–" if number is None else format(number, form)
