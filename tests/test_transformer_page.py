"""Chapter 13's page: its worked examples, and what it says was measured."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from attnbook.trace import DecodingTrace
from attnbook.transformer import EncoderLayer
from scripts import load_script
from small_models import small

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "13_transformer.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/transformer.py")


# --- by hand ----------------------------------------------------------------------------------


def matrix(text: str) -> list[list[float]]:
    rows = [re.findall(r"-?\d+", row) for row in text.split(r"\\")]
    return [[float(n) for n in row] for row in rows]


def test_the_network_by_hand(measurements: ModuleType) -> None:
    first, _, second, _ = re.findall(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", PAGE)
    assert matrix(first) == [list(row) for row in measurements.INTO]
    assert matrix(second) == [list(row) for row in measurements.OUT_OF]
    found = measurements.by_hand()
    assert found["network"] == [7.0, 2.5]
    assert r"(7,\; 2\tfrac12)" in PAGE
    hidden = torch.tensor(measurements.INTO) @ torch.ones(2) + torch.tensor([0.5, 0.0])
    assert hidden.tolist() == [3.5, -1.0]


def test_the_norm_by_hand(measurements: ModuleType) -> None:
    assert f"({', '.join(f'{n:.0f}' for n in measurements.STATE)})" in PAGE
    normed = measurements.by_hand()["normed"]
    text = re.search(r"What comes out is \$\((.*?)\)\$", PAGE)
    assert text is not None
    assert [float(n) for n in text[1].split(",")] == [round(n, 2) for n in normed]


def test_the_parameters_of_a_layer(measurements: ModuleType) -> None:
    parameters = measurements.by_hand()["parameters"]
    assert parameters["attention"] == 4 * 20
    assert parameters["feedforward"] == 4 * 8 + 8 + 8 * 4 + 4
    assert parameters["all"] == parameters["attention"] + parameters["feedforward"] + 2 * 8


def test_the_answer_about_a_large_layer() -> None:
    with torch.device("meta"):
        layer = EncoderLayer(512, 8, 2048, dropout=0.1, norm="pre")
    count = sum(p.numel() for p in layer.parameters())
    assert count == 1_050_624 + 2_099_712 + 2_048 == 3_152_384
    for number in ("1,050,624", "2,099,712", "2,048", "3,152,384"):
        assert number in PAGE


def test_parts_are_counted_once(measurements: ModuleType) -> None:
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    found = measurements.parts_of(translator)
    kinds = {name: part for name, part in found.items() if name != "all"}
    assert set(kinds) == {"words", "attention", "networks", "norms"}
    assert sum(part["number"] for part in kinds.values()) == found["all"]
    assert sum(part["share"] for part in kinds.values()) == pytest.approx(1.0)
    layer = translator.encoder.layers[0]
    network = sum(p.numel() for p in layer.feedforward.parameters())
    assert kinds["networks"]["number"] == 4 * network  # two layers of either stack
    attention = sum(p.numel() for p in layer.attention.parameters())
    assert kinds["attention"]["number"] == 6 * attention


# --- what the page says -------------------------------------------------------------------------


def test_what_the_figure_shows() -> None:
    trace = DecodingTrace.load(BOOK / "traces" / "kamera-transformer.json")
    maps = {one.kind: one for one in trace.maps}
    source, within = maps["source"], maps["encoder"]
    assert source.weights.shape[:2] == within.weights.shape[:2] == (3, 4)

    def first(word: str) -> list[str]:
        step = trace.target_tokens.index(word)
        return [source.columns[i] for i in source.weights[:, :, step].argmax(axis=-1).flatten()]

    assert ":step: 6" in PAGE
    assert trace.target_tokens.index("operating") == 5
    assert first("operating").count("bedient") == 11
    assert first("of").count("vor") == 4
    assert {"bedient", ".", "zwei"} <= set(first("of"))
    noun, dressed = within.rows.index("frau"), within.columns.index("gekleidete")
    assert within.weights[1, [0, 3], noun, dressed] == pytest.approx(0.9, abs=0.05)
    assert within.weights[0, 3, within.rows.index("."), within.columns.index("vor")] > 0.95
