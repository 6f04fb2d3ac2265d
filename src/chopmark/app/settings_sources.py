"""Further sources of settings beside those of pydantic-settings: former names, and secrets within a topic."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from chopmark.core.types import Secret

FORMER_NAMES = {
    "est_url": ("est", "url"),
    "est_socket": ("est", "socket"),
    "est_certificate": ("est", "certificate"),
    "est_key": ("est", "key"),
    "est_port": ("est", "port"),
    "timestamp_url": ("timestamp", "url"),
    "timestamp_roots": ("timestamp", "roots"),
    "pkcs11_module": ("hsm", "module"),
    "pkcs11_token": ("hsm", "token"),
    "pkcs11_pin": ("hsm", "pin"),
    "issuer": ("external_ca", "protocol"),
    "issuer_url": ("external_ca", "url"),
    "issuer_anchors": ("external_ca", "anchors"),
    "issuer_title": ("external_ca", "title"),
    "issuer_profile": ("external_ca", "profile"),
    "issuer_naming": ("external_ca", "naming"),
    "issuer_overlap": ("external_ca", "overlap"),
    "issuer_user": ("external_ca", "user"),
    "issuer_secret": ("external_ca", "secret"),
    "issuer_tls_trust": ("external_ca", "tls_trust"),
    "issuer_tls_certificate": ("external_ca", "tls_certificate"),
    "issuer_tls_key": ("external_ca", "tls_key"),
    "issuer_wait_s": ("external_ca", "wait_s"),
    "behind_proxy": ("proxy", "in_front"),
    "trusted_proxies": ("proxy", "networks"),
    "proxy_header": ("proxy", "header"),
    "proxy_hops": ("proxy", "hops"),
    "import_percent": ("customer_import", "percent"),
    "import_floor": ("customer_import", "floor"),
}
"""Settings that had a flat name before they were nested by topic. They are read for one release more."""
FORMER_VALUES: Mapping[tuple[str, Any], str] = {("issuer", "embedded"): "none"}
"""Former values of such settings, and what they are called today."""
_PREFIX = "CHOPMARK_"
BESIDE_SETTINGS = frozenset({"CHOPMARK_CONFIG", "CHOPMARK_SECRETS_DIR", "CHOPMARK_TRACEBACK"})
"""Variables that are read before or beside the settings."""
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks of UTF-8 and UTF-16."""


class FormerEnvironment(PydanticBaseSettingsSource):
    """Environment variables with the former names of settings."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing for today's fields."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what is set, by former name."""
        named = {name: os.environ.get(_PREFIX + name.upper()) for name in FORMER_NAMES}
        return {name: value for name, value in named.items() if value is not None}


class NestedSecretFiles(PydanticBaseSettingsSource):
    """Files of `secrets_dir` for secrets within a topic: `smtp.password`, `hsm.pin`; and former names."""

    def __init__(self, settings_cls: type[BaseSettings], folder: Path) -> None:
        super().__init__(settings_cls)
        self._folder = folder

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing for a single field, because files are named by topic."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the files say."""
        found: dict[str, Any] = {}
        for name in (*nested_secrets(self.settings_cls), *FORMER_NAMES):
            path = self._folder / name
            if path.is_file():
                topic, _, inside = name.partition(".")
                value = path.read_text(encoding="utf-8").rstrip("\r\n")
                if inside:
                    found.setdefault(topic, {})[inside] = value
                else:
                    found[name] = value
        return found


def nested_secrets(settings: type[BaseSettings]) -> list[str]:
    """Return the file names of the secrets within topics."""
    topics = {name: field.annotation for name, field in settings.model_fields.items()}
    return [
        f"{topic}.{name}"
        for topic, kind in topics.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
        if field.annotation is SecretStr
    ]


def former_names(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each setting that still has its former name: in the environment, in a file, as a secret."""
    keys: set[str] = set()
    if config := environment.get("CHOPMARK_CONFIG"):
        keys = set(tomllib.loads(Path(config).read_text(encoding="utf-8")))
    secrets = environment.get("CHOPMARK_SECRETS_DIR")
    found = []
    for former, (topic, name) in FORMER_NAMES.items():
        variable = _PREFIX + former.upper()
        here = f"{topic}.{name} (as an environment variable {_PREFIX}{topic.upper()}__{name.upper()})"
        if variable in environment:
            found.append(f"{variable} is a former name: the setting is {here}")
        elif former in keys:
            found.append(f"{former} in the settings file is a former name: the setting is {here}")
        elif secrets and (Path(secrets) / former).is_file():
            found.append(f"the secret's file {former} has a former name: it is {topic}.{name}")
    return found


def unknown_names(settings: type[BaseSettings], environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that begins like a setting but is none, because it would be ignored silently.

    What stands in the settings file or within a topic is refused by itself.
    """
    known = {_PREFIX + name.upper() for name in (*settings.model_fields, *FORMER_NAMES)} | BESIDE_SETTINGS
    return [
        f"there is no setting {name}: look for it in the table of settings"
        for name in sorted(environment)
        if name.startswith(_PREFIX) and name not in known and name.partition("__")[0] not in known
    ]


def secret_file(path: Path) -> Secret:
    """Return the secret in a file: one line of UTF-8. ValueError names a file that is not, OSError one that is away."""
    path.stat()
    require_readable(path.parent, {path.name})
    return Secret(path.read_text(encoding="utf-8").rstrip("\r\n"))


def require_readable(folder: Path, names: set[str]) -> None:
    """Return when each secret's file is one line of UTF-8; ValueError names the file that is not, and never its
    content.

    One line end at the end is no part of a secret.
    """
    for path in sorted(folder / name for name in names):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if content.startswith(MARKS):
            raise ValueError(f"{path} begins with a byte-order mark: save it as plain text, UTF-8 without BOM")
        try:
            written = content.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no text in UTF-8") from None
        if any(character in written.rstrip("\r\n") for character in "\r\n\0"):
            raise ValueError(f"{path} has more than one line: a secret is one line")


def require_toml(path: Path) -> None:
    """Return when the file of settings can be read as TOML; ValueError names it and never quotes it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"CHOPMARK_CONFIG: {path} cannot be read ({error.strerror})") from None
    if content.startswith(MARKS):
        raise ValueError(f"{path} begins with a byte-order mark: save it as plain text, UTF-8 without BOM")
    try:
        tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at (line \d+, column \d+|end of document)", str(error))
        raise ValueError(
            f"{path} is no TOML, {where[0] if where else 'somewhere'}: text stands between quotes"
        ) from None
