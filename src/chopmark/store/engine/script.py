"""A transaction as a script: a generator that yields steps and receives rows, the same text on both engines.

    def take(id: str, now: int) -> Script[bytes | Refusal]:
        rows = yield query("UPDATE t SET n = n + 1 WHERE id = :id AND due > :now RETURNING nonce", id=id, now=now)
        return rows[0]["nonce"] if rows else Refusal(...)

A script uses nothing but its arguments and the rows, because an engine may run it again from the start: after a
deadlock, a serialization failure or a failed group commit. Only RETURNING tells a script what a statement has changed.

Rules for SQL that runs on both engines:
- Values are written `:name`. A name may stand in the text several times; it is given once.
- PostgreSQL takes the type of a value from the column beside it. Where there is none, write `CAST(:n AS BIGINT)` or
  `CAST(:x AS TEXT) IS NULL`; only PostgreSQL knows `::type`.
- PostgreSQL's SUM over BIGINT is NUMERIC: write `CAST(SUM(n) AS BIGINT)`.
- PostgreSQL's text cannot hold the character NUL.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

Value: TypeAlias = str | int | bytes | None
"""What a column may hold on both engines. Times are epoch milliseconds, booleans are 0 and 1."""

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
    """One statement and its values. The script receives its rows.

    `whole`: it is the transaction's only statement. It is committed before the script sees the rows, so the script
    cannot undo it. `guard`: a part of a bundle; when it returns no row, the whole bundle is rolled back.
    """

    sql: str
    values: Mapping[str, Value]
    whole: bool = False
    guard: bool = False


@dataclass(slots=True)
class Bundle:
    """Statements that make up the whole transaction. They take effect together or not at all; `at_once` makes one.

    The engine puts the rows of each part into `answer`. `answer` is None when a guard returned no row or a unique value
    existed already. Then nothing was changed, and the script may go on with other statements.

    `batchable`: the engine may run it in one statement with other bundles of the same shape that wait at the same
    moment. Each part then reads, is a guard, or writes a row that no other such bundle writes.
    """

    parts: tuple[Query, ...]
    answer: list[list[Row]] | None = None
    batchable: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One statement for many sets of values. It returns no rows. `whole`: it is the transaction's only statement."""

    sql: str
    values: Sequence[Mapping[str, Value]]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Notify:
    """Wakes everybody who waits on this channel when the transaction is committed; a rollback wakes nobody."""

    channel: str


Step: TypeAlias = Query | Bundle | Batch | Notify
Statements: TypeAlias = Query | Bundle | Batch
Script: TypeAlias = Generator[Step, list[Row], T]


def query(sql: str, /, **values: Value) -> Query:
    """Make a statement with its values. Raises Refused (MALFORMED) for text with NUL, which PostgreSQL cannot store."""
    return Query(sql, _storable(values))


def _storable(values: Mapping[str, Value]) -> Mapping[str, Value]:
    for value in values.values():
        if isinstance(value, str) and "\0" in value:
            raise Refused(Refusal(Kind.MALFORMED, text("A text has a character that cannot be stored."), code="nul"))
    return values


def whole(sql: str, /, **values: Value) -> Query:
    """Make a statement that is the whole transaction, so that PostgreSQL needs one round trip and not three.

    After it the script may yield `Notify` and nothing else; any other step raises RuntimeError on both engines.
    """
    return Query(sql, values, whole=True)


def guard(sql: str, /, **values: Value) -> Query:
    """Make a part of a bundle that must return a row: a conditional statement with RETURNING, or a SELECT."""
    return Query(sql, _storable(values), guard=True)


def at_once(*parts: Query, batchable: bool = False) -> Script[list[list[Row]] | None]:
    """Run the parts as one transaction. Return the rows of each, or None when a guard failed and nothing was changed.

    It must be the script's first step. When it succeeds, only `Notify` may follow.

    The parts run, and lock their rows, in order; after the last guard PostgreSQL runs those without rows last. On
    PostgreSQL no part sees the changes of another one. So no part may read a row that another part writes, and no two
    parts may write the same row. `batchable`: see `Bundle`.
    """
    bundle = Bundle(parts, batchable=batchable)
    yield bundle
    return bundle.answer


def in_turn(parts: tuple[Query, ...]) -> Script[None]:
    """Run the parts one after the other, in a transaction that has other statements, too."""
    for part in parts:  # noqa: UP028 - a tuple's iterator cannot be sent the rows
        yield part


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in PostgreSQL's notation, and the name behind each `$n`, in order."""

    numbered: str
    names: tuple[str, ...]
    distinct: frozenset[str]

    def arguments(self, values: Mapping[str, Value]) -> list[Value]:
        """Return the values in the order of `names`.

        Raises:
            ValueError: a value is missing, or the text has no place for one.
        """
        if values.keys() != self.distinct:
            odd = sorted(values.keys() ^ self.distinct)
            raise ValueError(f"values and placeholders differ in {odd}: {self.numbered}")
        return [values[name] for name in self.names]


# Everything that may contain a colon and is no placeholder comes first, and is left as it is.
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
    """One run of a script. It hands out the statements, and keeps the channels to notify and the answer."""

    __slots__ = ("_script", "_statements", "answer", "channels", "whole")

    def __init__(self, script: Script[T]) -> None:
        self._script = script
        self._statements = 0
        self.answer: T
        self.channels: list[str] = []
        self.whole = False

    def first(self) -> Statements | None:
        """Return the first statement. None means that the script is over and `answer` is set."""
        return self._until_statement(None)

    def next(self, rows: list[Row]) -> Statements | None:
        """Give the script the rows of its last statement and return the next one. None means that the script is over.

        Raises:
            RuntimeError: a statement follows the one that is the whole transaction, or a later one claims to be it.
        """
        return self._until_statement(rows)

    def bundled(self, bundle: Bundle, answer: list[list[Row]] | None) -> Statements | None:
        """Give the script the outcome of a bundle and return the next statement, as `next` does."""
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
