"""Build the gateways of an installation: those of its list, mail by SMTP, and in the demo the inbox."""

import ssl
from contextlib import suppress
from pathlib import Path

from chopmark.app.secrets import NotReady, key_of
from chopmark.app.settings import Settings
from chopmark.app.settings_sources import secret_file
from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured, read_gateways
from chopmark.messaging.demo import DemoGateway, InboxPort
from chopmark.messaging.ports import FaultReason, Gateway
from chopmark.messaging.registry import gateway_of
from chopmark.messaging.return_paths import ReturnPaths
from chopmark.messaging.smtp import SmtpGateway, SmtpSettings, Tls
from chopmark.tw.email import EmailAddress, mask_email
from chopmark.tw.mobile import E164, mask_mobile
from chopmark.web.brand import Brand


class GatewayUnfit(Exception):
    """A gateway's settings do not work; the text says which and what to do."""


def channels_of(settings: Settings) -> frozenset[Channel]:
    """Return the channels that have a gateway; the others are not offered. Raises GatewayUnfit."""
    mail = {Channel.EMAIL} if settings.smtp.host else set()
    listed = {config.channel for config in listed_gateways(settings)}
    return frozenset(Channel) if settings.mode == "demo" else frozenset(mail | listed)


def gateways_of(settings: Settings, brand: Brand, inbox: InboxPort) -> list[Gateway]:
    """Return the gateways of an installation, in the order in which they are tried. Raises GatewayUnfit."""
    gateways: list[Gateway] = []
    names = (brand.firm.en, brand.firm.zh)
    try:
        gateways += [gateway_of(one) for one in listed_gateways(settings) if one.brand in {"", *names}]
    except (GatewayMisconfigured, ValueError, OSError) as error:
        raise GatewayUnfit(_said(error)) from error
    if settings.smtp.host:
        gateways.append(mail_gateway(settings, brand))
    if settings.mode == "demo":
        served = {gateway.channel for gateway in gateways}
        if Channel.MOBILE not in served:
            gateways.append(DemoGateway(Channel.MOBILE, inbox, lambda value: mask_mobile(E164(value))))
        if Channel.EMAIL not in served:
            gateways.append(DemoGateway(Channel.EMAIL, inbox, lambda value: mask_email(EmailAddress(value))))
    return gateways


def listed_gateways(settings: Settings) -> tuple[GatewayConfig, ...]:
    """Return the entries of the list of gateways; none where the settings name no list. Raises GatewayUnfit."""
    if settings.gateways is None:
        return ()

    def secret_of(name: str) -> Secret:
        return secret_file(secret_path(settings, name))

    try:
        return read_gateways(settings.gateways.read_text(encoding="utf-8"), secret_of)
    except (GatewayMisconfigured, ValueError, OSError) as error:
        raise GatewayUnfit(_said(error)) from error


def secret_files(settings: Settings) -> list[Path]:
    """Return the files of the gateways' secrets; none where the list cannot be read, which is said elsewhere."""
    files: list[Path] = []

    def noted(name: str) -> Secret:
        files.append(secret_path(settings, name))
        return Secret("")

    if settings.gateways is not None:
        with suppress(GatewayMisconfigured, ValueError, OSError):
            read_gateways(settings.gateways.read_text(encoding="utf-8"), noted)
    return files


def secret_path(settings: Settings, name: str) -> Path:
    """Return the file of a gateway's secret: one of the secrets directory, unless the list has a whole path."""
    return (settings.secrets_dir or settings.data) / name


def _said(error: Exception) -> str:
    """Return what is wrong with the list, without any part of a secret."""
    if isinstance(error, OSError):
        return f"gateways: {error.filename} cannot be read ({error.strerror or type(error).__name__})"
    return f"gateways: {error}"


async def reach_mail(settings: Settings, brand: Brand) -> str | None:
    """Connect to the mail server as for a mail, without sending one; return what is wrong as a sentence, or None."""
    reason = await mail_gateway(settings, brand).reach()
    if reason is None:
        return None
    said = _WRONG.get(reason, "it does not answer as a mail server should")
    return f"the mail server {settings.smtp.host}:{settings.smtp.port} cannot be used ({reason.value}): {said}"


def mail_gateway(settings: Settings, brand: Brand) -> SmtpGateway:
    """Return what hands mail to the installation's mail server. Raises GatewayUnfit."""
    made = SmtpSettings(
        host=settings.smtp.host,
        port=settings.smtp.port,
        tls=Tls(settings.smtp.tls),
        user=settings.smtp.user or None,
        password=Secret(settings.smtp.password.get_secret_value()) if settings.smtp.user else None,
        sender_address=settings.smtp.sender,
        sender_name=brand.firm.zh,
    )
    return SmtpGateway(made, tls_context=_trust(settings), return_paths=return_paths_of(settings))


def return_paths_of(settings: Settings) -> ReturnPaths | None:
    """Return what marks mails so that they are known when they come back; None where nobody reads those.

    Raises GatewayUnfit.
    """
    if not settings.smtp.bounces:
        return None
    try:
        return ReturnPaths(settings.smtp.bounces, key_of(settings, "csrf_key"))
    except NotReady as error:
        raise GatewayUnfit(f"smtp.bounces: {error}") from error


def _trust(settings: Settings) -> ssl.SSLContext | None:
    """Return what the mail server's certificate is verified with: the firm's own file, or the machine's (None)."""
    if settings.smtp.ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.smtp.ca))
    except OSError as error:
        raise GatewayUnfit("smtp.ca names no PEM file of certificates that can be read") from error


_WRONG = {
    FaultReason.UNREACHABLE: "nothing answers there, or it offers no service",
    FaultReason.TIMEOUT: "it does not answer in time",
    FaultReason.DROPPED: "it ends the connection",
    FaultReason.TLS: "its certificate is not trusted: is the authority's in smtp.ca, and is the name right?",
    FaultReason.AUTHENTICATION: "it does not accept smtp.user and smtp.password",
    FaultReason.BUSY: "it asks to come later",
    FaultReason.PROTOCOL: "it lacks something that we insist on; does it offer what smtp.tls says?",
}
