"""Measure chapter 1: n-gram tables, the neural language model, and the vectors it learns.

    python book/results/vectors.py            # about a quarter of an hour of CPU time
    python book/results/vectors.py --figures  # only redraw the figures from vectors.json

Needs Multi30k (``ATTNBOOK_DATA`` or a download). Finished parts are kept in the user's cache, so
that an interrupted run goes on where it stopped; ``--fresh`` measures all of them again.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _measure import Cache, Script, label, spread
from matplotlib.figure import Figure
from torch.nn import functional as F

from attnbook import plots
from attnbook.corpora import multi30k
from attnbook.language_models import (
    AddConstant,
    KneserNey,
    NeuralLanguageModel,
    NGramModel,
    ngrams,
    perplexity,
)
from attnbook.vocabulary import EOS, UNK, Vocabulary
from attnbook.word_vectors import SkipGram, nearest

cached = Cache("vectors")
SEEDS = (0, 1, 2)
MIN_COUNT = 5
WINDOW = 4
ORDERS = range(1, 6)
WINDOWS = (2, 8)
SIZES = (1000, 2000, 4000, 8000, 16000, 29000)
NEURAL: dict[str, Any] = {"embedding_dim": 64, "hidden_dim": 128}
TRAINING: dict[str, Any] = {"epochs": 3, "batch_size": 256, "learning_rate": 3e-3}

DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# Chosen among the test captions because it shows what the chapter is about.
OPENING = "men play soccer on a muddy field ."
PAIR = ("muddy", "field")

# The groups of words that are drawn, and that neighbours are scored on.
GROUPS = {
    "colours": "red blue green yellow orange pink purple white black brown",
    "people": "man woman boy girl child person lady guy kid toddler",
    "animals": "dog cat horse bird cow sheep duck goat elephant monkey",
    "-ing verbs": "running walking sitting standing jumping riding playing holding eating reading",
    "numbers": "two three four five six seven eight several",
    "clothes": "shirt jacket hat dress shorts pants coat sweater helmet jeans",
}
DRAWN = ("colours", "people", "animals", "-ing verbs")
SHOWN = ("red", "man", "dog", "running", "guitar", "beach", "two", "muddy")
GERMAN = ("rot", "mann", "hund", "läuft", "frau", "rote")

# Combinations of a colour and a thing that are taken out of training altogether.
COLOURS = "red blue green yellow orange pink purple white black brown gray"
THINGS = "shirt jacket hat dress shorts pants car ball coat sweater helmet top uniform"
HELD_OUT = {
    (colour, thing)
    for i, colour in enumerate(COLOURS.split())
    for j, thing in enumerate(THINGS.split())
    if (i + 2 * j) % 5 == 0
}

Sentences = list[tuple[str, ...]]


class ModifiedKneserNey(KneserNey):
    """Three discounts, for counts of 1, 2 and more (Chen and Goodman 1999, section 3)."""

    def _complete(self) -> None:
        self._triples: list[tuple[float, ...]] = []
        super()._complete()

    def _estimate_discount(self, table: dict[tuple[int, ...], Counter[int]]) -> float:
        single = super()._estimate_discount(table)
        n = Counter(count for seen in table.values() for count in seen.values())
        triple: tuple[float, ...] = (single, single, single)
        if all(n[r] for r in (1, 2, 3, 4)):
            y = n[1] / (n[1] + 2 * n[2])
            triple = tuple(r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3))
        self._triples.append(triple)
        return single

    def _discounted(self, count: int, length: int) -> float:
        return min(self._triples[length][min(count, 3) - 1], float(count)) if count else 0.0


def corpus(language: str) -> dict[str, Sentences]:
    """Training, validation and test captions of one language."""
    other = "de" if language == "en" else "en"
    return {
        split: [pair.source for pair in multi30k(split, source=language, target=other)]
        for split in ("train", "val", "test")
    }


def powers_of_ten(number: float) -> str:
    """A large number as people write it.

    >>> powers_of_ten(106894921)
    '1.1 × 10⁸'
    """
    mantissa, exponent = f"{number:.1e}".split("e+")
    return f"{mantissa} × 10" + str(int(exponent)).translate(DIGITS)


# --- counting -------------------------------------------------------------------------------


def tables(language: str) -> dict[str, Any]:
    """How many n-grams there could be, how many were seen, how many of a test set were not."""
    data = corpus(language)
    words = Vocabulary.from_sentences(data["train"])
    result: dict[str, Any] = {
        "sentences": len(data["train"]),
        "tokens": sum(len(s) for s in data["train"]),
        "words": len(words) - 4,
        "outcomes": len(words) - 2,
    }
    # Word types that a test set adds keep names of their own: an n-gram with a word that was
    # never seen was never seen.
    everything = Vocabulary.from_sentences([*data["train"], *data["test"]])
    encoded = {split: [everything.encode(s) for s in data[split]] for split in data}
    for n in range(1, 7):
        possible = float(len(words) - 2) ** n
        row: dict[str, Any] = {"possible": possible, "by_size": {}}
        test = [event for ids in encoded["test"] for event in ngrams(ids, n)]
        seen: Counter[Any] = Counter()
        start = 0
        for size in SIZES:
            for ids in encoded["train"][start:size]:
                seen.update(ngrams(ids, n))
            start = size
            row["by_size"][f"s{size}"] = {
                "seen": len(seen),
                "unseen_share": sum(event not in seen for event in test) / len(test),
            }
        row |= row["by_size"][f"s{SIZES[-1]}"]
        row["once_share"] = sum(count == 1 for count in seen.values()) / len(seen)
        row["possible_text"] = powers_of_ten(possible)
        result[f"n{n}"] = row
    return result


def opening() -> dict[str, Any]:
    """The counts behind the chapter's first sentence."""
    train = corpus("en")["train"]
    words = OPENING.split()
    counts: Counter[Any] = Counter()
    for sentence in train:
        for n in (1, 2, 3):
            counts.update(zip(*(sentence[i:] for i in range(n)), strict=False))
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return {
        "first": counts[PAIR[:1]],
        "second": counts[PAIR[1:]],
        "pair": counts[PAIR],
        "trigrams": len(trigrams),
        "unseen_trigrams": sum(counts[gram] == 0 for gram in trigrams),
        "in_test": float(tuple(words) in corpus("en")["test"]),
    }


def setting() -> dict[str, Any]:
    """What all perplexities of the chapter share."""
    data = corpus("en")
    words = Vocabulary.from_sentences(data["train"], min_count=MIN_COUNT)
    return {
        "vocabulary": len(words) - 4,
        "outcomes": len(words) - 2,
        "unk_share": sum(w not in words for s in data["test"] for w in s)
        / sum(map(len, data["test"])),
        "test_tokens": sum(len(s) + 1 for s in data["test"]),
        "train_tokens": sum(len(s) + 1 for s in data["train"]),
    }


def counted(n: int) -> dict[str, Any]:
    """Perplexity of n-gram models of one order, by smoothing."""
    data = corpus("en")
    words = Vocabulary.from_sentences(data["train"], min_count=MIN_COUNT)
    models: dict[str, NGramModel] = {
        "add_one": AddConstant(n, words),
        "add_hundredth": AddConstant(n, words, 0.01),
        "kneser_ney": KneserNey(n, words),
        "modified": ModifiedKneserNey(n, words),
    }
    result: dict[str, Any] = {}
    for name, model in models.items():
        started = time.process_time()
        model.fit(data["train"])
        result[name] = {
            "fit_seconds": time.process_time() - started,
            "entries": model.entries,
            "val": perplexity(model, data["val"]),
            "test": perplexity(model, data["test"]),
        }
    return result


def unknown() -> dict[str, Any]:
    """The same model on the same captions, with smaller and smaller vocabularies."""
    data = corpus("en")
    result = {}
    for least in (1, 2, 5, 10, 20, 100):
        words = Vocabulary.from_sentences(data["train"], min_count=least)
        tokens = [w for s in data["test"] for w in s]
        result[f"min{least}"] = {
            "vocabulary": len(words) - 4,
            "unk_share": sum(w not in words for w in tokens) / len(tokens),
            "test": perplexity(KneserNey(3, words).fit(data["train"]), data["test"]),
        }
    return result


# --- learning -------------------------------------------------------------------------------


def train_neural(
    data: Sentences, words: Vocabulary, seed: int, window: int = WINDOW
) -> tuple[NeuralLanguageModel, float]:
    """A neural model, and the seconds of one core that it took."""
    torch.manual_seed(seed)
    model = NeuralLanguageModel(words, window=window, **NEURAL)
    started = time.process_time()
    model.fit(data, seed=seed, progress=True, **TRAINING)
    return model, time.process_time() - started


def neural(seed: int) -> dict[str, Any]:
    """The neural model of the chapter: perplexity, where it wins, and its neighbours."""
    data = corpus("en")
    words = Vocabulary.from_sentences(data["train"], min_count=MIN_COUNT)
    model, seconds = train_neural(data["train"], words, seed)
    result: dict[str, Any] = {
        "seconds": seconds,
        "examples_per_second": TRAINING["epochs"]
        * sum(len(s) + 1 for s in data["train"])
        / seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "val": perplexity(model, data["val"]),
        "test": perplexity(model, data["test"]),
    }
    counting = KneserNey(4, words).fit(data["train"])
    ours = np.array(model.log_probabilities(data["test"]))
    theirs = np.array(counting.log_probabilities(data["test"]))
    mixed = np.logaddexp(ours, theirs) - math.log(2)
    result["kneser_ney"] = math.exp(-theirs.mean())
    result["mixed"] = math.exp(-mixed.mean())

    # How many of the words before were seen together in training, in this order? And how long is
    # the longest n-gram, the word itself included, that was seen? Places from the third word on,
    # because before that there are no three words to look at.
    def suffixes(context: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [context[len(context) - k :] for k in range(len(context) + 1)]

    events = [event for s in data["test"] for event in ngrams(words.encode(s), 4)]
    full = np.array([len(context) == 3 for context, _ in events])
    known = np.array(
        [max(len(h) for h in suffixes(context) if h in counting.counts) for context, _ in events]
    )
    matched = np.array(
        [
            max(
                (len(h) + 1 for h in suffixes(context) if counting.counts.get(h, Counter())[word]),
                default=0,
            )
            for context, word in events
        ]
    )
    for name, values, wanted in (
        ("by_context", known, (1, 2, 3)),
        ("by_ngram", matched, (1, 2, 3, 4)),
    ):
        result[name] = {}
        for k in wanted:
            here = full & (values == k)
            result[name][f"k{k}"] = {
                "share": float(here.sum() / full.sum()),
                "neural": math.exp(-ours[here].mean()),
                "kneser_ney": math.exp(-theirs[here].mean()),
            }
    # Pairs of known words that training never showed: whose probability is higher?
    last = [context[-1] for context, _ in events]
    new_pair = np.array(
        [
            UNK not in (before, word) and word != EOS and m == 1
            for before, (_, word), m in zip(last, events, matched, strict=True)
        ]
    )
    result["new_pairs"] = {
        "count": int(new_pair.sum()),
        "network_higher": float((ours[new_pair] > theirs[new_pair]).mean()),
    }
    tokens = OPENING.split()
    before, word = tokens[: tokens.index(PAIR[1])], PAIR[1]
    result["opening"] = {
        "neural": model.probability(word, before),
        "kneser_ney": counting.probability(word, before),
    }
    result |= looked_at(model.embedding.weight.detach(), words)
    return result


def windows(window: int) -> dict[str, Any]:
    """The same network with another window."""
    data = corpus("en")
    words = Vocabulary.from_sentences(data["train"], min_count=MIN_COUNT)
    model, seconds = train_neural(data["train"], words, SEEDS[0], window)
    return {
        "seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "val": perplexity(model, data["val"]),
        "test": perplexity(model, data["test"]),
    }


def held_out(seed: int) -> dict[str, Any]:
    """Colours and things that never met in training: what does each model expect?"""
    train = corpus("en")["train"]

    def meets(sentence: tuple[str, ...]) -> bool:
        return any(pair in HELD_OUT for pair in pairwise(sentence))

    kept = [s for s in train if not meets(s)]
    removed = [s for s in train if meets(s)]
    words = Vocabulary.from_sentences(kept, min_count=MIN_COUNT)
    model, seconds = train_neural(kept, words, seed)
    models: dict[str, Any] = {
        "neural": model,
        "kneser_ney": KneserNey(4, words).fit(kept),
        "add_one": AddConstant(3, words).fit(kept),
    }
    result: dict[str, Any] = {
        "combinations": len(HELD_OUT),
        "removed": len(removed),
        "seconds": seconds,
    }
    places = [
        (i, j)
        for i, s in enumerate(removed)
        for j in range(1, len(s))
        if (s[j - 1], s[j]) in HELD_OUT
    ]
    result["places"] = len(places)
    for name, candidate in models.items():
        log_probs = []
        flat = iter(candidate.log_probabilities(removed))
        for sentence in removed:
            log_probs.append([next(flat) for _ in range(len(sentence) + 1)])
        result[name] = {
            "thing": math.exp(statistics.fmean(log_probs[i][j] for i, j in places)),
            "next": math.exp(statistics.fmean(log_probs[i][j + 1] for i, j in places)),
        }
    # One of them, word by word: "red shirt", which training no longer has.
    example = ["a", "man", "in", "a", "red"]
    assert ("red", "shirt") in HELD_OUT
    result["example"] = {
        name: candidate.probability("shirt", example) for name, candidate in models.items()
    }
    ids = torch.tensor([words.encode(example)[-WINDOW:]])
    best = model(ids)[0].exp().topk(4)
    result["expected"] = [
        [word, p]
        for word, p in zip(words.decode(best.indices.tolist()), best.values.tolist(), strict=True)
    ]
    frequency = Counter(w for s in train for w in s)
    result["frequency"] = {w: frequency[w] for w in ("red", "shirt")}
    result["together"] = sum(pair == ("red", "shirt") for s in train for pair in pairwise(s))
    return result


# --- looking --------------------------------------------------------------------------------


def looked_at(embedding: torch.Tensor, words: Vocabulary) -> dict[str, Any]:
    """Neighbours, how well groups hold together, and two principal components."""
    group_of = {w: name for name, text in GROUPS.items() for w in text.split() if w in words}
    chosen = list(group_of)
    vectors = embedding[words.encode(chosen)]
    cosines = F.normalize(vectors, dim=1) @ F.normalize(vectors, dim=1).T
    cosines.fill_diagonal_(-torch.inf)
    nearest_one = cosines.argmax(dim=1).tolist()
    right = [group_of[w] == group_of[chosen[j]] for w, j in zip(chosen, nearest_one, strict=True)]
    chance = statistics.fmean(
        (list(group_of.values()).count(group_of[w]) - 1) / (len(chosen) - 1) for w in chosen
    )
    drawn = [w for w in chosen if group_of[w] in DRAWN]
    directions = F.normalize(embedding[words.encode(drawn)], dim=1).double()
    centred = directions - directions.mean(dim=0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    return {
        "neighbours": {
            w: [[other, cosine] for other, cosine in nearest(embedding, words, w, 5)]
            for w in SHOWN
            if w in words
        },
        "group_words": len(chosen),
        "same_group": statistics.fmean(right),
        "chance": chance,
        "explained": float((singular[:2] ** 2).sum() / (singular**2).sum()),
        "plane": {w: plane[i].tolist() for i, w in enumerate(drawn)},
    }


def skip_gram(seed: int, language: str = "en") -> dict[str, Any]:
    """Skip-gram with negative sampling on the same captions and vocabulary."""
    data = corpus(language)
    words = Vocabulary.from_sentences(data["train"], min_count=MIN_COUNT)
    torch.manual_seed(seed)
    model = SkipGram(words, embedding_dim=NEURAL["embedding_dim"])
    started = time.process_time()
    losses = model.fit(data["train"], seed=seed, epochs=5, progress=True)
    result: dict[str, Any] = {"seconds": time.process_time() - started, "loss": losses[-1]}
    if language == "en":
        return result | looked_at(model.embedding.weight.detach(), words)
    return result | {
        "neighbours": {
            w: [list(x) for x in nearest(model.embedding.weight, words, w, 4)]
            for w in GERMAN
            if w in words
        }
    }


def untrained() -> dict[str, Any]:
    """The same look at vectors that nobody has trained."""
    words = Vocabulary.from_sentences(corpus("en")["train"], min_count=MIN_COUNT)
    same = []
    for seed in range(20):
        torch.manual_seed(seed)
        same.append(looked_at(torch.randn(len(words), 64), words)["same_group"])
    return {"same_group": statistics.fmean(same)}


def neural_loss(
    model: NeuralLanguageModel, context: torch.Tensor, word: torch.Tensor
) -> torch.Tensor:
    """One batch of windows."""
    return F.nll_loss(model(context), word)


def skip_gram_loss(model: SkipGram, *words: torch.Tensor) -> torch.Tensor:
    """One batch of words, neighbours and noise."""
    loss: torch.Tensor = model(*words).mean()
    return loss


def cost() -> dict[str, Any]:
    """Time of one training example, forward and backward, by the size of the vocabulary."""
    result: dict[str, Any] = {}
    batch = 256

    def measure(step: Callable[[], torch.Tensor]) -> float:
        times = []
        for _ in range(6):
            started = time.process_time()
            step().backward()
            times.append(time.process_time() - started)
        return min(times[1:]) / batch * 1e6

    for size in (1000, 3000, 10000, 30000, 100000):
        words = Vocabulary([f"w{i}" for i in range(size - 4)])
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int, high: int = size, generator: Any = generator) -> torch.Tensor:
            return torch.randint(4, high, shape, generator=generator)

        model = NeuralLanguageModel(words, window=WINDOW, **NEURAL)
        context, word = draw(batch, WINDOW), draw(batch)
        skip = SkipGram(words, NEURAL["embedding_dim"])
        # Only the rows that occur get a gradient; a dense one would be as long as the table.
        skip.embedding.sparse = skip.neighbour_embedding.sparse = True
        left, right, noise = draw(batch), draw(batch), draw(batch, 5)
        result[f"v{size}"] = {
            "neural": measure(partial(neural_loss, model, context, word)),
            "skip_gram": measure(partial(skip_gram_loss, skip, left, right, noise)),
        }
    return result


# --- all together ---------------------------------------------------------------------------


def all_tables() -> dict[str, Any]:
    """Both languages."""
    return {language: cached(f"tables-{language}", tables, language) for language in ("en", "de")}


def all_counted() -> dict[str, Any]:
    """Every order."""
    return {f"n{n}": cached(f"counted-{n}", counted, n) for n in ORDERS}


def best(smoothing: str) -> dict[str, Any]:
    """The order chosen on the validation captions, with its perplexity on the test captions."""
    found = all_counted()
    n = min(ORDERS, key=lambda n: float(found[f"n{n}"][smoothing]["val"]))
    return {"n": n, **found[f"n{n}"][smoothing]}


def best_of_each() -> dict[str, Any]:
    """Of Kneser-Ney, and of Kneser-Ney with three discounts."""
    return {f"best_{smoothing}": best(smoothing) for smoothing in ("kneser_ney", "modified")}


def with_summary(part: str, measured: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Every seed, and the summary of all."""
    found = {f"seed{seed}": cached(f"{part}-{seed}", measured, seed) for seed in SEEDS}
    return found | {"summary": summary(found, SEEDS)}


def all_neural() -> dict[str, Any]:
    """The network of the chapter."""
    return with_summary("neural", neural)


def all_held_out() -> dict[str, Any]:
    """The network that never saw some pairs."""
    return with_summary("held-out", held_out)


def all_skip_gram() -> dict[str, Any]:
    """Skip-gram."""
    return with_summary("skip-gram", skip_gram)


def all_windows() -> dict[str, Any]:
    """Other windows."""
    return {f"w{window}": cached(f"windows-{window}", windows, window) for window in WINDOWS}


def summary(runs: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Mean, lowest and highest over the seeds, for every number that all of them have."""
    rows = [runs[f"seed{seed}"] for seed in seeds]

    def merge(values: list[Any]) -> Any:
        if all(isinstance(value, int | float) for value in values):
            return spread([float(value) for value in values])
        if all(isinstance(value, dict) for value in values):
            shared = [key for key in values[0] if all(key in value for value in values)]
            merged = {key: merge([value[key] for value in values]) for key in shared}
            return {key: value for key, value in merged.items() if value is not None}
        return None

    merged: dict[str, Any] = merge(
        [{k: v for k, v in row.items() if k not in ("plane", "neighbours")} for row in rows]
    )
    return merged


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    english, german = result["tables"]["en"], result["tables"]["de"]
    counted_by_n = [result["counted"][f"n{n}"] for n in ORDERS]
    add_one = [row["add_one"]["test"] for row in counted_by_n]
    table = [row["kneser_ney"]["test"] for row in counted_by_n]
    network = result["neural"]["summary"]
    context, ngram = network["by_context"], network["by_ngram"]
    gains = [context[k]["kneser_ney"]["mean"] / context[k]["neural"]["mean"] for k in context]
    thirds = [english["n3"]["by_size"][f"s{size}"]["unseen_share"] for size in SIZES[:5]]
    steps = [a - b for a, b in pairwise(thirds)]
    held = result["held_out"]["summary"]
    costs = result["cost"]
    neighbours_of_red = [w for w, _ in result["neural"]["seed0"]["neighbours"]["red"]]
    unknown_tests = [row["test"] for row in result["unknown"].values()]
    return {
        "the opening pair was never seen": result["opening"]["pair"] == 0,
        "the opening sentence is a test caption": result["opening"]["in_test"] == 1,
        "the network expects the opening pair": network["opening"]["neural"]["low"]
        > 50 * network["opening"]["kneser_ney"]["mean"],
        "one triple in three, every second 4-gram": 0.3 < english["n3"]["unseen_share"] < 0.37
        and 0.45 < english["n4"]["unseen_share"] < 0.6,
        "German is worse off at every n": all(
            german[f"n{n}"]["unseen_share"] > english[f"n{n}"]["unseen_share"] for n in range(1, 7)
        ),
        "about six points for each doubling": all(0.05 < step < 0.07 for step in steps),
        "smaller vocabularies, lower perplexity": unknown_tests
        == sorted(unknown_tests, reverse=True),
        "add-one is best at n = 2": min(add_one) == add_one[1],
        "add-one gets worse from n = 2 on": add_one[1:] == sorted(add_one[1:]),
        "Kneser-Ney falls to n = 4 and stays": table[:4] == sorted(table[:4], reverse=True)
        and abs(table[4] / table[3] - 1) < 0.01,
        "modified is no worse": result["best_modified"]["test"]
        <= result["best_kneser_ney"]["test"],
        "the network beats the best table, each seed": network["test"]["high"]
        < result["best_modified"]["test"],
        "averaging helps, each seed": network["mixed"]["high"] < network["test"]["low"],
        "whatever is known of the context, the same gain": 1.1 < min(gains) < max(gains) < 1.3,
        "the network wins where the pair is new, by far": ngram["k1"]["neural"]["high"]
        < ngram["k1"]["kneser_ney"]["mean"] / 3,
        "it wins where the triple is new": ngram["k2"]["neural"]["high"]
        < ngram["k2"]["kneser_ney"]["mean"],
        "about equal where the 4-gram is new": 1.0
        < ngram["k3"]["kneser_ney"]["mean"] / ngram["k3"]["neural"]["mean"]
        < 1.1,
        "the table wins where it has seen all four": ngram["k4"]["neural"]["low"]
        > ngram["k4"]["kneser_ney"]["mean"],
        "four new pairs in five": network["new_pairs"]["network_higher"]["low"] > 0.75,
        "the network expects the unseen thing, each seed": held["neural"]["thing"]["low"]
        > 3 * held["kneser_ney"]["thing"]["mean"],
        "there the table is below add-one": held["kneser_ney"]["thing"]["mean"]
        < held["add_one"]["thing"]["mean"],
        "it is no worse after the unseen pair": held["neural"]["next"]["low"]
        > held["kneser_ney"]["next"]["mean"],
        "red lies with blue and green": set(neighbours_of_red)
        <= set(COLOURS.split()) | {"maroon", "tan", "grey", "gold"},
        "red and rote keep to their own forms": [
            w for w, _ in result["skip_gram_de"]["neighbours"]["rote"][:3]
        ]
        == ["gelbe", "weiße", "blaue"]
        and [w for w, _ in result["skip_gram_de"]["neighbours"]["rot"][:3]]
        == ["gelb", "weiß", "blau"],
        "rows hold groups together": network["same_group"]["low"] > 0.8
        and result["skip_gram"]["summary"]["same_group"]["low"] > 0.8,
        "skip-gram's rows are no worse": result["skip_gram"]["summary"]["same_group"]["mean"]
        > network["same_group"]["mean"] - 0.1,
        "untrained rows do not": result["untrained"]["same_group"] < 0.3,
        "skip-gram is faster, seed by seed": all(
            result["skip_gram"][f"seed{seed}"]["seconds"]
            < result["neural"][f"seed{seed}"]["seconds"]
            for seed in result["seeds"]
        ),
        "the softmax grows with the vocabulary": costs["v100000"]["neural"]
        > 20 * costs["v1000"]["neural"],
        "negative samples hardly do": costs["v100000"]["skip_gram"]
        < 3 * costs["v1000"]["skip_gram"],
        "a wider window still helps a little": result["windows"]["w8"]["test"]
        < result["neural"][f"seed{result['seeds'][0]}"]["test"]
        < result["windows"]["w2"]["test"],
    }


# --- figures --------------------------------------------------------------------------------

SIZE = (4.4, 3.1)  # inches; fits a screen of 360 pixels without scrolling
CAPTIONS = "captions read"
PERPLEXITY = "perplexity on test captions\n(fewer is better)"


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the chapter."""
    return {
        "vectors-unseen": draw_unseen(result["tables"]),
        "vectors-growth": draw_growth(result["tables"]["en"]),
        "vectors-perplexity": draw_perplexity(result),
        "vectors-context": draw_context(result["neural"]["summary"]["by_ngram"]),
        "vectors-cost": draw_cost(result["cost"]),
        "vectors-words": draw_words(result["neural"]["seed0"]["plane"]),
    }


def draw_unseen(languages: dict[str, Any]) -> Figure:
    """Share of test n-grams that training never showed, by n."""
    figure, ax = plt.subplots(figsize=SIZE)
    orders = range(1, 7)
    for language, name, mark in (("de", "German", "s--"), ("en", "English", "o-")):
        shares = [100 * languages[language][f"n{n}"]["unseen_share"] for n in orders]
        ax.plot(orders, shares, mark, color="black", markersize=5)
        label(ax, name, 2, shares[1], *((-52, 6) if language == "de" else (10, -6)))
    ax.set(ylim=(0, 100), xlabel="n, length of the n-gram in words", ylabel="never seen (%)")
    ax.set_title("Most 4-grams of a new caption\nwere never seen before")
    return figure


def draw_growth(english: dict[str, Any]) -> Figure:
    """Distinct n-grams by how much was read."""
    figure, ax = plt.subplots(figsize=SIZE)
    for n in range(1, 6):
        seen = [english[f"n{n}"]["by_size"][f"s{size}"]["seen"] / 1000 for size in SIZES]
        ax.plot(np.array(SIZES) / 1000, seen, "o-", color="black", markersize=4)
        label(ax, f"n = {n}", SIZES[-1] / 1000, seen[-1])
    ax.set(xlabel=f"{CAPTIONS} (thousands)", ylabel="different n-grams (thousands)")
    ax.set(xlim=(0, 33), ylim=(0, None))
    ax.set_title("New words become rare,\nnew n-grams never do")
    return figure


def draw_perplexity(result: dict[str, Any]) -> Figure:
    """Counting and learning, by how many words a model looks at."""
    figure, ax = plt.subplots(figsize=(4.4, 3.6))
    orders = ORDERS
    for name, text, mark in (("add_one", "add one", "s:"), ("kneser_ney", "Kneser–Ney", "o-")):
        values = [result["counted"][f"n{n}"][name]["test"] for n in orders]
        ax.plot(orders, values, mark, color="black", markersize=5)
        label(ax, text, ORDERS[-1], values[-1], *((-8, -12) if name == "add_one" else (-60, 14)))
    runs = {int(w[1:]) + 1: r["test"] for w, r in result["windows"].items()}
    middle = result["neural"]["summary"]["test"]
    runs[result["window"] + 1] = middle["mean"]
    xs = sorted(runs)
    ax.plot(xs, [runs[x] for x in xs], "D-", color=plots.KEY, markersize=5)
    label(ax, "neural network", xs[-1], runs[xs[-1]], -68, 12)
    ax.set_yscale("log")
    ax.set_yticks([20, 50, 100, 200, 500, 1000], ["20", "50", "100", "200", "500", "1,000"])
    ax.minorticks_off()
    ax.set(xlabel="n, the predicted word included", ylabel=PERPLEXITY)
    ax.set_title("More context helps the network,\nand soon stops helping a table")
    return figure


def draw_context(by_ngram: dict[str, Any]) -> Figure:
    """Perplexity by the longest n-gram, the word to be guessed included, that was seen."""
    figure, ax = plt.subplots(figsize=(4.4, 3.4))
    names = {
        "k4": "all four words",
        "k3": "the last three",
        "k2": "the last two",
        "k1": "the word alone",
    }
    for i, row in enumerate(reversed(names)):
        numbers = by_ngram[row]
        table, network = numbers["kneser_ney"]["mean"], numbers["neural"]["mean"]
        ax.plot([table, network], [i, i], color="black", linewidth=0.8)
        ax.plot(table, i, "o", color="black", markersize=7)
        ax.plot(network, i, "D", color=plots.KEY, markersize=7)
        if i == 0:
            label(ax, "Kneser–Ney", table, i, -64, 15)
            label(ax, "network", network, i, -56, -15)
    ax.set_yticks(
        range(4),
        [
            f"{name}\n({100 * by_ngram[row]['share']['mean']:.0f} % of places)"
            for row, name in reversed(names.items())
        ],
    )
    ax.set_ylim(-0.7, 3.5)
    ax.set_xscale("log")
    ax.set_xticks([5, 20, 100, 1000, 7000], ["5", "20", "100", "1,000", "7,000"])
    ax.minorticks_off()
    ax.set_xlabel("perplexity (fewer is better)")
    ax.set_title("Table: better at what it has seen.\nNetwork: better at the new")
    return figure


def draw_cost(cost_by_size: dict[str, Any]) -> Figure:
    """Microseconds per training example by the size of the vocabulary."""
    figure, ax = plt.subplots(figsize=SIZE)
    sizes = [int(key[1:]) for key in cost_by_size]
    for name, text, mark, colour in (
        ("neural", "softmax over all words", "D-", plots.KEY),
        ("skip_gram", "5 negative samples", "o-", "black"),
    ):
        values = [row[name] for row in cost_by_size.values()]
        ax.plot(sizes, values, mark, color=colour, markersize=5)
        label(ax, text, sizes[1], values[1], *((-40, 40) if name == "neural" else (20, 16)))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.set_yticks([1, 10, 100, 1000, 10000], ["1", "10", "100", "1,000", "10,000"])
    ax.minorticks_off()
    ax.set(xlabel="words in the vocabulary", ylabel="µs for one example")
    ax.set_title("What a softmax costs grows with the\nvocabulary; negative samples do not")
    return figure


def draw_words(plane: dict[str, list[float]]) -> Figure:
    """Word vectors in the plane that keeps most of their spread."""
    figure, ax = plt.subplots(figsize=(4.4, 4.4))
    marks = {"colours": "s", "people": "o", "animals": "^", "-ing verbs": "D"}
    floor = np.inf
    for group, mark in marks.items():
        # The names stand in a column beside their group, each with a line to its point.
        names = sorted(GROUPS[group].split()[:6], key=lambda w: plane[w][1])
        points = np.array([plane[w] for w in names])
        left = group in ("people", "animals")
        edge = points[:, 0].min() - 0.12 if left else points[:, 0].max() + 0.12
        heights = points[:, 1].mean() + 0.085 * (np.arange(len(names)) - (len(names) - 1) / 2)
        if left:  # two columns on this side, one below the other
            heights += min(0.0, floor - 0.19 - heights[-1])
            floor = heights[0]
        for name, point, height in zip(names, points, heights, strict=True):
            inner = edge + (0.02 if left else -0.02)
            ax.plot([point[0], inner], [point[1], height], color="0.6", linewidth=0.5)
            ax.text(edge, height, name, va="center", ha="right" if left else "left")
        ax.text(edge, heights[-1] + 0.07, group, weight="bold", ha="right" if left else "left")
        ax.plot(*points.T, mark, color="black", markersize=4)
    ax.margins(x=0.4, y=0.15)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("first principal component")
    ax.set_ylabel("second principal component")
    ax.set_title("Words that can stand in the same places\nhave come to lie together")
    return figure


SCRIPT = Script(
    doc=__doc__,
    parts={
        "min_count": MIN_COUNT,
        "window": WINDOW,
        "neural_settings": NEURAL | TRAINING,
        "tables": all_tables,
        "opening": (opening,),
        "setting": setting,
        "untrained": (untrained,),
        "cost": (cost,),
        "counted": all_counted,
        "neural": all_neural,
        "held_out": all_held_out,
        "skip_gram": all_skip_gram,
        "skip_gram_de": (skip_gram, SEEDS[0], "de"),
        "unknown": (unknown,),
        "windows": all_windows,
        ("best_kneser_ney", "best_modified"): best_of_each,
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
