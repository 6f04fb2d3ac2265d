"""The settings of reminders: what they mean, and what is refused with a sentence."""

from datetime import time

import pytest
from pydantic import ValidationError

from chopmark.app.settings import Settings
from chopmark.app.settings_reminders import Reminders
from chopmark.cli.console import settings_faults
from chopmark.core.types import Channel
from chopmark.ra.reminders.policy import Hours, ReminderPolicy


def test_the_defaults_are_the_policys() -> None:
    assert Reminders().policy() == ReminderPolicy()


def test_hours_days_and_channels_are_read() -> None:
    policy = Reminders(days="10, 2", hours="09:00-18:00", rush="", channels="mobile", urgent_channels="email").policy()
    assert policy.days == (10, 2)
    assert policy.hours == (Hours(time(9), time(18)),)
    assert (policy.early, policy.urgent) == ((Channel.MOBILE,), (Channel.EMAIL,))


def test_a_channel_without_a_gateway_is_left_out() -> None:
    policy = Reminders().policy(frozenset({Channel.EMAIL}))
    assert policy.early == policy.urgent == (Channel.EMAIL,)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("days", "14,7,0", "numbers from 1 to 90"),
        ("days", "", "numbers from 1 to 90"),
        ("hours", "20:00-13:40", "hours of one day"),
        ("hours", "always", "hours of one day"),
        ("rush", "8-9", "hours of one day"),
        ("hours", "09:00-13:00", "no hours are left"),
        ("channels", "email,fax", "email and mobile"),
        ("channels", "email,email", "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(name: str, value: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Reminders.model_validate({name: value})


def test_the_sentence_names_the_setting_once() -> None:
    with pytest.raises(ValidationError) as wrong:
        Settings.model_validate({"mode": "demo", "reminders": {"days": "0"}})
    assert settings_faults(wrong.value).count("reminders") == 1
