"""Every condition of a statement that spends an approval: the row says otherwise in one thing, and nothing is changed.

A verb reads an order, looks at it, and writes. What it has seen may be another thing by then, and each condition of the
writing is the last one that looks. Here the row is changed in one thing at a time; as it was, the statement is taken.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refusal
from chopmark.core.types import CertificateState, Installed, KeyEvidence
from chopmark.ra.ports import Bound
from chopmark.stepup.ports import Sequel
from tests.contract.world import ANN, Errand, World, world_fixture

world = world_fixture()
DAY_MS = 86_400_000
ELSEWHERE = "ELSEWHERE000000000000TESTS"
Taken = Callable[[], Awaitable[bool]]


class Rows:
    """The row of an order, or of its challenge, that is changed and put back."""

    def __init__(self, world: World, errand: Errand) -> None:
        self.world, self.errand = world, errand
        self.now = int(world.clock.now().timestamp() * 1000)
        self.long_ago = self.now - DAY_MS

    async def otherwise(self, table: str, key: str, taken: Taken, /, **values: Any) -> bool:
        """Return whether the statement is taken while the row says this, and put the row back."""
        (row,) = await self.world.rows(f"SELECT * FROM {table} WHERE id = :id", id=key)
        await self._set(table, key, values)
        done = await taken()
        (left,) = await self.world.rows(f"SELECT * FROM {table} WHERE id = :id", id=key)
        assert done or left == {**row, **values}, "it said no and changed something"
        await self._set(table, key, {name: row[name] for name in values})
        return done

    async def _set(self, table: str, key: str, values: dict[str, Any]) -> None:
        said = ", ".join(f"{name} = :{name}" for name in values)
        await self.world.change(f"UPDATE {table} SET {said} WHERE id = :key", key=key, **values)

    async def refused(self, taken: Taken, *otherwise: dict[str, Any]) -> None:
        """The statement is taken in none of these, and in the end as the row was."""
        for values in otherwise:
            assert not await self.otherwise("orders", self.errand.id, taken, **values), values
        assert await taken()


async def by_leaf(errand: Errand, event: Event, do: Callable[[Any], Awaitable[object]]) -> bool:
    """Do something with a record of the order; say whether it was done."""

    async def attempt(builder: RecordBuilder) -> object:
        return await do(builder.record(event))

    return (await errand.services.foundation.audit_log.write(order_stream(errand.id), attempt)) in {True, None}


async def test_an_order_is_submitted_as_it_was_read_and_approved_and_not_otherwise(world: World) -> None:
    errand = await world.to_review(ANN)
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    stored, terms = await errand.stored(), await errand.terms()
    acting, since = world.services.ra.context.acting(errand.caller, stored), now - timedelta(minutes=10)

    async def submit() -> bool:
        async def done(record: Any) -> bool:
            return bool(await orders.submit(stored, terms, acting, since, now, record))

        return await by_leaf(errand, Event.RA_ORDER_SUBMITTED, done)

    await rows.refused(
        submit,
        {"operation": "revoke"},
        {"state": "coded"},
        {"state": "submitted"},
        {"coded_at": rows.long_ago},
        {"expires_at": rows.now},
        {"approved_login": ELSEWHERE},
        {"approved_login": None},
        {"bound_login": ELSEWHERE},
        {"key_evidence": "credential"},
        {"login_factors": "password+sms"},
        {"spki_sha256": "00" * 32},
        {"both_codes": 1},
        {"both_codes": 1, "second_channel": "mobile", "second_coded_at": rows.now},
        {"both_codes": 1, "second_channel": "email", "second_coded_at": rows.long_ago},
        {"delay": DAY_MS},
        {"delay": DAY_MS, "announced_at": rows.now - DAY_MS + 1},
        {"slip_unless": "mobile", "slip_id": "SLIP"},
    )


async def test_a_birth_date_counts_for_an_order_that_its_login_has_coded_lately_and_for_no_other(world: World) -> None:
    errand = await world.to_code(ANN)
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    since = now - timedelta(minutes=10)

    async def check() -> bool:
        return await by_leaf(
            errand,
            Event.RA_BIRTH_DATE_RIGHT,
            lambda record: orders.check(errand.id, errand.caller.login, now, since, record),
        )

    await rows.refused(
        check,
        {"state": "bound"},
        {"state": "cancelled"},
        {"coded_at": rows.long_ago},
        {"approved_login": ELSEWHERE},
        {"bound_login": ELSEWHERE},
        {"key_evidence": "credential"},
        {"both_codes": 1},
        {"both_codes": 1, "second_channel": "mobile", "second_coded_at": rows.now},
        {"both_codes": 1, "second_channel": "email", "second_coded_at": rows.long_ago},
    )


async def test_a_key_is_bound_to_an_order_that_waits_for_one_in_this_login_and_to_no_other(world: World) -> None:
    errand = await world.to_key(ANN)
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    stored, key = await errand.stored(), ClientKey.generate()
    acting = world.services.ra.context.acting(errand.caller, stored)
    nonce = b"n" * 16
    await world.change("UPDATE orders SET nonce = :nonce", nonce=nonce)
    bound = Bound(key.spki_sha256.hex(), b"request", None, None, KeyEvidence.LOGIN, acting)

    async def bind() -> bool:
        return await by_leaf(
            errand, Event.RA_KEY_BOUND, lambda record: orders.bind(stored, bound, nonce, now, (), record)
        )

    await rows.refused(
        bind,
        {"operation": "revoke"},
        {"state": "submitted"},
        {"state": "cancelled"},
        {"expires_at": rows.now},
        {"nonce": b"m" * 16},
        {"nonce": None},
        {"login_factors": "password+sms"},
        {"bound_login": ELSEWHERE},
    )
    (left,) = await world.rows("SELECT state, nonce, spki_sha256 FROM orders")
    assert left == {"state": "bound", "nonce": None, "spki_sha256": key.spki_sha256.hex()}


async def test_possession_is_noted_of_the_key_that_was_read_and_of_no_other(world: World) -> None:
    errand = await world.to_code(ANN)
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    stored = await errand.stored()
    acting = world.services.ra.context.acting(errand.within(ELSEWHERE).caller, stored)
    nonce = b"n" * 16
    await world.change("UPDATE orders SET nonce = :nonce", nonce=nonce)

    async def possess() -> bool:
        return await by_leaf(
            errand, Event.RA_KEY_PROVED, lambda record: orders.possess(stored, nonce, acting, now, record)
        )

    await rows.refused(
        possess,
        {"operation": "revoke"},
        {"state": "open"},
        {"state": "submitted"},
        {"expires_at": rows.now},
        {"nonce": b"m" * 16},
        {"nonce": None},
        {"login_factors": "password+sms"},
        {"spki_sha256": "00" * 32},
    )
    for state in ("bound", "coded", "checked"):
        await world.change("UPDATE orders SET state = :state, nonce = :nonce", state=state, nonce=nonce)
        assert await possess(), state


async def test_a_right_code_approves_the_order_that_was_read_in_a_login_that_holds_its_key(world: World) -> None:
    errand = await world.to_sent(ANN)
    rows, challenges, now = Rows(world, errand), world.services.ra.challenges, world.clock.now()
    sent = await errand.challenge()
    acting = world.services.ra.context.acting(errand.caller, await errand.stored())

    async def right() -> bool:
        await world.change("UPDATE challenges SET state = 'live'")

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            yes, no = builder.record(Event.RA_CODE_RIGHT), builder.record(Event.RA_CODE_DEAD)
            return await challenges.right(sent, acting, now, Sequel(), yes, no)

        return await world.services.foundation.audit_log.write(order_stream(errand.id), attempt) is None

    await rows.refused(
        right,
        {"challenge": "ANOTHER"},
        {"challenge": None},
        {"state": "submitted"},
        {"state": "cancelled"},
        {"expires_at": rows.now},
        {"login_factors": "password+sms"},
        {"bound_login": ELSEWHERE},
        {"key_evidence": "credential"},
        {"delay": DAY_MS, "announced_at": rows.now - DAY_MS + 1},
    )


async def test_a_revocation_is_done_as_it_was_read_and_approved_and_not_otherwise(world: World) -> None:
    await world.to_active(ANN)
    errand = await world.to_revoke(ANN)
    await errand.send()
    await errand.answer(await errand.code())
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    stored, since = await errand.stored(), now - timedelta(minutes=10)
    acting = world.services.ra.context.acting(errand.caller, stored)
    serial = world.held[ANN].certificate.serial

    async def revoke() -> bool:
        return await by_leaf(
            errand, Event.RA_ORDER_DONE, lambda record: orders.revoke(stored, acting, (), since, now, (), record)
        )

    for state in ("revoked", "superseded"):
        await world.change("UPDATE holdings SET state = :state", state=state)
        assert not await revoke(), state
    await world.change("UPDATE holdings SET state = 'active'")
    await rows.refused(
        revoke,
        {"operation": "enrol"},
        {"state": "open"},
        {"state": "done"},
        {"coded_at": rows.long_ago},
        {"old_serial": "0A"},
        {"approved_login": ELSEWHERE},
        {"login_factors": "password+sms"},
    )
    for state in ("held", "issued"):
        await world.change("UPDATE holdings SET state = :state", state=state)
        await world.change("UPDATE orders SET state = 'coded' WHERE id = :id", id=errand.id)
        assert await revoke(), state
        assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED


async def test_a_certificate_is_proved_by_the_nonce_and_the_serial_of_its_order_as_they_are(world: World) -> None:
    errand = await world.to_issued(ANN)
    nonce = await errand.nonce()
    rows, orders, now = Rows(world, errand), world.services.ra.context.orders, world.clock.now()
    stored = await errand.stored()

    async def activate() -> bool:
        return await by_leaf(
            errand,
            Event.RA_CERTIFICATE_ACTIVATED,
            lambda record: orders.activate(stored, nonce, Installed.OPENED, now, (), record),
        )

    await rows.refused(
        activate,
        {"state": "cancelled"},
        {"state": "pending"},
        {"nonce": b"m" * 16},
        {"nonce": None},
        {"serial": "0A"},
    )
    assert (await world.certificate(errand)).state is CertificateState.ACTIVE
