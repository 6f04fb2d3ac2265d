"""OCSP over time, over nodes and without its store: fresh, never good for what was not issued, never past its life."""

import asyncio
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.app.services import Services
from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId, Reason, Serial
from chopmark.store.engine.port import unavailable
from chopmark.store.repositories.ca.certificates import StatusRepository
from chopmark.va.ports import Crl, CrlShard, Due, Ended, ServiceKey, Signed, Status
from chopmark.va.responder import Responder, ResponderKey
from tests.contract.world import ANN, BEN, CEO, World, world_fixture
from tests.machine import program

world = world_fixture()


@dataclass
class Cut:
    """The records behind a line that can be cut."""

    records: StatusRepository
    cut: bool = False
    asked: int = field(default=0)

    def _line(self) -> None:
        self.asked += 1
        if self.cut:
            raise unavailable()

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        self._line()
        return await self.records.status(issuer, serial)

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        self._line()
        return await self.records.signed(issuer, serial, algorithm)

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        return await self.records.due(issuer, now, limit)

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        return await self.records.oldest_due(issuer)

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        self._line()
        return await self.records.responder_key(issuer)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        self._line()
        return await self.records.responder_certificate(issuer)

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        return await self.records.renew_responder(issuer, before, after, record)

    async def note(self, record: AuditRecord) -> None:
        await self.records.note(record)

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        return await self.records.ended(issuer, shard, keep_after)

    async def crl(self, issuer: IssuerId, shard: int) -> Crl | None:
        return await self.records.crl(issuer, shard)

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        return await self.records.shard(issuer, shard)

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        return await self.records.publish(issuer, shard, crl, record)

    async def wait(self, timeout_s: float) -> bool:
        return await self.records.wait(timeout_s)


def asking(services: Services, der: bytes, *, sha256: bool = True, nonce: bytes | None = None) -> bytes:
    """A request by another library."""
    issuer = x509.load_der_x509_certificate(services.ca.authority.view.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(der), issuer, hashes.SHA256() if sha256 else hashes.SHA1()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


async def said(responder: Responder, request: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response((await responder.answer(request)).der)


GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER


async def test_i25_a_revocation_shows_on_every_node_at_once_though_their_answers_were_kept(world: World) -> None:
    await world.to_active()
    second, third = await world.node(2), await world.node(3)
    request = asking(world.services, world.held[ANN].certificate.der)
    houses = (world.services, second.services, third.services)
    assert [(await said(services.ca.responder, request)).certificate_status for services in houses] == [GOOD] * 3
    await world.revoked(ANN, Reason.COMPROMISED)
    for services in houses:
        answer = await said(services.ca.responder, request)
        assert answer.certificate_status is REVOKED
        assert answer.revocation_reason is x509.ReasonFlags.key_compromise


async def test_an_answer_is_kept_for_half_its_life_and_made_anew_then(world: World) -> None:
    await world.to_active()
    responder, request = world.services.ca.responder, asking(world.services, world.held[ANN].certificate.der)
    first = await responder.answer(request)
    world.clock.later(hours=11, minutes=59)
    assert (await responder.answer(request)).der == first.der
    world.clock.later(minutes=1)
    second = await responder.answer(request)
    assert second.der != first.der
    assert second.produced_at == world.clock.at
    assert second.next_update == world.clock.at + timedelta(hours=24)


async def test_the_answer_by_sha_1_is_another_than_the_one_by_sha_256_and_both_are_kept(world: World) -> None:
    await world.to_active()
    der = world.held[ANN].certificate.der
    by_sha1, by_sha256 = asking(world.services, der, sha256=False), asking(world.services, der)
    responder = world.services.ca.responder
    kept = [(await responder.answer(request)).der for request in (by_sha1, by_sha256)]
    assert kept == [(await responder.answer(request)).der for request in (by_sha1, by_sha256)]
    algorithms = [ocsp.load_der_ocsp_response(one).hash_algorithm.name for one in kept]
    assert algorithms == ["sha1", "sha256"]


async def test_an_answer_to_a_nonce_is_made_each_time(world: World) -> None:
    await world.to_active()
    request = asking(world.services, world.held[ANN].certificate.der, nonce=b"n" * 32)
    first, second = await world.services.ca.responder.answer(request), await world.services.ca.responder.answer(request)
    assert first.der != second.der
    assert first.next_update is None


async def cut_off(world: World) -> tuple[Cut, Responder]:
    records = Cut(world.services.va.status)
    return records, Responder(world.services.ca.responder.key, records, world.clock)


async def test_i40_without_its_store_a_kept_answer_is_given_while_it_is_valid_and_then_try_later(
    world: World,
) -> None:
    await world.to_active()
    records, responder = await cut_off(world)
    request = asking(world.services, world.held[ANN].certificate.der)
    kept = (await responder.answer(request)).der
    records.cut = True
    world.clock.later(hours=23, minutes=59, seconds=59)
    assert (await responder.answer(request)).der == kept
    world.clock.later(seconds=1)
    assert (await said(responder, request)).response_status is TRY_LATER


async def test_without_its_store_and_without_a_kept_answer_it_says_try_later(world: World) -> None:
    await world.to_active(ANN)
    await world.to_active(BEN)
    records, responder = await cut_off(world)
    ann, ben = (world.held[customer].certificate.der for customer in (ANN, BEN))
    await responder.answer(asking(world.services, ann))
    records.cut = True
    for request in (
        asking(world.services, ben),
        asking(world.services, ann, sha256=False),
        asking(world.services, ann, nonce=b"n" * 16),
    ):
        assert (await said(responder, request)).response_status is TRY_LATER


async def test_a_revoked_answer_that_is_kept_never_becomes_good_again(world: World) -> None:
    await world.to_active()
    records, responder = await cut_off(world)
    request = asking(world.services, world.held[ANN].certificate.der)
    assert (await said(responder, request)).certificate_status is GOOD
    await world.revoked()
    assert (await said(responder, request)).certificate_status is REVOKED
    records.cut = True
    world.clock.later(hours=20)
    assert (await said(responder, request)).certificate_status is REVOKED


async def test_i27_what_was_never_issued_is_not_good_and_fills_no_memory(world: World) -> None:
    await world.to_active()
    services = world.services
    known = ocsp.load_der_ocsp_request(asking(services, world.held[ANN].certificate.der))
    for serial in (1, 2**150 + 1, known.serial_number + 1):
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            known.issuer_name_hash, known.issuer_key_hash, serial, hashes.SHA256()
        )
        answer = await said(services.ca.responder, builder.build().public_bytes(Encoding.DER))
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert services.ca.responder.kept == {}


async def test_the_memory_for_kept_answers_is_bounded_and_the_oldest_go_first(world: World) -> None:
    for customer in (ANN, BEN, CEO):
        await world.to_active(customer)
    responder = Responder(world.services.ca.responder.key, world.services.va.status, world.clock, most_kept=2)
    requests = [asking(world.services, world.held[customer].certificate.der) for customer in (ANN, BEN, CEO)]
    first = [(await responder.answer(request)).der for request in requests]
    world.clock.later(hours=1)
    again = [(await responder.answer(request)).der for request in reversed(requests)][::-1]
    assert [a == b for a, b in zip(first, again, strict=True)] == [False, True, True]


# the responder's own certificate ----------------------------------------------------------------------------------


def key_of(responder: Responder) -> ResponderKey:
    return responder.key


async def near_the_end(world: World, **before: float) -> None:
    world.clock.at = key_of(world.services.ca.responder).not_after - timedelta(**before)


async def test_i28_the_responder_renews_its_certificate_a_month_before_its_end_and_only_then(world: World) -> None:
    old = key_of(world.services.ca.responder)
    await near_the_end(world, days=30)
    assert await world.once("responder") == 0
    world.clock.later(seconds=1)
    assert await world.once("responder") == 1
    assert await world.once("responder") == 0
    stored = await world.services.va.status.responder_certificate(world.services.ca.authority.view.id)
    assert stored is not None
    made, before = x509.load_der_x509_certificate(stored), x509.load_der_x509_certificate(old.certificate_der)
    assert made.not_valid_after_utc > before.not_valid_after_utc
    assert (made.subject, made.public_key()) == (before.subject, before.public_key())
    assert made.serial_number != before.serial_number
    assert [e.oid for e in made.extensions] == [e.oid for e in before.extensions]
    assert (await world.audit()).findings == ()


async def test_i28_two_workers_that_renew_at_once_leave_one_certificate(world: World) -> None:
    await near_the_end(world, days=20)
    second = await world.node(2)
    assert sum(await asyncio.gather(world.once("responder"), second.once("responder"))) == 1


async def test_i28_every_node_answers_with_the_renewed_certificate_within_a_minute_and_openssl_accepts_it(
    world: World, tmp_path: Path
) -> None:
    openssl = program("openssl")
    old = key_of(world.services.ca.responder)
    await near_the_end(world, days=29)
    await world.to_active()
    second = await world.node(2)
    request = asking(world.services, world.held[ANN].certificate.der, sha256=False)  # as openssl asks
    await second.services.ca.responder.answer(request)
    await world.once("responder")
    world.clock.at = old.not_after + timedelta(hours=1)
    answer = await second.services.ca.responder.answer(request)
    renewed = ocsp.load_der_ocsp_response(answer.der).certificates[0]
    assert renewed.not_valid_after_utc > old.not_after
    authority = world.services.ca.authority
    for name, der in (("ca", authority.view.certificate_der), ("root", authority.chain[-1])):
        (tmp_path / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    record = x509.load_der_x509_certificate(world.held[ANN].certificate.der)
    (tmp_path / "leaf.pem").write_bytes(record.public_bytes(Encoding.PEM))
    (tmp_path / "answer.der").write_bytes(answer.der)
    at = str(int(world.clock.at.timestamp()))
    command = [str(openssl), "ocsp", "-respin", "answer.der", "-issuer", "ca.pem", "-cert", "leaf.pem"]
    # openssl reads the wall clock for the answer's own times; a wide skew leaves them to the assertions above
    command += ["-CAfile", "root.pem", "-attime", at, "-validity_period", "2000000000"]
    judged = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Response verify OK" in judged.stderr + judged.stdout
    assert "leaf.pem: good" in judged.stdout


async def test_i28_a_responder_past_its_end_says_try_later_and_never_signs(world: World) -> None:
    await world.to_active()
    request = asking(world.services, world.held[ANN].certificate.der)
    await near_the_end(world, seconds=-1)
    assert (await said(world.services.ca.responder, request)).response_status is TRY_LATER


async def test_i28_no_answer_outlives_the_certificate_that_signs_it(world: World) -> None:
    await world.to_active()
    request = asking(world.services, world.held[ANN].certificate.der)
    await near_the_end(world, hours=3)
    answer = await world.services.ca.responder.answer(request)
    assert answer.next_update == key_of(world.services.ca.responder).not_after


async def test_i26_a_week_of_idling_leaves_fresh_lists_and_fresh_answers(world: World) -> None:
    step = timedelta(hours=1)
    await world.to_active()
    request = asking(world.services, world.held[ANN].certificate.der)
    issuer = world.services.ca.authority.view.id
    numbers, answers = [], set()
    await world.once("publish")
    for _ in range(int(timedelta(days=8) / step)):
        world.clock.at += step
        await world.once("publish")
        crl = await world.services.va.status.crl(issuer, 0)
        assert crl is not None
        assert crl.next_update > world.clock.at + timedelta(hours=17)
        numbers.append(crl.number)
        answer = await world.services.ca.responder.answer(request)
        assert answer.next_update is not None
        assert answer.next_update >= world.clock.at + timedelta(hours=12)
        answers.add(answer.der)
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 8 * 24 / 6 + 1
    assert len(answers) == 16
