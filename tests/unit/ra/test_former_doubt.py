"""What the CA of an imported certificate says against a renewal, and what is known without asking it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.types import text
from chopmark.ra.former_issuers import ON_HOLD, GoodThere, RevokedThere, StatusThere, UnknownThere
from chopmark.ra.former_renewal import doubt_in, known_doubt
from chopmark.ra.imported import Former, Way
from chopmark.ra.policy import Doubt

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GOOD = GoodThere(NOW + SECOND)
UNKNOWN = UnknownThere(text("The list is late."))


@pytest.mark.parametrize(
    ("status", "doubt"),
    [
        (GOOD, None),
        (GoodThere(NOW), Doubt.UNKNOWN),
        (GoodThere(NOW - SECOND), Doubt.UNKNOWN),
        (UNKNOWN, Doubt.UNKNOWN),
        (RevokedThere(ON_HOLD), Doubt.HELD),
        (RevokedThere("key_compromise", NOW), Doubt.REVOKED),
        (RevokedThere("unspecified"), Doubt.REVOKED),
    ],
)
def test_only_a_certificate_that_is_good_now_is_without_a_doubt(status: StatusThere, doubt: Doubt | None) -> None:
    assert doubt_in(status, NOW) is doubt


@dataclass
class Statuses:
    """What is known of every certificate; nobody is asked."""

    known: StatusThere | None

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        raise AssertionError("an overview asks nobody")

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        assert (issuer, serial, now) == ("old", "1234", NOW)
        return self.known


@pytest.mark.parametrize(
    ("known", "way", "doubt"),
    [
        (None, Way.FILE, None),
        (None, Way.UNKNOWN, None),
        (None, Way.VAULT, Doubt.NO_FILE),
        (None, Way.NONE, Doubt.NO_FILE),
        (GOOD, Way.FILE, None),
        (GOOD, Way.NONE, Doubt.NO_FILE),
        (GoodThere(NOW), Way.FILE, Doubt.UNKNOWN),
        (RevokedThere("superseded"), Way.NONE, Doubt.REVOKED),
        (RevokedThere(ON_HOLD), Way.FILE, Doubt.HELD),
    ],
)
async def test_what_is_known_counts_first_and_then_whether_there_is_a_file(
    known: StatusThere | None, way: Way, doubt: Doubt | None
) -> None:
    assert await known_doubt(Statuses(known), Former("old", "1234", way), NOW) is doubt
