"""A key in a token signs what strangers verify, never leaves it, and outlives the loss of session and token."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pkcs11 import Attribute, ObjectClass, TokenFlag
from pkcs11.exceptions import AttributeSensitive

from chopmark.core.types import IssuerId, Secret
from chopmark.keys.adapter import as_private_key, made_by, ready, sign
from chopmark.keys.file import FileSigner, create
from chopmark.keys.keyring import PREFIX, Keyring, NoDevice
from chopmark.keys.pkcs11 import DeviceKeyError, Pkcs11Signer, Pkcs11Token, pin_at_risk
from chopmark.keys.ports import KeyAlgorithm, OnDevice, Pkcs11Settings, Signer, SignerUnavailable
from chopmark.pki import crl, ocsp, signing
from chopmark.pki.ceremony import SerialAndValidity, issuing_certificate, ocsp_responder_certificate, root_certificate
from chopmark.pki.draft import Urls
from chopmark.pki.x509 import IssuerView
from tests.softhsm import MODULE, Device, softhsm
from tests.vectors.pki.house import PASSPHRASE, openssl, pem

START = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def later(self, **span: float) -> None:
        self.at += timedelta(**span)


@pytest.fixture(scope="module")
def devices() -> Iterator[Callable[[], Device]]:
    with softhsm() as maker:
        yield maker


@pytest.fixture
def device(devices) -> Device:
    return devices()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token(device, clock) -> Iterator[Pkcs11Token]:
    opened = Pkcs11Token(device.settings, clock)
    yield opened
    opened.close()


@pytest.fixture
def signer(token) -> Pkcs11Signer:
    return Pkcs11Signer(token, "key", token.create("key", KeyAlgorithm.P256))


def why(doing: Callable[[], object]) -> SignerUnavailable:
    with pytest.raises(SignerUnavailable) as caught:
        doing()
    return caught.value


def verifies(signer: Signer, signature: bytes, data: bytes) -> bool:
    key = signing.public_key(signer.public_key_der)
    return signing.verifies(key, signature, data, signer.algorithm.hash_algorithm)


# signing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_openssl_verifies_what_a_key_of_each_kind_in_the_token_signs(token, tmp_path, algorithm):
    public = token.create("key", algorithm)
    signer: Signer = Pkcs11Signer(token, "key", public)
    assert signer.algorithm is algorithm
    assert token.public_key("key") == public
    (tmp_path / "pub.der").write_bytes(public)
    digest = "-sha384" if algorithm is KeyAlgorithm.P384 else "-sha256"
    for number in range(4 if algorithm.is_ec else 1):
        data = f"data {number}".encode()
        (tmp_path / "sig").write_bytes(signer.sign(data))
        key = ("-verify", tmp_path / "pub.der", "-keyform", "DER")
        answer = openssl("dgst", digest, *key, "-signature", tmp_path / "sig", stdin=data)
        assert b"Verified OK" in answer.stdout
    hash_algorithm = hashes.SHA384() if algorithm is KeyAlgorithm.P384 else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(as_private_key(signer), hash_algorithm)
    der = request.public_bytes(serialization.Encoding.DER)
    answer = openssl("req", "-verify", "-noout", "-inform", "DER", stdin=der)
    assert answer.returncode == 0
    assert b"OK" in answer.stdout + answer.stderr


def test_openssl_believes_certificates_a_list_and_an_ocsp_answer_that_the_token_signed(token, tmp_path):
    root, issuing, responder = (
        Pkcs11Signer(token, name, token.create(name, algorithm))
        for name, algorithm in (
            ("root", KeyAlgorithm.P384),
            ("issuing", KeyAlgorithm.P256),
            ("ocsp", KeyAlgorithm.RSA2048),
        )
    )
    terms = SerialAndValidity(0x7F << 136 | 1, START, START + timedelta(days=3650))
    root_der = root_certificate(as_private_key(root), [("C", "TW"), ("CN", "Root")], terms)
    root_view = IssuerView.read(IssuerId("root"), root_der)
    urls = Urls(ocsp="", ca_issuers="http://ca.example/root.cer", crl="http://ca.example/root.crl")
    issuing_der = issuing_certificate(
        as_private_key(root), root_view, issuing.public_key_der, [("C", "TW"), ("CN", "Issuing")], terms, urls
    )
    view = IssuerView.read(IssuerId("issuing"), issuing_der)
    responder_der = ocsp_responder_certificate(
        as_private_key(issuing), view, responder.public_key_der, [("C", "TW"), ("CN", "OCSP")], terms
    )
    (tmp_path / "root.pem").write_bytes(pem(root_der))
    (tmp_path / "issuing.pem").write_bytes(pem(issuing_der))
    (tmp_path / "ocsp.pem").write_bytes(pem(responder_der))
    at = ("-attime", int(START.timestamp()) + 60)
    chain = ("-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "issuing.pem")
    assert openssl("verify", "-x509_strict", *at, *chain, tmp_path / "ocsp.pem").returncode == 0
    made = crl.build_crl(view, as_private_key(issuing), 1, START, START + timedelta(days=1), (), None)
    answer = openssl("crl", "-inform", "DER", "-noout", "-CAfile", tmp_path / "issuing.pem", stdin=made)
    assert b"verify OK" in answer.stderr
    (tmp_path / "all.pem").write_bytes(pem(issuing_der, root_der))
    asked = ("-issuer", tmp_path / "issuing.pem", "-serial", "0x1234")
    openssl("ocsp", *asked, "-no_nonce", "-reqout", tmp_path / "ask.der")
    request = ocsp.parse_request((tmp_path / "ask.der").read_bytes())
    assert isinstance(request, ocsp.OcspRequest)
    answers = [ocsp.Answer(request.cert_ids[0].der, ocsp.Good(), START, START + timedelta(days=1))]
    response = ocsp.build_response(as_private_key(responder), responder_der, answers, START, None)
    (tmp_path / "answer.der").write_bytes(response)
    told = openssl("ocsp", *asked, "-respin", tmp_path / "answer.der", "-CAfile", tmp_path / "all.pem", *at)
    assert b"Response verify OK" in told.stderr


def test_many_threads_share_the_one_session(token, signer):
    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(lambda n: (n, signer.sign(b"%d" % n)), range(200)))
    assert all(verifies(signer, signature, b"%d" % n) for n, signature in signatures)


# the key stays where it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048])
def test_the_key_is_sensitive_never_extractable_and_only_signs(token, device, algorithm):
    token.create("key", algorithm)
    token.close()
    module = pkcs11.lib(str(MODULE))
    with module.get_token(token_label=device.label).open(user_pin=device.pin.reveal()) as session:
        key = session.get_key(ObjectClass.PRIVATE_KEY, label="key")
        true = (Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.PRIVATE)
        assert all(key[attribute] for attribute in (*true, Attribute.TOKEN, Attribute.LOCAL, Attribute.SIGN))
        false = (Attribute.EXTRACTABLE, Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE)
        assert not any(key[attribute] for attribute in false)
        with pytest.raises(AttributeSensitive):
            key[Attribute.PRIVATE_EXPONENT if algorithm is KeyAlgorithm.RSA2048 else Attribute.VALUE]
    module.finalize()


def test_a_second_key_of_the_same_label_is_not_made(token, signer):
    with pytest.raises(DeviceKeyError, match="already"):
        token.create("key", KeyAlgorithm.P384)
    assert token.public_key("key") == signer.public_key_der
    assert token.public_key("other") is None


def test_a_key_that_could_leave_the_token_is_refused(token, device):
    module = pkcs11.lib(str(MODULE))
    with module.get_token(token_label=device.label).open(rw=True, user_pin=device.pin.reveal()) as session:
        loose = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, label="loose", store=True, private_template=loose)
    module.finalize()
    with pytest.raises(DeviceKeyError, match="leave"):
        token.public_key("loose")


def test_a_signature_by_another_key_is_given_to_nobody(token, signer):
    other = token.create("other", KeyAlgorithm.P256)
    assert "not the certificate's key" in str(why(lambda: Pkcs11Signer(token, "key", other).sign(b"data")))


# loss -----------------------------------------------------------------------------------------------------------------


def lose_session() -> None:
    """End every session, as a device does that was restarted."""
    pkcs11.lib(str(MODULE)).finalize()


def test_a_lost_session_is_opened_again_by_the_next_call(signer, clock):
    signer.sign(b"before")
    lose_session()
    assert why(lambda: signer.sign(b"lost")).retry_after_s == 1
    assert "a moment ago" in str(why(lambda: signer.sign(b"too early")))
    clock.later(seconds=1)
    assert verifies(signer, signer.sign(b"after"), b"after")


def test_ready_finds_a_lost_session_before_anything_depends_on_it(signer):
    signer.sign(b"before")
    lose_session()
    signer.ready()
    assert verifies(signer, signer.sign(b"after"), b"after")


def test_a_lost_token_is_asked_for_less_and_less_often_and_signs_when_it_is_back(device, signer, clock):
    signer.ready()
    device.take_out()
    waits = []
    for _ in range(9):
        waits.append(why(signer.ready).retry_after_s)
        assert why(lambda: signer.sign(b"away")).retry_after_s == waits[-1]
        clock.later(seconds=waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    device.put_back()
    assert verifies(signer, signer.sign(b"back"), b"back")
    lose_session()
    assert why(lambda: signer.sign(b"lost")).retry_after_s == 1


def test_a_clock_that_goes_back_does_not_prolong_the_wait(device, signer, clock):
    device.take_out()
    why(signer.ready)
    device.put_back()
    clock.later(days=-400)
    signer.ready()


def test_a_module_that_is_not_there_makes_the_key_unavailable(clock):
    token = Pkcs11Token(Pkcs11Settings("/nowhere/module.so", "token", Secret("1234")), clock)
    assert "PKCS11Error" in str(why(lambda: token.public_key("key")))


def test_a_wrong_pin_is_tried_once(device, token, signer, clock):
    token.close()
    wrong = Pkcs11Token(Pkcs11Settings(str(MODULE), device.label, Secret("161803")), clock)
    mistaken = Pkcs11Signer(wrong, "key", signer.public_key_der)
    assert "PinIncorrect" in str(why(lambda: mistaken.sign(b"data")))
    device.take_out()
    clock.later(days=1)
    for call in (mistaken.ready, lambda: mistaken.sign(b"data"), lambda: wrong.create("new", KeyAlgorithm.P256)):
        assert "PinIncorrect" in str(why(call))  # the token is not there to say so: it was not asked
    device.put_back()
    assert "PinIncorrect" in str(why(mistaken.ready))
    assert verifies(signer, signer.sign(b"right"), b"right")


def test_the_last_attempt_is_left_to_a_person():
    assert pin_at_risk(TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.LOGIN_REQUIRED)
    assert pin_at_risk(TokenFlag.USER_PIN_LOCKED)
    assert not pin_at_risk(TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.USER_PIN_INITIALIZED)


# from async, and from what is stored ----------------------------------------------------------------------------------


class Hanging(OnDevice):
    """A signer whose device does not answer before it is let go."""

    def __init__(self, key: FileSigner) -> None:
        self.key, self.let_go, self.patience_s = key, threading.Event(), 0.01
        self.public_key_der, self.algorithm = key.public_key_der, key.algorithm
        self.threads: list[int] = []

    def ready(self) -> None:
        self.let_go.wait()

    def sign(self, data: bytes) -> bytes:
        self.threads.append(threading.get_ident())
        self.let_go.wait()
        return self.key.sign(data)


async def test_a_device_that_hangs_holds_up_nobody_else():
    hanging = Hanging(FileSigner.open(create(KeyAlgorithm.P256, PASSPHRASE), PASSPHRASE))
    with pytest.raises(SignerUnavailable, match="does not answer"):
        await sign(hanging, b"data")
    with pytest.raises(SignerUnavailable, match="does not answer"):
        await ready(hanging)
    hanging.let_go.set()
    hanging.patience_s = 60
    assert verifies(hanging, await sign(hanging, b"data"), b"data")
    assert threading.get_ident() not in hanging.threads


async def test_a_key_in_memory_signs_in_the_thread_that_asks():
    key = FileSigner.open(create(KeyAlgorithm.P256, PASSPHRASE), PASSPHRASE)
    assert await made_by(key, threading.get_ident) == threading.get_ident()
    await ready(key)


async def test_many_tasks_sign_through_threads(signer):
    signatures = await asyncio.gather(*(sign(signer, b"%d" % number) for number in range(20)))
    assert all(verifies(signer, signature, b"%d" % number) for number, signature in enumerate(signatures))


def test_a_caller_waits_for_its_turn_for_no_longer_than_its_patience(device, clock):
    token = Pkcs11Token(Pkcs11Settings(str(MODULE), device.label, device.pin, patience_s=0.01), clock)
    with token.lock:
        assert "busy" in str(why(lambda: token.public_key("key")))
        token.close()


def test_a_keyring_opens_what_it_stored(device, signer, token, clock):
    token.close()
    ring = Keyring(PASSPHRASE, device.settings, clock)
    held, stored = ring.hold("chopmark-x", KeyAlgorithm.P384)
    assert stored == PREFIX + b"chopmark-x"
    again = ring.open(stored, held.public_key_der)
    assert verifies(held, again.sign(b"data"), b"data")
    assert ring.hold("chopmark-x", KeyAlgorithm.P384)[0].public_key_der == held.public_key_der
    in_file = create(KeyAlgorithm.P256, PASSPHRASE)
    assert isinstance(ring.open(in_file, b""), FileSigner)
    with pytest.raises(ValueError, match="label"):
        ring.hold("a;b", KeyAlgorithm.P256)
    ring.close()


def test_a_key_in_an_hsm_needs_the_hsms_settings(clock):
    with pytest.raises(NoDevice, match=r"hsm\.module"):
        Keyring(PASSPHRASE, None, clock).open(PREFIX + b"key", b"")
