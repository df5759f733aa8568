"""The cells equal their equations by hand, torch's cells, and their own finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnbook.recurrent import (
    ChoGRUCell,
    GRUCell,
    GRUStep,
    LSTMCell,
    LSTMStep,
    RNNCell,
    RNNStep,
    state_jacobians,
    unroll,
)

# A distinct prime for each dimension: a transposed axis cannot pass.
BATCH, TIME, INPUT, HIDDEN = 2, 7, 3, 5
CELLS = [RNNCell, GRUCell, ChoGRUCell, LSTMCell]
WITH_TORCH = [(RNNCell, nn.RNN), (GRUCell, nn.GRU), (LSTMCell, nn.LSTM)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.fixture(autouse=True)
def _doubles():
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def some_state(cell, batch=BATCH):
    return tuple(torch.randn(batch, HIDDEN) for _ in cell.state_names)


# --- by hand -------------------------------------------------------------------------------------


def fill(cell, ih, hh, bias):
    """One unit, one input: each gate has one input weight, one recurrent weight, one bias."""
    with torch.no_grad():
        cell.weight_ih[:] = torch.tensor(ih).unsqueeze(1)
        cell.weight_hh[:] = torch.tensor(hh).unsqueeze(1)
        cell.bias_ih[:] = torch.tensor(bias)
        cell.bias_hh.zero_()


def test_rnn_by_hand():
    cell = RNNCell(1, 1)
    fill(cell, [2.0], [0.5], [0.25])
    step = cell(torch.tensor([[1.0]]), (torch.tensor([[-0.5]]),))
    assert isinstance(step, RNNStep)
    assert step.hidden.item() == pytest.approx(math.tanh(2.0 - 0.25 + 0.25))
    assert step.state == (step.hidden,)


def test_gru_by_hand():
    cell = GRUCell(1, 1)
    fill(cell, [0.0, 1.0, 2.0], [1.0, 0.0, 4.0], [0.0, 0.5, -1.0])
    step = cell(torch.tensor([[1.0]]), (torch.tensor([[0.5]]),))
    r, z = sigmoid(0.5), sigmoid(1.5)
    n = math.tanh(2.0 - 1.0 + r * 4.0 * 0.5)
    assert isinstance(step, GRUStep)
    assert step.reset.item() == pytest.approx(r)
    assert step.update.item() == pytest.approx(z)
    assert step.candidate.item() == pytest.approx(n)
    assert step.hidden.item() == pytest.approx((1 - z) * n + z * 0.5)


def test_lstm_by_hand():
    cell = LSTMCell(1, 1)
    fill(cell, [1.0, 0.0, 2.0, -1.0], [0.0, 2.0, 1.0, 0.0], [0.5, 0.0, 0.0, 1.0])
    step = cell(torch.tensor([[1.0]]), (torch.tensor([[0.5]]), torch.tensor([[-2.0]])))
    i, f, g, o = sigmoid(1.5), sigmoid(1.0), math.tanh(2.5), sigmoid(0.0)
    c = f * -2.0 + i * g
    assert isinstance(step, LSTMStep)
    for name, value in [
        ("input_gate", i),
        ("forget_gate", f),
        ("candidate", g),
        ("output_gate", o),
        ("cell", c),
        ("hidden", o * math.tanh(c)),
    ]:
        assert getattr(step, name).item() == pytest.approx(value), name
    assert step.state == (step.hidden, step.cell)


SWAP = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
WORD = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
OLD = torch.tensor([[0.5, -0.5]], dtype=torch.float64)


def page_cell(kind, candidate, biases):
    """A cell of two units whose candidate mixes word and state, and whose gates are biases."""
    cell = kind(2, 2)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        rows = slice(2 * candidate, 2 * candidate + 2)
        cell.weight_ih[rows] = torch.eye(2)
        cell.weight_hh[rows] = SWAP
        cell.bias_ih[:] = torch.tensor(biases)
    return cell


def rounded(values):
    return [round(value, 2) for value in values[0].tolist()]


def test_the_worked_step_of_the_page():
    """The numbers that chapter 2 prints."""
    assert rounded(page_cell(RNNCell, 0, [0.0, 0])(WORD, (OLD,)).hidden) == [0.46, -0.46]

    step = page_cell(GRUCell, 2, [2.0, -2, 2, 0, 0, 0])(WORD, (OLD,))
    assert rounded(step.reset) == [0.88, 0.12]
    assert rounded(step.update) == [0.88, 0.5]
    assert rounded(step.candidate) == [0.51, -0.06]
    assert rounded(step.hidden) == [0.5, -0.28]

    memory = torch.tensor([[1.0, -1.0]])
    step = page_cell(LSTMCell, 2, [2.0, -2, -2, 2, 0, 0, 2, 0])(WORD, (OLD, memory))
    assert rounded(step.input_gate) == [0.88, 0.12]
    assert rounded(step.forget_gate) == [0.12, 0.88]
    assert rounded(step.candidate) == [0.46, -0.46]
    assert rounded(step.output_gate) == [0.88, 0.5]
    assert rounded(step.cell) == [0.53, -0.94]
    assert rounded(step.hidden) == [0.42, -0.37]


# --- equal to torch ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "theirs"), WITH_TORCH)
def test_equals_torch_forward_and_backward(kind, theirs):
    reference = theirs(INPUT, HIDDEN, batch_first=True)
    cell = kind(INPUT, HIDDEN)
    cell.copy_weights(reference)
    words = torch.randn(BATCH, TIME, INPUT)
    start = some_state(cell)
    weights = torch.randn(BATCH, TIME, HIDDEN)  # a loss that treats every output differently

    results = []
    for run in ("mine", "theirs"):
        inputs = words.clone().requires_grad_()
        state = tuple(part.clone().requires_grad_() for part in start)
        if run == "mine":
            steps, last = unroll(cell, inputs, state)
            outputs, parameters = steps.hidden, dict(cell.named_parameters())
        else:
            first = tuple(part.unsqueeze(0) for part in state)
            outputs, final = reference(inputs, first if len(first) == 2 else first[0])
            last = tuple(part[0] for part in (final if isinstance(final, tuple) else (final,)))
            parameters = {name.removesuffix("_l0"): p for name, p in reference.named_parameters()}
        loss = (outputs * weights).sum() + sum((part**2).sum() for part in last)
        names = sorted(parameters)
        gradients = torch.autograd.grad(loss, [inputs, *state, *(parameters[n] for n in names)])
        results.append((outputs, last, names, gradients))
    mine, torchs = results
    assert mine[2] == torchs[2]
    torch.testing.assert_close(mine[0], torchs[0])
    torch.testing.assert_close(mine[1], torchs[1])
    torch.testing.assert_close(mine[3], torchs[3])


@pytest.mark.parametrize(
    ("kind", "theirs"), [(RNNCell, nn.RNNCell), (GRUCell, nn.GRUCell), (LSTMCell, nn.LSTMCell)]
)
def test_copies_from_the_single_step_modules(kind, theirs):
    reference, cell = theirs(INPUT, HIDDEN), kind(INPUT, HIDDEN)
    cell.copy_weights(reference)
    inputs, state = torch.randn(BATCH, INPUT), some_state(cell)
    expected = reference(inputs, state if len(state) == 2 else state[0])
    expected = expected if isinstance(expected, tuple) else (expected,)
    torch.testing.assert_close(cell(inputs, state).state, expected)


def test_copies_one_layer_and_direction():
    reference = nn.LSTM(INPUT, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
    words = torch.randn(BATCH, TIME, INPUT)
    outputs, _ = reference(words)
    layers = [(LSTMCell(INPUT, HIDDEN), LSTMCell(INPUT, HIDDEN))]
    layers += [(LSTMCell(2 * HIDDEN, HIDDEN), LSTMCell(2 * HIDDEN, HIDDEN))]
    mine = words
    for layer, (forwards, backwards) in enumerate(layers):
        forwards.copy_weights(reference, layer=layer)
        backwards.copy_weights(reference, layer=layer, reverse=True)
        left, _ = unroll(forwards, mine)
        right, _ = unroll(backwards, mine.flip(1))
        mine = torch.cat([left.hidden, right.hidden.flip(1)], dim=-1)
    torch.testing.assert_close(mine, outputs)


@pytest.mark.parametrize(("kind", "theirs"), WITH_TORCH)
def test_starts_like_torch(kind, theirs):
    """Same initial distribution: the bound is kept and nearly reached."""
    cell, bound = kind(11, 64), 1 / 8
    for parameter in cell.parameters():
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.9 * bound
    shapes = {n: p.shape for n, p in cell.named_parameters()}
    assert shapes == {n.removesuffix("_l0"): p.shape for n, p in theirs(11, 64).named_parameters()}


# --- the two GRUs --------------------------------------------------------------------------------


def pair_of_grus():
    mine, cho = GRUCell(INPUT, HIDDEN), ChoGRUCell(INPUT, HIDDEN)
    cho.load_state_dict(mine.state_dict())
    return mine, cho


def test_cho_by_hand():
    """Two units; the reset gate acts on the state before the matrix that swaps the units."""
    cell = ChoGRUCell(1, 2)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[:2] = torch.tensor([100.0, -100.0])  # reset: (1, 0)
        cell.bias_ih[2:4] = -100.0  # update: keep nothing
        cell.weight_hh[4:] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    step = cell(torch.zeros(1, 1), (torch.tensor([[0.5, 0.25]]),))
    torch.testing.assert_close(step.hidden, torch.tensor([[0.0, math.tanh(0.5)]]))
    # Torch's variant resets what arrives instead: the other unit goes silent.
    other = GRUCell(1, 2)
    other.load_state_dict(cell.state_dict())
    step = other(torch.zeros(1, 1), (torch.tensor([[0.5, 0.25]]),))
    torch.testing.assert_close(step.hidden, torch.tensor([[math.tanh(0.25), 0.0]]))


def test_the_two_grus_differ_in_general():
    mine, cho = pair_of_grus()
    inputs, state = torch.randn(BATCH, INPUT), some_state(mine)
    one, other = mine(inputs, state), cho(inputs, state)
    torch.testing.assert_close(one.reset, other.reset)
    torch.testing.assert_close(one.update, other.update)
    assert (one.candidate - other.candidate).abs().max() > 1e-3


def test_the_two_grus_agree_on_a_diagonal_or_an_open_reset():
    inputs = torch.randn(BATCH, INPUT)
    mine, cho = pair_of_grus()
    with torch.no_grad():
        for cell in (mine, cho):
            cell.weight_hh[2 * HIDDEN :] = torch.diag(torch.arange(1.0, HIDDEN + 1))
            cell.bias_hh[2 * HIDDEN :] = 0
    state = some_state(mine)
    torch.testing.assert_close(mine(inputs, state), cho(inputs, state))
    mine, cho = pair_of_grus()
    with torch.no_grad():
        for cell in (mine, cho):
            cell.bias_ih[:HIDDEN] = 1e3
    torch.testing.assert_close(mine(inputs, state), cho(inputs, state))


# --- what the gates promise ----------------------------------------------------------------------


def test_closed_gates_keep_the_memory_to_the_last_digit():
    lstm = LSTMCell(INPUT, HIDDEN)
    gru = GRUCell(INPUT, HIDDEN)
    with torch.no_grad():
        lstm.bias_ih[:HIDDEN] = -1e4  # write nothing
        lstm.bias_ih[HIDDEN : 2 * HIDDEN] = 1e4  # forget nothing
        gru.bias_ih[HIDDEN : 2 * HIDDEN] = 1e4  # keep everything
    words = torch.randn(BATCH, 101, INPUT)
    state = some_state(lstm)
    assert torch.equal(unroll(lstm, words, state)[1][1], state[1])
    assert torch.equal(unroll(gru, words, state[:1])[1][0], state[0])


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.0, 30.0))
def test_gates_stay_in_range_and_the_gru_blends(seed, scale):
    torch.manual_seed(seed)
    words = scale * torch.randn(BATCH, TIME, INPUT)
    for kind in (GRUCell, ChoGRUCell):
        steps, _ = unroll(kind(INPUT, HIDDEN), words)
        for gate in (steps.reset, steps.update):
            assert gate.min() >= 0
            assert gate.max() <= 1
        assert steps.hidden.abs().max() <= 1
        old = torch.cat([torch.zeros(BATCH, 1, HIDDEN), steps.hidden[:, :-1]], dim=1)
        low, high = torch.minimum(old, steps.candidate), torch.maximum(old, steps.candidate)
        assert ((steps.hidden >= low - 1e-12) & (steps.hidden <= high + 1e-12)).all()
    lstm, _ = unroll(LSTMCell(INPUT, HIDDEN), words)
    for gate in (lstm.input_gate, lstm.forget_gate, lstm.output_gate):
        assert gate.min() >= 0
        assert gate.max() <= 1
    assert lstm.hidden.abs().max() <= 1
    # The memory, unlike the output, is not bounded by 1; it grows by at most 1 a step.
    assert (lstm.cell.abs().amax(dim=(0, 2)) <= torch.arange(1, TIME + 1) + 1e-12).all()


def test_forget_bias():
    cell = LSTMCell(INPUT, HIDDEN, forget_bias=3.0)
    bias = (cell.bias_ih + cell.bias_hh).view(4, HIDDEN)
    assert torch.equal(bias[1], torch.full((HIDDEN,), 3.0))
    assert bias[[0, 2, 3]].abs().max() <= 2 / math.sqrt(HIDDEN)


# --- unroll --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
def test_unroll_is_the_cell_step_by_step(kind):
    cell = kind(INPUT, HIDDEN)
    words, state = torch.randn(BATCH, TIME, INPUT), some_state(cell)
    steps, last = unroll(cell, words, state)
    assert all(values.shape == (BATCH, TIME, HIDDEN) for values in steps)
    for time in range(TIME):
        step = cell(words[:, time], state)
        state = step.state
        for name in step._fields:
            assert torch.equal(getattr(step, name), getattr(steps, name)[:, time])
    for mine, theirs in zip(last, state, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", CELLS)
def test_the_future_does_not_reach_back_and_sentences_do_not_mix(kind):
    cell = kind(INPUT, HIDDEN)
    words = torch.randn(BATCH, TIME, INPUT)
    steps, _ = unroll(cell, words)
    later = words.clone()
    later[0, 4] += 1
    changed, _ = unroll(cell, later)
    assert torch.equal(changed.hidden[0, :4], steps.hidden[0, :4])
    assert not torch.equal(changed.hidden[0, 4:], steps.hidden[0, 4:])
    assert torch.equal(changed.hidden[1], steps.hidden[1])


@pytest.mark.parametrize("kind", CELLS)
def test_starts_from_zeros_in_the_dtype_of_the_weights(kind):
    cell = kind(INPUT, HIDDEN).to(torch.float32)
    words = torch.randn(BATCH, TIME, INPUT, dtype=torch.float32)
    zeros = tuple(torch.zeros(BATCH, HIDDEN, dtype=torch.float32) for _ in cell.state_names)
    assert torch.equal(unroll(cell, words)[0].hidden, unroll(cell, words, zeros)[0].hidden)
    assert unroll(cell, words)[0].hidden.dtype == torch.float32


@pytest.mark.parametrize("kind", CELLS)
def test_gradcheck(kind):
    cell = kind(INPUT, HIDDEN)
    names = [name for name, _ in cell.named_parameters()]

    def run(inputs, *rest):
        parts = len(cell.state_names)
        parameters = dict(zip(names, rest[parts:], strict=True))
        step = torch.func.functional_call(cell, parameters, (inputs, rest[:parts]))
        return tuple(step)

    arguments = [torch.randn(BATCH, INPUT), *some_state(cell), *cell.parameters()]
    arguments = [a.detach().clone().requires_grad_() for a in arguments]
    assert torch.autograd.gradcheck(run, arguments)


# --- Jacobians -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
def test_jacobians_equal_autograd_through_the_whole_sequence(kind):
    cell = kind(INPUT, HIDDEN)
    words, state = torch.randn(TIME, INPUT), some_state(cell, batch=1)
    size = HIDDEN * len(state)
    jacobians = state_jacobians(cell, words, state)
    assert jacobians.shape == (TIME + 1, size, size)
    assert torch.equal(jacobians[-1], torch.eye(size))

    for moment in (0, 3):
        start = state if moment == 0 else unroll(cell, words[None, :moment], state)[1]

        def last(flat, moment=moment):
            parts = flat.unsqueeze(0).chunk(len(cell.state_names), dim=-1)
            _, end = unroll(cell, words[None, moment:], parts)
            return torch.cat(end, dim=-1).squeeze(0)

        flat = torch.cat(start, dim=-1).squeeze(0).detach()
        expected = torch.autograd.functional.jacobian(last, flat)
        torch.testing.assert_close(jacobians[moment], expected)


def test_jacobian_by_hand():
    """One unit without input: d tanh(w h)/dh = w (1 - tanh(w h)^2), multiplied along time."""
    cell = RNNCell(1, 1)
    fill(cell, [0.0], [0.5], [0.0])
    start = 0.8
    first = math.tanh(0.5 * start)
    second = math.tanh(0.5 * first)
    jacobians = state_jacobians(cell, torch.zeros(2, 1), (torch.tensor([[start]]),)).flatten()
    late = 0.5 * (1 - second**2)
    expected = torch.tensor([late * 0.5 * (1 - first**2), late, 1.0])
    torch.testing.assert_close(jacobians, expected)


def test_jacobian_of_a_sealed_memory_is_the_identity():
    cell = LSTMCell(INPUT, HIDDEN)
    with torch.no_grad():
        cell.bias_ih[:HIDDEN] = -1e4
        cell.bias_ih[HIDDEN : 2 * HIDDEN] = 1e4
    jacobians = state_jacobians(cell, torch.randn(101, INPUT))
    torch.testing.assert_close(jacobians[0, HIDDEN:, HIDDEN:], torch.eye(HIDDEN))


def test_jacobians_leave_no_graph_behind():
    cell = GRUCell(INPUT, HIDDEN)
    assert not state_jacobians(cell, torch.randn(TIME, INPUT)).requires_grad


# --- refused input -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("sizes", "name"), [((0, 5), "input_size"), ((3, 2.0), "hidden_size")])
def test_refuses_sizes(kind, sizes, name, as_user):
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer"):
        kind(*sizes)


@pytest.mark.parametrize("kind", CELLS)
def test_refuses_token_ids_and_whole_sequences(kind, as_user):
    cell = kind(INPUT, HIDDEN)
    with pytest.raises(ValueError, match=r"nn\.Embedding first"):
        cell(torch.ones(BATCH, INPUT, dtype=torch.long))
    with pytest.raises(ValueError, match="for a whole sequence use unroll"):
        cell(torch.randn(BATCH, TIME, INPUT))
    with pytest.raises(
        ValueError, match=r"\(batch, time, 3\) with at least one step, got \(7, 3\)"
    ):
        unroll(cell, torch.randn(TIME, INPUT))
    with pytest.raises(ValueError, match=r"one sequence, \(time, 3\), got \(2, 7, 3\)"):
        state_jacobians(cell, torch.randn(BATCH, TIME, INPUT))
    with pytest.raises(ValueError, match=r"tuple of .* got Tensor"):
        cell(torch.randn(BATCH, INPUT), torch.zeros(BATCH, HIDDEN))


@pytest.mark.parametrize("kind", CELLS)
def test_refuses_inputs_of_another_width(kind):
    cell = kind(INPUT, HIDDEN)
    with pytest.raises(ValueError, match=r"inputs: .*\(batch, 3\), got \(2, 11\)"):
        cell(torch.randn(BATCH, 11))
    with pytest.raises(ValueError, match=r"inputs: .*\(batch, 3\), got \(2, 11\)"):
        unroll(cell, torch.randn(BATCH, TIME, 11))


@pytest.mark.parametrize("kind", CELLS)
def test_refuses_states_that_do_not_fit(kind):
    cell = kind(INPUT, HIDDEN)
    words = torch.randn(BATCH, INPUT)
    state = some_state(cell)
    with pytest.raises(ValueError, match=r"state, hidden: .*\(2, 5\), got \(11, 5\)"):
        cell(words, (torch.zeros(11, HIDDEN), *state[1:]))
    with pytest.raises(ValueError, match=rf"state: {kind.__name__} takes .* got 3 parts"):
        cell(words, (state[0],) * 3)


def test_refuses_an_output_where_output_and_memory_are_needed():
    cell = LSTMCell(INPUT, HIDDEN)
    state = some_state(cell)
    with pytest.raises(ValueError, match=r"\(hidden, cell\), got 1 parts"):
        cell(torch.randn(BATCH, INPUT), state[:1])
    with pytest.raises(ValueError, match=r"state, cell"):
        cell(torch.randn(BATCH, INPUT), (state[0], state[1][:, :2]))


@pytest.mark.parametrize("kind", CELLS)
def test_refuses_a_sequence_without_steps(kind):
    cell = kind(INPUT, HIDDEN)
    with pytest.raises(ValueError, match="at least one step"):
        unroll(cell, torch.randn(BATCH, 0, INPUT))
    with pytest.raises(ValueError, match="one sequence"):
        state_jacobians(cell, torch.randn(0, INPUT))


def test_refuses_modules_of_another_kind():
    cell = LSTMCell(INPUT, HIDDEN)
    before = {name: p.clone() for name, p in cell.named_parameters()}
    for module, message in [
        (nn.GRU(INPUT, HIDDEN), "nn.LSTM or nn.LSTMCell, not of GRU"),
        (nn.LSTM(INPUT, HIDDEN, bias=False), "no parameter 'bias_ih_l0'"),
        (nn.LSTM(11, HIDDEN), r"weight_ih_l0 is \(20, 11\), here \(20, 3\)"),
        (nn.LSTMCell(INPUT, 11), r"weight_ih is \(44, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            cell.copy_weights(module)
    with pytest.raises(ValueError, match="no parameter 'weight_ih_l1'"):
        cell.copy_weights(nn.LSTM(INPUT, HIDDEN), layer=1)
    with pytest.raises(ValueError, match="'relu', here it is tanh"):
        RNNCell(INPUT, HIDDEN).copy_weights(nn.RNN(INPUT, HIDDEN, nonlinearity="relu"))
    with pytest.raises(ValueError, match="nothing, not of GRU"):
        ChoGRUCell(INPUT, HIDDEN).copy_weights(nn.GRU(INPUT, HIDDEN))
    for name, parameter in cell.named_parameters():
        assert torch.equal(parameter, before[name]), "a refused copy must change nothing"


def test_refuses_a_projected_lstm():
    # A projection shortens the recurrent rows, and so cannot slip through.
    module = nn.LSTM(INPUT, HIDDEN, proj_size=HIDDEN - 1)
    with pytest.raises(ValueError, match="weight_hh_l0"):
        LSTMCell(INPUT, HIDDEN).copy_weights(module)


def test_says_its_sizes():
    assert repr(LSTMCell(INPUT, HIDDEN)) == "LSTMCell(3, 5)"
