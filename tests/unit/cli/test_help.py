"""The command line answers a call for help before anything heavy is imported."""

import json
import subprocess
import sys

import pytest

HEAVY = {"litestar", "cryptography", "sqlalchemy", "asyncpg", "pydantic", "uvicorn", "pkilint", "structlog", "asyncio"}

ASK = """
import json, sys
sys.argv = ["chopmark", *{words!r}]
from chopmark.cli import main
try:
    main()
finally:
    print()
    print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def imported(*words: str) -> set[str]:
    """The packages that a process has imported when it has answered."""
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(words=words)], capture_output=True, text=True, check=False, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [["--help"], ["audit", "verify", "--help"], ["customers", "import", "sheet.csv"]], ids=" ".join
)
def test_help_and_a_call_without_a_name_import_nothing_heavy(words: list[str]) -> None:
    assert imported(*words) & HEAVY == set()


def test_the_look_at_the_imports_finds_a_heavy_one() -> None:
    assert "pydantic" in imported("check")
