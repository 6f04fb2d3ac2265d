"""Read the address of a PostgreSQL, and check that the connection would be safe.

The driver's own parser reads the address, the service file and the PG... variables. So what is checked here is exactly
what the driver connects to. Parsing reads only files that connecting would read, and sends nothing.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute, SSLMode, _parse_connect_dsn_and_args

from chopmark.store.engine.port import Unfit

Host: TypeAlias = str | tuple[str, int]
"""The path of a Unix socket, or a name or IP address with its port."""

SETTING = "CHOPMARK_DATABASE"
_LOOPBACK = IPv4Network("127.0.0.0/8")
_ATTRIBUTES = frozenset({SessionAttribute.any, SessionAttribute.primary, SessionAttribute.read_write})
_UNREAD = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssdelegation", "gssencmode", "hostaddr"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts"),
        *("replication", "require_auth", "requirepeer", "requiressl", "sslcertmode", "sslcompression", "sslcrldir"),
        *("sslsni", "tcp_user_timeout"),
    }
)
"""Parameters that libpq knows and this driver does not. The driver would send them to the server as settings."""
_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|\S)*)(?:\s+|$)")
_NAMED = re.compile(r"[\w.:%-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """The hosts, in their order, and the settings that the address wants for each session.

    `dsn` is the address without these settings, because a pooler refuses or drops settings in the first message.
    """

    dsn: str
    hosts: tuple[Host, ...]
    settings: Mapping[str, str]


def read_address(url: str) -> Address:
    """Return an address that may be used.

    Raises:
        Unfit: the address cannot be read, asks for something that we do not offer, or names another machine without
            verified TLS.
    """
    try:
        hosts, asked = _parse_connect_dsn_and_args(dsn=url, **dict.fromkeys(_ARGUMENTS))
    except asyncpg.ClientConfigurationError as error:
        raise Unfit(f"{SETTING}: {_UNREADABLE if 'URI' in str(error) else error}") from None
    except (OSError, ssl.SSLError) as error:
        said = "a file that it names for TLS (sslrootcert, sslcert, sslkey, sslcrl) cannot be read"
        raise Unfit(f"{SETTING}: {said}: {error}") from error
    except ValueError:  # the text of the exception can hold a part of the password
        raise Unfit(f"{SETTING}: {_UNREADABLE}") from None
    _assert_offered(asked)
    _assert_verified(hosts, asked.sslmode)
    named = dict(asked.server_settings or {})
    settings = {**dict(_options(named.pop("options", ""))), **named}
    parts = urlsplit(url)
    given = [(name, value) for name, value in parse_qsl(parts.query) if name not in {*named, "options"}]
    return Address(urlunsplit(parts._replace(query=urlencode(given))), tuple(hosts), settings)


_UNREADABLE = "the address cannot be read; in a password, special characters are written as %40 and the like"
_ARGUMENTS = (
    *("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile", "direct_tls"),
    *("server_settings", "target_session_attrs", "krbsrvname", "gsslib"),
)


def _assert_offered(asked: Any) -> None:
    for name in sorted(_UNREAD.intersection(asked.server_settings or {})):
        raise Unfit(f"{SETTING} has {name}, which is not offered here: take it away; a host is named in its place")
    if asked.target_session_attrs not in _ATTRIBUTES:
        wanted = asked.target_session_attrs.value
        raise Unfit(f"{SETTING} has target_session_attrs={wanted}, and what is meant has to write: say primary")


def _assert_verified(hosts: list[Host], mode: SSLMode) -> None:
    """A server on another machine has to prove who it is. Otherwise somebody in between could read and answer."""
    away = [host[0] for host in hosts if not isinstance(host, str) and not _is_here(host[0])]
    if not away or mode is SSLMode.verify_full:
        return
    named = ", ".join(name if _NAMED.fullmatch(name) else "a host" for name in away)
    raise Unfit(
        f"{SETTING} leads off this machine ({named}) with sslmode={mode.name.replace('_', '-')}: add "
        "sslmode=verify-full, and sslrootcert= with the file of the CA that certified the server"
    )


def _is_here(host: str) -> bool:
    """Tell whether this names loopback. Other names are not resolved: the answer could change before we connect."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.casefold() == "localhost"
    return address in _LOOPBACK if isinstance(address, IPv4Address) else address == IPv6Address("::1")


def _options(options: str) -> Iterator[tuple[str, str]]:
    """Read `-c name=value` and `--name=value` as the server does. A backslash quotes the next character."""
    rest = options.strip()
    while rest:
        found = _OPTION.match(rest)
        if found is None:
            raise Unfit(f"{SETTING} has options= that are not of the form -c name=value")
        yield found[1].replace("-", "_"), re.sub(r"\\(.)", r"\1", found[2])
        rest = rest[found.end() :]
