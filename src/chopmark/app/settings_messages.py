"""Settings of what is sent: codes by SMS, alarms to operators, changes to the firm's order host."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from chopmark.tw.mobile import TAIWAN, is_calling_code


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


class SmsSettings(BaseModel):
    """Where codes go by SMS, and how many: against those who earn by each SMS."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    countries: Annotated[
        str,
        Field(description="Calling codes of the countries whose mobile numbers get codes, with commas between."),
    ] = TAIWAN
    codes_per_block: Annotated[
        int,
        Field(
            ge=0, le=1_000_000, description="Codes by SMS an hour from one block of addresses (/24, /48); 0: no limit."
        ),
    ] = 300
    codes_abroad: Annotated[
        int, Field(ge=0, le=1_000_000, description="Codes by SMS a day to each country other than Taiwan.")
    ] = 200
    pumping_codes: Annotated[
        int,
        Field(ge=10, le=1_000_000, description="With more codes by SMS than this in the last `pumping_minutes` …"),
    ] = 200
    pumping_answered: Annotated[
        int, Field(ge=0, le=100, description="… of which less than this per cent were answered, none go out by SMS.")
    ] = 20
    pumping_minutes: Annotated[
        int, Field(ge=10, le=1440, description="So far back is looked, and so long the pause lasts.")
    ] = 60

    @property
    def calling_codes(self) -> tuple[str, ...]:
        """The calling codes, one by one."""
        return tuple(one.strip().removeprefix("+") for one in self.countries.split(",") if one.strip())

    @model_validator(mode="after")
    def _known(self) -> "SmsSettings":
        if not self.calling_codes or not all(is_calling_code(one) for one in self.calling_codes):
            raise ValueError("sms.countries are calling codes with commas between, as in 886, 81")
        return self


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
