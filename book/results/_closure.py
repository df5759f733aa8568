"""What a function is made of: the source of all that it uses in this repository.

A measured number is kept under a digest of this source (``_measure.py``). A definition at a
module's top level counts if the function names it, directly or through others; comments,
docstrings, the types of arguments and the layout of the text do not. What an object is, rather than
how it is called, is known to nobody before the code runs: a class that is used counts as a whole,
and so does a module that is handed on rather than asked for one of its names.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS, PACKAGES = "book/results", "src"
# What keeps numbers and does not make any.
NOT_MEASURING = frozenset(("_measure", name) for name in ("Cache", "reading", "Missing"))

Name = tuple[str, str]  # a module, and a name at its top level; "" is the whole module
Dotted = tuple[str, ...]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Module:
    """A module's top level.

    Attributes:
        definitions: by name, every statement that makes or changes what the name stands for.
        imports: by local name the module and the name in it that were imported.
    """

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Name] = field(default_factory=dict)


class Sources:
    """The scripts and the package of one checkout."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._modules: dict[str, Module | None] = {}

    def digest(self, module: str, name: str) -> str:
        """Of the source of a definition and of all that it uses."""
        total = hashlib.sha256()
        for owner, one in sorted(self.closure(module, name)):
            total.update(f"{owner}:{one}\n".encode())
            for statement in self.definitions(owner, one):
                total.update(plain(statement).encode())
            total.update(repr(sorted(self._used_by(owner, one))).encode())
        return total.hexdigest()[:12]

    def closure(self, module: str, name: str) -> set[Name]:
        """The definition and all those that it uses, directly or through others."""
        found: set[Name] = set()
        waiting = [(module, name)]
        while waiting:
            one = waiting.pop()
            if one not in found and one not in NOT_MEASURING:
                found.add(one)
                waiting += [meant for _, meant in self._used_by(*one)]
        return found

    def definitions(self, module: str, name: str) -> list[ast.stmt]:
        """The statements behind a name, or all of a module's."""
        known = self.module(module)
        if known is None:
            return []
        if name:
            return known.definitions.get(name, [])
        return [one for statements in known.definitions.values() for one in statements]

    def module(self, name: str) -> Module | None:
        """A module of this repository; others are None."""
        if name not in self._modules:
            path = self._path(name)
            self._modules[name] = read(path.read_text(encoding="utf-8")) if path else None
        return self._modules[name]

    def _path(self, name: str) -> Path | None:
        inside = name.replace(".", "/")
        for place in (f"{SCRIPTS}/{name}.py", f"{PACKAGES}/{inside}.py",
                      f"{PACKAGES}/{inside}/__init__.py"):  # fmt: skip
            if (self.root / place).is_file():
                return self.root / place
        return None

    def _used_by(self, module: str, name: str) -> Iterator[tuple[Dotted, Name]]:
        """What a definition says, and what it means by it."""
        for statement in self.definitions(module, name):
            uses = Uses()
            uses.visit(statement)
            for dotted in uses.names:
                yield from ((dotted, meant) for meant in self._meant(module, dotted))
            for local, imported in uses.imports.items():
                yield from (((local,), meant) for meant in self._imported(*imported))

    def _meant(self, module: str, dotted: Dotted) -> Iterator[Name]:
        """The definitions that ``a.b.c`` may stand for where a module says it."""
        known = self.module(module)
        assert known is not None
        first, *rest = dotted
        if first in known.definitions:
            yield module, first
        elif first in known.imports:
            yield from self._imported(*known.imports[first], *rest)

    def _imported(self, module: str, *names: str) -> Iterator[Name]:
        """What an import brings: a module, one of its names, or a name that it imported itself."""
        names = tuple(name for name in names if name)
        if self.module(module) is None:
            return
        if not names:
            yield module, ""
        elif self.module(f"{module}.{names[0]}") is not None:
            yield from self._imported(f"{module}.{names[0]}", *names[1:])
        else:
            yield from self._meant(module, names)


def read(code: str) -> Module:
    """A module's definitions and imports."""
    module = Module()
    for statement in _top_level(ast.parse(code).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports |= imports_of(statement)
            continue
        for name in _made_by(statement):
            module.definitions.setdefault(name, []).append(statement)
    return module


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, those in conditions included; what only a command does is left out."""
    for statement in body:
        if isinstance(statement, ast.If):
            if "__main__" not in ast.unparse(statement.test):
                yield from _top_level([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handlers = [one for handler in statement.handlers for one in handler.body]
            yield from _top_level([*statement.body, *handlers, *statement.orelse])
        else:
            yield statement


def _made_by(statement: ast.stmt) -> set[str]:
    """Names that a statement makes, or changes as ``name[key] = …`` and ``name.part = …`` do."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(
            node.ctx, ast.Store
        ):
            target: ast.expr = node
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


def imports_of(statement: ast.Import | ast.ImportFrom) -> dict[str, Name]:
    """Local names by what they were imported from. ``import a.b`` brings the name a."""
    if isinstance(statement, ast.ImportFrom):
        return {
            alias.asname or alias.name: (statement.module or "", alias.name)
            for alias in statement.names
        }
    return {
        alias.asname or alias.name.split(".")[0]: (
            alias.name if alias.asname else alias.name.split(".")[0],
            "",
        )
        for alias in statement.names
    }


class Uses(ast.NodeVisitor):
    """The names that a statement takes from its module, with the attributes it asks of them.

    Attributes:
        names: ``("models", "load")`` for ``models.load``.
        imports: imports inside functions.
    """

    def __init__(self) -> None:
        self.names: set[Dotted] = set()
        self.imports: dict[str, Name] = {}
        self._local: list[set[str]] = []

    def _say(self, dotted: Dotted) -> None:
        if not any(dotted[0] in names for names in self._local):
            self.names.add(dotted)

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is read."""
        self._say((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """A chain of attributes, if it begins with a name."""
        names, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._say((inner.id, *reversed(names)))
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """An import inside a function."""
        self.imports |= imports_of(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """An import inside a function."""
        self.imports |= imports_of(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Functions and comprehensions have names of their own."""
        if isinstance(node, _FUNCTIONS):
            around: list[ast.AST] = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            around += [one.annotation for one in _arguments(node.args) if one.annotation]
            body = node.body
            if not isinstance(node, ast.Lambda):
                around += [*node.decorator_list, *([node.returns] if node.returns else [])]
            for part in around:
                self.visit(part)
            inside = body if isinstance(body, list) else [body]
            names = {one.arg for one in _arguments(node.args)}
            self._visit_inside(inside, names | _bound(inside))
        elif isinstance(node, _COMPREHENSIONS):
            bound = _bound([one.target for one in node.generators])
            self._visit_inside(list(ast.iter_child_nodes(node)), bound)
        else:
            super().generic_visit(node)

    def _visit_inside(self, nodes: list[Any], names: set[str]) -> None:
        self._local.append(names)
        for node in nodes:
            self.visit(node)
        self._local.pop()


def _arguments(given: ast.arguments) -> list[ast.arg]:
    rest = [one for one in (given.vararg, given.kwarg) if one]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def _bound(nodes: list[Any]) -> set[str]:
    """Names that are local where these nodes stand, functions inside of them left out."""
    found: set[str] = set()
    free: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Global):
            free |= set(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(imports_of(node))
        elif not isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            if isinstance(node, ast.ExceptHandler) and node.name:
                found.add(node.name)
            waiting += ast.iter_child_nodes(node)
    return found - free


def plain(node: Any) -> str:
    """A node as text: the same in every Python, without docstrings and the types of arguments."""
    if isinstance(node, list):
        return "[" + ",".join(map(plain, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    left_out = {"ctx", "type_comment", "kind", "type_params", "returns"}
    if isinstance(node, ast.arg):
        left_out.add("annotation")
    parts = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _DOCUMENTED) and ast.get_docstring(node, False):
            value = value[1:]
        if name not in left_out and value is not None and value != []:
            parts.append(f"{name}={plain(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


@functools.cache
def here() -> Sources:
    """This checkout, as it was when it was first asked about."""
    return Sources()


def digest(function: Callable[..., Any]) -> str:
    """Of a function at the top level of a script or of the package."""
    inner = inspect.unwrap(function)
    name, file = inner.__qualname__, Path(inner.__code__.co_filename)
    if "." in name or name == "<lambda>":
        raise ValueError(f"{name} is not at a module's top level: its source has no name")
    # A script that is run is called __main__, and one that a test loads has no package.
    package = ROOT / PACKAGES
    inside = file.relative_to(package) if file.is_relative_to(package) else Path(file.name)
    return here().digest(".".join(inside.with_suffix("").parts), name)
