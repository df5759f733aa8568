"""Exported autograders, run as the systems that they are exported for would run them."""

from __future__ import annotations

import ast
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch

import machine
from attnbook.exercises.probes import pack, unpack
from attnbook.exercises.report import inputs_in_words
from attnbook.grading import bundle, gradescope, sandbox
from attnbook.grading.assignment import Assignment
from attnbook.grading.exports import hidden_inputs, write_gradescope, write_otter
from attnbook.grading.grader import Grader
from classroom import OWN, solved, write

SEED = "the-seed-of-this-test"

pytestmark = pytest.mark.usefixtures("own_chapter", "shared_sandboxes")
needs_sandbox = pytest.mark.needs("sandbox")


@pytest.fixture(scope="module")
def assignment(own_chapter):
    """Two of the exercises, for other points than their own."""
    chosen = own_chapter.exercises[:2]
    return Assignment(chosen, {e.name: e.points + 1.5 for e in chosen}, "Week 3")


@pytest.fixture(scope="module")
def right(assignment):
    return solved(assignment.exercises)


@pytest.fixture(scope="module")
def but_first(assignment):
    """The points of an answer that has the first exercise wrong."""
    return assignment.total - assignment.points[assignment.exercises[0].name]


WRONG = "def pair_products(queries, keys):\n    return queries @ keys.transpose(1, 2) / 2\n"

HOSTILE = """
def pair_products(queries, keys):
    import os, socket, sys
    found = []
    folders = ["{root}", "{root}/source/bundle", "/autograder/source/bundle", "/proc/1"]
    for folder in folders:
        for name in ("seed.txt", "submission_metadata.json", "environ", "results/results.json"):
            try:
                found.append(open(os.path.join(folder, name)).read())
            except OSError:
                pass
        try:
            open(os.path.join(folder, "results/results.json"), "w").write("{{}}")
            found.append("written")
        except OSError:
            pass
    sys.path[:0] = ["{root}/source/python", "/autograder/source/python"]
    try:
        from attnbook.exercises import exercise
        return exercise("dot_scores").solution(queries, keys)
    except ImportError:
        pass
    try:
        socket.create_connection(("127.0.0.1", 9), 1)
    except ConnectionRefusedError:
        found.append("network")
    except OSError:
        pass
    raise ValueError("INPUT " + repr(queries.tolist()) + " ".join(found))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory, assignment):
    path = tmp_path_factory.mktemp("export") / "autograder.zip"
    write_gradescope(path, assignment, SEED)
    return path


def unpacked(archive, root):
    """A folder as Gradescope lays it out."""
    for name in ("source", "submission", "results"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            path = Path(opened.extract(info, root / "source"))
            path.chmod(info.external_attr >> 16 & 0o777)
    run = root / "run_autograder"
    run.write_bytes((root / "source" / "run_autograder").read_bytes())
    run.chmod(0o755)
    (root / "submission_metadata.json").write_text('{"users": [{"name": "secret name"}]}')
    return root


def follows_gradescope(results, assignment):
    """The fields of results.json, as Gradescope's specification has them."""
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    seen = ("visible", "hidden", "after_due_date", "after_published")
    assert isinstance(results["score"], float)
    assert isinstance(results["output"], str)
    assert results["visibility"] in seen
    assert results["stdout_visibility"] == "hidden"
    assert results["execution_time"] >= 0
    for test, one in zip(results["tests"], assignment.exercises, strict=True):
        assert one.name in test["name"]
        assert 0 <= test["score"] <= test["max_score"] == assignment.points[one.name]
        assert test["status"] == ("passed" if test["score"] else "failed")
        assert test["output_format"] == test["name_format"] == "text"
        assert test["visibility"] in seen
        assert test["output"]
    assert results["score"] == sum(test["score"] for test in results["tests"])
    return results


def says_no_secret(text, assignment):
    assert SEED not in text
    assert "secret name" not in text
    for one in assignment.exercises:
        public = {line for c in one.drawn() for line in inputs_in_words(c.inputs)}
        for case in one.drawn(SEED):
            for line in inputs_in_words(case.inputs):
                assert line in public or line not in text, line


# ------------------------------------------------------------------------------------- the archive


def test_the_same_seed_gives_the_same_bytes(archive, tmp_path, assignment):
    again = tmp_path / "again.zip"
    write_gradescope(again, assignment, SEED)
    assert again.read_bytes() == archive.read_bytes()
    inputs = hidden_inputs(assignment, SEED)
    assert inputs == hidden_inputs(assignment, SEED)
    other = hidden_inputs(assignment, "another seed")
    assert all(inputs[name] != other[name] for name in assignment.points)
    with pytest.raises(ValueError, match="secret"):
        hidden_inputs(assignment, "practice")


def test_the_archive_has_what_gradescope_asks_for_and_not_more(archive):
    with zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
        setup = opened.read("setup.sh").decode()
    names = [info.filename for info in infos]
    assert names == sorted(names)
    executable = {i.filename for i in infos if stat.S_IMODE(i.external_attr >> 16) & 0o111}
    assert executable == {"setup.sh", "run_autograder"}
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert not [n for n in names if "exports" in n or "cluster" in n or "__pycache__" in n]
    assert sum(i.file_size for i in infos) < 2e6
    assert f'"torch=={torch.__version__.split("+")[0]}"' in setup
    assert "apt-get install -y --no-install-recommends bubblewrap" in setup
    subprocess.run(["bash", "-n"], input=setup.encode(), check=True)


# ----------------------------------------------------------------------------- run as on Gradescope


def run_it(root, **more):
    environment = {"PATH": os.environ["PATH"], "AUTOGRADER_ROOT": str(root), **more}
    environment["PYTHON"] = sys.executable
    return subprocess.run(
        [root / "run_autograder"], env=environment, capture_output=True, text=True, timeout=300
    )


@needs_sandbox
def test_the_script_grades_with_bubblewrap(archive, tmp_path, assignment, right):
    root = unpacked(archive, tmp_path / "autograder")
    write(root / "submission" / "mine.ipynb", right)
    ran = run_it(root)
    assert ran.returncode == 0, ran.stderr
    assert "runs in bubblewrap" in ran.stdout
    text = (root / "results" / "results.json").read_text()
    results = follows_gradescope(json.loads(text), assignment)
    assert results["score"] == assignment.total
    says_no_secret(text + ran.stdout + ran.stderr, assignment)


# What Docker leaves to root, unless one asks for more.
DOCKER = [
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
    "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
]  # fmt: skip


@pytest.mark.needs("sandbox", "root")
def test_the_script_grades_in_a_container_that_forbids_bubblewrap(
    archive, tmp_path, assignment, right, but_first
):
    """Like a container of Gradescope's: root with Docker's rights, Python, and no repository."""
    root = unpacked(archive, tmp_path / "autograder")
    write(root / "submission" / "mine.ipynb", [*right, HOSTILE.format(root="/autograder")])
    words = [*machine.as_root(), "bwrap", "--unshare-pid", "--unshare-net", "--die-with-parent"]
    words += ["--cap-drop", "ALL"]
    for each in DOCKER:
        words += ["--cap-add", f"CAP_{each}"]
    words += ["--tmpfs", "/tmp"]  # before folders that may lie in it
    for folder in ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc", *sandbox._folders()):
        words += ["--ro-bind-try", folder, folder]
    words += ["--ro-bind", "/dev/null", "/usr/bin/bwrap"]
    words += ["--proc", "/proc", "--dev", "/dev", "--bind", str(root), "/autograder"]
    words += ["--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
    words += ["--setenv", "PYTHON", sys.executable, "--chdir", "/", "/autograder/run_autograder"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "runs in a locked process, because bubblewrap" in ran.stdout
    text = (root / "results" / "results.json").read_text()
    results = follows_gradescope(json.loads(text), assignment)
    assert [t["status"] for t in results["tests"]] == ["failed", "passed"]
    assert results["score"] == but_first
    assert "written" not in text
    assert "network" not in text
    says_no_secret(text + ran.stdout + ran.stderr, assignment)
    for name in ("source", "submission", "results", "submission_metadata.json"):
        assert not stat.S_IMODE((root / name).stat().st_mode) & 0o077, name


@pytest.fixture(scope="module")
def grader(assignment, shared_sandboxes):
    made = Grader(assignment.exercises, SEED, assignment.points)
    yield made
    made.close()


@needs_sandbox
def test_every_kind_of_submission_gets_results(
    archive, tmp_path, grader, assignment, right, but_first
):
    root = unpacked(archive, tmp_path / "autograder")

    def graded(**files):
        for old in (root / "submission").iterdir():
            old.unlink()
        for name, content in files.items():
            path = root / "submission" / f"{name}.ipynb"
            if isinstance(content, list):
                write(path, content)
            else:
                path.write_text(content, encoding="utf-8")
        results = follows_gradescope(gradescope.run(root, grader), assignment)
        assert json.loads((root / "results" / "results.json").read_text()) == results
        says_no_secret(json.dumps(results, ensure_ascii=False), assignment)
        return results

    results = graded(wrong=[*right, WRONG])
    assert results["score"] == but_first
    assert "Hint: " in results["tests"][0]["output"]
    assert "does not hold" in results["tests"][0]["output"]
    assert "expected: " in results["tests"][0]["output"]
    assert results["tests"][1]["output"] == "Every property holds."
    # The better of two answers counts.
    assert graded(right=right, wrong=[*right, WRONG])["score"] == assignment.total
    results = graded(hostile=[*right, HOSTILE.format(root=root)])
    assert results["score"] == but_first
    assert "written" not in json.dumps(results)
    results = graded(partly=["import math\n", *right[:2]])
    assert "masked_mean is not defined" in results["tests"][1]["output"]
    for content, said in {
        "this is no notebook": "not JSON",
        "": "not JSON",
        '{"cells": 3}': "no cells",
        '{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}': "kernel is for",
        json.dumps({"cells": [{"cell_type": "code", "source": "x = '\ud800'"}]}): "none of",
    }.items():
        results = graded(broken=content)
        assert results["score"] == 0
        assert said in results["output"]
    assert "no notebook" in graded()["output"]


# ------------------------------------------------------------- what must not become a score of zero


def test_without_any_sandbox_nobody_gets_a_zero(archive, tmp_path, monkeypatch, capsys, right):
    root = unpacked(archive, tmp_path / "autograder")
    write(root / "submission" / "mine.ipynb", right)
    old = root / "results" / "results.json"
    old.write_text('{"score": 0}')
    monkeypatch.setattr(bundle, "reason_against", lambda: "bubblewrap is forbidden")
    monkeypatch.setattr(sandbox.os, "getuid", lambda: 1000)
    assert gradescope.main([str(root)]) == 1
    assert not old.exists()
    said = capsys.readouterr().err
    assert "To the instructor" in said
    assert "only root" in said
    assert "bubblewrap is forbidden" in said
    assert SEED not in said


def test_a_solution_that_fails_stops_the_grading(archive, tmp_path, monkeypatch, capsys, right):
    root = unpacked(archive, tmp_path / "autograder")
    write(root / "submission" / "mine.ipynb", right)

    def refuse(grader):
        raise RuntimeError("nothing was graded: the solution of pair_products fails")

    monkeypatch.setattr(bundle, "check_installation", refuse)
    assert gradescope.main([str(root)]) == 1
    assert not (root / "results" / "results.json").exists()
    assert "the solution of pair_products fails" in capsys.readouterr().err


def test_other_inputs_than_those_exported_stop_the_grading(
    archive, tmp_path, capsys, assignment, right
):
    root = unpacked(archive, tmp_path / "autograder")
    write(root / "submission" / "mine.ipynb", right)
    place = root / "source" / "bundle"
    path = place / "inputs" / "pair_products.safetensors"
    stored = path.read_bytes()
    assert bundle.read_bundle(place)[1] == SEED
    values = unpack(stored)
    values[0]["inputs"]["queries"] += 1e-8  # another processor's last bit
    path.write_bytes(pack(values))
    assert bundle.read_bundle(place)[0] == assignment
    values[0]["inputs"]["queries"] += 0.1
    for data in (pack(values), stored[:-3], pack(values[1:])):
        path.write_bytes(data)
        with pytest.raises(bundle.BrokenInstallationError):
            bundle.read_bundle(place)
    path.write_bytes(pack(values))
    assert gradescope.main([str(root)]) == 1
    assert "other inputs for pair_products" in capsys.readouterr().err
    assert not (root / "results" / "results.json").exists()


# --------------------------------------------------------------------------- the sandbox of a root


LOCKED = """
import json, os, sys
from pathlib import Path
import torch
from attnbook.exercises.probes import unpack
from attnbook.grading.sandbox import Limits, Sandbox
code, training = json.load(sys.stdin)
with Sandbox(container=True) as locked:
    def value(name, cell):
        given = [({"x": torch.ones(3, 2)}, ())]
        answer = locked.run([cell], name, "import torch\\n", given, limits=Limits(5))
        return unpack(answer.frames[0])

    found = value("probe", code)["value"]
    trained = value("train", training)
    jail = Path(locked.jail)
    there = jail.exists()
print(json.dumps([found, trained["error"], list(trained["value"].shape), there, jail.exists()]))
"""
PROBE = """
def probe(x):
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    found = {"files": os.listdir("/"), "user": list(os.getresuid() + os.getresgid())}
    found["shared memory"] = libc.shmget(4711, 4096, 0o1666)
    found["socket"] = libc.socket(2, 1, 0)
    found["local socket"] = libc.socket(1, 1, 0)
    found["signal"] = libc.kill(os.getppid(), 0)
    found["why"] = ctypes.get_errno()
    found["root"] = libc.setuid(0)
    found["out"] = libc.chroot(b"..")
    return found
"""
TRAINING = """
def train(x):
    import random, statistics
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()
    return layer(x)
"""


@pytest.mark.needs("linux", "root")
def test_the_locked_process_has_no_files_no_network_and_no_shared_memory():
    # What is tried here as root has to be found by root.
    path = ["env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"]
    ran = subprocess.run(
        [*machine.as_root(), *path, sys.executable, "-B", "-c", LOCKED],
        input=json.dumps([PROBE, TRAINING]), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found, error, shape, there, afterwards = json.loads(ran.stdout)
    assert found.pop("files") == []
    assert found.pop("user") == [65534] * 6
    assert found.pop("why") == 1
    assert set(found.values()) == {-1}
    # All that torch imports late was imported before the files were gone.
    assert error == ""
    assert shape == [3, 1]
    assert there
    assert not afterwards


# ------------------------------------------------------------------------------------ otter-grader


@pytest.fixture(scope="module")
def otter_folder(tmp_path_factory, assignment):
    folder = tmp_path_factory.mktemp("otter")
    written = write_otter(folder, assignment, SEED)
    assert all(path.is_file() for path in written)
    return folder


def test_the_same_seed_gives_the_same_otter_assignment(otter_folder, tmp_path, assignment):
    def contents(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    write_otter(tmp_path, assignment, SEED)
    assert contents(tmp_path) == contents(otter_folder)
    for path, data in contents(otter_folder).items():
        if path.parts[0] == "student":
            assert SEED.encode() not in data
            assert path.suffix in (".ipynb", ".py")
    with zipfile.ZipFile(otter_folder / "autograder.zip") as opened:
        names = set(opened.namelist())
        assert {"otter_config.json", "setup.sh", "run_autograder", "run_otter.py"} <= names
        for name in names:
            if name.endswith(".py"):
                ast.parse(opened.read(name))


def test_otter_checks_in_a_notebook(otter_folder, monkeypatch, tmp_path, assignment, right):
    otter = pytest.importorskip("otter", reason="otter-grader is in the extra `test`")
    monkeypatch.setenv("ATTNBOOK_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(otter_folder / "student")
    (notebook,) = Path().glob("*.ipynb")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code" and "grader.check" not in "".join(cell["source"]):
            exec("".join(cell["source"]), names)
    grader = names["grader"]
    assert isinstance(grader, otter.Notebook)
    Path(".OTTER_LOG").unlink(missing_ok=True)

    def checked():
        result = grader.check("pair_products", global_env=names)
        Path(".OTTER_LOG").unlink(missing_ok=True)
        return result

    assert not checked().passed_all  # the stub
    exec(WRONG, names)
    result = checked()
    assert result.score == 0
    assert "Hint: " in result.test_case_results[0].message
    exec("\n".join(c for c in right if "check(" not in c), names)
    result = checked()
    assert result.passed_all
    assert result.score == assignment.points["pair_products"]
    del names["pair_products"]
    assert "not defined yet" in checked().test_case_results[0].message


class Bomb:
    """Runs when otter unpickles it."""

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))

    def __init__(self, path):
        self.path = path


@needs_sandbox
def test_otter_grades_in_the_sandbox(
    otter_folder, tmp_path, monkeypatch, capsys, assignment, right, but_first
):
    """Handed in: one right answer, one attempt at everything, and files that otter would run."""
    run = pytest.importorskip("otter.run", reason="otter-grader is in the extra `test`")
    left = tmp_path / "left"
    forged = f"""
import os, otter.execute, otter.test_files.abstract_test as t
os.mkdir({str(left)!r})
t.TestFile.score = property(lambda self: 100)
attnbook_grades = {{name: (True, "") for name in {list(assignment.points)!r}}}

def pair_products(queries, keys):
    os.mkdir({str(left)!r})
    return 0
"""
    source = write(tmp_path / f"{OWN}.ipynb", [*right, forged])
    bomb = BytesIO()
    pickle.dump(Bomb(left), bomb)
    shadow = f"import os\nos.mkdir({str(left)!r})\n"
    handed_in = tmp_path / "submission.zip"
    with zipfile.ZipFile(handed_in, "w") as opened:
        opened.write(source, source.name)
        opened.writestr(".OTTER_LOG", bomb.getvalue())
        for name in ("torch.py", "pickle.py", "otter/__init__.py", "conftest.py"):
            opened.writestr(name, shadow)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    graded = run.main(
        str(handed_in), autograder=str(otter_folder / "autograder.zip"), output_dir=str(out),
        no_logo=True,
    )  # fmt: skip
    assert not left.exists()
    assert graded.total == but_first
    assert graded.possible == assignment.total
    assert graded.get_result("masked_mean").passed_all
    assert not graded.get_result("pair_products").passed_all
    text = (out / "results.json").read_text(encoding="utf-8")
    assert "Hint: " in text
    said = capsys.readouterr().out
    assert "Learners' code ran in" in said
    says_no_secret(text + said, assignment)
