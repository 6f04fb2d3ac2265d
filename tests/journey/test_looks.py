"""Every page and every state in a real browser: nothing for axe to complain of, nothing wider than the screen."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from playwright.async_api import Page as Tab
from playwright.async_api import Route, async_playwright

from chopmark.web.brand import DEMO_BRAND, brand_css
from chopmark.web.i18n import Lang, Translator, load_catalogues
from chopmark.web.pages.render import Pages
from tests.machine import missing
from tests.web.gallery import Setting, sample_pages

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "src/chopmark/web/static/build"
AXE = ROOT / "browser/node_modules/axe-core/axe.min.js"
JUDGE = """async (tags) => {
  const found = await axe.run({runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  const wide = document.documentElement.scrollWidth - innerWidth;
  const wrong = found.violations.map((each) => `${each.id}: ${each.nodes[0].html}`);
  return wide > 0 ? [...wrong, `${wide} px wider than the screen`] : wrong;
}"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SITE = "http://gallery.example"
PAGES = Pages(Translator(load_catalogues()))

# What `summary.ts` does to a page when the server refuses a field.
SHOW_PROBLEMS = """() => {
  const summary = document.querySelector('[data-error-summary]');
  if (!summary) return;
  const sentence = document.documentElement.lang === 'en' ? 'Please look at this.' : '請檢查這裡。';
  for (const message of document.querySelectorAll('[data-field-error]')) {
    message.hidden = false;
    message.querySelector('[data-field-error-text]').textContent = sentence;
    message.closest('[data-field]').classList.add('govuk-form-group--error');
  }
  const item = document.createElement('li');
  item.textContent = sentence;
  summary.querySelector('[data-error-list]').append(item);
  summary.hidden = false;
}"""


SUGGESTED = "mmmm-wwww-mmmm-wwww-mmmm"
ROOM = """(suggested) => {
  const field = document.querySelector('#passphrase');
  field.value = suggested;
  return field.clientWidth - field.scrollWidth;
}"""


@pytest.fixture
async def tab(chromium: Path) -> AsyncIterator[Tab]:
    """A tab of Chromium in which the gallery's addresses answer, and nothing else does."""
    if not (BUILD / "manifest.json").exists() or not AXE.exists():
        missing("The built front end")
    manifest = json.loads((BUILD / "manifest.json").read_text(encoding="utf-8"))
    stylesheet = (BUILD / manifest["src/styles/main.scss"]["file"]).read_text(encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = await browser.new_page()
        await tab.add_init_script(path=AXE)
        await tab.route("**/*", lambda route: route.abort())
        await tab.route(f"{SITE}/main.css", lambda route: route.fulfill(body=stylesheet, content_type="text/css"))
        colours = brand_css(DEMO_BRAND)
        await tab.route(f"{SITE}/brand.css", lambda route: route.fulfill(body=colours, content_type="text/css"))
        yield tab
        await browser.close()


async def complaints(tab: Tab) -> list[str]:
    """Return what is wrong with the page in the tab."""
    return cast("list[str]", await tab.evaluate(JUDGE, RULES))


async def test_a_suggested_pass_phrase_fits_into_its_field_on_a_phone(tab: Tab) -> None:
    samples = sample_pages(Setting(Lang.ZH_TW, DEMO_BRAND, f"{SITE}/main.css"))
    await tab.route(f"{SITE}/", lambda route: route.fulfill(body="", content_type="text/html"))
    await tab.goto(f"{SITE}/")
    room = {}
    for name in ("key-renew-file", "install-file"):
        await tab.set_content(PAGES.render(samples[name]))
        for width in (320, 360, 390):
            await tab.set_viewport_size({"width": width, "height": 900})
            room[name, width] = await tab.evaluate(ROOM, SUGGESTED)
    assert {at: left for at, left in room.items() if left < 0} == {}


@pytest.mark.parametrize(
    ("lang", "width"),
    [
        (Lang.ZH_TW, 390),
        (Lang.EN, 1280),
        pytest.param(Lang.ZH_TW, 1280, marks=pytest.mark.soak),
        pytest.param(Lang.EN, 390, marks=pytest.mark.soak),
    ],
)
async def test_no_page_and_no_error_state_is_hard_to_use(tab: Tab, lang: Lang, width: int) -> None:
    """WCAG 2.2 AA as axe-core finds it, at a phone's width and a desktop's, before and after a refusal."""
    samples = sample_pages(Setting(lang, DEMO_BRAND, f"{SITE}/main.css"))
    shown = {name: PAGES.render(page) for name, page in samples.items()}
    await tab.set_viewport_size({"width": width, "height": 900})

    async def answer(route: Route) -> None:
        await route.fulfill(body=shown[route.request.url.rsplit("/", 1)[1]], content_type="text/html; charset=utf-8")

    await tab.route(f"{SITE}/page/*", answer)
    wrong = {}
    for name, html in shown.items():
        await tab.goto(f"{SITE}/page/{name}")
        wrong[name] = await complaints(tab)
        if "data-error-summary" in html:
            await tab.evaluate(SHOW_PROBLEMS)
            wrong[f"{name}, refused"] = await complaints(tab)
    assert {name: found for name, found in wrong.items() if found} == {}
