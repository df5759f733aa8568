"""What an exercise is: its statement, its inputs, its solution, and the mistakes it knows.

An exercise is one function (or class) that a learner writes. Everything about it stands in one
place, and everything else is made from that: the learners' notebook and its stub, the page's fold
with the solution, the checks, and the inputs that a class is graded on.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "PRACTICE",
    "PRELUDE",
    "Case",
    "Chapter",
    "Draw",
    "Exercise",
    "Mistake",
    "source_of",
    "stub_of",
]

#: What a solution may use without importing it: the first cell of every notebook.
PRELUDE = """\
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
"""

#: The seed of the inputs that a learner's own checks use.
PRACTICE = "practice"

BEGIN, END, STUB = "# BEGIN SOLUTION", "# END SOLUTION", "#: "


class Draw:
    """Small random inputs, the same for the same seed on every machine.

    Args:
        seed: any text.
        name: of the exercise; another exercise has other inputs.
    """

    def __init__(self, seed: str, name: str) -> None:
        digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
        self.numbers = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def normal(self, *shape: int, std: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal numbers with one decimal, so that they can be followed on paper."""
        drawn = np.round(self.numbers.normal(0.0, std, shape), 1) + 0.0
        return torch.tensor(drawn, dtype=dtype)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from ``low`` to ``high``, without ``high``."""
        return torch.tensor(self.numbers.integers(low, high, shape))

    def integer(self, low: int, high: int) -> int:
        """One whole number from ``low`` to ``high``, without ``high``."""
        return int(self.numbers.integers(low, high))

    def permutation(self, size: int) -> Tensor:
        """The numbers below ``size`` in a random order, never the natural one."""
        while size > 1:
            order = self.numbers.permutation(size)
            if (order != np.arange(size)).any():
                return torch.tensor(order)
        return torch.arange(size)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return options[self.integer(0, len(options))]


@dataclass(frozen=True)
class Case:
    """One small input, and the property that it tests.

    Attributes:
        holds: the property, as a statement that is true of a right solution: "a hidden position
            has weight 0". Cases may share one.
        inputs: the arguments, by name, in the order of the signature.
        gradients: arguments for which the gradients are compared, too.
        accept: decides instead of a comparison with the solution, from what was returned; what it
            needs to know stays with it and never travels to a learner.
        hint: said when the property fails and no known mistake explains how.
        long: takes more than a moment, a training for instance. It is tried only when all other
            cases are right.
    """

    holds: str
    inputs: dict[str, Any]
    gradients: tuple[str, ...] = ()
    accept: Callable[[Any], bool] | None = None
    hint: str = ""
    long: bool = False

    def __post_init__(self) -> None:
        if self.long and self.accept is None:
            raise ValueError(
                f"{self.holds}: a long case needs `accept`, because no misconception "
                "is tried with it"
            )


@dataclass(frozen=True)
class Mistake:
    """A misconception, and how to recognize it.

    Attributes:
        name: short, in words joined by hyphens.
        hint: names the misconception, as a question or a statement.
        more: a stronger hint, for who asks: what to change.
        wrong: does what someone with this misconception writes. Whoever does the same with all
            inputs has the misconception.
        sign: recognizes it instead: from the cases, what was expected, and what came.
    """

    name: str
    hint: str
    more: str
    wrong: Any = None
    sign: Callable[[Sequence[Case], Sequence[Any], Sequence[Any]], bool] | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        solution: the function or class, with the parts that a learner writes between
            ``# BEGIN SOLUTION`` and ``# END SOLUTION``; lines there that begin with ``#:`` stand in
            the stub instead. It may use :data:`PRELUDE` and :attr:`given` and nothing else. Its
            name is the exercise's, its docstring the specification.
        title: a few words.
        difficulty: 1 fill in a line or two; 2 write or repair a function; 3 build something.
        minutes: that a learner should plan for it.
        points: that it is worth; all or none.
        goal: what and why, in Markdown.
        shapes: of arguments and result, in Markdown.
        example: a tiny worked example, in Markdown.
        section: where the page explains it, a label such as ``dot-attention-masks``.
        explanation: why the solution is as it is, in Markdown.
        start: the first hint, for who has not begun.
        more: a stronger one.
        cases: makes the inputs from a :class:`Draw`.
        mistakes: what is recognized beyond what every exercise knows.
        given: functions or classes that the notebook gives before the exercise.
        probe: how the function is called, a name in :data:`attnbook.exercises.probes.PROBES`.
        seconds: of processor time that all cases together may take.
        tolerance: relative and absolute, for 32-bit numbers; 64-bit numbers are compared a
            thousand times as strictly.
    """

    solution: Any
    title: str
    difficulty: int
    minutes: int
    points: int
    goal: str
    shapes: str
    example: str
    section: str
    explanation: str
    start: str
    more: str
    cases: Callable[[Draw], Iterable[Case]]
    mistakes: tuple[Mistake, ...] = ()
    given: tuple[Any, ...] = ()
    probe: str = "call"
    seconds: int = 4
    tolerance: tuple[float, float] = (1e-4, 1e-5)
    chapter: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name of the function that a learner writes, and of the exercise."""
        return str(self.solution.__name__)

    @property
    def repair(self) -> bool:
        """Whether a learner starts from a function that is whole and wrong."""
        stub = ast.parse(stub_of(self.solution))
        return not any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(stub))

    def drawn(self, seed: str = PRACTICE) -> list[Case]:
        """The cases for a seed, the same for the same seed."""
        return list(self.cases(Draw(seed, self.name)))


@dataclass(frozen=True)
class Chapter:
    """The exercises of one chapter.

    Attributes:
        name: the stem of its page and of its notebook.
        title: of the notebook.
        opening: a paragraph or two before the first exercise, in Markdown.
        exercises: in the order of the notebook.
    """

    name: str
    title: str
    opening: str
    exercises: tuple[Exercise, ...]

    def __post_init__(self) -> None:
        for exercise in self.exercises:
            object.__setattr__(exercise, "chapter", self.name)

    @property
    def number(self) -> int:
        """The chapter's number."""
        return int(self.name.split("_")[0])


def source_of(thing: Any) -> str:
    """The source of a function or class, without the marks around the learner's part."""
    lines = inspect.getsource(thing).splitlines()
    kept = [x for x in lines if x.strip() not in (BEGIN, END) and not x.strip().startswith(STUB)]
    return textwrap.dedent("\n".join(kept)) + "\n"


def stub_of(solution: Any) -> str:
    """What a learner starts from: the same source with ``...`` for each part to write.

    Raises:
        ValueError: no such part, or one that does not end.
    """
    lines = textwrap.dedent(inspect.getsource(solution)).splitlines()
    stub: list[str] = []
    block: list[str] | None = None
    blocks = 0
    for line in lines:
        word = line.strip()
        if word == BEGIN:
            if block is not None:
                raise ValueError(f"{solution.__name__}: {BEGIN} inside a solution")
            block, blocks = [], blocks + 1
            indent = line[: len(line) - len(line.lstrip())]
        elif word == END:
            if block is None:
                raise ValueError(f"{solution.__name__}: {END} without a beginning")
            left = [x for x in block if x.strip().startswith(STUB) or x.strip() == STUB.strip()]
            stub += [re.sub(r"^(\s*)#: ?", r"\1", x) for x in left] or [f"{indent}..."]
            block = None
        elif block is not None:
            block.append(line)
        else:
            stub.append(line)
    if block is not None or not blocks:
        raise ValueError(f"{solution.__name__}: no {BEGIN} … {END}")
    return "\n".join(stub) + "\n"
