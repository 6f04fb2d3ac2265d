"""What a session is told is asked for afterwards, and a session that has something else is not used."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from chopmark.store.engine.port import NotDurable, Unfit
from chopmark.store.engine.postgres_route import DURABILITY, assert_apart, settle


@dataclass
class Session:
    """Takes settings and says what it has; `loses` are those that do not stay."""

    loses: set[str] = field(default_factory=set)
    pids: list[int] = field(default_factory=lambda: [7, 7])
    has: dict[str, str] = field(default_factory=lambda: dict.fromkeys(DURABILITY, "on"))

    async def fetchrow(self, _sql: str, mark: str) -> dict[str, Any]:
        return {"pid": self.pids[0], "start": "then", "mark": self.has.get(mark)}

    async def fetch(self, _sql: str, names: list[str], values: list[str] | None = None) -> list[dict[str, Any]]:
        if values is None:
            return [{"pid": self.pids[1], "name": name, "value": self.has.get(name)} for name in names]
        for name, value in zip(names, values, strict=True):
            self.has[name] = "0" if name in self.loses else value
        return [{"name": name, "value": value} for name, value in zip(names, values, strict=True)]


WANTED = {"statement_timeout": "10s", "lock_timeout": "5s"}


async def test_a_session_that_keeps_what_it_is_told_is_used():
    session = Session()
    await settle(session, WANTED, durable=True)
    assert WANTED.items() <= session.has.items()


@pytest.mark.parametrize("name", WANTED)
async def test_a_setting_that_reads_back_otherwise_is_a_sentence_that_names_it(name):
    wanted = WANTED[name]
    with pytest.raises(Unfit, match=f"{name} was set to {wanted} and is 0: .*pool_mode = session"):
        await settle(Session(loses={name}), WANTED, durable=False)


async def test_another_session_at_the_next_question_is_a_sentence():
    with pytest.raises(Unfit, match="pool_mode = session"):
        await settle(Session(pids=[7, 8]), WANTED, durable=False)


async def test_a_session_that_was_told_before_is_a_sentence():
    session = Session()
    await settle(session, WANTED, durable=False)
    with pytest.raises(Unfit, match="server_reset_query"):
        await settle(session, WANTED, durable=False)


@pytest.mark.parametrize("name", DURABILITY)
async def test_a_server_that_could_lose_commits_is_found_with_the_same_question(name):
    session = Session()
    session.has[name] = "off"
    with pytest.raises(NotDurable, match=name):
        await settle(session, WANTED, durable=True)


@dataclass(eq=False)
class Client:
    """A client of a pooler that keeps its statements and lends sessions: the one that waits longest, or the last one.

    pgbouncer of 1.21 and later carries prepared statements along; then only the sessions themselves tell.
    """

    sessions: deque[int]
    longest: bool

    async def fetchrow(self, _sql: str, _mark: str) -> dict[str, Any]:
        pid = self.sessions[0]
        if self.longest:
            self.sessions.rotate(-1)
        return {"pid": pid, "start": "then", "mark": None}


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("longest", [False, True], ids=["the last one first", "round robin"])
async def test_sessions_that_are_lent_by_turns_are_found_however_many_there_are(number, longest):
    shared = deque(range(number))
    with pytest.raises(Unfit, match="pool_mode = session"):
        await assert_apart(Client(shared, longest), Client(shared, longest))


async def test_two_sessions_of_their_own_are_two_and_stay():
    await assert_apart(Client(deque([7]), False), Client(deque([8]), False))
