"""The translator: an encoder, a decoder and the two vocabularies they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import Attention
from attnbook.batches import Batch, Example
from attnbook.corpora import SentencePair
from attnbook.decoders import (
    BahdanauDecoder,
    ChoDecoder,
    Decoded,
    Decoder,
    LuongDecoder,
    SutskeverDecoder,
)
from attnbook.encoder import CELLS, Encoded, Encoder
from attnbook.fast import chunked_cross_entropy
from attnbook.losses import smoothed_cross_entropy
from attnbook.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    GeneralScore,
    ScaledDotScore,
    Score,
)
from attnbook.transformer import NORMS, POSITIONS, TransformerDecoder, TransformerEncoder
from attnbook.vocabulary import Vocabulary

__all__ = ["DECODERS", "SCORES", "Config", "Loss", "Translator"]

DECODERS = ("sutskever", "cho", "bahdanau", "luong", "transformer")
SCORES = ("dot", "scaled-dot", "general", "concat", "additive")


@dataclass(frozen=True)
class Config:
    """Everything that decides the shape of a translator.

    Attributes:
        decoder: ``"sutskever"``, ``"cho"``, ``"bahdanau"``, ``"luong"`` or ``"transformer"``. The
            last one comes with an encoder of its own, and has no ``score`` and no ``cell``.
        score: what Bahdanau's and Luong's compare with: ``"dot"``, ``"scaled-dot"``, ``"general"``,
            ``"concat"`` or ``"additive"``.
        attention_dim: width of the hidden layer of the last two scores; None is ``hidden_dim``.
        input_feeding: Luong's decoder reads what it spoke from last (Luong et al. 2015,
            section 3.3).
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``, in encoder and decoder.
        embedding_dim: width of a word's vector; in a Transformer that of a state.
        hidden_dim: width of a state.
        layers: how many are stacked, in encoder and decoder.
        bidirectional: the encoder reads in both directions.
        dropout: probability of dropping a number.
        tied: the target embeddings are also the output matrix.
        reverse_source: read the source from right to left (Sutskever et al. 2014, section 3.3).
        longest: a source is cut to so many words; None cuts nothing.
        embedding_std: word vectors start as normal random numbers of this standard deviation;
            None draws them as all other weights, uniformly between -0.1 and 0.1. A model of less
            than 100 units learns to attend much sooner from 1.
        heads: of every attention of a Transformer.
        feedforward_dim: width of its networks' hidden layers; None is four times ``hidden_dim``.
        norm: where its sums are normalised, ``"pre"`` or ``"post"``.
        positions: how its words know their places, ``"sinusoidal"`` or ``"learned"``.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    decoder: str = "luong"
    score: str = "dot"
    attention_dim: int | None = None
    input_feeding: bool = False
    cell: str = "lstm"
    embedding_dim: int = 128
    hidden_dim: int = 256
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.2
    tied: bool = True
    reverse_source: bool = False
    longest: int | None = None
    embedding_std: float | None = None
    heads: int = 4
    feedforward_dim: int | None = None
    norm: str = "pre"
    positions: str = "sinusoidal"

    def __post_init__(self) -> None:
        """Refuse what cannot be built, by name."""
        for name, known in (
            ("decoder", DECODERS),
            ("score", SCORES),
            ("cell", tuple(CELLS)),
            ("norm", NORMS),
            ("positions", POSITIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}"
                )
        for name in ("embedding_dim", "hidden_dim", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if self.longest is not None and self.longest < 1:
            raise ValueError(f"longest must be at least 1 or None, got {self.longest}")
        if self.attention_dim is not None and self.attention_dim < 1:
            raise ValueError(f"attention_dim must be at least 1 or None, got {self.attention_dim}")
        if self.input_feeding and self.decoder != "luong":
            raise ValueError(
                f"input_feeding belongs to the luong decoder; set it to False for {self.decoder}"
            )
        if self.feedforward_dim is not None and self.feedforward_dim < 1:
            raise ValueError(
                f"feedforward_dim must be at least 1 or None, got {self.feedforward_dim}"
            )
        if self.decoder == "transformer":
            self._check_transformer()
        if self.embedding_std is not None and self.embedding_std <= 0:
            raise ValueError(f"embedding_std must be above 0 or None, got {self.embedding_std}")

    def _check_transformer(self) -> None:
        if self.embedding_dim != self.hidden_dim:
            raise ValueError(
                "a Transformer's states are as wide as its word vectors; embedding_dim is "
                f"{self.embedding_dim} and hidden_dim {self.hidden_dim}"
            )
        if self.hidden_dim % self.heads:
            raise ValueError(
                f"heads must divide hidden_dim, got {self.heads} for {self.hidden_dim}"
            )
        if self.positions == "sinusoidal" and self.hidden_dim % 2:
            raise ValueError(f"sines and cosines need an even hidden_dim, got {self.hidden_dim}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Read back what :meth:`to_dict` wrote."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(values) - known):
            raise ValueError(f"{', '.join(unknown)}: not a setting of a translator")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return asdict(self)


def _score(config: Config) -> Score:
    """The score a configuration names; queries and keys are both states of ``hidden_dim``."""
    widths = (config.hidden_dim, config.hidden_dim)
    match config.score:
        case "dot":
            return DotScore()
        case "scaled-dot":
            return ScaledDotScore()
        case "general":
            return GeneralScore(*widths)
        case "concat":
            return ConcatScore(*widths, config.attention_dim or config.hidden_dim)
        case _:
            return AdditiveScore(*widths, config.attention_dim or config.hidden_dim)


class Loss(NamedTuple):
    """A batch's loss.

    Attributes:
        objective: mean over tokens of the label-smoothed cross-entropy; what training minimises.
        nats: sum over tokens of ``-log p(y_t | y_<t, x)``, without smoothing.
        tokens: how many there were.
    """

    objective: Tensor
    nats: Tensor
    tokens: int


class Translator(nn.Module):
    """Encoder and decoder, ``p(y | x) = Π_t p(y_t | y_1 … y_{t-1}, x)``.

    Args:
        config: the shape.
        source_vocabulary: words the encoder reads.
        target_vocabulary: words the decoder writes.
        name: of the model, for traces and tables.
    """

    encoder: Encoder | TransformerEncoder
    decoder: Decoder

    def __init__(
        self,
        config: Config,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        name: str = "translator",
    ) -> None:
        super().__init__()
        self.config = config
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.name = name
        if config.decoder == "transformer":
            self._build_transformer()
        else:
            self._build_recurrent()

    def _build_recurrent(self) -> None:
        """Encoder and decoder of chapters 3 to 8, with weights between -0.1 and 0.1."""
        config = self.config
        self.encoder = Encoder(
            len(self.source_vocabulary),
            config.embedding_dim,
            config.hidden_dim,
            cell=config.cell,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        sizes = (len(self.target_vocabulary), config.embedding_dim, config.hidden_dim)
        options: dict[str, Any] = {
            "cell": config.cell,
            "layers": config.layers,
            "dropout": config.dropout,
            "tied": config.tied,
        }
        match config.decoder:
            case "sutskever":
                self.decoder = SutskeverDecoder(*sizes, **options)
            case "cho":
                self.decoder = ChoDecoder(*sizes, **options)
            case "bahdanau":
                self.decoder = BahdanauDecoder(Attention(_score(config)), *sizes, **options)
            case "luong":
                self.decoder = LuongDecoder(
                    Attention(_score(config)),
                    *sizes,
                    input_feeding=config.input_feeding,
                    **options,
                )
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        if config.embedding_std is not None:
            for embedding in (self.encoder.embedding, self.decoder.embedding):
                nn.init.normal_(embedding.weight, std=config.embedding_std)

    def _build_transformer(self) -> None:
        """Both stacks; matrices by Glorot & Bengio (2010), word vectors of length about 1."""
        config = self.config
        options: dict[str, Any] = {
            "heads": config.heads,
            "layers": config.layers,
            "feedforward_dim": config.feedforward_dim or 4 * config.hidden_dim,
            "dropout": config.dropout,
            "norm": config.norm,
            "positions": config.positions,
        }
        width = config.hidden_dim
        self.encoder = TransformerEncoder(len(self.source_vocabulary), width, **options)
        self.decoder = TransformerDecoder(
            len(self.target_vocabulary), width, tied=config.tied, **options
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        for embedding in (self.encoder.embedding, self.decoder.embedding):
            nn.init.normal_(embedding.weight, std=config.embedding_std or width**-0.5)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(self.parameters()).device

    @property
    def attends(self) -> bool:
        """Whether the decoder looks at the source at every step."""
        return bool(self.decoder.attentions)

    def count_parameters(self) -> int:
        """How many numbers training adjusts; shared ones count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of a source sentence as the encoder reads it: cut, and reversed if so configured.

        Raises:
            ValueError: the sentence is empty.
        """
        if not tokens:
            raise ValueError("the source sentence is empty; give it at least one word")
        ids = self.source_vocabulary.encode(tokens)[: self.config.longest]
        return ids[::-1] if self.config.reverse_source else ids

    def examples(self, pairs: Sequence[SentencePair]) -> list[Example]:
        """Sentence pairs as ids."""
        return [
            (self.source_ids(pair.source), self.target_vocabulary.encode(pair.target))
            for pair in pairs
        ]

    def encode(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Encoded:
        """Read source sentences, each ending with ``<eos>``."""
        encoded: Encoded = self.encoder(source, lengths)
        return encoded

    def forward(self, batch: Batch) -> Decoded:
        """Read the sources, then the right answers (teacher forcing)."""
        decoded: Decoded = self.decoder(
            batch.target_in, self.encode(batch.source, batch.source_lengths)
        )
        return decoded

    def log_probs(self, batch: Batch) -> Float[Tensor, " tokens"]:
        """``log p(y_t | y_<t, x)`` of every real target token, in nats, batch by row order."""
        mask = batch.target_mask
        logits = self.decoder.logits(self(batch).readouts[mask])
        return -functional.cross_entropy(logits, batch.target_out[mask], reduction="none")

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        """The :func:`~attnbook.losses.smoothed_cross_entropy` of a batch.

        Logits are computed only where there is a token to predict: padding takes no time and has
        no loss.
        """
        mask: Bool[Tensor, "batch target"] = batch.target_mask
        readouts, answers = self(batch).readouts[mask], batch.target_out[mask]
        if torch.is_autocast_enabled(readouts.device.type):
            # Gradients in 16 bits have to be scaled before they are computed, not after.
            logits = self.decoder.logits(readouts)
            losses = smoothed_cross_entropy(logits, answers, label_smoothing)
        else:
            output = self.decoder.output
            losses = chunked_cross_entropy(
                readouts, output.weight, output.bias, answers, label_smoothing
            )
        return Loss(*losses, batch.target_tokens)
