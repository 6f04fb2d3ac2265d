"""Stubs of SMS gateways in Taiwan, written from their public documentation, and what a phone would show.

Each has the pitfalls of the real one: Mitake reads Big5 unless it is told otherwise, cuts what is longer than one SMS
and answers a repeated `clientid` with the first number; EVERY8D sends again whatever comes again; SMSGO cuts by
encoding.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final
from urllib.parse import quote, urlsplit

from chopmark.messaging.sms import UCS2_SINGLE, segments, units
from chopmark.testing.http_stub import Heard, HttpStub, Says

USER: Final = "stub-user"
PASSWORD: Final = "stub-password"
LINE_BREAK: Final = "\x06"


@dataclass(frozen=True, slots=True)
class Sms:
    """One message on the phone, and the parameters with which it was sent."""

    number: str
    text: str = field(repr=False)
    provider_id: str
    fields: Mapping[str, str] = field(repr=False)


class SmsStub(HttpStub):
    """A gateway with one account. `refuse` has the gateway's own codes with which it refuses the next messages."""

    def __init__(self) -> None:
        super().__init__()
        self.phone: list[Sms] = []
        self.refuse: list[str] = []
        self.states: dict[str, str] = {}
        """What it says of a message when it is asked; its own code."""
        self._numbers = count(1)

    def shows(self, number: str, text: str, fields: Mapping[str, str]) -> str:
        """Let the phone show a text; return the gateway's number of it."""
        provider_id = f"{type(self).__name__.lower()}{next(self._numbers):08}"
        kept = {name: value for name, value in fields.items() if value != PASSWORD}
        self.phone.append(Sms(number, text, provider_id, kept))
        return provider_id

    async def report(self, sms: Sms, code: str) -> None:
        """Report the state of a message to the address that came with it, as the gateway does: by GET."""
        address = urlsplit(sms.fields["response"])
        query = f"msgid={sms.provider_id}&dstaddr={sms.number}&statuscode={code}&statusstr={quote('狀態')}"
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            f"GET {address.path}?{query} HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        await reader.read()
        writer.close()


class MitakeStub(SmsStub):
    """Mitake: `/api/mtk/SmSend` and `/api/mtk/SmQuery`."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, str] = {}

    def answer(self, heard: Heard) -> Says:
        """As Mitake."""
        fields = heard.fields
        section = fields.get("clientid") or "1"
        if (fields.get("username"), fields.get("password")) != (USER, PASSWORD):
            return Says(f"[{section}]\r\nstatuscode=e\r\nError=帳號、密碼錯誤\r\n")
        if heard.path == "/api/mtk/SmQuery" and "msgid" not in fields:
            return Says("AccountPoint=98\r\n")
        if heard.path == "/api/mtk/SmQuery":
            ids = fields.get("msgid", "").split(",")
            return Says("".join(f"{one}\t{self.states.get(one, '1')}\t20261122100000\r\n" for one in ids))
        if heard.path != "/api/mtk/SmSend":
            return Says("", 404)
        if self.refuse:
            return Says(f"[{section}]\r\nstatuscode={self.refuse.pop(0)}\r\nError=錯誤\r\n")
        if not (fields["dstaddr"].startswith("09") and len(fields["dstaddr"]) == 10):
            return Says(f"[{section}]\r\nstatuscode=v\r\nError=無效的手機號碼\r\n")
        if section in self._known:
            return Says(
                f"[{section}]\r\nmsgid={self._known[section]}\r\nstatuscode=1\r\nDuplicate=Y\r\nAccountPoint=98\r\n"
            )
        text = fields["smbody"]
        if fields.get("CharsetURL", "Big5").upper().replace("-", "") != "UTF8":
            text = text.encode().decode("big5", "replace")
        number = self.shows(fields["dstaddr"], cut(text.replace("\n", "?").replace(LINE_BREAK, "\n")), fields)
        if "clientid" in fields:
            self._known[section] = number
        return Says(f"[{section}]\r\nmsgid={number}\r\nstatuscode=1\r\nAccountPoint=98\r\n")


class Every8dStub(SmsStub):
    """EVERY8D: `/API21/HTTP/sendSMS.ashx` and `/API21/HTTP/getDeliveryStatus.ashx`."""

    def answer(self, heard: Heard) -> Says:
        """As EVERY8D."""
        fields = heard.fields
        if (fields.get("UID"), fields.get("PWD")) != (USER, PASSWORD):
            return Says("-2,API 帳號或密碼錯誤")
        if heard.path == "/API21/HTTP/getCredit.ashx":
            return Says("98.0")
        if heard.path == "/API21/HTTP/getDeliveryStatus.ashx":
            sms = next((one for one in self.phone if one.provider_id == fields.get("BID")), None)
            if sms is None:
                return Says("0\r\n")
            return Says(f"1\r\n\t{sms.number}\t2026/11/22 10:00:00\t1.0\t{self.states.get(sms.provider_id, '0')}\r\n")
        if heard.path != "/API21/HTTP/sendSMS.ashx":
            return Says("", 404)
        if self.refuse:
            return Says(f"{self.refuse.pop(0)},錯誤")
        if not fields["DEST"].startswith(("+886", "09")):
            return Says("-3,受話方手機號碼錯誤")
        number = self.shows(fields["DEST"], fields["MSG"], fields)
        return Says(f"98.0,1,1.0,0,{number}")


class SmsgoStub(SmsStub):
    """SMSGO: `/sms_gw/sendsms.aspx` and `/sms_gw/query.aspx`."""

    def answer(self, heard: Heard) -> Says:
        """As SMSGO."""
        fields = heard.fields
        if (fields.get("username"), fields.get("password")) != (USER, PASSWORD):
            return Says("msgid=\r\nstatuscode=-2\r\nstatusstr=授權錯誤\r\npoint=0\r\n")
        if heard.path == "/sms_gw/query_point.aspx":
            return Says("statuscode=0\r\nstatusstr=OK\r\npoint=98\r\n")
        if heard.path == "/sms_gw/query.aspx":
            return Says(f"statuscode={self.states.get(fields.get('msgid', ''), '1')}\r\n")
        if heard.path != "/sms_gw/sendsms.aspx":
            return Says("", 404)
        if self.refuse:
            return Says(f"msgid=\r\nstatuscode={self.refuse.pop(0)}\r\nstatusstr=錯誤\r\npoint=0\r\n")
        text, encoding = fields["smbody"], fields.get("encoding", "BIG5")
        if encoding.endswith("ASCII"):
            text = text.encode("ascii", "replace").decode()
        elif encoding.endswith("BIG5"):
            text = text.encode("big5", "replace").decode("big5")
        shown = text[:335] if encoding.startswith("L") else cut(text)
        number = self.shows(fields["dstaddr"], shown, fields)
        return Says(f"msgid={number}\r\nstatuscode=0\r\nstatusstr=OK\r\npoint=1\r\n")


def cut(text: str) -> str:
    """Return the part of a text that fits into one SMS; the rest is dropped silently."""
    if segments(text) == 1:
        return text
    room, kept = UCS2_SINGLE, 0
    for size in units(text):
        if size > room:
            break
        room, kept = room - size, kept + 1
    return text[:kept]
