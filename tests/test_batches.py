"""Padding, markers, and batches of a bounded size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnbook.batches import Batch, bucketed_batches, collate, pad, random_batches
from attnbook.vocabulary import EOS, PAD, SOS
from small_models import EXAMPLES

side = st.lists(st.integers(4, 9), min_size=1, max_size=9)
examples = st.lists(st.tuples(side, side), min_size=1, max_size=25)


def test_collate_by_hand():
    batch = collate([([4, 5], [6]), ([7], [8, 9, 4])])
    assert batch.source.tolist() == [[4, 5, EOS], [7, EOS, PAD]]
    assert batch.source_lengths.tolist() == [3, 2]
    assert batch.target_in.tolist() == [[SOS, 6, PAD, PAD], [SOS, 8, 9, 4]]
    assert batch.target_out.tolist() == [[6, EOS, PAD, PAD], [8, 9, 4, EOS]]
    assert batch.target_lengths.tolist() == [2, 4]
    assert batch.source_mask.tolist() == [[True] * 3, [True, True, False]]
    assert batch.target_mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.target_tokens == 6
    assert len(batch) == 2


@given(examples)
def test_the_target_is_shifted_by_one(pairs):
    batch = collate(pairs)
    for number, (source, target) in enumerate(pairs):
        read = batch.target_in[number, : len(target) + 1].tolist()
        written = batch.target_out[number, : len(target) + 1].tolist()
        assert read == [SOS, *target]
        assert written == [*target, EOS]
        assert batch.source[number, : len(source) + 1].tolist() == [*source, EOS]
    assert bool((batch.source[~batch.source_mask] == PAD).all())
    assert bool((batch.target_in[~batch.target_mask] == PAD).all())
    assert bool((batch.target_out[~batch.target_mask] == PAD).all())


@given(examples, st.integers(1, 60), st.integers(0, 3))
def test_buckets_hold_every_example_once_within_the_budget(pairs, tokens, seed):
    batches = bucketed_batches(pairs, tokens, seed=seed)
    assert sorted(number for numbers in batches for number in numbers) == list(range(len(pairs)))
    for numbers in batches:
        batch = collate([pairs[number] for number in numbers])
        rectangle = len(batch) * max(batch.source.shape[1], batch.target_in.shape[1])
        assert rectangle <= tokens or len(numbers) == 1


def test_buckets_hold_equal_lengths_and_depend_on_the_seed_alone():
    pairs = [([4] * (1 + number % 5), [4] * (1 + number % 5)) for number in range(40)]
    one = bucketed_batches(pairs, 24, seed=1)
    assert one == bucketed_batches(pairs, 24, seed=1)
    assert one != bucketed_batches(pairs, 24, seed=2)
    lengths = [len(pairs[number][0]) for numbers in one for number in numbers]
    assert lengths != sorted(lengths)  # the batches come in random order
    # Eight sentences of each length: at most one batch between two lengths is mixed.
    mixed = [numbers for numbers in one if len({len(pairs[n][0]) for n in numbers}) > 1]
    assert len(mixed) <= 4


def test_random_batches_hold_every_example_once():
    pairs = [([number], [number, 4]) for number in range(4, 15)]
    batches = list(random_batches(pairs, 4, seed=0))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    seen = [int(row[0]) for batch in batches for row in batch.source]
    assert sorted(seen) == list(range(4, 15))
    assert seen != sorted(seen)
    again = [int(row[0]) for batch in random_batches(pairs, 4, seed=0) for row in batch.source]
    assert again == seen


def test_to_moves_the_ids_and_leaves_the_lengths():
    batch = collate(EXAMPLES).to("meta")
    assert batch.source.device.type == batch.target_in.device.type == "meta"
    assert batch.target_out.device.type == "meta"
    assert batch.source_lengths.device.type == batch.target_lengths.device.type == "cpu"


def rows(count, size):
    return torch.ones(count, size, dtype=torch.int64)


def lengths(count):
    return torch.ones(count, dtype=torch.int64)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collate([]), "at least one sentence pair"),
        (lambda: collate([([4], [5]), ([], [4])]), "sentence 1 has an empty source"),
        (lambda: collate([([4], [])]), "sentence 0 has an empty target"),
        (lambda: pad([[4], []]), "sentence 1 is empty"),
        (lambda: pad([]), "at least one sentence"),
        (lambda: list(random_batches(EXAMPLES, 0, seed=0)), "got size 0"),
        (lambda: bucketed_batches(EXAMPLES, 0, seed=0), "at least 1 token"),
        (
            lambda: Batch(rows(2, 3), lengths(2), rows(5, 3), rows(2, 3), lengths(2)),
            "differ in their number of sentences: .*'target_in': 5",
        ),
        (
            lambda: Batch(rows(0, 3), lengths(0), rows(0, 3), rows(0, 3), lengths(0)),
            "at least one sentence pair",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
