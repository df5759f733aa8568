"""The translator: an encoder, a decoder and the two vocabularies they were trained with."""

from __future__ import annotations

import random
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
from attnbook.subwords import Subwords, word_numbers
from attnbook.transformer import TransformerEncoder
from attnbook.vocabulary import Vocabulary, words_of

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
        source_subwords: cuts the source's words into the pieces that ``source_vocabulary`` holds;
            None where it holds whole words.
        target_subwords: the same for the target.

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
        source_subwords: Subwords | None = None,
        target_subwords: Subwords | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.source_subwords = source_subwords
        self.target_subwords = target_subwords
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
        source_subwords: Subwords | None = None,
        target_subwords: Subwords | None = None,
    ) -> Translator:
        """A translator of the shape that the settings describe, with new weights.

        Args:
            config: the settings; they are kept as ``config``, and a checkpoint stores them.
            source_vocabulary: words the encoder reads.
            target_vocabulary: words the decoder writes.
            name: of the model, for traces and tables.
            score: one of your own, in place of the one that the settings name.
            source_subwords: cut the source's words into the pieces that its vocabulary holds; None
                reads whole words.
            target_subwords: the same for the target, whose pieces are put together again.

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
            source_subwords=source_subwords,
            target_subwords=target_subwords,
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

    def source_tokens(self, words: Sequence[str]) -> list[str]:
        """What the encoder reads of these words: their pieces, or they themselves."""
        words = list(words_of(words))
        return words if self.source_subwords is None else self.source_subwords.encode(words)

    def target_tokens(self, words: Sequence[str]) -> list[str]:
        """What the decoder writes for these words: their pieces, or they themselves."""
        words = list(words_of(words))
        return words if self.target_subwords is None else self.target_subwords.encode(words)

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
        """Ids of a source sentence as the encoder reads it: cut, and reversed if it is to be.

        Raises:
            ValueError: the sentence is empty.
        """
        if not words:
            raise ValueError("the source sentence is empty; give it at least one word")
        return self._source_ids(self.source_tokens(words))

    def _source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = self.source_vocabulary.encode(tokens)[: self.max_source_length]
        return ids[::-1] if self.reverse_source else ids

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
