"""Whether a page as it stands now can be used by everybody: axe-core, WCAG 2.2 AA, on a phone and on a desk."""

from functools import cache
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

from tests.journey.spoken import faults

AXE = Path(__file__).parents[2] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}
RUN = """async (tags) => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  return found.violations.map((each) => `${each.id}: ${each.help}: ` + each.nodes.map((node) => node.html).join(' | '));
}"""
SHAPE = """() => {
  const shape = [...document.querySelectorAll('*')].map((each) => {
    const marks = [...each.attributes].filter((one) => !/^(href|src|value|content|data-.*)$/.test(one.name));
    const words = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
    return [each.tagName, words, each.checkVisibility(), ...marks.map((one) => one.name + '=' + one.value)].join();
  });
  return [document.title, location.pathname.replace(/[A-Z0-9]{20,}/, ''), ...shape].join(';');
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@cache
def axe() -> str:
    """Return axe-core's source."""
    return AXE.read_text(encoding="utf-8")


_seen: set[str] = set()


def check_page(page: Page) -> None:
    """Expect no violation, nothing that must be scrolled to the side, on a phone and on a desk, and nothing unsaid.

    Of pages that differ in their words only, the first is judged.
    """
    shape: str = page.evaluate(SHAPE)
    if shape in _seen:
        return
    _seen.add(shape)
    unsaid = faults(page)
    assert unsaid == [], f"{page.url}: {unsaid}"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe())
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        heading = page.locator("h1").first.inner_text()
        assert page.evaluate(RUN, TAGS) == [], f"{heading} at {size['width']}"
        assert page.evaluate(TOO_WIDE) <= 0, f"{heading} is wider than {size['width']}"
