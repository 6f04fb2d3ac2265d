"""The rows of contacts at which messages do not arrive: which of two that say something of one contact counts."""

RETURNED = "returned"
"""The last message came back for a reason that says nothing about the address (`ra.reminders.ports.Why.RETURNED`)."""
# A newer version counts. Of one version, that the contact is dead says more than that one message came back.
IN_PLACE = f"""
ON CONFLICT (customer, channel) DO UPDATE SET version = excluded.version, why = excluded.why, since = excluded.since
WHERE unreachable_contacts.version < excluded.version
  OR (unreachable_contacts.version = excluded.version
    AND (excluded.why <> '{RETURNED}' OR unreachable_contacts.why = '{RETURNED}'))
"""
