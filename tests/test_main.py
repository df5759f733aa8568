"""The command line as a user meets it: results on standard output, everything else beside it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from typing import Any

import pytest
import torch

from attnbook import __version__, training
from attnbook.__main__ import _meanings, main
from attnbook.checkpoints import load, read_card, save
from attnbook.evaluation import (
    bleu,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.seq2seq import Config
from attnbook.trace import DecodingTrace
from attnbook.training import Training
from small_models import PAIRS, fitted, small

SMALL = ["--embedding-dim=5", "--hidden-dim=14", "--cell=gru", "--quiet", "--device=cpu"]
FILES = ["--data", "text.de", "text.en", "--validation", "text.de", "text.en"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a parallel text in two files, and nothing else."""
    monkeypatch.chdir(tmp_path)
    for suffix, side in (("de", "source"), ("en", "target")):
        lines = "".join(" ".join(getattr(pair, side)).upper() + "\n" for pair in PAIRS)
        (tmp_path / f"text.{suffix}").write_text(lines, encoding="utf-8")
    return tmp_path


@pytest.fixture
def model(folder):
    save(fitted(), folder / "model.safetensors")
    return "model.safetensors"


@pytest.fixture
def heeds_interrupts():
    """Ctrl-C as in a terminal, also where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def attnbook(capsys, *words):
    """Run a command in this process: exit code, standard output, standard error."""
    try:
        code: str | int | None = main(list(words))
    except SystemExit as stop:  # argparse
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def subprocess_of(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "attnbook", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


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
    for settings in (Config, Training):
        meanings = _meanings(settings)
        for field in fields(settings):
            assert f" --{field.name.replace('_', '-')}" in text
            assert " ".join(meanings[field.name].split()[:3]) in text
    assert "the gradient is scaled down to this norm when it is longer (default: 1)" in text
    assert "width of a state (default: 256; grammar: " in text
    assert "both directions (default: off; grammar: on)" in text
    assert "at its peak (default: 0.002; grammar: 0.01; grammar, transformer: 0.003)" in text
    assert "of multi30k: two of de, en, fr (default: de en)" in text
    assert "(default: None)" not in text


@pytest.mark.parametrize("command", ["translate", "evaluate", "align"])
def test_help_of_the_other_commands(capsys, command):
    code, out, _ = attnbook(capsys, command, "--help")
    assert code == 0
    assert ("--beam-size" in out) is (command != "align")
    assert "grammar-dot" in out


# --- train ----------------------------------------------------------------------------------------


def test_train_on_files(capsys, folder):
    code, out, err = attnbook(
        capsys, "train", *FILES, *SMALL, "--epochs=3", "--seed=7", "--output=deep/my.safetensors"
    )
    assert (code, out) == (0, f"deep{os.sep}my.safetensors\n")
    assert "6 pairs, 6 for validation; 11 and 12 words" in err
    assert [line.split(":")[1] for line in err.splitlines() if "epoch" in line][:3] == [
        " epoch 1",
        " epoch 2",
        " epoch 3",
    ]
    translator, card = load("deep/my.safetensors"), read_card("deep/my.safetensors")
    assert translator.name == "my"
    assert translator.config == Config(embedding_dim=5, hidden_dim=14, cell="gru")
    assert card["settings"]["seed"] == 7
    assert card["data"] == "text.de and text.en"
    assert card["command"].startswith("attnbook train --data text.de text.en")
    assert card["torch"] == torch.__version__
    assert not (folder / "runs").exists()

    again = attnbook(capsys, "train", *FILES, *SMALL, "--epochs=3", "--seed=7", "--output=two")
    assert again[0] == 0
    first, second = translator.state_dict(), load("two").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_train_on_the_grammar_with_what_suits_it(capsys):
    code, out, err = attnbook(
        capsys,
        *("train", "--data", "grammar", "--grammar-pairs=40", "--grammar-words", "6", "8"),
        *("--epochs=1", "--hidden-dim=14", "--quiet", "--device=cpu", "--half", "--join=2"),
    )
    assert (code, out) == (0, "grammar-dot.safetensors\n"), err
    translator, card = load("grammar-dot.safetensors"), read_card("grammar-dot.safetensors")
    assert translator.config.hidden_dim == 14
    assert translator.config.embedding_dim == 32
    assert translator.config.bidirectional
    assert card["data"] == "grammar, train, 6 to 8 German words, seed 0, 1 to 2 joined (seed 0)"
    assert card["settings"]["learning_rate"] == 0.01
    assert card["training_pairs"] < 40


def test_train_on_multi30k(capsys, data_folder, monkeypatch):
    """The whole data is read, and training is left out."""
    seen: dict[str, Any] = {}

    def train(translator, pairs, validation, settings, **options):
        seen.update(pairs=len(pairs), validation=len(validation), name=translator.name)
        raise FloatingPointError("enough")

    monkeypatch.setattr("attnbook.__main__.train", train)
    code, _, err = attnbook(
        capsys,
        *("train", "--data", "multi30k", "--languages", "en", "fr", "--min-count=5"),
        *("--decoder=cho", "--join=3", *SMALL),
    )
    assert (code, seen["name"]) == (2, "multi30k-cho")
    assert 14_000 < seen["pairs"] < 15_000
    assert 500 <= seen["validation"] < 520
    assert err.endswith("attnbook: error: enough\n")


def test_an_interrupted_run_says_how_to_go_on(capsys, folder, monkeypatch, heeds_interrupts):
    words = ["train", *FILES, *SMALL, "--epochs=4", "--batch-tokens=10"]
    assert attnbook(capsys, *words, "--output=whole")[0] == 0
    step = training._Run.one_step

    def interrupted(self, batch):
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "one_step", interrupted)
        code, out, err = attnbook(capsys, *words, "--output=my model")
    assert (code, out) == (130, "")
    assert f"the run is kept in runs{os.sep}my model. The same command goes on from there" in err
    assert "--output=my model'" in err  # quoted for the shell
    code, out, err = attnbook(capsys, *words, "--output=my model")
    assert (code, out) == (0, "my model\n")
    assert "going on with the run in" in err
    first, second = load("whole").state_dict(), load("my model").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.exhaustive  # test_distributed has two processes killed so, at a step that it knows
def test_a_run_killed_by_the_system_goes_on(capsys, folder):
    """SIGKILL, as a cluster or a lack of memory sends it: nothing can be tidied up."""
    words = ["train", *FILES, *SMALL, "--epochs=40", "--keep-every=1", "--batch-tokens=10"]
    running = subprocess_of(*words, "--output=killed", cwd=folder)
    state = folder / "runs" / "killed" / "state.pt"
    patience = time.monotonic() + 900
    while not state.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < patience
        time.sleep(0.02)
    running.kill()
    running.communicate()
    assert state.exists()
    assert not (folder / "killed").exists()
    code, _, err = attnbook(capsys, *words, "--output=killed")
    assert code == 0
    assert "going on with the run in" in err
    assert attnbook(capsys, *words, "--output=whole")[0] == 0
    first, second = load("whole").state_dict(), load("killed").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "text.de", "text.en"], "--validation SRC TGT"),
        (["--data", "wmt14"], "--data takes grammar, multi30k, or two files SRC TGT; got 'wmt14'"),
        (["--data", "a", "b", "c"], "got 'a b c'"),
        (["--data", "text.de", "nothing.en", *FILES[3:]], "nothing.en: No such file"),
        ([*FILES, "--hidden-dim=0"], "hidden_dim must be at least 1, got 0"),
        ([*FILES, "--learning-rate=-1"], "learning_rate"),
        ([*FILES, "--min-count=0"], "min_count must be at least 1"),
        ([*FILES, "--device=gpu"], "device must be cpu, cuda"),
        ([*FILES, "--output=text.de"], "text.de exists; give another --output, or --overwrite"),
        ([*FILES, "--output=.", "--overwrite"], "is a folder; name a file"),
        ([*FILES, "--join=0"], "most must be at least 1"),
        (["--data", "grammar", "--grammar-words", "9", "5"], "longest: 5 is less than shortest"),
    ],
)
def test_mistakes_are_one_line_before_training_starts(capsys, monkeypatch, words, message):
    monkeypatch.setattr("attnbook.__main__.train", lambda *args, **options: pytest.fail("trained"))
    code, out, err = attnbook(capsys, "train", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("attnbook: error: ")
    assert message in err


def test_unknown_choices_are_argparses(capsys):
    code, _, err = attnbook(capsys, "train", *FILES, "--decoder=oracle")
    assert code == 2
    assert "invalid choice: 'oracle'" in err


def test_a_transformers_words_are_as_wide_as_its_states(capsys):
    words = ["train", *FILES, "--decoder=transformer", "--heads=2", "--layers=1", "--epochs=1"]
    code, out, err = attnbook(capsys, *words, "--hidden-dim=12", "--quiet")
    assert code == 0, err
    translator = load(out.strip())
    assert out.strip() == "files-transformer.safetensors"
    assert translator.config.embedding_dim == translator.config.hidden_dim == 12
    code, out, _ = attnbook(capsys, "translate", translator.name + ".safetensors", "ich")
    assert code == 0
    code, _, err = attnbook(capsys, *words, "--hidden-dim=12", "--embedding-dim=10", "--overwrite")
    assert code == 2
    assert "embedding_dim is 10 and hidden_dim 12" in err


# --- translate ------------------------------------------------------------------------------------


def test_translate_sentences(capsys, model):
    code, out, err = attnbook(capsys, "translate", model, "Ich trinkt Bier", "er ISST brot")
    assert (code, out, err) == (0, "i drinks some beer\nhe eats bread\n", "")
    assert attnbook(capsys, "translate", model, "er trinkt", "--beam-size=3")[1] == "he drinks\n"


def test_lines_of_a_file_stay_lines(capsys, model, folder):
    (folder / "in.txt").write_bytes(
        "\ufeffEr isst Brot\r\n\r\nIch isst Brot\n  \nEr trinkt".encode()
    )
    code, out, err = attnbook(capsys, "translate", model, "--file=in.txt")
    assert (code, out, err) == (0, "he eats bread\n\ni eats bread\n\nhe drinks\n", "")
    (folder / "in.txt").write_bytes(b"")
    assert attnbook(capsys, "translate", model, "--file=in.txt") == (0, "", "")


def feed(monkeypatch, content, terminal=False):
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]  # of this one alone
    monkeypatch.setattr(sys, "stdin", stream)


def test_standard_input(capsys, model, monkeypatch):
    feed(monkeypatch, b"er trinkt\n\ner isst brot\n")
    assert attnbook(capsys, "translate", model) == (0, "he drinks\n\nhe eats bread\n", "")
    feed(monkeypatch, b"er trinkt\nf\xfcr\n")
    code, out, err = attnbook(capsys, "translate", model)
    assert (code, out) == (2, "")
    assert "standard input, line 2: not UTF-8" in err


def test_at_a_terminal_each_line_is_answered(capsys, model, monkeypatch):
    feed(monkeypatch, b"er trinkt\ner lacht\n", terminal=True)
    code, out, err = attnbook(capsys, "translate", model)
    assert code == 0
    assert out.startswith("he drinks\n")
    assert out.count("\n") == 2
    assert "one sentence a line; end with Ctrl-D" in err
    assert "line 2: read as <unk>: lacht" in err


def test_unknown_and_cut_words_are_named(capsys, folder):
    translator = small(longest=3).float()
    save(translator, folder / "short")
    code, out, err = attnbook(capsys, "translate", "short", "er", "heute lacht er heute nicht")
    assert code == 0
    assert out.count("\n") == 2
    assert err.splitlines() == [
        "attnbook: line 2: read as <unk>: heute, lacht, nicht",
        "attnbook: line 2: cut to its first 3 of 5 words",
    ]


def test_a_trace(capsys, model, folder):
    code, out, _ = attnbook(
        capsys, "translate", model, "er isst brot", "--trace=t.json", "--beam-size=2"
    )
    assert (code, out) == (0, "he eats bread\n")
    trace = DecodingTrace.load(folder / "t.json")
    assert trace.source_tokens == ("er", "isst", "brot", "<eos>")
    assert trace.text == "he eats bread"
    assert trace.attends


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.safetensors", "er", "ich", "--trace=t"], "--trace records one sentence, got 2"),
        (["model.safetensors", "", "--trace=t"], "--trace records one sentence"),
        (["model.safetensors", "er", "--file=text.de"], "sentences or --file, not both"),
        (["model.safetensors", "er", "--beam-size=0"], "beam_size must be at least 1"),
        (["text.de", "er"], "text.de: not a readable checkpoint"),
        (["nothing", "er"], "nothing: no such file, and not one of the published models"),
        (["model.safetensors", "--file=nothing"], "nothing: No such file"),
        (["model.safetensors", "er", "--device=tpu-ish"], "device must be cpu"),
    ],
)
def test_mistakes_in_translating(capsys, model, words, message):
    code, out, err = attnbook(capsys, "translate", *words)
    assert (code, out) == (2, "")
    assert err.startswith("attnbook: error: ")
    assert err.count("\n") == 1
    assert message in err


# --- evaluate -------------------------------------------------------------------------------------


def test_evaluate_as_json(capsys, model, folder):
    save(small(decoder="cho").float(), folder / "untrained")
    code, out, err = attnbook(
        capsys,
        *("evaluate", model, "untrained", "--data", "text.de", "text.en", "--json", "--quiet"),
        *("--resamples=100", "--beam-size=3", "--device=cpu"),
    )
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["pairs"] == 6
    assert result["data"] == "text.de and text.en"
    good, bad = result["models"]
    assert good["model"] == "fitted-luong"
    assert good["bleu_greedy"]["score"] == pytest.approx(
        bleu([pair.target for pair in PAIRS], [pair.target for pair in PAIRS]).score
    )
    assert good["exact_match_greedy"] == 1.0
    assert bad["exact_match_greedy"] == 0.0
    assert good["beam_size"] == 3
    for row, translator in ((good, load(model)), (bad, load("untrained"))):
        assert row["perplexity_teacher_forced"] == teacher_forced_perplexity(translator, PAIRS)
        assert row["perplexity_free_running"] == free_running_perplexity(translator, PAIRS)
        assert 0 <= row["bleu_beam"]["low"] <= row["bleu_beam"]["high"] + 1e-9
    assert bad["perplexity_teacher_forced"] > 2 > good["perplexity_teacher_forced"]


def test_evaluate_as_a_table(capsys, model):
    code, out, _ = attnbook(
        capsys,
        *("evaluate", model, "--data", "text.de", "text.en", "--limit=4", "--resamples=10"),
        *("--quiet", "--device=cpu"),
    )
    assert code == 0
    header, row, empty, data, signature = out.splitlines()
    assert len(header) == len(row)
    assert "perplexity, teacher-forced  perplexity, free-running" in header
    assert "BLEU, greedy" in header
    assert "BLEU, beam 5" in header
    assert "100.0 %" in row
    assert empty == ""
    assert data == "4 pairs: text.de and text.en; intervals: 95 %, bootstrap"
    assert "tok:none" in signature


def test_evaluate_shows_progress_and_reads_splits(capsys, model):
    words = ("evaluate", model, "--data", "grammar", "--grammar-words", "6", "8", "--split=val")
    code, out, err = attnbook(capsys, *words, "--limit=2", "--resamples=2", "--device=cpu")
    assert code == 0
    assert "2 pairs: grammar, val, 6 to 8 German words, seed 0" in out
    assert "sentence" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit=0"], "--limit must be at least 1, got 0"),
        (["--resamples=1"], "--resamples must be at least 2, got 1"),
        (["--split=val"], "--split test, or name the files"),
    ],
)
def test_mistakes_in_evaluating(capsys, model, words, message):
    code, out, err = attnbook(capsys, "evaluate", model, "--data", "text.de", "text.en", *words)
    assert (code, out) == (2, "")
    assert message in err


# --- align ----------------------------------------------------------------------------------------


def test_align_on_the_grammar(capsys):
    words = ("align", "grammar-dot", "--data", "grammar", "--limit=40", "--quiet", "--device=cpu")
    code, out, err = attnbook(capsys, *words)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 40
    assert all(re.fullmatch(r"(\d+-\d+ ?)+", line) for line in lines)
    assert re.search(r"links in 40 pairs: alignment error rate \d+\.\d%, precision 9\d", err)
    assert "nats a target word" in err
    code, out, err = attnbook(capsys, *words, "--json")
    scores = json.loads(out)
    assert (code, err) == (0, "")
    assert scores["pairs"] == 40
    assert 0 < scores["error_rate"] < 0.2
    assert 0 < scores["entropy"] < 1


def test_align_scores_a_file(capsys, folder):
    (folder / "found.txt").write_text("1-1 2-2\n" * 6, encoding="utf-8")
    (folder / "gold.txt").write_text("1-1 2p2\n" * 5 + "1-1 2-2\n", encoding="utf-8")
    words = ("align", "found.txt", "--data", "text.de", "text.en", "--first=1")
    code, out, err = attnbook(capsys, *words, "--gold=gold.txt", "--json")
    assert code == 0
    scores = json.loads(out)
    assert scores == {"pairs": 6, "links": 12, "precision": 1, "recall": 1, "error_rate": 0}
    code, out, err = attnbook(capsys, *words)
    assert (code, err) == (0, "")
    assert out == "1-1 2-2\n" * 6
    code, out, err = attnbook(capsys, *words, "--json")
    assert (code, out) == (2, "")
    assert "the right links are not known; give --gold" in err


def test_align_refuses_a_file_of_other_sentences(capsys, folder):
    (folder / "found.txt").write_text("0-0 2-2\n" * 6, encoding="utf-8")
    code, out, err = attnbook(capsys, "align", "found.txt", "--data", "text.de", "text.en")
    assert (code, out) == (2, "")
    assert "found.txt, line 5: the link 2-2 lies outside a pair of 2 source and 2 target" in err


def test_mistakes_in_aligning(capsys):
    words = ("--data", "text.de", "text.en", "--quiet", "--device=cpu")
    code, out, err = attnbook(capsys, "align", "grammar-sutskever", *words)
    assert (code, out) == (2, "")
    assert "grammar-sutskever does not attend, so it has no weights" in err
    code, out, err = attnbook(capsys, "align", "grammar-dot", *words, "--limit=0")
    assert (code, out) == (2, "")
    assert "--limit must be at least 1, got 0" in err


# --- the whole way --------------------------------------------------------------------------------


def test_as_a_program_whose_reader_has_seen_enough(folder, model):
    """``attnbook translate … < file | head -3`` ends without a word."""
    running = subprocess_of("translate", model, "--device=cpu", cwd=folder, stdin=subprocess.PIPE)
    running.stdin.write("er trinkt\n\nich isst brot\n" + "\n" * 200_000)  # more than a pipe holds
    running.stdin.close()
    assert [running.stdout.readline() for _ in range(3)] == ["he drinks\n", "\n", "i eats bread\n"]
    running.stdout.close()
    assert running.wait(timeout=900) == 0
    assert running.stderr.read() == ""
    running.stderr.close()
