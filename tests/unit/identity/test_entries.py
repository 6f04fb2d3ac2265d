"""Rate limits of sign-ins: what is the customer's own and what a network's, and who gets spare attempts."""

import pytest

from chopmark.identity.entries import Entry, Way, signin_limits, spare_limits
from chopmark.limits.rate_limits import Spent

NETWORK = "192.0.2.0/24"
ANN = Way("C-ANN", Entry.STRANGER)
OWN = signin_limits(ANN, NETWORK)[:3]


def allowed(entry: Entry, network: str) -> list[tuple[int, int]]:
    """How often, and in how many seconds."""
    limits = signin_limits(Way("C-ANN", entry), network)
    return [(limit.limit, int(limit.window.total_seconds())) for limit in limits]


def test_an_attempt_is_counted_thrice_for_its_customer_and_a_stranger_s_for_the_network_too() -> None:
    own, network = [(3, 30), (5, 300), (10, 3600)], (200, 900)
    assert allowed(Entry.STRANGER, NETWORK) == [*own, network]
    assert allowed(Entry.STRANGER, "") == own
    assert allowed(Entry.KNOWN, NETWORK) == allowed(Entry.LAUNCH, NETWORK) == own
    names = {limit.name for entry in Entry for limit in signin_limits(Way("C-ANN", entry), NETWORK)}
    assert len(names) == 10, "nobody's attempts count for another kind of browser"


def test_spare_attempts_are_for_customers_whose_network_is_spent_and_leave_the_network_out() -> None:
    network = signin_limits(ANN, NETWORK)[-1]
    assert network not in OWN
    spare = spare_limits(ANN, NETWORK, Spent(network.name, 1))
    assert spare is not None
    assert [limit.name for limit in spare[:-1]] == [limit.name for limit in OWN]
    assert (spare[-1].limit, spare[-1].window.total_seconds()) == (2, 3600)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_has_spent_their_own_attempts_gets_no_spare_ones(place: int) -> None:
    assert spare_limits(ANN, NETWORK, Spent(OWN[place].name, 1)) is None
