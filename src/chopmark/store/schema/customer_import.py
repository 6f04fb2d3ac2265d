"""How far each imported file is, who had which id, account or contact, and contacts that were replaced."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import binary, customer_key, integer, key, metadata, number_key, text

imports = Table(
    "imports",
    metadata,
    key("file_sha256"),
    integer("lines_done"),
    integer("created_at"),
    integer("finished_at", null=True),
    text("report", null=True),
)
# Who ever had an id (its keyed hash), a contact (its keyed hash) or an account; nothing is ever taken away. `run`
# is the import that brought it, empty for what was there before this table.
bearers = Table(
    "bearers",
    metadata,
    key("value"),
    key("kind"),
    customer_key(),
    text("run"),
    integer("since"),
    sqlite_with_rowid=False,
)
# Contacts that were changed or removed, sealed as they were: the old address is told, and never gets a code.
former_contacts = Table(
    "former_contacts",
    metadata,
    customer_key(),
    key("channel"),
    number_key("version"),
    binary("value_sealed"),
    text("destination_hash"),
    integer("verified_at"),
    integer("cool_until"),
    integer("disputed_at", null=True),
    integer("ended_at"),
    Index("former_contacts_by_end", "ended_at"),
)
