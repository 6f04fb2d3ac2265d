"""Every condition of the statements of sessions and passwords: a row that says otherwise in one thing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import AccountNumber, CustomerId, FactorClass, LoginId
from chopmark.identity.ports import Binding, Claim, LostAnswer, PasswordKind, PasswordRow, Session
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.store.engine.script import Row, Script, query
from chopmark.store.repositories.identity.customers import LAST_LOGIN, CustomerRepository, SessionRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository
from tests.contract.alone import Alone

MINUTE = 60_000
ANNA, BEN = CustomerId("anna"), CustomerId("ben")
OLD, NEW, REPEAT = b"o" * 32, b"n" * 32, b"r" * 32
IDLE = timedelta(minutes=10)


def session(alone: Alone, id_hash: bytes = OLD, customer: CustomerId = ANNA) -> Session:
    return Session(
        id_hash, LoginId("L1"), customer, frozenset({FactorClass.PASSWORD}), None, "portal", alone.now, alone.now,
        alone.now + 3 * IDLE,
    )  # fmt: skip


async def row(alone: Alone, name: str, customer: CustomerId = ANNA, **said: Any) -> None:
    """Write a live session. Moments are told from now."""
    moments = {key: alone.ago() + said.pop(key, value) for key, value in (
        ("created_at", -5 * MINUTE), ("seen_at", -5 * MINUTE), ("ends_at", 25 * MINUTE))}  # fmt: skip
    if "previous_until" in said:
        said["previous_until"] += alone.ago()
    named = {"id_hash": name[0].encode() * 32, "customer": customer, "factors": "password", "door": "portal"}
    await alone.add("sessions", **{**named, "login": "L1", **moments, **said})


async def there(alone: Alone) -> list[str]:
    return sorted(bytes(one["id_hash"])[:1].decode() for one in await alone.rows("SELECT id_hash FROM sessions"))


async def seen(alone: Alone) -> Session | None:
    return await SessionRepository(alone.engine).seen(OLD, alone.now, alone.now - IDLE)


@pytest.mark.parametrize(
    ("said", "live"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"seen_at": -10 * MINUTE + 1}, True, id="nearly idle too long"),
        pytest.param({"seen_at": -10 * MINUTE}, False, id="idle too long"),
        pytest.param({"ends_at": 1}, True, id="nearly over"),
        pytest.param({"ends_at": 0}, False, id="over"),
        pytest.param({"created_at": MINUTE}, True, id="by a clock that is a minute ahead"),
        pytest.param({"created_at": MINUTE + 1}, False, id="by a clock that was wrong"),
        pytest.param({"login": None}, False, id="without a login"),
    ],
)
async def test_a_session_lives_while_nothing_speaks_against_it(alone: Alone, said: dict[str, Any], live: bool) -> None:
    await alone.people(ANNA)
    await row(alone, "other")
    await alone.change("UPDATE sessions SET id_hash = :other", other=b"x" * 32)
    assert await seen(alone) is None
    await row(alone, "old", **said)
    found = await seen(alone)
    assert (found is not None) is live
    assert found is None or (found.customer, found.id_hash) == (ANNA, OLD)


@pytest.mark.parametrize(
    ("last", "noted"),
    [
        (-20_000, True), (-19_999, False), (0, False), (20_000, False), (MINUTE, False), (MINUTE + 1, True),
    ],
)  # fmt: skip
async def test_that_a_session_is_used_is_noted_every_twenty_seconds_and_never_earlier_than_it_was(
    alone: Alone, last: int, noted: bool
) -> None:
    await alone.people(ANNA)
    await row(alone, "old", seen_at=last)
    await row(alone, "fresh", seen_at=-MINUTE)
    assert await seen(alone) is not None
    rows = await alone.rows("SELECT id_hash, seen_at FROM sessions")
    moments = {bytes(one["id_hash"])[:1]: one["seen_at"] for one in rows}
    assert moments == {b"o": alone.ago() + (0 if noted else last), b"f": alone.ago() - MINUTE}


async def test_a_session_is_given_back_as_it_was_opened_and_ends_the_one_that_it_replaces(alone: Alone) -> None:
    store = SessionRepository(alone.engine)
    await alone.people(ANNA, BEN)
    both = frozenset({FactorClass.PASSWORD, FactorClass.SMS})
    opened = replace(session(alone), factors=both, account=AccountNumber("F014000-0000001"))
    await store.open(opened, None, alone.record())
    assert await seen(alone) == opened
    await store.open(session(alone, NEW), None, alone.record())  # beside it
    assert await store.seen(NEW, alone.now, alone.now - IDLE) == session(alone, NEW)
    assert await there(alone) == ["n", "o"]
    await store.open(session(alone, REPEAT, BEN), OLD, alone.record())
    assert await there(alone) == ["n", "r"]
    assert [await store.owner(one) for one in (OLD, NEW, REPEAT)] == [None, ANNA, BEN]
    assert [await store.close(NEW, alone.record()) for _ in range(2)] == [True, False]
    assert await there(alone) == ["r"]


async def test_the_last_login_is_the_newest_one_and_the_customers_own(alone: Alone) -> None:
    await alone.people(ANNA, BEN)

    def script() -> Script[list[Row]]:
        return (yield query(LAST_LOGIN, customer=ANNA))

    async def last() -> list[str]:
        return [one["login"] for one in await alone.engine.read(script)]

    await row(alone, "x", BEN, login="theirs", created_at=0)
    await row(alone, "y", login=None, created_at=0)
    assert await last() == []
    await row(alone, "a", login="older", created_at=-3)
    await row(alone, "b", login="newer-b", created_at=-2)
    assert await last() == ["newer-b"]
    await row(alone, "c", login="newer-a", created_at=-2)
    assert await last() == ["newer-a"]  # whatever the engine's order is, the same one


@pytest.mark.parametrize("lost", [False, True])
async def test_a_new_id_takes_the_place_of_the_old_one_and_says_whose_password_it_stands_on(
    alone: Alone, lost: bool
) -> None:
    store = SessionRepository(alone.engine)
    await alone.people(ANNA, BEN)
    await alone.add("passwords", customer=ANNA, phc="x", kind="chosen", set_at=alone.ago(days=1))
    await alone.add("passwords", customer=BEN, phc="x", kind="chosen", set_at=alone.ago(days=2))
    await alone.add("entries", subject=BEN, entry="stranger", failed=100, at=0, closed_at=7)
    await row(alone, "old")
    await row(alone, "ben", BEN)
    answer = LostAnswer(REPEAT, alone.now + timedelta(minutes=1)) if lost else None
    assert await store.rotate(NEW, b"z" * 32, answer, alone.record()) is None  # there is none
    anna = Binding(alone.now - timedelta(days=1), closed=False)
    assert await store.rotate(OLD, NEW, answer, alone.record()) == anna
    assert await there(alone) == ["b", "n"]
    before = await store.before(OLD, REPEAT, alone.now)
    assert (before is not None) is lost
    ben = Binding(alone.now - timedelta(days=2), closed=True)
    assert await store.rotate(b"b" * 32, b"c" * 32, None, alone.record()) == ben
    records = CustomerRepository(alone.engine)
    assert [await records.binding(one) for one in (ANNA, BEN, CustomerId("C"))] == [anna, ben, Binding(None, False)]


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"previous_hash": b"x" * 32}, False, id="another id before"),
        pytest.param({"previous_repeat": b"x" * 32}, False, id="another request"),
        pytest.param({"previous_until": 0}, False, id="after a minute"),
        pytest.param({"ends_at": 0}, False, id="over"),
        pytest.param({"created_at": MINUTE + 1}, False, id="by a clock that was wrong"),
    ],
)
async def test_a_request_whose_answer_was_lost_is_repeated_once_with_the_old_id(
    alone: Alone, said: dict[str, Any], repeated: bool
) -> None:
    store = SessionRepository(alone.engine)
    await alone.people(ANNA)
    await row(alone, "m", **{"previous_hash": OLD, "previous_repeat": REPEAT, "previous_until": MINUTE, **said})
    assert (await store.before(OLD, REPEAT, alone.now) is not None) is repeated
    await alone.change("UPDATE sessions SET login = NULL")
    assert await store.before(OLD, REPEAT, alone.now) is None  # by an earlier release: its owner signs in again
    done = [await store.rotate_again(OLD, REPEAT, NEW, alone.now, alone.record()) for _ in range(2)]
    assert done == [repeated, False]
    assert await there(alone) == ["n" if repeated else "m"]
    kept = await alone.rows("SELECT previous_hash, previous_repeat, previous_until FROM sessions")
    assert (set(kept[0].values()) == {None}) is repeated


async def test_who_is_meant_is_found_by_person_then_by_number_then_by_what_was_typed(alone: Alone) -> None:
    store = CustomerRepository(alone.engine)
    for name, person in (("A3", "p3"), ("C1", "p1"), ("C2", "p2")):
        await alone.add("customers", id=name, person_id_hash=person, created_at=0, updated_at=0)
    until = alone.now + timedelta(days=30)
    await alone.add(
        "passwords", customer="C1", phc="v1", kind="initial", set_at=alone.ago(), expires_at=alone.ahead(days=30)
    )
    await alone.add("passwords", customer="C2", phc="v2", kind="chosen", set_at=alone.ago(days=1))

    async def meant(person: str, number: str, bare: str) -> Any:
        found = await store.claimant(Claim(person, number, bare, "h"))
        return found and (found.customer, found.password, found.bound_at)

    initial = PasswordRow(CustomerId("C1"), "v1", PasswordKind.INITIAL, until)
    chosen = PasswordRow(CustomerId("C2"), "v2", PasswordKind.CHOSEN, None)
    assert await meant("-", "-", "-") is None
    assert await meant("p1", "-", "-") == ("C1", initial, alone.now)
    assert await meant("-", "C2", "-") == ("C2", chosen, alone.now - timedelta(days=1))
    assert await meant("-", "-", "A3") == ("A3", None, None)
    assert (await meant("p2", "C1", "A3"))[0] == "C1"  # a number is said in full
    assert (await meant("p2", "-", "A3"))[0] == "C2"
    assert await store.password(CustomerId("C1")) == initial
    assert await store.password(CustomerId("A3")) is None


async def test_a_new_password_ends_the_customers_sessions_and_opens_their_ways(alone: Alone) -> None:
    store = CustomerRepository(alone.engine)
    await alone.people(ANNA, BEN)
    for name, customer in (("a", ANNA), ("b", ANNA), ("c", BEN)):
        await row(alone, name, customer)
    for customer in (ANNA, BEN):
        await alone.add("entries", subject=customer, entry="stranger", failed=100, at=0, closed_at=7)
        await alone.add("entries", subject=customer, entry="known", failed=3, at=0)
    for phc, kind, until in (("v1", PasswordKind.INITIAL, alone.now + IDLE), ("v2", PasswordKind.CHOSEN, None)):
        alone.clock.later(minutes=1)
        await store.set_password(PasswordRow(ANNA, phc, kind, until), alone.now, (), alone.record())
        assert await store.password(ANNA) == PasswordRow(ANNA, phc, kind, until)
    assert await store.binding(ANNA) == Binding(alone.now, closed=False)
    assert await there(alone) == ["c"]
    ways = {(one["subject"], one["failed"], one["closed_at"]) for one in await alone.rows("SELECT * FROM entries")}
    assert ways == {(ANNA, 0, None), (BEN, 100, 7), (BEN, 3, None)}


async def test_the_news_of_a_new_password_is_queued_with_it_and_wakes_who_sends_it(alone: Alone) -> None:
    works = OutboxRepository(alone.engine)
    await alone.people(ANNA)
    while await works.wait(0):
        pass  # who waits for the first time looks at once
    news = OutboxJob("W", OutboxJobKind.NOTICE, ANNA, None, None, None, None, {}, 0, alone.now, None)
    chosen = PasswordRow(ANNA, "v", PasswordKind.CHOSEN, None)
    await CustomerRepository(alone.engine).set_password(chosen, alone.now, (news,), alone.record())
    assert await works.wait(5)
    assert await alone.values("work", "id", "customer") == {"W": ANNA}


async def test_a_customer_has_their_own_contacts_and_accounts_in_the_firms_order(alone: Alone) -> None:
    store = CustomerRepository(alone.engine)
    await alone.add(
        "customers", id=ANNA, person_id_hash="pa", created_at=0, updated_at=0, birth_date_sealed=b"1", version=4
    )
    await alone.add("customers", id=BEN, person_id_hash="pb", created_at=0, updated_at=0)
    for customer, channel, disputed in ((ANNA, "email", 1), (ANNA, "mobile", None), (BEN, "email", None)):
        await alone.add("contacts", customer=customer, channel=channel, disputed_at=disputed)
    for number, customer, place in (("A2", ANNA, 1), ("A1", ANNA, 2), ("A0", BEN, 1)):
        await alone.add("accounts", number=number, customer=customer, kind="securities", position=place)
    assert [one.number for one in await store.accounts(ANNA)] == ["A2", "A1"]
    contacts = {one.channel.value: one.disputed_at is None for one in await store.contacts(ANNA)}
    assert contacts == {"email": False, "mobile": True}
    anna, ben = await store.customer(ANNA), await store.customer_by_person("pb")
    assert anna is not None
    assert (anna.id, anna.birth_date_sealed, anna.version) == (ANNA, b"1", 4)
    assert ben is not None
    assert (ben.id, ben.birth_date_sealed) == (BEN, None)
    assert await store.customer(CustomerId("C")) is None
    assert await store.customer_by_person("p") is None


async def test_what_is_only_noted_is_noted_within_its_limits(alone: Alone) -> None:
    store, once = CustomerRepository(alone.engine), (RateLimit("a", 1, IDLE),)
    before = await alone.count("leaves")
    assert [await store.note_within(alone.record(), once, alone.now) for _ in range(2)] == [True, False]
    assert await alone.count("leaves") == before + 1
