"""The encoder: reads the source and leaves one state for each word."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnbook.fast import read_unpacked
from attnbook.masks import padding_mask
from attnbook.vocabulary import PAD

__all__ = [
    "CELLS",
    "Encoded",
    "Encoder",
    "State",
    "check_ids",
    "check_sentences",
    "read_packed",
    "recurrent_layer",
]

# A recurrent state: (h,) of an RNN or a GRU, (h, c) of an LSTM, each (layers, batch, hidden).
State = tuple[Tensor, ...]

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


class Encoded(NamedTuple):
    """What the encoder leaves behind for the decoder.

    Attributes:
        states: ``(batch, source, key_dim)``, the state after each source word.
        final: the recurrent state after the last word, each part ``(layers, batch, hidden)``.
        mask: ``(batch, source)``, True at real words.
        prepared: what :meth:`~attnbook.decoders.Decoder.prepare` has computed of it beforehand.
        rows: how many rows of a decoder's input belong to each sentence; above 1 in a beam.
    """

    states: Float[Tensor, "batch source key_dim"]
    final: State
    mask: Bool[Tensor, "batch source"]
    prepared: Tensor | None = None
    rows: int = 1


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
    ) -> Encoded:
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
        states, final = _read(self.recurrent, embedded, lengths)
        return Encoded(states, tuple(self._join_directions(part) for part in final), mask)

    def _join_directions(
        self, final: Float[Tensor, "layers_directions batch width"]
    ) -> Float[Tensor, "layers batch hidden"]:
        if not self.recurrent.bidirectional:
            return final
        # torch stacks (layer 0 forward, layer 0 backward, layer 1 forward, …); the two directions
        # of a layer must be set side by side, not reshaped across sentences.
        return torch.cat([final[0::2], final[1::2]], dim=-1)


def _read(
    layer: nn.Module,
    inputs: Float[Tensor, "batch source input_dim"],
    lengths: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch source hidden"], tuple[Tensor, ...]]:
    """Run a recurrent layer over padded sentences as if each stood alone, the fastest way."""
    if int(lengths.min()) == inputs.shape[1]:  # nothing is padded
        states, final = layer(inputs)
        return states, final if isinstance(final, tuple) else (final,)
    assert isinstance(layer, nn.RNNBase)  # any other reader must be given unpadded sentences
    if inputs.device.type == "cpu":
        return read_unpacked(layer, inputs, lengths)
    return read_packed(layer, inputs, lengths)


def read_packed(
    layer: nn.RNNBase,
    inputs: Float[Tensor, "batch source input_dim"],
    lengths: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch source hidden"], tuple[Tensor, ...]]:
    """Run a recurrent layer over padded sentences as if each stood alone: packed, as torch says.

    :func:`attnbook.fast.read_unpacked` gives the same numbers, on a CPU in half the time.

    Returns:
        All states, zero on padding, and the states after each sentence's last word, each part
        ``(layers · directions, batch, width)``.
    """
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    states, final = layer(packed)
    states, _ = pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])
    return states, final if isinstance(final, tuple) else (final,)


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
