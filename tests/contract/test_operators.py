"""What operators are told: each alarm once, whoever sees it, again each day while it lasts, and when it is over."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from chopmark.app.operators import EndingsLook, JobsLook, alarm_tasks, endings_here, tellers_of
from chopmark.app.settings import Settings, Smtp
from chopmark.app.settings_messages import AlarmSettings
from chopmark.core.types import Secret
from chopmark.jobs.alarms import LEASE_S, LONGEST_S, OperatorsTold
from chopmark.messaging.alarms import Alarm, AlarmKind, Note, ending_alarm
from chopmark.messaging.configuration import SendLimits
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.lines import LEAVES_WITHIN_S
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Verdict
from chopmark.messaging.smtp import SmtpSettings, Tls
from chopmark.messaging.tellers import AppriseTeller, TellerUnfit
from chopmark.store.repositories.failing import FailingJobs
from chopmark.store.repositories.messaging.alarms import AlarmRepository
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.spending import SpendingRepository
from chopmark.testing.gateways import MESSAGE
from chopmark.testing.http_stub import Heard, HttpStub, Mode, Says
from chopmark.testing.tls import server_identity
from chopmark.web.brand import DEMO_BRAND
from tests.contract.test_gateways import LOST, Counting
from tests.contract.world import World, world_fixture

world = world_fixture()

DOWN = Alarm(AlarmKind.GATEWAY_DOWN, "gateway:a", {"gateway": "a", "reason": "timeout", "detail": "-"})
OF_APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
INSTALLATION = "https://portal.example"


class Pager:
    """A way to operators that keeps what it was told, and takes nothing while it is `away`."""

    name = "pager"

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.away = False

    async def tell(self, note: Note, number: str, at: object) -> str | None:
        del number, at
        if self.away:
            return "unreachable"
        self.notes.append(note)
        return None

    def subjects(self) -> list[str]:
        told, self.notes = [note.subject for note in self.notes], []
        return told


def told(world: World, *pagers: Pager) -> OperatorsTold:
    store = AlarmRepository(world.services.foundation.engine)
    return OperatorsTold(store, pagers, (), world.clock, INSTALLATION)


async def test_an_alarm_that_many_processes_raise_is_told_once_then_daily_and_when_it_is_over(world: World) -> None:
    pager, store = Pager(), AlarmRepository(world.services.foundation.engine)
    workers = [told(world, pager) for _ in range(3)]

    async def round_of_all() -> list[str]:
        await asyncio.gather(*(worker.once() for worker in workers))
        return pager.subjects()

    await asyncio.gather(*(store.raised(DOWN, world.clock.at) for _ in range(3)))
    alarm = "[Chopmark ALARM] gateway down: a"
    assert await round_of_all() == [alarm]
    days = 0
    for _ in range(3 * 24):
        world.clock.later(hours=1)
        await store.raised(DOWN, world.clock.at)
        said = await round_of_all()
        assert said in ([], [alarm])
        days += len(said)
    assert days == 3
    await store.well("gateway:a", world.clock.at)
    assert await round_of_all() == []  # only when it has been well for a while
    world.clock.later(minutes=1)
    await store.raised(DOWN, world.clock.at)  # it was not
    world.clock.later(minutes=5)
    assert await round_of_all() == []
    await store.well("gateway:a", world.clock.at)
    world.clock.later(minutes=2)
    assert await round_of_all() == ["[Chopmark OK] gateway down: a"]
    for _ in range(10):
        world.clock.later(days=1)
        await store.well("gateway:a", world.clock.at)
        assert await round_of_all() == []


async def test_what_comes_and_goes_is_told_every_quarter_of_an_hour_at_most(world: World) -> None:
    pager, store = Pager(), AlarmRepository(world.services.foundation.engine)
    worker = told(world, pager)
    alarms = 0
    for _ in range(60):
        await store.raised(DOWN, world.clock.at)
        await worker.once()
        await store.well("gateway:a", world.clock.at)
        world.clock.later(minutes=2)
        await worker.once()
        alarms += sum("ALARM" in subject for subject in pager.subjects())
    assert 2 <= alarms <= 9  # in two hours


async def test_what_nobody_took_is_told_again_and_what_was_over_before_is_not_told_at_all(world: World) -> None:
    pager, store = Pager(), AlarmRepository(world.services.foundation.engine)
    worker = told(world, pager)
    pager.away = True
    await store.raised(DOWN, world.clock.at)
    assert await worker.once() == 0
    pager.away = False
    assert await worker.once() == 0  # leased: the other process may still be telling it
    world.clock.later(seconds=LEASE_S)
    assert await worker.once() == 1
    assert pager.subjects() == ["[Chopmark ALARM] gateway down: a"]
    short = Alarm(AlarmKind.BUDGET, "gateway:b", {"gateway": "b"})
    await store.raised(short, world.clock.at)
    await store.well("gateway:b", world.clock.at)
    world.clock.later(minutes=3)
    await worker.once()
    assert pager.subjects() == []


async def test_a_certificate_that_ends_is_told_at_30_14_7_and_1_days_and_daily_from_then_on(world: World) -> None:
    pager, store = Pager(), AlarmRepository(world.services.foundation.engine)
    worker, until = told(world, pager), world.clock.at + timedelta(days=40)
    told_at: list[int] = []
    for day in range(43):
        alarm = ending_alarm("the certificate of X", until, world.clock.at, "make another")
        if alarm is not None:
            await store.raised(alarm, world.clock.at)
        await worker.once()
        told_at += [40 - day] * len(pager.subjects())
        world.clock.later(days=1)
    assert told_at == [30, 14, 7, 1, 0, -1, -2]
    note_of_end = ending_alarm("x", world.clock.at, world.clock.at, "make another")
    assert note_of_end is not None
    assert note_of_end.grade == 0
    await store.well("ending:the certificate of X", world.clock.at)
    world.clock.later(minutes=3)
    await worker.once()
    assert pager.subjects() == ["[Chopmark OK] ending: the certificate of X"]


BUSY = GatewayFault(FaultReason.BUSY, Verdict.LATER)
WRONG = GatewayFault(FaultReason.AUTHENTICATION, Verdict.ALARM, detail="e")
BARRED = GatewayFault(FaultReason.BARRED, Verdict.FINAL)


@pytest.mark.parametrize(
    ("answers", "limits", "expected"),
    [
        ([WRONG], SendLimits(), ["gateway account: a"]),
        ([LOST, BUSY], SendLimits(), []),
        ([LOST, BUSY, BUSY], SendLimits(), ["gateway down: a"]),
        ([BARRED] * 9, SendLimits(), []),
        ([], SendLimits(per_day=0), ["budget: a"]),
    ],
    ids=["account", "twice", "thrice", "a bad number", "the day is used up"],
)
async def test_the_router_tells_operators_what_is_wrong_with_a_gateway_and_nothing_of_the_message(
    world: World, answers: list[GatewayFault], limits: SendLimits, expected: list[str]
) -> None:
    engine, pager = world.services.foundation.engine, Pager()
    store, gateway = AlarmRepository(engine), Counting("a", list(answers))
    router = Router(
        [gateway],
        DeliveryRepository(engine),
        breaker=Breaker(),
        spending=SpendingRepository(engine, {"a": limits}),
        alarms=store,
    )
    for number in range(max(1, len(answers))):
        message = message_of(world, number)
        with pytest.raises(GatewayFault):
            await router.send(message, world.clock.at)
    worker = told(world, pager)
    await worker.once()
    notes = list(pager.notes)
    assert [subject.removeprefix("[Chopmark ALARM] ") for subject in pager.subjects()] == expected
    kept = repr(await world.rows("SELECT * FROM alarms")) + repr(notes)
    assert MESSAGE.code is not None
    for secret in (MESSAGE.code.reveal(), MESSAGE.destination.reveal()[-9:], "C-1", "驗證碼"):
        assert secret not in kept
    if not expected or limits.per_day is not None:
        return
    world.clock.later(minutes=2)
    await router.send(message_of(world, 99), world.clock.at)
    world.clock.later(minutes=2)
    await worker.once()
    assert pager.subjects() == [f"[Chopmark OK] {expected[0]}"]


def message_of(world: World, number: int) -> Message:
    return replace(MESSAGE, message_id=f"M{number:025}", at=world.clock.at)


class Pumped:
    """Spending that finds pumping, as long as it is told to."""

    def __init__(self) -> None:
        self.on = True

    async def take(self, gateway: str, segments: int, now: datetime) -> bool:
        return True

    async def give_back(self, gateway: str, segments: int) -> None:
        """Nothing is counted."""

    async def pumped(self, now: datetime) -> bool:
        return self.on


async def test_pumping_is_over_when_a_code_goes_out_again_and_not_when_a_notice_does(world: World) -> None:
    engine, pager, spending = world.services.foundation.engine, Pager(), Pumped()
    store = AlarmRepository(engine)
    router = Router([Counting("a")], DeliveryRepository(engine), spending=spending, alarms=store)
    worker = told(world, pager)
    with pytest.raises(GatewayFault):
        await router.send(message_of(world, 1), world.clock.at)
    await worker.once()
    assert pager.subjects() == ["[Chopmark ALARM] pumping: a"]
    await router.send(replace(message_of(world, 2), code=None), world.clock.at)  # a notice costs as much as ever
    world.clock.later(minutes=3)
    await worker.once()
    assert pager.subjects() == []
    spending.on = False
    await router.send(message_of(world, 3), world.clock.at)
    world.clock.later(minutes=3)
    await worker.once()
    assert pager.subjects() == ["[Chopmark OK] pumping: a"]


async def test_a_part_of_a_day_that_reminders_have_used_up_is_no_alarm(world: World) -> None:
    engine, pager = world.services.foundation.engine, Pager()
    spending = SpendingRepository(engine, {"a": SendLimits(per_day=0)})
    store = AlarmRepository(engine)
    router = Router([Counting("a")], DeliveryRepository(engine), spending=spending, alarms=store, once=True)
    with pytest.raises(GatewayFault):
        await router.send(replace(message_of(world, 1), code=None), world.clock.at)
    await told(world, pager).once()
    assert pager.subjects() == []


async def test_a_job_that_keeps_failing_is_told_and_told_to_work_again(world: World) -> None:
    services, pager = world.services, Pager()
    look = JobsLook(services)
    worker = OperatorsTold(services.messaging.alarms, [pager], [look.look], world.clock, INSTALLATION)
    failing = FailingJobs(services.foundation.engine, world.clock, "worker at host-1")
    await failing.failing("publish", 7, "OSError")
    await worker.once()
    assert pager.subjects() == ["[Chopmark ALARM] job: publish"]
    await failing.well("publish")
    await worker.once()
    world.clock.later(minutes=2)
    await worker.once()
    assert pager.subjects() == ["[Chopmark OK] job: publish"]


async def test_our_own_certificates_are_looked_at_and_those_that_end_are_told(world: World) -> None:
    services, pager = world.services, Pager()
    for job in ("responder", "timestamp-key", "publish"):
        await world.once(job)
    found = {ending.what: ending.until for ending in await endings_here(services, world.clock.at)}
    issuer = services.ca.authority.view.id
    assert {f"the certificate of {issuer}", f"the OCSP responder's certificate of {issuer}"} < set(found)
    assert "the time-stamp authority's certificate" in found
    look = EndingsLook(services)
    worker = OperatorsTold(services.messaging.alarms, [pager], [look.look], world.clock, INSTALLATION)
    await worker.once()
    before = pager.subjects()
    world.clock.at = found[f"the certificate of {issuer}"] - timedelta(days=5)
    await worker.once()
    assert f"[Chopmark ALARM] ending: the certificate of {issuer}" in pager.subjects()
    assert not [subject for subject in before if issuer in subject and "certificate of" in subject]


class Showing:
    """A gateway whose certificate ends, and one that cannot be asked."""

    def __init__(self, name: str, until: datetime | None) -> None:
        self.name, self.until = name, until

    async def certificate_until(self) -> datetime | None:
        return self.until


async def test_certificates_of_gateways_and_of_tls_files_are_looked_at_too(world: World, tmp_path: Path) -> None:
    far, soon = server_identity(tmp_path), world.clock.at + timedelta(days=6)
    plain = world.services.foundation.settings
    outside = plain.external_ca.model_copy(update={"tls_certificate": far.trust})
    settings = plain.model_copy(update={"external_ca": outside})
    gateways = (Showing("mitake", soon), Showing("away", None))
    services = replace(
        world.services,
        foundation=replace(world.services.foundation, settings=settings),
        messaging=replace(world.services.messaging, gateways=gateways),  # type: ignore[arg-type]
    )
    here = {ending.what: ending.until for ending in await endings_here(services, world.clock.at)}
    assert here["our TLS certificate at the other CA (external_ca.tls_certificate)"] == far.until
    pager = Pager()
    look = EndingsLook(services)
    worker = OperatorsTold(services.messaging.alarms, [pager], [look.look], world.clock, INSTALLATION)
    await worker.once()
    assert "[Chopmark ALARM] ending: the TLS certificate of the gateway mitake" in pager.subjects()
    gateways[0].until = world.clock.at + timedelta(days=90)  # renewed
    world.clock.later(hours=13)
    await worker.once()
    world.clock.later(minutes=3)
    await worker.once()
    assert "[Chopmark OK] ending: the TLS certificate of the gateway mitake" in pager.subjects()


class Keeping:
    """An SMTP handler that keeps envelopes."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server, session
        self.envelopes.append(envelope)
        return "250 OK"


@asynccontextmanager
async def mail_server(handler: Keeping) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(handler), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


class SlowPager(Pager):
    """A way that takes half a minute for each alarm, while the other workers go on looking."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.others: list[OperatorsTold] = []

    async def tell(self, note: Note, number: str, at: object) -> str | None:
        self.world.clock.later(seconds=30)
        for other in self.others:
            await other.once()
        return await super().tell(note, number, at)


async def test_no_alarm_is_told_twice_though_those_before_it_were_told_slowly(world: World) -> None:
    slow, quick = SlowPager(world), Pager()
    slow.others = [told(world, quick)]
    subjects = {f"{number:02}" for number in range(20)}
    for subject in sorted(subjects):
        await world.services.messaging.alarms.raised(
            replace(DOWN, subject=subject, facts={"gateway": subject, "reason": "timeout", "detail": "-"}),
            world.clock.at,
        )
    worker = OperatorsTold(world.services.messaging.alarms, [slow, slow], (), world.clock, INSTALLATION)
    here = await worker.once()
    assert 0 < here < len(subjects), "the other worker tells what waits for too long"
    heard = Counter(subject.split()[-1] for subject in (*slow.subjects()[::2], *quick.subjects()))
    assert heard == Counter(subjects)
    assert await worker.once() == 0


def test_a_lease_covers_the_longest_attempt_of_one_way() -> None:
    mail = SmtpSettings("localhost", 25, Tls.NONE, "counter@firm.example", "Firm")
    assert mail.total_s + LEAVES_WITHIN_S < LONGEST_S < LEASE_S


class Chat(HttpStub):
    """A service that apprise reaches by json://."""

    def answer(self, heard: Heard) -> Says:
        del heard
        return Says("ok")


@OF_APPRISE
async def test_alarms_arrive_by_mail_and_at_an_address_of_apprise(world: World) -> None:
    handler, chat = Keeping(), Chat()
    async with mail_server(handler) as port, chat.listening() as address:
        settings = Settings(
            mode="demo",
            smtp=Smtp(host="127.0.0.1", port=port, tls="none", sender="counter@firm.example"),
            alarms=AlarmSettings(
                mail="ops@firm.example, duty@firm.example", urls=SecretStr(address.replace("http", "json"))
            ),
        )
        tellers = tellers_of(settings, DEMO_BRAND)
        assert len(tellers) == 3
        worker = OperatorsTold(world.services.messaging.alarms, tellers, (), world.clock, INSTALLATION)
        await world.services.messaging.alarms.raised(DOWN, world.clock.at)
        assert await worker.once() == 1
        assert [envelope.rcpt_tos for envelope in handler.envelopes] == [["ops@firm.example"], ["duty@firm.example"]]
        (heard,) = chat.heard
        said = json.loads(heard.body)
        assert said["title"] == "[Chopmark ALARM] gateway down: a"
        assert "閘道 a 不收訊息" in said["message"]
        assert "the gateway a takes no messages (timeout)" in said["message"]
        chat.mode = Mode.BROKEN
        world.clock.later(days=1)
        assert await worker.once() == 1  # one way took it
        assert len(handler.envelopes) == 4
    (task,) = alarm_tasks(world.services, tellers)
    assert task.name == "alarms"
    assert alarm_tasks(world.services, []) == ()


@OF_APPRISE
def test_an_address_that_apprise_does_not_know_is_named_by_its_place_and_not_by_its_words() -> None:
    with pytest.raises(TellerUnfit) as raised:
        AppriseTeller(Secret("nonsense://user:a-password@host"), 2)
    assert "number 2" in str(raised.value)
    assert "a-password" not in str(raised.value)


def test_mail_to_operators_needs_a_mail_server_and_plain_addresses() -> None:
    with pytest.raises(ValueError, match=r"smtp\.host"):
        Settings(mode="demo", alarms=AlarmSettings(mail="ops@firm.example"))
    with pytest.raises(ValueError, match="plain"):
        Settings(mode="demo", smtp=Smtp(host="127.0.0.1"), alarms=AlarmSettings(mail="Ops <ops@firm.example>"))
