"""Answers that are signed ahead: by one responder, until half of their life, and none is lost with an error."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.types import CertificateState, IssuerId, Serial
from chopmark.keys.ports import SignerUnavailable
from chopmark.pki import ocsp
from chopmark.va.ports import Due, Status
from chopmark.va.presigning import Kept, Presigner
from chopmark.va.responder import LIFE, OcspAnswer
from tests.tables import Clock
from tests.vectors.pki.house import house

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACTIVE = Status(CertificateState.ACTIVE, None, None, 4)


@dataclass
class Responder:
    """Signs with the responder's certificates in turn; an error in their place is raised. `ends`: when answers end."""

    certificates: list[bytes | SignerUnavailable]
    ends: list[datetime] = field(default_factory=list)
    tries_later: bool = False

    async def make(
        self, cert_ids: Sequence[ocsp.CertId], statuses: Sequence[ocsp.Status], now: datetime, nonce: bytes | None
    ) -> OcspAnswer:
        if self.tries_later:
            return OcspAnswer(b"later")
        made = self.certificates.pop(0)
        if isinstance(made, SignerUnavailable):
            raise made
        ends = self.ends.pop(0) if self.ends else now + LIFE
        return OcspAnswer(b"answer", now, ends, made)


@dataclass
class Shelf:
    """What is due, and what was kept."""

    due_now: list[Due]
    kept: list[Kept] = field(default_factory=list)

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        return self.due_now[:limit]

    async def keep_all(self, issuer: IssuerId, kept: Sequence[Kept]) -> int:
        self.kept += kept
        return len(kept)


async def signed(responder: Responder, shelf: Shelf) -> int:
    at = Clock(NOW + timedelta(microseconds=5))
    return await Presigner(house().issuing, responder, shelf, shelf, at).sign_due()  # type: ignore[arg-type]


def due(*numbers: int) -> Shelf:
    return Shelf([Due(Serial(f"{number:02X}"), ACTIVE) for number in numbers])


async def test_each_certificate_gets_an_answer_for_each_hash_of_the_same_second() -> None:
    shelf = due(1, 2)
    assert await signed(Responder([b"R"] * 4), shelf) == 2
    assert [one.serial for one in shelf.kept] == ["01", "02"]
    for one in shelf.kept:
        assert set(one.answers) == {"sha1", "sha256"}
        assert {answer.produced_at for answer in one.answers.values()} == {NOW}
        assert (one.responder, one.status_version, one.again_at) == (b"R", 4, NOW + LIFE / 2)


async def test_answers_that_end_sooner_are_signed_again_when_they_end() -> None:
    shelf = due(1)
    await signed(Responder([b"R", b"R"], [NOW + 2 * HOUR, NOW + HOUR]), shelf)
    assert shelf.kept[0].again_at == NOW + HOUR


async def test_answers_of_two_responders_are_not_kept_together() -> None:
    shelf = due(1, 2)
    assert await signed(Responder([b"R", b"S", b"S", b"S"]), shelf) == 1
    assert [(one.serial, one.responder) for one in shelf.kept] == [("02", b"S")]


async def test_nothing_is_kept_of_a_responder_that_may_not_sign() -> None:
    shelf = due(1)
    assert await signed(Responder([], tries_later=True), shelf) == 0
    assert shelf.kept == []


async def test_what_was_signed_before_an_error_is_kept() -> None:
    shelf = due(1, 2, 3)
    with pytest.raises(SignerUnavailable):
        await signed(Responder([b"R", b"R", b"R", SignerUnavailable("gone", retry_after_s=5)]), shelf)
    assert [one.serial for one in shelf.kept] == ["01"]


async def test_at_most_a_hundred_certificates_are_signed_for_at_once() -> None:
    shelf = due(*range(1, 102))
    assert await signed(Responder([b"R"] * 202), shelf) == 100
