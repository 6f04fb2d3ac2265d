"""The demo's history: about twenty made-up customers, whose past is made by calling the ordinary verbs.

A clock steps from 400 days ago to now. The CA is founded first; then the customers' orders are made in time order, so
that the demo has a certificate in every state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import found_ca
from chopmark.app.secrets import SECRET_NAMES, NotReady
from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.app.worker import tasks
from chopmark.audit.durable import private_folder, write_durably
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refused
from chopmark.core.types import (
    AccountNumber,
    Channel,
    CustomerId,
    FactorClass,
    LoginId,
    Operation,
    OrderState,
    Reason,
    Secret,
)
from chopmark.demo.former_ca import YEAR, FormerCa, revoked_at
from chopmark.demo.journey import Journey, Wanted
from chopmark.demo.people import PEOPLE, Person
from chopmark.demo.phone import Phone
from chopmark.demo.verbs import Verbs
from chopmark.identity.password import hash_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.ports import Purpose
from chopmark.pki import pkcs12
from chopmark.ra.context import Caller
from chopmark.ra.policy import renewal_opens
from chopmark.ra.reminders.plan import Ending, closing, targets
from chopmark.stepup.challenge import Challenge
from chopmark.store import db
from chopmark.store.current import make_current
from chopmark.store.engine.opening import open_engine
from chopmark.store.repositories.installation import Installation
from chopmark.tw.zone import TAIPEI, local_date, local_midnight, plus_months
from chopmark.web.services import Demo, DemoPerson

CLIENT = "demo-trading"
STALE_AFTER = timedelta(days=10)
BEGINS = timedelta(days=400)
PASSWORD = "demo-Pass-2468"
BROUGHT = timedelta(days=10)
"""So long ago the old CA's certificates were imported."""
_BEGUN, _MADE = "demo_begun", "demo_made"
_AT_LAST = frozenset({"timestamp-key", "presign", "sequence"})
"""The worker's jobs that are due after a simulated year; otherwise a first start would report them as late."""
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_LOGIN = frozenset({FactorClass.PASSWORD})


@dataclass(slots=True)
class SteppingClock:
    """A clock that shows the moment up to which the history has been played."""

    moment: datetime

    def now(self) -> datetime:
        """Return the story's moment."""
        return self.moment


class Play:
    """Plays the past of all customers into an empty installation; `rounds` are PBKDF2's for their .p12 files."""

    def __init__(self, services: Services, clock: SteppingClock, folder: Path, rounds: int = pkcs12.KDF_ROUNDS) -> None:
        self._rounds = rounds
        self._services = services
        self._clock = clock
        self._folder = folder
        jobs = {task.name: task.job for task in tasks(services)}
        self._plan, self._remind = jobs["remind-plan"], jobs["remind"]
        self._former = FormerCa.opened(folder / "former", clock.now())
        self._jobs = [jobs[name] for name in ("deliver-0", "revoke", "sequence")]
        self._former_jobs = [jobs[name] for name in ("former-lists", "former-revoked")]

    async def run(self, now: datetime) -> None:
        """Play everything up to `now`, in time order."""
        await self._services.ra.customer_import.add([person.row() for person in PEOPLE], "demo")
        for person in PEOPLE:
            await self._password(person)
        await self._work()
        scenes: list[tuple[datetime, Person, str]] = []
        for person in PEOPLE:
            scenes += [(now - days * _DAY, person, "issue") for days in person.issued]
            scenes += [(now - person.revoked * _DAY, person, "revoke")] if person.revoked else []
            scenes += [(now - person.unproven * _DAY, person, "unproven")] if person.unproven else []
            scenes += [(now - _DAY, person, "mobile")] if person.new_mobile else []
            scenes += [(now - 2 * _DAY, person, "hold")] if person.wrong_birth_dates else []
            scenes += [(at, person, what) for days in person.issued for at, what in self._reminders(now - days * _DAY)]
        scenes.append((now - BROUGHT, PEOPLE[0], "bring"))
        past = (scene for scene in scenes if scene[0] <= now)
        for at, person, what in sorted(past, key=lambda scene: (scene[0], scene[1].number)):
            self._clock.moment = at
            await self._act(person, what)
        self._clock.moment = now
        await self._work()
        for job in self._former_jobs:
            await job()
        await self._services.ca.publisher.publish_due()
        write_readme(self._folder, self._services.foundation.settings.portal_url)

    async def _act(self, person: Person, what: str) -> None:
        if what == "issue":
            await self._issue(person, prove=True)
        elif what == "unproven":
            await self._issue(person, prove=False)
        elif what == "revoke":
            await self._revoke(person)
        elif what == "mobile":
            await self._services.ra.customer_import.add([person.row(mobile=person.new_mobile)], "demo")
        elif what == "hold":
            await self._hold(person)
        elif what == "plan":
            await self._plan()
        elif what == "remind":
            while await self._remind():
                pass
        elif what == "bring":
            await self._bring()
        await self._work()

    def _reminders(self, issued: datetime) -> list[tuple[datetime, str]]:
        """Return when reminders of a certificate that was issued then are planned and sent.

        They are planned as a day's sending hours begin, and sent just before these end. Which ones are due, and whether
        the certificate still lives, is for the worker's own jobs to say.
        """
        foundation = self._services.foundation
        end = local_midnight(plus_months(local_date(issued), 12))
        ending = Ending(end, renewal_opens(foundation.policy, end))
        policy, found = foundation.reminders, list[tuple[datetime, str]]()
        for _, day in targets(policy, foundation.calendar, ending):
            found.append((datetime.combine(day, policy.hours[0].begin, TAIPEI), "plan"))
            found.append((closing(policy, day) - _MINUTE, "remind"))
        return found

    async def _bring(self) -> None:
        """Import what the old CA issued to some of the customers, and publish that CA's list of what it has revoked."""
        now, made = self._clock.now(), {}
        for person in PEOPLE:
            if person.former_left is not None:
                key = ClientKey.generate(person.key)
                begins = now + BROUGHT + person.former_left * _DAY - YEAR
                made[person] = self._former.issue(person.person_id, key, begins, self._services.foundation.entropy)
                self._write_file(person, key, made[person], (self._former.certificate.public_bytes(Encoding.DER),))
        export = self._former.folder / "export.pem"
        export.write_bytes(b"".join(load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in made.values()))
        await self._services.ra.certificate_import.run([export], "demo")
        revoked = [revoked_at(der, now + BROUGHT / 2) for person, der in made.items() if person.revoked_there]
        self._former.publish(now + BROUGHT, revoked)

    def _write_file(self, person: Person, key: ClientKey, der: bytes, chain: tuple[bytes, ...]) -> None:
        """Write the customer's certificate file and its pass-phrase."""
        passphrase = Secret("-".join(self._services.foundation.entropy.token(2).hex() for _ in range(4)))
        file = key.p12(der, chain, person.file, passphrase, self._rounds)
        write_durably(self._folder / f"{person.file}.p12", file)
        write_durably(self._folder / f"{person.file}.txt", f"{passphrase.reveal()}\n".encode())

    async def _work(self) -> None:
        for job in self._jobs:
            while await job():
                pass

    async def _password(self, person: Person) -> None:
        phc = hash_password(Secret(PASSWORD), self._services.foundation.entropy.token(16))
        row = PasswordRow(CustomerId(person.number), phc, PasswordKind.DEMO, None)
        await self._services.identity.sessions.set_password(row, "demo")

    def _caller(self, person: Person) -> Caller:
        return Caller(CustomerId(person.number), _LOGIN, "demo", LoginId(f"demo-{person.number}"))

    async def _channel(self, person: Person) -> Channel:
        contacts = await self._services.identity.people.contacts(CustomerId(person.number))
        return Channel.MOBILE if Channel.MOBILE in contacts else Channel.EMAIL

    def _journey(self, person: Person, key: ClientKey) -> tuple[Journey, Verbs]:
        """Return a journey of this person, who reads each code as the inbox page does."""
        services = self._services
        verbs = Verbs(services, self._caller(person))

        async def code() -> str:
            await self._work()
            found = await services.ra.verifier.latest(verbs.order.id)
            derived = None if found is None else services.ra.verifier.code_of(found[0])
            if derived is None:
                raise ValueError("the demo's own code cannot be derived")
            return derived.reveal()

        birth = date.fromisoformat(person.birth) if person.birth else None
        return Journey(verbs, self._clock.now, lambda: code, key, key.request(), birth), verbs

    async def _wanted(self, person: Person) -> Wanted:
        view = await self._services.ra.customer_queries.overview(self._caller(person))
        operation = view.advice.operation or Operation.REPLACE
        reason = Reason.NEW_DEVICE if operation is Operation.REPLACE else None
        return Wanted(operation, AccountNumber(person.account), reason=reason)

    async def _issue(self, person: Person, *, prove: bool) -> None:
        services, key = self._services, ClientKey.generate(person.key)
        journey, verbs = self._journey(person, key)
        await journey.to_review(await self._wanted(person), await self._channel(person))
        await journey.confirm()
        if verbs.order.state is not OrderState.ISSUED or verbs.order.serial is None:
            raise ValueError(f"the demo's order of {person.number} is {verbs.order.state}")
        if prove:
            await journey.prove()
        certificate = await services.ra.customer_queries.certificate(self._caller(person), verbs.order.serial)
        if certificate is None:
            raise ValueError("an issued order without its certificate")
        self._write_file(person, key, certificate.der, certificate.chain)

    async def _revoke(self, person: Person) -> None:
        present = (await self._services.ra.customer_queries.overview(self._caller(person))).present
        if present is None:
            raise ValueError(f"{person.number} has nothing to revoke")
        journey, verbs = self._journey(person, ClientKey.generate())
        reason = Reason.NO_LONGER_NEEDED
        await verbs.start(Wanted(Operation.REVOKE, present.account, reason=reason, serial=present.serial))
        await journey.code(await self._channel(person))
        await journey.confirm()

    async def _hold(self, person: Person) -> None:
        journey, verbs = self._journey(person, ClientKey.generate(person.key))
        await verbs.start(await self._wanted(person))
        await journey.bind()
        await journey.code(await self._channel(person))
        for _ in range(person.wrong_birth_dates):
            try:
                await verbs.birth_date(date(1950, 1, 1))
            except Refused:
                continue
        await self._services.ra.enrolment.cancel(self._caller(person), verbs.order.id)


def write_readme(folder: Path, url: str) -> None:
    """Write down where to go and who is who, for a demo that answers at this address."""
    lines = [
        "Chopmark demo: where to go, and who is who",
        "",
        f"1  Open {url}/demo in a browser: the made-up firm's trading program. Choose a customer there,",
        f"   or sign in at {url}/sign-in with a number and the password below.",
        f"2  Codes arrive in the demo's phone and mail box: {url}/demo/inbox",
        "",
        "All people, numbers and addresses are made up. Everybody's trading password is:",
        f"    {PASSWORD}",
        "",
        "NAME.p12 is the customer's certificate file, NAME.txt its pass-phrase.",
        "The last three have theirs of the CA before; former/ has that CA's certificate, list and export.",
        "",
    ]
    lines += [f"{p.number}  {p.person_id:<11} {p.birth or '-':<11} {p.name}: {p.note}" for p in PEOPLE]
    (folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def is_demo_data(data: Path) -> bool:
    """Tell whether a directory is a demo's: the first thing that a demo makes is the folder of its people."""
    return (data / "demo").is_dir()


async def require_demo(settings: Settings, environment: Mapping[str, str]) -> None:
    """Return when nothing here is a production installation's; raises NotReady before anything is written.

    1 the settings  2 the data directory  3 the database, which is only looked at.
    """
    secrets = [name for name in SECRET_NAMES if getattr(settings, name).get_secret_value()]
    told = {
        "CHOPMARK_MODE is production": environment.get("CHOPMARK_MODE") == "production",
        "secrets are set": settings.secrets_dir is not None or bool(secrets),
        "CHOPMARK_PUBLIC_URL is an https address": settings.public_url.startswith("https://"),
        "there is an HSM": settings.device is not None,
        "another CA certifies": settings.external_ca.protocol != "none",
    }
    for why, holds in told.items():
        if holds:
            raise NotReady(f"these are the settings of a production installation ({why}): a demo takes none of them")
    if settings.data.exists() and any(settings.data.iterdir()) and not is_demo_data(settings.data):
        raise NotReady(f"{settings.data} is not a demo's directory: name an empty one, or none yet, with --data")
    if settings.database and await db.current(settings.database) is not None:
        engine = await open_engine(settings.database)
        try:
            if await Installation(engine).get(_BEGUN) is None and await Installation(engine).get(_MADE) is None:
                raise NotReady("CHOPMARK_DATABASE is not a demo's database: name an empty one, or leave it out")
        finally:
            await engine.close()


async def prepare(settings: Settings, rounds: int = pkcs12.KDF_ROUNDS) -> datetime:
    """Make the demo's installation unless it is there; return when it was made. `rounds` as in `Play`."""
    private_folder(settings.data)
    (settings.data / "demo").mkdir(exist_ok=True)
    await make_current(settings.database_url)
    now = SystemClock().now()
    clock = SteppingClock(now - BEGINS)
    await found_ca(settings, clock, SystemEntropy())
    FormerCa.opened(settings.data / "demo" / "former", clock.now())
    services = await build(settings, clock, SystemEntropy())
    try:
        made = await services.foundation.installation.get(_MADE)
        if made is None:
            await services.foundation.installation.remember(_BEGUN, now.isoformat())
            await Play(services, clock, settings.data / "demo", rounds).run(now)
            for task in tasks(services):
                if task.name in _AT_LAST:
                    await task.job()
            credential = await services.identity.launches.put_client(CLIENT, "demo trading program", "demo")
            write_durably(settings.data / "secrets" / "demo_client", credential.secret.reveal().encode())
            made = await services.foundation.installation.remember(_MADE, now.isoformat())
    finally:
        await services.close()
    return datetime.fromisoformat(made)


async def demo_of(services: Services, phone: Phone | None = None) -> Demo:
    """Return the demo's part of the web; what a `phone` shows stands on the inbox page with the rest."""
    secret = Secret((services.foundation.settings.data / "secrets" / "demo_client").read_text())

    async def newest(most: int) -> list[InboxEntry]:
        since = services.foundation.clock.now() - _DAY
        found = await services.messaging.inbox.newest(most)
        entries = [entry for entry in found if entry.at >= since or entry.purpose is Purpose.REMINDER]
        entries += [] if phone is None else phone.newest(most)
        return sorted(entries, key=lambda entry: entry.at, reverse=True)[:most]

    async def code_of(entry: InboxEntry) -> Secret | None:
        challenge: Challenge | None = (
            None if entry.challenge is None else await services.ra.challenges.get(entry.challenge)
        )
        return None if challenge is None else services.ra.verifier.code_of(challenge)

    people = tuple(DemoPerson(p.number, p.account, p.name, p.note) for p in PEOPLE)
    return Demo(people, CLIENT, secret, newest, code_of)
