"""`chopmark messages`: what customers are written."""

from typing import TYPE_CHECKING

from cyclopts import App

from chopmark.cli.console import configured, say

if TYPE_CHECKING:
    from chopmark.app.settings import Settings

messages_app = App(name="messages", help="What customers are written.")


@messages_app.command(name="preview")
def preview() -> int:
    """Show every text message in both languages, with its SMS and what they cost, and what is wrong with it."""
    return _preview(configured())


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
