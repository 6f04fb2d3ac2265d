"""Who the customers are, how they sign in, and the programs of the firm that send them here."""

from sqlalchemy import Column, Index, LargeBinary, Table

from chopmark.store.schema.columns import binary, customer_key, integer, key, metadata, of_customer, words

customers = Table(
    "customers",
    metadata,
    key("id"),
    words("person_kind"),
    words("person_id_hash"),
    binary("person_id_sealed"),
    binary("name_sealed"),
    binary("birth_date_sealed", null=True),
    integer("version"),
    integer("created_at"),
    integer("updated_at"),
    Index("customers_by_person", "person_id_hash", unique=True),
)
contacts = Table(
    "contacts",
    metadata,
    customer_key(),
    key("channel"),
    integer("version"),
    binary("value_sealed"),
    words("destination_hash"),
    integer("verified_at"),
    integer("cool_until"),
    integer("disputed_at", null=True),
)
accounts = Table(
    "accounts",
    metadata,
    key("number"),
    of_customer(),
    words("kind"),
    integer("position"),
    Index("accounts_by_customer", "customer", "position"),
)
passwords = Table(
    "passwords",
    metadata,
    customer_key(),
    words("phc"),
    words("kind"),
    integer("set_at"),
    integer("expires_at", null=True),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    of_customer(),
    words("factors"),
    words("account", null=True),
    words("door"),
    integer("created_at"),
    integer("seen_at"),
    integer("ends_at"),
    words("login", null=True),
    # The id before the last rotation. For a minute the same request may be repeated with it.
    binary("previous_hash", null=True),
    binary("previous_repeat", null=True),
    integer("previous_until", null=True),
    Index("sessions_by_previous", "previous_hash"),
    Index("sessions_by_customer", "customer"),
    Index("sessions_by_end", "ends_at"),
)
clients = Table(
    "clients",
    metadata,
    key("id"),
    words("name"),
    binary("secret_hash"),
    binary("previous_hash", null=True),
    integer("previous_until", null=True),
    integer("created_at"),
    integer("rotated_at", null=True),
    integer("disabled_at", null=True),
)
# What a client may ask for. A client without a row may ask for everything. Tickets made by `void_before` are void.
client_scopes = Table(
    "client_scopes",
    metadata,
    key("client"),
    words("accounts"),
    words("purposes"),
    words("factors"),
    integer("per_minute"),
    integer("void_before", null=True),
)
launches = Table(
    "launches",
    metadata,
    Column("ticket_hash", LargeBinary, primary_key=True),
    words("client"),
    of_customer(),
    words("account"),
    words("factors"),
    words("wanted", null=True),
    integer("created_at"),
    integer("expires_at"),
    integer("used_at", null=True),
    binary("visitor_hash", null=True),
    integer("confirmed_at", null=True),
    Index("launches_by_end", "expires_at"),
)
