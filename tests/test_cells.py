"""Which statements of a notebook a function needs: everything it refers to, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest

from attnbook.grading.cells import define, needed

RIGHT = [
    "import math\nimport torch",
    "LOW = -math.inf",
    "def hide(scores, mask):\n    return scores.masked_fill(~mask, LOW)",
    """def answer(scores, mask):
    weights = torch.softmax(hide(scores, mask), dim=-1)
    return [float(weight) for weight in weights]""",
    "check(answer)",
]

# What learners try beside: none of it is the answer's, although names are the same.
SCRATCH = {
    "a local name, assigned": "weights = open('weights.txt').read()",
    "a parameter's name": "scores, mask = input(), input()",
    "in a loop": "for weight in forever():\n    weights = weight",
    "in a comprehension": "weight = [weights for weights in forever()]",
    "an attribute of that name": "x = 1\nx.softmax = forever()",
    "imported": "from nowhere import weights",
    "several imports, one missing": "import math, nowhere as mask",
    "a plot": "import matplotlib.pyplot as plt\nplt.plot(weights)\nplt.show()",
    "raises": "1 / 0",
    "slow": "while True:\n    pass",
    "a magic": "%matplotlib inline\nscores = %timeit -o answer(1)",
    "a cell magic": "%%bash\nweights = 1",
    "a shell command": "!pip install weights\nmask = !ls",
    "help": "answer?",
    "another function with those locals": "def other():\n    weights = forever()",
    "a lambda": "other = lambda weights: forever()",
    "a class": "class weights:\n    mask = 1",
    "no Python": "this is, no Python",
    "a with": "with forever() as mask:\n    pass",
    "a walrus": "print(weights := forever())",
    "a stub": "def answer(scores, mask):\n    ...",
    "an old stub with words": 'def hide(scores, mask):\n    """To be written."""',
}


class Row(list):
    """A row of scores that can be hidden; no torch is needed here."""

    def masked_fill(self, hidden: Row, value: float) -> Row:
        return Row(value if h else s for s, h in zip(self, hidden, strict=True))

    def __invert__(self) -> Row:
        return Row(not one for one in self)


def defined(cells: list[str]) -> dict[str, Any]:
    """The names after what `answer` needs was run."""
    import math

    class Torch:
        @staticmethod
        def softmax(row: Row, dim: int) -> list[float]:
            total = sum(math.exp(one) for one in row)
            return [math.exp(one) / total for one in row]

    statements = needed([cell.replace("import torch", "pass") for cell in cells], "answer")
    assert statements is not None
    names: dict[str, Any] = {"torch": Torch}
    names["passed over"] = define(statements, names)
    return names


def right(cells: list[str]) -> bool:
    weights: list[float] = defined(cells)["answer"](Row([0.0, 0.0, 9.0]), Row([1, 1, 0]))
    return weights == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("scratch", SCRATCH.values(), ids=SCRATCH)
def test_scratch_cells_are_not_run(scratch: str) -> None:
    for place in range(len(RIGHT) + 1):
        assert right([*RIGHT[:place], scratch, *RIGHT[place:]])


def test_order_and_scratch_do_not_matter() -> None:
    chance = random.Random(0)
    for _ in range(200):
        cells = RIGHT + chance.sample(list(SCRATCH.values()), 8)
        chance.shuffle(cells)
        assert right(cells), cells


@pytest.mark.parametrize(
    "cells",
    {
        "item": ["held = {}", "held['fill'] = 7", "def answer():\n    return held['fill']"],
        "append": ["kept = []", "kept.append(7)", "def answer():\n    return kept[0]"],
        "attribute": ["class A:\n    x = 1", "A.x = 7", "def answer():\n    return A.x"],
        "setattr": ["class A:\n    x = 1", "setattr(A, 'x', 7)", "def answer():\n    return A.x"],
        "augmented": ["LOW = -1", "LOW *= -7", "def answer():\n    return LOW"],
        "rebound": ["def answer():\n    return 6", "answer = lambda f=answer: f() + 1"],
        "decorated": [
            "def more(f):\n    return lambda: f() + 1",
            "@more\ndef answer():\n    return 6",
        ],
        "loop": ["d = {}", "for k in range(8):\n    d[k] = k", "def answer():\n    return d[7]"],
        "branch": ["if True:\n    x = 7\nelse:\n    x = 1", "def answer():\n    return x"],
        "unpacked": ["a, (b, *c) = 1, (7, 2)", "def answer():\n    return b"],
        "global": [
            "x = 1", "def to():\n    global x\n    x = 7", "to()", "def answer():\n    return x",
        ],
        "method": ["class A:\n    def f(self):\n        return y", "y = 7",
                   "def answer():\n    return A().f()"],
        "last definition": ["def answer():\n    return 1", "def answer():\n    return 7"],
        "an older value": ["x = 7", "y = x", "x = 1", "def answer():\n    return y"],
        "timed": ["%%time\ndef answer():\n    return 7"],
        "captured": ["\n%%capture out\ndef answer():\n    return 7"],
        "magic in a block": ["def answer():\n    if True:\n        %time\n    return 7"],
        "imports in a row": ["import nowhere, math", "def answer():\n    return math.isqrt(49)"],
    }.items(),
    ids=lambda pair: pair[0],
)  # fmt: skip
def test_whatever_makes_a_value_is_kept(cells: tuple[str, list[str]]) -> None:
    statements = needed(cells[1], "answer")
    assert statements is not None
    names: dict[str, Any] = {}
    define(statements, names)
    assert names["answer"]() == 7


def test_what_could_not_be_run_is_named() -> None:
    cells = ["x = 1", "import nowhere\nlow = nowhere.low", "def answer():\n    return low"]
    statements = needed(cells, "answer")
    assert statements is not None
    found = define(statements, {})
    assert found == [[2, "ModuleNotFoundError"], [2, "NameError"]]


def test_a_name_that_is_not_there_and_one_in_a_cell_that_is_no_python() -> None:
    assert needed(["x = 1", "answer"], "answer") is None
    with pytest.raises(SyntaxError, match="answer is not Python"):
        needed(["def answer(x)\n    return x"], "answer")
