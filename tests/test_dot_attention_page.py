"""Chapter 5's page: its numbers are what the package computes, its quoted code is whole."""

from __future__ import annotations

import inspect
import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from attnbook import attention, decoders, scores
from attnbook.corpora import SentencePair
from attnbook.decoders import LuongDecoder
from attnbook.decoding import decode
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.trace import DecodingTrace
from attnbook.vocabulary import EOS, SOS, Vocabulary
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "05_dot_attention.md").read_text(encoding="utf-8")
STEP = 3  # of the worked example: the fourth, which writes "student"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_script("book/results/dot_attention_by_hand.py")


@pytest.fixture(scope="module")
def trace(example: ModuleType) -> DecodingTrace:
    return decode(example.translator(), example.SOURCE)


def section(first: str, last: str) -> str:
    return PAGE[PAGE.index(first) : PAGE.index(last)]


BY_HAND = section("## One step by hand", "## When the decoder looks")


def numbers(value: Any) -> Iterator[float]:
    """All numbers anywhere in nested lists and dicts."""
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from numbers(inner)


def tex(value: float, decimals: int = 0) -> str:
    """A number as the page's formulas write it, a negative one in braces."""
    text = f"{abs(value):.{decimals}f}"
    return f"{{-{text}}}" if value < 0 and float(text) != 0 else text


def vector(row: Iterable[float], decimals: int = 0) -> str:
    """A vector as the page's formulas write it."""
    return "(" + ",\\ ".join(tex(number, decimals) for number in row) + ")"


# --- the worked example -----------------------------------------------------------------------


def test_the_hand_made_translator_writes_the_sentence(trace: DecodingTrace) -> None:
    assert trace.text == "i am a student"
    assert trace.target_tokens[-1] == "<eos>"
    assert trace.weights is not None
    assert trace.weights[STEP].argmax() == 2


def test_the_states_on_the_page_are_the_example_s(example: ModuleType) -> None:
    rows = [*example.STATES.values(), example.QUERIES["a"]]
    for row in rows:
        assert vector(row) in BY_HAND


def test_each_score_is_written_out_and_right(example: ModuleType, trace: DecodingTrace) -> None:
    query = example.QUERIES["a"]
    assert trace.scores is not None

    def factor(number: int) -> str:
        return f"({tex(number)})" if number < 0 else str(number)

    for i, state in enumerate(example.STATES.values(), start=1):
        products = " + ".join(
            f"{factor(s)}\\cdot {factor(h)}".replace("cdot (", "cdot(")
            for s, h in zip(query, state, strict=True)
        )
        line = (
            f"e_{i} = \\q{{s_4}}^\\top \\k{{h_{i}}} &= {products} = {trace.scores[STEP, i - 1]:.0f}"
        )
        assert line in BY_HAND


def test_the_table_of_the_softmax(trace: DecodingTrace) -> None:
    assert trace.scores is not None
    assert trace.weights is not None
    row = trace.scores[STEP]
    exponentials = [math.exp(score) for score in row]
    cells = " | ".join(f"{value:.3f}" for value in [*exponentials, sum(exponentials)])
    assert f"| $\\exp(e_i)$ | {cells} |" in BY_HAND
    cells = " | ".join(f"{value:.3f}" for value in trace.weights[STEP])
    assert f"| weight $\\alpha_i$ | {cells} | 1 |" in BY_HAND
    cells = " | ".join(f"{value:.0f}".replace("-", "−") for value in row)
    assert f"| score $e_i$ | {cells} | |" in BY_HAND


def test_the_weighted_states_and_their_sum(example: ModuleType, trace: DecodingTrace) -> None:
    assert trace.weights is not None
    assert trace.contexts is not None
    plain = BY_HAND.replace("\\phantom{-}", "")
    for weight, state in zip(trace.weights[STEP], example.STATES.values(), strict=True):
        weighted = vector([weight * n for n in state], 3)
        assert f"{weight:.3f}\\cdot{vector(state)} &= {weighted}" in plain
    assert f"\\c{{c_4}} &= {vector(trace.contexts[STEP], 3)}" in plain


def test_the_three_matrices(example: ModuleType, trace: DecodingTrace) -> None:
    assert trace.scores is not None
    queries = [[int(n) for n in row] for row in trace.decoder_states]
    keys = [list(column) for column in zip(*example.STATES.values(), strict=True)]
    for matrix in (queries, keys, trace.scores.tolist()):
        rows = "\\\\ ".join(" & ".join(tex(n) for n in row) for row in matrix)
        assert f"\\begin{{pmatrix}} {rows} \\end{{pmatrix}}" in BY_HAND


def test_every_decimal_of_the_worked_example_is_computed(
    example: ModuleType, trace: DecodingTrace
) -> None:
    found = example.measure()
    assert trace.weights is not None
    weights, states = trace.weights[STEP], list(example.STATES.values())
    query, context = example.QUERIES["a"], found["contexts"][STEP]
    known = list(numbers(found))
    known += [weight * n for weight, state in zip(weights, states, strict=True) for n in state]
    known += [(c + s) / 2 for c, s in zip(context, query, strict=True)]
    known += [math.exp(1), math.exp(2), sum(found["exponentials"]), 1 - weights[3]]
    printed = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", re.sub(r"`[^`]*`", "", BY_HAND))
    assert len(printed) > 50
    wrong = [
        text
        for text in printed
        if not any(f"{abs(value):.{len(text.split('.')[1])}f}" == text for value in known)
    ]
    assert wrong == []


def test_the_words_probabilities_with_and_without_looking(example: ModuleType) -> None:
    found = example.measure()
    student, teacher = (found["probabilities"][word] for word in ("student", "teacher"))
    assert f"gives *student* {student:.3f} and *teacher* {teacher:.3f}" in BY_HAND
    student, teacher = (found["mean"]["probabilities"][word] for word in ("student", "teacher"))
    assert teacher > student
    assert f"*teacher*, with {teacher:.3f} against {student:.3f}" in BY_HAND


def test_the_stored_numbers_and_the_figure_are_up_to_date(
    example: ModuleType, trace: DecodingTrace
) -> None:
    stored = json.loads((BOOK / "results" / "dot_attention_by_hand.json").read_text("utf-8"))
    computed = json.loads(json.dumps(example.measure()))
    same = {key: stored[key] for key in computed}
    assert list(numbers(same)) == pytest.approx(list(numbers(computed)), abs=1e-12)
    figure = DecodingTrace.load(BOOK / "traces" / "by-hand-student.json")
    assert figure.target_tokens == trace.target_tokens
    assert figure.weights == pytest.approx(trace.weights, abs=1e-4)
    assert figure.gold_links == {(0, 0), (1, 1), (2, 2), (2, 3)}


def test_the_first_question_of_the_self_check() -> None:
    first = section("1. Scores", "2. Queries")
    for row in ([2.0, 0.0, 2.0], [2.0, 0.0, 2.0, 0.0]):
        weights = attention.masked_softmax(torch.tensor([row]))[0]
        printed = [f"{w:.2f}" for w in weights.tolist()]
        assert all(text in first for text in printed)


def test_what_the_page_says_of_the_opening_sentence_s_translations() -> None:
    with_attention = DecodingTrace.load(BOOK / "traces" / "kamera-dot.json")
    assert with_attention.text == (
        "the woman in blue is operating a camera in front of two other women ."
    )
    without = DecodingTrace.load(BOOK / "traces" / "kamera-cho.json")
    assert without.text.startswith("the woman in blue is speaking")
    assert "another woman in the background" in without.text
    assert not {"camera", "two", "front"} & set(without.target_tokens)


def test_what_the_page_says_of_the_opening_sentence_s_weights() -> None:
    trace = DecodingTrace.load(BOOK / "traces" / "kamera-dot.json")
    assert trace.weights is not None
    written = [
        (word, trace.source_tokens[int(row.argmax())], float(row.max()))
        for word, row in zip(trace.target_tokens, trace.weights, strict=True)
    ]
    looks = {(word, at) for word, at, weight in written if weight > 0.6}
    assert looks >= {("woman", "frau"), ("in", "gekleidete"), ("blue", "blau")}
    assert looks >= {("is", "bedient"), ("operating", "bedient"), ("in", "vor"), ("front", "vor")}
    assert looks >= {(".", "."), ("<eos>", ".")}
    ((at, weight),) = [(at, weight) for word, at, weight in written if word == "of"]
    assert at == "die"
    assert weight < 0.5


# --- the quoted code --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quoted",
    [
        scores.DotScore.score,
        attention.Attention.forward,
        attention.Attention.weighted_sum,
        decoders.LuongDecoder.forward,
    ],
)
def test_no_quoted_block_is_longer_than_a_screen(quoted: Any) -> None:
    assert f":pyobject: {quoted.__qualname__}\n" in PAGE
    assert len(textwrap.dedent(inspect.getsource(quoted)).splitlines()) <= 22


# --- the measurements -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/dot_attention.py")


@pytest.fixture(params=[False, True], ids=["one direction", "both directions"])
def small(request: pytest.FixtureRequest) -> Translator:
    torch.manual_seed(0)
    source = Vocabulary(["ich", "trinke", "ein", "bier"])
    target = Vocabulary(["i", "drink", "a", "beer"])
    config = RecurrentConfig(
        embedding_dim=5, hidden_dim=6, dropout=0.3, bidirectional=request.param
    )
    return Translator.from_config(config, source, target).double().eval()


PAIR = SentencePair(("ich", "trinke", "bier"), ("i", "drink", "a", "beer"), None)


def test_a_decoder_goes_on_with_replaced_weights(
    measurements: ModuleType, small: Translator
) -> None:
    """All at once and step by step, which hands on what was projected of the keys."""
    decoder = small.decoder
    assert isinstance(decoder, LuongDecoder)
    assert decoder.attention is not None
    known = small.encode(torch.tensor([[4, 5, 6, EOS]]), torch.tensor([4]))
    decoder.attention = measurements.Replaced(decoder.attention, measurements.uniform)
    attention = decoder(torch.tensor([[SOS, 4, 5]]), known).attention
    torch.testing.assert_close(attention.weights, torch.full((1, 3, 4), 0.25).double())
    mean = known.states.mean(dim=1, keepdim=True).expand(-1, 3, -1)
    torch.testing.assert_close(attention.context, mean)
    cache = decoder.start(known)
    for word in (SOS, 4, 5):
        one = decoder(torch.tensor([[word]]), cache)
        torch.testing.assert_close(one.attention.context, mean[:, :1])
        cache = one.cache


def test_the_ways_of_the_gradient_add_up(measurements: ModuleType, small: Translator) -> None:
    ways = measurements.paths(small, PAIR)
    assert ways["total"].shape == (5, 4, 5)  # i drink a beer <eos>, ich trinke bier <eos>, width
    torch.testing.assert_close(ways["handed"] + ways["memory"], ways["total"])
    assert not torch.allclose(ways["context"], ways["memory"])


def test_the_gradient_is_that_of_each_step_s_own_loss(
    measurements: ModuleType, small: Translator
) -> None:
    """Against one backward pass for each step, through the translator's own forward."""
    ways = measurements.paths(small, PAIR)
    source = torch.tensor([[*small.source_ids(PAIR.source), EOS]])
    ids = [*small.target_vocabulary.encode(PAIR.target), EOS]
    previous = torch.tensor([[2, *ids[:-1]]])
    for step, word in enumerate(ids):
        small.zero_grad()
        decoded = small.decoder(previous, small.encode(source, torch.tensor([4])))
        logits = small.decoder.logits(decoded.readouts[0, step])
        (-torch.log_softmax(logits, dim=-1)[word]).backward()
        gradient = small.encoder.embedding.weight.grad
        assert gradient is not None
        torch.testing.assert_close(ways["total"][step], gradient[source[0]])  # all words differ


def test_local_states_have_the_values_of_the_states_and_their_own_word_s_gradient(
    measurements: ModuleType, small: Translator
) -> None:
    source = torch.tensor([[*small.source_ids(PAIR.source), EOS]])
    embedded = small.encoder.embedding(source).detach().requires_grad_()
    local = measurements.local_states(small, embedded)
    states = small.encode(source, torch.tensor([4])).states
    torch.testing.assert_close(local, states)
    (gradient,) = torch.autograd.grad(local[0, 2].sum(), embedded)
    assert gradient[0, 2].norm() > 0
    assert gradient[0, [0, 1, 3]].norm() == 0


def test_replaced_weights_stay_a_distribution_over_the_allowed_words(
    measurements: ModuleType,
) -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[[True] * 5, [True, True, True, False, False]]])
    weights = attention.masked_softmax(torch.randn(1, 2, 5), mask)
    kept = weights.clone()
    for change in measurements.STEPS.values():
        changed = change(weights, mask)
        torch.testing.assert_close(changed.sum(-1), torch.ones(1, 2))
        assert changed[0, 1, 3:].abs().sum() == 0
    assert torch.equal(weights, kept)
    most = weights.argmax(-1, keepdim=True)
    assert measurements.hide_most(weights, mask).gather(-1, most).abs().sum() == 0
    assert (measurements.hide_other(weights, mask).gather(-1, most) > 0).all()
    assert (measurements.hide_other(weights, mask) == 0).sum() == 4  # two hidden, two masked
    shuffled = measurements.permuted(weights, mask)
    torch.testing.assert_close(shuffled.sort(-1).values, weights.sort(-1).values)


def test_the_way_round_is_counted_in_recurrent_steps(measurements: ModuleType) -> None:
    ahead = measurements.steps_round(3, 2, both_directions=False)
    assert ahead.tolist() == [[3, 2, 1], [4, 3, 2]]
    both = measurements.steps_round(3, 2, both_directions=True)
    assert both.tolist() == [[1, 2, 1], [2, 3, 2]]
