"""The command line: a page for the operator, put together from a file for each topic.

Each topic's file has its commands and, below them, what they do. What is heavy (the framework, the database,
cryptography) is imported inside the functions, so that help and a mistyped command are answered at once.
"""

import os
import sys

from cyclopts import App, ArgumentCollection, CycloptsError, MissingArgumentError

# These four add their commands to `ca_app`.
from chopmark.cli import ceremony, key_files, root_list, service_certificates  # noqa: F401
from chopmark.cli.audit import audit_app
from chopmark.cli.bounces import bounces_app
from chopmark.cli.ca import ca_app
from chopmark.cli.certificates import certificates_app
from chopmark.cli.check import check_app
from chopmark.cli.clients import clients_app
from chopmark.cli.console import settings_faults
from chopmark.cli.customers import customers_app
from chopmark.cli.database import db_app
from chopmark.cli.expiries import expiries_app
from chopmark.cli.keys import keys_app
from chopmark.cli.locks import hold_app
from chopmark.cli.messages import messages_app
from chopmark.cli.processes import demo, est, serve, worker
from chopmark.core.refusal import Refused


def _named_staff(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse what is no staff id, whichever command takes it, before anything is opened: it is recorded for ever."""
    given = [
        (name.removeprefix("--").replace("-", "_"), token.value)
        for argument in arguments
        for name in ("--by", "--approved-by")
        if name in argument.names
        for token in argument.tokens
    ]
    if given:
        from chopmark.ra.context import assert_staff

        for field, value in given:
            assert_staff(value, field)


app = App(
    name="chopmark",
    help="A self-hosted certificate counter.",
    result_action="return_value",
    config=_named_staff,
)
for command in (demo, serve, worker, est):
    app.command(command)
for topic in (
    check_app,
    db_app,
    ca_app,
    customers_app,
    clients_app,
    hold_app,
    audit_app,
    bounces_app,
    certificates_app,
    expiries_app,
    keys_app,
    messages_app,
):
    app.command(topic)

_WHO = "Say who you are: add --by and your staff id. It is recorded, with the user who is signed in to this machine."


def main() -> None:
    """Run the command line; a refusal is a sentence on stderr and exit code 1, a wrong call one and exit code 2."""
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
        named = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else ""
        said = named or settings_faults(error) or f"{type(error).__name__}: {error}"
        sys.stderr.write(f"chopmark: {said}\n")
        sys.exit(1)
