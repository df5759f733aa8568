"""The settings of a translator and of its training: what they are called, mean and may be.

Nothing here imports torch, so that ``attnbook train --help`` can list every setting at once. A
field's metadata holds what a flag needs: its meaning, the words or numbers that it takes, and the
decoders that have it. A new field therefore is a flag, with its help and its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = [
    "CELL_NAMES",
    "DECODERS",
    "FAMILIES",
    "NORMS",
    "POSITIONS",
    "PRECISIONS",
    "SCORES",
    "Limits",
    "RecurrentConfig",
    "SharedConfig",
    "TrainingConfig",
    "TransformerConfig",
    "TranslatorConfig",
    "config_class",
    "config_of",
    "family",
]

FAMILIES = {
    "recurrent": ("sutskever", "cho", "bahdanau", "luong"),
    "transformer": ("transformer",),
}
DECODERS = tuple(decoder for decoders in FAMILIES.values() for decoder in decoders)
SCORES = ("dot", "scaled-dot", "general", "concat", "additive")
CELL_NAMES = ("rnn", "gru", "lstm")
NORMS = ("pre", "post")
POSITIONS = ("sinusoidal", "learned")
PRECISIONS = ("fp32", "bf16", "fp16")


def family(decoder: str) -> str:
    """The family of a decoder: ``"recurrent"`` or ``"transformer"``.

    Raises:
        ValueError: there is no such decoder.
    """
    for name, decoders in FAMILIES.items():
        if decoder in decoders:
            return name
    raise ValueError(f"decoder must be one of {', '.join(DECODERS)}; got {decoder!r}")


@dataclass(frozen=True)
class Limits:
    """The numbers that a setting or a flag may be; what lies outside is a slip of the keyboard.

    Attributes:
        low: the least, itself allowed unless ``above`` is set.
        high: the greatest, itself allowed unless ``below`` is set.
        above: whether the number must be above ``low``.
        below: whether the number must be below ``high``.
    """

    low: int | float
    high: int | float
    above: bool = False
    below: bool = False

    def __contains__(self, value: int | float) -> bool:
        """Whether the number is allowed; not-a-number never is."""
        enough = value > self.low if self.above else value >= self.low
        return enough and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        """In words, for a message after "must be"."""
        low = f"above {self.low:,}" if self.above else f"at least {self.low:,}"
        return f"{low} and {'below' if self.below else 'at most'} {self.high:,}"


COUNT = Limits(1, 1_000_000_000)
WIDTH = Limits(1, 65_536)
SHARE = Limits(0, 1, below=True)  # 0 to 1 without 1
SEED = Limits(0, 2**32 - 1)

_ATTENDING = ("bahdanau", "luong")
_DECODER = "what writes the target; transformer comes with an encoder of its own"


def setting(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[str] = (),
    limits: Limits | None = None,
    decoders: Sequence[str] = DECODERS,
) -> Any:
    """A field of a settings class, with what is known of it as metadata.

    Args:
        default: the value where none is given. Where it is None, None is allowed.
        meaning: one line of help.
        choices: the words it takes; or
        limits: the numbers it takes.
        decoders: those whose shape depends on it.
    """
    known = {"help": meaning, "choices": choices, "limits": limits, "decoders": tuple(decoders)}
    return field(default=default, metadata=known)


def check(settings: Any) -> None:
    """Refuse a value that its field does not take; the message names the field.

    Raises:
        ValueError: another word, or a number outside the limits.
    """
    for known in fields(settings):
        value = getattr(settings, known.name)
        if value is None and known.default is None:
            continue
        choices, limits = known.metadata["choices"], known.metadata["limits"]
        none = " (or None)" if known.default is None else ""
        if choices and value not in choices:
            raise ValueError(f"{known.name} must be one of {', '.join(choices)}; got {value!r}")
        if limits is not None and value not in limits:
            raise ValueError(f"{known.name} must be {limits}{none}, got {value}")


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """What decides the shape of any translator, whatever its family.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    decoder: str = setting("luong", _DECODER, choices=DECODERS)
    hidden_dim: int = setting(
        256, "width of a state; in a Transformer also of a word's vector", limits=WIDTH
    )
    layers: int = setting(1, "how many are stacked, in encoder and decoder", limits=Limits(1, 1000))
    dropout: float = setting(0.2, "probability of dropping a number", limits=SHARE)
    tied: bool = setting(True, "the target embeddings are also the output matrix")
    reverse_source: bool = setting(
        False, "read the source from right to left (Sutskever et al. 2014, section 3.3)"
    )
    max_source_length: int | None = setting(
        None, "a source is cut to so many words; if not given, nothing is cut", limits=COUNT
    )
    embedding_std: float | None = setting(
        None,
        "word vectors start as normal random numbers of this standard deviation; where it is not "
        "set, those of a Transformer have 1/√hidden_dim and others start as all other weights",
        limits=Limits(0, 100, above=True),
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be built, by name."""
        check(self)
        for known in fields(self):
            decoders = known.metadata["decoders"]
            if self.decoder not in decoders and getattr(self, known.name) != known.default:
                raise ValueError(
                    f"{known.name} belongs to the {' and '.join(decoders)} decoder"
                    f"{'s' if len(decoders) > 1 else ''}; leave it out for {self.decoder}"
                )

    def to_dict(self) -> dict[str, Any]:
        """The settings that this decoder has, as a dict for JSON; :func:`config_of` reads it."""
        return {
            known.name: getattr(self, known.name)
            for known in fields(self)
            if self.decoder in known.metadata["decoders"]
        }


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(SharedConfig):
    """The shape of a translator whose encoder and decoder are recurrent (chapters 3 to 8).

    Raises:
        ValueError: a value is not possible, or the decoder does not have what it sets; the message
            names the field.
    """

    decoder: str = setting("luong", _DECODER, choices=FAMILIES["recurrent"])
    cell: str = setting("lstm", "in encoder and decoder", choices=CELL_NAMES)
    embedding_dim: int = setting(128, "width of a word's vector", limits=WIDTH)
    bidirectional: bool = setting(False, "the encoder reads in both directions")
    score: str = setting(
        "dot", "how a query is compared with a key", choices=SCORES, decoders=_ATTENDING
    )
    attention_dim: int | None = setting(
        None,
        "width of the hidden layer of the scores concat and additive; if not given, hidden_dim",
        limits=WIDTH,
        decoders=_ATTENDING,
    )
    input_feeding: bool = setting(
        False,
        "the decoder reads what it spoke from last (Luong et al. 2015, section 3.3)",
        decoders=("luong",),
    )


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(SharedConfig):
    """The shape of a Transformer; its word vectors are as wide as its states, ``hidden_dim``.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    decoder: str = setting("transformer", _DECODER, choices=FAMILIES["transformer"])
    num_heads: int = setting(4, "of every attention", limits=Limits(1, 4096))
    feedforward_dim: int | None = setting(
        None,
        "width of the hidden layers; if not given, four times hidden_dim",
        limits=Limits(1, 4 * 65_536),
    )
    norm: str = setting("pre", "normalise before (pre) or after (post) each sum", choices=NORMS)
    positions: str = setting("sinusoidal", "how words know their places", choices=POSITIONS)

    def __post_init__(self) -> None:
        """Refuse what cannot be built, by name."""
        super().__post_init__()
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                f"num_heads must divide hidden_dim, got {self.num_heads} for {self.hidden_dim}"
            )
        if self.positions == "sinusoidal" and self.hidden_dim % 2:
            raise ValueError(f"sines and cosines need an even hidden_dim, got {self.hidden_dim}")


TranslatorConfig = RecurrentConfig | TransformerConfig


def config_class(decoder: str) -> type[RecurrentConfig] | type[TransformerConfig]:
    """The class of the settings that a decoder has.

    Raises:
        ValueError: there is no such decoder.
    """
    return TransformerConfig if family(decoder) == "transformer" else RecurrentConfig


def config_of(values: Mapping[str, Any]) -> TranslatorConfig:
    """The settings of a translator from a dict, for instance from what ``to_dict`` wrote.

    Args:
        values: any of the settings that the decoder has, under their names. Without ``decoder`` it
            is luong; what is missing has its default.

    Raises:
        ValueError: a setting that this decoder does not have, or a value that is not possible; the
            message names it.
    """
    decoder = values.get("decoder", SharedConfig.decoder)
    config = config_class(decoder)
    known = {one.name for one in fields(config) if decoder in one.metadata["decoders"]}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{', '.join(unknown)}: not a setting of the {decoder} decoder")
    return config(**values)


@dataclass(frozen=True)
class TrainingConfig:
    """How a translator is trained.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    epochs: int = setting(10, "passes over the data at most", limits=COUNT)
    batch_tokens: int = setting(
        1600, "the largest batch, sentences times longest sentence", limits=COUNT
    )
    learning_rate: float = setting(2e-3, "of Adam, at its peak", limits=Limits(0, 10, above=True))
    warmup: float = setting(
        0.05,
        "the share of all steps in which the rate rises from 0 to its peak; afterwards it falls to "
        "0 along a half cosine",
        limits=SHARE,
    )
    bpe_dropout: float = setting(
        0.0,
        "of a model with subwords: the probability that a merge of two pieces is left out, anew in "
        "every epoch (Provilkov et al. 2020 advise 0.1)",
        limits=SHARE,
    )
    label_smoothing: float = setting(0.1, "ε of the objective", limits=SHARE)
    max_grad_norm: float = setting(
        1.0,
        "the gradient is scaled down to this norm when it is longer",
        limits=Limits(0, 1e12, above=True),
    )
    patience: int | None = setting(
        None,
        "stop after so many epochs without a better validation loss; if not given, never",
        limits=COUNT,
    )
    precision: str = setting(
        "fp32",
        "the last two are mixed precision: bf16 pays off on a GPU and on CPUs with the matching "
        "instructions, fp16 runs on a GPU only",
        choices=PRECISIONS,
    )
    seed: int = setting(0, "of initial weights, order and dropout", limits=SEED)
    save_every: int = setting(
        500, "with a run folder, save the state after so many steps", limits=COUNT
    )

    def __post_init__(self) -> None:
        """Refuse impossible values, by name."""
        check(self)
