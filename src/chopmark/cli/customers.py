"""The directory of customers: import sheets, print slips, show one customer."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from chopmark.cli.certificates import MOST, certificate_line, local_time
from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.core.counted import counted
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, OrderId, Serial, text

if TYPE_CHECKING:
    from chopmark.app.services import Services
    from chopmark.app.settings import Settings
    from chopmark.ra.customer_import.ports import Allowed
    from chopmark.ra.customer_import.report import Report
    from chopmark.ra.customer_import.sheet import Fault


customers_app = App(name="customers", help="The directory of customers.")


@customers_app.command(name="import")
def customers_import(
    file: Path,
    *,
    by: str,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    allow: str = "",
    dates: Literal["plain", "roc", "western"] = "plain",
    report: Path | None = None,
) -> int:
    """Import a sheet of customers (CSV, UTF-8 or Big5), wholly or not at all.

    Parameters
    ----------
    file:
        The sheet.
    by:
        Staff id of who imports, for the audit.
    dry_run:
        Say what would change, what disappears and how many; write nothing.
    allow:
        What is let through for this sheet, with commas between: `id` (another ID of a known customer), `birth-date`
        (another date of birth), `blanked` (contacts or accounts on record whose cells are empty now), `many`
        (other contacts of more customers than the settings permit). Without it each of these keeps the sheet out.
    dates:
        What you know of the sheet's dates. `roc`: every year of one or two digits is a year of the Republic. `western`:
        every year of four digits is a western one, also where Excel writes 1949/7/15. Without it neither is read.
    report:
        Where to write the faults, or with --dry-run everything, as CSV; without it they are printed.
    """
    return run(import_customers(configured(), file, by, report, allow=allow, dates=dates, dry_run=dry_run))


@customers_app.command(name="password")
def customers_password(customer: str, *, by: str) -> int:
    """Print an initial password slip: it lapses after a month, ends the customer's sessions and any password before.

    Parameters
    ----------
    customer:
        The firm's own number of the customer.
    by:
        Staff id of who prints it, for the audit.
    """
    return run(password_slip(configured(), customer, by))


@customers_app.command(name="approval-slip")
def customers_approval_slip(
    customer: str,
    *,
    papers: Literal["identity-card", "resident-certificate", "passport", "company-papers"],
    by: str,
    approved_by: str,
    key: str | None = None,
) -> int:
    """Print an approval slip: it stands in for the code of a customer to whom no code can be sent, for a week and once.

    Parameters
    ----------
    customer:
        The firm's own number of the customer.
    papers:
        What was seen of the person who asks for it, in the original; it is recorded.
    by:
        Staff id of who has seen it and prints the slip.
    approved_by:
        Staff id of who has seen it too and approves.
    key:
        The twelve letters of the key that the customer's page shows: then the slip approves that key and no other.
    """
    return run(approval_slip(configured(), customer, by, approved_by, papers, key))


@customers_app.command(name="show")
def customers_show(who: str) -> int:
    """Show a customer: contacts (masked), certificates, orders, locks, and what was sent last; nothing is changed.

    Parameters
    ----------
    who:
        Customer number, ID number, serial number of a certificate, or id of an order.
    """
    return run(show_customer(configured(), who))


_SAID = 20
"""At most so many customers are named on a line; a dry run's report has all."""


async def import_customers(
    settings: Settings,
    file: Path,
    by: str,
    report: Path | None,
    *,
    allow: str = "",
    dates: str = "plain",
    dry_run: bool = False,
) -> int:
    """Import a sheet, or say what that would do; show a progress bar on a terminal."""
    from rich.progress import Progress

    from chopmark.ra.context import assert_staff
    from chopmark.ra.customer_import.cells import Dates

    allowed = allowed_of(allow)
    assert_staff(by, "by")
    async with (looking if dry_run else at_console)(settings) as services:
        with Progress(disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("customers", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            if dry_run:
                found = await services.ra.customer_import.check_file(file, tell, allowed, Dates(dates))
            else:
                found = await services.ra.customer_import.run(file, by, tell, allowed, Dates(dates))
    if dry_run:
        return await _dry(found, report)
    if found.resumed_at:
        say(f"An earlier run had stopped after {counted(found.resumed_at, 'line')}; this one went on from there.")
    if found.faults:
        await _written(report, found.faults)
        faults = counted(found.more + len(found.faults), "fault")
        say(f"Nothing was imported: {faults} in {counted(found.lines, 'line')}.")
        return 1
    say(f"{counted(found.imported, 'customer')} imported ({found.encoding}).")
    _sum_up(found)
    _shared(found)
    return 0


def allowed_of(written: str) -> frozenset[Allowed]:
    """Return what --allow names. Raises Refused for an unknown word."""
    from chopmark.ra.customer_import.ports import Allowed

    words = {word.strip() for word in written.split(",") if word.strip()}
    if unknown := sorted(words - {each.value for each in Allowed}):
        said = text(
            "--allow knows %(known)s, with commas between; it does not know %(word)s.",
            known=", ".join(Allowed),
            word=unknown[0],
        )
        raise Refused(Refusal(Kind.MALFORMED, said, field="allow", code="allow"))
    return frozenset(Allowed(word) for word in words)


async def _dry(found: Report, report: Path | None) -> int:
    """Say what a sheet would change; exit code 1 when it would not be imported."""
    await _written(report, sorted((*found.faults, *found.notes), key=lambda one: one.line))
    _sum_up(found)
    _shared(found)
    if found.absent_count:
        named = ", ".join(found.absent[:_SAID]) + (" ..." if found.absent_count > _SAID else "")
        absent = counted(found.absent_count, "customer on record is", "customers on record are")
        as_now = "it is" if found.absent_count == 1 else "they are"
        say(f"{absent} not in this sheet and would stay as {as_now}: {named}")
    faults = found.more + len(found.faults)
    verdict = f"it would not be imported: {counted(faults, 'fault')}" if faults else "it would be imported"
    say(f"Dry run over {counted(found.lines, 'line')} ({found.encoding}); {verdict}. Nothing was written.")
    return 1 if faults else 0


async def _written(report: Path | None, said: Iterable[Fault]) -> None:
    import asyncio

    from chopmark.ra.customer_import.sheet import csv_lines

    written = "".join(f"{line}\n" for line in csv_lines(said))
    if report is None:
        sys.stdout.write(written)
    else:
        await asyncio.to_thread(report.write_text, written, encoding="utf-8")


def _sum_up(found: Report) -> None:
    """Print how many changes of each kind there are, with removals apart."""
    counts = {code: many for code, many in sorted(found.counts.items()) if not code.endswith(".shared")}
    gone = {code: many for code, many in counts.items() if code.endswith(".removed")}
    for title, some in (("Changes", {code: counts[code] for code in counts if code not in gone}), ("Disappears", gone)):
        if some:
            say(f"{title}: " + ", ".join(f"{many} {code.replace('.', ' ')}" for code, many in some.items()) + ".")


def _shared(found: Report) -> None:
    """Say that customers share contacts, and on which lines."""
    many = sum(count for code, count in found.counts.items() if code.endswith(".shared"))
    if many:
        lines = sorted({one.line for one in found.notes if one.code.endswith(".shared")})
        named = ", ".join(str(line) for line in lines[:_SAID]) + (" ..." if len(lines) > _SAID else "")
        shared = counted(many, "contact is", "contacts are")
        say(f"{shared} shared by several customers; lines {named}. Is that right (a family, a firm)?")


SLIP_LIFE = timedelta(days=30)


async def password_slip(settings: Settings, customer: str, by: str) -> int:
    """Print a new initial password: random, unrelated to the person, for a month (TW-03)."""
    from chopmark.identity.password import hash_password, initial_password
    from chopmark.identity.ports import PasswordKind, PasswordRow
    from chopmark.tw.customer_number import parse_customer_number

    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        if await services.identity.people.person(number) is None:
            raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such customer."), field="customer"))
        secret = initial_password(services.foundation.entropy.token(16))
        phc = hash_password(secret, services.foundation.entropy.token(16))
        row = PasswordRow(number, phc, PasswordKind.INITIAL, services.foundation.clock.now() + SLIP_LIFE)
        await services.identity.sessions.set_password(
            row, by, await services.ra.context.notice(number, "password_printed", None)
        )
        say(f"{services.foundation.brand.firm.zh} {services.foundation.brand.portal.zh}")
        say(f"customer  {number}")
        say(f"password  {secret.reveal()}")
        say("It lapses after 30 days. The customer's sessions are over, and the customer will be told.")
    return 0


async def approval_slip(
    settings: Settings, customer: str, by: str, approved_by: str, papers: str, key: str | None
) -> int:
    """Print an approval slip, once: it stands in for a code where no contact of the customer can carry one."""
    from chopmark.pki.key_words import key_words
    from chopmark.ra.slips import Papers, SlipDesk
    from chopmark.store.repositories.ra.slips import SlipRepository
    from chopmark.store.repositories.stepup.challenges import FailureRepository
    from chopmark.tw.customer_number import parse_customer_number
    from chopmark.tw.zone import TAIPEI

    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        slips = SlipDesk(
            services.ra.context,
            SlipRepository(services.foundation.engine),
            FailureRepository(services.foundation.engine),
        )
        made = await slips.print(number, by, approved_by, Papers(papers), key)
        say(f"{services.foundation.brand.firm.zh} {services.foundation.brand.portal.zh}")
    say(f"customer  {number}")
    say(f"slip      {made.letters.reveal()}")
    say(f"It is good for one certificate until {made.slip.expires_at.astimezone(TAIPEI):%Y-%m-%d %H:%M} (Taiwan time).")
    if made.slip.key_words is not None:
        say(f"It approves the key {made.slip.key_words} and no other.")
    elif made.open is not None:
        words = key_words(made.open.spki_sha256 or "")
        say(
            f"An order is open; its key is {words}. Does the customer's page show these letters? If not, keep the slip:"
        )
        say("somebody else has signed in as this customer. Print a password slip, then another approval slip.")
    say("Slips before it are void, and the customer will be told wherever an address is on record.")
    return 0


async def show_customer(settings: Settings, who: str) -> int:
    """Print a customer by customer number, ID number, serial number or order: masked, newest first."""
    from chopmark.store.repositories.staff.views import StaffViews
    from chopmark.tw.zone import local_date

    async with looking(settings) as services:
        customer = await _customer(services, who.strip())
        person = await services.identity.people.person(customer)
        if person is None:
            raise Refused(_NOBODY)
        views = StaffViews(services.foundation.engine)
        say(f"customer {customer}  {person.masked_name}  {person.masked_person_id}")
        for account in await services.identity.people.accounts(customer):
            say(f"  account {account.number}  {account.kind}")
        for channel, contact in (await services.identity.people.contacts(customer)).items():
            waits = contact.cool_until > services.foundation.clock.now()
            cooling = f", carries no code until {local_time(contact.cool_until)}" if waits else ""
            disputed = ", called not theirs" if contact.disputed else ""
            say(f"  {channel} {contact.masked}, verified {local_date(contact.verified_at)}{cooling}{disputed}")
        for lock, why in (await services.ra.locks.held(customer)).items():
            say(f"  locked: {lock}, {why}")
        for certificate in (await services.ra.context.certificates.all(customer))[:MOST]:
            say(f"  {certificate_line(certificate)}")
        for order in await views.orders(customer, MOST):
            ended = f" ({order.ended})" if order.ended else ""
            say(f"  order {order.id}  {order.operation}  {order.state}{ended}  {local_time(order.created_at)}")
        for told in await views.messages(customer, MOST):
            gone = "waits" if told.done_at is None else f"done {local_time(told.done_at)}"
            say(f"  message {told.about} {told.channel}  {local_time(told.at)}  {gone}")
    return 0


async def _customer(services: Services, who: str) -> CustomerId:
    """Return whom a number names. Raises Refused."""
    row = await services.identity.people.find(who)
    if row is not None:
        return row.id
    order = await services.ra.context.orders.get(OrderId(who.upper()))
    if order is not None:
        return order.customer
    certificate = await services.ra.context.certificates.get(Serial(who.replace(":", "").replace(" ", "").upper()))
    if certificate is not None:
        return certificate.customer
    raise Refused(_NOBODY)


_NOBODY = Refusal(
    Kind.NOT_FOUND, text("No customer has this customer number, ID number, serial number or order."), field="who"
)
