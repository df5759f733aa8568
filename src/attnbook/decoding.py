"""From a trained translator to words: greedy search, beam search, and the trace of one sentence.

The translator gives ``p(y_t | y_1 … y_{t-1}, x)``; nobody can try every sentence y, so both
searches build one from left to right. Greedy search takes the most probable word at each step.
Beam search keeps the ``beam_size`` best beginnings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from attnbook.batches import collate, pad
from attnbook.corpora import SentencePair
from attnbook.encoder import Encoded, State
from attnbook.fast import largest, log_normalisers
from attnbook.self_attention import MultiHead
from attnbook.seq2seq import Translator
from attnbook.trace import AttentionMaps, Candidate, DecodingTrace
from attnbook.transformer import TransformerDecoder, TransformerEncoder
from attnbook.vocabulary import EOS, PAD, SOS

__all__ = [
    "Hypothesis",
    "beam_search",
    "decode",
    "default_limits",
    "forced_weights",
    "greedy_search",
    "search",
    "translate",
]

# Greedy search drops its finished sentences when no more than this part of a batch still runs.
LEAVE = 0.8


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


def default_limits(encoded: Encoded) -> list[int]:
    """So many words may a translation have: twice the source's, and ten more.

    The limit is each sentence's own. One limit for a batch would let a sentence's translation
    depend on its neighbours.
    """
    return [2 * int(words) + 10 for words in encoded.mask.sum(dim=1)]


@torch.inference_mode()
def greedy_search(
    translator: Translator, encoded: Encoded, limits: Sequence[int] | None = None
) -> list[Hypothesis]:
    """At each step the most probable word, fed back, until ``<eos>`` or the limit.

    Args:
        translator: in evaluation mode (dropout off), or the result is random.
        encoded: what :meth:`~attnbook.seq2seq.Translator.encode` gave.
        limits: most words each translation may have, ``<eos>`` counted; see
            :func:`default_limits`.
    """
    limits = _limits(limits, encoded)
    encoded = translator.decoder.prepare(encoded)
    state = translator.decoder.start(encoded)
    word = torch.full((len(limits), 1), SOS, device=encoded.states.device)
    words: list[list[int]] = [[] for _ in limits]
    totals = [0.0] * len(limits)
    running = list(range(len(limits)))  # sentences by row; a finished one leaves when many have
    unfinished = set(running)
    while unfinished:
        logits, normalisers, state = _next_word(translator, word, encoded, state)
        best, chosen = largest(logits, 1)
        log_probs = (best[:, 0] - normalisers).tolist()
        for number, log_prob, (found,) in zip(running, log_probs, chosen.tolist(), strict=True):
            if number in unfinished:
                words[number].append(found)
                totals[number] += log_prob
                if found == EOS or len(words[number]) == limits[number]:
                    unfinished.remove(number)
        word = chosen
        if len(unfinished) <= LEAVE * len(running):
            kept = [row for row, number in enumerate(running) if number in unfinished]
            running = [running[row] for row in kept]
            rows = torch.tensor(kept, dtype=torch.int64, device=word.device)
            word, state = word[rows], _select_state(state, rows)
            encoded = _select(encoded, rows)
    return [Hypothesis(tuple(ids), total) for ids, total in zip(words, totals, strict=True)]


@torch.inference_mode()
def beam_search(
    translator: Translator,
    encoded: Encoded,
    limits: Sequence[int] | None = None,
    *,
    beam_size: int = 5,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Keep the ``beam_size`` best beginnings at every step.

    Every kept beginning is continued with every word; of all continuations the best survive. One
    that ends with ``<eos>`` among the best is set aside, and its place goes to the next
    unfinished one. A sentence is done when ``beam_size`` translations are set aside, or at its
    limit.

    Returns:
        For each sentence its translations, best first by :meth:`Hypothesis.score`.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    limits = _limits(limits, encoded)
    device = encoded.states.device
    encoded = translator.decoder.prepare(encoded)
    # Row number * beam_size + k holds beginning k of sentence number.
    rows = torch.arange(len(limits), device=device).repeat_interleave(beam_size)
    state = _select_state(translator.decoder.start(encoded), rows)
    encoded = encoded._replace(rows=beam_size)
    sentences = list(range(len(limits)))  # those not done, in the order of their rows
    done: list[list[Hypothesis]] = [[] for _ in limits]
    words: list[list[tuple[int, ...]]] = [[()] * beam_size for _ in limits]
    # At the start all beginnings are the same empty one: only the first may be continued.
    totals = torch.full((len(limits), beam_size), -torch.inf, device=device)
    totals[:, 0] = 0.0
    word = torch.full((len(rows), 1), SOS, device=device)
    length = 0
    while sentences:
        length += 1
        logits, normalisers, state = _next_word(translator, word, encoded, state)
        logits += (totals.flatten() - normalisers).unsqueeze(1)
        continued = logits.unflatten(0, (len(sentences), beam_size)).flatten(1)
        # Twice as many as are kept: at most beam_size of them end the sentence.
        best, place = largest(continued, min(2 * beam_size, continued.shape[1]))
        kept_rows: list[int] = []
        kept_words: list[int] = []
        kept_totals: list[list[float]] = []
        remaining: list[int] = []
        kept_sentences: list[int] = []
        ends, places = best.tolist(), place.tolist()
        for position, number in enumerate(sentences):
            alive: list[tuple[float, int, int]] = []  # total, beginning, word
            ranked = zip(ends[position], places[position], strict=True)
            for rank, (total, where) in enumerate(ranked):
                beginning, chosen = divmod(where, logits.shape[1])
                if total == -torch.inf:
                    continue
                if chosen == EOS:
                    if rank < beam_size:
                        ids = (*words[number][beginning], EOS)
                        done[number].append(Hypothesis(ids, total))
                elif len(alive) < beam_size:
                    alive.append((total, beginning, chosen))
            if length == limits[number] or not alive:
                # Cut short: what is unfinished counts only if nothing was finished.
                done[number] = done[number] or [
                    Hypothesis((*words[number][beginning], chosen), total)
                    for total, beginning, chosen in alive
                ]
                continue
            if len(done[number]) >= beam_size:
                continue
            while len(alive) < beam_size:  # a vocabulary smaller than the beam
                alive.append((-torch.inf, alive[0][1], alive[0][2]))
            words[number] = [(*words[number][beginning], chosen) for _, beginning, chosen in alive]
            kept_rows += [position * beam_size + beginning for _, beginning, _ in alive]
            kept_words += [chosen for _, _, chosen in alive]
            kept_totals.append([total for total, _, _ in alive])
            remaining.append(number)
            kept_sentences.append(position)
        if remaining:
            rows = torch.tensor(kept_rows, device=device)
            state = _select_state(state, rows)
            if len(remaining) < len(sentences):
                encoded = _select(encoded, torch.tensor(kept_sentences, device=device))
            word = torch.tensor(kept_words, device=device).unsqueeze(1)
            totals = torch.tensor(kept_totals, device=device)
        sentences = remaining
    return [
        sorted(found, key=lambda hypothesis: -hypothesis.score(length_penalty))[:beam_size]
        for found in done
    ]


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
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    ids = [[*translator.source_ids(sentence), EOS] for sentence in sentences]
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    translations: list[list[str]] = [[] for _ in ids]
    training = translator.training
    translator.eval()
    try:
        with tqdm(total=len(ids), unit="sentence", disable=not progress) as bar:
            while order:
                size = max(1, batch_tokens // (beam_size * len(ids[order[-1]])))
                numbers, order = order[-size:], order[:-size]
                source, lengths = pad([ids[number] for number in numbers])
                with torch.inference_mode():
                    encoded = translator.encode(source.to(translator.device), lengths)
                found = search(translator, encoded, beam_size, length_penalty)
                for number, hypothesis in zip(numbers, found, strict=True):
                    words = hypothesis.ids[:-1] if hypothesis.finished else hypothesis.ids
                    translations[number] = translator.target_vocabulary.decode(words)
                bar.update(len(numbers))
    finally:
        translator.train(training)
    return translations


@torch.inference_mode()
def decode(
    translator: Translator,
    tokens: Sequence[str],
    *,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    temperature: float = 1.0,
    hidden: Collection[int] = (),
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
            read as ``<unk>``, but stands in the trace as it was given.
        beam_size: 1 is greedy search.
        length_penalty: see :meth:`Hypothesis.score`.
        temperature: scores are divided by it before the attention's softmax; 1 is the model as
            it was trained.
        hidden: positions in ``tokens`` that the attention may not look at. The encoder has read
            them all the same, and its other states know of them.
        target: record how the model would have written these words instead (teacher forcing).
        gold_links: pairs ``(position in tokens, position in the target)``, kept in the trace.
        candidates: how many of the most probable words to record at each step.

    Raises:
        ValueError: an empty sentence, or a hidden position outside it.
    """
    ids = [*translator.source_ids(tokens), EOS]
    words = len(ids) - 1
    if outside := sorted(position for position in hidden if not 0 <= position < words):
        raise ValueError(
            f"hidden position {outside[0]} lies outside the {words} source words (counted from 0)"
        )
    backwards = translator.config.reverse_source

    def place(position: int) -> int:
        return words - 1 - position if backwards else position

    training = translator.training
    translator.eval()
    try:
        with _temperature(translator, temperature):
            source = torch.tensor([ids], device=translator.device)
            encoded = translator.encode(source, torch.tensor([len(ids)]))
            for position in hidden:
                encoded.mask[0, place(position)] = False
            if target is not None:
                written = [*translator.target_vocabulary.encode(target), EOS]
            else:
                written = list(search(translator, encoded, beam_size, length_penalty)[0].ids)
            previous = torch.tensor([[SOS, *written[:-1]]], device=translator.device)
            decoded = translator.decoder.recorded(previous, encoded)
            looks = _looks(translator, source, previous, encoded)
            logits = translator.decoder.logits(decoded.readouts[0]).double()
    finally:
        translator.train(training)
    log_probs = torch.log_softmax(logits, dim=-1)
    read = list(tokens[:words])
    attended = decoded.attended
    source_tokens = (*(read[::-1] if backwards else read), "<eos>")
    target_tokens = tuple(translator.target_vocabulary.decode(written))
    return DecodingTrace(
        model=translator.name,
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        log_probs=_array(log_probs[range(len(written)), written]),
        candidates=_candidates(translator, log_probs, candidates),
        encoder_states=_array(encoded.states[0]),
        decoder_states=_array(decoded.states[0]),
        scores=None if attended is None or looks else _array(attended.scores[0]),
        weights=None if attended is None else _array(attended.weights[0]),
        contexts=None if attended is None else _array(attended.context[0]),
        queries=None
        if decoded.queries is None or decoded.queries is decoded.states
        else _array(decoded.queries[0]),
        gold_links=None
        if gold_links is None
        else frozenset((place(i), j) for i, j in gold_links if i < words),
        maps=_maps(looks, source_tokens, target_tokens),
    )


def _looks(
    translator: Translator, source: Tensor, previous: Tensor, encoded: Encoded
) -> dict[str, list[MultiHead]]:
    """What the heads of a Transformer saw, layer by layer; nothing of any other model."""
    encoder, decoder = translator.encoder, translator.decoder
    if not isinstance(encoder, TransformerEncoder) or not isinstance(decoder, TransformerDecoder):
        return {}
    within: list[MultiHead] = []
    across: list[tuple[MultiHead, MultiHead]] = []
    encoder(source, torch.tensor([source.shape[1]]), looks=within)
    decoder(previous, encoded, looks=across)
    written, looked = zip(*across, strict=True)
    return {"source": list(looked), "written": list(written), "encoder": within}


def _maps(
    looks: dict[str, list[MultiHead]], source: tuple[str, ...], target: tuple[str, ...]
) -> tuple[AttentionMaps, ...]:
    # A step has read the words before the one it writes.
    words = {
        "source": (target, source),
        "written": (target, ("<sos>", *target[:-1])),
        "encoder": (source, source),
    }
    return tuple(
        AttentionMaps(
            kind,
            *words[kind],
            np.stack([_array(one.weights[0]) for one in layers if one.weights is not None]),
        )
        for kind, layers in looks.items()
    )


def forced_weights(
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
        and a column for each source word, the last one for ``<eos>``. Columns are in the order
        of the sentence, also where the encoder reads backwards.

    Raises:
        ValueError: the decoder does not attend, a sentence is empty, or a source is longer than
            the model reads.
    """
    if not translator.attends:
        raise ValueError(f"{translator.name} does not attend, so it has no weights")
    examples = translator.examples(pairs)
    longest = translator.config.longest
    for number, ((source, _), pair) in enumerate(zip(examples, pairs, strict=True)):
        if len(source) < len(pair.source):
            raise ValueError(
                f"pair {number}: the model reads {longest} source words, this one has "
                f"{len(pair.source)}"
            )
    order = sorted(range(len(examples)), key=lambda number: max(map(len, examples[number])))
    weights: list[NDArray[np.float64]] = [np.empty(0)] * len(examples)
    training = translator.training
    translator.eval()
    try:
        with tqdm(total=len(order), unit="sentence", disable=not progress) as bar:
            while order:
                size = max(1, batch_tokens // (1 + max(map(len, examples[order[-1]]))))
                numbers, order = order[-size:], order[:-size]
                batch = collate([examples[number] for number in numbers])
                with torch.inference_mode():
                    batch = batch.to(translator.device)
                    encoded = translator.encode(batch.source, batch.source_lengths)
                    attended = translator.decoder.recorded(batch.target_in, encoded).attended
                assert attended is not None
                for row, number in enumerate(numbers):
                    words = tuple(map(len, examples[number]))
                    found = _array(attended.weights[row, : words[1], : words[0] + 1])
                    if translator.config.reverse_source:
                        found = np.concatenate([found[:, -2::-1], found[:, -1:]], axis=1)
                    weights[number] = found
                bar.update(len(numbers))
    finally:
        translator.train(training)
    return weights


def search(
    translator: Translator, encoded: Encoded, beam_size: int = 1, length_penalty: float = 1.0
) -> list[Hypothesis]:
    """The best translation of each sentence: greedy where ``beam_size`` is 1, else beam search."""
    if beam_size == 1:
        return greedy_search(translator, encoded)
    found = beam_search(translator, encoded, beam_size=beam_size, length_penalty=length_penalty)
    return [ranked[0] for ranked in found]


def _next_word(
    translator: Translator, word: Int[Tensor, "batch 1"], encoded: Encoded, state: State
) -> tuple[Float[Tensor, "batch words"], Float[Tensor, " batch"], State]:
    """Logits ``x`` after one more word, and ``log Σ exp(x)``; less it, they are log-probabilities.

    ``<pad>`` and ``<sos>`` are never written; the normaliser counts them, as it did in training.
    """
    decoded = translator.decoder(word, encoded, state)
    logits = translator.decoder.logits(decoded.readouts[:, -1]).float()
    normalisers = log_normalisers(logits)
    logits[:, PAD] = logits[:, SOS] = -torch.inf
    return logits, normalisers, decoded.state


def _limits(limits: Sequence[int] | None, encoded: Encoded) -> list[int]:
    if limits is None:
        return default_limits(encoded)
    if len(limits) != len(encoded.states):
        raise ValueError(f"got {len(encoded.states)} sentences and {len(limits)} limits")
    if min(limits) < 1:
        raise ValueError(f"a translation needs room for at least one word, got {min(limits)}")
    return list(limits)


def _select(encoded: Encoded, rows: Int[Tensor, " rows"]) -> Encoded:
    prepared = None if encoded.prepared is None else encoded.prepared[rows]
    final = _select_state(encoded.final, rows)
    return Encoded(encoded.states[rows], final, encoded.mask[rows], prepared, encoded.rows)


def _select_state(state: State, rows: Int[Tensor, " rows"]) -> State:
    return tuple(part[:, rows] for part in state)


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
