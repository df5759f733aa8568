"""How fast training could be if a step were its matrix products and nothing else.

The name is that of Williams, Waterman and Patterson (2009), whose roof is the arithmetic that a
machine can do at most. Here it is the arithmetic that it does do, at the model's own shapes, with
each matrix product alone and nothing around it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from attnbook.batches import Batch
from attnbook.benchmark.section import Section, Table, cell, number_at, threads_key
from attnbook.fast import BLOCK
from attnbook.settings import RecurrentConfig, TransformerConfig, TranslatorConfig

__all__ = ["Product", "Roofline", "RooflineSection", "products"]

# A matrix product is repeated for so many seconds, or the clock would be too coarse.
LEAST_SECONDS = 2e-3


@dataclass(frozen=True)
class Product:
    """Products of ``batch`` matrices each, ``(rows, inner)`` times ``(inner, columns)``.

    Attributes:
        rows: of the left matrix.
        inner: its columns, and the right one's rows.
        columns: of the right matrix.
        steps: how often the same right matrix is used, one time after the other.
        count: how many such products there are, each with a right matrix of its own.
        batch: pairs of matrices multiplied in one call.
    """

    rows: int
    inner: int
    columns: int
    steps: int = 1
    count: int = 1
    batch: int = 1

    @property
    def operations(self) -> int:
        """One multiplication and one addition for each number and each term."""
        times = self.steps * self.count * self.batch
        return 2 * self.rows * self.inner * self.columns * times

    def backward(self) -> tuple[Product, Product]:
        """The gradients of the left and of the right matrix.

        That of the left is needed before the step before can go back. That of the right is a sum
        over steps, and so one product of all of them.
        """
        rows, inner, columns = self.rows, self.inner, self.columns
        left = replace(self, inner=columns, columns=inner)
        if self.batch > 1:
            return left, replace(self, rows=inner, inner=rows)
        return left, Product(inner, rows * self.steps, columns, count=self.count)


def products(config: TranslatorConfig, words: int, batch: Batch) -> list[Product]:
    """The matrix products of a forward pass over a batch.

    Sizes are as they are computed: padded where a recurrent layer runs over padding, real tokens
    where the output layer does not. A recurrent layer's product with its own state is one product
    a position; where a step reads what the last one found (Bahdanau's context, Luong's fed state),
    so is the product with that. The additive score counts ``2 · attention_dim`` operations a pair
    for its product with v; the tanh is no product and counts nothing.

    Args:
        config: settings of the model.
        words: size of the target vocabulary.
        batch: what the model reads.
    """
    if isinstance(config, TransformerConfig):
        return [*_transformer_layers(config, batch), _output(config.hidden_dim, words, batch)]
    count = _Recurrent(config, batch)
    found = [*count.encoder(), *count.decoder(), _output(config.embedding_dim, words, batch)]
    if config.decoder in ("bahdanau", "luong"):
        found += count.attention()
    return found


def _output(width: int, words: int, batch: Batch) -> Product:
    """Logits, where there is a token."""
    return Product(batch.target_tokens, width, words)


class _Recurrent:
    """Counts the products of a recurrent encoder and decoder, part by part."""

    def __init__(self, config: RecurrentConfig, batch: Batch) -> None:
        self.config = config
        self.sentences, self.source = batch.source.shape
        self.target = batch.target_in.shape[1]
        self.word, self.hidden = config.embedding_dim, config.hidden_dim
        self.gates = {"lstm": 4, "gru": 3, "rnn": 1}[config.cell]
        # Where a step reads what the last one found, attention cannot be computed at once.
        self.feeds = config.decoder == "bahdanau" or config.input_feeding

    def at_once(self, inner: int, columns: int) -> Product:
        """All target positions in one product."""
        return Product(self.sentences * self.target, inner, columns)

    def step_by_step(self, inner: int, columns: int) -> Product:
        """One product for each target position."""
        return Product(self.sentences, inner, columns, steps=self.target)

    def queries(self, inner: int, columns: int) -> Product:
        """One product with all queries, or one for each, as the decoder has it."""
        return (self.step_by_step if self.feeds else self.at_once)(inner, columns)

    def pairs(self, inner: int, columns: int) -> Product:
        """Products between a sentence's queries and its states."""
        if self.feeds:
            return Product(1, inner, columns, steps=self.target, batch=self.sentences)
        return Product(self.target, inner, columns, batch=self.sentences)

    def encoder(self) -> list[Product]:
        """Its recurrent layer, in one or two directions."""
        directions = 2 if self.config.bidirectional else 1
        width = self.hidden // directions
        return [
            Product(self.sentences * self.source, self.word, self.gates * width, count=directions),
            Product(self.sentences, width, self.gates * width, steps=self.source, count=directions),
        ]

    def decoder(self) -> list[Product]:
        """Its recurrent layer and its readout, without the output layer."""
        sentences, word, hidden, gates = self.sentences, self.word, self.hidden, self.gates
        found = [self.at_once(word, gates * hidden), self.step_by_step(hidden, gates * hidden)]
        match self.config.decoder:
            case "sutskever":
                found += [self.at_once(hidden, word)]
            case "cho":
                found += [Product(sentences, hidden, hidden, count=2)]
                found += [self.at_once(hidden, gates * hidden)]
                found += [self.at_once(2 * hidden + word, 2 * word)]
            case "bahdanau":
                found += [Product(sentences, hidden, hidden)]
                found += [self.step_by_step(hidden, gates * hidden)]
                found += [self.at_once(2 * hidden + word, 2 * word)]
            case "luong":
                found += [self.queries(2 * hidden, word)]
                if self.feeds:
                    found += [self.step_by_step(word, gates * hidden)]
        return found

    def attention(self) -> list[Product]:
        """Scores and contexts."""
        score, hidden, source = self.config.score, self.hidden, self.source
        found = [self.pairs(source, hidden)]  # contexts
        if score in ("concat", "additive"):
            inner = self.config.attention_dim or hidden
            found += [Product(self.sentences * source, hidden, inner)]
            found += [self.queries(hidden, inner)]
            found += [Product(self.sentences * self.target * source, inner, 1)]
        else:
            found += [self.pairs(hidden, source)]
        if score == "general":
            found += [Product(self.sentences * source, hidden, hidden)]
        return found


def _transformer_layers(config: TransformerConfig, batch: Batch) -> list[Product]:
    """Projections, scores, contexts and networks of all layers; causal scores count in full."""
    sentences, source = batch.source.shape
    target, width = batch.target_in.shape[1], config.hidden_dim
    wide = config.feedforward_dim or 4 * width
    head, pairs = width // config.num_heads, sentences * config.num_heads

    def attention(queries: int, keys: int) -> list[Product]:
        return [
            Product(sentences * queries, width, width, count=2),  # queries, and the last matrix
            Product(sentences * keys, width, 2 * width),
            Product(queries, head, keys, batch=pairs),
            Product(queries, keys, head, batch=pairs),
        ]

    def network(length: int) -> list[Product]:
        rows = sentences * length
        return [Product(rows, width, wide), Product(rows, wide, width)]

    layer = [*attention(source, source), *network(source)]
    layer += [*attention(target, target), *attention(target, source), *network(target)]
    return [replace(one, count=one.count * config.layers) for one in layer]


def seconds(product: Product) -> float:
    """The processor's time for a product, the best of some tries.

    One whose result does not fit the caches is tried in one piece and in blocks of rows, because
    that is how a fast implementation may do it.
    """
    shape = (product.batch,) if product.batch > 1 else ()
    left = torch.randn(*shape, product.rows, product.inner)
    right = torch.randn(*shape, product.inner, product.columns)
    sizes = [product.rows]
    if product.batch == 1 and product.rows * product.columns > BLOCK:
        sizes.append(max(1, BLOCK // product.columns))
    best = float("inf")
    for size in sizes:
        out = torch.empty(*shape, min(size, product.rows), product.columns)
        for _ in range(3):
            started, done = time.process_time(), 0
            while done == 0 or time.process_time() - started < LEAST_SECONDS:
                for start in range(0, product.rows, size):
                    piece = left[..., start : start + size, :]
                    torch.matmul(piece, right, out=out[..., : piece.shape[-2], :])
                done += 1
            best = min(best, (time.process_time() - started) / done)
    return best * product.steps * product.count


@dataclass(frozen=True)
class Roofline:
    """What the machine could do if a step were its matrix products.

    Attributes:
        operations_per_token: forward and backward, per target token.
        gigaflops: operations a second at the model's own shapes, each product alone.
        tokens_per_second: the second over the first.
    """

    operations_per_token: float
    gigaflops: float
    tokens_per_second: float

    @classmethod
    def of(cls, config: TranslatorConfig, words: int, batch: Batch) -> Roofline:
        """Count, and measure now."""
        forward = products(config, words, batch)
        every = [part for one in forward for part in (one, *one.backward())]
        operations = sum(one.operations for one in every)
        took = sum(seconds(one) for one in every)
        tokens = batch.target_tokens
        return cls(operations / tokens, operations / took / 1e9, tokens / took)


class RooflineSection(Section):
    """The roofline of each model, and the share of it that training reached in the same run."""

    name = "roofline"
    measured_with = "training"  # a share of another run's speed would mean nothing
    one_thread = True
    cpu_alone = "products are timed one by one, on a CPU alone"

    def measure(self, threads: int) -> None:
        """On the batch of middle length."""
        trained = self.bench.result["training"]
        for batching in self.plan.batching:
            batches = self.workload.batches(batching)
            batches.sort(key=lambda one: one.target_in.shape[1])
            batch = batches[len(batches) // 2]
            for name in self.plan.models:
                config = self.workload.config(name)
                found = Roofline.of(config, len(self.workload.target), batch)
                reached = trained[batching][threads_key(threads)][name]["tokens_per_cpu_second"]
                self.result.setdefault(batching, {})[name] = {
                    **asdict(found),
                    "share": reached / found.tokens_per_second,
                }

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """A model in each row; tokens a second and the share reached, by batching."""
        measured: Mapping[str, Any] = result.get(cls.name, {})
        if not measured:
            return []
        names = dict.fromkeys(name for models in measured.values() for name in models)
        rows = [
            (
                name,
                *(
                    text
                    for models in measured.values()
                    for text in (
                        cell(number_at(models, name, "tokens_per_second")),
                        cell(number_at(models, name, "share"), ".0%"),
                    )
                ),
            )
            for name in names
        ]
        head = [column for batching in measured for column in (batching, "reached")]
        return [Table("Roofline of training, tokens a second", ("model", *head), rows)]
