"""An EST client (RFC 7030, clarified by RFC 8951): simpleenroll, simplereenroll, cacerts; a 202 means `Waiting`.

The client authenticates with a user and a password, with a TLS certificate of its own, or with both. EST cannot revoke:
the revocation is recorded, and a person asks the CA for it (decision 15).
"""

import base64
import binascii

from cryptography import x509

from chopmark.ca.external.ports import Answer, Denied, Ending, ExternalRequest, NotReached, Received, Silent, Waiting
from chopmark.ca.external.wire import Said, Wire
from chopmark.core.types import Secret
from chopmark.pki.der import NotDer, parts
from chopmark.pki.x509 import spki_der

_WELL_KNOWN = "/.well-known/est/"
_CSR = {"content-type": "application/pkcs10"}
AGAIN_S = 60
_SIGNED_DATA = bytes.fromhex("06092A864886F70D010702")  # 1.2.840.113549.1.7.2


class EstClient:
    """Implements `Client`; `label` is the CA label of the path, empty for none (RFC 7030 s.3.2.2)."""

    confirms = False
    sends_csr = True
    csr_names = True

    def __init__(self, wire: Wire, label: str, user: str, password: Secret) -> None:
        self._wire = wire
        self._path = _WELL_KNOWN + (f"{label}/" if label else "")
        self._user = user
        self._password = password

    async def request(self, asked: ExternalRequest) -> Answer:
        """Ask for a certificate: by simplereenroll when the CSR has the old certificate's subject (s.4.2.2)."""
        verb = "simplereenroll" if _same_name(asked.csr_der, asked.replaces) else "simpleenroll"
        body = base64.encodebytes(asked.csr_der)
        auth = (self._user, self._password.reveal()) if self._user else None
        said = await self._wire.post(self._path + verb, body, _CSR, auth)
        return _answer(said, asked) if isinstance(said, Said) else said

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        """Ask again by repeating the request (RFC 7030 s.4.2.3)."""
        del ticket
        return await self.request(asked)

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        """Do nothing: a certificate of EST is valid without a confirmation."""
        del asked, received
        return Ending.DONE

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        """Do nothing: EST has no message for it."""

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Return BY_HAND: EST cannot revoke, so a person asks the CA."""
        del certificate_der, reason
        return Ending.BY_HAND

    async def ca_certificates(self) -> tuple[bytes, ...] | None:
        """Return what the CA publishes as its certificates (s.4.1), DER; None when there was no usable answer."""
        said = await self._wire.get(f"{self._path}cacerts")
        return _certificates(said) if isinstance(said, Said) and said.status == 200 else None


def _same_name(csr_der: bytes, replaces: bytes | None) -> bool:
    if replaces is None:
        return False
    return x509.load_der_x509_csr(csr_der).subject == x509.load_der_x509_certificate(replaces).subject


def _answer(said: Said, asked: ExternalRequest) -> Answer:
    """Read the answer to an enrolment (s.4.2.3); of several certificates, the one with the requested key counts."""
    if said.status == 200:
        found = sorted(_certificates(said), key=lambda der: not _has_key(der, asked.spki_der))
        return Received(found[0], tuple(found[1:])) if found else Silent("garbage")
    if said.status == 202:
        return Waiting(said.retry_after_s or AGAIN_S)
    if said.status in {401, 403}:
        return NotReached("credentials", AGAIN_S)
    if said.status in {429, 503}:
        return NotReached("busy", said.retry_after_s)
    if 400 <= said.status < 500:
        return Denied(f"http_{said.status}")
    return Silent(f"http_{said.status}")


def _has_key(certificate_der: bytes, key_der: bytes) -> bool:
    try:
        return spki_der(certificate_der) == key_der
    except ValueError:
        return False


def _certificates(said: Said) -> tuple[bytes, ...]:
    """Return the certificates of a certs-only CMS message; it is base64 whatever its headers say (RFC 8951)."""
    try:
        return certs_only(base64.b64decode(b"".join(said.body.split()), validate=True))
    except (binascii.Error, ValueError, IndexError):
        return ()


def certs_only(cms: bytes) -> tuple[bytes, ...]:
    """Return the certificates in a SignedData without a signer (RFC 5652 s.5.1), in the order of the message.

    Raises ValueError (NotDer) or IndexError for anything else.
    """
    (whole,) = parts(cms)
    kind, content = parts(whole.content)
    if kind.der != _SIGNED_DATA:
        raise NotDer("no signed data")
    fields = parts(parts(content.content)[0].content)
    return tuple(one.der for field in fields if field.tag == 0xA0 for one in parts(field.content) if one.tag == 0x30)
