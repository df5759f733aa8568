"""What chapter 12 reports: what the heads of a trained Transformer look at, and who is missed.

    python book/results/many_heads.py            # writes the JSON beside it, and the figures
    python book/results/many_heads.py --fresh    # measure everything again

The model is `compared-transformer-0` of book/results/train.py; heads are looked at on the first
300 test captions of 2016. Each is taken out alone on the validation captions; in the order that
these give, ever more are taken out on the test captions, greedy search. The grammar's models differ
in the number of heads alone, three seeds each. Times are of one CPU thread, all in one run, by
turns. Measured parts are kept in the user's cache.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import (
    Cache,
    Script,
    bleu_counts,
    bleu_of,
    bleu_with_interval,
    over_seeds,
    resample,
)
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import decode, translate
from attnbook.evaluation import exact_match
from attnbook.self_attention import MultiHeadAttention
from attnbook.seq2seq import Translator
from attnbook.transformer import TransformerDecoder, TransformerEncoder

cached = Cache("many_heads")
MODEL = "compared-transformer-0"
KINDS = ("encoder", "written", "source")
FEW = 300
COUNTS = (1, 2, 4, 8)


# --- heads of a model -------------------------------------------------------------------------


def attentions(translator: Translator) -> dict[str, list[MultiHeadAttention]]:
    """Every multi-head attention of a Transformer, by kind and layer."""
    encoder, decoder = translator.encoder, translator.decoder
    assert isinstance(encoder, TransformerEncoder)
    assert isinstance(decoder, TransformerDecoder)
    return {
        kind: [attention for attention in found if isinstance(attention, MultiHeadAttention)]
        for kind, found in (
            ("encoder", [layer.attention for layer in encoder.layers]),
            ("written", [layer.self_attention for layer in decoder.layers]),
            ("source", [layer.cross_attention for layer in decoder.layers]),
        )
    }


Head = tuple[str, int, int]  # kind, layer, number


def all_heads(translator: Translator) -> list[Head]:
    """All heads, from the source to the word."""
    return [
        (kind, layer, head)
        for kind, found in attentions(translator).items()
        for layer, attention in enumerate(found)
        for head in range(attention.num_heads)
    ]


@contextmanager
def without(translator: Translator, heads: Sequence[Head]) -> Iterator[None]:
    """For as long as the block lasts, these heads say nothing.

    The output is ``W^O [head_1; …; head_h] + b``. Zeros in the columns of ``W^O`` that meet a head
    take its part out and leave all else as it is.
    """
    found = attentions(translator)
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        for kind, layer, head in heads:
            attention = found[kind][layer]
            width = attention.out_proj.in_features // attention.num_heads
            columns = attention.out_proj.weight.data[:, head * width : (head + 1) * width]
            kept.append((columns, columns.clone()))
            columns.zero_()
        yield
    finally:
        for columns, before in reversed(kept):
            columns.copy_(before)


# --- what they look at ------------------------------------------------------------------------


def looks(translator: Translator, pairs: Sequence[SentencePair]) -> list[dict[str, Any]]:
    """Of each head, means over words: entropy, and the weight on certain places.

    ``same``, ``before`` and ``after`` are places counted from the word that asks; for attention to
    the source they are not defined. ``first`` is the first word that is asked, ``last`` the end
    marker of the source (of what is written there is none).
    """
    sums: dict[Head, dict[str, float]] = {}
    words: dict[str, int] = dict.fromkeys(KINDS, 0)
    for pair in pairs:
        trace = decode(translator, pair.source, target=pair.target)
        for one in trace.maps:
            words[one.kind] += len(one.rows)
            for layer, heads in enumerate(one.weights):
                for number, weights in enumerate(heads):
                    into = sums.setdefault((one.kind, layer, number), {})
                    for name, value in places(weights, one.kind).items():
                        into[name] = into.get(name, 0.0) + value
    return [
        {
            "kind": kind, "layer": layer, "head": head,
            **{name: value / words[kind] for name, value in found.items()},
        }
        for (kind, layer, head), found in sums.items()
    ]  # fmt: skip


def places(weights: NDArray[np.float64], kind: str) -> dict[str, float]:
    """Sums over the rows of one matrix; see :func:`looks`."""
    positive = weights[weights > 0]
    found = {
        "entropy": float(-(positive * np.log(positive)).sum()),
        "first": float(weights[:, 0].sum()),
        "largest": float(weights.max(axis=1).sum()),
    }
    if kind != "written":
        found["last"] = float(weights[:, -1].sum())
    if kind != "source":
        found["same"] = float(weights.diagonal().sum())
        found["before"] = float(weights.diagonal(-1).sum())
        found["after"] = float(weights.diagonal(1).sum())
    return found


# --- who is missed ----------------------------------------------------------------------------


def pruned(
    translator: Translator, first: Sequence[SentencePair], second: Sequence[SentencePair]
) -> dict[str, Any]:
    """BLEU without each head alone; without ever more of them; without all heads of a kind.

    Args:
        translator: whose heads are taken out.
        first: pairs on which each is taken out alone, which puts the heads in order.
        second: other pairs, on which they are taken out together, the least missed first.
    """

    def counts(heads: Sequence[Head], pairs: Sequence[SentencePair]) -> NDArray[np.int64]:
        with without(translator, heads):
            written = translate(translator, [pair.source for pair in pairs])
        return bleu_counts(written, [pair.target for pair in pairs])

    whole = counts([], first)
    draws = resample(len(first), 1000)
    alone: list[dict[str, Any]] = []
    for kind, layer, number in all_heads(translator):
        found = counts([(kind, layer, number)], first)
        drawn = bleu_of(draws @ found) - bleu_of(draws @ whole)
        low, high = np.quantile(drawn, [0.025, 0.975])
        change = float(bleu_of(found.sum(axis=0)) - bleu_of(whole.sum(axis=0)))
        alone.append(
            {
                "kind": kind, "layer": layer, "head": number,
                "change": change, "low": float(low), "high": float(high),
            }
        )  # fmt: skip
    order = sorted(alone, key=lambda one: -one["change"])  # the least missed first
    cumulative = [{"heads": 0, **bleu_with_interval(counts([], second))}]
    for taken in range(4, len(order) + 1, 4):
        gone = [(one["kind"], one["layer"], one["head"]) for one in order[:taken]]
        cumulative.append({"heads": taken, **bleu_with_interval(counts(gone, second))})
    by_kind = {
        kind: bleu_with_interval(
            counts([head for head in all_heads(translator) if head[0] == kind], second)
        )
        for kind in KINDS
    }
    return {
        "whole": bleu_with_interval(whole),
        "alone": alone,
        "worst": min(alone, key=lambda one: one["change"]),
        "missed": sum(one["high"] < 0 for one in alone),
        "heads": len(alone),
        "cumulative": cumulative,
        "kinds": by_kind,
    }


# --- what they cost -----------------------------------------------------------------------------

WIDTH, LENGTH, BATCH = 256, 256, 4
SPLITS = (1, 2, 4, 8, 16, 32)


@torch.no_grad()
def cost() -> dict[str, dict[str, float]]:
    """Time of a layer by its number of heads, relative to one head, and the weights it makes."""
    torch.set_num_threads(1)
    x = torch.randn(BATCH, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    layers = {heads: MultiHeadAttention(WIDTH, heads).eval() for heads in SPLITS}
    ways = {
        "shown": lambda layer: layer(x, x, x, need_weights=True),
        "fused": lambda layer: layer(x, x, x, need_weights=False),
    }
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(30):
        for way, run_it in ways.items():
            for heads, layer in layers.items():
                start = time.process_time()
                run_it(layer)
                seconds.setdefault((way, heads), []).append(time.process_time() - start)
    median = {key: statistics.median(times) for key, times in seconds.items()}
    return {
        str(heads): {
            **{way: median[way, heads] / median[way, 1] for way in ways},
            "weights": heads * LENGTH**2,
            "parameters": sum(p.numel() for p in layers[heads].parameters()),
        }
        for heads in SPLITS
    }


# --- how many -----------------------------------------------------------------------------------


def by_count(count: int) -> dict[str, Any]:
    """Exact match on the grammar of models that differ in the number of heads alone."""
    pairs = models.pairs_of("test", "grammar")
    seeds = []
    for seed in models.SEEDS:
        translator = models.load(f"grammar-heads-{count}-{seed}")
        written = translate(translator, [pair.source for pair in pairs])
        seeds.append(exact_match(written, [pair.target for pair in pairs]))
    return {**over_seeds(seeds), "parameters": translator.count_parameters()}


def captions() -> int:
    """How many test captions there are."""
    return len(multi30k("test"))


def looks_of_model() -> list[dict[str, Any]]:
    """Where the heads of the large model look."""
    return looks(models.load(MODEL), multi30k("test")[:FEW])


def pruned_model() -> dict[str, Any]:
    """The large model without its heads."""
    return pruned(models.load(MODEL), multi30k("val"), multi30k("test"))


def costs() -> dict[str, Any]:
    """What `cost` finds, and at which sizes."""
    return {"width": WIDTH, "length": LENGTH, "heads": cached("cost", cost)}


def counts() -> dict[str, Any]:
    """Every number of heads."""
    return {str(count): cached(f"count-{count}", by_count, count) for count in COUNTS}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    by = {(one["kind"], one["layer"] + 1, one["head"] + 1): one for one in result["looks"]}
    largest = sorted(one["largest"] for key, one in by.items() if key[0] == "source")
    entropies = sorted(one["entropy"] for key, one in by.items() if key[0] == "encoder")
    pruned = result["pruned"]
    lost = [one for one in pruned["alone"] if one["high"] < 0]
    order = sorted(pruned["alone"], key=lambda one: -one["change"])
    scores = [one["score"] for one in pruned["cumulative"]]  # four heads fewer each
    kinds = {name: part["score"] for name, part in pruned["kinds"].items()}
    cost, seeds = result["cost"]["heads"], {c: p["seeds"] for c, p in result["counts"].items()}
    means = [part["mean"] for part in result["counts"].values()]
    return {
        "36 heads": pruned["heads"] == len(result["looks"]) == 36,
        "to the source head 1 of layer 1 is the broadest, head 4 of layer 2 the sharpest": (
            by["source", 1, 1]["largest"],
            by["source", 2, 4]["largest"],
        )
        == (largest[0], largest[-1]),
        "in the encoder head 4 of layer 2 spreads least, head 3 of layer 3 most": (
            by["encoder", 2, 4]["entropy"],
            by["encoder", 3, 3]["entropy"],
        )
        == (entropies[0], entropies[-1]),
        "over four words and over eight": [
            round(math.exp(one)) for one in (entropies[0], entropies[-1])
        ]
        == [4, 8],
        "two heads give a third to the word before": all(
            abs(by["encoder", 2, head]["before"] - 1 / 3) < 0.04 for head in (1, 4)
        ),
        "one gives a quarter to the word after": abs(by["encoder", 1, 1]["after"] - 1 / 4) < 0.03,
        "three heads are missed": len(lost) == pruned["missed"] == 3,
        "all in the first layer, two of them to what is written, none to the source": {
            one["layer"] for one in lost
        }
        == {0}
        and sorted(one["kind"] for one in lost) == ["encoder", "written", "written"],
        "twelve heads alone would even help": sum(one["change"] for one in order[:12]) > 0,
        "without twelve five BLEU are lost": abs(scores[0] - scores[3] - 5) < 0.5,
        "eight more cost little": scores[3] - scores[5] < 1.5,
        "four more cost nearly all": scores[5] - scores[6] > 15,
        "without the source nothing is left, without the encoder's heads the most": kinds["source"]
        < 1
        < kinds["written"]
        < kinds["encoder"],
        "every number of heads has the same parameters": len(
            {part["parameters"] for part in cost.values()}
        )
        == len({part["parameters"] for part in result["counts"].values()})
        == 1,
        "a matrix of weights for each head": all(
            part["weights"] == int(heads) * LENGTH**2 for heads, part in cost.items()
        ),
        "heads cost time, more if weights are shown": cost["8"]["shown"] > cost["8"]["fused"] > 1,
        "one before two before four, and eight below four, with every seed": all(
            one < two < four and eight < four
            for one, two, four, eight in zip(*(seeds[c] for c in ("1", "2", "4", "8")), strict=True)
        ),
        "two points between the counts": abs(max(means) - min(means) - 0.02) < 0.005,
        "three between the seeds": abs(max(max(s) - min(s) for s in seeds.values()) - 0.03) < 0.005,
    }


# --- figures ----------------------------------------------------------------------------------


def draw_looks(found: list[dict[str, Any]]) -> Figure:
    """For each head within a sentence, how much weight lies on a word itself and beside it."""
    titles = {"encoder": "Within the source", "written": "To what is written"}
    marks = {"same": ("o", "full"), "before": ("<", "none"), "after": (">", "none")}
    names = {"same": "itself", "before": "the word before", "after": "the word after"}
    figure, axes = plt.subplots(2, 1, figsize=(4.4, 5.6), sharex=True)
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        rows = sorted(
            (one for one in found if one["kind"] == kind),
            key=lambda one: (one["layer"], one["head"]),
        )
        for place, row in enumerate(rows):
            for name, (marker, fill) in marks.items():
                if kind == "encoder" or name != "after":
                    ax.plot(
                        row[name], place, marker, color="black", fillstyle=fill, markersize=5,
                        label=names[name] if place == 0 else None,
                    )  # fmt: skip
        ax.set_yticks(range(len(rows)), [f"{row['layer'] + 1} · {row['head'] + 1}" for row in rows])
        ax.invert_yaxis()
        ax.set_title(title)
        ax.set_ylabel("layer · head")
        ax.legend(loc="lower right", fontsize=8)
    axes[-1].set(xlabel="mean weight", xlim=(0, 1))
    return figure


def draw_alone(part: dict[str, Any]) -> Figure:
    """The change of BLEU without each head, a row for each layer of each attention."""
    rows = sorted({(KINDS.index(one["kind"]), one["layer"]) for one in part["alone"]})
    figure, ax = plt.subplots(figsize=(4.4, 0.36 * len(rows) + 1.1))
    for place, (kind, layer) in enumerate(rows):
        for one in part["alone"]:
            if (KINDS.index(one["kind"]), one["layer"]) == (kind, layer):
                sure = one["high"] < 0
                ax.plot(
                    one["change"], place, "o", color="black", markersize=5,
                    fillstyle="full" if sure else "none",
                )  # fmt: skip
    names = ("within the source", "to what is written", "to the source")
    ax.set_yticks(range(len(rows)), [f"{names[kind]}, {layer + 1}" for kind, layer in rows])
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("change of BLEU without the head")
    ax.set_title("Most heads are not missed")
    return figure


def draw_cumulative(part: dict[str, Any]) -> Figure:
    """BLEU with ever fewer heads, the least missed taken out first."""
    figure, ax = plt.subplots(figsize=(4.4, 3.0))
    found = part["cumulative"]
    x = [one["heads"] for one in found]
    ax.fill_between(
        x, [one["low"] for one in found], [one["high"] for one in found],
        color="black", alpha=0.12, linewidth=0,
    )  # fmt: skip
    ax.plot(x, [one["score"] for one in found], "o-", color="black", markersize=4)
    ax.set(xlabel=f"heads taken out, of {part['heads']}", ylabel="BLEU, greedy", ylim=0)
    ax.set_title("Heads can be taken out\nuntil they cannot")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "many-heads-looks": draw_looks(result["looks"]),
        "many-heads-alone": draw_alone(result["pruned"]),
        "many-heads-cumulative": draw_cumulative(result["pruned"]),
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        "captions": captions,
        "few": FEW,
        "model": MODEL,
        "looks": (looks_of_model,),
        "pruned": (pruned_model,),
        "cost": costs,
        "counts": counts,
    },
    check=check,
    seeds=models.SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
