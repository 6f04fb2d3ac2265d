"""Certificates by their end, read from the rows of real renewals; both databases."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from chopmark.cli.expiries import print_expiries
from chopmark.core.types import Operation
from chopmark.ra.expiries import TOLD, Cursor, Endings, Expiry, Funnel, Unreached
from chopmark.store.db import open_engine, upgrade
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole
from chopmark.store.repositories.ra.expiries import ExpiryRepository
from tests.contract.world import ANN, BEN, DAN, EVE, FAY, World, world_fixture
from tests.tables import START

world = world_fixture()
# The certificates that are made at START end on Wednesday 31 March 2027, after noon.
LAST_MORNING = datetime(2027, 3, 31, 0, 30, tzinfo=UTC)
LAST_EVENING = datetime(2027, 3, 31, 12, 0, tzinfo=UTC)


async def expiries(world: World, **how: Any) -> dict[str, Expiry]:
    services = world.services.ra.expiries
    return {row.customer: row async for row in services.all(services.window(**{"days": 30, "since": 7, **how}))}


async def reminded(world: World, customer: str, state: str = "sent", channel: str = "mobile", version: int = 1) -> None:
    """Write a reminder as the worker does."""
    certificate = world.held[customer].certificate.serial
    name, now = f"R-{customer}-{state}", int(world.clock.now().timestamp() * 1000)
    await world.change(
        "INSERT INTO reminders (id, customer, day, earliest, step, urgency, planned_at, due_at, until, state, channel,"
        " contact_version, ended_at) VALUES (:id, :customer, :day, :day, '1', 999, :now, :now, :now, :state, :channel,"
        " :version, :now)",
        id=name, customer=customer, day=name, now=now, state=state, channel=channel, version=version,
    )  # fmt: skip
    await world.change(
        "INSERT INTO reminded_certificates (certificate, step, reminder, at) VALUES (:certificate, '1', :id, :now)",
        certificate=certificate, id=name, now=now,
    )  # fmt: skip


async def dead(world: World, customer: str, channel: str, version: int) -> None:
    await world.change(
        "INSERT INTO unreachable_contacts (customer, channel, version, why, since)"
        " VALUES (:customer, :channel, :version, 'destination', :now)",
        customer=customer, channel=channel, version=version, now=int(world.clock.now().timestamp() * 1000),
    )  # fmt: skip


async def version_of(world: World, customer: str, channel: str) -> int:
    (row,) = await world.rows(
        "SELECT version FROM contacts WHERE customer = :customer AND channel = :channel",
        customer=customer,
        channel=channel,
    )
    return int(row["version"])


async def test_each_certificate_shows_how_far_its_renewal_has_come(world: World) -> None:
    for customer in (ANN, BEN, DAN, EVE, FAY):
        await world.to_active(customer)
    world.clock.at = LAST_MORNING - timedelta(days=3)
    await reminded(world, BEN, version=await version_of(world, BEN, "mobile"))
    await world.open(DAN, Operation.REKEY)
    await world.to_issued(EVE, Operation.REKEY)
    await world.to_active(FAY, Operation.REKEY)
    found = await expiries(world)
    assert {customer: row.funnel for customer, row in found.items()} == {
        ANN: Funnel.QUIET,
        BEN: Funnel.REACHED,
        DAN: Funnel.OPENED,
        EVE: Funnel.RENEWED,
        FAY: Funnel.PROVEN,
    }
    assert not any(row.cannot_trade for row in found.values())
    assert {row.last_trading_day.isoformat() for row in found.values()} == {"2027-03-31"}
    assert found[ANN].trading_days_left == 3, "Monday to Wednesday"
    world.clock.at = LAST_EVENING
    found = await expiries(world)
    assert sorted(c for c, row in found.items() if row.cannot_trade) == [ANN, BEN, DAN, EVE]
    assert sorted(c for c, row in found.items() if row.unnoticed) == [ANN]


async def test_who_has_lapsed_stays_in_the_list_until_the_days_are_over_or_a_new_one_is_in_use(world: World) -> None:
    await world.to_active(ANN)
    world.clock.at = LAST_EVENING + timedelta(days=7)
    assert (await expiries(world))[ANN].cannot_trade
    assert await expiries(world, since=6) == {}
    await world.to_active(ANN, Operation.ENROL)
    found = (await expiries(world))[ANN]
    assert (found.funnel, found.cannot_trade) == (Funnel.PROVEN, False)


async def test_a_reminder_to_a_dead_contact_reached_nobody(world: World) -> None:
    await world.to_active(DAN)  # has a mobile and no mail address
    await world.to_active(EVE)  # the other way round
    world.clock.at = LAST_MORNING
    for customer, channel in ((DAN, "mobile"), (EVE, "email")):
        version = await version_of(world, customer, channel)
        await reminded(world, customer, channel=channel, version=version)
        await dead(world, customer, channel, version)
    found = await expiries(world)
    assert (found[DAN].funnel, found[DAN].unreached) == (Funnel.QUIET, Unreached.NUMBER_DEAD)
    assert (found[EVE].funnel, found[EVE].unreached) == (Funnel.QUIET, Unreached.BOUNCED)
    world.clock.at += timedelta(days=61)
    assert (await expiries(world, since=90))[EVE].unreached is None, "it is tried again"
    world.clock.at -= timedelta(days=61)
    await world.change("UPDATE contacts SET version = version + 1 WHERE customer = :customer", customer=DAN)
    assert (await expiries(world))[DAN].unreached is None, "another number is not the dead one"
    await world.change("UPDATE contacts SET disputed_at = 1 WHERE customer = :customer", customer=DAN)
    assert (await expiries(world))[DAN].unreached is Unreached.NO_CONTACT


@pytest.mark.parametrize("state", ["planned", "unknown", "failed", "stopped", "skipped", "unreachable"])
async def test_only_a_reminder_that_was_sent_reaches_somebody(world: World, state: str) -> None:
    await world.to_active(ANN)
    world.clock.at = LAST_MORNING
    await reminded(world, ANN, state)
    assert (await expiries(world))[ANN].funnel is Funnel.QUIET


async def test_pages_continue_where_the_one_before_ended_and_miss_nobody_of_the_same_second(world: World) -> None:
    people = (ANN, BEN, DAN, EVE, FAY)
    for customer in people:
        await world.to_active(customer)
    await world.change("UPDATE holdings SET not_after = 1806480000000")
    world.clock.at = LAST_MORNING
    services = world.services.ra.expiries
    window, seen, cursor = services.window(30, 7), [], None
    for _ in range(3):
        page = await services.page(window, cursor, most=2)
        seen += [row.customer for row in page.rows]
        cursor = page.following
    assert cursor is None
    assert sorted(seen) == sorted(people)
    assert (await services.page(window, Cursor(window.until))).rows == ()


async def test_the_command_counts_and_alarms(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for customer in (ANN, BEN):
        await world.to_active(customer)
    world.clock.at = LAST_EVENING
    await reminded(world, BEN)
    expiries = world.services.ra.expiries

    async def printed(**how: Any) -> tuple[int, str]:
        code = await print_expiries(expiries, **{"days": 30, "since": 7, **how})
        return code, capsys.readouterr().out

    code, table = await printed(alarm_above=0)
    assert code == 1
    assert "2027-03-31" in table
    assert "The exchange opens next on 2027-04-01 09:00; the calendar of that year is expected" in table
    assert "Customers who cannot trade then: 2; unnoticed: 1." in table
    assert (await printed(alarm_above=1))[0] == 0
    code, lines = await printed(form="csv", only="unnoticed")
    (row,) = csv.DictReader(io.StringIO(lines))
    assert (code, row["customer"], row["cannot_trade"], row["funnel"]) == (0, ANN, "yes", "quiet")
    assert (await printed(form="csv", only="unreachable"))[1] == ",".join(TOLD) + "\n"
    _, document = await printed(form="json")
    told = json.loads(document)
    assert told["numbers"] == {"cannot_trade": 2, "unnoticed": 1, "unreachable": 0}
    assert {one["customer"] for one in told["certificates"]} == {ANN, BEN}
    assert told["days"]["2027-03-31"]["reached"] == 1
    assert told["next_session"] == "2027-04-01T09:00:00+08:00"


class Explaining:
    """An engine that returns PostgreSQL's plan of a script's first statement in place of its rows."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.plan: list[str] = []

    async def read(self, script: Any) -> Endings:
        step = next(script())

        def explained() -> Script[list[Row]]:
            return (yield whole(f"EXPLAIN {step.sql}", **step.values))

        self.plan = [row["QUERY PLAN"] for row in await self.engine.read(explained)]
        return Endings((), None)


@pytest.mark.postgres
async def test_reminders_are_found_by_their_customer_before_postgresql_has_statistics(postgres_dsn: str) -> None:
    """Otherwise it reads all reminders for each certificate, and a page takes longer than a statement may."""
    await upgrade(postgres_dsn)
    engine = await open_engine(postgres_dsn)
    explaining = Explaining(engine)
    await ExpiryRepository(cast("Engine", explaining)).after(Cursor(START), LAST_EVENING, [], START, 1000)
    await engine.close()
    found = [line for line in explaining.plan if " on reminders " in line]
    assert len(found) == 2
    assert all("using reminders_one_a_day" in line for line in found)
