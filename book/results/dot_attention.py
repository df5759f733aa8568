"""The measurements of chapter 5: what one attention step changed, and what its weights show.

    python book/results/dot_attention.py                       # everything; writes JSON and figures
    python book/results/dot_attention.py --only gradients      # one part of it

Needs the models of book/results/train.py and Multi30k (ATTNBOOK_DATA names a local copy). Finished
parts are kept in the user's cache, so that an interrupted run goes on where it stopped; ``--fresh``
measures again. One thread of a CPU.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _measure import FIGURES, Cache, Script
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from train import attention_of, load

from attnbook import grammar, plots
from attnbook.attention import Attention, AttentionOutput
from attnbook.batches import collate
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoders import final_state
from attnbook.decoding import decode, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import bleu, teacher_forced_perplexity
from attnbook.recurrent import LSTMCell, unroll
from attnbook.scores import Score
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS, SOS

cached = Cache("dot_attention")
DOT, FIXED = "multi30k-dot", "multi30k-cho"
TRANSLATORS = (FIXED, DOT)
GRAMMAR = "grammar-dot"
RESAMPLES = 1000
PUNCTUATION = (".", ",")


def ratio(pairs: Sequence[tuple[float, float]], seed: int = 0) -> dict[str, float]:
    """Sum over sum, with a 95 % bootstrap interval over the sentences that the pairs belong to."""
    values = np.array(pairs)
    chosen = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    sums = values[chosen].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    above, below = values.sum(axis=0)
    return {"mean": float(above / below), "low": float(low), "high": float(high)}


def interval(values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Mean of one value a sentence, with its bootstrap interval."""
    return ratio([(value, 1.0) for value in values], seed)


# --- translations ---------------------------------------------------------------------------------


def translations(name: str, beam: int) -> list[list[str]]:
    """What a model makes of test 2016, kept in the cache."""
    found: list[list[str]] = cached(f"translations-{name}-{beam}", translate_test, name, beam)
    return found


def translate_test(name: str, beam: int) -> list[list[str]]:
    """The same, translated now."""
    sources = [pair.source for pair in multi30k("test")]
    return translate(load(name), sources, beam_size=beam, progress=True)


def quality(name: str) -> dict[str, Any]:
    """BLEU of one model on test 2016, greedy and with beam 5, and its perplexity."""
    translator, pairs = load(name), multi30k("test")
    references = [pair.target for pair in pairs]
    result: dict[str, Any] = {"parameters": translator.count_parameters()}
    result["perplexity"] = teacher_forced_perplexity(translator, pairs)
    for beam in (1, 5):
        found = bleu(translations(name, beam), references, resamples=RESAMPLES)
        result[f"beam{beam}"] = {
            "bleu": found.score,
            "low": found.low,
            "high": found.high,
            "signature": found.signature,
        }
    return result


class Replaced(nn.Module):
    """Attention whose weights are replaced after the softmax; scores and values stay."""

    def __init__(self, attention: Attention, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.attention, self.change = attention, change
        self.temperature = attention.temperature

    @property
    def score(self) -> Score:
        """The score, which is left as it is."""
        return self.attention.score

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
        projected_keys: Tensor | None = None,
    ) -> AttentionOutput:
        """As :class:`Attention`, with other weights."""
        _, weights, scores = self.attention(queries, keys, values, mask, projected_keys)
        weights = self.change(weights, mask.expand_as(weights))
        return AttentionOutput(weights @ values, weights, scores)


def uniform(weights: Tensor, mask: Tensor) -> Tensor:
    """Every word alike."""
    return mask.to(weights) / mask.sum(dim=-1, keepdim=True)


def permuted(weights: Tensor, mask: Tensor) -> Tensor:
    """The same weights, dealt to the words of the sentence at random (seed 0), for each step."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(weights.shape, generator=generator).masked_fill(~mask, 2.0).argsort(-1)
    return torch.where(mask, weights.gather(-1, order), 0.0)


# --- one step, changed ----------------------------------------------------------------------------


def hide_most(weights: Tensor, _mask: Tensor) -> Tensor:
    """The most attended word gets 0, and the others share its weight in proportion."""
    return without(weights, weights.argmax(-1, keepdim=True))


def hide_other(weights: Tensor, mask: Tensor) -> Tensor:
    """The same for one other word, drawn at random (seed 0)."""
    generator = torch.Generator().manual_seed(0)
    allowed = mask.clone().scatter_(-1, weights.argmax(-1, keepdim=True), False)
    drawn = torch.rand(weights.shape, generator=generator).masked_fill(~allowed, -1.0)
    return without(weights, drawn.argmax(-1, keepdim=True))


def without(weights: Tensor, place: Tensor) -> Tensor:
    """The weights with 0 at one place, summing to 1 again."""
    left = weights.scatter(-1, place, 0.0)
    return left / left.sum(-1, keepdim=True).clamp_min(1e-30)


STEPS = {
    "hide_most": hide_most,
    "hide_other": hide_other,
    "uniform": uniform,
    "permuted": permuted,
}


@torch.inference_mode()
def interventions(count: int = 500) -> dict[str, Any]:
    """How far the next word's distribution moves when one step's weights are changed.

    The model's own greedy translations are the beginnings, so nothing but the weights of the step
    itself differs. Measured per step: the total variation distance between the two distributions
    (0: the same, 1: nothing in common), and whether another word becomes the most probable.
    """
    translator = load(DOT)
    pairs = multi30k("test")[:count]
    attention, decoder = attention_of(translator), translator.decoder
    kinds = [*STEPS, "unread"]
    moved: dict[str, list[float]] = {kind: [] for kind in kinds}
    changed: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    by_weight: list[tuple[float, bool]] = []
    greedy = translations(DOT, 1)
    counts = Counter(word for words in greedy for word in words)
    frequent = {word for word, _ in counts.most_common(20)}
    by_word: dict[str, list[tuple[float, float]]] = {"frequent": [], "other": []}
    for pair, written in zip(tqdm(pairs, desc="interventions"), greedy, strict=False):
        decoder.attention = attention
        source = torch.tensor([[*translator.source_ids(pair.source), EOS]])
        encoded = translator.encode(source, torch.tensor([source.shape[1]]))
        ids = [*translator.target_vocabulary.encode(written), EOS]
        previous = torch.tensor([[SOS, *ids[:-1]]])
        decoded = decoder(previous, encoded)
        before = torch.softmax(decoder.logits(decoded.readouts[0]), dim=-1)
        most = decoded.attention.weights[0].argmax(-1)
        for kind in kinds:
            if kind == "unread":
                after = unread(translator, source, previous, most)
            else:
                decoder.attention = Replaced(attention, STEPS[kind])
                after = torch.softmax(
                    decoder.logits(decoder(previous, encoded).readouts[0]), dim=-1
                )
            distance = (before - after).abs().sum(-1) / 2
            other = before.argmax(-1) != after.argmax(-1)
            moved[kind].append(float(distance.mean()))
            changed[kind].append((float(other.sum()), float(len(other))))
            if kind == "hide_most":
                top = decoded.attention.weights[0].max(-1).values
                by_weight += zip(top.tolist(), other.tolist(), strict=True)
                common = torch.tensor([word in frequent for word in [*written, "<eos>"]])
                common[-1] = True
                for kind_of_word, chosen in (("frequent", common), ("other", ~common)):
                    by_word[kind_of_word].append((float(other[chosen].sum()), float(chosen.sum())))
    decoder.attention = attention
    sharp = [changed for weight, changed in by_weight if weight > 0.9]
    return {
        "sentences": count,
        "steps": len(by_weight),
        "distance": {kind: interval(values) for kind, values in moved.items()},
        "changed": {kind: ratio(values) for kind, values in changed.items()},
        "unchanged": {kind: 1 - ratio(values)["mean"] for kind, values in changed.items()},
        "hidden_by_word": {kind: ratio(values) for kind, values in by_word.items()},
        "sharp": {
            "share": len(sharp) / len(by_weight),
            "changed": statistics.fmean(sharp),
            "unchanged": 1 - statistics.fmean(sharp),
        },
    }


def unread(translator: Translator, source: Tensor, previous: Tensor, most: Tensor) -> Tensor:
    """The same steps when the encoder reads ``<unk>`` in place of the word attended most.

    One copy of the sentence for each step, since each step has its own most attended word. The
    end marker is left as it is.
    """
    steps = len(most)
    sources = source.repeat(steps, 1)
    for step, place in enumerate(most.tolist()):
        if sources[step, place] != EOS:
            sources[step, place] = 1
    encoded = translator.encode(sources, torch.full((steps,), source.shape[1]))
    decoded = translator.decoder(previous.repeat(steps, 1), encoded)
    own = decoded.readouts[torch.arange(steps), torch.arange(steps)]
    return torch.softmax(translator.decoder.logits(own), dim=-1)


# --- gradients ------------------------------------------------------------------------------------


def local_states(translator: Translator, embedded: Tensor) -> Tensor:
    """Encoder states in which each depends, for the gradient, on its own word alone.

    The values are the encoder's own; what came over from the words before is detached.
    """
    assert isinstance(translator.encoder, Encoder)
    recurrent = translator.encoder.recurrent
    halves = []
    for reverse in (False, True)[: 1 + recurrent.bidirectional]:
        cell = LSTMCell(recurrent.input_size, recurrent.hidden_size).to(embedded.dtype)
        cell.copy_weights(recurrent, reverse=reverse)
        words = embedded.flip(1) if reverse else embedded
        with torch.no_grad():
            steps, _ = unroll(cell, words)
            hidden, memory = (
                torch.cat([torch.zeros_like(part[:, :1]), part[:, :-1]], dim=1).flatten(0, 1)
                for part in (steps.hidden, steps.cell)
            )
        state = cell(words.flatten(0, 1), (hidden, memory)).hidden.unflatten(0, words.shape[:2])
        halves.append(state.flip(1) if reverse else state)
    return torch.cat(halves, dim=-1)


def paths(translator: Translator, pair: SentencePair) -> dict[str, Tensor]:
    """``∂ loss_t / ∂ x_i``, ``(target, source, embedding_dim)``, by the way the gradient takes.

    ``loss_t = -log p(y_t | y_<t, x)`` and ``x_i`` is the vector of source word i.

    - ``total``: all ways.
    - ``handed``: word, encoder's recurrence, handed-over state, decoder's recurrence. The states
      that the attention reads are detached.
    - ``memory``: through the attention, by whatever encoder states the word has changed. The
      handed-over state is detached. ``handed`` and ``memory`` add up to ``total``.
    - ``context``: the part of ``memory`` that goes through the word's own state alone.

    A model that attends also gives its ``weights``, ``(target, source)``.
    """
    source = torch.tensor([*translator.source_ids(pair.source), EOS])
    ids = torch.tensor([*translator.target_vocabulary.encode(pair.target), EOS])
    # One copy of the sentence for each step: copy t has the loss of step t, so that one backward
    # pass gives the gradients of all steps.
    copies = source.expand(len(ids), -1)
    previous = torch.cat([torch.tensor([SOS]), ids[:-1]]).expand(len(ids), -1)
    embedded = translator.encoder.embedding(copies).detach().requires_grad_()
    hook = translator.encoder.embedding.register_forward_hook(lambda *_: embedded)
    encoded = translator.encode(copies, torch.full((len(ids),), len(source)))
    hook.remove()
    ways = {"total": encoded}
    if translator.attends:
        cut = final_state(encoded).each(Tensor.detach)
        ways["handed"] = encoded._replace(states=encoded.states.detach())
        ways["memory"] = encoded._replace(final_state=cut)
        ways["context"] = encoded._replace(
            states=local_states(translator, embedded), final_state=cut
        )
    result = {}
    each = torch.arange(len(ids))
    for way, known in ways.items():
        decoded = translator.decoder(previous, known)
        logits = translator.decoder.logits(decoded.readouts[each, each])
        loss = functional.cross_entropy(logits, ids, reduction="sum")
        (result[way],) = torch.autograd.grad(loss, embedded, retain_graph=True)
        if way == "total" and decoded.attention is not None:
            result["weights"] = decoded.attention.weights[0].detach()
    return result


def steps_round(source: int, target: int, *, both_directions: bool) -> Tensor:
    """Recurrent steps from word i to decoder state t by way of the handed-over state.

    Both counted from 1: ``source - i`` steps to the encoder's end, and ``t`` in the decoder. An
    encoder that reads in both directions offers the shorter of two ways.
    """
    ahead = torch.arange(source - 1, -1, -1)
    back = torch.arange(source)
    inside = torch.minimum(ahead, back) if both_directions else ahead
    return torch.arange(1, target + 1)[:, None] + inside[None, :]


BINS = ((1, 3), (4, 6), (7, 9), (10, 12), (13, 15), (16, 18))


def gradients(count: int = 100) -> dict[str, Any]:
    """Gradients by distance, in the trained model and in the same model before training.

    Pairs (i, t) are those in which word i has the largest weight at step t in the trained model;
    the other model is asked about the same pairs. Geometric means over pairs in a bin of
    distances, where there are at least 30.
    """
    chosen = [p for p in multi30k("test") if 8 <= len(p.source) <= 20][:count]
    trained = load(DOT).double()
    assert trained.config is not None
    torch.manual_seed(0)
    fresh = Translator.from_config(
        trained.config, trained.source_vocabulary, trained.target_vocabulary
    )
    models = {"trained": trained, "fresh": fresh.double().eval()}
    kept: dict[str, dict[str, list[list[float]]]] = {
        name: {way: [[] for _ in BINS] for way in ("total", "handed", "memory", "context")}
        for name in models
    }
    by_weight: dict[str, list[float]] = {"high": [], "low": []}
    share: list[tuple[float, float]] = []
    for pair in tqdm(chosen, desc="gradients"):
        measured = {
            name: {
                way: value if way == "weights" else value.norm(dim=-1)
                for way, value in paths(model, pair).items()
            }
            for name, model in models.items()
        }
        weights = measured["trained"]["weights"]
        target, source = weights.shape
        most = weights[:, :-1].argmax(dim=-1)  # the most attended word; <eos> has no other side
        for name, model in models.items():
            assert isinstance(model.config, RecurrentConfig)
            steps = steps_round(source, target, both_directions=model.config.bidirectional)
            for t, i in enumerate(most.tolist()):
                for number, (low, high) in enumerate(BINS):
                    if low <= int(steps[t, i]) <= high:
                        for way, into in kept[name].items():
                            into[number].append(float(measured[name][way][t, i]))
        context = measured["trained"]["context"]
        by_weight["high"] += context[weights > 0.5].tolist()
        by_weight["low"] += context[(weights < 0.01)].tolist()
        squares = {
            way: float(measured["trained"][way].square().sum()) for way in ("context", "memory")
        }
        share.append((squares["context"], squares["memory"]))
    result: dict[str, Any] = {
        "sentences": len(chosen),
        "bins": [f"{low}–{high}" for low, high in BINS],
        "by_weight": {name: statistics.geometric_mean(v) for name, v in by_weight.items()},
        "context_share": ratio(share),
    }
    result["by_weight"]["ratio"] = result["by_weight"]["high"] / result["by_weight"]["low"]
    for name, ways in kept.items():
        result[name] = {
            way: {
                "mean": [statistics.geometric_mean(v) if len(v) >= 30 else None for v in columns],
                "low": [statistics.quantiles(v, n=4)[0] if len(v) >= 30 else None for v in columns],
                "high": [
                    statistics.quantiles(v, n=4)[2] if len(v) >= 30 else None for v in columns
                ],
                "pairs": [len(v) for v in columns],
            }
            for way, columns in ways.items()
        }
        for way in ways:
            means = [mean for mean in result[name][way]["mean"] if mean is not None]
            result[name][way]["first_over_last"] = means[0] / means[-1]
            result[name][way]["last_over_first"] = means[-1] / means[0]
    for name in ("trained", "fresh"):
        first = result[name]["context"]["mean"][0] / result[name]["handed"]["mean"][0]
        pairs_of_means = [
            (c, h)
            for c, h in zip(
                result[name]["context"]["mean"], result[name]["handed"]["mean"], strict=True
            )
            if c is not None
        ]
        result[name]["context_over_handed"] = {
            "near": first,
            "far": pairs_of_means[-1][0] / pairs_of_means[-1][1],
        }
    return result


# --- what the weights show ------------------------------------------------------------------------


def alignment(count: int = 500) -> dict[str, Any]:
    """On the grammar, whose links are known: does the largest weight lie on a linked word?"""
    translator = load(GRAMMAR)
    longest = 20  # as in training; no test sentence is among the training sentences
    pairs = grammar.corpus(train=0, longest=longest).test[:count]
    names = ("right", "before", "after", "elsewhere", "diagonal", "chance", "exact")
    hits: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    entropies: dict[str, list[float]] = {"all": [], "right": [], "wrong": []}
    mass = []
    written = translate(translator, [pair.source for pair in pairs], progress=True)
    for pair, words in zip(tqdm(pairs, desc="alignment"), written, strict=True):
        assert pair.links is not None
        weights = decode(translator, pair.source, target=pair.target).weights
        assert weights is not None
        linked: dict[int, set[int]] = {}
        for i, t in pair.links:
            linked.setdefault(t, set()).add(i)
        found = dict.fromkeys(names, 0.0)
        inside = 0.0
        for t, right in linked.items():
            row = torch.tensor(weights[t])
            most = int(row.argmax())
            entropy = float(torch.special.entr(row).sum())
            found["right"] += most in right
            if most not in right:
                found["after"] += most - 1 in right
                found["before"] += most - 1 not in right and most + 1 in right
                found["elsewhere"] += most - 1 not in right and most + 1 not in right
            found["diagonal"] += min(t, len(row) - 1) in right
            found["chance"] += len(right) / len(row)
            entropies["all"].append(entropy)
            entropies["right" if most in right else "wrong"].append(entropy)
            inside += float(row[sorted(right)].sum())
        for name in names:
            if name != "exact":
                hits[name].append((found[name], float(len(linked))))
        hits["exact"].append((float(tuple(words) == pair.target), 1.0))
        mass.append((inside, float(len(linked))))
    return {
        "sentences": count,
        "longest": longest,
        "linked_words": len(entropies["all"]),
        "mass_on_links": ratio(mass),
        "entropy": {name: statistics.fmean(values) for name, values in entropies.items() if values},
        **{name: ratio(values) for name, values in hits.items()},
    }


def control(name: str, count: int = 500) -> dict[str, float]:
    """Exact match on the grammar's test sentences: every word right."""
    pairs = grammar.corpus(train=0, longest=20).test[:count]
    written = translate(load(name), [pair.source for pair in pairs], progress=True)
    return interval(
        [float(tuple(words) == pair.target) for words, pair in zip(written, pairs, strict=True)]
    )


def mass() -> dict[str, Any]:
    """On Multi30k: where the weights lie, over the model's own greedy translations of the test."""
    translator, pairs = load(DOT), multi30k("test")
    names = ("end", "punctuation", "top", "end_is_most", "punctuation_is_most", "entropy")
    sums: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    length: list[tuple[float, float]] = []
    parked: dict[str, list[float]] = {}
    written = [
        SentencePair(pair.source, tuple(words), None)
        for pair, words in zip(pairs, translations(DOT, 1), strict=True)
    ]
    for pair in tqdm(written, desc="mass"):
        (example,) = translator.examples([pair])
        with torch.inference_mode():
            attended = translator(collate([example])).attention
        keep = [t for t, word in enumerate(pair.target) if word not in PUNCTUATION]
        if not keep:
            continue
        weights = attended.weights[0, keep]
        marks = torch.tensor([token in PUNCTUATION for token in (*pair.source, "<eos>")])
        most = weights.argmax(-1)
        found = {
            "end": weights[:, -1].sum(),
            "punctuation": weights[:, marks].sum(),
            "top": weights.max(-1).values.sum(),
            "end_is_most": (most == weights.shape[1] - 1).sum(),
            "punctuation_is_most": marks[most].sum(),
            "entropy": torch.special.entr(weights).sum(),
        }
        for name in names:
            sums[name].append((float(found[name]), float(len(keep))))
        length.append((float(weights.shape[1]), 1.0))
        for t, row in zip(keep, weights, strict=True):
            if t < len(pair.target):
                parked.setdefault(pair.target[t], []).append(float(row[marks].sum() + row[-1]))
    most_parked = sorted(
        ((statistics.fmean(rows), word) for word, rows in parked.items() if len(rows) >= 50),
        reverse=True,
    )
    result: dict[str, Any] = {name: ratio(values) for name, values in sums.items()}
    result["effective_words"] = float(torch.tensor(result["entropy"]["mean"]).exp())
    result["source_length"] = ratio(length)["mean"]
    result["parked"] = [{"word": word, "mean": mean} for mean, word in most_parked[:5]]
    return result


@torch.inference_mode()
def three() -> dict[str, Any]:
    """Sentences that begin with *drei* and whose translation begins with *three*.

    Where does the weight of the first step lie, and is the first word still *three* when the
    attention may not look at *drei*, or at ``<eos>``, or when the encoder reads ``<unk>`` instead?
    """
    translator = load(DOT)
    decoder, attention = translator.decoder, attention_of(translator)
    pairs = multi30k("test")
    chosen = [
        pair.source
        for pair, words in zip(pairs, translations(DOT, 1), strict=True)
        if pair.source[0] == "drei" and words[:1] == ["three"]
    ]
    others = [
        pair.source
        for pair, words in zip(pairs, translations(DOT, 1), strict=True)
        if pair.source[0] == "zwei" and words[:1] == ["two"]
    ]

    def first(source: Sequence[str]) -> tuple[str, Tensor]:
        ids = torch.tensor([[*translator.source_ids(source), EOS]])
        encoded = translator.encode(ids, torch.tensor([ids.shape[1]]))
        decoded = decoder(torch.tensor([[SOS]]), encoded)
        word = decoder.logits(decoded.readouts[0, 0]).argmax()
        return translator.target_vocabulary.decode([int(word)])[0], decoded.attention.weights[0, 0]

    def hiding(position: int) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda weights, _mask: without(
            weights,
            torch.full_like(weights[..., :1], position % weights.shape[-1], dtype=torch.long),
        )

    rows = [first(source)[1] for source in chosen]
    result: dict[str, Any] = {
        "sentences": len(chosen),
        "on_drei": statistics.fmean(float(row[0]) for row in rows),
        "on_end": statistics.fmean(float(row[-1]) for row in rows),
        "two": {
            "sentences": len(others),
            "on_zwei": statistics.fmean(float(first(source)[1][0]) for source in others),
        },
    }
    for name, position in (("drei_hidden", 0), ("end_hidden", -1)):
        decoder.attention = Replaced(attention, hiding(position))
        result[name] = sum(first(source)[0] == "three" for source in chosen)
    decoder.attention = Replaced(attention, uniform)
    result["uniform"] = sum(first(source)[0] == "three" for source in chosen)
    decoder.attention = attention
    result["drei_unread"] = sum(first(("<unk>", *source[1:]))[0] == "three" for source in chosen)
    return result


# --- the opening sentence, and what it costs ------------------------------------------------------


def opening(number: int, names: Sequence[str]) -> dict[str, Any]:
    """One test sentence: source, reference, and what the models write (greedy)."""
    pair = multi30k("test")[number]
    result: dict[str, Any] = {
        "number": number,
        "source": " ".join(pair.source),
        "reference": " ".join(pair.target),
    }
    for name in names:
        result[name] = " ".join(translations(name, 1)[number])
    return result


def cost(name: str = DOT) -> dict[str, Any]:
    """Multiplications of one sentence, by part, from the sizes of the model."""
    config = load(name).config
    assert isinstance(config, RecurrentConfig)
    words = len(load(name).target_vocabulary)
    hidden, embedding = config.hidden_dim, config.embedding_dim
    result: dict[str, Any] = {"hidden": hidden, "embedding": embedding, "words": words}
    for length in (13, 130):
        parts: dict[str, float] = {
            "scores": length * length * hidden,
            "contexts": length * length * hidden,
            "recurrence": length * 4 * hidden * (embedding + hidden),
            "combine": length * 2 * hidden * embedding,
            "output": length * embedding * words,
        }
        attention = parts["scores"] + parts["contexts"]
        parts["share"] = attention / sum(parts.values())
        result[str(length)] = {**parts, "dot_products": length * length}
    return result


# --- figures --------------------------------------------------------------------------------------


def draw_gradients(result: dict[str, Any]) -> Figure:
    """Norms by distance, after and before training."""
    figure, axes = plt.subplots(2, 1, figsize=(4.6, 6.0), sharex=True)
    x = list(range(len(result["bins"])))
    series = {
        "trained": [
            ("trained", "context", "through\nthe context", plots.CONTEXT, "-"),
            ("trained", "handed", "round the\nrecurrence", plots.QUERY, "-"),
        ],
        "fresh": [
            ("fresh", "context", "through\nthe context", plots.CONTEXT, "-"),
            ("fresh", "handed", "round the\nrecurrence", plots.QUERY, "-"),
        ],
    }
    titles = ("After training", "Before training")
    for ax, (_, lines), title in zip(axes, series.items(), titles, strict=True):
        for model, way, label, colour, dash in lines:
            row = result[model][way]
            shown = [k for k in x if row["mean"][k] is not None]
            means = [row["mean"][k] for k in shown]
            ax.fill_between(
                shown,
                [row["low"][k] for k in shown],
                [row["high"][k] for k in shown],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            ax.plot(shown, means, dash, color=colour, marker="o", markersize=4)
            ax.annotate(
                label,
                (shown[-1], means[-1]),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
            )
        ax.set_yscale("log")
        ax.set_ylabel("gradient norm")
        ax.set_title(title)
    axes[-1].set_xticks(x, result["bins"])
    axes[-1].set_xlabel("recurrent steps from the source word\nto the decoder state")
    return figure


def draw_bleu(result: dict[str, Any]) -> Figure:
    """One line a model: greedy and beam 5, with intervals."""
    labels = {
        FIXED: "one vector",
        DOT: "dot-product\nattention",
    }
    shown = [name for name in TRANSLATORS if name in result]
    figure, ax = plt.subplots(figsize=(4.6, 2.1))
    for row, name in enumerate(shown):
        colour = plots.CONTEXT if name == DOT else "black"
        for beam, offset, face in ((1, 0.14, "none"), (5, -0.14, colour)):
            found = result[name][f"beam{beam}"]
            ax.plot([found["low"], found["high"]], [row - offset] * 2, color=colour, linewidth=1.4)
            ax.plot(
                found["bleu"],
                row - offset,
                "o",
                color=colour,
                markerfacecolor=face,
                markersize=6,
            )
            if name == DOT:
                ax.annotate(
                    "greedy" if beam == 1 else "beam 5",
                    (found["high"], row - offset),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=10,
                )
    ax.set_yticks(range(len(shown)), [labels[name] for name in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlim(0, 45)
    ax.set_xlabel("BLEU, Multi30k test 2016, de→en")
    return figure


def heatmap_of_three() -> Figure:
    """The weights of one test sentence's greedy translation."""
    trace = decode(load(DOT), multi30k("test")[THREE].source)
    plots.heatmap(trace, title="Right word, other place")
    return plt.gcf()


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """The figures that need no model."""
    return {
        "dot-attention-bleu": draw_bleu(result["quality"]),
        "dot-attention-gradients": draw_gradients(result["gradients"]),
    }


# --- everything -----------------------------------------------------------------------------------

# Test sentences shown on the page, chosen by reading; what was looked for stands in the text.
OPENING = 159
THREE = 858


def all_quality() -> dict[str, Any]:
    """Both models, and how far apart they are."""
    found = {name: cached(f"quality-{name}", quality, name) for name in TRANSLATORS}
    return found | {
        "gap": {
            f"beam{beam}": found[DOT][f"beam{beam}"]["bleu"] - found[FIXED][f"beam{beam}"]["bleu"]
            for beam in (1, 5)
        }
    }


def all_alignment() -> dict[str, Any]:
    """Where the grammar model's weights lie, and what it would be without them."""
    found: dict[str, Any] = cached("alignment", alignment)
    plain = cached("control", control, "grammar-sutskever")
    beside = found["before"]["mean"] + found["after"]["mean"]
    return found | {"beside": beside, "exact_without": plain}


def shown() -> dict[str, Any]:
    """The sentences that the page shows, and what a step costs."""
    pair = multi30k("test")[THREE]
    return {
        "opening": opening(OPENING, TRANSLATORS),
        "cost": cost(),
        "three": {
            "source": " ".join(pair.source),
            "reference": " ".join(pair.target),
            "written": " ".join(translations(DOT, 1)[THREE]),
            "number": str(THREE),
        },
    }


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    fixed, dot = (result["quality"][name] for name in TRANSLATORS)
    gradients, align = result["gradients"], result["alignment"]
    three, changes = result["three"], result["interventions"]["changed"]
    opening = result["shown"]["opening"]
    parked = [one["word"] for one in result["mass"]["parked"]]
    fresh, trained = gradients["fresh"], gradients["trained"]
    level = [mean for mean in fresh["context"]["mean"] if mean is not None]
    return {
        "attention writes the reference of the first sentence": opening[DOT]
        == opening["reference"],
        "the other one is about a woman in blue and has no camera": opening[FIXED].startswith(
            "the woman in blue is speaking"
        )
        and "camera" not in opening[FIXED],
        "attention lies far to the right, and the intervals do not touch": all(
            dot[beam]["low"] > fixed[beam]["high"] for beam in ("beam1", "beam5")
        ),
        "it has fewer parameters": dot["parameters"] < fixed["parameters"],
        "without attention half as many grammar sentences are right": align["exact_without"]["mean"]
        < align["exact"]["mean"] / 2,
        "before training the way round falls by more than two powers of ten": fresh["handed"][
            "first_over_last"
        ]
        > 100,
        "the way through the context stays level": max(level) < 1.5 * min(level),
        "near by the long way carries more, far away the short one does": fresh[
            "context_over_handed"
        ]["near"]
        < 1
        < fresh["context_over_handed"]["far"],
        "after training both are nearly level": trained["handed"]["first_over_last"] < 5
        and trained["context"]["first_over_last"] < 1,
        "and the one through the context is far above": trained["context_over_handed"]["near"] > 4,
        "most of the gradient through the memory is in the word's own state": gradients[
            "context_share"
        ]["low"]
        > 0.5,
        "a word without weight gets a thousandth of the gradient": gradients["by_weight"]["ratio"]
        > 1000,
        "where weights are right they spread over one and a half words": 1.45
        < math.exp(align["entropy"]["right"])
        < 1.6,
        "wrong ones spread wider": align["entropy"]["wrong"] > align["entropy"]["right"],
        "far better than the word at the same position, and that than any": align["right"]["low"]
        > align["diagonal"]["high"]
        > align["chance"]["high"],
        "most errors lie on a neighbour": align["beside"] > align["elsewhere"]["mean"],
        "little lies on the end marker": result["mass"]["end"]["high"] < 0.01,
        "small words park their weight": parked[:3] == ["of", "to", "while"],
        "three looks at the end and two at zwei": three["on_end"] > 5 * three["on_drei"]
        and three["two"]["on_zwei"] > 0.9,
        "three comes from drei, by whatever way": three["drei_hidden"]
        == three["end_hidden"]
        == three["sentences"]
        and three["drei_unread"] == 0,
        "it is a good translation": result["shown"]["three"]["written"]
        == result["shown"]["three"]["reference"],
        "hiding the most attended word matters far more than another": changes["hide_most"]["low"]
        > 20 * changes["hide_other"]["high"],
        "and taking it from the encoder more than anything": changes["unread"]["low"]
        > max(part["high"] for name, part in changes.items() if name != "unread"),
        "frequent words change less": result["interventions"]["hidden_by_word"]["frequent"]["high"]
        < result["interventions"]["hidden_by_word"]["other"]["low"] / 2,
        "attention's share of the cost grows with the length": result["shown"]["cost"]["130"][
            "share"
        ]
        > 5 * result["shown"]["cost"]["13"]["share"],
    }


def finish() -> None:
    """The figure of weights, for which the model has to be there."""
    with plots.style():
        figure = heatmap_of_three()
        plots.save(figure, FIGURES / "dot-attention-three.svg")
        plt.close(figure)


SCRIPT = Script(
    doc=__doc__,
    parts={
        "quality": all_quality,
        "interventions": (interventions,),
        "gradients": (gradients,),
        "alignment": all_alignment,
        "mass": (mass,),
        "three": (three,),
        "shown": shown,
    },
    check=check,
    seeds={"models": 0, "bootstrap": 0, "permutation": 0},
    draw=draw,
    cache=cached,
    finish=finish,
)

if __name__ == "__main__":
    SCRIPT.run()
