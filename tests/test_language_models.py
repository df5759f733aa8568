"""Language models: counts by hand, sums to one, and equality with naive implementations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbook.language_models import (
    AddConstant,
    KneserNey,
    NeuralLanguageModel,
    NGramModel,
    ngrams,
    perplexity,
)
from attnbook.vocabulary import EOS, PAD, SOS, Vocabulary

SENTENCES = [["the", "dog", "runs"], ["the", "dog", "sleeps"], ["a", "cat", "sleeps"]]
WORDS = Vocabulary.from_sentences(SENTENCES)
OUTCOMES = [*WORDS.words[4:], "<unk>", "<eos>"]


def total(model: NGramModel | NeuralLanguageModel, context: list[str]) -> float:
    return math.fsum(model.probability(word, context) for word in model.vocabulary)


# --- events ---------------------------------------------------------------------------------


def test_ngrams_of_a_sentence():
    assert list(ngrams([7, 8], order=1)) == [((), 7), ((), 8), ((), EOS)]
    assert list(ngrams([7, 8], order=2)) == [((SOS,), 7), ((7,), 8), ((8,), EOS)]
    assert list(ngrams([7, 8], order=4)) == [((SOS,), 7), ((SOS, 7), 8), ((SOS, 7, 8), EOS)]


# --- counting -------------------------------------------------------------------------------


def test_relative_frequency_by_hand():
    model = AddConstant(2, WORDS, constant=0.0).fit(SENTENCES)
    assert model.probability("the") == pytest.approx(2 / 3)
    assert model.probability("dog", ["the"]) == 1
    assert model.probability("sleeps", ["the", "dog"]) == 1 / 2
    assert model.probability("<eos>", ["a", "cat", "sleeps"]) == 1
    # A good sentence whose second word never followed its first: probability zero.
    assert model.probability("cat", ["the"]) == 0
    assert perplexity(model, [["the", "cat", "sleeps"]]) == math.inf
    # A context without counts has no relative frequencies.
    assert model.probability("dog", ["zebra"]) == 0


def test_add_one_by_hand():
    model = AddConstant(2, WORDS).fit(SENTENCES)
    assert model.outcomes == 8
    assert model.probability("dog", ["the"]) == pytest.approx((2 + 1) / (2 + 8))
    assert model.probability("cat", ["the"]) == pytest.approx((0 + 1) / (2 + 8))
    assert model.probability("dog", ["zebra"]) == pytest.approx(1 / 8)


def test_kneser_ney_by_hand():
    model = KneserNey(2, WORDS, discount=0.5).fit(SENTENCES)
    # Nine different bigrams; "cat" has one predecessor and "sleeps" two. Seven words have some
    # predecessor and give up one half each, which is shared by eight outcomes.
    cat = (1 - 0.5 + 7 * 0.5 / 8) / 9
    sleeps = (2 - 0.5 + 7 * 0.5 / 8) / 9
    # After "the" there was one word, twice.
    assert model.probability("cat", ["the"]) == pytest.approx(0.5 / 2 * cat)
    assert model.probability("dog", ["the"]) == pytest.approx((2 - 0.5) / 2 + 0.5 / 2 * cat)
    assert model.probability("sleeps", ["the"]) == pytest.approx(0.5 / 2 * sleeps)
    # An unseen context is no context.
    assert model.probability("sleeps", ["zebra"]) == pytest.approx(sleeps)


def test_continuation_counts_are_not_frequencies():
    # "francisco" is as frequent as "glass", but only ever follows "san".
    sentences = [["san", "francisco"]] * 4 + [[word, "glass"] for word in ("a", "my", "of", "the")]
    model = KneserNey(2, Vocabulary.from_sentences(sentences)).fit(sentences)
    unigram = AddConstant(1, model.vocabulary, constant=0.0).fit(sentences)
    assert unigram.probability("francisco") == unigram.probability("glass")
    assert model.probability("glass", ["zebra"]) > 2 * model.probability("francisco", ["zebra"])


def test_a_sentence_start_keeps_its_frequencies_in_every_order():
    # <sos> has nothing before it, so that "the" is twice as likely as "a" however long contexts
    # may be; continuation counts would call them equal.
    for order in (2, 3, 4):
        model = KneserNey(order, WORDS, discount=0.5).fit(SENTENCES)
        the, a = model.probability("the"), model.probability("a")
        assert the - a == pytest.approx(1 / 3)


def naive_kneser_ney(order, sentences, discount, outcomes, word, context):
    """The same formula over tuples of words, with every count looked up from scratch."""
    padded = [("<sos>", *sentence, "<eos>") for sentence in sentences]

    def occurrences(gram):
        size = len(gram)
        return sum(
            tokens[i : i + size] == gram for tokens in padded for i in range(len(tokens) - size + 1)
        )

    def count(gram):
        if len(gram) == order or gram[0] == "<sos>":
            return occurrences(gram)
        return len(
            {
                tokens[i - 1]
                for tokens in padded
                for i in range(1, len(tokens) - len(gram) + 1)
                if tokens[i : i + len(gram)] == gram
            }
        )

    def estimate(context):
        lower = estimate(context[1:]) if context else 1 / len(outcomes)
        counts = {outcome: count((*context, outcome)) for outcome in outcomes}
        whole = sum(counts.values())
        if whole == 0:
            return lower
        gamma = sum(min(discount, c) for c in counts.values()) / whole
        return max(counts[word] - discount, 0) / whole + gamma * lower

    start = ("<sos>", *context)
    return estimate(start[len(start) - order + 1 :] if len(start) >= order else start)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_equals_a_naive_implementation(order):
    sentences = [*SENTENCES, ["the", "cat", "runs"], ["a", "dog", "a", "dog", "a"]]
    model = KneserNey(order, WORDS, discount=0.7).fit(sentences)
    contexts = [[], ["the"], ["a", "dog"], ["cat", "dog"], ["a", "dog", "a", "dog"], ["runs"] * 4]
    for context in contexts:
        for word in OUTCOMES:
            expected = naive_kneser_ney(order, sentences, 0.7, OUTCOMES, word, context)
            assert model.probability(word, context) == pytest.approx(expected), (context, word)


def test_the_discount_is_estimated_from_counts_of_one_and_two():
    model = KneserNey(2, WORDS).fit(SENTENCES)
    assert isinstance(model, KneserNey)
    # Bigrams: "<sos> the", "the dog" and "sleeps <eos>" twice, the other six once.
    assert model.discounts[1] == pytest.approx(6 / (6 + 2 * 3))
    # Continuation counts: two for "sleeps" and <eos>, one for the other five.
    assert model.discounts[0] == pytest.approx(5 / (5 + 2 * 2))
    # Nothing was seen exactly twice: the usual 0.75.
    model = KneserNey(1, WORDS).fit([["dog", "runs"]])
    assert isinstance(model, KneserNey)
    assert model.discounts == [0.75]


corpora = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=6), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(
    corpora,
    st.lists(st.sampled_from(["a", "b", "c", "<sos>", "zebra"]), max_size=4),
    st.integers(1, 4),
    st.sampled_from([None, 0.1, 0.5, 1.0]),
)
def test_probabilities_sum_to_one_in_every_context(sentences, context, order, discount):
    vocabulary = Vocabulary.from_sentences(sentences, min_count=2)
    for model in (
        KneserNey(order, vocabulary, discount).fit(sentences),
        AddConstant(order, vocabulary, 0.3).fit(sentences),
    ):
        assert total(model, context) == pytest.approx(1, abs=1e-12)
        assert all(model.probability(word, context) >= 0 for word in vocabulary)


def test_pad_and_sos_are_never_written():
    for model in (AddConstant(2, WORDS).fit(SENTENCES), KneserNey(2, WORDS).fit(SENTENCES)):
        assert model.probability("<pad>", ["the"]) == model.probability("<sos>", ["the"]) == 0


def test_an_unknown_word_is_unk():
    model = KneserNey(2, WORDS).fit(SENTENCES)
    assert model.probability("zebra", ["the"]) == model.probability("<unk>", ["the"]) > 0


def test_entries_count_distinct_ngrams():
    assert AddConstant(1, WORDS).fit(SENTENCES).entries == 7  # six words and <eos>
    assert AddConstant(2, WORDS).fit(SENTENCES).entries == 9
    assert KneserNey(2, WORDS).fit(SENTENCES).entries == 9 + 7


def test_fitting_again_forgets():
    model = KneserNey(2, WORDS)
    again = model.fit([["a", "cat", "runs"]]).fit(SENTENCES)
    assert again is model
    assert model.counts == KneserNey(2, WORDS).fit(SENTENCES).counts


# --- perplexity -----------------------------------------------------------------------------


def test_perplexity_counts_words_and_sentence_ends():
    model = AddConstant(2, WORDS).fit(SENTENCES)
    # the | <sos>, dog | the, runs | dog, <eos> | runs
    probabilities = [3 / 11, 3 / 10, 2 / 10, 2 / 9]
    assert [math.exp(x) for x in model.log_probabilities([["the", "dog", "runs"]])] == (
        pytest.approx(probabilities)
    )
    assert perplexity(model, [["the", "dog", "runs"]]) == pytest.approx(
        math.prod(probabilities) ** (-1 / 4)
    )


def test_knowing_nothing_has_the_perplexity_of_a_fair_die():
    flat = AddConstant(3, WORDS, constant=1e9).fit(SENTENCES)
    assert perplexity(flat, SENTENCES) == pytest.approx(8, rel=1e-6)


def test_more_unk_makes_any_model_look_better():
    sentences = [[first, second] for first in "abcdef" for second in "uvwxyz"]
    scores = [
        perplexity(KneserNey(2, vocabulary).fit(sentences), sentences)
        for vocabulary in (Vocabulary.from_sentences(sentences), Vocabulary([]))
    ]
    assert scores[1] < scores[0] / 2


# --- the neural model -----------------------------------------------------------------------


def small(direct: bool = False, **kwargs) -> NeuralLanguageModel:
    torch.manual_seed(0)
    return NeuralLanguageModel(
        WORDS, window=3, embedding_dim=5, hidden_dim=7, direct=direct, **kwargs
    )


@pytest.mark.parametrize("direct", [False, True])
def test_neural_model_is_equation_1(direct):
    model = small(direct)
    rows = model.embedding.weight
    context = torch.tensor([[SOS, 4, 5], [9, 8, 9]])
    for result, ids in zip(model(context), context.tolist(), strict=True):
        x = torch.cat([rows[i] for i in ids])
        y = model.output.bias + model.output.weight @ torch.tanh(
            model.hidden.bias + model.hidden.weight @ x
        )
        if model.direct is not None:
            y = y + model.direct.weight @ x
        possible = [i for i in range(len(WORDS)) if i not in (PAD, SOS)]
        expected = y[possible].exp() / y[possible].exp().sum()
        torch.testing.assert_close(result.exp()[possible], expected)
        assert result[PAD] == result[SOS] == -math.inf


def test_every_position_of_the_window_shares_one_matrix():
    model = small()
    model(torch.tensor([[6, 6, 7]]))[0, EOS].backward()
    assert model.embedding.weight.grad is not None
    touched = model.embedding.weight.grad.abs().sum(dim=1) > 0
    assert touched.nonzero()[:, 0].tolist() == [6, 7]


def test_neural_model_sees_its_window_and_no_more():
    model = small()
    assert model.probability("dog", ["a", "cat", "runs", "the"]) == model.probability(
        "dog", ["the", "cat", "runs", "the"]
    )
    assert model.probability("dog", ["cat", "runs", "the"]) != model.probability(
        "dog", ["dog", "runs", "the"]
    )


def test_neural_probabilities_sum_to_one():
    model = small(direct=True)
    for context in ([], ["the"], ["the", "cat", "zebra", "runs"]):
        assert total(model, context) == pytest.approx(1, abs=1e-5)


def test_neural_log_probabilities_are_those_of_probability():
    model = small(dropout=0.5)
    model.train()
    sentence = ["the", "cat", "sleeps"]
    found = model.log_probabilities([sentence])
    expected = [
        math.log(model.probability(word, sentence[:position]))
        for position, word in enumerate([*sentence, "<eos>"])
    ]
    assert found == pytest.approx(expected, abs=1e-5)
    assert model.training, "evaluating must not leave the model in another mode"


def test_neural_model_learns_what_can_be_learned():
    model = small()
    before = perplexity(model, SENTENCES)
    losses = model.fit(SENTENCES, epochs=80, batch_size=5, learning_rate=0.05, seed=1)
    assert losses[-1] < losses[0]
    # Three equally frequent sentences: no model can be below 3^(1/4) per token.
    best = 3 ** (1 / 4)
    assert best - 1e-3 < perplexity(model, SENTENCES) < 1.05 * best < before
    assert model.probability("dog", ["the"]) > 0.95
    assert not model.training


def test_fitting_is_reproducible_and_the_seed_matters():
    losses = [small().fit(SENTENCES, epochs=3, batch_size=2, seed=seed) for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddConstant(0, WORDS), "order must be at least 1"),
        (lambda: AddConstant(2, WORDS, -1.0), "constant must be at least 0"),
        (lambda: KneserNey(2, WORDS, 0.0), "discount must be above 0"),
        (lambda: KneserNey(2, WORDS, 1.5), "at most 1, got 1.5"),
        (lambda: KneserNey(2, WORDS).probability("dog"), r"call fit\(sentences\) first"),
        (lambda: KneserNey(2, WORDS).fit([]), "at least one is needed"),
        (lambda: KneserNey(2, WORDS).fit([["a"], []]), "number 1 .* is empty"),
        (lambda: KneserNey(2, WORDS).fit(["the dog runs"]), "tokenize first"),
        (lambda: perplexity(KneserNey(2, WORDS).fit(SENTENCES), []), "at least one"),
        (lambda: NeuralLanguageModel(WORDS, window=0), "window must be at least 1, got 0"),
        (lambda: NeuralLanguageModel(WORDS, hidden_dim=0), "hidden_dim"),
        (lambda: small()(torch.zeros(2, 4, dtype=torch.long)), r"\(batch, 3\), got \(2, 4\)"),
        (lambda: small()(torch.full((2, 3), 10)), "token id 10 is outside the vocabulary of 10"),
        (lambda: small()(torch.full((2, 3), -1)), "token id -1 is outside"),
        (lambda: small().fit(SENTENCES, epochs=0), "epochs must be at least 1"),
        (lambda: small().fit(SENTENCES, batch_size=0), "batch_size must be at least 1"),
        (lambda: small().fit([]), "at least one is needed"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_progress_bar_shows_the_loss(capsys):
    small().fit(SENTENCES, epochs=1, progress=True)
    assert "loss=" in capsys.readouterr().err
