"""Graded before anybody: what must pass, what must fail, and what must not be possible.

A broken installation would otherwise turn into a class of zeros, and a leaking sandbox into
something worse.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from attnbook.exercises.definition import source_of, stub_of
from attnbook.exercises.probes import unpack
from attnbook.grading.grader import Grader
from attnbook.grading.sandbox import Limits, NoSandboxError

__all__ = ["CanaryError", "check_installation"]


class CanaryError(RuntimeError):
    """A solution does not pass here, or an empty answer does: grades would be wrong."""


# Tries to break out, and says what it could do. Everything but `ran` has to be False.
_ESCAPE = """
def escape(secret, port):
    import ctypes, os, resource, socket
    could = {"ran": True}

    def attempt(name, action):
        try:
            action()
            could[name] = True
        except BaseException:
            could[name] = False

    def write(path):
        open(path, "w").close()

    def shared_memory():
        if ctypes.CDLL(None).shmget(0, 4096, 0o1600) < 0:
            raise OSError

    attempt("read a file of the grader", lambda: open(secret).read())
    def interfaces():
        lines = open("/proc/net/dev").read().splitlines()[2:]
        if {line.split(":")[0].strip() for line in lines} <= {"lo"}:
            raise OSError

    attempt("see the machine's network", interfaces)
    attempt("reach the network", lambda: socket.create_connection(("127.0.0.1", port), 2))
    attempt("write to /tmp", lambda: write("/tmp/canary"))
    attempt("write to /", lambda: write("/canary"))
    attempt("write to /dev", lambda: write("/dev/canary"))
    attempt("start a process", lambda: os._exit(0) if os.fork() == 0 else None)
    attempt("take 8 GB of memory", lambda: torch.ones(1 << 31))
    # Over an installed package lies an empty folder, of which Python makes a package without
    # anything in it.
    attempt("import the package with the solutions", lambda: __import__("attnbook.exercises"))
    attempt("list the package's files", lambda: os.listdir(__import__("attnbook").__path__[0])[0])
    attempt("become root", lambda: os.setresuid(0, 0, 0))
    for process in {1, os.getppid()}:
        attempt(f"see the files of process {process}", lambda: os.listdir(f"/proc/{process}/fd"))
        attempt(f"see the environment of process {process}",
                lambda: open(f"/proc/{process}/environ").read())
        attempt(f"change the limits of process {process}",
                lambda: resource.prlimit(process, resource.RLIMIT_CPU, (4, 4)))
    attempt("signal the process it was forked from", lambda: os.kill(os.getppid(), 0))
    attempt("leave memory behind", lambda: shared_memory())
    could["run as root"] = 0 in os.getresuid()
    return could
"""


def check_installation(grader: Grader, isolated: bool = True) -> None:
    """Grade the solutions and the stubs, and try to break out; then end those sandboxes.

    Args:
        grader: with its exercises and sandboxes.
        isolated: whether a sandbox is to be tried; not where the instructor chose to have none.

    Raises:
        NoSandboxError: the sandbox lets through what it must not.
        CanaryError: a solution does not pass, or a stub does.
    """
    if isolated:
        could = _tried(grader)
        leaks = [what for what, happened in could.items() if happened and what != "ran"]
        if could.get("ran") is not True:
            raise NoSandboxError("the sandbox does not run anything")
        if leaks:
            raise NoSandboxError(f"the sandbox is no sandbox: code in it can {', '.join(leaks)}")
    for exercise in grader.exercises:
        given = [source_of(g) for g in exercise.given]
        right = grader.grade_one(exercise, [*given, source_of(exercise.solution)])
        if right is None or right.mistake:
            why = "is not found" if right is None else f"fails: {right.mistake}, {right.hint}"
            raise CanaryError(
                f"nothing was graded: the solution of {exercise.name} {why} Is this the course's "
                "own environment? `python -m pip check` and a torch of the pinned version help"
            )
        stub = grader.grade_one(exercise, [*given, stub_of(exercise.solution)])
        if stub is not None and not stub.mistake:
            raise CanaryError(f"nothing was graded: the empty answer to {exercise.name} passes")
    grader.close()  # no learner's code runs where a solution ran


def _tried(grader: Grader) -> dict[str, Any]:
    import socket

    with tempfile.TemporaryDirectory() as folder, socket.socket() as server:
        secret = Path(folder, "secret")
        secret.write_text("secret", encoding="utf-8")
        Path(folder).chmod(0o755)
        server.bind(("127.0.0.1", 0))
        server.listen()
        inputs = {"secret": str(secret), "port": int(server.getsockname()[1])}
        answer = grader.hidden.run(
            [_ESCAPE], "escape", "import torch\n", [(inputs, ())], "call", Limits(seconds=5)
        )
    try:
        value = unpack(answer.frames[0])["value"]
    except (IndexError, ValueError, KeyError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
