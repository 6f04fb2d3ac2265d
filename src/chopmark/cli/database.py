"""The database: its schema, and what follows a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from chopmark.cli.console import at_console, configured, run, say
from chopmark.core.counted import counted
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderState, text

if TYPE_CHECKING:
    from chopmark.app.services import Services
    from chopmark.app.settings import Settings
    from chopmark.ra.reentry import ReentryLine
    from chopmark.ra.restoring import Loss, Reentry, Restoring
    from chopmark.store.engine.port import Engine


db_app = App(name="db", help="The database: its schema, and what follows a restore.")


@db_app.command(name="upgrade")
def db_upgrade() -> int:
    """Bring the schema up to this release, and list the orders in flight that have to be begun again."""
    return run(upgrade(configured()))


@db_app.command(name="restored")
def db_restored(*, by: str, reason: str, dry_run: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Declare that an older copy of the database was restored: says what is lost, and lets the counter work again.

    Parameters
    ----------
    by:
        Staff id of who declares it, for the audit.
    reason:
        Why, in one line; it stands in the audit trail for ever.
    dry_run:
        Say what is lost and what would be done; change nothing.
    """
    return run(restored(configured(), by, reason, dry_run=dry_run))


async def upgrade(settings: Settings) -> int:
    """Bring the schema up to this release, and list the orders in flight that the release before has begun."""
    from chopmark.store import db
    from chopmark.store.engine.opening import open_engine

    await db.upgrade(settings.database_url)
    engine = await open_engine(settings.database_url)
    try:
        await in_flight(engine)
    finally:
        await engine.close()
    return 0


async def in_flight(engine: Engine) -> None:
    """List the orders whose records an earlier release wrote: the CA does not go by them (decision 26)."""
    from chopmark.store.repositories.ra.submissions import SubmissionRepository

    for order, state in await SubmissionRepository(engine).of_old_form():
        say(f"  order {order} ({state}) was begun by an earlier release and will be refused: its customer begins again")
        if state is OrderState.PENDING:
            say("    and what another CA has made of it by now has to be revoked there")


LONGEST_REASON = 200


async def restored(settings: Settings, by: str, reason: str, *, dry_run: bool) -> int:
    """Declare that an older copy was restored; 0 if the database is complete, afterwards or already."""
    from chopmark.app.worker import reentry_of
    from chopmark.audit.sequencer import TreeBroken
    from chopmark.ra.context import assert_staff
    from chopmark.tw.text import is_one_line

    assert_staff(by, "by")
    if not is_one_line(reason, LONGEST_REASON):
        said = text("Say in one line of at most 200 characters why an older copy was restored.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="reason", code="reason"))
    async with at_console(settings) as services:
        reentry = reentry_of(services)
        restoring = restoring_of(services, reentry)
        try:
            return await (_planned(restoring) if dry_run else ended_and_told(restoring, reentry, by, reason))
        except TreeBroken as broken:
            say(f"Nothing was changed: {broken}. Keep the database as it is, and run `chopmark audit verify`.")
            return 1


def restoring_of(services: Services, reentry: Reentry) -> Restoring:
    """Return the verb over these services."""
    from chopmark.audit.succession import Files
    from chopmark.ra.restoring import Restoring
    from chopmark.store.repositories.restored import RestoredRepository

    files = Files(services.foundation.heads, services.audit.head_signer)
    voids = RestoredRepository(services.foundation.engine)
    return Restoring(
        services.foundation.audit_repository,
        files,
        voids,
        reentry,
        services.foundation.audit_log,
        services.foundation.clock,
    )


async def _planned(restoring: Restoring) -> int:
    loss = await restoring.plan()
    if loss is None:
        say("The database is whole: it has what the heads file and the journal have. There is nothing to do.")
        return 0
    _say_loss(loss)
    say("Would be void, and each given anew when it is asked for:")
    _say_voided(loss)
    say("OCSP answers and revocation lists would be signed anew, and a successor head over what waits.")
    say("Nothing was changed. Without --dry-run it is done.")
    return 0


async def ended_and_told(restoring: Restoring, reentry: Reentry, by: str, reason: str) -> int:
    """End the restored state and print what was done; return the exit code."""
    ended = await restoring.end(by, reason)
    if ended is None:
        say("The database is whole: it has what the heads file and the journal have. Nothing was changed.")
        return 0
    if ended.loss is not None:
        _say_loss(ended.loss)
        say("Void now:")
        _say_voided(ended.loss)
    if ended.successor is not None:
        say(f"The successor head of {counted(ended.successor.size, 'record')} is signed and in the heads file.")
    if await reentry.lost():
        say("The counter stands still until what is FOR A PERSON is here: import its customer, and run this again.")
        return 1
    say("The counter works again.")
    say("Start every process anew, then run `chopmark check` and `chopmark audit verify`.")
    return 0


def _say_loss(loss: Loss) -> None:
    from chopmark.audit.record import stamp

    kept = (
        "nothing" if loss.kept_at is None else f"{counted(loss.kept, 'record')}, the last head of {stamp(loss.kept_at)}"
    )
    if loss.lost_at is None:
        say(f"No signed head is lost, only what came after the last one; the database has {kept}.")
    else:
        say(f"The heads file knows {counted(loss.lost, 'record')}, the last head of {stamp(loss.lost_at)}.")
        say(f"The database has {kept}.")
    say(f"Known outside the database and missing in it: {len(loss.reentered)}")
    for line in loss.reentered:
        say(f"  {_line(line)}")


def _line(line: ReentryLine) -> str:
    from chopmark.audit.record import stamp

    words = [stamp(line.at), line.kind, line.serial, f"order {line.order}", line.reason or ""]
    if line.why_not is not None:
        words.append(f"FOR A PERSON: {line.why_not}")
    return "  ".join(word for word in words if word)


def _say_voided(loss: Loss) -> None:
    from chopmark.ra.restoring import Voided

    kinds = {
        Voided.CODES: "codes that wait for their answer",
        Voided.TICKETS: "launch tickets",
        Voided.SESSIONS: "sessions",
        Voided.NONCES: "nonces of orders",
        Voided.CREDENTIALS: "one-time credentials of programs",
        Voided.SLIPS: "approval slips that were printed and not used",
        Voided.ANSWERS: "answers kept for repeated requests",
    }
    for kind, count in loss.voided.items():
        say(f"  {count:>7}  {kinds[kind]}")
