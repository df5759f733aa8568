"""Executes the labs: ``notebooks/NN_x.py`` becomes ``notebooks/NN_x.ipynb`` with its outputs.

``make notebooks`` calls this. A lab is executed again when its code, or a module of the package
that it imports, directly or through others, has changed since; the notebook itself records what it
was executed from, so that a fresh clone executes nothing. Where only text has changed, or the
release that the setup cell installs, that is written and the outputs stay. A lab runs in an empty
folder, because a reader who opens it in Colab has the notebook and the package and nothing else.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from attnbook.checkpoints import revision

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "notebooks"
PACKAGE = ROOT / "src" / "attnbook"

# A notebook that differs from one execution to the next only where its outputs do.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
}


def _project() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project)


def repository() -> str:
    """The repository's address, from the one place that holds it."""
    return str(_project()["urls"]["Repository"])


def site() -> str:
    """The address of the published book, with a slash at its end."""
    return str(_project()["urls"]["Documentation"])


def branch() -> str:
    """What labs install and links open: the tag of a release, main between two releases."""
    return revision(_project()["version"])


def setup_code() -> str:
    """What installs the package where it is missing, and does nothing where it is not.

    pip leaves alone whatever already satisfies the package's loose ranges, so Colab keeps its own
    torch, NumPy, matplotlib and widgets and gets only what it lacks. Its magic does not raise.
    """
    return f"""\
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+{repository()}@{branch()}"
    get_ipython().run_line_magic("pip", f"install -q {{package}}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {{package}}; it says above why")"""


def colab_link(lab: str, text: str = "Open this lab in Colab") -> str:
    """The Markdown link that opens a notebook in Colab."""
    owner = repository().removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{owner}/blob/{branch()}/notebooks/{lab}"
    return f"[{text}]({address}.ipynb)"


def page_address(page: str, fragment: str = "") -> str:
    """Where the published book has a page, given as its file: ``book/05_dot_attention.md``.

    A notebook is read in Colab, too, where a relative link leads nowhere. The book itself makes
    these addresses relative again (tools/book_site.py), so that it can be read offline.
    """
    return site() + page.removesuffix(".md").removesuffix(".ipynb") + ".html" + fragment


def with_addresses(text: str, folder: str = "notebooks") -> str:
    """A Markdown cell with addresses in place of relative links and of MyST's role for pages."""

    def address(target: str) -> str:
        path, hash_mark, fragment = target.partition("#")
        return page_address(os.path.normpath(f"{folder}/{path}"), hash_mark + fragment)

    text = re.sub(r"\{doc\}`([^`<]+?)\s*<([^`>]+)>`", lambda m: f"[{m[1]}]({address(m[2])})", text)
    return re.sub(
        r"\]\(((?!\w+:)[^)\s]+\.(?:md|ipynb)(?:#[^)\s]*)?)\)", lambda m: f"]({address(m[1])})", text
    )


def sources() -> list[Path]:
    """All labs, in the order of the book."""
    return sorted(p for p in LABS.rglob("*.py") if "checkpoints" not in p.parent.name)


def _imported(code: str) -> set[str]:
    """What a piece of code imports of the package: modules, and names that may be modules."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return {n.removeprefix("attnbook.") for n in found if n.startswith("attnbook.")}


def _files(name: str) -> list[Path]:
    """The files that importing a dotted name executes: its packages and itself."""
    parts = name.split(".")
    places = [PACKAGE.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = [file for p in places for file in (p.with_suffix(".py"), p / "__init__.py")]
    return [file for file in files if file.exists()]


def _modules(code: str) -> list[Path]:
    """The files of the package that a piece of code needs, directly or through others."""
    needed: set[Path] = set()
    waiting = _imported(code)
    while waiting:
        for path in _files(waiting.pop()):
            if path not in needed:
                needed.add(path)
                waiting |= _imported(path.read_text(encoding="utf-8"))
    return sorted(needed)


def _draws(modules: list[Path], asset: Path) -> bool:
    """Whether a script or style of the figures says anything to code that needs some modules."""
    used = {p.stem for p in modules if p.parent == asset.parent} - {"__init__"}
    # One that has no module of its name is shared by all figures.
    return asset.stem in used or (bool(used) and not asset.with_suffix(".py").exists())


def _digest(start: str, paths: Iterable[Path]) -> str:
    total = hashlib.sha256(start.encode())
    for path in paths:
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def made_from(source: Path) -> str:
    """A digest of all that a lab's outputs depend on: its code and the package as it sees it.

    Text and the setup cell, which names the release, have no outputs.
    """
    cells = [c for c in jupytext.read(source).cells if c.cell_type == "code"]
    code = "\n# %%\n".join(c.source for c in cells if "setup" not in c.metadata.get("tags", []))
    modules = _modules(code)
    shipped = {".json", ".safetensors", ".txt", ".js", ".css"}
    data = sorted(p for p in PACKAGE.rglob("*") if p.suffix in shipped)
    data = [p for p in data if p.suffix not in {".js", ".css"} or _draws(modules, p)]
    return _digest(code, [*modules, *data])


def is_current(source: Path) -> bool:
    """Whether the outputs beside a source are those of its code and of this package."""
    target = source.with_suffix(".ipynb")
    if not target.exists():
        return False
    metadata = nbformat.read(target, as_version=4).metadata
    return bool(metadata.get("attnbook", {}).get("made_from") == made_from(source))


def complete(source: Path) -> None:
    """Write a lab's setup cell, its Colab link and the addresses of pages into its source."""
    before = source.read_text(encoding="utf-8")
    notebook = jupytext.reads(before, fmt="py:percent")
    setup = [c for c in notebook.cells if "setup" in c.metadata.get("tags", [])]
    if len(setup) != 1 or notebook.cells[0].cell_type != "markdown":
        sys.exit(f"{source}: needs a Markdown cell first, and one code cell tagged `setup`")
    setup[0].source = setup_code()
    title = notebook.cells[0]
    lines = [x for x in title.source.split("\n") if "colab.research.google.com" not in x]
    title.source = "\n".join(lines).rstrip() + "\n\n" + colab_link(source.stem)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_addresses(cell.source)
    header = before.split("# %%", 1)[0]
    cells = jupytext.writes(notebook, fmt="py:percent").split("# %%", 1)[1]
    after = f"{header}# %%{cells}"
    if after != before:
        source.write_text(after, encoding="utf-8")


def _stable(notebook: NotebookNode, source: Path) -> NotebookNode:
    """The same notebook with nothing in it that changes from run to run."""
    widgets = notebook.metadata.get("widgets")
    record = {"attnbook": {"made_from": made_from(source)}}
    notebook.metadata = nbformat.from_dict(METADATA | record)
    if widgets:
        notebook.metadata["widgets"] = widgets
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.metadata.pop("lines_to_next_cell", None)
    names = _widget_names(notebook)
    text = re.sub(
        r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])",
        lambda m: names.get(m[0], m[0]),
        nbformat.writes(notebook),
    )
    stable: NotebookNode = nbformat.reads(text, as_version=4)
    return stable


def _widget_names(notebook: NotebookNode) -> dict[str, str]:
    """Stable names for widgets, whose own are random: numbered as the outputs show them.

    A widget that is shown comes first, then the widgets it refers to; those that nothing refers to
    follow in the order of their contents.
    """
    kind = "application/vnd.jupyter.widget-view+json"
    states = notebook.metadata.get("widgets", {}).get(
        "application/vnd.jupyter.widget-state+json", {}
    )
    texts = {
        name: json.dumps(state, sort_keys=True) for name, state in states.get("state", {}).items()
    }
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    shown = [o.data[kind]["model_id"] for o in outputs if kind in o.get("data", {})]
    others = sorted(texts, key=lambda name: re.sub("[0-9a-f]{32}", "", texts[name]))
    names: dict[str, str] = {}
    waiting = [*reversed(others), *reversed(shown)]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names[name] = f"{len(names) + 1:032x}"
            waiting += reversed(re.findall("IPY_MODEL_([0-9a-f]{32})", texts.get(name, "")))
    return names


def refresh(source: Path) -> bool:
    """Write a lab's text into its notebook, whose outputs stay; gives whether that was needed."""
    target = source.with_suffix(".ipynb")
    notebook, stored = jupytext.read(source), nbformat.read(target, as_version=4)
    code, outputs = ([c for c in n.cells if c.cell_type == "code"] for n in (notebook, stored))
    for cell, before in zip(code, outputs, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    if "widgets" in stored.metadata:
        notebook.metadata["widgets"] = stored.metadata["widgets"]
    fresh = _stable(notebook, source)
    if fresh == stored:
        return False
    nbformat.write(fresh, target)
    return True


def execute(source: Path, timeout: int) -> float:
    """Execute one lab and write its notebook; gives the seconds it took."""
    notebook = jupytext.read(source)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    nbformat.write(_stable(notebook, source), source.with_suffix(".ipynb"))
    return time.perf_counter() - started


def main() -> None:
    """Execute what changed, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("labs", nargs="*", help="stems, for instance 02_recurrent; none: all labs")
    parser.add_argument("--all", action="store_true", help="execute even where nothing has changed")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one cell (600)")
    args = parser.parse_args()
    unknown = set(args.labs) - {p.stem for p in sources()}
    if unknown:
        parser.error(f"no such lab: {', '.join(sorted(unknown))}")
    # The outputs of a lab must not depend on what else is on the machine that executes it.
    os.environ.pop("ATTNBOOK_DATA", None)
    for source in sources():
        if args.labs and source.stem not in args.labs:
            continue
        complete(source)
        if is_current(source) and not args.all:
            print(f"{source.stem}: {'text written' if refresh(source) else 'nothing changed'}")
            continue
        print(f"{source.stem}: ", end="", flush=True)
        print(f"executed in {execute(source, args.timeout):.0f} s")


if __name__ == "__main__":
    main()
