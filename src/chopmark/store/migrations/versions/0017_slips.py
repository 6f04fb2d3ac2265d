"""Approval slips, for customers of whom no contact can carry a code, and the orders that ask for one.

`if_not_exists`: an installation that begins with this release or a later one has the table from the first revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("orders")}
    for column in (sa.Column("slip_unless", sa.Text), sa.Column("slip_id", sa.Text)):
        if column.name not in known:
            op.add_column("orders", column)
    op.create_table(
        "slips",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("key_words", sa.Text),
        sa.Column("printed_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id")),
        sa.Column("spki", sa.Text),
        if_not_exists=True,
    )
    op.create_index("slips_by_customer", "slips", ["customer", "printed_at"], if_not_exists=True)
