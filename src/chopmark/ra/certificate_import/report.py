"""What an import of certificates found: counts with a few examples each, and how the customers will renew."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from chopmark.core.types import Text
from chopmark.ra.imported import Way

_PART_BITS: Final = 3


class Found(StrEnum):
    """The result for one certificate of the input. Only those of `IMPORTED` are imported."""

    MATCHED = "matched"
    KEY_UNFIT = "key_unfit"
    """It matches, but its key may prove no renewal (`ra.former_keys`), so the customer has to apply."""
    NO_TEMPLATE = "no_template"
    """No template fits the subject, and no table names the customer."""
    NO_CUSTOMER = "no_customer"
    TWO_CUSTOMERS = "two_customers"
    TABLE_UNKNOWN = "table_unknown"
    """A table names somebody who is not in the directory, but the subject or another cell names one who is."""
    EXPIRED = "expired"
    NOT_FORMER = "not_former"
    """No certificate of a former issuer verifies its signature, whatever its issuer name says."""
    AUTHORITY = "authority"
    """A CA certificate; exports often contain these among the customers' certificates."""
    KEY_SHARED = "key_shared"
    """Two customers have certificates with this key."""
    KEY_BLOCKED = "key_blocked"
    THERE = "there"
    """An earlier import brought this certificate already."""
    TWICE = "twice"
    """The same certificate occurs in the input more than once."""
    UNREADABLE = "unreadable"


IMPORTED: Final = (Found.MATCHED, Found.KEY_UNFIT)


@dataclass(frozen=True, slots=True)
class Example:
    """An example for a count: the position of a certificate in the input, its file, its line or place, its serial."""

    number: int
    file: str
    place: int
    serial: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of the input that cannot be read as a certificate: where and why. The text never repeats the content."""

    file: str
    place: int
    code: str
    text: Text


@dataclass(frozen=True, slots=True)
class Estimate:
    """The firm's estimate, in per cent, of where the keys are if no table says so. The rest of the keys is lost.

    If both numbers are 0, nothing is estimated.
    """

    by_file: int = 0
    by_vault: int = 0

    @property
    def given(self) -> bool:
        """Whether the firm has estimated anything."""
        return bool(self.by_file or self.by_vault)


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """The report of a run or a check. `counts` adds up to `certificates`; `imported` counts `IMPORTED`, or is 0.

    `renew` and `apply` count those of `IMPORTED` whose customers can renew or have to apply. `ways` counts them by
    where the key is, `certified` those whose customers have a certificate of ours already, `months` by the local month
    in which they end. The firm's estimate splits the unknown ones of `ways`.
    """

    certificates: int
    counts: Mapping[Found, int]
    examples: Mapping[Found, tuple[Example, ...]]
    unreadable: tuple[Unreadable, ...]
    renew: int
    apply: int
    ways: Mapping[Way, int]
    certified: int
    months: Mapping[str, int]
    issuers: Mapping[str, int]
    imported: int = 0
    resumed_at: int | None = field(default=None, compare=False)
    run: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Matched:
    """What is kept of a matched certificate until the end, because only then it is known whether it is a repetition."""

    way: Way
    fit: bool
    certified: bool
    month: str
    issuer: str


class Tally:
    """Counts the results. Only at the end it finds the matched certificates that are repetitions or share a key.

    Memory holds 29 bytes for each matched certificate, besides the examples.
    """

    def __init__(self, examples: int) -> None:
        self._most = examples
        self.counts: Counter[Found] = Counter()
        self.examples: dict[Found, list[Example]] = {}
        self.unreadable: list[Unreadable] = []
        self._kinds: dict[Matched, int] = {}
        self._prints, self._keys, self._customers = array("Q"), array("Q"), array("Q")
        self._kind_of, self._number_of = array("H"), array("L")

    def note(self, found: Found, example: Example) -> None:
        """Count a certificate that is not imported. The first ones of each kind are kept as examples."""
        self.counts[found] += 1
        self._keep(found, example)

    def spoiled(self, one: Unreadable, most: int = 1000) -> None:
        """Count something that cannot be read."""
        self.counts[Found.UNREADABLE] += 1
        if len(self.unreadable) < most:
            self.unreadable.append(one)

    def match(self, fingerprint: str, spki_sha256: str, customer: int, kind: Matched, example: Example) -> None:
        """Count a matched certificate; `customer` is a short hash of the customer number."""
        found = Found.MATCHED if kind.fit else Found.KEY_UNFIT
        self.counts[found] += 1
        self._keep(found, example)
        self._prints.append(int(fingerprint[:16], 16))
        self._keys.append(int(spki_sha256[:16], 16))
        self._customers.append(customer)
        self._kind_of.append(self._kinds.setdefault(kind, len(self._kinds)))
        self._number_of.append(example.number)

    def _keep(self, found: Found, example: Example) -> None:
        kept = self.examples.setdefault(found, [])
        if len(kept) < self._most:
            kept.append(example)

    def report(self, certificates: int) -> CertificateReport:
        """Return the report, in which repetitions and certificates with a shared key no longer count as imported."""
        kinds = {number: kind for kind, number in self._kinds.items()}
        twice = set(self._repeated())
        shared = {place for place in self._shared() if place not in twice}
        for found, places in ((Found.TWICE, twice), (Found.KEY_SHARED, shared)):
            self.counts[found] += len(places)
            for place in places:
                self.counts[Found.MATCHED if kinds[self._kind_of[place]].fit else Found.KEY_UNFIT] -= 1
            for place in sorted(places)[: self._most]:
                self._keep(found, Example(self._number_of[place], "", 0, ""))
        out = twice | shared
        left = Counter(self._kind_of[place] for place in range(len(self._kind_of)) if place not in out)
        ways: Counter[Way] = Counter()
        months: Counter[str] = Counter()
        issuers: Counter[str] = Counter()
        renew = certified = 0
        for number, many in left.items():
            kind = kinds[number]
            ways[kind.way if kind.fit else Way.NONE] += many
            months[kind.month] += many
            issuers[kind.issuer] += many
            certified += many if kind.certified else 0
            renew += many if kind.fit and kind.way in {Way.FILE, Way.UNKNOWN} and not kind.certified else 0
        matched = sum(self.counts[found] for found in IMPORTED)
        return CertificateReport(
            certificates=certificates,
            counts={found: self.counts[found] for found in Found if self.counts[found]},
            examples={found: tuple(kept) for found, kept in self.examples.items()},
            unreadable=tuple(self.unreadable),
            renew=renew,
            apply=matched - renew - certified,
            ways=dict(ways),
            certified=certified,
            months=dict(sorted(months.items())),
            issuers=dict(sorted(issuers.items())),
        )

    def _repeated(self) -> Iterator[int]:
        """Yield the places of certificates that are also at an earlier place."""
        for places in _groups(self._prints):
            yield from sorted(places)[1:]

    def _shared(self) -> Iterator[int]:
        """Yield the places of certificates whose key is also in another customer's certificate."""
        for places in _groups(self._keys):
            if len({self._customers[place] for place in places}) > 1:
                yield from places


def _groups(hashes: "array[int]") -> Iterator[list[int]]:
    """Yield, for each value that occurs more than once, its places. Sorts in parts, to need less memory."""
    for part in range(1 << _PART_BITS):
        places = sorted(
            (p for p in range(len(hashes)) if hashes[p] >> (64 - _PART_BITS) == part), key=hashes.__getitem__
        )
        group: list[int] = []
        for one, after in pairwise(places):
            if hashes[one] == hashes[after]:
                group = [*group, after] if group else [one, after]
            elif group:
                yield group
                group = []
        if group:
            yield group
