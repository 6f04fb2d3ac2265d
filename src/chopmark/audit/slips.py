"""The verifier's check of approval slips: compares their use and their rows with the records of their printing.

A slip is valid for the customer for whom two people printed it, for one order and key, until it expires or a newer one
is printed. A person who can write to the database and has an old slip could make it valid again. Then its row, and the
records of its use, do not fit the record of its printing, and this check reports that.
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
"""Allowed difference of times, because a record's time is read a moment after the time of its change."""


@dataclass(slots=True)
class _Slip:
    """What the records say of a printed slip."""

    customer: str
    until: datetime
    used_for: tuple[str, str] | None = None
    """The order that it approved, and that order's key."""


class SlipCheck(Part):
    """Compares each slip with the record of its printing.

    `life` is how long a slip is valid, which no record says. Memory grows with the slips and with the orders that ask
    for one.
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
        """Remember the printing of a slip, or check the use of one."""
        read = self._read.get(seen.record.event)
        return () if read is None else read(seen, json.loads(seen.record.facts))

    def _printed(self, seen: Seen, facts: Mapping[str, object]) -> Iterable[Finding]:
        slip, customer = str(facts.get("slip")), str(facts.get("customer"))
        self._slips[slip] = _Slip(customer, parse_stamp(seen.record.at) + self._life + MARGIN)
        self._newest[customer] = slip
        return ()

    def _opened(self, seen: Seen, facts: Mapping[str, object]) -> Iterable[Finding]:
        if "slip" in str(facts.get("checks")).split("+"):
            self._orders[seen.record.stream] = str(facts.get("customer"))
        return ()

    def _right(self, seen: Seen, facts: Mapping[str, object]) -> Iterator[Finding]:
        name, use = str(facts.get("slip")), (str(seen.record.stream), str(facts.get("spki_sha256")))
        slip, customer = self._slips.get(name), self._orders.get(seen.record.stream)
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
        """Report a slip whose row allows more than its records do."""
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
