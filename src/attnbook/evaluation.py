"""How good is a translator: two perplexities that must not be mixed, and BLEU.

*Teacher-forced* perplexity gives the model the right beginning at every step. *Free-running*
perplexity gives it its own. The second is always the harder test, and a table that holds one of
each compares nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sacrebleu
import torch
from torch.nn import functional

from attnbook.batches import Batch, bucketed_batches, collate
from attnbook.corpora import SentencePair
from attnbook.decoders import DecoderOutput
from attnbook.modes import evaluating
from attnbook.seq2seq import Translator
from attnbook.vocabulary import EOS, PAD, SOS

__all__ = [
    "Bleu",
    "bleu",
    "exact_match",
    "free_running_perplexity",
    "teacher_forced_perplexity",
]


@dataclass(frozen=True)
class Bleu:
    """A corpus BLEU score with its 95 % bootstrap interval.

    Attributes:
        score: 0 to 100.
        low: lower end of the interval; equal to the score if none was asked for.
        high: upper end.
        signature: sacrebleu's account of how it was computed.
    """

    score: float
    low: float
    high: float
    signature: str


def bleu(
    translations: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    resamples: int = 0,
) -> Bleu:
    """BLEU (Papineni et al. 2002) of tokens as they are, through sacrebleu (Post 2018).

    The texts of this course are lower-cased and cut by :func:`attnbook.vocabulary.tokenize`
    before a model sees them, and BLEU is computed on these very tokens (``tokenize="none"``).
    Scores on other tokens are not comparable.

    Args:
        translations: one sequence of words for each sentence.
        references: the same number, one reference each.
        resamples: bootstrap resamples of the test sentences (Koehn 2004) for the interval;
            sacrebleu's seed for them is 12345 and stands in the signature.

    Raises:
        ValueError: no sentence, or unequal numbers of sentences.
    """
    _check_numbers(translations, references)
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    texts = [" ".join(words) for words in translations]
    right = [" ".join(words) for words in references]
    result = metric.corpus_score(texts, [right], n_bootstrap=max(1, resamples))
    score, signature = float(result.score), str(metric.get_signature())
    said = json.loads(result.format(width=12, signature=signature, is_json=True))
    middle, spread = said.get("confidence_mean", score), said.get("confidence_var", 0.0)
    return Bleu(score, max(0.0, middle - spread), min(100.0, middle + spread), signature)


def exact_match(
    translations: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> float:
    """The share of sentences, 0 to 1, that are the reference word for word.

    It is a fair measure only where a sentence has one right translation, as in
    :mod:`attnbook.grammar`.

    Raises:
        ValueError: no sentence, or unequal numbers of sentences.
    """
    _check_numbers(translations, references)
    same = sum(
        list(words) == list(right) for words, right in zip(translations, references, strict=True)
    )
    return same / len(references)


def _check_numbers(translations: Sequence[object], references: Sequence[object]) -> None:
    if len(translations) != len(references):
        raise ValueError(f"got {len(translations)} translations and {len(references)} references")
    if not translations:
        raise ValueError("a score needs at least one sentence")


def teacher_forced_perplexity(translator: Translator, pairs: Sequence[SentencePair]) -> float:
    """``exp(-1/T Σ_t log p(y_t | y_1 … y_{t-1}, x))``: the right words before each word are given.

    T counts all target tokens, ``<eos>`` included. A word outside the vocabulary counts as
    ``<unk>``, so two models are comparable only with the same vocabulary.

    Raises:
        ValueError: no pairs.
    """
    return _perplexity(translator, pairs, _teacher_forced)


def free_running_perplexity(translator: Translator, pairs: Sequence[SentencePair]) -> float:
    """``exp(-1/T Σ_t log p(y_t | y'_1 … y'_{t-1}, x))``: the model's own words are given instead.

    ``y'`` is what greedy search writes when it is not allowed to stop before the reference does.
    The number says how probable the right word is at its place after the model has gone its own
    way; a good translation with one word more at the beginning scores badly.

    Raises:
        ValueError: no pairs.
    """
    return _perplexity(translator, pairs, _free_running)


def _perplexity(
    translator: Translator,
    pairs: Sequence[SentencePair],
    log_probs: Callable[[Translator, Batch], torch.Tensor],
) -> float:
    if not pairs:
        raise ValueError("a perplexity needs at least one sentence pair")
    examples = translator.examples(pairs)
    total, tokens = 0.0, 0
    with evaluating(translator), torch.inference_mode():
        for numbers in bucketed_batches(examples, 4000, seed=0):
            batch = collate([examples[number] for number in numbers]).to(translator.device)
            # On the CPU, because not every device has numbers of 64 bits.
            total += float(log_probs(translator, batch).cpu().double().sum())
            tokens += batch.target_tokens
    return math.exp(-total / tokens)


def _teacher_forced(translator: Translator, batch: Batch) -> torch.Tensor:
    return translator.log_probs(batch)


def _free_running(translator: Translator, batch: Batch) -> torch.Tensor:
    """``log p`` of each right word after the model's own words, one value a real token."""
    source = translator.encode(batch.source, batch.source_lengths)
    cache = translator.decoder.start(source)
    word = torch.full_like(batch.target_in[:, :1], SOS)
    steps = []
    for step in range(batch.target_out.shape[1]):
        output: DecoderOutput = translator.decoder(word, cache)
        cache = output.cache
        log_probs = torch.log_softmax(
            translator.decoder.logits(output.readouts[:, -1]).float(), dim=-1
        )
        steps.append(functional.nll_loss(log_probs, batch.target_out[:, step], reduction="none"))
        log_probs[:, [PAD, SOS, EOS]] = -torch.inf
        word = log_probs.argmax(dim=-1, keepdim=True)
    return -torch.stack(steps, dim=1)[batch.target_mask]
