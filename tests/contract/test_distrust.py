"""Who writes the database, and has no key: nothing of it is signed, the alarm rings, and the others go on.

Each attack writes rows as somebody else would, and then lets the worker and the doors do their work.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chopmark.app.worker import tasks
from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditKey, AuditKeys, AuditRecord, order_stream
from chopmark.ca.approval import ApprovalTerms, Distrust, judge
from chopmark.ca.ports import Certified, IssuanceRequest
from chopmark.cli import check, database
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refusal
from chopmark.core.types import Operation, OrderId, OrderState
from chopmark.jobs.resume import BATCH
from chopmark.pki import csr
from chopmark.store.engine.script import Script, query
from tests.approved import on_record, records, steps, stored
from tests.contract.world import ANN, BEN, CEO, DAN, EVE, FAY, GUS, Errand, World, refusal, world_fixture

world = world_fixture()

HIS = OrderId("A" * 26)
"""The order that the writer of the database makes up."""


async def resumed(world: World) -> None:
    """Later the worker takes up what is with the CA."""
    world.clock.later(seconds=21)
    await world.once("resume")


async def nothing_came_of(world: World, order: OrderId, code: str, certificates: int = 0) -> None:
    """No certificate, the order is over, and one alarm says which order and why."""
    assert await world.count("certificates", "order_id = :order", order=order) == 0
    assert await world.count("certificates") == certificates
    (row,) = await world.rows("SELECT state, ended FROM orders WHERE id = :id", id=order)
    assert (row["state"], row["ended"]) == ("refused", "distrusted")
    alarms = [record["facts"] for record in await world.records(Event.CA_ORDER_DISTRUSTED)]
    assert alarms == [f'{{"code":"{code}","order":"{order}"}}']


async def copied(world: World, errand: Errand, key: ClientKey, **other: Any) -> None:
    """Insert an order like the errand's, submitted, for another key; `other` columns say what else is different."""
    (row,) = await world.rows("SELECT * FROM orders WHERE id = :id", id=errand.id)
    now = int(world.clock.at.timestamp() * 1000)
    row |= {"id": HIS, "state": "submitted", "spki_sha256": key.spki_sha256.hex(), "csr": key.request(), "serial": None}
    row |= {"submitted_at": now, "coded_at": now, "checked_at": now, "issued_at": None, "activated_at": None, **other}
    names = ", ".join(row)
    await world.change(f"INSERT INTO orders ({names}) VALUES ({', '.join(f':{name}' for name in row)})", **row)


async def copy_records(world: World, source: OrderId, target: OrderId) -> None:
    """Insert the records of one order under another's name, as they stand."""
    for row in await world.rows("SELECT * FROM leaves WHERE chain = :chain ORDER BY version", chain=source):
        row |= {"chain": target}
        del row["entry"]
        names = ", ".join(row)
        await world.change(f"INSERT INTO leaves ({names}) VALUES ({', '.join(f':{name}' for name in row)})", **row)


# a row made up --------------------------------------------------------------------------------------------------------


async def test_a_row_inserted_as_submitted_is_not_signed(world: World) -> None:
    ben = await world.to_active(BEN)
    await copied(world, ben, ClientKey.generate())
    await resumed(world)
    await nothing_came_of(world, HIS, "no_records", certificates=1)
    assert (await world.audit()).sound


async def test_nor_is_one_with_the_records_of_another_order_copied(world: World) -> None:
    ben = await world.to_active(BEN)
    await copied(world, ben, ClientKey.generate())
    await copy_records(world, ben.id, HIS)
    await resumed(world)
    await nothing_came_of(world, HIS, "record_seal", certificates=1)


async def test_nor_is_one_with_records_that_were_linked_anew_and_sealed_by_another_key(world: World) -> None:
    ben, key = await world.to_active(BEN), ClientKey.generate()
    await copied(world, ben, key)
    forged = records(HIS, steps(key.spki_sha256.hex(), BEN), world.clock.now(), AuditKey("audit-1", b"f" * 32))
    await _written(world, forged)
    await resumed(world)
    await nothing_came_of(world, HIS, "record_seal", certificates=1)


async def test_nor_is_one_whose_order_once_had_a_certificate_and_is_submitted_again_for_another_key(
    world: World,
) -> None:
    ben, key = await world.to_active(BEN), ClientKey.generate()
    await world.change("DELETE FROM certificates")
    await world.change("DELETE FROM holdings")
    sql = "UPDATE orders SET state = 'submitted', spki_sha256 = :spki, csr = :csr, serial = NULL WHERE id = :id"
    await world.change(sql, spki=key.spki_sha256.hex(), csr=key.request(), id=ben.id)
    await resumed(world)
    await nothing_came_of(world, ben.id, "went_on")


async def test_nor_when_the_later_records_were_cut_off(world: World) -> None:
    """The records up to the submission are true ones; the key is not theirs."""
    ben, key = await world.to_active(BEN), ClientKey.generate()
    await world.change("DELETE FROM certificates")
    await world.change("DELETE FROM holdings")
    (at,) = await world.rows(
        "SELECT version FROM leaves WHERE chain = :id AND event = :event",
        id=ben.id,
        event=Event.RA_ORDER_SUBMITTED.value,
    )
    await world.change("DELETE FROM leaves WHERE chain = :id AND version > :at", id=ben.id, at=at["version"])
    sql = "UPDATE orders SET state = 'submitted', spki_sha256 = :spki, csr = :csr, serial = NULL WHERE id = :id"
    await world.change(sql, spki=key.spki_sha256.hex(), csr=key.request(), id=ben.id)
    await resumed(world)
    await nothing_came_of(world, ben.id, "other_key")


async def _written(world: World, made: list[AuditRecord]) -> None:
    def script() -> Script[None]:
        sql = """INSERT INTO leaves (chain, version, previous, at, event, facts, kid, mac)
            VALUES (:chain, :version, :previous, :at, :event, :facts, :kid, :mac)"""
        for row in stored(made):
            columns = ("chain", "version", "previous", "at", "event", "facts", "kid", "mac")
            yield query(sql, **{name: getattr(row, "stream" if name == "chain" else name) for name in columns})

    await world.services.foundation.engine.run(script)


# a step skipped -------------------------------------------------------------------------------------------------------


async def test_a_code_that_was_never_given_is_missed_though_the_row_says_that_it_was(world: World) -> None:
    """The state is set by hand, and a stolen session confirms: the RA sees nothing, the CA does."""
    errand = await world.to_sent(ANN)
    now = int(world.clock.at.timestamp() * 1000)
    sql = "UPDATE orders SET state = 'checked', coded_at = :now, checked_at = :now, code_channel = 'mobile', "
    sql += "approved_login = bound_login"
    await world.change(sql, now=now)
    await world.change("UPDATE challenges SET state = 'consumed'")
    assert (await refusal(errand.confirm())).code == "distrusted"
    await nothing_came_of(world, errand.id, "no_code")


async def test_so_is_a_birth_date_that_was_never_asked(world: World) -> None:
    errand = await world.to_code(ANN)
    await world.change("UPDATE orders SET state = 'checked', checked_at = coded_at, birth_date_asked = 0")
    assert (await refusal(errand.confirm())).code == "distrusted"
    await nothing_came_of(world, errand.id, "no_birth_date")


async def test_so_is_the_old_key_of_a_renewal(world: World) -> None:
    """An application's row is made a renewal after its key was bound."""
    await world.to_active(ANN)
    world.clock.later(days=340)
    errand = await world.to_review(ANN, Operation.REKEY)
    other = ClientKey.generate()
    sql = "UPDATE orders SET spki_sha256 = :spki, csr = :csr WHERE id = :id"
    await world.change(sql, spki=other.spki_sha256.hex(), csr=other.request(), id=errand.id)
    assert (await refusal(errand.confirm())).code == "distrusted"
    await nothing_came_of(world, errand.id, "key_not_bound", certificates=1)


async def test_an_approval_that_was_too_old_is_missed_though_the_row_says_that_it_is_fresh(world: World) -> None:
    errand = await world.to_review(ANN)
    world.clock.later(minutes=11)
    now = int(world.clock.at.timestamp() * 1000)
    await world.change("UPDATE orders SET state = 'checked', coded_at = :now, checked_at = :now", now=now)
    assert (await refusal(errand.confirm())).code == "distrusted"
    await nothing_came_of(world, errand.id, "too_late")


async def test_a_cancelled_order_does_not_come_back(world: World) -> None:
    errand = await world.to_review(ANN)
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    await world.change("UPDATE orders SET state = 'checked', ended = NULL")
    assert (await refusal(errand.confirm())).code == "distrusted"
    await nothing_came_of(world, errand.id, "went_on")


# a submitted order edited ---------------------------------------------------------------------------------------------


async def _key(world: World, errand: Errand) -> None:
    other = ClientKey.generate()
    sql = "UPDATE orders SET spki_sha256 = :spki, csr = :csr WHERE id = :id"
    await world.change(sql, spki=other.spki_sha256.hex(), csr=other.request(), id=errand.id)


async def _request(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET csr = :csr WHERE id = :id", csr=ClientKey.generate().request(), id=errand.id)


async def _digest(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET spki_sha256 = :spki WHERE id = :id", spki="00" * 32, id=errand.id)


async def _garbage(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET csr = :csr WHERE id = :id", csr=b"\x30\x03abc", id=errand.id)


async def _no_key(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET csr = NULL, spki_sha256 = NULL WHERE id = :id", id=errand.id)


async def _customer(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET customer = :ben WHERE id = :id", ben=BEN, id=errand.id)


async def _account(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET account = 'F014000-0000002' WHERE id = :id", id=errand.id)


async def _profile(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET profile = 'investor-market' WHERE id = :id", id=errand.id)


async def _nonsense(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET operation = 'conquer' WHERE id = :id", id=errand.id)


EDITS: dict[Callable[[World, Errand], Awaitable[None]], str] = {
    _key: "other_key",
    _request: "other_key",
    _digest: "other_key",
    _garbage: "other_key",
    _no_key: "other_key",
    _customer: "other_customer",
    _account: "other_account",
    _profile: "other_profile",
    _nonsense: "other_key",
}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
async def test_what_is_edited_after_the_submission_is_not_signed(
    world: World, edit: Callable[[World, Errand], Awaitable[None]]
) -> None:
    errand = await world.to_review(ANN)
    await errand.submit()
    await edit(world, errand)
    await resumed(world)
    await nothing_came_of(world, errand.id, EDITS[edit])


# the others go on -----------------------------------------------------------------------------------------------------


async def test_a_bad_order_among_good_ones_stops_none_of_them(world: World) -> None:
    good = [await world.to_review(customer) for customer in (ANN, CEO, DAN)]
    bad = [await world.to_review(customer) for customer in (BEN, FAY, GUS)]
    for errand in (*good, *bad):
        await errand.submit()
    for errand, edit in zip(bad, (_garbage, _nonsense, _eves), strict=True):
        await edit(world, errand)
    await resumed(world)
    assert [await errand.state() for errand in good] == [OrderState.ISSUED] * 3
    assert await world.count("certificates") == 3
    rows = await world.rows("SELECT id FROM orders WHERE state = 'refused'")
    assert {row["id"] for row in rows} == {errand.id for errand in bad}


async def _eves(world: World, errand: Errand) -> None:
    await world.change("UPDATE orders SET customer = :eve WHERE id = :id", eve=EVE, id=errand.id)


async def test_orders_that_never_end_keep_the_others_waiting_for_one_turn_only(world: World) -> None:
    """More than a batch of them, each a fault of its own that nobody has thought of."""
    errand = await world.to_review(ANN)
    await errand.submit()
    (row,) = await world.rows("SELECT * FROM orders WHERE id = :id", id=errand.id)
    names = ", ".join(row)
    sql = f"INSERT INTO orders ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
    for number in range(BATCH):
        other = {"id": f"0{number:025}", "profile": f"p{number}", "customer": BEN}
        await world.change(sql, **{**row, **other, "expires_at": 0})
    await world.change("UPDATE contacts SET channel = 'pigeon' WHERE customer = :ben AND channel = 'email'", ben=BEN)
    (resume,) = [task.job for task in tasks(world.services) if task.name == "resume"]
    world.clock.later(seconds=21)
    with pytest.raises(ValueError, match="pigeon"):
        await resume()
    await resume()
    assert await errand.state() is OrderState.ISSUED
    assert await world.count("orders", "state = 'submitted'") == BATCH


async def test_a_flood_of_bad_orders_fills_no_audit(world: World) -> None:
    issuances = [IssuanceRequest(OrderId(f"{number:026}"), "investor", b"", {}) for number in range(70)]
    for one in issuances:
        assert isinstance(await world.services.ca.issuer.issue(one), Refusal)
    assert len(await world.records(Event.CA_ORDER_DISTRUSTED)) == 60
    world.clock.later(hours=1)
    assert isinstance(await world.services.ca.issuer.issue(issuances[0]), Refusal)
    assert len(await world.records(Event.CA_ORDER_DISTRUSTED)) == 61


# what is good stays good ----------------------------------------------------------------------------------------------


async def test_a_late_receipt_of_the_code_does_not_void_the_order(world: World) -> None:
    """The gateway's answer comes after the customer's."""
    errand = await world.to_review(ANN)
    await errand.submit()

    async def receipt(builder: RecordBuilder) -> None:
        await world.services.ra.context.orders.note(
            builder.record(Event.POST_MESSAGE_SENT, gateway="slow", channel="mobile")
        )

    await world.services.foundation.audit_log.write(order_stream(errand.id), receipt)
    await resumed(world)
    assert await errand.state() is OrderState.ISSUED


async def test_a_code_given_after_another_had_been_asked_for_meanwhile_is_not_confirmed(world: World) -> None:
    """Two tabs at once: the record names the code that was right, and there is none to name."""
    errand = await world.to_review(ANN)
    await world.change("UPDATE challenges SET state = 'dead'")
    assert (await refusal(errand.confirm())).code == "channel"
    assert await world.count("certificates") == 0


async def test_a_company_and_a_renewal_are_certified_by_their_records(world: World) -> None:
    await world.to_active(CEO)
    await world.to_active(ANN)
    world.clock.later(days=340)
    errand = await world.to_active(ANN, Operation.REKEY)
    (submitted,) = await world.rows(
        "SELECT facts FROM leaves WHERE chain = :id AND event = 'ra:order:submitted'", id=errand.id
    )
    old = (await errand.order()).old_serial
    for fact in (f'"old_serial":"{old}"', f'"spki_sha256":"{errand.key.spki_sha256.hex()}"', '"customer":"C1"'):
        assert fact in submitted["facts"]
    challenge = await errand.challenge()
    for fact in (f'"challenge":"{challenge.id}"', '"factor":"password"', '"channel":"mobile"', '"home":"file"'):
        assert fact in submitted["facts"]


async def test_a_record_that_the_key_of_the_house_sealed_is_trusted_and_one_of_another_key_is_not(
    world: World,
) -> None:
    services, key = world.services, ClientKey.generate()
    spki = spki_of(key)
    issuance = await on_record(services, IssuanceRequest(OrderId("ORDER"), "investor", spki, {"customer": ANN}))
    keys = AuditKeys([AuditKey("audit-2", b"x" * 32)])
    strange = ApprovalTerms(keys, services.foundation.policy.approval_life, services.foundation.policy.replace_delay)
    assert judge(issuance.order, issuance.records, strange) is Distrust.SEAL
    assert isinstance(await services.ca.issuer.issue(issuance), Certified)


def spki_of(key: ClientKey) -> bytes:
    spki = csr.spki_of(key.request())
    assert spki is not None
    return spki


# the upgrade ----------------------------------------------------------------------------------------------------------


async def submitted_by_an_earlier_release(world: World, errand: Errand) -> None:
    """Its record names the terms and the policy, and nothing else."""
    context, order, terms, now = (
        world.services.ra.context,
        await errand.order(),
        await errand.terms(),
        world.clock.now(),
    )
    acting = context.acting(errand.caller, order)

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_SUBMITTED, terms=terms, policy=order.policy)
        return bool(await context.orders.submit(order, terms, acting, now - context.policy.approval_life, now, record))

    assert await world.services.foundation.audit_log.write(order_stream(order.id), attempt)


async def test_orders_in_flight_at_the_upgrade_are_listed_and_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    errand, pending = await world.to_review(ANN), await world.to_review(BEN)
    company, person, ours = await world.to_key(CEO), await world.to_key(DAN), await world.to_review(EVE)
    for one in (errand, pending):
        await submitted_by_an_earlier_release(world, one)
    await ours.submit()
    await world.change("UPDATE orders SET state = 'pending' WHERE id = :id", id=pending.id)
    for one in (company, person):
        (row,) = await world.rows("SELECT facts FROM leaves WHERE chain = :id AND version = 1", id=one.id)
        facts = row["facts"].replace('"checks":null,', "").replace('"checks":"birth_date",', "")
        sql = "UPDATE leaves SET facts = :facts WHERE chain = :id AND version = 1"
        await world.change(sql, facts=facts, id=one.id)
    for listing in (database.upgrade, check.check_installation):
        capsys.readouterr()
        await listing(world.services.foundation.settings)
        said = capsys.readouterr().out
        for order, state in ((errand.id, "submitted"), (pending.id, "pending"), (company.id, "bound")):
            assert f"order {order} ({state}) was begun by an earlier release" in said
        assert said.count("was begun by an earlier release") == 3
        assert said.count("has to be revoked there") == 1
    await resumed(world)
    assert await world.count("certificates") == 1
    assert (await errand.state(), await ours.state()) == (OrderState.REFUSED, OrderState.ISSUED)
    alarms = {record["facts"] for record in await world.records(Event.CA_ORDER_DISTRUSTED)}
    assert alarms == {f'{{"code":"old_form","order":"{one.id}"}}' for one in (errand, pending)}
