"""Runs the package's tests with the oldest versions that pyproject.toml allows.

``make floors`` makes an environment of them, each dependency ``name>=version`` taken at its word,
and runs the tests of the modules and of the command line in it; those of the site and of class
grading belong to the versions that requirements.txt pins. What fails there has to be raised in
pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from colab import ROOT, environment, pip

TOOLS = ["pytest", "pytest-xdist", "hypothesis", "beartype", "psutil", "transformers==4.48.0"]


def lowest() -> str:
    """The dependencies at their lowest versions, as a requirements file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "".join(f"{one.replace('>=', '==')}\n" for one in project["dependencies"])


def tested() -> list[str]:
    """The tests of the package's modules and of its commands."""
    modules = {f"test_{path.stem}.py" for path in (ROOT / "src" / "attnbook").glob("*.py")}
    return sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").glob("test_*.py")
        if path.name in modules | {"test_main.py"} or path.stem.endswith("_command")
    )


def main() -> int:
    """Environment, package, tests; gives pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / ".venv-floors",
        help="folder of the environment, made if missing (.venv-floors)",
    )
    parser.add_argument("--python", default=sys.executable, help="the Python to try (this one)")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    args = parser.parse_args()
    python = environment(args.environment, args.python, lowest())
    pip(python, "install", "--quiet", *TOOLS)
    pip(python, "install", "--quiet", "--no-deps", "--editable", str(ROOT))
    command = [
        str(python), "-m", "pytest", "--numprocesses=logical", "--quiet",
        "-m", "not exhaustive and not gpu", *args.arguments, *tested(),
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
