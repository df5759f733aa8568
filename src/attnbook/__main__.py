"""The command line: ``attnbook train``, ``translate``, ``evaluate``, ``align``, ``grade`` …

Each command is one function that adds its flags and one that runs. What a user got wrong ends
in one line on standard error and the exit code 2; results go to standard output, everything else
to standard error.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import torch

from attnbook import __version__, benchmark, checkpoints, grammar, plots
from attnbook.alignment import (
    GoldAlignment,
    align_by_weight,
    alignment_scores,
    mean_entropy,
    read_alignments,
    write_alignment,
)
from attnbook.corpora import (
    SPLITS,
    SentencePair,
    join_captions,
    multi30k,
    read_lines,
    read_parallel,
    split_lines,
)
from attnbook.decoding import decode, forced_weights, translate
from attnbook.distributed import Team, team
from attnbook.encoder import CELLS
from attnbook.evaluation import (
    Bleu,
    bleu,
    exact_match,
    free_running_perplexity,
    teacher_forced_perplexity,
)
from attnbook.grading.commands import add_export, add_grade
from attnbook.seq2seq import DECODERS, SCORES, Config, Translator
from attnbook.training import Epoch, Training, pick_device, train
from attnbook.transformer import NORMS, POSITIONS
from attnbook.vocabulary import Vocabulary, tokenize

__all__ = ["main", "print_table"]

# What suits some data better than the defaults: the grammar has 600 words and is learned by a
# small model in about a minute.
PRESETS: dict[str, dict[str, Any]] = {
    "grammar": {
        "embedding_dim": 32,
        "hidden_dim": 96,
        "bidirectional": True,
        "dropout": 0.1,
        "embedding_std": 0.5,
        "epochs": 12,
        "batch_tokens": 600,
        "learning_rate": 1e-2,
    },
    "grammar, transformer": {
        "embedding_dim": 96,
        "hidden_dim": 96,
        "layers": 2,
        "feedforward_dim": 192,
        "dropout": 0.1,
        "epochs": 12,
        "batch_tokens": 600,
        "learning_rate": 3e-3,
    },
}


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one: not for switches, and not where the text says it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or "default:" in (action.help or ""):
            return action.help
        if isinstance(action.default, tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


Parsers = Any  # argparse's own name for what add_subparsers gives is private

# Settings that take one of a few words; the others take a number or are switches.
CHOICES = {
    "decoder": DECODERS,
    "score": SCORES,
    "cell": tuple(CELLS),
    "norm": NORMS,
    "positions": POSITIONS,
    "precision": ("fp32", "bf16", "fp16"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code.

    Args:
        argv: the words after ``attnbook``; None takes them from the shell.
    """
    parser = argparse.ArgumentParser(
        prog="attnbook",
        description="Train small translators, translate with them, measure them; grade exercises.",
        epilog="`attnbook COMMAND --help` lists a command's flags.",
    )
    parser.add_argument("--version", action="version", version=f"attnbook {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_translate(commands)
    _add_evaluate(commands)
    _add_align(commands)
    _add_benchmark(commands)
    add_grade(commands)
    add_export(commands)
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    args.command_line = shlex.join(["attnbook", *words])
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for instance `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and error.filename is not None:
            message = f"{error.filename}: {message}"
        _say(f"error: {message}")
        return 2
    return 0


# --- train ----------------------------------------------------------------------------------------


def _add_train(commands: Parsers) -> None:
    parser = commands.add_parser(
        "train",
        formatter_class=_Help,
        help="train a translator and write it to a file",
        description="Train a translator on sentence pairs and write it to one file. "
        "An interrupted run goes on where it stopped when the same command is given again.",
        epilog="Several processes or GPUs: `torchrun --nproc-per-node 2 -m attnbook train …`. "
        "Examples: `attnbook train --data grammar` (a minute on a laptop); "
        "`attnbook train --data multi30k --decoder cho --output cho.safetensors`; "
        "`attnbook train --data train.de train.en --validation val.de val.en`.",
    )
    _add_data(parser)
    data = parser.add_argument_group("vocabulary and validation")
    data.add_argument(
        "--validation",
        nargs=2,
        metavar=("SRC", "TGT"),
        help="two text files that decide which epoch was best; needed with two training files",
    )
    data.add_argument(
        "--min-count",
        type=int,
        metavar="N",
        default=1,
        help="a rarer word is read as <unk>, on both sides",
    )
    data.add_argument(
        "--max-words",
        type=int,
        metavar="N",
        help="keep at most so many words, the most frequent, on each side",
    )
    _add_settings(parser.add_argument_group("the model"), Config)
    _add_settings(parser.add_argument_group("training"), Training)
    files = parser.add_argument_group("where and how")
    _add_device(files)
    files.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file of the finished model (default: DATA-SCORE.safetensors, here)",
    )
    files.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    files.add_argument(
        "--half", action="store_true", help="store the weights in 16 bits, half the size"
    )
    files.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="keep the state of the unfinished run there (default: runs/ and the output's name); "
        "it is removed when the model is written",
    )
    files.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> None:
    with team() as processes:
        _train_together(args, processes)


def _train_together(args: argparse.Namespace, processes: Team) -> None:
    config, settings = _settings(args, Config), _settings(args, Training)
    kind = args.data[0] if len(args.data) == 1 else "files"
    scored = config.score if config.decoder == "luong" else config.decoder
    output: Path = args.output or Path(f"{kind}-{scored}.safetensors")
    folder: Path = args.folder or Path("runs") / output.stem
    # Everything that can go wrong without a model should go wrong before hours of training.
    if output.exists() and not args.overwrite:
        raise ValueError(f"{output} exists; give another --output, or --overwrite to replace it")
    if output.is_dir():
        raise ValueError(f"{output} is a folder; name a file")
    output.parent.mkdir(parents=True, exist_ok=True)
    device = pick_device(args.device)
    if processes.size > 1 and device.type == "cuda":
        device = torch.device("cuda", processes.local_rank)
    say = _say if processes.leads else _silent
    if args.validation:
        validation_pairs = read_parallel(*args.validation)
        (training_pairs,) = _pairs(args, "train")
    else:
        training_pairs, validation_pairs = _pairs(args, "train", "val")
    source_words, target_words = (
        Vocabulary.from_sentences(side, min_count=args.min_count, max_size=args.max_words)
        for side in (
            [pair.source for pair in training_pairs],
            [pair.target for pair in training_pairs],
        )
    )
    torch.manual_seed(settings.seed)
    translator = Translator(config, source_words, target_words, name=output.stem).to(device)
    say(
        f"{len(training_pairs):,} pairs, {len(validation_pairs):,} for validation; "
        f"{len(translator.source_vocabulary):,} and {len(translator.target_vocabulary):,} words; "
        f"{translator.count_parameters():,} parameters; on {device}"
        + (f" and {processes.size - 1} more processes" if processes.size > 1 else "")
    )
    if (folder / "state.pt").exists():
        say(f"going on with the run in {folder}")

    def report(epoch: Epoch) -> None:
        from tqdm.auto import tqdm

        with tqdm.external_write_mode(sys.stderr):
            _say(
                f"epoch {epoch.number}: training {epoch.training_loss:.3f}, validation "
                f"{epoch.validation_loss:.3f} nats/token, {epoch.tokens_per_second:,.0f} tokens/s"
            )

    started = time.perf_counter()
    try:
        history = train(
            translator,
            training_pairs,
            validation_pairs,
            settings,
            folder=folder,
            progress=not args.quiet,
            after_epoch=report,
            team=processes,
        )
    except KeyboardInterrupt:
        say(f"stopped; the run is kept in {folder}. The same command goes on from there:")
        say(f"  {args.command_line}")
        raise
    if not processes.leads:
        return
    card = {
        "command": args.command_line,
        "data": _describe(args, "train"),
        "training_pairs": len(training_pairs),
        "validation_pairs": len(validation_pairs),
        "settings": asdict(settings),
        "parameters": translator.count_parameters(),
        "best_epoch": asdict(history.best),
        "seconds_since_last_start": round(time.perf_counter() - started, 1),
        "device": str(device),
        "processes": processes.size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "attnbook": __version__,
    }
    checkpoints.save(translator, output, card=card, half=args.half)
    (folder / "state.pt").unlink(missing_ok=True)
    if not args.folder:
        with suppress(OSError):  # other runs are kept there
            folder.rmdir()
            folder.parent.rmdir()
    _say(
        f"best epoch: {history.best.number}, validation {history.best.validation_loss:.3f} "
        f"nats/token; written to:"
    )
    print(output)


# --- translate ------------------------------------------------------------------------------------


def _add_translate(commands: Parsers) -> None:
    parser = commands.add_parser(
        "translate",
        formatter_class=_Help,
        help="translate sentences with a trained model",
        description="Translate plain sentences, one translation a line. They are lower-cased and "
        "cut into words and punctuation first. Line i of the output belongs to line i of the "
        "input; an empty line stays empty. Words the model does not know are named on standard "
        "error.",
        epilog='Examples: `attnbook translate grammar-dot "ich möchte ein bier"`; '
        "`attnbook translate my.safetensors --file news.de > news.en`.",
    )
    _add_model(parser, many=False)
    parser.add_argument(
        "sentences", nargs="*", help="sentences in quotes; without any, standard input is read"
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="read the sentences from this file (UTF-8)"
    )
    _add_search(parser, beam_size=1)
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE.json",
        help="write down every step of decoding; for one sentence",
    )
    _add_device(parser)
    parser.set_defaults(run=_translate)


def _translate(args: argparse.Namespace) -> None:
    if args.sentences and args.file:
        raise ValueError("give sentences or --file, not both")
    translator = checkpoints.load(args.model, device=pick_device(args.device))
    if not args.sentences and not args.file and sys.stdin.isatty():
        _say("one sentence a line; end with Ctrl-D")
        for number, line in enumerate(sys.stdin, start=1):
            _translate_lines(translator, [line], args, first=number)
        return
    lines = list(args.sentences) if args.sentences else _read_sentences(args.file)
    _translate_lines(translator, lines, args)


def _translate_lines(
    translator: Translator, lines: Sequence[str], args: argparse.Namespace, first: int = 1
) -> None:
    sentences = [tokenize(line) for line in lines]
    for number, sentence in enumerate(sentences, start=first):
        known = translator.source_vocabulary
        if unknown := list(dict.fromkeys(word for word in sentence if word not in known)):
            _say(f"line {number}: read as <unk>: {', '.join(unknown)}")
    longest = translator.config.longest
    for number, sentence in enumerate(sentences, start=first):
        if longest is not None and len(sentence) > longest:
            _say(f"line {number}: cut to its first {longest} of {len(sentence)} words")
    if args.trace:
        if len(sentences) != 1 or not sentences[0]:
            raise ValueError(f"--trace records one sentence, got {len(sentences)}")
        trace = decode(
            translator,
            sentences[0],
            beam_size=args.beam_size,
            length_penalty=args.length_penalty,
        )
        trace.save(args.trace)
        print(trace.text)
        return
    given = [sentence for sentence in sentences if sentence]
    found = iter(
        translate(translator, given, beam_size=args.beam_size, length_penalty=args.length_penalty)
    )
    for sentence in sentences:
        print(" ".join(next(found)) if sentence else "")


# --- evaluate -------------------------------------------------------------------------------------


def _add_evaluate(commands: Parsers) -> None:
    parser = commands.add_parser(
        "evaluate",
        formatter_class=_Help,
        help="BLEU and both perplexities of trained models",
        description="Measure models on sentence pairs. BLEU is computed on lower-cased tokens "
        "(sacrebleu, tokenize none) with a 95 %% bootstrap interval. Teacher-forced perplexity "
        "gives the model the right words before each word, free-running perplexity its own; the "
        "two cannot be compared with each other, nor can models with other vocabularies.",
        epilog="Example: `attnbook evaluate grammar-dot grammar-sutskever --data grammar`.",
    )
    _add_model(parser, many=True)
    _add_data(parser)
    _add_which(parser)
    _add_search(parser, beam_size=5)
    parser.add_argument(
        "--resamples",
        type=int,
        metavar="N",
        default=1000,
        help="bootstrap resamples of the BLEU interval",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_device(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    _check_limit(args)
    if args.resamples < 2:
        raise ValueError(f"--resamples must be at least 2, got {args.resamples}")
    device = pick_device(args.device)
    translators = [checkpoints.load(model, device=device) for model in args.models]
    (pairs,) = _pairs(args, args.split)
    pairs = pairs[: args.limit]
    rows = [_measure(translator, pairs, args) for translator in translators]
    if args.json:
        result = {"data": _describe(args, args.split), "pairs": len(pairs), "models": rows}
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return
    beam = f"BLEU, beam {args.beam_size}"
    header = (
        "model",
        "BLEU, greedy",
        beam,
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
    print(f"\n{len(pairs)} pairs: {_describe(args, args.split)}; intervals: 95 %, bootstrap")
    print(f"BLEU: {rows[0]['bleu_greedy']['signature']}")


def _measure(
    translator: Translator, pairs: Sequence[SentencePair], args: argparse.Namespace
) -> dict[str, Any]:
    """Everything that the table holds of one model."""
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


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need to be: the first to the left, numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *rest)))


# --- align ----------------------------------------------------------------------------------------


def _add_align(commands: Parsers) -> None:
    parser = commands.add_parser(
        "align",
        formatter_class=_Help,
        help="word alignments of a model or a file, and how right they are",
        description="Link each target word to the source word on which a model's attention lies "
        "most while it reads the right translation, and print one line of links i-j for each "
        "sentence pair. Where the right links are known (the grammar, or --gold), alignment error "
        "rate, precision and recall (Och & Ney 2003) go to standard error.",
        epilog="Examples: `attnbook align grammar-dot --data grammar`; "
        "`attnbook align found.txt --data a.de a.en --gold hand.txt --first 1`.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"a file from `attnbook train`, one of {', '.join(checkpoints.PUBLISHED)}, or a text "
        "file of links, one line for each pair",
    )
    _add_data(parser)
    _add_which(parser)
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
    _add_device(parser)
    parser.set_defaults(run=_align)


def _align(args: argparse.Namespace) -> None:
    _check_limit(args)
    (pairs,) = _pairs(args, args.split)
    lengths = [(len(pair.source), len(pair.target)) for pair in pairs]
    gold = _gold(args, pairs, lengths)
    pairs, lengths = pairs[: args.limit], lengths[: args.limit]
    scores: dict[str, Any] = {"pairs": len(pairs)}
    if Path(args.model).is_file() and not args.model.endswith(".safetensors"):
        found = [
            alignment.possible
            for alignment in read_alignments(args.model, lengths, first=args.first)
        ]
    else:
        translator = checkpoints.load(args.model, device=pick_device(args.device))
        weights = forced_weights(translator, pairs, progress=not args.quiet)
        found = [align_by_weight(matrix[:, :-1]) for matrix in weights]
        scores["entropy"] = mean_entropy(weights)
    if gold is not None:
        scores |= asdict(alignment_scores(found, gold[: args.limit]))
    if args.json:
        print(json.dumps(scores, ensure_ascii=False, indent=2))
        return
    for links in found:
        print(write_alignment(links, first=args.first))
    if "error_rate" in scores:
        _say(
            f"{scores['links']} links in {len(pairs)} pairs: alignment error rate "
            f"{scores['error_rate']:.1%}, precision {scores['precision']:.1%}, recall "
            f"{scores['recall']:.1%}"
        )
    if "entropy" in scores:
        _say(f"entropy of the weights: {scores['entropy']:.2f} nats a target word")


def _gold(
    args: argparse.Namespace, pairs: Sequence[SentencePair], lengths: Sequence[tuple[int, int]]
) -> list[GoldAlignment] | None:
    """The right links: of a file, or those that the pairs bring along."""
    if args.gold is not None:
        return read_alignments(args.gold, lengths, first=args.first)
    if all(pair.links is not None for pair in pairs):
        return [GoldAlignment.of(pair.links or ()) for pair in pairs]
    if args.json:
        raise ValueError("there is nothing to score: the right links are not known; give --gold")
    return None


# --- benchmark ------------------------------------------------------------------------------------

# A look at everything in a minute or two; the numbers are rough.
QUICK: dict[str, Any] = {
    "threads": (1,),
    "repeat": 2,
    "batches": 2,
    "sentences": 32,
    "peer_steps": 60,
}


def _add_benchmark(commands: Parsers) -> None:
    parser = commands.add_parser(
        "benchmark",
        formatter_class=_Help,
        help="how fast the decoders train and translate here, side by side",
        description="Time training, greedy and beam search of every decoder and score, taking "
        "turns in one run; compare with other libraries' models of the same loss, with what the "
        "machine's matrix products allow, and measure memory. Ctrl-C keeps what was measured.",
        epilog="Examples: `attnbook benchmark --quick --data synthetic`; "
        "`attnbook benchmark --models dot additive --threads 1 --output speed.json`; "
        "`make benchmark` in a checkout, with other libraries in an environment of their own.",
    )
    plan = benchmark.Plan()
    meanings = _meanings(benchmark.Plan)

    def add(field: str, flag: str | None = None, **options: Any) -> None:
        options = {"default": argparse.SUPPRESS, **options}
        default = getattr(plan, field)
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else _shown(default)
        parser.add_argument(
            flag or "--" + field.replace("_", "-"),
            dest=field,
            help=f"{meanings[field]} (default: {shown})",
            **options,
        )

    add("only", nargs="+", choices=benchmark.SECTIONS, metavar="SECTION")
    add("models", nargs="+", choices=tuple(benchmark.MODELS), metavar="MODEL")
    add("regimes", "--batches", nargs="+", choices=benchmark.REGIMES, metavar="REGIME")
    add("threads", nargs="+", type=int, metavar="N")
    add("repeat", type=int, metavar="N")
    add("data", choices=("multi30k", "grammar", "synthetic"))
    for name in ("words", "embedding_dim", "hidden_dim", "batch_tokens", "batch_sentences"):
        add(name, type=int, metavar="N")
    add("batches", "--batches-a-round", type=int, metavar="N")
    for name in ("sentences", "beam_size", "peer_steps", "seed"):
        add(name, type=int, metavar="N")
    add("dropout", type=float, metavar="X")
    add("precision", choices=("fp32", "bf16"))
    parser.add_argument("--device", help="cpu or cuda (default: cpu)", default=argparse.SUPPRESS)
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="FILE.py",
        help="adapters to other libraries, as in the repository's tools/peers.py",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds of little work")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="write the result there; with --only, into what is there already",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw training speed")
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON in place of tables"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_benchmark)


def _benchmark(args: argparse.Namespace) -> None:
    given = (QUICK if args.quick else {}) | vars(args)
    values: dict[str, Any] = {
        f.name: tuple(given[f.name]) if isinstance(given[f.name], list) else given[f.name]
        for f in fields(benchmark.Plan)
        if f.name in given
    }
    plan = benchmark.Plan(**values)
    pick_device(plan.device)
    for path in (args.output, args.plot):
        if path and path.is_dir():
            raise ValueError(f"{path} is a folder; name a file")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    peers, parts = benchmark.load_peers(args.peers) if args.peers else ({}, {})
    run = benchmark.Benchmark(
        plan, peers, benchmark.PARTS | parts, progress=not args.quiet, say=_say
    )
    interrupted = False
    try:
        run.run()
    except KeyboardInterrupt:
        interrupted = True
        _say("interrupted; what was measured so far follows")
    # What was measured by which command: several may have gone into one file.
    run.result["runs"] = [{"command": args.command_line, "interrupted": interrupted}]
    result: dict[str, Any] = run.result
    if args.output:
        if hasattr(args, "only") and args.output.exists():
            earlier = json.loads(args.output.read_text(encoding="utf-8"))
            result = benchmark.merged(earlier, result)
            result["runs"] = earlier.get("runs", []) + run.result["runs"]
            result["benchmark"]["plan"] = earlier["benchmark"]["plan"]
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.plot and "threads1" in result["training"].get("bucketed", {}):
        with plots.style():
            plots.save(benchmark.figure(result), args.plot)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        for title, head, rows in benchmark.tables(result):
            print(f"{title}\n")
            print_table(head, rows)
            print()
        for name, reason in result["absent"].items():
            print(f"not here: {name} ({reason})")
        for name, reason in result.get("not_run", {}).items():
            print(f"not run: {name} ({reason})")
    if interrupted:
        raise KeyboardInterrupt


# --- what the commands share ----------------------------------------------------------------------


def _add_model(parser: argparse.ArgumentParser, *, many: bool) -> None:
    meaning = f"a file from `attnbook train`, or one of {', '.join(checkpoints.PUBLISHED)}"
    if many:
        parser.add_argument("models", metavar="MODEL", nargs="+", help=meaning)
    else:
        parser.add_argument("model", metavar="MODEL", help=meaning)


def _add_which(parser: argparse.ArgumentParser) -> None:
    which = parser.add_argument_group("which sentences")
    which.add_argument(
        "--split", choices=tuple(SPLITS), default="test", help="of multi30k and the grammar"
    )
    which.add_argument("--limit", type=int, metavar="N", help="only the first so many pairs")


def _check_limit(args: argparse.Namespace) -> None:
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {args.limit}")


def _add_data(parser: argparse.ArgumentParser) -> None:
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
        type=int,
        metavar="N",
        default=12_000,
        help="training pairs of the grammar",
    )
    data.add_argument(
        "--grammar-words",
        nargs=2,
        type=int,
        default=(3, 20),
        metavar=("LEAST", "MOST"),
        help="length of the grammar's German sentences",
    )
    data.add_argument(
        "--data-seed",
        type=int,
        metavar="N",
        default=0,
        help="of the grammar's sentences and of --join",
    )
    data.add_argument(
        "--join", type=int, default=1, metavar="N", help="join 1 to N sentences into longer ones"
    )


def _pairs(args: argparse.Namespace, *splits: str) -> list[list[SentencePair]]:
    """The sentence pairs that the flags name, one list for each split."""
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
                raise ValueError(
                    "two files have no validation split: give --validation SRC TGT in training, "
                    "and in evaluation --split test, or name the files"
                )
            parts = [read_parallel(source, target) for _ in splits]
        case _:
            raise ValueError(
                f"--data takes grammar, multi30k, or two files SRC TGT; got {' '.join(args.data)!r}"
            )
    if args.join == 1:
        return parts
    return [join_captions(pairs, most=args.join, seed=args.data_seed) for pairs in parts]


def _describe(args: argparse.Namespace, split: str) -> str:
    """The data in words, for a table and for a model's card."""
    match args.data:
        case ["grammar"]:
            least, most = args.grammar_words
            words = f"grammar, {split}, {least} to {most} German words, seed {args.data_seed}"
        case ["multi30k"]:
            words = f"Multi30k {'→'.join(args.languages)}, {SPLITS[split]}"
        case _:
            words = " and ".join(Path(name).name for name in args.data)
    return words + (f", 1 to {args.join} joined (seed {args.data_seed})" if args.join != 1 else "")


def _add_search(parser: argparse.ArgumentParser, *, beam_size: int) -> None:
    parser.add_argument(
        "--beam-size",
        type=int,
        metavar="N",
        default=beam_size,
        help="beginnings kept; 1 is greedy search",
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        metavar="X",
        default=1.0,
        help="a beam's log-probability is divided by length to this power",
    )


def _add_device(parser: Any) -> None:
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one, else the CPU)"
    )


def _add_settings(group: Any, settings: type[Config] | type[Training]) -> None:
    """A flag for each field of a dataclass; its docstring says what the field means."""
    hints = get_type_hints(settings)
    meanings = _meanings(settings)
    for field in fields(settings):
        flag, kind = "--" + field.name.replace("_", "-"), hints[field.name]
        usual = {
            kind: preset[field.name] for kind, preset in PRESETS.items() if field.name in preset
        }
        defaults = [] if field.default is None else [_shown(field.default)]
        defaults += [f"{kind}: {_shown(value)}" for kind, value in usual.items()]
        meaning = meanings.get(field.name, "")
        options: dict[str, Any] = {
            "help": f"{meaning} (default: {'; '.join(defaults)})" if defaults else meaning,
            # Absent unless given, so that what is given can be told from what is usual.
            "default": argparse.SUPPRESS,
        }
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif field.name in CHOICES:
            options["choices"] = CHOICES[field.name]
        else:
            options["type"] = get_args(kind)[0] if isinstance(kind, UnionType) else kind
            options["metavar"] = {int: "N", float: "X"}[options["type"]]
        group.add_argument(flag, **options)


def _meanings(settings: type) -> dict[str, str]:
    """What the ``Attributes:`` of a docstring say, as plain text on one line each."""
    found = {}
    text = (inspect.getdoc(settings) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE):
        plain = re.sub(r"\s+", " ", meaning.replace("``", "").replace('"', ""))
        found[name] = plain.rstrip(".").replace("%", "%%")
    return found


def _shown(value: Any) -> str:
    return (
        {True: "on", False: "off"}[value]
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _settings(args: argparse.Namespace, settings: type[Any]) -> Any:
    """The flags that were given, then what is usual for the data, then the class's defaults."""
    transformer = getattr(args, "decoder", None) == "transformer"
    kind = f"{args.data[0]}, transformer" if transformer else args.data[0]
    values = PRESETS.get(kind, {}) | vars(args)
    if transformer and not hasattr(args, "embedding_dim"):  # which has one width for both
        values["embedding_dim"] = values.get("hidden_dim", Config.hidden_dim)
    return settings(**{f.name: values[f.name] for f in fields(settings) if f.name in values})


def _read_sentences(path: Path | None) -> list[str]:
    """The lines of a file or of standard input."""
    if path is not None:
        return read_lines(path)
    return split_lines(sys.stdin.buffer.read(), "standard input")


def _say(text: str) -> None:
    """A line for the person at the terminal; standard output is for results."""
    print(f"attnbook: {text}", file=sys.stderr, flush=True)


def _silent(text: str) -> None:
    """For all processes but the first, which says it for them."""


if __name__ == "__main__":
    sys.exit(main())
