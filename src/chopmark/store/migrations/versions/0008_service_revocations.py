"""Revoked certificates of our own OCSP responders and time-stamp authorities.

`if_not_exists`: an installation that begins with this release or a later one has the table from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_revocations",
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        if_not_exists=True,
    )
