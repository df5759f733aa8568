"""The exercises of chapter 12: cutting into heads, putting together, several looks at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.dot_attention import masked_softmax

__all__ = ["CHAPTER"]


# --- split_heads ------------------------------------------------------------------------------


def split_heads(vectors: Tensor, heads: int) -> Tensor:
    """Cut every word's vector into pieces of equal width, one for each head.

    vectors: (batch, words, width), heads: a divisor of width; gives (batch, heads, words,
    width / heads). The first head gets the first numbers of every word.
    """
    # BEGIN SOLUTION
    batch, words, width = vectors.shape
    return vectors.reshape(batch, words, heads, width // heads).transpose(1, 2)
    # END SOLUTION


def _split_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the first head gets the first numbers of every word",
        {"vectors": draw.normal(1, 3, 4), "heads": 2},
        hint="Two heads, four numbers a word: the first head has to hold the first two numbers of "
        "each of the three words.",
    )
    yield Case(
        "each head sees every word of every sentence",
        {"vectors": draw.normal(2, 3, 10), "heads": 5},
    )
    yield Case(
        "pieces may be wider than there are heads, and words as many as heads",
        {"vectors": draw.normal(3, 2, 6), "heads": 2},
    )
    yield Case(
        "all sizes alike",
        {"vectors": draw.normal(3, 3, 9), "heads": 3},
        hint="Three sentences, three words, three heads, three numbers: every mixed-up order has the "
        "right shape here. Follow one number.",
    )
    yield Case(
        "one head is the whole vector, with an axis for it",
        {"vectors": draw.normal(2, 4, 3), "heads": 1},
        hint="One head is a head: the result is (batch, 1, words, width).",
    )
    yield Case(
        "a batch of one and a sentence of one word",
        {"vectors": draw.normal(1, 1, 6), "heads": 3},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow back",
        {"vectors": draw.normal(2, 4, 6, dtype=torch.float64), "heads": 3},
        gradients=("vectors",),
    )


def _cut(vectors: Tensor, heads: int) -> Tensor:
    batch, words, width = vectors.shape
    return vectors.reshape(batch, words, heads, width // heads).transpose(1, 2)


SPLIT_HEADS = Exercise(
    solution=split_heads,
    title="Cut into heads",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Prepare vectors for several heads: each head gets its own piece of every word's vector, "
    "and stands beside the batch, so that one product serves all. The chapter calls this the most "
    "frequent place for a mistake in the whole subject.",
    shapes="`vectors` (batch, words, width), `heads` an int that divides the width → (batch, heads, "
    "words, width / heads).",
    example="One sentence of two words, $(1, 2, 3, 4)$ and $(5, 6, 7, 8)$, and two heads. The first "
    "head holds $(1, 2)$ and $(5, 6)$, the second $(3, 4)$ and $(7, 8)$.",
    section="many-heads-cutting",
    explanation="In memory the numbers of a word lie next to each other, so the cut inside a word "
    "is a `reshape` (or `view`, or `unflatten`) that leaves batch and words alone: (batch, words, "
    "heads, width / heads). Only then do the heads change places with the words, and changing places "
    "is a `transpose`. A single `reshape` to the last shape gives each head a part of the "
    "*sentence*: it never moves a number past its neighbour.",
    start="Two things happen: each word's vector is cut, and the heads move in front of the words. "
    "Which of them can a reshape do, and which needs a transpose?",
    more="`vectors.reshape(batch, words, heads, width // heads)` cuts inside each word. Then "
    "`.transpose(1, 2)` exchanges words and heads.",
    cases=_split_cases,
    mistakes=(
        Mistake(
            "reshape-for-transpose",
            "The shape is right, and words are mixed: the first head holds the first part of the "
            "*sentence*, and not of each word. A reshape only moves the line breaks.",
            "Cut inside the word first, to (batch, words, heads, width / heads), and then "
            "`transpose(1, 2)`.",
            lambda vectors, heads: vectors.reshape(
                len(vectors), heads, vectors.shape[1], vectors.shape[2] // heads
            ),
        ),
        Mistake(
            "every-other-number",
            "Each head got every `heads`-th number of a word. It should get neighbours: the first "
            "head the first numbers, in one piece.",
            "Heads first, numbers second: `reshape(batch, words, heads, width // heads)`.",
            lambda vectors, heads: vectors.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2),
        ),
        Mistake(
            "not-transposed",
            "The cut is right. The heads still stand behind the words, where `@` would multiply the "
            "heads of one word with each other.",
            "Exchange words and heads: `transpose(1, 2)`.",
            lambda vectors, heads: vectors.unflatten(-1, (heads, -1)),
        ),
        Mistake(
            "width-before-words",
            "Words and numbers have changed places in each head. The keys need that later; asked for "
            "is a row for each word.",
            "(batch, heads, words, width / heads).",
            lambda vectors, heads: _cut(vectors, heads).transpose(2, 3),
        ),
        Mistake(
            "heads-first",
            "The heads stand before the batch. The first axis is the sentences'.",
            "Stack along axis 1, or exchange the first two axes.",
            lambda vectors, heads: _cut(vectors, heads).transpose(0, 1),
        ),
        Mistake(
            "heads-in-the-batch",
            "Batch and heads were made one axis. That is good for `torch.bmm`; here they stay two.",
            "Leave out the last reshape, or `unflatten(0, (batch, heads))`.",
            lambda vectors, heads: _cut(vectors, heads).flatten(0, 1),
        ),
        Mistake(
            "heads-taken-for-their-width",
            "`heads` was taken for the width of a piece. It says how many pieces there are.",
            "A piece has `width // heads` numbers.",
            lambda vectors, heads: vectors.unflatten(-1, (-1, heads)).transpose(1, 2),
        ),
        Mistake(
            "not-cut",
            "Every head got the whole vector. All heads together are as wide as one of full width; "
            "this would cost `heads` times as much.",
            "Cut the width into `heads` pieces.",
            lambda vectors, heads: vectors.unsqueeze(1).expand(-1, heads, -1, -1),
        ),
        Mistake(
            "first-piece-for-all",
            "All heads got the first piece.",
            "Each head has a piece of its own.",
            lambda vectors, heads: _cut(vectors, heads)[:, :1].expand(-1, heads, -1, -1),
        ),
        Mistake(
            "heads-backwards",
            "The pieces are right, and the heads stand in the opposite order: the first head got the "
            "last numbers.",
            "The first piece belongs to the first head.",
            lambda vectors, heads: _cut(vectors, heads).flip(1),
        ),
        Mistake(
            "sentence-cut",
            "The sentence was cut into pieces, not the vectors: each head got some of the words in "
            "full width.",
            "Every head sees all words; cut the last axis.",
            lambda vectors, heads: vectors.unflatten(1, (heads, -1)),
        ),
        Mistake(
            "reshaped-from-the-front",
            "The numbers were dealt out to the heads sentence by sentence: a reshape with the heads "
            "in front cuts the *batch*.",
            "Cut the last axis: `reshape(batch, words, heads, width // heads)`.",
            lambda vectors, heads: vectors.reshape(
                heads, len(vectors), vectors.shape[1], vectors.shape[2] // heads
            ).transpose(0, 1),
        ),
        Mistake(
            "batch-turned",
            "Heads and *batch* have changed places, and words took the place of the heads.",
            "Exchange axis 1, the words, with axis 2, the heads: `transpose(1, 2)`.",
            lambda vectors, heads: vectors.unflatten(-1, (heads, -1)).transpose(0, 2),
        ),
        Mistake(
            "words-behind",
            "The width was cut, and the words stand last.",
            "After the cut the axes are (batch, words, heads, numbers); only words and heads change "
            "places.",
            lambda vectors, heads: vectors.unflatten(-1, (-1, heads)).permute(0, 2, 3, 1),
        ),
        Mistake(
            "words-first-then-reshape",
            "The words were moved to the end and what came of that was reshaped to the shape that is "
            "asked for: a reshape cannot bring them back.",
            "Cut first, `reshape(batch, words, heads, width // heads)`; the transpose comes last.",
            lambda vectors, heads: vectors.transpose(1, 2).reshape(
                len(vectors), heads, vectors.shape[1], vectors.shape[2] // heads
            ),
        ),
        Mistake(
            "divided-by-heads",
            "The numbers were divided by the number of heads, or by its root. Nothing is shared out "
            "here: each number goes to one head as it is.",
            "Leave out the division.",
            lambda vectors, heads: _cut(vectors, heads) / heads,
        ),
    ),
)  # fmt: skip


# --- merge_heads ------------------------------------------------------------------------------


def merge_heads(pieces: Tensor) -> Tensor:
    """Set the pieces that the heads found for a word behind one another, the first head's first.

    pieces: (batch, heads, words, piece); gives (batch, words, heads · piece).
    """
    batch, heads, words, piece = pieces.shape
    # BEGIN SOLUTION
    #: return pieces.reshape(batch, words, heads * piece)
    return pieces.transpose(1, 2).reshape(batch, words, heads * piece)
    # END SOLUTION


def _merge_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "a word gets the pieces of all heads for this word",
        {"pieces": draw.normal(1, 2, 3, 2)},
        hint="The first row begins with what the first head found for the first word, and goes on "
        "with what the second head found for the same word.",
    )
    yield Case(
        "sentences of a batch do not meet",
        {"pieces": draw.normal(2, 3, 4, 5)},
    )
    yield Case(
        "all sizes alike",
        {"pieces": draw.normal(3, 3, 3, 3)},
        hint="With all sizes alike every mixed-up order has the right shape. Follow one number.",
    )
    yield Case(
        "a sentence of one word",
        {"pieces": draw.normal(2, 3, 1, 2)},
    )
    yield Case(
        "a single head changes nothing",
        {"pieces": draw.normal(1, 1, 4, 3)},
    )
    yield Case(
        "heads that are one number wide",
        {"pieces": draw.normal(2, 4, 3, 1)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow back",
        {"pieces": draw.normal(2, 2, 5, 3, dtype=torch.float64)},
        gradients=("pieces",),
    )


def _together(pieces: Tensor) -> Tensor:
    return pieces.transpose(1, 2).flatten(2)


def _reshaped(pieces: Tensor, *turned: int) -> Tensor:
    """To the shape of the result, in whatever order the numbers are after two axes were turned."""
    batch, heads, words, piece = pieces.shape
    moved = pieces.transpose(*turned) if turned else pieces
    return moved.reshape(batch, words, heads * piece)


_MIXED = (
    "The shape is right. Number the entries of a small input, `torch.arange(12).reshape(1, 2, 3, "
    "2)`, and look at the first row of the result: from how many words does it come?"
)
_MIXED_MORE = (
    "In memory all words of the first head come first. `reshape` never moves a number past its "
    "neighbour, so bring heads and pieces next to each other before it: `transpose(1, 2)`."
)

MERGE_HEADS = Exercise(
    solution=merge_heads,
    title="Find the mix-up",
    difficulty=1,
    minutes=6,
    points=2,
    goal="The way back from the heads to one vector for each word. This function gives the right "
    "shape and raises nothing, and what it returns is wrong. Find out what it does with a small "
    "input, and repair it.",
    shapes="`pieces` (batch, heads, words, piece) → (batch, words, heads · piece).",
    example="One sentence, two heads, two words. The first head found $(1, 2)$ and $(5, 6)$, the "
    "second $(3, 4)$ and $(7, 8)$. Put together: $(1, 2, 3, 4)$ and $(5, 6, 7, 8)$. The function as "
    "it stands gives $(1, 2, 5, 6)$ and $(3, 4, 7, 8)$.",
    section="many-heads-cutting",
    explanation="It is the inverse of the cut, so its steps come in the opposite order: first heads "
    "and words change places, then the last two axes, which now belong together, become one. After "
    "a `transpose` the numbers do not lie in memory in the order of the axes; `reshape` and "
    "`flatten` copy them, and `view` refuses, with an exception that recommends `reshape`. The "
    "buggy line would pass a test that looks at the shape, and every test with one head or with "
    "one word.",
    start=_MIXED,
    more=_MIXED_MORE,
    cases=_merge_cases,
    mistakes=(
        Mistake("reshape-without-transpose", _MIXED, _MIXED_MORE, _reshaped),
        Mistake(
            "words-and-numbers-exchanged",
            "Words and numbers changed places, and it should have been heads and words.",
            "`transpose(1, 2)`: batch is 0, heads 1, words 2, numbers 3.",
            lambda pieces: _reshaped(pieces, 2, 3),
        ),
        Mistake(
            "heads-and-numbers-exchanged",
            "Heads and numbers changed places, and it should have been heads and words.",
            "`transpose(1, 2)`: batch is 0, heads 1, words 2, numbers 3.",
            lambda pieces: _reshaped(pieces, 1, 3),
        ),
        Mistake(
            "batch-turned",
            "The batch changed its place, so that sentences are mixed.",
            "`transpose(1, 2)` leaves axis 0 alone.",
            lambda pieces: _reshaped(pieces, 0, 2),
        ),
        Mistake(
            "taking-turns",
            "Each word has its own numbers, but the heads take turns: first numbers of all heads, "
            "then second ones. Each piece has to stay whole.",
            "The heads' axis has to stand *before* that of the numbers: (batch, words, heads, "
            "piece).",
            lambda pieces: pieces.permute(0, 2, 3, 1).flatten(2),
        ),
        Mistake(
            "heads-added",
            "What the heads found was added up. Then nobody can tell any more which part came from "
            "which head; set them behind one another.",
            "No sum: `flatten(2)` makes heads and numbers one axis.",
            lambda pieces: pieces.sum(dim=1),
        ),
        Mistake(
            "heads-averaged",
            "This is the mean of the heads. Weights may be averaged for a picture; what the heads "
            "found is set behind one another.",
            "No mean: `flatten(2)` makes heads and numbers one axis.",
            lambda pieces: pieces.mean(dim=1),
        ),
        Mistake(
            "first-head-only",
            "Only the first head has arrived.",
            "Keep all heads.",
            lambda pieces: pieces[:, 0],
        ),
        Mistake(
            "first-head-for-all",
            "The first head stands in all places.",
            "Each head has a place of its own.",
            lambda pieces: pieces[:, 0].repeat(1, 1, pieces.shape[1]),
        ),
        Mistake(
            "sentences-behind-one-another",
            "The heads were joined along the words: a sentence is `heads` times as long now.",
            "Join along the last axis: each word becomes wider, and there are as many as before.",
            lambda pieces: pieces.flatten(1, 2),
        ),
        Mistake(
            "not-merged",
            "Heads and words have changed places, and the heads still have an axis of their own.",
            "Make the last two axes one: `flatten(2)`.",
            lambda pieces: pieces.transpose(1, 2),
        ),
        Mistake(
            "heads-in-the-batch",
            "Heads and batch were made one axis.",
            "The heads belong behind one another in the *last* axis.",
            lambda pieces: pieces.flatten(0, 1),
        ),
        Mistake(
            "heads-backwards",
            "Each word has all its pieces, the last head's first.",
            "The first head stands first, as the output matrix expects.",
            lambda pieces: _together(pieces.flip(1)),
        ),
        Mistake(
            "words-last",
            "The pieces are joined, and words and width have changed places.",
            "(batch, words, heads · piece).",
            lambda pieces: _together(pieces).transpose(1, 2),
        ),
        Mistake(
            "batch-flattened",
            "All sentences were joined to one long list of words.",
            "Keep the batch: three axes.",
            lambda pieces: _together(pieces).flatten(0, 1),
        ),
        Mistake(
            "largest-of-heads",
            "For each number the largest of all heads was kept.",
            "Keep all of them, behind one another.",
            lambda pieces: pieces.amax(dim=1),
        ),
    ),
)  # fmt: skip


# --- multi_head_attention ---------------------------------------------------------------------


def multi_head_attention(
    asks: Tensor,
    asked: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    heads: int,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Several looks at once: project, cut into heads, attend, put together, mix.

    asks: (batch, target, width); asked: (batch, source, width), of which keys and values are made;
    the four matrices: (width, width), each to stand at the right of what it multiplies; heads: a
    divisor of width; mask: bool, True = may look, (batch, target, source) or (batch, 1, source),
    for all heads alike. A word that may look nowhere gets zeros. Gives the output (batch, target,
    width) and the weights (batch, heads, target, source).
    """
    # BEGIN SOLUTION
    width = asks.shape[-1] // heads

    def cut(vectors: Tensor) -> Tensor:
        return vectors.reshape(*vectors.shape[:2], heads, width).transpose(1, 2)

    queries, keys, values = cut(asks @ w_query), cut(asked @ w_key), cut(asked @ w_value)
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(width)
    weights = masked_softmax(scores, mask.unsqueeze(1))
    found = (weights @ values).transpose(1, 2).flatten(2)
    return found @ w_output, weights
    # END SOLUTION


def _heads_inputs(
    draw: Draw,
    batch: int,
    target: int,
    source: int,
    width: int,
    heads: int,
    mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor | int]:
    everywhere = torch.ones(batch, target, source, dtype=torch.bool)
    asks = draw.normal(batch, target, width, dtype=dtype)
    asked = draw.normal(batch, source, width, dtype=dtype)
    names = ("w_query", "w_key", "w_value", "w_output")
    matrices = {name: draw.normal(width, width, dtype=dtype) for name in names}
    may = everywhere if mask is None else mask
    return {"asks": asks, "asked": asked, **matrices, "heads": heads, "mask": may}


def _heads_cases(draw: Draw) -> Iterator[Case]:
    tiny = _heads_inputs(draw, 1, 2, 3, 4, 2)
    unit = torch.eye(4)
    tiny |= {"w_query": unit, "w_key": unit, "w_value": unit, "w_output": unit}
    yield Case(
        "each head looks with its own part of the vectors",
        tiny,
        hint="All four matrices are the identity here. The first head compares the first two "
        "numbers of each vector and mixes the first two; the second does the rest.",
    )
    yield Case(
        "each use has its own matrix, and the last one mixes what the heads found",
        _heads_inputs(draw, 2, 3, 4, 6, 3),
    )
    hidden = torch.tensor([[[True, True, True, False]], [[False, True, True, True]]])
    yield Case(
        "padding has weight 0 in every head",
        _heads_inputs(draw, 2, 3, 4, 6, 3, hidden),
    )
    own = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    yield Case(
        "a mask belongs to a sentence, also where there are as many heads as sentences",
        _heads_inputs(draw, 3, 3, 3, 9, 3, torch.stack([own, own.flip(0), own.roll(1, 1)])),
        hint="The mask is (batch, target, source), the scores are (batch, heads, target, source). "
        "Without an axis for the heads its batch is laid over *their* axis, and here that fits.",
    )
    yield Case(
        "a word that may look nowhere gets zeros",
        _heads_inputs(draw, 2, 3, 2, 4, 2, torch.tensor([[[False, False]], [[True, False]]])),
        gradients=("asks", "asked"),
        hint="The first sentence is forbidden altogether. Its weights and its output have to be 0, "
        "and no NaN may come back as a gradient.",
    )
    yield Case(
        "with one head it is the attention of the last chapter",
        _heads_inputs(draw, 2, 3, 3, 4, 1),
    )
    yield Case(
        "a batch of one, and one word that asks one",
        _heads_inputs(draw, 1, 1, 1, 6, 2),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to everything",
        _heads_inputs(
            draw, 2, 3, 4, 6, 2,
            torch.tensor([[[True, True, False, True]], [[True, True, True, True]]]),
            torch.float64,
        ),
        gradients=("asks", "asked", "w_query", "w_key", "w_value", "w_output"),
    )  # fmt: skip


def _uncut(vectors: Tensor, heads: int) -> Tensor:
    """What a cut without a transpose makes of vectors."""
    batch, words, width = vectors.shape
    return vectors.reshape(batch, heads, words, width // heads)


def _interleaved(vectors: Tensor, heads: int) -> Tensor:
    batch, words, width = vectors.shape
    return vectors.reshape(batch, words, width // heads, heads).permute(0, 3, 1, 2)


def _scaled(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])


def _soft(scores: Tensor, mask: Tensor, fill: float = -math.inf, dim: int = -1) -> Tensor:
    return torch.softmax(scores.masked_fill(~mask, fill), dim=dim)


def _heads(
    score: Callable[[Tensor, Tensor], Tensor] = _scaled,
    weigh: Callable[[Tensor, Tensor], Tensor] = masked_softmax,
    cut: Callable[[Tensor, int], Tensor] = _cut,
    merge: Callable[[Tensor], Tensor] = _together,
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda weights, keys, values: (
        weights @ values
    ),
    show: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda weights, scores, mask: weights,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Several heads with one step replaced."""

    def wrong(
        asks: Tensor,
        asked: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        wo: Tensor,
        heads: int,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        queries, keys, values = (
            cut(asks @ wq, heads),
            cut(asked @ wk, heads),
            cut(asked @ wv, heads),
        )
        scores, mask = score(queries, keys), mask.unsqueeze(1)
        weights = weigh(scores, mask)
        return merge(mix(weights, keys, values)) @ wo, show(weights, scores, mask)

    return wrong


_right_heads = _heads()


def _mask_over_heads(*given: Any) -> tuple[Tensor, Tensor]:
    mask = given[-1]
    return _heads(weigh=lambda scores, _: masked_softmax(scores, mask))(*given)


def _root_of_whole_width(*given: Any) -> tuple[Tensor, Tensor]:
    root = math.sqrt(given[0].shape[-1])
    return _heads(score=lambda q, k: q @ k.transpose(-2, -1) / root)(*given)


MULTI_HEAD_ATTENTION = Exercise(
    solution=multi_head_attention,
    title="Several looks at once",
    difficulty=3,
    minutes=30,
    points=5,
    goal="The whole layer, for all heads at once: "
    "$\\mathrm{head}_i = \\mathrm{attend}(QW_i^Q, KW_i^K, VW_i^V)$, set behind one another and "
    "multiplied by $W^O$. The matrices of all heads lie in one, as on the page, and the cut comes "
    "after the product. Who asks and who is asked may be two sentences (cross-attention) or the same "
    "one twice. Your `split_heads` and `merge_heads` are of use, and `masked_softmax` of chapter 5 "
    "is given; biases are left out.",
    shapes="`asks` (batch, target, width), `asked` (batch, source, width); `w_query`, `w_key`, "
    "`w_value` and `w_output` (width, width); `heads` an int; `mask` bool, True = may look, (batch, "
    "target, source) or (batch, 1, source) → output (batch, target, width) and weights (batch, heads, "
    "target, source).",
    example="The query of the page, $(2, 0, 0, 2)$, its three keys $(2, 0, 0, 0)$, $(1, 1, 0, 0)$ "
    "and $(0, 0, 0, 2)$, all four matrices the identity, two heads. The scores of the first head are $(4, 2, 0) / "
    "\\sqrt 2$ and its weights $(0.768, 0.187, 0.045)$; the second has the scores $(0, 0, 4) / \\sqrt "
    "2$ and the weights $(0.053, 0.053, 0.894)$. The values are the keys, so that the output is "
    "$(1.72, 0.19, 0, 1.79)$.",
    section="many-heads-by-hand",
    explanation="Once the heads stand beside the batch, products, softmax and sum work on the last "
    "two axes and need not know of them. Three other places do. The root is that of "
    "a *head's* width, since a score adds up so many products. The mask needs an axis of length 1 "
    "for the heads; without it (batch, target, source) is laid over (heads, target, source), which "
    "fits if there are as many heads as sentences, and then gives the first head the mask of the "
    "first sentence, the second head that of the second, in every sentence. And the output matrix comes after the heads have been put together, so that it can mix them.",
    start="Five moves: three products, the cut into heads, scores with a softmax, the values in that "
    "proportion, and the way back with the last matrix. Begin with one head, for which it is the "
    "last chapter's function and an axis.",
    more="`cut(asks @ w_query)`, and likewise keys and values from `asked`, each (batch, heads, …, "
    "width / heads); `masked_softmax(queries @ keys.transpose(-2, -1) / math.sqrt(width / heads), "
    "mask.unsqueeze(1))`; then weights times values, `transpose(1, 2).flatten(2)`, and `@ w_output`.",
    cases=_heads_cases,
    given=(masked_softmax,),
    mistakes=(
        Mistake(
            "one-look",
            "There is one look of full width; `heads` has no effect.",
            "Cut queries, keys and values into heads before you compare them.",
            lambda asks, asked, wq, wk, wv, wo, heads, mask: (
                (weights := masked_softmax(_scaled(asks @ wq, asked @ wk), mask))
                @ (asked @ wv)
                @ wo,
                weights,
            ),
        ),
        Mistake(
            "root-of-the-whole-width",
            "The scores were divided by the root of the whole width. A head's score adds up only as "
            "many products as the head is wide.",
            "`math.sqrt(width // heads)`.",
            _root_of_whole_width,
        ),
        Mistake(
            "not-scaled",
            "The scores were not divided by the root of a head's width.",
            "`/ math.sqrt(width // heads)` before the softmax.",
            _heads(score=lambda q, k: q @ k.transpose(-2, -1)),
        ),
        Mistake(
            "divided-by-width",
            "The scores were divided by a head's width and not by its root.",
            "`math.sqrt`.",
            _heads(score=lambda q, k: q @ k.transpose(-2, -1) / k.shape[-1]),
        ),
        Mistake(
            "cut-by-reshape",
            "The vectors were brought to (batch, heads, words, …) by a reshape alone: each head got a "
            "part of the *sentence*. A reshape never moves a number past its neighbour.",
            "Cut inside each word first, to (batch, words, heads, …), and then `transpose(1, 2)`.",
            _heads(cut=_uncut),
        ),
        Mistake(
            "merged-by-reshape",
            "The weights are right. What the heads found was put together by a reshape alone, so that "
            "a word got pieces of other words.",
            "`transpose(1, 2)` before the heads and their numbers become one axis.",
            _heads(merge=_reshaped),
        ),
        Mistake(
            "reshaped-both-ways",
            "Vectors were cut by a reshape alone, and put together by one. The numbers return to "
            "their places in the end, but the heads in between saw parts of the *sentence*.",
            "Both ways need a `transpose(1, 2)`: behind the cut, and before the way back.",
            _heads(cut=_uncut, merge=_reshaped),
        ),
        Mistake(
            "every-other-number",
            "Each head got every `heads`-th number of a vector, not a piece in one.",
            "Heads first, numbers second: `unflatten(-1, (heads, width // heads))`.",
            _heads(cut=_interleaved),
        ),
        Mistake(
            "no-output-matrix",
            "The weights are right, and the last matrix is missing: what the heads found was set "
            "behind one another and not mixed.",
            "`found @ w_output`.",
            lambda asks, asked, wq, wk, wv, wo, heads, mask: _right_heads(
                asks, asked, wq, wk, wv, torch.eye(len(wo), dtype=wo.dtype), heads, mask
            ),
        ),
        Mistake(
            "matrices-transposed",
            "The matrices were transposed, as `nn.Linear` and `F.linear` do it. They are square, so "
            "no shape tells. Here they are given as in the formula, to stand at the right.",
            "`asks @ w_query`, without `.T`.",
            lambda asks, asked, wq, wk, wv, wo, heads, mask: _right_heads(
                asks, asked, wq.T, wk.T, wv.T, wo.T, heads, mask
            ),
        ),
        Mistake(
            "asks-itself",
            "Keys and values were made of the words that ask. In cross-attention they come from the "
            "other sentence.",
            "`asked @ w_key`, `asked @ w_value`.",
            lambda asks, asked, wq, wk, wv, wo, heads, mask: _right_heads(
                asks, asks, wq, wk, wv, wo, heads, mask
            ),
        ),
        Mistake(
            "asks-and-asked-exchanged",
            "Who asks and who is asked have changed places.",
            "Queries are made of `asks`, keys and values of `asked`.",
            lambda asks, asked, wq, wk, wv, wo, heads, mask: _right_heads(
                asked, asks, wq, wk, wv, wo, heads, mask
            ),
        ),
        Mistake(
            "keys-summed",
            "The weights are right, and the keys were added up instead of the values.",
            "Weights times *values*.",
            _heads(mix=lambda w, k, v: w @ k),
        ),
        Mistake(
            "no-mask",
            "The mask has no effect.",
            "`masked_softmax(scores, mask.unsqueeze(1))`.",
            _heads(weigh=lambda scores, mask: torch.softmax(scores, dim=-1)),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. True means *may look*.",
            "Give the mask as it is; `masked_softmax` knows the convention.",
            _heads(weigh=lambda scores, mask: masked_softmax(scores, ~mask.expand_as(scores))),
        ),
        Mistake(
            "mask-laid-over-the-heads",
            "The mask's batch was laid over the axis of the *heads*: the first head has "
            "the mask of the first sentence, in every sentence. Where there are other numbers of heads "
            "than of sentences, an exception usually tells.",
            "Give it an axis for the heads: `mask.unsqueeze(1)`.",
            _mask_over_heads,
        ),
        Mistake(
            "mask-after-softmax",
            "The mask came after the softmax: what is left of a row does not sum to 1.",
            "Mask the scores, or use `masked_softmax`.",
            _heads(weigh=lambda scores, mask: torch.softmax(scores, dim=-1) * mask),
        ),
        Mistake(
            "soft-constant",
            "A large negative constant hides nothing from a word that may look nowhere: it gets the "
            "mean of all values.",
            "`masked_softmax` treats that case.",
            _heads(weigh=lambda scores, mask: _soft(scores, mask, -1e9)),
        ),
        Mistake(
            "nan-in-empty-row",
            "A word that may look nowhere gets NaN: the softmax of nothing but −∞ is 0/0.",
            "`masked_softmax` treats that case.",
            _heads(weigh=_soft),
        ),
        Mistake(
            "softmax-over-heads",
            "The softmax runs over the heads: they share out each word between them. Each head has a "
            "1 of its own to share out among the words.",
            "`dim=-1`.",
            _heads(weigh=lambda scores, mask: torch.nan_to_num(_soft(scores, mask, dim=1), nan=0.0)),
        ),
        Mistake(
            "softmax-over-those-who-ask",
            "The softmax runs over the words that ask: the columns of the weights sum to 1.",
            "`dim=-1`.",
            _heads(weigh=lambda scores, mask: torch.nan_to_num(_soft(scores, mask, dim=-2), nan=0.0)),
        ),
        Mistake(
            "weights-averaged",
            "The output is right, and the weights are a mean over the heads, which hides what each of "
            "them does. (`nn.MultiheadAttention` gives this mean unless told not to.)",
            "Return the weights with their axis of heads.",
            _heads(show=lambda weights, scores, mask: weights.mean(dim=1)),
        ),
        Mistake(
            "scores-returned",
            "The output is right. Returned beside it are the scores before the softmax, not the "
            "weights.",
            "Return what came out of the softmax.",
            _heads(show=lambda weights, scores, mask: scores),
        ),
        Mistake(
            "first-head-for-all",
            "All heads mixed their values with the weights of the first one. Then there is only one "
            "look.",
            "Each head has its own weights: leave their axis in place.",
            _heads(
                weigh=lambda scores, mask: masked_softmax(
                    scores, mask.expand_as(scores)
                )[:, :1].expand_as(scores)
            ),
        ),
        Mistake(
            "softmax-twice",
            "A second softmax went over the weights.",
            "One softmax; `masked_softmax` gives weights already.",
            _heads(weigh=lambda scores, mask: torch.softmax(masked_softmax(scores, mask), dim=-1)),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="12_many_heads",
    title="Many heads",
    opening="The cut, the way back and the layer of chapter 12. The first two "
    "are a line each, and the place where most mistakes with several heads are made, because the "
    "wrong line has the right shape.",
    exercises=(SPLIT_HEADS, MERGE_HEADS, MULTI_HEAD_ATTENTION),
)
