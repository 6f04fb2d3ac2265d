"""The installation's secrets as working values: keys, shares and pass-phrases, from settings or the data directory."""

import re

from pydantic import SecretStr

from chopmark.app.settings import Settings
from chopmark.audit.durable import private_folder, write_durably
from chopmark.audit.headkey import FileHeadSigner, create_head_key
from chopmark.core.clock import Entropy
from chopmark.core.types import Secret
from chopmark.keys.shares import Shares, UnfitShares
from chopmark.stepup.derive import OtpKey, OtpKeys
from chopmark.store.repositories.installation import Installation

SECRET_NAMES = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase")


class NotReady(Exception):
    """The installation cannot start; the text says what to do."""


def open_secrets(settings: Settings, entropy: Entropy, *, shared: bool = False, founds: bool = False) -> Settings:
    """Return the settings with every secret set; demo mode makes missing ones in the data directory.

    With the operators' shares (`shared`: at hand) no pass-phrase is needed, nor for another CA unless one is founded.
    """
    shared = shared or settings.has_shares or not (founds or settings.external_ca.protocol == "none")
    folder = settings.data / "secrets"
    missing = [name for name in SECRET_NAMES if not getattr(settings, name).get_secret_value()]
    if shared and "ca_passphrase" in missing and not (settings.mode == "demo" and (folder / "ca_passphrase").exists()):
        missing.remove("ca_passphrase")
    if not missing:
        return settings
    if settings.mode != "demo":
        raise NotReady(
            f"these secrets are not set: {', '.join(missing)}. Put each into a file of that name in a directory, "
            "32 random bytes in hexadecimal, and name it in CHOPMARK_SECRETS_DIR."
        )
    private_folder(folder)
    values: dict[str, SecretStr] = {}
    for name in missing:
        file = folder / name
        if not file.exists():
            write_durably(file, entropy.token(32).hex().encode())
        values[name] = SecretStr(file.read_text())
    return settings.model_copy(update=values)


def key_of(settings: Settings, name: str) -> bytes:
    """Return a secret that is 32 bytes in hexadecimal, as bytes. Raises NotReady, which names where it is."""
    written = getattr(settings, name).get_secret_value().strip()
    if re.fullmatch(r"[0-9A-Fa-f]{64}", written) is None:
        kept = None if settings.secrets_dir is None else settings.secrets_dir / name
        where = str(kept) if kept is not None and kept.is_file() else f"the setting {name}"
        raise NotReady(f"{where} is not 32 bytes in hexadecimal (64 digits and nothing else): `openssl rand -hex 32`")
    return bytes.fromhex(written)


async def otp_keys_of(settings: Settings, installation: Installation) -> OtpKeys:
    """Return the code keys; every node must hold the one on record, or have it as the previous one (rotation)."""
    current = OtpKey.named(key_of(settings, "otp_key"))
    previous = None
    if settings.otp_key_previous.get_secret_value():
        previous = OtpKey.named(key_of(settings, "otp_key_previous"))
    agreed = await installation.remember("otp_key", current.check_value())
    if agreed != current.check_value() and previous is not None and agreed == previous.check_value():
        agreed = await installation.replace("otp_key", agreed, current.check_value())
    if agreed != current.check_value():
        raise NotReady("this node's otp_key is not the one that the other nodes use")
    return OtpKeys(current, previous)


def shares_of(settings: Settings) -> Shares | None:
    """Return the operators' shares from the secrets; None without any. Raises NotReady for one alone."""
    one, two = settings.ca_share_one.get_secret_value(), settings.ca_share_two.get_secret_value()
    if not one and not two:
        return None
    for name, share in (("ca_share_one", one), ("ca_share_two", two)):
        if not share:
            raise NotReady(f"{name} is not set: the CA's key opens with both operators' shares, never with one alone")
    try:
        return Shares(Secret(one), Secret(two))
    except UnfitShares as error:
        raise NotReady(f"ca_share_one, ca_share_two: {error}") from error


def head_signer_of(settings: Settings) -> FileHeadSigner:
    """Return what signs the audit's heads; its key is made once, in the data directory."""
    path = settings.data / "audit-head.key.pem"
    if not path.exists():
        private_folder(settings.data)
        write_durably(path, create_head_key())
    return FileHeadSigner.open(path.read_bytes())
