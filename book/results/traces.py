"""Make the traces that the pages show: one line of the table below for each.

    python book/results/traces.py                    # all, into book/traces
    python book/results/traces.py dach-dot           # this one
    python book/results/traces.py --available        # those whose model is trained

A trace is what `attnbook.decoding.decode` recorded, rounded to four decimals. Sentences come from
Multi30k's test captions by their number (counted from 0), or are written out here. The grammar's
have gold links, which are kept where the model writes the grammar's translation.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import train as models
from what_attention_shows import witnesses

from attnbook import grammar
from attnbook.corpora import SentencePair, multi30k
from attnbook.decoding import decode
from attnbook.trace import DecodingTrace
from attnbook.vocabulary import tokenize

FOLDER = Path(__file__).parents[1] / "traces"
DECIMALS = 4


@dataclass(frozen=True)
class Wanted:
    """One trace: which model, which sentence, and how it is decoded.

    Attributes:
        model: of book/results/train.py.
        source: a test caption's number, or a sentence.
        options: further arguments of :func:`attnbook.decoding.decode`.
        measures: with chapter 15's other measures beside the weights.
    """

    model: str
    source: int | str
    options: tuple[tuple[str, Any], ...] = ()
    measures: bool = False


# "leute reparieren das dach eines hauses ." and "ein mann mit einem orangefarbenen hut , der etwas
# anstarrt ." are the test captions 4 and 0.
TRACES: dict[str, Wanted] = {
    # chapter 3
    "dach-cho": Wanted("multi30k-cho", 4),
    # chapter 4
    "hut-cho": Wanted("multi30k-cho", 0),
    "hut-dot": Wanted("multi30k-dot", 0),
    # chapter 5: "die blau gekleidete frau bedient eine kamera vor zwei anderen frauen ."
    "kamera-cho": Wanted("multi30k-cho", 159),
    "kamera-dot": Wanted("multi30k-dot", 159),
    # chapter 6: the sentence of chapter 0
    "opening-general": Wanted(
        "grammar-general-0",
        "ich weiß , dass der mann gestern im garten ein kaltes bier getrunken hat",
    ),
    # chapter 7
    "bier-additive": Wanted("grammar-additive-0", "ich möchte ein bier"),
    "rufe-additive": Wanted("grammar-additive-0", "ich rufe dich an"),
    # chapter 8: without an error, and three of seven words look elsewhere
    "kueche-additive": Wanted("grammar-additive-0", "peter geht in die küche ."),
    # chapter 12
    "rufe-heads": Wanted("grammar-heads-4-0", "ich rufe dich an"),
    # chapter 13
    "kamera-transformer": Wanted("compared-transformer-0", 159),
    # chapter 15
    "kamera-measures": Wanted("multi30k-dot", 159, measures=True),
}


def tokens_of(source: int | str) -> tuple[str, ...]:
    """The words of a test caption, or of a sentence that is written out."""
    if isinstance(source, str):
        return tuple(tokenize(source))
    pair: SentencePair = multi30k("test")[source]
    return pair.source


def make(wanted: Wanted) -> DecodingTrace:
    """Decode the sentence with the model."""
    tokens, options = tokens_of(wanted.source), dict(wanted.options)
    if wanted.measures:
        return witnesses(models.load(wanted.model), tokens)
    trace = decode(models.load(wanted.model), tokens, **options)
    if models.MODELS[wanted.model].data == "grammar":
        pair = grammar.translate(tokens)
        if pair is not None and trace.text == " ".join(pair.target):
            return decode(models.load(wanted.model), tokens, gold_links=pair.links, **options)
    return trace


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="traces; default: all")
    parser.add_argument("--available", action="store_true", help="only with models trained so far")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(TRACES)):
        parser.error(f"no such trace: {', '.join(unknown)}; there are {', '.join(TRACES)}")
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name in arguments.names or TRACES:
        wanted = TRACES[name]
        if arguments.available and not models.path_of(wanted.model).exists():
            print(f"{name}: {wanted.model} is not trained yet")
            continue
        trace = make(wanted)
        trace.save(FOLDER / f"{name}.json", decimals=DECIMALS)
        print(f"{name}: {' '.join(trace.target_tokens)}")


if __name__ == "__main__":
    main()
