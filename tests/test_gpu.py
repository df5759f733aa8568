"""Everything that is computed on a GPU, against the same on the CPU.

Each test runs on a stand-in (``stand_in.py``), which finds a tensor on the wrong device wherever
the tests run, and marked `gpu` on a card, which finds what its kernels compute differently:
`make gpu`, or ``pytest -m gpu tests/test_gpu.py``. With ``--device cpu`` the latter compare the
CPU with itself, so that no line of them waits for a card.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jupytext
import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor, nn

import gpu
import stand_in
from attnbook.__main__ import main
from attnbook.attention import Attention
from attnbook.batches import collate
from attnbook.benchmark.plan import MODELS
from attnbook.benchmark.run import Benchmark
from attnbook.bert import (
    Bert,
    BertConfig,
    Classifier,
    Pretraining,
    hide,
    read_texts,
    train_wordpiece,
)
from attnbook.decoding import (
    beam_search,
    decode,
    greedy_search,
    teacher_forced_attention,
    translate,
)
from attnbook.evaluation import free_running_perplexity, teacher_forced_perplexity
from attnbook.labs import Size, by_device, captions
from attnbook.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    GeneralScore,
    ScaledDotScore,
    Score,
)
from attnbook.self_attention import MultiHeadAttention
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig, config_of
from attnbook.training import Epoch, TrainingConfig, pick_device, train
from small_books import SmallBook
from small_models import DECODERS, EXAMPLES, PAIRS, SOURCE, TARGET, name, small

ROOT = Path(__file__).resolve().parents[1]
Module = TypeVar("Module", bound=nn.Module)
card = stand_in.card
SCORES: dict[str, Callable[[], Score]] = {
    "dot": DotScore,
    "scaled-dot": ScaledDotScore,
    "general": lambda: GeneralScore(7, 7),
    "concat": lambda: ConcatScore(7, 7, 5),
    "additive": lambda: AdditiveScore(7, 7, 5),
}
ATTENDING = [one for one in DECODERS if one["decoder"] in ("luong", "bahdanau", "transformer")]


@pytest.fixture
def gpu_device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The card that ``--device`` names."""
    wanted = torch.device(request.config.getoption("--device"))
    if wanted.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch finds none on this machine")
    # A GPU would round products of 32 bits to 19 of them, and hide a mistake of that size.
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield wanted
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(params=["card", pytest.param("gpu_device", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where things are computed a second time: on the stand-in, and on a GPU."""
    return request.getfixturevalue(request.param)


def same(there: Tensor | None, here: Tensor | None, device: torch.device, **options: Any) -> None:
    """Equal numbers, and those of the device do lie on it."""
    assert there is not None
    assert here is not None
    assert there.device.type == device.type
    torch.testing.assert_close(there.detach().cpu(), here.detach(), **options)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {key: one.grad for key, one in module.named_parameters() if one.grad is not None}


def twice(module: Module, device: torch.device) -> tuple[Module, Module]:
    """A module on the CPU, and a copy on the device."""
    return module, copy.deepcopy(module).to(device)


def same_gradients(here: nn.Module, there: nn.Module, device: torch.device, **options: Any) -> None:
    expected, found = gradients(here), gradients(there)
    assert found.keys() == expected.keys()
    assert found
    for key, gradient in found.items():
        same(gradient, expected[key], device, **options)


# --- decoders and scores --------------------------------------------------------------------------


@pytest.mark.parametrize("settings", DECODERS, ids=name)
def test_every_decoder_computes_what_it_does_on_the_cpu(
    device: torch.device, settings: dict[str, Any]
) -> None:
    """Loss, every gradient, and the words of both searches, in float64."""
    here, there = small(**settings), small(**settings).to(device)
    batch = collate(EXAMPLES)
    losses = [one.loss(batch.to(one.device), 0.1) for one in (here, there)]
    same(losses[1].objective, losses[0].objective, device)
    same(losses[1].nats, losses[0].nats, device)
    for loss in losses:
        loss.objective.backward()
    same_gradients(here, there, device)
    encoded = []
    for one in (here, there):
        with torch.inference_mode():
            encoded.append(one.encode(batch.source.to(one.device), batch.source_lengths))
    same(encoded[1].states, encoded[0].states, device)
    both = list(zip((here, there), encoded, strict=True))
    most = [7, 4, 2]  # untrained, they would go on until the last word that they may write
    greedy = [greedy_search(one, read, most) for one, read in both]
    assert [found.ids for found in greedy[1]] == [found.ids for found in greedy[0]]
    beams = [beam_search(one, read, beam_size=3, max_lengths=most) for one, read in both]
    ids = [[[found.ids for found in ranked] for ranked in one] for one in beams]
    assert ids[1] == ids[0]


@pytest.mark.parametrize("settings", ATTENDING, ids=name)
def test_traces_and_weights_are_the_same(device: torch.device, settings: dict[str, Any]) -> None:
    """What figures and tables are drawn from, and both perplexities."""
    here, there = small(**settings), small(**settings).to(device)
    traces = [decode(one, ["ich", "trinkt", "bier"], masked=[1]) for one in (here, there)]
    assert traces[1].target_tokens == traces[0].target_tokens
    assert traces[1].weights == pytest.approx(traces[0].weights, abs=1e-9)
    for ours, theirs in zip(traces[1].maps, traces[0].maps, strict=True):
        assert ours.weights == pytest.approx(theirs.weights, abs=1e-9)
    weights = [teacher_forced_attention(one, PAIRS) for one in (here, there)]
    for found, right in zip(*weights, strict=True):
        assert found == pytest.approx(right, abs=1e-9)
    for perplexity in (teacher_forced_perplexity, free_running_perplexity):
        assert perplexity(there, PAIRS) == pytest.approx(perplexity(here, PAIRS))


@pytest.mark.parametrize("score", SCORES)
def test_every_score_and_its_gradients(device: torch.device, score: str) -> None:
    """Contexts of a batch in which one row may look nowhere: zero weights, and no gradient."""
    torch.manual_seed(0)
    here, there = twice(Attention(SCORES[score]()).double(), device)
    queries, keys = torch.randn(3, 4, 7).double(), torch.randn(3, 5, 7).double()
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5]).unsqueeze(1)
    found = []
    for one, place in ((here, torch.device("cpu")), (there, device)):
        inputs = [x.clone().to(place).requires_grad_() for x in (queries, keys)]
        attended = one(inputs[0], inputs[1], inputs[1], mask.to(place))
        (attended.context**2).sum().backward()
        found.append((attended, inputs))
    (right, right_inputs), (attended, inputs) = found
    same(attended.context, right.context, device)
    same(attended.weights, right.weights, device)
    for given, right_given in zip(inputs, right_inputs, strict=True):
        same(given.grad, right_given.grad, device)
    assert attended.weights[2].abs().sum() == 0
    assert attended.weights[1, :, 2:].abs().sum() == 0
    assert inputs[0].grad is not None
    assert inputs[0].grad[2].abs().sum() == 0
    if list(here.parameters()):
        same_gradients(here, there, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("score", SCORES)
def test_sixteen_bits_stay_finite(device: torch.device, score: str, dtype: torch.dtype) -> None:
    """Scores of thousands and a row that may look nowhere: weights sum to 1 or to 0."""
    torch.manual_seed(0)
    attention = Attention(SCORES[score]()).to(device, dtype)
    queries, keys = (
        (30 * torch.randn(2, size, 7)).to(device, dtype).requires_grad_() for size in (3, 5)
    )
    mask = torch.tensor([[True, True, True, False, False], [False] * 5]).unsqueeze(1).to(device)
    attended = attention(queries, keys, keys, mask)
    attended.context.sum().backward()
    sums = attended.weights.detach().cpu().float().sum(dim=-1)
    torch.testing.assert_close(sums, torch.tensor([[1.0] * 3, [0.0] * 3]), atol=0.02, rtol=0)
    assert bool(attended.context.isfinite().all())
    for one in (queries, keys):
        assert one.grad is not None
        assert bool(one.grad.isfinite().all())


# --- several heads, BERT --------------------------------------------------------------------------


@pytest.mark.parametrize("need_weights", [True, False], ids=["weights", "no-weights"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "all"])
def test_heads(device: torch.device, causal: bool, need_weights: bool) -> None:
    """With and without weights asked for, which are two ways of computing; padding masked."""
    torch.manual_seed(0)
    here, there = twice(MultiHeadAttention(12, 3).double(), device)
    words = torch.randn(2, 5, 12).double()
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]]).unsqueeze(1)
    found = []
    for one, place in ((here, torch.device("cpu")), (there, device)):
        x = words.to(place)
        found.append(one(x, x, x, mask.to(place), causal=causal, need_weights=need_weights))
        (found[-1].output ** 2).sum().backward()
    same(found[1].output, found[0].output, device)
    if need_weights:
        same(found[1].weights, found[0].weights, device)
    same_gradients(here, there, device)


def test_bert(device: torch.device) -> None:
    """Hidden pieces, the loss of pre-training with all gradients, and a classifier's."""
    texts = ["a man is sleeping", "two umbrellas , one umbrella", "three dogs are running"]
    tokenizer = train_wordpiece(texts, 60)
    read = read_texts(tokenizer, texts)
    torch.manual_seed(0)
    config = BertConfig(tokenizer.get_vocab_size(), 12, 3, 2, 20, read.ids.shape[1], dropout=0.0)
    here, there = twice(Pretraining(config).double().eval(), device)
    losses = []
    for one, place in ((here, torch.device("cpu")), (there, device)):
        some = read.to(place)
        hidden = hide(some, tokenizer, generator=torch.Generator().manual_seed(1))
        assert hidden.ids.device.type == place.type
        losses.append(one.loss(some, hidden))
        losses[-1].backward()
    same(losses[1], losses[0], device)
    same_gradients(here, there, device)
    torch.manual_seed(0)
    near, far = twice(Classifier(Bert(config), 2).double().eval(), device)
    same(far(read.to(device)), near(read), device)


# --- training -------------------------------------------------------------------------------------


def model(device: torch.device) -> Translator:
    torch.manual_seed(0)
    config = RecurrentConfig(
        decoder="bahdanau", score="additive", bidirectional=True, embedding_dim=10, hidden_dim=16,
        dropout=0.1, embedding_std=0.5,
    )  # fmt: skip
    return Translator.from_config(config, SOURCE, TARGET).to(device)


SETTINGS = TrainingConfig(epochs=6, batch_tokens=20, learning_rate=0.02)


@pytest.mark.parametrize(
    "precision", ["fp32", *(pytest.param(low, marks=pytest.mark.gpu) for low in ("bf16", "fp16"))]
)
@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "transformer"])
def test_training_lowers_the_loss(device: torch.device, decoder: str, precision: str) -> None:
    if precision == "fp16" and device.type == "cpu":
        pytest.skip("fp16 needs a GPU: on a CPU training refuses it (test_training.py)")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_dim": 16, "dropout": 0.0}
    if decoder != "transformer":
        sizes["embedding_dim"] = 16
    config = config_of({"decoder": decoder} | sizes)
    translator = Translator.from_config(config, SOURCE, TARGET).to(device)
    settings = TrainingConfig(epochs=4, batch_tokens=60, learning_rate=0.01, precision=precision)
    history = train(translator, PAIRS, PAIRS, settings, progress=False)
    losses = [epoch.validation_loss for epoch in history.epochs]
    assert losses[-1] < losses[0]
    assert all(bool(one.isfinite().all()) for one in translator.parameters())
    assert all(one.device.type == device.type for one in translator.parameters())
    assert len(translate(translator, [pair.source for pair in PAIRS])) == len(PAIRS)


@pytest.mark.gpu
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    gpu_device: torch.device, tmp_path: Path
) -> None:
    """Weights, optimizer, order and dropout come back from the folder, onto the card."""
    device = gpu_device
    whole = model(device)
    right = train(whole, PAIRS, PAIRS, SETTINGS, progress=False)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"folder": tmp_path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        train(model(device), PAIRS, PAIRS, SETTINGS, after_epoch=stop, **options)
    resumed = model(device)
    history = train(resumed, PAIRS, PAIRS, SETTINGS, **options)
    assert [one.validation_loss for one in history.epochs] == pytest.approx(
        [one.validation_loss for one in right.epochs], rel=1e-4
    )
    for found, expected in zip(resumed.parameters(), whole.parameters(), strict=True):
        same(found, expected.cpu(), device, atol=1e-4, rtol=1e-3)


# --- labs -----------------------------------------------------------------------------------------


def lab_code(path: Path) -> list[str]:
    """A lab's cells, without the one that installs the package."""
    cells = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    return [cell.source for cell in cells if "setup" not in cell.metadata.get("tags", [])]


@pytest.mark.exhaustive
@pytest.mark.parametrize("lab", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_a_lab_goes_its_way_on_a_gpu(
    lab: Path, card: torch.device, monkeypatch: pytest.MonkeyPatch, as_user: None
) -> None:
    """On the stand-in and with little of everything; with captions where there are some."""
    monkeypatch.setenv("ATTNBOOK_DEVICE", stand_in.NAME)
    monkeypatch.setenv("ATTNBOOK_SIZE", "tiny")
    if not os.environ.get("ATTNBOOK_DATA"):
        monkeypatch.setenv("ATTNBOOK_DATA", "no-such-folder")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, Any] = {"__name__": "lab"}
    for number, code in enumerate(lab_code(lab)):
        exec(compile(code, f"{lab.stem}, cell {number}", "exec"), names)


SIZES = {"cpu": Size(pairs=9, longest=7), "gpu": Size(pairs=9_000, longest=17, epochs=5)}


@pytest.mark.parametrize("kind", ["cpu", "mps", "cuda"])
def test_a_lab_is_as_large_as_the_device_deserves(kind: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("ATTNBOOK_SIZE", raising=False)
    size = by_device(torch.device(kind), **SIZES)
    assert size == SIZES["gpu" if kind == "cuda" else "cpu"]
    monkeypatch.setenv("ATTNBOOK_SIZE", "gpu")
    assert by_device(torch.device(kind), **SIZES) == SIZES["gpu"]
    monkeypatch.setenv("ATTNBOOK_SIZE", "tiny")
    assert by_device(torch.device(kind), **SIZES) == Size(600, 17, epochs=1, width=32)
    monkeypatch.setenv("ATTNBOOK_SIZE", "large")
    with pytest.raises(ValueError, match="ATTNBOOK_SIZE must be cpu, gpu or tiny"):
        by_device(torch.device(kind), **SIZES)


def test_a_size_says_how_to_train() -> None:
    size = Size(pairs=9, longest=7, epochs=3, batch_tokens=11, learning_rate=0.5, precision="bf16")
    settings = size.training(seed=13)
    assert settings == TrainingConfig(
        epochs=3, batch_tokens=11, learning_rate=0.5, precision="bf16", label_smoothing=0.0, seed=13
    )


def test_captions_are_for_a_gpu_that_can_have_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ATTNBOOK_SIZE", raising=False)
    monkeypatch.setenv("ATTNBOOK_DATA", str(tmp_path))
    assert captions(torch.device("cpu")) is None
    assert capsys.readouterr().out == ""
    assert captions(torch.device("cuda")) is None
    assert "no captions here, so the grammar's sentences: ATTNBOOK_DATA is set" in (
        capsys.readouterr().out
    )


def test_captions_come_in_three_parts(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBOOK_SIZE", "gpu")
    data = captions(torch.device("cpu"))
    assert data is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [29_000, 1_014, 1_000]


def test_the_environment_may_name_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBOOK_DEVICE", "cpu")
    assert pick_device() == torch.device("cpu")
    monkeypatch.setenv("ATTNBOOK_DEVICE", "cuda:97")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="cuda:97 is not there"):
        pick_device()


# --- tools/gpu.py and the page --------------------------------------------------------------------


def test_without_a_gpu_nothing_is_run_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tmp_path / "gpu.json"
    before.write_text("{}")
    monkeypatch.setattr(gpu, "RESULT", before)
    monkeypatch.setattr(gpu, "missing", lambda: "torch finds no CUDA device")
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    assert gpu.main() == 0
    said = capsys.readouterr().out
    assert said == (
        "nothing to measure: torch finds no CUDA device; what was measured before stays\n"
    )
    assert before.read_text() == "{}"


def test_what_is_measured_is_kept_part_by_part(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    run = gpu.Run(output, "cpu", 1.0)
    run.keep("labs", {"07_bahdanau": {"state": "done", "seconds": 31.6}})
    run.keep("tests", {"exit": 0, "seconds": 3.0, "passed": 17})
    # Another run on the same machine begins with what this one left.
    again = gpu.Run(output, "cpu", 1.0)
    again.keep("benchmark", {"training": {"bucketed": {"threads1": {
        "dot": {"tokens_per_second": 12_345.6}}}}})  # fmt: skip
    again.keep("benchmark-cpu", {"training": {"bucketed": {"threads13": {
        "dot": {"tokens_per_second": 1_234.5}}}}})  # fmt: skip
    shown = json.loads(output.read_text())["page"]
    assert shown["tests"] == "17"
    assert shown["labs"]["07_bahdanau"] == "32 s"
    assert shown["labs"]["08_one_table"] == "–"
    assert shown["speed"]["dot"] == {"card": "12,346", "cpu": "1,234", "ratio": "10.0"}
    assert shown["speed"]["additive"] == {"card": "–", "cpu": "–", "ratio": "–"}
    # A run on another machine does not mix its numbers with these.
    kept = json.loads(output.read_text())
    kept["machine"]["card"] = "another"
    output.write_text(json.dumps(kept))
    assert set(gpu.Run(output, "cpu", 1.0).result) == {"command", "machine"}


def test_a_command_that_takes_too_long_is_told_to_stop(tmp_path: Path) -> None:
    """As by Ctrl-C first; what does not listen is killed."""
    run = gpu.Run(tmp_path / "gpu.json", "cpu", 1.0)
    assert run.command(["-c", "print(3)"], 60)[::2] == (0, "3\n")
    assert run.command(["-c", "raise SystemExit(7)"], 60)[0] == 7
    listening = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('kept')"
    code, seconds, said = run.command(["-c", listening], 6)
    assert (code, said) == (None, "kept\n")
    assert seconds < 50


def test_the_flags_that_the_script_gives_are_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []

    def command(self: gpu.Run, words: list[str], limit: float) -> tuple[int, float, str]:
        given.append(words)
        return 1, 0.0, ""

    monkeypatch.delenv("ATTNBOOK_DATA", raising=False)
    monkeypatch.setattr(gpu.Run, "command", command)
    monkeypatch.setattr(Benchmark, "run", lambda self: self.result)
    run = gpu.Run(tmp_path / "gpu.json", "cpu", 1.0)
    gpu.benchmark(run)
    gpu.benchmark_cpu(run)
    for _, package, *words in given:
        assert package == "attnbook"
        assert main([one for one in words if not one.startswith("--output")]) == 0


SPEED = (ROOT / "book" / "speed.md").read_text(encoding="utf-8")
SECTION = SPEED[SPEED.index("## On a GPU") : SPEED.index("## What it costs")]


@pytest.mark.parametrize("measured", [False, True], ids=["nothing measured", "measured"])
def test_the_page_shows_what_was_measured(measured: bool, tmp_path: Path) -> None:
    book = SmallBook(tmp_path)
    if measured:
        gpu.Run(tmp_path / "book" / "results" / "gpu.json", "cpu", 1.0).keep(
            "labs", {"07_bahdanau": {"state": "done", "seconds": 31.6}}
        )
    book.build("# Speed\n\n" + SECTION)
    assert book.warnings == ""
    html = book.read("html/index.html")
    assert ("Nothing on this page has been measured on a GPU yet" in html) is not measured
    assert ("32 s" in html) is measured
    assert html.count("<table") == (2 if measured else 0)


@pytest.mark.exhaustive
def test_the_whole_script_small_and_on_the_cpu(tmp_path: Path) -> None:
    """All parts, each by its own command; a copy without git is enough."""
    output = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "gpu.py", "--minutes=40", f"--try={output}"],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert result["tests"]["exit"] == 0, done.stdout
    assert {one["state"] for one in result["labs"].values()} == {"done"}
    assert result["labs"].keys() == set(gpu.LABS)
    assert set(result["page"]["speed"]) == set(MODELS)
    assert "–" not in str(result["page"]["speed"])


# --- the stand-in itself --------------------------------------------------------------------------


def test_the_stand_in_refuses_what_a_gpu_refuses(card: torch.device) -> None:
    there, here = torch.ones(3, device=card), torch.ones(3)
    assert there.device.type == stand_in.NAME
    assert float((there + 1.0).sum()) == 6  # a number of the CPU may go everywhere
    assert float((there + torch.tensor(2.0)).sum()) == 9
    assert there.cpu().device.type == "cpu"
    assert type(there.cpu()) is Tensor
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(RuntimeError, match="same device"):
        nn.Linear(3, 2)(there)
    with pytest.raises(RuntimeError, match="same device"):
        there.masked_fill(torch.tensor([True, False, True]), 0.0)
    with pytest.raises((RuntimeError, TypeError)):
        there.numpy()
