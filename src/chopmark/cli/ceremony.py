"""The two operators' ceremony that founds the CA, and the rollover to a new one."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from chopmark import __version__
from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.options import CeremonyOptions
from chopmark.cli.ca import ca_app
from chopmark.cli.console import configured, os_user, run, say
from chopmark.core.types import IssuerId, Secret

if TYPE_CHECKING:
    from chopmark.app.issuing_cas import CaDeps, Named
    from chopmark.app.settings import Settings
    from chopmark.ca.ceremony.plan import CeremonyPlan, RootKey
    from chopmark.ca.ceremony.run import CeremonyInputs
    from chopmark.keys.ports import Signer
    from chopmark.keys.shares import Shares

    Ask = Callable[[str], str]
    Opening = Callable[[Settings, Shares | None], AbstractAsyncContextManager[CaDeps]]


_DEFAULT = CeremonyOptions()


@ca_app.command(name="share")
def ca_share(file: Path) -> int:
    """Make one operator's share of the CA's keys: 256 random bits in a file. Each operator makes one alone.

    Parameters
    ----------
    file:
        Where the share goes: on a medium of the operator's own.
    """
    return share(file)


@ca_app.command(name="ceremony")
def ca_ceremony(folder: Path, asked: Annotated[CeremonyOptions, Parameter(name="*")] = _DEFAULT) -> int:
    """Found the CA with two operators: its key files open with both shares only, and a transcript says how.

    Parameters
    ----------
    folder:
        Where the ceremony's files go.
    """
    return run(ceremony(configured(), Folder(folder), asked, rollover=False))


@ca_app.command(name="rollover")
def ca_rollover(folder: Path, asked: Annotated[CeremonyOptions, Parameter(name="*")] = _DEFAULT) -> int:
    """Have a new CA issue from now on, by a ceremony; the one before answers for what it issued.

    Parameters
    ----------
    folder:
        Where the ceremony's files go.
    """
    return run(ceremony(configured(), Folder(folder), asked, rollover=True))


class Stopped(Exception):
    """Something is missing or wrong; the sentence says what. Nothing was taken into use."""


def expected(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions that end a ceremony with a sentence for the operator, and `others`."""
    from chopmark.ca.ceremony.folder import FolderInUse
    from chopmark.ca.ceremony.founding import CeremonyFailed
    from chopmark.keys.file import KeyFileError
    from chopmark.keys.keyring import NoDevice, NoShares
    from chopmark.keys.ports import SignerUnavailable
    from chopmark.keys.shares import UnfitShares

    known = (CeremonyFailed, FolderInUse, KeyFileError, NoDevice, NoShares, SignerUnavailable, Stopped, UnfitShares)
    return (*known, *others)


@asynccontextmanager
async def really(settings: Settings, shares: Shares | None) -> AsyncIterator[CaDeps]:
    """Open the installation with the machine's clock and randomness, by whoever is signed in to the machine."""
    from chopmark.app.foundation import SystemClock, SystemEntropy
    from chopmark.app.founding import founding

    async with founding(settings, SystemClock(), SystemEntropy(), shares=shares) as deps:
        deps.foundation.audit_log.at_console(os_user())
        yield deps


def share(file: Path) -> int:
    """Write a new share, 256 random bits, to a file that only its owner can read; never overwrite a file."""
    from chopmark.app.foundation import SystemEntropy
    from chopmark.audit.durable import write_durably
    from chopmark.keys.shares import new_share

    if file.exists():
        say(f"{file} exists already; nothing was changed.")
        return 1
    write_durably(file, new_share(SystemEntropy().token(32)).reveal().encode() + b"\n")
    say(f"A share is in {file}. Whoever has it is one of the two operators: nobody else may read it.")
    return 0


async def ceremony(
    settings: Settings,
    folder: Folder,
    asked: CeremonyOptions,
    *,
    rollover: bool,
    ask: Ask = getpass,
    opening: Opening = really,
    memory_kib: int | None = None,
) -> int:
    """Hold a ceremony, or continue an interrupted one; 0 when the CA is in use or the request is written.

    1 who, and the plan  2 both shares  3 make and check everything (`ca.ceremony.run`)  4 [tx] the CA issues, its
    root's list is published  5 the transcript.
    """
    from chopmark.audit.durable import private_folder
    from chopmark.keys.shares import MEMORY_KIB
    from chopmark.store.current import make_current

    memory = MEMORY_KIB if memory_kib is None else memory_kib
    try:
        with folder.taken():
            plan = _begun(folder, asked)
            shares = _shares(settings, asked, plan, ask)
            if not settings.database:
                private_folder(settings.data)
            await make_current(settings.database_url)
            async with opening(settings, shares) as deps:
                if plan is None:
                    plan = await _planned(deps, folder, asked, shares, rollover=rollover, memory_kib=memory)
                return await _hold(deps, folder, plan, asked, shares)
    except expected() as error:
        say(f"Nothing was taken into use: {error}.")
        return 1


def _begun(folder: Folder, asked: CeremonyOptions) -> CeremonyPlan | None:
    """Return the plan of a ceremony to go on with; None for a new one in an empty folder."""
    from chopmark.ca.ceremony import plan as plans

    try:
        plan = plans.load(folder)
    except ValueError as error:
        raise Stopped(f"the plan in {folder.path} cannot be read: {error}") from error
    if plan is None and asked.resume:
        raise Stopped(f"there is no ceremony in {folder.path} to go on with")
    if plan is not None and not asked.resume:
        raise Stopped(f"a ceremony was begun in {folder.path}: go on with --resume, or take another folder")
    if plan is None:
        require_people(asked.one, asked.two, *asked.witness)
    return plan


def require_people(one: str, two: str, *others: str) -> None:
    """Return when two persons are named; Stopped otherwise."""
    from chopmark.pki.x509 import require_value

    for person in (one, two, *others):
        try:
            require_value("CN", person)
        except ValueError as error:
            raise Stopped("a ceremony names its operators with --one and --two, each by 1 to 64 characters") from error
    if one.casefold() == two.casefold():
        raise Stopped("the two operators are two persons")


def _shares(settings: Settings, asked: CeremonyOptions, plan: CeremonyPlan | None, ask: Ask) -> Shares | None:
    """Return both shares, from files or the terminal; None where no key file is made."""
    from chopmark.ca.ceremony.plan import RootKey
    from chopmark.keys.shares import Shares

    home = settings.signer if plan is None else plan.home
    elsewhere = asked.root_elsewhere if plan is None else plan.root_key is RootKey.ELSEWHERE
    if home == "pkcs11" and elsewhere:
        return None
    one, two = (asked.one, asked.two) if plan is None else plan.operators
    fresh = plan is None
    return Shares(share_of(one, asked.share_one, ask, fresh=fresh), share_of(two, asked.share_two, ask, fresh=fresh))


def share_of(person: str, file: Path | None, ask: Ask, *, fresh: bool) -> Secret:
    """Return one operator's share, from a file or the terminal; `fresh`: typed twice."""
    if file is not None:
        return Secret(read(file).decode("utf-8", "replace"))
    typed = ask(f"Share of {person}: ")
    if fresh and not hmac.compare_digest(ask(f"Share of {person}, once more: ").encode(), typed.encode()):
        raise Stopped("the two entries differ")
    return Secret(typed)


def read(file: Path) -> bytes:
    """Return a file's content; Stopped when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Stopped(f"{file} cannot be read: {error.strerror}") from error


async def _planned(
    deps: CaDeps, folder: Folder, asked: CeremonyOptions, shares: Shares | None, *, rollover: bool, memory_kib: int
) -> CeremonyPlan:
    """Decide everything except the keys, and write the plan."""
    from chopmark.app import founding, issuing_cas
    from chopmark.ca.ceremony import plan as plans
    from chopmark.ca.ceremony.founding import BACKDATE, Serials
    from chopmark.ca.ceremony.plan import CeremonyPlan, RootKey
    from chopmark.keys.ports import KeyAlgorithm
    from chopmark.keys.shares import SALT_BYTES, Lock
    from chopmark.pki.x509 import serial_hex
    from chopmark.va.publisher import next_number

    line = issuing_cas.lineage(await deps.certificates.issuers())
    if bool(line) is not rollover:
        raise Stopped("there is a CA: `chopmark ca rollover`" if line else "there is no CA: `chopmark ca ceremony`")
    _require_same_shares(deps, line, shares)
    number = issuing_cas.successor([one.row for one in line])
    now = deps.foundation.clock.now().replace(microsecond=0)
    root, root_key, last = await _root_of(deps, line, number, asked, shares)
    serials = Serials.fresh(deps.foundation.entropy)
    plan = CeremonyPlan(
        software=__version__,
        number=number,
        issuer=issuing_cas.named(number),
        root=root,
        names=founding.ca_names(deps, number),
        publication=deps.foundation.settings.publication_url,
        algorithm=KeyAlgorithm(asked.algorithm),
        home=deps.foundation.settings.signer,
        root_key=root_key,
        start=now - BACKDATE,
        serials=(serial_hex(serials.root), serial_hex(serials.issuing), serial_hex(serials.responder)),
        root_list_number=next_number(last, now) if root_key is RootKey.KEPT else 1,
        lock=Lock.fresh(deps.foundation.entropy.token(2 * SALT_BYTES), memory_kib).line.decode().rstrip("\n"),
        operators=(asked.one, asked.two),
        witnesses=asked.witness,
    )
    plans.store(folder, plan)
    return plan


def _require_same_shares(deps: CaDeps, line: list[Named], shares: Shares | None) -> None:
    """Raise Stopped unless the shares open the earlier CAs, too: an installation has one pair of shares."""
    from chopmark.keys.file import KeyFileError
    from chopmark.keys.shares import Lock
    from chopmark.pki.x509 import spki_der

    for one in line:
        if shares is not None and Lock.of(one.row.key_pem) is not None:
            try:
                deps.foundation.keyring.open(one.row.key_pem, spki_der(one.row.certificate))
            except KeyFileError as error:
                raise Stopped(f"take the shares that open {one.row.id}: the counter has one pair for all") from error


async def _root_of(
    deps: CaDeps, line: list[Named], number: int, asked: CeremonyOptions, shares: Shares | None
) -> tuple[IssuerId, RootKey, int | None]:
    """Return the root's short name, where its key is, and the number of its last list here."""
    from chopmark.app import issuing_cas
    from chopmark.ca.ceremony.plan import RootKey
    from chopmark.pki.publication import ROOT

    own = issuing_cas.own_root(number)
    known = {one.row.chain[-1]: one.root for one in line}
    if asked.root_elsewhere:
        if asked.root_certificate is not None:
            return known.get(_certificate(asked.root_certificate), own), RootKey.ELSEWHERE, None
        current = [one.root for one in line if one.row.issues]
        return (current[0] if current else own), RootKey.ELSEWHERE, None
    if asked.root_key is None:
        return own, RootKey.NEW, None
    given = await _given(deps, asked, shares, ROOT)
    if given.root is None:
        raise Stopped(f"{asked.root_key} is the key of no root of this installation")
    last = await deps.status.crl(known[given.root], 0)
    return known[given.root], RootKey.KEPT, None if last is None else last.number


async def _given(deps: CaDeps, asked: CeremonyOptions, shares: Shares | None, root: str) -> CeremonyInputs:
    """Read the files from outside: an earlier root's key file, or what the other machine made."""
    from chopmark.app import issuing_cas
    from chopmark.ca.ceremony.run import CeremonyInputs
    from chopmark.pki import crl
    from chopmark.pki.x509 import spki_der

    line = issuing_cas.lineage(await deps.certificates.issuers())
    if asked.root_key is not None:
        signer = root_signer(deps, asked.root_key, _root_shares(asked, shares))
        for one in line:
            if spki_der(one.row.chain[-1]) == signer.public_key_der:
                last = await deps.status.crl(one.root, 0)
                return CeremonyInputs(signer, one.row.chain[-1], () if last is None else crl.entries_of(last.der))
        return CeremonyInputs(signer)
    if asked.issuing_certificate is None or asked.root_certificate is None or asked.root_crl is None:
        return CeremonyInputs()
    above = _certificate(asked.root_certificate)
    if {one.row.chain[-1]: one.root for one in line}.get(above, root) != root:
        raise Stopped("the certificate comes from another root than the plan says")
    if any(one.root == root and one.row.chain[-1] != above for one in line):
        raise Stopped("the certificate comes from another root than the plan says")
    return CeremonyInputs(None, above, (), _certificate(asked.issuing_certificate), read_list(asked.root_crl))


def root_signer(deps: CaDeps, file: Path | None, shares: Shares | None) -> Signer:
    """Return the key of a root from its file. Raises Stopped, KeyFileError and NoShares."""
    from chopmark.keys.keyring import Keyring

    if file is None:
        raise Stopped("the root's key file is missing: name it with --root-key")
    passphrase = Secret(deps.foundation.settings.ca_passphrase.get_secret_value())
    return Keyring(passphrase, None, deps.foundation.clock, shares).open(read(file), b"")


def _root_shares(asked: CeremonyOptions, shares: Shares | None) -> Shares | None:
    """Return the shares of the root's key file: its own where they are named, or those of the ceremony."""
    from chopmark.keys.shares import Shares

    if asked.root_share_one is None or asked.root_share_two is None:
        return shares
    one, two = (read(file).decode("utf-8", "replace") for file in (asked.root_share_one, asked.root_share_two))
    return Shares(Secret(one), Secret(two))


def _certificate(file: Path) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_certificate(read(file)).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Stopped(f"{file} is no certificate in PEM") from error


def read_list(file: Path) -> bytes:
    """Return a revocation list in PEM as DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_crl(read(file)).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Stopped(f"{file} is no revocation list in PEM") from error


async def _hold(deps: CaDeps, folder: Folder, plan: CeremonyPlan, asked: CeremonyOptions, shares: Shares | None) -> int:
    """Do the steps that are not done yet, take the CA into use, and finish."""
    from chopmark.app import founding
    from chopmark.app.founding import Taken
    from chopmark.ca.ceremony.plan import RootKey
    from chopmark.ca.ceremony.run import ROOT_KEY, TRANSCRIPT, Ceremony, Waiting
    from chopmark.keys.keyring import Keyring

    passphrase = Secret(deps.foundation.settings.ca_passphrase.get_secret_value())
    reopened = Keyring(passphrase, deps.foundation.settings.device, deps.foundation.clock, shares)
    held = Ceremony(folder, plan, deps.foundation.keyring, lambda: reopened, deps.foundation.clock)
    if held.over():
        say(f"This ceremony is over: {folder.path / TRANSCRIPT}")
        return 0
    began = f"{plan.operators[0]} and {plan.operators[1]} began the ceremony of {plan.issuer}"
    held.note("went on after an interruption" if asked.resume else began)
    outcome = held.run(await _given(deps, asked, shares, plan.root))
    if isinstance(outcome, Waiting):
        say(f"Carry issuing.csr.pem and issuing.ext from {folder.path} to the root's machine; come back with --resume,")
        say("--issuing-certificate, --root-certificate and --root-crl. Nothing was taken into use yet.")
        return 0
    taken = Taken(outcome.row, IssuerId(plan.root), founding.root_list(outcome.root_list), *plan.operators)
    if not await founding.take_in(deps, taken):
        raise Stopped(f"another CA has become {plan.issuer} meanwhile")
    held.finish()
    say(f"The CA {plan.issuer} issues from now on. Print and sign {folder.path / TRANSCRIPT}.")
    if plan.root_key is RootKey.NEW:
        say(f"Move {folder.path / ROOT_KEY} to a safe now; it is not needed here.")
    if plan.home == "file":
        say("The counter needs both shares in its directory of secrets: ca_share_one and ca_share_two.")
    say("Restart every server and worker.")
    return 0
