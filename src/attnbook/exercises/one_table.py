"""The exercises of chapter 8: a step of Luong's decoder, a training, a paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.dot_attention import masked_softmax
from attnbook.exercises.probes import TinyTranslator

__all__ = ["CHAPTER"]


# --- luong_step -------------------------------------------------------------------------------


def luong_step(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Luong's decoder: update the state, look at the source, speak.

    word: (batch, embedding), the vector of the word before. state: (batch, hidden), s of the step
    before. encoded: (batch, source, hidden), the encoder's states, keys and values. mask: (batch,
    source), True = may look. recurrent: (hidden, embedding + hidden), the matrix W of the update
    s = tanh(W [y; s before]). combine: (readout, 2 · hidden), the matrix of the attentional state
    tanh(W_c [c; s]). Scores are dot products.

    Gives the attentional state (batch, readout), the new state (batch, hidden) and the weights
    (batch, source).
    """
    # BEGIN SOLUTION
    state = torch.tanh(torch.cat([word, state], dim=-1) @ recurrent.T)
    scores = (encoded @ state.unsqueeze(-1)).squeeze(-1)
    weights = masked_softmax(scores, mask)
    context = (weights.unsqueeze(1) @ encoded).squeeze(1)
    attentional = torch.tanh(torch.cat([context, state], dim=-1) @ combine.T)
    return attentional, state, weights
    # END SOLUTION


def _step_inputs(
    draw: Draw,
    batch: int,
    source: int,
    sizes: tuple[int, int, int],
    mask: list[list[int]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Inputs for sizes (embedding, hidden, readout)."""
    embedding, hidden, readout = sizes
    may = torch.ones(batch, source) if mask is None else torch.tensor(mask)
    return {
        "word": draw.normal(batch, embedding, dtype=dtype),
        "state": draw.normal(batch, hidden, dtype=dtype),
        "encoded": draw.normal(batch, source, hidden, std=1.5, dtype=dtype),
        "mask": may.bool(),
        "recurrent": draw.normal(hidden, embedding + hidden, std=0.7, dtype=dtype),
        "combine": draw.normal(readout, 2 * hidden, std=0.5, dtype=dtype),
    }


def _step_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the new state asks, and the attentional state is made of context and new state",
        _step_inputs(draw, 2, 4, (3, 2, 5)),
        hint="Go along the docstring: first the update, then scores of the new state, weights, "
        "context, and last the tanh of W_c [c; s].",
    )
    yield Case(
        "padding has weight 0, in each sentence for itself",
        _step_inputs(draw, 2, 3, (2, 4, 3), [[0, 1, 1], [1, 1, 0]]),
    )
    yield Case(
        "all sizes may be equal",
        _step_inputs(draw, 3, 3, (3, 3, 3), [[1, 1, 0], [1, 1, 1], [1, 0, 1]]),
        hint="With equal sizes a wrong axis raises no exception. Check along which axis the softmax "
        "runs, and which half of each matrix meets what.",
    )
    yield Case(
        "a sentence may be hidden altogether",
        _step_inputs(draw, 2, 3, (2, 2, 4), [[0, 0, 0], [1, 0, 1]]),
        hint="Its weights and its context are 0. `masked_softmax` does that.",
    )
    yield Case(
        "one sentence of one word",
        _step_inputs(draw, 1, 1, (2, 3, 4)),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to words, states and matrices",
        _step_inputs(draw, 2, 4, (2, 3, 5), [[1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.float64),
        gradients=("word", "state", "encoded", "recurrent", "combine"),
    )


def _moved(word: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
    return torch.tanh(torch.cat([word, state], dim=-1) @ recurrent.T)


def _looked(
    query: Tensor, encoded: Tensor, mask: Tensor, divisor: float = 1.0
) -> tuple[Tensor, Tensor]:
    scores = torch.einsum("bh,bsh->bs", query, encoded) / divisor
    weights = masked_softmax(scores, mask)
    return torch.einsum("bs,bsh->bh", weights, encoded), weights


def _spoken(context: Tensor, state: Tensor, combine: Tensor) -> Tensor:
    return torch.tanh(torch.cat([context, state], dim=-1) @ combine.T)


def _looks_first(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    context, weights = _looked(state, encoded, mask)
    state = _moved(word, state, recurrent)
    return _spoken(context, state, combine), state, weights


def _old_state_speaks(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    new = _moved(word, state, recurrent)
    context, weights = _looked(new, encoded, mask)
    return _spoken(context, state, combine), new, weights


def _never_moved(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    context, weights = _looked(state, encoded, mask)
    return _spoken(context, state, combine), state, weights


def _old_state_returned(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    said, _, weights = luong_step(word, state, encoded, mask, recurrent, combine)
    return said, state, weights


def _attentional_returned(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    said, _, weights = luong_step(word, state, encoded, mask, recurrent, combine)
    return said, said, weights


def _state_on_top(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    context, weights = _looked(state, encoded, mask)
    return _spoken(state, context, combine), state, weights


def _state_before_word(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(state, word, recurrent)
    context, weights = _looked(state, encoded, mask)
    return _spoken(context, state, combine), state, weights


def _no_tanh(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    context, weights = _looked(state, encoded, mask)
    return torch.cat([context, state], dim=-1) @ combine.T, state, weights


def _update_without_tanh(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = torch.cat([word, state], dim=-1) @ recurrent.T
    context, weights = _looked(state, encoded, mask)
    return _spoken(context, state, combine), state, weights


def _masks_nothing(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return luong_step(word, state, encoded, torch.ones_like(mask), recurrent, combine)


def _masks_words(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return luong_step(word, state, encoded, ~mask, recurrent, combine)


def _scaled(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    context, weights = _looked(state, encoded, mask, math.sqrt(state.shape[-1]))
    return _spoken(context, state, combine), state, weights


def _mask_late(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    weights = _looked(state, encoded, torch.ones_like(mask))[1] * mask
    context = torch.einsum("bs,bsh->bh", weights, encoded)
    return _spoken(context, state, combine), state, weights


def _over_batch(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    scores = torch.einsum("bh,bsh->bs", state, encoded)
    weights = masked_softmax(scores.T, mask.T).T
    context = torch.einsum("bs,bsh->bh", weights, encoded)
    return _spoken(context, state, combine), state, weights


def _mean_context(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    weights = _looked(state, encoded, mask)[1]
    context = torch.einsum("bs,bsh->bh", weights, encoded) / encoded.shape[1]
    return _spoken(context, state, combine), state, weights


def _largest_only(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    weights = _looked(state, encoded, mask)[1]
    context = encoded[torch.arange(len(encoded)), weights.argmax(dim=-1)]
    return _spoken(context, state, combine), state, weights


def _word_asks(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, torch.zeros_like(state), recurrent)
    context, weights = _looked(state, encoded, mask)
    return _spoken(context, state, combine), state, weights


def _scores_returned(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    said, state, _ = luong_step(word, state, encoded, mask, recurrent, combine)
    return said, state, torch.einsum("bh,bsh->bs", state, encoded)


def _context_returned(
    word: Tensor, state: Tensor, encoded: Tensor, mask: Tensor, recurrent: Tensor, combine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    state = _moved(word, state, recurrent)
    context, weights = _looked(state, encoded, mask)
    return context, state, weights


LUONG_STEP = Exercise(
    solution=luong_step,
    title="One step of Luong's decoder",
    difficulty=2,
    minutes=20,
    points=4,
    goal="Three rows of the table are this step with one score or another, and three more are the "
    "same with input feeding. (Chapter 5 builds the step, chapter 6 the feeding.) Write it with the "
    "dot product and a plain recurrent layer: $s_t = \\tanh(W[y_{t-1}; s_{t-1}])$, then the scores "
    "$s_t^\\top h_i$, the masked softmax, the context $c_t$, and the attentional state "
    "$\\tilde s_t = \\tanh(W_c[c_t; s_t])$. The order is what makes it Luong's and not "
    "Bahdanau's. `masked_softmax` from chapter 5 is given; it works along the last axis, whatever "
    "stands before it, so that (batch, source) will do.",
    shapes="`word` (batch, embedding), `state` (batch, hidden), `encoded` (batch, source, hidden), "
    "`mask` (batch, source), `recurrent` (hidden, embedding + hidden), `combine` (readout, 2 · "
    "hidden) → attentional state (batch, readout), new state (batch, hidden), weights (batch, "
    "source).",
    example="All widths 1: word 0.5, state 0, `recurrent` $(1, 1)$, `combine` $(1, 1)$, encoder "
    "states 2 and 0. The new state is $\\tanh(0.5 + 0) = 0.462$, the scores are 0.924 and 0, the "
    "weights 0.716 and 0.284, the context is 1.432 and the attentional state "
    "$\\tanh(1.432 + 0.462) = 0.956$. Who looks before updating asks with 0 and gets weights of "
    "one half.",
    section="one-table-held-equal",
    explanation="The variable `state` is replaced before anything looks, so that every later line "
    "means $s_t$: the query knows the word that has just been written. `[c; s]` is context above "
    "state, so the first half of `combine` meets the context. `squeeze(-1)` and `squeeze(1)` name "
    "their axis; without a number they would swallow a batch of one. What goes on to the next step is "
    "$s_t$; only with input feeding does $\\tilde s_t$ go along.",
    start="Which comes first in Luong's decoder, the update of the state or the look at the source? "
    "Write that line, and let `state` mean the new state from then on.",
    more="`state = torch.tanh(torch.cat([word, state], dim=-1) @ recurrent.T)`. For scores of one "
    "query for each sentence, `encoded @ state.unsqueeze(-1)` is (batch, source, 1). Then "
    "`masked_softmax`, the weighted sum, and a second `cat` with the context first.",
    cases=_step_cases,
    given=(masked_softmax,),
    mistakes=(
        Mistake(
            "looks-first",
            "The old state asked: your decoder looks and then moves. That is Bahdanau's order, whose "
            "query does not know the last word yet.",
            "Update the state first, and take the new one for the scores.",
            _looks_first,
        ),
        Mistake(
            "old-state-speaks",
            "The new state asked, but the old one stands beside the context in the attentional "
            "state.",
            "`torch.cat([context, state])` with the state after the update.",
            _old_state_speaks,
        ),
        Mistake(
            "state-never-updated",
            "The word has no effect: the state was never updated.",
            "Begin with `torch.tanh(torch.cat([word, state], dim=-1) @ recurrent.T)`.",
            _never_moved,
        ),
        Mistake(
            "old-state-returned",
            "Everything was calculated rightly, and then the old state came back, so that the next "
            "step would begin where this one began.",
            "Return the updated state.",
            _old_state_returned,
        ),
        Mistake(
            "attentional-state-goes-on",
            "The attentional state came back as the state. In Luong's decoder it only speaks; the "
            "recurrence goes on with s.",
            "Return three different things: attentional state, state, weights.",
            _attentional_returned,
        ),
        Mistake(
            "state-above-context",
            "[c; s] is the context above the state; you have them the other way round, and each "
            "meets the columns of `combine` that were made for the other.",
            "`torch.cat([context, state], dim=-1)`.",
            _state_on_top,
        ),
        Mistake(
            "state-before-word",
            "In the update, [y; s] is the word above the state; you have them the other way round.",
            "`torch.cat([word, state], dim=-1)`.",
            _state_before_word,
        ),
        Mistake(
            "no-tanh",
            "The attentional state lacks its tanh.",
            "`torch.tanh(…)` around the product with `combine`.",
            _no_tanh,
        ),
        Mistake(
            "update-without-tanh",
            "The update of the state lacks its tanh: from step to step it could grow without limit.",
            "`torch.tanh(…)` around the product with `recurrent`.",
            _update_without_tanh,
        ),
        Mistake(
            "state-forgotten",
            "The new state is made of the word alone: what the decoder knew is gone at every step.",
            "The update reads word *and* old state.",
            _word_asks,
        ),
        Mistake(
            "no-mask",
            "Padding has weights.",
            "Give `masked_softmax` the mask.",
            _masks_nothing,
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round: only padding is looked at.",
            "True means *may look*, for `masked_softmax` too.",
            _masks_words,
        ),
        Mistake(
            "mask-after-softmax",
            "The mask came after the softmax: what is left does not sum to 1.",
            "`masked_softmax(scores, mask)`.",
            _mask_late,
        ),
        Mistake(
            "scaled",
            "You divided the scores by √d. Luong's dot product has no scale; that is chapter 10.",
            "Leave the division out.",
            _scaled,
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the sentences of the batch.",
            "The last axis of the scores, (batch, source), is the source.",
            _over_batch,
        ),
        Mistake(
            "mean-over-source",
            "The context was divided by the number of words once more. The weights already sum to 1.",
            "`sum` over the source, not `mean`.",
            _mean_context,
        ),
        Mistake(
            "only-the-largest",
            "The context is one encoder state, the one with the largest weight.",
            "Add up all states, each times its weight.",
            _largest_only,
        ),
        Mistake(
            "scores-returned",
            "Beside attentional state and state stand the scores. Asked for are the weights.",
            "Return what came out of the softmax.",
            _scores_returned,
        ),
        Mistake(
            "context-returned",
            "The first result is the context. The attentional state is made of context and state.",
            "`torch.tanh(torch.cat([context, state], dim=-1) @ combine.T)`.",
            _context_returned,
        ),
    ),
)  # fmt: skip


# --- train_translator -------------------------------------------------------------------------


def train_translator(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Tensor, Tensor]],
    epochs: int,
    clip: float,
) -> list[float]:
    """Train a translator on all batches, in their order, as many times as there are epochs.

    model(source, previous) gives the logits (batch, target, words) of each next word.
    batches: pairs of ids, source (batch, source) and target (batch, 1 + target); a target begins
    with <sos> (2), ends with <eos> (3), and is filled up with padding (0). One step of the
    optimizer for each batch: the loss is the mean cross-entropy over all target words and <eos>,
    the gradient's norm over all parameters is clipped to `clip`.

    Gives the losses of all steps as a list of numbers.
    """
    # BEGIN SOLUTION
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            logits = model(source, target[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
    return losses
    # END SOLUTION


WORDS = 6


def _sentences(draw: Draw, lengths: list[int], longest: int, cipher: Tensor) -> Any:
    """Sentences of a language, and of another one that has other words and turns the order."""
    source = torch.zeros(len(lengths), longest + 1, dtype=torch.long)
    target = torch.zeros(len(lengths), longest + 2, dtype=torch.long)
    for row, length in enumerate(lengths):
        words = draw.integers(0, WORDS, length)
        source[row, : length + 1] = torch.cat([4 + words, torch.tensor([3])])
        target[row, 0], target[row, length + 1] = 2, 3
        target[row, 1 : length + 1] = 4 + cipher[words].flip(0)
    return source, target


def _training_case(
    draw: Draw, holds: str, batches: list[list[int]], hint: str = "", **options: Any
) -> Case:
    """A few steps of plain gradient descent; a batch is given by its sentences' lengths."""
    cipher = draw.permutation(WORDS)
    return Case(
        holds,
        {
            "model": {"words": 4 + WORDS, "width": 4, "dropout": options.get("dropout", 0.0)},
            "seed": draw.integer(0, 10**6),
            "optimizer": "SGD",
            "rate": 0.5,
            "batches": [_sentences(draw, b, max(b), cipher) for b in batches],
            "epochs": options.get("epochs", 1),
            "clip": options.get("clip", 100.0),
        },
        hint=hint,
    )


def _training_cases(draw: Draw) -> Iterator[Case]:
    yield _training_case(
        draw,
        "the model reads the words before, and the loss is a mean over words",
        [[2, 2]],
        "One batch, one step, no padding, no clipping. Compare the loss with the one expected: is "
        "it near the logarithm of the number of words?",
    )
    yield _training_case(
        draw,
        "padding counts nothing in the loss",
        [[1, 4, 2]],
        "Three sentences of unequal length in one batch.",
    )
    yield _training_case(
        draw,
        "each step has its own gradient",
        [[2, 3], [3, 1]],
        "Two batches: the first loss is a matter of the loss alone, the second one of the step in "
        "between, too.",
    )
    yield _training_case(
        draw,
        "the gradient's norm is clipped before the step",
        [[3, 2], [1, 3]],
        "The first loss does not know of the clipping, the second one does: here `clip` is 0.1.",
        clip=0.1,
    )
    yield _training_case(
        draw,
        "all epochs are done, and all batches in each",
        [[2, 1], [3], [1]],
        "Three batches, the last two of one sentence each, and two epochs: six losses.",
        epochs=2,
    )
    yield _training_case(
        draw,
        "dropout is on while the model learns",
        [[3, 2, 2]],
        "The model came in evaluation mode, in which dropout does nothing.",
        dropout=0.5,
        epochs=2,
    )
    yield _long_training(draw)


def _long_training(draw: Draw) -> Case:
    cipher = draw.permutation(WORDS)
    size, count, new = 24, 40, 200
    known: set[tuple[int, ...]] = set()
    batches = []
    for _ in range(count):
        batch = _sentences(draw, draw.integers(3, 6, size).tolist(), 5, cipher)
        known |= {tuple(row) for row in batch[0].tolist()}
        batches.append(batch)
    source, target = _sentences(draw, draw.integers(3, 6, 2 * new).tolist(), 5, cipher)
    unseen = [i for i, row in enumerate(source.tolist()) if tuple(row) not in known][:new]
    source, wanted = source[unseen], target[unseen, 1:]
    inputs: dict[str, Any] = {
        "model": {"words": 4 + WORDS, "width": 24},
        "seed": draw.integer(0, 10**6),
        "optimizer": "Adam",
        "rate": 0.02,
        "batches": batches,
        "epochs": 3,
        "clip": 1.0,
    }

    def translates(returned: Any) -> bool:
        model = TinyTranslator(**inputs["model"])
        model.load_state_dict(returned["parameters"])
        written = model.translate(source, wanted.shape[1])
        right = ((written == wanted) | (wanted == 0)).all(dim=1)
        return bool(right.float().mean() >= 0.5)

    return Case(
        "after 120 steps at least half of the sentences that it never saw are translated without an error",
        inputs,
        accept=translates,
        hint="All short trainings were right; this one is longer and has another optimizer. Use the "
        "optimizer that is given, with its learning rate.",
        long=True,
    )


# What a mistaken training does otherwise than the right one.


def _loss(model: Any, source: Tensor, target: Tensor) -> Tensor:
    return _mean(model(source, target[:, :-1]), target[:, 1:])


def _mean(logits: Tensor, answers: Tensor, **options: Any) -> Tensor:
    options = {"ignore_index": 0} | options
    return F.cross_entropy(logits.flatten(0, 1), answers.flatten(), **options)


def _each(model: Any, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each position, 0 at padding, and where there is none."""
    logits, answers = model(source, target[:, :-1]), target[:, 1:]
    losses = F.cross_entropy(logits.transpose(1, 2), answers, ignore_index=0, reduction="none")
    return losses, answers != 0


def _by_sentence(model: Any, source: Tensor, target: Tensor) -> Tensor:
    losses, real = _each(model, source, target)
    return (losses.sum(dim=1) / real.sum(dim=1)).mean()


def _reshaped(model: Any, source: Tensor, target: Tensor) -> Tensor:
    logits = model(source, target[:, :-1])
    batch, length, words = logits.shape
    return F.cross_entropy(logits.reshape(batch, words, length), target[:, 1:], ignore_index=0)


def _own_words(model: Any, source: Tensor, target: Tensor) -> Tensor:
    previous = target[:, :1]
    for _ in range(target.shape[1] - 2):
        best = model(source, previous)[:, -1:].argmax(dim=-1)
        previous = torch.cat([previous, best], dim=1)
    return _mean(model(source, previous), target[:, 1:])


def _variant(
    loss: Any = _loss,
    *,
    clear: bool = True,
    clipping: Any = nn.utils.clip_grad_norm_,
    learn: bool = True,
    mode: bool = True,
    once: bool = False,
    pick: Any = lambda batches, epoch: batches,
    by_epoch: bool = False,
    own: bool = False,
) -> Any:
    """A training that differs from the right one in what is said."""

    def train(model: Any, optimizer: Any, batches: Any, epochs: int, clip: float) -> list[float]:
        model.train(mode)
        if own:
            optimizer = torch.optim.Adam(model.parameters())
        losses: list[float] = []
        means: list[float] = []
        for epoch in range(epochs):
            if once:
                optimizer.zero_grad()
            chosen = pick(batches, epoch)
            for source, target in chosen:
                value = loss(model, source, target)
                if clear and not once:
                    optimizer.zero_grad()
                value.backward()
                if not once and learn:
                    clipping(model.parameters(), clip)
                    optimizer.step()
                losses.append(value.item())
            if once:
                clipping(model.parameters(), clip)
                optimizer.step()
            means.append(sum(losses[-len(chosen) :]) / max(len(chosen), 1))
        return means if by_epoch else losses

    return train


def _first_step_only(
    model: Any, optimizer: Any, batches: Any, epochs: int, clip: float
) -> list[float]:
    return train_translator(model, optimizer, batches[:1], 1, clip)


def _without_last(
    model: Any, optimizer: Any, batches: Any, epochs: int, clip: float
) -> list[float]:
    full = [b for b in batches if len(b[0]) == len(batches[0][0])]
    return train_translator(model, optimizer, full, epochs, clip)


TRAIN_TRANSLATOR = Exercise(
    solution=train_translator,
    title="Train a translator",
    difficulty=3,
    minutes=45,
    points=6,
    goal="The rows of the table differ in their decoders and share one training. Write it for the "
    "small translator that is given: teacher forcing and a loss that leaves padding out, as in "
    "chapter 3, gradients that are cleared, clipped as in chapter 2, and used, for all batches and "
    "epochs. Every step is checked by its "
    "numbers; then your function trains a model on 960 sentences of an invented language (another "
    "word for each word, and all in reverse order), and has to translate at least half of 200 new "
    "ones without an error. A right training gets three quarters or more.",
    shapes="`model(source, previous)` → logits (batch, target, words); `batches` a list of pairs "
    "(source ids, target ids); `epochs` a whole number, `clip` a number → a list of `epochs × "
    "len(batches)` losses. The model that you are given is changed by the training; nothing else "
    "is.",
    example="A target row `[2, 7, 5, 3, 0]`: the model reads `[2, 7, 5, 3]` and has to say "
    "`[7, 5, 3, 0]`. The last place is padding and counts nothing, so that the sentence adds three "
    "losses to the mean. With 10 words, a model that knows nothing has a loss near "
    "$\\ln 10 = 2.30$.",
    section="one-table-held-equal",
    explanation="`target[:, :-1]` is read and `target[:, 1:]` is what must be said, each one place "
    "further on. `ignore_index=0` takes padding out of the sum *and* out of the number that it is "
    "divided by. `backward` *adds* to the gradients that are there, hence `zero_grad` in every "
    "step; clipping belongs between `backward`, which makes the gradient, and `step`, which uses it. "
    "`model.train()` turns dropout on, whatever state the model was left in. And `loss.item()` "
    "keeps the number and lets the graph go; a list of the losses themselves would hold every "
    "step's graph in memory.",
    start="Two loops, epochs and batches. In the inner one: what does the model read, and what must "
    "it say? Write down both for the target `[2, 7, 5, 3]` before you write code.",
    more="For each batch: `logits = model(source, target[:, :-1])`; the cross-entropy with "
    "`target[:, 1:]`, with `ignore_index=0`; then `optimizer.zero_grad()`, `loss.backward()`, "
    "`nn.utils.clip_grad_norm_(model.parameters(), clip)`, `optimizer.step()`, and keep "
    "`loss.item()`. Before all of it, `model.train()`.",
    cases=_training_cases,
    given=(TinyTranslator,),
    probe="train_translator",
    seconds=30,
    mistakes=(
        Mistake(
            "targets-not-shifted",
            "The model reads the very words that it has to say. It only needs to copy; its loss will "
            "fall to nearly zero, and it will never translate.",
            "It reads `target[:, :-1]`, beginning with <sos>, and says `target[:, 1:]`.",
            _variant(lambda m, s, t: _mean(m(s, t[:, 1:]), t[:, 1:])),
        ),
        Mistake(
            "targets-cut-alike",
            "What is read and what must be said are the same words, <sos> included and the end cut "
            "off: the model learns to repeat the word before.",
            "Cut the last place off what is read, and the *first* off what must be said: "
            "`target[:, 1:]`.",
            _variant(lambda m, s, t: _mean(m(s, t[:, :-1]), t[:, :-1])),
        ),
        Mistake(
            "targets-whole",
            "The whole target is read and the whole target must be said: nothing is shifted.",
            "Read `target[:, :-1]`, say `target[:, 1:]`.",
            _variant(lambda m, s, t: _mean(m(s, t), t)),
        ),
        Mistake(
            "own-words",
            "The model reads its own words in training. Nobody has told it anything yet; with teacher "
            "forcing it reads the right ones, whatever it would have said.",
            "`model(source, target[:, :-1])`, all places at once, no loop over them.",
            _variant(_own_words),
        ),
        Mistake(
            "languages-exchanged",
            "Source and target have changed places: your model translates back.",
            "`for source, target in batches`, and `model(source, …)`.",
            _variant(lambda m, s, t: _mean(m(t, s[:, :-1]), s[:, 1:])),
        ),
        Mistake(
            "padding-in-the-loss",
            "Padding is in the loss: the model is praised for saying <pad> after the end, which is "
            "easy and of no use.",
            "`ignore_index=0`, the id of the padding.",
            _variant(lambda m, s, t: _mean(m(s, t[:, :-1]), t[:, 1:], ignore_index=-100)),
        ),
        Mistake(
            "padding-counted",
            "Padding adds nothing to the sum, but the sum is divided by all places, padding included: "
            "the more padding, the smaller the step.",
            "Divide by the number of real words, as `ignore_index=0` does.",
            _variant(lambda m, s, t: _each(m, s, t)[0].mean()),
        ),
        Mistake(
            "end-not-learned",
            "<eos> is left out of the loss: your model will not know where to stop.",
            "Leave out the padding, id 0, and nothing else.",
            _variant(
                lambda m, s, t: _mean(m(s, t[:, :-1]), t[:, 1:].masked_fill(t[:, 1:] == 3, 0))
            ),
        ),
        Mistake(
            "loss-summed",
            "The loss is a sum over words: a batch of long sentences takes longer steps than one of "
            "short ones.",
            "Divide by the number of words; `reduction=\"mean\"` is what `cross_entropy` does by "
            "itself.",
            _variant(lambda m, s, t: _mean(m(s, t[:, :-1]), t[:, 1:], reduction="sum")),
        ),
        Mistake(
            "summed-over-words",
            "The loss is a sum over words, divided by the number of sentences.",
            "Divide by the number of words of the whole batch.",
            _variant(
                lambda m, s, t: _mean(m(s, t[:, :-1]), t[:, 1:], reduction="sum") / len(t)
            ),
        ),
        Mistake(
            "mean-of-sentences",
            "You took a mean for each sentence, and the mean of these: a word in a short sentence "
            "counts more than one in a long sentence.",
            "One mean over all words of the batch.",
            _variant(_by_sentence),
        ),
        Mistake(
            "softmax-before-the-loss",
            "A softmax went over the logits before `cross_entropy`, which takes its own. The losses "
            "can hardly differ any more, and the gradient is small.",
            "Give `cross_entropy` the logits as they are.",
            _variant(lambda m, s, t: _mean(m(s, t[:, :-1]).softmax(dim=-1), t[:, 1:])),
        ),
        Mistake(
            "reshape-for-transpose",
            "`cross_entropy` wants the words on axis 1, and you got them there by `view` or "
            "`reshape`, which leave all numbers in their order: pieces of different words' logits "
            "land in one row.",
            "`logits.transpose(1, 2)`, or flatten batch and target: `logits.flatten(0, 1)`.",
            _variant(_reshaped),
        ),
        Mistake(
            "gradients-pile-up",
            "The first step is right and all later ones are not: the gradients of the steps before "
            "are still there, because `backward` adds.",
            "`optimizer.zero_grad()` in every step, before `backward`.",
            _variant(clear=False),
        ),
        Mistake(
            "nothing-learned",
            "The parameters are those of the beginning: no step was taken, or the gradient was "
            "cleared between `backward` and `step`.",
            "In this order: `zero_grad`, `backward`, clipping, `step`.",
            _variant(learn=False),
        ),
        Mistake(
            "one-step-an-epoch",
            "The gradients of an epoch were added up for one step. One step for each batch was asked "
            "for.",
            "Move `zero_grad`, clipping and `step` into the inner loop.",
            _variant(once=True),
        ),
        Mistake(
            "not-clipped",
            "The gradient was not clipped, or was clipped where it does nothing: before `backward` "
            "there is none, after `step` it has been used.",
            "`nn.utils.clip_grad_norm_(model.parameters(), clip)` between `backward` and `step`.",
            _variant(clipping=lambda parameters, clip: None),
        ),
        Mistake(
            "clipped-by-value",
            "Each number of the gradient was cut off by itself, which changes its direction. Asked "
            "for is the norm of all of them together.",
            "`clip_grad_norm_`, not `clip_grad_value_`.",
            _variant(clipping=nn.utils.clip_grad_value_),
        ),
        Mistake(
            "clipped-one-by-one",
            "Each tensor of parameters was clipped by its own norm, which changes the direction of "
            "the whole.",
            "One call with all parameters: `clip_grad_norm_(model.parameters(), clip)`.",
            _variant(
                clipping=lambda parameters, clip: [
                    nn.utils.clip_grad_norm_([p], clip) for p in parameters
                ]
            ),
        ),
        Mistake(
            "evaluation-mode",
            "The model learned in evaluation mode, without dropout: that is how it was handed over.",
            "`model.train()` before the loops.",
            _variant(mode=False),
        ),
        Mistake(
            "one-step-only",
            "There was one step and no more. Does your `return` stand inside the loop?",
            "Both loops have to end before the function does.",
            _first_step_only,
        ),
        Mistake(
            "first-epoch-only",
            "One epoch was done, whatever `epochs` says.",
            "An outer loop, `for _ in range(epochs)`, and the `return` behind it.",
            _variant(pick=lambda batches, epoch: batches if epoch == 0 else []),
        ),
        Mistake(
            "first-batch-only",
            "Only the first batch was learned from, over and over.",
            "`for source, target in batches` inside the epochs' loop.",
            _variant(pick=lambda batches, epoch: batches[:1]),
        ),
        Mistake(
            "last-batch-dropped",
            "The last batch is missing.",
            "`for source, target in batches`, not one less.",
            _variant(pick=lambda batches, epoch: batches[:-1]),
        ),
        Mistake(
            "small-batches-dropped",
            "Batches with fewer sentences than the first are missing. They are sentences, too.",
            "Take all batches.",
            _without_last,
        ),
        Mistake(
            "one-loss-an-epoch",
            "The training is right; what came back is one loss for each epoch. Asked for are those of "
            "all steps.",
            "`losses.append(loss.item())` in the inner loop.",
            _variant(by_epoch=True),
        ),
        Mistake(
            "own-optimizer",
            "You made an Adam of your own. The optimizer is given, with its learning rate.",
            "Use the argument `optimizer`.",
            _variant(own=True),
        ),
    ),
)  # fmt: skip


# --- paired_difference ------------------------------------------------------------------------


def paired_difference(
    first: Tensor, second: Tensor, draws: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """By how much one system is better than another, with a paired bootstrap interval.

    first, second: (sentences,), what each system gets for the same sentences. draws: (times,
    sentences), in each row the numbers of the sentences that were drawn, with replacement; both
    systems are counted on the same draw.

    Gives the difference of the means, first less second, and the ends of the 95 % interval: the
    2.5th and the 97.5th percentile of the differences of all draws.
    """
    # BEGIN SOLUTION
    difference = first.mean() - second.mean()
    drawn = first[draws].mean(dim=1) - second[draws].mean(dim=1)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype))
    return difference, low, high
    # END SOLUTION


def _draws(draw: Draw, times: int, sentences: int) -> Tensor:
    return draw.integers(0, sentences, times, sentences)


def _pair_cases(draw: Draw) -> Iterator[Case]:
    # With 40 n + 1 draws the percentiles are draws, and every way to interpolate gives the same.
    yield Case(
        "the interval holds the differences of the draws but for 2.5 % at each end",
        {
            "first": draw.normal(5, std=3.0) + 20,
            "second": draw.normal(5, std=2.0) + 15,
            "draws": _draws(draw, 41, 5),
        },
        hint="41 draws: the interval goes from the second smallest difference to the second "
        "largest.",
    )
    hard = 10 * draw.normal(8)
    yield Case(
        "what both systems find hard does not make the interval wider",
        {
            "first": hard + draw.normal(8, std=0.3) + 1,
            "second": hard + draw.normal(8, std=0.2),
            "draws": _draws(draw, 81, 8),
        },
        hint="The sentences differ much and the systems little. Count both systems on the same "
        "draw.",
    )
    yield Case(
        "there may be as many draws as sentences",
        {
            "first": draw.normal(41, std=2.0),
            "second": draw.normal(41, std=2.0),
            "draws": _draws(draw, 41, 41),
        },
        hint="A row of `draws` is one draw. Take the mean over the sentences of each row.",
    )
    right = draw.permutation(6) < 3
    yield Case(
        "a system compared with itself differs by nothing",
        {"first": right.float(), "second": right.float(), "draws": _draws(draw, 41, 6)},
    )
    yield Case(
        "the difference is that of all sentences, not of the draws",
        {
            "first": draw.normal(3, std=4.0),
            "second": draw.normal(3, std=4.0) + 5,
            "draws": draw.permutation(3)[:1].expand(41, 3).clone(),
        },
        hint="Here every draw happens to have one sentence only, again and again. The difference is "
        "still that of all three.",
    )
    yield Case(
        "the dtype of the input is kept",
        {
            "first": draw.normal(7, std=2.0, dtype=torch.float64),
            "second": draw.normal(7, std=3.0, dtype=torch.float64),
            "draws": _draws(draw, 121, 7),
        },
    )


def _ends(drawn: Tensor, low: float = 0.025, high: float = 0.975) -> tuple[Tensor, Tensor]:
    return torch.quantile(drawn, low), torch.quantile(drawn, high)


def _differences(first: Tensor, second: Tensor, draws: Tensor) -> Tensor:
    return first[draws].mean(dim=1) - second[draws].mean(dim=1)


def _around(
    first: Tensor, second: Tensor, draws: Tensor, width: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """An interval that is symmetric about the difference."""
    middle = first.mean() - second.mean()
    half = 1.96 * width(_differences(first, second, draws))
    return middle, middle - half, middle + half


PAIRED_DIFFERENCE = Exercise(
    solution=paired_difference,
    title="A difference, and how sure one may be of it",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Two systems have translated the same sentences. Say by how much the first is better on "
    "average, and between which limits that would lie if the sentences had been others: draw from them "
    "with replacement, count both systems on each draw, and cut 2.5 % of the differences off at "
    "either end. The draws are given, so that the result is not a matter of luck.",
    shapes="`first`, `second` (sentences,), `draws` (times, sentences), whole numbers below the "
    "number of sentences → three tensors without axes: difference, lower end, upper end.",
    example="Four sentences, `first` $(1, 1, 1, 0)$, `second` $(1, 1, 0, 0)$: the difference is "
    "0.25. The draw `[2, 2, 0, 3]` contains twice the one sentence on which they differ: the first "
    "system gets 3 of 4 and the second 1, the difference is 0.5. The draw `[0, 1, 1, 3]` does not have it: "
    "0. Of 41 such differences, in order, the second and the second last are the ends.",
    section="one-table-sure",
    explanation="`first[draws]` is (times, sentences): a row for each draw. That the same `draws` "
    "index both systems is the whole of *paired*; what a sentence costs both cancels in the "
    "difference, draw by draw. The interval is read off the differences; it cannot be put "
    "together from two intervals, one for each system. The difference itself is that of the sentences as "
    "they are; the draws only say how far it can be trusted.",
    start="`first[draws]` has a row for each draw. What is the mean of each row, for both systems, "
    "and what do you do with the two before anything is sorted?",
    more="`drawn = first[draws].mean(dim=1) - second[draws].mean(dim=1)`, and "
    "`torch.quantile(drawn, 0.025)` and the same with 0.975. The difference that you return does not "
    "need the draws.",
    cases=_pair_cases,
    mistakes=(
        Mistake(
            "intervals-subtracted",
            "You made an interval for each system and took their ends from each other, lower from "
            "lower and upper from upper. That is no interval of the difference; its ends may even be "
            "in the wrong order.",
            "Subtract draw by draw first, then take the percentiles.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *(
                    a - b
                    for a, b in zip(
                        _ends(first[draws].mean(dim=1)),
                        _ends(second[draws].mean(dim=1)),
                        strict=True,
                    )
                ),
            ),
        ),
        Mistake(
            "worst-cases-subtracted",
            "You made an interval for each system and compared the worst of one with the best of the "
            "other. That counts twice the luck that both share, where it should cancel.",
            "Subtract draw by draw first, then take the percentiles.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                _ends(first[draws].mean(dim=1))[0] - _ends(second[draws].mean(dim=1))[1],
                _ends(first[draws].mean(dim=1))[1] - _ends(second[draws].mean(dim=1))[0],
            ),
        ),
        Mistake(
            "drawn-apart",
            "Each system was counted on a draw of its own, here the second on the next row. One then "
            "gets easy sentences where the other gets hard ones.",
            "Index both with the same `draws`.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(first[draws].mean(dim=1) - second[draws.roll(-1, 0)].mean(dim=1)),
            ),
        ),
        Mistake(
            "only-the-first-drawn",
            "The first system was counted on the draws and the second on all sentences: what they "
            "share does not cancel.",
            "`second[draws]` as well.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(first[draws].mean(dim=1) - second.mean()),
            ),
        ),
        Mistake(
            "only-the-second-drawn",
            "The second system was counted on the draws and the first on all sentences: what they "
            "share does not cancel.",
            "`first[draws]` as well.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(first.mean() - second[draws].mean(dim=1)),
            ),
        ),
        Mistake(
            "sign-turned",
            "This is by how much the *second* system is better.",
            "First less second.",
            lambda first, second, draws: (
                second.mean() - first.mean(),
                *_ends(-_differences(first, second, draws)),
            ),
        ),
        Mistake(
            "without-a-sign",
            "You took absolute differences. None of them lies below zero, so the interval cannot say "
            "that the second system may be the better one.",
            "Keep the sign of each draw's difference.",
            lambda first, second, draws: (
                (first.mean() - second.mean()).abs(),
                *_ends(_differences(first, second, draws).abs()),
            ),
        ),
        Mistake(
            "five-at-each-end",
            "You cut 5 % off at each end, which leaves 90 %.",
            "95 % leaves 5 % for both ends together: 0.025 and 0.975.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(_differences(first, second, draws), 0.05, 0.95),
            ),
        ),
        Mistake(
            "smallest-and-largest",
            "These are the smallest and the largest difference. They grow apart the more one draws.",
            "Cut 2.5 % off at each end: `torch.quantile`.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(_differences(first, second, draws), 0.0, 1.0),
            ),
        ),
        Mistake(
            "quartiles",
            "Half of the draws lie in your interval: 0.25 and 0.75 cut off a quarter at each end.",
            "0.025 and 0.975.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(_differences(first, second, draws), 0.25, 0.75),
            ),
        ),
        Mistake(
            "normal-interval",
            "The interval is the difference ± 1.96 standard deviations, so it is symmetric. With few "
            "sentences the draws are not.",
            "Read the percentiles off the draws themselves.",
            lambda first, second, draws: _around(first, second, draws, lambda d: d.std()),
        ),
        Mistake(
            "error-of-the-draws",
            "You divided by the root of the number of draws. That says how well you know the mean of "
            "the draws, and one can make it as small as one likes by drawing more; that does "
            "not give you more sentences.",
            "Read the percentiles off the draws, without any root.",
            lambda first, second, draws: _around(
                first, second, draws, lambda d: d.std() / math.sqrt(len(d))
            ),
        ),
        Mistake(
            "mean-of-the-draws",
            "The interval is right. The difference is the mean of the draws; it should be that of "
            "the sentences as they are, in which no luck is involved.",
            "`first.mean() - second.mean()`.",
            lambda first, second, draws: (
                _differences(first, second, draws).mean(),
                *_ends(_differences(first, second, draws)),
            ),
        ),
        Mistake(
            "mean-over-draws",
            "The mean ran over the draws instead of the sentences of a draw.",
            "A row of `draws` is a draw: `mean(dim=1)`.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(first[draws].mean(dim=0) - second[draws].mean(dim=0)),
            ),
        ),
        Mistake(
            "single-sentences",
            "The percentiles are those of single sentences' differences. What varies from test set to "
            "test set is the mean.",
            "Take each draw's mean first, then the percentiles.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends((first - second)[draws].flatten()),
            ),
        ),
        Mistake(
            "not-drawn",
            "The draws were not used: these are percentiles of the sentences' differences.",
            "Index with `draws`, and take each draw's mean.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(first - second),
            ),
        ),
        Mistake(
            "summed",
            "These are sums over sentences. They depend on how many there are; take means.",
            "`mean`, not `sum`.",
            lambda first, second, draws: (
                first.sum() - second.sum(),
                *_ends((first[draws] - second[draws]).sum(dim=1)),
            ),
        ),
        Mistake(
            "repeats-left-out",
            "A sentence that was drawn twice counts once with you. Drawing with replacement means "
            "that it counts as often as it was drawn.",
            "No `unique`, no `set`: index with the draw as it is.",
            lambda first, second, draws: (
                first.mean() - second.mean(),
                *_ends(torch.stack([(first - second)[d.unique()].mean() for d in draws])),
            ),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="08_one_table",
    title="One table",
    opening="What stands behind a row of the table of chapter 8: a step of the "
    "decoder, the training that all rows share, and how sure one may be of a difference between "
    "two rows.",
    exercises=(LUONG_STEP, TRAIN_TRANSLATOR, PAIRED_DIFFERENCE),
)
