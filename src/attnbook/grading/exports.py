"""Exports: an autograder for Gradescope, an assignment for otter-grader.

Both carry the modules that grading needs, the seed, and the inputs that it gives; the same seed
gives the same bytes. Whoever has an export has the solutions and the seed: it is the instructor's.

Gradescope
    One zip. Its ``setup.sh`` installs Python, bubblewrap and the versions of torch and NumPy that
    are installed here; its ``run_autograder`` grades (:mod:`attnbook.grading.gradescope`).

otter-grader
    ``student/`` has the notebook and public tests that call :func:`attnbook.exercises.check`.
    ``autograder.zip`` is for ``otter run`` and ``otter grade``. Left alone, otter runs learners'
    notebooks and the tests in one process, and takes the result from there: a notebook can change
    the tests' verdict, read the hidden inputs, and have the grader unpickle what it wrote. So the
    zip names a plugin (:mod:`attnbook.grading.otter`) that takes the notebook away before otter
    runs it, grades it in the sandbox, and leaves otter the verdicts. What the plugin cannot prevent
    is what otter does before it: a zip that was handed in is unpacked, and a file that is no
    notebook ends otter's run without a result.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import shutil
import sys
import textwrap
import zipfile
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from attnbook.exercises.course import chapters
from attnbook.exercises.definition import PRELUDE, Exercise, source_of, stub_of
from attnbook.grading.assignment import Assignment
from attnbook.grading.bundle import bundle, hidden_inputs

__all__ = ["hidden_inputs", "write_gradescope", "write_otter"]

_HERE = Path(__file__).parent

# ------------------------------------------------------------------------------------- what goes in


def _imports(path: Path) -> set[str]:
    """Names of modules that a file imports when it is imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _modules(start: Sequence[str]) -> tuple[dict[str, Path], set[str]]:
    """The package's modules that some of its modules need, and what these need of others."""
    mine: dict[str, Path] = {}
    others: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] != "attnbook":
            others.add(name.split(".")[0])
            continue
        if name in mine:
            continue
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # a name in a module
            continue
        if spec is None or spec.origin is None:
            continue
        mine[name] = Path(spec.origin)
        waiting += [*_imports(mine[name]), *([name.rpartition(".")[0]] if "." in name else [])]
    return mine, others - set(sys.stdlib_module_names) - {"__future__", "probes", "otter"}


def _package(entry: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files of the package that grading needs, and the versions of what they need."""
    exercises = {e.solution.__module__ for one in chapters() for e in one.exercises}
    modules, others = _modules(
        [entry, "attnbook.grading.inside", "attnbook.grading.cells", *exercises]
    )
    files = {}
    for name, path in modules.items():
        stem = name.replace(".", "/")
        place = f"{stem}/__init__.py" if path.name == "__init__.py" else f"{stem}.py"
        files[place] = path.read_bytes()
    metadata = f"Metadata-Version: 2.1\nName: attnbook\nVersion: {version('attnbook')}\n"
    files[f"attnbook-{version('attnbook')}.dist-info/METADATA"] = metadata.encode()
    distributions = packages_distributions()
    pins = {d: version(d) for name in others for d in distributions.get(name, [])[:1]}
    return files, {name: pins[name].split("+")[0] for name in sorted(pins)}


def _zip(files: dict[str, bytes], executable: Sequence[str] = ()) -> bytes:
    """An archive whose bytes depend on nothing but its files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = (0o100755 if name in executable else 0o100644) << 16
            archive.writestr(info, files[name])
    return out.getvalue()


_SETUP = """\
#!/usr/bin/env bash
# Made by `attnbook export`. Runs once, as root, when the autograder's image is built.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends bubblewrap || echo "no bubblewrap; there is another way"
python=""
for number in {numbers}; do
    if apt-get install -y --no-install-recommends "python$number" "python$number-venv"; then
        python="python$number"
        break
    fi
done
if [ -z "$python" ]; then
    echo "no Python from 3.11 on: choose a newer base image, such as Ubuntu 24.04" >&2
    exit 1
fi
"$python" -m venv /opt/attnbook
/opt/attnbook/bin/python -m pip install --no-cache-dir \\
    --index-url https://download.pytorch.org/whl/cpu "torch=={torch}"
/opt/attnbook/bin/python -m pip install --no-cache-dir {pins}
{more}chmod -R o= /autograder/source
"""

_RUN = """\
#!/usr/bin/env bash
# Made by `attnbook export`. Runs once for each submission, as root, in a container of its own.
set -u
root="${AUTOGRADER_ROOT:-/autograder}"
cd "$root" || exit 1
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/source/python"
exec "${PYTHON:-/opt/attnbook/bin/python}" -P -m attnbook.grading.gradescope "$root"
"""


def _setup(pins: dict[str, str], more: str = "") -> bytes:
    here = f"3.{sys.version_info.minor}"
    numbers = [here, *(n for n in ("3.13", "3.12", "3.11") if n != here)]
    plain = " ".join(f'"{name}=={number}"' for name, number in pins.items() if name != "torch")
    return _SETUP.format(
        numbers=" ".join(numbers), torch=pins["torch"], pins=plain, more=more
    ).encode()


# -------------------------------------------------------------------------------------- Gradescope


def write_gradescope(out: Path, assignment: Assignment, seed: str) -> None:
    """Write an autograder for Gradescope.

    Args:
        out: the zip.
        assignment: what is graded.
        seed: the instructor's secret.
    """
    package, pins = _package("attnbook.grading.gradescope")
    files = {f"python/{name}": data for name, data in package.items()}
    files |= {f"bundle/{name}": data for name, data in bundle(assignment, seed).items()}
    files |= {"setup.sh": _setup(pins), "run_autograder": _RUN.encode()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(_zip(files, ("setup.sh", "run_autograder")))


# ------------------------------------------------------------------------------------ otter-grader

_PUBLIC_TEST = """\
OK_FORMAT = False

from otter.test_files import test_case

name = {name!r}
points = {points!r}


@test_case(name="{name}: the properties in your notebook")
def checked(env):
    from attnbook.exercises import check

    assert {name!r} in env, "{name} is not defined yet: run its cell"
    report = check(env[{name!r}], {name!r})
    assert report.passed, repr(report)
"""

_GRADED_TEST = """\
OK_FORMAT = False

from otter.test_files import test_case

name = {name!r}
points = {points!r}


@test_case(name="{name}: on inputs that you have not seen")
def graded(attnbook_grades):
    passed, feedback = attnbook_grades[{name!r}]
    assert passed, feedback
"""

_RUN_OTTER = """\
import sys

# The modules that grade travel in the archive's folder of files.
sys.path.insert(0, "/autograder/source/files/attnbook-export/python")

from otter.run.run_autograder import main

if __name__ == "__main__":
    main("/autograder")
"""

_RUN_IN_OTTER = """\
#!/usr/bin/env bash
# Made by `attnbook export`.
set -eu
# Plugins are given this file, and otter leaves it empty.
[ -s /autograder/submission_metadata.json ] || echo "{}" > /autograder/submission_metadata.json
chmod -R o= /autograder/source
export OMP_NUM_THREADS=1 PATH="/opt/attnbook/bin:$PATH"
exec /opt/attnbook/bin/python -P /autograder/source/run_otter.py
"""


def write_otter(folder: Path, assignment: Assignment, seed: str) -> list[Path]:
    """Write an assignment for otter-grader.

    Args:
        folder: where. ``student/`` in it is for learners, ``autograder.zip`` is not.
        assignment: what is graded.
        seed: the instructor's secret.

    Returns:
        What was written.
    """
    student = folder / "student"
    if (student / "tests").exists():
        shutil.rmtree(student / "tests")
    (student / "tests").mkdir(parents=True)
    written = []
    for name, exercises in _by_chapter(assignment).items():
        path = student / f"{name}.ipynb"
        path.write_text(
            json.dumps(_notebook(assignment, exercises), indent=1, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
        written.append(path)
    graded: dict[str, bytes] = {}
    for one in assignment.exercises:
        values = {"name": one.name, "points": assignment.points[one.name]}
        path = student / "tests" / f"{one.name}.py"
        path.write_text(_PUBLIC_TEST.format(**values), encoding="utf-8")
        written.append(path)
        graded[f"tests/{one.name}.py"] = _GRADED_TEST.format(**values).encode()
    archive = folder / "autograder.zip"
    archive.write_bytes(_otter_archive(assignment, seed, graded))
    return [*written, archive]


def _otter_archive(assignment: Assignment, seed: str, tests: dict[str, bytes]) -> bytes:
    package, pins = _package("attnbook.grading.otter")
    own = "files/attnbook-export"
    files = tests | {f"{own}/python/{name}": data for name, data in package.items()}
    files |= {f"{own}/bundle/{name}": data for name, data in bundle(assignment, seed).items()}
    config = {"lang": "python", "plugins": ["attnbook.grading.otter.Sandboxed"]}
    files["otter_config.json"] = (json.dumps(config, indent=1) + "\n").encode()
    more = '/opt/attnbook/bin/python -m pip install --no-cache-dir "otter-grader[grading]>=6"\n'
    files["setup.sh"] = _setup(pins, more)
    files["run_autograder"] = _RUN_IN_OTTER.encode()
    files["run_otter.py"] = _RUN_OTTER.encode()
    # otter's Dockerfile adds it; setup.sh does not need it.
    files["environment.yml"] = b"name: otter-env\n"
    return _zip(files, ("setup.sh", "run_autograder"))


def _by_chapter(assignment: Assignment) -> dict[str, list[Exercise]]:
    """The exercises of the assignment by the chapter's name, in the order of the course."""
    found: dict[str, list[Exercise]] = {}
    for one in chapters():
        chosen = [e for e in one.exercises if e.name in assignment.points]
        if chosen:
            found[one.name] = chosen
    return found


def _notebook(assignment: Assignment, exercises: Sequence[Exercise]) -> dict[str, Any]:
    """A learners' notebook: stubs, each with a check."""
    cells: list[tuple[str, str]] = [
        ("markdown", f"# {assignment.title}"),
        ("code", PRELUDE + "\nimport otter\n\ngrader = otter.Notebook()\n"),
    ]
    given: set[str] = set()
    for one in exercises:
        points = assignment.points[one.name]
        head = f"## {one.title} ({points:g} point{'s' if points != 1 else ''})"
        parts = [head, one.goal, one.shapes, one.example]
        cells.append(("markdown", "\n\n".join(textwrap.dedent(p).strip() for p in parts if p)))
        for thing in one.given:
            if thing.__name__ not in given:
                given.add(thing.__name__)
                cells.append(("code", source_of(thing)))
        cells.append(("code", stub_of(one.solution)))
        cells.append(("code", f'grader.check("{one.name}")'))
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(i, kind, source.rstrip()) for i, (kind, source) in enumerate(cells)],
    }


def _cell(place: int, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{place}",
        "metadata": {},
        "source": source.splitlines(keepends=True),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
