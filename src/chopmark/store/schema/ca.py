"""Issuing CAs, certificates, and requests to other CAs."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, partial, unique_where, words

issuers = Table(
    "issuers",
    metadata,
    key("id"),
    words("name"),
    binary("certificate"),
    binary("chain"),
    binary("key_pem"),
    binary("responder_certificate"),
    binary("responder_key_pem"),
    words("state"),
    integer("created_at"),
)
certificates = Table(
    "certificates",
    metadata,
    key("serial"),
    words("issuer"),
    words("order_id"),
    integer("attempt"),
    words("profile"),
    integer("profile_version"),
    words("spki_sha256"),
    binary("tbs"),
    binary("der", null=True),
    words("state"),
    integer("shard"),
    integer("not_before"),
    integer("not_after"),
    integer("reserved_at"),
    integer("issued_at", null=True),
    integer("ended_at", null=True),
    words("reason", null=True),
    integer("turns", default=0),  # how often the status was changed
    integer("answer_due", default=0),  # when its OCSP answers have to be signed again
    integer("changed", default=0),  # the number of the last change of status: `answers.CHANGED`
    Index("certificates_by_order", "order_id", "attempt", unique=True),
    unique_where("certificates_one_reservation", "order_id", where="state <> 'orphaned'"),
    Index("certificates_ended", "issuer", "shard", "ended_at"),
    Index("certificates_due", "issuer", "answer_due"),
    partial("certificates_turned", "issuer", "shard", "turns", where="turns > 0"),
    partial("certificates_changed_in", "issuer", "shard", "changed", where="changed > 0"),
    partial("certificates_listed", "issuer", "shard", "not_after", where="ended_at > 0"),
    partial("certificates_changed", "changed", where="changed > 0"),
)
# Requests to other CAs. Each attempt has a row; at most one row of an order is valid.
foreign_requests = Table(
    "foreign_requests",
    metadata,
    key("order_id"),
    number_key("attempt"),
    words("issuer"),
    binary("transaction_id"),
    words("profile"),
    words("spki_sha256"),
    words("state"),
    integer("sent_at"),
    integer("doubts"),
    integer("version"),
    integer("next_at", null=True),
    binary("ticket"),
    words("serial", null=True),
    binary("der", null=True),
    binary("chain"),
    integer("not_before", null=True),
    integer("not_after", null=True),
    words("code", null=True),
    words("reason", null=True),
    integer("revoked_at", null=True),
    integer("by_hand"),
    unique_where("foreign_requests_one_counts", "order_id", where="state NOT IN ('given_up', 'denied', 'quarantined')"),
    unique_where("foreign_requests_serial_once", "serial", where="state IN ('received', 'issued', 'revoked')"),
    Index("foreign_requests_by_serial", "serial"),
)
# Who confirmed a revocation at another CA whose protocol has none.
hand_revocations = Table(
    "hand_revocations", metadata, key("order_id"), number_key("attempt"), words("by_whom"), words("approved_by")
)
