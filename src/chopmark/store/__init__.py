"""The only SQL: engine, repositories by authority, schema and migrations."""
