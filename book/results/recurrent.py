"""The measurements of chapter 2: recurrent cells on captions, long memories, and gradients.

    python book/results/recurrent.py            # everything; writes recurrent.json and figures
    python book/results/recurrent.py --only language

Every trained model and every finished measurement is kept in the user's cache, so an interrupted
run goes on where it stopped; ``--fresh`` starts over. One thread, CPU, float32 for training and
float64 for gradients.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pooch
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from attnbook import plots
from attnbook.corpora import multi30k
from attnbook.recurrent import GRUCell, LSTMCell, LSTMStep, RNNCell, state_jacobians, unroll
from attnbook.vocabulary import EOS, SOS, UNK, Vocabulary, tokenize

HERE = Path(__file__).parent
FIGURES = HERE.parent / "figures"
CACHE = Path(pooch.os_cache("attnbook")) / "results" / "recurrent"
SEEDS = (0, 1, 2)
KINDS: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
REMEMBERING = "lstm-forget-1"  # an LSTM whose forget bias starts at 1
FAST = ("gru-fast", "lstm-fast")  # trained at twice the rate, one seed: is the order an accident?
CELLS = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}


def cached(name: str, fresh: bool, measure: Callable[[], Any]) -> Any:
    """The result of ``measure``, kept as JSON in the cache."""
    path = CACHE / f"{name}.json"
    if not path.exists() or fresh:
        result = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result))
    return json.loads(path.read_text())


def spread(values: Iterable[float]) -> dict[str, float]:
    """Mean, smallest, largest."""
    values = list(values)
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values)}


def power(value: float) -> str:
    """A norm in words: ``0.17``, or ``2 × 10⁻²³`` where zeros would have to be counted."""
    if 0.01 <= value < 1000:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    digits, exponent = f"{value:.0e}".split("e")
    return (
        f"{digits} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    )


def geometric(values: Iterable[float]) -> dict[str, float]:
    """Geometric mean, smallest, largest: for norms, whose powers of ten are what matters."""
    values = list(values)
    return {"mean": statistics.geometric_mean(values), "low": min(values), "high": max(values)}


# --- language models on captions ---------------------------------------------------------------

EMBEDDING, WIDTH, EPOCHS, BATCH, RATE, DROPOUT = 128, 128, 3, 64, 4e-3, 0.2
CUTOFFS = [400, 1600]  # ids: words are numbered by frequency


class LanguageModel(nn.Module):
    """Word vectors, one recurrent layer, and torch's adaptive softmax.

    The adaptive softmax (Grave et al. 2017) gives a probability to every word like a plain one, but
    spends fewer numbers on rare words; here it makes an update three times as fast.
    """

    def __init__(self, kind: str, width: int, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, EMBEDDING)
        self.recurrent = KINDS[kind.split("-")[0]](EMBEDDING, width, batch_first=True)
        if kind == REMEMBERING:
            with torch.no_grad():
                self.recurrent.bias_ih_l0[width : 2 * width] = 1.0
                self.recurrent.bias_hh_l0[width : 2 * width] = 0.0
        self.output = nn.AdaptiveLogSoftmaxWithLoss(width, words, CUTOFFS, div_value=2.0)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """The natural logarithm of each token's probability, from the second token on."""
        hidden, _ = self.recurrent(self.dropout(self.embedding(ids[:, :-1])))
        return self.output(self.dropout(hidden).flatten(0, 1), ids[:, 1:].flatten()).output

    def read(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of the next word from the hidden state."""
        return self.output.log_prob(hidden)


def equal_width(kind: str, words: int) -> int:
    """The width at which a model of this kind has the parameters of an LSTM of ``WIDTH``."""

    def size(kind: str, width: int) -> int:
        return sum(p.numel() for p in LanguageModel(kind, width, words).parameters())

    goal = size("lstm", WIDTH)
    return min(range(WIDTH, 4 * WIDTH), key=lambda width: abs(size(kind, width) - goal))


@lru_cache
def captions() -> tuple[Vocabulary, dict[str, list[list[int]]]]:
    """English captions as numbers, ``<sos>`` and ``<eos>`` around each; the words of chapter 1."""
    text = {name: [pair.target for pair in multi30k(name)] for name in ("train", "val", "test")}
    vocabulary = Vocabulary.from_sentences(text["train"], min_count=2)
    coded = {
        name: [[SOS, *vocabulary.encode(sentence), EOS] for sentence in sentences]
        for name, sentences in text.items()
    }
    return vocabulary, coded


def batches(sentences: list[list[int]], chance: random.Random) -> list[Tensor]:
    """Batches of sentences of equal length, so that nothing is padded, in random order."""
    by_length = defaultdict(list)
    for sentence in chance.sample(sentences, len(sentences)):
        by_length[len(sentence)].append(sentence)
    made = [
        torch.tensor(group[start : start + BATCH])
        for group in by_length.values()
        for start in range(0, len(group), BATCH)
    ]
    chance.shuffle(made)
    return made


@torch.no_grad()
def perplexity(model: LanguageModel, sentences: list[list[int]]) -> float:
    """exp of the mean loss per token; ``<eos>`` is a token, ``<sos>`` is not, as in chapter 1."""
    model.eval()
    nats = tokens = 0.0
    for batch in batches(sentences, random.Random(0)):
        nats -= model(batch).sum().item()
        tokens += batch[:, 1:].numel()
    return math.exp(nats / tokens)


def language_model(kind: str, width: int, seed: int, fresh: bool = False) -> dict:
    """Train one language model, or read it from the cache: weights, sizes, perplexities."""
    path = CACHE / f"language-{kind}-{width}-{seed}.pt"
    if path.exists() and not fresh:
        return torch.load(path)
    vocabulary, coded = captions()
    torch.manual_seed(seed)
    chance = random.Random(seed)
    model = LanguageModel(kind, width, len(vocabulary))
    rate = 2 * RATE if kind in FAST else RATE
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    updates = EPOCHS * len(batches(coded["train"], chance))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, 1 - step / (updates + 1))
    )
    started, spent, tokens, norms = time.time(), time.process_time(), 0, []
    for epoch in range(EPOCHS):
        model.train()
        name = f"{kind} {width}, seed {seed}, epoch {epoch + 1}/{EPOCHS}"
        bar = tqdm(batches(coded["train"], chance), desc=name, mininterval=5)
        for batch in bar:
            loss = -model(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
            optimizer.step()
            schedule.step()
            tokens += batch[:, 1:].numel()
            bar.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
    result = {
        "kind": kind,
        "width": width,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "recurrent_parameters": sum(p.numel() for p in model.recurrent.parameters()),
        "seconds": time.time() - started,
        "cpu_seconds": time.process_time() - spent,
        "tokens": tokens,
        "gradient_norms": norms,
        "val": perplexity(model, coded["val"]),
        "test": perplexity(model, coded["test"]),
        "train": perplexity(model, coded["train"][:2000]),
        "weights": model.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(result, path)
    print(
        {name: value for name, value in result.items() if name not in ("weights", "gradient_norms")}
    )
    return result


def language_models(fresh: bool) -> list[dict]:
    """Three kinds at equal width, a GRU of the LSTM's size, an LSTM told to remember."""
    words = len(captions()[0])
    widths = [(kind, WIDTH) for kind in KINDS]
    widths += [("gru", equal_width("gru", words)), (REMEMBERING, WIDTH)]
    runs = [(kind, width, seed) for seed in SEEDS for kind, width in widths]
    runs += [(kind, WIDTH, SEEDS[0]) for kind in FAST]
    return [language_model(*run, fresh) for run in runs]


# --- the norm of the gradient by distance ---------------------------------------------------------

STEPS, FRESH_WIDTH, FRESH_SEEDS = 100, 64, tuple(range(10))
DISTANCES = (1, 5, 10, 20, 50, 100)


def norms(cell: nn.Module, inputs: Tensor) -> dict[str, list[float]]:
    """Spectral norms of ds_T/ds_t by distance T - t = 0, 1, ...; for an LSTM also of its blocks."""
    with torch.no_grad():
        jacobians = state_jacobians(cell, inputs).flip(0)  # by distance
    width = cell.hidden_size
    blocks = {"state": jacobians, "hidden": jacobians[:, :width, :width]}
    if isinstance(cell, LSTMCell):
        blocks["cell"] = jacobians[:, width:, width:]
    return {
        name: torch.linalg.matrix_norm(block, 2).clamp_min(1e-300).tolist()
        for name, block in blocks.items()
    }


def fresh_cells() -> dict[str, Callable[[], nn.Module]]:
    """Cells as torch makes them, an LSTM told to remember, and RNNs with scaled weights."""
    size = (FRESH_WIDTH, FRESH_WIDTH)

    def scaled(radius: float) -> nn.Module:
        cell = RNNCell(*size)
        with torch.no_grad():
            cell.weight_hh *= radius / torch.linalg.eigvals(cell.weight_hh).abs().max()
        return cell

    made: dict[str, Callable[[], nn.Module]] = {
        kind: lambda kind=kind: CELLS[kind](*size) for kind in CELLS
    }
    for bias in (1, 3):
        made[f"lstm-forget-{bias}"] = lambda bias=bias: LSTMCell(*size, forget_bias=float(bias))
    for radius in (0.9, 1.2, 1.5, 2.0):
        made[f"rnn-radius-{radius}"] = lambda radius=radius: scaled(radius)
    return made


def fresh_jacobians() -> dict:
    """At initialisation: ten seeds, inputs drawn from a normal distribution of deviation 0.1."""
    results: dict = {}
    with doubles():
        for name, make in tqdm(fresh_cells().items(), desc="gradients, fresh cells"):
            runs = []
            for seed in FRESH_SEEDS:
                torch.manual_seed(seed)
                cell = make()
                runs.append(norms(cell, 0.1 * torch.randn(STEPS, FRESH_WIDTH)))
            results[name] = by_distance(runs)
        radii = []
        for seed in FRESH_SEEDS:
            torch.manual_seed(seed)
            weights = RNNCell(FRESH_WIDTH, FRESH_WIDTH).weight_hh.detach()
            radii.append(torch.linalg.eigvals(weights).abs().max().item())
    results["rnn_radius"] = spread(radii)
    return results


def by_distance(runs: list[dict[str, list[float]]]) -> dict:
    """Geometric mean and range over runs, for each part of the state and each distance."""
    return {
        part: {
            kind: [
                geometric(column)[kind] for column in zip(*(run[part] for run in runs), strict=True)
            ]
            for kind in ("mean", "low", "high")
        }
        for part in runs[0]
    }


class doubles:
    """float64 while it lasts: a product of a hundred matrices needs the digits."""

    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float32)


def restore(trained: dict) -> LanguageModel:
    """The language model of a finished run."""
    weights = trained["weights"]
    model = LanguageModel(trained["kind"], trained["width"], len(weights["embedding.weight"]))
    model.load_state_dict(weights)
    return model.eval()


def trained_norms(run: dict) -> dict[str, list[float]]:
    """After training on captions: the first 100 words of the test captions, joined."""
    stream = [word for sentence in captions()[1]["test"] for word in sentence[1:-1]]
    model = restore(run).double()
    cell = CELLS[run["kind"]](EMBEDDING, run["width"]).double()
    cell.copy_weights(model.recurrent)
    return norms(cell, model.embedding(torch.tensor(stream[:STEPS])).detach())


# --- remembering one symbol -----------------------------------------------------------------------

SYMBOLS, MEMORY_WIDTH, MEMORY_BATCH, MEMORY_RATE, UPDATES = 8, 64, 64, 1e-2, 1000
GAPS = (5, 10, 20, 40, 80)
MEMORY_CELLS = {  # kind, and the bias that its keeping gate starts from
    "rnn": ("rnn", None),
    "gru": ("gru", None),
    "lstm": ("lstm", None),
    "gru-keep": ("gru", 3.0),
    "lstm-keep": ("lstm", 3.0),
}


class Recaller(nn.Module):
    """Reads symbols one by one; after the last one it must name the first."""

    def __init__(self, kind: str, keep: float | None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 1, 16)
        self.recurrent = KINDS[kind](16, MEMORY_WIDTH, batch_first=True)
        self.output = nn.Linear(MEMORY_WIDTH, SYMBOLS)
        if keep is not None:
            # The forget gate of an LSTM and the update gate of a GRU are both the second block.
            block = slice(MEMORY_WIDTH, 2 * MEMORY_WIDTH)
            with torch.no_grad():
                self.recurrent.bias_ih_l0[block] = keep
                self.recurrent.bias_hh_l0[block] = 0.0

    def forward(self, symbols: Tensor) -> Tensor:
        hidden, _ = self.recurrent(self.embedding(symbols))
        return self.output(hidden[:, -1])


def recall_batch(gap: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A symbol, ``gap - 1`` others that mean nothing, the mark that asks; and the first symbol."""
    symbols = torch.randint(SYMBOLS, (count, gap + 1), generator=generator)
    symbols[:, -1] = SYMBOLS
    return symbols, symbols[:, 0]


def recall(name: str, gap: int, seed: int, clip: float = 1.0) -> dict:
    """Train on one distance, until five batches in a row are right or 1,000 updates are over."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Recaller(*MEMORY_CELLS[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=MEMORY_RATE)
    losses, streak = [], 0
    for _ in range(UPDATES):
        symbols, first = recall_batch(gap, MEMORY_BATCH, generator)
        scores = model(symbols)
        loss = functional.cross_entropy(scores, first)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        streak = streak + 1 if (scores.argmax(-1) == first).all() else 0
        if streak == 5:
            break
    with torch.no_grad():
        symbols, first = recall_batch(gap, 1000, torch.Generator().manual_seed(1000 + seed))
        accuracy = (model(symbols).argmax(-1) == first).float().mean().item()
    return {"accuracy": accuracy, "updates": len(losses), "losses": losses[::10]}


def recalls(fresh: bool) -> dict:
    """Accuracy by distance; a cell whose mean is below 0.5 is not tried at larger distances."""
    results: dict = {}
    for name in MEMORY_CELLS:
        results[name] = {}
        for gap in GAPS:
            runs = [
                cached(
                    f"recall-{name}-{gap}-{seed}",
                    fresh,
                    lambda n=name, g=gap, s=seed: recall(n, g, s),
                )
                for seed in SEEDS
            ]
            accuracies = [run["accuracy"] for run in runs]
            print(f"recall {name} {gap}: {accuracies}", flush=True)
            results[name][str(gap)] = {
                **spread(accuracies),
                "accuracies": accuracies,
                "updates": [run["updates"] for run in runs],
                "last_loss": [run["losses"][-1] for run in runs],
            }
            if statistics.fmean(accuracies) < 0.5:
                break
    return results


# --- exploding gradients, and clipping them -------------------------------------------------------


def cliff(weight: float, steps: int = 50, start: float = 0.5, target: float = 0.5) -> dict:
    """One linear unit ``h_t = w h_(t-1)``: last state, loss and its slope in ``w``."""
    last = weight**steps * start
    slope = 2 * (last - target) * steps * weight ** (steps - 1) * start
    return {"weight": weight, "last": last, "loss": (last - target) ** 2, "slope": slope}


def descend(weight: float, rate: float, clip: float, updates: int) -> list[float]:
    """Gradient descent on the cliff, the slope cut to at most ``clip``; the weights visited."""
    path = [weight]
    for _ in range(updates):
        try:
            slope = cliff(path[-1])["slope"]
        except OverflowError:
            break
        path.append(path[-1] - rate * max(-clip, min(clip, slope)))
    return path


def cliffs() -> dict:
    """The slopes that the page quotes, and the two descents from w = 1.1."""
    return {
        "slopes": {f"w{round(100 * w)}": cliff(w) for w in (0.9, 1.0, 1.1)},
        "clipped": descend(1.1, rate=0.01, clip=1.0, updates=50),
        "unclipped": descend(1.1, rate=0.01, clip=math.inf, updates=1),
    }


# --- what the trained models look back at ---------------------------------------------------------


@torch.no_grad()
def influence(run: dict, coded: list[list[int]], words: int = 12) -> list[float]:
    """How far the guess for word 13 moves when the word at distance k is replaced by ``<unk>``.

    Kullback-Leibler divergence in nats, mean over the test captions that are long enough; the
    first number belongs to the last word read (distance 1).
    """
    model = restore(run)
    ids = torch.tensor([sentence[: words + 1] for sentence in coded if len(sentence) > words + 2])

    def guess(ids: Tensor) -> Tensor:
        hidden, _ = model.recurrent(model.embedding(ids))
        return model.read(hidden[:, -1])

    before = guess(ids)
    moved = []
    for distance in range(1, words + 1):
        changed = ids.clone()
        changed[:, -distance] = UNK
        after = guess(changed)
        moved.append((before.exp() * (before - after)).sum(-1).mean().item())
    return moved


# A caption's beginning for each pair: a subject, words that are silent about its number, and then
# "is" or "are". Longer and longer, until no window of chapter 1 reaches the subject.
SUBJECTS = (
    ("a man", "two men"),
    ("a woman", "two women"),
    ("a boy", "three boys"),
    ("a girl", "two girls"),
    ("a child", "three children"),
)
BETWEEN = (
    "",
    "in red",
    "in a hat",
    "in a blue shirt",
    "wearing a hat and sunglasses",
    "in a red shirt and jeans",
    "wearing a white shirt and a hat",
    "in a blue shirt and a black hat",
    "in a red shirt and jeans near a building",
    "in a red shirt and blue jeans on a city street",
    "with a red hat and a blue shirt in front of a building",
    "with a red hat and a blue shirt on a street in front of a building",
)


@torch.no_grad()
def agreement(run: dict) -> list[dict]:
    """For each stretch between: how often the verb that fits the subject is the likelier one.

    A stretch of k words puts the noun at distance k + 1 from the verb.
    """
    vocabulary, _ = captions()
    model = restore(run)
    forms = vocabulary.encode(["is", "are"])
    rows = []
    for between in BETWEEN:
        right, plural_share = [], []
        for pair in SUBJECTS:
            for fits, subject in enumerate(pair):
                tokens = f"{subject} {between}".split()
                if missing := [token for token in tokens if token not in vocabulary]:
                    raise ValueError(f"not in the vocabulary: {missing}")
                hidden, _ = model.recurrent(
                    model.embedding(torch.tensor([[SOS, *vocabulary.encode(tokens)]]))
                )
                odds = model.read(hidden[:, -1])[0, forms].softmax(0)
                right.append(float(odds[fits] > 0.5))
                plural_share.append(odds[1].item())
        rows.append(
            {
                "between": between,
                "distance": len(between.split()) + 1,
                "right": statistics.fmean(right),
                "are_after_singular": statistics.fmean(plural_share[0::2]),
                "are_after_plural": statistics.fmean(plural_share[1::2]),
            }
        )
    return rows


SENTENCE = "a man in a blue shirt is standing on a ladder cleaning a window ."


@torch.no_grad()
def gates(run: dict) -> dict:
    """One caption through the trained LSTM, gate by gate, and what the gates do on average."""
    vocabulary, coded = captions()
    model = restore(run)
    cell = LSTMCell(EMBEDDING, run["width"])
    cell.copy_weights(model.recurrent)

    def look(ids: list[int]) -> LSTMStep:
        return unroll(cell, model.embedding(torch.tensor([ids])))[0]

    tokens = ["<sos>", *tokenize(SENTENCE)]
    steps = look(vocabulary.encode(tokens))
    best = model.read(steps.hidden[0]).exp().topk(4)
    fused, _ = model.recurrent(model.embedding(torch.tensor([vocabulary.encode(tokens)])))

    forget, write, show, by_word = [], [], [], defaultdict(list)
    memory, position = [], []
    for sentence in coded["test"][:500]:
        step = look(sentence[:-1])
        forget.append(step.forget_gate[0, 1:])
        write.append(step.input_gate[0, 1:])
        show.append(step.output_gate[0, 1:])
        memory.append(step.cell[0, 1:])
        position.append(torch.arange(1.0, len(sentence) - 1))
        for word, f, i in zip(sentence[1:-1], forget[-1], write[-1], strict=True):
            by_word[vocabulary.words[word]].append((f.mean().item(), i.mean().item()))
    kept = torch.cat(forget)
    mean = kept.mean(0)
    # How long a number stays in a unit's memory if the gate stands at its mean: 1 / (1 - f) words.
    span = (1 / (1 - mean)).sort(descending=True)
    frequent = {
        word: [statistics.fmean(column) for column in zip(*pairs, strict=True)]
        for word, pairs in by_word.items()
        if len(pairs) >= 25
    }
    ranked = sorted(frequent, key=lambda word: frequent[word][0])
    keepers = mean.sort(descending=True).indices[:3].tolist()
    switches = [u for u in kept.std(0).sort(descending=True).indices.tolist() if u not in keepers]
    units = keepers + switches[:5]
    return {
        "tokens": tokens,
        "units": units,
        "keepers": keepers,
        # Do the longest memories count words? Correlation of c with the position, all captions.
        "position_correlation": {
            f"u{k}": torch.corrcoef(torch.stack([torch.cat(memory)[:, unit], torch.cat(position)]))[
                0, 1
            ].item()
            for k, unit in enumerate(keepers)
        },
        "guesses": [
            [[vocabulary.words[i], p] for i, p in zip(ids, probabilities, strict=True)]
            for ids, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ],
        "largest_difference_to_torch": (steps.hidden - fused).abs().max().item(),
        "values": {
            name: values[0][:, units].T.tolist() for name, values in steps._asdict().items()
        },
        "means": {name: values[0].mean(-1).tolist() for name, values in steps._asdict().items()},
        "mean_forget": mean.mean().item(),
        "mean_input": torch.cat(write).mean().item(),
        "mean_output": torch.cat(show).mean().item(),
        "span_median": span.values.median().item(),
        "span_longest": span.values[0].item(),
        "units_over_10_words": int((span.values > 10).sum()),
        "units_under_2_words": int((span.values < 2).sum()),
        "spans": span.values.tolist(),
        "words_forget_lowest": [[word, *frequent[word]] for word in ranked[:8]],
        "words_forget_highest": [[word, *frequent[word]] for word in ranked[-8:]],
    }


# --- speed ----------------------------------------------------------------------------------------


def speed() -> dict:
    """Forward and backward through the recurrent layer alone: CPU time of the fastest of 15."""
    words = len(captions()[0])
    inputs = torch.randn(BATCH, 15, EMBEDDING)
    results = {}

    def fastest(run: Callable[[], Tensor]) -> float:
        times = []
        for _ in range(15):
            started = time.process_time()
            run().sum().backward()
            times.append(time.process_time() - started)
        return 1e6 * min(times) / (BATCH * 15)

    for kind, width in [(k, WIDTH) for k in KINDS] + [("gru", equal_width("gru", words))]:
        layer = KINDS[kind](EMBEDDING, width, batch_first=True)
        cell = CELLS[kind](EMBEDDING, width)
        name = kind if width == WIDTH else f"{kind}-equal"
        results[name] = {
            "width": width,
            "parameters": sum(p.numel() for p in layer.parameters()),
            "microseconds_per_token": fastest(lambda layer=layer: layer(inputs)[0]),
            "cell_microseconds_per_token": fastest(lambda c=cell: unroll(c, inputs)[0].hidden),
        }
    return results


# --- figures --------------------------------------------------------------------------------------

# The colours of attention's roles (query, key, value) are not used for cells; line styles differ
# too, so that a figure can be read without colour.
LOOK = {
    "rnn": {"color": "black", "linestyle": ":"},
    "gru": {"color": "#a6611a", "linestyle": "--"},
    "lstm": {"color": "#7e57c2", "linestyle": "-"},
}
NAMES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def label(ax: plt.Axes, text: str, x: float, y: float) -> None:
    """A name at the end of a line."""
    ax.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9.5)


def curve(ax: plt.Axes, values: dict, **look: Any) -> None:
    """A norm by distance, and its range over seeds."""
    x = range(len(values["mean"]))
    ax.fill_between(x, values["low"], values["high"], color=look["color"], alpha=0.12, linewidth=0)
    ax.plot(x, values["mean"], **look)


def norm_axes(title: str, low: float, high: float) -> tuple[plt.Figure, plt.Axes]:
    """Axes for norms by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 3.5))
    ax.set(
        title=title, xlabel="distance T − t (words)", ylabel="norm of ∂s_T/∂s_t",
        yscale="log", xlim=(0, STEPS), ylim=(low, high),
    )  # fmt: skip
    ax.axhline(1, color="black", linewidth=0.6, alpha=0.5)
    return figure, ax


def end(values: dict, floor: float) -> tuple[float, float]:
    """Where a curve leaves the axes: at the last distance, or where it falls below the floor."""
    inside = [(x, y) for x, y in enumerate(values["mean"]) if y >= floor]
    return inside[-1]


def draw_fresh(fresh: dict) -> None:
    """Gradient norms at initialisation."""
    figure, ax = norm_axes("Fresh from torch, all three forget", 1e-16, 1e4)
    for kind in KINDS:
        curve(ax, fresh[kind]["state"], label=NAMES[kind], **LOOK[kind])
    ax.legend(loc="lower left", fontsize=9.5)
    for bias in (1, 3):
        values = fresh[f"lstm-forget-{bias}"]["state"]
        curve(ax, values, color=LOOK["lstm"]["color"], linestyle="-", linewidth=1.1)
        ax.annotate(
            f"LSTM, forget bias {bias}", (62, values["mean"][62]), xytext=(0, 7),
            textcoords="offset points", fontsize=9.5, ha="center",
        )  # fmt: skip
    plots.save(figure, FIGURES / "recurrent-gradients-fresh.svg")


def draw_trained(trained: dict) -> None:
    """Gradient norms of the language models."""
    figure, ax = norm_axes("Trained on captions, gates stay open", 1e-16, 1e4)
    for kind in trained:
        curve(ax, trained[kind]["state"], label=NAMES[kind], **LOOK[kind])
    ax.legend(loc="lower left", fontsize=9.5)
    plots.save(figure, FIGURES / "recurrent-gradients-trained.svg")


def draw_radius(fresh: dict) -> None:
    """Simple networks whose recurrent weights were scaled."""
    figure, ax = norm_axes("Larger weights: from fading to exploding", 1e-16, 1e10)
    ax.set_xlim(0, STEPS * 1.2)
    ax.set_xticks(range(0, 101, 20))
    named = [("rnn", f"{fresh['rnn_radius']['mean']:.2f} (torch)")]
    named += [(f"rnn-radius-{r}", str(r)) for r in (0.9, 1.2, 2.0)]
    for (name, text), style in zip(named, (":", "-.", "--", "-"), strict=True):
        values = fresh[name]["state"]
        curve(ax, values, color="black", linestyle=style)
        label(ax, text, *end(values, 1e-15))
    plots.save(figure, FIGURES / "recurrent-exploding.svg")


def draw_recall(recall: dict) -> None:
    """Accuracy by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 3.5))
    for name, by_gap in recall.items():
        kind, keep = MEMORY_CELLS[name]
        gaps = [int(gap) for gap in by_gap]
        rows = list(by_gap.values())
        look = {**LOOK[kind], "marker": "o", "markersize": 4}
        if keep is not None:
            look |= {"marker": "s", "markerfacecolor": "none"}
        ax.fill_between(
            gaps, [r["low"] for r in rows], [r["high"] for r in rows],
            color=look["color"], alpha=0.13, linewidth=0,
        )  # fmt: skip
        text = NAMES[kind] + (", told to keep" if keep is not None else "")
        ax.plot(gaps, [r["mean"] for r in rows], label=text, **look)
    ax.axhline(1 / SYMBOLS, color="black", linewidth=0.6)
    ax.annotate(
        "guessing",
        (GAPS[-1], 1 / SYMBOLS),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9.5,
    )
    ax.set(
        title="How far each cell learns to remember", xlabel="distance (steps, doubling)",
        ylabel="accuracy", xscale="log", ylim=(0, 1.05),
    )  # fmt: skip
    ax.set_xticks(GAPS, [str(gap) for gap in GAPS])
    ax.minorticks_off()
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2, fontsize=9.5)
    plots.save(figure, FIGURES / "recurrent-recall.svg")


def draw_influence(influence: dict) -> None:
    """How much each earlier word matters for the next."""
    figure, ax = plt.subplots(figsize=(4.6, 3.3))
    for kind, values in influence.items():
        x = range(1, len(values["mean"]) + 1)
        ax.fill_between(
            x, values["low"], values["high"], color=LOOK[kind]["color"], alpha=0.15, linewidth=0
        )
        ax.plot(x, values["mean"], label=NAMES[kind], marker="o", markersize=3.5, **LOOK[kind])
    ax.set(
        title="The last two words do most of the work", xlabel="distance of the replaced word",
        ylabel="change of the guess (nats)", yscale="log",
    )  # fmt: skip
    ax.set_xticks(range(1, 13))
    ax.legend(fontsize=9.5)
    plots.save(figure, FIGURES / "recurrent-influence.svg")


def draw_gates(seen: dict) -> None:
    """Forget gates, input gates and memory of eight units over a caption."""
    tokens, units = seen["tokens"], len(seen["units"])
    figure, axes = plt.subplots(3, 1, figsize=(4.6, 6.0), sharex=True)
    shown = (
        ("forget_gate", "forget gate (0 to 1)"),
        ("input_gate", "input gate (0 to 1)"),
        ("cell", "memory c"),
    )
    for ax, (name, title) in zip(axes, shown, strict=True):
        values = seen["values"][name]
        if name == "cell":
            # A unit that counts would make all others pale; its values beyond 3 are cut.
            ax.pcolormesh(values, cmap=plots.signed, vmin=-3, vmax=3)
            title += " (brown to −3 and below, teal to 3 and above)"
        else:
            ax.pcolormesh(values, cmap=plots.weights, vmin=0, vmax=1)
        ax.set_title(title, fontweight="normal", fontsize=10)
        ax.set_yticks(
            [y + 0.5 for y in range(units)], [str(u) for u in seen["units"]], fontsize=8.5
        )
        ax.invert_yaxis()
        ax.set_ylabel("unit")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[-1].set_xticks(
        [x + 0.5 for x in range(len(tokens))],
        tokens,
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    plots.save(figure, FIGURES / "recurrent-gates.svg")


def write_moving(seen: dict) -> None:
    """The same numbers, one word at a time: a fragment of HTML that needs nothing else."""
    short = {
        "f": "forget_gate", "i": "input_gate", "g": "candidate", "o": "output_gate",
        "c": "cell", "h": "hidden",
    }  # fmt: skip
    values = {
        letter: [[round(x, 3) for x in row] for row in seen["values"][name]]
        for letter, name in short.items()
    }
    most_c = max(abs(x) for row in values["c"] for x in row)
    guesses = [[[word, round(p, 3)] for word, p in row] for row in seen["guesses"]]
    # Without scripts the table shows one step, so it is filled in here.
    start = min(7, len(seen["tokens"]) - 1)

    def cell(value: float) -> str:
        return f"<td>{value:.2f}<i></i></td>".replace("-", "−")

    rows = "".join(
        f'<tr><th scope="row">{unit}</th>'
        + "".join(
            cell(values[letter][u][start - back])
            for letter, back in (
                ("f", 0), ("c", 1), ("i", 0), ("g", 0), ("c", 0), ("o", 0), ("h", 0),
            )
        )
        + "</tr>"
        for u, unit in enumerate(seen["units"])
    )  # fmt: skip
    data = {
        "tokens": seen["tokens"],
        "values": values,
        "most": [1, most_c, 1, 1, most_c, 1, 1],
        "guesses": guesses,
    }
    page = (HERE / "recurrent_gates.html").read_text(encoding="utf-8")
    for mark, text in {
        "@LAST@": str(len(seen["tokens"]) - 1),
        "@START@": str(start),
        "@ROWS@": rows,
        "@STATUS@": f"Word {start + 1} of {len(seen['tokens'])}, “{seen['tokens'][start]}”.",
        "@DATA@": json.dumps(data).replace("<", "\\u003c"),
    }.items():
        page = page.replace(mark, text)
    (FIGURES / "recurrent-gates.html").write_text(page, encoding="utf-8")


# --- everything -----------------------------------------------------------------------------------


def report(fresh: bool) -> None:
    """Gather what is in the cache, measure what is missing, write recurrent.json and figures."""
    trained = language_models(fresh)
    models: dict = {}
    for run in trained:
        name = run["kind"] if run["width"] == WIDTH else f"{run['kind']}-equal"
        models.setdefault(name, []).append(run)
    coded = captions()[1]
    seen = cached("gates", fresh, lambda: gates(models["lstm"][0]))
    moved = {
        kind: [
            cached(f"influence-{kind}-{r['seed']}", fresh, lambda r=r: influence(r, coded["test"]))
            for r in models[kind]
        ]
        for kind in KINDS
    }
    verbs = {
        kind: [
            cached(f"agreement-{kind}-{r['seed']}", fresh, lambda r=r: agreement(r))
            for r in models[kind]
        ]
        for kind in KINDS
    }
    fresh_norms = cached("jacobians-fresh", fresh, fresh_jacobians)
    learned_norms = {
        kind: by_distance(
            [
                cached(f"jacobians-{kind}-{r['seed']}", fresh, lambda r=r: trained_norms(r))
                for r in models[kind]
            ]
        )
        for kind in KINDS
    }
    remembered = recalls(fresh)
    influences = {
        kind: {
            key: [spread(column)[key] for column in zip(*rows, strict=True)]
            for key in ("mean", "low", "high")
        }
        for kind, rows in moved.items()
    }
    clipped = [norm > 1 for run in models["lstm"] for norm in run["gradient_norms"]]

    def at_distances(curves: dict) -> dict:
        return {
            part: {
                f"d{d}": {key: values[key][d] for key in values}
                | {"text": power(values["mean"][d])}
                for d in DISTANCES
            }
            for part, values in curves.items()
        }

    results = {
        "command": "python book/results/recurrent.py",
        "device": "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seeds": list(SEEDS),
        "fresh_seeds": list(FRESH_SEEDS),
        "vocabulary": len(captions()[0]),
        "longest_caption": max(len(sentence) for sentence in coded["train"]) - 2,
        "language": {
            name: {
                "kind": runs[0]["kind"],
                "width": runs[0]["width"],
                "parameters": runs[0]["parameters"],
                "recurrent_parameters": runs[0]["recurrent_parameters"],
                "seeds": [run["seed"] for run in runs],
                "epochs": EPOCHS,
                **{split: spread(run[split] for run in runs) for split in ("train", "val", "test")},
                "cpu_seconds": spread(run["cpu_seconds"] for run in runs),
            }
            for name, runs in models.items()
        },
        "clipped_share": sum(clipped) / len(clipped),
        "largest_gradient": max(max(run["gradient_norms"]) for run in models["rnn"]),
        "gates": {
            name: value
            for name, value in seen.items()
            if name not in ("values", "means", "guesses")
        },
        "influence": {
            kind: {f"d{d}": {key: row[key][d - 1] for key in row} for d in (1, 2, 3, 5, 8, 12)}
            for kind, row in influences.items()
        },
        "agreement": {
            kind: {
                f"d{columns[0]['distance']}": {
                    key: spread(column[key] for column in columns)
                    for key in ("right", "are_after_singular", "are_after_plural")
                }
                for columns in zip(*runs, strict=True)
            }
            for kind, runs in verbs.items()
        },
        "fresh": {
            # A dot would end a key where a page names it.
            name.replace(".", "_"): at_distances(curves)
            for name, curves in fresh_norms.items()
            if name != "rnn_radius"
        },
        "rnn_radius": fresh_norms["rnn_radius"],
        "trained": {kind: at_distances(curves) for kind, curves in learned_norms.items()},
        "recall": {
            name: {f"d{gap}": value for gap, value in by_gap.items()}
            for name, by_gap in remembered.items()
        },
        "cliff": cliffs(),
        "speed": cached("speed", fresh, speed),
    }
    (HERE / "recurrent.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    with plots.style():
        draw_fresh(fresh_norms)
        draw_trained(learned_norms)
        draw_radius(fresh_norms)
        draw_recall(remembered)
        draw_influence(influences)
        draw_gates(seen)
    write_moving(seen)


PARTS = {"language": language_models, "recall": recalls, "report": report}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=list(PARTS), help="one part (the report is the last)")
    parser.add_argument("--fresh", action="store_true", help="measure again what is in the cache")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only:
        PARTS[arguments.only](arguments.fresh)
    else:
        report(arguments.fresh)
