"""When an answer stands: not after a change, not unseen, not beyond a database that knows less, never without bound."""

from dataclasses import dataclass, field

import pytest

from chopmark.core.refusal import Refused
from chopmark.core.types import Serial
from chopmark.store.engine.port import unavailable
from chopmark.va.ports import Changed, Changes
from chopmark.va.status_watcher import TRUSTED_S, StatusWatcher

ONE, TWO, THREE = Serial("01"), Serial("02"), Serial("03")


@dataclass
class TreeRepository:
    """Tells what the test says, and at which time."""

    answers: list[Changes | None] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)
    seconds: float = 100.0

    async def changed(self, since: int | None) -> Changes:
        self.asked.append(since)
        answer = self.answers.pop(0) if self.answers else Changes(7, ())
        if answer is None:
            raise unavailable()
        return answer

    async def wait_changed(self, timeout_s: float) -> bool:
        return False

    def tick(self) -> float:
        return self.seconds


def status_watcher(*answers: Changes | None, most: int = 10) -> tuple[TreeRepository, StatusWatcher]:
    ledger = TreeRepository([Changes(5, ()), *answers])
    return ledger, StatusWatcher(ledger, most, ledger.tick)


async def test_before_the_first_look_nothing_stands() -> None:
    _, out = status_watcher()
    assert out.stand(ONE, 0, out.looks) is None


async def test_a_look_begins_where_the_one_before_it_said() -> None:
    ledger, out = status_watcher(Changes(9, ()), Changes(12, ()))
    for _ in range(3):
        await out.look()
    assert ledger.asked == [None, 5, 9]


async def test_what_has_turned_stands_no_more_and_everything_else_does() -> None:
    _, out = status_watcher(Changes(9, (Changed(ONE, 1), Changed(TWO, 3))))
    await out.look()
    standing = {serial: out.stand(serial, turns, 1) for serial, turns in ((ONE, 0), (TWO, 3), (THREE, 0))}
    await out.look()
    assert [one is not None and one.holds() for one in standing.values()] == [False, True, True]


async def test_a_record_read_before_a_look_that_came_between_has_no_standing() -> None:
    _, out = status_watcher(Changes(9, (Changed(ONE, 1),)))
    await out.look()
    before = out.looks
    await out.look()
    assert out.stand(ONE, 0, before) is None
    assert out.stand(ONE, 1, out.looks) is not None


async def test_nothing_stands_when_the_last_look_is_too_old_and_again_after_the_next() -> None:
    ledger, out = status_watcher()
    await out.look()
    standing = out.stand(ONE, 0, out.looks)
    assert standing is not None
    ledger.seconds += TRUSTED_S - 0.001
    assert standing.holds()
    ledger.seconds += 0.001
    assert not standing.holds()
    assert out.stand(TWO, 0, out.looks) is None
    await out.look()
    assert standing.holds()


async def test_a_look_counts_from_its_beginning() -> None:
    ledger = TreeRepository()

    class Slow(TreeRepository):
        async def changed(self, since: int | None) -> Changes:
            ledger.seconds += TRUSTED_S
            return Changes(1, ())

    out = StatusWatcher(Slow(), 10, ledger.tick)
    await out.look()
    assert not out.sees()


@pytest.mark.parametrize(
    "answers",
    [(None, Changes(6, ())), (Changes(4, ()),), (Changes(9, None),)],
    ids=["a look failed", "the database knows less than before", "too much has changed"],
)
async def test_everything_is_read_again_after_a_gap(answers: tuple[Changes | None, ...]) -> None:
    _, out = status_watcher(*answers)
    await out.look()
    standing = out.stand(ONE, 0, out.looks)
    assert standing is not None
    for answer in answers:
        if answer is None:
            with pytest.raises(Refused):
                await out.look()
        else:
            await out.look()
    assert out.sees()
    assert not standing.holds()


async def test_a_record_that_turned_back_and_forth_stands_by_its_newest_reading_only() -> None:
    _, out = status_watcher()
    await out.look()
    held, released = out.stand(ONE, 1, 1), out.stand(ONE, 2, 1)
    assert held is not None
    assert released is not None
    assert (held.holds(), released.holds()) == (False, True)


async def test_the_memory_is_bounded_and_what_is_let_go_stands_no_more() -> None:
    _, out = status_watcher(most=2)
    await out.look()
    standing = [out.stand(serial, 0, 1) for serial in (ONE, TWO, THREE)]
    assert [one is not None and one.holds() for one in standing] == [False, True, True]
