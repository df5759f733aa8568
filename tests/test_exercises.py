"""The checks themselves are checked: right answers of every style pass, wrong ones get their hint.

Each file in `banks` has answers to the exercise of its name. Functions and classes whose names
begin with `right_` must pass; those whose names begin with `wrong_` must fail, with the hint that
the rest of the name says.
"""

import importlib.util
import inspect
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from attnbook.exercises import chapters, exercises
from attnbook.exercises.definition import PRACTICE, PRELUDE, source_of, stub_of
from attnbook.exercises.judge import GENERAL, NOTHING, attempt
from attnbook.exercises.probes import pack

BANKS = Path(__file__).parent / "banks"
SEEDS = (PRACTICE, "first", "second")
NAMES = tuple(exercises())


@lru_cache
def bank(name):
    spec = importlib.util.spec_from_file_location(f"bank_{name}", BANKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers = {
        k: v
        for k, v in vars(module).items()
        if k.startswith(("right_", "wrong_")) and (inspect.isfunction(v) or inspect.isclass(v))
    }
    right = {k.removeprefix("right_"): v for k, v in answers.items() if k.startswith("right_")}
    wrong = {
        k.removeprefix("wrong_").replace("_", "-"): v
        for k, v in answers.items()
        if k.startswith("wrong_")
    }
    return right, wrong


def namespace(exercise):
    names = {}
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


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_of_every_style_pass(name):
    exercise = exercises()[name]
    right, _ = bank(name)
    assert len(right) >= 4
    # A training takes seconds; wrong answers seldom get that far and are tried on all seeds.
    seeds = SEEDS[:1] if any(case.long for case in exercise.drawn()) else SEEDS
    for style, answer in right.items():
        for seed in seeds:
            found = attempt(exercise, answer, seed)
            assert found.passed, f"{style}, seed {seed}: {found.mistake}\n{found.want}\n{found.got}"


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_fail_with_their_own_hint(name, record_property):
    exercise = exercises()[name]
    _, wrong = bank(name)
    assert len(wrong) >= 15
    killed = hinted = total = 0
    amiss = []
    for mistake, answer in wrong.items():
        for seed in SEEDS:
            found = attempt(exercise, answer, seed)
            total += 1
            killed += not found.passed
            right = not found.passed and found.mistake.name == mistake
            hinted += right
            if not right:
                amiss.append(f"{mistake}, seed {seed}: {found.mistake and found.mistake.name}")
    record_property("bank", [name, len(wrong), total, killed, hinted])  # see conftest.py
    assert not amiss, "\n".join(amiss)


@pytest.mark.parametrize("name", NAMES)
def test_each_known_mistake_is_told_from_all_others(name):
    exercise = exercises()[name]
    names = [m.name for m in exercise.mistakes]
    assert not {k for k, n in Counter(names).items() if n > 1}
    assert not set(names) & ({m.name for m in GENERAL} | {NOTHING})
    # Of a training one seed; the bank above tries all.
    seeds = SEEDS[:1] if any(case.long for case in exercise.drawn()) else SEEDS
    for mistake in exercise.mistakes:
        assert (mistake.wrong is None) != (mistake.sign is None), mistake.name
        assert mistake.hint != mistake.more
        if mistake.wrong is None:
            continue
        for seed in seeds:
            found = attempt(exercise, mistake.wrong, seed)
            assert not found.passed, mistake.name
            assert found.mistake.name == mistake.name, (seed, mistake.name, found.mistake.name)


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
