"""The exercises of chapter 14: hiding pieces, the loss at the hidden places, and a bug."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake

__all__ = ["CHAPTER"]


# --- mask_tokens ------------------------------------------------------------------------------


def mask_tokens(
    ids: Tensor,
    special: Tensor,
    chance: Tensor,
    how: Tensor,
    pieces: Tensor,
    mask_id: int,
    share: float,
) -> tuple[Tensor, Tensor]:
    """Hide pieces of texts for BERT to find, with random numbers that were drawn before.

    ids: (batch, length); special: bool (batch, length), True at `[CLS]` and `[SEP]` and at padding.
    A piece that is not special is chosen if its `chance` is below `share`. What is read in a chosen
    piece's place depends on its `how`: below 0.8 it is `mask_id`, from 0.9 on the piece that stands
    at this place in `pieces`, in between the piece itself.
    chance, how: (batch, length), between 0 and 1; pieces: (batch, length), pieces drawn at random.
    Gives what the model reads and its targets, (batch, length) each: the right piece where one was
    chosen, -100 elsewhere.
    """
    # BEGIN SOLUTION
    chosen = (chance < share) & ~special
    targets = ids.masked_fill(~chosen, -100)
    read = ids.masked_fill(chosen & (how < 0.8), mask_id)
    read = torch.where(chosen & (how >= 0.9), pieces, read)
    return read, targets
    # END SOLUTION


PAD, CLS, SEP, MASK = 0, 2, 3, 4
# What can happen to a piece, and the numbers that make it happen.
FATES = {"masked": (0.0, 0.8), "kept": (0.82, 0.9), "replaced": (0.92, 1.0)}


def _texts(
    draw: Draw, rows: list[list[str]], share: float = 0.15, mask_id: int = MASK
) -> dict[str, Any]:
    """Texts of which each piece has a fate; special pieces have numbers that would choose them.

    A fate is ``cls``, ``sep``, ``pad``, ``seen`` (not chosen), or one of :data:`FATES`.
    """
    longest = max(map(len, rows))
    rows = [row + ["pad"] * (longest - len(row)) for row in rows]
    names = {"cls": CLS, "sep": SEP, "pad": PAD}
    ids, special, chance, how, pieces = [], [], [], [], []
    for fate in (fate for row in rows for fate in row):
        piece = draw.integer(10, 50)
        ids.append(names.get(fate, piece))
        special.append(fate in names)
        high = fate == "seen"
        # In hundredths, off the borders. Pieces that become [MASK] are chosen narrowly, so that
        # whoever takes one number for both questions does something else with them.
        low, top = (round(100 * share) + 2, 100) if high else (0, round(80 * share))
        if fate == "masked":
            low, top = math.ceil(82 * share), round(100 * share)
        chance.append(draw.integer(low, top) / 100)
        start, end = FATES.get(fate, draw.choice(list(FATES.values())))
        how.append(draw.integer(round(100 * start), round(100 * end)) / 100)
        pieces.append(50 + draw.integer(0, 40))
    shape = (len(rows), longest)
    return {
        "ids": torch.tensor(ids).reshape(shape),
        "special": torch.tensor(special).reshape(shape),
        "chance": torch.tensor(chance).reshape(shape),
        "how": torch.tensor(how).reshape(shape),
        "pieces": torch.tensor(pieces).reshape(shape),
        "mask_id": mask_id,
        "share": share,
    }


def _mixed(draw: Draw, *fates: str) -> list[str]:
    """A text whose pieces have these fates, in random order."""
    order = draw.permutation(len(fates)).tolist()
    return ["cls", *(fates[i] for i in order), "sep"]


def _mask_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "a chosen piece with a number below 0.8 is read as `[MASK]`",
        _texts(draw, [["cls", "seen", "masked", "seen", "sep"]]),
        hint="Only one of these five is chosen. Every other target is -100.",
    )
    yield Case(
        "a chosen piece may be replaced or left alone, and is asked for all the same",
        _texts(draw, [_mixed(draw, "replaced", "kept", "seen", "masked")]),
        hint="Three are chosen here; three targets are not -100.",
    )
    yield Case(
        "special pieces and padding are never chosen",
        _texts(
            draw,
            [
                _mixed(draw, "seen", "masked", "replaced", "kept"),
                _mixed(draw, "seen", "seen"),
                _mixed(draw, "replaced"),
            ],
        ),
        hint="The chances of special pieces and of padding are low here, and change nothing.",
    )
    unseen = _texts(draw, [_mixed(draw, "seen", "seen", "seen"), ["cls", "seen", "sep"]])
    yield Case("a text in which nothing is chosen stays as it is", unseen)
    yield Case(
        "share and the number of `[MASK]` are what the arguments say",
        _texts(
            draw,
            [
                _mixed(draw, "masked", "masked", "kept", "replaced", "seen", "masked"),
                _mixed(draw, "masked", "seen", "replaced", "seen", "masked", "kept"),
            ],
            share=0.4,
            mask_id=103,
        ),
        hint="Here 40 % are chosen on average, and `[MASK]` has the number 103.",
    )
    yield Case(
        "each text has special pieces of its own",
        _texts(
            draw,
            [
                ["cls", "masked", "sep", "kept", "sep"],
                ["cls", "replaced", "masked", "sep"],
                ["cls", "sep"],
            ],
        ),
    )
    border = _texts(draw, [_mixed(draw, "masked", "seen", "kept", "seen")], share=0.25)
    border["chance"] = border["chance"].masked_fill(border["chance"] > 0.25, 0.25)
    yield Case(
        "a piece whose chance is just the share is not chosen",
        border,
        hint="Below the share, not at it: 0.25 is not chosen here.",
    )
    yield Case("a text of one piece", _texts(draw, [[draw.choice(list(FATES))]]))


def _parts(chosen: Any, how: Any) -> Any:
    """Of what is chosen, all of it, what is hidden and what is replaced."""
    return chosen, chosen & (how < 0.8), chosen & (how >= 0.9)


def _masked(
    ids: Any, special: Any, chance: Any, how: Any, pieces: Any, mask_id: int, share: float
) -> Any:
    """Of each piece whether it is chosen, hidden, replaced."""
    return _parts((chance < share) & ~special, how)


def _read(ids: Any, hidden: Any, replaced: Any, pieces: Any, mask_id: int) -> Any:
    return torch.where(replaced, pieces, ids.masked_fill(hidden, mask_id))


def _hide(decide: Any = None, ask: Any = None, read: Any = None) -> Any:
    """The right rule with another choice, another question or another thing to read."""

    def wrong(
        ids: Any, special: Any, chance: Any, how: Any, pieces: Any, mask_id: int, share: float
    ) -> Any:
        given = (ids, special, chance, how, pieces, mask_id, share)
        chosen, hidden, replaced = (decide or _masked)(*given)
        seen = _read(ids, hidden, replaced, pieces, mask_id)
        if read is not None:
            seen = read(ids, chosen, hidden, replaced, pieces, mask_id)
        targets = ids.masked_fill(~chosen, -100)
        if ask is not None:
            targets = ask(ids, chosen, hidden, replaced, seen)
        return seen, targets

    return wrong


def _by(rule: Any) -> Any:
    """Another rule for which pieces are chosen, hidden and replaced."""
    return _hide(
        decide=lambda ids, special, chance, how, pieces, mask_id, share: rule(
            ids, special, chance, how, share
        )
    )


MASK_TOKENS = Exercise(
    solution=mask_tokens,
    title="Hide some",
    difficulty=2,
    minutes=15,
    points=3,
    goal="BERT learns from texts in which some pieces are hidden. Write the rule of 15 % and of "
    "80/10/10: which pieces are asked for, what stands in their place, and what the targets are. The "
    "random numbers are arguments, so that there is one right result. (The book's `hide` also sees "
    "to it that every text is asked for something; that is left out here.)",
    shapes="`ids`, `special` (bool), `chance`, `how`, `pieces`: (batch, length); `mask_id` and "
    "`share` are numbers → what is read and the targets, both ids (batch, length).",
    example="The text `2 17 30 21 3` begins with `[CLS]` (2) and ends with `[SEP]` (3). With the "
    "chances 0.02, 0.60, 0.11, 0.05, 0.01 and a share of 0.15, the pieces 30 and 21 are chosen: the "
    "first and last are special. With 0.35 and 0.86 as their `how`, and 4 for `[MASK]`, the model "
    "reads `2 17 4 21 3`, and the targets are `-100 -100 30 21 -100`.",
    section="bert-hide",
    explanation="First who is chosen, then what happens to them: three masks, each a part of "
    "`chosen`. The targets are made from `ids`, which nobody has touched: whoever writes `[MASK]` "
    "into the ids first and takes the targets from them afterwards asks for `[MASK]`. A chosen "
    "piece that is left alone is asked for as well: otherwise the only visible pieces that are "
    "asked for would be the replaced ones, and what stands there would never be the answer.",
    start="Which pieces are chosen? Those whose chance is below the share, if they are not special. "
    "Write this as a mask of True and False first; the targets follow from it.",
    more="`chosen = (chance < share) & ~special`; the targets are `ids.masked_fill(~chosen, -100)`. "
    "What is read: `mask_id` where `chosen & (how < 0.8)`, `pieces` where `chosen & (how >= 0.9)`, "
    "else `ids`.",
    cases=_mask_cases,
    mistakes=(
        Mistake(
            "all-asked",
            "Every piece is a target. At most places the answer stands in the input: the model "
            "learns to copy, and its loss tells nothing about what was hidden.",
            "-100 wherever a piece was not chosen.",
            _hide(ask=lambda ids, chosen, hidden, replaced, seen: ids),
        ),
        Mistake(
            "all-but-special-asked",
            "Every piece that is not special is a target, chosen or not.",
            "-100 wherever a piece was not chosen.",
            lambda ids, special, chance, how, pieces, mask_id, share: (
                mask_tokens(ids, special, chance, how, pieces, mask_id, share)[0],
                ids.masked_fill(special, -100),
            ),
        ),
        Mistake(
            "only-mask-asked",
            "Only pieces that became `[MASK]` are asked for. A model that is asked at `[MASK]` alone "
            "need not think about what it sees.",
            "All chosen pieces are targets, replaced ones and those left alone as well.",
            _hide(ask=lambda ids, chosen, hidden, replaced, seen: ids.masked_fill(~hidden, -100)),
        ),
        Mistake(
            "only-changed-asked",
            "Chosen pieces that were left alone are not asked for.",
            "The targets depend on who was chosen, not on what was changed.",
            _hide(
                ask=lambda ids, chosen, hidden, replaced, seen: ids.masked_fill(
                    ~(hidden | replaced), -100
                )
            ),
        ),
        Mistake(
            "asked-for-what-is-read",
            "The targets were taken from what the model reads: where `[MASK]` stands, `[MASK]` is "
            "the right answer.",
            "Take the targets from `ids`, before anything is written over them.",
            _hide(ask=lambda ids, chosen, hidden, replaced, seen: seen.masked_fill(~chosen, -100)),
        ),
        Mistake(
            "asked-at-the-others",
            "The pieces that were not chosen are asked for, and the chosen ones are not.",
            "`masked_fill` fills where its mask is True, so it needs `~chosen`.",
            _hide(ask=lambda ids, chosen, hidden, replaced, seen: ids.masked_fill(chosen, -100)),
        ),
        Mistake(
            "zero-for-nothing",
            "Where nothing is asked for stands 0. That is a piece like the others, `[PAD]`, and the "
            "model would learn to write it.",
            "-100, which the cross-entropy leaves out.",
            _hide(ask=lambda ids, chosen, hidden, replaced, seen: ids.masked_fill(~chosen, 0)),
        ),
        Mistake(
            "always-mask",
            "Every chosen piece became `[MASK]`.",
            "One in ten is replaced, one in ten left alone: look at `how`.",
            _by(lambda ids, special, chance, how, share: (
                (chance < share) & ~special, (chance < share) & ~special, special & ~special
            )),
        ),
        Mistake(
            "never-left-alone",
            "No chosen piece is left alone: those that do not become `[MASK]` are all replaced.",
            "Replace from 0.9 on, not from 0.8.",
            _by(lambda ids, special, chance, how, share: (
                (chance < share) & ~special,
                (chance < share) & ~special & (how < 0.8),
                (chance < share) & ~special & (how >= 0.8),
            )),
        ),
        Mistake(
            "never-replaced",
            "No chosen piece is replaced by another.",
            "From 0.9 on, the piece at this place in `pieces` is read.",
            _hide(
                read=lambda ids, chosen, hidden, replaced, pieces, mask_id: ids.masked_fill(
                    hidden, mask_id
                )
            ),
        ),
        Mistake(
            "tenths-exchanged",
            "Pieces between 0.8 and 0.9 were replaced and those above left alone. It is as many of "
            "each, but the docstring says it the other way round.",
            "Replace from 0.9 on.",
            _by(lambda ids, special, chance, how, share: (
                (chance < share) & ~special,
                (chance < share) & ~special & (how < 0.8),
                (chance < share) & ~special & (how >= 0.8) & (how < 0.9),
            )),
        ),
        Mistake(
            "replaced-without-being-chosen",
            "Pieces that were never chosen are replaced by others, a tenth of the whole text.",
            "`chosen & (how >= 0.9)`.",
            _by(lambda ids, special, chance, how, share: (
                (chance < share) & ~special, (chance < share) & ~special & (how < 0.8), how >= 0.9
            )),
        ),
        Mistake(
            "masked-without-being-chosen",
            "Pieces that were never chosen became `[MASK]`, four fifths of the whole text.",
            "`chosen & (how < 0.8)`.",
            _by(lambda ids, special, chance, how, share: (
                (chance < share) & ~special, how < 0.8, (chance < share) & ~special & (how >= 0.9)
            )),
        ),
        Mistake(
            "special-chosen",
            "Special pieces and padding were chosen like others.",
            "`(chance < share) & ~special`.",
            _by(lambda ids, special, chance, how, share: _parts(chance < share, how)),
        ),
        Mistake(
            "special-inverted",
            "Only special pieces and padding were chosen.",
            "`special` is True at what must *not* be chosen: `& ~special`.",
            _by(lambda ids, special, chance, how, share: _parts((chance < share) & special, how)),
        ),
        Mistake(
            "only-padding-spared",
            "Padding was left alone, but `[CLS]` and `[SEP]` were chosen like pieces of the text.",
            "Use `special`; it is True at all three.",
            _by(lambda ids, special, chance, how, share: _parts((chance < share) & (ids != 0), how)),
        ),
        Mistake(
            "the-others-chosen",
            "Pieces whose chance is above the share were chosen: 85 % of the text.",
            "`chance < share`.",
            _by(lambda ids, special, chance, how, share: _parts((chance >= share) & ~special, how)),
        ),
        Mistake(
            "share-fixed",
            "15 % stands in your code; how many are chosen is an argument.",
            "`chance < share`.",
            _by(lambda ids, special, chance, how, share: _parts((chance < 0.15) & ~special, how)),
        ),
        Mistake(
            "mask-number-fixed",
            "The number of `[MASK]` stands in your code. Another vocabulary has another.",
            "Use `mask_id`.",
            lambda ids, special, chance, how, pieces, mask_id, share: mask_tokens(
                ids, special, chance, how, pieces, MASK, share
            ),
        ),
        Mistake(
            "one-number-for-both",
            "`how` has no effect: the number by which a piece was chosen also decided what happened "
            "to it.",
            "What happens to a chosen piece depends on its `how`.",
            _by(lambda ids, special, chance, how, share: (
                _parts((chance < share) & ~special, chance / share)
            )),
        ),
        Mistake(
            "first-text-for-all",
            "The special pieces of the first text were taken for those of all texts.",
            "Do not index the batch away: `special` has a row for each text.",
            lambda ids, special, chance, how, pieces, mask_id, share: mask_tokens(
                ids, special[:1].expand_as(special), chance, how, pieces, mask_id, share
            ),
        ),
    ),
)  # fmt: skip


# --- masked_lm_loss ---------------------------------------------------------------------------


def masked_lm_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of a masked language model: at the pieces that are asked for and nowhere else.

    logits: (batch, length, pieces); targets: (batch, length), the right piece, or -100 where nothing
    is asked for. Gives the mean of -log p(right piece) over all pieces of the batch that are asked
    for, in nats, as a tensor without axes; if none is, 0 with a gradient of zeros.
    """
    # BEGIN SOLUTION
    asked = targets != -100
    nats = F.cross_entropy(logits[asked], targets[asked], reduction="sum")
    return nats / asked.sum().clamp(min=1)
    # END SOLUTION


def _targets(draw: Draw, pieces: int, *rows: str) -> Tensor:
    """Targets of texts: ``x`` is asked for, ``.`` is not."""
    return torch.tensor(
        [[draw.integer(0, pieces) if place == "x" else -100 for place in row] for row in rows]
    )


def _lm_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the loss is the mean of -log p over the hidden pieces",
        {"logits": draw.normal(1, 3, 4) * 2, "targets": _targets(draw, 4, "x.x")},
        hint="Take the softmax of the first and of the last row of logits, and minus the logarithm "
        "of the right piece's probability in each. Divide by 2, not by 3.",
    )
    yield Case(
        "a hidden piece may be alone",
        {"logits": draw.normal(1, 4, 5) * 2, "targets": _targets(draw, 5, ".x..")},
    )
    yield Case(
        "each hidden piece of a batch counts alike",
        {"logits": draw.normal(2, 5, 3) * 2, "targets": _targets(draw, 3, "xx.xx", "...x.")},
        hint="Five pieces are asked for, four of them in the first text.",
    )
    yield Case(
        "as many places as pieces change nothing",
        {"logits": draw.normal(3, 3, 3) * 2, "targets": _targets(draw, 3, "x..", ".x.", "xx.")},
    )
    yield Case(
        "a text in which nothing is asked for adds nothing",
        {"logits": draw.normal(3, 2, 4), "targets": _targets(draw, 4, "..", "x.", "xx")},
    )
    yield Case(
        "large logits do not overflow",
        {"logits": draw.normal(1, 3, 4) * 3 + 200, "targets": _targets(draw, 4, "x.x")},
        hint="exp(200) is too large for a 32-bit number. `log_softmax` subtracts the largest logit "
        "first.",
    )
    yield Case(
        "where nothing is asked for at all, the loss is 0",
        {"logits": draw.normal(2, 3, 4), "targets": _targets(draw, 4, "...", "...")},
        gradients=("logits",),
        hint="The mean of nothing is 0/0. What is to come out is 0, and a gradient of zeros.",
    )
    yield Case(
        "the dtype of the input is kept, and the gradient flows back",
        {
            "logits": draw.normal(2, 3, 5, dtype=torch.float64),
            "targets": _targets(draw, 5, "x.x", ".x."),
        },
        gradients=("logits",),
    )


def _at(logits: Any, targets: Any) -> Any:
    """-log p of the pieces that are asked for, in a row, and how many there are at least."""
    asked = targets != -100
    return F.cross_entropy(logits[asked], targets[asked], reduction="none"), asked


def _mean(numbers: Any) -> Any:
    return numbers.sum() / max(1, len(numbers))


def _each_text(logits: Any, targets: Any) -> Any:
    asked = targets != -100
    nats = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(dim=1)
    return (nats / asked.sum(dim=1).clamp(min=1)).sum() / asked.any(dim=1).sum().clamp(min=1)


def _picked(logits: Any, targets: Any) -> Any:
    """The number at the right piece, of each place that is asked for."""
    asked = targets != -100
    return logits[asked].gather(1, targets[asked].unsqueeze(1)).squeeze(1)


MASKED_LM_LOSS = Exercise(
    solution=masked_lm_loss,
    title="The loss at the hidden pieces",
    difficulty=2,
    minutes=12,
    points=2,
    goal="Measure how well a model finds what was hidden: the cross-entropy at the pieces that are "
    "asked for. All other places, six of seven, take no part: not in the sum, and not in the number "
    "that it is divided by.",
    shapes="`logits` (batch, length, pieces), `targets` (batch, length) with -100 where nothing is "
    "asked for → one number, a tensor without axes.",
    example="Two places, three pieces, the targets -100 and 0. The logits at the second place are "
    "$(\\ln 2, 0, 0)$: the right piece has the probability $2/(2+1+1) = 0.5$, and the loss is "
    "$-\\ln 0.5 = 0.693$, whatever the logits at the first place are.",
    section="bert-loss",
    explanation="`logits[asked]` picks the rows that are asked for, and with them the number to "
    "divide by. In a model the picking comes earlier: the page's `loss` picks the *states* and never "
    "computes the other logits, which gives the same number for a seventh of the work. The sum of no "
    "numbers is 0, and dividing it by at least 1 leaves it 0 where `mean` would say NaN.",
    start="Which places are asked for? Pick their logits and their targets with a mask of True and "
    "False; what is left is an ordinary cross-entropy.",
    more="`asked = targets != -100`, then `F.cross_entropy(logits[asked], targets[asked], "
    "reduction=\"sum\")`, divided by their number, but by at least 1.",
    cases=_lm_cases,
    mistakes=(
        Mistake(
            "nan-for-nothing",
            "Where nothing is asked for, the loss is NaN: a mean over no pieces is 0/0. One such "
            "batch, and the mean loss of the whole epoch is NaN.",
            "Take the sum and divide by their number, but by at least 1.",
            lambda logits, targets: F.cross_entropy(logits.transpose(1, 2), targets),
        ),
        Mistake(
            "divided-by-all-places",
            "The sum was divided by the number of all places. The fewer are hidden, the smaller the "
            "loss and the gradient.",
            "Divide by the number of targets that are not -100.",
            lambda logits, targets: _at(logits, targets)[0].sum() / targets.numel(),
        ),
        Mistake(
            "divided-by-texts",
            "The sum was divided by the number of texts.",
            "Divide by the number of targets that are not -100.",
            lambda logits, targets: _at(logits, targets)[0].sum() / len(targets),
        ),
        Mistake(
            "sum-for-mean",
            "This is the sum over all hidden pieces: a batch with twice as many has twice the loss.",
            "Divide by their number.",
            lambda logits, targets: _at(logits, targets)[0].sum(),
        ),
        Mistake(
            "each-text-alike",
            "You took a mean for each text, and the mean of these: a piece that is hidden alone "
            "counts for more than one of many.",
            "One mean over all hidden pieces of the batch.",
            _each_text,
        ),
        Mistake(
            "nothing-taken-for-a-piece",
            "-100 was taken for piece 0: the model is asked for `[PAD]` wherever nothing was hidden.",
            "Leave these places out; do not give them a target.",
            lambda logits, targets: F.cross_entropy(
                logits.transpose(1, 2), targets.clamp(min=0)
            ),
        ),
        Mistake(
            "nothing-taken-for-a-piece-in-the-sum",
            "-100 was taken for piece 0 in the sum, and left out of the number that it is divided by.",
            "Leave these places out of both.",
            lambda logits, targets: F.cross_entropy(
                logits.transpose(1, 2), targets.clamp(min=0), reduction="sum"
            ) / (targets != -100).sum().clamp(min=1),
        ),
        Mistake(
            "asked-where-seen",
            "The loss is taken where the targets are -100.",
            "`targets != -100` are the places that are asked for.",
            lambda logits, targets: _mean(
                F.cross_entropy(
                    logits.transpose(1, 2), targets.clamp(min=0), reduction="none"
                )[targets == -100]
            ),
        ),
        Mistake(
            "softmax-before-the-loss",
            "A softmax went over the logits before `cross_entropy`, which has its own.",
            "Give it the logits as they are.",
            lambda logits, targets: _mean(_at(logits.softmax(dim=-1), targets)[0]),
        ),
        Mistake(
            "no-softmax",
            "These are the logits of the right pieces with a minus, and no probability is in it: the "
            "loss has no lower bound.",
            "`log_softmax` over the pieces first, or `cross_entropy` for `nll_loss`.",
            lambda logits, targets: _mean(-_picked(logits, targets)),
        ),
        Mistake(
            "no-logarithm",
            "These are probabilities with a minus, not their logarithms.",
            "The logarithm of the softmax: `log_softmax`.",
            lambda logits, targets: _mean(-_picked(logits.softmax(dim=-1), targets)),
        ),
        Mistake(
            "sign",
            "The loss is negative: training would make the right pieces less probable.",
            "*Minus* log p.",
            lambda logits, targets: -masked_lm_loss(logits, targets),
        ),
        Mistake(
            "overflow",
            "exp overflows at logits around 89: infinity divided by infinity is NaN.",
            "`torch.log_softmax`, or `logsumexp`, subtracts the largest first.",
            lambda logits, targets: _mean(
                -_picked((logits.exp() / logits.exp().sum(dim=-1, keepdim=True)).log(), targets)
            ),
        ),
        Mistake(
            "softmax-over-the-places",
            "The softmax runs over the places of the text: each piece of the vocabulary shares out 1 "
            "among them.",
            "Over the pieces of the vocabulary, the last axis.",
            lambda logits, targets: _mean(-_picked(logits.log_softmax(dim=1), targets)),
        ),
        Mistake(
            "softmax-over-the-batch",
            "The softmax runs over the texts of the batch.",
            "Over the pieces of the vocabulary, the last axis.",
            lambda logits, targets: _mean(-_picked(logits.log_softmax(dim=0), targets)),
        ),
        Mistake(
            "reshape-for-transpose",
            "The logits were reshaped where they should have been transposed, so that a prediction "
            "is made up of pieces of different places.",
            "`logits.transpose(1, 2)`, or pick the rows: `logits[asked]`.",
            lambda logits, targets: F.cross_entropy(
                logits.reshape(len(logits), logits.shape[2], logits.shape[1]),
                targets,
                reduction="sum",
            ) / (targets != -100).sum().clamp(min=1),
        ),
        Mistake(
            "bits",
            "These are bits, logarithms to the base 2.",
            "Nats: the natural logarithm.",
            lambda logits, targets: masked_lm_loss(logits, targets) / math.log(2),
        ),
        Mistake(
            "perplexity",
            "This is the perplexity, e to the loss.",
            "Leave the last `exp` out.",
            lambda logits, targets: masked_lm_loss(logits, targets).exp(),
        ),
        Mistake(
            "errors-counted",
            "You counted wrong answers. That has no slope, and no gradient can improve it.",
            "The mean of -log p of the right piece.",
            lambda logits, targets: _mean(
                (logits.argmax(dim=-1) != targets)[targets != -100].to(logits.dtype)
            ),
        ),
        Mistake(
            "one-for-each-place",
            "This is a loss for each place; asked for is one number for the batch.",
            "Add up, and divide by the number of hidden pieces.",
            lambda logits, targets: F.cross_entropy(
                logits.transpose(1, 2), targets, reduction="none"
            ),
        ),
        Mistake(
            "one-for-each-hidden-piece",
            "This is a loss for each hidden piece; asked for is their mean.",
            "Add up, and divide by their number.",
            lambda logits, targets: _at(logits, targets)[0],
        ),
        Mistake(
            "first-text-only",
            "Only the first text was asked.",
            "All texts of the batch.",
            lambda logits, targets: masked_lm_loss(logits[:1], targets[:1]),
        ),
        Mistake(
            "shifted",
            "Each place was asked for the next place's piece, as in a left-to-right model. Here the "
            "piece that stands there was hidden, and the model answers in its place.",
            "Logits and targets at the same place.",
            lambda logits, targets: masked_lm_loss(logits[:, :-1], targets[:, 1:]),
        ),
    ),
)  # fmt: skip


# --- pretraining_loss -------------------------------------------------------------------------


def read_both_sides(ids: Tensor, vectors: Tensor, places: Tensor) -> Tensor:
    """The states of a very small BERT: every place looks at every place, once.

    ids: (batch, length); vectors: (pieces, width), of pieces; places: (longest, width), of places.
    Gives (batch, length, width).
    """
    states = vectors[ids] + places[: ids.shape[1]]
    scores = states @ states.transpose(1, 2) / math.sqrt(states.shape[-1])
    return states + torch.softmax(scores, dim=-1) @ states


def pretraining_loss(
    ids: Tensor, chosen: Tensor, vectors: Tensor, places: Tensor, mask_id: int
) -> Tensor:
    """One step of BERT's training up to its loss: hide, read, ask.

    ids: (batch, length), the texts; chosen: bool (batch, length), the pieces to hide, at least one.
    The model, `read_both_sides`, reads the texts with `mask_id` in place of the chosen pieces. The
    logits of a place are the dot products of its state with the vectors of all pieces. Gives the
    mean of -log p over the chosen pieces, as a tensor without axes.
    vectors: (pieces, width); places: (longest, width).
    """
    # BEGIN SOLUTION
    #: hidden = ids
    #: hidden[chosen] = mask_id
    #: states = read_both_sides(hidden, vectors, places)
    #: logits = states @ vectors.T
    #: targets = ids.masked_fill(~chosen, -100)
    #: return F.cross_entropy(logits.transpose(1, 2), targets)
    hidden = ids.masked_fill(chosen, mask_id)
    states = read_both_sides(hidden, vectors, places)
    logits = states @ vectors.T
    targets = ids.masked_fill(~chosen, -100)
    return F.cross_entropy(logits.transpose(1, 2), targets)
    # END SOLUTION


def _pretraining(
    draw: Draw, *rows: str, pieces: int = 7, width: int = 3, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """Texts of which the pieces at ``x`` are to be hidden; the last piece is ``[MASK]``."""
    places = len(rows[0])
    return {
        "ids": draw.integers(0, pieces - 1, len(rows), places),
        "chosen": torch.tensor([[place == "x" for place in row] for row in rows]),
        "vectors": draw.normal(pieces, width, dtype=dtype),
        "places": draw.normal(places + 2, width, std=0.5, dtype=dtype),
        "mask_id": pieces - 1,
    }


def _bug_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "a hidden piece is asked for, and not the sign that hides it",
        _pretraining(draw, ".x.", pieces=5, width=2),
        hint="One piece is hidden. Print what the model reads, and what it is asked for.",
    )
    yield Case(
        "the texts are still there after the step",
        _pretraining(draw, "x...", "..x."),
        hint="The next epoch reads the same texts.",
    )
    yield Case(
        "each hidden piece of a batch counts alike",
        _pretraining(draw, "xx.x.", ".....", "...x."),
    )
    yield Case(
        "what is not hidden is not asked for",
        _pretraining(draw, ".x....", "....x.", pieces=9, width=4),
        hint="The model sees ten of the twelve pieces; at these it could copy.",
    )
    yield Case(
        "as many texts as places and numbers change nothing",
        _pretraining(draw, "x..", ".x.", ".xx", pieces=6, width=3),
    )
    yield Case(
        "a text of one piece, hidden",
        _pretraining(draw, "x", pieces=4, width=5),
    )
    yield Case(
        "the dtype of the vectors is kept, and gradients flow to them",
        _pretraining(draw, ".xx.", "x...", width=4, dtype=torch.float64),
        gradients=("vectors", "places"),
    )


def _asked_for_the_sign(
    ids: Tensor, chosen: Tensor, vectors: Tensor, places: Tensor, mask_id: int
) -> Tensor:
    hidden = ids
    hidden[chosen] = mask_id
    logits = read_both_sides(hidden, vectors, places) @ vectors.T
    return F.cross_entropy(logits.transpose(1, 2), ids.masked_fill(~chosen, -100))


def _step(hide: Any = None, read: Any = None, ask: Any = None, loss: Any = None) -> Any:
    """The right step with one of its parts exchanged."""

    def wrong(ids: Any, chosen: Any, vectors: Any, places: Any, mask_id: int) -> Any:
        hidden = ids.masked_fill(chosen, mask_id) if hide is None else hide(ids, chosen, mask_id)
        logits = (read or _logits)(hidden, vectors, places)
        targets = ids.masked_fill(~chosen, -100)
        if ask is not None:
            targets = ask(ids, hidden, chosen)
        return (loss or _plain_loss)(logits, targets)

    return wrong


def _logits(hidden: Any, vectors: Any, places: Any) -> Any:
    return read_both_sides(hidden, vectors, places) @ vectors.T


def _plain_loss(logits: Any, targets: Any) -> Any:
    return F.cross_entropy(logits.transpose(1, 2), targets)


def _from_the_left(ids: Any, vectors: Any, places: Any) -> Any:
    states = vectors[ids] + places[: ids.shape[1]]
    scores = states @ states.transpose(1, 2) / math.sqrt(states.shape[-1])
    later = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
    states = states + torch.softmax(scores.masked_fill(later, -torch.inf), dim=-1) @ states
    return states @ vectors.T


ANSWERS_MASK = (
    "In training the loss falls to almost nothing within minutes, and after it the model fills "
    "every blank with `[MASK]`. Print `ids` before and after the second line, and then the target "
    "of a hidden piece. What is the right answer there, and who has changed it?"
)
ANSWERS_MASK_MORE = (
    "`hidden = ids` makes no copy: both names stand for the same tensor, and what is written into "
    "one is written into the other. Use `hidden = ids.masked_fill(chosen, mask_id)`, which makes a "
    "new one, or begin with `ids.clone()`."
)

PRETRAINING_LOSS = Exercise(
    solution=pretraining_loss,
    title="The model that answers [MASK]",
    difficulty=2,
    minutes=12,
    points=2,
    goal="Somebody has written a step of BERT's training. It runs, nothing complains, and the loss "
    "falls faster than anybody had hoped. Then the model is asked to fill a blank, *a man ▢ a "
    "ladder*, and its answer is `[MASK]`; so it is in every text. Find out why, and repair the "
    "function.",
    shapes="`ids` (batch, length), `chosen` bool (batch, length), `vectors` (pieces, width), "
    "`places` (longest, width), `mask_id` a number → one number, a tensor without axes.",
    example="The text `1 3 2`, of which the second piece is chosen, and 4 for `[MASK]`. The model "
    "reads `1 4 2`; it is asked for 3 at the second place, and for nothing else. If all five "
    "vectors are zero, every piece has the probability 1/5 and the loss is $\\ln 5 = 1.609$.",
    section="bert-loss",
    explanation="`hidden = ids` gives a tensor a second name. The assignment to `hidden[chosen]` "
    "then changes the texts themselves, and the targets, which are made from them three lines later, "
    "are `[MASK]` wherever something was hidden. The model learns to answer the sign with the sign, "
    "which is easy, since it stands in the input. There is further damage: the data set keeps its "
    "holes, and in the next epoch there are more. Three symptoms of such a bug: a loss that falls too "
    "fast, one answer for everything, and texts that differ from what was read from the disk.",
    start=ANSWERS_MASK,
    more=ANSWERS_MASK_MORE,
    cases=_bug_cases,
    given=(read_both_sides,),
    mistakes=(
        Mistake(
            "asked-for-the-sign",
            ANSWERS_MASK,
            ANSWERS_MASK_MORE,
            _asked_for_the_sign,
        ),
        Mistake(
            "asked-for-what-is-read",
            "The texts stay as they are now, but the targets still come from what the model reads: "
            "the right answer at a blank is `[MASK]`.",
            "Make the targets from `ids`, not from `hidden`.",
            _step(ask=lambda ids, hidden, chosen: hidden.masked_fill(~chosen, -100)),
        ),
        Mistake(
            "everything-asked",
            "Every piece is asked for. Most of them stand in the input, so the model learns to copy, "
            "and the loss says little about what was hidden.",
            "-100 as the target wherever nothing is hidden.",
            _step(ask=lambda ids, hidden, chosen: ids),
        ),
        Mistake(
            "everything-read-asked",
            "Every place is asked for what stands there to be read, `[MASK]` included: this is "
            "copying and nothing else.",
            "The targets are the pieces of `ids`, where they were hidden, and -100 elsewhere.",
            _step(ask=lambda ids, hidden, chosen: hidden),
        ),
        Mistake(
            "asked-where-seen",
            "The places that are *not* hidden are asked for.",
            "`masked_fill` fills where its mask is True: `~chosen`.",
            _step(ask=lambda ids, hidden, chosen: ids.masked_fill(chosen, -100)),
        ),
        Mistake(
            "nothing-hidden",
            "The model reads the text as it is. The answer stands where it is asked for.",
            "Read `hidden`, with `mask_id` in place of the chosen pieces.",
            _step(hide=lambda ids, chosen, mask_id: ids),
        ),
        Mistake(
            "the-others-hidden",
            "Everything but the chosen pieces is hidden, and the chosen ones are asked for: the "
            "answer stands in the input, and nothing else does.",
            "`masked_fill(chosen, mask_id)`, without `~`.",
            _step(hide=lambda ids, chosen, mask_id: ids.masked_fill(~chosen, mask_id)),
        ),
        Mistake(
            "everything-hidden",
            "All pieces are hidden, so that there is nothing left to guess from.",
            "Put `mask_id` where `chosen` is True and nowhere else.",
            _step(hide=lambda ids, chosen, mask_id: torch.full_like(ids, mask_id)),
        ),
        Mistake(
            "zero-for-the-sign",
            "Hidden pieces are read as piece 0, not as `[MASK]`.",
            "Put `mask_id` in their place.",
            _step(hide=lambda ids, chosen, mask_id: ids.masked_fill(chosen, 0)),
        ),
        Mistake(
            "zero-for-nothing",
            "Where nothing is hidden, the model is asked for piece 0.",
            "-100 is the target that asks for nothing.",
            _step(ask=lambda ids, hidden, chosen: ids.masked_fill(~chosen, 0)),
        ),
        Mistake(
            "divided-by-all-places",
            "The sum is divided by the number of all places.",
            "Divide by the number of chosen pieces; `F.cross_entropy` does it by itself.",
            _step(
                loss=lambda logits, targets: F.cross_entropy(
                    logits.transpose(1, 2), targets, reduction="none"
                ).mean()
            ),
        ),
        Mistake(
            "sum-for-mean",
            "This is the sum over the hidden pieces.",
            "Their mean: divide by their number.",
            _step(
                loss=lambda logits, targets: F.cross_entropy(
                    logits.transpose(1, 2), targets, reduction="sum"
                )
            ),
        ),
        Mistake(
            "each-text-alike",
            "You took a mean for each text first: a piece that is hidden alone counts for more than "
            "one of several.",
            "One mean over all hidden pieces.",
            _step(loss=_each_text),
        ),
        Mistake(
            "first-text-only",
            "Only the first text was asked.",
            "All texts of the batch.",
            lambda ids, chosen, vectors, places, mask_id: pretraining_loss(
                ids[:1], chosen[:1], vectors, places, mask_id
            ),
        ),
        Mistake(
            "softmax-before-the-loss",
            "A softmax went over the logits before `cross_entropy`, which has its own.",
            "Give it the logits as they are.",
            _step(
                loss=lambda logits, targets: _plain_loss(logits.softmax(dim=-1), targets)
            ),
        ),
        Mistake(
            "reshape-for-transpose",
            "The logits were reshaped where they should be transposed.",
            "`logits.transpose(1, 2)`, as it was.",
            _step(
                loss=lambda logits, targets: F.cross_entropy(
                    logits.reshape(len(logits), logits.shape[2], logits.shape[1]), targets
                )
            ),
        ),
        Mistake(
            "next-piece-asked",
            "Each place is asked for the piece behind it, as in a left-to-right model.",
            "Logits and targets at the same place.",
            _step(
                loss=lambda logits, targets: _plain_loss(
                    logits[:, :-1], targets[:, 1:]
                )
            ),
        ),
        Mistake(
            "left-side-only",
            "The model reads only what stands before a piece. The bug is elsewhere, and without the "
            "right side this is no BERT.",
            "Leave `read_both_sides` as it is.",
            _step(read=_from_the_left),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="14_bert",
    title="BERT",
    opening="What to hide, what to ask, and what goes wrong when both are the same tensor: the "
    "training of BERT without the model.",
    exercises=(MASK_TOKENS, MASKED_LM_LOSS, PRETRAINING_LOSS),
)
