"""Messages and other work to do, and the demo's inbox."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import integer, key, metadata, of_customer, partial, words

work = Table(
    "work",
    metadata,
    key("id"),
    words("kind"),
    of_customer(null=True),
    words("order_id", null=True),
    words("challenge", null=True),
    words("channel", null=True),
    integer("contact_version", null=True),
    words("facts"),
    integer("attempts"),
    integer("not_before"),
    integer("expires_at", null=True),
    words("holder", null=True),
    integer("leased_until"),
    integer("done_at", null=True),
    words("outcome", null=True),
    partial("work_done", "done_at", where="done_at IS NOT NULL"),
    partial("work_waiting", "not_before", where="done_at IS NULL"),
)
inbox = Table(
    "inbox",
    metadata,
    key("id"),
    words("channel"),
    of_customer(),
    words("challenge", null=True),
    words("facts"),
    integer("at"),
    Index("inbox_by_time", "at"),
)
