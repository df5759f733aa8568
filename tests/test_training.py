"""Training: the same seed gives the same weights, killed or not, and what goes wrong is named."""

import itertools
import math
import os
import re
import signal
import threading
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tqdm import tqdm

from attnbook import training
from attnbook.batches import collate
from attnbook.checkpoints import read_card
from attnbook.corpora import SentencePair
from attnbook.distributed import ALONE, ProcessGroup
from attnbook.evaluation import teacher_forced_perplexity
from attnbook.run_state import StateFile
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import Epoch, History, TrainingConfig, pick_device, train
from small_models import PAIRS, SOURCE, TARGET


@pytest.fixture(autouse=True)
def _heeds_interrupts():
    """Ctrl-C as in a terminal, also where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Three batches an epoch, dropout on: a resumed run has to find its place and its random numbers.
SETTINGS = TrainingConfig(epochs=5, batch_tokens=10, learning_rate=0.01, save_every=2, seed=3)
VALIDATION = PAIRS[:2]


def fresh(seed=7, **settings):
    torch.manual_seed(seed)
    config = RecurrentConfig(**{"embedding_dim": 5, "hidden_dim": 14, "dropout": 0.3} | settings)
    return Translator.from_config(config, SOURCE, TARGET)


def run(translator=None, settings=SETTINGS, **options):
    translator = translator or fresh()
    history = train(translator, PAIRS, VALIDATION, settings, progress=False, **options)
    return translator, history


def same(one, other):
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def losses(history):
    return [(epoch.number, epoch.training_loss, epoch.validation_loss) for epoch in history.epochs]


def begun(translator, settings=SETTINGS, examples=None, process_group=ALONE, folder=None):
    """A run of training before its first step."""
    examples = examples or translator.examples(PAIRS)
    file = StateFile(folder / "state.pt", {}) if folder else None
    return training._Run(translator, settings, lambda seed: examples, file, process_group)


class Killed(Exception):
    pass


def die_after(monkeypatch, steps):
    """The process ends in the middle of step ``steps + 1``, as far as training can tell."""
    whole = training._Run.one_step

    def one_step(self, batch):
        if self.state.step == steps:
            raise Killed
        whole(self, batch)

    monkeypatch.setattr(training._Run, "one_step", one_step)


# --- the same again -------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights():
    one, first = run()
    torch.rand(5)  # what happened before does not matter
    other, second = run()
    assert same(one, other)
    assert losses(first) == losses(second)
    another, _ = run(settings=replace(SETTINGS, seed=4))
    assert not same(one, another)


def test_the_random_numbers_of_the_caller_go_on_as_if_nobody_had_trained():
    translator = fresh()
    torch.manual_seed(1)
    expected = torch.rand(5)
    torch.manual_seed(1)
    run(translator)
    assert torch.equal(torch.rand(5), expected)


# 3 steps an epoch; states are kept after steps 2, 4, … and at the end of each epoch.
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 7, 9, 14])
def test_a_killed_run_ends_as_if_it_had_not_been_killed(tmp_path, monkeypatch, steps):
    uninterrupted, history = run()
    with monkeypatch.context() as patch:
        die_after(patch, steps)
        with pytest.raises(Killed):
            run(folder=tmp_path)
    assert (tmp_path / "state.pt").exists() == (steps > 1)
    torch.rand(5)
    resumed, again = run(fresh(seed=99) if steps > 1 else None, folder=tmp_path)
    assert same(resumed, uninterrupted)
    assert losses(again) == losses(history)


def test_a_resumed_run_does_not_do_again_what_is_done(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        die_after(patch, 7)
        with pytest.raises(Killed):
            run(folder=tmp_path)
    steps = []
    whole = training._Run.one_step

    def counted(self, batch):
        steps.append(self.state.step)
        whole(self, batch)

    monkeypatch.setattr(training._Run, "one_step", counted)
    run(folder=tmp_path)
    assert steps == list(range(6, 15))  # the last kept state was that after step 6
    steps.clear()
    finished, _ = run(folder=tmp_path)
    assert steps == []
    assert same(finished, run()[0])


def test_an_interrupt_waits_for_the_step_and_loses_nothing(tmp_path, signalled):
    uninterrupted, history = run(settings=replace(SETTINGS, save_every=1000))
    with signalled(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, settings=replace(SETTINGS, save_every=1000))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["counters"]["step"] == 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, again = run(folder=tmp_path, settings=replace(SETTINGS, save_every=1000))
    assert same(resumed, uninterrupted)
    assert losses(again) == losses(history)


def test_an_interrupt_between_epochs_is_not_lost(tmp_path):
    def press(epoch):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, after_epoch=press)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["counters"]["epoch"] == 1


def test_a_second_interrupt_does_not_wait(tmp_path, monkeypatch):
    def one_step(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second interrupt was swallowed")

    monkeypatch.setattr(training._Run, "one_step", one_step)
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path)
    assert not (tmp_path / "state.pt").exists()


def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path):
    """A shell starts background jobs so; Ctrl-C at the terminal is not meant for them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, history = run(folder=tmp_path, after_epoch=lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert len(history.epochs) == 5


def test_training_in_another_thread_leaves_signals_alone(tmp_path):
    finished = []
    thread = threading.Thread(target=lambda: finished.append(run(folder=tmp_path)))
    thread.start()
    thread.join()
    assert same(finished[0][0], run()[0])


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        die_after(patch, 3)
        with pytest.raises(Killed):
            run(folder=tmp_path)
    before = (tmp_path / "state.pt").read_bytes()

    def full(data, path):
        path.write_bytes(b"half a sta")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="no space left"):
            run(folder=tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert same(run(folder=tmp_path)[0], run()[0])


def test_who_reads_the_old_state_still_has_all_of_it(tmp_path):
    """The new state takes the old one's place at once and is not written over it."""
    run(folder=tmp_path, settings=replace(SETTINGS, epochs=1))
    translator, state = fresh(), tmp_path / "state.pt"
    before = state.read_bytes()
    again = begun(translator, folder=tmp_path)
    with state.open("rb") as old:
        again.keep()
        assert old.read() == before != state.read_bytes()
    assert list(tmp_path.iterdir()) == [state]


def test_random_numbers_of_gpus_go_on_where_they_were(tmp_path, monkeypatch):
    """And a run that was kept beside a GPU goes on without one."""
    handed_back: list[list[torch.Tensor]] = []
    seeds = [torch.tensor([5], dtype=torch.uint8), torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: seeds)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", handed_back.append)
    translator = fresh()
    one = begun(translator, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        one.keep()
        one.resume()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    one.resume()
    assert handed_back == [seeds]


# --- refusals -------------------------------------------------------------------------------------


def test_a_run_with_other_settings_is_refused(tmp_path, monkeypatch):
    run(folder=tmp_path)
    with pytest.raises(ValueError, match="a run with other learning_rate, seed;"):
        run(folder=tmp_path, settings=replace(SETTINGS, seed=4, learning_rate=1.0))
    with pytest.raises(ValueError, match="a run with other cell;"):
        run(fresh(cell="gru"), folder=tmp_path)
    with pytest.raises(ValueError, match="other sentence pairs or vocabularies"):
        train(fresh(), PAIRS[1:], VALIDATION, SETTINGS, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match="a run with other validation pairs;"):
        train(fresh(), PAIRS, VALIDATION[1:], SETTINGS, folder=tmp_path, progress=False)
    monkeypatch.setattr(training, "DistributedDataParallel", lambda module, device_ids: module)
    with pytest.raises(ValueError, match="a run with other numbers of processes;"):
        run(folder=tmp_path, process_group=ProcessGroup(rank=0, world_size=2))


def test_a_run_goes_on_with_other_epochs_patience_and_times_of_keeping(tmp_path):
    run(folder=tmp_path)
    others = replace(SETTINGS, epochs=6, patience=50, save_every=7)
    assert len(run(folder=tmp_path, settings=others)[1].epochs) == 6


def test_the_state_of_something_else_is_refused(tmp_path):
    torch.save({"weights": {}}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt is not the state of a run of attnbook"):
        run(folder=tmp_path)


class _Planted:
    """A file that runs something when it is read."""

    def __init__(self, written: Path) -> None:
        self.written = written

    def __reduce__(self) -> Any:
        return Path.touch, (self.written,)


def test_reading_a_state_runs_nothing(tmp_path):
    torch.save(_Planted(tmp_path / "written"), tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt is not the whole state of a run"):
        run(folder=tmp_path)
    assert not (tmp_path / "written").exists()


def test_a_state_that_is_cut_short_is_refused(tmp_path):
    run(folder=tmp_path)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.pt is not the whole state of a run"):
        run(folder=tmp_path)
    state.write_bytes(b"")
    with pytest.raises(ValueError, match=r"not the whole state"):
        run(folder=tmp_path)


def test_a_loss_that_is_not_a_number_is_an_error():
    translator = fresh()
    with torch.no_grad():
        translator.decoder.output.bias[5] = math.nan
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 0; lower the learning"):
        run(translator)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"save_every": 0}, "save_every"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1 and at most 1,000,000,000, got 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": 1e30}, r"learning_rate must be above 0 and at most 10, got 1e\+30"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"max_grad_norm": -1.0}, "max_grad_norm"),
        ({"warmup": 1.0}, "warmup"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, fp16; got 'fp8'"),
    ],
)
def test_impossible_settings(values, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**values)


@pytest.mark.parametrize(("pairs", "validation"), [([], VALIDATION), (PAIRS, [])])
def test_both_kinds_of_pairs_are_needed(pairs, validation):
    with pytest.raises(ValueError, match="both need at least one sentence pair"):
        train(fresh(), pairs, validation, SETTINGS, progress=False)


# --- what training does ---------------------------------------------------------------------------


def test_the_best_epoch_is_kept_and_patience_ends_the_run():
    """Validation pairs that contradict the training pairs: learning these makes those worse."""
    wrong = [
        SentencePair(pair.source, other.target)
        for pair, other in zip(PAIRS, [*PAIRS[3:], *PAIRS[:3]], strict=True)
    ]
    translator = fresh(dropout=0.0)
    seen: list[Epoch] = []
    settings = TrainingConfig(epochs=200, batch_tokens=60, learning_rate=0.02, patience=4)
    history = train(translator, PAIRS, wrong, settings, progress=False, after_epoch=seen.append)
    assert history.epochs == seen
    assert len(history.epochs) == history.best.number + 4 < 200
    assert history.best.validation_loss == min(epoch.validation_loss for epoch in seen)
    assert math.log(teacher_forced_perplexity(translator, wrong)) == pytest.approx(
        history.best.validation_loss, rel=1e-5
    )
    assert not translator.training


def test_what_the_course_trained_by_default_is_still_trained_so():
    """The cards of its models tell all settings; these their commands leave to the defaults."""
    defaults = asdict(TrainingConfig())
    for name in ("grammar-dot", "grammar-sutskever"):
        settings = read_card(name)["settings"]
        differs = {key for key in settings.keys() & defaults if settings[key] != defaults[key]}
        assert differs == {"epochs", "batch_tokens", "learning_rate"}


def test_the_first_of_equal_epochs_is_the_best():
    epochs = [Epoch(1, 3.0, 2.0, 9.0), Epoch(2, 2.0, 1.0, 9.0), Epoch(3, 1.0, 1.0, 9.0)]
    assert History(epochs).best.number == 2


def test_losses_are_per_token_and_without_smoothing():
    """One batch an epoch and a vanishing rate: the loss is that of the weights as they were."""
    translator = fresh(dropout=0.0)
    batch = collate(translator.examples(PAIRS))
    expected = float(translator.loss(batch).nats) / batch.target_tokens
    settings = TrainingConfig(
        epochs=1, batch_tokens=1000, learning_rate=1e-12, warmup=0.0, label_smoothing=0.5
    )
    _, history = run(translator, settings)
    assert history.epochs[0].training_loss == pytest.approx(expected, rel=1e-5)
    assert history.epochs[0].tokens_per_second > 0


def test_steps_are_adam_on_the_clipped_gradient():
    """Four of them, so that its memories count, on a gradient small enough for its ε to count."""
    translator, reference = fresh(dropout=0.0), fresh(dropout=0.0)
    clip, steps = 1e-6, 4
    settings = TrainingConfig(
        epochs=steps, batch_tokens=1000, learning_rate=0.01, warmup=0.0, label_smoothing=0.1,
        max_grad_norm=clip,
    )  # fmt: skip
    _, history = run(translator, settings)
    assert history.best.number == steps  # these weights are those of the last step
    optimizer = torch.optim.Adam(reference.parameters(), betas=(0.9, 0.98), eps=1e-9)
    batch = collate(reference.examples(PAIRS))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        reference.loss(batch, 0.1).objective.backward()
        squares = sum(float((p.grad**2).sum()) for p in reference.parameters())
        assert squares > clip**2
        for parameter in reference.parameters():
            parameter.grad *= clip / math.sqrt(squares)
        optimizer.step()
    for one, other in zip(translator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("count", [5, 1])
def test_the_shares_of_two_processes_are_one_step_of_one(monkeypatch, count):
    """The mean of their gradients, which is what DistributedDataParallel makes of them."""
    monkeypatch.setattr(training, "DistributedDataParallel", lambda module, device_ids: module)
    handed_in = []

    class One(ProcessGroup):
        def all_reduce(self, *numbers):
            handed_in.append(numbers)
            return list(numbers)

    settings = replace(SETTINGS, max_grad_norm=1e9)
    gradients = []
    for process_group in (ProcessGroup(), One(0, 2), One(1, 2)):
        translator = fresh(dropout=0.0)
        examples = translator.examples(PAIRS[:count])
        run = begun(translator, settings, examples, process_group)
        run.one_step(examples)
        run.look_at_losses()
        gradients.append([parameter.grad for parameter in translator.parameters()])
        assert run.state.tokens == sum(len(target) + 1 for _, target in examples)
        if process_group.world_size == 1:
            nats = run.state.nats
    assert sum(share for share, _ in handed_in) == pytest.approx(nats)
    for whole, *shares in zip(*gradients, strict=True):
        torch.testing.assert_close(sum(shares) / 2, whole, rtol=1e-4, atol=1e-7)


def test_each_epoch_has_an_order_of_its_own_that_the_seed_decides(monkeypatch):
    def orders(seed):
        seen = []
        whole = training._Run.one_step

        def one_step(self, examples):
            seen.append(examples)
            whole(self, examples)

        with monkeypatch.context() as patch:
            patch.setattr(training._Run, "one_step", one_step)
            run(settings=replace(SETTINGS, seed=seed))
        assert len(seen) == 15
        return [seen[start : start + 3] for start in range(0, 15, 3)]

    one, other = orders(3), orders(4)
    everything = sorted(fresh().examples(PAIRS))
    for epoch in one + other:
        assert sorted(example for batch in epoch for example in batch) == everything
    for epochs in (one, other):
        assert all(epoch != epochs[0] for epoch in epochs[1:3])
    assert one != other
    assert orders(3) == one


def test_the_rate_rises_straight_and_falls_along_a_cosine():
    settings = TrainingConfig(epochs=10, batch_tokens=10, warmup=0.2)
    state = begun(fresh(), settings)
    assert state.total_steps == 30
    rates = []
    for _ in range(30):
        rates += [group["lr"] for group in state.optimizer.param_groups]
        state.one_step(fresh().examples(PAIRS[:1]))
    shares = [rate / settings.learning_rate for rate in rates]
    assert shares[:6] == pytest.approx([1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7])
    assert shares[6] == pytest.approx(1.0)
    assert shares[18] == pytest.approx(0.5)
    assert shares[29] == pytest.approx(0.5 * (1 + math.cos(math.pi * 23 / 24)))
    assert shares[6:] == sorted(shares[6:], reverse=True)


def test_bf16_learns_the_same_a_little_less_exactly():
    settings = replace(SETTINGS, learning_rate=0.03)
    _, exact = run(fresh(dropout=0.0), settings)
    translator, mixed = run(fresh(dropout=0.0), replace(settings, precision="bf16"))
    for one, other in zip(exact.epochs, mixed.epochs, strict=True):
        assert one.training_loss == pytest.approx(other.training_loss, rel=0.03)
        assert one.training_loss != other.training_loss
    assert mixed.epochs[-1].training_loss < 0.95 * mixed.epochs[0].training_loss
    assert all(parameter.dtype == torch.float32 for parameter in translator.parameters())


def test_progress_shows_the_loss_and_the_speed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # the bar is cut where the terminal ends
    settings = TrainingConfig(epochs=8, batch_tokens=10, seed=3)
    train(fresh(), PAIRS, VALIDATION, settings, progress=True)
    shown = capsys.readouterr().err
    assert "24/24" in shown
    assert "epoch 8: training " in shown
    assert ", validation " in shown
    assert "nats/token" in shown
    assert "tokens/s" in shown


def test_progress_shows_the_loss_within_an_epoch(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(training._Run, "LOOK", 1)
    monkeypatch.setattr(training, "tqdm", partial(tqdm, mininterval=0, miniters=1))
    train(fresh(), PAIRS, VALIDATION, SETTINGS, progress=True)
    shown = re.findall(r"epoch 1: training ([\d.]+) nats/token", capsys.readouterr().err)
    assert shown
    assert 0.0 not in map(float, shown)


def test_speed_is_tokens_by_the_time_of_training(monkeypatch):
    """A clock that ticks whenever somebody looks: twice an epoch, so that each takes a second."""
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)
    monkeypatch.setattr(training, "time", clock)
    _, history = run()
    tokens = sum(len(target) + 1 for _, target in fresh().examples(PAIRS))
    speeds = [epoch.tokens_per_second for epoch in history.epochs]
    assert speeds == [tokens] * SETTINGS.epochs


def test_the_time_of_keeping_a_state_is_not_that_of_training(monkeypatch, tmp_path):
    """The clock's ticks while a state is written do not count; each part between two does."""
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)
    monkeypatch.setattr(training, "time", clock)
    _, history = run(folder=tmp_path)  # 15 steps, kept after every second
    tokens = sum(len(target) + 1 for _, target in fresh().examples(PAIRS))
    seconds = [tokens / epoch.tokens_per_second for epoch in history.epochs]
    assert seconds == pytest.approx([2, 3, 2, 3, 2])


def test_fp16_is_refused_on_a_cpu():
    with pytest.raises(ValueError, match="fp16 needs a GPU; on a CPU use bf16 or fp32"):
        run(settings=TrainingConfig(precision="fp16"))


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "named"), [("cuda:1", [1]), ("cpu", None)])
def test_a_process_of_a_team_keeps_to_its_own_gpu(monkeypatch, device, named):
    gpus = []
    translator = fresh()
    monkeypatch.setattr(Translator, "device", torch.device(device))
    monkeypatch.setattr(
        training, "DistributedDataParallel", lambda module, device_ids: gpus.append(device_ids)
    )
    process_group = ProcessGroup(rank=3, world_size=4, local_rank=1)
    begun(translator, process_group=process_group)
    assert gpus == [named]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("device", ["cuda", "mps", "cpu"])
def test_gradients_are_scaled_for_fp16_on_cuda_alone(monkeypatch, device, precision):
    scaling = []
    translator = fresh()
    monkeypatch.setattr(Translator, "device", torch.device(device))
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled: scaling.append((device, enabled))
    )
    settings = replace(SETTINGS, precision=precision)
    begun(translator, settings)
    assert scaling == [(device, (precision, device) == ("fp16", "cuda"))]


def test_pick_device(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device cuda is not there: torch .* sees 0"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device mps is not there"):
        pick_device("mps")
    with pytest.raises(ValueError, match=r"device must be cpu, cuda, .* got 'gpu'"):
        pick_device("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device() == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"device cuda:2 is not there: torch .* sees 2"):
        pick_device("cuda:2")
