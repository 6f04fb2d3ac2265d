"""A real Postfix takes our mails, cannot deliver them, and pipes what comes back as the operator's page says."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from chopmark.app.gateways import return_paths_of
from chopmark.app.settings import Settings, Smtp
from chopmark.core.types import Secret
from chopmark.messaging.smtp import SmtpGateway
from chopmark.store import db
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.script import Query, Row, Script, whole
from tests.postfix import CUSTOMERS, postfix
from tests.unit.messaging.test_smtp import MESSAGE, Keeping, listening, settings

PAGE = Path(__file__).parents[2] / "docs" / "operator.en.md"
SAID = {
    "unknown": "550 5.1.1 no such user",
    "spam": "550 5.7.1 spam",
    "later": "451 4.2.0 not now",
    "good": "250 OK",
}
CUSTOMER = """
INSERT INTO customers (id, person_kind, person_id_hash, person_id_sealed, name_sealed, version, created_at, updated_at)
VALUES (:customer, 'national', :customer, :empty, :empty, 1, 0, 0)
"""
NOTICE = """
INSERT INTO work (id, kind, customer, channel, contact_version, facts, attempts, not_before, leased_until, done_at,
  outcome)
VALUES (:id, 'notice', :customer, 'email', 1, '{}', 1, 0, 0, 0, 'sent')
"""


class Next(Keeping):
    """The recipients' mail server."""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return SAID[address.partition("@")[0]]


def one(statement: Query) -> Script[list[Row]]:
    return (yield statement)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that whom Postfix runs its pipes as can write into; not in memory, where nobody may be let in."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="chopmark-postfix-") as made:
        (Path(made) / "came").mkdir()
        for path in (Path(made), Path(made) / "came"):
            path.chmod(0o777)
        script = Path(made) / "pipe"
        script.write_text(f"#!/bin/sh\nexec cat > {made}/came/$$\n")
        script.chmod(0o755)
        yield Path(made)


def pipe_of_the_page(program: Path) -> str:
    """The lines of the operator's page for master.cf, with a program and an account of this machine."""
    (lines,) = re.findall(r"^bounced +unix .*\n  .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    here = lines.replace("user=chopmark", "user=nobody").replace("/usr/local/bin/chopmark-bounces", str(program))
    assert here.count("nobody") == here.count(str(program)) == 1
    return str(here)


def taken(mail: Path, given: dict[str, str]) -> bytes:
    """What the command prints of a mail from a pipe."""
    asked, environment = [sys.executable, "-m", "chopmark", "bounces"], {**os.environ, **given}
    return subprocess.run(
        asked, input=mail.read_bytes(), env=environment, stdout=subprocess.PIPE, check=True, timeout=60
    ).stdout


async def test_what_a_postfix_pipes_to_the_command_ends_the_messages_that_did_not_arrive(folder: Path) -> None:
    # 1. An installation with four notices on their way.
    smtp = Smtp(host="127.0.0.1", tls="none", bounces="bounces+*@mail.example.com")
    known = Settings(mode="production", data=folder, smtp=smtp, csrf_key=SecretStr("ab" * 32))
    await db.upgrade(known.database_url)
    engine = await open_engine(known.database_url)
    ids = {who: f"ABCDEFGHIJKLMNOPQRSTUVWXY{letter}" for who, letter in zip(SAID, "ABCD", strict=True)}
    for who, message in ids.items():
        await engine.run(one, whole(CUSTOMER, customer=f"C-{who}", empty=b""))
        await engine.run(one, whole(NOTICE, id=message, customer=f"C-{who}"))
    # 2. Postfix takes the four mails, and two of them come back.
    async with listening(lambda: SMTP(Next())) as next_port:
        with postfix(folder / "postfix", next_port, pipe=pipe_of_the_page(folder / "pipe")) as port:
            gateway = SmtpGateway(settings(port), return_paths=return_paths_of(known))
            for who, message in ids.items():
                await gateway.send(replace(MESSAGE, message_id=message, destination=Secret(f"{who}@{CUSTOMERS}")))
            await gateway.close()
            log = folder / "postfix" / "log"
            for _ in range(600):
                if log.read_text().count("(delivered via bounced service") == 2:
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail(log.read_text())
    # 3. The command reads what the pipe got.
    given = {"CHOPMARK_DATA": str(folder), "CHOPMARK_SMTP__BOUNCES": smtp.bounces, "CHOPMARK_CSRF_KEY": "ab" * 32}
    assert sorted(taken(mail, given) for mail in (folder / "came").glob("*")) == [
        b"recorded: failed 5.1.1\n",
        b"recorded: undelivered 5.7.1\n",
    ]
    rows = await engine.read(one, whole("SELECT id, outcome FROM work ORDER BY id"))
    dead = await engine.read(one, whole("SELECT customer FROM unreachable_contacts"))
    await engine.close()
    assert {row["id"]: row["outcome"] for row in rows} == {
        ids["unknown"]: "failed:reported",
        ids["spam"]: "failed:reported",
        ids["later"]: "sent",
        ids["good"]: "sent",
    }
    assert [row["customer"] for row in dead] == ["C-unknown"]
