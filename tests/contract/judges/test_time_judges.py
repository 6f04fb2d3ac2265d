"""A stranger judges our tokens, of a key in a file and of one in an HSM: rfc3161-client asks and verifies."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response

from chopmark.app.settings import Settings
from chopmark.keys.keyring import PREFIX
from chopmark.pki import tsp
from tests.contract.world import Clock, Dice, World, world_fixture
from tests.installation import found_installation
from tests.softhsm import MODULE, Device, softhsm

world = world_fixture(engines=("sqlite",))
MESSAGE = b"the head of the audit tree"


@pytest.fixture
def device() -> object:
    with softhsm() as maker:
        yield maker()


@pytest.fixture
async def guarded(device: Device, tmp_path: Path) -> AsyncIterator[World]:
    """A house whose keys are in an HSM."""
    where: dict[str, Any] = {
        "hsm": {"module": str(MODULE), "token": device.label, "pin": device.pin.reveal()},
    }
    chosen = Settings(mode="demo", data=tmp_path, signer="pkcs11", **where)
    clock, dice = Clock(), Dice(Random(5))
    await found_installation(chosen, clock, dice)
    made = await World.opened(chosen, clock, dice)
    yield made
    await made.close()


async def judged(world: World, algorithm: HashAlgorithm) -> bool:
    """Ask as the stranger does, and let it verify; its verifier takes the root for the chain at the token's time."""
    asked = TimestampRequestBuilder().data(MESSAGE).hash_algorithm(algorithm).nonce(nonce=True).build()
    answer = decode_timestamp_response(await world.timestamps.answer(asked.as_bytes()))
    root = x509.load_der_x509_certificate(world.services.ca.authority.chain[-1])
    verifier = VerifierBuilder.from_request(asked).add_root_certificate(root).build()
    return verifier.verify_message(answer, MESSAGE)


@pytest.mark.parametrize("algorithm", [HashAlgorithm.SHA256, HashAlgorithm.SHA512])
async def test_rfc3161_client_accepts_a_token(world: World, algorithm: HashAlgorithm) -> None:
    await world.once("timestamp-key")
    assert await judged(world, algorithm)


async def test_a_key_in_an_hsm_stamps_and_is_missed_when_the_token_is_away(guarded: World, device: Device) -> None:
    assert await guarded.once("timestamp-key") == 1
    (row,) = await guarded.rows("SELECT stored_key FROM timestamp_keys")
    assert bytes(row["stored_key"]) == PREFIX + b"chopmark-investor-tsa"
    assert await judged(guarded, HashAlgorithm.SHA256)
    device.take_out()
    guarded.services.foundation.keyring.close()
    answer = await guarded.timestamps.answer(tsp.build_request(bytes(32), 1))
    assert answer == tsp.rejection(tsp.FailInfo.SYSTEM_FAILURE)
    device.put_back()
    guarded.clock.later(minutes=2)
    assert await judged(guarded, HashAlgorithm.SHA256)
