"""A restore that loses no signed head, only what came after the last one: the trail tells of it and is sound."""

from pathlib import Path
from typing import cast

import pytest

from chopmark.audit.findings import Code, Level
from tests import postgres
from tests.contract.restores import backed_up, restoring
from tests.contract.test_anchors import verified
from tests.contract.world import ANN, BEN, World, world_fixture

world = world_fixture()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, world: World) -> postgres.Cluster | None:
    on_postgres = world.url.startswith("postgresql")
    return cast(postgres.Cluster, request.getfixturevalue("postgres_cluster")) if on_postgres else None


async def test_what_waited_for_the_declaration_is_not_late_and_a_notice_names_who_and_why(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await world.once("sequence")
    backup = backed_up(world, cluster, tmp_path)
    await world.to_active(ANN)
    await backup.put_back(world)
    world.clock.later(minutes=20)
    await world.services.foundation.restorewatch.look()
    ended = await restoring(world).end("S1", "a standby took over")
    assert ended is not None
    assert ended.successor is None
    await world.services.foundation.restorewatch.look()
    await world.once("sequence")
    report = await verified(world)
    assert [(one.code, one.level) for one in report.findings] == [(Code.RECORDS_LOST, Level.NOTICE)]
    assert report.findings[0].sentence.endswith("By S1: a standby took over")
    assert await verified(world, export=tmp_path / "trail.jsonl") == report
    await world.to_key(BEN)
    world.clock.later(seconds=61)
    await world.once("sequence")
    late = [(one.code, one.level) for one in (await verified(world)).findings]
    assert (Code.PLACED_LATE, Level.ERROR) in late
