"""A table that is better off than its records allow is found: what came back, cooled early, was unlocked."""

from datetime import date, timedelta

import pytest

from chopmark.audit.findings import Code
from chopmark.cli import audit
from chopmark.core.refusal import Kind
from chopmark.core.types import CustomerId, Operation, Reason
from chopmark.ra.customer_import.ports import Allowed
from chopmark.stepup.ports import Sequel
from tests.contract.test_issuance import said
from tests.contract.world import ANN, BEN, CEO, DAN, ROWS, Errand, World, refusal, world_fixture

world = world_fixture()


async def found(world: World) -> list[tuple[Code, str]]:
    return [(finding.code, finding.place) for finding in (await world.audit()).findings]


async def sound(world: World) -> None:
    report = await world.audit()
    assert report.findings == ()
    assert report.tables_checked


# certificates ---------------------------------------------------------------------------------------------------------


async def test_a_long_history_says_in_its_records_what_its_tables_say(world: World) -> None:
    people = ("alice", "bob")
    await world.to_active(ANN)
    await world.to_active(BEN)
    await world.to_active(CEO)
    await world.revoked(BEN, Reason.COMPROMISED)
    await sound(world)
    serial = world.held[CEO].certificate.serial
    await world.services.ra.suspension.hold(serial, *people)
    await sound(world)
    await world.services.ra.suspension.release(serial, *people)
    lost = await world.to_code(ANN, Operation.REPLACE, reason=Reason.LOST)
    await sound(world)
    await lost.birth_date()
    await lost.confirm()
    await lost.prove()
    undone = await world.to_issued(DAN)
    await world.services.ra.enrolment.cancel(undone.caller, undone.id)
    await world.work()
    await sound(world)
    await world.services.ra.key_blocks.block(world.held[CEO].key.spki_sha256.hex(), "keyCompromise", *people)
    await world.work()
    await sound(world)
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
    await world.work()
    await sound(world)


REVIVED = {
    "the CA's": ("UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL", "certificate-state-wrong"),
    "the customer's": ("UPDATE holdings SET state = 'active', ended_at = NULL, reason = NULL", "holding-state-wrong"),
    "the row gone": ("DELETE FROM certificates", "certificate-row-missing"),
}


@pytest.mark.parametrize("which", REVIVED)
async def test_a_revoked_certificate_that_came_back_is_found(world: World, which: str) -> None:
    await world.to_active(ANN)
    await world.revoked(ANN, Reason.COMPROMISED)
    await world.work()
    serial = world.held[ANN].certificate.serial
    await sound(world)
    sql, code = REVIVED[which]
    await world.change(sql if "DELETE" not in sql else f"DELETE FROM answers WHERE serial = '{serial}'")
    await world.change(sql)
    assert await found(world) == [(code, f"certificate {serial}")]


@pytest.mark.parametrize("state", ["issued", "active", "held"])
async def test_so_is_a_superseded_one(world: World, state: str) -> None:
    await world.to_active(ANN)
    old = world.held[ANN].certificate.serial
    await world.to_active(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await world.work()
    await world.change(
        "UPDATE holdings SET profile = 'other', state = :state WHERE serial = :old", state=state, old=old
    )
    assert await found(world) == [("holding-state-wrong", f"certificate {old}")]


async def test_a_hold_that_nobody_released_is_found(world: World) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    await world.services.ra.suspension.hold(serial, "alice", "bob")
    await world.change("UPDATE holdings SET state = 'active', ended_at = NULL, reason = NULL")
    await world.change("UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL")
    where = f"certificate {serial}"
    assert await found(world) == [("certificate-state-wrong", where), ("holding-state-wrong", where)]


async def test_a_certificate_that_counts_without_having_proved_itself_is_found(world: World) -> None:
    errand = await world.to_issued(ANN)
    serial = (await world.certificate(errand)).serial
    await world.change("UPDATE holdings SET state = 'active', activated_at = issued_at")
    assert await found(world) == [("holding-state-wrong", f"certificate {serial}")]


async def test_the_responder_says_good_of_a_revived_certificate_and_the_audit_does_not(world: World) -> None:
    """OCSP answers from the table, as it has to within milliseconds: who looks behind it is the audit."""
    await world.to_active(ANN)
    await world.revoked(ANN, Reason.COMPROMISED)
    serial = world.held[ANN].certificate.serial
    await world.change("UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL, turns = turns + 1")
    assert await said(world, serial) == "good"
    assert [code for code, _ in await found(world)] == ["certificate-state-wrong"]


# contacts -------------------------------------------------------------------------------------------------------------


async def changed(world: World, **cells: str) -> None:
    report = await world.services.ra.customer_import.add([{**ROWS[ANN], **cells}], "alice", tuple(Allowed))
    assert report.imported == 1


async def test_a_cool_down_that_was_cut_short_is_found(world: World) -> None:
    world.clock.later(days=1)
    await changed(world, mobile="0912555099", verified_on="2026-04-01")
    await sound(world)
    before = int(world.clock.at.timestamp() * 1000)
    await world.change("UPDATE contacts SET cool_until = :now WHERE customer = 'C1' AND channel = 'mobile'", now=before)
    assert await found(world) == [("cooldown-reset", "mobile of customer C1")]


async def test_a_contact_whose_change_nobody_recorded_is_found(world: World) -> None:
    await world.change("UPDATE contacts SET version = 2 WHERE customer = 'C1' AND channel = 'email'")
    assert await found(world) == [("contact-state-wrong", "email of customer C1")]


async def test_so_is_one_that_was_taken_away_and_put_back_and_one_that_is_gone(world: World) -> None:
    (row,) = await world.rows("SELECT * FROM contacts WHERE customer = 'C1' AND channel = 'email'")
    await changed(world, email="")
    await sound(world)
    names = ", ".join(row)
    await world.change(f"INSERT INTO contacts ({names}) VALUES ({', '.join(f':{name}' for name in row)})", **row)
    assert await found(world) == [("contact-state-wrong", "email of customer C1")]
    await changed(world, email="canary-new@example.com")
    await sound(world)
    await world.change("DELETE FROM contacts WHERE customer = 'C1' AND channel = 'email'")
    assert await found(world) == [("contact-state-wrong", "email of customer C1")]


async def test_a_contact_that_was_verified_after_the_last_sheet_is_found(world: World) -> None:
    later = int((world.clock.at + timedelta(days=1)).timestamp() * 1000)
    await world.change(
        "UPDATE contacts SET verified_at = :later WHERE customer = 'C1' AND channel = 'email'", later=later
    )
    assert await found(world) == [("contact-state-wrong", "email of customer C1")]


# locks and failures ---------------------------------------------------------------------------------------------------


async def wrong_codes(world: World, count: int, customer: str = ANN) -> Errand:
    """So many wrong codes, over as many orders as it takes; the last one's code still has answers left."""
    left, errand = count, None
    while left:
        errand = await world.to_sent(customer)
        now = 5 if left > 5 else min(left, 4)
        for step in range(1, now + 1):
            await refusal(errand.answer(await errand.wrong_code(step)))
        left -= now
        if left:
            await world.services.ra.enrolment.cancel(errand.caller, errand.id)
            world.clock.later(hours=2)
    assert errand is not None
    return errand


async def wrong_birth_dates(world: World, count: int) -> Errand:
    errand = await world.to_code(ANN)
    for year in range(count):
        await refusal(errand.birth_date(date(1990 + year, 1, 1)))
    return errand


async def test_failures_count_in_the_records_as_they_count_in_the_rows(world: World) -> None:
    errand = await wrong_codes(world, 7)
    await errand.answer(await errand.code())
    await sound(world)
    await errand.birth_date()
    await errand.confirm()
    await errand.prove()
    await sound(world)
    world.clock.later(days=2)
    errand = await world.to_sent(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await refusal(errand.answer(await errand.wrong_code()))
    await sound(world)
    (row,) = await world.rows("SELECT in_window, ever FROM failures WHERE factor = 'code'")
    assert (row["in_window"], row["ever"]) == (1, 8)


LOWERED = {
    "deleted": "DELETE FROM failures",
    "emptied": "UPDATE failures SET in_window = 0, ever = 0",
    "one less": "UPDATE failures SET in_window = in_window - 1",
    "less ever": "UPDATE failures SET ever = ever - 1",
    "an older window": "UPDATE failures SET window_start = window_start - 90000000",
}


@pytest.mark.parametrize("how", LOWERED)
async def test_wrong_codes_that_were_forgotten_are_found(world: World, how: str) -> None:
    await wrong_codes(world, 3)
    await sound(world)
    await world.change(LOWERED[how])
    assert await found(world) == [("failures-lowered", "code of customer C1")]


async def test_wrong_birth_dates_that_were_forgotten_are_found(world: World) -> None:
    await wrong_birth_dates(world, 2)
    await sound(world)
    await world.change("UPDATE failures SET in_window = 0 WHERE factor = 'birth_date'")
    assert await found(world) == [("failures-lowered", "birth_date of customer C1")]


async def test_a_lock_that_nobody_lifted_is_found_and_one_that_two_persons_lifted_is_not(world: World) -> None:
    await wrong_birth_dates(world, 3)
    assert await world.services.ra.locks.held(CustomerId(ANN)) == {"birth_date": "held"}
    await sound(world)
    await world.change("UPDATE failures SET held_at = NULL, hold = NULL WHERE factor = 'birth_date'")
    assert await found(world) == [("lock-lifted", "birth_date of customer C1")]
    await world.change("UPDATE failures SET held_at = 1, hold = 'held' WHERE factor = 'birth_date'")
    await sound(world)
    assert await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob") == 1
    await sound(world)


async def test_a_lock_by_wrong_codes_is_found_when_it_was_lifted_by_hand(world: World) -> None:
    errand = await wrong_codes(world, 20)
    assert (await refusal(errand.answer(await errand.code()))).code == "held"
    await sound(world)
    await world.change("UPDATE failures SET held_at = NULL, hold = NULL, in_window = 0, ever = 0")
    where = "code of customer C1"
    assert await found(world) == [("lock-lifted", where), ("failures-lowered", where)]


async def test_a_right_code_that_comes_too_late_for_its_order_leaves_count_and_records_in_step(world: World) -> None:
    """Another login takes a step between the charge and the rest: the order's factors are others than those read."""
    errand = await world.to_sent(ANN)
    verifier, acting = world.services.ra.verifier, world.services.ra.context.acting(errand.caller, await errand.order())
    charged = await verifier.charge(await errand.challenge(), acting, world.services.ra.rekey.rules, ())
    await world.change("UPDATE orders SET login_factors = 'password+totp' WHERE id = :id", id=errand.id)
    assert (await refusal(verifier.right(charged, acting, Sequel()))).kind is Kind.STEP_REQUIRED
    await sound(world)


# what the operator sees -----------------------------------------------------------------------------------------------


async def test_the_command_says_that_the_tables_were_edited_and_the_records_not(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.to_active(ANN)
    await world.revoked(ANN)
    await world.work()
    await world.once("anchor")
    assert await audit.verify_audit(world.services.foundation.settings, None, None, None) == 0
    assert "The records are the ones that were written" in capsys.readouterr().out
    await world.change("UPDATE holdings SET state = 'active'")
    assert await audit.verify_audit(world.services.foundation.settings, None, None, None) == 1
    said = capsys.readouterr().out
    assert f"ERROR holding-state-wrong at certificate {world.held[ANN].certificate.serial}: " in said
    assert "the tables do NOT say what they say" in said


async def test_a_row_that_makes_no_sense_is_a_finding_and_no_crash(world: World) -> None:
    if world.url.startswith("postgres"):
        await world.change("UPDATE contacts SET cool_until = 9223372036854775807 WHERE customer = 'C1'")
    else:
        await world.change("UPDATE contacts SET cool_until = 'soon' WHERE customer = 'C1'")
    assert await found(world) == [("row-malformed", "C1 email"), ("row-malformed", "C1 mobile")]
