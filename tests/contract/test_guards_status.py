"""Second guards of status: a CA tells of its own certificates only, and signs ahead what is due and nothing else.

A serial stands for one CA alone, so that a statement without its CA would be right as long as there is one. There are
two from the first rollover on.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

from cryptography.x509 import ocsp

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import system_stream
from chopmark.core.types import CertificateState, IssuerId, Serial
from chopmark.store.repositories.va.answers import CHANGED
from chopmark.va.ports import Crl, StatusRecords
from chopmark.va.responder import Responder
from tests.contract.test_status import asking
from tests.contract.world import ANN, BEN, DAN, START, World, world_fixture

world = world_fixture()
ONE, TWO = IssuerId("investor"), IssuerId("second")
LONG_AGO = START - timedelta(days=1)


async def two_cas(world: World) -> tuple[Serial, Serial]:
    """Ann's certificate is of the one CA, Ben's of the other, and there are answers to both that were signed ahead."""
    for customer in (ANN, BEN):
        await world.to_active(customer)
    assert await world.once("presign") == 2
    columns = "name, certificate, chain, key_pem, state, created_at"
    await world.change(
        f"INSERT INTO issuers (id, responder_certificate, responder_key_pem, {columns}) "
        f"SELECT 'second', :its, :key, {columns} FROM issuers WHERE id = 'investor'",
        its=b"its responder",
        key=b"its key",
    )
    ann, ben = (world.held[customer].certificate.serial for customer in (ANN, BEN))
    await world.change("UPDATE certificates SET issuer = 'second' WHERE serial = :ben", ben=ben)
    return ann, ben


async def ended(world: World, serial: Serial) -> None:
    await world.change(
        "UPDATE certificates SET state = 'revoked', ended_at = :now, reason = 'superseded', turns = turns + 1, "
        f"answer_due = :now, changed = {CHANGED[world.services.foundation.engine.dialect]} WHERE serial = :serial",
        serial=serial,
        now=int(world.clock.now().timestamp() * 1000),
    )


async def test_a_ca_knows_its_own_certificates_and_those_of_no_other(world: World) -> None:
    ann, ben = await two_cas(world)
    status = world.services.va.status
    for issuer, own, others in ((ONE, ann, ben), (TWO, ben, ann)):
        found = await status.status(issuer, own)
        assert found is not None
        assert found.state is CertificateState.ISSUED
        assert await status.status(issuer, others) is None
        assert await status.signed(issuer, others, "sha256") is None
        for algorithm in ("sha256", "sha1"):
            signed = await status.signed(issuer, own, algorithm)
            assert signed is not None
            answer = ocsp.load_der_ocsp_response(signed.der)
            assert answer.hash_algorithm.name == algorithm
            assert answer.serial_number == int(own, 16)


async def test_the_lists_of_a_ca_have_its_own_ends_and_those_of_no_other(world: World) -> None:
    _, ben = await two_cas(world)
    status = world.services.va.status
    await ended(world, ben)
    assert await status.ended(ONE, 0, LONG_AGO) == []
    assert [one.serial for one in await status.ended(TWO, 0, LONG_AGO)] == [ben]
    now, made = world.clock.now(), []
    for issuer, number in ((ONE, 7), (TWO, 8)):
        seen = await status.shard(issuer, 0)
        assert seen.lacks
        der = f"list of {issuer}".encode()
        crl = Crl(number, der, now, now + timedelta(hours=24), seen.mark, seen.beside)

        async def publish(builder: RecordBuilder, issuer: IssuerId = issuer, crl: Crl = crl) -> bool:
            record = builder.record(Event.VA_CRL_PUBLISHED, issuer=issuer, crl_number=crl.number, count=0)
            return await status.publish(issuer, 0, crl, record)

        made.append(crl)
        assert await world.services.foundation.audit_log.write(system_stream(f"crl-{issuer}-0"), publish)
    assert [await status.crl(issuer, 0) for issuer in (ONE, TWO)] == made
    assert await status.crl(ONE, 1) is None, "another shard has a list of its own"
    assert [(await status.shard(issuer, 0)).lacks for issuer in (ONE, TWO)] == [False, False]
    await world.change(
        "INSERT INTO service_revocations (kind, serial, issuer, ended_at, reason, not_after) "
        "VALUES ('responder', '0A', 'second', :now, 'key_compromise', :later)",
        now=int(now.timestamp() * 1000),
        later=int(now.timestamp() * 1000) + 1000,
    )
    assert await status.ended(ONE, 0, LONG_AGO) == []
    assert [one.serial for one in await status.ended(TWO, 0, LONG_AGO)] == [ben, "0A"]
    assert await status.ended(TWO, 1, LONG_AGO) == []
    assert [(await status.shard(issuer, 0)).lacks for issuer in (ONE, TWO)] == [False, True]
    assert (await status.shard(TWO, 1)).beside == 0
    later = now + timedelta(days=1)
    assert [one.serial for one in await status.ended(TWO, 0, later)] == [ben], "Ben's would still be valid tomorrow"


async def test_each_ca_has_its_own_responder_and_renews_no_other(world: World) -> None:
    await two_cas(world)
    status = world.services.va.status
    first = await status.responder_certificate(ONE)
    assert first is not None
    assert await status.responder_certificate(TWO) == b"its responder"
    keys = [await status.responder_key(issuer) for issuer in (ONE, TWO)]
    assert [key and key.certificate for key in keys] == [first, b"its responder"]
    assert keys[1] is not None
    assert keys[1].stored_key == b"its key"

    async def renewed(before: bytes) -> bool:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.VA_RESPONDER_CHANGED, serial=Serial("0A"), issuer=TWO)
            return await status.renew_responder(TWO, before, b"its next one", record)

        return await world.services.foundation.audit_log.write(system_stream("responder-second"), attempt)

    assert not await renewed(first), "another one's certificate is not the one before"
    assert await status.responder_certificate(TWO) == b"its responder"
    assert await renewed(b"its responder")
    assert [await status.responder_certificate(issuer) for issuer in (ONE, TWO)] == [first, b"its next one"]


async def test_what_is_due_at_one_ca_is_signed_by_no_other(world: World) -> None:
    ann, ben = await two_cas(world)
    status, now = world.services.va.status, world.clock.now()
    assert await status.due(ONE, now, 10) == []
    await ended(world, ben)
    assert await status.due(ONE, now, 10) == []
    assert [one.serial for one in await status.due(TWO, now, 10)] == [ben]
    assert await status.oldest_due(TWO) == now
    oldest = await status.oldest_due(ONE)
    assert oldest is not None
    assert oldest > now
    assert [one.serial for one in await status.due(ONE, oldest, 10)] == [ann]


async def test_answers_are_due_of_certificates_that_live_and_of_no_others(world: World) -> None:
    """A reserved one is not yet good, an expired one is not asked about any more, and neither keeps others waiting."""
    for customer in (ANN, BEN):
        await world.to_active(customer)
    status, now = world.services.va.status, world.clock.now()
    ann, ben = (world.held[customer].certificate.serial for customer in (ANN, BEN))
    await world.change("UPDATE certificates SET state = 'reserved', answer_due = 0 WHERE serial = :ann", ann=ann)
    assert [one.serial for one in await status.due(ONE, now, 1)] == [ben]
    assert await status.oldest_due(ONE) == now
    await world.change(
        "UPDATE certificates SET state = 'issued', not_after = :now WHERE serial = :ann",
        ann=ann,
        now=int(now.timestamp() * 1000),
    )
    assert [one.serial for one in await status.due(ONE, now, 10)] == [ben]
    assert await status.oldest_due(ONE) == now, "the expired one, due long ago, is not counted"
    kept = await world.rows("SELECT serial FROM certificates WHERE answer_due > :now", now=int(now.timestamp() * 1000))
    assert [row["serial"] for row in kept] == [ann], "Ben's is as due as before"
    world.clock.later(days=400)
    assert await status.due(ONE, world.clock.now(), 10) == []
    assert await status.oldest_due(ONE) is None, "nobody waits any more"


async def test_each_change_of_status_is_a_turn_and_its_answers_are_due_again(world: World) -> None:
    for customer in (ANN, BEN, DAN):
        await world.to_active(customer)
    status, issuer = world.services.va.status, world.services.ca.issuer
    ann, ben = (world.held[customer].certificate.serial for customer in (ANN, BEN))
    await issuer.revoke(ben, "superseded")
    assert await world.once("presign") == 3
    end = partial(issuer.revoke, reason="superseded")
    changes: list[Callable[[Serial], Awaitable[None]]] = [issuer.hold, issuer.release, issuer.hold, end]
    states = [CertificateState.HELD, CertificateState.ISSUED, CertificateState.HELD, CertificateState.REVOKED]
    mark, exact = 0, world.services.foundation.engine.dialect == "sqlite"  # the other one may repeat some
    for turns, (change, state) in enumerate(zip(changes, states, strict=True), 1):
        assert await status.due(ONE, world.clock.now(), 10) == []
        await change(ann)
        (due,) = await status.due(ONE, world.clock.now(), 10)
        assert (due.serial, due.status.state, due.status.status_version) == (ann, state, turns)
        assert (due.status.ended_at, due.status.reason) == ((None, None) if turns == 2 else (START, said_of(state)))
        assert (await status.shard(ONE, 0)).lacks
        assert [await world.once("publish") for _ in range(3)] == [1, 0, 0]
        seen = await status.changed(mark)
        assert seen.found is not None
        shown = {(one.serial, one.status_version) for one in seen.found}
        assert (ann, turns) in shown
        assert shown - {(ann, turns)} <= {(ben, 1)}, "what was never changed is not shown"
        assert not exact or shown - {(ann, turns)} == ({(ben, 1)} if turns == 1 else set()), "nor what was before"
        mark = (await status.changed(None)).mark
        assert await world.once("presign") == 1
    assert (await status.changed(None)).found == (), "a first look shows nothing"


def said_of(state: CertificateState) -> str:
    return "certificate_hold" if state is CertificateState.HELD else "superseded"


class Reading:
    """The records, and how often it was asked who answers."""

    def __init__(self, world: World) -> None:
        self._records = world.services.va.status
        self.who = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        self.who += 1
        return await self._records.responder_certificate(issuer)


async def test_who_answers_is_read_once_a_minute_and_not_for_each_answer(world: World) -> None:
    await world.to_active(ANN)
    reading, key = Reading(world), world.services.ca.responder.key
    responder = Responder(key, cast(StatusRecords, reading), world.clock)
    request = asking(world.services, world.held[ANN].certificate.der)
    seen = []
    for seconds in (0, 1, 58, 1, 59, 1, -3600):
        world.clock.later(seconds=seconds)
        await responder.answer(request)
        assert await responder.look() == 0, "there is nothing more to do at once"
        seen.append(reading.who)
    assert seen == [1, 1, 1, 2, 2, 3, 4], "and at once by a clock that went back"
