"""What a screen reader is given: Chromium's accessibility tree of a page as it stands, and what must be true of it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

from playwright.sync_api import Page

Node: TypeAlias = dict[str, Any]
CONTROLS = {
    "button",
    "checkbox",
    "combobox",
    "link",
    "listbox",
    "progressbar",
    "radio",
    "searchbox",
    "spinbutton",
    "textbox",
    "DisclosureTriangle",
}
REFUSED = """() => [...document.querySelectorAll('[data-field-error]')]
  .filter((each) => each.checkVisibility())
  .map((each) => each.querySelector('[data-field-error-text]').innerText.trim())"""


def faults(page: Page) -> list[str]:
    """Return what a person who hears the page would miss."""
    session = page.context.new_cdp_session(page)
    try:
        nodes: list[Node] = [node for node in _tree(session.send("Accessibility.getFullAXTree")) if not node["ignored"]]
    finally:
        session.detach()
    return [*_unnamed(nodes), *_headings(nodes), *_untied(nodes, page.evaluate(REFUSED)), *_silent(nodes, page)]


def _tree(answer: dict[str, Any]) -> list[Node]:
    found: list[Node] = answer["nodes"]
    return found


def _value(node: Node, name: str) -> str:
    return str(node.get(name, {}).get("value", ""))


def _properties(node: Node) -> dict[str, Any]:
    return {each["name"]: each["value"].get("value") for each in node.get("properties", [])}


def _unnamed(nodes: list[Node]) -> Iterator[str]:
    """Every control has a role and a name."""
    for node in nodes:
        if _value(node, "role") in CONTROLS and not _value(node, "name").strip():
            yield f"a {_value(node, 'role')} has no name"


def _headings(nodes: list[Node]) -> Iterator[str]:
    """One heading of the first level, the title of the page; no level is left out after it."""
    levels = [int(_properties(node)["level"]) for node in nodes if _value(node, "role") == "heading"]
    if levels.count(1) != 1:
        yield f"there are {levels.count(1)} headings of the first level"
    after = levels[levels.index(1) :] if 1 in levels else levels
    for above, below in pairwise(after):
        if below > above + 1:
            yield f"a heading of level {below} follows one of level {above}"


def _untied(nodes: list[Node], sentences: list[str]) -> Iterator[str]:
    """What is wrong with a field is said together with the field, or with the group that it is in."""
    said = " ".join(_value(node, "description") for node in nodes)
    for sentence in sentences:
        if sentence not in said:
            yield f"at no field is said: {sentence}"


def _silent(nodes: list[Node], page: Page) -> Iterator[str]:
    """Where a step's script works there is a place whose changes are read aloud; the main part can be jumped to."""
    lives = page.locator("[aria-live=polite][data-live]").count()  # empty, it is in no tree
    if page.locator("form[data-step]").count() > 0 and lives != 1:
        yield "nothing that changes is read aloud"
    if not any(_value(node, "role") == "main" for node in nodes):
        yield "there is no main part"
