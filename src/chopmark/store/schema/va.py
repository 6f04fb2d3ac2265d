"""What relying parties are told: revocation lists, OCSP answers, time-stamps, certificates of our own services."""

from sqlalchemy import Column, ForeignKey, Table, Text

from chopmark.store.schema.columns import binary, integer, key, metadata, number_key, words

crls = Table(
    "crls",
    metadata,
    key("issuer"),
    number_key("shard"),
    integer("number"),
    binary("der"),
    integer("this_update"),
    integer("next_update"),
    integer("seen_end"),  # what the release before looks at: `lists._OURS`
    words("seen_mark", null=True),  # which changes of certificates the list has: `lists._SHARD`
    integer("seen_beside", null=True),  # how much else it has
)
# OCSP answers that were signed ahead, by the hash of the CertID. They can be made anew at any time.
answers = Table(
    "answers",
    metadata,
    Column("serial", Text, ForeignKey("certificates.serial"), primary_key=True),
    key("algorithm"),
    binary("der"),
    integer("produced_at"),
    integer("next_update"),
    integer("turns"),
)
timestamp_keys = Table(
    "timestamp_keys", metadata, key("issuer"), binary("certificate"), binary("stored_key"), integer("created_at")
)
# Certificates of our own responders and time-stamp authorities that were revoked.
service_revocations = Table(
    "service_revocations",
    metadata,
    key("serial"),
    words("issuer"),
    words("kind"),
    integer("not_after"),
    integer("ended_at"),
    words("reason"),
)
