"""The command that prints which certificates end when, how far their renewal is, and who cannot trade next."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter, validators

from chopmark.cli.certificates import local_time
from chopmark.cli.console import configured, looking, run, say
from chopmark.ra.expiries import MOST_DAYS, Only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chopmark.app.settings import Settings
    from chopmark.ra.expiries import Expiries, Expiry, Tally, Window


expiries_app = App(name="expiries", help="Certificates that end, and who cannot trade when the exchange opens next.")

_SPAN = validators.Number(gte=0, lte=MOST_DAYS)
Form = Literal["table", "csv", "json"]
ALARM = 1
"""The exit code of an alarm; wrong arguments give 2."""


@expiries_app.default
def expiries_command(
    *,
    days: Annotated[int, Parameter(validator=_SPAN)] = 30,
    since: Annotated[int, Parameter(validator=_SPAN)] = 7,
    only: Only = "all",
    form: Annotated[Form, Parameter(name="--format")] = "table",
    alarm_above: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
) -> int:
    """Print the certificates that end, by day and by how far their renewal is; and who cannot trade next.

    Parameters
    ----------
    days:
        So many days ahead, at most 400.
    since:
        Certificates that ended so many days ago are looked at, too: who has lapsed cannot trade either.
    only:
        `cannot-trade`: customers without a certificate in use when the exchange opens next; `unnoticed`: those of
        them to whom no reminder got through and who have no order open; `unreachable`: those who cannot be reminded.
    form:
        `table` for people; `csv` and `json` have a line or an object for each certificate.
    alarm_above:
        Exit code 1 when more customers than this are unnoticed.
    """
    return run(look(configured(), days, since, only, form, alarm_above))


async def look(
    settings: Settings, days: int, since: int, only: Only = "all", form: Form = "table", alarm_above: int | None = None
) -> int:
    """Open the installation and print the certificates that end."""
    async with looking(settings) as services:
        return await print_expiries(services.ra.expiries, days, since, only, form, alarm_above)


async def print_expiries(
    expiries: Expiries, days: int, since: int, only: Only = "all", form: Form = "table", alarm_above: int | None = None
) -> int:
    """Print the certificates that end. Return exit code 1 if more than `alarm_above` customers are unnoticed."""
    from chopmark.ra.expiries import Tally

    tally, window = Tally(), expiries.window(days, since)
    rows = _counted(expiries.all(window), tally, only)
    if form == "csv":
        await _csv(rows)
    elif form == "json":
        await _json(rows, window, tally)
    else:
        await _table(rows, window, tally, only)
    return ALARM if alarm_above is not None and tally.unnoticed > alarm_above else 0


async def _counted(rows: AsyncIterator[Expiry], tally: Tally, only: Only) -> AsyncIterator[Expiry]:
    """Count every certificate, and yield those that `only` asks for."""
    async for row in rows:
        tally.add(row)
        if row.is_of(only):
            yield row


async def _csv(rows: AsyncIterator[Expiry]) -> None:
    """Write a line for each certificate below the header, which is there although no certificate is."""
    from chopmark.ra.expiries import TOLD, told

    writer = csv.DictWriter(sys.stdout, TOLD, lineterminator="\n")
    writer.writeheader()
    words = {True: "yes", False: "no"}
    async for row in rows:
        fields = told(row)
        writer.writerow({name: words[value] if isinstance(value, bool) else value for name, value in fields.items()})


async def _json(rows: AsyncIterator[Expiry], window: Window, tally: Tally) -> None:
    """Write one JSON document. The numbers come last, because they are known only after all certificates were read."""
    from chopmark.ra.expiries import told, told_window

    sys.stdout.write(json.dumps(told_window(window))[:-1] + ', "certificates": [')
    joint = "\n"
    async for row in rows:
        sys.stdout.write(joint + json.dumps(told(row), ensure_ascii=False))
        joint = ",\n"
    sys.stdout.write("],\n" + f'"numbers": {json.dumps(numbers_of(tally))}, "days": {json.dumps(days_of(tally))}}}\n')


def numbers_of(tally: Tally) -> dict[str, int]:
    """Return the numbers by which an alarm is decided."""
    return {"cannot_trade": tally.cannot_trade, "unnoticed": tally.unnoticed, "unreachable": tally.unreachable}


def days_of(tally: Tally) -> dict[str, dict[str, int]]:
    """Return how many certificates end on each day, by how far their renewal is."""
    from chopmark.ra.expiries import Funnel

    names = [*(one.value for one in Funnel), "unreachable"]
    return {day.isoformat(): {name: tally.days[day][name] for name in names} for day in sorted(tally.days)}


LISTED = 20
"""How many customers a table without `--only` names."""


async def _table(rows: AsyncIterator[Expiry], window: Window, tally: Tally, only: Only) -> None:
    named: list[str] = []
    async for row in rows:
        if only != "all":
            say(line_of(row))
        elif row.cannot_trade and len(named) < LISTED:
            named.append(line_of(row))
    if only == "all":
        _say_days(tally)
    opens = local_time(window.next_session)
    sure = {
        "announced": "",
        "expected": "; the calendar of that year is expected, not announced",
        "unknown": "; of that year only weekends are known",
    }
    say(f"The exchange opens next on {opens}{sure[window.standing.value]}.")
    say(f"Customers who cannot trade then: {tally.cannot_trade}; unnoticed: {tally.unnoticed}.")
    for line in named:
        say(f"  {line}")
    if only == "all" and tally.cannot_trade > len(named):
        say(f"  and {tally.cannot_trade - len(named)} more: --only cannot-trade")
    say(f"Certificates whose customers cannot be reminded: {tally.unreachable}.")


def _say_days(tally: Tally) -> None:
    names = ("quiet", "reached", "opened", "renewed", "proven", "unreachable")
    say("ends        " + "  ".join(f"{name:>11}" for name in names))
    for day in sorted(tally.days):
        say(f"{day}  " + "  ".join(f"{tally.days[day][name]:>11}" for name in names))


def line_of(row: Expiry) -> str:
    """Return a certificate on one line."""
    why = "" if row.unreached is None else f", {row.unreached.value.replace('_', ' ')}"
    reminded = "" if row.reminded_at is None else f", reminded {local_time(row.reminded_at)}"
    return (
        f"{row.customer}  {row.account}  {row.serial}  until {local_time(row.not_after)}  {row.funnel}{why}{reminded}"
    )
