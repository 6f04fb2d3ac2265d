"""The tables of the doors: programs that ask for launches, their tickets, budgets, failed entries, stops, slips."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text, text


def add_to(metadata: MetaData) -> None:
    """Add the tables to those of `schema`."""
    _add_stops(metadata)
    _add_slips(metadata)
    _add_counts(metadata)
    Table(
        "clients",
        metadata,
        Column("id", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("secret_hash", LargeBinary, nullable=False),
        Column("previous_hash", LargeBinary),
        Column("previous_until", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Column("rotated_at", BigInteger),
        Column("disabled_at", BigInteger),
    )
    # What a client may ask for; one without a row asks for everything. Tickets made by `void_before` are dead.
    Table(
        "client_scopes",
        metadata,
        Column("client", Text, primary_key=True),
        Column("accounts", Text, nullable=False),
        Column("purposes", Text, nullable=False),
        Column("factors", Text, nullable=False),
        Column("per_minute", BigInteger, nullable=False),
        Column("void_before", BigInteger),
    )
    Table(
        "launches",
        metadata,
        Column("ticket_hash", LargeBinary, primary_key=True),
        Column("client", Text, nullable=False),
        Column("customer", Text, ForeignKey("customers.id"), nullable=False),
        Column("account", Text, nullable=False),
        Column("factors", Text, nullable=False),
        Column("wanted", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("used_at", BigInteger),
        Column("visitor_hash", LargeBinary),
        Column("confirmed_at", BigInteger),
        Index("launches_by_end", "expires_at"),
    )


def _add_counts(metadata: MetaData) -> None:
    """Add the budgets, and wrong passwords in a row."""
    Table(
        "counters",
        metadata,
        Column("name", Text, primary_key=True),
        Column("window_start", BigInteger, nullable=False),
        Column("used", BigInteger, nullable=False),
        partial("counters_by_window", "window_start", "substr(name, length(name) - 1) <> '1y'"),
        partial("counters_of_a_year", "window_start", "substr(name, length(name) - 1) = '1y'"),
    )
    # Wrong passwords in a row. `subject` is a customer, or `claim:` and the keyed hash of what nobody is called.
    Table(
        "entries",
        metadata,
        Column("subject", Text, primary_key=True),
        Column("entry", Text, primary_key=True),
        Column("failed", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("closed_at", BigInteger),
        partial("entries_of_nobody", "at", "substr(subject, 1, 6) = 'claim:' AND closed_at IS NULL"),
        partial("entries_of_nobody_closed", "closed_at", "substr(subject, 1, 6) = 'claim:' AND closed_at IS NOT NULL"),
    )


def _add_stops(metadata: MetaData) -> None:
    """Add the references by which contacts stop a replacement, as keyed hashes."""
    Table(
        "stops",
        metadata,
        Column("reference_hash", Text, primary_key=True),
        Column("order_id", Text, ForeignKey("orders.id"), nullable=False),
        Column("until", BigInteger, nullable=False),
        Column("used_at", BigInteger),
    )


def _add_slips(metadata: MetaData) -> None:
    """Add the approval slips that a branch hands out, as keyed hashes; a newer one voids those before it."""
    Table(
        "slips",
        metadata,
        Column("id", Text, primary_key=True),
        Column("customer", Text, ForeignKey("customers.id"), nullable=False),
        Column("secret_hash", Text, nullable=False),
        Column("key_words", Text),
        Column("printed_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("state", Text, nullable=False),
        Column("order_id", Text, ForeignKey("orders.id")),
        Column("spki", Text),
        Index("slips_by_customer", "customer", "printed_at"),
    )


def partial(name: str, column: str, which: str) -> Index:
    """Return an index of some rows; what deletes them has the same condition, or the planner does not see that."""
    return Index(name, column, sqlite_where=text(which), postgresql_where=text(which))
