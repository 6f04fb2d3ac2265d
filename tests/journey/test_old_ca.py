"""Customers renew with a certificate of the firm's old CA: files of openssl and keytool, opened in the page."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from chopmark.app.services import opened
from chopmark.app.settings import Settings
from chopmark.app.worker import tasks
from chopmark.cli.certificate_import import import_certificates
from chopmark.demo.people import PEOPLE
from tests.journey.counter import Counter, Prepared, apart, running
from tests.journey.openssl import Opened
from tests.journey.secrecy import secrets_of
from tests.journey.visitor import Visitor
from tests.machine import program
from tests.old_ca import BEGINS, OldCa, openssl

THEIRS = "Abc-1234-xyz"
WHOLE, ALONE, REVOKED = "C10005", "C10016", "C10017"
"""Who has a file with the CA's certificate in it, one without, and one that the old CA has revoked since."""
LIST = """
[[former_issuer]]
id = "old"
name_zh = "舊憑證管理中心"
name_en = "The Old CA"
certificates = ["ca.pem"]
subject_templates = ["CN=TW{person_id}*, OU=RA-Demo"]
status = "crl"
crl = ["old.crl"]
"""


class OldFirm:
    """The old CA in a folder, with the three customers' certificates in `certificates.pem`."""

    def __init__(self, folder: Path) -> None:
        self.ca = OldCa(folder)
        self.folder = folder
        now = datetime.now(UTC)
        ends = f"{now + timedelta(days=20):%Y%m%d%H%M%SZ}"
        persons = {person.number: person.person_id for person in PEOPLE}
        serials = {
            who: self.ca.issue(who, f"/C=TW/O=TaiCA Secure CA/OU=RA-Demo/CN=TW{persons[who]}1", life=(BEGINS, ends))
            for who in (WHOLE, ALONE, REVOKED)
        }
        self.ca.revoked = {serials[REVOKED]: (now - timedelta(hours=1), "keyCompromise")}
        written = b"".join((folder / f"{who}.pem").read_bytes() for who in serials)
        (folder / "certificates.pem").write_bytes(written)
        (folder / "old.crl").write_bytes(self.ca.crl(now - timedelta(hours=1), now + timedelta(days=1)))
        (folder / "former.toml").write_text(LIST, encoding="utf-8")

    def file(self, who: str, *options: str) -> Path:
        """A customer's .p12 by openssl."""
        made = self.folder / f"{who}.p12"
        pair = ("-inkey", self.ca.path(f"{who}.key"), "-in", self.ca.path(f"{who}.pem"), "-name", "憑證")
        openssl("pkcs12", "-export", *pair, *options, "-passout", f"pass:{THEIRS}", "-out", str(made))
        return made

    def by_keytool(self, who: str) -> Path:
        """The same by Java's keytool."""
        made = self.folder / f"{who}-java.p12"
        source = ("-srckeystore", str(self.file(who)), "-srcstoretype", "PKCS12", "-srcstorepass", THEIRS)
        target = ("-destkeystore", str(made), "-deststoretype", "PKCS12", "-deststorepass", THEIRS)
        command = [str(program("keytool")), "-importkeystore", *source, *target, "-noprompt"]
        subprocess.run(command, check=True, capture_output=True)
        return made


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> OldFirm:
    """The old CA."""
    return OldFirm(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def counter(prepared: Prepared, firm: OldFirm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The demo's counter after the migration: certificates imported, the old CA's list taken."""
    data, former = tmp_path_factory.mktemp("migrated") / "data", firm.folder / "former.toml"
    shutil.copytree(prepared.folder, data)
    settings = Settings(mode="demo", data=data, port=prepared.port, former_issuers=former)
    apart(migrate(settings, firm.folder / "certificates.pem"))
    migrated, folder = Prepared(data, prepared.port), tmp_path_factory.mktemp("counter")
    with running(migrated, folder, CHOPMARK_FORMER_ISSUERS=str(former)) as started:
        yield started


async def migrate(settings: Settings, certificates: Path) -> None:
    assert await import_certificates(settings, [certificates], "alice", 5, (0, 0), None) == 0
    async with opened(settings) as services:
        jobs = {task.name: task.job for task in tasks(services)}
        for name in ("former-lists", "former-revoked"):
            await jobs[name]()


def begin(visitor: Visitor, who: str, file: Path) -> None:
    """Sign in, begin the renewal, and open the file in the page."""
    visitor.sign_in(who)
    visitor.apply("rekey", "file")
    form = visitor.step("key")
    visitor.page.locator("#old_file").set_input_files(file)
    visitor.page.locator("#old_passphrase").fill(THEIRS)
    visitor.secrets.update(secrets_of(file, THEIRS))
    visitor.private.add(THEIRS)
    visitor.passphrase = form.locator("[data-passphrase]").input_value()
    form.locator("#written_down").check()
    visitor.submit("key")


def test_a_customer_renews_with_a_file_of_the_old_ca_and_the_counter_shows_whose_it_was(
    counter: Counter, browser: Browser, firm: OldFirm, tmp_path: Path
) -> None:
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        visitor.sign_in(WHOLE)
        visitor.go("/certificates")
        visitor.see("舊憑證管理中心")
        visitor.see("請現在展延")
        visitor.look()
        begin(visitor, WHOLE, firm.file(WHOLE, "-certfile", firm.ca.path("ca.pem")))
        visitor.step("channel")
        visitor.to_review(("38", "10", "10"))
        visitor.look()
        visitor.finish(tmp_path / "new.p12")
        visitor.see("憑證展延完成")
        made = Opened.read(tmp_path / "new.p12", visitor.passphrase, tmp_path / "openssl")
        assert made.pair_fits()
        assert made.is_good()
        visitor.go("/certificates/inquiry")
        visitor.see("舊憑證管理中心")


def test_a_file_of_keytool_without_the_cas_certificate_proves_the_same(
    counter: Counter, browser: Browser, firm: OldFirm
) -> None:
    with Visitor.arrive(counter, browser, "en") as visitor:
        begin(visitor, ALONE, firm.file(WHOLE))
        visitor.see("", "it is the one of the certificate that The Old CA issued, serial number 1002")
        visitor.refused("This file holds another certificate:", "old_file")
        visitor.see("", "issued by The Old CA, valid until")
        visitor.see("", "Please choose the file of the certificate that The Old CA issued, serial number 1002")
        visitor.look()
        right = firm.by_keytool(ALONE)
        visitor.secrets.update(secrets_of(right, THEIRS))
        visitor.page.locator("#old_file").set_input_files(right)
        visitor.submit("key")
        visitor.step("channel")


def test_who_has_a_certificate_that_the_old_ca_has_revoked_is_told_to_apply(counter: Counter, browser: Browser) -> None:
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        visitor.sign_in(REVOKED)
        visitor.go("/certificates")
        visitor.see("您上一張憑證已廢止。重新申請後才能下單。")
        visitor.page.locator("main").locator("a.cm-primary[href*='operation=enrol']").wait_for()
        visitor.go("/certificates/apply?operation=rekey")
        visitor.see("您上一張憑證已廢止。重新申請後才能下單。")
