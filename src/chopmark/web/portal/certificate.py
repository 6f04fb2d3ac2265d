"""A certificate as the portal's pages show it."""

from datetime import datetime

from chopmark.ra.ports import SubscriberCertificate
from chopmark.web.pages.views import CertificateView
from chopmark.web.presenters import days_left, state_now


def certificate_view(
    certificate: SubscriberCertificate, account: str, now: datetime, issuer: str | None = None
) -> CertificateView:
    """Return a certificate as pages show it; `account` is its label, `issuer` the name of its former issuer, if any."""
    return CertificateView(
        certificate.number,
        state_now(certificate, now),
        certificate.not_before,
        certificate.not_after,
        days_left(certificate, now),
        account,
        certificate.key_home if certificate.former is None else None,
        certificate.superseded_by,
        issuer,
    )
