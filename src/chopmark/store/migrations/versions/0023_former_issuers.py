"""What former issuers say of the certificates that they issued: their revocation lists, and answers of responders."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "former_lists",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("claimed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("generation", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("number", sa.Text),
        sa.Column("this_update", sa.BigInteger),
        sa.Column("next_update", sa.BigInteger),
        sa.Column("entries_sha256", sa.Text),
        sa.Column("entries", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("fetched_at", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("failures", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("fault", sa.Text),
        if_not_exists=True,
    )
    op.create_table(
        "former_revocations",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "former_answers",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("good_until", sa.BigInteger),
        sa.Column("until", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
