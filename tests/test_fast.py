"""The fast forms equal the readable ones, forward and backward."""

import pytest
import torch
from torch import nn

from attnbook.decoders import Steps
from attnbook.encoder import read_packed
from attnbook.fast import (
    LSTMSteps,
    chunked_cross_entropy,
    read_unpacked,
    recomputed_additive_scores,
)
from attnbook.losses import smoothed_cross_entropy
from attnbook.scores import additive_scores

BATCH, TARGET, SOURCE, WIDTH, HIDDEN, WORDS = 3, 5, 7, 11, 13, 17


def some(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def weighted(*tensors):
    """A sum in which every entry counts differently, so that none can stand for another."""
    return sum((one * torch.linspace(-1, 2, one.numel()).view_as(one)).sum() for one in tensors)


def assert_equal(fast, readable):
    for one, other in zip(fast, readable, strict=True):
        torch.testing.assert_close(one, other)


# --- additive scores without the tensor of all pairs ----------------------------------------------


@pytest.mark.parametrize("block", [1, 100, 10**9])
def test_recomputed_scores_equal_the_plain_ones(block, monkeypatch):
    """In blocks of one target position, of some, and of all."""
    monkeypatch.setattr("attnbook.fast.BLOCK", block)
    gradients = []
    for function in (additive_scores, recomputed_additive_scores):
        torch.manual_seed(0)
        inputs = some(BATCH, TARGET, HIDDEN), some(BATCH, SOURCE, HIDDEN), some(HIDDEN)
        scores = function(*inputs)
        (scores * torch.randn(scores.shape, dtype=torch.float64)).sum().backward()
        gradients.append([scores.detach(), *(one.grad for one in inputs)])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_recomputed_scores_pass_gradcheck():
    inputs = some(BATCH, TARGET, WIDTH), some(BATCH, SOURCE, WIDTH), some(WIDTH)
    assert torch.autograd.gradcheck(recomputed_additive_scores, inputs)


def test_recomputed_scores_of_huge_numbers_are_finite():
    """Where tanh is flat its gradient is zero, not NaN."""
    queries = torch.tensor([[[1e4, -1e4, 90.0]]], requires_grad=True)
    keys = torch.tensor([[[1e4, 1e4, -90.0], [0.0, 0.0, 0.0]]], requires_grad=True)
    v = torch.ones(3, requires_grad=True)
    scores = recomputed_additive_scores(queries, keys, v)
    assert scores.tolist() == [[[1.0, 1.0]]]
    scores.sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in (queries, keys, v))


def test_recomputed_scores_keep_the_dtype():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        inputs = [torch.randn(2, 3, 5), torch.randn(2, 4, 5), torch.randn(5)]
        plain = additive_scores(*inputs)
        low = recomputed_additive_scores(*(one.to(dtype) for one in inputs))
        assert low.dtype == dtype
        torch.testing.assert_close(low.float(), plain, rtol=0.02, atol=0.06)


# --- sentences of unequal length ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_unpacked_reading_equals_packed_reading(cell, bidirectional, layers, dtype):
    torch.manual_seed(0)
    layer = cell(5, 7, layers, bidirectional=bidirectional, batch_first=True).to(dtype)
    inputs = torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
    results = []
    for read in (read_unpacked, read_packed):
        states, final = read(layer, inputs, torch.tensor([6, 2, 1, 4]))
        gradients = torch.autograd.grad(weighted(states, *final), [inputs, *layer.parameters()])
        results.append((states, *final, *gradients))
    assert_equal(*results)


def test_unpacked_reading_drops_between_layers_in_training_only():
    layer = nn.GRU(5, 7, 2, dropout=0.5, batch_first=True)
    inputs, lengths = torch.randn(4, 6, 5), torch.tensor([6, 2, 1, 4])
    first, second = (read_unpacked(layer, inputs, lengths)[0] for _ in range(2))
    assert not torch.equal(first, second)
    layer.eval()
    assert_equal(read_unpacked(layer, inputs, lengths)[0], read_packed(layer, inputs, lengths)[0])


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_unpacked_reading_ignores_what_lies_in_the_padding(cell):
    layer = cell(5, 7, bidirectional=True, batch_first=True)
    inputs, lengths = torch.randn(2, 6, 5), torch.tensor([6, 3])
    states, final = read_unpacked(layer, inputs, lengths)
    inputs[1, 3:] = 1000
    again, final_again = read_unpacked(layer, inputs, lengths)
    assert_equal((again, *final_again), (states, *final))
    assert not again[1, 3:].any()


# --- an LSTM, step by step ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lstm_steps_equal_plain_steps(dtype):
    """With an input that depends on the last state, as a context does."""
    torch.manual_seed(0)
    layer = nn.LSTM(5 + 3, 7, batch_first=True).to(dtype)
    words = torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
    others = torch.randn(6, 4, 3, dtype=dtype, requires_grad=True)
    start = tuple(torch.randn(1, 4, 7, dtype=dtype, requires_grad=True) for _ in range(2))
    look = torch.randn(7, 3, dtype=dtype)
    results = []
    for kind in (LSTMSteps, Steps):
        step, state, outputs = kind(layer, words), start, []
        for other in others:
            output, state = step(other + torch.tanh(state[0][0] @ look), state)
            outputs.append(output)
        loss = weighted(torch.cat(outputs, dim=1), *state)
        gradients = torch.autograd.grad(loss, [words, others, *start, *layer.parameters()])
        results.append((torch.cat(outputs, dim=1), *state, *gradients))
    assert_equal(*results)


def test_lstm_steps_need_not_all_count():
    """A loss on some of the steps only, and no gradient asked of the words.

    Memory that nothing was written to is filled with NaN, so that nothing can come to rest on it.
    """
    torch.use_deterministic_algorithms(True)
    layer = nn.LSTM(5 + 3, 7, batch_first=True)
    words, other = torch.randn(4, 6, 5), torch.randn(4, 3)
    results = []
    for kind in (LSTMSteps, Steps):
        step, state = kind(layer, words), (torch.zeros(1, 4, 7), torch.zeros(1, 4, 7))
        for _ in range(3):
            output, state = step(other, state)
        results.append((output, *torch.autograd.grad(weighted(output), layer.parameters())))
    torch.use_deterministic_algorithms(False)
    assert_equal(*results)


# --- cross-entropy --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 40, 10**9])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunked_cross_entropy_equals_that_of_all_logits(block, smoothing, dtype, monkeypatch):
    """In blocks of one token, of two, and of all."""
    monkeypatch.setattr("attnbook.fast.BLOCK", block)
    torch.manual_seed(0)
    output = nn.Linear(WIDTH, WORDS).to(dtype)
    readouts = torch.randn(TARGET, WIDTH, dtype=dtype, requires_grad=True)
    answers = torch.tensor([0, 16, 5, 5, 2])
    inputs = [readouts, output.weight, output.bias]
    results = []
    for losses in (
        chunked_cross_entropy(*inputs, answers, smoothing),
        smoothed_cross_entropy(output(readouts), answers, smoothing),
    ):
        objective, nats = losses
        assert not nats.requires_grad
        # Scaled, as by a gradient scaler or where losses are added up.
        results.append((objective, nats, *torch.autograd.grad(3 * objective, inputs)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_chunked_cross_entropy_without_gradients():
    with torch.no_grad():
        losses = chunked_cross_entropy(
            torch.randn(TARGET, WIDTH), torch.randn(WORDS, WIDTH), torch.randn(WORDS),
            torch.tensor([0, 16, 5, 5, 2]), 0.1,
        )  # fmt: skip
    assert not any(loss.requires_grad for loss in losses)


def test_chunked_cross_entropy_of_huge_logits_is_finite():
    readouts = torch.full((2, 1), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]])
    objective, _ = chunked_cross_entropy(readouts, weight, torch.zeros(3), torch.tensor([0, 0]))
    assert objective == 0
    objective.backward()
    assert torch.isfinite(readouts.grad).all()
