"""Two processes that train together, started without torchrun, which costs an import in each.

``python tests/pair.py FOLDER`` writes there what `test_distributed` looks at. The processes are
forked once everything is imported, and find each other as torchrun would have them do.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

from attnbook import training
from attnbook.__main__ import main
from attnbook.batches import Example
from attnbook.distributed import process_group
from small_models import PAIRS

# Imported once; the optimizer of each forked process would import it for itself.
importlib.import_module("torch._dynamo")

# A small translator and few sentences; three batches, of which one is a single sentence.
TRAIN = shlex.split(
    "train --data text.de text.en --validation text.de text.en --decoder luong --score general "
    "--embedding-dim 8 --hidden-dim 12 --epochs 3 --batch-tokens 13 --seed 1 --device cpu"
)
DROPPING = ("--dropout", "0.2", "--save-every", "2", "--quiet")


def write_text() -> None:
    """The sentences, in the folder that is the current one."""
    for suffix, side in (("de", "source"), ("en", "target")):
        lines = "".join(" ".join(getattr(pair, side)) + "\n" for pair in PAIRS)
        Path(f"text.{suffix}").write_text(lines, encoding="utf-8")


def pair(work: Callable[[], None]) -> list[int]:
    """Do something in two processes at once, and say how each has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    children = []
    for rank in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            code = 1
            try:
                work()
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def numbers() -> None:
    with process_group() as found:
        result = [
            found.rank,
            found.is_main,
            found.all_reduce(1, found.rank),
            found.all_gather(found.rank),
        ]
        Path(f"numbers-{found.rank}.json").write_text(json.dumps(result))


def train(output: str, *more: str) -> Callable[[], None]:
    def work() -> None:
        assert main([*TRAIN, "--output", output, *more]) == 0

    return work


def killed(work: Callable[[], None], last: int) -> Callable[[], None]:
    """The same, and after so many steps nobody can tidy up any more."""
    whole = training._Run.one_step

    def one_step(self: training._Run, examples: Sequence[Example]) -> None:
        if self.state.step == last:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, examples)

    def until_then() -> None:
        with mock.patch.object(training._Run, "one_step", one_step):
            work()

    return until_then


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    write_text()
    ends = {
        "numbers": pair(numbers),
        "two": pair(train("two", "--dropout", "0")),
        "whole": pair(train("whole", *DROPPING)),
        "cut": pair(killed(train("cut", *DROPPING), 5)),
        "again": pair(train("cut", *DROPPING)),
    }
    Path("ends.json").write_text(json.dumps(ends))
