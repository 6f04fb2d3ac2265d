"""A revocation list carries a mark of the changes that it has; its entries are found by when they expire.

The publisher does not count all changes there ever were any more, but for a list that the release before has published.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    there = {column["name"] for column in sa.inspect(bind).get_columns("crls")}
    for name, kind in (("seen_mark", sa.Text), ("seen_beside", sa.BigInteger)):
        if name not in there:
            op.add_column("crls", sa.Column(name, kind, nullable=True))
    columns = ["issuer", "shard"]
    for index, last, where in (
        ("certificates_changed_in", "changed", "changed > 0"),
        ("certificates_listed", "not_after", "ended_at > 0"),
    ):
        op.create_index(
            index,
            "certificates",
            [*columns, last],
            if_not_exists=True,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
