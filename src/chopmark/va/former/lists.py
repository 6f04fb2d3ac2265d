"""Load the revocation lists of former issuers into the database before the stored ones reach their nextUpdate."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from chopmark.core.clock import Clock
from chopmark.core.each import each
from chopmark.pki import crl_reading
from chopmark.pki.crl_reading import Outline, Revoked
from chopmark.pki.der import NotDer
from chopmark.va.former.fetch import Spool, fetched
from chopmark.va.former.ports import FormerCa, FormerLists, KeptList, ListSource, Location, NotFetched

BATCH: Final = 1000
"""Entries stored per transaction."""
LOOKS: Final = timedelta(hours=1)
"""How often a list is fetched; more often if it reaches its nextUpdate in less than two hours."""
SOONEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(minutes=15)
"""After a failed fetch, the wait for the next one is between `SOONEST` and `LONGEST`."""
MAX_SKEW: Final = timedelta(minutes=5)

log = structlog.get_logger()


class ListRefresh:
    """Fetches each list when it is due. Safe to repeat; any number of workers may run it."""

    def __init__(self, cas: Sequence[FormerCa], lists: FormerLists, folder: Path, clock: Clock, holder: str) -> None:
        self._cas = [(ca, ca.source) for ca in cas if isinstance(ca.source, ListSource)]
        self._lists = lists
        self._folder = folder
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Fetch every list that is due. Always return 0, because nothing is left to do then.

        A list that cannot even be stored, as on a full disk, keeps no other from being fetched.
        """
        places = [(ca, source, location) for ca, source in self._cas for location in source.locations]
        await each(places, lambda place: self._look_if_due(*place))
        return 0

    async def _look_if_due(self, ca: FormerCa, source: ListSource, location: Location) -> None:
        before = (await self._lists.kept(ca.id)).get(location.place, KeptList(ca.id, location.place))
        if before.due_at is None or before.due_at <= self._clock.now():
            await self._look(ca, source, location, before)

    async def _look(self, ca: FormerCa, source: ListSource, location: Location, before: KeptList) -> None:
        """Fetch and store a list. If that fails, store why; the list stored before stays in use."""
        generation = await self._lists.claim(ca.id, location.place, self._holder, self._clock.now())
        if generation is None:
            return
        try:
            async with fetched(location, self._folder, source.max_bytes) as spool:
                await self._take(ca, location, before, spool, generation)
        except (NotFetched, NotDer, ValueError) as error:
            why = error.why if isinstance(error, NotFetched) else "malformed"
            now = self._clock.now()
            wait = min(LONGEST, SOONEST * 2 ** min(before.failures, 8))
            since = before.failing_since or now
            await self._lists.failed(
                replace(before, due_at=now + wait, failures=before.failures + 1, failing_since=since, fault=why)
            )
            late = before.next_update is None or before.next_update <= now
            say = log.error if late else log.warning
            say("former issuer's list not taken", kind=ca.id, path=location.place, code=f"former_list.{why}")
        finally:
            await self._lists.release(ca.id, location.place, self._holder)

    async def _take(self, ca: FormerCa, location: Location, before: KeptList, spool: Spool, generation: int) -> None:
        # 1. Read what the list is and whose, and whether it may replace the one before.
        found = await asyncio.to_thread(crl_reading.outline, spool)
        now = self._clock.now()
        why = misfit(found, ca, location, before, now)
        if why:
            raise NotFetched(why)
        # 2. Verify the signature over the whole list. Nothing of it was trusted before.
        if not await asyncio.to_thread(crl_reading.verified_by, spool, found, keys_of(ca, now)):
            raise NotFetched("signature")
        # 3. Store its entries, unless they are the same as before. Each counts as revoked as soon as it is stored.
        digest = await asyncio.to_thread(_digest, spool, found.entries)
        same = before.fetched_at is not None and digest == before.entries_sha256
        count = before.entries if same else await self._put(ca, location, spool, found, generation)
        # 4. Make this the current list. Entries of the one before that are not in it any more cease to count.
        next_update = found.next_update or now
        taken = KeptList(
            issuer=ca.id,
            place=location.place,
            number=found.number,
            this_update=found.this_update,
            next_update=next_update,
            entries_sha256=digest,
            entries=count,
            fetched_at=now,
            due_at=now + min(LOOKS, max(SOONEST, (next_update - now) / 2)),
        )
        await self._lists.taken(taken, None if same else generation)

    async def _put(self, ca: FormerCa, location: Location, spool: Spool, found: Outline, generation: int) -> int:
        """Store the entries, `BATCH` per transaction, and return how many there are."""
        entries, count = crl_reading.entries(spool, found.entries), 0
        while batch := await asyncio.to_thread(_next, entries):
            await self._lists.put(ca.id, location.place, generation, batch)
            count += len(batch)
        return count


def _next(entries: Iterator[Revoked]) -> list[Revoked]:
    return list(islice(entries, BATCH))


def _digest(spool: Spool, span: tuple[int, int] | None) -> str:
    state = hashlib.sha256()
    for piece in crl_reading.pieces(spool, span or (0, 0)):
        state.update(piece)
    return state.hexdigest()


def misfit(found: Outline, ca: FormerCa, location: Location, before: KeptList, now: datetime) -> str:
    """Return, as a word of `sentences.FAULTS`, why a list must not be used.

    Empty if only its signature is left to be checked.
    """
    names = {x509.load_der_x509_certificate(one).subject.public_bytes() for one in ca.certificates}
    if found.issuer_der not in names:
        return "other_issuer"
    if found.unfit:
        return found.unfit
    if found.scope_urls is not None and location.scope not in found.scope_urls:
        return "scope"
    if found.next_update is None:
        return "no_next_update"
    if found.this_update > now + MAX_SKEW:
        return "future"
    if found.next_update <= now:
        return "late"
    return "older" if is_older(found, before) else ""


def is_older(found: Outline, before: KeptList) -> bool:
    """Tell whether a list is older than the stored one. Somebody might send an old list to hide a revocation."""
    if before.this_update is None:
        return False
    if before.number is not None and (found.number is None or found.number < before.number):
        return True
    return found.this_update < before.this_update


def keys_of(ca: FormerCa, now: datetime) -> list[object]:
    """Return the keys that may sign this CA's lists: those of its own certificates and of its valid signers."""
    delegated = ca.source.signers if isinstance(ca.source, ListSource) else ()
    signers = [one for one in map(x509.load_der_x509_certificate, delegated) if _is_valid(one, now)]
    own = [x509.load_der_x509_certificate(one) for one in ca.certificates]
    return [one.public_key() for one in (*own, *signers) if crl_reading.may_sign(one)]


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
