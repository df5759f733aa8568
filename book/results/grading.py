"""Measures the grading of a class: seconds for each submission, and memory as the class grows.

A made class hands in chapter 5's exercises, some right, some wrong; `attnbook grade` grades it in a
process of its own, whose memory, with that of its sandboxes, is read ten times a second. Run on a
quiet machine:

    python book/results/grading.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from _measure import ROOT, Cache, Script

from attnbook import __version__

cached = Cache("grading")
SUBMISSIONS, WORKERS = 500, 2


def graded() -> dict[str, Any]:
    """A class of :data:`SUBMISSIONS`, made and graded."""
    with tempfile.TemporaryDirectory() as folder:
        class_folder, out = Path(folder, "class"), Path(folder, "grades")
        made = [sys.executable, str(ROOT / "tools" / "made_class.py"), str(class_folder)]
        subprocess.run([*made, "--learners", str(SUBMISSIONS), "--hostile", "0"], check=True)
        words = [
            sys.executable, "-m", "attnbook", "grade", str(class_folder), "--chapters", "5",
            "--out", str(out), "--workers", str(WORKERS),
        ]  # fmt: skip
        found = measured(words, out, SUBMISSIONS)
    return found | {
        "workers": WORKERS,
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "attnbook": __version__,
        },
    }


def measured(words: list[str], out: Path, count: int) -> dict[str, float | int]:
    """Time and memory of one grading."""
    started = time.perf_counter()
    process = psutil.Popen(words)
    samples: list[tuple[int, int]] = []  # results so far, bytes
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            try:
                family = [process, *process.children(recursive=True)]
                held = sum(_own(each) for each in family)
            except psutil.Error:
                continue
            samples.append((len(list(out.glob("results/*.json"))), held))

    watcher = threading.Thread(target=sample)
    watcher.start()
    code = process.wait()
    done.set()
    watcher.join()
    seconds = time.perf_counter() - started
    if code:
        sys.exit(f"attnbook grade ended with {code}")
    tenth = count // 10

    def largest(low: int, high: int) -> float:
        return max((held for n, held in samples if low <= n < high), default=0) / 1e6

    return {
        "submissions": count,
        "seconds": round(seconds, 1),
        "seconds_each": round(seconds / count, 3),
        "megabytes_early": round(largest(tenth, 2 * tenth)),
        "megabytes_late": round(largest(9 * tenth, 10 * tenth)),
    }


def _own(process: psutil.Process) -> int:
    """Memory that a process does not share with others, so that forks are not counted twice."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page for instructors says in words."""
    return {
        "memory does not grow with the class": result["megabytes_late"]
        < 1.1 * result["megabytes_early"],
        "the seconds of each are those of all": abs(
            result["seconds"] / result["submissions"] - result["seconds_each"]
        )
        < 0.001,
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        (
            "submissions", "seconds", "seconds_each", "megabytes_early", "megabytes_late",
            "workers", "machine",
        ): graded,
    },
    check=check,
    seeds=(),
    cache=cached,
)  # fmt: skip

if __name__ == "__main__":
    SCRIPT.run()
