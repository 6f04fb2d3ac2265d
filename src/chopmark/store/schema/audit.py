"""Audit records, signed tree heads and their time-stamps."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, partial, words

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
    integer("position", null=True),
    Index("leaves_by_chain", "chain", "version", unique=True),
    Index("leaves_by_position", "position", unique=True),
    partial("leaves_unsequenced", "entry", where="position IS NULL"),
)
heads = Table(
    "heads",
    metadata,
    number_key("size"),
    words("line"),
    binary("frontier", null=True),
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
