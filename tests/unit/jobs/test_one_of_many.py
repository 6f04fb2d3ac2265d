"""One row, kind, list or CA that makes a job fail keeps no other from being done, and the job says so all the same."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chopmark.app.issuing_cas import for_each_living
from chopmark.app.operators import EndingsLook
from chopmark.core.each import each
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.jobs.alarms import OperatorsTold
from chopmark.jobs.cleanup import CleanUp
from chopmark.jobs.journal import JournalCheck
from chopmark.jobs.resume import Resume
from chopmark.messaging.alarms import Alarm, AlarmKind, Due, Note
from chopmark.messaging.reports import DeliveryReports, Report, ReportState
from chopmark.va.former.lists import ListRefresh
from chopmark.va.former.ports import ListSource
from chopmark.va.ports import CrlShard, LastCrl
from chopmark.va.publisher import Publisher

NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)
CLOCK = cast(Any, SimpleNamespace(now=lambda: NOW))
AWAY = Refused(Refusal(Kind.UNAVAILABLE, text("Please try again."), code="away"))
MALFORMED = Refused(Refusal(Kind.MALFORMED, text("Please try again."), code="nul"))


class Bad(Exception):
    """What the bad one raises."""


class Doing:
    """Does things one by one, and fails at those that are bad."""

    def __init__(self, *bad: object, failure: Exception | None = None) -> None:
        self.bad = set(bad)
        self.failure = failure or Bad()
        self.done: list[Any] = []

    async def do(self, thing: Any) -> int:
        if thing in self.bad:
            raise self.failure
        self.done.append(thing)
        return 1


async def test_each_is_done_in_turn_and_the_first_failure_is_raised_at_the_end() -> None:
    doing = Doing(2, 4)
    with pytest.raises(Bad):
        await each((1, 2, 3, 4, 5), doing.do)
    assert doing.done == [1, 3, 5]
    assert await each((1, 3), doing.do) == [1, 1]


async def test_an_order_that_cannot_be_ended_keeps_no_other_from_it() -> None:
    async def stuck(states: tuple[str, ...], before: datetime, limit: int) -> list[str]:
        del before, limit
        return ["a", "b"] if "open" in states else ["c"]

    doing = Doing("a")
    policy = SimpleNamespace(unproven_after=timedelta(hours=72))
    parts = cast(Any, SimpleNamespace(stuck=stuck, expire=doing.do))
    with pytest.raises(Bad):
        await Resume(parts, parts, parts, parts, cast(Any, policy), CLOCK).overdue()
    assert doing.done == ["b", "c"]


async def test_a_line_of_the_journal_that_cannot_be_repeated_keeps_no_later_one_from_it() -> None:
    async def look() -> int:
        return 0

    redone: list[Any] = []

    async def redo(lines: Any) -> object:
        if lines == ["a"]:
            raise Bad
        redone.extend(lines)
        return None

    watch = cast(Any, SimpleNamespace(look=look, undone=lambda: ("a", "b"), behind=False))
    with pytest.raises(Bad):
        await JournalCheck(watch, redo).once()
    assert redone == ["b"]


async def test_rows_that_cannot_be_deleted_keep_no_other_kind_from_being_deleted_and_the_night_is_not_over() -> None:
    marked: list[str] = []

    class Kinds:
        count, batch = 3, 200

        def __init__(self, doing: Doing) -> None:
            self.doing = doing

        async def cleaned(self) -> str | None:
            return None

        async def mark(self, night: str) -> None:
            marked.append(night)

        async def delete(self, number: int, holder: str, now: datetime) -> int | None:
            del holder, now
            return await self.doing.do(number)

    doing = Doing(0)
    with pytest.raises(Bad):
        await CleanUp(Kinds(doing), CLOCK, "worker").once()
    assert (doing.done, marked) == ([1, 2], [])
    assert await CleanUp(Kinds(Doing()), CLOCK, "worker").once() == 0
    assert marked == ["2026-11-29"]


async def test_a_look_that_fails_keeps_no_alarm_from_being_told() -> None:
    looked, doing = Doing(), Doing()
    due = Due(Alarm(AlarmKind.JOB, "job:a", {"job": "a", "place": "b", "error": "c"}), NOW, over=False, told=False)

    async def fails(now: datetime) -> None:
        raise Bad

    async def looks(now: datetime) -> None:
        await looked.do(now)

    async def claim(now: datetime, lease_s: int) -> list[Due]:
        del now, lease_s
        return [due]

    async def renew(one: Due, now: datetime, lease_s: int) -> Due | None:
        del now, lease_s
        return one

    async def said(one: Due, now: datetime) -> None:
        del now
        await doing.do(one.alarm.subject)

    async def tell(note: Note, number: str, at: datetime) -> str | None:
        del note, number, at
        return None

    store = cast(Any, SimpleNamespace(claim=claim, renew=renew, said=said))
    teller = SimpleNamespace(name="pager", tell=tell)
    with pytest.raises(Bad):
        await OperatorsTold(store, [teller], [fails, looks], CLOCK, "https://portal.example").once()
    assert (looked.done, doing.done) == ([NOW], ["job:a"])


async def test_a_ca_for_which_a_job_fails_keeps_no_other_from_having_it() -> None:
    cas = [
        SimpleNamespace(name=name, authority=SimpleNamespace(view=SimpleNamespace(not_after=NOW + timedelta(days=1))))
        for name in "abc"
    ]
    doing = Doing("a")
    job = cast(Callable[[Any], Awaitable[int]], lambda ca: doing.do(ca.name))
    with pytest.raises(Bad):
        await for_each_living(cast(Any, cas), CLOCK, job)
    assert doing.done == ["b", "c"]
    assert await for_each_living(cast(Any, cas[1:]), CLOCK, job) == 2


async def test_a_shard_whose_list_cannot_be_published_keeps_no_other_from_it() -> None:
    doing = Doing(0)
    fresh = CrlShard(LastCrl(1, NOW, 0), changed=False, mark="3", beside=0)

    async def shard(issuer: str, number: int) -> Any:
        assert issuer == "ca"
        await doing.do(number)
        return fresh

    parts = cast(Any, SimpleNamespace(id="ca", shard=shard))
    with pytest.raises(Bad):
        await Publisher(parts, parts, 3, parts, parts, parts, CLOCK).publish_due()
    assert doing.done == [1, 2]


class Shows:
    """A gateway that shows when its certificate ends, or cannot be asked."""

    def __init__(self, name: str, until: datetime | None) -> None:
        self.name = name
        self.until = until

    async def certificate_until(self) -> datetime | None:
        if self.until is None:
            raise Bad
        return self.until


async def test_what_ends_is_told_beside_what_cannot_be_looked_at_and_that_is_looked_at_again() -> None:
    doing = Doing()

    async def raised(alarm: Alarm, now: datetime) -> None:
        assert now == NOW
        await doing.do(alarm.subject)

    async def not_after() -> datetime | None:
        raise Bad

    gateways = (Shows("a", None), Shows("b", NOW + timedelta(days=1)))
    services = SimpleNamespace(
        messaging=SimpleNamespace(alarms=SimpleNamespace(raised=raised), gateways=gateways),
        ca=SimpleNamespace(cas=()),
        va=SimpleNamespace(status=None, stamps=SimpleNamespace(not_after=not_after)),
    )
    look = EndingsLook(cast(Any, services))
    for _ in range(2):
        with pytest.raises(Bad):
            await look.look(NOW)
    assert doing.done == ["ending:the TLS certificate of the gateway b"] * 2


async def test_a_list_that_cannot_be_stored_keeps_no_other_from_being_fetched() -> None:
    doing = Doing("a", failure=OSError(28, "No space left on device"))

    async def kept(issuer: str) -> dict[str, Any]:
        return {}

    async def claim(issuer: str, *_: object) -> int | None:
        await doing.do(issuer)
        return None

    source = ListSource(cast(Any, (SimpleNamespace(place="there", is_address=True, scope=None),)))
    cas = [SimpleNamespace(id=name, source=source) for name in "ab"]
    lists = cast(Any, SimpleNamespace(kept=kept, claim=claim))
    with pytest.raises(OSError, match="No space"):
        await ListRefresh(cast(Any, cas), lists, cast(Any, None), CLOCK, "worker").once()
    assert doing.done == ["b"]


class Line:
    """A gateway that reports over its connection, and one that is asked."""

    report_secret = None

    def __init__(self, name: str, *came: str) -> None:
        self.name = name
        self.came = list(came)

    def arrived(self) -> list[Report]:
        came, self.came = self.came, []
        return [Report(one, ReportState.DELIVERED) for one in came]

    def read_report(self, fields: Any) -> Report | None:
        del fields
        return None

    async def ask(self, provider_ids: Any) -> list[Report]:
        if "bad" in provider_ids:
            raise Bad
        return [Report(one, ReportState.DELIVERED) for one in provider_ids]


class Reported:
    """A store of reports that is away, or refuses one of them."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.stored: list[str] = []
        self.open: list[Any] = []

    async def reported(self, gateway: str, report: Report, now: datetime) -> bool:
        del gateway, now
        if self.away:
            raise AWAY
        if report.provider_id == "bad":
            raise MALFORMED
        self.stored.append(report.provider_id)
        return True

    async def unreported(self, gateways: Any, now: datetime, most: int) -> list[Any]:
        del gateways, now, most
        return self.open


async def test_reports_that_came_while_the_database_was_away_are_stored_when_it_is_back() -> None:
    store = Reported(away=True)
    reports = DeliveryReports(cast(Any, [Line("a", "1", "bad", "2")]), cast(Any, store), CLOCK)
    with pytest.raises(Refused):
        await reports.ask()
    store.away = False
    with pytest.raises(Refused) as refused:
        await reports.ask()
    assert refused.value is MALFORMED
    assert store.stored == ["1", "2"]
    assert await reports.ask() == 0, "one that can never be stored is not tried for ever"


async def test_a_gateway_that_cannot_be_asked_keeps_no_other_from_being_asked() -> None:
    store = Reported()
    store.open = [SimpleNamespace(gateway="a", provider_id="bad"), SimpleNamespace(gateway="b", provider_id="1")]
    reports = DeliveryReports(cast(Any, [Line("a"), Line("b")]), cast(Any, store), CLOCK)
    with pytest.raises(Bad):
        await reports.ask()
    assert store.stored == ["1"]
