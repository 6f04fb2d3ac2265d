"""An index that finds out whether a key has a certificate: binding a key asked the whole table."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("holdings_by_key", "holdings", ["spki_sha256"], if_not_exists=True)
