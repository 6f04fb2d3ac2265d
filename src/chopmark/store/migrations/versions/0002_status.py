"""Holds at the CA, and keys that were reported before anybody showed them here.

What an installation of an earlier state lacks is added; one that was founded with these tables has it already.
"""

import sqlalchemy as sa
from alembic import op

from chopmark.store.schema import metadata

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    there = sa.inspect(bind)
    if "turns" not in {column["name"] for column in there.get_columns("certificates")}:
        op.add_column("certificates", sa.Column("turns", sa.BigInteger, nullable=False, server_default=sa.text("0")))
        op.execute("UPDATE certificates SET turns = 1 WHERE ended_at IS NOT NULL")
    for table, index in (("certificates", "certificates_turned"), ("holdings", "holdings_by_key")):
        if index not in {found["name"] for found in there.get_indexes(table)}:
            next(one for one in metadata.tables[table].indexes if one.name == index).create(bind)
    if "blocked_keys" not in there.get_table_names():
        metadata.tables["blocked_keys"].create(bind)
