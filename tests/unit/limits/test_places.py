"""Places of connections: how many, from where, and who makes room."""

import pickle
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from chopmark.limits.places import Places, counted_as


@dataclass(eq=False)
class Somebody:
    network: str
    waits_since: float | None = None


def test_whoever_has_waited_the_longest_makes_room_when_all_places_are_taken() -> None:
    places: Places[Somebody] = Places(3, 3)
    first, answered, later = Somebody("a", 2.0), Somebody("b"), Somebody("c", 1.0)
    assert all(places.enter(one).admitted for one in (first, answered, later))
    newcomer = Somebody("d", 3.0)
    assert places.enter(newcomer) == (True, later, False)
    assert places.enter(Somebody("e", 4.0)) == (True, first, False)
    assert places.enter(Somebody("f", 5.0)) == (True, newcomer, False)
    assert len(places) == 3


def test_nobody_who_is_being_answered_makes_room() -> None:
    places: Places[Somebody] = Places(2, 2)
    answered = [Somebody("a"), Somebody("b")]
    assert all(places.enter(one).admitted for one in answered)
    assert places.enter(Somebody("c", 1.0)) == (False, None, False)
    assert len(places) == 2
    places.leave(answered[0])
    assert places.enter(Somebody("c", 1.0)) == (True, None, False)


def test_where_all_are_being_answered_the_reserve_is_left_and_no_network_takes_it_beyond_its_number() -> None:
    places: Places[Somebody] = Places(2, 2, reserve=1)
    assert [places.enter(Somebody("a")) for _ in range(2)] == [(True, None, False)] * 2
    assert places.enter(Somebody("a")) == (False, None, False)
    assert places.enter(Somebody("b")) == (True, None, True)
    assert places.enter(Somebody("c")) == (False, None, False)


def test_the_reserve_stays_one_when_somebody_in_it_makes_room() -> None:
    places: Places[Somebody] = Places(1, 1, reserve=1)
    assert places.enter(Somebody("a")) == (True, None, False)
    first, second = Somebody("b", 1.0), Somebody("c", 2.0)
    assert places.enter(first) == (True, None, True)
    assert places.enter(second) == (True, first, True)
    third = Somebody("d", 3.0)
    assert places.enter(third) == (True, second, True)
    places.leave(third)
    assert places.enter(Somebody("e", 4.0)) == (True, None, True)


def test_whoever_was_in_the_reserve_once_comes_back_as_anybody() -> None:
    places: Places[Somebody] = Places(1, 1, reserve=1)
    began, came = Somebody("a"), Somebody("b", 1.0)
    assert [places.enter(began).reserved, places.enter(came).reserved] == [False, True]
    places.leave(came)
    places.leave(began)
    assert places.enter(came) == (True, None, False)
    assert places.enter(Somebody("c", 2.0)) == (True, came, False)


def test_a_flood_that_comes_again_pushes_out_its_own_and_the_reserve_last() -> None:
    places: Places[Somebody] = Places(3, 3, reserve=1)
    other, flood, again = Somebody("b", 1.0), Somebody("a"), Somebody("a", 9.0)
    assert all(places.enter(one).admitted for one in (other, flood, again))
    assert places.enter(Somebody("a", 10.0)) == (True, again, False)
    only: Places[Somebody] = Places(1, 1, reserve=1)
    began, came = Somebody("a"), Somebody("b", 1.0)
    assert [only.enter(began).reserved, only.enter(came).reserved] == [False, True]
    began.waits_since = 5.0
    assert only.enter(Somebody("c", 6.0)) == (True, began, False)


def test_a_network_that_has_all_its_places_takes_them_from_itself_and_from_nobody_else() -> None:
    places: Places[Somebody] = Places(10, 2)
    other, own, busy = Somebody("b", 0.0), Somebody("a", 5.0), Somebody("a")
    assert all(places.enter(one).admitted for one in (other, own, busy))
    one = Somebody("a", 6.0)
    assert places.enter(one) == (True, own, False)
    one.waits_since = None
    assert places.enter(Somebody("a", 7.0)) == (False, None, False)
    assert places.enter(Somebody("c", 8.0)) == (True, None, False)


def test_a_proxy_has_as_many_places_as_there_are() -> None:
    places: Places[Somebody] = Places(10, 2)
    assert [places.enter(Somebody("", 0.0)) for _ in range(10)] == [(True, None, False)] * 10


def test_a_place_that_was_given_back_twice_is_free_once() -> None:
    places: Places[Somebody] = Places(1, 1)
    one = Somebody("a")
    places.enter(one)
    places.leave(one)
    places.leave(one)
    assert places.enter(Somebody("a")) == (True, None, False)
    assert places.enter(Somebody("a")) == (False, None, False)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
    ],
)
def test_a_line_is_an_address_or_a_sixty_four(address: str, counted: str) -> None:
    assert counted_as(ip_address(address)) == counted


def test_whoever_has_left_leaves_nothing_behind() -> None:
    places: Places[Somebody] = Places(2, 2)
    empty = pickle.dumps(places)
    for number in range(9):
        guest = Somebody(f"network {number}")
        places.enter(guest)
        places.leave(guest)
    assert pickle.dumps(places) == empty, "a flood from many networks fills no memory"
