"""Decoders: *when* the source is consulted, apart from *how* a score is computed.

Each decoder is a language model of the target, ``p(y_t | y_1 … y_{t-1}, x)``, and they differ in
what they know of the source ``x``:

- :class:`SutskeverDecoder` starts from the encoder's last state and never sees the source again;
- :class:`ChoDecoder` sees one summary vector ``c`` of the source at every step;
- :class:`BahdanauDecoder` looks at all encoder states at every step, before its state is updated,
  and what it sees goes into the update;
- :class:`LuongDecoder` looks at them after its state is updated, and speaks from what it sees.

All are called in the same way. ``forward`` reads any number of target words; training gives it
the whole right answer at once (teacher forcing), decoding gives it one word at a time together
with the state that the last call returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbook.attention import Attended, Attention
from attnbook.encoder import Encoded, State, check_ids, recurrent_layer
from attnbook.fast import AdditiveSteps, LinearSteps, LSTMSteps, lstm_step
from attnbook.self_attention import MultiHeadAttention
from attnbook.vocabulary import PAD

__all__ = [
    "BahdanauDecoder",
    "ChoDecoder",
    "Decoded",
    "Decoder",
    "LuongDecoder",
    "RecurrentDecoder",
    "Steps",
    "SutskeverDecoder",
]


class Decoded(NamedTuple):
    """What a decoder has done with some target words.

    Attributes:
        readouts: ``(batch, target, readout_dim)``, what the logits are computed from.
        states: ``(batch, target, hidden)``, the decoder's top state ``s_t`` at each step.
        attended: contexts, weights and scores of each step; None without attention.
        state: what the next word is read with, to go on from.
        queries: what each step asked with, ``s_t`` or ``s_{t-1}``; None without attention.
    """

    readouts: Float[Tensor, "batch target readout_dim"]
    states: Float[Tensor, "batch target hidden"]
    attended: Attended | None
    state: State
    queries: Float[Tensor, "batch target query_dim"] | None = None


class Decoder(nn.Module, ABC):
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
        """The modules that look at the source, in the order of their layers; none without."""

    @abstractmethod
    def start(self, encoded: Encoded) -> State:
        """What the first word is read with, each part ``(layers, batch, …)``."""

    @abstractmethod
    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
    ) -> Decoded:
        """Read ``y_0 … y_{t-1}`` (``y_0`` is ``<sos>``) and compute what predicts the next words.

        Args:
            previous: ids of the words before each predicted one.
            encoded: what the encoder left.
            state: where the last call ended; None starts a sentence.

        Raises:
            ValueError: an id outside the vocabulary, or unequal numbers of sentences.
        """

    def recorded(self, previous: Int[Tensor, "batch target"], encoded: Encoded) -> Decoded:
        """As :meth:`forward` from the start, and whatever a trace records."""
        decoded: Decoded = self(previous, encoded)
        return decoded

    @abstractmethod
    def prepare(self, encoded: Encoded) -> Encoded:
        """Compute what depends on the source alone, for a caller who asks word by word."""

    def logits(self, readouts: Float[Tensor, "... readout_dim"]) -> Float[Tensor, "... words"]:
        """Unnormalised log-probabilities of the next word, ``W o + b``."""
        logits: Tensor = self.output(readouts)
        return logits

    def _look_up(
        self, previous: Int[Tensor, "batch target"], encoded: Encoded
    ) -> Float[Tensor, "batch target embedding_dim"]:
        check_ids(previous, self.embedding.num_embeddings, "target")
        if len(previous) != len(encoded.states) * encoded.rows:
            raise ValueError(
                f"the target has {len(previous)} sentences and the source "
                f"{len(encoded.states)} for {encoded.rows} each"
            )
        vectors: Tensor = self.embedding(previous)
        return vectors


class RecurrentDecoder(Decoder):
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

    def prepare(self, encoded: Encoded) -> Encoded:
        """Compute what depends on the source alone, for a caller who asks word by word."""
        if self.attention is None:
            return encoded
        return encoded._replace(prepared=self.attention.score.prepare(encoded.states))

    def _embed(
        self, previous: Int[Tensor, "batch target"], encoded: Encoded
    ) -> Float[Tensor, "batch target embedding_dim"]:
        embedded: Tensor = self.dropout(self._look_up(previous, encoded))
        return embedded

    def _recur(
        self, inputs: Float[Tensor, "batch target input_dim"], state: State
    ) -> tuple[Float[Tensor, "batch target hidden"], State]:
        """One fused call of the recurrent layer over all steps."""
        return _run(self.recurrent, inputs, state)

    def _steps(self, embedded: Float[Tensor, "batch target embedding_dim"]) -> Steps | LSTMSteps:
        """The recurrent layer, to be called once for each word."""
        layer, words = self.recurrent, embedded.shape[1]
        if _plain_lstm(layer, embedded) and words > 1:
            return LSTMSteps(layer, embedded)
        return Steps(layer, embedded)

    def _attend(
        self,
        queries: Float[Tensor, "rows target query_dim"],
        encoded: Encoded,
        prepared: Tensor | AdditiveSteps | None = None,
    ) -> Attended:
        """Look at the encoder's states, which are keys and values.

        Rows that share a sentence ask together, as if they were steps of one row.
        """
        assert self.attention is not None
        if encoded.rows > 1:
            queries = queries.unflatten(0, (-1, encoded.rows)).flatten(1, 2)
        mask = encoded.mask.unsqueeze(1)
        if isinstance(prepared, AdditiveSteps):
            attended = self.attention.weigh(prepared(queries), encoded.states, mask)
        else:
            attended = self.attention(
                queries=queries,
                keys=encoded.states,
                values=encoded.states,
                mask=mask,
                prepared=encoded.prepared if prepared is None else prepared,
            )
        if encoded.rows == 1:
            return attended
        return Attended(*(part.unflatten(1, (encoded.rows, -1)).flatten(0, 1) for part in attended))

    def _prepared(self, encoded: Encoded, steps: int) -> Tensor | AdditiveSteps:
        """What the score computes of the keys, for so many steps."""
        assert self.attention is not None
        score, prepared = self.attention.score, encoded.prepared
        if prepared is None:
            prepared = score.prepare(encoded.states)
        # Another attention, or several rows for a sentence, goes the readable way.
        plain = type(self.attention).forward is Attention.forward and encoded.rows == 1
        return score.steps(prepared, steps) if plain else prepared


def _plain_lstm(layer: nn.Module, inputs: Tensor) -> TypeGuard[nn.LSTM]:
    """Whether a layer is one that :mod:`attnbook.fast` knows, in full precision."""
    low = torch.is_autocast_enabled(inputs.device.type)
    return isinstance(layer, nn.LSTM) and layer.num_layers == 1 and not low


def _run(
    layer: nn.Module, inputs: Float[Tensor, "batch target input_dim"], state: State
) -> tuple[Float[Tensor, "batch target hidden"], State]:
    if inputs.shape[1] == 1 and not torch.is_grad_enabled() and _plain_lstm(layer, inputs):
        hidden, cell = lstm_step(layer, inputs[:, 0], state[0][0], state[1][0])
        return hidden.unsqueeze(1), (hidden.unsqueeze(0), cell.unsqueeze(0))
    states, last = layer(inputs, state if len(state) == 2 else state[0])
    return states, last if isinstance(last, tuple) else (last,)


class Steps:
    """A recurrent layer whose every input is a word beside a vector that the last step decides.

    :class:`attnbook.fast.LSTMSteps` does the same with less work at each step.

    Args:
        layer: any batch-first recurrent layer with one direction.
        words: the first part of every input, ``(batch, steps, embedding_dim)``.
    """

    def __init__(
        self, layer: nn.RNNBase, words: Float[Tensor, "batch steps embedding_dim"]
    ) -> None:
        self.layer = layer
        self.words = iter(words.split(1, dim=1))

    def __call__(
        self, other: Float[Tensor, "batch other_dim"], state: State
    ) -> tuple[Float[Tensor, "batch 1 hidden"], State]:
        """The next step: its output, and the state after it."""
        inputs = torch.cat([next(self.words), other.unsqueeze(1)], dim=-1)
        return _run(self.layer, inputs, state)


@final
class SutskeverDecoder(RecurrentDecoder):
    """The encoder's last state is handed over, and that is all (Sutskever et al. 2014).

    ``s_0 = h_n``, ``s_t = f(y_{t-1}, s_{t-1})`` and ``p(y_t | …) = softmax(W P s_t)``: their
    output matrix, written as a product of two so that W can share the embeddings.
    """

    def __init__(
        self, vocabulary_size: int, embedding_dim: int, hidden_dim: int, **options: Any
    ) -> None:
        super().__init__(vocabulary_size, embedding_dim, hidden_dim, **options)
        self.project = nn.Linear(hidden_dim, embedding_dim, bias=False)

    def start(self, encoded: Encoded) -> State:
        """The encoder's last state, unchanged."""
        return encoded.final

    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
    ) -> Decoded:
        """Only the state knows the source."""
        embedded = self._embed(previous, encoded)
        states, last = self._recur(embedded, self.start(encoded) if state is None else state)
        return Decoded(self.project(self.dropout(states)), states, None, last)


@final
class ChoDecoder(RecurrentDecoder):
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

    def prepare(self, encoded: Encoded) -> Encoded:
        """The summary ``c``."""
        return encoded._replace(prepared=self.context(encoded))

    def context(self, encoded: Encoded) -> Float[Tensor, "batch hidden"]:
        """``c = tanh(V h_n)``, from the top layer's last state."""
        return torch.tanh(self.summarise(encoded.final[0][-1]))

    def start(self, encoded: Encoded) -> State:
        """``s_0 = tanh(V' c)`` in every layer; an LSTM's cell starts at zero."""
        first = torch.tanh(self.initial(self.context(encoded)))
        hidden = first.expand(self.recurrent.num_layers, *first.shape).contiguous()
        return (hidden, torch.zeros_like(hidden))[: len(encoded.final)]

    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
    ) -> Decoded:
        """The summary stands beside every word that is read, and beside every state."""
        embedded = self._embed(previous, encoded)
        context = self.context(encoded) if encoded.prepared is None else encoded.prepared
        context = context.repeat_interleave(encoded.rows, dim=0)
        context = context.unsqueeze(1).expand(-1, previous.shape[1], -1)
        states, last = self._recur(
            torch.cat([embedded, context], dim=-1),
            self.start(encoded) if state is None else state,
        )
        pieces = self.combine(self.dropout(torch.cat([states, embedded, context], dim=-1)))
        readouts = pieces.unflatten(-1, (-1, 2)).amax(dim=-1)
        return Decoded(readouts, states, None, last)


@final
class BahdanauDecoder(RecurrentDecoder):
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

    def start(self, encoded: Encoded) -> State:
        """``s_0 = tanh(W_s h_n)`` in every layer; an LSTM's cell starts at zero."""
        first = torch.tanh(self.initial(encoded.final[0][-1]))
        hidden = first.expand(self.recurrent.num_layers, *first.shape).contiguous()
        return (hidden, torch.zeros_like(hidden))[: len(encoded.final)]

    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
    ) -> Decoded:
        """Step by step: attention with the last state, then the next state."""
        embedded = self._embed(previous, encoded)
        state = self.start(encoded) if state is None else state
        first = state[0]
        prepared = self._prepared(encoded, previous.shape[1])
        step = self._steps(embedded)
        states, steps = [], []
        for _ in range(previous.shape[1]):
            query = state[0][-1].unsqueeze(1)  # s_{t-1} of the top layer
            attended = self._attend(query, encoded, prepared)
            output, state = step(attended.context.squeeze(1), state)
            states.append(output)
            steps.append(attended)
        all_states = torch.cat(states, dim=1)
        queries = torch.cat([first[-1].unsqueeze(1), all_states[:, :-1]], dim=1)
        attended = _joined(steps)
        known = torch.cat([all_states, embedded, attended.context], dim=-1)
        readouts = self.combine(self.dropout(known)).unflatten(-1, (-1, 2)).amax(dim=-1)
        return Decoded(readouts, all_states, attended, state, queries)


@final
class LuongDecoder(RecurrentDecoder):
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

    def start(self, encoded: Encoded) -> State:
        """The encoder's last state, unchanged; with input feeding also ``s̃_0 = 0``."""
        if not self.input_feeding:
            return encoded.final
        first = encoded.states.new_zeros(1, len(encoded.states), self.output.in_features)
        return (*encoded.final, first)

    def forward(
        self,
        previous: Int[Tensor, "batch target"],
        encoded: Encoded,
        state: State | None = None,
    ) -> Decoded:
        """States first, for all steps; then attention, for all steps."""
        embedded = self._embed(previous, encoded)
        if self.input_feeding:
            return self._step_by_step(embedded, encoded, state)
        states, last = self._recur(embedded, self.start(encoded) if state is None else state)
        attended = self._attend(states, encoded)
        both = torch.cat([attended.context, states], dim=-1)
        readouts = torch.tanh(self.combine(self.dropout(both)))
        return Decoded(readouts, states, attended, last, queries=states)

    def _combining(self, embedded: Tensor) -> nn.Linear | LinearSteps:
        """``W_c``, to be applied once for each word."""
        rows, steps, _ = embedded.shape
        low = torch.is_autocast_enabled(embedded.device.type)
        if torch.is_grad_enabled() and steps > 1 and not low:
            return LinearSteps(self.combine, rows, steps)
        return self.combine

    def _step_by_step(
        self,
        embedded: Float[Tensor, "batch target embedding_dim"],
        encoded: Encoded,
        state: State | None,
    ) -> Decoded:
        """With input feeding: every step reads what the step before spoke from."""
        state = self.start(encoded) if state is None else state
        recurrent, fed = state[:-1], state[-1]
        prepared = self._prepared(encoded, embedded.shape[1])
        step, combine = self._steps(embedded), self._combining(embedded)
        outputs, readouts, steps = [], [], []
        for _ in range(embedded.shape[1]):
            output, recurrent = step(fed.squeeze(0), recurrent)
            attended = self._attend(output, encoded, prepared)
            both = torch.cat([attended.context, output], dim=-1)
            readout = torch.tanh(combine(self.dropout(both)))
            fed = readout.transpose(0, 1)
            outputs.append(output)
            readouts.append(readout)
            steps.append(attended)
        states = torch.cat(outputs, dim=1)
        return Decoded(
            torch.cat(readouts, dim=1), states, _joined(steps), (*recurrent, fed), queries=states
        )


def _joined(steps: list[Attended]) -> Attended:
    """Steps of one target position each, as one."""
    return Attended(*(torch.cat(parts, dim=1) for parts in zip(*steps, strict=True)))
