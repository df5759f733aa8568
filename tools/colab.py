"""Runs the notebooks as Colab does: its versions, the notebook file and the built wheel.

``make colab`` calls this after it has built the wheel. It makes an environment of what Colab
preinstalls (tools/colab.txt), installs the wheel and checks that pip moved none of those versions,
runs each lab in an empty folder and the exercises with their solutions, which must earn all points,
and last runs the labs' setup cell itself: once with the repository's address answered by this
checkout, under the name of the tag or branch that the cell asks for, and once answered by nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "tools" / "colab.txt"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def environment(folder: Path, python: str, pins: str) -> Path:
    """An environment with these versions; gives its interpreter. Made once for a set of pins."""
    inside = folder / "bin" / "python"
    made = folder / "made-from.txt"
    if made.exists() and made.read_text() == pins:
        return inside
    if not inside.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    if sys.platform == "linux":
        pin = next(x for x in pins.split() if x.startswith("torch=="))
        try:
            urllib.request.urlopen(f"{TORCH_INDEX}/torch/", timeout=10).close()
        except OSError:
            pass  # pip takes torch from where it is set up to look
        else:
            pip(inside, "install", "--quiet", "--no-deps", "--index-url", TORCH_INDEX, pin)
    listed = folder / "pins.txt"
    listed.write_text(pins)
    pip(inside, "install", "--quiet", "-r", str(listed))
    made.write_text(pins)
    return inside


def pip(python: Path, *arguments: str) -> str:
    """Run the environment's pip; gives what it prints."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def versions(python: Path) -> dict[str, str]:
    """Installed packages and their versions, without the course's own."""
    listed = json.loads(pip(python, "list", "--format=json"))
    return {p["name"]: p["version"] for p in listed if p["name"] != "attnbook"}


def unmoved(before: dict[str, str], after: dict[str, str]) -> None:
    """Fail if a package that was there has another version now."""
    moved = {n: (v, after.get(n)) for n, v in before.items() if after.get(n) != v}
    if moved:
        sys.exit(f"installing attnbook changed what Colab preinstalls: {moved}")


def clean() -> dict[str, str]:
    """The process environment without anything that could point back at the repository."""
    drop = {"PYTHONPATH", "ATTNBOOK_DATA", "VIRTUAL_ENV", "MAKEFLAGS", "OMP_NUM_THREADS"}
    return {k: v for k, v in os.environ.items() if k not in drop} | {"JUPYTER_PREFER_ENV_PATH": "1"}


def executed(
    python: Path, notebook: dict, name: str, extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Execute a notebook from its file alone in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.ipynb")
        path.write_text(json.dumps(notebook), encoding="utf-8")
        command = [str(python), "-W", "ignore", "-c", RUN, path.name]
        return subprocess.run(
            command, cwd=folder, env=clean() | (extra or {}), capture_output=True, text=True
        )


def run(python: Path, notebook: dict, name: str, extra: dict[str, str] | None = None) -> None:
    """Execute a notebook, which must succeed."""
    started = time.perf_counter()
    done = executed(python, notebook, name, extra)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-4000:]}")
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def solved(stems: list[str]) -> dict[str, dict]:
    """The exercises' notebooks with solutions, and a last cell that insists on all points."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tools" / "exercises.py"), "--solved", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        paths = sorted(p for p in Path(folder).glob("*.ipynb") if not stems or p.stem in stems)
        found = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in paths}
    for notebook in found.values():
        points = notebook["cells"][-1]
        all_points = ["done = ", *points["source"], "\nassert done.points == done.total, done"]
        notebook["cells"].append(dict(points, id="points", source=all_points))
    return found


def main() -> None:
    """Environment, wheel, labs, setup cell; the first failure ends it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--environment",
        type=Path,
        default=Path(os.environ.get("COLAB_ENVIRONMENT", ROOT / ".venv-colab")),
        help="folder of the environment, made if missing (.venv-colab)",
    )
    parser.add_argument("--python", default="python3.13", help="Colab's Python (python3.13)")
    parser.add_argument("labs", nargs="*", help="stems, for instance 02_recurrent; none: all labs")
    args = parser.parse_args()
    if not shutil.which(args.python):
        sys.exit(
            f"Colab runs Python 3.13 and there is no {args.python}; install it (uv python install "
            "3.13, pyenv install 3.13, brew install python@3.13) or name it with --python"
        )
    wheels = sorted((ROOT / "dist").glob("attnbook-*.whl"))
    every = sorted((ROOT / "notebooks").glob("*.ipynb"))
    labs = [p for p in every if not args.labs or p.stem in args.labs]
    if len(wheels) != 1 or not labs:
        sys.exit("needs one wheel in dist/ (make wheel) and the executed labs (make notebooks)")

    python = environment(args.environment, args.python, PINS.read_text())
    pip(python, "uninstall", "-qqy", "attnbook")
    preinstalled = versions(python)
    pip(python, "install", "--quiet", str(wheels[0]))
    unmoved(preinstalled, versions(python))
    for lab in labs:
        run(python, json.loads(lab.read_text(encoding="utf-8")), lab.stem)
    for stem, notebook in solved(args.labs).items():
        run(python, notebook, f"exercises of {stem}", {"ATTNBOOK_PROGRESS": "progress.json"})

    setup_cell(python, json.loads(labs[0].read_text(encoding="utf-8")))
    unmoved(preinstalled, versions(python))


def setup_cell(python: Path, lab: dict) -> None:
    """The setup cell as Colab meets it, in the place of the package that is not there yet."""
    pip(python, "uninstall", "-qqy", "attnbook")
    setup = next(c for c in lab["cells"] if "setup" in c["metadata"].get("tags", []))
    use = dict(setup, id="use", metadata={}, outputs=[], source=["import attnbook.trace"])
    both = lab | {"cells": [setup, use]}
    found = re.search(r"git\+(https://[^@\s]+)@([\w.]+)", "".join(setup["source"]))
    if found is None:
        sys.exit("the setup cell names no address to install from")
    address, state = found.groups()

    def answered_by(place: str) -> dict[str, str]:
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{place}.insteadOf",
            "GIT_CONFIG_VALUE_0": address,
        }

    done = executed(python, both, "setup cell", answered_by("/nowhere"))
    if done.returncode == 0 or "ImportError: pip could not install" not in done.stderr:
        sys.exit(f"the setup cell goes on without the package:\n{done.stderr[-4000:]}")
    with tempfile.TemporaryDirectory() as folder:
        # A checkout of CI has neither the branch nor, before a release, the tag.
        subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, folder], check=True)
        subprocess.run(
            ["git", "-C", folder, "update-ref", f"refs/heads/{state}", "HEAD"], check=True
        )
        run(python, both, "setup cell", answered_by(folder))


if __name__ == "__main__":
    main()
