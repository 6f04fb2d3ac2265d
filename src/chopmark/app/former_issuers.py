"""The CAs whose certificates the customers bring along, from a list of their own: who they are, and how they are asked.

Each entry is a `[[former_issuer]]` table. Files in it are named from the directory of the list, secrets as those of
gateways are.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

from chopmark.app.settings import Settings
from chopmark.app.settings_sources import secret_file
from chopmark.ca.external.cfssl import AuthKey, CfsslClient
from chopmark.ca.external.cmp import CmpClient
from chopmark.ca.external.ports import Client
from chopmark.ca.external.wire import Address, Wire
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret, text
from chopmark.pki.cmp import Shared
from chopmark.pki.crl_reading import may_sign
from chopmark.pki.ocsp_reading import may_answer
from chopmark.pki.path import issued_by_any, may_issue
from chopmark.pki.x509 import read_certificates
from chopmark.ra.certificate_import.subjects import parse_template
from chopmark.ra.former_issuers import (
    NO_FORMER_ISSUERS,
    FormerIssuer,
    FormerIssuers,
    GoodThere,
    RevokedThere,
    StatusThere,
    UnknownThere,
)
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.va.former import FormerListRepository
from chopmark.va.former.ports import (
    FormerCa,
    Good,
    ListSource,
    Location,
    NoSource,
    ResponderSource,
    Revoked,
    Status,
    StatusSource,
)
from chopmark.va.former.status import FormerStatusReader

_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_HEX: Final = re.compile(r"([0-9a-fA-F]{2}){16,128}")
MOST_MB: Final = 1024
DEMO_LIST: Final = Path("demo", "former", "former.toml")
"""Within the data directory."""


class FormerUnfit(Exception):
    """The list of former issuers does not work; the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class FormerEntry:
    """One entry: the issuer as the RA knows it, the CA as its status is asked, and who revokes there.

    `client` asks the CA to revoke a certificate after its renewal; None where a person does it.
    """

    issuer: FormerIssuer
    ca: FormerCa
    client: Client | None


class StatusThereReader:
    """Implements `ra.former_issuers.FormerStatus`."""

    def __init__(self, reader: FormerStatusReader) -> None:
        self._reader = reader

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        """As `FormerStatus.status_of`."""
        return _there(await self._reader.status_of(issuer, serial, now))

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        """As `FormerStatus.known_of`."""
        known = await self._reader.known_of(issuer, serial, now)
        return None if known is None else _there(known)


def _there(said: Status) -> StatusThere:
    """Return a status in the words of the RA."""
    if isinstance(said, Good):
        return GoodThere(said.until)
    if isinstance(said, Revoked):
        return RevokedThere(said.reason, said.at)
    return UnknownThere(text("The former issuer's status cannot be known now: %(why)s.", why=said.why))


@dataclass(frozen=True, slots=True)
class FormerServices:
    """The bundle of the former issuers; without any of them nothing is fetched and nobody is asked."""

    entries: tuple[FormerEntry, ...]
    lists: FormerListRepository
    issuers: FormerIssuers

    @property
    def cas(self) -> tuple[FormerCa, ...]:
        """The CAs as their status is asked."""
        return tuple(entry.ca for entry in self.entries)

    @property
    def clients(self) -> dict[str, Client]:
        """The clients of those that are asked by a protocol to revoke, by id."""
        return {entry.issuer.id: entry.client for entry in self.entries if entry.client is not None}


def former_services(settings: Settings, engine: Engine, clock: Clock, entropy: Entropy) -> FormerServices:
    """Return the bundle of the former issuers that the settings name. Raises FormerUnfit."""
    entries = former_entries(settings, clock, entropy)
    lists = FormerListRepository(engine)
    status = StatusThereReader(FormerStatusReader([entry.ca for entry in entries], lists, entropy))
    known = {entry.issuer.id: entry.issuer for entry in entries}
    return FormerServices(entries, lists, FormerIssuers(known, status) if entries else NO_FORMER_ISSUERS)


def former_entries(settings: Settings, clock: Clock, entropy: Entropy) -> tuple[FormerEntry, ...]:
    """Return the entries of the list of former issuers; none where the settings name no list. Raises FormerUnfit."""
    path = settings.former_issuers or _of_demo(settings)
    if path is None:
        return ()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormerUnfit(f"former_issuers: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FormerUnfit(f"former_issuers: {path} is no TOML: {error}") from None
    tables = document.pop("former_issuer", [])
    if document or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise FormerUnfit("former_issuers: the list has [[former_issuer]] tables and nothing else")
    reading = _Reading(settings, path.parent, clock, entropy)
    entries = tuple(reading.entry(table, number) for number, table in enumerate(tables, 1))
    ids = [entry.issuer.id for entry in entries]
    for one in ids:
        if ids.count(one) > 1:
            raise FormerUnfit(f"former_issuers: two entries have the id {one}")
    return entries


def secret_files(settings: Settings) -> list[Path]:
    """Return the files of the secrets that the list names; none where it cannot be read, which is said elsewhere."""
    path = settings.former_issuers or _of_demo(settings)
    if path is None:
        return []
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("former_issuer", [])
    except (OSError, ValueError):
        return []
    connected = [one["ca"] for one in tables if isinstance(one, dict) and isinstance(one.get("ca"), dict)]
    return [_secret_path(settings, ca["secret"]) for ca in connected if isinstance(ca.get("secret"), str)]


def _secret_path(settings: Settings, name: str) -> Path:
    return (settings.secrets_dir or settings.data) / name


def _of_demo(settings: Settings) -> Path | None:
    """Return the list that a demo has made for itself."""
    made = settings.data / DEMO_LIST
    return made if settings.mode == "demo" and made.is_file() else None


class _Table:
    """One table, each option taken once; what is left at the end is unknown."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self.name = name
        self._left = dict(table)

    def unfit(self, sentence: str) -> FormerUnfit:
        """Return the error with the entry's name before it."""
        return FormerUnfit(f"former issuer {self.name}: {sentence}")

    def words(self, option: str, default: str | None = None) -> str:
        value = self._left.pop(option, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.unfit(f"{option} is not set, or is no text between quotes")
        return value

    def listed(self, option: str, *, least: int = 0) -> list[str]:
        value = self._left.pop(option, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.unfit(f'{option} is a list of texts, as in ["a", "b"]')
        if len(value) < least:
            raise self.unfit(f"{option} is not set")
        return value

    def number(self, option: str, default: int, most: int) -> int:
        value = self._left.pop(option, default)
        if type(value) is not int or not 1 <= value <= most:
            raise self.unfit(f"{option} is a whole number from 1 to {most}")
        return value

    def table(self, option: str) -> "_Table":
        value = self._left.pop(option, {})
        if not isinstance(value, dict):
            raise self.unfit(f"{option} is a table")
        return _Table(f"{self.name}, {option}", value)

    def finish(self) -> None:
        if self._left:
            raise self.unfit(f"unknown option {min(self._left)}")


class _Reading:
    """Reads entries; files are named from the list's directory."""

    def __init__(self, settings: Settings, folder: Path, clock: Clock, entropy: Entropy) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._entropy = entropy

    def entry(self, table: Mapping[str, Any], number: int) -> FormerEntry:
        """Return one entry. Raises FormerUnfit."""
        name = table.get("id")
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise FormerUnfit(f"former issuer {number}: its id has 1 to 32 of a-z, 0-9 and -, and begins with a letter")
        given = _Table(name, table)
        given.words("id")
        certificates = self._certificates(given)
        names = given.words("name_zh"), given.words("name_en")
        templates = self._templates(given)
        source = self._source(given, certificates)
        client = self._client(given, certificates)
        issuer = FormerIssuer(name, *names, certificates, templates, by_client=client is not None)
        given.finish()
        return FormerEntry(issuer, FormerCa(name, certificates, source), client)

    def _templates(self, given: _Table) -> tuple[str, ...]:
        found = given.listed("subject_templates")
        for one in found:
            try:
                parse_template(one)
            except ValueError as error:
                raise given.unfit(f"subject_templates: {one}: {error}") from None
        return tuple(found)

    def _certificates(self, given: _Table) -> tuple[bytes, ...]:
        found = self._read(given, "certificates", least=1)
        if not all(may_issue(one, 0) for one in found):
            raise given.unfit("certificates has one that is not a CA's (basicConstraints CA, keyUsage keyCertSign)")
        if len({x509.load_der_x509_certificate(one).subject for one in found}) > 1:
            raise given.unfit(
                "certificates are of one CA, the one that issued to customers; make another entry for another CA, and "
                "leave its root out"
            )
        return found

    def _read(self, given: _Table, option: str, least: int = 0) -> tuple[bytes, ...]:
        found: list[bytes] = []
        for file in given.listed(option, least=least):
            path = self._folder / file
            try:
                found += read_certificates(path.read_bytes())
            except OSError as error:
                raise given.unfit(f"{option}: {path} cannot be read ({error.strerror})") from error
            except ValueError:
                raise given.unfit(f"{option}: {path} is no certificate in PEM or DER") from None
        return tuple(found)

    def _source(self, given: _Table, certificates: Sequence[bytes]) -> StatusSource:
        match given.words("status"):
            case "crl":
                return self._lists(given, certificates)
            case "ocsp":
                return self._responder(given, certificates)
            case "none":
                return NoSource(given.words("reason"))
            case _:
                raise given.unfit("status is crl, ocsp or none")

    def _lists(self, given: _Table, certificates: Sequence[bytes]) -> ListSource:
        places = [self._place(given, one) for one in given.listed("crl", least=1)]
        scopes = given.listed("crl_scope") or places
        if len(scopes) != len(places) or len(set(places)) != len(places):
            raise given.unfit("crl names each list once, and crl_scope, where it is set, has one address for each")
        signers = self._read(given, "crl_signers")
        if not all(
            issued_by_any(one, certificates) and may_sign(x509.load_der_x509_certificate(one)) for one in signers
        ):
            raise given.unfit("crl_signers has a certificate that the CA has not made a signer of lists (cRLSign)")
        if not all(may_sign(x509.load_der_x509_certificate(one)) for one in certificates) and not signers:
            raise given.unfit("the CA's certificate may not sign lists (cRLSign): name crl_signers")
        locations = tuple(Location(place, scope) for place, scope in zip(places, scopes, strict=True))
        return ListSource(locations, signers, given.number("max_mb", 128, MOST_MB) << 20)

    def _place(self, given: _Table, place: str) -> str:
        if "://" not in place:
            return str((self._folder / place).absolute())
        return self._address(given, "crl", place)

    def _address(self, given: _Table, option: str, url: str) -> str:
        found = urlsplit(url)
        if found.scheme not in {"http", "https"} or not found.hostname or "@" in found.netloc or found.fragment:
            raise given.unfit(f"{option}: {url} is no http or https address (LDAP is not supported)")
        return url

    def _responder(self, given: _Table, certificates: Sequence[bytes]) -> ResponderSource:
        url = self._address(given, "ocsp", given.words("ocsp"))
        signers = self._read(given, "ocsp_signers")
        issuers = [x509.load_der_x509_certificate(one) for one in certificates]
        for one in signers:
            responder = x509.load_der_x509_certificate(one)
            if not any(may_answer(responder, issuer) for issuer in issuers):
                raise given.unfit("ocsp_signers has a certificate that the CA has not made a responder's (OCSPSigning)")
        nonce = given.words("ocsp_nonce", "optional")
        if nonce not in {"optional", "required"}:
            raise given.unfit("ocsp_nonce is optional or required")
        return ResponderSource(url, signers, nonce == "required")

    def _client(self, given: _Table, certificates: Sequence[bytes]) -> Client | None:
        kind, there = given.words("revoke", "by_hand"), given.table("ca")
        if kind == "by_hand":
            there.finish()
            return None
        if kind not in {"cfssl", "cmp"}:
            raise given.unfit("revoke is by_hand, cfssl or cmp; EST cannot revoke")
        url = self._address(there, "url", there.words("url")).rstrip("/")
        secret = self._secret(there)
        trust, certificate, key = (there.words(one, "") for one in ("tls_trust", "tls_certificate", "tls_key"))
        if bool(certificate) != bool(key):
            raise there.unfit("mutual TLS needs tls_certificate and tls_key, both")
        identity = (self._folder / certificate, self._folder / key) if certificate else None
        wait_s = float(there.number("wait_s", 10, 15))
        user = there.words("user") if kind == "cmp" else ""
        there.finish()
        try:
            wire = Wire(Address(url, self._folder / trust if trust else None, identity, wait_s))
        except OSError as error:
            raise there.unfit(f"the TLS files cannot be used: {error}") from error
        if kind == "cfssl":
            if not _HEX.fullmatch(secret.reveal()):
                raise there.unfit("secret names the file of cfssl's authentication key, in hexadecimal")
            return CfsslClient(wire, AuthKey(secret))
        recipient = x509.load_der_x509_certificate(certificates[0]).subject.public_bytes()
        return CmpClient(wire, Shared(user, secret), recipient, self._clock, self._entropy)

    def _secret(self, there: _Table) -> Secret:
        path = _secret_path(self._settings, there.words("secret"))
        try:
            return secret_file(path)
        except OSError as error:
            raise there.unfit(f"secret: {path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise there.unfit(f"secret: {error}") from None
