"""The commands with which people at the firm look up customers and certificates, and end one for good."""

import asyncio
from typing import Literal


def customers_show(who: str) -> int:
    """Show a customer: contacts (masked), certificates, orders, locks, and what was sent last; nothing is changed.

    Parameters
    ----------
    who:
        Customer number, ID number, serial number of a certificate, or id of an order.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.staff_lookup import show_customer

    return asyncio.run(show_customer(Settings(), who))


def certificates_find(what: str) -> int:
    """Find certificates by serial number (or its beginning), customer, order, account or SHA-256 of the key.

    Parameters
    ----------
    what:
        One of these.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.staff_lookup import find_certificates

    return asyncio.run(find_certificates(Settings(), what))


def certificates_revoke(
    serial: str, *, reason: Literal["death", "closed-account", "court"], paper: str, by: str, approved_by: str
) -> int:
    """Revoke a certificate for good, because the firm has to; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal.
    reason:
        Why. A court's order is told the world as privilegeWithdrawn, the others as cessationOfOperation.
    paper:
        Your own file number of what stands on paper; no ID number.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    from chopmark.app.settings import Settings
    from chopmark.cli.staff_lookup import revoke_certificate

    return asyncio.run(revoke_certificate(Settings(), serial, reason, paper, by, approved_by))
