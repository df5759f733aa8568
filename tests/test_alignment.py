"""Alignment error rate by hand, the argmax alignment, entropy, and files that do not fit."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbook import grammar
from attnbook.alignment import (
    AlignmentScores,
    GoldAlignment,
    align_by_weight,
    alignment_scores,
    mean_entropy,
    read_alignments,
    weights_of_words,
    write_alignment,
)

SURE = frozenset({(0, 0), (2, 1)})
GOLD = GoldAlignment(SURE, SURE | {(2, 2), (1, 3)})
LENGTHS = [(3, 4), (5, 2), (2, 2)]


# --- scores ---------------------------------------------------------------------------------------


def test_error_rate_by_hand():
    # Found: one sure link, one that is only possible, one wrong. |A| = 3, |S| = 2.
    found = [{(0, 0), (2, 2), (1, 1)}]
    assert alignment_scores(found, [GOLD]) == AlignmentScores(
        error_rate=1 - (1 + 2) / (3 + 2), precision=2 / 3, recall=1 / 2, links=3
    )


def test_all_sure_links_and_some_possible_ones_are_perfect():
    for found in (GOLD.sure, GOLD.possible):
        scores = alignment_scores([found], [GOLD])
        assert (scores.error_rate, scores.precision, scores.recall) == (0, 1, 1)


def test_sentences_are_counted_together():
    """A mean over sentences would give the short one the same say."""
    gold = [GoldAlignment.of({(0, 0)}), GoldAlignment.of({(i, i) for i in range(9)})]
    found = [{(0, 1)}, {(i, i) for i in range(9)}]
    scores = alignment_scores(found, gold)
    assert scores.precision == scores.recall == pytest.approx(0.9)
    assert scores.error_rate == pytest.approx(0.1)


LINKS = st.frozensets(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1)


@given(LINKS, LINKS, LINKS)
def test_the_error_rate_lies_between_0_and_1_and_is_f1_without_possible_links(found, sure, more):
    gold = GoldAlignment(sure, sure | more)
    scores = alignment_scores([found], [gold])
    assert 0 <= scores.error_rate <= 1
    alone = alignment_scores([found], [GoldAlignment.of(sure)])
    both = alone.precision + alone.recall
    f1 = 2 * alone.precision * alone.recall / both if both else 0.0
    assert alone.error_rate == pytest.approx(1 - f1)
    assert scores.error_rate <= alone.error_rate + 1e-12


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="2 sentences and gold of 1"):
        alignment_scores([set(), set()], [GOLD])
    with pytest.raises(ValueError, match="0 links were found"):
        alignment_scores([set()], [GOLD])
    with pytest.raises(ValueError, match=r"\(5, 5\) is sure but not possible"):
        GoldAlignment(frozenset({(5, 5)}), frozenset())


# --- from weights ---------------------------------------------------------------------------------


def test_each_target_word_is_linked_to_its_largest_weight():
    weights = np.array([[0.1, 0.9, 0.0], [0.4, 0.4, 0.2], [0.0, 0.0, 0.0], [0.0, 0.3, 0.7]])
    links = align_by_weight(weights)
    assert links == {(1, 0), (0, 1), (2, 3)}
    assert json.loads(json.dumps(sorted(links))) == [[0, 1], [1, 0], [2, 3]]  # no numbers of NumPy
    with pytest.raises(ValueError, match="1 axes"):
        align_by_weight(weights[0])


def test_the_gold_alignment_of_the_grammar_is_perfect_against_itself():
    pairs = grammar.generate(50, seed=3, longest=20)
    links = [pair.links for pair in pairs if pair.links is not None]
    gold = [GoldAlignment.of(one) for one in links]
    assert alignment_scores(links, gold).error_rate == 0
    # As weights: all of it on the first linked word; unlinked words look nowhere.
    found = []
    for pair, linked in zip(pairs, links, strict=True):
        weights = np.zeros((len(pair.target), len(pair.source)))
        for i, j in sorted(linked, reverse=True):
            weights[j] = 0
            weights[j, i] = 1
        found.append(align_by_weight(weights))
    scores = alignment_scores(found, gold)
    assert scores.precision == 1
    assert scores.recall < 1, "a target word with two source words gets one link only"


def test_weights_of_words_by_hand():
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.2], [0.0, 0.0, 1.0, 0.0]])
    found = weights_of_words(weights, [0, 0, 1], [0, 0, 1])
    np.testing.assert_allclose(found, [[0.45, 0.25, 0.3], [0.0, 1.0, 0.0]])


def test_words_that_are_whole_keep_their_weights():
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0]])
    np.testing.assert_allclose(weights_of_words(weights, [0, 1, 2], [0, 1]), weights)


def test_entropy_by_hand():
    assert mean_entropy([np.array([[0.0, 1.0, 0.0]])]) == 0
    assert mean_entropy([np.full((2, 8), 1 / 8)]) == pytest.approx(math.log(8))
    half, one = np.array([[0.5, 0.5, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert mean_entropy([half, one]) == pytest.approx(math.log(2) / 4)


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "links.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_is_read(written):
    path = written("0-0 2-1 2p2 1p3\n\n1-1 0p1\n")
    gold = read_alignments(path, LENGTHS)
    assert gold[0] == GOLD
    assert gold[1] == GoldAlignment(frozenset(), frozenset())
    assert gold[2].possible - gold[2].sure == {(0, 1)}


def test_a_file_that_counts_from_1(written):
    path = written("1-1 3-2 3p3 2p4\n\n2-2 1p2\n")
    assert read_alignments(path, LENGTHS, first=1)[0] == GOLD


def test_a_line_by_hand():
    assert write_alignment([(2, 1), (0, 0)], [(0, 0), (1, 3)]) == "0-0 1p3 2-1"
    assert write_alignment([(2, 1)], first=1) == "3-2"


@given(LINKS, LINKS, st.sampled_from([0, 1]))
def test_what_is_written_is_read_back(tmp_path_factory, sure, possible, first):
    path = tmp_path_factory.mktemp("links") / "one.txt"
    path.write_text(write_alignment(sure, possible, first=first) + "\n", encoding="utf-8")
    assert read_alignments(path, [(7, 5)], first=first) == [GoldAlignment(sure, sure | possible)]


@pytest.mark.parametrize(
    ("text", "first", "message"),
    [
        ("0-0\n", 0, "1 lines for 3 sentence pairs"),
        ("0-0\n0-0 0:1\n0-0\n", 0, "line 2: '0:1' is not a link; write 3-4"),
        ("0-0\n5-0\n0-0\n", 0, "line 2: the link 5-0 lies outside a pair of 5 source and 2 target"),
        ("0-0\n4-2\n0-0\n", 0, "line 2: the link 4-2 lies outside a pair of 5 source and 2 target"),
        ("1-1 3-4\n\n2-2\n", 0, "is the first word number 1 in this file"),
        ("0-0\n\n\n", 1, "is the first word number 0 in this file"),
        ("1-1 -1-2\n\n\n", 1, "'-1-2' is not a link"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(written, text, first, message):
    with pytest.raises(ValueError, match=message):
        read_alignments(written(text), LENGTHS, first=first)


def test_other_numbers_for_the_first_word_are_refused(written):
    with pytest.raises(ValueError, match="first must be 0 or 1, got 2"):
        read_alignments(written("\n\n\n"), LENGTHS, first=2)
