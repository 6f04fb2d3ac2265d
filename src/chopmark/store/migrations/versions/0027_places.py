"""Places in the audit tree get a table of their own: a record is written once and not changed afterwards.

The column `leaves.position` and its index stay for processes of the release before that run beside ours: they answer
feeds by it, and see nothing new there until they are replaced. The next revision drops them. A sequencer of that
release would give every record a second place. So the lease gets another name and its former name is forbidden: that
sequencer fails, and the records wait for one of ours.
"""

import sqlalchemy as sa
from alembic import op

from chopmark.store.schema import metadata

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_THERE = (
    "INSERT INTO leases (name, holder, fencing, until) VALUES ('sequencer', '', 0, 0) ON CONFLICT (name) DO NOTHING"
)
_RENAMED = "UPDATE leases SET name = 'places' WHERE name = 'sequencer'"
_COPIED = """
INSERT INTO places (position, entry) SELECT position, entry FROM leaves WHERE position IS NOT NULL ORDER BY position
"""
_SETTLED = """
UPDATE heads SET xid = 0, settled = COALESCE(
  (SELECT MIN(entry) - 1 FROM leaves WHERE position IS NULL), (SELECT MAX(entry) FROM leaves), 0
)
WHERE size = (SELECT MAX(size) FROM heads)
"""


def upgrade() -> None:
    bind = op.get_bind()
    if sa.inspect(bind).has_table("places"):  # the first revision has made all tables as they are now
        return
    # 1. Nobody sequences until we commit: whoever does has this row locked, and whoever wants to waits for it.
    op.execute(_THERE)
    op.execute(_RENAMED)
    # 2. Copy the places. It is what takes long (some two seconds a million), and nothing but sequencers waits for it.
    metadata.tables["places"].create(bind)
    op.execute(_COPIED)
    # 3. Now for a moment nobody may write records, so that all entries that are given are seen.
    for name in ("settled", "xid"):
        op.add_column("heads", sa.Column(name, sa.BigInteger))
    if bind.dialect.name == "postgresql":
        op.execute("LOCK TABLE leaves IN ACCESS EXCLUSIVE MODE")
    op.execute(_SETTLED)
    op.drop_index("leaves_unsequenced", "leaves", if_exists=True)
    with op.batch_alter_table("leases") as leases:
        leases.create_check_constraint("leases_without_sequencer", "name <> 'sequencer'")
