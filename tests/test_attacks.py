"""Learners who are up to something, among others who are not, graded together.

Each attack is a definition of `dot_scores` that would like the points without the scores, or to
carry something out, or to harm the grader. What must come of it is always the same: no points, no
hidden input in anything that is written, nothing changed outside, and everybody else graded.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import socket
import textwrap
import threading
import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from attnbook.__main__ import main
from attnbook.exercises import chapter, exercise
from attnbook.exercises.judge import show
from attnbook.exercises.report import inputs_in_words
from classroom import notebook, solved, write

SEED = "the instructor's own secret"

# Each of them is the body of a cell. {secret} is a file of the instructor's, {port} a server of
# the instructor's machine, {out} the folder that the grades are written to.
ATTACKS = {
    "patched-comparisons": """
        def dot_scores(queries, keys):
            for name in ("allclose", "equal", "isclose", "eq"):
                setattr(torch, name, lambda *a, **k: True)
            torch.Tensor.__eq__ = lambda *a: True
            torch.Tensor.allclose = lambda *a, **k: True
            return torch.zeros(1)
    """,
    "patched-torch": """
        def dot_scores(queries, keys):
            torch.Tensor.__matmul__ = lambda *a: torch.ones(1)
            torch.Tensor.clone = lambda self, *a, **k: self
            torch.autograd.grad = lambda *a, **k: [torch.zeros(1)]
            torch.Tensor.requires_grad = True
            return queries
    """,
    "patched-numpy": """
        def dot_scores(queries, keys):
            np.allclose = np.array_equal = lambda *a, **k: True
            np.testing.assert_allclose = lambda *a, **k: None
            return np.ones(1)
    """,
    "patched-checker": """
        def dot_scores(queries, keys):
            import sys
            for module in list(sys.modules.values()):
                for name in ("observe", "as_values", "pack", "judge", "_fault", "check"):
                    if hasattr(module, name):
                        setattr(module, name, lambda *a, **k: b"passed")
            return None
    """,
    "patched-by-a-decorator": """
        def trust(function):
            import probes
            probes.observe = lambda *a, **k: probes.Outcome(value=True)
            probes.PROBES["call"] = lambda f, i: True
            return function

        @trust
        def dot_scores(queries, keys):
            return 1
    """,
    "patched-serialization": """
        def dot_scores(queries, keys):
            import json, struct
            import safetensors.torch as s
            s.save = lambda *a, **k: b"\\x00" * 8
            json.dumps = lambda *a, **k: '{"passed": true, "points": 100}'
            struct.pack = lambda *a: b"\\xff" * 8
            return 1
    """,
    "overwritten-files": """
        def dot_scores(queries, keys):
            import glob, sys
            done = 0
            for path in ["/grader/probes.py", "/grader/inside.py", "{secret}", torch.__file__,
                         "{out}/grades.csv", sys.executable]:
                try:
                    open(path, "w").write("points = 100")
                    done += 1
                except OSError:
                    pass
            return done
    """,
    "tensor-subclass": """
        class Equal(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if function in (torch.Tensor.detach, torch.Tensor.contiguous):
                    return args[0]
                return True

            def __eq__(self, other):
                return True

        def dot_scores(queries, keys):
            return torch.zeros(1).as_subclass(Equal)
    """,
    "array-subclass": """
        class Equal(np.ndarray):
            def __eq__(self, other):
                return True

            def __array_function__(self, *a, **k):
                return True

        def dot_scores(queries, keys):
            return np.zeros(1).view(Equal)
    """,
    "equal-to-everything": """
        class Anything:
            def __eq__(self, other):
                return True

            def __hash__(self):
                return 0

            def __getattr__(self, name):
                return self

            def __call__(self, *a, **k):
                return self

        def dot_scores(queries, keys):
            return Anything()
    """,
    "frame-inspection": """
        def dot_scores(queries, keys):
            import gc, sys
            frame = sys._getframe()
            while frame is not None:
                for name, value in list(frame.f_locals.items()):
                    if "expect" in name or "want" in name or "solution" in name:
                        return value
                frame = frame.f_back
            for thing in gc.get_objects():
                if type(thing).__name__ in ("Exercise", "Verdict", "Case"):
                    return thing.solution(queries, keys)
            return 0
    """,
    "leak-by-message": """
        def dot_scores(queries, keys):
            raise ValueError("INPUT " + repr((queries.tolist(), keys.tolist())))
    """,
    "leak-by-type-name": """
        def dot_scores(queries, keys):
            return type("INPUT " + repr(queries.tolist()), (), {})()
    """,
    "leak-by-exception-name": """
        def dot_scores(queries, keys):
            raise type("INPUT " + repr(queries.tolist()), (Exception,), {})()
    """,
    "leak-by-result": """
        def dot_scores(queries, keys):
            return ("INPUT", queries, keys)
    """,
    "leak-by-files": """
        def dot_scores(queries, keys):
            import os
            for folder in ("/", "/tmp", "/dev", "/dev/shm", "/var/tmp", os.getcwd(), "{out}"):
                try:
                    with open(os.path.join(folder, "left-behind"), "a") as file:
                        file.write("INPUT " + repr(queries.tolist()))
                except OSError:
                    pass
            return 0
    """,
    "leak-by-printing": """
        def dot_scores(queries, keys):
            import os, sys
            print("INPUT", queries.tolist())
            print("INPUT", queries.tolist(), file=sys.__stderr__)
            os.write(1, repr(queries.tolist()).encode())
            os.write(2, repr(queries.tolist()).encode())
            return 0
    """,
    "hidden-file-reads": """
        def dot_scores(queries, keys):
            import os
            found = []
            for path in ("{secret}", "{out}/seed.txt", "/etc/passwd", "/etc/shadow",
                         "/proc/1/environ", f"/proc/{os.getppid()}/environ",
                         f"/proc/{os.getppid()}/mem", "/proc/1/cwd/etc/passwd"):
                try:
                    found.append(open(path, "rb").read(100).decode("latin1"))
                except OSError:
                    pass
            raise ValueError("INPUT " + " ".join(found))
    """,
    "solution-import": """
        from attnbook.exercises.dot_attention import dot_scores as theirs

        def dot_scores(queries, keys):
            return theirs(queries, keys)
    """,
    "solution-from-the-disk": """
        def dot_scores(queries, keys):
            import importlib, sys
            sys.path[:0] = ["{package}", "/usr/src"]
            return importlib.import_module("attnbook.exercises").exercise("dot_scores").solution(
                queries, keys)
    """,
    "forged-pickle": """
        class Boom:
            def __reduce__(self):
                import os
                return (os.system, ("touch {out}/left-behind",))

        def dot_scores(queries, keys):
            import os, pickle
            data = pickle.dumps(Boom())
            for descriptor in range(3, 12):
                try:
                    os.write(descriptor, len(data).to_bytes(8, "little") + data)
                except OSError:
                    pass
            return Boom()
    """,
    "forged-frames": """
        def dot_scores(queries, keys):
            import os, probes, struct
            data = probes.pack({"value": True, "error": "", "changed": [], "gradients": {},
                                "attached": True, "passed": True, "points": 100})
            for _ in range(50):
                os.write(3, struct.pack("<Q", len(data)) + data)
            os._exit(0)
    """,
    "forged-header": """
        def dot_scores(queries, keys):
            import os, struct
            header = b'{"t0":{"dtype":"F32","shape":[4000000000],"data_offsets":[0,16000000000]},'
            header += b'"__metadata__":{"value":"' + b"[" * 100000 + b'"}}'
            data = struct.pack("<Q", len(header)) + header
            os.write(3, struct.pack("<Q", len(data)) + data)
            os.write(3, struct.pack("<Q", 1 << 62))
            os._exit(0)
    """,
    "infinite-loop": """
        def dot_scores(queries, keys):
            while True:
                pass
    """,
    "deaf-infinite-loop": """
        def dot_scores(queries, keys):
            import signal
            for number in range(1, 64):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            while True:
                pass
    """,
    "loop-at-definition": """
        def forever():
            while True:
                pass

        def dot_scores(queries, keys, wait=forever()):
            return 0
    """,
    "sleeps": """
        def dot_scores(queries, keys):
            import time
            time.sleep(1000)
    """,
    "forks": """
        def dot_scores(queries, keys):
            import os
            while True:
                os.fork()
    """,
    "starts-programs": """
        def dot_scores(queries, keys):
            import subprocess
            return subprocess.run(["id"], capture_output=True).stdout.decode()
    """,
    "threads": """
        def dot_scores(queries, keys):
            import threading
            for _ in range(10000):
                threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()
            return 0
    """,
    "eight-gigabytes": """
        def dot_scores(queries, keys):
            return torch.ones(1 << 31)
    """,
    "eight-gigabytes-of-bytes": """
        def dot_scores(queries, keys):
            held = []
            while True:
                held.append(bytearray(1 << 24))
    """,
    "mapped-memory": """
        def dot_scores(queries, keys):
            import mmap
            held = [mmap.mmap(-1, 1 << 28) for _ in range(64)]
            for each in held:
                each.write(b"x" * (1 << 28))
            return 0
    """,
    "leaves-by-exit": """
        def dot_scores(queries, keys):
            import os
            os._exit(0)
    """,
    "system-exit": """
        def dot_scores(queries, keys):
            raise SystemExit(0)
    """,
    "keyboard-interrupt": """
        def dot_scores(queries, keys):
            raise KeyboardInterrupt
    """,
    "crashes": """
        def dot_scores(queries, keys):
            import ctypes
            return ctypes.string_at(0)
    """,
    "recursion": """
        def dot_scores(queries, keys):
            import sys
            sys.setrecursionlimit(1 << 30)
            return dot_scores(queries, keys)
    """,
    "kills-its-parent": """
        def dot_scores(queries, keys):
            import os, signal
            os.kill(os.getppid(), signal.SIGKILL)
            return 0
    """,
    "stops-its-parent": """
        def dot_scores(queries, keys):
            import os, signal
            os.kill(os.getppid(), signal.SIGSTOP)
            return 0
    """,
    "kills-everybody": """
        def dot_scores(queries, keys):
            import os, signal
            for target in (1, 0, -1):
                try:
                    os.kill(target, signal.SIGKILL)
                except OSError:
                    pass
            return 0
    """,
    "lifts-its-limits": """
        def dot_scores(queries, keys):
            import resource
            for which in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):
                try:
                    resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                except (OSError, ValueError):
                    pass
            return torch.ones(1 << 31)
    """,
    "network": """
        def dot_scores(queries, keys):
            import socket
            for host in ("127.0.0.1", "1.1.1.1", "169.254.169.254"):
                try:
                    with socket.create_connection((host, {port}), 2) as connection:
                        connection.sendall(repr(queries.tolist()).encode())
                except OSError:
                    pass
            return 0
    """,
    "abstract-socket": """
        def dot_scores(queries, keys):
            import socket
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect("\\0attnbook-test")
                s.sendall(repr(queries.tolist()).encode())
            except OSError:
                pass
            return 0
    """,
    "floods-output": """
        def dot_scores(queries, keys):
            import os, sys
            line = "x" * (1 << 16)
            for _ in range(2000):
                print(line)
                print(line, file=sys.stderr)
            return 0
    """,
    "floods-the-pipe": """
        def dot_scores(queries, keys):
            import os
            while True:
                os.write(3, b"x" * (1 << 16))
    """,
    "floods-the-result": """
        def dot_scores(queries, keys):
            return "x" * (1 << 26)
    """,
    "nested-result": """
        def dot_scores(queries, keys):
            value = []
            for _ in range(100000):
                value = [value]
            return value
    """,
    "strange-tensors": """
        def dot_scores(queries, keys):
            return (torch.zeros(1).to_sparse(), torch.zeros(1, dtype=torch.complex64),
                    torch.zeros(1).to(torch.float8_e4m3fn), torch.empty(0), torch.tensor(1e308),
                    torch.zeros(1, device="meta"))
    """,
    "float8": """
        def dot_scores(queries, keys):
            return (queries @ keys.transpose(1, 2)).to(torch.float8_e4m3fn)
    """,
    "empty-tensor-without-end": """
        def dot_scores(queries, keys):
            return torch.empty(10**9, 0)
    """,
    "empty-tensor-in-a-list": """
        def dot_scores(queries, keys):
            return [torch.empty(10**7, 0)] * 1000
    """,
    "parts-without-end": """
        def dot_scores(queries, keys):
            return [0] * 300_000
    """,
    "half-a-letter": """
        def dot_scores(queries, keys):
            raise ValueError("\\ud800")
    """,
    "half-a-letter-returned": """
        def dot_scores(queries, keys):
            return {"\\ud800": "\\udfff"}
    """,
    "long-name": """
        def dot_scores(queries, keys):
            return type("A" * 3_000_000, (), {})()
    """,
    "long-message": """
        def dot_scores(queries, keys):
            raise ValueError("A" * 3_000_000)
    """,
    "environment": """
        def dot_scores(queries, keys):
            import glob
            found = []
            for path in glob.glob("/proc/[0-9]*/environ"):
                try:
                    found.append(open(path).read())
                except OSError:
                    pass
            raise ValueError(repr(found))
    """,
    "expanded-tensor": """
        def dot_scores(queries, keys):
            return torch.zeros(1).expand(1 << 40)
    """,
    "deep-source": f"def dot_scores(queries, keys):\n    return {'(' * 5000}0{')' * 5000}",
    "long-sum": "def dot_scores(queries, keys):\n    return " + "+".join(["1"] * 60000),
    "null-bytes": "def dot_scores(queries, keys):\n    return 0  # \x00",
    "metaclass": """
        class Meta(type):
            def __call__(cls, *a, **k):
                import os
                os._exit(0)

        class dot_scores(metaclass=Meta):
            pass
    """,
    "changes-later-cases": """
        def dot_scores(queries, keys):
            import sys
            for case in sys._getframe(2).f_globals.get("cases", []):
                case.clear()
            frame = sys._getframe()
            while frame:
                for value in frame.f_locals.values():
                    if isinstance(value, dict) and "cases" in value:
                        value["cases"] = value["cases"][:1]
                frame = frame.f_back
            return queries @ keys.transpose(1, 2) if queries.shape[0] == 1 else 0
    """,
}  # fmt: skip


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


class Listener(threading.Thread):
    """A server of the instructor's machine that nobody in the sandbox may reach."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.heard: list[bytes] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                self.heard.append(connection.recv(10))


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class with all attackers, graded with one command."""
    folder = tmp_path_factory.mktemp("attacks")
    home, out = folder / "home", folder / "grades"
    home.mkdir()
    secret = home / "secret.txt"
    secret.write_text("INPUT of the instructor", encoding="utf-8")
    os.chmod(folder, 0o755)
    seed = folder / "seed.txt"
    seed.write_text(SEED, encoding="utf-8")
    listener = Listener()
    listener.start()
    exercises = chapter(5).exercises
    others = [e for e in exercises if e.name != "dot_scores"]
    submissions = folder / "submissions"
    package = str(Path(main.__code__.co_filename).parents[1])
    for name, body in ATTACKS.items():
        code = textwrap.dedent(body)
        for key, value in {
            "{secret}": secret, "{port}": listener.port, "{out}": out, "{package}": package,
        }.items():  # fmt: skip
            code = code.replace(key, str(value))
        # Whoever attacks in one exercise has honest answers in the others.
        cells = [*solved(others), code]
        write(submissions / name / "05_dot_attention.ipynb", cells)
    for honest in ("aaron", "mia", "zoe"):
        write(submissions / honest / "05_dot_attention.ipynb", solved(exercises))
    before = _digest(home)
    processes = {p.pid for p in psutil.process_iter()}
    os.environ["ATTNBOOK_TEST_TOKEN"] = "MARKER of the instructor's environment"
    code = main(
        ["grade", str(submissions), "--chapters", "5", "--out", str(out), "--quiet",
         "--seed-file", str(seed)]
    )  # fmt: skip
    del os.environ["ATTNBOOK_TEST_TOKEN"]
    assert code == 0
    listener.server.close()
    # Our own processes, and orphans: other tests may have sandboxes at the same time.
    orphans = [p for p in psutil.process_iter() if p.pid not in processes and p.ppid() == 1]
    left = []
    for process in [*psutil.Process().children(recursive=True), *orphans]:
        with suppress(psutil.NoSuchProcess):  # has ended, though nobody has taken note of it
            left += [process] if any("inside" in word for word in process.cmdline()) else []
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["learner"]: row for row in csv.DictReader(file)}
    return {
        "code": code, "out": out, "rows": rows, "home": (before, _digest(home)), "left": left,
        "heard": listener.heard, "others": [e.name for e in others],
    }  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_earns_a_point(graded, name):
    row = graded["rows"][name]
    assert row["dot_scores"] in ("0", ""), row
    assert [row[other] for other in graded["others"]] == ["3", "2"], row


def test_everybody_else_is_graded(graded):
    assert graded["code"] == 0
    assert len(graded["rows"]) == len(ATTACKS) + 3
    for honest in ("aaron", "mia", "zoe"):
        assert graded["rows"][honest]["points"] == "7"


def test_no_hidden_input_is_carried_out(graded):
    """No number of a hidden input, and no file of the instructor's, is in what is written."""
    hidden = exercise("dot_scores").drawn(SEED)
    numbers = [repr(case.inputs["queries"].tolist()) for case in hidden]
    lines = [line for case in hidden for line in inputs_in_words(case.inputs)]
    lines += [show(value) for case in hidden for value in case.inputs.values()]
    practice = [
        line
        for case in exercise("dot_scores").drawn()
        for line in [
            repr(case.inputs["queries"].tolist()),
            *inputs_in_words(case.inputs),
            *map(show, case.inputs.values()),
        ]
    ]
    unknown = [text for text in (*numbers, *lines) if text not in practice]
    assert len(unknown) >= 24
    for path in graded["out"].rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert SEED not in text
            assert "MARKER" not in text
            assert len(text) < 2_000_000
            assert "of the instructor" not in text
            for each in unknown:
                assert each not in text, (path.name, each)


def test_nothing_outside_is_changed(graded):
    before, after = graded["home"]
    assert before == after
    assert not list(graded["out"].rglob("left-behind"))
    for folder in ("/", "/tmp", "/dev", "/dev/shm", "/var/tmp", os.getcwd()):
        assert not Path(folder, "left-behind").exists()
    assert graded["heard"] == []
    assert graded["left"] == []


def test_feedback_says_what_happened_to_a_loop(graded):
    page = (graded["out"] / "feedback" / "infinite-loop.html").read_text(encoding="utf-8")
    assert "did not end in time" in page
    page = (graded["out"] / "feedback" / "solution-import.html").read_text(encoding="utf-8")
    assert "since it has the solutions" in page


# ---------------------------------------------------------------- notebooks that are none, or odd


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A class whose notebooks are damaged, huge, in another language or rearranged."""
    folder = tmp_path_factory.mktemp("odd")
    submissions = folder / "submissions"
    exercises = chapter(5).exercises
    cells = solved(exercises)
    right = {
        "plain": cells,
        "reordered": [cells[0], *reversed(cells[1:])],
        "duplicated": [c for c in cells for _ in range(3)],
        "prelude-deleted": cells[1:],
        "one-cell": ["\n\n".join(cells)],
        "stub-first": ["def dot_scores(queries, keys):\n    ...\n", *cells],
        "stub-last": [*cells, 'def dot_scores(queries, keys):\n    """Copied."""\n    ...\n'],
        "magics": [
            "%matplotlib inline\n!pip list\nx = 1", "%%timeit\nbroken ((", "help?", *cells,
            "print(1", "model = train_for_hours()", "raise RuntimeError",
        ],
    }  # fmt: skip
    for name, these in right.items():
        write(submissions / name / "05_dot_attention.ipynb", these)
    renamed = notebook(cells)
    for i, cell in enumerate(renamed["cells"]):
        cell["id"] = f"renamed-{i * 7}"
        cell["metadata"] = {"tags": ["whatever"], "name": "other"}
        cell["source"] = cell["source"].splitlines(keepends=True)
    raw = {
        "cells-renamed": json.dumps(renamed),
        "byte-order-mark": "\ufeff" + json.dumps(renamed),
    }
    refused = {
        "not-json": "this is no notebook",
        "empty": "",
        "html": "<html>login</html>",
        "list": "[]",
        "deep": "[" * 200_000,
        "no-cells": "{}",
        "cells-are-text": json.dumps({"cells": "no", "nbformat": 4}),
        "r-kernel": json.dumps(
            notebook(cells, {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}})
        ),
        "julia-kernel": json.dumps(notebook(cells, {"language_info": {"name": "julia"}})),
        "huge": json.dumps(notebook([*cells, "#" * 100_000_000])),
        "nothing-in-it": json.dumps(notebook(["x = 1"])),
        "other-names": json.dumps(notebook([c.replace("dot_sc", "d_sc") for c in cells[:1]])),
    }
    for name, text in (raw | refused).items():
        path = submissions / name / "05_dot_attention.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    binary = submissions / "binary" / "05_dot_attention.ipynb"
    binary.parent.mkdir()
    binary.write_bytes(pickle.dumps(["cells"]) + bytes(range(256)))
    link = submissions / "link" / "05_dot_attention.ipynb"
    link.parent.mkdir()
    link.symlink_to("/etc/passwd")
    out = folder / "grades"
    assert main(["grade", str(submissions), "--chapters", "5", "--out", str(out), "--quiet"]) == 0
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["learner"]: row for row in csv.DictReader(file)}
    return rows, {*right, *raw}, {*refused, "binary", "link"}


def test_rearranged_notebooks_keep_their_points(odd):
    rows, right, _ = odd
    assert {name: rows[name]["points"] for name in right} == dict.fromkeys(right, "7")


def test_what_is_no_notebook_gets_a_reason_and_no_point(odd):
    rows, _, refused = odd
    for name in refused:
        assert rows[name]["points"] == "0"
        assert rows[name]["notes"], name
    assert "MB" in rows["huge"]["notes"]
    assert "'r'" in rows["r-kernel"]["notes"]
    assert "link" in rows["link"]["notes"]


# ------------------------------------------------------------------------------------- archives


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_archives_are_never_unpacked(tmp_path, capsys):
    right = json.dumps(notebook(solved(chapter(5).exercises))).encode()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("bomb/05_dot_attention.ipynb", "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(bytes(1 << 20))
        archive.writestr("anna/05_dot_attention.ipynb", right)
        archive.writestr("../../climber/05_dot_attention.ipynb", right)
        archive.writestr("/absolute/05_dot_attention.ipynb", right)
        archive.writestr("__MACOSX/._05_dot_attention.ipynb", b"")
        archive.writestr("inner.zip", b"PK")
    data = bytearray(bomb.getvalue())
    place = tmp_path / "class.zip"
    place.write_bytes(data)
    out = tmp_path / "deep" / "er" / "grades"
    assert main(["grade", str(place), "--chapters", "5", "--out", str(out), "--quiet"]) == 0
    rows = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
    points = {row["learner"]: row["points"] for row in rows}
    assert points["bomb"] == 0
    assert points["anna"] == 7
    assert not list(tmp_path.rglob("*.ipynb"))
    assert not list(tmp_path.parent.glob("climber*"))
    capsys.readouterr()


def test_a_size_that_lies_is_found_out(tmp_path):
    from attnbook.grading.submissions import LARGEST, Refused, find

    place = _zip(tmp_path / "lie.zip", {"eve/05_dot_attention.ipynb": bytes(LARGEST + 5000)})
    data = place.read_bytes().replace(
        (LARGEST + 5000).to_bytes(4, "little"), (99).to_bytes(4, "little")
    )
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused):
        only.read()


def test_damaged_and_encrypted_entries_are_refused(tmp_path):
    from attnbook.grading.submissions import Refused, find

    place = _zip(tmp_path / "bad.zip", {"eve/05_dot_attention.ipynb": b"{}" * 1000})
    data = bytearray(place.read_bytes())
    data[45:60] = b"\xff" * 15
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused):
        only.read()
    data = bytearray(_zip(place, {"eve/05_dot_attention.ipynb": b"{}"}).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused, match="encrypted"):
        only.read()


def test_names_cannot_become_formulas_markup_or_paths(tmp_path):
    names = ["=cmd|' /C calc'!A0", "<script>alert(1)</script>", "..", "a b\u202e", "+1"]
    cells = solved(chapter(5).exercises[:1])
    place = _zip(
        tmp_path / "class.zip",
        {f"{n}/05_dot_attention.ipynb": json.dumps(notebook(cells)).encode() for n in names},
    )
    out = tmp_path / "grades"
    command = ["grade", str(place), "--exercises", "dot_scores", "--out", str(out), "--quiet"]
    assert main(command) == 0
    table = (out / "grades.csv").read_text(encoding="utf-8")
    assert "'=cmd" in table
    assert "\n=cmd" not in table
    assert "\n+1" not in table
    for page in [out / "report.html", *(out / "feedback").iterdir()]:
        assert "<script>alert" not in page.read_text(encoding="utf-8")
        assert page.resolve().is_relative_to(out.resolve())
    assert len(list((out / "feedback").iterdir())) == len(names)


def test_names_that_no_file_system_likes(tmp_path):
    """Bytes that are no letters, and names as long as they may be: a result for each."""
    cells = json.dumps(notebook(solved(chapter(5).exercises[:1]))).encode()
    place = tmp_path / "in"
    place.mkdir()
    for name in (b"\xff\xfe_05_dot_attention.ipynb", ("\U00020000" * 58 + ".ipynb").encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(place), name))).write_bytes(cells)
    out = tmp_path / "grades"
    command = ["grade", str(place), "--exercises", "dot_scores", "--out", str(out), "--quiet"]
    assert main(command) == 0
    rows = json.loads((out / "grades.json").read_text(encoding="utf-8"))["learners"]
    assert [row["points"] for row in rows] == [2, 2]
