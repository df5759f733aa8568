"""What chapter 6 reports: scores with a matrix in them, and a decoder that remembers its looks.

    python book/results/general_concat.py            # writes the JSON beside it, and the figures
    python book/results/general_concat.py --fresh    # measure everything again

The models are `grammar-…-0`, `-1` and `-2` of book/results/train.py, and are tested on the 1,000
test sentences of the grammar, greedy search. Measured parts are kept in the user's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import Cache, Script, over_seeds
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attnbook import plots
from attnbook.alignment import (
    GoldAlignment,
    Link,
    align_by_weight,
    alignment_scores,
    mean_entropy,
)
from attnbook.attention import masked_softmax
from attnbook.corpora import SentencePair
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.evaluation import bleu, exact_match
from attnbook.scores import ConcatScore, GeneralScore, additive_scores
from attnbook.seq2seq import Translator

cached = Cache("general_concat")
ROWS = ("dot", "general", "concat", "dot-feeding", "general-feeding", "concat-feeding")
RANKS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)


def grammar_test() -> list[SentencePair]:
    """The grammar's test sentences, with gold links."""
    return models.pairs_of("test", "grammar")


# --- by hand ----------------------------------------------------------------------------------

# "je suis étudiant <eos>", three numbers a key; the decoder's state after "i am a" has two.
KEYS = ((1, 0, -1), (0, 1, 1), (-1, 0, 2), (1, 1, 0))
QUERY = (2, 1)
OTHER_QUERY = (-1, 1)
GENERAL = ((1, 0, 1), (0, -1, 1))
CONCAT_QUERY = ((1, 0), (0, 1))
CONCAT_KEY = ((-1, 0, 1), (1, 0, 1))
V = (2, -1)


@torch.no_grad()
def by_hand() -> dict[str, Any]:
    """Every number of the worked examples, by the package's scores."""
    keys = torch.tensor(KEYS, dtype=torch.float64)
    queries = torch.tensor((QUERY, OTHER_QUERY), dtype=torch.float64)
    general = GeneralScore(2, 3).double()
    general.key.weight[:] = torch.tensor(GENERAL)
    concat = ConcatScore(2, 3, 2).double()
    concat.both.weight[:] = torch.cat([torch.tensor(CONCAT_QUERY), torch.tensor(CONCAT_KEY)], dim=1)
    concat.v[:] = torch.tensor(V)
    result: dict[str, Any] = {}
    for name, score in (("general", general), ("concat", concat)):
        scores = score(queries, keys)
        result[name] = {"scores": scores.tolist(), "weights": masked_softmax(scores).tolist()}
    result["general"]["translated_keys"] = general.project_keys(keys).tolist()
    result["general"]["translated_query"] = (queries @ general.key.weight).tolist()
    pairs = (queries @ concat.both.weight[:, :2].T).unsqueeze(1) + concat.project_keys(keys)
    result["concat"]["hidden"] = pairs.tolist()
    result["concat"]["tanh"] = pairs.tanh().tolist()
    flat = pairs @ concat.v
    result["without_tanh"] = {"scores": flat.tolist(), "weights": masked_softmax(flat).tolist()}
    return result


# --- trained models ---------------------------------------------------------------------------


class Found(NamedTuple):
    """Where a model's weights lie on sentences whose right links are known.

    Attributes:
        weights: of each sentence, while the decoder reads the right translation.
        links: largest weights as links. A word of the translation that comes from no word has no
            right place to look, and is left out.
        gold: the right links.
    """

    weights: Sequence[NDArray[np.float64]]
    links: Sequence[set[Link]]
    gold: Sequence[GoldAlignment]


def find_links(translator: Translator, pairs: Sequence[SentencePair]) -> Found:
    """Take each English word's largest weight as a link to a German word."""
    weights = teacher_forced_attention(translator, pairs)
    gold = [GoldAlignment.of(pair.links or ()) for pair in pairs]
    links = [
        {(i, j) for i, j in align_by_weight(rows[:, :-1]) if j in {t for _, t in right.sure}}
        for rows, right in zip(weights, gold, strict=True)
    ]
    return Found(weights, links, gold)


def quality(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, float]:
    """Translations and alignments of the test sentences."""
    written = translate(translator, [pair.source for pair in pairs])
    right = [pair.target for pair in pairs]
    found = find_links(translator, pairs)
    scores = alignment_scores(found.links, found.gold)
    return {
        "exact": exact_match(written, right),
        "bleu": bleu(written, right).score,
        "aer": scores.error_rate,
        "precision": scores.precision,
        "entropy": mean_entropy(found.weights),
        "parameters": translator.count_parameters(),
    }


def row(name: str) -> dict[str, Any]:
    """One row of the table: the mean over seeds, and each seed."""
    pairs = grammar_test()
    seeds = [quality(models.load(f"grammar-{name}-{seed}"), pairs) for seed in models.SEEDS]
    return {key: over_seeds(seed[key] for seed in seeds) for key in seeds[0]}


def general_score(translator: Translator) -> GeneralScore:
    """The score of a trained translator, which must be the general one."""
    score = models.attention_of(translator).score
    assert isinstance(score, GeneralScore)
    return score


@contextmanager
def matrix(score: GeneralScore, replacement: Tensor) -> Iterator[None]:
    """Another matrix for as long as the block lasts."""
    kept = score.key.weight.detach().clone()
    score.key.weight.data[:] = replacement
    try:
        yield
    finally:
        score.key.weight.data[:] = kept


def learned_matrix(name: str) -> dict[str, Any]:
    """What W is like after training, and what is left of the model when it is replaced."""
    translator, pairs = models.load(name), grammar_test()
    score = general_score(translator)
    learned = score.key.weight.detach().double()
    width = learned.shape[0]
    left, values, right = torch.linalg.svd(learned)

    def exact(replacement: Tensor) -> float:
        with matrix(score, replacement.float()):
            written = translate(translator, [pair.source for pair in pairs])
        return exact_match(written, [pair.target for pair in pairs])

    torch.manual_seed(0)
    scale = learned.norm() / width**0.5
    half = width // 2
    return {
        "singular_values": values.tolist(),
        "rank": {
            str(rank): exact(left[:, :rank] * values[:rank] @ right[:rank])
            for rank in RANKS
            if rank <= width
        },
        "exact": exact(learned),
        "identity": exact(torch.eye(width).double() * scale),
        "diagonal": exact(learned.diag().diag()),
        "random": exact(torch.randn(width, width).double() * learned.std()),
        "transposed": exact(learned.T),
        # Shares of the squared entries: on the diagonal; columns that meet the forward reader.
        "diagonal_share": float(learned.diag().square().sum() / learned.square().sum()),
        "forward_share": float(learned[:, :half].square().sum() / learned.square().sum()),
        "symmetric_share": float(
            ((learned + learned.T) / 2).square().sum() / learned.square().sum()
        ),
    }


def without_tanh(name: str) -> dict[str, float]:
    """A trained concat model whose hidden layer has lost its tanh."""
    translator, pairs = models.load(name), grammar_test()
    score = models.attention_of(translator).score
    assert isinstance(score, ConcatScore)

    def flat(queries: Tensor, prepared: Tensor) -> Tensor:
        projected = queries @ score.both.weight[:, : score.query_dim].T
        return (projected.unsqueeze(-2) + prepared.unsqueeze(-3)) @ score.v

    with patch.object(score, "score", flat):
        written = translate(translator, [pair.source for pair in pairs])
        changes = [
            float(np.ptp(rows, axis=0).max())
            for rows in teacher_forced_attention(translator, pairs)
        ]
    right = [pair.target for pair in pairs]
    return {
        "exact": exact_match(written, right),
        "bleu": bleu(written, right).score,
        "largest_change_over_steps": max(changes),
    }


def concat_is_additive() -> float:
    """The largest difference between concat as printed and concat with W cut in two."""
    torch.manual_seed(0)
    score = ConcatScore(96, 96, 96)
    queries, keys = torch.randn(7, 96), torch.randn(11, 96)
    beside = torch.cat([queries.unsqueeze(1).expand(-1, 11, -1), keys.expand(7, -1, -1)], dim=-1)
    printed = torch.tanh(score.both(beside)) @ score.v
    split = additive_scores(
        queries @ score.both.weight[:, :96].T, score.project_keys(keys), score.v
    )
    return float((printed - split).detach().abs().max())


def test_sentences() -> int:
    """How many sentences the models are tested on."""
    return len(grammar_test())


def rows() -> dict[str, Any]:
    """Every row of the table."""
    return {name: cached(name, row, name) for name in ROWS}


def of_tanh() -> dict[str, Any]:
    """One model with its tanh taken out, and as it is."""
    return {
        "without_tanh": cached("without_tanh", without_tanh, "grammar-concat-0"),
        "with_tanh": rows()["concat"]["exact"]["seeds"][0],
    }


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    rows = result["rows"]
    exact = {name: row["exact"]["seeds"] for name, row in rows.items()}
    means = {name: row["exact"]["mean"] for name, row in rows.items()}
    words = [round(math.exp(rows[name]["entropy"]["mean"]), 1) for name in ("dot", "general")]
    first, second = result["by_hand"]["without_tanh"]["weights"]
    return {
        "concat before dot before general, with every seed": all(
            c > d > g
            for c, d, g in zip(exact["concat"], exact["dot"], exact["general"], strict=True)
        ),
        "concat is best and general with feeding worst": max(means, key=means.__getitem__)
        == "concat"
        and min(means, key=means.__getitem__) == "general-feeding",
        "feeding helps none of the three": all(
            means[f"{name}-feeding"] <= means[name] for name in ("dot", "general", "concat")
        ),
        "dot weights spread over 1.7 words, general ones over 1.2": words == [1.7, 1.2],
        "an entropy of 0.53": round(rows["dot"]["entropy"]["mean"], 2) == 0.53,
        "by hand, without the tanh the weights no longer depend on the query": max(
            abs(a - b) for a, b in zip(first, second, strict=True)
        )
        < 1e-12,
        "concat is additive with its matrix cut in two": result["split_difference"] < 1e-5,
    }


# --- figures ----------------------------------------------------------------------------------


def draw_rank(part: dict[str, Any]) -> Figure:
    """Exact match against the number of singular values that are kept."""
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    ranks = [int(rank) for rank in part["rank"]]
    ax.plot(ranks, [100 * value for value in part["rank"].values()], "o-", color=plots.KEY)
    ax.set_xscale("log", base=2)
    ax.set_xticks(ranks[::2], [str(rank) for rank in ranks[::2]])
    ax.minorticks_off()
    ax.set(
        xlabel="directions of W that are kept, of 96",
        ylabel="translated without an error (%)",
        ylim=(0, 103),
    )
    ax.set_title("A small part of the matrix\ndoes the comparing")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {"general-concat-rank": draw_rank(result["matrix"])}


SCRIPT = Script(
    doc=__doc__,
    parts={
        "test_sentences": test_sentences,
        "by_hand": by_hand,
        "rows": rows,
        "matrix": (learned_matrix, "grammar-general-0"),
        ("without_tanh", "with_tanh"): of_tanh,
        "split_difference": concat_is_additive,
    },
    check=check,
    seeds=models.SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
