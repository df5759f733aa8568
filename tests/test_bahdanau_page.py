"""Chapter 7's page: its worked examples are what the package computes."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from attnbook import grammar
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "07_bahdanau.md").read_text(encoding="utf-8").replace("{-1}", "-1")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/bahdanau.py")


def matrices() -> list[list[list[int]]]:
    """Every pmatrix of whole numbers, in the order of the page."""
    found = re.findall(
        r"\\begin\{pmatrix\}([^a-zA-Z]*?(?:\\hline)?[^a-zA-Z]*?)\\end\{pmatrix\}", PAGE
    )
    rows = [
        [[int(n) for n in re.findall(r"-?\d+", row)] for row in text.split(r"\\")] for text in found
    ]
    return [[row for row in matrix if row] for matrix in rows]


def test_the_matrices_are_those_of_the_script(measurements: ModuleType) -> None:
    annotations, expected, from_key, from_query = matrices()
    assert from_key == [list(row) for row in measurements.FROM_KEY]
    assert from_query == [list(row) for row in measurements.FROM_QUERY]
    assert f"$v = {measurements.V}$" in PAGE
    assert annotations == [list(row) for row in measurements.F]
    assert expected == [list(row) for row in measurements.MULTIPLY]
    assert "$s_3 = (1, -1)$" in PAGE
    bier = [row[3] for row in measurements.F]
    assert f"$h_4 = ({', '.join(map(str, bier))})$" in PAGE


def test_both_forms_by_hand(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()
    expected = r",\ ".join(f"{n:.0f}" for n in numbers["expected"])
    assert f"V s_3 &= ({expected})" in PAGE
    (line,) = [x for x in PAGE.splitlines() if x.startswith("| score | 0 |")]
    assert [int(n.replace("−", "-")) for n in re.findall(r"[−]?\d+", line)] == [
        round(score) for score in numbers["general"]["scores"]
    ]
    columns = ", ".join(f"$({a:.0f}, {b:.0f})$" for a, b in numbers["hidden"])
    assert columns in PAGE


def test_the_alignment_error_rate_by_hand(measurements: ModuleType) -> None:
    numbers = measurements.by_hand()["alignment"]
    assert numbers["error_rate"] == pytest.approx(1 - (2 + 3) / (4 + 3))
    assert r"1 - \frac{2 + 3}{4 + 3} = 0.29" in PAGE
    assert (numbers["precision"], numbers["recall"]) == pytest.approx((3 / 4, 2 / 3))


def test_separated_verbs_are_found_by_their_links(measurements: ModuleType) -> None:
    sentences = ["ich rufe dich an", "der mann hat ein bier getrunken", "ich stehe manchmal auf"]
    pairs = [grammar.translate(sentence.split()) for sentence in sentences]
    found = [
        (number, pairs[number].target[j], pairs[number].source[stem], pairs[number].source[end])
        for number, j, stem, end in measurements.separated(pairs)
    ]
    assert (0, "calling", "rufe", "an") in found
    assert {(number, stem, end) for number, _, stem, end in found} == {
        (0, "rufe", "an"),
        (2, "stehe", "auf"),
    }
