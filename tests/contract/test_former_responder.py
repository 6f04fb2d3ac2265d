"""An old CA's OCSP responder, openssl behind HTTP: what it says is shared by all processes; when it fails it rests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from cryptography.x509 import ocsp

from chopmark.store.repositories.va.former import FormerListRepository
from chopmark.va.former.ports import FormerCa, Good, ResponderSource, Revoked, Status, Unknown
from chopmark.va.former.status import KEPT, REST, FormerStatusReader
from tests.contract.old_database import emptied, ready
from tests.old_ca import OldCa, openssl
from tests.old_places import Places, published
from tests.tables import START

__all__ = ["ready"]
"""A fixture of another file."""

GOOD, BAD, STRANGE = 0x2001, 0x2002, 0x9999
REVOKED_AT = START - timedelta(days=9)


@dataclass
class Dice:
    """Nonces that differ."""

    thrown: int = 0

    def token(self, size: int) -> bytes:
        self.thrown += 1
        return self.thrown.to_bytes(size, "big")


@dataclass
class Responder:
    """The responder, and processes that ask it."""

    ca: OldCa
    places: Places
    lists: FormerListRepository
    now: datetime = START
    dice: Dice = field(default_factory=Dice)

    def answer(self, body: bytes) -> bytes:
        """openssl's."""
        return self.ca.answers(body, "responder")

    async def status(self, serial: int) -> Status:
        """The status, as a process says that has just started."""
        return await self.reader.status_of("old", f"{serial:X}", self.now)

    async def known(self, serial: int) -> Status | None:
        """What such a process knows without asking."""
        return await self.reader.known_of("old", f"{serial:X}", self.now)

    @property
    def reader(self) -> FormerStatusReader:
        """A process that has just started."""
        former = FormerCa("old", (self.ca.certificate,), ResponderSource(f"{self.places.url}/ocsp"))
        return FormerStatusReader([former], self.lists, self.dice)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    made = OldCa(tmp_path_factory.mktemp("old"))
    made.issue("responder", "/CN=responder", "responder")
    made.good, made.revoked = [GOOD], {BAD: (REVOKED_AT, "superseded")}
    return made


@pytest.fixture
async def old(ready: str, ca: OldCa) -> AsyncIterator[Responder]:
    engine = await emptied(ready)
    async with published() as places:
        it = Responder(ca, places, FormerListRepository(engine))
        places.at["/ocsp"] = it.answer
        # openssl's clock is the machine's: the test's begins where an answer of openssl does.
        it.now = ocsp.load_der_ocsp_response(it.answer(_question(ca))).this_update_utc
        yield it
    await engine.close()


def _question(ca: OldCa) -> bytes:
    return openssl("ocsp", "-issuer", ca.path("ca.pem"), "-serial", str(GOOD), "-reqout", "/dev/stdout")


async def test_good_and_revoked_are_told_and_kept_for_all_processes(old: Responder) -> None:
    good = await old.status(GOOD)
    assert isinstance(good, Good)
    assert await old.status(BAD) == Revoked("superseded", REVOKED_AT)
    assert await old.status(GOOD) == good
    assert await old.status(BAD) == Revoked("superseded", REVOKED_AT)
    assert len(old.places.asked) == 2
    old.now += KEPT
    await old.status(GOOD)
    await old.status(BAD)
    assert len(old.places.asked) == 3, "a revocation is for good, and good is asked again"


async def test_what_is_known_without_asking_is_what_was_answered_a_short_while_ago(old: Responder) -> None:
    assert await old.known(GOOD) is None
    assert old.places.asked == []
    good, revoked = await old.status(GOOD), await old.status(BAD)
    assert (await old.known(GOOD), await old.known(BAD)) == (good, revoked)
    old.now += KEPT
    assert (await old.known(GOOD), await old.known(BAD)) == (None, revoked)
    assert len(old.places.asked) == 2


async def test_what_it_does_not_know_is_unknown_and_no_fault_of_the_responder(old: Responder) -> None:
    assert await old.status(STRANGE) == Unknown("unknown")
    assert isinstance(await old.status(GOOD), Good)
    assert await old.lists.kept("old") == {}


@pytest.mark.parametrize(("answer", "why"), [(404, "not_found"), (b"<html>", "malformed"), (500, "http")])
async def test_a_responder_of_no_use_is_on_record_until_it_works_again(
    old: Responder, answer: int | bytes, why: str
) -> None:
    old.places.at["/ocsp"] = answer
    assert await old.status(GOOD) == Unknown(why)
    assert await old.status(GOOD) == Unknown(why)
    (kept,) = (await old.lists.kept("old")).values()
    assert (kept.fault, kept.failures, kept.failing_since) == (why, 2, old.now)
    old.places.at["/ocsp"] = old.answer
    assert isinstance(await old.status(GOOD), Good)
    (kept,) = (await old.lists.kept("old")).values()
    assert (kept.fault, kept.failures) == (None, 0)


async def test_a_responder_that_does_not_answer_is_left_alone_for_a_while(old: Responder) -> None:
    there, old.places.url = old.places.url, "http://127.0.0.1:9"
    assert await old.status(GOOD) == Unknown("unreachable")
    assert await old.status(GOOD) == Unknown("unreachable")
    (kept,) = (await old.lists.kept("old")).values()
    assert (kept.failures, kept.due_at) == (1, old.now + REST)
    old.now += REST
    assert await old.status(GOOD) == Unknown("unreachable")
    assert (await old.lists.kept("old"))[kept.place].failures == 2
    old.places.url = there


async def test_an_answer_signed_by_somebody_else_is_not_believed(
    old: Responder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    forger = OldCa(tmp_path_factory.mktemp("forger"), good=[GOOD, BAD])
    old.places.at["/ocsp"] = forger.answers
    assert await old.status(BAD) == Unknown("signer")
