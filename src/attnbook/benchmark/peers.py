"""The same models from other libraries, with the same weights: first equal, then timed."""

from __future__ import annotations

import runpy
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from attnbook.batches import Batch, bucketed_batches, collate
from attnbook.benchmark.machine import version
from attnbook.benchmark.section import (
    TOLERANCE,
    Bench,
    Section,
    Table,
    cell,
    clock,
    number_at,
    threads_key,
)
from attnbook.benchmark.turns import Work, versus
from attnbook.benchmark.workload import search, update
from attnbook.seq2seq import Translator
from attnbook.vocabulary import Vocabulary

__all__ = ["Peer", "PeersSection", "Sizes", "load_adapters", "loss_difference"]

# So many of the translations by greedy search must be the same.
LEAST_SAME = 0.99


@dataclass(frozen=True)
class Sizes:
    """What two implementations of one model must have in common.

    Attributes:
        embedding: width of a word's vector.
        hidden: width of a state.
        source: vocabulary of the source side.
        target: vocabulary of the target side.
    """

    embedding: int
    hidden: int
    source: Vocabulary
    target: Vocabulary


class Peer(ABC):
    """One model twice: from this package, and from another library with the same weights.

    It is built where torch's default device is the one that is measured.

    Attributes:
        package: the library's name in the package index.
        notes: what had to be set, and on which side, for both to be the same model.
        ours: this package's half.
        theirs: the other.
        translates: whether the library has a search of its own, :meth:`search`.
    """

    package: str = ""
    notes: str = ""
    translates: bool = False
    ours: Translator
    theirs: nn.Module

    @abstractmethod
    def copy_weights(self) -> None:
        """Give ``theirs`` the weights of ``ours``."""

    @abstractmethod
    def batch(self, batch: Batch) -> Any:
        """A batch as the library's own loader would hand it over; outside the clock."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The library's cross-entropy, mean over tokens, without smoothing."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam as the library sets it up."""

    def search(self, batch: Any, beam_size: int, limit: int) -> list[list[int]]:
        """Translations by the library's own search, in the order of the batch.

        Args:
            batch: what :meth:`batch` gave.
            beam_size: 1 is greedy search.
            limit: most words, ``<eos>`` counted.
        """
        raise NotImplementedError


def load_adapters(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``PEERS`` of a Python file, and its ``ATTENTION_PEERS`` if it has some.

    Each maps a name to what builds the peer: from :class:`Sizes` a :class:`Peer`, and from a width
    an :class:`~attnbook.benchmark.attention.AttentionPeer`.

    Raises:
        ValueError: the file is not Python, fails when it is run, or has no such dicts.
        OSError: the file cannot be read.
    """
    path.read_bytes()  # one that cannot be read is told from one that fails
    try:
        names = runpy.run_path(str(path), run_name="attnbook_peers")
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path} cannot be run as Python: {type(error).__name__}: {error}"
        ) from error
    found = names.get("PEERS"), names.get("ATTENTION_PEERS", {})
    for name, adapters in zip(("PEERS", "ATTENTION_PEERS"), found, strict=True):
        if not isinstance(adapters, dict) or not all(map(callable, adapters.values())):
            raise ValueError(
                f"{path} must define {name}, a dict from a name to a function that builds the peer"
            )
    peers, attention_peers = found
    return dict(peers or {}), dict(attention_peers)


class PeersSection(Section):
    """Training, greedy and beam search of each pair of models."""

    name = "peers"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        sizes = Sizes(
            self.plan.embedding_dim,
            self.plan.hidden_dim,
            self.workload.source,
            self.workload.target,
        )
        self.peers: dict[str, Peer] = bench.build_each(bench.peers, sizes)
        self.pretrained: dict[str, dict[str, Tensor]] = {}
        for name, peer in self.peers.items():
            self.result[name] = {
                "package": peer.package,
                "version": version(peer.package),
                "notes": peer.notes,
            }

    def _pretrain(self, name: str, peer: Peer) -> None:
        """Train our half for some steps, so that it ends its sentences."""
        optimizer = torch.optim.Adam(peer.ours.parameters(), lr=3e-3, fused=True)
        examples = self.workload.examples
        cut = bucketed_batches(examples, self.plan.batch_tokens, seed=self.plan.seed)
        steps = [cut[number % len(cut)] for number in range(self.plan.pretraining_steps)]
        peer.ours.train()
        for rows in tqdm(steps, desc=f"{name}: pretraining", disable=not self.bench.progress):
            batch = collate([examples[one] for one in rows]).to(self.bench.device)
            self.workload.step(peer.ours, batch, optimizer)
        state = peer.ours.state_dict()
        self.pretrained[name] = {key: value.clone() for key, value in state.items()}

    def measure(self, threads: int) -> None:
        """Pair by pair; one whose losses differ is not timed, and not asked to translate."""
        key = threads_key(threads)
        for name, peer in self.peers.items():
            if peer.translates and name not in self.pretrained:
                self._pretrain(name, peer)
            equal = [self._train(name, batching, key) for batching in self.plan.batching]
            if peer.translates and all(equal):
                peer.ours.load_state_dict(self.pretrained[name])
                peer.copy_weights()
                for kind, beam_size in (("greedy", 1), ("beam", self.plan.beam_size)):
                    for batching in self.plan.batching:
                        self._translate(name, kind, beam_size, batching, key)

    def _train(self, name: str, batching: str, key: str) -> bool:
        """Time training; False if the two losses of one batch differ."""
        peer = self.peers[name]
        batches = self.workload.batches(batching)
        theirs = [peer.batch(batch) for batch in batches]
        difference = loss_difference(peer, batches[0], theirs[0])
        entry: dict[str, Any] = self.result[name].setdefault(batching, {})
        entry["loss_difference"] = difference
        if not difference < TOLERANCE:
            reason = f"the losses differ by {difference:.2g}"
            self.bench.refuse(entry, f"{name}, {batching} batches", reason)
            return False
        works = self._training_works(peer, batches, theirs)
        rates = self.bench.take_turns(f"{name}, {batching}, {key}", works)
        add(entry, key, versus(rates, "tokens"))
        peer.copy_weights()
        return True

    def _training_works(
        self, peer: Peer, batches: Sequence[Batch], theirs: Sequence[Any]
    ) -> dict[str, Work]:
        peer.ours.train()
        peer.theirs.train()
        our_optimizer, their_optimizer = self.workload.optimizer(peer.ours), peer.optimizer()
        tokens = float(sum(batch.target_tokens for batch in batches))

        def train_ours() -> float:
            return sum(self.workload.step(peer.ours, batch, our_optimizer) for batch in batches)

        def train_theirs() -> float:
            for batch in theirs:
                update(peer.theirs, peer.loss(batch), their_optimizer)
            return tokens

        return {"ours": train_ours, "theirs": train_theirs}

    def _translate(self, name: str, kind: str, beam_size: int, batching: str, key: str) -> None:
        """Time a search; greedy search has to find the same words on both sides."""
        batches = self.workload.to_translate(batching)
        works, written = _search_works(self.peers[name], batches, beam_size)
        for work in works.values():
            work()
        pairs = list(zip(written["ours"], written["theirs"], strict=True))
        same = sum(one == other for one, other in pairs) / len(pairs)
        entry: dict[str, Any] = self.result[name].setdefault(kind, {}).setdefault(batching, {})
        entry["same_words"] = same
        entry["mean_words"] = statistics.fmean(len(one) for one, _ in pairs)
        entry["mean_words_theirs"] = statistics.fmean(len(other) for _, other in pairs)
        if beam_size == 1 and same < LEAST_SAME:
            reason = f"only {same:.0%} of the translations are the same"
            self.bench.refuse(entry, f"{name}, {kind}, {batching}", reason)
            return
        rates = self.bench.take_turns(f"{name}, {kind}, {batching}, {key}", works)
        add(entry, key, versus(rates, "sentences"))

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """A pair in each row; training and both searches, by batching."""
        measured: Mapping[str, Any] = result.get(cls.name, {})
        if not measured:
            return []
        batching = result["benchmark"]["plan"]["batching"]
        columns: dict[str, tuple[str, ...]] = {f"training, {one}": (one,) for one in batching}
        for kind in ("greedy", "beam"):
            columns |= {f"{kind}, {one}": (kind, one) for one in batching}
        rows = [
            (name, *(cell(number_at(entry, *path, "ratio"), ".2f") for path in columns.values()))
            for name, entry in measured.items()
        ]
        title = "Times as fast as the peer" + (", CPU time" if "cpu" in clock(result)[0] else "")
        return [Table(title, ("peer", *columns), rows)]


def loss_difference(peer: Peer, batch: Batch, theirs: Any) -> float:
    """By how much the two losses of one batch differ, relative to ours, without dropout."""
    peer.copy_weights()
    modes = peer.ours.training, peer.theirs.training
    peer.ours.eval()
    peer.theirs.eval()
    with torch.no_grad():
        ours, other = float(peer.ours.loss(batch).objective), float(peer.loss(theirs))
    peer.ours.train(modes[0])
    peer.theirs.train(modes[1])
    return abs(ours - other) / abs(ours)


def add(entry: dict[str, Any], key: str, measured: Mapping[str, Any]) -> None:
    """Put into the result what was measured with some threads.

    One thread, which the tables show, stands in the entry itself; more threads stand under a key
    of their own.
    """
    if key == threads_key(1):
        entry.update(measured)
    else:
        entry[key] = dict(measured)


def _search_works(
    peer: Peer, batches: Sequence[Batch], beam_size: int
) -> tuple[dict[str, Work], dict[str, list[list[int]]]]:
    """A round of translating for both, and where they leave what they have written."""
    peer.ours.eval()
    peer.theirs.eval()
    theirs = [peer.batch(batch) for batch in batches]
    limits = [2 * batch.source.shape[1] + 10 for batch in batches]
    written: dict[str, list[list[int]]] = {}

    def search_ours() -> float:
        written["ours"] = [
            list(ids)
            for batch, limit in zip(batches, limits, strict=True)
            for ids in search(peer.ours, batch, beam_size, [limit] * len(batch))
        ]
        return float(len(written["ours"]))

    def search_theirs() -> float:
        written["theirs"] = [
            ids
            for batch, limit in zip(theirs, limits, strict=True)
            for ids in peer.search(batch, beam_size, limit)
        ]
        return float(len(written["theirs"]))

    return {"ours": search_ours, "theirs": search_theirs}, written
