"""The fast forms equal the readable ones, forward and backward."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from attnbook import attention, decoders, decoding, encoder, fast, losses, scores
from attnbook.attention import Attention
from attnbook.decoders import recur_step_by_step
from attnbook.encoder import RecurrentState
from attnbook.fast import (
    _AdditiveSteps,
    _LinearSteps,
    _LSTMSteps,
    additive_scores,
    largest,
    log_normalisers,
    output_cross_entropy,
)
from attnbook.losses import smoothed_cross_entropy
from attnbook.scores import AdditiveScore, ConcatScore, DotScore
from attnbook.seam import Unsuitable, as_written

BATCH, TARGET, SOURCE, WIDTH, HIDDEN, WORDS = 3, 5, 7, 11, 13, 17


def some(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def weighted(*tensors):
    """A sum in which every entry counts differently, so that none can stand for another."""
    return sum((one * torch.linspace(-1, 2, one.numel()).view_as(one)).sum() for one in tensors)


def assert_equal(fast, readable):
    for one, other in zip(fast, readable, strict=True):
        torch.testing.assert_close(one, other)


def readable_scores(*inputs):
    with as_written():
        return scores.additive_scores(*inputs)


# --- where functions are exchanged ----------------------------------------------------------------

MODULES = (attention, scores, encoder, decoders, decoding, losses)
EXCHANGED = [
    (module, name)
    for module in MODULES
    for name, one in vars(module).items()
    if getattr(one, "__module__", None) == module.__name__
    and getattr(vars(fast).get(name), "__module__", None) == fast.__name__
]


def test_every_fast_function_takes_the_place_of_a_readable_one():
    assert sorted(name for _, name in EXCHANGED) == sorted(fast.__all__)


def test_a_readable_function_runs_where_the_fast_one_does_not_know_the_case(monkeypatch):
    asked = []

    def unsuitable(*given):
        asked.append(given)
        raise Unsuitable

    monkeypatch.setattr(fast, "largest", unsuitable)
    values = torch.tensor([[3.0, 1.0, 2.0]])
    assert decoding.largest(values, 2)[1].tolist() == [[0, 2]]
    assert len(asked) == 1
    with as_written():
        assert decoding.largest(values, 2)[1].tolist() == [[0, 2]]
    assert len(asked) == 1


# --- additive scores without the tensor of all pairs ----------------------------------------------


@pytest.mark.parametrize("block", [1, 100, 10**9])
def test_recomputed_scores_equal_the_plain_ones(block, monkeypatch):
    """In blocks of one target position, of some, and of all."""
    monkeypatch.setattr("attnbook.fast.BLOCK", block)
    gradients = []
    for function in (readable_scores, additive_scores):
        torch.manual_seed(0)
        inputs = some(BATCH, TARGET, HIDDEN), some(BATCH, SOURCE, HIDDEN), some(HIDDEN)
        scores = function(*inputs)
        (scores * torch.randn(scores.shape, dtype=torch.float64)).sum().backward()
        gradients.append([scores.detach(), *(one.grad for one in inputs)])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_recomputed_scores_pass_gradcheck():
    inputs = some(BATCH, TARGET, WIDTH), some(BATCH, SOURCE, WIDTH), some(WIDTH)
    assert torch.autograd.gradcheck(additive_scores, inputs)


def test_recomputed_scores_of_huge_numbers_are_finite():
    """Where tanh is flat its gradient is zero, not NaN."""
    queries = torch.tensor([[[1e4, -1e4, 90.0]]], requires_grad=True)
    keys = torch.tensor([[[1e4, 1e4, -90.0], [0.0, 0.0, 0.0]]], requires_grad=True)
    v = torch.ones(3, requires_grad=True)
    scores = additive_scores(queries, keys, v)
    assert scores.tolist() == [[[1.0, 1.0]]]
    scores.sum().backward()
    for one in (queries, keys, v):
        assert one.grad is not None
        assert torch.isfinite(one.grad).all()


def test_recomputed_scores_keep_the_dtype():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        inputs = [torch.randn(2, 3, 5), torch.randn(2, 4, 5), torch.randn(5)]
        plain = readable_scores(*inputs)
        low = additive_scores(*(one.to(dtype) for one in inputs))
        assert low.dtype == dtype
        torch.testing.assert_close(low.float(), plain, rtol=0.02, atol=0.06)


# --- sentences of unequal length ------------------------------------------------------------------


def packed(layer, inputs, lengths):
    with as_written():
        return encoder.read_sentences(layer, inputs, lengths)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_unpacked_reading_equals_packed_reading(cell, bidirectional, layers, dtype):
    torch.manual_seed(0)
    layer = cell(5, 7, layers, bidirectional=bidirectional, batch_first=True).to(dtype)
    inputs = torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
    results = []
    for read in (fast.read_sentences, packed):
        states, state = read(layer, inputs, torch.tensor([6, 2, 1, 4]))
        final = [part for part in state if part is not None]
        gradients = torch.autograd.grad(weighted(states, *final), [inputs, *layer.parameters()])
        results.append((states, *final, *gradients))
    assert_equal(*results)


def test_unpacked_reading_drops_between_layers_in_training_only():
    layer = nn.GRU(5, 7, 2, dropout=0.5, batch_first=True)
    inputs, lengths = torch.randn(4, 6, 5), torch.tensor([6, 2, 1, 4])
    first, second = (fast.read_sentences(layer, inputs, lengths)[0] for _ in range(2))
    assert not torch.equal(first, second)
    layer.eval()
    assert_equal(fast.read_sentences(layer, inputs, lengths)[0], packed(layer, inputs, lengths)[0])


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_unpacked_reading_ignores_what_lies_in_the_padding(cell):
    layer = cell(5, 7, bidirectional=True, batch_first=True)
    inputs, lengths = torch.randn(2, 6, 5), torch.tensor([6, 3])
    states, final = fast.read_sentences(layer, inputs, lengths)
    inputs[1, 3:] = 1000
    again, final_again = fast.read_sentences(layer, inputs, lengths)
    assert torch.equal(again, states)
    for one, other in zip(final_again.parts, final.parts, strict=True):
        assert torch.equal(one, other)
    assert not again[1, 3:].any()


# --- an LSTM, step by step ------------------------------------------------------------------------


def plain_steps(layer, words):
    with as_written():
        return recur_step_by_step(layer, words)


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
    for kind in (_LSTMSteps, plain_steps):
        step, state, outputs = kind(layer, words), RecurrentState(*start), []
        for other in others:
            output, state = step(other + torch.tanh(state.hidden[0] @ look), state)
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
    for kind in (_LSTMSteps, plain_steps):
        step = kind(layer, words)
        state = RecurrentState(torch.zeros(1, 4, 7), torch.zeros(1, 4, 7))
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
    for objective, nats in (
        output_cross_entropy(output, readouts, answers, smoothing),
        smoothed_cross_entropy(output(readouts), answers, smoothing),
    ):
        assert not nats.requires_grad
        # Scaled, as by a gradient scaler or where losses are added up.
        results.append((objective, nats, *torch.autograd.grad(3 * objective, inputs)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_chunked_cross_entropy_without_gradients():
    with torch.no_grad():
        found = output_cross_entropy(
            nn.Linear(WIDTH, WORDS), torch.randn(TARGET, WIDTH), torch.tensor([0, 16, 5, 5, 2]), 0.1
        )
    assert not any(loss.requires_grad for loss in found)


def test_chunked_cross_entropy_of_huge_logits_is_finite():
    readouts, output = torch.full((2, 1), 1e4, requires_grad=True), nn.Linear(1, 3)
    output.weight.data = torch.tensor([[1.0], [-1.0], [0.0]])
    output.bias.data.zero_()
    objective, _ = output_cross_entropy(output, readouts, torch.tensor([0, 0]))
    assert objective == 0
    objective.backward()
    assert readouts.grad is not None
    assert torch.isfinite(readouts.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("readable", [True, False])
def test_cross_entropy_of_16_bits_is_summed_in_32(dtype, readable):
    """Of 4,000 tokens, whose sum a number of 16 bits cannot hold to three digits, or at all."""
    torch.manual_seed(0)
    output, readouts = nn.Linear(WIDTH, 1000), torch.randn(4000, WIDTH)
    targets = torch.randint(1000, (4000,))
    with as_written():
        _, right = losses.output_cross_entropy(output, readouts, targets, 0.1)
        function = losses.output_cross_entropy if readable else fast.output_cross_entropy
        objective, nats = function(output.to(dtype), readouts.to(dtype), targets, 0.1)
    assert nats.dtype == torch.float32
    assert float(nats) == pytest.approx(float(right), rel=1e-3)
    assert float(objective) == pytest.approx(float(right) / 4000, rel=0.02)


# --- scores that are scaled before or after the product -------------------------------------------


@pytest.mark.parametrize("source", [3, WIDTH, 20])
def test_scaled_scores_are_the_same_scaled_before_or_after(source):
    torch.manual_seed(0)
    inputs = some(2, BATCH, TARGET, WIDTH), some(2, BATCH, source, WIDTH)
    expected = torch.einsum("abtw,absw->abts", *inputs) / WIDTH**0.5
    for context in (nullcontext(), as_written()):
        with context:
            found = scores.scaled_dot_scores(*inputs)
        torch.testing.assert_close(found, expected)
        for one, other in zip(
            torch.autograd.grad(weighted(found), inputs),
            torch.autograd.grad(weighted(expected), inputs, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scaled_scores_of_16_bits_do_not_overflow(dtype):
    queries = torch.full((1, 1, 64), 60.0).to(dtype)
    keys = torch.full((1, 2, 64), 60.0).to(dtype)
    assert torch.isfinite(scores.scaled_dot_scores(queries, keys)).all()
    with pytest.raises(Unsuitable):
        fast.scaled_dot_scores(queries, keys)


# --- weights where every row sees something -------------------------------------------------------


def test_weights_of_rows_that_all_see_something():
    torch.manual_seed(0)
    found = some(BATCH, TARGET, SOURCE)
    mask = torch.rand(BATCH, 1, SOURCE) < 0.7
    mask[..., 2] = True
    results = []
    for context in (nullcontext(), as_written()):
        with context:
            weights = attention.masked_softmax(found, mask)
        results.append((weights, *torch.autograd.grad(weighted(weights), [found])))
    assert_equal(*results)
    assert torch.equal(fast.softmax_or_zeros(attention.forbid(found, mask), mask), results[0][0])


def test_a_row_that_sees_nothing_is_left_to_the_readable_function():
    mask = torch.ones(BATCH, 1, SOURCE, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(Unsuitable):
        fast.softmax_or_zeros(some(BATCH, TARGET, SOURCE), mask)


def test_attention_can_be_vectorised():
    torch.manual_seed(0)
    queries, keys = some(BATCH, TARGET, WIDTH), some(BATCH, SOURCE, WIDTH)
    mask = torch.arange(SOURCE) < torch.tensor([[0], [3], [SOURCE]])
    one_by_one = torch.func.vmap(lambda *given: attention.attend(*given).context)
    found = one_by_one(queries, keys, keys, mask)
    torch.testing.assert_close(
        found, attention.attend(queries, keys, keys, mask.unsqueeze(1)).context
    )


# --- scores, and a linear layer, step by step -----------------------------------------------------


def test_additive_steps_equal_plain_scores():
    """With queries that depend on the scores before, as a decoder's do."""
    torch.manual_seed(0)
    inputs = some(WIDTH, HIDDEN), some(BATCH, SOURCE, WIDTH), some(WIDTH), some(BATCH, 1, HIDDEN)
    look = torch.randn(SOURCE, HIDDEN, dtype=torch.float64)
    results = []
    for quick in (True, False):
        weight, keys, v, query = inputs
        steps = _AdditiveSteps(weight, keys, v, TARGET)
        found = []
        for _ in range(TARGET):
            found.append(steps(query) if quick else readable_scores(query @ weight.T, keys, v))
            query = query + torch.tanh(found[-1] @ look)
        gradients = torch.autograd.grad(weighted(torch.cat(found, dim=1)), inputs)
        results.append((torch.cat(found, dim=1), *gradients))
    assert_equal(*results)


def test_additive_steps_need_not_all_be_taken_or_count():
    torch.manual_seed(0)
    weight, keys, v = some(WIDTH, HIDDEN), some(BATCH, SOURCE, WIDTH), some(WIDTH)
    queries = some(3, BATCH, 1, HIDDEN)
    results = []
    for quick in (True, False):
        steps = _AdditiveSteps(weight, keys, v, TARGET)
        found = [
            steps(query) if quick else readable_scores(query @ weight.T, keys, v)
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
    for quick in (True, False):
        apply = _LinearSteps(layer, BATCH, TARGET) if quick else layer
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
    output, found = fast.recur(layer, inputs, RecurrentState(*state))
    assert_equal((output[:, 0], *found), (expected[0][0], *expected))


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


@pytest.mark.parametrize("kind", [_AdditiveSteps, _LinearSteps, _LSTMSteps])
def test_a_graph_may_be_gone_through_again(kind):
    """Twice the same way, and once through a part that leaves out the weights."""
    torch.manual_seed(0)
    keys, query = some(BATCH, SOURCE, WIDTH), some(BATCH, 1, WIDTH)
    if kind is _AdditiveSteps:
        weights = [some(WIDTH, WIDTH), some(WIDTH)]
        additive = _AdditiveSteps(weights[0], keys, weights[1], TARGET)
        found = [additive(query) for _ in range(TARGET)]
    elif kind is _LinearSteps:
        layer = nn.Linear(WIDTH, WIDTH).double()
        weights = list(layer.parameters())
        linear = _LinearSteps(layer, BATCH, TARGET)
        found = [linear(query) for _ in range(TARGET)]
    else:
        cell = nn.LSTM(2 * WIDTH, WIDTH, batch_first=True).double()
        weights = list(cell.parameters())
        lstm, state = _LSTMSteps(cell, keys), RecurrentState(*query.new_zeros(2, 1, BATCH, WIDTH))
        found = []
        for _ in range(TARGET):
            output, state = lstm(query[:, 0], state)
            found.append(output)
    loss = weighted(torch.cat(found, dim=1))
    first = torch.autograd.grad(loss, [*weights, query], retain_graph=True)
    torch.autograd.grad(found[1].sum(), [query], retain_graph=True)
    assert_equal(torch.autograd.grad(loss, [*weights, query], retain_graph=True), first)
    assert_equal(torch.autograd.grad(2 * loss, weights), [2 * one for one in first[:-1]])


def attending(score, **changes):
    """The attention for several steps of a sentence each, of a score."""
    given = {"rows": BATCH, "steps": TARGET, **changes}
    keys = score.project_keys(some(BATCH, SOURCE, HIDDEN))
    return fast.attend_step_by_step(Attention(score), keys, given["rows"], given["steps"])


def additive():
    return AdditiveScore(WIDTH, HIDDEN, WIDTH).double()


def test_gradients_are_noted_only_where_there_are_several_of_them_in_full_precision():
    assert callable(attending(additive()))
    assert callable(attending(ConcatScore(WIDTH, HIDDEN, WIDTH).double()))
    for score, changes in (
        (additive(), {"steps": 1}),
        (additive(), {"rows": 2 * BATCH}),  # a beam
        (DotScore(), {}),
    ):
        with pytest.raises(Unsuitable):
            attending(score, **changes)
    with torch.no_grad(), pytest.raises(Unsuitable):
        attending(additive())
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(Unsuitable):
        attending(additive())
    linear = nn.Linear(WIDTH, WIDTH)
    assert isinstance(fast.linear_step_by_step(linear, BATCH, TARGET), _LinearSteps)
    with pytest.raises(Unsuitable):
        fast.linear_step_by_step(linear, BATCH, 1)


@pytest.mark.parametrize("kind", [AdditiveScore, ConcatScore])
def test_step_by_step_the_scores_and_gradients_are_the_same(kind):
    score = kind(WIDTH, HIDDEN, WIDTH).double()
    queries, states = some(BATCH, TARGET, WIDTH), some(BATCH, SOURCE, HIDDEN)
    mask = torch.ones(BATCH, 1, SOURCE, dtype=torch.bool)
    results = []
    for quick in (True, False):
        attention, projected = Attention(score), score.project_keys(states)
        with nullcontext() if quick else as_written():
            attend = decoders.attend_step_by_step(attention, projected, BATCH, TARGET)
        found = [attend(query, states, states, mask).context for query in queries.split(1, dim=1)]
        loss = weighted(torch.cat(found, dim=1))
        gradients = torch.autograd.grad(loss, [queries, states, *score.parameters()])
        results.append((torch.cat(found, dim=1), *gradients))
    assert_equal(*results)
