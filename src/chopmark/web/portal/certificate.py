"""A certificate as the portal's pages show it."""

from datetime import datetime

from chopmark.ra.ports import SubscriberCertificate
from chopmark.web.pages.views import CertificateView
from chopmark.web.presenters import days_left, state_now


def certificate_view(
    holding: SubscriberCertificate, account: str, now: datetime, issuer: str | None = None
) -> CertificateView:
    """Return a certificate as pages show it; `account` is its label, `issuer` the name of its former issuer, if any."""
    return CertificateView(
        holding.number,
        state_now(holding, now),
        holding.not_before,
        holding.not_after,
        days_left(holding, now),
        account,
        holding.key_home if holding.former is None else None,
        holding.superseded_by,
        issuer,
    )
