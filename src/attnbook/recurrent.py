"""Recurrent cells written out from their equations: RNN, GRU (two variants) and LSTM.

One call of a cell is one step in time and returns everything that the equations name: the new
state and the gates that made it. The parameters are laid out as in ``torch.nn``, so weights
trained there can be copied here and looked at; the tests hold both equal, forward and backward.

The cells are for reading. For training, ``torch.nn.LSTM`` and its siblings compute the same
numbers faster, because they run a whole sequence in one call.

Shapes are written in words: ``batch`` sentences, ``time`` steps, ``input`` numbers for each word
and ``hidden`` numbers of state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Cell",
    "ChoGRUCell",
    "GRUCell",
    "GRUStep",
    "LSTMCell",
    "LSTMStep",
    "RNNCell",
    "RNNStep",
    "State",
    "state_jacobians",
    "unroll",
]

#: What a cell carries to the next step: ``(hidden,)``, or ``(hidden, cell)`` for an LSTM.
State = tuple[Tensor, ...]


class RNNStep(NamedTuple):
    """What one step of an :class:`RNNCell` computed."""

    hidden: Float[Tensor, "batch *time hidden"]

    @property
    def state(self) -> State:
        """What the next step starts from."""
        return (self.hidden,)


class GRUStep(NamedTuple):
    """What one step of a :class:`GRUCell` or a :class:`ChoGRUCell` computed; gates are in 0 to 1.

    ``reset``: how much of the old state the candidate may see. ``update``: how much of the old
    state is kept; the rest is replaced by ``candidate``.
    """

    hidden: Float[Tensor, "batch *time hidden"]
    reset: Float[Tensor, "batch *time hidden"]
    update: Float[Tensor, "batch *time hidden"]
    candidate: Float[Tensor, "batch *time hidden"]

    @property
    def state(self) -> State:
        """What the next step starts from."""
        return (self.hidden,)


class LSTMStep(NamedTuple):
    """What one step of an :class:`LSTMCell` computed; gates are in 0 to 1.

    ``hidden`` is the output, ``cell`` the memory behind it. ``input_gate``: how much of
    ``candidate`` is written to the memory; ``forget_gate``: how much of the old memory is kept;
    ``output_gate``: how much of the memory shows in the output.
    """

    hidden: Float[Tensor, "batch *time hidden"]
    cell: Float[Tensor, "batch *time hidden"]
    input_gate: Float[Tensor, "batch *time hidden"]
    forget_gate: Float[Tensor, "batch *time hidden"]
    output_gate: Float[Tensor, "batch *time hidden"]
    candidate: Float[Tensor, "batch *time hidden"]

    @property
    def state(self) -> State:
        """What the next step starts from: output and memory."""
        return (self.hidden, self.cell)


Step = TypeVar("Step", RNNStep, GRUStep, LSTMStep)


class Cell(nn.Module, ABC, Generic[Step]):
    """What the cells share: parameters as in ``torch.nn``, checks, and a state of zeros.

    Args:
        input_size: how many numbers describe a word.
        hidden_size: how many numbers the hidden state has.

    Raises:
        ValueError: a size is not a positive integer.
    """

    #: How many blocks of ``hidden`` rows the stacked weight matrices hold.
    blocks: int
    #: The names of the parts of the state.
    state_names: tuple[str, ...] = ("hidden",)
    #: Which classes of ``torch.nn`` have the same equations.
    torch_classes: tuple[type[nn.Module], ...] = ()

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Make the parameters and fill them as torch does."""
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name}: expected a positive integer, got {size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows = self.blocks * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        # torch's own initialisation, so that a fresh cell here behaves like a fresh cell there.
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "batch input"], state: State | None = None) -> Step:
        """One step in time; without a state it starts from zeros."""

    def initial_state(self, batch: int) -> State:
        """The state before the first word: zeros, ``(batch, hidden)`` for each part."""
        return tuple(self.weight_hh.new_zeros(batch, self.hidden_size) for _ in self.state_names)

    def start(self, inputs: Tensor, state: State | None) -> State:
        """The state a step starts from, after checking that everything fits.

        Raises:
            ValueError: the inputs or a part of the state do not fit; it is named.
        """
        if inputs.ndim != 2 or inputs.shape[-1] != self.input_size:
            raise ValueError(
                f"inputs: a step takes one word for each sentence, (batch, {self.input_size}), "
                f"got {tuple(inputs.shape)}; for a whole sequence use unroll"
            )
        if not inputs.is_floating_point():
            raise ValueError(
                f"inputs: expected vectors of {self.weight_ih.dtype}, got {inputs.dtype}; "
                "token ids have to pass through an nn.Embedding first"
            )
        if state is None:
            return self.initial_state(len(inputs))
        if not isinstance(state, tuple) or len(state) != len(self.state_names):
            parts = ", ".join(self.state_names)
            got = f"{len(state)} parts" if isinstance(state, tuple) else type(state).__name__
            raise ValueError(
                f"state: {type(self).__name__} takes a tuple of {len(self.state_names)} "
                f"({parts}), got {got}"
            )
        wanted = (len(inputs), self.hidden_size)
        for name, part in zip(self.state_names, state, strict=True):
            if tuple(part.shape) != wanted:
                raise ValueError(
                    f"state, {name}: expected (batch, hidden) = {wanted}, got {tuple(part.shape)}"
                )
        return state

    @torch.no_grad()
    def copy_weights(self, module: nn.Module, layer: int = 0, reverse: bool = False) -> None:
        """Take over the weights of a ``torch.nn`` module with the same equations.

        Args:
            module: for an :class:`LSTMCell` an ``nn.LSTM`` or ``nn.LSTMCell``, and so on.
            layer: which layer of a stacked ``nn.LSTM``.
            reverse: the right-to-left half of a bidirectional one.

        Raises:
            ValueError: the module is of another kind, has other sizes or has no biases.
        """
        kinds = " or ".join(f"nn.{kind.__name__}" for kind in self.torch_classes) or "nothing"
        if not isinstance(module, self.torch_classes):
            raise ValueError(
                f"module: {type(self).__name__} has the equations of {kinds}, "
                f"not of {type(module).__name__}"
            )
        if getattr(module, "nonlinearity", "tanh") != "tanh":
            raise ValueError(
                f"module: its nonlinearity is {module.nonlinearity!r}, here it is tanh"
            )
        suffix = ""
        if isinstance(module, nn.RNNBase):
            suffix = f"_l{layer}" + ("_reverse" if reverse else "")
        theirs = dict(module.named_parameters())
        # Everything is checked before anything is written: half a copy would be worse than none.
        for name, mine in self.named_parameters():
            if name + suffix not in theirs:
                raise ValueError(f"module: it has no parameter {name + suffix!r}")
            shape = tuple(theirs[name + suffix].shape)
            if shape != tuple(mine.shape):
                raise ValueError(f"module: {name + suffix} is {shape}, here {tuple(mine.shape)}")
        for name, mine in self.named_parameters():
            mine.copy_(theirs[name + suffix])

    def extra_repr(self) -> str:
        """The sizes, for ``print(cell)``."""
        return f"{self.input_size}, {self.hidden_size}"


@final
class RNNCell(Cell[RNNStep]):
    """The simple recurrent network of Elman (1990), "Finding structure in time".

    ``h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)``

    Elman's network used the logistic function; tanh is today's usual choice and torch's.
    """

    blocks = 1
    torch_classes = (nn.RNN, nn.RNNCell)

    def forward(self, inputs: Float[Tensor, "batch input"], state: State | None = None) -> RNNStep:
        """One step: mix the word with the old state, squash."""
        (hidden,) = self.start(inputs, state)
        from_input = functional.linear(inputs, self.weight_ih, self.bias_ih)
        from_hidden = functional.linear(hidden, self.weight_hh, self.bias_hh)
        return RNNStep(hidden=torch.tanh(from_input + from_hidden))


@final
class GRUCell(Cell[GRUStep]):
    """The gated recurrent unit, in the variant of ``torch.nn.GRU`` and cuDNN.

    | ``r_t = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)``
    | ``z_t = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)``
    | ``n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_(t-1) + b_hn))``
    | ``h_t = (1 - z_t) * n_t + z_t * h_(t-1)``

    The reset gate acts *after* the matrix product, on the sum that arrives at a unit; in Cho et
    al. (2014) it acts before, on the old state: see :class:`ChoGRUCell`. Weights are stacked in
    the order reset, update, candidate. An update gate of 1 keeps the old state, as in Cho et al.
    (equation 7); Chung et al. (2014) write it the other way round.
    """

    blocks = 3
    torch_classes = (nn.GRU, nn.GRUCell)

    def forward(self, inputs: Float[Tensor, "batch input"], state: State | None = None) -> GRUStep:
        """One step: gates first, then a candidate, then a blend of old and new."""
        (hidden,) = self.start(inputs, state)
        from_input = functional.linear(inputs, self.weight_ih, self.bias_ih)
        from_hidden = functional.linear(hidden, self.weight_hh, self.bias_hh)
        input_r, input_z, input_n = from_input.chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, dim=-1)
        reset = torch.sigmoid(input_r + hidden_r)
        update = torch.sigmoid(input_z + hidden_z)
        candidate = torch.tanh(input_n + reset * hidden_n)
        hidden = (1 - update) * candidate + update * hidden
        return GRUStep(hidden, reset, update, candidate)


@final
class ChoGRUCell(Cell[GRUStep]):
    """The gated recurrent unit as Cho et al. (2014) published it, equations 5 to 8.

    As :class:`GRUCell`, except for the candidate, where the reset gate acts *before* the matrix
    product:

    | ``n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_(t-1)) + b_hn)``

    So ``r_j`` silences unit ``j`` for every reader, while in torch's variant it decides how much
    of the whole old state reader ``j`` takes in. The two agree where ``W_hn`` is diagonal and
    ``b_hn`` zero, or where every reset gate is 1. Torch's lets all products with the
    old state run at once; Cho's candidate has to wait for the reset gate. (The paper has no biases;
    they are kept here so that the parameters correspond.)
    """

    blocks = 3

    def forward(self, inputs: Float[Tensor, "batch input"], state: State | None = None) -> GRUStep:
        """One step: gates first, then a candidate from the reset state, then a blend."""
        (hidden,) = self.start(inputs, state)
        from_input = functional.linear(inputs, self.weight_ih, self.bias_ih)
        input_r, input_z, input_n = from_input.chunk(3, dim=-1)
        weight_r, weight_z, weight_n = self.weight_hh.chunk(3)
        bias_r, bias_z, bias_n = self.bias_hh.chunk(3)
        reset = torch.sigmoid(input_r + functional.linear(hidden, weight_r, bias_r))
        update = torch.sigmoid(input_z + functional.linear(hidden, weight_z, bias_z))
        candidate = torch.tanh(input_n + functional.linear(reset * hidden, weight_n, bias_n))
        hidden = (1 - update) * candidate + update * hidden
        return GRUStep(hidden, reset, update, candidate)


@final
class LSTMCell(Cell[LSTMStep]):
    """Long short-term memory, Hochreiter and Schmidhuber (1997), with Gers's (2000) forget gate.

    | ``i_t = sigmoid(W_ii x_t + b_ii + W_hi h_(t-1) + b_hi)``
    | ``f_t = sigmoid(W_if x_t + b_if + W_hf h_(t-1) + b_hf)``
    | ``g_t = tanh(W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)``
    | ``o_t = sigmoid(W_io x_t + b_io + W_ho h_(t-1) + b_ho)``
    | ``c_t = f_t * c_(t-1) + i_t * g_t``
    | ``h_t = o_t * tanh(c_t)``

    The paper of 1997 has no forget gate (``f_t = 1``). Weights are stacked in torch's order:
    input, forget, candidate, output.

    Args:
        input_size: how many numbers describe a word.
        hidden_size: how many numbers the hidden state and the memory each have.
        forget_bias: what the two forget biases together start from, or None for torch's random
            start around 0. Jozefowicz et al. (2015) recommend 1: ``sigmoid(0)`` halves the memory
            at each step.
    """

    blocks = 4
    state_names = ("hidden", "cell")
    torch_classes = (nn.LSTM, nn.LSTMCell)

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float | None = None) -> None:
        """Make the parameters; then set the forget gate's biases where asked to."""
        super().__init__(input_size, hidden_size)
        if forget_bias is not None:
            forget = slice(hidden_size, 2 * hidden_size)
            with torch.no_grad():
                self.bias_ih[forget] = forget_bias
                self.bias_hh[forget] = 0.0

    def forward(self, inputs: Float[Tensor, "batch input"], state: State | None = None) -> LSTMStep:
        """One step: three gates and a candidate, then the memory, then the output."""
        hidden, cell = self.start(inputs, state)
        from_input = functional.linear(inputs, self.weight_ih, self.bias_ih)
        from_hidden = functional.linear(hidden, self.weight_hh, self.bias_hh)
        i, f, g, o = (from_input + from_hidden).chunk(4, dim=-1)
        input_gate, forget_gate, output_gate = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        candidate = torch.tanh(g)
        cell = forget_gate * cell + input_gate * candidate
        hidden = output_gate * torch.tanh(cell)
        return LSTMStep(hidden, cell, input_gate, forget_gate, output_gate, candidate)


def unroll(
    cell: Cell[Step], inputs: Float[Tensor, "batch time input"], state: State | None = None
) -> tuple[Step, State]:
    """Run a cell over a sequence, left to right, with the same weights at every step.

    Args:
        cell: the cell.
        inputs: the words' vectors.
        state: what to start from; zeros where it is None.

    Returns:
        Every step's values stacked along ``time``, and the state after the last step.

    Raises:
        ValueError: the inputs are not ``(batch, time, input)`` with at least one step, or do not
            fit the cell or the state.
    """
    if inputs.ndim != 3 or inputs.shape[1] == 0:
        raise ValueError(
            f"inputs: expected (batch, time, {cell.input_size}) with at least one step, "
            f"got {tuple(inputs.shape)}"
        )
    steps: list[Any] = []
    for word in inputs.unbind(dim=1):
        step = cell(word, state)
        state = step.state
        steps.append(step)
    stacked = type(steps[0])(*(torch.stack(values, dim=1) for values in zip(*steps, strict=True)))
    return cast(Step, stacked), cast(State, state)


def state_jacobians(
    cell: Cell[Step], inputs: Float[Tensor, "time input"], state: State | None = None
) -> Float[Tensor, "moments state state"]:
    """How the last state depends on each earlier one: the matrices ``∂s_T / ∂s_t``.

    ``s`` is the *whole* state: the hidden state of an RNN or GRU, hidden state and memory of an
    LSTM one after the other. By the chain rule the matrix is a product of one-step Jacobians
    (Pascanu et al. 2013, equation 5), ``∂s_T/∂s_t = D_T D_(T-1) ... D_(t+1)`` with
    ``D_k = ∂s_k/∂s_(k-1)``, and that is how it is computed.

    Args:
        cell: the cell. With float64 weights the product keeps its digits over hundreds of steps.
        inputs: one sequence of ``time`` vectors.
        state: what to start from, each part ``(1, hidden)``; zeros where it is None.

    Returns:
        ``time + 1`` matrices: number ``t`` is ``∂s_T/∂s_t``, from the start state (0) to the last
        state itself (``time``, the identity). The entry in row ``j``, column ``k`` says how far
        number ``j`` of the last state moves, per unit, when number ``k`` of state ``t`` does.

    Raises:
        ValueError: the inputs are not ``(time, input)``, or do not fit the cell or the state.
    """
    if inputs.ndim != 2 or len(inputs) == 0:
        raise ValueError(
            f"inputs: expected one sequence, (time, {cell.input_size}), got {tuple(inputs.shape)}"
        )
    parts = len(cell.state_names)

    def advance(flat: Tensor, word: Tensor) -> Tensor:
        step = cell(word.unsqueeze(0), flat.unsqueeze(0).chunk(parts, dim=-1))
        return torch.cat(step.state, dim=-1).squeeze(0)

    with torch.no_grad():
        first = torch.cat(cell.start(inputs[:1], state), dim=-1).squeeze(0)
        before = [first]
        for word in inputs[:-1]:
            before.append(advance(before[-1], word))
        one_step = torch.func.vmap(torch.func.jacrev(advance))(torch.stack(before), inputs)
        products = [torch.eye(len(first), dtype=first.dtype, device=first.device)]
        for jacobian in one_step.flip(0):
            products.append(products[-1] @ jacobian)
    return torch.stack(products[::-1])
