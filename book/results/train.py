"""Train the translators of the book. Each model is one line of the table below.

    python book/results/train.py                     # all that are not there yet
    python book/results/train.py multi30k-dot        # this one
    python book/results/train.py --list

A published model is written to book/checkpoints (16-bit weights, committed), any other to
runs/models. An interrupted run goes on where its state was last kept. Everything is trained from
German to English, on one thread of a CPU in float32, or on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _measure import Missing, reading

from attnbook import checkpoints, grammar
from attnbook.attention import Attention
from attnbook.benchmark.plan import MODELS as BENCHMARKED
from attnbook.corpora import SentencePair, join_captions, multi30k
from attnbook.decoders import RecurrentDecoder
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig, TransformerConfig, TranslatorConfig
from attnbook.training import TrainingConfig, pick_device, train
from attnbook.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Model:
    """One model of the book: its shape, its data and its seed."""

    config: TranslatorConfig
    training: TrainingConfig
    data: str = "multi30k"
    published: bool = False
    min_count: int = 3

    @property
    def described(self) -> str:
        """The data in words, for the model's card."""
        return {
            "multi30k": "Multi30k task 1 (a3d2e0d), de to en, training set",
            "joined": "Multi30k task 1 (a3d2e0d), de to en, training set, joined one to three "
            "captions at a time",
            "grammar": f"attnbook.grammar.corpus({GRAMMAR}, seed=0, longest={LONGEST})",
        }[self.data]


def _config(decoder: str, **changes: Any) -> RecurrentConfig:
    cell = "gru" if decoder == "cho" else "lstm"  # each as in its paper, unless told otherwise
    usual: dict[str, Any] = {"cell": cell, "bidirectional": True, "dropout": 0.3}
    return RecurrentConfig(decoder=decoder, **usual | changes)


PLAIN = TrainingConfig(epochs=10, learning_rate=3e-3)
JOINED = TrainingConfig(epochs=6, learning_rate=3e-3)
# Larger word vectors to begin with. With them dot scores find their words in the first epoch, so
# that three seeds can be afforded, and Sutskever's decoder learns faster; Cho's learns slower.
LARGE = 0.3
GRAMMAR, LONGEST = 12_000, 20  # training pairs, and German words in the longest

MODELS: dict[str, Model] = {
    "multi30k-dot": Model(_config("luong"), PLAIN, published=True, min_count=2),
    "multi30k-cho": Model(_config("cho"), PLAIN, published=True, min_count=2),
    "multi30k-sutskever": Model(
        _config("sutskever", bidirectional=False, embedding_std=LARGE), PLAIN, min_count=2
    ),
    "multi30k-reversed": Model(
        _config("sutskever", bidirectional=False, embedding_std=LARGE, reverse_source=True),
        PLAIN,
        min_count=2,
    ),
}
for _seed in (0, 1, 2):
    # The same cell with and without attention.
    for _name, _decoder, _std in (("dot", "luong", LARGE), ("cho", "cho", None)):
        MODELS[f"joined-{_name}-{_seed}"] = Model(
            _config(_decoder, cell="gru", embedding_std=_std),
            replace(JOINED, seed=_seed),
            data="joined",
        )

# One table: who is compared with whom, everything else being equal. Sutskever's decoder is left to
# chapter 4, the Transformer to chapter 13, and Cho's learns slower from larger word vectors.
COMPARED: dict[str, dict[str, Any]] = {
    name: dict(shape)
    for name, shape in BENCHMARKED.items()
    if name not in ("sutskever", "transformer")
}
COMPARED["fixed"] = {**COMPARED["fixed"], "embedding_std": None}
# What reading in both directions is good for, on the grammar only.
FORWARD: dict[str, Any] = {"decoder": "bahdanau", "score": "additive", "bidirectional": False}
# What the root of the width does to a recurrent decoder, on the grammar only.
SCALED: dict[str, Any] = {"decoder": "luong", "score": "scaled-dot"}
_shape: dict[str, Any]
_small: dict[str, Any]
SEEDS = (0, 1, 2)
for _seed in SEEDS:
    for _name, _shape in COMPARED.items():
        _shape = {"cell": "lstm", "embedding_std": LARGE, **_shape}
        MODELS[f"compared-{_name}-{_seed}"] = Model(
            _config(**_shape), TrainingConfig(epochs=8, learning_rate=3e-3, seed=_seed), min_count=2
        )
        _small = {"embedding_dim": 32, "hidden_dim": 96, "dropout": 0.1, "embedding_std": 0.5}
        MODELS[f"grammar-{_name}-{_seed}"] = Model(
            _config(**_shape | _small),
            TrainingConfig(epochs=10, batch_tokens=1200, learning_rate=1e-2, seed=_seed),
            data="grammar",
            min_count=1,
        )
    _small = {"cell": "lstm", "embedding_dim": 32, "hidden_dim": 96, "dropout": 0.1}
    for _name, _shape in (("additive-forward", FORWARD), ("scaled-dot", SCALED)):
        MODELS[f"grammar-{_name}-{_seed}"] = Model(
            _config(**_shape | _small, embedding_std=0.5),
            TrainingConfig(epochs=10, batch_tokens=1200, learning_rate=1e-2, seed=_seed),
            data="grammar",
            min_count=1,
        )

# The Transformer of chapter 13 on the budget of the table, and on the grammar with other numbers of
# heads for chapter 12.
SMALL_TRANSFORMER: dict[str, Any] = {
    "decoder": "transformer", "layers": 2, "feedforward_dim": 192,
    "hidden_dim": 96, "dropout": 0.1,
}  # fmt: skip
# Where the sums are normalised, the peak of the rate, and the share of the steps in which it rises.
NORM_TRIALS = {
    "pre": ("pre", 3e-3, 0.05), "post": ("post", 3e-3, 0.05),
    "pre-cold": ("pre", 3e-3, 0.0), "post-cold": ("post", 3e-3, 0.0),
    "pre-gentle": ("pre", 1e-3, 0.3), "post-gentle": ("post", 1e-3, 0.3),
}  # fmt: skip
for _seed in SEEDS:
    MODELS[f"compared-transformer-{_seed}"] = Model(
        TransformerConfig(**BENCHMARKED["transformer"], hidden_dim=256, dropout=0.1),
        TrainingConfig(epochs=8, learning_rate=2e-3, warmup=0.05, seed=_seed),
        min_count=2,
    )
    _training = TrainingConfig(epochs=6, batch_tokens=1200, learning_rate=3e-3, seed=_seed)
    for _heads in (1, 2, 4, 8):
        MODELS[f"grammar-heads-{_heads}-{_seed}"] = Model(
            TransformerConfig(**SMALL_TRANSFORMER, num_heads=_heads),
            _training,
            data="grammar",
            min_count=1,
        )
    for _name, (_norm, _rate, _warmup) in NORM_TRIALS.items():
        MODELS[f"grammar-norm-{_name}-{_seed}"] = Model(
            TransformerConfig(**SMALL_TRANSFORMER | {"layers": 4}, norm=_norm),
            replace(_training, epochs=3, learning_rate=_rate, warmup=_warmup),
            data="grammar",
            min_count=1,
        )


PUBLISHED, TRAINED = ROOT / "book" / "checkpoints", ROOT / "runs" / "models"


def path_of(name: str) -> Path:
    """Where a model lies: with the book, with the package, or where it is trained."""
    folders = (PUBLISHED, ROOT / "src" / "attnbook" / "models")
    paths = [folder / f"{name}.safetensors" for folder in folders]
    return next((path for path in paths if path.exists()), TRAINED / f"{name}.safetensors")


def load(name: str) -> Translator:
    """A trained model of the table, or one that comes with the package."""
    path = path_of(name)
    if not path.exists():
        raise Missing(f"{name} is not trained yet: python book/results/train.py {name}")
    return checkpoints.load(reading(path))


def attention_of(translator: Translator) -> Attention:
    """The one attention of a decoder that has one."""
    decoder = translator.decoder
    assert isinstance(decoder, RecurrentDecoder)
    assert decoder.attention is not None
    return decoder.attention


def pairs_of(split: str, data: str) -> list[SentencePair]:
    """Multi30k as it is, ``"joined"`` one to three captions at a time (seed 0), or the grammar."""
    if data == "grammar":
        found: list[SentencePair] = getattr(grammar.corpus(GRAMMAR, seed=0, longest=LONGEST), split)
        return found
    pairs = multi30k(split)
    return join_captions(pairs, most=3, seed=0) if data == "joined" else pairs


def train_model(name: str) -> None:
    """Train one model and write it."""
    model = MODELS[name]
    pairs = pairs_of("train", model.data)
    source = Vocabulary.from_sentences((p.source for p in pairs), min_count=model.min_count)
    target = Vocabulary.from_sentences((p.target for p in pairs), min_count=model.min_count)
    torch.manual_seed(model.training.seed)
    translator = Translator.from_config(model.config, source, target, name=name).to(pick_device())
    print(f"{name}: {translator.count_parameters():,} parameters on {translator.device}")
    started = time.process_time()
    history = train(
        translator,
        pairs,
        pairs_of("val", model.data),
        model.training,
        folder=ROOT / "runs" / "states" / name,
        after_epoch=lambda epoch: print(epoch, flush=True),
    )
    card = {
        "command": f"python book/results/train.py {name}",
        "data": model.described,
        "min_count": model.min_count,
        "training": asdict(model.training),
        "parameters": translator.count_parameters(),
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best_epoch": history.best.number,
        "torch": torch.__version__,
        "device": str(translator.device),
        "threads": torch.get_num_threads(),
        "cpu_seconds": round(time.process_time() - started),
    }
    folder = PUBLISHED if model.published else TRAINED
    checkpoints.save(translator, folder / f"{name}.safetensors", card=card, half=model.published)


def main() -> None:
    """Train what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; default: all missing")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(MODELS)):
        parser.error(f"no such model: {', '.join(unknown)}; see --list")
    if arguments.list:
        for name in MODELS:
            print(f"{name:24} {'trained' if path_of(name).exists() else 'missing'}")
        return
    torch.set_num_threads(1)
    for name in arguments.names or [name for name in MODELS if not path_of(name).exists()]:
        train_model(name)


if __name__ == "__main__":
    main()
