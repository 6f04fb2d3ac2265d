"""What is looked at on each step's page, once in each browser: axe-core's verdict, and what a password manager sees."""

from dataclasses import dataclass, field

from tests.journey.accessibility import TAGS, axe
from tests.journey.engines import Engine

AXE = """
return axe.run(document, {runOnly: {type: 'tag', values: arguments[0]}, resultTypes: ['violations']}).then((found) =>
  found.violations.map((each) => `${each.id}: ` + each.nodes.map((node) => node.html).join(' | ')));"""
LISTED = """
return [...document.querySelectorAll('main input, main select')]
  .filter((each) => !['hidden', 'radio', 'checkbox'].includes(each.type))
  .map((each) => [each.id || each.name, each.type, each.autocomplete, each.inputMode]);"""

FIELDS = {
    "account": ("select-one", "", ""),
    "who": ("text", "username", ""),
    "password": ("password", "current-password", ""),
    "old_file": ("file", "", ""),
    "old_passphrase": ("text", "off", ""),
    "old_key_passphrase": ("text", "off", ""),
    "passphrase": ("text", "off", ""),
    "code": ("text", "one-time-code", "numeric"),
    "era": ("select-one", "", ""),
    "year": ("text", "off", "numeric"),
    "month": ("text", "off", "numeric"),
    "day": ("text", "off", "numeric"),
    "ending": ("select-one", "", ""),
    "new_file": ("file", "", ""),
    "paused_until": ("select-one", "", ""),
    "slip": ("text", "off", ""),
    "key_words": ("text", "off", ""),
}
"""By id: the type, what `autocomplete` means to the browser, and the keyboard of a phone.

A pass-phrase of a certificate file is no password of this site: no field of it has the type that managers look for.
"""
UNKNOWN = {("Firefox", "one-time-code")}
"""What a browser does not understand: it reads the value as none."""


@dataclass
class Watch:
    """The pages that were looked at in one browser, by their names."""

    engine: Engine
    looked_at: set[str] = field(default_factory=set)

    def look(self, page: str) -> None:
        """Expect that each field says what it is for, and no complaint of axe; once for each name."""
        if page in self.looked_at:
            return
        self.looked_at.add(page)
        for name, type_, meaning, keyboard in self.engine.script(LISTED):
            wanted = FIELDS[name]
            known = wanted[1] if (self.engine.name, wanted[1]) not in UNKNOWN else ""
            assert (type_, meaning, keyboard) == (wanted[0], known, wanted[2]), f"{name} in {self.engine.name}"
        assert self.engine.script(axe() + AXE, TAGS) == [], f"{page} in {self.engine.name}"
