"""Chapters 0 to 4: what their scripts compute, on cases that can be done by hand."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch

from attnbook import grammar
from attnbook.decoding import greedy_search
from attnbook.recurrent import RNNCell
from attnbook.vocabulary import EOS, Vocabulary
from scripts import load_script
from small_models import PAIRS, encode, fitted


@pytest.fixture(scope="module")
def start() -> ModuleType:
    return load_script("book/results/start.py")


@pytest.fixture(scope="module")
def vectors() -> ModuleType:
    return load_script("book/results/vectors.py")


@pytest.fixture(scope="module")
def recurrent() -> ModuleType:
    return load_script("book/results/recurrent.py")


@pytest.fixture(scope="module")
def encoder_decoder() -> ModuleType:
    return load_script("book/results/encoder_decoder.py")


@pytest.fixture(scope="module")
def bottleneck() -> ModuleType:
    return load_script("book/results/bottleneck.py")


# --- chapter 0 ----------------------------------------------------------------------------------


def test_the_glossed_sentences_are_the_grammars(start: ModuleType) -> None:
    for german, english in start.GLOSSED.items():
        pair = grammar.translate(german.split())
        assert pair is not None, german
        assert " ".join(pair.target) == english


def test_how_far_words_lie_by_hand(start: ModuleType) -> None:
    """*Calling* stands third and comes from *an*, the fourth; nothing else is."""
    pairs = [grammar.translate(s.split()) for s in ("ich rufe dich an", "der mann singt")]
    words = sum(len({j for _, j in pair.links or ()}) for pair in pairs if pair)
    assert start.reach(pairs, 1) == {"words": 1 / words, "sentences": 0.5}
    assert start.reach(pairs, 2) == {"words": 0, "sentences": 0}


# --- chapter 1 ----------------------------------------------------------------------------------


def test_large_numbers_as_people_write_them(vectors: ModuleType) -> None:
    assert vectors.powers_of_ten(106894921) == "1.1 × 10⁸"
    assert vectors.powers_of_ten(2e12) == "2.0 × 10¹²"


def test_three_discounts_by_hand(vectors: ModuleType) -> None:
    """Four bigrams seen once, three twice, two three times, one four times (Chen & Goodman)."""
    counts = [1] * 4 + [2] * 3 + [3] * 2 + [4]
    sentences = [(f"a{i}", f"b{i}") for i, n in enumerate(counts) for _ in range(n)]
    model = vectors.ModifiedKneserNey(2, Vocabulary.from_sentences(sentences)).fit(sentences)
    y = 4 / (4 + 2 * 3)
    # ``<sos> a_i``, ``a_i b_i`` and ``b_i <eos>`` have the same counts, so that ratios stay.
    expected = (1 - 2 * y * 3 / 4, 2 - 3 * y * 2 / 3, 3 - 4 * y * 1 / 2)
    assert model._triples[1] == pytest.approx(expected)


def test_summaries_leave_out_what_is_no_number(vectors: ModuleType) -> None:
    runs = {
        "seed0": {"x": 1.0, "inner": {"y": 2, "word": "a"}, "plane": {"z": 1}},
        "seed1": {"x": 3.0, "inner": {"y": 4, "word": "a"}, "plane": {"z": 1}},
    }
    assert vectors.summary(runs, (0, 1)) == {
        "x": {"mean": 2.0, "low": 1.0, "high": 3.0},
        "inner": {"y": {"mean": 3.0, "low": 2.0, "high": 4.0}},
    }


# --- chapter 2 ----------------------------------------------------------------------------------


def test_the_cliff_by_hand(recurrent: ModuleType) -> None:
    found = recurrent.cliff(2.0, steps=3, start=1.0, target=6.0)
    assert (found["last"], found["loss"]) == (8, 4)
    assert found["slope"] == 2 * (8 - 6) * 3 * 2**2
    up, down = (recurrent.cliff(1.1 + step)["loss"] for step in (1e-6, -1e-6))
    assert recurrent.cliff(1.1)["slope"] == pytest.approx((up - down) / 2e-6, rel=1e-4)
    path = recurrent.descend(1.1, rate=0.01, clip=1.0, updates=3)
    assert path == pytest.approx([1.1, 1.09, 1.08, 1.07])


def test_norms_in_words(recurrent: ModuleType) -> None:
    assert recurrent.power(0.17) == "0.17"
    assert recurrent.power(2e-23) == "2 × 10⁻²³"
    assert recurrent.power(225.3) == "225"


def test_norms_are_of_products_of_one_weight(recurrent: ModuleType) -> None:
    """One unit without inputs: after k steps the slope is the product of w (1 − h²)."""
    torch.manual_seed(0)
    cell = RNNCell(1, 1).double()
    found = recurrent.norms(cell, torch.zeros(4, 1, dtype=torch.float64))["state"]
    assert found[0] == pytest.approx(1)
    assert all(math.isfinite(norm) for norm in found)
    assert found[1] <= abs(float(cell.weight_hh)) + 1e-12


def test_a_symbol_is_asked_for_at_the_end(recurrent: ModuleType) -> None:
    symbols, first = recurrent.recall_batch(5, 7, torch.Generator().manual_seed(0))
    assert symbols.shape == (7, 6)
    assert torch.equal(symbols[:, 0], first)
    assert (symbols[:, -1] == recurrent.SYMBOLS).all()
    assert int(symbols[:, :-1].max()) < recurrent.SYMBOLS


# --- chapter 3 ----------------------------------------------------------------------------------


def test_the_best_pair_does_not_begin_with_the_best_word(encoder_decoder: ModuleType) -> None:
    tree = encoder_decoder.TREE
    pairs = {
        (*first, second): tree[()][first[0]] * p
        for first, rest in tree.items()
        if first
        for second, p in rest.items()
    }
    assert max(pairs, key=pairs.__getitem__) == ("the", "man")
    assert pairs["the", "man"] == pytest.approx(0.36)
    assert max(tree[()], key=tree[()].__getitem__) == "a"
    assert tree[()]["two"] < pairs["a", "man"] == pytest.approx(0.2)


def test_its_own_words_are_those_of_greedy_search(encoder_decoder: ModuleType) -> None:
    translator = fitted()
    for pair, row in zip(PAIRS, encoder_decoder.both_ways(translator, PAIRS), strict=True):
        assert row["right"] == [*translator.target_vocabulary.encode(pair.target), EOS]
        # It has learned the pairs by heart: its own words are the right ones, and all agrees.
        assert row["own"][:-1] == row["right"][:-1]
        assert row["free"][:-1] == pytest.approx(row["forced"][:-1], abs=1e-4)
        ids = translator.source_ids(pair.source)
        (found,) = greedy_search(translator, encode(translator, [ids]))
        assert found.log_prob == pytest.approx(sum(row["forced"]), abs=1e-3)


# --- chapter 4 ----------------------------------------------------------------------------------


def test_ranks_by_hand(bottleneck: ModuleType) -> None:
    """Among texts of one length: the share of those without the word that score lower."""
    scores = np.array([[3.0], [1.0], [2.0], [2.0], [9.0]])
    labels = np.array([[True], [False], [False], [False], [False]])
    sizes = np.array([0, 0, 0, 0, 1])
    assert bottleneck.ranks(scores, labels, sizes)[0, 0] == 100
    assert bottleneck.ranks(-scores, labels, sizes)[0, 0] == 0
    assert bottleneck.ranks(np.where(labels, 2.0, scores), labels, sizes)[0, 0] == pytest.approx(
        100 * (1 + 2 / 2) / 3
    )


def test_a_linear_probe_reads_what_is_linear(bottleneck: ModuleType) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(300, 6)
    labels = (inputs[:, :2] > 0.3).numpy()
    weight, bias, mean = bottleneck.linear_probe(inputs, labels)
    right = (((inputs - mean) @ weight + bias) > 0).numpy() == labels
    assert right.mean() > 0.95


def test_words_found_by_thirds(bottleneck: ModuleType) -> None:
    reference = ["a", "b", "c", "d", "e", "f"]
    assert bottleneck.thirds([["f", "a", "b"]], [reference]) == [1.0, 0.0, 0.5]
    assert bottleneck.thirds([["a"]], [["a", "a", "a"]]) == [1.0, 0.0, 0.0]


def test_presence_by_hand(bottleneck: ModuleType) -> None:
    table = bottleneck.presence([["a", "b"], ["c"]], [["a"], ["b", "c"]])
    assert table.tolist() == [[True, True], [False, True]]


def test_slopes_and_buckets_by_hand(bottleneck: ModuleType) -> None:
    """Perfect translations have BLEU 100 at every length, and no slope."""
    pairs = [
        type(PAIRS[0])(("w",) * size, tuple(f"t{i}" for i in range(size)))
        for size in (5, 6, 9, 10, 13, 14)
    ]
    found = bottleneck.by_length(pairs, [[p.target for p in pairs]], ((1, 7), (8, 11), (12, 99)))
    assert [row["sentences"] for row in found["buckets"]] == [2, 2, 2]
    assert [row["bleu"] for row in found["buckets"]] == pytest.approx([100] * 3)
    assert found["slope"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["kept"]["value"] == pytest.approx(1)
