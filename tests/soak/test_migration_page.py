"""The page of migration day, followed as it is written: from two exports and a list of former issuers to a renewal."""

import asyncio
import os
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from chopmark.app.services import opened
from chopmark.app.settings import Settings, Smtp
from chopmark.app.worker import tasks
from chopmark.cli.former_issuers import say_asked
from chopmark.client.signing import ClientKey
from chopmark.core.types import AccountNumber, Channel, CustomerId, FactorClass, LoginId, Operation
from chopmark.demo.journey import Journey, Wanted
from chopmark.demo.verbs import Verbs
from chopmark.ra.context import Caller
from tests.architecture.rules import REPOSITORY
from tests.old_ca import OldCa
from tests.old_places import published

PAGES = {one: REPOSITORY / "docs" / f"migration.{one}.md" for one in ("en", "zh-TW")}
CHAPTERS = {"en": "The day, command by command", "zh-TW": "當天的指令"}
SHEET = """customer,person_id,name,birth_date,mobile,email,accounts,verified_on
C20001,A120034503,王小明,1960-07-15,0912-000-678,ming@example.com,(期) F014000-0001001,2024-03-05
C20002,24680132,好運實業股份有限公司,,0912000111,office@example.com,(證) 9A95-0002011,2024-03-05
"""


def commands(language: str) -> str:
    """The block of commands of the day."""
    parts = PAGES[language].read_text(encoding="utf-8").split("\n## ")
    (part,) = (part for part in parts if part.startswith(f"{CHAPTERS[language]}\n"))
    (block,) = re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return block


def listed(language: str) -> str:
    """The list of former issuers as the page has it."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGES[language].read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return block


def test_both_languages_have_the_same_commands() -> None:
    assert commands("en") == commands("zh-TW")


def test_the_page_is_followed_from_two_exports_to_the_first_renewal(tmp_path: Path) -> None:
    begun = time.monotonic()
    now = datetime.now(UTC).replace(microsecond=0)
    life = (f"{now - timedelta(days=350):%Y%m%d%H%M%SZ}", f"{now + timedelta(days=15):%Y%m%d%H%M%SZ}")
    ca = OldCa(tmp_path / "oldca")
    ca.issue("ming", "/CN=TWA1200345031/OU=RA-yourfirm/C=TW", life=life)
    (tmp_path / "oldca.pem").write_bytes(Path(ca.path("ca.pem")).read_bytes())
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "all.pem").write_bytes(Path(ca.path("ming.pem")).read_bytes())
    (tmp_path / "customers.csv").write_text(SHEET, encoding="utf-8")
    asyncio.run(_followed(tmp_path, ca, now))
    if told := os.environ.get("CHOPMARK_SOAK_TOLD"):
        with Path(told).open("a", encoding="utf-8") as out:
            out.write(f"from two exports to the first renewal: {time.monotonic() - begun:.0f} s\n")


async def _followed(folder: Path, ca: OldCa, now: datetime) -> None:
    async with published() as places:
        places.at["/oldca.crl"] = ca.crl(now - timedelta(hours=1), now + timedelta(days=1))
        # Of the page's list only the address differs, because that one is nobody's.
        written = listed("en").replace("http://crl.example.com", places.url)
        (folder / "former.toml").write_text(written, encoding="utf-8")
        settings = _settings(folder)
        await asyncio.to_thread(_typed, folder)
        async with opened(settings) as services:
            for name in ("former-lists", "former-revoked"):
                (job,) = [task.job for task in tasks(services) if task.name == name]
                await job()
            verbs = Verbs(
                services,
                Caller(CustomerId("C20001"), frozenset({FactorClass.PASSWORD}), "test", LoginId("L" * 26)),
            )

            async def code() -> str:
                found = await services.ra.verifier.latest(verbs.order.id)
                derived = None if found is None else services.ra.verifier.code_of(found[0])
                assert derived is not None
                return derived.reveal()

            old = load_pem_private_key(await asyncio.to_thread(Path(ca.path("ming.key")).read_bytes), None)
            assert isinstance(old, ec.EllipticCurvePrivateKey)
            key = ClientKey.generate()
            journey = Journey(
                verbs,
                services.foundation.clock.now,
                lambda: code,
                key,
                key.request(),
                date(1960, 7, 15),
                old_key=ClientKey(old),
            )
            await journey.to_review(Wanted(Operation.REKEY, AccountNumber("F014000-0001001")), Channel.EMAIL)
            await journey.confirm()
            await journey.prove()
            assert await say_asked(services) == 1


SECRETS = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase")


def _settings(folder: Path) -> Settings:
    """The installation's settings; its secrets lie in a directory, as an operator's do."""
    (folder / "secrets").mkdir(mode=0o700)
    for name in SECRETS:
        (folder / "secrets" / name).write_text(os.urandom(32).hex())
    secrets = {name: SecretStr((folder / "secrets" / name).read_text()) for name in SECRETS}
    settings = Settings(
        data=folder / "data",
        public_url="https://counter.example.com",
        former_issuers=folder / "former.toml",
        secrets_dir=folder / "secrets",
        smtp=Smtp(host="127.0.0.1", tls="none"),
    )
    return settings.model_copy(update=secrets)


def _typed(folder: Path) -> None:
    """Found the CA, and type the page's commands, one after the other; the first that fails ends it."""
    (folder / "bin").mkdir()
    shim = folder / "bin" / "chopmark"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chopmark "$@"\n')
    shim.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "CHOPMARK_DATA": str(folder / "data"),
        "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
        "CHOPMARK_FORMER_ISSUERS": str(folder / "former.toml"),
        "CHOPMARK_SECRETS_DIR": str(folder / "secrets"),
    }
    script = f"set -e\nchopmark ca init\n{commands('en')}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 certificate imported" in done.stdout
