"""Measure on a GPU what can only be measured there, in at most eight minutes.

    make gpu
    python tools/gpu.py --try try.json        # the same on the CPU and small, to try this script

Three parts, each with its share of the time: the tests marked `gpu` (tests/test_gpu.py), the labs
by their own files, and `attnbook benchmark`, on the GPU with all its sections and on this machine's
CPU for comparison. What is done is written at once into book/results/gpu.json, which the page on
speed shows; Ctrl-C loses nothing of it. Without a GPU nothing is run and nothing is written.

Any Python that has the package's dependencies will do, and neither network nor git is needed. Real
captions are used where ATTNBOOK_DATA names them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "book" / "results" / "gpu.json"
LABS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
# Those that train on the GPU run one after the other; the rest beside them, on cores of the CPU.
TRAINING = ("05", "06", "07", "08", "09", "12", "13", "14")
# Seconds for each part; with what starting and stopping take, eight minutes.
SECONDS = {"tests": 80, "labs": 250, "benchmark": 80, "benchmark-cpu": 40}
MODELS = (
    "fixed", "sutskever", "dot", "general", "concat", "dot-feeding", "general-feeding",
    "concat-feeding", "additive", "transformer",
)  # fmt: skip


def missing() -> str:
    """Why there is nothing to measure on; empty where there is a GPU."""
    try:
        import torch
    except ImportError:
        return f"{sys.executable} has no torch"
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and Path("/proc/driver/nvidia").exists():
        return (
            f"there is a GPU, and torch {torch.__version__} was built without CUDA; install a build"
            " with it (TORCH_INDEX in tools/install.sh), or name another Python: make gpu BIN=..."
        )
    return f"torch {torch.__version__} finds no CUDA device"


def machine(device: str) -> dict[str, Any]:
    """The card and what drives it."""
    import torch

    found: dict[str, Any] = {
        "card": "none, tried on the CPU",
        "driver": "none",
        "memory_gb": 0,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    if device == "cuda":
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found["card"] = torch.cuda.get_device_name()
        found["driver"] = (asked.stdout.split() or ["unknown"])[0]
        found["memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30)
    return found


class Run:
    """What is measured, and the file it goes into."""

    def __init__(self, output: Path, device: str, share: float) -> None:
        self.output, self.device, self.share = output, device, share
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.result: dict[str, Any] = {"command": "make gpu", "machine": machine(device)}
        if output.exists():
            earlier = json.loads(output.read_text(encoding="utf-8"))
            if earlier.get("machine") == self.result["machine"]:
                self.result = earlier

    def keep(self, part: str, found: Any) -> None:
        """Put a part into the file, which is whole at every moment."""
        with self.lock:
            self.result[part] = found
            self.result["page"] = page(self.result)
            self.output.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.output.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")
            unfinished.replace(self.output)

    def seconds(self, part: str) -> float:
        """What a part may take."""
        return SECONDS[part] * self.share

    def command(
        self, words: Sequence[str], limit: float, **environment: str
    ) -> tuple[int | None, float, str]:
        """Run this Python with some arguments; its exit code (None: stopped), seconds, output.

        When its time is over, or after Ctrl-C, it is interrupted first, so that it can keep what
        it has.
        """
        settings = os.environ | {"PYTHONPATH": str(ROOT / "src"), **environment}
        started = time.perf_counter()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=settings, start_new_session=True,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                while process.poll() is None and time.perf_counter() < started + limit:
                    time.sleep(0.05)
                    if self.stopped.is_set():
                        break
            except KeyboardInterrupt:
                self.stopped.set()
            late = process.poll() is None
            if late:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            took = time.perf_counter() - started
            output.seek(0)
            return None if late else process.returncode, took, output.read()


# --- the parts ------------------------------------------------------------------------------------


def tests(run: Run) -> None:
    """The tests marked `gpu`."""
    words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-n0"]
    words += [f"--device={run.device}", "tests/test_gpu.py"]
    code, took, output = run.command(words, run.seconds("tests"))
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", output)
    counts = {kind: int(number) for number, kind in found}
    print(f"tests: {counts or 'none finished'} in {took:.0f} s", flush=True)
    if code != 0:
        print(output[-4000:], flush=True)
    run.keep("tests", {"exit": code, "seconds": took, **counts})


def labs(run: Run) -> None:
    """Each lab by its own file, those that train one after the other."""
    end = time.perf_counter() + run.seconds("labs")
    tiny = {} if run.device == "cuda" else {"ATTNBOOK_SIZE": "tiny", "ATTNBOOK_DEVICE": "cpu"}
    found: dict[str, Any] = {}

    def one(name: str) -> None:
        left = end - time.perf_counter()
        if left < 5 or run.stopped.is_set():
            return
        with tempfile.TemporaryDirectory() as folder:
            words = ["-m", "nbconvert", "--to=notebook", "--execute", f"--output-dir={folder}"]
            words += [f"--ExecutePreprocessor.timeout={left:.0f}", f"notebooks/{name}.ipynb"]
            code, took, output = run.command(words, left, **tiny)
        state = {0: "done", None: "not done in its time"}.get(code, "failed")
        print(f"lab {name}: {state}, {took:.0f} s", flush=True)
        if state == "failed":
            print(output[-2000:], flush=True)
        with run.lock:
            found[name] = {"state": state, "seconds": took}
        run.keep("labs", dict(found))

    trains = [name for name in LABS if name[:2] in TRAINING]
    others = [name for name in LABS if name not in trains]
    beside = max(1, min(3, (os.cpu_count() or 2) // 4))
    with ThreadPoolExecutor(1) as card, ThreadPoolExecutor(beside) as cores:
        waiting = [card.submit(one, name) for name in trains]
        waiting += [cores.submit(one, name) for name in others]
        try:
            for future in waiting:
                future.result()
        except KeyboardInterrupt:
            run.stopped.set()  # what runs is stopped, and what waits is not begun


def _benchmark(run: Run, part: str, words: Sequence[str]) -> None:
    data = "multi30k" if os.environ.get("ATTNBOOK_DATA") else "synthetic"
    small = ["--words=200", "--hidden-dim=16", "--embedding-dim=8", "--batch-tokens=64"]
    small += ["--batch-sentences=4", "--sentences=4"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "speed.json"
        command = ["-m", "attnbook", "benchmark", "--quiet", f"--data={data}", *words]
        command += [] if run.device == "cuda" else small
        code, took, said = run.command([*command, f"--output={output}"], run.seconds(part))
        measured = json.loads(output.read_text()) if output.exists() else None
    finished = {0: "done", None: "stopped when its time was over"}.get(code, "failed")
    print(f"{part}: {finished}, {took:.0f} s", flush=True)
    if code not in (0, None):
        print(said[-3000:], flush=True)
    if measured:
        run.keep(part, measured)


def benchmark(run: Run) -> None:
    """All sections on the GPU, in batches that fill it."""
    words = [f"--device={run.device}", "--repeat=3", "--sentences=64", "--threads", "1"]
    _benchmark(run, "benchmark", [*words, "--batch-tokens=8192", "--batch-sentences=512"])


def benchmark_cpu(run: Run) -> None:
    """Training on all cores of this machine, in batches of the size that suits a CPU."""
    cores = min(16, os.cpu_count() or 1)
    words = ["--device=cpu", "--only", "training", "--batching", "bucketed", "--repeat=1"]
    _benchmark(run, "benchmark-cpu", [*words, "--batches=2", "--threads", str(cores)])


PARTS: dict[str, Callable[[Run], None]] = {
    "tests": tests,
    "labs": labs,
    "benchmark": benchmark,
    "benchmark-cpu": benchmark_cpu,
}


# --- what the page shows --------------------------------------------------------------------------


def page(result: dict[str, Any]) -> dict[str, Any]:
    """Every text of the page; a dash for what has not been measured."""

    def rate(part: str, name: str) -> float | None:
        kinds = result.get(part, {}).get("training", {}).get("bucketed", {})
        for models in kinds.values():
            if name in models:
                return float(models[name]["tokens_per_second"])
        return None

    speed = {}
    for name in MODELS:
        card, cpu = rate("benchmark", name), rate("benchmark-cpu", name)
        speed[name] = {
            "card": "–" if card is None else f"{card:,.0f}",
            "cpu": "–" if cpu is None else f"{cpu:,.0f}",
            "ratio": "–" if card is None or cpu is None else f"{card / cpu:.1f}",
        }
    lab = {name: result.get("labs", {}).get(name, {}) for name in LABS}
    return {
        **{key: str(value) for key, value in result["machine"].items()},
        "speed": speed,
        "labs": {
            name: f"{one['seconds']:.0f} s" if one.get("state") == "done" else "–"
            for name, one in lab.items()
        },
        "tests": f"{result.get('tests', {}).get('passed', 0)}",
    }


def main() -> int:
    """Measure, part by part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument(
        "--try", dest="tried", type=Path, metavar="FILE.json",
        help="run it small on the CPU, and write there",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=sum(SECONDS.values()) / 60, help="for all parts (7.5)"
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not args.tried and (reason := missing()):
        print(f"nothing to measure: {reason}; what was measured before stays")
        return 0
    share = args.minutes * 60 / sum(SECONDS.values())
    run = Run(args.tried or RESULT, "cpu" if args.tried else "cuda", share)
    print(f"on {run.result['machine']['card']}, into {run.output}", flush=True)
    for name, part in PARTS.items():
        if name in (args.parts or PARTS):
            part(run)
        if run.stopped.is_set():
            print("interrupted; what was measured is kept")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
