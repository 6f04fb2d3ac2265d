"""The documentation is true: links lead somewhere, commands and settings exist, numbers are those of the code."""

import re
import shlex
import struct
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App, CycloptsError

from chopmark.audit import anchoring
from chopmark.ca import embedded
from chopmark.cli import check, customers
from chopmark.cli.command_line import app
from chopmark.core.refusal import Refused
from chopmark.identity import launching, password, sessions
from chopmark.ra.customer_import.sheet import Column, Header, Row, check_line, parse_header
from chopmark.ra.policy import Policy
from chopmark.va import publisher, responder, status_watcher, timestamp_key
from chopmark.web.brand import OWN_LINKS, Brand, ServiceKey
from chopmark.web.problems import STATUS
from tests.architecture.rules import REPOSITORY
from tools.settings import PAGES as SETTINGS_PAGES
from tools.settings import current, rows

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
DECISIONS = REPOSITORY / "docs" / "decisions"
PICTURES = REPOSITORY / "docs" / "pictures"
MOST_PICTURES = 3 * 1024 * 1024
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`chopmark ([a-z][a-z ]*)`")
MODULES = {
    "sessions": sessions,
    "launching": launching,
    "check": check,
    "customers": customers,
    "publisher": publisher,
    "responder": responder,
    "status_watcher": status_watcher,
    "embedded": embedded,
    "password": password,
    "timestamp_key": timestamp_key,
    "anchoring": anchoring,
}
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> list[str]:
    dead = []
    for link in LINK.findall(FENCED.sub("", read(path))):
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in slugs(read(target))):
            dead.append(link)
    return dead


@page
def test_every_link_leads_somewhere(path: Path) -> None:
    assert dead_links(path) == []


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    made = tmp_path / "page.md"
    made.write_text("# One\n[a](nowhere.md) [b](#two) [c](#one) ![d](no.png)\n", encoding="utf-8")
    assert dead_links(made) == ["nowhere.md", "#two", "no.png"]


def test_the_index_of_decisions_has_every_page_and_explains_every_missing_number() -> None:
    index = read(DECISIONS / "README.md")
    pages = {int(path.name[:4]): path for path in DECISIONS.glob("[0-9]*.md")}
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", index, re.MULTILINE)
    assert {int(number): link for number, _, link in listed} == {number: path.name for number, path in pages.items()}
    explained = re.search(r"ever part of the repository: ([\d, ]+)\.", index)
    assert explained is not None
    numbers = {int(number) for number in explained[1].split(", ")}
    assert numbers == set(range(1, max(numbers) + 1)) - set(pages)


def commands(app: App, before: tuple[str, ...] = ()) -> set[str]:
    """Every command line that does something, without its arguments."""
    found = set()
    for name in app:
        if name.startswith("-"):
            continue
        sub, path = app[name], (*before, name)
        found |= commands(sub, path) | ({" ".join(path)} if sub.default_command is not None else set())
    return found


def faulty(line: str) -> str | None:
    """What the command line says against a documented call; None when it would run."""
    words = shlex.split(line, comments=True)
    try:
        app.parse_args(words[words.index("chopmark") + 1 :], exit_on_error=False, print_error=False)
    except (CycloptsError, Refused) as error:
        return f"{line}: {error}"
    return None


def documented(path: Path) -> list[str]:
    lines = [line for _, block in FENCED.findall(read(path)) for line in block.splitlines()]
    return [line for line in lines if re.match(r" *chopmark ", line)]


@page
def test_every_command_that_is_shown_would_run(path: Path) -> None:
    assert [fault for line in documented(path) if (fault := faulty(line))] == []


@pytest.mark.parametrize(
    "line", ["chopmark customers export x.csv", "chopmark serve --threads 2", "chopmark demo 8080"]
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert faulty(line)


@page
def test_every_command_that_is_named_exists(path: Path) -> None:
    known = commands(app)
    groups = {command.split()[0] for command in known}
    named = set(INLINE.findall(FENCED.sub("", read(path))))
    assert named - known - groups == set()


def test_the_operators_page_names_every_command() -> None:
    for language in ("en", "zh-TW"):
        text = read(REPOSITORY / "docs" / f"operator.{language}.md")
        assert {command for command in commands(app) if f"chopmark {command}" not in text} == set()


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_the_operators_page_has_every_setting_and_no_other(language: str) -> None:
    text = read(REPOSITORY / "docs" / f"operator.{language}.md")
    table = re.findall(r"^\| `(CHOPMARK_\w+)` \| .*? \| (.*?) \| .+ \|$", text, re.MULTILINE)
    assert table == [(name, default) for name, _, default, _ in rows()]
    outside = {"CHOPMARK_CONFIG", "CHOPMARK_TRACEBACK"}
    assert set(re.findall(r"CHOPMARK_\w+", text)) == {name for name, *_ in rows()} | outside


def test_the_english_table_has_the_values_of_the_settings() -> None:
    text = read(REPOSITORY / "docs" / "operator.en.md")
    for name, values, default, _ in rows():
        assert f"| `{name}` | {values} | {default} |" in text


@pytest.mark.parametrize("page_of", SETTINGS_PAGES, ids=lambda path: path.name)
def test_the_table_of_settings_is_what_the_tool_writes(page_of: Path) -> None:
    """`python tools/settings.py` brings it up to date."""
    assert read(page_of) == current(page_of)


def constant(name: str) -> Any:
    place, _, member = name.partition(".")
    return getattr(Policy() if place == "policy" else MODULES[place], member)


def seconds_or_number(written: str) -> timedelta | int:
    number, _, unit = written.partition(" ")
    return timedelta(seconds=int(number) * UNITS[unit]) if unit else int(number)


def table_of_constants() -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+) \|", read(REPOSITORY / "docs/architecture.md"), re.MULTILINE))


@pytest.mark.parametrize(("name", "written"), table_of_constants().items(), ids=str)
def test_a_constant_is_that_of_the_code(name: str, written: str) -> None:
    assert constant(name) == seconds_or_number(written.strip())


def test_every_number_of_the_policy_is_documented() -> None:
    policy = Policy()
    numbers = {
        f"policy.{field.name}"
        for field in fields(policy)
        if isinstance(value := getattr(policy, field.name), int | timedelta) and not isinstance(value, bool)
    }
    assert numbers - {"policy.version"} - set(table_of_constants()) == set()


def test_the_api_page_has_every_kind_of_refusal_with_its_status() -> None:
    text = read(REPOSITORY / "docs/api.md")
    found = {kind: int(status) for kind, status in re.findall(r"\| `([a-z_]+)` \| ([45][0-9][0-9])\b", text)}
    assert found == {kind.value: status for kind, status in STATUS.items()}


def test_the_api_page_has_every_route() -> None:
    text = read(REPOSITORY / "docs/api.md")
    sources = [
        source for path in (REPOSITORY / "src/chopmark/web/api").glob("*.py") if '"/api/v1",' in (source := read(path))
    ]
    routes = [found for source in sources for found in re.findall(r'^@(get|post|put)\("([^"]+)"', source, re.MULTILINE)]
    assert len(routes) >= 19
    for method, route in routes:
        shown = "/api/v1" + re.sub(r"\{(?:order_)?(\w+):str\}", r"{\1}", route)
        assert shown in text if route == "/launches" else f"`{method.upper()} {shown}" in text, shown


def shown_pictures() -> set[Path]:
    return {
        (path.parent / link).resolve() for path in PAGES for link in LINK.findall(read(path)) if link.endswith(".png")
    }


def test_every_picture_is_shown_and_they_are_small() -> None:
    pictures = set(PICTURES.rglob("*.png"))
    assert {picture.resolve() for picture in pictures} == shown_pictures()
    assert sum(picture.stat().st_size for picture in pictures) < MOST_PICTURES
    widths = {struct.unpack(">I", picture.read_bytes()[16:20])[0] for picture in pictures}
    assert widths <= {1280, 390}


def test_the_manuals_have_the_same_pictures_in_the_same_order() -> None:
    chinese, english = (
        [Path(link).name for link in LINK.findall(read(REPOSITORY / f"docs/manual.{language}.md")) if ".png" in link]
        for language in ("zh-TW", "en")
    )
    assert [name for name in chinese if name != "code-390.png"] == english


def test_the_readme_has_four_pictures_and_the_two_commands() -> None:
    text = read(REPOSITORY / "README.md")
    assert len(re.findall(r"!\[", text)) == 4
    assert "make run" in text
    assert "make test" in text


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_the_operators_page_has_every_entry_of_a_brand_and_every_column_of_a_sheet(language: str) -> None:
    text = read(REPOSITORY / "docs" / f"operator.{language}.md")
    entries = {field.name for field in fields(Brand)}
    links = {service.value for service in ServiceKey if service not in OWN_LINKS}
    columns = {column.value for column in Column}
    assert {name for name in entries | links | columns if not re.search(rf"`\[?{name}\]?`", text)} == set()


def test_the_sheet_of_the_operators_page_has_no_fault() -> None:
    for language in ("en", "zh-TW"):
        text = read(REPOSITORY / "docs" / f"operator.{language}.md")
        (sheet,) = (block for kind, block in FENCED.findall(text) if kind == "csv")
        title, *lines = sheet.splitlines()
        header = parse_header(title)
        assert isinstance(header, Header)
        assert [check_line(line, 1, header, date(2026, 7, 15)) for line in lines if line] != []
        assert all(isinstance(check_line(line, 1, header, date(2026, 7, 15)), Row) for line in lines if line)
