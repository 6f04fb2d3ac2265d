"""Bodies that no honest program sends: never more than a refusal (ASVS 5.0 2.2.1; reliability I41, F47)."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chopmark.core.refusal import Refused
from chopmark.web.api.wire import from_b64
from tests.web.counter import World, errand, problem

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
NOT_UTF8 = [b'"\xff"', b'{"code":"\xff"}', b'{"\xff":"123456"}', b'{"code":"\xed\xa0\x80"}']
"""A string that is no UTF-8, as a value, as a name, and a surrogate by itself (RFC 8259 s.8.1)."""


@pytest.mark.parametrize("content", DEEP + BROKEN + NOT_UTF8, ids=range(len(DEEP + BROKEN + NOT_UTF8)))
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


@pytest.mark.parametrize("given", ["AA\nAA", "AA AA", "AAAA\0", "AA=AA", "ＡＡＡＡ", "A"])
def test_what_is_no_base64_is_not_passed_over(given: str) -> None:
    """RFC 4648 s.3.3; programs may pad, and may write + and / of the other alphabet."""
    with pytest.raises(Refused) as refused:
        from_b64(given, "csr")
    assert refused.value.refusal.field == "csr"
    assert from_b64("-_-_", "csr") == from_b64("+/+/==", "csr") == b"\xfb\xff\xbf"


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
