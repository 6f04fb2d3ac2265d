"""The locks that too many failures put on a customer (`chopmark hold`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.core.refusal import Refusal, Refused

if TYPE_CHECKING:
    from chopmark.app.settings import Settings


hold_app = App(name="hold", help="Holds after too many failures.")


@hold_app.command(name="show")
def hold_show(customer: str) -> int:
    """Say what of a customer is on hold: codes (one lock for all channels and orders), the birth date."""
    return run(show_holds(configured(), customer))


@hold_app.command(name="release")
def hold_release(customer: str, *, by: str, approved_by: str) -> int:
    """Lift a customer's holds and let codes be sent anew: one person asks, another approves; the customer is told."""
    return run(release_hold(configured(), customer, by, approved_by))


_LOCKS = {"code": "codes, by every channel and for every order", "birth_date": "birth date"}


_WHY = {"held": "on hold, too many wrong entries", "disabled": "on hold, the most wrong entries that there may ever be"}


async def release_hold(settings: Settings, customer: str, by: str, approved_by: str) -> int:
    """Lift a customer's locks."""
    from chopmark.tw.customer_number import parse_customer_number

    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        lifted = await services.ra.locks.release(number, by, approved_by)
    say(f"Codes can be sent to {number} again: what was sent counts anew.")
    if not lifted:
        say(f"{number} has no hold.")
        return 1
    say(f"{lifted} {'hold' if lifted == 1 else 'holds'} of {number} lifted; the customer will be told.")
    return 0


async def show_holds(settings: Settings, customer: str) -> int:
    """Print the locks of a customer, a line each."""
    from chopmark.tw.customer_number import parse_customer_number

    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with looking(settings) as services:
        held = await services.ra.locks.held(number)
    for lock, why in held.items():
        say(f"{_LOCKS[lock]}: {_WHY.get(why, why)}")
    if not held:
        say(f"{number} has no hold.")
    return 0
