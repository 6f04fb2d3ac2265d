"""Issuing CAs, certificates, and requests to other CAs."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, partial, text, unique_where

issuers = Table(
    "issuers",
    metadata,
    key("id"),
    text("name"),
    binary("certificate"),
    binary("chain"),
    binary("key_pem"),
    binary("responder_certificate"),
    binary("responder_key_pem"),
    text("state"),
    integer("created_at"),
)
certificates = Table(
    "certificates",
    metadata,
    key("serial"),
    text("issuer"),
    text("order_id"),
    integer("attempt"),
    text("profile"),
    integer("profile_version"),
    text("spki_sha256"),
    binary("tbs"),
    binary("der", null=True),
    text("state"),
    integer("shard"),
    integer("not_before"),
    integer("not_after"),
    integer("reserved_at"),
    integer("issued_at", null=True),
    integer("ended_at", null=True),
    text("reason", null=True),
    integer("turns", default=0),  # how often the status that the world is told was changed
    integer("answer_due", default=0),  # when its OCSP answers are to be signed ahead again
    integer("changed", default=0),  # the transaction that changed its status last, as `answers.CHANGED` numbers them
    Index("certificates_by_order", "order_id", "attempt", unique=True),
    unique_where("certificates_one_reservation", "order_id", where="state <> 'orphaned'"),
    Index("certificates_ended", "issuer", "shard", "ended_at"),
    Index("certificates_by_state", "state", "reserved_at"),
    Index("certificates_due", "issuer", "answer_due"),
    partial("certificates_turned", "issuer", "shard", "turns", where="turns > 0"),
    partial("certificates_changed", "changed", where="changed > 0"),
)
# Requests to other CAs: one row an attempt; one an order counts.
foreign_requests = Table(
    "foreign_requests",
    metadata,
    key("order_id"),
    number_key("attempt"),
    text("issuer"),
    binary("transaction_id"),
    text("profile"),
    text("spki_sha256"),
    text("state"),
    integer("sent_at"),
    integer("doubts"),
    integer("version"),
    integer("next_at", null=True),
    binary("ticket"),
    text("serial", null=True),
    binary("der", null=True),
    binary("chain"),
    integer("not_before", null=True),
    integer("not_after", null=True),
    text("code", null=True),
    text("reason", null=True),
    integer("revoked_at", null=True),
    integer("by_hand"),
    unique_where("foreign_requests_one_counts", "order_id", where="state NOT IN ('given_up', 'denied', 'quarantined')"),
    unique_where("foreign_requests_serial_once", "serial", where="state IN ('received', 'issued', 'revoked')"),
    Index("foreign_requests_by_serial", "serial"),
)
# Who said that another CA has revoked what a request brought, where its protocol has no revocation.
hand_revocations = Table(
    "hand_revocations", metadata, key("order_id"), number_key("attempt"), text("by_whom"), text("approved_by")
)
