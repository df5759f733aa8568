"""Words cut into pieces, so that a small vocabulary covers every word.

Byte-pair encoding (Sennrich et al. 2016) starts from single characters and merges, again and
again, the two neighbours that stand side by side most often in the training sentences. Frequent
words end as one piece, rare ones as several, and a word never seen before is spelled with pieces
that were. A piece that its word goes on after is marked: ``lower`` may be ``low@@ er``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer

from attnbook.vocabulary import SPECIALS, UNK

__all__ = ["MARK", "Subwords", "join", "word_numbers"]

# Behind a piece whose word goes on, as in subword-nmt, the program of Sennrich et al.
MARK = "@@"

# The library marks the last piece of a word, and no token can hold this character.
_END = "\n"


def join(pieces: Iterable[str]) -> list[str]:
    """The words that marked pieces stand for.

    >>> join(["low@@", "er", "beer"])
    ['lower', 'beer']
    """
    words, begun = [], ""
    for piece in pieces:
        begun += piece.removesuffix(MARK)
        if not piece.endswith(MARK):
            words.append(begun)
            begun = ""
    return [*words, begun] if begun else words  # a translation may be cut short within a word


def word_numbers(pieces: Iterable[str]) -> list[int]:
    """For each piece the number of its word, counted from 0.

    >>> word_numbers(["low@@", "er", "beer"])
    [0, 0, 1]
    """
    numbers, word = [], 0
    for piece in pieces:
        numbers.append(word)
        word += not piece.endswith(MARK)
    return numbers


class Subwords:
    """Byte-pair encoding (Sennrich et al. 2016): words into pieces and back.

    Args:
        characters: the pieces that merging starts from: the characters of the training words,
            marked where their word goes on.
        merges: pairs of pieces in the order in which they were learned; the earlier one is made
            first.

    Raises:
        ValueError: a merge of pieces that do not exist, or a piece that exists already.
    """

    def __init__(self, characters: Iterable[str], merges: Iterable[Sequence[str]]) -> None:
        self.characters = tuple(characters)
        self.merges: tuple[tuple[str, str], ...] = tuple((left, right) for left, right in merges)
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._known: dict[str, list[str]] = {}
        self.pieces = (*self.characters, *dict.fromkeys(map(_merged, self.merges)))
        known = set(self.pieces)
        for left, right in self.merges:
            if not {left, right} <= known or not left.endswith(MARK):
                raise ValueError(f"{left!r} and {right!r} cannot be merged into a piece")

    @classmethod
    def learn(cls, sentences: Iterable[Sequence[str]], size: int) -> Subwords:
        """Learn merges from tokenized sentences, until there are ``size`` pieces.

        Args:
            sentences: each a sequence of words.
            size: of the vocabulary of pieces, single characters included. Small texts may have
                nothing left to merge before it is reached.

        Raises:
            ValueError: no word, a size that has no room for the characters alone, or words that
                hold the mark ``@@``, as in files that are cut into pieces already.
        """
        texts = [" ".join(sentence) for sentence in sentences]
        words = {word for text in texts for word in text.split(" ") if word}
        if not words:
            raise ValueError("there is no word to learn pieces from")
        if marked := sorted(word for word in words if MARK in word):
            raise ValueError(
                f"the word {marked[0]!r} holds {MARK}, the mark of a piece; is the text cut into "
                "subwords already?"
            )
        characters = sorted({character for word in words for character in _characters(word)})
        if size <= len(characters):
            raise ValueError(
                f"{size} pieces are too few: the characters alone are {len(characters)}, counted "
                "within and at the end of words"
            )
        # The library also counts a character within a word that only ever ends one.
        never_inside = len(
            {word[-1] for word in words} - {one for word in words for one in word[:-1]}
        )
        learner = Tokenizer(BPE())
        learner.pre_tokenizer = Split(" ", "removed")
        trainer = BpeTrainer(
            vocab_size=size + never_inside,
            end_of_word_suffix=_END,
            show_progress=False,
            # Named in advance: the library numbers what it meets in a random order, and of two
            # pairs that are equally frequent it merges the one with the smaller numbers.
            special_tokens=[_to_library(character) for character in characters],
        )
        learner.train_from_iterator(texts, trainer)
        merges = json.loads(learner.to_str())["model"]["merges"]
        return cls(characters, [(_from_library(a), _from_library(b)) for a, b in merges])

    def encode(
        self, words: Iterable[str], *, dropout: float = 0.0, chance: random.Random | None = None
    ) -> list[str]:
        """The pieces of words.

        A character that was not there in training stays as it is, a piece that no vocabulary
        knows. A word that holds the mark ``@@`` itself becomes ``<unk>``.

        Args:
            words: of one sentence.
            dropout: the probability that a merge is left out where it could be made, anew at every
                step (BPE-dropout, Provilkov et al. 2020). In training a model then sees a word in
                other pieces each time.
            chance: where the dropped merges come from; needed with dropout.
        """
        pieces = []
        for word in words:
            if dropout:
                pieces += self._cut(word, dropout, chance or random.Random())
            else:
                if word not in self._known:
                    self._known[word] = self._cut(word)
                pieces += self._known[word]
        return pieces

    def decode(self, pieces: Iterable[str]) -> list[str]:
        """The words behind pieces; see :func:`join`."""
        return join(pieces)

    def _cut(
        self, word: str, dropout: float = 0.0, chance: random.Random | None = None
    ) -> list[str]:
        """Merge the pair that was learned first, as long as there is one."""
        if MARK in word:
            return [SPECIALS[UNK]]
        pieces = _characters(word)
        while True:
            found = [
                (self._rank[pair], place)
                for place, pair in enumerate(pairwise(pieces))
                if pair in self._rank and not (chance and chance.random() < dropout)
            ]
            if not found:
                return pieces
            _, place = min(found)
            pieces[place : place + 2] = [_merged((pieces[place], pieces[place + 1]))]

    def to_dict(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return {"characters": list(self.characters), "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Subwords:
        """Read back what :meth:`to_dict` wrote."""
        return cls(values["characters"], values["merges"])

    def __len__(self) -> int:
        """How many pieces there are."""
        return len(self.pieces)

    def __eq__(self, other: object) -> bool:
        """Equal when the same pieces are merged in the same order."""
        return isinstance(other, Subwords) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash((self.characters, self.merges))

    def __repr__(self) -> str:
        """Name the size."""
        return f"Subwords({len(self)} pieces, {len(self.merges)} merges)"


def _characters(word: str) -> list[str]:
    """A word's characters, all but the last marked."""
    return [*(character + MARK for character in word[:-1]), *word[-1:]]


def _merged(pair: tuple[str, str]) -> str:
    left, right = pair
    return left.removesuffix(MARK) + right


def _to_library(piece: str) -> str:
    return piece.removesuffix(MARK) if piece.endswith(MARK) else piece + _END


def _from_library(piece: str) -> str:
    return piece.removesuffix(_END) if piece.endswith(_END) else piece + MARK
