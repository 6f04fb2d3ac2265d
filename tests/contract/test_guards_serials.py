"""Every change of a certificate at its CA: from the states where it may begin, for one serial, and in no other way."""

from collections.abc import Awaitable, Callable

from chopmark.audit.events import Event
from chopmark.audit.leaf import Leaf, order_chain
from chopmark.audit.recorder import Pen
from chopmark.store.ca import CertificateLedger
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
    ledger, now = CertificateLedger(world.house.engine), world.clock.now()
    ann, ben = (world.held[customer].holding for customer in (ANN, BEN))
    changes: dict[str, Callable[[Leaf], Awaitable[bool]]] = {
        "record": lambda leaf: ledger.record(ann.serial, b"signed", now, leaf),
        "orphan": lambda leaf: ledger.orphan(ann.serial, now, leaf),
        "hold": lambda leaf: ledger.hold(ann.serial, now, leaf),
        "release": lambda leaf: ledger.release(ann.serial, now, leaf),
        "revoke": lambda leaf: ledger.revoke(ann.serial, "superseded", now, leaf),
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

            async def attempt(pen: Pen, change: Callable[[Leaf], Awaitable[bool]] = change) -> bool:
                return await change(pen.leaf(Event.CA_CERTIFICATE_HELD, serial=ann.serial))

            done = await world.house.recorder.write(order_chain(ann.order), attempt)
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
