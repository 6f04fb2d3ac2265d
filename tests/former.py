"""An old CA for tests, of another name: what customers brought along when the firm began with Chopmark."""

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from chopmark.app.registration import ra_services
from chopmark.client.signing import ClientKey
from chopmark.ra.former_issuers import FormerIssuer, FormerIssuers, GoodThere, StatusThere
from tests.contract.world import ROWS, START, World

TEMPLATE = "CN=TW{person_id}*, OU=RA-Broker01"
OLD = "old"


@dataclass
class OldCa:
    """A CA that is not ours; its name is the firm's old CA's whether or not it has that CA's key."""

    title: str = "Old Secure CA"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def name(self) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.title)]
        )

    @property
    def certificate(self) -> bytes:
        made = self._builder(self.name, self.key.public_key(), START - timedelta(days=2000), timedelta(days=4000), 1)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return made.add_extension(usage, critical=True).sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _builder(self, subject, public, since: datetime, life: timedelta, serial: int) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(self.name, subject, public, serial, since, since + life)

    def issue(
        self,
        person: str,
        key: ClientKey,
        *,
        serial: int = 0x0A01,
        days: int = 360,
        until: int = 20,
        names: list[tuple[x509.ObjectIdentifier, str]] | None = None,
        signs: bool = True,
    ) -> bytes:
        """A customer's certificate, DER, which ends so many days after START."""
        named = names or [
            (NameOID.COMMON_NAME, f"TW{person}1"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "RA-Broker01"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "The Broker"),
            (NameOID.ORGANIZATION_NAME, "Certification Service Provider"),
            (NameOID.COUNTRY_NAME, "TW"),
        ]
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in named])
        end = START + timedelta(days=until)
        builder = self._builder(
            subject, key.private_key.public_key(), end - timedelta(days=days), timedelta(days=days), serial
        )
        usage = x509.KeyUsage(signs, signs, not signs, False, False, False, False, False, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def issuer(self, *templates: str) -> FormerIssuer:
        return FormerIssuer(OLD, "舊憑證管理中心", "The Old CA", (self.certificate,), templates or (TEMPLATE,))


@cache
def old_ca() -> OldCa:
    """One for all tests that need only one."""
    return OldCa()


@dataclass
class Says:
    """A status that a test chooses."""

    answer: StatusThere = field(default_factory=lambda: GoodThere(START + timedelta(days=365)))
    asked: list[tuple[str, str]] = field(default_factory=list)
    looked_up: int = 0

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        self.asked.append((issuer, serial))
        return self.answer

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        self.looked_up += 1
        return self.answer


def with_former(world: World, issuer: FormerIssuer, says: Says) -> World:
    """The same house, whose settings name this former issuer."""
    services = world.services
    former = FormerIssuers({issuer.id: issuer}, says)
    ra = ra_services(services.foundation, services.identity, services.ca, former)
    return world.with_services(replace(services, ra=ra))


def pem(*certificates: bytes) -> str:
    """The certificates as PEM."""
    return "".join(
        "-----BEGIN CERTIFICATE-----\n"
        + "\n".join(base64.b64encode(der).decode()[at : at + 64] for at in range(0, len(base64.b64encode(der)), 64))
        + "\n-----END CERTIFICATE-----\n"
        for der in certificates
    )


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def person(customer: str) -> str:
    """The ID number of a customer of the tests."""
    return ROWS[customer]["person_id"]
