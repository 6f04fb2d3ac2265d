"""After a restore: what the journal has and the database lost is entered again, each certificate with its order.

An order is entered with its own sealed records and gets its certificate through the usual verbs. A certificate that was
proved becomes active again. A revocation or a hold is entered with the time at which it happened. What cannot be
entered is listed for a person.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.journal import TURNS, Deed, Line
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import AuditRecord, StoredRecord, order_stream
from chopmark.audit.restorewatch import oldest_first, settled
from chopmark.ca.journaled import Lost, told
from chopmark.ca.ports import IssuanceRepository, Reservation
from chopmark.core.refusal import Refused
from chopmark.core.types import CertificateState, Installed, OrderId, OrderState, Serial
from chopmark.ra.context import RaContext
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.model import Order
from chopmark.ra.recalled import Unreadable, recalled
from chopmark.ra.rekey import Rekey


class Records(Protocol):
    """The store's part: writes what is entered again."""

    async def rivals(self, order: Order) -> list[Order]:
        """Return the customer's other live orders of this profile; all of them were opened before the lost one."""
        ...

    async def unproved(self, orders: Collection[OrderId]) -> set[OrderId]:
        """Return those of these orders whose certificate is issued and not active."""
        ...

    async def enter(self, order: Order, records: Sequence[StoredRecord]) -> bool:
        """Store a submitted order with those of its records that are missing; False when that is not possible."""
        ...

    async def turn(self, line: Line, records: Sequence[AuditRecord]) -> bool:
        """Make a change of status in the tables of CA and RA, with its original time; False if nothing changed."""
        ...


class States(Protocol):
    """Reads the state of certificates."""

    async def states(self, serials: Collection[Serial]) -> Mapping[Serial, CertificateState]:
        """Return the state of each of these certificates that is in the database."""
        ...


@dataclass(frozen=True, slots=True)
class ReentryLine:
    """One thing that is, or would be, entered again; `kind` is the deed's value in the journal.

    `why_not` tells a person why it could not be entered; None if it was.
    """

    kind: str
    serial: Serial
    order: OrderId
    at: datetime
    reason: str | None = None
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Verbs:
    """The RA's usual verbs, by which an order gets its certificate or is ended."""

    context: RaContext
    rekey: Rekey
    enrolment: Enrolment


class Reentry:
    """Enters again what `read` returns from the journal, oldest first."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Line]]],
        records: Records,
        states: States,
        repository: IssuanceRepository,
        audit_log: AuditLog,
        verbs: Verbs,
    ) -> None:
        self._read = read
        self._records = records
        self._states = states
        self._repository = repository
        self._audit_log = audit_log
        self._verbs = verbs

    async def lost(self) -> bool:
        """Tell whether the journal has a certificate that the database does not have; a crash cannot cause that."""
        return bool(await self._unknown(await self._read()))

    async def plan(self) -> list[ReentryLine]:
        """Return what would be entered again; changes nothing."""
        lines = oldest_first(await self._read())
        lost, strange = await self._lost(lines)
        made = [_line(one) for one in lost.values()]
        made += map(_strange, strange)
        made += map(_told, await self._unproved(lines))
        return [*made, *(_told(turns[-1]) for turns in await self._unsettled(lines))]

    async def apply(self) -> list[ReentryLine]:
        """Enter it, and return what was entered and what could not be; safe to call again after any failure."""
        lines = oldest_first(await self._read())
        lost, strange = await self._lost(lines)
        proved = {line.serial for line in lines if line.deed is Deed.PROVED}
        # 1. Each lost certificate with its order; a certificate that was proved becomes active.
        done = [await self._enter(one, proved=serial in proved) for serial, one in lost.items()]
        done += map(_strange, strange)
        # 2. Each proof of a certificate that the database had already.
        for line in await self._unproved(lines):
            await self._activate(line.order)
            still = await self._records.unproved([line.order])
            done.append(_not(_told(line), "the certificate cannot become active here") if still else _told(line))
        # 3. Each change of status.
        for turns in await self._unsettled(lines):
            done.append(await self.redo(turns))
        return done

    async def redo(self, turns: Sequence[Line]) -> ReentryLine:
        """Make the missing changes of status of one serial, oldest first; return what became of the last one."""
        for line in turns:
            await self._turn(line)
        last = turns[-1]
        states = await self._states.states([last.serial])
        if settled(last, states.get(last.serial)):
            return _told(last)
        return _not(_told(last), "the certificate is not here, or cannot be changed so")

    async def _unknown(self, lines: Sequence[Line]) -> set[Serial]:
        reserved = {line.serial for line in lines if line.deed is Deed.RESERVED}
        return reserved - (await self._states.states(reserved)).keys()

    async def _lost(self, lines: Sequence[Line]) -> tuple[dict[Serial, Lost], list[Line]]:
        """Return the certificates that the database lacks, and the lines that this release cannot read.

        A certificate of which the database has only the reservation, and the journal the signed bytes, counts too.
        """
        known, strange = told(lines)
        states = await self._states.states({*known, *(line.serial for line in strange)})
        signed = {serial: one for serial, one in known.items() if one.der is not None}
        lost = {serial: one for serial, one in known.items() if serial not in states}
        half = {serial: one for serial, one in signed.items() if states.get(serial) is CertificateState.RESERVED}
        return {**lost, **half}, [line for line in strange if line.serial not in states]

    async def _unproved(self, lines: Sequence[Line]) -> list[Line]:
        """Return the proofs that the database does not show, of certificates that it has."""
        proofs = {line.order: line for line in lines if line.deed is Deed.PROVED}
        unproved = await self._records.unproved(proofs) if proofs else set()
        return [line for order, line in proofs.items() if order in unproved]

    async def _unsettled(self, lines: Sequence[Line]) -> list[list[Line]]:
        """Return the changes of status of each serial, oldest first, whose last one the database does not show.

        Changes after a revocation do not count.
        """
        turns: dict[Serial, list[Line]] = {}
        for line in lines:
            before = turns.setdefault(line.serial, []) if line.deed in TURNS else None
            if before is not None and not (before and before[-1].deed is Deed.REVOKED):
                before.append(line)
        states = await self._states.states(turns)
        return [each for serial, each in turns.items() if not settled(each[-1], states.get(serial))]

    async def _enter(self, one: Lost, *, proved: bool) -> ReentryLine:
        """Enter a certificate with its order; return its line, with the reason if it could not be entered."""
        reservation = one.reserved.reservation
        line = _line(one)
        try:
            order = recalled(one.reserved.records, one.reserved.csr)
        except Unreadable:
            return _not(line, "its records do not tell whose it is")
        for rival in await self._records.rivals(order):
            await self._verbs.enrolment.expire(rival)
        # 1. The order and its records.
        if not await self._records.enter(order, one.reserved.records):
            return _not(line, "its customer is not here, or its order has gone another way here")
        # 2. The reservation of the serial.
        if not await self._reserve(reservation):
            return _not(line, "its CA does not issue here")
        # 3. The signed certificate, if the journal has it.
        await self._sign(reservation, one.der)
        if one.der is None:
            return line
        # 4. The order gets its certificate, and the certificate becomes active if it was proved.
        try:
            await self._verbs.rekey.resume(order.id)
        except Refused as refused:
            return _not(line, f"the order was refused: {refused.refusal.code or refused.refusal.kind}")
        if proved:
            await self._activate(order.id)
        return line

    async def _reserve(self, reservation: Reservation) -> bool:
        states = await self._states.states([reservation.serial])
        if reservation.serial in states:
            return True

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_RESERVED, **reservation.facts)
            return await self._repository.reserve(reservation, record)

        return await self._audit_log.write(order_stream(reservation.order), attempt)

    async def _sign(self, reservation: Reservation, der: bytes | None) -> None:
        """Store the certificate; without its bytes give the reservation up.

        Nobody knows then whether the CA has signed a certificate with this serial.
        """
        now = self._verbs.context.now()

        async def attempt(builder: RecordBuilder) -> bool:
            facts = {"serial": reservation.serial, "issuer": reservation.issuer}
            if der is None:
                return await self._repository.orphan(
                    reservation.serial, now, builder.record(Event.CA_CERTIFICATE_ORPHANED, **facts)
                )
            return await self._repository.record(
                reservation.serial, der, now, builder.record(Event.CA_CERTIFICATE_ISSUED, **facts)
            )

        await self._audit_log.write(order_stream(reservation.order), attempt)

    async def _activate(self, order_id: OrderId) -> None:
        """Make a certificate active that its customer had proved, and supersede the one before it."""
        context = self._verbs.context
        order = await context.orders.get(order_id)
        if order is None or order.state is not OrderState.ISSUED or order.serial is None:
            return
        old = next(
            (
                one
                for one in await context.certificates.all(order.customer)
                if one.profile == order.profile and one.state is CertificateState.ACTIVE
            ),
            None,
        )
        works = context.revoke_old(old, "superseded", order.customer, order.id)

        async def attempt(builder: RecordBuilder) -> object:
            record = builder.record(
                Event.RA_CERTIFICATE_ACTIVATED,
                serial=order.serial,
                old_serial=None if old is None else old.serial,
                door="batch",
            )
            return await context.orders.activate(order, None, Installed.OPENED, context.now(), works, record)

        await context.audit_log.write(order_stream(order.id), attempt)

    async def _turn(self, line: Line) -> None:
        events = {
            Deed.REVOKED: (Event.CA_CERTIFICATE_REVOKED,),
            Deed.HELD: (Event.CA_CERTIFICATE_HELD,),
            Deed.RELEASED: (Event.CA_CERTIFICATE_RELEASED, Event.RA_CERTIFICATE_RELEASED),
        }[line.deed]

        facts = {} if line.reason is None else {"reason": line.reason}

        async def attempt(builder: RecordBuilder) -> bool:
            records = [builder.record(events[0], serial=line.serial, **facts)]
            records += (builder.after(records[0]).record(event, serial=line.serial) for event in events[1:])
            return await self._records.turn(line, records)

        await self._audit_log.write(order_stream(line.order), attempt)


def _told(line: Line) -> ReentryLine:
    return ReentryLine(line.deed.value, line.serial, line.order, line.at, line.reason)


def _strange(line: Line) -> ReentryLine:
    return _not(_told(line), "another release of Chopmark wrote this line")


def _line(one: Lost) -> ReentryLine:
    reservation, deed = one.reserved.reservation, Deed.RESERVED if one.der is None else Deed.ISSUED
    return ReentryLine(deed.value, reservation.serial, reservation.order, reservation.reserved_at)


def _not(line: ReentryLine, why: str) -> ReentryLine:
    return ReentryLine(line.kind, line.serial, line.order, line.at, line.reason, why)
