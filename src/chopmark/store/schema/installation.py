"""Tables that belong to no authority: facts of the installation, and leases."""

from sqlalchemy import CheckConstraint, Table

from chopmark.store.schema.columns import integer, key, metadata, words

# What this installation is: portal id, creation time, fingerprints of the secrets all nodes must share.
installation = Table("installation", metadata, key("name"), words("value"))
leases = Table(
    "leases",
    metadata,
    key("name"),
    words("holder"),
    integer("fencing"),
    integer("until"),
    # The sequencer's until revision 0027. One of the release before would give every record a second place.
    CheckConstraint("name <> 'sequencer'", name="leases_without_sequencer"),
)
