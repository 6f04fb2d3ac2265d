"""Settings of what is sent: to operators, and to the firm's order host."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class AlarmSettings(BaseModel):
    """Who is told when something needs an operator; nobody by default, and then the log alone has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mail: Annotated[
        str, Field(description="Operators' addresses that get alarms by mail over `smtp.host`, with commas between.")
    ] = ""
    urls: Annotated[
        SecretStr,
        Field(
            description="Addresses of apprise that get alarms, with spaces between; as a secret's file: `alarms.urls`."
        ),
    ] = SecretStr("")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses, one by one."""
        return tuple(one.strip() for one in self.mail.split(",") if one.strip())


class WebhookSettings(BaseModel):
    """The firm's order host, told which certificates change; an empty address means none."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Annotated[
        str,
        Field(description="https address of your order host, told of each certificate that changes; empty: none."),
    ] = ""
    ca: Annotated[Path | None, Field(description="PEM file that its TLS is verified with; empty: the machine's.")] = (
        None
    )
    secret: Annotated[
        SecretStr, Field(description="`whsec_` and the base64 of 24 to 64 bytes: these messages are signed with it.")
    ] = SecretStr("")
    secret_previous: Annotated[
        SecretStr, Field(description="The one before: messages bear both signatures until you take it away.")
    ] = SecretStr("")
