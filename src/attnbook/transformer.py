"""The Transformer: encoder and decoder built of attention alone (Vaswani et al. 2017).

A layer is a few *sublayers*, each a function of all positions that is added to what it was given.
Where the sum is normalised is a choice that changes how such a model trains::

    post   x ← LayerNorm(x + Sublayer(x))      the paper's (section 3.1)
    pre    x ← x + Sublayer(LayerNorm(x))      most models since; one more norm at the end
                                               (Xiong et al. 2020, figure 1)

The encoder's layers have two sublayers, self-attention and a feed-forward network that treats
every position alone. The decoder's have three: masked self-attention, attention to the encoder's
states, and the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, cast, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import AttentionOutput
from attnbook.decoders import Cache, Decoder, DecoderOutput
from attnbook.encoder import EncoderOutput, check_sentences
from attnbook.self_attention import (
    KVCache,
    LearnedPositions,
    MultiHeadAttention,
    MultiHeadOutput,
    sinusoidal_positions,
)
from attnbook.settings import NORMS, POSITIONS
from attnbook.vocabulary import PAD

__all__ = [
    "DecoderLayer",
    "DecoderLayerOutput",
    "EncoderLayer",
    "FeedForward",
    "LayerCache",
    "PositionalEncoding",
    "Sublayer",
    "TransformerCache",
    "TransformerDecoder",
    "TransformerEncoder",
]

USUAL = 512  # positions whose sines and cosines are computed beforehand
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "gelu": functional.gelu}


class FeedForward(nn.Module):
    """``W_2 max(0, W_1 x + b_1) + b_2`` at every position (Vaswani et al. 2017, equation 2).

    Args:
        model_dim: width of what goes in and comes out.
        feedforward_dim: width in between.
        dropout: probability of dropping a number in between.
        activation: what stands for ``max(0, ·)``: ``"relu"``, or ``"gelu"`` as in BERT
            (Hendrycks & Gimpel 2016).
    """

    def __init__(
        self,
        model_dim: int,
        feedforward_dim: int,
        *,
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}"
            )
        self.activation = ACTIVATIONS[activation]
        self.linear1 = nn.Linear(model_dim, feedforward_dim)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(feedforward_dim, model_dim)

    def forward(self, states: Float[Tensor, "... model_dim"]) -> Float[Tensor, "... model_dim"]:
        """Every position by itself."""
        found: Tensor = self.linear2(self.dropout(self.activation(self.linear1(states))))
        return found


class Sublayer(nn.Module):
    """A norm, and the sum of what went in and what was made of it.

    Args:
        model_dim: width of a state.
        norm: ``"pre"`` or ``"post"``.
        dropout: probability of dropping a number of what is added.
        epsilon: what the norm adds to a variance.
    """

    def __init__(self, model_dim: int, norm: str, dropout: float, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
        self.pre = norm == "pre"
        self.norm = nn.LayerNorm(model_dim, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Float[Tensor, "batch length model_dim"],
        function: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "batch length model_dim"]:
        """``x + f(norm(x))`` or ``norm(x + f(x))``."""
        return self.after(states, function(self.before(states)))

    def before(
        self, states: Float[Tensor, "batch length model_dim"]
    ) -> Float[Tensor, "batch length model_dim"]:
        """What the function is given: ``norm(x)`` or ``x``."""
        given: Tensor = self.norm(states) if self.pre else states
        return given

    def after(
        self,
        states: Float[Tensor, "batch length model_dim"],
        made: Float[Tensor, "batch length model_dim"],
    ) -> Float[Tensor, "batch length model_dim"]:
        """What becomes of ``x`` and of what the function made: their sum, or its norm."""
        total = states + self.dropout(made)
        higher: Tensor = total if self.pre else self.norm(total)
        return higher


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network (Vaswani et al. 2017, section 3.1).

    Args:
        model_dim: width of a state.
        num_heads: of the attention.
        feedforward_dim: width of the network's hidden layer.
        dropout: of weights, of the network's hidden layer and of what is added.
        norm: ``"pre"`` or ``"post"``.
        attention_dropout: of weights, where it differs.
        activation: of the network.
        epsilon: of the norms.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        feedforward_dim: int,
        *,
        dropout: float,
        norm: str,
        attention_dropout: float | None = None,
        activation: str = "relu",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        if attention_dropout is None:
            attention_dropout = dropout
        self.attention = MultiHeadAttention(model_dim, num_heads, dropout=attention_dropout)
        self.feedforward = FeedForward(
            model_dim, feedforward_dim, dropout=dropout, activation=activation
        )
        self.around_attention = Sublayer(model_dim, norm, dropout, epsilon=epsilon)
        self.around_feedforward = Sublayer(model_dim, norm, dropout, epsilon=epsilon)

    def forward(
        self,
        states: Float[Tensor, "batch source model_dim"],
        mask: Bool[Tensor, "batch 1 source"] | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch source model_dim"], MultiHeadOutput]:
        """The states one layer higher, and what the heads gave.

        Args:
            states: of the layer below.
            mask: True at real words; None where there is no padding.
            need_weights: the heads also give scores and weights.
        """
        given = self.around_attention.before(states)
        attended: MultiHeadOutput = self.attention(
            given, given, given, mask, need_weights=need_weights
        )
        states = self.around_attention.after(states, attended.output)
        higher: Tensor = self.around_feedforward(states, self.feedforward)
        return higher, attended


class LayerCache(NamedTuple):
    """What a decoder's layer keeps between two words.

    Attributes:
        source: keys and values of the source's words, one row a sentence.
        past: keys and values of the words written so far; None before the first.
    """

    source: KVCache
    past: KVCache | None = None


class DecoderLayerOutput(NamedTuple):
    """What a decoder's layer gives.

    Attributes:
        states: one layer higher.
        self_attention: what the heads gave that attend to the words written.
        cross_attention: what the heads gave that attend to the source.
    """

    states: Float[Tensor, "batch target model_dim"]
    self_attention: MultiHeadOutput
    cross_attention: MultiHeadOutput


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the source, the network (section 3.1).

    Args:
        model_dim: width of a state.
        num_heads: of both attentions.
        feedforward_dim: width of the network's hidden layer.
        dropout: of weights, of the network's hidden layer and of what is added.
        norm: ``"pre"`` or ``"post"``.
    """

    def __init__(
        self, model_dim: int, num_heads: int, feedforward_dim: int, *, dropout: float, norm: str
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(model_dim, num_heads, dropout=dropout)
        self.cross_attention = MultiHeadAttention(model_dim, num_heads, dropout=dropout)
        self.feedforward = FeedForward(model_dim, feedforward_dim, dropout=dropout)
        self.around_self = Sublayer(model_dim, norm, dropout)
        self.around_cross = Sublayer(model_dim, norm, dropout)
        self.around_feedforward = Sublayer(model_dim, norm, dropout)

    def forward(
        self,
        states: Float[Tensor, "batch target model_dim"],
        cache: LayerCache,
        mask: Bool[Tensor, "sentences 1 source"],
        *,
        need_weights: bool = False,
    ) -> DecoderLayerOutput:
        """The states one layer higher.

        Args:
            states: of the layer below. Where there are several rows for each sentence, the
                hypotheses of a beam, they stand side by side.
            cache: what is kept of the source, and of the words before these.
            mask: True at real source words.
            need_weights: the heads also give scores and weights.
        """
        given = self.around_self.before(states)
        written: MultiHeadOutput = self.self_attention(
            given,
            given,
            given,
            causal=True,
            past_key_values=cache.past,
            need_weights=need_weights,
        )
        states = self.around_self.after(states, written.output)
        # The rows of one sentence attend to it together, as if they were words of one row.
        beam_size = len(states) // len(mask)
        queries = self.around_cross.before(states).unflatten(0, (-1, beam_size)).flatten(1, 2)
        looked = self.cross_attention.attend(queries, cache.source, mask, need_weights=need_weights)
        found: Tensor = looked.output.unflatten(1, (beam_size, -1))
        states = self.around_cross.after(states, found.flatten(0, 1))
        higher: Tensor = self.around_feedforward(states, self.feedforward)
        return DecoderLayerOutput(higher, written, looked)


class PositionalEncoding(nn.Module):
    """What is added to word vectors so that a model knows their order.

    Args:
        kind: ``"sinusoidal"`` or ``"learned"``.
        model_dim: width of a word's vector.
        max_positions: of a learned table, which ends there; sines and cosines go on for ever.
    """

    sinusoids: Tensor

    def __init__(self, kind: str, model_dim: int, max_positions: int) -> None:
        super().__init__()
        if kind not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}; got {kind!r}")
        self.learned = LearnedPositions(max_positions, model_dim) if kind == "learned" else None
        # Those of usual sentences are computed once; they are not part of a model's file.
        known = torch.empty(0) if self.learned else sinusoidal_positions(USUAL, model_dim)
        self.register_buffer("sinusoids", known, persistent=False)

    @property
    def max_positions(self) -> int | None:
        """How many positions there are; None where there is no end."""
        return None if self.learned is None else self.learned.vectors.num_embeddings

    def forward(
        self, embedded: Float[Tensor, "batch length model_dim"], start: int = 0
    ) -> Float[Tensor, "batch length model_dim"]:
        """Word vectors, the first of which stands at position ``start``, with their positions.

        Raises:
            ValueError: the last position is beyond a learned table.
        """
        end = start + embedded.shape[1]
        if self.learned is not None:
            vectors: Tensor = self.learned(embedded.shape[1], start)
            return embedded + vectors
        if end <= len(self.sinusoids):
            return embedded + self.sinusoids[start:end]
        _, length, model_dim = embedded.shape
        return embedded + sinusoidal_positions(length, model_dim, start).to(embedded)


class TransformerEncoder(nn.Module):
    """Word vectors and places, then layers in which every word looks at every word.

    Args:
        vocabulary_size: how many source words there are.
        model_dim: width of a word's vector and of a state.
        num_heads: in each layer.
        layers: how many are stacked.
        feedforward_dim: width of the networks' hidden layers.
        dropout: see :class:`EncoderLayer`; also of word vectors.
        norm: ``"pre"`` or ``"post"``.
        positions: ``"sinusoidal"`` or ``"learned"``.
        max_positions: of a learned table of positions.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_dim: int,
        *,
        num_heads: int,
        layers: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        norm: str = "pre",
        positions: str = "sinusoidal",
        max_positions: int = 512,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, model_dim, padding_idx=PAD)
        self.positions = PositionalEncoding(positions, model_dim, max_positions)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(model_dim, num_heads, feedforward_dim, dropout=dropout, norm=norm)
            for _ in range(layers)
        )
        # With the norms before the sums, nothing has normalised the last sum.
        self.norm = nn.LayerNorm(model_dim) if norm == "pre" else nn.Identity()

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        *,
        need_weights: bool = False,
    ) -> EncoderOutput:
        """Read the sentences; padding changes no state of a real word.

        Args:
            source: ids, padded at the right.
            lengths: real tokens of each sentence, at least 1.
            need_weights: also give the heads' weights, layer by layer.

        Raises:
            ValueError: an id outside the vocabulary, an empty sentence, more words than there are
                positions, or as many lengths as there are not sentences.
        """
        mask = check_sentences(source, lengths, self.embedding.num_embeddings)
        words = self.embedding(source) * sqrt(self.embedding.embedding_dim)
        states = self.dropout(self.positions(words))
        weights = []
        for layer in self.layers:
            states, heads = layer(states, mask.unsqueeze(1), need_weights=need_weights)
            weights.append(heads.weights)
        return EncoderOutput(self.norm(states), None, mask, tuple(weights) if need_weights else ())


@dataclass(frozen=True)
class TransformerCache(Cache):
    """What :class:`TransformerDecoder` keeps between two words.

    Attributes:
        mask: True at real source words.
        layers: keys and values of every layer, of the source and of the words so far.
        beam_size: rows for each sentence.
    """

    mask: Bool[Tensor, "sentences source"]
    layers: tuple[LayerCache, ...]
    beam_size: int

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.mask) * self.beam_size

    @property
    def length(self) -> int:
        """How many words there are so far."""
        past = self.layers[0].past
        return 0 if past is None else past.keys.shape[-2]

    def select(
        self, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None
    ) -> TransformerCache:
        """Go on with the given rows and sentences."""
        mask = self.mask if sentences is None else self.mask[sentences]
        layers = tuple(
            LayerCache(
                layer.source if sentences is None else layer.source.select(sentences),
                None if layer.past is None else layer.past.select(rows),
            )
            for layer in self.layers
        )
        return TransformerCache(mask, layers, self.beam_size)


@final
class TransformerDecoder(Decoder[TransformerCache]):
    """Layers that look back at what was written and across at the source (section 3.1).

    ``p(y_t | …) = softmax(W o_t + b)``, where ``o_t`` is the top layer's state at ``y_{t-1}``.
    Nothing is fed back from one step to the next, so all steps of a known sentence are computed at
    once. Word by word, keys and values of the words before are kept in a
    :class:`TransformerCache` and not computed again.

    Args:
        vocabulary_size: how many target words there are.
        model_dim: width of a word's vector, a state and the readout.
        num_heads: of each attention.
        layers: how many are stacked.
        feedforward_dim: width of the networks' hidden layers.
        dropout: see :class:`DecoderLayer`; also of word vectors.
        norm: ``"pre"`` or ``"post"``.
        positions: ``"sinusoidal"`` or ``"learned"``.
        max_positions: of a learned table of positions.
        tied: use the embeddings as the rows of ``W``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_dim: int,
        *,
        num_heads: int,
        layers: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        norm: str = "pre",
        positions: str = "sinusoidal",
        max_positions: int = 512,
        tied: bool = True,
    ) -> None:
        super().__init__(vocabulary_size, model_dim, dropout=dropout)
        self.positions = PositionalEncoding(positions, model_dim, max_positions)
        self.layers = nn.ModuleList(
            DecoderLayer(model_dim, num_heads, feedforward_dim, dropout=dropout, norm=norm)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(model_dim) if norm == "pre" else nn.Identity()
        self._add_output(tied=tied)

    @property
    def attentions(self) -> list[MultiHeadAttention]:
        """The attention to the source of every layer."""
        return [cast("DecoderLayer", layer).cross_attention for layer in self.layers]

    @property
    def max_positions(self) -> int | None:
        """How many words a translation can have; None where there is no end."""
        return self.positions.max_positions

    def start(self, source: EncoderOutput, beam_size: int = 1) -> TransformerCache:
        """Keys and values of the source for every layer, and no word before the first."""
        layers = tuple(
            LayerCache(attention.project(source.states, source.states))
            for attention in self.attentions
        )
        return TransformerCache(source.mask, layers, beam_size)

    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | TransformerCache,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """All given words at once, each seeing itself and those before it.

        With ``need_weights`` the output's ``attention`` is the top layer's attention to the source,
        a mean over its heads. The mean of several softmaxes has no scores of its own; given are
        those whose softmax it is, the logarithms of the weights.
        """
        cache = self._cache(known)
        words = self._look_up(previous, cache) * sqrt(self.embedding.embedding_dim)
        states = self.dropout(self.positions(words, start=cache.length))
        mask = cache.mask.unsqueeze(1)
        outputs: list[DecoderLayerOutput] = []
        for layer, kept in zip(self.layers, cache.layers, strict=True):
            outputs.append(layer(states, kept, mask, need_weights=need_weights))
            states = outputs[-1].states
        layers = tuple(
            LayerCache(kept.source, one.self_attention.past_key_values)
            for kept, one in zip(cache.layers, outputs, strict=True)
        )
        states = self.norm(states)
        later = TransformerCache(cache.mask, layers, cache.beam_size)
        if not need_weights:
            return DecoderOutput(states, states, later)
        cross = tuple(_rows(one.cross_attention.weights, cache.rows) for one in outputs)
        mean = cross[-1].mean(dim=1)
        context = outputs[-1].cross_attention.output.reshape(*previous.shape, -1)
        return DecoderOutput(
            states,
            states,
            later,
            AttentionOutput(context, mean, mean.log()),
            self_weights=tuple(_rows(one.self_attention.weights, cache.rows) for one in outputs),
            cross_weights=cross,
        )


def _rows(
    weights: Float[Tensor, "sentences heads targets source"] | None, rows: int
) -> Float[Tensor, "rows heads target source"]:
    """Weights of rows that attended together, the words of each row by themselves."""
    assert weights is not None
    sentences, heads, _, source = weights.shape
    apart = weights.unflatten(2, (rows // sentences, -1)).transpose(1, 2)
    together: Tensor = apart.reshape(rows, heads, -1, source)
    return together
