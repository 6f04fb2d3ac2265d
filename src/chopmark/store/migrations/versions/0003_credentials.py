"""Credentials for programs that make a customer's key (EST)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A database that 0001 made from this release's schema has the table already.
    if sa.inspect(op.get_bind()).has_table("credentials"):
        return
    op.create_table(
        "credentials",
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("spki_sha256", sa.Text),
        sa.Column("used_at", sa.BigInteger),
    )
