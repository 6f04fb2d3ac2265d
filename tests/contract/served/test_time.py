"""Time under the real server and worker: an idle week, a responder's end, a clock that leaps back (F12, F20, F21)."""

import asyncio
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.contract.served.serving import Served, serve
from tests.contract.strangers import pem
from tests.contract.world import ANN, World, world_fixture
from tests.machine import program

world = world_fixture(("sqlite",))
LOOKS = 1_000  # at the address, with a pause after each
SLACK = timedelta(minutes=30)
"""The processes' clock runs on while they start."""


@dataclass
class RelyingParty:
    """Somebody with openssl who asks the running server, at the server's time."""

    served: Served
    world: World
    folder: Path
    at: datetime
    numbers: list[int] = field(default_factory=list)

    def travel(self, at: datetime) -> None:
        self.at = at
        self.served.at(at)

    async def fresh_list(self) -> x509.CertificateRevocationList:
        """Look until there is a list of this time; what is served meanwhile is not expired (I26)."""
        for _ in range(LOOKS):
            answer = await self.served.request("GET", "/pki/investor-0.crl")
            if answer.status_code == 200:
                found = x509.load_der_x509_crl(answer.content)
                assert found.next_update_utc is not None
                number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
                assert number >= (self.numbers[-1] if self.numbers else 0)
                if abs(found.last_update_utc - self.at) < SLACK:
                    assert found.next_update_utc - self.at > timedelta(hours=17)
                    self.numbers.append(number)
                    return found
            await self.served.leave_alone("worker")
        raise AssertionError(f"no fresh list: {self.served.logs()}")

    async def answer(self, nonce: bytes | None = None) -> ocsp.OCSPResponse:
        """Ask; with a nonce for an answer that is made for this question."""
        issuer = x509.load_der_x509_certificate(self.world.services.ca.authority.view.certificate_der)
        record = x509.load_der_x509_certificate(self.world.held[ANN].certificate.der)
        builder = ocsp.OCSPRequestBuilder().add_certificate(record, issuer, hashes.SHA1())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build()
        answer = await self.served.request("POST", "/ocsp/investor", content=request.public_bytes(Encoding.DER))
        assert len(answer.headers.get_list("date")) == 1
        (self.folder / "answer.der").write_bytes(answer.content)
        return ocsp.load_der_ocsp_response(answer.content)

    async def fresh_answer(self) -> None:
        """Look until there is an answer of this time: a process reads the new time within a second."""
        for _ in range(LOOKS):
            answer = await self.answer()
            assert answer.next_update_utc is not None
            recent = abs(answer.this_update_utc - self.at) < SLACK + timedelta(hours=12)
            if recent and answer.next_update_utc - self.at > timedelta(hours=11):
                return
            await self.served.leave_alone("server")
        raise AssertionError(f"no fresh answer: {self.served.logs()}")

    async def judge(self) -> None:
        """Have openssl judge list and answer as of now; the answer's times are of now, too."""
        crl = await self.fresh_list()
        await self.fresh_answer()
        authority = self.world.services.ca.authority
        record = pem(self.folder / "leaf.pem", self.world.held[ANN].certificate.der)
        ca = pem(self.folder / "ca.pem", authority.view.certificate_der)
        root = pem(self.folder / "root.pem", authority.chain[-1])
        (self.folder / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        at = ("-attime", str(int((self.at + SLACK).timestamp())), "-CAfile", root)
        said = await self.openssl("ocsp", "-respin", "answer.der", "-issuer", ca, "-cert", record, *at, *OWN_TIMES)
        assert "Response verify OK" in said, said
        assert "leaf.pem: good" in said, said
        said = await self.openssl("verify", "-crl_check", "-untrusted", ca, "-CRLfile", "crl.pem", *at, record)
        assert "leaf.pem: OK" in said, said

    async def openssl(self, *arguments: str | Path) -> str:
        command = [str(program("openssl")), *map(str, arguments)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr


OWN_TIMES = ("-validity_period", "2000000000")  # openssl reads the wall clock for them; the assertions above do not


async def test_i26_i28_time_passes_leaps_and_leaps_back_and_status_stays_fresh_and_numbers_rise(
    world: World, tmp_path: Path
) -> None:
    await world.to_active()
    await world.close()
    start = world.clock.at
    old = world.services.ca.responder.key.not_after
    served = serve(world, tmp_path)
    party = RelyingParty(served, world, tmp_path, start)
    try:
        served.start("server")
        served.start("worker")
        await served.ready()
        for days in (0, 1, 3, 7):  # nothing happens in this week
            party.travel(start + timedelta(days=days))
            await party.judge()
        party.travel(start + timedelta(days=5))  # two days back
        await party.judge()
        assert party.numbers == sorted(set(party.numbers))
        await renewed(party, old)
    finally:
        await served.close()


async def renewed(party: RelyingParty, old: datetime) -> None:
    """Ten days before the responder's end it has a new certificate, with which it answers after that end."""
    served = party.served
    served.kill("worker")
    party.travel(old - timedelta(days=10))
    served.start("worker")
    for look in range(LOOKS):
        if look % 5 == 0:
            party.travel(party.at + timedelta(minutes=2))  # the server looks for a renewed one each minute
        answer = await party.answer(b"n" * 16)
        if answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
            responder = answer.certificates[0]
            if responder.not_valid_after_utc > old:
                break
        await served.leave_alone("worker")
    else:
        raise AssertionError(served.logs())
    party.travel(old + timedelta(hours=1))
    answer = await party.answer()
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.certificates[0].not_valid_after_utc > old + timedelta(days=300)
    assert answer.this_update_utc <= party.at + SLACK
