"""What chapter 9 reports: what each bug of the museum does to a model, and what gives it away.

    python book/results/museum.py            # writes the JSON beside it, and the figures
    python book/results/museum.py --fresh    # measure everything again

Some bugs are put into trained models of book/results/train.py, two of the grammar and the two
published ones; with others a small model is trained here (about 16 s of one core each). Measured
parts are kept in the user's cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import train as models
from _measure import FIGURES, Cache, Script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from attnbook import grammar, museum, plots, training
from attnbook.attention import masked_softmax
from attnbook.batches import pad, random_batches
from attnbook.corpora import SentencePair
from attnbook.decoding import decode, greedy_search, teacher_forced_attention, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import (
    bleu,
    exact_match,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.museum import EXHIBITS, AttentionWith, NextWord
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import TrainingConfig, train
from attnbook.vocabulary import EOS, PAD, SOS, Vocabulary

cached = Cache("museum")
MODEL, ADDITIVE = "grammar-dot-0", "grammar-additive-0"
PUBLISHED = ("multi30k-dot", "multi30k-cho")
BATCH = 32
FEW = 300  # sentences where they are translated one by one
EPOCHS = 10
TRAINED_WITH = (
    "right", "ignores-source", "no-attention", "unshifted-targets", "softmax-over-batch",
)  # fmt: skip
MASKS: dict[str, Callable[[int], Tensor]] = {
    "right": museum.causal_mask,
    "leaky": museum.leaky_mask,
}
SOFTMAXES: dict[str, Callable[..., Tensor]] = {
    "right": masked_softmax,
    "softmax-over-batch": museum.softmax_over_batch,
    "without-mask": museum.without_mask,
    "inverted-mask": museum.inverted_mask,
    "mask-along-rows": museum.mask_along_rows,
    "mask-times-scores": museum.mask_times_scores,
    "mask-after-softmax": museum.mask_after_softmax,
    "large-constant": museum.large_constant,
}
CHECKS = {
    "rows": museum.check_rows,
    "padding": museum.check_padding,
    "extremes": museum.check_extremes,
}


# --- by hand ----------------------------------------------------------------------------------


def smoke(softmax: Callable[..., Tensor]) -> dict[str, bool]:
    """The tests that everybody writes: it runs, the shape is right, and rows sum to 1."""
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 5)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).unsqueeze(1)
    weights = softmax(scores, mask)
    sums = weights.sum(dim=-1)
    return {
        "runs": weights.shape == scores.shape and bool(weights.isfinite().all()),
        "sums": bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-6)),
    }


def passes(check: Callable[[Any], None], implementation: Any) -> bool:
    """Whether an implementation gets through a check."""
    try:
        check(implementation)
    except AssertionError:
        return False
    return True


def by_hand() -> dict[str, Any]:
    """Two words and a place of padding, scores 0, ln 3 and ln 4, under every softmax."""
    scores = torch.tensor([0.0, math.log(3), math.log(4)], dtype=torch.float64).repeat(1, 3, 1)
    mask = torch.tensor([[[True, True, False]]])
    rows = {name: softmax(scores, mask)[0, 0].tolist() for name, softmax in SOFTMAXES.items()}
    # The scores that TransformerLens#385 shows, of which three are the constant.
    seen = torch.tensor(
        [-110208.0547, -110189.8125, -110206.5234, -110208.4531, -110192.6016, 0, 0, 0]
    )
    real = {
        name: SOFTMAXES[name](seen[None], torch.arange(8) < 5)[0].tolist()
        for name in ("right", "large-constant")
    }
    nowhere = museum.large_constant(torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1, 3).bool())
    queries, keys = torch.tensor([[2.0, 1.0], [-1.0, 1.0]]), torch.tensor([[-2.0, 0], [1, 1]])
    return {
        "softmax": rows,
        "real_scores": real,
        "nowhere": nowhere[0].tolist(),
        "largest_half": torch.finfo(torch.float16).max,
        "flat": museum.without_tanh(queries, keys, torch.tensor([2.0, -1.0])).tolist(),
    }


def who_notices() -> dict[str, dict[str, bool]]:
    """Which test lets which softmax through."""
    return {
        name: smoke(softmax) | {key: passes(check, softmax) for key, check in CHECKS.items()}
        for name, softmax in SOFTMAXES.items()
    }


def catalogue() -> dict[str, dict[str, bool]]:
    """Every exhibit's own check, on both."""
    return {
        name: {
            "right": passes(exhibit.check, exhibit.right),
            "broken": passes(exhibit.check, exhibit.broken),
        }
        for name, exhibit in EXHIBITS.items()
    }


# --- one function exchanged in a trained model ------------------------------------------------


def grammar_test() -> list[SentencePair]:
    """The grammar's test sentences."""
    return models.pairs_of("test", "grammar")


@torch.inference_mode()
def translate_in_batches(
    translator: Translator, sentences: Sequence[Sequence[str]], size: int
) -> list[list[str]]:
    """Greedy, in the order given, so that short and long sentences stand together."""
    written = []
    for start in range(0, len(sentences), size):
        rows = [[*translator.source_ids(s), EOS] for s in sentences[start : start + size]]
        encoded = translator.encode(*pad(rows))
        for found in greedy_search(translator, encoded):
            ids = found.ids[:-1] if found.finished else found.ids
            written.append(translator.target_vocabulary.decode(ids))
    return written


@contextmanager
def softmax_of(translator: Translator, softmax: Callable[..., Tensor]) -> Iterator[None]:
    """Another softmax in the decoder's attention for as long as the block lasts."""
    kept = models.attention_of(translator)
    translator.decoder.attention = AttentionWith(kept.score, softmax)
    try:
        yield
    finally:
        translator.decoder.attention = kept


@contextmanager
def encoder_of(translator: Translator, kind: type[Encoder]) -> Iterator[None]:
    """The same weights read by another class of encoder."""
    kept = type(translator.encoder)
    translator.encoder.__class__ = kind
    try:
        yield
    finally:
        translator.encoder.__class__ = kept


def exchanged(
    translator: Translator, pairs: Sequence[SentencePair], sizes: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Exact match with each bug, in batches of every size; 1 is one sentence at a time."""
    sources, right = [pair.source for pair in pairs], [pair.target for pair in pairs]

    def measured() -> dict[str, float]:
        return {
            "alone" if size == 1 else "batch": exact_match(
                translate_in_batches(translator, sources, size), right
            )
            for size in sizes
        }

    result = {}
    for name, softmax in SOFTMAXES.items():
        if name != "mask-along-rows":  # its shapes do not fit where lengths differ
            with softmax_of(translator, softmax):
                result[name] = measured()
    with encoder_of(translator, museum.ViewEncoder):
        result["joined-by-view"] = measured()
    return result


def largest_scores(translator: Translator, pairs: Sequence[SentencePair]) -> float:
    """The mean over steps of the largest score, while the right translation is read."""
    scores = [decode(translator, pair.source, target=pair.target).scores for pair in pairs]
    largest = [float(row.max()) for steps in scores if steps is not None for row in steps]
    return sum(largest) / len(largest)


def order(translator: Translator, pairs: Sequence[SentencePair]) -> dict[str, float]:
    """Translations put back in place, over each other; and weights that were never put back."""
    sources, right = [pair.source for pair in pairs], [pair.target for pair in pairs]
    found = museum.translate_in_place(translator, sources)
    own = translate(translator, sources)
    drawn, weights = (
        museum.weights_to_draw(translator, pairs),
        teacher_forced_attention(translator, pairs),
    )
    shapes = [a.shape == b.shape for a, b in zip(drawn, weights, strict=True)]
    return {
        "exact": exact_match(found, right),
        "right": exact_match(own, right),
        "foreign": 1 - exact_match(found, own),
        "different": len({tuple(words) for words in found}),
        "different_right": len({tuple(words) for words in own}),
        "same_shape": sum(shapes) / len(shapes),
    }


def perplexities() -> dict[str, Any]:
    """Both perplexities of both published models, on the test set of 2016."""
    pairs = models.pairs_of("test", "multi30k")
    result = {}
    for name in PUBLISHED:
        translator = models.load(name)
        written = translate(translator, [pair.source for pair in pairs])
        result[name] = {
            "forced": teacher_forced_perplexity(translator, pairs),
            "free": free_running_perplexity(translator, pairs),
            "bleu": bleu(written, [pair.target for pair in pairs]).score,
        }
    return result | {"sentences": len(pairs)}


# --- models trained with a bug in them --------------------------------------------------------


def crossed(pairs: Sequence[SentencePair]) -> SentencePair:
    """The first sentence of nine words whose verb stands last in German and early in English."""
    for pair in pairs:
        last = len(pair.source) - 2  # before the full stop or the last word
        if len(pair.source) == 9 and any(i >= last and j <= 3 for i, j in pair.links or ()):
            return pair
    raise SystemExit("no such sentence")


def corpus() -> grammar.GrammarCorpus:
    """Short sentences, so that a training takes seconds."""
    return grammar.corpus(train=4000, val=200, test=500, shortest=3, longest=10)


def train_with(bug: str) -> dict[str, Any]:
    """A small translator trained with one bug: its losses, and its translations."""
    data = corpus()
    torch.manual_seed(0)
    config = RecurrentConfig(
        decoder="sutskever" if bug == "no-attention" else "luong",
        bidirectional=True, embedding_dim=32, hidden_dim=64, dropout=0.0, embedding_std=0.5,
    )  # fmt: skip
    translator = Translator.from_config(
        config,
        Vocabulary.from_sentences(pair.source for pair in data.train),
        Vocabulary.from_sentences(pair.target for pair in data.train),
        name=bug,
    )
    if bug == "ignores-source":
        score = models.attention_of(translator).score
        translator.decoder.attention = museum.AttentionByPosition(score, query_dim=64)
    if bug == "softmax-over-batch":
        score = models.attention_of(translator).score
        translator.decoder.attention = AttentionWith(score, museum.softmax_over_batch)
    kept = training.collate
    if bug == "unshifted-targets":
        training.collate = museum.unshifted
    settings = TrainingConfig(
        epochs=EPOCHS, batch_tokens=600, learning_rate=1e-2, label_smoothing=0.0
    )
    try:
        history = train(translator, data.train, data.val, settings, progress=False)
    finally:
        training.collate = kept
    written = translate(translator, [pair.source for pair in data.test])
    right = [pair.target for pair in data.test]
    pair = crossed(data.test)
    result = {
        "validation": [epoch.validation_loss for epoch in history.epochs],
        "best": history.best.validation_loss,
        "perplexity": math.exp(history.best.validation_loss),
        "true_perplexity": teacher_forced_perplexity(translator, data.val),
        "exact": exact_match(written, right),
        "bleu": bleu(written, right).score,
        "example": " ".join(translate(translator, [pair.source])[0]),
        "words": len(translator.target_vocabulary),
        "sentences": len(right),
    }
    if bug in ("right", "ignores-source"):  # a trace refuses rows that do not sum to 1
        trace = decode(translator, pair.source, target=pair.target)
        assert trace.weights is not None
        result["trace"] = {
            "source": trace.source_tokens,
            "target": trace.target_tokens,
            "weights": trace.weights.tolist(),
        }
    return result


def train_language_model(mask: Callable[[int], Tensor]) -> dict[str, Any]:
    """The small language model on the English side, and what is left when no future is there."""
    data = corpus()
    words = Vocabulary.from_sentences(pair.target for pair in data.train)
    # A batch of pairs with the same sentence on both sides, of which only the target is read.
    examples = [(ids, ids) for pair in data.train for ids in [words.encode(pair.target)]]
    held_out = [(ids, ids) for pair in data.val for ids in [words.encode(pair.target)]]
    torch.manual_seed(0)
    model = NextWord(mask, len(words))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def nats(batch: Any) -> Tensor:
        logits = model(batch.target_in)[batch.target_mask]
        return functional.cross_entropy(logits, batch.target_out[batch.target_mask])

    @torch.inference_mode()
    def measured() -> float:
        (batch,) = random_batches(held_out, len(held_out), seed=0)
        return float(nats(batch))

    @torch.inference_mode()
    def word_by_word() -> float:
        """As when writing: what comes later is not there yet."""
        total = tokens = 0.0
        for _, ids in held_out:
            read, write = [SOS, *ids], [*ids, EOS]
            for step, answer in enumerate(write):
                logits = model(torch.tensor([read[: step + 1]]))[0, -1]
                total += float(functional.cross_entropy(logits, torch.tensor(answer)))
                tokens += 1
        return total / tokens

    losses = []
    for epoch in range(EPOCHS):
        for batch in random_batches(examples, 64, seed=epoch):
            optimizer.zero_grad()
            nats(batch).backward()
            optimizer.step()
        losses.append(measured())
    return {
        "validation": losses,
        "perplexity": math.exp(losses[-1]),
        "word_by_word": math.exp(word_by_word()),
        "written": _write(model, words),
        "words": len(words),
    }


@torch.inference_mode()
def _write(model: NextWord, words: Vocabulary, most: int = 12) -> str:
    ids = [SOS]
    while len(ids) < most and ids[-1] != EOS:
        logits = model(torch.tensor([ids]))[0, -1]
        logits[[PAD, SOS]] = -torch.inf
        ids.append(int(logits.argmax()))
    return " ".join(words.decode([number for number in ids[1:] if number != EOS]))


def test_sentences() -> int:
    """How many sentences the grammar's test set has."""
    return len(grammar_test())


def exchanged_in_batches() -> dict[str, Any]:
    """Every bug in the model with dot scores, alone and in batches."""
    return exchanged(models.load(MODEL), grammar_test()[:FEW], (1, BATCH))


def exchanged_in_additive() -> dict[str, Any]:
    """Every bug in the model with additive scores, in batches."""
    return exchanged(models.load(ADDITIVE), grammar_test()[:FEW], (BATCH,))


def of_additive() -> dict[str, Any]:
    """The same, and what the bugs of the mask cost in points."""
    found = cached("exchanged-additive", exchanged_in_additive)
    lost = [
        100 * (found["right"]["batch"] - found[name]["batch"])
        for name in ("without-mask", "mask-times-scores", "mask-after-softmax")
    ]
    return {
        "exchanged_additive": found,
        "exchanged_cost": {"smallest": min(lost), "largest": max(lost)},
    }


def largest_of_model() -> float:
    """The mean of the largest scores."""
    return largest_scores(models.load(MODEL), grammar_test()[:FEW])


def order_of_model() -> dict[str, float]:
    """What is put back in place, and what is not."""
    return order(models.load(MODEL), grammar_test())


def all_trained() -> dict[str, Any]:
    """A training with each bug."""
    return {bug: cached(f"trained-{bug}", train_with, bug) for bug in TRAINED_WITH}


def language_model(name: str) -> dict[str, Any]:
    """The language model with the right mask or the leaky one."""
    return train_language_model(MASKS[name])


def both_language_models() -> dict[str, Any]:
    """With the leak and without."""
    return {name: cached(f"language-{name}", language_model, name) for name in MASKS}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    rows, additive = result["exchanged"], result["exchanged_additive"]
    right, trained, order = rows["right"], result["trained"], result["order"]
    leaky, plain = (result["language_model"][name] for name in ("leaky", "right"))
    dot, cho = (result["perplexities"][name] for name in PUBLISHED)
    masks = ("without-mask", "mask-times-scores", "mask-after-softmax")
    views, of_find = rows["joined-by-view"], trained["ignores-source"]["trace"]["weights"][2]
    falling = [
        trained[bug]["validation"]
        for bug in ("ignores-source", "unshifted-targets", "softmax-over-batch")
    ]
    falling.append(leaky["validation"])
    real = result["by_hand"]["real_scores"]
    return {
        "every exhibit's check passes the right one and fails the broken one": set(
            result["catalogue"]
        )
        == set(EXHIBITS)
        and all(row == {"right": True, "broken": False} for row in result["catalogue"].values()),
        "fifteen exhibits": result["exhibits"] == 15,
        "the public model looks at the second word, then at the fifth": sorted(
            range(5), key=lambda i: -real["right"][i]
        )[:2]
        == [1, 4],
        "and behind the constant at none of them": sum(real["large-constant"][:5]) == 0,
        "the right model does not depend on the batch": right["alone"] == right["batch"],
        "with dot scores the bugs of the mask cost nothing": all(
            rows[name] == right for name in masks
        ),
        "with additive scores they do": all(
            additive[name]["batch"] < additive["right"]["batch"] - 0.05 for name in masks
        ),
        "the large constant costs nothing": rows["large-constant"] == right
        and additive["large-constant"] == additive["right"],
        "inverted, or over the batch, nothing is left": all(
            max(rows[name].values()) < 0.05 for name in ("inverted-mask", "softmax-over-batch")
        ),
        "view is right for one sentence and wrong for a batch": views["alone"] == right["alone"]
        and 0.05 < views["batch"] < right["batch"] / 2,
        "scores are large, so that a padding's 0 weighs about a thousandth": 500
        < math.exp(result["largest_score"])
        < 2000,
        "two of five translations are another sentence's": order["foreign"] > 0.4,
        "half of the right ones are lost": order["exact"] < order["right"] / 2 + 0.05,
        "and sentences appear twice": order["different"]
        < order["different_right"]
        == result["test_sentences"],
        "foreign weights seldom have the sentence's shape": order["same_shape"] < 0.02,
        "the loss falls from the first epoch to the last, with the bug and without": all(
            trained[name]["validation"] == sorted(trained[name]["validation"], reverse=True)
            and trained[name]["validation"][-1] < trained[name]["validation"][0] / 2
            for name in ("right", "ignores-source")
        ),
        "and in every exhibit that was trained": all(
            values[-1] < values[0] / 2 for values in falling
        ),
        "never comparing costs translations": trained["ignores-source"]["exact"]
        < trained["right"]["exact"] - 0.1,
        "and has three times as many as no attention": 2.5
        < trained["ignores-source"]["exact"] / trained["no-attention"]["exact"]
        < 3.5,
        "its weights of find lie on finden": of_find.index(max(of_find)) == 7,
        "unshifted targets are learned perfectly and translate nothing": trained[
            "unshifted-targets"
        ]["exact"]
        == 0
        and trained["unshifted-targets"]["best"] < 0.01,
        "they repeat themselves": trained["unshifted-targets"]["example"].startswith(
            "we we we we we"
        ),
        "and are worse than dice": trained["unshifted-targets"]["true_perplexity"]
        > trained["right"]["words"],
        "the leak halves the perplexity": leaky["perplexity"] < plain["perplexity"] / 2,
        "word by word the right one stays as it is": abs(
            plain["word_by_word"] / plain["perplexity"] - 1
        )
        < 1e-4,
        "and the leaky one is worse than dice": leaky["word_by_word"] > leaky["words"],
        "the right one writes a sentence, the leaky one nothing": plain["written"].startswith(
            "we are looking for the girl"
        )
        and leaky["written"] == "",
        "teacher-forced, dot is ahead of Cho": dot["forced"] < cho["forced"],
        "in BLEU by far": dot["bleu"] > cho["bleu"] + 5,
        "free-running perplexities are in the wrong order": dot["free"] > cho["free"],
        "133 against 7.5, eighteen times": (
            round(dot["free"]),
            round(cho["forced"], 1),
            round(dot["free"] / cho["forced"]),
        )
        == (133, 7.5, 18),
    }


# --- figures ----------------------------------------------------------------------------------


def _draw_validation(
    parts: dict[str, Any], labels: dict[str, tuple[str, str, int]], title: str
) -> Figure:
    """Validation losses over the epochs, each with its label (text, colour, height) at the end."""
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    for name, (label, colour, height) in labels.items():
        values = parts[name]["validation"]
        end = (len(values), values[-1])
        ax.plot(range(1, len(values) + 1), values, "o-", color=colour, markersize=4)
        ax.annotate(label, end, xytext=(8, height), textcoords="offset points", va="center")
    ax.set(xlabel="epoch", ylabel="validation loss (nats per word)", ylim=0, xlim=(0.5, 15))
    ax.set_xticks(range(2, EPOCHS + 1, 2))
    ax.set_title(title)
    return figure


def draw_losses(parts: dict[str, Any]) -> Figure:
    """Validation losses of attention that compares and attention that does not."""
    labels = {
        "right": ("compares", plots.KEY, 0),
        "ignores-source": ("never compares", plots.QUERY, 0),
    }
    return _draw_validation(parts, labels, "The loss falls either way")


def draw_leak(parts: dict[str, Any]) -> Figure:
    """Validation losses of the language model with and without the leak."""
    labels = {
        "right": ("sees the past", plots.KEY, 6),
        "leaky": ("sees the future", plots.QUERY, 6),
    }
    return _draw_validation(parts, labels, "The better curve is the bug")


def _map(ax: Axes, part: dict[str, Any], title: str) -> None:
    """A heat map from stored numbers, source across."""
    weights = torch.tensor(part["weights"])
    target, source = weights.shape
    # Not an image: a page can recolour rectangles for its dark side.
    ax.pcolormesh(
        np.arange(source + 1) - 0.5, np.arange(target + 1) - 0.5, weights,
        cmap=plots.weights, vmin=0, vmax=1, edgecolors="none",
    )  # fmt: skip
    ax.set_ylim(target - 0.5, -0.5)
    ax.xaxis.tick_top()
    ax.set_xticks(range(source), part["source"], rotation=60, ha="left", rotation_mode="anchor")
    ax.set_yticks(range(target), part["target"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)


def draw_positions(parts: dict[str, Any]) -> Figure:
    """The same sentence under both attentions."""
    figure, axes = plt.subplots(2, 1, figsize=(3.9, 6.4))
    _map(axes[0], parts["right"]["trace"], "Weights that compare")
    _map(axes[1], parts["ignores-source"]["trace"], "Weights that never compare")
    return figure


def wrong_figure() -> tuple[SentencePair, list[list[float]], list[list[float]]]:
    """A sentence, its weights, and those drawn under it: the worst case of at most nine words."""
    translator, pairs = models.load(MODEL), grammar_test()
    drawn, own = (
        museum.weights_to_draw(translator, pairs),
        teacher_forced_attention(translator, pairs),
    )
    fits = [n for n in range(len(pairs)) if own[n].shape == drawn[n].shape and len(own[n]) <= 9]
    worst = max(fits, key=lambda n: float(abs(own[n] - drawn[n]).sum()))
    return pairs[worst], own[worst].tolist(), drawn[worst].tolist()


def draw_wrong_figure() -> Figure:
    """A sentence over its own weights, and over those of another sentence."""
    pair, own, drawn = wrong_figure()
    words = {"source": [*pair.source, "<eos>"], "target": list(pair.target)}
    figure, axes = plt.subplots(2, 1, figsize=(4.2, 7.0))
    _map(axes[0], words | {"weights": own}, "Its own weights")
    _map(axes[1], words | {"weights": drawn}, "Those of another sentence")
    return figure


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of the page."""
    return {
        "museum-losses": draw_losses(result["trained"]),
        "museum-positions": draw_positions(result["trained"]),
        "museum-leak": draw_leak(result["language_model"]),
    }


def finish() -> None:
    """The figure of wrong weights, for which the model has to be there."""
    with plots.style():
        figure = draw_wrong_figure()
        plots.save(figure, FIGURES / "museum-wrong-figure.svg")
        plt.close(figure)


SCRIPT = Script(
    doc=__doc__,
    parts={
        "test_sentences": test_sentences,
        "batch": BATCH,
        "few": FEW,
        "exhibits": len(EXHIBITS),
        "by_hand": by_hand,
        "who_notices": who_notices,
        "catalogue": catalogue,
        "exchanged": (exchanged_in_batches,),
        ("exchanged_additive", "exchanged_cost"): of_additive,
        "largest_score": (largest_of_model,),
        "order": (order_of_model,),
        "perplexities": (perplexities,),
        "trained": all_trained,
        "language_model": both_language_models,
    },
    check=check,
    draw=draw,
    cache=cached,
    finish=finish,
)

if __name__ == "__main__":
    SCRIPT.run()
