"""Programs that may ask for launch tickets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import App

from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.core.refusal import Refusal, Refused

if TYPE_CHECKING:
    from chopmark.app.settings import Settings


clients_app = App(name="clients", help="Programs that may ask for launch tickets.")


@clients_app.command(name="put")
def clients_put(client: str, *, by: str, name: str | None = None) -> int:
    """Make a client credential, or rotate it: the new secret is printed once, the old one lives a week.

    Parameters
    ----------
    client:
        The client's id.
    by:
        Staff id of who makes it, for the audit.
    name:
        What the program is called; without it, its id.
    """
    return run(put_client(configured(), client, client if name is None else name, by))


@clients_app.command(name="list")
def clients_list() -> int:
    """List the clients."""
    return run(list_clients(configured()))


@clients_app.command(name="limit")
def clients_limit(
    client: str,
    *,
    by: str,
    account: tuple[str, ...] = (),
    purpose: tuple[str, ...] = (),
    factor: tuple[str, ...] = (),
    per_minute: int = 1200,
) -> int:
    """Set what a client may ask for, in place of what was set before; what is not given is not limited.

    Parameters
    ----------
    client:
        The client's id.
    by:
        Staff id of who limits it.
    account:
        Pattern of the accounts that it may name: `*` for any characters, `?` for one. May be given several times.
    purpose:
        A page that it may open: home, certificates, apply, renew, inquiry or revoke. May be given several times.
    factor:
        A factor that it may say its login used: password, sms, email, totp, passkey, old_key or branch. May be given
        several times.
    per_minute:
        Tickets that it may ask for in a minute.
    """
    return run(limit_client(configured(), client, account, purpose, factor, per_minute, by))


@clients_app.command(name="disable")
def clients_disable(client: str, *, by: str) -> int:
    """End a client at once: its secrets, and the tickets that nobody has confirmed."""
    return run(disable_client(configured(), client, by))


@clients_app.command(name="end-previous")
def clients_end_previous(client: str, *, by: str) -> int:
    """End the secret before the last rotation at once, and the tickets that nobody has confirmed."""
    return run(end_previous_secret(configured(), client, by))


async def put_client(settings: Settings, client: str, name: str, by: str) -> int:
    """Print a new client secret, once."""
    async with at_console(settings) as services:
        credential = await services.identity.launches.put_client(client, name, by)
    say(f"client  {credential.client}")
    say(f"secret  {credential.secret.reveal()}")
    say("The secret is shown once. After a rotation the one before is good for another week.")
    return 0


async def list_clients(settings: Settings) -> int:
    """Print the clients."""
    async with looking(settings) as services:
        for client in await services.identity.launches.clients():
            state = "disabled" if client.disabled_at else "active"
            say(f"{client.id}  {client.name}  {state}  {client.scope}")
    return 0


async def limit_client(
    settings: Settings,
    client: str,
    accounts: Sequence[str],
    purposes: Sequence[str],
    factors: Sequence[str],
    per_minute: int,
    by: str,
) -> int:
    """Set what a client may ask for."""
    from chopmark.identity.scope import scope_of
    from chopmark.ra.context import assert_staff

    assert_staff(by, "by")
    scope = scope_of(accounts, purposes, factors, per_minute)
    if isinstance(scope, Refusal):
        raise Refused(scope)
    async with at_console(settings) as services:
        await services.identity.launches.limit(client, scope, by)
    say(f"{client} may ask for: {scope}")
    return 0


async def disable_client(settings: Settings, client: str, by: str) -> int:
    """End a client at once."""
    from chopmark.ra.context import assert_staff

    assert_staff(by, "by")
    async with at_console(settings) as services:
        await services.identity.launches.disable(client, by)
    say(f"{client} is disabled: its secrets and its open tickets are dead. `chopmark clients put` makes a new secret.")
    return 0


async def end_previous_secret(settings: Settings, client: str, by: str) -> int:
    """End a client's previous secret at once."""
    from chopmark.ra.context import assert_staff

    assert_staff(by, "by")
    async with at_console(settings) as services:
        await services.identity.launches.end_previous(client, by)
    say(f"The previous secret of {client} is dead, and so are its open tickets; the present secret is not.")
    return 0
