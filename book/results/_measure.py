"""What several measurement scripts share: a cache, the record of a run, and BLEU's bootstrap.

Not a measurement itself; its name begins with an underscore so that `make results` skips it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pooch
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attnbook import plots

HERE = Path(__file__).parent
FIGURES = HERE.parent / "figures"

Words = Sequence[str]
Counts = NDArray[np.int64]


class Cache:
    """Finished parts of a measurement, so that an interrupted run goes on where it stopped.

    Args:
        script: whose parts; they lie in the user's cache under this name.
        fresh: measure everything again.
    """

    def __init__(self, script: str, fresh: bool = False) -> None:
        self.folder = Path(pooch.os_cache("attnbook")) / "results" / script
        self.fresh = fresh

    def __call__(
        self, part: str, measure: Callable[[], Any], models: Sequence[Path] = (), version: int = 1
    ) -> Any:
        """The part's result; measured again when a model's file or the version has changed."""
        digest = hashlib.sha256(str(version).encode())
        for path in models:
            digest.update(path.read_bytes())
        path = self.folder / f"{part}-{digest.hexdigest()[:10]}.json"
        if self.fresh or not path.exists():
            print(f"measuring {part}", flush=True)
            result = json.dumps(measure())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(result)
        return json.loads(path.read_text())


def run(
    script: str,
    doc: str | None,
    measure: Callable[[Cache], dict[str, Any]],
    draw: Callable[[dict[str, Any]], dict[str, Figure]],
) -> None:
    """What a measurement's command does: measure what is missing, write the numbers, draw.

    Args:
        script: name of the script, of its cache and of the JSON beside it.
        doc: the script's docstring; its first line describes the command.
        measure: all numbers, finished parts from the cache.
        draw: the numbers as figures, by the names of their files.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(Cache(script, arguments.fresh))
    path = HERE / f"{script}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")
    with plots.style():
        for name, figure in draw(result).items():
            plots.save(figure, FIGURES / f"{name}.svg")
            plt.close(figure)


def record(command: str, seeds: Sequence[int], **more: Any) -> dict[str, Any]:
    """How and on what a result came about."""
    return {
        "command": command,
        "seeds": list(seeds),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.split("+")[0],
        **more,
    }


# ------------------------------------------------------------------------------- BLEU's bootstrap


def bleu_counts(translations: Sequence[Words], references: Sequence[Words]) -> Counts:
    """For each sentence what BLEU adds up: four matches, four totals, and both lengths.

    ``(sentences, 10)``: clipped n-gram matches and n-grams of the translation for n = 1 … 4, then
    the translation's and the reference's length. Sums of rows give the BLEU of any set of
    sentences, which is what a bootstrap needs.
    """
    rows = []
    for translation, reference in zip(translations, references, strict=True):
        matches, totals = [], []
        for n in range(1, 5):
            here, right = (
                Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
                for words in (translation, reference)
            )
            matches.append(sum((here & right).values()))
            totals.append(max(len(translation) - n + 1, 0))
        rows.append([*matches, *totals, len(translation), len(reference)])
    return np.array(rows, dtype=np.int64)


def bleu_of(sums: NDArray[Any]) -> NDArray[np.float64]:
    """BLEU from summed counts, ``(..., 10)`` to ``(...)``, smoothed like sacrebleu's default."""
    sums = sums.astype(float)
    matches, totals, lengths = sums[..., :4], sums[..., 4:8], sums[..., 8:]
    # "exp": the k-th order without a match counts as 1 / 2^k of one match.
    zeros = np.cumsum(matches == 0, axis=-1)
    matches = np.where(matches == 0, 1.0 / 2.0**zeros, matches)
    precision = matches / np.maximum(totals, 1.0)
    brevity = np.minimum(0.0, 1.0 - lengths[..., 1] / np.maximum(lengths[..., 0], 1.0))
    result: NDArray[np.float64] = 100 * np.exp(np.log(precision).mean(axis=-1) + brevity)
    return np.where((totals == 0).any(axis=-1) | (sums[..., :4] == 0).all(axis=-1), 0.0, result)


def resample(sentences: int, times: int, seed: int = 0) -> NDArray[np.int64]:
    """``(times, sentences)``: how often each sentence is drawn, with replacement."""
    chance = np.random.default_rng(seed)
    return chance.multinomial(sentences, np.full(sentences, 1 / sentences), size=times)


def interval(values: NDArray[Any], level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of bootstrap values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bleu_with_interval(counts: Counts, times: int = 1000) -> dict[str, float]:
    """Corpus BLEU and its 95 % bootstrap interval over sentences (Koehn 2004)."""
    low, high = interval(bleu_of(resample(len(counts), times) @ counts))
    return {"score": float(bleu_of(counts.sum(axis=0))), "low": low, "high": high}


def derangement(count: int, seed: int) -> list[int]:
    """A random order in which nobody stays in place."""
    chance = random.Random(seed)
    order = list(range(count))
    while any(i == j for i, j in enumerate(order)):
        chance.shuffle(order)
    return order
