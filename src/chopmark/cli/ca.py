"""The built-in CA: founded at once, without a ceremony."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from chopmark.ca.ceremony.options import Algorithm
from chopmark.cli.console import configured, run, say

if TYPE_CHECKING:
    from chopmark.app.settings import Settings


ca_app = App(name="ca", help="The built-in CA.")


@ca_app.command(name="init")
def ca_init(*, algorithm: Algorithm = "P256") -> int:
    """Found the CA: root, issuing CA, responder. The root key goes to DATA/ca/root.key.pem: move it to a safe.

    Parameters
    ----------
    algorithm:
        Kind of all three keys.
    """
    return run(init_ca(configured(), algorithm))


async def init_ca(settings: Settings, algorithm: str = "P256") -> int:
    """Found the CA unless there is one; all its keys are of one kind."""
    from chopmark.app.foundation import SystemClock, SystemEntropy
    from chopmark.app.founding import found_ca
    from chopmark.audit.durable import private_folder
    from chopmark.keys.ports import KeyAlgorithm
    from chopmark.store import db

    if not settings.database:
        private_folder(settings.data)
    await db.upgrade(settings.database_url)
    if not await found_ca(settings, SystemClock(), SystemEntropy(), KeyAlgorithm(algorithm)):
        say("There is a CA already; nothing was changed.")
        return 1
    say(f"The CA is founded. Move {settings.data / 'ca' / 'root.key.pem'} to a safe now; it is not needed here.")
    return 0
