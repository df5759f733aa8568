"""The exercises of chapter 10: a soft dictionary, scaled attention, a scale to repair."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.dot_attention import masked_softmax

__all__ = ["CHAPTER"]


# --- soft_dictionary --------------------------------------------------------------------------


def soft_dictionary(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What a soft dictionary answers: a mixture of all values, by how well their keys fit.

    query: (width,), keys: (entries, width), values: (entries, value width); scores are dot
    products divided by the root of the width. Gives (value width,).
    """
    # BEGIN SOLUTION
    #: scores = ...
    #: weights = ...
    #: return ...
    scores = keys @ query / math.sqrt(len(query))
    weights = torch.softmax(scores, dim=0)
    return weights @ values
    # END SOLUTION


def _answers(draw: Draw, *shape: int) -> Tensor:
    """Keys or queries that say yes (1) or no (-1), as those of the menu."""
    return 2.0 * draw.integers(0, 2, *shape).to(torch.float32) - 1.0


def _dictionary_cases(draw: Draw) -> Iterator[Case]:
    query, place = _answers(draw, 4), draw.integer(0, 4)
    other = 1.0 - 2.0 * torch.eye(4)[place]  # turns one answer around
    yield Case(
        "all values are mixed, the better a key fits the more of its value",
        {
            "query": query,
            "keys": torch.stack([-query * other, query * other, draw.normal(4, std=0.8)]),
            "values": draw.normal(3, 2, std=3.0),
        },
        hint="A dot product for each key, divided by the root of 4; a softmax; a weighted sum.",
    )
    yield Case(
        "values may be of another width than keys, and there may be more entries than a key has numbers",
        {
            "query": draw.normal(3),
            "keys": draw.normal(5, 3, std=2.0),
            "values": draw.normal(5, 2, std=3.0),
        },
    )
    yield Case(
        "a query that says nothing gets the mean of all values",
        {"query": torch.zeros(2), "keys": draw.normal(4, 2), "values": draw.normal(4, 3, std=3.0)},
    )
    yield Case(
        "there may be as many entries as numbers in a key or a value",
        {
            "query": draw.normal(3),
            "keys": draw.normal(3, 3, std=2.0),
            "values": draw.normal(3, 3, std=3.0),
        },
    )
    key = draw.normal(1, 2)
    yield Case(
        "an entry counts as often as it is there",
        {
            "query": draw.normal(2),
            "keys": torch.cat([key, draw.normal(1, 2, std=2.0), key]),
            "values": draw.normal(3, 4, std=3.0),
        },
        hint="Two entries have the same key. Each of them has its score and its weight.",
    )
    long = draw.normal(3) + torch.tensor([1.0, -1.0, 2.0])
    yield Case(
        "a very long query does not overflow",
        {
            "query": 100 * long,
            "keys": torch.stack([long, draw.normal(3, std=0.5), -long]),
            "values": draw.normal(3, 2, std=3.0),
        },
        hint="The scores are in the hundreds. `torch.softmax` can do that; exp by itself cannot.",
    )
    yield Case(
        "the only entry of a dictionary answers every question",
        {"query": draw.normal(3), "keys": draw.normal(1, 3), "values": draw.normal(1, 2)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all three",
        {
            "query": draw.normal(3, dtype=torch.float64),
            "keys": draw.normal(4, 3, dtype=torch.float64),
            "values": draw.normal(4, 2, std=3.0, dtype=torch.float64),
        },
        gradients=("query", "keys", "values"),
    )


def _lookup(scores: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(scores, dim=0) @ values


def _scored(query: Tensor, keys: Tensor) -> Tensor:
    return keys @ query / math.sqrt(len(query))


SOFT_DICTIONARY = Exercise(
    solution=soft_dictionary,
    title="A dictionary that always answers",
    difficulty=1,
    minutes=8,
    points=2,
    goal="Look one query up. Python's `dict` compares it with each key, equal or not, and gives "
    "one value back. The soft one compares by a dot product divided by $\\sqrt d$, makes weights "
    "of the scores, and gives all values back, each in proportion to its weight: "
    "$c = \\sum_i \\alpha_i v_i$.",
    shapes="`query` (width,), `keys` (entries, width), `values` (entries, value width) → the "
    "answer (value width,).",
    example="The query $(1, 1, -1, 1)$ meets the keys $(1, 1, -1, -1)$ and $(-1, 1, -1, -1)$: the "
    "dot products 2 and 0, divided by $\\sqrt 4$, are the scores 1 and 0, and the weights are "
    "$2.718/3.718 = 0.731$ and $0.269$. The values $(4, 50)$ and $(3, 40)$ give "
    "$(3.73, 47.3)$.",
    section="query-key-value-by-hand",
    explanation="Keys are only compared and values only given back; that is why they may be of "
    "unequal width and why the keys are gone from the last line. `keys @ query` is one dot product "
    "for each entry, the softmax runs over the entries, and `weights @ values` adds up the rows of "
    "the values, each times its weight. No question ends in a `KeyError`: where nothing fits, the "
    "answer is a mixture all the same, and where all keys fit equally badly it is the mean.",
    start="Three steps, one line each: a score for each entry, weights that sum to 1 over the "
    "entries, and the values added up in that proportion. Which of the three arguments appear in "
    "the first line, and which in the last?",
    more="`keys @ query` has one number for each entry; divide it by `math.sqrt(len(query))`. Then "
    "`torch.softmax(scores, dim=0)`, and `weights @ values`.",
    cases=_dictionary_cases,
    mistakes=(
        Mistake(
            "no-root",
            "The scores are the plain dot products of chapter 5. From this chapter on they are "
            "divided by the root of the width.",
            "Divide by `math.sqrt(len(query))` before the softmax.",
            lambda query, keys, values: _lookup(keys @ query, values),
        ),
        Mistake(
            "divided-by-width",
            "The scores are divided by the width, not by its root. That makes the weights too even, "
            "and the more so the wider the keys are.",
            "The variance of a dot product grows like d, so its size grows like √d: "
            "`math.sqrt(len(query))`.",
            lambda query, keys, values: _lookup(keys @ query / len(query), values),
        ),
        Mistake(
            "root-of-entries",
            "You divided by the root of the number of entries. d is the width of a key: how many "
            "numbers a dot product adds up.",
            "`len(query)` or `keys.shape[1]`, not `len(keys)`.",
            lambda query, keys, values: _lookup(keys @ query / math.sqrt(len(keys)), values),
        ),
        Mistake(
            "multiplied-by-root",
            "The scores are multiplied by the root where they should be divided: the weights are "
            "far too sharp.",
            "`/ math.sqrt(…)`, or `* d ** -0.5` with the minus.",
            lambda query, keys, values: _lookup(keys @ query * math.sqrt(len(query)), values),
        ),
        Mistake(
            "root-after-softmax",
            "You divided the weights, or the answer, by the root. Then the weights no longer sum to "
            "1, and they are as sharp as without it.",
            "Divide the scores, before the softmax.",
            lambda query, keys, values: _lookup(keys @ query, values) / math.sqrt(len(query)),
        ),
        Mistake(
            "keys-given-back",
            "The answer is made of keys. Keys are compared and never given back.",
            "Multiply the weights with the values.",
            lambda query, keys, values: _lookup(_scored(query, keys), keys),
        ),
        Mistake(
            "values-scored",
            "The query was compared with the values. Values are given back and never compared; for "
            "most widths it is not even possible.",
            "The scores need query and keys only.",
            lambda query, keys, values: _lookup(_scored(query, values), values),
        ),
        Mistake(
            "only-the-best",
            "The value of the best key came back, and all others count nothing. That is a lookup "
            "that moves in jumps, and what jumps cannot be trained.",
            "Use the softmax's weights, not `argmax`.",
            lambda query, keys, values: values[(keys @ query).argmax()],
        ),
        Mistake(
            "exact-match",
            "Your dictionary still compares like Python's: equal or not. A query that equals no key "
            "gets nothing.",
            "Compare by a dot product, which knows degrees.",
            lambda query, keys, values: (keys == query).all(dim=1).to(values.dtype) @ values,
        ),
        Mistake(
            "uniform",
            "Whatever is asked, the answer is the plain mean of the values.",
            "Let the scores decide: the weights come from the softmax of the scores.",
            lambda query, keys, values: values.mean(dim=0),
        ),
        Mistake(
            "no-softmax",
            "The scores themselves served as weights. They do not sum to 1, and some are negative.",
            "`torch.softmax(scores, dim=0)` first.",
            lambda query, keys, values: _scored(query, keys) @ values,
        ),
        Mistake(
            "not-exponential",
            "The scores were divided by their sum. With negative scores that gives negative weights, "
            "and a query of zeros divides by zero.",
            "exp first, then divide: that is the softmax.",
            lambda query, keys, values: (_scored(query, keys) / _scored(query, keys).sum())
            @ values,
        ),
        Mistake(
            "overflow",
            "exp overflows at scores around 89: infinity divided by infinity is NaN.",
            "Subtract the largest score first, or let `torch.softmax` do it.",
            lambda query, keys, values: (
                _scored(query, keys).exp() / _scored(query, keys).exp().sum()
            )
            @ values,
        ),
        Mistake(
            "cosine",
            "The lengths of query and key were divided away: these are cosines. The length of a "
            "query says how strict the question is, and has to count.",
            "Take the dot product and divide by √d only.",
            lambda query, keys, values: _lookup(
                torch.cosine_similarity(keys, query.unsqueeze(0), dim=1), values
            ),
        ),
        Mistake(
            "distance",
            "Your scores are squared distances with a minus, as in kernel regression. With keys of "
            "equal length it would be the same; under the dot product a longer key counts more.",
            "The score is the dot product over √d.",
            lambda query, keys, values: _lookup(
                -(keys - query).square().sum(dim=1) / (2 * math.sqrt(len(query))), values
            ),
        ),
        Mistake(
            "negated",
            "The worst key gets the most: the sign of the scores is turned around.",
            "Leave out the minus.",
            lambda query, keys, values: _lookup(-_scored(query, keys), values),
        ),
        Mistake(
            "softmax-twice",
            "The weights are too even: a second softmax went over those of the first.",
            "One softmax is enough.",
            lambda query, keys, values: _lookup(
                torch.softmax(_scored(query, keys), dim=0), values
            ),
        ),
        Mistake(
            "weights-returned",
            "These are the weights, one for each entry. A dictionary gives back a value.",
            "One more line: `weights @ values`.",
            lambda query, keys, values: torch.softmax(_scored(query, keys), dim=0),
        ),
        Mistake(
            "not-summed",
            "Each value was multiplied by its weight, and they were not added up.",
            "Sum over the entries: `weights @ values`.",
            lambda query, keys, values: (
                torch.softmax(_scored(query, keys), dim=0).unsqueeze(1) * values
            ),
        ),
        Mistake(
            "mean-of-the-weighted",
            "The weighted values were averaged: the sum was divided by the number of entries once "
            "more. The weights already sum to 1.",
            "`sum`, not `mean`.",
            lambda query, keys, values: _lookup(_scored(query, keys), values) / len(keys),
        ),
    ),
)  # fmt: skip


# --- scaled_attention -------------------------------------------------------------------------


def scaled_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention, softmax(Q Kᵀ / √d) V.

    queries: (…, target, width), keys: (…, source, width), values: (…, source, value width); there
    may be any number of axes in front, or none. mask: bool, True = may look, broadcastable to
    (…, target, source); None allows all. A row that may look nowhere gets zeros.
    Gives the contexts (…, target, value width) and the weights (…, target, source).
    """
    # BEGIN SOLUTION
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        nowhere = ~mask.any(dim=-1, keepdim=True)
        weights = torch.softmax(scores.masked_fill(~(mask | nowhere), -torch.inf), dim=-1)
        weights = weights.masked_fill(nowhere, 0.0)
    return weights @ values, weights
    # END SOLUTION


def _attention_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "each query gets a mixture of the values, and the weights of it",
        {
            "queries": draw.normal(2, 4, std=1.5),
            "keys": draw.normal(3, 4, std=1.5),
            "values": draw.normal(3, 5, std=3.0),
        },
        hint="One query by hand: its dot products with the keys, divided by 2, then the softmax.",
    )
    yield Case(
        "sentences of a batch do not meet",
        {
            "queries": draw.normal(2, 3, 5),
            "keys": draw.normal(2, 4, 5),
            "values": draw.normal(2, 4, 6, std=3.0),
        },
    )
    yield Case(
        "heads are one more axis in front, and all axes may be equally long",
        {
            "queries": draw.normal(2, 3, 3, 3, std=1.5),
            "keys": draw.normal(2, 3, 3, 3, std=1.5),
            "values": draw.normal(2, 3, 3, 3, std=3.0),
        },
        hint="There are two axes in front here. Count axes from the end, -2 and -1, and it does not "
        "matter how many there are.",
    )
    yield Case(
        "what the mask forbids has weight 0, in each sentence for itself",
        {
            "queries": draw.normal(2, 2, 3),
            "keys": draw.normal(2, 4, 3),
            "values": draw.normal(2, 4, 5, std=3.0),
            "mask": torch.tensor([[[True, False, True, True]], [[True, True, True, False]]]),
        },
    )
    yield Case(
        "each query may have its own mask",
        {
            "queries": draw.normal(1, 3, 2),
            "keys": draw.normal(1, 3, 2),
            "values": draw.normal(1, 3, 4, std=3.0),
            "mask": torch.tensor([[True, False, False], [True, True, False], [True, True, True]]),
        },
    )
    yield Case(
        "a row that may look nowhere gets zeros",
        {
            "queries": draw.normal(2, 2, 3),
            "keys": draw.normal(2, 4, 3),
            "values": draw.normal(2, 4, 2, std=3.0),
            "mask": torch.tensor([[[False, False, False, False]], [[False, True, True, False]]]),
        },
        gradients=("queries",),
        hint="The first sentence is forbidden altogether. Its weights and contexts are 0, and no "
        "NaN may come back as a gradient.",
    )
    yield Case(
        "one query and one key in a batch of one",
        {
            "queries": draw.normal(1, 1, 2),
            "keys": draw.normal(1, 1, 2),
            "values": draw.normal(1, 1, 3),
        },
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to all three",
        {
            "queries": draw.normal(2, 2, 3, dtype=torch.float64),
            "keys": draw.normal(2, 4, 3, dtype=torch.float64),
            "values": draw.normal(2, 4, 5, std=3.0, dtype=torch.float64),
            "mask": torch.tensor([[[True, True, False, True]], [[True, True, True, True]]]),
        },
        gradients=("queries", "keys", "values"),
    )


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.transpose(-2, -1)


def _over_root(queries: Tensor, keys: Tensor) -> Tensor:
    return _products(queries, keys) / math.sqrt(queries.shape[-1])


def _attended(scores: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What rightly follows the score."""
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    weights = masked_softmax(scores, mask.expand_as(scores))
    return weights @ values, weights


def _plainly(
    scores: Tensor, values: Tensor, mask: Tensor | None, fill: float, dim: int = -1
) -> tuple[Tensor, Tensor]:
    """The same without thinking of rows that may look nowhere."""
    if mask is not None:
        scores = scores.masked_fill(~mask, fill)
    weights = torch.softmax(scores, dim=dim)
    return weights @ values, weights


def _masked_after(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(_over_root(queries, keys), dim=-1)
    weights = weights if mask is None else weights * mask
    return weights @ values, weights


def _weights_divided(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    weights = _attended(_products(queries, keys), values, mask)[1] / math.sqrt(queries.shape[-1])
    return weights @ values, weights


def _from_zero(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dim: int
) -> tuple[Tensor, Tensor]:
    """A softmax over another axis than the source."""
    scores = _over_root(queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.nan_to_num(torch.softmax(scores, dim=dim), nan=0.0)
    return weights @ values, weights


SCALED_ATTENTION = Exercise(
    solution=scaled_attention,
    title="Scaled dot-product attention",
    difficulty=2,
    minutes=20,
    points=4,
    goal="Write the formula on which the rest of the book stands, "
    "$C = \\mathrm{softmax}(QK^\\top/\\sqrt d)\\,V$, so that chapters 11 to 14 could use it: for "
    "single sentences, batches and batches of heads, with a mask or without one.",
    shapes="`queries` (…, target, width), `keys` (…, source, width), `values` (…, source, value "
    "width); `mask` bool, True = may look, broadcastable to (…, target, source), or None → "
    "contexts (…, target, value width) and weights (…, target, source). The axes in front, …, are "
    "any number, also none.",
    example="One query $(2, 0, 0, 0)$ and the keys $(1, 0, 0, 0)$ and $(0, 1, 0, 0)$: the dot "
    "products 2 and 0 over $\\sqrt 4$ are the scores 1 and 0, the weights 0.731 and 0.269. With "
    "the values $(10)$ and $(0)$ the context is $(7.31)$. With the mask (False, True) the weights "
    "are 0 and 1 and the context is $(0)$.",
    section="query-key-value-code",
    explanation="Axes counted from the end, `transpose(-2, -1)` and `dim=-1`, make one function do "
    "for all numbers of axes in front. $d$ is the width of queries and keys, `queries.shape[-1]`; "
    "the values' width may be another one. $-\\infty$ goes in before the softmax, and rows that may "
    "look nowhere are left unfilled and set to 0 afterwards, as in chapter 5. "
    "`F.scaled_dot_product_attention` computes the contexts in one call, but it does not give the "
    "weights back.",
    start="It is chapter 5 in one function: scores, masked softmax, weighted sum, with one new "
    "division. How do you write the transpose so that it does not matter how many axes stand in "
    "front?",
    more="`queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])` are the scores. If there "
    "is a mask, fill them with −∞ where it is False; softmax with `dim=-1`; set rows without any "
    "permission to 0; return `weights @ values, weights`.",
    cases=_attention_cases,
    mistakes=(
        Mistake(
            "no-root",
            "The scores are not scaled: this is Luong's dot product. For numbers of variance 1 its "
            "weights get sharper the wider the keys are.",
            "Divide the scores by `math.sqrt(queries.shape[-1])`.",
            lambda queries, keys, values, mask=None: _attended(
                _products(queries, keys), values, mask
            ),
        ),
        Mistake(
            "divided-by-width",
            "The scores are divided by d instead of √d: all weights are too even.",
            "A sum of d random products has variance d, and is therefore about √d large.",
            lambda queries, keys, values, mask=None: _attended(
                _products(queries, keys) / queries.shape[-1], values, mask
            ),
        ),
        Mistake(
            "root-of-source",
            "You divided by the root of the number of keys. d is the width of a key, not the length "
            "of the sentence.",
            "`keys.shape[-1]`, not `keys.shape[-2]`.",
            lambda queries, keys, values, mask=None: _attended(
                _products(queries, keys) / math.sqrt(keys.shape[-2]), values, mask
            ),
        ),
        Mistake(
            "root-of-value-width",
            "You divided by the root of the values' width. Values have no part in the scores.",
            "`queries.shape[-1]`, not `values.shape[-1]`.",
            lambda queries, keys, values, mask=None: _attended(
                _products(queries, keys) / math.sqrt(values.shape[-1]), values, mask
            ),
        ),
        Mistake(
            "multiplied-by-root",
            "The scores were multiplied by √d: the weights are far too sharp.",
            "Divide: `/ math.sqrt(…)`, or `* d ** -0.5`.",
            lambda queries, keys, values, mask=None: _attended(
                _products(queries, keys) * math.sqrt(queries.shape[-1]), values, mask
            ),
        ),
        Mistake(
            "root-after-softmax",
            "The weights were divided by √d, after the softmax: they do not sum to 1, and are as "
            "sharp as without the root.",
            "Divide the scores, before the softmax.",
            _weights_divided,
        ),
        Mistake(
            "keys-given-back",
            "The contexts are sums of keys. They must be made of the values.",
            "`weights @ values`.",
            lambda queries, keys, values, mask=None: _attended(
                _over_root(queries, keys), keys, mask
            ),
        ),
        Mistake(
            "three-axes-only",
            "Your function works for (batch, words, width) and nothing else. Without a batch there "
            "is one axis less, with heads one more, and `transpose(1, 2)` then takes hold of other "
            "axes.",
            "Count from the end: `keys.transpose(-2, -1)`, or `keys.mT`.",
            lambda queries, keys, values, mask=None: _attended(
                queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1]), values, mask
            ),
        ),
        Mistake(
            "no-mask",
            "The mask has no effect.",
            "Where it is False the score becomes −∞, before the softmax.",
            lambda queries, keys, values, mask=None: _attended(_over_root(queries, keys), values),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. In this book True means *may look*.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            lambda queries, keys, values, mask=None: _attended(
                _over_root(queries, keys), values, None if mask is None else ~mask
            ),
        ),
        Mistake(
            "mask-inverted-plainly",
            "The mask is read the wrong way round: where it says True, may look, you filled in −∞.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            lambda queries, keys, values, mask=None: _plainly(
                _over_root(queries, keys), values, None if mask is None else ~mask, -torch.inf
            ),
        ),
        Mistake(
            "mask-after-softmax",
            "The weights of a masked row do not sum to 1: the mask came after the softmax.",
            "Mask the scores, not the weights.",
            _masked_after,
        ),
        Mistake(
            "filled-with-zero",
            "Forbidden scores were set to 0, and exp(0) is 1: the position still has a weight.",
            "The score whose exponential is 0 is −∞.",
            lambda queries, keys, values, mask=None: _plainly(
                _over_root(queries, keys), values, mask, 0.0
            ),
        ),
        Mistake(
            "soft-constant",
            "A large negative constant hides nothing from a row that is forbidden altogether: there "
            "all scores are equal, and every position gets the same weight.",
            "Use −∞, and set rows without any permission to 0 afterwards.",
            lambda queries, keys, values, mask=None: _plainly(
                _over_root(queries, keys), values, mask, -1e9
            ),
        ),
        Mistake(
            "nan-in-empty-row",
            "A row that may look nowhere becomes NaN: the softmax of nothing but −∞ is 0/0.",
            "Find these rows with `mask.any(dim=-1, keepdim=True)` and do not fill them; set their "
            "weights to 0 afterwards.",
            lambda queries, keys, values, mask=None: _plainly(
                _over_root(queries, keys), values, mask, -torch.inf
            ),
        ),
        Mistake(
            "softmax-over-target",
            "The columns sum to 1, not the rows: the softmax runs over the queries.",
            "Each query shares out 1 among the keys: `dim=-1`.",
            lambda queries, keys, values, mask=None: _from_zero(queries, keys, values, mask, -2),
        ),
        Mistake(
            "softmax-over-first-axis",
            "The softmax runs over the first axis, which is the batch where there is one.",
            "`dim=-1`, the source.",
            lambda queries, keys, values, mask=None: _from_zero(queries, keys, values, mask, 0),
        ),
        Mistake(
            "scores-returned",
            "The contexts are right, and beside them stand the scores. Asked for are the weights.",
            "Return what came out of the softmax.",
            lambda queries, keys, values, mask=None: (
                _attended(_over_root(queries, keys), values, mask)[0],
                _over_root(queries, keys)
                if mask is None
                else _over_root(queries, keys).masked_fill(~mask, -torch.inf),
            ),
        ),
        Mistake(
            "only-the-context",
            "Only the contexts came back.",
            "Return both: `return context, weights`.",
            lambda queries, keys, values, mask=None: _attended(
                _over_root(queries, keys), values, mask
            )[0],
        ),
    ),
)  # fmt: skip


# --- repair_scale -----------------------------------------------------------------------------


def repair_scale(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """The weights of scaled dot-product attention. Somebody else wrote it, and it has a bug.

    queries: (batch, target, width), keys: (batch, source, width), mask: bool, True = may look,
    broadcastable to (batch, target, source). Gives the weights (batch, target, source).
    """
    # BEGIN SOLUTION
    #: width = keys.shape[1]
    #: scores = queries @ keys.transpose(1, 2) / math.sqrt(width)
    #: return masked_softmax(scores, mask)
    width = keys.shape[2]
    scores = queries @ keys.transpose(1, 2) / math.sqrt(width)
    return masked_softmax(scores, mask)
    # END SOLUTION


def _scale_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the weights of two words of four numbers each are those of the formula",
        {
            "queries": draw.normal(1, 3, 4, std=1.5),
            "keys": draw.normal(1, 2, 4, std=1.5),
            "mask": torch.ones(1, 1, 2, dtype=torch.bool),
        },
        hint="Calculate one row by hand: dot products, divided by what, then the softmax.",
    )
    queries, keys = draw.normal(1, 2, 3, std=1.5), draw.normal(1, 2, 3, std=1.5)
    yield Case(
        "the sentence alone",
        {"queries": queries, "keys": keys, "mask": torch.ones(1, 1, 2, dtype=torch.bool)},
    )
    yield Case(
        "the same sentence with padding has the same weights",
        {
            "queries": queries,
            "keys": torch.cat([keys, torch.zeros(1, 4, 3)], dim=1),
            "mask": torch.tensor([[[True, True, False, False, False, False]]]),
        },
        hint="Two words, and four places of padding that are masked. The weights of the two words "
        "must be those that they had without the padding.",
    )
    yield Case(
        "sentences of unequal length in one batch",
        {
            "queries": draw.normal(2, 4, 3),
            "keys": draw.normal(2, 5, 3),
            "mask": torch.tensor(
                [[[True, True, True, True, True]], [[True, True, False, False, False]]]
            ),
        },
    )
    yield Case(
        "a sentence as long as its keys are wide",
        {
            "queries": draw.normal(3, 3, 3, std=1.5),
            "keys": draw.normal(3, 3, 3, std=1.5),
            "mask": torch.tensor(
                [[[True, True, True]], [[True, True, False]], [[True, True, True]]]
            ),
        },
    )
    yield Case(
        "wide keys of random numbers",
        {
            "queries": draw.normal(1, 2, 25),
            "keys": draw.normal(1, 3, 25),
            "mask": torch.ones(1, 1, 3, dtype=torch.bool),
        },
        hint="With random numbers of variance 1 the scores should have a variance near 1, however "
        "wide the keys are.",
    )
    yield Case(
        "large scores stay large",
        {
            "queries": 8 * draw.normal(1, 2, 4),
            "keys": draw.normal(1, 5, 4),
            "mask": torch.ones(1, 1, 5, dtype=torch.bool),
        },
        hint="A query eight times as long is a stricter question. The division has no business to "
        "know how large the scores turned out.",
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to both",
        {
            "queries": draw.normal(2, 2, 3, dtype=torch.float64),
            "keys": draw.normal(2, 4, 3, dtype=torch.float64),
            "mask": torch.tensor([[[True, True, True, False]], [[True, True, True, True]]]),
        },
        gradients=("queries", "keys"),
    )


def _tempered(queries: Tensor, keys: Tensor, mask: Tensor, divisor: float | Tensor) -> Tensor:
    """The masked softmax of the dot products over something."""
    return masked_softmax(_products(queries, keys) / divisor, mask)


def _allowed(scores: Tensor, mask: Tensor) -> Tensor:
    return mask.expand_as(scores).sum(dim=-1, keepdim=True)


_BUG_START = (
    "The three symptoms have one cause. The weights change with the number of places in the "
    "batch's row, masked or not. Which of the numbers in this function grows when a sentence is "
    "padded, and should not be there?"
)
_BUG_MORE = (
    "`keys` is (batch, source, width). Look at which of its axes the variable called `width` takes."
)

REPAIR_SCALE = Exercise(
    solution=repair_scale,
    title="Find the bug: weights that depend on the padding",
    difficulty=2,
    minutes=12,
    points=3,
    goal="A colleague reports three symptoms. A sentence gets other weights alone than in a batch "
    "with longer ones, although padding is masked. The longer a text, the flatter the weights, "
    "more than its length explains. And a test with a sentence of 64 words and keys of 64 numbers "
    "finds no fault. The code is given; find the bug and repair it. `masked_softmax` from chapter 5 "
    "is right.",
    shapes="`queries` (batch, target, width), `keys` (batch, source, width), `mask` bool, "
    "broadcastable to (batch, target, source) → weights (batch, target, source).",
    example="A query $(4, 0, 0, 0)$ and the keys $(1, 0, 0, 0)$ and $(0, 1, 0, 0)$, no padding: "
    "the dot products are 4 and 0, the scores should be 2 and 0, and the weights 0.881 and 0.119. "
    "The code has 0.944 and 0.056. With 14 places of masked padding behind them, it has 0.731 and "
    "0.269.",
    section="query-key-value-scale",
    explanation="The second axis of the keys is the source, the third their width. A dot product "
    "adds up as many products as a key has *numbers*, so that is what its variance grows with; how "
    "many keys there are has nothing to do with the size of a score. In a batch the number of places "
    "includes the padding, which is how a wrong axis made a sentence depend on its neighbours. With "
    "as many places as numbers the bug is invisible: a good reason to test with lengths that are all "
    "different.",
    start=_BUG_START,
    more=_BUG_MORE,
    cases=_scale_cases,
    given=(masked_softmax,),
    mistakes=(
        Mistake(
            "root-of-source",
            _BUG_START,
            _BUG_MORE,
            lambda queries, keys, mask: _tempered(queries, keys, mask, math.sqrt(keys.shape[1])),
        ),
        Mistake(
            "root-of-allowed",
            "You divide by the root of the number of words that are not padding. Now padding does no "
            "harm, but a long sentence is still flatter than a short one. Is the number of words "
            "what a dot product adds up?",
            "The dot product runs over the width of a key; take the root of that.",
            lambda queries, keys, mask: _tempered(
                queries, keys, mask, _allowed(_products(queries, keys), mask).sqrt()
            ),
        ),
        Mistake(
            "no-scale",
            "Without any division the padding does no harm, but neither is the score scaled: with "
            "wide keys the softmax has all but chosen before anything is learned.",
            "The division was right, what it divides by was not.",
            lambda queries, keys, mask: _tempered(queries, keys, mask, 1.0),
        ),
        Mistake(
            "divided-by-width",
            "The axis is the right one, but the root has gone: the weights are too even.",
            "`math.sqrt(width)`.",
            lambda queries, keys, mask: _tempered(queries, keys, mask, float(keys.shape[2])),
        ),
        Mistake(
            "divided-by-source",
            "Without the root the number of places does still more harm. The root was not the bug.",
            "Look at which axis of `keys` is called `width`.",
            lambda queries, keys, mask: _tempered(queries, keys, mask, float(keys.shape[1])),
        ),
        Mistake(
            "root-of-target",
            "You took the number of queries. No query knows of the others, so their number cannot "
            "matter.",
            "`keys.shape[2]`, which is also `queries.shape[2]`.",
            lambda queries, keys, mask: _tempered(
                queries, keys, mask, math.sqrt(queries.shape[1])
            ),
        ),
        Mistake(
            "root-of-batch",
            "The first axis is the batch: now the weights depend on how many sentences there are.",
            "(batch, source, width): the width is axis 2, or -1.",
            lambda queries, keys, mask: _tempered(queries, keys, mask, math.sqrt(len(keys))),
        ),
        Mistake(
            "multiplied-by-root",
            "The axis is right, and now the scores are multiplied: far too sharp.",
            "Divide by the root.",
            lambda queries, keys, mask: _tempered(
                queries, keys, mask, 1 / math.sqrt(keys.shape[2])
            ),
        ),
        Mistake(
            "fixed-64",
            "You divide by 8, the root of the colleague's 64. Other keys have other widths.",
            "Read the width off the keys: `keys.shape[2]`.",
            lambda queries, keys, mask: _tempered(queries, keys, mask, 8.0),
        ),
        Mistake(
            "cosine",
            "The scores are divided by the lengths of query and key: cosines, never larger than 1. "
            "Dividing by √d does not normalize anything.",
            "Divide by the root of the width and by nothing that depends on the numbers.",
            lambda queries, keys, mask: masked_softmax(
                torch.cosine_similarity(queries.unsqueeze(2), keys.unsqueeze(1), dim=-1, eps=1e-8),
                mask,
            ),
        ),
        Mistake(
            "standardized",
            "You divide each row of scores by its own standard deviation. That makes the variance 1 "
            "by force, for a strict question as well as for a vague one, and padding counts in it.",
            "√d is the deviation that random vectors would have; it does not look at the scores.",
            lambda queries, keys, mask: _tempered(
                queries,
                keys,
                mask,
                _products(queries, keys).std(dim=-1, keepdim=True),
            ),
        ),
        Mistake(
            "root-after-softmax",
            "The root went behind the softmax: the weights do not sum to 1.",
            "Divide the scores.",
            lambda queries, keys, mask: (
                _tempered(queries, keys, mask, 1.0) / math.sqrt(keys.shape[2])
            ),
        ),
        Mistake(
            "logarithm",
            "You made up for the flatness of long texts by a factor that depends on their length. "
            "The formula has none: it divides by √d and leaves it there.",
            "No number of places, not even its logarithm, has a part in the scores.",
            lambda queries, keys, mask: _tempered(
                queries, keys, mask, math.sqrt(keys.shape[2]) / math.log(keys.shape[1])
            ),
        ),
        Mistake(
            "mask-removed",
            "The scale is right now, but the mask has gone: padding has weights.",
            "Keep `masked_softmax(scores, mask)`.",
            lambda queries, keys, mask: torch.softmax(_over_root(queries, keys), dim=-1),
        ),
        Mistake(
            "mask-inverted",
            "The scale is right now, but you turned the mask around, which was in order: True means "
            "*may look*.",
            "`masked_softmax(scores, mask)`, without `~`.",
            lambda queries, keys, mask: masked_softmax(_over_root(queries, keys), ~mask),
        ),
        Mistake(
            "axes-of-the-product",
            "You exchanged queries and keys in the product: a row has to belong to a query.",
            "The product was right: `queries @ keys.transpose(1, 2)`.",
            lambda queries, keys, mask: torch.softmax(
                keys @ queries.transpose(1, 2) / math.sqrt(keys.shape[2]), dim=-1
            ),
        ),
        Mistake(
            "softmax-over-target",
            "The scale is right, but the columns sum to 1 now: the softmax runs over the queries.",
            "The softmax over the source was right.",
            lambda queries, keys, mask: torch.nan_to_num(
                torch.softmax(
                    _over_root(queries, keys).masked_fill(~mask, -torch.inf), dim=1
                ),
                nan=0.0,
            ),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="10_query_key_value",
    title="Query, key, value",
    opening="A dictionary that mixes its values, first for one question and then for all sentences "
    "and heads at once, as chapter 10 builds it; and a program by "
    "somebody else, whose root is the wrong one.",
    exercises=(SOFT_DICTIONARY, SCALED_ATTENTION, REPAIR_SCALE),
)
