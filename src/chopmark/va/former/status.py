"""What a former issuer says about a certificate: by its lists in the database, or by its OCSP responder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from chopmark.core.clock import Entropy
from chopmark.pki import ocsp_reading
from chopmark.pki.ocsp_reading import Asked, Misfit
from chopmark.va.former.fetch import asked
from chopmark.va.former.ports import (
    FormerCa,
    FormerLists,
    Good,
    KeptAnswer,
    KeptList,
    ListSource,
    NoSource,
    NotFetched,
    ResponderSource,
    Revoked,
    Status,
    Unknown,
)

KEPT: Final = timedelta(minutes=10)
"""How long a good OCSP answer is used again at most, because one order asks several times."""
REST: Final = timedelta(seconds=30)
"""A responder that did not answer is not asked again for so long, so that not every customer waits for it."""
NOT_ASKED: Final = timedelta(hours=1)
ON_HOLD: Final = "certificate_hold"


@dataclass(frozen=True, slots=True)
class _ToAsk:
    """A responder that has to be asked; `line` is how the last looks at it went."""

    ca: FormerCa
    source: ResponderSource
    line: KeptList


class FormerStatusReader:
    """Returns the status of certificates of former issuers.

    If the status cannot be found out, it is Unknown; nothing is raised.
    """

    def __init__(self, cas: Sequence[FormerCa], lists: FormerLists, entropy: Entropy) -> None:
        self._cas = {ca.id: ca for ca in cas}
        self._lists = lists
        self._entropy = entropy

    async def status_of(self, issuer: str, serial: str, now: datetime) -> Status:
        """Return the status of the certificate of this former issuer with this serial number (hexadecimal)."""
        known = await self._known(issuer, serial, now)
        return await self._by_responder(known, serial, now) if isinstance(known, _ToAsk) else known

    async def known_of(self, issuer: str, serial: str, now: datetime) -> Status | None:
        """Return what is known of the certificate without asking its CA; None when its responder has to be asked."""
        known = await self._known(issuer, serial, now)
        return None if isinstance(known, _ToAsk) else known

    async def _known(self, issuer: str, serial: str, now: datetime) -> Status | _ToAsk:
        ca = self._cas.get(issuer)
        if ca is None:
            return Unknown("other_ca")
        match ca.source:
            case NoSource():
                return Good(now + NOT_ASKED)
            case ListSource() as source:
                kept, revoked = await self._lists.looked_up(issuer, serial)
                return by_lists(source, kept, revoked, now)
            case ResponderSource() as source:
                return await self._from_before(ca, source, serial, now)

    async def _from_before(self, ca: FormerCa, source: ResponderSource, serial: str, now: datetime) -> Status | _ToAsk:
        # 1. Use a recent answer, whichever process asked for it. A final revocation never has to be asked for again.
        known = await self._lists.answer(ca.id, serial)
        if known is not None and (_for_good(known) or known.until > now):
            return known.status
        # 2. Do not ask a responder that has just failed.
        line = (await self._lists.kept(ca.id)).get(source.url, KeptList(ca.id, source.url))
        if line.due_at is not None and now < line.due_at <= now + REST:
            return Unknown(line.fault or "unreachable")
        return _ToAsk(ca, source, line)

    async def _by_responder(self, to_ask: _ToAsk, serial: str, now: datetime) -> Status:
        """Ask the responder, and store how that went."""
        ca, source, line = to_ask.ca, to_ask.source, to_ask.line
        found = await self._ask(ca, source, serial, now)
        if isinstance(found, Unknown):
            await self._note(line, found, now)
            return found
        if line.fault is not None:
            await self._lists.failed(KeptList(ca.id, source.url))
        await self._lists.keep_answer(found)
        return found.status

    async def _ask(self, ca: FormerCa, source: ResponderSource, serial: str, now: datetime) -> KeptAnswer | Unknown:
        """Ask about the certificate for each of the CA's keys, until the responder knows the certificate."""
        signers = [x509.load_der_x509_certificate(one) for one in source.signers]
        why = "unknown"
        for one in ca.certificates:
            issuer = x509.load_der_x509_certificate(one)
            question = Asked(int(serial, 16), self._entropy.token(32), source.nonce_required)
            try:
                answer = await asked(source.url, ocsp_reading.request(issuer, question))
            except NotFetched as error:
                return Unknown(error.why)
            said = ocsp_reading.judge(answer, issuer, question, signers, now)
            if not isinstance(said, Misfit):
                if said.revoked_at is not None:
                    status: Good | Revoked = Revoked(said.reason or "unspecified", said.revoked_at)
                else:
                    status = Good(said.until)
                return KeptAnswer(ca.id, serial, status, min(said.until, now + KEPT))
            why = said.why if why == "unknown" else why
        return Unknown(why)

    async def _note(self, line: KeptList, found: Unknown, now: datetime) -> None:
        """Store that the responder failed. It is no failure if it does not know one certificate."""
        if found.why == "unknown":
            return
        since, failures = line.failing_since or now, line.failures + 1
        due = now + REST if found.why == "unreachable" else None
        await self._lists.failed(replace(line, due_at=due, failures=failures, failing_since=since, fault=found.why))


def _for_good(known: KeptAnswer) -> bool:
    return isinstance(known.status, Revoked) and known.status.reason != ON_HOLD


def by_lists(source: ListSource, kept: Mapping[str, KeptList], revoked: Mapping[str, Revoked], now: datetime) -> Status:
    """Return the status by all lists of a CA: revoked if one of them says so, good if none does and all are current."""
    places = [location.place for location in source.locations]
    for place in places:
        if place in revoked:
            return revoked[place]
    ends: list[datetime] = []
    for place in places:
        one = kept.get(place)
        if one is None or one.next_update is None:
            return Unknown(one.fault if one is not None and one.fault else "never")
        if one.next_update <= now:
            return Unknown("late")
        ends.append(one.next_update)
    return Good(min(ends))
