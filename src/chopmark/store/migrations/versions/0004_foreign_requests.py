"""Requests to other CAs outlive a restart.

A database that the first revision has just made has the table already: that revision makes all of `schema.metadata`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTS = text("state NOT IN ('given_up', 'denied', 'quarantined')")
HAS_SERIAL = text("state IN ('received', 'issued', 'revoked')")


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("foreign_requests"):
        return
    op.create_table(
        "foreign_requests",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("transaction_id", sa.LargeBinary, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("spki_sha256", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("doubts", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("ticket", sa.LargeBinary, nullable=False),
        sa.Column("serial", sa.Text),
        sa.Column("der", sa.LargeBinary),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("code", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("by_hand", sa.BigInteger, nullable=False),
    )
    for name, column, where in (
        ("foreign_requests_one_counts", "order_id", COUNTS),
        ("foreign_requests_serial_once", "serial", HAS_SERIAL),
    ):
        op.create_index(name, "foreign_requests", [column], unique=True, sqlite_where=where, postgresql_where=where)
    op.create_index("foreign_requests_by_serial", "foreign_requests", ["serial"])
