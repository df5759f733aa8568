"""Memory: what a training step takes beyond the model and its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from attnbook.batches import collate
from attnbook.benchmark.plan import Plan
from attnbook.benchmark.section import Section, Table, cell, number_at
from attnbook.benchmark.turns import Work
from attnbook.benchmark.workload import Workload
from attnbook.scores import additive_scores
from attnbook.seam import as_written

__all__ = ["SCORE_SHAPE", "MemorySection", "model_memory", "peak_memory", "score_memory"]

CPU = torch.device("cpu")
MEBIBYTE = 2**20
SCORE_SHAPE = (64, 32, 37, 256)  # batch, target, source, attention_dim


def _as_written(queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    with as_written():
        return additive_scores(queries, keys, v)


# The two forms of the additive score, as the result and the page name them.
SCORES: dict[str, Callable[..., Tensor]] = {
    "plain": _as_written,
    "fast": additive_scores,
}


def peak_memory(work: Callable[[], Any], device: torch.device = CPU) -> float | None:
    """By how many bytes memory grows at most during some work.

    On a CPU the resident memory of this process, which Linux tells; on a GPU its tensors, which
    torch counts for CUDA. None elsewhere.
    """
    if device.type == "cpu":
        return _resident_peak(work)
    gpu = torch.get_device_module(device)
    if not hasattr(gpu, "max_memory_allocated"):
        return None
    gpu.synchronize(device)
    before = gpu.memory_allocated(device)
    gpu.reset_peak_memory_stats(device)
    work()
    gpu.synchronize(device)
    return float(gpu.max_memory_allocated(device) - before)


def _resident_peak(work: Callable[[], Any]) -> float | None:
    base = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    except OSError:
        return None
    work()
    peak = _status("VmHWM")
    return None if base is None or peak is None else max(0.0, peak - base)


def _status(name: str) -> float | None:
    """A line of Linux's /proc/self/status, in bytes."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith(name + ":")]
    return float(found[0].split()[1]) * 1024 if found else None


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """A function's result in a fresh process, where nothing has been allocated yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _mebibytes(device: torch.device, function: Callable[..., float | None], *args: Any) -> Any:
    """What a function says of memory; on a CPU it is called in a process of its own."""
    peak = in_new_process(function, *args) if device.type == "cpu" else function(*args)
    return None if peak is None else peak / MEBIBYTE


def model_memory(plan: Plan, name: str) -> float | None:
    """What a training step of a model takes beyond model, optimizer and batch, in bytes."""
    torch.set_num_threads(1)
    workload = Workload(plan)
    translator = workload.build(name)
    batch = max(workload.batches("bucketed"), key=lambda one: one.source.numel())
    optimizer = workload.optimizer(translator)
    small = collate([([4], [4])]).to(workload.device)
    workload.step(translator, small, optimizer)  # the optimizer's state, and torch's own

    def steps() -> None:
        for _ in range(2):
            workload.step(translator, batch, optimizer)

    return peak_memory(steps, workload.device)


def score_memory(form: str, device: torch.device) -> float | None:
    """What one additive score takes, forward and backward, in bytes.

    Args:
        form: ``"plain"``, or ``"fast"`` for the one that recomputes.
        device: where.
    """
    torch.set_num_threads(1)
    queries, keys, v = _score_inputs(device)
    few = [one.detach()[..., :1, :].requires_grad_() for one in (queries, keys)]
    _score_step(SCORES[form], [*few, v])  # what torch sets up once
    inputs = _score_inputs(device)
    return peak_memory(lambda: _score_step(SCORES[form], inputs), device)


def _score_inputs(device: torch.device) -> list[Tensor]:
    batch, target, source, width = SCORE_SHAPE
    torch.manual_seed(0)
    shapes = ((batch, target, width), (batch, source, width), (width,))
    return [torch.randn(*shape, device=device, requires_grad=True) for shape in shapes]


def _score_step(score: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    score(*inputs).sum().backward()
    for one in inputs:
        one.grad = None


class MemorySection(Section):
    """What a step of each model takes, and what the two forms of the additive score take."""

    name = "memory"
    one_thread = True

    def measure(self, threads: int) -> None:
        """Each model and each form of the score; on a CPU in a process of its own."""
        models = tqdm(self.plan.models, desc="memory", disable=not self.bench.progress)
        for name in models:
            peak = _mebibytes(self.bench.device, model_memory, self.plan, name)
            self.result[name] = {"peak_mb": peak}
        self.result["additive_score"] = self._additive_score()

    def _additive_score(self) -> dict[str, Any]:
        """Memory, beside that of the tensor of all pairs, and time."""
        device = self.bench.device
        tensor = 4 * math.prod(SCORE_SHAPE) / MEBIBYTE
        found: dict[str, Any] = {"shape": list(SCORE_SHAPE), "tensor_mb": tensor}
        for form in SCORES:
            peak = _mebibytes(device, score_memory, form, device)
            if peak is not None:
                found |= {f"{form}_mb": peak, f"{form}_share": peak / tensor}
        inputs = _score_inputs(device)

        def work(score: Callable[..., Tensor]) -> Work:
            def step() -> float:
                _score_step(score, inputs)
                return 1.0

            return step

        works = {form: work(score) for form, score in SCORES.items()}
        rates = self.bench.take_turns("additive score", works)
        found |= {f"{form}_ms": 1e3 / rate.compared for form, rate in rates.items()}
        found["speed_ratio"] = rates["fast"].compared / rates["plain"].compared
        return found

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """The models' memory, and both forms of the additive score."""
        measured: Mapping[str, Any] = result.get(cls.name, {})
        models = [
            (name, cell(number_at(entry, "peak_mb")))
            for name, entry in measured.items()
            if name != "additive_score"
        ]
        found = [Table("Memory of a training step", ("model", "MB"), models)] if models else []
        if score := measured.get("additive_score"):
            names = {"plain": "readable", "fast": "in blocks"}
            rows = [
                (
                    name,
                    cell(number_at(score, f"{form}_mb")),
                    cell(number_at(score, f"{form}_ms"), ".1f"),
                )
                for form, name in names.items()
            ]
            found.append(Table("The additive score alone", ("form", "MB", "ms"), rows))
        return found
