"""The exercises of chapter 6: the general score, concat, and a step with input feeding."""

from __future__ import annotations

import math
from collections.abc import Iterator

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
        "no score is larger than the numbers of v together, however long the states are",
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
    "$(0, 1, 1, 0, 1)$: $W [s; h] = (2 - 1 - 1,\\ 1 + 1 - 1) = (0, 1)$, its tanh "
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


CHAPTER = Chapter(
    name="06_general_concat",
    title="General and concat attention",
    opening="",
    exercises=(GENERAL_SCORES, CONCAT_SCORES),
)
