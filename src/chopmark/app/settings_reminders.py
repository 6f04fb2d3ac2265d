"""The settings of reminders, and the rules that follow from them."""

from datetime import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chopmark.core.types import Channel
from chopmark.ra.reminders.policy import Hours, ReminderPolicy


class Reminders(BaseModel):
    """When and how customers are reminded that a certificate ends."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    send: Annotated[
        Literal["yes", "no"], Field(description="Whether customers are reminded that a certificate ends.")
    ] = "yes"
    days: Annotated[
        str,
        Field(
            description=(
                "So many days before the last trading day, with commas between; besides, when renewal opens and on the "
                "last trading day itself."
            )
        ),
    ] = "14,7,3,1"
    hours: Annotated[
        str, Field(description="Hours in which reminders are sent, Taiwan time; outside them it is quiet.")
    ] = "13:40-20:00"
    rush: Annotated[
        str,
        Field(description="Hours that are cut out of them: nobody is sent to the counter at the opening; empty: none."),
    ] = "08:30-13:35"
    capacity: Annotated[
        int,
        Field(
            ge=1,
            le=10_000_000,
            description="So many customers are reminded in a day; early steps yield, those of the last days do not.",
        ),
    ] = 20_000
    per_minute: Annotated[
        int, Field(ge=1, le=60_000, description="So many reminders are sent in a minute, by all workers together.")
    ] = 300
    channels: Annotated[
        str, Field(description="Channels of reminders in the order in which they are tried: `email`, `mobile`.")
    ] = "email,mobile"
    urgent_channels: Annotated[str, Field(description="The same from three days before the last trading day on.")] = (
        "mobile,email"
    )
    gateway_percent: Annotated[
        int,
        Field(ge=1, le=100, description="Percent of a gateway's daily limits for reminders; the rest is for codes."),
    ] = 50

    @model_validator(mode="after")
    def _usable(self) -> "Reminders":
        self.policy()
        return self

    def policy(self, reached: frozenset[Channel] = frozenset(Channel)) -> ReminderPolicy:
        """Return the rules, with those of the channels that have a gateway. ValueError for what cannot be meant."""
        early, urgent = _channels("channels", self.channels), _channels("urgent_channels", self.urgent_channels)
        return ReminderPolicy(
            days=_days(self.days),
            sending=_hours("hours", self.hours),
            rush=_hours("rush", self.rush) if self.rush else None,
            capacity=self.capacity,
            per_minute=self.per_minute,
            early=tuple(one for one in early if one in reached) or early,
            urgent=tuple(one for one in urgent if one in reached) or urgent,
            gateway_percent=self.gateway_percent,
        )


def _days(written: str) -> tuple[int, ...]:
    parts = [part.strip() for part in written.split(",")]
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part) <= 90 for part in parts):
        raise ValueError("reminders.days are numbers from 1 to 90 with commas between, as in 14,7,3,1")
    return tuple(int(part) for part in parts)


def _hours(name: str, written: str) -> Hours:
    try:
        begin, end = (time.fromisoformat(part) for part in written.split("-"))
        return Hours(begin, end)
    except ValueError as error:
        raise ValueError(f"reminders.{name} are hours of one day, as in 13:40-20:00") from error


def _channels(name: str, written: str) -> tuple[Channel, ...]:
    try:
        found = tuple(Channel(part.strip()) for part in written.split(","))
    except ValueError as error:
        raise ValueError(f"reminders.{name} are email and mobile, with a comma between") from error
    if len(set(found)) < len(found):
        raise ValueError(f"reminders.{name} names a channel twice")
    return found
