"""No test reaches for a private member: what a test needs is a part of the interface, or it is none of its business."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.rules import REPOSITORY

NOT_OURS = {"_exit", "_name", "_replace"}
"""Of os, of cryptography's object identifiers, of named tuples: they have no other name."""
OWN = {"self", "cls"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_" and name not in NOT_OURS


def findings(source: str) -> Iterator[str]:
    """Yield the private members of others that a file uses, with their lines; its own classes are its own."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node.value)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and private(node.attr) and not _is_own(node.value) and node.attr not in own:
            yield f"{node.lineno} {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.lineno} {one.name}" for one in node.names if private(one.name))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "setattr"}:
            named = node.args[1] if len(node.args) > 1 else None
            if isinstance(named, ast.Constant) and isinstance(named.value, str) and private(named.value):
                yield f"{node.lineno} {ast.unparse(node)}"


def _is_own(value: ast.expr) -> bool:
    is_super = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super"
    return is_super or (isinstance(value, ast.Name) and value.id in OWN)


def test_no_test_uses_a_private_member() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): list(findings(path.read_text(encoding="utf-8")))
        for path in sorted(Path(REPOSITORY / "tests").rglob("*.py"))
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "world.house.responder._key",
        "world.house.responder._key = gate",
        "from chopmark.store.db import _config",
        "setattr(issuer, '_journal', Journal())",
        "getattr(issuer, '_journal')",
    ],
)
def test_a_private_member_of_somebody_else_is_found(source: str) -> None:
    assert list(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(1)",
        "class Site:\n    def _found(self): ...\n    def make(self): self._found()\nsite._found()",
        "class A:\n    def f(self): return super()._send()",
        "key.private_key",
        "found.__class__",
    ],
)
def test_what_is_public_or_the_files_own_is_not(source: str) -> None:
    assert list(findings(source)) == []
