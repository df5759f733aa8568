"""Chapter 10's page: its examples are what the package computes, its words what was found."""

from __future__ import annotations

import doctest
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from attnbook.attention import attend
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "10_query_key_value.md").read_text(encoding="utf-8").replace("{-1}", "-1")
STORED: dict[str, Any] = json.loads(
    (BOOK / "results" / "query_key_value.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/query_key_value.py")


def row(heading: str) -> list[float]:
    """The numbers in the table row that begins so, one for each cell."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {heading} |")]
    cells = line.strip("|").split("|")[1:]
    return [float(cell.replace("−", "-").strip().strip("$")) for cell in cells]


def vectors(text: str) -> list[list[float]]:
    """Every vector of whole numbers in some text."""
    return [
        [float(n) for n in found.split(",")]
        for found in re.findall(r"\((-?\d+(?:, -?\d+)+)\)", text.replace("{", "").replace("}", ""))
    ]


# --- by hand ----------------------------------------------------------------------------------


def test_the_dictionaries_do_what_the_page_prints() -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        test = doctest.DocTestParser().get_doctest(block, {}, f"block {number}", None, 0)
        assert len(test.examples) >= 2
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_the_menu_is_that_of_the_script(measurements: ModuleType) -> None:
    for name, key in measurements.KEYS.items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| *{name}* | $(")]
        assert vectors(line) == [
            list(map(float, part)) for part in (key, measurements.VALUES[name])
        ]
        assert f'"{name}": {measurements.VALUES[name][0]}' in PAGE
    assert f"$q = {measurements.SEKT}$" in PAGE


def test_the_sekt_by_hand(measurements: ModuleType) -> None:
    products = [
        sum(a * b for a, b in zip(measurements.SEKT, key, strict=True))
        for key in measurements.KEYS.values()
    ]
    assert row("dot product $q^\\top k_i$") == products
    found = measurements.menu()["sekt"]
    assert row("score $q^\\top k_i / \\sqrt{4}$") == found["scores"]
    weights = [f"{weight:.3f}" for weight in found["weights"]]
    sum_line = PAGE.split(r"\c{c} = \sum_i \alpha_i")[1].split(r"\end{aligned}")[0]
    assert re.findall(r"(0\.\d{3})\\cdot", sum_line) == weights
    assert vectors(sum_line) == [list(map(float, v)) for v in measurements.VALUES.values()]
    price, size = found["context"]
    assert f"({price:.2f},\\ {size:.1f})" in sum_line
    assert f"costs {price:.2f} € for a glass of {size:.1f} cl" in PAGE
    assert "are 0.414, 0.414, 0.021 and 0.152" in PAGE


def test_a_question_that_says_nothing_gets_the_mean(measurements: ModuleType) -> None:
    nothing = measurements.menu()["nothing"]
    assert nothing["weights"] == [0.25] * 4
    assert nothing["context"] == [4, 35]
    assert "$(4, 35)$" in PAGE


def test_the_sharper_a_query_the_closer_to_the_lookup(measurements: ModuleType) -> None:
    found = measurements.menu()["sharper"]
    wine = list(measurements.VALUES["wine"])
    far = [abs(found[str(n)]["context"][0] - wine[0]) for n in measurements.SHARPER]
    assert far == sorted(far, reverse=True)
    assert found["8"]["context"] == pytest.approx(wine, abs=1e-4)
    tie = measurements.look_up([8 * number for number in measurements.SEKT])
    assert tie["weights"][:2] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_the_morning_by_hand(measurements: ModuleType) -> None:
    assert f"readings = {measurements.MORNING}" in PAGE
    assert row("key $x_i$, hour") == list(measurements.MORNING)
    assert row("value $y_i$, °C") == list(measurements.MORNING.values())
    found = measurements.regression()["morning"]
    assert row("score $-(10 - x_i)^2/2$") == found["scores"]
    terms = r" + ".join(
        rf"{weight:.3f}\cdot {value}"
        for weight, value in zip(found["weights"], measurements.MORNING.values(), strict=True)
    )
    assert rf"&= {terms}\\" in PAGE
    assert rf"&= {found['answer']:.1f}\ \text{{°C}}" in PAGE
    squares = [f"$10\\cdot {x} - {x * x / 2:g} = {10 * x - x * x / 2:g}$" for x in (8, 9, 11)]
    assert f"{squares[0]}, {squares[1]} and {squares[2]}" in PAGE
    assert [product - 50 for product in found["products"]] == found["scores"]


def test_four_coins() -> None:
    signs = list(itertools.product((-1, 1), repeat=4))
    cases = Counter(sum(products) for products in signs)
    assert row("dot product") == sorted(cases)
    assert row("cases, of 16") == [cases[value] for value in sorted(cases)]
    assert np.var([sum(products) for products in signs]) == 4
    assert r"(16 + 4\cdot 4 + 0 + 4\cdot 4 + 16)/16 = 4" in PAGE


def test_the_answers_to_the_questions(measurements: ModuleType) -> None:
    single, twice = (measurements.menu()[name]["weights"] for name in ("sekt", "beer_twice"))
    assert single[0] == single[1]
    assert twice[0] == twice[4] == pytest.approx(twice[0] + twice[4] - twice[1])
    espresso = measurements.look_up([8 * n for n in (-1, -1, 1, -1)])
    assert espresso["context"][0] == pytest.approx(measurements.VALUES["tea"][0], abs=1e-3)
    assert 25 * 4 * 9 == 30**2
    hours = np.array(list(measurements.DAY), float)
    unpaid = measurements.softmax(10.0 * hours)
    assert unpaid.argmax() == list(measurements.DAY).index(22)
    assert unpaid.max() > 0.999
    assert measurements.DAY[22] == 13


def test_shapes_of_the_third_question() -> None:
    found = attend(torch.randn(10, 64), torch.randn(30, 64), torch.randn(30, 512))
    assert found.scores.shape == (10, 30)
    assert found.context.shape == (10, 512)


# --- the stored numbers -------------------------------------------------------------------------


def test_a_random_row_can_be_measured_again(measurements: ModuleType) -> None:
    for way in ("plain", "scaled"):
        again = measurements.random_scores(16, way == "scaled")
        assert again == pytest.approx(STORED["random"][way]["16"], rel=1e-6)


def test_the_regression_by_hand_is_the_one_by_attend(measurements: ModuleType) -> None:
    asked, hours = np.array([0.0, 3.3, 24.0]), np.array([1.0, 2.0, 7.0])
    degrees = np.array([3.0, 5.0, -4.0])
    weights = measurements.softmax(measurements.kernel_scores(asked, hours, 1.5))
    found = measurements.kernel_attend(asked, hours, degrees, 1.5)
    assert found.weights.numpy() == pytest.approx(weights)
    assert found.context[:, 0].numpy() == pytest.approx(weights @ degrees)
    # Two readings: each is predicted by the other alone.
    assert measurements.left_out(hours[:2], degrees[:2], 0.1) == 2


def test_the_softmax_gradient_is_the_norm_of_its_jacobian(measurements: ModuleType) -> None:
    scores = torch.tensor([[0.0, 1, -2], [0, 0, -torch.inf], [50, 0, 0]], dtype=torch.float64)
    sizes = measurements.softmax_gradient(scores.softmax(dim=-1))
    for size, one in zip(sizes, scores, strict=True):
        if torch.isfinite(one).all():
            jacobian = torch.autograd.functional.jacobian(lambda e: e.softmax(dim=-1), one)
            assert float(size) == pytest.approx(float(jacobian.norm()), abs=1e-12)
    assert float(sizes[1]) == 0.5  # the largest that there can be: a tie of two
    weights = torch.rand(1000, 5, dtype=torch.float64)
    weights /= weights.sum(dim=-1, keepdim=True)
    assert float(measurements.softmax_gradient(weights).max()) <= 0.5


def test_a_question_is_learned_from_what_comes_back(
    measurements: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "STEPS", 0)
    assert measurements.learn_to_ask(16, "scaled", 0) < 0.4
    monkeypatch.setattr(measurements, "STEPS", 150)
    monkeypatch.setattr(measurements, "RATE", 1e-2)
    assert measurements.learn_to_ask(16, "scaled", 0) > 0.7


# --- what the page says of them -----------------------------------------------------------------


def test_what_the_page_says_of_models() -> None:
    assert STORED["heads"]["scaled"] == pytest.approx(1 / 9, abs=0.005)
    small, captions = (STORED["states"][name] for name in ("grammar-dot", "multi30k-dot"))
    assert (small["after"]["width"], captions["after"]["width"]) == (96, 256)
    for found in (small, captions):
        assert found["before"]["scores"] < 1e-3
        assert 1 - found["after"]["shuffled"] / found["after"]["scores"] == pytest.approx(
            0.75, abs=0.03
        )
    assert captions["after"]["scores"] / small["after"]["scores"] < 1.4
    scores = [found[when]["scores"] for found in (small, captions) for when in ("before", "after")]
    told = re.search(
        r"of width 96 starts at ([\d.]+) and ends at ([\d.]+), the one of width 256 starts at"
        r" ([\d.]+) and ends at ([\d.]+)\.", PAGE
    )  # fmt: skip
    assert told is not None
    assert [f"{scores[0]:.4f}", f"{scores[1]:.1f}", f"{scores[2]:.4f}", f"{scores[3]:.1f}"] == list(
        told.groups()
    )


def test_what_the_page_says_of_temperature() -> None:
    rows = STORED["temperature"]
    exact = {name: found["exact"] for name, found in rows.items()}
    assert max(exact, key=exact.__getitem__) == "1"
    shares = [round(100 * exact[name]) for name in ("1/16", "1", "2", "4", "root")]
    assert (
        "It is {} percent at the coldest end, rises to {} at 1, is {} at 2, and falls to {}".format(
            *shares
        )
        in PAGE
    )
    assert f"A mark at the root of 96 shows {shares[-1]} percent" in PAGE
    assert max(exact["8"], exact["16"]) < 0.1
    entropies = [
        found["entropy"] for found in sorted(rows.values(), key=lambda r: r["temperature"])
    ]
    assert entropies == sorted(entropies)
