"""What the CA writes to the journal, and reads there after a restore: reservations, certificates, status changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from chopmark.audit.journal import Deed, Line
from chopmark.audit.record import StoredRecord
from chopmark.ca.ports import Entry, IssuanceRequest, Reservation
from chopmark.core.clock import Clock
from chopmark.core.types import CertificateState, Serial


@dataclass(frozen=True, slots=True)
class Reserved:
    """The body of a *reserved* line: the reservation, the request's CSR, and the order's records up to then."""

    reservation: Reservation
    csr: bytes
    records: tuple[StoredRecord, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A certificate that the journal has; `der` is None when the journal has its reservation only."""

    reserved: Reserved
    der: bytes | None


class Lines(Protocol):
    """Writes lines to the journal."""

    @property
    def closed(self) -> bool:
        """True while nothing may be written, because the database is known to lack what the journal has."""
        ...

    async def write(self, line: Line) -> None:
        """Write a line; it is on the disk when this returns. Raises Refused (UNAVAILABLE) when it was not written."""
        ...


class CaJournal:
    """Writes what one CA does; each call raises Refused (UNAVAILABLE) when the line was not written."""

    def __init__(self, lines: Lines, clock: Clock) -> None:
        self._lines = lines
        self._clock = clock

    @property
    def closed(self) -> bool:
        """True while nothing may be signed, because the database is known to lack what the journal has."""
        return self._lines.closed

    async def reserved(self, reservation: Reservation, issuance: IssuanceRequest) -> None:
        """Write that a reservation has committed and is about to be signed."""
        body = msgspec.json.encode(Reserved(reservation, issuance.csr_der, issuance.records))
        await self._lines.write(_line(Deed.RESERVED, reservation, self._clock.now(), body=body))

    async def issued(self, reservation: Reservation, der: bytes) -> None:
        """Write that a certificate was signed and is about to be stored."""
        await self._lines.write(_line(Deed.ISSUED, reservation, self._clock.now(), body=der))

    async def turned(self, deed: Deed, reservation: Reservation, at: datetime, reason: str | None = None) -> None:
        """Write that a certificate is about to be revoked, held or released as of `at`."""
        await self._lines.write(_line(deed, reservation, at, reason))


def _line(deed: Deed, reservation: Reservation, at: datetime, reason: str | None = None, body: bytes = b"") -> Line:
    issuer, serial, order = reservation.issuer, reservation.serial, reservation.order
    return Line(deed, at, issuer, serial, order, reservation.shard, reservation.not_after, reason, body)


def turns(deed: Deed, entry: Entry) -> bool:
    """Tell whether the deed would change the stored status; what is revoked stays revoked (I25)."""
    before = {
        Deed.REVOKED: {CertificateState.ISSUED, CertificateState.HELD},
        Deed.HELD: {CertificateState.ISSUED},
        Deed.RELEASED: {CertificateState.HELD},
    }
    return entry.state in before[deed]


def told(lines: Sequence[Line]) -> tuple[dict[Serial, Lost], list[Line]]:
    """Return what the journal's lines say about each serial whose reservation is among them, oldest first.

    The second part are *reserved* lines whose body cannot be read, because another release wrote it in another form. A
    person has to look at these.
    """
    bodies: dict[Serial, Reserved] = {}
    signed: dict[Serial, bytes] = {}
    strange: list[Line] = []
    for line in lines:
        if line.deed is Deed.ISSUED:
            signed[line.serial] = line.body
        elif line.deed is Deed.RESERVED:
            try:
                bodies[line.serial] = msgspec.json.decode(line.body, type=Reserved)
            except msgspec.MsgspecError:
                strange.append(line)
    return {serial: Lost(reserved, signed.get(serial)) for serial, reserved in bodies.items()}, strange
