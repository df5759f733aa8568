"""Chapter 11's page: its worked example is the package's, and what it says of numbers holds."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnbook.attention import attend
from attnbook.masks import causal_mask
from attnbook.recurrent import LSTMCell, unroll
from attnbook.self_attention import (
    LearnedPositions,
    MultiHeadAttention,
    rotate,
    sinusoidal_positions,
)
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
TEXT = (BOOK / "11_self_attention.md").read_text(encoding="utf-8")
PAGE = TEXT.replace("{-1}", "-1").replace("{-2}", "-2").replace("{-3}", "-3")
PAGE = PAGE.replace(r"\phantom{-}", "").replace("−", "-")
STORED: dict[str, Any] = json.loads(
    (BOOK / "results" / "self_attention.json").read_text(encoding="utf-8")
)
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/self_attention.py")


def rows(heading: str, section: str) -> list[list[int]]:
    """Whole numbers in the cells of the one table row that begins so, in a section."""
    part = PAGE.split(section)[1].split("\n## ")[0]
    found = [line for line in part.splitlines() if line.startswith(f"| {heading} |")]
    cells = found[0].strip("|").split("|")[1:]
    return [[int(n) for n in re.findall(r"-?\d+", cell)] for cell in cells]


def vectors(cells: list[list[float]]) -> list[list[int]]:
    return [[round(n) for n in row] for row in cells]


# --- by hand ----------------------------------------------------------------------------------


def test_states_and_matrices_are_those_of_the_script(measurements: ModuleType) -> None:
    states = re.findall(r"^x_\d &= \((.*?)\)", PAGE, flags=re.MULTILINE)
    assert [[int(n) for n in re.findall(r"-?\d+", x)] for x in states] == [
        list(row) for row in measurements.STATES
    ]
    found = re.findall(r"^W\^(\w) &= \\begin\{pmatrix\}(.*?)\\end", PAGE, flags=re.MULTILINE)
    matrices = {
        name: [[int(n) for n in re.findall(r"-?\d+", row)] for row in text.split(r"\\")]
        for name, text in found
    }
    assert matrices == {
        "Q": [list(row) for row in measurements.FOR_QUERIES],
        "K": [list(row) for row in measurements.FOR_KEYS],
        "V": [list(row) for row in measurements.FOR_VALUES],
    }
    assert f"$y_1 = {measurements.DECODER[0]}$" in PAGE
    assert f"$y_2 = {measurements.DECODER[1]}$" in PAGE


def test_three_vectors_for_each_word(measurements: ModuleType) -> None:
    numbers, section = measurements.by_hand(), "## Three steps by hand"
    for heading, name in (("query $x_i W^Q$", "queries"), ("key $x_i W^K$", "keys")):
        assert rows(heading, section) == vectors(numbers[name])
    assert rows("value $x_i W^V$", section) == vectors(numbers["values"])


def test_products_scores_and_sums(measurements: ModuleType) -> None:
    numbers, section = measurements.by_hand(), "## Three steps by hand"
    for word, row, scores in zip(
        measurements.WORDS, numbers["products"], numbers["scores"], strict=True
    ):
        assert [cell[0] for cell in rows(f"*{word}*", section)] == [round(n) for n in row]
        assert scores == pytest.approx([n / math.sqrt(2) for n in row])
    weights, output = numbers["self"]["weights"][0], numbers["self"]["output"][0]
    assert [f"{weight:.3f}" for weight in weights] == ["0.003", "0.056", "0.941"]
    assert all(rf"{weight:.3f}\cdot(" in PAGE for weight in weights)
    assert [f"{n:.3f}" for n in output] == ["-0.938", "0.781"]
    assert r"({-0.938},\ 0.781)" in TEXT
    # The products are of integers and by no means symmetric.
    assert numbers["products"][0][2] == 4
    assert numbers["products"][2][0] == 1


def test_who_looks_at_whom(measurements: ModuleType) -> None:
    """`ruf` at `an`; `mich` and `an` mostly at `ruf`; `call` at `an`, `me` at `mich`."""
    numbers = measurements.by_hand()
    most = [row.index(max(row)) for row in numbers["self"]["weights"]]
    assert most == [2, 0, 0]
    assert [row.index(max(row)) for row in numbers["cross"]["weights"]] == [2, 1]


def test_without_matrices(measurements: ModuleType) -> None:
    numbers, section = measurements.by_hand()["same"], "## Why three matrices"
    products = torch.tensor(numbers["products"])
    for word, row in zip(measurements.WORDS, products.tolist(), strict=True):
        assert [cell[0] for cell in rows(f"*{word}*", section)[:3]] == [round(n) for n in row]
    assert torch.equal(products, products.T)
    weights = torch.tensor(numbers["weights"])
    assert (weights.argmax(dim=-1) == torch.arange(3)).all()
    assert (weights.diagonal() > 0.5).all()


def test_masked_by_hand(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()
    whole, masked = numbers["self"], numbers["masked"]
    assert masked["output"][2] == pytest.approx(whole["output"][2], abs=1e-15)
    assert masked["weights"][0] == [1, 0, 0]
    assert masked["output"][0] == [1, 2] == list(measurements.by_hand()["values"][0])
    assert masked["weights"][1][2] == 0
    assert masked["output"][1] != pytest.approx(whole["output"][1], abs=0.001)


def test_cross_by_hand(measurements: ModuleType) -> None:
    numbers, section = measurements.by_hand(), "## One function, three uses"
    queries = vectors(numbers["cross_queries"])
    assert f"$y_1 W^Q = ({queries[0][0]}, {queries[0][1]})$" in PAGE
    assert f"$y_2 W^Q = ({queries[1][0]}, {queries[1][1]})$" in PAGE
    for heading, row in zip(
        ("after `<sos>`, product", "after *call*, product"), numbers["cross_products"], strict=True
    ):
        assert [cell[0] for cell in rows(heading, section)] == [round(n) for n in row]


def test_a_score_of_0_hides_nothing(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()
    assert numbers["zeroed"][2] > 10 * numbers["self"]["weights"][1][2]


# --- three matrices ---------------------------------------------------------------------------


def test_a_walk_on_symmetric_scores_ends_in_a_pair() -> None:
    """From each word to the one it scores highest: no circle of three, and scores never fall."""
    torch.manual_seed(0)
    for _ in range(200):
        x = torch.randn(8, 5)
        half = torch.randn(8, 8)
        for scores in (x @ x.T, half + half.T):
            here, last = 0, -math.inf
            for _ in range(20):
                score, following = scores[here].max(dim=0)
                assert score >= last
                last, here = float(score), int(following)
            back = int(scores[here].argmax())
            assert int(scores[back].argmax()) == here


# --- order ------------------------------------------------------------------------------------


def test_order_is_lost_and_not_behind_a_mask(measurements: ModuleType) -> None:
    found = measurements.order_is_lost()
    for order in (found, STORED["order"]):
        assert max(order["plain"].values()) < 1e-14
        assert order["shuffled"] < 1e-14 < 1e-3 < order["largest"]
        assert min(order["masked"].values()) > 0.1
        assert min(order["placed"].values()) > 0.01
    assert found["masked"] == pytest.approx(STORED["order"]["masked"], rel=1e-6)


def test_a_step_is_a_rotation_by_hand() -> None:
    table = sinusoidal_positions(9, 64)[:, :2].double()
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]]).double()
    for t in (2, 7):
        torch.testing.assert_close(table[t] @ turn, table[t + 1], atol=1e-6, rtol=0)
    for t in (2, 3):
        sine, cosine = table[t].tolist()
        assert rf"(\sin {t}, \cos {t}) &= ({sine:.3f},\ {{{cosine:.3f}}})" in TEXT
    assert (round(math.cos(1), 3), round(math.sin(1), 3)) == (0.540, 0.841)
    assert r"0.540 & {-0.841}\\ 0.841 & \phantom{-}0.540" in TEXT
    assert round(0.909 * 0.540 - 0.416 * 0.841, 3) == 0.141
    # Off by one in the last digit, as the page says.
    assert round(-0.416 * 0.540 - 0.909 * 0.841, 3) == -0.989
    assert round(math.cos(3), 3) == -0.990
    # The slowest pair of a wide vector, and the fastest.
    slowest = 2 * math.pi * 10_000 ** ((512 - 2) / 512)
    assert 55_000 < slowest < 63_000
    assert 6 < 2 * math.pi < 7


def test_distance_and_no_direction() -> None:
    found = dict(zip(STORED["places"]["distance"], STORED["places"]["product"], strict=True))
    for distance in range(1, 41):
        assert found[distance] == pytest.approx(found[-distance], abs=1e-4)
    assert found[0] == pytest.approx(32)
    assert max(found, key=found.__getitem__) == 0
    assert 22 < found[5] < 24.5
    assert 14 < found[40] < 17
    table = sinusoidal_positions(120, 64).double()
    assert float(table[5] @ table[9]) == pytest.approx(float(table[105] @ table[109]), abs=1e-4)


@pytest.mark.usefixtures("as_user")
def test_the_end_of_a_table() -> None:
    with pytest.raises(ValueError, match="the table ends at") as error:
        LearnedPositions(16, 4)(32)
    assert f"> `ValueError: {error.value}`" in TEXT


def test_rotary_by_hand() -> None:
    one = torch.tensor([[1.0, 0.0]]).double()
    products = [float(rotate(one, a) @ rotate(one, b).T) for a, b in ((3, 1), (103, 101))]
    assert products == pytest.approx([math.cos(2)] * 2, abs=1e-5)
    assert "\\cos 2\\\\\n&= -0.416." in TEXT
    assert round(math.cos(2), 3) == -0.416


def test_what_the_page_says_of_the_task(measurements: ModuleType) -> None:
    task, chances = STORED["task"], STORED["chances"]
    shortest, longest = measurements.TRAINED
    assert f"{shortest} to {longest} random words out of {measurements.SYMBOLS}" in PAGE
    assert f"{measurements.STEPS * measurements.SENTENCES:,} sentences" in PAGE
    assert f"of {measurements.TEST_SENTENCES} new sentences" in PAGE
    assert chances["earlier"] == pytest.approx(sum(1 / t for t in range(1, 16)) / 15)
    # Nobody does better than can be computed; 7,500 answers leave half a percent for luck.
    for name, bound in (("nothing", "any"), ("mask", "earlier"), ("no-matrix", "other")):
        for seed in task[name]["16"]["seeds"]:
            assert abs(seed - chances[bound]) < 0.01, name
    for name in ("sines", "learned", "rotary"):
        assert min(task[name]["16"]["seeds"]) > 0.995
    assert "32" not in task["learned"]
    assert all(0.4 < seed < 0.6 for seed in task["sines"]["32"]["seeds"])
    assert min(task["rotary"]["32"]["seeds"]) > 0.99
    assert min(task["one-matrix"]["16"]["seeds"]) > 0.95
    assert task["one-matrix"]["16"]["mean"] < task["sines"]["16"]["mean"]


def test_readers_learn_and_do_not(measurements: ModuleType) -> None:
    """A short training already tells the reader with positions from the one without."""
    learned = measurements.trained_reader("rotary", seed=0, steps=150)
    lost = measurements.trained_reader("nothing", seed=0, steps=150)
    assert measurements.right_answers(learned, 16) > 0.5
    assert measurements.right_answers(lost, 16) < 0.1
    assert (
        measurements.right_answers(measurements.trained_reader("learned", seed=0, steps=1), 17)
        is None
    )


def test_a_reader_with_three_matrices_is_the_packages_layer(measurements: ModuleType) -> None:
    torch.manual_seed(0)
    reader = measurements.Reader(causal=True)
    layer = MultiHeadAttention(64, num_heads=1)
    with torch.no_grad():
        matrices = (reader.query.weight, reader.key.weight, reader.value.weight, torch.eye(64))
        projections = (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj)
        for projection, matrix in zip(projections, matrices, strict=True):
            projection.weight[:] = matrix
            projection.bias.zero_()
    words = torch.arange(7)[None]
    x = reader.words(words)
    torch.testing.assert_close(
        reader(words), reader.output(layer(x, x, x, causal=True).output), atol=1e-5, rtol=1e-5
    )
    # And the one without matrices is an attend of states with themselves.
    plain = measurements.Reader(matrices=0)
    x = plain.words(words)
    torch.testing.assert_close(plain(words), plain.output(attend(x, x, x).context))


# --- cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [16, 64, 256])
def test_multiplications_are_what_torch_counts(measurements: ModuleType, length: int) -> None:
    """Two operations each. The LSTM is written out, so that its products can be counted."""
    width = 128
    expected = measurements.multiplications(length, width)
    assert expected == STORED["multiplications"][str(length)]
    x = torch.randn(1, length, width)
    with FlopCounterMode(display=False) as counter:
        MultiHeadAttention(width, num_heads=1)(x, x, x, need_weights=True)
    assert counter.get_total_flops() / 2 == expected["projections"] + expected["pairs"]
    with FlopCounterMode(display=False) as counter:
        unroll(LSTMCell(width, width), x)
    assert counter.get_total_flops() / 2 == expected["lstm"]


def test_what_is_said_of_operations(measurements: ModuleType) -> None:
    count = measurements.multiplications
    few = count(64, 128)
    assert few["projections"] / (few["projections"] + few["pairs"]) == 4 / 5
    equal = count(256, 128)
    assert equal["projections"] + equal["pairs"] == equal["lstm"]
    many = count(50, 512)
    for number in (many["projections"] + many["pairs"], many["lstm"]):
        assert f"{number:,}" in PAGE
    layer = MultiHeadAttention(12, 1)
    assert sum(p.numel() for p in layer.parameters()) == 624


def test_the_crossing_lies_between_two_lengths(measurements: ModuleType) -> None:
    """On a line through logarithms: equal ratios on both sides put it in their middle."""

    def row(*values: float) -> dict[str, dict[str, float]]:
        return {str(n): {"median": v} for n, v in zip((16, 64), values, strict=True)}

    found = {"attention": row(1, 2), "lstm": row(2, 1)}
    assert measurements.crossing(found, (16, 64)) == pytest.approx(32)
    assert measurements.crossing({"attention": row(1, 1), "lstm": row(2, 2)}, (16, 64)) is None


# --- check yourself -----------------------------------------------------------------------------


def test_the_answers_about_who_changes() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(4, 1)
    x, y = torch.randn(1, 5, 4), torch.randn(1, 3, 4)
    other_x, other_y = x.clone(), y.clone()
    other_x[0, -1] += 1
    other_y[0, -1] += 1

    def changed(a: torch.Tensor, b: torch.Tensor) -> list[bool]:
        return (a != b).any(dim=-1)[0].tolist()

    assert changed(layer(x, x, x).output, layer(other_x, other_x, other_x).output) == [True] * 5
    assert changed(layer(y, x, x).output, layer(y, other_x, other_x).output) == [True] * 3
    before, after = (layer(one, one, one, causal=True).output for one in (y, other_y))
    assert changed(before, after) == [False, False, True]
    assert causal_mask(3).tolist()[1] == [True, True, False]
