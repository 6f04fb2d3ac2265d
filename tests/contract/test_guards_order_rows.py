"""Every condition under which an order gets a key or another nonce, ends, and its certificate becomes the active one.

The rows say otherwise in one thing; another order, and certificates of each other kind, are always beside.
"""

from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import Installed, KeyEvidence, LoginId, OrderId
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.ra.ports import Bound
from chopmark.store.repositories.ra.orders import OrderRepository
from tests.contract.alone import Alone
from tests.contract.test_guards_challenges import HOUR, LOGIN, MINUTE, order, sent

HERS = OrderId("O")
NONCE, ANOTHER = b"n" * 16, b"m" * 16
NEW, OLD = "0A", "0B"
UNFINISHED = ("open", "bound", "coded", "checked", "issued")
AT_THE_CA = ("submitted", "pending")
FINISHED = ("active", "cancelled", "refused", "expired", "done")


async def orders(alone: Alone, **said: Any) -> OrderRepository:
    """The order O of Anna, and before it the order P of Ben at the same step."""
    await alone.people("anna", "ben")
    await order(alone, "P", customer="ben", **{**said, "serial": None})
    await order(alone, **said)
    return OrderRepository(alone.engine)


@pytest.mark.parametrize(
    ("row", "given"),
    [
        *[({"state": state}, True) for state in UNFINISHED],
        *[({"state": state}, False) for state in (*AT_THE_CA, *FINISHED)],
        ({"state": "active", "installed": "said"}, True),
        ({"state": "active", "installed": "opened"}, False),
        ({"state": "cancelled", "installed": "said"}, False),
        ({"state": "pending", "installed": "said"}, False),
    ],
)
async def test_another_nonce_is_for_an_order_that_goes_on_or_waits_for_its_file(
    alone: Alone, row: dict[str, Any], given: bool
) -> None:
    store = await orders(alone, **row, nonce=NONCE)
    assert await store.renonce(HERS, ANOTHER, alone.now + timedelta(hours=1), alone.record()) is given
    left = await alone.values("orders", "id", "nonce")
    assert {name: bytes(nonce) for name, nonce in left.items()} == {"O": ANOTHER if given else NONCE, "P": NONCE}
    ends = await alone.values("orders", "id", "nonce_expires_at")
    assert ends == {"O": alone.ahead(hours=1) if given else None, "P": None}


@pytest.mark.parametrize(
    ("state", "as_", "ended"),
    [
        *[(state, "cancelled", True) for state in UNFINISHED],
        *[(state, "cancelled", False) for state in (*AT_THE_CA, *FINISHED)],
        *[(state, "refused", True) for state in (*UNFINISHED, *AT_THE_CA)],
        *[(state, "refused", False) for state in FINISHED],
    ],
)
async def test_an_order_ends_while_it_is_unfinished_and_at_the_ca_by_its_word_alone(
    alone: Alone, state: str, as_: str, ended: bool
) -> None:
    store = await orders(alone, state=state)
    await sent(alone, "D", order_id="P", customer="ben")
    await sent(alone, "B", state="consumed")
    await sent(alone)
    assert await store.end(HERS, as_, "why", (), alone.record()) is ended
    assert await alone.values("orders", "id", "state") == {"O": as_ if ended else state, "P": state}
    assert await alone.values("orders", "id", "ended") == {"O": "why" if ended else None, "P": None}
    codes = {"B": "consumed", "C": "dead" if ended else "live", "D": "live"}
    assert await alone.values("challenges", "id", "state") == codes


@pytest.mark.parametrize(
    ("row", "revoked"),
    [
        ({"state": "issued"}, True),
        ({"state": "held"}, True),
        ({"state": "active"}, False),
        ({"state": "revoked"}, False),
        ({"state": "held", "activated_at": 1}, False),
    ],
)
async def test_with_an_order_that_ends_its_certificate_that_was_not_proved_is_revoked(
    alone: Alone, row: dict[str, Any], revoked: bool
) -> None:
    store = await orders(alone, state="issued", serial=NEW)
    named = {"not_after": alone.ahead(days=9), "issued_at": 7, "account": "F014000-0000001"}
    for serial, name, customer, said in ((NEW, "O", "anna", row), (OLD, "P", "ben", {"state": "issued"})):
        whose = {"serial": serial, "order_id": name, "customer": customer, "spki_sha256": serial}
        await alone.add("holdings", **{**named, **whose, **said})
    assert await store.end(HERS, "cancelled", "why", (), alone.record()) is False  # nobody would revoke it at the CA
    assert await alone.values("orders", "id", "state") == {"O": "issued", "P": "issued"}
    work = OutboxJob("W", OutboxJobKind.REVOKE, None, None, None, None, None, {}, 0, alone.now, None)
    assert await store.end(HERS, "cancelled", "why", (work,), alone.record()) is True
    wanted = {NEW: "revoked" if revoked else row["state"], OLD: "issued"}
    assert await alone.values("holdings", "serial", "state") == wanted
    reasons = {NEW: "unproven" if revoked else None, OLD: None}
    assert await alone.values("holdings", "serial", "reason") == reasons
    assert (await alone.values("holdings", "serial", "ended_at"))[NEW] == (7 if revoked else None)


@pytest.mark.parametrize(
    ("ever", "held_at", "after"), [(5, None, (0, 4)), (1, None, (0, 0)), (0, None, (0, 0)), (5, 1, (2, 5))]
)
async def test_a_right_birth_date_gives_the_failures_of_the_birth_date_back_to_this_customer_alone(
    alone: Alone, ever: int, held_at: int | None, after: tuple[int, int]
) -> None:
    store = await orders(alone, state="coded", coded_at=-MINUTE, approved_login="L")
    for who, factor in (("ben", "birth_date"), ("anna", "code"), ("anna", "birth_date")):
        named = {"customer": who, "factor": factor, "window_start": 0, "in_window": 2}
        await alone.add("failures", **named, ever=ever, held_at=held_at)
    assert await store.check(HERS, LoginId("L"), alone.now, alone.now - timedelta(minutes=10), alone.record())
    rows = await alone.rows("SELECT customer, factor, in_window, ever FROM failures")
    left = {(row["customer"], row["factor"]): (row["in_window"], row["ever"]) for row in rows}
    assert left == {("anna", "birth_date"): after, ("anna", "code"): (2, ever), ("ben", "birth_date"): (2, ever)}


CERTIFICATES = {
    NEW: ("anna", "investor", "issued"),
    OLD: ("anna", "investor", "active"),
    "0C": ("anna", "investor", "held"),
    "0D": ("anna", "company", "active"),
    "0E": ("ben", "investor", "active"),
    "0F": ("anna", "investor", "revoked"),
    "10": ("ben", "company", "issued"),
    "11": ("anna", "company", "issued"),
}


async def issued(alone: Alone, **said: Any) -> OrderRepository:
    """The order O has its certificate, which is to be proved; the customers have others, and imported ones as these."""
    store = await orders(alone, **{"state": "issued", "serial": NEW, "nonce": NONCE, "spki_sha256": "55", **said})
    await alone.runs(live="live", other="begun")
    await alone.add("keys", spki_sha256="55", customer="anna", first_seen_at=0)
    for serial, (customer, profile, state) in CERTIFICATES.items():
        await alone.ours(serial, customer, alone.ahead(days=9), profile=profile, state=state)
        if state != "issued":
            await alone.theirs(f"{serial}f", customer, alone.ahead(days=9), profile=profile, state=state)
    await alone.theirs("12f", "anna", alone.ahead(days=9), state="active", run="other")
    return store


async def activated(
    alone: Alone, store: OrderRepository, nonce: bytes | None, meanwhile: dict[str, Any] | None = None
) -> bool:
    """Prove the certificate of the order as it is read now; what the row says by then is another thing."""
    read = await store.get(HERS)
    assert read is not None
    for name, value in (meanwhile or {}).items():
        await alone.change(f"UPDATE orders SET {name} = :value WHERE id = 'O'", value=value)
    kept = timedelta(hours=2)
    return await store.activate(read, nonce, Installed.OPENED, alone.now, (), alone.record(), kept) is None


async def certificates(alone: Alone) -> dict[str, str]:
    """Those that are in another state than they were, imported ones too."""
    found = await alone.values("holdings", "serial", "state")
    found |= await alone.values("imported_certificates", "fingerprint", "state")
    was = {name: state for serial, (_, _, state) in CERTIFICATES.items() for name in (serial, f"{serial}f")}
    return {name: state for name, state in found.items() if {**was, "12f": "active"}[name] != state}


DONE = {NEW: "active"} | dict.fromkeys((OLD, "0C", f"{OLD}f", "0Cf"), "superseded")


async def test_a_proved_certificate_is_the_active_one_and_ends_the_customers_others_of_its_profile(
    alone: Alone,
) -> None:
    store = await issued(alone)
    assert await activated(alone, store, NONCE)
    assert await certificates(alone) == DONE
    (left,) = await alone.rows("SELECT state, nonce, installed, activated_at FROM orders WHERE id = 'O'")
    assert tuple(left.values()) == ("active", None, "opened", alone.ago())
    assert (await alone.values("orders", "id", "state"))["P"] == "issued"
    by = await alone.values("holdings", "serial", "superseded_by")
    assert {serial for serial, one in by.items() if one == NEW} == {OLD, "0C"}
    due = await alone.values("imported_certificates", "fingerprint", "revoke_after")
    assert {name: moment for name, moment in due.items() if moment is not None} == {
        f"{OLD}f": alone.ahead(hours=2),
        "0Cf": alone.ahead(hours=2),
    }


@pytest.mark.parametrize(
    ("meanwhile", "nonce", "done"),
    [
        *[({"state": state}, NONCE, False) for state in (*AT_THE_CA, "open", "cancelled")],
        ({"nonce": ANOTHER}, NONCE, False),
        ({"nonce": None}, NONCE, False),
        ({"nonce": ANOTHER}, None, True),
        ({"serial": "10"}, NONCE, False),
    ],
)
async def test_a_certificate_is_proved_for_its_order_as_it_was_read(
    alone: Alone, meanwhile: dict[str, Any], nonce: bytes | None, done: bool
) -> None:
    store = await issued(alone)
    assert await activated(alone, store, nonce, meanwhile) is done
    assert await certificates(alone) == (DONE if done else {})


@pytest.mark.parametrize("state", ["held", "revoked", "superseded"])
async def test_a_certificate_that_has_ended_before_its_proof_never_becomes_active(alone: Alone, state: str) -> None:
    store = await issued(alone)
    await alone.change("UPDATE holdings SET state = :state WHERE serial = :new", state=state, new=NEW)
    assert not await activated(alone, store, NONCE)
    assert await certificates(alone) == {NEW: state}


@pytest.mark.parametrize(
    ("row", "done"),
    [
        ({"state": "active", "superseded_by": None}, True),
        ({"state": "superseded", "superseded_by": NEW}, True),
        ({"state": "superseded", "superseded_by": "0C"}, False),
        ({"state": "revoked", "superseded_by": None}, False),
        ({"state": "held", "superseded_by": None}, False),
    ],
)
async def test_a_renewal_ends_the_certificate_that_it_renews_where_that_lives(
    alone: Alone, row: dict[str, Any], done: bool
) -> None:
    """Where its CA has ended it already, for this new one, its moment stands."""
    store = await issued(alone, operation="rekey", old_serial=OLD)
    said = {"state": row["state"], "by": row["superseded_by"], "ended": 7 if row["state"] != "active" else None}
    await alone.change(
        "UPDATE holdings SET state = :state, superseded_by = :by, ended_at = :ended WHERE serial = :old",
        old=OLD,
        **said,
    )
    assert await activated(alone, store, NONCE) is done
    (left,) = await alone.rows("SELECT state, superseded_by, ended_at FROM holdings WHERE serial = :old", old=OLD)
    ended = said["ended"] or alone.ago()
    assert tuple(left.values()) == (("superseded", NEW, ended) if done else (row["state"], said["by"], said["ended"]))
    assert (await certificates(alone)).get(NEW) == ("active" if done else None)


async def bound(alone: Alone, store: OrderRepository) -> str | None:
    """Bind the key 55; return the code of the refusal."""
    read = await store.get(HERS)
    assert read is not None
    new = Bound("55", b"request", None, None, KeyEvidence.LOGIN, LOGIN)
    refused = await store.bind(read, new, None, alone.now, (), alone.record())
    keys = await alone.values("orders", "id", "spki_sha256")
    assert (keys["O"], keys["P"]) == (None if refused else "55", None)
    return None if refused is None else refused.code


@pytest.mark.parametrize(
    ("table", "row", "refused"),
    [
        ("keys", {"customer": "anna"}, None),
        ("keys", {"customer": "ben"}, "key_used"),
        ("keys", {"customer": "anna", "blocked": "lost"}, "key_used"),
        ("blocked_keys", {"reason": "compromised"}, "key_used"),
        ("holdings", {"customer": "anna", "serial": NEW, "order_id": "P"}, "key_used"),
        ("imported_certificates", {"customer": "anna", "serial": "01", "fingerprint": "f", "run": "live"}, "key_used"),
    ],
)
async def test_a_key_is_bound_that_nobody_else_has_shown_and_nothing_has_been_made_of(
    alone: Alone, table: str, row: dict[str, Any], refused: str | None
) -> None:
    times = {"keys": {"first_seen_at": 0}, "blocked_keys": {"blocked_at": 0}}.get(table, {"not_after": 1})
    store = await orders(alone, state="open")
    await alone.runs(live="live")
    await alone.add(table, spki_sha256="66", **row, **times)
    assert await bound(alone, store) is None
    await alone.change("UPDATE orders SET state = 'open', spki_sha256 = NULL")
    await alone.change("DELETE FROM keys WHERE spki_sha256 = '55'")
    await alone.change(f"UPDATE {table} SET spki_sha256 = '55'")
    assert await bound(alone, store) == refused
    await alone.change("DELETE FROM blocked_keys")


async def test_whose_order_has_moved_on_hears_of_that_and_not_of_other_keys(alone: Alone) -> None:
    store = await orders(alone, state="cancelled")
    await alone.runs(live="live")
    await alone.add("keys", spki_sha256="66", customer="ben", first_seen_at=0, blocked="lost")
    await alone.add("blocked_keys", spki_sha256="77", reason="lost", blocked_at=0)
    await alone.ours("66", "ben", alone.ahead(days=9))
    await alone.theirs("77", "ben", alone.ahead(days=9))
    assert await bound(alone, store) == "moved_on"


async def test_an_order_past_its_time_is_found_by_its_state_the_oldest_first(alone: Alone) -> None:
    store = await orders(alone, state="pending", expires_at=-HOUR)
    for name, said in {
        "A": {"state": "pending", "expires_at": -2 * HOUR},
        "B": {"state": "pending", "expires_at": HOUR},
        "E": {"state": "submitted", "expires_at": -HOUR},
        "F": {"state": "pending", "expires_at": -3 * HOUR, "submitted_at": alone.ago()},
        "G": {"state": "pending", "expires_at": -MINUTE},
    }.items():
        await order(alone, name, **{**said, "operation": "revoke"})
    found = await store.stuck(("pending", "issued"), alone.now, 9)
    assert [one.id for one in found] in (["A", "O", "P", "G"], ["A", "P", "O", "G"])
    assert [one.id for one in await store.stuck(("pending",), alone.now, 1)] == ["A"]
    asked = {
        "issuer": "ca", "transaction_id": b"t", "profile": "investor", "spki_sha256": "55",
        "sent_at": 0, "doubts": 0, "version": 1, "by_hand": 0, "ticket": b"", "chain": b"",
    }  # fmt: skip
    attempts = (("A", 1, -1), ("O", 1, -1), ("O", 2, HOUR), ("P", 1, HOUR), ("P", 2, 0), ("G", 1, HOUR))
    for name, attempt, next_at in attempts:
        state = "given_up" if (name, attempt) in {("O", 1), ("P", 1)} else "waiting"
        await alone.add(
            "foreign_requests", order_id=name, attempt=attempt, next_at=alone.ago() + next_at, state=state, **asked
        )
    found = await store.stuck(("pending", "issued"), alone.now, 9)
    assert [one.id for one in found] == ["A", "P"]  # the CA is to be asked again later for O and G
