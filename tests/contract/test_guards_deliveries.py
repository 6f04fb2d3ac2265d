"""Every condition of what is written of attempts and reports: the row says otherwise in one thing, and stays."""

from typing import Any

import pytest

from chopmark.messaging.attempts import Fate
from chopmark.messaging.configuration import Pumping
from chopmark.messaging.ports import FaultReason, GatewayFault, Receipt, Verdict
from chopmark.messaging.reports import Report, ReportState
from chopmark.store.repositories.messaging.deliveries import SETTLED_AT_ONCE, DeliveryRepository
from chopmark.store.repositories.messaging.spending import SpendingRepository
from tests.contract.alone import Alone

FAILED, DELIVERED = ReportState.FAILED, ReportState.DELIVERED
SECOND, MINUTE = 1000, 60_000


def store(alone: Alone) -> DeliveryRepository:
    return DeliveryRepository(alone.engine)


async def taken(alone: Alone, message: str = "M", gateway: str = "a", provider: str | None = "1", **said: Any) -> None:
    """Write that a gateway took a message."""
    row = {"fate": "taken", "begun_at": alone.ago(), "ended_at": alone.ago(), **said}
    await alone.add("deliveries", message=message, gateway=gateway, provider_id=provider, **row)


async def worked(alone: Alone, name: str = "M", **said: Any) -> None:
    await alone.add("work", **{"id": name, "kind": "code", "done_at": 1, "outcome": "sent", **said})


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ([], None),
        ([("M", "a", Fate.LATER)], None),
        ([("M", "a", Fate.BEGUN)], ("a", Fate.BEGUN)),
        ([("M", "a", Fate.REFUSED)], ("a", Fate.REFUSED)),
        ([("M", "a", Fate.UNKNOWN)], ("a", Fate.UNKNOWN)),
        ([("M", "b", Fate.UNKNOWN)], None),  # the next gateway gets the same message
        ([("M", "b", Fate.TAKEN)], ("b", Fate.TAKEN)),
        ([("M", "a", Fate.LATER), ("M", "b", Fate.TAKEN)], ("b", Fate.TAKEN)),
        ([("M", "a", Fate.UNKNOWN), ("M", "b", Fate.TAKEN)], ("b", Fate.TAKEN)),
        ([("M", "0", Fate.REFUSED), ("M", "a", Fate.UNKNOWN), ("N", "c", Fate.TAKEN)], ("a", Fate.UNKNOWN)),
        ([("N", "a", Fate.TAKEN), ("N", "b", Fate.BEGUN)], None),
    ],
)  # fmt: skip
async def test_a_message_goes_to_a_gateway_that_has_not_and_cannot_have_it(
    alone: Alone, before: list[tuple[str, str, Fate]], told: tuple[str, Fate] | None
) -> None:
    for message, gateway, fate in before:
        await alone.add("deliveries", message=message, gateway=gateway, fate=fate)
    found = await store(alone).begin("M", "a", alone.now)
    assert (None if found is None else (found.gateway, found.fate)) == told
    (row,) = await alone.rows(
        "SELECT COUNT(*) AS n, MAX(tries) AS tries FROM deliveries WHERE fate = 'begun' AND begun_at = :now",
        now=alone.ago(),
    )
    assert row["n"] == (told is None)
    if told is None:
        assert row["tries"] == 1 + (("M", "a", Fate.LATER) in before)


@pytest.mark.parametrize("fate", [Fate.BEGUN, Fate.TAKEN, Fate.UNKNOWN, Fate.LATER])
async def test_an_answer_ends_the_attempt_that_was_begun_and_no_other(alone: Alone, fate: Fate) -> None:
    for message, gateway in (("M", "a"), ("M", "b"), ("N", "a")):
        await alone.add("deliveries", message=message, gateway=gateway, fate=fate)
    await store(alone).end("M", "a", GatewayFault(FaultReason.CONTENT, Verdict.OTHER), alone.now)
    rows = await alone.rows("SELECT message, gateway FROM deliveries WHERE fate = 'refused'")
    assert rows == ([{"message": "M", "gateway": "a"}] if fate is Fate.BEGUN else [])
    assert {row["fate"] for row in await alone.rows("SELECT fate FROM deliveries WHERE fate <> 'refused'")} == {fate}
    await store(alone).end("M", "b", Receipt("b", "9"), alone.now)
    (row,) = await alone.rows("SELECT fate, provider_id FROM deliveries WHERE gateway = 'b'")
    assert row["provider_id"] == ("9" if fate is Fate.BEGUN else None)


@pytest.mark.parametrize(
    ("row", "came", "report"),
    [
        ({}, FAILED, FAILED),
        ({}, DELIVERED, DELIVERED),
        ({"report": "failed"}, DELIVERED, DELIVERED),  # it came on after all
        ({"report": "failed"}, FAILED, FAILED),
        ({"report": "delivered"}, FAILED, DELIVERED),
        ({"report": "delivered"}, DELIVERED, DELIVERED),
        ({"fate": "unknown"}, FAILED, None),
    ],
)
async def test_a_report_is_the_last_word_unless_the_message_has_arrived(
    alone: Alone, row: dict[str, Any], came: ReportState, report: ReportState | None
) -> None:
    await taken(alone, **row)
    for message, gateway, provider in (("N", "a", "2"), ("O", "b", "1")):
        await taken(alone, message, gateway, provider)
    noted = await store(alone).reported("a", Report("1", came, "x"), alone.now)
    assert noted is (report is came and row.get("report") != came)
    assert await alone.values("deliveries", "message", "report") == {"M": report, "N": None, "O": None}


@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        ({}, "failed:reported"),
        ({"done_at": None}, "sent"),
        ({"outcome": "failed:budget"}, "failed:budget"),
        ({"id": "N"}, "sent"),
        ({"id": "O"}, "sent"),
    ],
)
async def test_a_report_changes_what_the_page_says_of_a_message_that_was_sent_and_of_no_other(
    alone: Alone, work: dict[str, Any], outcome: str
) -> None:
    await worked(alone, **work)
    for message, gateway, provider in (("M", "a", "1"), ("N", "a", "2"), ("O", "b", "1")):
        await taken(alone, message, gateway, provider)
    assert await store(alone).reported("a", Report("1", FAILED), alone.now)
    assert await alone.values("work", "id", "outcome") == {work.get("id", "M"): outcome}


async def test_what_was_reported_as_failed_and_arrives_is_sent_after_all(alone: Alone) -> None:
    await worked(alone)
    await taken(alone)
    for state, outcome in ((FAILED, "failed:reported"), (DELIVERED, "sent")):
        assert await store(alone).reported("a", Report("1", state), alone.now)
        assert await alone.values("work", "id", "outcome") == {"M": outcome}


@pytest.mark.parametrize(
    ("there", "early"),
    [
        ([], True),
        ([{"fate": "begun"}], True),
        ([{"message": "N", "gateway": "b"}], True),
        ([{"message": "N", "provider": "2"}], True),
        ([{"report": "failed"}], False),
    ],
)
async def test_a_report_is_kept_until_its_message_is_known_to_be_taken(
    alone: Alone, there: list[dict[str, Any]], early: bool
) -> None:
    for row in there:
        await taken(alone, **row)
    assert not await store(alone).reported("a", Report("1", FAILED), alone.now)
    assert await alone.count("early_reports") == early


async def test_of_reports_that_came_early_the_arrival_stands(alone: Alone) -> None:
    await alone.add("early_reports", gateway="a", provider_id="2", state="failed", detail="", at=0)
    reports = ((FAILED, "1"), (FAILED, "2"), (DELIVERED, "3"), (DELIVERED, "4"), (FAILED, "5"))
    for (came, detail), kept in zip(reports, ("1", "1", "3", "3", "3"), strict=True):
        assert not await store(alone).reported("a", Report("1", came, detail), alone.now)
        rows = await alone.rows("SELECT state, detail FROM early_reports WHERE provider_id = '1'")
        assert rows == [{"state": FAILED if kept == "1" else DELIVERED, "detail": kept}]
    assert await alone.values("early_reports", "provider_id", "state") == {"1": "delivered", "2": "failed"}


async def test_an_early_report_ends_on_its_message_once_that_is_taken_and_others_wait(alone: Alone) -> None:
    for gateway, provider in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "3")):
        await alone.add("early_reports", gateway=gateway, provider_id=provider, state="failed", detail="", at=0)
    await taken(alone, "M")
    await taken(alone, "N", provider="2", fate="begun")
    assert await store(alone).settle(alone.now) == 1
    assert await alone.values("deliveries", "message", "report") == {"M": "failed", "N": None}
    left = await alone.rows("SELECT gateway, provider_id FROM early_reports ORDER BY gateway, provider_id")
    assert [(row["gateway"], row["provider_id"]) for row in left] == [("a", "2"), ("b", "1"), ("b", "3")]


async def test_so_many_early_reports_are_settled_at_once_and_no_more(alone: Alone) -> None:
    for number in range(SETTLED_AT_ONCE + 1):
        await alone.add("early_reports", gateway="a", provider_id=f"{number}", state="failed", detail="", at=0)
        await taken(alone, f"{number}", provider=f"{number}")
    assert await store(alone).settle(alone.now) == SETTLED_AT_ONCE
    assert await store(alone).settle(alone.now) == 1


@pytest.mark.parametrize(
    ("row", "work", "outcome"),
    [
        ({}, {}, "failed:reported"),
        ({"report": "delivered"}, {}, "sent"),
        ({"report": None}, {}, "sent"),
        ({"reported_at": -11 * MINUTE}, {}, "sent"),  # settled long ago
        ({}, {"done_at": None}, "sent"),
        ({}, {"outcome": "failed:budget"}, "failed:budget"),
        ({}, {"id": "another"}, "sent"),
    ],
)
async def test_a_report_that_came_while_its_row_was_being_ended_is_settled(
    alone: Alone, row: dict[str, Any], work: dict[str, Any], outcome: str
) -> None:
    said = {"report": "failed", "reported_at": -MINUTE, **row}
    await taken(alone, **{**said, "reported_at": alone.ago() + said["reported_at"]})
    await worked(alone, **work)
    await store(alone).settle(alone.now)
    assert list((await alone.values("work", "id", "outcome")).values()) == [outcome]


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({}, True),
        ({"fate": "unknown"}, False),
        ({"report": "delivered"}, False),
        ({"begun_at": -25 * 60 * MINUTE}, False),
        ({"provider": None}, False),
        ({"gateway": "b"}, False),
        ({"ended_at": -29 * SECOND}, False),
        (
            {"asked_at": -30 * SECOND, "ended_at": -61 * SECOND},
            False,
        ),  # its age was thirty seconds: it doubles half a minute later
        ({"asked_at": -31 * SECOND, "ended_at": -61 * SECOND}, True),
    ],
)
async def test_a_gateway_is_asked_of_what_it_took_and_has_not_reported_when_its_age_has_doubled(
    alone: Alone, row: dict[str, Any], asked: bool
) -> None:
    said = {"begun_at": -MINUTE, "ended_at": -MINUTE + SECOND, **row}
    moments = {key: alone.ago() + said.pop(key) for key in ("begun_at", "ended_at", "asked_at") if key in said}
    await taken(alone, **said, **moments)
    await taken(alone, "other", "b", "1")
    found = await store(alone).unreported(["a"], alone.now, 9)
    assert [(one.gateway, one.provider_id) for one in found] == [("a", "1")] * asked
    assert (await alone.values("deliveries", "message", "asked_at"))["other"] is None


async def test_the_oldest_are_asked_of_first(alone: Alone) -> None:
    for number in range(3):
        moment = alone.ago(minutes=2 + number)
        await taken(alone, f"{number}", provider=f"{number}", begun_at=moment, ended_at=moment)
    found = await store(alone).unreported(["a"], alone.now, 2)
    assert {one.provider_id for one in found} == {"1", "2"}
    assert {one.provider_id for one in await store(alone).unreported(["a"], alone.now, 2)} == {"0"}


NOTICE: dict[str, Any] = {"kind": "notice", "customer": "A", "channel": "mobile", "contact_version": 2}


@pytest.mark.parametrize(
    ("work", "known", "dead"),
    [
        ({}, None, 2),
        ({"kind": "code"}, None, None),
        ({"contact_version": None}, None, None),
        ({"channel": None}, None, None),
        ({"customer": None}, None, None),
        ({"id": "N"}, None, None),
        ({"id": "O"}, None, None),
        ({}, 1, 2),
        ({}, 2, 2),  # as of now
        ({}, 3, 3),
    ],
)
async def test_a_notice_that_failed_marks_its_own_contact_and_no_newer_one(
    alone: Alone, work: dict[str, Any], known: int | None, dead: int | None
) -> None:
    await alone.people("A")
    await worked(alone, **{**NOTICE, **work})
    for message, gateway, provider in (("M", "a", "1"), ("N", "a", "2"), ("O", "b", "1")):
        await taken(alone, message, gateway, provider)
    if known is not None:
        await alone.add("unreachable_contacts", customer="A", channel="mobile", version=known, since=0)
    assert await store(alone).reported("a", Report("1", FAILED), alone.now)
    assert await alone.values("unreachable_contacts", "customer", "version") == ({} if dead is None else {"A": dead})
    since = await alone.values("unreachable_contacts", "customer", "since")
    assert since == ({} if dead is None else {"A": 0 if dead == known == 3 else alone.ago()})


async def test_a_reminder_that_failed_marks_its_contact_and_not_another_messages(alone: Alone) -> None:
    await alone.people("A", "B", "C")
    for name, gateway, provider in (("A", "a", "1"), ("B", "a", "2"), ("C", "b", "1")):
        row = {"day": "2026-03-31", "earliest": "2026-03-31", "due_at": 0, "until": 0, "contact_version": 1}
        await alone.add("reminders", id=name, customer=name, channel="email", **row)
        await taken(alone, name, gateway, provider)
    assert await store(alone).reported("a", Report("1", FAILED), alone.now)
    assert await alone.values("unreachable_contacts", "customer", "channel") == {"A": "email"}


async def test_what_arrived_frees_the_contact_that_it_arrived_at_and_no_other(alone: Alone) -> None:
    await alone.people("A", "B")
    await worked(alone, **NOTICE)
    await worked(alone, "N", **{**NOTICE, "customer": "B"})
    await worked(alone, "O", **{**NOTICE, "channel": "email"})
    for message, gateway, provider in (("M", "a", "1"), ("N", "a", "2"), ("O", "b", "1")):
        await taken(alone, message, gateway, provider)
    for customer, channel in (("A", "mobile"), ("A", "email"), ("B", "mobile")):
        await alone.add("unreachable_contacts", customer=customer, channel=channel, version=2, since=0)

    async def dead() -> set[tuple[str, str]]:
        rows = await alone.rows("SELECT customer, channel FROM unreachable_contacts")
        return {(row["customer"], row["channel"]) for row in rows}

    await alone.change("UPDATE unreachable_contacts SET version = 3 WHERE customer = 'A' AND channel = 'mobile'")
    assert await store(alone).reported("a", Report("1", DELIVERED), alone.now)
    assert await dead() == {("A", "mobile"), ("A", "email"), ("B", "mobile")}, "another version is another contact"
    await alone.change("UPDATE unreachable_contacts SET version = 2")
    await alone.change("UPDATE deliveries SET report = NULL")
    assert await store(alone).reported("a", Report("1", DELIVERED), alone.now)
    assert await dead() == {("A", "email"), ("B", "mobile")}


CODE = {
    "order_id": "O", "customer": "A", "contact_version": 1, "nonce": b"", "kid": "k", "operation": "enrol", "spki": "s",
    "digits": 6, "reference": "r", "attempts": 0, "max_attempts": 5, "expires_at": 0, "resend_at": 0,
    "channel": "mobile", "sent_at": 1,
}  # fmt: skip


async def pumped(alone: Alone, first: dict[str, Any], others: list[str], seen: Pumping) -> bool:
    """Whether codes in these states, ten minutes old, and the first one that is otherwise, look like pumping."""
    await alone.people("A")
    await alone.add("orders", id="O", customer="A", state="bound")
    for number, said in enumerate([first, *({"state": state} for state in others)]):
        row = {"created_at": -10 * MINUTE, **said}
        await alone.add("challenges", id=f"{number}", **{**CODE, **row, "created_at": alone.ago() + row["created_at"]})
    return await SpendingRepository(alone.engine, {}, pumping=seen).pumped(alone.now)


UNCOUNTED: list[dict[str, Any]] = [
    {"created_at": -61 * MINUTE},
    {"created_at": -4 * MINUTE},  # there is time to answer it
    {"channel": "email"},
    {"sent_at": None},
]


@pytest.mark.parametrize("code", [{}, {"state": "consumed"}, *UNCOUNTED])
async def test_pumping_is_codes_by_sms_that_went_out_and_that_nobody_answered_in_time(
    alone: Alone, code: dict[str, Any]
) -> None:
    others = ["expired", "expired", "consumed"]
    found = await pumped(alone, {"state": "expired", **code}, others, Pumping(codes=3, answered_percent=26))
    assert found is (code == {})


@pytest.mark.parametrize("code", [{}, *UNCOUNTED])
async def test_an_answer_to_another_code_is_none_to_those_by_sms(alone: Alone, code: dict[str, Any]) -> None:
    seen = Pumping(codes=2, answered_percent=25)
    assert await pumped(alone, {"state": "consumed", **code}, ["expired"] * 3, seen) is (code != {})


async def test_a_code_that_was_answered_is_one_code(alone: Alone) -> None:
    seen = Pumping(codes=4, answered_percent=99)
    assert not await pumped(alone, {"state": "consumed"}, ["expired"] * 3, seen)


REPORTED = "failed:reported"
BY_MAIL: dict[str, Any] = {"kind": "notice", "channel": "email", "done_at": 1, "outcome": "sent", "attempts": 1}


@pytest.mark.parametrize(
    ("work", "known"),
    [
        pytest.param({}, True, id="sent"),
        pytest.param({"done_at": None, "outcome": None}, True, id="begun"),
        pytest.param({"done_at": None, "outcome": None, "attempts": 0}, False, id="not begun"),
        pytest.param({"outcome": "failed:content"}, False, id="given up"),
        pytest.param({"kind": "code"}, False, id="a code, whose attempts are on record"),
        pytest.param({"channel": "mobile"}, False, id="an SMS"),
        pytest.param({"id": "N"}, False, id="another message"),
    ],
)
async def test_a_notice_that_comes_back_is_one_that_went_out_by_mail(
    alone: Alone, work: dict[str, Any], known: bool
) -> None:
    await worked(alone, "other", **BY_MAIL)
    await worked(alone, **{**BY_MAIL, **work})
    answers = [await store(alone).returned("smtp", "M", Report("", FAILED, "550"), alone.now) for _ in range(2)]
    assert answers == [known, False]  # once, though a mail may come back more often
    assert await alone.values("deliveries", "message", "report") == ({"M": "failed"} if known else {})
    said = [one for one, outcome in (await alone.values("work", "id", "outcome")).items() if outcome == REPORTED]
    assert said == ["M"] * (known and "done_at" not in work)  # a row of work that goes on is not ended by it


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"fate": Fate.TAKEN}, True),
        ({"fate": Fate.UNKNOWN}, True),  # the answer was lost
        ({"fate": Fate.BEGUN}, True),
        ({"fate": Fate.LATER}, False),
        ({"fate": Fate.REFUSED}, False),
        ({"gateway": "b"}, False),
        ({"message": "N"}, False),
    ],
)
async def test_a_mail_that_comes_back_names_its_message_and_that_was_given_to_this_gateway(
    alone: Alone, row: dict[str, Any], known: bool
) -> None:
    await worked(alone)
    await taken(alone, **{"provider": None, **row})
    assert await store(alone).returned("a", "M", Report("", FAILED, "550"), alone.now) is known
    assert await alone.rows("SELECT report, report_detail FROM deliveries") == [
        {"report": "failed" if known else None, "report_detail": "550" if known else None}
    ]
    assert await alone.values("work", "id", "outcome") == {"M": "failed:reported" if known else "sent"}
