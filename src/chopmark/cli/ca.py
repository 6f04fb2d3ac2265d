"""The command line for the CA's keys. Heavy imports stay inside the commands."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.options import Algorithm, CeremonyOptions, ListAsked

ca_app = App(name="ca", help="The built-in CA.")
_DEFAULT, _NO_LIST = CeremonyOptions(), ListAsked()


@ca_app.command(name="init")
def ca_init(*, algorithm: Algorithm = "P256") -> int:
    """Found the CA: root, issuing CA, responder. The root key goes to DATA/ca/root.key.pem: move it to a safe.

    Parameters
    ----------
    algorithm:
        Kind of all three keys.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.operating import init_ca

    return asyncio.run(init_ca(Settings(), algorithm))


@ca_app.command(name="share")
def ca_share(file: Path) -> int:
    """Make one operator's share of the CA's keys: 256 random bits in a file. Each operator makes one alone.

    Parameters
    ----------
    file:
        Where the share goes: on a medium of the operator's own.
    """
    from chopmark.cli.operating_ca import share

    return share(file)


@ca_app.command(name="ceremony")
def ca_ceremony(folder: Path, asked: Annotated[CeremonyOptions, Parameter(name="*")] = _DEFAULT) -> int:
    """Found the CA with two operators: its key files open with both shares only, and a transcript says how.

    Parameters
    ----------
    folder:
        Where the ceremony's files go.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_ca import ceremony

    return asyncio.run(ceremony(Settings(), Folder(folder), asked, rollover=False))


@ca_app.command(name="rollover")
def ca_rollover(folder: Path, asked: Annotated[CeremonyOptions, Parameter(name="*")] = _DEFAULT) -> int:
    """Have a new CA issue from now on, by a ceremony; the one before answers for what it issued.

    Parameters
    ----------
    folder:
        Where the ceremony's files go.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_ca import ceremony

    return asyncio.run(ceremony(Settings(), Folder(folder), asked, rollover=True))


@ca_app.command(name="root-crl")
def ca_root_crl(asked: Annotated[ListAsked, Parameter(name="*")] = _NO_LIST) -> int:
    """Publish a new revocation list of the root: signed here with its key file, or made on another machine."""
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_root import root_crl

    return asyncio.run(root_crl(Settings(), asked))


@ca_app.command(name="services")
def ca_services() -> int:
    """List the certificates of our OCSP responders and time-stamp authority, and those that were revoked."""
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_service import list_services

    return asyncio.run(list_services(Settings()))


@ca_app.command(name="rewrap")
def ca_rewrap(*files: Path, by: str, new_passphrase: Path | None = None) -> int:
    """Write the key files under ca_passphrase anew, so that trying pass-phrases is expensive; or under another one.

    Parameters
    ----------
    files:
        Key files outside the database that are written anew, too: the root's.
    by:
        Staff id of who does it, for the audit.
    new_passphrase:
        A file with the pass-phrase that is to hold from now on; without it, the present one.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_keys import rewrap

    return asyncio.run(rewrap(Settings(), files, new_passphrase, by))


@ca_app.command(name="revoke")
def ca_revoke(
    serial: str,
    *,
    by: str,
    approved_by: str,
    reason: Literal["keyCompromise", "superseded", "cessationOfOperation"] = "keyCompromise",
) -> int:
    """Revoke the certificate of an OCSP responder or of the time-stamp authority; a successor takes over at once.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal, as `chopmark ca services` lists it.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    reason:
        The reason that the world is told.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.operating_service import revoke_service

    return asyncio.run(revoke_service(Settings(), serial, reason, by, approved_by))
