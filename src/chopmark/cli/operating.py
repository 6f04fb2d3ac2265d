"""What the operator's commands do: each opens the services, calls one verb, and says what happened in plain words."""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from chopmark.app import outside
from chopmark.app.external_ca import reach
from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import found_ca
from chopmark.app.gateways import reach_mail
from chopmark.app.issuing_cas import Ending, constants, endings
from chopmark.app.secrets import NotReady
from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.app.settings_sources import former_names
from chopmark.audit.anchorcheck import LATE
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import Report
from chopmark.audit.head import HeadPublicKey
from chopmark.audit.headfile import read_heads
from chopmark.audit.headkey import read_public
from chopmark.audit.headlines import HeadLines
from chopmark.audit.record import AuditKeys
from chopmark.audit.report import exit_code, lines
from chopmark.audit.verify import Beside, verify
from chopmark.ca.shipped import shipped_profiles
from chopmark.cli.console import at_console, looking
from chopmark.cli.house_check import house_faults, settings_faults, unpublished
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderState, text
from chopmark.identity.password import hash_password, initial_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.identity.scope import scope_of
from chopmark.jobs.clock import note_of
from chopmark.keys.adapter import ready
from chopmark.keys.ports import KeyAlgorithm, SignerUnavailable
from chopmark.messaging.sms import segments
from chopmark.pki.x509 import read_certificates
from chopmark.ra.context import assert_staff
from chopmark.ra.policy import permitted_by_broker_not_strict
from chopmark.ra.recorded import rules_of
from chopmark.store import db
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine, Unfit
from chopmark.store.repositories.failing import FailingJobs
from chopmark.store.repositories.ra.feed import WebhookCursor
from chopmark.store.repositories.ra.submissions import SubmissionRepository
from chopmark.store.repositories.readiness import Readiness
from chopmark.tw.customer_number import parse_customer_number

SLIP_LIFE = timedelta(days=30)
WARNED_BEFORE = timedelta(days=90)
"""`chopmark check` warns so long before a CA's, root's or responder's certificate or a root's list ends."""


def say(line: str) -> None:
    """Write a line for the operator."""
    sys.stdout.write(f"{line}\n")


async def check(settings: Settings) -> int:
    """Say whether the installation may start, and what its policy permits that `strict` does not."""
    faults = [] if settings.public_url.startswith("https://") else ["public_url is not set to an https address"]
    if settings.mode == "demo":
        faults = ["this is a demo: it makes its own secrets and shows codes on a page"]
    faults += [settings.proxy_unanswered] if settings.proxy_unanswered else []
    faults += settings_faults(settings)
    _say_addresses(settings)
    try:
        async with looking(settings) as services:
            say(f"database: {services.foundation.engine.dialect}, schema {await db.current(settings.database_url)}")
            say(f"issuer: {services.ca.certifier.name}")
            await _say_webhook(services)
            faults += await _issuer_faults(services)
            faults += [f"{ending.what} has ended: {ending.remedy}" for ending in await ending_soon(services)]
            faults += await _check_stamps(services)
            faults += await failing_jobs(services)
            faults += await _mail_faults(services)
            faults += await _check_clock(services)
            faults += await house_faults(services)
            faults += await _outside_faults(services)
            say(f"policy: {services.foundation.policy.id}")
            if services.foundation.policy.name == "tw-broker":
                for sentence in permitted_by_broker_not_strict():
                    say(f"  permitted here, not by `strict`: {sentence}")
            await _in_flight(services.foundation.engine)
            for name in await unpublished(services):
                say(f"revocation list {name}: none yet, a worker publishes it when it first runs")
            sample = f"【{services.foundation.brand.firm.zh}】"
            say(f"the firm's name takes {segments(sample)} SMS segment of its own")
    except (NotReady, Unfit, ConnectionError) as error:
        faults.append(str(error))
    for former in former_names(os.environ):
        say(f"  {former}; the former name ends with the next release")
    for fault in faults:
        say(f"NOT READY: {fault}")
    return 1 if faults else 0


async def upgrade(settings: Settings) -> int:
    """Bring the schema up to this release, and list the orders in flight that the release before has begun."""
    await db.upgrade(settings.database_url)
    engine = await open_engine(settings.database_url)
    try:
        await _in_flight(engine)
    finally:
        await engine.close()
    return 0


async def _in_flight(engine: Engine) -> None:
    """List the orders whose records an earlier release wrote: the CA does not go by them (decision 26)."""
    for order, state in await SubmissionRepository(engine).of_old_form():
        say(f"  order {order} ({state}) was begun by an earlier release and will be refused: its customer begins again")
        if state is OrderState.PENDING:
            say("    and what another CA has made of it by now has to be revoked there")


def _say_addresses(settings: Settings) -> None:
    """Say whose word is taken for a client's address."""
    if settings.client_address_header:
        say(f"WARNING: {settings.client_address_header} is believed from every address: whoever reaches this port can")
        say("  choose their own. Set behind_proxy and trusted_proxies, and take client_address_header away.")
    elif settings.behind_proxy == "yes":
        hops = "1 proxy" if settings.proxy_hops == 1 else f"{settings.proxy_hops} proxies"
        say(f"clients' addresses: {settings.proxy_header} as {settings.trusted_proxies} say, over {hops}")


async def _say_webhook(services: Services) -> None:
    """Say how far the order host has been told; what cannot be told is a job that keeps failing."""
    if services.messaging.webhook is not None:
        told, records = await WebhookCursor(services.foundation.engine).told()
        address = urlsplit(services.foundation.settings.webhook.url).netloc
        say(f"webhook: {address} has been told of the first {told} of {records} records")


async def _issuer_faults(services: Services) -> list[str]:
    """Return what keeps the certifying CA from working; say what a person has to do at another CA."""
    if services.ca.built_in is not None:
        try:
            await ready(services.ca.authority.signer)
        except SignerUnavailable as error:
            return [f"the issuer's key cannot be used: {error}"]
    if services.foundation.settings.issuer == "embedded":
        return []
    say(f"protocol: {services.foundation.settings.issuer} at {services.foundation.settings.issuer_url}")
    for serial, why in (await services.ca.requests.attention()).items():
        say(f"  look at {serial}: {why}")
    heard = await reach(services.foundation.settings)
    return [] if heard is None else [f"the other CA: {heard}"]


async def ending_soon(services: Services) -> list[Ending]:
    """Warn of what ends within ninety days, and return what has ended; one CA after the other, soonest first."""
    now, over = services.foundation.clock.now(), []
    for ending in await endings(services.ca.cas, services.va.status, now):
        if ending.until <= now:
            over.append(ending)
        elif ending.until - now < WARNED_BEFORE:
            say(f"WARNING: {ending.what} ends on {ending.until:%Y-%m-%d}: {ending.remedy}")
    return over


async def _check_clock(services: Services) -> list[str]:
    """Return why the clock cannot be believed: what this process sees, and what this node's worker has noted."""
    seen, noted = (
        services.audit.clockwatch.trouble(),
        await services.foundation.installation.get(note_of(services.foundation.settings.node)),
    )
    return [*([] if seen is None else [seen]), *([f"the worker of this node: {noted}"] if noted else [])]


async def _check_stamps(services: Services) -> list[str]:
    """Say who stamps time and what the newest anchor is; return what is wrong."""
    until, newest = await services.va.stamps.not_after(), await services.va.stamps.anchors.newest()
    say(f"time-stamp certificate: {'none yet' if until is None else f'until {until:%Y-%m-%d}'}")
    made = "none yet" if newest is None else f"the newest of {newest.at:%Y-%m-%d %H:%M} UTC"
    say(f"anchors of the audit, by {services.va.stamps.by}: {made}")
    missed = await services.va.stamps.anchors.unanchored()
    if missed is None or missed.until - missed.since <= LATE:
        return []
    return [f"the audit has had no anchor since {missed.since:%Y-%m-%d %H:%M} UTC: does the authority answer?"]


async def _mail_faults(services: Services) -> list[str]:
    """Ask the mail server, if there is one; return what is wrong. Nothing is sent."""
    if not services.foundation.settings.smtp.host:
        return []
    wrong = await reach_mail(services.foundation.settings, services.foundation.brand)
    if wrong is not None:
        return [wrong]
    say(f"mail server: {services.foundation.settings.smtp.host}:{services.foundation.settings.smtp.port} answers")
    return []


async def _outside_faults(services: Services) -> list[str]:
    """Return what is wrong with signed heads and journal: where they lie, whether they are written, what they say."""
    settings, watch = services.foundation.settings, services.foundation.restorewatch
    say(f"signed heads and journal: {settings.outside}")
    await watch.look()
    directory = await Readiness(services.foundation.engine).directory()
    faults, notes = outside.standing(watch)
    for note in notes:
        say(f"  {note}")
    reached = await asyncio.to_thread(outside.reach, settings, services.foundation.journal.probe)
    return [*outside.placement(settings, directory), *reached, *faults]


async def failing_jobs(services: Services) -> list[str]:
    """Return which jobs go on failing, at every host."""
    return [
        f"the job {one.job} of the {one.place} has failed {one.failures} times in a row since "
        f"{one.since:%Y-%m-%d %H:%M} UTC, last at {one.last:%H:%M} with {one.error}: its log has the reason"
        for one in await FailingJobs(services.foundation.engine, services.foundation.clock, "").all()
    ]


async def check_certificates(settings: Settings, lint_each: int) -> int:
    """Read every stored certificate again and print what does not hold, a line each."""
    from chopmark.app.external_ca import known_of
    from chopmark.ca.checker import Checked, Checker
    from chopmark.ca.external.checker import ExternalChecker
    from chopmark.store.repositories.ca.checking import CertificateRows
    from chopmark.store.repositories.ca.external_checking import ExternalRows

    async with looking(settings) as services:
        found, moduli, now = Checked(0, 0, ()), None, services.foundation.clock.now()
        if services.ca.built_in is not None:
            earlier = [ca.issuer.standard() for ca in services.ca.earlier]
            checker = Checker(
                services.ca.issuer.standard(), CertificateRows(services.foundation.engine), lint_each, earlier
            )
            found, moduli = await checker.check(now), checker.moduli
        known = known_of(
            settings, shipped_profiles(), constants(services.foundation.brand), services.ca.approvals.terms
        )
        elsewhere = ExternalChecker(known, ExternalRows(services.foundation.engine), lint_each)
        found = found.with_others(await elsewhere.check(now, moduli))
    for fault in found.faults:
        say(f"{fault.serial}  {fault.code}")
    say(f"{found.certificates} certificates read, {found.linted} linted, {len(found.faults)} faults.")
    return 1 if found.faults else 0


async def init_ca(settings: Settings, algorithm: str = "P256") -> int:
    """Found the CA unless there is one; all its keys are of one kind."""
    if not settings.database:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    await db.upgrade(settings.database_url)
    if not await found_ca(settings, SystemClock(), SystemEntropy(), KeyAlgorithm(algorithm)):
        say("There is a CA already; nothing was changed.")
        return 1
    say(f"The CA is founded. Move {settings.data / 'ca' / 'root.key.pem'} to a safe now; it is not needed here.")
    return 0


async def password_slip(settings: Settings, customer: str, by: str) -> int:
    """Print a new initial password: random, unrelated to the person, for a month (TW-03)."""
    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        if await services.identity.people.person(number) is None:
            raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such customer."), field="customer"))
        secret = initial_password(services.foundation.entropy.token(16))
        phc = hash_password(secret, services.foundation.entropy.token(16))
        row = PasswordRow(number, phc, PasswordKind.INITIAL, services.foundation.clock.now() + SLIP_LIFE)
        await services.identity.sessions.set_password(
            row, by, await services.ra.context.notice(number, "password_printed", None)
        )
        say(f"{services.foundation.brand.firm.zh} {services.foundation.brand.portal.zh}")
        say(f"customer  {number}")
        say(f"password  {secret.reveal()}")
        say("It lapses after 30 days. The customer's sessions are over, and the customer will be told.")
    return 0


async def put_client(settings: Settings, client: str, name: str, by: str) -> int:
    """Print a new client secret, once."""
    async with at_console(settings) as services:
        credential = await services.identity.launches.put_client(client, name, by)
    say(f"client  {credential.client}")
    say(f"secret  {credential.secret.reveal()}")
    say("The secret is shown once. After a rotation the one before is good for another week.")
    return 0


async def list_clients(settings: Settings) -> int:
    """Print the clients."""
    async with looking(settings) as services:
        for client in await services.identity.launches.clients():
            state = "disabled" if client.disabled_at else "active"
            say(f"{client.id}  {client.name}  {state}  {client.scope}")
    return 0


async def limit_client(
    settings: Settings,
    client: str,
    accounts: Sequence[str],
    purposes: Sequence[str],
    factors: Sequence[str],
    per_minute: int,
    by: str,
) -> int:
    """Set what a client may ask for."""
    assert_staff(by, "by")
    scope = scope_of(accounts, purposes, factors, per_minute)
    if isinstance(scope, Refusal):
        raise Refused(scope)
    async with at_console(settings) as services:
        await services.identity.launches.limit(client, scope, by)
    say(f"{client} may ask for: {scope}")
    return 0


async def disable_client(settings: Settings, client: str, by: str) -> int:
    """End a client at once."""
    assert_staff(by, "by")
    async with at_console(settings) as services:
        await services.identity.launches.disable(client, by)
    say(f"{client} is disabled: its secrets and its open tickets are dead. `chopmark clients put` makes a new secret.")
    return 0


async def end_previous_secret(settings: Settings, client: str, by: str) -> int:
    """End a client's previous secret at once."""
    assert_staff(by, "by")
    async with at_console(settings) as services:
        await services.identity.launches.end_previous(client, by)
    say(f"The previous secret of {client} is dead, and so are its open tickets; the present secret is not.")
    return 0


async def release_hold(settings: Settings, customer: str, by: str, approved_by: str) -> int:
    """Lift a customer's holds."""
    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        lifted = await services.ra.holds.release(number, by, approved_by)
    say(f"Codes can be sent to {number} again: what was sent counts anew.")
    if not lifted:
        say(f"{number} has no hold.")
        return 1
    say(f"{lifted} {'hold' if lifted == 1 else 'holds'} of {number} lifted; the customer will be told.")
    return 0


async def show_holds(settings: Settings, customer: str) -> int:
    """Print what of a customer is on hold, a line each."""
    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with looking(settings) as services:
        held = await services.ra.holds.held(number)
    for lock, why in held.items():
        say(f"{_LOCKS[lock]}: {_WHY.get(why, why)}")
    if not held:
        say(f"{number} has no hold.")
    return 0


_LOCKS = {"code": "codes, by every channel and for every order", "birth_date": "birth date"}
_WHY = {"held": "on hold, too many wrong entries", "disabled": "on hold, the most wrong entries that there may ever be"}


async def verify_audit(
    settings: Settings, export: Path | None, head: Path | None, key: Path | None, root: Path | None = None
) -> int:
    """Verify the trail online or an export, and print the report; `root` holds certificates for the anchors.

    With the heads' public key an export is verified without the installation: an auditor needs two files and that
    key. Seals (MACs) are checked only where the installation's audit key is.
    """
    if export is not None and key is not None:
        public: Sequence[HeadPublicKey] = [read_public(await asyncio.to_thread(key.read_bytes))]
        heads = await asyncio.to_thread(_heads, head)
        return _told(await verify(_exported(export), None, public, heads, SystemClock().now(), roots=_roots(root)))
    async with looking(settings) as services:
        heads = await asyncio.to_thread(_heads, head, settings.outside / "heads.jsonl")
        keys, public = AuditKeys([services.foundation.audit_key]), [services.audit.head_signer.public_key]
        now, roots = services.foundation.clock.now(), (*services.va.stamps.roots, *(_roots(root) or ()))
        if export is not None:
            return _told(await verify(_exported(export), keys, public, heads, now, roots=roots))
        async with services.foundation.ledger.snapshot() as live:
            beside = Beside(live, rules_of(services.foundation.policy))
            return _told(await verify(live, keys, public, heads, now, roots=roots, beside=beside))


def _exported(path: Path) -> ExportSource:
    return ExportSource(lambda: path.open(encoding="utf-8"))


def _heads(named: Path | None, usual: Path | None = None) -> HeadLines | None:
    """Return the heads of the named file, which must exist, or of the usual one, which may be missing."""
    if named is not None and not named.exists():
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such heads file."), field="head"))
    path = named or usual
    return None if path is None or not path.exists() else read_heads(path)


def _roots(named: Path | None) -> tuple[bytes, ...] | None:
    """Return the certificates of the named file, DER; None without one."""
    if named is None:
        return None
    try:
        return read_certificates(named.read_bytes())
    except (OSError, ValueError) as error:
        refusal = Refusal(Kind.NOT_FOUND, text("The root file holds no certificate that can be read."), field="root")
        raise Refused(refusal) from error


def _told(found: Report) -> int:
    for line in lines(found):
        say(line)
    return exit_code(found)


async def audit_key(settings: Settings, file: Path) -> int:
    """Write the public key with which anybody checks the signed heads, PEM."""
    async with looking(settings) as services:
        await asyncio.to_thread(file.write_bytes, services.audit.head_signer.public_pem)
    say(f"The heads' public key is in {file}.")
    return 0


def _private(file: Path) -> TextIO:
    """Open a file for writing that nobody else may read, also where it was there before."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file.open("w", encoding="utf-8")


async def export_audit(settings: Settings, file: Path) -> int:
    """Write the whole trail as JSON lines."""
    async with looking(settings) as services, services.foundation.ledger.snapshot() as source:
        with _private(file) as out:
            count = await write_export(source, out)
    say(f"{count} lines written to {file}.")
    return 0
