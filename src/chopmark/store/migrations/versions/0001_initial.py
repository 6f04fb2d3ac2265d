"""All tables of the first release.

They are those of `schema.metadata`: from the first release on, this file lists them as they were then, and a
change is a revision of its own.
"""

from alembic import op

from chopmark.store.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
