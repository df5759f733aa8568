"""Grades one submission: runs its functions in the sandbox and judges what comes back outside.

A function is run on inputs drawn from the instructor's seed, which decide. Only where they find a
fault it is run once more, in another sandbox that has never seen those, on the inputs of the
learner's own notebook; what a learner is shown, the input, the numbers expected and got, is taken
from there. So no hidden input is written down anywhere. What a learner does get to know of them is
whether an answer is right, and where only they find a fault, which property it is; code that is
made for it can say a bit or two by failing in one way or another.
"""

from __future__ import annotations

import builtins
import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attnbook.exercises.definition import PRACTICE, PRELUDE, Exercise, source_of
from attnbook.exercises.judge import GENERAL, STOPPED, Verdict, expected, judge
from attnbook.exercises.probes import Outcome, as_values, from_values, pack, unpack
from attnbook.exercises.report import inputs_in_words
from attnbook.grading.sandbox import Answer, CancelledError, Limits, NoSandboxError, Sandbox
from attnbook.grading.submissions import Refused, Submission, code_cells

__all__ = ["Grade", "Graded", "Grader", "digest"]


@dataclass(frozen=True)
class Grade:
    """What one exercise of one submission got.

    Attributes:
        exercise: its name.
        points: earned, all or none.
        of: points that it is worth.
        mistake: the name of what is wrong; empty if nothing is.
        hint: for the learner.
        more: the stronger hint.
        properties: each property, and whether it holds.
        example: lines that show where it fails, on an input that is no secret.
    """

    exercise: str
    points: float
    of: float
    mistake: str = ""
    hint: str = ""
    more: str = ""
    properties: tuple[tuple[str, bool | None], ...] = ()
    example: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graded:
    """What one submission got.

    Attributes:
        learner: whose it is.
        path: which notebook.
        digest: of the notebook and of all that its grade depends on.
        refused: why nothing in it could be graded; empty otherwise.
        grades: one for each exercise of the assignment that the notebook could have.
    """

    learner: str
    path: str
    digest: str
    refused: str = ""
    grades: tuple[Grade, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Graded:
        """The reverse of :meth:`as_dict`."""

        def grade(read: dict[str, Any]) -> Grade:
            properties = tuple((name, holds) for name, holds in read["properties"])
            return Grade(**(read | {"properties": properties, "example": tuple(read["example"])}))

        grades = tuple(map(grade, values["grades"]))
        return cls(**(values | {"grades": grades}))


def digest(data: bytes, seed: str, points: dict[str, float], unsafe: bool = False) -> str:
    """What tells whether a grade is still good: the notebook, the seed, the exercises, the code.

    To the code belong torch, NumPy and Python; a grade made without a sandbox is another one.
    """
    total = hashlib.sha256(data)
    total.update(f"\0{seed}\0{sorted(points.items())}\0{unsafe}\0{_own_digest()}".encode())
    return total.hexdigest()


@cache
def _own_digest() -> str:
    here = Path(__file__).parent
    versions = (torch.__version__, np.__version__, platform.python_version())
    total = hashlib.sha256("\0".join(versions).encode())
    for path in sorted([*here.glob("*.py"), *here.parent.joinpath("exercises").glob("*.py")]):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Ran:
    """What came of running a notebook's cells on the inputs of one seed.

    Attributes:
        verdict: None where the function is absent or could not be defined.
        absent: the notebook does not define the name.
        broken: why the code cannot be run, in words.
        notes: which cells were left out, in words.
    """

    verdict: Verdict | None = None
    absent: bool = False
    broken: str = ""
    notes: tuple[str, ...] = ()


class Grader:
    """Grades submissions one after the other, with two sandboxes.

    Args:
        exercises: the assignment.
        points: for each exercise; one that is missing has its own.
        seed: that hidden inputs are drawn from.
        unsafe: without a sandbox; see :class:`attnbook.grading.sandbox.Sandbox`.
        container: in the sandbox of a container's root; see there, too.
    """

    def __init__(
        self,
        exercises: Sequence[Exercise],
        seed: str,
        points: dict[str, float] | None = None,
        unsafe: bool = False,
        container: bool = False,
    ) -> None:
        if not seed or seed == PRACTICE:
            raise ValueError("the seed must be a secret text, not empty and not the learners' own")
        self.exercises = tuple(exercises)
        self.points = {e.name: float((points or {}).get(e.name, e.points)) for e in self.exercises}
        self.seed = seed
        self.unsafe = unsafe
        self.hidden, self.practice = Sandbox(unsafe, container), Sandbox(unsafe, container)

    def close(self) -> None:
        """End the sandboxes."""
        self.hidden.close()
        self.practice.close()

    def cancel(self) -> None:
        """End the sandboxes although another thread may be grading; it gets an exception."""
        self.hidden.cancel()
        self.practice.cancel()

    def digest(self, data: bytes) -> str:
        """See :func:`digest`."""
        return digest(data, self.seed, self.points, self.unsafe)

    def grade(self, submission: Submission) -> Graded:
        """Grade one notebook. Whatever is wrong with it, there is a result.

        Raises:
            CancelledError: :meth:`cancel` was called.
            NoSandboxError: there is none any more.
        """
        try:
            return self._grade(submission)
        except (CancelledError, NoSandboxError):
            raise
        except Exception as error:  # one notebook is no reason not to grade the others
            why = f"the notebook could not be graded: {type(error).__name__}"
            return Graded(submission.learner, submission.path, "", why)

    def _grade(self, submission: Submission) -> Graded:
        try:
            data = submission.read()
        except (Refused, OSError) as error:
            return Graded(submission.learner, submission.path, "", str(error))
        key = self.digest(data)
        try:
            cells = code_cells(data)
        except Refused as error:
            return Graded(submission.learner, submission.path, key, str(error))
        grades = tuple(
            grade for e in self.exercises if (grade := self.grade_one(e, cells)) is not None
        )
        if not grades:
            missing = "none of the exercises' functions is defined in the notebook"
            return Graded(submission.learner, submission.path, key, missing)
        return Graded(submission.learner, submission.path, key, "", grades)

    def grade_one(self, exercise: Exercise, cells: Sequence[str]) -> Grade | None:
        """Grade one exercise; None if the notebook does not define it."""
        of = self.points[exercise.name]
        ran = self._run(self.hidden, exercise, cells, self.seed)
        if ran.verdict is not None and ran.verdict.got == _ENDED["sandbox"]:
            # Whether it was this code that ended it, or the machine, a second one will show.
            self.hidden.close()
            ran = self._run(self.hidden, exercise, cells, self.seed)
        if ran.absent:
            return None
        if ran.broken:
            # Which exception it is might be chosen by what the hidden inputs are.
            known = self._run(self.practice, exercise, cells, PRACTICE)
            why = " ".join([known.broken or "Your function could not be defined.", *known.notes])
            return Grade(exercise.name, 0.0, of, "cannot-be-run", why, _RUN_ALONE)
        verdict = ran.verdict
        assert verdict is not None
        if verdict.passed:
            return Grade(exercise.name, of, of, properties=verdict.properties)
        # Not a second time what takes long, or takes the sandbox with it.
        if verdict.got == _ENDED["time"]:
            return Grade(exercise.name, 0.0, of, "too-slow", *_TOO_SLOW, verdict.properties)
        if verdict.got == _ENDED["sandbox"]:
            return Grade(exercise.name, 0.0, of, "ends-its-process", *_ENDS, verdict.properties)
        return _explained(
            exercise, of, verdict, self._run(self.practice, exercise, cells, PRACTICE)
        )

    def _run(self, sandbox: Sandbox, exercise: Exercise, cells: Sequence[str], seed: str) -> Ran:
        """Run the cells and judge what one seed's inputs give."""
        cases, _ = expected(exercise, seed)
        outcomes: list[Outcome | None] = [None] * len(cases)
        ran = Ran()
        for long in (False, True):
            places = [i for i, case in enumerate(cases) if case.long is long]
            if not places:
                continue
            answer = sandbox.run(
                cells,
                exercise.name,
                PRELUDE + "".join(source_of(g) for g in exercise.given),
                [(cases[i].inputs, cases[i].gradients) for i in places],
                exercise.probe,
                Limits(
                    seconds=exercise.seconds,
                    wall=2.0 * exercise.seconds + 4.0,
                    output=_most(exercise, seed),
                ),
            )
            first = _value(answer, 0)
            if isinstance(first, dict) and first.get("absent") is True:
                return Ran(absent=True)
            if isinstance(first, dict) and isinstance(first.get("broken"), str):
                return Ran(broken=_broken(first["broken"]), notes=_notes(_passed_over(first)))
            for n, i in enumerate(places):
                outcomes[i] = _outcome(_value(answer, n), answer.ended)
            notes = _notes(_passed_over(_value(answer, len(places))))
            ran = Ran(_judged(exercise, outcomes, seed), notes=notes)
            assert ran.verdict is not None
            if not ran.verdict.passed:
                break
        return ran


@lru_cache(maxsize=512)
def _most(exercise: Exercise, seed: str) -> int:
    """How many bytes an answer may send back: eight times what the solution sends, and a megabyte.

    What has to be read and judged outside costs memory and time by its size. What a training sends
    is not compared with the solution's, and has the usual limit.
    """
    cases, outcomes = expected(exercise, seed)
    if any(case.accept for case in cases):
        return Limits().output
    return (1 << 20) + 8 * sum(len(pack(as_values(outcome))) for outcome in outcomes)


_RUN_ALONE = (
    "Restart the kernel and run the notebook from the top: a definition that the function needs "
    "may be missing, or stand in a cell that is gone."
)

_TOO_SLOW = (
    "Your code was stopped because it did not end in time.",
    "Look for a loop whose condition stays true, and for work that is done again for each number.",
)

_ENDS = (
    "Your code ended the process that ran it.",
    "Return a result; do not call `exit`, and leave other processes alone.",
)

# What ended a process, in words for its learner.
_ENDED = {
    "time": "OutOfTime: your code took too long and was stopped",
    "size": "TooMuch: your code returned far more than was asked for",
    "sandbox": "StoppedEarly: your code ended the process that ran it",
}


def _judged(exercise: Exercise, outcomes: list[Outcome | None], seed: str) -> Verdict:
    try:
        return judge(exercise, outcomes, seed)
    except Exception:  # a value made so that comparing it fails is no right answer
        wrong = [None if o is None else Outcome(error="ValueError: unreadable") for o in outcomes]
        return judge(exercise, wrong, seed)


def _value(answer: Answer, place: int) -> Any:
    try:
        return unpack(answer.frames[place])
    except (IndexError, ValueError):
        return None


def _outcome(values: Any, ended: str) -> Outcome:
    try:
        return from_values(values)
    except ValueError:
        return Outcome(error=_ENDED[ended]) if ended in _ENDED else STOPPED


# Names of exceptions that may be passed on: others, and all messages, are the learner's own words.
_KNOWN = {
    name
    for name, thing in vars(builtins).items()
    if isinstance(thing, type) and issubclass(thing, BaseException)
}


def _kind(name: object) -> str:
    return name if isinstance(name, str) and name in _KNOWN else "an exception"


def _passed_over(value: object) -> list[tuple[int, str]]:
    """Cells of which a statement failed, by number, and the exception's name."""
    found = value.get("passed_over") if isinstance(value, dict) else None
    pairs = found[:3] if isinstance(found, list) else []
    return [
        (pair[0], _kind(pair[1]))
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int)
    ]


def _broken(kind: str) -> str:
    return f"Your function could not be defined: {_kind(kind)}."


def _notes(passed_over: list[tuple[int, str]]) -> tuple[str, ...]:
    """A sentence for each cell that was left out, and why something cannot be imported."""
    notes = [
        f"A statement in code cell {cell} that it needs was left out: {kind}."
        for cell, kind in passed_over
    ]
    if any(kind in ("ModuleNotFoundError", "ImportError") for _, kind in passed_over):
        notes.append(
            "It imports something that is not there: in grading there are torch, NumPy and "
            "Python's own library; `attnbook` itself is not at hand, since it has the solutions."
        )
    return tuple(notes)


def _explained(exercise: Exercise, of: float, hidden: Verdict, practice: Ran) -> Grade:
    """A failed exercise in words; of hidden inputs only names and hints of ours go into it."""
    assert hidden.mistake is not None
    shown = practice.verdict
    if shown is None or shown.passed or shown.case is None or shown.mistake is None:
        hint, more = _safe(exercise, hidden)
        more = " ".join([more, *practice.notes])
        return Grade(exercise.name, 0.0, of, hidden.mistake.name, hint, more, hidden.properties)
    example = (
        f"first that failed: {shown.case.holds}",
        *inputs_in_words(shown.case.inputs),
        *([f"expected: {shown.want}"] if shown.want else []),
        f"got:      {shown.got}",
    )
    found = shown.mistake
    more = " ".join([found.more, *practice.notes])
    return Grade(exercise.name, 0.0, of, found.name, found.hint, more, shown.properties, example)


def _safe(exercise: Exercise, verdict: Verdict) -> tuple[str, str]:
    """Hints that quote nothing of a hidden input or of what came of it.

    The hints that every exercise shares are filled in with shapes, types and messages, which the
    learner's code has in its hand; those of the exercise itself are the same for everybody.
    """
    assert verdict.mistake is not None
    mistake = verdict.mistake
    if mistake.name not in {m.name for m in GENERAL}:
        return mistake.hint, mistake.more
    holds = verdict.case.holds if verdict.case is not None else exercise.title
    return (
        f"All is well on the inputs of your notebook, but not on others of their kind: {holds}.",
        "Try other shapes: one sentence, one word, other lengths, other dtypes, other numbers.",
    )
