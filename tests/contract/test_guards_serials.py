"""Every change of a certificate at its CA: from the states where it may begin, for one serial, and in no other way."""

from collections.abc import Awaitable, Callable

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, order_stream
from chopmark.store.repositories.ca.certificates import CertificateRepository
from tests.contract.world import ANN, BEN, World, world_fixture

world = world_fixture()
STATES = ("reserved", "issued", "held", "revoked", "orphaned")
MAY = {
    "record": {"reserved": "issued"},
    "orphan": {"reserved": "orphaned"},
    "hold": {"issued": "held"},
    "release": {"held": "issued"},
    "revoke": {"issued": "revoked", "held": "revoked"},
}
LONG_AGO = 1_000_000_000_000


async def test_each_change_begins_in_its_own_states_and_touches_one_serial(world: World) -> None:
    for customer in (ANN, BEN):
        await world.to_active(customer)
    ledger, now = CertificateRepository(world.services.foundation.engine), world.clock.now()
    ann, ben = (world.held[customer].certificate for customer in (ANN, BEN))
    changes: dict[str, Callable[[AuditRecord], Awaitable[bool]]] = {
        "record": lambda record: ledger.record(ann.serial, b"signed", now, record),
        "orphan": lambda record: ledger.orphan(ann.serial, now, record),
        "hold": lambda record: ledger.hold(ann.serial, now, record),
        "release": lambda record: ledger.release(ann.serial, now, record),
        "revoke": lambda record: ledger.revoke(ann.serial, "superseded", now, record),
    }

    async def row(serial: str) -> dict[str, object]:
        (found,) = await world.rows("SELECT * FROM certificates WHERE serial = :serial", serial=serial)
        return found

    for name, change in changes.items():
        for state in STATES:
            await world.change(
                "UPDATE certificates SET state = :state, turns = 7, der = :der, ended_at = :at, reason = :why",
                state=state,
                der=b"before",
                at=LONG_AGO if state in {"held", "revoked", "orphaned"} else None,
                why="certificate_hold" if state == "held" else None,
            )
            before, theirs = await row(ann.serial), await row(ben.serial)

            async def attempt(
                builder: RecordBuilder, change: Callable[[AuditRecord], Awaitable[bool]] = change
            ) -> bool:
                return await change(builder.record(Event.CA_CERTIFICATE_HELD, serial=ann.serial))

            done = await world.services.foundation.audit_log.write(order_stream(ann.order), attempt)
            after = await row(ann.serial)
            assert done == (state in MAY[name]), (name, state)
            assert await row(ben.serial) == theirs, (name, state)
            if not done:
                assert after == before, (name, state)
                continue
            assert after["state"] == MAY[name][state]
            assert after["turns"] == (7 if name == "record" else 8), name
            assert after["answer_due"] == int(now.timestamp() * 1000)
            if name == "record":
                assert bytes(after["der"]) == b"signed"  # type: ignore[call-overload]
            ended = after["ended_at"], after["reason"]
            at = int(now.timestamp() * 1000)
            assert (
                ended
                == {
                    "record": (None, None),
                    "orphan": (at, "unspecified"),
                    "hold": (at, "certificate_hold"),
                    "release": (None, None),
                    "revoke": (LONG_AGO if state == "held" else at, "superseded"),
                }[name]
            ), (name, state)
