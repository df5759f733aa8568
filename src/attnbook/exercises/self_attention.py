"""The exercises of chapter 11: the decoder's mask, a leak, self-attention, positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.dot_attention import masked_softmax

__all__ = ["CHAPTER"]


# --- decoder_mask -----------------------------------------------------------------------------


def decoder_mask(lengths: Tensor, size: int) -> Tensor:
    """Which words of a padded target may see which: none in the future, and no padding.

    lengths: (batch,), the real words of each sentence, which stand at the left; size: the padded
    length. Gives bool (batch, size, size), True = may look: row t is the word that looks, column i
    the one that is looked at. Rows of padding are rows like others.
    """
    # BEGIN SOLUTION
    position = torch.arange(size, device=lengths.device)
    earlier = position <= position.unsqueeze(1)
    real = position < lengths.unsqueeze(1)
    return earlier & real.unsqueeze(1)
    # END SOLUTION


def _mask_cases(draw: Draw) -> Iterator[Case]:
    full = draw.integer(3, 5)
    yield Case(
        "position t sees the positions up to t, and itself",
        {"lengths": torch.tensor([full, full]), "size": full},
    )
    yield Case(
        "nobody sees padding",
        {"lengths": torch.tensor([draw.integer(1, 3), draw.integer(3, 5)]), "size": 5},
    )
    yield Case(
        "each sentence has its own length",
        {"lengths": draw.permutation(3) + 1, "size": 3},
    )
    yield Case(
        "rows and columns are as many as the padded length, also if no sentence fills it",
        {"lengths": draw.permutation(3) + 1, "size": draw.integer(5, 7)},
        hint="The padded length is `size`; the longest sentence of the batch may be shorter.",
    )
    yield Case(
        "a batch of one sentence",
        {"lengths": draw.integers(2, 4, 1), "size": 4},
    )
    yield Case(
        "a single word",
        {"lengths": torch.tensor([1]), "size": 1},
    )
    yield Case(
        "of an empty sentence nothing may be seen",
        {"lengths": torch.tensor([0, draw.integer(1, 4)]), "size": 3},
        hint="A sentence of length 0 is all padding: its part of the mask is False everywhere.",
    )


def _masked(
    causal: Callable[[Tensor, Tensor], Tensor] | None = lambda t, i: i <= t,
    real: Callable[[Tensor, Tensor, int], Tensor] | None = lambda i, n, size: i < n,
) -> Callable[[Tensor, int], Tensor]:
    """A mask from two conditions: on who asks t and who is asked i; on i and the length n."""

    def wrong(lengths: Tensor, size: int) -> Tensor:
        i = torch.arange(size)
        mask = torch.ones(len(lengths), size, size, dtype=torch.bool)
        if causal is not None:
            mask = mask & causal(i.unsqueeze(1), i)
        if real is not None:
            mask = mask & real(i, lengths.unsqueeze(1), size).unsqueeze(1)
        return mask

    return wrong


_right_mask = _masked()

_NUMBERS = (
    "The mask is right and consists of numbers, 0 and 1. Asked for is bool: `~`, `&` and "
    "`masked_fill` mean what you want only with that.",
    "Compare, and join what you compared with `&` instead of a product; or end with `.bool()`.",
)


DECODER_MASK = Exercise(
    solution=decoder_mask,
    title="The decoder's mask",
    difficulty=2,
    minutes=12,
    points=3,
    goal="In training the decoder gets whole sentences at once, padded to one length. Make the mask "
    "of its self-attention: a word may look at itself and at what stands before it, and at nothing "
    "that is padding. Two conditions, one of which depends on who asks, the other on the sentence.",
    shapes="`lengths` (batch,) whole numbers; `size` an int, not below any of them → mask (batch, "
    "size, size), bool, True = may look. Rows are who asks, columns are who is asked.",
    example="Lengths (2, 3) and size 3, 1 for True: the first sentence has the rows 1 0 0, 1 1 0 and "
    "1 1 0, the second 1 0 0, 1 1 0 and 1 1 1. The third row of the first sentence is padding "
    "that asks; nobody reads its answer.",
    section="self-attention-uses",
    explanation="One vector of positions serves twice. As a row it is the columns' number, with an "
    "axis behind it the rows' number, so `position <= position.unsqueeze(1)` is $i \\le t$. The "
    "padding knows nothing of the row, so its mask (batch, size) gets an axis of length 1 where "
    "the rows are, and `&` broadcasts (size, size) and (batch, 1, size) to the result. As long as "
    "padding stands behind the words, the triangle alone hides it from all of them, and the second "
    "condition changes only rows that are padding themselves. It is stated all the same: what a "
    "row of padding gives must not depend on how far the batch was padded, and whoever drops the "
    "triangle later, for an encoder, still hides the padding. In a row of "
    "padding the real words stay visible; a row that may look nowhere would gain nothing.",
    start="Write down two conditions for “t may look at i”, one with t and i, one with i and the "
    "sentence's length. Both must hold. `torch.arange(size)` is i along the columns; what makes "
    "it t, along the rows?",
    more="`i = torch.arange(size)`, `t = i.unsqueeze(1)`: then `i <= t` is (size, size) and "
    "`i < lengths.unsqueeze(1)` is (batch, size). Give the second an axis for the rows, "
    "`unsqueeze(1)`, and join them with `&`.",
    cases=_mask_cases,
    mistakes=(
        Mistake(
            "no-padding",
            "Padding may be seen: the lengths have no effect. (From the real words the triangle hides "
            "it here, from the other rows it does not.)",
            "Add the condition that i is below the sentence's length, and join the two with `&`.",
            _masked(real=None),
        ),
        Mistake(
            "one-mask-for-the-batch",
            "This is one causal mask without a batch. It knows nothing of the lengths, which differ "
            "from sentence to sentence.",
            "`i < lengths.unsqueeze(1)` has a row for each sentence; join it with `&`.",
            lambda lengths, size: torch.ones(size, size, dtype=torch.bool).tril(),
        ),
        Mistake(
            "no-future",
            "The padding is hidden, and the future is not: every word sees the ones that it is to "
            "predict.",
            "Add the condition that i is at most t.",
            _masked(causal=None),
        ),
        Mistake(
            "padding-only",
            "The result has one row for each sentence: who may be seen, whoever asks. What a word "
            "may see of the future depends on who asks.",
            "Join it with the causal mask: (batch, 1, size) `&` (size, size).",
            lambda lengths, size: (torch.arange(size) < lengths.unsqueeze(1)).unsqueeze(1),
        ),
        Mistake(
            "or-instead-of-and",
            "A word may be seen here if it is in the past *or* no padding. It has to be both.",
            "`&`, not `|`: in the book's convention each mask says what it allows.",
            lambda lengths, size: (
                torch.ones(size, size, dtype=torch.bool).tril()
                | (torch.arange(size) < lengths.unsqueeze(1)).unsqueeze(1)
            ),
        ),
        Mistake(
            "not-itself",
            "A word does not see itself. It may: what it must not see is the word it is about to "
            "predict, and that is the next one.",
            "i ≤ t, with the diagonal: `tril()` and not `tril(-1)`.",
            _masked(causal=lambda t, i: i < t),
        ),
        Mistake(
            "sees-the-next",
            "A word sees one position too many, the next one: the very word that it is to predict.",
            "i ≤ t: `tril()` and not `tril(1)`; `triu(1)` for what is hidden, not `triu(2)`.",
            _masked(causal=lambda t, i: i <= t + 1),
        ),
        Mistake(
            "asks-and-asked-exchanged",
            "Each word sees itself and what comes *after* it: rows and columns of the causal mask "
            "have changed places.",
            "Rows are who asks. The last row sees most: `tril`, not `triu`.",
            _masked(causal=lambda t, i: i >= t),
        ),
        Mistake(
            "future-only",
            "The causal mask is the wrong way round: True stands at the future, which is to be "
            "hidden.",
            "`triu(1)` says what is hidden. Negate it, or take `tril()`.",
            _masked(causal=lambda t, i: i > t),
        ),
        Mistake(
            "padding-inverted",
            "The padding may be seen, and the words may not.",
            "True = may look, so that real positions are those *below* the length.",
            _masked(real=lambda i, n, size: i >= n),
        ),
        Mistake(
            "all-inverted",
            "The mask says what is *hidden*. In this book, as in `scaled_dot_product_attention`, "
            "True means may look; `nn.MultiheadAttention` reads it the other way round.",
            "Negate the result: `~mask`.",
            lambda lengths, size: ~_right_mask(lengths, size),
        ),
        Mistake(
            "padding-along-the-rows",
            "Words of padding may not *look* here. The padding mask belongs to the axis of those who "
            "are looked at; forbidding these rows gains nothing, since nobody reads them, and makes "
            "rows that may look nowhere: NaN in a plain softmax.",
            "Who is looked at is the last axis: `unsqueeze(1)`, not `unsqueeze(2)`, and not both.",
            lambda lengths, size: (
                torch.ones(size, size, dtype=torch.bool).tril()
                & (torch.arange(size) < lengths.unsqueeze(1)).unsqueeze(2)
            ),
        ),
        Mistake(
            "length-off-by-one",
            "One position of padding is seen. Positions count from 0: in a sentence of length 3 they "
            "are 0, 1 and 2.",
            "`i < length`, not `i <= length`.",
            _masked(real=lambda i, n, size: i <= n),
        ),
        Mistake(
            "last-word-hidden",
            "The last real word of each sentence is hidden, as if the end marker were padding. It is "
            "a word like the others.",
            "`i < length`, without subtracting 1.",
            _masked(real=lambda i, n, size: i < n - 1),
        ),
        Mistake(
            "padding-at-the-left",
            "Here the padding stands before the words. In this book's batches it stands behind them.",
            "Real positions are those below the length.",
            _masked(real=lambda i, n, size: i >= size - n),
        ),
        Mistake(
            "first-length-for-all",
            "All sentences have the mask of the first one.",
            "`lengths.unsqueeze(1)` keeps a row for each sentence; `lengths[0]` is one number.",
            lambda lengths, size: _right_mask(lengths[:1].expand(len(lengths)), size),
        ),
        Mistake(
            "size-from-the-lengths",
            "The mask is as large as the longest sentence, and not as the batch, which may be padded "
            "further: it will not fit the scores.",
            "Use `size`, not `lengths.max()`.",
            lambda lengths, size: _right_mask(lengths, int(lengths.max())),
        ),
        Mistake(
            "axis-for-heads",
            "There is an axis of length 1 too many. Some models want it, for their heads; here the "
            "shape is (batch, size, size).",
            "The padding mask needs one more axis and not two.",
            lambda lengths, size: _right_mask(lengths, size).unsqueeze(1),
        ),
        Mistake(
            "numbers-to-add",
            "These are numbers to be *added* to the scores, 0 and −∞. Asked for is a bool mask, True "
            "= may look, which can be combined with others by `&`.",
            "Return the conditions themselves, before anything is filled in.",
            lambda lengths, size: torch.zeros(len(lengths), size, size).masked_fill(
                ~_right_mask(lengths, size), -torch.inf
            ),
        ),
        Mistake(
            "ones-and-zeros",
            *_NUMBERS,
            lambda lengths, size: _right_mask(lengths, size).float(),
        ),
        Mistake(
            "whole-ones-and-zeros",
            *_NUMBERS,
            lambda lengths, size: _right_mask(lengths, size).long(),
        ),
    ),
)  # fmt: skip


# --- causal_weights ---------------------------------------------------------------------------


def causal_weights(scores: Tensor) -> Tensor:
    """The weights of a sentence that is being written: no word sees one that comes after it.

    scores: (batch, words, words), a row for each word that asks; gives weights of the same shape,
    each row with the sum 1.
    """
    position = torch.arange(scores.shape[-1], device=scores.device)
    # BEGIN SOLUTION
    #: seen = position.unsqueeze(1) <= position
    seen = position <= position.unsqueeze(1)
    # END SOLUTION
    return torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1)


def _causal_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the first word sees itself alone, the last one sees all",
        {"scores": draw.normal(1, 2, 2)},
        hint="The first row has to be 1 and 0, whatever the scores are.",
    )
    yield Case(
        "a word sees itself and what stands before it, and each row sums to 1",
        {"scores": draw.normal(2, 4, 4)},
    )
    yield Case(
        "as many sentences as words",
        {"scores": draw.normal(3, 3, 3)},
    )
    future = torch.triu(torch.ones(3, 3), 1) * 1e12
    yield Case(
        "the future does not matter, however large its scores are",
        {"scores": draw.normal(2, 3, 3) + future},
        hint="Scores of 1e12 stand in the future here, and one of them shows.",
    )
    yield Case(
        "what is hidden stays hidden, however low the scores of the others are",
        {"scores": draw.integers(1, 6, 1, 3, 3) * 4096.0 - 1e10},
        hint="All scores lie near minus ten thousand million here. Only −∞ is below everything.",
    )
    yield Case(
        "a batch of one and a sentence of one word",
        {"scores": draw.normal(1, 1, 1)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow back",
        {"scores": draw.normal(2, 5, 5, dtype=torch.float64)},
        gradients=("scores",),
    )


def _seen(
    condition: Callable[[Tensor, Tensor], Tensor] = lambda t, i: i <= t,
    fill: float = -math.inf,
    dim: int = -1,
) -> Callable[[Tensor], Tensor]:
    def wrong(scores: Tensor) -> Tensor:
        i = torch.arange(scores.shape[-1])
        return torch.softmax(scores.masked_fill(~condition(i.unsqueeze(1), i), fill), dim=dim)

    return wrong


def _renormalized(scores: Tensor) -> Tensor:
    kept = torch.softmax(scores, dim=-1).tril()
    return kept / kept.sum(dim=-1, keepdim=True)


_right_weights = _seen()
_LEAK = (
    "The shape fits, every row sums to 1, and the training loss would be excellent. Change the "
    "last column, the scores of all words for the last one: which rows change? Only one may."
)
_LEAK_MORE = (
    "A row is a word that asks. `position.unsqueeze(1)` counts along the rows, `position` along the "
    "columns; so the condition as it stands says “who asks stands at or before who is asked”. "
    "Turn it around."
)

CAUSAL_WEIGHTS = Exercise(
    solution=causal_weights,
    title="Find the leak",
    difficulty=2,
    minutes=10,
    points=3,
    goal="This function runs and gives weights whose rows sum to 1. Like exhibit 10 of the museum it "
    "lets words see what comes after them, so that a model would be trained to copy and could not "
    "write. Find out why with a small input, and repair it.",
    shapes="`scores` (batch, words, words): row $t$ has the scores of the word that asks → weights "
    "(batch, words, words).",
    example="Two words and the scores $(1, 5)$ and $(2, 2)$. The first word has only itself: "
    "$(1, 0)$. The second shares between both: $(0.5, 0.5)$. The function as it stands gives "
    "$(0.018, 0.982)$ and $(0, 1)$.",
    section="self-attention-uses",
    explanation="With both axes of one size every transposed mask fits, and no exception will tell. "
    "`unsqueeze(1)` gives the row's number, which is the word that asks; what it may see are "
    "columns with a number that is not larger. A triangle is checked by its corners: the top right "
    "one, the first word looking at the last, must be False. The surest test is the museum's: "
    "change the last word, and nothing before it may notice.",
    start=_LEAK,
    more=_LEAK_MORE,
    cases=_causal_cases,
    mistakes=(
        Mistake("asks-and-asked-exchanged", _LEAK, _LEAK_MORE, _seen(lambda t, i: i >= t)),
        Mistake(
            "sees-the-next",
            "The direction is right now, and every word still sees one too many: the next one, "
            "which it is to predict.",
            "At most its own position: i ≤ t.",
            _seen(lambda t, i: i <= t + 1),
        ),
        Mistake(
            "not-itself",
            "A word does not see itself, so that the first one may look nowhere: its row is NaN, "
            "0/0.",
            "i ≤ t, with equality. What has to be hidden begins one further on.",
            _seen(lambda t, i: i < t),
        ),
        Mistake(
            "not-itself-repaired",
            "A word does not see itself, and the NaN of the first row was covered up with zeros. A "
            "repair after a softmax often hides where the mask is wrong.",
            "Let each word see itself, i ≤ t; then there is nothing to repair.",
            lambda scores: torch.nan_to_num(_seen(lambda t, i: i < t)(scores), nan=0.0),
        ),
        Mistake(
            "future-only",
            "Now the past is hidden, and the word itself: only the future may be seen, and the last "
            "word, which has none, gets NaN.",
            "`masked_fill` fills where its mask is True. Give it what is *hidden*, with `~` or with "
            "the condition turned around, not both.",
            _seen(lambda t, i: i > t),
        ),
        Mistake(
            "no-mask",
            "Nothing is hidden: every word sees all others.",
            "Fill the scores of the future with −∞ before the softmax.",
            lambda scores: torch.softmax(scores, dim=-1),
        ),
        Mistake(
            "only-itself",
            "Every word sees itself and nothing else.",
            "Not i = t but i ≤ t.",
            _seen(lambda t, i: i == t),
        ),
        Mistake(
            "only-the-neighbour",
            "Every word sees itself and the one before it. What stands further back must remain "
            "visible.",
            "There is one condition, i ≤ t, and no window.",
            _seen(lambda t, i: (i <= t) & (i >= t - 1)),
        ),
        Mistake(
            "mask-after-softmax",
            "Rows no longer sum to 1: the future was taken away after it had had its part in the "
            "sum, so that the size of what is left tells an earlier word something of what comes.",
            "Mask the scores, not the weights.",
            lambda scores: torch.softmax(scores, dim=-1).tril(),
        ),
        Mistake(
            "masked-then-renormalized",
            "You masked after the softmax and divided by what was left. If a score in the future is "
            "very large, nothing is left: 0/0.",
            "Fill the scores with −∞ before the softmax.",
            _renormalized,
        ),
        Mistake(
            "filled-with-zero",
            "Scores of the future were set to 0, as `tril` does it. A score of 0 is not a weight of "
            "0: exp(0) = 1.",
            "The score whose exponential is 0 is −∞.",
            _seen(fill=0.0),
        ),
        Mistake(
            "soft-constant",
            "A large negative constant hides only as long as all other scores are larger. Where they "
            "are not, the future gets all the weight.",
            "`-torch.inf` is below everything.",
            _seen(fill=-1e9),
        ),
        Mistake(
            "constant-added",
            "A large constant was subtracted from the scores of the future. One that is larger still "
            "shows through.",
            "Replace the scores, with `masked_fill`; or add −∞.",
            lambda scores: torch.softmax(
                scores - 1e9 * torch.ones_like(scores).triu(1), dim=-1
            ),
        ),
        Mistake(
            "softmax-over-those-who-ask",
            "The columns sum to 1, not the rows.",
            "Each word shares out 1 among those it may see: `dim=-1`.",
            _seen(dim=-2),
        ),
        Mistake(
            "scores-turned",
            "The scores were turned instead of the mask: now a word's row holds what the others "
            "asked of it, not what it asked of them.",
            "Leave the scores alone, and turn the condition around.",
            lambda scores: _right_weights(scores.transpose(-2, -1)),
        ),
        Mistake(
            "result-turned",
            "The weights were transposed at the end. The zeros are at the right places now, and the "
            "rows do not sum to 1.",
            "Turn the condition around, not the result.",
            lambda scores: _seen(lambda t, i: i >= t)(scores).transpose(-2, -1),
        ),
        Mistake(
            "softmax-twice",
            "The future has some weight, and all rows are too even: a second softmax went over the "
            "weights.",
            "One softmax.",
            lambda scores: torch.softmax(_right_weights(scores), dim=-1),
        ),
        Mistake(
            "only-the-largest",
            "All the weight is on the largest score.",
            "Use the softmax, not `argmax`.",
            lambda scores: torch.nn.functional.one_hot(
                _right_weights(scores).argmax(dim=-1), scores.shape[-1]
            ).to(scores.dtype),
        ),
    ),
)  # fmt: skip


# --- self_attention ---------------------------------------------------------------------------


def self_attention(
    x: Tensor, w_query: Tensor, w_key: Tensor, w_value: Tensor, mask: Tensor
) -> Tensor:
    """Every word of a sentence asks every word of it: queries, keys and values from one input.

    x: (batch, words, width); w_query and w_key: (width, key_dim); w_value: (width, value_dim), each
    to stand at the right of x; mask: bool, True = may look, broadcastable to (batch, words, words).
    Scores are divided by the root of key_dim. A word that may look nowhere gets zeros. Gives
    (batch, words, value_dim).
    """
    # BEGIN SOLUTION
    queries, keys, values = x @ w_query, x @ w_key, x @ w_value
    scores = queries @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
    return masked_softmax(scores, mask) @ values
    # END SOLUTION


def _attention_inputs(
    draw: Draw,
    batch: int,
    words: int,
    width: int,
    key: int,
    value: int,
    mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    everywhere = torch.ones(batch, words, words, dtype=torch.bool)
    return {
        "x": draw.normal(batch, words, width, dtype=dtype),
        "w_query": draw.normal(width, key, dtype=dtype),
        "w_key": draw.normal(width, key, dtype=dtype),
        "w_value": draw.normal(width, value, dtype=dtype),
        "mask": everywhere if mask is None else mask,
    }


def _attention_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "each word gets a mixture of the values of all words",
        _attention_inputs(draw, 2, 3, 2, 4, 5),
        hint="Take the first word: its query times each key, divided by 2, the root of 4; a "
        "softmax; the values in that proportion. Is that the first row?",
    )
    yield Case(
        "what is padding is not seen",
        _attention_inputs(
            draw,
            2,
            4,
            3,
            2,
            5,
            torch.tensor([[[True, True, True, False]], [[False, True, True, True]]]),
        ),
    )
    yield Case(
        "with a causal mask no word sees one that comes after it",
        _attention_inputs(draw, 2, 4, 3, 5, 2, torch.ones(4, 4, dtype=torch.bool).tril()),
    )
    own = torch.tensor([[True, False, True], [True, True, True], [False, True, True]])
    yield Case(
        "as many sentences as words as numbers, each sentence with its own mask",
        _attention_inputs(
            draw, 3, 3, 3, 3, 3, torch.stack([own, own.flip(0), torch.ones_like(own).tril()])
        ),
    )
    yield Case(
        "a word that may look nowhere gets zeros",
        _attention_inputs(
            draw, 2, 3, 2, 3, 4, torch.tensor([[[False, False, False]], [[True, True, False]]])
        ),
        gradients=("x",),
        hint="The first sentence is forbidden altogether. Its results have to be 0, and no NaN may "
        "come back as a gradient.",
    )
    large = _attention_inputs(draw, 1, 3, 2, 2, 3)
    large |= {"x": large["x"] + 6, "w_query": 2 * torch.eye(2), "w_key": 2 * torch.eye(2)}
    yield Case(
        "large scores do not overflow",
        large,
        hint="exp of a score above 89 is too large for a 32-bit number. Use `masked_softmax`.",
    )
    yield Case(
        "a batch of one and a sentence of one word",
        _attention_inputs(draw, 1, 1, 3, 2, 4),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to everything",
        _attention_inputs(
            draw, 2, 3, 2, 5, 4,
            torch.tensor([[[True, True, False]], [[True, True, True]]]),
            torch.float64,
        ),
        gradients=("x", "w_query", "w_key", "w_value"),
    )  # fmt: skip


def _scaled(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])


def _soft(scores: Tensor, mask: Tensor, fill: float = -math.inf, dim: int = -1) -> Tensor:
    return torch.softmax(scores.masked_fill(~mask, fill), dim=dim)


def _raised(scores: Tensor, mask: Tensor) -> Tensor:
    raised = torch.where(mask, scores.exp(), torch.zeros_like(scores))
    return raised / raised.sum(dim=-1, keepdim=True).clamp(min=1e-9)


def _largest(scores: Tensor, mask: Tensor) -> Tensor:
    best = scores.masked_fill(~mask, -torch.inf).argmax(dim=-1)
    return torch.nn.functional.one_hot(best, scores.shape[-1]).to(scores.dtype)


def _attending(
    score: Callable[[Tensor, Tensor], Tensor] = _scaled,
    weigh: Callable[[Tensor, Tensor], Tensor] = masked_softmax,
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda weights, keys, values: (
        weights @ values
    ),
) -> Callable[..., Tensor]:
    """Self-attention with one of its three steps replaced."""

    def wrong(x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, mask: Tensor) -> Tensor:
        queries, keys, values = x @ wq, x @ wk, x @ wv
        return mix(weigh(score(queries, keys), mask), keys, values)

    return wrong


_right_attention = _attending()


SELF_ATTENTION = Exercise(
    solution=self_attention,
    title="Self-attention from three matrices",
    difficulty=2,
    minutes=15,
    points=3,
    goal="The two lines of the chapter, $Q = XW^Q$, $K = XW^K$, $V = XW^V$ and "
    "$C = \\mathrm{softmax}(QK^\\top / \\sqrt{d_k})\\,V$, for a batch of sentences and with a mask. "
    "`masked_softmax` of chapter 5 is given.",
    shapes="`x` (batch, words, width), `w_query` and `w_key` (width, key_dim), `w_value` (width, "
    "value_dim), `mask` bool, True = may look, broadcastable to (batch, words, words) → (batch, "
    "words, value_dim).",
    example="Two words, $x_1 = (1, 0)$ and $x_2 = (0, 1)$. $W^Q$ has the rows $(1, 1, 1, 1)$ and "
    "$(0, 0, 0, 0)$, $W^K$ has them in the other order, $W^V$ is the identity. The first query "
    "is $(1, 1, 1, 1)$, the second key as well, and all others are 0. The products of the first "
    "word are $(0, 4)$, its scores $(0, 2)$, its weights $(0.119, 0.881)$, and that is its result. "
    "The second asks with 0 and gets $(0.5, 0.5)$.",
    section="self-attention-steps",
    explanation="Only the first line is new: what used to come from two networks is made from one "
    "input by three matrices, which need not be square. Afterwards nothing knows that who asks and "
    "who is asked are the same words. The root is that of the *key's* width, because a score is a "
    "sum of so many products. The mask may be a triangle for all sentences, a row for each "
    "sentence, or both; broadcasting makes no difference between them.",
    start="Make queries, keys and values first: three products of `x` with a matrix at its right. "
    "What follows is chapter 5, with a root under the scores.",
    more="`scores = queries @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])`, then "
    "`masked_softmax(scores, mask)` times the values.",
    cases=_attention_cases,
    given=(masked_softmax,),
    mistakes=(
        Mistake(
            "not-scaled",
            "The scores were not divided by the root of the key's width: the weights are too sharp.",
            "`/ math.sqrt(keys.shape[-1])` before the softmax.",
            _attending(score=lambda q, k: q @ k.transpose(1, 2)),
        ),
        Mistake(
            "divided-by-width",
            "The scores were divided by the key's width and not by its root, or by the root twice: the "
            "weights are too even.",
            "`math.sqrt(keys.shape[-1])`, once. `scaled_dot_product_attention` divides already.",
            _attending(score=lambda q, k: q @ k.transpose(1, 2) / k.shape[-1]),
        ),
        Mistake(
            "multiplied-by-root",
            "The scores were multiplied by the root, and should be divided by it.",
            "Division makes products of wide vectors as small as those of narrow ones.",
            _attending(score=lambda q, k: q @ k.transpose(1, 2) * math.sqrt(k.shape[-1])),
        ),
        Mistake(
            "root-of-the-input",
            "The root is that of the input's width. A score is a sum over the numbers of a *key*, "
            "and a key may have another width.",
            "`keys.shape[-1]`, not `x.shape[-1]`.",
            lambda x, wq, wk, wv, mask: masked_softmax(
                (x @ wq) @ (x @ wk).transpose(1, 2) / math.sqrt(x.shape[-1]), mask
            ) @ (x @ wv),
        ),
        Mistake(
            "root-of-the-length",
            "The root is that of the number of words. It has to do with the width of a key: with "
            "how many products are added up in a score.",
            "`keys.shape[-1]`, not `keys.shape[1]`.",
            _attending(score=lambda q, k: q @ k.transpose(1, 2) / math.sqrt(k.shape[1])),
        ),
        Mistake(
            "scaled-after-softmax",
            "The weights were divided by the root, not the scores, so that they no longer sum to 1.",
            "Divide before the softmax.",
            _attending(
                score=lambda q, k: q @ k.transpose(1, 2),
                mix=lambda w, k, v: w @ v / math.sqrt(k.shape[-1]),
            ),
        ),
        Mistake(
            "no-matrices",
            "Queries, keys and values are the states themselves. “Q = K = V” means that they come "
            "from the same sentence; each is made by its own matrix.",
            "`x @ w_query`, `x @ w_key`, `x @ w_value`.",
            lambda x, wq, wk, wv, mask: masked_softmax(_scaled(x, x), mask) @ x,
        ),
        Mistake(
            "states-for-values",
            "The weights are right, and the states themselves were mixed. What is delivered is made "
            "by a matrix of its own.",
            "Add up `x @ w_value`.",
            lambda x, wq, wk, wv, mask: masked_softmax(_scaled(x @ wq, x @ wk), mask) @ x,
        ),
        Mistake(
            "one-matrix-for-both",
            "Queries and keys were made by the same matrix, so that what one word is to another the "
            "other is to the first.",
            "Keys have their own: `x @ w_key`.",
            lambda x, wq, wk, wv, mask: masked_softmax(_scaled(x @ wq, x @ wq), mask) @ (x @ wv),
        ),
        Mistake(
            "asks-and-asked-exchanged",
            "Keys ask and queries answer: rows and columns of the scores have changed places.",
            "Queries first, transposed keys second; who asks is a row.",
            lambda x, wq, wk, wv, mask: masked_softmax(_scaled(x @ wk, x @ wq), mask) @ (x @ wv),
        ),
        Mistake(
            "matrices-transposed",
            "The matrices were transposed, as `nn.Linear` and `F.linear` do it. Here they are given "
            "as in the formula, to stand at the right of x. Where they are square nobody notices.",
            "`x @ w_query`, without `.T`.",
            lambda x, wq, wk, wv, mask: _right_attention(x, wq.T, wk.T, wv.T, mask),
        ),
        Mistake(
            "values-scored",
            "The queries were compared with the values. They are compared with the keys; a value is "
            "what is delivered afterwards.",
            "`queries @ keys.transpose(1, 2)`.",
            lambda x, wq, wk, wv, mask: masked_softmax(_scaled(x @ wq, x @ wv), mask) @ (x @ wv),
        ),
        Mistake(
            "keys-summed",
            "The keys were added up instead of the values.",
            "Weights times *values*.",
            _attending(mix=lambda w, k, v: w @ k),
        ),
        Mistake(
            "reshape-for-transpose",
            "The keys were reshaped where they should have been transposed, so that pieces of "
            "different words lie in one column.",
            "`keys.transpose(1, 2)`.",
            _attending(
                score=lambda q, k: q @ k.reshape(len(k), k.shape[2], k.shape[1])
                / math.sqrt(k.shape[-1])
            ),
        ),
        Mistake(
            "no-mask",
            "The mask has no effect.",
            "`masked_softmax(scores, mask)`.",
            _attending(weigh=lambda scores, mask: torch.softmax(scores, dim=-1)),
        ),
        Mistake(
            "mask-inverted",
            "The mask is read the wrong way round. True means *may look*.",
            "Give the mask as it is; `masked_softmax` knows the convention.",
            _attending(weigh=lambda scores, mask: masked_softmax(scores, ~mask.expand_as(scores))),
        ),
        Mistake(
            "mask-inverted-plainly",
            "The mask is read the wrong way round: where it says True, may look, you filled in −∞.",
            "`masked_fill` fills where its mask is True, so it needs `~mask`.",
            _attending(weigh=lambda scores, mask: _soft(scores, ~mask)),
        ),
        Mistake(
            "mask-after-softmax",
            "The mask came after the softmax: what is left of a row does not sum to 1.",
            "Mask the scores, or use `masked_softmax`.",
            _attending(weigh=lambda scores, mask: torch.softmax(scores, dim=-1) * mask),
        ),
        Mistake(
            "filled-with-zero",
            "Forbidden scores were set to 0. A score of 0 is not a weight of 0: exp(0) = 1.",
            "The score whose exponential is 0 is −∞.",
            _attending(weigh=lambda scores, mask: _soft(scores, mask, 0.0)),
        ),
        Mistake(
            "soft-constant",
            "A large negative constant hides nothing from a word that may look nowhere: it gets the "
            "mean of all values.",
            "`masked_softmax` treats that case.",
            _attending(weigh=lambda scores, mask: _soft(scores, mask, -1e9)),
        ),
        Mistake(
            "nan-in-empty-row",
            "A word that may look nowhere gets NaN: the softmax of nothing but −∞ is 0/0.",
            "`masked_softmax` treats that case.",
            _attending(weigh=_soft),
        ),
        Mistake(
            "first-mask-for-all",
            "Every sentence got the mask of the first one.",
            "Do not index the mask's batch away; it broadcasts by itself.",
            _attending(
                weigh=lambda scores, mask: masked_softmax(
                    scores, (mask[0] if mask.dim() == 3 else mask).expand_as(scores)
                )
            ),
        ),
        Mistake(
            "softmax-over-those-who-ask",
            "The softmax runs over the words that ask: the columns of the weights sum to 1, not the "
            "rows.",
            "Each word shares out 1 among those it may see: `dim=-1`.",
            _attending(
                weigh=lambda scores, mask: torch.nan_to_num(_soft(scores, mask, dim=-2), nan=0.0)
            ),
        ),
        Mistake(
            "softmax-over-batch",
            "The softmax runs over the sentences of the batch.",
            "`dim=-1`; `dim=0` is the batch.",
            _attending(
                weigh=lambda scores, mask: torch.nan_to_num(_soft(scores, mask, dim=0), nan=0.0)
            ),
        ),
        Mistake(
            "no-softmax",
            "The values were multiplied by scores: there is no softmax.",
            "Scores become weights by `masked_softmax`.",
            _attending(weigh=lambda scores, mask: scores * mask),
        ),
        Mistake(
            "softmax-twice",
            "A second softmax went over the weights: they are too even, and what is hidden has some weight, too.",
            "One softmax; `masked_softmax` gives weights already.",
            _attending(
                weigh=lambda scores, mask: torch.softmax(masked_softmax(scores, mask), dim=-1)
            ),
        ),
        Mistake(
            "only-the-largest",
            "Each word took the value with the highest score and nothing of the others.",
            "Use the softmax, not `argmax`.",
            _attending(weigh=_largest),
        ),
        Mistake(
            "overflow",
            "exp overflows at scores around 89: infinity divided by infinity is NaN.",
            "Use `masked_softmax`, which subtracts each row's largest score.",
            _attending(weigh=_raised),
        ),
        Mistake(
            "weights-returned",
            "These are the weights. Asked for is what they are used for: the mixtures of values.",
            "Multiply by the values: `weights @ values`.",
            _attending(mix=lambda w, k, v: w),
        ),
    ),
)  # fmt: skip


# --- sinusoidal_positions ---------------------------------------------------------------------


def sinusoidal_positions(length: int, width: int, start: int = 0) -> Tensor:
    """A vector for each position: pairs of a sine and a cosine, each pair at its own pace.

    length: how many positions; width: numbers for each, even; start: the first position. Gives
    (length, width), float32, with sin(ω_k t) in column 2k and cos(ω_k t) in column 2k + 1, where
    ω_k = 10000^(−2k/width).
    """
    # BEGIN SOLUTION
    t = torch.arange(start, start + length).unsqueeze(1)
    angles = t * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    # END SOLUTION


def _position_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "sines stand in the even columns, cosines in the odd ones, from position 0 on",
        {"length": draw.integer(2, 4), "width": 4},
        hint="Position 0 is 0, 1, 0, 1, since sin 0 = 0 and cos 0 = 1. Position 1 begins with "
        "sin 1 and cos 1, 0.841 and 0.540.",
    )
    yield Case(
        "the two columns of a pair have the same pace, and each pair has its own",
        {"length": draw.integer(3, 6), "width": 6},
    )
    size = 2 * draw.integer(4, 6)
    yield Case(
        "as many positions as numbers",
        {"length": size, "width": size},
    )
    yield Case(
        "a single pair turns at the pace 1",
        {"length": draw.integer(4, 8), "width": 2},
    )
    yield Case(
        "positions may start later, as in a sentence of which a part is written",
        {"length": draw.integer(3, 6), "width": 6, "start": draw.integer(7, 30)},
    )
    yield Case(
        "a single position",
        {"length": 1, "width": 8, "start": draw.integer(2, 30)},
        hint="One position is still a table, with one row: (1, width).",
    )
    yield Case(
        "positions far from the beginning",
        {"length": 2, "width": 6, "start": draw.integer(300, 400)},
    )
    yield Case(
        "many positions, wide vectors",
        {"length": draw.integer(20, 30), "width": 12},
    )


def _waves(
    pace: Callable[[Tensor, int, int], Tensor] = lambda k, width, length: (
        10_000 ** (-2 * k / width)
    ),
    join: Callable[[Tensor, Tensor], Tensor] = lambda s, c: torch.stack([s, c], dim=-1).flatten(-2),
    shift: int = 0,
) -> Callable[..., Tensor]:
    """Positions with other paces for the pairs k, or with sines and cosines joined otherwise."""

    def wrong(length: int, width: int, start: int = 0) -> Tensor:
        t = torch.arange(start, start + length).double().unsqueeze(1) + shift
        angles = t * pace(torch.arange(width // 2).double(), width, length)
        return join(angles.sin(), angles.cos()).float()

    return wrong


def _pace_for_each_column(length: int, width: int, start: int = 0) -> Tensor:
    t = torch.arange(start, start + length).double().unsqueeze(1)
    i = torch.arange(width)
    angles = t * 10_000 ** (-i.double() / width)
    return torch.where(i % 2 == 0, angles.sin(), angles.cos()).float()


def _pace_outside(length: int, width: int, start: int = 0) -> Tensor:
    t = torch.arange(start, start + length).double().unsqueeze(1)
    paces = 10_000 ** (-torch.arange(0, width, 2).double() / width)
    return torch.stack([t.sin() * paces, t.cos() * paces], dim=-1).flatten(-2).float()


_right_positions = _waves()


SINUSOIDAL_POSITIONS = Exercise(
    solution=sinusoidal_positions,
    title="Sines and cosines for places",
    difficulty=2,
    minutes=15,
    points=3,
    goal="Self-attention does not see where a word stands, so a vector that says so is added to "
    "each word. Make these vectors as Vaswani et al. do: $p_{t,2k} = \\sin(\\omega_k t)$, "
    "$p_{t,2k+1} = \\cos(\\omega_k t)$ with $\\omega_k = 10000^{-2k/d}$, where $d$ is `width`. A decoder that writes word "
    "by word needs one position at a time, so there is a first one, `start`.",
    shapes="`length`, `width` (even) and `start` are ints → (length, width), float32; row 0 is "
    "position `start`.",
    example="Width 4 has two pairs, with $\\omega_0 = 1$ and $\\omega_1 = 10000^{-2/4} = 0.01$. "
    "Position 3 is $(\\sin 3, \\cos 3, \\sin 0.03, \\cos 0.03)$, that is "
    "$(0.141, -0.990, 0.030, 1.000)$.",
    section="self-attention-positions",
    explanation="Positions as a column times paces as a row give a table of angles, (length, "
    "width / 2). Sine and cosine of an angle belong next to each other: `stack` along a new last "
    "axis makes pairs, and `flatten` sets the pairs behind one another. Why pairs: a step of one "
    "word turns each of them by an angle that does not depend on the place, and that works only if "
    "both have the same pace. `torch.arange(0, width, 2)` is $2k$ already; taking it for $k$ "
    "is an easy mistake here.",
    start="First a table of angles, a row for each position and a column for each *pair*. Then sine "
    "and cosine of it, side by side. How many pairs are there?",
    more="`t.unsqueeze(1) * 10000 ** (-torch.arange(0, width, 2) / width)` is the table of angles. "
    "`torch.stack([angles.sin(), angles.cos()], dim=-1)` makes pairs, `flatten(-2)` sets them in a "
    "row; or fill `table[:, 0::2]` and `table[:, 1::2]`.",
    cases=_position_cases,
    tolerance=(1e-4, 1e-4),
    mistakes=(
        Mistake(
            "halves-not-pairs",
            "All sines stand at the left and all cosines at the right. Some models do it that way; "
            "here they take turns.",
            "`torch.stack(…, dim=-1).flatten(-2)` instead of `torch.cat`, or fill every other "
            "column.",
            _waves(join=lambda s, c: torch.cat([s, c], dim=-1)),
        ),
        Mistake(
            "cosine-first",
            "Sine and cosine have changed places: position 0 begins with 1.",
            "Sines in the even columns, from 0 on; cosines in the odd ones.",
            _waves(join=lambda s, c: torch.stack([c, s], dim=-1).flatten(-2)),
        ),
        Mistake(
            "sines-only",
            "Each pair holds its sine twice. A sine alone does not tell an angle: sin 1 is about "
            "sin 2.14.",
            "The second of a pair is the cosine.",
            _waves(join=lambda s, c: torch.stack([s, s], dim=-1).flatten(-2)),
        ),
        Mistake(
            "pace-for-each-column",
            "Sine and cosine of a pair turn at different paces: each column got its own. Then they "
            "do not belong to one angle, and a step is no rotation.",
            "The exponent is 2k/width in both columns 2k and 2k + 1: there are width / 2 paces.",
            _pace_for_each_column,
        ),
        Mistake(
            "doubled-twice",
            "The paces fall too fast: the exponent is 4k/width. `torch.arange(0, width, 2)` is 2k "
            "already; or you divided by half the width.",
            "Either `torch.arange(0, width, 2) / width` or `2 * torch.arange(width // 2) / width`.",
            _waves(lambda k, width, length: 10_000 ** (-4 * k / width)),
        ),
        Mistake(
            "two-forgotten",
            "The paces fall too slowly: the exponent is k/width, and the 2 is missing.",
            "Either `torch.arange(0, width, 2) / width` or `2 * torch.arange(width // 2) / width`.",
            _waves(lambda k, width, length: 10_000 ** (-k / width)),
        ),
        Mistake(
            "paces-rise",
            "The later pairs turn faster and faster. They should be slower and slower: the exponent "
            "has a minus.",
            "Divide by 10000 to the power, or put the minus into the exponent.",
            _waves(lambda k, width, length: 10_000 ** (2 * k / width)),
        ),
        Mistake(
            "base-forgotten",
            "The paces fall by powers of e, not of 10000: the logarithm of 10000 is missing in the "
            "exponent.",
            "`torch.exp(-math.log(10000) * 2k / width)`, or `10000 ** (…)`.",
            _waves(lambda k, width, length: torch.exp(-2 * k / width)),
        ),
        Mistake(
            "last-pace-fixed",
            "The paces were spread so that the last one is 1/10000. In the formula the last exponent "
            "stays a little below 1, at (width − 2)/width.",
            "Divide by `width`, not by `width - 2`.",
            _waves(lambda k, width, length: 10_000 ** (-k / (width / 2 - 1))),
        ),
        Mistake(
            "length-for-width",
            "The exponent was divided by the number of positions. The pace of a pair depends on the "
            "width; otherwise a word's place would look different in a longer sentence.",
            "Divide by `width`.",
            _waves(lambda k, width, length: 10_000 ** (-2 * k / length)),
        ),
        Mistake(
            "pace-outside",
            "The pace multiplies the sine, and should multiply the position: now all pairs turn alike "
            "and become smaller.",
            "`sin(pace * t)`, not `pace * sin(t)`.",
            _pace_outside,
        ),
        Mistake(
            "full-turns",
            "The angles were multiplied by 2π. Then the first pair makes one full turn with each "
            "word, and says nothing.",
            "Leave out 2π: the first pair turns by 1 for each word.",
            _waves(lambda k, width, length: 2 * math.pi * 10_000 ** (-2 * k / width)),
        ),
        Mistake(
            "counted-from-one",
            "Positions are counted from 1. They begin with 0, or with `start`.",
            "`torch.arange(start, start + length)`.",
            _waves(shift=1),
        ),
        Mistake(
            "start-ignored",
            "The table always begins at position 0, whatever `start` says: a decoder that writes word "
            "by word would put every word at the front.",
            "`torch.arange(start, start + length)`.",
            lambda length, width, start=0: _right_positions(length, width),
        ),
        Mistake(
            "length-taken-for-the-end",
            "`length` was taken for the last position. It says how many there are, so that the "
            "positions run from `start` to `start + length - 1`.",
            "`torch.arange(start, start + length)`.",
            lambda length, width, start=0: _right_positions(max(length - start, 0), width, start),
        ),
        Mistake(
            "transposed",
            "Rows and columns have changed places: a row has to belong to a position.",
            "Positions as a column, `unsqueeze(1)`, times paces as a row.",
            lambda length, width, start=0: _right_positions(length, width, start).T,
        ),
        Mistake(
            "reshape-for-pairs",
            "Sines and cosines of different positions were mixed: `stack` put the new axis in front, "
            "and `reshape` does not move it.",
            "Stack along a new *last* axis, `dim=-1`, before you flatten.",
            _waves(join=lambda s, c: torch.stack([s, c]).reshape(len(s), -1)),
        ),
        Mistake(
            "axis-for-the-batch",
            "There is an axis for a batch in front. A place is the same in every sentence; the axis "
            "comes by broadcasting when words and places are added.",
            "Return (length, width).",
            lambda length, width, start=0: _right_positions(length, width, start).unsqueeze(0),
        ),
        Mistake(
            "double-precision",
            "The numbers are right and have 64 bits. Added to a model's states they would make "
            "everything after it 64 bits wide, or raise an exception.",
            "Calculate with as many digits as you like, and end with `.float()`.",
            lambda length, width, start=0: _right_positions(length, width, start).double(),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="11_self_attention",
    title="Self-attention",
    opening="The layer of chapter 11 and what it needs to be used in a "
    "decoder: who may see whom, what happens where that is wrong, the layer itself, and the places "
    "of the words, which it cannot see.",
    exercises=(DECODER_MASK, CAUSAL_WEIGHTS, SELF_ATTENTION, SINUSOIDAL_POSITIONS),
)
