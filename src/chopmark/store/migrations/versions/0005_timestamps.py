"""The time-stamp authority's key, and the anchors of the audit.

`if_not_exists`: an installation that begins with this release or a later one has the tables from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "timestamp_keys",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
        sa.Column("stored_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "anchors",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        if_not_exists=True,
    )
    op.create_index("anchors_by_size", "anchors", ["size"], unique=True, if_not_exists=True)
