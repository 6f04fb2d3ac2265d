"""The kinds of gateways by name: those of this package, and those of a firm's own package.

A firm's package names its kinds in the entry-point group `chopmark.gateways`; each entry point is a function that takes
a `GatewayConfig` and returns a `Gateway`. The tests in `chopmark.testing.gateways` check such a gateway.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeAlias

from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured
from chopmark.messaging.every8d import every8d
from chopmark.messaging.http_template import http_template
from chopmark.messaging.mitake import mitake
from chopmark.messaging.ports import Gateway
from chopmark.messaging.smpp import smpp
from chopmark.messaging.smsgo import smsgo

GROUP: Final = "chopmark.gateways"
Factory: TypeAlias = Callable[[GatewayConfig], Gateway]
SHIPPED: Final[Mapping[str, Factory]] = {
    "mitake": mitake,
    "every8d": every8d,
    "smsgo": smsgo,
    "https": http_template,
    "smpp": smpp,
}


def gateway_of(config: GatewayConfig, foreign: Iterable[EntryPoint] | None = None) -> Gateway:
    """Return the gateway for one entry of the list; `foreign` are entry points, by default those that are installed.

    Raises:
        GatewayMisconfigured: no package has this kind, two packages have it, or its options are wrong.
    """
    found = entry_points(group=GROUP) if foreign is None else foreign
    named = [point for point in found if point.name == config.kind]
    if config.kind in SHIPPED:
        if named:
            raise GatewayMisconfigured(f"gateway kind {config.kind} is ours: {named[0].value} needs another name")
        return SHIPPED[config.kind](config)
    if len(named) != 1:
        known = ", ".join(sorted(SHIPPED))
        reason = "nobody brings it" if not named else "two packages bring it"
        raise GatewayMisconfigured(f"gateway {config.name}: kind {config.kind}: {reason} (this package has {known})")
    factory: Factory = named[0].load()
    return factory(config)
