"""Faults in codes, locks, rate limits, tickets, sessions and messages: each is noticed by the test that names it."""

from typing import Any

import pytest

from tests.twins.beside import TWINS_OF_MESSAGES
from tests.twins.running import Told, assert_noticed, told_fixture
from tests.twins.twins import TWINS_OF_CODES, Twin

TWINS = (*TWINS_OF_CODES, *TWINS_OF_MESSAGES)
told = told_fixture(TWINS)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_the_twin_is_noticed(told: Told, twin: Twin) -> None:
    assert_noticed(twin, told(twin))


@pytest.mark.parametrize(
    "outcome",
    [
        {"status": "gone"},
        {"status": "survived", "failed": []},
        {"status": "timeout", "failed": []},
        {"status": "broken", "failed": []},
        {"status": "killed", "failed": [(TWINS_OF_CODES[0].test, "OperationalError")]},
        {"status": "killed", "failed": [("tests/another.py::test", "AssertionError")]},
    ],
)
def test_a_twin_that_is_not_noticed_by_a_wrong_answer_of_its_test_is_a_failure(outcome: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        assert_noticed(TWINS_OF_CODES[0], outcome)


def test_each_twin_has_a_name_of_its_own() -> None:
    assert len({twin.name for twin in TWINS}) == len(TWINS)
