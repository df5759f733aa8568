"""The translator: an encoder, a decoder and the two vocabularies they were trained with."""

from __future__ import annotations

import random
from collections.abc import Sequence
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
    Decoder,
    DecoderOutput,
    LuongDecoder,
    SutskeverDecoder,
)
from attnbook.encoder import Encoder, EncoderOutput
from attnbook.losses import output_cross_entropy
from attnbook.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    GeneralScore,
    ScaledDotScore,
    Score,
)
from attnbook.self_attention import MultiHeadAttention
from attnbook.settings import DECODERS, SCORES, Config
from attnbook.subwords import Subwords, word_numbers
from attnbook.transformer import TransformerDecoder, TransformerEncoder
from attnbook.vocabulary import Vocabulary

__all__ = ["DECODERS", "SCORES", "Config", "Loss", "Translator", "score_of"]


def score_of(config: Config) -> Score:
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
        score: one of your own, in place of the one that the configuration names.
        source_subwords: cuts the source's words into the pieces that ``source_vocabulary`` holds;
            None where it holds whole words.
        target_subwords: the same for the target.

    Raises:
        ValueError: a score for a decoder that has none.
    """

    encoder: Encoder | TransformerEncoder
    decoder: Decoder[Any]

    def __init__(
        self,
        config: Config,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        name: str = "translator",
        *,
        score: Score | None = None,
        source_subwords: Subwords | None = None,
        target_subwords: Subwords | None = None,
    ) -> None:
        super().__init__()
        if score is not None and config.decoder not in ("bahdanau", "luong"):
            raise ValueError(f"score: the {config.decoder} decoder has none")
        self.config = config
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.source_subwords = source_subwords
        self.target_subwords = target_subwords
        self.name = name
        if config.decoder == "transformer":
            self._build_transformer()
        else:
            self._build_recurrent(score)

    def _build_recurrent(self, score: Score | None) -> None:
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
        scored = score or score_of(config)
        match config.decoder:
            case "sutskever":
                self.decoder = SutskeverDecoder(*sizes, **options)
            case "cho":
                self.decoder = ChoDecoder(*sizes, **options)
            case "bahdanau":
                self.decoder = BahdanauDecoder(Attention(scored), *sizes, **options)
            case "luong":
                self.decoder = LuongDecoder(
                    Attention(scored),
                    *sizes,
                    input_feeding=config.input_feeding,
                    **options,
                )
        own = set() if score is None else set(score.parameters())
        for parameter in self.parameters():
            if parameter not in own:  # whose beginning is its author's affair
                nn.init.uniform_(parameter, -0.1, 0.1)
        if config.embedding_std is not None:
            for embedding in (self.encoder.embedding, self.decoder.embedding):
                nn.init.normal_(embedding.weight, std=config.embedding_std)

    def _build_transformer(self) -> None:
        """Both stacks; matrices by Glorot & Bengio (2010), word vectors of length about 1."""
        config = self.config
        options: dict[str, Any] = {
            "num_heads": config.heads,
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
        for module in self.modules():
            if isinstance(module, MultiHeadAttention):
                # As if queries', keys' and values' matrices lay in one, which is torch's way.
                for projection in (module.q_proj, module.k_proj, module.v_proj):
                    nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
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

    def source_tokens(self, words: Sequence[str]) -> list[str]:
        """What the encoder reads of these words: their pieces, or they themselves."""
        return list(words) if self.source_subwords is None else self.source_subwords.encode(words)

    def target_tokens(self, words: Sequence[str]) -> list[str]:
        """What the decoder writes for these words: their pieces, or they themselves."""
        return list(words) if self.target_subwords is None else self.target_subwords.encode(words)

    def target_words(self, ids: Sequence[int]) -> list[str]:
        """The words that the decoder wrote."""
        tokens = self.target_vocabulary.decode(ids)
        return tokens if self.target_subwords is None else self.target_subwords.decode(tokens)

    def source_places(self, words: Sequence[str]) -> list[int]:
        """For each token that the encoder reads, the number of its word."""
        if self.source_subwords is None:
            return list(range(len(words)))
        return word_numbers(self.source_tokens(words))

    def target_places(self, words: Sequence[str]) -> list[int]:
        """For each token that the decoder writes, the number of its word."""
        if self.target_subwords is None:
            return list(range(len(words)))
        return word_numbers(self.target_tokens(words))

    def source_ids(self, words: Sequence[str]) -> list[int]:
        """Ids of a source sentence as the encoder reads it: cut, and reversed if so configured.

        Raises:
            ValueError: the sentence is empty.
        """
        if not words:
            raise ValueError("the source sentence is empty; give it at least one word")
        return self._source_ids(self.source_tokens(words))

    def _source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = self.source_vocabulary.encode(tokens)[: self.config.longest]
        return ids[::-1] if self.config.reverse_source else ids

    def examples(self, pairs: Sequence[SentencePair]) -> list[Example]:
        """Sentence pairs as ids."""
        return [
            (
                self.source_ids(pair.source),
                self.target_vocabulary.encode(self.target_tokens(pair.target)),
            )
            for pair in pairs
        ]

    def examples_with_dropout(
        self, pairs: Sequence[SentencePair], dropout: float, seed: int
    ) -> list[Example]:
        """Sentence pairs as ids of pieces, with merges left out at random (BPE-dropout).

        Args:
            pairs: of words.
            dropout: the probability of leaving out a merge; see
                :meth:`~attnbook.subwords.Subwords.encode`.
            seed: give another one to each epoch.

        Raises:
            ValueError: the translator reads and writes whole words.
        """
        source, target = self.source_subwords, self.target_subwords
        if source is None or target is None:
            raise ValueError(
                "bpe_dropout: this translator has whole words and no merges to leave out"
            )
        chance = random.Random(seed)
        return [
            (
                self._source_ids(source.encode(pair.source, dropout=dropout, chance=chance)),
                self.target_vocabulary.encode(
                    target.encode(pair.target, dropout=dropout, chance=chance)
                ),
            )
            for pair in pairs
        ]

    def encode(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        *,
        need_weights: bool = False,
    ) -> EncoderOutput:
        """Read source sentences, each ending with ``<eos>``.

        Args:
            source: ids, padded at the right.
            lengths: real tokens of each sentence, on the CPU.
            need_weights: of a Transformer, also give the weights of self-attention.
        """
        output: EncoderOutput
        if isinstance(self.encoder, TransformerEncoder):
            output = self.encoder(source, lengths, need_weights=need_weights)
        else:
            output = self.encoder(source, lengths)
        return output

    def forward(self, batch: Batch, *, need_weights: bool = False) -> DecoderOutput:
        """Read the sources, then the right answers (teacher forcing)."""
        source = self.encode(batch.source, batch.source_lengths, need_weights=need_weights)
        output: DecoderOutput = self.decoder(batch.target_in, source, need_weights=need_weights)
        return output

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
        losses = output_cross_entropy(
            self.decoder.output, self(batch).readouts[mask], batch.target_out[mask], label_smoothing
        )
        return Loss(*losses, batch.target_tokens)
