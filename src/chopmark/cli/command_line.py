"""The command line: a page for the operator, put together from a file for each topic.

Each topic's file has its commands and, below them, what they do. What is heavy (the framework, the database,
cryptography) is imported inside the functions, so that help and a mistyped command are answered at once.
"""

import os
import sys

from cyclopts import App, CycloptsError, MissingArgumentError

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

app = App(name="chopmark", help="A self-hosted certificate counter.", result_action="return_value")
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
        sys.stderr.write(f"chopmark: {settings_faults(error) or f'{type(error).__name__}: {error}'}\n")
        sys.exit(1)
