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
from math import sqrt
from typing import cast, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import Attended
from attnbook.decoders import Decoded, Decoder
from attnbook.encoder import Encoded, State, check_sentences
from attnbook.self_attention import (
    LearnedPositions,
    MultiHead,
    MultiHeadAttention,
    Projected,
    sinusoidal_positions,
)
from attnbook.vocabulary import PAD

__all__ = [
    "NORMS",
    "POSITIONS",
    "DecoderLayer",
    "EncoderLayer",
    "FeedForward",
    "Sublayer",
    "TransformerDecoder",
    "TransformerEncoder",
]

NORMS = ("pre", "post")
POSITIONS = ("sinusoidal", "learned")
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
        self.widen = nn.Linear(model_dim, feedforward_dim)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(feedforward_dim, model_dim)

    def forward(self, states: Float[Tensor, "... model_dim"]) -> Float[Tensor, "... model_dim"]:
        """Every position by itself."""
        found: Tensor = self.narrow(self.dropout(self.activation(self.widen(states))))
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
        self.before = norm == "pre"
        self.norm = nn.LayerNorm(model_dim, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Float[Tensor, "batch length model_dim"],
        function: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "batch length model_dim"]:
        """``x + f(norm(x))`` or ``norm(x + f(x))``."""
        if self.before:
            added: Tensor = self.dropout(function(self.norm(states)))
            return states + added
        normed: Tensor = self.norm(states + self.dropout(function(states)))
        return normed


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network (Vaswani et al. 2017, section 3.1).

    Args:
        model_dim: width of a state.
        heads: of the attention.
        feedforward_dim: width of the network's hidden layer.
        dropout: of weights, of the network's hidden layer and of what is added.
        norm: ``"pre"`` or ``"post"``.
        activation: of the network.
        epsilon: of the norms.
    """

    def __init__(
        self,
        model_dim: int,
        heads: int,
        feedforward_dim: int,
        *,
        dropout: float,
        norm: str,
        activation: str = "relu",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(model_dim, heads, dropout=dropout)
        self.feedforward = FeedForward(
            model_dim, feedforward_dim, dropout=dropout, activation=activation
        )
        self.around_attention = Sublayer(model_dim, norm, dropout, epsilon=epsilon)
        self.around_feedforward = Sublayer(model_dim, norm, dropout, epsilon=epsilon)

    def forward(
        self,
        states: Float[Tensor, "batch source model_dim"],
        mask: Bool[Tensor, "batch 1 source"] | None = None,
        looks: list[MultiHead] | None = None,
    ) -> Float[Tensor, "batch source model_dim"]:
        """The states one layer higher.

        Args:
            states: of the layer below.
            mask: True at real words; None where there is no padding.
            looks: if given, what the heads saw is appended.
        """

        def attention(x: Tensor) -> Tensor:
            found: MultiHead = self.attention(x, x, x, mask, with_weights=looks is not None)
            if looks is not None:
                looks.append(found)
            output: Tensor = found.output
            return output

        states = self.around_attention(states, attention)
        higher: Tensor = self.around_feedforward(states, self.feedforward)
        return higher


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the source, the network (section 3.1).

    Args:
        model_dim: width of a state.
        heads: of both attentions.
        feedforward_dim: width of the network's hidden layer.
        dropout: of weights, of the network's hidden layer and of what is added.
        norm: ``"pre"`` or ``"post"``.
    """

    def __init__(
        self, model_dim: int, heads: int, feedforward_dim: int, *, dropout: float, norm: str
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(model_dim, heads, dropout=dropout)
        self.cross_attention = MultiHeadAttention(model_dim, heads, dropout=dropout)
        self.feedforward = FeedForward(model_dim, feedforward_dim, dropout=dropout)
        self.around_self = Sublayer(model_dim, norm, dropout)
        self.around_cross = Sublayer(model_dim, norm, dropout)
        self.around_feedforward = Sublayer(model_dim, norm, dropout)

    def forward(
        self,
        states: Float[Tensor, "batch target model_dim"],
        source: Projected,
        mask: Bool[Tensor, "sentences 1 source"],
        past: Projected | None = None,
        rows: int = 1,
        looks: list[tuple[MultiHead, MultiHead]] | None = None,
    ) -> tuple[Float[Tensor, "batch target model_dim"], Projected]:
        """The states one layer higher, and keys and values for the words to come.

        Args:
            states: of the layer below.
            source: the encoder's states as ``cross_attention`` projects them.
            mask: True at real source words.
            past: keys and values of the words before these, if there are any.
            rows: how many of ``batch`` belong to each source sentence. They ask it together, as if
                they were words of one.
            looks: if given, what the heads of both attentions saw is appended.
        """
        found: list[MultiHead] = []
        recorded = looks is not None

        def ask_self(x: Tensor) -> Tensor:
            found.append(
                self.self_attention(x, x, x, causal=True, past=past, with_weights=recorded)
            )
            return found[-1].output

        def ask_source(x: Tensor) -> Tensor:
            together = x.unflatten(0, (-1, rows)).flatten(1, 2)
            found.append(self.cross_attention.ask(together, source, mask, with_weights=recorded))
            output: Tensor = found[-1].output.unflatten(1, (rows, -1))
            return output.flatten(0, 1)

        states = self.around_self(states, ask_self)
        states = self.around_cross(states, ask_source)
        states = self.around_feedforward(states, self.feedforward)
        if looks is not None:
            looks.append((found[0], found[1]))
        return states, found[0].known


class Places(nn.Module):
    """What is added to word vectors so that a model knows their order.

    Args:
        kind: ``"sinusoidal"`` or ``"learned"``.
        width: of a word's vector.
        longest: positions of a learned table.
    """

    def __init__(self, kind: str, width: int, longest: int) -> None:
        super().__init__()
        if kind not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}; got {kind!r}")
        self.table = LearnedPositions(longest, width) if kind == "learned" else None
        self.width = width

    def forward(
        self, embedded: Float[Tensor, "batch length width"], start: int = 0
    ) -> Float[Tensor, "batch length width"]:
        """Word vectors, the first of which stands at position ``start``, with their places."""
        length = embedded.shape[1]
        if self.table is not None:
            places: Tensor = self.table(length, start)
            return embedded + places
        return embedded + sinusoidal_positions(length, self.width, start).to(embedded)


class TransformerEncoder(nn.Module):
    """Word vectors and places, then layers in which every word looks at every word.

    Args:
        vocabulary_size: how many source words there are.
        model_dim: width of a word's vector and of a state.
        heads: in each layer.
        layers: how many are stacked.
        feedforward_dim: width of the networks' hidden layers.
        dropout: see :class:`EncoderLayer`; also of word vectors.
        norm: ``"pre"`` or ``"post"``.
        positions: ``"sinusoidal"`` or ``"learned"``.
        longest: positions of a learned table.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_dim: int,
        *,
        heads: int,
        layers: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        norm: str = "pre",
        positions: str = "sinusoidal",
        longest: int = 512,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, model_dim, padding_idx=PAD)
        self.places = Places(positions, model_dim, longest)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(model_dim, heads, feedforward_dim, dropout=dropout, norm=norm)
            for _ in range(layers)
        )
        # With the norms before the sums, nothing has normalised the last sum.
        self.norm = nn.LayerNorm(model_dim) if norm == "pre" else nn.Identity()

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        looks: list[MultiHead] | None = None,
    ) -> Encoded:
        """Read the sentences; padding changes no state of a real word.

        Args:
            source: ids, padded at the right.
            lengths: real tokens of each sentence, at least 1.
            looks: if given, what the heads saw is appended, layer by layer.

        Raises:
            ValueError: an id outside the vocabulary, an empty sentence, or as many lengths as
                there are not sentences.
        """
        mask = check_sentences(source, lengths, self.embedding.num_embeddings)
        states = self.dropout(self.places(self.embedding(source) * sqrt(self.places.width)))
        for layer in self.layers:
            states = layer(states, mask.unsqueeze(1), looks)
        return Encoded(self.norm(states), (), mask)


@final
class TransformerDecoder(Decoder):
    """Layers that look back at what was written and across at the source (section 3.1).

    ``p(y_t | …) = softmax(W o_t + b)``, where ``o_t`` is the top layer's state at ``y_{t-1}``.
    Nothing is fed back from one step to the next, so all steps of a known sentence are computed at
    once. Word by word, keys and values of the words before are kept and not computed again: they
    are the state, ``(layers, batch, heads, words, head_dim)`` each.

    Args:
        vocabulary_size: how many target words there are.
        model_dim: width of a word's vector, a state and the readout.
        heads: of each attention.
        layers: how many are stacked.
        feedforward_dim: width of the networks' hidden layers.
        dropout: see :class:`DecoderLayer`; also of word vectors.
        norm: ``"pre"`` or ``"post"``.
        positions: ``"sinusoidal"`` or ``"learned"``.
        longest: positions of a learned table.
        tied: use the embeddings as the rows of ``W``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_dim: int,
        *,
        heads: int,
        layers: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        norm: str = "pre",
        positions: str = "sinusoidal",
        longest: int = 512,
        tied: bool = True,
    ) -> None:
        super().__init__(vocabulary_size, model_dim, dropout=dropout)
        self.places = Places(positions, model_dim, longest)
        self.layers = nn.ModuleList(
            DecoderLayer(model_dim, heads, feedforward_dim, dropout=dropout, norm=norm)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(model_dim) if norm == "pre" else nn.Identity()
        self.heads = heads
        self._add_output(tied=tied)

    @property
    def attentions(self) -> list[MultiHeadAttention]:
        """The attention to the source of every layer."""
        return [cast("DecoderLayer", layer).cross_attention for layer in self.layers]

    def start(self, encoded: Encoded) -> State:
        """No word before the first."""
        batch, _, width = encoded.states.shape
        shape = (len(self.layers), batch, self.heads, 0, width // self.heads)
        return encoded.states.new_zeros(shape), encoded.states.new_zeros(shape)

    def prepare(self, encoded: Encoded) -> Encoded:
        """Keys and values of the source for every layer."""
        projected = [torch.stack(one.project(encoded.states), dim=1) for one in self.attentions]
        return encoded._replace(prepared=torch.stack(projected, dim=1))

    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
        looks: list[tuple[MultiHead, MultiHead]] | None = None,
    ) -> Decoded:
        """All given words at once, each seeing itself and those before it.

        Args:
            previous: ids of the words before each predicted one.
            encoded: what the encoder left.
            state: where the last call ended; None starts a sentence.
            looks: if given, what the heads of both attentions saw is appended, layer by layer.
        """
        words = self._look_up(previous, encoded) * sqrt(self.places.width)
        keys, values = self.start(encoded) if state is None else state
        states = self.dropout(self.places(words, start=keys.shape[3]))
        if encoded.prepared is None:
            source = [attention.project(encoded.states) for attention in self.attentions]
        else:
            source = [Projected(*layer.unbind(1)) for layer in encoded.prepared.unbind(1)]
        known = []
        for number, layer in enumerate(self.layers):
            states, so_far = layer(
                states,
                source[number],
                encoded.mask.unsqueeze(1),
                Projected(keys[number], values[number]),
                encoded.rows,
                looks,
            )
            known.append(so_far)
        states = self.norm(states)
        kept = tuple(torch.stack(part) for part in zip(*known, strict=True))
        return Decoded(states, states, None, kept)

    def recorded(self, previous: Int[Tensor, "batch target"], encoded: Encoded) -> Decoded:
        """As :meth:`forward`, with the top layer's attention to the source, a mean over heads.

        The mean of several softmaxes has no scores of its own; given are those whose softmax it is,
        the logarithms of the weights.
        """
        looks: list[tuple[MultiHead, MultiHead]] = []
        decoded: Decoded = self(previous, encoded, looks=looks)
        top = looks[-1][1]
        assert top.weights is not None
        weights = top.weights.mean(dim=1)
        return decoded._replace(attended=Attended(top.output, weights, weights.log()))
