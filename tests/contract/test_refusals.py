"""Records of refusals: keys and proofs that do not hold, what one person at the firm tried alone, a changed policy."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind
from chopmark.core.types import CustomerId, Serial
from chopmark.ra.policy import STRICT, TW_BROKER
from chopmark.ra.policy_record import policy_digest, record_policy
from chopmark.ra.refusals import A_CUSTOMER, THE_FIRM
from tests.contract.world import ANN, BEN, World, refusal, world_fixture

world = world_fixture()


async def test_a_request_that_is_none_is_refused_and_recorded_in_its_order(world: World) -> None:
    errand = await world.open()
    refused = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, b"no request", None))
    assert refused.kind is Kind.BAD_KEY
    (record,) = await world.records(Event.RA_KEY_REFUSED)
    assert record["chain"] == errand.id
    assert json.loads(record["facts"])["kind"] == "bad_key"


async def test_another_customers_key_is_refused_and_recorded(world: World) -> None:
    taken = await world.to_key(BEN)
    errand = await world.open(ANN)
    errand.key = taken.key
    refused = await refusal(errand.bind())
    assert refused.code == "key_used"
    assert len(await world.records(Event.RA_KEY_REFUSED)) == 1


async def test_a_proof_of_another_moment_is_refused_and_recorded(world: World) -> None:
    errand = await world.to_issued()
    proof = await errand.install_proof(at=world.clock.now() - timedelta(hours=1))
    refused = await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, proof))
    assert refused.kind is Kind.BAD_PROOF
    (record,) = await world.records(Event.RA_PROOF_REFUSED)
    assert record["chain"] == errand.id
    await errand.prove()


async def test_i41_refused_keys_are_recorded_within_a_budget_of_their_customer(world: World) -> None:
    errand, other = await world.open(ANN), await world.open(BEN)
    bind = world.services.ra.rekey.bind_key
    for _ in range(A_CUSTOMER + 5):
        assert (await refusal(bind(errand.caller, errand.id, b"no request", None))).kind is Kind.BAD_KEY
    assert len(await world.records(Event.RA_KEY_REFUSED)) == A_CUSTOMER
    await refusal(bind(other.caller, other.id, b"no request", None))
    assert len(await world.records(Event.RA_KEY_REFUSED)) == A_CUSTOMER + 1
    world.clock.later(hours=1)
    await refusal(bind(errand.caller, errand.id, b"no request", None))
    assert len(await world.records(Event.RA_KEY_REFUSED)) == A_CUSTOMER + 2


async def test_nobody_writes_into_another_customers_order(world: World) -> None:
    errand = await world.open(ANN)
    before = await world.count("leaves")
    refused = await refusal(world.services.ra.rekey.bind_key(world.caller(BEN), errand.id, b"no request", None))
    assert refused.kind is Kind.NOT_FOUND
    assert await world.count("leaves") == before


@pytest.mark.parametrize("approved_by", ["alice", "ALICE", "two words", ""])
async def test_i32_what_one_person_tries_alone_is_refused_and_recorded(world: World, approved_by: str) -> None:
    services, serial = world.services, Serial("01")
    for act in (
        services.ra.locks.release(CustomerId(ANN), "alice", approved_by),
        services.ra.suspension.hold(serial, "alice", approved_by),
        services.ra.suspension.release(serial, "alice", approved_by),
        services.ra.key_blocks.block("00" * 32, "key_compromise", "alice", approved_by),
    ):
        assert (await refusal(act)).field == "approved_by"
    acts = [json.loads(record["facts"])["purpose"] for record in await world.records(Event.STAFF_ACTION_REFUSED)]
    assert acts == ["hold_release", "certificate_hold", "certificate_release", "key_block"]
    assert not (await world.audit()).findings


async def test_i41_refused_acts_of_staff_are_recorded_within_a_budget(world: World) -> None:
    for _ in range(THE_FIRM + 3):
        await refusal(world.services.ra.suspension.hold(Serial("01"), "alice", "alice"))
    assert len(await world.records(Event.STAFF_ACTION_REFUSED)) == THE_FIRM


async def test_a_process_that_starts_under_another_policy_says_so_once(world: World) -> None:
    services = world.services
    changed = replace(TW_BROKER, code_attempts=6)
    started = (TW_BROKER, TW_BROKER, changed, changed, STRICT, TW_BROKER)
    told = [
        await record_policy(policy, services.foundation.installation, services.foundation.audit_log)
        for policy in started
    ]
    assert told == [True, False, True, False, True, True]
    records = [json.loads(record["facts"]) for record in await world.records(Event.STAFF_POLICY_CHANGED)]
    assert [record["policy"] for record in records] == ["tw-broker@1", "tw-broker@1", "strict@1", "tw-broker@1"]
    assert records[0]["policy_sha256"] == records[3]["policy_sha256"] != records[1]["policy_sha256"]


def test_any_changed_value_changes_the_digest_of_a_policy() -> None:
    longer = replace(TW_BROKER, approval_life=TW_BROKER.approval_life + timedelta(seconds=1))
    assert len({policy_digest(policy) for policy in (TW_BROKER, STRICT, longer, replace(TW_BROKER, channels=()))}) == 4
