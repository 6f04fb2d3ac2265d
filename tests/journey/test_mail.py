"""Renewal by e-mail through a real SMTP server; the key stays in the browser. Codes have ten digits, as a canary."""

from base64 import b64encode
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from queue import Queue

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from playwright.sync_api import Browser, expect

from tests.journey.counter import Counter, Prepared, free_port, running
from tests.journey.visitor import PASSWORD, Visitor, code_in

ARRIVES_WITHIN_S = 60


class MailBox:
    """Takes every mail."""

    def __init__(self) -> None:
        self.mails: Queue[EmailMessage] = Queue()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail."""
        assert isinstance(envelope.content, bytes)
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.put(parsed)
        return "250 OK"

    def next(self) -> EmailMessage:
        """Return the next mail."""
        return self.mails.get(timeout=ARRIVES_WITHIN_S)

    def code(self) -> EmailMessage:
        """Return the mail with the code; before it came the notice that the order was opened."""
        opened = self.next()
        assert "提出憑證申請" in opened["Subject"]
        assert "金鑰" not in read(opened)
        return self.next()


@pytest.fixture(scope="module")
def mailing(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counter, MailBox]]:
    """A counter whose mails go to a real SMTP server, and what that server received."""
    box = MailBox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    smtp = {
        "CHOPMARK_SMTP__HOST": "127.0.0.1",
        "CHOPMARK_SMTP__PORT": str(controller.port),
        "CHOPMARK_SMTP__TLS": "none",
        "CHOPMARK_CODE_DIGITS": "10",
    }
    try:
        with running(prepared, tmp_path_factory.mktemp("counter"), **smtp) as counter:
            yield counter, box
    finally:
        controller.stop()


def read(mail: EmailMessage) -> str:
    """Return the text that a person reads."""
    body = mail.get_body(("plain",))
    assert body is not None
    return body.get_content()


def test_a_customer_renews_by_mail_and_the_key_is_found_in_the_browser_afterwards(
    mailing: tuple[Counter, MailBox], browser: Browser
) -> None:
    counter, box = mailing
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        page = visitor.page
        visitor.sign_in("C10001")
        visitor.apply("rekey", "browser")
        visitor.step("key")
        visitor.look()
        visitor.make_key("C10001")
        reference = visitor.send_code("email")
        visitor.see("m•••@e•••.com")
        visitor.look()
        mail = box.code()
        assert mail["To"] == "ming@example.com"
        assert reference in mail["Subject"]
        assert reference in read(mail)
        assert "http" not in read(mail)
        code = code_in(read(mail))
        assert len(code) == 10
        assert code not in mail["Subject"]
        visitor.enter(code)
        page.locator(".cm-result").wait_for()
        visitor.go_on()
        visitor.birth_date("49", "7", "15")
        visitor.finish()
        visitor.see("憑證展延完成")
        visitor.look()

        visitor.go("/certificates/inquiry")
        expect(page.locator("[data-key-home=browser] [data-kept-text]")).to_have_text("在這台電腦的這個瀏覽器")
        visitor.look()
        notice = visitor.message("已於")
        assert "啟用" in notice
        canary(visitor, (code, PASSWORD, "ming@example.com", "0912000678", "1960-07-15"))


def canary(visitor: Visitor, words: tuple[str, ...]) -> None:
    """No page of the database, no address and no log has one of the words."""
    pages = b"".join(path.read_bytes() for path in visitor.counter.data.glob("chopmark.sqlite*"))
    for word in words:
        assert word.encode() not in pages
        assert not [said for said in visitor.requests if word.encode() in said.split(b"\n")[0]]
        visitor.private.add(word)


KEEP = """async ([key, der, serial]) => {
  const octets = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  const curve = {name: 'ECDSA', namedCurve: 'P-256'};
  const privateKey = await crypto.subtle.importKey('pkcs8', octets(key), curve, false, ['sign']);
  const opening = indexedDB.open('chopmark');
  await new Promise((done) => { opening.onsuccess = done; });
  const transaction = opening.result.transaction('installed', 'readwrite');
  transaction.objectStore('installed').put({serial, privateKey, certificates: [octets(der)]});
  await new Promise((done) => { transaction.oncomplete = done; });
  opening.result.close();
}"""


def keep_in_the_browser(visitor: Visitor, number: str) -> None:
    """Put a certificate of last year into the browser, as its installation did then."""
    content = visitor.counter.p12(number).read_bytes()
    key, record, _ = pkcs12.load_key_and_certificates(content, visitor.counter.passphrase(number).encode())
    assert isinstance(key, EllipticCurvePrivateKey)
    assert record is not None
    octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), record.public_bytes(Encoding.DER)
    visitor.page.evaluate(KEEP, [*(b64encode(each).decode() for each in octets), f"{record.serial_number:x}"])


def test_a_certificate_in_the_browser_signs_its_own_renewal_without_any_file(
    mailing: tuple[Counter, MailBox], browser: Browser
) -> None:
    counter, box = mailing
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        page = visitor.page
        visitor.sign_in("C10015")
        visitor.apply("rekey", "browser")
        expect(visitor.step("key").locator("[data-old-key-file]")).to_be_visible()
        keep_in_the_browser(visitor, "C10015")
        page.reload()
        visitor.step("key")
        visitor.see("已在這個瀏覽器找到，您不用做任何事。")
        expect(page.locator("[data-old-key-file]")).to_be_hidden()
        visitor.look()
        visitor.make_key()
        expect(visitor.step("channel").locator("input[name=channel]")).to_have_count(1)
        visitor.send_code("email")
        visitor.enter(code_in(read(box.code())))
        page.locator(".cm-result").wait_for()
        visitor.go_on()
        visitor.birth_date("67", "7", "7")
        visitor.finish()
        visitor.see("憑證展延完成")
