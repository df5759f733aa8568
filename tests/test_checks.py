"""What a learner meets: a check, its card, a stronger hint, and the progress that is kept."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attnbook.exercises import chapter, check, exercise, exercises, hint, progress
from attnbook.exercises.definition import Case, Draw, Exercise, Mistake, stub_of
from attnbook.exercises.judge import attempt, expected, judge, run, show
from attnbook.exercises.probes import (
    Outcome,
    Unknown,
    as_values,
    from_values,
    observe,
    pack,
    unpack,
)
from attnbook.exercises.record import place
from classroom import OWN

pytestmark = pytest.mark.usefixtures("own_chapter")


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNBOOK_PROGRESS", str(tmp_path / "folder" / "progress.json"))


def pair_products(queries, keys):
    return torch.einsum("btw,bsw->bts", queries, keys)


# --------------------------------------------------------------------------------- check and hint


def test_a_pass_says_what_holds_and_is_kept():
    report = check(pair_products)
    assert report.passed
    said = repr(report)
    assert said.startswith("Products of pairs: passed, 2 points")
    assert "✓ sentences of a batch do not meet" in said
    assert "✗" not in said
    assert progress(OWN).points == 2
    assert "✓ Products of pairs (2)" in repr(progress())
    assert "<td" in progress()._repr_html_()


def test_a_failure_shows_the_input_what_was_expected_and_a_hint():
    def pair_products(queries, keys):
        return -queries @ keys.transpose(1, 2)

    report = check(pair_products)
    assert not report.passed
    said = repr(report)
    assert "First that failed: an entry is the product of one query and one key" in said
    case = exercise("pair_products").drawn()[0]
    assert f"queries = {show(case.inputs['queries'])}" in said
    assert f"expected: {show(case.inputs['queries'] @ case.inputs['keys'].mT)}" in said
    assert "Hint: The sign is turned around" in said
    assert "Leave out the minus" not in said
    assert "Leave out the minus" in repr(hint(pair_products))
    assert repr(hint("pair_products")) == repr(hint(pair_products))
    page = report._repr_html_()
    assert "<details" in page
    assert "The sign is turned around" in page
    assert "Leave out the minus" in page
    assert progress(OWN).points == 0


def test_html_of_a_result_is_text():
    def pair_products(queries, keys):
        raise ValueError("<script>alert(1)</script>")

    page = check(pair_products)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_later_failure_does_not_take_a_pass_back():
    assert check(pair_products).passed
    later = check(lambda queries, keys: queries, "pair_products")
    assert not later.passed
    assert repr(later).startswith("Products of pairs: not yet (passed before; ")
    assert progress(OWN).points == 2


def test_a_hint_before_the_first_check_is_the_first_one(monkeypatch):
    monkeypatch.setattr("attnbook.exercises._last", {})
    assert repr(hint("masked_mean")) == exercise("masked_mean").start


def test_a_hint_after_a_pass_points_to_the_page():
    check(pair_products)
    assert "passed" in repr(hint("pair_products"))
    assert "<div" in hint("pair_products")._repr_html_()


def test_what_cannot_be_checked_is_refused(as_user):
    with pytest.raises(TypeError, match="the function itself, without brackets"):
        check(torch.zeros(1))  # type: ignore[arg-type]  # the test is that this is refused
    with pytest.raises(ValueError, match="there is no exercise 'sum'"):
        check(sum)
    with pytest.raises(ValueError, match="did you mean pair_products"):
        check(pair_products, "pair_product")
    with pytest.raises(ValueError, match="the package's own"):
        check(exercise("pair_products").solution)
    with pytest.raises(ValueError, match="no chapter 99"):
        progress(99)


def test_a_lambda_has_to_say_which_exercise_it_answers():
    assert check(lambda queries, keys: queries @ keys.mT, "pair_products").passed
    with pytest.raises(ValueError, match="a function written with lambda has no name"):
        check(lambda queries, keys: queries @ keys.mT)


def test_an_interrupt_is_the_learners():
    def pair_products(queries, keys):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(pair_products)


def test_an_unreadable_record_is_set_aside():
    place().parent.mkdir(parents=True)
    place().write_text("not JSON", encoding="utf-8")
    assert progress().points == 0
    assert place().with_suffix(".unreadable").read_text(encoding="utf-8") == "not JSON"
    assert check(pair_products).passed
    assert list(json.loads(place().read_text(encoding="utf-8"))["passed"]) == ["pair_products"]


def test_a_record_that_cannot_be_written_does_not_spoil_a_check(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("ATTNBOOK_PROGRESS", str(tmp_path / "file" / "progress.json"))
    assert check(pair_products).passed


def test_chapters_are_found_by_number_and_name():
    assert chapter(5) is chapter("5") is chapter("05") is chapter("05_dot_attention")
    assert all(e.chapter == "05_dot_attention" for e in chapter(5).exercises)
    assert all(e.chapter == OWN for e in chapter(40).exercises)


# ----------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -1.5, "text", [], (), {}, [1, (2, {"a": [None]})],
        torch.arange(6).reshape(2, 3), torch.zeros(0, 2), torch.tensor(2.5, dtype=torch.float64),
        torch.tensor([True, False]), {"x": [torch.ones(2), torch.ones(2)]},
    ],
)  # fmt: skip
def test_values_come_back_as_they_were(value):
    back = unpack(pack(value))
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_infinities_and_strange_things_survive_or_are_named():
    assert unpack(pack(float("inf"))) == float("inf")
    assert np.isnan(unpack(pack(float("nan"))))
    for value, name in (
        (object(), "object"), ({1, 2}, "set"), (np.zeros(2), "numpy.ndarray"), (1j, "complex"),
    ):  # fmt: skip
        back = unpack(pack(value))
        assert isinstance(back, Unknown)
        assert back == name
    assert unpack(pack(torch.ones(3).expand(2, 3))).tolist() == torch.ones(2, 3).tolist()


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\x00" * 8, b"\xff" * 16, (1 << 60).to_bytes(8, "little") + b"{}",
     pack([1])[:12]],
)  # fmt: skip
def test_bytes_that_are_no_value_are_refused(data):
    with pytest.raises(ValueError, match="not a packed value"):
        unpack(data)


def test_outcomes_come_back_and_forged_ones_do_not():
    outcome = Outcome(torch.ones(2), "", ("x",), {"x": torch.zeros(1), "y": None}, False)
    assert repr(from_values(unpack(pack(as_values(outcome))))) == repr(outcome)
    forgeries: list[Any] = [
        None, [], {}, {"value": 1}, as_values(outcome) | {"error": 3},
        as_values(outcome) | {"changed": [1]}, as_values(outcome) | {"gradients": {"x": 1}},
        as_values(outcome) | {"attached": "yes"},
    ]  # fmt: skip
    for forged in forgeries:
        with pytest.raises(ValueError, match="not an outcome"):
            from_values(forged)


def test_a_probe_sees_edits_gradients_and_exceptions():
    x = torch.ones(2, 2)

    def edits(x):
        x[0] = 5.0
        return x.sum(0)

    found = observe(edits, {"x": x}, ("x",))
    assert found.changed == ("x",)
    assert x.tolist() == [[1, 1], [1, 1]]
    found = observe(lambda x: x * 2, {"x": x}, ("x",))
    assert found.gradients["x"] is not None
    assert found.gradients["x"].shape == (2, 2)
    assert observe(lambda x: x.detach(), {"x": x}, ("x",)).attached is False
    assert observe(lambda x: 1 / 0, {"x": x}).error.startswith("ZeroDivisionError")
    assert observe(lambda: None, {"x": x}).error.startswith("TypeError")


def test_a_module_gets_its_parameters():
    class Line(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(width))

        def forward(self, x):
            return x * self.weight

    inputs = {
        "make": {"width": 2},
        "parameters": {"weight": torch.tensor([2.0, 3.0])},
        "call": {"x": torch.ones(2)},
    }
    assert observe(Line, inputs, probe="module").value.tolist() == [2, 3]
    inputs["parameters"] = {"scale": torch.ones(2)}
    assert observe(Line, inputs, probe="module").value == {"parameters": {"weight": [2]}}


# -------------------------------------------------------------------------------------- the judge


def twice(x):
    """Twice."""
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION


def _halved(x):
    """Half."""
    # BEGIN SOLUTION
    return x / 2
    # END SOLUTION


def made(**changes):
    """A small exercise of our own."""
    settings: dict[str, Any] = {
        "solution": twice, "title": "Twice", "difficulty": 1, "minutes": 1, "points": 1,
        "goal": "g", "shapes": "s", "example": "e", "section": "x", "explanation": "y",
        "start": "Multiply.", "more": "By 2.",
        "cases": lambda draw: [
            Case("two rows", {"x": draw.normal(2, 3)}),
            Case("a batch of one", {"x": draw.normal(1, 3)}),
            Case("floats of 64 bits", {"x": draw.normal(3, dtype=torch.float64)}, ("x",)),
        ],
        "mistakes": (Mistake("thrice", "Three?", "Two.", lambda x: 3 * x),),
    }  # fmt: skip
    return Exercise(**(settings | changes))


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda x: x + x, None),
        (lambda x: None, "nothing-returned"),
        (lambda x: ..., "nothing-returned"),
        (lambda x: x + x + x, "thrice"),
        (lambda x: (2 * x).tolist(), "other-kind"),
        (lambda x: (2 * x).numpy(force=True), "other-kind"),
        (lambda x: (2 * x).float(), "dtype-fixed"),
        (lambda x: (2 * x).squeeze(), "squeezed"),
        (lambda x: (2 * x)[..., :2], "other-shape"),
        (lambda x: (2 * x).detach(), "detached"),
        (lambda x: x + x.detach(), "other-gradient"),
        (lambda x: (2 * x).flip(0), "order-lost"),
        (lambda x: 2 * x / 0, "not-a-number"),
        (lambda x: 2 * x + 0.5, "property-fails"),
        (lambda x: x.mul_(2), "edits-its-input"),
        (lambda x: x.nothing, "raises"),
    ],
)
def test_general_faults_have_names(answer, mistake):
    verdict = attempt(made(), answer)
    assert (verdict.mistake and verdict.mistake.name) == mistake


def test_an_exception_is_shown_with_its_line_and_what_helps():
    def twice(x):
        doubled = 2 * x
        return doubld + doubled

    found = attempt(made(), twice)
    assert found.got == "NameError: name 'doubld' is not defined (line 3 of twice)"
    assert found.mistake is not None
    assert "misspelled" in found.mistake.more
    found = attempt(made(), lambda x: x @ torch.ones(7, 2))
    assert found.mistake is not None
    assert "Two matrices do not fit" in found.mistake.more
    found = attempt(made(), lambda x: x + torch.ones(7))
    assert found.mistake is not None
    assert "Two shapes do not fit" in found.mistake.more


def test_a_way_back_that_fails_is_told_from_a_result_that_does():
    def overwritten(x):
        e = x.exp()
        e[0] = 0.0
        return e

    one = made(cases=lambda draw: [Case("exp", {"x": draw.normal(3)}, ("x",))], mistakes=())
    found = attempt(one, overwritten)
    assert found.mistake is not None
    assert "modified by an inplace operation" in found.mistake.hint
    assert "result itself is right" in found.mistake.more
    repaired = made(
        solution=_halved,
        cases=lambda draw: [Case("half", {"x": torch.zeros(2)}, ("x",))],
        mistakes=(),
    )
    found = attempt(repaired, lambda x: torch.where(x == 0, x / 2, x / x))
    assert found.mistake is not None
    assert found.mistake.name == "gradient-not-a-number"
    assert "nan" in found.got


def test_where_large_results_differ_is_said():
    one = made(cases=lambda draw: [Case("all", {"x": torch.ones(4, 5)})], mistakes=())
    wrong = torch.full((4, 5), 2.0)
    wrong[1, 3] = 7.0
    assert attempt(one, lambda x: wrong).got.endswith("they first differ at [1, 3]: 2 and 7")


def test_what_explains_only_a_part_is_said_to_be_a_guess():
    """Three times, but for one of the inputs."""
    found = attempt(made(), lambda x: 3 * x if len(x) == 2 else 2.5 * x)
    assert found.mistake is not None
    assert found.mistake.name == "thrice"
    assert found.mistake.hint.startswith("Perhaps this")


def test_a_second_mistake_does_not_hide_the_first():
    """Three times, and a batch of one squeezed: the first is said first."""
    verdict = attempt(made(), lambda x: (3 * x).squeeze())
    assert verdict.mistake is not None
    assert verdict.mistake.name == "thrice"
    assert dict(verdict.properties)["two rows"] is False


def test_long_cases_wait_for_the_others():
    tried = []

    def cases(draw):
        yield Case("small", {"x": draw.normal(2)})
        yield Case("large", {"x": torch.ones(7)}, accept=lambda v: v.sum() == 14, long=True)

    def answer(x):
        tried.append(len(x))
        return 2 * x if len(tried) < 3 else x

    one = made(cases=cases, mistakes=())
    assert attempt(one, answer).passed
    assert tried == [2, 7]
    verdict = attempt(one, answer)
    assert tried == [2, 7, 2]
    assert verdict.properties == (("small", False), ("large", None))
    with pytest.raises(ValueError, match="needs `accept`"):
        Case("long", {}, long=True)


def test_a_solution_that_fails_is_an_error_of_ours():
    def broken(x):
        """Broken."""
        # BEGIN SOLUTION
        return x.nothing
        # END SOLUTION

    with pytest.raises(RuntimeError, match="broken: the solution fails"):
        expected(made(solution=broken))


def test_a_sign_can_recognize_a_mistake():
    sign = Mistake("small", "h", "m", sign=lambda cases, wanted, got: got[0].value.sum() == 0)
    found = attempt(made(mistakes=(sign,)), lambda x: x * 0)
    assert found.mistake is not None
    assert found.mistake.name == "small"


def test_numbers_lists_and_tuples_are_compared_by_meaning():
    def pair(x):
        """Pair."""
        # BEGIN SOLUTION
        return x.sum().item(), [1, 2], x
        # END SOLUTION

    one = made(solution=pair, mistakes=(), cases=lambda draw: [Case("all", {"x": draw.normal(2)})])
    assert attempt(one, lambda x: (x.sum(), torch.tensor([1, 2]), x.clone())).passed
    assert attempt(one, lambda x: [x.sum().item(), (1, 2), x]).passed
    found = attempt(one, lambda x: (x, [1, 2], x.sum().item()))
    assert found.mistake is not None
    assert found.mistake.name == "results-swapped"
    found = attempt(one, lambda x: (x.sum(), [1, 3], x))
    assert found.mistake is not None
    assert found.mistake.name == "property-fails"


def test_tensors_in_place_of_lists_have_their_shape():
    def table(x):
        """Table."""
        # BEGIN SOLUTION
        return [[1, 2], [3, 4]]
        # END SOLUTION

    one = made(solution=table, mistakes=(), cases=lambda draw: [Case("all", {"x": draw.normal(2)})])
    right = torch.tensor([[1, 2], [3, 4]])
    assert attempt(one, lambda x: right).passed
    for other in (right.flatten(), right.unsqueeze(0), right.float(), torch.ones(0), right[:1]):
        assert not attempt(one, lambda x, other=other: other).passed


def test_a_small_tensor_that_would_be_many_lists_costs_little():
    """Sixteen axes of length 1 make sixteen lists of each number, for each known mistake."""
    one = next(e for e in chapter(3).exercises if e.name == "greedy_search")
    cases, wanted = expected(one)
    assert isinstance(wanted[0].value, (list, tuple))
    bomb = torch.zeros((1 << 20, *[1] * 15), dtype=torch.bool)
    tracemalloc.start()
    verdict = judge(one, [Outcome(bomb)] * len(cases))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not verdict.passed
    assert most < 1 << 20


def test_stubs_need_their_marks():
    def unmarked():
        """Nothing."""

    with pytest.raises(ValueError, match="no # BEGIN SOLUTION"):
        stub_of(unmarked)
    assert stub_of(twice) == 'def twice(x):\n    """Twice."""\n    ...\n'


def test_draws_are_fixed_numbers():
    """The same on every machine: a change here changes every learner's and every class's inputs."""
    draw = Draw("seed", "name")
    assert draw.normal(3).tolist() == pytest.approx([1.7, 0.0, 0.5])
    assert sorted(draw.permutation(4).tolist()) == [0, 1, 2, 3]
    assert draw.choice("abc") in "abc"
    assert draw.permutation(1).tolist() == [0]
    assert judge(made(), run(made(), twice, made().drawn())).passed


def test_every_exercise_answers_in_under_a_second_of_work():
    """Counted in calls of the solution, not in seconds: few and small inputs."""
    for each in exercises().values():
        cases = each.drawn()
        assert 4 <= len(cases) <= 16, each.name
        small = [c for c in cases if not c.long]
        assert sum(len(pack(c.inputs)) for c in small) < 300_000, each.name
