"""A claim leases as many rows as it asks for: by which plan PostgreSQL finds them, a table without statistics too."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from chopmark.messaging.ports import OutboxJobKind
from chopmark.store.db import open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.messaging.alarms import AT_ONCE, AlarmRepository
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository
from tests.contract.alone import Alone

Claim: TypeAlias = Callable[[Engine, Alone], Awaitable[tuple[int, int]]]
NESTED = ("enable_hashagg", "enable_hashjoin", "enable_mergejoin", "enable_sort", "enable_material")
"""Without these PostgreSQL looks for each row among the chosen ones anew, as it does where it expects few."""
MANY = AT_ONCE + 9


async def outbox(engine: Engine, alone: Alone) -> tuple[int, int]:
    found = await OutboxRepository(engine).claim([OutboxJobKind.NOTICE], 5, "one", alone.now, 60)
    return len(found), 5


async def alarms(engine: Engine, alone: Alone) -> tuple[int, int]:
    return len(await AlarmRepository(engine).claim(alone.now, 60)), AT_ONCE


async def unreported(engine: Engine, alone: Alone) -> tuple[int, int]:
    return len(await DeliveryRepository(engine).unreported(["a"], alone.now, 5)), 5


@pytest.mark.parametrize("claim", [outbox, alarms, unreported])
async def test_a_claim_leases_so_many_rows_and_no_more(alone: Alone, tables_alone: str, claim: Claim) -> None:
    for number in range(MANY):
        await alone.add("work", id=f"{number}", kind="notice", not_before=number)
        await alone.add("alarms", subject=f"{number}", kind="job", grade=0, since=0, seen_at=0, due_at=number)
        times = {"begun_at": alone.ago(minutes=2), "ended_at": alone.ago(minutes=2)}
        await alone.add("deliveries", message=f"{number}", gateway="a", fate="taken", provider_id=f"{number}", **times)
    name = "" if alone.engine.dialect == "sqlite" else (await alone.rows("SELECT current_database() AS n"))[0]["n"]
    for setting in NESTED if name else ():
        await alone.change(f'ALTER DATABASE "{name}" SET {setting} = off')
    engine = await open_engine(tables_alone)
    try:
        claimed, most = await claim(engine, alone)
        assert claimed == most
    finally:
        await engine.close()
        for setting in NESTED if name else ():
            await alone.change(f'ALTER DATABASE "{name}" RESET {setting}')
