"""The reference of the package's functions and classes, and the ways that lead to it.

Its pages are made by Sphinx's autodoc from the docstrings. This module adds what autodoc has no
setting for: shapes written as in the source, papers linked to the bibliography, every entry linked
to its source, and below each piece of quoted code (``literalinclude`` with ``:pyobject:``) a link
to the entry of what is quoted.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import pybtex.database
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralInclude
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.nodes import make_refnode
from sphinxcontrib.bibtex.domain import BibtexDomain

from attnbook import __version__
from attnbook.checkpoints import revision

__all__ = ["register"]

_PACKAGE = Path(__file__).resolve().parents[1]
_NAPOLEON = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)

# "Luong et al. 2015", "Luong et al. (2015)", "Luong et al. (2015, eq. 7)"; lines break anywhere.
_CITED = re.compile(
    r"\b(?P<who>[A-Z][\w'-]+)(?:\s+et\s+al\.|\s+and\s+[A-Z][\w'-]+|)\s+"
    r"(?P<bracket>\(?)(?P<year>(?:19|20)\d\d)(?P<rest>\)|,\s+|\b)"
)


# ------------------------------------------------------------------------- from code to its entry


class entry_link(nodes.General, nodes.Element):
    """Where a link to the entry of ``target`` will stand, once all entries are known."""


class QuotedCode(LiteralInclude):
    """``literalinclude``, with a link to the entry of the function that it quotes.

    With ``:no-docstring:`` it leaves out the docstring of what ``:pyobject:`` names, and its
    decorators. Numbers of lines, which ``literalinclude`` offers for that, are others as soon as
    somebody writes a line more.
    """

    option_spec = LiteralInclude.option_spec | {"no-docstring": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        _, path = self.env.relfn2path(self.arguments[0])
        file = Path(path).resolve()
        if "no-docstring" in self.options:
            self.options["lines"] = without_docstring(file, self.options["pyobject"])
        quoted: list[nodes.Node] = super().run()
        if "pyobject" in self.options and file.is_relative_to(_PACKAGE):
            parts = file.relative_to(_PACKAGE.parent).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            quoted.append(entry_link("", target=f"{module}.{self.options['pyobject']}"))
        return quoted


def quoted_object(file: Path, name: str) -> tuple[int, ast.FunctionDef | ast.ClassDef]:
    """A function, class or method by its dotted name, and the first line of its listing.

    Raises:
        ValueError: the file has none of that name.
    """
    node: ast.AST = ast.parse(file.read_text(encoding="utf-8"))
    for part in name.split("."):
        inside = (
            n for n in ast.iter_child_nodes(node) if isinstance(n, (ast.FunctionDef, ast.ClassDef))
        )
        found = next((one for one in inside if one.name == part), None)
        if found is None:
            raise ValueError(f"{file}: there is no {name}")
        node = found
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
    return min([node.lineno, *(one.lineno for one in node.decorator_list)]), node


def without_docstring(file: Path, name: str) -> str:
    """The lines of an object's listing, as the option ``lines`` wants them, but for its docstring.

    Raises:
        ValueError: the file has no such object, or it has no docstring.
    """
    first, node = quoted_object(file, name)
    if ast.get_docstring(node) is None:
        raise ValueError(f"{file}: {name} has no docstring to leave out")
    said = node.body[0]
    return f"{node.lineno - first + 1}-{said.lineno - first},{(said.end_lineno or 0) - first + 2}-"


def _documented(domain: PythonDomain, target: str) -> str | None:
    """The target, or what encloses it, if the reference has an entry of it."""
    while "." in target:
        entry = domain.objects.get(target)
        if entry is not None and entry.objtype != "module":
            return target
        target = target.rpartition(".")[0]
    return None


def resolve_entry_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn each :class:`entry_link` into a link, or into nothing where there is no entry."""
    domain = app.env.get_domain("py")
    assert isinstance(domain, PythonDomain)
    for place in list(doctree.findall(entry_link)):
        target = _documented(domain, place["target"])
        if target is None:
            place.parent.remove(place)
            continue
        entry = domain.objects[target]
        # A line may break after each dot.
        shown = nodes.literal("", target.replace(".", ".\N{ZERO WIDTH SPACE}"))
        link = make_refnode(app.builder, docname, entry.docname, entry.node_id, shown)
        place.replace_self(nodes.paragraph("", "", link, classes=["attn-entry"]))


# -------------------------------------------------------------------------------- from entries on


@cache
def _papers(file: str) -> dict[tuple[str, str], list[str]]:
    """Keys of the bibliography, by the first author's last name and the year."""
    found: dict[tuple[str, str], list[str]] = {}
    for key, entry in pybtex.database.parse_file(file).entries.items():
        if authors := entry.persons.get("author"):
            name = " ".join(authors[0].last_names).replace("{", "").replace("}", "")
            found.setdefault((name, entry.fields.get("year", "")), []).append(key)
    return found


def _is_code(lines: list[str]) -> list[bool]:
    """Of each line, whether it is in a literal block: indented more than a line with ``::``."""
    found: list[bool] = []
    outside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if outside is not None and line.strip() and indent <= outside:
            outside = None
        found.append(outside is not None)
        if outside is None and line.rstrip().endswith("::"):
            outside = indent
    return found


def link_papers(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Cite the papers that a docstring names as a chapter does, with a link to the bibliography."""
    files = getattr(app.config, "bibtex_bibfiles", [])
    papers = {k: v for file in files for k, v in _papers(str(Path(app.srcdir, file))).items()}

    def cited(found: re.Match[str]) -> str:
        keys = papers.get((found["who"], found["year"]), [])
        if len(keys) != 1:  # not in the bibliography, or two of one year
            return found[0]
        rest = found["rest"]
        if found["bracket"]:
            rest = "" if rest == ")" else " (" if rest.startswith(",") else rest
        return f":cite:t:`{keys[0]}`{rest}"

    text: list[str] = []
    for code, group in groupby(zip(_is_code(lines), lines, strict=True), lambda pair: pair[0]):
        part = "\n".join(line for _, line in group)
        text += (part if code else _CITED.sub(cited, part)).split("\n")
    lines[:] = text


def number_citations(app: Sphinx, doctree: nodes.document) -> None:
    """Number the citations of a page anew: each block ``eval-rst`` begins to count at one.

    Two elements of a page would have the same id, and a bibliography could not lead back to them.
    """
    if "cite" not in app.env.domains:
        return
    domain = app.env.get_domain("cite")
    assert isinstance(domain, BibtexDomain)
    refs = domain.citation_refs
    records = [i for i, ref in enumerate(refs) if ref.docname == app.env.docname]
    links = doctree.findall(addnodes.pending_xref)
    cited = [link for link in links if link.get("refdomain") == "cite"]
    for number, (record, node) in enumerate(zip(records, cited, strict=True), start=1):
        node["ids"] = [f"cited-{number}"]
        refs[record] = refs[record]._replace(citation_ref_id=node["ids"][0])


def write_quotes(app: Sphinx, doctree: nodes.document) -> None:
    """Write strings in signatures as the source does: ``Float[Tensor, "batch source"]``."""
    for string in doctree.findall(addnodes.desc_sig_literal_string):
        text = string.astext()
        if text[:1] == "'" and '"' not in text:
            string.children[:] = [nodes.Text(f'"{text[1:-1]}"')]


def skip_member(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out the fields of a NamedTuple: its signature shows them, and nothing else is known."""
    return True if "Alias for field number" in (getattr(thing, "__doc__", None) or "") else None


def hide_catch_all(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str, returned: str
) -> tuple[str, str] | None:
    """A module of PyTorch that takes no arguments says so, instead of ``*args, **kwargs``."""
    return ("()", returned) if arguments == "(*args: Any, **kwargs: Any)" else None


def read_google_style(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Read sections such as ``Args:``.

    What ``sphinx.ext.napoleon`` does as an extension, except that it would take what stands before
    a colon in the first line of a property for the property's type.
    """
    kind = "object" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(lines, _NAPOLEON, app, kind, name, thing, options).lines()


def resolve_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.Node | None:
    """Resolve what Sphinx does not: names that a module imports, and what has no entry.

    A name leads to the entry of what it names. Where there is none, in this package or in another,
    it is shown without a link. What does not exist stays a warning, so that a build with ``-W``
    stops at a name that is wrong.
    """
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    if target.startswith("'"):  # the dimensions of a shape
        return shown
    module, inside = node.get("py:module"), node.get("py:class")
    found = [_find(name) for name in (target, f"{module}.{target}", f"{module}.{inside}.{target}")]
    domain = env.get_domain("py")
    assert isinstance(domain, PythonDomain)
    defined = {f"{getattr(f, '__module__', '')}.{getattr(f, '__qualname__', '')}" for f in found}
    named = [name for name in domain.objects if name in defined or name.endswith(f".{target}")]
    if len(named) == 1:
        entry = domain.objects[named[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, shown)
    exists = any(thing is not None for thing in found) or _is_module(target)
    return shown if exists else None


def _is_module(name: str) -> bool:
    """Whether the package has a module of this name, which may not be loaded."""
    try:
        return name.startswith("attnbook.") and find_spec(name) is not None
    except ModuleNotFoundError:  # what stands before the last dot is no package
        return False


def _find(name: str) -> Any:
    """What a dotted name stands for in the modules that are loaded; None if for nothing."""
    head, _, rest = name.partition(".")
    found: Any = sys.modules.get(head) or getattr(builtins, head, None)
    for part in rest.split(".") if rest else ():
        fields = getattr(found, "__annotations__", {})
        found = getattr(found, part, None) or fields.get(part)
    return found


def source_address(app: Sphinx) -> Callable[[str, dict[str, str]], str | None]:
    """For ``sphinx.ext.linkcode``: where the repository has the source of an entry."""

    def resolve(domain: str, info: dict[str, str]) -> str | None:
        repository = app.config["html_theme_options"].get("repository_url")
        found: Any = sys.modules.get(info["module"])
        for part in info["fullname"].split("."):
            found = getattr(found, part, None)
        found = found.fget if isinstance(found, property) else found
        try:
            found = inspect.unwrap(found)
            file, (lines, start) = inspect.getsourcefile(found), inspect.getsourcelines(found)
        except (TypeError, OSError):  # a constant, or what a decorator made
            return None
        path = Path(file or "").resolve()
        if not repository or not path.is_relative_to(_PACKAGE):
            return None
        place = f"{path.relative_to(_PACKAGE.parents[1]).as_posix()}#L{start}"
        return f"{repository}/blob/{revision(__version__)}/{place}-L{start + len(lines) - 1}"

    return resolve


def register(app: Sphinx) -> None:
    """Load autodoc and what goes with it, and connect the parts above."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.linkcode")
    app.config["linkcode_resolve"] = source_address(app)
    app.add_directive("literalinclude", QuotedCode, override=True)
    app.add_node(entry_link)
    app.connect("doctree-resolved", resolve_entry_links)
    app.connect("autodoc-process-docstring", link_papers)
    app.connect("autodoc-process-docstring", read_google_style)
    app.connect("autodoc-process-signature", hide_catch_all)
    app.connect("missing-reference", resolve_name)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("doctree-read", write_quotes)
    app.connect("doctree-read", number_citations)
