"""Which login did what: sessions have a login id, orders say which login bound, proved and approved their key."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ADDED = {
    "sessions": ("login", "previous_hash", "previous_repeat", "previous_until"),
    "orders": ("login", "bound_login", "proved_login", "approved_login", "key_evidence"),
    "credentials": ("login",),
}
_TYPES = {"previous_hash": sa.LargeBinary, "previous_repeat": sa.LargeBinary, "previous_until": sa.BigInteger}


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    for table, names in _ADDED.items():
        known = {column["name"] for column in there.get_columns(table)}
        for name in names:
            if name not in known:
                op.add_column(table, sa.Column(name, _TYPES.get(name, sa.Text), nullable=True))
    if "sessions_by_previous" not in {found["name"] for found in there.get_indexes("sessions")}:
        op.create_index("sessions_by_previous", "sessions", ["previous_hash"])
