"""Reminders of certificates that end, what customers asked for, and contacts that a gateway called dead.

`if_not_exists`: an installation that begins with this release or a later one has the tables from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _reminders()
    _certificates_and_customers()


def _reminders() -> None:
    op.create_table(
        "reminders",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("earliest", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("urgency", sa.BigInteger, nullable=False),
        sa.Column("planned_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("retry_at", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("holder", sa.Text),
        sa.Column("leased_until", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("begun_at", sa.BigInteger),
        sa.Column("channel", sa.Text),
        sa.Column("contact_version", sa.BigInteger),
        sa.Column("gateway", sa.Text),
        sa.Column("certificates", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        if_not_exists=True,
    )
    op.create_index("reminders_one_a_day", "reminders", ["customer", "day"], unique=True, if_not_exists=True)
    op.create_index("reminders_by_day", "reminders", ["day", "state"], if_not_exists=True)
    op.create_index("reminders_by_age", "reminders", ["due_at"], if_not_exists=True)
    _partial("reminders_waiting", "reminders", ["due_at", "urgency"], "state = 'planned'")
    _partial("reminders_unreachable", "reminders", ["day"], "state = 'unreachable'")


def _certificates_and_customers() -> None:
    op.create_table(
        "reminded_certificates",
        sa.Column("certificate", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("reminder", sa.Text, sa.ForeignKey("reminders.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("reminded_by_reminder", "reminded_certificates", ["reminder"], if_not_exists=True)
    op.create_index("reminded_by_age", "reminded_certificates", ["at"], if_not_exists=True)
    op.create_table(
        "reminder_preferences",
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), primary_key=True),
        sa.Column("channel", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("paused_until", sa.BigInteger),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "unreachable_contacts",
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("unreachable_contacts_by_age", "unreachable_contacts", ["since"], if_not_exists=True)
    _partial("holdings_living", "holdings", ["not_after", "serial"], "state = 'active'")
    _partial("imported_living", "imported_certificates", ["not_after", "fingerprint"], "state = 'active'")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition, if_not_exists=True)
