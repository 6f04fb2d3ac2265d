"""What the records say of approval slips, and what their rows have to say: who got one, how long, and for which order.

A slip counts for the customer whom two people printed it for, for one order and key, until its life is over or a newer
one is printed. Whoever writes the database and has a slip in hand can make an old one good again; the records that
come of it, and the row, do not fit the record of its printing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.checks import Part, Seen, place_of
from chopmark.audit.events import Event
from chopmark.audit.findings import Code, Finding
from chopmark.audit.ports import SlipRow, TableRow
from chopmark.audit.record import parse_stamp

MARGIN = timedelta(seconds=60)
"""A record's time is read a moment after that of its change."""


@dataclass(slots=True)
class _Slip:
    """What is told of a printed slip."""

    customer: str
    until: datetime
    used_for: tuple[str, str] | None = None
    """The order, and its key, that it was right for."""


class SlipCheck(Part):
    """Compares each slip with the record of its printing. Keeps a line for each slip and each order that asks for one.

    `life` is how long a slip counts: no record names it.
    """

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._slips: dict[str, _Slip] = {}
        self._newest: dict[str, str] = {}
        self._orders: dict[str, str] = {}
        self._read: Mapping[str, Callable[[Seen, Mapping[str, object]], Iterable[Finding]]] = {
            Event.STAFF_SLIP_PRINTED.value: self._printed,
            Event.RA_ORDER_OPENED.value: self._opened,
            Event.RA_SLIP_RIGHT.value: self._right,
        }

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Take in a printing, and judge what a slip was right for."""
        read = self._read.get(seen.record.event)
        return () if read is None else read(seen, json.loads(seen.record.facts))

    def _printed(self, seen: Seen, facts: Mapping[str, object]) -> Iterable[Finding]:
        slip, customer = str(facts.get("slip")), str(facts.get("customer"))
        self._slips[slip] = _Slip(customer, parse_stamp(seen.record.at) + self._life + MARGIN)
        self._newest[customer] = slip
        return ()

    def _opened(self, seen: Seen, facts: Mapping[str, object]) -> Iterable[Finding]:
        if "slip" in str(facts.get("checks")).split("+"):
            self._orders[seen.record.chain] = str(facts.get("customer"))
        return ()

    def _right(self, seen: Seen, facts: Mapping[str, object]) -> Iterator[Finding]:
        name, use = str(facts.get("slip")), (str(seen.record.chain), str(facts.get("spki_sha256")))
        slip, customer = self._slips.get(name), self._orders.get(seen.record.chain)
        why = None
        if slip is None or slip.customer != customer:
            why = "no record says that it was printed for this order's customer"
        elif parse_stamp(seen.record.at) > slip.until:
            why = "its life was over"
        elif self._newest[slip.customer] != name:
            why = "a newer one had been printed"
        elif slip.used_for not in {None, use}:
            why = "it had been used up by another order or key"
        if slip is not None:
            slip.used_for = slip.used_for or use
        if why is not None:
            yield Finding(Code.SLIP_WRONG, place_of(seen.record), f"An approval slip was taken as right, but {why}.")

    def row(self, row: TableRow, /) -> Iterator[Finding]:
        """Find a slip whose row is better off than its records."""
        if not isinstance(row, SlipRow):
            return
        slip, why = self._slips.get(row.id), None
        if slip is None or slip.customer != row.customer:
            why = "no record says that it was printed for this customer"
        elif row.expires_at > slip.until:
            why = "it ends later than its printing allows"
        elif row.state != "void" and self._newest[slip.customer] != row.id:
            why = "a newer one was printed, and it is not void"
        elif slip.used_for is not None and (
            row.state == "live" or (row.state == "used" and row.order != slip.used_for[0])
        ):
            why = "the records say that another order has used it up"
        if why is not None:
            yield Finding(Code.SLIP_WRONG, f"slip {row.id}", f"The approval slip's row is {row.state}, but {why}.")
