"""Faults in orders, proofs, issuance, endings, status and imports: each is noticed by the test that names it."""

import pytest

from tests.twins.beside import TWINS_OF_FORMER_ISSUERS
from tests.twins.running import Told, assert_noticed, told_fixture
from tests.twins.twins import TWINS_OF_CERTIFICATES, Twin

TWINS = (*TWINS_OF_CERTIFICATES, *TWINS_OF_FORMER_ISSUERS)
told = told_fixture(TWINS)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_the_twin_is_noticed(told: Told, twin: Twin) -> None:
    assert_noticed(twin, told(twin))


def test_each_twin_has_a_name_of_its_own() -> None:
    assert len({twin.name for twin in TWINS}) == len(TWINS)
