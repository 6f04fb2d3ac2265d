"""Certificates are read by the moment at which they end."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("holdings_by_end", "holdings", ["not_after", "serial"], if_not_exists=True)
    op.create_index("imported_by_end", "imported_certificates", ["not_after", "fingerprint"], if_not_exists=True)
