"""The file that the counter opens for one step: a customer and one order of theirs, read at one moment, in one go."""

from dataclasses import dataclass, replace
from typing import Protocol

from chopmark.audit.leaf import Tip
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.ra.model import Order
from chopmark.ra.ports import Holding
from chopmark.stepup.challenge import Challenge
from chopmark.words import CertificateState, CustomerId, OrderId, Serial


@dataclass(frozen=True, slots=True)
class CustomerFile:
    """What is on record of a customer; certificates and live orders come newest first."""

    customer: CustomerRow | None
    accounts: tuple[AccountRow, ...]
    holdings: tuple[Holding, ...]
    live: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class OrderFile:
    """An order with what its steps look at; `sent` is its newest code, `codes` how many were sent.

    `tips` are those of the audit chains that a step continues: the order's and the customer's.
    """

    order: Order
    customer: CustomerRow | None
    contacts: tuple[ContactRow, ...]
    holdings: tuple[Holding, ...]
    sent: Challenge | None
    codes: int
    tips: tuple[Tip, ...]

    def holding(self, serial: Serial | None) -> Holding | None:
        """Return one of the customer's certificates."""
        return next((held for held in self.holdings if held.serial == serial), None)

    def now_as(self, order: Order) -> "OrderFile":
        """Return the file with the order as it stands after a step."""
        return replace(self, order=order)


class Files(Protocol):
    """Reads files; each is one moment of the database."""

    async def customer(self, customer: CustomerId) -> CustomerFile:
        """Return what is on record of a customer; empty for an unknown one."""
        ...

    async def order(self, customer: CustomerId, order: OrderId) -> OrderFile | None:
        """Return the file of an order of this customer; None when they have no such order."""
        ...


def present_of(holdings: tuple[Holding, ...], profile: str) -> Holding | None:
    """Return the certificate that decides what the customer may do: the active one, else the newest proved."""
    held = [h for h in holdings if h.profile == profile and h.activated_at]
    active = [h for h in held if h.state in {CertificateState.ACTIVE, CertificateState.HELD}]
    return next(iter(active or held), None)
