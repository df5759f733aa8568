"""What chapter 10 reports: a soft dictionary by hand, kernel regression, scores by width.

    python book/results/query_key_value.py            # writes the JSON beside it, and the figures
    python book/results/query_key_value.py --fresh    # measure everything again

Three minutes on one thread. The models are `grammar-dot` of the package, `multi30k-dot` of
book/checkpoints, and of book/results/train.py `grammar-general-0` and `grammar-additive-0`.
Measured parts are kept in the user's cache.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import Cache, Script, over_seeds
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import layer_norm

from attnbook import plots
from attnbook.alignment import mean_entropy
from attnbook.attention import AttentionOutput, attend
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import decode, teacher_forced_attention, translate
from attnbook.evaluation import exact_match
from attnbook.scores import AdditiveScore
from attnbook.self_attention import MultiHeadAttention
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.trace import DecodingTrace

cached = Cache("query_key_value")
SEEDS = (0, 1, 2, 3, 4)

# --- by hand ----------------------------------------------------------------------------------

# Four questions about a drink, answered with 1 for yes and -1 for no: is it alcoholic, does it
# sparkle, is it hot, is it made of grapes?
KEYS = {
    "beer": (1, 1, -1, -1),
    "wine": (1, -1, -1, 1),
    "tea": (-1, -1, 1, -1),
    "lemonade": (-1, 1, -1, -1),
}
SEKT = (1, 1, -1, 1)
# What one gets: the price in euros and the size of the glass in centilitres.
VALUES = {"beer": (4, 50), "wine": (6, 20), "tea": (3, 30), "lemonade": (3, 40)}
SHARPER = (1, 2, 4, 8)


def described(found: AttentionOutput) -> dict[str, Any]:
    """Scores, weights and context of one query."""
    return {
        "scores": found.scores[0].tolist(),
        "exponentials": found.scores[0].exp().tolist(),
        "weights": found.weights[0].tolist(),
        "context": found.context[0].tolist(),
    }


def look_up(query: Sequence[float], entries: Sequence[str] = tuple(KEYS)) -> dict[str, Any]:
    """One question to the menu, by the package's soft dictionary."""
    keys, values = (
        torch.tensor([table[name] for name in entries], dtype=torch.float64)
        for table in (KEYS, VALUES)
    )
    return described(attend(torch.tensor([query], dtype=torch.float64), keys, values))


def menu() -> dict[str, Any]:
    """Every number of the worked example."""
    wine = KEYS["wine"]
    return {
        "sekt": look_up(SEKT),
        "sharper": {str(n): look_up([n * number for number in wine]) for n in SHARPER},
        "nothing": look_up((0, 0, 0, 0)),
        "beer_twice": look_up(SEKT, (*KEYS, "beer")),
    }


# --- kernel regression ------------------------------------------------------------------------

# Degrees by the hour of a made-up day. The first three are the ones that the page takes by hand.
MORNING = {8: 10, 9: 14, 11: 18}
DAY = {1: 11, 3: 8, 5: 9, **MORNING, 14: 19, 16: 23, 17: 20, 20: 15, 22: 13}
ASKED, WIDTH = 10.0, 1.0
WIDTHS = (0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 24.0)

Numbers = NDArray[np.float64]


def kernel_scores(asked: Numbers, hours: Numbers, width: float) -> Numbers:
    """``-(x - x_i)² / 2σ²`` for every pair, ``(asked, readings)``."""
    scores: Numbers = -((asked[:, None] - hours) ** 2) / (2 * width**2)
    return scores


def softmax(scores: Numbers) -> Numbers:
    """Over the last axis, by NumPy: what the package's own is held against."""
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: Numbers = shares / shares.sum(axis=-1, keepdims=True)
    return weights


def kernel_attend(
    asked: Numbers, hours: Numbers, degrees: Numbers, width: float
) -> AttentionOutput:
    """The same regression by the package's soft dictionary.

    A query is ``(x, 1)`` and a key ``(x_i, -x_i²/2) / σ²``, so that their dot product is the score
    without its part ``-x²/2σ²``, which all keys share. The factor √2 undoes the division by √d.
    """
    queries = np.stack([asked, np.ones_like(asked)], axis=1) * math.sqrt(2)
    keys = np.stack([hours, -(hours**2) / 2], axis=1) / width**2
    return attend(*(torch.tensor(part) for part in (queries, keys, degrees[:, None])))


def left_out(hours: Numbers, degrees: Numbers, width: float) -> float:
    """How far off, in degrees and on average, each reading is predicted from the others."""
    scores = kernel_scores(hours, hours, width)
    np.fill_diagonal(scores, -np.inf)
    return float(np.abs(softmax(scores) @ degrees - degrees).mean())


def regression() -> dict[str, Any]:
    """The worked example, the day of the moving figure, and the best width."""
    asked = np.array([ASKED])
    morning, ten = (np.array(list(part), float) for part in (MORNING, MORNING.values()))
    hours, degrees = (np.array(list(part), float) for part in (DAY, DAY.values()))
    scores, day = (kernel_scores(asked, keys, WIDTH)[0] for keys in (morning, hours))
    grid = np.linspace(0, 24, 241)
    differences = [
        np.abs(
            softmax(kernel_scores(grid, hours, width)) @ degrees
            - kernel_attend(grid, hours, degrees, width).context[:, 0].numpy()
        ).max()
        for width in WIDTHS
    ]
    return {
        "morning": {
            "scores": scores.tolist(),
            "products": (ASKED * morning - morning**2 / 2).tolist(),
            "exponentials": np.exp(scores).tolist(),
            "weights": softmax(scores).tolist(),
            "answer": float(softmax(scores) @ ten),
        },
        "day": {
            "keys": list(DAY),
            "values": list(DAY.values()),
            "query": ASKED,
            "width": WIDTH,
            "widths": list(WIDTHS),
            "key": {"name": "hour", "unit": "h", "low": 0, "high": 24, "tick": 6},
            "value": {"name": "temperature", "unit": "°C", "low": 0, "high": 30, "tick": 10},
            "scores": day.tolist(),
            "weights": softmax(day).tolist(),
            "answer": float(softmax(day) @ degrees),
        },
        "left_out": [
            {"width": width, "error": left_out(hours, degrees, width)} for width in WIDTHS
        ],
        "mean": float(degrees.mean()),
        "largest_difference": float(max(differences)),
    }


# --- scores by width --------------------------------------------------------------------------

DIMENSIONS = (1, 4, 16, 64, 256, 1024)
ENTRIES, DRAWS = 16, 4000
DEAF = 0.01  # a gradient below it counts as none; the largest that there can be is 0.5


def softmax_gradient(weights: Tensor) -> Tensor:
    """Size of the softmax's derivative, ``‖diag(α) - α αᵀ‖`` (Frobenius), one for each row."""
    squares = weights.square()
    # (α_i - α_i²)² on the diagonal, (α_i α_j)² beside it.
    total = squares.sum(dim=-1).square() + squares.sum(dim=-1) - 2 * (squares * weights).sum(dim=-1)
    return total.clamp_min(0).sqrt()


def random_scores(width: int, scaled: bool) -> dict[str, float]:
    """Queries and keys of independent numbers with mean 0 and variance 1."""
    chance = torch.Generator().manual_seed(0)
    draw: dict[str, Any] = {"generator": chance, "dtype": torch.float64}
    queries = torch.randn(DRAWS, 1, width, **draw)
    keys = torch.randn(DRAWS, ENTRIES, width, **draw)
    scores = (queries * keys).sum(dim=-1)
    if scaled:
        scores = scores / math.sqrt(width)
    weights = scores.softmax(dim=-1)
    gradient = softmax_gradient(weights)
    return {
        "variance": float(scores.var()),
        "entropy": float(-torch.xlogy(weights, weights).sum(dim=-1).mean()),
        "largest": float(weights.amax(dim=-1).mean()),
        "gradient": float(gradient.mean()),
        "gradient_median": float(gradient.median()),
        "deaf": float((gradient < DEAF).double().mean()),
    }


LEARNING = (4, 16, 64, 256)
STEPS, BATCH, RATE, NOISE = 1000, 64, 1e-3, 0.3
WAYS = ("plain", "scaled", "small")


def learn_to_ask(width: int, way: str, seed: int) -> float:
    """Train the question to a fixed soft dictionary; the share of new questions asked rightly.

    The dictionary has 16 random keys and values. A question is a key with noise, turned by a
    rotation; a matrix W must learn to turn it back, by gradient descent on the squared error of
    what is given back, ``softmax(W x · K) V``. It asks rightly if the largest score is at the
    right key.

    Args:
        width: numbers in a key.
        way: ``"plain"``, ``"scaled"`` (scores over √d) or ``"small"`` (plain, W √d times smaller
            at the start).
        seed: of everything random.
    """
    chance = torch.Generator().manual_seed(seed)
    keys = torch.randn(ENTRIES, width, generator=chance)
    values = torch.randn(ENTRIES, 8, generator=chance)
    rotation = torch.linalg.qr(torch.randn(width, width, generator=chance)).Q
    matrix = torch.randn(width, width, generator=chance) / math.sqrt(width)
    if way == "small":
        matrix = matrix / math.sqrt(width)
    matrix.requires_grad_()

    def ask(count: int) -> tuple[Tensor, Tensor]:
        right = torch.randint(ENTRIES, (count,), generator=chance)
        noise = NOISE * torch.randn(count, width, generator=chance)
        scores = (keys[right] + noise) @ rotation @ matrix @ keys.T
        return scores / math.sqrt(width) if way == "scaled" else scores, right

    optimiser = torch.optim.Adam([matrix], lr=RATE)
    for _ in range(STEPS):
        scores, right = ask(BATCH)
        loss = (scores.softmax(dim=-1) @ values - values[right]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        scores, right = ask(1000)
    return float((scores.argmax(dim=-1) == right).double().mean())


def learning(width: int) -> dict[str, Any]:
    """All ways at one width: the mean over seeds, and each seed."""
    found = {way: [learn_to_ask(width, way, seed) for seed in SEEDS] for way in WAYS}
    return {way: over_seeds(each) for way, each in found.items()}


# --- trained models ---------------------------------------------------------------------------

SENTENCES = 200
CAPTIONS = "multi30k-dot"
REWRITTEN = ("grammar-dot", "grammar-general-0", "grammar-additive-0")
TEMPERATURES = {"1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2}
TEMPERATURES |= {str(n): float(n) for n in (1, 2, 4, 8, 16)}


def grammar_pairs() -> list[SentencePair]:
    """The grammar's test sentences, with gold links."""
    return models.pairs_of("test", "grammar")


def fresh(translator: Translator) -> Translator:
    """The same model before its training, seed 0."""
    assert translator.config is not None
    torch.manual_seed(0)
    vocabularies = translator.source_vocabulary, translator.target_vocabulary
    return Translator.from_config(translator.config, *vocabularies, name="fresh").eval()


def forced(translator: Translator, pairs: Sequence[SentencePair]) -> list[DecodingTrace]:
    """What the model does while it reads the right translations."""
    return [decode(translator, pair.source, target=pair.target) for pair in pairs]


def spread(traces: Sequence[DecodingTrace]) -> dict[str, float]:
    """The variance of the scores that one step compares, and what its numbers alone predict.

    For the second, the query's numbers are put into another order, one for each sentence. Every
    number keeps its size, and meets another number of the keys than the one it was trained with.
    """
    chance = np.random.default_rng(0)
    found: dict[str, list[Numbers]] = {"scores": [], "shuffled": []}
    for trace in traces:
        queries, keys = trace.decoder_states, trace.encoder_states
        order = chance.permutation(queries.shape[1])
        found["scores"].append((queries @ keys.T).var(axis=1))
        found["shuffled"].append((queries[:, order] @ keys.T).var(axis=1))
    queries = np.concatenate([trace.decoder_states for trace in traces])
    keys = np.concatenate([trace.encoder_states for trace in traces])
    lengths = np.linalg.norm(keys, axis=1)
    return {
        "width": queries.shape[1],
        "query_variance": float(queries.var()),
        "key_variance": float(keys.var()),
        "key_length": float(lengths.mean()),
        "key_length_deviation": float(lengths.std() / lengths.mean()),
        **{name: float(np.concatenate(rows).mean()) for name, rows in found.items()},
    }


def states(name: str) -> dict[str, Any]:
    """Scores of a dot model, before its training and after it."""
    pairs = multi30k("test") if name == CAPTIONS else grammar_pairs()
    translator, pairs = models.load(name), pairs[:SENTENCES]
    return {
        "before": spread(forced(fresh(translator), pairs)),
        "after": spread(forced(translator, pairs)),
    }


@torch.no_grad()
def heads(model_dim: int = 512, count: int = 8, words: int = 20) -> dict[str, float]:
    """Scaled scores of an untrained multi-head attention that reads normalised vectors."""
    variances = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        layer = MultiHeadAttention(model_dim, count)
        asked, known = (layer_norm(torch.randn(1, words, model_dim), (model_dim,)) for _ in "qk")
        scores = layer(asked, known, known, need_weights=True).scores
        variances.append(float(scores.var(dim=-1).mean()))
    width = model_dim // count
    mean = statistics.fmean(variances)
    return {"width": width, "scaled": mean, "plain": mean * width}


def temperatures() -> dict[str, Any]:
    """What a trained model writes when its scores are divided by something else than 1."""
    translator, pairs = models.load("grammar-dot"), grammar_pairs()
    attention = models.attention_of(translator)
    assert isinstance(translator.config, RecurrentConfig)
    root = math.sqrt(translator.config.hidden_dim)
    rows = {}
    for name, temperature in {**TEMPERATURES, "root": root}.items():
        attention.temperature = temperature
        written = translate(translator, [pair.source for pair in pairs])
        rows[name] = {
            "temperature": temperature,
            "exact": exact_match(written, [pair.target for pair in pairs]),
            "entropy": mean_entropy(teacher_forced_attention(translator, pairs[:SENTENCES])),
        }
    return rows


def largest(pairs: Sequence[tuple[Any, Any]]) -> float:
    """The largest difference between arrays that should be the same."""
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


@torch.no_grad()
def rewritten(name: str) -> dict[str, float]:
    """A trained decoder's weights and contexts, computed again from queries, keys and values."""
    translator = models.load(name)
    traces = forced(translator, grammar_pairs()[:SENTENCES])
    score = models.attention_of(translator).score.double()
    weights, contexts = [], []
    for trace in traces:
        queries = torch.tensor(trace.decoder_states if trace.queries is None else trace.queries)
        states = torch.tensor(trace.encoder_states)
        if isinstance(score, AdditiveScore):
            shares = score(queries, states).softmax(dim=-1)
            found = AttentionOutput(shares @ states, shares, shares.log())
        else:
            keys = score.project_keys(states)  # W h for the general score, h itself for the dot
            # attend divides by √d, and Luong's decoder does not.
            found = attend(math.sqrt(keys.shape[-1]) * queries, keys, states)
        weights.append((found.weights, trace.weights))
        contexts.append((found.context, trace.contexts))
    return {"weights": largest(weights), "contexts": largest(contexts)}


def all_random() -> dict[str, Any]:
    """Plain and scaled, by width."""
    return {
        way: {str(width): random_scores(width, way == "scaled") for width in DIMENSIONS}
        for way in ("plain", "scaled")
    }


def all_learning() -> dict[str, Any]:
    """By width."""
    return {str(width): cached(f"learning-{width}", learning, width) for width in LEARNING}


def all_states() -> dict[str, Any]:
    """Of both models."""
    return {name: cached(f"states-{name}", states, name) for name in ("grammar-dot", CAPTIONS)}


def all_rewritten() -> dict[str, Any]:
    """Every decoder that can be written as a soft dictionary."""
    return {name: cached(f"rewritten-{name}", rewritten, name) for name in REWRITTEN}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    left, temperature = result["left_out"], result["temperature"]
    morning = [list(DAY).index(hour) for hour in MORNING]
    plain, scaled = result["random"]["plain"], result["random"]["scaled"]
    learned = {
        way: {width: row[way]["mean"] for width, row in result["learning"].items()} for way in WAYS
    }
    seeds = {width: [row[w]["seeds"] for w in WAYS] for width, row in result["learning"].items()}
    small, captions = result["states"]["grammar-dot"], result["states"][CAPTIONS]
    exact = {name: found["exact"] for name, found in temperature.items()}
    entropies = [
        found["entropy"] for found in sorted(temperature.values(), key=lambda r: r["temperature"])
    ]
    return {
        "the best of the widths from 0.2 to 24 is 2": [left[i]["width"] for i in (0, -1)]
        == [0.2, 24.0]
        and min(left, key=lambda found: found["error"])["width"] == 2.0,
        "the worst is the widest": max(left, key=lambda found: found["error"])["width"] == 24.0,
        "three readings have all of the weight": sum(result["day"]["weights"][i] for i in morning)
        > 0.999,
        "both regressions are one": result["largest_difference"] < 1e-10,
        "the variance of random scores is the width": all(
            abs(found["variance"] / int(width) - 1) < 0.03 for width, found in plain.items()
        ),
        "divided by the root it is 1, the entropy 2.4 and the gradient 0.3 at any width": all(
            abs(found["variance"] - 1) < 0.03
            and abs(found["entropy"] - 2.4) < 0.06
            and abs(found["gradient"] - 0.3) < 0.03
            and found["deaf"] == 0
            for found in scaled.values()
        ),
        "at width 1,024 a fifth of the gradient is left": abs(
            plain["1"]["gradient"] / plain["1024"]["gradient"] - 5
        )
        < 0.5,
        "in half of the draws nearly none": plain["1024"]["gradient_median"] < 1e-4,
        "2.77 is the largest entropy": round(math.log(result["entries"]), 2) == 2.77,
        "4,000 queries to 16 keys": (result["draws"], result["entries"]) == (4000, 16),
        "with the scale the widest learns best, without it worst": (
            max(learned["scaled"], key=learned["scaled"].__getitem__),
            min(learned["plain"], key=learned["plain"].__getitem__),
        )
        == ("256", "256"),
        "at width 4 the scale changes little": abs(learned["scaled"]["4"] - learned["plain"]["4"])
        < 0.05,
        "at larger ones it helps with every seed": all(
            s > p
            for width in ("16", "64", "256")
            for p, s in zip(seeds[width][0], seeds[width][1], strict=True)
        ),
        "37, 75 and 13 percent": [
            round(100 * learned[way][width])
            for way, width in (("scaled", "4"), ("plain", "16"), ("plain", "256"))
        ]
        == [37, 75, 13],
        "from width 16 on 95 percent": min(learned["scaled"][w] for w in ("16", "64", "256"))
        > 0.95,
        "small matrices do it too at width 64": learned["small"]["64"]
        > learned["scaled"]["64"] - 0.03,
        "and half of it at 256": learned["plain"]["256"] + 0.3
        < learned["small"]["256"]
        < learned["scaled"]["256"] - 0.3,
        "an untrained head's scores have a variance of a ninth": abs(
            result["heads"]["scaled"] - 1 / 9
        )
        < 0.005,
        "widths 96 and 256": (small["after"]["width"], captions["after"]["width"]) == (96, 256),
        "before training the scores hardly differ": all(
            found["before"]["scores"] < 1e-3 for found in (small, captions)
        ),
        "three quarters of the variance are learned": all(
            abs(0.25 - found["after"]["shuffled"] / found["after"]["scores"]) < 0.03
            for found in (small, captions)
        ),
        "the wider model's scores are hardly wider": captions["after"]["scores"]
        / small["after"]["scores"]
        < 1.4,
        "the best temperature is the trained one": max(exact, key=exact.__getitem__) == "1",
        "at 8 and 16 little is left": max(exact["8"], exact["16"]) < 0.1,
        "weights spread with the temperature": entropies == sorted(entropies),
        "every decoder is a soft dictionary": set(result["rewritten"]) == set(REWRITTEN)
        and all(max(found.values()) < 1e-5 for found in result["rewritten"].values()),
    }


# --- figures ----------------------------------------------------------------------------------


def draw_variance(result: dict[str, Any]) -> Figure:
    """Variance of the scores by width: at random, and in models."""
    figure, ax = plt.subplots(figsize=(4.6, 3.7))

    def write(text: str, at: tuple[float, float], beside: tuple[float, float], **how: Any) -> None:
        ax.annotate(text, at, xytext=beside, textcoords="offset points", va="center", **how)

    for way, colour in (("plain", "black"), ("scaled", plots.KEY)):
        rows = result["random"][way].values()
        ax.plot(DIMENSIONS, [row["variance"] for row in rows], "o-", color=colour)
    write("random", (256, 256), (-14, 4), ha="right")
    write("random,\ndivided by √d", (1, 1), (0, -20), ha="left")
    for name, text, beside in (("grammar-dot", "grammar", -9), ("multi30k-dot", "captions", 9)):
        before, after = (result["states"][name][when] for when in ("before", "after"))
        points = [(row["width"], row["scores"]) for row in (before, after)]
        arrow = {"arrowstyle": "->", "color": plots.QUERY, "shrinkA": 4, "shrinkB": 4}
        ax.annotate("", points[1], points[0], arrowprops=arrow)
        for point, inside in zip(points, ("none", plots.QUERY), strict=True):
            ax.plot(*point, "s", color=plots.QUERY, markerfacecolor=inside)
        write(text, points[0], (beside, 0), ha="right" if beside < 0 else "left")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(DIMENSIONS, [str(width) for width in DIMENSIONS])
    ax.minorticks_off()
    ax.set(xlabel="width d", ylabel="variance of the scores", xlim=(0.7, 1500))
    ax.set_title("Random scores spread with the width,\ntrained ones as far as training likes")
    return figure


def draw_learning(result: dict[str, Any]) -> Figure:
    """What is learned with the scale and without it, by width."""
    ways = {"scaled": "divided by √d", "plain": "plain"}
    rows = list(result["learning"].values())
    ax = plots.lines_with_intervals(
        np.log2([int(width) for width in result["learning"]]),
        {
            text: (
                [100 * row[way]["mean"] for row in rows],
                [100 * min(row[way]["seeds"]) for row in rows],
                [100 * max(row[way]["seeds"]) for row in rows],
            )
            for way, text in ways.items()
        },
        colours={ways["scaled"]: plots.KEY},
        ticks=list(result["learning"]),
    )
    ax.set(xlabel="width d", ylabel="lookups learned (%)", ylim=(0, 103), xlim=(1.7, 10.8))
    ax.set_title("Wide and unscaled, the questions\nare not learned")
    return plt.gcf()


def draw_temperature(result: dict[str, Any]) -> Figure:
    """Translations without an error by temperature, of a trained model."""
    rows = result["temperature"]
    figure, ax = plt.subplots(figsize=(4.6, 3.3))
    ax.plot(
        list(TEMPERATURES.values()), [100 * rows[name]["exact"] for name in TEMPERATURES], "o-",
        color="black",
    )  # fmt: skip
    root = rows["root"]["temperature"], 100 * rows["root"]["exact"]
    ax.plot(*root, "s", color=plots.KEY)
    ax.annotate("√96", root, xytext=(4, 8), textcoords="offset points")
    ax.set_xscale("log", base=2)
    ticks = list(TEMPERATURES)[::2]
    ax.set_xticks([TEMPERATURES[name] for name in ticks], ticks)
    ax.minorticks_off()
    ax.set(xlabel="temperature", ylabel="translated without an error (%)", ylim=(0, 103))
    ax.set_title("A trained model has a temperature\nof its own")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "query-key-value-variance": draw_variance(result),
        "query-key-value-learning": draw_learning(result),
        "query-key-value-temperature": draw_temperature(result),
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        "sentences": SENTENCES,
        "menu": menu,
        ("morning", "day", "left_out", "mean", "largest_difference"): regression,
        "random": (all_random,),
        "entries": ENTRIES,
        "draws": DRAWS,
        "learning": all_learning,
        "states": all_states,
        "heads": heads,
        "temperature": (temperatures,),
        "rewritten": all_rewritten,
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
