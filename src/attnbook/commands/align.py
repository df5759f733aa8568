"""``attnbook align``: word alignments of a model or a file, and how right they are."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbook.commands import shared
from attnbook.commands.shared import emit, say
from attnbook.errors import UserError, input_errors

if TYPE_CHECKING:
    from attnbook.alignment import GoldAlignment, Link
    from attnbook.corpora import SentencePair

__all__ = ["add"]


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook align`` its flags."""
    parser.description = (
        "Link each target word to the source word on which a model's attention lies most while it "
        "reads the right translation, and print one line of links i-j for each sentence pair. "
        "Where the right links are known (the grammar, or --gold), alignment error rate, precision "
        "and recall (Och & Ney 2003) go to standard error. Positions count the tokens that "
        "`attnbook` cuts a sentence into; for tokens of your own, give --pretokenized."
    )
    parser.epilog = (
        "Examples: `attnbook align grammar-dot --data grammar`; "
        "`attnbook align found.txt --data a.de a.en --pretokenized --gold hand.txt --first 1`."
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"{shared.MODEL}, or a text file of links, one line for each pair",
    )
    shared.add_data(parser)
    shared.add_which(parser)
    links = parser.add_argument_group("links")
    links.add_argument(
        "--gold",
        type=Path,
        metavar="FILE",
        help="the right links: i-j where sure, ipj where only possible",
    )
    links.add_argument(
        "--first",
        type=int,
        choices=(0, 1),
        default=0,
        help="the number of a sentence's first word, in files that are read and in what is printed",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON, and no link")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    shared.add_device(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from attnbook.alignment import alignment_scores, write_alignment

    (pairs,) = shared.pairs(args, args.split)
    gold = _gold(args, pairs)
    pairs = pairs[: args.limit]
    found, scores = _found(args, pairs)
    if gold is not None:
        scores |= asdict(alignment_scores(found, gold[: args.limit]))
    if args.json:
        emit(json.dumps(scores, ensure_ascii=False, indent=2))
        return
    for links in found:
        emit(write_alignment(links, first=args.first))
    if "error_rate" in scores:
        say(
            f"{scores['links']} links in {len(pairs)} pairs: alignment error rate "
            f"{scores['error_rate']:.1%}, precision {scores['precision']:.1%}, recall "
            f"{scores['recall']:.1%}"
        )
    if "entropy" in scores:
        say(f"entropy of the weights: {scores['entropy']:.2f} nats a target word")


def _found(
    args: argparse.Namespace, pairs: Sequence[SentencePair]
) -> tuple[list[frozenset[Link]], dict[str, Any]]:
    """The links of each pair, by a model or from a file, and what else is known of them."""
    from attnbook.alignment import align_by_weight, mean_entropy

    if Path(args.model).is_file() and not args.model.endswith(".safetensors"):
        read = _read(Path(args.model), pairs, args.first)
        return [alignment.possible for alignment in read], {"pairs": len(pairs)}
    from attnbook.alignment import weights_of_words
    from attnbook.decoding import teacher_forced_attention

    translator = shared.load(args.model, shared.device(args))
    if not translator.attends:
        raise UserError(f"{translator.name} does not attend, so it has no weights")
    longest = translator.max_source_length
    for number, pair in enumerate(pairs, start=1):
        if longest is not None and len(tokens := translator.source_tokens(pair.source)) > longest:
            raise UserError(
                f"pair {number}: the model reads {longest} source words, this one has {len(tokens)}"
            )
    weights = teacher_forced_attention(translator, pairs, progress=not args.quiet)
    if translator.source_subwords is not None or translator.target_subwords is not None:
        weights = [
            weights_of_words(
                matrix, translator.source_places(pair.source), translator.target_places(pair.target)
            )
            for matrix, pair in zip(weights, pairs, strict=True)
        ]
    found = [align_by_weight(matrix[:, :-1]) for matrix in weights]
    return found, {"pairs": len(pairs), "entropy": mean_entropy(weights)}


def _gold(args: argparse.Namespace, pairs: Sequence[SentencePair]) -> list[GoldAlignment] | None:
    """The right links: of a file, or those that the pairs bring along."""
    from attnbook.alignment import GoldAlignment

    if args.gold is not None:
        return _read(args.gold, pairs, args.first)
    if all(pair.links is not None for pair in pairs):
        return [GoldAlignment.of(pair.links or ()) for pair in pairs]
    if args.json:
        raise UserError("there is nothing to score: the right links are not known; give --gold")
    return None


def _read(path: Path, pairs: Sequence[SentencePair], first: int) -> list[GoldAlignment]:
    from attnbook.alignment import read_alignments

    lengths = [(len(pair.source), len(pair.target)) for pair in pairs]
    with input_errors():
        return read_alignments(path, lengths, first=first)
