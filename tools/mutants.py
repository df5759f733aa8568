"""Breaks the code in every small way, and asks whether the checks notice.

``make mutants`` calls this. It has two parts, and takes names of both:

- *Core modules* (:data:`MODULES`). One thing is changed at a time, a plus into a minus, a number,
  an option left out (:mod:`mutations`), and the module's own tests run until one fails. Each change
  is made in the memory of a process of its own, and no file is touched. All of them take hours;
  ``SAMPLE=25`` takes 25 of each module, always the same ones. Results are kept in the user's cache
  for as long as neither the package nor the module's tests change, so a run that was stopped goes
  on.
- *Exercises' solutions*. mutmut does the like, and runs the exercise's own check, as a learner's
  notebook does, for three seeds (trainings on one).

What survives has to be listed in ``tests/mutants.toml`` with the reason why it is no fault, mostly
that no input can show it.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import platformdirs

from mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
LIST = TESTS / "mutants.toml"

# A module and the tests that answer for it, the quickest to fail first.
MODULES = {
    "attention": ["attention", "self_attention", "decoders"],
    "scores": ["scores", "fast", "decoders"],
    "decoders": ["decoders", "seq2seq", "fast"],
    "decoding": ["decoding", "trace"],
    "self_attention": ["self_attention", "transformer"],
    "training": ["training"],
    "run_state": ["run_state", "training"],
    "checkpoints": ["checkpoints", "seq2seq"],
    "alignment": ["alignment"],
    "corpora": ["corpora"],
}

# --- core modules ---------------------------------------------------------------------------------

# What a test needs and the package is not: imported once, and there in every fork.
HEAVY = "hypothesis matplotlib numpy pooch pytest sacrebleu safetensors.torch torch._dynamo tqdm"
OPTIONS = ["-x", "-q", "-m", "not exhaustive and not gpu", "--hypothesis-seed=0"]
OPTIONS += [f"-p no:{plugin}" for plugin in ("cacheprovider", "xdist", "nbval", "cov")]
NOTICED, SURVIVED = "noticed", "survived"


def source_of_module(module: str) -> Path:
    """The file of a core module."""
    return ROOT / "src" / "attnbook" / f"{module}.py"


def _replace(path: Path, text: str) -> None:
    """From now on an import of ``path`` gives another text, and no stored bytecode."""
    get_data, path_stats = SourceFileLoader.get_data, SourceFileLoader.path_stats

    def other_data(self: SourceFileLoader, name: str) -> bytes:
        return text.encode() if Path(name) == path else get_data(self, name)

    def no_stats(self: SourceFileLoader, name: str) -> object:
        if Path(name) == path:
            raise OSError("a mutant has no bytecode")
        return path_stats(self, name)

    SourceFileLoader.get_data = other_data  # type: ignore[assignment,method-assign]
    SourceFileLoader.path_stats = no_stats  # type: ignore[assignment,method-assign]


def _start(module: str, text: str, folder: Path, seconds: float) -> int:
    """Fork a process that runs a module's tests on another text of it; its number."""
    folder.mkdir()
    child = os.fork()
    if child:
        return child
    import pytest

    os.setsid()
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    # An endless loop ends by the processor's clock, which a busy machine does not slow.
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
    _replace(source_of_module(module), text)
    os.chdir(ROOT)
    tests = [f"tests/test_{name}.py" for name in MODULES[module]]
    code = 3
    try:
        code = int(pytest.main([*OPTIONS, f"--basetemp={folder / 'pytest'}", *tests]))
    except BaseException:  # nothing may get from here into what the parent was doing
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _told(module: str, status: int, output: str) -> str:
    """Whether the tests noticed, from how their process ended."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return SURVIVED
    # 1: a test failed; 2: a test file could not be imported; below 0: a signal ended it.
    if code in (1, 2) or code < 0:
        return NOTICED
    sys.exit(f"the tests of {module} did not run (pytest says {code}):\n{output[-3000:]}")


def _alone(module: str, place: Path) -> float:
    """Run a module's tests on the source as it is, and say how much processor time they take."""
    folder = place / f"{module}-as-it-is"
    child = _start(module, source_of_module(module).read_text("utf-8"), folder, 36_000)
    _, status, used = os.wait4(child, 0)
    said = (folder / "output").read_text(errors="replace")
    if _told(module, status, said) == NOTICED:
        sys.exit(f"the tests of {module} fail without any change:\n{said[-3000:]}")
    return used.ru_utime + used.ru_stime


def tried(
    module: str, changes: list[Mutation], place: Path, processes: int
) -> Iterator[tuple[Mutation, str]]:
    """Each change and whether the tests noticed it, as they come in."""
    limit = 20 + 5 * _alone(module, place)
    running: dict[int, tuple[Mutation, Path, float]] = {}
    waiting = list(reversed(changes))
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                change = waiting.pop()
                folder = place / f"{module}-{len(waiting)}"
                child = _start(module, change.text, folder, limit)
                running[child] = change, folder, time.monotonic()
            for child, (change, folder, started) in list(running.items()):
                ended, status = os.waitpid(child, os.WNOHANG)
                if not ended:
                    if time.monotonic() - started > 20 * limit:  # it sleeps
                        os.killpg(child, signal.SIGKILL)
                    continue
                del running[child]
                said = (folder / "output").read_text(errors="replace")
                yield change, _told(module, status, said)
                shutil.rmtree(folder)
            time.sleep(0.05)
    finally:
        for child in running:
            os.killpg(child, signal.SIGKILL)


def sample(module: str, changes: list[Mutation], size: int | None) -> list[Mutation]:
    """So many of a module's changes; a line that is edited moves none of the others."""

    def lot(change: Mutation) -> str:
        words = f"{module} {change.function} {change.was} {change.now}"
        return hashlib.sha256(words.encode()).hexdigest()

    return sorted(changes, key=lot)[:size]


def _kept(module: str) -> Path:
    """Where the results for today's package and today's tests of a module are kept."""
    files = [*sorted((ROOT / "src" / "attnbook").glob("*.py")), TESTS / "conftest.py"]
    files += [TESTS / "small_models.py", *(TESTS / f"test_{name}.py" for name in MODULES[module])]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("attnbook")) / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{module}-{digest}.jsonl"


def core(modules: list[str], size: int | None, processes: int) -> bool:
    """Break core modules; whether every survivor is argued for."""
    for name in HEAVY.split():
        __import__(name)
    listed = [m for m in listed_mutants() if "module" in m]
    good = True
    table = []
    for module in modules:
        everything = mutations(source_of_module(module).read_text("utf-8"))
        chosen = sample(module, everything, size)
        argued = {(m["function"], m["was"], now) for m in listed if m["module"] == module
                  for now in m["is"]}  # fmt: skip
        kept = _kept(module)
        lines = kept.read_text("utf-8").splitlines() if kept.exists() else []
        known = {tuple(words): result for *words, result in map(json.loads, lines)}
        left = [c for c in chosen if (c.function, c.was, c.now) not in known]
        with tempfile.TemporaryDirectory() as place, kept.open("a", encoding="utf-8") as record:
            for change, result in tried(module, left, Path(place), processes) if left else ():
                words = (change.function, change.was, change.now)
                known[words] = result
                record.write(json.dumps([*words, result]) + "\n")
                record.flush()
                done = sum((c.function, c.was, c.now) in known for c in chosen)
                print(f"{module}: {done} of {len(chosen)}", file=sys.stderr)
        survivors = [c for c in chosen if known[c.function, c.was, c.now] == SURVIVED]
        unargued = [c for c in survivors if (c.function, c.was, c.now) not in argued]
        for change in unargued:
            show(f"{module}.{change.function}", change.was, change.now)
        table.append((module, len(everything), len(chosen), len(survivors), len(unargued)))
        good = good and not unargued
    print(f"\n{'module':16} changes  tried  noticed  argued  not noticed")
    for module, changes, number, survived, unseen in table:
        row = f"{module:16}{changes:8}{number:7}{number - survived:9}"
        print(f"{row}{survived - unseen:8}{unseen:13}")
    return good


# --- exercises' solutions -------------------------------------------------------------------------

TEST = """
import pytest
from answers import answers
from attnbook.exercises import exercise
from attnbook.exercises.judge import attempt

SEEDS = ("practice", "first", "second")


@pytest.mark.parametrize("name", {names!r})
def test_answer(name):
    one = exercise(name)
    for seed in SEEDS[:1] if any(case.long for case in one.drawn()) else SEEDS:
        assert attempt(one, getattr(answers, name), seed).passed
"""

SETUP = """
[mutmut]
source_paths=answers
only_mutate=answers/answers.py
pytest_add_cli_args_test_selection=tests
also_copy=
"""


def project(folder: Path, names: list[str]) -> None:
    """A project whose source is the solutions, and whose tests are the exercises' checks.

    What an exercise gives, a model for instance, lies beside them and stays as it is.
    """
    from attnbook.exercises import exercises
    from attnbook.exercises.definition import PRELUDE, source_of

    known = exercises()
    given = {g.__name__: source_of(g) for name in names for g in known[name].given}
    given = {name: source for name, source in given.items() if name not in names}
    imports = [f"from answers.given import {name}" for name in given]
    solutions = [source_of(known[name].solution) for name in names]
    texts = {
        "__init__": "",
        "given": "\n\n".join([PRELUDE, *given.values()]),
        "answers": "\n\n".join([PRELUDE, *imports, *solutions]),
    }
    (folder / "answers").mkdir()
    for name, text in texts.items():
        (folder / "answers" / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_answers.py").write_text(TEST.format(names=names), encoding="utf-8")
    (folder / "setup.cfg").write_text(SETUP, encoding="utf-8")


def survivors(folder: Path) -> list[tuple[str, str, str]]:
    """Each mutant that passed: the function, the line that was, and the line that is."""
    words = [sys.executable, "-m", "mutmut"]
    said = subprocess.run([*words, "results"], cwd=folder, capture_output=True, text=True).stdout
    found = []
    for name in re.findall(
        r"^\s*(\S+): (?:survived|no tests|timeout|suspicious)", said, re.MULTILINE
    ):
        shown = subprocess.run(
            [*words, "show", name], cwd=folder, capture_output=True, text=True
        ).stdout
        removed = re.findall(r"^-(?!--)(.*)$", shown, re.MULTILINE)
        added = re.findall(r"^\+(?!\+\+)(.*)$", shown, re.MULTILINE)
        function = re.sub(r"^.*\.x_(.*)__mutmut_\d+$", r"\1", name)
        found.append((function, "\n".join(removed).strip(), "\n".join(added).strip()))
    return found


def solutions(names: list[str], processes: int) -> bool:
    """Break exercises' solutions with mutmut; whether every survivor is argued for."""
    listed = [m for m in listed_mutants() if "module" not in m]
    argued = {(m["function"], m["was"], now) for m in listed for now in m["is"]}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project(folder, names)
        run = subprocess.run(
            [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes)],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        counts = re.findall(r"\d+/\d+[^\n\r]*", run.stdout)
        if not counts:
            sys.exit(f"mutmut did not run:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        print(counts[-1])
        found = survivors(folder)
    unargued = [m for m in found if m not in argued]
    for function, was, now in unargued:
        show(function, was, now)
    print(f"{len(found)} survived, {len(found) - len(unargued)} of them argued")
    return not unargued


# --- both -----------------------------------------------------------------------------------------


def listed_mutants() -> list[dict[str, Any]]:
    """What ``tests/mutants.toml`` argues for."""
    found: list[dict[str, Any]] = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    return found


def show(function: str, was: str, now: str) -> None:
    """Print a change that nothing noticed."""
    print(f"\n{function}")
    print("\n".join(difflib.ndiff(was.splitlines(), now.splitlines())))


def main() -> None:
    """Break what is named, and compare what survives with the list."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="core modules and exercises; none: all of both")
    parser.add_argument("--sample", type=int, metavar="N", help="N changes of each core module")
    parser.add_argument("--processes", type=int, metavar="N", default=os.cpu_count() or 1)
    args = parser.parse_args()
    modules = [name for name in args.names or MODULES if name in MODULES]
    good = core(modules, args.sample, args.processes) if modules else True
    if not args.names or len(modules) < len(args.names):
        from attnbook.exercises import exercises

        names = [n for n in args.names if n not in MODULES] or list(exercises())
        good = solutions(names, args.processes) and good
    sys.exit(not good)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so end what was begun
    main()
