"""Prints the table of settings for docs/operator.en.md, from the settings themselves.

.venv/bin/python tools/settings_table.py
"""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from chopmark.app.settings import Settings


def rows(model: type[BaseSettings] = Settings, prefix: str = "CHOPMARK_") -> Iterator[tuple[str, str, str, str]]:
    """Yield environment name, values, default and sentence of each setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseSettings):
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


def main() -> None:
    """Print the table."""
    print("| Variable | Values | Default | What it is |\n| --- | --- | --- | --- |")
    for row in rows():
        print("| `{}` | {} | {} | {} |".format(*row))


if __name__ == "__main__":
    main()
