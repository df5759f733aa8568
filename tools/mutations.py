"""Every small change of a Python source that this repository's tests should notice.

Python's own syntax tree says where something stands; the change is made in the text, so that the
rest of a line stays as it was written, and a list of changes can be read. What no test should
notice is left alone: annotations, docstrings, the words of an error, checksums.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Mutation", "edited", "mutations"]

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"), ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.MatMult: ("@", "*"),
    ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A change: where, the lines that were, the lines that are, and the whole text with it."""

    function: str
    was: str
    now: str
    text: str


# Bytes from, bytes to, and what takes their place.
Edit = tuple[int, int, str]


class _Source:
    """A text whose nodes can be cut out; the tree counts in lines and bytes."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        self.tree = ast.parse(text)
        self.lines = [0]
        for line in self.bytes.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.modules = {
            (alias.asname or alias.name).split(".")[0]
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self.lines[node.lineno - 1] + node.col_offset,
            self.lines[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        start, end = self.span(node)
        return self.bytes[start:end].decode()

    def whole(self, node: ast.expr) -> str:
        """An expression as part of another one: in brackets unless it holds together anyway."""
        atoms = (ast.Name, ast.Constant, ast.Attribute, ast.Call, ast.Subscript, ast.List)
        return self.text(node) if isinstance(node, atoms) else f"({self.text(node)})"

    def mutation(self, function: str, edit: Edit) -> Mutation:
        start, end, new = edit
        line_start = self.bytes.rfind(b"\n", 0, start) + 1
        line_end = self.bytes.find(b"\n", end)
        line_end = len(self.bytes) if line_end < 0 else line_end
        before, after = self.bytes[line_start:start], self.bytes[end:line_end]
        return Mutation(
            function,
            self.bytes[line_start:line_end].decode().strip(),
            (before + new.encode() + after).decode().strip(),
            (self.bytes[:start] + new.encode() + self.bytes[end:]).decode(),
        )

    # --- what may become of a node ----------------------------------------------------------------

    def edits(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from self.between(left, right, operator)
            case ast.BinOp(left=left, right=right, op=operator):
                yield from self.between(left, right, operator)
                yield from self.instead(node, left, right)
            case ast.BoolOp(values=values, op=operator):
                for one, other in pairwise(values):
                    yield from self.between(one, other, operator)
                if len(values) == 2:
                    yield from self.instead(node, *values)
            case ast.UnaryOp(operand=operand):
                yield from self.instead(node, operand)
            case ast.IfExp(body=body, orelse=orelse):
                yield from self.instead(node, body, orelse)
            case ast.If(test=test):
                yield from ((*self.span(test), word) for word in ("True", "False"))
            case ast.While(test=test):
                yield (*self.span(test), "False")
            case ast.comprehension(ifs=conditions):
                yield from ((*self.span(condition), "True") for condition in conditions)
            case ast.Break():
                yield (*self.span(node), "continue")
            case ast.Continue():
                yield (*self.span(node), "break")
            case ast.Constant(value=value):
                yield from self.other_constant(node, value)
            case ast.Slice():
                yield from self.other_slice(node)
            case ast.Call():
                yield from self.other_call(node)
            case ast.Expr(value=ast.Call()) | ast.AugAssign():
                yield (*self.span(node), "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield (*self.span(node), "pass")

    def between(self, left: ast.expr, right: ast.expr, operator: ast.AST) -> Iterator[Edit]:
        """Another operator; nothing but brackets and blanks stands beside it."""
        start, end = self.span(left)[1], self.span(right)[0]
        old, new = OPERATORS[type(operator)]
        yield start, end, self.bytes[start:end].decode().replace(old, new, 1)

    def instead(self, node: ast.expr, *parts: ast.expr) -> Iterator[Edit]:
        """A part of an expression in place of the whole."""
        yield from ((*self.span(node), self.whole(part)) for part in parts)

    def other_constant(self, node: ast.Constant, value: object) -> Iterator[Edit]:
        if isinstance(value, bool):
            yield (*self.span(node), str(not value))
        elif isinstance(value, int):
            yield (*self.span(node), str(value + 1))
        elif isinstance(value, float):
            yield (*self.span(node), repr(2 * value if value else 1.0))
        elif isinstance(value, str) and not re.fullmatch(r"[0-9a-f]{40,64}", value):
            yield (*self.span(node), repr(value + "XX"))

    def other_slice(self, node: ast.Slice) -> Iterator[Edit]:
        parts = [p and self.text(p) for p in (node.lower, node.upper, node.step)]
        for number, part in enumerate(parts):
            if part:
                rest = [p or "" for p in parts]
                rest[number] = ""
                yield (*self.span(node), ":".join(rest) if rest[2] else ":".join(rest[:2]))

    def other_call(self, node: ast.Call) -> Iterator[Edit]:
        """The same without an option, and what was called with, or on, in place of the call."""
        function = self.text(node.func)
        for left_out in (k for k in node.keywords if k.arg != "strict"):
            arguments = [self.text(a) for a in node.args]
            arguments += [self.text(k) for k in node.keywords if k is not left_out]
            yield (*self.span(node), f"{function}({', '.join(arguments)})")
        if node.args and not isinstance(node.args[0], ast.Starred):
            yield from self.instead(node, node.args[0])
        if isinstance(node.func, ast.Attribute):
            on = node.func.value
            if not (isinstance(on, ast.Name) and on.id in self.modules | {"self", "cls"}):
                yield from self.instead(node, on)


def _left_alone(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that no test should notice, or whose place is not known."""
    match node:
        case ast.FunctionDef():
            yield from node.decorator_list
            yield from filter(None, [node.returns])
        case ast.ClassDef():
            yield from node.decorator_list
        case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
            yield annotation
        case ast.keyword(arg="strict", value=value):
            yield value
        case ast.Expr(value=ast.Constant() as docstring):
            yield docstring
        case ast.Raise(exc=ast.expr() as error):
            yield error
        case ast.Assign(targets=[ast.Name(id="__all__")], value=names):
            yield names
        case ast.Assert(msg=ast.expr() as message):
            yield message
        case ast.JoinedStr():  # Python 3.11 does not know where its parts stand
            yield from node.values


def _walk(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node that may be changed, and the function or class that it stands in."""
    yield function, node
    alone = set(map(id, _left_alone(node)))
    for child in ast.iter_child_nodes(node):
        if id(child) in alone:
            continue
        inner = function
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{function}.{child.name}".strip(".")
        yield from _walk(child, inner)


def edited(text: str) -> Iterator[Mutation]:
    """All changes of a source, in the order of their places; some may be no Python."""
    source = _Source(text)
    for function, node in _walk(source.tree, ""):
        for edit in source.edits(node):
            change = source.mutation(function, edit)
            if change.was != change.now:
                yield change


def mutations(text: str) -> list[Mutation]:
    """All changes of a source that are Python; of equal ones in equal lines the first."""
    found: dict[tuple[str, str, str], Mutation] = {}
    for change in edited(text):
        try:
            ast.parse(change.text)
        except SyntaxError:
            continue
        found.setdefault((change.function, change.was, change.now), change)
    return list(found.values())
