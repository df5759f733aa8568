"""The measurements of chapter 2: recurrent cells on captions, long memories, and gradients.

    python book/results/recurrent.py                  # everything; writes JSON and figures
    python book/results/recurrent.py --only language

Every trained model and every finished measurement is kept in the user's cache, so an interrupted
run goes on where it stopped; ``--fresh`` starts over. One thread, CPU, float32 for training and
float64 for gradients.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import matplotlib.pyplot as plt
import torch
from _measure import FIGURES, HERE, Cache, Script, label, spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from attnbook import plots
from attnbook.corpora import multi30k
from attnbook.recurrent import GRUCell, LSTMCell, LSTMStep, RNNCell, state_jacobians, unroll
from attnbook.vocabulary import EOS, SOS, UNK, Vocabulary, tokenize

cached = Cache("recurrent")
SEEDS = (0, 1, 2)
KINDS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
REMEMBERING = "lstm-forget-1"  # an LSTM whose forget bias starts at 1
FAST = ("gru-fast", "lstm-fast")  # trained at twice the rate, one seed: is the order an accident?
AnyCell = RNNCell | GRUCell | LSTMCell
CELLS: dict[str, Callable[..., AnyCell]] = {
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
}

Run = tuple[str, int, int]  # kind, width and seed of a language model


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


@torch.no_grad()
def start_open(layer: nn.RNNBase, bias: float) -> None:
    """The keeping gate's bias; an LSTM's forget gate and a GRU's update gate are both second."""
    block = slice(layer.hidden_size, 2 * layer.hidden_size)
    for name, value in (("bias_ih_l0", bias), ("bias_hh_l0", 0.0)):
        layer.get_parameter(name)[block] = value


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
            start_open(self.recurrent, 1.0)
        self.output = nn.AdaptiveLogSoftmaxWithLoss(width, words, CUTOFFS, div_value=2.0)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """The natural logarithm of each token's probability, from the second token on."""
        hidden, _ = self.recurrent(self.dropout(self.embedding(ids[:, :-1])))
        found: Tensor = self.output(self.dropout(hidden).flatten(0, 1), ids[:, 1:].flatten()).output
        return found

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


def language_model(kind: str, width: int, seed: int) -> dict[str, Any]:
    """Train one language model: weights, sizes, perplexities."""
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
    return {
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


def trained(run: Run) -> dict[str, Any]:
    """A language model, trained once and then kept."""
    kind, width, seed = run
    found: dict[str, Any] = cached.tensors(f"language-{kind}-{width}-{seed}", language_model, *run)
    return found


def runs() -> dict[str, list[Run]]:
    """Three kinds at equal width, a GRU of the LSTM's size, an LSTM told to remember."""
    wider = equal_width("gru", len(captions()[0]))
    widths = {kind: (kind, WIDTH) for kind in KINDS}
    widths |= {"gru-equal": ("gru", wider), REMEMBERING: (REMEMBERING, WIDTH)}
    found = {name: [(*shape, seed) for seed in SEEDS] for name, shape in widths.items()}
    return found | {kind: [(kind, WIDTH, SEEDS[0])] for kind in FAST}


# --- the norm of the gradient by distance ---------------------------------------------------------

STEPS, FRESH_WIDTH, FRESH_SEEDS = 100, 64, tuple(range(10))
DISTANCES = (1, 5, 10, 20, 50, 100)


def norms(cell: Any, inputs: Tensor) -> dict[str, list[float]]:
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


def fresh_cells() -> dict[str, Callable[[], AnyCell]]:
    """Cells as torch makes them, an LSTM told to remember, and RNNs with scaled weights."""
    size = (FRESH_WIDTH, FRESH_WIDTH)

    def scaled(radius: float) -> AnyCell:
        cell = RNNCell(*size)
        with torch.no_grad():
            cell.weight_hh.mul_(radius / torch.linalg.eigvals(cell.weight_hh).abs().max())
        return cell

    made: dict[str, Callable[[], AnyCell]] = {kind: partial(CELLS[kind], *size) for kind in CELLS}
    for bias in (1, 3):
        made[f"lstm-forget-{bias}"] = partial(LSTMCell, *size, forget_bias=float(bias))
    for radius in (0.9, 1.2, 1.5, 2.0):
        made[f"rnn-radius-{radius}"] = partial(scaled, radius)
    return made


def fresh_jacobians() -> dict[str, Any]:
    """At initialisation: ten seeds, inputs drawn from a normal distribution of deviation 0.1."""
    results: dict[str, Any] = {}
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


def by_distance(runs: list[dict[str, list[float]]]) -> dict[str, Any]:
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


def restore(run: Run) -> LanguageModel:
    """The language model of a finished run."""
    weights = trained(run)["weights"]
    model = LanguageModel(run[0], run[1], len(weights["embedding.weight"]))
    model.load_state_dict(weights)
    return model.eval()


def trained_norms(*run: Any) -> dict[str, list[float]]:
    """After training on captions: the first 100 words of the test captions, joined."""
    stream = [word for sentence in captions()[1]["test"] for word in sentence[1:-1]]
    model = restore(run).double()
    cell = CELLS[run[0]](EMBEDDING, run[1]).double()
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
            start_open(self.recurrent, keep)

    def forward(self, symbols: Tensor) -> Tensor:
        """Scores of the first symbol, when the last has been read."""
        hidden, _ = self.recurrent(self.embedding(symbols))
        found: Tensor = self.output(hidden[:, -1])
        return found


def recall_batch(gap: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A symbol, ``gap - 1`` others that mean nothing, the mark that asks; and the first symbol."""
    symbols = torch.randint(SYMBOLS, (count, gap + 1), generator=generator)
    symbols[:, -1] = SYMBOLS
    return symbols, symbols[:, 0]


def recall(name: str, gap: int, seed: int, clip: float = 1.0) -> dict[str, Any]:
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


def recalls() -> dict[str, Any]:
    """Accuracy by distance; a cell whose mean is below 0.5 is not tried at larger distances."""
    results: dict[str, Any] = {}
    for name in MEMORY_CELLS:
        results[name] = {}
        for gap in GAPS:
            runs = [
                cached(f"recall-{name}-{gap}-{seed}", recall, name, gap, seed) for seed in SEEDS
            ]
            accuracies = [run["accuracy"] for run in runs]
            results[name][f"d{gap}"] = {
                **spread(accuracies),
                "accuracies": accuracies,
                "updates": [run["updates"] for run in runs],
                "last_loss": [run["losses"][-1] for run in runs],
            }
            if statistics.fmean(accuracies) < 0.5:
                break
    return results


# --- exploding gradients, and clipping them -------------------------------------------------------


def cliff(
    weight: float, steps: int = 50, start: float = 0.5, target: float = 0.5
) -> dict[str, float]:
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


def cliffs() -> dict[str, Any]:
    """The slopes that the page quotes, and the two descents from w = 1.1."""
    return {
        "slopes": {f"w{round(100 * w)}": cliff(w) for w in (0.9, 1.0, 1.1)},
        "clipped": descend(1.1, rate=0.01, clip=1.0, updates=50),
        "unclipped": descend(1.1, rate=0.01, clip=math.inf, updates=1),
    }


# --- what the trained models look back at ---------------------------------------------------------


LOOKED_BACK = 12


@torch.no_grad()
def influence(*run: Any) -> list[float]:
    """How far the guess for a word moves when the word at distance k is replaced by ``<unk>``.

    Kullback-Leibler divergence in nats, mean over the test captions that are long enough; the
    first number belongs to the last word read (distance 1).
    """
    model, coded, words = restore(run), captions()[1]["test"], LOOKED_BACK
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
def agreement(*run: Any) -> list[dict[str, Any]]:
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
def gates(*run: Any) -> dict[str, Any]:
    """One caption through the trained LSTM, gate by gate, and what the gates do on average."""
    vocabulary, coded = captions()
    model = restore(run)
    cell = LSTMCell(EMBEDDING, run[1])
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


def fused(layer: nn.RNNBase, inputs: Tensor) -> Tensor:
    """All states by torch's layer."""
    states: Tensor = layer(inputs)[0]
    return states


def written_out(cell: Any, inputs: Tensor) -> Tensor:
    """All states by the package's cell."""
    states: Tensor = unroll(cell, inputs)[0].hidden
    return states


def speed() -> dict[str, Any]:
    """Forward and backward through the recurrent layer alone: CPU time of the fastest of 15."""
    words = len(captions()[0])
    inputs = torch.randn(BATCH, 15, EMBEDDING)
    results = {}

    def fastest(output: Callable[[Tensor], Tensor]) -> float:
        times = []
        for _ in range(15):
            started = time.process_time()
            output(inputs).sum().backward()
            times.append(time.process_time() - started)
        return 1e6 * min(times) / (BATCH * 15)

    for kind, width in [(k, WIDTH) for k in KINDS] + [("gru", equal_width("gru", words))]:
        layer = KINDS[kind](EMBEDDING, width, batch_first=True)
        cell = CELLS[kind](EMBEDDING, width)
        name = kind if width == WIDTH else f"{kind}-equal"
        results[name] = {
            "width": width,
            "parameters": sum(p.numel() for p in layer.parameters()),
            "microseconds_per_token": fastest(partial(fused, layer)),
            "cell_microseconds_per_token": fastest(partial(written_out, cell)),
        }
    return results


# --- figures --------------------------------------------------------------------------------------

# The colours of attention's roles (query, key, value) are not used for cells; line styles differ
# too, so that a figure can be read without colour.
LOOK: dict[str, dict[str, Any]] = {
    "rnn": {"color": "black", "linestyle": ":"},
    "gru": {"color": "#a6611a", "linestyle": "--"},
    "lstm": {"color": "#7e57c2", "linestyle": "-"},
}
NAMES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def curve(ax: Axes, values: dict[str, Any], **look: Any) -> None:
    """A norm by distance, and its range over seeds."""
    x = range(len(values["mean"]))
    ax.fill_between(x, values["low"], values["high"], color=look["color"], alpha=0.12, linewidth=0)
    ax.plot(x, values["mean"], **look)


def norm_axes(title: str, low: float, high: float) -> tuple[Figure, Axes]:
    """Axes for norms by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 3.5))
    ax.set(
        title=title, xlabel="distance T − t (words)", ylabel="norm of ∂s_T/∂s_t",
        yscale="log", xlim=(0, STEPS), ylim=(low, high),
    )  # fmt: skip
    ax.axhline(1, color="black", linewidth=0.6, alpha=0.5)
    return figure, ax


def end(values: dict[str, Any], floor: float) -> tuple[float, float]:
    """Where a curve leaves the axes: at the last distance, or where it falls below the floor."""
    inside = [(x, y) for x, y in enumerate(values["mean"]) if y >= floor]
    return inside[-1]


def draw_fresh(fresh: dict[str, Any]) -> Figure:
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
    return figure


def draw_trained(trained: dict[str, Any]) -> Figure:
    """Gradient norms of the language models."""
    figure, ax = norm_axes("Trained on captions, gates stay open", 1e-16, 1e4)
    for kind in trained:
        curve(ax, trained[kind]["state"], label=NAMES[kind], **LOOK[kind])
    ax.legend(loc="lower left", fontsize=9.5)
    return figure


def draw_radius(fresh: dict[str, Any]) -> Figure:
    """Simple networks whose recurrent weights were scaled."""
    figure, ax = norm_axes("Larger weights: from fading to exploding", 1e-16, 1e10)
    ax.set_xlim(0, STEPS * 1.2)
    ax.set_xticks(range(0, 101, 20))
    named = [("rnn", f"{fresh['rnn_radius']['mean']:.2f} (torch)")]
    named += [(f"rnn-radius-{r}", str(r)) for r in (0.9, 1.2, 2.0)]
    for (name, text), style in zip(named, (":", "-.", "--", "-"), strict=True):
        values = fresh[name]["state"]
        curve(ax, values, color="black", linestyle=style)
        label(ax, text, *end(values, 1e-15), dx=6)
    return figure


def draw_recall(recall: dict[str, Any]) -> Figure:
    """Accuracy by distance."""
    figure, ax = plt.subplots(figsize=(4.6, 3.5))
    for name, by_gap in recall.items():
        kind, keep = MEMORY_CELLS[name]
        gaps = [int(gap.removeprefix("d")) for gap in by_gap]
        rows = list(by_gap.values())
        look: dict[str, Any] = {**LOOK[kind], "marker": "o", "markersize": 4}
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
    return figure


def draw_influence(influence: dict[str, Any]) -> Figure:
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
    return figure


def draw_gates(seen: dict[str, Any]) -> Figure:
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
    return figure


def write_moving(seen: dict[str, Any]) -> None:
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


def of_captions() -> dict[str, int]:
    """How many different words they have, and how many the longest."""
    vocabulary, coded = captions()
    return {
        "vocabulary": len(vocabulary),
        "longest_caption": max(len(sentence) for sentence in coded["train"]) - 2,
    }


def language() -> dict[str, Any]:
    """Sizes and perplexities of all language models."""
    return {name: of_kind([trained(run) for run in which]) for name, which in runs().items()}


def of_kind(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The same shape with several seeds."""
    sizes = ("kind", "width", "parameters", "recurrent_parameters")
    return {
        **{key: found[0][key] for key in sizes},
        "seeds": [run["seed"] for run in found],
        "epochs": EPOCHS,
        **{split: spread(run[split] for run in found) for split in ("train", "val", "test")},
        "cpu_seconds": spread(run["cpu_seconds"] for run in found),
    }


def of_gradients() -> dict[str, float]:
    """How often the LSTM's gradients were clipped, and how large the RNN's became."""
    clipped = [norm > 1 for run in runs()["lstm"] for norm in trained(run)["gradient_norms"]]
    return {
        "clipped_share": sum(clipped) / len(clipped),
        "largest_gradient": max(max(trained(run)["gradient_norms"]) for run in runs()["rnn"]),
    }


def each_seed(part: str, measure: Callable[..., Any]) -> dict[str, list[Any]]:
    """Of each kind at equal width what is measured with every seed."""
    return {
        kind: [cached(f"{part}-{kind}-{run[2]}", measure, *run) for run in runs()[kind]]
        for kind in KINDS
    }


def all_gates() -> dict[str, Any]:
    """The gates of one LSTM, step by step."""
    found: dict[str, Any] = cached("gates", gates, *runs()["lstm"][0])
    return found


def gates_in_short() -> dict[str, Any]:
    """The same without what only the figures show."""
    left_out = ("values", "means", "guesses")
    return {name: value for name, value in all_gates().items() if name not in left_out}


def influences() -> dict[str, dict[str, list[float]]]:
    """By distance, over seeds."""
    return {
        kind: {
            key: [spread(column)[key] for column in zip(*rows, strict=True)]
            for key in ("mean", "low", "high")
        }
        for kind, rows in each_seed("influence", influence).items()
    }


def influences_in_short() -> dict[str, Any]:
    """At some distances."""
    return {
        kind: {f"d{d}": {key: row[key][d - 1] for key in row} for d in (1, 2, 3, 5, 8, 12)}
        for kind, row in influences().items()
    }


def agreements() -> dict[str, Any]:
    """By distance, over seeds."""
    return {
        kind: {
            f"d{columns[0]['distance']}": {
                key: spread(column[key] for column in columns)
                for key in ("right", "are_after_singular", "are_after_plural")
            }
            for columns in zip(*found, strict=True)
        }
        for kind, found in each_seed("agreement", agreement).items()
    }


def all_fresh() -> dict[str, Any]:
    """The norms of fresh cells at every distance."""
    found: dict[str, Any] = cached("jacobians-fresh", fresh_jacobians)
    return found


def all_trained() -> dict[str, Any]:
    """The norms of trained cells at every distance."""
    return {
        kind: by_distance(found) for kind, found in each_seed("jacobians", trained_norms).items()
    }


def at_distances(curves: dict[str, Any]) -> dict[str, Any]:
    """What the page quotes of a cell's curves."""
    return {
        part: {
            f"d{d}": {key: values[key][d] for key in values} | {"text": power(values["mean"][d])}
            for d in DISTANCES
        }
        for part, values in curves.items()
    }


def fresh_in_short() -> dict[str, Any]:
    """Fresh cells at some distances, and the largest eigenvalue of torch's."""
    found = all_fresh()
    return {
        "fresh": {
            # A dot would end a key where a page names it.
            name.replace(".", "_"): at_distances(curves)
            for name, curves in found.items()
            if name != "rnn_radius"
        },
        "rnn_radius": found["rnn_radius"],
    }


def trained_in_short() -> dict[str, Any]:
    """Trained cells at some distances."""
    return {kind: at_distances(curves) for kind, curves in all_trained().items()}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words, and in the figures' descriptions."""
    fresh, trained = result["fresh"], result["trained"]
    verbs, recall, language = result["agreement"], result["recall"], result["language"]
    test = {name: row["test"] for name, row in language.items()}
    train = {name: row["train"]["mean"] for name, row in language.items()}
    gates, influence = result["gates"], result["influence"]
    words = {
        name: [row[0] for row in gates[f"words_forget_{name}"]] for name in ("highest", "lowest")
    }
    slopes, descent = result["cliff"]["slopes"], result["cliff"]

    def norm(cells: dict[str, Any], name: str, distance: int, part: str = "state") -> float:
        return float(cells[name][part][f"d{distance}"]["mean"])

    def are(kind: str, distance: int, number: str) -> float:
        return float(verbs[kind][f"d{distance}"][f"are_after_{number}"]["mean"])

    return {
        "the best network tells two men from a man after eleven words": are("gru", 12, "plural")
        > 3 * are("gru", 12, "singular"),
        "and the number has faded": are("gru", 12, "plural") < 0.5 < are("gru", 1, "plural"),
        "the GRU carries it farthest": all(
            are("gru", d, "plural") > max(are(kind, d, "plural") for kind in ("rnn", "lstm"))
            for d in (5, 9, 12, 17)
        ),
        "one step of a fresh RNN stretches a little, twenty shrink below 0.001": 1
        < norm(fresh, "rnn", 1)
        < 1.5
        and norm(fresh, "rnn", 20) < 1e-3,
        "torch's largest eigenvalue is near 0.58": abs(
            result["rnn_radius"]["mean"] - 1 / math.sqrt(3)
        )
        < 0.03,
        "fresh, all three fall below a billionth or near it at fifty words, the RNN steepest": norm(
            fresh, "rnn", 50
        )
        < norm(fresh, "lstm", 50) / 10
        and max(norm(fresh, kind, 50) for kind in KINDS) < 2e-9,
        "a forget bias of 3 keeps the norm between 1 and 100": all(
            1 <= norm(fresh, "lstm-forget-3", d) <= 100 for d in DISTANCES
        ),
        "one of 1 falls slowly": 1e-4 < norm(fresh, "lstm-forget-1", 50) < 1e-2,
        "nearly all of c after twenty words took the detours": norm(fresh, "lstm", 20, "cell")
        > 10 * 0.5**20,
        "h alone makes the LSTM look worse than it is": norm(fresh, "lstm", 50, "hidden")
        < norm(fresh, "lstm", 50),
        "trained, the RNN falls far below a billionth": norm(trained, "rnn", 100) < 1e-12,
        "GRU and LSTM stay between a tenth and ten, or near it": all(
            0.05 < norm(trained, kind, d) < 10 for kind in ("gru", "lstm") for d in DISTANCES
        ),
        "the memory carries the LSTM's gradient": norm(trained, "lstm", 100, "cell")
        > 1000 * norm(trained, "lstm", 100, "hidden"),
        "at twenty steps the fresh LSTM guesses, the RNN does not": recall["lstm"]["d20"]["high"]
        < 0.2
        < 0.5
        < recall["rnn"]["d20"]["mean"],
        "told to keep it solves twenty and forty": min(
            recall["lstm-keep"][gap]["mean"] for gap in ("d20", "d40")
        )
        > 0.98,
        "and comes to an end too": recall["lstm-keep"]["d80"]["mean"] < 0.5,
        "fresh cells fall towards guessing between 10 and 40 steps": all(
            recall[kind]["d10"]["mean"] > 0.98
            and recall[kind].get("d40", recall[kind]["d20"])["mean"] < 0.5
            for kind in KINDS
        ),
        "at an eigenvalue of 1.2 the norm hovers around 1, at 2 it grows": all(
            0.1 < norm(fresh, "rnn-radius-1_2", d) < 10 for d in DISTANCES
        )
        and norm(fresh, "rnn-radius-2_0", 50) > 100,
        "at 0.9 it falls": norm(fresh, "rnn-radius-0_9", 50) < 0.01,
        "a plain to the left of the cliff": abs(slopes["w90"]["slope"]) < 1 < 1000
        and slopes["w110"]["slope"] > 1000,
        "one step from it leads nowhere, ten clipped ones to 1.0 and it stays": abs(
            descent["unclipped"][1]
        )
        > 10
        and all(0.95 < weight < 1.06 for weight in descent["clipped"][10:]),
        "articles and adjectives keep the gate open": set(words["highest"][2:])
        <= {"a", "an", "the", "young", "white", "black", "blue", "two"},
        "verbs and prepositions shut it": {"standing", "sitting", "holding", "on"}
        <= set(words["lowest"]),
        "three units count": all(abs(r) > 0.85 for r in gates["position_correlation"].values()),
        "most memories are short": gates["span_median"] < 5 and gates["span_longest"] > 30,
        "the last word moves the guess, far ones hardly": all(
            part["d1"]["mean"] > 100 * part["d12"]["mean"] for part in influence.values()
        ),
        "influence falls steeply over the first words": all(
            part["d1"]["mean"] > part["d2"]["mean"] > part["d3"]["mean"] > part["d5"]["mean"]
            for part in influence.values()
        ),
        "the GRU is ahead at either width, by more than the seeds differ": max(
            test["gru"]["high"], test["gru-equal"]["high"]
        )
        < min(test["rnn"]["low"], test["lstm"]["low"]),
        "the RNN beats the LSTM": test["rnn"]["high"] < test["lstm"]["low"],
        "which has learned less of its training captions too": train["lstm"] > train["gru"],
        "at twice the rate it is better than any row": test["lstm-fast"]["mean"]
        < min(row["mean"] for name, row in test.items() if name not in FAST),
        "and the GRU stays ahead": test["gru-fast"]["mean"] < test["lstm-fast"]["mean"],
        "the rate moves either further than the cell does": all(
            test[kind]["mean"] - test[f"{kind}-fast"]["mean"]
            > abs(test["gru"]["mean"] - test["lstm"]["mean"])
            for kind in ("gru", "lstm")
        ),
        "starting open gains nothing here": test["lstm-forget-1"]["mean"] >= test["lstm"]["mean"],
        "the equal GRU has the LSTM's size": abs(
            language["gru-equal"]["parameters"] / language["lstm"]["parameters"] - 1
        )
        < 0.01,
    }


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """The figure that shows no more than the JSON holds."""
    return {"recurrent-recall": draw_recall(result["recall"])}


def finish() -> None:
    """The curves at every distance, and one caption gate by gate."""
    with plots.style():
        figures = {
            "gradients-fresh": draw_fresh(all_fresh()),
            "gradients-trained": draw_trained(all_trained()),
            "exploding": draw_radius(all_fresh()),
            "influence": draw_influence(influences()),
            "gates": draw_gates(all_gates()),
        }
        for name, figure in figures.items():
            plots.save(figure, FIGURES / f"recurrent-{name}.svg")
            plt.close(figure)
    write_moving(all_gates())


SCRIPT = Script(
    doc=__doc__,
    parts={
        "fresh_seeds": list(FRESH_SEEDS),
        ("vocabulary", "longest_caption"): of_captions,
        "language": language,
        ("clipped_share", "largest_gradient"): of_gradients,
        "gates": gates_in_short,
        "influence": influences_in_short,
        "agreement": agreements,
        ("fresh", "rnn_radius"): fresh_in_short,
        "trained": trained_in_short,
        "recall": recalls,
        "cliff": cliffs,
        "speed": (speed,),
    },
    check=check,
    seeds=SEEDS,
    draw=draw,
    cache=cached,
    finish=finish,
)

if __name__ == "__main__":
    SCRIPT.run()
