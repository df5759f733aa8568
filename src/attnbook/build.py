"""Encoder and decoder from settings, and the weights that they start with."""

from __future__ import annotations

from typing import Any

from torch import nn

from attnbook.attention import Attention
from attnbook.decoders import (
    BahdanauDecoder,
    ChoDecoder,
    Decoder,
    LuongDecoder,
    SutskeverDecoder,
)
from attnbook.encoder import Encoder
from attnbook.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    GeneralScore,
    ScaledDotScore,
    Score,
)
from attnbook.self_attention import MultiHeadAttention
from attnbook.settings import RecurrentConfig, TransformerConfig, TranslatorConfig
from attnbook.transformer import TransformerDecoder, TransformerEncoder

__all__ = ["build", "score_of"]


def build(
    config: TranslatorConfig, source_words: int, target_words: int, score: Score | None = None
) -> tuple[Encoder | TransformerEncoder, Decoder[Any]]:
    """The encoder and the decoder that settings describe, with new weights.

    Args:
        config: the settings.
        source_words: size of the source vocabulary.
        target_words: size of the target vocabulary.
        score: in place of the one that the settings name; its weights are left as they are.

    Raises:
        ValueError: a score for a decoder that has none.
    """
    if score is not None and config.decoder not in ("bahdanau", "luong"):
        raise ValueError(f"score: the {config.decoder} decoder has none")
    if isinstance(config, TransformerConfig):
        return _transformer(config, source_words, target_words)
    return _recurrent(config, source_words, target_words, score)


def score_of(config: RecurrentConfig) -> Score:
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


def _recurrent(
    config: RecurrentConfig, source_words: int, target_words: int, score: Score | None
) -> tuple[Encoder, Decoder[Any]]:
    """Encoder and decoder of chapters 3 to 8."""
    encoder = Encoder(
        source_words,
        config.embedding_dim,
        config.hidden_dim,
        cell=config.cell,
        layers=config.layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )
    sizes = (target_words, config.embedding_dim, config.hidden_dim)
    options: dict[str, Any] = {
        "cell": config.cell,
        "layers": config.layers,
        "dropout": config.dropout,
        "tied": config.tied,
    }
    scored = score or score_of(config)
    decoder: Decoder[Any]
    match config.decoder:
        case "sutskever":
            decoder = SutskeverDecoder(*sizes, **options)
        case "cho":
            decoder = ChoDecoder(*sizes, **options)
        case "bahdanau":
            decoder = BahdanauDecoder(Attention(scored), *sizes, **options)
        case _:
            decoder = LuongDecoder(
                Attention(scored), *sizes, input_feeding=config.input_feeding, **options
            )
    own = set() if score is None else set(score.parameters())
    _start_recurrent(encoder, decoder, own, config.embedding_std)
    return encoder, decoder


def _transformer(
    config: TransformerConfig, source_words: int, target_words: int
) -> tuple[TransformerEncoder, TransformerDecoder]:
    """Both stacks of chapter 13."""
    width = config.hidden_dim
    options: dict[str, Any] = {
        "num_heads": config.num_heads,
        "layers": config.layers,
        "feedforward_dim": config.feedforward_dim or 4 * width,
        "dropout": config.dropout,
        "norm": config.norm,
        "positions": config.positions,
    }
    encoder = TransformerEncoder(source_words, width, **options)
    decoder = TransformerDecoder(target_words, width, tied=config.tied, **options)
    _start_transformer(encoder, decoder, config.embedding_std or width**-0.5)
    return encoder, decoder


# --- the weights to start with --------------------------------------------------------------------


def _start_recurrent(
    encoder: Encoder,
    decoder: Decoder[Any],
    own: set[nn.Parameter],
    embedding_std: float | None,
) -> None:
    """Weights between -0.1 and 0.1; word vectors may start larger.

    The parameters in ``own`` belong to a score that somebody else wrote, and are left alone.
    """
    for parameter in nn.ModuleList([encoder, decoder]).parameters():
        if parameter not in own:
            nn.init.uniform_(parameter, -0.1, 0.1)
    if embedding_std is not None:
        for embedding in (encoder.embedding, decoder.embedding):
            nn.init.normal_(embedding.weight, std=embedding_std)


def _start_transformer(
    encoder: TransformerEncoder, decoder: TransformerDecoder, embedding_std: float
) -> None:
    """Matrices by Glorot & Bengio (2010), word vectors of length about 1."""
    both = nn.ModuleList([encoder, decoder])
    for parameter in both.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    for module in both.modules():
        if isinstance(module, MultiHeadAttention):
            # As if queries', keys' and values' matrices lay in one, which is torch's way.
            for projection in (module.q_proj, module.k_proj, module.v_proj):
                nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
    for embedding in (encoder.embedding, decoder.embedding):
        nn.init.normal_(embedding.weight, std=embedding_std)
