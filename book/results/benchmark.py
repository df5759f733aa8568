"""How fast, against whom: what the page on speed and chapter 8 report.

    make benchmark                             # about twenty-five minutes on two idle cores

Makes an environment with other libraries (.venv-benchmark, tools/benchmark.sh) if it is not there,
runs `attnbook benchmark` in it, and writes the JSON beside this script and the figure. Flags are
handed on: `python book/results/benchmark.py --quick --output quick.json`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Prepare and run."""
    subprocess.run([ROOT / "tools" / "benchmark.sh"], check=True)
    command = [
        *(str(ROOT / ".venv-benchmark" / "bin" / "python"), "-m", "attnbook", "benchmark"),
        *("--peers", "tools/peers.py"),
        *("--output", "book/results/benchmark.json"),
        *sys.argv[1:],
    ]
    if "--only" not in sys.argv:  # the figure is of all models' training
        command += ["--plot", "book/figures/benchmark-training.svg"]
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
