"""Decoders: *when* the source is consulted, apart from *how* a score is computed.

Each decoder is a language model of the target, ``p(y_t | y_1 … y_{t-1}, x)``, and they differ in
what they know of the source ``x``:

- :class:`SutskeverDecoder` starts from the encoder's last state and never sees the source again;
- :class:`ChoDecoder` sees one summary vector ``c`` of the source at every step;
- :class:`BahdanauDecoder` looks at all encoder states at every step, before its state is updated,
  and what it sees goes into the update;
- :class:`LuongDecoder` looks at them after its state is updated, and speaks from what it sees.

All are called in the same way. ``forward`` reads any number of target words. Training gives it the
whole right answer at once and what the encoder left (teacher forcing); decoding gives it one word
at a time, each with the *cache* that the last call returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbook.attention import Attention, AttentionOutput
from attnbook.encoder import EncoderOutput, RecurrentState, check_ids, recurrent_layer
from attnbook.seam import exchangeable
from attnbook.self_attention import MultiHeadAttention
from attnbook.vocabulary import PAD

__all__ = [
    "AttentionCache",
    "BahdanauDecoder",
    "Cache",
    "ChoCache",
    "ChoDecoder",
    "Decoder",
    "DecoderOutput",
    "LuongCache",
    "LuongDecoder",
    "RecurrentCache",
    "RecurrentDecoder",
    "SutskeverDecoder",
    "attend_step_by_step",
    "linear_step_by_step",
    "recur",
    "recur_step_by_step",
]


# --- what a decoder keeps between two words ---------------------------------------------------


C = TypeVar("C", bound="Cache")


class Cache(ABC):
    """What a decoder keeps between two words.

    Something of each source sentence, computed once; and something of each *row*. A row is a
    sentence, or one of the ``beam_size`` hypotheses of a sentence, which stand side by side.
    """

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def select(self: C, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None) -> C:
        """Go on with the given rows, in their order, and the given sentences; None keeps all."""


@dataclass(frozen=True)
class RecurrentCache(Cache):
    """What :class:`SutskeverDecoder` keeps: its state.

    Attributes:
        state: of each row, the recurrent state after the words so far.
    """

    state: RecurrentState

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.state.hidden.shape[1]

    def select(
        self, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None
    ) -> RecurrentCache:
        """Go on with the given rows and sentences."""
        return replace(self, state=self.state.select(rows))


@dataclass(frozen=True)
class ChoCache(RecurrentCache):
    """What :class:`ChoDecoder` keeps.

    Attributes:
        context: the summary ``c`` of each sentence.
    """

    context: Float[Tensor, "sentences hidden"]

    def select(self, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None) -> ChoCache:
        """Go on with the given rows and sentences."""
        context = self.context if sentences is None else self.context[sentences]
        return ChoCache(self.state.select(rows), context)


@dataclass(frozen=True)
class AttentionCache(RecurrentCache):
    """What :class:`BahdanauDecoder` keeps.

    Attributes:
        source: what the encoder left of each sentence; its states are keys and values.
        projected_keys: what the score computes of the keys alone.
    """

    source: EncoderOutput
    projected_keys: Float[Tensor, "sentences source projected_dim"]

    def select(
        self, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None
    ) -> AttentionCache:
        """Go on with the given rows and sentences."""
        kept = replace(self, state=self.state.select(rows))
        if sentences is None:
            return kept
        states, mask = self.source.states[sentences], self.source.mask[sentences]
        return replace(
            kept,
            source=EncoderOutput(states, None, mask),
            projected_keys=self.projected_keys[sentences],
        )


@dataclass(frozen=True)
class LuongCache(AttentionCache):
    """What :class:`LuongDecoder` keeps.

    Attributes:
        attentional: with input feeding ``s̃_{t-1}`` of each row, otherwise None.
    """

    attentional: Float[Tensor, "rows readout_dim"] | None = None

    def select(self, rows: Int[Tensor, " rows"], sentences: Int[Tensor, " n"] | None) -> LuongCache:
        """Go on with the given rows and sentences."""
        kept = super().select(rows, sentences)
        assert isinstance(kept, LuongCache)
        fed = None if self.attentional is None else self.attentional[rows]
        return replace(kept, attentional=fed)


class DecoderOutput(NamedTuple):
    """What a decoder has done with some target words.

    Attributes:
        readouts: ``(batch, target, readout_dim)``, what the logits are computed from.
        states: ``(batch, target, hidden)``, the decoder's top state ``s_t`` at each step.
        cache: what the next word is read with, to go on from.
        attention: contexts, weights and scores of each step; None without attention.
        queries: what the keys were compared with at each step, ``s_t`` or ``s_{t-1}``; None
            without attention.
        self_weights: of a Transformer, where they were asked for, the weights of every layer's
            heads, ``(batch, heads, target, target)``.
        cross_weights: likewise those of the attention to the source,
            ``(batch, heads, target, source)``.
    """

    readouts: Float[Tensor, "batch target readout_dim"]
    states: Float[Tensor, "batch target hidden"]
    cache: Any
    attention: AttentionOutput | None = None
    queries: Float[Tensor, "batch target query_dim"] | None = None
    self_weights: tuple[Tensor, ...] = ()
    cross_weights: tuple[Tensor, ...] = ()


# --- decoders ---------------------------------------------------------------------------------


class Decoder(nn.Module, ABC, Generic[C]):
    """What every decoder has: embedded words, and an output layer.

    The next word's distribution is ``softmax(W o_t + b)`` over the readout ``o_t``; each decoder
    says how its readout comes about.

    Args:
        vocabulary_size: how many target words there are.
        embedding_dim: width of a word's vector.
        dropout: probability of dropping a number of an embedding or a readout.
    """

    output: nn.Linear

    def __init__(self, vocabulary_size: int, embedding_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)

    def _add_output(self, *, tied: bool, readout_dim: int | None = None) -> None:
        """The output layer, after whatever a decoder has in between: seeds draw in this order."""
        vocabulary_size, embedding_dim = self.embedding.weight.shape
        readout_dim = readout_dim or embedding_dim
        if tied and readout_dim != embedding_dim:
            raise ValueError(
                f"tied output weights need readout_dim = embedding_dim = {embedding_dim}, got "
                f"{readout_dim}; set tied to False"
            )
        self.output = nn.Linear(readout_dim, vocabulary_size)
        if tied:
            self.output.weight = self.embedding.weight

    @property
    @abstractmethod
    def attentions(self) -> Sequence[Attention | MultiHeadAttention]:
        """The modules that attend to the source, in the order of their layers; none without."""

    @property
    def max_positions(self) -> int | None:
        """How many words a translation can have; None where there is no end."""
        return None

    @abstractmethod
    def start(self, source: EncoderOutput, beam_size: int = 1) -> C:
        """What the first word is read with.

        Args:
            source: what the encoder left.
            beam_size: rows for each sentence.
        """

    @abstractmethod
    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | C,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """Read ``y_0 … y_{t-1}`` (``y_0`` is ``<sos>``) and compute what predicts the next words.

        Args:
            previous: ids of the words before each predicted one.
            known: what the encoder left, to begin a sentence; or the cache of the last call, to
                go on.
            need_weights: also give the weights of attention, where giving them costs something.

        Raises:
            ValueError: an id outside the vocabulary, or another number of rows than in the cache.
        """

    def logits(self, readouts: Float[Tensor, "... readout_dim"]) -> Float[Tensor, "... words"]:
        """Unnormalised log-probabilities of the next word, ``W o + b``."""
        logits: Tensor = self.output(readouts)
        return logits

    def _look_up(
        self, previous: Int[Tensor, "rows target"], cache: C
    ) -> Float[Tensor, "rows target embedding_dim"]:
        check_ids(previous, self.embedding.num_embeddings, "target")
        if len(previous) != cache.rows:
            raise ValueError(
                f"the target has {len(previous)} sentences and the source {cache.rows}"
            )
        vectors: Tensor = self.embedding(previous)
        return vectors

    def _cache(self, known: EncoderOutput | C) -> C:
        """What a call goes on from."""
        return self.start(known) if isinstance(known, EncoderOutput) else known


R = TypeVar("R", bound=RecurrentCache)


class RecurrentDecoder(Decoder[R]):
    """A decoder whose state goes from word to word through a recurrent layer.

    Args:
        vocabulary_size: how many target words there are.
        embedding_dim: width of a word's vector, and of the readout.
        hidden_dim: width of a state.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        layers: how many are stacked.
        dropout: probability of dropping a number of an embedding or a readout.
        tied: use the embeddings as the rows of ``W`` (Press & Wolf 2017).
        extra_input: width of what the recurrent layer reads beside the word.
        readout_dim: width of the readout; by default that of a word's vector, which tying needs.

    Attributes:
        attention: how the decoder looks at the source; None where it does not.
    """

    attention: Attention | None

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        dropout: float = 0.0,
        tied: bool = True,
        extra_input: int = 0,
        readout_dim: int | None = None,
    ) -> None:
        super().__init__(vocabulary_size, embedding_dim, dropout=dropout)
        self.attention = None
        self.recurrent = recurrent_layer(
            cell,
            embedding_dim + extra_input,
            hidden_dim,
            num_layers=layers,
            dropout=dropout if layers > 1 else 0.0,
        )
        self._add_output(tied=tied, readout_dim=readout_dim)

    @property
    def attentions(self) -> Sequence[Attention]:
        """The one attention, if there is one."""
        return () if self.attention is None else (self.attention,)

    def _state(self, first: Float[Tensor, "sentences hidden"]) -> RecurrentState:
        """``s_0``, the same in every layer; an LSTM's cell starts at zero."""
        hidden = first.expand(self.recurrent.num_layers, *first.shape).contiguous()
        lstm = isinstance(self.recurrent, nn.LSTM)
        return RecurrentState(hidden, torch.zeros_like(hidden) if lstm else None)

    def _embed(
        self, previous: Int[Tensor, "rows target"], cache: R
    ) -> Float[Tensor, "rows target embedding_dim"]:
        embedded: Tensor = self.dropout(self._look_up(previous, cache))
        return embedded


A = TypeVar("A", bound=AttentionCache)


class AttentionDecoder(RecurrentDecoder[A]):
    """What Bahdanau's and Luong's decoders share: attention to the encoder's states."""

    attention: Attention

    def _attend(
        self, queries: Float[Tensor, "rows target query_dim"], cache: A, attend: Attend
    ) -> AttentionOutput:
        """Attend to the encoder's states, which are keys and values.

        The rows of one sentence attend together, as if they were steps of one row.
        """
        source = cache.source
        beam_size = len(queries) // len(source.states)
        if beam_size > 1:
            queries = queries.unflatten(0, (-1, beam_size)).flatten(1, 2)
        found = attend(
            queries=queries,
            keys=source.states,
            values=source.states,
            mask=source.mask.unsqueeze(1),
        )
        if beam_size == 1:
            return found
        return AttentionOutput(
            *(part.unflatten(1, (beam_size, -1)).flatten(0, 1) for part in found)
        )


@final
class SutskeverDecoder(RecurrentDecoder[RecurrentCache]):
    """The encoder's last state is handed over, and that is all (Sutskever et al. 2014).

    ``s_0 = h_n``, ``s_t = f(y_{t-1}, s_{t-1})`` and ``p(y_t | …) = softmax(W P s_t)``: their
    output matrix, written as a product of two so that W can share the embeddings.
    """

    def __init__(
        self, vocabulary_size: int, embedding_dim: int, hidden_dim: int, **options: Any
    ) -> None:
        super().__init__(vocabulary_size, embedding_dim, hidden_dim, **options)
        self.project = nn.Linear(hidden_dim, embedding_dim, bias=False)

    def start(self, source: EncoderOutput, beam_size: int = 1) -> RecurrentCache:
        """The encoder's last state, unchanged."""
        return RecurrentCache(_repeated(final_state(source), beam_size))

    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | RecurrentCache,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """Only the state knows the source."""
        cache = self._cache(known)
        embedded = self._embed(previous, cache)
        states, last = recur(self.recurrent, embedded, cache.state)
        return DecoderOutput(self.project(self.dropout(states)), states, RecurrentCache(last))


@final
class ChoDecoder(RecurrentDecoder[ChoCache]):
    """One summary vector is read at every step (Cho et al. 2014, section 2.2 and appendix A).

    ``c = tanh(V h_n)``, ``s_0 = tanh(V' c)``, ``s_t = f([y_{t-1}; c], s_{t-1})``; the readout
    ``o_t`` is a maxout of ``O_s s_t + O_y y_{t-1} + O_c c`` over pairs of numbers.
    """

    def __init__(
        self, vocabulary_size: int, embedding_dim: int, hidden_dim: int, **options: Any
    ) -> None:
        super().__init__(
            vocabulary_size, embedding_dim, hidden_dim, extra_input=hidden_dim, **options
        )
        self.summarise = nn.Linear(hidden_dim, hidden_dim)
        self.initial = nn.Linear(hidden_dim, hidden_dim)
        self.combine = nn.Linear(hidden_dim + embedding_dim + hidden_dim, 2 * embedding_dim)

    def context(self, source: EncoderOutput) -> Float[Tensor, "sentences hidden"]:
        """``c = tanh(V h_n)``, from the top layer's last state."""
        return torch.tanh(self.summarise(final_state(source).hidden[-1]))

    def start(self, source: EncoderOutput, beam_size: int = 1) -> ChoCache:
        """``s_0 = tanh(V' c)`` in every layer; an LSTM's cell starts at zero."""
        context = self.context(source)
        first = torch.tanh(self.initial(context))
        return ChoCache(_repeated(self._state(first), beam_size), context)

    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | ChoCache,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """The summary stands beside every word that is read, and beside every state."""
        cache = self._cache(known)
        embedded = self._embed(previous, cache)
        context = cache.context.repeat_interleave(cache.rows // len(cache.context), dim=0)
        context = context.unsqueeze(1).expand(-1, previous.shape[1], -1)
        inputs = torch.cat([embedded, context], dim=-1)
        states, last = recur(self.recurrent, inputs, cache.state)
        pieces = self.combine(self.dropout(torch.cat([states, embedded, context], dim=-1)))
        readouts = pieces.unflatten(-1, (-1, 2)).amax(dim=-1)
        return DecoderOutput(readouts, states, ChoCache(last, cache.context))


@final
class BahdanauDecoder(AttentionDecoder[AttentionCache]):
    """Look at the source, then update the state (Bahdanau et al. 2015, section 3.1).

    The query is the state before the update, and the context goes into it::

        c_t = Σ_i α_ti h_i,   α_t = softmax_i score(s_{t-1}, h_i)      (equations 5 and 6)
        s_t = f([y_{t-1}; c_t], s_{t-1})                                (section 3.1)
        o_t = maxout(U_o s_t + V_o y_{t-1} + C_o c_t)                   (equation 4)

    The maxout takes the larger of each two numbers, as in appendix A.2.2. (The appendix prints
    s_{t-1} in the last line where equation 4 has s_t; s_t is what can know y_{t-1}.) The paper
    starts from ``s_0 = tanh(W_s ←h_1)``, the backward encoder's last state; here both directions'
    last states take its place, so that the decoder works with any encoder.

    Each query needs the context of the step before, so the steps are done one by one. What
    depends on the source alone is computed once.
    """

    attention: Attention

    def __init__(
        self,
        attention: Attention,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        key_dim: int | None = None,
        **options: Any,
    ) -> None:
        key_dim = key_dim or hidden_dim
        super().__init__(vocabulary_size, embedding_dim, hidden_dim, extra_input=key_dim, **options)
        self.attention = attention
        self.initial = nn.Linear(key_dim, hidden_dim)
        self.combine = nn.Linear(hidden_dim + embedding_dim + key_dim, 2 * embedding_dim)

    def start(self, source: EncoderOutput, beam_size: int = 1) -> AttentionCache:
        """``s_0 = tanh(W_s h_n)`` in every layer; an LSTM's cell starts at zero."""
        first = torch.tanh(self.initial(final_state(source).hidden[-1]))
        projected = self.attention.score.project_keys(source.states)
        return AttentionCache(_repeated(self._state(first), beam_size), source, projected)

    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | AttentionCache,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """Step by step: attention with the last state, then the next state."""
        cache = self._cache(known)
        embedded = self._embed(previous, cache)
        state, steps = cache.state, previous.shape[1]
        first = state.hidden[-1].unsqueeze(1)
        attend = attend_step_by_step(self.attention, cache.projected_keys, cache.rows, steps)
        step = recur_step_by_step(self.recurrent, embedded)
        states, found = [], []
        for _ in range(steps):
            query = state.hidden[-1].unsqueeze(1)  # s_{t-1} of the top layer
            attention = self._attend(query, cache, attend)
            output, state = step(attention.context.squeeze(1), state)
            states.append(output)
            found.append(attention)
        all_states = torch.cat(states, dim=1)
        queries = torch.cat([first, all_states[:, :-1]], dim=1)
        attention = _joined(found)
        seen = torch.cat([all_states, embedded, attention.context], dim=-1)
        readouts = self.combine(self.dropout(seen)).unflatten(-1, (-1, 2)).amax(dim=-1)
        return DecoderOutput(readouts, all_states, replace(cache, state=state), attention, queries)


@final
class LuongDecoder(AttentionDecoder[LuongCache]):
    """Update the state, look at the source, then speak (Luong et al. 2015, section 3).

    ``s_t = f(y_{t-1}, s_{t-1})`` is the query; the context ``c_t`` is the weighted sum of the
    encoder's states; the readout is the attentional state ``s̃_t = tanh(W_c [c_t; s_t])``
    (equation 5), and ``p(y_t | …) = softmax(W s̃_t)`` (equation 6). The paper writes h_t for s_t.

    No step depends on the context of the step before, so the recurrent layer runs over the whole
    target in one call and all steps attend in one product. With input feeding (section 3.3) one
    does: ``s_t = f([y_{t-1}; s̃_{t-1}], s_{t-1})``, with ``s̃_0 = 0``. The decoder then knows where
    it has looked before, and its steps must be done one by one.

    Args:
        attention: how queries and keys are compared.
        vocabulary_size: how many target words there are.
        embedding_dim: width of a word's vector.
        hidden_dim: width of a state.
        key_dim: width of the encoder's states; by default that of the decoder's.
        input_feeding: give ``s̃_{t-1}`` to the next step.
        readout_dim: width of ``s̃``; by default that of a word's vector, and in the paper that of
            a state.
    """

    attention: Attention

    def __init__(
        self,
        attention: Attention,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        key_dim: int | None = None,
        input_feeding: bool = False,
        readout_dim: int | None = None,
        **options: Any,
    ) -> None:
        readout_dim = readout_dim or embedding_dim
        super().__init__(
            vocabulary_size,
            embedding_dim,
            hidden_dim,
            extra_input=readout_dim if input_feeding else 0,
            readout_dim=readout_dim,
            **options,
        )
        self.attention = attention
        self.input_feeding = input_feeding
        self.combine = nn.Linear((key_dim or hidden_dim) + hidden_dim, readout_dim)

    def start(self, source: EncoderOutput, beam_size: int = 1) -> LuongCache:
        """The encoder's last state, unchanged; with input feeding also ``s̃_0 = 0``."""
        state = _repeated(final_state(source), beam_size)
        projected = self.attention.score.project_keys(source.states)
        if not self.input_feeding:
            return LuongCache(state, source, projected)
        rows = len(source.states) * beam_size
        first = source.states.new_zeros(rows, self.output.in_features)
        return LuongCache(state, source, projected, first)

    def forward(
        self,
        previous: Int[Tensor, "rows target"],
        known: EncoderOutput | LuongCache,
        *,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """States first, for all steps; then attention, for all steps."""
        cache = self._cache(known)
        embedded = self._embed(previous, cache)
        if self.input_feeding:
            return self._step_by_step(embedded, cache)
        states, last = recur(self.recurrent, embedded, cache.state)
        attend = partial(self.attention, projected_keys=cache.projected_keys)
        attention = self._attend(states, cache, attend)
        both = torch.cat([attention.context, states], dim=-1)
        readouts = torch.tanh(self.combine(self.dropout(both)))
        return DecoderOutput(readouts, states, replace(cache, state=last), attention, states)

    def _step_by_step(
        self, embedded: Float[Tensor, "rows target embedding_dim"], cache: LuongCache
    ) -> DecoderOutput:
        """With input feeding: every step reads what the step before spoke from."""
        state, fed = cache.state, cache.attentional
        assert fed is not None
        rows, steps, _ = embedded.shape
        attend = attend_step_by_step(self.attention, cache.projected_keys, rows, steps)
        step = recur_step_by_step(self.recurrent, embedded)
        combine = linear_step_by_step(self.combine, rows, steps)
        outputs, readouts, found = [], [], []
        for _ in range(steps):
            output, state = step(fed, state)
            attention = self._attend(output, cache, attend)
            both = torch.cat([attention.context, output], dim=-1)
            readout = torch.tanh(combine(self.dropout(both)))
            fed = readout.squeeze(1)
            outputs.append(output)
            readouts.append(readout)
            found.append(attention)
        states = torch.cat(outputs, dim=1)
        cache = replace(cache, state=state, attentional=fed)
        return DecoderOutput(torch.cat(readouts, dim=1), states, cache, _joined(found), states)


# --- steps ------------------------------------------------------------------------------------


@exchangeable
def recur(
    layer: nn.Module, inputs: Float[Tensor, "rows target input_dim"], state: RecurrentState
) -> tuple[Float[Tensor, "rows target hidden"], RecurrentState]:
    """One call of a recurrent layer over all steps: the states, and the last one to go on from."""
    states, last = layer(inputs, state.for_torch)
    return states, RecurrentState.of(last)


@exchangeable
def recur_step_by_step(
    layer: nn.Module, words: Float[Tensor, "rows steps embedding_dim"]
) -> Callable[[Tensor, RecurrentState], tuple[Tensor, RecurrentState]]:
    """A recurrent layer whose every input is a word beside a vector that the last step decides.

    Args:
        layer: any batch-first recurrent layer with one direction.
        words: the first part of every input.

    Returns:
        What is called with the other part, ``(rows, other_dim)``, and the state, once for each
        word in turn; it gives the output, ``(rows, 1, hidden)``, and the next state.
    """
    waiting = iter(words.split(1, dim=1))

    def step(other: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        return recur(layer, torch.cat([next(waiting), other.unsqueeze(1)], dim=-1), state)

    return step


Attend = Callable[..., AttentionOutput]  # of queries, keys, values and mask


@exchangeable
def attend_step_by_step(
    attention: Attention,
    projected_keys: Float[Tensor, "sentences source projected_dim"],
    rows: int,
    steps: int,
) -> Attend:
    """An attention that is called with one query of each row after the other.

    Args:
        attention: what is called.
        projected_keys: what its score computes of the keys alone.
        rows: how many there are, of all sentences together.
        steps: how many queries of each will come.

    Returns:
        What is called with queries, keys, values and mask.
    """
    return partial(attention, projected_keys=projected_keys)


@exchangeable
def linear_step_by_step(
    layer: nn.Linear, rows: int, steps: int
) -> Callable[[Float[Tensor, "rows 1 in_features"]], Float[Tensor, "rows 1 out_features"]]:
    """A linear layer that is called with one input of each row after the other."""
    return layer


def final_state(source: EncoderOutput) -> RecurrentState:
    """The recurrent state that an encoder ended with.

    Raises:
        ValueError: it has none, being a Transformer's.
    """
    if source.final_state is None:
        raise ValueError(
            "a recurrent decoder starts from the encoder's last state, and a Transformer's encoder "
            "has none"
        )
    return source.final_state


def _repeated(state: RecurrentState, beam_size: int) -> RecurrentState:
    """The state of each sentence for each row of its beam."""
    if beam_size == 1:
        return state
    return state.each(lambda part: part.repeat_interleave(beam_size, dim=1))


def _joined(steps: list[AttentionOutput]) -> AttentionOutput:
    """Steps of one target position each, as one."""
    return AttentionOutput(*(torch.cat(parts, dim=1) for parts in zip(*steps, strict=True)))
