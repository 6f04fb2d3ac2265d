"""The structures of CMP messages (RFC 9810, RFC 4211), declared as in the RFCs.

Fields that we read and do not use are declared because the RFC declares them. A list into which we write exactly one
element is declared as a sequence of one element.
"""

from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from chopmark.pki.der import AlgorithmIdentifier, PublicKeyInfo
from chopmark.pki.x509 import Extension


@asn1.sequence
class PbmParameter:
    """PBMParameter (RFC 9810 s.5.1.3.1)."""

    salt: bytes
    owf: AlgorithmIdentifier
    rounds: int
    mac: AlgorithmIdentifier


@asn1.sequence
class PbmAlgorithm:
    """The AlgorithmIdentifier of a password-based MAC; parameters of other algorithms are not decoded."""

    algorithm: ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class PkiHeader:
    """PKIHeader (RFC 9810 s.5.1.1)."""

    version: int
    sender: asn1.TLV
    recipient: asn1.TLV
    at: Annotated[asn1.GeneralizedTime | None, asn1.Explicit(0)]
    protection: Annotated[PbmAlgorithm | None, asn1.Explicit(1)]
    sender_kid: Annotated[bytes | None, asn1.Explicit(2)]
    recipient_kid: Annotated[bytes | None, asn1.Explicit(3)]
    transaction: Annotated[bytes | None, asn1.Explicit(4)]
    nonce: Annotated[bytes | None, asn1.Explicit(5)]
    answers: Annotated[bytes | None, asn1.Explicit(6)]
    text: Annotated[list[asn1.TLV] | None, asn1.Explicit(7)]
    information: Annotated[list[asn1.TLV] | None, asn1.Explicit(8)]


@asn1.sequence
class PkiMessage:
    """PKIMessage (RFC 9810 s.5.1); header and body keep their octets, and the body's tag says which kind it is."""

    header: asn1.TLV
    body: asn1.TLV
    protection: Annotated[asn1.BitString | None, asn1.Explicit(0)]
    extra: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]


@asn1.sequence
class ProtectedPart:
    """ProtectedPart (RFC 9810 s.5.1.3): what the MAC is computed over."""

    header: asn1.TLV
    body: asn1.TLV


@asn1.sequence
class CertTemplate:
    """CertTemplate (RFC 4211 s.5) with what we ask for: a name and a key."""

    subject: Annotated[asn1.TLV, asn1.Explicit(5)]
    key: Annotated[PublicKeyInfo, asn1.Implicit(6)]


@asn1.sequence
class CertId:
    """CertId (RFC 4211 s.6.5): a GeneralName and a serial number."""

    issuer: asn1.TLV
    serial: int


@asn1.sequence
class OldCertId:
    """The control oldCertID (RFC 4211 s.6.5)."""

    type: ObjectIdentifier
    value: CertId


@asn1.sequence
class CertRequest:
    """CertRequest (RFC 4211 s.5)."""

    number: int
    template: CertTemplate
    controls: list[OldCertId] | None


@asn1.sequence
class CertReqMsg:
    """CertReqMsg (RFC 4211 s.3); possession was verified by us (raVerified, s.4)."""

    request: CertRequest
    possession: Annotated[asn1.Null, asn1.Implicit(0)]


@asn1.sequence
class OneCertReqMsg:
    """A list of one."""

    one: CertReqMsg


@asn1.sequence
class PollReq:
    """The only element of PollReqContent (RFC 9810 s.5.3.22)."""

    number: int


@asn1.sequence
class OnePollReq:
    """A list of one."""

    one: PollReq


@asn1.sequence
class StatusInfo:
    """PKIStatusInfo (RFC 9810 s.5.2.3)."""

    status: int
    text: list[asn1.TLV] | None
    failures: asn1.BitString | None


@asn1.sequence
class CertStatus:
    """CertStatus (RFC 9810 s.5.3.18)."""

    digest: bytes
    number: int
    status: StatusInfo | None


@asn1.sequence
class OneCertStatus:
    """A list of one."""

    one: CertStatus


@asn1.sequence
class RevokedTemplate:
    """CertTemplate with what names a certificate."""

    serial: Annotated[int, asn1.Implicit(1)]
    issuer: Annotated[asn1.TLV, asn1.Explicit(3)]


@asn1.sequence
class RevDetails:
    """RevDetails (RFC 9810 s.5.3.9)."""

    template: RevokedTemplate
    extensions: list[Extension]


@asn1.sequence
class OneRevDetails:
    """A list of one."""

    one: RevDetails


@asn1.sequence
class CertResponse:
    """CertResponse (RFC 9810 s.5.3.4); the certificate is the first element of the key pair, under [0]."""

    number: int
    status: StatusInfo
    key_pair: list[asn1.TLV] | None
    information: bytes | None


@asn1.sequence
class CertRepMessage:
    """CertRepMessage (RFC 9810 s.5.3.4)."""

    authorities: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]
    responses: list[CertResponse]


@asn1.sequence
class PollRep:
    """The only element of PollRepContent (RFC 9810 s.5.3.22)."""

    number: int
    seconds: int
    text: list[asn1.TLV] | None


@asn1.sequence
class OnePollRep:
    """A list of one."""

    one: PollRep


@asn1.sequence
class ErrorContent:
    """ErrorMsgContent (RFC 9810 s.5.3.21)."""

    status: StatusInfo
    code: int | None
    details: list[asn1.TLV] | None


@asn1.sequence
class RevocationReply:
    """RevRepContent (RFC 9810 s.5.3.10)."""

    statuses: list[StatusInfo]
    certificates: Annotated[list[asn1.TLV] | None, asn1.Explicit(0)]
    lists: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]
