"""The Transformer's parts, held against torch's own layers, and its decoder's kept keys."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from attnbook.batches import collate
from attnbook.masks import causal_mask, padding_mask
from attnbook.self_attention import MultiHeadAttention
from attnbook.transformer import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LayerCache,
    PositionalEncoding,
    Sublayer,
    TransformerDecoder,
    TransformerEncoder,
)
from attnbook.vocabulary import SOS
from small_models import EXAMPLES, encode, small

BATCH, TARGET, SOURCE, HEADS, WIDTH, HIDDEN = 2, 5, 7, 3, 6, 11
SIZES: dict[str, Any] = {"num_heads": HEADS, "layers": 2, "feedforward_dim": HIDDEN}
Module = TypeVar("Module", bound=nn.Module)


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    three = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data.copy_(torch.cat([one.weight for one in three]))
    theirs.in_proj_bias.data.copy_(torch.cat([one.bias for one in three]))
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())


def copy_rest(
    ours: EncoderLayer | DecoderLayer,
    theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer,
    norms: list[Sublayer],
) -> None:
    theirs.linear1.load_state_dict(ours.feedforward.linear1.state_dict())
    theirs.linear2.load_state_dict(ours.feedforward.linear2.state_dict())
    for number, around in enumerate(norms, start=1):
        getattr(theirs, f"norm{number}").load_state_dict(around.norm.state_dict())


def shaken(module: Module) -> Module:
    """Norms with weights that can be told apart."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def same_gradients(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    gradient = torch.randn_like(ours)
    for mine, right in zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(theirs, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(mine, right, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_encoder_layer_is_torchs(norm: str) -> None:
    """Forward and backward, with padding."""
    ours = shaken(EncoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.1, norm=norm))
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, batch_first=True, norm_first=norm == "pre"
    ).eval()
    copy_attention(ours.attention, theirs.self_attn)
    copy_rest(ours, theirs, [ours.around_attention, ours.around_feedforward])
    x = torch.randn(BATCH, SOURCE, WIDTH, requires_grad=True)
    seen = padding_mask(torch.tensor([SOURCE, 4]), SOURCE)
    (mine, _), right = ours(x, seen.unsqueeze(1)), theirs(x, src_key_padding_mask=~seen)
    torch.testing.assert_close(mine[seen], right[seen])
    same_gradients(mine[seen], right[seen], [x])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_decoder_layer_is_torchs(norm: str) -> None:
    """Forward and backward, with a causal mask and a padded source."""
    ours = shaken(DecoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.1, norm=norm))
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, HIDDEN, batch_first=True, norm_first=norm == "pre"
    ).eval()
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_rest(ours, theirs, [ours.around_self, ours.around_cross, ours.around_feedforward])
    y = torch.randn(BATCH, TARGET, WIDTH, requires_grad=True)
    x = torch.randn(BATCH, SOURCE, WIDTH, requires_grad=True)
    seen = padding_mask(torch.tensor([SOURCE, 4]), SOURCE)
    cache = LayerCache(ours.cross_attention.project(x, x))
    mine = ours(y, cache, seen.unsqueeze(1)).states
    right = theirs(
        y, x, tgt_mask=~causal_mask(TARGET), memory_key_padding_mask=~seen, tgt_is_causal=True
    )
    torch.testing.assert_close(mine, right)
    same_gradients(mine, right, [x, y])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_stacks_are_torchs(norm: str) -> None:
    """Several layers, and the last norm where there is one."""
    encoder = shaken(TransformerEncoder(13, WIDTH, norm=norm, **SIZES))
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, batch_first=True, norm_first=norm == "pre"
    )
    last = nn.LayerNorm(WIDTH) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=False).eval()
    for ours, other in zip(encoder.layers, theirs.layers, strict=True):
        assert isinstance(ours, EncoderLayer)
        assert isinstance(other, nn.TransformerEncoderLayer)
        copy_attention(ours.attention, other.self_attn)
        copy_rest(ours, other, [ours.around_attention, ours.around_feedforward])
    if last is not None:
        last.load_state_dict(encoder.norm.state_dict())
    ids, lengths = torch.randint(4, 13, (BATCH, SOURCE)), torch.tensor([SOURCE, 4])
    words = encoder.positions(encoder.embedding(ids) * WIDTH**0.5)
    seen = padding_mask(lengths, SOURCE)
    encoded = encoder(ids, lengths)
    torch.testing.assert_close(
        encoded.states[seen], theirs(words, src_key_padding_mask=~seen)[seen]
    )
    assert encoded.final_state is None
    assert torch.equal(encoded.mask, seen)


def test_the_network_by_hand() -> None:
    """Two numbers in, two hidden ones, of which the second is below 0 and becomes 0."""
    network = FeedForward(2, 2)
    network.linear1.weight.data = torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
    network.linear1.bias.data = torch.tensor([0.5, 0.0])
    network.linear2.weight.data = torch.tensor([[2.0, 3.0], [1.0, 1.0]])
    network.linear2.bias.data = torch.tensor([0.0, -1.0])
    assert network(torch.tensor([1.0, 1.0])).tolist() == [7.0, 2.5]


def test_where_the_norm_stands() -> None:
    """With a function that gives nothing, ``pre`` leaves a state alone and ``post`` norms it."""
    x = torch.tensor([[[1.0, 3.0]]])
    for norm, expected in (("pre", [1.0, 3.0]), ("post", [-1.0, 1.0])):
        found = Sublayer(2, norm, 0.0)(x, torch.zeros_like)
        torch.testing.assert_close(found[0, 0], torch.tensor(expected), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("as_user")
def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of pre, post; got 'middle'"):
        Sublayer(4, "middle", 0.0)
    with pytest.raises(ValueError, match="positions must be one of sinusoidal, learned"):
        PositionalEncoding("none", 4, 10)


def test_the_last_words_are_all_that_is_computed_again() -> None:
    """Word by word with kept keys and values gives what all words at once give."""
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    encoded = encode(translator, [[4, 9, 6], [5]])
    words = torch.tensor([[SOS, 5, 9, 7], [SOS, 8, 8, 4]])
    decoder = translator.decoder
    assert isinstance(decoder, TransformerDecoder)
    whole = decoder(words, encoded).readouts
    cache, found = decoder.start(encoded), []
    for t in range(4):
        assert cache.length == t
        step = decoder(words[:, t : t + 1], cache)
        cache = step.cache
        found.append(step.readouts)
    torch.testing.assert_close(torch.cat(found, dim=1), whole)
    for layer in cache.layers:
        assert layer.past is not None
        assert layer.past.keys.shape == layer.past.values.shape == (2, 7, 4, 2)
        assert layer.source.keys.shape == (2, 7, 4, 2)  # three words and <eos>


def test_beginnings_of_one_sentence_share_its_keys() -> None:
    """Three rows for each of two sentences are what the sentences copied three times give."""
    translator = small(decoder="transformer", hidden_dim=14, num_heads=2, layers=2)
    encoded = encode(translator, [[4, 9, 6], [5]])
    decoder = translator.decoder
    words = torch.randint(4, 13, (6, 3))
    copied = encode(translator, [[4, 9, 6]] * 3 + [[5]] * 3)
    shared = decoder(words, decoder.start(encoded, beam_size=3), need_weights=True)
    alone = decoder(words, copied, need_weights=True)
    torch.testing.assert_close(shared.readouts, alone.readouts)
    for name in ("cross_weights", "self_weights"):
        for one, other in zip(getattr(shared, name), getattr(alone, name), strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(shared.attention.context, alone.attention.context)


def test_what_is_recorded_is_the_top_layers_mean() -> None:
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    batch = collate(EXAMPLES)
    encoded = translator.encode(batch.source, batch.source_lengths)
    recorded = translator.decoder(batch.target_in, encoded, need_weights=True)
    torch.testing.assert_close(recorded.readouts, translator(batch).readouts)
    attended = recorded.attention
    assert attended is not None
    torch.testing.assert_close(attended.scores.softmax(dim=-1), attended.weights)
    assert attended.weights.shape == (3, 7, 6)
    torch.testing.assert_close(attended.weights.sum(-1), torch.ones(3, 7).double())
    assert (attended.weights[:, :, :] * ~encoded.mask.unsqueeze(1) == 0).all()


def test_no_future_reaches_a_prediction() -> None:
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7, layers=2)
    encoded = encode(translator, [[4, 9, 6]])
    words = torch.tensor([[SOS, 5, 9, 7, 4]])
    other = words.clone()
    other[0, 3] = 8
    before, after = (translator.decoder(one, encoded).readouts for one in (words, other))
    assert torch.equal(before[0, :3], after[0, :3])
    assert not torch.equal(before[0, 3:], after[0, 3:])
