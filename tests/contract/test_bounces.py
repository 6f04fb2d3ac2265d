"""Mails that came back, on both databases: they end their messages as the reports of SMS gateways do."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from chopmark.app.foundation import SystemEntropy
from chopmark.app.settings import Settings, Smtp
from chopmark.cli.bounces import MOST_KEPT, TRY_AGAIN, keep_mail, mails_of, take
from chopmark.core.types import Channel, Operation
from chopmark.messaging.bounces import MOST_OCTETS, Bounces, Came, Unread
from chopmark.messaging.ports import FaultReason, GatewayFault, Receipt, Verdict
from chopmark.messaging.reports import DeliveryReports
from chopmark.messaging.return_paths import ReturnPaths
from chopmark.ra.expiries import Expiry, Funnel, Unreached
from chopmark.store import db
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from tests.contract.reminded import Reminded, taipei
from tests.contract.test_gateways import Counting, delivery, outcome
from tests.contract.world import ANN, World, world_fixture
from tests.unit.messaging.test_bounces import DEAD, MESSAGE, dsn, failed, vector

world = world_fixture()
KEY = bytes(32)
PATHS = ReturnPaths("bounces+*@mail.example.com", KEY)


def bounces(world: World) -> Bounces:
    return Bounces(PATHS, DeliveryRepository(world.engine), world.clock, "smtp")


def returned(message: str, *recipients: str) -> bytes:
    return dsn(*(recipients or (DEAD,)), to=str(PATHS.sender(message)))


async def came(world: World, message: str, *recipients: str) -> Came:
    return (await bounces(world).take(returned(message, *recipients)))[0]


async def mailed(world: World, *answers: GatewayFault | type[BaseException] | None) -> str:
    """Ask for a code by mail and send it; return the id of its message."""
    errand = await world.to_key(ANN, Operation.ENROL)
    await errand.send(Channel.EMAIL)
    await world.told()
    gateway = Counting("smtp", list(answers), channel=Channel.EMAIL)
    await delivery(world, gateway).once()
    return gateway.got[0].message_id


async def test_a_code_whose_mail_came_back_offers_the_other_way_and_neither_delays_nor_repeats_change_that(
    world: World,
) -> None:
    message = await mailed(world)
    assert await came(world, message, "Action: delayed\nStatus: 4.4.1") is Came.DELAYED
    assert await outcome(world) == "sent"
    assert await came(world, message) is Came.RECORDED
    assert await outcome(world) == "failed:reported"
    for again in (DEAD, failed("5.7.1")):
        assert await came(world, message, again) is Came.KNOWN
    assert await outcome(world) == "failed:reported"
    rows = await world.rows("SELECT report, report_detail FROM deliveries")
    assert rows == [{"report": "failed", "report_detail": "5.1.1"}]
    assert await world.count("unreachable_contacts") == 0  # a code's life is too short to tell


async def test_a_mail_of_another_installation_or_of_nobody_changes_nothing(world: World) -> None:
    message = await mailed(world)
    stranger = Bounces(
        ReturnPaths("bounces+*@mail.example.com", b"k" * 32), DeliveryRepository(world.engine), world.clock, "smtp"
    )
    assert await stranger.take(returned(message)) == (Came.OTHER, Unread.FORGED)
    assert await came(world, MESSAGE) is Came.KNOWN  # our mark, and a message that is long forgotten
    assert await outcome(world) == "sent"
    assert await world.count("deliveries") == 1
    assert await world.count("early_reports") == 0


@pytest.mark.parametrize("answer", [GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN), None])
async def test_a_mail_whose_answer_was_lost_comes_back_too(world: World, answer: GatewayFault | None) -> None:
    message = await mailed(world, answer)
    assert await came(world, message) is Came.RECORDED
    rows = await world.rows("SELECT report FROM deliveries")
    assert rows == [{"report": "failed"}]


async def test_a_mail_that_the_server_never_took_cannot_come_back(world: World) -> None:
    message = await mailed(world, GatewayFault(FaultReason.BUSY, Verdict.LATER))
    assert await came(world, message) is Came.KNOWN
    assert await outcome(world) == "busy"


async def test_a_mail_that_comes_back_before_its_row_is_closed_is_not_lost(world: World) -> None:
    errand = await world.to_key(ANN, Operation.ENROL)
    await errand.send(Channel.EMAIL)
    await world.told()
    (challenge,) = await world.rows("SELECT id FROM challenges")
    message, now = str(challenge["id"]), world.clock.now()
    store = DeliveryRepository(world.engine)
    assert await store.begin(message, "smtp", now) is None
    assert await came(world, message) is Came.RECORDED  # the mail server was quicker than its own answer
    await store.end(message, "smtp", Receipt("smtp", "4XyZ12"), now)
    await delivery(world, Counting("smtp", channel=Channel.EMAIL)).once()
    assert await outcome(world) == "sent"
    await DeliveryReports([], store, world.clock).settle()
    assert await outcome(world) == "failed:reported"


NOTICE = """
INSERT INTO work (id, kind, customer, channel, contact_version, facts, attempts, not_before, leased_until, done_at,
  outcome)
VALUES (:id, 'notice', 'C1', :channel, 1, '{}', 1, 0, 0, :done, :outcome)
"""


@pytest.mark.parametrize(
    ("channel", "done", "how", "known"),
    [
        ("email", 0, "sent", True),
        ("email", None, None, True),  # it is being handed over
        ("email", 0, "failed:content", False),
        ("mobile", 0, "sent", False),
    ],
)
async def test_a_notice_by_mail_that_came_back_marks_its_contact(
    world: World, channel: str, done: int | None, how: str | None, known: bool
) -> None:
    message = f"{MESSAGE}-email"
    await world.change(NOTICE, id=message, channel=channel, done=done, outcome=how)
    assert await came(world, message) is (Came.RECORDED if known else Came.KNOWN)
    assert await came(world, message) is Came.KNOWN
    rows = await world.rows("SELECT customer, channel, version, why FROM unreachable_contacts")
    marked = {"customer": "C1", "channel": "email", "version": 1, "why": "reported"}
    assert rows == ([marked] if known else [])
    if how == "sent" and known:
        (row,) = await world.rows("SELECT outcome FROM work WHERE id = :id", id=message)
        assert row["outcome"] == "failed:reported"


async def reminded_once(world: World) -> tuple[Reminded, str]:
    """Remind Ann by mail that renewal is open; return the id of the message."""
    reminded = Reminded(world, people=world.services.identity.people)
    reminded.mail.name = "smtp"
    await reminded.at(2026, 6, 25, 12)
    await reminded.certificate(ANN, taipei(2026, 7, 31, 23, 59, 59))
    await reminded.until(2026, 7, 1)
    (first,) = reminded.mail.got
    return reminded, first.message_id


async def expiry(world: World) -> Expiry:
    """Ann's certificate on the list of those that end."""
    services = world.services.ra.expiries
    (row,) = [row async for row in services.all(services.window(days=60, since=0))]
    return row


BACK = [("5.1.1", "reported"), ("5.7.1", "returned"), ("4.4.7", "returned")]


@pytest.mark.parametrize("wanted", [None, "email"])
@pytest.mark.parametrize(("status", "why"), BACK)
async def test_after_a_reminder_that_came_back_the_next_one_goes_by_sms_whatever_the_reason(
    world: World, status: str, why: str, wanted: str | None
) -> None:
    await world.change(
        "INSERT INTO reminder_preferences (customer, channel, changed_at) VALUES (:customer, :wanted, 0)",
        customer=ANN,
        wanted=wanted,
    )
    reminded, message = await reminded_once(world)
    assert (await expiry(world)).funnel is Funnel.REACHED
    assert await came(world, message, failed(status)) is Came.RECORDED
    assert await world.rows("SELECT channel, why FROM unreachable_contacts") == [{"channel": "email", "why": why}]
    found = await expiry(world)
    assert (found.funnel, found.reminders, found.unreached) == (Funnel.QUIET, 0, None)
    assert reminded.sms.got == [], "the same step is not told by another way"
    await reminded.until(2026, 7, 30)
    assert [way for _, way, _ in reminded.sent] == ["smtp", "sms", "sms", "sms"]
    assert (await expiry(world)).funnel is Funnel.REACHED


@pytest.mark.parametrize(("status", "why"), BACK)
async def test_who_has_only_this_address_is_on_the_list_and_is_reminded_there_if_it_is_not_dead(
    world: World, status: str, why: str
) -> None:
    await world.change("DELETE FROM contacts WHERE customer = :customer AND channel = 'mobile'", customer=ANN)
    reminded, message = await reminded_once(world)
    await came(world, message, failed(status))
    found = await expiry(world)
    assert (found.funnel, found.unreached) == (Funnel.QUIET, Unreached.BOUNCED)
    await reminded.until(2026, 7, 18)
    again = [one.message_id for one in reminded.mail.got[1:]]
    assert len(again) == (why == "returned")
    found = await expiry(world)
    assert found.unreached is (None if again else Unreached.BOUNCED)
    for message in again:
        assert await came(world, message, failed(status)) is Came.RECORDED
        assert (await expiry(world)).unreached is Unreached.BOUNCED
    assert reminded.twice == []


@pytest.mark.parametrize(
    ("known", "why", "left"),
    [
        (1, "reported", (2, "returned")),
        (2, "reported", (2, "reported")),  # that it is dead says more
        (2, "returned", (2, "returned")),
        (3, "returned", (3, "returned")),
    ],
)
async def test_a_message_that_came_back_does_not_bring_a_dead_contact_to_life(
    world: World, known: int, why: str, left: tuple[int, str]
) -> None:
    await world.change(NOTICE, id=MESSAGE, channel="email", done=0, outcome="sent")
    await world.change("UPDATE work SET contact_version = 2 WHERE id = :id", id=MESSAGE)
    await world.change(
        "INSERT INTO unreachable_contacts (customer, channel, version, why, since)"
        " VALUES ('C1', 'email', :known, :why, 7)",
        known=known,
        why=why,
    )
    assert await came(world, MESSAGE, failed("5.7.1")) is Came.RECORDED
    (row,) = await world.rows("SELECT version, why FROM unreachable_contacts")
    assert (row["version"], row["why"]) == left
    if known < 3:
        assert await came(world, MESSAGE, DEAD) is Came.KNOWN


async def test_a_mail_that_comes_back_late_says_nothing_about_an_address_that_was_changed_since(world: World) -> None:
    message = MESSAGE
    await world.change(NOTICE, id=message, channel="email", done=0, outcome="sent")
    await world.change(
        "INSERT INTO unreachable_contacts (customer, channel, version, why, since)"
        " VALUES ('C1', 'email', 2, 'destination', 7)"
    )
    assert await came(world, message) is Came.RECORDED
    assert await world.rows("SELECT version, since FROM unreachable_contacts") == [{"version": 2, "since": 7}]


@pytest.fixture
async def installed(tmp_path: Path) -> Settings:
    """Settings whose database has the tables and a notice that was sent by mail."""
    smtp = Smtp(host="127.0.0.1", tls="none", bounces="bounces+*@mail.example.com")
    settings = Settings(mode="production", data=tmp_path, smtp=smtp, csrf_key=SecretStr(KEY.hex()))
    await db.upgrade(settings.database_url)
    return settings


def environment(settings: Settings) -> dict[str, str]:
    """What a mail server gives the command in its pipe: no secret but the key of the marks."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "CHOPMARK_DATA": str(settings.data),
        "CHOPMARK_SMTP__BOUNCES": settings.smtp.bounces,
        "CHOPMARK_CSRF_KEY": KEY.hex(),
    }


async def test_a_maildir_is_emptied_of_what_is_ours_and_the_rest_stays_for_people(
    installed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = tmp_path / "box"
    for name in ("new", "cur", "tmp"):
        (box / name).mkdir(parents=True)
    for number, mail in enumerate([vector("postfix-delayed"), vector("exim"), b"Subject: hello\n\nHello\n"]):
        (box / "new" / str(number)).write_bytes(mail)
    (box / "new" / "big").write_bytes(b"x" * (MOST_OCTETS + 1))
    (box / "new" / "secret").symlink_to(tmp_path / "chopmark.sqlite")
    assert await take(installed, box, SystemEntropy()) == 0
    assert sorted(path.name for path in (box / "cur").iterdir()) == ["2:2,", "big:2,"]
    assert [path.name for path in (box / "new").iterdir()] == ["secret"]
    assert capsys.readouterr().out.splitlines() == [
        "1 known already: failed 5.0.0",
        "1 no bounce of ours: no delivery status notification",
        "1 no bounce of ours: too big",
        "1 of a mail that is still being tried: waiting 4.2.0",
        "4 mails read.",
    ]


async def test_an_mbox_and_a_single_mail_are_read_and_left_as_they_are(
    installed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mbox = tmp_path / "mbox"
    started = b"From MAILER-DAEMON Sat Nov 28 21:52:17 2026\n"
    mbox.write_bytes(b"\n".join([started + vector("postfix-unknown"), started + b"Subject: x\n\n>From me\n", b""]))
    for path, read in (
        (mbox, "2 mails read."),
        (Path(__file__).parents[1] / "vectors" / "bounces" / "gmail.eml", "1 mail read."),
    ):
        before = path.read_bytes()
        assert await take(installed, path, SystemEntropy()) == 0
        assert path.read_bytes() == before
        assert capsys.readouterr().out.splitlines()[-1] == read


def test_of_a_mail_in_an_mbox_no_more_is_kept_than_is_read() -> None:
    long = b"From a\n" + b"x" * (3 * MOST_OCTETS) + b"\n\nFrom b\nSubject: x\n\nFrom here on\n"
    first, second = mails_of(io.BytesIO(long))
    assert len(first) == MOST_OCTETS + 1
    assert second == b"Subject: x\n\n"  # whoever writes an mbox puts > before such a line
    assert list(mails_of(io.BytesIO(b"Subject: x\n\nFrom me\n"))) == [b"Subject: x\n\nFrom me\n"]
    assert list(mails_of(io.BytesIO(b""))) == []


def test_what_is_left_for_people_is_in_a_maildir_until_somebody_has_looked(tmp_path: Path) -> None:
    box = tmp_path / "left"
    assert keep_mail(box, "a", b"Subject: who are you?\n\n")
    assert [path.read_bytes() for path in (box / "new").iterdir()] == [b"Subject: who are you?\n\n"]
    assert (box / "new" / "a").stat().st_mode & 0o077 == 0
    for number in range(MOST_KEPT - 1):
        (box / "new" / str(number)).touch()
    assert not keep_mail(box, "b", b"x")
    (box / "new" / "a").rename(box / "cur" / "a:2,S")
    assert keep_mail(box, "b", b"x")
    assert list((box / "tmp").iterdir()) == []


async def test_the_pipe_of_a_mail_server_takes_one_mail_and_asks_to_come_again_when_nothing_can_be_recorded(
    installed: Settings,
) -> None:
    left = installed.data / "left"

    def piped(mail: bytes, **given: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "chopmark", "bounces", "--keep", str(left)],
            input=mail,
            env=environment(installed) | given,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.returncode, (done.stdout + done.stderr).decode()

    assert piped(vector("exchange") + b"x" * (1 << 21)) == (0, "no bounce of ours: too big, kept\n")
    assert [path.stat().st_size for path in (left / "new").iterdir()] == [MOST_OCTETS + 1]
    assert piped(vector("exchange")) == (0, "known already: failed 5.1.10\n")
    assert len(list((left / "new").iterdir())) == 1
    code, said = piped(vector("exchange"), CHOPMARK_SMTP__BOUNCES="")
    assert (code, "smtp.bounces is not set" in said) == (TRY_AGAIN, True)
    code, said = piped(vector("exchange"), CHOPMARK_DATA=str(installed.data / "elsewhere"))
    assert (code, "schema" in said) == (TRY_AGAIN, True)
