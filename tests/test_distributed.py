"""Two processes train what one would have trained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from attnbook import checkpoints
from attnbook.__main__ import main
from attnbook.distributed import ALONE, ProcessGroup, process_group
from pair import DROPPING, TRAIN, write_text


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if "RANK" not in name}
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return own | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}


def same_training(one: Path, two: Path) -> None:
    """Up to the order in which numbers are added up."""
    cards = [checkpoints.read_card(path) for path in (one, two)]
    for name in ("training_loss", "validation_loss"):
        losses = [card["best_epoch"][name] for card in cards]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    weights = [checkpoints.load(path).state_dict() for path in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)


def same_weights(one: Path, two: Path) -> None:
    first, second = (checkpoints.load(path).state_dict() for path in (one, two))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=0)


def test_two_processes_do_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They add up, hand round, train without dropout as one does, and survive being killed."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("pair.py")), str(tmp_path)],
        env=environment(), capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    ends = json.loads((tmp_path / "ends.json").read_text())
    assert ends.pop("cut") == [-signal.SIGKILL, -signal.SIGKILL]
    assert set(map(tuple, ends.values())) == {(0, 0)}, done.stderr
    numbers = [json.loads((tmp_path / f"numbers-{rank}.json").read_text()) for rank in range(2)]
    assert numbers == [[0, True, [2, 1], [0, 1]], [1, False, [2, 1], [0, 1]]]
    assert done.stderr.count("best epoch") == 3  # of three trainings, one process speaks for both
    assert done.stderr.count("1 more processes") == 4
    assert done.stderr.count("going on with the run") == 1
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--output", "one", "--dropout", "0", "--quiet"]) == 0
    same_training(tmp_path / "one", tmp_path / "two")
    # With dropout: the random numbers of both processes are kept as well.
    same_weights(tmp_path / "whole", tmp_path / "cut")


# --- started by torchrun --------------------------------------------------------------------------


def command(output: str, *more: str) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "attnbook"]
    return [*start, *TRAIN, "--output", output, *more]


@pytest.mark.exhaustive
def test_torchrun_starts_them_and_hands_on_that_they_are_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text()
    options = (*DROPPING, "--epochs", "200")
    whole = subprocess.run(command("whole", *options), env=environment(), timeout=900)
    assert whole.returncode == 0
    process = subprocess.Popen(
        command("cut", *options), env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    state = tmp_path / "runs" / "cut" / "state.pt"
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # torchrun hands it on to both
    process.wait()
    assert state.exists()
    cut = tmp_path / "cut"  # there, with the best model so far, if an epoch was over
    assert not cut.exists() or checkpoints.read_card(cut)["finished"] is False, (
        "it ended too late to tell"
    )
    again = subprocess.run(
        command("cut", *options), env=environment(), capture_output=True, text=True, timeout=900
    )
    assert "going on" in again.stderr
    same_weights(tmp_path / "whole", tmp_path / "cut")


# --- a process group ------------------------------------------------------------------------------


def test_a_share_is_every_nth_item() -> None:
    shares = [ProcessGroup(rank, 3).shard(range(8)) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert sorted(n for share in shares for n in share) == list(range(8))


def test_nobody_has_to_be_asked_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as found:
        assert found is ALONE
        assert found.is_main
        assert found.all_reduce(1.5, 2.0) == [1.5, 2.0]
        assert found.all_gather("state") == ["state"]
        assert not distributed.is_initialized()
