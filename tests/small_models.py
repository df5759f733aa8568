"""Small translators and sentences that several test files share."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from attnbook.batches import collate
from attnbook.corpora import SentencePair
from attnbook.self_attention import MultiHeadAttention
from attnbook.seq2seq import Translator
from attnbook.settings import config_of
from attnbook.training import TrainingConfig, train
from attnbook.vocabulary import Vocabulary

# 11 and 13 words with the four special ones; no dimension of a test has the size of another.
SOURCE = Vocabulary(["ich", "du", "er", "bier", "brot", "trinkt", "isst"])
TARGET = Vocabulary(["i", "you", "he", "beer", "bread", "drinks", "eats", "a", "some"])

# Three pairs of different lengths, as ids: sources of 2, 5 and 3 words, targets of 4, 1 and 6.
EXAMPLES = [
    ([4, 7], [4, 9, 11, 7]),
    ([5, 10, 8, 8, 6], [5]),
    ([6, 9, 7], [6, 9, 11, 12, 7, 8]),
]

# Every decoder there is, and the encoder's two directions.
DECODERS: list[dict[str, Any]] = [
    {"decoder": "sutskever", "cell": "lstm"},
    {"decoder": "sutskever", "cell": "gru", "bidirectional": True, "layers": 2},
    {"decoder": "cho", "cell": "gru"},
    {"decoder": "cho", "cell": "lstm", "bidirectional": True, "layers": 2},
    {"decoder": "luong", "cell": "lstm"},
    {"decoder": "luong", "cell": "gru", "bidirectional": True, "layers": 2},
    {"decoder": "luong", "cell": "rnn", "score": "scaled-dot", "reverse_source": True},
    {"decoder": "luong", "cell": "lstm", "score": "general"},
    {"decoder": "luong", "cell": "gru", "score": "concat", "attention_dim": 3, "layers": 2},
    {"decoder": "luong", "cell": "lstm", "score": "additive", "input_feeding": True},
    {"decoder": "luong", "cell": "gru", "input_feeding": True, "layers": 2},
    {"decoder": "bahdanau", "cell": "gru", "score": "additive", "bidirectional": True},
    {"decoder": "bahdanau", "cell": "lstm", "score": "general", "layers": 2},
    {"decoder": "transformer", "hidden_dim": 14, "num_heads": 7, "layers": 2},
    {"decoder": "transformer", "hidden_dim": 14, "num_heads": 2, "norm": "post",
     "positions": "learned", "feedforward_dim": 9},
]  # fmt: skip


def name(settings):
    """A test's name for one of :data:`DECODERS`."""
    return "-".join(str(value) for value in settings.values())


def small(seed=0, **settings):
    """An untrained translator in float64 whose weights are large enough to tell words apart."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"hidden_dim": 14, "dropout": 0.0}
    if settings.get("decoder") != "transformer":
        sizes["embedding_dim"] = 5
    config = config_of(sizes | settings)
    translator = Translator.from_config(config, SOURCE, TARGET, name="small").double()
    for parameter in translator.parameters():
        nn.init.normal_(parameter, std=0.6)
    return translator.eval()


def encode(translator, sources):
    """Sources as a padded batch through the encoder."""
    batch = collate([(source, [4]) for source in sources])
    with torch.no_grad():
        return translator.encode(batch.source, batch.source_lengths)


def drop_everything(module):
    """Training with every probability of dropping at 1: what dropout touches is 0."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 1.0
        elif isinstance(part, nn.RNNBase | MultiHeadAttention):
            part.dropout = 1.0
    return module


PAIRS = [
    SentencePair(tuple(source.split()), tuple(target.split()))
    for source, target in [
        ("ich trinkt bier", "i drinks some beer"),
        ("du trinkt bier", "you drinks some beer"),
        ("er isst brot", "he eats bread"),
        ("ich isst brot", "i eats bread"),
        ("er trinkt", "he drinks"),
        ("du isst brot bier", "you eats bread beer"),
    ]
]


@functools.cache
def fitted(decoder="luong"):
    """A translator that has learned :data:`PAIRS` by heart."""
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"embedding_dim": 17, "hidden_dim": 34, "embedding_std": 0.5}
    config = config_of({"decoder": decoder, "cell": "gru", "dropout": 0.0} | sizes)
    translator = Translator.from_config(config, SOURCE, TARGET, name=f"fitted-{decoder}")
    settings = TrainingConfig(epochs=60, batch_tokens=60, learning_rate=0.02, label_smoothing=0.0)
    train(translator, PAIRS, PAIRS, settings, progress=False)
    return translator
