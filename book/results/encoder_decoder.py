"""The measurements of chapter 3: two networks, two ways of feeding them, two ways of searching.

    python book/results/encoder_decoder.py               # everything; writes JSON and figures
    python book/results/encoder_decoder.py --available   # what can be had of the models trained
    python book/results/encoder_decoder.py --figures     # only draw again

The models come from book/results/train.py. Finished parts are kept in the user's cache, so that
an interrupted run goes on where it stopped; --fresh measures all of them again. One thread, CPU.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
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
    derangement,
    interval,
    resample,
    spread,
    stored,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from attnbook import grammar, plots
from attnbook.batches import bucketed_batches, collate, pad
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoders import RecurrentDecoder
from attnbook.decoding import beam_search, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import bleu, free_running_perplexity, teacher_forced_perplexity
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import TrainingConfig, train
from attnbook.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary

cached = Cache("encoder_decoder")
MODELS = {"sutskever": "multi30k-sutskever", "cho": "multi30k-cho", "dot": "multi30k-dot"}
BEAMS = (1, 2, 5, 10)
PENALTIES = (0.0, 1.0)
PARTING = "multi30k-cho"
SENTENCE = 4  # of the test set, counted from 0: "leute reparieren das dach eines hauses ."
POSITIONS = 15
SEEDS = (0, 1, 2)


# --- the data ---------------------------------------------------------------------------------


def lengths() -> dict[str, Any]:
    """How far translation is from giving every word a label."""
    pairs = multi30k("train")
    source = [len(pair.source) for pair in pairs]
    target = [len(pair.target) for pair in pairs]
    sentences = grammar.corpus(train=0, val=0, test=2000).test
    diagonal, late, words = 0, 0, 0
    for pair in sentences:
        assert pair.links is not None
        diagonal += pair.links == {(i, i) for i in range(len(pair.source))} and (
            len(pair.source) == len(pair.target)
        )
        last: dict[int, int] = {}
        for i, j in pair.links:
            last[j] = max(i, last.get(j, 0))
        words += len(last)
        late += sum(i > j for j, i in last.items())
    return {
        "pairs": len(pairs),
        "equal": sum(a == b for a, b in zip(source, target, strict=True)) / len(pairs),
        "source_mean": statistics.fmean(source),
        "target_mean": statistics.fmean(target),
        "source_longest": max(source),
        "grammar_sentences": len(sentences),
        "grammar_diagonal": diagonal / len(sentences),
        "grammar_late": late / words,
    }


def padding() -> dict[str, Any]:
    """The share of padding in Multi30k's rectangles, batched at random and by length."""
    pairs = multi30k("train")
    source = Vocabulary.from_sentences(pair.source for pair in pairs)
    target = Vocabulary.from_sentences(pair.target for pair in pairs)
    examples = [(source.encode(pair.source), target.encode(pair.target)) for pair in pairs]
    buckets = bucketed_batches(examples, 1600, seed=0)
    size = round(len(examples) / len(buckets))
    order = derangement(len(examples), seed=0)
    at_random = [order[start : start + size] for start in range(0, len(order), size)]

    def share(batches: Sequence[Sequence[int]]) -> float:
        cells = padded = 0
        for numbers in batches:
            batch = collate([examples[number] for number in numbers])
            for side in (batch.source, batch.target_in):
                cells += side.numel()
                padded += int((side == PAD).sum())
        return padded / cells

    return {"size": size, "random": share(at_random), "bucketed": share(buckets)}


# --- one model --------------------------------------------------------------------------------


def parameters(translator: Translator) -> dict[str, Any]:
    """How many numbers each part holds."""

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    encoder, decoder = translator.encoder, translator.decoder
    assert isinstance(encoder, Encoder)
    assert isinstance(decoder, RecurrentDecoder)
    rest = (
        translator.count_parameters() - count(encoder) - count(decoder.embedding)
        - count(decoder.recurrent)
    )  # fmt: skip
    assert isinstance(translator.config, RecurrentConfig)
    return {
        "all": translator.count_parameters(),
        "encoder": count(encoder),
        "decoder": translator.count_parameters() - count(encoder),
        "encoder_embedding": count(encoder.embedding),
        "encoder_recurrent": count(encoder.recurrent),
        "decoder_embedding": count(decoder.embedding),
        "decoder_recurrent": count(decoder.recurrent),
        "decoder_rest": rest,
        "source_words": len(translator.source_vocabulary),
        "target_words": len(translator.target_vocabulary),
        "hidden": translator.config.hidden_dim,
        "embedding": translator.config.embedding_dim,
    }


@torch.inference_mode()
def both_ways(translator: Translator, pairs: Sequence[SentencePair]) -> list[dict[str, Any]]:
    """Each reference word's log-probability after the right words and after the model's own.

    As in :mod:`attnbook.evaluation`: running freely the model may not stop before the reference
    does. Beside them, the words that are most probable in either case.
    """
    examples = translator.examples(pairs)
    found: list[dict[str, Any]] = [{} for _ in pairs]
    for numbers in bucketed_batches(examples, 4000, seed=0):
        batch = collate([examples[number] for number in numbers])
        encoded = translator.encode(batch.source, batch.source_lengths)
        words = batch.target_out.unsqueeze(-1)

        def log_probs(readouts: torch.Tensor) -> torch.Tensor:
            return torch.log_softmax(translator.decoder.logits(readouts), dim=-1)

        forced = log_probs(translator.decoder(batch.target_in, encoded).readouts)
        cache = translator.decoder.start(encoded)
        word = torch.full((len(numbers), 1), SOS)
        free, own = [], []
        for step in range(words.shape[1]):
            decoded = translator.decoder(word, cache)
            cache = decoded.cache
            here = log_probs(decoded.readouts[:, -1])
            free.append(here.gather(1, words[:, step]).squeeze(1))
            here[:, [PAD, SOS, EOS]] = -torch.inf
            word = here.argmax(dim=-1, keepdim=True)
            own.append(word.squeeze(1))
        right = forced.gather(2, words).squeeze(2)
        choice = forced.argmax(dim=-1)
        for row, number in enumerate(numbers):
            size = int(batch.target_lengths[row])
            found[number] = {
                "forced": right[row, :size].tolist(),
                "forced_choice": choice[row, :size].tolist(),
                "free": torch.stack(free, dim=1)[row, :size].tolist(),
                "own": torch.stack(own, dim=1)[row, :size].tolist(),
                "right": batch.target_out[row, :size].tolist(),
            }
    return found


def forcing(name: str) -> dict[str, Any]:
    """Two perplexities, and what they look like by position."""
    translator = models.load(name)
    pairs = multi30k("test")
    rows = both_ways(translator, pairs)
    result: dict[str, Any] = {}
    for way, package in (("forced", teacher_forced_perplexity), ("free", free_running_perplexity)):
        values = [value for row in rows for value in row[way]]
        result[f"{way}_perplexity"] = math.exp(-statistics.fmean(values))
        again = package(translator, pairs)
        if abs(result[f"{way}_perplexity"] / again - 1) > 1e-3:
            raise AssertionError(f"{way}: {result[f'{way}_perplexity']} here, {again} there")
    choices = [[c == r for c, r in zip(x["forced_choice"], x["right"], strict=True)] for x in rows]
    result["forced_accuracy"] = statistics.fmean(hit for row in choices for hit in row)
    result["by_position"] = {
        way: [
            statistics.fmean(
                100 * (row[key][t] == row["right"][t])
                for row in rows
                if len(row["right"]) - 1 > t  # <eos>, which free running may not choose, left out
            )
            for t in range(POSITIONS)
        ]
        for way, key in (("forced", "forced_choice"), ("free", "own"))
    }
    # The wrong way to compute BLEU: every word chosen after the right ones, stopped where the
    # reference stops.
    decode = translator.target_vocabulary.decode
    cheated = [decode(word for word in row["forced_choice"][:-1]) for row in rows]
    result["cheated_bleu"] = bleu(cheated, [pair.target for pair in pairs]).score
    return result


def conditional(name: str) -> dict[str, Any]:
    """Teacher-forced perplexity of the right translation, given another sentence's source."""
    translator = models.load(name)
    pairs = multi30k("test")
    strangers = [
        teacher_forced_perplexity(
            translator,
            [
                SentencePair(pairs[j].source, pair.target)
                for pair, j in zip(pairs, derangement(len(pairs), seed), strict=True)
            ],
        )
        for seed in (0, 1, 2)
    ]
    return {
        "right": teacher_forced_perplexity(translator, pairs),
        "wrong": spread(strangers),
    }


def parting(translator: Translator) -> dict[str, Any]:
    """One sentence, word by word, after the right words and after the model's own."""
    pair = multi30k("test")[SENTENCE]
    row = both_ways(translator, [pair])[0]
    decode = translator.target_vocabulary.decode
    own = decode(row["own"])
    reference = [*pair.target, "<eos>"]
    return {
        "source": " ".join(pair.source),
        "reference": reference,
        "forced": [math.exp(value) for value in row["forced"]],
        "forced_choice": decode(row["forced_choice"]),
        "free": [math.exp(value) for value in row["free"]],
        "own": own,
        "forced_perplexity": math.exp(-statistics.fmean(row["forced"])),
        "free_perplexity": math.exp(-statistics.fmean(row["free"])),
    }


@torch.inference_mode()
def searched(name: str, beam_size: int) -> dict[str, Any]:
    """Test translations by beam search: log-probability, words, under both ways of choosing.

    The length penalty only chooses among the finished translations, so one search serves both.
    """
    translator = models.load(name)
    pairs = multi30k("test")
    examples = [[*ids, EOS] for ids, _ in translator.examples(pairs)]
    order = sorted(range(len(pairs)), key=lambda number: len(examples[number]))
    found: dict[str, list[Any]] = {str(penalty): [None] * len(pairs) for penalty in PENALTIES}
    size = 200 // beam_size
    for start in range(0, len(order), size):
        numbers = order[start : start + size]
        source, sizes = pad([examples[number] for number in numbers])
        for number, hypotheses in zip(
            numbers,
            beam_search(translator, translator.encode(source, sizes), beam_size=beam_size),
            strict=True,
        ):
            for penalty in PENALTIES:
                best = max(hypotheses, key=lambda hypothesis: hypothesis.score(penalty))
                ids = best.ids[:-1] if best.finished else best.ids
                found[str(penalty)][number] = [
                    best.log_prob,
                    translator.target_vocabulary.decode(ids),
                ]
    return found


def all_searched(name: str) -> dict[int, dict[str, Any]]:
    """By beam size."""
    return {beam: cached(f"{name}-beam{beam}", searched, name, beam) for beam in BEAMS}


def searches(name: str) -> dict[str, Any]:
    """BLEU, length and log-probability by beam size, against greedy search sentence by sentence."""
    translator, rows = models.load(name), all_searched(name)
    pairs = multi30k("test")
    references = [pair.target for pair in pairs]
    with torch.inference_mode():
        forced = both_ways(translator, pairs)
    # Words outside the vocabulary make a reference's probability that of another sentence.
    known = [
        all(word in translator.target_vocabulary for word in reference) for reference in references
    ]
    gold = [sum(row["forced"]) for row in forced]
    draws = resample(len(pairs), 1000)
    greedy = bleu_counts([words for _, words in rows[1]["1.0"]], references)
    result: dict[str, Any] = {}
    for penalty in PENALTIES:
        for beam_size in BEAMS:
            here = rows[beam_size][str(penalty)]
            counts = bleu_counts([words for _, words in here], references)
            entry: dict[str, Any] = bleu_with_interval(counts)
            package = bleu([words for _, words in here], references).score
            if abs(package - entry["score"]) > 1e-6:
                raise AssertionError(f"BLEU {entry['score']} here, {package} by sacrebleu")
            gain = bleu_of(draws @ counts) - bleu_of(draws @ greedy)
            low, high = interval(gain)
            entry["gain"] = {
                "score": entry["score"] - float(bleu_of(greedy.sum(axis=0))),
                "low": low,
                "high": high,
            }
            entry["words"] = statistics.fmean(len(words) for _, words in here)
            entry["length_ratio"] = float(counts[:, 8].sum() / counts[:, 9].sum())
            entry["log_prob"] = statistics.fmean(value for value, _ in here)
            entry["beats_greedy"] = statistics.fmean(
                value > first + 1e-4
                for (value, _), (first, _) in zip(here, rows[1]["1.0"], strict=True)
            )
            entry["search_errors"] = statistics.fmean(
                right > value + 1e-4
                for (value, _), right, all_known in zip(here, gold, known, strict=True)
                if all_known
            )
            result.setdefault(f"penalty{penalty:.0f}", {})[f"beam{beam_size}"] = entry
    result["signature"] = bleu(references, references).signature
    result["reference_words"] = statistics.fmean(len(words) for words in references)
    result["known_references"] = sum(known)
    return result


# --- another task -----------------------------------------------------------------------------

FACTS = """
austria: vienna, german, europe | brazil: brasília, portuguese, south america
china: beijing, chinese, asia | cuba: havana, spanish, north america
denmark: copenhagen, danish, europe | egypt: cairo, arabic, africa
finland: helsinki, finnish, europe | france: paris, french, europe
germany: berlin, german, europe | greece: athens, greek, europe
hungary: budapest, hungarian, europe | iceland: reykjavík, icelandic, europe
iran: tehran, persian, asia | italy: rome, italian, europe
japan: tokyo, japanese, asia | mexico: mexico city, spanish, north america
norway: oslo, norwegian, europe | peru: lima, spanish, south america
poland: warsaw, polish, europe | portugal: lisbon, portuguese, europe
senegal: dakar, french, africa | spain: madrid, spanish, europe
sweden: stockholm, swedish, europe | thailand: bangkok, thai, asia
turkey: ankara, turkish, asia | vietnam: hanoi, vietnamese, asia
"""
ASKED = {
    "capital": (
        "{country} 's capital is {fact}",
        "what is the capital of {country} ?",
        "which city is the capital of {country} ?",
        "tell me the capital of {country} .",
        "what is {country} 's capital called ?",
        "from which city is {country} governed ?",
        "do you know the capital of {country} ?",
    ),
    "language": (
        "people in {country} speak {fact}",
        "what do people speak in {country} ?",
        "which language is spoken in {country} ?",
        "what language do they speak in {country} ?",
        "if i go to {country} , which language do i need ?",
        "tell me what is spoken in {country} .",
        "in {country} , how do people talk ?",
    ),
    "continent": (
        "{country} lies in {fact}",
        "where is {country} ?",
        "on which continent is {country} ?",
        "which continent does {country} belong to ?",
        "tell me where {country} lies .",
        "if i go to {country} , where am i ?",
        "do you know where {country} is ?",
    ),
}


def questions() -> dict[tuple[str, str], list[SentencePair]]:
    """For each country and kind of fact six ways to ask for it, with the answer."""
    found = {}
    for entry in FACTS.replace("\n", "|").split("|"):
        if not entry.strip():
            continue
        country, facts = entry.strip().split(": ")
        for kind, fact in zip(ASKED, facts.split(", "), strict=True):
            answer, *ways = ASKED[kind]
            found[country, kind] = [
                SentencePair(
                    tuple(way.format(country=country).split()),
                    tuple(answer.format(country=country, fact=fact).split()),
                )
                for way in ways
            ]
    return found


def answering(seed: int) -> dict[str, Any]:
    """Hold out one way of asking for every fact, train on the others, count right answers.

    One country is left out altogether, to see what the model says of what nobody told it.
    """
    chance = random.Random(seed)
    groups = questions()
    stranger = [pair for (country, _), ways in groups.items() if country == "peru" for pair in ways]
    test, rest = [], []
    for (country, _), ways in groups.items():
        if country != "peru":
            held_out = chance.randrange(len(ways))
            test.append(ways[held_out])
            rest += ways[:held_out] + ways[held_out + 1 :]
    everything = [*test, *rest, *stranger]
    source, target = (
        Vocabulary.from_sentences(getattr(pair, side) for pair in everything)
        for side in ("source", "target")
    )
    torch.manual_seed(seed)
    translator = Translator.from_config(
        RecurrentConfig(
            decoder="sutskever", embedding_dim=64, hidden_dim=64, dropout=0.1, embedding_std=1.0
        ),
        source,
        target,
    )
    settings = TrainingConfig(
        epochs=60, batch_tokens=200, learning_rate=1e-2, label_smoothing=0.0, seed=seed
    )
    train(translator, rest, rest[:40], settings)
    answers = translate(translator, [pair.source for pair in test])
    right = [tuple(answer) == pair.target for answer, pair in zip(answers, test, strict=True)]
    shown = [number for number, pair in enumerate(test) if "france" in pair.source]
    unknown = stranger[0]
    return {
        "right": statistics.fmean(right),
        "asked": len(test),
        "trained": len(rest),
        "shown": [[" ".join(test[i].source), " ".join(answers[i])] for i in shown],
        "stranger": [
            " ".join(unknown.source), " ".join(translate(translator, [unknown.source])[0])
        ],
    }  # fmt: skip


# --- all together -----------------------------------------------------------------------------


def test_pairs() -> int:
    """How many test captions there are."""
    return len(multi30k("test"))


def of_model(name: str) -> dict[str, Any]:
    """All that is measured of one model."""
    translator, rows = models.load(name), all_searched(name)
    part: dict[str, Any] = {
        "parameters": parameters(translator),
        "epochs": models.MODELS[name].training.epochs,
        "forcing": cached(f"{name}-forcing", forcing, name),
        "conditional": cached(f"{name}-source", conditional, name),
        "search": cached(f"{name}-search", searches, name),
        "first_caption": {
            "beam5": " ".join(rows[5]["1.0"][0][1]),
            "greedy": " ".join(rows[1]["1.0"][0][1]),
        },
    }
    return part | ({"parting": parting(translator)} if name == PARTING else {})


def of_sutskever() -> dict[str, Any]:
    """Sutskever's decoder."""
    return of_model(MODELS["sutskever"])


def of_cho() -> dict[str, Any]:
    """Cho's decoder."""
    return of_model(MODELS["cho"])


def of_dot() -> dict[str, Any]:
    """Luong's decoder, which attends."""
    return of_model(MODELS["dot"])


def all_answers() -> dict[str, Any]:
    """Three trainings on questions."""
    runs = [cached(f"answering-{seed}", answering, seed) for seed in SEEDS]
    return {
        **{key: runs[0][key] for key in ("asked", "trained", "shown", "stranger")},
        "right": spread(run["right"] for run in runs),
    }


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    sutskever, cho, dot = (result[name] for name in MODELS)
    vectors = stored("vectors")
    three_words = vectors["neural"]["summary"]["test"]["mean"]
    parting, positions = cho["parting"], cho["forcing"]["by_position"]
    own, right = parting["own"], parting["reference"]
    first = next(t for t, (a, b) in enumerate(zip(own, right, strict=True)) if a != b)
    after = parting["free"][first + 1 :]
    falls = [part["search"]["penalty0"] for part in (sutskever, cho, dot)]
    gains = {name: result[name]["search"]["penalty1"]["beam5"]["gain"] for name in MODELS}
    scores = {
        name: [result[name]["search"]["penalty1"][f"beam{n}"]["score"] for n in BEAMS]
        for name in MODELS
    }
    answers = result["answering"]
    return {
        "lengths differ in four pairs of five": abs(result["lengths"]["equal"] - 0.2) < 0.05,
        "hardly a sentence could be labelled": result["lengths"]["grammar_diagonal"] < 0.02,
        "half of the rectangles would be padding, and buckets save nearly all": result["padding"][
            "random"
        ]
        > 0.5
        and result["padding"]["bucketed"] < 0.05,
        "most of the encoder are word vectors": sutskever["parameters"]["encoder_embedding"]
        > sutskever["parameters"]["encoder"] / 2,
        "both LSTMs are equally large": sutskever["parameters"]["encoder_recurrent"]
        == sutskever["parameters"]["decoder_recurrent"],
        "with the wrong source all are far worse than a model without one": all(
            part["conditional"]["wrong"]["low"] > 3 * three_words for part in (sutskever, cho, dot)
        ),
        "until its first own word both probabilities are one": parting["free"][: first + 1]
        == parting["forced"][: first + 1],
        "after it the right words have nearly none": sum(p < 0.1 for p in after) == len(after),
        "and the perplexity is a hundred times as high": parting["free_perplexity"]
        > 100 * parting["forced_perplexity"],
        "fed the right words the share stays level": min(positions["forced"][2:])
        > max(positions["forced"][2:]) - 11,
        "fed its own it falls within the first positions": positions["free"][0] > 80
        and max(positions["free"][5:]) < 25,
        "two columns of perplexity measure different things": dot["forcing"]["free_perplexity"]
        > cho["forcing"]["free_perplexity"]
        and dot["forcing"]["forced_perplexity"] < cho["forcing"]["forced_perplexity"],
        "BLEU with the answers open flatters, and the weaker more": sutskever["forcing"][
            "cheated_bleu"
        ]
        > sutskever["search"]["penalty1"]["beam1"]["score"]
        and cho["forcing"]["cheated_bleu"] - scores["cho"][0]
        > dot["forcing"]["cheated_bleu"] - scores["dot"][0],
        "compared by means, a wider beam is better for all": all(
            values == sorted(values) for values in scores.values()
        ),
        "the beam's gain is beyond doubt for the two better models": all(
            gains[name]["low"] > 0 for name in ("cho", "dot")
        )
        and gains["sutskever"]["low"] < 0,
        "a beam of 2 takes about half of it or more": all(
            scores[name][1] - scores[name][0] > 0.4 * (scores[name][3] - scores[name][0])
            for name in MODELS
        ),
        "sums make translations shorter with every beam": all(
            [search[f"beam{n}"]["length_ratio"] for n in BEAMS]
            == sorted((search[f"beam{n}"]["length_ratio"] for n in BEAMS), reverse=True)
            for search in falls
        ),
        "and Cho's more probable": cho["search"]["penalty0"]["beam10"]["log_prob"]
        > cho["search"]["penalty0"]["beam1"]["log_prob"],
        "search errors are rare": all(search["beam5"]["search_errors"] < 0.01 for search in falls),
        "attention lies far above both": scores["dot"][0] > max(scores["cho"]) + 5
        and scores["cho"][0] > max(scores["sutskever"]),
        "nearly every answer is right": answers["right"]["low"] > 0.9,
        "the stranger gets a fluent wrong answer": "peru" in answers["stranger"][0]
        and "lima" not in answers["stranger"][1]
        and len(answers["stranger"][1].split()) > 3,
    }


# --- figures ----------------------------------------------------------------------------------


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the chapter."""
    drawn = {
        "network": draw_network(),
        "batch": draw_batch(),
        "tree": draw_tree(),
        "parting": draw_parting(result["cho"]["parting"]),
        "positions": draw_positions(result["cho"]["forcing"]["by_position"]),
        "beam": draw_beam({name: result[name]["search"] for name in MODELS}),
    }
    return {f"encoder-decoder-{name}": figure for name, figure in drawn.items()}


def _bare(width: float, height: float) -> tuple[Figure, Axes]:
    figure, ax = plt.subplots(figsize=(width, height))
    ax.set_axis_off()
    return figure, ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    ax.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, **style},
    )


def draw_network() -> Figure:
    """Encoder above, decoder below, and the one arrow between them."""
    figure, ax = _bare(4.6, 3.6)
    reads = ["ich", "möchte", "ein", "bier", "<eos>"]
    given = ["<sos>", "i'd", "like", "a", "beer"]
    writes = ["i'd", "like", "a", "beer", "<eos>"]
    half = 0.36

    def cell(x: float, y: float, text: str, colour: str, bold: bool = False) -> None:
        ax.add_patch(
            FancyBboxPatch(
                (x - half, y - 0.27), 2 * half, 0.54, boxstyle="round,pad=0,rounding_size=0.1",
                facecolor="none", edgecolor=colour, linewidth=3.0 if bold else 1.8,
            )
        )  # fmt: skip
        ax.text(x, y, text, ha="center", va="center", weight="bold" if bold else "normal")

    for i, word in enumerate(reads):
        cell(
            i, 3.1, f"$h_{i + 1}$" if i < 4 else "c", plots.KEY if i < 4 else plots.CONTEXT, i == 4
        )
        ax.text(i, 2.28, word, ha="center", va="center")
        _arrow(ax, (i, 2.44), (i, 2.82))
        if i:
            _arrow(ax, (i - 1 + half, 3.1), (i - half, 3.1))
    for i, (before, after) in enumerate(zip(given, writes, strict=True)):
        cell(i, 0.62, f"$s_{i + 1}$", plots.QUERY)
        ax.text(i, -0.2, before, ha="center", va="center")
        ax.text(i, 1.44, after, ha="center", va="center", weight="bold")
        _arrow(ax, (i, -0.04), (i, 0.34))
        _arrow(ax, (i, 0.9), (i, 1.28))
        if i:
            _arrow(ax, (i - 1 + half, 0.62), (i - half, 0.62))
    # From the last state, over the right edge and between the rows, to the decoder's first state.
    ax.plot([4 + half, 4.66, 4.66, -0.66, -0.66], [3.1, 3.1, 1.86, 1.86, 0.62],
            color=plots.CONTEXT, linewidth=2.4, solid_joinstyle="round")  # fmt: skip
    _arrow(ax, (-0.66, 0.62), (-half, 0.62), color=plots.CONTEXT, linewidth=2.4)
    ax.text(-0.36, 3.62, "encoder", ha="left", va="center", style="italic")
    ax.text(4.36, -0.62, "decoder", ha="right", va="center", style="italic")
    ax.set(xlim=(-0.75, 4.75), ylim=(-0.8, 3.8))
    ax.set_title("All that the decoder learns of the\nsource passes through one vector c")
    return figure


def batch_of_three() -> tuple[list[SentencePair], Vocabulary, Vocabulary]:
    """Three sentences of the literature and their vocabularies."""
    pairs = [grammar.literature()[number] for number in (2, 0, 3)]
    return (
        pairs,
        Vocabulary.from_sentences(pair.source for pair in pairs),
        Vocabulary.from_sentences(pair.target for pair in pairs),
    )


def draw_batch() -> Figure:
    """Three sentence pairs as three rectangles of numbers."""
    pairs, source, target = batch_of_three()
    batch = collate([(source.encode(p.source), target.encode(p.target)) for p in pairs])
    figure, ax = _bare(4.8, 5.3)
    top = 0.0
    for name, ids, words in (
        ("source", batch.source, source),
        ("target_in: what the decoder reads", batch.target_in, target),
        ("target_out: what it must write", batch.target_out, target),
    ):
        ax.text(0, top - 0.12, name, va="bottom", weight="bold")
        for row, line in enumerate(ids.tolist()):
            for column, number in enumerate(line):
                y = top + row + 0.5
                word = words.decode([number])[0]
                grey: dict[str, Any] = {"alpha": 0.45} if number == PAD else {}
                ax.add_patch(
                    Rectangle((column, top + row), 1, 1, facecolor="none", edgecolor="black",
                              linewidth=0.6, linestyle=":" if number == PAD else "-")
                )  # fmt: skip
                ax.text(column + 0.5, y - 0.14, str(number), ha="center", va="center", **grey)
                ax.text(
                    column + 0.5, y + 0.25, word, ha="center", va="center", fontsize=8.5,
                    style="italic" if word in SPECIALS else "normal", **grey,
                )  # fmt: skip
        top += 4.0
    ax.set(xlim=(-0.05, 8.05), ylim=(11.1, -0.9))
    ax.set_title("The answer stands there twice,\nshifted by one place")
    return figure


TREE = {
    (): {"a": 0.5, "the": 0.4, "two": 0.1},
    ("a",): {"man": 0.4, "dog": 0.35, "cat": 0.25},
    ("the",): {"man": 0.9, "dog": 0.1},
}


def draw_tree() -> Figure:
    """Two words, five ends: the best first word does not begin the best pair."""
    figure, ax = _bare(4.7, 3.7)
    ends = [
        (("a", "man"), 3.9), (("a", "dog"), 3.1), (("a", "cat"), 2.3),
        (("the", "man"), 1.3), (("the", "dog"), 0.5),
    ]  # fmt: skip
    roots = {"a": 3.1, "the": 0.9, "two": -0.4}
    ax.text(0, 1.7, "<sos>", ha="right", va="center")
    for word, y in roots.items():
        ax.plot([0.12, 1.35], [1.7, y], color="black", linewidth=3 if word == "a" else 1.4)
        ax.text(1.45, y, f"{word}  {TREE[()][word]:.2f}", va="center")
    ax.text(2.8, roots["two"], "whatever follows: at most 0.100", va="center", fontsize=9.5)
    for (first, second), y in ends:
        p = TREE[(first,)][second]
        product = TREE[()][first] * p
        best = (first, second) == ("the", "man")
        style: dict[str, Any] = {"color": "black", "linewidth": 1.4}
        if (first, second) == ("a", "man"):
            style["linewidth"] = 3.0
        if best:
            style |= {"color": plots.QUERY, "linewidth": 3.0, "linestyle": (0, (3, 1))}
        ax.plot([2.9, 3.95], [roots[first], y], **style)
        ax.text(4.05, y, second, va="center")
        ax.text(5.85, y, f"{p:.2f}", va="center", ha="right")
        ax.text(
            7.3, y, f"{product:.3f}", va="center", ha="right", weight="bold" if best else "normal"
        )
    ax.text(7.3, 4.6, "product", ha="right", va="center", style="italic")
    ax.text(
        1.45, -1.15, "thick: greedy search    dashed: the better pair", va="center", fontsize=9.5
    )
    ax.set(xlim=(-0.85, 7.4), ylim=(-1.4, 4.8))
    ax.set_title("Greedy search takes the best word\nand misses the best pair")
    return figure


def draw_parting(row: dict[str, Any]) -> Figure:
    """One caption: the right word's probability after right words and after own words."""
    size = len(row["reference"])
    figure, ax = plt.subplots(figsize=(4.8, 0.42 * size + 1.3))
    y = np.arange(size)
    for t in range(size):
        ax.plot([row["free"][t], row["forced"][t]], [t, t], color="black", linewidth=0.7)
    ax.plot(row["forced"], y, "o", color="black", markersize=7)
    ax.plot(row["free"], y, "o", color="black", markersize=7, fillstyle="none", markeredgewidth=1.6)
    ax.set_yticks(y, row["reference"])
    ax.set_ylim(size - 0.4, -1.0)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("probability of the reference's word")
    ax.text(0.0, -0.72, "● after the right words   ○ after its own", va="center", fontsize=10)
    for t, word in enumerate(row["own"][:-1]):
        if word != row["reference"][t]:
            ax.text(1.03, t, f"wrote: {word}", va="center", fontsize=9.5, clip_on=False)
    ax.set_title("After its first own way, the model\nis asked for words that no longer fit")
    return figure


def draw_positions(by_position: dict[str, list[float]]) -> Figure:
    """Share of right words by position, fed with right words and with the model's own."""
    figure, ax = plt.subplots(figsize=(4.8, 3.2))
    x = range(1, POSITIONS + 1)
    for way, text, mark, dy in (
        ("forced", "fed the right words", "o-", 14),
        ("free", "fed its own words", "s--", 12),
    ):
        values = by_position[way]
        ax.plot(
            x,
            values,
            mark,
            color="black",
            markersize=5,
            fillstyle="full" if way == "forced" else "none",
        )
        ax.annotate(
            text, (x[8], values[8]), xytext=(0, dy), textcoords="offset points", ha="center"
        )
    ax.set(xlabel="position in the reference", ylabel="right words (%)", ylim=(0, 100))
    ax.set_xticks([1, 5, 10, 15])
    ax.set_title("With every own word the reference\nslips further out of step")
    return figure


def draw_beam(search: dict[str, Any]) -> Figure:
    """BLEU by beam size, chosen by mean and by sum of log-probabilities."""
    figure, ax = plt.subplots(figsize=(4.8, 3.6))
    names = {"dot": "dot attention", "cho": "Cho", "sutskever": "Sutskever"}
    x = np.arange(len(BEAMS))
    for name in names:
        for penalty, mark in (("penalty1", "o-"), ("penalty0", "s:")):
            rows = [search[name][penalty][f"beam{beam}"] for beam in BEAMS]
            values = np.array([row["score"] for row in rows])
            if penalty == "penalty1":
                errors = np.array([[r["score"] - r["low"], r["high"] - r["score"]] for r in rows]).T
                ax.errorbar(x, values, errors, fmt="none", ecolor="black", elinewidth=1, capsize=3)
            ax.plot(
                x,
                values,
                mark,
                color="black",
                markersize=5,
                fillstyle="full" if mark[0] == "o" else "none",
            )
        ax.annotate(names[name], (x[0], values[0]), xytext=(-2, 10), textcoords="offset points")
    ax.set_xticks(x, [str(beam) for beam in BEAMS])
    ax.set(xlabel="beam size", ylabel="BLEU, test 2016", ylim=(0, None), xlim=(-0.25, 3.25))
    ax.set_title("A beam of 2 takes most of the gain;\nwithout a length penalty more costs")
    return figure


SCRIPT = Script(
    doc=__doc__,
    parts={
        "sentence": SENTENCE,
        "test_pairs": test_pairs,
        "lengths": (lengths,),
        "padding": (padding,),
        "sutskever": of_sutskever,
        "cho": of_cho,
        "dot": of_dot,
        "answering": all_answers,
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
