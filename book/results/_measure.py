"""What the measuring scripts share: a cache, their command, and BLEU's bootstrap.

Not a measurement itself; its name begins with an underscore so that `make results` skips it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _closure
import matplotlib.pyplot as plt
import numpy as np
import pooch
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attnbook import plots

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIGURES, TRACES = HERE.parent / "figures", HERE.parent / "traces"

Words = Sequence[str]
Counts = NDArray[np.int64]


class Missing(SystemExit):
    """A model that a part needs is not trained yet; the message says how to train it."""


@functools.cache
def _digest_of(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


_read_by_parts: list[dict[str, str]] = []  # of the parts that are being measured, outer ones first


def reading(path: Path) -> Path:
    """Note that what is measured now depends on a file of this checkout."""
    digest = _digest_of(path, path.stat().st_mtime_ns)
    for read in _read_by_parts:
        read[path.relative_to(ROOT).as_posix()] = digest
    return path


class Cache:
    """Finished parts of a measurement, so that an interrupted run goes on where it stopped.

    A part is kept under a digest of its function's source, of all that the function uses in this
    repository (``_closure.py``) and of its arguments, together with digests of the models that it
    read. If any of them has changed, it is measured again.

    Args:
        script: whose parts; they lie in the user's cache under this name.
        fresh: measure everything again, once.
    """

    def __init__(self, script: str, fresh: bool = False) -> None:
        self.script, self.fresh = script, fresh
        self.folder = Path(pooch.os_cache("attnbook")) / "results" / script
        self._measured: set[Path] = set()

    def __call__(self, part: str, measure: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``measure(*arguments)`` as JSON gives it back.

        Args:
            part: what it is called in the cache; it says nothing about what is measured.
            measure: a function at the top level of a module, so that its source can be found.
            arguments: strings, numbers, or tuples of them.
        """
        return self._kept(part, ".json", measure, arguments, _write_json, read_json)

    def tensors(self, part: str, measure: Callable[..., Any], *arguments: Any) -> Any:
        """The same for a result with tensors in it, such as a trained model's state."""
        return self._kept(part, ".pt", measure, arguments, torch.save, _read_tensors)

    def _kept(
        self,
        part: str,
        suffix: str,
        measure: Callable[..., Any],
        arguments: tuple[Any, ...],
        write: Callable[[Any, Path], object],
        read: Callable[[Path], Any],
    ) -> Any:
        key = hashlib.sha256(repr((_closure.digest(measure), arguments)).encode()).hexdigest()
        path = self.folder / f"{part}-{key[:12]}{suffix}"
        entry: dict[str, Any] = read(path) if path.exists() else {}
        current = "read" in entry and all(
            (ROOT / name).exists()
            and _digest_of(ROOT / name, (ROOT / name).stat().st_mtime_ns) == digest
            for name, digest in entry["read"].items()
        )
        if not current or (self.fresh and path not in self._measured):
            print(f"measuring {part}", flush=True)
            files: dict[str, str] = {}
            _read_by_parts.append(files)
            try:
                result = measure(*arguments)
            finally:
                _read_by_parts.pop()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as new:
                write({"read": files, "result": result}, new)
            entry = read(path)
            self._measured.add(path)
        for around in _read_by_parts:
            around |= entry["read"]
        return entry["result"]


def _write_json(entry: Any, path: Path) -> None:
    path.write_text(json.dumps(entry, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def _read_tensors(path: Path) -> Any:
    return torch.load(path, weights_only=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write; it takes the place of ``path`` when the block has ended without an error."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


# ------------------------------------------------------------------------------- a script's command

# By a part's key in the JSON, or the keys of all that one function finds: the function; the
# function and its arguments, if what it finds is kept in the cache; or a constant.
Parts = Mapping[str | tuple[str, ...], Any]


def _nothing(_: dict[str, Any]) -> dict[str, Figure]:
    return {}


@dataclass(frozen=True)
class Script:
    """A measuring script: what it writes, draws and says of its numbers.

    Attributes:
        doc: the script's docstring; its first line describes the command.
        parts: by key of the JSON the functions that measure.
        check: what a page says in words about the numbers, and whether it is so.
        cache: where finished parts are kept.
        seeds: what was random, and from which seeds.
        draw: figures from the JSON, by the names of their files.
        finish: writes what else is shown and needs more than the JSON: a model, or long curves.
    """

    doc: str | None
    parts: Parts
    check: Callable[[dict[str, Any]], dict[str, bool]]
    cache: Cache
    seeds: Any = (0,)
    draw: Callable[[dict[str, Any]], dict[str, Figure]] = _nothing
    finish: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """Of the script, of its cache, and of the JSON beside it."""
        return self.cache.script

    @property
    def path(self) -> Path:
        """Where the numbers lie."""
        return HERE / f"{self.name}.json"

    def stored(self) -> dict[str, Any]:
        """The numbers as they were written last."""
        found: dict[str, Any] = read_json(self.path)
        return found

    def keys(self) -> list[str]:
        """What the JSON holds, in order."""
        return [*self._record(), *(key for keys in self.parts for key in _each(keys)), "made_from"]

    def sources(self) -> dict[str, str]:
        """By key, the digest of what it would be made from today."""
        found: dict[str, str] = {}
        for keys, part in self.parts.items():
            function, *arguments = part if isinstance(part, tuple) else (part,)
            if callable(function):
                digest = _closure.digest(function) + (repr(arguments) if arguments else "")
                found |= dict.fromkeys(_each(keys), digest)
        return found

    def _measured(self, keys: str | tuple[str, ...], part: Any) -> Any:
        if isinstance(part, tuple):
            return self.cache("-".join(_each(keys)), *part)
        return part() if callable(part) else part

    def stale(self) -> list[str]:
        """Keys of numbers whose source has changed since they were measured."""
        made_from = self.stored()["made_from"]
        return [key for key, digest in self.sources().items() if made_from.get(key) != digest]

    def _record(self) -> dict[str, Any]:
        return {
            "command": f"python book/results/{self.name}.py",
            "seeds": list(self.seeds) if isinstance(self.seeds, tuple) else self.seeds,
            "device": "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__.split("+")[0],
        }

    def run(self) -> None:
        """The command: measure what is missing, write the numbers, draw, and check the page."""
        parser = argparse.ArgumentParser(description=(self.doc or "").split("\n")[0])
        parser.add_argument("--only", metavar="KEY", help="measure this part of the JSON alone")
        parser.add_argument("--fresh", action="store_true", help="measure again what is kept")
        parser.add_argument("--available", action="store_true",
                            help="leave alone what needs a model that is not trained")  # fmt: skip
        parser.add_argument("--figures", action="store_true", help="only draw again, from the JSON")
        arguments = parser.parse_args()
        keys = [key for keys in self.parts for key in _each(keys)]
        if arguments.only and arguments.only not in keys:
            parser.error(f"no such part: {arguments.only}; there are {', '.join(keys)}")
        torch.set_num_threads(1)
        self.cache.fresh = arguments.fresh
        if not arguments.figures:
            self.measure(arguments.only, arguments.available)
        result = self.stored()
        with plots.style():
            for name, figure in self.draw(result).items():
                plots.save(figure, FIGURES / f"{name}.svg")
                plt.close(figure)
        if self.finish and not arguments.figures:
            with allowing(arguments.available):
                self.finish()
        wrong = [text for text, holds in self.check(result).items() if not holds]
        if wrong:
            sys.exit("a page says what these numbers do not: " + "; ".join(wrong))

    def measure(self, only: str | None = None, available: bool = False) -> None:
        """Measure part by part, and write the JSON after each of them."""
        before = self.stored() if self.path.exists() else {}
        made_from = before.get("made_from", {})
        sources = self.sources()
        found = before | self._record()
        for keys, part in self.parts.items():
            if only is None or only in _each(keys):
                with allowing(available):
                    result = json.loads(json.dumps(self._measured(keys, part)))
                    found |= result if isinstance(keys, tuple) else {keys: result}
                    made_from |= {key: sources[key] for key in _each(keys) if key in sources}
                    self.write(found | {"made_from": made_from})
        print(f"wrote {self.path.name}")

    def write(self, found: dict[str, Any]) -> None:
        """The JSON, with what the script no longer measures left out."""
        known = {key: found[key] for key in self.keys() if key in found}
        known["made_from"] = {k: v for k, v in known["made_from"].items() if k in self.sources()}
        text = json.dumps(known, indent=1, ensure_ascii=False)
        with replacing(self.path) as new:
            new.write_text(text + "\n", encoding="utf-8")


def stored(name: str) -> Any:
    """The numbers of another script."""
    return read_json(HERE / f"{name}.json")


def _each(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return keys if isinstance(keys, tuple) else (keys,)


@contextmanager
def allowing(missing: bool) -> Iterator[None]:
    """Where a model may be missing, say so and go on."""
    try:
        yield
    except Missing as reason:
        if not missing:
            raise
        print(f"left as it was: {reason}")


# --------------------------------------------------------------------------------- over the seeds


def spread(values: Iterable[float]) -> dict[str, float]:
    """Mean, lowest and highest of one number per seed."""
    known = list(values)
    return {"mean": statistics.fmean(known), "low": min(known), "high": max(known)}


def over_seeds(values: Iterable[float]) -> dict[str, Any]:
    """The mean of one number per seed, and each of them."""
    known = list(values)
    return {"mean": statistics.fmean(known), "seeds": known}


def label(ax: Axes, text: str, x: float, y: float, dx: float = 8, dy: float = 0) -> None:
    """A line's name, beside its end."""
    ax.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", va="center")


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
