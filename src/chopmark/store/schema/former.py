"""What former issuers say of the certificates that they issued: their revocation lists, and answers of responders."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import integer, key, metadata, words

# One row for each place where a list lies or a responder answers. `claimed` is the newest generation of entries that a
# worker has begun to store, `generation` the one that the list taken last consists of.
former_lists = Table(
    "former_lists",
    metadata,
    key("issuer"),
    key("place"),
    integer("claimed", default=0),
    integer("generation", default=0),
    words("number", null=True),
    integer("this_update", null=True),
    integer("next_update", null=True),
    words("entries_sha256", null=True),
    integer("entries", default=0),
    integer("fetched_at", null=True),
    integer("due_at", null=True),
    integer("failures", default=0),
    integer("failing_since", null=True),
    words("fault", null=True),
)
former_revocations = Table(
    "former_revocations",
    metadata,
    key("issuer"),
    key("serial"),
    key("place"),
    words("reason"),
    integer("revoked_at"),
    integer("generation"),
)
former_answers = Table(
    "former_answers",
    metadata,
    key("issuer"),
    key("serial"),
    words("reason", null=True),
    integer("revoked_at", null=True),
    integer("good_until", null=True),
    integer("until"),
    Index("former_answers_by_until", "until"),
)
