"""Audit records, signed tree heads and their time-stamps."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, partial, text

chains = Table("chains", metadata, key("chain"), integer("version"), binary("tip"))
leaves = Table(
    "leaves",
    metadata,
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    text("chain"),
    integer("version"),
    binary("previous"),
    text("at"),
    text("event"),
    text("facts"),
    text("kid"),
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
    text("line"),
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
