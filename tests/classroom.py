"""Made classes: notebooks of learners who are right, wrong, or up to something."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import attnbook.exercises
from attnbook.exercises import Chapter, Exercise, chapter, course
from attnbook.exercises.definition import PRELUDE, source_of
from attnbook.grading.canary import check_installation
from attnbook.grading.grader import Grader
from attnbook.grading.sandbox import Sandbox

HERE = Path(__file__).parent
ORDINARY = 1234  # a user without rights
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

# --- the tests' own chapter -----------------------------------------------------------------------

OWN = "40_made_for_the_tests"


def _forget() -> None:
    course.chapters.cache_clear()
    course.exercises.cache_clear()


def register() -> Chapter:
    """Put the tests' own chapter among those of the course, for as long as this process lives."""
    folder = str(HERE / "own_chapter")
    if folder not in attnbook.exercises.__path__:
        attnbook.exercises.__path__.append(folder)
        _forget()
    return chapter(OWN)


@contextmanager
def registered() -> Iterator[Chapter]:
    """The same for a while."""
    yield register()
    attnbook.exercises.__path__.remove(str(HERE / "own_chapter"))
    _forget()


def program(*words: str) -> tuple[list[str], dict[str, str]]:
    """`attnbook` with the tests' own chapter: a command line, and what its environment needs."""
    start = "import classroom; classroom.register(); import attnbook.__main__ as a; exit(a.main())"
    return [sys.executable, "-c", start, *words], {"PYTHONPATH": str(HERE)}


def ordinary(words: list[str], *, read: Sequence[Path], write: Sequence[Path] = ()) -> list[str]:
    """A command as a user without rights has it run, who may read some folders and write others."""
    if os.getuid() != 0:
        return words
    # Root's home is closed to others, and what is needed may lie in it.
    outer = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/root", "--tmpfs", "/tmp"]
    places = [*read, *write]
    for folder in sorted({str(p) for place in places for p in place.parents} - {"/"}):
        outer += ["--perms", "0755", "--dir", folder]
    for place in read:
        outer += ["--ro-bind", str(place), str(place)]
    for place in write:
        os.chown(place, ORDINARY, ORDINARY)
        outer += ["--bind", str(place), str(place)]
    rights = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    return [*outer, "--cap-add", "ALL", *rights, *words]


@lru_cache
def bank(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Right and wrong answers to an exercise, by their style and by the name of their mistake."""
    (path,) = HERE.glob(f"*banks/{name}.py")
    spec = importlib.util.spec_from_file_location(f"bank_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers = {k: v for k, v in vars(module).items() if inspect.isfunction(v) or inspect.isclass(v)}
    right = {k.removeprefix("right_"): v for k, v in answers.items() if k.startswith("right_")}
    wrong = {
        k.removeprefix("wrong_").replace("_", "-"): v
        for k, v in answers.items()
        if k.startswith("wrong_")
    }
    return right, wrong


# --- notebooks ------------------------------------------------------------------------------------


def notebook(cells: Sequence[str], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    """A notebook with these code cells."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": KERNEL if metadata is None else metadata,
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for i, source in enumerate(cells)
        ],
    }


def answer(function: Any, name: str) -> str:
    """The source of a function or class, under an exercise's name."""
    source = textwrap.dedent(inspect.getsource(function))
    return source.replace(f" {function.__name__}(", f" {name}(", 1)


def solved(exercises: Sequence[Exercise]) -> list[str]:
    """The cells of a notebook with all exercises right."""
    cells = [PRELUDE + "from attnbook.exercises import check, hint, progress\n"]
    for exercise in exercises:
        cells += [source_of(given) for given in exercise.given]
        cells += [source_of(exercise.solution), f"check({exercise.name})"]
    return cells


def write(path: Path, cells: Sequence[str], metadata: dict[str, Any] | None = None) -> Path:
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(cells, metadata)), encoding="utf-8")
    return path


# --- sandboxes that have started ------------------------------------------------------------------


class Sandboxes:
    """Sandboxes of several tests, so that not every test waits until one has imported torch.

    A sandbox serves many submissions; that is how a class is graded. Here it goes on to the next
    grader, unless a learner's code made it one to throw away.
    """

    def __init__(self) -> None:
        self.ready: list[tuple[Any, int]] = []
        self.tried: set[tuple[object, ...]] = set()
        # A sandbox dies with the thread that started it, and the graders' own do not last.
        self.starters = ThreadPoolExecutor(2)
        pool, starters = self.ready, self.starters

        class Lent(Sandbox):
            in_order = False

            def _start(self) -> None:
                while not (self.unsafe or self.container) and pool:
                    self.process, self.served = pool.pop()
                    if self.process.poll() is None:
                        return
                starters.submit(super()._start).result()

            def run(self, *given: Any, **named: Any) -> Any:
                self.in_order = False  # in the midst of a question it is nobody else's
                answer = super().run(*given, **named)
                self.in_order = not (answer.ended or self.unsafe or self.container)
                return answer

            def close(self) -> None:
                if self.in_order and not self.cancelled and self.served < self.MOST:
                    pool.append((self.process, self.served))
                    self.process = None
                self.in_order = False
                super().close()

        self.kind = Lent

    def canary(self, grader: Grader, isolated: bool = True) -> None:
        """Flies once for the same exercises in the same kind of sandbox."""
        kind = (grader.exercises, isolated, grader.hidden.unsafe, grader.hidden.container)
        if kind not in self.tried:
            check_installation(grader, isolated)
            self.tried.add(kind)

    def lend(self, replace: Callable[[Any, str, Any], None]) -> None:
        """Let all graders have them, by ``monkeypatch.setattr``."""
        from attnbook.grading import bundle, classroom, cluster, grader

        replace(grader, "Sandbox", self.kind)
        for module in (bundle, classroom, cluster):
            replace(module, "check_installation", self.canary)

    def close(self) -> None:
        """End them all."""
        while self.ready:
            sandbox = Sandbox()
            sandbox.process, _ = self.ready.pop()
            sandbox.close()
        self.starters.shutdown()
