"""Rate limits: in the database, each counted by one conditional statement; in memory; and for open connections."""
