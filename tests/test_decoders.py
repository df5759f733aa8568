"""The decoders: when the source is consulted, and that nothing looks ahead."""

from dataclasses import is_dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from attnbook.attention import Attention
from attnbook.batches import collate
from attnbook.decoders import (
    BahdanauDecoder,
    ChoDecoder,
    Decoder,
    LuongDecoder,
    SutskeverDecoder,
    recur_step_by_step,
)
from attnbook.encoder import EncoderOutput, RecurrentState
from attnbook.fast import _LSTMSteps
from attnbook.recurrent import GRUCell
from attnbook.scores import AdditiveScore, DotScore, GeneralScore
from attnbook.seam import as_written
from attnbook.self_attention import MultiHeadAttention
from attnbook.vocabulary import PAD
from small_models import DECODERS, EXAMPLES, drop_everything, name, small

EACH = pytest.mark.parametrize("settings", DECODERS, ids=name)
STACKED = [
    settings
    for settings in DECODERS
    if settings.get("layers") == 2 and settings["decoder"] != "transformer"
]
WORDS, EMBEDDING, HIDDEN, SOURCE = 13, 5, 7, 11


def source_states(batch=2, lengths=(11, 3)):
    """Made-up encoder states; the second sentence is padded."""
    torch.manual_seed(0)
    mask = torch.arange(SOURCE) < torch.tensor(lengths[:batch]).unsqueeze(1)
    states = torch.randn(batch, SOURCE, HIDDEN, dtype=torch.float64)
    final = RecurrentState(torch.randn(1, batch, HIDDEN, dtype=torch.float64))
    return EncoderOutput(states, final, mask)


def tensors(cache):
    """All tensors of a cache, those of its parts included."""
    if isinstance(cache, torch.Tensor):
        return [cache]
    parts = vars(cache).values() if is_dataclass(cache) else cache
    found = [part for part in parts if is_dataclass(part) or isinstance(part, tuple | torch.Tensor)]
    return [tensor for part in found for tensor in tensors(part)]


def luong():
    torch.manual_seed(1)
    return LuongDecoder(Attention(DotScore()), WORDS, EMBEDDING, HIDDEN, cell="gru").double()


# --- what all have in common ----------------------------------------------------------------------


@EACH
def test_padding_and_neighbours_change_nothing(settings):
    translator = small(**settings)
    batch = collate(EXAMPLES)
    together = translator(batch)
    for number, example in enumerate(EXAMPLES):
        alone = translator(collate([example]))
        size = len(example[1]) + 1
        torch.testing.assert_close(together.readouts[number, :size], alone.readouts[0])
        torch.testing.assert_close(together.states[number, :size], alone.states[0])
        if together.attention:
            words = len(example[0]) + 1
            weights = together.attention.weights[number, :size]
            torch.testing.assert_close(weights[:, :words], alone.attention.weights[0])
            assert torch.all(weights[:, words:] == 0)


@EACH
def test_a_later_word_changes_nothing_earlier(settings):
    translator = small(**settings)
    batch = collate([([4, 7, 5], [4, 9, 11, 7, 8])])
    encoded = translator.encode(batch.source, batch.source_lengths)
    before = translator.decoder(batch.target_in, encoded).readouts
    for step in range(1, 6):
        previous = batch.target_in.clone()
        previous[0, step] = 12
        after = translator.decoder(previous, encoded).readouts
        torch.testing.assert_close(after[:, :step], before[:, :step], rtol=0, atol=1e-14)
        assert torch.all((after[0, step:] - before[0, step:]).abs().amax(dim=-1) > 1e-12)


@EACH
@pytest.mark.parametrize("gradients", [True, False])
def test_word_by_word_equals_all_at_once(settings, gradients):
    """Without gradients, as in decoding, one word may be computed in another way."""
    translator = small(**settings)
    batch = collate(EXAMPLES)
    encoded = translator.encode(batch.source, batch.source_lengths)
    at_once = translator.decoder(batch.target_in, encoded)
    cache = translator.decoder.start(encoded)
    for step in range(batch.target_in.shape[1]):
        with torch.set_grad_enabled(gradients):
            decoded = translator.decoder(batch.target_in[:, [step]], cache)
        cache = decoded.cache
        torch.testing.assert_close(decoded.readouts[:, 0], at_once.readouts[:, step])
        torch.testing.assert_close(decoded.states[:, 0], at_once.states[:, step])
    for one, other in zip(tensors(cache), tensors(at_once.cache), strict=True):
        torch.testing.assert_close(one, other)


@EACH
def test_the_source_is_used(settings):
    """A translator that ignores its source trains, and its loss falls; this is the bug to catch."""
    translator = small(**settings)
    one, other = collate([([4, 7, 5], [4, 9])]), collate([([4, 8, 5], [4, 9])])
    difference = translator(one).readouts - translator(other).readouts
    assert torch.all(difference.abs().amax(dim=-1) > 1e-6)


@EACH
@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_are_one_tensor(settings, tied):
    decoder = small(**settings, tied=tied).decoder
    assert (decoder.output.weight is decoder.embedding.weight) is tied
    readouts = torch.randn(2, 3, decoder.output.in_features, dtype=torch.float64)
    expected = functional.linear(readouts, decoder.output.weight, decoder.output.bias)
    torch.testing.assert_close(decoder.logits(readouts), expected)


@EACH
def test_the_setting_reaches_every_dropout(settings):
    translator = small(**settings, dropout=0.375)
    found = [part.p for part in translator.modules() if isinstance(part, nn.Dropout)]
    found += [part.dropout for part in translator.modules() if isinstance(part, MultiHeadAttention)]
    recurrent = [part for part in translator.modules() if isinstance(part, nn.RNNBase)]
    found += [part.dropout for part in recurrent if part.num_layers > 1]
    assert all(part.dropout == 0 for part in recurrent if part.num_layers == 1)
    assert len(found) >= 2
    assert set(found) == {0.375}


@EACH
def test_words_and_readouts_are_dropped(settings):
    """With everything dropped no state knows a word, and no readout knows the source."""
    translator = small(**settings)
    one, other = collate([([4, 7, 5], [4, 9])]), collate([([4, 8, 6], [7, 5])])
    sources = [translator.encode(batch.source, batch.source_lengths) for batch in (one, other)]
    decoder = drop_everything(translator.decoder)

    def readouts(batch, encoded):
        return decoder(batch.target_in, encoded).readouts

    states = [decoder(batch.target_in, sources[0]).states for batch in (one, other)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    torch.testing.assert_close(*(readouts(one, encoded) for encoded in sources), rtol=0, atol=0)
    decoder.eval()
    assert not torch.allclose(readouts(one, sources[0]), readouts(other, sources[0]))
    assert not torch.allclose(readouts(one, sources[0]), readouts(one, sources[1]))


@pytest.mark.parametrize("settings", STACKED, ids=name)
def test_what_goes_from_layer_to_layer_is_dropped(settings):
    translator = small(**settings)
    batch = collate(EXAMPLES)
    encoded = translator.encode(batch.source, batch.source_lengths)
    decoder = translator.decoder

    def changed(part):
        with torch.no_grad():
            before = decoder(batch.target_in, encoded).states
            part += 1.0
            return not torch.allclose(decoder(batch.target_in, encoded).states, before)

    layers = (decoder.recurrent.bias_ih_l0, decoder.recurrent.bias_ih_l1)
    assert [changed(part) for part in layers] == [True, True]
    drop_everything(decoder)
    assert [changed(part) for part in layers] == [False, True]


@pytest.mark.usefixtures("as_user")
@EACH
def test_refusals(settings):
    translator = small(**settings)
    batch = collate(EXAMPLES)
    encoded = translator.encode(batch.source, batch.source_lengths)
    with pytest.raises(ValueError, match="target holds token id 13"):
        translator.decoder(torch.full((3, 2), 13), encoded)
    with pytest.raises(ValueError, match="target has 2 sentences and the source 3"):
        translator.decoder(batch.target_in[:2], encoded)
    with pytest.raises(TypeError, match="integer token ids"):
        translator.decoder(torch.zeros(3, 2), encoded)


def test_the_base_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Decoder(WORDS, EMBEDDING, HIDDEN)  # type: ignore[abstract, call-arg]  # the test is that this is refused


# --- Sutskever and Cho ----------------------------------------------------------------------------


def test_sutskever_starts_from_the_last_state_and_sees_no_other():
    torch.manual_seed(1)
    decoder = SutskeverDecoder(WORDS, EMBEDDING, HIDDEN, cell="gru").double()
    encoded = source_states()
    previous = torch.tensor([[2, 4, 5], [2, 6, PAD]])
    decoded = decoder(previous, encoded)
    states, _ = decoder.recurrent(decoder.embedding(previous), encoded.final_state.hidden)
    torch.testing.assert_close(decoded.states, states)
    torch.testing.assert_close(decoded.readouts, states @ decoder.project.weight.T)
    assert decoded.attention is None
    other = decoder(previous, encoded._replace(states=torch.randn_like(encoded.states)))
    assert torch.equal(other.readouts, decoded.readouts)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_cho_equals_its_equations(cell):
    torch.manual_seed(1)
    decoder = ChoDecoder(WORDS, EMBEDDING, HIDDEN, cell=cell, layers=2).double()
    final = torch.randn(2, 3, HIDDEN, dtype=torch.float64)
    parts = (final,) if cell == "gru" else (final, torch.randn_like(final))
    states = torch.randn(3, SOURCE, HIDDEN, dtype=torch.float64)
    encoded = EncoderOutput(states, RecurrentState(*parts), torch.ones(3, SOURCE, dtype=torch.bool))
    previous = torch.tensor([[2, 4], [2, 6], [2, 9]])

    context = torch.tanh(final[-1] @ decoder.summarise.weight.T + decoder.summarise.bias)
    first = torch.tanh(context @ decoder.initial.weight.T + decoder.initial.bias)
    start = decoder.start(encoded).state
    torch.testing.assert_close(start.hidden, torch.stack([first, first]))
    assert (start.cell is None) is (cell == "gru")
    assert not any(part.any() for part in start.parts[1:])

    decoded = decoder(previous, encoded)
    embedded = decoder.embedding(previous)
    repeated = torch.stack([context, context], dim=1)
    expected, _ = decoder.recurrent(torch.cat([embedded, repeated], dim=-1), start.for_torch)
    torch.testing.assert_close(decoded.states, expected)
    pieces = (
        torch.cat([expected, embedded, repeated], dim=-1) @ decoder.combine.weight.T
        + decoder.combine.bias
    )
    maxout = torch.maximum(pieces[..., 0::2], pieces[..., 1::2])
    torch.testing.assert_close(decoded.readouts, maxout)
    assert decoded.attention is None


# --- Luong ----------------------------------------------------------------------------------------


def test_luong_equals_its_equations_word_by_word():
    decoder, encoded = luong(), source_states()
    previous = torch.tensor([[2, 4, 5], [2, 6, 9]])
    decoded = decoder(previous, encoded)
    for b, length in enumerate((11, 3)):
        hidden = encoded.states[b, :length]
        state = encoded.final_state.hidden[:, [b]]
        for t in range(3):
            _, state = decoder.recurrent(decoder.embedding(previous[b, t])[None, None], state)
            s = state[0, 0]  # after the update: Luong's query
            scores = hidden @ s
            weights = torch.exp(scores) / torch.exp(scores).sum()
            context = weights @ hidden
            both = torch.cat([context, s])
            readout = torch.tanh(both @ decoder.combine.weight.T + decoder.combine.bias)
            torch.testing.assert_close(decoded.states[b, t], s)
            torch.testing.assert_close(decoded.attention.scores[b, t, :length], scores)
            torch.testing.assert_close(decoded.attention.weights[b, t, :length], weights)
            torch.testing.assert_close(decoded.attention.context[b, t], context)
            torch.testing.assert_close(decoded.readouts[b, t], readout)


def test_every_real_word_gets_a_gradient_through_the_context_and_padding_none():
    decoder, encoded = luong(), source_states()
    states = encoded.states.clone().requires_grad_()
    decoded = decoder(torch.tensor([[2, 4], [2, 6]]), encoded._replace(states=states))
    decoded.readouts[:, -1].sum().backward()
    reached = states.grad.abs().sum(dim=-1) > 0
    assert torch.equal(reached, encoded.mask)


def test_the_order_of_the_encoder_states_does_not_matter():
    decoder, encoded = luong(), source_states()
    order = torch.randperm(SOURCE)
    previous = torch.tensor([[2, 4], [2, 6]])
    shuffled = encoded._replace(states=encoded.states[:, order], mask=encoded.mask[:, order])
    torch.testing.assert_close(
        decoder(previous, shuffled).readouts, decoder(previous, encoded).readouts
    )


def test_a_source_with_nothing_to_look_at_gives_a_zero_context():
    decoder, encoded = luong(), source_states()
    encoded.mask[1] = False
    decoded = decoder(torch.tensor([[2, 4], [2, 6]]), encoded)
    assert torch.all(decoded.attention.context[1] == 0)
    assert torch.all(torch.isfinite(decoded.readouts))


def test_keys_of_another_width_than_the_state():
    """A score that takes unequal widths only needs to be told the width of the context."""
    decoder = LuongDecoder(Attention(DotScore()), WORDS, EMBEDDING, HIDDEN, key_dim=23)
    assert decoder.combine.in_features == 23 + HIDDEN


# --- Bahdanau, and Luong's input feeding ----------------------------------------------------------


def test_bahdanau_equals_its_equations():
    torch.manual_seed(1)
    score = AdditiveScore(HIDDEN, HIDDEN, 3)
    decoder = BahdanauDecoder(Attention(score), WORDS, EMBEDDING, HIDDEN, cell="gru").double()
    encoded = source_states()
    previous = torch.tensor([[2, 4, 5], [2, 6, 7]])
    decoded = decoder(previous, encoded)
    assert decoded.queries.shape == decoded.states.shape
    cell = GRUCell(EMBEDDING + HIDDEN, HIDDEN).double()
    cell.copy_weights(decoder.recurrent)
    for b in range(2):
        real = encoded.states[b][encoded.mask[b]]
        state = torch.tanh(decoder.initial(encoded.final_state.hidden[-1, b]))
        for t in range(3):
            torch.testing.assert_close(decoded.queries[b, t], state)
            word = decoder.embedding(previous[b, t])
            inner = state @ score.query.weight.T + real @ score.key.weight.T
            weights = torch.softmax(torch.tanh(inner) @ score.v, dim=0)
            context = weights @ real
            torch.testing.assert_close(decoded.attention.weights[b, t, : len(real)], weights)
            torch.testing.assert_close(decoded.attention.context[b, t], context)
            state = cell(torch.cat([word, context])[None], (state[None],)).hidden[0]
            torch.testing.assert_close(decoded.states[b, t], state)
            pieces = decoder.combine(torch.cat([state, word, context]))
            torch.testing.assert_close(decoded.readouts[b, t], pieces.view(-1, 2).amax(dim=1))


def test_bahdanau_asks_before_it_reads_its_own_last_word():
    torch.manual_seed(1)
    decoder = BahdanauDecoder(Attention(GeneralScore(HIDDEN, HIDDEN)), WORDS, EMBEDDING, HIDDEN)
    encoded = source_states()._replace(
        final_state=RecurrentState(torch.randn(1, 2, HIDDEN), torch.randn(1, 2, HIDDEN))
    )
    encoded = encoded._replace(states=encoded.states.float())
    one, other = decoder(torch.tensor([[2], [2]]), encoded), decoder(
        torch.tensor([[5], [5]]), encoded
    )  # fmt: skip
    assert torch.equal(one.attention.weights, other.attention.weights)
    assert not torch.allclose(one.states, other.states)


@pytest.mark.parametrize(
    ("settings", "words", "together"),
    [
        ({}, 2, True),
        ({}, 1, False),  # which then asks for one step alone
        ({"layers": 2}, 2, False),
        ({"cell": "gru"}, 2, False),
    ],
)
def test_steps_of_an_lstm_are_prepared_together_where_there_are_several(settings, words, together):
    layer = small(decoder="bahdanau", **settings).decoder.recurrent
    embedded = torch.randn(3, words, EMBEDDING, dtype=torch.float64)
    assert isinstance(recur_step_by_step(layer, embedded), _LSTMSteps) is together
    with torch.autocast("cpu", torch.bfloat16):
        assert not isinstance(recur_step_by_step(layer, embedded), _LSTMSteps)
    with as_written():
        assert not isinstance(recur_step_by_step(layer, embedded), _LSTMSteps)


class FirstWord(Attention):
    """An attention of somebody's own, which sees nothing but the first word."""

    def forward(self, queries, keys, values, mask=None, projected_keys=None):
        return super().forward(queries, keys, values, torch.arange(SOURCE) == 0, projected_keys)


def test_an_attention_of_ones_own_is_asked_in_training():
    """The additive score has a faster way over many steps, around the attention's own."""
    score = AdditiveScore(HIDDEN, HIDDEN, 3)
    decoder = BahdanauDecoder(FirstWord(score), WORDS, EMBEDDING, HIDDEN, cell="gru").double()
    encoded = source_states()
    attended = decoder(torch.tensor([[2, 4, 5], [2, 6, 7]]), encoded).attention
    torch.testing.assert_close(attended.context, encoded.states[:, :1].expand(2, 3, HIDDEN))


def test_rows_that_share_a_sentence_read_it_as_if_each_had_its_own():
    """As in a beam; here with several words at once, and with gradients."""
    score = AdditiveScore(HIDDEN, HIDDEN, 3)
    decoder = BahdanauDecoder(Attention(score), WORDS, EMBEDDING, HIDDEN, cell="gru").double()
    encoded = source_states()
    states, mask = (part.repeat_interleave(2, dim=0) for part in (encoded.states, encoded.mask))
    previous = torch.tensor([[2, 4, 5], [2, 6, 7], [2, 8, 9], [2, 10, 11]])
    state = RecurrentState(torch.randn(1, 4, HIDDEN, dtype=torch.float64))
    shared = decoder(previous, replace(decoder.start(encoded, beam_size=2), state=state))
    own = decoder.start(EncoderOutput(states, state, mask))
    alone = decoder(previous, replace(own, state=state))
    torch.testing.assert_close(shared.readouts, alone.readouts)
    torch.testing.assert_close(shared.attention.weights, alone.attention.weights)


def test_input_feeding_equals_its_equations():
    torch.manual_seed(1)
    decoder = LuongDecoder(
        Attention(DotScore()), WORDS, EMBEDDING, HIDDEN, cell="gru", input_feeding=True
    ).double()
    encoded = source_states()
    previous = torch.tensor([[2, 4, 5], [2, 6, 7]])
    decoded = decoder(previous, encoded)
    cell = GRUCell(2 * EMBEDDING, HIDDEN).double()
    cell.copy_weights(decoder.recurrent)
    for b in range(2):
        real = encoded.states[b][encoded.mask[b]]
        state, fed = encoded.final_state.hidden[-1, b], torch.zeros(EMBEDDING, dtype=torch.float64)
        for t in range(3):
            word = decoder.embedding(previous[b, t])
            state = cell(torch.cat([word, fed])[None], (state[None],)).hidden[0]
            context = torch.softmax(real @ state, dim=0) @ real
            fed = torch.tanh(decoder.combine(torch.cat([context, state])))
            torch.testing.assert_close(decoded.states[b, t], state)
            torch.testing.assert_close(decoded.attention.context[b, t], context)
            torch.testing.assert_close(decoded.readouts[b, t], fed)


def test_without_input_feeding_the_state_does_not_know_where_it_looked():
    """Hide a word at the first step only: later states change with input feeding alone."""
    for feeds in (False, True):
        torch.manual_seed(1)
        decoder = LuongDecoder(
            Attention(DotScore()), WORDS, EMBEDDING, HIDDEN, cell="gru", input_feeding=feeds
        ).double()
        encoded = source_states()
        previous = torch.tensor([[2, 4], [2, 6]])
        hidden = encoded._replace(mask=encoded.mask & (torch.arange(SOURCE) != 0))
        first = decoder(previous[:, :1], encoded)
        blind = decoder(previous[:, :1], hidden)
        second = decoder(previous[:, 1:], first.cache).states
        after_blind = decoder(previous[:, 1:], replace(blind.cache, source=encoded)).states
        assert torch.allclose(second, after_blind) is not feeds
