"""Which gateway got which message, written before it is handed over, and what was reported of it."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("message", sa.Text, primary_key=True),
        sa.Column("gateway", sa.Text, primary_key=True),
        sa.Column("fate", sa.Text, nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("provider_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("report_detail", sa.Text),
        sa.Column("reported_at", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger),
        if_not_exists=True,
    )
    op.create_index("deliveries_by_provider", "deliveries", ["gateway", "provider_id"], if_not_exists=True)
    op.create_index("deliveries_by_age", "deliveries", ["begun_at"], if_not_exists=True)
    op.create_index(
        "deliveries_unreported",
        "deliveries",
        ["begun_at"],
        sqlite_where=sa.text("fate = 'taken' AND report IS NULL"),
        postgresql_where=sa.text("fate = 'taken' AND report IS NULL"),
        if_not_exists=True,
    )
