"""The list of gateways of an installation: a TOML file with one `[[gateway]]` for each gateway, read and checked.

Each secret is in a file of its own, which the list names. Unknown options are refused, so that a misspelt option is
noticed when the process starts, and not when the first code is lost.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from chopmark.core.types import Channel, Secret

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
T = TypeVar("T", str, int, bool)


class GatewayMisconfigured(ValueError):
    """The list of gateways cannot be used. The text says which entry and why, and never contains a secret."""


@dataclass(frozen=True, slots=True)
class SendLimits:
    """What one gateway may send and spend in 24 hours; None: no limit of its own.

    `price` is that of one segment, in cents.
    """

    per_day: int | None = None
    spend_per_day: int | None = None
    price: int = 0


@dataclass(frozen=True, slots=True)
class Pumping:
    """When to suspect SMS pumping: somebody who earns money by each SMS asks for codes, and no customer does.

    That is so if more than `codes` codes are sent within `watched`, and less than `answered_percent` per cent of them
    are entered.
    """

    codes: int = 200
    answered_percent: int = 20
    watched: timedelta = timedelta(hours=1)

    def seen(self, asked: int, answered: int) -> bool:
        """Tell whether these numbers indicate pumping."""
        return asked > self.codes and answered * 100 < asked * self.answered_percent


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One `[[gateway]]`: what every gateway has, and the options of its kind.

    Of several gateways with the same channel, the one with the lowest `order` is tried first.
    """

    name: str
    kind: str
    channel: Channel
    order: int = 0
    brand: str = ""
    limits: SendLimits = field(default_factory=SendLimits)
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)


class Options:
    """The options of one gateway. They are taken one by one; `finish` refuses those that nothing took."""

    def __init__(self, config: GatewayConfig) -> None:
        self._name = config.name
        self._left: dict[str, Any] = dict(config.options)
        self._secrets: dict[str, Secret] = dict(config.secrets)

    def take(self, option: str, default: T) -> T:
        """Return an option of the type of the default. Raises GatewayMisconfigured if it has another type."""
        value = self._left.pop(option, default)
        if type(value) is not type(default):
            raise GatewayMisconfigured(f"gateway {self._name}: {option} is to be a {type(default).__name__}")
        return value

    def need(self, option: str) -> str:
        """Return an option that has no default. Raises GatewayMisconfigured if it is missing."""
        value = self.take(option, "")
        if not value:
            raise GatewayMisconfigured(f"gateway {self._name}: {option} is not set")
        return value

    def seconds(self, option: str, default: float) -> float:
        """Return an option that is a number of seconds, from 0.1 to 30."""
        value = self._left.pop(option, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.1 <= value <= 30:
            raise GatewayMisconfigured(f"gateway {self._name}: {option} is a number of seconds from 0.1 to 30")
        return float(value)

    def table(self, option: str) -> Mapping[str, Any]:
        """Return an option that is a table; an empty one if it is not set."""
        value = self._left.pop(option, {})
        if not isinstance(value, dict):
            raise GatewayMisconfigured(f"gateway {self._name}: {option} is a table")
        return value

    def tables(self, option: str) -> Sequence[Mapping[str, Any]]:
        """Return an option that is a list of tables; an empty one if it is not set."""
        value = self._left.pop(option, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise GatewayMisconfigured(f"gateway {self._name}: {option} is a list of tables")
        return value

    def path(self, option: str) -> Path | None:
        """Return an option that names a file, or None."""
        value = self.take(option, "")
        return Path(value) if value else None

    def secret(self, name: str) -> Secret:
        """Return a secret that the gateway needs. Raises GatewayMisconfigured if it is missing."""
        found = self.secret_or_none(name)
        if found is None:
            raise GatewayMisconfigured(f"gateway {self._name}: secrets.{name} names no file")
        return found

    def secret_or_none(self, name: str) -> Secret | None:
        """Return a secret, or None if it is not set."""
        return self._secrets.pop(name, None)

    def finish(self) -> None:
        """Raise GatewayMisconfigured if an option or a secret is left that this kind of gateway does not know."""
        left = sorted((*self._left, *(f"secrets.{name}" for name in self._secrets)))
        if left:
            raise GatewayMisconfigured(f"gateway {self._name}: unknown option {left[0]}")


def read_gateways(text: str, secret_of: Callable[[str], Secret]) -> tuple[GatewayConfig, ...]:
    """Return the gateways of a TOML text, in the order in which they are tried.

    `secret_of` returns the content of the secret file with this name; its exceptions are not caught.

    Raises:
        GatewayMisconfigured: the text is not TOML, or an entry is wrong.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GatewayMisconfigured(f"the list of gateways is no TOML: {error}") from None
    entries = document.pop("gateway", [])
    if document or not isinstance(entries, list):
        raise GatewayMisconfigured("the list of gateways has [[gateway]] tables and nothing else")
    found = [_read(entry, number, secret_of) for number, entry in enumerate(entries, 1)]
    names = [config.name for config in found]
    for name in names:
        if names.count(name) > 1:
            raise GatewayMisconfigured(f"two gateways have the name {name}")
    return tuple(sorted(found, key=lambda config: config.order))


def _read(entry: object, number: int, secret_of: Callable[[str], Secret]) -> GatewayConfig:
    if not isinstance(entry, dict):
        raise GatewayMisconfigured(f"gateway {number} is no table")
    left = dict(entry)
    name = left.pop("name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GatewayMisconfigured(
            f"gateway {number}: its name has 1 to 32 of a-z, 0-9 and -, and begins with a letter"
        )
    kind, channel, brand = left.pop("kind", ""), left.pop("channel", "mobile"), left.pop("brand", "")
    if not isinstance(kind, str) or not kind:
        raise GatewayMisconfigured(f"gateway {name}: kind is not set")
    if channel not in set(Channel):
        raise GatewayMisconfigured(f"gateway {name}: channel is mobile or email")
    order = left.pop("order", number * 10)
    if type(order) is not int or not isinstance(brand, str):
        raise GatewayMisconfigured(f"gateway {name}: order is a whole number, brand a name")
    limits, secrets = left.pop("limits", {}), left.pop("secrets", {})
    if not isinstance(secrets, dict) or not all(isinstance(file, str) and file for file in secrets.values()):
        raise GatewayMisconfigured(f"gateway {name}: secrets names a file for each secret")
    return GatewayConfig(
        name=name,
        kind=kind,
        channel=Channel(channel),
        order=order,
        brand=brand,
        limits=_limits(name, limits),
        options=left,
        secrets={secret: secret_of(file) for secret, file in secrets.items()},
    )


def _limits(name: str, found: object) -> SendLimits:
    known = {"per_day", "spend_per_day", "price"}
    if not isinstance(found, dict) or not set(found) <= known:
        raise GatewayMisconfigured(f"gateway {name}: limits has per_day, spend_per_day and price, and nothing else")
    if not all(type(value) is int and value >= 0 for value in found.values()):
        raise GatewayMisconfigured(f"gateway {name}: its limits are whole numbers from 0")
    if "spend_per_day" in found and not found.get("price"):
        raise GatewayMisconfigured(f"gateway {name}: spend_per_day needs the price of a segment, in cents")
    return SendLimits(**found)
