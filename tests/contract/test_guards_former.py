"""Every condition of what is stored of former issuers: another issuer, place or serial number is not this one."""

from datetime import timedelta

import pytest

from chopmark.pki.crl_reading import Revoked as Entry
from chopmark.store.engine.columns import moment
from chopmark.store.repositories.va.former import LEASE, FormerListRepository
from chopmark.va.former.ports import Good, KeptAnswer, KeptList, Revoked
from tests.contract.alone import Alone
from tests.tables import START

EVERY = (("old", "p"), ("old", "q"), ("new", "p"))
"""This list, one at another place, and one of another issuer."""


def repository(alone: Alone) -> FormerListRepository:
    return FormerListRepository(alone.engine)


def kept(issuer: str = "old", place: str = "p", this_update: int = 5) -> KeptList:
    return KeptList(issuer, place, 1, moment(this_update), moment(this_update + 9), "x", 1, START, START)


async def entries(alone: Alone) -> set[tuple[str, str, str, str]]:
    rows = await alone.rows("SELECT issuer, place, serial, reason FROM former_revocations")
    return {(row["issuer"], row["place"], row["serial"], row["reason"]) for row in rows}


async def test_what_a_list_says_is_said_of_its_issuer_its_place_and_this_serial_number(alone: Alone) -> None:
    lists = repository(alone)
    for issuer, place in EVERY:
        said = "superseded" if issuer == "old" else "elsewhere"
        await lists.put(issuer, place, 1, [Entry("01", moment(1), said), Entry("02", moment(2), "lost")])
        await lists.taken(kept(issuer, place), None)
        await lists.failed(kept(issuer, place))
    places, listed = await lists.looked_up("old", "01")
    assert set(places) == {"p", "q"}
    assert listed == {place: Revoked("superseded", moment(1)) for place in ("p", "q")}
    assert set(await lists.kept("new")) == {"p"}


async def test_an_entry_of_an_older_generation_does_not_take_the_place_of_a_newer_one(alone: Alone) -> None:
    lists = repository(alone)
    for generation, reason in ((2, "second"), (1, "first"), (2, "again"), (3, "third")):
        await lists.put("old", "p", generation, [Entry("01", moment(1), reason)])
        assert await entries(alone) == {("old", "p", "01", "third" if generation == 3 else "second")}


async def test_with_a_list_end_the_entries_before_it_at_its_place_and_no_others(alone: Alone) -> None:
    lists = repository(alone)
    for issuer, place in EVERY:
        await lists.claim(issuer, place, "one", alone.now)
        await lists.put(issuer, place, 1, [Entry("01", moment(1), "before")])
    await lists.put("old", "p", 2, [Entry("02", moment(1), "now")])
    await lists.taken(kept(), 2)
    assert await entries(alone) == {
        ("old", "p", "02", "now"), ("old", "q", "01", "before"), ("new", "p", "01", "before"),
    }  # fmt: skip
    generations = await alone.rows("SELECT issuer, place, generation, this_update FROM former_lists")
    assert {(row["issuer"], row["place"]): (row["generation"], row["this_update"]) for row in generations} == {
        ("old", "p"): (2, 5), ("old", "q"): (0, None), ("new", "p"): (0, None),
    }  # fmt: skip


@pytest.mark.parametrize(("this_update", "taken"), [(4, False), (5, True), (6, True)])
async def test_no_older_list_takes_the_place_of_a_newer_one_nor_ends_its_entries(
    alone: Alone, this_update: int, taken: bool
) -> None:
    lists = repository(alone)
    await lists.claim("old", "p", "one", alone.now)
    await lists.put("old", "p", 2, [Entry("01", moment(1), "kept")])
    await lists.taken(kept(), 2)
    await lists.taken(kept(this_update=this_update), 3)
    assert (await lists.kept("old"))["p"].this_update == moment(this_update if taken else 5)
    assert (await entries(alone) == set()) is taken


async def test_a_generation_never_falls_and_a_fault_ends_with_the_list_that_is_taken(alone: Alone) -> None:
    lists = repository(alone)
    await lists.failed(KeptList("old", "p", None, None, None, "", 0, None, START, 3, START, "late"))
    for generation, stood in ((4, 4), (2, 4), (None, 4), (5, 5)):
        await lists.taken(kept(), generation)
        assert await alone.values("former_lists", "place", "generation") == {"p": stood}
    found = (await lists.kept("old"))["p"]
    assert (found.failures, found.failing_since, found.fault) == (0, None, None)


async def test_each_claim_of_a_place_is_a_new_generation_for_one_worker_at_a_time(alone: Alone) -> None:
    lists = repository(alone)
    assert [await lists.claim("old", "p", "one", alone.now) for _ in range(2)] == [1, 2]
    assert await lists.claim("old", "q", "two", alone.now) == 1
    assert await lists.claim("old", "p", "two", alone.now) is None
    await lists.release("old", "p", "two")
    await lists.release("old", "q", "one")
    assert await lists.claim("old", "p", "two", alone.now) is None, "who has no lease releases none"
    await lists.release("old", "p", "one")
    assert await lists.claim("old", "p", "two", alone.now) == 3
    assert await lists.claim("old", "q", "one", alone.now) is None
    assert await lists.claim("old", "q", "one", alone.now + LEASE) == 2


async def test_an_answer_is_its_issuers_about_this_serial_number_and_the_last_one_stands(alone: Alone) -> None:
    lists, until = repository(alone), alone.now + timedelta(hours=1)
    for issuer, serial in (("old", "01"), ("old", "02"), ("new", "01")):
        await lists.keep_answer(KeptAnswer(issuer, serial, Good(until), until))
    gone = KeptAnswer("old", "01", Revoked("superseded", alone.now), until)
    await lists.keep_answer(gone)
    assert await lists.answer("old", "01") == gone
    for issuer, serial in (("old", "02"), ("new", "01")):
        assert await lists.answer(issuer, serial) == KeptAnswer(issuer, serial, Good(until), until)
    assert await lists.answer("new", "02") is None
    await lists.keep_answer(KeptAnswer("old", "01", Good(until), until))
    assert await lists.answer("old", "01") == KeptAnswer("old", "01", Good(until), until)
