"""From a trained translator to words: greedy search, beam search, and the trace of one sentence.

The translator gives ``p(y_t | y_1 … y_{t-1}, x)``. There are too many sentences y to try all, so
both searches build one from left to right. Greedy search takes the most probable word at each step.
Beam search keeps the ``beam_size`` best hypotheses.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from attnbook.batches import collate, pad
from attnbook.corpora import SentencePair
from attnbook.decoders import Cache, DecoderOutput
from attnbook.encoder import EncoderOutput
from attnbook.modes import evaluating
from attnbook.seam import exchangeable
from attnbook.seq2seq import Translator
from attnbook.subwords import word_numbers
from attnbook.trace import AttentionMaps, Candidate, DecodingTrace
from attnbook.vocabulary import EOS, PAD, SOS

__all__ = [
    "Hypothesis",
    "beam_search",
    "decode",
    "default_max_lengths",
    "greedy_search",
    "search",
    "teacher_forced_attention",
    "translate",
]

# Greedy search drops its finished sentences when no more than this part of a batch still runs.
LEAVE = 0.8
# More is no search that anybody wants, and takes all memory, or all digits.
MAX_BEAM, MAX_PENALTY = 1000, 10

C = TypeVar("C", bound=Cache)


@dataclass(frozen=True)
class Hypothesis:
    """A translation, or the beginning of one.

    Attributes:
        ids: the words, ``<eos>`` included if it was reached.
        log_prob: ``Σ_t log p(y_t | y_<t, x)`` in nats.
    """

    ids: tuple[int, ...]
    log_prob: float

    @property
    def finished(self) -> bool:
        """Whether it ends with ``<eos>``."""
        return bool(self.ids) and self.ids[-1] == EOS

    def score(self, length_penalty: float) -> float:
        """``log_prob / length ** length_penalty``; 1 is the mean per word, 0 the plain sum."""
        divisor: float = float(len(self.ids)) ** length_penalty
        return self.log_prob / divisor


def default_max_lengths(translator: Translator, source: EncoderOutput) -> list[int]:
    """So many words may a translation have: twice the source's, and ten more.

    The limit is each sentence's own. One limit for a batch would let a sentence's translation
    depend on its neighbours. A Transformer with learned positions has a last one.
    """
    most = translator.decoder.max_positions
    wanted = [2 * int(words) + 10 for words in source.mask.sum(dim=1)]
    return wanted if most is None else [min(most, words) for words in wanted]


@torch.inference_mode()
def greedy_search(
    translator: Translator, source: EncoderOutput, max_lengths: Sequence[int] | None = None
) -> list[Hypothesis]:
    """At each step the most probable word, fed back, until ``<eos>`` or the greatest length.

    Args:
        translator: in evaluation mode (dropout off), or the result is random.
        source: what :meth:`~attnbook.seq2seq.Translator.encode` gave.
        max_lengths: most words each translation may have, ``<eos>`` counted; see
            :func:`default_max_lengths`.
    """
    max_lengths = _max_lengths(translator, source, max_lengths)
    cache = translator.decoder.start(source)
    word = torch.full((len(max_lengths), 1), SOS, device=source.states.device)
    words: list[list[int]] = [[] for _ in max_lengths]
    totals = [0.0] * len(max_lengths)
    running = list(range(len(max_lengths)))  # sentences by row; a finished one leaves in time
    unfinished = set(running)
    while unfinished:
        logits, normalisers, cache = _next_word(translator, word, cache)
        best, chosen = largest(logits, 1)
        log_probs = (best[:, 0] - normalisers).tolist()
        for number, log_prob, (found,) in zip(running, log_probs, chosen.tolist(), strict=True):
            if number in unfinished:
                words[number].append(found)
                totals[number] += log_prob
                if found == EOS or len(words[number]) == max_lengths[number]:
                    unfinished.remove(number)
        word = chosen
        if len(unfinished) <= LEAVE * len(running):
            kept = [row for row, number in enumerate(running) if number in unfinished]
            running = [running[row] for row in kept]
            rows = torch.tensor(kept, dtype=torch.int64, device=word.device)
            word, cache = word[rows], cache.select(rows, rows)
    return [Hypothesis(tuple(ids), total) for ids, total in zip(words, totals, strict=True)]


class Continuation(NamedTuple):
    """A hypothesis with one more word.

    Attributes:
        log_prob: of all its words.
        hypothesis: the number in the beam of what is continued.
        word: the id of the word that is added.
    """

    log_prob: float
    hypothesis: int
    word: int


class _Beam:
    """The hypotheses of one sentence: unfinished ones, side by side, and finished ones.

    Args:
        size: how many unfinished ones are kept.
        max_length: most words of a translation.
    """

    def __init__(self, size: int, max_length: int) -> None:
        self.size, self.max_length = size, max_length
        # At the start all are the same empty one, so that only the first may be continued.
        self.words: list[tuple[int, ...]] = [()] * size
        self.log_probs = [0.0] + [-math.inf] * (size - 1)
        self.finished: list[Hypothesis] = []

    def expand(self, ranked: Sequence[Continuation]) -> list[Continuation] | None:
        """Take the best continuations of all hypotheses, best first.

        Those among the first ``size`` that end the sentence are set aside, and of the others so
        many go on.

        Returns:
            The ``size`` that go on, or None if the sentence is done.
        """
        for one in ranked[: self.size]:
            if one.word == EOS and one.log_prob > -math.inf:
                self.finished.append(self._with(one))
        alive = [one for one in ranked if one.word != EOS and one.log_prob > -math.inf]
        alive = alive[: self.size]
        last = len(self.words[0]) + 1 == self.max_length
        if last or not alive:
            # Cut short: what is unfinished counts only if nothing was finished.
            self.finished = self.finished or [self._with(one) for one in alive]
            return None
        if len(self.finished) >= self.size:
            return None
        while len(alive) < self.size:  # a vocabulary smaller than the beam
            alive.append(alive[0]._replace(log_prob=-math.inf))
        self.words = [(*self.words[one.hypothesis], one.word) for one in alive]
        self.log_probs = [one.log_prob for one in alive]
        return alive

    def best(self, length_penalty: float) -> list[Hypothesis]:
        """The finished translations, best first."""
        ranked = sorted(self.finished, key=lambda found: -found.score(length_penalty))
        return ranked[: self.size]

    def _with(self, one: Continuation) -> Hypothesis:
        return Hypothesis((*self.words[one.hypothesis], one.word), one.log_prob)


@torch.inference_mode()
def beam_search(
    translator: Translator,
    source: EncoderOutput,
    max_lengths: Sequence[int] | None = None,
    *,
    beam_size: int = 5,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Keep the ``beam_size`` best hypotheses at every step.

    Every kept hypothesis is continued with every word; of all continuations the best survive. One
    that ends with ``<eos>`` among the best is set aside, and its place goes to the next
    unfinished one. A sentence is done when ``beam_size`` translations are set aside, or at its
    greatest length.

    Args:
        translator: in evaluation mode (dropout off), or the result is random.
        source: what :meth:`~attnbook.seq2seq.Translator.encode` gave.
        max_lengths: see :func:`default_max_lengths`.
        beam_size: hypotheses kept for each sentence.
        length_penalty: see :meth:`Hypothesis.score`.

    Returns:
        For each sentence its translations, best first by :meth:`Hypothesis.score`.
    """
    _check_search(beam_size, length_penalty)
    beams = [_Beam(beam_size, words) for words in _max_lengths(translator, source, max_lengths)]
    device = source.states.device
    # Row number * beam_size + k holds hypothesis k of the sentence that is running number-th.
    cache = translator.decoder.start(source, beam_size)
    word = torch.full((len(beams) * beam_size, 1), SOS, device=device)
    running = beams
    while running:
        logits, normalisers, cache = _next_word(translator, word, cache)
        so_far = torch.tensor([beam.log_probs for beam in running], device=device)
        logits += (so_far.flatten() - normalisers).unsqueeze(1)
        words = logits.shape[1]
        continued = logits.unflatten(0, (len(running), beam_size)).flatten(1)
        # Twice as many as are kept: at most beam_size of them end the sentence.
        best, places = largest(continued, min(2 * beam_size, continued.shape[1]))
        found = zip(running, best.tolist(), places.tolist(), strict=True)
        going_on: list[int] = []  # the numbers of the sentences
        rows: list[int] = []
        chosen: list[int] = []
        for number, (beam, log_probs, places) in enumerate(found):
            ranked = [
                Continuation(log_prob, *divmod(place, words))
                for log_prob, place in zip(log_probs, places, strict=True)
            ]
            if (kept := beam.expand(ranked)) is not None:
                going_on.append(number)
                rows += [number * beam_size + one.hypothesis for one in kept]
                chosen += [one.word for one in kept]
        if going_on:
            all_go_on = len(going_on) == len(running)
            cache = cache.select(
                torch.tensor(rows, device=device),
                None if all_go_on else torch.tensor(going_on, device=device),
            )
            word = torch.tensor(chosen, device=device).unsqueeze(1)
        running = [running[number] for number in going_on]
    return [beam.best(length_penalty) for beam in beams]


def translate(
    translator: Translator,
    sentences: Sequence[Sequence[str]],
    *,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    batch_tokens: int = 4000,
    progress: bool = False,
) -> list[list[str]]:
    """Translate tokenized sentences, in batches of similar length, back in the given order.

    Args:
        translator: any trained one.
        sentences: of words, for instance from :func:`attnbook.vocabulary.tokenize`.
        beam_size: 1 is greedy search.
        length_penalty: see :meth:`Hypothesis.score`.
        batch_tokens: the largest batch, sentences times beam times longest sentence.
        progress: show a bar.

    Returns:
        The words of each translation, without ``<eos>``.

    Raises:
        ValueError: a sentence is empty (the message says which), or a beam of less than 1.
    """
    if empty := [number for number, sentence in enumerate(sentences) if not sentence]:
        raise ValueError(f"sentence {empty[0]} is empty; give it at least one word")
    _check_search(beam_size, length_penalty)
    ids = [[*translator.source_ids(sentence), EOS] for sentence in sentences]
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    translations: list[list[str]] = [[] for _ in ids]
    with evaluating(translator), tqdm(total=len(ids), unit="sentence", disable=not progress) as bar:
        while order:
            size = max(1, batch_tokens // (beam_size * len(ids[order[-1]])))
            numbers, order = order[-size:], order[:-size]
            batch, lengths = pad([ids[number] for number in numbers])
            with torch.inference_mode():
                source = translator.encode(batch.to(translator.device), lengths)
            found = search(translator, source, beam_size, length_penalty)
            for number, hypothesis in zip(numbers, found, strict=True):
                words = hypothesis.ids[:-1] if hypothesis.finished else hypothesis.ids
                translations[number] = translator.target_words(words)
            bar.update(len(numbers))
    return translations


@torch.inference_mode()
def decode(
    translator: Translator,
    tokens: Sequence[str],
    *,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    temperature: float = 1.0,
    masked: Collection[int] = (),
    target: Sequence[str] | None = None,
    gold_links: Iterable[tuple[int, int]] | None = None,
    candidates: int = 5,
) -> DecodingTrace:
    """Translate one sentence and record everything on the way.

    The words are found by greedy or beam search, or given as ``target``; then the decoder reads
    them once more from the start, and each step is recorded.

    Args:
        translator: any trained one.
        tokens: the source's words, without ``<eos>``. A word that the model does not know is
            read as ``<unk>``, but stands in the trace as it was given. Of a model with subwords
            the trace holds their pieces.
        beam_size: 1 is greedy search.
        length_penalty: see :meth:`Hypothesis.score`.
        temperature: scores are divided by it before the attention's softmax; 1 is the model as
            it was trained.
        masked: positions in ``tokens`` that the attention may not look at. The encoder has read
            them all the same, and its other states know of them.
        target: record how the model would have written these words instead (teacher forcing).
        gold_links: pairs ``(position in tokens, position in the target)``, kept in the trace.
        candidates: how many of the most probable words to record at each step.

    Raises:
        ValueError: an empty sentence, or a masked position outside it.
    """
    ids = [*translator.source_ids(tokens), EOS]
    words = len(ids) - 1
    places = translator.source_places(tokens)[:words]
    if outside := sorted(position for position in masked if not 0 <= position <= places[-1]):
        raise ValueError(
            f"masked position {outside[0]} lies outside the {places[-1] + 1} source words "
            "(counted from 0)"
        )
    hidden = [number for number, word in enumerate(places) if word in masked]
    backwards = translator.reverse_source

    def place(position: int) -> int:
        return words - 1 - position if backwards else position

    with evaluating(translator), _temperature(translator, temperature):
        source = translator.encode(
            torch.tensor([ids], device=translator.device),
            torch.tensor([len(ids)]),
            need_weights=True,
        )
        # A hidden word takes no room away from the translation.
        max_lengths = default_max_lengths(translator, source)
        shown = source.mask.clone()
        shown[0, [place(position) for position in hidden]] = False
        source = source._replace(mask=shown)
        if target is not None:
            written = [
                *translator.target_vocabulary.encode(translator.target_tokens(target)),
                EOS,
            ]
        else:
            found = search(translator, source, beam_size, length_penalty, max_lengths)
            written = list(found[0].ids)
        previous = torch.tensor([[SOS, *written[:-1]]], device=translator.device)
        cache = translator.decoder.start(source)
        output: DecoderOutput = translator.decoder(previous, cache, need_weights=True)
        logits = translator.decoder.logits(output.readouts[0]).cpu().double()
    log_probs = torch.log_softmax(logits, dim=-1)
    read = translator.source_tokens(tokens)[:words]
    attention = output.attention
    source_tokens = (*(read[::-1] if backwards else read), "<eos>")
    target_tokens = tuple(translator.target_vocabulary.decode(written))
    written_places = list(range(len(written)))
    if translator.target_subwords is not None:
        written_places = word_numbers(target_tokens)
    queries = None if output.queries is output.states else output.queries
    return DecodingTrace(
        model=translator.name,
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        log_probs=_array(log_probs[range(len(written)), written]),
        candidates=_candidates(translator, log_probs, candidates),
        encoder_states=_array(source.states[0]),
        decoder_states=_array(output.states[0]),
        # The mean of several heads has no scores of its own.
        scores=None if attention is None or output.cross_weights else _array(attention.scores[0]),
        weights=None if attention is None else _array(attention.weights[0]),
        contexts=None if attention is None else _array(attention.context[0]),
        queries=None if queries is None else _array(queries[0]),
        gold_links=None
        if gold_links is None
        else _links(gold_links, [place(i) for i in range(words)], places, written_places),
        maps=_maps(source, output, source_tokens, target_tokens),
    )


def _links(
    links: Iterable[tuple[int, int]],
    shown: Sequence[int],
    source_places: Sequence[int],
    target_places: Sequence[int],
) -> frozenset[tuple[int, int]]:
    """Links between words as links between the tokens of a trace.

    Args:
        links: pairs of words' numbers; of words that were not read nothing is kept.
        shown: for each source token its place in the trace.
        source_places: for each source token the number of its word.
        target_places: the same for the target.
    """
    return frozenset(
        (shown[i], j)
        for source, target in links
        for i, word in enumerate(source_places)
        if word == source
        for j in ([j for j, other in enumerate(target_places) if other == target] or [target])
    )


def _maps(
    source: EncoderOutput,
    output: DecoderOutput,
    source_tokens: tuple[str, ...],
    target_tokens: tuple[str, ...],
) -> tuple[AttentionMaps, ...]:
    """The weights of a Transformer's heads, layer by layer; nothing of any other model."""
    # A step has read the words before the one it writes.
    kinds = {
        "source": (target_tokens, source_tokens, output.cross_weights),
        "written": (target_tokens, ("<sos>", *target_tokens[:-1]), output.self_weights),
        "encoder": (source_tokens, source_tokens, source.self_weights),
    }
    return tuple(
        AttentionMaps(kind, rows, columns, np.stack([_array(one[0]) for one in layers]))
        for kind, (rows, columns, layers) in kinds.items()
        if layers
    )


def teacher_forced_attention(
    translator: Translator,
    pairs: Sequence[SentencePair],
    *,
    batch_tokens: int = 4000,
    progress: bool = False,
) -> list[NDArray[np.float64]]:
    """The attention's weights while the decoder reads the right translations (teacher forcing).

    Args:
        translator: one whose decoder attends.
        pairs: sentence pairs.
        batch_tokens: the largest batch, sentences times longest sentence.
        progress: show a bar.

    Returns:
        For each pair ``(target, source)`` with a row for each target word, ``<eos>`` left out,
        and a column for each source word, the last one for ``<eos>``; of a model with subwords
        for each piece, see :func:`attnbook.alignment.weights_of_words`. Columns are in the order
        of the sentence, also where the encoder reads backwards.

    Raises:
        ValueError: the decoder does not attend, a sentence is empty, or a source is longer than
            the model reads.
    """
    if not translator.attends:
        raise ValueError(f"{translator.name} does not attend, so it has no weights")
    examples = translator.examples(pairs)
    longest = translator.max_source_length
    for number, pair in enumerate(pairs):
        if longest is not None and len(given := translator.source_tokens(pair.source)) > longest:
            raise ValueError(
                f"pair {number}: the model reads {longest} source words, this one has {len(given)}"
            )
    order = sorted(range(len(examples)), key=lambda number: max(map(len, examples[number])))
    weights: list[NDArray[np.float64]] = [np.empty(0)] * len(examples)
    with (
        evaluating(translator),
        torch.inference_mode(),
        tqdm(total=len(order), unit="sentence", disable=not progress) as bar,
    ):
        while order:
            size = max(1, batch_tokens // (1 + max(map(len, examples[order[-1]]))))
            numbers, order = order[-size:], order[:-size]
            batch = collate([examples[number] for number in numbers]).to(translator.device)
            attention = translator(batch, need_weights=True).attention
            assert attention is not None
            for row, number in enumerate(numbers):
                words, answers = map(len, examples[number])
                found = _array(attention.weights[row, :answers, : words + 1])
                if translator.reverse_source:
                    found = np.concatenate([found[:, -2::-1], found[:, -1:]], axis=1)
                weights[number] = found
            bar.update(len(numbers))
    return weights


def search(
    translator: Translator,
    source: EncoderOutput,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    max_lengths: Sequence[int] | None = None,
) -> list[Hypothesis]:
    """The best translation of each sentence: greedy where ``beam_size`` is 1, else beam search."""
    _check_search(beam_size, length_penalty)
    if beam_size == 1:
        return greedy_search(translator, source, max_lengths)
    found = beam_search(
        translator, source, max_lengths, beam_size=beam_size, length_penalty=length_penalty
    )
    return [ranked[0] for ranked in found]


def _check_search(beam_size: int, length_penalty: float) -> None:
    if not 1 <= beam_size <= MAX_BEAM:
        raise ValueError(f"beam_size must lie between 1 and {MAX_BEAM}, got {beam_size}")
    if not abs(length_penalty) <= MAX_PENALTY:
        raise ValueError(
            f"length_penalty must lie between -{MAX_PENALTY} and {MAX_PENALTY}, got "
            f"{length_penalty}; 1 is the mean per word, 0 the plain sum"
        )


def _next_word(
    translator: Translator, word: Int[Tensor, "rows 1"], cache: C
) -> tuple[Float[Tensor, "rows words"], Float[Tensor, " rows"], C]:
    """Logits ``x`` after one more word, and ``log Σ exp(x)``; less it, they are log-probabilities.

    ``<pad>`` and ``<sos>`` are never written; the normaliser counts them, as it did in training.
    """
    output = translator.decoder(word, cache)
    logits = translator.decoder.logits(output.readouts[:, -1]).float()
    normalisers = log_normalisers(logits)
    logits[:, PAD] = logits[:, SOS] = -torch.inf
    return logits, normalisers, output.cache


@exchangeable
def log_normalisers(logits: Float[Tensor, "rows words"]) -> Float[Tensor, " rows"]:
    """``log Σ_w exp(x_w)`` of each row."""
    return logits.logsumexp(dim=1)


@exchangeable
def largest(
    values: Float[Tensor, "rows words"], count: int
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The ``count`` largest numbers of each row, largest first, and where they stand."""
    return values.topk(count, dim=1)


def _max_lengths(
    translator: Translator, source: EncoderOutput, given: Sequence[int] | None
) -> list[int]:
    if given is None:
        return default_max_lengths(translator, source)
    if len(given) != len(source.states):
        raise ValueError(f"got {len(source.states)} sentences and {len(given)} max_lengths")
    if min(given) < 1:
        raise ValueError(f"a translation needs room for at least one word, got {min(given)}")
    most = translator.decoder.max_positions
    if most is not None and max(given) > most:
        raise ValueError(
            f"max_lengths: the model has {most} positions, so {max(given)} words are too many"
        )
    return list(given)


@contextmanager
def _temperature(translator: Translator, temperature: float) -> Iterator[None]:
    """The temperature of the attention to the source, in every layer, set for a while."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    attentions = translator.decoder.attentions
    before = [attention.temperature for attention in attentions]
    try:
        for attention in attentions:
            attention.temperature = temperature
        yield
    finally:
        for attention, kept in zip(attentions, before, strict=True):
            attention.temperature = kept


def _candidates(
    translator: Translator, log_probs: Float[Tensor, "target words"], count: int
) -> tuple[tuple[Candidate, ...], ...]:
    best, chosen = log_probs.exp().topk(min(count, log_probs.shape[1]), dim=1)
    return tuple(
        tuple(
            Candidate(token, probability)
            for token, probability in zip(
                translator.target_vocabulary.decode(ids), probabilities, strict=True
            )
        )
        for ids, probabilities in zip(chosen.tolist(), best.tolist(), strict=True)
    )


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().double().numpy()
