"""The report of an import: the sheet's faults, what it changes, and which customers share a contact."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chopmark.core.types import CustomerId
from chopmark.ra.customer_import.reading import MOST_FAULTS
from chopmark.ra.customer_import.sheet import Fault


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a sheet; it is equal for an uninterrupted run and for one that was killed and resumed.

    `lines` counts the lines that are not blank, without the header; `imported` is all of them or 0. `faults` are in the
    order of lines, at most 10,000; `more` counts the others. `resumed_at` is the number of lines that an earlier run
    had imported already. `notes` say what changes and what is shared, in the order of lines, at most 10,000; `counts`
    says how many there are of each code. `absent` has the customers of the directory that are not in a checked file, at
    most 10,000 of `absent_count`.
    """

    encoding: str
    lines: int
    faults: tuple[Fault, ...] = ()
    more: int = 0
    imported: int = 0
    resumed_at: int | None = field(default=None, compare=False)
    notes: tuple[Fault, ...] = field(default=(), compare=False)
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)
    absent: tuple[CustomerId, ...] = field(default=(), compare=False)
    absent_count: int = field(default=0, compare=False)


@dataclass(slots=True)
class Remarks:
    """Gathers remarks: all of them are counted by their code, and the first 10,000 are kept."""

    kept: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, remarks: Iterable[Fault]) -> None:
        """Count the remarks, and keep them while there is room."""
        for one in remarks:
            self.counts[one.code] += 1
            if len(self.kept) < MOST_FAULTS:
                self.kept.append(one)

    def count(self, code: str, many: int) -> None:
        """Count remarks of this code without keeping any."""
        if many:
            self.counts[code] += many


def by_line(fault: Fault) -> int:
    """Return the line of a fault, as the key to sort by."""
    return fault.line
