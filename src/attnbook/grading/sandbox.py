"""Runs a learner's code where it can do no harm: bubblewrap, limits, and a pipe.

The sandbox has no network, a file system that is read-only throughout, processes of its own, and
nothing of the course but :mod:`attnbook.exercises.probes`. One sandbox serves many submissions: it
imports torch once and forks for each exercise; the fork has limits on time, memory, files and
processes, and a filter refuses it the system calls with which it could reach the process that it
was forked from, or leave something in the kernel for the next fork. Nothing else can be left
behind, because nothing can be written. A sandbox in which a fork did not end by itself is thrown
away all the same.

bubblewrap (https://github.com/containers/bubblewrap) is a package of every Linux distribution.
Where it is missing, or not allowed to work, nothing is run.

One other way is for root in a container that is thrown away after each submission and may not mount
anything, as on Gradescope. There the process imports all it needs, makes an empty folder its file
system (``chroot``), becomes nobody, and refuses itself the system calls that reach other processes
or the network. It sees no file, the grader's least of all. What it does not have are a list of
processes and a network of its own: they are only out of its reach as long as the filter names all
the ways there.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors
import torch

from attnbook.exercises import probes
from attnbook.exercises.probes import HEAD, pack

__all__ = ["Answer", "CancelledError", "Limits", "NoSandboxError", "Sandbox", "reason_against"]

_HERE = Path(__file__).parent
MOST_CASES = 100

_INSTALL = "Debian, Ubuntu: apt-get install bubblewrap"
_PROFILE = (
    "give bwrap a profile (the instructors' page has one), or lift the limit for all programs: "
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
)


class NoSandboxError(RuntimeError):
    """There is no sandbox here that learners' code could be run in."""


class BrokenSandboxError(RuntimeError):
    """A sandbox ended or went silent; a new one has to be made."""


class CancelledError(RuntimeError):
    """Somebody else ended the work: what came of it says nothing about what was run."""


@dataclass(frozen=True)
class Limits:
    """What one exercise of one submission may use.

    Attributes:
        seconds: of processor time.
        wall: seconds on the clock.
        memory: bytes beyond what an idle process has.
        output: bytes that may come back.
    """

    seconds: int = 4
    wall: float = 12.0
    memory: int = 1 << 30
    output: int = 16 << 20


@dataclass(frozen=True)
class Answer:
    """What came back for one exercise.

    Attributes:
        frames: the packed outcomes, one for each case that was reached. Untrusted.
        ended: why it ended early: ``time``, ``size``, ``signal 11``; empty if it did not.
    """

    frames: list[bytes] = field(default_factory=list)
    ended: str = ""


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        # torch makes this folder when an optimizer is first used, and fails where it cannot.
        "TORCHINDUCTOR_CACHE_DIR": "/",
    }


def _folders() -> list[str]:
    """What Python and torch need to see."""
    libraries = [Path(m.__file__ or "").parents[1] for m in (torch, safetensors)]
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))]
    found: list[str] = []
    for folder in (*wanted, *libraries):
        for each in (folder, folder.resolve()):
            text = str(each)
            if not any(text == f or text.startswith(f"{f}/") for f in (*found, "/usr")):
                found.append(text)
    return found


def _hidden() -> list[str]:
    """The package itself, where it lies in one of those folders: it has the solutions."""
    package = str(_HERE.parent.resolve())
    return [package] if any(package.startswith(f"{f}/") for f in (*_folders(), "/usr")) else []


def command() -> list[str]:
    """The command line that starts a sandbox's process."""
    words = [
        # Its own process 1 would stay beside what runs inside, open to it where both are one user.
        "bwrap", "--unshare-pid", "--as-pid-1", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", "sandbox",
        "--clearenv",
    ]  # fmt: skip
    if os.getuid() == 0:
        # Built by root, left by root: the process inside becomes nobody before it reads anything.
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for name, value in _environment().items():
        words += ["--setenv", name, value]
    words += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    words += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    words += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    targets = [*_folders(), "/grader/inside.py"]
    # Folders on the way to a mount are made by bubblewrap, and root's would be closed to others.
    above = {str(p) for target in targets for p in Path(target).parents} - {"/"}
    for folder in sorted(above):
        words += ["--perms", "0755", "--dir", folder]
    for folder in _folders():
        words += ["--ro-bind", folder, folder]
    for folder in _hidden():
        words += ["--tmpfs", folder, "--remount-ro", folder]
    for source in (_HERE / "inside.py", _HERE / "cells.py", Path(probes.__file__)):
        words += ["--ro-bind", str(source), f"/grader/{source.name}"]
    for mount in ("/dev", "/"):
        words += ["--remount-ro", mount]
    return [*words, "--chdir", "/", sys.executable, *_program("/grader")]


# Libraries ask for a folder for temporary files when they are imported, and refuse if none can be
# written to. None can.
_BEGIN = "import sys, tempfile; tempfile.tempdir = '/'"


def _program(folder: str) -> list[str]:
    start = f"{_BEGIN}; sys.path.insert(0, {folder!r}); import inside; inside.main()"
    return ["-I", "-B", "-c", start]


def remedy(reason: str) -> str:
    """What helps against a reason of :func:`reason_against`; empty where that is not known."""
    return next((r for r in (_INSTALL, _PROFILE) if r in reason), "")


def reason_against() -> str:
    """Why there can be no sandbox here; empty if there can."""
    if not sys.platform.startswith("linux"):
        return f"bubblewrap works on Linux, and this is {sys.platform}; a virtual machine has one"
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed ({_INSTALL})"
    words = command()
    tried = subprocess.run(
        [*words[: words.index("--chdir")], "--chdir", "/", "/bin/true"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if tried.returncode:
        said = tried.stderr.strip() or str(tried.returncode)
        limit = ""
        if "setting up uid map" in said or "RTM_NEWADDR" in said:
            limit = (
                " (Ubuntu since 23.10 allows user namespaces only to programs with an AppArmor "
                f"profile: {_PROFILE})"
            )
        return f"bubblewrap cannot make a sandbox here: {said}{limit}"
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children: bubblewrap's need not die with it, nor a fork with us."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with suppress(OSError):
        for child in children.read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)
    process.kill()


class Sandbox:
    """One process that learners' code is forked from.

    Args:
        unsafe: without any sandbox, as this user, with the limits alone. Only for notebooks that
            one has read.
        container: without bubblewrap, for root in a container that is thrown away afterwards.

    Raises:
        NoSandboxError: there can be none here.
    """

    #: Forks after which a sandbox is replaced, in case something accumulates.
    MOST = 200

    def __init__(self, unsafe: bool = False, container: bool = False) -> None:
        self.unsafe, self.container = unsafe, container
        self.jail = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.served = 0
        self.cancelled = False

    def __enter__(self) -> Sandbox:
        """For ``with``."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def _start(self) -> None:
        if self.unsafe or self.container:
            if self.container:
                self._make_jail()
            # inside.py imports probes.py from beside it.
            folder = str(Path(probes.__file__).parent)
            start = (
                f"{_BEGIN}; sys.path[:0] = [{str(_HERE)!r}, {folder!r}]; import inside; "
                f"del sys.path[:2]; inside.main({self.jail!r}, {self.unsafe!r})"
            )
            words = [sys.executable, "-I", "-B", "-c", start]
            environment = _environment()
            if self.unsafe:
                environment = os.environ | environment | {"PATH": os.environ.get("PATH", "")}
        else:
            words, environment = command(), {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self.served = 0
        try:
            ready = self._exchange(b"", 120.0, 64)
        except (BrokenSandboxError, OSError):
            if self.cancelled:
                self.close()
                raise CancelledError from None
            said = self._last_words()
            self.close()
            raise NoSandboxError(f"the sandbox did not start: {said}") from None
        if ready != (b"", ""):
            self.close()
            raise NoSandboxError("the sandbox did not start")

    def _make_jail(self) -> None:
        if os.getuid() != 0:
            raise NoSandboxError("without bubblewrap, only root can lock a process away")
        self.jail = tempfile.mkdtemp(prefix="attnbook-jail-")
        os.chmod(self.jail, 0o555)

    def _last_words(self) -> str:
        assert self.process is not None
        _end(self.process)
        assert self.process.stderr is not None
        said = self.process.stderr.read(2000).decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    def _exchange(self, request: bytes, seconds: float, most: int) -> tuple[bytes, str]:
        """Send something and read an answer, or an error when the time for both is over.

        What came in chunks, and why it ended early.
        """
        process = self.process
        assert process is not None
        assert process.stdin is not None
        timer = threading.Timer(seconds, _end, (process,))
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            chunks: list[bytes] = []
            while size := self._number(8):
                most -= size
                if most < 0:
                    raise BrokenSandboxError("the sandbox sent too much")
                chunks.append(self._read(size))
            return b"".join(chunks), self._read(self._number(1)).decode("ascii", errors="replace")
        finally:
            timer.cancel()

    def _number(self, size: int) -> int:
        return int.from_bytes(self._read(size), "little")

    def _read(self, size: int) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        found = self.process.stdout.read(size)
        if len(found) < size:
            raise BrokenSandboxError("the sandbox ended")
        return found

    def run(
        self,
        cells: Sequence[str],
        name: str,
        before: str,
        cases: Sequence[tuple[dict[str, Any], tuple[str, ...]]],
        probe: str = "call",
        limits: Limits | None = None,
    ) -> Answer:
        """Run one exercise of one submission in a process of its own.

        Args:
            cells: sources of the notebook's code cells.
            name: of the function or class to call.
            before: code that runs first: imports, given helpers.
            cases: inputs, and the names of those whose gradients are wanted.
            probe: how it is called.
            limits: what it may use.

        Raises:
            CancelledError: :meth:`cancel` was called.
            NoSandboxError: no process can be started.
        """
        limits = limits or Limits()
        request = pack(
            {
                "cells": list(cells),
                "name": name,
                "before": before,
                "probe": probe,
                "cases": [{"inputs": i, "gradients": list(g)} for i, g in cases],
                "seconds": limits.seconds,
                "memory": limits.memory,
            }
        )
        trains = probe in probes.TRAININGS
        head = HEAD.pack(len(request), limits.wall, limits.output, trains)
        if self.cancelled:
            raise CancelledError
        if self.process is None or self.process.poll() is not None or self.served >= self.MOST:
            self.close()
            self._start()
        self.served += 1
        try:
            data, ended = self._exchange(
                head + request, limits.wall + 10.0, limits.output + (1 << 20)
            )
            answer = Answer(_frames(data), ended)
        except (BrokenSandboxError, OSError, ValueError, IndexError, struct.error):
            if self.cancelled:
                raise CancelledError from None
            answer = Answer([], "sandbox")
        if answer.ended:
            self.close()
        return answer

    def cancel(self) -> None:
        """End the process although another thread may wait for an answer; it gets an exception."""
        self.cancelled = True
        if (process := self.process) is not None:
            _end(process)

    def close(self) -> None:
        """End the process and all that runs in it."""
        process, self.process = self.process, None
        jail, self.jail = self.jail, ""
        if jail:
            with suppress(OSError):
                os.rmdir(jail)
        if process is None:
            return
        _end(process)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _frames(data: bytes) -> list[bytes]:
    """The frames that are whole, up to a number that no exercise reaches."""
    frames: list[bytes] = []
    place = 0
    while place + 8 <= len(data) and len(frames) < MOST_CASES:
        (size,) = struct.unpack_from("<Q", data, place)
        if place + 8 + size > len(data):
            break
        frames.append(data[place + 8 : place + 8 + size])
        place += 8 + size
    return frames
