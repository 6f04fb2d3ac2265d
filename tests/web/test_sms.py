"""A code on its way to a phone, through the real gateways and stubs of their providers, as the customer sees it."""

import asyncio
import email
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import policy
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from chopmark.app.operators import alarm_tasks, tellers_of
from chopmark.app.settings import Settings, Smtp
from chopmark.app.settings_messages import AlarmSettings, SmsSettings
from chopmark.testing.http_stub import Mode
from chopmark.testing.sms_stubs import PASSWORD, USER, Every8dStub, MitakeStub
from tests.web.counter import Errand, World, errand, opened, settings_of

HOOK, SECRET = "/hooks/gateways/mitake/", "r" * 32
NOTICE = re.compile(r"<p [^>]*data-undelivered( hidden)?>")
LIST = """
[[gateway]]
name = "mitake"
kind = "mitake"
url = "{mitake}"
user = "{user}"
answer_s = 0.3
callback = "https://counter.example{hook}"
secrets = {{ password = "account", report = "report" }}

[[gateway]]
name = "every8d"
kind = "every8d"
url = "{every8d}"
user = "{user}"
secrets = {{ password = "account" }}
"""


@asynccontextmanager
async def counter(played: Path, data: Path, mitake: MitakeStub, every8d: Every8dStub) -> AsyncIterator[World]:
    async with mitake.listening() as one, every8d.listening() as other:

        def settings(folder: Path) -> Settings:
            (folder / "account").write_text(PASSWORD)
            (folder / "report").write_text(SECRET)
            listed = folder / "gateways.toml"
            listed.write_text(LIST.format(mitake=one, every8d=other, user=USER, hook=HOOK))
            return settings_of(folder).model_copy(update={"gateways": listed})

        async with opened(played, data, settings) as world:
            yield world


async def to_code(world: World) -> Errand:
    return await (await errand(world, "C10001")).until("code", "rekey")


def code_in(text: str) -> str:
    found = re.search(r"(?<!\d)\d{6}(?!\d)", text)
    assert found is not None
    return found[0]


async def is_said(order: Errand) -> bool:
    """Whether the page says that the message did not come, and offers the other way."""
    page = (await order.browser.get(f"/orders/{order.order['id']}")).text
    found = NOTICE.search(page)
    assert found is not None
    answer = await order.call(order.path, method="GET")
    assert answer.json()["challenge"]["undelivered"] is (found[1] is None)
    return found[1] is None


async def test_a_code_comes_by_sms_and_its_report_ends_on_the_page(played: Path, tmp_path: Path) -> None:
    mitake, every8d = MitakeStub(), Every8dStub()
    async with counter(played, tmp_path / "data", mitake, every8d) as world:
        order = await to_code(world)
        await world.work()
        (sms,) = mitake.phone
        assert sms.fields["response"] == f"https://counter.example{HOOK}{SECRET}"
        for secret, status in (("x" * 32, 404), (SECRET, 200), (SECRET, 200)):
            answer = await world.browser().get(f"{HOOK}{secret}?msgid={sms.provider_id}&statuscode=7&statusstr=x")
            assert answer.status_code == status
        assert await is_said(order)
        form = {"msgid": sms.provider_id, "statuscode": "4"}
        answer = await world.browser().request("POST", HOOK + SECRET, data=form)
        assert answer.status_code == 200
        assert not await is_said(order)
        answer = await order.call(f"{order.path}/code", {"code": code_in(sms.text)})
        assert answer.is_success
        assert every8d.phone == []


async def test_where_mitake_hangs_every8d_carries_the_same_code(played: Path, tmp_path: Path) -> None:
    mitake, every8d = MitakeStub(), Every8dStub()
    mitake.mode = Mode.HANG
    async with counter(played, tmp_path / "data", mitake, every8d) as world:
        order = await to_code(world)
        await world.work()
        assert [code_in(sms.text) for sms in mitake.phone] == [code_in(sms.text) for sms in every8d.phone]
        assert not await is_said(order)
        world.clock.later(seconds=61)
        await world.work()
        assert (len(mitake.phone), len(every8d.phone)) == (1, 1)
        answer = await order.call(f"{order.path}/code", {"code": code_in(every8d.phone[0].text)})
        assert answer.is_success


async def test_where_both_fail_the_page_says_so_within_five_seconds_and_the_mail_carries_another_code(
    played: Path, tmp_path: Path
) -> None:
    mitake, every8d = MitakeStub(), Every8dStub()
    mitake.mode = every8d.mode = Mode.BUSY
    async with counter(played, tmp_path / "data", mitake, every8d) as world:
        order = await to_code(world)
        await world.work()
        assert not await is_said(order)
        world.clock.later(seconds=4)
        assert await is_said(order)
        answer = await order.send_code("email")
        assert answer.is_success
        assert not await is_said(order)
        answer = await order.enter_code()
        assert answer.is_success, answer.text
        assert mitake.phone == every8d.phone == []
        stored = await world.rows("SELECT * FROM deliveries")
        assert "0912" not in repr(stored)


async def test_neither_log_nor_database_keeps_a_code_or_a_number(
    played: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the stubs heard is their own; here nothing but ids and outcomes stays (I17)."""
    mitake, every8d = MitakeStub(), Every8dStub()
    mitake.mode = Mode.RESET
    async with counter(played, tmp_path / "data", mitake, every8d) as world:
        await to_code(world)
        await world.work()
        (sms,) = every8d.phone
        code = code_in(sms.text)
        for table in ("deliveries", "work", "challenges", "leaves"):
            kept = repr(await world.rows(f"SELECT * FROM {table}"))
            assert code not in kept
            assert sms.number.removeprefix("+886") not in kept
    said = capfd.readouterr()
    assert code not in said.out + said.err
    assert sms.number.removeprefix("+886") not in said.out + said.err


async def test_a_block_of_addresses_that_asked_too_often_is_told_to_take_the_mail(played: Path, tmp_path: Path) -> None:
    """The API's route says from where a request comes; another customer behind the same /24 meets its limit (I16)."""

    def settings(folder: Path) -> Settings:
        return settings_of(folder).model_copy(update={"sms": SmsSettings(codes_per_block=1)})

    async with opened(played, tmp_path / "data", settings) as world:
        await to_code(world)
        neighbour = await (await errand(world, "C10006")).until("channel", "rekey")
        answer = await neighbour.send_code()
        assert answer.status_code == 429
        assert answer.json()["detail"].startswith("Too many codes by text message were asked for from your network.")
        assert int(answer.headers["retry-after"]) > 3000
        answer = await neighbour.send_code("email")
        assert answer.is_success, answer.text


class Mailbox:
    """A mail server that keeps what it takes."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server, session
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(f"{envelope.rcpt_tos} {mail['Subject']} {mail.get_content()}")
        return "250 OK"


async def test_operators_are_mailed_at_once_when_a_gateway_refuses_our_account(played: Path, tmp_path: Path) -> None:
    """Settings, worker and gateways put together; the customer's code goes over the next gateway meanwhile."""
    mitake, every8d, box = MitakeStub(), Every8dStub(), Mailbox()
    mitake.refuse = ["k"] * 9  # our address is not allowed
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    async with mitake.listening() as one, every8d.listening() as other, server:

        def settings(folder: Path) -> Settings:
            (folder / "account").write_text(PASSWORD)
            (folder / "report").write_text(SECRET)
            listed = folder / "gateways.toml"
            listed.write_text(LIST.format(mitake=one, every8d=other, user=USER, hook=HOOK))
            smtp = Smtp(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls="none")
            changes = {"gateways": listed, "smtp": smtp, "alarms": AlarmSettings(mail="ops@firm.example")}
            return settings_of(folder).model_copy(update=changes)

        async with opened(played, tmp_path / "data", settings) as world:
            await to_code(world)
            await world.work()
            (sms,) = every8d.phone
            tellers = tellers_of(world.services.foundation.settings, world.services.foundation.brand)
            (told,) = alarm_tasks(world.services, tellers)
            await told.job()
            mails = [mail for mail in box.mails if "ops@firm.example" in mail and "mitake" in mail]
            assert len(mails) == 1
            assert "[Chopmark ALARM] gateway account: mitake" in mails[0]
            assert "(not_allowed, its code: k)" in mails[0]
            assert code_in(sms.text) not in "".join(box.mails)
            assert sms.number.removeprefix("+886") not in "".join(box.mails)
            box.mails.clear()
            await told.job()
            assert box.mails == []
            assert [due.alarm.subject for due in await world.services.messaging.alarms.lasting()][:1] != []
