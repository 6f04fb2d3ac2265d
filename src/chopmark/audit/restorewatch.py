"""Whether the database has everything that stands outside it: signed heads detect a restore, the journal repairs it.

A backup that was put back, or a standby that took over without the last seconds, forgets. The heads file and the
journal do not: what they have and the database lacks shows here, a second later at most. A change of status whose line
was written and whose commit never came is a crash and no restore: it is done again, and nobody is alarmed.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from chopmark.audit.head import Head
from chopmark.audit.journal import TURNS, Deed, JournalDamaged, JournalKey, Line, decode_line
from chopmark.audit.journalfile import JournalFolder, Tail
from chopmark.audit.standing import Behind, Filed, Heads, Whole, look
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, Serial, text

MARGIN = timedelta(hours=1)
"""How long before the database's newest head a line may have been written that the database lacks: clocks differ."""
LOOK_EVERY_S = 1.0

log = structlog.get_logger()


class Records(Protocol):
    """What the database has of the certificates."""

    async def states(self, serials: Collection[Serial]) -> Mapping[Serial, CertificateState]:
        """Return the state of each of these certificates that is here."""
        ...


class RestoreWatch:
    """One process's view of what the database lacks."""

    def __init__(
        self, ledger: Heads, heads: Filed, folder: JournalFolder, key: JournalKey, records: Records, clock: Clock
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._heads = heads
        self._folder = folder
        self._key = key
        self.records = records
        self._turn = asyncio.Lock()
        self._tail: Tail | None = None
        self._standing: Whole | Behind = Whole()
        self._made: dict[Serial, bool] = {}
        """Serials whose reservation was not seen here yet, and whether the journal has their certificate."""
        self._lacking = False
        """Whether the database, when it was last asked, did not know one of these; it may be away since."""
        self._turned: dict[Serial, Line] = {}
        """The last change of status of each serial that was not seen here yet."""
        self._missed: frozenset[Line] = frozenset()
        """What the last look missed in the database."""
        self._undone: tuple[Line, ...] = ()
        self.damaged = 0
        """How many lines of the journal could not be read."""
        self.unreadable: str | None = None
        """Why heads or journal could not be read at the last look; None when they could."""

    async def look(self) -> int:
        """Compare once; 1 when what the world is told may have changed by it, else 0. Raises Refused.

        1 the heads file, then the ledger, which is never behind it after a crash  2 new lines of the journal  3 what
        the database has of the deeds that it was not seen to have.
        """
        async with self._turn:
            return await self._look()

    async def _look(self) -> int:
        before = self.behind, frozenset(self._turned), frozenset(self._made)
        try:
            await self._read_heads()
            for line in await self._new_lines():
                self._take(line)
        except OSError as error:
            self._trouble(f"heads file or journal cannot be read ({error.strerror or type(error).__name__})")
            return 0
        self.unreadable = None
        await self._compare()
        if self.behind and not before[0]:
            log.error("the database is behind the heads or the journal: see `chopmark check`", code="restore.behind")
        elif before[0] and not self.behind:
            log.warning("the database has again what stands outside it", code="restore.whole")
        return int(before != (self.behind, frozenset(self._turned), frozenset(self._made)))

    @property
    def behind(self) -> bool:
        """True when the database lacks what a crash cannot have kept from it."""
        return isinstance(self._standing, Behind) or self._lacking

    def require_whole(self) -> None:
        """Raise Refused (UNAVAILABLE) while the database is behind: the counter stands still."""
        if self.behind:
            raise Refused(STANDSTILL)

    def trouble(self) -> str | None:
        """Return why the counter stands still, in a sentence for the operator; None when it need not."""
        if not self.behind:
            return None
        return (
            "the database is older than the signed heads or the journal beside it: a backup was restored, or a standby "
            "lost its last seconds. Nothing is signed and no order goes on until `chopmark db restored` has been run"
        )

    def overlay(self, serial: Serial) -> Line | None:
        """Return the change of status that the journal has of a serial and the database lacks."""
        return self._turned.get(serial)

    def overlays(self) -> tuple[Line, ...]:
        """Return all of them."""
        return tuple(self._turned.values())

    def made(self, serial: Serial) -> bool:
        """Tell whether the journal has the certificate of a serial that the database does not know at all."""
        return self._made.get(serial, False)

    def undone(self) -> tuple[Line, ...]:
        """Return changes of status that two looks in a row have missed in the database: their commit never came.

        None while the database is behind: then a person decides. A change that a later one has undone is not among
        them: the later one's line was written before its commit, and so it is read here before it is missed twice.
        """
        return () if self.behind else self._undone

    async def lines(self) -> list[Line]:
        """Return every line that may tell of what the database lacks; raises OSError.

        From an hour before the newest head that the database has in common with the heads file.
        """
        latest = await self._ledger.latest_head()
        tail = self._folder.tail(since(None if latest is None else latest[0], self._clock.now()))
        return self._decoded(await asyncio.to_thread(tail.more))

    async def _read_heads(self) -> None:
        try:
            seen = await look(self._ledger, self._heads)
        except ValueError:
            raise OSError(0, "the ledger's newest head is damaged: run `chopmark audit verify`") from None
        latest = None if seen.latest is None else seen.latest[0]
        was, self._standing = self._standing, seen.standing
        if self._tail is None or (isinstance(self._standing, Behind) and isinstance(was, Whole)):
            self._tail = self._folder.tail(since(latest, self._clock.now()))

    async def _new_lines(self) -> list[Line]:
        return [] if self._tail is None else self._decoded(await asyncio.to_thread(self._tail.more))

    def _decoded(self, written: list[str]) -> list[Line]:
        lines: list[Line] = []
        for one in written:
            try:
                lines.append(decode_line(one, self._key))
            except JournalDamaged:
                self.damaged += 1
        return lines

    def _take(self, line: Line) -> None:
        if line.deed is Deed.RESERVED:
            self._made.setdefault(line.serial, False)
        elif line.deed is Deed.ISSUED:
            self._made[line.serial] = True
        before = self._turned.get(line.serial)
        if line.deed in TURNS and (before is None or (before.deed is not Deed.REVOKED and line.at >= before.at)):
            self._turned[line.serial] = line

    async def _compare(self) -> None:
        asked = {*self._made, *self._turned}
        states = await self.records.states(asked) if asked else {}
        self._made = {serial: issued for serial, issued in self._made.items() if serial not in states}
        self._lacking = bool(self._made)
        self._turned = {serial: line for serial, line in self._turned.items() if not settled(line, states.get(serial))}
        missed = frozenset(self._turned.values())
        self._undone, self._missed = tuple(oldest_first(missed & self._missed)), missed

    def _trouble(self, why: str) -> None:
        if self.unreadable is None:
            log.error("job failed", job="journal", code="restore.unreadable", message=why)
        self.unreadable = why


def settled(line: Line, state: CertificateState | None) -> bool:
    """Tell whether a certificate's state shows a change of status, or one that came after it."""
    if state is None:
        return False
    if line.deed is Deed.REVOKED:
        return state in {CertificateState.REVOKED, CertificateState.ORPHANED}
    if line.deed is Deed.HELD:
        return state in {CertificateState.HELD, CertificateState.REVOKED}
    return state is not CertificateState.HELD


def oldest_first(lines: Collection[Line]) -> list[Line]:
    """Return lines by their time; those of several nodes come from several files."""
    return sorted(lines, key=lambda line: line.at)


def since(latest: Head | None, now: datetime) -> datetime | None:
    """Return from when on lines may tell of what a database with this newest head lacks; None: from the first.

    A head that a clock signed which was ahead says nothing of the days until then.
    """
    return None if latest is None else min(latest.draft.at, now) - MARGIN


STANDSTILL = Refusal(
    Kind.UNAVAILABLE,
    text("We are checking our records after a fault and take no orders until that is done. Please try again later."),
    code="standstill",
    retry_after_s=60,
)
