"""How the tables' columns and partial indexes are written, and the collection that all tables belong to."""

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Text

metadata = MetaData()


def words(name: str, *, null: bool = False) -> Column[str]:
    """Return a column of text."""
    return Column(name, Text, nullable=null)


def integer(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    """Return a column of 64-bit integers; the database itself fills in the default."""
    server_default = None if default is None else sa.text(str(default))
    return Column(name, BigInteger, nullable=null, server_default=server_default)


def binary(name: str, *, null: bool = False) -> Column[bytes]:
    """Return a column of bytes."""
    return Column(name, LargeBinary, nullable=null)


def key(name: str) -> Column[str]:
    """Return a column of text that is the primary key, or a part of it."""
    return Column(name, Text, primary_key=True)


def number_key(name: str) -> Column[int]:
    """Return a column of integers that is the primary key, or a part of it; the writer chooses the number."""
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def of_customer(*, null: bool = False) -> Column[str]:
    """Return the column that names the customer whom a row belongs to."""
    return Column("customer", Text, ForeignKey("customers.id"), nullable=null)


def customer_key() -> Column[str]:
    """Return the customer's column where it is the primary key, or a part of it."""
    return Column("customer", Text, ForeignKey("customers.id"), primary_key=True)


def partial(name: str, *columns: str, where: str) -> Index:
    """Return an index of the rows that meet a condition.

    A statement that should use it has to contain the same condition in the same words, because the planner compares
    texts.
    """
    return Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def unique_where(name: str, *columns: str, where: str) -> Index:
    """Return a unique index of the rows that meet a condition: at most one such row has these values."""
    return Index(name, *columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
