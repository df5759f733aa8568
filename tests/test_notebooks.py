"""The labs as files: made from their sources, executed, and readable without the repository.

What their cells print is compared by nbval, in the same run of pytest.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import jupytext
import nbformat
import pytest

from scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "notebooks"
SOURCES = sorted(LABS.rglob("*.py"))
EXERCISES = LABS / "exercises"  # made from the package's definitions: test_exercise_notebooks.py

notebooks = load_script("tools/notebooks.py")


@pytest.fixture(params=SOURCES, ids=lambda p: p.stem)
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(source: Path) -> nbformat.NotebookNode:
    path = source.with_suffix(".ipynb")
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    return nbformat.read(path, as_version=4)


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_source() -> None:
    made = {
        p.with_suffix(".py")
        for p in LABS.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts and EXERCISES not in p.parents
    }
    assert made == set(SOURCES)


def test_cells_agree_with_the_source(source: Path, notebook: nbformat.NotebookNode) -> None:
    def cells(nb: nbformat.NotebookNode) -> list[tuple[str, str, list[str]]]:
        return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in nb.cells]

    assert cells(notebook) == cells(jupytext.read(source)), (
        f"{source.name} was edited and not executed: run `make notebooks`"
    )


def test_every_cell_was_executed_in_order(notebook: nbformat.NotebookNode) -> None:
    """nbval compares no output of a cell without an execution count, and does not say so."""
    counts = [cell.execution_count for cell in _code(notebook) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_ended_in_an_error(notebook: nbformat.NotebookNode) -> None:
    errors = [o.ename for cell in _code(notebook) for o in cell.outputs if o.output_type == "error"]
    assert errors == []


def test_no_warning_was_printed(notebook: nbformat.NotebookNode) -> None:
    """What a library prints to standard error is noise for a learner, and never the same twice."""
    printed = [
        o.text
        for cell in _code(notebook)
        for o in cell.outputs
        if o.output_type == "stream" and o.name == "stderr"
    ]
    assert printed == []


def test_metadata_does_not_change_from_run_to_run(notebook: nbformat.NotebookNode) -> None:
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "attnbook", "widgets"}
    for key, value in notebooks.METADATA.items():
        assert notebook.metadata[key] == value
    assert [c.id for c in notebook.cells] == [f"cell-{n:02d}" for n in range(len(notebook.cells))]
    assert all("execution" not in c.metadata for c in notebook.cells)


def test_the_setup_cell_names_the_repository(source: Path, notebook: nbformat.NotebookNode) -> None:
    setup = [c for c in _code(notebook) if "setup" in c.metadata.get("tags", [])]
    assert [c.source for c in setup] == [notebooks.setup_code()]
    assert setup[0] is _code(notebook)[0], "the package is needed by the first cell that runs"
    assert setup[0].outputs == []


def test_the_title_cell_opens_the_lab_in_colab(
    source: Path, notebook: nbformat.NotebookNode
) -> None:
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert first.source.endswith(notebooks.colab_link(source.stem))


@pytest.mark.parametrize(
    "path", sorted(LABS.rglob("*.ipynb")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_text_reads_the_same_in_colab(path: Path) -> None:
    """Elsewhere a relative link leads nowhere, and a role of MyST is shown as it is typed."""
    texts = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    prose = re.sub(r"```.*?```", "", "\n\n".join(texts), flags=re.DOTALL)
    roles = re.findall(r"\{[a-z][a-z:-]*\}`[^`]*`", prose)
    relative = re.findall(r"\]\((?!https://|#|data:)([^)]*)\)", prose)
    assert (roles, relative) == ([], [])


def test_figures_are_described(notebook: nbformat.NotebookNode) -> None:
    """The site takes the text for a picture from its cell; without one it shows a file name."""
    for cell in _code(notebook):
        drawn = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        if drawn:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 4, f"say what is to be seen: {cell.source[:80]}"


def test_only_outputs_that_vary_are_left_unchecked(notebook: nbformat.NotebookNode) -> None:
    """nbval skips nothing else: no cell is left out, and none is expected to raise."""
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert tags & {"nbval-skip", "raises-exception", "nbval-raises-exception"} == set()


def test_no_path_or_address_of_the_machine_is_stored(source: Path) -> None:
    text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert re.findall(r"/(?:home|root|Users|tmp)/[\w.]+", text) == []
    assert re.findall(r" at 0x[0-9a-f]{6,}", text) == []


def test_a_lab_needs_only_the_package(source: Path) -> None:
    """Everything a lab imports is Python's own or a dependency that the package declares."""
    code = "\n".join(c.source for c in _code(jupytext.read(source)))
    roots = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            roots |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module.split(".")[0])
    declared = {"attnbook", "torch", "numpy", "matplotlib", "ipywidgets", "anywidget", "tqdm"}
    declared |= {"jaxtyping", "safetensors", "pooch", "sacrebleu", "IPython"}
    assert roots - declared - set(sys.stdlib_module_names) == set()


# --- the tool that makes them -------------------------------------------------------------------

LAB = """# %% [markdown]
# # Title
#
# Try it.

# %% tags=["setup"]
pass

# %%
import attnbook.trace

print("a")

# %%
import ipywidgets

ipywidgets.IntSlider(3)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "97_lab.py"
    path.write_text(LAB, encoding="utf-8")
    notebooks.complete(path)
    return path


def test_complete_writes_setup_and_link_once(lab: Path) -> None:
    once = lab.read_text(encoding="utf-8")
    assert notebooks.setup_code() in once
    assert once.count("colab.research.google.com") == 1
    notebooks.complete(lab)
    assert lab.read_text(encoding="utf-8") == once


def test_complete_replaces_an_old_address(lab: Path) -> None:
    fresh = lab.read_text(encoding="utf-8")
    owner = notebooks.repository().removeprefix("https://github.com/")
    lab.write_text(fresh.replace(owner, "someone/else"), encoding="utf-8")
    notebooks.complete(lab)
    assert lab.read_text(encoding="utf-8") == fresh


def test_complete_writes_addresses_in_place_of_relative_links(tmp_path: Path) -> None:
    text = """See [one](../book/01_vectors.md), [a part](../book/02_recurrent.md#gates),
# [a lab](05_dot_attention.ipynb), {doc}`the chapter <../book/03_encoder_decoder>`
# and [a paper](https://example.org/a.md)."""
    path = tmp_path / "97_lab.py"
    path.write_text(LAB.replace("Try it.", text), encoding="utf-8")
    notebooks.complete(path)
    once = path.read_text(encoding="utf-8")
    site = notebooks.site()
    for link in (
        f"[one]({site}book/01_vectors.html)",
        f"[a part]({site}book/02_recurrent.html#gates)",
        f"[a lab]({site}notebooks/05_dot_attention.html)",
        f"[the chapter]({site}book/03_encoder_decoder.html)",
        "[a paper](https://example.org/a.md)",
    ):
        assert link in once
    notebooks.complete(path)
    assert path.read_text(encoding="utf-8") == once


@pytest.mark.parametrize(
    ("version", "state"), [("0.2.0", "v0.2.0"), ("1.0.1", "v1.0.1"), ("1.1.0.dev0", "main")]
)
def test_a_release_installs_and_opens_its_tag(version, state, lab: Path, monkeypatch) -> None:
    project = {"version": version, "urls": {"Repository": "https://github.com/some/course"}}
    monkeypatch.setattr(notebooks, "_project", lambda: project)
    notebooks.complete(lab)
    text = lab.read_text(encoding="utf-8")
    assert re.findall(r"git\+https://\S+(?=\")", text) == [
        f"git+https://github.com/some/course@{state}"
    ]
    assert re.findall(r"blob/[^/]+", text) == [f"blob/{state}"]


@pytest.mark.parametrize(("before", "after"), [(True, True), (False, True), (False, False)])
def test_the_setup_cell_stops_where_the_package_cannot_be_installed(
    before: bool, after: bool, monkeypatch
) -> None:
    """It installs what is missing; if pip fails, nothing after it runs into a puzzle."""
    commands = []
    there = iter([before, after])

    class Shell:
        def run_line_magic(self, magic: str, line: str) -> None:
            commands.append(f"%{magic} {line}")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: next(there) or None)
    address = f"git+{notebooks.repository()}@{notebooks.branch()}"
    with (
        nullcontext()
        if after
        else pytest.raises(ImportError, match=re.escape(f"install {address}; "))
    ):
        exec(notebooks.setup_code(), {"get_ipython": Shell})
    assert commands == ([] if before else [f"%pip install -q {address}"])


def test_complete_refuses_a_lab_without_a_setup_cell(tmp_path: Path) -> None:
    path = tmp_path / "96_lab.py"
    path.write_text("# %% [markdown]\n# # Title\n\n# %%\nx = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="tagged `setup`"):
        notebooks.complete(path)


def test_executing_twice_gives_the_same_file(lab: Path) -> None:
    target = lab.with_suffix(".ipynb")
    assert not notebooks.is_current(lab)
    notebooks.execute(lab, timeout=120)
    first = target.read_bytes()
    assert notebooks.is_current(lab)
    notebooks.execute(lab, timeout=120)
    assert target.read_bytes() == first
    lab.write_text(lab.read_text(encoding="utf-8") + "\nprint(2)\n", encoding="utf-8")
    assert not notebooks.is_current(lab)


def test_new_text_leaves_outputs_as_they_are(lab: Path, monkeypatch) -> None:
    """Neither prose nor the release that the setup cell installs has an output."""
    target = lab.with_suffix(".ipynb")
    notebooks.execute(lab, timeout=120)
    before = nbformat.read(target, as_version=4)
    assert not notebooks.refresh(lab)
    monkeypatch.setattr(notebooks, "branch", lambda: "v7.0.0")
    lab.write_text(lab.read_text(encoding="utf-8").replace("Try it.", "Now try it."))
    notebooks.complete(lab)
    assert notebooks.is_current(lab)
    assert notebooks.refresh(lab)
    after = nbformat.read(target, as_version=4)
    assert "Now try it." in after.cells[0].source
    assert "@v7.0.0" in after.cells[1].source
    assert [c.get("outputs") for c in after.cells] == [c.get("outputs") for c in before.cells]
    assert after.metadata == before.metadata
    assert not notebooks.refresh(lab)


def test_a_lab_depends_on_the_modules_it_imports(tmp_path: Path, monkeypatch) -> None:
    """Directly and through others; a module that it does not import changes nothing."""
    for name, code in {
        "masks": "x = 1\n",
        "attention": "from attnbook.masks import x\n",
        "plots": "y = 2\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path)
    source = tmp_path / "lab" / "95_lab.py"
    source.parent.mkdir()
    source.write_text("# %%\nfrom attnbook import attention\n", encoding="utf-8")
    before = notebooks.made_from(source)
    (tmp_path / "plots.py").write_text("y = 3\n", encoding="utf-8")
    assert notebooks.made_from(source) == before
    (tmp_path / "masks.py").write_text("x = 2\n", encoding="utf-8")
    assert notebooks.made_from(source) != before


def test_a_lab_depends_on_what_lies_in_folders(tmp_path: Path, monkeypatch) -> None:
    """Modules of a package, its opening file, and the scripts of the figures that a lab shows."""
    for name, text in {
        "scrubber.py": "from attnbook.figures.scrubber import x\n",
        "figures/__init__.py": "",
        "figures/scrubber.py": "x = 1\n",
        "figures/sight.py": "y = 1\n",
        **{f"figures/{name}.js": "// 1\n" for name in ("scrubber", "sight", "shared")},
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path)
    source = tmp_path / "lab" / "95_lab.py"
    source.parent.mkdir()
    source.write_text("# %%\nfrom attnbook.scrubber import x\n", encoding="utf-8")

    def says_something(name: str) -> bool:
        before = notebooks.made_from(source)
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        return notebooks.made_from(source) != before

    said = [
        "figures/__init__.py",
        "figures/scrubber.py",
        "figures/scrubber.js",
        "figures/shared.js",
    ]
    assert [name for name in said if not says_something(name)] == []
    assert not says_something("figures/sight.py")
    assert not says_something("figures/sight.js")
    source.write_text("# %%\nprint(1)\n", encoding="utf-8")
    assert not says_something("figures/shared.js")
