"""The hourly anchor of the audit's head, on both engines: made once, found out when it is touched, made up for."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.app.services import build
from chopmark.app.settings import Timestamp
from chopmark.audit.events import Event
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import Code, Level, Report
from chopmark.audit.headfile import read_heads
from chopmark.audit.ports import NotStamped
from chopmark.audit.record import AuditKeys
from chopmark.audit.verify import verify
from chopmark.ca.lint import Linter
from chopmark.pki import tsp, tsp_token
from chopmark.store import db
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.va.timestamps import TimestampRepository
from chopmark.store.schema import metadata
from chopmark.va import timestamp_key
from chopmark.va.stamping import Stamping
from tests.contract.world import World, world_fixture
from tests.unit.va.test_timestamp_remote import authority, reply
from tests.vectors.pki.house import pem

world = world_fixture()
lone = world_fixture(engines=("sqlite",))
IMPRINT = bytes(range(32))


async def hour(world: World) -> int:
    """One hour of the worker: what was written has its head, and the head its anchor."""
    await world.once("sequence")
    made = await world.once("anchor")
    world.clock.later(minutes=1)  # the lease of the sequencer before has run out
    await world.once("sequence")
    world.clock.later(minutes=59)
    return made


async def verified(world: World, *, export: Path | None = None, filed: bool = True) -> Report:
    services = world.services
    lines = read_heads(services.foundation.settings.data / "heads.jsonl") if filed else None
    keys, public, roots = (
        AuditKeys([services.foundation.audit_key]),
        [services.audit.head_signer.public_key],
        services.va.stamps.roots,
    )
    async with services.foundation.audit_repository.snapshot() as source:
        if export is None:
            return await verify(source, keys, public, lines, world.clock.now(), roots=roots)
        with export.open("w") as out:
            await write_export(source, out)
    return await verify(ExportSource(export.open), keys, public, lines, world.clock.now(), roots=roots)


def codes(report: Report) -> list[Code]:
    return [finding.code for finding in report.findings]


async def test_each_hour_one_anchor_is_made_and_the_report_tells_of_the_newest(world: World, tmp_path: Path) -> None:
    assert [await hour(world) for _ in range(3)] == [1, 1, 1]
    world.clock.later(minutes=-30)
    assert await world.once("anchor") == 0
    report = await verified(world)
    assert report.findings == ()
    newest = await world.services.va.stamps.anchors.newest()
    assert newest is not None
    assert (report.anchored.anchors, report.anchored.size, report.anchored.at) == (3, newest.anchor.size, newest.at)
    assert await verified(world, export=tmp_path / "trail.jsonl") == report
    assert [json.loads(record["facts"])["count"] for record in await world.records(Event.VA_ANCHOR_MADE)] == [
        row["size"] for row in await world.rows("SELECT size FROM anchors ORDER BY size")
    ]


async def test_two_workers_at_once_make_one_anchor_and_one_key(world: World) -> None:
    second = await world.node(2)
    await world.once("sequence")
    assert sum(await asyncio.gather(*(node.once("timestamp-key") for node in (world, second)))) == 1
    assert sum(await asyncio.gather(*(node.once("anchor") for node in (world, second)))) == 1
    assert (await world.count("anchors"), await world.count("timestamp_keys")) == (1, 1)
    assert len(await world.records(Event.VA_ANCHOR_MADE)) == 1
    assert (await verified(world)).findings == ()


async def test_an_anchor_that_a_crash_kept_from_the_heads_file_is_brought_there(world: World) -> None:
    await hour(world)
    path = world.services.foundation.settings.data / "heads.jsonl"
    for kept in (0, 1, 40, -1):
        lines = path.read_bytes().splitlines(keepends=True)
        newest = max(at for at, line in enumerate(lines) if line.startswith(b'{"anchor"'))
        anchor = lines.pop(newest)
        path.write_bytes(b"".join(lines) + anchor[:kept])
        assert await hour(world) == 1
        found = read_heads(path)
        assert (found.unreadable, len(found.anchors)) == ((), await world.count("anchors"))
    assert (await verified(world)).findings == ()


Tamper = Callable[[World], Script[None]]


def cut(world: World) -> Script[None]:
    yield query("DELETE FROM anchors WHERE size = (SELECT MIN(size) FROM anchors)")


def move(world: World) -> Script[None]:
    yield query(
        "UPDATE anchors SET token = (SELECT token FROM anchors ORDER BY size LIMIT 1) "
        "WHERE size = (SELECT MAX(size) FROM anchors)"
    )


def refile(world: World) -> Script[None]:
    yield query("UPDATE anchors SET size = size + 100 WHERE size = (SELECT MAX(size) FROM anchors)")


def edit(world: World) -> Script[None]:
    rows = yield query("SELECT size, token FROM anchors ORDER BY size LIMIT 1")
    token = bytes(rows[0]["token"])
    yield query(
        "UPDATE anchors SET token = :t WHERE size = :s", t=token[:-1] + bytes((token[-1] ^ 1,)), s=rows[0]["size"]
    )


def empty(world: World) -> Script[None]:
    yield query("UPDATE anchors SET token = :t", t=b"")


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (cut, {Code.ANCHOR_MISSING}),
        (move, {Code.ANCHOR_WRONG, Code.ANCHOR_MISSING, Code.ANCHOR_UNTOLD}),
        (refile, {Code.ANCHOR_WITHOUT_HEAD, Code.ANCHOR_MISSING, Code.ANCHOR_UNTOLD}),
        (edit, {Code.ANCHOR_WRONG, Code.ANCHOR_MISSING, Code.ANCHOR_UNTOLD}),
        (empty, {Code.ANCHOR_WRONG, Code.ANCHOR_MISSING, Code.ANCHOR_UNTOLD}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_touched_anchor_is_found_in_the_database_and_in_its_export(
    world: World, tmp_path: Path, tamper: Tamper, found: set[Code]
) -> None:
    for _ in range(2):
        await hour(world)
    await world.services.foundation.engine.run(tamper, world)
    alone = await verified(world, filed=False)
    assert set(codes(alone)) == found
    assert not alone.sound
    with_file = await verified(world)
    assert Code.FILE_ANCHOR_MISSING in codes(with_file)
    assert await verified(world, export=tmp_path / "trail.jsonl") == with_file


async def test_an_anchor_and_its_leaf_that_are_cut_together_are_found_by_the_heads_file(world: World) -> None:
    await hour(world)
    await world.change("DELETE FROM anchors")
    await world.change("DELETE FROM leaves WHERE event = 'va:anchor:made'")
    await world.change("DELETE FROM chains WHERE chain = 'system:anchor'")
    assert Code.FILE_ANCHOR_MISSING in codes(await verified(world))


async def test_an_anchor_by_somebody_whom_no_root_vouches_for_is_found(world: World) -> None:
    await hour(world)
    services = world.services
    async with services.foundation.audit_repository.snapshot() as source:
        strange = [services.ca.authority.view.certificate_der]
        report = await verify(
            source, None, [services.audit.head_signer.public_key], None, world.clock.now(), roots=strange
        )
    assert codes(report) == [Code.ANCHOR_WRONG]
    assert report.anchored.anchors == 0


async def test_records_that_go_on_without_anchors_are_a_warning(world: World) -> None:
    await hour(world)
    for _ in range(4):
        await TimestampRepository(world.services.foundation.engine).note(await record(world))
        await world.once("sequence")
        world.clock.later(minutes=50)
    report = await verified(world)
    assert [(f.code, f.level) for f in report.findings] == [(Code.ANCHOR_LATE, Level.WARNING)]
    missed = await world.services.va.stamps.anchors.unanchored()
    assert missed is not None
    assert missed.until - missed.since >= timedelta(hours=2)
    assert await world.once("anchor") == 1
    assert await world.services.va.stamps.anchors.unanchored() is None


async def record(world: World):
    from chopmark.audit.record import make_record, system_stream

    tip = await world.services.foundation.audit_repository.tip(system_stream("test"))
    return make_record(tip, Event.VA_CRL_PUBLISHED, {}, world.clock.now(), world.services.foundation.audit_key)


# the authority ----------------------------------------------------------------------------------------------------


async def ask(world: World, nonce: int = 5) -> bytes:
    return await world.timestamps.answer(tsp.build_request(IMPRINT, nonce))


def stamped(world: World, answer: bytes, nonce: int = 5) -> tsp_token.Stamp:
    return tsp_token.verify(tsp_token.token_of(answer), IMPRINT, world.services.va.stamps.roots, nonce=nonce)


async def test_before_it_is_founded_the_authority_says_so_and_then_it_stamps(lone: World) -> None:
    assert await ask(lone) == tsp.rejection(tsp.FailInfo.SYSTEM_FAILURE)
    assert await lone.once("timestamp-key") == 1
    assert stamped(lone, await ask(lone)).at == lone.clock.at


async def test_the_key_is_its_own_and_its_certificate_is_for_time_stamping_alone(lone: World) -> None:
    await lone.once("timestamp-key")
    der = await lone.timestamps.certificate()
    assert der is not None
    assert Linter().findings_certificate(der) == ()
    made, issuer = x509.load_der_x509_certificate(der), lone.services.ca.authority.view
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (usage.critical, list(usage.value)) == (True, [ExtendedKeyUsageOID.TIME_STAMPING])
    assert made.public_key() not in (
        x509.load_der_x509_certificate(issuer.certificate_der).public_key(),
        x509.load_der_x509_certificate(lone.services.ca.responder.key.certificate_der).public_key(),
    )
    assert (await lone.audit()).findings == ()


async def test_the_certificate_is_renewed_a_year_before_it_ends_with_the_same_key(lone: World) -> None:
    await lone.once("timestamp-key")
    old = x509.load_der_x509_certificate(await lone.timestamps.certificate() or b"")
    await ask(lone)
    lone.clock.at = old.not_valid_after_utc - timestamp_key.RENEWED_BEFORE
    assert await lone.once("timestamp-key") == 0
    lone.clock.later(seconds=1)
    assert await lone.once("timestamp-key") == 1
    assert await lone.once("timestamp-key") == 0
    made = x509.load_der_x509_certificate(await lone.timestamps.certificate() or b"")
    assert (made.subject, made.public_key()) == (old.subject, old.public_key())
    assert made.not_valid_after_utc - lone.clock.at == timestamp_key.LIFE
    lone.clock.at = old.not_valid_after_utc + timedelta(days=1)
    assert stamped(lone, await ask(lone)).at == lone.clock.at.replace(microsecond=0)
    lone.clock.at = made.not_valid_after_utc + timedelta(seconds=1)
    assert await ask(lone) == tsp.rejection(tsp.FailInfo.SYSTEM_FAILURE)


async def test_a_clock_that_was_put_back_gets_no_token_until_it_has_caught_up(lone: World) -> None:
    await lone.once("timestamp-key")
    first = stamped(lone, await ask(lone)).at
    lone.clock.later(seconds=-1)
    assert stamped(lone, await ask(lone)).at == first
    lone.clock.later(seconds=-1)
    assert await ask(lone) == tsp.rejection(tsp.FailInfo.TIME_NOT_AVAILABLE)
    lone.clock.later(seconds=2)
    assert stamped(lone, await ask(lone)).at == first


async def test_a_restart_forgets_no_time_that_was_given_to_an_anchor(lone: World) -> None:
    await hour(lone)
    lone.clock.later(hours=-2)
    restarted = await lone.node(1)
    assert await ask(restarted) == tsp.rejection(tsp.FailInfo.TIME_NOT_AVAILABLE)


async def test_serial_numbers_carry_the_node_and_never_repeat(lone: World) -> None:
    from asn1crypto import tsp as asn1_tsp

    await lone.once("timestamp-key")
    second = await lone.node(2)
    serials = []
    for node in (lone, second):
        for nonce in range(20):
            token = asn1_tsp.ContentInfo.load(tsp_token.token_of(await ask(node, nonce)))["content"]
            serials.append(token["encap_content_info"]["content"].parsed["serial_number"].native)
    assert len(set(serials)) == 40
    assert {serial >> 136 for serial in serials} == {1, 2}


async def test_a_token_that_does_not_hold_is_not_stored_and_the_next_minute_tries_again(lone: World) -> None:
    await lone.once("sequence")
    await lone.once("timestamp-key")
    right = lone.timestamps.answer

    async def other_time(request: bytes) -> bytes:
        lone.clock.later(minutes=6)
        answer = await right(request)
        lone.clock.later(minutes=-6)
        return answer

    async def replayed(request: bytes) -> bytes:
        return await right(tsp.build_request(IMPRINT, 1))

    async def refused(request: bytes) -> bytes:
        return tsp.rejection(tsp.FailInfo.SYSTEM_FAILURE)

    for wrong, why in ((replayed, "imprint"), (refused, "rejected"), (other_time, "clock")):
        stamping = Stamping(wrong, lone.services.va.stamps.roots, lone.clock, lone.services.foundation.entropy)
        (anchor,) = (
            t for t in replace(lone.services.va.stamps, stamping=stamping).tasks("misled") if t.name == "anchor"
        )
        lone.clock.later(minutes=1)  # another worker's turn
        with pytest.raises(NotStamped, match=why):
            await anchor.job()
        assert await lone.count("anchors") == 0
    lone.clock.later(minutes=6, seconds=1)
    assert await lone.once("anchor") == 1


async def test_an_outside_authority_of_the_settings_makes_the_anchors_and_is_believed_by_its_root(
    lone: World, tmp_path: Path
) -> None:
    await lone.once("timestamp-key")
    await lone.once("sequence")

    async def outside(request: bytes) -> bytes:
        body = request.partition(b"\r\n\r\n")[2]
        return reply(await lone.timestamps.answer(body), "Content-Type: application/timestamp-reply")

    (tmp_path / "roots.pem").write_bytes(pem(lone.services.ca.authority.chain[-1]))
    async with authority(outside) as url:
        settings = {"timestamp": Timestamp(url=url, roots=tmp_path / "roots.pem"), "node": 3}
        services = await build(lone.services.foundation.settings.model_copy(update=settings), lone.clock, lone.dice)
        lone.nodes.append(services)
        assert await lone.with_services(services).once("anchor") == 1
    assert (services.va.stamps.by, services.va.stamps.roots[1:]) == (url, (lone.services.ca.authority.chain[-1],))
    assert (await verified(lone)).anchored.anchors == 1


# the auditor with openssl -----------------------------------------------------------------------------------------

PAGES = [Path(__file__).parents[2] / "docs" / f"auditor.{language}.md" for language in ("en", "zh-TW")]


def shown(page: Path) -> str:
    """The page's shell commands around openssl."""
    blocks = [block.split("```")[0] for block in page.read_text("utf-8").split("```sh\n")[1:]]
    (found,) = [block for block in blocks if "openssl ts -verify" in block]
    return found


def spoiled(heads: str) -> str:
    """The heads file with another fencing number in the newest head that has an anchor."""
    lines = heads.splitlines()
    newest = max(json.loads(line)["anchor"]["size"] for line in lines if line.startswith('{"anchor"'))
    changed = [re.sub('"fencing":[0-9]+', '"fencing":9', x) if x.endswith(f'"size":{newest}}}') else x for x in lines]
    return "\n".join(changed) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_commands_of_the_auditors_page_verify_an_anchor_with_openssl_alone(
    lone: World, tmp_path: Path, page: Path
) -> None:
    for _ in range(2):
        await hour(lone)
    folder = tmp_path / "auditor"
    folder.mkdir()
    (folder / "heads.jsonl").write_bytes((lone.services.foundation.settings.data / "heads.jsonl").read_bytes())
    (folder / "root.cer").write_bytes(lone.services.ca.authority.chain[-1])
    at = int(lone.clock.at.timestamp())
    script = shown(page).replace("openssl ts -verify", f"openssl ts -verify -attime {at}")

    async def run() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    code, said = await run()
    assert code == 0, said
    assert "Verification: OK" in said
    (folder / "heads.jsonl").write_text(spoiled((folder / "heads.jsonl").read_text()))
    code, said = await run()
    assert code != 0
    assert "Verification: OK" not in said


# the schema -------------------------------------------------------------------------------------------------------


async def test_an_installation_of_the_release_before_gets_the_tables(engine: Engine, engine_url: str) -> None:
    await db.upgrade(engine_url)

    def before() -> Script[None]:
        yield query("DROP TABLE anchors")
        yield query("DROP TABLE timestamp_keys")
        yield query("UPDATE alembic_version SET version_num = '0001'")

    def columns(table: str) -> Script[list[str]]:
        rows = yield query(f"SELECT * FROM {table}")
        assert rows == []
        yield query(f"INSERT INTO {table} ({', '.join(values[table])}) VALUES ({', '.join(values[table].values())})")
        return list((yield query(f"SELECT * FROM {table}"))[0].keys())

    values = {
        "anchors": {"hour": "1", "size": "2", "at": "3", "token": "'x'"},
        "timestamp_keys": {"issuer": "'i'", "certificate": "'c'", "stored_key": "'k'", "created_at": "4"},
    }
    await engine.run(before)
    await db.upgrade(engine_url)
    assert await db.current(engine_url) == db.head()
    for table in values:
        assert await engine.run(columns, table) == [column.name for column in metadata.tables[table].columns]
