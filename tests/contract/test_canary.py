"""Canaries (I17): what must be nowhere is looked for everywhere: database pages, WAL, every table, leaves, logs."""

import io
import re
from collections.abc import Iterator, MutableMapping
from datetime import date
from typing import Any

import asyncpg
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.client.signing import ClientKey
from chopmark.core.types import Channel, CustomerId, Operation, Reason, Secret
from chopmark.identity.password import hash_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from tests.contract.world import ANN, BEN, ROWS, World, refusal, world_fixture

world = world_fixture(code_digits=10)
PASSWORD = Secret("Canary-Password-97531")


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Everything that structlog is given, before any processor can drop it."""
    with structlog.testing.capture_logs() as entries:
        yield entries


def raw(key: ClientKey) -> bytes:
    assert isinstance(key.private_key, ec.EllipticCurvePrivateKey)
    return key.private_key.private_numbers().private_value.to_bytes(32, "big")


def pkcs8(key: ClientKey) -> bytes:
    return key.private_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def everything(world: World) -> bytes:
    """Every byte that is kept: the database's files or tables, and what lies in the data directory but secrets."""
    folder = world.services.foundation.settings.data
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    if world.url.startswith("postgresql"):
        connection = await asyncpg.connect(world.url)
        try:
            names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for name in names:
                dump = io.BytesIO()
                await connection.copy_from_query(f'SELECT * FROM "{name[0]}"', output=dump, format="binary")
                kept.append(dump.getvalue())
        finally:
            await connection.close()
    return b"\n".join(kept)


async def journeys(world: World) -> tuple[set[str], list[ClientKey]]:
    """Walk every way with codes, right and wrong; return the codes and the keys."""
    codes: set[str] = set()
    keys: list[ClientKey] = []
    phc = hash_password(PASSWORD, world.dice.token(16))
    await world.services.identity.sessions.set_password(
        PasswordRow(CustomerId(ANN), phc, PasswordKind.DEMO, None), "alice"
    )
    await world.services.identity.sessions.sign_in(ANN, PASSWORD, "192.0.2.7", None)
    await refusal(world.services.identity.sessions.sign_in(ANN, Secret("Canary-Password-86420"), "192.0.2.7", None))
    for customer in (ANN, BEN):
        errand = await world.to_sent(customer)
        codes |= {await errand.code(), await errand.wrong_code()}
        await refusal(errand.answer(await errand.wrong_code()))
        await world.work()
        world.clock.later(seconds=60)
        await errand.send(Channel.EMAIL)
        await world.work()
        codes.add(await errand.code())
        await errand.answer(await errand.code())
        await refusal(errand.birth_date(date(1944, 4, 4)))
        await errand.birth_date()
        await errand.confirm()
        await errand.prove()
        keys.append(errand.key)
    world.clock.later(days=340)
    errand = await world.to_sent(ANN, Operation.REKEY)
    codes.add(await errand.code())
    await errand.answer(await errand.code())
    await errand.birth_date()
    await errand.confirm()
    await errand.prove()
    keys.append(errand.key)
    errand = await world.to_revoke(BEN, Reason.LOST)
    await errand.send()
    codes.add(await errand.code())
    await errand.answer(await errand.code())
    await errand.revoke()
    await world.work()
    return codes, keys


def spellings_of_people() -> set[str]:
    """Birth dates, contacts, ids and names as they could be written down."""
    words: set[str] = {"1944-04-04", "19440404"}
    for row in (ROWS[ANN], ROWS[BEN]):
        born = date.fromisoformat(row["birth_date"])
        roc = f"{born.year - 1911:03d}{born:%m%d}"
        words |= {row["birth_date"], f"{born:%Y%m%d}", f"{born:%Y/%m/%d}", roc}
        words |= {row["person_id"], row["name"], row["mobile"], row["mobile"][1:], row["email"]}
    return words


async def test_i17_codes_passwords_people_and_keys_are_nowhere(
    world: World, logged: list[MutableMapping[str, Any]]
) -> None:
    codes, keys = await journeys(world)
    assert len(codes) >= 6
    assert all(re.fullmatch(r"[0-9]{10}", code) for code in codes)
    kept = await everything(world) + repr(logged).encode()
    assert ANN.encode() in kept  # the net has caught what may be there
    assert str(keys[0].spki_sha256.hex()).encode() in kept
    secrets = {*codes, PASSWORD.reveal(), "Canary-Password-86420", *spellings_of_people()}
    found = {secret for secret in secrets if secret.encode() in kept or secret.encode("utf-16-le") in kept}
    assert found == set()
    for key in keys:
        for form in (raw(key), raw(key).hex().encode(), pkcs8(key)):
            assert form not in kept
    assert (await world.audit()).findings == ()


async def test_the_canary_net_has_no_holes(world: World) -> None:
    """What is really written down in clear is found, in the database as in its newest pages."""
    await world.change("INSERT INTO installation (name, value) VALUES ('canary', :value)", value="9876543210")
    assert b"9876543210" in await everything(world)
