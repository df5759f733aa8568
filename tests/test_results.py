"""The measuring scripts: what their JSON holds, what pages say of it in words, their figures."""

from __future__ import annotations

import functools
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest

from attnbook import plots
from scripts import ROOT, load_script

BOOK = ROOT / "book"
RESULTS = BOOK / "results"
SCRIPTS = sorted(
    path.stem
    for path in RESULTS.glob("[a-z]*.py")
    if "\nSCRIPT = Script(" in path.read_text(encoding="utf-8")
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@functools.cache
def script(name: str) -> Any:
    return load_script(f"book/results/{name}.py").SCRIPT


def test_every_stored_result_has_its_script() -> None:
    assert len(SCRIPTS) >= 18
    measured_elsewhere = {"benchmark", "gpu"}  # by `attnbook benchmark` and by `make gpu`
    assert {path.stem for path in RESULTS.glob("*.json")} - measured_elsewhere == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_stored_numbers_are_those_that_the_script_measures(name: str) -> None:
    """A key that is missing was never measured; one too many is measured no more."""
    stored = script(name).stored()
    assert list(stored) == script(name).keys()
    assert set(stored["made_from"]) <= set(script(name).sources())
    assert stored["command"] == f"python book/results/{name}.py"


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_pages_say_of_the_numbers_is_so(name: str) -> None:
    statements = script(name).check(script(name).stored())
    assert statements
    assert [text for text, holds in statements.items() if not holds] == []


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same JSON with every number and word changed, and every list perhaps turned round."""
    if isinstance(value, dict):
        return {key: changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return change([changed(inner, change) for inner in value])
    return value if value is None else change(value)


def distortions() -> Iterator[Callable[[Any], Any]]:
    """Ways to spoil results, one kind of value at a time: checks can still read them."""
    ways: dict[type, tuple[Callable[[Any, random.Random], Any], ...]] = {
        float: (
            lambda value, chance: value * chance.uniform(0.3, 2),
            lambda value, chance: value * chance.uniform(-3, 3),
            lambda _, chance: chance.choice((0.0, 0.5, 1.0, 100.0)),
            lambda value, _: -abs(value),
            lambda *_: 0.5,
        ),
        int: (
            lambda value, _: value + 1,
            lambda value, chance: round(value * chance.uniform(0, 3)),
            lambda _, chance: chance.randrange(2000),
        ),
        str: (lambda value, _: f"{value} x", lambda value, _: value[::-1]),
        bool: (lambda value, _: not value,),
        list: (lambda value, _: value[::-1], lambda value, _: value[:-1]),
    }
    for seed in range(24):
        for kind, some in ways.items():
            for way in some:
                chance = random.Random(seed)

                def spoil(
                    value: Any,
                    kind: type = kind,
                    way: Callable[[Any, random.Random], Any] = way,
                    chance: random.Random = chance,
                    rate: float = 0.3 * (seed % 2),
                ) -> Any:
                    spared = type(value) is not kind or chance.random() < rate
                    return value if spared else way(value, chance)

                yield spoil


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_statement_could_be_false(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them holds of whatever numbers: a statement says something of its own."""
    stored = script(name).stored()
    unshaken = set(script(name).check(stored))
    measure, read = sys.modules["_measure"], sys.modules["_measure"].read_json
    for change in distortions():
        monkeypatch.setattr(
            measure, "read_json", lambda path, change=change: changed(read(path), change)
        )
        try:
            found = script(name).check(changed(stored, change) | {"seeds": stored["seeds"]})
        except (ArithmeticError, LookupError, TypeError, ValueError):
            continue
        unshaken &= {text for text, holds in found.items() if holds}
    assert unshaken == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_figures_are_of_the_stored_numbers(name: str, tmp_path: Path) -> None:
    """Drawn again from the JSON they are the book's, but for the last digits of coordinates."""
    with plots.style():
        for figure, drawn in script(name).draw(script(name).stored()).items():
            plots.save(drawn, tmp_path / f"{figure}.svg")
            plt.close(drawn)
            again, book = (
                # Names of clipping paths are digests of coordinates.
                re.sub(r"\b[mp][0-9a-f]{10}\b", "", (folder / f"{figure}.svg").read_text("utf-8"))
                for folder in (tmp_path, BOOK / "figures")
            )
            assert NUMBER.sub("", again) == NUMBER.sub("", book), figure
            numbers = [[float(n) for n in NUMBER.findall(text)] for text in (again, book)]
            assert numbers[0] == pytest.approx(numbers[1], abs=0.05), figure


# --- what is cheap is measured again --------------------------------------------------------------


def same(one: Any, other: Any) -> None:
    """Nested numbers, equal to rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
    else:
        assert one == other


def again(module: ModuleType, key: str) -> Any:
    for keys, part in module.SCRIPT.parts.items():
        if key in (keys if isinstance(keys, tuple) else (keys,)):
            found = json.loads(json.dumps(part() if callable(part) else part))
            return found[key] if isinstance(keys, tuple) else found
    raise KeyError(key)


CHEAP = {
    "bahdanau": ("by_hand", "test_sentences"),
    "dot_attention_by_hand": ("scores", "weights", "contexts", "probabilities", "temperature"),
    "general_concat": ("by_hand", "test_sentences"),
    "museum": ("by_hand", "catalogue", "exhibits", "test_sentences"),
    "one_table": ("by_hand", "grammar_seeds", "epochs"),
    "query_key_value": ("menu", "morning", "day", "left_out", "mean", "entries", "draws"),
    "recurrent": ("cliff", "fresh_seeds"),
    "self_attention": ("by_hand", "order", "places", "chances", "multiplications"),
    "start": ("shown", "pairs", "vocabulary", "ahead"),
    "transformer": ("by_hand",),
    "what_attention_shows": ("by_hand",),
}


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in CHEAP.items() for key in keys])
def test_measured_again_it_is_the_same(name: str, key: str, as_user: None) -> None:
    module = load_script(f"book/results/{name}.py")
    same(again(module, key), module.SCRIPT.stored()[key])
