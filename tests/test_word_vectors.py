"""Skip-gram, and the nearest words."""

import math
from collections import Counter
from unittest.mock import patch

import pytest
import torch
from torch.nn import functional as F

from attnbook.vocabulary import UNK, Vocabulary
from attnbook.word_vectors import SkipGram, nearest

SENTENCES = [["the", "dog", "runs"], ["the", "dog", "sleeps"], ["a", "cat", "sleeps"]]
WORDS = Vocabulary.from_sentences(SENTENCES)

# --- skip-gram ------------------------------------------------------------------------------


def test_skip_gram_loss_is_equation_4():
    torch.manual_seed(0)
    model = SkipGram(WORDS, embedding_dim=5)
    torch.nn.init.normal_(model.neighbour_embedding.weight)
    word, neighbour = torch.tensor([4, 6]), torch.tensor([7, 4])
    noise = torch.tensor([[5, 6, 7], [8, 8, 9]])
    v, v_prime = model.embedding.weight, model.neighbour_embedding.weight
    for i, loss in enumerate(model(word, neighbour, noise)):
        own = v[word[i]]
        expected = -torch.log(torch.sigmoid(v_prime[neighbour[i]] @ own))
        for n in noise[i]:
            expected = expected - torch.log(torch.sigmoid(-(v_prime[n] @ own)))
        torch.testing.assert_close(loss, expected)


def recorded_fit(sentences, vocabulary, **kwargs):
    """Fit for one epoch, and return the pairs and the noise that the model was shown."""
    model = SkipGram(vocabulary, embedding_dim=3)
    pairs: Counter[tuple[int, int]] = Counter()
    noise: Counter[int] = Counter()
    forward = model.forward

    def recording(word, neighbour, drawn):
        pairs.update(zip(word.tolist(), neighbour.tolist(), strict=True))
        noise.update(drawn.flatten().tolist())
        return forward(word, neighbour, drawn)

    with patch.object(model, "forward", recording):
        model.fit(sentences, epochs=1, **kwargs)
    return pairs, noise


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_skip_gram_pairs_are_the_neighbours_of_one_sentence(radius):
    sentences = [["a", "b", "c", "d"], ["d"], ["c", "a"]]
    vocabulary = Vocabulary.from_sentences(sentences)
    pairs, _ = recorded_fit(sentences, vocabulary, radius=radius, subsample=None)
    expected = Counter(
        (left, right)
        for ids in map(vocabulary.encode, sentences)
        for i, left in enumerate(ids)
        for j, right in enumerate(ids)
        if 0 < abs(i - j) <= radius
    )
    assert pairs == expected


def test_noise_follows_frequency_to_the_power_three_quarters():
    sentences = [["a"] * 16 + ["b"]] * 50
    vocabulary = Vocabulary.from_sentences(sentences)
    _, noise = recorded_fit(sentences, vocabulary, subsample=None, negatives=7)
    a, b = vocabulary.encode(["a", "b"])
    assert set(noise) == {a, b}
    assert noise[a] / noise[b] == pytest.approx(16**0.75, rel=0.05)


def test_subsampling_drops_frequent_words_as_in_equation_5():
    rare = [f"w{i}" for i in range(100)]
    sentences = [["often", word, "often"] for word in rare for _ in range(20)]
    vocabulary = Vocabulary.from_sentences(sentences)
    often = vocabulary.encode(["often"])[0]
    threshold = 0.03
    pairs, _ = recorded_fit(sentences, vocabulary, radius=1, subsample=threshold)
    shown = sum(count for (word, _), count in pairs.items() if word == often)
    # 2,000 sentences. "often" makes up 2/3 of the words and is kept with probability √(t / f);
    # every other word is rarer than t and always kept. An "often" meets the middle word, and
    # where that is so both ways, nobody else.
    kept = math.sqrt(threshold / (2 / 3))
    assert shown == pytest.approx(2000 * 2 * kept, rel=0.1)


def test_skip_gram_puts_words_with_the_same_neighbours_together():
    sentences = [
        [colour, thing, "here"] for colour in ("red", "blue") for thing in ("hat", "coat")
    ] + [["dogs", verb, "there"] for verb in ("run", "jump")]
    torch.manual_seed(0)
    model = SkipGram(Vocabulary.from_sentences(sentences), embedding_dim=11)
    losses = model.fit(
        sentences * 20, epochs=20, radius=2, subsample=None, batch_size=53, learning_rate=0.02
    )
    assert losses[-1] < losses[0]
    for word, other in {"red": "blue", "hat": "coat", "run": "jump"}.items():
        assert nearest(model.embedding.weight, model.vocabulary, word, 1)[0][0] == other


# --- neighbours -----------------------------------------------------------------------------


def test_nearest_is_sorted_by_cosine_and_ignores_length():
    vocabulary = Vocabulary(["a", "b", "c", "d"])
    rows = torch.zeros(8, 2)
    rows[4:] = torch.tensor([[3.0, 0.0], [0.1, 0.1], [0.0, 9.0], [-2.0, 0.0]])
    rows[UNK] = torch.tensor([1.0, 0.0])
    found = nearest(rows, vocabulary, "a", count=9)
    assert [word for word, _ in found] == ["b", "c", "d"]
    assert [cosine for _, cosine in found] == pytest.approx([math.sqrt(0.5), 0, -1], abs=1e-6)
    assert F.cosine_similarity(rows[4], rows[5], dim=0).item() == pytest.approx(found[0][1])
    assert nearest(rows, vocabulary, "c", count=1)[0][0] == "b"


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkipGram(WORDS, embedding_dim=0), "embedding_dim must be at least 1"),
        (lambda: SkipGram(WORDS).fit(SENTENCES, radius=0), "radius must be at least 1"),
        (lambda: SkipGram(WORDS).fit(SENTENCES, negatives=0), "negatives must be at least 1"),
        (lambda: SkipGram(WORDS).fit([["dog"]], subsample=None), "not one example"),
        (
            lambda: SkipGram(WORDS)(
                torch.tensor([4]), torch.tensor([4]), torch.tensor([[len(WORDS)]])
            ),
            "noise: token id 10",
        ),
        (lambda: nearest(torch.zeros(10, 3), WORDS, "zebra"), "'zebra' is not in the vocabulary"),
        (lambda: nearest(torch.zeros(9, 3), WORDS, "dog"), "9 rows do not fit a vocabulary of 10"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
