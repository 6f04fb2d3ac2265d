"""What the operator's commands do, on an installation of its own (SQLite), with the real clock of `main`."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr

from chopmark.app.secrets import NotReady
from chopmark.app.server import run_server
from chopmark.app.services import opened
from chopmark.app.settings import Settings, Smtp, Timestamp
from chopmark.app.settings_topics import Proxy
from chopmark.app.web import addresses_of
from chopmark.app.worker import alarms, tasks
from chopmark.cli import audit, ca, check, clients, customers, database, locks
from chopmark.cli.console import os_user
from chopmark.cli.customers import import_customers
from chopmark.core.refusal import Refused
from chopmark.core.types import CustomerId, FactorClass, Secret
from chopmark.identity.sessions import SessionService
from chopmark.jobs.clock import note_of
from chopmark.messaging.ports import OutboxJobKind
from chopmark.store.engine.script import Row, Script, query
from tests.unit.messaging.test_smtp import Keeping, listening

SHEET = """customer,person_id,name,birth_date,mobile,email,accounts,verified_on
C20001,A123456789,測試甲,1990-07-15,0912345678,one@example.com,(期)F014000-0000001,2025-01-02
C20002,A223456781,測試乙,1985-02-28,0922345678,two@example.com,(證)9A95-0000002,2025-01-02
"""


BRAND = Path(__file__).parents[2] / "deploy" / "brand.toml"


def production(folder: Path) -> Settings:
    """Settings as in production, with secrets of this test's own."""
    return Settings(
        mode="production",
        data=folder,
        clock_kept_by="host",
        public_url="https://counter.example.com",
        proxy=Proxy(in_front="no"),
        status_url="http://status.example.com",
        brand=BRAND,
        otp_key=SecretStr(os.urandom(32).hex()),
        audit_key=SecretStr(os.urandom(32).hex()),
        data_key=SecretStr(os.urandom(32).hex()),
        lookup_key=SecretStr(os.urandom(32).hex()),
        csrf_key=SecretStr(os.urandom(32).hex()),
        ca_passphrase=SecretStr(os.urandom(32).hex()),
    )


@pytest.fixture
async def settings(tmp_path: Path, other_disk: Path) -> Settings:
    """An installation with its CA founded."""
    made = production(tmp_path / "data").model_copy(update={"journal_dir": other_disk})
    assert await ca.init_ca(made) == 0
    (made.data / "ca" / "root.key.pem").unlink()  # it has gone into the safe
    return made


def not_ready(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `check` has named; these installations have no gateway, which is told each time."""
    named = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOT READY: ")]
    return [line for line in named if not line.startswith("NOT READY: there is no gateway")]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(SHEET, encoding="utf-8")
    return path


async def test_production_without_its_secrets_does_not_start_and_names_them(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="otp_key, audit_key, data_key, lookup_key, csrf_key, ca_passphrase"):
        async with opened(Settings(mode="production", data=tmp_path / "data")):
            pass


async def test_a_node_with_another_code_key_does_not_start(settings: Settings) -> None:
    other = settings.model_copy(update={"otp_key": production(settings.data).otp_key})
    with pytest.raises(NotReady, match="otp_key"):
        async with opened(other):
            pass


async def test_a_ca_is_founded_once_and_its_root_key_is_encrypted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = production(tmp_path / "data")
    assert await ca.init_ca(settings) == 0
    assert await ca.init_ca(settings) == 1
    assert "already" in capsys.readouterr().out
    assert b"ENCRYPTED PRIVATE KEY" in (settings.data / "ca" / "root.key.pem").read_bytes()


async def test_check_names_what_the_broker_policy_permits_and_strict_does_not(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await check.check_installation(settings)
    assert capsys.readouterr().out.count("permitted here, not by `strict`") == 3


async def test_check_names_a_job_that_goes_on_failing(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async with opened(settings) as services:
        await alarms(services, "worker").failing("sequence", 7, "TreeBroken")
    assert await check.check_installation(settings) == 1
    assert "NOT READY: the job sequence of the worker at " in capsys.readouterr().out


async def test_production_asks_whether_a_proxy_stands_in_front(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    unanswered = settings.model_copy(update={"proxy": Proxy()})
    assert await check.check_installation(unanswered) == 1
    assert "NOT READY: say whether a proxy stands in front" in capsys.readouterr().out
    with pytest.raises(NotReady, match="say whether a proxy stands in front"):
        run_server(unanswered, 1)
    behind = settings.model_copy(update={"proxy": Proxy(in_front="yes", networks="10.0.0.0/8, ::1")})
    await check.check_installation(behind)
    assert "X-Forwarded-For as 10.0.0.0/8, ::1 say, over 1 proxy" in capsys.readouterr().out


async def test_the_setting_of_the_release_before_is_read_with_a_warning(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old = settings.model_copy(update={"proxy": Proxy(), "client_address_header": "X-Real-IP"})
    await check.check_installation(old)
    assert "WARNING: X-Real-IP is believed from every address" in capsys.readouterr().out
    scope = {"client": ("203.0.113.9", 1), "headers": [(b"x-real-ip", b"198.51.100.1")]}
    assert addresses_of(old).of(scope) == "198.51.100.1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"in_front": "yes"}, "name the proxies' networks"),
        ({"in_front": "yes", "networks": "10.0.0.0/8", "header": ""}, "name the proxies' networks"),
        ({"in_front": "no", "networks": "10.0.0.0/8"}, "goes with proxy.in_front"),
        ({"networks": "10.0.0.0/8"}, "goes with proxy.in_front"),
        ({"in_front": "yes", "networks": "10.0.0.1/8"}, "networks with commas"),
        ({"in_front": "yes", "networks": "proxy.example.com"}, "networks with commas"),
    ],
)
def test_settings_of_proxies_that_say_two_things_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings(mode="production", proxy=Proxy(**given))


def test_the_answer_on_proxies_and_the_header_of_the_release_before_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="have replaced"):
        Settings(mode="production", proxy=Proxy(in_front="no"), client_address_header="X-Real-IP")


async def test_check_asks_the_mail_server(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(lambda: SMTP(Keeping())) as port:
        mailing = settings.model_copy(update={"smtp": Smtp(host="127.0.0.1", port=port, tls="none")})
        assert await check.check_installation(mailing) == 0
        assert f"mail server: 127.0.0.1:{port} answers" in capsys.readouterr().out
    assert await check.check_installation(mailing) == 1
    assert f"NOT READY: the mail server 127.0.0.1:{port} cannot be used (unreachable)" in capsys.readouterr().out


async def test_a_file_of_the_mail_servers_authority_that_is_none_is_not_ready(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = Smtp(host="127.0.0.1", ca=settings.data / "none.pem")
    assert await check.check_installation(settings.model_copy(update={"smtp": mail})) == 1
    assert "NOT READY: smtp.ca names no PEM file" in capsys.readouterr().out


async def test_check_says_that_the_worker_does_not_believe_its_clock(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await check.check_installation(settings)
    assert not_ready(capsys) == []
    async with opened(settings) as services:
        await services.foundation.installation.put(note_of(settings.node), "the clock was put forward by 1 day")
    assert await check.check_installation(settings) == 1
    assert "NOT READY: the worker of this node: the clock was put forward by 1 day" in capsys.readouterr().out


async def test_check_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = production(tmp_path / "none")
    assert await check.check_installation(made) == 1
    assert "NOT READY: the database has no schema yet" in capsys.readouterr().out
    made.data.mkdir()
    assert await database.upgrade(made) == 0
    assert await check.check_installation(made) == 1
    assert "NOT READY: there is no CA yet" in capsys.readouterr().out


async def test_a_sheet_is_imported_wholly_or_not_at_all(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = sheet.with_name("broken.csv")
    broken.write_text(SHEET.replace("A223456781", "A223456780"), encoding="utf-8")
    report = sheet.with_name("report.csv")
    assert await import_customers(settings, broken, "amy", report) == 1
    assert "person_id" in report.read_text(encoding="utf-8")
    async with opened(settings) as services:
        assert await services.identity.people.person(CustomerId("C20001")) is None
    assert await import_customers(settings, sheet, "amy", None) == 0
    assert "2 customers imported" in capsys.readouterr().out


async def test_a_password_slip_opens_the_door_and_a_new_slip_closes_the_old_one(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    slips = []
    for _ in range(2):
        capsys.readouterr()
        assert await customers.password_slip(settings, "C20001", "amy") == 0
        slips.append(capsys.readouterr().out.split("password  ")[1].split()[0])
    async with opened(settings) as services:
        door: SessionService = services.identity.sessions
        opened_session = await door.sign_in("a123456789", Secret(slips[1]), "127.0.0.1", None)
        assert opened_session.session.customer == "C20001"
        with pytest.raises(Refused):
            await door.sign_in("C20001", Secret(slips[0]), "127.0.0.1", None)


async def test_a_client_secret_is_shown_once_and_stored_as_its_hash(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await clients.put_client(settings, "trading", "Trading program", "amy") == 0
    secret = capsys.readouterr().out.split("secret  ")[1].split()[0]
    async with opened(settings) as services:
        assert (
            await services.identity.launches.authenticate("trading", Secret(secret), CustomerId("C1"))
        ).id == "trading"
        with pytest.raises(Refused):
            await services.identity.launches.authenticate("trading", Secret(secret + "x"), CustomerId("C1"))
    assert secret.encode() not in (settings.data / "chopmark.sqlite").read_bytes()


async def test_a_slip_ends_the_customers_sessions_and_tells_the_customer(settings: Settings, sheet: Path) -> None:
    await import_customers(settings, sheet, "amy", None)
    customer, login = CustomerId("C20001"), frozenset({FactorClass.PASSWORD})
    async with opened(settings) as services:
        token = (await services.identity.sessions.open(customer, login, None, "portal", None)).token.reveal()
    assert await customers.password_slip(settings, "C20001", "amy") == 0
    async with opened(settings) as services:
        assert await services.identity.sessions.seen(token) is None
        waiting = await services.messaging.outbox.claim(
            (OutboxJobKind.NOTICE,), 10, "test", services.foundation.clock.now(), 60
        )
    assert [(work.customer, work.facts["template"]) for work in waiting] == [(customer, "password_printed")]


async def test_an_approval_slip_is_printed_by_two_for_who_can_get_no_code(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    mailing = settings.model_copy(update={"smtp": Smtp(host="127.0.0.1", tls="none")})
    with pytest.raises(Refused, match="can carry codes"):
        await customers.approval_slip(mailing, "C20001", "amy", "bea", "passport", None)
    async with opened(settings) as services:
        await services.foundation.engine.run(_without_contacts, "C20001")
    with pytest.raises(Refused, match="by one person and approved by another"):
        await customers.approval_slip(settings, "C20001", "amy", "AMY", "passport", None)
    capsys.readouterr()
    assert await customers.approval_slip(settings, "c20001", "amy", "bea", "passport", "bcdf ghjk lmnp") == 0
    said = capsys.readouterr().out
    letters = said.split("slip      ")[1].split()[0]
    assert re.fullmatch(r"([BCDFGHJKLMNPRSTW]{5}-){3}[BCDFGHJKLMNPRSTW]{5}", letters)
    assert "the key BCDF-GHJK-LMNP and no other" in said
    stored = (settings.data / "chopmark.sqlite").read_bytes()
    assert letters.encode() not in stored
    assert letters.replace("-", "").encode() not in stored
    async with opened(settings) as services:
        rows = await services.foundation.engine.read(_printed_slips)
    assert [(json.loads(row["facts"])["os_user"], row["state"]) for row in rows] == [(os_user(), "live")]


def _without_contacts(customer: str) -> Script[None]:
    yield query("DELETE FROM contacts WHERE customer = :customer", customer=customer)


def _printed_slips() -> Script[list[Row]]:
    return (
        yield query(
            "SELECT l.facts, s.state FROM leaves l, slips s WHERE l.event = 'staff:slip:printed'"
            " AND l.facts LIKE '%' || s.id || '%'"
        )
    )


async def test_a_client_is_limited_its_old_secret_ended_and_itself_disabled_by_command(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = []
    for _ in range(2):
        await clients.put_client(settings, "trading", "Trading program", "amy")
        secrets.append(Secret(capsys.readouterr().out.split("secret  ")[1].split()[0]))
    limited = clients.limit_client(settings, "trading", ["F01*"], ["renew"], ["password"], 30, "amy")
    assert await limited == 0
    assert await clients.list_clients(settings) == 0
    assert "accounts F01*; purposes renew; factors password; 30 a minute" in capsys.readouterr().out
    assert await clients.end_previous_secret(settings, "trading", "amy") == 0
    async with opened(settings) as services:
        assert (
            await services.identity.launches.authenticate("trading", secrets[1], CustomerId("C1"))
        ).scope.per_minute == 30
        with pytest.raises(Refused):
            await services.identity.launches.authenticate("trading", secrets[0], CustomerId("C1"))
    assert await clients.disable_client(settings, "trading", "amy") == 0
    async with opened(settings) as services:
        with pytest.raises(Refused):
            await services.identity.launches.authenticate("trading", secrets[1], CustomerId("C1"))
    with pytest.raises(Refused):
        await clients.disable_client(settings, "trading", "no staff id")


async def test_a_hold_needs_two_different_people(settings: Settings, sheet: Path) -> None:
    await import_customers(settings, sheet, "amy", None)
    with pytest.raises(Refused):
        await locks.release_hold(settings, "C20001", "amy", "Amy")
    assert await locks.release_hold(settings, "C20001", "amy", "ben") == 1


async def test_a_hold_of_codes_is_shown_as_one_whatever_rows_it_stands_in(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    assert await locks.show_holds(settings, "C20001") == 0
    assert "C20001 has no hold." in capsys.readouterr().out
    async with opened(settings) as services:
        await services.foundation.engine.run(_held, "C20001")
    assert await locks.show_holds(settings, "C20001") == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "hold" in line]
    assert shown == [
        "birth date: on hold, too many wrong entries",
        "codes, by every channel and for every order: on hold, the most wrong entries that there may ever be",
    ]
    assert await locks.release_hold(settings, "C20001", "amy", "ben") == 0
    assert "2 holds of C20001 lifted" in capsys.readouterr().out
    assert await locks.show_holds(settings, "C20001") == 0
    assert "C20001 has no hold." in capsys.readouterr().out


def _held(customer: str) -> Script[None]:
    for factor, hold in (("birth_date", "held"), ("email", "held"), ("sms", "disabled")):
        yield query(
            "INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold)"
            " VALUES (:customer, :factor, 0, 20, 100, 1, :hold)",
            customer=customer,
            factor=factor,
            hold=hold,
        )


async def test_the_audit_trail_verifies_online_and_exported_and_a_cut_export_does_not(
    settings: Settings, sheet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    exported = tmp_path / "audit.jsonl"
    assert await audit.export_audit(settings, exported) == 0
    assert await audit.verify_audit(settings, None, None, None) == 0
    assert await audit.verify_audit(settings, exported, None, None) == 0
    lines = exported.read_text(encoding="utf-8").splitlines(keepends=True)
    record = next(index for index, line in enumerate(lines) if "staff:customers:imported" in line)
    exported.write_text("".join(lines[:record] + lines[record + 1 :]), encoding="utf-8")
    assert await audit.verify_audit(settings, exported, None, None) == 1
    capsys.readouterr()


async def test_an_auditor_verifies_an_export_with_two_files_and_a_key_and_no_installation(
    settings: Settings, tmp_path: Path
) -> None:
    exported, key = tmp_path / "audit.jsonl", tmp_path / "head.pem"
    assert await audit.export_audit(settings, exported) == 0
    assert await audit.verify_audit(settings, None, None, None) == 0
    assert await audit.write_audit_key(settings, key) == 0
    nowhere = Settings(mode="production", data=tmp_path / "nowhere")
    heads = settings.outside / "heads.jsonl"
    heads.touch()
    assert await audit.verify_audit(nowhere, exported, heads, key) == 0
    exported.write_text(exported.read_text().replace("ca:ceremony:done", "ca:certificate:issued"))
    assert await audit.verify_audit(nowhere, exported, heads, key) == 1
    with pytest.raises(Refused):
        await audit.verify_audit(nowhere, exported, tmp_path / "missing.jsonl", key)


async def test_an_auditor_checks_the_anchors_of_an_export_with_the_root_certificate(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, key = tmp_path / "audit.jsonl", tmp_path / "head.pem"
    async with opened(settings) as services:
        jobs = {task.name: task.job for task in tasks(services)}
        for name in ("timestamp-key", "sequence", "anchor"):
            await jobs[name]()
    assert await audit.export_audit(settings, exported) == 0
    assert await audit.write_audit_key(settings, key) == 0
    nowhere, root = Settings(mode="production", data=tmp_path / "nowhere"), settings.data / "ca" / "root.cer"
    heads = settings.outside / "heads.jsonl"
    for given, said in ((root, "1 anchor holds"), (None, "Not checked: who signed the anchors")):
        capsys.readouterr()
        assert await audit.verify_audit(nowhere, exported, heads, key, given) == 0
        assert said in capsys.readouterr().out
    with pytest.raises(Refused):
        await audit.verify_audit(nowhere, exported, heads, key, key)
    lines = exported.read_text().splitlines(keepends=True)
    exported.write_text("".join(line for line in lines if not line.startswith('{"anchor"')))
    assert await audit.verify_audit(nowhere, exported, None, key, root) == 1
    assert "anchor-missing" in capsys.readouterr().out
    await check.check_installation(settings)
    assert "anchors of the audit, by ourselves: the newest of" in capsys.readouterr().out


async def test_the_code_key_is_rotated_with_its_predecessor_at_hand(settings: Settings) -> None:
    fresh = {"otp_key": production(settings.data).otp_key, "otp_key_previous": settings.otp_key}
    rotated = settings.model_copy(update=fresh)
    async with opened(rotated):
        pass
    with pytest.raises(NotReady, match="otp_key"):
        async with opened(settings):
            pass
    async with opened(rotated.model_copy(update={"otp_key_previous": settings.ca_passphrase})):
        pass


async def test_an_edited_leaf_in_the_database_is_found(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    db = sqlite3.connect(settings.data / "chopmark.sqlite")
    db.execute("UPDATE leaves SET facts = REPLACE(facts, 'amy', 'bob') WHERE event = 'staff:customers:imported'")
    db.commit()
    db.close()
    assert await audit.verify_audit(settings, None, None, None) == 1
    assert "staff:amy" in capsys.readouterr().out


def test_the_command_line_says_a_refusal_as_a_sentence(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase"):
        (secrets / name).write_text(os.urandom(32).hex())
    environment = {
        **os.environ,
        "CHOPMARK_DATA": str(tmp_path / "data"),
        "CHOPMARK_SECRETS_DIR": str(secrets),
        "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
        "CHOPMARK_STATUS_URL": "http://status.example.com",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "chopmark", *arguments], env=environment, capture_output=True, text=True, check=False
        )

    assert run("ca", "init").returncode == 0
    missing = run("customers", "password", "NOBODY-1", "--by", "amy")
    assert (missing.returncode, missing.stderr) == (1, "There is no such customer.\n")
    assert run("audit", "verify").returncode == 0


def test_the_settings_refuse_unknown_keys_and_plain_http_in_production() -> None:
    with pytest.raises(ValueError, match=r"extra_forbidden|Extra inputs"):
        Settings.model_validate({"colour": "red"})
    with pytest.raises(ValueError, match="https"):
        Settings(mode="production", public_url="http://counter.example.com")
    with pytest.raises(ValueError, match=r"timestamp\.roots"):
        Settings(timestamp=Timestamp(url="https://tsa.example.org"))
    with pytest.raises(ValueError, match=r"timestamp\.url"):
        Settings(timestamp=Timestamp(url="ftp://tsa.example.org", roots=Path("roots.pem")))
    assert json.loads(Settings(otp_key=SecretStr("ab" * 32)).model_dump_json())["otp_key"] != "ab" * 32
