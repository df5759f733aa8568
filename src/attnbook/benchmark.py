"""How fast the decoders are, side by side: what ``attnbook benchmark`` runs.

Everything that is compared takes turns in one process, round by round, forwards and backwards
through the list, and a median over rounds is reported with the slowest and the fastest. So a
machine that grows warm or busy slows all of them alike.

Three yardsticks stand beside the times. A *peer* is the same model from another library; before
a pair is timed, both must give the same loss on the same batch. The *ceiling* is the number of
tokens that a machine could learn from in a second if a step consisted of its matrix products and
nothing else. *Memory* is what a training step takes beyond the model and its data, read from a
process of its own.

On a CPU the processor's own time is compared, which does not grow when other programs run. On a
GPU the processor mostly waits, so the clock on the wall counts there, from when the GPU has done
all it was given before to when it has done the turn. The ceiling is measured on a CPU alone.
"""

from __future__ import annotations

import math
import os
import platform
import random
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from attnbook import __version__, grammar
from attnbook.attention import Attention, attend
from attnbook.batches import Batch, bucketed_batches, collate, random_batches
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoders import Decoded, RecurrentDecoder, Steps
from attnbook.decoding import beam_search, greedy_search
from attnbook.encoder import Encoder, read_packed
from attnbook.fast import (
    BLOCK,
    LSTMSteps,
    chunked_cross_entropy,
    largest,
    read_unpacked,
    recomputed_additive_scores,
)
from attnbook.masks import padding_mask
from attnbook.plots import KEY, QUERY
from attnbook.scores import ScaledDotScore, additive_scores
from attnbook.self_attention import MultiHeadAttention, merge_heads, split_heads
from attnbook.seq2seq import Config, Translator
from attnbook.vocabulary import EOS, PAD, Vocabulary

__all__ = [
    "MODELS",
    "PARTS",
    "Benchmark",
    "Ceiling",
    "Part",
    "Peer",
    "Plan",
    "Product",
    "Sizes",
    "products",
]

# Every decoder and score of the course, by the names that its tables use.
MODELS: dict[str, dict[str, Any]] = {
    "fixed": {"decoder": "cho"},
    "sutskever": {"decoder": "sutskever"},
    "dot": {"decoder": "luong", "score": "dot"},
    "general": {"decoder": "luong", "score": "general"},
    "concat": {"decoder": "luong", "score": "concat"},
    "dot-feeding": {"decoder": "luong", "score": "dot", "input_feeding": True},
    "general-feeding": {"decoder": "luong", "score": "general", "input_feeding": True},
    "concat-feeding": {"decoder": "luong", "score": "concat", "input_feeding": True},
    "additive": {"decoder": "bahdanau", "score": "additive"},
    "transformer": {"decoder": "transformer", "layers": 3, "feedforward_dim": 512},
}
REGIMES = ("random", "bucketed")
SECTIONS = ("training", "peers", "greedy", "beam", "attention", "heads", "levers", "memory")
# Two losses of one model on one batch may differ by rounding, and by no more.
TOLERANCE = 1e-5
SAME_WORDS = 0.99
# Self-attention with several heads: so many where the width allows it, of sentences so long, so
# many words in all.
HEADS, HEAD_LENGTHS, HEAD_WORDS = 8, (32, 128, 1024), 2048
# A matrix product is repeated for so many seconds, or the clock would be too coarse.
LEAST = 2e-3
CPU = torch.device("cpu")


# --- what is measured -------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a run of the benchmark does.

    Attributes:
        only: sections of the result to measure; by default all.
        models: names of :data:`MODELS`.
        regimes: ``"random"`` and ``"bucketed"``, how sentences are put into batches.
        threads: numbers of threads, one after the other.
        repeat: rounds; each reported number is a median over them.
        data: ``"multi30k"``, ``"grammar"`` or ``"synthetic"``.
        words: vocabulary of synthetic data.
        embedding_dim: width of a word's vector.
        hidden_dim: width of a state.
        dropout: of our own models; pairs of peers have none, so that both compute the same.
        batch_tokens: a bucketed batch, sentences times longest sentence.
        batch_sentences: sentences of a random batch.
        batches: batches that each model learns from in a round.
        sentences: sentences that each model translates in a round.
        beam_size: of beam search.
        peer_steps: steps that a peer's weights are trained before it translates.
        device: ``"cpu"`` or ``"cuda"``; one with a GPU runs with one number of threads.
        precision: ``"fp32"``, or ``"bf16"`` for mixed precision.
        seed: of weights, batches and synthetic data.
    """

    only: tuple[str, ...] = SECTIONS
    models: tuple[str, ...] = tuple(MODELS)
    regimes: tuple[str, ...] = REGIMES
    threads: tuple[int, ...] = (1, 2)
    repeat: int = 5
    data: str = "multi30k"
    words: int = 6000
    embedding_dim: int = 128
    hidden_dim: int = 256
    dropout: float = 0.0
    batch_tokens: int = 1600
    batch_sentences: int = 100
    batches: int = 4
    sentences: int = 128
    beam_size: int = 5
    peer_steps: int = 300
    device: str = "cpu"
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run, by name."""
        for name, given, known in (
            ("only", self.only, SECTIONS),
            ("models", self.models, tuple(MODELS)),
            ("regimes", self.regimes, REGIMES),
            ("data", (self.data,), ("multi30k", "grammar", "synthetic")),
            ("precision", (self.precision,), ("fp32", "bf16")),
        ):
            if unknown := [one for one in given if one not in known]:
                raise ValueError(f"{name} must be among {', '.join(known)}; got {unknown[0]!r}")
        for name in ("repeat", "batch_tokens", "batch_sentences", "batches", "sentences"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.threads or min(self.threads) < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.beam_size < 2:
            raise ValueError(f"a beam has at least 2 beginnings, got {self.beam_size}")


@dataclass(frozen=True)
class Sizes:
    """What two implementations of one model must have in common."""

    embedding: int
    hidden: int
    source: Vocabulary
    target: Vocabulary


class Peer(ABC):
    """One model twice: from this package, and from another library with the same weights.

    Attributes:
        package: the library's name in the package index.
        notes: what had to be set, and on which side, for both to be the same model.
        ours: this package's half.
        theirs: the other.
        translates: whether the library has a search of its own, :meth:`search`.
    """

    package: str = ""
    notes: str = ""
    translates: bool = False
    ours: Translator
    theirs: nn.Module

    @abstractmethod
    def copy_weights(self) -> None:
        """Give ``theirs`` the weights of ``ours``."""

    @abstractmethod
    def batch(self, batch: Batch) -> Any:
        """A batch as the library's own loader would hand it over; outside the clock."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The library's cross-entropy, mean over tokens, without smoothing."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam as the library sets it up."""

    def search(self, batch: Any, beam_size: int, limit: int) -> list[list[int]]:
        """Translations by the library's own search, in the order of the batch.

        Args:
            batch: what :meth:`batch` gave.
            beam_size: 1 is greedy search.
            limit: most words, ``<eos>`` counted.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Part:
    """Attention alone, twice: this package's, and another library's with the same weights.

    It is built where torch's default device is the one that is measured.

    Attributes:
        ours: maps queries, keys and a mask (True = may be attended to) to contexts.
        theirs: the same.
        package: the library's name in the package index.
        notes: what had to be set for both to be the same.
    """

    ours: Callable[[Tensor, Tensor, Tensor], Tensor]
    theirs: Callable[[Tensor, Tensor, Tensor], Tensor]
    package: str = "torch"
    notes: str = ""


def _sdpa(width: int) -> Part:
    attention = Attention(ScaledDotScore())
    return Part(
        lambda queries, keys, mask: attention(queries, keys, keys, mask).context,
        lambda queries, keys, mask: functional.scaled_dot_product_attention(
            queries, keys, keys, attn_mask=mask
        ),
    )


def _multihead(width: int) -> Part:
    """One head; our half projects with the same four matrices."""
    module = nn.MultiheadAttention(width, 1, batch_first=True)
    attention = Attention(ScaledDotScore())
    weights = module.in_proj_weight.detach().chunk(3)
    project = [nn.Parameter(one.clone()) for one in (*weights, module.out_proj.weight.detach())]

    def ours(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        query, key, value, out = project
        found = attention(queries @ query.T, keys @ key.T, keys @ value.T, mask)
        contexts: Tensor = found.context @ out.T
        return contexts

    def theirs(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = module(queries, keys, keys, ~mask[:, 0], need_weights=False)[0]
        return found

    return Part(ours, theirs, notes="one head, no bias learned yet; its mask is inverted")


# Attention alone, from torch itself. More comes with the peers.
PARTS: dict[str, Callable[[int], Part]] = {
    "torch-sdpa": _sdpa,
    "torch-multihead": _multihead,
}


@dataclass(frozen=True)
class Sample:
    """One round's work of one contestant; without ``cpu`` where the processor only waits."""

    units: float
    cpu: float | None
    wall: float


@dataclass
class Rate:
    """A median over rounds, and the slowest and fastest; units a second."""

    cpu: float | None
    wall: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Rate:
        """From the rounds' samples."""
        wall = [one.units / max(one.wall, 1e-9) for one in samples]
        cpu = [one.units / max(one.cpu, 1e-9) for one in samples if one.cpu is not None]
        counts = cpu or wall
        return cls(
            statistics.median(cpu) if cpu else None,
            statistics.median(wall),
            min(counts),
            max(counts),
            len(samples),
        )

    @property
    def compared(self) -> float:
        """By the time that comparisons go by: the processor's, and on a GPU the clock's."""
        return self.wall if self.cpu is None else self.cpu

    def named(self, unit: str) -> dict[str, float]:
        """For the result: by the clock and, on a CPU, by the processor's time."""
        cpu = {} if self.cpu is None else {f"{unit}_per_cpu_second": self.cpu}
        return {
            f"{unit}_per_second": self.wall,
            **cpu,
            "low": self.low,
            "high": self.high,
            "rounds": self.rounds,
        }


Work = Callable[[int], float]


def alternate(
    works: Mapping[str, Work], rounds: int, bar: tqdm[Any], device: torch.device
) -> dict[str, list[Sample]]:
    """Let all take turns, round by round, every other round in reverse.

    Args:
        works: by name; called with the round's number, does its work and says how many units.
        rounds: how often; one more round beforehand is not counted.
        bar: moved on after each piece of work.
        device: where the work is done; the clock waits until it has done all it was given.
    """
    finish = torch.get_device_module(device).synchronize
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    for number in range(-1, rounds):
        order = list(works)
        for name in order if number % 2 == 0 else reversed(order):
            finish()
            cpu, wall = time.process_time(), time.perf_counter()
            units = works[name](max(number, 0))
            finish()
            wall = time.perf_counter() - wall
            spent = time.process_time() - cpu if device.type == "cpu" else None
            sample = Sample(units, spent, wall)
            bar.update()
            if number >= 0:
                samples[name].append(sample)
    return samples


# --- the ceiling ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Product:
    """Products of ``batch`` matrices each, ``(rows, inner)`` times ``(inner, columns)``.

    Attributes:
        rows: of the left matrix.
        inner: its columns, and the right one's rows.
        columns: of the right matrix.
        steps: how often the same right matrix is used, one time after the other.
        count: how many such products there are, each with a right matrix of its own.
        batch: pairs of matrices multiplied in one call.
    """

    rows: int
    inner: int
    columns: int
    steps: int = 1
    count: int = 1
    batch: int = 1

    @property
    def operations(self) -> int:
        """One multiplication and one addition for each number and each term."""
        times = self.steps * self.count * self.batch
        return 2 * self.rows * self.inner * self.columns * times

    def backward(self) -> tuple[Product, Product]:
        """The gradients of the left and of the right matrix.

        That of the left is needed before the step before can go back. That of the right is a sum
        over steps, and so one product of all of them.
        """
        rows, inner, columns = self.rows, self.inner, self.columns
        left = replace(self, inner=columns, columns=inner)
        if self.batch > 1:
            return left, replace(self, rows=inner, inner=rows)
        return left, Product(inner, rows * self.steps, columns, count=self.count)


def products(config: Config, words: int, batch: Batch) -> list[Product]:
    """The matrix products of a forward pass over a batch.

    Sizes are as they are computed: padded where a recurrent layer runs over padding, real tokens
    where the output layer does not. A recurrent layer's product with its own state is one product
    a position; where a step reads what the last one found (Bahdanau's context, Luong's fed state),
    so is the product with that. The additive score counts ``2 · attention_dim`` operations a pair
    for its product with v; the tanh is no product and counts nothing.
    """
    if config.decoder == "transformer":
        return _transformer_products(config, words, batch)
    sentences, source = batch.source.shape
    target = batch.target_in.shape[1]
    word, hidden = config.embedding_dim, config.hidden_dim
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[config.cell]
    directions = 2 if config.bidirectional else 1
    width = hidden // directions

    def once(inner: int, columns: int) -> Product:
        return Product(sentences * target, inner, columns)

    def stepwise(inner: int, columns: int) -> Product:
        return Product(sentences, inner, columns, steps=target)

    found = [
        Product(sentences * source, word, gates * width, count=directions),
        Product(sentences, width, gates * width, steps=source, count=directions),
        once(word, gates * hidden),
        stepwise(hidden, gates * hidden),
        Product(batch.target_tokens, word, words),
    ]
    feeds = config.decoder == "bahdanau" or config.input_feeding
    asked = stepwise if feeds else once
    match config.decoder:
        case "sutskever":
            found += [once(hidden, word)]
        case "cho":
            found += [Product(sentences, hidden, hidden, count=2)]
            found += [once(hidden, gates * hidden), once(2 * hidden + word, 2 * word)]
        case "bahdanau":
            found += [Product(sentences, hidden, hidden), stepwise(hidden, gates * hidden)]
            found += [once(2 * hidden + word, 2 * word)]
        case "luong":
            found += [asked(2 * hidden, word)]
            if feeds:
                found += [stepwise(word, gates * hidden)]
    if config.decoder not in ("bahdanau", "luong"):
        return found

    def pairs(inner: int, columns: int) -> Product:
        if feeds:
            return Product(1, inner, columns, steps=target, batch=sentences)
        return Product(target, inner, columns, batch=sentences)

    found += [pairs(source, hidden)]  # the context
    if config.score in ("concat", "additive"):
        inner = config.attention_dim or hidden
        found += [Product(sentences * source, hidden, inner), asked(hidden, inner)]
        found += [Product(sentences * target * source, inner, 1)]
    else:
        found += [pairs(hidden, source)]
    if config.score == "general":
        found += [Product(sentences * source, hidden, hidden)]
    return found


def _transformer_products(config: Config, words: int, batch: Batch) -> list[Product]:
    """Projections, scores, contexts and networks of all layers; causal scores count in full."""
    sentences, source = batch.source.shape
    target, width = batch.target_in.shape[1], config.hidden_dim
    wide = config.feedforward_dim or 4 * width
    piece, pairs = width // config.heads, sentences * config.heads

    def attention(asking: int, asked: int) -> list[Product]:
        return [
            Product(sentences * asking, width, width, count=2),  # queries, and the last matrix
            Product(sentences * asked, width, 2 * width),
            Product(asking, piece, asked, batch=pairs),
            Product(asking, asked, piece, batch=pairs),
        ]

    def network(length: int) -> list[Product]:
        rows = sentences * length
        return [Product(rows, width, wide), Product(rows, wide, width)]

    layer = [*attention(source, source), *network(source)]
    layer += [*attention(target, target), *attention(target, source), *network(target)]
    found = [replace(one, count=one.count * config.layers) for one in layer]
    return [*found, Product(batch.target_tokens, width, words)]


def seconds(product: Product) -> float:
    """The processor's time for a product, the best of some tries.

    One whose result does not fit the caches is tried in one piece and in blocks of rows, because
    that is how a fast implementation may do it.
    """
    shape = (product.batch,) if product.batch > 1 else ()
    left = torch.randn(*shape, product.rows, product.inner)
    right = torch.randn(*shape, product.inner, product.columns)
    sizes = [product.rows]
    if product.batch == 1 and product.rows * product.columns > BLOCK:
        sizes.append(max(1, BLOCK // product.columns))
    best = float("inf")
    for size in sizes:
        out = torch.empty(*shape, min(size, product.rows), product.columns)
        for _ in range(3):
            started, done = time.process_time(), 0
            while done == 0 or time.process_time() - started < LEAST:
                for start in range(0, product.rows, size):
                    piece = left[..., start : start + size, :]
                    torch.matmul(piece, right, out=out[..., : piece.shape[-2], :])
                done += 1
            best = min(best, (time.process_time() - started) / done)
    return best * product.steps * product.count


@dataclass(frozen=True)
class Ceiling:
    """What the machine could do if a step were its matrix products.

    Attributes:
        operations_per_token: forward and backward, per target token.
        gigaflops: operations a second at the model's own shapes, each product alone.
        tokens_per_second: the second over the first.
    """

    operations_per_token: float
    gigaflops: float
    tokens_per_second: float

    @classmethod
    def of(cls, config: Config, words: int, batch: Batch) -> Ceiling:
        """Count, and measure now."""
        forward = products(config, words, batch)
        every = [part for one in forward for part in (one, *one.backward())]
        operations = sum(one.operations for one in every)
        took = sum(seconds(one) for one in every)
        tokens = batch.target_tokens
        return cls(operations / tokens, operations / took / 1e9, tokens / took)


# --- memory -----------------------------------------------------------------------------------


def _status(name: str) -> float | None:
    """A line of Linux's /proc/self/status, in bytes."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith(name + ":")]
    return float(found[0].split()[1]) * 1024 if found else None


def grown(work: Callable[[], Any], device: torch.device = CPU) -> float | None:
    """By how many bytes memory grows at most during some work.

    On a CPU the resident memory of this process, which Linux tells; on a GPU its tensors, which
    torch counts for CUDA. None elsewhere.
    """
    if device.type != "cpu":
        gpu = torch.get_device_module(device)
        if not hasattr(gpu, "max_memory_allocated"):
            return None
        gpu.synchronize(device)
        before = gpu.memory_allocated(device)
        gpu.reset_peak_memory_stats(device)
        work()
        gpu.synchronize(device)
        return float(gpu.max_memory_allocated(device) - before)
    base = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    except OSError:
        return None
    work()
    peak = _status("VmHWM")
    return None if base is None or peak is None else max(0.0, peak - base)


def _in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """A function's result in a fresh process, where nothing has been allocated yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _alone(device: torch.device, function: Callable[..., Any], *args: Any) -> Any:
    """A function's result where its memory can be told: on a CPU in a process of its own."""
    return _in_new_process(function, *args) if device.type == "cpu" else function(*args)


def model_memory(plan: Plan, name: str) -> float | None:
    """What a training step of a model takes beyond model, optimizer and batch, in bytes."""
    torch.set_num_threads(1)
    bench = Benchmark(plan, progress=False)
    translator = bench.build(name)
    batch = max(bench.batches("bucketed"), key=lambda one: one.source.numel())
    optimizer = bench.optimizer(translator)
    small = collate([([4], [4])]).to(bench.device)
    bench.step(translator, small, optimizer)  # the optimizer's state, and torch's own
    return grown(lambda: [bench.step(translator, batch, optimizer) for _ in range(2)], bench.device)


SCORE_SHAPE = (64, 32, 37, 256)  # batch, target, source, attention_dim


def _score_inputs(device: torch.device) -> list[Tensor]:
    batch, target, source, width = SCORE_SHAPE
    torch.manual_seed(0)
    shapes = ((batch, target, width), (batch, source, width), (width,))
    return [torch.randn(*shape, device=device, requires_grad=True) for shape in shapes]


def _score_step(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    function(*inputs).sum().backward()
    for one in inputs:
        one.grad = None


def score_memory(fast: bool, device: torch.device) -> float | None:
    """What one additive score takes, forward and backward, in bytes."""
    torch.set_num_threads(1)
    function = recomputed_additive_scores if fast else additive_scores
    few = [one.detach()[..., :1, :].requires_grad_() for one in _score_inputs(device)[:2]]
    _score_step(function, [*few, _score_inputs(device)[2]])
    inputs = _score_inputs(device)
    return grown(lambda: _score_step(function, inputs), device)


# --- the run ----------------------------------------------------------------------------------


class Benchmark:
    """Data, models and the order of measurements.

    Args:
        plan: what to do.
        peers: how to build each peer, by name; one whose package is missing is named as absent.
        parts: the same for attention alone, given its width.
        progress: show a bar.
        say: gets a line about what cannot be measured.

    Attributes:
        result: what has been measured so far, as JSON takes it.
    """

    def __init__(
        self,
        plan: Plan,
        peers: Mapping[str, Callable[[Sizes], Peer]] | None = None,
        parts: Mapping[str, Callable[[int], Part]] = PARTS,
        *,
        progress: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.plan = plan
        self.progress = progress
        self.say = say
        self.device = torch.device(plan.device)
        self.pairs = _pairs(plan)
        source, target = (
            Vocabulary.from_sentences(side, min_count=2 if plan.data == "multi30k" else 1)
            for side in zip(*((pair.source, pair.target) for pair in self.pairs), strict=True)
        )
        self.sizes = Sizes(plan.embedding_dim, plan.hidden_dim, source, target)
        self.examples = [
            (source.encode(pair.source), target.encode(pair.target)) for pair in self.pairs
        ]
        self.absent: dict[str, str] = {}
        self.not_run: dict[str, str] = {}
        self.educated: dict[str, dict[str, Tensor]] = {}
        self.peers: dict[str, Peer] = self._build(peers or {}, self.sizes)
        self.parts: dict[str, Part] = self._build(parts, plan.hidden_dim)
        self.result: dict[str, Any] = {
            "runs": [],
            "benchmark": self._described(),
            "training": {},
            "greedy": {},
            "beam": {},
            "ceiling": {},
            "memory": {},
            "peers": {
                name: {
                    "package": peer.package,
                    "version": _version(peer.package),
                    "notes": peer.notes,
                }
                for name, peer in self.peers.items()
            },
            "attention": {},
            "heads": {},
            "levers": {},
            "absent": self.absent,
            "not_run": self.not_run,
        }

    # what is compared

    def build(self, name: str, **changes: Any) -> Translator:
        """An untrained model that never ends a sentence of itself."""
        torch.manual_seed(self.plan.seed)
        shape = {
            "embedding_dim": self.plan.embedding_dim,
            "hidden_dim": self.plan.hidden_dim,
            "bidirectional": True,
            "dropout": self.plan.dropout,
        }
        if MODELS[name]["decoder"] == "transformer":  # whose word vectors are as wide as its states
            shape["embedding_dim"] = self.plan.hidden_dim
        config = Config(**shape | MODELS[name] | changes)
        translator = Translator(config, self.sizes.source, self.sizes.target, name=name)
        return translator.to(self.device)

    def _build(self, builders: Mapping[str, Callable[[Any], Any]], sizes: Any) -> dict[str, Any]:
        found = {}
        for name, build in builders.items():
            torch.manual_seed(self.plan.seed)
            try:
                with self.device:
                    found[name] = build(sizes)
            except ImportError as error:
                self.absent[name] = str(error)
                self.say(f"{name} is left out: {error}")
        return found

    def batches(self, regime: str) -> list[Batch]:
        """The batches that a round learns from; the same for everybody."""
        plan, examples = self.plan, self.examples
        made: list[Batch] = []
        if regime == "random":
            for batch in random_batches(examples, plan.batch_sentences, seed=plan.seed):
                made.append(batch)
                if len(made) == plan.batches:
                    break
        else:
            cut = bucketed_batches(examples, plan.batch_tokens, seed=plan.seed)
            made = [collate([examples[one] for one in rows]) for rows in cut[: plan.batches]]
        return [batch.to(self.device) for batch in made]

    def to_translate(self, regime: str, beam_size: int) -> list[Batch]:
        """The sentences of a round, in two batches, at random or by length."""
        plan = self.plan
        order = list(range(len(self.examples)))
        random.Random(plan.seed + 1).shuffle(order)
        chosen = [self.examples[number] for number in order[: plan.sentences]]
        if regime == "bucketed":
            chosen.sort(key=lambda pair: len(pair[0]))
        size = max(1, plan.sentences // 2)
        cut = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        return [collate(part).to(self.device) for part in cut]

    # what one turn does

    def optimizer(self, translator: Translator) -> torch.optim.Optimizer:
        """As :mod:`attnbook.training` sets it up."""
        return torch.optim.Adam(
            translator.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9, fused=True
        )

    def step(self, translator: Translator, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        """One training step: loss, gradients, clipping, update; how many tokens it was."""
        low = self.plan.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
            objective = translator.loss(batch).objective
        _update(translator, objective, optimizer)
        return float(batch.target_tokens)

    def training(self, regime: str) -> dict[str, Work]:
        """A round of training for each model."""
        batches = self.batches(regime)

        def work(name: str) -> Work:
            translator = self.build(name).train()
            optimizer = self.optimizer(translator)
            return lambda number: sum(self.step(translator, one, optimizer) for one in batches)

        return {name: work(name) for name in self.plan.models}

    def translating(self, regime: str, beam_size: int) -> dict[str, Work]:
        """A round of translating for each model, untrained: as many words as the right answers."""
        batches = self.to_translate(regime, beam_size)

        def work(name: str) -> Work:
            translator = self.build(name).eval()
            with torch.no_grad():
                translator.decoder.output.bias[EOS] = -1e4

            def turn(number: int) -> float:
                for batch in batches:
                    _search(translator, batch, beam_size, batch.target_lengths.tolist())
                return float(sum(map(len, batches)))

            return turn

        return {name: work(name) for name in self.plan.models}

    # the parts of a run

    def run(self) -> dict[str, Any]:
        """Everything; what is measured first is there when the rest is interrupted."""
        plan = self.plan
        counts = plan.threads if self.device.type == "cpu" else (1,)
        if "peers" in plan.only:
            with _threads(counts[0]):
                for name in self.peers:
                    self._educate(name)
        for count in counts:
            with _threads(count):
                self._all(f"threads{count}")
        return self.result

    def _all(self, key: str) -> None:
        """Everything with one number of threads."""
        plan = self.plan
        for regime in plan.regimes if "training" in plan.only else ():
            rates = self._take_turns(f"training, {regime}, {key}", self.training(regime))
            part = self.result["training"].setdefault(regime, {})
            part[key] = {name: rate.named("tokens") for name, rate in rates.items()}
            if key == "threads1":
                self._ceilings(regime)
        for name in self.peers if "peers" in plan.only else ():
            self._compare(name, key)
        for kind, beam in (("greedy", 1), ("beam", plan.beam_size)):
            for regime in plan.regimes if kind in plan.only else ():
                works = self.translating(regime, beam)
                rates = self._take_turns(f"{kind}, {regime}, {key}", works)
                part = self.result[kind].setdefault(regime, {})
                part[key] = {name: rate.named("sentences") for name, rate in rates.items()}
        for name in self.parts if "attention" in plan.only else ():
            self._compare_part(name, key)
        for length in HEAD_LENGTHS if "heads" in plan.only else ():
            self._heads(length, key)
        if "levers" in plan.only and key == "threads1":
            self._levers()
        if "memory" in plan.only and key == "threads1":
            self._memory()

    def _take_turns(self, what: str, works: Mapping[str, Work]) -> dict[str, Rate]:
        rounds = self.plan.repeat
        total = (rounds + 1) * len(works)
        with tqdm(total=total, desc=what, unit="turn", disable=not self.progress) as bar:
            samples = alternate(works, rounds, bar, self.device)
        return {name: Rate.of(found) for name, found in samples.items()}

    def _ceilings(self, regime: str) -> None:
        """The ceiling of each model, on the batch of middle length, and the share reached."""
        if self.device.type != "cpu":
            self.not_run["ceiling"] = "products are timed one by one, on a CPU alone"
            return
        batches = sorted(self.batches(regime), key=lambda one: one.target_in.shape[1])
        batch = batches[len(batches) // 2]
        for name in self.plan.models:
            config = self.build(name).config
            ceiling = Ceiling.of(config, len(self.sizes.target), batch)
            reached = self.result["training"][regime]["threads1"][name]["tokens_per_cpu_second"]
            self.result["ceiling"].setdefault(regime, {})[name] = {
                **asdict(ceiling),
                "share": reached / ceiling.tokens_per_second,
            }

    def _compare(self, name: str, key: str) -> None:
        """A peer against its half from this package: first equal, then timed."""
        peer, part = self.peers[name], self.result["peers"][name]
        for regime in self.plan.regimes:
            batches = self.batches(regime)
            theirs = [peer.batch(batch) for batch in batches]
            difference = loss_difference(peer, batches[0], theirs[0])
            entry: dict[str, Any] = part.setdefault(regime, {})
            entry["loss_difference"] = difference
            if not difference < TOLERANCE:
                entry["refused"] = f"the losses differ by {difference:.2g}"
                self.say(f"{name}, {regime} batches: not timed, {entry['refused']}")
                continue
            rates = self._take_turns(
                f"{name}, {regime}, {key}", _pair_training(self, peer, batches, theirs)
            )
            _add(entry, key, _versus(rates, "tokens"))
            peer.copy_weights()
        if peer.translates and not any("refused" in part[one] for one in self.plan.regimes):
            self._compare_search(name, key)

    def _compare_search(self, name: str, key: str) -> None:
        """Translations of a pair that has learned enough to end its sentences."""
        peer, part = self.peers[name], self.result["peers"][name]
        peer.ours.load_state_dict(self.educated[name])
        peer.copy_weights()
        for kind, beam in (("greedy", 1), ("beam", self.plan.beam_size)):
            for regime in self.plan.regimes:
                batches = self.to_translate(regime, beam)
                theirs = [peer.batch(batch) for batch in batches]
                limits = [2 * batch.source.shape[1] + 10 for batch in batches]
                works, written = _pair_search(peer, batches, theirs, limits, beam)
                for work in works.values():
                    work(0)
                pairs = list(zip(written["ours"], written["theirs"], strict=True))
                same = sum(one == other for one, other in pairs) / len(pairs)
                entry: dict[str, Any] = part.setdefault(kind, {}).setdefault(regime, {})
                entry["same_words"] = same
                entry["mean_words"] = statistics.fmean(len(one) for one, _ in pairs)
                entry["mean_words_theirs"] = statistics.fmean(len(other) for _, other in pairs)
                if beam == 1 and same < SAME_WORDS:
                    entry["refused"] = f"only {same:.0%} of the translations are the same"
                    self.say(f"{name}, {kind}, {regime}: not timed, {entry['refused']}")
                    continue
                rates = self._take_turns(f"{name}, {kind}, {regime}, {key}", works)
                _add(entry, key, _versus(rates, "sentences"))

    def _compare_part(self, name: str, key: str) -> None:
        """Attention alone: equal contexts first, then forward and backward."""
        part = self.parts[name]
        batch, target, source = 64, 14, 16
        torch.manual_seed(self.plan.seed)
        width = self.plan.hidden_dim
        queries = torch.randn(batch, target, width, device=self.device, requires_grad=True)
        keys = torch.randn(batch, source, width, device=self.device, requires_grad=True)
        lengths = torch.arange(batch) % source + 1
        mask = padding_mask(lengths, source).to(self.device).unsqueeze(1)
        ours, theirs = part.ours(queries, keys, mask), part.theirs(queries, keys, mask)
        difference = float((ours - theirs).detach().abs().max() / ours.detach().abs().max())
        entry: dict[str, Any] = self.result["attention"].setdefault(name, {})
        entry |= {"package": part.package, "version": _version(part.package), "notes": part.notes}
        entry["difference"] = difference
        if not difference < TOLERANCE:
            entry["refused"] = f"the contexts differ by {difference:.2g}"
            self.say(f"{name}: not timed, {entry['refused']}")
            return

        def turn(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Work:
            def work(number: int) -> float:
                for _ in range(10):
                    attend(queries, keys, mask).sum().backward()
                    queries.grad = keys.grad = None
                return 10.0

            return work

        works = {"ours": turn(part.ours), "theirs": turn(part.theirs)}
        _add(entry, key, _versus(self._take_turns(f"{name}, {key}", works), "calls"))

    def _heads(self, length: int, key: str) -> None:
        """Self-attention with several heads, against torch's module and against the formula."""
        forms = heads(self.plan.hidden_dim)
        x = torch.randn(max(1, HEAD_WORDS // length), length, self.plan.hidden_dim)
        x = x.to(self.device).requires_grad_()
        forms = {name: (module.to(self.device), form) for name, (module, form) in forms.items()}
        outputs = [form(x).detach() for _, form in forms.values()]
        difference = max(float((one - outputs[0]).abs().max()) for one in outputs)
        entry: dict[str, Any] = self.result["heads"].setdefault(str(length), {})
        entry["difference"] = difference
        if not difference < TOLERANCE:
            entry["refused"] = f"the outputs differ by {difference:.2g}"
            self.say(f"heads, length {length}: not timed, {entry['refused']}")
            return

        def work(module: nn.Module, form: Callable[[Tensor], Tensor]) -> Work:
            return _timed(lambda: form(x).sum(), module)

        works = {name: work(*form) for name, form in forms.items()}
        rates = self._take_turns(f"heads, length {length}, {key}", works)
        measured = {
            name: _versus({"ours": rates["ours"], "theirs": rates[name]}, "calls")
            for name in ("torch", "formula")
        }
        _add(entry, key, measured)

    def _educate(self, name: str) -> None:
        """Train our half for some steps, so that it ends its sentences."""
        peer = self.peers[name]
        if peer.translates and not self.educated.get(name):
            optimizer = torch.optim.Adam(peer.ours.parameters(), lr=3e-3, fused=True)
            cut = bucketed_batches(self.examples, self.plan.batch_tokens, seed=self.plan.seed)
            steps = [cut[number % len(cut)] for number in range(self.plan.peer_steps)]
            peer.ours.train()
            for rows in tqdm(steps, desc=f"{name}: learns", disable=not self.progress):
                batch = collate([self.examples[one] for one in rows]).to(self.device)
                self.step(peer.ours, batch, optimizer)
            self.educated[name] = {
                key: value.clone() for key, value in peer.ours.state_dict().items()
            }

    def _levers(self) -> None:
        """Each lever on and off."""
        pulled = levers(self)
        works = {
            f"{name} {kind}": work
            for name, pair in pulled.items()
            for kind, work in zip(("fast", "plain"), pair, strict=True)
        }
        rates = self._take_turns("levers", works)
        self.result["levers"] = {
            name: {
                "fast_ms": 1e3 / rates[f"{name} fast"].compared,
                "plain_ms": 1e3 / rates[f"{name} plain"].compared,
                "ratio": rates[f"{name} fast"].compared / rates[f"{name} plain"].compared,
            }
            for name in pulled
        }

    def _memory(self) -> None:
        """What a step takes, each model in a process of its own; and what the score takes."""
        memory = self.result["memory"]
        for name in tqdm(self.plan.models, desc="memory", disable=not self.progress):
            peak = _alone(self.device, model_memory, self.plan, name)
            memory[name] = {"peak_mb": None if peak is None else peak / 2**20}
        tensor = 4 * math.prod(SCORE_SHAPE) / 2**20
        entry: dict[str, Any] = {"shape": list(SCORE_SHAPE), "tensor_mb": tensor}
        for kind, fast in (("plain", False), ("fast", True)):
            peak = _alone(self.device, score_memory, fast, self.device)
            if peak is not None:
                entry[f"{kind}_mb"] = peak / 2**20
                entry[f"{kind}_share"] = peak / 2**20 / tensor
        inputs = _score_inputs(self.device)

        def turn(function: Callable[..., Tensor]) -> Work:
            def work(number: int) -> float:
                _score_step(function, inputs)
                return 1.0

            return work

        works = {"plain": turn(additive_scores), "fast": turn(recomputed_additive_scores)}
        with _threads(1):
            rates = self._take_turns("additive score", works)
        entry |= {f"{kind}_ms": 1e3 / rate.compared for kind, rate in rates.items()}
        entry["speed_ratio"] = rates["fast"].compared / rates["plain"].compared
        memory["additive_score"] = entry

    def _described(self) -> dict[str, Any]:
        """How and on what the numbers came about."""
        batches = {regime: self.batches(regime) for regime in self.plan.regimes}
        return {
            "plan": asdict(self.plan),
            "vocabulary": [len(self.sizes.source), len(self.sizes.target)],
            "batches": {
                regime: {
                    "sentences": statistics.fmean(map(len, made)),
                    "tokens": statistics.fmean(batch.target_tokens for batch in made),
                    "padding": 1
                    - sum(batch.target_tokens for batch in made)
                    / sum(batch.target_in.numel() for batch in made),
                }
                for regime, made in batches.items()
            },
            "machine": machine(self.device),
        }


def loss_difference(peer: Peer, batch: Batch, theirs: Any) -> float:
    """By how much the two losses of one batch differ, relative to ours, without dropout."""
    peer.copy_weights()
    modes = peer.ours.training, peer.theirs.training
    peer.ours.eval()
    peer.theirs.eval()
    with torch.no_grad():
        ours, other = float(peer.ours.loss(batch).objective), float(peer.loss(theirs))
    peer.ours.train(modes[0])
    peer.theirs.train(modes[1])
    return abs(ours - other) / abs(ours)


def _pair_training(
    bench: Benchmark, peer: Peer, batches: Sequence[Batch], theirs: Sequence[Any]
) -> dict[str, Work]:
    peer.ours.train()
    peer.theirs.train()
    our_optimizer, their_optimizer = bench.optimizer(peer.ours), peer.optimizer()
    tokens = float(sum(batch.target_tokens for batch in batches))

    def our_turn(number: int) -> float:
        return sum(bench.step(peer.ours, batch, our_optimizer) for batch in batches)

    def their_turn(number: int) -> float:
        for batch in theirs:
            _update(peer.theirs, peer.loss(batch), their_optimizer)
        return tokens

    return {"ours": our_turn, "theirs": their_turn}


def _pair_search(
    peer: Peer,
    batches: Sequence[Batch],
    theirs: Sequence[Any],
    limits: Sequence[int],
    beam_size: int,
) -> tuple[dict[str, Work], dict[str, list[list[int]]]]:
    """A turn of translating for both, and where they leave what they have written."""
    peer.ours.eval()
    peer.theirs.eval()
    written: dict[str, list[list[int]]] = {}

    def our_turn(number: int) -> float:
        written["ours"] = [
            list(ids)
            for batch, limit in zip(batches, limits, strict=True)
            for ids in _search(peer.ours, batch, beam_size, [limit] * len(batch))
        ]
        return float(len(written["ours"]))

    def their_turn(number: int) -> float:
        written["theirs"] = [
            ids
            for batch, limit in zip(theirs, limits, strict=True)
            for ids in peer.search(batch, beam_size, limit)
        ]
        return float(len(written["theirs"]))

    return {"ours": our_turn, "theirs": their_turn}, written


def _versus(rates: Mapping[str, Rate], unit: str) -> dict[str, Any]:
    return {
        "ratio": rates["ours"].compared / rates["theirs"].compared,
        "wall_ratio": rates["ours"].wall / rates["theirs"].wall,
        **{name: rate.named(unit) for name, rate in rates.items()},
    }


def _add(entry: dict[str, Any], key: str, measured: dict[str, Any]) -> None:
    """One thread stands in the entry itself, more threads under their own key."""
    if key == "threads1":
        entry.update(measured)
    else:
        entry[key] = measured


def _update(model: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _search(
    translator: Translator, batch: Batch, beam_size: int, limits: Sequence[int]
) -> list[tuple[int, ...]]:
    with torch.inference_mode():
        encoded = translator.encode(batch.source, batch.source_lengths)
    if beam_size == 1:
        return [found.ids for found in greedy_search(translator, encoded, limits)]
    return [
        ranked[0].ids for ranked in beam_search(translator, encoded, limits, beam_size=beam_size)
    ]


def _pairs(plan: Plan) -> list[SentencePair]:
    match plan.data:
        case "multi30k":
            return multi30k("train")
        case "grammar":
            return list(grammar.corpus(4000, seed=plan.seed).train)
    chance = random.Random(plan.seed)
    words = [f"w{number}" for number in range(plan.words)]

    def sentence(length: int) -> tuple[str, ...]:
        return tuple(chance.choices(words, k=length))

    # About as long as captions, and a translation about as long as its source.
    lengths = [max(2, round(chance.gauss(12, 4))) for _ in range(8 * plan.words)]
    return [
        SentencePair(sentence(length), sentence(max(2, length + chance.randint(-2, 3))))
        for length in lengths
    ]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    names = [platform.processor() or platform.machine()]
    with_model = Path("/proc/cpuinfo")
    if with_model.exists():
        lines = with_model.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line] or names
    return {
        "device": _device_name(device),
        "processor": names[0],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "attnbook": __version__,
    }


def _device_name(device: torch.device) -> str:
    name_of = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(name_of(device)) if name_of else device.type


def merged(old: Any, new: Any) -> Any:
    """An earlier result with the parts of a later one in their places."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    both = {key: merged(old[key], new[key]) if key in new else old[key] for key in old}
    return both | {key: value for key, value in new.items() if key not in old}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def load_peers(
    path: Path,
) -> tuple[dict[str, Callable[[Sizes], Peer]], dict[str, Callable[[int], Part]]]:
    """The ``PEERS`` of a Python file, and its ``PARTS`` if it has some.

    Raises:
        ValueError: the file has none.
    """
    namespace: dict[str, Any] = {"__name__": "attnbook_peers", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    if not isinstance(namespace.get("PEERS"), dict):
        raise ValueError(f"{path} defines no PEERS, a dict from a name to what builds the peer")
    return namespace["PEERS"], namespace.get("PARTS", {})


# --- several heads ----------------------------------------------------------------------------


def heads(width: int) -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Three forms of one self-attention with the same weights, each with what it is made of.

    ``ours``: :class:`~attnbook.self_attention.MultiHeadAttention`, weights not asked for.
    ``torch``: ``nn.MultiheadAttention``, weights not asked for.
    ``formula``: three projections, and :func:`~attnbook.attention.attend` on the heads.
    """
    torch.manual_seed(0)
    count = math.gcd(width, HEADS)
    ours = MultiHeadAttention(width, count)
    theirs = nn.MultiheadAttention(width, count, batch_first=True)
    theirs.in_proj_weight.data.copy_(ours.project_in.weight)
    theirs.in_proj_bias.data.copy_(ours.project_in.bias)
    theirs.out_proj.load_state_dict(ours.project_out.state_dict())
    apart = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
    packed = zip(ours.project_in.weight.chunk(3), ours.project_in.bias.chunk(3), strict=True)
    for layer, (weight, bias) in zip(
        apart, [*packed, (ours.project_out.weight, ours.project_out.bias)], strict=True
    ):
        layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})

    def formula(x: Tensor) -> Tensor:
        *made, last = apart
        found = attend(*(split_heads(layer(x), count) for layer in made))
        output: Tensor = last(merge_heads(found.context))
        return output

    return {
        "ours": (ours, lambda x: ours(x, x, x).output),
        "torch": (theirs, lambda x: theirs(x, x, x, need_weights=False)[0]),
        "formula": (apart, formula),
    }


# --- levers -----------------------------------------------------------------------------------


def levers(bench: Benchmark) -> dict[str, tuple[Work, Work]]:
    """What makes it fast, one by one: the fast form and the readable one, on a random batch.

    ``unpacked``: the encoder reads padded sentences (:func:`attnbook.fast.read_unpacked`).
    ``once``: the keys are projected once and not at every step.
    ``fused``: a Luong decoder without input feeding reads all words in one call.
    ``tokens``: logits in blocks, and only where there is a token.
    ``lstm-steps`` and ``additive-steps``: steps that note what they read.
    ``ranking``: the ten best of five vocabularies, for beam search.
    ``adam``: torch's fused optimizer.
    """
    batch = bench.batches("random")[0]
    dot, additive = bench.build("dot").train(), bench.build("additive").train()
    sentences, steps = batch.target_in.shape
    with torch.no_grad():
        embedded = dot.encoder.embedding(batch.source)
        encoded = dot.encode(batch.source, batch.source_lengths)
        words = additive.decoder.embedding(batch.target_in)
    keys = encoded.states.clone().requires_grad_()
    assert isinstance(dot.encoder, Encoder)
    layer = dot.encoder.recurrent

    def read(how: Callable[..., Any]) -> Work:
        return _timed(lambda: how(layer, embedded, batch.source_lengths)[0].sum(), layer)

    assert isinstance(additive.decoder, RecurrentDecoder)
    assert additive.decoder.attention is not None
    score = additive.decoder.attention.score
    query = torch.randn(sentences, 1, bench.plan.hidden_dim, device=bench.device)

    def ask(once: bool, noting: bool = False) -> Tensor:
        prepared: Any = score.prepare(keys)
        if noting:
            prepared = score.steps(prepared, steps)
            return torch.stack([prepared(query).sum() for _ in range(steps)]).sum()
        asked = []
        for _ in range(steps):
            asked.append(score.compare(query, prepared if once else score.prepare(keys)).sum())
        return torch.stack(asked).sum()

    def fused() -> Tensor:
        decoded: Decoded = dot.decoder(batch.target_in, encoded)
        return decoded.readouts.sum()

    def word_by_word() -> Tensor:
        state, total = dot.decoder.start(encoded), torch.zeros((), device=bench.device)
        for step in range(steps):
            decoded = dot.decoder(batch.target_in[:, step : step + 1], encoded, state)
            state, total = decoded.state, total + decoded.readouts.sum()
        return total

    readouts = torch.randn(
        sentences, steps, bench.plan.embedding_dim, device=bench.device, requires_grad=True
    )
    output, mask = dot.decoder.output, batch.target_mask

    def on_tokens() -> Tensor:
        answers = batch.target_out[mask]
        return chunked_cross_entropy(readouts[mask], output.weight, output.bias, answers)[0]

    def everywhere() -> Tensor:
        logits = output(readouts).flatten(0, 1)
        return functional.cross_entropy(logits, batch.target_out.flatten(), ignore_index=PAD)

    recurrent = additive.decoder.recurrent
    zero = torch.zeros(1, sentences, bench.plan.hidden_dim, device=bench.device)
    context = torch.randn(sentences, bench.plan.hidden_dim, device=bench.device)

    def walk(kind: Callable[..., Any]) -> Tensor:
        step, state = kind(recurrent, words), (zero, zero)
        for _ in range(steps):
            found, state = step(context, state)
        total: Tensor = found.sum()
        return total

    beams = torch.randn(64, bench.plan.beam_size * len(bench.sizes.target), device=bench.device)
    count = 2 * bench.plan.beam_size
    parameters = [nn.Parameter(torch.randn_like(one)) for one in dot.parameters()]
    for one in parameters:
        one.grad = torch.randn_like(one)
    fast_adam = torch.optim.Adam(parameters, fused=True)
    plain_adam = torch.optim.Adam([nn.Parameter(one.detach().clone()) for one in parameters])
    for one, other in zip(plain_adam.param_groups[0]["params"], parameters, strict=True):
        one.grad = other.grad

    def rank(how: Callable[[Tensor, int], Any]) -> Work:
        def work(number: int) -> float:
            with torch.inference_mode():
                how(beams, count)
            return 1.0

        return work

    def update(optimizer: torch.optim.Optimizer) -> Work:
        def work(number: int) -> float:
            optimizer.step()
            return 1.0

        return work

    return {
        "unpacked": (read(read_unpacked), read(read_packed)),
        "once": (_timed(lambda: ask(True), score), _timed(lambda: ask(False), score)),
        "fused": (_timed(fused, dot), _timed(word_by_word, dot)),
        "tokens": (_timed(on_tokens, output), _timed(everywhere, output)),
        "lstm-steps": (
            _timed(lambda: walk(LSTMSteps), recurrent),
            _timed(lambda: walk(Steps), recurrent),
        ),
        "additive-steps": (
            _timed(lambda: ask(True, noting=True), score),
            _timed(lambda: ask(True), score),
        ),
        "ranking": (rank(largest), rank(lambda values, k: values.topk(k, dim=1))),
        "adam": (update(fast_adam), update(plain_adam)),
    }


def _timed(forward: Callable[[], Tensor], module: nn.Module) -> Work:
    """Forward and backward, once."""

    def work(number: int) -> float:
        forward().backward()
        module.zero_grad(set_to_none=True)
        return 1.0

    return work


# --- tables and a picture ---------------------------------------------------------------------


def _of(part: Mapping[str, Any], *path: str) -> float | None:
    """A number somewhere in the result; None where it was not measured."""
    found: Any = part
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return float(found) if isinstance(found, int | float) else None


def _cell(number: float | None, form: str = ",.0f") -> str:
    return "–" if number is None else format(number, form)


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result as tables: a title, a head and rows each."""
    found: list[Table] = []
    plan = result["benchmark"]["plan"]
    on_cpu = torch.device(plan["device"]).type == "cpu"
    clock = "cpu_second" if on_cpu else "second"
    kinds = (result["training"], result["greedy"], result["beam"])
    measured = {key for kind in kinds for regime in kind.values() for key in regime}
    for key in sorted(measured):
        count = int(key.removeprefix("threads"))
        head = ["model"]
        columns: list[tuple[str, str, str, str]] = []
        for regime in plan["regimes"]:
            for kind, unit in (
                ("training", "tokens"),
                ("greedy", "sentences"),
                ("beam", "sentences"),
            ):
                head.append(f"{kind}, {regime}")
                columns.append((kind, regime, key, f"{unit}_per_{clock}"))
        rows = [
            (
                name,
                *(_cell(_of(result, *column[:3], name, column[3])) for column in columns),
            )
            for name in plan["models"]
        ]
        title = "Tokens learned from, and sentences translated, in a second"
        if on_cpu:
            title += f" of CPU time; {count} thread{'s' if count > 1 else ''}"
        found.append((title, tuple(head), rows))
    rows = [
        (
            name,
            *(
                cell
                for regime in plan["regimes"]
                for cell in (
                    _cell(_of(result, "ceiling", regime, name, "tokens_per_second")),
                    _cell(_of(result, "ceiling", regime, name, "share"), ".0%"),
                )
            ),
            _cell(_of(result, "memory", name, "peak_mb"), ".0f"),
        )
        for name in plan["models"]
    ]
    head = ["model"]
    for regime in plan["regimes"]:
        head += [f"ceiling, {regime}", "reached"]
    found.append(
        ("Ceiling in tokens a second, and memory of a step in MB", (*head, "memory"), rows)
    )
    if result["peers"]:
        compared: list[tuple[str, str, tuple[str, ...]]]
        compared = [("training", regime, (regime,)) for regime in plan["regimes"]]
        compared += [
            (kind, regime, (kind, regime))
            for kind in ("greedy", "beam")
            for regime in plan["regimes"]
        ]
        rows = [
            (name, *(_cell(_of(entry, *path, "ratio"), ".2f") for _, _, path in compared))
            for name, entry in result["peers"].items()
        ]
        head = ["peer", *(f"{kind}, {regime}" for kind, regime, _ in compared)]
        title = "Times as fast as the peer" + (", CPU time" if on_cpu else "")
        found.append((title, tuple(head), rows))
    if result["levers"]:
        rows = [
            (name, *(_cell(entry[key], ".2f") for key in ("fast_ms", "plain_ms", "ratio")))
            for name, entry in result["levers"].items()
        ]
        head = ["lever", "ms, fast", "ms, readable", "times as fast"]
        found.append(("What makes it fast: one random batch", tuple(head), rows))
    if result.get("heads"):
        rows = [
            (length, *(_cell(_of(entry, name, "ratio"), ".2f") for name in ("torch", "formula")))
            for length, entry in result["heads"].items()
        ]
        title = f"Self-attention with {HEADS} heads: times as fast"
        found.append((title, ("length", "nn.MultiheadAttention", "the formula"), rows))
    if result["attention"]:
        rows = [
            (name, entry["version"], _cell(_of(entry, "ratio"), ".2f"))
            for name, entry in result["attention"].items()
        ]
        found.append(
            ("Attention alone: times as fast", ("peer", "version", "forward, backward"), rows)
        )
    return found


def figure(result: Mapping[str, Any], regime: str = "bucketed") -> Figure:
    """Training speed of every model, with its ceiling."""
    names = list(result["benchmark"]["plan"]["models"])
    rates = [result["training"][regime]["threads1"][name] for name in names]
    ceilings = [_of(result, "ceiling", regime, name, "tokens_per_second") for name in names]
    drawn, axes = plt.subplots(figsize=(4.6, 0.42 * len(names) + 1.2))
    places = range(len(names))
    on_cpu = all("tokens_per_cpu_second" in rate for rate in rates)
    clock = "tokens_per_cpu_second" if on_cpu else "tokens_per_second"
    speeds = [rate[clock] for rate in rates]
    errors = [
        [speed - rate["low"] for speed, rate in zip(speeds, rates, strict=True)],
        [rate["high"] - speed for speed, rate in zip(speeds, rates, strict=True)],
    ]
    axes.barh(places, speeds, height=0.62, color=KEY, xerr=errors, error_kw={"linewidth": 1})
    for place, ceiling in zip(places, ceilings, strict=True):
        if ceiling is not None:
            axes.plot([ceiling] * 2, [place - 0.4, place + 0.4], color=QUERY)
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlabel("target tokens per second" + (" of CPU time" if on_cpu else ""))
    shares = [speed / ceiling for speed, ceiling in zip(speeds, ceilings, strict=True) if ceiling]
    title = "Training on one core" if on_cpu else "Training on a GPU"
    if shares:
        title += f" reaches {100 * min(shares):.0f} to {100 * max(shares):.0f} %\nof the ceiling"
    axes.set_title(title)
    return drawn
