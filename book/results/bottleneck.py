"""The measurements of chapter 4: what a vector of fixed size keeps of a sentence.

    python book/results/bottleneck.py               # everything; writes JSON and figures
    python book/results/bottleneck.py --available   # what can be had of the models trained
    python book/results/bottleneck.py --figures     # only draw again

The models on Multi30k come from book/results/train.py; small ones on the grammar are trained here,
a few minutes in all. Finished parts are kept in the user's cache, so that an interrupted run goes
on where it stopped; --fresh measures all of them again. One thread, CPU.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
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
    interval,
    resample,
)
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.nn import functional

from attnbook import checkpoints, grammar, plots
from attnbook.batches import pad
from attnbook.corpora import SentencePair, join_captions, multi30k
from attnbook.decoders import ChoDecoder, final_state
from attnbook.decoding import translate
from attnbook.evaluation import bleu, teacher_forced_perplexity
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import TrainingConfig, train
from attnbook.vocabulary import EOS, Vocabulary

cached = Cache("bottleneck")
SEEDS = (0, 1, 2)
KINDS = ("cho", "dot")
JOINED_BUCKETS = ((1, 12), (13, 18), (19, 24), (25, 30), (31, 36), (37, 99))
PLAIN_BUCKETS = ((1, 8), (9, 11), (12, 14), (15, 17), (18, 99))
PLAIN = {"sutskever": "multi30k-sutskever", "cho": "multi30k-cho", "dot": "multi30k-dot"}
TIMES = 1000
PROBED = {
    "joined": ("joined-cho-0", "joined"),
    "forwards": ("multi30k-sutskever", "plain"),
    "backwards": ("multi30k-reversed", "plain"),
}
PROBE_NAMES = ("trained", "control", "untrained")


# --- BLEU by length ---------------------------------------------------------------------------


def texts_with_starts() -> tuple[list[SentencePair], list[list[tuple[int, int]]]]:
    """The joined test captions, and where in each text its captions begin, in both languages."""
    marked = [
        SentencePair(pair.source, pair.target, frozenset({(0, 0)})) for pair in multi30k("test")
    ]
    joined = join_captions(marked, most=3, seed=0)
    texts = models.pairs_of("test", "joined")
    if [(p.source, p.target) for p in joined] != [(p.source, p.target) for p in texts]:
        raise AssertionError("train.pairs_of joins in another way than this script thinks")
    return texts, [sorted(pair.links or ()) for pair in joined]


def translated(name: str, pairs: Sequence[SentencePair], beam_size: int = 1) -> list[list[str]]:
    """What a model makes of the sources."""
    return translate(
        models.load(name), [pair.source for pair in pairs], beam_size=beam_size, progress=True
    )


def by_length(
    pairs: Sequence[SentencePair],
    translations: Sequence[Sequence[Sequence[str]]],
    buckets: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """BLEU in each bucket of source length: each seed, their mean, the mean's interval, the slope.

    The interval is the middle 95 % of the mean over seeds when the bucket's sentences are drawn
    anew, the same ones for every seed. The slope is that of the straight line through the buckets
    (least squares over their mean lengths), per ten source words, with its interval from the same
    draws.
    """
    lengths = np.array([len(pair.source) for pair in pairs])
    counts = np.stack(
        [bleu_counts(found, [pair.target for pair in pairs]) for found in translations]
    )
    for found, rows in zip(translations, counts, strict=True):
        theirs = bleu(found, [pair.target for pair in pairs]).score
        if abs(theirs - float(bleu_of(rows.sum(axis=0)))) > 1e-6:
            raise AssertionError(f"BLEU {bleu_of(rows.sum(axis=0))} here, {theirs} by sacrebleu")
    rows, draws, middles = [], [], []
    for number, (low, high) in enumerate(buckets):
        chosen = np.flatnonzero((lengths >= low) & (lengths <= high))
        drawn = resample(len(chosen), TIMES, seed=number)
        seeds = bleu_of(counts[:, chosen].sum(axis=1))
        means = bleu_of(np.einsum("rn,snk->rsk", drawn, counts[:, chosen])).mean(axis=1)
        below, above = interval(means)
        middles.append(float(lengths[chosen].mean()))
        draws.append(means)
        sums = counts[:, chosen].sum(axis=(0, 1))
        rows.append(
            {
                "low": low, "high": high, "sentences": len(chosen), "words": middles[-1],
                "bleu": float(seeds.mean()), "from": below, "to": above, "seeds": seeds.tolist(),
                "length_ratio": float(sums[8] / sums[9]), "right_words": float(sums[0] / sums[4]),
            }
        )  # fmt: skip
    slopes = 10 * np.polyfit(middles, np.stack(draws), 1)[0]
    below, above = interval(slopes)
    slope = 10 * float(np.polyfit(middles, [row["bleu"] for row in rows], 1)[0])
    whole = bleu_of(counts.sum(axis=1))
    kept = draws[-1] / draws[0]
    kept_low, kept_high = interval(kept)
    return {
        "buckets": rows,
        "slope": {"value": slope, "low": below, "high": above},
        "kept": {"value": rows[-1]["bleu"] / rows[0]["bleu"], "low": kept_low, "high": kept_high},
        "all": {"mean": float(whole.mean()), "seeds": whole.tolist()},
    }


def by_caption(
    pairs: Sequence[SentencePair],
    starts: Sequence[Sequence[tuple[int, int]]],
    translations: Sequence[Sequence[Sequence[str]]],
) -> dict[str, Any]:
    """How many of a caption's content words come through, by the caption's place in its text.

    A word counts as found when the whole translation has it as often as the text up to there
    needs. Words among the hundred most frequent ones are left out: they are in every text.
    """
    frequent = Counter(word for pair in multi30k("train") for word in pair.target)
    common = {word for word, _ in frequent.most_common(100)}
    result: dict[str, Any] = {}
    for size in (1, 2, 3):
        places: list[list[float]] = [[] for _ in range(size)]
        for found in translations:
            hits, wanted = [0] * size, [0] * size
            for pair, begins, words in zip(pairs, starts, found, strict=True):
                if len(begins) != size:
                    continue
                left = Counter(words)
                ends = [*(j for _, j in begins[1:]), len(pair.target)]
                for place, ((_, start), end) in enumerate(zip(begins, ends, strict=True)):
                    for word in pair.target[start:end]:
                        if word not in common:
                            wanted[place] += 1
                            hits[place] += left[word] > 0
                            left[word] -= 1
            for place in range(size):
                places[place].append(hits[place] / wanted[place])
        result[f"of{size}"] = [statistics.fmean(shares) for shares in places]
    return result


def plain(name: str) -> dict[str, Any]:
    """BLEU by length on single captions, one model."""
    pairs = multi30k("test")
    found = translated(name, pairs)
    result = by_length(pairs, [found], PLAIN_BUCKETS)
    counts = bleu_counts(found, [pair.target for pair in pairs])
    return result | {"whole": bleu_with_interval(counts)}


# --- reading the vector -----------------------------------------------------------------------

WORDS = 150  # how many source words are asked for
SKIPPED = 40  # the most frequent ones are in nearly every text
PROBE_TEXTS = 6000


@torch.inference_mode()
def vectors(translator: Translator, sources: Sequence[Sequence[str]]) -> torch.Tensor:
    """What the decoder is given of each source: ``(texts, numbers)``.

    Cho's context; for other decoders the encoder's final state, both parts of an LSTM's.
    """
    ids = [[*translator.source_ids(source), EOS] for source in sources]
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    rows: list[torch.Tensor] = [torch.empty(0)] * len(ids)
    translator.eval()
    for start in range(0, len(order), 64):
        numbers = order[start : start + 64]
        encoded = translator.encode(*pad([ids[number] for number in numbers]))
        if isinstance(translator.decoder, ChoDecoder):
            found = translator.decoder.context(encoded)
        else:
            found = torch.cat([part[-1] for part in final_state(encoded).parts], dim=-1)
        for number, row in zip(numbers, found, strict=True):
            rows[number] = row
    return torch.stack(rows)


def presence(
    sources: Sequence[Sequence[str]], groups: Sequence[Sequence[str]]
) -> NDArray[np.bool_]:
    """``(texts, groups)``: does the text hold a word of the group?"""
    of = {word: number for number, group in enumerate(groups) for word in group}
    table = np.zeros((len(sources), len(groups)), dtype=bool)
    for row, source in enumerate(sources):
        for word in source:
            if word in of:
                table[row, of[word]] = True
    return table


def questions(sources: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """The words that are asked for, and for each a random set of others that is as frequent.

    The second is a control task after Hewitt & Liang (2019): whether a text holds a word of an
    arbitrary set is as definite a question as whether it holds a word, but nothing in language
    speaks for the set. A probe that answers both equally well has learned the words by heart.
    """
    count = Counter(word for source in sources for word in set(source))
    ranked = [word for word, _ in count.most_common() if word.isalpha()]
    asked = ranked[SKIPPED : SKIPPED + WORDS]
    others = ranked[SKIPPED + WORDS :]
    random.Random(0).shuffle(others)
    sets = []
    for word in asked:
        group: list[str] = []
        while others and sum(count[other] for other in group) < count[word]:
            group.append(others.pop())
        sets.append(group)
    return [[word] for word in asked], [group for group in sets if len(group) > 1]


def linear_probe(
    inputs: torch.Tensor, labels: NDArray[np.bool_], steps: int = 150
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logistic regressions, one for each label, from the same inputs; weights and scaling."""
    mean, scale = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    scaled = (inputs - mean) / scale
    wanted = torch.tensor(labels, dtype=torch.float32)
    torch.manual_seed(0)
    layer = torch.nn.Linear(inputs.shape[1], labels.shape[1])
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        share = wanted.mean(dim=0).clamp(1e-4, 1 - 1e-4)
        layer.bias.copy_(torch.log(share / (1 - share)))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(steps):
        loss = functional.binary_cross_entropy_with_logits(layer(scaled), wanted)
        penalty = 1e-4 * layer.weight.square().sum() / labels.shape[1]
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
    return layer.weight.detach().T / scale.unsqueeze(1), layer.bias.detach(), mean


def ranks(
    scores: NDArray[Any], labels: NDArray[np.bool_], sizes: NDArray[np.int_]
) -> NDArray[np.float64]:
    """For each (text, group) the share of texts without the group that score lower, in percent.

    Compared are texts of one bucket of length only: how long a text is can be read from its vector
    too, and long texts hold more words of any kind. 50 is guessing, whatever the frequency.
    """
    result = np.full(scores.shape, 50.0)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        for column in range(scores.shape[1]):
            answers = scores[rows, column]
            without = np.sort(answers[~labels[rows, column]])
            below = np.searchsorted(without, answers, side="left")
            upto = np.searchsorted(without, answers, side="right")
            if len(without):
                result[rows, column] = 100 * (below + upto) / 2 / len(without)
    return result


def probe(name: str, kind: str) -> dict[str, Any]:
    """Linear probes for words, by the text's length and by the word's place in it."""
    translator = models.load(name)
    joined = kind == "joined"
    chance = random.Random(0)
    training = chance.sample(
        models.pairs_of("train", "joined" if joined else "multi30k"), PROBE_TEXTS
    )
    testing = models.pairs_of("test", "joined" if joined else "multi30k")
    sources = [pair.source for pair in training]
    tested = [pair.source for pair in testing]
    asked, control = questions(sources)
    lengths = np.array([len(source) for source in tested])
    buckets = JOINED_BUCKETS if joined else PLAIN_BUCKETS
    bucket_of = np.array([sum(size > high for _, high in buckets) for size in lengths])
    assert translator.config is not None
    torch.manual_seed(1)
    untrained = Translator.from_config(
        translator.config, translator.source_vocabulary, translator.target_vocabulary
    )
    result: dict[str, Any] = {
        "texts": len(sources), "words": len(asked), "sets": len(control),
        "share": float(presence(sources, asked).mean()),
        "always_no": float(1 - presence(sources, asked).mean()),
    }  # fmt: skip
    runs = (
        ("trained", translator, asked),
        ("control", translator, control),
        ("untrained", untrained, asked),
    )
    numbers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for run, model, groups in runs:
        if id(model) not in numbers:
            numbers[id(model)] = (vectors(model, sources), vectors(model, tested))
        seen, new = numbers[id(model)]
        weight, bias, mean = linear_probe(seen, presence(sources, groups))
        labels = presence(tested, groups)
        scores = ((new - mean) @ weight + bias).numpy()
        rank = ranks(scores, labels, bucket_of)
        place = {word: number for number, group in enumerate(groups) for word in group}
        # One row an occurrence: text, tokens before it, tokens behind it, rank.
        found = np.array(
            [
                (text, i, len(source) - 1 - i, rank[text, place[word]])
                for text, source in enumerate(tested)
                for i, word in enumerate(source)
                if word in place
            ]
        )
        size = lengths[found[:, 0].astype(int)]
        whole = interval(text_bootstrap(found, len(tested)))
        entry: dict[str, Any] = {
            "numbers": seen.shape[1],
            "rank": {"mean": float(found[:, 3].mean()), "low": whole[0], "high": whole[1]},
            "occurrences": len(found),
            "said_yes": float((scores > 0)[labels].mean()),
            "false_alarms": float((scores > 0)[~labels].mean()),
        }
        entry["by_length"] = [
            summary(found[(size >= low) & (size <= high)], len(tested)) for low, high in buckets
        ]
        entry["from_end"] = [
            summary(found[(found[:, 2] >= low) & (found[:, 2] <= high)], len(tested))
            for low, high in ((0, 2), (3, 5), (6, 8), (9, 11), (12, 14), (15, 99))
        ]
        long = size >= (25 if joined else 10)
        share = found[:, 1] / (found[:, 1] + found[:, 2])
        entry["by_place"] = [
            summary(found[long & (share >= tenth / 8) & (share <= (tenth + 1) / 8)], len(tested))
            for tenth in range(8)
        ]
        result[run] = entry
    return result


def text_bootstrap(found: NDArray[Any], texts: int) -> NDArray[np.float64]:
    """Means of the last column when whole texts are drawn anew."""
    if not len(found):
        return np.full(TIMES, np.nan)
    sums = np.zeros((texts, 2))
    np.add.at(sums, found[:, 0].astype(int), np.stack([found[:, 3], np.ones(len(found))], axis=1))
    drawn = resample(texts, TIMES) @ sums
    result: NDArray[np.float64] = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    return result


def summary(found: NDArray[Any], texts: int) -> dict[str, float]:
    """Mean rank, its 95 % interval over texts, and how many occurrences there are."""
    if not len(found):
        return {"mean": 50.0, "low": 50.0, "high": 50.0, "occurrences": 0}
    low, high = interval(text_bootstrap(found, texts))
    return {"mean": float(found[:, 3].mean()), "low": low, "high": high, "occurrences": len(found)}


# --- reversing the source ---------------------------------------------------------------------


def reversing() -> dict[str, Any]:
    """Sutskever's decoder, source read forwards and backwards: BLEU, perplexity, thirds."""
    pairs = multi30k("test")
    references = [pair.target for pair in pairs]
    result: dict[str, Any] = {}
    counts = {}
    for name in ("sutskever", "reversed"):
        for beam_size in (1, 5):
            found = translated(f"multi30k-{name}", pairs, beam_size)
            counts[name, beam_size] = bleu_counts(found, references)
            key = "greedy" if beam_size == 1 else "beam5"
            result.setdefault(name, {})[key] = bleu_with_interval(counts[name, beam_size])
            if beam_size == 1:
                result[name]["thirds"] = thirds(found, references)
        result[name]["perplexity"] = teacher_forced_perplexity(
            models.load(f"multi30k-{name}"), pairs
        )
        epochs = checkpoints.read_card(models.path_of(f"multi30k-{name}"))["epochs"]
        result[name]["validation"] = [epoch["validation_loss"] for epoch in epochs]
    draws = resample(len(pairs), TIMES)
    for key, beam_size in (("greedy", 1), ("beam5", 5)):
        gain = bleu_of(draws @ counts["reversed", beam_size]) - bleu_of(
            draws @ counts["sutskever", beam_size]
        )
        low, high = interval(gain)
        value = result["reversed"][key]["score"] - result["sutskever"][key]["score"]
        result[f"gain_{key}"] = {"score": value, "low": low, "high": high}
    return result


def thirds(found: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> list[float]:
    """Share of the reference's words that the translation has, by third of the reference."""
    hits, wanted = [0, 0, 0], [0, 0, 0]
    for words, reference in zip(found, references, strict=True):
        left = Counter(words)
        for i, word in enumerate(reference):
            third = 3 * i // len(reference)
            wanted[third] += 1
            hits[third] += left[word] > 0
            left[word] -= 1
    return [hit / want for hit, want in zip(hits, wanted, strict=True)]


# --- a longer vector --------------------------------------------------------------------------

WIDTHS = (64, 128, 256)
GRAMMAR_BUCKETS = ((3, 6), (7, 10), (11, 14), (15, 18), (19, 22))


def widths(decoder: str, width: int) -> dict[str, Any]:
    """A translator of the grammar's sentences with states of so many numbers, by length."""
    corpus = grammar.corpus(train=8000, val=300, test=1000, shortest=3, longest=22)
    torch.manual_seed(0)
    translator = Translator.from_config(
        RecurrentConfig(
            decoder=decoder, embedding_dim=64, hidden_dim=width, dropout=0.0, embedding_std=1.0
        ),
        Vocabulary.from_sentences(pair.source for pair in corpus.train),
        Vocabulary.from_sentences(pair.target for pair in corpus.train),
        name=f"grammar-{decoder}-{width}",
    )
    settings = TrainingConfig(epochs=8, batch_tokens=1000, learning_rate=4e-3, label_smoothing=0.0)
    history = train(translator, corpus.train, corpus.val, settings)
    found = translate(translator, [pair.source for pair in corpus.test])
    right = [tuple(words) == pair.target for words, pair in zip(found, corpus.test, strict=True)]
    result = by_length(corpus.test, [found], GRAMMAR_BUCKETS)
    for row in result["buckets"]:
        inside = [
            hit
            for hit, pair in zip(right, corpus.test, strict=True)
            if row["low"] <= len(pair.source) <= row["high"]
        ]
        row["exact"] = statistics.fmean(inside)
    return result | {
        "parameters": translator.count_parameters(),
        "training_loss": history.best.training_loss,
        "validation_loss": history.best.validation_loss,
        "numbers": 2 * width,
    }


# --- all together -----------------------------------------------------------------------------


def data() -> dict[str, Any]:
    """How long captions and texts are."""
    texts, _ = texts_with_starts()
    lengths = sorted(len(pair.source) for pair in multi30k("test"))
    joined_lengths = sorted(len(pair.source) for pair in texts)
    return {
        "texts": len(texts), "longest": joined_lengths[-1],
        "plain_p5": lengths[len(lengths) // 20], "plain_p95": lengths[-len(lengths) // 20],
        "plain_median": lengths[len(lengths) // 2],
        "joined_p95": joined_lengths[-len(texts) // 20],
    }  # fmt: skip


def translated_texts(name: str) -> list[list[str]]:
    """What a model makes of the joined texts."""
    return translated(name, texts_with_starts()[0])


def joined() -> dict[str, Any]:
    """Both kinds of model on joined texts, by length and by place."""
    texts, starts = texts_with_starts()
    result: dict[str, Any] = {}
    for kind in KINDS:
        names = [f"joined-{kind}-{seed}" for seed in SEEDS]
        found = [cached(f"{name}-greedy", translated_texts, name) for name in names]
        result[kind] = {
            **by_length(texts, found, JOINED_BUCKETS),
            "by_caption": by_caption(texts, starts, found),
            "models": len(names),
            "example": example(texts, found[0]),
        }
    return result


def all_plain() -> dict[str, Any]:
    """Three models on single captions."""
    return {kind: cached(f"plain-{kind}", plain, name) for kind, name in PLAIN.items()}


def probes() -> dict[str, Any]:
    """Three vectors, asked for words."""
    return {key: cached(f"probe-{key}", probe, *which) for key, which in PROBED.items()}


def all_widths() -> dict[str, Any]:
    """Small models with longer vectors, and one that attends."""
    shapes = (*(("sutskever", width) for width in WIDTHS), ("luong", WIDTHS[0]))
    return {
        f"{decoder}{width}": cached(f"widths-{decoder}{width}", widths, decoder, width)
        for decoder, width in shapes
    }


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words, and in the figures' descriptions."""
    cho, dot = (result["joined"][kind] for kind in KINDS)
    bleu_of_bucket = {k: [row["bleu"] for row in result["joined"][k]["buckets"]] for k in KINDS}
    plain = {k: [row["bleu"] for row in v["buckets"]] for k, v in result["plain"].items()}
    probes, reversed_ = result["probe"], result["reversing"]["reversed"]
    forward = result["reversing"]["sutskever"]
    exact = {k: [row["exact"] for row in v["buckets"]] for k, v in result["widths"].items()}
    asked = {k: [row["mean"] for row in probes["joined"][k]["by_length"]] for k in PROBE_NAMES}
    place = {
        key: {name: [row["mean"] for row in part[name]["by_place"]] for name in PROBE_NAMES}
        for key, part in probes.items()
    }
    share = {kind: result["joined"][kind]["by_caption"] for kind in KINDS}
    return {
        "the fixed context begins at half the height": 0.4
        < bleu_of_bucket["cho"][0] / bleu_of_bucket["dot"][0]
        < 0.6,
        "and falls by two fifths": abs(cho["kept"]["value"] - 0.6) < 0.05,
        "its fall is beyond doubt, that of attention is not": cho["slope"]["high"]
        < 0
        < dot["slope"]["high"],
        "three models of each kind": cho["models"] == dot["models"] == 3,
        "the first caption comes through best, and each that follows costs it": share["cho"]["of1"][
            0
        ]
        > share["cho"]["of2"][0]
        > share["cho"]["of3"][0],
        "of later ones half as much is found": all(
            later < 0.6 * share["cho"]["of3"][0] for later in share["cho"]["of3"][1:]
        ),
        "with attention near forty percent, the third a little lower": share["dot"]["of3"]
        == sorted(share["dot"]["of3"], reverse=True)
        and share["dot"]["of3"][2] > 0.3
        and share["dot"]["of3"][0] < 0.42,
        "single captions: Cho is three to four BLEU behind up to eleven tokens": all(
            2.5 < plain["dot"][i] - plain["cho"][i] < 4.5 for i in (0, 1)
        ),
        "he falls to 18, and from 21 Sutskever to 12": [
            round(plain["cho"][4]),
            int(plain["sutskever"][0]),
            int(plain["sutskever"][4]),
        ]
        == [18, 21, 12],
        "attention stays near 35 and ends at 29": abs(max(plain["dot"]) - 35) < 2
        and round(plain["dot"][4]) == 29,
        "trained for texts, Cho is far worse on short captions, and attention is not": plain["cho"][
            0
        ]
        - bleu_of_bucket["cho"][0]
        > 5
        and bleu_of_bucket["dot"][0] > plain["dot"][0],
        "the probe falls from 98 to 85, untrained to 66, control from 72 to 62": [
            round(asked[name][i])
            for name, i in (
                ("trained", 0),
                ("trained", 5),
                ("untrained", 5),
                ("control", 0),
                ("control", 5),
            )
        ]
        == [98, 85, 66, 72, 62],
        "in short texts the untrained encoder is close": asked["trained"][0] - asked["untrained"][0]
        < 4,
        "the longer the less": asked["trained"] == sorted(asked["trained"], reverse=True),
        "what is read is mostly in the vector": probes["joined"]["control"]["rank"]["high"]
        < probes["joined"]["trained"]["rank"]["low"] - 20,
        "untrained, what was read last is kept": place["forwards"]["untrained"][7]
        > place["forwards"]["untrained"][0] + 30
        and place["backwards"]["untrained"][0] > place["backwards"]["untrained"][7] + 30,
        "trained, both keep the beginning best": all(
            max(place[key]["trained"]) == place[key]["trained"][0]
            for key in ("forwards", "backwards")
        ),
        "in texts both ends are kept better than the middle": min(
            place["joined"]["trained"][0], place["joined"]["trained"][7]
        )
        > max(place["joined"]["trained"][1:7]),
        "untrained the middle is all but empty": place["joined"]["untrained"][4] < 55,
        "reversal gains for certain": result["reversing"]["gain_beam5"]["low"] > 0,
        "in all three thirds alike": all(
            0.01 < after - before < 0.06
            for after, before in zip(reversed_["thirds"], forward["thirds"], strict=True)
        ),
        "its loss is lower after one epoch and after ten": all(
            after < before
            for after, before in zip(reversed_["validation"], forward["validation"], strict=True)
        ),
        "it holds less of the caption's end": place["backwards"]["trained"][7]
        < place["forwards"]["trained"][7],
        "widths 64, 128 and 256 begin at 5, 16 and 55 percent": [
            round(100 * exact[f"sutskever{width}"][0]) for width in WIDTHS
        ]
        == [5, 16, 55],
        "from 11 tokens on at 1 percent": all(
            round(100 * value) <= 1 for width in WIDTHS for value in exact[f"sutskever{width}"][2:]
        ),
        "attention of width 64 falls from 92 to 30": [
            round(100 * exact["luong64"][i]) for i in (0, -1)
        ]
        == [92, 30],
        "four times the width, six times the parameters": round(
            result["widths"]["sutskever256"]["parameters"]
            / result["widths"]["sutskever64"]["parameters"]
        )
        == 6,
    }


def example(texts: Sequence[SentencePair], found: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Two texts, a short and a long one, with what the model made of them."""
    lengths = [len(pair.source) for pair in texts]
    short = next(i for i, words in enumerate(lengths) if words <= 9)
    long = next(i for i, words in enumerate(lengths) if 30 <= words <= 34)
    return {
        key: {
            "source": " ".join(texts[i].source),
            "reference": " ".join(texts[i].target),
            "translation": " ".join(found[i]),
            "number": i,
            "words": lengths[i],
        }
        for key, i in (("short", short), ("long", long))
    }


# --- figures ----------------------------------------------------------------------------------

NAMES = {"cho": "fixed context", "dot": "dot attention", "sutskever": "Sutskever"}
COLOURS = {"cho": "black", "dot": plots.KEY, "sutskever": "black"}
STYLES = {"cho": "-", "dot": "-", "sutskever": ":"}


def span(low: int, high: int) -> str:
    """A bucket as text."""
    return f"{low}–{high}" if high < 99 else f"{low}+"


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the chapter."""
    probes = result["probe"]
    figures = {
        "length": draw_length(result["joined"]),
        "captions": draw_captions(result["joined"]),
        "plain": draw_plain(result["plain"]),
        "probe": draw_probe(probes["joined"]),
        "place": draw_place(probes["joined"]),
        "direction": draw_direction(probes),
        "widths": draw_widths(result["widths"]),
    }
    return {f"bottleneck-{name}": figure for name, figure in figures.items()}


def draw_length(joined: dict[str, Any]) -> Figure:
    """Bahdanau's figure 2 on joined captions."""
    figure, ax = plt.subplots(figsize=(4.6, 3.6))
    for kind in ("dot", "cho"):
        rows = joined[kind]["buckets"]
        x = [row["words"] for row in rows]
        ax.fill_between(
            x, [row["from"] for row in rows], [row["to"] for row in rows],
            color=COLOURS[kind], alpha=0.16, linewidth=0,
        )  # fmt: skip
        ax.plot(x, [row["bleu"] for row in rows], color=COLOURS[kind])
        for row in rows:
            ax.plot(
                [row["words"]] * len(row["seeds"]),
                row["seeds"],
                ".",
                color=COLOURS[kind],
                markersize=5,
            )
        ax.annotate(
            NAMES[kind], (x[2], rows[2]["bleu"]), xytext=(0, 20 if kind == "cho" else -24),
            textcoords="offset points", ha="center",
        )  # fmt: skip
    rows = joined["cho"]["buckets"]
    ax.set_xticks([row["words"] for row in rows], [span(row["low"], row["high"]) for row in rows])
    ax.set(xlabel="source length (tokens)", ylabel="BLEU", ylim=(0, None))
    ax.set_title("Without attention quality falls with\nlength; with it, it hardly does")
    return figure


def draw_captions(joined: dict[str, Any]) -> Figure:
    """Content words found, by the caption's place in a text of three."""
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    for kind in ("dot", "cho"):
        for size, mark in ((1, "^"), (2, "s"), (3, "o")):
            values = [100 * share for share in joined[kind]["by_caption"][f"of{size}"]]
            ax.plot(range(1, size + 1), values, marker=mark, color=COLOURS[kind], markersize=6,
                    linestyle="-" if size == 3 else ":")  # fmt: skip
            if kind == "cho" or size == 3:
                ax.annotate(
                    f"{NAMES[kind]}, {size}" if size == 3 else f"{size}",
                    (size, values[-1]), xytext=(8, 0), textcoords="offset points", va="center",
                )  # fmt: skip
    ax.set_xticks([1, 2, 3], ["first", "second", "third"])
    ax.set(xlabel="caption of the text", ylabel="its content words found (%)", ylim=(0, 46))
    ax.set_xlim(0.8, 4.7)
    ax.set_title("One caption more, and less\nof each comes through")
    return figure


def draw_plain(plain_result: dict[str, Any]) -> Figure:
    """BLEU by length on single captions."""
    figure, ax = plt.subplots(figsize=(4.6, 3.4))
    for kind, part in plain_result.items():
        rows = part["buckets"]
        x = [row["words"] for row in rows]
        ax.fill_between(
            x, [row["from"] for row in rows], [row["to"] for row in rows],
            color=COLOURS[kind], alpha=0.16, linewidth=0,
        )  # fmt: skip
        ax.plot(
            x,
            [row["bleu"] for row in rows],
            color=COLOURS[kind],
            linestyle=STYLES[kind],
            marker="o",
            markersize=4,
        )
        at, up = {"dot": (3, 8), "cho": (3, 8), "sutskever": (3, -18)}[kind]
        ax.annotate(
            "Cho" if kind == "cho" else NAMES[kind], (x[at], rows[at]["bleu"]), xytext=(0, up),
            textcoords="offset points", ha="center",
        )  # fmt: skip
    rows = next(iter(plain_result.values()))["buckets"]
    ax.set_xticks([row["words"] for row in rows], [span(row["low"], row["high"]) for row in rows])
    ax.set(xlabel="source length (tokens)", ylabel="BLEU", ylim=(0, None))
    ax.set_title("Single captions: together at first,\nthen apart")
    return figure


PROBES = (
    ("trained", "trained encoder", "o-"),
    ("control", "control task", "s--"),
    ("untrained", "untrained encoder", "^:"),
)


def _probe_line(
    ax: Any, x: Sequence[float], rows: Sequence[dict[str, float]], mark: str, *, filled: bool
) -> None:
    """One probe with its band."""
    ax.fill_between(
        x,
        [row["low"] for row in rows],
        [row["high"] for row in rows],
        color="black",
        alpha=0.12,
        linewidth=0,
    )
    ax.plot(
        x,
        [row["mean"] for row in rows],
        mark,
        color="black",
        markersize=5,
        fillstyle="full" if filled else "none",
    )


def _probe_lines(
    ax: Any,
    part: dict[str, Any],
    x: Sequence[float],
    key: str,
    labels: dict[str, tuple[int, int]],
) -> None:
    """The three lines; ``labels`` says at which point each is named, and how far above it."""
    for name, text, mark in PROBES:
        rows = part[name][key]
        values = [row["mean"] for row in rows]
        _probe_line(ax, x, rows, mark, filled=name == "trained")
        at, up = labels[name]
        ax.annotate(
            text, (x[at], values[at]), xytext=(0, up), textcoords="offset points", ha="center"
        )
    ax.axhline(50, color="black", linewidth=0.6)
    ax.set_ylim(42, 101)
    ax.set_ylabel("words told from others (%)")


def draw_probe(part: dict[str, Any]) -> Figure:
    """Probe by length of the text."""
    figure, ax = plt.subplots(figsize=(4.6, 3.6))
    x = list(range(len(JOINED_BUCKETS)))
    _probe_lines(
        ax, part, x, "by_length", {"trained": (4, 11), "control": (1, -20), "untrained": (2, 11)}
    )
    ax.set_xticks(x, [span(low, high) for low, high in JOINED_BUCKETS])
    ax.set_xlabel("source length (tokens)")
    ax.set_title("The longer the text, the less a word\nof it can be read from the vector")
    return figure


def draw_place(part: dict[str, Any]) -> Figure:
    """Probe by place in long texts."""
    figure, ax = plt.subplots(figsize=(4.6, 3.6))
    x = [100 * (eighth + 0.5) / 8 for eighth in range(8)]
    _probe_lines(
        ax, part, x, "by_place", {"trained": (3, 12), "control": (3, 12), "untrained": (4, -19)}
    )
    ax.set_xlabel("place in the text (%), texts of 25 tokens and more")
    ax.set_title("Both ends of a text are kept\nbetter than its middle")
    return figure


def draw_direction(probes: dict[str, Any]) -> Figure:
    """Probe by place, read forwards and backwards, trained and untrained."""
    figure, axes = plt.subplots(2, 1, figsize=(4.6, 5.6), sharex=True)
    x = [100 * (eighth + 0.5) / 8 for eighth in range(8)]
    for ax, key, title in zip(
        axes, ("forwards", "backwards"), ("Read forwards →", "← Read backwards"), strict=True
    ):
        for name, mark in (("trained", "o-"), ("untrained", "^:")):
            rows = probes[key][name]["by_place"]
            values = [row["mean"] for row in rows]
            _probe_line(ax, x, rows, mark, filled=name == "trained")
            forwards = key == "forwards"
            at = (1 if forwards else 6) if name == "untrained" else (6 if forwards else 1)
            ax.annotate(
                name,
                (x[at], values[at]),
                xytext=(0, 9 if forwards == (name == "untrained") else -18),
                textcoords="offset points",
                ha="center",
            )
        ax.axhline(50, color="black", linewidth=0.6)
        ax.set(ylim=(47, 102), ylabel="words told apart (%)", title=title)
    axes[-1].set_xlabel("place in the caption (%)")
    return figure


def draw_widths(result: dict[str, Any]) -> Figure:
    """Exact match on the grammar by length and width."""
    figure, ax = plt.subplots(figsize=(4.6, 3.5))
    x = list(range(len(GRAMMAR_BUCKETS)))
    for name, part in result.items():
        values = [100 * row["exact"] for row in part["buckets"]]
        attends = name.startswith("luong")
        width = name.removeprefix("luong").removeprefix("sutskever")
        ax.plot(x, values, "o-", color=plots.KEY if attends else "black", markersize=5,
                linewidth=1 + 0.5 * [*map(str, WIDTHS)].index(width))  # fmt: skip
        ax.annotate(
            f"{width}, dot attention" if attends else width,
            (x[2], values[2]) if attends else (x[0], values[0]),
            xytext=(4, 7) if attends else (-7, 0), textcoords="offset points",
            ha="left" if attends else "right", va="bottom" if attends else "center",
        )  # fmt: skip
    ax.set_xlim(-0.6, len(x) - 0.7)
    ax.set_xticks(x, [span(low, high) for low, high in GRAMMAR_BUCKETS])
    ax.set(xlabel="source length (tokens)", ylabel="translated without an error (%)", ylim=(0, 103))
    ax.set_title("A wider state moves the fall\nto the right")
    return figure


SCRIPT = Script(
    doc=__doc__,
    parts={
        "bootstrap": TIMES,
        "data": data,
        "joined": joined,
        "plain": all_plain,
        "probe": probes,
        "reversing": (reversing,),
        "widths": all_widths,
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
