"""What operators can ask of a ceremony on the command line; it imports little, so that every command starts quickly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Algorithm = Literal["P256", "P384", "RSA2048", "RSA3072", "RSA4096"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyOptions:
    """The options and the files of one call.

    Parameters
    ----------
    one:
        Name of the first operator, for transcript and audit.
    two:
        Name of the second operator, another person.
    witness:
        Name of a further person who is present; may be given several times.
    algorithm:
        Kind of all keys that are made.
    share_one:
        File with the first operator's share; without it the terminal asks.
    share_two:
        File with the second operator's share.
    root_elsewhere:
        The root's key stays on another machine: write a request, and wait for the certificate.
    root_key:
        Key file of a root that is here already (rollover under the same root).
    root_share_one:
        File with the first share of that key file, where it is another one.
    root_share_two:
        File with its second share.
    issuing_certificate:
        The certificate that the other machine made, PEM.
    root_certificate:
        The root's certificate from the other machine, PEM.
    root_crl:
        The root's revocation list from the other machine, PEM.
    resume:
        Go on with what stands in the folder.
    """

    one: str = ""
    two: str = ""
    witness: tuple[str, ...] = ()
    algorithm: Algorithm = "P256"
    share_one: Path | None = None
    share_two: Path | None = None
    root_elsewhere: bool = False
    root_key: Path | None = None
    root_share_one: Path | None = None
    root_share_two: Path | None = None
    issuing_certificate: Path | None = None
    root_certificate: Path | None = None
    root_crl: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAsked:
    """The options and the files for a new revocation list of the root.

    Parameters
    ----------
    one:
        Name of the first operator, for the audit.
    two:
        Name of the second operator, another person.
    root_key:
        The root's key file.
    share_one:
        File with the first share of that key file; without it the terminal asks.
    share_two:
        File with its second share.
    revoke:
        Id of an issuing CA that the list revokes from now on, such as investor.
    reason:
        Why it is revoked.
    take:
        A list that was made on another machine, PEM; then no key is asked for.
    """

    one: str = ""
    two: str = ""
    root_key: Path | None = None
    share_one: Path | None = None
    share_two: Path | None = None
    revoke: str = ""
    reason: Literal["ca_compromise", "superseded", "cessation_of_operation"] = "superseded"
    take: Path | None = None
