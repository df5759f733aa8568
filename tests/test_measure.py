"""The scripts' cache, which follows the source, and the command that they share."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnbook.evaluation import bleu
from scripts import ROOT, load_script

measure = load_script("book/results/_measure.py")
closure = load_script("book/results/_closure.py")

SCRIPT = '''
"""A script."""
from attnbook import tools
from attnbook.tools import helper as helps
import shared

TABLE = {"a": 1}
for _key in ("b", "c"):
    TABLE[_key] = 2
OTHER = 3


class Base:
    """One."""
    rate = 0.5


class Model(Base):
    def step(self, row: list[int]) -> float:
        return self.rate * len(row)


def measured(count: int) -> float:
    """What is measured."""
    row = [helps(count) for _ in range(count)]  # row is no function here
    return Model().step(row) + shared.TABLE_OF[0] + len(TABLE) + late(count)


def late(count):
    from attnbook.more import last

    return last(count)


def row():
    return 1


def unused():
    return OTHER


if __name__ == "__main__":
    print(measured(3))
'''
SHARED = "from attnbook.tools import LIMIT\n\nTABLE_OF = (LIMIT, 2)\nNOT_READ = 5\n"
TOOLS = '''
"""Tools."""
LIMIT = 10


def helper(count):
    """Helps."""
    return inner(count)


def inner(count):
    return count + 1


def not_called(count):
    return count
'''
MORE = "from attnbook.tools import inner as last\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in (
        ("book/results/script.py", SCRIPT),
        ("book/results/shared.py", SHARED),
        ("src/attnbook/__init__.py", ""),
        ("src/attnbook/tools.py", TOOLS),
        ("src/attnbook/more.py", MORE),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def digest(root: Path) -> str:
    found: str = closure.Sources(root).digest("script", "measured")
    return found


# --- what a number is made of -------------------------------------------------------------------


def changes_the_digest(checkout: Path, file: str, before: str, after: str) -> bool:
    """Edit one place of a file."""
    whole = digest(checkout)
    text = (checkout / file).read_text(encoding="utf-8")
    assert text.count(before) == 1
    (checkout / file).write_text(text.replace(before, after), encoding="utf-8")
    return digest(checkout) != whole


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("book/results/script.py", "len(TABLE)", "2 * len(TABLE)"),
        ("book/results/script.py", "rate = 0.5", "rate = 0.6"),
        ("book/results/script.py", "TABLE[_key] = 2", "TABLE[_key] = 3"),
        ("book/results/script.py", '("b", "c")', '("b", "d")'),
        ("book/results/script.py", "import last", "import helper as last"),
        ("book/results/shared.py", "TABLE_OF = (LIMIT, 2)", "TABLE_OF = (LIMIT, 3)"),
        ("src/attnbook/tools.py", "LIMIT = 10", "LIMIT = 11"),
        ("src/attnbook/tools.py", "return inner(count)", "return inner(count) + 1"),
        ("src/attnbook/tools.py", "return count + 1", "return count + 2"),
        ("src/attnbook/more.py", "import inner as last", "import helper as last"),
    ],
)
def test_a_change_of_what_is_used_changes_the_digest(
    checkout: Path, file: str, before: str, after: str
) -> None:
    assert changes_the_digest(checkout, file, before, after)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("book/results/script.py", "# row is no function here", "# another comment"),
        ("book/results/script.py", '"""What is measured."""', '"""In other words."""'),
        ("book/results/script.py", '    """One."""\n', ""),
        ("book/results/script.py", "count: int) -> float", "count: float) -> Any"),
        ("book/results/script.py", "for _ in range(count)]", "for _ in range(count)\n    ]"),
        ("book/results/script.py", "OTHER = 3", "OTHER = 4"),
        ("book/results/script.py", "def row():\n    return 1", "def row():\n    return 2"),
        ("book/results/script.py", "print(measured(3))", "print(measured(4))"),
        ("book/results/shared.py", "NOT_READ = 5", "NOT_READ = 6"),
        ("src/attnbook/tools.py", "    return count\n", "    return -count\n"),
        ("src/attnbook/tools.py", '"""Tools."""', '"""More tools."""'),
    ],
)
def test_a_change_of_anything_else_does_not(
    checkout: Path, file: str, before: str, after: str
) -> None:
    assert not changes_the_digest(checkout, file, before, after)


def test_a_changed_helper_in_a_copy_of_the_repository(tmp_path: Path) -> None:
    """`row` of chapter 6 measures with the package's decoding; it has nothing to do with BERT."""
    for folder in ("book/results", "src/attnbook"):
        for path in (ROOT / folder).rglob("*.py"):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    before = closure.Sources(tmp_path).digest("general_concat", "row")
    assert before == closure.Sources(ROOT).digest("general_concat", "row")
    for file, changes in (("decoding.py", True), ("bert.py", False)):
        path = tmp_path / "src" / "attnbook" / file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(" + ", " - "), encoding="utf-8")
        after = closure.Sources(tmp_path).digest("general_concat", "row")
        assert (after != before) == changes, file
        path.write_text(text, encoding="utf-8")


def test_every_part_of_every_script_has_a_source() -> None:
    """The models' table stays outside: a line more in it makes no measured number old."""
    found = closure.Sources(ROOT).closure("bahdanau", "row")
    assert ("attnbook.decoders", "BahdanauDecoder") in found
    assert ("attnbook.alignment", "alignment_scores") in found
    assert ("train", "load") in found
    assert ("train", "MODELS") not in found
    assert not {name for module, name in found if module == "_measure"} & {"Cache", "reading"}


def test_only_functions_with_a_name_of_their_own_have_a_source() -> None:
    def inner() -> int:
        return 1

    for function in (inner, lambda: 1):
        with pytest.raises(ValueError, match="not at a module's top level"):
            closure.digest(function)
    assert closure.digest(measure.interval) == closure.digest(measure.interval)


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cache in an empty folder; what it measures reads a model and says how often it did."""
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    monkeypatch.setattr(measure._closure, "digest", lambda function: function.__name__)
    cache = measure.Cache("script")
    cache.folder = tmp_path / "cache"
    cache.calls = []
    (tmp_path / "model").write_text("one", encoding="utf-8")

    def part(number: int) -> dict[str, Any]:
        cache.calls.append(number)
        text = measure.reading(tmp_path / "model").read_text(encoding="utf-8")
        return {"number": number, "model": text}

    cache.part = part
    return cache


def test_a_part_is_measured_once(counting: Any) -> None:
    assert counting("name", counting.part, 1) == {"number": 1, "model": "one"}
    assert counting("name", counting.part, 1) == {"number": 1, "model": "one"}
    assert counting.calls == [1]


def test_other_arguments_are_another_part(counting: Any) -> None:
    counting("name", counting.part, 1)
    assert counting("name", counting.part, 2)["number"] == 2
    assert counting.calls == [1, 2]


def test_another_source_is_another_part(counting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counting("name", counting.part, 1)
    monkeypatch.setattr(measure._closure, "digest", lambda _: "edited")
    counting("name", counting.part, 1)
    assert counting.calls == [1, 1]


def test_another_model_is_measured_again(counting: Any, tmp_path: Path) -> None:
    counting("name", counting.part, 1)
    (tmp_path / "model").write_text("other", encoding="utf-8")
    assert counting("name", counting.part, 1)["model"] == "other"
    (tmp_path / "model").unlink()
    with pytest.raises(FileNotFoundError):
        counting("name", counting.part, 1)


def test_a_part_of_parts_depends_on_their_models(counting: Any, tmp_path: Path) -> None:
    def outer() -> Any:
        return counting("inner", counting.part, 1)

    for text in ("one", "other"):
        (tmp_path / "model").write_text(text, encoding="utf-8")
        for _ in range(2):
            assert counting("outer", outer)["model"] == text
    assert counting.calls == [1, 1]


def test_fresh_measures_again_once(counting: Any) -> None:
    counting("name", counting.part, 1)
    fresh = measure.Cache("script", fresh=True)
    fresh.folder = counting.folder
    fresh("name", counting.part, 1)
    fresh("name", counting.part, 1)
    assert counting.calls == [1, 1]


def test_what_is_interrupted_leaves_nothing(counting: Any) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        counting("name", interrupted)
    assert not counting.folder.exists()
    with pytest.raises(TypeError):  # what JSON cannot hold
        counting("name", counting_object)
    assert list(counting.folder.iterdir()) == []


def counting_object() -> object:
    return object()


def test_tensors_come_back_as_tensors(counting: Any) -> None:
    def weights() -> dict[str, Any]:
        counting.calls.append(0)
        return {"weights": {"layer": torch.arange(3.0)}, "seconds": 1.5}

    for _ in range(2):
        found = counting.tensors("name", weights)
        assert torch.equal(found["weights"]["layer"], torch.arange(3.0))
        assert found["seconds"] == 1.5
    assert counting.calls == [0]


# --- the command ----------------------------------------------------------------------------------


def one() -> int:
    return 1


def two_at_once() -> dict[str, int]:
    return {"two": 2, "three": 3}


def times_ten(number: int) -> int:
    return 10 * number


def without_model() -> None:
    raise measure.Missing("model is not trained yet")


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script's command in an empty folder."""
    monkeypatch.setattr(measure, "HERE", tmp_path)
    monkeypatch.setattr(measure._closure, "digest", lambda function: function.__name__)

    def command(parts: dict[Any, Any], *words: str, holds: bool = True) -> dict[str, Any]:
        cache = measure.Cache("script")
        cache.folder = tmp_path / "cache"
        script = measure.Script("A script.", parts, lambda _: {"it is so": holds}, cache)
        monkeypatch.setattr(sys, "argv", ["script.py", *words])
        script.run()
        found: dict[str, Any] = script.stored()
        return found

    return command


PARTS = {"one": one, ("two", "three"): two_at_once, "ten": (times_ten, 1), "constant": "word"}


def test_all_parts_are_written_with_what_they_were_made_from(run: Run) -> None:
    found = run(PARTS)
    assert [found[key] for key in ("one", "two", "three", "ten", "constant")] == [
        1, 2, 3, 10, "word",
    ]  # fmt: skip
    assert found["command"] == "python book/results/script.py"
    assert found["seeds"] == [0]
    assert found["made_from"] == {
        "one": "one", "two": "two_at_once", "three": "two_at_once", "ten": "times_ten[1]",
    }  # fmt: skip


def test_one_part_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(PARTS)
    found = run(PARTS | {"one": two_at_once, "ten": (times_ten, 2)}, "--only", "ten")
    assert (found["one"], found["ten"]) == (1, 20)
    assert found["made_from"]["one"] == "one"
    with pytest.raises(SystemExit):
        run(PARTS, "--only", "eleven")


def test_what_lacks_its_model_stays_as_it_was(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(PARTS)
    without = PARTS | {"one": without_model, "new": one}
    with pytest.raises(measure.Missing, match="not trained"):
        run(without)
    found = run(without, "--available")
    assert (found["one"], found["made_from"]["one"], found["new"]) == (1, "one", 1)
    assert "left as it was: model is not trained yet" in capsys.readouterr().out


def test_what_is_no_longer_measured_goes(run: Run) -> None:
    run(PARTS)
    found = run({"one": one})
    assert set(found) == {
        "command", "seeds", "device", "threads", "torch", "one", "made_from",
    }  # fmt: skip


def test_words_that_no_longer_hold_are_an_error(run: Run) -> None:
    with pytest.raises(SystemExit, match="a page says what these numbers do not: it is so"):
        run(PARTS, holds=False)


def test_stale_are_the_numbers_of_another_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    run(PARTS)
    script = measure.Script("A script.", PARTS, dict, measure.Cache("script"))
    assert script.stale() == []
    monkeypatch.setattr(measure._closure, "digest", lambda function: function.__name__ + "!")
    assert script.stale() == ["one", "two", "three", "ten"]


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text("before", encoding="utf-8")

    def half() -> None:
        with measure.replacing(path) as new:
            new.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text(encoding="utf-8") == "before"
    with measure.replacing(path) as new:
        new.write_text("after", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "after"
    assert list(tmp_path.iterdir()) == [path]


# --- numbers over seeds and sentences -------------------------------------------------------------


def test_counts_add_up_to_sacrebleus_score() -> None:
    chance = np.random.default_rng(0)
    words = [f"w{i}" for i in range(6)]
    references = [chance.choice(words, size=chance.integers(5, 12)).tolist() for _ in range(20)]
    found = [[w if chance.random() < 0.7 else "x" for w in sentence] for sentence in references]
    found[3] = found[3][:2]
    counts = measure.bleu_counts(found, references)
    assert float(measure.bleu_of(counts.sum(axis=0))) == pytest.approx(
        bleu(found, references).score
    )
    for row, sentence, reference in zip(counts, found, references, strict=True):
        assert list(row[8:]) == [len(sentence), len(reference)]


def test_draws_are_of_all_sentences_with_replacement() -> None:
    drawn = measure.resample(5, 400)
    assert drawn.shape == (400, 5)
    assert set(drawn.sum(axis=1)) == {5}
    assert drawn.mean() == pytest.approx(1)
    assert measure.interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


def test_nobody_stays_in_place() -> None:
    order = measure.derangement(7, seed=1)
    assert sorted(order) == list(range(7))
    assert all(i != j for i, j in enumerate(order))


def test_over_seeds_by_hand() -> None:
    assert measure.spread(iter([1.0, 2.0, 6.0])) == {"mean": 3.0, "low": 1.0, "high": 6.0}
    assert measure.over_seeds(iter([1.0, 3.0])) == {"mean": 2.0, "seeds": [1.0, 3.0]}
    assert json.loads(json.dumps(measure.over_seeds([1.0])))["seeds"] == [1.0]
