"""Whether an installation may start, and whether what it stores is sound."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cyclopts import App

from chopmark.cli.console import configured, looking, run, say
from chopmark.cli.database import in_flight
from chopmark.cli.former_issuers import former_faults
from chopmark.cli.settings_faults import ignored, settings_faults
from chopmark.core.counted import counted

if TYPE_CHECKING:
    from chopmark.app.foundation import Foundation
    from chopmark.app.issuing_cas import Ending
    from chopmark.app.services import Services
    from chopmark.app.settings import Settings
    from chopmark.ca.embedded import Authority
    from chopmark.tw.trading_days import TradingCalendar


check_app = App(name="check", help="Whether this installation may start, and whether what it stores is sound.")


@check_app.default
def check_command() -> int:
    """Say whether this installation may start, and what its policy permits that `strict` does not."""
    return run(check_installation(configured()))


@check_app.command(name="certificates")
def check_certificates_command(*, lint_each: int = 10) -> int:
    """Read every stored certificate again as an auditor would; exit code 1 when anything does not hold.

    Parameters
    ----------
    lint_each:
        pkilint judges every n-th certificate: 1 for all, 0 for none.
    """
    return run(check_certificates(configured(), lint_each))


WARNED_BEFORE = timedelta(days=90)
"""`chopmark check` warns so long before a CA's, root's or responder's certificate or a root's list ends."""


async def check_installation(settings: Settings) -> int:
    """Say whether the installation may start, and what its policy permits that `strict` does not."""
    from chopmark.app.secrets import NotReady
    from chopmark.app.settings_sources import former_names
    from chopmark.messaging.sms import segments
    from chopmark.ra.policy import permitted_by_broker_not_strict
    from chopmark.store import db
    from chopmark.store.engine.port import Unfit

    faults = [] if settings.public_url.startswith("https://") else ["public_url is not set to an https address"]
    if settings.mode == "demo":
        faults = ["this is a demo: it makes its own secrets and shows codes on a page"]
    faults += [settings.proxy_unanswered] if settings.proxy_unanswered else []
    faults += ignored(settings)
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
            faults += await sms_faults(services)
            faults += alarm_faults(services.foundation)
            faults += await _check_clock(services)
            faults += await house_faults(services)
            faults += await _outside_faults(services)
            faults += await former_faults(services)
            say(f"policy: {services.foundation.policy.id}")
            if services.foundation.policy.name == "tw-broker":
                for sentence in permitted_by_broker_not_strict():
                    say(f"  permitted here, not by `strict`: {sentence}")
            _say_calendar(services)
            await in_flight(services.foundation.engine)
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


CALENDAR_BEFORE = timedelta(days=60)
"""So long before a year begins that the exchange has not announced, `chopmark check` warns."""


def _say_calendar(services: Services) -> None:
    """Say of which years the trading days are known; warn of one that begins soon and is not announced."""
    for line in calendar_lines(services.foundation.calendar, services.foundation.clock.now()):
        say(line)


def calendar_lines(calendar: TradingCalendar, now: datetime) -> list[str]:
    """Return the years of a calendar, and a warning where they do not reach far enough."""
    from chopmark.tw.trading_days import Standing
    from chopmark.tw.zone import local_date

    lines = ["trading days: " + ", ".join(f"{number} {one.standing}" for number, one in sorted(calendar.years.items()))]
    soon = local_date(now + CALENDAR_BEFORE)
    standing = calendar.standing(soon)
    if standing is not Standing.ANNOUNCED:
        lines.append(f"WARNING: the exchange's trading days of {soon.year} are {standing}: once it has announced them,")
        lines.append("  write them into a file and name it in trading_days")
    return lines


async def _say_webhook(services: Services) -> None:
    """Print how many records the order host has been told of; if it cannot be told, `failing_jobs` reports it."""
    from chopmark.store.repositories.ra.feed import WebhookCursor

    if services.messaging.webhook is not None:
        told, records = await WebhookCursor(services.foundation.engine).told()
        address = urlsplit(services.foundation.settings.webhook.url).netloc
        say(f"webhook: {address} has been told of the first {told} of {counted(records, 'record')}")


def _say_addresses(settings: Settings) -> None:
    """Print from which header or proxies a client's address is taken."""
    if settings.client_address_header:
        say(f"WARNING: {settings.client_address_header} is believed from every address: whoever reaches this port can")
        say("  choose their own. Set proxy.in_front and proxy.networks, and take client_address_header away.")
    elif settings.proxy.in_front == "yes":
        hops = counted(settings.proxy.hops, "proxy", "proxies")
        say(f"clients' addresses: {settings.proxy.header} as {settings.proxy.networks} say, over {hops}")


async def _issuer_faults(services: Services) -> list[str]:
    """Return what keeps the issuing CA from working; print what a person has to do at another CA."""
    from chopmark.app.external_ca import reach
    from chopmark.keys.adapter import ready
    from chopmark.keys.ports import SignerUnavailable

    if services.ca.built_in is not None:
        try:
            await ready(services.ca.authority.signer)
        except SignerUnavailable as error:
            return [f"the issuer's key cannot be used: {error}"]
    if services.foundation.settings.external_ca.protocol == "none":
        return []
    other = services.foundation.settings.external_ca
    say(f"protocol: {other.protocol} at {other.url}")
    for serial, why in (await services.ca.requests.attention()).items():
        say(f"  look at {serial}: {why}")
    heard = await reach(services.foundation.settings)
    return [] if heard is None else [f"the other CA: {heard}"]


async def ending_soon(services: Services) -> list[Ending]:
    """Warn of what expires within ninety days, and return what has expired; by CA, the soonest first."""
    from chopmark.app.issuing_cas import endings

    now, over = services.foundation.clock.now(), []
    for ending in await endings(services.ca.cas, services.va.status, now):
        if ending.until <= now:
            over.append(ending)
        elif ending.until - now < WARNED_BEFORE:
            say(f"WARNING: {ending.what} ends on {ending.until:%Y-%m-%d}: {ending.remedy}")
    return over


async def _check_clock(services: Services) -> list[str]:
    """Return why the clock is not trustworthy, as this process sees it and as this node's worker has recorded it."""
    from chopmark.jobs.clock import note_of

    seen, noted = (
        services.audit.clockwatch.trouble(),
        await services.foundation.installation.get(note_of(services.foundation.settings.node)),
    )
    return [*([] if seen is None else [seen]), *([f"the worker of this node: {noted}"] if noted else [])]


async def _check_stamps(services: Services) -> list[str]:
    """Print which authority makes time-stamps and which is the newest; return what is wrong."""
    from chopmark.audit.anchorcheck import LATE

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
    from chopmark.app.gateways import reach_mail

    if not services.foundation.settings.smtp.host:
        return []
    wrong = await reach_mail(services.foundation.settings, services.foundation.brand)
    if wrong is not None:
        return [wrong]
    say(f"mail server: {services.foundation.settings.smtp.host}:{services.foundation.settings.smtp.port} answers")
    return []


async def sms_faults(services: Services) -> list[str]:
    """Try each gateway that can be tried, all at once; return what is wrong. Nothing is sent."""
    import asyncio

    from chopmark.messaging.ports import GatewayFault
    from chopmark.messaging.probes import Probing

    tried = [gateway for gateway in services.messaging.gateways if isinstance(gateway, Probing)]
    faults = []
    for gateway, outcome in zip(tried, await asyncio.gather(*(one.probe() for one in tried)), strict=True):
        if isinstance(outcome, GatewayFault):
            code = f", its code: {outcome.detail}" if outcome.detail else ""
            faults.append(f"the gateway {gateway.name} cannot be used ({outcome.reason.value}{code})")
        elif not outcome.tried:
            say(f"gateway {gateway.name}: it can be reached; its account was not tried")
        else:
            say(f"gateway {gateway.name}: it knows us{f', {outcome.left} left' if outcome.left else ''}")
    return faults


def alarm_faults(foundation: Foundation) -> list[str]:
    """Say how operators are told; return what keeps them from being told."""
    from chopmark.app.gateways import GatewayUnfit
    from chopmark.app.operators import tellers_of
    from chopmark.messaging.tellers import TellerUnfit

    try:
        tellers = tellers_of(foundation.settings, foundation.brand)
    except (TellerUnfit, GatewayUnfit) as error:
        return [str(error)]
    ways = ", ".join(teller.name for teller in tellers)
    said = f"{ways}; `chopmark messages alarm --try` tells them" if ways else "nobody; the log alone has them"
    say(f"alarms go to: {said}")
    return []


async def _outside_faults(services: Services) -> list[str]:
    """Return what is wrong with signed heads and journal: where they lie, whether they are written, what they say."""
    import asyncio

    from chopmark.app import outside
    from chopmark.store.repositories.readiness import Readiness

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
    from chopmark.store.repositories.failing import FailingJobs

    return [
        f"the job {one.job} of the {one.place} has failed {counted(one.failures, 'time')} in a row since "
        f"{one.since:%Y-%m-%d %H:%M} UTC, last at {one.last:%H:%M} with {one.error}: its log has the reason"
        for one in await FailingJobs(services.foundation.engine, services.foundation.clock, "").all()
    ]


async def check_certificates(settings: Settings, lint_each: int) -> int:
    """Read every stored certificate again and print what does not hold, a line each."""
    from chopmark.app.external_ca import known_of
    from chopmark.app.issuing_cas import constants
    from chopmark.ca.checker import Checked, Checker
    from chopmark.ca.external.checker import ExternalChecker
    from chopmark.ca.shipped import shipped_profiles
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
    read, faults = counted(found.certificates, "certificate"), counted(len(found.faults), "fault")
    say(f"{read} read, {found.linted} linted, {faults}.")
    return 1 if found.faults else 0


CLOCKS_APART = timedelta(seconds=5)
"""This machine's clock and the database's may differ by so much: leases and codes depend on both."""


async def house_faults(services: Services) -> list[str]:
    """Return what is wrong with an installation that was opened."""
    named = [] if services.foundation.settings.mode == "demo" else demo_root_faults(services)
    return [*named, *await database_clock_faults(services), *await late_faults(services)]


def demo_root_faults(services: Services) -> list[str]:
    """Return a fault if the CA was founded as a demo's, because a CA can never change its name."""
    from chopmark.app.issuing_cas import living
    from chopmark.web.brand import DEMO_BRAND

    words = {DEMO_BRAND.firm.en, DEMO_BRAND.firm.zh, DEMO_BRAND.ca_name.en, DEMO_BRAND.ca_name.zh}
    named = [
        ca.authority.view.id
        for ca in living(services.ca.cas, services.foundation.clock.now())
        if any(word in name for der in _chain(ca.authority) for name in _names(der) for word in words)
    ]
    return [
        f"the CA {one} or its root is called after the demo's brand: set CHOPMARK_BRAND, and make another with "
        "`chopmark ca rollover` before a customer has a certificate"
        for one in named
    ]


async def database_clock_faults(services: Services) -> list[str]:
    """Return a fault if this machine's clock and the database's differ: both write times that are compared."""
    from chopmark.store.repositories.readiness import Readiness

    before = services.foundation.clock.now()
    theirs = await Readiness(services.foundation.engine).clock()
    away = theirs - before - (services.foundation.clock.now() - before) / 2
    if abs(away) <= CLOCKS_APART:
        return []
    way = "behind" if away > timedelta(0) else "ahead of"
    seconds = int(abs(away).total_seconds())
    return [f"this machine's clock is {counted(seconds, 'second')} {way} the database's: let NTP keep both"]


async def late_faults(services: Services) -> list[str]:
    """Return lists and answers that have expired, because relying parties reject them."""
    from chopmark.app.issuing_cas import living
    from chopmark.va.alarms import LIST_LEFT, Subject

    now, faults = services.foundation.clock.now(), []
    for ca in living(services.ca.cas, now):
        issuer = ca.authority.view.id
        for shard in range(ca.publisher.shards):
            crl = await services.va.status.crl(issuer, shard)
            if crl is not None and crl.next_update - now <= LIST_LEFT:
                ends = "has ended" if crl.next_update <= now else "ends"
                faults.append(
                    f"the revocation list {issuer}-{shard} is late, it {ends} at {crl.next_update:%Y-%m-%d %H:%M} UTC: "
                    "does a worker run? Its log names the job `publish`"
                )
        for alarm in await ca.watch.look():
            if alarm.subject is Subject.ANSWERS:
                since = now + alarm.left
                faults.append(
                    f"OCSP answers of {issuer} are late, they have waited to be signed since "
                    f"{since:%Y-%m-%d %H:%M} UTC: does a worker run? Its log names the job `presign`"
                )
    return faults


async def unpublished(services: Services) -> list[str]:
    """Return the lists that were never published; the worker publishes them when it first runs."""
    from chopmark.app.issuing_cas import living

    return [
        f"{ca.authority.view.id}-{shard}"
        for ca in living(services.ca.cas, services.foundation.clock.now())
        for shard in range(ca.publisher.shards)
        if await services.va.status.crl(ca.authority.view.id, shard) is None
    ]


def _chain(authority: Authority) -> tuple[bytes, ...]:
    return (authority.view.certificate_der, *authority.chain)


def _names(der: bytes) -> list[str]:
    from cryptography import x509

    return [str(attribute.value) for attribute in x509.load_der_x509_certificate(der).subject]
