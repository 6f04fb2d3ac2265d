"""The twins of a test file as they were told by the process that runs them, one after the other."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.architecture.rules import REPOSITORY
from tests.twins.twins import Twin

WRONG_ANSWERS = {"AssertionError", "Failed", "Refused"}
"""How a test fails that was given a wrong answer; anything else is a twin that does not work (SQL that is none)."""

Told = Callable[[Twin], dict[str, Any]]


def told_fixture(twins: Sequence[Twin]) -> Callable[..., object]:
    """Make a file's `told` fixture: what came of a twin. Only those that were asked for are run."""

    @pytest.fixture(scope="module")
    def told(request: pytest.FixtureRequest) -> Iterator[Told]:
        here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
        asked = {item.callspec.params["twin"].name for item in here if "twin" in item.callspec.params}
        names = [twin.name for twin in twins if twin.name in asked]
        command = [sys.executable, "-m", "tools.mutants.twins", *names]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines, known = process.stdout, dict[str, dict[str, Any]]()

            def found(twin: Twin) -> dict[str, Any]:
                while twin.name not in known:
                    line = lines.readline()
                    assert line, f"{' '.join(command[:3])} has ended before this twin"
                    one = json.loads(line)
                    known[one["name"]] = one
                return known[twin.name]

            yield found
            process.terminate()

    return told


def assert_noticed(twin: Twin, outcome: dict[str, Any]) -> None:
    """The twin's text stands in its module, and its test fails because of the fault: by a wrong answer."""
    assert outcome["status"] != "gone", f"{twin.path} does not say {twin.changes[0][0]!r} once any more"
    assert outcome["status"] == "killed", f"{twin.test} did not notice: {outcome}"
    ((test, how),) = outcome["failed"]
    assert test.startswith(twin.test)
    assert how in WRONG_ANSWERS
