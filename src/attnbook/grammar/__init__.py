"""A German→English corpus that the package writes itself, with exact gold alignments.

The grammar is *synchronous*: every rule has a German side and an English side, and both sides
are expanded together, so each sentence is born with its translation and with the links between
its words. Links follow from the rules; none is a guess. The corpus holds what makes translation
from German more than replacing words:

* the verb's position: second in a main clause (``heute trinkt der mann ein bier``), last in a
  subordinate one (``weil der mann ein bier trinkt``), so that English must fetch its verb from
  far away (chapters 3 to 5: this is what the bottleneck loses and what attention finds);
* words in pieces: separable verbs (``ich rufe dich an``), the participle and the infinitive at
  the end (``er hat ein bier getrunken``, ``er möchte ein bier trinken``), relative clauses that
  have moved behind the verb (``er hat das bier getrunken , das ich gekauft habe``);
* fertility: one word becomes several (``arztpraxis`` → ``doctor's office``, ``trinkt`` → ``is
  drinking``), several become one (``hat … getrunken`` → ``drank``, ``nach hause`` → ``home``),
  some come from nowhere or go nowhere (``does`` in negation, ``of`` in ``a glass of wine``, the
  commas before German clauses);
* agreement: case, gender and number in articles and adjectives, person in verbs; ``sie trinkt``
  is *she*, ``sie trinken`` is *they*, so the pronoun cannot be translated without the verb;
* context: ``er trinkt ein bier`` is *is drinking*, ``er trinkt oft ein bier`` *often drinks*;
  ``darf`` is *may*, ``darf nicht`` *must not*; ``morgen`` is *tomorrow*, ``jeden morgen`` *every
  morning*.

One German sentence has exactly one English translation, so exact match is a fair measure. The
length is drawn first, uniformly, and then a sentence of exactly that length, so every bucket of
a plot over length (chapter 4) is filled alike.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from attnbook.corpora import SentencePair
from attnbook.grammar.derive import LONGEST, Chart, compiled, write
from attnbook.grammar.rules import all_rules, cells

__all__ = ["LONGEST", "SHORTEST", "GrammarCorpus", "corpus", "generate", "literature", "translate"]

SHORTEST = 3


def _sentences(rng: random.Random, shortest: int, longest: int) -> Iterator[SentencePair]:
    """Endless sentences; each length is as frequent as any other."""
    grammar = compiled()
    for name, value in (("shortest", shortest), ("longest", longest)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name}: expected a whole number of words, got {value!r}")
    if longest > grammar.longest:
        grammar.reach(longest)
    least = int(np.flatnonzero(grammar.inside[grammar.start])[0])
    if shortest < least:
        raise ValueError(
            f"shortest: the grammar's shortest sentence has {least} words, got {shortest}"
        )
    if longest < shortest:
        raise ValueError(f"longest: {longest} is less than shortest, {shortest}")
    while True:
        yield grammar.draw(rng, rng.randint(shortest, longest))


def generate(
    count: int, seed: int = 0, shortest: int = SHORTEST, longest: int = LONGEST
) -> list[SentencePair]:
    """Draw sentence pairs from the grammar, with gold links.

    The German length in words, punctuation included, is uniform between ``shortest`` and
    ``longest``; the English side is up to a third shorter or longer. A short sentence may come
    more than once, and may come under another seed too: for data that are split into training
    and test, use :func:`corpus`.

    Args:
        count: how many pairs.
        seed: the same seed gives the same pairs, on every machine.
        shortest: least number of German words.
        longest: greatest number of German words.

    Raises:
        ValueError: a negative count, or lengths that the grammar cannot serve.

    >>> pair = generate(1, seed=1, shortest=6, longest=6)[0]
    >>> len(pair.source)
    6
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"count: expected a number of pairs, 0 or more, got {count!r}")
    return list(itertools.islice(_sentences(random.Random(seed), shortest, longest), count))


def translate(words: Sequence[str]) -> SentencePair | None:
    """The grammar's own translation of a German sentence, with its links.

    For a sentence of one's own: what a model trained on this corpus should say, and where it
    should look.

    Args:
        words: a German sentence, as :func:`attnbook.vocabulary.tokenize` cuts it.

    Returns:
        None for a sentence that the grammar does not contain.

    Raises:
        ValueError: a string in place of words.

    >>> " ".join(translate("weil er müde ist , singt er nicht".split()).target)
    'because he is tired , he is not singing'
    """
    if isinstance(words, str):
        raise ValueError(f"words: expected a list of words, got {words!r}; tokenize it first")
    sentence = tuple(words)
    tree = Chart(all_rules(), sentence).found.get("START", {}).get(((0, len(sentence)),))
    return None if tree is None else write(tree)


LITERATURE = """
ich möchte ein bier | i'd like a beer | 0-0 1-0 1-1 2-2 3-3
ich möchte ein bier trinken | i'd like to drink a beer | 0-0 1-0 1-1 4-2 4-3 2-4 3-5
ich bin student | i am a student | 0-0 1-1 2-3
heute trinkt der mann ein bier | today the man is drinking a beer | 0-0 2-1 3-2 1-3 1-4 4-5 5-6
ich rufe dich an | i am calling you | 0-0 1-1 1-2 3-2 2-3
der mann hat ein bier getrunken | the man drank a beer | 0-0 1-1 2-2 5-2 3-3 4-4
"""


def literature() -> list[SentencePair]:
    """The sentences that the literature explains attention with, aligned by hand.

    "Ich möchte ein Bier" is the one most blog notes use; "je suis étudiant", which is French, is
    here "ich bin student". All of them are sentences of the grammar too, with the same links.
    """
    pairs = []
    for german, english, links in cells(LITERATURE):
        linked = (link.split("-") for link in links.split())
        pairs.append(
            SentencePair(
                tuple(german.split()),
                tuple(english.split()),
                frozenset((int(i), int(j)) for i, j in linked),
            )
        )
    return pairs


@dataclass(frozen=True)
class GrammarCorpus:
    """Three lists of pairs of which no German sentence is in two."""

    train: list[SentencePair]
    val: list[SentencePair]
    test: list[SentencePair]


def corpus(
    train: int = 20_000,
    val: int = 500,
    test: int = 1_000,
    seed: int = 0,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> GrammarCorpus:
    """Training, validation and test pairs, disjoint by German sentence, each sentence once.

    The sentences of :func:`literature` open the training pairs (whatever ``shortest`` and
    ``longest`` say) and are in no other list. Within a list every sentence is different, so the
    shortest lengths, of which there are few, are a little rarer than the others.

    Args:
        train: number of training pairs.
        val: number of validation pairs.
        test: number of test pairs.
        seed: the same seed gives the same corpus.
        shortest: least number of German words.
        longest: greatest number of German words.

    Raises:
        ValueError: a negative number of pairs, lengths that the grammar cannot serve, or more
            pairs than it has sentences of these lengths.
    """
    for name, value in (("train", train), ("val", val), ("test", test)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name}: expected a number of pairs, 0 or more, got {value!r}")
    opening = literature()
    seen = {pair.source for pair in opening}
    opening = opening[:train]
    wanted = train - len(opening) + val + test
    fresh: list[SentencePair] = []
    in_vain = 0
    sentences = _sentences(random.Random(seed), shortest, longest)
    while len(fresh) < wanted:
        pair = next(sentences)
        if pair.source not in seen:
            seen.add(pair.source)
            fresh.append(pair)
            in_vain = 0
            continue
        in_vain += 1
        if in_vain == 500:
            raise ValueError(
                f"train, val, test: the grammar has hardly more than {len(fresh)} sentences of "
                f"{shortest} to {longest} words; ask for fewer pairs or for longer sentences"
            )
    # Test and validation first, so that they stay the same when more training pairs are wanted.
    return GrammarCorpus(
        train=opening + fresh[test + val :], val=fresh[test : test + val], test=fresh[:test]
    )
