"""Importing customers: a sheet is checked to its last line, and then it is written completely or not at all.

Pass 1 checks every line by itself, against the other lines and against the directory, and puts the rows into a sealed
spool. Only a file without faults goes to pass 2, which writes batches of 1,000 rows. Each batch is one transaction with
its audit records and a mark of how far the file is. If a run is killed, the next run of the same file continues at the
mark and ends with the same rows.
"""

import json
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from chopmark.audit.events import Event
from chopmark.audit.log import ATTEMPTS, AuditLog, StaleStream
from chopmark.audit.record import AuditRecord, customer_stream, staff_stream
from chopmark.core.clock import Clock, Entropy, new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, text
from chopmark.identity.sealed import NONCE_BYTES, Sealer
from chopmark.ra.context import assert_staff
from chopmark.ra.customer_import.cells import Dates
from chopmark.ra.customer_import.changes import BatchChanges, Import, Told
from chopmark.ra.customer_import.differences import (
    CONTACT_COLUMNS,
    Share,
    Turned,
    column_of,
    difference_note,
    differences,
    faults_of,
    gained,
    moved_note,
    shared_note,
)
from chopmark.ra.customer_import.ports import (
    KEPT,
    Allowed,
    Borne,
    DirectoryState,
    Mark,
    Owners,
    Past,
    Registry,
    Rules,
    StandingMoved,
)
from chopmark.ra.customer_import.reading import (
    BATCH,
    MOST_FAULTS,
    Judged,
    Seen,
    Spool,
    Waiting,
    judged_lines,
    scan,
    short_hash,
)
from chopmark.ra.customer_import.report import Remarks, Report, by_line
from chopmark.ra.customer_import.sheet import Column, Fault, Row, check_cells
from chopmark.ra.policy import Policy
from chopmark.tw.zone import local_date

Progress = Callable[[int, int], None]
"""Called with the work done and the total, in octets; each octet of the file counts twice, once for each pass."""
NOTHING: frozenset[Allowed] = frozenset()
_PAGE = 10_000


def rules_of(policy: Policy, percent: int, floor: int) -> Rules:
    """Return the import's rules by this policy, whose channels are those that have a gateway."""
    return Rules(policy.contact_cooldown, frozenset(policy.channels), percent, floor, policy.countries)


@dataclass(frozen=True, slots=True)
class _By:
    """Who imports, which changes they allow, and the import's shared parts."""

    staff: str
    allowed: frozenset[Allowed]
    of: Import


class CustomerImport:
    """Checks and imports sheets of customers; `batch` is the number of rows in a transaction."""

    def __init__(
        self,
        registry: Registry,
        sealer: Sealer,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
        rules: Rules,
        batch: int = BATCH,
    ) -> None:
        self._registry = registry
        self._sealer = sealer
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy
        self._rules = rules
        self._batch = batch

    async def check_file(
        self,
        path: Path,
        progress: Progress | None = None,
        allowed: Collection[Allowed] = NOTHING,
        dates: Dates = Dates.PLAIN,
    ) -> Report:
        """Return what `run` would find and change, and which customers are not in the file; nothing is written."""
        with tempfile.TemporaryFile() as scratch:
            spool, seen = self._spool(scratch), Seen()
            report, _, _ = await self._judge_file(path, spool, seen, progress or _silent, allowed, dates)
            absent, count = await self._absent(seen)
            return replace(report, absent=absent, absent_count=count)

    async def run(
        self,
        path: Path,
        by: str,
        progress: Progress | None = None,
        allowed: Collection[Allowed] = NOTHING,
        dates: Dates = Dates.PLAIN,
    ) -> Report:
        """Import the file and return its report; if the report has a fault, nothing was written.

        `by` is the staff id of the importer, `allowed` are the changes that they allow, and `dates` is the calendar
        that they say its ambiguous dates are in. The same file can be imported again later; rows that have not changed
        are left as they are.

        Raises:
            Refused: MALFORMED or NOT_FOUND if `by` or the file cannot be used; CONFLICT if somebody else changes the
                directory or imports the file at the same time.
        """
        who = self._by(by, allowed)
        tell = progress or _silent
        with tempfile.TemporaryFile() as scratch:
            spool = self._spool(scratch)
            report, sha256, size = await self._judge_file(path, spool, Seen(), tell, allowed, dates)
            if report.faults:
                return report
            done = await self._registry.begin(sha256, self._clock.now())
            start = 0
            for batch in spool.batches():
                end = start + len(batch)
                if end > done:
                    fresh = batch[max(0, done - start) :]
                    await self._write(fresh, who, Mark(sha256, max(start, done), end))
                start = end
                tell(size + size * end // spool.lines, 2 * size)
            summary = json.dumps({"encoding": report.encoding, "lines": report.lines})
            await self._registry.finish(sha256, summary, self._clock.now())
            return replace(report, imported=report.lines, resumed_at=done or None)

    async def add(self, rows: Iterable[Mapping[str, str]], by: str, allowed: Collection[Allowed] = NOTHING) -> Report:
        """Import rows that come from no file and return their report; each row has its cells by column name.

        Checks and writes are those of `run`, also in batches of 1,000 rows, but no mark is stored, so a killed call is
        not resumed. Missing columns count as empty; lines are counted from 1.
        """
        who = self._by(by, allowed)
        with tempfile.TemporaryFile() as scratch:
            spool = self._spool(scratch)
            typed = _typed(rows, self._today(), self._rules.countries)
            report = await self._judge(typed, spool, Seen(), "utf-8", _silent_at, allowed)
            if report.faults:
                return report
            for batch in spool.batches():
                await self._write(batch, who, None)
            return replace(report, imported=report.lines)

    def _by(self, staff: str, allowed: Collection[Allowed]) -> _By:
        assert_staff(staff, "by")
        run = Import(self._sealer, self._entropy, new_id, self._rules, new_id(self._entropy))
        return _By(staff, frozenset(allowed), run)

    def _spool(self, scratch: IO[bytes]) -> Spool:
        return Spool(scratch, self._sealer, partial(self._entropy.token, NONCE_BYTES))

    def _today(self) -> date:
        return local_date(self._clock.now())

    async def _judge_file(
        self, path: Path, spool: Spool, seen: Seen, tell: Progress, allowed: Collection[Allowed], dates: Dates
    ) -> tuple[Report, str, int]:
        try:
            file = path.open("rb")
        except OSError as error:
            said = text("The file %(name)s cannot be read.", name=path.name)
            raise Refused(Refusal(Kind.NOT_FOUND, said, field="file", code="file")) from error
        with file:
            whole = scan(file)
            if whole.fault is not None:
                return Report(whole.encoding, 0, (whole.fault,)), whole.sha256, whole.size
            lines = judged_lines(file, whole.encoding, self._today(), dates, self._rules.countries)
            report = await self._judge(lines, spool, seen, whole.encoding, lambda at: tell(at, 2 * whole.size), allowed)
        return report, whole.sha256, whole.size

    async def _judge(
        self,
        lines: Iterator[Judged],
        spool: Spool,
        seen: Seen,
        encoding: str,
        at: Callable[[int], None],
        allowed: Collection[Allowed],
    ) -> Report:
        faults: list[Fault] = []
        found, count, share, remarks = 0, 0, Share(), Remarks()
        while judged := list(islice(lines, self._batch)):
            count += len(judged)
            waiting = [self._waiting(one.line, one.found) for one in judged if isinstance(one.found, Row)]
            wrong = [fault for one in judged if not isinstance(one.found, Row) for fault in one.found]
            wrong += await self._compare(waiting, allowed, share, remarks)
            found += len(wrong)
            faults += sorted(wrong, key=by_line)[: MOST_FAULTS - len(faults)]
            for row in waiting:
                seen.note(row)
            spool.add(waiting)
            at(judged[-1].position)
        twice, total = seen.repeated(spool)
        many = share.fault(self._rules, allowed)
        total += many is not None
        listed = sorted([*faults, *twice, *([] if many is None else [many])], key=by_line)[:MOST_FAULTS]
        self._shared(seen, spool, remarks)
        notes = tuple(sorted(remarks.kept, key=by_line))
        return Report(
            encoding, count, tuple(listed), found + total - len(listed), notes=notes, counts=dict(remarks.counts)
        )

    def _waiting(self, line: int, row: Row) -> Waiting:
        hashed = self._sealer.lookup_hash
        mobile = hashed("destination", row.mobile) if row.mobile and row.verified_on else None
        email = hashed("destination", row.email) if row.email and row.verified_on else None
        return Waiting(line, row, hashed("person_id", row.person.value), mobile, email)

    async def _compare(
        self, rows: Sequence[Waiting], allowed: Collection[Allowed], share: Share, remarks: Remarks
    ) -> list[Fault]:
        """Return the faults of a batch that show against the directory, and add remarks on what it changes."""
        if not rows:
            return []
        accounts = [account.number for one in rows for account in one.row.accounts]
        contacts = [found for one in rows for found in (one.mobile_hash, one.email_hash) if found is not None]
        owners = await self._registry.owners([one.person_hash for one in rows], accounts, contacts)
        known = await self._registry.standing([one.row.customer for one in rows])
        turned = self._turned(rows, known)
        past = await self._past(rows, known, turned, "")
        faults: list[Fault] = []
        for one in rows:
            faults += _clashes(one, owners)
            standing = known.get(one.row.customer)
            found = turned.get(one.row.customer, ())
            if standing is None:
                remarks.count("customer.new", 1)
            else:
                share.note(one, found)
            faults += faults_of(one, found, allowed)
            remarks.add(difference_note(one, each) for each in found)
            for borne in gained(one, standing, found):
                if others := past.others(borne, one.row.customer):
                    remarks.add([moved_note(one, column_of(borne, one), others, self._rules)])
            for channel, column in CONTACT_COLUMNS.items():
                sharing = set(owners.contacts.get(one.contact_hash(channel) or "", ())) - {one.row.customer}
                if sharing:
                    remarks.add([shared_note(one, column, sorted(sharing))])
        return faults

    def _turned(self, rows: Sequence[Waiting], known: Mapping[CustomerId, DirectoryState]) -> Turned:
        there = [(one, standing) for one in rows if (standing := known.get(one.row.customer)) is not None]
        return {one.row.customer: differences(one, standing, self._sealer) for one, standing in there}

    async def _past(
        self, rows: Sequence[Waiting], known: Mapping[CustomerId, DirectoryState], turned: Turned, run: str
    ) -> Past:
        borne: list[Borne] = []
        for one in rows:
            customer = one.row.customer
            borne += gained(one, known.get(customer), turned.get(customer, ()))
        changed = [customer for customer, found in turned.items() if found]
        return await self._registry.past(borne, changed, run, self._clock.now() - KEPT)

    def _shared(self, seen: Seen, spool: Spool, remarks: Remarks) -> None:
        """Add remarks on contacts that several lines have, unless the line already has a remark that it is shared."""
        again, total = seen.shared(spool)
        noted = {(one.line, one.code) for one in remarks.kept}
        fresh = [one for one in again if (one.line, one.code) not in noted]
        remarks.add(fresh)
        remarks.count("contact.shared", total - len(again))

    async def _absent(self, seen: Seen) -> tuple[tuple[CustomerId, ...], int]:
        """Return the first customers of the directory that are not in the file, and how many there are in all."""
        there = sorted(seen.customers)
        absent: list[CustomerId] = []
        count, after = 0, None
        while page := await self._registry.numbers(after, _PAGE):
            for one in page:
                hashed = short_hash(one)
                place = bisect_left(there, hashed)
                if place == len(there) or there[place] != hashed:
                    count += 1
                    absent += [one] if len(absent) < MOST_FAULTS else []
            after = page[-1]
        return tuple(absent), count

    async def _write(self, rows: Sequence[Waiting], who: _By, mark: Mark | None) -> None:
        """Write the rows with their records, and try again if somebody changed the directory between read and write.

        The values are sealed between the two, outside any transaction. Raises Refused (CONFLICT) after `ATTEMPTS`.
        """
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            known = await self._registry.standing([one.row.customer for one in rows])
            turned = self._turned(rows, known)
            if any(True for one in rows for _ in faults_of(one, turned.get(one.row.customer, ()), who.allowed)):
                raise Refused(_BUSY)  # somebody else has changed the directory since the check
            plan = BatchChanges(who.of, now, known, turned, await self._past(rows, known, turned, who.of.run))
            changes = plan.changes(rows)
            records = await self._records(plan.told, who, len(rows))
            try:
                refused = await self._registry.write(changes, records, now, mark)
            except (StaleStream, StandingMoved):
                continue
            if refused is not None:
                raise Refused(refused)
            return
        raise Refused(_BUSY)

    async def _records(self, told: Sequence[Told], who: _By, count: int) -> list[AuditRecord]:
        now = self._clock.now()
        chains = {staff_stream(who.staff): None} | {customer_stream(one.customer): None for one in told}
        tips = await self._registry.tips(list(chains))
        builders = {stream: self._audit_log.builder(tip, now) for stream, tip in tips.items()}
        named = {"allowed": ",".join(sorted(who.allowed))} if who.allowed else {}
        staff = builders[staff_stream(who.staff)]
        records = [staff.record(Event.STAFF_CUSTOMERS_IMPORTED, by=who.staff, count=count, door="batch", **named)]
        for one in told:
            stream = customer_stream(one.customer)
            record = builders[stream].record(one.event, by=who.staff, **one.facts)
            builders[stream] = builders[stream].after(record)
            records.append(record)
        return records


def _clashes(one: Waiting, owners: Owners) -> Iterator[Fault]:
    """Yield a fault for an id or an account that the directory has under another customer number."""
    if owners.persons.get(one.person_hash, one.row.customer) != one.row.customer:
        said = text("This ID number belongs to another customer number already.")
        yield Fault(one.line, Column.PERSON_ID, "person_id.taken", said)
    for account in one.row.accounts:
        if owners.accounts.get(account.number, one.row.customer) != one.row.customer:
            said = text("An account belongs to another customer number already.")
            yield Fault(one.line, Column.ACCOUNTS, "accounts.taken", said)


def _typed(rows: Iterable[Mapping[str, str]], today: date, countries: Collection[str]) -> Iterator[Judged]:
    for line, given in enumerate(rows, 1):
        cells = {column: given.get(column.value, "") for column in Column}
        yield Judged(line, check_cells(cells, line, today, countries=countries), line)


def _silent(done: int, total: int) -> None:
    """Report no progress."""


def _silent_at(position: int) -> None:
    """Report no progress."""


_BUSY = Refusal(
    Kind.CONFLICT,
    text("The directory was changed by somebody else meanwhile. Please import the file again."),
    code="busy",
)
