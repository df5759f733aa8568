"""What makes it fast, one by one: each fast form against the readable one, on a random batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from attnbook.attention import Attention
from attnbook.batches import Batch
from attnbook.benchmark.section import Section, Table, cell
from attnbook.benchmark.turns import Work, forward_and_backward
from attnbook.benchmark.workload import Workload
from attnbook.decoders import RecurrentDecoder, attend_step_by_step, recur_step_by_step
from attnbook.decoding import largest
from attnbook.encoder import Encoder, RecurrentState, read_sentences
from attnbook.losses import output_cross_entropy
from attnbook.seam import as_written
from attnbook.vocabulary import PAD

__all__ = ["LEVERS", "Lever", "LeversSection"]


@dataclass(frozen=True)
class Lever:
    """One computation twice.

    Attributes:
        fast: as the package does it.
        readable: as a chapter shows it.
    """

    fast: Work
    readable: Work


def _exchanged(work: Work) -> Lever:
    """Work in which functions are exchanged for faster ones, and the same work as it is written."""

    def written() -> float:
        with as_written():
            return work()

    return Lever(work, written)


def _bahdanau(workload: Workload) -> tuple[RecurrentDecoder[Any], Attention]:
    """Bahdanau's decoder, and its attention with additive scores."""
    decoder = workload.build("additive").train().decoder
    assert isinstance(decoder, RecurrentDecoder)
    assert decoder.attention is not None
    return decoder, decoder.attention


def unpacked_reading(workload: Workload, batch: Batch) -> Lever:
    """The encoder reads padded sentences as they are, or packs them."""
    encoder = workload.build("dot").train().encoder
    assert isinstance(encoder, Encoder)
    layer = encoder.recurrent
    with torch.no_grad():
        embedded = encoder.embedding(batch.source)

    def read() -> Tensor:
        return read_sentences(layer, embedded, batch.source_lengths)[0].sum()

    return _exchanged(forward_and_backward(read, layer))


def keys_once(workload: Workload, batch: Batch) -> Lever:
    """The additive score projects the keys before the first step, or at every step."""
    score = _bahdanau(workload)[1].score
    query, keys = _query_and_keys(workload, batch)
    steps = batch.target_in.shape[1]

    def once() -> Tensor:
        projected = score.project_keys(keys)
        return torch.stack([score.score(query, projected).sum() for _ in range(steps)]).sum()

    def every_step() -> Tensor:
        scores = [score.score(query, score.project_keys(keys)).sum() for _ in range(steps)]
        return torch.stack(scores).sum()

    return Lever(forward_and_backward(once, score), forward_and_backward(every_step, score))


def additive_steps(workload: Workload, batch: Batch) -> Lever:
    """The additive score's steps note what they read, or leave it to autograd."""
    _, attention = _bahdanau(workload)
    query, keys = _query_and_keys(workload, batch)
    sentences, steps = batch.target_in.shape
    mask = batch.source_mask.unsqueeze(1)

    def walk() -> Tensor:
        projected = attention.score.project_keys(keys)
        attend = attend_step_by_step(attention, projected, sentences, steps)
        found = [attend(query, keys, keys, mask).context.sum() for _ in range(steps)]
        return torch.stack(found).sum()

    return _exchanged(forward_and_backward(walk, attention))


def _query_and_keys(workload: Workload, batch: Batch) -> tuple[Tensor, Tensor]:
    """A query for each sentence, and its states, which want a gradient."""
    width, device = workload.plan.hidden_dim, workload.device
    sentences, source = batch.source.shape
    query = torch.randn(sentences, 1, width, device=device)
    return query, torch.randn(sentences, source, width, device=device, requires_grad=True)


def one_call(workload: Workload, batch: Batch) -> Lever:
    """A Luong decoder without input feeding reads all words in one call, or word by word."""
    translator = workload.build("dot").train()
    decoder, steps = translator.decoder, batch.target_in.shape[1]
    with torch.no_grad():
        encoded = translator.encode(batch.source, batch.source_lengths)

    def fused() -> Tensor:
        readouts: Tensor = decoder(batch.target_in, encoded).readouts
        return readouts.sum()

    def word_by_word() -> Tensor:
        cache, total = decoder.start(encoded), torch.zeros((), device=workload.device)
        for step in range(steps):
            output = decoder(batch.target_in[:, step : step + 1], cache)
            cache, total = output.cache, total + output.readouts.sum()
        return total

    return Lever(
        forward_and_backward(fused, translator), forward_and_backward(word_by_word, translator)
    )


def logits_at_tokens(workload: Workload, batch: Batch) -> Lever:
    """Logits in blocks, and only where there is a token, or everywhere at once."""
    output, mask = workload.build("dot").train().decoder.output, batch.target_mask
    shape = (*batch.target_in.shape, workload.plan.embedding_dim)
    readouts = torch.randn(*shape, device=workload.device, requires_grad=True)

    def at_tokens() -> Tensor:
        return output_cross_entropy(output, readouts[mask], batch.target_out[mask])[0]

    def everywhere() -> Tensor:
        logits = output(readouts).flatten(0, 1)
        return functional.cross_entropy(logits, batch.target_out.flatten(), ignore_index=PAD)

    return Lever(forward_and_backward(at_tokens, output), forward_and_backward(everywhere, output))


def lstm_steps(workload: Workload, batch: Batch) -> Lever:
    """The decoder's LSTM steps note what they read, or leave it to autograd."""
    decoder, _ = _bahdanau(workload)
    layer = decoder.recurrent
    sentences, steps = batch.target_in.shape
    width, device = workload.plan.hidden_dim, workload.device
    with torch.no_grad():
        words = decoder.embedding(batch.target_in)
    zero = torch.zeros(1, sentences, width, device=device)
    context = torch.randn(sentences, width, device=device)

    def walk() -> Tensor:
        step, state = recur_step_by_step(layer, words), RecurrentState(zero, zero)
        for _ in range(steps):
            found, state = step(context, state)
        return found.sum()

    return _exchanged(forward_and_backward(walk, layer))


def ranking(workload: Workload, batch: Batch) -> Lever:
    """The best of all beams' vocabularies: among the best groups alone, or among all words."""
    beam_size = workload.plan.beam_size
    beams = torch.randn(64, beam_size * len(workload.target), device=workload.device)
    count = 2 * beam_size

    def rank() -> float:
        with torch.inference_mode():
            largest(beams, count)
        return 1.0

    return _exchanged(rank)


def fused_adam(workload: Workload, batch: Batch) -> Lever:
    """Adam in one kernel, or torch's usual one."""

    def work(fused: bool | None) -> Work:
        parameters = list(workload.build("dot").parameters())
        for one in parameters:
            one.grad = torch.randn_like(one)
        optimizer = torch.optim.Adam(parameters, fused=fused)

        def once() -> float:
            optimizer.step()
            return 1.0

        return once

    return Lever(work(fused=True), work(fused=None))


# By the names of the result and of the page.
LEVERS: dict[str, Callable[[Workload, Batch], Lever]] = {
    "unpacked": unpacked_reading,
    "once": keys_once,
    "fused": one_call,
    "tokens": logits_at_tokens,
    "lstm-steps": lstm_steps,
    "additive-steps": additive_steps,
    "ranking": ranking,
    "adam": fused_adam,
}


class LeversSection(Section):
    """Each lever on and off."""

    name = "levers"
    one_thread = True

    def measure(self, threads: int) -> None:
        """All take turns, on one random batch."""
        batch = self.workload.batches("random")[0]
        levers = {name: build(self.workload, batch) for name, build in LEVERS.items()}
        works = {f"{name} fast": lever.fast for name, lever in levers.items()}
        works |= {f"{name} plain": lever.readable for name, lever in levers.items()}
        rates = self.bench.take_turns("levers", works)
        for name in levers:
            fast, plain = rates[f"{name} fast"].compared, rates[f"{name} plain"].compared
            self.result[name] = {
                "fast_ms": 1e3 / fast,
                "plain_ms": 1e3 / plain,
                "ratio": fast / plain,
            }

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """A lever in each row."""
        rows = [
            (name, *(cell(entry[key], ".2f") for key in ("fast_ms", "plain_ms", "ratio")))
            for name, entry in result.get(cls.name, {}).items()
        ]
        head = ("lever", "ms, fast", "ms, readable", "times as fast")
        return [Table("What makes it fast: one random batch", head, rows)] if rows else []
