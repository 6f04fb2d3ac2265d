"""Detects that the database is older than the files outside it: the heads file (signed tree heads) and the journal.

After a backup was restored, or a standby took over without the last seconds, the database lacks changes that the heads
file and the journal still have. A process that compares them once a second notices this within a second. A change of
status is another matter when its journal line was written and a crash prevented the commit: then the change is simply
made again, and no alarm is raised.
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
"""A line that the database lacks may be this much older than the database's newest head, because clocks differ."""
LOOK_EVERY_S = 1.0

log = structlog.get_logger()


class Records(Protocol):
    """Reads the certificates in the database."""

    async def states(self, serials: Collection[Serial]) -> Mapping[Serial, CertificateState]:
        """Return the state of each of these certificates that the database has."""
        ...


class RestoreWatch:
    """What the database lacks, as far as this process knows."""

    def __init__(
        self, repository: Heads, heads: Filed, folder: JournalFolder, key: JournalKey, records: Records, clock: Clock
    ) -> None:
        self._clock = clock
        self._repository = repository
        self._heads = heads
        self._folder = folder
        self._key = key
        self.records = records
        self._turn = asyncio.Lock()
        self._tail: Tail | None = None
        self._standing: Whole | Behind = Whole()
        self._made: dict[Serial, bool] = {}
        """Serials of the journal that were not found in the database yet; True if the journal has the certificate."""
        self._lacking = False
        """Whether the database lacked one of these when it was last asked; it may have been unreachable since."""
        self._turned: dict[Serial, Line] = {}
        """The last change of status of each serial that was not found in the database yet."""
        self._missed: frozenset[Line] = frozenset()
        """The changes of status that the last look did not find in the database."""
        self._undone: tuple[Line, ...] = ()
        self.damaged = 0
        """How many lines of the journal could not be read."""
        self.unreadable: str | None = None
        """Why the heads file or the journal could not be read at the last look; None when they could."""

    async def look(self) -> int:
        """Compare once; return 1 when certificate status may be answered differently from now on, else 0.

        Raises Refused when the database cannot be reached.
        """
        async with self._turn:
            return await self._look()

    async def _look(self) -> int:
        before = self.behind, frozenset(self._turned), frozenset(self._made)
        try:
            # 1. Compare the heads file with the ledger, which may be behind the file after a restore, but not a crash.
            await self._read_heads()
            # 2. Read the lines that were added to the journal.
            for line in await self._new_lines():
                self._take(line)
        except OSError as error:
            self._trouble(f"heads file or journal cannot be read ({error.strerror or type(error).__name__})")
            return 0
        self.unreadable = None
        # 3. Ask the database about the lines that were not found in it yet.
        await self._compare()
        if self.behind and not before[0]:
            log.error("the database is behind the heads or the journal: see `chopmark check`", code="restore.behind")
        elif before[0] and not self.behind:
            log.warning("the database has again what stands outside it", code="restore.whole")
        return int(before != (self.behind, frozenset(self._turned), frozenset(self._made)))

    @property
    def behind(self) -> bool:
        """True when the database lacks something that it cannot have lost by a crash."""
        return isinstance(self._standing, Behind) or self._lacking

    def require_whole(self) -> None:
        """Raise Refused (UNAVAILABLE) while the database is behind, so that nothing is ordered or signed."""
        if self.behind:
            raise Refused(STANDSTILL)

    def trouble(self) -> str | None:
        """Return why nothing is ordered or signed, in a sentence for the operator; None while the database is whole."""
        if not self.behind:
            return None
        return (
            "the database is older than the signed heads or the journal beside it: a backup was restored, or a standby "
            "lost its last seconds. Nothing is signed and no order goes on until `chopmark db restored` has been run"
        )

    def overlay(self, serial: Serial) -> Line | None:
        """Return the change of status of this serial that the journal has and the database lacks, or None."""
        return self._turned.get(serial)

    def overlays(self) -> tuple[Line, ...]:
        """Return all changes of status that the journal has and the database lacks."""
        return tuple(self._turned.values())

    def made(self, serial: Serial) -> bool:
        """Tell whether the journal has the certificate of a serial that the database does not know at all."""
        return self._made.get(serial, False)

    def undone(self) -> tuple[Line, ...]:
        """Return the changes of status that two looks in a row did not find in the database: they never committed.

        Return nothing while the database is behind, because then a person decides. A change that a later change has
        reversed is not returned: the line of the later change is written before its commit, so it is read here before
        the earlier change can be missing twice.
        """
        return () if self.behind else self._undone

    async def lines(self) -> list[Line]:
        """Return every line that the database may lack; raises OSError.

        These are the lines from one hour before the database's newest head on.
        """
        latest = await self._repository.latest_head()
        tail = self._folder.tail(since(None if latest is None else latest[0], self._clock.now()))
        return self._decoded(await asyncio.to_thread(tail.more))

    async def _read_heads(self) -> None:
        try:
            seen = await look(self._repository, self._heads)
        except ValueError:
            raise OSError(0, "the ledger's newest head is damaged: run `chopmark audit verify`") from None
        latest = None if seen.latest is None else seen.latest[0]
        was, self._standing = self._standing, seen.standing
        if self._tail is None or (isinstance(self._standing, Behind) and isinstance(was, Whole)):
            self._tail = self._folder.tail(since(latest, self._clock.now()))

    async def _new_lines(self) -> list[Line]:
        return [] if self._tail is None else self._decoded(await asyncio.to_thread(self._tail.more), with_body=False)

    def _decoded(self, written: list[str], *, with_body: bool = True) -> list[Line]:
        lines: list[Line] = []
        for one in written:
            try:
                lines.append(decode_line(one, self._key, with_body=with_body))
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
    """Tell whether a certificate's state in the database shows this change of status, or a later one."""
    if state is None:
        return False
    if line.deed is Deed.REVOKED:
        return state in {CertificateState.REVOKED, CertificateState.ORPHANED}
    if line.deed is Deed.HELD:
        return state in {CertificateState.HELD, CertificateState.REVOKED}
    return state is not CertificateState.HELD


def oldest_first(lines: Collection[Line]) -> list[Line]:
    """Return the lines ordered by time, because lines of several nodes come from several files."""
    return sorted(lines, key=lambda line: line.at)


def since(latest: Head | None, now: datetime) -> datetime | None:
    """Return from when on the journal has to be read, given the database's newest head; None for the whole journal.

    If the head's time is later than now, the clock was wrong when it was signed, and now is used instead.
    """
    return None if latest is None else min(latest.draft.at, now) - MARGIN


STANDSTILL = Refusal(
    Kind.UNAVAILABLE,
    text("We are checking our records after a fault and take no orders until that is done. Please try again later."),
    code="standstill",
    retry_after_s=60,
)
