"""The encoder: reads the source and leaves one state for each word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnbook.masks import padding_mask
from attnbook.seam import exchangeable
from attnbook.vocabulary import PAD

__all__ = [
    "CELLS",
    "Encoder",
    "EncoderOutput",
    "RecurrentState",
    "check_ids",
    "check_sentences",
    "read_sentences",
    "recurrent_layer",
]

CELLS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


def recurrent_layer(cell: str, input_dim: int, hidden_dim: int, **options: Any) -> nn.RNNBase:
    """One of torch's recurrent layers by the name of its cell, reading batch-first."""
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}; got {cell!r}")
    return CELLS[cell](input_dim, hidden_dim, batch_first=True, **options)


class RecurrentState(NamedTuple):
    """What a recurrent layer hands on from one word to the next.

    Attributes:
        hidden: ``h``, of every layer.
        cell: ``c``, of every layer of an LSTM; None for other cells.
    """

    hidden: Float[Tensor, "layers batch hidden"]
    cell: Float[Tensor, "layers batch hidden"] | None = None

    @classmethod
    def of(cls, given: Tensor | tuple[Tensor, Tensor]) -> RecurrentState:
        """What one of torch's layers returned: ``h``, or ``(h, c)`` of an LSTM."""
        return cls(*given) if isinstance(given, tuple) else cls(given)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """``h``, and ``c`` where there is one."""
        return (self.hidden,) if self.cell is None else (self.hidden, self.cell)

    @property
    def for_torch(self) -> Tensor | tuple[Tensor, Tensor]:
        """As one of torch's layers takes it."""
        return self.hidden if self.cell is None else (self.hidden, self.cell)

    def select(self, rows: Int[Tensor, " rows"]) -> RecurrentState:
        """The given rows of the batch, in their order."""
        return self.each(lambda part: part[:, rows])

    def each(self, function: Callable[[Tensor], Tensor]) -> RecurrentState:
        """The function of ``h``, and of ``c`` where there is one."""
        cell = None if self.cell is None else function(self.cell)
        return RecurrentState(function(self.hidden), cell)


class EncoderOutput(NamedTuple):
    """What an encoder leaves for the decoder.

    Attributes:
        states: after each source word; the keys and values of attention.
        final_state: of the recurrent layers after the last word; None of a Transformer, which has
            no such state.
        mask: True at real words.
        self_weights: of a Transformer, where they were asked for, the weights of every layer's
            heads, ``(batch, heads, source, source)``.
    """

    states: Float[Tensor, "batch source key_dim"]
    final_state: RecurrentState | None
    mask: Bool[Tensor, "batch source"]
    self_weights: tuple[Tensor, ...] = ()


class Encoder(nn.Module):
    """A recurrent network over the embedded source words.

    ``h_i = f(x_i, h_{i-1})`` (Sutskever et al. 2014, section 2), f one of torch's own recurrent
    layers; :mod:`attnbook.recurrent` writes their equations out and is tested equal to them.

    Read in both directions (Bahdanau et al. 2015, section 3.2), the state of a word is
    ``h_i = [→h_i; ←h_i]``, each direction half of ``hidden_dim`` wide, so that the widths below
    do not depend on the direction.

    Args:
        vocabulary_size: how many source words there are.
        embedding_dim: width of a word's vector.
        hidden_dim: width of a state, both directions together.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        layers: how many are stacked.
        bidirectional: read from right to left as well.
        dropout: probability of dropping a number of an embedding, or between layers.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if bidirectional and hidden_dim % 2:
            raise ValueError(f"two directions share hidden_dim; it must be even, got {hidden_dim}")
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = recurrent_layer(
            cell,
            embedding_dim,
            hidden_dim // 2 if bidirectional else hidden_dim,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Read the sentences; padding changes no state of a real word.

        Args:
            source: ids, padded at the right.
            lengths: real tokens of each sentence, at least 1, on the CPU.

        Raises:
            ValueError: an id outside the vocabulary, an empty sentence, or as many lengths as
                there are not sentences.
        """
        mask = check_sentences(source, lengths, self.embedding.num_embeddings)
        embedded = self.dropout(self.embedding(source))
        states, final = read_sentences(self.recurrent, embedded, lengths)
        return EncoderOutput(states, final.each(self._join_directions), mask)

    def _join_directions(
        self, final: Float[Tensor, "layers_directions batch width"]
    ) -> Float[Tensor, "layers batch hidden"]:
        if not self.recurrent.bidirectional:
            return final
        # torch stacks (layer 0 forward, layer 0 backward, layer 1 forward, …); the two directions
        # of a layer must be set side by side, not reshaped across sentences.
        return torch.cat([final[0::2], final[1::2]], dim=-1)


@exchangeable
def read_sentences(
    layer: nn.Module,
    inputs: Float[Tensor, "batch source input_dim"],
    lengths: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch source hidden"], RecurrentState]:
    """Run a recurrent layer over padded sentences as if each stood alone.

    Returns:
        All states, zero on padding, and the state after each sentence's last word, each part
        ``(layers · directions, batch, width)``.
    """
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    states, final = layer(packed)
    states, _ = pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])
    return states, RecurrentState.of(final)


def check_sentences(
    source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"], vocabulary_size: int
) -> Bool[Tensor, "batch source"]:
    """Refuse sentences that cannot be read; True where there is a word, False on padding."""
    check_ids(source, vocabulary_size, "source")
    if len(lengths) != len(source):
        raise ValueError(f"got {len(source)} sentences and {len(lengths)} lengths")
    if int(lengths.min()) < 1:
        raise ValueError("a source sentence is empty; it needs at least one token")
    return padding_mask(lengths, source.shape[1]).to(source.device)


def check_ids(ids: Int[Tensor, ...], vocabulary_size: int, name: str) -> None:
    """Refuse ids that are not integers or lie outside the vocabulary.

    On a GPU an embedding with a wrong id kills the process with an unreadable message, so the
    check comes first.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} must hold integer token ids, got {ids.dtype}")
    if ids.numel() == 0:
        raise ValueError(f"{name} holds no token")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary_size:
        raise ValueError(
            f"{name} holds token id {low if low < 0 else high}, outside the vocabulary of "
            f"{vocabulary_size} words; was it encoded with this model's vocabulary?"
        )
