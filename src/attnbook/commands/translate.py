"""``attnbook translate``: sentences in, translations out, line by line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from attnbook.commands import outputs, shared
from attnbook.commands.heat import heat_map
from attnbook.commands.page import page
from attnbook.commands.shared import emit, say
from attnbook.corpora import split_lines, split_tokens
from attnbook.errors import UserError, input_errors
from attnbook.subwords import join
from attnbook.vocabulary import tokenize

if TYPE_CHECKING:
    from attnbook.seq2seq import Translator
    from attnbook.trace import DecodingTrace

__all__ = ["add"]

# How much is read at once. A pipe hands over what is in it, at most some 64 kB; a file fills the
# whole, some ten thousand sentences, which are translated in batches of similar length.
AT_ONCE = 1 << 20

# Characters of a sentence. A line that is longer is no sentence, and would take minutes.
LONGEST = 20_000


# --- flags ----------------------------------------------------------------------------------------


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook translate`` its flags."""
    parser.description = (
        "Translate plain sentences, one translation a line. They are lower-cased and cut into "
        "words and punctuation first. Line i of the output belongs to line i of the input; an "
        "empty line stays empty. What comes through a pipe is translated as soon as it comes. "
        "Words the model does not know are named on standard error."
    )
    parser.epilog = (
        'Examples: `attnbook translate grammar-dot "ich möchte ein bier"`; '
        '`attnbook translate grammar-dot "ich möchte ein bier" --heatmap --html bier.html`; '
        "`attnbook translate my.safetensors --file news.de > news.en`."
    )
    shared.add_model(parser)
    parser.add_argument(
        "sentences", nargs="*", help="sentences in quotes; without any, standard input is read"
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="read the sentences from this file (UTF-8)"
    )
    shared.add_pretokenized(parser, "the sentences are")
    shared.add_search(parser, beam_size=1)
    shared.add_device(parser)
    looks = parser.add_argument_group("what the model looks at, for one sentence")
    looks.add_argument(
        "--heatmap", action="store_true", help="print the attention's weights below the translation"
    )
    looks.add_argument(
        "--html", type=Path, metavar="FILE.html", help="write a page with the moving figure"
    )
    looks.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the attention's weights")
    looks.add_argument(
        "--trace", type=Path, metavar="FILE.json", help="write down every step of decoding"
    )
    shared.add_overwrite(looks)
    parser.set_defaults(run=_run)


# --- run ------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> None:
    if args.sentences and args.file:
        raise UserError("give sentences or --file, not both")
    records = [path for path in (args.html, args.plot, args.trace) if path]
    if args.plot and args.plot.suffix != ".svg":
        raise UserError(f"--plot draws SVG; name a file that ends in .svg, not {args.plot.name!r}")
    if len(set(records)) < len(records):
        raise UserError("--html, --plot and --trace need a file each")
    for path in records:
        outputs.check_output(path, overwrite=args.overwrite)
    batches = _batches(args)
    translator = shared.load(args.model, shared.device(args))
    if records or args.heatmap:
        _record(translator, [line for batch in batches for line in batch.lines], args)
        return
    for batch in batches:
        for line in _translated(translator, batch, args):
            emit(line)
        sys.stdout.flush()


@dataclass(frozen=True)
class _Batch:
    """Lines that can be translated together, and the number of the first."""

    lines: list[str]
    first: int


def _batches(args: argparse.Namespace) -> Iterator[_Batch]:
    """The sentences of the command line, of a file or of standard input."""
    if args.sentences:
        return iter([_Batch(list(args.sentences), 1)])
    if args.file:
        return _arriving(args.file.open("rb"), str(args.file))
    if sys.stdin is None:
        raise UserError("standard input is closed; give sentences, or --file")
    if sys.stdin.isatty():
        say("one sentence a line; end with Ctrl-D")
    return _arriving(sys.stdin.buffer, "standard input")


def _arriving(stream: BinaryIO, name: str) -> Iterator[_Batch]:
    """Whole lines as soon as they are there.

    Raises:
        UserError: a line is not UTF-8, or too long to be a sentence.
    """
    first, begun = 1, b""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    with stream:
        while content := read(AT_ONCE):
            whole, newline, begun = (begun + content).rpartition(b"\n")
            if newline:
                batch = _decoded(whole + newline, name, first)
                yield batch
                first += len(batch.lines)
            if len(begun) > 4 * LONGEST:  # bytes of a letter, at most
                raise UserError(_too_long(name, first))
        if begun:
            yield _decoded(begun, name, first)


def _decoded(content: bytes, name: str, first: int) -> _Batch:
    with input_errors():
        lines = split_lines(content, name, first=first)
    for number, line in enumerate(lines, start=first):
        if len(line) > LONGEST:
            raise UserError(_too_long(name, number))
    return _Batch(lines, first)


def _too_long(name: str, number: int) -> str:
    return (
        f"{name}, line {number}: more than {LONGEST:,} characters are no sentence; put one "
        "sentence on each line"
    )


def _cut(args: argparse.Namespace, line: str) -> list[str]:
    return split_tokens(line) if args.pretokenized else tokenize(line)


def _translated(translator: Translator, batch: _Batch, args: argparse.Namespace) -> Iterator[str]:
    """The translations of a batch, line by line."""
    from attnbook.decoding import translate

    sentences = [_cut(args, line) for line in batch.lines]
    for number, sentence in enumerate(sentences, start=batch.first):
        _warn(translator, sentence, number)
    given = [sentence for sentence in sentences if sentence]
    found = iter(
        translate(translator, given, beam_size=args.beam_size, length_penalty=args.length_penalty)
    )
    for sentence in sentences:
        yield " ".join(next(found)) if sentence else ""


def _warn(translator: Translator, sentence: Sequence[str], number: int) -> None:
    """Name the words that the model does not know, and say where it stops reading."""
    known, longest = translator.source_vocabulary, translator.max_source_length
    tokens = translator.source_tokens(sentence)
    if unknown := list(dict.fromkeys(token for token in tokens if token not in known)):
        say(f"line {number}: read as <unk>: {', '.join(unknown)}")
    if longest is not None and len(tokens) > longest:
        kind = "words" if translator.source_subwords is None else "pieces of words"
        say(f"line {number}: cut to its first {longest} of {len(tokens)} {kind}")


# --- what the model looks at ----------------------------------------------------------------------


def _record(translator: Translator, lines: Sequence[str], args: argparse.Namespace) -> None:
    """Translate one sentence and show or write down how."""
    from attnbook.decoding import decode

    sentences = [_cut(args, line) for line in lines]
    if len(sentences) != 1 or not sentences[0]:
        raise UserError(
            "--heatmap, --html, --plot and --trace are for one sentence, got "
            f"{sum(map(bool, sentences))}"
        )
    if (args.heatmap or args.plot) and not translator.attends:
        raise UserError(f"{translator.name} does not attend, so there are no weights to show")
    _warn(translator, sentences[0], 1)
    trace = decode(
        translator, sentences[0], beam_size=args.beam_size, length_penalty=args.length_penalty
    )
    emit(trace.text)
    if args.heatmap:
        for line in heat_map(trace, backwards=translator.reverse_source):
            emit(line)
    sys.stdout.flush()
    if args.trace:
        outputs.write_text(args.trace, trace.to_json() + "\n")
    if args.html:
        outputs.write_text(args.html, _page(trace))
    if args.plot:
        _plot(trace, args.plot)


def _page(trace: DecodingTrace) -> str:
    """A page that needs nothing beside it: the moving figure of one sentence."""
    from attnbook.figures.scrubber import ScrubberFigure

    return page(
        f"{' '.join(join(trace.source_tokens[:-1]))} → {trace.text}",
        ScrubberFigure(trace).html(),
    )


def _plot(trace: DecodingTrace, path: Path) -> None:
    import matplotlib.pyplot as plt

    from attnbook import plots

    with plots.style():
        plots.heatmap(trace, title=trace.text)
        outputs.write(path, lambda place: plots.save(plt.gcf(), place))
        plt.close()
