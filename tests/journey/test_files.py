"""A renewal with whatever certificate file the customer has: other makers, other forms, other pass-phrases."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journey.openssl import Opened
from tests.journey.strangers import PASSPHRASE, Maker
from tests.journey.visitor import Visitor


def maker(visitor: Visitor, number: str, folder: Path) -> Maker:
    """Return a maker of this customer's files."""
    passphrase = visitor.counter.passphrase(number)
    visitor.private.update({passphrase, PASSPHRASE})
    visitor.secrets.update({passphrase.encode(), PASSPHRASE.encode()})
    return Maker(visitor.counter.p12(number), passphrase, folder)


def try_file(visitor: Visitor, file: Path, passphrase: str) -> None:
    """Choose a file, type its pass-phrase, and go on."""
    visitor.step("key")
    visitor.page.locator("#old_file").set_input_files(file)
    visitor.page.locator("#old_passphrase").fill(passphrase)
    visitor.submit("key")


def as_text(made: Path) -> Path:
    """Return the same file as Base64 text."""
    text = made.with_suffix(".pfx")
    text.write_bytes(base64.encodebytes(made.read_bytes()))
    return text


def with_a_line_end(made: Path) -> Path:
    """Return the same file with an octet after it."""
    made.write_bytes(made.read_bytes() + b"\n")
    return made


FORMS: list[tuple[str, Callable[[Maker], Path], str]] = [
    ("an empty pass-phrase", lambda m: m.openssl("empty.p12", ""), ""),
    ("no MAC", lambda m: m.openssl("bare.p12", PASSPHRASE, "-nomac"), PASSPHRASE),
    ("an octet after it", lambda m: with_a_line_end(m.openssl("more.p12", PASSPHRASE)), PASSPHRASE),
    ("Base64 text", lambda m: as_text(m.openssl("text.p12", PASSPHRASE)), PASSPHRASE),
    ("spaces around the pass-phrase", lambda m: m.openssl("spaced.p12", PASSPHRASE), f" {PASSPHRASE} "),
]


@pytest.mark.parametrize(("form", "make", "typed"), FORMS, ids=[name for name, _, _ in FORMS])
def test_the_old_certificate_signs_out_of_a_file_in_any_form(
    visitor: Visitor, tmp_path: Path, form: str, make: Callable[[Maker], Path], typed: str
) -> None:
    visitor.sign_in("C10001")
    visitor.apply("rekey")
    try_file(visitor, make(maker(visitor, "C10001", tmp_path)), typed)
    visitor.step("channel")
    expect(visitor.page.get_by_text("沒有防止更動的檢查碼")).to_have_count(1 if form == "no MAC" else 0)
    visitor.look()
    visitor.page.locator("details.cm-leave summary").click()
    visitor.submit("cancel")
    visitor.page.locator("[data-ended]").wait_for()


def test_a_file_that_cannot_be_opened_is_explained_with_the_next_step(visitor: Visitor, tmp_path: Path) -> None:
    visitor.sign_in("C10011")
    visitor.apply("rekey")
    files = maker(visitor, "C10011", tmp_path)
    try_file(visitor, files.openssl("camellia.p12", PASSPHRASE, "-keypbe", "CAMELLIA-256-CBC"), PASSPHRASE)
    visitor.refused("這個檔案以 Camellia-256-CBC 保護", "old_file")
    visitor.look()
    try_file(visitor, files.openssl("good.p12", PASSPHRASE), "ㄇㄅㄉˇ")
    visitor.refused("注音輸入狀態", "old_passphrase")
    try_file(visitor, files.openssl("good.p12", PASSPHRASE), "ｗｒｏｎｇ")
    visitor.refused("全形", "old_passphrase")
    try_file(visitor, files.openssl("good.p12", PASSPHRASE), "")
    visitor.refused("請輸入這個檔案的憑證密碼", "old_passphrase")
    archive = tmp_path / "certificate.zip"
    archive.write_bytes(b"PK\x03\x04and so on")
    try_file(visitor, archive, PASSPHRASE)
    visitor.refused("另一種檔案（ZIP）", "old_file")
    try_file(visitor, files.openssl("good.p12", PASSPHRASE), PASSPHRASE)
    visitor.step("channel")


def test_a_slow_file_says_so_and_can_be_stopped(visitor: Visitor, tmp_path: Path) -> None:
    visitor.sign_in("C10006")
    visitor.apply("rekey")
    slow = ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-iter", "2000000")
    made = maker(visitor, "C10006", tmp_path).openssl("slow.p12", PASSPHRASE, *slow)
    try_file(visitor, made, PASSPHRASE)
    expect(visitor.page.locator("[data-opening-bar]")).to_be_visible()
    visitor.see("最久可能需要一分鐘")
    visitor.look()
    visitor.press("停止開啟")
    visitor.refused("已經停止", "old_file")


def test_a_file_that_is_only_said_to_be_there_keeps_the_old_certificate_and_can_be_saved_another_way(
    visitor: Visitor, tmp_path: Path
) -> None:
    visitor.sign_in("C10006")
    visitor.apply("rekey", "browser")
    visitor.step("key")
    visitor.page.locator("details[data-place] summary").click()
    visitor.submit("place")
    visitor.page.locator("[data-passphrase]").wait_for()
    visitor.make_key("C10006")
    visitor.to_review(("69", "8", "8"))
    visitor.agree()
    visitor.confirm()
    visitor.step("install").locator("#passphrase").fill(visitor.passphrase)
    visitor.look()
    visitor.save(tmp_path / "lost.p12")
    visitor.page.locator("[data-other-ways] summary").click()
    visitor.press("複製成文字")
    expect(visitor.page.locator("[data-as-text]")).to_have_value(re.compile("^-----BEGIN PKCS12-----\n"))
    visitor.look()
    visitor.press("檔案已經在我手上")
    visitor.page.locator("[data-done]").wait_for()
    visitor.see("您的舊憑證會保留到")
    visitor.see("憑證已經生效")
    visitor.look()
    visitor.page.locator("#new_file").set_input_files(tmp_path / "lost.p12")
    visitor.page.locator("#new_passphrase").fill(visitor.passphrase)
    visitor.submit("arrival")
    visitor.see("舊憑證已由這張新憑證取代")
    expect(visitor.page.locator("#new_file")).to_have_count(0)


def test_a_file_is_named_as_the_trading_program_asks_and_where_it_never_comes_the_browser_keeps_the_certificate(
    visitor: Visitor, tmp_path: Path
) -> None:
    visitor.sign_in("C10001")
    visitor.go("/certificates/apply?operation=rekey")
    visitor.see("新憑證的效期從今天起算")
    visitor.apply("rekey", "file")
    visitor.make_key("C10001")
    visitor.to_review(("49", "7", "15"))
    visitor.see("新憑證的效期從今天起算")
    visitor.agree()
    visitor.confirm()
    visitor.step("install").locator("#passphrase").fill(visitor.passphrase)
    visitor.page.locator("#ending").select_option("pfx")
    with visitor.page.expect_download() as download:
        visitor.submit("install")
    assert re.fullmatch(r"certificate-[0-9A-F]{8}\.pfx", download.value.suggested_filename)
    download.value.save_as(tmp_path / "kept.pfx")
    assert Opened.read(tmp_path / "kept.pfx", visitor.passphrase, tmp_path / "openssl").is_good()
    visitor.page.locator("[data-other-ways] summary").click()
    visitor.look()
    visitor.press("改存放在這個瀏覽器")
    visitor.page.locator("[data-done]").wait_for()
    visitor.see("舊憑證已由這張新憑證取代")
    visitor.go("/certificates/inquiry")
    visitor.see("在這台電腦的這個瀏覽器；若您已存檔，也在憑證檔")
