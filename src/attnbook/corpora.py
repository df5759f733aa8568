"""Parallel sentences: what a pair is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SentencePair"]


@dataclass(frozen=True)
class SentencePair:
    """A sentence, its translation and, where known, which word translates which.

    Tokens only: ``<sos>`` and ``<eos>`` belong to batches, not to sentences.

    Attributes:
        source: the words of the sentence.
        target: the words of its translation.
        links: pairs ``(source position, target position)``, counted from 0, of words that
            translate each other; None where nobody knows.

    Raises:
        ValueError: a side is empty, a token is not a non-empty string, or a link points outside
            the sentence; the message names the field.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    links: frozenset[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        """Refuse a pair that cannot be trained on, by name."""
        for name in ("source", "target"):
            tokens = getattr(self, name)
            if isinstance(tokens, str):
                raise ValueError(f"{name}: expected a tuple of tokens, got the string {tokens!r}")
            object.__setattr__(self, name, tuple(tokens))
            if not tokens:
                raise ValueError(f"{name}: an empty sentence; drop the pair")
            for position, token in enumerate(tokens):
                if not isinstance(token, str) or not token:
                    raise ValueError(
                        f"{name}: token {position} is {token!r}; expected a non-empty string"
                    )
        if self.links is None:
            return
        object.__setattr__(self, "links", frozenset((int(i), int(j)) for i, j in self.links))
        for i, j in self.links:
            if not (0 <= i < len(self.source) and 0 <= j < len(self.target)):
                raise ValueError(
                    f"links: the link ({i}, {j}) lies outside {len(self.source)} source and "
                    f"{len(self.target)} target tokens"
                )
