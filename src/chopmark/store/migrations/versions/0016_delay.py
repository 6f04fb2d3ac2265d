"""Orders that wait: a new certificate without the old key, of a customer with one contact, under `strict`."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("orders")}
    for column in (
        sa.Column("delay", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("announced_at", sa.BigInteger),
    ):
        if column.name not in known:
            op.add_column("orders", column)
