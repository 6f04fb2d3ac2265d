"""References by which a contact stops a replacement, and replacements that ask for codes on both contacts.

`if_not_exists`: an installation that begins with this release or a later one has the table from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("orders")}
    for column in (
        sa.Column("both_codes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("second_channel", sa.Text),
        sa.Column("second_coded_at", sa.BigInteger),
    ):
        if column.name not in known:
            op.add_column("orders", column)
    op.create_table(
        "stops",
        sa.Column("reference_hash", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        if_not_exists=True,
    )
