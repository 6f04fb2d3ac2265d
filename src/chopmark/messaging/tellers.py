"""Messages to operators: mail over the installation's own mail server, and any service that apprise supports.

`apprise` is installed by the extra `alarms`. It is imported only if the settings have an address for it.
"""

import importlib
import logging
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from chopmark.core.types import Secret
from chopmark.messaging.alarms import Note
from chopmark.messaging.ports import GatewayFault
from chopmark.messaging.smtp import SmtpGateway

MISSING = (
    "alarms.urls is set, and apprise is not installed: install chopmark with its extra, `pip install chopmark[alarms]`"
)


class TellerUnfit(Exception):
    """A way to operators cannot work with these settings. The text says why, and contains no address."""


@dataclass(frozen=True, slots=True)
class AlarmMail:
    """One mail to one operator."""

    message_id: str
    destination: Secret
    subject: str
    text: Secret
    at: datetime


class MailTeller:
    """Sends mail to one operator."""

    def __init__(self, gateway: SmtpGateway, recipient: str) -> None:
        self.name = f"mail to {recipient}"
        self._gateway = gateway
        self._recipient = recipient

    async def tell(self, note: Note, number: str, at: datetime) -> str | None:
        """As `Teller.tell`."""
        mail = AlarmMail(f"alarm-{number}", Secret(self._recipient), note.subject, Secret(note.text), at)
        try:
            await self._gateway.send_letter(mail)
        except GatewayFault as fault:
            return fault.reason.value
        finally:
            await self._gateway.close()  # alarms are rare: no connection is kept for the next one
        return None


class AppriseTeller:
    """Sends to one address of apprise: a chat, a pager, a text message, or another service that it supports."""

    def __init__(self, address: Secret, place: int) -> None:
        """Raise TellerUnfit if apprise is missing or does not support such an address."""
        if find_spec("apprise") is None:
            raise TellerUnfit(MISSING)
        scheme = address.reveal().partition("://")[0]
        self.name = f"{scheme if scheme.isascii() and scheme.isalnum() else 'address'} (number {place} of alarms.urls)"
        logging.getLogger("apprise").disabled = True  # it logs addresses, which have passwords in them
        self._apprise: Any = importlib.import_module("apprise").Apprise()
        if not self._apprise.add(address.reveal()):
            raise TellerUnfit(f"alarms.urls: apprise does not know address number {place}")

    async def tell(self, note: Note, number: str, at: datetime) -> str | None:
        """As `Teller.tell`. Apprise says only whether it worked."""
        del number, at
        done = await self._apprise.async_notify(body=note.text, title=note.subject, body_format="text")
        return None if done else "not taken"


def apprise_tellers(addresses: Secret) -> list[AppriseTeller]:
    """Return a teller for each address in a secret, in which spaces separate them. Raises TellerUnfit."""
    return [AppriseTeller(Secret(one), place) for place, one in enumerate(addresses.reveal().split(), 1)]
