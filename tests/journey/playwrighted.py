"""Chromium as an `Engine`: the few commands of WebDriver, said by Playwright."""

import base64
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ElementHandle, Error, Page, sync_playwright

from tests.journey.chromium import ARGUMENTS
from tests.journey.engines import ELEMENT, Engine, Refused
from tests.machine import program


@dataclass
class Spoken:
    """Takes a command's name and says it to Playwright's page."""

    page: Page
    found: dict[str, ElementHandle] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=itertools.count)

    def command(self, name: str, /, **parameters: Any) -> Any:
        """Send it; Refused when the browser refuses."""
        try:
            return self._said(name, parameters)
        except Error as error:
            raise Refused(name, str(error)) from error

    def _said(self, name: str, given: dict[str, Any]) -> Any:
        page, element = self.page, self.found.get(given.get("id", ""))
        match name:
            case "Navigate":
                page.goto(given["url"])
            case "Refresh":
                page.reload()
            case "GetCurrentURL":
                return page.url
            case "ExecuteScript":
                return page.evaluate(
                    f"(given) => (function () {{ {given['script']} }}).apply(null, given)", given["args"]
                )
            case "TakeScreenshot":
                return base64.b64encode(page.screenshot()).decode()
            case "FindElement":
                return self._find(given["value"])
            case _:
                if element is None:
                    raise Refused("unknown command", name)
                self._to(element, name, given)
        return None

    def _find(self, selector: str) -> dict[str, str]:
        element = self.page.query_selector(selector)
        if element is None:
            raise Refused("no such element", selector)
        name = str(next(self.ids))
        self.found[name] = element
        return {ELEMENT: name}

    def _to(self, element: ElementHandle, name: str, given: dict[str, Any]) -> None:
        if name == "ElementClick":
            element.click()
        elif name == "ElementClear":
            element.fill("")
        elif element.get_attribute("type") == "file":
            element.set_input_files(given["text"])
        else:
            element.type(given["text"])


@contextmanager
def chromium(folder: Path) -> Iterator[Engine]:
    """Give Debian's Chromium, without a window, with a fresh profile."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(program("chromium")), args=ARGUMENTS)
        page = opened.new_context(locale="zh-TW").new_page()
        yield Engine("Chromium", Spoken(page), folder)
        opened.close()
