"""The import of customers: progress of each file, who had which id, account or contact, and former contacts."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import binary, customer_key, integer, key, metadata, number_key, words

imports = Table(
    "imports",
    metadata,
    key("file_sha256"),
    integer("lines_done"),
    integer("created_at"),
    integer("finished_at", null=True),
    words("report", null=True),
)
# Everybody who ever had an id, a contact (both as keyed hashes) or an account. Rows are never deleted. `run` is the
# import that wrote the row; it is empty for what is older than this table.
bearers = Table(
    "bearers",
    metadata,
    key("value"),
    key("kind"),
    customer_key(),
    words("run"),
    integer("since"),
    sqlite_with_rowid=False,
)
# Contacts that were changed or removed, still sealed. A former address gets notices, and never a code.
former_contacts = Table(
    "former_contacts",
    metadata,
    customer_key(),
    key("channel"),
    number_key("version"),
    binary("value_sealed"),
    words("destination_hash"),
    integer("verified_at"),
    integer("cool_until"),
    integer("disputed_at", null=True),
    integer("ended_at"),
    Index("former_contacts_by_end", "ended_at"),
)
