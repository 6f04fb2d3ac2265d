"""A code by SMS in Chromium and Firefox: by Mitake, by EVERY8D where Mitake fails, by mail where both fail."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from chopmark.testing.http_stub import Mode
from chopmark.testing.sms_stubs import PASSWORD as ACCOUNT
from chopmark.testing.sms_stubs import USER, Every8dStub, MitakeStub
from tests.journey.counter import Counter, Prepared, running
from tests.journey.engines import firefox, patiently
from tests.journey.guest import Guest
from tests.journey.strangers import PASSPHRASE, Maker
from tests.journey.visitor import Visitor, code_in
from tests.journey.watching import Watch

SECRET = "r" * 32
LIST = """
[[gateway]]
name = "mitake"
kind = "mitake"
url = "{mitake}"
user = "{user}"
answer_s = 1.0
callback = "http://127.0.0.1:{port}/hooks/gateways/mitake/"
secrets = {{ password = "{folder}/account", report = "{folder}/report" }}

[[gateway]]
name = "every8d"
kind = "every8d"
url = "{every8d}"
user = "{user}"
secrets = {{ password = "{folder}/account" }}
"""


@dataclass
class Stubs:
    """Two gateways in a thread of their own, and which messages have come."""

    mitake: MitakeStub = field(default_factory=MitakeStub)
    every8d: Every8dStub = field(default_factory=Every8dStub)
    ready: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def run(self) -> None:
        """Serve until the test is over."""
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            for stub in (self.mitake, self.every8d):
                await stack.enter_async_context(stub.listening())
            self.ready.set()
            await self.over.wait()

    def report(self, text: str, code: str) -> None:
        """Mitake reports the state of the message with this text: the customer gets notices beside it."""
        (sms,) = [one for one in tuple(self.mitake.phone) if one.text == text]
        asyncio.run_coroutine_threadsafe(self.mitake.report(sms, code), self.loop).result(30)


@pytest.fixture
def sending(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counter, Stubs]]:
    """A counter whose text messages go to stubs of two gateways. Each test has its own: breakers rest in a worker."""
    folder, stubs = tmp_path_factory.mktemp("gateways"), Stubs()
    thread = threading.Thread(target=stubs.run)
    thread.start()
    try:
        assert stubs.ready.wait(30)
        (folder / "account").write_text(ACCOUNT)
        (folder / "report").write_text(SECRET)
        listed: Path = folder / "gateways.toml"
        addresses = {"mitake": stubs.mitake.address, "every8d": stubs.every8d.address}
        listed.write_text(LIST.format(user=USER, port=prepared.port, folder=folder, **addresses))
        with running(prepared, tmp_path_factory.mktemp("counter"), CHOPMARK_GATEWAYS=str(listed)) as counter:
            yield counter, stubs
    finally:
        stubs.loop.call_soon_threadsafe(stubs.over.set)
        thread.join()


def to_code(visitor: Visitor, number: str) -> str:
    """Come to the page that asks for the code; return its reference."""
    visitor.sign_in(number)
    visitor.apply("rekey", "browser")
    visitor.step("key")
    visitor.make_key(number)
    return visitor.send_code("mobile")


def shown(visitor: Visitor, stub: MitakeStub | Every8dStub, reference: str) -> str:
    """Wait for the phone to show the message with this reference; return its text."""
    for _ in range(300):
        found = [sms.text for sms in tuple(stub.phone) if reference in sms.text]
        if found:
            return found[-1]
        visitor.page.wait_for_timeout(100)
    raise AssertionError("no text message came")


def test_codes_come_by_sms_by_another_gateway_and_by_mail(sending: tuple[Counter, Stubs], browser: Browser) -> None:
    counter, stubs = sending
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        # 1. Mitake carries the code, and reports later that it failed: the page offers the other way.
        reference = to_code(visitor, "C10001")
        text = shown(visitor, stubs.mitake, reference)
        notice = visitor.page.locator("[data-undelivered]")
        expect(notice).to_be_hidden()
        for _ in range(50):  # a report that comes before the counter knows of its message is of nobody
            stubs.report(text, "7")
            visitor.page.reload()
            if notice.is_visible():
                break
        expect(notice).to_be_visible()
        visitor.private.add(code_in(text))
        visitor.enter(code_in(text))  # and the code is right all the same
        visitor.page.locator(".cm-result").wait_for()
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        # 2. Mitake takes the message and hangs: EVERY8D carries the same code.
        stubs.mitake.mode = Mode.HANG
        reference = to_code(visitor, "C10006")
        code = code_in(shown(visitor, stubs.every8d, reference))
        assert code == code_in(shown(visitor, stubs.mitake, reference))
        visitor.private.add(code)
        visitor.enter(code)
        visitor.page.locator(".cm-result").wait_for()
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        # 3. Both fail: the page that is open says so and leads to the channels.
        stubs.mitake.mode = stubs.every8d.mode = Mode.BUSY
        to_code(visitor, "C10009")
        notice = visitor.page.locator("[data-undelivered]")
        expect(notice).to_be_visible()
        visitor.look()
        notice.get_by_role("link").click()
        expect(visitor.step("channel").locator("input[name=channel][value=email]")).to_be_enabled()
    kept = b"".join(path.read_bytes() for path in counter.data.glob("chopmark.sqlite*"))
    sent = (*stubs.mitake.phone, *stubs.every8d.phone)
    codes = [code_in(sms.text) for sms in sent if "驗證碼" in sms.text]  # reminders come, too, when it is their hour
    assert len(codes) >= 3
    for word in (*codes, *(sms.number[-9:] for sms in sent)):
        assert word.encode() not in kept


FIREFOX = ("C10011", "C10008", "C10010")
"""Other customers than Chromium's: a customer's codes have a minute between them."""


def to_code_in(guest: Guest, number: str, folder: Path) -> str:
    """Come to the page that asks for the code; return its reference."""
    guest.sign_in(number)
    guest.apply("rekey", "browser")
    theirs = Maker(guest.counter.p12(number), guest.counter.passphrase(number), folder)
    guest.open_old(theirs.openssl(f"{number}.p12", PASSPHRASE), PASSPHRASE)
    guest.submit("key")
    form = guest.step("channel")
    guest.engine.script("document.querySelector(arguments[0]).click()", f"{form} input[value=mobile]")
    guest.submit("channel")
    guest.step("code")
    reference: str = guest.engine.script("return document.querySelector('main .cm-serial').innerText.trim()")
    return reference


def came(stub: MitakeStub | Every8dStub, reference: str) -> str:
    """Wait for the phone to show the message with this reference; return its code."""
    for _ in patiently():
        found = [sms.text for sms in tuple(stub.phone) if reference in sms.text]
        if found:
            return code_in(found[-1])
    raise AssertionError("no text message came")


def test_codes_come_the_same_ways_in_firefox(sending: tuple[Counter, Stubs], tmp_path: Path) -> None:
    counter, stubs = sending
    stubs.mitake.mode = stubs.every8d.mode = Mode.WELL
    with firefox(tmp_path / "browser") as engine:
        guest = Guest(counter, engine, Watch(engine))
        # 1. Mitake carries the code.
        reference = to_code_in(guest, FIREFOX[0], tmp_path)
        guest.enter(came(stubs.mitake, reference))
        engine.wait(".cm-result")
        # 2. Mitake takes the message and hangs: EVERY8D carries the same code.
        stubs.mitake.mode = Mode.HANG
        reference = to_code_in(guest, FIREFOX[1], tmp_path)
        code = came(stubs.every8d, reference)
        assert code == came(stubs.mitake, reference)
        guest.enter(code)
        engine.wait(".cm-result")
        # 3. Both fail: the page says so within seconds, and offers the mail, which carries a code that is right.
        stubs.mitake.mode = stubs.every8d.mode = Mode.BUSY
        to_code_in(guest, FIREFOX[2], tmp_path)
        engine.wait("[data-undelivered]")
        engine.click("[data-undelivered] a")
        form = guest.step("channel")
        assert engine.script("return !document.querySelector(arguments[0]).disabled", f"{form} input[value=email]")
