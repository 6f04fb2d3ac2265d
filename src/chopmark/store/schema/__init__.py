"""The tables, for both engines: text, 64-bit integers and bytes only.

Times are epoch milliseconds (UTC), booleans are 0 and 1, JSON is text. Columns that hold personal data end in
`_sealed` (AES-GCM, key outside the database) or `_hash` (keyed). `customer` leads every index on a request path,
so that the tables can be spread by customer.
"""

from chopmark.store.schema.audit import anchors, chains, heads, leaves, places
from chopmark.store.schema.ca import certificates, foreign_requests, hand_revocations, issuers
from chopmark.store.schema.certificate_import import certificate_imports, imported_certificates
from chopmark.store.schema.columns import metadata
from chopmark.store.schema.customer_import import bearers, former_contacts, imports
from chopmark.store.schema.former import former_answers, former_lists, former_revocations
from chopmark.store.schema.identity import (
    accounts,
    client_scopes,
    clients,
    contacts,
    customers,
    launches,
    passwords,
    sessions,
)
from chopmark.store.schema.installation import installation, leases
from chopmark.store.schema.limits import counters, entries
from chopmark.store.schema.messaging import alarms, deliveries, early_reports, inbox, work
from chopmark.store.schema.ra import blocked_keys, credentials, holdings, idempotency, keys, orders, slips, stops
from chopmark.store.schema.reminders import (
    reminded_certificates,
    reminder_preferences,
    reminders,
    unreachable_contacts,
)
from chopmark.store.schema.stepup import challenges, failures
from chopmark.store.schema.va import answers, crls, service_revocations, timestamp_keys

__all__ = [
    "accounts",
    "alarms",
    "anchors",
    "answers",
    "bearers",
    "blocked_keys",
    "certificate_imports",
    "certificates",
    "chains",
    "challenges",
    "client_scopes",
    "clients",
    "contacts",
    "counters",
    "credentials",
    "crls",
    "customers",
    "deliveries",
    "early_reports",
    "entries",
    "failures",
    "foreign_requests",
    "former_answers",
    "former_contacts",
    "former_lists",
    "former_revocations",
    "hand_revocations",
    "heads",
    "holdings",
    "idempotency",
    "imported_certificates",
    "imports",
    "inbox",
    "installation",
    "issuers",
    "keys",
    "launches",
    "leases",
    "leaves",
    "metadata",
    "orders",
    "passwords",
    "places",
    "reminded_certificates",
    "reminder_preferences",
    "reminders",
    "service_revocations",
    "sessions",
    "slips",
    "stops",
    "timestamp_keys",
    "unreachable_contacts",
    "work",
]
