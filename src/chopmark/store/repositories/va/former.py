"""What former issuers say of their certificates, kept for all processes: their lists, and answers of responders."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from chopmark.pki.crl_reading import Revoked as Entry
from chopmark.store.engine.columns import moment, moment_or_none, ms, ms_or_none
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Row, Script, Value, query, whole
from chopmark.store.repositories.leases import take
from chopmark.va.former.ports import Good, KeptAnswer, KeptList, Revoked

LEASE: Final = timedelta(minutes=10)
"""As long as fetching and storing a very large list may take."""
_COLUMNS = """issuer, place, number, this_update, next_update, entries_sha256, entries, fetched_at, due_at, failures,
  failing_since, fault"""
_KEPT = f"SELECT {_COLUMNS} FROM former_lists WHERE issuer = :issuer"
_LISTED = "SELECT place, reason, revoked_at FROM former_revocations WHERE issuer = :issuer AND serial = :serial"
_CLAIM = """
INSERT INTO former_lists (issuer, place, claimed) VALUES (:issuer, :place, 1)
ON CONFLICT (issuer, place) DO UPDATE SET claimed = former_lists.claimed + 1 RETURNING claimed
"""
_RELEASE = "UPDATE leases SET until = 0 WHERE name = :name AND holder = :holder"
_PUT = """
INSERT INTO former_revocations (issuer, serial, place, reason, revoked_at, generation)
VALUES (:issuer, :serial, :place, :reason, :revoked_at, :generation)
ON CONFLICT (issuer, serial, place) DO UPDATE SET reason = excluded.reason, revoked_at = excluded.revoked_at,
  generation = excluded.generation
WHERE former_revocations.generation < excluded.generation
"""
_TAKEN = """
UPDATE former_lists SET number = :number, this_update = :this_update, next_update = :next_update,
  entries_sha256 = :entries_sha256, entries = :entries, fetched_at = :fetched_at, due_at = :due_at, failures = 0,
  failing_since = NULL, fault = NULL,
  generation = CASE WHEN :generation > generation THEN :generation ELSE generation END
WHERE issuer = :issuer AND place = :place AND (this_update IS NULL OR this_update <= :this_update)
RETURNING generation
"""
_ENDED = """
DELETE FROM former_revocations WHERE issuer = :issuer AND place = :place AND generation < :generation
"""
_FAILED = """
INSERT INTO former_lists (issuer, place, due_at, failures, failing_since, fault)
VALUES (:issuer, :place, :due_at, :failures, :failing_since, :fault)
ON CONFLICT (issuer, place) DO UPDATE SET due_at = excluded.due_at, failures = excluded.failures,
  failing_since = excluded.failing_since, fault = excluded.fault
"""
_ANSWER = """
SELECT reason, revoked_at, good_until, until FROM former_answers WHERE issuer = :issuer AND serial = :serial
"""
_KEEP = """
INSERT INTO former_answers (issuer, serial, reason, revoked_at, good_until, until)
VALUES (:issuer, :serial, :reason, :revoked_at, :good_until, :until)
ON CONFLICT (issuer, serial) DO UPDATE SET reason = excluded.reason, revoked_at = excluded.revoked_at,
  good_until = excluded.good_until, until = excluded.until
"""


class FormerListRepository:
    """Implements `va.former.ports.FormerLists`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def kept(self, issuer: str) -> dict[str, KeptList]:
        """As `FormerLists.kept`."""

        def script() -> Script[dict[str, KeptList]]:
            return {row["place"]: _kept(row) for row in (yield query(_KEPT, issuer=issuer))}

        return await self._engine.read(script)

    async def looked_up(self, issuer: str, serial: str) -> tuple[dict[str, KeptList], dict[str, Revoked]]:
        """As `FormerLists.looked_up`."""

        def script() -> Script[tuple[dict[str, KeptList], dict[str, Revoked]]]:
            kept = {row["place"]: _kept(row) for row in (yield query(_KEPT, issuer=issuer))}
            listed = yield query(_LISTED, issuer=issuer, serial=serial)
            return kept, {row["place"]: Revoked(row["reason"], moment(row["revoked_at"])) for row in listed}

        return await self._engine.read(script)

    async def claim(self, issuer: str, place: str, holder: str, now: datetime) -> int | None:
        """As `FormerLists.claim`."""
        if await self._engine.run(take, _lease(issuer, place), holder, ms(now), ms(now + LEASE)) is None:
            return None

        def script() -> Script[int]:
            return int((yield whole(_CLAIM, issuer=issuer, place=place))[0]["claimed"])

        return await self._engine.run(script)

    async def release(self, issuer: str, place: str, holder: str) -> None:
        """As `FormerLists.release`."""

        def script() -> Script[None]:
            yield whole(_RELEASE, name=_lease(issuer, place), holder=holder)

        await self._engine.run(script)

    async def put(self, issuer: str, place: str, generation: int, entries: Sequence[Entry]) -> None:
        """As `FormerLists.put`."""
        same: dict[str, Value] = {"issuer": issuer, "place": place, "generation": generation}
        rows = [{**same, "serial": one.serial, "reason": one.reason, "revoked_at": ms(one.at)} for one in entries]

        def script() -> Script[None]:
            yield Batch(_PUT, rows, whole=True)

        await self._engine.run(script)

    async def taken(self, kept: KeptList, generation: int | None) -> None:
        """As `FormerLists.taken`."""

        def script() -> Script[None]:
            rows = yield query(
                _TAKEN,
                issuer=kept.issuer,
                place=kept.place,
                number=None if kept.number is None else str(kept.number),
                this_update=ms_or_none(kept.this_update),
                next_update=ms_or_none(kept.next_update),
                entries_sha256=kept.entries_sha256,
                entries=kept.entries,
                fetched_at=ms_or_none(kept.fetched_at),
                due_at=ms_or_none(kept.due_at),
                generation=generation or 0,
            )
            if rows and generation is not None:
                yield query(_ENDED, issuer=kept.issuer, place=kept.place, generation=generation)

        await self._engine.run(script)

    async def failed(self, kept: KeptList) -> None:
        """As `FormerLists.failed`."""

        def script() -> Script[None]:
            yield whole(
                _FAILED,
                issuer=kept.issuer,
                place=kept.place,
                due_at=ms_or_none(kept.due_at),
                failures=kept.failures,
                failing_since=ms_or_none(kept.failing_since),
                fault=kept.fault,
            )

        await self._engine.run(script)

    async def answer(self, issuer: str, serial: str) -> KeptAnswer | None:
        """As `FormerLists.answer`."""

        def script() -> Script[KeptAnswer | None]:
            rows = yield query(_ANSWER, issuer=issuer, serial=serial)
            return _answer(issuer, serial, rows[0]) if rows else None

        return await self._engine.read(script)

    async def keep_answer(self, kept: KeptAnswer) -> None:
        """As `FormerLists.keep_answer`."""
        revoked = kept.status if isinstance(kept.status, Revoked) else None
        good = kept.status if isinstance(kept.status, Good) else None

        def script() -> Script[None]:
            yield whole(
                _KEEP,
                issuer=kept.issuer,
                serial=kept.serial,
                reason=None if revoked is None else revoked.reason,
                revoked_at=None if revoked is None else ms(revoked.at),
                good_until=None if good is None else ms(good.until),
                until=ms(kept.until),
            )

        await self._engine.run(script)


def _lease(issuer: str, place: str) -> str:
    return f"former:{issuer}:{place}"


def _kept(row: Row) -> KeptList:
    return KeptList(
        issuer=row["issuer"],
        place=row["place"],
        number=None if row["number"] is None else int(row["number"]),
        this_update=moment_or_none(row["this_update"]),
        next_update=moment_or_none(row["next_update"]),
        entries_sha256=row["entries_sha256"] or "",
        entries=row["entries"],
        fetched_at=moment_or_none(row["fetched_at"]),
        due_at=moment_or_none(row["due_at"]),
        failures=row["failures"],
        failing_since=moment_or_none(row["failing_since"]),
        fault=row["fault"],
    )


def _answer(issuer: str, serial: str, row: Row) -> KeptAnswer:
    status = (
        Good(moment(row["good_until"])) if row["reason"] is None else Revoked(row["reason"], moment(row["revoked_at"]))
    )
    return KeptAnswer(issuer, serial, status, moment(row["until"]))
