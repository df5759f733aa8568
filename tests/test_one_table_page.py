"""Chapter 8's page: the draws of six sentences, and what it says of its tables."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from attnbook import checkpoints
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "08_one_table.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/one_table.py")


def cells(head: str) -> list[list[str]]:
    """The rows of the table whose head begins so, without the head."""
    lines = PAGE.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return rows


def test_six_sentences(measurements: ModuleType) -> None:
    """The systems are those of the page; the shares are counted again, one draw at a time."""
    one, other = cells("sentence")
    assert [int(cell) for cell in one[1:7]] == list(measurements.ONE)
    assert [int(cell) for cell in other[1:7]] == list(measurements.OTHER)
    assert one[7] == f"{sum(measurements.ONE)} of 6"
    assert other[7] == f"{sum(measurements.OTHER)} of 6"
    leads = [
        sum(measurements.ONE[i] - measurements.OTHER[i] for i in draw)
        for draw in product(range(6), repeat=6)
    ]
    numbers = measurements.by_hand()
    assert numbers["paired"]["ahead"] == pytest.approx(np.mean(np.array(leads) > 0))
    assert numbers["paired"]["ahead"] == pytest.approx(1 - (5 / 6) ** 6)
    assert numbers["paired"]["behind"] == 0
    chance = np.random.default_rng(0)
    first = np.array(measurements.ONE)[chance.integers(6, size=(100_000, 6))].sum(axis=1)
    second = np.array(measurements.OTHER)[chance.integers(6, size=(100_000, 6))].sum(axis=1)
    assert numbers["apart"]["behind"] == pytest.approx(np.mean(first < second), abs=0.01)
    for way in ("paired", "apart"):
        assert sum(numbers[way].values()) == pytest.approx(1)


def test_a_rank_correlation_by_hand(measurements: ModuleType) -> None:
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 · (0 + 0 + 1 + 1) / (4 · 15)."""
    found = measurements.rank_correlation([0.1, 0.5, 0.7, 3.0], [1, 4, 9, 8], times=4000)
    assert found["rho"] == pytest.approx(0.8)
    # Of the 24 orders 2 have |ρ| = 1, and 3 + 3 have 0.8.
    assert found["p"] == pytest.approx(8 / 24, abs=0.03)


def test_a_difference_is_of_the_same_draws(measurements: ModuleType) -> None:
    """Two rows with the same translations differ by nothing in every draw."""
    counts = [[4, 3, 2, 1, 5, 4, 3, 2, 5, 5], [1, 1, 1, 1, 4, 3, 2, 1, 4, 6]] * 5
    parts = {name: [{"beam5": counts}] for name in measurements.ROWS}
    for difference in measurements.differences(parts)["differences"].values():
        assert (difference["mean"], difference["low"], difference["high"]) == (0, 0, 0)


def test_bleu_hidden_end_changes_the_mask_only(measurements: ModuleType) -> None:
    """Nobody may look at the last word; its state stays, and the method is put back."""
    translator = checkpoints.load("grammar-dot")
    sentences, lengths = torch.tensor([[5, 6, 7, 3], [8, 3, 0, 0]]), torch.tensor([4, 2])
    before = translator.encode(sentences, lengths)
    with measurements.end_hidden(translator):
        hidden = translator.encode(sentences, lengths)
    assert torch.equal(hidden.states, before.states)
    assert hidden.mask.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert torch.equal(translator.encode(sentences, lengths).mask, before.mask)


def test_published_tables() -> None:
    """Differences that the text names follow from the numbers it prints."""
    luong = {row[0]: [float(cell) for cell in row[1:]] for row in cells("Luong et al., table 4")}
    assert luong["all words, dot"][1] - luong["all words, general"][1] == pytest.approx(1.3)
    assert luong["predicted window, general"][1] - luong["predicted window, dot"][
        1
    ] == pytest.approx(1.0)
    bahdanau = {
        row[0]: [float(cell) for cell in row[1:]] for row in cells("Bahdanau et al., table 1")
    }
    gains = [
        bahdanau[f"attention, {n} words"][0] - bahdanau[f"one vector, {n} words"][0]
        for n in (30, 50)
    ]
    assert [f"{gain:.1f}" for gain in gains] == ["7.6", "8.9"]
    assert "worth 7.6 and 8.9 BLEU" in PAGE
