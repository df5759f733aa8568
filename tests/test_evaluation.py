"""Two perplexities and BLEU, each against the number that its definition gives."""

import math

import pytest
import sacrebleu
import torch

from attnbook.batches import collate
from attnbook.corpora import SentencePair
from attnbook.evaluation import (
    bleu,
    exact_match,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.vocabulary import EOS, PAD, SOS
from small_models import DECODERS, PAIRS, fitted, name, small

EACH = pytest.mark.parametrize("settings", DECODERS, ids=name)


def next_log_probs(translator, source, words):
    """``log p(· | words, x)`` by one call over one sentence."""
    batch = collate([(source, [4])])
    encoded = translator.encode(batch.source, batch.source_lengths)
    decoded = translator.decoder(torch.tensor([[SOS, *words]]), encoded)
    return torch.log_softmax(translator.decoder.logits(decoded.readouts[0, -1]), dim=-1).detach()


def by_hand(translator, free):
    """A perplexity word by word, sentence by sentence, as its definition reads."""
    total, count = 0.0, 0
    for source, target in translator.examples(PAIRS):
        own: list[int] = []
        for step, right in enumerate([*target, EOS]):
            log_probs = next_log_probs(translator, source, own if free else target[:step])
            total += float(log_probs[right])
            count += 1
            log_probs[[PAD, SOS, EOS]] = -math.inf
            own.append(int(log_probs.argmax()))
    return math.exp(-total / count)


@EACH
def test_teacher_forced_perplexity_is_the_product_of_the_probabilities(settings):
    translator = small(**settings).train()
    expected = by_hand(translator.eval(), free=False)
    translator.train()
    assert teacher_forced_perplexity(translator, PAIRS) == pytest.approx(expected)
    assert translator.training


@EACH
def test_free_running_perplexity_goes_its_own_way(settings):
    translator = small(**settings)
    expected = by_hand(translator, free=True)
    assert free_running_perplexity(translator, PAIRS) == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(by_hand(translator, free=False), rel=1e-3)


@pytest.mark.parametrize("decoder", ["luong", "cho", "sutskever"])
def test_the_two_agree_where_the_model_writes_the_right_words(decoder):
    translator = fitted(decoder)
    forced = teacher_forced_perplexity(translator, PAIRS)
    assert free_running_perplexity(translator, PAIRS) == pytest.approx(forced, rel=1e-5)
    assert 1.0 < forced < 1.3


def test_a_uniform_model_is_as_perplexed_as_it_has_words():
    translator = small()
    with torch.no_grad():
        translator.decoder.output.weight.zero_()
        translator.decoder.output.bias.zero_()
    assert teacher_forced_perplexity(translator, PAIRS) == pytest.approx(13)
    assert free_running_perplexity(translator, PAIRS) == pytest.approx(13)


@pytest.mark.parametrize("perplexity", [teacher_forced_perplexity, free_running_perplexity])
def test_a_perplexity_needs_pairs(perplexity):
    with pytest.raises(ValueError, match="at least one sentence pair"):
        perplexity(small(), [])


def test_an_unknown_word_counts_as_unk():
    translator = small()
    one = teacher_forced_perplexity(translator, [SentencePair(("ich",), ("sleep",))])
    other = teacher_forced_perplexity(translator, [SentencePair(("ich",), ("<unk>",))])
    assert one == other


# --- BLEU -----------------------------------------------------------------------------------------


def test_bleu_by_hand():
    # Precisions 4/5, 3/4, 2/3 and 1/2, no brevity penalty: their product is 1/5.
    score = bleu([["a", "b", "c", "d", "e"]], [["a", "b", "c", "d", "f"]])
    assert score.score == pytest.approx(100 * 0.2**0.25)
    assert score.low == score.high == score.score
    assert "tok:none" in score.signature
    # Two words less than the reference: all precisions 1, brevity penalty exp(1 - 6/4).
    assert bleu([["a", "b", "c", "d"]], [["a", "b", "c", "d", "e", "f"]]).score == pytest.approx(
        100 * math.exp(-0.5)
    )


REFERENCES = [
    ["a", "dog", "runs", "over", "the", "green", "meadow", "."],
    ["two", "men", "stand", "at", "the", "bar", ",", "and", "drink", "."],
    ["a", "child", "in", "a", "red", "t-shirt", "plays", "with", "sand", "."],
    ["nobody", "is", "at", "home", "."],
]
TRANSLATIONS = [
    ["a", "dog", "runs", "on", "the", "green", "meadow", "."],
    ["two", "men", "are", "at", "the", "bar", "and", "drink", "."],
    ["a", "child", "in", "a", "red", "t-shirt", "plays", "in", "the", "sand", "."],
    ["nobody", "is", "at", "home", "."],
]


def test_bleu_equals_sacrebleu():
    texts = [" ".join(words) for words in TRANSLATIONS]
    right = [" ".join(words) for words in REFERENCES]
    expected = sacrebleu.corpus_bleu(texts, [right], tokenize="none", force=True).score
    assert bleu(TRANSLATIONS, REFERENCES).score == pytest.approx(expected)
    assert bleu(REFERENCES, REFERENCES).score == pytest.approx(100)


def test_the_bootstrap_interval_holds_the_score_and_is_repeatable():
    one = bleu(TRANSLATIONS, REFERENCES, resamples=200)
    assert one.low < one.score < one.high
    assert one == bleu(TRANSLATIONS, REFERENCES, resamples=200)
    assert "bs:200" in one.signature
    assert "seed:12345" in one.signature
    assert one.score == bleu(TRANSLATIONS, REFERENCES).score


def test_exact_match():
    assert exact_match(TRANSLATIONS, REFERENCES) == 0.25
    assert exact_match([["a", "b"], []], [("a", "b"), ("c",)]) == 0.5


@pytest.mark.parametrize("measure", [bleu, exact_match])
def test_refusals(measure):
    with pytest.raises(ValueError, match="3 translations and 4 references"):
        measure(TRANSLATIONS[:3], REFERENCES)
    with pytest.raises(ValueError, match="at least one sentence"):
        measure([], [])
