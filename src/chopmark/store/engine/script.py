"""A transaction as a script: a generator that yields steps and receives rows, the same text on both engines.

    def take(id: str, now: int) -> Script[bytes | Refusal]:
        rows = yield query("UPDATE t SET n = n + 1 WHERE id = :id AND due > :now RETURNING nonce", id=id, now=now)
        return rows[0]["nonce"] if rows else Refusal(...)

A script touches nothing but its arguments and the rows: an engine may run it again from the start (after a deadlock,
a serialization failure, a failed group commit). A statement tells what it changed by RETURNING; nothing else does.

SQL for both engines: values are `:name`, each name once in the values however often it stands in the text. A value
whose type PostgreSQL cannot see from a column beside it needs CAST (`CAST(:n AS BIGINT)`, `CAST(:x AS TEXT) IS NULL`;
`::type` is PostgreSQL's own). SUM over BIGINT is NUMERIC there: `CAST(SUM(n) AS BIGINT)`. Text holds no NUL.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

Value: TypeAlias = str | int | bytes | None
"""What a column holds on both engines: text, 64-bit integer (times: epoch ms; booleans: 0 and 1), bytes, nothing."""

T = TypeVar("T")


class Row(Protocol):
    """One row, read by the column's name: `row["state"]`; `dict(row)` is a plain mapping."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the column's value."""
        ...

    def keys(self) -> Iterable[str]:
        """Return the columns' names, in the statement's order."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """One statement and its values; its rows come back.

    `whole`: it is the transaction's only statement, committed when its rows arrive; what the script does with the
    rows cannot undo it. `guard`: as a part of a bundle, it takes the bundle back when it returns no row.
    """

    sql: str
    values: Mapping[str, Value]
    whole: bool = False
    guard: bool = False


@dataclass(slots=True)
class Bundle:
    """Statements that stand or fall together and make the whole transaction: one round trip on PostgreSQL.

    The engine leaves the rows of each part in `answer`; None when a guard returned no row or a unique value existed
    already: then nothing has happened, and the script goes on as if it had not asked.

    `batchable`: the engine may run it in one statement with other bundles of the same shape that wait at the same
    moment. Each part then reads, is a guard, or writes a row that no other such bundle writes.
    """

    parts: tuple[Query, ...]
    answer: list[list[Row]] | None = None
    batchable: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One statement for many sets of values; no rows come back. `whole`: it is the transaction's only statement."""

    sql: str
    values: Sequence[Mapping[str, Value]]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Notify:
    """Wakes who waits on this channel, once the transaction is committed; never when it is rolled back."""

    channel: str


Step: TypeAlias = Query | Bundle | Batch | Notify
Statements: TypeAlias = Query | Bundle | Batch
Script: TypeAlias = Generator[Step, list[Row], T]


def query(sql: str, /, **values: Value) -> Query:
    """Make a statement with its values; raises Refused (MALFORMED) for text with NUL, which PostgreSQL cannot hold."""
    return Query(sql, _storable(values))


def _storable(values: Mapping[str, Value]) -> Mapping[str, Value]:
    for value in values.values():
        if isinstance(value, str) and "\0" in value:
            raise Refused(Refusal(Kind.MALFORMED, text("A text has a character that cannot be stored."), code="nul"))
    return values


def whole(sql: str, /, **values: Value) -> Query:
    """Make a statement that is the whole transaction: PostgreSQL runs it in one round trip instead of three.

    After it the script yields at most `Notify`; any other step is a RuntimeError on both engines.
    """
    return Query(sql, values, whole=True)


def guard(sql: str, /, **values: Value) -> Query:
    """Make a part of a bundle that has to return a row: a conditional statement with RETURNING, or a SELECT."""
    return Query(sql, _storable(values), guard=True)


def at_once(*parts: Query, batchable: bool = False) -> Script[list[list[Row]] | None]:
    """Run the parts as one transaction; return the rows of each, or None when a guard failed: nothing happened.

    It is the script's first step, and its last one where it succeeds (apart from `Notify`). The parts run in order,
    on PostgreSQL those without rows after all others, and there none sees what another one changes: no part may read
    a row that another one writes, and none may write a row twice. `batchable` is the bundle's.
    """
    bundle = Bundle(parts, batchable=batchable)
    yield bundle
    return bundle.answer


def in_turn(parts: tuple[Query, ...]) -> Script[None]:
    """Run the parts one after the other, within a transaction that has more to do."""
    for part in parts:  # noqa: UP028 - a tuple's iterator cannot be sent the rows
        yield part


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as PostgreSQL reads it, and the name of each `$n`, in order."""

    numbered: str
    names: tuple[str, ...]
    distinct: frozenset[str]

    def arguments(self, values: Mapping[str, Value]) -> list[Value]:
        """Return the values in the order of `names`.

        Raises:
            ValueError: a value is missing, or one has no place in the text.
        """
        if values.keys() != self.distinct:
            odd = sorted(values.keys() ^ self.distinct)
            raise ValueError(f"values and placeholders differ in {odd}: {self.numbered}")
        return [values[name] for name in self.names]


# Alternatives in this order: what may contain a colon and is no placeholder is taken first, as it stands.
_TOKENS = re.compile(
    r"""
      \b[eE]'(?:[^'\\]|\\.|'')*'            # PostgreSQL's escape string
    | '(?:[^']|'')*'                        # string
    | "(?:[^"]|"")*"                        # quoted name
    | (?<!\w)\$(?P<tag>\w*)\$.*?\$(?P=tag)\$  # dollar-quoted string
    | --[^\n]*
    | /\*.*?\*/
    | ::                                    # cast
    | :=
    | :(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=4096)
def compiled(sql: str, after: int = 0) -> Statement:
    """Return the statement with `:name` turned into `$n`, n > `after`; a name used again keeps its number.

    String literals, quoted names, comments, `::casts` and `:=` stay as they are.
    """
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        return f"${numbers.setdefault(name, after + len(numbers) + 1)}"

    text = _TOKENS.sub(numbered, sql)
    return Statement(text, tuple(numbers), frozenset(numbers))


class ScriptRun(Generic[T]):
    """One run of a script: hands its statements to an engine one by one, and keeps its notices and its answer."""

    __slots__ = ("_script", "_statements", "answer", "channels", "whole")

    def __init__(self, script: Script[T]) -> None:
        self._script = script
        self._statements = 0
        self.answer: T
        self.channels: list[str] = []
        self.whole = False

    def first(self) -> Statements | None:
        """Return the first statement, or None: the script is over and `answer` is set."""
        return self._until_statement(None)

    def next(self, rows: list[Row]) -> Statements | None:
        """Give the rows of the last statement and return the next one, or None: the script is over.

        Raises:
            RuntimeError: the script goes on after its whole statement, or calls a later one whole.
        """
        return self._until_statement(rows)

    def bundled(self, bundle: Bundle, answer: list[list[Row]] | None) -> Statements | None:
        """Give what came of a bundle and return the next statement, as `next`; after None others may follow it."""
        bundle.answer = answer
        self.whole = answer is not None
        return self._until_statement([])

    def close(self) -> None:
        """End the script where it stands."""
        self._script.close()

    def _until_statement(self, rows: list[Row] | None) -> Statements | None:
        try:
            step = next(self._script) if rows is None else self._script.send(rows)
            while isinstance(step, Notify):
                self.channels.append(step.channel)
                step = self._script.send([])
        except StopIteration as end:
            self.answer = end.value
            return None
        alone = isinstance(step, Bundle) or step.whole
        if self.whole or (alone and self._statements):
            raise RuntimeError("a whole statement has another one beside it in its script")
        self.whole = alone
        self._statements += 1
        return step
