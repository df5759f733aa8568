"""What runs inside the sandbox: one process that imports torch once and forks for each exercise.

This file, :mod:`attnbook.grading.cells` and :mod:`attnbook.exercises.probes` lie alone in the
sandbox, without the rest of the package, so that no solution and no expected result is there to be
found. The process forks
for each request before it is read: the child reads it, and runs a learner's code under limits that
it cannot lift. What the child writes is passed on without being read, from pipe to pipe. So no
request, no answer and no solution is ever in the memory of a process that the next child is forked
from. What comes back is bytes that the other side does not trust.

A request is a :data:`probes.HEAD` and a packed value. The answer is chunks, each eight bytes of
length, little-endian, and that many bytes; a chunk of length 0 ends it, and after it come a byte
and as many letters that say why it ended early. The chunks together are frames: eight bytes of
length and a packed value, one for each case.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import gc
import importlib
import os
import platform
import resource
import select
import signal
import struct
import sys
import termios
import time
from functools import lru_cache
from typing import Any

import torch
from cells import define, needed
from probes import HEAD, as_values, observe, pack, unpack

NOBODY = 65534

# What a child exits with if it could not even begin; a learner's code would have to mean it.
NOT_BEGUN = 70

# Open from before a jail is entered, because in it there is no file at all.
_null = _sizes = -1
_filtered = True


# ---------------------------------------------------------------------------------- the child


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _limits(seconds: int, memory: int) -> None:
    """Limits that the child cannot lift, since it is not root."""
    # The size of the process that was forked from, which is this one's.
    mapped = int(os.pread(_sizes, 100, 0).split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, mapped + memory)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 64)


def _child(requests: int, size: int, pipe: int) -> None:
    """Read a request, run the exercise, and write a frame for each case and for what was left out.

    The first byte that is written, before anything of a learner's is run, says that the request is
    read.
    """
    try:
        body = _read_exactly(requests, size)
        if body is None:
            os._exit(NOT_BEGUN)
        request = unpack(body)
        _limits(int(request["seconds"]), int(request["memory"]))
        for descriptor in (0, 1, 2):
            os.dup2(_null, descriptor)
        kept = os.dup2(pipe, 3)
        os.closerange(4, 4096)
        if _filtered:
            _refuse_system_calls()
        os.write(kept, b"r")
    except BaseException:
        os._exit(NOT_BEGUN)

    def send(value: Any) -> None:
        data = pack(value)
        view = memoryview(struct.pack("<Q", len(data)) + data)
        while view:
            view = view[os.write(kept, view) :]

    try:
        torch.manual_seed(0)
        names: dict[str, Any] = {"__name__": "answer"}
        exec(compile(request["before"], "<given>", "exec"), names)
        statements = needed(request["cells"], request["name"])
        if statements is None:
            send({"absent": True})
            return
        passed_over = define(statements, names)
    except BaseException as error:  # whatever a learner's cells raise
        send({"broken": type(error).__name__, "passed_over": []})
        return
    if request["name"] not in names:
        send({"broken": "NameError", "passed_over": passed_over})
        return
    answer = names[request["name"]]
    for case in request["cases"]:
        torch.manual_seed(0)
        outcome = observe(answer, case["inputs"], tuple(case["gradients"]), request["probe"])
        send(as_values(outcome))
    if passed_over:
        send({"passed_over": passed_over})


# --------------------------------------------------------------------------------- the parent


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _begun(pipe: int, until: float) -> bool:
    """Whether the child has read its request and is locked in."""
    ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
    return bool(ready) and os.read(pipe, 1) == b"r"


def _waiting(pipe: int) -> int:
    """How many bytes could be read from a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _move(source: int, target: int, count: int) -> None:
    """Move bytes from pipe to pipe in the kernel; where it cannot do that there is no sandbox."""
    while count:
        if hasattr(os, "splice"):
            count -= os.splice(source, target, count)
        else:
            part = os.read(source, count)
            _write(target, part)
            count -= len(part)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _pass_on(pipe: int, replies: int, until: float, most: int) -> str:
    """Move what the child writes to the other side; why it was stopped, if it was."""
    size = 0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return "time"
        ready, _, _ = select.select([pipe], [], [], left)
        if not ready:
            continue
        count = _waiting(pipe)
        if count == 0:
            return ""
        size += count
        if size > most:
            return "size"
        _write(replies, struct.pack("<Q", count))
        _move(pipe, replies, count)


def _ended(child: int, ended: str) -> str:
    """End the child, if it does not by itself, and say why it has ended early."""
    until = time.monotonic() + (0.0 if ended else 0.5)
    gone, status = os.waitpid(child, os.WNOHANG)
    while not gone and time.monotonic() < until:
        time.sleep(0.001)
        gone, status = os.waitpid(child, os.WNOHANG)
    if not gone:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not ended and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # Killed by the kernel: it went on when it was told that its time was over.
        slow = (signal.SIGXCPU, signal.SIGKILL)
        ended = "time" if number in slow else f"signal {number}"
    return ended


@lru_cache(maxsize=1)
def _warm() -> None:
    """What torch imports for its first optimizer, seconds of work, is imported once for all forks.

    Nothing may be differentiated here: torch's engine does not survive a fork.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def _serve(requests: int, replies: int, head: bytes) -> bool:
    """Fork, let the child answer, pass on what it writes; False if no other request can follow."""
    size, seconds, most, trains = HEAD.unpack(head)
    if trains:
        _warm()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _child(requests, size, writing)
        finally:
            os._exit(0)
    os.close(writing)
    until = time.monotonic() + seconds
    begun = _begun(reading, until)
    ended = _pass_on(reading, replies, until, most) if begun else "sandbox"
    os.close(reading)
    said = _ended(child, ended).encode()
    _write(replies, struct.pack("<QB", 0, len(said)) + said)
    return begun


# ---------------------------------------------------------- a jail, where there is no bubblewrap

# What a learner's code may want to import when there is no file left to import it from.
_LIBRARY = """
abc array base64 bisect cmath collections.abc contextlib copy csv dataclasses datetime decimal
difflib enum fractions functools heapq inspect io itertools json logging numbers operator pathlib
pprint random statistics string struct textwrap time timeit traceback types typing uuid warnings
weakref zlib numpy.linalg numpy.testing torch.distributions torch.func torch.nn.utils.rnn
torch.testing torch.utils.data
"""

# System calls that reach out of a process or leave something behind in the kernel, by their
# numbers. In each pair of rows the first is of x86_64 and the second of aarch64.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0, 302, 72), "aarch64": (0xC00000B7, 1, 261, 25)}
_REFUSED = (
    # sockets: socket, socketpair
    ((41, 53), (198, 199)),
    # memory, semaphores and messages that outlive a process: shm, sem, msg, mq_open
    ((29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240),
     (194, 195, 196, 190, 191, 192, 193, 186, 187, 188, 189, 180)),
    # keys: add_key, request_key, keyctl
    ((248, 249, 250), (217, 218, 219)),
    # other processes: ptrace, their memory, their files, signals, pidfd
    ((101, 310, 311, 62, 129, 200, 234, 297, 424, 434, 438),
     (117, 270, 271, 129, 138, 130, 131, 240, 424, 434, 438)),
    # others' shares of the processor: setpriority, sched_set…, ioprio_set
    ((141, 142, 144, 203, 251, 314), (140, 118, 119, 122, 30, 274)),
    # what is in the page cache, where every sandbox could leave a mark: mincore, preadv2, pwritev2,
    # fadvise64, readahead, cachestat
    ((27, 327, 328, 221, 187, 451), (232, 286, 287, 223, 213, 451)),
    # memory without a name, tracing: memfd_create, memfd_secret, bpf, perf_event_open, userfaultfd
    ((319, 447, 321, 298, 323), (279, 447, 280, 241, 282)),
    # namespaces and mounts: unshare, setns, mount, umount2, pivot_root, chroot
    ((272, 308, 165, 166, 155, 161), (97, 268, 40, 39, 41, 51)),
    # io_uring, which does all of these without a call
    ((425, 426, 427), (425, 426, 427)),
)  # fmt: skip


def _warm_up() -> None:
    """Import what a learner's code may ask for, and what torch imports when it is first used.

    As in :func:`_warm`, nothing is differentiated.
    """
    for name in _LIBRARY.split():
        importlib.import_module(name)
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    x = torch.ones(1, 2, 4)
    torch.nn.MultiheadAttention(4, 2, batch_first=True)(x, x, x)
    torch.nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)(x)
    torch.nn.GRU(4, 2)(x)
    torch.nn.LSTM(4, 2)(x)
    torch.einsum("bij,bkj->bik", x, x)
    torch.vmap(torch.sin)(x)
    torch.nn.functional.scaled_dot_product_attention(x, x, x)
    repr(x)
    unpack(pack(as_values(observe(torch.sin, {"x": x}))))
    unpack(pack([x.double(), x.long(), x.bool()]))


def _enter(jail: str) -> None:
    """Leave all files behind: root's way to hide them where no file system can be mounted."""
    _warm_up()
    os.chroot(jail)
    os.chdir("/")


def _refuse_system_calls() -> None:
    """Make the calls in :data:`_REFUSED` fail from now on, by a filter that cannot be lifted."""
    architecture, column, prlimit, fcntl_number = _ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    refuse, allow = 0x00050000 | errno.EPERM, 0x7FFF0000
    # Each is a code, how many to skip if true, how many if false, and a number.
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, refuse), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    for number in (n for group in _REFUSED for n in group[column]):
        program += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    # fcntl could have the kernel signal another process: F_SETOWN, F_SETSIG, F_SETOWN_EX.
    program += [(equal, 0, 6, fcntl_number), (load, 0, 0, 24)]
    program += [(equal, 2, 0, 8), (equal, 1, 0, 10), (equal, 0, 1, 15), (give, 0, 0, refuse)]
    program += [(give, 0, 0, allow)]
    # prlimit64 sets limits of the process itself, number 0, and could set others'.
    program += [(equal, 0, 4, prlimit), (load, 0, 0, 16)]
    program += [(equal, 0, 1, 0), (give, 0, 0, allow), (give, 0, 0, refuse)]
    program += [(give, 0, 0, allow)]
    code = b"".join(struct.pack("<HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    # 38: no rights are gained any more; 22: the filter.
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter_, 0, 0):
        raise OSError(ctypes.get_errno(), "the system calls cannot be filtered")


def main(jail: str = "", unsafe: bool = False) -> None:
    """Serve requests until standard input ends.

    Args:
        jail: an empty folder of root's that becomes all there is of the file system; only for root.
            Without it, this runs in a sandbox already.
        unsafe: without a sandbox, and so on systems, too, whose calls cannot be filtered.
    """
    global _null, _sizes, _filtered
    _filtered = not unsafe
    if _filtered and platform.machine() not in _ARCHITECTURES:
        sys.exit(f"the system calls of {platform.machine()} are not known, to refuse some of them")
    _null = os.open(os.devnull, os.O_RDWR)
    _sizes = os.open("/proc/self/statm", os.O_RDONLY)
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    if jail:
        _enter(jail)
    if os.getuid() == 0:  # started by root: the sandbox is built, and its rights end here
        if unsafe:
            _warm_up()  # nobody may be unable to read what lies in root's home
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if 0 in (*os.getresuid(), *os.getresgid()):
        sys.exit("the sandbox would run as root")
    # So that no child reads this process's memory or open files, although they are one user.
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(_null, 0)
    os.dup2(2, 1)
    gc.collect()
    gc.freeze()
    _write(replies, struct.pack("<QB", 0, 0))  # ready
    while (head := _read_exactly(requests, HEAD.size)) is not None:
        if not _serve(requests, replies, head):
            return


if __name__ == "__main__":
    main()
