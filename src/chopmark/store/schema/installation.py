"""What this installation is, and who may do something alone: tables of no authority."""

from sqlalchemy import Table

from chopmark.store.schema.columns import integer, key, metadata, text

# What this installation is: portal id, creation time, fingerprints of the secrets all nodes must share.
installation = Table("installation", metadata, key("name"), text("value"))
leases = Table("leases", metadata, key("name"), text("holder"), integer("fencing"), integer("until"))
