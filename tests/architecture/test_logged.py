"""Every field that the product logs is on the list of fields that are written: another one would be lost silently."""

import ast
import json
import subprocess
import sys

from chopmark.app.logs import LOGGED
from tests.architecture.rules import SOURCE

LEVELS = {"debug", "info", "warning", "error", "exception"}


def fields() -> dict[str, set[str]]:
    """The named fields of every call of a module's `log`, by module."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "log" and node.func.attr in LEVELS:
                found.setdefault(str(path), set()).update(one.arg for one in node.keywords if one.arg)
    return found


def test_no_field_of_a_log_line_is_dropped() -> None:
    found = fields()
    assert len(found) > 5
    assert {path: names - LOGGED for path, names in found.items() if names - LOGGED} == {}


LINE = """
from chopmark.app.logs import configure_logging
configure_logging()
import structlog
structlog.get_logger().error("order distrusted", order="ORDER", code="no_records", name="somebody")
"""


def test_a_line_is_json_on_stderr_and_what_is_not_on_the_list_is_not_in_it() -> None:
    done = subprocess.run([sys.executable, "-c", LINE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    line = json.loads(done.stderr)
    assert line.pop("timestamp")
    assert line == {"event": "order distrusted", "level": "error", "order": "ORDER", "code": "no_records"}
