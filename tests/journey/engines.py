"""Firefox and WebKit as their own automation speaks: Marionette on a socket, WebDriver over HTTP; nothing between.

Both take the commands of W3C WebDriver. Each browser has a fresh profile in a folder of the test.
"""

import base64
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.journey.counter import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Escape": "\ue00c", "Down": "\ue015"}
WIDTH, HEIGHT = 1280, 900
STARTS_WITHIN_S = 60.0
ANSWERS_WITHIN_S = 120.0
PREFERENCES = {
    "app.update.enabled": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.alwaysOpenPanel": False,
    "browser.helperApps.neverAsk.saveToDisk": "application/x-pkcs12",
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "intl.accept_languages": "zh-TW",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Refused(Exception):
    """The browser said no: the error's code and its words."""


class Wire(Protocol):
    """Sends one command of WebDriver and returns its value."""

    def command(self, name: str, /, **parameters: Any) -> Any:
        """Send it; Refused when the browser refuses."""
        ...


@dataclass
class Marionette:
    """The protocol of Firefox: a length, a colon and a JSON list, on a socket."""

    connection: socket.socket
    ids: Iterator[int] = field(default_factory=itertools.count)
    rest: bytes = b""

    def command(self, name: str, /, **parameters: Any) -> Any:
        """Send `WebDriver:name`, or a name that has its protocol before it."""
        called = name if ":" in name else f"WebDriver:{name}"
        said = json.dumps([0, next(self.ids), called, parameters]).encode()
        self.connection.sendall(b"%d:%s" % (len(said), said))
        _, _, error, value = self.receive()
        if error is not None:
            raise Refused(error["error"], error["message"])
        return value["value"] if isinstance(value, dict) and set(value) == {"value"} else value

    def receive(self) -> Any:
        """Return the next message."""
        while b":" not in self.rest:
            self.rest += self._more()
        length, _, self.rest = self.rest.partition(b":")
        while len(self.rest) < int(length):
            self.rest += self._more()
        message, self.rest = self.rest[: int(length)], self.rest[int(length) :]
        return json.loads(message)

    def _more(self) -> bytes:
        got = self.connection.recv(65536)
        if not got:
            raise ConnectionError("the browser has gone")
        return got


_HTTP = {
    "Navigate": ("POST", "/url"),
    "Refresh": ("POST", "/refresh"),
    "Back": ("POST", "/back"),
    "NewWindow": ("POST", "/window/new"),
    "GetWindowHandle": ("GET", "/window"),
    "SwitchToWindow": ("POST", "/window"),
    "CloseWindow": ("DELETE", "/window"),
    "PerformActions": ("POST", "/actions"),
    "DeleteAllCookies": ("DELETE", "/cookie"),
    "GetCurrentURL": ("GET", "/url"),
    "FindElement": ("POST", "/element"),
    "ElementClick": ("POST", "/element/{id}/click"),
    "ElementClear": ("POST", "/element/{id}/clear"),
    "ElementSendKeys": ("POST", "/element/{id}/value"),
    "ExecuteScript": ("POST", "/execute/sync"),
    "TakeScreenshot": ("GET", "/screenshot"),
    "SetWindowRect": ("POST", "/window/rect"),
}


@dataclass
class WebDriver:
    """The protocol of WebKit's driver."""

    url: str
    session: str = ""

    def command(self, name: str, /, **parameters: Any) -> Any:
        """Send the command under the session's address."""
        method, path = _HTTP[name]
        return self.send(method, f"/session/{self.session}{path.format(id=parameters.pop('id', ''))}", parameters)

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Send a request and return its value."""
        data = None if method in {"GET", "DELETE"} else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refused:
            value = json.load(refused)["value"]
            raise Refused(value["error"], value["message"]) from refused


@dataclass
class Engine:
    """A browser that is open: what a person does in it."""

    name: str
    wire: Wire
    downloads: Path

    def go(self, url: str) -> None:
        """Open a page."""
        self.wire.command("Navigate", url=url)

    def reload(self) -> None:
        """Load the page again."""
        self.wire.command("Refresh")

    def back(self) -> None:
        """Press the browser's back button."""
        self.wire.command("Back")

    def forget(self) -> None:
        """Lose all cookies, as a browser does that was closed for the night."""
        self.wire.command("DeleteAllCookies")

    @contextmanager
    def second_tab(self) -> Iterator[None]:
        """Go on in another tab, and come back to the first one at the end."""
        first = self.wire.command("GetWindowHandle")
        self._switch(self.wire.command("NewWindow", type="tab")["handle"])
        try:
            yield
        finally:
            self.wire.command("CloseWindow")
            self._switch(first)

    def _switch(self, handle: str) -> None:
        self.wire.command("SwitchToWindow", handle=handle, name=handle)

    def press(self, key: str) -> None:
        """Press one key, by its character or its name in `KEYS`."""
        value = KEYS.get(key, key)
        strokes = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self.wire.command("PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def press_twice(self, selector: str) -> None:
        """Press an element twice, as fast as a hand that is used to double clicks."""
        element = {ELEMENT: self._element(selector)}
        strokes: list[dict[str, Any]] = [{"type": "pointerMove", "x": 0, "y": 0, "origin": element}]
        strokes += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] * 2
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": strokes}
        self.script("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        try:
            self.wire.command("PerformActions", actions=[pointer])
        except Refused as refused:
            if "DataCloneError" not in str(
                refused
            ):  # Firefox: the first press has left the page, and so no answer came
                raise

    def zoom(self, *, twice: bool) -> None:
        """Show everything at 200 %, or at its own size again.

        WebKit's automation has no zoom: half the width and twice the size of a pixel are the same to a page.
        """
        if self.name == "Firefox":
            in_chrome(self, "window.ZoomManager.zoom = arguments[0]", 2 if twice else 1)
        else:
            width, height = (WIDTH // 2, HEIGHT // 2) if twice else (WIDTH, HEIGHT)
            self.wire.command("SetWindowRect", x=0, y=0, width=width, height=height)

    def force_colours(self, *, on: bool) -> bool:
        """Take the colours of the system instead of the page's; False where that cannot be had."""
        if self.name != "Firefox":
            return False
        in_chrome(self, 'Services.prefs.setIntPref("browser.display.document_color_use", arguments[0])', 2 if on else 0)
        forced = "return matchMedia('(forced-colors: active)').matches === arguments[0]"
        self.until("the page has the colours that were asked for", forced, on)
        return True

    @property
    def url(self) -> str:
        """The address of the page that is shown."""
        found: str = self.wire.command("GetCurrentURL")
        return found

    def script(self, body: str, *arguments: Any) -> Any:
        """Run a function body in the page."""
        return self.wire.command("ExecuteScript", script=body, args=list(arguments), sandbox=None)

    def click(self, selector: str) -> None:
        """Press the first element of this selector."""
        self.wire.command("ElementClick", id=self._element(selector))

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field that may have another one; for a file input, the file's name."""
        element = self._element(selector)
        if self.script("return document.querySelector(arguments[0]).type !== 'file'", selector):
            self.wire.command("ElementClear", id=element)
        self.wire.command("ElementSendKeys", id=element, text=text, value=list(text))

    def wait(self, selector: str) -> None:
        """Wait until an element of this selector is there and can be seen, or is a form."""
        seen = """const found = document.querySelector(arguments[0]);
          return found !== null && (found.tagName === 'FORM' || found.getClientRects().length > 0);"""
        self.until(f"{selector} is shown", seen, selector)

    def until(self, what: str, body: str, *arguments: Any) -> Any:
        """Ask again until the function body says something true; the page may be changing meanwhile."""
        for _ in patiently():
            try:
                if value := self.script(body, *arguments):
                    return value
            except Refused:
                continue
        shown = self.script("return location.href + document.querySelector('main')?.innerText")
        raise AssertionError(f"{self.name}: {what}: {shown}")

    def picture(self) -> bytes:
        """Return what is shown, as PNG."""
        return base64.b64decode(self.wire.command("TakeScreenshot"))

    def _element(self, selector: str) -> str:
        self.wait(selector) if "[type=file]" not in selector else None
        found = self.wire.command("FindElement", using="css selector", value=selector)
        return str(found[ELEMENT])


def in_chrome(engine: Engine, body: str, *arguments: Any) -> Any:
    """Run a function body in Firefox itself."""
    engine.wire.command("Marionette:SetContext", value="chrome")
    try:
        return engine.wire.command("ExecuteScript", script=body, args=list(arguments), sandbox="system")
    finally:
        engine.wire.command("Marionette:SetContext", value="content")


def patiently(seconds: float = ANSWERS_WITHIN_S) -> Iterator[int]:
    """Count while a page may take its time; each look is an answer of the browser."""
    end = time.monotonic() + seconds
    for turn in itertools.count():
        if time.monotonic() > end:
            return
        yield turn


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def firefox(folder: Path, *options: str) -> Iterator[Engine]:
    """Give Debian's Firefox, without a window, with a fresh profile."""
    profile, downloads = folder / "profile", folder / "downloads"
    profile.mkdir(parents=True)
    downloads.mkdir()
    port = free_port()
    wanted = {**PREFERENCES, "browser.download.dir": str(downloads), "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [_program("firefox-esr"), "--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
    command += [*options, "--profile", str(profile)]
    environment = {**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"}
    with _started(command, environment, folder / "firefox.log"):
        with _connected(port) as connection:
            wire = Marionette(connection)
            wire.receive()
            wire.command("NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": False}})
            yield Engine("Firefox", wire, downloads)


@contextmanager
def webkit(folder: Path) -> Iterator[Engine]:
    """Give Debian's WebKitGTK in its small browser, on a screen of its own, with a fresh profile."""
    browser = next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"), None)
    driver, screen = _program("WebKitWebDriver"), _program("xvfb-run")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "LANG": "C.UTF-8"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    with _started([screen, "-a", driver, f"--port={port}"], environment, folder / "webkit.log"):
        _connected(port).close()
        wire = WebDriver(f"http://127.0.0.1:{port}")
        options = {"binary": str(browser), "args": ["--automation"]}
        wished = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        wire.session = wire.send("POST", "/session", wished)["sessionId"]
        try:
            yield Engine("WebKit", wire, folder)
        finally:
            wire.send("DELETE", f"/session/{wire.session}", {})


@contextmanager
def _started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), ANSWERS_WITHIN_S)
        except OSError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.2)  # a program that starts tells nobody when it listens
