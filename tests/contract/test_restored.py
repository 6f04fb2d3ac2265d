"""`chopmark db restored` after real restores, on both engines: what is lost is said, void, and provable for ever."""

import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.findings import Code, Level, Report
from chopmark.audit.head import Head, encode_head
from chopmark.audit.headfile import read_heads
from chopmark.audit.losscheck import RESTORED_STREAM
from chopmark.audit.record import make_record
from chopmark.audit.sequencer import TreeBehind
from chopmark.cli.command_line import app
from chopmark.cli.database import restored
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import CustomerId, OrderState
from chopmark.ra.ports import Answer
from chopmark.ra.restoring import Ended, Restoring, Voided
from chopmark.ra.snapshots import Repeat
from chopmark.store.repositories.restored import RestoredRepository
from tests import postgres
from tests.contract.programs import Program
from tests.contract.restores import backed_up, everything, restoring
from tests.contract.test_anchors import PAGES, verified
from tests.contract.test_launch import ticket
from tests.contract.test_sessions import opened
from tests.contract.world import ANN, BEN, DAN, FAY, GUS, World, refusal, world_fixture

world = world_fixture()
lone = world_fixture(engines=("sqlite",))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, world: World) -> postgres.Cluster | None:
    found = (
        request.getfixturevalue("postgres_cluster")
        if world.services.foundation.engine.dialect == "postgresql"
        else None
    )
    assert found is None or isinstance(found, postgres.Cluster)
    return found


def heads_of(world: World) -> Path:
    return world.services.foundation.settings.data / "heads.jsonl"


async def sequenced(world: World) -> None:
    """Let the worker sequence, after any lease of somebody else has run out."""
    world.clock.later(seconds=11)
    await world.once("sequence")


async def declared(world: World) -> Ended:
    ended = await restoring(world).end("S1", "the disk died")
    assert ended is not None
    return ended


def errors(report: Report) -> set[Code]:
    return {finding.code for finding in report.findings if finding.level is Level.ERROR}


async def test_after_a_restore_the_sequencer_refuses_until_it_is_declared_and_the_trail_tells_of_it(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.to_active(ANN)
    await sequenced(world)
    await backup.put_back(world)
    await world.to_sent(BEN)
    with pytest.raises(TreeBehind, match="chopmark db restored"):
        await sequenced(world)
    assert Code.FILE_AHEAD in errors(await verified(world))

    ended = await declared(world)
    assert ended.loss is not None
    given_up = successor_of(ended).draft.lost
    assert given_up is not None
    assert ended.loss.kept == successor_of(ended).size - await waited(world, ended)
    assert ended.loss.lost == given_up.size
    await sequenced(world)
    await world.to_active(GUS)
    await sequenced(world)
    report = await verified(world)
    assert [(finding.code, finding.level) for finding in report.findings] == [(Code.RECORDS_LOST, Level.NOTICE)]
    assert report.findings[0].sentence.endswith("By S1: the disk died")
    assert await verified(world, export=tmp_path / "trail.jsonl") == report
    assert errors(await verified(world, filed=False)) == set()
    (record,) = await world.records(Event.AUDIT_LEDGER_RESTORED)
    assert f'"kept":{ended.loss.kept}' in record["facts"]
    assert f'"lost":{ended.loss.lost}' in record["facts"]


def successor_of(ended: Ended) -> Head:
    assert ended.successor is not None
    return ended.successor


async def waited(world: World, ended: Ended) -> int:
    """How many records the successor has placed."""
    assert ended.loss is not None
    within = "position >= :kept AND position < :size"
    return await world.count("places", within, kept=ended.loss.kept, size=successor_of(ended).size)


# what the lost time has used up --------------------------------------------------------------------------------------


async def test_a_code_that_was_used_before_the_restore_is_dead_after_it(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    errand = await world.to_sent(ANN)
    code = await errand.code()
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await errand.answer(code)
    await sequenced(world)
    await backup.put_back(world)
    assert (await errand.challenge()).state.value == "live"  # what is mended here

    ended = await declared(world)
    assert ended.loss is not None
    assert ended.loss.voided[Voided.CODES] == 1
    refused = await refusal(errand.answer(code))
    assert refused.kind is Kind.CODE_DEAD
    world.clock.later(minutes=2)
    await errand.send()
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_a_message_with_a_code_that_was_waiting_in_the_copy_is_not_sent_and_recorded_as_void(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await world.to_sent(ANN)
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.work()
    assert await world.count("work", "kind = 'code' AND outcome = 'sent'") == 1
    await sequenced(world)
    await backup.put_back(world)
    await declared(world)
    await world.once("deliver-0")
    assert [row["outcome"] for row in await world.rows("SELECT outcome FROM work WHERE kind = 'code'")] == ["void"]
    failed = [record["facts"] for record in await world.records(Event.POST_MESSAGE_FAILED)]
    assert any('"code":"void"' in facts for facts in failed)


async def test_a_session_that_was_closed_before_the_restore_stays_closed_and_the_login_is_known(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    before = await opened(world)
    session = await world.services.identity.sessions.seen(before)
    assert session is not None
    token = (await world.services.identity.sessions.step_up(session, b"repeat")).token.reveal()
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.services.identity.sessions.sign_out(token)
    await sequenced(world)
    await backup.put_back(world)
    assert await world.services.identity.sessions.seen(token) is not None  # what is mended here
    assert await world.services.identity.sessions.before(before, b"repeat") is not None
    await declared(world)
    assert await world.services.identity.sessions.seen(token) is None
    assert await world.services.identity.sessions.before(before, b"repeat") is None
    assert await world.count("sessions") == 1


async def test_a_ticket_that_was_taken_or_confirmed_before_the_restore_cannot_be_again(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    untaken = await ticket(world)
    taken = await ticket(world)
    await world.services.identity.launches.take(taken, "visitor")
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.services.identity.launches.take(untaken, "visitor")
    await world.services.identity.launches.confirm(taken, "visitor", None)
    await sequenced(world)
    await backup.put_back(world)
    ended = await declared(world)
    assert ended.loss is not None
    assert ended.loss.voided[Voided.TICKETS] == 2
    assert (await refusal(world.services.identity.launches.take(untaken, "visitor"))).kind is Kind.FORBIDDEN
    assert (await refusal(world.services.identity.launches.confirm(taken, "visitor", None))).kind is Kind.FORBIDDEN


async def test_a_nonce_that_a_signature_has_used_up_before_the_restore_is_gone(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    errand = await world.open(ANN)
    await errand.bind()
    nonce = await errand.nonce()
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await errand.within("LOGIN2").possess(nonce=nonce)
    await sequenced(world)
    await backup.put_back(world)
    await declared(world)
    assert (await refusal(errand.within("LOGIN2").possess(nonce=nonce))).kind is Kind.BAD_PROOF
    await errand.within("LOGIN2").possess()


async def test_a_credential_of_a_program_and_the_answer_to_a_repeated_request_are_void(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    unused = await Program.begun(world)
    used = await Program.begun(world, customer=BEN)
    await used.ask()
    repeat = Repeat("a-key", "POST /orders", b"\x01" * 32)
    store, scope = world.services.ra.idempotency, repeat.scope(CustomerId(ANN))
    assert await store.begin(scope, repeat.name, repeat.body_sha256, world.clock.at) is None
    store.finish(scope, repeat.name, Answer(201, "{}"))
    await store.stored()
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.to_sent(GUS)
    await sequenced(world)
    await backup.put_back(world)
    ended = await declared(world)
    assert ended.loss is not None
    assert (ended.loss.voided[Voided.CREDENTIALS], ended.loss.voided[Voided.ANSWERS]) == (2, 1)
    for program in (unused, used):
        program.errand.world = world
        assert (await refusal(program.ask())).code == "credential"
    assert await world.services.ra.idempotency.begin(scope, repeat.name, repeat.body_sha256, world.clock.at) is None


async def test_what_is_void_has_a_record_with_its_count_and_who(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await opened(world)
    await opened(world, BEN)
    await world.to_sent(ANN)
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.to_sent(GUS)
    await sequenced(world)
    await backup.put_back(world)
    await declared(world)
    told = [record["facts"] for record in await world.records(Event.AUDIT_SECRETS_VOIDED)]
    assert {'{"by":"S1","count":2,"purpose":"sessions"}', '{"by":"S1","count":1,"purpose":"codes"}'} <= set(told)


async def test_a_count_that_is_not_true_any_more_is_not_recorded_and_voids_nothing(world: World) -> None:
    await opened(world)
    await opened(world, BEN)
    before = await everything(world)
    tip = await world.services.foundation.audit_repository.tip(RESTORED_STREAM)
    facts: dict[str, Fact] = {"by": "S1", "purpose": "sessions", "count": 1}
    record = make_record(tip, Event.AUDIT_SECRETS_VOIDED, facts, world.clock.at, world.services.foundation.audit_key)
    assert not await RestoredRepository(world.services.foundation.engine).void(Voided.SESSIONS, 1, record)
    assert await everything(world) == before


async def test_every_answer_and_list_is_signed_anew_and_the_numbers_of_lists_rise(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await world.to_active(ANN)
    await world.once("publish")
    await world.once("presign")
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.revoked(ANN)
    await world.work()
    await world.once("presign")
    await sequenced(world)
    lost = {row["shard"]: row["number"] for row in await world.rows("SELECT shard, number FROM crls")}
    await backup.put_back(world)
    kept = await world.rows("SELECT serial, algorithm, produced_at FROM answers")
    assert kept
    world.clock.later(seconds=1)
    await declared(world)
    assert await world.count("answers") == 0
    await world.once("publish")
    await world.once("presign")
    numbers = {row["shard"]: row["number"] for row in await world.rows("SELECT shard, number FROM crls")}
    assert numbers.keys() == lost.keys()
    assert all(numbers[shard] > lost[shard] for shard in lost)
    assert await world.count("answers") == len(kept)


async def test_every_lease_is_free_and_its_fencing_number_is_above_the_heads_files(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await sequenced(world)
    await world.once("anchor")
    backup = backed_up(world, cluster, tmp_path)
    await world.change("UPDATE leases SET fencing = 90, until = 0 WHERE name = 'places'")
    await world.to_sent(ANN)
    await sequenced(world)
    last = read_heads(heads_of(world)).heads[-1]
    assert last.draft.fencing == 91
    await backup.put_back(world)
    ended = await declared(world)
    assert successor_of(ended).draft.fencing > last.draft.fencing
    rows = await world.rows("SELECT name, holder, fencing FROM leases")
    assert len(rows) > 1
    assert all(row["fencing"] > last.draft.fencing for row in rows)
    assert all(row["holder"] == "" for row in rows if row["name"] != "places")
    await sequenced(world)


# the command ----------------------------------------------------------------------------------------------------


async def test_a_dry_run_says_what_is_lost_and_changes_nothing(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await opened(world)
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    await world.to_sent(ANN)
    await sequenced(world)
    await backup.put_back(world)
    before, filed = await everything(world), heads_of(world).read_bytes()
    loss = await restoring(world).plan()
    assert loss is not None
    assert loss.lost > loss.kept
    assert loss.voided[Voided.SESSIONS] == 1
    assert (await everything(world), heads_of(world).read_bytes()) == (before, filed)


async def test_a_whole_database_is_left_alone(world: World) -> None:
    await opened(world)
    await sequenced(world)
    before, filed = await everything(world), heads_of(world).read_bytes()
    assert await restoring(world).plan() is None
    assert await restoring(world).end("S1", "nothing happened") is None
    assert (await everything(world), heads_of(world).read_bytes()) == (before, filed)


async def test_a_restore_of_the_heads_file_together_with_the_database_is_not_noticed(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    """What docs/threats.md says: keep the heads file out of the backup."""
    await sequenced(world)
    backup, filed = backed_up(world, cluster, tmp_path), heads_of(world).read_bytes()
    await world.to_sent(ANN)
    await sequenced(world)
    kept_elsewhere = tmp_path / "kept.jsonl"
    kept_elsewhere.write_bytes(heads_of(world).read_bytes())
    await backup.put_back(world)
    heads_of(world).write_bytes(filed)
    assert await restoring(world).plan() is None
    assert errors(await verified(world)) == set()
    heads_of(world).write_bytes(kept_elsewhere.read_bytes())
    assert Code.FILE_AHEAD in errors(await verified(world))


async def test_a_standby_that_lost_only_the_last_head_is_noticed(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await sequenced(world)
    await world.to_sent(ANN)
    backup = backed_up(world, cluster, tmp_path)
    await sequenced(world)
    await backup.put_back(world)
    with pytest.raises(TreeBehind):
        await sequenced(world)
    await declared(world)
    await sequenced(world)
    report = await verified(world)
    assert [finding.code for finding in report.findings] == [Code.RECORDS_LOST]


async def test_two_restores_leave_two_notices_and_every_error_an_error(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await sequenced(world)
    for customer in (ANN, GUS):
        backup = backed_up(world, cluster, tmp_path)
        await world.to_sent(customer)
        await sequenced(world)
        await backup.put_back(world)
        await declared(world)
        await sequenced(world)
        await world.to_sent(DAN if customer == ANN else FAY)
        await sequenced(world)
    report = await verified(world)
    assert [finding.code for finding in report.findings] == [Code.RECORDS_LOST] * 2
    await world.change("UPDATE leaves SET facts = '{}' WHERE event = :event", event=Event.AUDIT_LEDGER_RESTORED.value)
    assert {Code.MAC_WRONG, Code.ROOT_WRONG, Code.SUCCESSOR_UNTOLD} <= errors(await verified(world))


async def test_anchors_that_a_restore_has_lost_hold_over_their_heads_and_an_edited_one_does_not(
    world: World, cluster: postgres.Cluster | None, tmp_path: Path
) -> None:
    await sequenced(world)
    backup = backed_up(world, cluster, tmp_path)
    assert await world.once("anchor") == 1  # over a head that is kept; its row is lost
    world.clock.later(hours=1)
    await sequenced(world)
    assert await world.once("anchor") == 1  # over a head that is lost
    await backup.put_back(world)
    await declared(world)
    await sequenced(world)
    world.clock.later(hours=1)
    assert await world.once("anchor") == 1
    await sequenced(world)
    report = await verified(world)
    found = {finding.code: finding for finding in report.findings}
    assert found.keys() == {Code.RECORDS_LOST, Code.ANCHORS_LOST}
    assert found[Code.ANCHORS_LOST].sentence.startswith("2 anchors")
    path = heads_of(world)
    lines = path.read_text().splitlines()
    anchors = [at for at, line in enumerate(lines) if line.startswith('{"anchor"')]
    lost = read_heads(path).anchors
    exchanged = lines[anchors[1]].replace(f'"size":{lost[1].size}', f'"size":{lost[0].size}')
    path.write_text("\n".join([*lines[: anchors[1]], exchanged, *lines[anchors[1] + 1 :]]) + "\n")
    assert errors(await verified(world)) == {Code.FILE_ANCHOR_MISSING}


# a crash at any point ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class Fragile:
    """Passes calls on until the `last` one, which kills the process before or after it was done."""

    def __init__(self, inner: Any, deaths: "Deaths") -> None:
        self._inner = inner
        self._deaths = deaths

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        if inspect.iscoroutinefunction(found):

            async def called(*args: Any, **named: Any) -> Any:
                self._deaths.before()
                answer = await found(*args, **named)
                self._deaths.after()
                return answer

            return called

        def done(*args: Any, **named: Any) -> Any:
            self._deaths.before()
            answer = found(*args, **named)
            self._deaths.after()
            return answer

        return done


class Deaths:
    """Counts what is called and kills at one point."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.point = 0

    def before(self) -> None:
        self._step()

    def after(self) -> None:
        self._step()

    def _step(self) -> None:
        self.point += 1
        if self.point == self.at:
            raise Killed


def fragile(whole: Restoring, deaths: Deaths) -> Restoring:
    for name in ("repository", "voids"):
        setattr(whole, name, Fragile(getattr(whole, name), deaths))
    files: Any = whole.files
    whole.files = type(files)(Fragile(files.heads, deaths), files.signer, files.former_keys)
    return whole


@pytest.mark.parametrize("third", range(3))
async def test_whatever_point_it_is_killed_at_a_second_run_ends_it_once(
    lone: World, tmp_path: Path, third: int
) -> None:
    await opened(lone)
    await lone.to_sent(ANN)
    await sequenced(lone)
    backup = backed_up(lone, None, tmp_path)
    await lone.to_sent(GUS)
    await sequenced(lone)
    filed = heads_of(lone).read_bytes()
    point, ended = third + 1, False
    while not ended:
        heads_of(lone).write_bytes(filed)
        await backup.put_back(lone)
        deaths = Deaths(point)
        try:
            await fragile(restoring(lone), deaths).end("S1", "the disk died")
            ended = True
        except Killed:
            await restoring(lone).end("S1", "the disk died")
        assert await restoring(lone).end("S1", "the disk died") is None
        lines = read_heads(heads_of(lone)).heads
        assert [head.draft.lost is not None for head in lines].count(True) == 1, point
        assert len(await lone.records(Event.AUDIT_LEDGER_RESTORED)) == 1, point
        assert len(await lone.records(Event.AUDIT_SECRETS_VOIDED)) == 3, point
        assert await lone.count("heads", "line = :line", line=encode_head(lines[-1])) == 1
        assert [finding.code for finding in (await verified(lone)).findings] == [Code.RECORDS_LOST], point
        point += 3
    assert point > 30, "it was killed at many points"


# the command line ------------------------------------------------------------


async def told(
    lone: World, capsys: pytest.CaptureFixture[str], *, dry_run: bool, reason: str = "the disk died"
) -> tuple[int, str]:
    code = await restored(lone.services.foundation.settings, "S1", reason, dry_run=dry_run)
    return code, capsys.readouterr().out


async def test_the_command_says_what_it_would_do_does_it_and_then_finds_nothing_to_do(
    lone: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await opened(lone)
    await sequenced(lone)
    backup = backed_up(lone, None, tmp_path)
    await lone.to_sent(ANN)
    await sequenced(lone)
    await backup.put_back(lone)
    code, said = await told(lone, capsys, dry_run=True)
    assert code == 0
    assert "      1  sessions" in said
    assert "Nothing was changed. Without --dry-run it is done." in said
    assert await lone.records(Event.AUDIT_LEDGER_RESTORED) == []
    code, said = await told(lone, capsys, dry_run=False)
    assert code == 0
    assert "is signed and in the heads file.\nThe counter works again." in said
    (record,) = await lone.records(Event.AUDIT_LEDGER_RESTORED)
    assert '"by":"S1"' in record["facts"]
    assert '"os_user":' in record["facts"]
    assert '"reason":"the disk died"' in record["facts"]
    for dry in (True, False):
        code, said = await told(lone, capsys, dry_run=dry)
        assert code == 0
        assert "The database is whole" in said


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 201])
async def test_a_reason_is_one_line_of_text(lone: World, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        await restored(lone.services.foundation.settings, "S1", reason, dry_run=False)
    assert (caught.value.refusal.kind, caught.value.refusal.field) == (Kind.MALFORMED, "reason")


async def test_a_heads_file_that_somebody_else_has_signed_is_no_restore(
    lone: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await sequenced(lone)
    path = heads_of(lone)
    path.write_text(path.read_text().replace('"signature":"', '"signature":"00'))
    code, said = await told(lone, capsys, dry_run=False)
    assert code == 1
    assert "was not signed by our key" in said
    assert await lone.records(Event.AUDIT_LEDGER_RESTORED) == []


def test_the_command_is_on_the_command_line_and_demands_both_names() -> None:
    with pytest.raises(Exception, match="--by"):
        app(["db", "restored", "--reason", "x"], exit_on_error=False, print_error=False)
    with pytest.raises(Exception, match="--reason"):
        app(["db", "restored", "--by", "S1"], exit_on_error=False, print_error=False)


# the auditor ----------------------------------------------------------------------------------------------------


def shown(page: Path) -> str:
    """The page's shell commands about successors, one after the other."""
    blocks = [block.split("```")[0] for block in page.read_text("utf-8").split("```sh\n")[1:]]
    wanted = [block for block in blocks if '"lost":{' in block or "BASE=" in block]
    assert len(wanted) == 3
    return "".join(wanted)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_auditors_commands_show_both_trees_with_openssl_alone(
    lone: World, tmp_path: Path, page: Path
) -> None:
    await sequenced(lone)
    backup = backed_up(lone, None, tmp_path)
    await lone.to_sent(ANN)
    await sequenced(lone)
    await backup.put_back(lone)
    ended = await declared(lone)
    await sequenced(lone)
    folder = tmp_path / "auditor"
    folder.mkdir()
    (folder / "head.pub.pem").write_bytes(lone.services.audit.head_signer.public_pem)
    (folder / "heads.jsonl").write_bytes(heads_of(lone).read_bytes())
    await verified(lone, export=folder / "trail.jsonl")
    heads = read_heads(folder / "heads.jsonl").heads
    at = heads.index(ended.successor)

    code, said = run(page, folder)
    assert code == 0, said
    assert "Signature Verified Successfully" in said
    assert f"kept: {encode_head(heads[at - 2])}\n" in said
    assert f"lost: {encode_head(heads[at - 1])}\n" in said
    assert '"event":"audit:ledger:restored"' in said

    spoiled = (folder / "heads.jsonl").read_text().replace('"lost":{"base":"', '"lost":{"base":"00')
    (folder / "heads.jsonl").write_text(spoiled)
    code, said = run(page, folder)
    assert code != 0
    assert "Signature Verified Successfully" not in said


def run(page: Path, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-ec", shown(page)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode()
