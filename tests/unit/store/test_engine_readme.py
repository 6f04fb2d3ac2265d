"""The engine's page of one example quotes the code as it is."""

import re

import pytest

from chopmark.audit.events import Event
from tests.architecture.rules import REPOSITORY

SOURCE = REPOSITORY / "src/chopmark"
PAGE = (SOURCE / "store/engine/README.md").read_text(encoding="utf-8")
QUOTED = re.compile(r"```(?:python|sql)\n(.*?)```", re.DOTALL)
SECTIONS = [section for section in PAGE.split("\n## ") if QUOTED.search(section)]


def words(code: str) -> str:
    """The code without its indentation and line breaks, which the formatter changes in a page."""
    return " ".join(code.split())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_what_the_page_quotes_stands_in_the_file_that_it_names(section: str) -> None:
    (file,) = re.findall(r"^`([\w/]+\.py)`", section, re.MULTILINE)
    source = words((SOURCE / file).read_text(encoding="utf-8"))
    for quoted in QUOTED.findall(section):
        assert words(quoted) in source


def test_the_page_quotes_code_of_five_steps_and_names_the_record_that_is_written() -> None:
    assert len(SECTIONS) == 5
    assert f"`{Event.RA_BIRTH_DATE_RIGHT.value}`" in PAGE
