"""What becomes of a sheet, in words: its faults, what it changes, and who shares a contact."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chopmark.core.types import CustomerId
from chopmark.ra.customer_import.reading import MOST_FAULTS
from chopmark.ra.customer_import.sheet import Fault


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a sheet: the same for a run in one go and for one that was killed and went on.

    `lines` counts those that say something, without the header; `imported` is all of them or 0. `faults` come by
    line, at most 10,000; `more` counts the others. `resumed_at` is the number of lines that were in already.
    `notes` say what changes and what is shared, by line, at most 10,000; `counts` has how many there are of each.
    `absent` names customers of the directory that a checked file leaves out, at most 10,000 of `absent_count`.
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
    """Gathers remarks by line: all are counted, the first are kept; one place is remarked upon once in each way."""

    kept: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, remarks: Iterable[Fault]) -> None:
        """Count and keep."""
        for one in remarks:
            self.counts[one.code] += 1
            if len(self.kept) < MOST_FAULTS:
                self.kept.append(one)

    def count(self, code: str, many: int) -> None:
        """Count without keeping."""
        if many:
            self.counts[code] += many


def by_line(fault: Fault) -> int:
    """Return the line, to sort by."""
    return fault.line
