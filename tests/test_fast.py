"""The fast forms equal the readable ones, forward and backward."""

import pytest
import torch
from torch import Tensor, nn

from attnbook.decoders import Steps
from attnbook.encoder import read_packed
from attnbook.fast import (
    AdditiveSteps,
    LinearSteps,
    LSTMSteps,
    chunked_cross_entropy,
    largest,
    log_normalisers,
    lstm_step,
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
    for one in (queries, keys, v):
        assert one.grad is not None
        assert torch.isfinite(one.grad).all()


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
        step = kind(layer, words)
        state: tuple[Tensor, ...] = torch.zeros(1, 4, 7), torch.zeros(1, 4, 7)
        for _ in range(3):
            output, state = step(other, state)
        results.append((output, *torch.autograd.grad(weighted(output), list(layer.parameters()))))
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
    inputs = readouts, output.weight, output.bias
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
    assert readouts.grad is not None
    assert torch.isfinite(readouts.grad).all()


# --- scores, and a linear layer, step by step -----------------------------------------------------


def test_additive_steps_equal_plain_scores():
    """With queries that depend on the scores before, as a decoder's do."""
    torch.manual_seed(0)
    inputs = some(WIDTH, HIDDEN), some(BATCH, SOURCE, WIDTH), some(WIDTH), some(BATCH, 1, HIDDEN)
    look = torch.randn(SOURCE, HIDDEN, dtype=torch.float64)
    results = []
    for fast in (True, False):
        weight, keys, v, query = inputs
        steps = AdditiveSteps(weight, keys, v, TARGET)
        found = []
        for _ in range(TARGET):
            found.append(steps(query) if fast else additive_scores(query @ weight.T, keys, v))
            query = query + torch.tanh(found[-1] @ look)
        gradients = torch.autograd.grad(weighted(torch.cat(found, dim=1)), inputs)
        results.append((torch.cat(found, dim=1), *gradients))
    assert_equal(*results)


def test_additive_steps_need_not_all_be_taken_or_count():
    torch.manual_seed(0)
    weight, keys, v = some(WIDTH, HIDDEN), some(BATCH, SOURCE, WIDTH), some(WIDTH)
    queries = some(3, BATCH, 1, HIDDEN)
    results = []
    for fast in (True, False):
        steps = AdditiveSteps(weight, keys, v, TARGET)
        found = [
            steps(query) if fast else additive_scores(query @ weight.T, keys, v)
            for query in queries
        ]
        results.append(torch.autograd.grad(weighted(found[1]), [weight, keys, v, queries]))
    assert_equal(*results)


@pytest.mark.parametrize("used", [1, 5])
def test_linear_steps_equal_the_layer(used):
    torch.manual_seed(0)
    layer = nn.Linear(WIDTH, WIDTH).double()
    first = some(BATCH, 1, WIDTH)
    results = []
    for fast in (True, False):
        apply = LinearSteps(layer, BATCH, TARGET) if fast else layer
        found = [first]
        for _ in range(TARGET):
            found.append(torch.tanh(apply(found[-1])))
        gradients = torch.autograd.grad(weighted(found[used]), [first, *layer.parameters()])
        results.append((*found, *gradients))
    assert_equal(*results)


# --- decoding a word ------------------------------------------------------------------------------


@torch.no_grad()
def test_one_lstm_step_equals_the_layer():
    layer = nn.LSTM(WIDTH, HIDDEN, batch_first=True).double()
    inputs = torch.randn(BATCH, 1, WIDTH, dtype=torch.float64)
    state = torch.randn(2, 1, BATCH, HIDDEN, dtype=torch.float64)
    _, expected = layer(inputs, (state[0], state[1]))
    found = lstm_step(layer, inputs[:, 0], state[0, 0], state[1, 0])
    assert_equal(found, [one[0] for one in expected])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_log_normalisers_equal_logsumexp(scale, monkeypatch):
    monkeypatch.setattr("attnbook.fast.BLOCK", 2 * WORDS)
    logits = scale * torch.randn(5, WORDS, dtype=torch.float64)
    torch.testing.assert_close(log_normalisers(logits), torch.logsumexp(logits, dim=1))


@pytest.mark.parametrize("words", [3, 17, 60, 61, 64, 67])
@pytest.mark.parametrize("count", [1, 3])
def test_the_largest_are_those_of_a_full_ranking(words, count, monkeypatch):
    """In groups of five: fewer than a group, whole groups, and words left over."""
    monkeypatch.setattr("attnbook.fast.GROUP", 5)
    for seed in range(20):
        torch.manual_seed(seed)
        values = torch.randn(7, words)
        values[0] = -torch.inf
        values[0, :count] = torch.randn(count)
        values[1, -count:] += 9  # behind the last whole group
        assert_equal(largest(values, count), values.topk(count, dim=1))


@pytest.mark.parametrize("kind", [AdditiveSteps, LinearSteps, LSTMSteps])
def test_a_graph_may_be_gone_through_again(kind):
    """Twice the same way, and once through a part that leaves out the weights."""
    torch.manual_seed(0)
    keys, query = some(BATCH, SOURCE, WIDTH), some(BATCH, 1, WIDTH)
    if kind is AdditiveSteps:
        weights = [some(WIDTH, WIDTH), some(WIDTH)]
        additive = AdditiveSteps(weights[0], keys, weights[1], TARGET)
        found = [additive(query) for _ in range(TARGET)]
    elif kind is LinearSteps:
        layer = nn.Linear(WIDTH, WIDTH).double()
        weights = list(layer.parameters())
        linear = LinearSteps(layer, BATCH, TARGET)
        found = [linear(query) for _ in range(TARGET)]
    else:
        cell = nn.LSTM(2 * WIDTH, WIDTH, batch_first=True).double()
        weights = list(cell.parameters())
        lstm, state = LSTMSteps(cell, keys), tuple(query.new_zeros(2, 1, BATCH, WIDTH))
        found = []
        for _ in range(TARGET):
            output, state = lstm(query[:, 0], state)
            found.append(output)
    loss = weighted(torch.cat(found, dim=1))
    first = torch.autograd.grad(loss, [*weights, query], retain_graph=True)
    torch.autograd.grad(found[1].sum(), [query], retain_graph=True)
    assert_equal(torch.autograd.grad(loss, [*weights, query], retain_graph=True), first)
    assert_equal(torch.autograd.grad(2 * loss, weights), [2 * one for one in first[:-1]])
