"""Import of certificates of former issuers: a run takes effect as a whole or not at all.

1. The files are hashed, so that a run that was killed is recognised when it is started again.
2. Each certificate is read, verified with its issuer's pinned certificate, and matched to a customer.
3. Batches of 1,000 rows are staged together with a mark of how far the run is. Staged rows have no effect yet. If the
   process is killed, the next one continues at the mark.
4. If everything could be read, one statement makes all rows of the run take effect, in the transaction of its record.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Final

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import staff_stream
from chopmark.core.clock import Clock, Entropy, new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId, text
from chopmark.identity.sealed import Sealer
from chopmark.ra.certificate_import.judging import Candidate, Judge, Refuse, way_of
from chopmark.ra.certificate_import.ports import Asked, ImportRegistry, Known
from chopmark.ra.certificate_import.reading import Entry, Input, entries_of, open_input, sheets_of
from chopmark.ra.certificate_import.report import (
    IMPORTED,
    CertificateReport,
    Example,
    Found,
    Matched,
    Tally,
    Unreadable,
)
from chopmark.ra.certificate_import.serials import Serials
from chopmark.ra.certificate_import.subjects import Named, Names
from chopmark.ra.certificate_import.tables import Cell
from chopmark.ra.context import assert_staff
from chopmark.ra.customer_import.reading import short_hash
from chopmark.ra.former_issuers import FormerIssuers
from chopmark.ra.imported import ImportedCertificate, ImportedState, Way
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.person_id import parse_person_id
from chopmark.tw.zone import local_date

Progress = Callable[[int, int], None]
"""Called with the octets done and the total. Each octet counts twice: once for the hash and once for the reading."""
BATCH: Final = 1000
EXAMPLES: Final = 10
_SWEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Judged:
    """A certificate of a batch: the verdict on it, and whom its subject and the tables name.

    `said` are the people whom the tables name by customer number or ID number.
    """

    entry: Entry
    number: int
    found: Candidate | Refuse
    named: frozenset[Named]
    said: frozenset[Named]
    way: Way


@dataclass(slots=True)
class _Work:
    """The state of one run in memory."""

    tally: Tally
    serials: Serials
    tell: Progress
    total: int
    number: int = 0
    run: str | None = None
    done: int = 0
    rows: list[ImportedCertificate] = field(default_factory=list)


class CertificateImport:
    """Checks and imports the certificates that customers have of former issuers."""

    def __init__(
        self,
        registry: ImportRegistry,
        sealer: Sealer,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
        former: FormerIssuers,
        profile: str,
        batch: int = BATCH,
    ) -> None:
        self._registry = registry
        self._sealer = sealer
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy
        self._former = former
        self._profile = profile
        self._batch = batch

    async def check(
        self, paths: Sequence[Path], progress: Progress | None = None, examples: int = EXAMPLES
    ) -> CertificateReport:
        """Return what `run` would find and import; nothing is written."""
        tell = progress or _silent
        whole = self._input(paths, tell)
        with tempfile.TemporaryFile() as scratch:
            work = self._work(whole, scratch, tell, examples)
            await self._judge(whole, work)
            return work.tally.report(work.number)

    async def run(
        self, paths: Sequence[Path], by: str, progress: Progress | None = None, examples: int = EXAMPLES
    ) -> CertificateReport:
        """Import what matches and return the report. If anything in the files cannot be read, nothing is imported.

        `by` is the staff id of the importer. Safe to repeat: certificates that are imported already stay as they are.

        Raises:
            Refused: MALFORMED or NOT_FOUND if `by` or a file cannot be used, or the settings name no former issuer;
                CONFLICT if another process imports certificates at the same time.
        """
        assert_staff(by, "by")
        tell = progress or _silent
        whole = self._input(paths, tell)
        begun = await self._registry.begin(new_id(self._entropy), whole.sha256, by, self._clock.now())
        while await self._registry.sweep(_SWEPT) == _SWEPT:
            pass
        with tempfile.TemporaryFile() as scratch:
            work = self._work(whole, scratch, tell, examples)
            work.run, work.done = begun.run, begun.done
            await self._judge(whole, work)
            report = replace(work.tally.report(work.number), run=begun.run, resumed_at=begun.done or None)
        if report.unreadable:
            await self._registry.give_up(begun.run)
            return report
        while keys := await self._registry.shared_keys(begun.run, self._batch):
            await self._registry.leave_out(begun.run, keys)
        return await self._finish(begun.run, whole, by, report)

    async def _finish(self, run: str, whole: Input, by: str, report: CertificateReport) -> CertificateReport:
        imported, now = sum(report.counts.get(found, 0) for found in IMPORTED), self._clock.now()
        summary = json.dumps({found.value: many for found, many in report.counts.items()})

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.STAFF_CERTIFICATES_IMPORTED,
                by=by,
                count=imported,
                run=run,
                input_sha256=whole.sha256,
                issuer=",".join(report.issuers),
                door="batch",
            )
            return await self._registry.finish(run, report.certificates, summary, now, record)

        if not await self._audit_log.write(staff_stream(by), attempt):
            raise Refused(TAKEN)
        return replace(report, imported=imported)

    def _input(self, paths: Sequence[Path], tell: Progress) -> Input:
        if not self._former.by_id:
            raise Refused(_NO_ISSUER)
        return open_input(paths, tell)

    def _work(self, whole: Input, scratch: IO[bytes], tell: Progress, examples: int) -> _Work:
        serials = Serials(scratch)
        serials.read(sheets_of(whole))
        return _Work(Tally(examples), serials, tell, whole.size)

    async def _judge(self, whole: Input, work: _Work) -> None:
        """Judge every certificate of the input, batch by batch. If there is a run, stage those that match."""
        judge, entries = Judge(self._former), entries_of(whole)
        while batch := list(islice(entries, self._batch)):
            start, now = work.number, self._clock.now()
            judged = [one for entry in batch if (one := self._one(entry, judge, work, now)) is not None]
            known = await self._registry.known(self._asked(judged), now)
            work.rows = []
            for one in judged:
                self._match(one, known, work, now)
            if work.run is not None and work.number > work.done:
                await self._stage(work, max(start, work.done), now)
            last = batch[-1]
            if isinstance(last, Entry):
                work.tell(work.total + last.position, 2 * work.total)
        work.tell(2 * work.total, 2 * work.total)

    async def _stage(self, work: _Work, start: int, now: datetime) -> None:
        refused = await self._registry.stage(work.run or "", start, work.number, work.rows, now)
        if refused is not None:
            raise Refused(refused)

    def _one(self, entry: Entry | Unreadable, judge: Judge, work: _Work, now: datetime) -> _Judged | None:
        """Return the verdict on a certificate, and whom it names. One that cannot be imported is counted: None."""
        work.number += 1
        if isinstance(entry, Unreadable):
            work.tally.spoiled(entry)
            return None
        found = judge.judge(entry.der, now)
        if isinstance(found, Refuse):
            if found.found is Found.UNREADABLE:
                work.tally.spoiled(Unreadable(entry.file, entry.place, "certificate", _NO_CERTIFICATE))
            else:
                work.tally.note(found.found, _example(entry, work.number, found.serial))
            return None
        said, way = _said(entry.cells), way_of(entry.cells)
        named = found.named | said
        if not named or way is Way.UNKNOWN:
            for cells in work.serials.of(found.serial):
                said = said if named else _said(cells)
                named = named or said
                way = way if way is not Way.UNKNOWN else way_of(cells)
        people = frozenset(one for one in said if one.by is not Names.ACCOUNT)
        return _Judged(entry, work.number, found, named, people, way)

    def _asked(self, judged: Iterable[_Judged]) -> Asked:
        """Return what has to be looked up for a batch."""
        named = {one for each in judged for one in each.named}
        candidates = [one.found for one in judged if isinstance(one.found, Candidate)]
        return Asked(
            {self._person(one.value) for one in named if one.by is Names.PERSON_ID},
            {one.value for one in named if one.by is Names.CUSTOMER},
            {one.value for one in named if one.by is Names.ACCOUNT},
            {one.fingerprint for one in candidates},
            {one.spki_sha256 for one in candidates},
        )

    def _person(self, value: str) -> str:
        return self._sealer.lookup_hash("person_id", value)

    def _whose(self, named: Iterable[Named], known: Known) -> set[CustomerId]:
        owners: set[CustomerId | None] = set()
        for one in named:
            if one.by is Names.PERSON_ID:
                owners.add(known.persons.get(self._person(one.value)))
            elif one.by is Names.ACCOUNT:
                owners.add(known.accounts.get(AccountNumber(one.value)))
            elif one.value in known.customers:
                owners.add(CustomerId(one.value))
        return {owner for owner in owners if owner is not None}

    def _match(self, one: _Judged, known: Known, work: _Work, now: datetime) -> None:
        """Count a certificate as matched and keep its row, or count why it does not match."""
        candidate = one.found
        if not isinstance(candidate, Candidate):
            return
        example = _example(one.entry, one.number, candidate.serial)
        owners = self._whose(one.named, known)
        refused = _refused(candidate, one.named, owners, known)
        # A subject that names somebody who is not in the directory is nobody's, whatever a table says.
        if refused is None and candidate.named and not self._whose(candidate.named, known):
            refused = Found.TWO_CUSTOMERS
        # A table that names somebody unknown is wrong about this certificate, or the directory lacks them.
        if refused is None and not all(self._whose({said}, known) for said in one.said):
            refused = Found.TABLE_UNKNOWN
        if refused is not None:
            work.tally.note(refused, example)
            return
        (customer,) = owners
        kind = Matched(
            way=one.way,
            fit=candidate.fit,
            certified=customer in known.certified,
            month=local_date(candidate.not_after).strftime("%Y-%m"),
            issuer=candidate.issuer,
        )
        work.tally.match(candidate.fingerprint, candidate.spki_sha256, short_hash(customer), kind, example)
        if one.number > work.done and work.run is not None:
            account = next((n.value for n in one.named if n.by is Names.ACCOUNT), None)
            theirs = account is not None and known.accounts.get(AccountNumber(account)) == customer
            work.rows.append(
                ImportedCertificate(
                    fingerprint=candidate.fingerprint,
                    issuer=candidate.issuer,
                    serial=candidate.serial,
                    customer=customer,
                    account=AccountNumber(account) if account is not None and theirs else None,
                    profile=self._profile,
                    way=one.way if candidate.fit else Way.NONE,
                    spki_sha256=candidate.spki_sha256,
                    der=candidate.der,
                    chain=(),
                    not_before=candidate.not_before,
                    not_after=candidate.not_after,
                    state=ImportedState.ACTIVE,
                    imported_at=now,
                    run=work.run,
                )
            )


def _refused(candidate: Candidate, named: frozenset[Named], owners: set[CustomerId], known: Known) -> Found | None:
    """Return why a candidate is not imported; None if it has exactly one customer and nobody else has its key."""
    if candidate.fingerprint in known.there:
        return Found.THERE
    if not named:
        return Found.NO_TEMPLATE
    if not owners:
        return Found.NO_CUSTOMER
    if len(owners) > 1:
        return Found.TWO_CUSTOMERS
    if candidate.spki_sha256 in known.blocked:
        return Found.KEY_BLOCKED
    if known.keys.get(candidate.spki_sha256, frozenset()) - owners:
        return Found.KEY_SHARED
    return None


def _said(cells: Mapping[Cell, str]) -> frozenset[Named]:
    """Return everybody whom a table's line names. All its numbers are used, so that contradictions are found.

    A customer number of another form than ours is nobody's here, and stays as it is written.
    """
    said: set[Named] = set()
    person = parse_person_id(cells.get(Cell.PERSON_ID, ""))
    if not isinstance(person, Refusal):
        said.add(Named(Names.PERSON_ID, person.value))
    if written := cells.get(Cell.CUSTOMER, "").strip():
        customer = parse_customer_number(written)
        said.add(Named(Names.CUSTOMER, written if isinstance(customer, Refusal) else customer))
    if account := cells.get(Cell.ACCOUNT, "").strip().upper():
        said.add(Named(Names.ACCOUNT, account))
    return frozenset(said)


def _example(entry: Entry, number: int, serial: str) -> Example:
    return Example(number, entry.file, entry.place, serial)


def _silent(done: int, total: int) -> None:
    """Report no progress."""


TAKEN: Final = Refusal(
    Kind.CONFLICT,
    text("Certificates are being imported by somebody else at this moment."),
    field="file",
    code="importing",
)
_NO_ISSUER: Final = Refusal(
    Kind.MALFORMED,
    text("The settings name no former issuer, so no certificate can be verified. Please set [[former_issuer]] first."),
    code="no_former_issuer",
)
_NO_CERTIFICATE: Final = text("This is no certificate that can be read.")
