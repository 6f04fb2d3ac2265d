"""Chromium with the same few words as the other engines, over Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, sync_playwright

from tests.journey.engines import HEIGHT, WIDTH, Engine, Refused

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = {"Down": "ArrowDown"}


@dataclass
class NoWire:
    """Chromium is not driven by WebDriver here."""

    def command(self, name: str, /, **parameters: Any) -> Any:
        """Refuse."""
        raise Refused(name, str(parameters))


@dataclass
class Chromium(Engine):
    """The page that is in front."""

    page: Page

    def go(self, url: str) -> None:
        """Open a page."""
        self._did(lambda: self.page.goto(url))

    def reload(self) -> None:
        """Load the page again."""
        self._did(self.page.reload)

    def back(self) -> None:
        """Press the browser's back button."""
        self._did(self.page.go_back)

    def forget(self) -> None:
        """Lose all cookies."""
        self.page.context.clear_cookies()

    @contextmanager
    def second_tab(self) -> Iterator[None]:
        """Go on in another tab, and come back to the first one at the end."""
        first, self.page = self.page, self.page.context.new_page()
        try:
            yield
        finally:
            self.page.close()
            self.page = first

    def press(self, key: str) -> None:
        """Press one key."""
        self.page.keyboard.press(NAMES.get(key, key))

    def press_twice(self, selector: str) -> None:
        """Press an element twice."""
        self.page.locator(selector).locator("visible=true").first.dblclick()

    def zoom(self, *, twice: bool) -> None:
        """Show everything at 200 %: half as many pixels of the page, each twice as large."""
        by = 2 if twice else 1
        session = self.page.context.new_cdp_session(self.page)
        shown = {"width": WIDTH // by, "height": HEIGHT // by, "deviceScaleFactor": by, "mobile": False}
        session.send("Emulation.setDeviceMetricsOverride", shown)
        session.detach()

    def force_colours(self, *, on: bool) -> bool:
        """Take the colours of the system instead of the page's."""
        self.page.emulate_media(forced_colors="active" if on else "none")
        return True

    @property
    def url(self) -> str:
        """The address of the page that is shown."""
        return self.page.url

    def script(self, body: str, *arguments: Any) -> Any:
        """Run a function body in the page."""
        try:
            return self.page.evaluate(f"(list) => (function () {{ {body} }}).apply(null, list)", list(arguments))
        except Error as error:
            raise Refused("javascript error", str(error)) from error

    def click(self, selector: str) -> None:
        """Press the first element of this selector."""
        self.page.locator(selector).locator("visible=true").first.click()

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field; for a file input, the file's name."""
        field = self.page.locator(selector).first
        field.set_input_files(text) if "[type=file]" in selector else field.fill(text)

    def picture(self) -> bytes:
        """Return what is shown, as PNG."""
        return self.page.screenshot()

    def _did(self, act: Any) -> None:
        try:
            act()
        except Error as error:
            raise Refused("navigation", str(error)) from error


@contextmanager
def chromium_engine(program: Path, folder: Path) -> Iterator[Chromium]:
    """Give Debian's Chromium, headless, with a fresh profile."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(program), args=ARGUMENTS)
        context = opened.new_context(locale="zh-TW", accept_downloads=True)
        context.set_default_timeout(30_000)
        yield Chromium("Chromium", NoWire(), folder, context.new_page())
        opened.close()
