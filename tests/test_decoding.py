"""Greedy and beam search against trying everything, and the trace against its own numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from attnbook.batches import collate
from attnbook.decoding import (
    Hypothesis,
    _next_word,
    beam_search,
    decode,
    default_max_lengths,
    greedy_search,
    search,
    teacher_forced_attention,
    translate,
)
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS, PAD, SOS, UNK, Vocabulary
from small_models import DECODERS, EXAMPLES, PAIRS, encode, fitted, name, small

EACH = pytest.mark.parametrize("settings", DECODERS, ids=name)
SOURCES = [source for source, _ in EXAMPLES]
WORDS = ["ich", "trinkt", "brot"]


def log_prob(translator, source, words):
    """``Σ_t log p(y_t | y_<t, x)`` of given words, by one teacher-forced call."""
    batch = collate([(source, [4])])
    encoded = translator.encode(batch.source, batch.source_lengths)
    decoded = translator.decoder(torch.tensor([[SOS, *words[:-1]]]), encoded)
    rows = torch.log_softmax(translator.decoder.logits(decoded.readouts[0]), dim=-1)
    return float(rows[range(len(words)), list(words)].sum().detach())


def tiny(seed):
    """A translator with two words beside ``<unk>`` and ``<eos>``: few enough to try everything."""
    torch.manual_seed(seed)
    vocabulary = Vocabulary(["a", "b"])
    config = RecurrentConfig(cell="gru", embedding_dim=3, hidden_dim=5, dropout=0.0)
    translator = Translator.from_config(config, vocabulary, vocabulary).double()
    for parameter in translator.parameters():
        nn.init.normal_(parameter, std=1.0)
    return translator.eval()


def everything(translator, source, limit):
    """All finished translations of at most ``limit`` words, with their log-probabilities."""
    words = [UNK, 4, 5]
    for length in range(limit):
        for beginning in itertools.product(words, repeat=length):
            ids = (*beginning, EOS)
            yield Hypothesis(ids, log_prob(translator, source, ids))


# --- greedy ---------------------------------------------------------------------------------------


@EACH
def test_greedy_takes_the_best_word_at_every_step(settings):
    translator = small(**settings)
    found = greedy_search(translator, encode(translator, SOURCES))
    for source, hypothesis in zip(SOURCES, found, strict=True):
        assert hypothesis.log_prob == pytest.approx(
            log_prob(translator, source, hypothesis.ids), rel=1e-5
        )
        batch = collate([(source, [4])])
        encoded = translator.encode(batch.source, batch.source_lengths)
        previous = torch.tensor([[SOS, *hypothesis.ids[:-1]]])
        logits = translator.decoder.logits(translator.decoder(previous, encoded).readouts[0])
        logits[:, [PAD, SOS]] = -math.inf
        assert logits.argmax(dim=-1).tolist() == list(hypothesis.ids)
        assert hypothesis.finished == (hypothesis.ids[-1] == EOS)
        assert EOS not in hypothesis.ids[:-1]


@EACH
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_sentence_alone_and_in_a_batch(settings, beam_size):
    translator = small(**settings)
    together = search(translator, encode(translator, SOURCES), beam_size)
    for source, hypothesis in zip(SOURCES, together, strict=True):
        alone = search(translator, encode(translator, [source]), beam_size)[0]
        assert alone.ids == hypothesis.ids
        assert alone.log_prob == pytest.approx(hypothesis.log_prob, rel=1e-5)


def test_greatest_lengths_are_each_sentences_own():
    translator = small()
    with torch.no_grad():
        translator.decoder.output.bias[EOS] = -100.0  # it never stops by itself
    encoded = encode(translator, SOURCES)
    assert default_max_lengths(translator, encoded) == [16, 22, 18]
    assert [len(found.ids) for found in greedy_search(translator, encoded)] == [16, 22, 18]
    assert [len(found.ids) for found in greedy_search(translator, encoded, [2, 7, 1])] == [2, 7, 1]
    beams = beam_search(translator, encoded, [2, 7, 1], beam_size=3)
    assert [{len(found.ids) for found in ranked} for ranked in beams] == [{2}, {7}, {1}]
    assert not any(found.finished for ranked in beams for found in ranked)


def test_padding_and_start_are_never_written():
    translator = small()
    with torch.no_grad():
        translator.decoder.output.bias[[PAD, SOS]] = 100.0
    encoded = encode(translator, SOURCES)
    for found in (
        *greedy_search(translator, encoded),
        *itertools.chain(*beam_search(translator, encoded, beam_size=3)),
    ):
        assert not {PAD, SOS} & set(found.ids)


# --- beam -----------------------------------------------------------------------------------------


@EACH
def test_a_beam_of_one_is_greedy_search(settings):
    translator = small(**settings)
    encoded = encode(translator, SOURCES)
    for greedy, beam in zip(
        greedy_search(translator, encoded),
        beam_search(translator, encoded, beam_size=1),
        strict=True,
    ):
        assert [hypothesis.ids for hypothesis in beam] == [greedy.ids]
        assert beam[0].log_prob == pytest.approx(greedy.log_prob, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_beam_as_large_as_the_space_finds_the_best_of_all(seed, length_penalty):
    translator, source, limit = tiny(seed), [4, 5, 5], 4
    space = sorted(
        everything(translator, source, limit), key=lambda found: -found.score(length_penalty)
    )
    assert len(space) == 1 + 3 + 9 + 27
    found = beam_search(
        translator,
        encode(translator, [source]),
        [limit],
        beam_size=100,
        length_penalty=length_penalty,
    )[0]
    assert [hypothesis.ids for hypothesis in found] == [hypothesis.ids for hypothesis in space]
    for one, other in zip(found, space, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_each_step_keeps_the_best_beginnings(seed):
    """Beam search again, written with lists and one teacher-forced call for each beginning."""
    translator, source, beam_size, limit = small(seed), SOURCES[1], 3, 6
    beginnings: list[tuple[int, ...]] = [()]
    done = []
    for length in range(1, limit + 1):
        continued = sorted(
            (
                (log_prob(translator, source, (*beginning, word)), (*beginning, word))
                for beginning in beginnings
                for word in range(len(translator.target_vocabulary))
                if word not in (PAD, SOS)
            ),
            reverse=True,
        )
        done += [ids for _, ids in continued[:beam_size] if ids[-1] == EOS]
        beginnings = [ids for _, ids in continued if ids[-1] != EOS][:beam_size]
        if length == limit or len(done) >= beam_size:
            break
    expected = sorted(
        done or beginnings, key=lambda ids: -log_prob(translator, source, ids) / len(ids)
    )
    found = beam_search(translator, encode(translator, [source]), [limit], beam_size=beam_size)[0]
    assert [hypothesis.ids for hypothesis in found] == expected[:beam_size]


@EACH
def test_every_beam_scores_what_the_model_says(settings):
    """Also those that were set aside while others went on: nothing is written over them."""
    translator = small(**settings)
    with torch.no_grad():
        translator.decoder.output.bias[EOS] += 4.0
    ranked = beam_search(translator, encode(translator, SOURCES), beam_size=5)
    lengths = set()
    for source, found in zip(SOURCES, ranked, strict=True):
        assert len({hypothesis.ids for hypothesis in found}) == len(found) <= 5
        scores = [hypothesis.score(1.0) for hypothesis in found]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in found:
            lengths.add(len(hypothesis.ids))
            assert hypothesis.finished
            assert EOS not in hypothesis.ids[:-1]
            assert hypothesis.log_prob == pytest.approx(
                log_prob(translator, source, hypothesis.ids), rel=1e-4, abs=1e-4
            )
    assert len(lengths) > 1  # some ended earlier than others


def test_length_penalty():
    short, long = Hypothesis((4, EOS), -2.0), Hypothesis((4, 4, 4, EOS), -3.0)
    assert short.score(0.0) > long.score(0.0)
    assert short.score(1.0) == -1.0
    assert long.score(1.0) == -0.75
    assert not Hypothesis((), 0.0).finished


def test_search_refusals():
    translator = small()
    encoded = encode(translator, SOURCES)
    with pytest.raises(ValueError, match="beam_size must lie between 1 and 1000, got 0"):
        beam_search(translator, encoded, beam_size=0)
    with pytest.raises(ValueError, match="3 sentences and 2 max_lengths"):
        greedy_search(translator, encoded, [4, 4])
    with pytest.raises(ValueError, match="at least one word, got 0"):
        greedy_search(translator, encoded, [4, 0, 4])


# --- translate ------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["luong", "cho", "sutskever"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_fitted_translator_gives_back_what_it_learned(decoder, beam_size):
    sources = [pair.source for pair in PAIRS]
    found = translate(fitted(decoder), sources, beam_size=beam_size)
    assert found == [list(pair.target) for pair in PAIRS]


@pytest.mark.parametrize("batch_tokens", [1, 13, 4000])
def test_translations_come_in_the_given_order(batch_tokens):
    sources = [pair.source for pair in PAIRS] * 2
    found = translate(fitted(), sources, batch_tokens=batch_tokens, beam_size=2)
    assert found == [list(pair.target) for pair in PAIRS] * 2


@pytest.mark.parametrize("budget", [1, 12, 20, 4000])
@pytest.mark.parametrize("turn", [1, -1])
def test_batches_stay_within_their_budget_with_their_padding(budget, turn):
    """In whatever order the sentences come, and a longer one alone."""
    translator = small()
    pairs = sorted(PAIRS, key=lambda pair: len(pair.source))[::turn]
    encode, shapes = translator.encode, []

    def recorded(source, lengths, **options):
        shapes.append(source.shape)
        return encode(source, lengths, **options)

    translator.encode = recorded
    translate(translator, [pair.source for pair in pairs], beam_size=2, batch_tokens=budget)
    assert sum(rows for rows, _ in shapes) == len(pairs)
    assert all(rows == 1 or rows * 2 * length <= budget for rows, length in shapes)
    shapes.clear()
    teacher_forced_attention(translator, pairs, batch_tokens=budget)
    assert sum(rows for rows, _ in shapes) == len(pairs)
    assert all(rows == 1 or rows * length <= budget for rows, length in shapes)


def test_probabilities_are_computed_in_32_bits():
    translator = small(cell="gru").bfloat16()
    encoded = encode(translator, [[4, 7]])
    start = translator.decoder.start(encoded)
    logits, normalisers, _ = _next_word(translator, torch.tensor([[SOS]]), start)
    assert logits.dtype == normalisers.dtype == torch.float32


def test_a_beam_wider_than_there_are_words():
    """Nothing but ``<unk>`` can be written."""
    translator = small()
    config, words = translator.config, translator.source_vocabulary
    translator = Translator.from_config(config, words, Vocabulary([])).double()
    ranked = beam_search(translator.eval(), encode(translator, [[4, 7]]), beam_size=3)[0]
    assert len(ranked) == 3
    for hypothesis in ranked:
        assert hypothesis.ids == (*[UNK] * (len(hypothesis.ids) - 1), EOS)
        expected = log_prob(translator, [4, 7], hypothesis.ids)
        assert hypothesis.log_prob == pytest.approx(expected, abs=1e-5)


def test_translate_restores_training_and_needs_no_finished_translation(capsys):
    translator = small().train()
    with torch.no_grad():
        translator.decoder.output.bias[EOS] = -100.0
    (words,) = translate(translator, [WORDS], progress=True)
    assert len(words) == 2 * 4 + 10
    assert "1/1" in (shown := capsys.readouterr().err)
    assert "sentence/s" in shown or "s/sentence" in shown
    assert translator.training
    assert translate(translator, []) == []


def test_empty_sentences_are_refused_by_number():
    with pytest.raises(ValueError, match="sentence 1 is empty"):
        translate(small(), [WORDS, []])
    with pytest.raises(ValueError, match="beam_size must lie between 1 and 1000, got 0"):
        translate(small(), [WORDS], beam_size=0)


# --- the trace ------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_trace_is_that_of_the_search(settings, beam_size):
    translator = small(**settings)
    trace = decode(translator, WORDS, beam_size=beam_size)
    ids = translator.source_ids(WORDS)
    found = search(translator, encode(translator, [ids]), beam_size)[0]
    assert list(trace.target_tokens) == translator.target_vocabulary.decode(found.ids)
    assert trace.log_probs.sum() == pytest.approx(found.log_prob, rel=1e-4)
    assert trace.model == "small"
    assert (
        trace.attends
        is translator.attends
        is (settings["decoder"] in ("bahdanau", "luong", "transformer"))
    )


def test_bahdanaus_decoder_asks_with_the_state_before_the_step():
    """The queries of the trace, and that its scores follow from them."""
    translator = small(decoder="bahdanau", score="additive", bidirectional=True)
    trace = decode(translator, WORDS)
    assert trace.queries is not None
    assert trace.scores is not None
    np.testing.assert_array_equal(trace.queries[1:], trace.decoder_states[:-1])
    encoded = encode(translator, [translator.source_ids(WORDS)])
    first = translator.decoder.start(encoded).state.hidden[-1, 0].detach().numpy()
    np.testing.assert_allclose(trace.queries[0], first)
    score = translator.decoder.attention.score
    parts = [
        states @ linear.weight.detach().numpy().T
        for states, linear in (
            (trace.queries, score.query),
            (trace.encoder_states, score.key),
        )
    ]
    hidden = np.tanh(parts[0][:, None] + parts[1][None])
    np.testing.assert_allclose(trace.scores, hidden @ score.v.detach().numpy())


def test_luongs_decoder_asks_with_the_state_after_the_step():
    assert decode(small(), WORDS).queries is None
    assert decode(small(input_feeding=True), WORDS).queries is None
    assert decode(small(decoder="cho"), WORDS).queries is None


def softmax(rows):
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("score", ["dot", "scaled-dot"])
@pytest.mark.parametrize("temperature", [1.0, 0.3, 5.0])
@pytest.mark.parametrize("hidden", [(), (1,), (0, 2)])
def test_the_trace_follows_from_its_own_states(score, temperature, hidden):
    """Scores, weights, contexts and probabilities again, in NumPy, from the states alone."""
    translator = small(score=score)
    trace = decode(translator, WORDS, temperature=temperature, masked=hidden)
    seen = [position for position in range(4) if position not in hidden]
    scores = trace.decoder_states @ trace.encoder_states.T
    if score == "scaled-dot":
        scores = scores / math.sqrt(trace.encoder_states.shape[1])
    assert trace.scores is not None
    assert trace.weights is not None
    assert trace.contexts is not None
    np.testing.assert_allclose(trace.scores[:, seen], scores[:, seen])
    assert np.all(trace.scores[:, list(hidden)] == -np.inf)
    weights = np.zeros_like(scores)
    weights[:, seen] = softmax(scores[:, seen] / temperature)
    np.testing.assert_allclose(trace.weights, weights)
    np.testing.assert_allclose(trace.contexts, weights @ trace.encoder_states)

    parameters = {key: value.detach().numpy() for key, value in translator.named_parameters()}
    both = np.concatenate([trace.contexts, trace.decoder_states], axis=1)
    readouts = np.tanh(
        both @ parameters["decoder.combine.weight"].T + parameters["decoder.combine.bias"]
    )
    logits = readouts @ parameters["decoder.embedding.weight"].T + parameters["decoder.output.bias"]
    probabilities = softmax(logits)
    written = translator.target_vocabulary.encode(trace.target_tokens)
    np.testing.assert_allclose(
        trace.log_probs, np.log(probabilities[np.arange(len(written)), written])
    )
    for row, candidates in zip(probabilities, trace.candidates, strict=True):
        order = np.argsort(-row)[:5]
        assert [c.token for c in candidates] == translator.target_vocabulary.decode(order.tolist())
        np.testing.assert_allclose([c.probability for c in candidates], row[order])


def test_temperature_and_mode_are_put_back():
    translator = small().train()
    decode(translator, WORDS, temperature=0.5)
    assert translator.decoder.attention.temperature == 1.0
    assert translator.training
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        decode(translator, WORDS, temperature=0.0)
    assert decode(small(decoder="cho"), WORDS, temperature=0.5).weights is None


def test_with_everything_but_the_end_hidden_the_end_gets_all_the_weight():
    trace = decode(small(), WORDS, masked=range(3))
    assert trace.weights is not None
    np.testing.assert_allclose(trace.weights[:, 3], 1.0)
    assert np.all(trace.weights[:, :3] == 0)


def test_a_hidden_word_takes_no_room_away_from_the_translation():
    translator = small()
    with torch.no_grad():
        translator.decoder.output.bias[EOS] = -100.0  # it never stops by itself
    for masked in ((), (0,), (0, 1)):
        assert len(decode(translator, WORDS, masked=masked).target_tokens) == 2 * 4 + 10


def test_a_transformer_with_learned_positions_ends_with_its_table():
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, positions="learned")
    for stack in (translator.encoder, translator.decoder):
        stack.positions.learned.vectors = torch.nn.Embedding(11, 14).double()
    with torch.no_grad():
        translator.decoder.output.bias[EOS] = -100.0
    for beam_size in (1, 3):
        found = translate(translator, [["a"], ["a", "b", "c"]], beam_size=beam_size)
        assert [len(words) for words in found] == [11, 11]
    with pytest.raises(ValueError, match="the model has 11 positions, so 12 words are too many"):
        greedy_search(translator, encode(translator, [[4, 7]]), [12])


def test_given_words_are_scored_and_not_searched():
    translator = small()
    trace = decode(translator, WORDS, target=["he", "drinks"])
    assert trace.target_tokens == ("he", "drinks", "<eos>")
    assert trace.text == "he drinks"
    expected = log_prob(translator, [4, 9, 8], [6, 9, EOS])
    assert trace.log_probs.sum() == pytest.approx(expected)


def test_unknown_words_stand_in_the_trace_as_they_were_given():
    trace = decode(small(), ["ich", "frühstücke"])
    assert trace.source_tokens == ("ich", "frühstücke", "<eos>")
    same = decode(small(), ["ich", "<unk>"])
    np.testing.assert_array_equal(trace.encoder_states, same.encoder_states)


def test_a_reversed_source_is_shown_as_it_was_read():
    translator = small(reverse_source=True, max_source_length=3)
    words = ["ich", "trinkt", "brot", "bier"]
    trace = decode(translator, words, target=["i", "eats"], masked=[0], gold_links=[(0, 0), (1, 1)])
    assert trace.source_tokens == ("brot", "trinkt", "ich", "<eos>")
    assert trace.gold_links == {(2, 0), (1, 1)}
    assert trace.weights is not None
    assert np.all(trace.weights[:, 2] == 0)
    assert np.all(trace.weights[:, [0, 1, 3]] > 0)
    cut = decode(translator, words, target=["i"], gold_links=[(3, 0), (0, 0)])
    assert cut.gold_links == {(2, 0)}  # the fourth word was cut off, and its link with it


def test_gold_links_and_the_number_of_candidates():
    trace = decode(small(), WORDS, target=["i"], gold_links={(0, 0)}, candidates=2)
    assert trace.gold_links == {(0, 0)}
    assert [len(row) for row in trace.candidates] == [2, 2]
    assert len(decode(small(), WORDS, candidates=100).candidates[0]) == 13
    assert decode(small(), WORDS).gold_links is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masked": [3]}, "masked position 3 lies outside the 3 source words"),
        ({"masked": [-1]}, "masked position -1"),
        ({"beam_size": 0}, "beam_size"),
        ({"target": "he drinks"}, "tokenize"),
        ({"target": ["he"], "gold_links": [(0, 5)]}, "gold_links"),
    ],
)
def test_decode_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        decode(small(), WORDS, **options)


def test_an_empty_sentence_cannot_be_decoded():
    with pytest.raises(ValueError, match="source sentence is empty"):
        decode(small(), [])


# --- the weights of right translations ------------------------------------------------------------


@pytest.mark.parametrize("settings", [s for s in DECODERS if s["decoder"] in ("luong", "bahdanau")],
                         ids=name)  # fmt: skip
def test_forced_weights_are_those_of_the_trace(settings, capsys):
    translator = small(**settings)
    weights = teacher_forced_attention(translator, PAIRS, batch_tokens=12, progress=True)
    assert f"{len(PAIRS)}/{len(PAIRS)}" in capsys.readouterr().err
    for pair, found in zip(PAIRS, weights, strict=True):
        trace = decode(translator, pair.source, target=pair.target)
        assert trace.weights is not None
        expected = trace.weights[:-1]
        if settings.get("reverse_source"):
            words = len(pair.source)
            expected = expected[:, [*range(words)[::-1], words]]
        assert found.shape == (len(pair.target), len(pair.source) + 1)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_forced_weights_refuse_what_has_none():
    with pytest.raises(ValueError, match="small does not attend"):
        teacher_forced_attention(small(decoder="cho"), PAIRS)
    with pytest.raises(ValueError, match="pair 0: the model reads 2 source words, this one has 3"):
        teacher_forced_attention(small(max_source_length=2), PAIRS)


# --- several heads --------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (1,)])
def test_a_transformers_trace_has_the_maps_of_all_heads(hidden):
    """Their rows sum to 1, nobody sees the future or a hidden word, and the top mean is given."""
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    trace = decode(translator, WORDS, masked=hidden)
    source, target = trace.source_tokens, trace.target_tokens
    maps = {one.kind: one for one in trace.maps}
    assert list(maps) == ["source", "written", "encoder"]
    for kind, one in maps.items():
        asked = source if kind == "encoder" else target
        assert one.rows == asked
        assert one.weights.shape == (2, 7, len(asked), len(one.columns))
        np.testing.assert_allclose(one.weights.sum(axis=-1), 1)
    assert maps["source"].columns == maps["encoder"].columns == source
    assert maps["written"].columns == ("<sos>", *target[:-1])
    assert not np.triu(maps["written"].weights, 1).any()
    assert not maps["source"].weights[..., list(hidden)].any()
    assert trace.weights is not None
    np.testing.assert_allclose(trace.weights, maps["source"].weights[-1].mean(axis=0))
    assert trace.scores is None
    assert all(not trace.maps for trace in [decode(small(), WORDS)])


def test_temperature_reaches_every_layer_of_a_transformer():
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    sharp, flat = (
        decode(translator, WORDS, target=["i"], temperature=t).maps[0].weights for t in (0.1, 100.0)
    )
    assert (flat[0].max(axis=-1) < sharp[0].max(axis=-1)).all()
    np.testing.assert_allclose(flat, 1 / 4, atol=0.02)
    assert {one.temperature for one in translator.decoder.attentions} == {1.0}


def test_the_weights_of_a_transformer_are_the_top_layers_mean():
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    (found,) = teacher_forced_attention(translator, PAIRS[:1])
    trace = decode(translator, PAIRS[0].source, target=PAIRS[0].target)
    assert trace.weights is not None
    np.testing.assert_allclose(found, trace.weights[:-1])
