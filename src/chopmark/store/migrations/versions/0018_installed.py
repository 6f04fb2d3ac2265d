"""How a customer's program showed that a certificate has arrived: opened again, or said."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("orders")}
    if "installed" not in known:
        op.add_column("orders", sa.Column("installed", sa.Text))
