"""What pages say about the end of an order: what became of it, and what would if the customer cancelled it now.

Somebody who applies for the first time has no present certificate; one that is issued already is revoked by cancelling.
"""

from dataclasses import dataclass

from chopmark.core.types import CertificateState, Operation, OrderState, Text, text
from chopmark.ra.model import DISPUTED, Order
from chopmark.ra.ports import SubscriberCertificate
from chopmark.web.pages.step_views import LEAVING, Meanwhile

_RENEWS = frozenset({Operation.REKEY, Operation.REPLACE})
_WHY: dict[OrderState, Text] = {
    OrderState.EXPIRED: text("The order was not finished within its time."),
    OrderState.CANCELLED: text("You cancelled this order."),
    OrderState.LOCKED: text("This order is on hold for your safety."),
    OrderState.REFUSED: text("The certificate could not be issued."),
}
_CHECKED = text("Please call us. We check your data with you, and then you can begin again.")
_HELPED = text("Please call us; a person will help you.")
_HELPED_AS_IT_WAS = text("Please call us; a person will help you. Your present certificate is as it was.")
_DISPUTED = (
    text("You told us that a contact is not yours. This order was ended, and the contact is stopped."),
    text(
        "Please call us. Once we have confirmed the contact with you it can be used again; until then you can begin "
        "again with the other one."
    ),
)
_STOPPED = (
    text("This order was stopped with the code that one of your contacts got."),
    text("Please call us. If it was you who applied, we check your data with you."),
)
_SWAPPED = text(
    "The certificate that was issued is revoked, and your old one had ended with its issue. Please apply again."
)
_NOTHING_REVOKED = text("Nothing was revoked: your certificate is as it was. You can begin again.")
_NOTHING_ISSUED = text("Nothing was issued. You can begin again.")
_AS_IT_WAS = text("Nothing was issued, and your present certificate is as it was. You can begin again.")
_ON_HOLD = text("Nothing was issued, and your present certificate is on hold. You can begin again, or call us.")
_TAKEN_BACK = text("The certificate that was issued is revoked. You can begin again.")
_TAKEN_BACK_AS_IT_WAS = text(
    "The certificate that was issued is revoked, and your present one is as it was. You can begin again."
)
_LEAVING_FIRST = text(
    "You may simply close this page: what you have done is kept for 24 hours. If you cancel, nothing is issued."
)
_LEAVING_REVOCATION = text(
    "You may simply close this page: what you have done is kept for 24 hours. If you cancel, nothing is revoked."
)
_LEAVING_ISSUED = text(
    "You may simply close this page and finish later, within three days. If you cancel, the new certificate is revoked."
)
_LEAVING_ISSUED_AS_IT_IS = text(
    "You may simply close this page and finish later, within three days. If you cancel, the new certificate is "
    "revoked and your present one stays as it is."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an order has ended and what the customer can do; `again`: begin again by themselves."""

    state: OrderState
    why: Text
    what_next: Text
    again: bool


def meanwhile(order: Order, *, overlap: bool) -> Meanwhile:
    """Return what the customer can sign with until the new certificate has proved itself."""
    if order.operation not in _RENEWS:
        return Meanwhile.NOTHING
    return Meanwhile.PRESENT if overlap else Meanwhile.ENDED


def leaving(order: Order, old: SubscriberCertificate | None, *, overlap: bool) -> Text:
    """Return what happens to a live order whose customer closes the page or cancels."""
    if order.operation is Operation.REVOKE:
        return _LEAVING_REVOCATION
    present = old is not None and order.operation in _RENEWS
    if order.serial is None:
        return LEAVING if present else _LEAVING_FIRST
    return _LEAVING_ISSUED_AS_IT_IS if present and overlap else _LEAVING_ISSUED


def ended(order: Order, old: SubscriberCertificate | None, *, overlap: bool) -> Ending:
    """Return what there is to say of an order that has ended without its customer's aim."""
    if order.stopped:
        return Ending(OrderState.LOCKED, *_STOPPED, again=False)
    state = order.state
    again = state in {OrderState.EXPIRED, OrderState.CANCELLED}
    if state is OrderState.CANCELLED and order.ended == DISPUTED:
        return Ending(state, *_DISPUTED, again=again)
    why = _WHY.get(state, _WHY[OrderState.EXPIRED])
    if state is OrderState.LOCKED:
        return Ending(state, why, _CHECKED, again=again)
    present = old if order.operation in _RENEWS else None
    if state is OrderState.REFUSED:
        return Ending(state, why, _HELPED if present is None else _HELPED_AS_IT_WAS, again=again)
    return Ending(state, why, _left(order, present, overlap=overlap), again=again)


def _left(order: Order, present: SubscriberCertificate | None, *, overlap: bool) -> Text:
    """Return what the customer has after an order that was cancelled or has expired."""
    if order.operation is Operation.REVOKE:
        return _NOTHING_REVOKED
    if order.serial is not None:
        if present is None:
            return _TAKEN_BACK
        return _TAKEN_BACK_AS_IT_WAS if overlap else _SWAPPED
    if present is None:
        return _NOTHING_ISSUED
    return _ON_HOLD if present.state is CertificateState.HELD else _AS_IT_WAS
