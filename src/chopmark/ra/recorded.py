"""What the audit verifier needs to know of the policy to derive from the records what the tables must contain."""

from datetime import timedelta

from chopmark.audit.states import FailureLimit, Rules
from chopmark.core.types import Channel
from chopmark.ra.policy import Policy
from chopmark.stepup.ports import CODE

_DAY, _EVER = timedelta(days=1), timedelta(days=36500)
BIRTH_DATE = "birth_date"


def rules_of(policy: Policy) -> Rules:
    """Return the limits on failures, each under the factor's name in the table of failures, and the policy's times."""
    of_codes = FailureLimit(policy.failures_per_day, _DAY, policy.failures_ever)
    of_birth_dates = FailureLimit(policy.birth_date_mismatches, _EVER, policy.failures_ever)
    factors = {channel.value: channel.factor.value for channel in Channel}
    limits = {**dict.fromkeys((CODE, *factors.values()), of_codes), BIRTH_DATE: of_birth_dates}
    return Rules(limits, CODE, factors, BIRTH_DATE, policy.contact_cooldown, policy.slip_life)
