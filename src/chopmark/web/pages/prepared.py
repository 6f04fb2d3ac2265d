"""Pages that are the same for everybody but for a few words: rendered once for each frame, then only filled in.

Every customer who comes from a trading program loads two of them.
"""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from markupsafe import escape

from chopmark.web.i18n import Translator
from chopmark.web.pages.names import has_rare_character
from chopmark.web.pages.render import Page, Pages
from chopmark.web.pages.views import LaunchConfirmPage, LaunchShellPage, milliseconds

KEPT = 64
"""How many pages are kept. The frame has the address's query, so that somebody could make any number of them."""
_PLACE = re.compile("\x02([a-z_]+)\x03")
"""Marks where a value belongs. No catalogue, brand or address has control characters."""
_NO_TIME = datetime(1, 1, 2, tzinfo=UTC)


class PreparedPages(Pages):
    """Renders every page as `Pages` does, and those of a launch from what it has kept."""

    def __init__(self, translator: Translator) -> None:
        super().__init__(translator)
        self._parts = lru_cache(KEPT)(self._cut)

    def render(self, page: Page) -> str:
        """Return the page as HTML in its frame's language; raises jinja2.UndefinedError on a missing value."""
        if not isinstance(page, LaunchShellPage | LaunchConfirmPage):
            return super().render(page)
        own: dict[str, str] = {one.name: getattr(page, one.name) for one in fields(page) if one.name != "frame"}
        if any(map(has_rare_character, own.values())):  # then the page has a hint
            return super().render(page)
        marked: dict[str, Any] = {name: f"\x02{name}\x03" for name in own}
        frame = replace(page.frame, csrf_token="\x02csrf_token\x03", server_time=_NO_TIME)
        parts = list(self._parts(replace(page, frame=frame, **marked)))
        own |= {"csrf_token": page.frame.csrf_token, "server_time": str(milliseconds(page.frame.server_time))}
        parts[1::2] = [escape(own[name]) for name in parts[1::2]]
        return "".join(parts)

    def _cut(self, page: Page) -> tuple[str, ...]:
        """Return the page's constant parts and, between them, the names of the values that belong there."""
        html = super().render(page).replace(str(milliseconds(_NO_TIME)), "\x02server_time\x03")
        return tuple(_PLACE.split(html))
