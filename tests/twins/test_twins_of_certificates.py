"""Faults in orders, proofs, issuance, endings and status: each is noticed by the test that names it."""

import pytest

from tests.twins.running import Told, assert_noticed, told_fixture
from tests.twins.twins import TWINS_OF_CERTIFICATES, Twin

told = told_fixture(TWINS_OF_CERTIFICATES)


@pytest.mark.parametrize("twin", TWINS_OF_CERTIFICATES, ids=lambda twin: twin.name)
def test_the_twin_is_noticed(told: Told, twin: Twin) -> None:
    assert_noticed(twin, told(twin))


def test_each_twin_has_a_name_of_its_own() -> None:
    assert len({twin.name for twin in TWINS_OF_CERTIFICATES}) == len(TWINS_OF_CERTIFICATES)
