"""``attnbook evaluate``: BLEU, exact match and both perplexities of trained models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from attnbook.commands import shared
from attnbook.commands.parser import number
from attnbook.commands.shared import describe, emit, print_table
from attnbook.settings import Limits

if TYPE_CHECKING:
    from attnbook.corpora import SentencePair
    from attnbook.seq2seq import Translator

__all__ = ["add"]


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook evaluate`` its flags."""
    parser.description = (
        "Measure models on sentence pairs. BLEU is computed on tokens (sacrebleu, tokenize none) "
        "with a 95 % bootstrap interval. Teacher-forced perplexity gives the model the right words "
        "before each word, free-running perplexity its own; the two cannot be compared with each "
        "other, nor can models with other vocabularies."
    )
    parser.epilog = "Example: `attnbook evaluate grammar-dot grammar-sutskever --data grammar`."
    parser.add_argument("models", metavar="MODEL", nargs="+", help=shared.MODEL)
    shared.add_data(parser)
    shared.add_which(parser)
    shared.add_search(parser, beam_size=5)
    parser.add_argument(
        "--resamples",
        type=number(int, Limits(2, 100_000)),
        metavar="N",
        default=1000,
        help="bootstrap resamples of the BLEU interval",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    shared.add_device(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    device = shared.device(args)
    translators = [shared.load(model, device) for model in args.models]
    (pairs,) = shared.pairs(args, args.split)
    pairs = pairs[: args.limit]
    rows = [_measure(translator, pairs, args) for translator in translators]
    if args.json:
        result = {"data": describe(args, args.split), "pairs": len(pairs), "models": rows}
        emit(json.dumps(result, ensure_ascii=False, indent=2))
        return
    header = (
        "model",
        "BLEU, greedy",
        f"BLEU, beam {args.beam_size}",
        "exact match, greedy",
        "perplexity, teacher-forced",
        "perplexity, free-running",
    )
    table = [
        (
            row["model"],
            _interval(row["bleu_greedy"]),
            _interval(row["bleu_beam"]),
            f"{100 * row['exact_match_greedy']:.1f} %",
            f"{row['perplexity_teacher_forced']:.2f}",
            f"{row['perplexity_free_running']:.2f}",
        )
        for row in rows
    ]
    print_table(header, table)
    emit(f"\n{len(pairs)} pairs: {describe(args, args.split)}; intervals: 95 %, bootstrap")
    emit(f"BLEU: {rows[0]['bleu_greedy']['signature']}")


def _measure(
    translator: Translator, pairs: Sequence[SentencePair], args: argparse.Namespace
) -> dict[str, Any]:
    """Everything that the table holds of one model."""
    from attnbook.decoding import translate
    from attnbook.evaluation import (
        Bleu,
        bleu,
        exact_match,
        free_running_perplexity,
        teacher_forced_perplexity,
    )

    sources = [pair.source for pair in pairs]
    references = [pair.target for pair in pairs]

    def translations(beam_size: int) -> list[list[str]]:
        return translate(
            translator,
            sources,
            beam_size=beam_size,
            length_penalty=args.length_penalty,
            progress=not args.quiet,
        )

    def score(found: list[list[str]]) -> Bleu:
        return bleu(found, references, resamples=args.resamples)

    greedy = translations(1)
    return {
        "model": translator.name,
        "bleu_greedy": asdict(score(greedy)),
        "beam_size": args.beam_size,
        "length_penalty": args.length_penalty,
        "bleu_beam": asdict(score(translations(args.beam_size))),
        "exact_match_greedy": exact_match(greedy, references),
        "perplexity_teacher_forced": teacher_forced_perplexity(translator, pairs),
        "perplexity_free_running": free_running_perplexity(translator, pairs),
    }


def _interval(score: dict[str, Any]) -> str:
    return f"{score['score']:.1f} ({score['low']:.1f}–{score['high']:.1f})"
