"""The demo's phone: a stub of Mitake in the demo's process, so that codes are sent like a real SMS.

The worker hands the code to the stub by HTTP, as it would to Mitake; the stub shows it on the demo's inbox page and
reports, by HTTP as well, that it is on the handset. What the phone shows is in this process's memory and nowhere else.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from chopmark.app.foundation import SystemEntropy
from chopmark.app.settings import Settings
from chopmark.audit.durable import write_durably
from chopmark.core.clock import Clock
from chopmark.core.types import Channel, CustomerId
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.ports import Purpose
from chopmark.testing.sms_stubs import PASSWORD, USER, MitakeStub, Sms
from chopmark.tw.mobile import E164, mask_mobile

NAME = "mitake"
REPORTS_AFTER_S = 2.0
"""How long a message takes to the handset."""
_LIST = """# Written by `chopmark demo --sms`: one gateway, whose provider is a stub within the demo.
[[gateway]]
name = "{name}"
kind = "mitake"
url = "{url}"
user = "{user}"
callback = "{callback}"
secrets = {{ password = "{password}", report = "{report}" }}
"""


class Phone(MitakeStub):
    """A stub of Mitake with one phone for everybody's messages."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._entries: list[InboxEntry] = []
        self._reports: set[asyncio.Task[None]] = set()

    def shows(self, number: str, text: str, fields: Mapping[str, str]) -> str:
        """As the stub, and report soon that the message is on the handset."""
        provider_id = super().shows(number, text, fields)
        sms = self.phone[-1]
        self._entries.append(self._entry(sms))
        reporting = asyncio.get_running_loop().create_task(self._report(sms))
        self._reports.add(reporting)
        reporting.add_done_callback(self._reports.discard)
        return provider_id

    def newest(self, most: int) -> list[InboxEntry]:
        """Return what the phone shows, the newest first."""
        return self._entries[::-1][:most]

    async def _report(self, sms: Sms) -> None:
        await asyncio.sleep(REPORTS_AFTER_S)
        with contextlib.suppress(OSError):  # a demo that ends meanwhile
            await self.report(sms, "4")

    def _entry(self, sms: Sms) -> InboxEntry:
        return InboxEntry(
            message_id=sms.provider_id,
            channel=Channel.MOBILE,
            customer=CustomerId(""),
            challenge=None,
            purpose=Purpose.CODE_RENEWAL,
            masked=mask_mobile(E164("+886" + sms.number[1:])),
            subject="",
            body=sms.text,
            at=self._clock.now(),
        )


def with_phone(settings: Settings, url: str) -> Settings:
    """Return the demo's settings with a list of gateways that has the stub at this address."""
    folder = (settings.data / "secrets").absolute()
    write_durably(folder / "mitake.password", PASSWORD.encode())
    write_durably(folder / "mitake.report", SystemEntropy().token(16).hex().encode())
    listed: Path = settings.data / "demo" / "gateways.toml"
    words = {
        "name": NAME,
        "url": url,
        "user": USER,
        "callback": f"http://127.0.0.1:{settings.port}/hooks/gateways/{NAME}/",
        "password": folder / "mitake.password",
        "report": folder / "mitake.report",
    }
    listed.write_text(_LIST.format(**words), encoding="utf-8")
    return settings.model_copy(update={"gateways": listed})
