"""The command line as a user meets it: what all commands share."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from unittest import mock

import pytest

from attnbook import __version__
from attnbook.__main__ import COMMANDS, _parser, main
from attnbook.encoder import CELLS
from attnbook.settings import CELL_NAMES, RecurrentConfig, TrainingConfig, TransformerConfig
from command_line import attnbook, refused
from conftest import ROOT

# --- help -----------------------------------------------------------------------------------------


def test_version_and_commands(capsys):
    assert attnbook(capsys, "--version") == (0, f"attnbook {__version__}\n", "")
    code, out, _ = attnbook(capsys, "--help")
    assert code == 0
    assert all(command in out for command in ("train", "translate", "evaluate", "align"))
    code, out, err = attnbook(capsys)
    assert (code, out) == (2, "")
    assert "COMMAND" in err


def test_every_setting_is_a_flag_with_a_meaning_and_a_default(capsys):
    code, out, _ = attnbook(capsys, "train", "--help")
    assert code == 0
    text = " ".join(out.split())
    for settings in (RecurrentConfig, TransformerConfig, TrainingConfig):
        for field in fields(settings):
            assert f" --{field.name.replace('_', '-')}" in text
            assert field.metadata["help"] in text
    assert "the gradient is scaled down to this norm when it is longer (default: 1)" in text
    assert "a word's vector (default: 256; transformer: 128)" in text
    assert "both directions (default: on)" in text
    assert re.search(r"at its peak \(default: [\d.]+; transformer: [\d.]+\)", text)
    assert "of multi30k: two of de, en, fr (default: de en)" in text
    assert "(default: None)" not in text


@pytest.mark.parametrize("command", ["translate", "evaluate", "align"])
def test_help_of_the_other_commands(capsys, command):
    code, out, _ = attnbook(capsys, command, "--help")
    assert code == 0
    assert ("--beam-size" in out) is (command != "align")
    assert "grammar-dot" in out


HEAVY = ("torch", "matplotlib", "numpy", "pooch", "ipywidgets")


@pytest.mark.parametrize(
    "words",
    ["--version", "--help", "train --help", "translate --help", "evaluate --help", "align --help",
     "grade --help", "export --help", "export gradescope --help"],
)  # fmt: skip
def test_help_loads_nothing_that_takes_long(words):
    """In an alphabet that lacks many of its letters, too."""
    program = (
        "import sys; from attnbook.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert "attnbook" in done.stdout
    assert "%%" not in done.stdout


def test_cells_are_those_of_the_encoder():
    assert tuple(CELLS) == CELL_NAMES


# --- examples -------------------------------------------------------------------------------------


OWN_DATA = (ROOT / "book/your_own_data.md").read_text(encoding="utf-8")


def examples():
    """The commands that help, README and a page print, without comments and redirections."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^ +(attnbook [^#\n]+)", readme, re.MULTILINE)
    found += re.findall(r"^(?:.* \| )?(attnbook [^#\n]+)", OWN_DATA, re.MULTILINE)
    for command in COMMANDS:
        shown = io.StringIO()
        wide = mock.patch.dict(os.environ, COLUMNS="10000")  # so that no line is broken
        with wide, contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            main([command, "--help"])
        found += re.findall(r"`(attnbook [^`…]+)`", shown.getvalue())
    known = {line.split(" > ")[0].strip() for line in found}
    return sorted(known - {"attnbook train"})  # which help texts name, without its flags


def test_there_are_examples_of_every_command_that_needs_them():
    assert {line.split()[1] for line in examples()} == set(COMMANDS) - {"export"}


@pytest.mark.parametrize("line", examples())
def test_examples_are_commands(line):
    words = shlex.split(line)[1:]
    assert _parser(words).parse_args(words).run


@pytest.mark.parametrize(
    "line", [line for line in examples() if re.match("attnbook (translate|info) grammar", line)]
)
def test_examples_run_as_printed(capsys, parallel_text, line):
    code, out, _ = attnbook(capsys, *shlex.split(line)[1:])
    assert code == 0
    assert out


def comparable(text):
    """Lines of an output without what another machine may print otherwise: numbers, shades."""
    lines = (re.sub(r"[\d.,]*\d|[░▒▓█]+", "#", line).split() for line in text.splitlines())
    return [" ".join(line).replace("# ", "").replace(" #", "") for line in lines if line]


@pytest.mark.exhaustive
def test_the_page_on_your_own_data_runs_as_printed(tmp_path):
    """From top to bottom; what is shown is what was printed, with … for lines left out."""
    printed = ""
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```$", OWN_DATA, re.MULTILINE | re.DOTALL):
        if kind == "text":
            lines = iter(comparable(printed))
            # Each line is looked for after the one before it.
            assert [line for line in comparable(block) if line != "…" and line not in lines] == []
        elif kind == "python":
            subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
        else:
            for command in block.splitlines():
                if "attnbook serve" not in command:  # which does not end by itself
                    done = shell(command, tmp_path)
                    assert done.returncode == 0, done.stderr
                    printed = done.stderr + done.stdout


# --- errors ---------------------------------------------------------------------------------------

DATA = ("--data", "text.de", "text.en")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("translate m er --beam-size 1000000000", "--beam-size: must be at least 1 and at most"),
        ("translate m er --length-penalty 1000", "--length-penalty: must be at least -10 and"),
        ("translate m er --length-penalty nan", "--length-penalty: must be"),
        ("translate m er --beam-size 1.5", "--beam-size: expected a whole number, got '1.5'"),
        ("translate m er --no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("evaluate m --data a b --resamples 1000000000", "--resamples: must be at least 2"),
        ("train --data a b --hidden-dim 1000000000", "--hidden-dim: must be at least 1"),
        ("train --data a b --learning-rate 1e30", "--learning-rate: must be above 0 and at most"),
        ("train --data a b --max-words 0", "--max-words: must be at least 1"),
        ("train --data a b --seed -1", "--seed: must be at least 0"),
        ("train --data a b --decoder=oracle", "invalid choice: 'oracle'"),
        ("oracle", "invalid choice: 'oracle'"),
    ],
)
def test_absurd_values_are_refused_by_their_flag(capsys, words, message):
    assert message in refused(capsys, *words.split())


@pytest.mark.parametrize("device", ["meta", "xpu", "vulkan", "hpu", "gpu"])
def test_only_devices_that_were_tried_are_taken(capsys, model_file, device):
    err = refused(capsys, "translate", model_file, "er", f"--device={device}")
    assert f"device must be cpu, cuda, cuda:1 or mps; got '{device}'" in err


def test_a_fault_of_ours_keeps_its_traceback_and_says_where_to_report_it(
    capsys, model_file, monkeypatch
):
    def broken(*args, **options):
        raise ValueError("shapes (3,) and (4,) do not fit")

    monkeypatch.setattr("attnbook.decoding.translate", broken)
    with pytest.raises(ValueError, match="shapes") as caught:
        attnbook(capsys, "translate", model_file, "er")
    (note,) = caught.value.__notes__
    assert note.endswith("https://github.com/attnbook/attnbook/issues")


def test_a_lack_of_memory_is_one_line(capsys, model_file, monkeypatch):
    def greedy(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")

    monkeypatch.setattr("attnbook.decoding.translate", greedy)
    assert "error: not enough memory (" in refused(capsys, "translate", model_file, "er")


def shell(command, folder):
    """A command as a shell runs it; ``attnbook`` is the one under test."""
    command = command.replace("attnbook", f"{sys.executable} -m attnbook", 1)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=buffered,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("attnbook translate grammar-dot <&-", "standard input is closed; give sentences"),
        ("attnbook --help >&-", "standard output is closed, so there is no place for results"),
        pytest.param(
            "attnbook --help >/dev/full",
            "standard output: No space left on device",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /dev/full"),
        ),
    ],
)
def test_streams_that_are_closed_or_full(tmp_path, command, message):
    done = shell(command, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"attnbook: error: {message}")
    assert done.stderr.count("\n") == 1


def test_without_a_standard_error_results_stay_alone(tmp_path):
    done = shell("attnbook align nothing --data nothing 2>&-", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
