"""Compares what a learner's function did with what it should have done, and finds the mistake.

Nothing here runs what a learner wrote. The judge has outcomes, arrays and words, of the learner's
function and of the solution on the same inputs. If they differ it asks, for each misconception
that the exercise knows: would somebody who thinks this have got just these numbers?
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from attnbook.exercises.definition import PRACTICE, Case, Exercise, Mistake
from attnbook.exercises.probes import (
    Outcome,
    Unknown,
    as_values,
    from_values,
    observe,
    pack,
    unpack,
)

__all__ = ["STOPPED", "Verdict", "attempt", "expected", "judge", "run"]


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes:
        exercise: the exercise's name.
        properties: each property and whether it holds, None where that was not found out.
        mistake: what is wrong, with its hints; None if nothing is.
        case: the first case that failed.
        want: what was expected there, in words.
        got: what came, in words.
    """

    exercise: str
    properties: tuple[tuple[str, bool | None], ...]
    mistake: Mistake | None = None
    case: Case | None = None
    want: str = ""
    got: str = ""

    @property
    def passed(self) -> bool:
        """Whether all properties hold."""
        return self.mistake is None


# What every exercise knows, whatever it is about. `{…}` is filled in from what was seen.
NOTHING = "nothing-returned"
_NOTHING = "Nothing is returned yet. (If you have written something, its `return` is missing.)"
RAISES = Mistake(
    "raises",
    "Your code raised an exception: {error}",
    "{remedy} Run your function on the small input above in a cell of its own, to see where.",
)
# What helps with an exception depends on what its text says.
_REMEDIES = (
    (r"NameError|AttributeError|has no attribute", "Compare each name with how it is defined: one "
     "of them is misspelled, or not there."),
    (r"modified by an inplace operation", "The result itself is right. On the way back a number is "
     "needed that was overwritten: make a new tensor, `masked_fill` instead of an assignment."),
    (r"argument", "Compare the call with the signature of what is called."),
    (r"mat1 and mat2|batch2|size mismatch|dot\b", "Two matrices do not fit: the last axis of the "
     "left one has to be as long as the last but one of the right one. Write both shapes down."),
    (r"size of tensor|broadcast|expand|shape", "Two shapes do not fit. Axes are compared from the "
     "last one on, and have to be equally long, or 1. Write both shapes down."),
    (r"index|dimension|Dimension|dim\b", "A place or an axis is asked for that is not there. Write "
     "down the shape of what is indexed."),
)  # fmt: skip
_REMEDY = "Write the shapes down, line by line."
KIND = Mistake(
    "other-kind",
    "{Which} is {got}; asked for is {want}.{why}",
    "Return {want}.{how}",
)
_NO_TENSOR = {
    "why": " NumPy arrays, lists and plain numbers carry no gradient and do not live on a GPU.",
    "how": " Stay with tensors from the arguments to the result.",
}
EDITS = Mistake(
    "edits-its-input",
    "After the call {changed} is not what it was. The caller still needs it: whoever edits a "
    "tensor or a list in place changes it for everybody who holds it.",
    "With tensors, look for methods whose name ends in an underscore, for `+=` and its kin, and for "
    "assignments to a slice; make a new tensor instead (`masked_fill` rather than `masked_fill_`), "
    "or begin with a `clone()`. With lists, look for `append`, `extend` and `insert`; "
    "`[*words, 0]` is a new list.",
)
DTYPE = Mistake(
    "dtype-fixed",
    "The numbers are right and have the wrong dtype: {got} where the input makes it {want}. A "
    "fixed dtype breaks half precision as well as gradient checks.",
    "Make new tensors with the dtype of an argument, for instance `torch.zeros(…, "
    "dtype=x.dtype)` or `x.new_zeros(…)`, and do not call `.float()`.",
)
SQUEEZED = Mistake(
    "squeezed",
    "A dimension of size 1 has gone: {which} has the shape {got} and should have {want}. A "
    "batch of one sentence, or a sentence of one word, is still a batch and a sentence.",
    "`squeeze()` without a number drops every dimension that happens to be 1. Name the one that "
    "you mean: `squeeze(-1)`, or index it away with `[..., 0]`.",
)
SHAPE = Mistake(
    "other-shape",
    "{Which} has the shape {got}; it should have {want}.",
    "Write the shape of each intermediate tensor beside its line, in words (batch, words, width), "
    "and find the first line where the words do not fit.",
)
DETACHED = Mistake(
    "detached",
    "The numbers are right, but no gradient flows back: whatever stands before this function will "
    "never learn.",
    "Something leaves the graph: `detach()`, `.data`, `.item()`, `.tolist()`, `.numpy()`, "
    "`torch.no_grad()`, or a new `torch.tensor(…)` made from numbers.",
)
GRADIENT = Mistake(
    "other-gradient",
    "The numbers are right, but their gradient with respect to {argument} is not: part of the way "
    "back is cut, or goes through another formula.",
    "Look for a part of the calculation that is detached, cut out under `torch.no_grad()`, or "
    "made from numbers instead of tensors.",
)
GRADIENT_NAN = Mistake(
    "gradient-not-a-number",
    "The numbers are right, and their gradient with respect to {argument} is NaN or infinite. On "
    "the way there something like that arose and was repaired afterwards; on the way back it "
    "arises again.",
    "Do not let it arise: treat the case before the softmax, the division or the root, not after "
    "it.",
)
ORDER = Mistake(
    "order-lost",
    "The rows are the right ones in another order: what belongs to one sentence of the batch comes "
    "out at the place of another.",
    "If you sorted, sort back. If you reshaped, check that you did not mean a transpose: `view` "
    "and `reshape` never move a number past its neighbour.",
)
INFINITE = Mistake(
    "not-a-number",
    "There is a NaN or an infinity in the result. Something was divided by zero, or infinity was "
    "subtracted from infinity, or an exponential overflowed.",
    "Find the input that does it: a row in which nothing is allowed, a length of 0, a score of a "
    "hundred. Treat that case before the division, not after it.",
)
SWAPPED = Mistake(
    "results-swapped",
    "The results are right and come in the wrong order.",
    "Read the docstring's last line again, and return them in that order.",
)
SOMETIMES = Mistake(
    "property-fails",
    "This should hold, and here it does not: {property}.",
    "Calculate the small input above on paper, next to the formula on the page, and print the "
    "intermediate results of your function.",
)
GENERAL = (
    RAISES, KIND, EDITS, DTYPE, SQUEEZED, SHAPE, DETACHED, GRADIENT, GRADIENT_NAN, ORDER, INFINITE,
    SWAPPED, SOMETIMES,
)  # fmt: skip


def run(exercise: Exercise, function: Any, cases: Sequence[Case]) -> list[Outcome]:
    """Run a function on all cases in this process. Only for code that is trusted."""
    return [observe(function, c.inputs, c.gradients, exercise.probe) for c in cases]


def attempt(exercise: Exercise, function: Any, seed: str = PRACTICE) -> Verdict:
    """Run a function in this process and judge it; long cases only where all others are right.

    What it returns goes through bytes, as in the grading of a class, so that both see the same.
    """
    cases, _ = expected(exercise, seed)
    outcomes: list[Outcome | None] = [None] * len(cases)
    for long in (False, True):
        for i, case in enumerate(cases):
            if case.long is long:
                (outcome,) = run(exercise, function, [case])
                outcomes[i] = from_values(unpack(pack(as_values(outcome))))
        verdict = judge(exercise, outcomes, seed)
        if not verdict.passed:
            break
    return verdict


@lru_cache(maxsize=512)
def expected(
    exercise: Exercise, seed: str = PRACTICE
) -> tuple[tuple[Case, ...], tuple[Outcome, ...]]:
    """The cases of a seed, and what the solution does with those that it is compared with.

    Kept, because a class is judged many times by the same.
    """
    cases = tuple(exercise.drawn(seed))
    outcomes = tuple(
        Outcome() if case.accept else run(exercise, exercise.solution, [case])[0] for case in cases
    )
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.error:
            raise RuntimeError(
                f"{exercise.name}: the solution fails on {case.holds!r}: {outcome.error}"
            )
    return cases, outcomes


@lru_cache(maxsize=4096)
def _mistaken(exercise: Exercise, mistake: Mistake, seed: str) -> tuple[Outcome, ...]:
    """What a misconception would have made of the compared cases of a seed."""
    cases, _ = expected(exercise, seed)
    return tuple(run(exercise, mistake.wrong, [c for c in cases if c.accept is None]))


#: What stands for an input that the learner's code never answered.
STOPPED = Outcome(error="StoppedEarly: your code ended the process, or ran out of time or memory")


def judge(exercise: Exercise, outcomes: Sequence[Outcome | None], seed: str = PRACTICE) -> Verdict:
    """Judge what a function did with the cases of a seed.

    Args:
        exercise: which exercise.
        outcomes: of the learner's function, in the order of the cases; None for a case that was
            not tried yet. It passes if those that were tried are right.
        seed: that the cases were drawn with.
    """
    cases, wanted = expected(exercise, seed)
    tried = [(c, w, o) for c, w, o in zip(cases, wanted, outcomes, strict=True) if o is not None]
    faults = [_fault(exercise, case, want, outcome) for case, want, outcome in tried]
    holds: dict[str, bool | None] = {}
    found = iter(faults)
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome is None:
            holds.setdefault(case.holds, None)
        else:
            holds[case.holds] = next(found) is None and holds.get(case.holds) is not False
    properties = tuple(holds.items())
    if all(fault is None for fault in faults):
        return Verdict(exercise.name, properties)
    first = next(i for i, fault in enumerate(faults) if fault is not None)
    mistake = _diagnose(exercise, tried, faults, first, seed)
    case, want, outcome = tried[first]
    expected_words, got_words = _shown(want, outcome, faults[first])
    return Verdict(
        exercise.name,
        properties,
        mistake,
        case,
        "" if case.accept else expected_words,
        got_words,
    )


def _diagnose(
    exercise: Exercise,
    tried: Sequence[tuple[Case, Outcome, Outcome]],
    faults: Sequence[Mistake | None],
    first: int,
    seed: str,
) -> Mistake:
    cases, wanted, got = zip(*tried, strict=True)
    if all(_blank(outcome) for outcome in got):
        return Mistake(NOTHING, f"{_NOTHING} {exercise.start}", exercise.more)
    compared = [i for i, case in enumerate(cases) if case.accept is None]
    failing = [i for i in compared if faults[i] is not None]

    def alike(mistake: Mistake) -> set[int]:
        """The inputs with which a misconception does what the learner's function did."""
        theirs = zip(compared, _mistaken(exercise, mistake, seed), strict=True)
        return {i for i, outcome in theirs if _same(exercise, outcome, got[i])}

    # That both raise an exception says little; a misconception has to show in a result.
    telling = {i for i in failing if not got[i].error}
    fits: dict[Mistake, set[int]] = {}
    for mistake in exercise.mistakes if telling else ():
        if mistake.wrong is not None:
            fits[mistake] = alike(mistake)
            if len(fits[mistake]) == len(compared):
                return mistake
    for mistake in exercise.mistakes:
        if mistake.sign is not None and mistake.sign(cases, wanted, got):
            return mistake
    fault = faults[first]
    assert fault is not None
    if fault.name in _CERTAIN:
        return fault
    # Two mistakes at once, or one that our version of it makes a little differently: the one that
    # explains the first telling input, and most of the others.
    if telling:
        explained = {m: len(p) for m, p in fits.items() if min(telling) in p}
        best = max(explained.values(), default=0)
        fitting = [m for m, count in explained.items() if count == best]
        if len(fitting) == 1:
            likely = fitting[0]
            return Mistake(likely.name, f"{_PERHAPS} {likely.hint}", likely.more)
    if fault is SOMETIMES or fault.name == SOMETIMES.name:
        hint = cases[first].hint
        if hint:
            return Mistake(SOMETIMES.name, hint, SOMETIMES.more)
    return fault


_PERHAPS = "Perhaps this, though it does not explain all that came:"
_CERTAIN = {
    "gradient-not-a-number",
    "edits-its-input",
    "dtype-fixed",
    "squeezed",
    "detached",
    "results-swapped",
    "other-kind",
}


def _blank(outcome: Outcome) -> bool:
    """Whether a stub was left as it is: it gives nothing, or stops at an Ellipsis."""
    nothing = outcome.value is None and not outcome.error
    return (
        nothing
        or "ellipsis" in outcome.error.lower()
        or (isinstance(outcome.value, Unknown) and outcome.value == "ellipsis")
    )


def _filled(mistake: Mistake, **words: str) -> Mistake:
    hint, more = mistake.hint, mistake.more
    for key, word in words.items():
        hint, more = hint.replace(f"{{{key}}}", word), more.replace(f"{{{key}}}", word)
    return Mistake(mistake.name, hint, more)


def _fault(exercise: Exercise, case: Case, want: Outcome, got: Outcome) -> Mistake | None:
    """What is wrong with an outcome, as far as can be told without knowing the exercise."""
    if got.error:
        remedies = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, got.error))
        return _filled(RAISES, error=got.error, remedy=next(remedies, _REMEDY))
    if case.accept is not None:
        try:
            accepted = case.accept(got.value)
        except Exception:  # what came is not of the kind that the predicate reads
            accepted = False
        return None if accepted else _filled(SOMETIMES, property=case.holds)
    fault = _difference(exercise, want.value, got.value)
    if fault is SOMETIMES:
        fault = _filled(SOMETIMES, property=case.holds)
    if fault is not None:
        return fault
    if set(got.changed) - set(want.changed):
        names = " and ".join(f"`{n}`" for n in got.changed)
        return _filled(EDITS, changed=names)
    if case.gradients:
        if want.attached and not got.attached:
            return DETACHED
        for name, gradient in want.gradients.items():
            theirs = got.gradients.get(name)
            if theirs is not None and not torch.isfinite(theirs).all():
                return _filled(GRADIENT_NAN, argument=f"`{name}`")
            zero = gradient is None or not bool(gradient.any())
            if theirs is None:
                if not zero:
                    return _filled(GRADIENT, argument=f"`{name}`")
            elif not _close(
                exercise, torch.zeros_like(theirs) if gradient is None else gradient, theirs
            ):
                return _filled(GRADIENT, argument=f"`{name}`")
    return None


_PLACES = ("first", "second", "third", "fourth")


def _difference(
    exercise: Exercise, want: Any, got: Any, which: str = "the result"
) -> Mistake | None:
    """What is wrong with a value; ``which`` says whether it is a part of several."""
    if _matches(exercise, want, got):
        return None
    called = {"which": which, "Which": which.capitalize()}
    several = all(isinstance(value, (list, tuple)) for value in (want, got))
    if _kind(want) != _kind(got) and not (several and len(want) == len(got)):
        more = _NO_TENSOR if isinstance(want, Tensor) else dict.fromkeys(_NO_TENSOR, "")
        return _filled(KIND, want=_kind(want), got=_kind(got), **called, **more)
    if isinstance(want, (list, tuple)) and len(want) == len(got):
        kinds = list(map(_kind, want))
        backwards = list(got)[::-1]
        alike = (_matches(exercise, w, g) for w, g in zip(want, backwards, strict=True))
        if len(want) > 1 and isinstance(want, tuple) and all(alike):
            return SWAPPED
        if any(k == "a tensor" for k in kinds):
            for i, (w, g) in enumerate(zip(want, got, strict=True)):
                place = _PLACES[i] if i < len(_PLACES) else f"{i + 1}th"
                fault = _difference(exercise, w, g, f"the {place} result")
                if fault is not None:
                    return fault
        return SOMETIMES
    if isinstance(want, dict):
        for key in want:
            if key not in got:
                return SOMETIMES
            fault = _difference(exercise, want[key], got[key])
            if fault is not None:
                return fault
        return SOMETIMES
    if not isinstance(want, Tensor):
        return SOMETIMES
    shapes = {"want": str(tuple(want.shape)), "got": str(tuple(got.shape))} | called
    if want.shape != got.shape:
        if want.squeeze().shape == got.squeeze().shape and got.dim() < want.dim():
            return _filled(SQUEEZED, **shapes)
        return _filled(SHAPE, **shapes)
    if want.dtype != got.dtype and _close(exercise, want.float(), got.float()):
        return _filled(DTYPE, want=_plain(want.dtype), got=_plain(got.dtype))
    if got.is_floating_point() and not torch.isfinite(got).all() and torch.isfinite(want).all():
        return INFINITE
    if want.dim() > 1 and len(want) > 1 and want.dtype == got.dtype:
        rows = [next((j for j, w in enumerate(want) if _close(exercise, w, g)), None) for g in got]
        if None not in rows and len(set(rows)) == len(rows):
            return ORDER
    return SOMETIMES


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    if isinstance(value, Unknown):
        return f"a value of the type {value}"
    if isinstance(value, Tensor):
        return "a tensor"
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    return words.get(type(value), f"a {type(value).__name__}")


def _matches(exercise: Exercise, want: Any, got: Any) -> bool:
    """Whether two values are the same, as far as a learner's style is concerned."""
    if isinstance(want, Tensor):
        return isinstance(got, Tensor) and _close(exercise, want, got)
    if isinstance(got, Tensor) and isinstance(want, (bool, int, float)) and got.numel() == 1:
        got = got.item()
    if isinstance(got, Tensor) and isinstance(want, (list, tuple)):
        # Lists of lists of what a tensor holds may be a thousand times as large as the tensor.
        if got.is_floating_point() or tuple(got.shape) != _shape(want):
            return False
        got = got.tolist()
    if isinstance(want, bool) or isinstance(got, bool):
        return isinstance(want, (bool, int)) and want == got
    if isinstance(want, (int, float)) and isinstance(got, (int, float)):
        if isinstance(want, int) and isinstance(got, int):
            return want == got
        relative, absolute = exercise.tolerance
        return abs(got - want) <= absolute + relative * abs(want)
    if isinstance(want, (list, tuple)):
        return (
            isinstance(got, (list, tuple))
            and len(want) == len(got)
            and all(_matches(exercise, w, g) for w, g in zip(want, got, strict=True))
        )
    if isinstance(want, dict):
        return (
            isinstance(got, dict)
            and want.keys() == got.keys()
            and all(_matches(exercise, want[k], got[k]) for k in want)
        )
    return type(want) is type(got) and bool(want == got)


def _shape(value: Any) -> tuple[int, ...]:
    """That of the tensor which lists in lists would make, told by the first of each."""
    if not isinstance(value, (list, tuple)):
        return ()
    return (len(value), *(_shape(value[0]) if value else ()))


def _close(exercise: Exercise, want: Tensor, got: Tensor) -> bool:
    if want.shape != got.shape or want.dtype != got.dtype:
        return False
    if not want.is_floating_point():
        return bool(torch.equal(want, got))
    relative, absolute = exercise.tolerance
    finer = 1e-3 if want.dtype == torch.float64 else 1.0
    return bool(torch.allclose(want, got, relative * finer, absolute * finer, equal_nan=False))


def _same(exercise: Exercise, theirs: Outcome, got: Outcome) -> bool:
    """Whether a learner's outcome is what a misconception gives, errors and NaN included."""
    if theirs.error or got.error:  # which exception it is depends on style
        return bool(theirs.error) and bool(got.error)
    if set(theirs.changed) != set(got.changed) or theirs.attached != got.attached:
        return False
    same = _matches(exercise, _tame(theirs.value), _tame(got.value))
    return same and all(
        _matches(exercise, _tame(g), _tame(got.gradients.get(n)))
        for n, g in theirs.gradients.items()
    )


def _tame(value: Any) -> Any:
    """The same value with numbers for NaN and infinity, so that equality means something."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return torch.nan_to_num(value, nan=1e30, posinf=2e30, neginf=-2e30)
    if isinstance(value, (list, tuple)):
        return type(value)(_tame(v) for v in value)
    if isinstance(value, dict):
        return {k: _tame(v) for k, v in value.items()}
    return value


# ------------------------------------------------------------------------------------- words

LONGEST = 600


def _shown(want: Outcome, got: Outcome, fault: Mistake | None) -> tuple[str, str]:
    """Expected and got, as far as they differ, in words."""
    if got.error:
        return show(want.value), got.error
    name = fault.name if fault else ""
    if name == EDITS.name:
        return "the arguments as they were", ", ".join(got.changed) + " changed"
    if name == DETACHED.name:
        return "a result with a gradient", "a result without one"
    if name in (GRADIENT.name, GRADIENT_NAN.name):
        for argument, gradient in want.gradients.items():
            theirs = got.gradients.get(argument)
            if show(gradient) != show(theirs):
                return f"gradient of {argument}: {show(gradient)}", show(theirs)
    return show(want.value), show(got.value) + _first_difference(want.value, got.value)


def _first_difference(want: Any, got: Any) -> str:
    """Where to look in a tensor that is too large to see at once."""
    if not (isinstance(want, Tensor) and isinstance(got, Tensor)) or want.shape != got.shape:
        return ""
    if want.numel() < 9 or want.dtype != got.dtype or want.dim() > 8:
        return ""
    apart = (want != got) & ~(want.isnan() & got.isnan())
    if want.is_floating_point():
        apart &= ~torch.isclose(want, got, rtol=1e-3, atol=1e-4)
    if not apart.any():
        return ""
    place = tuple(apart.nonzero()[0].tolist())
    text = ", ".join(map(str, place))
    return f"\nthey first differ at [{text}]: {_numbers(want[place])} and {_numbers(got[place])}"


def show(value: Any) -> str:
    """A small value in words: numbers with four digits, shape and dtype where they matter."""
    if isinstance(value, Unknown):
        return f"a value of the type {value}"
    if isinstance(value, Tensor):
        if not value.numel():
            text = "no numbers"
        elif value.numel() > 64 or value.dim() > 8:
            text = f"{tuple(value.shape)} numbers, the first {_numbers(value.flatten()[:8])}"
        else:
            text = _numbers(value)
        return f"{text}   shape {tuple(value.shape)}, {_plain(value.dtype)}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_first(map(show, value)))
        text = f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(_first(f"{k}: {show(v)}" for k, v in value.items())) + "}"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _first(parts: Iterable[str]) -> Iterator[str]:
    """As many parts as are shown: what a learner returns may have any number of them."""
    length = 0
    for part in parts:
        yield part
        length += len(part)
        if length > LONGEST:
            return


def _numbers(tensor: Tensor) -> str:
    if tensor.dim() == 0:
        number = tensor.item()
        return f"{number:.4g}" if isinstance(number, float) else str(number)
    return "[" + ", ".join(_numbers(row) for row in tensor) + "]"
