"""The file of a run's state is always whole and one run's own; signals wait and are given back."""

import os
import signal
import threading
from typing import Any

import pytest
import torch

from attnbook.run_state import Interrupts, StateFile

CPU = torch.device("cpu")
IDENTITY: dict[str, Any] = {
    "pairs": "abc",
    "processes": 1,
    "settings": {"seed": 3, "rate": 0.1},
    "config": {},
}
STATE: dict[str, Any] = {"weights": {"w": torch.arange(3.0)}, "counters": {"step": 7}}


def test_a_state_comes_back_as_it_was_written(tmp_path):
    file = StateFile(tmp_path / "deep" / "er" / "state.pt", IDENTITY)
    assert file.read(CPU) is None
    file.write(STATE)
    kept = file.read(CPU)
    assert kept is not None
    assert kept["counters"] == STATE["counters"]
    assert torch.equal(kept["weights"]["w"], STATE["weights"]["w"])
    assert [path.name for path in file.path.parent.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"pairs": "abd", "settings": {"seed": 4, "rate": 0.1}}, "other pairs;"),
        ({"processes": 2}, "other processes;"),
        ({"settings": {"seed": 4, "rate": 0.2}}, "other seed, rate;"),
        ({"settings": {"seed": 3, "rate": 0.2}}, "other rate;"),
        ({"settings": {"seed": 4, "rate": 0.1}, "config": {"cell": "gru"}}, "other seed, cell;"),
    ],
)
def test_the_state_of_another_run_is_refused(tmp_path, other, named):
    StateFile(tmp_path / "state.pt", IDENTITY).write(STATE)
    with pytest.raises(ValueError, match=f"a run with {named} give this run another folder"):
        StateFile(tmp_path / "state.pt", IDENTITY | other).read(CPU)


@pytest.mark.parametrize("missing", ["weights", "counters"])
def test_a_file_of_something_else_is_refused(tmp_path, missing):
    file = StateFile(tmp_path / "state.pt", IDENTITY)
    file.write({name: one for name, one in STATE.items() if name != missing})
    with pytest.raises(ValueError, match=r"state\.pt is not the state of a run of attnbook"):
        file.read(CPU)


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_file_that_is_not_whole_is_refused(tmp_path, cut):
    file = StateFile(tmp_path / "state.pt", IDENTITY)
    file.write(STATE)
    file.path.write_bytes(file.path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not the whole state of a run"):
        file.read(CPU)


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises, also where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_a_second_one_raises(ctrl_c, number):
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(wait=True) as interrupts:
        assert not interrupts.arrived
        os.kill(os.getpid(), number)
        assert interrupts.arrived
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    assert signal.getsignal(signal.SIGTERM) is before


def test_handlers_are_given_back_after_an_error(ctrl_c):
    with pytest.raises(ZeroDivisionError), Interrupts(wait=True):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is ctrl_c


def test_who_does_not_wait_changes_nothing(ctrl_c):
    with Interrupts(wait=False), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_ignored(ctrl_c):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts(wait=True) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupts.arrived
        assert signal.getsignal(signal.SIGTERM) == interrupts._note


def test_another_thread_leaves_signals_alone(ctrl_c):
    seen = []

    def work():
        with Interrupts(wait=True):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [ctrl_c]
