"""Envelope senders that tell mails apart when they come back, over real SMTP servers on loopback."""

import email
from dataclasses import replace
from email import policy

import pytest
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr

from chopmark.app.gateways import GatewayUnfit, return_paths_of
from chopmark.app.settings import Settings, Smtp
from chopmark.core.types import Secret
from chopmark.messaging.return_paths import ReturnPaths
from chopmark.messaging.smtp import SmtpGateway
from chopmark.messaging.tellers import AlarmMail
from tests.unit.messaging.test_smtp import ADDRESS, AT, MESSAGE, Keeping, Raw, listening, settings

PATHS = ReturnPaths("bounces+*@mail.example.com", bytes(32))
OURS = replace(MESSAGE, message_id="ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MARK = "abcdefghijklmnopqrstuvwxyzxnwunesyiygr3i2r"
MARKED = f"bounces+{MARK}@mail.example.com"


async def test_each_mail_has_an_envelope_sender_of_its_own_and_its_header_names_the_same_sender_as_ever() -> None:
    handler = Keeping()
    async with listening(lambda: SMTP(handler)) as port:
        gateway = SmtpGateway(settings(port), return_paths=PATHS)
        other = replace(OURS, message_id="RABCDEFGHIJKLMNOPQRSTUVWXYZ")
        for message in (OURS, other, MESSAGE):  # the last one's id is none of ours
            await gateway.send(message)
        await gateway.send_letter(AlarmMail("alarm-1", Secret("ops@example.com"), "x", Secret("x"), AT))
        await gateway.close()
    senders = [envelope.mail_from for envelope in handler.envelopes]
    assert senders[0] == MARKED
    assert senders[1] not in (MARKED, "no-reply@haojing.example")
    assert senders[2:] == ["no-reply@haojing.example"] * 2
    for envelope in handler.envelopes:
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=policy.default)
        assert mail["From"] == "好景期貨 <no-reply@haojing.example>"


class Speaking(Raw):
    """A server that keeps the commands that it hears."""

    def __init__(self, heard: list[bytes], *lines: bytes | None) -> None:
        super().__init__(*lines)
        self.heard = heard

    def data_received(self, data: bytes) -> None:
        self.heard += data.split(b"\r\n")[:1]
        self.say()


@pytest.mark.parametrize("dsn", [True, False])
async def test_a_server_that_reports_on_demand_is_told_the_mark_and_to_return_no_text(dsn: bool) -> None:
    offers = b"250-relay\r\n250 DSN" if dsn else b"250 relay"
    answers = (
        b"220 hi",
        offers,
        *(b"250 ok",) * 2,
        b"354 go on",
        b"250 ok",
        *(b"250 ok",) * 2,
        b"354 go on",
        b"250 ok",
    )
    heard: list[bytes] = []
    async with listening(lambda: Speaking(heard, *answers)) as port:
        gateway = SmtpGateway(settings(port), return_paths=PATHS)
        for _ in range(2):  # the second one over the connection that was kept
            await gateway.send(OURS)
        await gateway.close()
    said = [line for line in heard if line.startswith((b"EHLO", b"MAIL", b"RCPT"))]
    mail = b"MAIL FROM:<%b>%b" % (MARKED.encode(), b" RET=HDRS ENVID=%b" % MARK.encode() if dsn else b"")
    rcpt = b"RCPT TO:<%b>%b" % (ADDRESS.encode(), b" NOTIFY=FAILURE" if dsn else b"")
    assert said == [b"EHLO haojing.example", mail, rcpt, mail, rcpt]


async def test_a_server_of_the_old_protocol_is_asked_for_nothing() -> None:
    heard: list[bytes] = []
    answers = (b"220 hi", b"502 what?", b"250 relay", *(b"250 ok",) * 2, b"354 go on", b"250 ok")
    async with listening(lambda: Speaking(heard, *answers)) as port:
        gateway = SmtpGateway(settings(port), return_paths=PATHS)
        await gateway.send(OURS)
        await gateway.close()
    assert [line for line in heard if line.startswith((b"HELO", b"MAIL"))] == [
        b"HELO haojing.example",
        b"MAIL FROM:<%b>" % MARKED.encode(),
    ]


def test_the_settings_make_the_marks_with_a_key_of_the_installation() -> None:
    smtp = Smtp(host="127.0.0.1", tls="none", bounces="bounces+*@mail.example.com")
    known = Settings(mode="demo", smtp=smtp, csrf_key=SecretStr("00" * 32))
    paths = return_paths_of(known)
    assert paths is not None
    assert paths.sender(OURS.message_id) == MARKED
    assert return_paths_of(known.model_copy(update={"smtp": Smtp(host="127.0.0.1", tls="none")})) is None
    with pytest.raises(GatewayUnfit, match=r"smtp\.bounces.*csrf_key"):
        return_paths_of(known.model_copy(update={"csrf_key": SecretStr("")}))
    with pytest.raises(ValueError, match="e-mail address"):
        Smtp(bounces="**@example.com")
