"""``attnbook benchmark``: what it writes and prints, what it refuses, and that it loses nothing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import asdict, fields
from pathlib import Path

import pytest

import command_line
from attnbook import plots
from attnbook.__main__ import main
from attnbook.benchmark import attention, memory, models, roofline
from attnbook.benchmark.attention import TORCH_ATTENTION
from attnbook.benchmark.plan import MODELS, SECTIONS, Plan
from attnbook.benchmark.run import Benchmark
from small_benchmarks import FLAGS, TINY

PEERS = textwrap.dedent(
    """
    def missing(sizes):
        import no_such_library

    PEERS = {"nobody": missing}
    """
)
ONE_MODEL = [*FLAGS, "--repeat=1", "--models", "additive", "--batching", "random"]
DOT = [*FLAGS, "--repeat=1", "--models", "dot", "--batching", "bucketed"]


# A result of other sizes, as far as it is looked at.
WIDE = {"benchmark": {"plan": asdict(Plan(**TINY | {"hidden_dim": 512}))}, "training": {}}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(roofline, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(memory, "SCORE_SHAPE", (2, 3, 5, 7))
    monkeypatch.setattr(attention, "HEAD_LENGTHS", (3, 5))


@pytest.fixture
def unmeasured(monkeypatch):
    """A run that would measure anything fails the test."""
    monkeypatch.setattr(Benchmark, "run", lambda self: pytest.fail("something was measured"))


def attnbook(capsys, *words):
    return command_line.attnbook(capsys, "benchmark", *words)


def complete(result, names, batchings):
    """Every section has a number for all that it measures."""
    for name in names:
        for batching in batchings:
            training = result["training"][batching]["threads1"][name]
            assert training["low"] <= training["tokens_per_cpu_second"] <= training["high"]
            assert training["tokens_per_second"] > 0
            for kind in ("greedy", "beam"):
                assert result[kind][batching]["threads1"][name]["sentences_per_second"] > 0
            assert result["roofline"][batching][name]["share"] > 0
        assert "peak_mb" in result["memory"][name]
    assert result["memory"]["additive_score"]["speed_ratio"] > 0
    assert set(result["heads"]) == {"3", "5"}
    for entry in result["heads"].values():
        assert entry["torch"]["ratio"] > 0
        assert entry["formula"]["ours"]["calls_per_second"] > 0
    assert set(result["attention"]) >= set(TORCH_ATTENTION)
    assert all(result["attention"][name]["ratio"] > 0 for name in TORCH_ATTENTION)
    assert set(result["levers"]) >= {"unpacked", "once", "tokens"}
    assert all(entry["ratio"] > 0 for entry in result["levers"].values())


# --- what comes out -------------------------------------------------------------------------------


def test_every_section_runs(capsys, tmp_path, monkeypatch):
    """With one model; all of them, each in a process of its own, are in the run below."""
    monkeypatch.setattr(memory, "in_new_process", lambda function, *args: function(*args))
    (tmp_path / "peers.py").write_text(PEERS)
    output, plot = tmp_path / "new" / "speed.json", tmp_path / "speed.svg"
    code, out, err = attnbook(
        capsys, *ONE_MODEL,
        f"--peers={tmp_path / 'peers.py'}", f"--output={output}", f"--plot={plot}",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(output.read_text())
    complete(result, ["additive"], ["random"])
    assert result["runs"][0]["command"].startswith("attnbook benchmark --")
    assert result["runs"][0]["interrupted"] is False
    assert result["benchmark"]["machine"]["cores"] == os.cpu_count()
    assert result["benchmark"]["machine"]["device"] == "cpu"
    assert result["benchmark"]["plan"]["seed"] == 0
    assert result["not_run"] == {}
    assert "nobody" in result["absent"]
    assert "nobody is left out: No module named 'no_such_library'" in err
    assert "the formula" in out
    assert "additive" in out
    assert "in a second of CPU time; 1 thread" in out
    assert "not here: nobody" in out
    assert "Training on one core" in plot.read_text()
    assert sorted(path.name for path in output.parent.iterdir()) == ["speed.json"]


@pytest.mark.exhaustive
def test_a_tiny_run_from_end_to_end(capsys, tmp_path):
    output, plot = tmp_path / "speed.json", tmp_path / "speed.svg"
    names = ["dot", "additive", "fixed"]
    code, _, err = attnbook(
        capsys, *FLAGS, "--models", *names, f"--output={output}", f"--plot={plot}"
    )
    assert code == 0, err
    result = json.loads(output.read_text())
    complete(result, names, ["random", "bucketed"])
    assert 0 <= result["benchmark"]["batches"]["bucketed"]["padding"] < 1
    assert "additive" in plot.read_text()


def test_sections_go_into_an_earlier_result(capsys, tmp_path):
    output = tmp_path / "speed.json"
    few = [*FLAGS, "--models", "dot", f"--output={output}"]
    assert attnbook(capsys, *few, "--only", "greedy")[0] == 0
    before = json.loads(output.read_text())
    assert attnbook(capsys, *few, "--only", "beam", "--batching", "random")[0] == 0
    result = json.loads(output.read_text())
    assert result["greedy"] == before["greedy"]
    assert result["beam"]["random"]["threads1"]["dot"]["rounds"] == 2
    assert result["training"] == {}
    assert result["benchmark"]["plan"] == before["benchmark"]["plan"]
    assert len(result["runs"]) == 2
    assert "--only beam" in result["runs"][1]["command"]


# --- nothing that was measured is lost ------------------------------------------------------------


def interrupted(self, batching):
    raise KeyboardInterrupt


def out_of_memory(self, batching):
    raise RuntimeError("CUDA out of memory")


def test_an_interrupt_keeps_what_was_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(models.BeamSection, "works", interrupted)
    output = tmp_path / "speed.json"
    words = ["--only", "training", "beam", f"--output={output}"]
    code, out, err = attnbook(capsys, *DOT, *words)
    assert code == 130
    assert "interrupted; what was measured so far follows" in err
    result = json.loads(output.read_text())
    assert result["runs"][0]["interrupted"] is True
    assert "dot" in result["training"]["bucketed"]["threads1"]
    assert result["beam"] == {}
    assert "dot" in out


def test_a_section_that_fails_keeps_what_was_measured(capsys, tmp_path, monkeypatch):
    """And the fault is still seen, with its traceback."""
    monkeypatch.setattr(models.BeamSection, "works", out_of_memory)
    output = tmp_path / "speed.json"
    with pytest.raises(RuntimeError, match="out of memory"):
        main(["benchmark", *DOT, "--only", "training", "beam", f"--output={output}"])
    err = capsys.readouterr().err
    assert "RuntimeError: CUDA out of memory; what was measured so far follows" in err
    (run,) = (result := json.loads(output.read_text()))["runs"]
    assert run["failed"] == "RuntimeError: CUDA out of memory"
    assert run["interrupted"] is False
    assert "dot" in result["training"]["bucketed"]["threads1"]


def test_a_full_disk_at_the_end_loses_nothing(capsys, tmp_path, monkeypatch):
    """The result goes to the folder for temporary files; an earlier one stays as it was."""
    output = tmp_path / "speed.json"
    words = [*DOT, "--only", "greedy", f"--output={output}"]
    assert attnbook(capsys, *words)[0] == 0
    before = output.read_text()
    write = Path.write_text

    def full(self, text, **options):
        if self.parent == tmp_path:
            write(self, text[: len(text) // 2], **options)
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    code, out, err = attnbook(capsys, *words)
    assert code == 2
    assert "Sentences translated by greedy search" in out
    rescued = Path(err.split("the result is in ")[1].split(" instead")[0])
    assert f"{output}: No space left on device" in err
    assert len(json.loads(rescued.read_text())["runs"]) == 2
    assert output.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


def test_a_plot_that_fails_leaves_the_result(capsys, tmp_path, monkeypatch):
    save = plots.save

    def full(figure, path):
        if path.parent == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(figure, path)

    monkeypatch.setattr(plots, "save", full)
    output, plot = tmp_path / "speed.json", tmp_path / "speed.svg"
    words = ["--only", "training", f"--output={output}", f"--plot={plot}"]
    code, out, err = attnbook(capsys, *DOT, *words)
    assert code == 2
    assert "speed.svg: No space left on device" in err
    assert "Tokens learned from" in out
    assert json.loads(output.read_text())["training"]["bucketed"]


# --- what is refused before anything is measured --------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repeat=0"], "repeat must be between 1 and"),
        (["--threads", "0"], "threads must be between 1 and 1,024, got 0"),
        (["--hidden-dim=1000000000"], "hidden_dim must be between 1 and 8,192"),
        (["--hidden-dim=1e9"], "argument --hidden-dim: invalid int value: '1e9'"),
        (["--hidden-dim=15", "--models", "transformer"], "heads must divide hidden_dim"),
        (["--beam-size=1"], "beam_size must be between 2 and"),
        (["--dropout=nan"], "dropout must be at least 0 and less than 1"),
        (["--only", "speed"], "argument --only: invalid choice: 'speed'"),
        (["--peers=none.py"], "none.py: No such file"),
        (["--peers=table.csv"], "table.csv cannot be run as Python: SyntaxError"),
        (["--peers=empty.py"], "empty.py must define PEERS"),
        (["--device=cuda:7"], "device cuda:7 is not there"),
        (["--output=."], ". is a folder; name a file"),
        ([f"--output={os.devnull}"], "is a device or a pipe; name a file"),
        (["--output=table.csv/speed.json"], "table.csv"),
        (["--only", "training", "--output=table.csv"], "table.csv is no result of `attnbook bench"),
        (["--only", "training", "--output=list.json"], "list.json is no result of `attnbook bench"),
        (["--only", "training", "--output=wide.json"], "was measured with hidden_dim 512, this"),
        (["--plot=speed.foo"], "--plot draws SVG: give a name that ends in .svg, not 'speed.foo'"),
        (["--plot=.", "--only", "training"], ". is a folder"),
        (["--plot=speed.svg", "--only", "greedy"], "--plot draws training speed"),
    ],
)
def test_mistakes_end_in_one_line(capsys, words, message, tmp_path, monkeypatch, unmeasured):
    monkeypatch.chdir(tmp_path)
    files = {"table.csv": "a, b\n1, 2 3\n", "list.json": "[1, 2]", "empty.py": "ANSWER = 42"}
    for name, text in files.items():
        Path(name).write_text(text)
    before = {path.name for path in tmp_path.iterdir()}
    Path("wide.json").write_text(json.dumps(WIDE))
    assert message in command_line.refused(capsys, "benchmark", *FLAGS, *words)
    assert {path.name for path in tmp_path.iterdir()} - {"wide.json"} == before
    assert {name: Path(name).read_text() for name in files} == files


def test_a_place_that_cannot_be_written_is_refused(capsys, tmp_path, unmeasured):
    """A folder that nobody may write to, root included."""
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "new" / "speed.json"
    assert str(tmp_path / "file") in command_line.refused(
        capsys, "benchmark", *FLAGS, f"--output={output}"
    )


# --- the command ----------------------------------------------------------------------------------


def test_help_is_plain_and_complete(capsys):
    code, out, _ = attnbook(capsys, "--help")
    assert code == 0
    text = " ".join(out.split())
    assert ":data:" not in text
    assert "``" not in text
    for field in fields(Plan):
        assert f" --{field.name.replace('_', '-')} " in text
    assert "width of a state (default: 256)" in text
    assert f"(default: {' '.join(SECTIONS)})" in text
    assert all(name in text.replace("- ", "-") for name in MODELS)


def test_help_loads_nothing_that_measures():
    code = (
        "import sys; import attnbook.commands.benchmark; "
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_flags_win_over_quick(capsys, monkeypatch):
    plans = []

    def remember(self):
        plans.append(self.plan)
        return self.result

    monkeypatch.setattr(Benchmark, "run", remember)
    data = ["--data=synthetic", "--words=50", "--quiet"]
    assert attnbook(capsys, *data, "--quick", "--repeat=3")[0] == 0
    assert attnbook(capsys, *data)[0] == 0
    quick, usual = plans
    assert (quick.repeat, quick.threads, quick.batches) == (3, (1,), 2)
    assert (usual.repeat, usual.threads, usual.batches) == (5, (1, 2), 4)


def test_the_command_runs_as_a_module(tmp_path):
    words = [*ONE_MODEL, "--only", "training"]
    done = subprocess.run(
        [sys.executable, "-m", "attnbook", "benchmark", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Tokens learned from" in done.stdout
