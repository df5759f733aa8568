"""The exercises of chapter 3: batches, shifted targets, the loss, greedy and beam search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.probes import search

__all__ = ["CHAPTER"]

Ids = list[list[int]]


def _sentences(draw: Draw, *lengths: int) -> Ids:
    """Sentences of so many words; their numbers begin at 4, behind the marks."""
    return [draw.integers(4, 20, length).tolist() for length in lengths]


def _filled(rows: Ids, number: int = 0, width: int = 0) -> Tensor:
    """Rows filled up at the right, to the longest of them or to a width."""
    width = width or max(map(len, rows))
    return torch.tensor([[*row, *[number] * (width - len(row))] for row in rows])


def _lengths(rows: Ids) -> Tensor:
    return torch.tensor([len(row) for row in rows])


# --- pad_batch --------------------------------------------------------------------------------


def pad_batch(sentences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Sentences of unequal length as one rectangle of numbers, and their lengths.

    sentences: token ids, one list for each sentence, none empty; gives the ids (batch, longest),
    filled up at the right with `<pad>`, which is 0, and the lengths (batch,), both whole numbers.
    """
    # BEGIN SOLUTION
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    padded = torch.zeros(len(sentences), int(lengths.max()), dtype=torch.int64)
    for row, sentence in enumerate(sentences):
        padded[row, : len(sentence)] = torch.tensor(sentence)
    return padded, lengths
    # END SOLUTION


def _pad_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "a row for each sentence, filled up with 0 at the right",
        {"sentences": _sentences(draw, 3, 2)},
        hint="The first row is the first sentence. Where does the second sentence end, and what "
        "stands behind it?",
    )
    yield Case(
        "the longest sentence sets the width, wherever it stands",
        {"sentences": _sentences(draw, 2, 5, 3)},
    )
    yield Case(
        "the first sentence may be the shortest",
        {"sentences": _sentences(draw, 1, 3, 2, 4)},
    )
    yield Case(
        "sentences of equal length need no padding",
        {"sentences": _sentences(draw, 3, 3, 3)},
    )
    rows = _sentences(draw, 1, 3)
    yield Case(
        "marks are tokens like any other, and count",
        {"sentences": [[2, *rows[0], 3], [2, 1, *rows[1], 3]]},
        hint="`<sos>` 2, `<unk>` 1 and `<eos>` 3 are read by the network like words. Only `<pad>` "
        "is not.",
    )
    yield Case(
        "a batch of one sentence is still a batch",
        {"sentences": _sentences(draw, 4)},
    )
    yield Case(
        "a batch of one word is still a batch",
        {"sentences": _sentences(draw, 1)},
    )


def _wrapped(sentences: Ids) -> tuple[Tensor, Tensor]:
    width = max(map(len, sentences))
    text = [word for sentence in sentences for word in sentence]
    text += [0] * (width * len(sentences) - len(text))
    return torch.tensor(text).reshape(len(sentences), width), _lengths(sentences)


def _left(sentences: Ids) -> tuple[Tensor, Tensor]:
    width = max(map(len, sentences))
    return torch.tensor([[0] * (width - len(s)) + s for s in sentences]), _lengths(sentences)


def _same_width(cases: Any, wanted: Any, got: Any) -> bool:
    """All rectangles have one width, wider than any sentence needs."""
    widths = set()
    for want, outcome in zip(wanted, got, strict=True):
        value = outcome.value
        ids = value[0] if isinstance(value, (list, tuple)) and value else value
        if not isinstance(ids, Tensor) or ids.dim() != 2:
            return False
        if ids.shape[0] != want.value[0].shape[0] or ids.shape[1] < want.value[0].shape[1]:
            return False
        widths.add(ids.shape[1])
    return len(widths) == 1


def _ragged(cases: Any, wanted: Any, got: Any) -> bool:
    said = ("expected sequence of length", "inhomogeneous")
    return any(words in outcome.error for outcome in got for words in said)


PAD_BATCH = Exercise(
    solution=pad_batch,
    title="Sentences of unequal length in one rectangle",
    difficulty=2,
    minutes=8,
    points=2,
    goal="A network multiplies matrices, and a matrix has rows of equal length. Fill up the "
    "shorter sentences of a batch with `<pad>`, and keep the lengths: once ids have become "
    "states, they alone tell a word from padding.",
    shapes="`sentences`: a list of lists of ids, none empty → ids (batch, longest), lengths "
    "(batch,), both `int64`.",
    example="The sentences $(5, 9, 3)$ and $(7, 3)$ become the rows $(5, 9, 3)$ and $(7, 3, 0)$ "
    "with the lengths $(3, 2)$.",
    section="encoder-decoder-batches",
    explanation="A rectangle of zeros is a rectangle of `<pad>`, because that is the number 0 in "
    "every vocabulary; each sentence is then written over the beginning of its row. The dtype has "
    "to be said, as `torch.zeros` makes decimal numbers and an embedding looks rows up by whole "
    "ones. `torch.tensor` of lists padded beforehand, or "
    "`torch.nn.utils.rnn.pad_sequence(…, batch_first=True)`, gives the same.",
    start="How wide is the rectangle? Make it of zeros first, and then write each sentence over "
    "the beginning of its row.",
    more="`torch.zeros(len(sentences), longest, dtype=torch.int64)`, then for each row "
    "`padded[row, : len(sentence)] = torch.tensor(sentence)`. The lengths are "
    "`[len(sentence) for sentence in sentences]` as a tensor.",
    cases=_pad_cases,
    mistakes=(
        Mistake(
            "ragged",
            "A tensor was made of lists of unequal length. It has no rows of its own length each: "
            "it is a rectangle, and somebody has to fill it up.",
            "Append zeros to each list up to the longest length first, or begin with a rectangle "
            "of zeros and write the sentences into it.",
            sign=_ragged,
        ),
        Mistake(
            "padded-at-the-left",
            "The padding stands before the words. In this book every sentence begins in column 0, "
            "and its length says where it ends.",
            "Write a sentence to the columns `: len(sentence)`.",
            _left,
        ),
        Mistake(
            "cut-to-the-shortest",
            "Words are missing: all sentences were cut to the length of the shortest.",
            "The width is the largest length (`max`), not the smallest.",
            lambda sentences: (
                torch.tensor([s[: min(map(len, sentences))] for s in sentences]),
                _lengths(sentences),
            ),
        ),
        Mistake(
            "lengths-after-padding",
            "All sentences have the same length: it was taken after the padding, when every row "
            "is as wide as the rectangle.",
            "Take the lengths from the lists, before anything is filled up.",
            lambda sentences: (
                _filled(sentences),
                torch.full((len(sentences),), max(map(len, sentences))),
            ),
        ),
        Mistake(
            "last-place-for-length",
            "Each length is too small by one: these are the places of the last words, counted from "
            "0.",
            "A length counts words; leave the −1 to the one who looks up the last of them.",
            lambda sentences: (_filled(sentences), _lengths(sentences) - 1),
        ),
        Mistake(
            "mask-for-lengths",
            "The second result is a mask. It can be made from the lengths; asked for are the "
            "lengths, one number for each sentence.",
            "Add the mask up along each row, or take `len` of each list.",
            lambda sentences: (_filled(sentences), _filled(sentences) != 0),
        ),
        Mistake(
            "lengths-missing",
            "The rectangle alone came back. Without the lengths the encoder cannot know where a "
            "sentence ends.",
            "Return both: `return padded, lengths`.",
            lambda sentences: _filled(sentences),
        ),
        Mistake(
            "marks-not-counted",
            "The lengths count words only. `<sos>` and `<eos>` are read by the network like words: "
            "the final state is the one after `<eos>`.",
            "Everything in the list counts; only what you filled up does not.",
            lambda sentences: (_filled(sentences), (_filled(sentences) > 3).sum(dim=1)),
        ),
        Mistake(
            "filled-with-eos",
            "The rows were filled up with 3, which is `<eos>`. A sentence has one end; `<pad>` is 0.",
            "Fill with 0.",
            lambda sentences: (_filled(sentences, 3), _lengths(sentences)),
        ),
        Mistake(
            "filled-with-unknown",
            "The rows were filled up with 1, which is `<unk>`: a word that the vocabulary lacks, and "
            "no padding.",
            "`<pad>` is 0.",
            lambda sentences: (_filled(sentences, 1), _lengths(sentences)),
        ),
        Mistake(
            "filled-with-minus-one",
            "The rows were filled up with −1. An embedding has no row −1: padding needs a number of "
            "the vocabulary, and that is 0.",
            "Fill with 0.",
            lambda sentences: (_filled(sentences, -1), _lengths(sentences)),
        ),
        Mistake(
            "last-word-repeated",
            "The rows were filled up with the last word again and again. Whoever counts the tokens "
            "later cannot tell it from a word.",
            "`<pad>`, which is 0, is the one number that is no token.",
            lambda sentences: (
                torch.tensor(
                    [s + s[-1:] * (max(map(len, sentences)) - len(s)) for s in sentences]
                ),
                _lengths(sentences),
            ),
        ),
        Mistake(
            "decimal-ids",
            "These are decimal numbers. `torch.zeros` makes 32-bit decimal numbers unless told "
            "otherwise, and an embedding cannot look up row 5.0.",
            "`torch.zeros(…, dtype=torch.int64)`, or `torch.full((rows, columns), 0)`.",
            lambda sentences: (_filled(sentences).float(), _lengths(sentences)),
        ),
        Mistake(
            "time-first",
            "Sentences stand in columns: (longest, batch). Many functions of PyTorch do that unless "
            "told otherwise; this book has the batch first.",
            "`pad_sequence(…, batch_first=True)`, or transpose at the end.",
            lambda sentences: (_filled(sentences).T, _lengths(sentences)),
        ),
        Mistake(
            "sorted-by-length",
            "The sentences come out by length, the longest first. What belongs together, source and "
            "target, is then no longer in the same row.",
            "Leave them in the order of the list. Packing sorts and unsorts by itself "
            "(`enforce_sorted=False`).",
            lambda sentences: pad_batch(sorted(sentences, key=len, reverse=True)),
        ),
        Mistake(
            "end-mark-added",
            "A 3 was put behind each sentence. Marks are the caller's business; a list that ends "
            "with `<eos>` already would have two.",
            "Pad the lists as they are.",
            lambda sentences: pad_batch([[*s, 3] for s in sentences]),
        ),
        Mistake(
            "a-column-too-many",
            "There is a column that nobody needs: padding only.",
            "The width is the largest length, without + 1.",
            lambda sentences: (
                _filled(sentences, width=1 + max(map(len, sentences))),
                _lengths(sentences),
            ),
        ),
        Mistake(
            "wrapped-around",
            "The sentences flow on from row to row, as in a paragraph, and all padding is at the "
            "very end.",
            "Fill up each sentence by itself before the rows are joined.",
            _wrapped,
        ),
        Mistake(
            "width-fixed",
            "All batches have the same width, whatever is in them. Every column of padding costs as "
            "much as a column of words.",
            "The width is the longest sentence of this batch.",
            sign=_same_width,
        ),
    ),
)  # fmt: skip


# --- shift_targets ----------------------------------------------------------------------------


def shift_targets(sentences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """What the decoder reads in training, and what it must write: the target twice, shifted by one.

    sentences: the words' ids, without marks, none empty. `<pad>` is 0, `<sos>` 2, `<eos>` 3.
    Gives target_in: `<sos>`, words, padding, and target_out: words, `<eos>`, padding, both
    (batch, longest + 1).
    """
    # BEGIN SOLUTION
    #: target_in = ...  # for each sentence the list that the decoder reads
    #: target_out = ...  # for each sentence the list that it must write
    target_in = [[2, *words] for words in sentences]
    target_out = [[*words, 3] for words in sentences]
    # END SOLUTION
    width = max(len(words) for words in target_out)
    padded_in = [words + [0] * (width - len(words)) for words in target_in]
    padded_out = [words + [0] * (width - len(words)) for words in target_out]
    return torch.tensor(padded_in), torch.tensor(padded_out)


def _shift_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the decoder reads `<sos>` and the words, and must write the words and `<eos>`",
        {"sentences": _sentences(draw, 3, 3)},
        hint="Lay the rows of the first sentence one over the other: in each column the upper has "
        "the word before the lower.",
    )
    yield Case(
        "each sentence ends after its own last word",
        {"sentences": _sentences(draw, 2, 4, 3)},
        hint="Find `<eos>`, the 3, in the row of a short sentence: right after its last word, then "
        "padding.",
    )
    yield Case(
        "the first sentence may be the longest",
        {"sentences": _sentences(draw, 5, 1, 2)},
    )
    unknown = _sentences(draw, 2, 1)
    yield Case(
        "unknown words are words",
        {"sentences": [[1, *unknown[0]], [*unknown[1], 1]]},
    )
    yield Case(
        "a batch of one sentence is still a batch",
        {"sentences": _sentences(draw, 4)},
    )
    yield Case(
        "a sentence of one word has two steps",
        {"sentences": _sentences(draw, 1)},
    )


def _both(one: Callable[[list[int]], list[int]], other: Callable[[list[int]], list[int]]) -> Any:
    """Makes both rectangles, each as wide as it needs, from what is done with one sentence."""

    def shifted(sentences: Ids) -> tuple[Tensor, Tensor]:
        return _filled([one(s) for s in sentences]), _filled([other(s) for s in sentences])

    return shifted


def _in_the_stub(
    one: Callable[[list[int]], list[int]], other: Callable[[list[int]], list[int]]
) -> Any:
    """The same in the two lines of the stub, below which both get the width of what is written."""

    def shifted(sentences: Ids) -> tuple[Tensor, Tensor]:
        width = max(len(other(s)) for s in sentences)
        return _filled([one(s) for s in sentences], width=width), _filled(
            list(map(other, sentences))
        )

    return shifted


def _with_start(words: list[int]) -> list[int]:
    return [2, *words]


def _with_end(words: list[int]) -> list[int]:
    return [*words, 3]


def _from_rectangle(sentences: Ids) -> tuple[Tensor, Tensor]:
    whole = _filled([[2, *s, 3] for s in sentences])
    return whole[:, :-1], whole[:, 1:]


def _rolled(sentences: Ids) -> tuple[Tensor, Tensor]:
    out = _filled([_with_end(s) for s in sentences])
    return out.roll(1, dims=1), out


def _marks_around_padding(sentences: Ids) -> tuple[Tensor, Tensor]:
    words = _filled(sentences)
    column = words.new_ones(len(words), 1)
    return torch.cat([2 * column, words], dim=1), torch.cat([words, 3 * column], dim=1)


def _shift_at_the_left(sentences: Ids) -> tuple[Tensor, Tensor]:
    width = 1 + max(map(len, sentences))
    rows = [(_with_start(s), _with_end(s), [0] * (width - 1 - len(s))) for s in sentences]
    return torch.tensor([p + i for i, _, p in rows]), torch.tensor([p + o for _, o, p in rows])


_START_WRITTEN = (
    "The decoder has to write `<sos>`. That is what it is given to begin with; nobody ever has to "
    "predict it.",
    "`target_out` begins with the first word.",
)
_NO_START = (
    "Nothing stands before the first word: the decoder reads it at the step at which it must write "
    "it.",
    "`target_in` begins with `<sos>`, the 2.",
)

SHIFT_TARGETS = Exercise(
    solution=shift_targets,
    title="The target twice, shifted by one",
    difficulty=1,
    minutes=8,
    points=2,
    goal="In training the decoder reads the right words, whatever it would have written itself. "
    "At each step it may see the words before the one that it must predict, and never that word: "
    "write the two lines that put the marks in their places. An error here is the most expensive "
    "one of the chapter.",
    shapes="`sentences`: a list of lists of ids, without marks → `target_in` and `target_out`, both "
    "(batch, longest + 1).",
    example="The sentence $(5, 9)$ beside one of three words: the decoder reads $(2, 5, 9, 0)$ and "
    "must write $(5, 9, 3, 0)$. Column by column: after `<sos>` comes 5, after 5 comes 9, after 9 "
    "comes `<eos>`.",
    section="encoder-decoder-batches",
    explanation="`<sos>` in front of one copy and `<eos>` behind the other shift them against each "
    "other by themselves, and both remain equally long. It has to be done before the padding: "
    "afterwards the end of a short sentence is no longer the end of its row.",
    start="The decoder has to read something before the first word, and has to write something "
    "after the last. Which mark is which, and which of the two copies gets it?",
    more="For each sentence `[2, *words]` is what it reads and `[*words, 3]` what it must write.",
    cases=_shift_cases,
    mistakes=(
        Mistake(
            "not-shifted",
            "Both copies are the same: at each step the decoder reads the very word that it must "
            "write. The loss would fall to nearly zero, and the model could not translate.",
            "`target_in` begins with `<sos>`, so that everything stands one place later.",
            _both(_with_end, _with_end),
        ),
        Mistake(
            "both-marks-in-both",
            "Both copies have both marks and are the same: at each step the decoder reads the very "
            "word that it must write.",
            "`target_in` gets `<sos>` and no `<eos>`, `target_out` gets `<eos>` and no `<sos>`.",
            _both(lambda s: [2, *s, 3], lambda s: [2, *s, 3]),
        ),
        Mistake(
            "end-mark-read",
            "The decoder reads `<eos>`. After it there is nothing left to write, so that "
            "`target_in` has a column more than `target_out`.",
            "`target_in` ends with the last word.",
            _both(lambda s: [2, *s, 3], _with_end),
        ),
        Mistake(
            "cut-from-the-rectangle",
            "Only the longest sentence lost its `<eos>` in `target_in`: the last column of the "
            "padded rectangle was cut off, and in shorter rows that was padding. A loss that leaves "
            "padding out forgives it; the length counted from such a row is too large by one.",
            "Put the marks around each sentence before the padding.",
            _from_rectangle,
        ),
        Mistake(
            "start-mark-written",
            *_START_WRITTEN,
            _both(_with_start, lambda s: [2, *s, 3]),
        ),
        Mistake(
            "start-mark-written-in-equal-widths",
            *_START_WRITTEN,
            _in_the_stub(_with_start, lambda s: [2, *s, 3]),
        ),
        Mistake(
            "no-start-mark",
            *_NO_START,
            _both(lambda s: list(s), _with_end),
        ),
        Mistake(
            "no-start-mark-in-equal-widths",
            *_NO_START,
            _in_the_stub(lambda s: list(s), _with_end),
        ),
        Mistake(
            "no-end-mark",
            "`<eos>` is missing in `target_out`. A model that was never asked to stop will not.",
            "Behind the last word of `target_out` comes the 3.",
            _both(_with_start, lambda s: list(s)),
        ),
        Mistake(
            "no-marks",
            "The words were shifted by one, and the marks are missing: the first word is never "
            "predicted, and neither is the end.",
            "`<sos>` in front of `target_in` and `<eos>` behind `target_out` make the shift.",
            lambda sentences: (_filled(sentences)[:, :-1], _filled(sentences)[:, 1:]),
        ),
        Mistake(
            "marks-exchanged",
            "`<sos>` and `<eos>` have each other's number: 2 begins a sentence, 3 ends it.",
            "`[2, *words]` and `[*words, 3]`.",
            _both(lambda s: [3, *s], lambda s: [*s, 2]),
        ),
        Mistake(
            "another-vocabularys-marks",
            "Here 1 begins a sentence and 2 ends it. Other vocabularies do that; in this one 1 is "
            "`<unk>`, 2 `<sos>` and 3 `<eos>`.",
            "2 for `<sos>` and 3 for `<eos>`.",
            _both(lambda s: [1, *s], lambda s: [*s, 2]),
        ),
        Mistake(
            "marks-over-words",
            "The marks were written over words: the last word is never read and the first never "
            "written, or the other way round.",
            "A mark is added; the rows grow by one.",
            _both(lambda s: [2, *s[1:]], lambda s: [*s[:-1], 3]),
        ),
        Mistake(
            "shifted-by-two",
            "The decoder must write the word after the next: the first word is missing from "
            "`target_out`. `<sos>` in front has shifted the copies already.",
            "Nothing has to be cut off in `target_out`.",
            _both(_with_start, lambda s: [*s[1:], 3]),
        ),
        Mistake(
            "rolled",
            "`roll` brings the end around to the beginning: short sentences begin with `<pad>`, the "
            "longest with `<eos>`.",
            "Put `<sos>` in front of each sentence instead.",
            _rolled,
        ),
        Mistake(
            "end-mark-behind-the-padding",
            "In short sentences `<eos>` stands behind the padding: the model would learn to stop "
            "where the longest sentence of the batch stops.",
            "Put the mark behind the words first, and pad afterwards.",
            _marks_around_padding,
        ),
        Mistake(
            "padded-at-the-left",
            "The padding stands before the words. In this book a row begins with its sentence.",
            "Fill up at the right.",
            _shift_at_the_left,
        ),
        Mistake(
            "filled-with-eos",
            "The rows of `target_out` were filled up with `<eos>`. One is the sentence's end; what "
            "comes behind it is padding, which the loss leaves out.",
            "Fill up with 0.",
            lambda sentences: (
                _filled([_with_start(s) for s in sentences]),
                _filled([_with_end(s) for s in sentences], 3),
            ),
        ),
        Mistake(
            "time-first",
            "Sentences stand in columns: (longest, batch). This book has the batch first.",
            "`pad_sequence(…, batch_first=True)`, or transpose at the end.",
            lambda sentences: tuple(part.T for part in shift_targets(sentences)),
        ),
    ),
)  # fmt: skip


# --- sequence_loss ----------------------------------------------------------------------------


def sequence_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean of −log p of the right tokens, in nats, over all tokens that are not padding.

    logits: (batch, target, vocabulary), before the softmax; targets: (batch, target), ids, where
    0 is `<pad>` and at least one is not. Gives one number, as a tensor without axes.
    """
    # BEGIN SOLUTION
    log_probs = torch.log_softmax(logits, dim=-1)
    nats = -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return nats[targets != 0].mean()
    # END SOLUTION


def _loss_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the mean of −log p of the right tokens",
        {"logits": draw.normal(2, 3, 5), "targets": draw.integers(1, 5, 2, 3)},
        hint="Take the softmax of each row of logits, the probability of its target, its negative "
        "logarithm, and the mean.",
    )
    yield Case(
        "padding does not count",
        {
            "logits": draw.normal(2, 4, 5),
            "targets": torch.tensor([[draw.integer(4, 5), 3, 0, 0], [1, 4, 4, 3]]),
        },
        hint="How many tokens are to be predicted here? Neither more nor fewer may enter the sum "
        "and the divisor.",
    )
    yield Case(
        "every token counts alike, in a short sentence as in a long one",
        {
            "logits": draw.normal(3, 4, 6, std=2.0),
            "targets": torch.tensor([[3, 0, 0, 0], [5, 4, 3, 0], [4, 5, 5, 3]]),
        },
    )
    yield Case(
        "batch, target and vocabulary may be equally large",
        {
            "logits": draw.normal(4, 4, 4),
            "targets": torch.tensor([[1, 2, 3, 0], [2, 2, 1, 3], [3, 0, 0, 0], [1, 3, 0, 0]]),
        },
    )
    sure = draw.normal(1, 2, 4)
    sure[0, 0, 2] += 150
    sure[0, 1, 1] += 200
    yield Case(
        "a hardly possible token costs much, and not infinitely much",
        {"logits": sure, "targets": torch.tensor([[1, 3]])},
        hint="The probability of this token is smaller than any 32-bit number above 0, but its "
        "logarithm is an ordinary number: `log_softmax` finds it without the probability.",
    )
    yield Case(
        "large logits do not overflow",
        {"logits": sure + draw.normal(1, 2, 4), "targets": torch.tensor([[2, 1]])},
        hint="exp(200) is too large for a 32-bit number. Subtract each row's largest logit first, "
        "or let `log_softmax` do it.",
    )
    yield Case(
        "a single token in a batch of one",
        {"logits": draw.normal(1, 1, 5), "targets": draw.integers(1, 5, 1, 1)},
    )
    yield Case(
        "the dtype of the logits is kept, and gradients flow back",
        {
            "logits": draw.normal(2, 3, 5, dtype=torch.float64),
            "targets": torch.tensor([[draw.integer(1, 5), 4, 3], [draw.integer(1, 5), 3, 0]]),
        },
        gradients=("logits",),
    )


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """−log p of every target, padding included, (batch, target)."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def _kept(logits: Tensor, targets: Tensor) -> Tensor:
    """The same with 0 at padding."""
    return _nats(logits, targets) * (targets != 0)


def _picked(values: Tensor, targets: Tensor) -> Tensor:
    """The mean over all tokens of what stands at the target's place."""
    return values.gather(-1, targets.unsqueeze(-1)).squeeze(-1)[targets != 0].mean()


SEQUENCE_LOSS = Exercise(
    solution=sequence_loss,
    title="The loss of a batch, without its padding",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Training makes the right words probable. Measure how far it has come: the mean of "
    "$-\\log p(y_t)$ over all real tokens of a batch, `<eos>` counted, padding not.",
    shapes="`logits` (batch, target, vocabulary), `targets` (batch, target) with 0 for padding → "
    "one number, shape ().",
    example="Two sentences whose tokens have the probabilities $(0.5, 0.25)$ and $(0.125)$, "
    "the second followed by padding: $(0.693 + 1.386 + 2.079) / 3 = 1.386$ nats a token. The mean "
    "of the sentences' means would be 1.560, and divided by four cells it would be 1.040.",
    section="encoder-decoder-objective",
    explanation="`log_softmax` subtracts the logarithm of a sum, with the largest logit taken out "
    "first, and so neither overflows nor takes the logarithm of 0. `gather` picks each row's "
    "target. The mean is over tokens, not over sentences, so that within a batch "
    "every token counts alike, in a short sentence as in a long one. "
    "`F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)` says the same.",
    start="First without padding: from logits to log-probabilities, and of each row the one at the "
    "target's place. Then ask which of these numbers belong to a word.",
    more="`torch.log_softmax(logits, dim=-1).gather(-1, targets.unsqueeze(-1))` has the logarithms. "
    "Keep those where `targets != 0`, turn the sign, take the mean.",
    cases=_loss_cases,
    mistakes=(
        Mistake(
            "padding-counted",
            "Padding was counted like a word: the model is asked to predict `<pad>`, and praised "
            "for it when it can.",
            "Leave the places out where the target is 0, from the sum and from the divisor "
            "(`ignore_index=0`; it is not the default).",
            lambda logits, targets: _nats(logits, targets).mean(),
        ),
        Mistake(
            "divided-by-all-cells",
            "The sum leaves padding out, but the divisor does not: a batch with much padding has a "
            "small loss for no reason.",
            "Divide by the number of real tokens, `(targets != 0).sum()`.",
            lambda logits, targets: _kept(logits, targets).mean(),
        ),
        Mistake(
            "sum-not-mean",
            "This is the sum over all tokens. It grows with the batch.",
            "Divide by the number of real tokens.",
            lambda logits, targets: _kept(logits, targets).sum(),
        ),
        Mistake(
            "mean-of-sentences",
            "You took the mean of each sentence, and the mean of these: a word in a short sentence "
            "counts more than one in a long sentence.",
            "One sum over all real tokens of the batch, divided once.",
            lambda logits, targets: (
                _kept(logits, targets).sum(dim=1) / (targets != 0).sum(dim=1)
            ).mean(),
        ),
        Mistake(
            "per-sentence",
            "The sum was divided by the number of sentences. That is −log p of a sentence; asked "
            "for is a token's.",
            "Divide by the number of real tokens instead of `len(targets)`.",
            lambda logits, targets: _kept(logits, targets).sum() / len(targets),
        ),
        Mistake(
            "in-bits",
            "These are bits, logarithms to the base 2. The book counts in nats.",
            "Use the natural logarithm: `log`, not `log2`.",
            lambda logits, targets: sequence_loss(logits, targets) / math.log(2),
        ),
        Mistake(
            "perplexity",
            "This is the perplexity, e to the power of the loss.",
            "Leave out the last `exp`.",
            lambda logits, targets: sequence_loss(logits, targets).exp(),
        ),
        Mistake(
            "sign-missing",
            "Your loss is negative: it is the mean log-probability, which training would make as "
            "small as it can.",
            "Turn the sign around.",
            lambda logits, targets: -sequence_loss(logits, targets),
        ),
        Mistake(
            "logits-for-log-probs",
            "The logits were taken for log-probabilities. `nll_loss` does not normalize; a model "
            "could make all its logits large and have a small loss.",
            "`log_softmax` first, or `cross_entropy`, which contains it.",
            lambda logits, targets: -_picked(logits, targets),
        ),
        Mistake(
            "no-logarithm",
            "These are probabilities, not their logarithms: the mean of −p, which lies between −1 "
            "and 0.",
            "`log_softmax`, not `softmax`.",
            lambda logits, targets: -_picked(torch.softmax(logits, dim=-1), targets),
        ),
        Mistake(
            "softmax-twice",
            "`cross_entropy` contains a softmax, and it was given probabilities: a second softmax "
            "makes them nearly even, and the loss can never come near 0.",
            "Give it the logits.",
            lambda logits, targets: sequence_loss(torch.softmax(logits, dim=-1), targets),
        ),
        Mistake(
            "logarithm-of-zero",
            "A very small probability has become 0 before its logarithm was taken, and the loss is "
            "infinite.",
            "`torch.log_softmax(logits, dim=-1)` instead of `softmax` and then `log`.",
            lambda logits, targets: -_picked(torch.softmax(logits, dim=-1).log(), targets),
        ),
        Mistake(
            "overflow",
            "exp overflows at logits around 89.",
            "`torch.logsumexp` or `log_softmax` take the largest logit out first.",
            lambda logits, targets: _picked(
                logits.exp().sum(dim=-1, keepdim=True).log() - logits, targets
            ),
        ),
        Mistake(
            "softmax-over-target",
            "The probabilities sum to 1 over the steps of the sentence, not over the words that "
            "might stand at one step.",
            "The vocabulary is the last axis: `dim=-1`.",
            lambda logits, targets: -_picked(torch.log_softmax(logits, dim=1), targets),
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the batch: what a sentence costs depends on its neighbours.",
            "The vocabulary is the last axis: `dim=-1`; `dim=0` is the batch.",
            lambda logits, targets: -_picked(torch.log_softmax(logits, dim=0), targets),
        ),
        Mistake(
            "reshape-for-transpose",
            "`cross_entropy` wants (batch, vocabulary, target), and the logits were reshaped to it. "
            "`view` and `reshape` keep all numbers in their order and only move the line breaks.",
            "`logits.transpose(1, 2)`, or flatten batch and target together.",
            lambda logits, targets: F.cross_entropy(
                logits.reshape(len(logits), logits.shape[2], logits.shape[1]),
                targets,
                ignore_index=0,
            ),
        ),
        Mistake(
            "shifted-again",
            "Each row of logits was held against the token one place further on. `targets` is what "
            "must be written at each step: it is shifted already.",
            "Compare `logits[:, t]` with `targets[:, t]`.",
            lambda logits, targets: sequence_loss(logits[:, :-1], targets[:, 1:]),
        ),
        Mistake(
            "end-mark-left-out",
            "`<eos>` was left out together with the padding. Stopping is a word, and has to be "
            "learned.",
            "Only where the target is 0 there is nothing to predict.",
            lambda logits, targets: _nats(logits, targets)[(targets != 0) & (targets != 3)].mean(),
        ),
        Mistake(
            "logits-zeroed",
            "The logits of padding were set to 0, and padding still counts: even logits cost log V, "
            "not nothing.",
            "Mask the costs of the tokens, not the logits, and divide by the real ones.",
            lambda logits, targets: _nats(logits * (targets != 0).unsqueeze(-1), targets).mean(),
        ),
        Mistake(
            "best-for-right",
            "The probability of the best word was taken, whatever the right one is. The loss asks "
            "for the probability of the target.",
            "`gather` at `targets` instead of `max`.",
            lambda logits, targets: -_picked(
                torch.log_softmax(logits, dim=-1).amax(dim=-1, keepdim=True).expand_as(logits),
                targets,
            ),
        ),
        Mistake(
            "not-averaged",
            "This is a number for each token. Training needs one number for the batch.",
            "Take the mean over the real tokens.",
            _kept,
        ),
    ),
)  # fmt: skip


# --- decoders made of tables, for both searches ------------------------------------------------

#: ``step(state, token)`` gives the log-probabilities of all words and the new state.
Step = Callable[[Any, int], tuple[Tensor, Any]]
Found = tuple[list[int], float]


def _hundredths(draw: Draw, rows: int, count: int) -> np.ndarray:
    """In each row different probabilities with two decimals that sum to 1, the smallest first."""
    while True:
        parts = np.sort(np.floor(100 * draw.numbers.dirichlet(np.ones(count), 20 * rows)), axis=1)
        parts[:, -1] += 100 - parts.sum(axis=1)
        parts = parts[(np.diff(parts) > 0).all(axis=1) & (parts[:, 0] > 2)]
        if len(parts) >= rows:
            return parts[:rows] / 100


def _tables(draw: Draw, states: int, words: int, end: str = "") -> dict[str, Any]:
    """A decoder made of tables: where a word leads, and what is expected there.

    It has the four marks and so many words; of the marks only ``<eos>`` is ever written. ``end``
    makes it the most ("likely") or the least probable ("unlikely") of each row.
    """
    parts = _hundredths(draw, states, words + 1)
    if end == "likely":
        parts = parts[:, ::-1]
    first = 1 if end else 0
    parts = np.hstack([parts[:, :first], draw.numbers.permuted(parts[:, first:], axis=1)])
    parts = np.hstack([np.zeros((states, 3)), parts])
    return {
        "moves": draw.integers(0, states, states, 4 + words),
        "probabilities": torch.tensor(parts, dtype=torch.float32),
    }


def _alike(one: Any, other: Any) -> bool:
    """Whether two searches found the same."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return list(one[0]) == list(other[0]) and abs(one[1] - other[1]) < 1e-3
    return type(one) is type(other) and bool(one == other)


def _tried(function: Any, inputs: dict[str, Any]) -> Any:
    """What a search finds; the name of its error if it fails."""
    try:
        return search(function, inputs)
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        return type(error).__name__


MOST_DRAWN = 100_000


def _telling(
    make: Callable[[], dict[str, Any]],
    right: Any,
    wrong: tuple[Any, ...],
    fits: Callable[[Found], bool],
    same: tuple[Any, ...] = (),
    clear: Any = None,
) -> dict[str, Any]:
    """Inputs drawn again and again, until they tell the right search from wrong ones.

    Wrong ones find something else each; others that are right find the same; and ``clear``, a
    search that looks for ties, finds none.
    """
    for _ in range(MOST_DRAWN):
        inputs = make()
        found = [search(right, inputs)]
        if not fits(found[0]):
            continue
        for one in wrong:
            other = _tried(one, inputs)
            if any(_alike(known, other) for known in found):
                break
            found.append(other)
        else:
            if all(_alike(found[0], _tried(one, inputs)) for one in same) and (
                clear is None or search(clear, inputs)
            ):
                return inputs
    raise RuntimeError(f"none of {MOST_DRAWN} inputs tells the right search from the wrong ones")


def _endless(cases: Any, wanted: Any, got: Any) -> bool:
    return any("the search has no end" in outcome.error for outcome in got)


# --- greedy_search ----------------------------------------------------------------------------


def greedy_search(
    step: Callable, state: object, reference: list[int], longest: int
) -> tuple[list[int], float]:
    """The most probable word at each step, fed back, until `<eos>` or the longest length.

    step(state, token) reads a token and gives the log-probabilities of all words (vocabulary,)
    and the new state; state: the one before `<sos>`, which is 2, has been read. `<eos>` is 3.
    reference: what a human wrote, without marks, for whoever compares afterwards.
    Gives the words, `<eos>` included if it was reached, at most `longest`, and the sum of their
    log-probabilities.
    """
    # BEGIN SOLUTION
    #: words, total = [], 0.0
    #: for previous in [2, *reference]:
    #:     log_probs, state = step(state, previous)
    #:     word = int(log_probs.argmax())
    #:     words.append(word)
    #:     total += float(log_probs[word])
    #: return words, total
    words: list[int] = []
    total, word = 0.0, 2
    while word != 3 and len(words) < longest:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total
    # END SOLUTION


def _greedy(
    *,
    fed: Callable[[list[int], list[int]], int] = lambda words, reference: (words or [2])[-1],
    steps: Callable[[list[int], int], int] = lambda reference, longest: longest,
    stops: bool = True,
    carried: bool = True,
    twice: bool = False,
    gives: Callable[[list[int], list[float]], Any] = lambda words, logs: (words, sum(logs)),
) -> Any:
    """A greedy search with something wrong in it."""

    def searched(step: Step, state: Any, reference: list[int], longest: int) -> Any:
        words: list[int] = []
        logs: list[float] = []
        for _ in range(steps(reference, longest)):
            log_probs, after = step(state, fed(words, reference))
            state = after if carried else state
            words.append(int(log_probs.argmax()))
            logs.append(float(log_probs.max()))
            if stops and words[-1] == 3:
                break
            if twice:
                _, state = step(state, words[-1])
        return gives(words, logs)

    return searched


def _fed_reference(words: list[int], reference: list[int]) -> int:
    return [2, *reference][len(words)]


def _reference_steps(reference: list[int], longest: int) -> int:
    return len(reference) + 1


def _without_end(words: list[int]) -> list[int]:
    return words[:-1] if words[-1:] == [3] else words


def _filled_up(step: Step, state: Any, reference: list[int], longest: int) -> Found:
    words, total = greedy_search(step, state, reference, longest)
    return words + [0] * (longest - len(words)), total


_FORCED = _greedy(fed=_fed_reference, steps=_reference_steps, stops=False)
_FORCED_STOPPING = _greedy(
    fed=_fed_reference, steps=lambda reference, longest: min(len(reference) + 1, longest)
)
_ALWAYS_START = _greedy(fed=lambda words, reference: 2)
_START_STATE = _greedy(carried=False)
_FROM_PADDING = _greedy(fed=lambda words, reference: (words or [0])[-1])
_FROM_END = _greedy(fed=lambda words, reference: (words or [3])[-1])
_TWICE = _greedy(twice=True)
_GREEDY_ALL = (
    _FORCED, _FORCED_STOPPING, _ALWAYS_START, _START_STATE, _FROM_PADDING, _FROM_END, _TWICE,
)  # fmt: skip


def _greedy_cases(draw: Draw) -> Iterator[Case]:
    def drawn(
        states: int,
        words: int,
        length: int,
        longest: int,
        reference: int,
        end: str = "",
        wrong: tuple[Any, ...] = (),
    ) -> dict[str, Any]:
        """A decoder that greedy search ends after so many words."""
        return _telling(
            lambda: {
                **_tables(draw, states, words, end),
                "reference": draw.integers(4, 4 + words, reference).tolist(),
                "longest": longest,
            },
            greedy_search,
            wrong,
            lambda found: len(found[0]) == length and (end == "unlikely" or found[0][-1] == 3),
        )

    yield Case(
        "each word is the most probable one after the words that were written",
        drawn(4, 2, 3, 6, 3, wrong=(_FORCED, _ALWAYS_START)),
        hint="Follow it on paper: state 0 reads `<sos>`, the 2, and `moves[0, 2]` is the new state; "
        "its row of `probabilities` has the first word, which is read next.",
    )
    yield Case(
        "it stops at `<eos>`, which counts",
        drawn(6, 4, 3, 7, 5, wrong=_GREEDY_ALL),
        hint="The 3 is the last word, and its log-probability is in the sum.",
    )
    yield Case(
        "the reference may be shorter than the translation",
        drawn(5, 3, 4, 8, 1),
    )
    yield Case(
        "without a reference it finds the same",
        drawn(4, 3, 3, 5, 0),
        hint="This reference is empty. Whoever translates something new has none.",
    )
    yield Case(
        "it ends at the longest length if `<eos>` does not come",
        drawn(4, 3, 4, 4, 6, "unlikely"),
    )
    yield Case(
        "`<eos>` may be the last word that has room",
        drawn(5, 2, 4, 4, 2),
    )
    yield Case(
        "an empty translation is `<eos>` alone",
        drawn(3, 2, 1, 5, 2, "likely"),
    )
    yield Case(
        "there may be room for one word only",
        drawn(3, 3, 1, 1, 2, "unlikely"),
    )


GREEDY_SEARCH = Exercise(
    solution=greedy_search,
    title="Greedy search with the answers open on the desk",
    difficulty=2,
    minutes=15,
    points=3,
    goal="The function below was written for an evaluation and has a bug: it needs the human "
    "translation to run. Find out what it does with it, and repair it: greedy search reads what "
    "it wrote itself, stops when it writes `<eos>`, and has a longest length.",
    shapes="`step(state, token)` → log-probabilities (vocabulary,), new state; `state` may be "
    "anything, hand it on; `reference` a list of ids; `longest` a number of words, `<eos>` counted "
    "→ (list of ids, sum of log-probabilities). In the checks `step` is made of two tables: "
    "`moves[state, token]` is the new state, and its row of `probabilities` has those of all "
    "words. A word of probability 0 has the logarithm $-\\infty$.",
    example="After `<sos>` the probabilities are 0.6 for 4 and 0.4 for `<eos>`; after 4 they are "
    "0.3 and 0.7. Greedy search writes 4 and then 3, and stops: $([4, 3], \\log 0.6 + \\log 0.7 = "
    "-0.868)$. The reference may be $(4, 4)$; it plays no part.",
    section="encoder-decoder-forcing",
    explanation="What is read next is the word that was just written: `word` is fed back. The loop "
    "ends by the model's own decision or by the limit, and not where the reference ends, whose "
    "length nobody knows when something new is translated. The probability of `<eos>` belongs to "
    "the sentence like that of any word. `reference` is not needed at all, which is the point.",
    start="Which words does the loop read? At each step the decoder is given the right word before "
    "it, whatever it wrote itself: that is teacher forcing. When something new is translated there "
    "is no reference.",
    more="Feed back `word` instead of the reference's words, beginning with `<sos>`, and go on "
    "`while word != 3 and len(words) < longest`.",
    cases=_greedy_cases,
    probe="search",
    mistakes=(
        Mistake(
            "teacher-forcing",
            "Which words does the loop read? At each step the decoder is given the right word before "
            "it, whatever it wrote itself: that is teacher forcing. When something new is translated "
            "there is no reference.",
            "Feed back `word` instead of the reference's words, beginning with `<sos>`, and go on "
            "`while word != 3 and len(words) < longest`.",
            _FORCED,
        ),
        Mistake(
            "still-teacher-forcing",
            "It stops at `<eos>` now, but the words it reads are still those of the reference: each "
            "is chosen after the right words before it.",
            "What is read next is `word`, the one just written.",
            _FORCED_STOPPING,
        ),
        Mistake(
            "as-long-as-the-reference",
            "It writes as many words as the reference has, and one more, whether or not it wrote "
            "`<eos>` long before.",
            "The model decides: stop when the word written is 3, or at `longest`.",
            _greedy(steps=_reference_steps, stops=False),
        ),
        Mistake(
            "cut-at-the-reference",
            "It stops at `<eos>`, but also where the reference ends. Its length is part of the "
            "answer.",
            "The limit is `longest`; leave the reference out altogether.",
            _greedy(steps=_reference_steps),
        ),
        Mistake(
            "start-mark-every-time",
            "At every step `<sos>` was read. The decoder does not know what it wrote.",
            "Read `<sos>` once, and then the word that was just written.",
            _ALWAYS_START,
        ),
        Mistake(
            "state-not-carried",
            "Every step began with the first state: all that was written before the last word is "
            "forgotten.",
            "Hand the state that `step` gave back to its next call: "
            "`log_probs, state = step(state, word)`.",
            _START_STATE,
        ),
        Mistake(
            "read-twice",
            "Each word was read twice: `step` was called more often than words were written, and "
            "every call moves the state on.",
            "One call for each word: it gives the probabilities and the new state together.",
            _TWICE,
        ),
        Mistake(
            "begins-with-padding",
            "The first token read was 0, which is `<pad>`.",
            "Begin with 2, `<sos>`.",
            _FROM_PADDING,
        ),
        Mistake(
            "begins-with-the-end",
            "The first token read was 3, which is `<eos>`.",
            "Begin with 2, `<sos>`.",
            _FROM_END,
        ),
        Mistake(
            "runs-past-the-end",
            "Words come after `<eos>`: the search went on until the longest length.",
            "Leave the loop when the word is 3.",
            _greedy(stops=False),
        ),
        Mistake(
            "end-mark-dropped",
            "`<eos>` is missing at the end, though its log-probability is in the sum. It tells a "
            "finished translation from one that was cut off.",
            "Append the word before you ask whether it is the last.",
            _greedy(gives=lambda words, logs: (_without_end(words), sum(logs))),
        ),
        Mistake(
            "end-mark-not-counted",
            "`<eos>` was neither written nor counted. That a sentence stops here is one of the "
            "decisions whose probabilities multiply to its own.",
            "Append the word and add its log-probability first; then ask whether it is 3.",
            _greedy(
                gives=lambda words, logs: (
                    _without_end(words), sum(logs[: len(_without_end(words))])
                )
            ),
        ),
        Mistake(
            "one-word-too-many",
            "A translation that is cut off has one word more than `longest`.",
            "`<` instead of `<=`, or `range(longest)`.",
            _greedy(steps=lambda reference, longest: longest + 1),
        ),
        Mistake(
            "one-word-too-few",
            "A translation that is cut off has one word less than `longest`. `<sos>` is read, not "
            "written, and takes no place.",
            "`range(longest)`: a step for each word.",
            _greedy(steps=lambda reference, longest: longest - 1),
        ),
        Mistake(
            "no-limit",
            "There is an input for which your search never ends: its decoder never finds `<eos>` "
            "the most probable word.",
            "Count the words, and stop at `longest`.",
            sign=_endless,
        ),
        Mistake(
            "probabilities-multiplied",
            "The second result is a product of probabilities. For a sentence of a hundred words it "
            "vanishes in a computer's arithmetic.",
            "Add up log-probabilities, without `exp`.",
            _greedy(gives=lambda words, logs: (words, math.exp(sum(logs)))),
        ),
        Mistake(
            "probabilities-added",
            "Probabilities were added up. The probability of a sentence is their product; what may "
            "be added are logarithms.",
            "Leave out `exp`: `step` gives logarithms.",
            _greedy(gives=lambda words, logs: (words, sum(map(math.exp, logs)))),
        ),
        Mistake(
            "mean-for-sum",
            "The second result is the mean per word. Asked for is the sum.",
            "Do not divide by the length.",
            _greedy(gives=lambda words, logs: (words, sum(logs) / max(1, len(logs)))),
        ),
        Mistake(
            "last-word-only",
            "The second result is the log-probability of the last word alone.",
            "Add up: `total += …`.",
            _greedy(gives=lambda words, logs: (words, logs[-1] if logs else 0.0)),
        ),
        Mistake(
            "start-mark-written",
            "The translation begins with 2, `<sos>`. It is read and never written.",
            "Begin with an empty list of words, and keep the token to be read apart from it.",
            _greedy(gives=lambda words, logs: ([2, *words], sum(logs))),
        ),
        Mistake(
            "filled-up",
            "Padding comes after `<eos>`. One sentence alone has none.",
            "Return the words that were written and no more.",
            _filled_up,
        ),
        Mistake(
            "sum-missing",
            "The words alone came back.",
            "Return both: `return words, total`.",
            _greedy(gives=lambda words, logs: words),
        ),
    ),
)  # fmt: skip


# --- beam_search ------------------------------------------------------------------------------


def beam_search(
    step: Callable, state: object, beam_size: int, longest: int, length_penalty: float
) -> tuple[list[int], float]:
    """The best translation that a beam finds, and the sum of its log-probabilities.

    step(state, token) reads a token and gives the log-probabilities of all words (vocabulary,)
    and the new state; state: the one before `<sos>`, which is 2, has been read. `<eos>` is 3.
    At each step every beginning is continued with every word. Of all continuations together, those
    among the best `beam_size` that end with `<eos>` are set aside; the best `beam_size` of those
    that do not end are continued. It ends when at least `beam_size` are set aside, or at `longest` words.
    Of those set aside the best has the largest sum / length ** length_penalty, `<eos>` counted in
    the length; what is unfinished at the end counts only if nothing was set aside.
    """
    # BEGIN SOLUTION
    beginnings: list = [([], 0.0, state)]
    finished: list = []
    for _ in range(longest):
        continued = []
        for words, total, before in beginnings:
            log_probs, after = step(before, words[-1] if words else 2)
            for word, log_prob in enumerate(log_probs.tolist()):
                continued.append(([*words, word], total + log_prob, after))
        continued.sort(key=lambda one: one[1], reverse=True)
        finished += [one for one in continued[:beam_size] if one[0][-1] == 3]
        beginnings = [one for one in continued if one[0][-1] != 3][:beam_size]
        if len(finished) >= beam_size:
            break
    found = finished or beginnings
    words, total, _ = max(found, key=lambda one: one[1] / len(one[0]) ** length_penalty)
    return words, total
    # END SOLUTION


Part = tuple[list[int], float, Any]


def _score(total: float, words: list[int], penalty: float) -> float:
    return float(total / len(words) ** penalty)


def _beam_of(
    step: Step,
    state: Any,
    size: int,
    longest: int,
    penalty: float,
    *,
    fed: Callable[[list[int]], int] = lambda words: (words or [2])[-1],
    added: Callable[[float, float], float] = lambda total, log: total + log,
    state_of: str = "beginning",
    extra: int = 0,
    pruned: Callable[[list[Part], int], list[Part]] = lambda continued, size: continued,
    ends: Callable[[list[Part], int], list[Part]] = lambda continued, size: continued[:size],
    places: str = "refilled",
    until: str = "enough",
    score: Callable[[float, list[int], float], float] = _score,
    last: Callable[[list[Part], list[Part]], list[Part]] = lambda finished, cut: finished or cut,
    gives: Callable[[Part, float], Any] = lambda best, penalty: (best[0], best[1]),
) -> Any:
    """A beam search with something wrong in it, or done otherwise."""
    start = state
    beginnings: list[Part] = [([], 0.0, state)]
    finished: list[Part] = []
    for _ in range(longest + extra):
        continued: list[Part] = []
        for words, total, before in beginnings:
            log_probs, after = step(start if state_of == "start" else before, fed(words))
            own = [
                ([*words, word], added(total, log), after)
                for word, log in enumerate(log_probs.tolist())
                if log > -math.inf
            ]
            own.sort(key=lambda one: one[1], reverse=True)
            continued += pruned(own, size) if words else own
        afters = [one[2] for one in continued]
        continued.sort(key=lambda one: one[1], reverse=True)
        if places == "lost":
            continued = continued[: size - len(finished)]
        found = [one for one in ends(continued, size) if one[0][-1] == 3]
        finished += found
        open_ = [one for one in continued if one[0][-1] != 3]
        beginnings = open_ if places == "never" else open_[:size]
        if state_of == "place":
            # The state of place 0 stays at place 0, whoever sits there now.
            kept = list(dict.fromkeys(afters))
            beginnings = [
                (words, total, kept[min(place, len(kept) - 1)])
                for place, (words, total, _) in enumerate(beginnings)
            ]
        if not beginnings or (until == "first" and finished):
            break
        if until == "enough" and len(finished) >= size:
            break
    best = max(last(finished, beginnings), key=lambda one: score(one[1], one[0], penalty))
    return gives(best, penalty)


def _beam(**otherwise: Any) -> Any:
    """A beam search with something wrong in it, or done otherwise."""
    return partial(_beam_of, **otherwise)


def _running_on(whole: bool) -> Any:
    """Nothing is set aside: what has ended is continued like the rest."""

    def searched(step: Step, state: Any, size: int, longest: int, penalty: float) -> Found:
        beginnings: list[Part] = [([], 0.0, state)]
        for _ in range(longest):
            continued: list[Part] = []
            for words, total, before in beginnings:
                log_probs, after = step(before, (words or [2])[-1])
                continued += [
                    ([*words, word], total + log, after)
                    for word, log in enumerate(log_probs.tolist())
                ]
            beginnings = sorted(continued, key=lambda one: one[1], reverse=True)[:size]
        words, total, _ = max(beginnings, key=lambda one: _score(one[1], one[0], penalty))
        if not whole and 3 in words:
            words = words[: words.index(3) + 1]
        return words, total

    return searched


def _crowded_out(step: Step, state: Any, size: int, longest: int, penalty: float) -> Found:
    """What has ended keeps its place in the beam, until others have a larger sum."""
    beginnings: list[Part] = [([], 0.0, state)]
    for _ in range(longest):
        continued: list[Part] = []
        for words, total, before in beginnings:
            if words[-1:] == [3]:
                continued.append((words, total, before))
                continue
            log_probs, after = step(before, (words or [2])[-1])
            continued += [
                ([*words, word], total + log, after) for word, log in enumerate(log_probs.tolist())
            ]
        beginnings = sorted(continued, key=lambda one: one[1], reverse=True)[:size]
        if all(words[-1] == 3 for words, _, _ in beginnings):
            break
    finished = [one for one in beginnings if one[0][-1] == 3]
    words, total, _ = max(finished or beginnings, key=lambda one: _score(one[1], one[0], penalty))
    return words, total


def _only_one(step: Step, state: Any, size: int, longest: int, penalty: float) -> Any:
    return beam_search(step, state, 1, longest, penalty)


def _penalty_as_factor(total: float, words: list[int], penalty: float) -> float:
    return total / (len(words) * penalty)


def _probability_added(total: float, log: float) -> float:
    return total + math.exp(log)


_LOST_PLACES = _beam(places="lost")
# One place for what has ended: the later takes it from the earlier.
_OVERWRITTEN = _beam(last=lambda finished, cut: finished[-1:] or cut)
_NEVER_EARLY = _beam(until="never")
_RUNS_ON, _RUNS_ON_CUT = _running_on(True), _running_on(False)
_FIRST_END = _beam(until="first")
_BY_SUM = _beam(score=lambda total, words, penalty: total)
_BY_MEAN = _beam(score=lambda total, words, penalty: total / len(words))
_BY_FACTOR = _beam(score=_penalty_as_factor)
_WORDS_ONLY = _beam(score=lambda total, words, penalty: total / max(1, len(words) - 1) ** penalty)
_ONE_EACH = _beam(pruned=lambda own, size: own[:1])
_UNPRUNED = _beam(places="never", pruned=lambda own, size: own[:size])
_FORGETS_TOTALS = _beam(added=lambda total, log: log)
_ADDS_PROBABILITIES = _beam(added=_probability_added)
_STATES_STAY = _beam(state_of="place")
_STATES_FIRST = _beam(state_of="start")
_ALWAYS_START_BEAM = _beam(fed=lambda words: 2)
_UNFINISHED_TOO = _beam(last=lambda finished, cut: [*finished, *cut])
_EVERY_END = _beam(ends=lambda continued, size: continued)


def _look_at_sums(near: list[float], continued: list[Part], size: int) -> list[Part]:
    totals = [total for _, total, _ in continued[: 2 * size + 2]]
    near.extend(a - b for a, b in pairwise(totals))
    return continued[:size]


def _look_at_scores(
    near: list[float], penalty: float, finished: list[Part], cut: list[Part]
) -> list[Part]:
    for power in {penalty, 0.0, 1.0}:
        scores = sorted(_score(total, words, power) for words, total, _ in finished or cut)
        near.extend(b - a for a, b in pairwise(scores))
    return finished or cut


def _no_ties(step: Step, state: Any, size: int, longest: int, penalty: float) -> bool:
    """Whether no two sums that are compared lie so near that rounding could decide."""
    near: list[float] = []
    sums, scores = partial(_look_at_sums, near), partial(_look_at_scores, near, penalty)
    _beam_of(step, state, size, longest, penalty, ends=sums, last=scores)
    return min(near, default=1.0) > 5e-3


def _beam_cases(draw: Draw) -> Iterator[Case]:
    def drawn(
        wrong: tuple[Any, ...],
        *,
        states: int = 7,
        words: int = 4,
        beam_size: int = 2,
        longest: int = 6,
        penalty: float = 1.0,
        end: str = "",
        fits: Callable[[Found], bool] = lambda found: True,
        same: tuple[Any, ...] = (),
    ) -> dict[str, Any]:
        return _telling(
            lambda: {
                **_tables(draw, states, words, end),
                "beam_size": beam_size,
                "longest": longest,
                "length_penalty": penalty,
            },
            beam_search,
            wrong,
            fits,
            (*same, _LOST_PLACES, _NEVER_EARLY),
            _no_ties,
        )

    yield Case(
        "the better sentence may have the worse beginning",
        drawn(
            (_only_one, _FORGETS_TOTALS),
            states=4, words=3, longest=3,
            fits=lambda found: len(found[0]) == 3 and found[0][-1] == 3,
        ),
        hint="Follow it on paper with two beginnings. The one with the smaller sum after a step may "
        "lead to the better sentence.",
    )  # fmt: skip
    yield Case(
        "a beam of 1 is greedy search",
        drawn((), states=5, words=3, beam_size=1, longest=5, fits=lambda found: len(found[0]) > 2),
    )
    yield Case(
        "what has ended is set aside, and is not continued",
        drawn((_RUNS_ON, _OVERWRITTEN, _EVERY_END), fits=lambda found: found[0][-1] == 3),
        hint="A translation that ends with `<eos>` leaves the beam and waits, as it is. The others "
        "go on, and are compared with it in the end.",
    )
    yield Case(
        "what has ended is not crowded out by what goes on",
        drawn(
            (_crowded_out,),
            states=4, words=3, beam_size=3, longest=4,
            fits=lambda found: found[0][-1] == 3,
        ),
        hint="A finished translation may have a smaller sum than the beginnings that go on, and be "
        "the best in the end. It must not compete with them for a place.",
    )  # fmt: skip
    yield Case(
        "the search does not stop at the first `<eos>`",
        drawn((_FIRST_END,), beam_size=3, same=(_BY_SUM,)),
    )
    yield Case(
        "with `length_penalty` 1 means per word are compared",
        drawn((_BY_SUM, _WORDS_ONLY), beam_size=3),
        hint="Divide each sum by the number of its words, `<eos>` counted, before you compare.",
    )
    yield Case(
        "with `length_penalty` 0 sums are compared",
        drawn((_BY_MEAN,), beam_size=3, penalty=0.0),
        hint="Any length to the power of 0 is 1: nothing is divided.",
    )
    yield Case(
        "in between a power of the length divides",
        drawn((_BY_MEAN,), beam_size=3, penalty=0.5),
        hint="With `length_penalty` 0.5 the divisor is the root of the length.",
    )
    yield Case(
        "each beginning takes its own state along",
        drawn((_STATES_STAY, _STATES_FIRST, _ALWAYS_START_BEAM)),
        hint="When beginnings change places their states have to move with them.",
    )
    yield Case(
        "of all continuations together the best are kept",
        drawn((_ONE_EACH, _UNPRUNED), longest=5),
    )
    yield Case(
        "what was cut short counts only if nothing was finished",
        drawn((_UNFINISHED_TOO,), beam_size=3, longest=4, fits=lambda f: f[0][-1] == 3),
    )
    yield Case(
        "if nothing was finished, the best of what was cut short is found",
        drawn((), states=5, longest=4, end="unlikely", fits=lambda f: f[0][-1] != 3),
    )


def _nothing_found(cases: Any, wanted: Any, got: Any) -> bool:
    """Only where nothing was finished: an empty translation, or the best of an empty list."""
    cut = [outcome for want, outcome in zip(wanted, got, strict=True) if want.value[0][-1] != 3]

    def empty(outcome: Any) -> bool:
        value = outcome.value
        if outcome.error:
            return "empty" in outcome.error or "out of range" in outcome.error
        return value is None or (isinstance(value, (list, tuple)) and not (value and value[0]))

    return bool(cut) and all(map(empty, cut)) and sum(map(empty, got)) == len(cut)


BEAM_SEARCH = Exercise(
    solution=beam_search,
    title="A beam search that loses nothing it has finished",
    difficulty=3,
    minutes=40,
    points=5,
    goal="Greedy search never looks back. Keep the `beam_size` best beginnings instead, continue "
    "each with every word, and set aside what ends, so that in the end the best of several "
    "translations can be chosen. With a beam of 1 it is greedy search.",
    shapes="`step(state, token)` → log-probabilities (vocabulary,), new state, as in the exercise "
    "before; `beam_size` and `longest` are counts, `length_penalty` a number: 1 compares means per "
    "word, 0 sums → (list of ids, sum of log-probabilities), the sum undivided.",
    example="The tree of the page, with $\\log 1$ for `<eos>` after the second word. Two beginnings "
    "after one step: *a* 0.50, *the* 0.40. After two: *the man* 0.36, *a man* 0.20; *a dog*, 0.175, "
    "is lost. Both end, and the first has the larger mean: *the man* `<eos>`, "
    "$\\log 0.36 = -1.022$, a third of which is $-0.341$ per word.",
    section="encoder-decoder-search",
    explanation="A beginning is three things that must stay together: its words, its sum, its "
    "state. All continuations go into one list, so that a good beginning may have several heirs and "
    "a bad one none. What ends leaves that list for good: its sum can no longer fall, while those "
    "of the others do with every word, so that in the beam it would win places by being short, or "
    "be crowded out before the means are compared. Only the choice at the end divides by a length; "
    "within a step all beginnings are equally long.",
    start="Keep a list of beginnings, each with its words, its sum and its state; at first there is "
    "one, without words. At each step, make one list of all their continuations and sort it by "
    "the sum. Where do those go that end with `<eos>`?",
    more="Of the sorted continuations, append those among the first `beam_size` that end with 3 to "
    "a list of finished ones, and keep the first `beam_size` of those that do not end. Stop when at "
    "least `beam_size` are finished. Then `max` by `total / len(words) ** length_penalty`.",
    cases=_beam_cases,
    probe="search",
    mistakes=(
        Mistake(
            "only-one-beginning",
            "This is greedy search, whatever the size of the beam: only one beginning goes on, or "
            "all of them are the same.",
            "Begin with a single empty beginning, and keep the best `beam_size` of all its "
            "continuations. From copies of one beginning each would choose the same word.",
            _only_one,
        ),
        Mistake(
            "runs-past-the-end",
            "What ended was continued: words come after `<eos>`.",
            "Take continuations that end with 3 out of the beam and into a list of their own.",
            _RUNS_ON,
        ),
        Mistake(
            "finished-overwritten",
            "The words stop at `<eos>`, but the sum does not: what ended was continued and cut off "
            "afterwards, and so its sum was overwritten by a smaller one.",
            "When a continuation ends, set it aside with the sum that it has then.",
            _RUNS_ON_CUT,
        ),
        Mistake(
            "finished-crowded-out",
            "What ended stayed in the beam, and was lost when enough others had a larger sum. It "
            "could have been the best by the mean.",
            "A list of its own for what is finished; nothing in it competes for a place in the "
            "beam.",
            _crowded_out,
        ),
        Mistake(
            "last-finished-wins",
            "There is room for one finished translation only, and each later one takes it from the "
            "earlier, whether it is better or not.",
            "Append to a list, and choose when the search is over.",
            _OVERWRITTEN,
        ),
        Mistake(
            "first-finished-wins",
            "The search stopped at the first `<eos>`. Others, still on their way, may end better.",
            "Go on until `beam_size` translations are set aside.",
            _FIRST_END,
        ),
        Mistake(
            "every-end-set-aside",
            "Every beginning was also ended with `<eos>`, however improbable that was. Only an end "
            "that is among the best `beam_size` continuations is set aside.",
            "Look for ends in the first `beam_size` of the sorted continuations.",
            _EVERY_END,
        ),
        Mistake(
            "by-the-sum",
            "The best was chosen by its sum, whatever the penalty: that prefers short sentences.",
            "Compare `total / len(words) ** length_penalty`.",
            _BY_SUM,
        ),
        Mistake(
            "always-by-the-mean",
            "The sums were divided by the length, whatever the penalty.",
            "The divisor is the length *to the power of* `length_penalty`; with 0 that is 1.",
            _BY_MEAN,
        ),
        Mistake(
            "penalty-as-factor",
            "The penalty was multiplied with the length. That changes no comparison, and a penalty "
            "of 0 divides by zero.",
            "`**` instead of `*`.",
            _BY_FACTOR,
        ),
        Mistake(
            "end-not-in-length",
            "`<eos>` was left out of the length, though its log-probability is in the sum.",
            "Divide by the number of all words, `<eos>` counted.",
            _WORDS_ONLY,
        ),
        Mistake(
            "score-for-sum",
            "The second result is the sum after the division. Asked for is the sum itself; the "
            "division only decides which is best.",
            "Return the total of the one you chose.",
            _beam(gives=lambda best, penalty: (best[0], _score(best[1], best[0], penalty))),
        ),
        Mistake(
            "one-continuation-each",
            "Each beginning was continued with its own best word only: that is several greedy "
            "searches side by side. A good beginning may have several heirs, and a bad one none.",
            "Put all continuations of all beginnings into one list, and keep the best of that.",
            _ONE_EACH,
        ),
        Mistake(
            "never-pruned",
            "Each beginning keeps `beam_size` continuations, so that there are more and more "
            "beginnings: 2, 4, 8. That finds better sentences and takes forever.",
            "Of all continuations together only the best `beam_size` go on.",
            _UNPRUNED,
        ),
        Mistake(
            "sums-forgotten",
            "Continuations were compared by the log-probability of their last word alone.",
            "Add it to the sum of the beginning that it continues.",
            _FORGETS_TOTALS,
        ),
        Mistake(
            "probabilities-added",
            "Probabilities were added up. Logarithms are what may be added: a sum of probabilities "
            "grows with every word.",
            "Leave out `exp`: `step` gives logarithms.",
            _ADDS_PROBABILITIES,
        ),
        Mistake(
            "states-stay-behind",
            "The words of the beginnings changed places and their states did not: a sentence is "
            "continued with the state of another.",
            "Keep each state together with its words, as the state after the beginning that was "
            "continued.",
            _STATES_STAY,
        ),
        Mistake(
            "state-not-carried",
            "Every step began with the first state: all that was written before the last word is "
            "forgotten.",
            "Keep the state that `step` gave back with the beginning that it belongs to.",
            _STATES_FIRST,
        ),
        Mistake(
            "start-mark-every-time",
            "At every step `<sos>` was read. The decoder does not know what it wrote.",
            "Read the last word of the beginning; `<sos>` only where it has none.",
            _ALWAYS_START_BEAM,
        ),
        Mistake(
            "unfinished-counts",
            "A sentence that was cut off at the limit was compared with finished ones, and won. It "
            "has not paid for its end.",
            "Choose among the finished ones; among the others only if there are none.",
            _UNFINISHED_TOO,
        ),
        Mistake(
            "nothing-where-unfinished",
            "Where no translation was finished before the limit, nothing was found.",
            "`finished or beginnings`: then the best of what was cut off is the answer.",
            sign=_nothing_found,
        ),
        Mistake(
            "one-word-too-many",
            "The search went on for one word more than `longest`.",
            "`for _ in range(longest)`: a step for each word.",
            _beam(extra=1),
        ),
        Mistake(
            "one-word-too-few",
            "The search ended one word before `longest`. `<sos>` is read, not written, and takes no "
            "place.",
            "`for _ in range(longest)`: a step for each word.",
            _beam(extra=-1),
        ),
        Mistake(
            "no-limit",
            "Your search asked its decoder for 2000 steps on a small input. Either nothing stops it at "
            "`longest`, or nothing cuts the beginnings back to `beam_size`.",
            "`for _ in range(longest)`, and at each step only the best `beam_size` beginnings go on.",
            sign=_endless,
        ),
        Mistake(
            "end-mark-dropped",
            "`<eos>` is missing at the end. It tells a finished translation from one that was cut "
            "off.",
            "Return the words as they were set aside.",
            _beam(gives=lambda best, penalty: (_without_end(best[0]), best[1])),
        ),
        Mistake(
            "start-mark-written",
            "The translation begins with 2, `<sos>`. It is read and never written.",
            "Leave it out of the result, and out of the length.",
            _beam(gives=lambda best, penalty: ([2, *best[0]], best[1])),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="03_encoder_decoder",
    title="Encoder and decoder",
    opening="What surrounds the two networks of chapter 3: the batch "
    "that they read, the loss that they are trained on, and the search that turns their "
    "probabilities into a sentence.",
    exercises=(PAD_BATCH, SHIFT_TARGETS, SEQUENCE_LOSS, GREEDY_SEARCH, BEAM_SEARCH),
)
