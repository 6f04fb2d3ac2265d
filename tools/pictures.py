"""Retakes the pictures of docs/pictures by walking the real journey in Chromium over a fresh demo.

    .venv/bin/python tools/pictures.py [--chromium FILE]

Each language has a customer of its own who renews from a certificate file; the pictures of the manuals carry the
manual's step numbers, those of the README carry none. Colours are reduced to a palette, so that the files stay small.
"""

import argparse
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
WIDE: ViewportSize = {"width": 1280, "height": 720}
NARROW: ViewportSize = {"width": 390, "height": 720}

MARK = """(element, number) => {
  const at = element.getBoundingClientRect();
  const put = (text, style) => {
    const mark = document.createElement('div');
    mark.dataset.pictureMark = '';
    mark.textContent = text;
    Object.assign(mark.style, {position: 'absolute', zIndex: 999999, boxSizing: 'border-box', ...style});
    (element.closest('dialog') ? document.querySelector('dialog') : document.body).append(mark);
  };
  const inside = element.closest('dialog');
  const base = inside ? inside.getBoundingClientRect() : {left: -scrollX, top: -scrollY};
  const left = at.left - base.left - (inside ? inside.clientLeft : 0) + (inside ? inside.scrollLeft : 0);
  const top = at.top - base.top - (inside ? inside.clientTop : 0) + (inside ? inside.scrollTop : 0);
  put('', {left: `${left - 5}px`, top: `${top - 5}px`, width: `${at.width + 10}px`, height: `${at.height + 10}px`,
    border: '3px solid #e00000', borderRadius: '6px'});
  put(number, {left: `${left + at.width - 4}px`, top: `${top - 20}px`, minWidth: '30px', height: '30px',
    padding: '0 7px', borderRadius: '15px', background: '#0b4ea2', color: '#fff', font: 'bold 18px/30px sans-serif',
    textAlign: 'center'});
}"""
UNMARK = "() => document.querySelectorAll('[data-picture-mark]').forEach((mark) => mark.remove())"

# How much of the page is shown: what stands above the foot; null where a dialog covers it.
FOOT = """() => {
  if (document.querySelector('dialog[open]')) return null;
  const foot = document.querySelector('.cm-footer');
  const height = foot ? foot.getBoundingClientRect().top + scrollY : document.body.scrollHeight;
  return {width: innerWidth, height: Math.ceil(height)};
}"""
COLOURS = 128

# The pixels as indexes into a palette: the most frequent colours, and for each other one the nearest of them.
QUANTIZE = """async ([png, most]) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
  canvas.drawImage(picture, 0, 0);
  const pixels = canvas.getImageData(0, 0, picture.width, picture.height).data;
  const counts = new Map();
  const colours = new Uint32Array(pixels.length / 4);
  for (let i = 0; i < colours.length; i++) {
    const colour = (pixels[4 * i] << 16) | (pixels[4 * i + 1] << 8) | pixels[4 * i + 2];
    colours[i] = colour;
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const palette = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, most).map(([colour]) => colour);
  const nearest = (colour) => {
    const far = (other) => ((colour >> 16) - (other >> 16)) ** 2 + (((colour >> 8) & 255) - ((other >> 8) & 255)) ** 2
      + ((colour & 255) - (other & 255)) ** 2;
    return palette.reduce((best, other, index) => far(other) < far(palette[best]) ? index : best, 0);
  };
  const places = new Map([...counts.keys()].map((colour) => [colour, nearest(colour)]));
  let text = '';
  for (const colour of colours) text += String.fromCharCode(places.get(colour));
  return {width: picture.width, height: picture.height, palette, pixels: btoa(text)};
}"""


@dataclass(frozen=True)
class Traveller:
    """Who is shown in a language."""

    language: str
    customer: str
    born: tuple[str, str, str]


TRAVELLERS = (
    Traveller("zh-TW", "C10001", ("49", "7", "15")),
    Traveller("en", "C10009", ("74", "1", "5")),
)


FILERS = {"zh-TW": Traveller("zh-TW", "C10006", ("69", "8", "8")), "en": Traveller("en", "C10008", ("57", "11", "11"))}
"""Who keeps the new certificate in a file."""
PASSWORD = "demo-Pass-2468"


class Album:
    """Takes the pictures of one language."""

    def __init__(self, page: Page, darkroom: Page, folder: Path) -> None:
        self.page = page
        self._darkroom = darkroom
        self._folder = folder

    def beside(self, page: Page) -> "Album":
        """Return an album of the same language over another page."""
        return Album(page, self._darkroom, self._folder)

    def take(self, name: str, *marks: tuple[Locator, str]) -> None:
        """Write a picture of the page down to its foot, with numbered boxes around what is marked."""
        self.page.evaluate("() => document.activeElement?.blur()")
        self.page.evaluate("() => scrollTo(0, 0)")
        for place, number in marks:
            place.evaluate(MARK, number)
        foot = self.page.evaluate(FOOT)
        whole: Any = {} if foot is None else {"full_page": True, "clip": {"x": 0, "y": 0, **foot}}
        png = self.page.screenshot(animations="disabled", caret="hide", **whole)
        self.page.evaluate(UNMARK)
        shrunk = self._darkroom.evaluate(QUANTIZE, [b64encode(png).decode(), COLOURS])
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.png").write_bytes(indexed_png(shrunk))

    def take_narrow(self, name: str) -> None:
        """Write a picture as a phone shows the page."""
        self.page.set_viewport_size(NARROW)
        self.take(name)
        self.page.set_viewport_size(WIDE)


def indexed_png(picture: Any) -> bytes:
    """Return the PNG of palette indexes (PNG specification s.11.2, colour type 3)."""
    width, height = picture["width"], picture["height"]
    pixels = b64decode(picture["pixels"])
    rows = b"".join(b"\0" + pixels[at * width : (at + 1) * width] for at in range(height))
    palette = b"".join(colour.to_bytes(3, "big") for colour in picture["palette"])
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run a fresh demo on a free port and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "chopmark", "demo", "--port", str(port), "--data", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout or ():
            if line.startswith("ready "):
                break
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def code_of(page: Page) -> str:
    """Return the code as it is read on the demo's phone."""
    inbox = page.context.new_page()
    try:
        for _ in range(100):
            inbox.goto("/demo/inbox")
            first = inbox.locator(".cm-message[data-channel=mobile]").first
            found = re.search(r"(?<![0-9])[0-9]{6}(?![0-9])", first.inner_text()) if first.count() else None
            if found:
                return found[0]
        raise SystemExit("no code came")
    finally:
        inbox.close()


def submit(page: Page, step: str) -> Locator:
    """Return the button of a step."""
    return page.locator(f"form[data-step={step}] [data-submit]").first


def way_in(album: Album, who: Traveller) -> None:
    """Steps 1 to 3: trading program, confirmation, customer area, overview."""
    page = album.page
    page.goto(f"/demo?lang={who.language}")
    page.locator("#customer").select_option(who.customer)
    page.locator(".cm-term__system summary").click()
    live = page.locator(".cm-term__tool--live")
    album.take("01-trading-program", (page.locator(".cm-term__system summary"), "1"), (live, "2"))
    live.click()
    yes = page.locator("form[action='/launch/confirm'] button")
    expect(yes).to_be_visible()
    album.take("02-is-this-you", (yes, "2"))
    yes.click()
    page.goto(f"/home?lang={who.language}")
    certificates = page.locator(".cm-side__menu a[href='/certificates']")
    album.take("03-customer-area", (certificates, "3"))
    page.goto("/certificates")
    renew = page.locator(".cm-next .cm-primary")
    album.take("overview")
    album.take("03-overview", (page.locator(".cm-side__menu a[href='/certificates']"), "3"), (renew, "3-1"))
    album.take_narrow("overview-390")
    renew.click()


def keys(album: Album, files: Path, who: Traveller) -> None:
    """Step 4: where the key will live, and the old certificate that signs."""
    page = album.page
    expect(submit(page, "start")).to_be_visible()
    album.take("04-where", (page.locator("[data-field=key_home] .govuk-radios"), "4"), (submit(page, "start"), "4"))
    submit(page, "start").click()
    page.locator("#old_file").set_input_files(files / f"{who.customer.lower()}.p12")
    page.locator("#old_passphrase").fill((files / f"{who.customer.lower()}.txt").read_text().strip())
    album.take("04-old-certificate", (page.locator("[data-old-key-file]"), "4"), (submit(page, "key"), "4"))
    submit(page, "key").click()


def code(album: Album) -> None:
    """Steps 5 to 9: channel, code, phone."""
    page = album.page
    expect(submit(page, "channel")).to_be_visible()
    album.take("05-channel", (page.locator("[data-field=channel] .govuk-radios"), "5"), (submit(page, "channel"), "6"))
    album.take_narrow("channel-390")
    submit(page, "channel").click()
    expect(page.locator("#code")).to_be_visible()
    read = code_of(page)
    inbox = page.context.new_page()
    inbox.goto("/demo/inbox")
    album.beside(inbox).take("07-message", (inbox.locator(".cm-message").first, "7"))
    inbox.close()
    page.locator("#code").fill(read)
    album.take("code")
    album.take("07-code", (page.locator("#code"), "7"), (submit(page, "code"), "8"))
    album.take_narrow("code-390")
    submit(page, "code").click()
    go_on = page.locator("a.cm-primary[href*='step=apply']")
    expect(go_on).to_be_visible()
    album.take("09-right", (go_on, "9"))
    go_on.click()


def finish(album: Album, who: Traveller) -> None:
    """Steps 10 to 13: birth date, review, question, installation."""
    page = album.page
    for field, value in zip(("year", "month", "day"), who.born, strict=True):
        page.locator(f"#{field}").press_sequentially(value)
    album.take("10-birth-date", (page.locator(".cm-date"), "10"), (submit(page, "birth_date"), "11"))
    submit(page, "birth_date").click()
    page.locator("#consent").check()
    album.take(
        "12-review",
        (page.locator("[data-field=consent] .govuk-checkboxes__item"), "12"),
        (submit(page, "review"), "12"),
    )
    submit(page, "review").click()
    confirm = page.locator("[data-dialog-confirm]")
    expect(confirm).to_be_visible()
    album.take("dialog")
    album.take("12-question", (confirm, "12"))
    confirm.click()
    expect(submit(page, "install")).to_be_visible()
    album.take("13-install", (submit(page, "install"), "13"))
    submit(page, "install").click()
    expect(page.locator("[data-done]")).to_be_visible()
    album.take("done")
    album.take("13-done", (page.locator("[data-done]"), "13"))
    album.take_narrow("done-390")


def file_way(album: Album, files: Path, who: Traveller) -> None:
    """Step 13 once more, for a certificate that is kept in a file."""
    page = album.page
    page.goto(f"/sign-in?lang={who.language}")
    page.locator("#who").fill(who.customer)
    page.locator("#password").fill(PASSWORD)
    page.locator("form[action='/sign-in'] button[type=submit]").click()
    page.goto("/certificates/apply?operation=rekey")
    page.locator("form[data-step=start][data-attached] input[name=key_home][value=file]").check()
    submit(page, "start").click()
    page.locator("#old_file").set_input_files(files / f"{who.customer.lower()}.p12")
    page.locator("#old_passphrase").fill((files / f"{who.customer.lower()}.txt").read_text().strip())
    passphrase = page.locator("[data-passphrase]").input_value()
    page.locator("#written_down").check()
    submit(page, "key").click()
    submit(page, "channel").click()
    expect(page.locator("#code")).to_be_visible()
    page.locator("#code").fill(code_of(page))
    submit(page, "code").click()
    page.locator("a.cm-primary[href*='step=apply']").click()
    for field, value in zip(("year", "month", "day"), who.born, strict=True):
        page.locator(f"#{field}").press_sequentially(value)
    submit(page, "birth_date").click()
    page.locator("#consent").check()
    submit(page, "review").click()
    page.locator("[data-dialog-confirm]").click()
    page.locator("#passphrase").fill(passphrase)
    with page.expect_download():
        submit(page, "install").click()
    given = page.locator("#new_file")
    expect(given).to_be_visible()
    album.take("13-file", (given, "13"))
    album.take_narrow("13-file-390")


def travel(browser: Browser, url: str, files: Path, who: Traveller, folder: Path) -> None:
    """Take all pictures of a language."""
    context = browser.new_context(locale=who.language, base_url=url, viewport=WIDE)
    album = Album(context.new_page(), browser.new_page(), folder)
    try:
        way_in(album, who)
        keys(album, files, who)
        code(album)
        finish(album, who)
        context.clear_cookies()
        file_way(album, files, FILERS[who.language])
    except Exception:
        album.page.screenshot(path=folder / "stopped-here.png", full_page=True)
        raise
    context.close()


USED = re.compile(r"pictures/([\w/.-]+\.png)")


def main() -> int:
    """Take every picture and keep those that a page of the documentation shows."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--chromium", default=shutil.which("chromium"))
    chromium = arguments.parse_args().chromium
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with demo(Path(scratch) / "demo") as url:
            for who in TRAVELLERS:
                travel(browser, url, Path(scratch) / "demo" / "demo", who, Path(scratch) / "album" / who.language)
        browser.close()
        taken = Path(scratch) / "album"
        pages = [PICTURES.parents[1] / "README.md", *PICTURES.parent.rglob("*.md")]
        wanted = {found for page in pages for found in USED.findall(page.read_text(encoding="utf-8"))}
        for language in ("en", "zh-TW"):  # the figures beside them are the bench's
            shutil.rmtree(PICTURES / language, ignore_errors=True)
        for name in sorted(wanted):
            (PICTURES / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(taken / name, PICTURES / name)
        size = sum(file.stat().st_size for file in PICTURES.rglob("*.png"))
        print(f"{len(wanted)} pictures, {size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
