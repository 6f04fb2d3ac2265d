"""Certificates of former issuers that customers brought along, and the runs that imported them."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import binary, integer, key, metadata, of_customer, partial, unique_where, words

# A certificate is named by its fingerprint: serial numbers of another CA may be the same as ours. A row counts only
# once its run is `live`: one statement at the end of an import makes all its rows count.
imported_certificates = Table(
    "imported_certificates",
    metadata,
    key("fingerprint"),
    words("issuer"),
    words("serial"),
    of_customer(),
    words("account", null=True),
    words("profile"),
    words("way"),
    words("spki_sha256"),
    binary("der"),
    binary("chain"),
    integer("not_before"),
    integer("not_after"),
    words("state"),
    words("reason", null=True),
    integer("ended_at", null=True),
    words("superseded_by", null=True),
    integer("imported_at"),
    words("run"),
    # From when its own CA is to be asked to revoke it, when that was done, and by whom.
    integer("revoke_after", null=True),
    integer("revoked_there_at", null=True),
    words("revoked_by", null=True),
    words("approved_by", null=True),
    Index("imported_by_customer", "customer", "not_after"),
    Index("imported_by_key", "spki_sha256"),
    Index("imported_by_end", "not_after", "fingerprint"),
    Index("imported_by_run", "run"),
    partial("imported_living", "not_after", "fingerprint", where="state = 'active'"),
    partial("imported_to_revoke", "revoke_after", where="revoke_after IS NOT NULL"),
)
certificate_imports = Table(
    "certificate_imports",
    metadata,
    key("run"),
    words("input_sha256"),
    words("state"),
    integer("done"),
    words("staff"),
    integer("created_at"),
    integer("finished_at", null=True),
    words("report", null=True),
    # At most one run is under way: two processes that begin at the same moment find the same one, or one gives way.
    unique_where("certificate_imports_one_unfinished", "state", where="state = 'staging'"),
)
