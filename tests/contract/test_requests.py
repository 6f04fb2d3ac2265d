"""Requests to other CAs as both databases keep them: one that counts an order, one change at a time, serials once."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import AuditKey, order_stream
from chopmark.ca.external.ports import Request, RequestState, Stored
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.store import db
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.audit.log import AuditRepository
from chopmark.store.repositories.ca.external import RequestRepository
from tests.contract.world import Clock

AT = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)


@pytest.fixture
async def ledger(engine: Engine) -> RequestRepository:
    await db.create(engine)
    return RequestRepository(engine)


def request_of(order: str, attempt: int = 1) -> Request:
    return Request(OrderId(order), attempt, IssuerId("cmp-1"), b"t" * 16, "investor", "ab" * 32, RequestState.SENT, AT)


async def begin(engine: Engine, request: Request) -> bool:
    """Begin a request with its record."""
    audit_log = AuditLog(AuditRepository(engine), AuditKey("audit-1", b"k" * 32), Clock(AT))

    async def attempt(builder: RecordBuilder) -> bool:
        return await RequestRepository(engine).begin(
            request, builder.record(Event.CA_REQUEST_SENT, attempt=request.attempt)
        )

    return await audit_log.write(order_stream(request.order), attempt)


async def stored(ledger: RequestRepository, order: str) -> Request:
    found = await ledger.newest(OrderId(order))
    assert found is not None
    return found


async def test_what_was_stored_is_read_as_it_was(engine: Engine, ledger: RequestRepository) -> None:
    assert await begin(engine, request_of("A1"))
    before = await stored(ledger, "A1")
    assert before == request_of("A1")
    after = replace(
        before,
        state=RequestState.ISSUED,
        doubts=2,
        next_at=AT + timedelta(seconds=7),
        ticket=b"nonce",
        serial=Serial("00AB"),
        der=b"der",
        chain=(b"one", b"two"),
        not_before=AT,
        not_after=AT + timedelta(days=365),
        code="code",
        reason="superseded",
        revoked_at=AT + timedelta(days=1),
        by_hand=True,
    )
    assert await ledger.change(before, after) is Stored.YES
    assert await stored(ledger, "A1") == replace(after, version=2)
    assert await ledger.by_serial(Serial("00AB")) == replace(after, version=2)
    assert await ledger.by_serial(Serial("00AC")) is None


async def test_an_order_has_one_request_that_counts(engine: Engine, ledger: RequestRepository) -> None:
    tries = await asyncio.gather(*(begin(engine, request_of("A1")) for _ in range(5)))
    assert sorted(tries) == [False] * 4 + [True]
    assert not await begin(engine, request_of("A1", attempt=2))
    before = await stored(ledger, "A1")
    assert await ledger.change(before, before.given_up("no_answer", AT, doubt=True)) is Stored.YES
    assert await begin(engine, request_of("A1", attempt=2))
    assert (await stored(ledger, "A1")).attempt == 2


async def test_of_those_who_change_a_request_at_once_one_does(engine: Engine, ledger: RequestRepository) -> None:
    await begin(engine, request_of("A1"))
    before = await stored(ledger, "A1")
    done = await asyncio.gather(*(ledger.change(before, before.waiting(bytes((n,)), AT)) for n in range(6)))
    assert sorted(done) == [Stored.MOVED] * 5 + [Stored.YES]
    assert (await stored(ledger, "A1")).version == 2


async def test_i3_a_serial_that_came_before_is_known_even_to_the_same_order(
    engine: Engine, ledger: RequestRepository
) -> None:
    for order in ("A1", "B1"):
        await begin(engine, request_of(order))
    first, second = await stored(ledger, "A1"), await stored(ledger, "B1")
    late = replace(first.given_up("late", AT, doubt=True), serial=Serial("07"), der=b"x")
    assert await ledger.change(first, late) is Stored.YES
    received = replace(second, state=RequestState.RECEIVED, serial=Serial("07"), der=b"y")
    assert await ledger.change(second, received) is Stored.KNOWN
    assert (await stored(ledger, "B1")).state is RequestState.SENT


async def test_a_person_is_told_of_what_is_put_aside_and_of_what_is_to_be_ended(
    engine: Engine, ledger: RequestRepository
) -> None:
    for order in ("A1", "B1", "C1"):
        await begin(engine, request_of(order))
    first, second, third = [await stored(ledger, order) for order in ("A1", "B1", "C1")]
    await ledger.change(first, first.quarantined("subject", Serial("0A"), b"x"))
    ended = replace(second, state=RequestState.REVOKED, serial=Serial("0B"), der=b"y", by_hand=True)
    await ledger.change(second, ended)
    await ledger.change(third, replace(third, state=RequestState.ISSUED, serial=Serial("0C"), der=b"z"))
    assert await ledger.attention() == {"0A": "quarantined: subject", "0B": "revoke_by_hand"}


async def test_an_installation_of_the_release_before_gets_the_table(engine: Engine, engine_url: str) -> None:
    await db.upgrade(engine_url)

    def before() -> Script[None]:
        yield query("DROP TABLE foreign_requests")
        yield query("UPDATE alembic_version SET version_num = '0001'")

    await engine.run(before)
    await db.upgrade(engine_url)
    assert await db.current(engine_url) == db.head()
    tries = await asyncio.gather(*(begin(engine, request_of("A1", attempt)) for attempt in (1, 2)))
    assert sorted(tries) == [False, True]
