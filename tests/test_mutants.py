"""What `make mutants` changes, what it leaves alone, and that its list is of today's changes."""

import json
import subprocess
import sys

import pytest

import mutants
from attnbook.exercises import exercises
from attnbook.exercises.definition import source_of
from mutations import edited, mutations


def changed(line):
    """What becomes of a line inside a function."""
    return [change.now for change in mutations(f"import torch\ndef f(x, y):\n    {line}\n")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x < y", ["x <= y"]),
        ("(x) not in(y)", ["(x) in(y)"]),
        ("x - (y - x)", ["x + (y - x)", "x", "(y - x)", "x - (y + x)", "x - (y)", "x - (x)"]),
        ("x and y", ["x or y", "x", "y"]),
        ("~x", ["x"]),
        ("x if x else y", ["x", "y"]),
        ("return -1", ["return 1", "return -2"]),
        ("return 0.5, True", ["return 1.0, True", "return 0.5, False"]),
        ("y = 'a'", ["y = 'aXX'"]),
        ("return x[1:y]", ["return x[:y]", "return x[1:]", "return x[2:y]"]),
        ("return x[::2]", ["return x[:]", "return x[::3]"]),
        ("x.append(y)", ["pass", "y", "x"]),
        ("return x.to(y)", ["return y", "return x"]),
        ("return torch.cat(x, dim=y)", ["return torch.cat(x)", "return x"]),
        ("return zip(x, y, strict=True)", ["return x"]),
        ("x.y = y", ["pass"]),
        ("x += y", ["pass"]),
        ("return [i for i in x if y]", ["return [i for i in x if True]"]),
    ],
)
def test_each_change_by_hand(line, expected):
    assert changed(line) == expected


def test_blocks_by_hand():
    text = "def f(x):\n    while x:\n        if x:\n            break\n"
    assert [(m.function, m.was, m.now) for m in mutations(text)] == [
        ("f", "while x:", "while False:"),
        ("f", "if x:", "if True:"),
        ("f", "if x:", "if False:"),
        ("f", "break", "continue"),
    ]
    assert mutations(text)[0].text == text.replace("while x", "while False")


def test_what_no_test_should_notice_is_left_alone():
    assert not mutations(
        '"""A module."""\n'
        "__all__ = ['A']\n"
        f"SUM = '{'0f' * 32}'\n"
        "class A:\n"
        '    """A class."""\n'
        "    field: Float[Tensor, 'batch']\n"
        "    @kept(1)\n"
        "    def f(self, x: Int[Tensor, 'batch 1']) -> Literal[2]:\n"
        "        assert x, 'words'\n"
        "        raise ValueError(f'got {x + 1}' 'words')\n"
    )


def test_a_sample_is_the_same_again_and_an_edit_moves_no_other():
    text = mutants.source_of_module("masks").read_text(encoding="utf-8")
    one = mutants.sample("masks", mutations(text), 10)
    assert one == mutants.sample("masks", mutations(text), 10)
    assert one == mutants.sample("masks", mutations(text), None)[:10]
    edited = text + "\n\ndef another(x):\n    return x + 1\n"
    two = mutants.sample("masks", mutations(edited), 10)
    words = [{(m.function, m.was, m.now) for m in found} for found in (one, two)]
    assert len(words[0] - words[1]) <= 3
    assert {function for function, _, _ in words[1] - words[0]} <= {"another"}


def test_what_is_argued_for_is_a_change_of_todays_sources():
    """A listed line that is gone has to go from the list, too."""
    listed = mutants.listed_mutants()
    assert listed
    core = {
        module: {(m.function, m.was, m.now) for m in edited(path.read_text(encoding="utf-8"))}
        for module in mutants.MODULES
        if (path := mutants.source_of_module(module))
    }
    for mutant in listed:
        assert mutant["is"]
        assert mutant["was"] not in mutant["is"]
        assert mutant["why"].endswith(".")
        if "module" in mutant:
            for now in mutant["is"]:
                assert (mutant["function"], mutant["was"], now) in core[mutant["module"]], mutant
        else:
            lines = source_of(exercises()[mutant["function"]].solution).splitlines()
            assert [line.strip() for line in lines].count(mutant["was"]) == 1, mutant


def test_each_core_module_has_its_tests():
    for module, tests in mutants.MODULES.items():
        assert mutants.source_of_module(module).is_file()
        assert f"test_{module}.py" in {f"test_{name}.py" for name in tests}
        assert all((mutants.TESTS / f"test_{name}.py").is_file() for name in tests)


@pytest.mark.exhaustive
def test_a_change_is_noticed_where_it_counts_and_an_endless_loop_ends(tmp_path):
    script = """
import json, sys
from pathlib import Path
import mutants
from mutations import Mutation
text = mutants.source_of_module("alignment").read_text("utf-8")
line = "    sure = frozenset(links)\\n    rows"
assert line in text
changes = [
    Mutation("", "", name, text.replace(line, other + line))
    for name, other in {
        "nothing": "    # no change\\n",
        "wrong": "    links = ()\\n",
        "endless": "    while True: pass\\n",
    }.items()
]
mutants._alone = lambda module, place: -2.0  # so that 10 seconds are the limit
found = mutants.tried("alignment", changes, Path(sys.argv[1]), 2)
print(json.dumps({change.now: result for change, result in found}))
"""
    environment = {"PYTHONPATH": str(mutants.ROOT / "tools"), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(said.stdout) == {
        "nothing": mutants.SURVIVED,
        "wrong": mutants.NOTICED,
        "endless": mutants.NOTICED,
    }, said.stderr
