"""Measures the grading of a class: seconds for each submission, and memory as the class grows.

A made class hands in chapter 5's exercises, some right, some wrong; `attnbook grade` grades it in a
process of its own, whose memory, with that of its sandboxes, is read ten times a second. Run on a
quiet machine:

    python book/results/grading.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import torch

from attnbook import __version__

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure and write ``grading.json``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--submissions", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        class_folder, out = Path(folder, "class"), Path(folder, "grades")
        made = [sys.executable, str(ROOT / "tools" / "made_class.py"), str(class_folder)]
        subprocess.run([*made, "--learners", str(args.submissions), "--hostile", "0"], check=True)
        words = [
            sys.executable, "-m", "attnbook", "grade", str(class_folder), "--chapters", "5",
            "--out", str(out), "--workers", str(args.workers),
        ]  # fmt: skip
        found = measured(words, out, args.submissions)
    found |= {
        "workers": args.workers,
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "attnbook": __version__,
        },
    }
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


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


if __name__ == "__main__":
    main()
