"""``attnbook serve``: a local page that translates what one types, with the moving figure.

The server answers one kind of request, ``GET /?sentence=…``, with a page that holds everything it
needs. It reads no files by name, writes none, and listens on this machine alone unless ``--host``
says otherwise.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from attnbook.commands import shared
from attnbook.commands.page import page
from attnbook.commands.parser import number
from attnbook.commands.shared import emit, say
from attnbook.settings import Limits
from attnbook.vocabulary import tokenize

if TYPE_CHECKING:
    from attnbook.seq2seq import Translator

__all__ = ["Answer", "add", "server"]

# What a sentence may hold: the figure of a longer one is too wide to read.
CHARACTERS = 1000
WORDS = 60
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Answer = Callable[[str], tuple[HTTPStatus, str]]


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook serve`` its flags."""
    parser.description = (
        "Show a page in your browser that translates what you type and lets you step through what "
        "the model looked at. Only this machine can reach it, unless --host says otherwise. Ctrl-C "
        "ends it."
    )
    parser.epilog = "Example: `attnbook serve grammar-dot`, then open the address that it prints."
    shared.add_model(parser)
    parser.add_argument(
        "--port",
        type=number(int, Limits(0, 65_535)),
        metavar="N",
        default=8000,
        help="0 takes any that is free",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets everybody in your network use it",
    )
    shared.add_search(parser, beam_size=1)
    shared.add_device(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    translator = shared.load(args.model, shared.device(args))
    try:
        serving = server(
            args.host, args.port, _answer(translator, args.beam_size, args.length_penalty)
        )
    except OSError as error:  # in use, not ours, or no such address
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, f"{args.host}:{args.port}") from error
    host, port = serving.server_address[:2]
    with serving:
        say("open this address in a browser; Ctrl-C ends the server")
        emit(f"http://{host!s}:{port}/", flush=True)
        serving.serve_forever()


def server(host: str, port: int, answer: Answer) -> ThreadingHTTPServer:
    """A server that gives ``answer`` the sentence of each request.

    Args:
        host: address to listen on. On a loopback address only requests for that name are
            answered, so that no other page in the browser can read the answers under its own.
        port: 0 takes any that is free.
        answer: from a sentence, perhaps empty, to the page that answers it.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "attnbook", ""
        timeout = 30  # seconds for a request to be sent

        def do_GET(self) -> None:
            try:
                asked = urlsplit(self.path)
                named = urlsplit(f"//{self.headers.get('Host', '')}").hostname
                sentence = parse_qs(asked.query, max_num_fields=4).get("sentence", [""])[0]
            except ValueError:
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            if host in LOOPBACK and named not in LOOPBACK:
                self.send_error(HTTPStatus.FORBIDDEN, "this server answers to localhost")
            elif asked.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self._send(*answer(sentence))

        def _send(self, status: HTTPStatus, text: str) -> None:
            content = text.encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            # Whatever a model writes, the page may load nothing.
            self.send_header(
                "Content-Security-Policy",
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            )
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: what is typed is nobody's business."""

    return ThreadingHTTPServer((host, port), Handler)


def _answer(translator: Translator, beam_size: int, length_penalty: float) -> Answer:
    """Pages of a translator, one at a time."""
    from attnbook.decoding import decode
    from attnbook.figures.scrubber import ScrubberFigure

    one_at_a_time = threading.Lock()

    def answer(sentence: str) -> tuple[HTTPStatus, str]:
        words = tokenize(sentence[: CHARACTERS + 1])
        if len(sentence) > CHARACTERS or len(words) > WORDS:
            wrong = f"A sentence has at most {WORDS} words and {CHARACTERS:,} characters here."
            return HTTPStatus.BAD_REQUEST, _shown(translator, "", wrong)
        if not words:
            return HTTPStatus.OK, _shown(translator, sentence, "Type a sentence to translate.")
        with one_at_a_time:
            trace = decode(translator, words, beam_size=beam_size, length_penalty=length_penalty)
        tokens = translator.source_tokens(words)
        unknown = dict.fromkeys(w for w in tokens if w not in translator.source_vocabulary)
        note = f"Read as <unk>: {', '.join(unknown)}." if unknown else ""
        return HTTPStatus.OK, _shown(
            translator, sentence, trace.text, ScrubberFigure(trace).html(note)
        )

    return answer


def _shown(translator: Translator, sentence: str, text: str, figure: str = "") -> str:
    form = (
        '<form><label for="sentence">A sentence in the language that the model reads</label>'
        f'<input id="sentence" name="sentence" value="{escape(sentence)}" maxlength="{CHARACTERS}" '
        'autofocus autocomplete="off"><button>Translate</button></form>'
    )
    return page(
        f"Translate with {translator.name}", f"{form}<p><strong>{escape(text)}</strong></p>{figure}"
    )
