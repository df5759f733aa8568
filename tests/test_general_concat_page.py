"""Chapter 6's page: its worked examples are what the package's scores compute."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from attnbook.scores import ConcatScore, GeneralScore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import Vocabulary
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "06_general_concat.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/general_concat.py")


def rows(heading: str) -> list[list[float]]:
    """All whole numbers in the cells of the table row that begins so."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {heading} |")]
    cells = line.strip("|").split("|")[1:]
    return [
        [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"[−{}]", _minus, cell))]
        for cell in cells
    ]


def _minus(match: re.Match[str]) -> str:
    return "-" if match[0] == "−" else ""


def matrix(text: str) -> list[list[float]]:
    """A pmatrix or an array of LaTeX."""
    found = [[float(n) for n in re.findall(r"-?\d+", row)] for row in text.split(r"\\")]
    return [row for row in found if row]


def test_the_matrices_and_states_are_those_of_the_script(measurements: ModuleType) -> None:
    plain = PAGE.replace("{-1}", "-1")
    states = re.findall(r"\\k\{h_\d\} &= \((.*?)\)", plain)
    keys = [[float(n) for n in re.findall(r"-?\d+", state)] for state in states]
    assert keys == [list(map(float, key)) for key in measurements.KEYS]
    assert r"\q{s} &= (2,\ 1)" in plain
    general = re.search(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", plain)
    assert general is not None
    assert matrix(general[1]) == [list(map(float, row)) for row in measurements.GENERAL]
    concat = re.search(r"\\begin\{array\}\{cc\|ccc\}(.*?)\\end\{array\}", plain)
    assert concat is not None
    assert matrix(concat[1]) == [
        list(map(float, (*left, *right)))
        for left, right in zip(measurements.CONCAT_QUERY, measurements.CONCAT_KEY, strict=True)
    ]
    assert "$v = (2, -1)$" in plain


def test_the_general_score_by_hand(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()["general"]
    assert rows("key, translated: $W h_i$") == numbers["translated_keys"]
    assert [cell[0] for cell in rows("score $s^\\top W h_i$")] == numbers["scores"][0]
    assert numbers["translated_query"][0] == [2, -1, 3]
    assert r"$W^\top s = (2, {-1}, 3)$" in PAGE


def test_the_concat_score_by_hand(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()["concat"]
    sums = rows("$W_s s + W_h h_i$")
    assert sums == numbers["hidden"][0]
    parts = rows("$W_h h_i$")
    assert [[a + 2, b + 1] for a, b in parts] == sums
    for cell, exact in zip(rows("tanh"), numbers["tanh"][0], strict=True):
        assert cell == [round(value, 2) for value in exact]


def test_without_the_tanh_the_query_drops_out(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()["without_tanh"]
    for heading, scores in zip(
        ("decoder at $s = (2, 1)$", "decoder at $s' = ({-1}, 1)$"), numbers["scores"], strict=True
    ):
        assert [cell[0] for cell in rows(heading)] == scores
    first, second = numbers["weights"]
    assert first == pytest.approx(second, abs=1e-15)
    with_tanh = measurements.by_hand()["concat"]["weights"]
    assert max(abs(a - b) for a, b in zip(*with_tanh, strict=True)) > 0.4


def test_the_answers_about_parameters() -> None:
    general, concat = GeneralScore(512, 256), ConcatScore(512, 256, 128)
    counts = [sum(p.numel() for p in score.parameters()) for score in (general, concat)]
    assert counts == [131_072, 98_432]
    assert all(f"{count:,}" in PAGE for count in counts)


def test_another_matrix_only_as_long_as_the_block_lasts(measurements: ModuleType) -> None:
    torch.manual_seed(0)
    words = Vocabulary(["ich", "trinke"])
    translator = Translator.from_config(
        RecurrentConfig(score="general", embedding_dim=3, hidden_dim=4), words, words
    )
    score = measurements.general_score(translator)
    before = score.key.weight.detach().clone()
    with measurements.matrix(score, torch.eye(4)):
        assert torch.equal(score.key.weight, torch.eye(4))
    assert torch.equal(score.key.weight, before)
