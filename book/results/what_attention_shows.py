"""What chapter 15 reports: what a map of weights is evidence of, and what it is not.

    python book/results/what_attention_shows.py            # writes the JSON and the figures
    python book/results/what_attention_shows.py --fresh    # measure everything again

The translator is `multi30k-dot`, which the book publishes; the grammar's are `grammar-dot-…`, and
there the true links are known. Each step is looked at while the decoder reads the right words.
Measured parts are kept in the user's cache.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import Cache, Script
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attnbook.corpora import SentencePair, multi30k
from attnbook.decoders import LuongDecoder
from attnbook.decoding import decode
from attnbook.seq2seq import Translator
from attnbook.trace import MEASURES, AttentionMaps, DecodingTrace
from attnbook.vocabulary import EOS, SOS, UNK

cached = Cache("what_attention_shows")
MODEL = "multi30k-dot"
FEW, FEWER = 200, 50
NAMES = ("weight", *MEASURES)
ALLOWED = 0.05  # total variation of the next word's distribution


# --- by hand ----------------------------------------------------------------------------------

VALUES = ((0.0, 2.0), (4.0, 0.0), (2.0, 1.0))
ONE = (0.5, 0.5, 0.0)
OTHER = (0.0, 0.0, 1.0)


def by_hand() -> dict[str, Any]:
    """Two rows of weights that have not one word in common, and the same context."""
    values = np.array(VALUES)
    return {"one": (np.array(ONE) @ values).tolist(), "other": (np.array(OTHER) @ values).tolist()}


# --- one sentence -----------------------------------------------------------------------------


def importance(translator: Translator, pair: SentencePair) -> dict[str, NDArray[np.float64]]:
    """How much each source word matters to each step, by four measures, ``(target, source)``.

    End markers included; without a word of its own, ``<eos>`` is left out of what is counted.

    ``weight``: the attention's. ``gradient``: the norm of the gradient of the right word's
    log-probability by the encoder's state. ``gradient times state``: the size of their product,
    what a small shrinking of the state would cost. ``word left out``: by how much the right word's
    log-probability changes when the encoder reads ``<unk>`` in the word's place.
    """
    ids = [*translator.source_ids(pair.source), EOS]
    right = [*translator.target_vocabulary.encode(pair.target), EOS]
    previous = torch.tensor([[SOS, *right[:-1]]])
    lengths = torch.tensor([len(ids)])

    encoded = translator.encode(torch.tensor([ids]), lengths)
    states = encoded.states.detach().requires_grad_()
    assert encoded.final_state is not None
    final = encoded.final_state.each(torch.Tensor.detach)
    encoded = encoded._replace(states=states, final_state=final)
    decoded = translator.decoder(previous, encoded)
    assert decoded.attention is not None
    log_probs = torch.log_softmax(translator.decoder.logits(decoded.readouts[0]), dim=-1)
    chosen = log_probs[range(len(right)), right]
    gradients = torch.stack(
        [torch.autograd.grad(one, states, retain_graph=True)[0][0] for one in chosen]
    )
    with torch.no_grad():
        hidden = torch.tensor([ids]).repeat(len(ids), 1)
        hidden.fill_diagonal_(UNK)
        other = translator.encode(hidden, lengths.repeat(len(ids)))
        readouts = translator.decoder(previous.repeat(len(ids), 1), other).readouts
        changed = torch.log_softmax(translator.decoder.logits(readouts), dim=-1)
        answers = torch.tensor(right).view(1, -1, 1).expand(len(ids), -1, 1)
        lost = (chosen - changed.gather(2, answers).squeeze(2)).abs().T
    found = (
        decoded.attention.weights[0].detach(),
        gradients.norm(dim=-1),
        (gradients * states.detach()).sum(dim=-1).abs(),
        lost,
    )
    return {name: one.double().numpy() for name, one in zip(NAMES, found, strict=True)}


def of_words(translator: Translator, pair: SentencePair) -> dict[str, NDArray[np.float64]]:
    """`importance` without the end markers: a step that writes one asks for no word."""
    return {name: one[:-1, :-1] for name, one in importance(translator, pair).items()}


def witnesses(translator: Translator, source: Sequence[str]) -> DecodingTrace:
    """The greedy translation, with the four measures beside each other as shares of each step."""
    trace = decode(translator, source)
    found = importance(translator, SentencePair(tuple(source), trace.target_tokens[:-1]))
    maps = tuple(
        AttentionMaps(
            kind, trace.target_tokens, trace.source_tokens,
            (one / one.sum(axis=1, keepdims=True))[None, None],
        )
        for kind, one in zip(("source", *MEASURES), found.values(), strict=True)
    )  # fmt: skip
    return replace(trace, maps=maps)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis, equal values in the order in which they stand."""
    return values.argsort(axis=-1).argsort(axis=-1).astype(float)


def agreement(
    found: Sequence[dict[str, NDArray[np.float64]]], one: str, other: str
) -> dict[str, float]:
    """Over all steps: the mean of Spearman's ρ, and how often both name the same word first."""
    correlations, same = [], []
    for sentence in found:
        x, y = sentence[one], sentence[other]
        if x.shape[1] < 3:
            continue
        a, b = (r - r.mean(axis=1, keepdims=True) for r in (ranks(x), ranks(y)))
        norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        correlations.extend((a * b).sum(axis=1) / norm)
        same.extend(x.argmax(axis=1) == y.argmax(axis=1))
    return {"rho": float(np.mean(correlations)), "same": float(np.mean(same))}


def compare(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, Any]:
    """How far the four measures agree, and, where links are known, which of them finds them."""
    translator.eval()
    found = [of_words(translator, pair) for pair in pairs]
    result: dict[str, Any] = {
        f"{one} / {other}": agreement(found, one, other)
        for number, one in enumerate(NAMES)
        for other in NAMES[number + 1 :]
    }
    if all(pair.links is not None for pair in pairs):
        result["on a link"] = {
            name: statistics.fmean(
                (int(row.argmax()), step) in pair.links
                for pair, sentence in zip(pairs, found, strict=True)
                for step, row in enumerate(sentence[name])
                if pair.links and any(j == step for _, j in pair.links)
            )
            for name in NAMES
        }
    return result


# --- other weights, same word -----------------------------------------------------------------


@torch.no_grad()
def exchanged(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, Any]:
    """How often the same word is written with other weights, all earlier words being right.

    ``shuffled``: the weights of a step in a random order. ``uniform``: all equal. ``without the
    largest``: the word with the largest weight gets none, the others share it. For each the share
    of steps with the same most probable word, and the mean total variation between the two
    distributions of words.
    """
    translator.eval()
    chance = random.Random(0)
    rows: dict[str, list[tuple[bool, float]]] = {}
    for pair in pairs:
        ids = [*translator.source_ids(pair.source), EOS]
        right = [*translator.target_vocabulary.encode(pair.target), EOS]
        encoded = translator.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
        decoded = translator.decoder(torch.tensor([[SOS, *right[:-1]]]), encoded)
        weights = decoded.attention.weights[0]
        before = words_of(translator, decoded.states[0], encoded.states[0], weights)
        order = list(range(len(ids)))
        chance.shuffle(order)
        largest = weights.scatter(1, weights.argmax(dim=1, keepdim=True), 0.0)
        others = {
            "shuffled": weights[:, order],
            "uniform": torch.full_like(weights, 1 / len(ids)),
            "without the largest": largest / largest.sum(dim=1, keepdim=True).clamp_min(1e-9),
        }
        for name, changed in others.items():
            after = words_of(translator, decoded.states[0], encoded.states[0], changed)
            rows.setdefault(name, []).extend(
                zip(
                    (before.argmax(dim=1) == after.argmax(dim=1)).tolist(),
                    (0.5 * (before - after).abs().sum(dim=1)).tolist(),
                    strict=True,
                )
            )
    return {name: summary(found) for name, found in rows.items()}


def sought(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, Any]:
    """How far can a step's weights be moved if the next word's distribution must stay?

    Other weights are sought by gradient for each step (after Jain & Wallace 2019, section 4.2):
    as far from the model's as possible in total variation, while the distribution of words moves
    by at most :data:`ALLOWED`. The search may miss better ones, so that what it finds is a lower
    bound.
    """
    translator.eval()
    torch.manual_seed(0)
    farthest, moved = [], []
    for pair in pairs:
        ids = [*translator.source_ids(pair.source), EOS]
        right = [*translator.target_vocabulary.encode(pair.target), EOS]
        with torch.no_grad():
            encoded = translator.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
            decoded = translator.decoder(torch.tensor([[SOS, *right[:-1]]]), encoded)
            weights = decoded.attention.weights[0]
            states, values = decoded.states[0], encoded.states[0]
            before = words_of(translator, states, values, weights)
        # From the model's own weights, blurred, so that every word has a gradient, and shaken, so
        # that the distance from them has one.
        free = (0.9 * weights + 0.1 / len(ids)).log()
        free = (free + 0.1 * torch.randn_like(free)).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=0.1)
        best = torch.zeros(len(right))
        far = torch.zeros(len(right), dtype=torch.bool)
        for _ in range(300):
            changed = free.softmax(dim=1)
            distance = 0.5 * (changed - weights).abs().sum(dim=1)
            shift = 0.5 * (words_of(translator, states, values, changed) - before).abs().sum(dim=1)
            allowed = shift <= ALLOWED
            better = allowed & (distance.detach() > best)
            best = torch.where(better, distance.detach(), best)
            far = torch.where(better, changed.argmax(dim=1) != weights.argmax(dim=1), far)
            optimizer.zero_grad()
            (100 * (shift - 0.8 * ALLOWED).clamp_min(0) - distance).sum().backward()
            optimizer.step()
        farthest += best.tolist()
        moved += far.tolist()
    return {
        "distance": statistics.fmean(farthest),
        "above_half": statistics.fmean(one > 0.5 for one in farthest),
        "other_word_first": statistics.fmean(moved),
        "steps": len(farthest),
    }


def words_of(translator: Translator, states: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """The distribution of the next word of Luong's decoder with given weights."""
    assert isinstance(translator.decoder, LuongDecoder)
    both = torch.cat([weights @ values, states], dim=-1)
    readouts = torch.tanh(translator.decoder.combine(both))
    return torch.softmax(translator.decoder.logits(readouts), dim=-1)


def summary(rows: Sequence[tuple[bool, float]]) -> dict[str, float]:
    """Means over steps."""
    return {
        "same": statistics.fmean(row[0] for row in rows),
        "variation": statistics.fmean(row[1] for row in rows),
        "steps": len(rows),
    }


def few_captions(count: int = FEW) -> list[SentencePair]:
    """The first test captions."""
    return multi30k("test")[:count]


def on_captions() -> dict[str, Any]:
    """The four measures on captions."""
    return compare(models.load(MODEL), few_captions())


def exchanged_on_captions() -> dict[str, Any]:
    """Other weights, on captions."""
    return exchanged(models.load(MODEL), few_captions())


def sought_on_captions() -> dict[str, Any]:
    """The farthest weights, on fewer captions."""
    return sought(models.load(MODEL), few_captions(FEWER))


def on_grammar(seed: int) -> dict[str, Any]:
    """The four measures of one small model."""
    return compare(models.load(f"grammar-dot-{seed}"), models.pairs_of("test", "grammar")[:FEW])


def all_of_grammar() -> list[Any]:
    """Every seed."""
    return [cached(f"grammar-{seed}", on_grammar, seed) for seed in models.SEEDS]


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    captions, exchanged = result["captions"], result["exchanged"]
    first, *others = (one["on a link"] for one in result["grammar"])
    return {
        "with shuffled weights the same word in two of five steps": abs(
            exchanged["shuffled"]["same"] - 2 / 5
        )
        < 0.02,
        "with uniform weights in half of them": abs(exchanged["uniform"]["same"] - 0.5) < 0.03,
        "in a third of the steps other weights would do": abs(
            result["sought"]["other_word_first"] - 1 / 3
        )
        < 0.04,
        "leaving words out agrees in seven of ten, the others in nine": all(
            round(10 * part["same"]) == (7 if "left out" in name else 9)
            for name, part in captions.items()
        ),
        "weights and gradients rank words alike": captions["weight / gradient"]["rho"] > 0.9,
        "weights and leaving out do not": captions["weight / word left out"]["rho"] < 0.5,
        "seeds agree on who finds the links": all(
            abs(first[name] - one[name]) < 0.02 for one in others for name in first
        ),
        "the weights find most of them": max(first, key=first.__getitem__) == "weight",
    }


def draw_agreement(part: dict[str, Any]) -> Figure:
    """How often two measures name the same word first."""
    pairs = [name for name in part if " / " in name]
    figure, ax = plt.subplots(figsize=(4.4, 3.6))
    ax.barh(range(len(pairs)), [100 * part[name]["same"] for name in pairs], color="0.35")
    ax.set_yticks(
        range(len(pairs)), [name.replace("times", "×").replace(" / ", ",\n") for name in pairs]
    )
    ax.invert_yaxis()
    ax.set(xlabel="steps with the same word first (%)", xlim=(0, 100))
    ax.set_title("Measures of importance disagree")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {"what-attention-shows-agreement": draw_agreement(result["captions"])}


SCRIPT = Script(
    doc=__doc__,
    parts={
        "test_captions": FEW,
        "sentences": FEW,
        "by_hand": by_hand,
        "captions": (on_captions,),
        "exchanged": (exchanged_on_captions,),
        "sought": (sought_on_captions,),
        "grammar": all_of_grammar,
    },
    check=check,
    seeds=models.SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
