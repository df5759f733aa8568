"""From rules to sentences, and from a sentence back to its derivation."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from attnbook.corpora import SentencePair
from attnbook.grammar.rules import WORD, Pieces, Rule, Tree, all_rules

__all__ = ["LONGEST", "Chart", "Grammar", "compiled", "write"]

LONGEST = 60


def _fruitful(rules: Sequence[Rule]) -> list[Rule]:
    """The rules that lead to words; one with a phrase that has no rule of its own does not."""
    fewer = list(rules)
    alive: list[Rule] | None = None
    while alive is None or len(fewer) < len(alive):
        alive = fewer
        heads = {rule.head for rule in alive}
        fewer = [rule for rule in alive if heads.issuperset(rule.children)]
    return fewer


class Grammar:
    """The rules, and for every phrase how probable it is to be so many words long.

    ``inside[symbol, n]`` is the probability that the symbol becomes exactly ``n`` German words.
    With it a sentence of a wished length is drawn from the top down: first the rule, in
    proportion to its probability of being that long, then how the words are shared out.
    """

    def __init__(self, rules: Sequence[Rule], longest: int = LONGEST) -> None:
        """Drop rules that lead nowhere, make the weights probabilities, number the symbols."""
        rules = _fruitful(rules)
        heads = {rule.head for rule in rules}
        if "START" not in heads:
            raise ValueError("rules: no sentence can be made of them")
        number = {head: i for i, head in enumerate(sorted(heads))}
        self.start = number["START"]
        self.rules: list[list[Rule]] = [[] for _ in number]
        self._users: list[set[int]] = [set() for _ in number]
        for rule in rules:
            rule.ids = tuple(number[child] for child in rule.children)
            self.rules[number[rule.head]].append(rule)
            for child in rule.ids:
                self._users[child].add(number[rule.head])
        for group in self.rules:
            total = sum(rule.weight for rule in group)
            for rule in group:
                rule.weight /= total
        self._order = self._children_first()
        self._together: dict[tuple[int, ...], list[float]] = {}
        self._rule_choices: dict[tuple[int, int], tuple[list[float], list[Rule]]] = {}
        self._size_choices: dict[tuple[tuple[int, ...], int], tuple[list[float], list[int]]] = {}
        self.reach(longest)

    def _children_first(self) -> list[int]:
        """The symbols so that, but for phrases within themselves, parts come before wholes."""
        order: list[int] = []
        seen: set[int] = set()

        def visit(symbol: int) -> None:
            seen.add(symbol)
            for rule in self.rules[symbol]:
                for child in rule.ids:
                    if child not in seen:
                        visit(child)
            order.append(symbol)

        visit(self.start)
        return order

    def reach(self, longest: int) -> None:
        """Tabulate ``inside`` up to a length: go over the phrases until nothing changes.

        A phrase that contains itself adds words on the way, so this comes to an end.
        """
        self.longest = longest
        self.inside = np.zeros((len(self.rules), longest + 1))
        reached = set(self._order)
        stale = set(reached)
        while stale:
            for symbol in self._order:
                if symbol not in stale:
                    continue
                stale.remove(symbol)
                row = np.zeros(longest + 1)
                for rule in self.rules[symbol]:
                    own = len(rule.german_words)
                    row[own:] += rule.weight * self._convolve(rule.ids)[: longest + 1 - own]
                if not np.array_equal(row, self.inside[symbol]):
                    self.inside[symbol] = row
                    stale |= self._users[symbol] & reached
        self._together.clear()
        self._rule_choices.clear()
        self._size_choices.clear()

    def _convolve(self, symbols: tuple[int, ...]) -> NDArray[np.float64]:
        """Probability, by number of words, of what the symbols become together."""
        row: NDArray[np.float64] = np.eye(1, self.longest + 1)[0]
        for symbol in symbols:
            row = np.convolve(row, self.inside[symbol])[: self.longest + 1]
        return row

    def together(self, symbols: tuple[int, ...]) -> list[float]:
        """The same as a list, kept."""
        if symbols not in self._together:
            self._together[symbols] = self._convolve(symbols).tolist()
        return self._together[symbols]

    def rule_choice(self, symbol: int, words: int) -> tuple[list[float], list[Rule]]:
        """The rules by which a symbol becomes so many words, with cumulated probabilities."""
        pairs = [
            (weight, rule)
            for rule in self.rules[symbol]
            if (own := len(rule.german_words)) <= words
            and (weight := rule.weight * self.together(rule.ids)[words - own])
        ]
        choice = self._rule_choices[symbol, words] = _cumulate(pairs)
        return choice

    def size_choice(self, symbols: tuple[int, ...], words: int) -> tuple[list[float], list[int]]:
        """How many of the words the first symbol may take, with cumulated probabilities."""
        first, rest = self.together(symbols[:1]), self.together(symbols[1:])
        pairs = [
            (share, size)
            for size in range(words + 1)
            if (share := first[size] * rest[words - size])
        ]
        choice = self._size_choices[symbols, words] = _cumulate(pairs)
        return choice

    def draw(self, rng: random.Random, words: int) -> SentencePair:
        """One sentence of exactly ``words`` German words, with its translation and links."""
        uniform = rng.random
        rule_choices, size_choices = self._rule_choices, self._size_choices

        @no_type_check  # called forty times a sentence, too often for the tests' run-time checks
        def grow(symbol: int, words: int) -> Tree:
            cumulative, rules = rule_choices.get((symbol, words)) or self.rule_choice(symbol, words)
            rule = rules[bisect(cumulative, uniform() * cumulative[-1], hi=len(rules) - 1)]
            left = words - len(rule.german_words)
            grown = []
            for k, child in enumerate(rule.ids):
                size = left
                if k + 1 < len(rule.ids):
                    key = (rule.ids[k:], left)
                    shares, sizes = size_choices.get(key) or self.size_choice(*key)
                    size = sizes[bisect(shares, uniform() * shares[-1], hi=len(sizes) - 1)]
                left -= size
                grown.append(grow(child, size))
            return rule, grown

        return write(grow(self.start, words))


def write(tree: Tree) -> SentencePair:
    """Read a derivation off in both languages, and carry its links along."""
    german_words: list[str] = []
    english_words: list[str] = []
    links: list[tuple[int, int]] = []

    @no_type_check  # as above
    def pieces_of(tree: Tree) -> Pieces:
        """The phrase's pieces on both sides, as numbers of words."""
        rule, children = tree
        i0, j0 = len(german_words), len(english_words)
        german_words.extend(rule.german_words)
        english_words.extend(rule.english_words)
        links.extend([(i0 + i, j0 + j) for i, j in rule.links])
        if not children:
            return (
                [[i0 + index for _, index in piece] for piece in rule.german],
                [[j0 + index for _, index in piece] for piece in rule.english],
            )
        parts = [pieces_of(child) for child in children]
        sides: Pieces = ([], [])
        for side, pieces, base in ((0, rule.german, i0), (1, rule.english, j0)):
            for piece in pieces:
                numbers: list[int] = []
                for child, index in piece:
                    if child == WORD:
                        numbers.append(base + index)
                    else:
                        numbers += parts[child][side][index]
                sides[side].append(numbers)
        return sides

    (german,), (english,) = pieces_of(tree)
    source_at = {number: i for i, number in enumerate(german)}
    target_at = {number: j for j, number in enumerate(english)}
    source = tuple([german_words[number] for number in german])
    target = [english_words[number] for number in english]
    return _spell(source, target, {(source_at[i], target_at[j]) for i, j in links})


def _cumulate(pairs: list[tuple[float, Any]]) -> tuple[list[float], list[Any]]:
    """Weights, summed up as they go, and the things they belong to."""
    return list(accumulate(weight for weight, _ in pairs)), [thing for _, thing in pairs]


def _spell(source: tuple[str, ...], target: list[str], links: set[tuple[int, int]]) -> SentencePair:
    """English spelling after the grammar is done: "a apple" → "an apple", "i would" → "i'd".

    "i'd" is one token, as in :func:`attnbook.vocabulary.tokenize`, and keeps the links of both
    its words: "ich" and "möchte" are its origins. "i would not like" stays as it is.
    """
    words: list[str] = []
    position = []
    for j, word in enumerate(target):
        if word == "would" and target[j + 1] == "like" and j and target[j - 1] in PRONOUNS:
            words[-1] += "'d"
        elif word[0] in "aeiou" and words and words[-1] == "a":
            words[-1] = "an"
            words.append(word)
        else:
            words.append(word)
        position.append(len(words) - 1)
    return SentencePair(source, tuple(words), frozenset((i, position[j]) for i, j in links))


PRONOUNS = frozenset({"i", "he", "she", "we", "they"})


# Where a phrase's pieces stand in a sentence, from a word up to but not including another; None
# for a piece without words.
Spans = tuple[tuple[int, int] | None, ...]


class Chart:
    """All phrases of the grammar that a German sentence contains, each with one derivation.

    Phrases are combined to larger ones until nothing new is found. Only rules whose words occur
    in the sentence take part, which leaves few.
    """

    def __init__(self, rules: Sequence[Rule], words: tuple[str, ...]) -> None:
        present = set(words)
        alive = _fruitful([rule for rule in rules if present.issuperset(rule.german_words)])
        self.words = words
        self.found: dict[str, dict[Spans, Tree]] = {}
        grows = True
        while grows:
            grows = False
            for rule in alive:
                known = self.found.setdefault(rule.head, {})
                for spans, children in list(self._matches(rule)):
                    if spans not in known:
                        known[spans] = (rule, [self.found[c][at] for c, at in children])
                        grows = True

    def _matches(self, rule: Rule) -> Iterator[tuple[Spans, list[tuple[str, Spans]]]]:
        """Every way in which the rule's pieces, laid side by side, are found in the sentence."""
        parts = [(n, part) for n, piece in enumerate(rule.german) for part in piece]

        @no_type_check  # as in draw
        def lay(
            k: int, spans: list[tuple[int, int] | None], chosen: dict[int, Spans]
        ) -> Iterator[tuple[Spans, list[tuple[str, Spans]]]]:
            if k == len(parts):
                yield tuple(spans), [(c, chosen[n]) for n, c in enumerate(rule.children)]
                return
            n, (child, index) = parts[k]
            if child == WORD:
                choices: Iterator[tuple[tuple[int, int] | None, dict[int, Spans]]] = (
                    ((at, at + 1), chosen)
                    for at, word in enumerate(self.words)
                    if word == rule.german_words[index]
                )
            elif child in chosen:
                choices = iter([(chosen[child][index], chosen)])
            else:
                choices = (
                    (where[index], chosen | {child: where})
                    for where in self.found.get(rule.children[child], ())
                )
            for span, now in choices:
                last = spans[n]
                if span is None:
                    joined = last
                elif last is None:
                    joined = span
                elif last[1] == span[0]:
                    joined = (last[0], span[1])
                else:
                    continue
                yield from lay(k + 1, [*spans[:n], joined, *spans[n + 1 :]], now)

        found: Iterator[tuple[Spans, list[tuple[str, Spans]]]]
        found = lay(0, [None] * len(rule.german), {})
        return found


@lru_cache(maxsize=1)
def compiled() -> Grammar:
    """The compiled grammar, made at the first use and kept."""
    return Grammar(all_rules())
