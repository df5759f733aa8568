"""From text to tokens, from tokens to numbers, and back."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import regex

__all__ = ["EOS", "PAD", "SOS", "SPECIALS", "UNK", "Vocabulary", "tokenize", "words_of"]

PAD, UNK, SOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<sos>", "<eos>")

# A word may hold inner hyphens and apostrophes ("i'd", "t-shirt"); any other mark stands alone. A
# combining mark belongs to the letter before it, and so do the joiners of Persian and Hindi. Other
# format characters, such as a soft hyphen, are not seen and are no words. (The last four characters
# are white space to Python and not to Unicode.)
_LETTERS = r"[\w\p{M}\u200c\u200d]"
_TOKEN = regex.compile(rf"\w{_LETTERS}*(?:[-'’]\w{_LETTERS}*)*|[^\w\s\x1c-\x1f]\p{{M}}*")
_UNSEEN = regex.compile(r"[\p{Cf}--[\u200c\u200d]]", regex.VERSION1)


def tokenize(text: str) -> list[str]:
    """Lower-case ``text`` and cut it into words and punctuation marks.

    Unicode has two ways to write an accented letter, whole or as a letter and a mark. Both are
    read as the whole one (normalisation form C), so that they are the same word.

    >>> tokenize("I'd like a beer.")
    ["i'd", 'like', 'a', 'beer', '.']
    """
    seen = _UNSEEN.sub("", unicodedata.normalize("NFC", text.lower()))
    return [match.group() for match in _TOKEN.finditer(seen)]


def words_of(sentence: Sequence[str]) -> Sequence[str]:
    """The sentence, if it is a sequence of words.

    Raises:
        ValueError: a string, whose letters would be taken for words.
    """
    if isinstance(sentence, str):
        raise ValueError(
            f"expected a sequence of words, got the string {sentence[:40]!r}; "
            "cut it with attnbook.vocabulary.tokenize first"
        )
    return sentence


class Vocabulary:
    """The words a model knows, each with a number.

    The first four numbers are the same in every vocabulary: ``<pad>`` 0, ``<unk>`` 1 (any word
    that is not in the vocabulary), ``<sos>`` 2 (start of sentence), ``<eos>`` 3 (end of sentence).

    Args:
        words: the words in the order of their numbers, without the four special ones.

    Raises:
        ValueError: a word stands twice, is empty, or has the name of a special one.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words: tuple[str, ...] = (*SPECIALS, *words)
        self._ids = {word: number for number, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            twice = [word for word, count in Counter(self.words).items() if count > 1]
            raise ValueError(f"a word may stand in a vocabulary only once; got twice: {twice[:5]}")
        if "" in self._ids:
            raise ValueError("a word of a vocabulary may not be empty")

    @classmethod
    def from_sentences(
        cls,
        sentences: Iterable[Sequence[str]],
        *,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> Vocabulary:
        """Collect the words of tokenized ``sentences``, most frequent first.

        Args:
            sentences: each a sequence of words, for instance from :func:`tokenize`.
            min_count: leave out a word seen fewer times; it will be read as ``<unk>``.
            max_size: keep at most so many words, the four special ones not counted.
        """
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, got {min_count}")
        if max_size is not None and max_size < 0:
            raise ValueError(f"max_size must be 0 or more, or None; got {max_size}")
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(words_of(sentence))
        for special in SPECIALS:
            counts.pop(special, None)
        # Words of equal frequency stand in alphabetical order, so that a vocabulary does not
        # depend on the order of its sentences.
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, count in ranked if count >= min_count][:max_size])

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """The numbers of ``tokens``; an unknown word becomes ``<unk>``.

        Raises:
            ValueError: a string, whose letters would be taken for words.
        """
        return [self._ids.get(token, UNK) for token in words_of(tokens)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words behind ``ids``.

        Raises:
            ValueError: a number is outside the vocabulary.
        """
        tokens = []
        for number in ids:
            if not 0 <= number < len(self.words):
                raise ValueError(
                    f"token id {number} is outside the vocabulary of {len(self.words)} words "
                    "(ids start at 0)"
                )
            tokens.append(self.words[number])
        return tokens

    def __len__(self) -> int:
        """How many words there are, the four special ones included."""
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        """Whether ``word`` has a number of its own."""
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        """The words in the order of their numbers."""
        return iter(self.words)

    def __eq__(self, other: object) -> bool:
        """Equal when the same words have the same numbers."""
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.words)

    def __repr__(self) -> str:
        """Name the size and the first few words."""
        first = ", ".join(self.words[len(SPECIALS) : len(SPECIALS) + 3])
        return f"Vocabulary({len(self)} words: {first}, …)"
