"""Tokens, numbers, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbook.vocabulary import EOS, PAD, SOS, SPECIALS, UNK, Vocabulary, tokenize

words = st.text(min_size=1, max_size=6).filter(lambda word: word not in SPECIALS)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Ich möchte ein Bier.", ["ich", "möchte", "ein", "bier", "."]),
        ("I'd like a t-shirt", ["i'd", "like", "a", "t-shirt"]),
        ("the 'best', again", ["the", "'", "best", "'", ",", "again"]),
        ("STRASSE Straße", ["strasse", "straße"]),
        ("a\u00a0b\tc\n", ["a", "b", "c"]),
        ("3 € (um 8:30)", ["3", "€", "(", "um", "8", ":", "30", ")"]),
        ("  ", []),
        ("ko\u00adope\u00adrieren a\u200bb \u2060c \ufeffwort", ["kooperieren", "ab", "c", "wort"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ที่นี่ ดี", ["ที่นี่", "ดี"]),
        ("مُحَمَّد هُنَا", ["مُحَمَّد", "هُنَا"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("İstanbul'da", ["i\u0307stanbul'da"]),
    ],
)
def test_tokenize(text, tokens):
    assert tokenize(text) == tokens


def test_two_ways_to_write_an_umlaut_are_one_word():
    composed, decomposed = "m\u00f6chte", "mo\u0308chte"
    assert tokenize(decomposed) == tokenize(composed) == [composed]


@given(st.text())
def test_tokens_hold_every_visible_character_and_no_space(text):
    tokens = tokenize(text)
    assert not any(char.isspace() for token in tokens for char in token)
    assert tokenize(" ".join(tokens)) == tokens


def test_special_words_have_fixed_numbers():
    vocabulary = Vocabulary(["a"])
    assert (PAD, UNK, SOS, EOS) == (0, 1, 2, 3)
    assert list(vocabulary) == ["<pad>", "<unk>", "<sos>", "<eos>", "a"]
    assert vocabulary.encode(["a", "b", "<eos>"]) == [4, UNK, EOS]


@given(st.lists(words, unique=True, max_size=20), st.data())
def test_encode_and_decode_are_inverse(known, data):
    vocabulary = Vocabulary(known)
    sentence = data.draw(st.lists(st.sampled_from(list(vocabulary)), max_size=10))
    assert vocabulary.decode(vocabulary.encode(sentence)) == sentence
    assert len(vocabulary) == len(known) + 4
    assert all(word in vocabulary for word in known)


def test_most_frequent_first_and_ties_alphabetical():
    sentences = [["b", "a", "c"], ["c", "b"], ["c", "d", "<unk>"]]
    assert Vocabulary.from_sentences(sentences).words[4:] == ("c", "b", "a", "d")
    assert Vocabulary.from_sentences(reversed(sentences)).words[4:] == ("c", "b", "a", "d")
    assert Vocabulary.from_sentences(sentences, min_count=2).words[4:] == ("c", "b")
    assert Vocabulary.from_sentences(sentences, max_size=1).words[4:] == ("c",)
    assert Vocabulary.from_sentences(sentences, max_size=0).words[4:] == ()


def test_equality_and_repr():
    one, same, other = Vocabulary(["a", "b"]), Vocabulary(["a", "b"]), Vocabulary(["b", "a"])
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != ["a", "b"]
    assert repr(one) == "Vocabulary(6 words: a, b, …)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary(["a", "b", "a"]), r"twice: \['a'\]"),
        (lambda: Vocabulary(["<eos>"]), "twice"),
        (lambda: Vocabulary(["a", ""]), "empty"),
        (lambda: Vocabulary.from_sentences([["a"]], min_count=0), "min_count"),
        (lambda: Vocabulary.from_sentences([["a"]], max_size=-1), "max_size"),
        (lambda: Vocabulary.from_sentences(["a b c"]), "tokenize"),
        (lambda: Vocabulary(["a"]).encode("a b"), "tokenize"),
        (lambda: Vocabulary(["a"]).decode([4, 5]), "token id 5 is outside the vocabulary of 5"),
        (lambda: Vocabulary(["a"]).decode([-1]), "token id -1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
