"""A customer at the counter: does what the manual says, sees only what the pages show."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from playwright.sync_api import TimeoutError as PageTooLate

from tests.journey.accessibility import check_page
from tests.journey.counter import Counter
from tests.journey.secrecy import secrets_of, told

PASSWORD = "demo-Pass-2468"
LOOKS = 3_000  # at the inbox, one after the other


@dataclass
class Visitor:
    """A browser profile and its page. `secrets` must be in no request, `private` in no log."""

    counter: Counter
    context: BrowserContext
    page: Page
    language: str
    passphrase: str = ""
    requests: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    secrets: set[bytes] = field(default_factory=set)
    private: set[str] = field(default_factory=lambda: {PASSWORD})

    @classmethod
    @contextmanager
    def arrive(cls, counter: Counter, browser: Browser, language: str) -> Iterator["Visitor"]:
        """Give a visitor with a profile of their own."""
        context = browser.new_context(locale=language, accept_downloads=True, base_url=counter.url)
        with cls.in_context(counter, context, language) as visitor:
            yield visitor

    @classmethod
    @contextmanager
    def in_context(cls, counter: Counter, context: BrowserContext, language: str) -> Iterator["Visitor"]:
        """Give a visitor with this profile; an error in a page's script or against its policy fails the test."""
        visitor = cls(counter, context, context.pages[0] if context.pages else context.new_page(), language)
        context.set_default_timeout(30_000)
        context.on("request", lambda request: visitor.requests.append(told(request)))
        context.on("weberror", lambda error: visitor.faults.append(str(error.error)))
        context.on(
            "console",
            lambda message: visitor.faults.append(message.text) if "Content Security" in message.text else None,
        )
        try:
            yield visitor
            visitor.left_nothing_behind()
        finally:
            context.close()

    def left_nothing_behind(self) -> None:
        """Expect no fault, no secret in a request, and nothing private in a log."""
        assert self.faults == []
        for secret in self.secrets:
            assert not [said for said in self.requests if secret in said]
        logs = self.counter.logs()
        assert [word for word in self.private if word in logs] == []

    # What is on the page

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(path)

    def see(self, zh: str, en: str = "") -> None:
        """Expect words in the page's main part, in the visitor's language."""
        expect(self.page.locator("main")).to_contain_text(self.say(zh, en))

    def say(self, zh: str, en: str) -> str:
        """Return the words in the visitor's language."""
        return zh if self.language == "zh-TW" else en

    def press(self, zh: str, en: str = "") -> None:
        """Press the button of this name."""
        self.page.get_by_role("button", name=self.say(zh, en), exact=True).click()

    def switch(self) -> None:
        """Go on in the other language, by the switch in the page's header."""
        self.language = self.say("en", "zh-TW")
        self.page.locator(f".cm-languages__link[hreflang='{self.say('zh-Hant-TW', 'en')}']").click()
        expect(self.page.locator("html")).to_have_attribute("lang", self.say("zh-Hant-TW", "en"))

    def look(self) -> None:
        """Expect that everybody can use the page as it stands."""
        check_page(self.page)

    def step(self, name: str, page: Page | None = None) -> Locator:
        """Return the form of a step once its script is there."""
        form = (page or self.page).locator(f"form[data-step={name}][data-attached]")
        form.first.wait_for(state="attached")
        return form.first

    def submit(self, name: str, page: Page | None = None) -> None:
        """Press the button of a step's form."""
        self.step(name, page).locator("button[data-submit]").first.click()

    def refused(self, sentence: str, field: str | None = None) -> None:
        """Expect the summary with this sentence, focused, and the same sentence at the field."""
        summary = self.page.locator("[data-error-summary]")
        expect(summary).to_contain_text(sentence)
        expect(summary).to_be_visible()
        expect(summary).to_be_focused()
        if field is not None:
            expect(self.page.locator(f"#{field}-error")).to_contain_text(sentence)
            expect(self.page.locator(f"#{field}-error")).to_be_visible()

    @property
    def order(self) -> str:
        """The order whose page is shown."""
        return self.page.url.partition("/orders/")[2].partition("?")[0]

    # The ways in

    def sign_in(self, number: str, password: str = PASSWORD) -> None:
        """Sign in at the portal."""
        self.go("/sign-in")
        self.fill_in(number, password)

    def fill_in(self, number: str, password: str = PASSWORD) -> None:
        """Fill in the sign-in form that is shown, and send it."""
        self.page.locator("#who").fill(number)
        self.page.locator("#password").fill(password)
        self.page.locator("form[action='/sign-in'] button[type=submit]").click()

    # The steps of an order

    def apply(self, operation: str, home: str = "browser", reason: str | None = None) -> None:
        """Choose what and where, and begin."""
        self.go(f"/certificates/apply?operation={operation}")
        form = self.step("start")
        form.locator(f"input[name=key_home][value={home}]").check()
        if reason is not None:
            form.locator(f"input[name=reason][value={reason}]").check()
        self.submit("start")
        try:
            self.page.wait_for_url("**/orders/**")
        except PageTooLate as late:
            raise AssertionError(f"no order began; the page says: {self.page.locator('body').inner_text()}") from late

    def open_old(self, number: str) -> None:
        """Open the present certificate's file."""
        self.page.locator("#old_file").set_input_files(self.counter.p12(number))
        self.page.locator("#old_passphrase").fill(self.counter.passphrase(number))
        self.secrets.update(secrets_of(self.counter.p12(number), self.counter.passphrase(number)))
        self.private.add(self.counter.passphrase(number))

    def make_key(self, old: str | None = None) -> None:
        """Have the key made; a renewal opens the file of customer `old`."""
        form = self.step("key")
        if old is not None:
            self.open_old(old)
        if form.locator("[data-passphrase]").count():
            self.passphrase = form.locator("[data-passphrase]").input_value()
            self.secrets.add(self.passphrase.encode())
            self.private.add(self.passphrase)
            form.locator("#written_down").check()
        self.submit("key")
        self.step("channel")

    def send_code(self, channel: str = "mobile") -> str:
        """Have a code sent; return its reference."""
        self.step("channel").locator(f"input[name=channel][value={channel}]").check()
        self.submit("channel")
        return self.reference()

    def reference(self) -> str:
        """Return the reference on the page that asks for the code."""
        self.step("code")
        return self.page.locator("main .cm-serial").first.inner_text().strip()

    def message(self, reference: str) -> str:
        """Return the message with this reference as the rendered phone or mail box shows it."""
        for _ in range(LOOKS):
            if reference in self.context.request.get("/demo/inbox").text():
                break
            self.page.wait_for_timeout(50)  # asking without a pause would take the machine from the worker that sends
        inbox = self.context.new_page()
        try:
            inbox.goto("/demo/inbox")
            return inbox.locator(".cm-message", has_text=reference).first.inner_text()
        finally:
            inbox.close()

    def code(self, reference: str) -> str:
        """Return the code that a person reads in the message with this reference."""
        code = code_in(self.message(reference))
        self.private.add(code)
        return code

    def enter(self, code: str) -> None:
        """Type a code and have it checked."""
        self.step("code").locator("#code").fill(code)
        self.submit("code")

    def prove_code(self, channel: str = "mobile") -> None:
        """Have a code sent, read it and enter it."""
        self.enter(self.code(self.send_code(channel)))
        self.page.locator(".cm-result").wait_for()

    def go_on(self) -> None:
        """Press 立即去申請憑證."""
        self.page.locator("main a.cm-primary").click()

    def birth_date(self, year: str, month: str, day: str, era: str = "roc") -> None:
        """Enter the birth date."""
        form = self.step("birth_date")
        form.locator("#era").select_option(era)
        for name, value in (("year", year), ("month", month), ("day", day)):
            form.locator(f"#{name}").fill(value)
        self.submit("birth_date")

    def agree(self) -> None:
        """Agree, and open the last question."""
        self.step("review").locator("#consent").check()
        self.submit("review")
        self.page.locator("dialog[open]").wait_for()

    def confirm(self) -> None:
        """Say yes to the last question."""
        self.page.locator("[data-dialog-confirm]").click()

    def install(self, keep: Path | None = None) -> None:
        """Install the certificate; a file is kept at `keep`."""
        form = self.step("install")
        if keep is None:
            self.submit("install")
        else:
            form.locator("#passphrase").fill(self.passphrase)
            self.save(keep)
            self.page.locator("#new_file").set_input_files(keep)
            form.locator("[data-saved] button[data-submit]").click()
        self.page.locator("[data-done]").wait_for()

    def save(self, keep: Path) -> None:
        """Have the new certificate's file saved, and keep it."""
        with self.page.expect_download() as download:
            self.submit("install")
        download.value.save_as(keep)
        self.secrets.update(secrets_of(keep, self.passphrase))
        self.page.locator("#new_file").wait_for()

    def to_review(self, birth: tuple[str, str, str] | None, channel: str = "mobile", era: str = "roc") -> None:
        """Go from the code to the last look."""
        self.prove_code(channel)
        self.go_on()
        if birth is not None:
            self.birth_date(*birth, era)
        self.step("review")

    def finish(self, keep: Path | None = None) -> None:
        """Go from the last look to the end."""
        self.agree()
        self.confirm()
        self.install(keep)


def code_in(message: str) -> str:
    """Return the code that a person would read in a message."""
    found = re.search(r"(?:驗證碼|Code)[：: ]*([0-9]{6,10})", message)
    assert found is not None, message
    return found[1]
