"""`attnbook train`: from sentence pairs to a file."""

import os
import re
import resource
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from attnbook.checkpoints import load, read_card
from attnbook.settings import RecurrentConfig, TransformerConfig
from command_line import FILES, SMALL, attnbook, refused, subprocess_of


@pytest.fixture(autouse=True)
def folder(parallel_text):
    return parallel_text


@pytest.fixture
def heeds_interrupts():
    """Ctrl-C as in a terminal, also where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    assert translator.config == RecurrentConfig(
        embedding_dim=5, hidden_dim=14, cell="gru", bidirectional=True, dropout=0.4,
        embedding_std=1.0,
    )  # fmt: skip
    assert card["settings"]["seed"] == 7
    assert card["data"] == "text.de and text.en"
    assert card["command"].startswith("attnbook train --data text.de text.en")
    assert card["torch"] == torch.__version__
    assert not (folder / "runs").exists()

    again = attnbook(capsys, "train", *FILES, *SMALL, "--epochs=3", "--seed=7", "--output=two")
    assert again[0] == 0
    first, second = translator.state_dict(), load("two").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_usual_is_the_same_for_all_data(capsys):
    code, out, err = attnbook(
        capsys,
        *("train", "--data", "grammar", "--grammar-pairs=40", "--grammar-words", "6", "8"),
        *("--epochs=1", "--hidden-dim=14", "--quiet", "--device=cpu", "--half", "--join=2"),
    )
    assert (code, out) == (0, "grammar-dot.safetensors\n"), err
    translator, card = load("grammar-dot.safetensors"), read_card("grammar-dot.safetensors")
    assert isinstance(translator.config, RecurrentConfig)
    assert translator.config.hidden_dim == 14
    assert translator.config.embedding_dim == 128
    assert translator.config.bidirectional
    assert card["data"] == "grammar, train, 6 to 8 German words, seed 0, 1 to 2 joined (seed 0)"
    assert card["settings"]["learning_rate"] == 0.003
    assert card["training_pairs"] < 40
    code, out, err = attnbook(capsys, "train", *FILES, "--hidden-dim=14", "--epochs=1", "--quiet")
    assert code == 0, err
    other = read_card(out.strip())
    assert other["settings"] == card["settings"] | {"epochs": 1}


def test_train_on_multi30k(capsys, data_folder, monkeypatch):
    """The whole data is read, and training is left out."""
    seen: dict[str, Any] = {}

    def train(translator, pairs, validation, settings, **options):
        seen.update(pairs=len(pairs), validation=len(validation), name=translator.name)
        raise FloatingPointError("enough")

    monkeypatch.setattr("attnbook.training.train", train)
    code, _, err = attnbook(
        capsys,
        *("train", "--data", "multi30k", "--languages", "en", "fr", "--min-count=5"),
        *("--decoder=cho", "--join=3", *SMALL),
    )
    assert (code, seen["name"]) == (2, "multi30k-cho")
    assert 14_000 < seen["pairs"] < 15_000
    assert 500 <= seen["validation"] < 520
    assert err.endswith("attnbook: error: enough\n")


def test_an_interrupted_run_says_how_to_go_on(capsys, folder, signalled, heeds_interrupts):
    words = ["train", *FILES, *SMALL, "--epochs=4", "--batch-tokens=10"]
    assert attnbook(capsys, *words, "--output=whole")[0] == 0
    with signalled(signal.SIGINT):
        code, out, err = attnbook(capsys, *words, "--output=my model")
    assert (code, out) == (130, "")
    assert f"the run is kept in runs{os.sep}my model. The same command goes on from there" in err
    assert "the best model so far (epoch" in err
    assert load("my model")  # it can be used meanwhile
    assert read_card("my model")["finished"] is False
    assert "--output=my model'" in err  # quoted for the shell
    code, out, err = attnbook(capsys, *words, "--output=my model")
    assert (code, out) == (0, "my model\n")
    assert "going on with the run in" in err
    first, second = load("whole").state_dict(), load("my model").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    card = read_card("my model")
    assert card["finished"] is True
    assert [epoch["number"] for epoch in card["epochs"]] == [1, 2, 3, 4]
    one, other = (Path(name).read_text().splitlines() for name in ("whole.csv", "my model.csv"))
    assert len(one) == len(other) == 5
    # All but the speed is the same.
    assert [line.split(",")[:3] for line in one] == [line.split(",")[:3] for line in other]


def test_sigterm_ends_as_ctrl_c_does(capsys, folder, signalled, heeds_interrupts):
    words = ["train", *FILES, *SMALL, "--epochs=4", "--batch-tokens=10", "--output=model"]
    with signalled(signal.SIGTERM):
        code, _, err = attnbook(capsys, *words)
    assert code == 130
    assert "the best model so far" in err
    assert read_card("model")["finished"] is False


def test_a_stopped_run_goes_on_for_more_epochs(capsys, folder, signalled, heeds_interrupts):
    words = ["train", *FILES, *SMALL, "--batch-tokens=10", "--output=model"]
    with signalled(signal.SIGINT):
        assert attnbook(capsys, *words, "--epochs=4")[0] == 130
    code, _, err = attnbook(capsys, *words, "--epochs=6", "--plot=curve.svg")
    assert code == 0
    assert "going on with the run" in err
    assert [epoch["number"] for epoch in read_card("model")["epochs"]] == [1, 2, 3, 4, 5, 6]
    curve = Path("curve.svg").read_text(encoding="utf-8")
    assert "training" in curve
    assert "nats per token" in curve


def test_fine_tuning_starts_from_a_model(capsys, folder):
    words = ["train", *FILES, "--batch-tokens=10", "--quiet"]
    assert attnbook(capsys, *words, *SMALL, "--epochs=3", "--output=first")[0] == 0
    begin = ["--start-from=first", "--learning-rate=1e-9", "--epochs=1", "--output=second"]
    assert attnbook(capsys, *words, *begin)[0] == 0
    first, second = load("first"), load("second")
    assert second.config == first.config
    assert second.source_vocabulary == first.source_vocabulary
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, atol=1e-6, rtol=0)
    assert read_card("second")["started_from"] == "first"
    other = ["--start-from=first", "--hidden-dim=8", "--output=third"]
    code, _, err = attnbook(capsys, *words, *other)
    assert code == 2
    assert "takes the shape and the words of first; leave out --hidden-dim" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--plot=curve.png"], "name a file that ends in .svg"),
        (["--plot=there.svg"], "there.svg exists"),
        (["--log=there.svg"], "there.svg exists"),
    ],
)
def test_what_a_run_leaves_is_tried_before_it_begins(capsys, folder, flags, message):
    Path("there.svg").write_text("mine")
    code, _, err = attnbook(capsys, "train", *FILES, *SMALL, "--output=model", *flags)
    assert code == 2
    assert message in err
    assert Path("there.svg").read_text() == "mine"
    assert not Path("model").exists()


@pytest.mark.exhaustive  # test_distributed has two processes killed so, at a step that it knows
def test_a_run_killed_by_the_system_goes_on(capsys, folder):
    """SIGKILL, as a cluster or a lack of memory sends it: nothing can be tidied up."""
    words = ["train", *FILES, *SMALL, "--epochs=40", "--save-every=1", "--batch-tokens=10"]
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
        (
            [*FILES, "--hidden-dim=0"],
            "argument --hidden-dim: must be at least 1 and at most 65,536, got",
        ),
        ([*FILES, "--learning-rate=-1"], "--learning-rate: must be above 0 and at most 10, got -1"),
        ([*FILES, "--min-count=0"], "--min-count: must be at least 1"),
        ([*FILES, "--device=gpu"], "device must be cpu, cuda"),
        ([*FILES, "--output=text.de"], "text.de exists; give another file, or --overwrite"),
        ([*FILES, "--output=.", "--overwrite"], "is a folder; name a file"),
        ([*FILES, "--join=0"], "--join: must be at least 1"),
        (["--data", "grammar", "--grammar-words", "9", "5"], "longest: 5 is less than shortest"),
    ],
)
def test_mistakes_are_one_line_before_training_starts(capsys, folder, monkeypatch, words, message):
    monkeypatch.setattr("attnbook.training.train", lambda *args, **options: pytest.fail("trained"))
    code, out, err = attnbook(capsys, "train", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("attnbook: error: ")
    assert message in err
    assert sorted(path.name for path in folder.iterdir()) == ["text.de", "text.en"]


def test_unknown_choices_are_argparses(capsys):
    code, _, err = attnbook(capsys, "train", *FILES, "--decoder=oracle")
    assert code == 2
    assert "invalid choice: 'oracle'" in err


def test_a_transformers_words_are_as_wide_as_its_states(capsys):
    words = ["train", *FILES, "--decoder=transformer", "--num-heads=2", "--layers=1", "--epochs=1"]
    code, out, err = attnbook(capsys, *words, "--hidden-dim=12", "--quiet")
    assert code == 0, err
    translator = load(out.strip())
    assert out.strip() == "files-transformer.safetensors"
    assert isinstance(translator.config, TransformerConfig)
    assert translator.config.hidden_dim == 12
    assert translator.encoder.embedding.embedding_dim == 12
    code, out, _ = attnbook(capsys, "translate", translator.name + ".safetensors", "ich")
    assert code == 0
    code, _, err = attnbook(capsys, *words, "--hidden-dim=12", "--embedding-dim=10", "--overwrite")
    assert code == 2
    assert "--embedding-dim belongs to --decoder sutskever, cho, bahdanau or luong" in err


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--decoder luong --num-heads 4",
            "--num-heads belongs to --decoder transformer; this is --dec",
        ),
        ("--decoder transformer --score dot", "--score belongs to --decoder bahdanau or luong"),
        ("--decoder transformer --cell gru", "--cell belongs to --decoder sutskever, cho, bah"),
        ("--decoder bahdanau --input-feeding", "--input-feeding belongs to --decoder luong; this"),
        ("--decoder cho --score dot", "--score belongs to --decoder bahdanau or luong; this is"),
        ("--score dot --attention-dim 8", "--attention-dim belongs to --score concat or additive"),
        ("--precision fp16 --device cpu", "--precision fp16 needs a GPU"),
    ],
)
def test_flags_of_other_decoders_are_refused(capsys, words, message):
    assert message in refused(capsys, "train", *FILES, *words.split())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is set to 'many'"),
    ],
)
def test_half_of_what_torchrun_sets_is_refused(capsys, monkeypatch, values, message):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert message in refused(capsys, "train", *FILES, *SMALL)


def test_a_folder_with_another_run_is_refused(capsys, folder, signalled, heeds_interrupts):
    words = ["train", *FILES, *SMALL, "--folder=run", "--output=my", "--save-every=1"]
    with signalled(signal.SIGINT, step=0):
        assert attnbook(capsys, *words)[0] == 130
    code, _, err = attnbook(capsys, *words, "--seed=9")
    assert code == 2
    assert err.splitlines()[-1].startswith(
        f"attnbook: error: run{os.sep}state.pt belongs to a run with other seed"
    )


@contextmanager
def small_disk(size):
    """No file may become larger, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_under_the_run(capsys):
    with small_disk(5000):
        code, out, err = attnbook(capsys, "train", *FILES, *SMALL, "--output=my")
    assert (code, out) == (2, "")
    assert f"error: runs{os.sep}my{os.sep}state.pt: the state of the run could not be" in err
    assert "Traceback" not in err


def test_a_full_disk_before_the_start(capsys, monkeypatch):
    monkeypatch.setattr("attnbook.training.train", lambda *args, **options: pytest.fail("trained"))
    with small_disk(1000):
        err = refused(capsys, "train", *FILES, *SMALL, "--output=out/my")
    assert "error: out: File too large" in err


# --- outputs --------------------------------------------------------------------------------------


def test_links_and_devices_are_left_alone(capsys, folder):
    (folder / "link").symlink_to("elsewhere")
    assert "link is a link; name the file that it leads to" in refused(
        capsys, "train", *FILES, "--output=link", "--overwrite"
    )
    assert "/dev/null is a device or a pipe; name a file" in refused(
        capsys, "train", *FILES, "--output=/dev/null", "--overwrite"
    )
    assert (folder / "link").is_symlink()
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("lock", [".my.lock", "run/.lock"])
def test_two_trainings_do_not_share_files(capsys, folder, lock):
    (folder / "run").mkdir()
    words = ["train", *FILES, *SMALL, "--epochs=1", "--output=my", "--folder=run"]
    with FileLock(lock):  # of a process that runs
        err = refused(capsys, *words)
    assert "error: another process " in err
    assert "wait until it has ended, or name another" in err
    (folder / lock).touch()  # of a process that was killed
    assert attnbook(capsys, *words)[0] == 0
    assert {path.name for path in folder.iterdir()} == {
        "my", "my.csv", "run", "text.de", "text.en",
    }  # fmt: skip
    assert not list((folder / "run").iterdir())


def test_a_model_that_cannot_be_written_is_kept_elsewhere(capsys, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    replace = os.replace

    def full(source, target):
        if str(target) == "my":
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr("attnbook.commands.outputs.os.replace", full)
    code, out, err = attnbook(capsys, "train", *FILES, *SMALL, "--epochs=1", "--output=my")
    assert (code, out) == (2, "")
    found = re.search(r"error: my: No space left on device; the result is in (\S+) instead$", err)
    assert found
    assert load(found[1]).encoder.embedding.embedding_dim == 5
    assert not (folder / "my").exists()


def test_pretokenized_text_is_taken_as_it_is(capsys, folder):
    for suffix in ("de", "en"):
        (folder / f"cut.{suffix}").write_text("U.S.A. it 's\n" * 3, encoding="utf-8")
    files = ("--data", "cut.de", "cut.en", "--validation", "cut.de", "cut.en", "--pretokenized")
    assert attnbook(capsys, "train", *files, *SMALL, "--epochs=1", "--output=my")[0] == 0
    assert set(load("my").source_vocabulary.words) >= {"U.S.A.", "it", "'s"}
    assert read_card("my")["data"] == "cut.de and cut.en, pretokenized"
    err = refused(capsys, "train", "--data", "grammar", "--pretokenized")
    assert "--pretokenized is said of two files; grammar comes as tokens" in err
