"""Every no of the API: RFC 9457, in the customer's language, naming the field; and never more than it should say."""

from collections.abc import Awaitable, Callable

import pytest

from chopmark.core.refusal import Kind
from chopmark.web.i18n import Lang, Translator, load_catalogues
from chopmark.web.problems import STATUS, TITLES
from tests.web.counter import PERSON, Answer, World, b64, errand, problem


def test_every_kind_of_refusal_has_a_status_and_a_title_in_both_languages() -> None:
    assert set(STATUS) == set(Kind)
    assert set(TITLES) == set(Kind)
    assert set(STATUS.values()) <= {400, 401, 403, 404, 409, 410, 413, 422, 423, 429, 503}
    translator = Translator(load_catalogues())
    for title in TITLES.values():
        assert translator.translate(title, Lang.ZH_TW) != translator.translate(title, Lang.EN)


Refusing = Callable[[World], Awaitable[Answer]]
REFUSALS: dict[str, tuple[Refusing, int, str, str | None]] = {}


def refusal(status: int, kind: str, field: str | None = None) -> Callable[[Refusing], Refusing]:
    def remember(make: Refusing) -> Refusing:
        REFUSALS[make.__name__] = (make, status, kind, field)
        return make

    return remember


@refusal(401, "unauthenticated")
async def nobody_is_signed_in(world: World) -> Answer:
    return await world.browser().get("/api/v1/overview")


@refusal(401, "unauthenticated")
async def the_session_has_ended(world: World) -> Answer:
    browser = await world.signed_in("C10001")
    world.clock.later(minutes=11)
    return await browser.get("/api/v1/overview")


@refusal(401, "unauthenticated")
async def a_client_credential_is_wrong(world: World) -> Answer:
    body = {"customer": "C10001", "account": "F014000-0001001", "factors": ["password"]}
    return await world.browser().request("POST", "/api/v1/launches", json=body, auth=("demo-trading", "wrong"))


@refusal(403, "forbidden")
async def the_form_token_is_missing(world: World) -> Answer:
    return await (await world.signed_in("C10001")).request("POST", "/api/v1/orders", json={})


@refusal(403, "forbidden", "operation")
async def it_is_too_early_to_renew(world: World) -> Answer:
    return await (await errand(world, "C10002")).start("rekey")


@refusal(403, "forbidden", "operation")
async def there_is_nothing_to_replace(world: World) -> Answer:
    return await (await errand(world, "C10005")).start("replace", reason="lost")


@refusal(400, "malformed", "reason")
async def a_replacement_without_a_reason(world: World) -> Answer:
    return await (await errand(world, "C10002")).start("replace")


@refusal(400, "malformed", "operation")
async def an_operation_that_does_not_exist(world: World) -> Answer:
    return await (await errand(world, "C10002")).start("steal")


@refusal(404, "not_found", "account")
async def somebody_elses_account(world: World) -> Answer:
    return await (await errand(world, "C10001")).start("rekey", account=PERSON["C10002"].account)


@refusal(404, "not_found")
async def an_order_that_does_not_exist(world: World) -> Answer:
    return await (await world.signed_in("C10001")).get(f"/api/v1/orders/{'A' * 26}")


@refusal(404, "not_found", "serial")
async def a_certificate_that_does_not_exist(world: World) -> Answer:
    return await (await world.signed_in("C10001")).get("/api/v1/certificates/01")


@refusal(404, "not_found")
async def an_address_that_does_not_exist(world: World) -> Answer:
    return await world.browser().get("/api/v1/nothing")


@refusal(405, "not_found")
async def another_method(world: World) -> Answer:
    browser = await world.signed_in("C10001")
    return await browser.request("DELETE", "/api/v1/orders", headers={"x-csrftoken": browser.token})


@refusal(409, "step_required")
async def a_step_too_far(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    return await order.call(f"{order.path}/confirm", {"consent": "x"})


@refusal(409, "step_required")
async def a_code_before_one_was_sent(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    return await order.call(f"{order.path}/code", {"code": "123456"})


@refusal(409, "conflict", "consent")
async def terms_that_were_not_shown(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("review", "rekey")
    return await order.call(f"{order.path}/confirm", {"consent": "x"})


@refusal(409, "conflict")
async def another_order_is_open(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    return await order.start("replace", reason="new_device")


@refusal(409, "conflict")
async def an_order_that_was_cancelled(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    await order.call(f"{order.path}/cancel")
    return await order.call(f"{order.path}/challenges", {"channel": "mobile"})


@refusal(422, "bad_key", "csr")
async def a_request_that_is_no_csr(world: World) -> Answer:
    order = await (await errand(world, "C10005")).until("key", "enrol")
    return await order.call(f"{order.path}/key", {"csr": b64(b"hello")}, "PUT")


@refusal(400, "malformed", "csr")
async def a_request_that_is_no_base64(world: World) -> Answer:
    order = await (await errand(world, "C10005")).until("key", "enrol")
    return await order.call(f"{order.path}/key", {"csr": "中"}, "PUT")


@refusal(422, "bad_proof", "proof")
async def a_renewal_without_the_old_key(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("key", "rekey")
    return await order.call(f"{order.path}/key", {"csr": b64(order.key.request())}, "PUT")


@refusal(422, "wrong_code", "code")
async def a_wrong_code(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    right = await world.inbox_code(order.browser)
    return await order.call(f"{order.path}/code", {"code": f"{(int(right) + 1) % 1_000_000:06}"})


@refusal(400, "malformed", "code")
async def a_code_with_a_letter(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    return await order.call(f"{order.path}/code", {"code": "12345O"})


@refusal(410, "code_dead", "code")
async def a_code_that_is_too_old(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    code = await world.inbox_code(order.browser)
    world.clock.later(seconds=301)
    return await order.call(f"{order.path}/code", {"code": code})


@refusal(429, "too_many")
async def a_second_code_at_once(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    return await order.call(f"{order.path}/challenges", {"channel": "mobile"})


@refusal(422, "wrong_birth_date", "year")
async def a_wrong_birth_date(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("birth_date", "rekey")
    return await order.call(f"{order.path}/birth-date", {"year": "50", "month": "7", "day": "15"})


@refusal(400, "malformed", "month")
async def a_month_that_does_not_exist(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("birth_date", "rekey")
    return await order.call(f"{order.path}/birth-date", {"year": "49", "month": "13", "day": "15"})


@refusal(423, "held")
async def too_many_wrong_birth_dates(world: World) -> Answer:
    order = await (await errand(world, "C10001")).until("birth_date", "rekey")
    for _ in range(2):
        answer = await order.call(f"{order.path}/birth-date", {"year": "50", "month": "7", "day": "15"})
        assert answer.status_code == 422
    return await order.call(f"{order.path}/birth-date", {"year": "50", "month": "7", "day": "15"})


@refusal(413, "too_large")
async def a_body_larger_than_anything_legitimate(world: World) -> Answer:
    browser = await world.signed_in("C10001")
    return await browser.api("/orders", {"operation": "rekey", "account": "x" * 70_000})


@pytest.mark.parametrize("name", sorted(REFUSALS))
async def test_a_refusal_is_a_whole_problem(world: World, name: str) -> None:
    make, status, kind, field = REFUSALS[name]
    said = problem(await make(world))
    assert (said["status"], said["kind"], said.get("field")) == (status, kind, field)


def test_the_refusals_above_cover_every_kind_but_the_unavailable() -> None:
    assert {kind for _, _, kind, _ in REFUSALS.values()} == {kind.value for kind in Kind} - {"unavailable"}


async def test_the_sentence_is_in_the_callers_language(world: World) -> None:
    order = await errand(world, "C10002")
    said = {}
    for lang in ("zh-TW", "en"):
        answer = await order.browser.api("/orders", {"operation": "rekey", "account": order.person.account}, lang=lang)
        said[lang] = problem(answer)
    assert said["en"]["detail"].startswith("Your certificate is in order. You can renew it from ")
    assert said["zh-TW"]["detail"] != said["en"]["detail"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in said["zh-TW"]["detail"] + said["zh-TW"]["title"])


async def test_waiting_times_are_told_in_the_header_too(world: World) -> None:
    answer = await a_second_code_at_once(world)
    assert answer.headers["retry-after"] == str(problem(answer)["retry_after_s"])
    assert 0 < problem(answer)["retry_after_s"] <= 60


class Sick:
    """A part that fails with something nobody should read."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("secret-of-the-house SELECT * FROM passwords")


async def test_a_bug_is_answered_with_a_number_and_nothing_of_its_cause(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = world.with_web(customer_queries=Sick())
    browser = await sick.signed_in("C10001")
    answer = await browser.get("/api/v1/overview")
    said = problem(answer)
    assert said["status"] == 500
    page = await browser.get("/certificates")
    assert page.status_code == 500
    assert page.headers["content-type"].startswith("text/html")
    for text in (answer.text, page.text, capsys.readouterr().out):
        for leak in ("secret-of-the-house", "SELECT", "Traceback", "RuntimeError(", ".py"):
            assert leak not in text
    assert world.web_services.brand.hotline.zh in page.text
