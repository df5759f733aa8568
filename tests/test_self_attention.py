"""Heads, masks, places and the cache, held against torch's own implementations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from attnbook.attention import attend
from attnbook.masks import causal_mask, padding_mask
from attnbook.self_attention import (
    KVCache,
    LearnedPositions,
    MultiHeadAttention,
    merge_heads,
    rotate,
    sinusoidal_positions,
    split_heads,
)

BATCH, TARGET, SOURCE, HEADS, WIDTH = 2, 5, 7, 3, 6
PIECE = WIDTH // HEADS


@pytest.fixture
def heads() -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(WIDTH, HEADS)


def theirs(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """Torch's module with the same weights."""
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    three = (ours.q_proj, ours.k_proj, ours.v_proj)
    module.in_proj_weight.data.copy_(torch.cat([one.weight for one in three]))
    module.in_proj_bias.data.copy_(torch.cat([one.bias for one in three]))
    module.out_proj.weight.data.copy_(ours.out_proj.weight)
    module.out_proj.bias.data.copy_(ours.out_proj.bias)
    return module


# --- a soft dictionary ------------------------------------------------------------------------

MASKS = {
    "none": None,
    "padding": padding_mask(torch.tensor([SOURCE, 3]), SOURCE).unsqueeze(1),
    "causal": causal_mask(TARGET, SOURCE - TARGET),
    "a row that sees nothing": torch.arange(SOURCE).remainder(2).bool()
    & (torch.arange(TARGET) != 2).unsqueeze(1),
    "nothing at all": torch.zeros(TARGET, SOURCE, dtype=torch.bool),
}
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.bfloat16: 3e-2,
    torch.float16: 4e-3,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_attend_is_torchs_scaled_dot_product_attention(
    mask: torch.Tensor | None, dtype: torch.dtype
) -> None:
    """Forward and backward, in every dtype; a row that may look nowhere gets zeros."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(BATCH, length, WIDTH).to(dtype).requires_grad_()
        for length in (TARGET, SOURCE, SOURCE)
    ]
    gradient = torch.randn(BATCH, TARGET, WIDTH).to(dtype)
    queries, keys, values = inputs
    ours = attend(queries, keys, values, mask).context
    other = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    error = TOLERANCE[dtype]
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, other, atol=error, rtol=error)
    for mine, right in zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(other, inputs, gradient),
        strict=True,
    ):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine, right, atol=error, rtol=error)


def test_a_soft_dictionary_by_hand() -> None:
    """Two keys; the scores are ln 3 and 0, the weights 3/4 and 1/4."""
    query = torch.tensor([[math.sqrt(2) * math.log(3), 0.0]])
    keys = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    values = torch.tensor([[4.0], [8.0]])
    found = attend(query, keys, values)
    torch.testing.assert_close(found.scores, torch.tensor([[math.log(3), 0.0]]))
    torch.testing.assert_close(found.weights, torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(found.context, torch.tensor([[5.0]]))


def test_a_sharp_query_reads_one_value() -> None:
    """A query a thousand times as long looks up the value of its key, as a dictionary does."""
    keys = torch.eye(4)
    values = torch.arange(8.0).view(4, 2)
    for row in range(4):
        found = attend(1000 * keys[row : row + 1], keys, values)
        torch.testing.assert_close(found.context, values[row : row + 1])


# --- heads ------------------------------------------------------------------------------------


def test_splitting_keeps_a_words_numbers_together() -> None:
    vectors = torch.arange(36.0).view(2, 3, 6)
    pieces = split_heads(vectors, 2)
    assert pieces.shape == (2, 2, 3, 3)
    assert pieces[0, 1, 0].tolist() == [3, 4, 5]  # the second half of the first word
    assert pieces[1, 0, 2].tolist() == [30, 31, 32]
    assert torch.equal(merge_heads(pieces), vectors)
    assert not torch.equal(vectors.view(2, 2, 3, 3), pieces)  # the mistake it warns of


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("count", [0, 4, -2])
def test_heads_must_divide_the_width(count: int) -> None:
    with pytest.raises(ValueError, match="heads"):
        split_heads(torch.zeros(1, 2, 6), count)
    with pytest.raises(ValueError, match="heads must divide model_dim"):
        MultiHeadAttention(6, count)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("use", ["self", "masked", "cross", "three", "padded"])
def test_heads_are_torchs(heads: MultiHeadAttention, use: str, need_weights: bool) -> None:
    """Forward, backward and weights, in all three uses and with three different inputs."""
    torch.manual_seed(1)
    x = torch.randn(BATCH, SOURCE, WIDTH, requires_grad=True)
    y = torch.randn(BATCH, TARGET, WIDTH, requires_grad=True)
    z = torch.randn(BATCH, SOURCE, WIDTH, requires_grad=True)
    seen = padding_mask(torch.tensor([SOURCE, 3]), SOURCE)
    other = theirs(heads)
    match use:
        case "self":
            mine = heads(x, x, x, need_weights=need_weights)
            right = other(x, x, x, average_attn_weights=False)
        case "masked":
            mine = heads(y, y, y, causal=True, need_weights=need_weights)
            # Their mask says where one may not look.
            right = other(y, y, y, attn_mask=~causal_mask(TARGET), average_attn_weights=False)
        case "cross":
            mine = heads(y, x, x, need_weights=need_weights)
            right = other(y, x, x, average_attn_weights=False)
        case "three":
            mine = heads(y, x, z, need_weights=need_weights)
            right = other(y, x, z, average_attn_weights=False)
        case _:
            mine = heads(y, x, x, seen.unsqueeze(1), need_weights=need_weights)
            right = other(y, x, x, key_padding_mask=~seen, average_attn_weights=False)
    torch.testing.assert_close(mine.output, right[0])
    if need_weights:
        assert mine.weights is not None
        torch.testing.assert_close(mine.weights, right[1])
        assert mine.scores is not None
        torch.testing.assert_close(mine.scores.softmax(dim=-1), right[1])
    else:
        assert mine.weights is None
    used = {"self": [x], "masked": [y], "cross": [x, y], "three": [x, y, z], "padded": [x, y]}[use]
    gradient = torch.randn_like(mine.output)
    pairs = [*zip(used, used, strict=True)]
    pairs.append((heads.out_proj.weight, other.out_proj.weight))
    for ours, them in zip(
        torch.autograd.grad(mine.output, [one for one, _ in pairs], gradient, retain_graph=True),
        torch.autograd.grad(right[0], [one for _, one in pairs], gradient, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, them, atol=1e-5, rtol=1e-4)
    three = (heads.q_proj, heads.k_proj, heads.v_proj)
    inside = [one.weight for one in three] + [one.bias for one in three]
    packed = [other.in_proj_weight, other.in_proj_bias]
    ours_inside = torch.autograd.grad(mine.output, inside, gradient, retain_graph=True)
    weight, bias = torch.autograd.grad(right[0], packed, gradient, retain_graph=True)
    torch.testing.assert_close(torch.cat(ours_inside[:3]), weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat(ours_inside[3:]), bias, atol=1e-5, rtol=1e-4)


def test_each_head_is_an_attend_of_its_own(heads: MultiHeadAttention) -> None:
    """The formula of the paper, head by head with its rows of the matrices."""
    torch.manual_seed(1)
    y, x = torch.randn(1, TARGET, WIDTH), torch.randn(1, SOURCE, WIDTH)
    found = heads(y, x, x, need_weights=True)
    three = (heads.q_proj, heads.k_proj, heads.v_proj)
    rows = torch.stack([one.weight for one in three]).view(3, HEADS, PIECE, WIDTH)
    bias = torch.stack([one.bias for one in three]).view(3, HEADS, PIECE)
    pieces = []
    for head in range(HEADS):
        looked = attend(
            y @ rows[0, head].T + bias[0, head],
            x @ rows[1, head].T + bias[1, head],
            x @ rows[2, head].T + bias[2, head],
        )
        assert found.weights is not None
        torch.testing.assert_close(found.weights[:, head], looked.weights)
        pieces.append(looked.context)
    torch.testing.assert_close(found.output, heads.out_proj(torch.cat(pieces, dim=-1)))


def test_no_future(heads: MultiHeadAttention) -> None:
    """Another word at position 3 changes nothing before position 3, and something from there."""
    torch.manual_seed(1)
    x = torch.randn(1, TARGET, WIDTH)
    other = x.clone()
    other[0, 3] += 1
    for need_weights in (False, True):
        before, after = (
            heads(one, one, one, causal=True, need_weights=need_weights).output
            for one in (x, other)
        )
        assert torch.equal(before[0, :3], after[0, :3])
        assert (before[0, 3:] != after[0, 3:]).any(dim=-1).all()


def test_causal_and_padding_together(heads: MultiHeadAttention) -> None:
    """Both masks count, whether or not weights are asked for."""
    torch.manual_seed(1)
    x = torch.randn(BATCH, TARGET, WIDTH)
    seen = padding_mask(torch.tensor([TARGET, 2]), TARGET).unsqueeze(1)
    plain = heads(x, x, x, seen, causal=True)
    shown = heads(x, x, x, seen, causal=True, need_weights=True)
    torch.testing.assert_close(plain.output, shown.output)
    assert shown.weights is not None
    assert (shown.weights[1, :, :, 2:] == 0).all()
    assert (shown.weights.triu(1) == 0).all()


def test_order_is_not_seen(heads: MultiHeadAttention) -> None:
    """Self-attention of a shuffled sentence is the shuffled self-attention."""
    torch.manual_seed(1)
    x = torch.randn(1, SOURCE, WIDTH)
    order = torch.randperm(SOURCE)
    y = x[:, order]
    torch.testing.assert_close(heads(y, y, y).output, heads(x, x, x).output[:, order])


def test_kept_keys_and_values_change_nothing(heads: MultiHeadAttention) -> None:
    """Word by word with what was kept, two words at a time, and all at once are the same."""
    torch.manual_seed(1)
    x = torch.randn(BATCH, 6, WIDTH)
    whole = heads(x, x, x, causal=True).output
    for size in (1, 2, 3):
        past = KVCache(*(torch.zeros(BATCH, HEADS, 0, PIECE) for _ in range(2)))
        found = []
        for words in x.split(size, dim=1):
            step = heads(words, words, words, causal=True, past_key_values=past)
            past = step.past_key_values
            found.append(step.output)
        torch.testing.assert_close(torch.cat(found, dim=1), whole)
        assert past.keys.shape == (BATCH, HEADS, 6, PIECE)


def test_asking_what_was_projected_before(heads: MultiHeadAttention) -> None:
    torch.manual_seed(1)
    y, x = torch.randn(BATCH, TARGET, WIDTH), torch.randn(BATCH, SOURCE, WIDTH)
    seen = padding_mask(torch.tensor([SOURCE, 3]), SOURCE).unsqueeze(1)
    torch.testing.assert_close(
        heads.attend(y, heads.project(x, x), seen).output, heads(y, x, x, seen).output
    )


def test_temperature_divides_the_scores(heads: MultiHeadAttention) -> None:
    x = torch.randn(1, SOURCE, WIDTH)
    before = heads(x, x, x, need_weights=True)
    heads.temperature = 2.0
    after = heads(x, x, x, need_weights=True)
    assert before.scores is not None
    assert after.scores is not None
    torch.testing.assert_close(after.scores, before.scores / 2)
    torch.testing.assert_close(after.output, heads(x, x, x).output)


def test_dropped_weights_are_made_up_for() -> None:
    """In training weights are dropped and the others grow; in evaluation nothing happens."""
    torch.manual_seed(0)
    heads = MultiHeadAttention(WIDTH, HEADS, dropout=0.5)
    x = torch.randn(1, SOURCE, WIDTH)
    for need_weights in (False, True):
        outputs = [heads(x, x, x, need_weights=need_weights).output for _ in range(2)]
        assert not torch.equal(*outputs)
        heads.eval()
        outputs = [heads(x, x, x, need_weights=need_weights).output for _ in range(2)]
        assert torch.equal(*outputs)
        heads.train()


def test_gradients(heads: MultiHeadAttention) -> None:
    heads = heads.double()
    x = torch.randn(1, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    for need_weights in (False, True):
        assert torch.autograd.gradcheck(
            lambda x, w=need_weights: heads(x, x, x, causal=True, need_weights=w).output, (x,)
        )


@pytest.mark.usefixtures("as_user")
def test_bad_input_is_named(heads: MultiHeadAttention) -> None:
    x, y = torch.zeros(1, 3, WIDTH), torch.zeros(1, 3, WIDTH + 1)
    with pytest.raises(ValueError, match="keys are 7 wide, and model_dim is 6"):
        heads(x, y, x)
    with pytest.raises(TypeError, match="a mask must be bool"):
        heads(x, x, x, torch.ones(3, 3))
    with pytest.raises(ValueError, match="does not broadcast"):
        heads(x, x, x, torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="dropout must lie in"):
        MultiHeadAttention(WIDTH, HEADS, dropout=1.0)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        MultiHeadAttention(WIDTH, HEADS, temperature=0.0)


# --- where a word stands ----------------------------------------------------------------------


def test_sines_and_cosines_by_hand() -> None:
    """Width 4: frequencies 1 and 1/100."""
    found = sinusoidal_positions(3, 4)
    assert found[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    torch.testing.assert_close(found[2], torch.tensor(expected))
    assert torch.equal(sinusoidal_positions(2, 4, start=1), found[1:])


def test_a_step_is_a_turn_that_does_not_depend_on_where() -> None:
    """The dot product of two positions depends on their distance alone."""
    table = sinusoidal_positions(50, 8).double()
    products = table @ table.T
    for distance in (0, 1, 7):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=0)


def test_turned_queries_and_keys_know_how_far_apart_they_are() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(8).double(), torch.randn(8).double()
    queries, keys = rotate(query.expand(20, 8)), rotate(key.expand(20, 8))
    products = queries @ keys.T
    for distance in (-3, 0, 5):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-6, rtol=0)
    torch.testing.assert_close(queries.norm(dim=-1), query.norm().expand(20), atol=1e-6, rtol=0)
    torch.testing.assert_close(rotate(query.expand(3, 8), start=4), queries[4:7])


@pytest.mark.usefixtures("as_user")
def test_impossible_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="must be even, got 5"):
        sinusoidal_positions(3, 5)
    with pytest.raises(ValueError, match="length must be at least 1"):
        sinusoidal_positions(0, 4)
    with pytest.raises(ValueError, match="must be even, got 0"):
        sinusoidal_positions(3, 0)
    table = LearnedPositions(10, 4)
    assert torch.equal(table(3), table.vectors.weight[:3])
    with pytest.raises(ValueError, match="positions -1 to 1"):
        table(3, start=-1)
    assert torch.equal(table(3, start=7), table.vectors.weight[7:])
    with pytest.raises(ValueError, match="positions 8 to 10, and the table ends at 9"):
        table(3, start=8)
