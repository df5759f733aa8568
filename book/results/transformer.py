"""What chapter 13 reports: the Transformer on the budget of the one table, and where its norms go.

    python book/results/transformer.py            # writes the JSON beside it, and the figure
    python book/results/transformer.py --fresh    # measure everything again

The models are `compared-transformer-0` and `grammar-norm-…` of book/results/train.py; the rows it
is compared with are those of book/results/one_table.py. Measured parts are kept in the cache.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import Cache, Script, bleu_of, interval, over_seeds, stored
from matplotlib.figure import Figure
from one_table import NAMES, caption_lengths, captions_row, draws_of, kept

from attnbook.corpora import multi30k
from attnbook.decoding import translate
from attnbook.evaluation import exact_match
from attnbook.seq2seq import Translator
from attnbook.transformer import EncoderLayer, FeedForward

cached = Cache("transformer")
MODEL = "compared-transformer-0"
AGAINST = ("dot", "general-feeding", "concat-feeding", "additive")


# --- by hand ----------------------------------------------------------------------------------

STATE = (1.0, 3.0, 5.0, 7.0)
INTO = ((1.0, 2.0), (-1.0, 0.0))  # rows of W_1
OUT_OF = ((2.0, 3.0), (1.0, 1.0))  # rows of W_2
WIDTHS: dict[str, Any] = {"model_dim": 4, "num_heads": 2, "feedforward_dim": 8}


@torch.no_grad()
def by_hand() -> dict[str, Any]:
    """The worked examples: a norm, a network, and the parameters of a small layer."""
    normed = torch.nn.functional.layer_norm(torch.tensor(STATE).double(), (4,))
    network = FeedForward(2, 2)
    network.linear1.weight[:] = torch.tensor(INTO)
    network.linear2.weight[:] = torch.tensor(OUT_OF)
    network.linear1.bias[:] = torch.tensor([0.5, 0.0])
    network.linear2.bias[:] = torch.tensor([0.0, -1.0])
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
        elif re.search(r"attention\.\w+_proj", name):
            kind = "attention"
        elif "feedforward." in name and "around" not in name:
            kind = "networks"
        else:
            kind = "norms"
        kinds[kind] += parameter.numel()
    total = translator.count_parameters()
    return {"all": total, **{kind: {"number": n, "share": n / total} for kind, n in kinds.items()}}


def against(name: str) -> dict[str, float]:
    """The difference in BLEU (beam 5) from a recurrent row, on the same draws of test captions."""
    one, two = (
        np.array([kept("captions", model)["beam5"]]) for model in (MODEL, f"compared-{name}-0")
    )
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
    return over_seeds(seeds)


def sentences() -> int:
    """How many test captions there are."""
    return len(multi30k("test"))


def parts() -> dict[str, Any]:
    """Where the model's parameters are."""
    return parts_of(models.load(MODEL))


def row() -> dict[str, Any]:
    """The Transformer as a row of the one table."""
    return captions_row([kept("captions", MODEL)], caption_lengths())


def differences() -> dict[str, Any]:
    """From the rows that come near it."""
    return {name: against(name) for name in AGAINST}


def all_norms() -> dict[str, Any]:
    """Every place for the norms."""
    return {kind: cached(f"norm-{kind}", norms, kind) for kind in models.NORM_TRIALS}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    rows = stored("one_table")["rows"]
    best = {name: row["beam5"]["mean"] for name, row in rows.items()}
    apart, norms = result["differences"], {k: v["mean"] for k, v in result["norms"].items()}
    longest = result["row"]["by_length"][4]
    return {
        "it has the best score of all": result["row"]["beam5"]["mean"] > max(best.values()),
        "the lead over dot and additive is no accident": min(
            apart["dot"]["low"], apart["additive"]["low"]
        )
        > 0,
        "the lead over general with feeding may be one": -0.3
        < apart["general-feeding"]["low"]
        < 0
        < apart["general-feeding"]["high"],
        "three times as many parameters as dot": abs(
            result["row"]["parameters"] / rows["dot"]["parameters"] - 3
        )
        < 0.1,
        "half of its parameters are words": abs(result["parts"]["words"]["share"] - 0.5) < 0.05,
        "dot is ahead where captions have 18 words or more": longest["low"] == 18
        and longest["bleu"] < rows["dot"]["by_length"][4]["bleu"],
        "norms after the sum learn nothing at the high rate": max(norms["post"], norms["post-cold"])
        < 0.01,
        "norms before it hardly need the warm-up": 0 < norms["pre"] - norms["pre-cold"] < 0.1,
        "a gentle rise helps norms after the sum": norms["post-gentle"] > 3 * norms["post"],
        "and leaves them behind all others": norms["post-gentle"]
        < norms["pre-gentle"]
        < norms["pre"],
        "the row is of the model whose parts are counted": result["row"]["parameters"]
        == result["parts"]["all"],
    }


def draw_row(result: dict[str, Any]) -> Figure:
    """The Transformer's BLEU among the rows of the one table."""
    table = stored("one_table")["rows"]
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


SCRIPT = Script(
    doc=__doc__,
    parts={
        "sentences": sentences,
        "model": MODEL,
        "by_hand": by_hand,
        "parts": parts,
        "row": row,
        "differences": differences,
        "norms": all_norms,
    },
    check=check,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
