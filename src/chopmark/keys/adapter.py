"""A Signer in use: as a private key of `cryptography`, so that every builder signs through the port; and from async."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from chopmark.keys.ports import OnDevice, Signer, SignerUnavailable
from chopmark.pki import signing
from chopmark.pki.signing import IssuerKey

Made = TypeVar("Made")


def as_private_key(signer: Signer) -> IssuerKey:
    """Return a key object whose every signature `signer` makes; it can do nothing else (TypeError)."""
    return signing.key_from(signer.public_key_der, signer.sign)


async def made_by(signer: Signer, work: Callable[[], Made]) -> Made:
    """Return what `work` makes with the signer's key: inline for a key in memory, in a thread for one in a device.

    Raises SignerUnavailable, also when the device does not answer within its patience: what it makes later is dropped.
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
    """Return when the signer would sign now; raises SignerUnavailable. A key in memory is always ready."""
    if isinstance(signer, OnDevice):
        await made_by(signer, signer.ready)
