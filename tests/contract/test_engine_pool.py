"""The pool lends each connection to one caller at a time, and none that is of no use any more."""

import asyncio
from dataclasses import dataclass, field

import pytest

from chopmark.core.refusal import Refused
from chopmark.store.engine.postgres_pool import Pool


@dataclass
class Connection:
    """What the pool asks of a connection."""

    number: int
    closed: bool = False
    in_transaction: bool = False

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return self.in_transaction

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's own signature
        self.closed = timeout > 0


@dataclass
class Server:
    made: list[Connection] = field(default_factory=list)
    down: bool = False

    async def connect(self) -> Connection:
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionRefusedError
        self.made.append(Connection(len(self.made)))
        return self.made[-1]


async def waiting(pool: Pool, count: int) -> list["asyncio.Task[Connection]"]:
    tasks = [asyncio.create_task(pool.take()) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_no_more_connections_than_allowed_and_each_with_one_caller() -> None:
    server = Server()
    pool = Pool(server.connect, 2)
    first, second, third, fourth = await waiting(pool, 4)
    assert first.result() is not second.result()
    assert not third.done()
    pool.give(first.result())
    assert await third is first.result()
    pool.give(second.result())
    assert await fourth is second.result()
    assert len(server.made) == 2


async def test_who_waits_is_not_overtaken() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    held = await pool.take()
    (patient,) = await waiting(pool, 1)
    pool.give(held)
    (late,) = await waiting(pool, 1)
    assert patient.done()
    assert not late.done()
    pool.give(await patient)
    assert await late is held


@pytest.mark.parametrize("fault", ["closed", "in_transaction"])
async def test_a_connection_of_no_use_is_not_lent_again(fault: str) -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    held = await pool.take()
    (next_one,) = await waiting(pool, 1)
    setattr(held, fault, True)
    pool.give(held)
    assert await next_one is server.made[1]
    assert held.closed


async def test_a_connection_that_was_lost_while_idle_is_replaced() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    pool.give(held := await pool.take())
    held.closed = True
    assert await pool.take() is server.made[1]


async def test_who_stops_waiting_takes_no_connection_along() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    held = await pool.take()
    gone, other = await waiting(pool, 2)
    pool.give(held)
    gone.cancel()
    assert await other is held


async def test_who_stops_waiting_leaves_the_room_for_another_connection_to_the_next() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    held = await pool.take()
    gone, other = await waiting(pool, 2)
    held.closed = True
    pool.give(held)
    gone.cancel()
    assert await other is server.made[1]


@dataclass
class Renewing:
    """Renews connections, or finds that they are lost, or that their server is silent."""

    renewed: list[int] = field(default_factory=list)
    now: float = 0.0
    lost: bool = False
    silent: bool = False

    async def renew(self, connection: Connection) -> None:
        self.renewed.append(connection.number)
        if self.silent:
            raise TimeoutError
        connection.closed = self.lost

    def tick(self) -> float:
        return self.now


async def test_a_connection_is_renewed_when_it_is_lent_after_twice_as_long_each_time_up_to_five_minutes() -> None:
    server, renewing = Server(), Renewing()
    pool = Pool(server.connect, 1, renewing.renew, renewing.tick)
    at = []
    for second in range(1500):
        renewing.now = second
        before = len(renewing.renewed)
        pool.give(await pool.take())
        at += [second] * (len(renewing.renewed) - before)
    assert at == [5, 15, 35, 75, 155, 315, 615, 915, 1215]


async def test_a_connection_that_nobody_used_for_long_is_renewed_once() -> None:
    server, renewing = Server(), Renewing()
    pool = Pool(server.connect, 1, renewing.renew, renewing.tick)
    for renewing.now in (0, 4, 1000, 1009, 1010):
        pool.give(await pool.take())
    assert renewing.renewed == [0, 0], "at 1000 s, and ten seconds later"


async def test_a_connection_that_is_found_lost_when_it_is_renewed_is_replaced() -> None:
    server, renewing = Server(), Renewing(lost=True)
    pool = Pool(server.connect, 1, renewing.renew, renewing.tick)
    pool.give(await pool.take())
    renewing.now = 300
    held = await pool.take()
    assert held is server.made[1]
    (other,) = await waiting(pool, 1)
    assert not other.done()
    pool.give(held)
    assert await other is held


async def test_a_server_that_is_silent_when_a_connection_is_renewed_is_doubted() -> None:
    server, renewing = Server(), Renewing(silent=True)
    pool = Pool(server.connect, 2, renewing.renew, renewing.tick)
    first, second = await pool.take(), await pool.take()
    pool.give(first)
    pool.give(second)
    renewing.now = 300
    with pytest.raises(TimeoutError):
        await pool.take()
    assert first.closed
    assert second.closed
    assert [(await pool.take()).number for _ in range(2)] == [2, 3]


async def test_a_server_that_is_down_does_not_use_up_the_pool() -> None:
    server = Server(down=True)
    pool = Pool(server.connect, 1)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await pool.take()
    server.down = False
    assert await pool.take() is server.made[0]


async def test_a_closed_pool_waits_for_what_is_lent_and_lends_no_more() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    held = await pool.take()
    (patient,) = await waiting(pool, 1)
    closing = asyncio.create_task(pool.close())
    with pytest.raises(Refused):
        await patient
    assert not closing.done()
    pool.give(held)
    await closing
    assert held.closed
    with pytest.raises(Refused):
        await pool.take()


async def test_a_server_that_was_silent_is_doubted_by_both_pools_and_asked_anew() -> None:
    server = Server()
    writers, readers = Pool(server.connect, 3), Pool(server.connect, 2)
    writers.beside, readers.beside = readers, writers
    silent, idle, read = await writers.take(), await writers.take(), await readers.take()
    writers.give(idle)
    readers.give(read)
    silent.terminate()
    writers.doubt()
    writers.give(silent)
    assert idle.is_closed()
    assert read.is_closed()
    fresh = [await writers.take(), await writers.take(), await writers.take(), await readers.take()]
    assert [connection.number for connection in fresh] == [3, 4, 5, 6]
