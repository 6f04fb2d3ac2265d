"""A certificate as the portal's pages show it."""

from datetime import datetime

from chopmark.ra.ports import SubscriberCertificate
from chopmark.web.pages.views import CertificateView
from chopmark.web.presenters import days_left, state_now


def certificate_view(holding: SubscriberCertificate, account: str, now: datetime) -> CertificateView:
    """Return a certificate as pages show it; `account` is its label."""
    return CertificateView(
        holding.serial,
        state_now(holding, now),
        holding.not_before,
        holding.not_after,
        days_left(holding, now),
        account,
        holding.key_home,
        holding.superseded_by,
    )
