"""Every sentence for a person is there in both languages: the English of the source, and zh-TW."""

from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes
from jinja2.ext import babel_extract

from tests.architecture import rules
from tests.architecture.rules import PLACEHOLDER, SOURCE

LOCALE = SOURCE / "web" / "locale"
TEMPLATES = [*SOURCE.glob("web/**/*.html"), *SOURCE.glob("messaging/**/*.txt"), *SOURCE.glob("messaging/**/*.html")]


def sentences() -> set[str]:
    found = {m for module in rules.modules() for m in rules.message_ids(module)}
    for template in TEMPLATES:
        found |= template_sentences(template)
    return found


def template_sentences(template: Path) -> set[str]:
    """What a template says by `_()`, `ngettext()`, `{% trans %}` or a literal through the filter `t`."""
    source = template.read_text(encoding="utf-8")
    options = {"silent": "false", "newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true"}
    calls = babel_extract(BytesIO(source.encode()), ("_", "gettext", "ngettext"), (), options)
    found = {message if isinstance(message, str) else str((message or [""])[0]) for _, _, message, _ in calls}
    for said in Environment(extensions=["jinja2.ext.i18n"]).parse(source).find_all(nodes.Filter):
        if said.name == "t" and isinstance(said.node, nodes.Const):
            found.add(str(said.node.value))
    return found


def untranslated(msgids: set[str], catalog: Catalog) -> list[str]:
    """The sentences without a zh-TW one, or with one that shows other values."""
    bad = []
    for msgid in sorted(msgids):
        message = catalog.get(msgid)
        said = message.string if message and not message.fuzzy else ""
        done = said if isinstance(said, str) else "".join(said or ())
        if not done or set(PLACEHOLDER.findall(done)) != set(PLACEHOLDER.findall(msgid)):
            bad.append(msgid)
    return bad


@pytest.mark.skipif(not LOCALE.exists(), reason="web/locale is not written yet")
def test_every_sentence_has_a_zh_tw_translation_with_the_same_values() -> None:
    with (LOCALE / "zh_TW.po").open("rb") as source:
        catalog = read_po(source, locale="zh_TW", abort_invalid=True)
    assert untranslated(sentences(), catalog) == []


def test_a_missing_a_fuzzy_an_empty_and_an_incomplete_translation_are_found() -> None:
    catalog = Catalog(locale="zh_TW")
    catalog.add("Good.", "好。")
    catalog.add("Fuzzy.", "約。", flags=["fuzzy"])
    catalog.add("Empty.", "")
    catalog.add("Wait %(seconds)s seconds.", "請稍候。")
    wanted = {"Good.", "Fuzzy.", "Empty.", "Wait %(seconds)s seconds.", "Absent."}
    assert untranslated(wanted, catalog) == sorted(wanted - {"Good."})


def test_each_way_a_template_speaks_is_found(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text(
        "<h1>{{ _('Renew now.') }}</h1>{{ title }}{{ 'Revoke now.'|t }}{{ date|roc }}"
        "{% trans n=3 %}One day{% pluralize %}%(n)s days{% endtrans %}",
        encoding="utf-8",
    )
    assert template_sentences(template) == {"Renew now.", "Revoke now.", "One day"}
