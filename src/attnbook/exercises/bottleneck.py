"""The exercises of chapter 4: which vector it is that the decoder gets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake

__all__ = ["CHAPTER"]


# --- last_states ------------------------------------------------------------------------------


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """The state at the last real word of each sentence, in a batch that is padded at the right.

    states: (batch, words, width), one for each column, padding included; lengths: (batch,),
    whole numbers, the real words of each sentence, at least 1. Gives (batch, width).
    """
    # BEGIN SOLUTION
    rows = torch.arange(len(states), device=states.device)
    return states[rows, lengths - 1]
    # END SOLUTION


def _last_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "it is the state of the last real word, not that of the last column",
        {"states": draw.normal(2, 4, 3), "lengths": torch.tensor([2, 4])},
        hint="The first sentence has two words: the columns 0 and 1 are its own.",
    )
    yield Case(
        "all rows may be padded, as in a part of a larger batch",
        {"states": draw.normal(3, 6, 2), "lengths": torch.tensor([3, 4, 2])},
    )
    yield Case(
        "without padding it is the last column",
        {"states": draw.normal(2, 3, 4), "lengths": torch.tensor([3, 3])},
    )
    yield Case(
        "batch, words and width may be of one size",
        {"states": draw.normal(3, 3, 3), "lengths": draw.permutation(3) + 1},
    )
    yield Case(
        "a sentence of one word has one state",
        {"states": draw.normal(3, 4, 2), "lengths": torch.tensor([1, 3, 2])},
    )
    yield Case(
        "a batch of one is a batch",
        {"states": draw.normal(1, 5, 3), "lengths": torch.tensor([draw.integer(2, 5)])},
    )
    yield Case(
        "a single word, alone",
        {"states": draw.normal(1, 1, 4), "lengths": torch.tensor([1])},
    )
    yield Case(
        "the dtype of the input is kept, and a gradient flows to one state of each sentence",
        {
            "states": draw.normal(4, 5, 3, dtype=torch.float64),
            "lengths": torch.tensor([2, 5, 1, 4]),
        },
        gradients=("states",),
    )


def _at(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(len(states)), places]


def _real(states: Tensor, lengths: Tensor) -> Tensor:
    """Which columns hold words, (batch, words, 1)."""
    return (torch.arange(states.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1)


LAST_STATES = Exercise(
    solution=last_states,
    title="The state after the last real word",
    difficulty=2,
    minutes=12,
    points=3,
    goal="A batch of sentences of unequal length has been read column by column, and there is a "
    "state for every column. Of each sentence take the state that goes to the decoder: the one at "
    "its own last word, however much padding was read after it.",
    shapes="`states` (batch, words, width), `lengths` (batch,) whole numbers → (batch, width).",
    example="Two sentences, three columns, states of one number: $(1, 2, 3)$ and $(4, 5, 6)$. With "
    "the lengths 3 and 1 the result is $(3)$ and $(4)$, in the shape (2, 1).",
    section="bottleneck-which-vector",
    explanation="Two tensors as an index are taken in pairs: row 0 with `lengths[0] - 1`, row 1 "
    "with `lengths[1] - 1`, and so on. `states[:, lengths - 1]` would be another thing, all rows "
    "with all places. The `- 1` is there because the first word has the number 0. Whether "
    "something was read on the padding no longer matters: it comes after the state that is taken, "
    "and a network that reads from left to right does not look ahead.",
    start="The last word of a sentence with n words stands in which column, counted from 0? And "
    "how do you say \"of row 0 this column, of row 1 that one\"?",
    more="Index with two tensors of the same length, the numbers of the rows and the columns: "
    "`states[torch.arange(len(states)), lengths - 1]`.",
    cases=_last_cases,
    mistakes=(
        Mistake(
            "last-column",
            "This is the last column. Where a sentence is shorter than the batch, the network has "
            "read padding there, as if it were words, and its state has changed by it.",
            "Use `lengths`: each sentence has a last column of its own.",
            lambda states, lengths: states[:, -1],
        ),
        Mistake(
            "one-too-late",
            "This is the state one column after the last word: columns count from 0, lengths from "
            "1. A full sentence has no such column.",
            "`lengths - 1`.",
            lambda states, lengths: _at(states, lengths),
        ),
        Mistake(
            "one-too-late-held-back",
            "This is the state one column after the last word, except where there is no such "
            "column. Columns count from 0, lengths from 1; no clamp is needed then.",
            "`lengths - 1`.",
            lambda states, lengths: _at(states, lengths.clamp(max=states.shape[1] - 1)),
        ),
        Mistake(
            "one-too-early",
            "This is the state before the last word. The last real token, even if it is the end "
            "marker, is part of the sentence: the state after it is the one that has read all.",
            "`lengths - 1`, not 2 less.",
            lambda states, lengths: _at(states, lengths - 2),
        ),
        Mistake(
            "first-state",
            "This is the state after the first word.",
            "The one at `lengths - 1` has read the whole sentence.",
            lambda states, lengths: states[:, 0],
        ),
        Mistake(
            "first-length-for-all",
            "All sentences were cut where the first one ends.",
            "Pair each row with its own length.",
            lambda states, lengths: states[:, int(lengths[0]) - 1],
        ),
        Mistake(
            "longest-for-all",
            "All sentences were taken for as long as the longest.",
            "Pair each row with its own length.",
            lambda states, lengths: states[:, int(lengths.max()) - 1],
        ),
        Mistake(
            "shortest-for-all",
            "All sentences were cut to the shortest.",
            "Pair each row with its own length.",
            lambda states, lengths: states[:, int(lengths.min()) - 1],
        ),
        Mistake(
            "every-row-with-every-place",
            "There is one result for each pair of sentences: `states[:, places]` takes all places "
            "of all rows.",
            "Put the numbers of the rows in place of the colon, `torch.arange(len(states))`: two "
            "tensors as an index are taken in pairs.",
            lambda states, lengths: states[:, lengths - 1],
        ),
        Mistake(
            "all-from-the-first-sentence",
            "The places are right, and all are looked up in the first sentence. In a flat list of "
            "states, the second sentence begins after all columns of the first.",
            "Give each place its row: `states[torch.arange(len(states)), lengths - 1]`.",
            lambda states, lengths: states[0, lengths - 1],
        ),
        Mistake(
            "padding-not-counted",
            "The lengths were added up to find where each sentence ends. That is right for a list "
            "without padding; here every sentence takes up as many columns as the longest.",
            "Pair rows and places: `states[torch.arange(len(states)), lengths - 1]`.",
            lambda states, lengths: states.flatten(0, 1)[lengths.cumsum(0) - 1],
        ),
        Mistake(
            "rows-and-columns-exchanged",
            "Rows and columns have changed places: the batch comes first in `states`.",
            "`states[rows, places]`, the sentences' numbers first.",
            lambda states, lengths: states[lengths - 1, torch.arange(len(states))],
        ),
        Mistake(
            "counted-from-the-end",
            "You counted from the end of the row, where the padding is.",
            "`lengths - 1` counts from the beginning; `-lengths` counts back from the last column.",
            lambda states, lengths: _at(states, -lengths),
        ),
        Mistake(
            "padding-counted-back",
            "You went back from the end by as many columns as there is padding. That is the first "
            "column of the padding; and without padding it is column 0, because −0 is 0.",
            "`lengths - 1` counts from the beginning and is right for every row.",
            lambda states, lengths: _at(states, lengths - states.shape[1]),
        ),
        Mistake(
            "one-number-only",
            "Of each state only the first number came out: `gather` takes one number for each "
            "number of its index.",
            "Expand the index to the width of a state, or index with two tensors instead.",
            lambda states, lengths: states[torch.arange(len(states)), lengths - 1, :1],
        ),
        Mistake(
            "word-axis-kept",
            "The states are right, and a word axis of size 1 is left over.",
            "Index with the place itself, not with a slice; after `gather`, `squeeze(1)`.",
            lambda states, lengths: _at(states, lengths - 1).unsqueeze(1),
        ),
        Mistake(
            "mean-of-words",
            "This is the mean of a sentence's states. Asked for is the last of them, which has "
            "read all words.",
            "Take one state; nothing is averaged.",
            lambda states, lengths: (states * _real(states, lengths)).sum(dim=1)
            / lengths.unsqueeze(1),
        ),
        Mistake(
            "sum-of-all",
            "The states of all columns were added up, as if those on the padding were zero. They "
            "are not: a network that reads padding changes its state.",
            "Take one state; nothing is added.",
            lambda states, lengths: states.sum(dim=1),
        ),
        Mistake(
            "largest-of-words",
            "Each number is the largest that a sentence's states have at its place.",
            "Take one state as a whole.",
            lambda states, lengths: states.masked_fill(~_real(states, lengths), -torch.inf).amax(
                dim=1
            ),
        ),
        Mistake(
            "sorted-by-length",
            "The states are right and stand at the places of other sentences, as if the batch had "
            "been sorted by length. The decoder would translate one sentence under the name of "
            "another.",
            "If you sort, sort back: `order.argsort()` undoes `order`. No sorting is needed here.",
            lambda states, lengths: last_states(states, lengths)[
                lengths.argsort(descending=True, stable=True)
            ],
        ),
    ),
)  # fmt: skip


# --- joined_states ----------------------------------------------------------------------------


def joined_states(final: Tensor) -> Tensor:
    """The last states of both reading directions of a sentence side by side, for each layer.

    final: (layers * 2, batch, width), as a bidirectional torch network returns it: layer 0
    forwards, layer 0 backwards, layer 1 forwards, and so on. Gives (layers, batch, 2 * width), in
    each row the forward state and then the backward state of one sentence.
    """
    # BEGIN SOLUTION
    #: layers, batch, width = len(final) // 2, final.shape[1], final.shape[2]
    #: return final.view(layers, batch, 2 * width)
    return torch.cat([final[0::2], final[1::2]], dim=-1)
    # END SOLUTION


def _joined_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "forwards and backwards of one sentence stand side by side",
        {"final": draw.normal(2, 3, 2)},
        hint="The first row of the result belongs to the first sentence: `final[0, 0]`, then "
        "`final[1, 0]`.",
    )
    yield Case(
        "each layer has a pair of its own",
        {"final": draw.normal(4, 3, 2)},
        hint="Layer 0 is `final[0]` and `final[1]`, layer 1 is `final[2]` and `final[3]`.",
    )
    yield Case(
        "layers, batch and width may be of one size",
        {"final": draw.normal(4, 4, 4)},
    )
    yield Case(
        "a batch of one is a batch",
        {"final": draw.normal(2, 1, 3)},
    )
    yield Case(
        "a direction may have a state of one number",
        {"final": draw.normal(6, 2, 1)},
    )
    yield Case(
        "a sentence's states do not depend on its neighbours",
        {"final": draw.normal(2, 5, 3)},
    )
    yield Case(
        "the dtype of the input is kept, and a gradient flows to all states",
        {"final": draw.normal(6, 2, 3, dtype=torch.float64)},
        gradients=("final",),
    )


def _by_view(final: Tensor) -> Tensor:
    return final.reshape(len(final) // 2, final.shape[1], 2 * final.shape[2])


_VIEW_HINT = (
    "This code runs without an error, and with a batch of one it is even right. Take the "
    "small input and look at the first row of the result: whose states are these? `view` never "
    "moves a number past its neighbour."
)
_VIEW_MORE = (
    "In memory, a layer's forward states of *all* sentences come before its first backward state, "
    "so that a `view` joins whatever states are neighbours there. Pick the directions out with "
    "`final[0::2]` and `final[1::2]` and set them side by side with `torch.cat(…, dim=-1)`."
)


JOINED_STATES = Exercise(
    solution=joined_states,
    title="Diagnose: two directions, and a view",
    difficulty=2,
    minutes=15,
    points=3,
    goal="The function below is meant to set the last states of both reading directions side by "
    "side, so that a decoder gets one vector for each sentence and layer. It runs, its result has "
    "the right shape, a model with it trains, and it is wrong. Find out what it does, and mend it.",
    shapes="`final` (layers · 2, batch, width) → (layers, batch, 2 · width).",
    example="One layer, two sentences, states of one number: forwards $(1)$ and $(2)$, backwards "
    "$(3)$ and $(4)$. The first sentence's row is $(1, 3)$, the second's $(2, 4)$. What "
    "does the function below give?",
    section="bottleneck-which-vector",
    explanation="`view` reads the numbers in their order in memory and only moves the line breaks. "
    "There, both forward states stand before both backward ones, and whatever the shapes, "
    "neighbours stay neighbours. What belongs together here, `final[0, b]` and `final[1, b]`, are "
    "not neighbours; only an operation that moves numbers brings them together: `cat` of the two "
    "directions, or a `transpose` before the `reshape`. With a batch of one they *are* neighbours, "
    "so that no test with a single sentence finds the bug. And training does not betray it "
    "clearly: the decoder still gets something about *some* sentence, and the loss falls.",
    start=_VIEW_HINT,
    more=_VIEW_MORE,
    cases=_joined_cases,
    mistakes=(
        Mistake("mixed-by-view", _VIEW_HINT, _VIEW_MORE, _by_view),
        Mistake(
            "halves",
            "You took the first half of the rows for the forward states. With one layer that is "
            "right; with more, torch stacks layer by layer, and in each layer forwards and "
            "backwards.",
            "Every second row is a forward state: `final[0::2]`, and `final[1::2]` backwards.",
            lambda final: torch.cat([final[: len(final) // 2], final[len(final) // 2 :]], dim=-1),
        ),
        Mistake(
            "backwards-first",
            "The directions have changed places: the forward state comes first.",
            "`torch.cat([final[0::2], final[1::2]], dim=-1)`.",
            lambda final: torch.cat([final[1::2], final[0::2]], dim=-1),
        ),
        Mistake(
            "numbers-alternate",
            "The numbers of the two directions alternate. Both states should stand as a whole, one "
            "after the other.",
            "`torch.cat(…, dim=-1)`; if you stack, stack before the last axis.",
            lambda final: torch.stack([final[0::2], final[1::2]], dim=-1).flatten(-2),
        ),
        Mistake(
            "added",
            "The two states were added: the width is that of one direction, and nobody can tell "
            "any more what came from which.",
            "`torch.cat` along the last axis.",
            lambda final: final[0::2] + final[1::2],
        ),
        Mistake(
            "averaged",
            "This is the mean of the two states; asked for are both, side by side.",
            "`torch.cat` along the last axis.",
            lambda final: (final[0::2] + final[1::2]) / 2,
        ),
        Mistake(
            "forwards-only",
            "The backward states are missing.",
            "They are in `final[1::2]`.",
            lambda final: final[0::2],
        ),
        Mistake(
            "forwards-twice",
            "Both halves of a row are the forward state.",
            "The second half is `final[1::2]`.",
            lambda final: torch.cat([final[0::2], final[0::2]], dim=-1),
        ),
        Mistake(
            "one-below-the-other",
            "The two directions were set one behind the other along the batch, which is now twice "
            "as large.",
            "`dim=-1`, the width.",
            lambda final: torch.cat([final[0::2], final[1::2]], dim=1),
        ),
        Mistake(
            "along-the-layers",
            "The two directions were set one behind the other along the layers: nothing has been "
            "joined, only sorted.",
            "`dim=-1`, the width.",
            lambda final: torch.cat([final[0::2], final[1::2]], dim=0),
        ),
        Mistake(
            "last-layer-only",
            "Only the last layer's states came out. The decoder's layers each start from the "
            "encoder's layer of the same number.",
            "Keep the axis of the layers: slices such as `final[0::2]` do.",
            lambda final: torch.cat([final[-2], final[-1]], dim=-1),
        ),
        Mistake(
            "first-and-last-row",
            "The first row and the last were joined. With one layer these are its two directions; "
            "with more they belong to different layers.",
            "Join within each layer: `final[0::2]` and `final[1::2]`.",
            lambda final: torch.cat([final[:1], final[-1:]], dim=-1),
        ),
        Mistake(
            "batch-before-layers",
            "The batch stands before the layers. torch's networks keep the layers first, even with "
            "`batch_first=True`, and the decoder expects them so.",
            "Leave the axes in their order: (layers, batch, 2 · width).",
            lambda final: torch.cat([final[0::2], final[1::2]], dim=-1).transpose(0, 1),
        ),
        Mistake(
            "all-layers-in-one-row",
            "The states of all layers stand in one row. Only the two directions of a layer belong "
            "together.",
            "Take the axis apart first, `final.view(layers, 2, batch, width)`, then bring the 2 "
            "beside the width.",
            lambda final: final.transpose(0, 1).flatten(1),
        ),
        Mistake(
            "wrong-pair-of-axes",
            "Batch and layers were turned round before the reshape: with one layer that is right, "
            "with more it mixes sentences and layers.",
            "Take the axis apart first, `final.view(layers, 2, batch, width)`, then "
            "`transpose(1, 2)`, then reshape.",
            lambda final: final.transpose(0, 1).reshape(
                len(final) // 2, final.shape[1], 2 * final.shape[2]
            ),
        ),
        Mistake(
            "backwards-turned-round",
            "The numbers of the backward state come in reverse order. The network read the "
            "*words* from the right; the numbers of its state are in no order.",
            "Take `final[1::2]` as it is.",
            lambda final: torch.cat([final[0::2], final[1::2].flip(-1)], dim=-1),
        ),
        Mistake(
            "backward-batch-turned-round",
            "The backward states belong to the sentences in reverse order. The network read the "
            "*words* from the right; the batch is where it was.",
            "Take `final[1::2]` as it is.",
            lambda final: torch.cat([final[0::2], final[1::2].flip(1)], dim=-1),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="04_bottleneck",
    title="The bottleneck",
    opening="Chapter 4 asks what the one vector holds that the decoder "
    "gets. Before that can be asked it has to be the right vector: that of the sentence's last "
    "word, and that of this sentence. Both go wrong without an error message.",
    exercises=(LAST_STATES, JOINED_STATES),
)
