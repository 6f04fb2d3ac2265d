"""What keeps an installation from being used, as `chopmark check` says it: one sentence each, with the remedy.

Each function looks at one thing and returns sentences; none changes anything.
"""

import os
import stat
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from pydantic import SecretStr

from chopmark.app.gateways import channels_of
from chopmark.app.issuing_cas import living
from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.ca.embedded import Authority
from chopmark.keys.file import MIN_PASSPHRASE_CHARACTERS
from chopmark.store.repositories.readiness import Readiness
from chopmark.va.alarms import LIST_LEFT, Subject
from chopmark.web.brand import DEMO_BRAND

CLOCKS_APART = timedelta(seconds=5)
"""So far may this machine's clock be from the database's: leases and codes are judged by both."""
MIN_DIFFERENT = 6
"""Different characters of a pass-phrase."""


def settings_faults(settings: Settings) -> list[str]:
    """Return what the settings and the files beside them keep from being used; nothing of it concerns a demo."""
    if settings.mode == "demo":
        return []
    return [
        *gateway_faults(settings),
        *mode_faults(settings),
        *passphrase_faults(settings),
        *brand_faults(settings),
        *root_key_faults(settings),
    ]


async def house_faults(services: Services) -> list[str]:
    """Return what an open installation keeps from being used."""
    named = [] if services.foundation.settings.mode == "demo" else demo_root_faults(services)
    return [*named, *await database_clock_faults(services), *await late_faults(services)]


def gateway_faults(settings: Settings) -> list[str]:
    """Without a gateway no code reaches anybody."""
    if channels_of(settings):
        return []
    remedy = "set CHOPMARK_SMTP__HOST to your mail server"
    return [f"there is no gateway for any channel, so no code reaches a customer: {remedy}"]


def mode_faults(settings: Settings) -> list[str]:
    """Secrets are for the account that runs the counter alone."""
    return [
        f"{path} can be read or changed by others: chmod {'700' if path.is_dir() else '600'} {path}"
        for path in _private(settings)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


def passphrase_faults(settings: Settings) -> list[str]:
    """Whoever gets a copy of the database may try pass-phrases for as long as they like."""
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
    """The demo's firm does not exist."""
    if settings.brand is not None:
        return []
    firm = DEMO_BRAND.firm.en
    remedy = "copy deploy/brand.toml, put your firm's words in, and name it in CHOPMARK_BRAND"
    return [f"customers would read the demo's brand ({firm}): {remedy}"]


def root_key_faults(settings: Settings) -> list[str]:
    """Whoever copies this machine must not get the root."""
    found = sorted((settings.data / "ca").glob("root*.key.pem"))
    return [f"the root's key is still beside the CA: move {path} to a safe; it is not needed here" for path in found]


def demo_root_faults(services: Services) -> list[str]:
    """A CA keeps its name for as long as it lives."""
    words = {DEMO_BRAND.firm.en, DEMO_BRAND.firm.zh, DEMO_BRAND.ca_name.en, DEMO_BRAND.ca_name.zh}
    named = [
        ca.authority.view.id
        for ca in living(services.ca.cas, services.foundation.clock.now())
        if any(word in name for der in _chain(ca.authority) for name in _names(der) for word in words)
    ]
    return [
        f"the CA {one} or its root is called after the demo's brand: set CHOPMARK_BRAND, and make another with "
        "`chopmark ca rollover` before a customer has a certificate"
        for one in named
    ]


async def database_clock_faults(services: Services) -> list[str]:
    """Moments are written by this machine and compared by others."""
    before = services.foundation.clock.now()
    theirs = await Readiness(services.foundation.engine).clock()
    away = theirs - before - (services.foundation.clock.now() - before) / 2
    if abs(away) <= CLOCKS_APART:
        return []
    way = "behind" if away > timedelta(0) else "ahead of"
    seconds = int(abs(away).total_seconds())
    return [f"this machine's clock is {seconds} seconds {way} the database's: let NTP keep both"]


async def late_faults(services: Services) -> list[str]:
    """Relying parties take no list and no answer that has ended."""
    now, faults = services.foundation.clock.now(), []
    for ca in living(services.ca.cas, now):
        issuer = ca.authority.view.id
        for shard in range(ca.publisher.shards):
            crl = (await services.va.status.shard(issuer, shard)).crl
            if crl is not None and crl.next_update - now <= LIST_LEFT:
                ends = "has ended" if crl.next_update <= now else "ends"
                faults.append(
                    f"the revocation list {issuer}-{shard} is late, it {ends} at {crl.next_update:%Y-%m-%d %H:%M} UTC: "
                    "does a worker run? Its log names the job `publish`"
                )
        for alarm in await ca.watch.look():
            if alarm.subject is Subject.ANSWERS:
                since = now + alarm.left
                faults.append(
                    f"OCSP answers of {issuer} are late, they have waited to be signed since "
                    f"{since:%Y-%m-%d %H:%M} UTC: does a worker run? Its log names the job `presign`"
                )
    return faults


async def unpublished(services: Services) -> list[str]:
    """Return the lists that were never published: they are when a worker first runs, and late only after that."""
    return [
        f"{ca.authority.view.id}-{shard}"
        for ca in living(services.ca.cas, services.foundation.clock.now())
        for shard in range(ca.publisher.shards)
        if (await services.va.status.shard(ca.authority.view.id, shard)).crl is None
    ]


def _private(settings: Settings) -> Iterator[Path]:
    """Yield files and directories with something secret in them."""
    if settings.secrets_dir is not None:
        yield settings.secrets_dir
        yield from sorted(settings.secrets_dir / name for name in _secret_names())
    config = os.environ.get("CHOPMARK_CONFIG")
    if config and _has_secrets(Path(config)):
        yield Path(config)
    yield from (key for key in (settings.est.key, settings.issuer_tls_key) if key is not None)
    yield settings.data / "audit-head.key.pem"
    yield from sorted((settings.data / "ca").glob("*.key.pem"))


def _secret_names() -> list[str]:
    return [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]


def _has_secrets(config: Path) -> bool:
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    smtp = content.get("smtp", {})
    return any(name in content for name in _secret_names()) or (isinstance(smtp, dict) and "password" in smtp)


def _chain(authority: Authority) -> tuple[bytes, ...]:
    return (authority.view.certificate_der, *authority.chain)


def _names(der: bytes) -> list[str]:
    return [str(attribute.value) for attribute in x509.load_der_x509_certificate(der).subject]
