"""The catalogues: every sentence of the sources is there, and says the same values."""

import re

import pytest

from chopmark.web.i18n import Lang, load_catalogues
from tools.messages import collect, merged, missing

PLACE = re.compile(r"%\((\w+)\)s")


def test_every_sentence_that_can_be_shown_has_a_translation() -> None:
    """`python tools/messages.py` adds the new ones; a person writes the Chinese."""
    assert missing(merged("zh_TW", collect()[0])) == []


@pytest.mark.parametrize("language", ["zh_TW", "en"])
def test_a_translation_has_the_values_of_its_sentence_and_no_other(language: str) -> None:
    """A forgotten value would be a hole, and an invented one an error on the page."""
    different = []
    for message in merged(language, collect()[0]):
        plural = isinstance(message.id, tuple)
        ids = set(PLACE.findall(message.id[1] if plural else str(message.id)))
        strings = message.string if isinstance(message.string, list | tuple) else [message.string]
        different += [said for said in strings if said and set(PLACE.findall(said)) != ids]
    assert different == []


def test_the_browser_gets_a_catalogue_that_it_can_read() -> None:
    """What `words.ts` fetches is among the translations."""
    catalogue = load_catalogues()[Lang.ZH_TW]
    _all, browser = collect()
    assert [msgid for msgid in browser if catalogue.gettext(msgid) == msgid] == []
