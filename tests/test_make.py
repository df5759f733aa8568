"""What `make` decides: when the site is built, how much of it, and what a failed build leaves.

A folder like the repository's, with a space in its name and a jupyter-book that only writes down
how it was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

JUPYTER_BOOK = """#!/bin/sh
[ -d _build/html ] && echo changed >> calls || echo everything >> calls
mkdir -p _build/html _build/.doctrees/book
touch _build/.doctrees/book/one.doctree _build/.doctrees/book/two.doctree
! grep -q WRONG book/*.md
"""


class Checkout:
    """A small checkout, and how it was built."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = time.time() - 1000
        shutil.copy(ROOT / "Makefile", root)
        for name in (
            "_config.yml", "_toc.yml", "requirements.txt", "pyproject.toml", "tools/install.sh",
            "tools/book_site.py", "book/one.md", "book/two.md", "book/assets/a.css",
            "src/attnbook/masks.py", "notebooks/lab.ipynb", "book/results/one.json",
        ):  # fmt: skip
            self.write(name, "")
        self.write(".venv/bin/jupyter-book", JUPYTER_BOOK)
        (root / ".venv/bin/jupyter-book").chmod(0o755)
        self.write(".venv/.installed", "")
        # A clock that ticks coarsely must not make a source as new as what is made from it.
        for path in root.rglob("*"):
            self.tick(path)
        self.tick(root / ".venv/.installed")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.tick(path)

    def tick(self, path: Path) -> None:
        """This file is newer than all others."""
        self.clock += 1
        os.utime(path, (self.clock, self.clock))

    def make(self, target: str) -> bool:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", target], cwd=self.root, env=clean | {"LC_ALL": "C"}, capture_output=True
        )
        for stamp in (".built", ".whole"):
            path = self.root / "_build/html" / stamp
            if path.exists() and path.stat().st_mtime > self.clock:
                self.tick(path)
        return done.returncode == 0

    @property
    def calls(self) -> list[str]:
        calls = self.root / "calls"
        return calls.read_text(encoding="utf-8").split() if calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "a course").mkdir()
    return Checkout(tmp_path / "a course")


def test_nothing_is_built_twice(checkout: Checkout) -> None:
    assert checkout.make("site")
    assert checkout.make("site")
    assert checkout.calls == ["everything"]


@pytest.mark.parametrize("name", ["book/one.md", "notebooks/lab.ipynb", "book/results/one.json"])
def test_a_changed_page_is_built_alone(checkout: Checkout, name: str) -> None:
    checkout.make("site")
    checkout.write(name, "new")
    assert checkout.make("site")
    assert checkout.calls == ["everything", "changed"]


@pytest.mark.parametrize(
    "name", ["_config.yml", "_toc.yml", "src/attnbook/masks.py", "book/assets/a.css"]
)
def test_what_may_show_on_every_page_builds_all_of_them(checkout: Checkout, name: str) -> None:
    checkout.make("site")
    checkout.write(name, "new")
    assert checkout.make("site")
    assert checkout.calls == ["everything", "everything"]


def test_a_page_that_failed_is_read_again(checkout: Checkout) -> None:
    """Sphinx would pass over a warning of a page that it has read already."""
    checkout.make("site")
    checkout.write("book/one.md", "WRONG")
    assert not checkout.make("site")
    assert not (checkout.root / "_build/.doctrees/book/one.doctree").exists()
    assert (checkout.root / "_build/.doctrees/book/two.doctree").exists()
    assert not checkout.make("site"), "the next build must fail as well"
    checkout.write("book/one.md", "right")
    assert checkout.make("site")
    assert checkout.calls == ["everything", "changed", "changed", "changed"]


def test_the_build_that_decides_is_made_from_nothing(checkout: Checkout) -> None:
    checkout.make("site")
    assert checkout.make("whole")
    assert checkout.calls == ["everything"], "the first build was made from nothing"
    checkout.write("book/one.md", "new")
    checkout.make("site")
    assert checkout.make("whole")
    assert checkout.make("whole")
    assert checkout.make("site")
    assert checkout.calls == ["everything", "changed", "everything"], "nothing is left to do"


def test_a_first_build_that_fails_is_followed_by_a_whole_one(checkout: Checkout) -> None:
    checkout.write("book/one.md", "WRONG")
    assert not checkout.make("site")
    checkout.write("book/one.md", "right")
    assert checkout.make("site")
    assert checkout.calls == ["everything", "everything"]
