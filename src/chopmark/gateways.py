"""Which gateways an installation has, from its settings: mail by SMTP, and in the demo the inbox."""

from chopmark.post.demo import DemoGateway, InboxPort
from chopmark.post.ports import Gateway
from chopmark.post.smtp import SmtpGateway, SmtpSettings, Tls
from chopmark.settings import Settings
from chopmark.tw.email import EmailAddress, mask_email
from chopmark.tw.mobile import E164, mask_mobile
from chopmark.web.brand import Brand
from chopmark.words import Channel, Secret


def channels_of(settings: Settings) -> frozenset[Channel]:
    """Return the channels that have a gateway; the others are not offered."""
    mail = {Channel.EMAIL} if settings.smtp.host else set()
    return frozenset(Channel) if settings.mode == "demo" else frozenset(mail)


def gateways_of(settings: Settings, brand: Brand, inbox: InboxPort) -> list[Gateway]:
    """Return the gateways of an installation, in the order in which they are tried."""
    gateways: list[Gateway] = []
    if settings.smtp.host:
        gateways.append(
            SmtpGateway(
                SmtpSettings(
                    host=settings.smtp.host,
                    port=settings.smtp.port,
                    tls=Tls(settings.smtp.tls),
                    user=settings.smtp.user or None,
                    password=Secret(settings.smtp.password.get_secret_value()) if settings.smtp.user else None,
                    sender_address=settings.smtp.sender,
                    sender_name=brand.firm.zh,
                )
            )
        )
    if settings.mode == "demo":
        gateways.append(DemoGateway(Channel.MOBILE, inbox, lambda value: mask_mobile(E164(value))))
        if not settings.smtp.host:
            gateways.append(DemoGateway(Channel.EMAIL, inbox, lambda value: mask_email(EmailAddress(value))))
    return gateways
