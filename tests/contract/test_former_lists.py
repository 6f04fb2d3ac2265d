"""The list of an old CA, made by openssl: late, forged, huge, moved, another one's, rolled back; on both databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chopmark.pki.crl_reading import Revoked as Entry
from chopmark.pki.x509 import read_certificates
from chopmark.store.repositories.va.former import LEASE, FormerListRepository
from chopmark.va.former.lists import LOOKS, SOONEST, ListRefresh
from chopmark.va.former.ports import FormerCa, Good, KeptList, ListSource, Location, Revoked, Status, Unknown
from chopmark.va.former.status import FormerStatusReader
from tests.contract.old_database import emptied, ready
from tests.old_ca import OldCa, openssl
from tests.old_places import Places, published
from tests.tables import START, Clock

__all__ = ["ready"]
"""A fixture of another file."""

BEFORE = START - timedelta(days=9)
DAY = timedelta(days=1)
ANN, BEN = 0x1001, 0x1002


class NoDice:
    """Nothing here needs chance."""

    def token(self, size: int) -> bytes:
        return bytes(size)


@dataclass
class Old:
    """An old CA whose list lies at /old.crl, a worker that takes it, and any process that asks."""

    ca: OldCa
    places: Places
    clock: Clock
    lists: FormerListRepository
    folder: Path
    signers: tuple[bytes, ...] = ()
    max_bytes: int = 1 << 20
    paths: tuple[str, ...] = ("/old.crl",)
    scope: str | None = None

    @property
    def former(self) -> FormerCa:
        addresses = [path if path.startswith("file:") else self.places.url + path for path in self.paths]
        places = [address.removeprefix("file:") for address in addresses]
        locations = tuple(Location(place, self.scope or place) for place in places)
        return FormerCa("old", (self.ca.certificate,), ListSource(locations, self.signers, self.max_bytes))

    def publish(self, begins: datetime | None = None, life: timedelta = DAY, number: int | None = None) -> bytes:
        """Put a new list at its place."""
        self.clock.at = self.clock.at if begins is None else begins
        made = self.ca.crl(self.clock.at, self.clock.at + life, number=number)
        self.places.at["/old.crl"] = made
        return made

    async def look(self, holder: str = "a worker") -> str | None:
        """Look at the list, as a worker does; return why it was not taken."""
        await ListRefresh([self.former], self.lists, self.folder, self.clock, holder).once()
        return (await self.kept()).fault

    async def kept(self) -> KeptList:
        place = self.former.source.locations[0].place if isinstance(self.former.source, ListSource) else ""
        return (await self.lists.kept("old"))[place]

    async def status(self, serial: int) -> Status:
        reader = FormerStatusReader([self.former], self.lists, NoDice())
        return await reader.status_of("old", f"{serial:X}", self.clock.now())


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    return OldCa(tmp_path_factory.mktemp("old"))


@pytest.fixture
async def old(ready: str, tmp_path: Path, ca: OldCa) -> AsyncIterator[Old]:
    ca.revoked, ca.crl_extensions, ca.number = {ANN: (BEFORE, "keyCompromise")}, "", 1
    engine = await emptied(ready)
    async with published() as places:
        yield Old(ca, places, Clock(), FormerListRepository(engine), tmp_path)
    await engine.close()


async def test_before_its_list_was_taken_nobody_renews(old: Old) -> None:
    assert await old.status(BEN) == Unknown("never")


async def test_a_list_says_who_is_revoked_and_that_all_others_are_good_until_its_end(old: Old) -> None:
    old.publish()
    assert await old.look() is None
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)
    assert await old.status(BEN) == Good(START + DAY)
    kept = await old.kept()
    assert (kept.number, kept.entries, kept.fetched_at, kept.due_at) == (2, 1, START, START + LOOKS)
    other = FormerStatusReader([old.former], old.lists, NoDice())
    assert await other.status_of("another", "1002", START) == Unknown("other_ca")


async def test_a_late_list_says_nothing_more_of_who_is_good_and_still_who_is_revoked(old: Old) -> None:
    old.publish()
    await old.look()
    old.clock.later(hours=24)
    assert await old.status(BEN) == Unknown("late")
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)
    assert await old.look() == "late"
    assert await old.status(BEN) == Unknown("late")


async def test_who_is_revoked_after_the_import_is_known_with_the_next_list(old: Old) -> None:
    old.publish()
    await old.look()
    old.clock.later(hours=2)
    old.ca.revoked[BEN] = (START, "superseded")
    old.publish()
    await old.look()
    assert await old.status(BEN) == Revoked("superseded", START)


async def test_a_hold_that_ended_at_the_old_ca_ends_here(old: Old) -> None:
    old.ca.revoked[BEN] = (BEFORE, "certificateHold")
    old.publish()
    await old.look()
    assert await old.status(BEN) == Revoked("certificate_hold", BEFORE)
    old.clock.later(hours=2)
    del old.ca.revoked[BEN]
    old.publish()
    await old.look()
    assert await old.status(BEN) == Good(old.clock.at + DAY)
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)


async def test_a_forged_list_is_not_taken_and_the_one_before_stays(old: Old, tmp_path: Path) -> None:
    old.publish()
    await old.look()
    old.clock.later(hours=2)
    forger = OldCa(tmp_path / "forger", number=9)
    old.places.at["/old.crl"] = forger.crl(old.clock.at, old.clock.at + 9 * DAY)
    assert await old.look() == "signature"
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)
    assert await old.status(BEN) == Good(START + DAY)
    assert (await old.kept()).failing_since == old.clock.at


async def test_another_cas_list_is_not_taken(old: Old, tmp_path: Path) -> None:
    other = OldCa(tmp_path / "other", name="/C=TW/CN=Another CA")
    old.places.at["/old.crl"] = other.crl(START, START + DAY)
    assert await old.look() == "other_issuer"
    assert await old.status(BEN) == Unknown("other_issuer")


@pytest.mark.parametrize(("answer", "why"), [(301, "moved"), (302, "moved"), (404, "not_found"), (500, "http")])
async def test_a_list_that_has_moved_is_not_followed_and_check_can_say_so(old: Old, answer: int, why: str) -> None:
    old.places.at |= {"/old.crl": answer, "/elsewhere": old.publish()}
    old.places.at["/old.crl"] = answer
    assert await old.look() == why
    assert old.places.asked == ["GET /old.crl"]


async def test_an_older_list_is_not_taken_so_that_nobody_can_hide_a_revocation(old: Old) -> None:
    before = old.publish()
    old.clock.later(hours=1)
    old.ca.revoked[BEN] = (START, "superseded")
    old.publish()
    await old.look()
    old.clock.later(hours=2)
    old.places.at["/old.crl"] = before
    assert await old.look() == "older"
    old.publish(number=1)
    old.clock.later(hours=1)
    assert await old.look() == "older"
    assert await old.status(BEN) == Revoked("superseded", START)


async def test_what_is_too_large_is_not_taken(old: Old) -> None:
    old.publish()
    old.max_bytes = 100
    assert await old.look() == "too_large"


@pytest.mark.parametrize("what", [b"", b"no list", b"\x30\x03\x02\x01\x01", b"-----BEGIN X509 CRL-----\n!!!!\n"])
async def test_what_is_no_list_is_not_taken(old: Old, what: bytes) -> None:
    old.places.at["/old.crl"] = what
    assert await old.look() == "malformed"


async def test_a_list_from_the_future_is_not_taken(old: Old) -> None:
    made = old.publish()
    old.clock.later(hours=-1)
    assert old.places.at["/old.crl"] == made
    assert await old.look() == "future"


async def test_a_list_of_another_scope_is_not_taken(old: Old) -> None:
    point = "issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://crl.old.example/"
    old.ca.crl_extensions = f"{point}1.crl"
    old.publish()
    assert await old.look() == "scope"
    old.scope = "http://crl.old.example/1.crl"
    old.clock.later(minutes=2)
    assert await old.look() is None


async def test_where_a_ca_has_several_lists_all_have_to_count(old: Old) -> None:
    old.paths = ("/old.crl", "/two.crl")
    old.publish()
    old.ca.revoked = {BEN: (BEFORE, "superseded")}
    await old.look()
    assert await old.status(0x1003) == Unknown("not_found")
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)
    old.places.at["/two.crl"] = old.ca.crl(START, START + DAY / 2)
    old.clock.later(minutes=2)
    await old.look()
    assert await old.status(0x1003) == Good(START + DAY / 2)
    assert await old.status(BEN) == Revoked("superseded", BEFORE)


async def test_a_list_by_another_key_counts_only_if_the_ca_has_made_it_a_signer(old: Old) -> None:
    old.ca.issue("lists", "/C=TW/O=Old Certification Company/CN=Old Customer CA", "lists")
    pem = openssl("x509", "-in", old.ca.path("lists.pem"))
    old.places.at["/old.crl"] = old.ca.crl(START, START + DAY, by=("lists.pem", "lists.key"))
    assert await old.look() == "signature"
    old.signers = read_certificates(pem)
    old.clock.later(minutes=2)
    assert await old.look() is None


async def test_a_list_in_a_file_is_taken_in_der_and_in_pem(old: Old, tmp_path: Path) -> None:
    file = tmp_path / "old.crl"
    old.paths = (f"file:{file}",)
    assert await old.look() == "no_file"
    made = old.publish()
    for number, content in enumerate((made, _pem(made)), 1):
        file.write_bytes(content)
        old.clock.later(minutes=2 * number)
        assert await old.look() is None
        assert await old.status(ANN) == Revoked("key_compromise", BEFORE)


def _pem(der: bytes) -> bytes:
    return openssl("crl", "-inform", "DER", data=der)


async def test_after_a_fault_the_list_is_looked_at_again_soon_and_then_less_often(old: Old) -> None:
    waits = []
    for _ in range(6):
        await old.look()
        due = (await old.kept()).due_at
        assert due is not None
        waits.append((due - old.clock.at) / SOONEST)
        old.clock.at = due
    assert waits == [1, 2, 4, 8, 15, 15]
    assert old.places.asked == ["GET /old.crl"] * 6


async def test_a_list_is_looked_at_before_it_ends(old: Old) -> None:
    old.publish(life=timedelta(minutes=40))
    await old.look()
    assert (await old.kept()).due_at == START + timedelta(minutes=20)
    await old.look()
    assert len(old.places.asked) == 1


async def test_two_workers_do_not_take_a_list_at_the_same_time(old: Old) -> None:
    place = old.places.url + "/old.crl"
    assert await old.lists.claim("old", place, "one", START) == 1
    assert await old.lists.claim("old", place, "two", START) is None
    assert await old.lists.claim("old", place, "one", START) == 2
    assert await old.lists.claim("old", place, "two", START + LEASE) == 3
    await old.lists.release("old", place, "two")
    assert await old.lists.claim("old", place, "three", START + LEASE) == 4


async def test_entries_of_a_list_that_a_dead_worker_left_half_stored_end_with_the_next_list(old: Old) -> None:
    place = old.places.url + "/old.crl"
    generation = await old.lists.claim("old", place, "a worker", START)
    assert generation is not None
    await old.lists.put("old", place, generation, [Entry("1002", BEFORE, "superseded")])
    assert await old.status(BEN) == Revoked("superseded", BEFORE)
    old.publish()
    await old.look()
    assert await old.status(BEN) == Good(START + DAY)


async def test_the_same_entries_are_not_written_again(old: Old) -> None:
    old.publish()
    await old.look()
    old.clock.later(hours=2)
    old.publish()
    await old.look()
    kept = await old.kept()
    assert (kept.number, kept.entries, kept.next_update) == (3, 1, old.clock.at + DAY)
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)


async def test_a_slower_worker_does_not_put_an_older_list_in_place_of_a_newer_one(old: Old) -> None:
    old.publish()
    await old.look()
    kept = await old.kept()
    stale = KeptList("old", kept.place, 1, START - DAY, START + 9 * DAY, "x", 0, START, START)
    await old.lists.taken(stale, 7)
    assert await old.kept() == kept
    assert await old.status(ANN) == Revoked("key_compromise", BEFORE)
