"""What chapter 8 reports: every decoder and score of the course in one table.

    python book/results/one_table.py              # trains what is missing, measures, prints
    python book/results/one_table.py --available  # only seeds of which every row is trained
    python book/results/one_table.py --fresh      # measure everything again

Rows and budgets are `COMPARED` of book/results/train.py: each row is trained on Multi30k for BLEU
and on the grammar for alignments, once for every seed. Nothing else differs between rows. Training
all of them takes hours on one core; it goes on where it was interrupted, and measured parts are
kept in the user's cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import (
    FIGURES,
    HERE,
    Cache,
    bleu_counts,
    bleu_of,
    interval,
    record,
    resample,
)
from general_concat import find_links
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attnbook import plots
from attnbook.__main__ import print_table
from attnbook.alignment import alignment_scores, mean_entropy
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import forced_weights, translate
from attnbook.encoder import Encoded
from attnbook.evaluation import (
    bleu,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.seq2seq import Translator

COMMAND = "python book/results/one_table.py"
ROWS = tuple(models.COMPARED)
ATTENDING = tuple(name for name in ROWS if name != "fixed")
NAMES = {
    "fixed": "fixed context",
    **{name: name.replace("-feeding", ", feeding") for name in ROWS if name != "fixed"},
}
BUCKETS = ((1, 8), (9, 11), (12, 14), (15, 17), (18, 99))
BEAMS = (1, 5)
# Which row is compared with which; all but the first are rows with attention.
COMPARISONS = (
    ("dot", "fixed"), ("general", "dot"), ("concat", "dot"), ("additive", "dot"),
    ("concat", "general"), ("additive", "concat"), ("dot-feeding", "dot"),
    ("general-feeding", "general"), ("concat-feeding", "concat"),
)  # fmt: skip
TIMES = 1000


# --- by hand ----------------------------------------------------------------------------------

# Two systems and six sentences; 1 is a sentence that was translated without an error.
ONE = (1, 1, 1, 0, 1, 0)
OTHER = (1, 1, 0, 0, 1, 0)


def by_hand() -> dict[str, Any]:
    """In which share of all draws is the first system ahead, level, behind?

    All 6⁶ draws of six sentences with replacement are counted, once the same draw for both
    systems and once every draw of the one against every draw of the other.
    """
    draws = np.array(list(product(range(len(ONE)), repeat=len(ONE))))
    one, other = (np.array(system)[draws].sum(axis=1) for system in (ONE, OTHER))
    sums = [np.bincount(found, minlength=len(ONE) + 1) / len(draws) for found in (one, other)]
    apart = np.outer(*sums)
    outcomes = {
        "paired": ((one > other).mean(), (one == other).mean(), (one < other).mean()),
        "apart": (np.tril(apart, -1).sum(), apart.trace(), np.triu(apart, 1).sum()),
    }
    names = ("ahead", "level", "behind")
    return {
        "draws": len(draws),
        **{
            way: dict(zip(names, map(float, shares), strict=True))
            for way, shares in outcomes.items()
        },
    }


# --- on captions ------------------------------------------------------------------------------


def on_captions(name: str) -> dict[str, Any]:
    """One model on the test captions: sentence-wise counts of BLEU, perplexities, weights."""
    translator, pairs = models.load(name), multi30k("test")
    references = [pair.target for pair in pairs]
    result: dict[str, Any] = {
        "parameters": translator.count_parameters(),
        "forced": teacher_forced_perplexity(translator, pairs),
        "free": free_running_perplexity(translator, pairs),
    }
    for beam_size in BEAMS:
        sources = [pair.source for pair in pairs]
        found = translate(translator, sources, beam_size=beam_size, progress=True)
        counts = bleu_counts(found, references)
        theirs, ours = bleu(found, references).score, float(bleu_of(counts.sum(axis=0)))
        if abs(theirs - ours) > 1e-6:
            raise AssertionError(f"BLEU {ours} here, {theirs} by sacrebleu")
        result[f"beam{beam_size}"] = counts.tolist()
    if translator.attends:
        result["weights"] = where_weights_lie(translator, pairs)
        with end_hidden(translator):
            found = translate(translator, [pair.source for pair in pairs])
        result["weights"]["bleu_end_hidden"] = bleu(found, references).score
    return result


def where_weights_lie(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, float]:
    """Means over the target words: entropy, and the weight on ``<eos>``.

    The weight on ``<eos>`` also apart for full stops and all other words, and the share of words
    that have their largest weight there.
    """
    weights = forced_weights(translator, pairs)
    on_end = np.concatenate([rows[:, -1] for rows in weights])
    stops = np.array([word == "." for pair in pairs for word in pair.target])
    return {
        "entropy": mean_entropy(weights),
        "end": float(on_end.mean()),
        "end_at_stops": float(on_end[stops].mean()),
        "end_elsewhere": float(on_end[~stops].mean()),
        "mostly_end": float(
            np.concatenate([rows.argmax(axis=1) == rows.shape[1] - 1 for rows in weights]).mean()
        ),
    }


@contextmanager
def end_hidden(translator: Translator) -> Iterator[None]:
    """For as long as the block lasts, no step may look at ``<eos>``."""
    encode = translator.encode

    def masked(source: Tensor, lengths: Tensor) -> Encoded:
        encoded = encode(source, lengths)
        places = torch.arange(source.shape[1], device=source.device)
        kept = encoded.mask & (places != (lengths.to(source.device) - 1).unsqueeze(1))
        return encoded._replace(mask=kept)

    with patch.object(translator, "encode", masked):
        yield


def captions_row(parts: Sequence[dict[str, Any]], lengths: NDArray[np.int64]) -> dict[str, Any]:
    """One row of the table from the parts of its seeds.

    An interval is the middle 95 % of the mean over seeds when the test sentences are drawn anew,
    the same ones for every seed. It says nothing about other seeds; they are listed one by one.
    """
    result: dict[str, Any] = {
        "parameters": parts[0]["parameters"],
        **{key: _over_seeds([part[key] for part in parts]) for key in ("forced", "free")},
    }
    for beam_size in BEAMS:
        counts = np.array([part[f"beam{beam_size}"] for part in parts])
        low, high = interval(draws_of(counts))
        result[f"beam{beam_size}"] = {
            **_over_seeds(bleu_of(counts.sum(axis=1)).tolist()),
            "low": low,
            "high": high,
            "length_ratio": float(counts[..., 8].sum() / counts[..., 9].sum()),
        }
    counts = np.array([part["beam5"] for part in parts])
    result["by_length"] = []
    for bucket, (low, high) in enumerate(BUCKETS):
        chosen = np.flatnonzero((lengths >= low) & (lengths <= high))
        below, above = interval(draws_of(counts[:, chosen], seed=bucket))
        result["by_length"].append(
            {
                "low": low, "high": high, "sentences": len(chosen),
                "words": float(lengths[chosen].mean()),
                "bleu": float(bleu_of(counts[:, chosen].sum(axis=1)).mean()),
                "from": below, "to": above,
            }
        )  # fmt: skip
    if "weights" in parts[0]:
        result["weights"] = {
            key: statistics.fmean(part["weights"][key] for part in parts)
            for key in parts[0]["weights"]
        }
    return result


def draws_of(counts: NDArray[Any], seed: int = 0) -> NDArray[np.float64]:
    """The mean BLEU over seeds of ``(seeds, sentences, 10)`` counts, for each bootstrap draw."""
    drawn = resample(counts.shape[1], TIMES, seed)
    means: NDArray[np.float64] = bleu_of(np.einsum("rn,snk->rsk", drawn, counts)).mean(axis=1)
    return means


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": statistics.fmean(values), "seeds": list(values)}


def differences(parts: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """By how much BLEU (beam 5) differs from row to row, on the same draws of test sentences.

    A paired bootstrap (Koehn 2004): both rows are scored on every draw, so that a draw of easy
    sentences does not look like a difference.
    """
    counts = {name: np.array([part["beam5"] for part in parts[name]]) for name in parts}
    draws = {name: draws_of(found) for name, found in counts.items()}
    found: dict[str, Any] = {}
    for one, other in COMPARISONS:
        low, high = interval(draws[one] - draws[other])
        by_seed = [
            float(mine - theirs)
            for mine, theirs in zip(
                bleu_of(counts[one].sum(axis=1)), bleu_of(counts[other].sum(axis=1)), strict=True
            )
        ]
        found[f"{one}_{other}"] = {**_over_seeds(by_seed), "low": low, "high": high}
    others = [one for name, one in found.items() if name != "dot_fixed"]
    undecided = [one for one in others if one["low"] < 0 < one["high"]]
    return {
        "differences": found,
        "undecided": {
            "number": len(undecided),
            "largest": max((abs(one["mean"]) for one in undecided), default=0.0),
        },
        "mean_width": statistics.fmean(one["high"] - one["low"] for one in others),
    }


# --- on the grammar ---------------------------------------------------------------------------


def on_grammar(name: str) -> dict[str, float]:
    """One small model on the grammar's test sentences: translations, and where the weights lie."""
    translator, pairs = models.load(name), models.pairs_of("test", "grammar")
    written = translate(translator, [pair.source for pair in pairs])
    right = [list(words) == list(p.target) for words, p in zip(written, pairs, strict=True)]
    result: dict[str, float] = {
        "exact": statistics.fmean(right),
        "parameters": translator.count_parameters(),
    }
    if not translator.attends:
        return result
    found = find_links(translator, pairs)
    scores = alignment_scores(found.links, found.gold)
    # Of sentences that are translated without an error: words, and those that look elsewhere.
    counts = [
        (len(links), len(links - gold.sure))
        for links, gold, ok in zip(found.links, found.gold, right, strict=True)
        if ok
    ]
    words, wrong = zip(*counts, strict=True)
    return result | {
        "aer": scores.error_rate,
        "precision": scores.precision,
        "entropy": mean_entropy(found.weights),
        "end": float(np.concatenate([rows[:, -1] for rows in found.weights]).mean()),
        "wrong_where_right": sum(wrong) / sum(words),
        "sentences_with_wrong": statistics.fmean(number > 0 for number in wrong),
    }


def grammar_row(parts: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The mean over seeds, and each seed."""
    return {key: _over_seeds([part[key] for part in parts]) for key in parts[0]}


def rank_correlation(
    xs: Sequence[float], ys: Sequence[float], times: int = 10_000
) -> dict[str, float]:
    """Spearman's ρ, and how often a random pairing of the same numbers is as far from 0."""

    def ranked(values: NDArray[Any]) -> NDArray[np.float64]:
        order = values.argsort(axis=-1).argsort(axis=-1).astype(float)
        order -= order.mean(axis=-1, keepdims=True)
        return order / np.linalg.norm(order, axis=-1, keepdims=True)

    x, y = ranked(np.asarray(xs)), ranked(np.asarray(ys))
    rho = float(x @ y)
    shuffled = np.random.default_rng(0).permuted(np.tile(y, (times, 1)), axis=1) @ x
    return {"rho": rho, "p": float((np.abs(shuffled) >= abs(rho) - 1e-12).mean()), "models": len(x)}


# --- all of it --------------------------------------------------------------------------------


def trained_seeds() -> list[int]:
    """Seeds of which every row is trained, on both corpora."""
    return [
        seed
        for seed in models.SEEDS
        if all(
            models.path_of(f"{kind}-{name}-{seed}").exists()
            for kind in ("compared", "grammar")
            for name in ROWS
        )
    ]


def train_missing() -> None:
    """Train what the table needs, seed by seed, so that an early stop leaves whole seeds."""
    wanted = [
        f"{kind}-{name}-{seed}"
        for seed in models.SEEDS
        for kind in ("grammar", "compared")
        for name in ROWS
    ]
    for name in wanted:
        if not models.path_of(name).exists():
            models.train_model(name)


def measure(cached: Cache, seeds: Sequence[int]) -> dict[str, Any]:
    """All rows, their differences, and what alignments have to do with translations."""
    lengths = np.array([len(pair.source) for pair in multi30k("test")])

    def part(kind: str, name: str) -> Any:
        path = models.path_of(name)
        run = on_captions if kind == "captions" else on_grammar
        return cached(f"{kind}-{name}", lambda: run(name), [path])

    captions = {
        name: [part("captions", f"compared-{name}-{seed}") for seed in seeds] for name in ROWS
    }
    grammar = {
        name: [part("grammar", f"grammar-{name}-{seed}") for seed in models.SEEDS] for name in ROWS
    }
    small = [one for name in ATTENDING for one in grammar[name]]
    return {
        **record(COMMAND, seeds, grammar_seeds=list(models.SEEDS)),
        "by_hand": by_hand(),
        "sentences": len(lengths),
        "epochs": models.MODELS["compared-dot-0"].training.epochs,
        "rows": {name: captions_row(found, lengths) for name, found in captions.items()},
        **differences(captions),
        "grammar": {name: grammar_row(found) for name, found in grammar.items()},
        "correlation": {
            "exact_aer": rank_correlation([p["exact"] for p in small], [p["aer"] for p in small]),
            "entropy_aer": rank_correlation(
                [p["entropy"] for p in small], [p["aer"] for p in small]
            ),
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    header = (
        "", "parameters", "BLEU, greedy", "BLEU, beam 5", "perplexity, teacher-forced",
        "perplexity, free-running", "AER", "entropy",
    )  # fmt: skip
    table = []
    for name in ROWS:
        row, small = result["rows"][name], result["grammar"][name]
        table.append(
            (
                NAMES[name],
                f"{row['parameters']:,}",
                *(
                    f"{row[key]['mean']:.1f} ({row[key]['low']:.1f}–{row[key]['high']:.1f})"
                    for key in ("beam1", "beam5")
                ),
                *(f"{row[key]['mean']:.2f}" for key in ("forced", "free")),
                *(f"{small[k]['mean']:.3f}" if k in small else "" for k in ("aer", "entropy")),
            )
        )
    print_table(header, table)


# --- figures ----------------------------------------------------------------------------------


def draw_rows(result: dict[str, Any]) -> Figure:
    """BLEU with its interval, a line for each row, every seed as a tick."""
    figure, ax = plt.subplots(figsize=(4.4, 3.2))
    for place, name in enumerate(ROWS):
        row = result["rows"][name]
        for beam_size, filled in ((1, "none"), (5, "full")):
            score = row[f"beam{beam_size}"]
            y = place + (0.16 if beam_size == 1 else -0.16)
            ax.plot([score["low"], score["high"]], [y, y], color="black", linewidth=1)
            ax.plot(score["mean"], y, "o", color="black", fillstyle=filled, markersize=5)
            if len(score["seeds"]) > 1:
                ax.plot(score["seeds"], [y] * len(score["seeds"]), "|", color="black", markersize=6)
    ax.set_yticks(range(len(ROWS)), [NAMES[name] for name in ROWS])
    ax.invert_yaxis()
    ax.set_xlabel("BLEU on test 2016, 95 % intervals")
    ax.set_title("That one attends matters; how one\nscores hardly does")
    return figure


def draw_lengths(result: dict[str, Any]) -> Figure:
    """BLEU by source length: the row without attention against all rows that have it."""
    figure, ax = plt.subplots(figsize=(4.4, 3.2))
    for name in ROWS:
        buckets = result["rows"][name]["by_length"]
        x, y = [b["words"] for b in buckets], [b["bleu"] for b in buckets]
        if name in ("fixed", "dot"):
            low, high = [b["from"] for b in buckets], [b["to"] for b in buckets]
            ax.fill_between(x, low, high, color="black", alpha=0.12, linewidth=0)
        ax.plot(
            x, y, "s--" if name == "fixed" else "o-", color="black", markersize=4,
            alpha=1 if name in ("fixed", "dot") else 0.35, linewidth=1.2,
        )  # fmt: skip
    last = [result["rows"][name]["by_length"][-1] for name in ROWS]
    ax.annotate("fixed context", (last[0]["words"], last[0]["bleu"]), xytext=(-2, -16),
                textcoords="offset points", ha="right")  # fmt: skip
    third = [result["rows"][name]["by_length"][2] for name in ATTENDING]
    lowest = min(bucket["from"] for bucket in third)
    ax.annotate("seven rows with attention", (third[0]["words"], lowest), xytext=(0, -8),
                textcoords="offset points", ha="center", va="top")  # fmt: skip
    ax.set(xlabel="source words", ylabel="BLEU, beam 5", xticks=range(8, 21, 4))
    ax.set_title("With attention the score holds\nup to seventeen words")
    return figure


def draw_alignment(result: dict[str, Any]) -> Figure:
    """Every attending model of the grammar: sentences without an error against AER."""
    figure, ax = plt.subplots(figsize=(3.4, 3.4))
    marks = {"dot": "o", "general": "s", "concat": "^", "additive": "D"}
    for name in ATTENDING:
        row = result["grammar"][name]
        score = name.removesuffix("-feeding")
        ax.plot(
            row["aer"]["seeds"], [100 * value for value in row["exact"]["seeds"]],
            marks[score], color="black", markersize=6, linestyle="none",
            fillstyle="none" if name.endswith("-feeding") else "full",
            label=NAMES[name],
        )  # fmt: skip
    ax.set(
        xlabel="alignment error rate",
        ylabel="translated without an error (%)",
    )
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.set_title("Who translates best does not\nalign best")
    return figure


def main() -> None:
    """Train and measure what is missing, write the numbers, draw the figures, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--available", action="store_true", help="train nothing")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.available:
        train_missing()
    if not (seeds := trained_seeds()):
        raise SystemExit("no seed has all rows yet: run without --available to train them")
    result = measure(Cache("one_table", arguments.fresh), seeds)
    path = HERE / "one_table.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(result)
    with plots.style():
        for name, draw in (
            ("rows", draw_rows), ("lengths", draw_lengths), ("alignment", draw_alignment)
        ):  # fmt: skip
            figure = draw(result)
            plots.save(figure, FIGURES / f"one-table-{name}.svg")
            plt.close(figure)


if __name__ == "__main__":
    main()
