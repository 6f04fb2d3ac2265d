"""Former issuers as their status is asked: what the settings say of it, the answers, and what the store keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from chopmark.pki.crl_reading import Revoked as Entry

MAX_LIST: Final = 128 << 20
"""Bytes of a revocation list, unless the settings say otherwise: about three million entries."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where one revocation list lies: an http(s) address, or a file's absolute path.

    `scope` is the address that the list's issuing distribution point must have where it has one.
    """

    place: str
    scope: str

    @property
    def is_address(self) -> bool:
        """Whether it is fetched by HTTP."""
        return self.place.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class ListSource:
    """Status by revocation lists; all of `locations` together are the CA's.

    `signers` are certificates, DER, of keys that sign lists for it beside its own.
    """

    locations: tuple[Location, ...]
    signers: tuple[bytes, ...] = ()
    max_bytes: int = MAX_LIST


@dataclass(frozen=True, slots=True)
class ResponderSource:
    """Status by OCSP at `url`. `signers` are responders' certificates, DER, for answers that come without one.

    `nonce_required`: an answer without our nonce is not taken. Otherwise it counts from its thisUpdate to nextUpdate.
    """

    url: str
    signers: tuple[bytes, ...] = ()
    nonce_required: bool = False


@dataclass(frozen=True, slots=True)
class NoSource:
    """The status is not asked, as the firm has decided; `reason` is its own sentence."""

    reason: str


StatusSource: TypeAlias = ListSource | ResponderSource | NoSource


@dataclass(frozen=True, slots=True)
class FormerCa:
    """A former issuer: its id in our records, its pinned certificates (DER), and how their status is asked."""

    id: str
    certificates: tuple[bytes, ...] = field(repr=False)
    source: StatusSource


@dataclass(frozen=True, slots=True)
class Good:
    """Not revoked, as the old CA says, until this moment (aware UTC)."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked by the old CA; `reason` in the words of CrlReason, `at` aware UTC."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say now; `why` is one of the words in `sentences.FAULTS`."""

    why: str


Status: TypeAlias = Good | Revoked | Unknown


class NotFetched(Exception):
    """A list or an answer could not be had; `why` is one of the words in `sentences.FAULTS`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class KeptList:
    """What the database has of one place: the list taken last, if any, and how the last looks at the place went.

    `fault` and `failing_since` are None after a look that went well, and `failures` counts looks that did not. For a
    responder there is no list, and only these three count.
    """

    issuer: str
    place: str
    number: int | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    entries_sha256: str = ""
    entries: int = 0
    fetched_at: datetime | None = None
    due_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An OCSP answer about one certificate, good for use until `until`."""

    issuer: str
    serial: str
    status: Good | Revoked
    until: datetime


class FormerLists(Protocol):
    """Stores what the old CAs said, so that all processes share it; each method is one transaction."""

    async def kept(self, issuer: str) -> dict[str, KeptList]:
        """Return what is kept of this issuer, by place."""
        ...

    async def looked_up(self, issuer: str, serial: str) -> tuple[dict[str, KeptList], dict[str, Revoked]]:
        """Return at one moment what is kept of this issuer, and where this serial number is listed as revoked."""
        ...

    async def claim(self, issuer: str, place: str, holder: str, now: datetime) -> int | None:
        """Return the number of a new generation of this list's entries; None while another process takes the list."""
        ...

    async def release(self, issuer: str, place: str, holder: str) -> None:
        """Let other processes take the list; a process that dies keeps them from it for some minutes."""
        ...

    async def put(self, issuer: str, place: str, generation: int, entries: Sequence[Entry]) -> None:
        """Store entries of a verified list; from now on they count as revoked."""
        ...

    async def taken(self, kept: KeptList, generation: int | None) -> None:
        """Store that a list was taken; entries of an earlier generation end. None: its entries are those of before."""
        ...

    async def failed(self, kept: KeptList) -> None:
        """Store how the looks at a place stand, and nothing of its list."""
        ...

    async def answer(self, issuer: str, serial: str) -> KeptAnswer | None:
        """Return the kept OCSP answer about a certificate."""
        ...

    async def keep_answer(self, kept: KeptAnswer) -> None:
        """Store an OCSP answer in place of an earlier one."""
        ...
