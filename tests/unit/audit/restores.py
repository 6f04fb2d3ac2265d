"""A ledger in memory that an older copy takes the place of, for tests of successors and of what the verifier says."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.findings import Report
from chopmark.audit.head import Head, HeadDraft, decode_head, encode_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.losscheck import RESTORED_STREAM
from chopmark.audit.ports import StoredHead
from chopmark.audit.record import AuditKey, AuditKeys, StreamId
from chopmark.audit.sequencer import sequence_once
from chopmark.audit.standing import Behind
from chopmark.audit.succession import Files, stand, succeed
from chopmark.audit.verify import verify
from tests.unit.audit.ledger import START, KeySigner, MemoryHeads, MemoryTree, Rows

KEY = AuditKey("a1", bytes(range(32)))
ORDER = StreamId("ORDERA")


@dataclass
class Restorable:
    """Its clock goes on by a second with whatever is done."""

    ledger: MemoryTree = field(default_factory=lambda: MemoryTree(KEY))
    heads: MemoryHeads = field(default_factory=MemoryHeads)
    signer: KeySigner = field(default_factory=KeySigner)
    seconds: int = 0

    @property
    def now(self):
        return START + timedelta(seconds=self.seconds)

    @property
    def files(self) -> Files:
        return Files(self.heads, self.signer)

    @property
    def rows(self) -> Rows:
        return self.ledger.rows

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.seconds += 1
            self.ledger.append(ORDER, Event.RA_KEY_BOUND, self.now)

    async def sequence(self) -> int:
        self.seconds += 1
        return await sequence_once(self.ledger, self.signer, self.heads, now=self.now, holder="one")

    async def batch(self, count: int) -> None:
        self.write(count)
        assert await self.sequence() == count

    def restore(self, copy: Rows) -> None:
        self.ledger.rows = copy.copy()
        self.ledger.lease = None

    async def tell(self) -> None:
        """Write the record that the verb writes."""
        self.seconds += 1
        seen = await stand(self.ledger, self.files)
        assert isinstance(seen.standing, Behind)
        kept, lost = seen.standing.kept_size, seen.standing.lost_head.size
        told: dict[str, str | int] = {"by": "S1", "reason": "the disk died", "kept": kept, "lost": lost}
        self.ledger.append(RESTORED_STREAM, Event.AUDIT_LEDGER_RESTORED, self.now, **told)

    async def succeed(self) -> Head | None:
        self.seconds += 1
        try:
            return await succeed(self.ledger, self.files, now=self.now, holder="console")
        finally:
            self.seconds += 10  # the console's lease runs out

    async def restored(self, copy: Rows) -> Head:
        self.restore(copy)
        await self.tell()
        made = await self.succeed()
        assert made is not None
        return made

    async def verify(self, lines: HeadLines | None = None, *, alone: bool = False, later: int = 0) -> Report:
        filed = None if alone else lines or self.heads.lines()
        now = self.now + timedelta(seconds=later)
        return await verify(self.rows, AuditKeys([KEY]), [self.signer.public_key], filed, now)

    def resigned(self, at: int, signer: KeySigner | None = None, **change) -> Head:
        """Put a changed head, signed by us or by somebody else, in the place of one of the ledger and the file."""
        stored = self.rows.stored_heads[at]
        old = decode_head(stored.line)
        draft: HeadDraft = replace(old.draft, **change)
        head = draft.signed((signer or self.signer).sign(draft.message()))
        self.rows.stored_heads[at] = StoredHead(head.size, encode_head(head), stored.frontier)
        self.heads.heads = [head if one == old else one for one in self.heads.heads]
        return head


async def once_restored() -> Restorable:
    """Heads of 2, 5, 7 and 9; a copy of before 7 put back, with a record that waited; a successor; two more heads."""
    world = Restorable()
    await world.batch(2)
    await world.batch(3)
    world.write(1)
    copy = world.rows.copy()
    world.write(1)
    assert await world.sequence() == 2
    await world.batch(2)
    await world.restored(copy)
    await world.batch(1)
    await world.batch(4)
    return world
