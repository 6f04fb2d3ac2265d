"""PostgreSQL's numbers of transactions, as 64-bit integers in SQL. A transaction has one as soon as it has written."""

from typing import Final

OWN_XID: Final = "CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"
"""The number of this transaction, which gets one now if it has none."""
OLDEST_XID: Final = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"
"""The number of the oldest transaction that is still running: all with lower numbers have ended."""
