"""How often an entry failed in a row, and what a client that asks for launches may ask for.

`if_not_exists`: an installation that begins with this release or a later one has the tables from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("entry", sa.Text, primary_key=True),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        if_not_exists=True,
    )
    op.create_table(
        "client_scopes",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("accounts", sa.Text, nullable=False),
        sa.Column("purposes", sa.Text, nullable=False),
        sa.Column("factors", sa.Text, nullable=False),
        sa.Column("per_minute", sa.BigInteger, nullable=False),
        sa.Column("void_before", sa.BigInteger),
        if_not_exists=True,
    )
