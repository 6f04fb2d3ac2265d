"""One-time codes, and wrong answers of a customer."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from chopmark.store.schema.columns import (
    binary,
    customer_key,
    integer,
    key,
    metadata,
    of_customer,
    partial,
    unique_where,
    words,
)

challenges = Table(
    "challenges",
    metadata,
    key("id"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    of_customer(),
    words("channel"),
    integer("contact_version"),
    binary("nonce"),
    words("kid"),
    words("operation"),
    words("spki"),
    integer("digits"),
    words("reference"),
    integer("attempts"),
    integer("max_attempts"),
    integer("created_at"),
    integer("expires_at"),
    integer("resend_at"),
    words("state"),
    integer("sent_at", null=True),
    partial("challenges_unused", "created_at", where="state <> 'consumed'"),
    partial("challenges_used", "created_at", where="state = 'consumed'"),
    Index("challenges_by_order", "order_id", "created_at"),
    Index("challenges_by_customer", "customer", "created_at"),
    unique_where("challenges_one_live", "order_id", where="state = 'live'"),
)
failures = Table(
    "failures",
    metadata,
    customer_key(),
    key("factor"),
    integer("window_start"),
    integer("in_window"),
    integer("ever"),
    integer("held_at", null=True),
    words("hold", null=True),
)
