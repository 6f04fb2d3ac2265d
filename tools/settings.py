"""Writes the table of settings into docs/operator.*.md, from the settings themselves.

`.venv/bin/python tools/settings.py` writes; a test says when it has to be run. The English table is written whole. In
another language the order, the names and the defaults are written; a new setting has its English words until somebody
translates them.
"""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from chopmark.app.settings import Settings


def rows(model: type[BaseModel] = Settings, prefix: str = "CHOPMARK_") -> Iterator[tuple[str, str, str, str]]:
    """Yield environment name, values, default and sentence of each setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from rows(kind, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), _values(kind, field), _default(field.default), field.description or ""


def _values(kind: Any, field: FieldInfo) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        kind = get_args(kind)[0]
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    if "Ge" in bounds and "Le" in bounds:
        return f"{bounds['Ge'].ge} to {bounds['Le'].le}"
    return {str: "text", int: "number", Path: "path", SecretStr: "secret"}[kind]


def _default(value: Any) -> str:
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return "" if shown in (None, "") else f"`{shown}`"


DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = (DOCS / "operator.en.md", DOCS / "operator.zh-TW.md")
_LINES = re.compile(r"(?:^\| `CHOPMARK_\w+` \|.*\n)+", re.MULTILINE)
_LINE = re.compile(r"^\| `(CHOPMARK_\w+)` \| (.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)


def current(page: Path) -> str:
    """Return a page with its table of settings as it has to be."""
    text = page.read_text(encoding="utf-8")
    table = _LINES.search(text)
    if table is None:
        raise SystemExit(f"{page} has no table of settings")
    translated = page.name != "operator.en.md"
    before = {name: (values, sentence) for name, values, _, sentence in _LINE.findall(table[0])} if translated else {}
    made = ""
    for name, values, default, sentence in rows():
        shown, said = before.get(name, (values, sentence))
        made += f"| `{name}` | {shown} | {default} | {said} |\n"
    return text[: table.start()] + made + text[table.end() :]


def main() -> None:
    """Write the tables."""
    for page in PAGES:
        page.write_text(current(page), encoding="utf-8")


if __name__ == "__main__":
    main()
