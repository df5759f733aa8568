"""Made classes: notebooks of learners who are right, wrong, or up to something."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnbook.exercises import Exercise
from attnbook.exercises.definition import PRELUDE, source_of

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


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
