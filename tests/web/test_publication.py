"""Status for relying parties over HTTP: OCSP (RFC 6960 appendix A, RFC 9654), CRLs and CA certificates (RFC 5280)."""

import base64
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.web.counter import URL, Answer, World

OCSP = "/ocsp/investor"
TYPE = "application/ocsp-response"


@dataclass
class Known:
    """A certificate and its issuer."""

    record: x509.Certificate
    issuer: x509.Certificate

    def request(self, nonce: bytes | None = None) -> bytes:
        """An OCSP request of another library."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(self.record, self.issuer, hashes.SHA1())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)


@pytest.fixture
def known(world: World) -> Known:
    _, record = world.old_key("C10002")
    issuer = world.web_services.publication.authorities[0].certificate
    return Known(x509.load_der_x509_certificate(record), x509.load_der_x509_certificate(issuer))


def read(answer: Answer) -> ocsp.OCSPResponse:
    assert answer.headers["content-type"] == TYPE
    return ocsp.load_der_ocsp_response(answer.content)


async def post(world: World, content: bytes) -> Answer:
    return await world.browser().request(
        "POST", OCSP, content=content, headers={"Content-Type": "application/ocsp-request"}
    )


async def test_a_posted_request_is_answered_and_never_cached(world: World, known: Known) -> None:
    answer = await post(world, known.request())
    said = read(answer)
    assert said.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert said.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert said.serial_number == known.record.serial_number
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("quote", ["all", "some", "none"])
async def test_a_request_in_the_address_is_answered_however_its_base64_is_escaped(
    world: World, known: Known, quote: str
) -> None:
    """RFC 6960 A.1 escapes +, / and =; clients exist that escape less."""
    text = base64.b64encode(known.request(nonce=b"\xfb\xff\xbe" * 8)).decode()
    assert "+" in text
    assert "/" in text
    escaped = {"all": urllib.parse.quote(text, safe=""), "some": urllib.parse.quote(text, safe="/"), "none": text}[
        quote
    ]
    answer = await world.browser().get(f"{OCSP}/{escaped}")
    assert read(answer).certificate_status is ocsp.OCSPCertStatus.GOOD


def collapsed(text: str) -> str:
    return re.sub("/+", "/", text)


def base64url(text: str) -> str:
    return text.translate(str.maketrans("+/", "-_"))


@pytest.mark.parametrize("before", ["/ocsp/investor/", "//ocsp/investor/", "/ocsp//investor/", "/ocsp/investor//"])
@pytest.mark.parametrize(
    "how",
    [collapsed, lambda text: text.replace("+", "%20"), lambda text: text.rstrip("="), base64url],
    ids=["collapsed", "space", "unpadded", "url"],
)
async def test_what_proxies_and_clients_make_of_the_address_is_understood(
    world: World, known: Known, before: str, how: Callable[[str], str]
) -> None:
    text = base64.b64encode(known.request(nonce=b"n" * 16 + b"\xff" * 4 + b"\xfb\xef\xbe" * 2)).decode()
    assert "//" in text
    assert "+" in text
    answer = await raw_get(world, f"{before}{how(text)}")
    said = read(answer)
    assert said.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert said.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert said.serial_number == known.record.serial_number


async def raw_get(world: World, path: str) -> Answer:
    """Ask with the path as it stands: a client library would tidy slashes away."""
    return await world.browser().client.get(httpx2.URL(URL).copy_with(raw_path=path.encode()))


async def test_of_several_readings_the_certificate_on_record_is_meant(world: World, known: Known) -> None:
    """A serial in whose base64 slashes stand alone and in a row: only the records know which of them were two."""
    responder = world.web_services.publication.responders["investor"]
    right = known.request()
    others = [right[:-1] + bytes((right[-1] ^ change,)) for change in range(1, 5)]
    assert await responder.likeliest([*others, right]) == right
    assert await responder.likeliest([*others, b"nonsense", right]) == right
    assert await responder.likeliest([b"nonsense", right]) == right
    assert await responder.likeliest([b"nonsense"]) == b"nonsense"
    assert await responder.likeliest([]) is None


async def test_a_list_and_a_certificate_are_found_behind_slashes_too_many(world: World) -> None:
    for path in ("//pki/investor.cer", "/pki//investor.cer", "//pki//investor-0.crl"):
        assert (await raw_get(world, path)).status_code == 200, path


async def test_a_cache_may_keep_an_answer_for_seconds_and_never_past_its_life(world: World, known: Known) -> None:
    """RFC 9919 s.6.2 (RFC 5019): Last-Modified, Expires and ETag go with a GET; Date is the server's."""
    path = urllib.parse.quote(base64.b64encode(known.request()).decode(), safe="")
    answer = await world.browser().get(f"{OCSP}/{path}")
    said = read(answer)
    headers = answer.headers
    directives = dict(part.strip().partition("=")[::2] for part in headers["cache-control"].split(","))
    assert {"public", "no-transform", "must-revalidate"} <= set(directives)
    assert 0 < int(directives["max-age"]) <= 60
    one = next(iter(said.responses))
    assert one.next_update_utc is not None
    assert headers["expires"] == one.next_update_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert headers["last-modified"] == said.produced_at_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert headers["etag"].startswith('"')


async def test_an_answer_with_a_nonce_is_made_for_one_and_kept_by_nobody(world: World, known: Known) -> None:
    path = urllib.parse.quote(base64.b64encode(known.request(nonce=b"n" * 32)).decode(), safe="")
    answer = await world.browser().get(f"{OCSP}/{path}")
    assert answer.headers["cache-control"] == "no-store"
    nonce = read(answer).extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    assert nonce == b"n" * 32


@pytest.mark.parametrize("size", [1, 16, 32, 128])
async def test_a_nonce_of_any_permitted_length_comes_back(world: World, known: Known, size: int) -> None:
    """RFC 9654 s.2.1: 1 to 128 octets; a responder must accept 16 to 32."""
    said = read(await post(world, known.request(nonce=b"n" * size)))
    assert said.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * size


@pytest.mark.parametrize("size", [0, 129, 4000])
async def test_a_nonce_of_another_length_is_malformed(world: World, known: Known, size: int) -> None:
    """RFC 9654 s.2.1: rejected with malformedRequest."""
    said = read(await post(world, known.request(nonce=b"n" * size)))
    assert said.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize(
    "content", [b"", b"\x30", b"hello", b"\x30\x80\x00\x00", b"\x30\x82\xff\xff", b"\x00" * 20_000, b"\x30" * 1_000_000]
)
async def test_what_is_no_request_is_answered_as_malformed(world: World, content: bytes) -> None:
    answer = await post(world, content)
    assert answer.status_code == 200
    assert read(answer).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_trailing_octets_make_a_request_malformed(world: World, known: Known) -> None:
    said = read(await post(world, known.request() + b"\x00"))
    assert said.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("encoded", ["!!!!", "%00", "%zz", "AAA", "MEIw", "%E4%BD%A0", "A" * 20_000])
async def test_an_address_that_holds_no_request_is_malformed(world: World, encoded: str) -> None:
    answer = await world.browser().get(f"{OCSP}/{encoded}")
    assert read(answer).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_another_cas_certificate_is_not_answered_for(world: World, known: Known) -> None:
    root = x509.load_der_x509_certificate(world.web_services.publication.authorities[1].certificate)
    request = ocsp.OCSPRequestBuilder().add_certificate(known.issuer, root, hashes.SHA1()).build()
    said = read(await post(world, request.public_bytes(Encoding.DER)))
    assert said.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


async def test_a_serial_that_was_never_issued_is_not_good(world: World, known: Known) -> None:
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known_hash(known, "name"),
        known_hash(known, "key"),
        0x1234567890,
        hashes.SHA1(),
    )
    said = read(await post(world, request.build().public_bytes(Encoding.DER)))
    assert said.certificate_status is not ocsp.OCSPCertStatus.GOOD


def known_hash(known: Known, what: str) -> bytes:
    request = ocsp.load_der_ocsp_request(known.request())
    return request.issuer_name_hash if what == "name" else request.issuer_key_hash


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_for_ocsp(world: World, method: str) -> None:
    answer = await world.browser().request(method, OCSP)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/ocsp/", "/ocsp/root", "/ocsp/nobody", "/ocsp/investor2", "/ocsp/%2e%2e/investor"])
async def test_no_other_responder_answers(world: World, path: str) -> None:
    assert (await world.browser().get(path)).status_code == 404


@pytest.mark.parametrize(("name", "shard"), [("investor", 0), ("root", 0)])
async def test_a_crl_is_published_as_its_certificates_say(world: World, name: str, shard: int) -> None:
    answer = await world.browser().get(f"/pki/{name}-{shard}.crl")
    crl = x509.load_der_x509_crl(answer.content)
    assert answer.headers["content-type"] == "application/pkix-crl"
    assert answer.headers["last-modified"] == crl.last_update_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert "max-age" in answer.headers["cache-control"]
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert answer.headers["etag"] == f'"{number}"'


@pytest.mark.parametrize("index", [0, 1])
async def test_a_ca_certificate_is_published_as_der(world: World, index: int) -> None:
    authority = world.web_services.publication.authorities[index]
    answer = await world.browser().get(f"/pki/{authority.id}.cer")
    assert answer.headers["content-type"] == "application/pkix-cert"
    assert answer.content == authority.certificate


@pytest.mark.parametrize("name", ["investor.cer", "investor-0.crl", "root.cer", "root-0.crl"])
async def test_head_says_what_get_says_without_the_body(world: World, name: str) -> None:
    """RFC 9110 s.9.3.2 and s.8.6: the length, if given, is that of the body that GET sends."""
    browser = world.browser()
    whole, head = await browser.get(f"/pki/{name}"), await browser.request("HEAD", f"/pki/{name}")
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(whole.headers)


@pytest.mark.parametrize(
    "name", ["", "x", "investor", "investor.crl", "investor--1.crl", "investor-99.crl", "../data/x"]
)
async def test_nothing_else_is_published(world: World, name: str) -> None:
    assert (await world.browser().get(f"/pki/{name}")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_files_are_read_only(world: World, method: str) -> None:
    answer = await world.browser().request(method, "/pki/investor.cer")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_the_repository_lists_what_is_published_and_every_link_works(world: World) -> None:
    browser = world.browser()
    page = (await browser.get("/repository")).text
    for authority in world.web_services.publication.authorities:
        for path in (f"/pki/{authority.id}.cer", f"/pki/{authority.id}-0.crl", f"/repository/{authority.id}.pem"):
            assert path in page
            assert (await browser.get(path)).status_code == 200
        fingerprint = x509.load_der_x509_certificate(authority.certificate).fingerprint(hashes.SHA256()).hex(":")
        assert fingerprint.upper() in page


class Sick:
    """A portal's part that fails whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("the portal is not well")


async def test_status_is_answered_while_the_portal_is_not_well(world: World, known: Known) -> None:
    """Architecture rule 14 and reliability F47: relying parties do not depend on the pages."""
    sick = world.with_web(people=Sick(), sessions=Sick(), customer_queries=Sick(), rekey=Sick())
    assert read(await post(sick, known.request())).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert (await sick.browser().get("/pki/investor-0.crl")).status_code == 200


async def test_whoever_has_the_answer_already_is_not_sent_it_again(world: World, known: Known) -> None:
    """RFC 9110 s.13.1.2 and s.15.4.5; RFC 9919 s.6.2 lets caches ask again."""
    path = f"{OCSP}/{urllib.parse.quote(base64.b64encode(known.request()).decode(), safe='')}"
    browser = world.browser()
    first = await browser.get(path)
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await browser.get(path, **{"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
        for name in ("etag", "cache-control", "expires", "last-modified"):
            assert again.headers[name] == first.headers[name]
    assert (await browser.get(path, **{"If-None-Match": '"other"'})).content == first.content


async def test_a_list_is_sent_once_and_again_when_there_is_a_new_one(world: World) -> None:
    browser = world.browser()
    first = await browser.get("/pki/investor-0.crl")
    crl = x509.load_der_x509_crl(first.content)
    assert crl.next_update_utc is not None
    assert first.headers["expires"] == crl.next_update_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
    given = {"If-None-Match": first.headers["etag"]}
    for method in ("GET", "HEAD"):
        again = await browser.request(method, "/pki/investor-0.crl", headers=given)
        assert (again.status_code, again.content) == (304, b"")
    world.clock.later(hours=6, minutes=1)
    await world.work()
    newer = await browser.get("/pki/investor-0.crl", **given)
    assert newer.status_code == 200
    assert newer.headers["etag"] != first.headers["etag"]


async def test_an_answer_that_no_cache_may_keep_has_no_tag_to_match(world: World, known: Known) -> None:
    path = urllib.parse.quote(base64.b64encode(known.request(nonce=b"n" * 32)).decode(), safe="")
    answer = await world.browser().get(f"{OCSP}/{path}", **{"If-None-Match": "*"})
    assert read(answer).certificate_status is ocsp.OCSPCertStatus.GOOD
