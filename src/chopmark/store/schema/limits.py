"""What is counted: rate limits, and failed sign-ins in a row."""

from sqlalchemy import Table

from chopmark.store.schema.columns import integer, key, metadata, partial

# Rate limits: how much of each was used in its present window.
counters = Table(
    "counters",
    metadata,
    key("name"),
    integer("window_start"),
    integer("used"),
    partial("counters_by_window", "window_start", where="substr(name, length(name) - 1) <> '1y'"),
    partial("counters_of_a_year", "window_start", where="substr(name, length(name) - 1) = '1y'"),
)
# Wrong passwords in a row. `subject` is a customer, or `claim:` and the keyed hash of what nobody is called.
entries = Table(
    "entries",
    metadata,
    key("subject"),
    key("entry"),
    integer("failed"),
    integer("at"),
    integer("closed_at", null=True),
    partial("entries_of_nobody", "at", where="substr(subject, 1, 6) = 'claim:' AND closed_at IS NULL"),
    partial(
        "entries_of_nobody_closed", "closed_at", where="substr(subject, 1, 6) = 'claim:' AND closed_at IS NOT NULL"
    ),
)
