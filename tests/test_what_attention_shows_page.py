"""Chapter 15's page: its measures of importance, its searches, and what it says of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from attnbook.decoding import decode
from attnbook.seq2seq import Translator
from attnbook.trace import MEASURES, DecodingTrace
from attnbook.vocabulary import EOS, SOS
from scripts import load_script
from small_models import PAIRS, fitted

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "15_what_attention_shows.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/what_attention_shows.py")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    path = BOOK / "results" / "what_attention_shows.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def translator() -> Translator:
    return fitted()


# --- by hand ----------------------------------------------------------------------------------


def test_two_mixtures_one_result(measurements: ModuleType, stored: dict[str, Any]) -> None:
    found = measurements.by_hand()
    assert found == stored["by_hand"]
    assert found["one"] == found["other"] == [2.0, 1.0]
    for vector in measurements.VALUES:
        assert "({:.0f}, {:.0f})".format(*vector) in PAGE
    values = np.array(measurements.VALUES)
    np.testing.assert_array_equal([0.25, 0.25, 0.5] @ values, found["one"])  # answer 1


def test_the_count_of_free_dimensions() -> None:
    """Answer 2: 100 words, values of 64 numbers."""
    conditions = torch.cat([torch.randn(64, 100), torch.ones(1, 100)])
    assert 100 - int(torch.linalg.matrix_rank(conditions)) == 35
    assert "at least 35 dimensions" in PAGE


# --- measures ---------------------------------------------------------------------------------


def test_weights_are_those_of_the_decoding(
    measurements: ModuleType, translator: Translator
) -> None:
    for pair in PAIRS:
        found = measurements.importance(translator, pair)["weight"]
        trace = decode(translator, pair.source, target=pair.target)
        assert trace.weights is not None
        np.testing.assert_allclose(found, trace.weights, atol=1e-5)


def forced(translator: Translator, states: torch.Tensor, pair: Any) -> torch.Tensor:
    """The right words' log-probabilities if the encoder had left these states."""
    ids = torch.tensor([[*translator.source_ids(pair.source), EOS]])
    right = [*translator.target_vocabulary.encode(pair.target), EOS]
    encoded = translator.encode(ids, torch.tensor([ids.shape[1]]))._replace(states=states)
    readouts = translator.decoder(torch.tensor([[SOS, *right[:-1]]]), encoded).readouts
    log_probs = torch.log_softmax(translator.decoder.logits(readouts[0]), dim=-1)
    return log_probs[range(len(right)), right]


def test_gradients_are_slopes(measurements: ModuleType, translator: Translator) -> None:
    """Both gradients, against small steps along the state and in every direction."""
    pair = PAIRS[0]
    found = measurements.importance(translator, pair)
    ids = torch.tensor([[*translator.source_ids(pair.source), EOS]])
    states = translator.encode(ids, torch.tensor([ids.shape[1]])).states.detach()
    step = 1e-2
    for place in range(ids.shape[1]):
        slopes = []
        for direction in [*torch.eye(states.shape[2]), states[0, place]]:
            changed = [states.clone(), states.clone()]
            changed[0][0, place] += step * direction
            changed[1][0, place] -= step * direction
            with torch.no_grad():
                up, down = (forced(translator, one, pair) for one in changed)
            slopes.append((up - down) / (2 * step))
        *axes, along = slopes
        norm = torch.stack(axes).norm(dim=0).numpy()
        np.testing.assert_allclose(found["gradient"][:, place], norm, rtol=0.02, atol=2e-3)
        np.testing.assert_allclose(
            found["gradient times state"][:, place], along.abs().numpy(), rtol=0.02, atol=2e-3
        )


def test_a_word_left_out_is_read_as_unknown(
    measurements: ModuleType, translator: Translator
) -> None:
    pair = PAIRS[2]
    found = measurements.importance(translator, pair)["word left out"]
    whole = decode(translator, pair.source, target=pair.target).log_probs
    for place in range(len(pair.source)):
        words = list(pair.source)
        words[place] = "<unk>"
        without = decode(translator, words, target=pair.target).log_probs
        np.testing.assert_allclose(found[:, place], np.abs(whole - without), atol=1e-4)


def test_end_markers_are_not_counted(measurements: ModuleType, translator: Translator) -> None:
    pair = PAIRS[0]
    everything = measurements.importance(translator, pair)
    words = measurements.of_words(translator, pair)
    for name, one in words.items():
        assert one.shape == (len(pair.target), len(pair.source))
        np.testing.assert_array_equal(one, everything[name][:-1, :-1])


def test_agreement_by_hand(measurements: ModuleType) -> None:
    """Ranks 0 1 2 and 0 2 1: ρ is 1 − 6·2 / (3·8) = ½; the first word is another one."""
    rows = [{"one": np.array([[0.1, 0.2, 0.7]]), "other": np.array([[1.0, 3.0, 2.0]])}]
    other = measurements.agreement(rows, "one", "other")
    assert other["rho"] == pytest.approx(0.5)
    assert other["same"] == 0.0
    same = measurements.agreement(rows, "one", "one")
    assert same["rho"] == pytest.approx(1.0)
    assert same["same"] == 1.0


def test_a_trace_holds_the_four_measures_as_shares(
    measurements: ModuleType, translator: Translator
) -> None:
    trace = measurements.witnesses(translator, PAIRS[0].source)
    assert [one.kind for one in trace.maps] == ["source", *MEASURES]
    np.testing.assert_allclose(trace.maps[0].weights[0, 0], trace.weights, atol=1e-5)
    for one in trace.maps:
        np.testing.assert_allclose(one.weights.sum(axis=-1), 1.0)


# --- other weights ------------------------------------------------------------------------------


def test_exchanged_weights(measurements: ModuleType, translator: Translator) -> None:
    """With its own weights `words_of` gives the decoder's distribution; with others another."""
    pair = PAIRS[0]
    trace = decode(translator, pair.source, target=pair.target)
    weights, values, states = (
        torch.tensor(one, dtype=torch.float32)
        for one in (trace.weights, trace.encoder_states, trace.decoder_states)
    )
    words = measurements.words_of(translator, states, values, weights)
    right = [*translator.target_vocabulary.encode(pair.target), EOS]
    np.testing.assert_allclose(
        words.detach().numpy()[range(len(right)), right], np.exp(trace.log_probs), atol=1e-4
    )
    found = measurements.exchanged(translator, PAIRS)
    assert {name: part["steps"] for name, part in found.items()} == dict.fromkeys(
        ("shuffled", "uniform", "without the largest"), sum(len(p.target) + 1 for p in PAIRS)
    )
    assert all(0 < part["variation"] < 1 for part in found.values())
    even = torch.full_like(weights, 1 / weights.shape[1])
    one = measurements.exchanged(translator, [pair])["uniform"]["variation"]
    change = words - measurements.words_of(translator, states, values, even)
    assert one == pytest.approx(0.5 * float(change.abs().sum(dim=1).mean()), rel=1e-3)


def test_the_search_finds_other_weights(measurements: ModuleType, translator: Translator) -> None:
    """Where the states of two words are one, their weights may be exchanged, and it finds that."""
    found = measurements.sought(translator, PAIRS[:2])
    assert found["steps"] == sum(len(pair.target) + 1 for pair in PAIRS[:2])
    assert 0 < found["distance"] < 1
    encode = translator.encode

    def all_alike(source: torch.Tensor, lengths: torch.Tensor) -> Any:
        encoded = encode(source, lengths)
        mean = encoded.states.mean(dim=1, keepdim=True)
        return encoded._replace(states=mean.expand_as(encoded.states))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translator, "encode", all_alike)
        assert (
            measurements.sought(translator, PAIRS[:2])["distance"] > 0.45
        )  # at most 0.75 and 0.67


# --- what the page says -------------------------------------------------------------------------


def test_what_the_page_says_of_exchanged_weights(stored: dict[str, Any]) -> None:
    exchanged = stored["exchanged"]
    assert exchanged["shuffled"]["same"] == pytest.approx(2 / 5, abs=0.02)
    assert "in three of five steps the model says something else" in PAGE
    assert exchanged["uniform"]["same"] == pytest.approx(0.5, abs=0.03)
    assert "it still says the same in half of the steps" in PAGE
    assert stored["sought"]["other_word_first"] == pytest.approx(1 / 3, abs=0.04)
    assert "in about a third of the steps other weights" in PAGE


def test_what_the_figure_shows() -> None:
    trace = DecodingTrace.load(BOOK / "traces" / "kamera-measures.json")
    step = trace.target_tokens.index("is")
    assert ":step: 5" in PAGE
    assert step == 4
    first = {one.kind: one.columns[int(one.weights[0, 0, step].argmax())] for one in trace.maps}
    assert first.pop("word left out") == "gekleidete"
    assert set(first.values()) == {"bedient"}
