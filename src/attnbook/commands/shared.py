"""What several commands share: their flags, the sentence pairs that these name, and messages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbook.commands.parser import number
from attnbook.corpora import SPLITS, SentencePair
from attnbook.errors import UserError, input_errors
from attnbook.published import PUBLISHED
from attnbook.settings import COUNT, SEED, Limits

if TYPE_CHECKING:
    import torch

    from attnbook.seq2seq import Translator

__all__ = [
    "MODEL",
    "add_data",
    "add_device",
    "add_model",
    "add_overwrite",
    "add_pretokenized",
    "add_search",
    "add_which",
    "describe",
    "device",
    "emit",
    "load",
    "pairs",
    "print_table",
    "say",
]

MODEL = f"a file from `attnbook train`, or one of {', '.join(PUBLISHED)}"


def say(text: str) -> None:
    """A line for the person at the terminal; standard output is for results."""
    print(f"attnbook: {text}", file=sys.stderr, flush=True)


def emit(text: str = "", *, flush: bool = False) -> None:
    """A line of results; where standard output takes no more, the error names it."""
    try:
        print(text, flush=flush)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need to be: the first to the left, numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        emit("  ".join((first, *rest)))


# --- flags ----------------------------------------------------------------------------------------


def add_model(parser: argparse.ArgumentParser) -> None:
    """The one model of a command."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)


def add_which(parser: argparse.ArgumentParser) -> None:
    """Which of the data's pairs are read."""
    which = parser.add_argument_group("which sentences")
    which.add_argument(
        "--split", choices=tuple(SPLITS), default="test", help="of multi30k and the grammar"
    )
    which.add_argument(
        "--limit", type=number(int, COUNT), metavar="N", help="only the first so many pairs"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Where sentence pairs come from."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar=("NAME", "TGT"),
        help="grammar (German to English, made by the package), multi30k (image captions; read "
        "from ATTNBOOK_DATA or downloaded), or two UTF-8 text files SRC TGT whose lines translate "
        "each other",
    )
    add_pretokenized(data, "the two files hold")
    data.add_argument(
        "--languages",
        nargs=2,
        default=("de", "en"),
        choices=("de", "en", "fr"),
        metavar=("SRC", "TGT"),
        help="of multi30k: two of de, en, fr",
    )
    data.add_argument(
        "--grammar-pairs",
        type=number(int, Limits(1, 10_000_000)),
        metavar="N",
        default=12_000,
        help="training pairs of the grammar",
    )
    data.add_argument(
        "--grammar-words",
        nargs=2,
        type=number(int, COUNT),
        default=(3, 20),
        metavar=("LEAST", "MOST"),
        help="length of the grammar's German sentences",
    )
    data.add_argument(
        "--data-seed",
        type=number(int, SEED),
        metavar="N",
        default=0,
        help="of the grammar's sentences and of --join",
    )
    data.add_argument(
        "--join",
        type=number(int, Limits(1, 1000)),
        default=1,
        metavar="N",
        help="join 1 to N sentences into longer ones",
    )


def add_pretokenized(parser: Any, which: str) -> None:
    """Whether sentences are cut into tokens already."""
    parser.add_argument(
        "--pretokenized",
        action="store_true",
        help=f"{which} tokens between blanks; they are taken as they are, upper case included, so "
        "that positions stay",
    )


def add_search(parser: argparse.ArgumentParser, *, beam_size: int) -> None:
    """How translations are searched for."""
    parser.add_argument(
        "--beam-size",
        type=number(int, Limits(1, 1000)),
        metavar="N",
        default=beam_size,
        help="beginnings kept; 1 is greedy search",
    )
    parser.add_argument(
        "--length-penalty",
        type=number(float, Limits(-10, 10)),
        metavar="X",
        default=1.0,
        help="a beam's log-probability is divided by length to this power",
    )


def add_device(parser: Any) -> None:
    """Where a model computes."""
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one, else the CPU)"
    )


def add_overwrite(parser: Any) -> None:
    """Whether files that exist may be replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


# --- what flags name ------------------------------------------------------------------------------


def device(args: argparse.Namespace) -> torch.device:
    """The device of ``--device``."""
    from attnbook.training import pick_device

    with input_errors():
        return pick_device(args.device)


def load(model: str, where: torch.device) -> Translator:
    """A translator by its file or its published name."""
    from attnbook import checkpoints

    with input_errors():
        return checkpoints.load(model, device=where)


def pairs(args: argparse.Namespace, *splits: str) -> list[list[SentencePair]]:
    """The sentence pairs that the flags name, one list for each split."""
    from attnbook import grammar
    from attnbook.corpora import join_captions, multi30k, read_parallel

    if args.pretokenized and len(args.data) == 1:
        raise UserError(f"--pretokenized is said of two files; {args.data[0]} comes as tokens")
    with input_errors():
        match args.data:
            case ["grammar"]:
                least, most = args.grammar_words
                # Test and validation are the same however many training pairs are asked for.
                count = args.grammar_pairs if "train" in splits else 0
                corpus = grammar.corpus(count, seed=args.data_seed, shortest=least, longest=most)
                parts: list[list[SentencePair]] = [getattr(corpus, split) for split in splits]
            case ["multi30k"]:
                source, target = args.languages
                parts = [multi30k(split, source=source, target=target) for split in splits]
            case [source, target]:
                if "val" in splits:
                    raise UserError(
                        "two files have no validation split: give --validation SRC TGT in "
                        "training, and in evaluation --split test, or name the files"
                    )
                parts = [
                    read_parallel(source, target, pretokenized=args.pretokenized) for _ in splits
                ]
            case _:
                raise UserError(
                    "--data takes grammar, multi30k, or two files SRC TGT; got "
                    f"{' '.join(args.data)!r}"
                )
    if args.join == 1:
        return parts
    return [join_captions(part, most=args.join, seed=args.data_seed) for part in parts]


def describe(args: argparse.Namespace, split: str) -> str:
    """The data in words, for a table and for a model's card."""
    match args.data:
        case ["grammar"]:
            least, most = args.grammar_words
            words = f"grammar, {split}, {least} to {most} German words, seed {args.data_seed}"
        case ["multi30k"]:
            words = f"Multi30k {'→'.join(args.languages)}, {SPLITS[split]}"
        case _:
            words = " and ".join(Path(name).name for name in args.data)
            words += ", pretokenized" if args.pretokenized else ""
    return words + (f", 1 to {args.join} joined (seed {args.data_seed})" if args.join != 1 else "")
