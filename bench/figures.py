"""What the numbers mean: medians, spreads, percentiles, ratios, and the table and JSON they are told in. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def median(values: Sequence[float]) -> float:
    """Return the middle value; of an even number the mean of the two in the middle. ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values: Sequence[float]) -> float:
    """Return (greatest - least) / median: how far the rounds lie apart; 0 for a single round."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of all do not exceed (nearest rank). ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratios(values: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Return the ratio of each round to the limit measured next to it; ValueError when the rounds do not pair up."""
    return [value / limit for value, limit in zip(values, limits, strict=True)]


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    `rounds` are the values that `value` is the median of; `ratio` is the median of the rounds' own ratios to what
    stands in `against`, measured in the same run. `conditions` are what a reader needs to measure it again.
    """

    id: str
    unit: str
    rounds: tuple[float, ...]
    against: str = ""
    ratio: float | None = None
    target: str = ""
    limited_by: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a part of the median."""
        return spread(self.rounds)

    def out(self) -> dict[str, Any]:
        """Return the row for `--json`."""
        return {
            "id": self.id,
            "value": round(self.value, 4),
            "unit": self.unit,
            "against": self.against,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "spread": round(self.spread, 4),
            "target": self.target,
            "limited_by": self.limited_by,
            "conditions": dict(self.conditions),
        }


def as_json(results: Sequence[Result], machine: Mapping[str, Any]) -> str:
    """Return the document of `--json`: the machine, and a list `results`."""
    return json.dumps({"machine": dict(machine), "results": [one.out() for one in results]}, indent=2) + "\n"


def shown(value: float) -> str:
    """Return a number with three digits that count: 12,345 · 123 · 12.3 · 1.23."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(results: Sequence[Result]) -> str:
    """Return the results as lines for a terminal (and, with the bars, for Markdown)."""
    header = ("id", "median", "unit", "spread", "ratio", "against", "target", "limited by")
    rows = [
        (
            one.id,
            shown(one.value),
            one.unit,
            f"{one.spread:.0%}" if len(one.rounds) > 1 else "-",
            "-" if one.ratio is None else f"{one.ratio:.2f}",
            one.against or "-",
            one.target or "-",
            one.limited_by or "-",
        )
        for one in results
    ]
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
