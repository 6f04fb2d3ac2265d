"""After a renewal the old CA revokes the imported certificate: asked by its client, and told by that CA itself."""

import sqlite3
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from chopmark.app.services import build
from chopmark.core.types import Operation, Serial
from chopmark.ra.imported import Fingerprint, ImportedState
from tests.contract.issuers.cmp_peer import RR, Cmp
from tests.contract.issuers.peers import AUTH_KEY, Cfssl, ExternalPeer, Peer
from tests.contract.issuers.test_conformance import certified
from tests.contract.world import ANN, Held, World
from tests.machine import program

LIST = """
[[former_issuer]]
id = "old"
name_zh = "舊憑證"
name_en = "Old Certification"
certificates = ["{ca}"]
subject_templates = ["CN={{customer}}, OU=Investors"]
status = "none"
reason = "A test of the revocation."
revoke = "{kind}"
ca = {{ url = "{url}", secret = "old-key", tls_trust = "{trust}"{user} }}
"""


async def migrated(peer: ExternalPeer, der: bytes, folder: Path) -> World:
    """The house after the migration: the peer is its former issuer, and the certificate is imported."""
    world, user = peer.world, ', user = "chopmark-ra"' if isinstance(peer, Cmp) else ""
    (folder / "old-key").write_text(AUTH_KEY)
    written = LIST.format(ca=peer.ca.certificate, kind=peer.kind, url=peer.url, trust=peer.trust, user=user)
    (folder / "former.toml").write_text(written, encoding="utf-8")
    (folder / "old.der").write_bytes(der)
    settings = world.services.foundation.settings.model_copy(
        update={"former_issuers": folder / "former.toml", "secrets_dir": folder}
    )
    services = await build(settings, world.clock, world.dice)
    report = await services.ra.certificate_import.run([folder / "old.der"], "alice")
    assert report.imported == 1
    return world.with_services(services)


async def test_a_renewal_ends_in_the_old_ca_s_own_word_that_the_old_certificate_is_revoked(
    revoking: Peer, tmp_path: Path
) -> None:
    assert isinstance(revoking, ExternalPeer)
    applicant = revoking.applicant(ANN)
    der = (await certified(revoking, revoking.issuer(), applicant.issuance)).der
    world = await migrated(revoking, der, tmp_path)
    fingerprint = Fingerprint(x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex())
    context = world.services.ra.context
    old, imported = await context.certificates.get(Serial(fingerprint)), context.imported
    assert old is not None
    assert imported is not None
    world.held[ANN] = Held(applicant.key, old)
    world.clock.later(days=340)
    errand = await world.to_review(ANN, Operation.REKEY)
    await errand.confirm()
    await world.once("former-revocations")
    assert not revoking.revoked(der), "the new one has to be proved first"
    await errand.prove()
    # 1. While the CA is away it is not ticked off.
    revoking.away()
    await world.once("former-revocations")
    row = await imported.get(fingerprint)
    assert row is not None
    assert (row.state, row.revoked_there_at) == (ImportedState.SUPERSEDED, None)
    assert not revoking.revoked(der)
    # 2. When it is back, it revokes, and says so itself.
    revoking.back()
    await world.once("former-revocations")
    assert revoking.revoked(der)
    if isinstance(revoking, Cfssl):
        said = answered(revoking, der)
        assert said.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert said.revocation_reason is x509.ReasonFlags.superseded
    if isinstance(revoking, Cmp):
        assert revoking.kinds.count(RR) == 1
    row = await imported.get(fingerprint)
    assert row is not None
    assert row.revoked_there_at == world.clock.now()
    assert (await world.audit()).sound
    await world.services.close()


def answered(peer: Cfssl, der: bytes) -> ocsp.OCSPResponse:
    """The OCSP answer about a certificate that cfssl makes of its own database."""
    signer = ("-ca", peer.ca.certificate, "-responder", peer.ca.certificate, "-responder-key", peer.ca.key)
    line: list[str | Path] = [program("cfssl"), "ocsprefresh", "-db-config", peer.folder / "db.json", *signer]
    subprocess.run(line, check=True, capture_output=True)
    serial = str(x509.load_der_x509_certificate(der).serial_number)
    with sqlite3.connect(peer.folder / "cfssl.db") as db:
        ((body,),) = db.execute(
            "SELECT CAST(body AS BLOB) FROM ocsp_responses WHERE serial_number = ?", (serial,)
        ).fetchall()
    return ocsp.load_der_ocsp_response(body)
