"""From the tables to rules: every variable takes its values, every word its forms."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from attnbook.grammar.tables import (
    ADJECTIVES,
    AM,
    ARTICLES,
    BEING,
    CASES,
    ENDINGS,
    FINITE,
    GENDERS,
    MODALS,
    NOUNS,
    PERSONS,
    RULES,
    VARIABLES,
    VERBS,
)

__all__ = ["WORD", "Part", "Pieces", "Rule", "Tree", "all_rules", "cells"]


# A symbol on a rule's right-hand side: ("word", position in the rule) or ("part", child, piece).
Part = tuple[int, int]
WORD = -1
# What a phrase has become: the numbers of its German words by piece, and of its English ones.
Pieces = tuple[list[list[int]], list[list[int]]]
# A derivation: a rule, and how each of its phrases was derived.
Tree = tuple["Rule", list[Any]]


@dataclass
class Rule:
    """One production, both sides. A part is ``(child, piece)`` or ``(WORD, index of a word)``."""

    head: str
    weight: float
    children: tuple[str, ...] = ()
    german: tuple[tuple[Part, ...], ...] = ()
    english: tuple[tuple[Part, ...], ...] = ()
    german_words: tuple[str, ...] = ()
    english_words: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()  # the children as numbers, given by Grammar


def cells(table: str) -> Iterator[list[str]]:
    """The cells of each line of a table; blank lines and comments are left out."""
    for line in table.strip().splitlines():
        if line.strip() and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


PHRASE = re.compile(r"([A-Z]+'?)(?:\[([\w,]+)\])?(?:/(\d))?$")


def _expand(head: str, german: str, english: str, weight: float) -> Iterator[Rule]:
    """One line of :data:`RULES` as plain rules: every variable takes each of its values."""

    def variables(text: str) -> set[str]:
        inside = [
            part for bracket in re.findall(r"\[([\w,]+)\]", text) for part in bracket.split(",")
        ]
        return {name for name in inside if name in VARIABLES}

    names = sorted(variables(head) | variables(german))
    free = variables(german) - variables(head)
    for values in itertools.product(*(VARIABLES[name].items() for name in names)):
        binding = {name: value for name, (value, _) in zip(names, values, strict=True)}
        if len({value in ("zu", "inf") for name, value in binding.items() if name in "opu"}) > 1:
            continue  # "zu" has an infinitive and no person, and nothing else has
        share = weight
        for name, (_, part) in zip(names, values, strict=True):
            if name in free:
                share *= part / sum(VARIABLES[name].values())
        yield _rule(_bind(head, binding), german, english, share, binding)


def _bind(symbol: str, binding: dict[str, str]) -> str:
    """``V[o,k]`` with values for the variables: ``V[main,drink]``."""
    match = PHRASE.match(symbol)
    assert match is not None, symbol
    name, features, _ = match.groups()
    name = name.rstrip("'")
    if features is None:
        return name
    values = (binding.get(feature, feature) for feature in features.split(","))
    return f"{name}[{','.join(values)}]"


def _rule(head: str, german: str, english: str, weight: float, binding: dict[str, str]) -> Rule:
    """One line of :data:`RULES` under one binding of its variables."""
    children: dict[str, int] = {}  # V, VPN' … as the English side calls them
    symbols: list[str] = []
    german_words: list[str] = []
    german_pieces: list[list[Part]] = [[]]
    for token in german.split():
        if token == ";":
            german_pieces.append([])
        elif match := PHRASE.match(token):
            name = match[1]
            if name not in children:
                children[name] = len(symbols)
                symbols.append(_bind(token, binding))
            german_pieces[-1].append((children[name], int(match[3] or 1) - 1))
        else:
            german_pieces[-1].append((WORD, len(german_words)))
            german_words.append(token)
    english_words: list[str] = []
    english_part: list[Part] = []
    links = []
    for token in english.split():
        if match := PHRASE.match(token):
            english_part.append((children[match[1]], int(match[3] or 1) - 1))
            continue
        word, *origins = token.split("<")
        for origin in origins:
            assert german_words.count(origin) == 1, (german, english)
            links.append((german_words.index(origin), len(english_words)))
        english_part.append((WORD, len(english_words)))
        english_words.append(word)
    return Rule(
        head,
        weight,
        tuple(symbols),
        tuple(map(tuple, german_pieces)),
        (tuple(english_part),),
        tuple(german_words),
        tuple(english_words),
        tuple(links),
    )


# A word with the roles it plays, one letter each: S carries the verb's sense, F is finite, N is
# "nicht", Z is "zu". Two words are linked where they share a role, so the stem and the prefix of
# a separable verb are both linked to the English verb, and only the stem to "am" and "is".
Word = tuple[str, str]


def _lexical(
    head: str, weight: float, german: Sequence[Sequence[Word]], english: Sequence[Sequence[Word]]
) -> Rule:
    """A dictionary entry: words in pieces, linked where they share a role."""
    sides = []
    for pieces in (german, english):
        count = itertools.count()
        sides.append(tuple(tuple((WORD, next(count)) for _ in piece) for piece in pieces))
    german_words = [word for piece in german for word in piece]
    english_words = [word for piece in english for word in piece]
    links = tuple(
        (i, j)
        for i, (_, left) in enumerate(german_words)
        for j, (_, right) in enumerate(english_words)
        if set(left) & set(right)
    )
    return Rule(
        head,
        weight,
        (),
        sides[0],
        sides[1],
        tuple(word for word, _ in german_words),
        tuple(word for word, _ in english_words),
        links,
    )


def _noun_rules() -> Iterator[Rule]:
    """Nouns, articles and adjectives in every case, gender and number they have."""

    def plain(head: str, german: str, english: str, weight: float = 1.0) -> Rule:
        words = [(word, "F") for word in english.split("_")]
        return _lexical(head, weight, [[(german, "F")]], [words])

    for classes, forms, translation, articles in cells(NOUNS):
        gender, singular, plural = forms.split()
        one, many = translation.split()
        for k, c, d in itertools.product(classes.split(), CASES, articles.split()):
            oblique = plural if gender.endswith("*") and c != "nom" else singular
            if d != "num":
                yield plain(f"N[{k},{d},{c},{gender.rstrip('*')}]", oblique, one)
            if plural != "-" and d != "ind":
                dative = plural if plural[-1] in "ns" or c != "dat" else plural + "n"
                yield plain(f"N[{k},{d},{c},plur]", dative, many)
    slots = list(itertools.product(CASES, GENDERS))
    for kind, *cases in cells(ARTICLES):
        d, english, weight = kind.split()
        for (c, g), german in zip(slots, " ".join(cases).split(), strict=True):
            if german != "-":
                yield plain(f"DET[{d},{c},{g}]", german, english, float(weight))
    for classes, stem, english in cells(ADJECTIVES):
        for d, *cases in cells(ENDINGS):
            for (c, g), ending in zip(slots, " ".join(cases).split(), strict=True):
                for k in classes.split() if ending != "-" else ():
                    yield plain(f"ADJ[{k},{d},{c},{g}]", stem + ending, english)


def _finite(infinitive: str, third: str, person: str) -> str:
    """The German present tense: trinke, trinkt, trinken, trinken."""
    first = re.sub("en$", "e", infinitive)
    forms = FINITE.get(infinitive, (first, third, infinitive, infinitive))
    return forms[PERSONS.index(person)]


def _verb_rules() -> Iterator[Rule]:
    """Every verb in every tense, person and position, positive and negated, with its links."""
    for classes, german, english, tenses in cells(VERBS):
        verb, third, participle, auxiliary = german.split()
        prefix, _, stem = verb.rpartition("+")
        forms = [
            [[(word, "S") for word in piece.split("_")] for piece in form.split("/")]
            for form in english.split()
        ]
        separated: list[Word] = [(prefix, "S")] if prefix else []
        for k in classes.split():
            if "z" in tenses:
                clause = [(prefix + "zu" + stem, "ZS")] if prefix else [("zu", "Z"), (stem, "S")]
                yield from _entry(
                    f"[zu,{k},inf,inf]", 1.0, [], clause, _before([("to", "Z")], forms[0]), None
                )
            for p in PERSONS:
                now = (_finite(stem, third, p), "FS")
                for letter, tense in (("p", "pres"), ("h", "habit"), ("s", "state"), ("g", "gern")):
                    if letter in tenses:
                        sides = _present(tense, p, forms)
                        yield from _entry(f"{k},{p},{tense}]", 1.0, [now], separated, *sides)
                if "v" in tenses:
                    have = [(_finite(auxiliary, "", p), "F")]
                    yield from _entry(
                        f"{k},{p},past]", 1.0, have, [(participle, "S")], *_past(forms)
                    )
                for modal, *translations in cells(MODALS) if "m" in tenses else ():
                    one, many = modal.split()
                    finite = (one if p in ("1s", "3s") else many, "F")
                    yield from _entry(
                        f"{k},{p},modal]",
                        1 / 6,  # there are six, and together they are as frequent as one verb
                        [finite],
                        [(prefix + stem, "S")],
                        *_modal(translations, p, forms[0]),
                    )


English = list[list[Word]]  # a verb, and what stands behind its object ("pick … up")


def _before(words: list[Word], verb: English) -> English:
    """Auxiliaries in front of a verb."""
    return [[*words, *verb[0]], *verb[1:]]


def _present(tense: str, person: str, forms: list[English]) -> tuple[English, English | None]:
    """``is drinking``, ``drinks``, ``knows`` or, after ``likes``, ``to drink``; negated."""
    base, third, ing, _ = forms
    if tense == "pres":
        am = (AM[person], "F")
        return _before([am], ing), _before([am, ("not", "N")], ing)
    if tense == "gern":
        return _before([("to", "F")], base), None
    positive = third if person == "3s" else base
    if tense == "habit":
        return positive, None
    # "would not like a beer" is not what one says.
    plain: English = [[("want", "S")]] if base[0][0][0] == "would" else base
    return positive, _before([("does" if person == "3s" else "do", ""), ("not", "N")], plain)


def _past(forms: list[English]) -> tuple[English, English]:
    """``drank``, ``did not drink``; "hat" goes with the tensed word, "hat abgeholt": picked."""
    base, _, _, past = forms
    tensed, *rest = past[0]
    positive = [[(tensed[0], "FS"), *rest], *past[1:]]
    return positive, _before([("did", "F"), ("not", "N")], base)


def _modal(translations: Sequence[str], person: str, base: English) -> tuple[English, English]:
    """``can drink``, ``cannot drink``."""
    roles = {"to": "S", "not": "N", "cannot": "FN", "does": "", "do": ""}
    positive, negative = (
        _before([(word, roles.get(word, "F")) for word in cell.split()], base)
        for cell in translations[0 if person == "3s" else 1 :: 2]
    )
    return positive, negative


def _entry(
    key: str,
    weight: float,
    left: list[Word],
    right: list[Word],
    positive: Sequence[Sequence[Word]],
    negative: Sequence[Sequence[Word]] | None,
) -> Iterator[Rule]:
    """A verb as it stands in a main clause (two brackets) and in a subordinate one (all last).

    Args:
        key: class, person and tense; the order is put before it where it is not there yet.
        weight: how often, against its neighbours.
        left: the finite verb, which a main clause puts second.
        right: separated prefix, participle or infinitive, which stays behind.
        positive: the English verb, without negation.
        negative: the same with "not"; None where the grammar does not negate it.
    """
    polarities: list[tuple[str, list[Word], Sequence[Sequence[Word]]]] = [("V", [], positive)]
    if negative is not None:
        polarities.append(("NOT", [("nicht", "N")], negative))
    for symbol, nicht, english in polarities:
        pieces = [list(english[0]), [word for piece in english[1:] for word in piece]]
        if key.startswith("["):
            yield _lexical(symbol + key, weight, [[], [*nicht, *right]], pieces)
            continue
        yield _lexical(f"{symbol}[main,{key}", weight, [left, [*nicht, *right]], pieces)
        cluster = [*right, *left]
        if right and left[0][1] == "FS":  # a prefix rejoins its verb: "an" + "ruft"
            cluster = [(right[0][0] + left[0][0], "FS")]
        yield _lexical(f"{symbol}[final,{key}", weight, [[], [*nicht, *cluster]], pieces)


def _being_rules() -> Iterator[Rule]:
    """``ist müde``, ``hat hunger``: is tired, is hungry."""
    for german, english, persons in cells(BEING):
        verb, complement = german.split()
        state: list[Word] = [(w, "" if w == "a" else "S") for w in english.split()]
        for p in persons.split():
            left: list[Word] = [(_finite(verb, "", p), "F")]
            positive = [[(AM[p], "F"), *state]]
            # "hat keinen hunger" is another construction, which this grammar does without.
            negative = [[(AM[p], "F"), ("not", "N"), *state]] if len(state) == 1 else None
            negative = None if verb == "haben" else negative
            yield from _entry(f"be,{p},state]", 1.0, left, [(complement, "S")], positive, negative)


@lru_cache(maxsize=1)
def all_rules() -> tuple[Rule, ...]:
    """Every rule and every dictionary entry, made at the first use and kept."""
    phrases = [
        rule
        for head, german, english, weight in cells(RULES)
        for rule in _expand(head, german, english, float(weight))
    ]
    return (*phrases, *_noun_rules(), *_verb_rules(), *_being_rules())
