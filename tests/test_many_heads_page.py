"""Chapter 12's page: its looks by hand, how heads are taken out, and what it says was measured."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from attnbook.attention import attend
from attnbook.decoding import decode, translate
from attnbook.self_attention import MultiHeadAttention, split_heads
from attnbook.seq2seq import Translator
from attnbook.trace import DecodingTrace
from scripts import load_script
from small_models import PAIRS, small

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "12_many_heads.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/many_heads.py")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BOOK / "results" / "many_heads.json").read_text("utf-8"))
    return found


@pytest.fixture
def translator() -> Translator:
    return small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)


# --- by hand ----------------------------------------------------------------------------------


def row(name: str) -> list[float]:
    """The numbers of a row of the page's first table, both halves."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return [float(n) for cell in line.strip("|").split("|")[1:] for n in cell.split(",")]


def test_two_looks() -> None:
    query = torch.tensor([row("query of *sie*")], dtype=torch.float64)
    keys = torch.tensor(
        [row(f"key of *{word}*") for word in ("Frau", "Hund", "sieht")], dtype=torch.float64
    )
    whole = query @ keys.T
    assert whole.tolist() == [[4, 2, 4]]
    halves = split_heads(query[None], 2) @ split_heads(keys[None], 2).transpose(-1, -2)
    assert halves[0].tolist() == [[[4, 2, 0]], [[0, 0, 4]]]
    weights = [
        [f"{w:.2f}" for w in scores.softmax(dim=-1).flatten().tolist()]
        for scores in (whole, halves[0, 0], halves[0, 1])
    ]
    assert weights[0] == ["0.47", "0.06", "0.47"]
    assert weights[1] == ["0.87", "0.12", "0.02"]
    assert weights[2] == ["0.02", "0.02", "0.96"]
    for text in ("0.47, 0.06 and 0.47", "0.87, 0.12 and 0.02", "with 0.96"):
        assert text in PAGE
    # With the scale of each width the halves would be what `attend` gives.
    first = attend(query[:, :2] * math.sqrt(2), keys[:, :2], keys[:, :2]).weights
    torch.testing.assert_close(first, halves[0, 0].softmax(dim=-1))


def test_the_wrong_cut_mixes_words() -> None:
    words = torch.arange(12.0).view(1, 3, 4)  # three words of four numbers
    wrong = words.view(1, 2, 3, 2)
    right = split_heads(words, 2)
    assert wrong.shape == right.shape
    assert right[0, 0].tolist() == [[0, 1], [4, 5], [8, 9]]
    assert wrong[0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]  # half of the sentence


def test_the_answers_about_parameters() -> None:
    layers = [MultiHeadAttention(512, heads) for heads in (1, 8)]
    counts = [sum(p.numel() for n, p in layer.named_parameters() if "weight" in n)
              for layer in layers]  # fmt: skip
    assert counts == [1_048_576, 1_048_576]
    assert "1,048,576" in PAGE


@torch.no_grad()
def test_heads_in_another_order() -> None:
    """Answer 2: the blocks of the projections, and the same blocks of the last matrix."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(12, 3).eval()
    x = torch.randn(2, 5, 12)
    before = layer(x, x, x).output
    order = torch.tensor([2, 0, 1])
    blocks = (order[:, None] * 4 + torch.arange(4)).flatten()
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj):
        projection.weight[:] = projection.weight[blocks]
        projection.bias[:] = projection.bias[blocks]
    assert not torch.allclose(layer(x, x, x).output, before)
    layer.out_proj.weight[:] = layer.out_proj.weight[:, blocks]
    torch.testing.assert_close(layer(x, x, x).output, before)


# --- heads taken out ----------------------------------------------------------------------------


@torch.no_grad()
def test_without_a_head_its_part_is_missing(
    measurements: ModuleType, translator: Translator
) -> None:
    attention = measurements.attentions(translator)["encoder"][1]
    x = torch.randn(1, 4, 14, dtype=torch.float64)
    found = attention(x, x, x, need_weights=True)
    width = 14 // attention.num_heads
    values = found.past_key_values.values
    for head in range(attention.num_heads):
        says = found.weights[:, head] @ values[:, head]
        part = says @ attention.out_proj.weight[:, head * width : (head + 1) * width].T
        with measurements.without(translator, [("encoder", 1, head)]):
            torch.testing.assert_close(attention(x, x, x).output, found.output - part)
        torch.testing.assert_close(attention(x, x, x).output, found.output)


def test_everything_is_put_back_after_an_error(
    measurements: ModuleType, translator: Translator
) -> None:
    before = {name: p.clone() for name, p in translator.named_parameters()}
    heads = measurements.all_heads(translator)
    assert len(heads) == len(set(heads)) == 3 * 2 * 7

    def interrupted() -> None:
        with measurements.without(translator, heads):
            assert translate(translator, [PAIRS[0].source])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for name, parameter in translator.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_where_a_head_looks(measurements: ModuleType) -> None:
    weights = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.25, 0.75]])
    found = measurements.places(weights, "encoder")
    assert found["entropy"] == pytest.approx(math.log(2) + 0.75 * math.log(4 / 3) + math.log(4) / 4)
    named = {
        "first": 1.5,
        "last": 0.75,
        "same": 1.25,
        "before": 1.25,
        "after": 0.5,
        "largest": 2.25,
    }
    assert {name: found[name] for name in named} == named
    assert "last" not in measurements.places(weights, "written")
    assert "same" not in measurements.places(weights, "source")


def test_looks_are_means_over_words(measurements: ModuleType, translator: Translator) -> None:
    found = measurements.looks(translator, PAIRS)
    heads = [(one["kind"], one["layer"], one["head"]) for one in found]
    assert sorted(heads) == sorted(measurements.all_heads(translator))
    traces = [decode(translator, pair.source, target=pair.target) for pair in PAIRS]
    for one in found:
        sums, words = 0.0, 0
        for trace in traces:
            (part,) = [m for m in trace.maps if m.kind == one["kind"]]
            sums += float(part.weights[one["layer"], one["head"], :, 0].sum())
            words += len(part.rows)
        assert one["first"] == pytest.approx(sums / words)


# --- what the page says -------------------------------------------------------------------------


def test_the_command_and_the_model(stored: dict[str, Any]) -> None:
    assert stored["command"] in PAGE
    assert all(len(part["seeds"]) == 3 for part in stored["counts"].values())
    parameters = {part["parameters"] for part in stored["counts"].values()}
    assert len(parameters) == 1


def test_what_the_figure_of_the_grammar_shows() -> None:
    trace = DecodingTrace.load(BOOK / "traces" / "rufe-heads.json")
    (source,) = [one for one in trace.maps if one.kind == "source"]
    step = trace.target_tokens.index("calling")
    assert ":step: 3" in PAGE
    assert step == 2
    assert source.weights.shape[:2] == (2, 4)
    first = source.weights[:, :, step].argmax(axis=-1).flatten()
    assert {source.columns[i] for i in first} == {"an"}


def test_what_the_page_says_of_the_looks(stored: dict[str, Any]) -> None:
    by: dict[tuple[Any, ...], Any] = {
        (one["kind"], one["layer"] + 1, one["head"] + 1): one for one in stored["looks"]
    }
    quoted = re.findall(r"many_heads:looks\.(\d+)\.(\w+)\|", PAGE)
    assert [(int(i), name) for i, name in quoted] == [
        (stored["looks"].index(by[key]), name)
        for *place, name in [
            ("source", 1, 1, "largest"), ("source", 2, 4, "largest"),
            ("encoder", 2, 4, "entropy"), ("encoder", 3, 3, "entropy"),
            ("encoder", 2, 1, "before"), ("encoder", 2, 4, "before"),
            ("encoder", 1, 1, "after"), ("written", 1, 4, "same"), ("written", 1, 1, "first"),
        ]
        for key in [tuple(place)]
    ]  # fmt: skip
    largest = sorted(one["largest"] for key, one in by.items() if key[0] == "source")
    assert (by["source", 1, 1]["largest"], by["source", 2, 4]["largest"]) == (
        largest[0], largest[-1],
    )  # fmt: skip
    entropies = sorted(one["entropy"] for key, one in by.items() if key[0] == "encoder")
    assert [by["encoder", 2, 4]["entropy"], by["encoder", 3, 3]["entropy"]] == [
        entropies[0], entropies[-1],
    ]  # fmt: skip
    assert [round(math.exp(one)) for one in (entropies[0], entropies[-1])] == [4, 8]
    for key in (("encoder", 2, 1), ("encoder", 2, 4)):
        assert by[key]["before"] == pytest.approx(1 / 3, abs=0.04)
    assert by["encoder", 1, 1]["after"] == pytest.approx(1 / 4, abs=0.03)
