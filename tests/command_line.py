"""Runs the command line in this process or as a program of its own."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from typing import Any

from attnbook.__main__ import main

# A translator that is trained in a moment, and the sentences of the fixture `parallel_text`.
SMALL = ["--embedding-dim=5", "--hidden-dim=14", "--cell=gru", "--quiet", "--device=cpu"]
FILES = ["--data", "text.de", "text.en", "--validation", "text.de", "text.en"]


def attnbook(capsys: Any, *words: str) -> tuple[str | int | None, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    try:
        code: str | int | None = main(list(words))
    except SystemExit as stop:  # after --help
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: Any, *words: str) -> str:
    """Run a command that has to end in one line and nothing else: that line."""
    code, out, err = attnbook(capsys, *words)
    assert (code, out) == (2, ""), err
    assert err.startswith("attnbook: error: ")
    assert err.count("\n") == 1
    return err


def subprocess_of(*words: str, **options: Any) -> Any:
    """A command as a process of its own, with text on its streams, that heeds Ctrl-C.

    What runs in the background of a shell would ignore it, and so would its children.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "attnbook", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def feed(monkeypatch: Any, content: bytes, terminal: bool = False) -> None:
    """Put bytes on standard input."""
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)
