"""Messages and other work to do, and the demo's inbox."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import integer, key, metadata, of_customer, partial, text

work = Table(
    "work",
    metadata,
    key("id"),
    text("kind"),
    of_customer(null=True),
    text("order_id", null=True),
    text("challenge", null=True),
    text("channel", null=True),
    integer("contact_version", null=True),
    text("facts"),
    integer("attempts"),
    integer("not_before"),
    integer("expires_at", null=True),
    text("holder", null=True),
    integer("leased_until"),
    integer("done_at", null=True),
    text("outcome", null=True),
    partial("work_done", "done_at", where="done_at IS NOT NULL"),
    partial("work_waiting", "not_before", where="done_at IS NULL"),
)
inbox = Table(
    "inbox",
    metadata,
    key("id"),
    text("channel"),
    of_customer(),
    text("challenge", null=True),
    text("facts"),
    integer("at"),
    Index("inbox_by_time", "at"),
)
