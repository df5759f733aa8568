"""What chapter 11 reports: a sentence that asks itself, what order is to it, and what it costs.

    python book/results/self_attention.py            # writes the JSON beside it, and the figures
    python book/results/self_attention.py --fresh    # measure everything again

Small networks are trained here, twelve seconds of one core each. Times and memory are of the
machine that the JSON names; they are kept in the user's cache like everything that takes long.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _measure import Cache, Script, over_seeds
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from attnbook import plots
from attnbook.attention import attend
from attnbook.benchmark.machine import machine
from attnbook.benchmark.memory import peak_memory
from attnbook.masks import causal_mask
from attnbook.self_attention import (
    LearnedPositions,
    MultiHeadAttention,
    MultiHeadOutput,
    rotate,
    sinusoidal_positions,
)

cached = Cache("self_attention")
SEEDS = (0, 1, 2)

# --- by hand ----------------------------------------------------------------------------------

WORDS = ("ruf", "mich", "an")
STATES = ((1, 0), (-1, -1), (0, 1))
# States are rows here, and a matrix stands to their right, as in the paper.
FOR_QUERIES = ((0, 2), (1, 0))
FOR_KEYS = ((1, -2), (0, 2))
FOR_VALUES = ((1, 2), (-1, 1))
# A decoder's states after "<sos>" and after "call".
DECODER = ((1, 1), (0, -2))


@torch.no_grad()
def layer_by_hand() -> MultiHeadAttention:
    """One head with these three matrices; the fourth, which mixes heads, changes nothing."""
    layer = MultiHeadAttention(2, num_heads=1).double()
    projections = (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj)
    matrices = (FOR_QUERIES, FOR_KEYS, FOR_VALUES, ((1, 0), (0, 1)))
    for projection, matrix in zip(projections, matrices, strict=True):
        projection.weight[:] = torch.tensor(matrix).T
        projection.bias.zero_()
    return layer


def _row(*rows: tuple[int, ...]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


@torch.no_grad()
def by_hand() -> dict[str, Any]:
    """Every number of the worked example, by the package's layer."""
    layer = layer_by_hand()
    x, y = _row(*STATES), _row(*DECODER)

    def numbers(found: MultiHeadOutput) -> dict[str, Any]:
        assert found.weights is not None
        return {"weights": found.weights[0, 0].tolist(), "output": found.output[0].tolist()}

    queries, keys, values = layer.q_proj(x)[0], layer.k_proj(x)[0], layer.v_proj(x)[0]
    whole = layer(x, x, x, need_weights=True)
    assert whole.scores is not None
    same = attend(x, x, x)
    order = [2, 1, 0]
    turned = layer(x[:, order], x[:, order], x[:, order])
    # "mich" with "an" hidden by a score of 0 instead of -inf.
    zeroed = whole.scores[0, 0, 1].where(torch.tensor([True, True, False]), 0.0).softmax(dim=-1)
    return {
        "queries": queries.tolist(),
        "keys": keys.tolist(),
        "values": values.tolist(),
        "products": (queries @ keys.T).tolist(),
        "scores": whole.scores[0, 0].tolist(),
        "exponentials": whole.scores[0, 0].exp().tolist(),
        "self": numbers(whole),
        "masked": numbers(layer(x, x, x, causal=True, need_weights=True)),
        "cross": numbers(layer(y, x, x, need_weights=True)),
        "cross_queries": layer.q_proj(y)[0].tolist(),
        "cross_products": (layer.q_proj(y)[0] @ keys.T).tolist(),
        "same": {
            "products": (x[0] @ x[0].T).tolist(),
            "weights": same.weights[0].tolist(),
            "output": same.context[0].tolist(),
        },
        "zeroed": zeroed.tolist(),
        "turned": float((turned.output[:, order] - whole.output).abs().max()),
    }


# --- Q = K = V --------------------------------------------------------------------------------


@torch.no_grad()
def weight_on_itself(words: int = 10, draws: int = 500) -> dict[str, Any]:
    """How much of its weight a word keeps, with random states and no matrix between, and with.

    States and matrices are normal, so that queries and keys have numbers of variance 1.
    """
    found: dict[str, Any] = {"words": words, "draws": draws}
    for width in (2, 8, 64, 512):
        torch.manual_seed(0)
        x = torch.randn(draws, words, width, dtype=torch.float64)
        q, k = (
            x @ torch.randn(draws, width, width, dtype=torch.float64) / width**0.5 for _ in "qk"
        )
        found[str(width)] = {
            name: float(attend(queries, keys, x).weights.diagonal(dim1=-2, dim2=-1).mean())
            for name, queries, keys in (("same", x, x), ("three", q, k))
        }
    return found


# --- order ------------------------------------------------------------------------------------


@torch.no_grad()
def order_is_lost(width: int = 64) -> dict[str, Any]:
    """`dog bites man` and `man bites dog`, word by word: does what comes out differ?

    A layer with random weights. Differences are norms, divided by the norm of the output.
    """
    torch.manual_seed(0)
    layer = MultiHeadAttention(width, num_heads=1).double()
    dog, bites, man = torch.randn(3, width, dtype=torch.float64)
    first, second = torch.stack([dog, bites, man])[None], torch.stack([man, bites, dog])[None]
    places = sinusoidal_positions(3, width).double()

    def compare(a: Tensor, b: Tensor, *, causal: bool = False) -> dict[str, float]:
        one = layer(a, a, a, causal=causal).output[0]
        other = layer(b, b, b, causal=causal).output[0].flip(0)
        change = (one - other).norm(dim=-1) / one.norm(dim=-1)
        return dict(zip(("dog", "bites", "man"), change.tolist(), strict=True))

    x = torch.randn(1, 100, width, dtype=torch.float64)
    shuffled = torch.randperm(100)
    mixed = layer(x[:, shuffled], x[:, shuffled], x[:, shuffled]).output
    whole = layer(x, x, x).output
    return {
        "plain": compare(first, second),
        "masked": compare(first, second, causal=True),
        "placed": compare(first + places, second + places),
        "shuffled": float((mixed - whole[:, shuffled]).abs().max()),
        "largest": float(whole.abs().max()),
    }


def products_of_places(width: int = 64, longest: int = 40) -> dict[str, Any]:
    """Dot products of the vectors of two positions, by how far apart they stand."""
    table = sinusoidal_positions(200, width).double()
    middle = table[100]
    return {
        "width": width,
        "distance": list(range(-longest, longest + 1)),
        "product": (table[100 - longest : 101 + longest] @ middle).tolist(),
    }


# The task: name the word before. It can only be done by a network that knows the order.
SYMBOLS = 64
TRAINED = (4, 16)  # shortest and longest sentence in training
TESTED = (16, 32)
STEPS, SENTENCES, RATE = 1500, 64, 3e-3
TEST_SENTENCES = 500
READERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "mask": {"causal": True},
    "sines": {"places": "sines"},
    "learned": {"places": "learned"},
    "rotary": {"places": "rotary"},
    "one-matrix": {"places": "sines", "matrices": 2},
    "no-matrix": {"places": "sines", "matrices": 0},
}


class Reader(nn.Module):
    """Word vectors, one look, and an output layer that names the word before.

    Args:
        places: ``"sines"``, ``"learned"``, ``"rotary"`` or none.
        matrices: 3; 2, where queries and keys share one; or 0, where all three are the states.
        causal: no word sees a later one.
        width: of a state.
    """

    def __init__(
        self, places: str = "", matrices: int = 3, causal: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        self.places, self.matrices, self.causal = places, matrices, causal
        self.words = nn.Embedding(SYMBOLS, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, SYMBOLS)
        self.table = LearnedPositions(TRAINED[1], width) if places == "learned" else None

    def forward(self, words: Tensor) -> Tensor:
        """Logits of the word before, at every position."""
        x = self.words(words)
        length, width = x.shape[-2:]
        if self.places == "sines":
            x = x + sinusoidal_positions(length, width)
        elif self.table is not None:
            x = x + self.table(length)
        queries, keys, values = x, x, x
        if self.matrices:
            queries, values = self.query(x), self.value(x)
            keys = self.key(x) if self.matrices == 3 else queries
        if self.places == "rotary":
            queries, keys = rotate(queries), rotate(keys)
        mask = causal_mask(length) if self.causal else None
        logits: Tensor = self.output(attend(queries, keys, values, mask).context)
        return logits


def sentences(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Sentences in which no word comes twice, so that what was before cannot be guessed."""
    return torch.rand(count, SYMBOLS, generator=generator).argsort(dim=-1)[:, :length]


@torch.no_grad()
def right_answers(reader: Reader, length: int) -> float | None:
    """Share of words, but the first of a sentence, before which the right word was named.

    None where the reader has no position for the last words.
    """
    words = sentences(TEST_SENTENCES, length, torch.Generator().manual_seed(12345))
    try:
        said = reader(words)[:, 1:].argmax(dim=-1)
    except ValueError:
        return None
    return float((said == words[:, :-1]).double().mean())


def trained_reader(name: str, seed: int, steps: int = STEPS) -> Reader:
    """A reader after training on sentences of random length."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    reader = Reader(**READERS[name])
    optimizer = torch.optim.Adam(reader.parameters(), RATE)
    shortest, longest = TRAINED
    for _ in range(steps):
        length = int(torch.randint(shortest, longest + 1, (), generator=generator))
        words = sentences(SENTENCES, length, generator)
        logits = reader(words)[:, 1:]
        loss = functional.cross_entropy(logits.flatten(0, 1), words[:, :-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return reader


def name_the_word_before(name: str) -> dict[str, Any]:
    """Right answers of three readers of a kind, at lengths seen in training and beyond."""
    readers = [trained_reader(name, seed) for seed in SEEDS]
    found: dict[str, Any] = {}
    for length in TESTED:
        seeds = [right_answers(reader, length) for reader in readers]
        known = [seed for seed in seeds if seed is not None]
        if known:
            found[str(length)] = over_seeds(known)
    if READERS[name].get("places") == "sines" and READERS[name].get("matrices", 3):
        with torch.no_grad():
            places = sinusoidal_positions(TRAINED[1], 64)
            found["norms"] = [
                reader.query(places).norm(dim=-1).tolist() for reader in readers
            ]  # of what the matrix of the queries makes of each position
    return found


def chances() -> dict[str, float]:
    """Right answers of a reader that knows which words there are, and of one that also knows
    which of them came earlier, but not in which order."""
    n = TESTED[0]
    return {
        "any": 1 / (n - 1),
        "earlier": statistics.fmean(1 / t for t in range(1, n)),
        "other": 1 / (SYMBOLS - 1),
    }


# --- paths, operations, time, memory ----------------------------------------------------------

LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
WIDTH = 128
# A wide layer is faster for longer, so its crossing lies beyond.
WIDTHS = {64: LENGTHS, 128: LENGTHS, 256: (*LENGTHS, 4096)}
ROUNDS = 7
LAYERS = ("attention", "weights", "lstm")


class Layer(nn.Module):
    """From sequence to sequence: attention without or with its weights written down, or an LSTM."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.inner = (
            nn.LSTM(width, width, batch_first=True)
            if kind == "lstm"
            else MultiHeadAttention(width, num_heads=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output at every position."""
        if self.kind == "lstm":
            states: Tensor = self.inner(x)[0]
            return states
        found: MultiHeadOutput = self.inner(x, x, x, need_weights=self.kind == "weights")
        return found.output


def step(layer: Layer, x: Tensor) -> None:
    """Forward and backward."""
    layer(x).sum().backward()
    x.grad = None


def multiplications(length: int, width: int) -> dict[str, int]:
    """In the matrix products of a layer's forward pass, for one sentence."""
    projections, pairs = 4 * length * width**2, 2 * length**2 * width
    return {"projections": projections, "pairs": pairs, "lstm": 8 * length * width**2}


def seconds_of(layer: Layer, x: Tensor) -> float:
    """Processor's time of one step, at least ten milliseconds' worth of them."""
    steps, start = 0, time.process_time()
    while (took := time.process_time() - start) < 0.01 or not steps:
        step(layer, x)
        steps += 1
    return took / steps


def times(width: int, batch: int, lengths: Sequence[int] = LENGTHS) -> dict[str, Any]:
    """Milliseconds of a step by length; the layers take turns, the median of all rounds counts."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = {kind: Layer(kind, width) for kind in LAYERS}
    found: dict[str, Any] = {kind: {} for kind in LAYERS}
    for length in lengths:
        x = torch.randn(batch, length, width, requires_grad=True)
        rounds: dict[str, list[float]] = {kind: [] for kind in LAYERS}
        for layer in layers.values():
            step(layer, x)
        for _ in range(ROUNDS):
            for kind, layer in layers.items():
                rounds[kind].append(1e3 * seconds_of(layer, x))
        for kind, took in rounds.items():
            found[kind][str(length)] = {
                "median": statistics.median(took), "low": min(took), "high": max(took)
            }  # fmt: skip
    return {**found, "crossing": crossing(found, lengths)}


def crossing(found: dict[str, Any], lengths: Sequence[int]) -> float | None:
    """The length at which an LSTM begins to be faster, on a line through two logarithms."""
    ratio = [
        math.log(found["attention"][str(n)]["median"] / found["lstm"][str(n)]["median"])
        for n in lengths
    ]
    for i in range(len(lengths) - 1):
        if ratio[i] < 0 <= ratio[i + 1]:
            part = ratio[i] / (ratio[i] - ratio[i + 1])
            return float(lengths[i] * (lengths[i + 1] / lengths[i]) ** part)
    return None


def again(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float | None]:
    """How far a second run of a measurement is from the first."""
    moved = [
        first[kind][str(n)]["median"] / second[kind][str(n)]["median"]
        for kind in LAYERS
        for n in LENGTHS
    ]
    return {
        "crossing": second["crossing"],
        "moved": max(max(ratio, 1 / ratio) for ratio in moved),
    }


def memory_of(kind: str, length: int) -> float | None:
    """Bytes by which a process that has only just begun grows in a step."""
    torch.set_num_threads(1)
    layer = Layer(kind, WIDTH)
    step(layer, torch.randn(1, 8, WIDTH, requires_grad=True))  # what torch sets up once
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    return peak_memory(lambda: step(layer, x))


def memory() -> dict[str, Any]:
    """Mebibytes of a step by length; each from a process of its own."""
    found: dict[str, Any] = {kind: {} for kind in LAYERS}
    for kind in LAYERS:
        for length in LENGTHS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                took = pool.submit(memory_of, kind, length).result()
            if took is None:
                raise SystemExit("this system does not tell how much memory a process takes")
            found[kind][str(length)] = took / 2**20
    return found


# The last one is an LSTM whose forget gate starts open, as in chapter 2.
PATHS = ("attention", "lstm", "lstm-open")
FORGET_BIAS = 3.0
DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128, 255)


def paths(length: int = 256, batch: int = 16) -> dict[str, Any]:
    """How loudly the last word hears each earlier one, in layers that nobody has trained.

    The norm of the gradient of the last output, times a random vector, by the input at each
    distance: geometric means over sentences and seeds.
    """
    found: dict[str, Any] = {"length": length, "width": WIDTH, "forget_bias": FORGET_BIAS}
    for kind in PATHS:
        logs = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            layer = Layer(kind.removesuffix("-open"), WIDTH).double()
            if kind == "lstm-open":  # torch stacks the gates: input, forget, candidate, output
                layer.inner.get_parameter("bias_ih_l0").data[WIDTH : 2 * WIDTH] = FORGET_BIAS
            x = torch.randn(batch, length, WIDTH, dtype=torch.float64, requires_grad=True)
            probe = torch.randn(batch, WIDTH, dtype=torch.float64)
            (gradient,) = torch.autograd.grad((layer(x)[:, -1] * probe).sum(), x)
            logs.append(gradient.norm(dim=-1).log().mean(dim=0))
        mean = torch.stack(logs).mean(dim=0).exp()
        found[kind] = {str(d): float(mean[-1 - d]) for d in DISTANCES}
        found[kind]["near_over_far"] = float(mean[-2] / mean[0])
    return found


def this_machine() -> dict[str, Any]:
    """Where times and memory were measured."""
    return machine(torch.device("cpu"))


def task() -> dict[str, Any]:
    """Every kind of reader."""
    return {name: cached(f"task-{name}", name_the_word_before, name) for name in READERS}


def all_multiplications() -> dict[str, dict[str, int]]:
    """By length."""
    return {str(n): multiplications(n, WIDTH) for n in LENGTHS}


def all_times() -> dict[str, Any]:
    """By width."""
    return {
        str(width): cached(f"times-{width}", times, width, 1, lengths)
        for width, lengths in WIDTHS.items()
    }


def second_run(width: int) -> dict[str, Any]:
    """The same times again."""
    return times(width, 1)


def times_again() -> dict[str, float | None]:
    """How far a second run is from the first."""
    return again(
        cached(f"times-{WIDTH}", times, WIDTH, 1, WIDTHS[WIDTH]),
        cached(f"times-{WIDTH}-again", second_run, WIDTH),
    )


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    same, order, task = result["same"], result["order"], result["task"]
    products = dict(zip(result["places"]["distance"], result["places"]["product"], strict=True))
    shared, two = task["one-matrix"]["norms"], task["sines"]["norms"]
    own = [value for key, value in result["paths"]["attention"].items() if key != "near_over_far"]
    lstm, opened = result["paths"]["lstm"], result["paths"]["lstm-open"]
    memory, paths, counts = result["memory"], result["paths"], result["multiplications"]
    crossings = [result["times"][str(width)]["crossing"] for width in WIDTHS]
    extra = memory["weights"]["2048"] - memory["attention"]["2048"]

    def median(kind: str, length: int) -> float:
        return float(result["times"][str(WIDTH)][kind][str(length)]["median"])

    return {
        "at width 512 a word keeps all of its weight": 1 - same["512"]["same"] < 1e-8,
        "the wider, the more": same["2"]["same"]
        < same["8"]["same"]
        < same["64"]["same"]
        < same["512"]["same"],
        "with three matrices it keeps a tenth": all(
            abs(same[width]["three"] - 1 / same["words"]) < 0.02 for width in ("8", "512")
        ),
        "without positions order changes nothing": max(order["plain"].values()) < 1e-14
        and order["shuffled"] < 1e-14 < 1e-3 < order["largest"],
        "behind a mask it does": min(order["masked"].values()) > 0.1,
        "and with positions": min(order["placed"].values()) > 0.01,
        "positions know distance and no direction": all(
            abs(products[d] - products[-d]) < 1e-4 for d in range(1, 41)
        ),
        "32 at the same place, the most": abs(products[0] - 32) < 1e-4
        and max(products, key=products.__getitem__) == 0,
        "23 five words away, 15 to 16 forty away": 22 < products[5] < 24.5
        and 14 < products[40] < 17,
        "nobody does better than can be computed": all(
            abs(seed - result["chances"][bound]) < 0.01
            for name, bound in (("nothing", "any"), ("mask", "earlier"), ("no-matrix", "other"))
            for seed in task[name]["16"]["seeds"]
        ),
        "sines, learned and rotary positions solve the task": all(
            min(task[name]["16"]["seeds"]) > 0.995 for name in ("sines", "learned", "rotary")
        ),
        "sines get half of the words at twice the length": all(
            0.4 < seed < 0.6 for seed in task["sines"]["32"]["seeds"]
        ),
        "rotary positions nearly all": min(task["rotary"]["32"]["seeds"]) > 0.99,
        "one matrix does it too, a little worse": min(task["one-matrix"]["16"]["seeds"]) > 0.95
        and task["one-matrix"]["16"]["mean"] < task["sines"]["16"]["mean"],
        "with one matrix lengths fall along the sentence": all(
            all(a > b for a, b in pairwise(norms)) and norms[0] > 4 * norms[-1] for norms in shared
        ),
        "with two they need not": all(norms[0] < 2 * norms[-1] for norms in two),
        "at 64 words four fifths of the products are projections": counts["64"]["projections"]
        == 4 * counts["64"]["pairs"],
        "at 256 words attention and an LSTM multiply equally often": counts["256"]["projections"]
        + counts["256"]["pairs"]
        == counts["256"]["lstm"],
        "every word is heard as loudly by attention": max(own) < 1.3 * min(own),
        "an LSTM hears near words louder": all(
            lstm[str(d)] > paths["attention"][str(d)] for d in (1, 2, 4, 8)
        ),
        "at sixteen words ten times less": lstm["16"] < paths["attention"]["16"] / 10,
        "six tenths are left after each word": 0.55 < (lstm["32"] / lstm["16"]) ** (1 / 16) < 0.65,
        "its line leaves the picture": lstm["32"] > 1e-9 > lstm["64"],
        "started open it is louder than attention to the end": opened["255"]
        > 10 * paths["attention"]["255"]
        and 0.2 < opened["128"] < opened["1"] < 0.9,
        "attention is faster in short sentences": all(
            median("attention", length) < 0.75 * median("lstm", length) for length in (16, 32, 64)
        ),
        "the LSTM at 2,048": median("attention", 2048) > 1.4 * median("lstm", 2048),
        "the wider, the later they cross": crossings[0] < crossings[1] < crossings[2],
        "at width 128 between 512 and 1,024, and again": all(
            512 < one < 1024 for one in (crossings[1], result["again"]["crossing"])
        ),
        "in batches of eight far earlier": result["batch_of_8"]["crossing"] < crossings[1] / 2,
        "written weights are quadratic at the end": median("weights", 2048)
        > 2.5 * median("weights", 1024),
        "the LSTM is linear": median("lstm", 2048) < 2.6 * median("lstm", 1024),
        "written weights take four squares more": round(extra / (2048**2 * 4 / 2**20)) == 4,
        "memory is linear without them and quadratic with them": memory["attention"]["2048"]
        < 2.5 * memory["attention"]["1024"]
        and memory["weights"]["2048"] > 3 * memory["weights"]["1024"],
        "an LSTM takes up to twice as much": memory["attention"]["2048"]
        < memory["lstm"]["2048"]
        < 2 * memory["attention"]["2048"],
        "with weights six times as much": 5.5
        < memory["weights"]["2048"] / memory["attention"]["2048"]
        < 6.9,
    }


# --- figures ----------------------------------------------------------------------------------


def draw_table() -> Figure:
    """The table of sines and cosines, positions across."""
    positions, width = 24, 16
    table = sinusoidal_positions(positions, width).T.numpy()
    figure, ax = plt.subplots(figsize=(4.6, 2.9))
    ax.pcolormesh(
        np.arange(positions + 1) - 0.5, np.arange(width + 1) - 0.5, table,
        cmap=plots.signed, vmin=-1, vmax=1, edgecolors="none", antialiased=False,
    )  # fmt: skip
    ax.set_ylim(width - 0.5, -0.5)
    ax.set_yticks([0, 4, 8, 12, 15], ["1", "5", "9", "13", "16"])
    ax.set_xticks([0, 6, 12, 18, 23])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set(xlabel="position", ylabel="number of the vector")
    ax.set_title("Fast above, slow below:\na clock for each pair of numbers")
    return figure


def draw_distance(part: dict[str, Any]) -> Figure:
    """The dot product of two positions by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    ax.plot(part["distance"], part["product"], color="black")
    ax.axvline(0, color="black", linewidth=0.6, alpha=0.5)
    ax.set(xlabel="how many words later", ylabel="dot product", ylim=(0, None))
    ax.set_title("Two positions know how far apart they\nare, and not which one comes first")
    return figure


def draw_paths(part: dict[str, Any]) -> Figure:
    """Gradient by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 3.0))
    for kind, name, colour, at, place in (
        ("attention", "self-attention", plots.KEY, 8, (4, -16)),
        ("lstm", "LSTM", plots.QUERY, 4, (-8, -4)),
        ("lstm-open", "LSTM, started open", plots.VALUE, 8, (4, 9)),
    ):
        values = [part[kind][str(d)] for d in DISTANCES]
        ax.plot(DISTANCES, values, "o-", color=colour, markersize=4)
        ax.annotate(
            name, (DISTANCES[at], values[at]), xytext=place, textcoords="offset points",
            ha="right",
        )  # fmt: skip
    ax.set_ylim(1e-9, 30)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks([1, 4, 16, 64, 255], ["1", "4", "16", "64", "255"])
    ax.minorticks_off()
    ax.set(xlabel="how many words back", ylabel="norm of the gradient")
    ax.set_title("One step to every word,\nor as many steps as words")
    return figure


NAMES = {
    "attention": ("without weights", plots.KEY, "o-"),
    "weights": ("with weights", plots.KEY, "o--"),
    "lstm": ("LSTM", plots.QUERY, "s-"),
}


def draw_cost(result: dict[str, Any]) -> Figure:
    """Time and memory by length, one above the other."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(4.6, 5.8), sharex=True)
    part = result["times"][str(WIDTH)]
    for kind, (name, colour, line) in NAMES.items():
        rows = [part[kind][str(n)] for n in LENGTHS]
        medians = [row["median"] for row in rows]
        style: dict[str, Any] = {"color": colour, "markersize": 4, "label": name}
        above.plot(LENGTHS, medians, line, **style)
        above.fill_between(
            LENGTHS, [r["low"] for r in rows], [r["high"] for r in rows], color=colour,
            alpha=0.15, linewidth=0,
        )  # fmt: skip
        # A page is the least by which a process grows.
        below.plot(
            LENGTHS, [max(result["memory"][kind][str(n)], 0.05) for n in LENGTHS], line, **style
        )
    if part["crossing"]:
        above.axvline(part["crossing"], color="black", linewidth=0.8, alpha=0.6)
        above.annotate(
            f"n = {part['crossing']:.0f}", (part["crossing"], 0), xytext=(-5, 6),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right",
        )  # fmt: skip
    for ax in (above, below):
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(LENGTHS[::2] + LENGTHS[-1:], [str(n) for n in LENGTHS[::2] + LENGTHS[-1:]])
        ax.minorticks_off()
    above.set_ylabel("time of a step (ms)")
    above.set_title("Faster until sentences are long")
    above.legend(loc="upper left")
    below.set(xlabel="length of the sentence, n", ylabel="memory of a step (MiB)")
    below.set_title("Linear, unless the weights are written down")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "self-attention-table": draw_table(),
        "self-attention-distance": draw_distance(result["places"]),
        "self-attention-paths": draw_paths(result["paths"]),
        "self-attention-cost": draw_cost(result),
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        "machine": this_machine,
        "by_hand": by_hand,
        "same": weight_on_itself,
        "order": order_is_lost,
        "places": products_of_places,
        "chances": chances,
        "task": task,
        "multiplications": all_multiplications,
        "times": all_times,
        "again": times_again,
        "batch_of_8": (times, WIDTH, 8),
        "memory": (memory,),
        "paths": (paths,),
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
