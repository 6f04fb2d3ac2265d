"""Who ever had an id, an account or a contact; and contacts that were replaced, sealed as they were.

What is there now is remembered, and the accounts for which orders were opened: they may have moved since.
"""

from alembic import op
from sqlalchemy import text

from chopmark.store.schema import metadata

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_THERE = """
INSERT INTO bearers (value, kind, customer, run, since)
SELECT {value}, '{kind}', {customer}, '', MIN({since}) FROM {table} WHERE {value} <> '' GROUP BY {value}, {customer}
ON CONFLICT (value, kind, customer) DO NOTHING
"""


def upgrade() -> None:
    bind = op.get_bind()
    for name in ("bearers", "former_contacts"):
        metadata.tables[name].create(bind, checkfirst=True)
    for values in (
        {"value": "person_id_hash", "kind": "person", "customer": "id", "since": "created_at", "table": "customers"},
        {
            "value": "destination_hash",
            "kind": "contact",
            "customer": "customer",
            "since": "verified_at",
            "table": "contacts",
        },
        {"value": "number", "kind": "account", "customer": "customer", "since": "0", "table": "accounts"},
        {"value": "account", "kind": "account", "customer": "customer", "since": "created_at", "table": "orders"},
    ):
        bind.execute(text(_THERE.format(**values)))
