"""What ends soon is said 30, 14, 7 and 1 days before, by the command and by the worker; what is late is said too."""

import json
from datetime import timedelta

import pytest
import structlog.testing
from cryptography import x509

from chopmark.cli import check
from chopmark.jobs.watch import watch
from chopmark.va.alarms import Alarm, Subject, step
from tests.contract.world import ANN, World, world_fixture

world = world_fixture()


async def alarms(world: World) -> dict[str, Alarm]:
    return {f"{alarm.subject} {alarm.name}": alarm for alarm in await world.services.ca.present.watch.look()}


async def healthy(world: World) -> None:
    await world.once("publish")
    await world.once("presign")


@pytest.mark.parametrize(
    ("days", "hours", "said"), [(31, 0, None), (30, 0, 30), (14, 1, 30), (14, 0, 14), (7, 0, 7), (1, 0, 1), (-3, 0, 1)]
)
def test_i28_an_alarm_grows_at_30_14_7_and_1_days(days: int, hours: int, said: int | None) -> None:
    assert step(timedelta(days=days, hours=hours)) == said


async def test_a_fresh_installation_has_no_alarm_and_one_without_lists_has(world: World) -> None:
    assert set(await alarms(world)) == {"list investor-0"}
    await world.to_active()
    await healthy(world)
    assert await alarms(world) == {}


async def test_each_certificate_and_each_list_is_named_before_it_ends(world: World) -> None:
    view = world.services.ca.authority.view
    responder = await world.services.va.status.responder_certificate(view.id)
    assert responder is not None
    ends = {
        "responder investor": x509.load_der_x509_certificate(responder).not_valid_after_utc,
        "ca investor": view.not_after,
        "ca root": x509.load_der_x509_certificate(world.services.ca.authority.chain[-1]).not_valid_after_utc,
    }
    root_list = (await world.rows("SELECT next_update FROM crls WHERE issuer = 'root'"))[0]["next_update"]
    for name, end in ends.items():
        for days in (30, 14, 7, 1):
            world.clock.at = end - timedelta(days=days)
            found = (await alarms(world))[name]
            assert (found.days, found.ended, found.left) == (days, False, timedelta(days=days))
        world.clock.at = end
        assert (await alarms(world))[name].ended
    assert root_list < world.clock.at.timestamp() * 1000
    assert (await alarms(world))["list root-0"].ended


async def test_a_list_that_was_not_published_twice_is_an_alarm(world: World) -> None:
    await healthy(world)
    world.clock.later(hours=11, minutes=59)
    assert await alarms(world) == {}
    world.clock.later(minutes=1)
    assert (await alarms(world))["list investor-0"].left == timedelta(hours=12)


async def test_answers_that_wait_for_more_than_an_hour_are_an_alarm(world: World) -> None:
    await world.to_active(ANN)
    await healthy(world)
    world.clock.later(hours=12, minutes=59)
    await world.once("publish")
    assert await alarms(world) == {}
    world.clock.later(minutes=1)
    assert (await alarms(world))["answers investor"].subject is Subject.ANSWERS
    await world.once("presign")
    assert await alarms(world) == {}


async def test_the_worker_logs_each_alarm_and_an_end_as_an_error(world: World) -> None:
    await world.once("publish")
    world.clock.at = world.services.ca.authority.view.not_after
    with structlog.testing.capture_logs() as lines:
        assert await watch(world.services.ca.present.watch) == 0
    said = {line["kind"]: line for line in lines}
    assert (said["ca investor"]["event"], said["ca investor"]["log_level"]) == ("has ended", "error")
    assert said["ca investor"]["seconds"] == 0
    assert json.dumps(lines)


async def test_the_check_says_what_ends_soon(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reads the machine's clock; the list of this world's past is long over by it."""
    await world.once("publish")
    await check.check_installation(world.services.foundation.settings)
    assert "NOT READY: the revocation list investor-0 is late, it has ended at " in capsys.readouterr().out
