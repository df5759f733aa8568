"""The exercises of chapter 5: scores, masked softmax, context."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake

__all__ = ["CHAPTER"]


# --- dot_scores -------------------------------------------------------------------------------


def dot_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """The score of each decoder state with each encoder state: their dot product.

    queries: (batch, target, width), keys: (batch, source, width); gives (batch, target, source).
    """
    # BEGIN SOLUTION
    return queries @ keys.transpose(1, 2)
    # END SOLUTION


def _dot_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "an entry is the dot product of one query and one key",
        {"queries": draw.normal(1, 2, 3), "keys": draw.normal(1, 2, 3)},
        hint="Take the first query and the first key, multiply number by number, add up: is that "
        "the entry at the top left?",
    )
    yield Case(
        "a row for each query, a column for each key",
        {"queries": draw.normal(1, 3, 2), "keys": draw.normal(1, 5, 2)},
    )
    yield Case(
        "sentences of a batch do not meet",
        {"queries": draw.normal(2, 3, 5), "keys": draw.normal(2, 3, 5)},
        hint="The scores of the second sentence contain states of the first.",
    )
    yield Case(
        "target and source may be as long as the width",
        {"queries": draw.normal(3, 3, 3), "keys": draw.normal(3, 3, 3)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to both",
        {
            "queries": draw.normal(2, 2, 3, dtype=torch.float64),
            "keys": draw.normal(2, 4, 3, dtype=torch.float64),
        },
        gradients=("queries", "keys"),
    )


DOT_SCORES = Exercise(
    solution=dot_scores,
    title="Dot scores for a whole batch",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Compare every decoder state with every encoder state, for all sentences of a batch and "
    "all steps at once. The page does it for all steps of one sentence, $E = S H^\\top$; write it "
    "for a whole batch. (A loop over its sentences is accepted.)",
    shapes="`queries` (batch, target, width), `keys` (batch, source, width) → scores (batch, "
    "target, source): row $t$ has the scores of step $t$.",
    example="One sentence, one step, two words: $s = (1, 2)$, $h_1 = (3, 0)$, $h_2 = (0, -1)$ give "
    "the scores $(3, -2)$, in the shape (1, 1, 2).",
    section="dot-attention-steps",
    explanation="The transpose turns rows of keys into columns, so that row times column is query "
    "times key. `transpose(1, 2)` names the two axes and leaves the batch alone; `keys.T` would "
    "turn the batch around as well. `torch.einsum('bts,bns->btn', queries, keys)` says the same.",
    start="A matrix product multiplies rows by columns. The queries are rows already; what has to "
    "happen to the keys, so that each of them becomes a column?",
    more="`keys.transpose(1, 2)` has the shape (batch, width, source), and `@` multiplies the last "
    "two axes for each sentence of the batch.",
    cases=_dot_cases,
    mistakes=(
        Mistake(
            "scaled",
            "You divided by something that grows with the width. That is the *scaled* dot score, "
            "which comes five chapters later.",
            "Leave out the division by the width or its root.",
            lambda queries, keys: queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1]),
        ),
        Mistake(
            "divided-by-width",
            "Each score is a mean of products, not their sum.",
            "A dot product multiplies number by number and *adds up*: `sum`, not `mean`.",
            lambda queries, keys: queries @ keys.transpose(1, 2) / queries.shape[-1],
        ),
        Mistake(
            "cosine",
            "You normalized the vectors: these are cosines, all between −1 and 1. A dot product "
            "grows with the lengths of its vectors, too.",
            "Do not divide by the norms.",
            lambda queries, keys: torch.cosine_similarity(
                queries.unsqueeze(2), keys.unsqueeze(1), dim=-1
            ),
        ),
        Mistake(
            "softmax-already",
            "These are weights: they are positive and sum to 1. Asked for are the scores before the "
            "softmax.",
            "Leave the softmax to the next exercise.",
            lambda queries, keys: torch.softmax(queries @ keys.transpose(1, 2), dim=-1),
        ),
        Mistake(
            "target-and-source-exchanged",
            "Rows and columns have changed places: a row has to belong to a step of the decoder.",
            "Queries first, transposed keys second; or exchange the last two axes of your result.",
            lambda queries, keys: keys @ queries.transpose(1, 2),
        ),
        Mistake(
            "reshape-for-transpose",
            "The keys were reshaped where they should have been transposed. `view` and `reshape` "
            "keep all numbers in their order and only move the line breaks, so that pieces of "
            "different words land in one column.",
            "Use `transpose(1, 2)`: it makes rows into columns.",
            lambda queries, keys: queries @ keys.reshape(len(keys), keys.shape[2], keys.shape[1]),
        ),
        Mistake(
            "no-transpose",
            "Rows of queries meet rows of keys: for most lengths the shapes do not even fit, and "
            "where they do, the k-th number of the query is multiplied by the k-th *word*.",
            "Transpose the keys' last two axes first.",
            lambda queries, keys: queries @ keys,
        ),
        Mistake(
            "batch-turned",
            "`.T` and `permute` with all axes turned around take the batch along: sentence and "
            "width have changed places.",
            "Name the two axes that should change places: `keys.transpose(1, 2)`.",
            lambda queries, keys: queries @ keys.permute(2, 1, 0),
        ),
        Mistake(
            "element-by-element",
            "Each query was multiplied number by number with one key, the one at its own position, "
            "and nothing was added up. A score is one number, and every query meets every key.",
            "After multiplying, sum over the width; before it, give query and key an axis each: "
            "`queries.unsqueeze(2) * keys.unsqueeze(1)`.",
            lambda queries, keys: queries * keys,
        ),
        Mistake(
            "own-position-only",
            "Each query met only the key at its own position. The decoder's third step may need the "
            "source's first word: every query meets every key.",
            "The result needs an axis for the target and one for the source.",
            lambda queries, keys: (queries * keys).sum(dim=-1),
        ),
        Mistake(
            "batch-mixed",
            "Every sentence's queries met the keys of all sentences, or of one and the same. The "
            "batch is a stack of separate problems.",
            "Keep the first axis apart: `@` and `torch.bmm` do; in `einsum` the letter of the batch "
            "must stand on both sides and in the result.",
            lambda queries, keys: torch.einsum("btw,csw->bts", queries, keys),
        ),
        Mistake(
            "first-sentence-for-all",
            "All sentences were compared with the keys of the first one.",
            "Do not index the batch away: `keys[0]` is one sentence.",
            lambda queries, keys: queries @ keys[0].T,
        ),
        Mistake(
            "last-query-only",
            "Only the decoder's last state was compared, and its scores stand in every row.",
            "Every step has a query of its own.",
            lambda queries, keys: (queries[:, -1:] @ keys.transpose(1, 2)).expand(
                -1, queries.shape[1], -1
            ),
        ),
        Mistake(
            "distance",
            "These are distances: small where the vectors agree. A dot product is large there.",
            "Multiply and add up; nothing is subtracted.",
            lambda queries, keys: torch.cdist(queries, keys),
        ),
        Mistake(
            "absolute",
            "All your scores are positive. A dot product is negative where the vectors point in "
            "opposite directions, and that has to remain visible.",
            "Leave out `abs`, `relu` or the square.",
            lambda queries, keys: (queries @ keys.transpose(1, 2)).abs(),
        ),
        Mistake(
            "negated",
            "The sign is turned around: agreement gives a low score.",
            "Leave out the minus.",
            lambda queries, keys: -(queries @ keys.transpose(1, 2)),
        ),
    ),
)  # fmt: skip


# --- masked_softmax ---------------------------------------------------------------------------


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """The softmax over the source, with 0 where the mask forbids to look.

    scores: (batch, target, source); mask: bool, True = may look, the same shape or one that
    broadcasts to it. A row that may look nowhere gets zeros. Gives (batch, target, source).
    """
    # BEGIN SOLUTION
    nowhere = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(~(mask | nowhere), -torch.inf), dim=-1)
    return weights.masked_fill(nowhere, 0.0)
    # END SOLUTION


def _masked_cases(draw: Draw) -> Iterator[Case]:
    everywhere = torch.ones(1, 1, 3, dtype=torch.bool)
    yield Case(
        "without a forbidden position it is the softmax over the source",
        {"scores": draw.normal(1, 2, 3), "mask": everywhere.expand(1, 2, 3).clone()},
    )
    yield Case(
        "a forbidden position has weight 0, and the others share 1",
        {
            "scores": draw.normal(1, 1, 4),
            "mask": torch.tensor([[[True, False, True, True]]]),
        },
        hint="Look at the row's sum, and at the place where the mask is False.",
    )
    yield Case(
        "each sentence has its own mask",
        {
            "scores": draw.normal(2, 2, 3),
            "mask": torch.tensor([[[False, True, True]], [[True, True, False]]]),
        },
    )
    yield Case(
        "each step may have its own mask",
        {
            "scores": draw.normal(2, 3, 3),
            "mask": torch.tensor(
                [[True, False, False], [True, True, False], [True, True, True]]
            ),
        },
        hint="This mask is (target, source), without a batch: it holds for both sentences.",
    )  # fmt: skip
    yield Case(
        "a forbidden score does not matter, however large it is",
        {
            "scores": torch.cat([draw.normal(1, 1, 2), torch.full((1, 1, 1), 1e12)], dim=-1),
            "mask": torch.tensor([[[True, True, False]]]),
        },
        hint="The forbidden score of 1e12 shows in the weights of the others.",
    )
    yield Case(
        "large scores do not overflow",
        {
            "scores": draw.normal(1, 1, 3) + 200,
            "mask": torch.tensor([[[True, True, False]]]),
        },
        hint="exp(200) is too large for a 32-bit number. Subtract the row's largest score first, "
        "or let `torch.softmax` do it.",
    )
    yield Case(
        "a row that may look nowhere gets zeros",
        {
            "scores": draw.normal(2, 1, 3),
            "mask": torch.tensor([[[False, False, False]], [[True, True, False]]]),
        },
        gradients=("scores",),
        hint="The first row is forbidden altogether. Its weights have to be 0, and no NaN may come "
        "back as its gradient.",
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow back",
        {
            "scores": draw.normal(2, 2, 3, dtype=torch.float64),
            "mask": torch.tensor([[[True, True, False]], [[True, True, True]]]),
        },
        gradients=("scores",),
    )


def _softmax(scores: Tensor, dim: int = -1) -> Tensor:
    return torch.softmax(scores, dim=dim)


def _renormalized(scores: Tensor, mask: Tensor) -> Tensor:
    filled = torch.softmax(scores, dim=-1) * mask
    return filled / filled.sum(dim=-1, keepdim=True)


def _by_hand(scores: Tensor, mask: Tensor) -> Tensor:
    raised = torch.where(mask, scores.exp(), torch.zeros_like(scores))
    return raised / raised.sum(dim=-1, keepdim=True).clamp(min=1e-12)


MASKED_SOFTMAX = Exercise(
    solution=masked_softmax,
    title="A softmax that cannot see padding",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Turn scores into weights that sum to 1 over the positions that may be attended to, and "
    "are exactly 0 elsewhere. A row that may look nowhere, that of a sentence which is all padding for "
    "instance, gets zeros and no NaN, forward and backward.",
    shapes="`scores` (batch, target, source); `mask` bool, True = may look, broadcastable to the "
    "scores: (batch, 1, source) for padding, (target, source) for one mask per step → weights "
    "(batch, target, source).",
    example="Scores $(1, 3, 0)$ with the mask (True, True, False): $e^1/(e^1 + e^3) = 0.119$, "
    "$e^3/(e^1 + e^3) = 0.881$, and 0.",
    section="dot-attention-code",
    explanation="$-\\infty$ *before* the softmax, because $\\exp(-\\infty) = 0$ takes the position "
    "out of the numerator and out of the sum. A row of nothing but $-\\infty$ would be $0/0$; its "
    "scores stay as they are, and its weights are set to 0 afterwards, so that no NaN arises that "
    "the way back could meet.",
    start="Which score would a position need, to get the weight 0 from the softmax? Put it where "
    "the mask is False, before the softmax; then think about a row where that is everywhere.",
    more="`scores.masked_fill(~mask, -torch.inf)` and `torch.softmax(…, dim=-1)` do all but the "
    "rows that may look nowhere: leave those unfilled, with `mask.any(dim=-1, keepdim=True)`, and "
    "set their weights to 0 at the end.",
    cases=_masked_cases,
    mistakes=(
        Mistake(
            "no-mask",
            "The mask has no effect: padding gets its share.",
            "Use the second argument: forbidden scores become −∞ before the softmax. If you call "
            "`masked_fill`, keep what it returns; it leaves its tensor as it is.",
            lambda scores, mask: _softmax(scores),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. In this book True means *may look*.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            lambda scores, mask: masked_softmax(scores, ~mask.expand_as(scores)),
        ),
        Mistake(
            "mask-inverted-plainly",
            "The mask is read the wrong way round: where it says True, may look, you filled in −∞.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            lambda scores, mask: _softmax(scores.masked_fill(mask, -torch.inf)),
        ),
        Mistake(
            "mask-after-softmax",
            "The weights of a masked row do not sum to 1: the mask came after the softmax, when the "
            "forbidden positions had already had their part in the sum.",
            "Mask the scores, not the weights.",
            lambda scores, mask: _softmax(scores) * mask,
        ),
        Mistake(
            "masked-then-renormalized",
            "What the mask left over was divided by its sum. That is right only as long as something "
            "is left: beside a very large forbidden score all others have become exp(−much) = 0, and "
            "a row without any permission has nothing at all, 0/0.",
            "Take the forbidden scores out before: before the softmax, or before the maximum that "
            "you subtract. Filled with −∞ they have no part in either, and only a row that may look "
            "nowhere is left to treat.",
            _renormalized,
        ),
        Mistake(
            "filled-with-zero",
            "Forbidden scores were set to 0. A score of 0 is not a weight of 0: exp(0) = 1.",
            "The score whose exponential is 0 is −∞.",
            lambda scores, mask: _softmax(scores * mask),
        ),
        Mistake(
            "filled-with-minus-one",
            "A forbidden position still gets some weight, as if its score were −1.",
            "−1 is a score like any other. Only −∞ has the exponential 0.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -1.0)),
        ),
        Mistake(
            "soft-constant",
            "A large negative constant hides nothing from a row that is forbidden altogether: there "
            "all scores are equal, and every position gets the same weight.",
            "Use −∞, and set rows without any permission to 0 afterwards.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -1e9)),
        ),
        Mistake(
            "added-constant",
            "You added a large negative constant to forbidden scores. That is not low enough for a "
            "forbidden score that is larger still, and in a row that is forbidden altogether it is "
            "the same for all.",
            "Replace the scores by −∞ instead, and set rows without any permission to 0 afterwards.",
            lambda scores, mask: _softmax(scores + (~mask) * -1e9),
        ),
        Mistake(
            "still-scores",
            "These are scores: the rows do not sum to 1.",
            "exp, then divided by the row's sum: `torch.softmax(…, dim=-1)`.",
            lambda scores, mask: scores.masked_fill(~mask, -torch.inf),
        ),
        Mistake(
            "scores-as-they-were",
            "The scores came back as they were. Weights are between 0 and 1, and sum to 1 in a row.",
            "exp, then divided by the row's sum: `torch.softmax(…, dim=-1)`.",
            lambda scores, mask: scores.clone(),
        ),
        Mistake(
            "nan-in-empty-row",
            "A row that may look nowhere becomes NaN: the softmax of nothing but −∞ is 0/0.",
            "Find these rows with `mask.any(dim=-1, keepdim=True)` and do not fill them; set their "
            "weights to 0 afterwards.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -torch.inf)),
        ),
        Mistake(
            "softmax-over-target",
            "The columns sum to 1, not the rows: the softmax runs over the steps of the decoder.",
            "Each step shares out 1 among the source words: `dim=-1`.",
            lambda scores, mask: torch.nan_to_num(
                _softmax(scores.masked_fill(~mask, -torch.inf), dim=-2), nan=0.0
            ),
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the sentences of the batch: what one sentence gets depends on "
            "its neighbours.",
            "`dim=-1`, the source; `dim=0` is the batch.",
            lambda scores, mask: torch.nan_to_num(
                _softmax(scores.masked_fill(~mask, -torch.inf), dim=0), nan=0.0
            ),
        ),
        Mistake(
            "first-mask-for-all",
            "Every sentence got the mask of the first one.",
            "Do not index the mask's batch away; `masked_fill` broadcasts (batch, 1, source) to all "
            "steps by itself.",
            lambda scores, mask: masked_softmax(
                scores, (mask[0] if mask.dim() == 3 else mask).expand_as(scores)
            ),
        ),
        Mistake(
            "right-padding-assumed",
            "You counted the allowed positions and kept the first ones. A mask can have its holes "
            "anywhere: at the left, or in the middle.",
            "Use the mask itself, not its sum.",
            lambda scores, mask: masked_softmax(
                scores,
                torch.arange(scores.shape[-1]) < mask.sum(dim=-1, keepdim=True),
            ),
        ),
        Mistake(
            "overflow",
            "exp overflows at scores around 89: infinity divided by infinity is NaN.",
            "Subtract each row's largest allowed score before the exponential; the weights do not "
            "change by that. `torch.softmax` does it for you.",
            _by_hand,
        ),
        Mistake(
            "log-softmax",
            "These are logarithms of weights, all negative.",
            "`softmax`, not `log_softmax`.",
            lambda scores, mask: torch.log_softmax(scores.masked_fill(~mask, -torch.inf), dim=-1),
        ),
        Mistake(
            "softmax-twice",
            "The weights are too even, and forbidden positions have some: a second softmax went over "
            "the weights of the first.",
            "One softmax; its result is final but for rows that may look nowhere.",
            lambda scores, mask: _softmax(
                torch.nan_to_num(_softmax(scores.masked_fill(~mask, -torch.inf)), nan=0.0)
            ),
        ),
        Mistake(
            "only-the-largest",
            "All the weight is on the largest score. That is a choice without a slope, and no "
            "gradient can improve it.",
            "Use the softmax, not `argmax`.",
            lambda scores, mask: torch.nn.functional.one_hot(
                scores.masked_fill(~mask, -torch.inf).argmax(dim=-1), scores.shape[-1]
            ).to(scores.dtype),
        ),
        Mistake(
            "not-exponential",
            "The scores were divided by their sum. With negative scores that gives negative weights, "
            "and shifting all scores changes the weights.",
            "exp first, then divide: that is the softmax.",
            lambda scores, mask: scores * mask / (scores * mask).sum(dim=-1, keepdim=True),
        ),
    ),
)  # fmt: skip


# --- attention_context ------------------------------------------------------------------------


def attention_context(weights: Tensor, values: Tensor) -> Tensor:
    """The context of each step: the values, added up in proportion to the step's weights.

    weights: (batch, target, source), values: (batch, source, width); gives (batch, target, width).
    """
    # BEGIN SOLUTION
    return weights @ values
    # END SOLUTION


def _weights(draw: Draw, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Positive weights whose rows sum to 1."""
    parts = draw.integers(1, 10, *shape).to(torch.float64)
    return (parts / parts.sum(dim=-1, keepdim=True)).to(dtype)


def _context_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the context is the weighted sum of the values",
        {"weights": _weights(draw, 1, 2, 3), "values": draw.normal(1, 3, 4)},
    )
    yield Case(
        "a context for each step, of the values' width",
        {"weights": _weights(draw, 1, 4, 3), "values": draw.normal(1, 3, 2)},
    )
    yield Case(
        "sentences of a batch do not meet",
        {"weights": _weights(draw, 2, 3, 3), "values": draw.normal(2, 3, 3)},
    )
    yield Case(
        "all weight on one word gives that word's value",
        {
            "weights": torch.eye(3)[draw.permutation(3)].unsqueeze(0),
            "values": draw.normal(1, 3, 4),
        },
    )
    yield Case(
        "weights that sum to less than 1 are not repaired",
        {"weights": torch.zeros(1, 2, 3), "values": draw.normal(1, 3, 2)},
        hint="A row of zeros, for a step that may look nowhere, gives a context of zeros.",
    )
    yield Case(
        "a single word in a batch of one",
        {"weights": torch.ones(1, 1, 1), "values": draw.normal(1, 1, 5)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to both",
        {
            "weights": _weights(draw, 2, 2, 3, dtype=torch.float64),
            "values": draw.normal(2, 3, 4, dtype=torch.float64),
        },
        gradients=("weights", "values"),
    )


ATTENTION_CONTEXT = Exercise(
    solution=attention_context,
    title="From weights to the context",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Add up the values of a sentence, each multiplied as a whole by its one weight: "
    "$c_t = \\sum_i \\alpha_{ti} v_i$. On the page the values are the encoder's states; here they "
    "may have a width of their own.",
    shapes="`weights` (batch, target, source), `values` (batch, source, width) → contexts (batch, "
    "target, width).",
    example="Weights $(0.25, 0.75)$, values $(4, 0)$ and $(0, 8)$: the context is "
    "$0.25\\cdot(4, 0) + 0.75\\cdot(0, 8) = (1, 6)$.",
    section="dot-attention-context",
    explanation="A row of weights times the matrix of values is exactly the weighted sum of its "
    "rows. The axis that disappears is the one that both share, the source: each step mixes the "
    "words of its own sentence. Nothing is normalized here; the softmax has done that.",
    start="The source is the axis that weights and values share, and the one that has to disappear. "
    "Which product of matrices sums over it?",
    more="(target × source) times (source × width) is (target × width): `weights @ values`, "
    "for each sentence of the batch.",
    cases=_context_cases,
    mistakes=(
        Mistake(
            "weights-transposed",
            "The sum runs over the target: each source word collected what the steps gave to it.",
            "Sum over the source: `weights @ values` without a transpose.",
            lambda weights, values: weights.transpose(1, 2) @ values,
        ),
        Mistake(
            "element-by-element",
            "Weights and values were multiplied number by number. The weights count words, the "
            "numbers of a value count something else; only by accident do the shapes fit.",
            "Each value is multiplied as a whole by its one weight, and then they are added.",
            lambda weights, values: weights * values,
        ),
        Mistake(
            "mean-over-source",
            "The sum was divided by the number of words once more. The weights already sum to 1.",
            "`sum`, not `mean`.",
            lambda weights, values: weights @ values / values.shape[1],
        ),
        Mistake(
            "uniform",
            "Every word counts alike, whatever its weight.",
            "Use the weights: this is the plain mean of the values.",
            lambda weights, values: values.mean(dim=1, keepdim=True).expand(
                -1, weights.shape[1], -1
            ),
        ),
        Mistake(
            "only-the-largest",
            "You took the value with the largest weight and left out all others.",
            "Add up all of them, in proportion; the softmax decides how sharp that is.",
            lambda weights, values: torch.gather(
                values,
                1,
                weights.argmax(dim=-1, keepdim=True).expand(-1, -1, values.shape[-1]),
            ),
        ),
        Mistake(
            "softmax-again",
            "A softmax went over the weights, which had had theirs: they are too even now.",
            "Take the weights as they are.",
            lambda weights, values: torch.softmax(weights, dim=-1) @ values,
        ),
        Mistake(
            "renormalized",
            "You divided by the weights' sum. Where it is 1 nothing changes, and where it is 0, in "
            "a row that may look nowhere, it becomes NaN.",
            "Leave the division out.",
            lambda weights, values: weights @ values / weights.sum(dim=-1, keepdim=True),
        ),
        Mistake(
            "first-sentence-for-all",
            "All sentences drew on the values of the first one.",
            "Keep the batch: `values[0]` is one sentence.",
            lambda weights, values: weights @ values[0],
        ),
        Mistake(
            "batch-mixed",
            "The values of all sentences were added up for each of them.",
            "In `einsum`, the batch's letter must be the same in weights, values and result.",
            lambda weights, values: torch.einsum("bts,csw->btw", weights, values),
        ),
        Mistake(
            "last-step-only",
            "Every step has the context of the last one.",
            "Each row of weights makes its own context.",
            lambda weights, values: (weights[:, -1:] @ values).expand(-1, weights.shape[1], -1),
        ),
        Mistake(
            "summed-over-steps",
            "The contexts of all steps were added up into one.",
            "Sum over the source and nothing else: the target stays.",
            lambda weights, values: (weights @ values).sum(dim=1),
        ),
        Mistake(
            "not-summed",
            "Each value was multiplied by its weight, and the sum over the source is missing.",
            "`.sum(dim=2)` over the source makes one vector for each step.",
            lambda weights, values: weights.unsqueeze(-1) * values.unsqueeze(1),
        ),
        Mistake(
            "summed-over-width",
            "The sum ran over the width, not over the words: one number for each word is left.",
            "The context is a vector of the values' width; what disappears is the source.",
            lambda weights, values: weights * values.sum(dim=-1).unsqueeze(1),
        ),
        Mistake(
            "reshape-for-transpose",
            "The weights were reshaped where a transpose may have been meant. `view` and `reshape` "
            "keep all numbers in order and move only the line breaks.",
            "No reshape is needed: (target × source) and (source × width) fit as they are.",
            lambda weights, values: weights.reshape(
                len(weights), weights.shape[2], weights.shape[1]
            ).transpose(1, 2) @ values,
        ),
        Mistake(
            "square-of-weights",
            "Each weight was used twice, so that large ones are favoured.",
            "One multiplication by the weight.",
            lambda weights, values: (weights * weights) @ values,
        ),
        Mistake(
            "last-word-dropped",
            "The last source word is missing from the sum, as if the end marker were padding. If it "
            "may not be looked at, its weight is 0 already.",
            "Sum over the whole source.",
            lambda weights, values: weights[..., :-1] @ values[:, :-1],
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="05_dot_attention",
    title="Dot-product attention",
    opening="The three moves of a step of attention, one function each: compare, share out, add "
    "up. Together they are the whole of chapter 5's attention, for a batch of sentences of unequal "
    "length.",
    exercises=(DOT_SCORES, MASKED_SOFTMAX, ATTENTION_CONTEXT),
)
