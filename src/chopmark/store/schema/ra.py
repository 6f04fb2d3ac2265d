"""Orders, what they need, and what came of them."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from chopmark.store.schema.columns import binary, integer, key, metadata, of_customer, partial, unique_where, words

orders = Table(
    "orders",
    metadata,
    key("id"),
    of_customer(),
    words("operation"),
    words("reason", null=True),
    words("account"),
    words("profile"),
    words("key_home"),
    words("state"),
    words("login_factors"),
    words("policy"),
    integer("created_at"),
    integer("expires_at"),
    integer("birth_date_asked"),
    binary("nonce", null=True),
    integer("nonce_expires_at", null=True),
    words("old_serial", null=True),
    words("spki_sha256", null=True),
    binary("csr", null=True),
    binary("proof", null=True),
    integer("bound_at", null=True),
    words("challenge", null=True),
    words("code_channel", null=True),
    integer("coded_at", null=True),
    integer("checked_at", null=True),
    words("consent", null=True),
    integer("submitted_at", null=True),
    words("serial", null=True),
    integer("issued_at", null=True),
    integer("activated_at", null=True),
    words("ended", null=True),
    # The logins that opened the order, bound its key, proved possession of it and gave the right code.
    words("login", null=True),
    words("bound_login", null=True),
    words("proved_login", null=True),
    words("approved_login", null=True),
    words("key_evidence", null=True),
    # A replacement that asks for codes on both contacts. These are about the second code.
    integer("both_codes", default=0),
    words("second_channel", null=True),
    integer("second_coded_at", null=True),
    # A replacement with a waiting time (ms), which begins with the first right code.
    integer("delay", default=0),
    integer("announced_at", null=True),
    # An order that asks for an approval slip, unless one of these channels can carry a code; and the accepted slip.
    words("slip_unless", null=True),
    words("slip_id", null=True),
    words("installed", null=True),
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
    words("spki_sha256", null=True),
    integer("used_at", null=True),
    words("login", null=True),
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
    words("secret_hash"),
    words("key_words", null=True),
    integer("printed_at"),
    integer("expires_at"),
    words("state"),
    Column("order_id", Text, ForeignKey("orders.id")),
    words("spki", null=True),
    Index("slips_by_customer", "customer", "printed_at"),
)
# Keys that customers have shown here; each belongs to the customer who showed it first.
keys = Table("keys", metadata, key("spki_sha256"), of_customer(), integer("first_seen_at"), words("blocked", null=True))
# Keys that were reported, whether or not a customer has shown them here.
blocked_keys = Table("blocked_keys", metadata, key("spki_sha256"), words("reason"), integer("blocked_at"))
holdings = Table(
    "holdings",
    metadata,
    key("serial"),
    of_customer(),
    words("profile"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False, unique=True),
    words("account"),
    words("key_home"),
    words("spki_sha256"),
    words("state"),
    binary("der"),
    binary("chain"),
    integer("not_before"),
    integer("not_after"),
    integer("issued_at"),
    integer("activated_at", null=True),
    integer("ended_at", null=True),
    words("reason", null=True),
    words("superseded_by", null=True),
    Index("holdings_by_customer", "customer", "issued_at"),
    Index("holdings_by_key", "spki_sha256"),
    Index("holdings_by_end", "not_after", "serial"),
    unique_where("holdings_one_active", "customer", "profile", where="state = 'active'"),
    partial("holdings_living", "not_after", "serial", where="state = 'active'"),
)
idempotency = Table(
    "idempotency",
    metadata,
    key("scope"),
    key("name"),
    binary("body_sha256"),
    integer("status", null=True),
    words("answer", null=True),
    integer("created_at"),
    Index("idempotency_by_time", "created_at"),
)
