"""Brings the catalogues up to date with the sources, and says which sentences have no translation.

`python tools/messages.py` merges every message id of the code, the templates and the TypeScript into
`web/locale/*.po`, writes `web/static/messages.zh-TW.json` for the browser, and exits with 1 when a
zh-TW translation is missing. `--check` writes nothing and also exits with 1 when a file is out of date.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src/chopmark"
TEMPLATES = SOURCES / "web/templates"
LOCALE = SOURCES / "web/locale"
TYPESCRIPT = ROOT / "browser/src"
EXPORT = SOURCES / "web/static/messages.zh-TW.json"
LANGUAGES = {"zh_TW": "zh_TW.po", "en": "en.po"}

# A call t("...") with one string literal first; adjacent literals joined by + count as one.
_STRING = r'"(?:[^"\\\n]|\\.)*"'
_CALL = re.compile(rf"\bt\(\s*({_STRING}(?:\s*\+\s*{_STRING})*)")
# `text` is SQLAlchemy's, or makes a column, where it is imported from there.
_SQL_TEXT = re.compile(
    r"^from (?:sqlalchemy|chopmark\.store\.schema\.columns) import (?:\([^)]*|[^\n]*)\btext\b", re.MULTILINE
)
_WORD_TABLES = {"SERVICE_NAMES", "_CERTIFICATE_MENU"}


@dataclass(frozen=True, slots=True)
class Found:
    """A message id and where it stands; `plural` for those that count something."""

    msgid: str
    plural: str | None
    place: str


def in_python(path: Path) -> Iterator[Found]:
    """Yield the literals of `text(...)`, `Text(...)`, `_(...)`, `ngettext(...)` and of the word tables."""
    place, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    if _SQL_TEXT.search(source):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if ast.unparse(node.func) == "sa.text":
                continue
            words = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if name in ("text", "Text", "_") and words and words[0] == getattr(node.args[0], "value", None):
                yield Found(words[0], None, place)
            elif name == "ngettext" and len(words) == 2:
                yield Found(words[0], words[1], place)
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") in _WORD_TABLES and node.value:
            yield from (Found(word, None, place) for word in _sentences(node.value))


def _sentences(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and not part.value.startswith("/"):
            yield part.value


def in_template(path: Path, environment: Environment) -> Iterator[Found]:
    """Yield the messages of one Jinja template."""
    place = path.relative_to(ROOT).as_posix()
    for _line, function, message in environment.extract_translations(path.read_text(encoding="utf-8")):  # type: ignore[attr-defined]
        if function == "ngettext":
            yield Found(message[0], message[1], place)
        else:
            yield Found(message if isinstance(message, str) else message[0], None, place)


def in_typescript(path: Path) -> Iterator[Found]:
    """Yield the literals of `t("...")`."""
    place = path.relative_to(ROOT).as_posix()
    for call in _CALL.finditer(path.read_text(encoding="utf-8")):
        yield Found("".join(json.loads(piece) for piece in re.findall(_STRING, call.group(1))), None, place)


def collect() -> tuple[Catalog, set[str]]:
    """Return all messages, and the ids that the browser needs."""
    catalogue, browser = Catalog(project="Chopmark", charset="utf-8"), set()
    environment = Environment(extensions=["jinja2.ext.i18n"])
    found: list[Found] = []
    for path in sorted(SOURCES.rglob("*.py")):
        found += in_python(path)
    for path in sorted(TEMPLATES.rglob("*.html")):
        found += in_template(path, environment)
    for path in sorted(TYPESCRIPT.rglob("*.ts")):
        said = list(in_typescript(path))
        browser |= {each.msgid for each in said}
        found += said
    for each in found:
        if each.msgid:
            ids = (each.msgid, each.plural) if each.plural else each.msgid
            flags = ["python-format"] if "%(" in each.msgid else []
            catalogue.add(ids, locations=[(each.place, 0)], flags=flags)
    return catalogue, browser


def merged(language: str, template: Catalog) -> Catalog:
    """Return the language's catalogue with the messages of the sources; translations are kept.

    A translation whose message has gone stays at the end as obsolete, and comes back with it.
    """
    path = LOCALE / LANGUAGES[language]
    old = Catalog(locale=language)
    if path.exists():
        with path.open("rb") as stream:
            old = read_po(stream, locale=language)
    known = {_key(each): each for each in (*old.obsolete.values(), *old) if each.id and any(each.string)}
    new = Catalog(locale=language, project="Chopmark", charset="utf-8", fuzzy=False, header_comment="# Chopmark")
    for message in sorted(template, key=_key):
        if message.id:
            kept = known.pop(_key(message), None)
            string = None if kept is None else kept.string
            new.add(message.id, string, locations=message.locations, flags=message.flags)
    for key in sorted(known):
        new.obsolete[key] = Message(known[key].id, known[key].string)
    return new


def _key(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def po_bytes(catalogue: Catalog) -> bytes:
    """Return the catalogue as it stands in the repository: no dates, so that only real changes show."""
    stream = BytesIO()
    write_po(stream, catalogue, width=110, omit_header=False, include_lineno=False)
    lines = stream.getvalue().decode("utf-8").split("\n")
    drop = ('"POT-Creation-Date', '"PO-Revision-Date', '"Generated-By', '"Last-Translator', '"Report-Msgid')
    return "\n".join(line for line in lines if not line.startswith(drop)).encode("utf-8")


def missing(catalogue: Catalog) -> list[str]:
    """Return the message ids without a translation."""
    lacking = []
    for message in catalogue:
        strings = message.string if isinstance(message.string, list | tuple) else (message.string,)
        if message.id and not all(strings):
            lacking.append(message.id if isinstance(message.id, str) else message.id[0])
    return lacking


def export(catalogue: Catalog, browser: set[str]) -> bytes:
    """Return the browser's catalogue: a JSON object of message id and translation."""
    said = {msgid: message.string for msgid in sorted(browser) if (message := catalogue.get(msgid)) and message.string}
    return (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def main(*, check: bool) -> int:
    """Bring the files up to date, or say that they are not; return the exit code."""
    template, browser = collect()
    outdated: list[str] = []
    lacking: list[str] = []
    for language, name in LANGUAGES.items():
        catalogue = merged(language, template)
        wanted = {LOCALE / name: po_bytes(catalogue)}
        if language == "zh_TW":
            wanted[EXPORT] = export(catalogue, browser)
            lacking = missing(catalogue)
        for path, content in wanted.items():
            if not path.exists() or path.read_bytes() != content:
                outdated.append(path.name)
                if not check:
                    path.write_bytes(content)
    for msgid in lacking:
        sys.stdout.write(f"no zh-TW translation: {msgid}\n")
    for name in outdated:
        sys.stdout.write(f"{'out of date' if check else 'written'}: {name}\n")
    return 1 if lacking or (check and outdated) else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
