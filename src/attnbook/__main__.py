"""The command line: ``attnbook train``, ``translate``, ``evaluate``, ``align``, ``grade`` …

What a user got wrong ends in one line on standard error and the exit code 2 (see
:mod:`attnbook.errors`); results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence
from pkgutil import resolve_name

from attnbook import __version__
from attnbook.commands.parser import Parser
from attnbook.commands.shared import say
from attnbook.errors import UserError, explain, report_here

__all__ = ["COMMANDS", "main"]

# What each command is good for, and what gives its parser the flags. Only the chosen command's
# module is imported.
COMMANDS = {
    "train": ("train a translator and write it to a file", "attnbook.commands.train:add"),
    "translate": (
        "translate sentences with a trained model",
        "attnbook.commands.translate:add",
    ),
    "evaluate": ("BLEU and both perplexities of trained models", "attnbook.commands.evaluate:add"),
    "align": (
        "word alignments of a model or a file, and how right they are",
        "attnbook.commands.align:add",
    ),
    "info": ("what a model's file holds", "attnbook.commands.info:add"),
    "serve": (
        "a local page that translates what you type, with the moving figure",
        "attnbook.commands.serve:add",
    ),
    "benchmark": (
        "how fast the decoders train and translate here, side by side",
        "attnbook.commands.benchmark:add",
    ),
    "grade": ("grade a class's notebooks in a sandbox", "attnbook.grading.commands:add_grade"),
    "export": (
        "exercises for Gradescope or otter-grader, grades for an LMS",
        "attnbook.grading.commands:add_export",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code.

    Args:
        argv: the words after ``attnbook``; None takes them from the shell.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _ready_streams()
        try:
            args = _parser(words).parse_args(words)
            args.command_line = shlex.join(["attnbook", *words])
            args.run(args)
        finally:
            _flush()
    except BrokenPipeError:  # the reader, for instance `head`, has seen enough
        return 0
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except Exception as error:
        line = explain(error)
        if line is None:
            report_here(error)
            raise
        say(f"error: {line}")
        return 2
    return 0


def _parser(words: Sequence[str]) -> Parser:
    """The parser of all commands, with the flags of the one that is asked for."""
    parser = Parser(
        prog="attnbook",
        description="Train small translators, translate with them, measure them; grade exercises.",
        epilog="`attnbook COMMAND --help` lists a command's flags.",
    )
    parser.add_argument("--version", action="version", version=f"attnbook {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, (purpose, add) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name == chosen:
            resolve_name(add)(command)
    return parser


def _ready_streams() -> None:
    """Streams that a shell has closed are refused or replaced; no letter stops the others."""
    if sys.stderr is None:  # `2>&-`: print would turn to standard output
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stdout is None:
        raise UserError("standard output is closed, so there is no place for results")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the terminal's encoding lacks is written as its number.
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Write out what is left of standard output, and nothing later if that fails.

    Python flushes once more at its end and would complain there in its own words.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OSError(error.errno, error.strerror, "standard output") from error


if __name__ == "__main__":
    sys.exit(main())
