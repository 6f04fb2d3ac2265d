"""The tables of messages: which gateway got which, and what was reported of it."""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, text


def add_to(metadata: MetaData) -> None:
    """Add the tables to those of `schema`."""
    # A message is a row of work. No number, no text and no code stands here.
    Table(
        "deliveries",
        metadata,
        Column("message", Text, primary_key=True),
        Column("gateway", Text, primary_key=True),
        Column("fate", Text, nullable=False),
        Column("tries", BigInteger, nullable=False),
        Column("begun_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Column("provider_id", Text),
        Column("reason", Text),
        Column("detail", Text),
        Column("report", Text),
        Column("report_detail", Text),
        Column("reported_at", BigInteger),
        Column("asked_at", BigInteger),
        Index("deliveries_by_provider", "gateway", "provider_id"),
        Index("deliveries_by_age", "begun_at"),
        Index(
            "deliveries_unreported",
            "begun_at",
            sqlite_where=text("fate = 'taken' AND report IS NULL"),
            postgresql_where=text("fate = 'taken' AND report IS NULL"),
        ),
    )
