"""What a page says of an order's end: true for whoever has a present certificate, and for whoever has none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.types import (
    AccountNumber,
    CertificateState,
    CustomerId,
    KeyHome,
    Operation,
    OrderId,
    OrderState,
    Serial,
)
from chopmark.ra.model import DISPUTED, Order
from chopmark.ra.ports import SubscriberCertificate
from chopmark.web.pages.step_views import Meanwhile
from chopmark.web.portal.endings import ended, leaving, meanwhile

NOW = datetime(2026, 3, 16, tzinfo=UTC)
ORDER = Order(
    OrderId("A" * 26),
    CustomerId("C1"),
    Operation.REKEY,
    AccountNumber("1"),
    "investor",
    KeyHome.BROWSER,
    OrderState.CANCELLED,
    frozenset(),
    "tw-broker",
    NOW,
    NOW + timedelta(days=1),
    birth_date_asked=False,
)
NEW = Serial("0A02")
BEGIN = "You can begin again."
SWAPPED = "The certificate that was issued is revoked, and your old one had ended with its issue. Please apply again."


def present(state: CertificateState = CertificateState.ACTIVE) -> SubscriberCertificate:
    return SubscriberCertificate(
        serial=Serial("0A01"),
        customer=CustomerId("C1"),
        profile="investor",
        order=OrderId("B" * 26),
        account=AccountNumber("1"),
        key_home=KeyHome.BROWSER,
        spki_sha256="00" * 32,
        state=state,
        der=b"",
        chain=(),
        not_before=NOW - timedelta(days=300),
        not_after=NOW + timedelta(days=65),
        issued_at=NOW - timedelta(days=300),
    )


HAS, ON_HOLD = present(), present(CertificateState.HELD)


@pytest.mark.parametrize(
    ("operation", "serial", "old", "overlap", "said"),
    [
        (Operation.REKEY, None, HAS, True, f"Nothing was issued, and your present certificate is as it was. {BEGIN}"),
        (
            Operation.REPLACE,
            None,
            HAS,
            False,
            f"Nothing was issued, and your present certificate is as it was. {BEGIN}",
        ),
        (
            Operation.REPLACE,
            None,
            ON_HOLD,
            True,
            "Nothing was issued, and your present certificate is on hold. You can begin again, or call us.",
        ),
        (Operation.ENROL, None, None, True, f"Nothing was issued. {BEGIN}"),
        (Operation.REPLACE, None, None, True, f"Nothing was issued. {BEGIN}"),
        (
            Operation.REKEY,
            NEW,
            HAS,
            True,
            f"The certificate that was issued is revoked, and your present one is as it was. {BEGIN}",
        ),
        (
            Operation.REKEY,
            NEW,
            HAS,
            False,
            SWAPPED,
        ),
        (Operation.ENROL, NEW, None, False, f"The certificate that was issued is revoked. {BEGIN}"),
        (Operation.REVOKE, None, HAS, True, f"Nothing was revoked: your certificate is as it was. {BEGIN}"),
    ],
)
@pytest.mark.parametrize("state", [OrderState.CANCELLED, OrderState.EXPIRED])
def test_what_is_left_after_an_order_is_what_the_customer_has(state, operation, serial, old, overlap, said):
    ending = ended(replace(ORDER, state=state, operation=operation, serial=serial), old, overlap=overlap)
    assert (ending.what_next.msgid, ending.state, ending.again) == (said, state, True)


def test_why_an_order_has_ended_comes_before_what_is_left():
    def of(**changed: object) -> tuple[str, str, OrderState, bool]:
        ending = ended(replace(ORDER, **changed), HAS, overlap=True)  # type: ignore[arg-type]
        return ending.why.msgid, ending.what_next.msgid, ending.state, ending.again

    assert of(ended=DISPUTED)[0].startswith("You told us that a contact is not yours.")
    assert of(state=OrderState.LOCKED) == (
        "This order is on hold for your safety.",
        "Please call us. We check your data with you, and then you can begin again.",
        OrderState.LOCKED,
        False,
    )
    helped = "Please call us; a person will help you."
    refused = of(state=OrderState.REFUSED)
    assert refused[1:] == (f"{helped} Your present certificate is as it was.", OrderState.REFUSED, False)
    assert of(state=OrderState.REFUSED, operation=Operation.ENROL)[1] == helped


@pytest.mark.parametrize(
    ("operation", "serial", "old", "overlap", "said"),
    [
        (Operation.REKEY, None, HAS, True, "nothing is issued and your present certificate stays as it is."),
        (Operation.REKEY, None, HAS, False, "nothing is issued and your present certificate stays as it is."),
        (Operation.ENROL, None, None, True, "nothing is issued."),
        (Operation.REVOKE, None, HAS, True, "nothing is revoked."),
        (Operation.REPLACE, NEW, HAS, True, "the new certificate is revoked and your present one stays as it is."),
        (Operation.REPLACE, NEW, HAS, False, "the new certificate is revoked."),
        (Operation.ENROL, NEW, None, True, "the new certificate is revoked."),
    ],
)
def test_cancelling_is_announced_as_what_it_does(operation, serial, old, overlap, said):
    order = replace(ORDER, state=OrderState.OPEN, operation=operation, serial=serial)
    text = leaving(order, old, overlap=overlap).msgid
    assert text.endswith(f"If you cancel, {said}")
    assert ("three days" in text) == (serial is not None)


def test_what_can_be_signed_with_before_the_new_certificate_works():
    def of(operation: Operation, *, overlap: bool) -> Meanwhile:
        return meanwhile(replace(ORDER, operation=operation), overlap=overlap)

    assert of(Operation.REKEY, overlap=True) is of(Operation.REPLACE, overlap=True) is Meanwhile.PRESENT
    assert of(Operation.REKEY, overlap=False) is of(Operation.REPLACE, overlap=False) is Meanwhile.ENDED
    assert of(Operation.ENROL, overlap=False) is of(Operation.ENROL, overlap=True) is Meanwhile.NOTHING
