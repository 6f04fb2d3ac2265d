"""Another CA certifies by EST: the page writes the holder's names into the request, and the CA reads them there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from playwright.sync_api import Browser

from tests.contract.issuers import stranger
from tests.contract.issuers.est_peer import LABEL, USER, Server, serving
from tests.contract.issuers.peers import AUTH_KEY
from tests.journey.counter import Counter, Prepared, running
from tests.journey.openssl import Opened, openssl
from tests.journey.visitor import Visitor

NAMES = ["C = TW", "O = Haojing Futures", "OU = Investors", "CN = C10001"]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> stranger.Ca:
    """A CA that is not ours."""
    return stranger.found(tmp_path_factory.mktemp("stranger"), "Stranger")


@pytest.fixture(scope="module")
def server(ca: stranger.Ca, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Its EST server."""
    return Server(ca, tmp_path_factory.mktemp("est"))


@pytest.fixture(scope="module")
def counter(
    prepared: Prepared, ca: stranger.Ca, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Counter]:
    """The demo's counter, whose built-in CA has made way for the other one."""
    listening = serving(server)
    settings = {
        "CHOPMARK_EXTERNAL_CA__PROTOCOL": "est",
        "CHOPMARK_EXTERNAL_CA__URL": f"http://127.0.0.1:{listening.server_address[1]}",
        "CHOPMARK_EXTERNAL_CA__ANCHORS": str(ca.anchors),
        "CHOPMARK_EXTERNAL_CA__USER": USER,
        "CHOPMARK_EXTERNAL_CA__SECRET": AUTH_KEY,
        "CHOPMARK_EXTERNAL_CA__PROFILE": LABEL,
    }
    try:
        with running(prepared, tmp_path_factory.mktemp("counter"), **settings) as started:
            yield started
    finally:
        listening.shutdown()
        listening.server_close()


def test_a_customer_renews_at_another_ca_under_the_same_names(
    counter: Counter, browser: Browser, ca: stranger.Ca, server: Server, tmp_path: Path
) -> None:
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        visitor.sign_in("C10001")
        visitor.apply("rekey", "file")
        visitor.make_key("C10001")
        visitor.to_review(("49", "7", "15"))
        visitor.finish(tmp_path / "new.p12")
        visitor.see("憑證展延完成")
        opened = Opened.read(tmp_path / "new.p12", visitor.passphrase, tmp_path / "openssl")
        assert not [said for said in visitor.requests if b"Haojing%20Futures" in said.split(b"\n")[0]]
    (made,) = server.made
    assert opened.record == x509.load_pem_x509_certificate(made.read_bytes())
    assert opened.pair_fits()
    request = openssl("req", "-in", server.folder / "est0.csr", "-noout", "-subject", "-nameopt", "multiline,sname")
    assert "C10001" in request
    shown = openssl("x509", "-in", made, "-noout", "-subject").strip().removeprefix("subject=")
    assert shown.split(", ") == NAMES
    said = openssl("verify", "-CAfile", ca.chain[-1], "-untrusted", ca.chain[0], made)
    assert said == f"{made}: OK\n"
