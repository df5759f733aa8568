"""``attnbook benchmark``: how fast the decoders train and translate on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from attnbook.benchmark.plan import BATCHING, DATA, MODELS, PRECISIONS, SECTIONS, Plan
from attnbook.commands.outputs import check_output, write, write_text
from attnbook.commands.shared import emit, print_table, say
from attnbook.errors import UserError, input_errors

__all__ = ["add"]

# A look at everything in a minute or two; the numbers are rough.
QUICK: dict[str, Any] = {
    "threads": (1,),
    "repeat": 2,
    "batches": 2,
    "sentences": 32,
    "pretraining_steps": 60,
}


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook benchmark`` its flags."""
    parser.description = (
        "Time training, greedy and beam search of every decoder and score, taking turns in one "
        "run. Compare them with other libraries' models of the same loss and with what the "
        "machine's matrix products allow, and measure memory. Ctrl-C keeps what was measured."
    )
    parser.epilog = (
        "Examples: `attnbook benchmark --quick --data synthetic`; "
        "`attnbook benchmark --models dot additive --threads 1 --output speed.json`; "
        "`make benchmark` in a checkout, with other libraries in an environment of their own."
    )
    _add_measured(parser.add_argument_group("what is measured"))
    _add_sizes(parser.add_argument_group("sizes"))
    _add_machine(parser.add_argument_group("the machine"))
    _add_files(parser.add_argument_group("what comes out"))
    parser.set_defaults(run=_run)


def _add(group: Any, field: str, meaning: str, **options: Any) -> None:
    """A flag for a field of the plan; absent unless given, so that --quick yields to it."""
    default = getattr(Plan(), field)
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    group.add_argument(
        "--" + field.replace("_", "-"),
        default=argparse.SUPPRESS,
        help=f"{meaning} (default: {shown})",
        **options,
    )


def _add_measured(group: Any) -> None:
    some: dict[str, Any] = {"nargs": "+"}
    _add(group, "only", "sections to measure", choices=SECTIONS, metavar="SECTION", **some)
    _add(group, "models", "models to measure", choices=tuple(MODELS), metavar="MODEL", **some)
    _add(
        group, "batching", "how sentences are put into batches: at random, or by length",
        choices=BATCHING, metavar="BATCHING", **some,
    )  # fmt: skip
    _add(group, "repeat", "rounds; each number is a median over them", type=int, metavar="N")
    group.add_argument(
        "--peers",
        type=Path,
        metavar="FILE.py",
        help="adapters to other libraries, as in the repository's tools/peers.py",
    )
    group.add_argument("--quick", action="store_true", help="few rounds of little work")


def _add_sizes(group: Any) -> None:
    _add(group, "data", "sentence pairs", choices=DATA)
    for field, meaning in {
        "words": "vocabulary of synthetic data",
        "embedding_dim": "width of a word's vector",
        "hidden_dim": "width of a state",
        "batch_tokens": "a bucketed batch: sentences times longest sentence",
        "batch_sentences": "a random batch: sentences",
        "batches": "batches that each model learns from in a round",
        "sentences": "sentences that each model translates in a round",
        "beam_size": "beginnings that beam search keeps",
        "pretraining_steps": "training steps of a peer's weights before it translates",
        "seed": "of weights, batches and synthetic data",
    }.items():
        _add(group, field, meaning, type=int, metavar="N")
    _add(
        group, "dropout", "of this package's models; a peer and its counterpart have none",
        type=float, metavar="X",
    )  # fmt: skip


def _add_machine(group: Any) -> None:
    _add(group, "device", "cpu or cuda")
    _add(
        group, "threads", "numbers of threads, one after the other; a GPU is measured with one",
        nargs="+", type=int, metavar="N",
    )  # fmt: skip
    _add(group, "precision", "bf16 is mixed precision", choices=PRECISIONS)


def _add_files(group: Any) -> None:
    group.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="write the result there; with --only, add it to the result that is there",
    )
    group.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw training speed")
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON in place of tables"
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def _run(args: argparse.Namespace) -> None:
    from attnbook.benchmark import store
    from attnbook.benchmark.attention import TORCH_ATTENTION
    from attnbook.benchmark.peers import load_adapters
    from attnbook.benchmark.run import Benchmark
    from attnbook.training import pick_device

    # Whatever the user got wrong should be found before minutes of measuring.
    adds = hasattr(args, "only") and args.output is not None and args.output.exists()
    with input_errors():
        plan = _plan(args)
        pick_device(plan.device)
        for path in filter(None, (args.output, args.plot)):
            check_output(path, overwrite=True)
        earlier = store.read(args.output, plan) if adds else None
        _check_plot(args.plot, plan, earlier)
        peers, attention_peers = load_adapters(args.peers) if args.peers else ({}, {})
        benchmark = Benchmark(
            plan, peers, TORCH_ATTENTION | attention_peers, progress=not args.quiet, say=say
        )
    stopped: BaseException | None = None
    try:
        benchmark.run()
    except (KeyboardInterrupt, Exception) as error:  # what was measured is kept in any case
        stopped = error
        say(f"{_why(error)}; what was measured so far follows")
    # What was measured by which command: several may have gone into one file.
    run = {"command": args.command_line, "interrupted": isinstance(stopped, KeyboardInterrupt)}
    failed = isinstance(stopped, Exception)
    benchmark.result["runs"] = [run | ({"failed": _why(stopped)} if failed else {})]
    result = store.merge(earlier, benchmark.result) if earlier else benchmark.result
    _hand_over(args, result)
    if stopped is not None:
        raise stopped


def _why(error: BaseException | None) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}"


def _plan(args: argparse.Namespace) -> Plan:
    """The flags that were given, then --quick, then the plan's own defaults."""
    given = (QUICK if args.quick else {}) | vars(args)
    values: dict[str, Any] = {
        field.name: tuple(value) if isinstance(value, list) else value
        for field in fields(Plan)
        if (value := given.get(field.name)) is not None
    }
    return Plan(**values)


def _check_plot(path: Path | None, plan: Plan, earlier: Mapping[str, Any] | None) -> None:
    if path is None:
        return
    if path.suffix != ".svg":
        raise UserError(f"--plot draws SVG: give a name that ends in .svg, not {path.name!r}")
    if "training" not in plan.only and not (earlier or {}).get("training"):
        raise UserError("--plot draws training speed: with --only, name training as well")


def _hand_over(args: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Write, print and draw a result."""
    text = json.dumps(result, indent=1)
    try:
        if args.output:
            write_text(args.output, text + "\n")
    finally:
        if args.json:
            emit(text)
        else:
            _print_tables(result)
        if args.plot and any(result["training"].values()):
            write(args.plot, lambda place: _draw(result, place))


def _print_tables(result: Mapping[str, Any]) -> None:
    from attnbook.benchmark.report import tables

    for table in tables(result):
        emit(f"{table.title}\n")
        print_table(table.head, table.rows)
        emit()
    for name, reason in result["absent"].items():
        emit(f"not here: {name} ({reason})")
    for name, reason in result.get("not_run", {}).items():
        emit(f"not run: {name} ({reason})")


def _draw(result: Mapping[str, Any], path: Path) -> None:
    from attnbook import plots
    from attnbook.benchmark.report import figure

    with plots.style():
        plots.save(figure(result), path)
