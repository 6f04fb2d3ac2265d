"""The EST door as its clients see it: statuses, types, limits, and sentences (RFC 7030, 8951)."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from chopmark.app.web import est_interface
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.program import ProgramEnrolment
from chopmark.web.est.client_certificate import from_proxy, from_tls
from chopmark.web.est.service import STATUS, Est
from tests.web.counter import PERSON, Errand, World, errand, problem

ROOT = "/.well-known/est/"
URL = "https://est.example.com"
TYPE = {"Content-Type": "application/pkcs10"}
Answer = httpx2.Response


def door(world: World, *, proxy: bool = True) -> Est:
    """The EST interface as it is behind its proxy, or ending TLS itself."""
    made = est_interface(world.services).services
    return Est(replace(made, certificate_of=from_proxy if proxy else from_tls))


def transport(made: Any) -> httpx2.ASGITransport:
    return httpx2.ASGITransport(made)


async def ask(made: Est, operation: str, method: str = "POST", **extra: Any) -> Answer:
    headers = {"Accept-Language": "en", **extra.pop("headers", {})}
    path = operation if operation.startswith("/") else ROOT + operation
    async with httpx2.AsyncClient(transport=transport(made), base_url=URL) as client:
        return await client.request(method, path, headers=headers, **extra)


def body(key: ClientKey | None = None) -> bytes:
    return base64.b64encode((key or ClientKey.generate()).request())


def escaped(der: bytes) -> str:
    """As nginx's $ssl_client_escaped_cert has it."""
    return quote(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(), safe="")


async def program(world: World) -> tuple[Errand, tuple[str, str]]:
    """A customer whose order waits for a program's key, and the credential that the portal gave."""
    order = await errand(world.with_web(est_url=URL), "C10003")
    await order.start("enrol", key_home="helper")
    answer = await order.browser.api(f"{order.path}/credential")
    assert answer.status_code == 201, answer.text
    given = answer.json()
    assert (given["url"], given["user"], given["expires_in_s"]) == (URL, order.order["id"], 600)
    return order, (given["user"], given["password"])


def test_every_kind_of_refusal_has_a_status_of_http() -> None:
    assert set(STATUS) == set(Kind)
    assert all(400 <= status < 600 for status in STATUS.values())


REQUESTS: tuple[tuple[str, str, Mapping[str, Any], int], ...] = (
    ("GET", "cacerts", {}, 200),
    ("GET", "investor/cacerts", {}, 200),
    ("GET", "csrattrs", {}, 200),
    ("GET", "another/cacerts", {}, 404),
    ("GET", "", {}, 404),
    ("GET", "/", {}, 404),
    ("GET", "/sign-in", {}, 404),
    ("POST", "serverkeygen", {"headers": TYPE, "content": b"MAA="}, 404),
    ("POST", "fullcmc", {}, 404),
    ("POST", "cacerts", {}, 405),
    ("PUT", "csrattrs", {}, 405),
    ("GET", "simpleenroll", {}, 405),
    ("GET", "simplereenroll", {}, 405),
    ("POST", "simpleenroll", {"headers": TYPE, "content": b"MAA="}, 401),
    ("POST", "simpleenroll", {"headers": {**TYPE, "Authorization": "Bearer x"}, "content": b"MAA="}, 401),
    ("POST", "simpleenroll", {"headers": {**TYPE, "Authorization": "Basic ?"}, "content": b"MAA="}, 401),
    ("POST", "simpleenroll", {"headers": {**TYPE, "Authorization": "Basic bm9jb2xvbg=="}}, 401),
    ("POST", "simpleenroll", {"headers": TYPE, "content": b"MAA=", "auth": ("A" * 26, "guess")}, 401),
    ("POST", "simpleenroll", {"headers": TYPE, "content": b"MAA=", "auth": ("' OR 1=1", "\x00")}, 401),
    ("POST", "simpleenroll", {"auth": ("A", "b"), "content": b"MAA="}, 415),
    ("POST", "simpleenroll", {"auth": ("A", "b"), "headers": {"Content-Type": "text/plain"}}, 415),
    ("POST", "simpleenroll", {"auth": ("A", "b"), "headers": TYPE, "content": b""}, 400),
    ("POST", "simpleenroll", {"auth": ("A", "b"), "headers": TYPE, "content": b"-----BEGIN\nMAA="}, 400),
    ("POST", "simpleenroll", {"auth": ("A", "b"), "headers": TYPE, "content": b"A" * 16385}, 413),
    ("POST", "simplereenroll", {"headers": TYPE, "content": b"MAA="}, 403),
    ("POST", "simplereenroll", {"headers": {**TYPE, "X-Client-Certificate": "junk"}, "content": b"MAA="}, 400),
)


async def test_each_request_gets_its_status(world: World) -> None:
    made = door(world)
    for method, path, extra, status in REQUESTS:
        answer = await ask(made, path, method, **extra)
        assert answer.status_code == status, (method, path, extra)
        assert answer.headers["cache-control"] == "no-store"
        assert "content-transfer-encoding" not in answer.headers
        assert answer.headers.get("allow") in ({"GET", "POST"} if status == 405 else {None})
        asked = answer.headers.get("www-authenticate", "")
        assert asked.startswith('Basic realm="') is (status == 401), (method, path, extra)
        if status >= 400 and answer.content:
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.text.endswith(".")


async def test_an_answer_of_the_first_edition_says_that_it_is_base64(world: World) -> None:
    for operation in ("cacerts", "csrattrs"):
        answer = await ask(door(world), f"rfc7030/{operation}", "GET")
        assert answer.headers["content-transfer-encoding"] == "base64"
        base64.b64decode(answer.content, validate=True)


async def test_a_program_waits_until_its_customer_has_approved(world: World) -> None:
    order, credential = await program(world)
    est, sent = door(world), body(order.key)
    how: dict[str, Any] = {"auth": credential, "content": sent}
    waiting = await ask(est, "simpleenroll", headers=TYPE, **how)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "15")
    assert f"Your key {order.key.words} has arrived." in waiting.text
    quiet = await ask(est, "rfc7030/simpleenroll", headers=TYPE, **how)
    assert (quiet.status_code, quiet.content, quiet.headers["retry-after"]) == (202, b"", "15")
    await order.call(order.path, method="GET")
    assert (order.order["next"], order.order["spki_sha256"]) == ("possession", order.key.spki_sha256.hex())
    for step in (order.name_key, order.send_code, order.enter_code, order.enter_birth_date, order.confirm):
        assert (await ask(est, "simpleenroll", headers=TYPE, **how)).status_code == 202
        assert (await step()).is_success
    made = await ask(est, "simpleenroll", headers={**TYPE, "Content-Transfer-Encoding": "quoted-printable"}, **how)
    assert made.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(made.content, validate=True))
    der = certificate.public_bytes(Encoding.DER)
    own = {**TYPE, "X-Client-Certificate": escaped(der)}
    proved = await ask(est, "simplereenroll", headers=own, content=sent)
    assert (proved.status_code, proved.content) == (200, made.content)
    await order.call(order.path, method="GET")
    assert (order.order["state"], order.order["next"]) == ("active", "done")


async def test_a_credential_is_never_kept_for_a_repeated_request(world: World) -> None:
    order, (_, first) = await program(world)
    answer = await order.browser.api(f"{order.path}/credential", key="again")
    second = answer.json()["password"]
    repeated = await order.browser.api(f"{order.path}/credential", key="again")
    assert len({first, second, repeated.json()["password"]}) == 3
    kept = repr(await world.rows("SELECT * FROM idempotency"))
    assert first not in kept
    assert second not in kept


async def test_a_firm_without_the_door_gives_no_credential(world: World) -> None:
    browser = await world.signed_in("C10003")
    asked = {"operation": "enrol", "account": PERSON["C10003"].account, "key_home": "helper"}
    refused = problem(await browser.api("/orders", asked, key="a-program"))
    assert (refused["status"], refused["code"]) == (400, "no_programs")
    order = await errand(world.with_web(est_url=URL), "C10003")
    await order.start("enrol", key_home="helper")
    shut = await world.signed_in("C10003")
    assert problem(await shut.api(f"{order.path}/credential"))["code"] == "no_est"


async def test_a_program_is_told_in_its_customer_s_language(world: World) -> None:
    order, credential = await program(world)
    await order.call(f"{order.path}/cancel")
    made = door(world)
    how: dict[str, Any] = {"auth": credential, "content": body()}
    english = await ask(made, "simpleenroll", headers=TYPE, **how)
    chinese = await ask(made, "simpleenroll", headers={**TYPE, "Accept-Language": "zh-TW"}, **how)
    assert (english.status_code, english.text) == (409, "This order was cancelled. Please start again.")
    assert (chinese.status_code, chinese.text.isascii()) == (409, False)


async def test_a_door_that_ends_tls_itself_believes_no_header(world: World) -> None:
    _, certificate = world.old_key("C10001")
    headers = {**TYPE, "X-Client-Certificate": escaped(certificate)}
    behind = await ask(door(world), "simplereenroll", headers=headers, content=body())
    itself = await ask(door(world, proxy=False), "simplereenroll", headers=headers, content=body())
    assert "begin the renewal at the portal" in behind.text
    assert "has not shown it" in itself.text


async def test_two_certificates_in_the_header_are_none(world: World) -> None:
    _, certificate = world.old_key("C10001")
    name = escaped(certificate)
    headers = [*TYPE.items(), ("X-Client-Certificate", name), ("X-Client-Certificate", name)]
    async with httpx2.AsyncClient(transport=transport(door(world)), base_url=URL) as client:
        answer = await client.post(ROOT + "simplereenroll", headers=headers, content=body())
    assert answer.status_code == 400


async def test_the_portal_has_no_est_door_of_its_own(world: World) -> None:
    _, certificate = world.old_key("C10001")
    browser = world.browser()
    headers = {**TYPE, "X-Client-Certificate": escaped(certificate)}
    for method, operation in (("GET", "cacerts"), ("POST", "simplereenroll"), ("POST", "simpleenroll")):
        answer = await browser.request(method, ROOT + operation, headers=headers, content=body())
        assert answer.status_code in {403, 404}, operation


class Away:
    """A desk whose database cannot be reached."""

    async def reenrol(self, *_: object) -> None:
        raise Refused(Refusal(Kind.UNAVAILABLE, text("The database is not available."), retry_after_s=5))


async def test_a_store_that_is_away_is_said_with_when_to_come_again(world: World) -> None:
    made = Est(replace(door(world).services, program=cast("ProgramEnrolment", Away())))
    headers = {**TYPE, "X-Client-Certificate": escaped(world.old_key("C10001")[1])}
    answer = await ask(made, "simplereenroll", headers=headers, content=body())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
