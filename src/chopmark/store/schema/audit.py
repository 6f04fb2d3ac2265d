"""Audit records, signed tree heads and their time-stamps."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, words

chains = Table("chains", metadata, key("chain"), integer("version"), binary("tip"))
leaves = Table(
    "leaves",
    metadata,
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    words("chain"),
    integer("version"),
    binary("previous"),
    words("at"),
    words("event"),
    words("facts"),
    words("kid"),
    binary("mac"),
    Index("leaves_by_chain", "chain", "version", unique=True),
)
# Apart from `leaves`, because a row of a kilobyte that gets its place later is written twice, with all its indexes.
places = Table(
    "places",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    integer("entry"),
    Index("places_by_entry", "entry", unique=True),
)
heads = Table(
    "heads",
    metadata,
    number_key("size"),
    words("line"),
    binary("frontier", null=True),
    integer("settled", null=True),  # every record up to this entry has its place: `repositories.audit.log`
    integer("xid", null=True),  # the number of the transaction that wrote the head, on PostgreSQL
)
anchors = Table(
    "anchors",
    metadata,
    number_key("hour"),
    integer("size"),
    integer("at"),
    binary("token"),
    Index("anchors_by_size", "size", unique=True),
)
