"""Chapter 14's page: what it computes by hand, what it says of the tests, and what it measured."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import test_bert
from attnbook import bert
from attnbook.bert import IGNORE_INDEX, BertConfig, Pretraining, hide, read_texts, train_wordpiece
from attnbook.figures.blanks import blanks
from attnbook.language_models import AddConstant, KneserNey
from attnbook.transformer import EncoderLayer
from attnbook.vocabulary import Vocabulary
from scripts import load_script

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE = (BOOK / "14_bert.md").read_text(encoding="utf-8").replace("{,}", ",")
PLAIN = re.sub(r"\s+", " ", PAGE)


@pytest.fixture(scope="module")
def measurements() -> ModuleType:
    return load_script("book/results/bert_small.py")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BOOK / "results" / "bert_small.json").read_text("utf-8"))
    return found


def cells(start: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


# --- by hand ----------------------------------------------------------------------------------


def test_a_thousand_pieces() -> None:
    """The table of the rule adds up, and `hide` does what it says."""
    counts = {
        name: int(cells(name)[1])
        for name in ("not chosen", "chosen, hidden", "chosen, replaced", "chosen, left alone")
    }
    assert list(counts.values()) == [850, 120, 15, 15]
    assert "$850 + 15 + 15 = 880$" in PAGE
    assert rf"$15/880 = {1500 / 880:.1f}\,\%$ are wrong" in PAGE
    assert rf"$30/880 = {3000 / 880:.1f}\,\%$ are asked" in PAGE
    tokenizer = train_wordpiece(["one two three four five six seven eight nine ten"], 60)
    texts = read_texts(tokenizer, ["one two three four five six seven eight nine ten"] * 4000)
    hidden = hide(texts, tokenizer, generator=torch.Generator().manual_seed(1))
    chosen = hidden.targets != IGNORE_INDEX
    mask = chosen & (hidden.ids == tokenizer.token_to_id("[MASK]"))
    same = chosen & (hidden.ids == texts.ids)
    total = int(chosen.sum())
    assert int(mask.sum()) / total == pytest.approx(counts["chosen, hidden"] / 150, abs=0.015)
    # One replacement in as many as there are pieces is the piece itself.
    assert int(same.sum()) / total == pytest.approx(counts["chosen, left alone"] / 150, abs=0.015)


def test_none_chosen_in_fourteen() -> None:
    assert rf"$0.85^{{14}} = {round(100 * 0.85**14)}\,\%$" in PAGE


def test_the_vectors_and_parameters_of_the_base_model() -> None:
    config = BertConfig()
    with torch.device("meta"):
        model = Pretraining(config)
    rows = (config.vocabulary_size, config.max_positions, config.token_types)
    assert rows == (30_522, 512, 2)
    assert "$30,522 + 512 + 2$ vectors of 768 numbers" in PAGE
    parts = (
        model.bert.words.weight,
        model.bert.positions.vectors.weight,
        model.bert.token_types.weight,
    )
    assert [part.shape for part in parts] == [(n, 768) for n in rows]
    assert f"{sum(p.numel() for p in parts) / 1e6:.1f} million of its" in PAGE
    assert sum(p.numel() for p in model.parameters()) // 10**6 == 110
    assert PAGE.count("110 million") == 2


def test_two_perplexities_of_one_language() -> None:
    """*a a* and *b b*: by the package's counting, at the next word and at blanks."""
    sentences = [["a", "a"], ["b", "b"]]
    model = AddConstant(2, Vocabulary.from_sentences(sentences), 0.0).fit([["a", "a", "a"]])
    assert model.probability("b", ["a"]) == 0.0  # a sanity check of the context's order
    # Of the first word nothing is known, the second is certain.
    first, second = 1 / 2, 1.0
    assert math.exp(-(math.log(first) + math.log(second)) / 2) == pytest.approx(math.sqrt(2))
    assert first * second == 1 / 2
    for hidden in (0, 1):
        for sentence in sentences:
            fitting = [s for s in sentences if s[1 - hidden] == sentence[1 - hidden]]
            assert fitting == [sentence]  # nothing else fits: perplexity 1
    assert r"The next-word perplexity is $\sqrt 2$" in PAGE


def test_the_answer_walks_in() -> None:
    """Who has noticed a change of word 4, after one and after two layers."""
    torch.manual_seed(0)
    mask = ~torch.diag(torch.ones(6, dtype=torch.bool), 1)
    ids = torch.tensor([[2, 7, 8, 9, 10, 11, 3]])
    for layers, noticed in ((1, [0, 1, 2, 4, 5, 6]), (2, list(range(7)))):
        model = bert.Bert(BertConfig(13, 8, 2, layers, 16, 7, dropout=0.0)).double()
        found = []
        for word in (10, 12):
            ids[0, 4] = word
            states = model.norm(model.words(ids) + model.positions(7))
            for layer in model.layers:
                assert isinstance(layer, EncoderLayer)
                states = layer.around_attention(
                    states, lambda x, layer=layer: layer.attention(x, x, x, mask).output
                )
                states = layer.around_feedforward(states, layer.feedforward)
            found.append(states[0])
        changed = (found[0] - found[1]).abs().amax(dim=-1) > 1e-12
        assert changed.nonzero().flatten().tolist() == noticed
    assert "positions 0, 1, 2, 4, 5, 6 after one layer, and all of them after two" in PLAIN


def test_the_answers() -> None:
    chosen = round(200 * 0.15)
    assert f"1. {chosen}, {round(0.8 * chosen)}, {round(0.1 * chosen)}." in PAGE
    every = 64 * 128 * 30_522
    assert f"= {round(0.15 * every / 1e6)}$ million instead of {every // 10**6} million" in PAGE
    tokenizer = Tokenizer(bert.WordPiece({"[UNK]": 0, "ladder": 1, "lad": 2, "##der": 3, "##s": 4},
                                         unk_token="[UNK]"))  # fmt: skip
    assert tokenizer.encode("ladders").tokens == ["ladder", "##s"]


def test_what_is_claimed_of_parity_is_tested() -> None:
    """The sentence names these comparisons; each is a test, with these tolerances."""
    source = (BOOK.parent / "tests" / "test_bert.py").read_text(encoding="utf-8")
    body = source[source.index("def test_every_state_and_weight_is_hugging_faces") :]
    body = body[: body.index("\ndef ", 5)]
    for part in ("hidden_states", "attentions", "prediction_logits", "seq_relationship_logits"):
        assert f"right.{part}" in body
    assert set(re.findall(r"atol=(1e-\d)", body)) == {"1e-5", "1e-4"}
    assert callable(test_bert.test_the_loss_is_hugging_faces)
    assert callable(test_bert.test_the_tokenizer_is_hugging_faces)
    project = (BOOK.parent / "pyproject.toml").read_text(encoding="utf-8")
    main = project[project.index("dependencies = [") :]
    assert "transformers" not in main[: main.index("]")]


# --- the script -------------------------------------------------------------------------------


def test_halves_of_the_same_length(measurements: ModuleType) -> None:
    texts = [f"w{i} x{i} y{i} z{i}" + " more" * (i % 3) for i in range(60)]
    pairs, follows = measurements.pair_up(texts, measurements.by_length(texts), random.Random(0))
    own = [measurements.halves(text) for text in texts]
    assert own[0] == ("w0 x0", "y0 z0")
    assert own[1] == ("w1 x1", "y1 z1 more")
    assert 15 < int(follows.sum()) < 45
    for pair, right, label in zip(pairs, own, follows.tolist(), strict=True):
        assert pair[0] == right[0]
        assert (pair[1] != right[1]) == bool(label)
        assert len(pair[1].split()) == len(right[1].split())
    alone, labels = measurements.pair_up(["a b"], {2: ["a b"]}, random.Random(0))
    assert (alone, labels.tolist()) == ([("a", "b")], [0])


def test_the_bigrams_are_kneser_neys(measurements: ModuleType) -> None:
    sentences = [s.split() for s in ("a man sees a dog", "a dog sees the man", "the dog")]
    vocabulary = Vocabulary.from_sentences(sentences)
    table = measurements.bigrams([vocabulary.encode(s) for s in sentences], len(vocabulary), 0.75)
    model = KneserNey(2, vocabulary, 0.75).fit(sentences)
    for left in ("a", "man", "sees", "the", "dog"):
        row = table[vocabulary.encode([left])[0]]
        assert row.sum() == pytest.approx(1)
        for right in ("a", "man", "sees", "the", "dog", "<eos>"):
            assert row[vocabulary.encode([right])[0]] == pytest.approx(
                model.probability(right, ["x", left])
            )
    assert np.isfinite(table).all()


@pytest.fixture
def small(measurements: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script on three captions, without Multi30k."""
    texts = ("a man is sleeping", "two dogs are running", "a man is running and two are not")
    tokenizer = train_wordpiece(texts, 200)
    monkeypatch.setattr(measurements, "captions", lambda _: texts)
    monkeypatch.setattr(measurements, "pieces", lambda: tokenizer)
    return measurements


def test_left_states_do_not_see_the_right(small: ModuleType) -> None:
    model = small.fresh().eval()
    ids = read_texts(small.pieces(), ["a man is sleeping"]).ids
    other = ids.clone()
    other[0, 3] = ids[0, 1]
    one, two = (small.left_states(model.bert, x)[0] for x in (ids, other))
    assert torch.equal(one[:3], two[:3])
    assert not torch.equal(one[3:], two[3:])


def test_each_model_is_asked_for_each_piece(small: ModuleType) -> None:
    model = small.fresh().eval()
    ids = read_texts(small.pieces(), ["a man is sleeping"]).ids[0]
    for results in (small.both_sides, small.from_the_left):
        logs, asked = results(model, "a man is sleeping")
        assert asked.tolist() == ids[1:-1].tolist()
        torch.testing.assert_close(logs.exp().sum(dim=-1), torch.ones(len(asked)))
    # The piece itself is out of sight: another one in its place changes nothing for it.
    place = 2
    before = small.both_sides(model, "a man is sleeping")[0][place]
    changed = small.both_sides(model, "a man are sleeping")[0][place]
    assert torch.equal(before, changed)
    left = small.from_the_left(model, "a man is sleeping")[0]
    torch.testing.assert_close(
        left[:3], small.from_the_left(model, "a man is running")[0][:3], atol=1e-6, rtol=1e-6
    )


def test_the_label_is_the_verb_that_was_taken_out(small: ModuleType) -> None:
    assert small.agreement("any") == [("a man sleeping", 0), ("two dogs running", 1)]


# --- what was measured ------------------------------------------------------------------------


def test_the_stored_settings_are_those_of_the_script(
    measurements: ModuleType, stored: dict[str, Any]
) -> None:
    assert stored["model"]["epochs"] == measurements.EPOCHS
    assert {key: stored["model"][key] for key in measurements.SHAPE} == measurements.SHAPE
    config = BertConfig(vocabulary_size=stored["model"]["pieces"], **measurements.SHAPE)
    parameters = sum(p.numel() for p in Pretraining(config).parameters())
    assert parameters == stored["model"]["parameters"]
    assert list(stored["fine_tuning"]["sizes"]) == [str(size) for size in measurements.SIZES]
    assert stored["fine_tuning"]["steps"] == measurements.STEPS
    assert len(stored["blanks"]) == len(measurements.BLANKS)
    blanks(stored["blanks"])
