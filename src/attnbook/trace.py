"""What one decoding did, step by step: the record that every figure, widget and page reads.

A trace holds one sentence, without batch and without padding, as NumPy arrays. It is made by
:func:`attnbook.decoding.decode` and by nothing else; plots, widgets, pages and tests consume it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnbook.subwords import join

__all__ = ["SCHEMA", "AttentionMaps", "Candidate", "DecodingTrace"]

SCHEMA = 1
KINDS = ("source", "written", "encoder")
# How much a source word matters to a step, measured in other ways than by its weight.
MEASURES = ("gradient", "gradient times state", "word left out")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One word that the model considered at a step, with its probability."""

    token: str
    probability: float


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """What the heads of all layers saw in one kind of attention.

    Attributes:
        kind: ``"source"`` (the decoder looks at the source), ``"written"`` (it looks back at what
            it has written) or ``"encoder"`` (the source looks at itself); or one of
            :data:`MEASURES`, with shares in place of weights, as one head of one layer.
        rows: the words that ask.
        columns: the words that are asked.
        weights: ``(layers, heads, rows, columns)``; each row sums to 1, or to 0.

    Raises:
        ValueError: a field does not fit the others; the message names it.
    """

    kind: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: Array

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        if self.kind not in KINDS + MEASURES:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS + MEASURES)}; got {self.kind!r}"
            )
        shape = (len(self.rows), len(self.columns))
        weights = self.weights
        if not isinstance(weights, np.ndarray) or weights.ndim != 4 or weights.shape[2:] != shape:
            raise ValueError(
                f"maps: {self.kind} weights must be (layers, heads, {shape[0]}, {shape[1]}), got "
                f"{getattr(weights, 'shape', type(weights).__name__)}"
            )
        if not weights.size:
            raise ValueError(f"maps: {self.kind} has no layer, no head or no word")
        _check_sums(f"maps: {self.kind}", weights)

    def __eq__(self, other: object) -> bool:
        """Equal in every field, weights compared one by one."""
        if not isinstance(other, AttentionMaps):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def to_dict(self, decimals: int | None = None) -> dict[str, Any]:
        """As plain lists, ready for JSON."""
        weights = self.weights if decimals is None else _rounded(self.weights, decimals)
        return {
            "kind": self.kind,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "weights": weights.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AttentionMaps:
        """Read back what :meth:`to_dict` wrote."""
        return cls(
            data["kind"], tuple(data["rows"]), tuple(data["columns"]),
            _array("maps", data["weights"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class DecodingTrace:
    """One sentence, decoded step by step.

    ``source`` and ``target`` below are the numbers of source and target tokens, end markers
    included. Row ``t`` belongs to the step that produced ``target_tokens[t]``.

    Attributes:
        model: which model decoded, for instance ``"multi30k-dot"``.
        source_tokens: the words the encoder read, in the order in which it read them.
        target_tokens: the words the decoder wrote.
        log_probs: ``(target,)``, natural logarithm of each written word's probability (nats).
        candidates: for each step the most probable words, best first.
        encoder_states: ``(source, key_dim)``, what the attention may look at.
        decoder_states: ``(target, hidden)``, the decoder's state ``s_t`` at each step.
        queries: ``(target, query_dim)``, what the attention asked with, where this is not the
            state of the same step: Bahdanau's decoder asks with ``s_{t-1}``. None where
            ``decoder_states`` are the queries (Luong's), and without attention.
        scores: ``(target, source)``, before the softmax; ``-inf`` where a word was masked.
            None for a decoder without attention, and for one with several heads.
        weights: ``(target, source)``, after the softmax; each row sums to 1, or to 0 where
            every word was masked. Of several heads the mean, in the top layer. None for a decoder
            without attention.
        contexts: ``(target, value_dim)``, the weighted sums of encoder states. None for a
            decoder without attention.
        gold_links: pairs ``(source position, target position)`` of words that translate each
            other, where known; otherwise None.
        maps: what each head of each layer saw, of every kind of attention; empty where there is
            one head.

    Raises:
        ValueError: a field does not fit the others; the message names it.
    """

    model: str
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    log_probs: Array
    candidates: tuple[tuple[Candidate, ...], ...]
    encoder_states: Array
    decoder_states: Array
    scores: Array | None = None
    weights: Array | None = None
    contexts: Array | None = None
    gold_links: frozenset[tuple[int, int]] | None = None
    queries: Array | None = None
    maps: tuple[AttentionMaps, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other, by name."""
        if self.schema != SCHEMA:
            raise ValueError(
                f"schema: this version of attnbook reads schema {SCHEMA}, got {self.schema!r}; "
                "make the trace again with attnbook.decoding.decode"
            )
        source, target = len(self.source_tokens), len(self.target_tokens)
        if source == 0:
            raise ValueError("source_tokens: a trace needs at least one source token")
        if target == 0:
            raise ValueError("target_tokens: a trace needs at least one target token")
        needed = ["weights", "contexts"] if self.maps else ["scores", "weights", "contexts"]
        attends = [name for name in needed if self._has(name)]
        if attends and len(attends) != len(needed):
            missing = sorted(set(needed) - set(attends))
            raise ValueError(
                f"{', '.join(missing)}: missing, although {', '.join(attends)} is given"
            )

        self._check("log_probs", (target,))
        self._check("encoder_states", (source, None))
        self._check("decoder_states", (target, None))
        if attends:
            if self.scores is not None:
                self._check("scores", (target, source))
            self._check("weights", (target, source))
            self._check("contexts", (target, None))
            assert self.weights is not None
            _check_sums("weights", self.weights)
        for one in self.maps:
            asked = source if one.kind == "encoder" else target
            known = target if one.kind == "written" else source
            if (len(one.rows), len(one.columns)) != (asked, known):
                raise ValueError(
                    f"maps: {one.kind} has {len(one.rows)} rows and {len(one.columns)} columns, "
                    f"and there are {source} source and {target} target tokens"
                )
        if self.queries is not None:
            if not attends:
                raise ValueError("queries: a decoder without attention asks nothing")
            self._check("queries", (target, None))
        if np.any(self.log_probs > 1e-6):
            raise ValueError("log_probs: a log-probability cannot be above 0")
        self._check_candidates(target)
        if self.gold_links is not None:
            for i, j in self.gold_links:
                if not (0 <= i < source and 0 <= j < target):
                    raise ValueError(
                        f"gold_links: the link ({i}, {j}) lies outside {source} source and "
                        f"{target} target tokens"
                    )

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _check(self, name: str, shape: tuple[int | None, ...]) -> None:
        array = getattr(self, name)
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name}: expected a NumPy array, got {type(array).__name__}")
        fits = array.ndim == len(shape) and all(
            want in (None, got) for want, got in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = tuple("any" if want is None else want for want in shape)
            raise ValueError(f"{name}: expected shape {wanted}, got {array.shape}")
        if name != "scores" and not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: holds NaN or an infinity")
        if name == "scores" and np.any(np.isnan(array) | (array == np.inf)):
            raise ValueError("scores: holds NaN or +inf; only -inf, for a masked word, is allowed")

    def _check_candidates(self, target: int) -> None:
        if len(self.candidates) != target:
            raise ValueError(
                f"candidates: expected one list for each of {target} steps, "
                f"got {len(self.candidates)}"
            )
        for step, row in enumerate(self.candidates):
            probabilities = [candidate.probability for candidate in row]
            if any(not 0.0 <= p <= 1.0 + 1e-6 for p in probabilities):
                raise ValueError(f"candidates: step {step} has a probability outside 0 to 1")
            if probabilities != sorted(probabilities, reverse=True):
                raise ValueError(f"candidates: step {step} is not sorted, best first")

    @property
    def attends(self) -> bool:
        """Whether the decoder attended, so that scores, weights and contexts exist."""
        return self.weights is not None

    @property
    def text(self) -> str:
        """The written words, without the end marker, joined by spaces; pieces make up words."""
        return " ".join(join(token for token in self.target_tokens if token != "<eos>"))

    def to_dict(self, decimals: int | None = None) -> dict[str, Any]:
        """The trace as plain lists, ready for JSON; ``-inf`` becomes None.

        Args:
            decimals: round every number to so many decimals, to keep a page small; weights are
                rounded so that they still sum to 1. None keeps every digit, so that reading back
                gives an equal trace.
        """

        def number(value: float) -> float | None:
            if math.isinf(value):
                return None
            return float(value) if decimals is None else round(float(value), decimals)

        def rows(array: Array | None) -> Any:
            if array is None:
                return None
            if array.ndim == 1:
                return [number(value) for value in array]
            return [[number(value) for value in row] for row in array]

        return {
            "schema": self.schema,
            "model": self.model,
            "source_tokens": list(self.source_tokens),
            "target_tokens": list(self.target_tokens),
            "log_probs": rows(self.log_probs),
            "candidates": [
                [[candidate.token, number(candidate.probability)] for candidate in row]
                for row in self.candidates
            ],
            "encoder_states": rows(self.encoder_states),
            "decoder_states": rows(self.decoder_states),
            "scores": rows(self.scores),
            "weights": rows(
                self.weights
                if self.weights is None or decimals is None
                else _rounded(self.weights, decimals)
            ),
            "contexts": rows(self.contexts),
            **({} if self.queries is None else {"queries": rows(self.queries)}),
            **({"maps": [one.to_dict(decimals) for one in self.maps]} if self.maps else {}),
            "gold_links": None if self.gold_links is None else sorted(map(list, self.gold_links)),
        }

    def to_json(self, decimals: int | None = None) -> str:
        """The trace as JSON that any reader accepts (no ``NaN`` and no ``Infinity``)."""
        return json.dumps(self.to_dict(decimals), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DecodingTrace:
        """Read back what :meth:`to_dict` wrote; unknown or missing fields are refused by name."""
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - names):
            raise ValueError(f"{', '.join(unknown)}: not a field of a trace")
        if missing := sorted(names - {"queries", "maps"} - set(data)):
            raise ValueError(f"{', '.join(missing)}: missing from the trace")

        def array(name: str) -> Array | None:
            if data.get(name) is None:
                return None
            return _array(name, data[name])

        return cls(
            schema=data["schema"],
            model=data["model"],
            source_tokens=tuple(data["source_tokens"]),
            target_tokens=tuple(data["target_tokens"]),
            log_probs=_array("log_probs", data["log_probs"]),
            candidates=tuple(
                tuple(Candidate(token, probability) for token, probability in row)
                for row in data["candidates"]
            ),
            encoder_states=_array("encoder_states", data["encoder_states"]),
            decoder_states=_array("decoder_states", data["decoder_states"]),
            scores=array("scores"),
            weights=array("weights"),
            contexts=array("contexts"),
            queries=array("queries"),
            maps=tuple(AttentionMaps.from_dict(one) for one in data.get("maps", ())),
            gold_links=_links(data["gold_links"]),
        )

    @classmethod
    def from_json(cls, text: str) -> DecodingTrace:
        """Read back what :meth:`to_json` wrote."""
        return cls.from_dict(json.loads(text))

    def save(self, path: str | Path, decimals: int | None = None) -> None:
        """Write the trace to a JSON file."""
        Path(path).write_text(self.to_json(decimals) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> DecodingTrace:
        """Read a trace from a JSON file."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def __eq__(self, other: object) -> bool:
        """Equal in every field, arrays compared element by element."""
        if not isinstance(other, DecodingTrace):
            return NotImplemented
        return self.to_dict() == other.to_dict()


def _check_sums(name: str, weights: Array) -> None:
    """Refuse rows that are no distribution: a sum of 1, or of 0 where everything is masked."""
    sums = weights.sum(axis=-1)
    right = np.isclose(sums, 1.0, atol=1e-3) | np.isclose(sums, 0.0, atol=1e-6)
    if np.any(weights < 0) or not np.all(right):
        raise ValueError(
            f"{name}: each row must be non-negative and sum to 1 (or to 0 where every word is "
            f"masked); got row sums {np.round(sums, 3).tolist()}"
        )


def _rounded(weights: Array, decimals: int) -> Array:
    """Distributions with so many decimals that still sum to 1.

    Each number is rounded down, and what is missing goes to those that lost most, one unit each
    (the method of the largest remainder).
    """
    unit = 10.0**decimals
    scaled = weights * unit
    whole = np.floor(scaled + 1e-9)
    missing = np.round(scaled.sum(axis=-1) - whole.sum(axis=-1)).astype(int)
    rank = np.argsort(np.argsort(-(scaled - whole), axis=-1, kind="stable"), axis=-1)
    rounded: Array = (whole + (rank < missing[..., None])) / unit
    return rounded


def _array(name: str, values: Sequence[Any]) -> Array:
    """Lists of numbers to an array; None stands for -inf."""

    def value(item: Any) -> Any:
        if isinstance(item, list):
            return [value(inner) for inner in item]
        return -math.inf if item is None else item

    try:
        return np.array(value(list(values)), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: not a table of numbers with rows of equal length") from error


def _links(links: Iterable[Sequence[int]] | None) -> frozenset[tuple[int, int]] | None:
    return None if links is None else frozenset((int(i), int(j)) for i, j in links)
