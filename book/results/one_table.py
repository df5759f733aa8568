"""What chapter 8 reports: every decoder and score of the course in one table.

    python book/results/one_table.py              # trains what is missing, and measures
    python book/results/one_table.py --available  # trains nothing
    python book/results/one_table.py --fresh      # measure everything again

Rows and budgets are `COMPARED` of book/results/train.py: each row is trained on Multi30k for BLEU
and on the grammar for alignments, once for every seed. Nothing else differs between rows. Training
all of them takes hours on one core; it goes on where it was interrupted, and measured parts are
kept in the user's cache.
"""

from __future__ import annotations

import statistics
import sys
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
    Cache,
    Missing,
    Script,
    bleu_counts,
    bleu_of,
    interval,
    over_seeds,
    resample,
    stored,
)
from general_concat import find_links
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attnbook.alignment import alignment_scores, mean_entropy
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.encoder import EncoderOutput
from attnbook.evaluation import (
    bleu,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.seq2seq import Translator

cached = Cache("one_table")
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
    weights = teacher_forced_attention(translator, pairs)
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

    def masked(source: Tensor, lengths: Tensor, **options: bool) -> EncoderOutput:
        encoded = encode(source, lengths, **options)
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
        **{key: over_seeds([part[key] for part in parts]) for key in ("forced", "free")},
    }
    for beam_size in BEAMS:
        counts = np.array([part[f"beam{beam_size}"] for part in parts])
        low, high = interval(draws_of(counts))
        result[f"beam{beam_size}"] = {
            **over_seeds(bleu_of(counts.sum(axis=1)).tolist()),
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
        found[f"{one}_{other}"] = {**over_seeds(by_seed), "low": low, "high": high}
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
    return {key: over_seeds([part[key] for part in parts]) for key in parts[0]}


def rank_correlation(
    xs: Sequence[float], ys: Sequence[float], times: int = 10_000
) -> dict[str, float]:
    """Spearman's ρ, and how often a random pairing of the same numbers is as far from 0."""

    def ranked(values: NDArray[Any]) -> NDArray[np.float64]:
        order = values.argsort(axis=-1).argsort(axis=-1).astype(float)
        order -= order.mean(axis=-1, keepdims=True)
        scaled: NDArray[np.float64] = order / np.linalg.norm(order, axis=-1, keepdims=True)
        return scaled

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


def kept(kind: str, name: str) -> Any:
    """A model's numbers on one corpus."""
    return cached(f"{kind}-{name}", on_captions if kind == "captions" else on_grammar, name)


def seeds() -> list[int]:
    """Those that the table is made of."""
    found = trained_seeds()
    if not found:
        raise Missing("no seed has all rows yet: run without --available to train them")
    return found


def caption_lengths() -> NDArray[np.int64]:
    """Source words of every test caption."""
    return np.array([len(pair.source) for pair in multi30k("test")])


def sentences() -> int:
    """How many test captions there are."""
    return len(caption_lengths())


def epochs() -> int:
    """Of every training of the table."""
    return models.MODELS["compared-dot-0"].training.epochs


def of_captions() -> dict[str, list[dict[str, Any]]]:
    """For every row one part for each seed."""
    return {
        name: [kept("captions", f"compared-{name}-{seed}") for seed in seeds()] for name in ROWS
    }


def rows() -> dict[str, Any]:
    """The table."""
    return {name: captions_row(found, caption_lengths()) for name, found in of_captions().items()}


def all_differences() -> dict[str, Any]:
    """Row against row."""
    return differences(of_captions())


def of_grammar() -> dict[str, list[dict[str, float]]]:
    """For every row one part for each seed."""
    return {
        name: [kept("grammar", f"grammar-{name}-{seed}") for seed in models.SEEDS] for name in ROWS
    }


def grammar_rows() -> dict[str, Any]:
    """The second table."""
    return {name: grammar_row(found) for name, found in of_grammar().items()}


def correlation() -> dict[str, Any]:
    """What alignments have to do with translations."""
    found = of_grammar()
    small = [one for name in ATTENDING for one in found[name]]
    aer = [part["aer"] for part in small]
    return {
        "exact_aer": rank_correlation([part["exact"] for part in small], aer),
        "entropy_aer": rank_correlation([part["entropy"] for part in small], aer),
    }


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words, of these tables and of the benchmark's."""
    rows, apart = result["rows"], result["differences"]
    attending = {name: rows[name] for name in ATTENDING}
    beam = {name: row["beam5"]["mean"] for name, row in attending.items()}
    scores = {name: [one["bleu"] for one in row["by_length"]] for name, row in rows.items()}
    fixed, weights = scores["fixed"], [row["weights"] for row in attending.values()]

    def wins(score: str) -> bool:
        return any(
            rows[mine][search]["mean"] > rows[theirs][search]["mean"]
            for other in {"dot", "general", "concat"} - {score}
            for mine in (score, f"{score}-feeding")
            for theirs in (other, f"{other}-feeding")
            for search in ("beam1", "beam5")
        )

    return {
        "each of Luong's scores wins somewhere": all(map(wins, ("dot", "general", "concat"))),
        "general with feeding is best": max(beam, key=beam.__getitem__) == "general-feeding",
        "every interval but those of additive contains zero": result["undecided"]["number"] == 6
        and all(apart[f"additive_{other}"]["high"] < 0 for other in ("dot", "concat")),
        "additive has the highest teacher-forced perplexity": max(
            attending, key=lambda name: rows[name]["forced"]["mean"]
        )
        == "additive",
        "and the lowest free-running one": min(rows, key=lambda name: rows[name]["free"]["mean"])
        == "additive",
        "and translates worst": min(beam, key=beam.__getitem__) == "additive",
        "and has half a million more parameters": 0.85
        < (rows["additive"]["parameters"] - rows["dot"]["parameters"]) / 5e5
        < 1.15,
        "scores hold up to 17 words": all(
            scores[name][3] > scores[name][0] and scores[name][4] < min(scores[name][:4])
            for name in ATTENDING
        ),
        "the fixed row falls with every length": fixed == sorted(fixed, reverse=True),
        "it has lost seven of its 26 points by then": (
            round(fixed[0]),
            round(fixed[0] - fixed[3]),
        )
        == (26, 7),
        "full stops give between an eighth and a half to the end": all(
            0.12 <= one["end_at_stops"] <= 0.52 for one in weights
        ),
        "other words a few hundredths": all(one["end_elsewhere"] < 0.05 for one in weights),
        "without the end nothing is lost": all(
            row["weights"]["bleu_end_hidden"] > row["beam1"]["mean"] - 0.15
            for row in attending.values()
        ),
        **check_costs(rows),
    }


def check_costs(rows: dict[str, Any]) -> dict[str, bool]:
    """What the page says of speed and memory."""
    found = stored("benchmark")
    speeds = [
        {
            name: rate["tokens_per_cpu_second"]
            for name, rate in found["training"][batching]["threads1"].items()
        }
        for batching in ("random", "bucketed")
    ]
    search = {
        name: rate["sentences_per_cpu_second"]
        for name, rate in found["beam"]["bucketed"]["threads1"].items()
    }
    memory = {name: found["memory"][name]["peak_mb"] for name in rows}
    return {
        "feeding costs a fifth to two fifths of the speed": all(
            0.595 < speed[f"{score}-feeding"] / speed[score] < 0.805
            for speed in speeds
            for score in ("dot", "general")
        ),
        "concat costs a sixth to a third": all(
            0.66 < speed["concat"] / speed["dot"] < 0.84 for speed in speeds
        ),
        "additive is slower than general and concat": all(
            speed["additive"] < min(speed["general"], speed["concat"]) for speed in speeds
        ),
        "fixed is slower than dot": all(speed["fixed"] < speed["dot"] for speed in speeds),
        "in beam search feeding costs less than a tenth": all(
            search[f"{score}-feeding"] > 0.9 * search[score]
            for score in ("dot", "general", "concat")
        ),
        "dot with feeding takes the least memory, additive the most": (
            min(memory, key=memory.__getitem__),
            max(memory, key=memory.__getitem__),
        )
        == ("dot-feeding", "additive"),
    }


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


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "one-table-rows": draw_rows(result),
        "one-table-lengths": draw_lengths(result),
        "one-table-alignment": draw_alignment(result),
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        "grammar_seeds": list(models.SEEDS),
        "by_hand": by_hand,
        "sentences": sentences,
        "epochs": epochs,
        "rows": rows,
        ("differences", "undecided", "mean_width"): all_differences,
        "grammar": grammar_rows,
        "correlation": correlation,
    },
    check=check,
    seeds=tuple(trained_seeds()),
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    if not {"--available", "--figures", "--help", "-h"} & set(sys.argv):
        train_missing()
    SCRIPT.run()
