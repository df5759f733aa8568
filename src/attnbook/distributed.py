"""Several processes that train one model together: who they are, and how they add up.

``torchrun --nproc-per-node N -m attnbook train …`` starts N processes and tells each its number by
environment variables. Every process holds the whole model and reads its shard of each batch;
torch's ``DistributedDataParallel`` averages their gradients, so that all take the same step. The
first one is the main process: it alone writes files and draws the progress bar.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

__all__ = ["ALONE", "ProcessGroup", "process_group"]

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together.

    Attributes:
        rank: this process, counted from 0.
        world_size: how many there are.
        local_rank: this process among those of its machine, which is the number of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and draws the progress bar."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """What of a batch this process has to do: every ``world_size``-th item."""
        return items[self.rank :: self.world_size]

    def all_reduce(self, *numbers: float) -> list[float]:
        """Numbers summed over all processes; all must call it."""
        if self.world_size == 1:
            return list(numbers)
        device = f"cuda:{self.local_rank}" if distributed.get_backend() == "nccl" else "cpu"
        sums = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        return [float(number) for number in sums.tolist()]

    def all_gather(self, item: Any) -> list[Any]:
        """Everybody's item, in the order of ranks; all must call it."""
        if self.world_size == 1:
            return [item]
        items: list[Any] = [None] * self.world_size
        distributed.all_gather_object(items, item)
        return items


ALONE = ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The processes that torchrun has started, connected while the block lasts; or this one alone.

    torch.distributed connects GPUs by NCCL, CPUs by Gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield ProcessGroup(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    finally:
        distributed.destroy_process_group()
