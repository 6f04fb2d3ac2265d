"""Conditions on an HTTP answer, as settings have them: `status == 201 and $.messages[0].status == "0"`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,3})\]", re.ASCII)
_CONDITION: Final = re.compile(r"\s*(status|\$[^\s=!]*)\s*(==|!=|in)\s*(\S.*?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A place in a JSON value: `$` is the whole of it, `.name` a member, `[0]` an element."""

    steps: tuple[str | int, ...]

    @classmethod
    def read(cls, written: str) -> "JsonPath":
        """Return the path. Raises ValueError if the text is no path."""
        if not written.startswith("$"):
            raise ValueError(f"{written!r} is no JSON path: it begins with $")
        steps: list[str | int] = []
        at = 1
        while at < len(written):
            found = _STEP.match(written, at)
            if found is None:
                raise ValueError(f"{written!r} is no JSON path: after $ come .name and [number]")
            steps.append(found[1] if found[2] is None else int(found[2]))
            at = found.end()
        return cls(tuple(steps))

    def of(self, value: Any) -> Any:
        """Return what is at this path in the value; None if nothing is."""
        for step in self.steps:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, dict) else None
            else:
                value = value[step] if isinstance(value, list) and step < len(value) else None
        return value


@dataclass(frozen=True, slots=True)
class _Condition:
    left: JsonPath | None
    negated: bool
    allowed: tuple[Any, ...]

    def holds(self, status: int, body: Any) -> bool:
        found = status if self.left is None else self.left.of(body)
        same = any(type(found) is type(one) and found == one for one in self.allowed)
        return same is not self.negated


@dataclass(frozen=True, slots=True)
class Expression:
    """Conditions that all have to hold."""

    conditions: tuple[_Condition, ...]

    @classmethod
    def read(cls, written: str) -> "Expression":
        """Return the expression.

        Raises ValueError if the text is none. Values are JSON; `null` also matches a missing value.
        """
        return cls(tuple(_condition(part) for part in written.split(" and ")))

    def holds(self, status: int, body: Any) -> bool:
        """Tell whether an answer fulfils the expression; `body` is the parsed JSON, or None."""
        return all(condition.holds(status, body) for condition in self.conditions)


def _condition(written: str) -> _Condition:
    found = _CONDITION.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is no condition: write status or a JSON path, then ==, != or in, then a value")
    left, operator, right = found.groups()
    try:
        value = json.loads(right)
    except ValueError:
        raise ValueError(f"{right!r} is no JSON value: text stands in double quotes") from None
    if (operator == "in") is not isinstance(value, list):
        raise ValueError(f"{written!r}: after `in` comes a list, and a list comes only after `in`")
    allowed: Sequence[Any] = value if operator == "in" else [value]
    return _Condition(None if left == "status" else JsonPath.read(left), operator == "!=", tuple(allowed))
