"""A tiny plan for the benchmark, and a peer, that several test files share."""

from __future__ import annotations

from typing import Any

import torch

from attnbook.benchmark.peers import Peer
from attnbook.benchmark.plan import Plan
from attnbook.benchmark.run import Benchmark
from attnbook.benchmark.workload import search
from attnbook.fast import GROUP
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS

TINY: dict[str, Any] = {
    "data": "synthetic",
    "words": GROUP + 7,
    "embedding_dim": 6,
    "hidden_dim": 12,
    "batch_tokens": 60,
    "batch_sentences": 4,
    "batches": 2,
    "sentences": 5,
    "repeat": 2,
    "threads": (1,),
    "beam_size": 2,
    "pretraining_steps": 1,
}
FLAGS = [
    f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "threads"
] + ["--threads", "1", "--quiet"]


class Same(Peer):
    """The same model from the same package, its loss multiplied by a factor."""

    package = "attnbook"
    notes = "made up"
    theirs: Translator

    def __init__(self, sizes, factor=1.0, translates=False, words=lambda ids: ids):
        config = RecurrentConfig(
            embedding_dim=sizes.embedding, hidden_dim=sizes.hidden, bidirectional=True, dropout=0.2
        )
        self.ours, self.theirs = (
            Translator.from_config(config, sizes.source, sizes.target) for _ in range(2)
        )
        with torch.no_grad():
            self.ours.decoder.output.bias[EOS] = 5  # untrained, it would write all that it may
        self.factor, self.translates, self.words = factor, translates, words

    def copy_weights(self):
        self.theirs.load_state_dict(self.ours.state_dict())

    def batch(self, batch):
        return batch

    def loss(self, batch):
        return self.factor * self.theirs.loss(batch).objective

    def optimizer(self):
        return torch.optim.Adam(self.theirs.parameters())

    def search(self, batch, beam_size, limit):
        found = search(self.theirs, batch, beam_size, [limit] * len(batch))
        return [self.words(list(ids)) for ids in found]


def measured(peers=None, attention_peers=None, **changes):
    """The result of a tiny run, and the lines that it said."""
    said: list[str] = []
    plan = Plan(**TINY | {"models": ("dot",)} | changes)
    benchmark = Benchmark(plan, peers, attention_peers or {}, progress=False, say=said.append)
    return benchmark.run(), said
