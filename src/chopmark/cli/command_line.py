"""The command line: a page for the operator, put together from a file for each topic.

Each topic's file has its commands and, below them, what they do. What is heavy (the framework, the database,
cryptography) is imported inside the functions, so that help and a mistyped command are answered at once.
"""

import os
import sys
from typing import get_args

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
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.tw.text import is_one_line

LONGEST_WORDS = 200


def _legible(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse what is no staff id, and words that nobody can read, whichever command takes them.

    Much of it is recorded for ever, so it is looked at before anything is opened. Words that a command has by itself
    when none are given may be given, too.
    """
    words = [
        (argument.names[0], token.value)
        for argument in arguments
        if (argument.hint is str or str in get_args(argument.hint)) and argument.names
        for token in argument.tokens
        if token.value != argument.field_info.default
    ]
    for name, value in words:
        field = name.removeprefix("--").replace("-", "_")
        if name in ("--by", "--approved-by"):
            from chopmark.ra.context import assert_staff

            assert_staff(value, field)
        elif not is_one_line(value, LONGEST_WORDS):
            said = text(
                "%(name)s has to be one line of 1 to %(most)s characters that can be seen. Nothing was changed; please "
                "type it again.",
                name=name,
                most=LONGEST_WORDS,
            )
            raise Refused(Refusal(Kind.MALFORMED, said, field=field, code="words"))


app = App(
    name="chopmark",
    help="A self-hosted certificate counter.",
    result_action="return_value",
    config=_legible,
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
