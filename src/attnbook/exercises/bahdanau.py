"""The exercises of chapter 7: the additive score, and one step of Bahdanau's decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.general_concat import gru

__all__ = ["CHAPTER"]


# --- additive_scores --------------------------------------------------------------------------


def additive_scores(query: Tensor, keys: Tensor, V: Tensor, W: Tensor, v: Tensor) -> Tensor:
    """The additive score, vᵀ tanh(W h + V s), of one query s for each sentence with all its keys h.

    query: (batch, query width), keys: (batch, source, key width),
    V: (hidden, query width), W: (hidden, key width), v: (hidden); gives (batch, source).
    """
    # BEGIN SOLUTION
    prepared = keys @ W.T  # (batch, source, hidden), the same for every step
    asked = query @ V.T  # (batch, hidden)
    return torch.tanh(prepared + asked.unsqueeze(1)) @ v
    # END SOLUTION


def _additive_inputs(
    draw: Draw,
    batch: int,
    source: int,
    widths: tuple[int, int, int],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Widths of query, key and hidden layer."""
    query, key, hidden = widths
    return {
        "query": draw.normal(batch, query, dtype=dtype),
        "keys": draw.normal(batch, source, key, dtype=dtype),
        "V": draw.normal(hidden, query, std=0.6, dtype=dtype),
        "W": draw.normal(hidden, key, std=0.6, dtype=dtype),
        "v": draw.normal(hidden, dtype=dtype),
    }


def _additive_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "an entry is v times the tanh of the sum of two vectors, one from the key, one from the query",
        _additive_inputs(draw, 1, 5, (2, 4, 3)),
        hint="Take the first key h and the query s. W h and V s have as many numbers as the hidden "
        "layer: add them number by number, take the tanh of each, then the dot product with v. Is "
        "that the first score?",
    )
    yield Case(
        "the query of a sentence is added to each of its words",
        _additive_inputs(draw, 2, 4, (3, 2, 5)),
        hint="Look at what the query was added to.",
    )
    yield Case(
        "as many words as hidden units",
        _additive_inputs(draw, 2, 3, (4, 5, 3)),
        hint="There are as many words as hidden units here, so that the query's part fits along "
        "either axis.",
    )
    yield Case(
        "as many sentences as words",
        _additive_inputs(draw, 3, 3, (2, 4, 5)),
        hint="There are as many sentences as words here, so that the query's part fits along either "
        "axis.",
    )
    yield Case(
        "all sizes may be equal",
        _additive_inputs(draw, 3, 3, (3, 3, 3)),
        hint="All sizes are 3 here, so everything fits, whatever is exchanged.",
    )
    yield Case(
        "a single word in a batch of one",
        _additive_inputs(draw, 1, 1, (3, 2, 4)),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all five",
        _additive_inputs(draw, 2, 4, (2, 3, 5), torch.float64),
        gradients=("query", "keys", "V", "W", "v"),
    )


def _columns(query: Tensor, keys: Tensor, V: Tensor, W: Tensor, axis: int | None = 1) -> Tensor:
    """What comes before the tanh: (batch, source, hidden)."""
    asked = query @ V.T
    return keys @ W.T + (asked if axis is None else asked.unsqueeze(axis))


ADDITIVE_SCORES = Exercise(
    solution=additive_scores,
    title="The additive score of one step",
    difficulty=2,
    minutes=12,
    points=3,
    goal="One step of a decoder asks with one query for each sentence: write form (2) of the page, "
    "$e_i = v^\\top \\tanh(W h_i + V s)$, for all words of all sentences of a batch.",
    shapes="`query` (batch, query width), `keys` (batch, source, key width), `V` (hidden, query "
    "width), `W` (hidden, key width), `v` (hidden) → scores (batch, source). Sentences are rows of "
    "the tensor here: `keys` holds $F^\\top$.",
    example="The page's $s = (1, -1)$ and the annotation of *bier*, $h = (0, -1, 2, 1)$, with the "
    "page's $W$ and $V$: $W h = (3, 0)$, $V s = (1, -1)$, their sum $(4, -1)$ and its tanh "
    "$(0.999, -0.762)$. With $v = (2, 1)$ the score is $1.24$.",
    section="bahdanau-forms",
    explanation="$V s$ is one vector for each sentence and has to be added to every word of it: "
    "`unsqueeze(1)` gives it an axis for the source, (batch, 1, hidden), and broadcasting does the "
    "rest. Without it the shapes are (batch, source, hidden) and (batch, hidden), which are "
    "compared from the right: sentences would be taken for words. `keys @ W.T` does not depend on "
    "the query, so a decoder computes it once for each sentence.",
    start="W h for all words has the shape (batch, source, hidden), V s has (batch, hidden). Which "
    "axis does the second lack, and where does it belong?",
    more="`(query @ V.T).unsqueeze(1)` is (batch, 1, hidden) and can be added to `keys @ W.T`. "
    "Around the sum the tanh, then `@ v`.",
    cases=_additive_cases,
    mistakes=(
        Mistake(
            "sentences-taken-for-words",
            "The query's part has no axis for the source, and so its batch was laid along the "
            "words: the second word got the second sentence's query. With a single sentence nobody "
            "notices.",
            "`(query @ V.T).unsqueeze(1)`, so that its shape is (batch, 1, hidden).",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W, None)) @ v,
        ),
        Mistake(
            "hidden-units-taken-for-words",
            "The query's part was added along the wrong axis: its first number to all numbers of "
            "the first word, its second to the second word. That fits only where there are as many "
            "words as hidden units.",
            "The new axis belongs in the middle: `unsqueeze(1)`, not `unsqueeze(-1)`.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W, 2)) @ v,
        ),
        Mistake(
            "no-tanh",
            "The tanh is missing. Without it the query adds the same to the scores of all words, "
            "and the softmax does not notice it.",
            "`torch.tanh` around the sum, before v.",
            lambda query, keys, V, W, v: _columns(query, keys, V, W) @ v,
        ),
        Mistake(
            "tanh-outside",
            "The tanh went over the finished score instead of the hidden layer.",
            "First the tanh, number by number; then the product with v.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W) @ v),
        ),
        Mistake(
            "tanh-on-each-half",
            "Query and key each went through a tanh of their own and were added afterwards, so that "
            "they never meet.",
            "Add first, then one tanh around the sum.",
            lambda query, keys, V, W, v: (
                torch.tanh(keys @ W.T) + torch.tanh(query @ V.T).unsqueeze(1)
            )
            @ v,
        ),
        Mistake(
            "tanh-on-the-keys-only",
            "The tanh went over W h alone, and the query was added afterwards, the same to all "
            "words.",
            "The tanh stands around the sum.",
            lambda query, keys, V, W, v: (
                torch.tanh(keys @ W.T) + (query @ V.T).unsqueeze(1)
            )
            @ v,
        ),
        Mistake(
            "other-nonlinearity-relu",
            "The hidden layer is cut off at 0: that is a relu, not the tanh of the formula.",
            "`torch.tanh`.",
            lambda query, keys, V, W, v: torch.relu(_columns(query, keys, V, W)) @ v,
        ),
        Mistake(
            "multiplied-not-added",
            "W h and V s were multiplied number by number. The score is called additive because "
            "they are added.",
            "`+` between the two.",
            lambda query, keys, V, W, v: torch.tanh(
                (keys @ W.T) * (query @ V.T).unsqueeze(1)
            )
            @ v,
        ),
        Mistake(
            "general-for-additive",
            "That is the dot product of W h and V s, a score of form (1). In form (2) they are "
            "added, and v judges the tanh of the sum.",
            "`torch.tanh(… + …) @ v`.",
            lambda query, keys, V, W, v: ((keys @ W.T) @ (query @ V.T).unsqueeze(2))[..., 0],
        ),
        Mistake(
            "matrices-exchanged",
            "V met the keys and W the query. Where both widths are equal nothing stops, and the "
            "scores are others.",
            "W belongs to the keys, V to the query.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, W, V)) @ v,
        ),
        Mistake(
            "matrices-not-transposed",
            "`keys @ W` multiplies with the columns of W where its rows are meant. Only for square "
            "matrices does that fit.",
            "States are rows here, so W h is `keys @ W.T`; `V` likewise.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V.T, W.T)) @ v,
        ),
        Mistake(
            "reshape-for-transpose",
            "The matrices were reshaped where they should have been transposed.",
            "`W.T` and `V.T`; or `F.linear(keys, W)`, which transposes by itself.",
            lambda query, keys, V, W, v: torch.tanh(
                _columns(query, keys, V.reshape(V.T.shape).T, W.reshape(W.T.shape).T)
            )
            @ v,
        ),
        Mistake(
            "query-left-out",
            "The query has no influence: every step would get these scores.",
            "V s has to be added before the tanh.",
            lambda query, keys, V, W, v: torch.tanh(keys @ W.T) @ v,
        ),
        Mistake(
            "key-left-out",
            "The keys have no influence: all words have the same score.",
            "W h has to be added before the tanh.",
            lambda query, keys, V, W, v: (torch.tanh(query @ V.T) @ v)
            .unsqueeze(1)
            .expand(keys.shape[:2]),
        ),
        Mistake(
            "v-left-out",
            "The hidden numbers were added up as they are; v has no part in the score.",
            "`@ v` instead of the sum.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W)).sum(dim=-1),
        ),
        Mistake(
            "mean-over-hidden",
            "The score was divided by the number of hidden units.",
            "A product with v adds up: `sum`, not `mean`.",
            lambda query, keys, V, W, v: (torch.tanh(_columns(query, keys, V, W)) * v).mean(dim=-1),
        ),
        Mistake(
            "hidden-layer-returned",
            "Each word still has all the numbers of its hidden layer. A score is one number.",
            "The product with v makes one number of them: `@ v`.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W)) * v,
        ),
        Mistake(
            "scaled",
            "You divided by the root of the width. That factor belongs to the scaled dot score.",
            "Leave the division out.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query, keys, V, W)) @ v
            / math.sqrt(v.shape[0]),
        ),
        Mistake(
            "softmax-already",
            "These are weights: they are positive and sum to 1. Asked for are the scores before the "
            "softmax.",
            "Leave the softmax to the next exercise.",
            lambda query, keys, V, W, v: torch.softmax(
                torch.tanh(_columns(query, keys, V, W)) @ v, dim=-1
            ),
        ),
        Mistake(
            "first-query-for-all",
            "All sentences were asked with the query of the first one.",
            "Do not index the batch away: `query[0]` is one sentence.",
            lambda query, keys, V, W, v: torch.tanh(_columns(query[:1], keys, V, W)) @ v,
        ),
    ),
)  # fmt: skip


# --- bahdanau_step ----------------------------------------------------------------------------


def bahdanau_step(
    embedded: Tensor,
    state: Tensor,
    keys: Tensor,
    prepared: Tensor,
    mask: Tensor,
    V: Tensor,
    v: Tensor,
    cell: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Bahdanau's decoder: look, then move.

    The old state asks, by the additive score vᵀ tanh(W h + V s). The new state is made by `gru`
    from word and context together, s_t = f([y; c_t], s).

    embedded: (batch, embedding), the last word y; state: (batch, hidden), the last state s;
    keys: (batch, source, key width), also the values; prepared: (batch, source, attention), W h
    for each key; mask: bool, (batch, source), True = may look, somewhere in each sentence;
    V: (attention, hidden); v: (attention); cell: for `gru`, made for [y; c].
    Gives s_t (batch, hidden), the context (batch, key width) and the weights (batch, source).
    """
    # BEGIN SOLUTION
    scores = torch.tanh(prepared + (state @ V.T).unsqueeze(1)) @ v
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)
    context = (weights.unsqueeze(1) @ keys).squeeze(1)
    new = gru(torch.cat([embedded, context], dim=-1), state, cell)
    return new, context, weights
    # END SOLUTION


def _step_inputs(
    draw: Draw,
    mask: list[list[bool]],
    widths: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Widths of embedding, state, key and the alignment model's hidden layer."""
    embedding, hidden, key, attention = widths
    batch, source = len(mask), len(mask[0])
    keys = draw.normal(batch, source, key, dtype=dtype)
    return {
        "embedded": draw.normal(batch, embedding, dtype=dtype),
        "state": draw.normal(batch, hidden, std=0.7, dtype=dtype),
        "keys": keys,
        "prepared": keys @ draw.normal(attention, key, std=0.6, dtype=dtype).T,
        "mask": torch.tensor(mask),
        "V": draw.normal(attention, hidden, dtype=dtype),
        "v": draw.normal(attention, std=1.5, dtype=dtype),
        "cell": [
            draw.normal(3 * hidden, embedding + key, std=0.7, dtype=dtype),
            draw.normal(3 * hidden, hidden, std=0.7, dtype=dtype),
            draw.normal(3 * hidden, std=0.5, dtype=dtype),
            draw.normal(3 * hidden, std=0.5, dtype=dtype),
        ],
    }


def _step_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the state before the step asks, and what it sees goes into the new one",
        _step_inputs(draw, [[True] * 4], (3, 2, 2, 3)),
        hint="Check one result after the other: the weights come from the old state and the "
        "prepared keys, the context from weights and keys, the new state from word and context.",
    )
    yield Case(
        "words that may not be looked at have weight 0, and the others share 1",
        _step_inputs(
            draw,
            [[True, True, True, True], [True, True, False, False], [False, True, True, False]],
            (2, 3, 5, 4),
        ),
        hint="Look at the weights where the mask is False.",
    )
    first = _step_inputs(draw, [[True, True, True], [True, True, False]], (4, 3, 2, 5))
    yield Case(
        "the first step may start from a state of zeros",
        first | {"state": torch.zeros_like(first["state"])},
        hint="The query is zero here. What is left of the score is v tanh(W h), another number for "
        "each word.",
    )
    yield Case(
        "all sizes may be equal",
        _step_inputs(
            draw, [[True, True, False], [False, True, True], [True, True, True]], (3, 3, 3, 3)
        ),
        hint="All sizes are 3 here, so everything fits, whatever is exchanged.",
    )
    yield Case(
        "a single word in a batch of one",
        _step_inputs(draw, [[True]], (2, 3, 4, 2)),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all that comes in",
        _step_inputs(
            draw, [[True, True, True, False], [True, True, True, True]], (2, 3, 4, 3), torch.float64
        ),
        gradients=("embedded", "state", "keys", "prepared", "V", "v"),
    )


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)


def _additive(query: Tensor, prepared: Tensor, V: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(prepared + (query @ V.T).unsqueeze(1)) @ v


def _bahdanau(
    embedded: Tensor,
    state: Tensor,
    keys: Tensor,
    prepared: Tensor,
    mask: Tensor,
    V: Tensor,
    v: Tensor,
    cell: list[Tensor],
    *,
    ask: Callable[[Tensor, Tensor], Tensor] = lambda state, embedded: state,
    compare: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = _additive,
    weigh: Callable[[Tensor, Tensor], Tensor] = _masked,
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda weights, keys, prepared: torch.einsum(
        "bs,bsk->bk", weights, keys
    ),
    read: Callable[[Tensor, Tensor], Tensor] = lambda y, c: torch.cat([y, c], dim=-1),
    give: Callable[..., tuple[Tensor, Tensor, Tensor]] = lambda new, context, weights, **_: (
        new,
        context,
        weights,
    ),
) -> tuple[Tensor, Tensor, Tensor]:
    """The step with parts that may be exchanged."""
    scores = compare(ask(state, embedded), prepared, V, v)
    weights = weigh(scores, mask)
    context = mix(weights, keys, prepared)
    new = gru(read(embedded, context), state, cell)
    return give(new, context, weights, old=state, scores=scores)


def _moved_first(
    embedded: Tensor,
    state: Tensor,
    keys: Tensor,
    prepared: Tensor,
    mask: Tensor,
    V: Tensor,
    v: Tensor,
    cell: list[Tensor],
    *,
    then: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """A state that has read the word, and no context, asks."""
    nothing = keys.new_zeros(len(keys), keys.shape[-1])
    moved = gru(torch.cat([embedded, nothing], dim=-1), state, cell)
    weights = _masked(_additive(moved, prepared, V, v), mask)
    context = torch.einsum("bs,bsk->bk", weights, keys)
    if then == "stay":
        return moved, context, weights
    before = moved if then == "move on" else state
    return gru(torch.cat([embedded, context], dim=-1), before, cell), context, weights


def _looked_again(
    embedded: Tensor,
    state: Tensor,
    keys: Tensor,
    prepared: Tensor,
    mask: Tensor,
    V: Tensor,
    v: Tensor,
    cell: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    new, _, _ = _bahdanau(embedded, state, keys, prepared, mask, V, v, cell)
    weights = _masked(_additive(new, prepared, V, v), mask)
    return new, torch.einsum("bs,bsk->bk", weights, keys), weights


BAHDANAU_STEP = Exercise(
    solution=bahdanau_step,
    title="Look, then move",
    difficulty=3,
    minutes=25,
    points=4,
    goal="Put a whole step of Bahdanau's decoder together: the old state asks, the answer "
    "is mixed from the annotations, and word and context together make the next state. The readout "
    "is not part of it.",
    shapes="`embedded` (batch, embedding), `state` (batch, hidden), `keys` (batch, source, key "
    "width), `prepared` (batch, source, attention), `mask` (batch, source) bool, `V` (attention, "
    "hidden), `v` (attention), `cell` a list for `gru` → the new state (batch, hidden), the context "
    "(batch, key width), the weights (batch, source).",
    example="Two words with the keys $(4, 0)$ and $(0, 8)$. If the state before the step gives them "
    "the scores $0$ and $\\ln 3$, the weights are $(0.25, 0.75)$ and the context is "
    "$0.25\\cdot(4, 0) + 0.75\\cdot(0, 8) = (1, 6)$. With the word $(5, 7)$ the cell reads "
    "$[y; c] = (5, 7, 1, 6)$.",
    section="bahdanau-look",
    explanation="The lines before `return` are the page's steps 1 and 2, and their order is the exercise: the "
    "context is needed to make the new state, so the new state cannot have asked for it. `prepared` "
    "is $W h$ for each word; it serves for comparing, and what is mixed are the annotations "
    "themselves. The context is returned because the readout needs it, and the weights because "
    "somebody will want to see them.",
    start="Which of the three results can you make first, from what comes in? Begin with the scores "
    "of the old state; what they lead to is needed before the state can move.",
    more="Scores: `torch.tanh(prepared + (state @ V.T).unsqueeze(1)) @ v`. Then the masked softmax, "
    "then the weighted sum of `keys`, and last `gru(torch.cat([embedded, context], dim=-1), state, "
    "cell)`.",
    cases=_step_cases,
    given=(gru,),
    mistakes=(
        Mistake(
            "moved-before-looking",
            "The state moved first and asked afterwards, which is Luong's order. So the context "
            "came too late to go into the state.",
            "Ask with `state` as it came in; call `gru` once, last, with the context.",
            partial(_moved_first, then="stay"),
        ),
        Mistake(
            "moved-twice",
            "The state moved twice in one step, once to ask and once with the context.",
            "Ask with `state` as it came in; call `gru` once.",
            partial(_moved_first, then="move on"),
        ),
        Mistake(
            "asked-with-a-preview",
            "A state that has read the last word asked for the context. Bahdanau's decoder asks "
            "with the state before the step, which has not read it.",
            "Ask with `state` as it came in.",
            partial(_moved_first, then="go back"),
        ),
        Mistake(
            "looked-again",
            "The new state is right, but context and weights are not those that it was made of: the "
            "new state has asked once more.",
            "Return the context that went into `gru`, and its weights.",
            _looked_again,
        ),
        Mistake(
            "context-not-fed",
            "The new state has not read the context: there are zeros in its place.",
            "`torch.cat([embedded, context], dim=-1)` goes into `gru`.",
            partial(_bahdanau, read=lambda y, c: torch.cat([y, torch.zeros_like(c)], dim=-1)),
        ),
        Mistake(
            "word-not-read",
            "The new state has not read the last word: there are zeros in its place.",
            "`torch.cat([embedded, context], dim=-1)` goes into `gru`.",
            partial(_bahdanau, read=lambda y, c: torch.cat([torch.zeros_like(y), c], dim=-1)),
        ),
        Mistake(
            "context-above-word",
            "The cell reads [c; y] where it was made for [y; c]: each of the two meets the "
            "parameters of the other.",
            "First the word, then the context.",
            partial(_bahdanau, read=lambda y, c: torch.cat([c, y], dim=-1)),
        ),
        Mistake(
            "prepared-for-values",
            "The context was mixed from the prepared keys. They are there to be compared; what the "
            "decoder needs to know is in the annotations themselves.",
            "Weights times `keys`.",
            partial(
                _bahdanau,
                mix=lambda weights, keys, prepared: torch.einsum("bs,bsk->bk", weights, prepared),
            ),
        ),
        Mistake(
            "uniform",
            "The context is the plain mean of the annotations: the weights have no part in it.",
            "Each annotation times its weight, then the sum over the source.",
            partial(_bahdanau, mix=lambda weights, keys, prepared: keys.mean(dim=1)),
        ),
        Mistake(
            "mean-over-source",
            "The weighted sum was divided by the number of words once more. The weights already sum "
            "to 1.",
            "`sum`, not `mean`.",
            partial(
                _bahdanau,
                mix=lambda weights, keys, prepared: torch.einsum("bs,bsk->bk", weights, keys)
                / keys.shape[1],
            ),
        ),
        Mistake(
            "only-the-largest",
            "The context is the annotation with the largest weight, and all others are left out.",
            "Add up all of them, in proportion.",
            partial(
                _bahdanau,
                mix=lambda weights, keys, prepared: keys[
                    torch.arange(len(keys)), weights.argmax(dim=-1)
                ],
            ),
        ),
        Mistake(
            "asked-with-the-word",
            "The last word asked instead of the state.",
            "The query is `state`.",
            partial(_bahdanau, ask=lambda state, embedded: embedded),
        ),
        Mistake(
            "query-left-out",
            "The state has no part in the scores: every step would have the same weights.",
            "V s has to be added to the prepared keys, before the tanh.",
            partial(
                _bahdanau, compare=lambda query, prepared, V, v: torch.tanh(prepared) @ v
            ),
        ),
        Mistake(
            "sentences-taken-for-words",
            "V s has no axis for the source, and so its batch was laid along the words.",
            "`(state @ V.T).unsqueeze(1)`, so that its shape is (batch, 1, attention).",
            partial(
                _bahdanau,
                compare=lambda query, prepared, V, v: torch.tanh(prepared + query @ V.T) @ v,
            ),
        ),
        Mistake(
            "no-tanh",
            "The tanh is missing, and so the state has no influence on the weights: it adds the "
            "same to the scores of all words.",
            "`torch.tanh` around the sum, before v.",
            partial(
                _bahdanau,
                compare=lambda query, prepared, V, v: (prepared + (query @ V.T).unsqueeze(1)) @ v,
            ),
        ),
        Mistake(
            "no-mask",
            "The mask has no effect: padding gets its share.",
            "Fill the forbidden scores with −∞ before the softmax.",
            partial(_bahdanau, weigh=lambda scores, mask: torch.softmax(scores, dim=-1)),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. In this book True means *may look*.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            partial(_bahdanau, weigh=lambda scores, mask: _masked(scores, ~mask)),
        ),
        Mistake(
            "mask-after-softmax",
            "The weights of a masked sentence do not sum to 1: the mask came after the softmax.",
            "Mask the scores, not the weights.",
            partial(_bahdanau, weigh=lambda scores, mask: torch.softmax(scores, dim=-1) * mask),
        ),
        Mistake(
            "filled-with-zero",
            "Forbidden scores were set to 0. A score of 0 is not a weight of 0.",
            "The score whose exponential is 0 is −∞.",
            partial(_bahdanau, weigh=lambda scores, mask: torch.softmax(scores * mask, dim=-1)),
        ),
        Mistake(
            "right-padding-assumed",
            "You counted the allowed words and kept the first ones. A mask can have its holes "
            "anywhere.",
            "Use the mask itself, not its sum.",
            partial(
                _bahdanau,
                weigh=lambda scores, mask: _masked(
                    scores, torch.arange(mask.shape[1]) < mask.sum(dim=1, keepdim=True)
                ),
            ),
        ),
        Mistake(
            "first-mask-for-all",
            "Every sentence got the mask of the first one.",
            "Do not index the mask's batch away.",
            partial(
                _bahdanau, weigh=lambda scores, mask: _masked(scores, mask[:1].expand_as(mask))
            ),
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the sentences of the batch.",
            "`dim=-1`, the source.",
            partial(
                _bahdanau,
                weigh=lambda scores, mask: torch.softmax(
                    scores.masked_fill(~mask, -torch.inf), dim=0
                ),
            ),
        ),
        Mistake(
            "no-softmax",
            "Scores were used as weights: they do not sum to 1, and some are negative.",
            "The softmax comes between scores and context.",
            partial(_bahdanau, weigh=lambda scores, mask: scores * mask),
        ),
        Mistake(
            "scores-returned",
            "The third result has scores. Asked for are the weights after the softmax.",
            "Return the weights.",
            partial(
                _bahdanau, give=lambda new, context, weights, scores, **_: (new, context, scores)
            ),
        ),
        Mistake(
            "old-state-returned",
            "The state that you return is the one that came in.",
            "Return the result of `gru`.",
            partial(
                _bahdanau, give=lambda new, context, weights, old, **_: (old, context, weights)
            ),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="07_bahdanau",
    title="Bahdanau's aligner",
    opening="The alignment model and the step around it, as chapter 7 has "
    "them: first the scores of one step, then the whole step in the order in which the first "
    "decoder with attention did it.",
    exercises=(ADDITIVE_SCORES, BAHDANAU_STEP),
)
