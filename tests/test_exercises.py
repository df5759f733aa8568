"""The checks themselves are checked: right answers of every style pass, wrong ones get their hint.

Each file in `banks` has answers to the exercise of its name. Functions and classes whose names
begin with `right_` must pass; those whose names begin with `wrong_` must fail, with the hint that
the rest of the name says.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from attnbook.exercises import chapters, exercises
from attnbook.exercises.definition import PRACTICE, PRELUDE, source_of, stub_of
from attnbook.exercises.judge import GENERAL, NOTHING, attempt
from attnbook.exercises.probes import pack
from classroom import bank

BANKS = Path(__file__).parent / "banks"
SEEDS = (PRACTICE, "first", "second")
NAMES = tuple(exercises())


# Inputs differ between seeds, and each hint has to be right for all of them. Two show nearly all
# that three show; of a training, which takes seconds, one.
all_seeds = pytest.mark.parametrize(
    "others",
    [False, pytest.param(True, marks=pytest.mark.exhaustive)],
    ids=["quick", "other-seeds"],
)


def seeds_for(exercise, others=False):
    quick = 1 if any(case.long for case in exercise.drawn()) else 2
    return SEEDS[quick:] if others else SEEDS[:quick]


def namespace(exercise):
    names: dict[str, Any] = {}
    exec(PRELUDE, names)
    for given in exercise.given:
        exec(source_of(given), names)
    return names


def test_there_are_enough_exercises():
    assert len(NAMES) >= 24
    for chapter in chapters():
        assert len(chapter.exercises) >= 2, chapter.name
    assert {c.number for c in chapters()} >= {2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14}


def test_each_bank_has_an_exercise():
    assert {p.stem for p in BANKS.glob("*.py")} == set(NAMES)


def refused(exercise, seeds):
    """Right answers that do not pass."""
    return [
        f"{style}, seed {seed}: {found.mistake}\n{found.want}\n{found.got}"
        for style, answer in bank(exercise.name)[0].items()
        for seed in seeds
        if not (found := attempt(exercise, answer, seed)).passed
    ]


def told(exercise, seeds):
    """What wrong answers are told, by what they should be told and the seed; None for a pass."""
    return [
        (mistake, seed, found.mistake and found.mistake.name)
        for mistake, answer in bank(exercise.name)[1].items()
        for seed in seeds
        for found in [attempt(exercise, answer, seed)]
    ]


def confused(exercise, seeds):
    """Known mistakes that are taken for another, or for none."""
    return [
        (mistake.name, seed, found.mistake and found.mistake.name)
        for mistake in exercise.mistakes
        if mistake.wrong is not None
        for seed in seeds
        for found in [attempt(exercise, mistake.wrong, seed)]
        if found.passed or found.mistake is None or found.mistake.name != mistake.name
    ]


@all_seeds
@pytest.mark.parametrize("name", NAMES)
def test_right_answers_of_every_style_pass(name, others):
    exercise = exercises()[name]
    right = bank(name)[0]
    assert len(right) >= 4
    assert refused(exercise, seeds_for(exercise, others)) == []


@all_seeds
@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_fail_with_their_own_hint(name, others, record_property):
    exercise = exercises()[name]
    wrong = bank(name)[1]
    assert len(wrong) >= 15
    found = told(exercise, seeds_for(exercise, others))
    amiss = [(mistake, seed, said) for mistake, seed, said in found if said != mistake]
    rejected = sum(said is not None for *_, said in found)
    # See conftest.py.
    record_property("bank", [name, len(wrong), len(found), rejected, len(found) - len(amiss)])
    assert amiss == []


@all_seeds
@pytest.mark.parametrize("name", NAMES)
def test_each_known_mistake_is_told_from_all_others(name, others):
    exercise = exercises()[name]
    names = [m.name for m in exercise.mistakes]
    assert not {k for k, n in Counter(names).items() if n > 1}
    assert not set(names) & ({m.name for m in GENERAL} | {NOTHING})
    for mistake in exercise.mistakes:
        assert (mistake.wrong is None) != (mistake.sign is None), mistake.name
        assert mistake.hint != mistake.more
    assert confused(exercise, seeds_for(exercise, others)) == []


def test_the_tests_own_chapter_is_one_like_those_of_the_course(own_chapter):
    """What the grading's tests take for granted of it."""
    for exercise in own_chapter.exercises:
        assert refused(exercise, SEEDS) == []
        assert confused(exercise, SEEDS) == []
        assert [found for found in told(exercise, SEEDS) if found[0] != found[2]] == []
        names = namespace(exercise)
        exec(stub_of(exercise.solution), names)
        found = attempt(exercise, names[exercise.name])
        assert found.mistake is not None
        assert found.mistake.name == NOTHING


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_runs_where_the_package_is_not(name):
    exercise = exercises()[name]
    source = source_of(exercise.solution)
    assert "attnbook" not in source
    names = namespace(exercise)
    exec(source, names)
    assert attempt(exercise, names[name], "elsewhere").passed


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_fails_with_the_first_hint(name):
    exercise = exercises()[name]
    names = namespace(exercise)
    exec(stub_of(exercise.solution), names)
    found = attempt(exercise, names[name], PRACTICE)
    assert not found.passed
    assert found.mistake is not None
    assert exercise.repair or found.mistake.name == NOTHING
    assert found.mistake.hint.endswith(exercise.start)
    assert found.mistake.more == exercise.more


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_same_for_the_same_seed_and_others_for_another(name):
    exercise = exercises()[name]

    def drawn(seed):
        return [pack(case.inputs) for case in exercise.drawn(seed)]

    assert drawn("one") == drawn("one")
    assert drawn("one") != drawn("two")


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_says_what_a_learner_needs(name):
    exercise = exercises()[name]
    assert exercise.solution.__doc__
    assert exercise.difficulty in (1, 2, 3)
    assert exercise.minutes > 0
    assert exercise.points > 0
    for part in ("title", "goal", "shapes", "example", "section", "explanation", "start", "more"):
        assert getattr(exercise, part).strip(), part
    for case in exercise.drawn():
        assert case.holds[0].islower() or case.holds[0] in "`<0123456789", case.holds
        assert not case.holds.endswith("."), case.holds
