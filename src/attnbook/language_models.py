"""Guess the next word: by counting n-grams, and by learning word vectors.

Two families answer the same question, P(word | the words before it), over the same outcomes:
every word of the vocabulary, ``<unk>`` and ``<eos>``, but neither ``<pad>`` nor ``<sos>``, which
are never written. :class:`AddConstant` and :class:`KneserNey` count; a
:class:`NeuralLanguageModel` learns a vector for each word and computes. :func:`perplexity` treats
them alike, so that their numbers can be compared. :mod:`attnbook.word_vectors` learns vectors only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from attnbook.modes import evaluating
from attnbook.vocabulary import EOS, PAD, SOS, Vocabulary

__all__ = [
    "AddConstant",
    "KneserNey",
    "LanguageModel",
    "NGramModel",
    "NeuralLanguageModel",
    "ngrams",
    "perplexity",
]

Sentences = Iterable[Sequence[str]]
Context = tuple[int, ...]


@runtime_checkable
class LanguageModel(Protocol):
    """What :func:`perplexity` asks of a model."""

    def log_probabilities(self, sentences: Sentences) -> list[float]:
        """The natural logarithm of P(token | tokens before it), for each token in turn.

        Each sentence gives one number for every word and one for its ``<eos>``.
        """
        ...


def perplexity(model: LanguageModel, sentences: Sentences) -> float:
    """``exp(−(1/T) Σ_t ln P(w_t | w_1 … w_{t−1}))``, T counting every word and every ``<eos>``.

    The number of equally likely words among which the model is, on average, undecided. Two
    perplexities can be compared only where the tokens and the vocabulary are the same: a larger
    share of ``<unk>`` makes any model look better.

    Raises:
        ValueError: there is no sentence, or an empty one.
    """
    log_probabilities = model.log_probabilities(sentences)
    if not log_probabilities:
        raise ValueError("sentences: perplexity needs at least one sentence")
    return math.exp(-math.fsum(log_probabilities) / len(log_probabilities))


def ngrams(ids: Sequence[int], order: int) -> Iterator[tuple[Context, int]]:
    """Every event of a sentence: a token, and the up to ``order − 1`` tokens before it.

    The sentence gets one ``<sos>`` in front and an ``<eos>`` at its end. Near its beginning
    contexts are shorter, and start with ``<sos>``.

    >>> list(ngrams([7, 8], order=3))
    [((2,), 7), ((2, 7), 8), ((7, 8), 3)]
    """
    padded = (SOS, *ids, EOS)
    for position in range(1, len(padded)):
        yield padded[max(0, position - order + 1) : position], padded[position]


class NGramModel(ABC):
    """P(word | the ``order − 1`` words before it), from a table of counts.

    Args:
        order: n; 1 looks at no word before, 2 at one, 3 at two.
        vocabulary: what can be read and written; any other word is ``<unk>``.

    Attributes:
        counts: for every context that was seen, how often each token followed it.

    Raises:
        ValueError: the order is below 1.
    """

    def __init__(self, order: int, vocabulary: Vocabulary) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1 (a unigram model), got {order}")
        self.order = order
        self.vocabulary = vocabulary
        self.counts: dict[Context, Counter[int]] = {}
        self._totals: dict[Context, int] = {}

    @property
    def outcomes(self) -> int:
        """How many tokens may come next: all but ``<pad>`` and ``<sos>``."""
        return len(self.vocabulary) - 2

    @property
    def entries(self) -> int:
        """How many numbers the table holds: distinct pairs of a context and a token."""
        return sum(map(len, self.counts.values()))

    def fit(self, sentences: Sentences) -> NGramModel:
        """Count, forgetting any earlier counts; returns the model itself.

        Raises:
            ValueError: there is no sentence, or an empty one.
        """
        counts: defaultdict[Context, Counter[int]] = defaultdict(Counter)
        for ids in encode_all(sentences, self.vocabulary):
            for context, word in ngrams(ids, self.order):
                counts[context][word] += 1
        self.counts = dict(counts)
        self._complete()
        self._totals = {context: seen.total() for context, seen in self.counts.items()}
        return self

    def probability(self, word: str, context: Sequence[str] = ()) -> float:
        """P(word | context), the context being the sentence so far.

        The model keeps the last ``order − 1`` words; where there are fewer, the sentence begins
        there. The word may be ``<eos>``; ``<pad>`` and ``<sos>`` have probability 0, and a word
        outside the vocabulary has that of ``<unk>``.

        Raises:
            ValueError: the model has not been fitted.
        """
        number = self.vocabulary.encode([word])[0]
        if number in (PAD, SOS):
            return 0.0
        before = (SOS, *self.vocabulary.encode(context))
        return self._fitted(number, before[max(0, len(before) - self.order + 1) :])

    def log_probabilities(self, sentences: Sentences) -> list[float]:
        """``ln P(token | context)`` for each word of each sentence and its ``<eos>``.

        ``-inf`` where the model calls a token impossible.
        """
        result = []
        for ids in encode_all(sentences, self.vocabulary):
            for context, word in ngrams(ids, self.order):
                probability = self._fitted(word, context)
                result.append(math.log(probability) if probability > 0 else -math.inf)
        return result

    def _fitted(self, word: int, context: Context) -> float:
        if not self.counts:
            raise ValueError("this model has no counts yet; call fit(sentences) first")
        return self._estimate(word, context)

    def _complete(self) -> None:  # noqa: B027 (a hook, which most smoothings leave empty)
        """Whatever else a smoothing needs besides the counts of the highest order."""

    @abstractmethod
    def _estimate(self, word: int, context: Context) -> float:
        """P(word | context), both as numbers."""


@final
class AddConstant(NGramModel):
    """``P(w | h) = (c(h w) + k) / (c(h) + k V)``, V the number of outcomes.

    ``k = 1`` is add-one (Laplace's rule); ``k = 0`` is the plain relative frequency, which
    gives nothing to what it has not seen: in a context without counts every token gets 0.

    Args:
        order: n.
        vocabulary: what can be read and written.
        constant: k, at least 0.

    Raises:
        ValueError: the order is below 1 or the constant below 0.
    """

    def __init__(self, order: int, vocabulary: Vocabulary, constant: float = 1.0) -> None:
        super().__init__(order, vocabulary)
        if constant < 0:
            raise ValueError(f"constant must be at least 0, got {constant}")
        self.constant = constant

    def _estimate(self, word: int, context: Context) -> float:
        seen = self.counts.get(context, Counter())
        total = self._totals.get(context, 0) + self.constant * self.outcomes
        return (seen[word] + self.constant) / total if total > 0 else 0.0


class KneserNey(NGramModel):
    """Interpolated Kneser–Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1999, section 4).

    Each count gives up a discount D, and what is saved goes to the estimate from a context that
    is one word shorter::

        P(w | h) = max(c(h w) − D, 0) / c(h) + γ(h) P(w | h')

    h' is h without its oldest word, and γ(h) = Σ_w min(D, c(h w)) / c(h) makes the sum 1. In the
    shorter contexts c is not a frequency: c(h' w) is the number of different words that were
    seen before ``h' w``. The recursion ends in ``1 / outcomes``. Contexts that begin with
    ``<sos>`` have nothing before them and keep their frequencies.

    Args:
        order: n.
        vocabulary: what can be read and written.
        discount: D, above 0 and at most 1; None estimates it for each length of context as
            ``n_1 / (n_1 + 2 n_2)``, n_r the number of entries with count r (Ney, Essen and
            Kneser 1994), and takes 0.75 where there are too few entries for that.

    Raises:
        ValueError: the order is below 1 or the discount outside 0 to 1.
    """

    def __init__(self, order: int, vocabulary: Vocabulary, discount: float | None = None) -> None:
        super().__init__(order, vocabulary)
        if discount is not None and not 0 < discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {discount}")
        self.discount = discount
        self.discounts: list[float] = []
        self._saved: dict[Context, float] = {}

    def _complete(self) -> None:
        """Continuation counts for every shorter context, then the discounts."""
        by_length: list[dict[Context, Counter[int]]] = [{} for _ in range(self.order)]
        for context, seen in self.counts.items():
            by_length[len(context)][context] = seen
        for length in range(self.order - 1, 0, -1):
            for (_, *rest), seen in by_length[length].items():
                shorter = by_length[length - 1].setdefault(tuple(rest), Counter())
                shorter.update(dict.fromkeys(seen, 1))
        self.discounts = [self._estimate_discount(table) for table in by_length]
        self.counts = {key: seen for table in by_length for key, seen in table.items()}
        self._saved = {
            context: sum(self._discounted(count, len(context)) for count in seen.values())
            for context, seen in self.counts.items()
        }

    def _estimate_discount(self, table: dict[Context, Counter[int]]) -> float:
        if self.discount is not None:
            return self.discount
        entries = Counter(count for seen in table.values() for count in seen.values())
        once, twice = entries[1], entries[2]
        return once / (once + 2 * twice) if once and twice else 0.75

    def _discounted(self, count: int, length: int) -> float:
        """How much an entry with this count, after a context of this length, gives up."""
        return min(self.discounts[length], float(count))

    def _estimate(self, word: int, context: Context) -> float:
        shorter = self._estimate(word, context[1:]) if context else 1 / self.outcomes
        if context not in self.counts:
            return shorter
        count = self.counts[context][word]
        kept = count - self._discounted(count, len(context))
        return (kept + self._saved[context] * shorter) / self._totals[context]


class NeuralLanguageModel(nn.Module):
    """The neural probabilistic language model (Bengio et al. 2003, equation 1).

    For a window of n − 1 words::

        x = [C(w_{t−n+1}); …; C(w_{t−1})]
        y = b + W x + U tanh(d + H x)
        P(w_t | window) = softmax(y)

    C, the matrix of word vectors, is shared by all positions of the window and learned with the
    rest. (The paper concatenates the newest word first; that only permutes the columns of H.)

    Args:
        vocabulary: what can be read and written.
        window: n − 1, how many words are read. Before the sentence lies ``<sos>``, repeated.
        embedding_dim: the width of a word vector, m in the paper.
        hidden_dim: the width of the tanh layer, h in the paper.
        direct: whether W, from word vectors straight to the outputs, exists.
        dropout: the share of hidden units that are dropped in training (not in the paper).

    Raises:
        ValueError: a width or the window is below 1.
    """

    never: Float[Tensor, " vocabulary"]

    def __init__(
        self,
        vocabulary: Vocabulary,
        window: int = 4,
        embedding_dim: int = 64,
        hidden_dim: int = 128,
        direct: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"window": window, "embedding_dim": embedding_dim, "hidden_dim": hidden_dim}
        check_sizes(sizes)
        self.vocabulary = vocabulary
        self.window = window
        self.embedding = nn.Embedding(len(vocabulary), embedding_dim)  # C
        self.hidden = nn.Linear(window * embedding_dim, hidden_dim)  # H and d
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_dim, len(vocabulary))  # U and b
        self.direct = (
            nn.Linear(window * embedding_dim, len(vocabulary), bias=False) if direct else None  # W
        )
        # Word vectors start small, so that what they become is learned and not left over.
        nn.init.normal_(self.embedding.weight, std=0.1)
        never = torch.zeros(len(vocabulary))
        never[[PAD, SOS]] = -torch.inf
        self.register_buffer("never", never, persistent=False)

    def forward(
        self,
        context: Int[Tensor, "batch window"],
    ) -> Float[Tensor, "batch vocabulary"]:
        """``ln P(next token | context)`` for every token; ``-inf`` for ``<pad>`` and ``<sos>``.

        Raises:
            ValueError: the context has another width than the window, or holds a number that
                is not in the vocabulary.
        """
        self._check(context)
        x = self.embedding(context).flatten(start_dim=1)  # (batch, window · embedding_dim)
        a = self.dropout(torch.tanh(self.hidden(x)))
        y = F.linear(a, self.output.weight, self.output.bias + self.never)
        if self.direct is not None:
            y = y + self.direct(x)
        return F.log_softmax(y, dim=-1)

    def fit(
        self,
        sentences: Sentences,
        *,
        epochs: int = 5,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.0,
        seed: int = 0,
        progress: bool = False,
    ) -> list[float]:
        """Minimise the mean of ``−ln P(w_t | window)``; returns it for each epoch, in nats.

        Adam, its learning rate falling linearly to zero. ``seed`` orders the examples; the
        initial parameters are drawn when the model is made.
        """
        examples = self._examples(sentences)

        def loss(context: Tensor, word: Tensor) -> Tensor:
            return F.nll_loss(self(context), word)

        self.train()
        losses = minimise(
            self,
            loss,
            [examples] * epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            generator=torch.Generator().manual_seed(seed),
            progress=progress,
        )
        self.eval()
        return losses

    @torch.no_grad()
    def log_probabilities(self, sentences: Sentences) -> list[float]:
        """``ln P(token | window)`` for each word of each sentence and its ``<eos>``."""
        contexts, words = self._examples(sentences)
        result: list[float] = []
        with evaluating(self):
            for context, word in zip(contexts.split(1024), words.split(1024), strict=True):
                result += self(context).gather(1, word[:, None])[:, 0].tolist()
        return result

    @torch.no_grad()
    def probability(self, word: str, context: Sequence[str] = ()) -> float:
        """P(word | context), the context being the sentence so far; see :class:`NGramModel`."""
        ids = ([SOS] * self.window + self.vocabulary.encode(context))[-self.window :]
        with evaluating(self):
            log_probs = self(torch.tensor([ids], device=self.never.device))[0]
        return float(log_probs[self.vocabulary.encode([word])[0]].exp())

    def _examples(
        self, sentences: Sentences
    ) -> tuple[Int[Tensor, "examples window"], Int[Tensor, " examples"]]:
        contexts, words = [], []
        for ids in encode_all(sentences, self.vocabulary):
            for context, word in ngrams(ids, self.window + 1):
                contexts.append((SOS,) * (self.window - len(context)) + context)
                words.append(word)
        device = self.never.device
        return (
            torch.tensor(contexts, device=device).reshape(-1, self.window),
            torch.tensor(words, device=device, dtype=torch.long),
        )

    def _check(self, context: Tensor) -> None:
        if context.ndim != 2 or context.shape[1] != self.window:
            raise ValueError(
                f"context: expected shape (batch, {self.window}), got {tuple(context.shape)}"
            )
        check_ids("context", context, len(self.vocabulary))


def encode_all(sentences: Sentences, vocabulary: Vocabulary) -> list[list[int]]:
    encoded = [vocabulary.encode(sentence) for sentence in sentences]
    if not encoded:
        raise ValueError("sentences: at least one is needed")
    if not all(encoded):
        raise ValueError(f"sentences: number {encoded.index([])} (counted from 0) is empty")
    return encoded


def minimise(
    model: nn.Module,
    loss: Callable[..., Tensor],
    epochs: Sequence[tuple[Tensor, ...]],
    *,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    generator: torch.Generator,
    progress: bool,
) -> list[float]:
    """One pass over each epoch's examples in random order; returns the mean loss of each."""
    check_sizes({"epochs": len(epochs), "batch_size": batch_size})
    device = next(model.parameters()).device
    steps = sum(math.ceil(len(examples[0]) / batch_size) for examples in epochs)
    if steps == 0:
        raise ValueError("sentences: too short to learn from; there is not one example in them")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps
    )
    losses = []
    with tqdm(total=steps, disable=not progress, unit="step") as bar:
        for examples in epochs:
            total = 0.0
            order = torch.randperm(len(examples[0]), generator=generator)
            for batch in order.split(batch_size):
                value = loss(*(column[batch.to(column.device)].to(device) for column in examples))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total += float(value.detach()) * len(batch)
                bar.update()
            losses.append(total / max(1, len(order)))
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses


def check_sizes(sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_ids(name: str, ids: Tensor, size: int) -> None:
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        raise ValueError(f"{name}: token id {wrong} is outside the vocabulary of {size} words")
