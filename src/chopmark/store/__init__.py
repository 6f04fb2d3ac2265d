"""The only SQL: schema, transactions, one ledger file per authority; SQLite and PostgreSQL."""
