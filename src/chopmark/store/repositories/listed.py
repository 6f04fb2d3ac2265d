"""How a statement names many rows, so that PostgreSQL finds each of them by its key, whatever it knows of the table.

A connection keeps the plan of a statement, and may have made it while tables were empty or had no statistics. Then all
indexes seem to cost the same. If it takes another one than that of the key, the list becomes a filter, which is
evaluated for each row that the other index finds, and a batch of many rows takes the square of their number.

So a statement with a list leaves PostgreSQL one index only:

- The list stands as `= ANY(ARRAY(...))` at the first column of an index. Behind `IN (SELECT ...)` PostgreSQL may read
  all of the table instead, and sort out what is not in the list.
- A condition that another index could serve is written so that no index serves it: `state || '' = 'active'`,
  `not_after + 0 > :now`, `COALESCE(done_at, -1) = -1` where the column may be NULL.
- A condition `EXISTS` about another table ends in `LIMIT 1 OFFSET 0`, so that it is looked up row by row, and is not
  turned into a join, which may begin with the other table.
"""

from collections.abc import Mapping
from typing import Final

LISTED: Final[Mapping[str, str]] = {
    "sqlite": "IN (SELECT value FROM json_each(:listed))",
    "postgresql": "= ANY(ARRAY(SELECT json_array_elements_text(CAST(:listed AS json))))",
}
"""What stands for `{listed}` behind a column, by dialect; `:listed` is a JSON array of texts."""
CHOSEN: Final[Mapping[str, str]] = {
    "sqlite": "IN (SELECT place FROM chosen)",
    "postgresql": "= ANY(ARRAY(SELECT place FROM chosen))",
}
"""What stands for `{chosen}` behind a column, by dialect: the rows that `WITH chosen AS MATERIALIZED` has found."""
ROW: Final[Mapping[str, str]] = {"sqlite": "rowid", "postgresql": "ctid"}
"""What stands for `{row}`, by dialect: a row's own place, by which a table with a key of several columns is updated."""
