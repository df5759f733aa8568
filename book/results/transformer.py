"""What chapter 13 reports: the Transformer on the budget of the one table, and where its norms go.

    python book/results/transformer.py            # writes the JSON beside it, and the figure
    python book/results/transformer.py --fresh    # measure everything again

The models are `compared-transformer-0` and `grammar-norm-…` of book/results/train.py; the rows it
is compared with are those of book/results/one_table.py. Measured parts are kept in the cache.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import HERE, Cache, bleu_of, interval, record, run
from matplotlib.figure import Figure
from one_table import NAMES, captions_row, draws_of, on_captions

from attnbook.corpora import multi30k
from attnbook.decoding import translate
from attnbook.evaluation import exact_match
from attnbook.seq2seq import Translator
from attnbook.transformer import EncoderLayer, FeedForward

COMMAND = "python book/results/transformer.py"
MODEL = "compared-transformer-0"
AGAINST = ("dot", "general-feeding", "concat-feeding", "additive")


# --- by hand ----------------------------------------------------------------------------------

STATE = (1.0, 3.0, 5.0, 7.0)
INTO = ((1.0, 2.0), (-1.0, 0.0))  # rows of W_1
OUT_OF = ((2.0, 3.0), (1.0, 1.0))  # rows of W_2
WIDTHS = {"model_dim": 4, "heads": 2, "feedforward_dim": 8}


@torch.no_grad()
def by_hand() -> dict[str, Any]:
    """The worked examples: a norm, a network, and the parameters of a small layer."""
    normed = torch.nn.functional.layer_norm(torch.tensor(STATE).double(), (4,))
    network = FeedForward(2, 2)
    network.widen.weight[:] = torch.tensor(INTO)
    network.narrow.weight[:] = torch.tensor(OUT_OF)
    network.widen.bias[:] = torch.tensor([0.5, 0.0])
    network.narrow.bias[:] = torch.tensor([0.0, -1.0])
    layer = EncoderLayer(**WIDTHS, dropout=0.0, norm="pre")
    return {
        "normed": normed.tolist(),
        "network": network(torch.tensor([1.0, 1.0])).tolist(),
        "parameters": {
            name: sum(p.numel() for p in part.parameters()) for name, part in layer.named_children()
        }
        | {"all": sum(p.numel() for p in layer.parameters())},
    }


# --- on captions ------------------------------------------------------------------------------


def parts_of(translator: Translator) -> dict[str, Any]:
    """How many parameters lie in which kind of part; shared ones count once."""
    kinds: Counter[str] = Counter()
    for name, parameter in translator.named_parameters():
        if "embedding" in name or "output" in name:
            kind = "words"
        elif "attention.project" in name:
            kind = "attention"
        elif "feedforward." in name and "around" not in name:
            kind = "networks"
        else:
            kind = "norms"
        kinds[kind] += parameter.numel()
    total = translator.count_parameters()
    return {"all": total, **{kind: {"number": n, "share": n / total} for kind, n in kinds.items()}}


def against(mine: dict[str, Any], name: str, cached: Cache) -> dict[str, float]:
    """The difference in BLEU (beam 5) from a recurrent row, on the same draws of test captions."""
    other = Cache("one_table")(
        f"captions-compared-{name}-0",
        lambda: on_captions(f"compared-{name}-0"),
        [models.path_of(f"compared-{name}-0")],
    )
    one, two = (np.array([part["beam5"]]) for part in (mine, other))
    low, high = interval(draws_of(one) - draws_of(two))
    return {
        "mean": float(bleu_of(one[0].sum(axis=0)) - bleu_of(two[0].sum(axis=0))),
        "low": low,
        "high": high,
    }


# --- norms ------------------------------------------------------------------------------------


def norms(kind: str) -> dict[str, Any]:
    """Exact match on the grammar of three trainings with one place for the norms."""
    pairs = models.pairs_of("test", "grammar")
    seeds = []
    for seed in models.SEEDS:
        translator = models.load(f"grammar-norm-{kind}-{seed}")
        written = translate(translator, [pair.source for pair in pairs])
        seeds.append(exact_match(written, [pair.target for pair in pairs]))
    return {"mean": statistics.fmean(seeds), "seeds": seeds}


def measure(cached: Cache) -> dict[str, Any]:
    """All of it."""
    path = [models.path_of(MODEL)]
    lengths = np.array([len(pair.source) for pair in multi30k("test")])
    captions = cached("captions", lambda: on_captions(MODEL), path)
    return {
        **record(COMMAND, [0], sentences=len(lengths), model=MODEL),
        "by_hand": by_hand(),
        "parts": parts_of(models.load(MODEL)),
        "row": captions_row([captions], lengths),
        "differences": {name: against(captions, name, cached) for name in AGAINST},
        "norms": {
            kind: cached(
                f"norm-{kind}",
                lambda kind=kind: norms(kind),
                [models.path_of(f"grammar-norm-{kind}-{seed}") for seed in models.SEEDS],
            )
            for kind in models.NORM_TRIALS
        },
    }


def draw_row(result: dict[str, Any]) -> Figure:
    """The Transformer's BLEU among the rows of the one table."""
    table = json.loads((HERE / "one_table.json").read_text(encoding="utf-8"))["rows"]
    rows = {**table, "Transformer": result["row"]}
    figure, ax = plt.subplots(figsize=(4.4, 3.4))
    for place, row in enumerate(rows.values()):
        score = row["beam5"]
        ax.plot([score["low"], score["high"]], [place, place], color="black", linewidth=1)
        ax.plot(score["mean"], place, "o", color="black", markersize=5)
    ax.set_yticks(range(len(rows)), [NAMES.get(name, name) for name in rows])
    ax.invert_yaxis()
    ax.set_xlabel("BLEU on test 2016, beam 5, 95 % intervals", loc="right")
    ax.set_title("The Transformer in the one table")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {"transformer-row": draw_row(result)}


if __name__ == "__main__":
    run("transformer", __doc__, measure, draw)
