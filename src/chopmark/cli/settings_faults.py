"""Faults of the settings and of the files beside them, which are told before anything is opened."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chopmark.app.settings import Settings

MIN_DIFFERENT = 6
"""A pass-phrase needs so many different characters."""


def settings_faults(settings: Settings) -> list[str]:
    """Return what in the settings and their files prevents a start in production; none of it applies to a demo."""
    if settings.mode == "demo":
        return []
    return [
        *gateway_faults(settings),
        *mode_faults(settings),
        *passphrase_faults(settings),
        *brand_faults(settings),
        *root_key_faults(settings),
    ]


def ignored(settings: Settings) -> list[str]:
    """Return a sentence for each variable and each secret's file that looks like a setting but would be ignored."""
    from chopmark.app.settings_sources import unknown_names

    return unknown_names(type(settings), os.environ) + stray_secrets(settings)


def stray_secrets(settings: Settings) -> list[str]:
    """Return the files of the secrets directory that nothing reads; hidden files and directories are passed over."""
    from chopmark.app.settings_sources import FORMER_NAMES, nested_secrets

    folder = settings.secrets_dir
    if folder is None:
        return []
    named = {*type(settings).model_fields, *FORMER_NAMES, *nested_secrets(type(settings))}
    known = {folder / name for name in named} | set(_named_files(settings))
    return [
        f"{path} is the file of no setting: it is read by nobody (look for its name in the table of settings)"
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and path not in known
    ]


def _named_files(settings: Settings) -> Iterator[Path]:
    """Yield the files that the settings and the lists beside them name."""
    from pydantic import BaseModel

    yield from _listed(settings)
    topics = [topic for _, topic in settings if isinstance(topic, BaseModel)]
    for _, value in [pair for one in (settings, *topics) for pair in one]:
        if isinstance(value, Path):
            yield value


def gateway_faults(settings: Settings) -> list[str]:
    """Return a fault if there is no gateway, because then no code can be sent."""
    from chopmark.app.gateways import channels_of

    if channels_of(settings):
        return []
    remedy = "set CHOPMARK_GATEWAYS to your list of SMS gateways, or CHOPMARK_SMTP__HOST to your mail server"
    return [f"there is no gateway for any channel, so no code reaches a customer: {remedy}"]


def mode_faults(settings: Settings) -> list[str]:
    """Return files with secrets that other accounts than the service's can read."""
    return [
        f"{path} can be read or changed by others: chmod {'700' if path.is_dir() else '600'} {path}"
        for path in _private(settings)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


def passphrase_faults(settings: Settings) -> list[str]:
    """Return weak pass-phrases: with a copy of the database an attacker can try without limit."""
    from chopmark.keys.file import MIN_PASSPHRASE_CHARACTERS

    passphrase = settings.ca_passphrase.get_secret_value()
    if not passphrase:
        return []
    short = len(passphrase) < MIN_PASSPHRASE_CHARACTERS
    if not short and len(set(passphrase)) >= MIN_DIFFERENT:
        return []
    wrong = f"has fewer than {MIN_PASSPHRASE_CHARACTERS}" if short else f"has fewer than {MIN_DIFFERENT} different"
    remedy = "make another with `openssl rand -hex 32 > FILE`, and run `chopmark ca rewrap --new-passphrase FILE`"
    return [f"ca_passphrase {wrong} characters: {remedy}"]


def brand_faults(settings: Settings) -> list[str]:
    """Return a fault if the brand is the demo's, whose firm does not exist."""
    from chopmark.web.brand import DEMO_BRAND

    if settings.brand is not None:
        return []
    firm = DEMO_BRAND.firm.en
    remedy = "copy deploy/brand.toml, put your firm's words in, and name it in CHOPMARK_BRAND"
    return [f"customers would read the demo's brand ({firm}): {remedy}"]


def root_key_faults(settings: Settings) -> list[str]:
    """Return a fault if the root's key file is on this machine, where a copy of the machine would contain it."""
    found = sorted((settings.data / "ca").glob("root*.key.pem"))
    return [f"the root's key is still beside the CA: move {path} to a safe; it is not needed here" for path in found]


def _private(settings: Settings) -> Iterator[Path]:
    """Yield files and directories with something secret in them."""
    if settings.secrets_dir is not None:
        yield settings.secrets_dir
        yield from sorted(settings.secrets_dir / name for name in _secret_names())
    yield from _listed(settings)
    config = os.environ.get("CHOPMARK_CONFIG")
    if config and _has_secrets(Path(config)):
        yield Path(config)
    yield from (key for key in (settings.est.key, settings.external_ca.tls_key) if key is not None)
    yield settings.data / "audit-head.key.pem"
    yield from sorted((settings.data / "ca").glob("*.key.pem"))


def _listed(settings: Settings) -> Iterator[Path]:
    """Yield the secrets' files that the lists of gateways and of former issuers name."""
    from chopmark.app import former_issuers, gateways

    yield from gateways.secret_files(settings)
    yield from former_issuers.secret_files(settings)


def _secret_names() -> list[str]:
    """Return the names of secrets as files have them: those within a topic have its name before them."""
    from pydantic import SecretStr

    from chopmark.app.settings import Settings
    from chopmark.app.settings_sources import FORMER_NAMES, nested_secrets

    nested = nested_secrets(Settings)
    former = [old for old, place in FORMER_NAMES.items() if ".".join(place) in nested]
    return [*(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr), *nested, *former]


def _has_secrets(config: Path) -> bool:
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    topics = {topic: inside for topic, inside in content.items() if isinstance(inside, dict)}
    written = {*content, *(f"{topic}.{name}" for topic, inside in topics.items() for name in inside)}
    return not written.isdisjoint(_secret_names())
