"""The certificate of a service is revoked with a new key in its place: which key that is, and what is on record."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, Tip, new_stream, system_stream
from chopmark.core.types import IssuerId, Serial
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.va.ports import ServiceKey
from chopmark.va.service_revocation import RevokedService, Service, ServiceKind, ServiceRevocation
from tests.tables import Clock
from tests.vectors.pki.house import house, signer

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
OURS, OTHERS = IssuerId("investor"), IssuerId("another")
OLD = house().ocsp_der


class NoTips:
    """Every stream begins."""

    async def tip(self, stream: StreamId) -> Tip:
        return new_stream(stream)


@dataclass
class Records:
    """What was revoked before; `present`: whether the certificate is still the service's."""

    before: list[RevokedService] = field(default_factory=list)
    present: bool = True
    gone: list[tuple[RevokedService, bytes, ServiceKey]] = field(default_factory=list)
    records: list[AuditRecord] = field(default_factory=list)

    async def withdrawn(self) -> list[RevokedService]:
        return self.before

    async def withdraw(
        self, gone: RevokedService, before: bytes, after: ServiceKey, records: tuple[AuditRecord, AuditRecord]
    ) -> bool:
        if self.present:
            self.gone.append((gone, before, after))
            self.records += records
        return self.present


def revoked(kind: ServiceKind = ServiceKind.RESPONDER, issuer: IssuerId = OURS) -> RevokedService:
    return RevokedService(kind, issuer, Serial("01"), NOW, NOW - timedelta(days=9), "superseded")


async def withdrawn(
    records: Records, kind: ServiceKind = ServiceKind.RESPONDER
) -> tuple[bytes | None, list[tuple[ServiceKind, int]]]:
    """Revoke; return the new certificate, and for which service and under which number a key was made."""
    made: list[tuple[ServiceKind, int]] = []
    key = signer(KeyAlgorithm.P256)

    def new_key(service: Service, number: int) -> tuple[Signer, bytes]:
        made.append((service.kind, number))
        return key, b"stored"

    async def certified(key_der: bytes) -> bytes:
        assert key_der == key.public_key_der
        return house().issuing.certificate_der

    clock = Clock(NOW)
    log = AuditLog(NoTips(), AuditKey("a1", bytes(32)), clock)
    service = Service(kind, OURS, OLD, system_stream("responder-investor"), certified)
    found = await ServiceRevocation(records, new_key, log, clock).withdraw(service, "key_compromise", "amy", "bob")
    return found, made


@pytest.mark.parametrize(
    ("before", "number"),
    [
        ([], 2),
        ([revoked()], 3),
        ([revoked(), revoked()], 4),
        ([revoked(ServiceKind.TIMESTAMP)], 2),
        ([revoked(issuer=OTHERS), revoked()], 3),
    ],
)
async def test_the_keys_of_a_service_and_ca_are_numbered_from_two_on(before: list[RevokedService], number: int) -> None:
    _, made = await withdrawn(Records(before))
    assert made == [(ServiceKind.RESPONDER, number)]


@pytest.mark.parametrize(
    ("kind", "changed"),
    [(ServiceKind.RESPONDER, Event.VA_RESPONDER_CHANGED), (ServiceKind.TIMESTAMP, Event.VA_TIMESTAMP_CHANGED)],
)
async def test_the_end_and_the_beginning_are_on_record_with_both_who_asked_for_it(
    kind: ServiceKind, changed: Event
) -> None:
    records = Records()
    found, _ = await withdrawn(records, kind)
    assert found == house().issuing.certificate_der
    ((gone, before, after),) = records.gone
    assert (gone.kind, gone.at, gone.reason, before) == (kind, NOW, "key_compromise", OLD)
    assert after == ServiceKey(found, b"stored")
    ended, begun = records.records
    assert (ended.event, begun.event) == (Event.CA_CERTIFICATE_REVOKED, changed)
    assert (ended.facts["by"], ended.facts["approved_by"]) == ("amy", "bob")
    assert begun.facts["old_serial"] == ended.facts["serial"] == gone.serial


async def test_nothing_is_revoked_where_the_service_has_another_certificate_meanwhile() -> None:
    records = Records(present=False)
    assert (await withdrawn(records))[0] is None
    assert (records.gone, records.records) == ([], [])
