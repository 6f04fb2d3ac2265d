"""The two operators' ceremony: what it makes, what opens it, what it writes down, and what it does not take."""

import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from pydantic import SecretStr

from chopmark.authorities import Means
from chopmark.ca.asked import Asked
from chopmark.ca.folder import Folder
from chopmark.keys.keyring import NoShares
from chopmark.keys.shares import Lock, Shares
from chopmark.main import NotReady, build, founding
from chopmark.operating_ca import ceremony, share
from chopmark.settings import Settings
from chopmark.words import Secret
from tests.contract.world import ANN, ROWS, START, Clock, Dice, World
from tests.machine import program
from tests.vectors.pki.house import pem

ONE, TWO = "1111-first operator's share", "2222-second operator's share"
WHO = Asked(one="Amy Chen", two="Ben Wu", witness=("Carol Lin",))


def settings(folder: Path, **other) -> Settings:
    return Settings(**{"mode": "demo", "data": folder / "data", **other})


def with_shares(chosen: Settings) -> Settings:
    return chosen.model_copy(update={"ca_share_one": SecretStr(ONE), "ca_share_two": SecretStr(TWO)})


def opening(clock: Clock) -> Callable:
    @asynccontextmanager
    async def opened(chosen: Settings, shares: Shares | None) -> AsyncIterator[Means]:
        async with founding(chosen, clock, Dice(Random(7)), shares=shares) as means:
            yield means

    return opened


def typing(*lines: str) -> Callable[[str], str]:
    left = list(lines)
    return lambda prompt: left.pop(0)


BOTH = (ONE, ONE, TWO, TWO)


async def hold(folder: Path, asked: Asked = WHO, typed: tuple[str, ...] = BOTH, *, rollover=False, clock=None, **other):
    """Hold a ceremony as the command does, with a cheap lock."""
    chosen = other.pop("settings", None) or settings(folder, **other)
    return await ceremony(
        chosen,
        Folder(folder / "ceremony"),
        asked,
        rollover=rollover,
        ask=typing(*typed),
        opening=opening(clock or Clock()),
        memory_kib=64,
    )


async def start(chosen: Settings, clock: Clock | None = None) -> World:
    clock, dice = clock or Clock(), Dice(Random(8))
    house = await build(chosen, clock, dice)
    await house.intake.add(ROWS.values(), "alice")
    return World(house, clock, dice, chosen.database_url)


async def test_a_ceremony_founds_a_ca_that_issues(tmp_path: Path) -> None:
    assert await hold(tmp_path) == 0
    world = await start(with_shares(settings(tmp_path)))
    await world.to_active(ANN)
    await world.close()
    left = {path.name for path in (tmp_path / "ceremony").iterdir()} - {".lock"}
    assert left == {
        "plan.json",
        "journal.json",
        "root.key.pem",
        "root.pem",
        "issuing.pem",
        "responder.pem",
        "root.crl.pem",
        "transcript.txt",
    }
