"""What a translator learns from 2,000 captions, and what its first word vectors have to do with it.

    python book/results/little_data.py            # writes the JSON beside it; a quarter of an hour
    python book/results/little_data.py --fresh    # measure everything again

The first part follows the first epochs of three models that differ before training alone; the
second trains with what `attnbook train` does when it is told nothing. Measured parts are kept in
the cache.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from _measure import Cache, Script, spread

from attnbook.batches import collate
from attnbook.commands.train import MIN_COUNT, USUAL
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.evaluation import bleu
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig, TrainingConfig
from attnbook.training import Epoch, train
from attnbook.vocabulary import Vocabulary

cached = Cache("little_data")
PAIRS, SEEDS, EPOCHS = 2000, (0, 1, 2), 8
# Whose word vectors begin as normal numbers of standard deviation 1; all others begin as the other
# weights do. "sharp" is "small" with scores that lie as far apart as those of "large". "untied" is
# "target" with an output matrix of its own, which begins as the other weights do.
STARTS: dict[str, tuple[str, ...]] = {
    "small": (),
    "large": ("encoder", "decoder"),
    "sharp": (),
    "source": ("encoder",),
    "target": ("decoder",),
    "untied": ("decoder",),
}
LOOKED_AT = 200  # validation pairs whose weights are looked at


def pairs() -> tuple[list[SentencePair], list[SentencePair]]:
    """The first captions, and those that decide which epoch is best."""
    return multi30k("train")[:PAIRS], multi30k("val")


def built(seed: int, start: str) -> Translator:
    """A model of the usual size before training."""
    training, _ = pairs()
    words = [
        Vocabulary.from_sentences([getattr(pair, side) for pair in training], min_count=MIN_COUNT)
        for side in ("source", "target")
    ]
    torch.manual_seed(seed)
    changed = {"embedding_std": None, "tied": start != "untied"}
    config = RecurrentConfig(**settings_of(RecurrentConfig) | changed)
    translator = Translator.from_config(config, *words)
    for part in STARTS[start]:
        torch.nn.init.normal_(getattr(translator, part).embedding.weight)
    return translator


def settings_of(config: type[Any]) -> dict[str, Any]:
    """What the command sets of these."""
    return {name: value for name, value in USUAL["recurrent"].items() if hasattr(config, name)}


@torch.no_grad()
def apart(translator: Translator) -> float:
    """How far the scores of one query lie apart: their standard deviation over the source, mean."""
    _, validation = pairs()
    examples = translator.examples(validation[:LOOKED_AT])
    found = []
    for example in examples:
        attention = translator.eval()(collate([example]), need_weights=True).attention
        assert attention is not None
        found.append(float(attention.scores[0].std(dim=-1, unbiased=False).mean()))
    return statistics.fmean(found)


def flatness(translator: Translator) -> float:
    """The weights' entropy over its largest value, log n; the mean over target words."""
    _, validation = pairs()
    rows = [
        -(row * np.log(np.maximum(row, 1e-300))).sum() / math.log(len(row))
        for weights in teacher_forced_attention(translator, validation[:LOOKED_AT])
        for row in weights
    ]
    return float(np.mean(rows))


def first_epochs(start: str, seed: int) -> dict[str, Any]:
    """How flat the weights are, and how well the model predicts, from epoch to epoch."""
    training, validation = pairs()
    translator = built(seed, start)
    if start == "sharp":
        (attention,) = translator.decoder.attentions
        attention.temperature = apart(translator) / apart(built(seed, "large"))
    found: dict[str, Any] = {"apart": apart(translator), "flatness": [flatness(translator)]}

    def look(epoch: Epoch) -> None:
        found["flatness"].append(flatness(translator))
        translator.train()

    settings = TrainingConfig(**settings_of(TrainingConfig) | {"epochs": EPOCHS, "seed": seed})
    history = train(translator, training, validation, settings, progress=False, after_epoch=look)
    return found | {"loss": [epoch.validation_loss for epoch in history.epochs]}


def starts() -> dict[str, Any]:
    """Each start over the seeds: before training and after each epoch, or after each epoch."""
    found: dict[str, Any] = {}
    for start in STARTS:
        runs = [cached(f"{start}-{seed}", first_epochs, start, seed) for seed in SEEDS]
        found[start] = {
            "apart": spread(run["apart"] for run in runs),
            "flatness": [
                spread(seeds) for seeds in zip(*(run["flatness"] for run in runs), strict=True)
            ],
            "loss": [spread(seeds) for seeds in zip(*(run["loss"] for run in runs), strict=True)],
            "runs": runs,
        }
    return found


def usual(seed: int) -> dict[str, Any]:
    """BLEU of the test captions after training with what the command does by itself."""
    training, validation = pairs()
    translator = built(seed, "large")
    settings = TrainingConfig(**settings_of(TrainingConfig) | {"seed": seed})
    history = train(translator, training, validation, settings, progress=False)
    test = multi30k("test")
    found = translate(translator, [pair.source for pair in test])
    return {
        "best_epoch": history.best.number,
        "bleu": bleu(found, [pair.target for pair in test]).score,
        "settings": asdict(settings),
    }


def defaults() -> dict[str, Any]:
    """The same with every seed."""
    runs = [cached(f"usual-{seed}", usual, seed) for seed in SEEDS]
    scores = [run["bleu"] for run in runs]
    return spread(scores) | {"seeds": scores, "runs": runs}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    starts = result["starts"]

    def apart(one: dict[str, float], other: dict[str, float]) -> bool:
        """Every seed of one is lower than every seed of the other."""
        return one["high"] < other["low"]

    last = {name: starts[name]["loss"][-1] for name in STARTS}
    order = ["large", "target", "source", "small"]
    return {
        "scores of small vectors lie thirty times closer together": 30
        * starts["small"]["apart"]["high"]
        < starts["large"]["apart"]["low"] + 0.05,
        "before training their weights are even": starts["small"]["flatness"][0]["low"] > 0.999,
        "after one epoch they are less even than those of large vectors": apart(
            starts["small"]["flatness"][1], starts["large"]["flatness"][1]
        ),
        "sharpened, small vectors do not come near large ones": apart(last["large"], last["sharp"]),
        "large on both sides, the target's, the source's, none": all(
            apart(last[one], last[other]) for one, other in itertools.pairwise(order)
        ),
        "without the tied matrix the target's vectors do less": apart(
            last["target"], last["untied"]
        ),
        "without it about seven tenths of their gain remain": 0.65
        < (last["small"]["mean"] - last["untied"]["mean"])
        / (last["small"]["mean"] - last["target"]["mean"])
        < 0.75,
        "every seed reaches 20 BLEU": result["defaults"]["low"] >= 20,
    }


SCRIPT = Script(
    doc=__doc__,
    parts={"pairs": PAIRS, "starts": starts, "defaults": defaults},
    check=check,
    cache=cached,
    seeds=SEEDS,
)

if __name__ == "__main__":
    SCRIPT.run()
