"""Certificates of former issuers that customers brought along, and the runs that imported them.

`if_not_exists`: an installation that begins with this release or a later one has the tables from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "imported_certificates",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("spki_sha256", sa.Text, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("superseded_by", sa.Text),
        sa.Column("imported_at", sa.BigInteger, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("revoke_after", sa.BigInteger),
        sa.Column("revoked_there_at", sa.BigInteger),
        sa.Column("revoked_by", sa.Text),
        sa.Column("approved_by", sa.Text),
        if_not_exists=True,
    )
    op.create_index("imported_by_customer", "imported_certificates", ["customer", "not_after"], if_not_exists=True)
    op.create_index("imported_by_key", "imported_certificates", ["spki_sha256"], if_not_exists=True)
    op.create_index("imported_by_run", "imported_certificates", ["run"], if_not_exists=True)
    op.create_index(
        "imported_to_revoke",
        "imported_certificates",
        ["revoke_after"],
        sqlite_where=sa.text("revoke_after IS NOT NULL"),
        postgresql_where=sa.text("revoke_after IS NOT NULL"),
        if_not_exists=True,
    )
    op.create_table(
        "certificate_imports",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("input_sha256", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("staff", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("report", sa.Text),
        if_not_exists=True,
    )
    op.create_index(
        "certificate_imports_one_unfinished",
        "certificate_imports",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'staging'"),
        postgresql_where=sa.text("state = 'staging'"),
        if_not_exists=True,
    )
