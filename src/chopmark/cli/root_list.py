"""The root's revocation list: signed here, or made on another machine."""

from __future__ import annotations

from getpass import getpass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from chopmark.ca.ceremony.options import ListAsked
from chopmark.cli.ca import ca_app
from chopmark.cli.ceremony import Stopped, expected, read, read_list, really, require_people, root_signer, share_of
from chopmark.cli.console import configured, run, say

if TYPE_CHECKING:
    from chopmark.app.issuing_cas import CaDeps, Named
    from chopmark.app.settings import Settings
    from chopmark.cli.ceremony import Ask, Opening
    from chopmark.keys.shares import Shares
    from chopmark.va.ports import Crl


_DEFAULT = ListAsked()


@ca_app.command(name="root-crl")
def ca_root_crl(asked: Annotated[ListAsked, Parameter(name="*")] = _DEFAULT) -> int:
    """Publish a new revocation list of the root: signed here with its key file, or made on another machine."""
    return run(root_crl(configured(), asked))


async def root_crl(settings: Settings, asked: ListAsked, *, ask: Ask = getpass, opening: Opening = really) -> int:
    """Publish a root's next list; 0 when it is in force.

    1 who  2 the list: signed here, or made elsewhere  3 it is the root's, its number rises, no line is gone
    4 [tx] published.
    """
    from chopmark.app import founding, issuing_cas

    try:
        require_people(asked.one, asked.two)
        shares = _shares(asked, ask)
        async with opening(settings, shares) as deps:
            line = issuing_cas.lineage(await deps.certificates.issuers())
            root, der = await (_signed(deps, line, asked, shares) if asked.take is None else _taken(line, asked))
            made = founding.root_list(der)
            await _require_fit(deps, root, made)
            if not await founding.publish_root_list(deps, root.root, made, asked.one, asked.two):
                raise Stopped("a list with this number or a higher one was published meanwhile")
    except expected(ValueError) as error:
        say(f"No list was published: {error}.")
        return 1
    say(f"The list {made.number} of {root.root} is in force until {made.next_update:%Y-%m-%d %H:%M} UTC.")
    return 0


def _shares(asked: ListAsked, ask: Ask) -> Shares | None:
    """Return both shares where the root's key file asks for them."""
    from chopmark.keys.shares import Lock, Shares

    if asked.take is not None or asked.root_key is None or Lock.of(read(asked.root_key)) is None:
        return None
    return Shares(
        share_of(asked.one, asked.share_one, ask, fresh=False), share_of(asked.two, asked.share_two, ask, fresh=False)
    )


async def _signed(deps: CaDeps, line: list[Named], asked: ListAsked, shares: Shares | None) -> tuple[Named, bytes]:
    """Return the CA whose root the key is, and a list signed with it: the lines so far, and the CA to be revoked."""
    from cryptography import x509

    from chopmark.ca.ceremony.founding import root_list
    from chopmark.keys.adapter import as_private_key
    from chopmark.pki import crl
    from chopmark.pki.crl import CrlReason, RevokedEntry
    from chopmark.pki.x509 import spki_der
    from chopmark.va.publisher import next_number

    signer = root_signer(deps, asked.root_key, shares)
    root = next((one for one in line if spki_der(one.row.chain[-1]) == signer.public_key_der), None)
    if root is None:
        raise Stopped("the key file is that of no root of this installation")
    now = deps.foundation.clock.now().replace(microsecond=0)
    last = await deps.status.crl(root.root, 0)
    entries = () if last is None else crl.entries_of(last.der)
    if asked.revoke:
        named = next((one for one in line if one.row.id == asked.revoke and one.root == root.root), None)
        if named is None:
            raise Stopped(f"{asked.revoke} is no CA under this root")
        if named.row.issues:
            raise Stopped(f"{asked.revoke} issues: roll over to a new CA first, `chopmark ca rollover`")
        serial = x509.load_der_x509_certificate(named.row.certificate).serial_number
        if serial in {entry.serial for entry in entries}:
            raise Stopped(f"{asked.revoke} is revoked already")
        entries = (*entries, RevokedEntry(serial, now, CrlReason[asked.reason.upper()]))
    number = next_number(None if last is None else last.number, deps.foundation.clock.now())
    return root, root_list(as_private_key(signer), root.row.chain[-1], number, now, entries)


async def _taken(line: list[Named], asked: ListAsked) -> tuple[Named, bytes]:
    """Return the CA whose root has signed the list that was brought, and the list."""
    from chopmark.ca import crosschecks

    if asked.take is None or asked.revoke:
        raise Stopped("a list that was made elsewhere is taken as it is: --take goes without --revoke")
    der = read_list(asked.take)

    for one in line:
        if crosschecks.signed_by(der, one.row.chain[-1]):
            return one, der
    raise Stopped("no root of this installation has signed the list")


async def _require_fit(deps: CaDeps, root: Named, made: Crl) -> None:
    from chopmark.ca import crosschecks
    from chopmark.pki import crl

    found = crosschecks.list_faults(made.der, root.row.chain[-1], deps.foundation.clock.now())
    found += crosschecks.lint_list(made.der)
    last = await deps.status.crl(root.root, 0)
    if last is not None and made.number <= last.number:
        found.append(f"its number is not higher than {last.number}")
    if last is not None:
        gone = {one.serial for one in crl.entries_of(last.der)} - {one.serial for one in crl.entries_of(made.der)}
        found += ["it lacks what the last list revoked"] if gone else []
    if found:
        raise Stopped(", ".join(found))
