"""Two servers, two workers, PostgreSQL, gateways that misbehave in turn: no code twice by one gateway, none lost.

What a gateway hears is counted whatever becomes of its answer. A code is lost when neither a phone shows it nor the
page says within `PATIENT_S` that it could not be delivered.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from bench import people
from bench.fill import fill, job_of
from bench.site import Site, founded
from bench.template import played
from chopmark.jobs.deliver import LEASE_S
from chopmark.testing.http_stub import Mode
from tests import postgres
from tests.journey.counter import apart
from tests.soak.carriers import NAMES, House, Seen, opened, percentile, told

CUSTOMERS = 600
WAVE, OVER_S, STORM, MORE_WAVES = 12, 3.0, 60, 12
MISBEHAVIOURS = (
    Mode.HANG,
    Mode.RESET,
    Mode.DEAF,
    Mode.DRIP,
    Mode.GARBAGE,
    Mode.HUGE,
    Mode.BROKEN,
    Mode.BUSY,
    Mode.BIG5,
)


@pytest.fixture(scope="module")
def site(postgres_cluster: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation with customers who may renew now."""
    dsn = apart(postgres_cluster.fresh_database())
    with founded(dsn, journal_dir=tmp_path_factory.mktemp("outside")) as made:
        fill(job_of(made.settings, apart(played(made.settings, datetime.now(UTC)))), made.data, 1, CUSTOMERS + 1)
        yield made
    apart(postgres_cluster.drop(dsn))


def sent_once(house: House) -> None:
    """No gateway got a text twice, and whoever got a code of a challenge got the same one."""
    codes: dict[tuple[str, str], set[str]] = {}
    for gateway, texts in house.carriers.texts().items():
        twice = [again for again in Counter(texts).values() if again > 1]
        assert twice == [], f"{gateway} got a text twice"
        for seen in house.seen:
            mine = [text for number, text in texts if number == seen.number and seen.reference in text]
            assert len(mine) <= 1, f"{gateway} got a code twice"
            for text in mine:
                codes.setdefault((seen.number, seen.reference), set()).update(re.findall(r"(?<!\d)\d{6}(?!\d)", text))
    assert all(len(found) == 1 for found in codes.values())


def none_lost(seen: list[Seen]) -> None:
    """Each customer had the code, which was right, or was told by the page."""
    assert [one for one in seen if not one.code and not one.said_after_s] == []
    assert all(one.right for one in seen if one.code)


async def no_code_stays(house: House) -> None:
    """Neither logs nor database keep a code or a number."""
    logs = house.logs()
    rows: list[str] = []
    connection = await asyncpg.connect(house.site.settings.database)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in tables:
            rows += [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table['tablename']} t")]
    finally:
        await connection.close()
    kept = "\n".join(rows)
    assert len(kept) > 100_000
    digits = set(re.findall(r"(?<![0-9a-fA-F])[0-9]{6}(?![0-9a-fA-F])", kept + logs))
    codes = {seen.code for seen in house.seen if seen.code}
    assert len(codes) > 100
    assert not codes & digits
    # Whole numbers, in each spelling: certificates are dumped as hexadecimal digits, among which any may stand.
    numbers = re.findall(r"(?<![0-9a-fA-F])(?:\+?886|0)?(9[0-9]{8})(?![0-9a-fA-F])", kept + logs)
    assert not {seen.number.removeprefix("+886") for seen in house.seen} & set(numbers)


async def reported_twice(house: House) -> None:
    """Mitake reports what it sent, each report twice."""
    for sms in tuple(house.carriers.mitake.phone)[-WAVE:]:
        if "response" in sms.fields:
            for code in ("4", "4"):
                await house.carriers.mitake.report(sms, code)


async def test_gateways_that_misbehave_in_turn_send_no_code_twice_and_lose_none(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as house:
        # 1. All is well, but for the first gateway, whose certificate has ended: it hears nothing.
        calm = await house.wave(3 * WAVE, 3 * OVER_S)
        none_lost(calm)
        assert [one for one in calm if not one.code] == []
        assert house.carriers.expired.heard == []
        told("calm", customers=len(calm), **figures(calm))
        # 2. Each gateway in turn, in every way, with every second message; those before it in the list are busy.
        for name in NAMES:
            stub = house.carriers.take_turns(name, MISBEHAVIOURS)
            stormy = await house.wave(STORM, STORM / 5)
            for _ in range(
                MORE_WAVES
            ):  # the last gateway rests after three faults in a row, and no other takes its turn
                if all(stub.met[mode] for mode in MISBEHAVIOURS):
                    break
                stormy += await house.wave(WAVE, 4 * OVER_S)
            await reported_twice(house)
            none_lost(stormy)
            assert {mode for mode in MISBEHAVIOURS if not stub.met[mode]} == set(), name
            arrived = [one for one in stormy if one.code]
            assert name == "smpp" or arrived == stormy  # there was another gateway, and it was well
            told(f"{name} misbehaves", customers=len(stormy), arrived=len(arrived), **figures(arrived))
        # 3. Numbers behind which the first gateway waits for ever: others are not delayed.
        house.carriers.let()
        await asyncio.sleep(31)  # the breakers have closed: what was open before is no part of this
        first = house.next_customer
        house.carriers.mitake.holes = {"0" + people.mobile(first + n).removeprefix("+886") for n in range(0, 60, 5)}
        mixed = await house.wave(60, 12.0)
        none_lost(mixed)
        others = [one for one in mixed if "0" + one.number.removeprefix("+886") not in house.carriers.mitake.holes]
        told("one number in five is a black hole", customers=len(others), **figures(others))
        assert percentile([one.after_s for one in others], 0.99) < 5.0
        # 4. All of them fail: the page says so.
        house.carriers.let(mitake=Mode.BUSY, every8d=Mode.BUSY, smpp=Mode.BUSY)
        silent = await house.wave(WAVE, OVER_S)
        none_lost(silent)
        assert all(one.said_after_s for one in silent)
        assert max(one.said_after_s for one in silent) < 7.0  # five seconds, and the test's own looks
        told("no gateway takes anything: the page says so", customers=len(silent), **figures(silent, said=True))
        sent_once(house)
        await no_code_stays(house)


def figures(seen: list[Seen], *, said: bool = False) -> dict[str, float]:
    """Return seconds until the code was on the phone, or until the page said that it was not."""
    after = [one.said_after_s if said else one.after_s for one in seen]
    return {f"p{share}": round(percentile(after, share / 100), 2) for share in (50, 95, 99)}


async def test_a_worker_killed_in_mid_send_leaves_its_code_to_the_next_gateway_and_never_to_the_same(
    site: Site, tmp_path: Path
) -> None:
    async with opened(site, tmp_path, CUSTOMERS - 20) as house:
        house.kill("worker 2")
        house.carriers.let(mitake=Mode.HANG)
        asking, seen = await house.customer(house.next_customer)
        house.seen.append(seen)
        while house.carriers.code(seen.number, seen.reference) is None:  # noqa: ASYNC110 - Mitake has it, says nothing
            await asyncio.sleep(0.01)
        house.kill("worker 1")
        assert seen.number not in {number for number, _ in house.carriers.texts()["every8d"]}
        house.carriers.let()
        house.start("worker 1")
        house.start("worker 2")
        said = False
        for _ in range(LEASE_S + 30):
            order = await asking.api("look", "GET", f"/orders/{asking.order['id']}", {})
            said = said or bool(order["challenge"]["undelivered"])
            if any(number == seen.number for number, _ in house.carriers.texts()["every8d"]):
                break
            await asyncio.sleep(1)
        assert said  # while nobody sent it
        mine = {
            name: [text for to, text in texts if to == seen.number] for name, texts in house.carriers.texts().items()
        }
        assert len(mine["mitake"]) == len(mine["every8d"]) == 1
        assert mine["mitake"] == mine["every8d"]
        seen.code = house.carriers.code(seen.number, seen.reference) or ""
        answer = await asking.api("code", "POST", f"/orders/{asking.order['id']}/code", {"code": seen.code})
        assert answer["next"] != "code"
        sent_once(house)
        asking.means.connection.close()
