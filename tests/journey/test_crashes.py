"""The browser, an answer, the server, the worker breaks in the middle: the order goes on, nothing is done twice."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, Route, expect

from tests.journey.chromium import ARGUMENTS
from tests.journey.counter import Counter
from tests.journey.visitor import Visitor

PASSED = ".cm-result"


@contextmanager
def profile(counter: Counter, browser: Browser, chromium: Path, folder: Path) -> Iterator[Visitor]:
    """Give a visitor whose browser keeps its profile in a folder, as a browser at home does."""
    context = browser.browser_type.launch_persistent_context(
        folder, executable_path=str(chromium), args=ARGUMENTS, locale="zh-TW", base_url=counter.url
    )
    with Visitor.in_context(counter, context, "zh-TW") as visitor:
        yield visitor


def key_in(body: bytes | None) -> bytes:
    """Return the public key of the request that a page sends."""
    encoded = json.loads(body or b"{}")["csr"]
    request = x509.load_der_x509_csr(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def unsent(visitor: Visitor) -> bytes:
    """Make a key whose request never leaves the browser, and return its public half."""
    visitor.page.route("**/key", lambda route: route.abort())
    with visitor.page.expect_event("requestfailed", lambda request: request.url.endswith("/key")) as failed:
        visitor.submit("key")
    return key_in(failed.value.post_data_buffer)


def resume(visitor: Visitor, number: str) -> None:
    """Sign in and go on with the open order."""
    visitor.sign_in(number)
    visitor.go("/certificates")
    visitor.page.locator("main a.cm-primary").click()
    visitor.page.wait_for_url("**/orders/**")


def test_a_browser_closed_before_its_key_was_sent_goes_on_with_the_same_key(
    counter: Counter, browser: Browser, chromium: Path, tmp_path: Path
) -> None:
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        visitor.sign_in("C10005")
        visitor.apply("enrol")
        order = visitor.order
        visitor.step("key")
        first = unsent(visitor)
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        resume(visitor, "C10005")
        assert visitor.order == order
        visitor.step("key")
        with visitor.page.expect_request("**/key") as sent:
            visitor.submit("key")
        assert key_in(sent.value.post_data_buffer) == first
        reference = visitor.send_code()
        message = visitor.message(reference)
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        resume(visitor, "C10005")
        assert (visitor.reference(), visitor.order) == (reference, order)
        assert visitor.message(reference) == message
        visitor.enter(visitor.code(reference))
        visitor.page.locator(PASSED).wait_for()
        visitor.go_on()
        visitor.birth_date("38", "10", "10")
        visitor.agree()
        visitor.confirm()
        visitor.step("install")
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        resume(visitor, "C10005")
        assert visitor.order == order
        visitor.install()
        visitor.see("憑證申請完成")


def test_a_file_key_made_before_the_browser_closed_opens_with_the_pass_phrase_written_down(
    counter: Counter, browser: Browser, chromium: Path, tmp_path: Path
) -> None:
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        visitor.sign_in("C10017")
        visitor.apply("enrol", "file")
        form = visitor.step("key")
        passphrase = form.locator("#passphrase").input_value()
        form.locator("#written_down").check()
        first = unsent(visitor)
    with profile(counter, browser, chromium, tmp_path / "profile") as visitor:
        resume(visitor, "C10017")
        form = visitor.step("key")
        visitor.see("這個瀏覽器已經為這次申請產生了金鑰。")
        visitor.look()
        form.locator("#passphrase").fill("another-pass-phrase")
        visitor.submit("key")
        visitor.refused("這不是這次申請所用的憑證密碼。", "passphrase")
        form.locator("#passphrase").fill(passphrase)
        with visitor.page.expect_request("**/key") as sent:
            visitor.submit("key")
        assert key_in(sent.value.post_data_buffer) == first
        visitor.step("channel")
        visitor.secrets.add(passphrase.encode())


def lose(route: Route) -> None:
    """Let the request be done, and lose its answer with the cookie in it."""
    context = route.request.frame.page.context
    before = {cookie.get("name", ""): cookie.get("value", "") for cookie in context.cookies()}
    route.fetch()
    context.add_cookies([{"name": "chopmark", "value": before["chopmark"], "domain": "localhost", "path": "/"}])
    route.abort()


def test_lost_answers_do_nothing_twice(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10001")
    visitor.apply("rekey")
    for answer in ("key", "challenges", "code", "confirm", "prove"):
        page.route(f"**/api/v1/orders/*/{answer}", lose, times=1)
    visitor.step("key")
    visitor.open_old("C10001")
    visitor.submit("key")
    visitor.refused("沒有收到回應。")
    visitor.look()
    visitor.press("再試一次")
    visitor.step("channel")
    visitor.submit("channel")
    visitor.refused("沒有收到回應。")
    visitor.press("再試一次")
    visitor.enter(visitor.code(visitor.reference()))
    visitor.refused("沒有收到回應。")
    visitor.press("再試一次")
    page.locator(PASSED).wait_for()
    visitor.go_on()
    visitor.birth_date("49", "7", "15")
    visitor.agree()
    visitor.confirm()
    visitor.refused("沒有收到回應。")
    page.reload()
    visitor.step("install")
    visitor.see("新憑證已經核發")
    visitor.submit("install")
    visitor.refused("沒有收到回應。")
    page.reload()
    page.locator("[data-done]").wait_for()
    visitor.see("憑證展延完成")
    visitor.go("/certificates/inquiry")
    expect(page.locator(".cm-history__item")).to_have_count(1)


def test_a_server_killed_between_the_steps_and_started_again_goes_on_with_the_order(visitor: Visitor) -> None:
    counter, page = visitor.counter, visitor.page
    visitor.sign_in("C10006")
    visitor.apply("rekey")
    visitor.make_key("C10006")
    order, reference = visitor.order, visitor.send_code()
    code = visitor.code(reference)
    counter.kill("server")
    visitor.enter(code)
    visitor.refused("沒有收到回應。")
    expect(page.locator("#code")).to_have_value(code)
    counter.start("server")
    counter.ready()
    visitor.press("再試一次")
    page.locator(PASSED).wait_for()
    visitor.go_on()
    visitor.birth_date("69", "8", "8")
    visitor.agree()
    visitor.confirm()
    visitor.step("install")
    counter.kill("server")
    visitor.submit("install")
    visitor.refused("沒有收到回應。")
    counter.start("server")
    counter.ready()
    visitor.press("再試一次")
    page.locator("[data-done]").wait_for()
    assert visitor.order == order


def test_a_code_asked_for_while_the_worker_is_dead_comes_when_there_is_a_worker_again(visitor: Visitor) -> None:
    counter = visitor.counter
    visitor.sign_in("C10011")
    visitor.apply("rekey")
    visitor.make_key("C10011")
    counter.kill("worker")
    reference = visitor.send_code()
    counter.start("worker")
    visitor.enter(visitor.code(reference))
    visitor.page.locator(PASSED).wait_for()
