"""The command line: one page for the operator. Heavy imports stay inside the commands."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter

from chopmark.cli.ca import ca_app
from chopmark.cli.lookup import certificates_find, certificates_revoke, customers_show
from chopmark.cli.messages import messages_app
from chopmark.core.refusal import Refused

if TYPE_CHECKING:
    from chopmark.app.settings import Settings

app = App(name="chopmark", help="A self-hosted certificate counter.", result_action="return_value")
check_app = App(name="check", help="Whether this installation may start, and whether what it stores is sound.")
db_app = App(name="db", help="The database: its schema, and what follows a restore.")
customers_app = App(name="customers", help="The directory of customers.")
clients_app = App(name="clients", help="Programs that may ask for launch tickets.")
hold_app = App(name="hold", help="Holds after too many failures.")
audit_app = App(name="audit", help="The audit trail.")
certificates_app = App(name="certificates", help="Single certificates.")
keys_app = App(name="keys", help="Keys that nobody may use.")
app.command(messages_app)
for sub in (check_app, db_app, ca_app, customers_app, clients_app, hold_app, audit_app, certificates_app, keys_app):
    app.command(sub)
customers_app.command(customers_show, name="show")
certificates_app.command(certificates_find, name="find")
certificates_app.command(certificates_revoke, name="revoke")

_WHO = "Say who you are: add --by and your staff id. It is recorded, with the user who is signed in to this machine."


def _settings(**given: Any) -> "Settings":
    from chopmark.app.settings import Settings

    return Settings(**given)


@app.command
def demo(
    *,
    port: int = 8080,
    data: Path = Path("data"),
    host: str = "127.0.0.1",
    reset: Annotated[bool, Parameter(negative="")] = False,
    sms: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the whole counter with made-up customers; its state is kept in the data directory.

    Parameters
    ----------
    port:
        TCP port to listen on.
    data:
        Directory of the demo's state.
    host:
        Address to listen on.
    reset:
        Throw the state away and play the customers' past anew.
    sms:
        Send codes for phones through an SMS gateway, a stub of Mitake within the demo.
    """
    from chopmark.demo.server import run_demo

    if reset and data.exists():
        from chopmark.demo.history import is_demo_data

        if not is_demo_data(data):
            sys.stderr.write(f"{data} is not a demo's directory; nothing was removed.\n")
            return 2
        shutil.rmtree(data)
    return asyncio.run(run_demo(_settings(mode="demo", data=data, host=host, port=port), sms=sms))


@app.command
def serve(*, workers: int = 2) -> int:
    """Run the server; settings come from the environment (CHOPMARK_...).

    Parameters
    ----------
    workers:
        Number of server processes.
    """
    from chopmark.app.server import run_server

    settings = _settings()
    return run_server(settings, workers, f"chopmark.{'demo' if settings.mode == 'demo' else 'app'}.server")


@app.command
def worker() -> int:
    """Run the worker: deliveries, revocations, lists, the audit's sequence."""
    import uvloop

    from chopmark.app.worker import work

    uvloop.run(work(_settings()))
    return 0


@app.command
def est() -> int:
    """Run the EST door for customers' programs: behind a TLS proxy, or ending TLS itself."""
    from chopmark.app.server import run_est

    return asyncio.run(run_est(_settings()))


@check_app.default
def check() -> int:
    """Say whether this installation may start, and what its policy permits that `strict` does not."""
    from chopmark.cli.operating import check as run

    return asyncio.run(run(_settings()))


@check_app.command(name="certificates")
def check_certificates(*, lint_each: int = 10) -> int:
    """Read every stored certificate again as an auditor would; exit code 1 when anything does not hold.

    Parameters
    ----------
    lint_each:
        pkilint judges every n-th certificate: 1 for all, 0 for none.
    """
    from chopmark.cli.operating import check_certificates as run

    return asyncio.run(run(_settings(), lint_each))


@db_app.command(name="upgrade")
def db_upgrade() -> int:
    """Bring the schema up to this release, and list the orders in flight that have to be begun again."""
    from chopmark.cli.operating import upgrade as run

    return asyncio.run(run(_settings()))


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
    from chopmark.cli.operating_restored import restored

    return asyncio.run(restored(_settings(), by, reason, dry_run=dry_run))


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
    from chopmark.cli.operating_sheet import import_customers

    return asyncio.run(import_customers(_settings(), file, by, report, allow=allow, dates=dates, dry_run=dry_run))


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
    from chopmark.cli.operating import password_slip

    return asyncio.run(password_slip(_settings(), customer, by))


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
    from chopmark.cli.staff import approval_slip

    return asyncio.run(approval_slip(_settings(), customer, by, approved_by, papers, key))


@clients_app.command(name="put")
def clients_put(client: str, *, by: str, name: str = "") -> int:
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
    from chopmark.cli.operating import put_client

    return asyncio.run(put_client(_settings(), client, name or client, by))


@clients_app.command(name="list")
def clients_list() -> int:
    """List the clients."""
    from chopmark.cli.operating import list_clients

    return asyncio.run(list_clients(_settings()))


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
    from chopmark.cli.operating import limit_client

    return asyncio.run(limit_client(_settings(), client, account, purpose, factor, per_minute, by))


@clients_app.command(name="disable")
def clients_disable(client: str, *, by: str) -> int:
    """End a client at once: its secrets, and the tickets that nobody has confirmed."""
    from chopmark.cli.operating import disable_client

    return asyncio.run(disable_client(_settings(), client, by))


@clients_app.command(name="end-previous")
def clients_end_previous(client: str, *, by: str) -> int:
    """End the secret before the last rotation at once, and the tickets that nobody has confirmed."""
    from chopmark.cli.operating import end_previous_secret

    return asyncio.run(end_previous_secret(_settings(), client, by))


@hold_app.command(name="show")
def hold_show(customer: str) -> int:
    """Say what of a customer is on hold: codes (one lock for all channels and orders), the birth date."""
    from chopmark.cli.operating import show_holds

    return asyncio.run(show_holds(_settings(), customer))


@hold_app.command(name="release")
def hold_release(customer: str, *, by: str, approved_by: str) -> int:
    """Lift a customer's holds and let codes be sent anew: one person asks, another approves; the customer is told."""
    from chopmark.cli.operating import release_hold

    return asyncio.run(release_hold(_settings(), customer, by, approved_by))


@certificates_app.command(name="hold")
def certificates_hold(serial: str, *, by: str, approved_by: str) -> int:
    """Put a certificate on hold: it counts as revoked until it is released; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    from chopmark.cli.staff import suspend

    return asyncio.run(suspend(_settings(), serial, by, approved_by, held=True))


@certificates_app.command(name="release")
def certificates_release(serial: str, *, by: str, approved_by: str) -> int:
    """Release a certificate from its hold; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    from chopmark.cli.staff import suspend

    return asyncio.run(suspend(_settings(), serial, by, approved_by, held=False))


@certificates_app.command(name="by-hand")
def certificates_by_hand() -> int:
    """List the certificates that a person has to have revoked at another CA, and those that are done: when, by whom."""
    from chopmark.cli.staff import list_by_hand

    return asyncio.run(list_by_hand(_settings()))


@certificates_app.command(name="revoked")
def certificates_revoked(serial: str, *, by: str, approved_by: str) -> int:
    """Record that another CA has revoked a certificate that it was asked to revoke by hand.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal.
    by:
        Staff id of who had it revoked.
    approved_by:
        Staff id of who has seen that it is.
    """
    from chopmark.cli.staff import revoked_by_hand

    return asyncio.run(revoked_by_hand(_settings(), serial, by, approved_by))


@keys_app.command(name="block")
def keys_block(
    key: str,
    *,
    by: str,
    approved_by: str,
    reason: Literal["keyCompromise", "privilegeWithdrawn"] = "keyCompromise",
) -> int:
    """Block a reported key for ever and revoke every certificate with it.

    Parameters
    ----------
    key:
        A file with the key (certificate, request, public or private key; PEM or DER), or the SHA-256 of its
        SubjectPublicKeyInfo in hexadecimal.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    reason:
        The reason that the world is told.
    """
    from chopmark.cli.staff import block_key

    return asyncio.run(block_key(_settings(), key, reason, by, approved_by))


@audit_app.command(name="verify")
def audit_verify(
    *, export: Path | None = None, head: Path | None = None, key: Path | None = None, root: Path | None = None
) -> int:
    """Verify the audit trail: online, or an export; against a file of heads kept elsewhere.

    Parameters
    ----------
    export:
        An export to verify instead of the database.
    head:
        A heads file; without it the one in the data directory.
    key:
        The heads' public key (`chopmark audit key`): with it an export needs no installation.
    root:
        Root certificates (PEM or DER) that may stand behind the anchors' time-stamps, besides the settings' own.
    """
    from chopmark.cli.operating import verify_audit

    return asyncio.run(verify_audit(_settings(), export, head, key, root))


@audit_app.command(name="key")
def audit_key_command(file: Path) -> int:
    """Write the public key of the signed heads, PEM: give it to the auditor once."""
    from chopmark.cli.operating import audit_key

    return asyncio.run(audit_key(_settings(), file))


@audit_app.command(name="export")
def audit_export(file: Path) -> int:
    """Write the whole audit trail as JSON lines."""
    from chopmark.cli.operating import export_audit

    return asyncio.run(export_audit(_settings(), file))


def settings_faults(error: Exception) -> str:
    """Return what is wrong with the settings, by the settings' names and without their values; empty otherwise."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error) if type(error) is ValueError else ""
    told = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(map(str, one["loc"]))
        unknown = one["type"] == "extra_forbidden"
        said = "there is no such setting" if unknown else one["msg"].removeprefix("Value error, ")
        told.append(f"{name}: {said}" if name else said)
    return "; ".join(told)


def main() -> None:
    """Run the command line; a refusal is a sentence on stderr and exit code 1, a wrong call one and exit code 2."""
    from chopmark.app.logs import configure_logging

    configure_logging()
    try:
        sys.exit(app(exit_on_error=False, print_error=False))
    except CycloptsError as error:
        unnamed = isinstance(error, MissingArgumentError) and error.argument and "--by" in error.argument.names
        sys.stderr.write(f"{_WHO if unnamed else error}\n")
        sys.exit(2)
    except Refused as refused:
        sys.stderr.write(f"{refused.refusal.public}\n")
        sys.exit(1)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
    except Exception as error:
        if os.environ.get("CHOPMARK_TRACEBACK"):
            raise
        sys.stderr.write(f"chopmark: {settings_faults(error) or f'{type(error).__name__}: {error}'}\n")
        sys.exit(1)
