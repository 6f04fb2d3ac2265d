"""Which certificates end when, how far their renewal is, and who cannot trade when the exchange opens next.

The command line and the back-office API read the same pages of certificates; `Tally` counts them. A page holds a
bounded number of certificates, so that any number of customers is counted in constant memory.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, TypeAlias

from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, Channel, CustomerId, text
from chopmark.ra.reminders.policy import DEAD_FOR
from chopmark.tw.trading_days import Standing, TradingCalendar
from chopmark.tw.zone import TAIPEI, local_date, local_midnight

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Only: TypeAlias = Literal["all", "cannot-trade", "unnoticed", "unreachable"]
"""Which certificates of a window to return; see `Expiry.is_of`."""


class Funnel(StrEnum):
    """How far the renewal of a certificate is: the last of these that has happened. First use is not known."""

    QUIET = "quiet"
    """No reminder was sent, and nothing below has happened."""
    REACHED = "reached"
    """A gateway took a reminder, and did not report that it failed to arrive."""
    OPENED = "opened"
    """The customer has an order for a new certificate."""
    RENEWED = "renewed"
    """A new certificate was issued, but possession of its key is not proven yet."""
    PROVEN = "proven"
    """A later certificate of the customer is in use."""


class Unreached(StrEnum):
    """Why a customer cannot be reminded, so that a branch has to telephone or write."""

    NO_CONTACT = "no_contact"
    """There is no contact that a gateway can reach and that the customer has not disputed."""
    BOUNCED = "bounced"
    """A gateway says that the address takes no mail, or returned the last one, and there is no other contact."""
    NUMBER_DEAD = "number_dead"
    """A gateway says that the number takes no messages, and there is no other contact."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the store knows about one certificate, not judged yet.

    `id` is the serial number, or for an imported certificate its fingerprint; `issuer` is then its former issuer.
    """

    id: str
    serial: str
    issuer: str
    customer: CustomerId
    account: AccountNumber
    not_after: datetime
    in_use: bool
    """Whether it is an active certificate of the customer. If not, it was superseded."""
    later_until: datetime | None
    """The latest end of the other active certificates of the customer; None if there are none."""
    renewed: bool
    """Whether a new certificate waits for its proof of possession.

    For a superseded one, that is the one that superseded it.
    """
    opened: bool
    contacts: int
    """How many contacts a reminder can be sent to."""
    dead: Channel | None
    """The channel of a contact at which nothing arrives, or whose last message came back, as a gateway said."""
    sent: int
    """How many reminders were handed over for contacts at which messages arrive, as far as is known."""
    reminded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The certificate after which the next page begins. The order is by end, then by id."""

    not_after: datetime
    id: str = ""


def written(cursor: Cursor | None) -> str | None:
    """Return a cursor in the form that clients get: `epoch-milliseconds.id`."""
    return None if cursor is None else f"{(cursor.not_after - _EPOCH) // timedelta(milliseconds=1)}.{cursor.id}"


_WRITTEN = re.compile(r"([0-9]{1,15})\.([0-9A-Za-z]{1,64})")
_LAST_MS = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
"""A later moment has no year that a database or Python could count."""


def cursor_of(given: str) -> Cursor | None:
    """Return the cursor that a client sent back; None for an empty text.

    Raises Refused (MALFORMED) for any other text.
    """
    if not given:
        return None
    found = _WRITTEN.fullmatch(given)
    if found is None or int(found[1]) > _LAST_MS:
        said = text("This place in the list does not exist. Please read the list from its beginning.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="after", code="cursor"))
    return Cursor(_EPOCH + timedelta(milliseconds=int(found[1])), found[2])


@dataclass(frozen=True, slots=True)
class Endings:
    """A page as the store returns it; `following` is None on the last page."""

    rows: tuple[Ending, ...]
    following: Cursor | None


class ExpiryPages(Protocol):
    """Reads certificates in the order in which they end."""

    async def after(
        self, cursor: Cursor, until: datetime, channels: Collection[Channel], dead_since: datetime, most: int
    ) -> Endings:
        """Return certificates that end later than the cursor and before `until`, at most `most`, in order.

        A contact counts as dead if a gateway has reported so since `dead_since`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Expiry:
    """One certificate that ends, judged at one moment; `issuer` is the former issuer if it was imported."""

    serial: str
    issuer: str
    customer: CustomerId
    account: AccountNumber
    not_after: datetime
    last_trading_day: date
    trading_days_left: int
    funnel: Funnel
    unreached: Unreached | None
    reminders: int
    reminded_at: datetime | None
    cannot_trade: bool
    """No certificate of the customer will be in use when the exchange opens next."""

    def is_of(self, only: Only) -> bool:
        """Tell whether the certificate is one of those that `only` asks for."""
        return {
            "all": True,
            "cannot-trade": self.cannot_trade,
            "unnoticed": self.unnoticed,
            "unreachable": self.unreached is not None,
        }[only]

    @property
    def unnoticed(self) -> bool:
        """Whether the customer cannot trade and may not know it: no reminder arrived, and no order is open."""
        return self.cannot_trade and self.funnel is Funnel.QUIET


@dataclass(frozen=True, slots=True)
class Window:
    """The span in which the certificates end, and the moment at which they are judged."""

    now: datetime
    since: datetime
    until: datetime
    next_session: datetime
    standing: Standing
    """How certain the calendar is about the year of the next session."""


@dataclass(frozen=True, slots=True)
class ExpiryPage:
    """A page with judged certificates, for the interfaces."""

    rows: tuple[Expiry, ...]
    following: Cursor | None


MOST_DAYS = 400
MOST_ROWS = 1000


class Expiries:
    """Reads the certificates for `chopmark expiries` and `GET /backoffice/v1/expiries`. It changes nothing."""

    def __init__(
        self, pages: ExpiryPages, calendar: TradingCalendar, channels: Collection[Channel], clock: Clock
    ) -> None:
        self._pages = pages
        self._calendar = calendar
        self._channels = tuple(channels)
        self._clock = clock

    def window(self, days: int, since: int) -> Window:
        """Return the window from `since` days ago to the end of the day `days` from today, in Taiwan's days.

        It reaches at least to the next session, so that all who cannot trade then are in it.
        """
        now = self._clock.now()
        opens, today = self._calendar.next_session(now), local_date(now)
        until = local_midnight(today + timedelta(days=min(max(0, days), MOST_DAYS) + 1))
        begin = local_midnight(today - timedelta(days=min(max(0, since), MOST_DAYS)))
        return Window(now, begin, max(until, opens), opens, self._calendar.standing(local_date(opens)))

    async def page(self, window: Window, cursor: Cursor | None = None, most: int = MOST_ROWS) -> ExpiryPage:
        """Return the next certificates of the window, at most `most`.

        A page may be empty although it is not the last.
        """
        begin = cursor or Cursor(window.since)
        found = await self._pages.after(
            begin, window.until, self._channels, window.now - DEAD_FOR, min(max(1, most), MOST_ROWS)
        )
        judged = (judge(row, window, self._calendar) for row in found.rows)
        return ExpiryPage(tuple(row for row in judged if row is not None), found.following)

    async def all(self, window: Window) -> AsyncIterator[Expiry]:
        """Yield every certificate of the window, with one page in memory at a time."""
        cursor: Cursor | None = None
        while True:
            page = await self.page(window, cursor)
            for row in page.rows:
                yield row
            cursor = page.following
            if cursor is None:
                return


def judge(row: Ending, window: Window, calendar: TradingCalendar) -> Expiry | None:
    """Return the judgement of a certificate; None if its end does not matter.

    The end of a superseded certificate does not matter if its successor is neither in use nor waits for its proof: the
    successor was revoked. The customer then has no certificate, but for another reason than the end of this one.
    """
    funnel = _funnel(row)
    if not row.in_use and funnel not in {Funnel.PROVEN, Funnel.RENEWED}:
        return None
    in_use_until = max((end for end in (row.not_after if row.in_use else None, row.later_until) if end), default=None)
    return Expiry(
        row.serial,
        row.issuer,
        row.customer,
        row.account,
        row.not_after,
        calendar.last_trading_day_within(row.not_after),
        calendar.trading_days_left(row.not_after, window.now) if row.in_use else 0,
        funnel,
        _unreached(row) if funnel in {Funnel.QUIET, Funnel.REACHED} else None,
        row.sent,
        row.reminded_at,
        cannot_trade=in_use_until is None or in_use_until < window.next_session,
    )


def _funnel(row: Ending) -> Funnel:
    if row.later_until is not None and row.later_until > row.not_after:
        return Funnel.PROVEN
    if row.renewed:
        return Funnel.RENEWED
    if row.opened:
        return Funnel.OPENED
    return Funnel.REACHED if row.sent else Funnel.QUIET


def _unreached(row: Ending) -> Unreached | None:
    if row.contacts:
        return None
    if row.dead is None:
        return Unreached.NO_CONTACT
    return Unreached.BOUNCED if row.dead is Channel.EMAIL else Unreached.NUMBER_DEAD


TOLD: Final = (
    "ends",
    "last_trading_day",
    "trading_days_left",
    "funnel",
    "cannot_trade",
    "unreached",
    "reminders",
    "reminded_at",
    "customer",
    "account",
    "serial",
    "issuer",
)
"""What is told of each certificate, in this order."""


def told(row: Expiry) -> Mapping[str, Any]:
    """Return a certificate as JSON members for the command line and the API; times are in Taipei time."""
    return {
        "ends": row.not_after.astimezone(TAIPEI).isoformat(),
        "last_trading_day": row.last_trading_day.isoformat(),
        "trading_days_left": row.trading_days_left,
        "funnel": row.funnel.value,
        "cannot_trade": row.cannot_trade,
        "unreached": None if row.unreached is None else row.unreached.value,
        "reminders": row.reminders,
        "reminded_at": None if row.reminded_at is None else row.reminded_at.astimezone(TAIPEI).isoformat(),
        "customer": row.customer,
        "account": row.account,
        "serial": row.serial,
        "issuer": row.issuer,
    }


def told_window(window: Window) -> Mapping[str, Any]:
    """Return, as JSON members, when the certificates were judged and when the exchange opens next."""
    return {
        "as_of": window.now.astimezone(TAIPEI).isoformat(),
        "next_session": window.next_session.astimezone(TAIPEI).isoformat(),
        "calendar": window.standing.value,
    }


@dataclass(slots=True)
class Tally:
    """Counts certificates by the day on which they end, and customers who cannot trade, in constant memory."""

    days: dict[date, Counter[str]] = field(default_factory=dict)
    cannot_trade: int = 0
    unnoticed: int = 0
    unreachable: int = 0

    def add(self, row: Expiry) -> None:
        """Count one certificate."""
        day = self.days.setdefault(local_date(row.not_after), Counter())
        day[row.funnel.value] += 1
        day["unreachable"] += row.unreached is not None
        self.unreachable += row.unreached is not None
        self.cannot_trade += row.cannot_trade
        self.unnoticed += row.unnoticed
