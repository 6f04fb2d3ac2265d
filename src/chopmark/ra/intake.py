"""Taking customers in: a sheet is checked to its last line, and then written wholly or not at all.

Pass 1 checks every line by itself, against the others and against the directory, and puts the rows into a sealed
spool. Only a file without faults goes to pass 2, which writes batches of 1,000 rows, each with its audit leaves and
the file's mark in one transaction: a run that is killed goes on where the mark stands, and ends in the same rows.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from chopmark.audit.events import Event
from chopmark.audit.leaf import AuditKey, ChainId, Leaf, Tip, customer_chain, staff_chain
from chopmark.audit.recorder import ATTEMPTS, Pen, StaleChain
from chopmark.clock import Clock, Entropy, new_id
from chopmark.errors import Kind, Refusal, Refused
from chopmark.identity.sealed import NONCE_BYTES, Sealer
from chopmark.ra.desk import assert_staff
from chopmark.ra.intake_changes import ContactChange, Plan
from chopmark.ra.intake_file import BATCH, MOST_FAULTS, Judged, Seen, Spool, Waiting, judged_lines, scan
from chopmark.ra.intake_ports import Mark, Registry, StandingMoved
from chopmark.ra.sheet import Column, Fault, Row, check_cells
from chopmark.tw.zone import local_date
from chopmark.words import text

Progress = Callable[[int, int], None]
"""Called with what is done and the total, in octets; each octet counts twice, once a pass."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a sheet: the same for a run in one go and for one that was killed and went on.

    `lines` counts those that say something, without the header; `imported` is all of them or 0. `faults` come by
    line, at most 10,000; `more` counts the others. `resumed_at` is the number of lines that were in already.
    """

    encoding: str
    lines: int
    faults: tuple[Fault, ...] = ()
    more: int = 0
    imported: int = 0
    resumed_at: int | None = field(default=None, compare=False)


class Intake:
    """Checks sheets of customers and takes them in.

    `cooldown` is how long a changed contact may not carry a code; `batch` is the number of rows in a transaction.
    """

    def __init__(
        self,
        registry: Registry,
        sealer: Sealer,
        key: AuditKey,
        clock: Clock,
        entropy: Entropy,
        cooldown: timedelta,
        batch: int = BATCH,
    ) -> None:
        self._registry = registry
        self._sealer = sealer
        self._key = key
        self._clock = clock
        self._entropy = entropy
        self._cooldown = cooldown
        self._batch = batch

    async def check_file(self, path: Path, progress: Progress | None = None) -> Report:
        """Return what `run` would find in this file; nothing is written."""
        with tempfile.TemporaryFile() as scratch:
            spool = self._spool(scratch)
            report, _, _ = await self._judge_file(path, spool, progress or _silent)
            return report

    async def run(self, path: Path, by: str, progress: Progress | None = None) -> Report:
        """Return the report of this file; when it has no fault, every line of it is in the directory.

        `by` is the staff id of whoever takes the file in. The same file can be taken in again later; what has not
        changed is not touched.

        Raises:
            Refused: MALFORMED or NOT_FOUND, `by` or the file cannot be used; CONFLICT, somebody else is at it.
        """
        assert_staff(by, "by")
        tell = progress or _silent
        with tempfile.TemporaryFile() as scratch:
            spool = self._spool(scratch)
            report, sha256, size = await self._judge_file(path, spool, tell)
            if report.faults:
                return report
            done = await self._registry.begin(sha256, self._clock.now())
            start = 0
            for batch in spool.batches():
                end = start + len(batch)
                if end > done:
                    fresh = batch[max(0, done - start) :]
                    await self._write(fresh, by, Mark(sha256, max(start, done), end))
                start = end
                tell(size + size * end // spool.lines, 2 * size)
            summary = json.dumps({"encoding": report.encoding, "lines": report.lines})
            await self._registry.finish(sha256, summary, self._clock.now())
            return replace(report, imported=report.lines, resumed_at=done or None)

    async def add(self, rows: Iterable[Mapping[str, str]], by: str) -> Report:
        """Return the report of rows that come from no file: by column name, as written in a sheet.

        The checks and the writes are those of `run`; a batch of 1,000 is a transaction, and no mark is kept.
        Absent columns are empty; lines count from 1.
        """
        assert_staff(by, "by")
        with tempfile.TemporaryFile() as scratch:
            spool = self._spool(scratch)
            report = await self._judge(_typed(rows, self._today()), spool, "utf-8", _silent_at)
            if report.faults:
                return report
            for batch in spool.batches():
                await self._write(batch, by, None)
            return replace(report, imported=report.lines)

    def _spool(self, scratch: IO[bytes]) -> Spool:
        return Spool(scratch, self._sealer, partial(self._entropy.token, NONCE_BYTES))

    def _today(self) -> date:
        return local_date(self._clock.now())

    async def _judge_file(self, path: Path, spool: Spool, tell: Progress) -> tuple[Report, str, int]:
        try:
            file = path.open("rb")
        except OSError as error:
            said = text("The file %(name)s cannot be read.", name=path.name)
            raise Refused(Refusal(Kind.NOT_FOUND, said, field="file", code="file")) from error
        with file:
            whole = scan(file)
            if whole.fault is not None:
                return Report(whole.encoding, 0, (whole.fault,)), whole.sha256, whole.size
            lines = judged_lines(file, whole.encoding, self._today())
            report = await self._judge(lines, spool, whole.encoding, lambda at: tell(at, 2 * whole.size))
        return report, whole.sha256, whole.size

    async def _judge(self, lines: Iterator[Judged], spool: Spool, encoding: str, at: Callable[[int], None]) -> Report:
        faults: list[Fault] = []
        found, count, seen = 0, 0, Seen()
        while judged := list(islice(lines, self._batch)):
            count += len(judged)
            waiting = [self._waiting(one.line, one.found) for one in judged if isinstance(one.found, Row)]
            wrong = [fault for one in judged if not isinstance(one.found, Row) for fault in one.found]
            wrong += await self._clashes(waiting)
            found += len(wrong)
            faults += sorted(wrong, key=_by_line)[: MOST_FAULTS - len(faults)]
            for row in waiting:
                seen.note(row)
            spool.add(waiting)
            at(judged[-1].position)
        twice, total = seen.repeated(spool)
        listed = sorted([*faults, *twice], key=_by_line)[:MOST_FAULTS]
        return Report(encoding, count, tuple(listed), found + total - len(listed))

    def _waiting(self, line: int, row: Row) -> Waiting:
        return Waiting(line, row, self._sealer.lookup_hash("person_id", row.person.value))

    async def _clashes(self, rows: Sequence[Waiting]) -> list[Fault]:
        """Return the faults of ids and accounts that the directory has under another customer number."""
        accounts = [account.number for one in rows for account in one.row.accounts]
        owners = await self._registry.owners([one.person_hash for one in rows], accounts)
        faults: list[Fault] = []
        for one in rows:
            if owners.persons.get(one.person_hash, one.row.customer) != one.row.customer:
                said = text("This ID number belongs to another customer number already.")
                faults.append(Fault(one.line, Column.PERSON_ID, "person_id.taken", said))
            for account in one.row.accounts:
                if owners.accounts.get(account.number, one.row.customer) != one.row.customer:
                    said = text("An account belongs to another customer number already.")
                    faults.append(Fault(one.line, Column.ACCOUNTS, "accounts.taken", said))
        return faults

    async def _write(self, rows: Sequence[Waiting], by: str, mark: Mark | None) -> None:
        """The rows are in the directory with their leaves: read, seal outside, write if nobody was faster."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            known = await self._registry.standing([one.row.customer for one in rows])
            plan = Plan(self._sealer, self._entropy, new_id, now, self._cooldown, known)
            changes = plan.changes([(one.row, one.person_hash) for one in rows])
            chains = {staff_chain(by): None} | {customer_chain(told.customer): None for told in plan.told}
            tips = await self._registry.tips(list(chains))
            leaves = self._leaves(tips, plan.told, by, len(rows), now)
            try:
                refused = await self._registry.write(changes, leaves, now, mark)
            except (StaleChain, StandingMoved):
                continue
            if refused is not None:
                raise Refused(refused)
            return
        said = text("The directory was changed by somebody else meanwhile. Please import the file again.")
        raise Refused(Refusal(Kind.CONFLICT, said, code="busy"))

    def _leaves(
        self, tips: Mapping[ChainId, Tip], told: Sequence[ContactChange], by: str, count: int, now: datetime
    ) -> list[Leaf]:
        pens = {chain: Pen(tip, now, self._key) for chain, tip in tips.items()}
        leaves = [pens[staff_chain(by)].leaf(Event.STAFF_CUSTOMERS_IMPORTED, by=by, count=count, door="batch")]
        for change in told:
            chain = customer_chain(change.customer)
            leaf = pens[chain].leaf(
                Event.STAFF_CONTACT_CHANGED,
                by=by,
                channel=change.channel,
                contact_version=change.version,
                customer=change.customer,
                state=change.state,
            )
            pens[chain] = pens[chain].after(leaf)
            leaves.append(leaf)
        return leaves


def _typed(rows: Iterable[Mapping[str, str]], today: date) -> Iterator[Judged]:
    for line, given in enumerate(rows, 1):
        cells = {column: given.get(column.value, "") for column in Column}
        yield Judged(line, check_cells(cells, line, today), line)


def _by_line(fault: Fault) -> int:
    return fault.line


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def _silent_at(position: int) -> None:
    """Tell nobody."""
