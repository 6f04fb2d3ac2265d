"""Use a Signer as a private key of `cryptography`, so that its builders sign with it, and from asynchronous code."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from chopmark.keys.ports import OnDevice, Signer, SignerUnavailable
from chopmark.pki import signing
from chopmark.pki.signing import IssuerKey

Made = TypeVar("Made")


def as_private_key(signer: Signer) -> IssuerKey:
    """Return a key object that has `signer` make its signatures; it raises TypeError for anything but signing."""
    return signing.key_from(signer.public_key_der, signer.sign)


async def made_by(signer: Signer, work: Callable[[], Made]) -> Made:
    """Return the result of `work`, which uses the signer's key; for a key in a device, run it in a thread.

    Raises SignerUnavailable, also when the device does not answer within `patience_s`. The thread then goes on, and its
    result is dropped.
    """
    if not isinstance(signer, OnDevice):
        return work()
    try:
        async with asyncio.timeout(signer.patience_s):
            return await asyncio.to_thread(work)
    except TimeoutError as error:
        raise SignerUnavailable("the device with the key does not answer", retry_after_s=5) from error


async def sign(signer: Signer, data: bytes) -> bytes:
    """Return the signature over `data`; raises SignerUnavailable."""
    return await made_by(signer, lambda: signer.sign(data))


async def ready(signer: Signer) -> None:
    """Return if the signer can sign now; raise SignerUnavailable otherwise. A key in memory is always ready."""
    if isinstance(signer, OnDevice):
        await made_by(signer, signer.ready)
