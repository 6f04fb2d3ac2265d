"""Every condition under which a launch ticket is made, taken and confirmed: the row says otherwise in one thing.

Another client, its scope, and another ticket of the same visitor are always beside.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, CustomerId, FactorClass
from chopmark.identity.ports import UNKNOWN, Client, Launch
from chopmark.identity.scope import Scope
from chopmark.limits.rate_limits import RateLimit
from chopmark.store.repositories.identity.launches import LaunchRepository
from tests.contract.alone import Alone

MINUTE = 60_000
TICKET, ANOTHER, VISITOR = b"ticket", b"another", b"visitor"
ACCOUNT, THEIRS = AccountNumber("F014000-0000001"), AccountNumber("F014000-0000002")
MOMENTS = ("created_at", "expires_at", "used_at", "confirmed_at")
FRESH = {"created_at": -1000, "expires_at": MINUTE}
TAKEN = {**FRESH, "used_at": -MINUTE, "visitor_hash": VISITOR}


async def launches(alone: Alone, **said: Any) -> LaunchRepository:
    """The ticket of the client `trading`, after another one. Moments are told from now."""
    await alone.people("anna", "ben")
    for number, who in ((ACCOUNT, "anna"), (THEIRS, "ben")):
        await alone.add("accounts", number=number, customer=who, kind="futures", position=1)
    for client in ("other", "trading"):
        await alone.add("clients", id=client, name=client, secret_hash=b"s", created_at=0)
    for ticket in (ANOTHER, TICKET):
        row = {"client": "trading", "customer": "anna", "account": ACCOUNT, "factors": "password", **said}
        moments = {name: alone.ago() + row[name] for name in MOMENTS if row.get(name) is not None}
        await alone.add("launches", ticket_hash=ticket, **{**row, **moments})
    return LaunchRepository(alone.engine)


async def scope(alone: Alone, client: str, void_before: int | None) -> None:
    said = {"accounts": "", "purposes": "", "factors": "", "per_minute": 9}
    moment = None if void_before is None else alone.ago() + void_before
    await alone.add("client_scopes", client=client, void_before=moment, **said)


async def stands(alone: Alone, column: str) -> dict[bytes, Any]:
    rows = await alone.rows(f"SELECT ticket_hash, {column} AS value FROM launches")
    return {bytes(row["ticket_hash"]): row["value"] for row in rows}


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        ({}, True),
        ({"used_at": -1}, False),
        ({"expires_at": 1}, True),
        ({"expires_at": 0}, False),
        ({"created_at": MINUTE}, True),
        ({"created_at": MINUTE + 1}, False),  # by a machine whose clock was wrong
    ],
)
async def test_a_ticket_is_taken_once_in_its_time(alone: Alone, row: dict[str, Any], taken: bool) -> None:
    store = await launches(alone, **{**FRESH, **row})
    before = await stands(alone, "used_at")
    done = await store.use(TICKET, VISITOR, alone.now, alone.record())
    assert isinstance(done, Launch) is taken
    assert await stands(alone, "used_at") == {**before, TICKET: alone.ago() if taken else before[TICKET]}
    assert await stands(alone, "visitor_hash") == {ANOTHER: None, TICKET: VISITOR if taken else None}


@pytest.mark.parametrize(
    ("row", "opened"),
    [
        ({}, True),
        ({"confirmed_at": -1}, False),
        ({"visitor_hash": b"somebody"}, False),
        ({"visitor_hash": None}, False),
        ({"used_at": None}, False),
        ({"used_at": -5 * MINUTE + 1}, True),
        ({"used_at": -5 * MINUTE}, False),
        ({"used_at": MINUTE}, True),
        ({"used_at": MINUTE + 1}, False),
    ],
)
async def test_a_ticket_that_was_taken_is_confirmed_once_by_its_visitor(
    alone: Alone, row: dict[str, Any], opened: bool
) -> None:
    store = await launches(alone, **{**TAKEN, **row})
    before = await stands(alone, "confirmed_at")
    assert (await store.taken(TICKET, VISITOR, alone.now) is not None) is opened
    assert await store.taken(b"unknown", VISITOR, alone.now) is None
    done = await store.confirm(TICKET, VISITOR, alone.now, alone.record())
    assert isinstance(done, Launch) is opened
    assert await stands(alone, "confirmed_at") == {**before, TICKET: alone.ago() if opened else before[TICKET]}


@pytest.mark.parametrize(
    ("client", "disabled", "void_before", "alive"),
    [
        ("other", True, 0, True),
        ("trading", True, None, False),
        ("trading", False, 0, False),
        ("trading", False, -1000, False),
        ("trading", False, -1001, True),
        ("trading", False, None, True),
    ],
)
async def test_a_ticket_ends_with_its_own_client_and_with_no_other(
    alone: Alone, client: str, disabled: bool, void_before: int | None, alive: bool
) -> None:
    store = await launches(alone, **FRESH)
    used = "UPDATE launches SET used_at = :now, visitor_hash = :visitor WHERE ticket_hash = :ticket"
    await alone.change(used, now=alone.ago(), visitor=VISITOR, ticket=ANOTHER)
    await scope(alone, client, void_before)
    if disabled:
        await alone.change("UPDATE clients SET disabled_at = 1 WHERE id = :client", client=client)
    assert isinstance(await store.use(TICKET, VISITOR, alone.now, alone.record()), Launch) is alive
    assert (await store.taken(ANOTHER, VISITOR, alone.now) is not None) is alive


async def test_why_a_ticket_is_refused_is_told_of_that_ticket(alone: Alone) -> None:
    store = await launches(alone, **{**TAKEN, "expires_at": -1})
    await alone.change("UPDATE launches SET used_at = NULL WHERE ticket_hash = :ticket", ticket=TICKET)
    found = {}
    for ticket in (b"unknown", TICKET, ANOTHER):
        refused = await store.use(ticket, VISITOR, alone.now, alone.record())
        assert isinstance(refused, Refusal)
        found[ticket] = refused.code
    assert found == {b"unknown": UNKNOWN, TICKET: "launch.expired", ANOTHER: "launch.used"}


@pytest.mark.parametrize(
    ("account", "disabled", "refused"),
    [
        (ACCOUNT, None, None),
        (ACCOUNT, "other", None),
        (ACCOUNT, "trading", "client"),
        (THEIRS, None, "account"),
    ],
)
async def test_a_client_that_is_in_force_gets_tickets_for_accounts_of_this_customer(
    alone: Alone, account: AccountNumber, disabled: str | None, refused: str | None
) -> None:
    store = await launches(alone, **FRESH)
    await alone.change("UPDATE clients SET disabled_at = 1 WHERE id = :client", client=disabled)
    factors = frozenset({FactorClass.PASSWORD})
    ends = alone.now + timedelta(minutes=1)
    new = Launch(b"new", "trading", CustomerId("anna"), account, factors, None, alone.now, ends)
    found = await store.create(new, (RateLimit("l", 9, timedelta(minutes=1)),), alone.record())
    assert (None if found is None else found.code) == refused
    assert await alone.count("launches") == (3 if refused is None else 2)


async def test_the_end_of_a_secret_is_about_one_client_that_has_one(alone: Alone) -> None:
    store = await launches(alone, **FRESH)
    assert await store.end_previous("trading", alone.now, alone.record()) is False
    assert await alone.count("client_scopes") == 0
    await alone.change("UPDATE clients SET previous_hash = :hash, previous_until = 9", hash=b"p")
    assert await store.end_previous("trading", alone.now, alone.record()) is True
    assert await alone.values("clients", "id", "previous_until") == {"other": 9, "trading": None}
    assert await alone.values("client_scopes", "client", "void_before") == {"trading": alone.ago()}
    found = await store.client("trading")
    assert found is not None
    assert (found.id, found.previous_hash) == ("trading", None)
    assert await store.client("nobody") is None
    await alone.change("UPDATE clients SET previous_hash = :hash, previous_until = 9", hash=b"p")
    assert await store.disable("trading", alone.now, alone.record()) is True
    assert await alone.values("clients", "id", "previous_until") == {"other": 9, "trading": None}
    assert await alone.values("clients", "id", "disabled_at") == {"other": None, "trading": alone.ago()}
    assert await store.disable("trading", alone.now, alone.record()) is False


async def test_what_a_client_may_ask_for_and_its_secret_are_its_own(alone: Alone) -> None:
    store, scope = await launches(alone, **FRESH), Scope((ACCOUNT,), frozenset(), frozenset(), 5)
    assert await store.put_scope("nobody", scope, alone.record()) is False
    for rate in (5, 7):
        assert await store.put_scope("trading", replace(scope, per_minute=rate), alone.record()) is True
        assert await alone.values("client_scopes", "client", "per_minute") == {"trading": rate}
    await alone.change("UPDATE clients SET disabled_at = 1")
    new = Client("trading", "trading", b"new", b"s", alone.now + timedelta(hours=1), None)
    await store.put_client(new, alone.now, alone.record())
    assert await alone.values("clients", "id", "disabled_at") == {"other": 1, "trading": None}
    secrets = await alone.values("clients", "id", "secret_hash")
    assert {name: bytes(secret) for name, secret in secrets.items()} == {"other": b"s", "trading": b"new"}
    assert await alone.values("clients", "id", "previous_until") == {"other": None, "trading": alone.ahead(hours=1)}
