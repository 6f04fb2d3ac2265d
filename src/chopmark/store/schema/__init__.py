"""The tables, for both engines: text, 64-bit integers and bytes only.

Times are epoch milliseconds (UTC), booleans are 0 and 1, JSON is text. Columns that hold personal data end in
`_sealed` (AES-GCM, key outside the database) or `_hash` (keyed). `customer` leads every index on a request path,
so that the tables can be spread by customer.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

from chopmark.store.schema import doors, messaging
from chopmark.store.schema.intake import add_intake

metadata = MetaData()
doors.add_to(metadata)
messaging.add_to(metadata)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _int(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    server_default = None if default is None else text(str(default))
    return Column(name, BigInteger, nullable=null, server_default=server_default)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _customer(*, null: bool = False) -> Column[str]:
    return Column("customer", Text, ForeignKey("customers.id"), nullable=null)


# What this installation is: portal id, creation time, fingerprints of the secrets all nodes must share.
installation = Table("installation", metadata, _key("name"), _text("value"))

# identity -------------------------------------------------------------------------------------------------------
customers = Table(
    "customers",
    metadata,
    _key("id"),
    _text("person_kind"),
    _text("person_id_hash"),
    _bytes("person_id_sealed"),
    _bytes("name_sealed"),
    _bytes("birth_date_sealed", null=True),
    _int("version"),
    _int("created_at"),
    _int("updated_at"),
    Index("customers_by_person", "person_id_hash", unique=True),
)
contacts = Table(
    "contacts",
    metadata,
    Column("customer", Text, ForeignKey("customers.id"), primary_key=True),
    _key("channel"),
    _int("version"),
    _bytes("value_sealed"),
    _text("destination_hash"),
    _int("verified_at"),
    _int("cool_until"),
    _int("disputed_at", null=True),
)
accounts = Table(
    "accounts",
    metadata,
    _key("number"),
    _customer(),
    _text("kind"),
    _int("position"),
    Index("accounts_by_customer", "customer", "position"),
)
passwords = Table(
    "passwords",
    metadata,
    Column("customer", Text, ForeignKey("customers.id"), primary_key=True),
    _text("phc"),
    _text("kind"),
    _int("set_at"),
    _int("expires_at", null=True),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    _customer(),
    _text("factors"),
    _text("account", null=True),
    _text("door"),
    _int("created_at"),
    _int("seen_at"),
    _int("ends_at"),
    _text("login", null=True),
    # The id that the right code has replaced: for a minute the same request may be made with it once more.
    _bytes("previous_hash", null=True),
    _bytes("previous_repeat", null=True),
    _int("previous_until", null=True),
    Index("sessions_by_previous", "previous_hash"),
    Index("sessions_by_customer", "customer"),
    Index("sessions_by_end", "ends_at"),
)

# limits ---------------------------------------------------------------------------------------------------------
failures = Table(
    "failures",
    metadata,
    Column("customer", Text, ForeignKey("customers.id"), primary_key=True),
    _key("factor"),
    _int("window_start"),
    _int("in_window"),
    _int("ever"),
    _int("held_at", null=True),
    _text("hold", null=True),
)

# orders and codes -----------------------------------------------------------------------------------------------
orders = Table(
    "orders",
    metadata,
    _key("id"),
    _customer(),
    _text("operation"),
    _text("reason", null=True),
    _text("account"),
    _text("profile"),
    _text("key_home"),
    _text("state"),
    _text("login_factors"),
    _text("policy"),
    _int("created_at"),
    _int("expires_at"),
    _int("birth_date_asked"),
    _bytes("nonce", null=True),
    _int("nonce_expires_at", null=True),
    _text("old_serial", null=True),
    _text("spki_sha256", null=True),
    _bytes("csr", null=True),
    _bytes("proof", null=True),
    _int("bound_at", null=True),
    _text("challenge", null=True),
    _text("code_channel", null=True),
    _int("coded_at", null=True),
    _int("checked_at", null=True),
    _text("consent", null=True),
    _int("submitted_at", null=True),
    _text("serial", null=True),
    _int("issued_at", null=True),
    _int("activated_at", null=True),
    _text("ended", null=True),
    # The logins that opened the order, bound its key, proved possession of it and gave the right code.
    _text("login", null=True),
    _text("bound_login", null=True),
    _text("proved_login", null=True),
    _text("approved_login", null=True),
    _text("key_evidence", null=True),
    # A replacement that asks for codes on both contacts: the other one, after `code_channel` and `coded_at`.
    _int("both_codes", default=0),
    _text("second_channel", null=True),
    _int("second_coded_at", null=True),
    # One that waits so long from its first right code, which announces it.
    _int("delay", default=0),
    _int("announced_at", null=True),
    # One that asks for an approval slip, unless one of these channels can carry a code; and the slip that was right.
    _text("slip_unless", null=True),
    _text("slip_id", null=True),
    _text("installed", null=True),
    Index("orders_by_customer", "customer", "created_at"),
    Index(
        "orders_one_live",
        "customer",
        "profile",
        unique=True,
        sqlite_where=text(
            "operation <> 'revoke' AND state IN ('open','bound','coded','checked','submitted','pending','issued')"
        ),
        postgresql_where=text(
            "operation <> 'revoke' AND state IN ('open','bound','coded','checked','submitted','pending','issued')"
        ),
    ),
    Index("orders_by_state", "state", "expires_at"),
)
challenges = Table(
    "challenges",
    metadata,
    _key("id"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
    _customer(),
    _text("channel"),
    _int("contact_version"),
    _bytes("nonce"),
    _text("kid"),
    _text("operation"),
    _text("spki"),
    _int("digits"),
    _text("reference"),
    _int("attempts"),
    _int("max_attempts"),
    _int("created_at"),
    _int("expires_at"),
    _int("resend_at"),
    _text("state"),
    _int("sent_at", null=True),
    doors.partial("challenges_unused", "created_at", "state <> 'consumed'"),
    doors.partial("challenges_used", "created_at", "state = 'consumed'"),
    Index("challenges_by_order", "order_id", "created_at"),
    Index("challenges_by_customer", "customer", "created_at"),
    Index(
        "challenges_one_live",
        "order_id",
        unique=True,
        sqlite_where=text("state = 'live'"),
        postgresql_where=text("state = 'live'"),
    ),
)
# The one-time credential of an order whose key a customer's program makes; the newest replaces the one before.
credentials = Table(
    "credentials",
    metadata,
    Column("order_id", Text, ForeignKey("orders.id"), primary_key=True),
    _customer(),
    _bytes("token_hash"),
    _int("created_at"),
    _int("expires_at"),
    _text("spki_sha256", null=True),
    _int("used_at", null=True),
    _text("login", null=True),
)
keys = Table("keys", metadata, _key("spki_sha256"), _customer(), _int("first_seen_at"), _text("blocked", null=True))
# Keys that were reported, whether or not a customer has shown them here.
blocked_keys = Table("blocked_keys", metadata, _key("spki_sha256"), _text("reason"), _int("blocked_at"))
holdings = Table(
    "holdings",
    metadata,
    _key("serial"),
    _customer(),
    _text("profile"),
    Column("order_id", Text, ForeignKey("orders.id"), nullable=False, unique=True),
    _text("account"),
    _text("key_home"),
    _text("spki_sha256"),
    _text("state"),
    _bytes("der"),
    _bytes("chain"),
    _int("not_before"),
    _int("not_after"),
    _int("issued_at"),
    _int("activated_at", null=True),
    _int("ended_at", null=True),
    _text("reason", null=True),
    _text("superseded_by", null=True),
    Index("holdings_by_customer", "customer", "issued_at"),
    Index("holdings_by_key", "spki_sha256"),
    Index(
        "holdings_one_active",
        "customer",
        "profile",
        unique=True,
        sqlite_where=text("state = 'active'"),
        postgresql_where=text("state = 'active'"),
    ),
)
idempotency = Table(
    "idempotency",
    metadata,
    _key("scope"),
    _key("name"),
    _bytes("body_sha256"),
    _int("status", null=True),
    _text("answer", null=True),
    _int("created_at"),
    Index("idempotency_by_time", "created_at"),
)

# ca -------------------------------------------------------------------------------------------------------------
issuers = Table(
    "issuers",
    metadata,
    _key("id"),
    _text("name"),
    _bytes("certificate"),
    _bytes("chain"),
    _bytes("key_pem"),
    _bytes("responder_certificate"),
    _bytes("responder_key_pem"),
    _text("state"),
    _int("created_at"),
)
timestamp_keys = Table(
    "timestamp_keys", metadata, _key("issuer"), _bytes("certificate"), _bytes("stored_key"), _int("created_at")
)
# Certificates of our own responders and time-stamp authorities that were revoked.
_withdrawn = _text("kind"), _int("not_after"), _int("ended_at"), _text("reason")
service_revocations = Table("service_revocations", metadata, _key("serial"), _text("issuer"), *_withdrawn)
certificates = Table(
    "certificates",
    metadata,
    _key("serial"),
    _text("issuer"),
    _text("order_id"),
    _int("attempt"),
    _text("profile"),
    _int("profile_version"),
    _text("spki_sha256"),
    _bytes("tbs"),
    _bytes("der", null=True),
    _text("state"),
    _int("shard"),
    _int("not_before"),
    _int("not_after"),
    _int("reserved_at"),
    _int("issued_at", null=True),
    _int("ended_at", null=True),
    _text("reason", null=True),
    _int("turns", default=0),  # how often the status that the world is told was changed
    _int("answer_due", default=0),  # when its OCSP answers are to be signed ahead again
    _int("changed", default=0),  # the transaction that changed its status last, as `answers.CHANGED` numbers them
    Index("certificates_by_order", "order_id", "attempt", unique=True),
    Index(
        "certificates_one_reservation",
        "order_id",
        unique=True,
        sqlite_where=text("state <> 'orphaned'"),
        postgresql_where=text("state <> 'orphaned'"),
    ),
    Index("certificates_ended", "issuer", "shard", "ended_at"),
    Index("certificates_by_state", "state", "reserved_at"),
    Index("certificates_due", "issuer", "answer_due"),
    Index(
        "certificates_turned",
        "issuer",
        "shard",
        "turns",
        sqlite_where=text("turns > 0"),
        postgresql_where=text("turns > 0"),
    ),
    Index(
        "certificates_changed",
        "changed",
        sqlite_where=text("changed > 0"),
        postgresql_where=text("changed > 0"),
    ),
)
# OCSP answers signed ahead, by the hash of the CertID; made anew from the certificates at any time.
answers = Table(
    "answers",
    metadata,
    Column("serial", Text, ForeignKey("certificates.serial"), primary_key=True),
    _key("algorithm"),
    _bytes("der"),
    _int("produced_at"),
    _int("next_update"),
    _int("turns"),
)
crls = Table(
    "crls",
    metadata,
    _key("issuer"),
    Column("shard", BigInteger, primary_key=True, autoincrement=False),
    _int("number"),
    _bytes("der"),
    _int("this_update"),
    _int("next_update"),
    _int("seen_end"),
)
# Requests to other CAs: one row an attempt; one an order counts.
foreign_requests = Table(
    "foreign_requests",
    metadata,
    _key("order_id"),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    _text("issuer"),
    _bytes("transaction_id"),
    _text("profile"),
    _text("spki_sha256"),
    _text("state"),
    _int("sent_at"),
    _int("doubts"),
    _int("version"),
    _int("next_at", null=True),
    _bytes("ticket"),
    _text("serial", null=True),
    _bytes("der", null=True),
    _bytes("chain"),
    _int("not_before", null=True),
    _int("not_after", null=True),
    _text("code", null=True),
    _text("reason", null=True),
    _int("revoked_at", null=True),
    _int("by_hand"),
    Index(
        "foreign_requests_one_counts",
        "order_id",
        unique=True,
        sqlite_where=text("state NOT IN ('given_up', 'denied', 'quarantined')"),
        postgresql_where=text("state NOT IN ('given_up', 'denied', 'quarantined')"),
    ),
    Index(
        "foreign_requests_serial_once",
        "serial",
        unique=True,
        sqlite_where=text("state IN ('received', 'issued', 'revoked')"),
        postgresql_where=text("state IN ('received', 'issued', 'revoked')"),
    ),
    Index("foreign_requests_by_serial", "serial"),
)
# Who said that another CA has revoked what a request brought, where its protocol has no revocation.
_attempt: Column[int] = Column("attempt", BigInteger, primary_key=True, autoincrement=False)
hand_revocations = Table(
    "hand_revocations", metadata, _key("order_id"), _attempt, _text("by_whom"), _text("approved_by")
)

# work and audit -------------------------------------------------------------------------------------------------
work = Table(
    "work",
    metadata,
    _key("id"),
    _text("kind"),
    _customer(null=True),
    _text("order_id", null=True),
    _text("challenge", null=True),
    _text("channel", null=True),
    _int("contact_version", null=True),
    _text("facts"),
    _int("attempts"),
    _int("not_before"),
    _int("expires_at", null=True),
    _text("holder", null=True),
    _int("leased_until"),
    _int("done_at", null=True),
    _text("outcome", null=True),
    doors.partial("work_done", "done_at", "done_at IS NOT NULL"),
    Index(
        "work_waiting",
        "not_before",
        sqlite_where=text("done_at IS NULL"),
        postgresql_where=text("done_at IS NULL"),
    ),
)
inbox = Table(
    "inbox",
    metadata,
    _key("id"),
    _text("channel"),
    _customer(),
    _text("challenge", null=True),
    _text("facts"),
    _int("at"),
    Index("inbox_by_time", "at"),
)
chains = Table("chains", metadata, _key("chain"), _int("version"), _bytes("tip"))
leaves = Table(
    "leaves",
    metadata,
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _text("chain"),
    _int("version"),
    _bytes("previous"),
    _text("at"),
    _text("event"),
    _text("facts"),
    _text("kid"),
    _bytes("mac"),
    _int("position", null=True),
    Index("leaves_by_chain", "chain", "version", unique=True),
    Index("leaves_by_position", "position", unique=True),
    Index(
        "leaves_unsequenced",
        "entry",
        sqlite_where=text("position IS NULL"),
        postgresql_where=text("position IS NULL"),
    ),
)
heads = Table(
    "heads",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    _text("line"),
    _bytes("frontier", null=True),
)
anchors = Table(
    "anchors",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    _int("size"),
    _int("at"),
    _bytes("token"),
    Index("anchors_by_size", "size", unique=True),
)
leases = Table("leases", metadata, _key("name"), _text("holder"), _int("fencing"), _int("until"))
add_intake(metadata)
