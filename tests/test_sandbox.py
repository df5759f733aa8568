"""The sandbox that learners' code runs in: what holds it, and what finds out that it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

import machine
from attnbook.__main__ import main
from attnbook.exercises.definition import stub_of
from attnbook.exercises.probes import unpack
from attnbook.grading import assignment, sandbox
from attnbook.grading.assignment import Results, read_assignment
from attnbook.grading.canary import check_installation
from attnbook.grading.classroom import grade_class
from attnbook.grading.grader import Grader
from attnbook.grading.sandbox import Limits, NoSandboxError, Sandbox, reason_against
from attnbook.grading.submissions import find
from classroom import OWN, ordinary, solved, write

ROOT = Path(__file__).resolve().parents[1]

needs_sandbox = pytest.mark.needs("sandbox")


@pytest.fixture(scope="module")
def exercises(own_chapter):
    return own_chapter.exercises


@pytest.fixture(scope="module")
def one():
    """A sandbox that several tests put their questions to."""
    with pytest.MonkeyPatch.context() as patch, Sandbox() as made:
        patch.setenv("ATTNBOOK_TEST_TOKEN", "the instructor's")
        made.run([HONEST], "f", "", ONE)
        yield made


@pytest.fixture
def grader(exercises):
    made = Grader(exercises[:1], "a secret")
    yield made
    made.close()


# ------------------------------------------------------------------------- where there can be none


def said_by(monkeypatch, tmp_path, script: str | None) -> str:
    """The reason against a sandbox where `bwrap` is this program, or none."""
    if script is not None:
        program = tmp_path / "bwrap"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    return reason_against()


def test_without_bubblewrap_it_is_named(monkeypatch, tmp_path):
    said = said_by(monkeypatch, tmp_path, None)
    assert said == "bubblewrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)"
    assert sandbox.remedy(said) == "Debian, Ubuntu: apt-get install bubblewrap"


@pytest.mark.parametrize(
    "words",
    [
        "bwrap: setting up uid map: Permission denied",
        "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
    ],
)
def test_the_limit_of_ubuntu_on_namespaces_is_named_with_its_remedy(monkeypatch, tmp_path, words):
    said = said_by(monkeypatch, tmp_path, f"echo '{words}' >&2; exit 1")
    assert said.startswith(f"bubblewrap cannot make a sandbox here: {words}")
    assert "AppArmor" in said
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in sandbox.remedy(said)
    monkeypatch.setitem(machine.NEEDS, "sandbox", lambda: said)
    assert machine.remedy("sandbox") == sandbox.remedy(said)


def test_another_reason_is_given_as_it_is(monkeypatch, tmp_path):
    said = said_by(monkeypatch, tmp_path, "echo 'bwrap: no room' >&2; exit 1")
    assert said == "bubblewrap cannot make a sandbox here: bwrap: no room"
    assert sandbox.remedy(said) == ""


def test_the_instructors_page_has_the_same_remedies():
    page = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
    assert "setting up uid map: Permission denied" in page
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in page
    assert "apt-get install bubblewrap" in page


def test_on_other_systems_there_is_none(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert reason_against().startswith("bubblewrap works on Linux, and this is darwin")
    with pytest.raises(NoSandboxError, match="this is darwin"):
        assignment.make_grader(read_assignment(names=["dot_scores"]), "a secret", unsafe=False)


@pytest.mark.needs("linux")
def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path, capsys, exercises):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    place = write(tmp_path / "in" / f"anna_{OWN}.ipynb", solved(exercises)).parent
    out = tmp_path / "out"
    command = ["grade", str(place), "--chapters", OWN, "--out", str(out), "--quiet"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "apt-get install bubblewrap" in said
    assert "--run-unsafely-without-a-sandbox" in said
    assert not (out / "grades.csv").exists()
    assert main([*command, "--run-unsafely-without-a-sandbox", "--workers", "1"]) == 0
    assert "anna,2,3,2,7,7" in (out / "grades.csv").read_text(encoding="utf-8")


@needs_sandbox
def test_where_bubblewrap_is_not_allowed_it_says_so(monkeypatch, own_chapter):
    real = sandbox.command()
    monkeypatch.setattr(
        sandbox, "command", lambda: [*real[:1], "--ro-bind", "/missing", "/x", *real[1:]]
    )
    assert "/missing" in reason_against()
    with pytest.raises(NoSandboxError, match="/missing"):
        assignment.make_grader(read_assignment(chapter_names=[OWN]), "a secret", unsafe=False)


# -------------------------------------------------------------------------------------- the canary


@needs_sandbox
def test_the_canary_passes_and_its_sandboxes_are_thrown_away(exercises):
    made = Grader(exercises, "a secret")
    try:
        check_installation(made)
        assert (made.hidden.process, made.practice.process) == (None, None)
    finally:
        made.close()


def readable(words, _):
    """With the machine's own temporary files in reach."""
    place = words.index("--remount-ro")
    return [*words[:place], "--ro-bind", *[tempfile.gettempdir()] * 2, *words[place:]]


def writable(words, folder):
    """With a folder that all that comes later would see."""
    place = words.index("--proc")  # before what may lie in /tmp
    return [*words[:place], "--bind", str(folder), "/tmp", *words[place:]]


def with_a_network(words, _):
    return [word for word in words if word != "--unshare-net"]


def without_the_filter(words, _):
    return [word.replace("inside.main()", "inside.main(unsafe=True)") for word in words]


@needs_sandbox
@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (readable, "read a file of the grader"),
        (writable, "write to /tmp"),
        (with_a_network, "see the machine's network"),
        (without_the_filter, r"change the limits.*leave memory behind"),
    ],
)
def test_a_broken_sandbox_is_found_out(monkeypatch, tmp_path, grader, broken, found):
    tmp_path.chmod(0o777)
    words = broken(sandbox.command(), tmp_path)
    assert words != sandbox.command()
    monkeypatch.setattr(sandbox, "command", lambda: words)
    with pytest.raises(NoSandboxError, match=found):
        check_installation(grader)


@needs_sandbox
def test_a_broken_installation_grades_nobody(monkeypatch, tmp_path, exercises):
    """If the solution itself does not pass, nothing is written: no class of zeros."""
    from attnbook.grading import canary

    monkeypatch.setattr(canary, "source_of", stub_of)
    place = write(tmp_path / "in" / f"anna_{OWN}.ipynb", solved(exercises)).parent
    assignment = read_assignment(chapter_names=[OWN])
    results = Results(tmp_path / "results")
    message = f"nothing was graded: the solution of {exercises[0].name} fails"
    with pytest.raises(RuntimeError, match=message):
        grade_class(find([place]), assignment, "a secret", results)
    assert not list(results)


# ----------------------------------------------------------------------------- one for many answers


@needs_sandbox
def test_one_sandbox_serves_many_and_is_replaced():
    with Sandbox() as one:
        one.MOST = 3
        seen = set()
        for _ in range(5):
            reply = one.run(["def f():\n    return 1"], "f", "", [({}, ())], limits=Limits(2, 5.0))
            assert len(reply.frames) == 1
            assert one.process is not None
            seen.add(one.process.pid)
        assert len(seen) == 2


@needs_sandbox
def test_only_what_is_needed_is_in_the_sandbox(one):
    code = """
def f():
    import os
    found = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [d for d in folders if not os.path.join(folder, d).startswith(
            ("/proc", "/usr", "/dev", "/sys"))]
        found += [os.path.join(folder, name) for name in files]
    return [f for f in found if "attnbook" in f or "dot_attention" in f or "/grader" in f]
"""
    (frame,) = one.run([code], "f", "", [({}, ())], limits=Limits(4, 20.0)).frames
    files = unpack(frame)["value"]
    package = [f for f in files if "attnbook" in f or "dot_attention" in Path(f).stem]
    assert not [f for f in package if f.endswith((".py", ".pyc", ".ipynb"))]
    assert {f for f in files if f.startswith("/grader")} == {
        "/grader/cells.py",
        "/grader/inside.py",
        "/grader/probes.py",
    }


@needs_sandbox
def test_nothing_of_the_instructors_environment_is_in_the_sandbox(one):
    code = "def f():\n    import os\n    return dict(os.environ)\n"
    found = unpack(one.run([code], "f", "", ONE).frames[0])["value"]
    assert set(found) - {"PWD", "LC_CTYPE"} == set(sandbox._environment())


# Somebody's work, with a text that is found nowhere else: in the source and in what comes back.
MARKED = """
NOTE = "0451-the-work-of-anna"

def f():
    return torch.tensor(list(NOTE.encode()), dtype=torch.uint8)
"""
# Looks for it in every object and frame that Python shows, and in the memory around them. A write
# to a pipe fails where nothing is mapped, and so asks without a crash.
SEARCH = """
import ctypes, gc, os, sys

def f(backwards):
    wanted = backwards[::-1].encode()
    mine = {id(wanted)}
    found = []

    def look(what, data):
        data = data.encode() if isinstance(data, str) else bytes(data)
        if wanted in data:
            found.append(what)

    frame = sys._getframe()
    while frame is not None:
        for name, value in frame.f_locals.items():
            if id(value) not in mine and isinstance(value, (str, bytes, bytearray)):
                look(f"frame {frame.f_code.co_name}: {name}", value)
        frame = frame.f_back
    for one in gc.get_objects():
        if isinstance(one, (dict, list, tuple)):
            for value in one.values() if isinstance(one, dict) else one:
                if id(value) not in mine and isinstance(value, (str, bytes, bytearray)):
                    look("object", value)
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    reading, writing = os.pipe()
    page, middle = 1 << 12, id([]) & ~0xFFF
    heap = libc.sbrk(0)
    pages = [*range(heap - (96 << 20), heap, page)]
    pages += range(middle - (32 << 20), middle + (32 << 20), page)
    seen, before = 0, b""
    for address in pages:
        if libc.write(writing, address, page) != page:
            before = b""
            continue
        seen += 1
        data = os.read(reading, page)
        # What was asked for lies in this memory, too: written backwards, and the word itself once.
        if wanted in before[-64:] + data:
            found.append("memory")
        before = data
    return [seen, len(found), sorted(set(found))]
"""


@pytest.fixture(scope="module", params=["bubblewrap", "container"])
def either(request):
    """Both kinds of sandbox."""
    if request.param == "container" and os.getuid():
        pytest.skip("needs root: a container's sandbox is root's")
    with Sandbox(container=request.param == "container") as made:
        yield made


@needs_sandbox
def test_nothing_of_somebody_elses_work_is_in_memory(either):
    """Neither what was asked nor what came back; the search finds what is there."""
    mark = MARKED.split('"')[1]
    asked = [({"backwards": mark[::-1]}, ())]
    limits = Limits(seconds=20, wall=40.0)

    def searched(cells):
        (frame,) = either.run(cells, "f", "import torch\n", asked, limits=limits).frames
        return unpack(frame)["value"]

    seen, alone, _ = searched([SEARCH])  # its own copies of the text
    assert seen > 1000
    for _ in range(3):
        (frame,) = either.run([MARKED], "f", "import torch\n", ONE, limits=limits).frames
        assert bytes(unpack(frame)["value"].tolist()).decode() == mark
    _, after, where = searched([SEARCH])
    assert after <= alone, where
    # With the text in a cell of its own it is found more often.
    _, there, where = searched([MARKED.replace("def f", "def g"), SEARCH + "\nSEEN = NOTE * 3\n"])
    assert there > alone, where


@needs_sandbox
def test_what_comes_back_has_a_limit():
    flood = "def f():\n    import os\n    while True:\n        os.write(3, bytes(1 << 16))\n"
    with Sandbox() as made:
        answer = made.run([flood], "f", "", ONE, limits=Limits(4, 10.0, output=1 << 20))
        assert answer.ended == "size"
        assert sum(map(len, answer.frames)) <= 1 << 20


def test_a_sandbox_that_announces_too_much_is_not_listened_to():
    liar = "import os; os.write(1, (1 << 40).to_bytes(8, 'little')); os.read(0, 1)"
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with Sandbox() as made:
        made.process = subprocess.Popen([sys.executable, "-c", liar], **pipes)
        with pytest.raises(sandbox.BrokenSandboxError, match="sent too much"):
            made._exchange(b"", 60.0, 64)


# Each of these reaches for the process that all answers are forked from, or leaves something for
# the next one. What comes next is somebody's honest answer.
LEFT_BEHIND = {
    "limits": """
        import resource
        for which in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
            attempt(lambda: resource.prlimit(os.getppid(), which, (4, 4)))
    """,
    "priority": """
        attempt(lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19))
        attempt(lambda: os.sched_setaffinity(os.getppid(), {0}))
    """,
    "signals": """
        import signal
        for number in (signal.SIGINT, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            attempt(lambda: os.kill(os.getppid(), number))
            attempt(lambda: os.kill(-1, number))
            attempt(lambda: os.killpg(os.getpgid(os.getppid()), number))
    """,
    "signals-by-pipe": """
        import fcntl, signal
        reading, writing = os.pipe()
        for pipe in (3, reading):
            attempt(lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getppid()))
            attempt(lambda: fcntl.fcntl(pipe, 10, signal.SIGKILL))
        os.write(writing, b"x")
    """,
    "pipes": """
        for process in (1, os.getppid()):
            for number in range(20):
                attempt(lambda: os.write(os.open(f"/proc/{process}/fd/{number}", 1), bytes(9)))
                attempt(lambda: os.open(f"/proc/{process}/fd/{number}", 0))
    """,
    "environment": """
        for process in (1, os.getppid()):
            attempt(lambda: open(f"/proc/{process}/environ").read())
            attempt(lambda: open(f"/proc/{process}/mem", "rb").read(1))
    """,
    "shared-memory": """
        import ctypes
        libc = ctypes.CDLL(None)
        for key in range(20):
            attempt(lambda: refused(libc.shmget(100 + key, 1 << 20, 0o1666)))
            attempt(lambda: refused(libc.semget(100 + key, 1, 0o1666)))
            attempt(lambda: refused(libc.msgget(100 + key, 0o1666)))
    """,
    "keys": """
        import ctypes
        libc = ctypes.CDLL(None)
        for call in (248, 217):  # add_key on two architectures
            for ring in (-3, -4, -5):
                attempt(lambda: refused(libc.syscall(call, b"user", b"left", b"x", 1, ring)))
    """,
    "page-cache": """
        import glob
        large = open(glob.glob("/usr/bin/*")[0], "rb")
        attempt(lambda: os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED))
        attempt(lambda: os.preadv(large.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT))
    """,
}
ATTEMPTS = """
import os

def f():
    done = []

    def attempt(action):
        try:
            done.append(str(action()))
        except OSError:
            pass

    def refused(number):
        if number < 0:
            raise OSError

{body}
    return done
"""
HONEST = "def f():\n    return 'honest'\n"
ONE: list[tuple[dict[str, Any], tuple[str, ...]]] = [({}, ())]


def tried(body: str) -> str:
    return ATTEMPTS.format(body=textwrap.indent(textwrap.dedent(body), "    "))


@needs_sandbox
@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_nothing_reaches_the_next_answer(one, name):
    assert unpack(one.run([HONEST], "f", "", ONE).frames[0])["value"] == "honest"
    process = one.process
    answer = one.run([tried(LEFT_BEHIND[name])], "f", "", ONE)
    assert unpack(answer.frames[0])["value"] == []
    for _ in range(3):
        answer = one.run([HONEST], "f", "", ONE)
        assert answer.ended == ""
        assert unpack(answer.frames[0])["value"] == "honest"
    assert one.process is process


PROGRAM = """
import json, os, sys
assert os.getuid() != 0
from attnbook.exercises.probes import unpack
from attnbook.grading.canary import check_installation
from attnbook.grading.assignment import make_grader, read_assignment
from attnbook.grading.sandbox import NoSandboxError
attempts, honest = json.load(sys.stdin)
try:
    grader = make_grader(read_assignment(names=["dot_scores"]), "a secret", False)
except NoSandboxError as error:
    print(json.dumps(["none", str(error)]))
    sys.exit()
check_installation(grader)
found = []
for code in attempts:
    for each in (code, honest):
        answer = grader.hidden.run([each], "f", "", [({}, ())])
        found.append(unpack(answer.frames[0])["value"])
grader.close()
print(json.dumps(["graded", found]))
"""


@needs_sandbox
def test_an_ordinary_user_has_the_same_sandbox():
    """The canary, and the attempts above, as a user without rights: the way that is recommended.

    Where such a user may have no sandbox, nothing is run.
    """
    words = [sys.executable, "-B", "-c", PROGRAM]
    words = ordinary(words, read=sorted({Path(sys.base_prefix), Path(sys.prefix), ROOT}))
    ran = subprocess.run(
        words,
        input=json.dumps([[tried(body) for body in LEFT_BEHIND.values()], HONEST]),
        env=os.environ | {"HOME": "/tmp", "SECRET": "of the instructor"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    what, found = json.loads(ran.stdout)
    if what == "graded":
        assert found == [[], "honest"] * len(LEFT_BEHIND)
    else:
        assert "bubblewrap cannot make a sandbox here" in found


@needs_sandbox
def test_a_sandbox_that_broke_by_itself_costs_nobody_a_point(monkeypatch, grader, exercises):
    """An answer is believed to have ended its sandbox only if it does so twice."""
    real, count = sandbox._frames, 0

    def damaged(data):
        raise ValueError("damaged on the way")

    def frames(data):
        nonlocal count
        count += 1
        return damaged(data) if count == 1 else real(data)

    first = exercises[0]
    monkeypatch.setattr(sandbox, "_frames", frames)
    assert grader.grade_one(first, solved([first])).points == first.points
    monkeypatch.setattr(sandbox, "_frames", damaged)
    grade = grader.grade_one(first, solved([first]))
    assert (grade.points, grade.mistake) == (0, "ends-its-process")
