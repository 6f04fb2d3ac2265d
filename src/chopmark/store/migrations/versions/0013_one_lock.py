"""One lock for all codes of a customer, and codes found by their customer.

A hold of either channel becomes the hold of all codes at once; the rows that the release before counts in stay, and
`store.failures` adds them up.
"""

import sqlalchemy as sa
from alembic import op

from chopmark.store.schema import metadata

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ONE_LOCK = """
INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold)
SELECT customer, 'code', MAX(window_start), 0, 0, MIN(held_at), MIN(hold)
FROM failures WHERE factor IN ('sms', 'email') AND held_at IS NOT NULL GROUP BY customer
ON CONFLICT (customer, factor) DO NOTHING
"""
"""'disabled' comes before 'held'."""


def upgrade() -> None:
    bind = op.get_bind()
    if "challenges_by_customer" not in {found["name"] for found in sa.inspect(bind).get_indexes("challenges")}:
        indexes = metadata.tables["challenges"].indexes
        next(index for index in indexes if index.name == "challenges_by_customer").create(bind)
    op.execute(sa.text(_ONE_LOCK))
