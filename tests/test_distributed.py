"""Two processes train what one would have trained."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from attnbook import checkpoints
from attnbook.distributed import ALONE, Team, team

# A small translator and a small corpus; the batches are those of one process.
TRAIN = shlex.split(
    "train --data grammar --grammar-pairs 300 --grammar-words 3 8 --decoder luong --score general "
    "--embedding-dim 8 --hidden-dim 12 --epochs 3 --batch-tokens 150 --seed 1 --device cpu"
)


def command(processes: int, output: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", f"--nproc-per-node={processes}"]
        start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m"]
    return [*start, "attnbook", *TRAIN, "--output", str(output), *more]


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if "RANK" not in name}
    return own | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def run(processes: int, output: Path, *more: str) -> str:
    done = subprocess.run(
        command(processes, output, *more),
        env=environment(), cwd=output.parent, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_processes_reach_the_loss_of_one(tmp_path: Path) -> None:
    """On the same global batches, without dropout, which each process draws for itself."""
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    run(1, one, "--dropout", "0", "--quiet")
    said = run(2, two, "--dropout", "0")
    assert said.count("attnbook: epoch 3: training") == 1  # one process speaks for both
    assert "1 more processes" in said
    cards = [checkpoints.read_card(path) for path in (one, two)]
    for name in ("training_loss", "validation_loss"):
        losses = [card["best_epoch"][name] for card in cards]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    weights = [checkpoints.load(path).state_dict() for path in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)


def test_a_killed_run_of_two_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """With dropout: the random numbers of both processes are kept as well."""
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    options = ("--dropout", "0.2", "--keep-every", "10", "--quiet", "--epochs", "20")
    run(2, whole, *options)
    process = subprocess.Popen(
        command(2, cut, *options), env=environment(), cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    state = tmp_path / "runs" / "cut" / "state.pt"
    for _ in range(2400):
        if state.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # torchrun hands it on to both
    process.wait()
    assert state.exists()
    assert not cut.exists(), "it was killed too late to tell"
    assert "going on" in run(2, cut, *options)
    first, second = (checkpoints.load(path).state_dict() for path in (whole, cut))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=0)


def test_another_number_of_processes_is_another_run(tmp_path: Path) -> None:
    output = tmp_path / "model.safetensors"
    process = subprocess.Popen(
        command(1, output, "--keep-every", "5", "--quiet", "--epochs", "200"),
        env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    state = tmp_path / "runs" / "model" / "state.pt"
    for _ in range(1200):
        if state.exists():
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = subprocess.run(
        command(2, output, "--keep-every", "5", "--quiet", "--epochs", "200"),
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode != 0
    assert "belongs to a run with other numbers of processes" in done.stderr


def test_a_share_is_every_nth_item() -> None:
    shares = [Team(rank, 3).share(range(8)) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert sorted(n for share in shares for n in share) == list(range(8))


def test_nobody_has_to_be_asked_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team() as found:
        assert found is ALONE
        assert found.leads
        assert found.total(1.5, 2.0) == [1.5, 2.0]
        assert found.gather("state") == ["state"]
        assert not distributed.is_initialized()


MEMBER = """
import json, sys
from attnbook.distributed import team
with team() as found:
    result = [found.rank, found.leads, found.total(1, found.rank), found.gather(found.rank * 10)]
    open(f"{sys.argv[1]}-{found.rank}.json", "w").write(json.dumps(result))
"""


def test_two_processes_add_up_and_hand_round(tmp_path: Path) -> None:
    script = tmp_path / "member.py"
    script.write_text(MEMBER)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
         "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(script), str(tmp_path / "r")],
        env=environment(), check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    results = [json.loads((tmp_path / f"r-{rank}.json").read_text()) for rank in range(2)]
    assert results == [
        [0, True, [2, 1], [0, 10]],
        [1, False, [2, 1], [0, 10]],
    ]
