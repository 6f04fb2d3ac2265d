"""Which jobs go on failing, on record for other processes: by host, since when, gone when it works again."""

from datetime import timedelta

from chopmark.cli import check
from chopmark.store.repositories.failing import SHOWN_FOR, FailingJobs
from tests.contract.world import START, World, world_fixture

world = world_fixture()
MINUTE = timedelta(minutes=1)


def at(world: World, place: str) -> FailingJobs:
    return FailingJobs(world.services.foundation.engine, world.clock, place)


async def test_a_failing_job_is_on_record_since_its_alarm_until_it_works_again(world: World) -> None:
    here, there = at(world, "worker at a"), at(world, "worker at b")
    await here.failing("sequence", 7, "TreeBroken")
    await there.failing("publish", 7, "SignerUnavailable")
    world.clock.later(minutes=1)
    await here.failing("sequence", 8, "KeyError")
    one, two = sorted(await here.all(), key=lambda job: job.job, reverse=True)
    assert (one.job, one.place, one.failures, one.error) == ("sequence", "worker at a", 8, "KeyError")
    assert (one.since, one.last) == (START, START + MINUTE)
    assert two.place == "worker at b"
    await there.well("sequence")
    assert len(await here.all()) == 2
    await here.well("sequence")
    await here.well("sequence")
    assert [job.job for job in await here.all()] == ["publish"]


async def test_what_a_host_that_is_no_more_left_behind_is_not_shown_for_ever(world: World) -> None:
    here = at(world, "worker at a")
    await here.failing("sequence", 7, "TreeBroken")
    world.clock.later(seconds=SHOWN_FOR.total_seconds())
    assert await here.all() == []
    await here.failing("sequence", 7, "TreeBroken")
    assert (await here.all())[0].since == START + SHOWN_FOR


async def test_the_operators_check_has_a_line_for_it(world: World) -> None:
    assert await check.failing_jobs(world.services) == []
    await at(world, "worker at a").failing("sequence", 7, "TreeBroken")
    said = "the job sequence of the worker at a has failed 7 times in a row since 2026-03-31 04:00 UTC, "
    said += "last at 04:00 with TreeBroken: its log has the reason"
    assert await check.failing_jobs(world.services) == [said]
