"""The translator: an encoder, a decoder and the two vocabularies they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnbook.batches import Batch, Example
from attnbook.build import build
from attnbook.corpora import SentencePair
from attnbook.decoders import Decoder, DecoderOutput
from attnbook.encoder import Encoder, EncoderOutput
from attnbook.losses import output_cross_entropy
from attnbook.scores import Score
from attnbook.settings import TranslatorConfig
from attnbook.transformer import TransformerEncoder
from attnbook.vocabulary import Vocabulary

__all__ = ["Loss", "Translator"]


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

    :meth:`from_config` builds one from settings. Put together by hand, from modules of any sizes
    that fit each other, it trains and translates in the same way.

    Args:
        encoder: reads source ids.
        decoder: writes target words; it is started from what the encoder gives.
        source_vocabulary: words the encoder reads.
        target_vocabulary: words the decoder writes.
        name: of the model, for traces and tables.
        reverse_source: read the source from right to left.
        max_source_length: cut a source to so many words; None cuts nothing.

    Attributes:
        config: the settings that :meth:`from_config` was given; None where the modules were put
            together by hand. A checkpoint can bring back only what settings describe.
    """

    encoder: Encoder | TransformerEncoder
    decoder: Decoder[Any]

    def __init__(
        self,
        encoder: Encoder | TransformerEncoder,
        decoder: Decoder[Any],
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        *,
        name: str = "translator",
        reverse_source: bool = False,
        max_source_length: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.name = name
        self.reverse_source = reverse_source
        self.max_source_length = max_source_length
        self.config: TranslatorConfig | None = None

    @classmethod
    def from_config(
        cls,
        config: TranslatorConfig,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        *,
        name: str = "translator",
        score: Score | None = None,
    ) -> Translator:
        """A translator of the shape that the settings describe, with new weights.

        Args:
            config: the settings; they are kept as ``config``, and a checkpoint stores them.
            source_vocabulary: words the encoder reads.
            target_vocabulary: words the decoder writes.
            name: of the model, for traces and tables.
            score: one of your own, in place of the one that the settings name.

        Raises:
            ValueError: a score for a decoder that has none.
        """
        encoder, decoder = build(config, len(source_vocabulary), len(target_vocabulary), score)
        translator = cls(
            encoder,
            decoder,
            source_vocabulary,
            target_vocabulary,
            name=name,
            reverse_source=config.reverse_source,
            max_source_length=config.max_source_length,
        )
        translator.config = config
        return translator

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
        """Ids of a source sentence as the encoder reads it: cut, and reversed if it is to be.

        Raises:
            ValueError: the sentence is empty.
        """
        if not tokens:
            raise ValueError("the source sentence is empty; give it at least one word")
        ids = self.source_vocabulary.encode(tokens)[: self.max_source_length]
        return ids[::-1] if self.reverse_source else ids

    def examples(self, pairs: Sequence[SentencePair]) -> list[Example]:
        """Sentence pairs as ids."""
        return [
            (self.source_ids(pair.source), self.target_vocabulary.encode(pair.target))
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
