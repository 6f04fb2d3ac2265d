"""What the commands for the CA's keys do: the two operators' ceremony, the rollover, the root's list."""

import hmac
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from getpass import getpass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark import __version__
from chopmark.app import issuing_cas
from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import Taken, ca_names, founding, root_list, take_in
from chopmark.app.issuing_cas import CaDeps, Named
from chopmark.app.secrets import write_private
from chopmark.app.settings import Settings
from chopmark.ca.ceremony import plan as plans
from chopmark.ca.ceremony.folder import Folder, FolderInUse
from chopmark.ca.ceremony.founding import BACKDATE, CeremonyFailed, Serials
from chopmark.ca.ceremony.options import CeremonyOptions
from chopmark.ca.ceremony.plan import CeremonyPlan, RootKey
from chopmark.ca.ceremony.run import ROOT_KEY, TRANSCRIPT, Ceremony, CeremonyInputs, Waiting
from chopmark.cli.console import os_user
from chopmark.core.types import IssuerId, Secret
from chopmark.keys.file import KeyFileError
from chopmark.keys.keyring import Keyring, NoDevice, NoShares
from chopmark.keys.ports import KeyAlgorithm, Signer, SignerUnavailable
from chopmark.keys.shares import MEMORY_KIB, SALT_BYTES, Lock, Shares, UnfitShares, new_share
from chopmark.pki import crl
from chopmark.pki.publication import ROOT
from chopmark.pki.x509 import require_value, serial_hex, spki_der
from chopmark.store.current import make_current
from chopmark.va.publisher import next_number

Ask = Callable[[str], str]
Opening = Callable[[Settings, Shares | None], AbstractAsyncContextManager[CaDeps]]


class Stopped(Exception):
    """Something is missing or does not fit; the sentence says what. Nothing was taken into use."""


SAID = (CeremonyFailed, FolderInUse, KeyFileError, NoDevice, NoShares, SignerUnavailable, Stopped, UnfitShares)


def say(line: str) -> None:
    """Write a line for the operator."""
    sys.stdout.write(f"{line}\n")


@asynccontextmanager
async def really(settings: Settings, shares: Shares | None) -> AsyncIterator[CaDeps]:
    """Open the installation with the machine's clock and randomness, by whoever is signed in to the machine."""
    async with founding(settings, SystemClock(), SystemEntropy(), shares=shares) as deps:
        deps.foundation.audit_log.at_console(os_user())
        yield deps


def share(file: Path) -> int:
    """Write a made share, 256 random bits, into a file that only its owner reads; never over another file."""
    if file.exists():
        say(f"{file} exists already; nothing was changed.")
        return 1
    write_private(file, new_share(SystemEntropy().token(32)).reveal().encode() + b"\n")
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
    memory_kib: int = MEMORY_KIB,
) -> int:
    """Hold a ceremony, or go on with one that was cut off; 0 when the CA is in use or the request is written.

    1 who, and the plan  2 both shares  3 make and check everything (`ca.ceremony.run`)  4 [tx] the CA issues, its
    root's list is published  5 the transcript.
    """
    try:
        with folder.taken():
            plan = _begun(folder, asked)
            shares = _shares(settings, asked, plan, ask)
            if not settings.database:
                settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            await make_current(settings.database_url)
            async with opening(settings, shares) as deps:
                if plan is None:
                    plan = await _planned(deps, folder, asked, shares, rollover=rollover, memory_kib=memory_kib)
                return await _hold(deps, folder, plan, asked, shares)
    except SAID as error:
        say(f"Nothing was taken into use: {error}.")
        return 1


def _begun(folder: Folder, asked: CeremonyOptions) -> CeremonyPlan | None:
    """Return the plan of a ceremony to go on with; None for a new one in an empty folder."""
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
    for person in (one, two, *others):
        try:
            require_value("CN", person)
        except ValueError as error:
            raise Stopped("a ceremony names its operators with --one and --two, each by 1 to 64 characters") from error
    if one.casefold() == two.casefold():
        raise Stopped("the two operators are two persons")


def _shares(settings: Settings, asked: CeremonyOptions, plan: CeremonyPlan | None, ask: Ask) -> Shares | None:
    """Return both shares, from files or the terminal; None where no key file is made."""
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
    """Decide everything that is not a key, and write it down."""
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
        names=ca_names(deps, number),
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
    """Return when the shares open the CAs before, too: a counter has one pair for all of them."""
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
    last = (await deps.status.shard(known[given.root], 0)).crl
    return known[given.root], RootKey.KEPT, None if last is None else last.number


async def _given(deps: CaDeps, asked: CeremonyOptions, shares: Shares | None, root: str) -> CeremonyInputs:
    """Read what comes from outside: an earlier root's key file, or what the other machine made."""
    line = issuing_cas.lineage(await deps.certificates.issuers())
    if asked.root_key is not None:
        signer = root_signer(deps, asked.root_key, _root_shares(asked, shares))
        for one in line:
            if spki_der(one.row.chain[-1]) == signer.public_key_der:
                last = (await deps.status.shard(one.root, 0)).crl
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
    if file is None:
        raise Stopped("the root's key file is missing: name it with --root-key")
    passphrase = Secret(deps.foundation.settings.ca_passphrase.get_secret_value())
    return Keyring(passphrase, None, deps.foundation.clock, shares).open(read(file), b"")


def _root_shares(asked: CeremonyOptions, shares: Shares | None) -> Shares | None:
    """Return the shares of the root's key file: its own where they are named, or those of the ceremony."""
    if asked.root_share_one is None or asked.root_share_two is None:
        return shares
    one, two = (read(file).decode("utf-8", "replace") for file in (asked.root_share_one, asked.root_share_two))
    return Shares(Secret(one), Secret(two))


def _certificate(file: Path) -> bytes:
    try:
        return x509.load_pem_x509_certificate(read(file)).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Stopped(f"{file} is no certificate in PEM") from error


def read_list(file: Path) -> bytes:
    """Return a revocation list in PEM as DER."""
    try:
        return x509.load_pem_x509_crl(read(file)).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Stopped(f"{file} is no revocation list in PEM") from error


async def _hold(deps: CaDeps, folder: Folder, plan: CeremonyPlan, asked: CeremonyOptions, shares: Shares | None) -> int:
    """Go through the steps that are not done, take the CA in, and finish."""
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
    taken = Taken(outcome.row, IssuerId(plan.root), root_list(outcome.root_list), *plan.operators)
    if not await take_in(deps, taken):
        raise Stopped(f"another CA has become {plan.issuer} meanwhile")
    held.finish()
    say(f"The CA {plan.issuer} issues from now on. Print and sign {folder.path / TRANSCRIPT}.")
    if plan.root_key is RootKey.NEW:
        say(f"Move {folder.path / ROOT_KEY} to a safe now; it is not needed here.")
    if plan.home == "file":
        say("The counter needs both shares in its directory of secrets: ca_share_one and ca_share_two.")
    say("Restart every server and worker.")
    return 0
