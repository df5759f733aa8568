"""Which statements of a notebook one of its functions needs.

A notebook is a heap of cells: renamed, reordered, split, with scratch work in between. What counts
is what the function would find if all cells had been run: its last definition, the global names
that it refers to, and every statement that gives those a value or changes it. Checks, plots and
trainings are left out. This file is in the sandbox, too, and so it uses Python's library alone.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Statement", "define", "needed"]

# Cell magics whose cell is Python all the same; that of any other is not.
_RUN = re.compile(r"%%(time|timeit|capture|prun|memit)\b")
_COMMAND = re.compile(r"^(\s*)(?:[%!?]|\w[\w, ]*=\s*[%!]|.*\?\s*$)")
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")


def _parsed(cell: str) -> ast.Module | None:
    """A cell's statements; None where it is not Python even without IPython's own commands."""
    lines = cell.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):
        if not _RUN.match(lines[first]):
            return None
        lines[first] = ""
    try:
        return ast.parse("\n".join(lines))
    except _UNREADABLE:
        pass
    # `pass` in place of a command: it may be all that stands in a block.
    kept = [f"{found[1]}pass" if (found := _COMMAND.match(line)) else line for line in lines]
    try:
        return ast.parse("\n".join(kept))
    except _UNREADABLE:
        return None


def _apart(node: ast.stmt) -> Iterator[ast.stmt]:
    """An import of several things as several: one may be missing where the others are not."""
    match node:
        case ast.Import(names=names):
            yield from (ast.copy_location(ast.Import([name]), node) for name in names)
        case ast.ImportFrom(names=names):
            for name in names:
                yield ast.copy_location(ast.ImportFrom(node.module, [name], node.level), node)
        case _:
            yield node


def _root(node: ast.expr) -> str | None:
    """The name that ``name.a[0].b`` begins with."""
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute | ast.Subscript | ast.Starred):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else None


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


@dataclass
class Statement:
    """A statement at the top of a cell, and what it has to do with global names.

    Attributes:
        node: the statement.
        cell: number of its cell, from 1.
        binds: names that it gives a value, whatever they were before.
        changes: names whose value it changes: ``x[0] = 1``, ``x.append(1)``, ``x += 1``.
        reads: names that it needs when it is run.
        reads_later: names that functions in it need when they are called.
        sets: names to which functions in it give a value, by ``global``, when they are called.
        imports: whether what it binds are modules, which no method call changes.
    """

    node: ast.stmt
    cell: int
    binds: set[str]
    changes: set[str]
    reads: set[str]
    reads_later: set[str]
    sets: set[str]
    imports: bool

    @classmethod
    def of(cls, node: ast.stmt, cell: int) -> Statement:
        """Read a statement.

        Raises:
            SyntaxError: Python refuses it, although it can be parsed.
        """
        top = symtable.symtable(ast.unparse(node), "cell", "exec")
        binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
        reads = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
        later: set[str] = set()
        sets: set[str] = set()
        for scope in list(_scopes(top))[1:]:
            function = isinstance(scope, symtable.Function)
            now = not function or scope.get_name() in _COMPREHENSIONS
            found = [symbol for symbol in scope.get_symbols() if symbol.is_global()]
            (reads if now else later).update(s.get_name() for s in found if s.is_referenced())
            sets.update(s.get_name() for s in found if s.is_assigned())
        changes = set(_changed(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            binds = {node.name}  # and not what it declares global
        if isinstance(node, ast.AugAssign):
            binds -= changes
            reads |= changes
        imports = isinstance(node, ast.Import | ast.ImportFrom)
        return cls(node, cell, binds, changes, reads, later, sets, imports)

    @property
    def stub(self) -> bool:
        """Whether it is a function with ``...`` or ``pass`` for a body, as exercises hand out."""
        if not isinstance(self.node, ast.FunctionDef):
            return False
        body = [
            inner
            for inner in self.node.body
            if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
        ]
        return all(isinstance(inner, ast.Pass) for inner in body)


def _changed(node: ast.AST) -> Iterator[str]:
    """Names whose value a statement changes in place, in blocks as well, in functions not."""
    targets: list[ast.expr] = []
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            return
        case ast.Assign(targets=found) | ast.Delete(targets=found):
            targets = [one for one in found if not isinstance(one, ast.Name)]
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript() as target):
            targets = [target]
        case ast.AugAssign(target=target):
            targets = [target]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=called))):
            targets = [called]
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_])):
            targets = [first]
    for one in targets:
        several = one.elts if isinstance(one, ast.Tuple | ast.List) else [one]
        yield from filter(None, map(_root, several))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _changed(child)


class _Notebook:
    """All statements, and which of them a name's value comes from."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.unreadable: list[str] = []
        self.statements: list[Statement] = []
        for number, cell in enumerate(cells, start=1):
            tree = _parsed(cell)
            if tree is None:
                self.unreadable.append(cell)
                continue
            for node in (part for whole in tree.body for part in _apart(whole)):
                try:
                    self.statements.append(Statement.of(node, number))
                except _UNREADABLE:
                    self.unreadable.append(cell)
        modules = {name for one in self.statements if one.imports for name in one.binds}
        sets = {name: one.sets for one in self.statements for name in one.binds if one.sets}
        for one in self.statements:
            match one.node:
                case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
                    one.changes |= sets.get(name, set())
                case ast.Expr():
                    one.changes -= modules
        real = {name for one in self.statements if not one.stub for name in one.binds}
        self.writes: dict[str, list[int]] = {}
        for place, one in enumerate(self.statements):
            for name in one.binds | one.changes:
                if not (one.stub and name in real):
                    self.writes.setdefault(name, []).append(place)

    def behind(self, name: str, before: int) -> list[int]:
        """The statements that make a name's value what it is before one of them is run.

        Where all stand below, cells were run in another order, and all of them count.
        """
        writes = self.writes.get(name, [])
        above = [place for place in writes if place < before] or writes
        for start in reversed(range(len(above))):
            one = self.statements[above[start]]
            if name in one.binds and name not in one.reads:
                return above[start:]
        return above

    def needed(self, name: str) -> list[Statement]:
        """The statements that a function's name needs, in the notebook's order."""
        end = len(self.statements)
        chosen: set[int] = set(self._from_everywhere())
        waiting = [*chosen, *self.behind(name, end)]
        chosen.update(waiting)
        while waiting:
            place = waiting.pop()
            one = self.statements[place]
            used = [(read, place) for read in one.reads] + [(read, end) for read in one.reads_later]
            for read, before in used:
                new = set(self.behind(read, before)) - chosen
                chosen |= new
                waiting += new
        return [self.statements[place] for place in sorted(chosen)]

    def _from_everywhere(self) -> Iterator[int]:
        """``from x import *`` may give any name; of the package itself nothing is at hand."""
        for place, one in enumerate(self.statements):
            match one.node:
                case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")]):
                    if module.split(".")[0] != "attnbook":
                        yield place


def needed(cells: Sequence[str], name: str) -> list[Statement] | None:
    """The statements of a notebook that make one of its functions what it is.

    Args:
        cells: sources of the code cells.
        name: of the function or class.

    Returns:
        The statements in their order; None if the notebook does not define the name.

    Raises:
        SyntaxError: it does, in a cell that is not Python.
    """
    notebook = _Notebook(cells)
    if name in notebook.writes:
        return notebook.needed(name)
    written = re.compile(rf"^\s*(def|class)\s+{re.escape(name)}\b", re.MULTILINE)
    if any(written.search(cell) for cell in notebook.unreadable):
        raise SyntaxError(f"the cell that defines {name} is not Python")
    return None


def define(statements: Sequence[Statement], names: dict[str, object]) -> list[list[object]]:
    """Run statements one by one; what fails is passed over, as it is when cells are run.

    Where a name is missing that a later statement gives, cells were run in another order.

    Args:
        statements: in the notebook's order.
        names: the global names, to which theirs are added.

    Returns:
        Of each statement that was passed over the number of its cell and the exception's name.
    """
    waiting = list(statements)
    while True:
        failed: list[tuple[Statement, Exception]] = []
        for one in waiting:
            code = compile(ast.Module([one.node], []), f"<cell {one.cell}>", "exec")
            try:
                exec(code, names)
            except Exception as error:  # whatever a learner's statement raises
                failed.append((one, error))
        later = any(isinstance(error, NameError) for _, error in failed)
        if not later or len(failed) == len(waiting):
            return [[one.cell, type(error).__name__] for one, error in failed]
        waiting = [one for one, _ in failed]
