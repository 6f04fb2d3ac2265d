"""What has outlived its time is found by an index of its own: the nightly clean-up reads no table from end to end."""

import sqlalchemy as sa
from alembic import op

from chopmark.store.schema import metadata

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ADDED = {
    "launches": ("launches_by_end",),
    "counters": ("counters_by_window", "counters_of_a_year"),
    "entries": ("entries_of_nobody", "entries_of_nobody_closed"),
    "idempotency": ("idempotency_by_time",),
    "challenges": ("challenges_unused", "challenges_used"),
    "work": ("work_done",),
}


def upgrade() -> None:
    bind = op.get_bind()
    there = sa.inspect(bind)
    for table, names in _ADDED.items():
        known = {found["name"] for found in there.get_indexes(table)}
        for index in metadata.tables[table].indexes:
            if index.name in names and index.name not in known:
                index.create(bind)
