"""Makes deliberate faults out of a module's text, one at a time: in its Python, and in the SQL that it holds.

A fault is a wrong guard and no wrong sentence: what customers read, what logs say and types are left alone. A fault in
SQL keeps every placeholder, so that it is no error but another answer: `a > :now` becomes `(a > :now OR 1 = 1)`.
"""

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_SILENT = {"text", "log", "Refusal", "TypeVar", "NewType", "warning", "cast", "getLogger", "get_logger"}
"""Calls whose arguments are words for people: their numbers and names are no guards."""
_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|EXISTS|CASE WHEN)\b|\bIN \(|[<>=] :\w|_at\b|\bstate\b")
_ATOM = r"""(?:\w+\([\w., ]*\)|[:\w.'{}]+)"""
_SUM = rf"{_ATOM}(?: [+-] {_ATOM})*"
_COMPARES = "(?:<>|<=|>=|<|>|=)"
_SIMPLE = rf"{_ATOM} IS (?:NOT )?NULL|{_ATOM} (?:NOT )?IN \([^()]*\)"
_COMPARISON = re.compile(
    r"(?:(?<=WHERE )|(?<=AND )|(?<=OR )|(?<=NOT )|(?<=WHEN ))"
    rf"({_SUM} {_COMPARES} {_SUM}|{_SIMPLE}|{_ATOM} (?:NOT )?IN \{{\w+\}}|(?:NOT )?\{{\w+\}})"
    r"(?=\s|\)|$|\"|,)"
)
_FIRST_IN_PARENTHESES = re.compile(rf"(?<=\()({_ATOM} {_COMPARES} {_ATOM}|{_SIMPLE})(?= (?:AND|OR)\b)")
_MOMENT = re.compile(
    r"_at\b|:now\b|:since\b|:ahead\b|:before\b|AHEAD|window_start|not_after|:keep_after|leased_until|:longest|:dead_since|:until\b"
)
"""A boundary between two moments: a millisecond more or less is no fault."""
_IN_LIST = re.compile(r"IN \(('[\w]+'(?:, '[\w]+')+)\)")
_EMPTIED = re.compile(r"\b(\w+) = NULL(?=[,\n ])")
_COUNTED = re.compile(r"\b([\w.]+) ([+-]) 1\b(?! =)")
_PAGES = re.compile(r"(?:(?<=AND )|(?<=WHERE )|(?<=\"))(\([\w., {}]+\) > \((?:[^()]|\([^()]*\))+\))")
_ORDERED = re.compile(r"\bORDER BY (?!CASE)([\w.]+)( DESC)?(?=[,\s)\"])")
_MOST = re.compile(r"\bLIMIT (:\w+)")
_NO_SUCH = re.compile(r"NOT EXISTS \((\s*SELECT [^;]*?\bWHERE )")


@dataclass(frozen=True)
class Fault:
    """A place in a module's text, and what stands there instead. `kind` names the sort of fault."""

    line: int
    kind: str
    scope: str
    start: int
    end: int
    before: str
    after: str

    def applied(self, text: str) -> str:
        """Return the module with this fault."""
        return text[: self.start] + self.after + text[self.end :]

    @property
    def name(self) -> str:
        """Names the fault as long as its line's text stays: it does not move with what stands above."""
        return f"{self.scope}|{self.kind}|{' '.join(self.before.split())}|{' '.join(self.after.split())}"


class _Text:
    """Finds the place of a syntax tree's node in the text; the tree counts bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def faults(text: str) -> list[Fault]:
    """Return every fault that is made in this module, in the order of its lines; each changes the text."""
    tree = ast.parse(text)
    found = [one for one in _Maker(text).of(tree) if one.before != one.after]
    unique = {(one.start, one.end, one.after): one for one in found}
    return sorted(unique.values(), key=lambda one: (one.start, one.end, one.after))


class _Maker:
    def __init__(self, text: str) -> None:
        self._places = _Text(text)
        self._text = text

    def of(self, node: ast.AST, scope: str = "") -> Iterator[Fault]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{scope}.{child.name}" if scope else child.name
                for part in child.body:
                    yield from self._one(part, inner)
            else:
                yield from self._one(child, scope)

    def _one(self, node: ast.AST, scope: str) -> Iterator[Fault]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{node.name}" if scope else node.name
            for part in node.body:
                yield from self._one(part, inner)
            return
        if self._is_silent(node):
            return
        if isinstance(node, ast.Assign | ast.AnnAssign) and not scope:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            scope = target.id if isinstance(target, ast.Name) else scope
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from self._one(node.value, scope)
            return
        yield from self._here(node, scope)
        if isinstance(node, ast.Subscript):
            yield from self._one(node.value, scope)  # another place in a list is an error and no wrong guard
        elif not isinstance(node, ast.JoinedStr):
            for child in ast.iter_child_nodes(node):
                yield from self._one(child, scope)

    def _is_silent(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return True  # a docstring
        if isinstance(node, ast.keyword) and node.arg == "microsecond":
            return True  # a moment cut to its second: as between two moments, less is no fault
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return True
        step = node.value if isinstance(node, ast.Expr) else node
        called = step.func if isinstance(step, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        owner = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
        return name in _SILENT or owner == "log"

    def _here(self, node: ast.AST, scope: str) -> Iterator[Fault]:
        if (isinstance(node, ast.Constant) and isinstance(node.value, str)) or isinstance(node, ast.JoinedStr):
            yield from self._sql(node, scope)
        elif isinstance(node, ast.expr):
            for kind, other in _others(node):
                yield self._fault(node, f"({ast.unparse(other)})", kind, scope)
        elif isinstance(node, ast.If):
            if isinstance(node.body[0], ast.Raise | ast.Return | ast.Continue):
                yield self._fault(node.test, "False", "check left out", scope)
        elif isinstance(node, ast.Expr):
            yield self._fault(node, "pass" if not _yields(node.value) else "yield from ()", "step left out", scope)

    def _sql(self, node: ast.expr, scope: str) -> Iterator[Fault]:
        start, end = self._places.span(node)
        text = self._text[start:end]
        if not _SQL.search(text):
            return
        for at, until, kind, after in _sql_faults(text):
            before = text[at:until]
            line = node.lineno + text.count("\n", 0, at)
            yield Fault(line, kind, scope, start + at, start + until, before, after)

    def _fault(self, node: ast.expr | ast.stmt, after: str, kind: str, scope: str) -> Fault:
        start, end = self._places.span(node)
        return Fault(node.lineno, kind, scope, start, end, self._text[start:end], after)


def _yields(value: ast.expr) -> bool:
    return isinstance(value, ast.Yield | ast.YieldFrom)


def _others(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield what an expression could wrongly be."""
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[place] = _FLIPPED[type(op)]()
            yield "comparison", other
    elif isinstance(node, ast.BoolOp):
        for rest in _shortened(node.values):
            yield "condition left out", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not left out", node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.BinOp):
        yield from _sums(node)
    elif isinstance(node, ast.Set) and len(node.elts) > 1:
        for rest in _shortened(node.elts):
            yield "element left out", ast.Set(rest)
    elif isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse


def _shortened(parts: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """Yield the parts without one of them, each in turn."""
    for place in range(len(parts)):
        yield parts[:place] + parts[place + 1 :]


def _constants(value: object) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)


def _sums(node: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    """Yield the difference for a sum and the sum for a difference; what joins texts or tuples is neither."""
    joined = any(isinstance(side, ast.Constant | ast.JoinedStr | ast.Tuple) for side in (node.left, node.right))
    if isinstance(node.op, ast.Add | ast.Sub) and not joined:
        yield "arithmetic", ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)


def _sql_faults(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield place, end, kind and text of every fault in a piece of SQL."""
    yield from _guard_faults(text)
    for found in _IN_LIST.finditer(text):
        listed = found[1].split(", ")
        for place in range(len(listed)):
            rest = ", ".join(word for number, word in enumerate(listed) if number != place)
            yield found.start(1), found.end(1), "SQL word left out", rest
    for found in _EMPTIED.finditer(text):
        yield found.start(), found.end(), "SQL not emptied", f"{found[1]} = {found[1]}"
    for found in _COUNTED.finditer(text):
        yield found.start(), found.end(), "SQL not counted", f"{found[1]} {found[2]} 0"
    for found in _ORDERED.finditer(text):
        yield found.start(), found.end(), "SQL order turned", f"ORDER BY {found[1]}{'' if found[2] else ' DESC'}"
    for found in _MOST.finditer(text):
        yield found.start(), found.end(), "SQL limit left out", f"LIMIT {found[1]} + 1000"


def _guard_faults(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield each condition that can be left out, turned at its edge, or never come."""
    for pattern in (_COMPARISON, _FIRST_IN_PARENTHESES):
        for found in pattern.finditer(text):
            at, until, said = found.start(1), found.end(1), found[1]
            yield at, until, "SQL guard left out", f"({said} OR 1 = 1)"
            if text[:at].endswith("WHEN "):
                yield at, until, "SQL case never", f"({said} AND 1 = 0)"
            for one, other in ((" <= ", " < "), (" >= ", " > "), (" < ", " <= "), (" > ", " >= ")):
                if one in said and not _MOMENT.search(said):
                    yield at, until, "SQL boundary", said.replace(one, other, 1)
                    break
    for found in _PAGES.finditer(text):
        yield found.start(1), found.end(1), "SQL guard left out", f"({found[1]} OR 1 = 1)"
    for found in _NO_SUCH.finditer(text):
        yield found.start(1), found.end(1), "SQL guard left out", f"{found[1]}1 = 0 AND "
