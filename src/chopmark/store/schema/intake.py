"""The tables of intake: how far each file is, who had which id, account or contact, and contacts that were replaced."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text


def add_intake(metadata: MetaData) -> None:
    """Add the tables to those of `schema`."""

    def _customer() -> Column[str]:
        return Column("customer", Text, ForeignKey("customers.id"), primary_key=True)

    Table(
        "imports",
        metadata,
        Column("file_sha256", Text, primary_key=True),
        Column("lines_done", BigInteger, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("finished_at", BigInteger, nullable=True),
        Column("report", Text, nullable=True),
    )
    # Who ever had an id (its keyed hash), a contact (its keyed hash) or an account; nothing is ever taken away. `run`
    # is the import that brought it, empty for what was there before this table.
    Table(
        "bearers",
        metadata,
        Column("value", Text, primary_key=True),
        Column("kind", Text, primary_key=True),
        _customer(),
        Column("run", Text, nullable=False),
        Column("since", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    # Contacts that were changed or removed, sealed as they were: the old address is told, and never gets a code.
    Table(
        "former_contacts",
        metadata,
        _customer(),
        Column("channel", Text, primary_key=True),
        Column("version", BigInteger, primary_key=True, autoincrement=False),
        Column("value_sealed", LargeBinary, nullable=False),
        Column("destination_hash", Text, nullable=False),
        Column("verified_at", BigInteger, nullable=False),
        Column("cool_until", BigInteger, nullable=False),
        Column("disputed_at", BigInteger, nullable=True),
        Column("ended_at", BigInteger, nullable=False),
        Index("former_contacts_by_end", "ended_at"),
    )
