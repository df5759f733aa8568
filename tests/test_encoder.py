"""The encoder: one state a word, whatever stands beside or behind the sentence."""

import pytest
import torch
from torch import nn

from attnbook.encoder import CELLS, Encoder, check_ids, recurrent_layer
from attnbook.vocabulary import PAD
from small_models import drop_everything

WORDS, EMBEDDING, HIDDEN, LAYERS = 13, 5, 14, 3
SENTENCES = [[4, 9, 3], [5, 5, 8, 12, 7, 6, 3], [3]]
BOTH = pytest.mark.parametrize("bidirectional", [False, True])
EACH = pytest.mark.parametrize("cell", list(CELLS))


def make(cell, bidirectional, **options):
    torch.manual_seed(0)
    options = {"layers": LAYERS} | options
    encoder = Encoder(WORDS, EMBEDDING, HIDDEN, cell=cell, bidirectional=bidirectional, **options)
    return encoder.double().eval()


def padded(sentences, size):
    source = torch.full((len(sentences), size), PAD)
    for row, sentence in zip(source, sentences, strict=True):
        row[: len(sentence)] = torch.tensor(sentence)
    return source, torch.tensor([len(sentence) for sentence in sentences])


@EACH
@BOTH
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_padding_changes_nothing(cell, bidirectional, extra):
    encoder = make(cell, bidirectional)
    size = 7 + extra
    together = encoder(*padded(SENTENCES, size))
    assert together.states.shape == (3, size, HIDDEN)
    assert together.mask.sum(dim=1).tolist() == [3, 7, 1]
    for number, sentence in enumerate(SENTENCES):
        alone = encoder(*padded([sentence], len(sentence)))
        torch.testing.assert_close(together.states[number, : len(sentence)], alone.states[0])
        assert len(alone.final_state.parts) == (2 if cell == "lstm" else 1)
        for part, mine in zip(together.final_state.parts, alone.final_state.parts, strict=True):
            assert mine.shape == (LAYERS, 1, HIDDEN)
            torch.testing.assert_close(part[:, number], mine[:, 0])


@EACH
@BOTH
def test_what_lies_in_the_padding_does_not_matter(cell, bidirectional):
    encoder = make(cell, bidirectional)
    source, lengths = padded(SENTENCES, 11)
    clean = encoder(source, lengths)
    source[~clean.mask] = 7
    dirty = encoder(source, lengths)
    assert torch.equal(dirty.states[clean.mask], clean.states[clean.mask])
    for one, other in zip(dirty.final_state.parts, clean.final_state.parts, strict=True):
        assert torch.equal(one, other)


@EACH
def test_the_state_of_a_word_knows_what_stands_before_it_and_nothing_behind(cell):
    encoder = make(cell, bidirectional=False)
    source, lengths = padded([[4, 9, 5, 8, 3]], 5)
    states = encoder(source, lengths).states
    source[0, 2] = 11
    other = encoder(source, lengths).states
    assert torch.equal(other[0, :2], states[0, :2])
    assert torch.all((other[0, 2:] != states[0, 2:]).any(dim=-1))


@EACH
def test_both_directions_and_their_last_states_by_hand(cell):
    """Each direction of each layer as a network of its own, over one sentence without padding."""
    encoder = make(cell, bidirectional=True, layers=2)
    theirs = dict(encoder.recurrent.named_parameters())

    def direction(layer, suffix, inputs):
        alone = CELLS[cell](inputs.shape[-1], HIDDEN // 2, batch_first=True).double()
        alone.load_state_dict(
            {name: theirs[name.replace("_l0", f"_l{layer}{suffix}")] for name in alone.state_dict()}
        )
        states, final = alone(inputs)
        return states, final if isinstance(final, tuple) else (final,)

    encoded = encoder(*padded(SENTENCES, 7))
    for number, sentence in enumerate(SENTENCES):
        inputs = encoder.embedding(torch.tensor([sentence]))
        for layer in range(2):
            forward, last_forward = direction(layer, "", inputs)
            backward, last_backward = direction(layer, "_reverse", inputs.flip(1))
            inputs = torch.cat([forward, backward.flip(1)], dim=-1)
            parts = encoded.final_state.parts
            for part, one, other in zip(parts, last_forward, last_backward, strict=True):
                both = torch.cat([one[0, 0], other[0, 0]])
                torch.testing.assert_close(part[layer, number], both)
        torch.testing.assert_close(encoded.states[number, : len(sentence)], inputs[0])


def test_the_padding_vector_is_never_trained():
    encoder = make("gru", bidirectional=False)
    encoder(*padded(SENTENCES, 7)).states.sum().backward()
    assert torch.all(encoder.embedding.weight.grad[PAD] == 0)
    assert torch.any(encoder.embedding.weight.grad[3] != 0)


@EACH
@BOTH
@pytest.mark.parametrize("sentences", [[[4, 9, 3]], SENTENCES], ids=["unpadded", "padded"])
def test_words_are_dropped_and_what_goes_from_layer_to_layer(cell, bidirectional, sentences):
    encoder = make(cell, bidirectional)

    def changed(change):
        with torch.no_grad():
            before = encoder(source, lengths).states
            change.fill_(1.0)
            return not torch.allclose(encoder(source, lengths).states, before)

    source, lengths = padded(sentences, max(map(len, sentences)))
    words, first, last = (
        encoder.embedding.weight,
        encoder.recurrent.bias_ih_l0,
        encoder.recurrent.bias_ih_l2,
    )
    start = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    assert [changed(part) for part in (words, first, last)] == [True, True, True]
    encoder.load_state_dict(start)
    drop_everything(encoder)
    assert [changed(part) for part in (words, first, last)] == [False, False, True]
    encoder.dropout.p = 0.0
    encoder.load_state_dict(start)
    assert not changed(words)  # what the first layer makes of them does not get through
    encoder = drop_everything(make(cell, bidirectional, layers=1))
    assert not changed(encoder.embedding.weight)


def test_dropout_between_layers_only_where_there_are_two():
    assert recurrent_layer("gru", 3, 5).batch_first
    assert Encoder(WORDS, 3, 5, layers=1, dropout=0.5).recurrent.dropout == 0
    assert Encoder(WORDS, 3, 5, layers=2, dropout=0.5).recurrent.dropout == 0.5


@pytest.mark.parametrize(("name", "kind"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_cells_by_name(name, kind):
    assert isinstance(recurrent_layer(name, 3, 5), kind)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda encoder: encoder(*padded([[4, 13]], 2)), "token id 13, outside the vocabulary of"),
        (lambda encoder: encoder(*padded([[-1, 4]], 2)), "token id -1"),
        (
            lambda encoder: encoder(padded([[4, 5]], 2)[0], torch.tensor([2, 2])),
            "1 sentences and 2",
        ),
        (lambda encoder: encoder(padded([[4, 5]], 2)[0], torch.tensor([0])), "sentence is empty"),
        (lambda encoder: encoder(padded([[4, 5]], 2)[0], torch.tensor([3])), "padded length 2"),
        (
            lambda encoder: encoder(torch.zeros(0, 3, dtype=torch.int64), torch.tensor([])),
            "no token",
        ),
        (lambda _: Encoder(WORDS, 3, 7, bidirectional=True), "even, got 7"),
        (lambda _: Encoder(WORDS, 3, 5, cell="elman"), "rnn, gru, lstm; got 'elman'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(make("gru", bidirectional=False))


@pytest.mark.usefixtures("as_user")
def test_ids_must_be_integers():
    with pytest.raises(TypeError, match=r"source must hold integer token ids, got torch.float32"):
        check_ids(torch.zeros(2, 3), 5, "source")
    check_ids(torch.zeros(2, 3, dtype=torch.int32), 5, "source")
