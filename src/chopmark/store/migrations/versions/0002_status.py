"""Holds at the CA, OCSP answers signed ahead, and keys that were reported before anybody showed them here.

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
    columns = {column["name"] for column in there.get_columns("certificates")}
    for name in ("turns", "answer_due"):
        if name not in columns:
            op.add_column("certificates", sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")))
    if "turns" not in columns:
        op.execute("UPDATE certificates SET turns = 1 WHERE ended_at IS NOT NULL")
    added = (
        ("certificates", "certificates_turned"),
        ("certificates", "certificates_due"),
        ("holdings", "holdings_by_key"),
    )
    for table, index in added:
        if index not in {found["name"] for found in there.get_indexes(table)}:
            next(one for one in metadata.tables[table].indexes if one.name == index).create(bind)
    for table in ("blocked_keys", "answers"):
        if table not in there.get_table_names():
            metadata.tables[table].create(bind)
