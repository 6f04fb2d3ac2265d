"""Chromium as an `Engine`: the few commands of WebDriver, said by Playwright."""

import base64
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ElementHandle, Error, Page, sync_playwright

from tests.journey.conftest import CHROMIUM_ARGUMENTS
from tests.journey.engines import ELEMENT, Engine, Refused
from tests.machine import program


@dataclass
class Spoken:
    """Takes a command's name and says it to Playwright's page."""

    page: Page
    found: dict[str, ElementHandle] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=itertools.count)

    def command(self, name: str, **given: Any) -> Any:
        """Send it; Refused when the browser refuses."""
        try:
            return getattr(self, f"_{name}")(**given)
        except Error as error:
            raise Refused(name, str(error)) from error

    def _Navigate(self, url: str) -> None:
        self.page.goto(url)

    def _Refresh(self) -> None:
        self.page.reload()

    def _GetCurrentURL(self) -> str:
        return self.page.url

    def _ExecuteScript(self, script: str, args: list[Any], sandbox: None) -> Any:
        return self.page.evaluate(f"(given) => (function () {{ {script} }}).apply(null, given)", args)

    def _FindElement(self, using: str, value: str) -> dict[str, str]:
        element = self.page.query_selector(value)
        if element is None:
            raise Refused("no such element", value)
        name = str(next(self.ids))
        self.found[name] = element
        return {ELEMENT: name}

    def _ElementClick(self, id: str) -> None:
        self.found[id].click()

    def _ElementClear(self, id: str) -> None:
        self.found[id].fill("")

    def _ElementSendKeys(self, id: str, text: str, value: list[str]) -> None:
        if self.found[id].get_attribute("type") == "file":
            self.found[id].set_input_files(text)
        else:
            self.found[id].type(text)

    def _TakeScreenshot(self) -> str:
        return base64.b64encode(self.page.screenshot()).decode()


@contextmanager
def chromium(folder: Path) -> Iterator[Engine]:
    """Give Debian's Chromium, without a window, with a fresh profile."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(program("chromium")), args=CHROMIUM_ARGUMENTS)
        page = opened.new_context(locale="zh-TW").new_page()
        yield Engine("Chromium", Spoken(page), folder)
        opened.close()
