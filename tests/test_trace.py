from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbook.trace import MEASURES, SCHEMA, AttentionMaps, Candidate, DecodingTrace, _rounded
from example_traces import example, example_with_heads, example_with_measures

SOURCE, TARGET, WIDTH = 5, 8, 11


@pytest.fixture
def trace() -> DecodingTrace:
    return example(links=frozenset({(0, 0), (3, 4)}))


def test_source_and_target_have_their_own_lengths(trace):
    assert trace.weights.shape == trace.scores.shape == (TARGET, SOURCE)
    assert trace.contexts.shape == trace.decoder_states.shape == (TARGET, WIDTH)
    assert trace.encoder_states.shape == (SOURCE, WIDTH)
    assert trace.attends
    assert trace.text == "i 'd like a beer , please"


def test_without_attention():
    trace = example(attends=False)
    assert not trace.attends
    assert trace.scores is trace.weights is trace.contexts is None
    assert DecodingTrace.from_json(trace.to_json()) == trace


def _with(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = value
    return changed


WRONG: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "another schema": (
        lambda t: {"schema": 99},
        f"schema: this version .* schema {SCHEMA}, got 99",
    ),
    "no source": (lambda t: {"source_tokens": ()}, "source_tokens: .* at least one"),
    "no target": (lambda t: {"target_tokens": ()}, "target_tokens: .* at least one"),
    "weights alone missing": (
        lambda t: {"weights": None},
        "weights: missing, although scores, con",
    ),
    "scores and contexts missing": (
        lambda t: {"scores": None, "contexts": None},
        "contexts, scores: missing, although weights is given",
    ),
    "log_probs too short": (
        lambda t: {"log_probs": t.log_probs[:-1]},
        r"log_probs: expected shape \(8,\), got \(7,\)",
    ),
    "log_probs a list": (
        lambda t: {"log_probs": t.log_probs.tolist()},
        "log_probs: expected a NumPy array, got list",
    ),
    "log_probs above 0": (lambda t: {"log_probs": -t.log_probs + 0.1}, "log_probs: .* above 0"),
    "log_probs not a number": (
        lambda t: {"log_probs": _with(t.log_probs, math.nan)},
        "log_probs: holds NaN or an infinity",
    ),
    "encoder_states of the target's length": (
        lambda t: {"encoder_states": t.decoder_states},
        r"encoder_states: expected shape \(5, 'any'\), got \(8, 11\)",
    ),
    "decoder_states of the source's length": (
        lambda t: {"decoder_states": t.encoder_states},
        r"decoder_states: expected shape \(8, 'any'\), got \(5, 11\)",
    ),
    "decoder_states flat": (
        lambda t: {"decoder_states": t.decoder_states.ravel()},
        "decoder_states: expected shape",
    ),
    "infinite state": (
        lambda t: {"encoder_states": _with(t.encoder_states, math.inf)},
        "encoder_states: holds NaN or an infinity",
    ),
    "scores transposed": (
        lambda t: {"scores": t.scores.T},
        r"scores: expected shape \(8, 5\), got \(5, 8\)",
    ),
    "score +inf": (lambda t: {"scores": _with(t.scores, math.inf)}, r"scores: holds NaN or \+inf"),
    "score NaN": (lambda t: {"scores": _with(t.scores, math.nan)}, r"scores: holds NaN or \+inf"),
    "weights transposed": (
        lambda t: {"weights": t.weights.T},
        r"weights: expected shape \(8, 5\), got \(5, 8\)",
    ),
    "weights that sum to 2": (lambda t: {"weights": 2 * t.weights}, "weights: .* got row sums"),
    "a negative weight": (
        lambda t: {"weights": np.array([[1.5, -0.5, 0, 0, 0]] * TARGET)},
        "weights: each row must be non-negative",
    ),
    "weight NaN": (lambda t: {"weights": _with(t.weights, math.nan)}, "weights: holds NaN"),
    "contexts of the source's length": (
        lambda t: {"contexts": t.encoder_states},
        r"contexts: expected shape \(8, 'any'\)",
    ),
    "queries of the source's length": (
        lambda t: {"queries": t.encoder_states},
        r"queries: expected shape \(8, 'any'\), got \(5, 11\)",
    ),
    "queries without attention": (
        lambda t: {
            "queries": t.decoder_states,
            "scores": None,
            "weights": None,
            "contexts": None,
        },
        "queries: a decoder without attention asks nothing",
    ),
    "a step without candidates": (
        lambda t: {"candidates": t.candidates[:-1]},
        "candidates: expected one list for each of 8 steps, got 7",
    ),
    "a probability of 2": (
        lambda t: {"candidates": (*t.candidates[:-1], (Candidate("a", 2.0),))},
        "candidates: step 7 has a probability outside 0 to 1",
    ),
    "candidates the wrong way round": (
        lambda t: {"candidates": (t.candidates[0][::-1], *t.candidates[1:])},
        "candidates: step 0 is not sorted",
    ),
    "a link outside the source": (
        lambda t: {"gold_links": frozenset({(SOURCE, 0)})},
        r"gold_links: the link \(5, 0\) lies outside 5 source and 8 target",
    ),
    "a link outside the target": (
        lambda t: {"gold_links": frozenset({(0, TARGET)})},
        r"gold_links: the link \(0, 8\) lies outside",
    ),
    "a link the wrong way round": (
        lambda t: {"gold_links": frozenset({(7, 0)})},
        r"gold_links: the link \(7, 0\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_by_name(trace, case, as_user):
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(trace, **change(trace))


def test_a_fully_masked_row_has_zero_weights():
    trace = example(masked=(0, 1, 2, 3, 4))
    assert np.all(trace.weights == 0)
    assert np.all(trace.contexts == 0)


def test_masked_scores_travel_as_null():
    trace = example(masked=(2,))
    data = json.loads(trace.to_json())
    assert [row[2] for row in data["scores"]] == [None] * TARGET
    back = DecodingTrace.from_dict(data)
    assert back.scores is not None
    assert np.all(np.isneginf(back.scores[:, 2]))
    assert back == trace


def test_json_is_what_every_reader_accepts():
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = example(masked=(1,)).to_json()
    json.loads(text, parse_constant=refuse)


def test_unknown_and_missing_fields_are_named(trace):
    data = trace.to_dict()
    with pytest.raises(ValueError, match="alphas, energy: not a field"):
        DecodingTrace.from_dict(data | {"energy": 1, "alphas": 2})
    del data["weights"], data["model"]
    with pytest.raises(ValueError, match="model, weights: missing from the trace"):
        DecodingTrace.from_dict(data)


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0]], [["a"]], 7])
def test_ragged_or_wordy_tables_are_refused(trace, rows, as_user):
    with pytest.raises(ValueError, match="encoder_states: not a table of numbers"):
        DecodingTrace.from_dict(trace.to_dict() | {"encoder_states": rows})


def test_rounding_keeps_a_file_small_and_a_trace_valid(trace):
    text = trace.to_json(decimals=3)
    assert len(text) < len(trace.to_json()) / 2
    back = DecodingTrace.from_json(text)
    assert back.weights is not None
    np.testing.assert_allclose(back.weights, trace.weights, atol=1e-3)


@pytest.mark.parametrize("decimals", [0, 1, 2, 4])
def test_rounded_weights_still_sum_to_1(decimals):
    """Of sixty words no weight need reach a half of the last decimal."""
    weights = np.full((3, 60), 1 / 60)
    weights[1] = np.arange(60) / np.arange(60).sum()
    weights[2] = 0.0  # everything masked
    rounded = _rounded(weights, decimals)
    np.testing.assert_allclose(rounded.sum(axis=1), [1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(rounded, weights, atol=10.0**-decimals)
    np.testing.assert_allclose(rounded, rounded.round(decimals))


def test_file_round_trip(tmp_path: Path, trace):
    path = tmp_path / "trace.json"
    trace.save(path)
    assert DecodingTrace.load(path) == trace
    assert path.read_bytes().endswith(b"\n")
    assert "möchte" in path.read_text(encoding="utf-8")


def test_equality(trace):
    assert trace == example(links=frozenset({(0, 0), (3, 4)}))
    assert trace != example(links=frozenset({(0, 0)}))
    assert trace != example(seed=1, links=trace.gold_links)
    assert trace != "a trace"


words = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=40)
@given(
    source=words,
    target=words,
    attends=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-300, 300),
    masked=st.sets(st.integers(0, 5)),
)
def test_reading_back_gives_the_same_trace(source, target, attends, seed, exponent, masked):
    random = np.random.default_rng(seed)
    shape = (len(target), len(source))

    def table(*size: int) -> np.ndarray:
        return random.normal(size=size) * 10.0**exponent

    scores = table(*shape)
    scores[:, [i for i in masked if i < len(source)]] = -np.inf
    seen = np.isfinite(scores)
    trace = DecodingTrace(
        model="any",
        source_tokens=tuple(source),
        target_tokens=tuple(target),
        log_probs=-np.abs(table(len(target))),
        candidates=tuple((Candidate(word, float(random.uniform())),) for word in target),
        encoder_states=table(len(source), 3),
        decoder_states=table(len(target), 2),
        scores=scores if attends else None,
        weights=seen / np.maximum(seen.sum(axis=1, keepdims=True), 1) if attends else None,
        contexts=table(len(target), 7) if attends else None,
        gold_links=frozenset({(len(source) - 1, 0)}) if seed % 2 else None,
        queries=table(len(target), 5) if attends and seed % 3 == 0 else None,
    )
    back = DecodingTrace.from_json(trace.to_json())
    assert back == trace
    for field in dataclasses.fields(DecodingTrace):
        one, other = getattr(trace, field.name), getattr(back, field.name)
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


# --- several heads ----------------------------------------------------------------------------


def test_maps_travel_with_the_trace():
    trace = example_with_heads()
    again = DecodingTrace.from_json(trace.to_json())
    assert again == trace
    assert [one.kind for one in again.maps] == ["source", "written", "encoder"]
    assert again.maps[1].columns[0] == "<sos>"
    assert again.attends
    rounded = DecodingTrace.from_json(trace.to_json(decimals=4))
    np.testing.assert_allclose(rounded.maps[2].weights, trace.maps[2].weights, atol=1e-4)
    assert rounded != trace
    assert trace.maps[0] != "a map"


def test_a_trace_without_maps_is_written_as_before():
    assert "maps" not in example().to_dict()


WRONG_MAPS = {
    "kind": (lambda m: {"kind": "sideways"}, "kind must be one of source, written, encoder"),
    "shape": (lambda m: {"weights": m.weights[0]}, r"maps: source weights must be \(layers, heads"),
    "words": (lambda m: {"rows": m.rows[1:]}, "maps: source weights must be"),
    "sums": (lambda m: {"weights": 2 * m.weights}, "maps: source: each row must be non-negative"),
    "none": (lambda m: {"weights": m.weights[:, :0]}, "maps: source has no layer, no head"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_MAPS.values(), ids=list(WRONG_MAPS))
def test_a_map_refuses_what_does_not_fit(change, message):
    right = example_with_heads().maps[0]
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(right, **change(right))


def test_measures_travel_with_the_trace():
    trace = example_with_measures()
    again = DecodingTrace.from_dict(json.loads(json.dumps(trace.to_dict())))
    assert [one.kind for one in again.maps] == ["source", *MEASURES]
    assert again == trace
    asked_by_source = dataclasses.replace(
        trace.maps[1], rows=trace.source_tokens,
        weights=np.full((1, 1, len(trace.source_tokens), len(trace.source_tokens)),
                        1 / len(trace.source_tokens)),
    )  # fmt: skip
    with pytest.raises(ValueError, match="maps: gradient has 5 rows"):
        dataclasses.replace(trace, maps=(asked_by_source,))


def test_maps_must_be_of_the_sentence():
    trace = example_with_heads()
    other = AttentionMaps("encoder", ("a",), ("a",), np.ones((1, 1, 1, 1)))
    with pytest.raises(ValueError, match="maps: encoder has 1 rows and 1 columns, and there are 5"):
        dataclasses.replace(trace, maps=(other,))
    with pytest.raises(ValueError, match="scores: missing"):
        dataclasses.replace(trace, maps=())
