"""Every condition under which a code is sent, charged, accepted and ended: the row says otherwise in one thing.

No verb stands before the statements here. Another order's code is always beside, and stays as it is.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import (
    ActingLogin,
    ChallengeId,
    Channel,
    CustomerId,
    FactorClass,
    LoginId,
    Operation,
    OrderId,
)
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.stepup.challenge import Challenge
from chopmark.stepup.ports import Charged, FailureLimits, SendLimits, Sequel
from chopmark.store.repositories.ra.snapshots import SnapshotRepository
from chopmark.store.repositories.stepup.challenges import ChallengeRepository, FailureRepository
from tests.contract.alone import Alone

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
LIMITS = FailureLimits(3, timedelta(days=1), 10)
ONE = SendLimits(1, timedelta(days=1), ())
PASSWORD = frozenset({FactorClass.PASSWORD})
LOGIN = ActingLogin(LoginId("L"), PASSWORD, PASSWORD)
ROW = {
    "order_id": "O", "customer": "anna", "channel": "mobile", "contact_version": 1, "nonce": bytes(16), "kid": "k",
    "operation": "enrol", "spki": "00", "digits": 6, "reference": "BDFG", "attempts": 0, "max_attempts": 5,
    "state": "live",
}  # fmt: skip
TIMES = {"created_at": -10 * SECOND, "expires_at": 5 * MINUTE, "resend_at": -SECOND}
"""Told from now, as all moments that a test says."""
MOMENTS = ("coded_at", "announced_at", "expires_at", "created_at", "resend_at", "second_coded_at", "window_start")


def told(alone: Alone, said: dict[str, Any]) -> dict[str, Any]:
    """The same with moments as columns have them."""
    return {name: alone.ago() + value if name in MOMENTS and value else value for name, value in said.items()}


async def order(alone: Alone, name: str = "O", **said: Any) -> None:
    """An order that waits for the code C, in the login L that holds its key."""
    held = {"login": "L", "bound_login": "L", "key_evidence": "login", "both_codes": 0, "delay": 0}
    row = {"customer": "anna", "state": "bound", "challenge": "C", "expires_at": HOUR, **held}
    await alone.add("orders", id=name, **told(alone, {**row, **said}))


async def sent(alone: Alone, name: str = "C", **said: Any) -> None:
    """A code that lives."""
    await alone.add("challenges", id=name, **told(alone, {**ROW, **TIMES, **said}))


async def both(alone: Alone, code: dict[str, Any], row: dict[str, Any]) -> ChallengeRepository:
    """The order O with its code C, and before them the order P of the same customer with its code D."""
    await alone.people("anna", "ben")
    await order(alone, "P", challenge="D", account="F014000-0000002", profile="company")
    await sent(alone, "D", order_id="P")
    await order(alone, **row)
    await sent(alone, **code)
    return ChallengeRepository(alone.engine)


def code(alone: Alone, name: str = "C", **said: Any) -> Challenge:
    """A code as it was read, or as it is to be sent now."""
    made = Challenge(
        ChallengeId(name), OrderId("O"), CustomerId("anna"), Channel.MOBILE, 1, bytes(16), "k", Operation.ENROL, "00",
        "BDFG", 6, 0, 5, alone.now, alone.now + timedelta(minutes=5), alone.now + timedelta(minutes=1),
    )  # fmt: skip
    return replace(made, **said)


async def states(alone: Alone) -> dict[str, str]:
    return await alone.values("challenges", "id", "state")


@pytest.mark.parametrize(
    ("row", "of_order", "charged"),
    [
        ({}, {}, True),
        ({"attempts": 4}, {}, True),
        ({"attempts": 5}, {}, False),
        ({"state": "dead"}, {}, False),
        ({"state": "consumed"}, {}, False),
        ({"expires_at": 1}, {}, True),
        ({"expires_at": -1}, {}, False),
        ({"created_at": MINUTE}, {}, True),
        ({"created_at": MINUTE + 1}, {}, False),  # by a machine whose clock was wrong
        ({}, {"challenge": "D"}, False),
        ({}, {"challenge": None}, False),
    ],
)
async def test_an_answer_is_charged_to_the_living_code_of_its_order_and_to_no_other(
    alone: Alone, row: dict[str, Any], of_order: dict[str, Any], charged: bool
) -> None:
    store = await both(alone, row, of_order)
    done = await store.charge(code(alone), LIMITS, alone.now, alone.record(), alone.record())
    was = row.get("attempts", 0)
    assert isinstance(done, Charged) is charged
    assert await alone.values("challenges", "id", "attempts") == {"C": was + charged, "D": 0}
    assert await alone.values("failures", "customer", "ever") == ({"anna": 1} if charged else {})
    if isinstance(done, Charged):
        assert (done.challenge.id, done.challenge.attempts) == ("C", was + 1)


@pytest.mark.parametrize(
    ("row", "consumed"),
    [
        ({}, True),
        ({"state": "dead"}, False),
        ({"state": "consumed"}, False),
        ({"expires_at": 1}, True),
        ({"expires_at": -1}, False),
        ({"created_at": MINUTE}, True),
        ({"created_at": MINUTE + 1}, False),
    ],
)
async def test_a_right_code_is_taken_while_it_lives_and_no_other_with_it(
    alone: Alone, row: dict[str, Any], consumed: bool
) -> None:
    store = await both(alone, row, {})
    refused = await store.right(code(alone), LOGIN, alone.now, Sequel(), alone.record(), alone.record())
    assert (refused is None) is consumed
    assert await states(alone) == {"C": "consumed" if consumed else row.get("state", "live"), "D": "live"}
    assert await alone.values("orders", "id", "state") == {"O": "coded" if consumed else "bound", "P": "bound"}


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        *[({"state": state}, True) for state in ("open", "bound", "coded", "checked")],
        *[({"state": state}, False) for state in ("submitted", "pending", "issued", "active", "cancelled")],
        ({"challenge": "D"}, False),
        ({"expires_at": 1}, True),
        ({"expires_at": -1}, False),
        ({"login_factors": "password+sms"}, False),
        ({"bound_login": "M"}, False),
        ({"key_evidence": "credential"}, False),
        ({"bound_login": "M", "proved_login": "L"}, True),
        ({"bound_login": "M", "proved_login": "M"}, False),
        ({"bound_login": "M", "key_evidence": "old_key"}, True),
        ({"bound_login": "M", "key_evidence": "tls"}, True),
        ({"bound_login": "M", "operation": "revoke"}, True),
        ({"delay": DAY, "announced_at": -DAY}, True),
        ({"delay": DAY, "announced_at": -DAY + 1}, False),
        ({"delay": DAY, "announced_at": None}, True),
    ],
)
async def test_a_right_code_approves_its_order_where_it_waits_for_one(
    alone: Alone, row: dict[str, Any], taken: bool
) -> None:
    store = await both(alone, {}, row)
    await alone.change("UPDATE orders SET challenge = 'C' WHERE id = 'P'")
    (before,) = await alone.rows("SELECT * FROM orders WHERE id = 'O'")
    await store.right(code(alone), LOGIN, alone.now, Sequel(), alone.record(), alone.record())
    (after,) = await alone.rows("SELECT * FROM orders WHERE id = 'O'")
    assert (after["approved_login"] == "L") is taken
    assert taken or after == before
    assert (await alone.values("orders", "id", "approved_login"))["P"] is None


@pytest.mark.parametrize(
    ("row", "second"),
    [
        ({}, True),
        ({"both_codes": 0}, False),
        ({"state": "checked"}, False),
        ({"state": "bound"}, False),
        ({"approved_login": "M"}, False),
        ({"approved_login": None}, False),
        ({"code_channel": "mobile"}, False),
        ({"coded_at": -10 * MINUTE + 1}, True),
        ({"coded_at": -10 * MINUTE}, False),
    ],
)
async def test_a_code_is_the_second_one_where_the_other_contacts_was_given_lately_in_this_login(
    alone: Alone, row: dict[str, Any], second: bool
) -> None:
    first = {"both_codes": 1, "state": "coded", "approved_login": "L", "code_channel": "email", "coded_at": -MINUTE}
    store = await both(alone, {}, {**first, **row, "checked_at": 1})
    sequel = Sequel(first_since=alone.now - timedelta(minutes=10))
    assert await store.right(code(alone), LOGIN, alone.now, sequel, alone.record(), alone.record()) is None
    (left,) = await alone.rows(
        "SELECT code_channel, coded_at, second_channel, second_coded_at, state, checked_at FROM orders WHERE id = 'O'"
    )
    given = ("email", alone.ago() + row.get("coded_at", -MINUTE), "mobile", alone.ago())
    assert tuple(left.values()) == (*(given if second else ("mobile", alone.ago(), None, None)), "coded", None)


@pytest.mark.parametrize(
    ("row", "state", "ends", "announced"),
    [
        ({"delay": DAY}, "bound", DAY + 2 * HOUR, 0),
        ({"delay": DAY, "announced_at": -DAY}, "coded", HOUR, -DAY),
        ({"delay": 0}, "coded", HOUR, None),
    ],
)
async def test_the_first_code_of_an_order_that_waits_announces_it_and_approves_nothing(
    alone: Alone, row: dict[str, Any], state: str, ends: int, announced: int | None
) -> None:
    store, sequel = await both(alone, {}, row), Sequel(order_life=timedelta(hours=2))
    assert await store.right(code(alone), LOGIN, alone.now, sequel, alone.record(), alone.record()) is None
    (left,) = await alone.rows("SELECT state, expires_at, announced_at FROM orders WHERE id = 'O'")
    moment = None if announced is None else alone.ago() + announced
    assert tuple(left.values()) == (state, alone.ago() + ends, moment)


@pytest.mark.parametrize(
    ("row", "had", "held"),
    [
        ({}, "active", True),
        ({"reason": "compromised"}, "active", True),
        ({"reason": "new_device"}, "active", False),
        ({"operation": "revoke"}, "active", False),
        ({"operation": "rekey"}, "active", False),
        ({}, "issued", False),
        ({}, "revoked", False),
    ],
)
async def test_what_was_lost_is_on_hold_with_the_right_code_of_its_replacement(
    alone: Alone, row: dict[str, Any], had: str, held: bool
) -> None:
    """The order names a certificate of ours, or one that was imported: here one of each has the name."""
    store = await both(alone, {}, {"operation": "replace", "reason": "lost", "old_serial": "0A", **row})
    await alone.change("UPDATE orders SET operation = 'replace', reason = 'lost', old_serial = '0B' WHERE id = 'P'")
    await alone.runs(live="live")
    for name in ("0A", "0B"):
        whose, state = ("anna", had) if name == "0A" else ("ben", "active")
        await alone.ours(name, whose, alone.ahead(days=9), state=state)
        await alone.theirs(name, whose, alone.ahead(days=9), state=state)
    assert await store.right(code(alone), LOGIN, alone.now, Sequel(), alone.record(), alone.record()) is None
    wanted = {"0A": "held" if held else had, "0B": "active"}
    assert await alone.values("holdings", "serial", "state") == wanted
    assert await alone.values("imported_certificates", "fingerprint", "state") == wanted
    ended = (await alone.values("holdings", "serial", "ended_at"))["0A"]
    assert ended == (alone.ago() if held else None)


async def test_a_right_code_gives_the_failure_and_the_pause_back_of_this_customer_alone(alone: Alone) -> None:
    store = await both(alone, {}, {})
    for name in ("anna", "ben"):
        await alone.add("failures", customer=name, factor="code", window_start=alone.ago(), in_window=2, ever=5)
        await alone.add("counters", name=f"send-pause:{name}", window_start=alone.ago(), used=1)
    assert await store.right(code(alone), LOGIN, alone.now, Sequel(), alone.record(), alone.record()) is None
    assert await alone.values("failures", "customer", "in_window") == {"anna": 1, "ben": 2}
    assert await alone.values("failures", "customer", "ever") == {"anna": 4, "ben": 5}
    assert await alone.values("counters", "name", "used") == {"send-pause:anna": 0, "send-pause:ben": 1}


async def opened(alone: Alone, store: ChallengeRepository, limits: SendLimits, **said: Any) -> str | None:
    """Send the code N; return the code of the refusal."""
    new = code(alone, "N", **said)
    work = OutboxJob(
        "W", OutboxJobKind.CODE, new.customer, new.order, new.id, new.channel, 1, {}, 0, alone.now, new.expires_at
    )
    refused = await store.open(new, LOGIN, limits, work, alone.record(), alone.record())
    assert await alone.count("work") == (refused is None), "a message for each code, and none without"
    assert ("N" in await states(alone)) is (refused is None)
    return None if refused is None else refused.code or "moved on"


@pytest.mark.parametrize(
    ("row", "sends"),
    [
        ({}, True),
        *[({"state": state}, True) for state in ("coded", "checked")],
        *[({"state": state}, False) for state in ("open", "submitted", "pending", "issued", "cancelled")],
        *[({"state": state, "operation": "revoke"}, True) for state in ("open", "coded", "bound")],
        *[({"state": state, "operation": "revoke"}, False) for state in ("checked", "done")],
        ({"expires_at": 1}, True),
        ({"expires_at": -1}, False),
        ({"login_factors": "password+sms"}, False),
        ({"bound_login": "M"}, False),
        ({"key_evidence": "credential"}, False),
        ({"delay": DAY, "announced_at": -DAY}, True),
        ({"delay": DAY, "announced_at": -DAY + 1}, False),
    ],
)
async def test_a_code_is_sent_for_an_order_that_waits_for_one_and_ends_its_earlier_one(
    alone: Alone, row: dict[str, Any], sends: bool
) -> None:
    store = await both(alone, {}, row)
    await sent(alone, "B", state="consumed")
    assert (await opened(alone, store, replace(ONE, per_order=9)) is None) is sends
    new = {"C": "dead", "N": "live"} if sends else {"C": "live"}
    assert await states(alone) == {"B": "consumed", "D": "live", **new}
    assert await alone.values("orders", "id", "challenge") == {"O": "N" if sends else "C", "P": "D"}


@pytest.mark.parametrize(
    ("row", "refused"),
    [
        ({}, True),
        ({"resend_at": SECOND, "state": "dead"}, True),
        ({"resend_at": 0}, False),
        ({"resend_at": -1}, False),
        ({"customer": "ben"}, False),
        ({"created_at": -DAY + 1}, True),
        ({"created_at": -DAY}, False),
        ({"created_at": MINUTE}, True),
        ({"created_at": MINUTE + 1}, False),
        ({"state": "consumed"}, False),
        ({"state": "consumed", "order_id": "O"}, True),
    ],
)
async def test_another_code_is_sent_when_the_customers_last_one_is_no_longer_fresh(
    alone: Alone, row: dict[str, Any], refused: bool
) -> None:
    store = await both(alone, {"state": "dead"}, {})
    await sent(alone, "E", **{"order_id": "P", "state": "dead", "resend_at": SECOND, **row})
    many = replace(ONE, per_order=9)
    assert await opened(alone, store, many) == ("resend_too_soon" if refused else None)


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({}, True),
        ({"customer": "ben"}, False),
        ({"created_at": -DAY + 1}, True),
        ({"created_at": -DAY}, False),
        ({"created_at": MINUTE}, True),
        ({"created_at": MINUTE + 1}, False),
        ({"attempts": 4}, True),
        ({"attempts": 5}, False),
        ({"state": "consumed"}, False),
        ({"operation": "rekey"}, False),
        ({"order_id": "O", "state": "consumed", "attempts": 5, "operation": "rekey"}, True),
    ],
)
async def test_codes_of_other_orders_that_came_to_nothing_count_like_an_orders_own(
    alone: Alone, row: dict[str, Any], counts: bool
) -> None:
    store = await both(alone, {"created_at": -2 * DAY}, {})
    await alone.change("DELETE FROM challenges WHERE id = 'D'")
    await sent(alone, "E", **{"order_id": "P", "state": "dead", **row})
    assert await opened(alone, store, ONE) == ("sends_order" if counts else None)


async def test_for_a_renewal_the_codes_of_renewals_count(alone: Alone) -> None:
    store = await both(alone, {"created_at": -2 * DAY}, {"operation": "rekey"})
    assert await opened(alone, store, ONE, operation=Operation.REKEY) is None
    await alone.change("DELETE FROM work")
    await alone.change("DELETE FROM challenges WHERE id = 'N'")
    await alone.change("UPDATE challenges SET operation = 'rekey' WHERE id = 'D'")
    assert await opened(alone, store, ONE, operation=Operation.REKEY) == "sends_order"


@pytest.mark.parametrize(
    ("begun", "counts"), [(-11 * SECOND, True), (-10 * SECOND, False), (MINUTE, False), (MINUTE + 1, True)]
)
async def test_after_a_release_the_codes_that_were_sent_before_count_no_more(
    alone: Alone, begun: int, counts: bool
) -> None:
    store = await both(alone, {"created_at": -2 * DAY}, {})
    await alone.add("counters", name="send-anew:ben", window_start=alone.ago(), used=0)
    await alone.add("counters", name="send-anew:anna", window_start=alone.ago() + begun, used=0)
    assert await opened(alone, store, ONE) == ("sends_order" if counts else None)


async def test_who_is_refused_a_code_is_told_when_one_is_sent_again(alone: Alone) -> None:
    """When so many of the newest are a day old that another one may be sent, or none is fresh."""
    store = await both(alone, {"created_at": -HOUR}, {})
    await sent(alone, "E", order_id="P", state="dead", created_at=-2 * HOUR)
    assert [await told_again(alone, store, most) for most in (1, 2, 3)] == [24 * 3600 - 10, 23 * 3600, 22 * 3600]
    for name, fresh in (("F", 20), ("G", 40), ("H", 30)):
        await sent(alone, name, order_id="P", state="dead", resend_at=fresh * SECOND)
    assert await told_again(alone, store, 9) == 40


async def told_again(alone: Alone, store: ChallengeRepository, most: int) -> int | None:
    work = OutboxJob("W", OutboxJobKind.CODE, None, None, None, None, None, {}, 0, alone.now, None)
    limits = replace(ONE, per_order=most)
    refused = await store.open(code(alone, "N"), LOGIN, limits, work, alone.record(), alone.record())
    return None if refused is None else refused.retry_after_s


async def test_while_the_lock_is_shut_no_code_is_sent(alone: Alone) -> None:
    store = await both(alone, {"state": "dead"}, {})
    held = {"window_start": 0, "in_window": 0, "ever": 0, "held_at": 1, "hold": "held"}
    await alone.add("failures", customer="ben", factor="code", **held)
    await alone.add("failures", customer="anna", factor="birth_date", **held)
    assert await opened(alone, store, replace(ONE, per_order=9)) is None
    await alone.change("DELETE FROM work")
    await alone.change("DELETE FROM challenges WHERE id = 'N'")
    await alone.change("UPDATE failures SET factor = 'code' WHERE customer = 'anna'")
    assert await opened(alone, store, replace(ONE, per_order=9)) is not None


@pytest.mark.parametrize(
    ("row", "left"),
    [({"attempts": 5}, "dead"), ({"attempts": 4}, "live"), ({"attempts": 5, "state": "consumed"}, "consumed")],
)
async def test_a_code_whose_attempts_are_used_up_ends_with_the_last_one(
    alone: Alone, row: dict[str, Any], left: str
) -> None:
    store = await both(alone, row, {})
    await alone.change("UPDATE challenges SET attempts = 5 WHERE id = 'D'")
    assert await store.wrong(code(alone), LIMITS, alone.now, (), alone.record()) is False
    assert await states(alone) == {"C": left, "D": "live"}


async def test_what_is_read_of_codes_is_about_the_one_that_was_asked_for(alone: Alone) -> None:
    store = await both(alone, {"created_at": -4 * MINUTE}, {})
    assert await store.get(ChallengeId("nobody")) is None
    found = await store.get(ChallengeId("C"))
    assert found is not None
    assert found.id == "C"
    assert await store.latest(OrderId("nothing")) is None
    for name, created in (("A", -3 * HOUR), ("E", -MINUTE), ("F", -MINUTE), ("B", -2 * HOUR)):
        await sent(alone, name, state="dead", created_at=created)
    latest = await store.latest(OrderId("O"))
    assert latest is not None
    assert (latest[0].id, latest[1]) == ("C", 5)  # the living one is the newest, whatever a clock said
    await alone.change("UPDATE challenges SET state = 'dead'")
    latest = await store.latest(OrderId("O"))
    assert latest is not None
    assert latest[0].id == "F"


@pytest.mark.parametrize(
    ("done_at", "outcome", "seen"),
    [(1, "failed:destination", (True, False)), (1, "taken", (False, False)), (None, "failed:busy", (False, True))],
)
async def test_what_became_of_the_newest_code_is_told_of_its_own_message(
    alone: Alone, done_at: int | None, outcome: str, seen: tuple[bool, bool]
) -> None:
    await both(alone, {}, {})
    other = {"D": "taken" if seen[0] else "failed:destination"}
    for name, said in {**other, "C": outcome}.items():
        at = done_at if name == "C" else 1
        await alone.add("work", id=name, kind="code", done_at=at, outcome=said)
    found = await SnapshotRepository(alone.engine).order(CustomerId("anna"), OrderId("O"))
    assert found is not None
    assert (found.undelivered, found.waiting) == seen


async def test_a_release_forgets_the_sends_of_one_customer(alone: Alone) -> None:
    await alone.people("anna", "ben")
    store, names = FailureRepository(alone.engine), []
    for who in ("anna", "ben"):
        await alone.add("contacts", customer=who, channel="mobile", destination_hash=f"h-{who}")
        names += [f"send-pause:{who}", *[f"send-customer:{who}:{span}" for span in ("1h", "1d")]]
        names += [f"send:h-{who}:{span}" for span in ("1h", "1d")]
    for name in (*names, "send-anew:ben"):
        await alone.add("counters", name=name, window_start=1, used=2)
    for _ in range(2):
        assert await store.release(CustomerId("anna"), alone.now, alone.record(), ()) == 0
        used = await alone.values("counters", "name", "used")
        assert {name for name in names if used[name] == 0} == {name for name in names if "anna" in name}
        begun = await alone.values("counters", "name", "window_start")
        assert (begun["send-anew:anna"], begun["send-anew:ben"]) == (alone.ago(), 1)
        alone.clock.later(hours=1)
