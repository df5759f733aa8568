"""The exercises of chapter 6: the general score, concat, and a step with input feeding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake

__all__ = ["CHAPTER", "gru"]


# --- general_scores ---------------------------------------------------------------------------


def general_scores(queries: Tensor, keys: Tensor, W: Tensor) -> Tensor:
    """The general score, sᵀ W h, of each query s with each key h.

    queries: (batch, target, query width), keys: (batch, source, key width),
    W: (query width, key width); gives (batch, target, source).
    """
    # BEGIN SOLUTION
    return queries @ W @ keys.transpose(1, 2)
    # END SOLUTION


def _general_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "an entry is one query times W times one key",
        {
            "queries": draw.normal(1, 2, 2),
            "keys": draw.normal(1, 4, 3),
            "W": draw.normal(2, 3),
        },
        hint="Take the first query s and the first key h. Multiply each row of W by h, which gives "
        "as many numbers as s has; then take the dot product with s. Is that the entry at the top "
        "left?",
    )
    yield Case(
        "a row for each query, a column for each key",
        {
            "queries": draw.normal(1, 3, 4),
            "keys": draw.normal(1, 5, 2),
            "W": draw.normal(4, 2),
        },
    )
    yield Case(
        "sentences of a batch do not meet",
        {
            "queries": draw.normal(2, 3, 2),
            "keys": draw.normal(2, 3, 4),
            "W": draw.normal(2, 4),
        },
        hint="The scores of one sentence contain states of the other.",
    )
    yield Case(
        "target, source and both widths may be equal",
        {
            "queries": draw.normal(3, 3, 3),
            "keys": draw.normal(3, 3, 3),
            "W": draw.normal(3, 3),
        },
        hint="All sizes are 3 here, so every transpose fits, the wrong ones too.",
    )
    yield Case(
        "with the identity in place of W it is the dot product",
        {
            "queries": draw.normal(1, 2, 4),
            "keys": draw.normal(1, 3, 4),
            "W": torch.eye(4),
        },
    )
    yield Case(
        "a single word in a batch of one",
        {
            "queries": draw.normal(1, 1, 3),
            "keys": draw.normal(1, 1, 2),
            "W": draw.normal(3, 2),
        },
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all three",
        {
            "queries": draw.normal(2, 2, 3, dtype=torch.float64),
            "keys": draw.normal(2, 4, 5, dtype=torch.float64),
            "W": draw.normal(3, 5, dtype=torch.float64),
        },
        gradients=("queries", "keys", "W"),
    )


GENERAL_SCORES = Exercise(
    solution=general_scores,
    title="A matrix between query and key",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Compare states of two widths, which no dot product can do: "
    "$e_{ti} = s_t^\\top W h_i$, for all steps and all words of a batch of sentences.",
    shapes="`queries` (batch, target, query width), `keys` (batch, source, key width), `W` (query "
    "width, key width) → scores (batch, target, source).",
    example="The page's query $s = (2, 1)$ and its key $h_3 = (-1, 0, 2)$, with the rows "
    "$(1, 0, 1)$ and $(0, -1, 1)$ in $W$: $W h_3 = (1, 2)$, and the score is "
    "$2\\cdot 1 + 1\\cdot 2 = 4$.",
    section="general-concat-matrix",
    explanation="`queries @ W` carries each query into the keys' numbers, and the rest is the dot "
    "score of chapter 5. `queries @ (keys @ W.T).transpose(1, 2)` carries the keys instead and "
    "gives the same numbers; a decoder does that, because the keys of a sentence stay the same "
    "from step to step. As rows of a tensor, $W h$ is `h @ W.T` and $s^\\top W$ is `s @ W`.",
    start="A row of W belongs to a number of the query, a column to a number of a key. Which of "
    "`queries @ W` and `keys @ W` fits, and what would it have to be multiplied with afterwards?",
    more="`queries @ W` has the shape (batch, target, key width). Now it is as wide as the keys, "
    "and what is left is the dot score: times the transposed keys.",
    cases=_general_cases,
    mistakes=(
        Mistake(
            "matrix-transposed",
            "W stands the wrong way round. With two equal widths that fits, and gives the score of "
            "another model: question and answer have changed sides.",
            "W has a row for each number of the query, so it is `queries @ W` or `keys @ W.T`.",
            lambda queries, keys, W: queries @ W.T @ keys.transpose(1, 2),
        ),
        Mistake(
            "matrix-left-out",
            "This is the dot product: W has no part in it, and with two different widths nothing "
            "fits.",
            "Multiply the queries by W first.",
            lambda queries, keys, W: queries @ keys.transpose(1, 2),
        ),
        Mistake(
            "matrix-twice",
            "Queries and keys were both multiplied by W, so it is in the score twice. One of the "
            "two states is carried over; the other stays what it is.",
            "Either `queries @ W` or `keys @ W.T`, not both.",
            lambda queries, keys, W: queries @ W @ (keys @ W.T).transpose(1, 2),
        ),
        Mistake(
            "diagonal-only",
            "Only equal places met: the first number of the query with the first of the key, by the "
            "diagonal of W. In the general score every number may meet every other.",
            "A product of matrices, not a product number by number.",
            lambda queries, keys, W: (queries * torch.diagonal(W)) @ keys.transpose(1, 2),
        ),
        Mistake(
            "query-carried-over-only",
            "These are the queries in the keys' numbers, and no key has been compared with them "
            "yet.",
            "One more product, with the transposed keys.",
            lambda queries, keys, W: queries @ W,
        ),
        Mistake(
            "keys-carried-over-only",
            "These are the keys in the queries' numbers, and no query has been compared with them "
            "yet.",
            "One more product: the queries times what you have, transposed.",
            lambda queries, keys, W: keys @ W.T,
        ),
        Mistake(
            "tanh-in-between",
            "A tanh went over the keys on their way. The general score has none: it is linear in "
            "the query and linear in the key. The tanh belongs to concat.",
            "Leave the tanh out.",
            lambda queries, keys, W: queries @ torch.tanh(keys @ W.T).transpose(1, 2),
        ),
        Mistake(
            "tanh-around",
            "All your scores lie between −1 and 1: a tanh went over them. The general score has no "
            "bounds.",
            "Leave the tanh out.",
            lambda queries, keys, W: torch.tanh(queries @ W @ keys.transpose(1, 2)),
        ),
        Mistake(
            "scaled",
            "You divided by the root of the width. The general score has no such factor; its W can "
            "learn one.",
            "Leave the division out.",
            lambda queries, keys, W: queries @ W @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1]),
        ),
        Mistake(
            "cosine",
            "You normalized the vectors, so that these are cosines. How long a state is has to "
            "count.",
            "Do not divide by the norms.",
            lambda queries, keys, W: F.normalize(queries @ W, dim=-1)
            @ F.normalize(keys, dim=-1).transpose(1, 2),
        ),
        Mistake(
            "softmax-already",
            "These are weights: they are positive and sum to 1. Asked for are the scores before the "
            "softmax.",
            "Leave the softmax out.",
            lambda queries, keys, W: torch.softmax(queries @ W @ keys.transpose(1, 2), dim=-1),
        ),
        Mistake(
            "target-and-source-exchanged",
            "Rows and columns have changed places: a row has to belong to a step of the decoder.",
            "Queries first, transposed keys last; or exchange the last two axes of your result.",
            lambda queries, keys, W: keys @ W.T @ queries.transpose(1, 2),
        ),
        Mistake(
            "reshape-for-transpose",
            "The keys were reshaped where they should have been transposed: pieces of different "
            "words land in one column.",
            "`keys.transpose(1, 2)` makes rows into columns; `view` and `reshape` do not.",
            lambda queries, keys, W: queries
            @ W
            @ keys.reshape(len(keys), keys.shape[2], keys.shape[1]),
        ),
        Mistake(
            "no-transpose",
            "Rows met rows: the k-th number of a query was multiplied by the k-th *word*. For most "
            "lengths that does not even fit.",
            "Transpose the keys' last two axes.",
            lambda queries, keys, W: queries @ W @ keys,
        ),
        Mistake(
            "batch-turned",
            "`.T` and `permute` with all axes turned around take the batch along: sentence and "
            "width have changed places.",
            "`W.T` is right for a matrix. For the keys name the axes: `keys.transpose(1, 2)`.",
            lambda queries, keys, W: queries @ W @ keys.permute(2, 1, 0),
        ),
        Mistake(
            "own-position-only",
            "Each query met only the key at its own position.",
            "The result needs an axis for the target and one for the source: `@`, not `*`.",
            lambda queries, keys, W: (queries @ W * keys).sum(dim=-1),
        ),
        Mistake(
            "batch-mixed",
            "Every sentence's queries met the keys of all sentences.",
            "In `einsum` the letter of the batch must be the same in queries, keys and result.",
            lambda queries, keys, W: torch.einsum("btq,qk,csk->bts", queries, W, keys),
        ),
        Mistake(
            "first-sentence-for-all",
            "All sentences were compared with the keys of the first one.",
            "Do not index the batch away: `keys[0]` is one sentence.",
            lambda queries, keys, W: queries @ W @ keys[0].T,
        ),
        Mistake(
            "last-query-only",
            "Only the decoder's last state was compared, and its scores stand in every row.",
            "Every step has a query of its own.",
            lambda queries, keys, W: (queries[:, -1:] @ W @ keys.transpose(1, 2)).expand(
                -1, queries.shape[1], -1
            ),
        ),
    ),
)  # fmt: skip


# --- concat_scores ----------------------------------------------------------------------------


def concat_scores(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor) -> Tensor:
    """The concat score, vᵀ tanh(W [s; h]), of each query s with each key h.

    queries: (batch, target, query width), keys: (batch, source, key width),
    W: (hidden, query width + key width), v: (hidden); gives (batch, target, source).
    """
    # BEGIN SOLUTION
    width = queries.shape[-1]
    asked = queries @ W[:, :width].T  # W_s s: (batch, target, hidden)
    offered = keys @ W[:, width:].T  # W_h h: (batch, source, hidden)
    pairs = asked.unsqueeze(2) + offered.unsqueeze(1)  # (batch, target, source, hidden)
    return torch.tanh(pairs) @ v
    # END SOLUTION


def _concat_inputs(
    draw: Draw,
    sizes: tuple[int, int, int],
    widths: tuple[int, int, int],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Batch, target, source; widths of query, key and hidden layer."""
    batch, target, source = sizes
    query, key, hidden = widths
    return {
        "queries": draw.normal(batch, target, query, dtype=dtype),
        "keys": draw.normal(batch, source, key, dtype=dtype),
        "W": draw.normal(hidden, query + key, std=0.6, dtype=dtype),
        "v": draw.normal(hidden, dtype=dtype),
    }


def _concat_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "an entry is v times the tanh of W times one query above one key",
        _concat_inputs(draw, (1, 2, 4), (2, 3, 2)),
        hint="Take the first query and the first key and set them one below the other, the query "
        "above. Multiply each row of W by that, take the tanh of each result, and the dot product "
        "with v. Is that the entry at the top left?",
    )
    yield Case(
        "every query meets every key",
        _concat_inputs(draw, (1, 3, 5), (4, 2, 6)),
        hint="Look at which query and which key stand behind each entry.",
    )
    yield Case(
        "sentences of a batch do not meet",
        _concat_inputs(draw, (2, 3, 3), (2, 4, 5)),
        hint="The scores of one sentence contain states of the other.",
    )
    yield Case(
        "all sizes may be equal",
        _concat_inputs(draw, (3, 3, 3), (3, 3, 3)),
        hint="All sizes are 3 here, so every broadcast fits, the wrong ones too.",
    )
    far = _concat_inputs(draw, (1, 2, 3), (1, 2, 4))
    yield Case(
        "no score is larger than the absolute values of v together, however long the states are",
        far | {"queries": far["queries"] * 30, "keys": far["keys"] * 30},
        hint="The states are long here, and the tanh is −1 or 1 nearly everywhere.",
    )
    yield Case(
        "a single word in a batch of one",
        _concat_inputs(draw, (1, 1, 1), (2, 3, 4)),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all four",
        _concat_inputs(draw, (2, 2, 3), (3, 1, 4), torch.float64),
        gradients=("queries", "keys", "W", "v"),
    )


def _pairs(queries: Tensor, keys: Tensor, W: Tensor) -> Tensor:
    """What comes before the tanh: (batch, target, source, hidden)."""
    width = queries.shape[-1]
    return (queries @ W[:, :width].T).unsqueeze(2) + (keys @ W[:, width:].T).unsqueeze(1)


def _exchanged(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor) -> Tensor:
    width = keys.shape[-1]
    pairs = (keys @ W[:, :width].T).unsqueeze(1) + (queries @ W[:, width:].T).unsqueeze(2)
    return torch.tanh(pairs) @ v


def _halves_apart(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor) -> Tensor:
    width = queries.shape[-1]
    asked, offered = queries @ W[:, :width].T, keys @ W[:, width:].T
    return torch.tanh(asked).unsqueeze(2) @ v + torch.tanh(offered).unsqueeze(1) @ v


def _one_half(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor, *, query: bool) -> Tensor:
    width = queries.shape[-1]
    shape = (len(queries), queries.shape[1], keys.shape[1])
    if query:
        return (torch.tanh(queries @ W[:, :width].T) @ v).unsqueeze(2).expand(shape)
    return (torch.tanh(keys @ W[:, width:].T) @ v).unsqueeze(1).expand(shape)


def _misdealt(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor) -> Tensor:
    target, source = queries.shape[1], keys.shape[1]
    both = torch.cat([queries.repeat(1, source, 1), keys.repeat(1, target, 1)], dim=-1)
    return (torch.tanh(both @ W.T) @ v).view(-1, target, source)


def _dealt_across(queries: Tensor, keys: Tensor, W: Tensor, v: Tensor) -> Tensor:
    scores = torch.tanh(_pairs(queries, keys, W)) @ v
    return scores.transpose(1, 2).reshape(scores.shape)


CONCAT_SCORES = Exercise(
    solution=concat_scores,
    title="A small network between query and key",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Let a network with one hidden layer judge each pair of a query and a key: "
    "$e_{ti} = v^\\top \\tanh(W [s_t; h_i])$, all pairs of a sentence in one tensor.",
    shapes="`queries` (batch, target, query width), `keys` (batch, source, key width), `W` (hidden, "
    "query width + key width), `v` (hidden) → scores (batch, target, source). In `W` the columns "
    "that meet the query come first.",
    example="$s = (2, 1)$, $h = (1, 0, -1)$, and in $W$ the rows $(1, 0, -1, 0, 1)$ and "
    "$(0, 1, 1, 0, 1)$: $W [s; h]$ is $(2 - 1 - 1,\\ 1 + 1 - 1) = (0, 1)$, its tanh "
    "$(0, 0.762)$, and with $v = (2, -1)$ the score is $-0.762$.",
    section="general-concat-network",
    explanation="$W [s; h] = W_s s + W_h h$: cut $W$ after as many columns as the query is wide, "
    "multiply each query and each key once, and form only the sums for pairs. The two `unsqueeze` "
    "give query and key an axis each, so that broadcasting sets all pairs side by side. The tanh "
    "stands around the sum, where query and key meet, and `@ v` makes one number of the hidden "
    "layer. Whoever writes `torch.cat` on copies of all pairs gets the same numbers with more "
    "work.",
    start="A score is needed for each pair. If the queries have the shape (batch, target, 1, "
    "hidden) and the keys (batch, 1, source, hidden), what is the shape of their sum? And which "
    "columns of W have to do with the query?",
    more="Cut W at `queries.shape[-1]`: `queries @ W[:, :width].T` and `keys @ W[:, width:].T`. "
    "Add them with `unsqueeze(2)` and `unsqueeze(1)`, take the tanh, and multiply by `v`.",
    cases=_concat_cases,
    mistakes=(
        Mistake(
            "no-tanh",
            "The tanh is missing. Without it the score is one part from the query plus one from the "
            "key, and the softmax does not notice the first: every step would look at the same "
            "place.",
            "`torch.tanh` around the sum, before v.",
            lambda queries, keys, W, v: _pairs(queries, keys, W) @ v,
        ),
        Mistake(
            "tanh-outside",
            "The tanh went over the finished score instead of the hidden layer, so that all scores "
            "lie between −1 and 1.",
            "First the tanh, number by number; then the product with v.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W) @ v),
        ),
        Mistake(
            "tanh-on-each-half",
            "Query and key each went through a tanh of their own and were added afterwards. So they "
            "never meet: the query adds the same to the scores of all words.",
            "Add first, then one tanh around the sum.",
            _halves_apart,
        ),
        Mistake(
            "other-nonlinearity-relu",
            "The hidden layer is cut off at 0: that is a relu, not the tanh of the formula.",
            "`torch.tanh`.",
            lambda queries, keys, W, v: torch.relu(_pairs(queries, keys, W)) @ v,
        ),
        Mistake(
            "other-nonlinearity-sigmoid",
            "The hidden layer lies between 0 and 1: that is a sigmoid. The tanh goes from −1 to 1.",
            "`torch.tanh`.",
            lambda queries, keys, W, v: torch.sigmoid(_pairs(queries, keys, W)) @ v,
        ),
        Mistake(
            "key-above-query",
            "The key was set above the query, or the columns of W were dealt out the other way "
            "round: [h; s] instead of [s; h].",
            "The first columns of W, as many as the query is wide, belong to the query.",
            _exchanged,
        ),
        Mistake(
            "query-left-out",
            "The query has no influence: all rows of a sentence are the same.",
            "W_s s has to be added before the tanh.",
            lambda queries, keys, W, v: _one_half(queries, keys, W, v, query=False),
        ),
        Mistake(
            "key-left-out",
            "The key has no influence: all words of a row have the same score.",
            "W_h h has to be added before the tanh.",
            lambda queries, keys, W, v: _one_half(queries, keys, W, v, query=True),
        ),
        Mistake(
            "v-left-out",
            "The hidden numbers were added up as they are; v has no part in the score.",
            "`@ v` instead of the sum: each hidden number counts as much as v says, for or against.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W)).sum(dim=-1),
        ),
        Mistake(
            "v-inside-the-tanh",
            "v came before the tanh: it was multiplied into the hidden layer, and the tanh cut it "
            "down.",
            "tanh of the sum first; then multiply by v and add up.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W) * v).sum(dim=-1),
        ),
        Mistake(
            "mean-over-hidden",
            "The score was divided by the number of hidden units.",
            "A product with v adds up: `sum`, not `mean`.",
            lambda queries, keys, W, v: (torch.tanh(_pairs(queries, keys, W)) * v).mean(dim=-1),
        ),
        Mistake(
            "hidden-layer-returned",
            "Each pair still has all the numbers of its hidden layer. A score is one number.",
            "The product with v makes one number of them: `@ v`.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W)) * v,
        ),
        Mistake(
            "scaled",
            "You divided by the root of the width. That factor belongs to the scaled dot score.",
            "Leave the division out.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W)) @ v
            / math.sqrt(v.shape[0]),
        ),
        Mistake(
            "softmax-already",
            "These are weights: they are positive and sum to 1. Asked for are the scores before the "
            "softmax.",
            "Leave the softmax out.",
            lambda queries, keys, W, v: torch.softmax(
                torch.tanh(_pairs(queries, keys, W)) @ v, dim=-1
            ),
        ),
        Mistake(
            "target-and-source-exchanged",
            "Rows and columns have changed places: a row has to belong to a step of the decoder.",
            "The queries get their new axis at 2, the keys at 1.",
            lambda queries, keys, W, v: (torch.tanh(_pairs(queries, keys, W)) @ v).transpose(1, 2),
        ),
        Mistake(
            "pairs-misdealt",
            "Queries and keys were both repeated as a whole, so that they ran side by side: the "
            "first query with the first key, the second with the second, and round again. Some "
            "pairs come twice and others never.",
            "One of the two has to be repeated word by word: `repeat_interleave`. Or leave it to "
            "broadcasting with `unsqueeze`.",
            _misdealt,
        ),
        Mistake(
            "pairs-dealt-across",
            "All pairs are there and were put into the table in the wrong order: you repeated for "
            "each key all queries, and read it as if for each query all keys.",
            "Repeat the *queries* word by word and the *keys* as a whole; or use `unsqueeze`.",
            _dealt_across,
        ),
        Mistake(
            "own-position-only",
            "Each query was set above the key at its own position, and met no other.",
            "The result needs an axis for the target and one for the source: `unsqueeze(2)` and "
            "`unsqueeze(1)`.",
            lambda queries, keys, W, v: torch.tanh(torch.cat([queries, keys], dim=-1) @ W.T) @ v,
        ),
        Mistake(
            "reshape-for-transpose",
            "W was reshaped where it should have been transposed: numbers of different hidden units "
            "were mixed.",
            "`W.T`; or `F.linear(both, W)`, which transposes by itself.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys, W.reshape(W.T.shape).T))
            @ v,
        ),
        Mistake(
            "first-sentence-for-all",
            "All sentences were compared with the keys of the first one.",
            "Do not index the batch away: `keys[0]` is one sentence.",
            lambda queries, keys, W, v: torch.tanh(_pairs(queries, keys[:1], W)) @ v,
        ),
        Mistake(
            "last-query-only",
            "Only the decoder's last state was compared, and its scores stand in every row.",
            "Every step has a query of its own.",
            lambda queries, keys, W, v: (torch.tanh(_pairs(queries[:, -1:], keys, W)) @ v).expand(
                -1, queries.shape[1], -1
            ),
        ),
    ),
)  # fmt: skip


# --- input_feeding_step -----------------------------------------------------------------------


def gru(x: Tensor, state: Tensor, cell: list[Tensor]) -> Tensor:
    """One step of a GRU, whose four parameters are in `cell`.

    x: (batch, input), state: (batch, width); gives the next state, (batch, width).
    """
    return torch.gru_cell(x, state, *cell)


def input_feeding_step(
    embedded: Tensor,
    fed: Tensor,
    state: Tensor,
    keys: Tensor,
    mask: Tensor,
    W: Tensor,
    W_c: Tensor,
    cell: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Luong's decoder with input feeding.

    The state reads the last word and what the last step spoke from, s_t = f([y; s̃], s). With s_t
    the decoder asks, by the general score, and s̃_t = tanh(W_c [c_t; s_t]).

    embedded: (batch, embedding), the last word; fed: (batch, readout), the last s̃;
    state: (batch, hidden), the last s; keys: (batch, source, key width), also the values;
    mask: bool, (batch, source), True = may look, somewhere in each sentence;
    W: (hidden, key width); W_c: (readout, key width + hidden); cell: for `gru`.
    Gives s̃_t (batch, readout), s_t (batch, hidden) and the weights (batch, source).
    """
    # BEGIN SOLUTION
    state = gru(torch.cat([embedded, fed], dim=-1), state, cell)
    scores = torch.einsum("bh,hk,bsk->bs", state, W, keys)
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)
    context = torch.einsum("bs,bsk->bk", weights, keys)
    attentional = torch.tanh(torch.cat([context, state], dim=-1) @ W_c.T)
    return attentional, state, weights
    #: scores = torch.einsum("bh,hk,bsk->bs", state, W, keys)
    #: weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)
    #: context = torch.einsum("bs,bsk->bk", weights, keys)
    #: state = gru(torch.cat([embedded, fed], dim=-1), state, cell)
    #: attentional = torch.tanh(torch.cat([context, state], dim=-1) @ W_c.T)
    #: return attentional, state, weights
    # END SOLUTION


def _feeding_inputs(
    draw: Draw,
    mask: list[list[bool]],
    widths: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Widths of embedding, readout, state and key."""
    embedding, readout, hidden, key = widths
    batch, source = len(mask), len(mask[0])
    return {
        "embedded": draw.normal(batch, embedding, dtype=dtype),
        "fed": draw.normal(batch, readout, std=0.6, dtype=dtype),
        "state": draw.normal(batch, hidden, std=0.6, dtype=dtype),
        "keys": draw.normal(batch, source, key, dtype=dtype),
        "mask": torch.tensor(mask),
        "W": draw.normal(hidden, key, dtype=dtype),
        "W_c": draw.normal(readout, key + hidden, std=0.6, dtype=dtype),
        "cell": [
            draw.normal(3 * hidden, embedding + readout, std=0.7, dtype=dtype),
            draw.normal(3 * hidden, hidden, std=0.7, dtype=dtype),
            draw.normal(3 * hidden, std=0.5, dtype=dtype),
            draw.normal(3 * hidden, std=0.5, dtype=dtype),
        ],
    }


def _feeding_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the state that asks has read the last word",
        _feeding_inputs(draw, [[True] * 4], (3, 2, 2, 3)),
        hint="Compare the weights with those that the old state would give, and those of the new.",
    )
    yield Case(
        "words that may not be looked at have weight 0, and the others share 1",
        _feeding_inputs(
            draw,
            [[True, True, True, True], [True, True, False, False], [False, True, True, False]],
            (2, 4, 3, 5),
        ),
        hint="Look at the weights where the mask is False.",
    )
    first = _feeding_inputs(draw, [[True, True, True], [True, True, False]], (4, 3, 2, 2))
    yield Case(
        "the first step starts from zeros, and yet its weights are not uniform",
        first
        | {
            "fed": torch.zeros_like(first["fed"]),
            "state": torch.zeros_like(first["state"]),
        },
        hint="State and s̃ are zero here, but the word is not, and the state that asks has read it.",
    )
    yield Case(
        "all sizes may be equal",
        _feeding_inputs(
            draw, [[True, True, False], [False, True, True], [True, True, True]], (3, 3, 3, 3)
        ),
        hint="All sizes are 3 here, so everything fits, whatever is exchanged.",
    )
    yield Case(
        "a single word in a batch of one",
        _feeding_inputs(draw, [[True]], (2, 3, 4, 2)),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all that comes in",
        _feeding_inputs(
            draw, [[True, True, True, False], [True, True, True, True]], (2, 3, 4, 3), torch.float64
        ),
        gradients=("embedded", "fed", "state", "keys", "W", "W_c"),
    )


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)


def _general(query: Tensor, keys: Tensor, W: Tensor) -> Tensor:
    return torch.einsum("bh,hk,bsk->bs", query, W, keys)


def _luong(
    embedded: Tensor,
    fed: Tensor,
    state: Tensor,
    keys: Tensor,
    mask: Tensor,
    W: Tensor,
    W_c: Tensor,
    cell: list[Tensor],
    *,
    read: Callable[[Tensor, Tensor], Tensor] = lambda y, fed: torch.cat([y, fed], dim=-1),
    ask: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda new, old, fed: new,
    compare: Callable[[Tensor, Tensor, Tensor], Tensor] = _general,
    weigh: Callable[[Tensor, Tensor], Tensor] = _masked,
    speak: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda c, new, old, W_c: torch.tanh(
        torch.cat([c, new], dim=-1) @ W_c.T
    ),
    give: Callable[..., tuple[Tensor, Tensor, Tensor]] = lambda s, new, weights, **_: (
        s,
        new,
        weights,
    ),
) -> tuple[Tensor, Tensor, Tensor]:
    """The step with parts that may be exchanged."""
    new = gru(read(embedded, fed), state, cell)
    scores = compare(ask(new, state, fed), keys, W)
    weights = weigh(scores, mask)
    context = torch.einsum("bs,bsk->bk", weights, keys)
    attentional = speak(context, new, state, W_c)
    return give(attentional, new, weights, old=state, context=context, scores=scores)


def _updated_twice(
    embedded: Tensor,
    fed: Tensor,
    state: Tensor,
    keys: Tensor,
    mask: Tensor,
    W: Tensor,
    W_c: Tensor,
    cell: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.cat([embedded, fed], dim=-1)
    once = gru(x, state, cell)
    twice = gru(x, once, cell)
    weights = _masked(_general(once, keys, W), mask)
    context = torch.einsum("bs,bsk->bk", weights, keys)
    return torch.tanh(torch.cat([context, twice], dim=-1) @ W_c.T), twice, weights


_TOO_EARLY = (
    "Change the last word, and the weights stay what they are: the state that asks has not read it "
    "yet. In which order do Luong's decoder's moves come, and in which do they come here?"
)
_MOVE_FIRST = (
    "This looks and then moves, which is Bahdanau's order. The line with `gru` has to come first, so "
    "that scores are made with the new state."
)

INPUT_FEEDING_STEP = Exercise(
    solution=input_feeding_step,
    title="Find the fault: a decoder that remembers",
    difficulty=2,
    minutes=12,
    points=3,
    goal="Somebody has written a step of Luong's decoder with input feeding. It runs, all shapes "
    "are right, and it can even be trained. It is not the decoder of the page. Find out why, and "
    "repair it.",
    shapes="`embedded` (batch, embedding), `fed` (batch, readout), `state` (batch, hidden), `keys` "
    "(batch, source, key width), `mask` (batch, source) bool, `W` (hidden, key width), `W_c` "
    "(readout, key width + hidden), `cell` a list for `gru` → the attentional state (batch, "
    "readout), the new state (batch, hidden), the weights (batch, source).",
    example="At the first step `state` and `fed` may be zeros. A query of zeros has the score 0 with "
    "every key, $0^\\top W h = 0$, and so the code as it stands gives four words the weights "
    "$(0.25, 0.25, 0.25, 0.25)$, whatever the sentence is and whichever word was read.",
    section="general-concat-feeding",
    explanation="Luong's decoder moves, looks, and speaks: $s_{t-1} \\rightarrow s_t \\rightarrow "
    "\\alpha_t \\rightarrow c_t \\rightarrow \\tilde s_t$. The faulty one looked with $s_{t-1}$ and "
    "spoke with $s_t$, a mixture of two papers that no error message can find: both states have the "
    "same shape. What does find it is a change that must have a consequence. Read another word, and "
    "the weights must change. $\\tilde s_t$ is returned first because the next step is fed with it.",
    start=_TOO_EARLY,
    more=_MOVE_FIRST,
    cases=_feeding_cases,
    given=(gru,),
    mistakes=(
        Mistake(
            "query-before-the-update",
            _TOO_EARLY,
            _MOVE_FIRST,
            partial(_luong, ask=lambda new, old, fed: old),
        ),
        Mistake(
            "updated-twice",
            "The state was updated twice in one step: the new line was added and the old one is "
            "still there, so that the word is read two times.",
            "One call of `gru`, the first line of the step.",
            _updated_twice,
        ),
        Mistake(
            "spoken-with-the-old-state",
            "The new state asks, but s̃_t is made with the old one, which has not read the last "
            "word.",
            "Beside the context belongs s_t, the same state that asked.",
            partial(
                _luong,
                speak=lambda c, new, old, W_c: torch.tanh(torch.cat([c, old], dim=-1) @ W_c.T),
            ),
        ),
        Mistake(
            "old-state-everywhere",
            "The old state asks and the old state speaks. The new one is returned and has had no "
            "part in this step.",
            "Use the result of `gru` in both places.",
            partial(
                _luong,
                ask=lambda new, old, fed: old,
                speak=lambda c, new, old, W_c: torch.tanh(torch.cat([c, old], dim=-1) @ W_c.T),
            ),
        ),
        Mistake(
            "old-state-returned",
            "The state that you return is the one that came in: the next step would begin where "
            "this one began.",
            "Return the new state, the result of `gru`.",
            partial(_luong, give=lambda s, new, weights, old, **_: (s, old, weights)),
        ),
        Mistake(
            "fed-left-out",
            "What was fed has no influence: there are zeros in its place.",
            "`torch.cat([embedded, fed], dim=-1)`: without it this is no input feeding.",
            partial(
                _luong, read=lambda y, fed: torch.cat([y, torch.zeros_like(fed)], dim=-1)
            ),
        ),
        Mistake(
            "word-left-out",
            "The last word has no influence: there are zeros in its place.",
            "`torch.cat([embedded, fed], dim=-1)`.",
            partial(_luong, read=lambda y, fed: torch.cat([torch.zeros_like(y), fed], dim=-1)),
        ),
        Mistake(
            "fed-above-word",
            "The cell reads [s̃; y] where it was made for [y; s̃]: each of the two meets the "
            "parameters of the other.",
            "First the word, then what is fed.",
            partial(_luong, read=lambda y, fed: torch.cat([fed, y], dim=-1)),
        ),
        Mistake(
            "state-above-context",
            "W_c was multiplied with [s; c]. Its first columns belong to the context.",
            "`torch.cat([context, state], dim=-1)`.",
            partial(
                _luong,
                speak=lambda c, new, old, W_c: torch.tanh(torch.cat([new, c], dim=-1) @ W_c.T),
            ),
        ),
        Mistake(
            "no-tanh",
            "The tanh around W_c [c; s] is missing. What is fed to the next step would have no "
            "bounds.",
            "`torch.tanh`, as on the page.",
            partial(_luong, speak=lambda c, new, old, W_c: torch.cat([c, new], dim=-1) @ W_c.T),
        ),
        Mistake(
            "context-returned",
            "You returned the context where s̃_t was asked for.",
            "Combine it with the state first: tanh(W_c [c; s]).",
            partial(_luong, give=lambda s, new, weights, context, **_: (context, new, weights)),
        ),
        Mistake(
            "scores-returned",
            "The third result has scores. Asked for are the weights after the softmax.",
            "Return `weights`.",
            partial(_luong, give=lambda s, new, weights, scores, **_: (s, new, scores)),
        ),
        Mistake(
            "asked-with-what-was-fed",
            "The query is s̃ of the step before. It is fed into the state; the state asks.",
            "The query is the new state, s_t.",
            partial(_luong, ask=lambda new, old, fed: fed),
        ),
        Mistake(
            "dot-for-general",
            "These are dot products: W has no part in them.",
            "The score is s W h, with W between state and key.",
            partial(_luong, compare=lambda query, keys, W: torch.einsum("bk,bsk->bs", query, keys)),
        ),
        Mistake(
            "matrix-transposed",
            "W stands the wrong way round.",
            "W has a row for each number of the state and a column for each number of a key.",
            partial(_luong, compare=lambda query, keys, W: _general(query, keys, W.T)),
        ),
        Mistake(
            "no-mask",
            "The mask has no effect: padding gets its share.",
            "Fill the forbidden scores with −∞ before the softmax.",
            partial(_luong, weigh=lambda scores, mask: torch.softmax(scores, dim=-1)),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. In this book True means *may look*.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            partial(_luong, weigh=lambda scores, mask: _masked(scores, ~mask)),
        ),
        Mistake(
            "mask-after-softmax",
            "The weights of a masked sentence do not sum to 1: the mask came after the softmax.",
            "Mask the scores, not the weights.",
            partial(_luong, weigh=lambda scores, mask: torch.softmax(scores, dim=-1) * mask),
        ),
        Mistake(
            "filled-with-zero",
            "Forbidden scores were set to 0. A score of 0 is not a weight of 0.",
            "The score whose exponential is 0 is −∞.",
            partial(_luong, weigh=lambda scores, mask: torch.softmax(scores * mask, dim=-1)),
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the sentences of the batch.",
            "`dim=-1`, the source.",
            partial(
                _luong,
                weigh=lambda scores, mask: torch.softmax(
                    scores.masked_fill(~mask, -torch.inf), dim=0
                ),
            ),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="06_general_concat",
    title="General and concat attention",
    opening="Two scores that a dot product cannot give, each as a function for a batch of "
    "sentences, and a decoder to be repaired. The formulas are those of chapter 6, and the matrices come as arguments: nothing is trained here.",
    exercises=(GENERAL_SCORES, CONCAT_SCORES, INPUT_FEEDING_STEP),
)
