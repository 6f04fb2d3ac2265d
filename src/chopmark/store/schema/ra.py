"""Orders, what they need, and what came of them."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from chopmark.store.schema.columns import binary, integer, key, metadata, of_customer, text, unique_where

orders = Table(
    "orders",
    metadata,
    key("id"),
    of_customer(),
    text("operation"),
    text("reason", null=True),
    text("account"),
    text("profile"),
    text("key_home"),
    text("state"),
    text("login_factors"),
    text("policy"),
    integer("created_at"),
    integer("expires_at"),
    integer("birth_date_asked"),
    binary("nonce", null=True),
    integer("nonce_expires_at", null=True),
    text("old_serial", null=True),
    text("spki_sha256", null=True),
    binary("csr", null=True),
    binary("proof", null=True),
    integer("bound_at", null=True),
    text("challenge", null=True),
    text("code_channel", null=True),
    integer("coded_at", null=True),
    integer("checked_at", null=True),
    text("consent", null=True),
    integer("submitted_at", null=True),
    text("serial", null=True),
    integer("issued_at", null=True),
    integer("activated_at", null=True),
    text("ended", null=True),
    # The logins that opened the order, bound its key, proved possession of it and gave the right code.
    text("login", null=True),
    text("bound_login", null=True),
    text("proved_login", null=True),
    text("approved_login", null=True),
    text("key_evidence", null=True),
    # A replacement that asks for codes on both contacts: the other one, after `code_channel` and `coded_at`.
    integer("both_codes", default=0),
    text("second_channel", null=True),
    integer("second_coded_at", null=True),
    # One that waits so long from its first right code, which announces it.
    integer("delay", default=0),
    integer("announced_at", null=True),
    # One that asks for an approval slip, unless one of these channels can carry a code; and the slip that was right.
    text("slip_unless", null=True),
    text("slip_id", null=True),
    text("installed", null=True),
    Index("orders_by_customer", "customer", "created_at"),
    unique_where(
        "orders_one_live",
        "customer",
        "profile",
        where="operation <> 'revoke' AND state IN ('open','bound','coded','checked','submitted','pending','issued')",
    ),
    Index("orders_by_state", "state", "expires_at"),
)
# The one-time credential of an order whose key a customer's program makes; the newest replaces the one before.
credentials = Table(
    "credentials",
    metadata,
    Column("order_id", Text, ForeignKey("orders.id"), primary_key=True),
    of_customer(),
    binary("token_hash"),
    integer("created_at"),
    integer("expires_at"),
    text("spki_sha256", null=True),
    integer("used_at", null=True),
    text("login", null=True),
)
# The reference in a notice by which a contact stops a replacement, as a keyed hash.
stops = Table(
    "stops",
    metadata,
    key("reference_hash"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    integer("until"),
    integer("used_at", null=True),
)
# Approval slips that a branch hands out, as keyed hashes; a newer one makes those before it void.
slips = Table(
    "slips",
    metadata,
    key("id"),
    of_customer(),
    text("secret_hash"),
    text("key_words", null=True),
    integer("printed_at"),
    integer("expires_at"),
    text("state"),
    Column("order_id", Text, ForeignKey("orders.id")),
    text("spki", null=True),
    Index("slips_by_customer", "customer", "printed_at"),
)
# Keys that customers have shown here; each belongs to the customer who showed it first.
keys = Table("keys", metadata, key("spki_sha256"), of_customer(), integer("first_seen_at"), text("blocked", null=True))
# Keys that were reported, whether or not a customer has shown them here.
blocked_keys = Table("blocked_keys", metadata, key("spki_sha256"), text("reason"), integer("blocked_at"))
holdings = Table(
    "holdings",
    metadata,
    key("serial"),
    of_customer(),
    text("profile"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False, unique=True),
    text("account"),
    text("key_home"),
    text("spki_sha256"),
    text("state"),
    binary("der"),
    binary("chain"),
    integer("not_before"),
    integer("not_after"),
    integer("issued_at"),
    integer("activated_at", null=True),
    integer("ended_at", null=True),
    text("reason", null=True),
    text("superseded_by", null=True),
    Index("holdings_by_customer", "customer", "issued_at"),
    Index("holdings_by_key", "spki_sha256"),
    unique_where("holdings_one_active", "customer", "profile", where="state = 'active'"),
)
idempotency = Table(
    "idempotency",
    metadata,
    key("scope"),
    key("name"),
    binary("body_sha256"),
    integer("status", null=True),
    text("answer", null=True),
    integer("created_at"),
    Index("idempotency_by_time", "created_at"),
)
