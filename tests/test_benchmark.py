"""The benchmark's sections. No test asserts how fast anything is."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_iter

import stand_in
from attnbook import plots
from attnbook.attention import Attention
from attnbook.batches import collate
from attnbook.benchmark import attention, memory, roofline, section
from attnbook.benchmark.attention import TORCH_ATTENTION, AttentionPeer
from attnbook.benchmark.levers import LEVERS
from attnbook.benchmark.peers import load_adapters, loss_difference
from attnbook.benchmark.plan import BOUNDS, MODELS, SECTIONS, Plan
from attnbook.benchmark.report import figure, tables
from attnbook.benchmark.roofline import Product, Roofline, products
from attnbook.benchmark.run import ALL_SECTIONS, Benchmark
from attnbook.benchmark.section import Table
from attnbook.benchmark.turns import Rate, Sample, take_turns
from attnbook.benchmark.workload import Workload, search
from attnbook.decoders import LuongDecoder
from attnbook.encoder import Encoder
from attnbook.scores import ScaledDotScore
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS
from scripts import ROOT
from small_benchmarks import TINY, Same, measured
from stand_in import NAME, card, module

__all__ = ["card"]  # a fixture

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(roofline, "LEAST_SECONDS", 0.0)


# --- the plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOUNDS)
def test_an_absurd_number_is_refused_by_name(name):
    def plan(value: Any) -> Plan:
        return Plan(**{name: value})

    least, most = BOUNDS[name]
    assert plan(least) != plan(most)
    for value in (least - 1, most + 1, -(10**9), 10**12):
        with pytest.raises(ValueError, match=f"{name} must be between {least} and {most:,}, got"):
            plan(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": (1, 0)}, "threads must be between 1 and 1,024, got 0"),
        ({"threads": ()}, "threads must hold at least one number"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0"),
        ({"models": ("oracle",)}, "models must be among fixed, .*; got 'oracle'"),
        ({"models": ()}, "models must name at least one of fixed"),
        ({"batching": ("sorted",)}, "batching must be among random, bucketed; got 'sorted'"),
        ({"only": ("roofline",)}, "only must be among training"),
        ({"data": "wmt"}, "data must be among multi30k"),
        ({"precision": "fp8"}, "precision must be among fp32, bf16; got 'fp8'"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Plan(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 13, "models": ("transformer",)}, "heads must divide hidden_dim"),
        ({"device": "meta"}, "device meta cannot be timed"),
    ],
)
def test_sizes_that_no_model_can_have_are_refused_before_anything_is_measured(settings, message):
    with pytest.raises(ValueError, match=message):
        Benchmark(Plan(**TINY | settings), progress=False)


def test_the_plan_names_the_sections_that_there_are():
    """All but the roofline, which is measured with training."""
    names = [kind.name for kind in ALL_SECTIONS if not kind.measured_with]
    assert sorted(names) == sorted(SECTIONS)
    assert {kind.measured_with for kind in ALL_SECTIONS} - {""} <= set(SECTIONS)


def test_what_is_measured_with_one_thread_is_named_where_there_is_none():
    result, said = measured(only=("training", "levers"), threads=(2,), repeat=1, batches=1)
    assert set(result["not_run"]) == {"roofline", "levers"}
    assert result["levers"] == result["roofline"] == {}
    assert "dot" in result["training"]["random"]["threads2"]
    assert any(line.startswith("levers is left out: it is measured with one") for line in said)


# --- taking turns ---------------------------------------------------------------------------------


def test_turns_alternate_and_come_back():
    order = []

    def work(name):
        def turn():
            order.append(name)
            return 3.0

        return turn

    samples = take_turns({"a": work("a"), "b": work("b")}, 2, CPU)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(found) for name, found in samples.items()} == {"a": 2, "b": 2}
    rate = Rate.of([Sample(6.0, 2.0, 3.0), Sample(6.0, 1.0, 1.0)] * 2)
    assert (rate.cpu, rate.wall, rate.low, rate.high, rate.rounds) == (4.5, 4, 3, 6, 4)
    assert rate.compared == rate.cpu


def test_a_turn_on_a_gpu_ends_when_the_gpu_has_done_it(card):
    """The processor is done long before; so the clock waits, and the processor's time is none."""
    waited = []

    def work():
        waited.append(module.waited)
        return 6.0

    before = module.waited
    samples = take_turns({"a": work, "b": work}, 1, card)
    # Once before each of the four turns, once after.
    assert [count - before for count in waited] == [1, 3, 5, 7]
    assert module.waited - before == 8
    assert all(one.cpu is None and one.wall > 0 for one in samples["a"])
    rate = Rate.of([Sample(6.0, None, 3.0), Sample(6.0, None, 2.0)])
    assert (rate.cpu, rate.wall, rate.low, rate.high) == (None, 2.5, 2, 3)
    assert rate.compared == rate.wall
    assert set(rate.to_dict("calls")) == {"calls_per_second", "low", "high", "rounds"}


# --- the workload ---------------------------------------------------------------------------------


def test_every_model_translates_as_many_words_as_the_right_answers():
    workload = Workload(Plan(**TINY))
    (batch, *_) = workload.to_translate("random")
    for name in MODELS:
        translator = workload.build(name).eval()
        with torch.no_grad():
            translator.decoder.output.bias[EOS] = -1e4
        for beam_size in (1, 2):
            found = search(translator, batch, beam_size, batch.target_lengths.tolist())
            assert list(map(len, found)) == batch.target_lengths.tolist()


def test_both_ways_of_batching_hold_the_same_sentences_in_another_order():
    workload = Workload(Plan(**TINY))
    one, other = (
        sorted(tuple(row[row > 0].tolist()) for batch in batches for row in batch.source)
        for batches in (workload.to_translate("random"), workload.to_translate("bucketed"))
    )
    assert one == other


# --- peers ----------------------------------------------------------------------------------------


def test_a_pair_with_equal_losses_is_timed():
    result, said = measured({"same": Same}, only=("peers",))
    for batching in ("random", "bucketed"):
        entry = result["peers"]["same"][batching]
        assert entry["loss_difference"] < 1e-6
        assert entry["ratio"] > 0
        assert entry["ours"]["rounds"] == 2
    assert not said


def test_more_threads_stand_under_a_key_of_their_own():
    little = {"batching": ("random",), "repeat": 1, "batches": 1, "batch_sentences": 2}
    result, _ = measured({"same": Same}, only=("peers",), threads=(1, 2), **little)
    entry = result["peers"]["same"]["random"]
    assert entry["ratio"] > 0
    assert entry["threads2"]["ratio"] > 0
    assert "threads1" not in entry


def test_a_pair_with_different_losses_is_refused():
    peers = {"other": lambda sizes: Same(sizes, factor=1.001, translates=True)}
    result, said = measured(peers, only=("peers",))
    for batching in ("random", "bucketed"):
        entry = result["peers"]["other"][batching]
        assert entry["loss_difference"] == pytest.approx(0.001, rel=0.01)
        assert "ratio" not in entry
        assert "losses differ by 0.001" in entry["refused"]
    assert "greedy" not in result["peers"]["other"]
    assert any("other" in line and "not timed" in line for line in said)


def test_a_pair_that_writes_other_words_is_not_timed():
    peers = {
        "equal": lambda sizes: Same(sizes, translates=True),
        "other": lambda sizes: Same(sizes, translates=True, words=lambda ids: [*ids[::-1], EOS]),
    }
    result, _ = measured(peers, only=("peers",), batching=("random",), sentences=3, repeat=1)
    equal, other = (result["peers"][name]["greedy"]["random"] for name in peers)
    assert equal["same_words"] == 1
    assert equal["ratio"] > 0
    assert other["same_words"] == 0
    assert "ratio" not in other


def test_a_peer_that_is_not_installed_is_named():
    def missing(sizes):
        raise ModuleNotFoundError("No module named 'joeynmt'")

    result, said = measured({"joey": missing}, only=("peers",))
    assert result["absent"] == {"joey": "No module named 'joeynmt'"}
    assert result["peers"] == {}
    assert "joey is left out" in said[0]


def test_a_peer_that_cannot_be_built_is_named_before_anything_is_measured():
    def broken(sizes):
        return sizes.width

    with pytest.raises(ValueError, match=r"peer joey cannot be built: AttributeError: .*width"):
        Benchmark(Plan(**TINY), {"joey": broken}, progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ANSWER = 42", "must define PEERS, a dict from a name to a function"),
        ("PEERS = ['joey']", "must define PEERS"),
        ("PEERS = {'joey': 42}", "must define PEERS"),
        ("PEERS = {}\nATTENTION_PEERS = 42", "must define ATTENTION_PEERS"),
        ("not Python at all", r"cannot be run as Python: SyntaxError: .*line 1"),
        ("import no_such_library", "cannot be run as Python: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be run as Python: SystemExit"),
        ("\0", "cannot be run as Python"),
    ],
)
def test_a_file_without_adapters_is_refused_in_one_line(text, message, tmp_path):
    path = tmp_path / "adapters.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_adapters(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_adapters_of_the_repository_name_what_is_missing():
    """Without the other libraries tools/peers.py still loads; each peer says what it lacks."""
    peers, attention_peers = load_adapters(ROOT / "tools" / "peers.py")
    benchmark = Benchmark(Plan(**TINY), peers, attention_peers, progress=False)
    built = [name for one in benchmark.sections for name in getattr(one, "peers", {})]
    assert {*benchmark.result["absent"], *built} == {*peers, *attention_peers}


def test_a_wide_readout_is_never_tied():
    """The counterpart of a peer has readouts as wide as its states."""
    sizes = (11, 5, 8)
    with pytest.raises(ValueError, match="set tied to False"):
        LuongDecoder(Attention(ScaledDotScore()), *sizes, readout_dim=8)
    decoder = LuongDecoder(
        Attention(ScaledDotScore()), *sizes, readout_dim=8, tied=False, input_feeding=True
    )
    encoded = Encoder(7, 5, 8)(torch.tensor([[4, 5, 3]]), torch.tensor([3]))
    assert decoder(torch.tensor([[2, 4]]), encoded).readouts.shape == (1, 2, 8)
    assert isinstance(decoder.output, nn.Linear)


# --- attention alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORCH_ATTENTION)
def test_attention_alone_equals_torchs(name):
    result, said = measured(None, {name: TORCH_ATTENTION[name]}, only=("attention",))
    assert result["attention"][name]["difference"] < 1e-5
    assert result["attention"][name]["ratio"] > 0
    assert not said


def test_attention_alone_that_differs_is_refused():
    def ignores_its_mask(width):
        peer = TORCH_ATTENTION["torch-sdpa"](width)
        theirs: Any = peer.theirs  # which promises nothing for no mask
        return AttentionPeer(peer.ours, lambda queries, keys, mask: theirs(queries, keys, None))

    result, said = measured(None, {"blind": ignores_its_mask}, only=("attention",))
    assert "ratio" not in result["attention"]["blind"]
    assert "blind: not timed" in said[0]


# --- the roofline ---------------------------------------------------------------------------------


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
    workload = Workload(Plan(**TINY))
    translator = workload.build(name)
    batch = collate([([4, 5, 6], [4, 5, 6, 7, 8]), ([4], [5, 6, 7, 8, 9])])
    config = workload.config(name)
    found = products(config, len(workload.target), batch)
    if name == "transformer":  # whose attention is visible where it is made of products
        with sdpa_kernel(SDPBackend.MATH):
            assert counted(translator, batch) == sum(one.operations for one in found)
        return
    assert isinstance(config, RecurrentConfig)
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


def test_the_roofline_is_operations_over_rate():
    batch = collate([([4, 5], [4, 5, 6])])
    config = RecurrentConfig(embedding_dim=4, hidden_dim=6)
    found = Roofline.of(config, 9, batch)
    assert found.operations_per_token == pytest.approx(
        3 * sum(one.operations for one in products(config, 9, batch)) / batch.target_tokens
    )
    assert found.tokens_per_second == pytest.approx(
        found.gigaflops * 1e9 / found.operations_per_token
    )


# --- levers ---------------------------------------------------------------------------------------


def test_a_lever_without_a_model_of_its_own_is_measured_all_the_same():
    """Levers do not depend on which models are measured."""
    result, _ = measured(only=("levers",), models=("transformer",), repeat=1)
    assert list(result["levers"]) == list(LEVERS)
    for entry in result["levers"].values():
        assert entry["ratio"] == pytest.approx(entry["plain_ms"] / entry["fast_ms"])


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.needs("linux")  # the peak is read from its /proc
def test_memory_sees_what_is_there_only_for_a_while():
    peak = memory.peak_memory(lambda: torch.zeros(64 * 2**20).sum())
    assert peak is not None
    assert 0.9 * 256 * 2**20 < peak < 1.2 * 256 * 2**20


@pytest.mark.needs("linux")  # the peak is read from its /proc
def test_the_blocked_score_takes_at_most_half_of_the_tensor_of_all_pairs():
    """The tensor itself is what the plain form cannot do without."""
    tensor = 4 * math.prod(memory.SCORE_SHAPE)
    plain, fast = (
        memory.in_new_process(memory.score_memory, form, CPU) for form in ("plain", "fast")
    )
    assert plain > tensor
    assert fast < tensor / 2


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.fixture
def small_sections(monkeypatch):
    monkeypatch.setattr(memory, "SCORE_SHAPE", (2, 3, 5, 7))
    monkeypatch.setattr(attention, "HEAD_LENGTHS", (3, 5))
    monkeypatch.setattr(attention, "HEAD_WORDS", 15)


def test_all_sections_compute_on_the_device_of_the_plan(card, small_sections, monkeypatch):
    """On the stand-in: mixing raises as it does on a GPU, and nothing is left to the CPU alone.

    What is timed is watched operation by operation: any with numbers of the CPU, other than what
    brings them to the card, is a fault.
    """
    watching: list[str] = []
    on_card: set[str] = set()
    elsewhere: set[tuple[str, str]] = set()
    do, turns = stand_in._do, section.take_turns

    def watch(func, args, kwargs):
        tensors = [one for one in tree_iter((args, kwargs)) if isinstance(one, Tensor)]
        numbers = [one for one in tensors if one.is_floating_point() and one.ndim]
        brings = func in stand_in.MIXES or func is torch.ops.aten.lift_fresh.default
        if watching and numbers and not brings:
            if all(isinstance(one, stand_in.OnCard) for one in numbers):
                on_card.add(watching[-1])
            else:
                elsewhere.add((watching[-1], str(func)))
        return do(func, args, kwargs)

    def watched(works, *rest):
        watching.append(", ".join(works))
        try:
            return turns(works, *rest)
        finally:
            watching.pop()

    monkeypatch.setattr(stand_in, "_do", watch)
    monkeypatch.setattr(section, "take_turns", watched)
    monkeypatch.setattr(
        memory, "in_new_process", lambda *args: pytest.fail("a GPU needs no process of its own")
    )

    result, said = measured(
        {"same": lambda sizes: Same(sizes, translates=True)}, TORCH_ATTENTION,
        device=NAME, models=("additive", "dot"), batching=("random",),
        repeat=1, batches=1, batch_sentences=2, sentences=2,
    )  # fmt: skip
    assert not elsewhere
    assert on_card == {
        "additive, dot",
        "ours, theirs",
        "ours, torch, formula",
        ", ".join([f"{name} fast" for name in LEVERS] + [f"{name} plain" for name in LEVERS]),
        "plain, fast",
    }
    assert result["memory"]["additive"]["peak_mb"] == 1
    assert result["benchmark"]["machine"]["device"] == "stand-in"
    assert said == ["roofline is left out: products are timed one by one, on a CPU alone"]
    shown = {table.title: table for table in tables(result)}
    assert "–" not in shown["Tokens learned from in a second"].rows[0]
    assert shown["Times as fast as the peer"].rows[0][0] == "same"


def test_a_peer_on_a_gpu_is_built_there(card):
    plan = Plan(**TINY | {"device": NAME, "models": ("dot",), "only": ("peers",)})
    benchmark = Benchmark(plan, {"same": Same}, {}, progress=False)
    peers: Any = benchmark.sections[0]
    peer = peers.peers["same"]
    batch, *_ = benchmark.bench.workload.batches("random")
    assert peer.ours.device.type == peer.theirs.device.type == NAME
    assert loss_difference(peer, batch, peer.batch(batch)) < 1e-6


# --- tables and the figure ------------------------------------------------------------------------


def stored():
    return json.loads((ROOT / "book" / "results" / "benchmark.json").read_text(encoding="utf-8"))


def test_the_stored_result_becomes_tables_without_a_gap():
    """One for each section and number of threads; only unfed peers do not translate."""
    shown = tables(stored())
    titles = [table.title for table in shown]
    assert titles == [
        "Tokens learned from in a second of CPU time; 1 thread",
        "Tokens learned from in a second of CPU time; 2 threads",
        "Roofline of training, tokens a second",
        "Times as fast as the peer, CPU time",
        "Sentences translated by greedy search in a second of CPU time; 1 thread",
        "Sentences translated by greedy search in a second of CPU time; 2 threads",
        "Sentences translated by beam search in a second of CPU time; 1 thread",
        "Sentences translated by beam search in a second of CPU time; 2 threads",
        "Attention alone: times as fast",
        "Self-attention with 8 heads: times as fast",
        "What makes it fast: one random batch",
        "Memory of a training step",
        "The additive score alone",
    ]
    for table in shown:
        assert len({len(table.head), *map(len, table.rows)}) == 1
        if not table.title.startswith("Times as fast as the peer"):
            assert not any("–" in row for row in table.rows)
    assert [name for name, *_ in shown[0].rows] == list(MODELS)
    assert shown[2].head == ("model", "random", "reached", "bucketed", "reached")


def test_a_table_shows_a_dash_where_nothing_was_measured():
    result = {
        "benchmark": {"plan": {"device": "cuda:0", "batching": ["random"]}},
        "training": {
            "random": {"threads1": {"dot": {"tokens_per_second": 1234.5}, "additive": {}}},
            "bucketed": {},
        },
        "memory": {"dot": {"peak_mb": None}},
    }
    training, memory_table = tables(result)
    assert training == Table(
        "Tokens learned from in a second",
        ("model", "random", "bucketed"),
        [("dot", "1,234", "–"), ("additive", "–", "–")],
    )
    assert memory_table.rows == [("dot", "–")]


def test_the_figure_marks_the_roofline():
    with plots.style():
        drawn = figure(stored())
    (axes,) = drawn.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(MODELS)
    title = axes.get_title("left")
    assert re.fullmatch(r"Training on one core\nreaches \d+ to \d+ % of its roofline", title)
    marks = [line for line in axes.lines if np.ptp(line.get_xdata()) == 0]
    assert len(marks) == len(MODELS)
    plots.plt.close(drawn)


@pytest.mark.parametrize(
    ("device", "threads", "title", "axis"),
    [
        ("cuda", "threads1", "Training on a GPU", "target tokens per second"),
        ("cpu", "threads4", "Training on 4 threads", "target tokens per second of CPU time"),
    ],
)
def test_the_figure_needs_no_roofline(device, threads, title, axis):
    """On a GPU there is none, nor with several threads; random batches will do."""
    rate = {"tokens_per_second": 2.0, "tokens_per_cpu_second": 2.0, "low": 1.0, "high": 3.0}
    result = {
        "benchmark": {"plan": {"device": device}},
        "training": {"random": {threads: {"dot": rate}}},
    }
    with plots.style():
        drawn = figure(result)
    (axes,) = drawn.axes
    assert axes.get_yticklabels()[0].get_text() == "dot"
    assert axes.get_title("left") == title
    assert axes.get_xlabel() == axis
    plots.plt.close(drawn)
