"""What chapter 14 reports: a small BERT pre-trained on captions, and what it is good for.

    python book/results/bert_small.py            # writes the JSON beside it, and the figures
    python book/results/bert_small.py --fresh    # measure everything again

The English captions of Multi30k are read as texts: 29,000 to learn from, 1,014 for the labelled
examples of fine-tuning, 1,000 to test on. A BERT of two layers and a model of the same size that
reads from left to right are trained on one CPU thread (about twenty minutes together); their
weights and every measured part are kept in the user's cache.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _measure import Cache, Script, over_seeds
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from attnbook import plots
from attnbook.bert import (
    IGNORE_INDEX,
    Bert,
    BertConfig,
    Classifier,
    Pretraining,
    Texts,
    hide,
    read_texts,
    train_wordpiece,
)
from attnbook.corpora import multi30k
from attnbook.language_models import KneserNey, ngrams
from attnbook.masks import causal_mask
from attnbook.transformer import EncoderLayer
from attnbook.vocabulary import EOS, PAD, SOS, Vocabulary

cached = Cache("bert_small")
PIECES = 3000
SHAPE: dict[str, Any] = {
    "model_dim": 96, "num_heads": 4, "layers": 2, "feedforward_dim": 384,
    "max_positions": 64, "dropout": 0.0,
}  # fmt: skip
EPOCHS = {"bert": 24, "left_to_right": 6}
BATCH = 64
LEARNING_RATE = 2e-3
SEED = 0
SEEDS = (0, 1, 2)


# --- texts ------------------------------------------------------------------------------------


@lru_cache
def captions(split: str) -> tuple[str, ...]:
    """English captions, lower-cased, words and marks apart."""
    return tuple(" ".join(pair.target) for pair in multi30k(split))


@lru_cache
def pieces() -> Tokenizer:
    """The vocabulary of pieces, learned from the training captions."""
    return train_wordpiece(captions("train"), PIECES)


def halves(caption: str) -> tuple[str, str]:
    """A caption cut in its middle; the second half has the odd word."""
    words = caption.split()
    middle = len(words) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])


def pair_up(
    texts: Sequence[str], pool: dict[int, list[str]], chance: random.Random
) -> tuple[list[tuple[str, str]], Tensor]:
    """Both halves of each caption, or in every second one the second half of another.

    The other caption has the same number of words, so that lengths give nothing away.

    Args:
        texts: captions of at least two words.
        pool: captions by number of words; has another one wherever it is needed.
        chance: which second halves are another's, and whose.

    Returns:
        The pairs, and 0 where the second half belongs to the first, else 1.
    """
    pairs, labels = [], []
    for text in texts:
        first, second = halves(text)
        others = pool[len(text.split())]
        label = int(chance.random() < 0.5 and len(others) > 1)
        while label and (first, second) == halves(text):
            second = halves(chance.choice(others))[1]
        pairs.append((first, second))
        labels.append(label)
    return pairs, torch.tensor(labels)


def by_length(texts: Sequence[str]) -> dict[int, list[str]]:
    """Texts by their number of words."""
    found: dict[int, list[str]] = {}
    for text in texts:
        found.setdefault(len(text.split()), []).append(text)
    return found


def batches(texts: Sequence[str], chance: random.Random) -> list[list[str]]:
    """One pass in random order, captions of similar length together."""
    order = sorted(chance.sample(texts, len(texts)), key=lambda text: len(text.split()))
    found = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    chance.shuffle(found)
    return found


# --- the two models ---------------------------------------------------------------------------


def fresh(seed: int = SEED) -> Pretraining:
    """A model that has learned nothing."""
    torch.manual_seed(seed)
    return Pretraining(BertConfig(vocabulary_size=pieces().get_vocab_size(), **SHAPE))


def fit(
    model: Pretraining, epochs: int, loss: Callable[[list[str], bool], Tensor], name: str
) -> float:
    """AdamW, a tenth of the steps to warm up, then linearly to zero; CPU seconds that it took."""
    chance = random.Random(SEED)
    rounds = [batch for _ in range(epochs) for batch in batches(captions("train"), chance)]
    warm = len(rounds) // 10
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, (len(rounds) - step) / (len(rounds) - warm)),
    )
    model.train()
    start, total = time.process_time(), 0.0
    for step, batch in enumerate(rounds):
        value = loss(batch, step % 2 == 1)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(value.detach())
        if step % 100 == 99:
            print(f"{name} {step + 1}/{len(rounds)} {total / 100:.3f}", flush=True)
            total = 0.0
    model.eval()
    return time.process_time() - start


def pretrain(model: Pretraining) -> float:
    """Whole captions with hidden pieces, and in turn with them pairs of halves."""
    generator, chance = torch.Generator().manual_seed(SEED), random.Random(SEED)
    pool = by_length(captions("train"))

    def loss(batch: list[str], in_halves: bool) -> Tensor:
        if not in_halves:
            texts = read_texts(pieces(), batch)
            return model.loss(texts, hide(texts, pieces(), generator=generator))
        pairs, follows = pair_up(batch, pool, chance)
        texts = read_texts(pieces(), pairs)
        return model.loss(texts, hide(texts, pieces(), generator=generator), follows)

    return fit(model, EPOCHS["bert"], loss, "bert")


def left_states(bert: Bert, ids: Tensor) -> Tensor:
    """The same encoder with a causal mask: every position sees itself and what is before it."""
    states: Tensor = bert.norm(
        bert.words(ids) + bert.positions(ids.shape[1]) + bert.token_types.weight[0]
    )
    mask = causal_mask(ids.shape[1])
    for layer in bert.layers:
        assert isinstance(layer, EncoderLayer)
        states = layer.around_attention(
            states, lambda x, layer=layer: layer.attention(x, x, x, mask).output
        )
        states = layer.around_feedforward(states, layer.feedforward)
    return states


def train_left_to_right(model: Pretraining) -> float:
    """Predict every piece of every caption from the pieces before it."""

    def loss(batch: list[str], _: bool) -> Tensor:
        texts = read_texts(pieces(), batch)
        asked = ~texts.special[:, 1:]
        states = left_states(model.bert, texts.ids[:, :-1])
        return functional.cross_entropy(model.piece_logits(states[asked]), texts.ids[:, 1:][asked])

    return fit(model, EPOCHS["left_to_right"], loss, "left to right")


def weights(name: str) -> dict[str, Any]:
    """Train one of the two; what it has learned, and the CPU seconds that it took."""
    model = fresh()
    seconds = pretrain(model) if name == "bert" else train_left_to_right(model)
    return {"weights": model.state_dict(), "seconds": seconds}


@cache
def trained(name: str) -> Pretraining:
    """A trained model."""
    model = fresh()
    model.load_state_dict(cached.tensors(name, weights, name)["weights"])
    return model.eval()


# --- what was hidden --------------------------------------------------------------------------


@torch.no_grad()
def both_sides(model: Pretraining, text: str) -> tuple[Tensor, Tensor]:
    """Every piece hidden in its turn: log-probabilities, a row for each, and the right pieces."""
    ids = read_texts(pieces(), [text]).ids[0]
    places = torch.arange(1, len(ids) - 1)
    hidden = ids.repeat(len(places), 1)
    mask = pieces().token_to_id("[MASK]")
    assert mask is not None
    hidden[torch.arange(len(places)), places] = mask
    states = model.bert(hidden).states[torch.arange(len(places)), places]
    return model.piece_logits(states).log_softmax(dim=-1), ids[1:-1]


@torch.no_grad()
def from_the_left(model: Pretraining, text: str) -> tuple[Tensor, Tensor]:
    """Every piece from those before it: log-probabilities, a row for each, and the right pieces."""
    ids = read_texts(pieces(), [text]).ids
    logits = model.piece_logits(left_states(model.bert, ids[:, :-2])[0])
    return logits.log_softmax(dim=-1), ids[0, 1:-1]


def score(results: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Share of pieces found, of first pieces found, and perplexity."""
    right = [(logs.argmax(dim=-1) == ids).tolist() for logs, ids in results]
    losses = [-logs.gather(1, ids[:, None])[:, 0] for logs, ids in results]
    return {
        "accuracy": statistics.fmean(one for row in right for one in row),
        "first": statistics.fmean(row[0] for row in right),
        "perplexity": math.exp(float(torch.cat(losses).mean())),
    }


@lru_cache
def in_pieces(split: str) -> tuple[tuple[str, ...], ...]:
    """Captions as pieces, without the special ones."""
    found = pieces().encode_batch(list(captions(split)), add_special_tokens=False)
    return tuple(tuple(one.tokens) for one in found)


def bigrams(rows: Sequence[Sequence[int]], size: int, discount: float) -> NDArray[np.float64]:
    """P(right | left) for every two pieces: `KneserNey` of order 2, all at once."""
    counts = np.zeros((size, size))
    for row in rows:
        for (left,), right in ngrams(row, 2):
            counts[left, right] += 1
    # What is seen after <sos> counts as a neighbour like any other.
    after = (counts > 0).sum(axis=0)
    kept = np.maximum(after - discount, 0) / after.sum()
    kept += np.minimum(discount, after).sum() / after.sum() / (size - 2)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    saved = np.minimum(discount, counts).sum(axis=1, keepdims=True) / totals
    saved[counts.sum(axis=1) == 0] = 1.0
    found: NDArray[np.float64] = np.maximum(counts - discount, 0) / totals + saved * kept
    found[:, [PAD, SOS]] = 0.0
    return found


def by_counting() -> dict[str, Any]:
    """The same pieces from counts: how often, after one, after two, between two."""
    vocabulary = Vocabulary.from_sentences(in_pieces("train"))
    learned = [vocabulary.encode(one) for one in in_pieces("train")]
    tests = [vocabulary.encode(one) for one in in_pieces("test")]
    size = len(vocabulary)
    frequency = np.bincount([i for row in learned for i in row], minlength=size) + 1.0
    frequency[[PAD, SOS, EOS]] = 0.0
    frequency /= frequency.sum()
    table = bigrams(learned, size, 0.75)
    guess_next = table.copy()
    guess_next[:, EOS] = 0.0  # no caption is asked for its end
    trigram = KneserNey(3, vocabulary).fit(in_pieces("train"))
    common = [vocabulary.decode([int(i)])[0] for i in np.argsort(-frequency)[:200]]

    @cache
    def best(before: tuple[int, ...]) -> int:
        """The trigram model's favourite, among what was seen there and what is frequent."""
        seen = set(common)
        for context in ((SOS, *before)[-2:], (SOS, *before)[-1:]):
            seen |= set(vocabulary.decode(sorted(trigram.counts.get(context, Counter()))))
        seen -= {"<eos>"}
        words = vocabulary.decode(before)
        favourite = max(sorted(seen), key=lambda piece: trigram.probability(piece, words))
        return vocabulary.encode([favourite])[0]

    names = ("most_frequent", "bigram", "trigram", "both_neighbours")
    right: dict[str, list[bool]] = {name: [] for name in names}
    first: dict[str, list[bool]] = {name: [] for name in names}
    logs: dict[str, list[float]] = {name: [] for name in names}
    likely = trigram.log_probabilities(in_pieces("test"))
    position = 0
    for row in tests:
        framed = [SOS, *row, EOS]
        for place, piece in enumerate(row):
            left, after = framed[place], framed[place + 2]
            between = table[left] * table[:, after]
            between[[PAD, SOS, EOS]] = 0.0
            between /= between.sum()
            guesses = {
                "most_frequent": (int(frequency.argmax()), math.log(frequency[piece])),
                "bigram": (int(guess_next[left].argmax()), math.log(table[left, piece])),
                "trigram": (best(tuple(row[max(0, place - 2) : place])), likely[position]),
                "both_neighbours": (int(between.argmax()), math.log(between[piece])),
            }
            for name, (guess, log) in guesses.items():
                right[name].append(guess == piece)
                logs[name].append(log)
                if place == 0:
                    first[name].append(guess == piece)
            position += 1
        position += 1  # <eos>, which is not asked for
    return {
        name: {
            "accuracy": statistics.fmean(right[name]),
            "first": statistics.fmean(first[name]),
            "perplexity": math.exp(-statistics.fmean(logs[name])),
        }
        for name in names
    }


# --- the rule and the other head --------------------------------------------------------------


def shares() -> dict[str, float]:
    """What `hide` did to the training captions, once each."""
    generator = torch.Generator().manual_seed(SEED)
    mask = pieces().token_to_id("[MASK]")
    count: Counter[str] = Counter()
    for start in range(0, len(captions("train")), 1000):
        texts = read_texts(pieces(), captions("train")[start : start + 1000])
        hidden = hide(texts, pieces(), generator=generator)
        asked = hidden.targets != IGNORE_INDEX
        same = hidden.ids == texts.ids
        count["pieces"] += int((~texts.special).sum())
        count["chosen"] += int(asked.sum())
        count["masked"] += int((asked & (hidden.ids == mask)).sum())
        count["kept"] += int((asked & same).sum())
    other = count["chosen"] - count["masked"] - count["kept"]
    return {
        "pieces": count["pieces"],
        "chosen": count["chosen"] / count["pieces"],
        "masked": count["masked"] / count["chosen"],
        "replaced": other / count["chosen"],
        "kept": count["kept"] / count["chosen"],
        "pieces_of_a_caption": count["pieces"] / len(captions("train")),
    }


@torch.no_grad()
def next_part() -> dict[str, float]:
    """Does the second half belong to the first? And what lengths alone would have told."""
    model = trained("bert")
    chance = random.Random(SEED)
    pairs, follows = pair_up(captions("test"), by_length(captions("test")), chance)
    texts = read_texts(pieces(), pairs)
    guesses = model.next_logits(
        model.bert(texts.ids, texts.token_type_ids, texts.mask).pooled
    ).argmax(dim=1)
    # Without the care that lengths agree: any other caption's second half.
    lengths = [len(text.split()) for text in captions("test")]
    rule = []
    for length in lengths:
        other = chance.choice(lengths) if chance.random() < 0.5 else None
        first, second = length // 2, (length if other is None else other)
        fits = second - second // 2 - first in (0, 1)
        rule.append(fits == (other is None))
    return {
        "pairs": len(pairs),
        "accuracy": float((guesses == follows).float().mean()),
        "follows": float((follows == 0).float().mean()),
        "lengths_alone": statistics.fmean(rule),
    }


# --- fine-tuning ------------------------------------------------------------------------------

SIZES = (16, 64, 240)
STEPS = 150


def agreement(split: str) -> list[tuple[str, int]]:
    """Captions with one *is* or *are*, which is taken out; the label is 1 where it was *are*."""
    found = []
    for caption in captions(split):
        words = caption.split()
        verbs = [place for place, word in enumerate(words) if word in ("is", "are")]
        if len(verbs) == 1:
            (place,) = verbs
            rest = " ".join(words[:place] + words[place + 1 :])
            found.append((rest, int(words[place] == "are")))
    return found


def balanced(examples: Sequence[tuple[str, int]], count: int, seed: int) -> list[tuple[str, int]]:
    """As many of each label, drawn at random."""
    chance = random.Random(seed)
    drawn = [
        one
        for label in (0, 1)
        for one in chance.sample([e for e in examples if e[1] == label], count // 2)
    ]
    return chance.sample(drawn, len(drawn))


def tests() -> list[tuple[str, int]]:
    """The test captions of the task, as many of each label."""
    examples = agreement("test")
    fewest = min(sum(label == one for _, label in examples) for one in (0, 1))
    return balanced(examples, 2 * fewest, SEED)


def part(texts: Texts, rows: Tensor) -> Texts:
    """Some of the texts."""
    return Texts(*(one[rows] for one in texts))


def fine_tune(bert: Bert, examples: Sequence[tuple[str, int]], seed: int) -> float:
    """Train a classifier on the examples, all of its parameters; accuracy on the tests."""
    torch.manual_seed(seed)
    model = Classifier(bert, 2)
    texts = read_texts(pieces(), [text for text, _ in examples])
    labels = torch.tensor([label for _, label in examples])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        rows = torch.randperm(len(examples))[:16]
        loss = functional.cross_entropy(model(part(texts, rows)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return accuracy(model)


@torch.no_grad()
def accuracy(model: Classifier) -> float:
    """Share of the test captions labelled right."""
    model.eval()
    texts = read_texts(pieces(), [text for text, _ in tests()])
    labels = torch.tensor([label for _, label in tests()])
    return float((model(texts).argmax(dim=1) == labels).float().mean())


def naive_bayes(examples: Sequence[tuple[str, int]]) -> float:
    """The same task by counting words of each label, plus one (and no order of words)."""
    counts = [Counter(w for text, one in examples if one == label for w in text.split())
              for label in (0, 1)]  # fmt: skip
    known = set(counts[0]) | set(counts[1])
    totals = [sum(one.values()) + len(known) for one in counts]

    def guess(text: str) -> int:
        logs = [
            sum(math.log((one[w] + 1) / total) for w in text.split() if w in known)
            for one, total in zip(counts, totals, strict=True)
        ]
        return int(logs[1] > logs[0])

    return statistics.fmean(guess(text) == label for text, label in tests())


@torch.no_grad()
def neighbours(bert: Bert, examples: Sequence[tuple[str, int]]) -> dict[str, float]:
    """Without any fine-tuning: the label of the nearest labelled caption, by two vectors of it."""

    def vectors(given: Sequence[tuple[str, int]]) -> tuple[Tensor, Tensor]:
        texts = read_texts(pieces(), [text for text, _ in given])
        read = bert(texts.ids, texts.token_type_ids, texts.mask)
        words = (~texts.special).unsqueeze(-1)
        mean = (read.states * words).sum(dim=1) / words.sum(dim=1)
        return functional.normalize(read.states[:, 0], dim=-1), functional.normalize(mean, dim=-1)

    labels = torch.tensor([label for _, label in examples])
    right = torch.tensor([label for _, label in tests()])
    return {
        name: float((labels[(asked @ known.T).argmax(dim=1)] == right).float().mean())
        for name, known, asked in zip(
            ("cls", "mean"), vectors(examples), vectors(tests()), strict=True
        )
    }


def fine_tuning() -> dict[str, Any]:
    """Pre-trained against new, for a few numbers of labels, each with all seeds."""
    model = trained("bert")

    def copy() -> Bert:
        other = fresh()
        other.load_state_dict(model.state_dict())
        return other.bert

    found: dict[str, Any] = {"tests": len(tests()), "steps": STEPS, "sizes": {}}
    for size in SIZES:
        drawn = {seed: balanced(agreement("val"), size, seed) for seed in SEEDS}
        near = [neighbours(model.bert, drawn[seed]) for seed in SEEDS]
        found["sizes"][str(size)] = {
            "pretrained": over_seeds([fine_tune(copy(), drawn[seed], seed) for seed in SEEDS]),
            "scratch": over_seeds(
                [fine_tune(fresh(seed).bert, drawn[seed], seed) for seed in SEEDS]
            ),
            "naive_bayes": over_seeds([naive_bayes(drawn[seed]) for seed in SEEDS]),
            "nearest_cls": over_seeds([one["cls"] for one in near]),
            "nearest_mean": over_seeds([one["mean"] for one in near]),
        }
    return found


# --- fill in the blank ------------------------------------------------------------------------

# Short test captions of whole words.
BLANKS = (119, 350, 24, 652, 438, 4)


def blanks() -> list[dict[str, Any]]:
    """Some test captions: for each hidden piece the five best guesses of both models."""
    both, left = trained("bert"), trained("left_to_right")

    def best(logs: Tensor) -> list[list[tuple[str, float]]]:
        values, ids = logs.exp().topk(5, dim=-1)
        return [
            [(str(pieces().id_to_token(i)), round(p, 4)) for i, p in zip(*row, strict=True)]
            for row in zip(ids.tolist(), values.tolist(), strict=True)
        ]

    found = []
    for number in BLANKS:
        text = captions("test")[number]
        two, one = both_sides(both, text), from_the_left(left, text)
        found.append(
            {
                "pieces": [pieces().id_to_token(int(i)) for i in two[1]],
                "both": best(two[0]),
                "left": best(one[0]),
            }
        )
    return found


# --- all of it --------------------------------------------------------------------------------


def scored(name: str) -> dict[str, Any]:
    """What one of the two models finds of the test captions' pieces."""
    ask = both_sides if name == "bert" else from_the_left
    return score([ask(trained(name), text) for text in captions("test")])


def hidden() -> dict[str, Any]:
    """What is found of hidden pieces, by counting and by both models."""
    found: dict[str, Any] = cached("counting", by_counting)
    return found | {name: cached(f"scored-{name}", scored, name) for name in EPOCHS}


def size_of_captions() -> dict[str, int]:
    """How many captions, and how many pieces are asked for."""
    return {
        "captions": len(captions("train")),
        "test_captions": len(captions("test")),
        "asked": sum(map(len, in_pieces("test"))),
    }


def shape() -> dict[str, Any]:
    """The models' sizes, and what their trainings took."""
    return {
        **SHAPE,
        "pieces": pieces().get_vocab_size(),
        "parameters": sum(p.numel() for p in fresh().parameters()),
        "epochs": EPOCHS,
        "cpu_seconds": {name: cached.tensors(name, weights, name)["seconds"] for name in EPOCHS},
    }


def wordpiece() -> list[dict[str, str]]:
    """Some words in pieces."""
    return [
        {"word": word, "pieces": " ".join(pieces().encode(word).tokens[1:-1])}
        for word in ("skateboarder", "skateboarders", "snowmobiling", "grandmothers")
    ]


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    found = {name: part["accuracy"] for name, part in result["hidden"].items()}
    firsts = {name: part["first"] for name, part in result["hidden"].items()}
    sizes, shares = result["fine_tuning"]["sizes"], result["shares"]
    few = sizes["16"]
    return {
        "a caption has 14 pieces": int(shares["pieces_of_a_caption"]) == 14,
        "four of five chosen pieces are hidden": abs(shares["masked"] - 0.8) < 0.01
        and abs(shares["replaced"] + shares["kept"] + shares["masked"] - 1) < 1e-9,
        "about one piece in six is chosen": 0.15 < shares["chosen"] < 0.18,
        "the more may be seen, the more is found": sorted(found, key=found.__getitem__)
        == ["most_frequent", "bigram", "trigram", "left_to_right", "both_neighbours", "bert"],
        "four points more than by one neighbour on each side": round(
            100 * (found["bert"] - found["both_neighbours"])
        )
        == 4,
        "of first pieces nothing is known from the left": firsts["left_to_right"]
        == firsts["most_frequent"]
        < firsts["bert"],
        "pre-trained is ahead with every number of labels and every seed": all(
            one > other
            for part in sizes.values()
            for one, other in zip(
                part["pretrained"]["seeds"], part["scratch"]["seeds"], strict=True
            )
        ),
        "the mean of the states is a better neighbour than [CLS]": all(
            part["nearest_cls"]["mean"] < part["nearest_mean"]["mean"] for part in sizes.values()
        ),
        "with 16 labels counting lies between new and pre-trained": few["scratch"]["mean"]
        < few["naive_bayes"]["mean"]
        < few["pretrained"]["mean"],
        "64 labels are worth 240": abs(
            sizes["64"]["pretrained"]["mean"] - sizes["240"]["scratch"]["mean"]
        )
        < 0.02,
        "seeds are 15 points apart with 16 labels": abs(
            max(few["pretrained"]["seeds"]) - min(few["pretrained"]["seeds"]) - 0.15
        )
        < 0.005,
    }


def draw_hidden(found: dict[str, Any]) -> Figure:
    """Share of hidden pieces found, by what may be seen."""
    names = {
        "most_frequent": "nothing",
        "bigram": "one piece before",
        "trigram": "two pieces before",
        "left_to_right": "all before",
        "both_neighbours": "one before, one after",
        "bert": "all before and after",
    }
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    for place, name in enumerate(names):
        share = 100 * found[name]["accuracy"]
        ax.barh(place, share, color=plots.WEIGHT if name == "bert" else "0.6", height=0.62)
        ax.text(share + 1, place, f"{share:.0f}", va="center")
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.invert_yaxis()
    ax.set(xlim=(0, 100), xlabel="test pieces found (%)", ylabel="what may be seen")
    ax.set_title("Both sides tell more than one")
    return figure


def draw_fine_tuning(found: dict[str, Any]) -> Figure:
    """Accuracy by number of labels: every seed, and the means as lines."""
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    rows = (("pretrained", "pre-trained", "o", plots.WEIGHT), ("scratch", "new", "s", "0.45"))
    sizes = list(found["sizes"])
    for name, label, marker, colour in rows:
        means = [100 * found["sizes"][size][name]["mean"] for size in sizes]
        ax.plot(range(len(sizes)), means, color=colour)
        for place, size in enumerate(sizes):
            for value in found["sizes"][size][name]["seeds"]:
                ax.plot(place, 100 * value, marker, color=colour, markersize=4, alpha=0.8)
        aside = 2 if name == "pretrained" else -2
        ax.text(len(sizes) - 0.9, means[-1] + aside, label, va="center")
    ax.axhline(50, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(sizes)), sizes)
    ax.set(xlim=(-0.3, len(sizes) - 0.2), ylim=(45, 100), xlabel="labelled captions",
           ylabel="test captions right (%)")  # fmt: skip
    ax.set_title("What was learned without labels saves labels")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "bert-hidden": draw_hidden(result["hidden"]),
        "bert-fine-tuning": draw_fine_tuning(result["fine_tuning"]),
    }


SCRIPT = Script(
    doc=__doc__,
    parts={
        ("captions", "test_captions", "asked"): size_of_captions,
        "model": shape,
        "wordpiece": wordpiece,
        "hidden": hidden,
        "shares": (shares,),
        "next_part": (next_part,),
        "fine_tuning": (fine_tuning,),
        "blanks": blanks,
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
)

if __name__ == "__main__":
    SCRIPT.run()
