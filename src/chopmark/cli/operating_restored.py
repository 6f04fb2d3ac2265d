"""`chopmark db restored`: says what a restore has lost, and goes on from the older copy."""

from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.app.worker import reentry_of
from chopmark.audit.record import stamp
from chopmark.audit.sequencer import LedgerBroken
from chopmark.audit.succession import Files
from chopmark.cli.console import at_console
from chopmark.cli.operating import say
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.context import assert_staff
from chopmark.ra.reentry import ReentryLine
from chopmark.ra.restoring import Loss, Reentry, Restoring, Voided
from chopmark.store.repositories.restored import RestoredRepository

LONGEST_REASON = 200
_KINDS = {
    Voided.CODES: "codes that wait for their answer",
    Voided.TICKETS: "launch tickets",
    Voided.SESSIONS: "sessions",
    Voided.NONCES: "nonces of orders",
    Voided.CREDENTIALS: "one-time credentials of programs",
    Voided.SLIPS: "approval slips that were printed and not used",
    Voided.ANSWERS: "answers kept for repeated requests",
}


async def restored(settings: Settings, by: str, reason: str, *, dry_run: bool) -> int:
    """Declare that an older copy was restored; 0 when the database is whole, now or already."""
    assert_staff(by, "by")
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        said = text("Say in one line of at most 200 characters why an older copy was restored.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="reason", code="reason"))
    async with at_console(settings) as services:
        reentry = reentry_of(services)
        restoring = restoring_of(services, reentry)
        try:
            return await (_planned(restoring) if dry_run else ended_and_told(restoring, reentry, by, reason))
        except LedgerBroken as broken:
            say(f"Nothing was changed: {broken}. Keep the database as it is, and run `chopmark audit verify`.")
            return 1


def restoring_of(services: Services, reentry: Reentry) -> Restoring:
    """Return the verb over these services."""
    files = Files(services.foundation.heads, services.audit.head_signer)
    voids = RestoredRepository(services.foundation.engine)
    return Restoring(
        services.foundation.ledger, files, voids, reentry, services.foundation.audit_log, services.foundation.clock
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
        say(f"The successor head of {ended.successor.size} records is signed and in the heads file.")
    if await reentry.lost():
        say("The counter stands still until what is FOR A PERSON is here: import its customer, and run this again.")
        return 1
    say("The counter works again.")
    say("Start every process anew, then run `chopmark check` and `chopmark audit verify`.")
    return 0


def _say_loss(loss: Loss) -> None:
    kept = "nothing" if loss.kept_at is None else f"{loss.kept} records, the last head of {stamp(loss.kept_at)}"
    if loss.lost_at is None:
        say(f"No signed head is lost, only what came after the last one; the database has {kept}.")
    else:
        say(f"The heads file knows {loss.lost} records, the last head of {stamp(loss.lost_at)}.")
        say(f"The database has {kept}.")
    say(f"Known outside the database and missing in it: {len(loss.reentered)}")
    for line in loss.reentered:
        say(f"  {_line(line)}")


def _line(line: ReentryLine) -> str:
    words = [stamp(line.at), line.kind, line.serial, f"order {line.order}", line.reason or ""]
    if line.why_not is not None:
        words.append(f"FOR A PERSON: {line.why_not}")
    return "  ".join(word for word in words if word)


def _say_voided(loss: Loss) -> None:
    for kind, count in loss.voided.items():
        say(f"  {count:>7}  {_KINDS[kind]}")
