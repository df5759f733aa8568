"""A chapter of the tests' own, so that no test of grading depends on what the course asks.

Its exercises are as small as exercises can be and have all that those of the course have: several
arguments, gradients, a helper that the notebook gives, a long case, misconceptions. A learner has a
second for each, so that an attack that never ends is over soon. `classroom.registered` puts it
among the chapters of the course.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake


def pair_products(queries: Tensor, keys: Tensor) -> Tensor:
    """The product of each query with each key.

    queries: (batch, target, width), keys: (batch, source, width); gives (batch, target, source).
    """
    # BEGIN SOLUTION
    return queries @ keys.transpose(1, 2)
    # END SOLUTION


def _pair_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "an entry is the product of one query and one key",
        {"queries": draw.normal(1, 2, 3), "keys": draw.normal(1, 2, 3)},
    )
    yield Case(
        "sentences of a batch do not meet",
        {"queries": draw.normal(2, 3, 5), "keys": draw.normal(2, 4, 5)},
    )
    yield Case(
        "all lengths may be the same",
        {"queries": draw.normal(3, 3, 3), "keys": draw.normal(3, 3, 3)},
    )
    yield Case(
        "the dtype is kept, and gradients flow to both",
        {
            "queries": draw.normal(2, 2, 3, dtype=torch.float64),
            "keys": draw.normal(2, 4, 3, dtype=torch.float64),
        },
        gradients=("queries", "keys"),
    )


PAIR_PRODUCTS = Exercise(
    solution=pair_products,
    title="Products of pairs",
    difficulty=1,
    minutes=5,
    points=2,
    goal="Multiply every query with every key.",
    shapes="`queries` (batch, target, width), `keys` (batch, source, width) → (batch, target, "
    "source).",
    example="$(1, 2)$ and $(3, 0)$ give 3.",
    section="made-pairs",
    explanation="Row times column is query times key, once the keys are columns.",
    start="Which axis do both arguments share?",
    more="`keys.transpose(1, 2)` has the shape (batch, width, source).",
    cases=_pair_cases,
    seconds=1,
    mistakes=(
        Mistake(
            "scaled",
            "You divided by something that grows with the width.",
            "Leave out the root.",
            lambda queries, keys: queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1]),
        ),
        Mistake(
            "negated",
            "The sign is turned around.",
            "Leave out the minus.",
            lambda queries, keys: -(queries @ keys.transpose(1, 2)),
        ),
        Mistake(
            "batch-mixed",
            "Every sentence met the keys of all sentences.",
            "Keep the first axis apart.",
            lambda queries, keys: torch.einsum("btw,csw->bts", queries, keys),
        ),
    ),
)


def allowed(mask: Tensor) -> Tensor:
    """How many places of each row are allowed, and 1 where none is: (batch, 1)."""
    return mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values at allowed places; zeros for a row that has none.

    values: (batch, source, width), mask: bool (batch, source), True = counts; gives (batch, width).
    """
    # BEGIN SOLUTION
    counted = values.masked_fill(~mask.unsqueeze(-1), 0.0)
    return counted.sum(dim=1) / allowed(mask)
    # END SOLUTION


def _mean_cases(draw: Draw) -> Iterator[Case]:
    def rows(*lengths: int) -> Tensor:
        return torch.arange(5) < torch.tensor(lengths).unsqueeze(1)

    yield Case(
        "where all places count it is the mean",
        {"values": draw.normal(1, 5, 2), "mask": rows(5)},
    )
    yield Case(
        "a hidden place has no influence",
        {"values": draw.normal(2, 5, 3), "mask": rows(2, 4)},
    )
    yield Case(
        "a row without an allowed place gives zeros",
        {"values": draw.normal(2, 5, 3), "mask": rows(0, 3)},
    )
    yield Case(
        "the dtype is kept, and gradients flow",
        {"values": draw.normal(2, 5, 3, dtype=torch.float64), "mask": rows(1, 3)},
        gradients=("values",),
    )


MASKED_MEAN = Exercise(
    solution=masked_mean,
    title="A mean with a mask",
    difficulty=2,
    minutes=10,
    points=3,
    goal="Average over the places that count.",
    shapes="`values` (batch, source, width), `mask` (batch, source) → (batch, width).",
    example="2, 4 and a hidden 9 give 3.",
    section="made-means",
    explanation="What is hidden is made 0, and is not counted.",
    start="Two things depend on the mask: what is added, and how many it is divided by.",
    more="`allowed(mask)` counts.",
    cases=_mean_cases,
    seconds=1,
    given=(allowed,),
    mistakes=(
        Mistake(
            "no-mask",
            "The mask has no effect.",
            "Make hidden values 0 before adding.",
            lambda values, mask: values.mean(dim=1),
        ),
        Mistake(
            "divided-by-all",
            "Hidden places are counted, although they add nothing.",
            "Divide by `allowed(mask)`.",
            lambda values, mask: values.masked_fill(~mask.unsqueeze(-1), 0.0).mean(dim=1),
        ),
        Mistake(
            "mask-inverted",
            "You averaged over what is hidden.",
            "True means that a place counts.",
            lambda values, mask: (
                values.masked_fill(mask.unsqueeze(-1), 0.0).sum(dim=1)
                / (~mask).sum(dim=1, keepdim=True).clamp(min=1)
            ),
        ),
    ),
)


def cooled(start: Tensor, rate: float, steps: int) -> Tensor:
    """What is left of some warmth if every step takes a share of it: shaped as ``start``."""
    # BEGIN SOLUTION
    warmth = start
    for _ in range(steps):
        warmth = warmth - rate * warmth
    return warmth
    # END SOLUTION


def _cooled_cases(draw: Draw) -> Iterator[Case]:
    yield Case("a step takes its share", {"start": draw.normal(3), "rate": 0.25, "steps": 1})
    yield Case(
        "each step takes a share of what is left",
        {"start": draw.normal(2, 3) + 1.0, "rate": 0.5, "steps": 4},
    )
    yield Case("without a step all is left", {"start": draw.normal(2), "rate": 0.5, "steps": 0})
    yield Case(
        "after a long time nothing is left",
        {"start": draw.normal(5), "rate": 0.05, "steps": 500},
        accept=lambda left: bool(isinstance(left, Tensor) and left.abs().max() < 1e-6),
        long=True,
    )


COOLED = Exercise(
    solution=cooled,
    title="Cooling",
    difficulty=1,
    minutes=5,
    points=2,
    goal="Take a share, again and again.",
    shapes="`start` of any shape, `rate` and `steps` numbers → the shape of `start`.",
    example="From 8 with a rate of 0.5, three steps leave 1.",
    section="made-loops",
    explanation="The share is one of what is left, not of what there was.",
    start="What is a step's share a share of?",
    more="Subtract `rate * warmth`.",
    cases=_cooled_cases,
    seconds=1,
    mistakes=(
        Mistake(
            "share-of-the-start",
            "Every step took a share of what there was at first.",
            "Take it of `warmth`.",
            lambda start, rate, steps: start - steps * rate * start,
        ),
        Mistake(
            "warmed",
            "It grows warmer.",
            "Subtract.",
            lambda start, rate, steps: start * (1 + rate) ** steps,
        ),
    ),
)

CHAPTER = Chapter(
    name="40_made_for_the_tests",
    title="Made for the tests",
    opening="Three exercises that nobody has to learn from.",
    exercises=(PAIR_PRODUCTS, MASKED_MEAN, COOLED),
)
