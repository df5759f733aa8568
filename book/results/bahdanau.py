"""What chapter 7 reports: Bahdanau's aligner by hand, and what its encoder's second direction buys.

    python book/results/bahdanau.py            # writes the JSON beside it, and the figure
    python book/results/bahdanau.py --fresh    # measure everything again

The models are `grammar-additive-…` and `grammar-additive-forward-…` of book/results/train.py. They
are tested on the 1,000 test sentences of the grammar, greedy search; weights are taken while the
decoder reads the right translation. Measured parts are kept in the user's cache.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
import train as models
from _measure import Cache, Script, over_seeds, stored
from general_concat import grammar_test, quality
from matplotlib.figure import Figure

from attnbook.alignment import GoldAlignment, alignment_scores
from attnbook.attention import masked_softmax
from attnbook.corpora import SentencePair
from attnbook.decoding import teacher_forced_attention
from attnbook.grammar.tables import VERBS
from attnbook.scores import AdditiveScore, GeneralScore
from attnbook.seq2seq import Translator

cached = Cache("bahdanau")
ROWS = ("additive", "additive-forward")

# --- by hand ----------------------------------------------------------------------------------

# Columns of F: "ich möchte ein bier <eos>", two numbers read forwards and two read backwards.
F = ((1, 0, -1, 0, 1), (0, 1, 0, -1, 0), (0, 1, 0, 2, -1), (1, 0, 0, 1, 0))
QUERY = (1, -1)  # s_3, after "i'd like a"
MULTIPLY = ((0, 1), (1, 0), (1, -1), (0, -1))  # V in the form Fᵀ V s
FROM_QUERY = ((1, 0), (0, 1))
FROM_KEY = ((0, -1, 1, 0), (0, 1, 0, 1))
V = (2, 1)

# Links of "ich möchte ein bier" (0 to 3) and "i'd like a beer" (0 to 3).
SURE = ((0, 0), (2, 2), (3, 3))
POSSIBLE = ((1, 0), (1, 1))
FOUND = ((0, 0), (1, 1), (2, 2), (2, 3))


@torch.no_grad()
def by_hand() -> dict[str, Any]:
    """Every number of the worked examples, by the package's functions."""
    keys = torch.tensor(F, dtype=torch.float64).T
    queries = torch.tensor([QUERY], dtype=torch.float64)
    general, additive = GeneralScore(2, 4).double(), AdditiveScore(2, 4, 2).double()
    general.key.weight[:] = torch.tensor(MULTIPLY).T
    additive.query.weight[:] = torch.tensor(FROM_QUERY)
    additive.key.weight[:] = torch.tensor(FROM_KEY)
    additive.v[:] = torch.tensor(V)
    result: dict[str, Any] = {"expected": (queries @ general.key.weight)[0].tolist()}
    for name, score in (("general", general), ("additive", additive)):
        scores = score(queries, keys)
        weights = masked_softmax(scores)
        result[name] = {
            "scores": scores[0].tolist(),
            "weights": weights[0].tolist(),
            "context": (weights @ keys)[0].tolist(),
        }
    result["hidden"] = (queries @ additive.query.weight.T + additive.project_keys(keys)).tolist()
    gold = GoldAlignment(frozenset(SURE), frozenset((*SURE, *POSSIBLE)))
    scores = alignment_scores([FOUND], [gold])
    result["alignment"] = {
        "error_rate": scores.error_rate,
        "precision": scores.precision,
        "recall": scores.recall,
    }
    return result


# --- both directions --------------------------------------------------------------------------

PARTICLES = frozenset(re.findall(r"(\w+)\+", VERBS))  # "an+rufen": calls is "ruft … an"


def separated(pairs: Sequence[SentencePair]) -> list[tuple[int, int, int, int]]:
    """Where an English verb comes from a German stem and its particle, which stands apart.

    Returns:
        ``(sentence, position of the verb, of the stem, of the particle)`` each.
    """
    found = []
    for number, pair in enumerate(pairs):
        origins: dict[int, list[int]] = {}
        for i, j in sorted(pair.links or ()):
            origins.setdefault(j, []).append(i)
        found += [
            (number, j, stem, particle)
            for j, (stem, *rest) in origins.items()
            for particle in rest
            if len(rest) == 1 and pair.source[particle] in PARTICLES and particle > stem + 1
        ]
    return found


def looks(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, float]:
    """Where the weight lies when the verb of a separated pair is written."""
    places = separated(pairs)
    weights = teacher_forced_attention(translator, pairs)
    stem = [float(weights[n][j, i]) for n, j, i, _ in places]
    particle = [float(weights[n][j, k]) for n, j, _, k in places]
    return {
        "verbs": len(places),
        "stem": statistics.fmean(stem),
        "particle": statistics.fmean(particle),
        "elsewhere": 1 - statistics.fmean(stem) - statistics.fmean(particle),
    }


def row(name: str) -> dict[str, Any]:
    """Quality and looks of one kind of model: the mean over seeds, and each seed."""
    pairs = grammar_test()
    seeds = []
    for seed in models.SEEDS:
        translator = models.load(f"grammar-{name}-{seed}")
        seeds.append(quality(translator, pairs) | looks(translator, pairs))
    return {key: over_seeds(seed[key] for seed in seeds) for key in seeds[0]}


def rows() -> dict[str, Any]:
    """Both kinds of model."""
    return {name: cached(name, row, name) for name in ROWS}


def test_sentences() -> int:
    """How many sentences the models are tested on."""
    return len(grammar_test())


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    both, forwards = (result["rows"][name] for name in ROWS)
    concat = stored("general_concat")["rows"]["concat"]
    shares = [
        [round(100 * row[part]["mean"]) for part in ("stem", "particle", "elsewhere")]
        for row in (both, forwards)
    ]
    return {
        "with one direction as many sentences are right": abs(
            both["exact"]["mean"] - forwards["exact"]["mean"]
        )
        < 0.005,
        "with one direction the weights are more precise": forwards["precision"]["mean"]
        > both["precision"]["mean"],
        "38, 52 and 10 percent of the weight; forwards 29, 54 and 17": shares
        == [[38, 52, 10], [29, 54, 17]],
        "the concat score of chapter 6 aligns better": concat["aer"]["mean"]
        < both["aer"]["mean"] - 0.03,
        "and translates as well": round(concat["exact"]["mean"], 2)
        == round(both["exact"]["mean"], 2),
    }


def draw_looks(rows: dict[str, Any]) -> Figure:
    """Stem, particle and the rest, for both encoders."""
    figure, ax = plt.subplots(figsize=(4.6, 2.4))
    names = {"additive": "both directions", "additive-forward": "forwards only"}
    for place, name in enumerate(ROWS):
        start = 0.0
        for part, shade in (("stem", 0.25), ("particle", 0.55), ("elsewhere", 0.85)):
            share = 100 * rows[name][part]["mean"]
            ax.barh(place, share, left=start, color=str(shade), edgecolor="white", height=0.6)
            ax.text(start + share / 2, place, f"{share:.0f}", ha="center", va="center",
                    color="white" if shade < 0.5 else "black")  # fmt: skip
            if place == 0:
                ax.text(start + share / 2, -0.45, part, ha="center", va="bottom")
            start += share
    ax.set_yticks(range(len(ROWS)), [names[name] for name in ROWS])
    ax.invert_yaxis()
    ax.set(xlim=(0, 100), xlabel="share of the weight (%)")
    ax.set_title("With either encoder the decoder\nlooks ahead to the particle", pad=20)
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {"bahdanau-looks": draw_looks(result["rows"])}


SCRIPT = Script(
    doc=__doc__,
    parts={"test_sentences": test_sentences, "by_hand": by_hand, "rows": rows},
    check=check,
    seeds=models.SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
