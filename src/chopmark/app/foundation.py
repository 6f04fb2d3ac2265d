"""The foundation that everything else is built on: the database, the secrets as working values, the journal."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from chopmark.app.gateways import channels_of
from chopmark.app.secrets import key_of, otp_keys_of, shares_of
from chopmark.app.settings import Settings
from chopmark.app.trading_calendar import trading_calendar
from chopmark.audit.headfile import HeadFile
from chopmark.audit.journal import JournalKey
from chopmark.audit.journalfile import JournalFolder
from chopmark.audit.journaling import Journal
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey
from chopmark.audit.restorewatch import RestoreWatch
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret
from chopmark.identity.sealed import Sealer, SealKey
from chopmark.keys.keyring import Keyring
from chopmark.keys.shares import Shares
from chopmark.ra.policy import PRESETS, Policy
from chopmark.ra.reminders.policy import ReminderPolicy
from chopmark.stepup.derive import OtpKeys
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.audit.journal import JournaledRepository
from chopmark.store.repositories.audit.log import AuditRepository
from chopmark.store.repositories.installation import Installation
from chopmark.tw.trading_days import TradingCalendar
from chopmark.web.brand import DEMO_BRAND, Brand, load_brand

Opening: TypeAlias = Callable[[Settings], Awaitable[Engine]]


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment, UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """The operating system's generator."""

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""
        return secrets.token_bytes(size)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every bundle of services is built from."""

    settings: Settings
    brand: Brand
    policy: Policy
    reminders: ReminderPolicy
    calendar: TradingCalendar
    engine: Engine
    installation: Installation
    portal: str
    """The random name of this installation; all its nodes use the same."""
    otp_keys: OtpKeys
    audit_key: AuditKey
    sealer: Sealer
    audit_repository: AuditRepository
    audit_log: AuditLog
    keyring: Keyring
    clock: Clock
    entropy: Entropy
    heads: HeadFile
    journal: Journal
    restorewatch: RestoreWatch

    async def close(self) -> None:
        """Close the keys and the database."""
        self.keyring.close()
        await self.engine.close()


async def open_default(settings: Settings) -> Engine:
    """Open the database of the settings."""
    return await open_engine(settings.database_url, pool=settings.pool)


async def open_foundation(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = open_default, shares: Shares | None = None
) -> Foundation:
    """Open the database and the secrets; all nodes must hold the same code key. Raises NotReady.

    `shares` are the operators', where they have been asked for; otherwise those of the secrets.
    """
    brand = DEMO_BRAND if settings.brand is None else load_brand(settings.brand)
    calendar = trading_calendar(settings.trading_days)
    engine = await opening(settings)
    installation, audit_repository = Installation(engine), AuditRepository(engine)
    audit_key = AuditKey("audit-1", key_of(settings, "audit_key"))
    heads, folder = HeadFile(settings.outside / "heads.jsonl"), JournalFolder(settings.outside, settings.node)
    journal_key = JournalKey(audit_key.secret, key_of(settings, "data_key"))
    watch = RestoreWatch(audit_repository, heads, folder, journal_key, JournaledRepository(engine), clock)
    passphrase = Secret(settings.ca_passphrase.get_secret_value())
    return Foundation(
        settings=settings,
        brand=brand,
        policy=policy_of(settings),
        reminders=settings.reminders.policy(channels_of(settings)),
        calendar=calendar,
        engine=engine,
        installation=installation,
        portal=await installation.remember("portal", entropy.token(8).hex()),
        otp_keys=await otp_keys_of(settings, installation),
        audit_key=audit_key,
        sealer=Sealer(SealKey("data-1", key_of(settings, "data_key")), key_of(settings, "lookup_key")),
        audit_repository=audit_repository,
        audit_log=AuditLog(audit_repository, audit_key, clock),
        keyring=Keyring(passphrase, settings.device, clock, shares or shares_of(settings)),
        clock=clock,
        entropy=entropy,
        heads=heads,
        journal=Journal(folder, journal_key, lambda: watch.behind, clock, entropy),
        restorewatch=watch,
    )


def policy_of(settings: Settings) -> Policy:
    """Return the policy that the settings name, with the channels that have a gateway."""
    preset = PRESETS[settings.policy]
    reached = tuple(channel for channel in preset.channels if channel in channels_of(settings))
    return replace(
        preset,
        code_digits=settings.code_digits,
        profile=settings.profile,
        channels=reached,
        countries=settings.sms.calling_codes,
        codes_per_block=settings.sms.codes_per_block,
        codes_abroad=settings.sms.codes_abroad,
    )
