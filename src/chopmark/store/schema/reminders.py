"""Reminders of certificates that end: what is planned and what became of it, and what customers asked for."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from chopmark.store.schema.columns import customer_key, integer, key, metadata, of_customer, partial, words

# One message to one customer on one day in Taiwan: at most one such row. `step` is the most urgent of the steps that
# it stands for. While it waits its state is `planned`; a worker that sends it holds a lease. The other states are
# final: `sent`, `unknown` (perhaps sent), `failed`, `unreachable`, `stopped` (replaced), `skipped` (`why` says why).
# The id is the message id at the gateways, too. `earliest` is the first day on which it could have been sent: after a
# restore nobody knows whether it was.
reminders = Table(
    "reminders",
    metadata,
    key("id"),
    of_customer(),
    words("day"),
    words("earliest"),
    words("step"),
    integer("urgency"),
    integer("planned_at"),
    integer("due_at"),
    integer("until"),
    words("state"),
    words("why", null=True),
    integer("attempts", default=0),
    integer("retry_at", default=0),
    words("holder", null=True),
    integer("leased_until", default=0),
    integer("begun_at", null=True),
    words("channel", null=True),
    integer("contact_version", null=True),
    words("gateway", null=True),
    integer("certificates", null=True),
    integer("ended_at", null=True),
    Index("reminders_one_a_day", "customer", "day", unique=True),
    Index("reminders_by_day", "day", "state"),
    Index("reminders_by_age", "due_at"),
    partial("reminders_waiting", "due_at", "urgency", where="state = 'planned'"),
)
# Which certificates' steps a reminder stands for: each step of a certificate has at most one, for ever. A certificate
# is named by its serial number, an imported one by its fingerprint.
reminded_certificates = Table(
    "reminded_certificates",
    metadata,
    key("certificate"),
    key("step"),
    Column("reminder", Text, ForeignKey("reminders.id"), nullable=False),
    integer("at"),
    Index("reminded_by_reminder", "reminder"),
    Index("reminded_by_age", "at"),
)
reminder_preferences = Table(
    "reminder_preferences",
    metadata,
    customer_key(),
    words("channel", null=True),
    words("language", null=True),
    integer("paused_until", null=True),
    integer("changed_at"),
)
# Contacts that a gateway called dead, and those whose last message came back (`returned`): these are tried last. A
# changed contact has another version and is not meant.
unreachable_contacts = Table(
    "unreachable_contacts",
    metadata,
    customer_key(),
    key("channel"),
    integer("version"),
    words("why"),
    integer("since"),
    Index("unreachable_contacts_by_age", "since"),
)
