"""Every no of the API: RFC 9457, in the customer's language, naming the field; and never more than it should say."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chopmark.errors import Kind
from chopmark.store.idempotency import IN_FLIGHT_MS
from chopmark.web.i18n import Lang, Translator, load_catalogues
from chopmark.web.problems import STATUS, TITLES
from tests.web.counter import PERSON, URL, Answer, World, b64, errand

ALWAYS = {"type", "title", "status", "detail", "kind", "request_id"}
SOMETIMES = {"code", "field", "retry_after_s"}


def problem(answer: Answer) -> dict[str, Any]:
    """The problem, whose shape has been checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= ALWAYS
    assert set(body) <= ALWAYS | SOMETIMES
    assert body["status"] == answer.status_code
    assert body["type"] in {"about:blank", f"{URL}/problems/{body['kind']}"}
    assert body["detail"][-1] in ".?!。", body["detail"]
    assert body["title"]
    assert len(body["request_id"]) == 8
    assert str(body.get("retry_after_s", "")) == answer.headers.get("retry-after", "")
    return body


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
    world.step(minutes=11)
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
    return await order.start("replace", reason="lost")


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
    world.step(seconds=301)
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
    sick = world.with_doors(counter=Sick())
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
    assert world.doors.brand.hotline.zh in page.text


# Idempotency-Key ---------------------------------------------------------------------------------------------------


async def certificates(world: World) -> int:
    return len(await world.rows("SELECT serial FROM certificates"))


async def test_fifty_confirmations_at_once_under_one_key_make_one_certificate_and_fifty_equal_answers(
    world: World,
) -> None:
    """Reliability F11, I2, I42."""
    order = await (await errand(world, "C10001")).until("review", "rekey")
    before = await certificates(world)
    answers = await asyncio.gather(*(order.confirm(key="one") for _ in range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert await certificates(world) == before + 1
    again = await order.call(f"{order.path}/confirm", {"consent": "x"}, key="two")
    assert again.json()["certificate"] == answers[0].json()["certificate"]


async def test_fifty_confirmations_without_a_key_still_make_one_certificate(world: World) -> None:
    order = await (await errand(world, "C10001")).until("review", "rekey")
    before = await certificates(world)
    answers = await asyncio.gather(*(order.confirm() for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert await certificates(world) == before + 1


async def test_a_repeat_gets_the_first_answer_even_when_the_world_has_moved_on(world: World) -> None:
    order = await errand(world, "C10005")
    body = {"operation": "enrol", "account": order.person.account}
    first = await order.call("/orders", body, key="same")
    await order.call(f"{order.path}/cancel")
    again = await order.call("/orders", body, key="same")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len(await world.rows("SELECT id FROM orders WHERE customer = 'C10005'")) == 1


async def test_a_refusal_is_repeated_too_and_costs_nothing_again(world: World) -> None:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    right = await world.inbox_code(order.browser)
    body = {"code": f"{(int(right) + 1) % 1_000_000:06}"}
    answers = [await order.call(f"{order.path}/code", body, key="guess") for _ in range(8)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(422, answers[0].content)}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert (await order.call(f"{order.path}/code", {"code": right})).status_code == 200


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    order = await errand(world, "C10006")
    first, second = (part.split(") ")[1] for part in order.person.accounts.split(";"))
    assert (await order.call("/orders", {"operation": "rekey", "account": first}, key="k")).status_code == 201
    said = problem(await order.call("/orders", {"operation": "rekey", "account": second}, key="k"))
    assert (said["status"], said["code"]) == (409, "key_reused")


async def test_a_key_belongs_to_one_customer_and_one_address(world: World) -> None:
    one, other = await errand(world, "C10001"), await errand(world, "C10006")
    first = await one.call("/orders", {"operation": "rekey", "account": one.person.account}, key="k")
    second = await other.call("/orders", {"operation": "rekey", "account": other.person.account}, key="k")
    assert first.json()["id"] != second.json()["id"]
    assert (await one.call(f"{one.path}/nonce", key="k")).status_code == 200


@pytest.mark.parametrize("key", ["x" * 101, "a\tb"])
async def test_an_unusable_key_is_refused(world: World, key: str) -> None:
    order = await errand(world, "C10005")
    assert problem(await order.call("/orders", {"operation": "enrol", "account": order.person.account}, key=key))[
        "status"
    ] == (400)


async def test_a_request_in_flight_elsewhere_is_waited_for_and_then_refused(world: World) -> None:
    """The row of a node that is still at work: nobody does the same beside it."""
    order = await errand(world, "C10005")
    body = {"operation": "enrol", "account": order.person.account}
    sent = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    scope = "C10005:POST:/api/v1/orders"
    begun = await world.house.idempotency.begin(scope, "k", hashlib.sha256(sent).digest(), world.clock.now())
    assert begun is None
    said = problem(await order.call("/orders", body, key="k"))
    assert (said["status"], said["code"]) == (409, "in_flight")
    assert not await world.rows("SELECT id FROM orders WHERE customer = 'C10005'")
    world.step(seconds=IN_FLIGHT_MS // 1000 + 1)
    assert (await order.call("/orders", body, key="k")).status_code == 201, "its node has died: the repeat takes over"


# Nonsense ----------------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            "\x00",
            "\u202e49",
            "４９",
            "9" * 10_000,
            "A" * 26,
            "\ufeff",
            "'; DROP TABLE orders; --",
            "=cmd",
            "\ud83d",
            "\U0001f600",
        ]
    ),
)
MEMBERS = ["operation", "account", "key_home", "reason", "serial", "csr", "proof", "channel", "code", "year", "month"]
BODIES = st.one_of(
    WORDS,
    st.dictionaries(
        st.sampled_from([*MEMBERS, "day", "era", "consent", "customer", "factors", "x"]), WORDS, max_size=6
    ),
)
PATHS = [
    ("POST", ""),
    ("POST", "/nonce"),
    ("PUT", "/key"),
    ("POST", "/challenges"),
    ("POST", "/code"),
    ("POST", "/birth-date"),
    ("POST", "/confirm"),
    ("POST", "/prove"),
    ("POST", "/dispute"),
]
CALM = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fuzzed(path: str) -> st.SearchStrategy[Any]:
    """Bodies near the right one: a known good body with some members replaced, or nonsense."""
    known: dict[str, dict[str, Any]] = {
        "": {"operation": "rekey", "account": "F014000-0001001", "key_home": "file", "reason": None, "serial": None},
        "/key": {"csr": "AAAA", "proof": "AAAA", "old_certificate": None},
        "/challenges": {"channel": "mobile"},
        "/dispute": {"channel": "mobile"},
        "/code": {"code": "123456"},
        "/birth-date": {"year": "49", "month": "7", "day": "15", "era": "roc"},
        "/confirm": {"consent": "x"},
        "/prove": {"proof": "AAAA"},
    }
    good = known.get(path)
    if not good:
        return BODIES
    near = st.dictionaries(st.sampled_from(sorted(good)), WORDS, min_size=1, max_size=3).map(lambda some: good | some)
    return st.one_of(near, BODIES)


@pytest.mark.parametrize(("method", "path"), PATHS, ids=[path or "/orders" for _, path in PATHS])
async def test_no_body_whatever_makes_the_server_fail(world: World, method: str, path: str) -> None:
    """ASVS 2.2.1: wrong types, full width, bidi, NUL, huge; on an order that waits for a code."""
    order = await (await errand(world, "C10001")).until("code", "rekey")
    address = f"{order.path}{path}" if path else "/orders"

    @CALM
    @given(fuzzed(path))
    async def refuse(body: Any) -> None:
        answer = await order.browser.request(
            method,
            f"/api/v1{address}",
            content=json.dumps(body),
            headers={"x-csrftoken": order.browser.token, "Content-Type": "application/json"},
        )
        assert answer.status_code < 500, answer.text
        if answer.is_error:
            problem(answer)

    await refuse_all(refuse)


async def refuse_all(test: Any) -> None:
    """Run a Hypothesis test of a coroutine within this test's own loop."""
    inner = test.hypothesis.inner_test
    loop = asyncio.get_running_loop()

    def in_loop(body: Any) -> None:
        asyncio.run_coroutine_threadsafe(inner(body), loop).result(60)

    test.hypothesis.inner_test = in_loop
    await asyncio.to_thread(test)


DEEP = [b"[" * 30_000, b'{"code":' * 8_000, b'{"code":' + b"[" * 30_000 + b"]" * 30_000 + b"}"]
BROKEN = [b"", b"{", b"\xff\xfe", b'"\\ud800"', b'{"code":"\\ud800"}', b'{"code":"\\u0000"}', b"NaN", b"1e999", b"null"]


@pytest.mark.parametrize("content", DEEP + BROKEN, ids=range(len(DEEP + BROKEN)))
async def test_deep_and_broken_json_is_malformed(world: World, content: bytes) -> None:
    browser = await world.signed_in("C10001")
    for path in ("orders", f"orders/{'A' * 26}/code"):
        answer = await browser.request(
            "POST",
            f"/api/v1/{path}",
            content=content,
            headers={"x-csrftoken": browser.token, "Content-Type": "application/json"},
        )
        assert answer.status_code in {400, 404}, answer.text
        problem(answer)


async def test_a_body_without_a_stated_length_is_stopped_at_the_limit(world: World) -> None:
    browser, sent = await world.signed_in("C10001"), 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096
            assert sent < 1_000_000

    answer = await browser.request(
        "POST",
        "/api/v1/orders",
        content=endless(),
        headers={"x-csrftoken": browser.token, "Content-Type": "application/json"},
    )
    assert problem(answer)["status"] == 413
