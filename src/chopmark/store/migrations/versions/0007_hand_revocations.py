"""Who said that another CA has revoked a certificate, where its protocol has no revocation.

`if_not_exists`: an installation that begins with this release or a later one has the table from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hand_revocations",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("by_whom", sa.Text, nullable=False),
        sa.Column("approved_by", sa.Text, nullable=False),
        if_not_exists=True,
    )
