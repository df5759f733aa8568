"""Softmax over what may be looked at, and the weighted sum: the equations, not the falling loss."""

import math

import pytest
import torch
from torch.nn import functional

from attnbook.attention import Attention, masked_softmax
from attnbook.scores import DotScore, GeneralScore, ScaledDotScore

BATCH, HEADS, TARGET, SOURCE, WIDTH, VALUE = 2, 3, 5, 7, 11, 13
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_mask(*shape):
    """Some positions hidden, and in the first row all of them."""
    mask = torch.rand(shape) < 0.6
    mask[..., 0] = True
    mask[0, ..., 0, :] = False
    return mask


# --- by hand --------------------------------------------------------------------------------------

# "je suis étudiant": three states of width 4, and the decoder's state before it writes "student".
STATES = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]
STATE = [1.0, 0.0, 2.0, 0.0]


def test_je_suis_etudiant_by_hand():
    states = torch.tensor([STATES])
    context, weights, scores = Attention(DotScore())(torch.tensor([[STATE]]), states, states)
    total = math.e + math.e**2 + math.e**3
    a, b, c = math.e / total, math.e**2 / total, math.e**3 / total
    assert scores[0, 0].tolist() == [1.0, 2.0, 3.0]
    assert weights[0, 0].tolist() == pytest.approx([a, b, c])
    assert weights[0, 0].tolist() == pytest.approx([0.0900, 0.2447, 0.6652], abs=5e-5)
    assert context[0, 0].tolist() == pytest.approx([a + c, b + c, b + c, 0.0])


def test_je_suis_etudiant_with_a_hidden_word():
    states = torch.tensor([STATES])
    mask = torch.tensor([[[True, True, False]]])
    context, weights, scores = Attention(DotScore())(torch.tensor([[STATE]]), states, states, mask)
    a = 1 / (1 + math.e)
    assert scores[0, 0].tolist() == [1.0, 2.0, -math.inf]
    assert weights[0, 0].tolist() == pytest.approx([a, 1 - a, 0.0])
    assert context[0, 0].tolist() == pytest.approx([a, 1 - a, 1 - a, 0.0])


# --- masked softmax -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_masked_row_is_the_softmax_of_what_is_left(dtype):
    scores = torch.randn(BATCH, TARGET, SOURCE).to(dtype)
    mask = random_mask(BATCH, TARGET, SOURCE)
    weights = masked_softmax(scores, mask)
    assert weights.dtype == dtype
    for row, allowed, got in zip(
        scores.flatten(0, 1), mask.flatten(0, 1), weights.flatten(0, 1), strict=True
    ):
        assert torch.all(got[~allowed] == 0)
        if allowed.any():
            torch.testing.assert_close(got[allowed], torch.softmax(row[allowed], dim=-1))
        else:
            assert torch.all(got == 0)


def test_no_mask_is_plain_softmax():
    scores = torch.randn(BATCH, TARGET, SOURCE)
    assert torch.equal(masked_softmax(scores), torch.softmax(scores, dim=-1))
    everywhere = torch.ones(1, dtype=torch.bool)
    assert torch.equal(masked_softmax(scores, everywhere), torch.softmax(scores, dim=-1))


def test_masked_scores_do_not_matter():
    scores = torch.randn(BATCH, TARGET, SOURCE)
    mask = random_mask(BATCH, TARGET, SOURCE)
    other = torch.where(mask, scores, 1e4 * torch.randn_like(scores))
    assert torch.equal(masked_softmax(scores, mask), masked_softmax(other, mask))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_that_may_look_nowhere_gives_zeros_forward_and_backward(dtype):
    scores = torch.randn(TARGET, SOURCE).to(dtype).requires_grad_()
    mask = torch.ones(TARGET, SOURCE, dtype=torch.bool)
    mask[2] = False
    weights = masked_softmax(scores, mask)
    (weights * torch.randn(TARGET, SOURCE).to(dtype)).sum().backward()
    assert torch.all(weights[2] == 0)
    assert scores.grad is not None
    assert torch.all(scores.grad[2] == 0)
    assert torch.all(torch.isfinite(scores.grad))
    assert torch.all(scores.grad[[0, 1, 3, 4]].abs().sum(dim=1) > 0)


def test_no_nan_arises_on_the_way_back_either():
    """Nobody who looks for the origin of a NaN is led here, where one would be masked again."""
    scores = torch.randn(TARGET, SOURCE, requires_grad=True)
    mask = torch.ones(TARGET, SOURCE, dtype=torch.bool)
    mask[2] = False
    with torch.autograd.set_detect_anomaly(True):
        masked_softmax(scores, mask).sum().backward()


def test_keys_are_projected_where_the_caller_has_not_done_so():
    attention = Attention(GeneralScore(WIDTH, WIDTH))
    queries, keys = torch.randn(BATCH, TARGET, WIDTH), torch.randn(BATCH, SOURCE, WIDTH)
    projected = attention.score.project_keys(keys)
    assert not torch.allclose(projected, keys)
    for found in (attention(queries, keys, keys), attention(queries, keys, keys, None, projected)):
        torch.testing.assert_close(found.scores, queries @ projected.transpose(-2, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_look_at_gives_a_zero_context_and_no_nan(dtype):
    queries = torch.randn(BATCH, TARGET, WIDTH).to(dtype).requires_grad_()
    keys = torch.randn(BATCH, SOURCE, WIDTH).to(dtype).requires_grad_()
    values = torch.randn(BATCH, SOURCE, VALUE).to(dtype).requires_grad_()
    mask = torch.ones(BATCH, 1, SOURCE, dtype=torch.bool)
    mask[1] = False
    attended = Attention(DotScore())(queries, keys, values, mask)
    attended.context.sum().backward()
    assert torch.all(attended.context[1] == 0)
    assert torch.all(attended.scores[1] == -torch.inf)
    for tensor in (queries, keys, values):
        assert tensor.grad is not None
        assert torch.all(tensor.grad[1] == 0)
        assert torch.all(torch.isfinite(tensor.grad))
        assert torch.any(tensor.grad[0] != 0)


def test_large_scores_do_not_overflow():
    weights = masked_softmax(torch.tensor([[1e30, 1e30, -1e30]]), torch.tensor([[True] * 3]))
    assert weights.tolist() == [[0.5, 0.5, 0.0]]


def test_gradcheck():
    scores = torch.randn(BATCH, TARGET, SOURCE, dtype=torch.float64, requires_grad=True)
    mask = random_mask(BATCH, TARGET, SOURCE)
    assert torch.autograd.gradcheck(lambda x: masked_softmax(x, mask), [scores])


@pytest.mark.usefixtures("as_user")
def test_wrong_masks_are_refused_by_name():
    scores = torch.randn(BATCH, TARGET, SOURCE)
    with pytest.raises(TypeError, match="mask must be bool"):
        masked_softmax(scores, torch.ones(SOURCE))
    with pytest.raises(ValueError, match=r"mask of shape \(2, 7\)"):
        masked_softmax(scores, torch.ones(BATCH, SOURCE, dtype=torch.bool))


# --- attention ------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_equals_torchs_scaled_dot_product_attention(masked):
    shapes = [(TARGET, WIDTH), (SOURCE, WIDTH), (SOURCE, VALUE)]
    ours = [torch.randn(BATCH, HEADS, *shape, requires_grad=True) for shape in shapes]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    mask = None
    if masked:
        mask = torch.rand(BATCH, 1, TARGET, SOURCE) < 0.6
        mask[..., 3] = True
    mine = Attention(ScaledDotScore())(*ours, mask).context
    queries, keys, values = theirs
    reference = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    torch.testing.assert_close(mine, reference)
    into = torch.randn_like(mine)
    mine.backward(into)
    reference.backward(into)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_gradcheck_of_the_whole():
    tensors = [
        torch.randn(BATCH, size, width, dtype=torch.float64, requires_grad=True)
        for size, width in [(3, 5), (SOURCE, 5), (SOURCE, 2)]
    ]
    mask = random_mask(BATCH, 3, SOURCE)
    attention = Attention(DotScore(), temperature=0.7)
    assert torch.autograd.gradcheck(lambda *x: attention(*x, mask).context, tensors)


def test_the_order_of_the_source_does_not_matter():
    queries = torch.randn(BATCH, TARGET, WIDTH)
    keys, values = torch.randn(BATCH, SOURCE, WIDTH), torch.randn(BATCH, SOURCE, VALUE)
    mask = random_mask(BATCH, TARGET, SOURCE)
    order = torch.randperm(SOURCE)
    attention = Attention(DotScore())
    context, weights, scores = attention(queries, keys, values, mask)
    shuffled = attention(queries, keys[:, order], values[:, order], mask[..., order])
    torch.testing.assert_close(shuffled.context, context)
    torch.testing.assert_close(shuffled.weights, weights[..., order])
    torch.testing.assert_close(shuffled.scores, scores[..., order])


def test_sentences_do_not_see_each_other():
    queries = torch.randn(BATCH, TARGET, WIDTH)
    keys, values = torch.randn(BATCH, SOURCE, WIDTH), torch.randn(BATCH, SOURCE, VALUE)
    attention = Attention(DotScore())
    together = attention(queries, keys, values).context
    for number in range(BATCH):
        alone = attention(queries[[number]], keys[[number]], values[[number]]).context
        torch.testing.assert_close(together[[number]], alone)


def test_values_are_summed_and_keys_are_not():
    keys, values = torch.randn(1, SOURCE, WIDTH), torch.randn(1, SOURCE, VALUE)
    context, weights, _ = Attention(DotScore())(torch.randn(1, TARGET, WIDTH), keys, values)
    by_hand = sum(weights[0, :, i, None] * values[0, i] for i in range(SOURCE))
    torch.testing.assert_close(context[0], by_hand)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_temperature_divides_the_scores_before_the_softmax(temperature):
    queries, keys = torch.randn(1, TARGET, WIDTH), torch.randn(1, SOURCE, WIDTH)
    attended = Attention(DotScore(), temperature)(queries, keys, keys)
    torch.testing.assert_close(attended.scores, queries @ keys.mT)
    expected = torch.exp(attended.scores / temperature)
    torch.testing.assert_close(attended.weights, expected / expected.sum(-1, keepdim=True))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Attention(DotScore(), temperature)
