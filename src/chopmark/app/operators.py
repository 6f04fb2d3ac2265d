"""What operators are told: which ways there are to them, and what the worker looks at for their sake."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from chopmark.app.gateways import mail_gateway
from chopmark.app.issuing_cas import Ending, endings
from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.core.each import each
from chopmark.core.types import Secret
from chopmark.jobs.alarms import EVERY_S, OperatorsTold
from chopmark.jobs.loop import Task
from chopmark.messaging.alarms import Alarm, AlarmKind, Teller, ending_alarm
from chopmark.messaging.ports import Gateway
from chopmark.messaging.probes import Shown
from chopmark.messaging.tellers import MailTeller, apprise_tellers
from chopmark.pki.x509 import not_after, read_certificates
from chopmark.store.repositories.failing import FailingJobs
from chopmark.web.brand import Brand

LOOKS_EVERY: Final = timedelta(hours=1)
REACHES_EVERY: Final = timedelta(hours=12)


def tellers_of(settings: Settings, brand: Brand) -> list[Teller]:
    """Return the ways to operators that the settings name. Raises TellerUnfit, and GatewayUnfit for the mail server."""
    tellers: list[Teller] = []
    if settings.alarms.recipients:
        gateway = mail_gateway(settings, brand)
        tellers += [MailTeller(gateway, recipient) for recipient in settings.alarms.recipients]
    urls = settings.alarms.urls.get_secret_value()
    return [*tellers, *(apprise_tellers(Secret(urls)) if urls else ())]


def alarm_tasks(services: Services, tellers: list[Teller]) -> tuple[Task, ...]:
    """Return the worker's job that tells operators; none where there is no way to any."""
    if not tellers:
        return ()
    foundation, store = services.foundation, services.messaging.alarms
    looks = [JobsLook(services).look, EndingsLook(services).look]
    told = OperatorsTold(store, tellers, looks, foundation.clock, foundation.settings.portal_url)
    return (Task("alarms", told.once, EVERY_S),)


class JobsLook:
    """Raises the jobs that keep failing, at every host, and says of those that work again."""

    def __init__(self, services: Services) -> None:
        self._failing = FailingJobs(services.foundation.engine, services.foundation.clock, "")
        self._store = services.messaging.alarms

    async def look(self, now: datetime) -> None:
        """Compare what fails with what operators were told."""
        failing = {f"job:{one.job}@{one.place}": one for one in await self._failing.all()}
        lasting = {due.alarm.subject for due in await self._store.lasting() if due.alarm.kind is AlarmKind.JOB}
        for subject, one in failing.items():
            if subject not in lasting:
                facts = {"job": one.job, "place": one.place, "error": one.error}
                await self._store.raised(Alarm(AlarmKind.JOB, subject, facts), now)
        for subject in sorted(lasting - failing.keys()):
            await self._store.well(subject, now)


class EndingsLook:
    """Raises certificates that end: once an hour those that lie here, twice a day those that gateways show."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.messaging.alarms
        self._looked_at: datetime | None = None
        self._reached_at: datetime | None = None

    async def look(self, now: datetime) -> None:
        """Raise what ends within thirty days, and say of what was renewed. A look that fails is had again."""
        await each((self._here, self._there), lambda part: part(now))

    async def _here(self, now: datetime) -> None:
        if self._looked_at is None or not self._looked_at <= now < self._looked_at + LOOKS_EVERY:
            for ending in await endings_here(self._services, now):
                await self._say(ending, now)
            self._looked_at = now

    async def _there(self, now: datetime) -> None:
        if self._reached_at is None or not self._reached_at <= now < self._reached_at + REACHES_EVERY:
            await each(self._services.messaging.gateways, lambda gateway: self._of_gateway(gateway, now))
            self._reached_at = now

    async def _of_gateway(self, gateway: Gateway, now: datetime) -> None:
        ending = await ending_there(gateway)
        if ending is not None:
            await self._say(ending, now)

    async def _say(self, ending: Ending, now: datetime) -> None:
        alarm = ending_alarm(ending.what, ending.until, now, ending.remedy, ending.first)
        if alarm is not None:
            await self._store.raised(alarm, now)
        else:
            await self._store.well(f"ending:{ending.what}", now)


async def endings_here(services: Services, now: datetime) -> list[Ending]:
    """Return when our own certificates end: of CAs, responders, the time-stamp authority, and of TLS, from files."""
    found = await endings(services.ca.cas, services.va.status, now)
    stamps = await services.va.stamps.not_after()
    if stamps is not None:
        renewed = "a worker renews it by itself a year before; does its job `timestamp-key` fail?"
        found.append(Ending("the time-stamp authority's certificate", stamps, renewed))
    return [*found, *_of_files(services.foundation.settings)]


def _of_files(settings: Settings) -> Iterator[Ending]:
    named = {
        "our TLS certificate at the other CA (external_ca.tls_certificate)": settings.external_ca.tls_certificate,
        "the EST interface's TLS certificate (est.certificate)": settings.est.certificate,
    }
    for what, path in named.items():
        first = None if path is None else _first(path)
        if first is not None:
            yield Ending(what, not_after(first), f"put a new one into {path}")


def _first(path: Path) -> bytes | None:
    with suppress(OSError, ValueError, IndexError):
        return read_certificates(path.read_bytes())[0]
    return None


async def ending_there(gateway: Gateway) -> Ending | None:
    """Return when the certificate ends that a gateway shows; one that cannot be reached is said by whoever needs it."""
    until = await gateway.certificate_until() if isinstance(gateway, Shown) else None
    if until is None:
        return None
    remedy = "its provider has to renew it, or no code goes out over it"
    return Ending(f"the TLS certificate of the gateway {gateway.name}", until, remedy)
