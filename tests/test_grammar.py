"""The grammar corpus: what it promises to the chapters that train on it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbook import grammar
from attnbook.corpora import SentencePair
from attnbook.grammar import derive


@pytest.fixture(scope="module")
def pairs() -> list[SentencePair]:
    return grammar.generate(3000, seed=0)


def german(pair: SentencePair) -> str:
    return " ".join(pair.source)


def english(pair: SentencePair) -> str:
    return " ".join(pair.target)


def linked(pair: SentencePair) -> set[tuple[str, str]]:
    """Links as words; only for sentences in which no word comes twice."""
    assert pair.links is not None
    return {(pair.source[i], pair.target[j]) for i, j in pair.links}


def translate(sentence: str) -> SentencePair | None:
    return grammar.translate(sentence.split())


# ------------------------------------------------------------------------ the pair itself


@pytest.mark.usefixtures("as_user")
def test_a_pair_refuses_what_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="source: an empty sentence"):
        SentencePair((), ("a",))
    with pytest.raises(ValueError, match="target: an empty sentence"):
        SentencePair(("ein",), ())
    with pytest.raises(ValueError, match="source: expected a tuple of tokens, got the string"):
        SentencePair("ein bier", ("a", "beer"))  # type: ignore[arg-type]  # the test is that this is refused
    with pytest.raises(ValueError, match="target: token 1 is ''"):
        SentencePair(("ein", "bier"), ("a", ""))
    with pytest.raises(ValueError, match=r"links: the link \(0, 2\) lies outside 3 source and 2"):
        SentencePair(("a", "b", "c"), ("d", "e"), frozenset({(0, 2)}))
    # The same link is right when source and target change places: the axes are not confused.
    assert SentencePair(("d", "e"), ("a", "b", "c"), frozenset({(0, 2)})).links == {(0, 2)}
    assert SentencePair(("a",), ("b",)).links is None
    by_hand: Any = ["a"], ["b"], {(0, 0)}
    assert SentencePair(*by_hand).source == ("a",)


# -------------------------------------------------------------------- seeds, lengths, sizes


def test_the_same_seed_gives_the_same_pairs() -> None:
    assert grammar.generate(20, seed=7) == grammar.generate(20, seed=7)
    assert grammar.generate(20, seed=7) != grammar.generate(20, seed=8)
    assert grammar.generate(20, seed=7)[:10] == grammar.generate(10, seed=7)


def test_golden_sentences() -> None:
    """What seed 0 gives is written down: models and figures of the book depend on it."""
    made = [f"{german(p)} | {english(p)}" for p in grammar.generate(6, 0, shortest=5, longest=9)]
    assert made == GOLDEN


@settings(max_examples=15)
@given(
    shortest=st.integers(3, 60),
    more=st.integers(0, 30),
    seed=st.integers(0, 2**31),
)
def test_lengths_stay_within_bounds(shortest: int, more: int, seed: int) -> None:
    for pair in grammar.generate(4, seed, shortest, shortest + more):
        assert shortest <= len(pair.source) <= shortest + more


def test_every_length_is_equally_frequent(pairs: list[SentencePair]) -> None:
    counts = Counter(len(pair.source) for pair in pairs)
    assert set(counts) == set(range(3, 61))
    expected = len(pairs) / 58
    chi_squared = sum((counts[n] - expected) ** 2 / expected for n in range(3, 61))
    assert chi_squared < 96  # 57 degrees of freedom: exceeded by chance once in a thousand


def test_english_is_about_as_long_as_german(pairs: list[SentencePair]) -> None:
    ratios = [len(p.target) / len(p.source) for p in pairs if len(p.source) >= 10]
    assert min(ratios) > 0.6
    assert max(ratios) < 1.7
    assert any(len(p.target) != len(p.source) for p in pairs)


def test_sentences_longer_than_the_default_can_be_asked_for() -> None:
    (pair,) = grammar.generate(1, seed=0, shortest=75, longest=75)
    assert len(pair.source) == 75
    # Reaching further does not change what a seed gives.
    assert grammar.generate(1, seed=0, shortest=9, longest=9) == grammar.generate(1, 0, 9, 9)


@pytest.mark.usefixtures("as_user")
def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"count: .* got -1"):
        grammar.generate(-1)
    with pytest.raises(ValueError, match=r"count: .* got 1\.5"):
        grammar.generate(1.5)  # type: ignore[arg-type]  # the test is that this is refused
    with pytest.raises(ValueError, match="shortest: the grammar's shortest sentence has 2 words"):
        grammar.generate(1, shortest=1)
    with pytest.raises(ValueError, match="longest: 5 is less than shortest, 6"):
        grammar.generate(1, shortest=6, longest=5)
    with pytest.raises(ValueError, match="longest: expected a whole number of words, got '60'"):
        grammar.generate(1, longest="60")  # type: ignore[arg-type]  # the test is that this is refused
    with pytest.raises(ValueError, match="val: expected a number of pairs, 0 or more, got -2"):
        grammar.corpus(val=-2)
    with pytest.raises(ValueError, match="the grammar has hardly more than"):
        grammar.corpus(train=50_000, shortest=3, longest=3)
    with pytest.raises(ValueError, match="words: expected a list of words, got 'ich singe'"):
        grammar.translate("ich singe")
    with pytest.raises(ValueError, match="rules: no sentence can be made of them"):
        derive.Grammar([])


# ------------------------------------------------------------------ translation and links


def test_a_german_sentence_has_one_translation_and_one_alignment() -> None:
    """Otherwise exact match would punish a model for a coin that the grammar tossed."""
    known: dict[tuple[str, ...], SentencePair] = {}
    for count, shortest, longest, seed in ((8000, 3, 6, 11), (2000, 7, 12, 12)):
        for pair in grammar.generate(count, seed, shortest, longest):
            assert known.setdefault(pair.source, pair) == pair
    assert len(known) > 5000


def test_reading_a_sentence_back_gives_what_was_written() -> None:
    """The chart finds a derivation by itself; it must come to the same translation and links."""
    for pair in grammar.generate(60, seed=6):
        assert grammar.translate(pair.source) == pair
    assert grammar.translate([]) is None
    assert grammar.translate(["ich", "schlafe", "xyz"]) is None
    assert grammar.translate(["ich", "ich", "schlafe"]) is None


def test_every_content_word_is_linked(pairs: list[SentencePair]) -> None:
    unlinked: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for pair in pairs:
        assert pair.links is not None
        for side, words in enumerate((pair.source, pair.target)):
            covered = {link[side] for link in pair.links}
            unlinked[side].update(w for n, w in enumerate(words) if n not in covered)
    assert set(unlinked[0]) == {",", "um", "der", "die"}  # "der": "in der schule" → "at school"
    assert set(unlinked[1]) == {"of", "does", "do", "a"}  # "a": "ich bin student" → "a student"


def test_links_join_words_that_translate_each_other() -> None:
    """Words with one translation are linked to it and to nothing else, wherever they stand."""
    fixed = {
        "mann": {"man"},
        "apfelsaft": {"apple", "juice"},
        "arztpraxis": {"doctor's", "office"},
        "haustür": {"front", "door"},
        "gestern": {"yesterday", "last", "night"},
        "getrunken": {"drank", "drink"},
        "weil": {"because"},
        "nicht": {"not", "cannot"},
        "oft": {"often"},
        "im": {"in", "the"},
    }
    seen: Counter[str] = Counter()
    for pair in grammar.generate(1500, seed=2):
        assert pair.links is not None
        for i, j in pair.links:
            if pair.source[i] in fixed:
                assert pair.target[j] in fixed[pair.source[i]]
                seen[pair.source[i]] += 1
    assert set(seen) == set(fixed)


def test_both_parts_of_a_separable_verb_meet_in_one_english_verb() -> None:
    pair = translate("ich rufe dich an")
    assert pair is not None
    assert english(pair) == "i am calling you"
    assert linked(pair) == {
        ("ich", "i"), ("rufe", "am"), ("rufe", "calling"), ("an", "calling"), ("dich", "you"),
    }  # fmt: skip
    pair = translate("er holt ihn ab")
    assert pair is not None
    assert english(pair) == "he is picking him up"
    assert {("holt", "picking"), ("holt", "up"), ("ab", "picking"), ("ab", "up")} < linked(pair)
    pair = translate("weil er ihn anruft , singt sie")  # together again at the clause's end
    assert pair is not None
    assert english(pair) == "because he is calling him , she is singing"
    pair = translate("er versucht , die frau anzurufen")
    assert pair is not None
    assert english(pair) == "he is trying to call the woman"
    assert {("anzurufen", "to"), ("anzurufen", "call")} < linked(pair)


# ------------------------------------------------------------------------------ phenomena


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("heute trinkt anna das bier", "today anna is drinking the beer"),  # verb second
        ("weil er das bier trinkt , singt sie", "because he is drinking the beer , she is singing"),
        ("er trinkt oft das bier", "he often drinks the beer"),  # the adverb sets the tense
        ("anna hat das bier getrunken", "anna drank the beer"),  # two words become one
        ("ich möchte ein bier trinken", "i'd like to drink a beer"),  # infinitive last
        ("sie kann nicht singen", "she cannot sing"),
        ("sie darf singen", "she may sing"),
        ("sie darf nicht singen", "she must not sing"),  # not: "may not"
        ("sie muss nicht singen", "she does not have to sing"),  # not: "must not"
        ("sie möchte nicht singen", "she does not want to sing"),
        ("er hat nicht gesungen", "he did not sing"),
        ("er liebt die frau nicht", "he does not love the woman"),
        ("sie singt", "she is singing"),
        ("sie singen", "they are singing"),  # only the verb tells "she" from "they"
        ("morgen kann er singen", "tomorrow he can sing"),
        ("jeden morgen singt er", "every morning he sings"),  # morning, not tomorrow
        ("er singt gern", "he likes to sing"),  # a German adverb, an English verb
        ("wir trinken gern wein", "we like to drink wine"),
        ("wir gehen nach hause", "we are going home"),
        ("ich bin student", "i am a student"),
        ("er hat hunger", "he is hungry"),
        ("wenn er hunger hat , singt er", "when he is hungry , he sings"),
        ("sie bestellt eine tasse tee", "she is ordering a cup of tea"),
        ("er geht in die arztpraxis", "he is going to the doctor's office"),
        ("er hofft , dass es regnet", "he hopes that it is raining"),
        ("ich sehe den mann , der singt", "i see the man who is singing"),
        ("ich sehe den mann , den du liebst", None),  # "du" is not in the grammar
        ("ich sehe den mann , den sie liebt", "i see the man whom she loves"),
        ("er hat das bier getrunken , das ich brauche", "he drank the beer that i need"),
        ("er geht in den park , um zu tanzen", "he is going to the park to dance"),
    ],
)
def test_phenomena(german: str, english: str | None) -> None:
    pair = translate(german)
    assert (pair and " ".join(pair.target)) == english


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # case and gender
        ("ich sehe den mann", "ich sehe der mann"),
        ("ich helfe dem mann", "ich helfe den mann"),
        ("ich helfe der frau", "ich helfe die frau"),
        ("ich helfe dem kind", "ich helfe das kind"),
        ("ich sehe den studenten", "ich sehe den student"),  # a weak noun
        ("der student singt", "der studenten singt"),
        ("die milch ist kalt", None),
        # adjectives
        ("ich trinke ein kaltes bier", "ich trinke ein kalte bier"),
        ("ich trinke das kalte bier", "ich trinke das kaltes bier"),
        ("ein netter mann singt", "ein nette mann singt"),
        ("der nette mann singt", "der netter mann singt"),
        ("ich helfe einem netten mann", "ich helfe einem nettem mann"),
        ("viele nette frauen singen", "viele netten frauen singen"),
        ("die netten frauen singen", "die nette frauen singen"),
        # person and number
        ("ich singe", "ich singt"),
        ("der lehrer singt", "der lehrer singen"),
        ("die lehrer singen", "die lehrer singt nicht singen"),
        ("paul und meine schwester singen", "paul und meine schwester singt"),
        # position
        ("heute singt er", "heute er singt"),
        ("weil er singt , tanzt sie", "weil singt er , tanzt sie"),
        ("er hat gesungen", "er gesungen hat"),
        ("er kann nicht singen", "er kann singen nicht"),
        # sense
        ("ich trinke den tee", "ich trinke den schlüssel"),
        ("mein lehrer singt", "mein mann singt"),  # that would be a husband
        ("er ruft mich an", "ich rufe mich an"),
    ],
)
def test_agreement_position_and_sense(right: str, wrong: str | None) -> None:
    if wrong is None:
        assert translate(right) is None
        return
    assert translate(right) is not None
    assert translate(wrong) is None


def test_long_distance_phenomena(pairs: list[SentencePair]) -> None:
    text = [(german(pair), english(pair)) for pair in pairs]
    for source, target in (
        (r"\bdass (es|er|ich|wir) ", r"\bthat (it|he|i|we)\b"),  # complement clauses
        (r"\b(getrunken|gekauft) , (den|die|das) ", r"\b(drank|bought|drink|buy) .*\bthat\b"),
        (r" , (der|die|das) [^,]* (hat|ist) ,", r"\b(who|whom|that)\b"),  # in the middle
        (r" , um [^,]* zu \w+", r" to \w+"),
        (r"wenn [^,]*, ", r"\bwhen\b"),
    ):
        hits = [(g, e) for g, e in text if re.search(source, g)]
        assert len(hits) >= 5, source
        assert all(re.search(target, e) for _, e in hits), source
    # One English word may come from German words far apart: "hat … getrunken" → "drank".
    spans = [
        max(origins) - min(origins)
        for pair in pairs
        for j in range(len(pair.target))
        if (origins := [i for i, k in pair.links or () if k == j])
    ]
    assert max(spans) >= 6


def test_spelling_rules(pairs: list[SentencePair]) -> None:
    text = [english(pair) for pair in pairs]
    assert not any(re.search(r"\ba [aeiou]", line) for line in text)
    assert not any(re.search(r"\ban [^aeiou]", line) for line in text)
    assert any(re.search(r"\ban (apple|umbrella|egg|old)\b", line) for line in text)
    assert not any(re.search(r"\b(i|he|she|we|they) would like", line) for line in text)
    assert any("would like" in line for line in text)  # "the man would like"
    assert not any("because because" in line or "that that" in line for line in text)


def test_nobody_calls_himself(pairs: list[SentencePair]) -> None:
    for pair in pairs:
        assert not re.search(r"\b(ich|wir) \w+ (mich|uns|mir)\b", german(pair))


# -------------------------------------------------------------------------- the vocabulary


def test_the_vocabulary_is_small_and_stable() -> None:
    """A tiny model has to learn it in a minute; checkpoints depend on its size."""
    sample = grammar.generate(6000, seed=3)
    words = [{w for pair in sample for w in getattr(pair, side)} for side in ("source", "target")]
    assert [len(side) for side in words] == VOCABULARY
    counts = [
        Counter(w for pair in sample for w in getattr(pair, side)) for side in ("source", "target")
    ]
    assert min(min(count.values()) for count in counts) > 5  # nothing too rare to be learned


def test_words_are_what_the_tokenizer_makes_of_them(pairs: list[SentencePair]) -> None:
    vocabulary = pytest.importorskip("attnbook.vocabulary")
    for pair in pairs[:2000]:
        assert vocabulary.tokenize(german(pair)) == list(pair.source)
        assert vocabulary.tokenize(english(pair)) == list(pair.target)


# ------------------------------------------------------------------------------- the corpus


def test_the_literature_is_aligned_by_hand_as_the_grammar_aligns_it() -> None:
    first = grammar.literature()[0]
    assert german(first) == "ich möchte ein bier"
    assert english(first) == "i'd like a beer"
    assert first.links == {(0, 0), (1, 0), (1, 1), (2, 2), (3, 3)}
    assert len(grammar.literature()) == 6
    for pair in grammar.literature():
        assert translate(german(pair)) == pair


def test_a_corpus_is_split_by_sentence() -> None:
    made = grammar.corpus(train=700, val=31, test=53, seed=5, shortest=3, longest=12)
    assert [len(made.train), len(made.val), len(made.test)] == [700, 31, 53]
    everything = [pair.source for part in (made.train, made.val, made.test) for pair in part]
    assert len(set(everything)) == len(everything)
    assert made.train[: len(grammar.literature())] == grammar.literature()
    assert made == grammar.corpus(700, 31, 53, seed=5, shortest=3, longest=12)
    more = grammar.corpus(train=900, val=31, test=53, seed=5, shortest=3, longest=12)
    assert (more.test, more.val) == (made.test, made.val)
    assert grammar.corpus(train=2, val=0, test=0).train == grammar.literature()[:2]


# ------------------------------------------------------------------------ golden values

GOLDEN = [
    "ein arzt geht nie in die arztpraxis . | a doctor never goes to the doctor's office .",
    "jeden morgen findet das müde mädchen meine tasche . | "
    "every morning the tired girl finds my bag .",
    "wir schlafen am abend ein . | we fall asleep in the evening .",
    "letzte woche habe ich in der schule gesungen | last week i sang at school",
    "jeden tag trinken diese lehrer diese milch | every day these teachers drink this milk",
    "die studenten schlafen , wenn sie aufstehen | the students sleep when they get up",
]
VOCABULARY = [355, 290]
