"""Two indexes go that no statement needs. One of them could mislead PostgreSQL's planner."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("certificates_by_state", "certificates", if_exists=True)
    op.drop_index("reminders_unreachable", "reminders", if_exists=True)
