"""A customer's program in tests: it makes its key, sends its request, waits, proves its certificate."""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from chopmark.client.signing import ClientKey
from chopmark.core.types import (
    AccountNumber,
    KeyHome,
    Operation,
    Reason,
)
from chopmark.pki.key_words import key_words
from chopmark.ra.key_proof import PresentedCertificate
from chopmark.ra.possession import Possession
from chopmark.ra.program import Issued, Progress
from tests.contract.world import ANN, Errand, Held, World

NEARLY_A_YEAR = 340


def request_of(key: ClientKey, certificate: bytes | None = None, cn: str = "a program", dns: str = "") -> bytes:
    """A request by cryptography's builder, with the certificate's own subject or another."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    if certificate is not None:
        subject = x509.load_der_x509_certificate(certificate).subject
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if dns:
        names = x509.SubjectAlternativeName([x509.DNSName(dns)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key.private_key, hashes.SHA256()).public_bytes(Encoding.DER)


def weak_request() -> bytes:
    """An RSA key of 1024 bits (PKI-05)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def sha256_of_key(csr: bytes) -> bytes:
    public = x509.load_der_x509_csr(csr).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


@dataclass
class Program:
    """A program on a customer's computer: its key, what the customer gave it, the certificate it has now."""

    errand: Errand
    given: Issued | None = None
    csr: bytes = b""
    shown: PresentedCertificate | None = None

    @property
    def world(self) -> World:
        return self.errand.world

    @classmethod
    async def begun(cls, world: World, operation: Operation = Operation.ENROL, customer: str = ANN) -> "Program":
        """The customer begins the order and chooses the program; a first order gives it a credential."""
        errand = await begin(world, operation, customer, KeyHome.HELPER)
        if operation is not Operation.REKEY:
            given = await world.services.ra.program.credential(errand.caller, errand.id)
            return cls(errand, given, request_of(errand.key))
        old = world.held[customer].certificate.der
        return cls(errand, None, request_of(errand.key, old), PresentedCertificate(old))

    @staticmethod
    def renewing(held: Held) -> tuple[ClientKey, bytes]:
        """A new key and its request for the names of a certificate."""
        key = ClientKey.generate()
        return key, request_of(key, held.certificate.der)

    async def ask(self, csr: bytes | None = None) -> Progress:
        """Send the request, as often as it takes."""
        if self.shown is not None:
            return await self.world.services.ra.program.reenrol(self.shown, csr or self.csr)
        assert self.given is not None
        return await self.world.services.ra.program.enrol(self.given.user, self.given.secret, csr or self.csr)

    async def approve(self) -> None:
        """The customer's own steps at the portal; what the program shows is typed there first."""
        await self.name_key()
        await self.errand.send()
        await self.errand.answer(await self.errand.code())
        if (await self.errand.order()).birth_date_asked:
            await self.errand.birth_date()
        await self.errand.confirm()

    async def name_key(self) -> None:
        """Type the key words that the program shows; the key of a renewal was bound by the old certificate's."""
        if self.given is not None:
            errand = self.errand
            words = key_words(sha256_of_key(self.csr).hex())
            await Possession(self.world.services.ra.context).name(errand.caller, errand.id, words)

    async def prove(self) -> Progress:
        """Repeat the request over a connection that the new certificate opened."""
        certificate = (await self.ask()).certificate
        assert certificate is not None
        return await self.world.services.ra.program.reenrol(PresentedCertificate(certificate), self.csr)


async def begin(world: World, operation: Operation, customer: str, home: KeyHome) -> Errand:
    caller = world.caller(customer)
    account = AccountNumber(f"F014000-{int(customer[1:]):07d}")
    reason = Reason.NEW_DEVICE if operation is Operation.REPLACE else None
    order = (await world.services.ra.enrolment.start(caller, operation, account, home, reason)).order
    return Errand(world, caller, order.id, ClientKey.generate(), world.held.get(customer))


async def holder(world: World, customer: str = ANN, later: int = NEARLY_A_YEAR) -> Held:
    """A customer whose certificate may be renewed."""
    await world.to_active(customer)
    world.clock.later(days=later)
    return world.held[customer]
