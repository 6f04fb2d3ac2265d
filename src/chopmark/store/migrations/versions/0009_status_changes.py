"""Which transaction changed a certificate's status last: server processes ask once a second what is new."""

import sqlalchemy as sa
from alembic import op

from chopmark.store.schema import metadata

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    there = sa.inspect(bind)
    if "changed" not in {column["name"] for column in there.get_columns("certificates")}:
        op.add_column("certificates", sa.Column("changed", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    if "certificates_changed" not in {found["name"] for found in there.get_indexes("certificates")}:
        indexes = metadata.tables["certificates"].indexes
        next(index for index in indexes if index.name == "certificates_changed").create(bind)
