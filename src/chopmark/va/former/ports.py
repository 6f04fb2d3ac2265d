"""Asking for the status of certificates of former issuers: the settings, the answers, and what the store keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from chopmark.pki.crl_reading import Revoked as Entry

MAX_LIST: Final = 128 << 20
"""The most bytes of a revocation list, unless the settings say otherwise. This is about three million entries."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where one revocation list is: an http(s) address, or the absolute path of a file.

    If the list has an issuing distribution point, that must be the address `scope`.
    """

    place: str
    scope: str

    @property
    def is_address(self) -> bool:
        """Whether the list is fetched by HTTP."""
        return self.place.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class ListSource:
    """Status by revocation lists; all of `locations` together cover the CA.

    `signers` are certificates, DER, of other keys than its own that sign lists for it.
    """

    locations: tuple[Location, ...]
    signers: tuple[bytes, ...] = ()
    max_bytes: int = MAX_LIST


@dataclass(frozen=True, slots=True)
class ResponderSource:
    """Status by OCSP at `url`. `signers` are the responders' certificates, DER, for answers that contain none.

    `nonce_required`: an answer without our nonce is refused. Otherwise it is valid from thisUpdate to nextUpdate.
    """

    url: str
    signers: tuple[bytes, ...] = ()
    nonce_required: bool = False


@dataclass(frozen=True, slots=True)
class NoSource:
    """The firm decided not to ask for the status; `reason` is its explanation."""

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
    """Not revoked, as the former issuer says. This is valid until `until` (aware UTC)."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked by the former issuer; `reason` in the words of CrlReason, `at` aware UTC."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """The status is not known now; `why` is one of the words in `sentences.FAULTS`."""

    why: str


Status: TypeAlias = Good | Revoked | Unknown


class NotFetched(Exception):
    """A list or an answer could not be fetched; `why` is one of the words in `sentences.FAULTS`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class KeptList:
    """What the database keeps of one location: the list stored last, if any, and how the last fetches went.

    After a successful fetch, `fault` and `failing_since` are None. `failures` counts failed fetches in a row. For a
    responder there is no list, and only these three are used.
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
    """An OCSP answer about one certificate. It may be used until `until`."""

    issuer: str
    serial: str
    status: Good | Revoked
    until: datetime


class FormerLists(Protocol):
    """Stores what the former issuers said, so that all processes share it. Each method is one transaction."""

    async def kept(self, issuer: str) -> dict[str, KeptList]:
        """Return what is kept of this issuer, by location."""
        ...

    async def looked_up(self, issuer: str, serial: str) -> tuple[dict[str, KeptList], dict[str, Revoked]]:
        """Return, from one transaction, what is kept of this issuer, and which locations list the serial as revoked."""
        ...

    async def claim(self, issuer: str, place: str, holder: str, now: datetime) -> int | None:
        """Return the number of a new generation of this list's entries. None if another process is fetching it."""
        ...

    async def release(self, issuer: str, place: str, holder: str) -> None:
        """Let other processes fetch the list. If a process dies before this, they wait for some minutes."""
        ...

    async def put(self, issuer: str, place: str, generation: int, entries: Sequence[Entry]) -> None:
        """Store entries of a verified list. They count as revoked from now on."""
        ...

    async def taken(self, kept: KeptList, generation: int | None) -> None:
        """Store that a list was loaded, and end the entries of earlier generations.

        None: its entries are the same as before.
        """
        ...

    async def failed(self, kept: KeptList) -> None:
        """Store only how the last fetches from a location went."""
        ...

    async def answer(self, issuer: str, serial: str) -> KeptAnswer | None:
        """Return the kept OCSP answer about a certificate."""
        ...

    async def keep_answer(self, kept: KeptAnswer) -> None:
        """Store an OCSP answer in place of an earlier one."""
        ...
