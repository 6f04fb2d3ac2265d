"""Which application an address means, for a customer with and without a certificate."""

import pytest

from chopmark.core.types import Operation, Reason, text
from chopmark.ra.policy import Advice

FIRST = Advice(Operation.ENROL, Reason.FIRST, text("none yet"))
RENEWABLE = Advice(Operation.REKEY, None, text("ends soon"))
LOST = Advice(Operation.REPLACE, Reason.LOST, text("lost"))
NOTHING_TO_DO = Advice(None, None, text("all is well"))


@pytest.mark.parametrize(
    ("advice", "asked", "meant"),
    [
        (FIRST, "", Operation.ENROL),
        (FIRST, "enrol", Operation.ENROL),
        (FIRST, "rekey", Operation.REKEY),
        (RENEWABLE, "", Operation.REKEY),
        (RENEWABLE, "replace", Operation.REPLACE),
        (LOST, "", Operation.REPLACE),
        (NOTHING_TO_DO, "", Operation.REPLACE),
        (NOTHING_TO_DO, "rekey", Operation.REKEY),
    ],
)
def test_an_address_means_what_it_says_and_else_what_is_recommended(
    advice: Advice, asked: str, meant: Operation
) -> None:
    assert advice.meant_by(asked) is meant


@pytest.mark.parametrize("advice", [RENEWABLE, LOST, NOTHING_TO_DO])
def test_who_has_a_certificate_and_asks_for_a_first_one_asks_for_another_in_its_place(advice: Advice) -> None:
    assert advice.meant_by("enrol") is Operation.REPLACE


@pytest.mark.parametrize("strange", ["revoke", "ENROL", "ｅｎｒｏｌ", "enrol ", "x" * 10_000])
def test_what_is_no_application_is_never_meant(strange: str) -> None:
    assert RENEWABLE.meant_by(strange) is Operation.REKEY
