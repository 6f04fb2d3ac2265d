"""Publishes revocation lists (CRLs) every six hours, and at once after a revocation (I26)."""

from datetime import UTC, datetime, timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import system_stream
from chopmark.core.clock import Clock
from chopmark.core.each import each
from chopmark.keys.adapter import as_private_key, made_by
from chopmark.keys.ports import Signer
from chopmark.pki import crl
from chopmark.pki.crl import RevokedEntry
from chopmark.pki.publication import Publication
from chopmark.pki.x509 import IssuerView
from chopmark.va.ports import Crl, StatusRecords
from chopmark.va.responder import REASONS

EVERY = timedelta(hours=6)
LIFE = timedelta(hours=24)
KEEP_EXPIRED = timedelta(days=7)
"""How long an entry stays in the list after its certificate has expired.

It stays longer if no list was published in that time: until one was published after the expiry (PKI-16).
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_number(last: int | None, now: datetime) -> int:
    """Return the number of the next list: milliseconds since 1970, or the last number plus one if that is higher.

    So the numbers rise even after a restore from a backup, when the last number on record is an old one.
    """
    number = (now - _EPOCH) // timedelta(milliseconds=1)
    return number if last is None else max(last + 1, number)


class Publisher:
    """Publishes the lists of one issuing CA."""

    def __init__(
        self,
        issuer: IssuerView,
        signer: Signer,
        shards: int,
        publication: Publication,
        records: StatusRecords,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._signer = signer
        self.shards = shards
        self._publication = publication
        self._records = records
        self._audit_log = audit_log
        self._clock = clock

    async def publish_due(self) -> int:
        """Publish a list for each shard whose list is six hours old or lacks a change; return how many."""
        return sum(await each(range(self.shards), self._publish_shard))

    async def _publish_shard(self, shard: int) -> bool:
        moment = self._clock.now()
        now = moment.replace(microsecond=0)
        present = await self._records.shard(self._issuer.id, shard)
        last = present.last
        if last is not None and last.this_update <= now < last.this_update + EVERY and not present.lacks:
            return False
        keep_after = _EPOCH if last is None else min(last.this_update, now - KEEP_EXPIRED)
        ended = await self._records.ended(self._issuer.id, shard, keep_after)
        number = next_number(None if last is None else last.number, moment)
        entries = (
            RevokedEntry(
                int(e.serial, 16), e.at.replace(microsecond=0), REASONS.get(e.reason, crl.CrlReason.UNSPECIFIED)
            )
            for e in ended
        )
        key, url = as_private_key(self._signer), self._publication.crl(self._issuer.id, shard)
        der = await made_by(
            self._signer, lambda: crl.build_crl(self._issuer, key, number, now, now + LIFE, entries, url)
        )
        made = Crl(number, der, now, now + LIFE, present.mark, present.beside)

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.VA_CRL_PUBLISHED, issuer=self._issuer.id, crl_number=number, count=len(ended))
            return await self._records.publish(self._issuer.id, shard, made, record)

        return await self._audit_log.write(system_stream(f"crl-{self._issuer.id}-{shard}"), attempt)
