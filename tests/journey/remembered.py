"""Chromium's password manager with one saved login, in a window on a screen of its own: which fields it fills."""

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.journey.autofill import CONTROL
from tests.journey.chromium import ARGUMENTS
from tests.machine import program

AUTOMATION = ["--enable-automation"]
"""What switches the password manager off."""
WHEN = 13_350_000_000_000_000
"""Some day of 2024, in microseconds since 1601."""
FILLED = """() => [...document.querySelectorAll('input:autofill, select:autofill')]
  .filter((each) => !each.id.startsWith('control-')).map((each) => each.id)"""
SHOWN = "() => [...document.querySelectorAll('main input:not([type=hidden]), main select')].map((each) => each.id)"


@contextmanager
def screen() -> Iterator[str]:
    """Give the name of a screen that nobody looks at."""
    command = [str(program("Xvfb")), "-displayfd", "1", "-screen", "0", "1280x900x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield f":{process.stdout.readline().strip()}"
        finally:
            process.terminate()


@contextmanager
def opened(playwright: Playwright, chromium: Path, profile: Path, display: str, url: str) -> Iterator[BrowserContext]:
    """Give Chromium with this profile, as a person opens it."""
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=str(chromium),
        headless=False,
        ignore_default_args=AUTOMATION,
        args=[*ARGUMENTS, "--password-store=basic"],
        env={**os.environ, "DISPLAY": display},
        locale="zh-TW",
        base_url=url,
        accept_downloads=True,
    )
    yield context
    context.close()


def save_login(profile: Path, url: str, user: str, password: str) -> None:
    """Write a login into the profile of a Chromium that is closed, as after "Save password?"."""
    values: dict[str, Any] = {
        "origin_url": f"{url}/sign-in",
        "action_url": f"{url}/sign-in",
        "username_element": "who",
        "username_value": user,
        "password_element": "password",
        "password_value": sealed(password),
        "signon_realm": f"{url}/",
        "date_created": WHEN,
        "date_last_used": WHEN,
        "date_password_modified": WHEN,
    }
    with closing(sqlite3.connect(profile / "Default" / "Login Data")) as database:
        for _, name, kind, needed, *_ in database.execute("PRAGMA table_info(logins)").fetchall():
            if needed and name not in values and name != "id":
                values[name] = "" if "CHAR" in kind else b"" if kind == "BLOB" else 0
        places = ", ".join("?" * len(values))
        database.execute(f"INSERT INTO logins ({', '.join(values)}) VALUES ({places})", list(values.values()))
        database.commit()


def sealed(password: str) -> bytes:
    """Encrypt as Chromium does on Linux without a key ring: AES-128-CBC under a key that everybody knows."""
    key = hashlib.pbkdf2_hmac("sha1", b"peanuts", b"saltysalt", 1, 16)
    gap = 16 - len(password) % 16
    cipher = Cipher(algorithms.AES(key), modes.CBC(b" " * 16)).encryptor()
    return b"v10" + cipher.update(password.encode() + bytes([gap]) * gap) + cipher.finalize()


def filled(page: Page) -> set[str]:
    """Return the fields that the browser has filled; a sign-in form that is added to the page is filled after them."""
    page.evaluate(f"() => {{ {CONTROL} }}")
    page.wait_for_function("() => document.querySelector('#control-password').matches(':autofill')")
    return set(page.evaluate(FILLED))
