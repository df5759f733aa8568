"""The settings of a translator and of its training: what they are called, mean and may be.

Nothing here imports torch, so that ``attnbook train --help`` can list every setting at once. A
field's metadata holds what a flag needs: its meaning, the words or numbers that it takes, and the
decoders that have it. A new field therefore is a flag, with its help and its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = [
    "CELL_NAMES",
    "DECODERS",
    "FAMILIES",
    "NORMS",
    "POSITIONS",
    "PRECISIONS",
    "SCORES",
    "Config",
    "Limits",
    "Training",
    "family",
    "settings_of",
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
    """The family of a decoder: ``"recurrent"`` or ``"transformer"``."""
    return next(name for name, decoders in FAMILIES.items() if decoder in decoders)


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide the shape of this translator, without those of other decoders."""
    return {
        known.name: getattr(config, known.name)
        for known in fields(config)
        if config.decoder in known.metadata["decoders"]
    }


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


@dataclass(frozen=True)
class Config:
    """Everything that decides the shape of a translator.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    decoder: str = setting(
        "luong", "transformer comes with an encoder of its own", choices=DECODERS
    )
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
    cell: str = setting(
        "lstm", "in encoder and decoder", choices=CELL_NAMES, decoders=FAMILIES["recurrent"]
    )
    embedding_dim: int = setting(
        128, "width of a word's vector; in a Transformer that of a state", limits=WIDTH
    )
    hidden_dim: int = setting(256, "width of a state", limits=WIDTH)
    layers: int = setting(1, "how many are stacked, in encoder and decoder", limits=Limits(1, 1000))
    bidirectional: bool = setting(
        False, "the encoder reads in both directions", decoders=FAMILIES["recurrent"]
    )
    dropout: float = setting(0.2, "probability of dropping a number", limits=SHARE)
    tied: bool = setting(True, "the target embeddings are also the output matrix")
    reverse_source: bool = setting(
        False, "read the source from right to left (Sutskever et al. 2014, section 3.3)"
    )
    longest: int | None = setting(
        None, "a source is cut to so many words; if not given, nothing is cut", limits=COUNT
    )
    embedding_std: float | None = setting(
        None,
        "word vectors start as normal random numbers of this standard deviation; if not given, "
        "they start as all other weights. A recurrent model of less than 100 units learns to "
        "attend much sooner from 1",
        limits=Limits(0, 100, above=True),
    )
    heads: int = setting(
        4,
        "of every attention of a Transformer",
        limits=Limits(1, 4096),
        decoders=FAMILIES["transformer"],
    )
    feedforward_dim: int | None = setting(
        None,
        "width of a Transformer's hidden layers; if not given, four times hidden_dim",
        limits=Limits(1, 4 * 65_536),
        decoders=FAMILIES["transformer"],
    )
    norm: str = setting(
        "pre",
        "a Transformer normalises before (pre) or after (post) each sum",
        choices=NORMS,
        decoders=FAMILIES["transformer"],
    )
    positions: str = setting(
        "sinusoidal",
        "how a Transformer's words know their places",
        choices=POSITIONS,
        decoders=FAMILIES["transformer"],
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be built, by name."""
        check(self)
        if self.input_feeding and self.decoder != "luong":
            raise ValueError(
                f"input_feeding belongs to the luong decoder; set it to False for {self.decoder}"
            )
        if self.decoder == "transformer":
            self._check_transformer()

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
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"{', '.join(unknown)}: not a setting of a translator")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Training:
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
    clip: float = setting(
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
    keep_every: int = setting(
        500, "with a run folder, save the state after so many steps", limits=COUNT
    )

    def __post_init__(self) -> None:
        """Refuse impossible values, by name."""
        check(self)
