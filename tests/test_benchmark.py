"""The benchmark's machinery. No test asserts how fast anything is."""

import json
import math
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnbook import benchmark, plots
from attnbook.__main__ import main
from attnbook.batches import collate
from attnbook.benchmark import MODELS, Benchmark, Part, Peer, Plan, Product, products
from attnbook.decoders import LuongDecoder
from attnbook.encoder import Encoder
from attnbook.fast import GROUP
from attnbook.seq2seq import Config, Translator
from attnbook.vocabulary import EOS
from stand_in import NAME, card, module

__all__ = ["card"]  # a fixture

TINY: dict[str, Any] = {
    "data": "synthetic",
    "words": GROUP + 7,
    "embedding_dim": 6,
    "hidden_dim": 12,
    "batch_tokens": 60,
    "batch_sentences": 4,
    "batches": 2,
    "sentences": 5,
    "repeat": 2,
    "threads": (1,),
    "beam_size": 2,
    "peer_steps": 1,
}
FLAGS = [
    f"--{'batches-a-round' if name == 'batches' else name.replace('_', '-')}={value}"
    for name, value in TINY.items()
    if name != "threads"
] + ["--threads", "1", "--quiet"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(benchmark, "LEAST", 0.0)


class Same(Peer):
    """The same model from the same package, its loss multiplied by a factor."""

    package = "attnbook"
    notes = "made up"
    theirs: Translator

    def __init__(self, sizes, factor=1.0, translates=False, words=lambda ids: ids):
        config = Config(
            embedding_dim=sizes.embedding, hidden_dim=sizes.hidden, bidirectional=True, dropout=0.2
        )
        self.ours, self.theirs = (Translator(config, sizes.source, sizes.target) for _ in range(2))
        self.factor, self.translates, self.words = factor, translates, words

    def copy_weights(self):
        self.theirs.load_state_dict(self.ours.state_dict())

    def batch(self, batch):
        return batch

    def loss(self, batch):
        return self.factor * self.theirs.loss(batch).objective

    def optimizer(self):
        return torch.optim.Adam(self.theirs.parameters())

    def search(self, batch, beam_size, limit):
        found = benchmark._search(self.theirs, batch, beam_size, [limit] * len(batch))
        return [self.words(list(ids)) for ids in found]


def run(peers=None, parts=None, **changes):
    said: list[str] = []
    bench = Benchmark(Plan(**TINY | changes), peers, parts or {}, progress=False, say=said.append)
    with benchmark._threads(1):
        for name in bench.peers:
            bench._educate(name)
            bench._compare(name, "threads1")
        for name in bench.parts:
            bench._compare_part(name, "threads1")
    return bench.result, said


# --- peers ----------------------------------------------------------------------------------------


def test_a_pair_with_equal_losses_is_timed():
    result, said = run({"same": Same}, models=("dot",))
    for regime in ("random", "bucketed"):
        entry = result["peers"]["same"][regime]
        assert entry["loss_difference"] < 1e-6
        assert entry["ratio"] > 0
        assert entry["ours"]["rounds"] == 2
    assert not said


def test_a_pair_with_different_losses_is_refused():
    result, said = run({"other": lambda sizes: Same(sizes, factor=1.001)}, models=("dot",))
    for regime in ("random", "bucketed"):
        entry = result["peers"]["other"][regime]
        assert entry["loss_difference"] == pytest.approx(0.001, rel=0.01)
        assert "ratio" not in entry
        assert "losses differ by 0.001" in entry["refused"]
    assert any("other" in line and "not timed" in line for line in said)


def test_a_pair_that_writes_other_words_is_not_timed():
    peers = {
        "equal": lambda sizes: Same(sizes, translates=True),
        "other": lambda sizes: Same(sizes, translates=True, words=lambda ids: [*ids[::-1], EOS]),
    }
    result, _ = run(peers, models=("dot",), regimes=("random",), sentences=3, repeat=1)
    equal, other = (result["peers"][name]["greedy"]["random"] for name in peers)
    assert equal["same_words"] == 1
    assert equal["ratio"] > 0
    assert other["same_words"] == 0
    assert "ratio" not in other


def test_a_peer_that_is_not_installed_is_named():
    def missing(sizes):
        raise ModuleNotFoundError("No module named 'joeynmt'")

    result, said = run({"joey": missing}, models=("dot",))
    assert result["absent"] == {"joey": "No module named 'joeynmt'"}
    assert result["peers"] == {}
    assert "joey is left out" in said[0]


@pytest.mark.parametrize("name", benchmark.PARTS)
def test_attention_alone_equals_torchs(name):
    result, said = run(parts={name: benchmark.PARTS[name]}, models=("dot",))
    assert result["attention"][name]["difference"] < 1e-5
    assert result["attention"][name]["ratio"] > 0
    assert not said


def test_attention_alone_that_differs_is_refused():
    def ignores_its_mask(width):
        part = benchmark.PARTS["torch-sdpa"](width)
        theirs: Any = part.theirs  # which promises nothing for no mask
        return Part(part.ours, lambda queries, keys, mask: theirs(queries, keys, None))

    result, said = run(parts={"blind": ignores_its_mask}, models=("dot",))
    assert "ratio" not in result["attention"]["blind"]
    assert "blind: not timed" in said[0]


# --- what a turn does -----------------------------------------------------------------------------


def test_turns_alternate_and_come_back():
    order = []

    def work(name):
        def turn(number):
            order.append((number, name))
            return 3.0

        return turn

    with benchmark.tqdm(disable=True) as bar:
        works = {"a": work("a"), "b": work("b")}
        samples = benchmark.alternate(works, 2, bar, benchmark.CPU)
    assert [name for _, name in order] == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(found) for name, found in samples.items()} == {"a": 2, "b": 2}
    rate = benchmark.Rate.of([benchmark.Sample(6.0, 2.0, 3.0), benchmark.Sample(6.0, 1.0, 1.0)] * 2)
    assert (rate.cpu, rate.wall, rate.low, rate.high, rate.rounds) == (4.5, 4, 3, 6, 4)
    assert rate.compared == rate.cpu


def test_a_turn_on_a_gpu_ends_when_the_gpu_has_done_it(card):
    """The processor is done long before; so the clock waits, and the processor's time is none."""
    waited = []

    def work(number):
        waited.append(module.waited)
        return 6.0

    before = module.waited
    with benchmark.tqdm(disable=True) as bar:
        samples = benchmark.alternate({"a": work, "b": work}, 1, bar, card)
    # Once before each of the four turns, once after.
    assert [count - before for count in waited] == [1, 3, 5, 7]
    assert module.waited - before == 8
    assert all(one.cpu is None and one.wall > 0 for one in samples["a"])
    rate = benchmark.Rate.of([benchmark.Sample(6.0, None, 3.0), benchmark.Sample(6.0, None, 2.0)])
    assert (rate.cpu, rate.wall, rate.low, rate.high) == (None, 2.5, 2, 3)
    assert rate.compared == rate.wall
    assert set(rate.named("calls")) == {"calls_per_second", "low", "high", "rounds"}


def test_every_model_translates_as_many_words_as_the_right_answers():
    bench = Benchmark(Plan(**TINY), progress=False)
    for name in MODELS:
        translator = bench.build(name).eval()
        with torch.no_grad():
            translator.decoder.output.bias[EOS] = -1e4
        for beam in (1, 2):
            (batch, *_) = bench.to_translate("random", beam)
            found = benchmark._search(translator, batch, beam, batch.target_lengths.tolist())
            assert list(map(len, found)) == batch.target_lengths.tolist()


def test_regimes_hold_the_same_sentences_in_another_order():
    bench = Benchmark(Plan(**TINY), progress=False)
    one, other = (
        sorted(tuple(row[row > 0].tolist()) for batch in batches for row in batch.source)
        for batches in (bench.to_translate("random", 1), bench.to_translate("bucketed", 1))
    )
    assert one == other


# --- the ceiling ----------------------------------------------------------------------------------


def counted(translator, batch):
    """Operations of the matrix products that torch itself counts in a forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        readouts = translator(batch).readouts[batch.target_mask]
        translator.decoder.logits(readouts)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", MODELS)
def test_products_count_what_torch_counts(name):
    """All but the recurrent layers' fused calls and the blocked score, which it cannot see."""
    bench = Benchmark(Plan(**TINY), progress=False)
    translator = bench.build(name)
    batch = collate([([4, 5, 6], [4, 5, 6, 7, 8]), ([4], [5, 6, 7, 8, 9])])
    config = translator.config
    found = products(config, len(bench.sizes.target), batch)
    if name == "transformer":  # whose attention is visible where it is made of products
        with sdpa_kernel(SDPBackend.MATH):
            assert counted(translator, batch) == sum(one.operations for one in found)
        return
    sentences, target, hidden = 2, 6, config.hidden_dim
    hidden_to_gates = Product(sentences, hidden, 4 * hidden, steps=target)
    assert hidden_to_gates in found
    total = sum(one.operations for one in found)
    seen = counted(translator, batch)
    unseen = recurrent(config, batch) + (
        0
        if config.score not in ("concat", "additive") or not translator.attends
        else 2 * sentences * target * batch.source.shape[1] * hidden
    )
    # With input feeding and in Bahdanau's decoder, the target side is made of visible products.
    steps = config.decoder == "bahdanau" or config.input_feeding
    assert seen <= total
    assert total - seen <= unseen if steps else total - seen == pytest.approx(unseen, rel=0.2)


def recurrent(config, batch):
    """Operations inside torch's LSTM calls, of encoder and decoder."""
    sentences, source = batch.source.shape
    target, word, hidden = batch.target_in.shape[1], config.embedding_dim, config.hidden_dim
    extra = {"cho": hidden, "bahdanau": hidden}.get(config.decoder, 0)
    extra += word if config.input_feeding else 0
    encoder = 2 * sentences * source * 2 * (word + hidden // 2) * 4 * (hidden // 2)
    return encoder + 2 * sentences * target * (word + extra + hidden) * 4 * hidden


def test_a_product_has_two_gradients_of_its_size():
    forward = Product(3, 5, 7, steps=11)
    left, right = forward.backward()
    assert (left.rows, left.inner, left.columns, left.steps) == (3, 7, 5, 11)
    assert (right.rows, right.inner, right.columns, right.steps) == (5, 33, 7, 1)
    assert forward.operations == left.operations == right.operations == 2 * 3 * 5 * 7 * 11
    batched = Product(3, 5, 7, batch=2)
    assert all(one.operations == batched.operations for one in batched.backward())


def test_the_ceiling_is_operations_over_rate():
    batch = collate([([4, 5], [4, 5, 6])])
    config = Config(embedding_dim=4, hidden_dim=6)
    ceiling = benchmark.Ceiling.of(config, 9, batch)
    assert ceiling.operations_per_token == pytest.approx(
        3 * sum(one.operations for one in products(config, 9, batch)) / batch.target_tokens
    )
    assert ceiling.tokens_per_second == pytest.approx(
        ceiling.gigaflops * 1e9 / ceiling.operations_per_token
    )


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.needs("linux")  # the peak is read from its /proc
def test_memory_sees_what_is_there_only_for_a_while():
    peak = benchmark.grown(lambda: torch.zeros(64 * 2**20).sum())
    assert peak is not None
    assert 0.9 * 256 * 2**20 < peak < 1.2 * 256 * 2**20


@pytest.mark.needs("linux")  # the peak is read from its /proc
def test_the_blocked_score_takes_at_most_half_of_the_tensor_of_all_pairs():
    """The tensor itself is what the plain form cannot do without."""
    tensor = 4 * math.prod(benchmark.SCORE_SHAPE)
    plain, fast = (
        benchmark._in_new_process(benchmark.score_memory, kind, benchmark.CPU)
        for kind in (False, True)
    )
    assert plain > tensor
    assert fast < tensor / 2


# --- the command ----------------------------------------------------------------------------------


def attnbook(capsys, *words):
    code = main(["benchmark", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


PEERS = textwrap.dedent(
    """
    from attnbook.benchmark import Peer

    def missing(sizes):
        import no_such_library

    PEERS = {"nobody": missing}
    """
)


def complete(result, models, regimes):
    """Every section has a number for all that it measures."""
    on_cpu = result["benchmark"]["plan"]["device"] == "cpu"
    clock = "cpu_second" if on_cpu else "second"
    for name in models:
        for regime in regimes:
            training = result["training"][regime]["threads1"][name]
            assert training["low"] <= training[f"tokens_per_{clock}"] <= training["high"]
            assert training["tokens_per_second"] > 0
            for kind in ("greedy", "beam"):
                assert result[kind][regime]["threads1"][name]["sentences_per_second"] > 0
            if on_cpu:
                assert result["ceiling"][regime][name]["share"] > 0
        assert "peak_mb" in result["memory"][name]
    assert result["memory"]["additive_score"]["speed_ratio"] > 0
    assert set(result["heads"]) == {"3", "5"}
    for entry in result["heads"].values():
        assert entry["torch"]["ratio"] > 0
        assert entry["formula"]["ours"]["calls_per_second"] > 0
    assert set(result["attention"]) >= set(benchmark.PARTS)
    assert all(result["attention"][name]["ratio"] > 0 for name in benchmark.PARTS)
    assert set(result["levers"]) >= {"unpacked", "once", "tokens"}
    assert all(entry["ratio"] > 0 for entry in result["levers"].values())


@pytest.fixture
def small_sections(monkeypatch):
    monkeypatch.setattr(benchmark, "SCORE_SHAPE", (2, 3, 5, 7))
    monkeypatch.setattr(benchmark, "HEAD_LENGTHS", (3, 5))


ONE_MODEL = [*FLAGS, "--repeat=1", "--models", "additive", "--batches", "random"]


def test_every_section_runs(capsys, tmp_path, monkeypatch, small_sections):
    """With one model; all of them, each in a process of its own, are in the run below."""
    monkeypatch.setattr(benchmark, "_in_new_process", lambda function, *args: function(*args))
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
    assert not plot.exists()  # it draws bucketed batches


def test_every_section_runs_on_a_gpu(capsys, small_sections, card, monkeypatch):
    """On a stand-in, whose tensors refuse to meet those of the CPU as a GPU's do."""

    def nowhere(*args):
        raise AssertionError("on a GPU there is no need of another process")

    monkeypatch.setattr(benchmark, "_in_new_process", nowhere)
    code, out, err = attnbook(capsys, *ONE_MODEL, f"--device={NAME}", "--json")
    assert code == 0, err
    result = json.loads(out)
    complete(result, ["additive"], ["random"])
    assert result["memory"]["additive"]["peak_mb"] == 1
    assert result["benchmark"]["machine"]["device"] == "stand-in"
    assert list(result["not_run"]) == ["ceiling"]
    title, _, rows = benchmark.tables(result)[0]
    assert title == "Tokens learned from, and sentences translated, in a second"
    assert "–" not in rows[0]


def test_a_peer_on_a_gpu_is_built_there(card):
    bench = Benchmark(
        Plan(**TINY | {"device": NAME, "models": ("dot",)}), {"same": Same}, {}, progress=False
    )
    peer, (batch, *_) = bench.peers["same"], bench.batches("random")
    assert peer.ours.device.type == peer.theirs.device.type == NAME
    assert benchmark.loss_difference(peer, batch, peer.batch(batch)) < 1e-6


@pytest.mark.exhaustive
def test_a_tiny_run_from_end_to_end(capsys, tmp_path, small_sections):
    output, plot = tmp_path / "speed.json", tmp_path / "speed.svg"
    models = ["dot", "additive", "fixed"]
    code, _, err = attnbook(
        capsys, *FLAGS, "--models", *models, f"--output={output}", f"--plot={plot}"
    )
    assert code == 0, err
    result = json.loads(output.read_text())
    complete(result, models, ["random", "bucketed"])
    assert 0 <= result["benchmark"]["batches"]["bucketed"]["padding"] < 1
    svg = plot.read_text()
    assert "Training on one core" in svg
    assert "additive" in svg


def test_sections_go_into_an_earlier_result(capsys, tmp_path):
    output = tmp_path / "speed.json"
    few = [*FLAGS, "--models", "dot", f"--output={output}"]
    assert attnbook(capsys, *few, "--only", "greedy")[0] == 0
    before = json.loads(output.read_text())
    assert attnbook(capsys, *few, "--only", "beam", "--batches", "random")[0] == 0
    result = json.loads(output.read_text())
    assert result["greedy"] == before["greedy"]
    assert result["beam"]["random"]["threads1"]["dot"]["rounds"] == 2
    assert result["training"] == {}
    assert len(result["runs"]) == 2
    assert "--only beam" in result["runs"][1]["command"]


def test_an_interrupt_keeps_what_was_measured(capsys, tmp_path, monkeypatch):
    def interrupted(self, kind, beam):
        raise KeyboardInterrupt

    monkeypatch.setattr(Benchmark, "translating", interrupted)
    output = tmp_path / "speed.json"
    code, out, err = attnbook(capsys, *FLAGS, "--models", "dot", f"--output={output}")
    assert code == 130
    assert "interrupted; what was measured so far follows" in err
    result = json.loads(output.read_text())
    assert result["runs"][0]["interrupted"] is True
    assert "dot" in result["training"]["bucketed"]["threads1"]
    assert result["beam"] == {}
    assert "dot" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repeat=0"], "repeat must be at least 1"),
        (["--threads", "0"], "threads must be at least 1"),
        (["--beam-size=1"], "a beam has at least 2"),
        (["--peers=none.py"], "none.py: No such file"),
        (["--device=cuda:7"], "device cuda:7 is not there"),
        (["--output=."], "is a folder"),
    ],
)
def test_mistakes_end_in_one_line(capsys, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = attnbook(capsys, *FLAGS, *words)
    assert code == 2
    assert out == ""
    assert message in err


def test_a_file_without_peers_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("ANSWER = 42")
    with pytest.raises(ValueError, match="defines no PEERS"):
        benchmark.load_peers(tmp_path / "empty.py")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="models must be among fixed"):
        Plan(models=("oracle",))


def test_the_adapters_of_the_repository_name_what_is_missing(pytestconfig):
    """Without the other libraries tools/peers.py still loads; each peer says what it lacks."""
    peers, parts = benchmark.load_peers(pytestconfig.rootpath / "tools" / "peers.py")
    bench = Benchmark(Plan(**TINY), peers, parts, progress=False)
    for name in (*peers, *parts):
        assert name in bench.absent or name in bench.peers or name in bench.parts
    assert set(bench.absent) | set(bench.peers) | set(bench.parts) == {*peers, *parts}


def test_the_figure_needs_no_ceiling():
    """On a GPU there is none, and no processor's time."""
    rate = {"tokens_per_second": 2.0, "low": 1.0, "high": 3.0}
    result = {
        "benchmark": {"plan": {"models": ["dot"]}},
        "training": {"bucketed": {"threads1": {"dot": rate}}},
        "ceiling": {},
    }
    with plots.style():
        drawn = benchmark.figure(result)
    assert drawn.axes[0].get_yticklabels()[0].get_text() == "dot"
    assert drawn.axes[0].get_title("left") == "Training on a GPU"
    assert drawn.axes[0].get_xlabel() == "target tokens per second"
    plots.plt.close(drawn)


def test_a_wide_readout_is_never_tied():
    sizes = (11, 5, 8)
    with pytest.raises(ValueError, match="set tied to False"):
        LuongDecoder(benchmark.Attention(benchmark.ScaledDotScore()), *sizes, readout_dim=8)
    decoder = LuongDecoder(
        benchmark.Attention(benchmark.ScaledDotScore()),
        *sizes, readout_dim=8, tied=False, input_feeding=True,
    )  # fmt: skip
    encoder = Encoder(7, 5, 8)
    encoded = encoder(torch.tensor([[4, 5, 3]]), torch.tensor([3]))
    assert decoder(torch.tensor([[2, 4]]), encoded).readouts.shape == (1, 2, 8)
    assert isinstance(decoder.output, nn.Linear)


def test_the_command_runs_as_a_module(tmp_path):
    words = [*ONE_MODEL, "--only", "training"]
    done = subprocess.run(
        [sys.executable, "-m", "attnbook", "benchmark", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Tokens learned from" in done.stdout
