"""The same numbers in less time and memory.

Each public function here takes the place of the readable one of the same name, by
:mod:`attnbook.seam`, and targets ``NotImplemented`` for a case that it does not know:

================================  ==============================================================
:func:`additive_scores`           :func:`attnbook.scores.additive_scores`
:func:`attend_step_by_step`       :func:`attnbook.decoders.attend_step_by_step`
:func:`linear_step_by_step`       :func:`attnbook.decoders.linear_step_by_step`
:func:`recur`                     :func:`attnbook.decoders.recur`
:func:`recur_step_by_step`        :func:`attnbook.decoders.recur_step_by_step`
:func:`read_sentences`            :func:`attnbook.encoder.read_sentences`
:func:`log_normalisers`           :func:`attnbook.decoding.log_normalisers`
:func:`largest`                   :func:`attnbook.decoding.largest`
:func:`output_cross_entropy`      :func:`attnbook.losses.output_cross_entropy`
:func:`scaled_dot_scores`         :func:`attnbook.scores.scaled_dot_scores`
:func:`softmax_or_zeros`          :func:`attnbook.attention.softmax_or_zeros`
================================  ==============================================================

Scores and cross-entropy avoid one tensor that is much larger than all others and is written to
memory only to be read back once or twice: all pairs of a target and a source word, and all logits.
They go through it a block at a time, and a block stays in the processor's cache. What the backward
pass needs of it is computed once more (Chen et al. 2016, "Training deep nets with sublinear memory
cost"), or before it is thrown away. What goes step by step notes what it reads, so that the
gradient of a weight is one product at the end in place of one at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Any, TypeGuard

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from attnbook.attention import Attention, AttentionOutput
from attnbook.encoder import RecurrentState
from attnbook.scores import AdditiveScore, ConcatScore, check_widths
from attnbook.seam import Unsuitable

__all__ = [
    "additive_scores",
    "attend_step_by_step",
    "largest",
    "linear_step_by_step",
    "log_normalisers",
    "output_cross_entropy",
    "read_sentences",
    "recur",
    "recur_step_by_step",
    "scaled_dot_scores",
    "softmax_or_zeros",
]

# Numbers in one block of pairs, and of logits: on a CPU about what a core's caches hold. A GPU
# wants larger blocks, because starting each one costs it more than memory does.
BLOCK = 1 << 18
LARGE_BLOCK = 1 << 25


def _rows(tensor: Tensor, row: int) -> int:
    """How many rows of so many numbers make a block."""
    return max(1, (BLOCK if tensor.device.type == "cpu" else LARGE_BLOCK) // max(1, row))


# --- additive scores --------------------------------------------------------------------------


def additive_scores(
    queries: Float[Tensor, "*batch target attention_dim"],
    keys: Float[Tensor, "*batch source attention_dim"],
    v: Float[Tensor, " attention_dim"],
) -> Float[Tensor, "*batch target source"]:
    """``vᵀ tanh(q + k)`` for every pair, block by block; queries and keys are projected already."""
    dtype = torch.promote_types(queries.dtype, keys.dtype)
    leading = queries.shape[:-2]
    scores: Tensor = _Recomputed.apply(
        queries.to(dtype).reshape(-1, *queries.shape[-2:]),
        keys.to(dtype).reshape(-1, *keys.shape[-2:]),
        v.to(dtype),
    )
    return scores.reshape(*leading, *scores.shape[1:])


class _Recomputed(torch.autograd.Function):
    """Keeps queries, keys and v for the backward pass, and no pair."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys, v)
        scores = queries.new_empty(len(queries), queries.shape[1], keys.shape[1])
        for block in _blocks(queries, keys):
            scores[:, block] = _tanh(queries[:, block], keys) @ v
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        queries, keys, v = ctx.saved_tensors
        to_queries = torch.empty_like(queries)
        to_keys = torch.zeros_like(keys)
        to_v = torch.zeros_like(v)
        for block in _blocks(queries, keys):
            tanh = _tanh(queries[:, block], keys)
            upstream = gradient[:, block].unsqueeze(-1)
            to_v += (upstream.flatten().unsqueeze(0) @ tanh.flatten(0, 2)).squeeze(0)
            # d tanh(x) / dx = 1 - tanh(x)²; v is multiplied in where the pairs are summed up.
            slope = tanh.square_().neg_().add_(1).mul_(upstream)
            to_queries[:, block] = slope.sum(dim=2)
            to_keys += slope.sum(dim=1)
        return to_queries.mul_(v), to_keys.mul_(v), to_v


def _tanh(queries: Tensor, keys: Tensor) -> Tensor:
    return (queries.unsqueeze(2) + keys.unsqueeze(1)).tanh_()


def _blocks(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Slices of target positions that fit a block together."""
    size = _rows(keys, keys.numel())
    for start in range(0, queries.shape[1], size):
        yield slice(start, start + size)


def attend_step_by_step(
    attention: Attention,
    projected_keys: Float[Tensor, "sentences source projected_dim"],
    rows: int,
    steps: int,
) -> Callable[..., AttentionOutput]:
    """An attention whose additive scores add up their gradients in one place.

    It knows the two additive scores, for training in full precision with one row a sentence.
    """
    score = attention.score
    if (
        type(attention).forward is not Attention.forward  # somebody's own
        or rows != len(projected_keys)
        or not _worthwhile(projected_keys, steps)
    ):
        raise Unsuitable
    match score:
        case AdditiveScore():
            weight = score.query.weight
        case ConcatScore():
            weight = score.both.weight[:, : score.query_dim]
        case _:
            raise Unsuitable
    scores = _AdditiveSteps(weight, projected_keys, score.v, steps)

    def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> AttentionOutput:
        return attention.weighted_sum(scores(queries), values, mask)

    return attend


def _worthwhile(tensor: Tensor, steps: int) -> bool:
    """Whether noting gradients pays off: there are some, in full precision, of several steps."""
    low = torch.is_autocast_enabled(tensor.device.type)
    return torch.is_grad_enabled() and steps > 1 and not low


class _AdditiveSteps:
    """``vᵀ tanh(W s + k)`` of one query s after the other with the same keys k, projected already.

    Where autograd would make a gradient of all keys at every step, and add it to the last one's,
    here the steps add to one; and they only note what they read, so that the gradient of W is one
    product at the end.

    Args:
        weight: ``W``.
        keys: ``(batch, source, attention_dim)``.
        v: the last layer.
        steps: how many queries will come at most.
    """

    def __init__(
        self,
        weight: Float[Tensor, "attention_dim query_dim"],
        keys: Float[Tensor, "batch source attention_dim"],
        v: Float[Tensor, " attention_dim"],
        steps: int,
    ) -> None:
        batch, source, width = keys.shape
        self.read = keys.new_zeros(steps, batch, weight.shape[1])
        self.notes = _Notes(
            keys.new_zeros(steps, batch, width),  # for what was projected, step by step
            torch.zeros_like(keys),
            keys.new_zeros(batch, source),  # for the scores
            torch.zeros_like(v),
        )
        self.parameters = weight.detach(), keys.detach(), v.detach()
        self.begun: Tensor = _BeginPairs.apply(weight, keys, v, self.read, self.notes)
        self.step = 0

    def __call__(
        self, query: Float[Tensor, "batch 1 query_dim"]
    ) -> Float[Tensor, "batch 1 source"]:
        """The scores of the next query."""
        scores: Tensor = _StepPairs.apply(
            self.begun, query[:, 0], *self.parameters, self.read, self.notes, self.step
        )
        self.step += 1
        return scores.unsqueeze(1)


class _Notes:
    """Sums that the steps of one backward pass add to; another pass begins with zeros again.

    A graph can be gone through twice (``retain_graph``), and a pass need not reach the place
    where the sums are collected.
    """

    def __init__(self, *sums: Tensor) -> None:
        self.sums = sums
        self.of = -1

    def of_this_pass(self) -> tuple[Tensor, ...]:
        """The sums, cleared if the last to add to them was another backward pass."""
        current = torch._C._current_graph_task_id()
        if current != self.of:
            for one in self.sums:
                one.zero_()
            self.of = current
        return self.sums


class _BeginPairs(torch.autograd.Function):
    """A number on which every step depends, so that its backward pass comes after all of theirs."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, keys: Tensor, v: Tensor, read: Tensor, notes: _Notes
    ) -> Tensor:
        ctx.save_for_backward(v)
        ctx.read, ctx.notes = read, notes
        return v.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = ctx.saved_tensors
        back, squares, to_scores, to_v = ctx.notes.of_this_pass()
        to_weight = back.flatten(0, 1).T @ ctx.read.flatten(0, 1)
        to_keys = (to_scores.unsqueeze(-1) - squares).mul_(v)
        return to_weight, to_keys, to_v.clone(), None, None


class _StepPairs(torch.autograd.Function):
    """One query; d tanh(x) / dx = 1 - tanh(x)², and v is multiplied in where pairs are summed."""

    @staticmethod
    def forward(
        ctx: Any,
        begun: Tensor,
        query: Tensor,
        weight: Tensor,
        keys: Tensor,
        v: Tensor,
        read: Tensor,
        notes: _Notes,
        step: int,
    ) -> Tensor:
        read[step] = query
        projected = (query @ weight.T).unsqueeze(1)
        ctx.save_for_backward(projected, weight, keys, v)
        ctx.notes, ctx.step = notes, step
        return (keys + projected).tanh_() @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        projected, weight, keys, v = ctx.saved_tensors
        back, squares, to_scores, to_v = ctx.notes.of_this_pass()
        tanh = (keys + projected).tanh_()
        to_v += gradient.flatten() @ tanh.flatten(0, 1)
        squared = tanh.square_()
        squares.addcmul_(squared, gradient.unsqueeze(2))
        to_scores += gradient
        flat = torch.bmm(gradient.unsqueeze(1), squared).squeeze(1)
        to_projected = (gradient.sum(dim=1, keepdim=True) - flat).mul_(v)
        back[ctx.step] += to_projected
        to_query = to_projected @ weight
        return gradient.new_zeros(()), to_query, None, None, None, None, None, None


# --- a linear layer, step by step -------------------------------------------------------------


def linear_step_by_step(
    layer: nn.Linear, rows: int, steps: int
) -> Callable[[Float[Tensor, "rows 1 in_features"]], Float[Tensor, "rows 1 out_features"]]:
    """A linear layer whose gradient is one product at the end, in training in full precision."""
    if layer.bias is None or not _worthwhile(layer.weight, steps):
        raise Unsuitable
    return _LinearSteps(layer, rows, steps)


class _LinearSteps:
    """A linear layer applied to one input after the other, its gradient one product at the end.

    Args:
        layer: with a bias.
        batch: rows of each input.
        steps: how many inputs will come at most.
    """

    def __init__(self, layer: nn.Linear, batch: int, steps: int) -> None:
        weight, bias = layer.weight, layer.bias
        self.read = weight.new_zeros(steps, batch, layer.in_features)
        self.notes = _Notes(weight.new_zeros(steps, batch, layer.out_features))
        self.parameters = weight.detach(), bias.detach()
        self.begun: Tensor = _BeginLinear.apply(weight, bias, self.read, self.notes)
        self.step = 0

    def __call__(
        self, inputs: Float[Tensor, "batch 1 in_features"]
    ) -> Float[Tensor, "batch 1 out_features"]:
        """``W x + b`` of the next input."""
        outputs: Tensor = _StepLinear.apply(
            self.begun, inputs[:, 0], *self.parameters, self.read[self.step], self.notes, self.step
        )
        self.step += 1
        return outputs.unsqueeze(1)


class _BeginLinear(torch.autograd.Function):
    """A number on which every step depends, so that its backward pass comes after all of theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, read: Tensor, notes: _Notes) -> Tensor:
        ctx.read, ctx.notes = read, notes
        return weight.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (told,) = ctx.notes.of_this_pass()
        back = told.flatten(0, 1)
        return back.T @ ctx.read.flatten(0, 1), back.sum(dim=0), None, None


class _StepLinear(torch.autograd.Function):
    """One input."""

    @staticmethod
    def forward(
        ctx: Any,
        begun: Tensor,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        read: Tensor,
        notes: _Notes,
        step: int,
    ) -> Tensor:
        read.copy_(inputs)
        ctx.save_for_backward(weight)
        ctx.notes, ctx.step = notes, step
        return torch.addmm(bias, inputs, weight.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (told,) = ctx.notes.of_this_pass()
        told[ctx.step] += gradients[0]
        return gradients[0].new_zeros(()), gradients[0] @ weight, None, None, None, None, None


# --- sentences of unequal length --------------------------------------------------------------

# Where a gate's sum is shut or opened by this much, the gate is 0 or 1 to the last bit.
SHUT = 1e4


def read_sentences(
    layer: nn.Module,
    inputs: Float[Tensor, "batch source input_dim"],
    lengths: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch source hidden"], RecurrentState]:
    """Run a recurrent layer over padded sentences as if each stood alone, in one call a direction.

    On a CPU, torch steps through a packed batch position by position, and through an unpacked one
    in a single kernel. Forwards there is nothing to pack: padding comes last, and the final hidden
    state is taken where a sentence ends. Backwards is forwards over sentences turned round, each
    within its own length. An LSTM's final cell is not among its outputs; it is carried through the
    padding by one more input, 1 on padding, that shuts the input gate and opens the forget gate.
    """
    if int(lengths.min()) == inputs.shape[1]:  # nothing is padded
        states, final = layer(inputs)
        return states, RecurrentState.of(final)
    if inputs.device.type != "cpu" or not isinstance(layer, nn.RNNBase):
        raise Unsuitable
    count, size, _ = inputs.shape
    lengths = lengths.to(inputs.device).unsqueeze(1)
    positions = torch.arange(size, device=inputs.device)
    real = (positions < lengths).unsqueeze(-1)
    turned = torch.where(positions < lengths, lengths - 1 - positions, positions)
    rows = torch.arange(count, device=inputs.device)
    directions = 2 if layer.bidirectional else 1
    finals: list[tuple[Tensor, ...]] = []
    for depth in range(layer.num_layers):
        read = []
        for direction in range(directions):
            ordered = inputs[rows[:, None], turned] if direction else inputs
            weights = layer.all_weights[depth * directions + direction]
            states, *cells = _run_unpacked(layer, weights, ordered, real)
            finals.append((states[rows, lengths[:, 0] - 1], *cells))
            read.append(states[rows[:, None], turned] if direction else states)
        inputs = torch.cat(read, dim=-1) if directions == 2 else read[0]
        if depth + 1 < layer.num_layers:
            inputs = functional.dropout(inputs, layer.dropout, layer.training)
    last = RecurrentState(*(torch.stack(parts) for parts in zip(*finals, strict=True)))
    return inputs * real, last


def _run_unpacked(
    layer: nn.RNNBase, weights: Sequence[Tensor], inputs: Tensor, real: Tensor
) -> tuple[Tensor, ...]:
    """All states of one layer in one direction, and an LSTM's cell after the last real word."""
    zero = inputs.new_zeros(1, len(inputs), layer.hidden_size)
    from_inputs, *others = weights
    training = layer.training
    if layer.mode == "GRU":
        return torch.gru(inputs, zero, [*weights], True, 1, 0.0, training, False, True)[:1]
    if layer.mode == "RNN_TANH":
        return torch.rnn_tanh(inputs, zero, [*weights], True, 1, 0.0, training, False, True)[:1]
    shut = from_inputs.new_zeros(4, layer.hidden_size)  # torch's order of gates: i, f, g, o
    shut[0], shut[1] = -SHUT, SHUT
    from_inputs = torch.cat([from_inputs, shut.reshape(-1, 1)], dim=1)
    marked = torch.cat([inputs, (~real).to(inputs)], dim=-1)
    states, _, cell = torch.lstm(
        marked, (zero, zero), [from_inputs, *others], True, 1, 0.0, training, False, True
    )
    return states, cell[0]


# --- an LSTM, step by step --------------------------------------------------------------------


def recur_step_by_step(
    layer: nn.Module, words: Float[Tensor, "rows steps embedding_dim"]
) -> Callable[[Tensor, RecurrentState], tuple[Tensor, RecurrentState]]:
    """An LSTM of one layer whose every input is a word beside a vector, in full precision."""
    if not _plain_lstm(layer, words) or words.shape[1] == 1:
        raise Unsuitable
    return _LSTMSteps(layer, words)


def recur(
    layer: nn.Module, inputs: Float[Tensor, "rows target input_dim"], state: RecurrentState
) -> tuple[Float[Tensor, "rows target hidden"], RecurrentState]:
    """One step of an LSTM of one layer without gradients, in full precision."""
    if inputs.shape[1] != 1 or torch.is_grad_enabled() or not _plain_lstm(layer, inputs):
        raise Unsuitable
    assert state.cell is not None
    hidden, cell = _lstm_step(layer, inputs[:, 0], state.hidden[0], state.cell[0])
    return hidden.unsqueeze(1), RecurrentState(hidden.unsqueeze(0), cell.unsqueeze(0))


def _plain_lstm(layer: nn.Module, inputs: Tensor) -> TypeGuard[nn.LSTM]:
    """Whether a layer is an LSTM of one layer in full precision."""
    low = torch.is_autocast_enabled(inputs.device.type)
    return isinstance(layer, nn.LSTM) and layer.num_layers == 1 and not low


class _LSTMSteps:
    """An LSTM whose every input is a word, known beforehand, beside a vector that is not.

    ``W_ih [word; other] = W_word word + W_other other``. The first product is done for all words
    at once. The second is done step by step together with ``W_hh h``; and where autograd would add
    up a weight gradient at every step, here the steps only note what they read, and one product at
    the end is the gradient.

    Args:
        layer: a batch-first LSTM with one layer and one direction.
        words: the first part of every input, ``(batch, steps, embedding_dim)``.
    """

    def __init__(self, layer: nn.LSTM, words: Float[Tensor, "batch steps embedding_dim"]) -> None:
        batch, steps, width = words.shape
        (from_inputs, from_hidden, *biases) = layer.all_weights[0]
        others = layer.input_size - width + layer.hidden_size
        # Zeros, because a step that is never taken has the gradient 0 times what stands here.
        self.read = words.new_zeros(steps, batch, others)
        self.weight = torch.cat([from_inputs[:, width:], from_hidden], dim=1).detach()
        gates: Tensor = _Words.apply(
            words.transpose(0, 1), from_inputs, from_hidden, *biases, self.read
        )
        self.gates = gates.unbind()
        self.step = 0

    def __call__(
        self, other: Float[Tensor, "batch other_dim"], state: RecurrentState
    ) -> tuple[Float[Tensor, "batch 1 hidden"], RecurrentState]:
        """The next step: its output, and the state after it."""
        assert state.cell is not None
        gates, read = self.gates[self.step], self.read[self.step]
        self.step += 1
        hidden, cell = _Step.apply(gates, other, state.hidden[0], state.cell[0], self.weight, read)
        return hidden.unsqueeze(1), RecurrentState(hidden.unsqueeze(0), cell.unsqueeze(0))


class _Words(torch.autograd.Function):
    """The words' part of all gates; and, once all steps have gone back, the weights' gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        words: Tensor,
        from_inputs: Tensor,
        from_hidden: Tensor,
        input_bias: Tensor,
        hidden_bias: Tensor,
        read: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(words, from_inputs)
        ctx.read = read  # filled by the steps that follow
        gates = words @ from_inputs[:, : words.shape[-1]].T
        return gates.add_(input_bias + hidden_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gates = gradients[0].flatten(0, 1)
        words, from_inputs = ctx.saved_tensors
        width = words.shape[-1]
        to_words = (gates @ from_inputs[:, :width]).view_as(words)
        to_weights = gates.T @ torch.cat([words, ctx.read], dim=-1).flatten(0, 1)
        to_inputs, to_hidden = to_weights.split(
            [from_inputs.shape[1], to_weights.shape[1] - from_inputs.shape[1]], dim=1
        )
        to_bias = gates.sum(dim=0)
        return to_words, to_inputs, to_hidden, to_bias, to_bias, None


class _Step(torch.autograd.Function):
    """One LSTM step from its gates' first part (Hochreiter & Schmidhuber 1997; torch's order)."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        other: Tensor,
        hidden: Tensor,
        cell: Tensor,
        weight: Tensor,
        read: Tensor,
    ) -> tuple[Tensor, Tensor]:
        torch.cat([other, hidden], dim=-1, out=read)
        gates = torch.addmm(gates, read, weight.T)
        size = cell.shape[-1]
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        keep_in, keep, new, out = gates.split(size, dim=1)
        after = torch.addcmul(keep * cell, keep_in, new)
        bounded = after.tanh()
        ctx.save_for_backward(gates, cell, bounded, weight)
        ctx.width = other.shape[-1]
        return out * bounded, after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_output, to_after = gradients
        gates, cell, bounded, weight = ctx.saved_tensors
        size = cell.shape[-1]
        keep_in, keep, new, out = gates.split(size, dim=1)
        through = to_output * out
        to_after = to_after + torch.addcmul(through, through * bounded, bounded, value=-1)
        slope = gates - gates * gates  # σ' = σ - σ²
        slope[:, 2 * size : 3 * size] = 1 - new * new
        slope[:, :size] *= to_after * new
        slope[:, size : 2 * size] *= to_after * cell
        slope[:, 2 * size : 3 * size] *= to_after * keep_in
        slope[:, 3 * size :] *= to_output * bounded
        to_read = slope @ weight
        return slope, to_read[:, : ctx.width], to_read[:, ctx.width :], to_after * keep, None, None


def _lstm_step(
    layer: nn.LSTM,
    inputs: Float[Tensor, "batch input_dim"],
    hidden: Float[Tensor, "batch hidden"],
    cell: Float[Tensor, "batch hidden"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """One step of a one-layer LSTM without gradients: the state and the cell after it.

    torch's own call lays the weights out anew for its kernel, which pays off over a whole
    sentence and not over one word.
    """
    from_inputs, from_hidden, *biases = layer.all_weights[0]
    gates = torch.mm(inputs, from_inputs.T).addmm_(hidden, from_hidden.T)
    for bias in biases:
        gates += bias
    size = layer.hidden_size
    gates[:, : 2 * size].sigmoid_()
    gates[:, 2 * size : 3 * size].tanh_()
    gates[:, 3 * size :].sigmoid_()
    keep_in, keep, new, out = gates.split(size, dim=1)
    after = torch.addcmul(keep * cell, keep_in, new)
    return out * after.tanh(), after


# --- the best of many words -------------------------------------------------------------------

GROUP = 128  # neighbouring words that are represented by the largest


def log_normalisers(logits: Float[Tensor, "rows words"]) -> Float[Tensor, " rows"]:
    """``log Σ_w exp(x_w)`` of each row, a block of rows at a time."""
    found = []
    for some in logits.split(_rows(logits, logits.shape[1])):
        most = some.amax(dim=1, keepdim=True)
        found.append((some - most).exp_().sum(dim=1).log_().add_(most[:, 0]))
    return torch.cat(found)


def largest(
    values: Float[Tensor, "rows words"], count: int
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The ``count`` largest numbers of each row, largest first, and where they stand.

    The row is cut into groups. A number among the ``count`` largest stands in one of the
    ``count`` groups with the largest maxima, and the maxima are found much faster than a ranking.
    """
    words = values.shape[1]
    groups = words // GROUP
    if groups <= count:
        return values.topk(count, dim=1)
    whole = values[:, : groups * GROUP].unflatten(1, (groups, GROUP))
    chosen = whole.amax(dim=2).topk(count, dim=1).indices
    best = whole.gather(1, chosen.unsqueeze(2).expand(-1, -1, GROUP)).flatten(1)
    rest = values[:, groups * GROUP :]
    best, place = torch.cat([best, rest], dim=1).topk(count, dim=1)
    group = chosen.gather(1, (place // GROUP).clamp(max=count - 1))
    inside = place < count * GROUP
    where = torch.where(
        inside, group * GROUP + place % GROUP, place - count * GROUP + groups * GROUP
    )
    return best, where


# --- scores and weights -----------------------------------------------------------------------


def scaled_dot_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Scores are scaled where there are fewer of them than numbers in the queries.

    Not in 16 bits, where the product before it is scaled may be larger than any number.
    """
    check_widths(queries, keys)
    if queries.dtype.itemsize < 4 or keys.shape[-2] >= keys.shape[-1]:
        raise Unsuitable
    return (queries @ keys.transpose(-2, -1)).div_(sqrt(keys.shape[-1]))


def softmax_or_zeros(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Without a thought for rows that may look nowhere, where there are none.

    To ask costs one number: nothing on a CPU; a GPU would have to finish all its work first, and
    what is compiled or vectorised cannot ask.
    """
    if mask is None or scores.device.type != "cpu" or torch.compiler.is_compiling():
        raise Unsuitable
    try:
        some_see_nothing = not bool(mask.any(dim=-1).all())
    except RuntimeError:  # torch.func.vmap
        some_see_nothing = True
    if some_see_nothing:
        raise Unsuitable
    return torch.softmax(scores, dim=-1)


# --- cross-entropy ----------------------------------------------------------------------------


def output_cross_entropy(
    output: nn.Linear,
    readouts: Float[Tensor, "tokens readout_dim"],
    targets: Int[Tensor, " tokens"],
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The smoothed cross-entropy of the logits ``W o + b``, which never exist all at once.

    The gradient with respect to a token's logits is ``(p - q) / tokens``, known as soon as they
    are. So the forward pass multiplies it into the gradients of readouts, weight and bias on the
    spot, and the backward pass has only to hand them out. Under autocast the readable way is
    taken: gradients in 16 bits have to be scaled before they are computed, not after.
    """
    if torch.is_autocast_enabled(readouts.device.type):
        raise Unsuitable
    objective, nats = _Chunked.apply(readouts, output.weight, output.bias, targets, label_smoothing)
    return objective, nats


class _Chunked(torch.autograd.Function):
    """Keeps the gradients themselves for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, readouts: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        tokens, words = len(readouts), len(weight)
        needed = any(ctx.needs_input_grad[:3])
        gradients = tuple(map(torch.zeros_like, (readouts, weight, bias))) if needed else ()
        # Sums of thousands of losses: in 16 bits they would lose digits, or be infinite.
        wide = torch.promote_types(readouts.dtype, torch.float32)
        nats, smooth = (readouts.new_zeros((), dtype=wide) for _ in range(2))
        for start in range(0, tokens, size := _rows(readouts, words)):
            some, right = readouts[start : start + size], targets[start : start + size, None]
            log_probs = torch.addmm(bias, some, weight.T).log_softmax(dim=-1, dtype=wide)
            of_right = log_probs.gather(1, right)
            nats -= of_right.sum()
            if smoothing:
                smooth -= log_probs.sum() / words
            if needed:
                to_readouts, to_weight, to_bias = gradients
                slope = log_probs.exp_()  # p
                if smoothing:
                    slope -= smoothing / words
                slope.scatter_add_(1, right, torch.full_like(of_right, smoothing - 1))  # p - q
                slope = slope.to(weight.dtype)
                torch.mm(slope, weight, out=to_readouts[start : start + size])
                to_weight.addmm_(slope.T, some)
                to_bias += slope.sum(dim=0)
        ctx.save_for_backward(*gradients)
        ctx.tokens = tokens
        ctx.mark_non_differentiable(nats)
        return ((1 - smoothing) * nats + smoothing * smooth) / tokens, nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream[0] / ctx.tokens
        return (*(gradient * scale for gradient in ctx.saved_tensors), None, None)
