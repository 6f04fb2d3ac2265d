"""`chopmark messages`: what customers are written."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from chopmark.cli.console import configured, looking, run, say
from chopmark.core.counted import counted

if TYPE_CHECKING:
    from chopmark.app.settings import Settings

messages_app = App(name="messages", help="What customers are written, and what operators are told.")


@messages_app.command(name="preview")
def preview() -> int:
    """Show every text message in both languages, with its SMS and what they cost, and what is wrong with it."""
    return _preview(configured())


@messages_app.command(name="alarm")
def alarm(*, try_: Annotated[bool, Parameter(name="--try", negative=())] = False) -> int:
    """Show what is wrong now, as operators are told.

    Parameters
    ----------
    try_:
        Tell operators that this is a trial, over every way that the settings name.
    """
    settings = configured()
    return run(try_alarms(settings) if try_ else lasting_alarms(settings))


async def lasting_alarms(settings: "Settings") -> int:
    """Print what is wrong now; the exit code is 1 when anything is."""
    from chopmark.messaging.alarms import written

    async with looking(settings) as services:
        lasting = await services.messaging.alarms.lasting()
        for due in lasting:
            note = written(due, settings.portal_url)
            say(note.subject)
            say(f"    {note.text.splitlines()[1]}")
    say(f"{counted(len(lasting), 'alarm lasts', 'alarms last')}.")
    return 1 if lasting else 0


async def try_alarms(settings: "Settings") -> int:
    """Tell operators that this is a trial; the exit code is 1 when somebody was not told."""
    from chopmark.app.foundation import SystemClock
    from chopmark.app.gateways import GatewayUnfit
    from chopmark.app.operators import tellers_of
    from chopmark.jobs.alarms import tell
    from chopmark.messaging.alarms import Note
    from chopmark.messaging.tellers import TellerUnfit
    from chopmark.web.brand import DEMO_BRAND, load_brand

    brand = DEMO_BRAND if settings.brand is None else load_brand(settings.brand)
    try:
        tellers = tellers_of(settings, brand)
    except (TellerUnfit, GatewayUnfit) as error:
        say(str(error))
        return 1
    if not tellers:
        say("Nobody would be told: set alarms.mail, or alarms.urls.")
        return 1
    note = Note("[Chopmark TRIAL] alarms arrive here", f"這是測試。\nThis is a trial.\n\n{settings.portal_url}\n")
    failed = 0
    for name, fault in await tell(tellers, note, SystemClock().now()):
        failed += fault is not None
        say(f"{name}: {'taken' if fault is None else f'NOT TAKEN: {fault}'}")
    return 1 if failed else 0


def _preview(settings: "Settings") -> int:
    from chopmark.app.foundation import policy_of
    from chopmark.app.gateways import listed_gateways
    from chopmark.app.messaging import sender_of
    from chopmark.core.types import Channel
    from chopmark.messaging.preview import previews
    from chopmark.web.brand import DEMO_BRAND, load_brand

    brand = DEMO_BRAND if settings.brand is None else load_brand(settings.brand)
    phones = [listed for listed in listed_gateways(settings) if listed.channel is Channel.MOBILE]
    policy, faulty = policy_of(settings), 0
    for one in previews(sender_of(brand), policy.code_digits, policy.code_life):
        costs = [f"{listed.name} {one.segments * listed.limits.price}" for listed in phones if listed.limits.price]
        say(
            f"{one.purpose.value}  {one.language.value}  {one.segments} SMS  {one.charset}  {', '.join(costs)}".rstrip()
        )
        say(f"    {one.text}")
        for fault in one.faults:
            faulty += 1
            say(f"    WRONG: it {fault}")
    return 1 if faulty else 0
