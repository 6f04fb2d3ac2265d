"""What a certificate of a kind contains: a declared, versioned table that cannot spell a dangerous certificate."""

import calendar
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Literal

from chopmark.pki.algorithms import KeyKind
from chopmark.pki.x509 import RDN_OIDS, name, require_value

PLACEHOLDERS = frozenset({"customer", "account", "holder", "national_id", "firm", "unit", "ra"})
"""What a subject line may ask for; all of it from the firm's records and settings, nothing from the request."""
_KEY_USAGES = frozenset({"digitalSignature", "nonRepudiation"})
_EKUS = {
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.36": "documentSigning",
    "1.3.6.1.4.1.311.10.3.12": "Microsoft document signing",
}
_PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,9})){2,15}")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)([+-])(0\d|1[0-4]):([0-5]\d)")
_VALIDITY = re.compile(r"P([1-9][0-9]{0,3})([YD])")
_OPTIONAL = frozenset({"not_after_avoid", "overlap"})
_MAX_DAYS = 1827
_MAX_BACKDATE_S = 600
_MAX_SHARDS = 4096


class ProfileError(ValueError):
    """A profile that must not be used; `reasons` has every fault found, a sentence each."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of every day, from `begin` until just before `end`, at a fixed distance from UTC."""

    begin: time
    end: time
    offset: timedelta

    def leave(self, moment: datetime) -> datetime:
        """Return the moment, or the end of these hours when it lies within them; aware UTC."""
        local = moment.astimezone(timezone(self.offset))
        if not self.begin <= local.time() < self.end:
            return moment
        return datetime.combine(local.date(), self.end, local.tzinfo).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A length of validity: calendar years or days, one of them zero; it ends outside `avoid`, a little later."""

    years: int
    days: int
    avoid: Hours | None = None

    def after(self, start: datetime) -> datetime:
        """Return the last second of a validity that begins at `start` (RFC 5280 s.4.1.2.5 counts both ends).

        A year after 29 February is 28 February.
        """
        year = start.year + self.years
        day = min(start.day, calendar.monthrange(year, start.month)[1])
        end = start.replace(year=year, day=day) + timedelta(days=self.days) - timedelta(seconds=1)
        return end if self.avoid is None else self.avoid.leave(end)


@dataclass(frozen=True, slots=True)
class Line:
    """One RDN of the subject: the attribute's short name and its template."""

    attribute: str
    template: str

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the value in NFC; ValueError when one is missing or may not stand in a name."""
        missing = [word for word in _PLACEHOLDER.findall(self.template) if not values.get(word)]
        if missing:
            raise ValueError(f"the subject needs {', '.join(missing)}")
        filled = unicodedata.normalize("NFC", _PLACEHOLDER.sub(lambda found: values[found[1]], self.template))
        require_value(self.attribute, filled)
        return filled


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of certificate; `load` is the only way to make one that is known to be harmless."""

    name: str
    version: int
    validity: Lifetime
    backdate_s: int
    key_usage: tuple[str, ...]
    eku: tuple[str, ...]
    policy_oid: str
    cps_uri: str
    subject: tuple[Line, ...]
    lint: Literal["exemplar", "every"]
    scope: Literal["customer", "account"]
    shards: int
    keys: frozenset[KeyKind]
    overlap: bool = True
    """Whether the old certificate stays valid until the new one has proved itself."""

    @property
    def needs(self) -> frozenset[str]:
        """The subject values that the profile names."""
        return frozenset(word for line in self.subject for word in _PLACEHOLDER.findall(line.template))


def load(toml: str) -> Profile:
    """Return the profile that the TOML text describes.

    Raises ProfileError with every reason: unknown or missing keys, values out of range, a key usage or extended key
    usage that a customer's certificate must never have (certificate and CRL signing, serverAuth, codeSigning,
    timeStamping, OCSPSigning, any), or a subject that asks for anything but the firm's own records.
    """
    try:
        table = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError((f"not TOML: {error}",)) from error
    reasons = [f"unknown key {key}" for key in sorted(table.keys() - _CHECKS.keys())]
    reasons += [f"missing key {key}" for key in sorted(_CHECKS.keys() - table.keys() - _OPTIONAL)]
    reasons += [reason for key in _CHECKS if key in table for reason in _CHECKS[key](table[key])]
    if reasons:
        raise ProfileError(tuple(reasons))
    return Profile(
        name=table["name"],
        version=table["version"],
        validity=replace(_lifetime(table["validity"]), avoid=_hours(table.get("not_after_avoid", ""))),
        backdate_s=table["backdate_s"],
        key_usage=tuple(table["key_usage"]),
        eku=tuple(table["eku"]),
        policy_oid=table["policy_oid"],
        cps_uri=table["cps_uri"],
        subject=tuple(Line(*line.split("=", 1)) for line in table["subject"]),
        lint=table["lint"],
        scope=table["scope"],
        shards=table["shards"],
        keys=frozenset(KeyKind(kind) for kind in table["keys"]),
        overlap=table.get("overlap", True),
    )


def _lifetime(value: str) -> Lifetime:
    found = _VALIDITY.fullmatch(value)
    if found is None:
        raise ValueError(f"{value} is no validity")
    number = int(found[1])
    return Lifetime(number, 0) if found[2] == "Y" else Lifetime(0, number)


def _hours(value: str) -> Hours | None:
    if not value:
        return None
    found = _HOURS.fullmatch(value)
    if found is None:
        raise ValueError(f"{value} is no span of hours")
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    offset = timedelta(hours=int(found[6]), minutes=int(found[7]))
    return Hours(begin, end, -offset if found[5] == "-" else offset)


def _check_hours(value: object) -> list[str]:
    if value == "":
        return []
    if not isinstance(value, str) or _HOURS.fullmatch(value) is None:
        return ["not_after_avoid must be empty or hours with their distance from UTC, such as 08:00-14:30+08:00"]
    hours = _hours(value)
    if hours is None or hours.begin >= hours.end:
        return ["not_after_avoid must begin before it ends, on the same day"]
    return []


def _check_overlap(value: object) -> list[str]:
    return [] if value is None or isinstance(value, bool) else ["overlap must be true or false"]


def _check_validity(value: object) -> list[str]:
    if not isinstance(value, str) or _VALIDITY.fullmatch(value) is None:
        return ["validity must be P1Y (years) or P365D (days)"]
    lifetime = _lifetime(value)
    if lifetime.years * 365 + lifetime.days > _MAX_DAYS:
        return ["validity must be at most five years"]
    return []


def _whole(key: str, low: int, high: int) -> Callable[[object], list[str]]:
    def check(value: object) -> list[str]:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return [] if fits else [f"{key} must be a whole number from {low} to {high}"]

    return check


def _choice(key: str, allowed: frozenset[str]) -> Callable[[object], list[str]]:
    def check(value: object) -> list[str]:
        return [] if isinstance(value, str) and value in allowed else [f"{key} must be one of {sorted(allowed)}"]

    return check


def _several(key: str, allowed: frozenset[str]) -> Callable[[object], list[str]]:
    def check(value: object) -> list[str]:
        if not isinstance(value, list) or not value:
            return [f"{key} must be a list with at least one value"]
        bad = [f"{key} may not contain {item}" for item in value if not isinstance(item, str) or item not in allowed]
        return bad or ([] if len(set(value)) == len(value) else [f"{key} names a value twice"])

    return check


def _pattern(key: str, pattern: re.Pattern[str]) -> Callable[[object], list[str]]:
    def check(value: object) -> list[str]:
        return [] if isinstance(value, str) and pattern.fullmatch(value) else [f"{key} is not well-formed"]

    return check


def _check_subject(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        return ["subject must be a list of lines such as CN={customer}"]
    reasons = [reason for line in value for reason in _check_line(line)]
    if not any(isinstance(line, str) and line.startswith(("CN=", "serialNumber=")) for line in value):
        reasons.append("subject must have a CN or a serialNumber")
    return reasons


def _check_line(line: object) -> list[str]:
    if not isinstance(line, str) or "=" not in line:
        return [f"subject line {line!r} is not of the form CN=..."]
    attribute, template = line.split("=", 1)
    if attribute not in RDN_OIDS:
        return [f"subject line {line!r} has an unknown attribute"]
    unknown = sorted(set(_PLACEHOLDER.findall(template)) - PLACEHOLDERS)
    if unknown:
        return [f"subject line {line!r} asks for {', '.join(unknown)}"]
    sample = _PLACEHOLDER.sub("X", template)
    if "{" in sample or "}" in sample:
        return [f"subject line {line!r} has a brace without its partner"]
    try:
        name([(attribute, sample)])
    except ValueError as error:
        return [f"subject line {line!r}: {error}"]
    return []


_CHECKS: Mapping[str, Callable[[object], list[str]]] = {
    "name": _pattern("name", re.compile(r"[a-z][a-z0-9-]{0,39}")),
    "version": _whole("version", 1, 1_000_000),
    "validity": _check_validity,
    "not_after_avoid": _check_hours,
    "overlap": _check_overlap,
    "backdate_s": _whole("backdate_s", 0, _MAX_BACKDATE_S),
    "key_usage": _several("key_usage", _KEY_USAGES),
    "eku": _several("eku", frozenset(_EKUS)),
    "policy_oid": _pattern("policy_oid", _OID),
    "cps_uri": _pattern("cps_uri", re.compile(r"|https?://[!-~]{1,200}")),
    "subject": _check_subject,
    "lint": _choice("lint", frozenset({"exemplar", "every"})),
    "scope": _choice("scope", frozenset({"customer", "account"})),
    "shards": _whole("shards", 1, _MAX_SHARDS),
    "keys": _several("keys", frozenset(KeyKind)),
}
