"""What operators are told of, and reports that came before their message was known to be taken."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("grade", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("said_at", sa.BigInteger),
        sa.Column("said_grade", sa.BigInteger),
        sa.Column("well_at", sa.BigInteger),
        sa.Column("over_at", sa.BigInteger),
        sa.Column("leased_until", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "alarms_over",
        "alarms",
        ["over_at"],
        sqlite_where=sa.text("over_at IS NOT NULL"),
        postgresql_where=sa.text("over_at IS NOT NULL"),
        if_not_exists=True,
    )
    op.create_table(
        "early_reports",
        sa.Column("gateway", sa.Text, primary_key=True),
        sa.Column("provider_id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("early_reports_by_age", "early_reports", ["at"], if_not_exists=True)
    op.create_index(
        "deliveries_reported",
        "deliveries",
        ["reported_at"],
        sqlite_where=sa.text("report IS NOT NULL"),
        postgresql_where=sa.text("report IS NOT NULL"),
        if_not_exists=True,
    )
