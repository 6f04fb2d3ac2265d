"""Every condition of the statements about imported certificates: the row says otherwise in one thing."""

from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import CustomerId
from chopmark.ra.certificate_import.ports import Asked
from chopmark.ra.imported import Fingerprint, ImportedCertificate, ImportedState, Way
from chopmark.store.engine.columns import moment
from chopmark.store.repositories.ra.certificate_import import CertificateImportRegistry
from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository
from tests.contract.alone import Alone

A = CustomerId("A")
RUNS = {"live": "live", "under_way": "staging", "left": "given_up"}
NEVER = 99 * 86_400_000


async def ready(alone: Alone) -> ImportedCertificateRepository:
    await alone.people("A", "B")
    await alone.runs(**RUNS)
    return ImportedCertificateRepository(alone.engine)


async def end_of(alone: Alone, fingerprint: str) -> tuple[str, int | None]:
    (row,) = await alone.rows(
        "SELECT state, ended_at FROM imported_certificates WHERE fingerprint = :name", name=fingerprint
    )
    return row["state"], row["ended_at"]


async def test_living_are_active_ones_of_the_customer_from_finished_runs_the_longest_first(alone: Alone) -> None:
    certificates = await ready(alone)
    rows: dict[str, dict[str, Any]] = {
        "sooner": {"not_after": 1},
        "b": {},
        "a": {},
        "other": {"customer": "B"},
        "held": {"state": "held"},
        "staged": {"run": "under_way"},
        "left": {"run": "left"},
    }
    for name, row in rows.items():
        await alone.theirs(name, **{"customer": "A", "not_after": 2, **row})
    assert [one.fingerprint for one in await certificates.living(A)] == ["a", "b", "sooner"]
    assert await certificates.get(Fingerprint("staged")) is None
    found = await certificates.get(Fingerprint("held"))
    assert found is not None
    assert found.fingerprint == "held"


@pytest.mark.parametrize("state", ["active", "held", "superseded", "ended"])
async def test_its_own_ca_revokes_an_active_one_and_no_other(alone: Alone, state: str) -> None:
    certificates = await ready(alone)
    for name in ("F", "G"):
        await alone.theirs(name, "A", NEVER, state=state)
    done = await certificates.revoked_there(Fingerprint("F"), "key_compromise", alone.now, alone.record())
    assert done is (state == "active")
    assert await end_of(alone, "F") == (("revoked", alone.ago()) if done else (state, None))
    assert await end_of(alone, "G") == (state, None)


async def test_listed_as_revoked_are_active_ones_that_their_own_ca_has_revoked_for_good(alone: Alone) -> None:
    certificates = await ready(alone)
    rows: dict[str, dict[str, Any]] = {
        "b": {"serial": "11"},
        "a": {"serial": "12"},
        "unlisted": {"serial": "13"},
        "elsewhere": {"serial": "11", "issuer": "another"},
        "on_hold": {"serial": "14"},
        "held_here": {"serial": "12", "state": "held"},
        "staged": {"serial": "12", "run": "under_way"},
    }
    for name, row in rows.items():
        await alone.theirs(name, "A", NEVER, **row)
    for serial, reason in (("11", "superseded"), ("12", "key_compromise"), ("14", "certificate_hold")):
        said = {"issuer": "old", "place": "p", "reason": reason, "revoked_at": 0, "generation": 1}
        await alone.add("former_revocations", serial=serial, **said)
    found = await certificates.listed_as_revoked(9)
    assert [(one.fingerprint, reason) for one, reason in found] == [("a", "key_compromise"), ("b", "superseded")]
    assert [one.fingerprint for one, _ in await certificates.listed_as_revoked(1)] == ["a"]


async def test_due_at_a_ca_is_what_is_to_be_revoked_there_and_was_not_in_its_order(alone: Alone) -> None:
    certificates = await ready(alone)
    rows: dict[str, dict[str, Any]] = {
        "d": {"revoke_after": 1},
        "c": {"revoke_after": 2},
        "b": {"revoke_after": 2},
        "now": {"revoke_after": alone.ago()},
        "later": {"revoke_after": alone.ahead(seconds=1)},
        "not_asked": {},
        "done": {"revoke_after": 1, "revoked_there_at": 5},
        "elsewhere": {"revoke_after": 1, "issuer": "another"},
        "staged": {"revoke_after": 1, "run": "under_way"},
    }
    for name, row in rows.items():
        await alone.theirs(name, "A", NEVER, **row)
    found = await certificates.due_at("old", alone.now, None, 9)
    assert [one.fingerprint for one in found] == ["d", "b", "c", "now"]
    assert [one.fingerprint for one in await certificates.due_at("old", alone.now, None, 2)] == ["d", "b"]
    after = moment(2), Fingerprint("b")
    assert [one.fingerprint for one in await certificates.due_at("old", alone.now, after, 9)] == ["c", "now"]
    asked = [one.fingerprint for one in await certificates.asked_to_revoke()]
    assert asked == ["d", "elsewhere", "b", "c", "now", "later", "done"]


@pytest.mark.parametrize("row", [{}, {"revoke_after": None}, {"revoked_there_at": 5}])
async def test_what_was_asked_for_is_done_once(alone: Alone, row: dict[str, Any]) -> None:
    certificates = await ready(alone)
    for name in ("F", "G"):
        await alone.theirs(name, "A", NEVER, **{"revoke_after": 1, **row})
    done = await certificates.done(Fingerprint("F"), alone.now, "amy", "bob", alone.record())
    assert done is (row == {})
    stood = row.get("revoked_there_at")
    there = await alone.values("imported_certificates", "fingerprint", "revoked_there_at")
    assert there == {"F": alone.ago() if done else stood, "G": stood}


async def test_the_valid_ones_of_each_issuer_are_counted_by_their_issuer(alone: Alone) -> None:
    certificates = await ready(alone)
    rows: dict[str, dict[str, Any]] = {
        "1": {}, "2": {}, "3": {"issuer": "another"}, "4": {"state": "revoked"}, "5": {"run": "left"},
    }  # fmt: skip
    for name, row in rows.items():
        await alone.theirs(name, "A", alone.ahead(days=1), **row)
    await alone.theirs("6", "A", alone.ago())
    assert list((await certificates.issuers(alone.now)).items()) == [("another", 1), ("old", 2)]


def registry(alone: Alone) -> CertificateImportRegistry:
    return CertificateImportRegistry(alone.engine)


def imported(name: str, run: str, customer: str = "A", spki: str = "") -> ImportedCertificate:
    begins, ends = moment(0), moment(NEVER)
    return ImportedCertificate(
        Fingerprint(name), "new", "01", CustomerId(customer), None, "third", Way.VAULT, spki or name, b"d", (),
        begins, ends, ImportedState.ACTIVE, begins, run,
    )  # fmt: skip


@pytest.mark.parametrize("before", ["live", "left", "under_way"])
async def test_a_run_stages_again_what_another_left_and_never_what_counts(alone: Alone, before: str) -> None:
    await ready(alone)
    await alone.theirs("F", "B", NEVER, run=before)
    assert await registry(alone).stage("under_way", 0, 1, [imported("F", "under_way")], alone.now) is None
    (row,) = await alone.rows("SELECT customer, issuer, profile, way, run, imported_at FROM imported_certificates")
    stays = {"customer": "B", "issuer": "old", "profile": "investor", "way": "file", "run": before, "imported_at": 0}
    taken = {
        "customer": "A", "issuer": "new", "profile": "third", "way": "vault", "run": "under_way",
        "imported_at": alone.ago(),
    }  # fmt: skip
    assert row == (stays if before == "live" else taken)


@pytest.mark.parametrize(("run", "start"), [("under_way", 1), ("live", 0), ("left", 0), ("nobody", 0)])
async def test_a_run_that_another_process_moved_or_ended_stages_nothing(alone: Alone, run: str, start: int) -> None:
    await ready(alone)
    assert await registry(alone).stage(run, start, start + 1, [imported("F", run)], alone.now) is not None
    assert await alone.count("imported_certificates") == 0
    assert set((await alone.values("certificate_imports", "run", "done")).values()) == {0}


@pytest.mark.parametrize(("run", "done"), [("under_way", 0), ("under_way", 1), ("live", 0), ("left", 0)])
async def test_a_run_is_finished_once_as_far_as_it_was_read(alone: Alone, run: str, done: int) -> None:
    await ready(alone)
    finished = await registry(alone).finish(run, done, "{}", alone.now, alone.record())
    assert finished is ((run, done) == ("under_way", 0))
    states = {**RUNS, "under_way": "live"} if finished else RUNS
    assert await alone.values("certificate_imports", "run", "state") == states


async def test_only_a_run_under_way_is_given_up_and_its_rows_are_swept_so_many_at_a_time(alone: Alone) -> None:
    await ready(alone)
    for run in RUNS:
        await registry(alone).give_up(run)
    assert await alone.values("certificate_imports", "run", "state") == {
        "live": "live", "under_way": "given_up", "left": "given_up",
    }  # fmt: skip
    for name, run in (("1", "left"), ("2", "left"), ("3", "under_way"), ("4", "live")):
        await alone.theirs(name, "A", NEVER, run=run)
    assert await registry(alone).sweep(2) == 2
    assert await registry(alone).sweep(2) == 1
    assert await alone.values("imported_certificates", "fingerprint", "run") == {"4": "live"}


async def test_giving_up_one_run_leaves_another_alone(alone: Alone) -> None:
    await ready(alone)
    await registry(alone).give_up("live")
    await registry(alone).give_up("left")
    assert await alone.values("certificate_imports", "run", "state") == RUNS


async def test_a_run_begins_where_the_same_input_was_left_and_gives_others_up(alone: Alone) -> None:
    await alone.add("certificate_imports", run="old", state="live", input_sha256="other")
    first = await registry(alone).begin("one", "input", "amy", alone.now)
    assert (first.run, first.done) == ("one", 0)
    await alone.change("UPDATE certificate_imports SET done = 7 WHERE run = 'one'")
    again = await registry(alone).begin("two", "input", "amy", alone.now)
    assert (again.run, again.done) == ("one", 7)
    other = await registry(alone).begin("three", "another", "amy", alone.now)
    assert (other.run, other.done) == ("three", 0)
    assert await alone.values("certificate_imports", "run", "state") == {
        "old": "live", "one": "given_up", "three": "staging",
    }  # fmt: skip
    fourth = await registry(alone).begin("four", "input", "amy", alone.now)
    assert (fourth.run, fourth.done) == ("four", 0)


async def test_keys_that_two_customers_share_are_found_and_left_out_of_this_run_alone(alone: Alone) -> None:
    await ready(alone)
    keys = (("1", "A", "same"), ("2", "B", "same"), ("3", "A", "twice"), ("4", "A", "twice"), ("5", "A", "x"),
            ("6", "A", "also"), ("7", "B", "also"))  # fmt: skip
    for name, customer, key in keys:
        await alone.theirs(name, customer, NEVER, spki_sha256=key, run="under_way")
    await alone.theirs("8", "B", NEVER, spki_sha256="x", run="live")
    await alone.theirs("9", "B", NEVER, spki_sha256="same", run="live")
    assert sorted(await registry(alone).shared_keys("under_way", 9)) == ["also", "same"]
    assert len(await registry(alone).shared_keys("under_way", 1)) == 1
    await registry(alone).leave_out("under_way", ["same"])
    left = await alone.values("imported_certificates", "fingerprint", "run")
    assert sorted(left) == ["3", "4", "5", "6", "7", "8", "9"]


async def test_known_of_a_batch_is_what_counts_and_no_more(alone: Alone) -> None:
    await ready(alone)
    await alone.add("accounts", number="1", customer="A", kind="k", position=0)
    for name, run, key in (("F", "live", "k1"), ("G", "under_way", "k2"), ("H", "live", "k3")):
        await alone.theirs(name, "A", NEVER, run=run, spki_sha256=key)
    for key, customer, blocked in (("k4", "B", None), ("k5", "B", "lost")):
        await alone.add("keys", spki_sha256=key, customer=customer, first_seen_at=0, blocked=blocked)
    await alone.add("blocked_keys", spki_sha256="k6", reason="lost", blocked_at=0)
    await alone.ours("k7", "B", alone.ago())
    asked = Asked({"A"}, {"B"}, {"1"}, {Fingerprint("F"), Fingerprint("G")}, {"k1", "k2", "k4", "k5", "k6", "k7"})
    known = await registry(alone).known(asked, alone.now)
    assert dict(known.persons) == {"A": "A"}
    assert dict(known.accounts) == {"1": "A"}
    assert known.customers == {"B"}
    assert known.there == {"F"}
    assert dict(known.keys) == {"k1": {"A"}, "k4": {"B"}, "k5": {"B"}, "k7": {"B"}}
    assert known.blocked == {"k5", "k6"}
    assert known.certified == {"B"}


@pytest.mark.parametrize(
    ("row", "certified"),
    [({}, True), ({"state": "held"}, True), ({"state": "revoked"}, False), ({"state": "issued"}, False)],
)
async def test_certified_is_who_has_one_of_ours_in_use_or_on_hold_that_has_not_ended(
    alone: Alone, row: dict[str, str], certified: bool
) -> None:
    await ready(alone)
    await alone.ours("S", "A", alone.ago(), **row)
    asked = Asked((), {"A", "B"}, (), (), ())
    assert (await registry(alone).known(asked, alone.now)).certified == ({"A"} if certified else set())
    assert (await registry(alone).known(asked, alone.now + timedelta(seconds=1))).certified == set()
