"""Answers of former issuers' responders are found by the moment until which they count."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("former_answers_by_until", "former_answers", ["until"], if_not_exists=True)
