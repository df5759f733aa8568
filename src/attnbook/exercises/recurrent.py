"""The exercises of chapter 2: a step of the simple network, a step of the GRU, a text in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake

__all__ = ["CHAPTER"]


# --- rnn_step ---------------------------------------------------------------------------------


def rnn_step(
    inputs: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    """The state after one more word: tanh(W_ih x + b_ih + W_hh h + b_hh), for a batch.

    inputs: (batch, input), the words; hidden: (batch, hidden), the old states; weight_ih:
    (hidden, input); weight_hh: (hidden, hidden); both biases: (hidden,). Gives (batch, hidden).
    """
    from_input = F.linear(inputs, weight_ih, bias_ih)  # inputs @ weight_ih.T + bias_ih
    # BEGIN SOLUTION
    #: return ...
    return torch.tanh(from_input + F.linear(hidden, weight_hh, bias_hh))
    # END SOLUTION


def _cell(
    draw: Draw,
    batch: int,
    width: int,
    size: int,
    blocks: int = 1,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Words, states and parameters of a cell; ``width`` numbers a word, ``size`` a state."""
    rows = blocks * size
    return {
        "inputs": draw.normal(batch, width, dtype=dtype),
        "hidden": draw.normal(batch, size, std=0.7, dtype=dtype),
        "weight_ih": draw.normal(rows, width, std=0.6, dtype=dtype),
        "weight_hh": draw.normal(rows, size, std=0.6, dtype=dtype),
        "bias_ih": draw.normal(rows, std=0.4, dtype=dtype),
        "bias_hh": draw.normal(rows, std=0.4, dtype=dtype),
    }


def _rnn_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "what comes from the word and what comes from the old state are added and squashed",
        _cell(draw, 2, 4, 3),
        hint="Take the first sentence: two sums for each number of the state, added, then tanh.",
    )
    yield Case("batch, word and state may be of one size", _cell(draw, 3, 3, 3))
    yield Case("a batch of one is a batch", _cell(draw, 1, 2, 4))
    start = _cell(draw, 3, 2, 4)
    yield Case(
        "from a state of zeros, its bias still counts",
        start | {"hidden": torch.zeros(3, 4)},
    )
    large = _cell(draw, 2, 3, 4)
    yield Case(
        "sums of ±200 end at ±1",
        large | {"bias_ih": large["bias_ih"] + torch.tensor([200.0, -200.0, 200.0, -200.0])},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all arguments",
        _cell(draw, 3, 4, 2, dtype=torch.float64),
        gradients=("inputs", "hidden", "weight_ih", "weight_hh", "bias_ih", "bias_hh"),
    )


def _rnn(combine: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A step that combines the word's sums and the state's sums in its own way."""

    def step(
        inputs: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        return combine(F.linear(inputs, w_ih, b_ih), F.linear(hidden, w_hh, b_hh))

    return step


def _tanh_by_hand(a: Tensor, b: Tensor) -> Tensor:
    up, down = (a + b).exp(), (-a - b).exp()
    return (up - down) / (up + down)


RNN_STEP = Exercise(
    solution=rnn_step,
    title="One step of the simple network",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Read one more word of every sentence of a batch: "
    "$h_t = \\tanh(u_t + v_t)$, where $u_t = W_{ih}\\, x_t + b_{ih}$ and "
    "$v_t = W_{hh}\\, h_{t-1} + b_{hh}$. What comes from the word "
    "is there already; one line is missing.",
    shapes="`inputs` (batch, input), `hidden` (batch, hidden), `weight_ih` (hidden, input), "
    "`weight_hh` (hidden, hidden), `bias_ih` and `bias_hh` (hidden,) → the new states (batch, "
    "hidden). The layout of the parameters is torch's: a row of weights for each number of the "
    "new state.",
    example="The page's step: $x = (1, 0)$ passes as it is, $h = (0.5, -0.5)$ goes through "
    "$\\begin{pmatrix} 0 & 1 \\\\ -1 & 0 \\end{pmatrix}$ and becomes $(-0.5, -0.5)$. The sum is "
    "$(0.5, -0.5)$, the new state $(0.46, -0.46)$.",
    section="recurrent-step",
    explanation="`F.linear(hidden, weight_hh, bias_hh)` is `hidden @ weight_hh.T + bias_hh`: torch "
    "keeps one row of weights for each number that comes out, and states lie in rows, too, so the "
    "matrix is transposed. The transpose is easy to forget for `weight_hh`, because it is square "
    "and fits either way. tanh comes last, over the sum.",
    start="The word's part is done. The state's part has the same form, with `hidden`, `weight_hh` "
    "and `bias_hh`; what is done with the two?",
    more="`F.linear(hidden, weight_hh, bias_hh)` is the state's part. Add it to `from_input` and "
    "take `torch.tanh` of the sum.",
    cases=_rnn_cases,
    mistakes=(
        Mistake(
            "no-tanh",
            "The sums are right, and they are returned as they are. Without the squashing the "
            "states can grow from word to word, and all steps together are one linear map.",
            "`torch.tanh` over the sum.",
            _rnn(lambda a, b: a + b),
        ),
        Mistake(
            "logistic",
            "Your states lie between 0 and 1: that is the logistic function, which Elman used. "
            "Here it is tanh, between −1 and 1.",
            "`torch.tanh` in place of `torch.sigmoid`.",
            _rnn(lambda a, b: torch.sigmoid(a + b)),
        ),
        Mistake(
            "rectified",
            "Negative sums have become 0. A `relu` is a squashing of another kind: it bounds "
            "nothing at the top.",
            "`torch.tanh` in place of `relu`.",
            _rnn(lambda a, b: torch.relu(a + b)),
        ),
        Mistake(
            "softmax",
            "Your states are positive and sum to 1. A softmax is for choosing; the numbers of a "
            "state do not compete.",
            "`torch.tanh`, for each number on its own.",
            _rnn(lambda a, b: torch.softmax(a + b, dim=-1)),
        ),
        Mistake(
            "no-transpose",
            "The state went through the columns of `weight_hh`, not its rows. The matrix is square "
            "and fits either way, so nothing complains.",
            "`hidden @ weight_hh.T`, or `F.linear`, which transposes by itself.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + hidden @ w_hh + b_hh
            ),
        ),
        Mistake(
            "state-forgotten",
            "The new state depends on the word alone: what was read before is gone at every step.",
            "Add the old state's part, `F.linear(hidden, weight_hh, bias_hh)`, before the tanh.",
            _rnn(lambda a, b: torch.tanh(a)),
        ),
        Mistake(
            "word-forgotten",
            "The new state depends on the old one alone: the word was never read.",
            "Add `from_input` before the tanh.",
            _rnn(lambda a, b: torch.tanh(b)),
        ),
        Mistake(
            "bias-forgotten",
            "The second bias is missing. There are two because torch has two, and weights copied "
            "from torch give the same states only with both.",
            "Add `bias_hh` to the state's part.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden, w_hh)
            ),
        ),
        Mistake(
            "bias-twice",
            "The word's bias was added to both parts, the state's to none.",
            "`bias_ih` belongs to the word and is in `from_input` already; the state's part has "
            "`bias_hh`.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden, w_hh, b_ih)
            ),
        ),
        Mistake(
            "tanh-of-each",
            "Each part was squashed for itself, and then they were added: a state may now reach 2.",
            "Add first, squash the sum.",
            _rnn(lambda a, b: torch.tanh(a) + torch.tanh(b)),
        ),
        Mistake(
            "tanh-of-one",
            "Only the state's part was squashed; the word's was added afterwards.",
            "tanh goes over the sum of both.",
            _rnn(lambda a, b: a + torch.tanh(b)),
        ),
        Mistake(
            "tanh-of-the-word",
            "Only the word's part was squashed; the state's was added afterwards.",
            "tanh goes over the sum of both.",
            _rnn(lambda a, b: torch.tanh(a) + b),
        ),
        Mistake(
            "old-state-squashed-again",
            "The old state went through a tanh before it met its matrix. It is the result of one.",
            "Take `hidden` as it is.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden.tanh(), w_hh, b_hh)
            ),
        ),
        Mistake(
            "old-state-added",
            "The old state was added to the new one. A simple network has no such direct path; it "
            "is the LSTM that adds to what is there.",
            "Leave the old state out of the sum, except through `weight_hh`.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: hidden + torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden, w_hh, b_hh)
            ),
        ),
        Mistake(
            "multiplied",
            "The two parts were multiplied. That is what a gate does; here they are added.",
            "`+` in place of `*`.",
            _rnn(lambda a, b: torch.tanh(a * b)),
        ),
        Mistake(
            "first-state-for-all",
            "All sentences of the batch went on from the state of the first one.",
            "Do not index the batch away: `hidden` has a row for each sentence.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden[:1], w_hh, b_hh)
            ),
        ),
        Mistake(
            "batch-mixed",
            "Every sentence went on from the sum of all states of the batch: what one sentence "
            "gets depends on its neighbours.",
            "Sum over the numbers of a state, never over the batch.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: torch.tanh(
                F.linear(inputs, w_ih, b_ih) + F.linear(hidden.sum(dim=0), w_hh, b_hh)
            ),
        ),
        Mistake(
            "tanh-overflows",
            "exp overflows from 89 on, and infinity divided by infinity is NaN. The formula for "
            "tanh is right, and a computer cannot calculate it so.",
            "`torch.tanh` knows how to do it.",
            _rnn(_tanh_by_hand),
        ),
    ),
)  # fmt: skip


# --- gru_step ---------------------------------------------------------------------------------


def gru_step(
    inputs: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    """The state after one more word, in the GRU that torch computes, for a batch.

    inputs: (batch, input), hidden: (batch, hidden). The parameters of reset gate, update gate and
    candidate are stacked in this order: weight_ih: (3 * hidden, input), weight_hh:
    (3 * hidden, hidden), both biases: (3 * hidden,). Gives (batch, hidden).
    """
    # BEGIN SOLUTION
    input_r, input_z, input_n = F.linear(inputs, weight_ih, bias_ih).chunk(3, dim=-1)
    hidden_r, hidden_z, hidden_n = F.linear(hidden, weight_hh, bias_hh).chunk(3, dim=-1)
    reset = torch.sigmoid(input_r + hidden_r)
    update = torch.sigmoid(input_z + hidden_z)
    candidate = torch.tanh(input_n + reset * hidden_n)
    return (1 - update) * candidate + update * hidden
    # END SOLUTION


def _gated(draw: Draw, block: int, shift: float) -> dict[str, Tensor]:
    """A GRU's inputs with one of its gates forced open or shut by a bias."""
    made = _cell(draw, 2, 4, 3, blocks=3)
    moved = torch.zeros(3, 3)
    moved[block] = shift
    return made | {"bias_ih": made["bias_ih"] + moved.flatten()}


def _gru_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "two gates, a candidate, and a blend of it with the old state",
        _cell(draw, 2, 4, 3, blocks=3),
        hint="Calculate the first sentence on paper: reset, update, candidate, blend. Compare each "
        "with what your function has at that line.",
    )
    yield Case("an update gate of 1 keeps the old state", _gated(draw, 1, 50.0))
    yield Case("an update gate of 0 leaves nothing but the candidate", _gated(draw, 1, -50.0))
    yield Case(
        "a reset gate of 0 hides all that comes from the old state from the candidate, its bias "
        "included",
        _gated(draw, 0, -50.0),
    )
    yield Case("batch, word and state may be of one size", _cell(draw, 3, 3, 3, blocks=3))
    start = _cell(draw, 3, 2, 4, blocks=3)
    yield Case(
        "it can start from zeros",
        start | {"hidden": torch.zeros(3, 4)},
    )
    yield Case("a batch of one is a batch", _cell(draw, 1, 2, 3, blocks=3))
    yield Case(
        "the dtype of the input is kept, and gradients flow to all arguments",
        _cell(draw, 3, 4, 2, blocks=3, dtype=torch.float64),
        gradients=("inputs", "hidden", "weight_ih", "weight_hh", "bias_ih", "bias_hh"),
    )


def _gru(combine: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A step that makes something else of the six weighted sums and the old state."""

    def step(
        inputs: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        from_input = F.linear(inputs, w_ih, b_ih).chunk(3, dim=-1)
        from_hidden = F.linear(hidden, w_hh, b_hh).chunk(3, dim=-1)
        return combine(hidden, *from_input, *from_hidden)

    return step


def _blend(hidden: Tensor, r: Tensor, z: Tensor, n: Tensor, hn: Tensor) -> Tensor:
    """The GRU from the sums of both gates and the two parts of the candidate's."""
    update = torch.sigmoid(z)
    return (1 - update) * torch.tanh(n + torch.sigmoid(r) * hn) + update * hidden


def _reset_before_the_matrix(
    inputs: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Tensor:
    size = hidden.shape[1]
    ir, iz, n = F.linear(inputs, w_ih, b_ih).chunk(3, dim=-1)
    hr, hz, _ = F.linear(hidden, w_hh, b_hh).chunk(3, dim=-1)
    seen = torch.sigmoid(ir + hr) * hidden
    read = F.linear(seen, w_hh[2 * size :], b_hh[2 * size :])
    update = torch.sigmoid(iz + hz)
    return (1 - update) * torch.tanh(n + read) + update * hidden


def _bias_outside(
    inputs: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Tensor:
    ir, iz, n = (F.linear(inputs, w_ih, b_ih) + b_hh).chunk(3, dim=-1)
    hr, hz, hn = F.linear(hidden, w_hh).chunk(3, dim=-1)
    return _blend(hidden, ir + hr, iz + hz, n, hn)


def _dealt_out(
    inputs: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Tensor:
    batch, size = hidden.shape
    ir, iz, n = F.linear(inputs, w_ih, b_ih).view(batch, size, 3).unbind(dim=-1)
    hr, hz, hn = F.linear(hidden, w_hh, b_hh).view(batch, size, 3).unbind(dim=-1)
    return _blend(hidden, ir + hr, iz + hz, n, hn)


GRU_STEP = Exercise(
    solution=gru_step,
    title="One step of the GRU",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Write the page's four equations as code, for a batch and with parameters in torch's "
    "layout, so that weights trained in `torch.nn.GRU` could be put in: reset gate, update gate, "
    "candidate, blend.",
    shapes="`inputs` (batch, input), `hidden` (batch, hidden), `weight_ih` (3 · hidden, input), "
    "`weight_hh` (3 · hidden, hidden), `bias_ih` and `bias_hh` (3 · hidden,) → the new states "
    "(batch, hidden). The first third of the rows makes the reset gate, the second the update "
    "gate, the last the candidate.",
    example="One number a state, $h = 0.5$. Let the gates' sums be $2$ and $0$, and for the "
    "candidate let $1$ come from the word and $-0.5$ from the state. Then $r = \\sigma(2) = 0.881$, "
    "$z = \\sigma(0) = 0.5$, $n = \\tanh(1 - 0.881 \\cdot 0.5) = 0.508$, and the new state is "
    "$0.5 \\cdot 0.508 + 0.5 \\cdot 0.5 = 0.504$.",
    section="recurrent-gru",
    explanation="Two products give all six sums, and `chunk(3, dim=-1)` cuts them apart. The gates "
    "may add word and state at once. The candidate may not: the reset gate multiplies what comes "
    "from the state, *with* its bias and *after* the matrix, and leaves what comes from the word "
    "alone. That is why there are two biases that could not be replaced by one. $z$ is the share "
    "that is kept, $1 - z$ the share that is new.",
    start="Begin with the six sums: `F.linear(inputs, weight_ih, bias_ih)` holds three of them "
    "side by side, the same with `hidden` the other three. Which two of them does the reset gate "
    "add?",
    more="Cut both products in three with `.chunk(3, dim=-1)`. Two sigmoids of sums are the gates; "
    "the candidate is the tanh of the word's part plus `reset` times the state's part; the result "
    "is `(1 - update) * candidate + update * hidden`.",
    cases=_gru_cases,
    mistakes=(
        Mistake(
            "gates-exchanged",
            "The two gates have changed places: the rows are stacked reset first, update second. "
            "(Keras has them the other way round.)",
            "The first third of the rows is the reset gate.",
            _gru(lambda h, ir, iz, n, hr, hz, hn: _blend(h, iz + hz, ir + hr, n, hn)),
        ),
        Mistake(
            "candidate-first",
            "You took the first third of the rows for the candidate. It is the last.",
            "The order is reset, update, candidate.",
            _gru(lambda h, a, b, c, d, e, f: _blend(h, b + e, c + f, a, d)),
        ),
        Mistake(
            "update-inverted",
            "Where the update gate is 1, your state is replaced; here it is kept. Papers disagree "
            "about it, and this course follows Cho et al. (2014) and torch.",
            "`(1 - update) * candidate + update * hidden`.",
            _gru(lambda h, ir, iz, n, hr, hz, hn: _blend(h, ir + hr, -(iz + hz), n, hn)),
        ),
        Mistake(
            "reset-before-the-matrix",
            "This is the GRU as it was published: the reset gate acts on the old state, before the "
            "matrix. Asked for is torch's, where it acts on what comes out of the matrix.",
            "Compute the state's part of the candidate from `hidden` as it is, and multiply *that* "
            "by the reset gate.",
            _reset_before_the_matrix,
        ),
        Mistake(
            "bias-outside-the-reset",
            "The candidate's second bias was added outside the reset gate's reach. A gate of 0 has "
            "to hide it, too.",
            "`reset * (W h + b)`, not `reset * (W h) + b`: the bias belongs to the state's part.",
            _bias_outside,
        ),
        Mistake(
            "reset-on-the-word-too",
            "The reset gate hides the word as well. It decides how much of the *old state* the "
            "candidate may see.",
            "Multiply the state's part by the gate, then add the word's.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: _blend(
                    h, ir + hr, iz + hz, torch.sigmoid(ir + hr) * n, hn
                )
            ),
        ),
        Mistake(
            "no-reset",
            "The reset gate has no effect: the candidate always sees the whole old state.",
            "Multiply the state's part of the candidate by the reset gate.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: _blend(h, ir + hr, iz + hz, n + hn, 0 * hn)
            ),
        ),
        Mistake(
            "update-in-the-candidate",
            "The update gate does the work of both: it is what the state's part of the candidate "
            "was multiplied by.",
            "In the candidate it is the reset gate.",
            _gru(lambda h, ir, iz, n, hr, hz, hn: _blend(h, iz + hz, iz + hz, n, hn)),
        ),
        Mistake(
            "candidate-only",
            "The candidate was returned. Without the blend nothing of the old state is kept as it "
            "was.",
            "Blend it with the old state, in the proportion that the update gate says.",
            _gru(lambda h, ir, iz, n, hr, hz, hn: torch.tanh(n + torch.sigmoid(ir + hr) * hn)),
        ),
        Mistake(
            "old-state-whole",
            "The old state was added whole, beside a share of the candidate: states grow from word "
            "to word. The two shares have to sum to 1.",
            "Multiply the old state by `update`.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: _blend(h, ir + hr, iz + hz, n, hn)
                + (1 - torch.sigmoid(iz + hz)) * h
            ),
        ),
        Mistake(
            "reset-on-what-is-kept",
            "What is kept was multiplied by the reset gate. That gate only decides what the "
            "candidate may see.",
            "`update * hidden`, with the old state as it came in.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: _blend(
                    torch.sigmoid(ir + hr) * h, ir + hr, iz + hz, n, hn
                )
            ),
        ),
        Mistake(
            "gates-blind-to-the-state",
            "The gates were computed from the word alone. What to keep depends on what is there.",
            "Add the state's part to each gate's sum before the sigmoid.",
            _gru(lambda h, ir, iz, n, hr, hz, hn: _blend(h, ir, iz, n, hn)),
        ),
        Mistake(
            "gates-by-tanh",
            "Your gates lie between −1 and 1. A gate is a share, between 0 and 1.",
            "`torch.sigmoid` for both gates; tanh is for the candidate.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: (1 - torch.tanh(iz + hz))
                * torch.tanh(n + torch.tanh(ir + hr) * hn)
                + torch.tanh(iz + hz) * h
            ),
        ),
        Mistake(
            "candidate-by-sigmoid",
            "The candidate lies between 0 and 1, so that no state could ever become negative.",
            "`torch.tanh` for the candidate.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: (1 - torch.sigmoid(iz + hz))
                * torch.sigmoid(n + torch.sigmoid(ir + hr) * hn)
                + torch.sigmoid(iz + hz) * h
            ),
        ),
        Mistake(
            "tanh-after-the-blend",
            "The blend was squashed once more. Even what an update gate of 1 keeps would shrink "
            "from word to word.",
            "The blend is the state; nothing comes after it.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: torch.tanh(
                    _blend(h, ir + hr, iz + hz, n, hn)
                )
            ),
        ),
        Mistake(
            "two-gates-as-in-an-lstm",
            "One gate keeps, another one writes: that is how an LSTM treats its memory. In the GRU "
            "the update gate does both, and the reset gate stands inside the candidate.",
            "`(1 - update) * candidate + update * hidden`.",
            _gru(
                lambda h, ir, iz, n, hr, hz, hn: torch.sigmoid(ir + hr) * h
                + torch.sigmoid(iz + hz) * torch.tanh(n + hn)
            ),
        ),
        Mistake(
            "biases-forgotten",
            "The state's bias is missing in all three sums.",
            "`F.linear(hidden, weight_hh, bias_hh)`.",
            lambda inputs, hidden, w_ih, w_hh, b_ih, b_hh: gru_step(
                inputs, hidden, w_ih, w_hh, b_ih, torch.zeros_like(b_hh)
            ),
        ),
        Mistake(
            "dealt-out-in-turn",
            "The sums were dealt out in turn, every third number to the same gate. They lie in "
            "three blocks: all of the reset gate, then all of the update gate, then the candidate.",
            "`chunk(3, dim=-1)`, or `view(batch, 3, hidden)`; not `view(batch, hidden, 3)`.",
            _dealt_out,
        ),
    ),
)  # fmt: skip


# --- chunked_states ---------------------------------------------------------------------------


def step(word: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor) -> Tensor:
    """One step of a simple network without biases: the states (batch, hidden) after a word."""
    return torch.tanh(F.linear(word, weight_ih) + F.linear(hidden, weight_hh))


def chunked_states(
    inputs: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, size: int
) -> Tensor:
    """All states of a text that is read in chunks, so that no gradient crosses a border.

    inputs: (batch, time, input); hidden: (batch, hidden), the state before the first word; the
    weights are those of `step`; size: words in a chunk, but for the last one, which has what is
    left. A chunk starts from the last state of the chunk before, as a value: a loss on its states
    reaches back to the chunk's own first word and no further. Gives (batch, time, hidden).
    """
    # BEGIN SOLUTION
    states = []
    for chunk in inputs.split(size, dim=1):
        hidden = hidden.detach()
        for word in chunk.unbind(dim=1):
            hidden = step(word, hidden, weight_ih, weight_hh)
            states.append(hidden)
    return torch.stack(states, dim=1)
    # END SOLUTION


def _text(
    draw: Draw,
    batch: int,
    time: int,
    width: int,
    state: int,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor | int]:
    return {
        "inputs": draw.normal(batch, time, width, std=0.8, dtype=dtype),
        "hidden": draw.normal(batch, state, std=0.7, dtype=dtype),
        "weight_ih": draw.normal(state, width, std=0.6, dtype=dtype),
        "weight_hh": draw.normal(state, state, std=0.7, dtype=dtype),
        "size": size,
    }


def _chunk_cases(draw: Draw) -> Iterator[Case]:
    slopes = ("inputs", "weight_ih", "weight_hh")
    yield Case(
        "the states are those of the same text read in one go",
        _text(draw, 2, 4, 3, 2, 2),
        hint="Read the text with a plain loop over its words, and compare: the first chunk, then "
        "the first word of the second.",
    )
    yield Case(
        "a gradient reaches back to the beginning of its chunk and no further",
        _text(draw, 2, 6, 3, 4, 3),
        gradients=slopes,
    )
    yield Case(
        "the last chunk may be shorter",
        _text(draw, 2, 5, 4, 3, 2),
        gradients=slopes,
    )
    yield Case(
        "in chunks of one word no state reaches back",
        _text(draw, 3, 4, 2, 3, 1),
        gradients=slopes,
    )
    yield Case(
        "a chunk that is longer than the text cuts nothing",
        _text(draw, 2, 3, 2, 4, 5),
        gradients=slopes,
    )
    yield Case(
        "batch, time, word and state may be of one size",
        _text(draw, 3, 3, 3, 3, 2),
        gradients=slopes,
    )
    yield Case("a batch of one, and one word", _text(draw, 1, 1, 2, 3, 2), gradients=slopes)
    yield Case(
        "the dtype of the input is kept, and so are the borders",
        _text(draw, 2, 7, 2, 3, 3, dtype=torch.float64),
        gradients=slopes,
    )


def _read(
    inputs: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    border: Callable[[int], bool],
    start: Callable[[Tensor], Tensor] = Tensor.detach,
) -> Tensor:
    """All states, if something is done to the state before each word that begins a chunk."""
    states: list[Tensor] = []
    for t, word in enumerate(inputs.unbind(dim=1)):
        if t and border(t):
            hidden = start(hidden)
        hidden = step(word, hidden, weight_ih, weight_hh)
        states.append(hidden)
    return torch.stack(states, dim=1)


def _in_pieces(
    pieces: tuple[Tensor, ...], hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor
) -> Tensor:
    states: list[Tensor] = []
    for piece in pieces:
        hidden = hidden.detach()
        for word in piece.unbind(dim=1):
            hidden = step(word, hidden, weight_ih, weight_hh)
            states.append(hidden)
    return torch.stack(states, dim=1)


def _start_in_every_chunk(
    inputs: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, size: int
) -> Tensor:
    return _read(
        inputs, hidden, weight_ih, weight_hh, lambda t: t % size == 0, lambda _: hidden.detach()
    )


def _border_state_cut_off(
    inputs: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, size: int
) -> Tensor:
    states = chunked_states(inputs, hidden, weight_ih, weight_hh, size)
    time = inputs.shape[1]
    ends = [(t + 1) % size == 0 and t + 1 < time for t in range(time)]
    return torch.where(torch.tensor(ends).unsqueeze(-1), states.detach(), states)


def _last_chunk_learns(
    inputs: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, size: int
) -> Tensor:
    states = chunked_states(inputs, hidden, weight_ih, weight_hh, size)
    last = (inputs.shape[1] - 1) // size * size
    return torch.cat([states[:, :last].detach(), states[:, last:]], dim=1)


CHUNKED_STATES = Exercise(
    solution=chunked_states,
    title="A long text in chunks",
    difficulty=2,
    minutes=20,
    points=4,
    goal="Read a text that is too long to trace the error through all of it: chunk by chunk, the "
    "state passed on, its history not. The states come out as if nothing had been cut; only the "
    "way back ends at each border.",
    shapes="`inputs` (batch, time, input), `hidden` (batch, hidden), `weight_ih` (hidden, input), "
    "`weight_hh` (hidden, hidden), `size` a whole number → states (batch, time, hidden). "
    "`step(word, hidden, weight_ih, weight_hh)` is given; it takes one word for each sentence, "
    "(batch, input).",
    example="One number a word and a state, `weight_ih` 1, `weight_hh` 0.5, words $(1, 0, 0)$, "
    "$h_0 = 0$. The states are $(0.762, 0.363, 0.180)$, in chunks of any size. In one go, the "
    "slope of $h_3$ in the first word is 0.088; in chunks of two the one that comes back is 0, "
    "because the third word has a chunk of its own. The slope of $h_2$ in the first word, 0.182, is the same in both.",
    section="recurrent-chunks",
    explanation="`detach()` gives a tensor with the same numbers and no history. Done to the state "
    "*before* a chunk it cuts exactly there: what is stored of the chunk before keeps its own way "
    "back. (Whether the text's own start is detached, too, makes no difference to words and "
    "weights; either is accepted.) `split(size, dim=1)` leaves a shorter last chunk by itself. Forward nothing changes, so "
    "the network still reads with a memory of all that came before; it only does not learn what to "
    "keep for longer than a chunk. What is saved is memory: after the loss of a chunk has been "
    "sent back, its intermediate results can go.",
    start="A loop over chunks, and in it a loop over the chunk's words. What has to happen to the "
    "state at the beginning of each chunk, so that its numbers stay and its history goes?",
    more="`for chunk in inputs.split(size, dim=1):`, then `hidden = hidden.detach()`, then one "
    "`step` for each word of `chunk.unbind(dim=1)`, keeping every state; at the end "
    "`torch.stack(states, dim=1)`.",
    cases=_chunk_cases,
    given=(step,),
    mistakes=(
        Mistake(
            "state-not-detached",
            "The states are right, and the gradient runs through the borders to the first word of "
            "the text. A state that is passed on brings its whole history along.",
            "`hidden = hidden.detach()` before each chunk.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs, hidden, w_ih, w_hh, lambda t: False
            ),
        ),
        Mistake(
            "detached-at-every-word",
            "The gradient ends at every word. Within a chunk it has to run: only there can the "
            "network learn what to keep.",
            "Detach before the first word of a chunk, outside the loop over its words.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs, hidden, w_ih, w_hh, lambda t: True
            ),
        ),
        Mistake(
            "size-taken-for-count",
            "There are `size` chunks. Asked for are chunks of `size` words.",
            "`split(size)` makes pieces of a size, `chunk(n)` makes n pieces.",
            lambda inputs, hidden, w_ih, w_hh, size: _in_pieces(
                inputs.chunk(size, dim=1), hidden, w_ih, w_hh
            ),
        ),
        Mistake(
            "split-along-the-batch",
            "The batch was cut, not the text: `split` without `dim` goes along the first axis.",
            "`inputs.split(size, dim=1)`.",
            lambda inputs, hidden, w_ih, w_hh, size: _in_pieces(
                inputs.split(size), hidden, w_ih, w_hh
            ),
        ),
        Mistake(
            "border-one-late",
            "The border comes one word late: the first word of each chunk still hangs on the chunk "
            "before.",
            "Detach *before* the words 0, size, 2·size, …, counted from 0.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs, hidden, w_ih, w_hh, lambda t: (t - 1) % size == 0
            ),
        ),
        Mistake(
            "border-one-early",
            "The border comes one word early: the last word of each chunk is cut off from its own "
            "chunk.",
            "Detach before the words 0, size, 2·size, …, counted from 0.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs, hidden, w_ih, w_hh, lambda t: (t + 1) % size == 0
            ),
        ),
        Mistake(
            "border-state-cut-off",
            "The last state of each chunk, the one that is passed on, comes out without a "
            "gradient. It belongs to its own chunk; only the copy that the next chunk starts from "
            "has no history.",
            "Keep the state as it is for the result, and detach what the next chunk starts from: "
            "`detach()`, which makes a new tensor, not `detach_()`, which changes the stored one.",
            _border_state_cut_off,
        ),
        Mistake(
            "only-last-chunk-learns",
            "Only the last chunk has a gradient. The chunks before it are part of the result, and "
            "a loss on them has to reach their words.",
            "No `torch.no_grad()`: every chunk has a way back, up to its own beginning.",
            _last_chunk_learns,
        ),
        Mistake(
            "words-detached",
            "The words were detached, and the state was not: nothing reaches the word vectors, and "
            "the weights' gradient still runs through the borders.",
            "`hidden.detach()`; the chunk of words stays as it is.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs.detach(), hidden, w_ih, w_hh, lambda t: False
            ),
        ),
        Mistake(
            "start-in-every-chunk",
            "Every chunk starts from the text's first state: what was read in the chunks before is "
            "forgotten.",
            "The last state of a chunk is the start of the next.",
            _start_in_every_chunk,
        ),
        Mistake(
            "zeros-in-every-chunk",
            "Every chunk starts from zeros. Detached means without history, not without content.",
            "Keep the numbers: `hidden.detach()`.",
            lambda inputs, hidden, w_ih, w_hh, size: _read(
                inputs, 0 * hidden, w_ih, w_hh, lambda t: t % size == 0, torch.zeros_like
            ),
        ),
        Mistake(
            "start-ignored",
            "The text starts from zeros; its start state is an argument.",
            "Begin with `hidden` as it is given.",
            lambda inputs, hidden, w_ih, w_hh, size: chunked_states(
                inputs, torch.zeros_like(hidden), w_ih, w_hh, size
            ),
        ),
        Mistake(
            "rest-dropped",
            "The words after the last full chunk are missing.",
            "`split` leaves a shorter last piece by itself; with `range`, count "
            "`range(0, time, size)`.",
            lambda inputs, hidden, w_ih, w_hh, size: chunked_states(
                inputs[:, : inputs.shape[1] // size * size], hidden, w_ih, w_hh, size
            ),
        ),
        Mistake(
            "border-states-only",
            "There is one state for each chunk. Asked for is one for each word.",
            "Keep every state, not only the one that is passed on.",
            lambda inputs, hidden, w_ih, w_hh, size: torch.stack(
                [
                    piece[:, -1]
                    for piece in chunked_states(inputs, hidden, w_ih, w_hh, size).split(size, dim=1)
                ],
                dim=1,
            ),
        ),
        Mistake(
            "last-chunk-only",
            "These are the states of the last chunk; the list was begun anew with each chunk.",
            "Make the list of states before the loop over chunks.",
            lambda inputs, hidden, w_ih, w_hh, size: chunked_states(
                inputs, hidden, w_ih, w_hh, size
            ).split(size, dim=1)[-1],
        ),
        Mistake(
            "last-state-only",
            "This is the state after the last word. Asked for are all states.",
            "Keep the state after each word, and stack them along the time.",
            lambda inputs, hidden, w_ih, w_hh, size: chunked_states(
                inputs, hidden, w_ih, w_hh, size
            )[:, -1],
        ),
        Mistake(
            "time-before-batch",
            "The time stands before the batch: `torch.stack` without `dim` makes the new axis the "
            "first.",
            "`torch.stack(states, dim=1)`.",
            lambda inputs, hidden, w_ih, w_hh, size: chunked_states(
                inputs, hidden, w_ih, w_hh, size
            ).transpose(0, 1),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="02_recurrent",
    title="Recurrent networks",
    opening="The steps of two cells, and a loop that reads a text of any length. The first two are "
    "the equations of chapter 2 with a batch in front; the third is about "
    "what flows back.",
    exercises=(RNN_STEP, GRU_STEP, CHUNKED_STATES),
)
