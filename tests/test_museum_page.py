"""Chapter 9's page: every exhibit has its thread, and what is said of the numbers holds."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from attnbook import museum
from attnbook.museum import EXHIBITS
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "09_museum.md").read_text(encoding="utf-8")
STORED: dict[str, Any] = json.loads((BOOK / "results" / "museum.json").read_text(encoding="utf-8"))

# How the tables of the page call the variants of the masked softmax.
ROWS = {
    "softmax-over-batch": "3 · over the batch",
    "without-mask": "4 · no mask",
    "inverted-mask": "5 · inverted",
    "mask-along-rows": "6 · along the rows",
    "mask-times-scores": "7 · times scores",
    "mask-after-softmax": "8 · after the softmax",
    "large-constant": "9 · large constant",
}


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/museum.py")


def cells(heading: str, below: str = "") -> list[str]:
    """The cells of the one table row that begins so, in the section below a heading."""
    section = PAGE.split(below)[1].split("\n## ")[0] if below else PAGE
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {heading} |")]
    return [cell.strip() for cell in line.strip("| ").split("|")[1:]]


# --- the exhibits -------------------------------------------------------------------------------


def test_every_thread_of_an_exhibit_is_linked() -> None:
    links = re.findall(r"https://github\.com/([\w-]+/[\w.-]+)/(?:issues|pull)/(\d+)", PAGE)
    linked = {f"{name}#{number}" for name, number in links}
    for exhibit in EXHIBITS.values():
        assert set(exhibit.threads) <= linked, exhibit.name


def test_a_thread_has_one_address() -> None:
    """An issue or a pull request, but not both."""
    links = re.findall(r"https://github\.com/([\w.-]+/[\w.-]+)/(issues|pull)/(\d+)", PAGE)
    kinds: dict[tuple[str, str], set[str]] = {}
    for name, kind, number in links:
        kinds.setdefault((name, number), set()).add(kind)
    assert [key for key, found in kinds.items() if len(found) > 1] == []


def test_broken_code_and_check_of_every_exhibit_are_quoted() -> None:
    quoted = set(re.findall(r":pyobject: ([\w.]+)", PAGE))
    for exhibit in EXHIBITS.values():
        for each in (exhibit.broken, exhibit.check):
            assert any(name.split(".")[0] == each.__name__ for name in quoted), each.__name__


def test_exhibits_are_numbered_as_in_the_catalogue() -> None:
    numbers = [int(n) for n in re.findall(r"^### (\d+) · ", PAGE, flags=re.MULTILINE)]
    assert numbers == list(range(2, len(EXHIBITS) + 1))  # the first one opens the chapter
    catalogue = PAGE.split("## The catalogue")[1].split("##")[0]
    assert [int(n) for n in re.findall(r"^\| (\d+) · ", catalogue, flags=re.MULTILINE)] == list(
        range(1, len(EXHIBITS) + 1)
    )
    assert "Fifteen mistakes" in PAGE
    assert STORED["exhibits"] == len(EXHIBITS) == 15


def test_the_table_of_tests_gives_every_exhibit_one() -> None:
    table = PAGE.split("| test | asks | exhibits |")[1].split("\n\n")[0]
    found: list[int] = []
    for line in table.splitlines()[2:]:
        last = line.strip("| ").split("|")[-1].strip()
        if span := re.fullmatch(r"(\d+) to (\d+)", last):
            found += range(int(span[1]), int(span[2]) + 1)
        else:
            found += map(int, last.split(", "))
    assert sorted(found) == list(range(1, len(EXHIBITS) + 1))
    checks = [exhibit.check for exhibit in EXHIBITS.values()]
    assert [n + 1 for n, check in enumerate(checks) if check is museum.check_padding] == [
        4, 5, 6, 7, 8,
    ]  # fmt: skip


def test_lengths_that_the_page_names() -> None:
    body = inspect.getsource(museum.check_padding).splitlines()
    assert len(body) == 7
    assert "One test of seven lines catches six" in PAGE


# --- by hand ------------------------------------------------------------------------------------


def test_the_stored_numbers_are_those_of_the_script(measurements: ModuleType) -> None:
    for name, numbers in measurements.by_hand().items():
        torch.testing.assert_close(
            [torch.tensor(row) for row in numbers.values()]
            if isinstance(numbers, dict)
            else torch.tensor(numbers),
            [torch.tensor(row) for row in STORED["by_hand"][name].values()]
            if isinstance(numbers, dict)
            else torch.tensor(STORED["by_hand"][name]),
            atol=1e-6,
            rtol=0,
        )


def test_two_words_and_a_place_of_padding() -> None:
    """Exponentials 1, 3 and 4: eighths where padding counts, fifths where it counts as 0."""
    rows = STORED["by_hand"]["softmax"]
    eighths = [1 / 8, 3 / 8, 4 / 8]
    assert rows["right"] == pytest.approx([1 / 4, 3 / 4, 0])
    assert rows["without-mask"] == pytest.approx(eighths)
    assert rows["mask-along-rows"] == pytest.approx(eighths)
    assert rows["mask-times-scores"] == pytest.approx([1 / 5, 3 / 5, 1 / 5])
    assert rows["mask-after-softmax"] == pytest.approx([*eighths[:2], 0])
    assert rows["inverted-mask"] == pytest.approx([0, 0, 1])
    assert rows["large-constant"] == pytest.approx([1 / 4, 3 / 4, 0])


def test_without_tanh_the_rows_differ_by_a_constant() -> None:
    (a, b), (c, d) = STORED["by_hand"]["flat"]
    assert (a, b, c, d) == (-1, 4, -7, -2)
    assert b - a == d - c
    assert "the scores are −1 and 4 for the one, −7 and −2 for the other" in PAGE


def test_scores_of_the_public_model(measurements: ModuleType) -> None:
    printed = re.search(r"\| (−110,208\.1 .*) \|", PAGE)
    assert printed is not None
    numbers = [float(n.replace("−", "-").replace(",", "")) for n in printed[1].split("|")]
    source = inspect.getsource(measurements.by_hand)
    assert numbers == [round(float(n), 1) for n in re.findall(r"-110\d+\.\d+", source)]
    right = STORED["by_hand"]["real_scores"]["right"]
    assert right.index(max(right)) == 1  # "the second word"
    assert sorted(right)[-2] == right[4]  # "and the fifth"
    assert sum(STORED["by_hand"]["real_scores"]["large-constant"][:5]) == 0


def test_the_product_of_the_two_masks_as_printed() -> None:
    matrices = re.findall(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", PAGE, flags=re.DOTALL)
    future, old = (
        torch.tensor([[int("1" in cell) for cell in row.split("&")] for row in text.split(r"\\")])
        for text in matrices
    )
    assert torch.equal(future, torch.ones(5, 5).triu(1).long())
    assert torch.equal(old, torch.ones(5, 5).tril(-2).long())
    assert not (future * old).any()


def test_where_view_puts_the_letters() -> None:
    row = ["a", "b", "c", "A", "B", "C"]
    for number, sentence in enumerate("abc"):
        should, gets = cells(f"*{sentence}*")
        assert should == f"*{sentence} {sentence.upper()}*"
        assert gets == f"*{' '.join(row[2 * number : 2 * number + 2])}*"


def test_the_three_sentences_put_back_in_place(
    monkeypatch: pytest.MonkeyPatch, as_user: None
) -> None:
    monkeypatch.setattr(
        museum, "translate", lambda _, sentences: [s[-1].upper() for s in sentences]
    )
    nobody: Any = None
    assert museum.translate_in_place(nobody, ["a", "ab", "abc"]) == ["C", "B", "C"]
    assert "The result is *C, B, C*, and *A* is lost" in PAGE
    assert museum.translate_in_place(nobody, ["abc", "ab", "a"]) == ["C", "B", "A"]  # question 4


def test_a_softmax_over_the_target_is_noticed() -> None:
    """Question 2."""

    def over_target(scores, mask):
        return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-2)

    weights = over_target(torch.randn(2, 3, 5), torch.ones(1, 1, 5, dtype=torch.bool))
    torch.testing.assert_close(weights.sum(dim=-2), torch.ones(2, 5))
    with pytest.raises(AssertionError, match=r"1\.000, 1\.000"):
        museum.check_rows(over_target)


def test_masking_afterwards_and_dividing_is_right() -> None:
    """Question 5."""

    def divided(scores, mask):
        weights = museum.mask_after_softmax(scores, mask)
        return weights / weights.sum(dim=-1, keepdim=True)

    museum.check_padding(divided)
    assert divided(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, dtype=torch.bool)).isnan().all()


# --- who notices what ---------------------------------------------------------------------------


def test_the_table_of_who_notices(measurements: ModuleType, as_user: None) -> None:
    """Without the checks of shapes that the tests switch on: they would refuse exhibit 6."""
    found = measurements.who_notices()
    assert STORED["who_notices"] == found
    assert all(found["right"].values())
    for name, heading in ROWS.items():
        assert found[name]["runs"]  # "a test that none of the seven fails"
        tests = ("sums", "rows", "padding", "extremes")
        words = ["passes" if found[name][test] else "caught" for test in tests]
        assert cells(heading, "### Who notices what") == words, name
    columns = {key: [not found[name][key] for name in ROWS] for key in found["right"]}
    assert sum(not (a or b) for a, b in zip(columns["runs"], columns["sums"], strict=True)) == 5
    assert sum(columns["padding"]) == 6
    assert not any(all(column) for column in columns.values())
