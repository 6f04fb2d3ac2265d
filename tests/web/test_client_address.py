"""Whose request it is: who is believed, over how many proxies, in which spellings, and what becomes of nonsense."""

from typing import Any

import pytest
import structlog.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from chopmark.app.logs import LOGGED
from chopmark.web.asgi.client_address import ClientAddresses, read_address, read_networks

PROXY, CLIENT, STRANGER = "192.0.2.1", "198.51.100.7", "203.0.113.66"
TRUSTED = read_networks("192.0.2.0/24, 2001:db8:ffff::/48")


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"client": None if peer is None else (peer, 40000), "headers": named}


def found(*values: str, peer: str | None = PROXY, header: str = "X-Forwarded-For", hops: int = 1) -> str:
    """Whom the lines of the header name."""
    return ClientAddresses(header, TRUSTED, hops).of(scope(peer, *((header, value) for value in values)))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (CLIENT, CLIENT),
        (f" {CLIENT} ", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", CLIENT),
        ("[::ffff:198.51.100.7]:1", CLIENT),
    ],
)
def test_an_address_is_read_with_and_without_a_port(written: str, read: str) -> None:
    assert str(read_address(written)) == read
    assert found(written) == read


@pytest.mark.parametrize(
    "nonsense",
    [
        *(
            "",
            "unknown",
            "_hidden",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.999",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:x",
        ),
        *("1.2.3.4:123456", "[1.2.3.4]", "[2001:db8::1", "2001:db8::1]", "fe80::1%eth0", "::1::2", "1.2.3.4 5.6.7.8"),
        *("\u0661.2.3.4".encode().decode("latin-1"), "1" * 5000),
    ],
)
def test_what_cannot_be_read_is_the_proxys_own_address_and_one_line_in_the_log(nonsense: str) -> None:
    addresses = ClientAddresses("X-Forwarded-For", TRUSTED)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            assert addresses.of(scope(PROXY, ("X-Forwarded-For", nonsense))) == PROXY
        assert addresses.of(scope("192.0.2.2", ("X-Forwarded-For", nonsense))) == "192.0.2.2"
    assert [(line["code"], line["address"]) for line in lines] == [
        ("proxy.unreadable", PROXY),
        ("proxy.unreadable", "192.0.2.2"),
    ]
    assert set(lines[0]) - {"log_level"} <= LOGGED
    assert nonsense == "" or all(nonsense not in str(line) for line in lines)


def test_a_trusted_proxy_that_names_nobody_is_told_of_too() -> None:
    with structlog.testing.capture_logs() as lines:
        assert found() == PROXY
    assert len(lines) == 1


def test_whoever_is_not_trusted_is_not_believed_and_makes_no_line_in_the_log() -> None:
    with structlog.testing.capture_logs() as lines:
        assert found(CLIENT, peer=STRANGER) == STRANGER
        assert found("nonsense", peer=STRANGER) == STRANGER
        assert ClientAddresses().of(scope(PROXY, ("X-Forwarded-For", CLIENT))) == PROXY
    assert lines == []


@pytest.mark.parametrize("peer", [PROXY, "2001:db8:ffff::1", "::ffff:192.0.2.1", None])
def test_trusted_networks_and_unix_sockets_are_believed(peer: str | None) -> None:
    assert found(CLIENT, peer=peer) == CLIENT


def test_a_socket_whose_proxy_names_nobody_has_no_address() -> None:
    assert found(peer=None) == ""


def test_all_lines_of_the_header_are_one_list() -> None:
    assert found(STRANGER, CLIENT) == CLIENT
    assert found(f"{STRANGER}, 10.0.0.1", f"10.0.0.2,{CLIENT}") == CLIENT


def test_over_one_proxy_only_what_it_appended_counts() -> None:
    assert found(f"10.9.9.9, {STRANGER}, {CLIENT}") == CLIENT
    assert found(f"nonsense, {CLIENT}") == CLIENT


def test_over_several_proxies_the_trusted_ones_are_skipped_and_no_more_than_there_are() -> None:
    assert found(f"{STRANGER}, {CLIENT}, 192.0.2.9", hops=2) == CLIENT
    assert found(f"{STRANGER}, {CLIENT}, 192.0.2.9, 192.0.2.8", hops=3) == CLIENT
    assert found(f"{CLIENT}, 192.0.2.9", hops=1) == "192.0.2.9"
    assert found(f"{STRANGER}, 192.0.2.9, 192.0.2.8", hops=2) == "192.0.2.9"


def test_whoever_goes_round_the_outer_proxy_cannot_choose_an_address() -> None:
    """A request straight to the inner proxy, with a forged entry: the inner one appended whom it heard."""
    assert found(f"{CLIENT}, {STRANGER}", hops=2) == STRANGER
    assert found(STRANGER, hops=2) == STRANGER


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=192.0.2.1", CLIENT),
        (f"proto=http; FOR={CLIENT} ;host=counter.example.com", CLIENT),
        (f'for="{CLIENT}:47011"', CLIENT),
        ('for="[2001:db8:cafe::17]"', "2001:db8:cafe::17"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for="[2001:db8:cafe::17]:_port"', "2001:db8:cafe::17"),
        ('for="\\[2001:db8:cafe::17]"', "2001:db8:cafe::17"),
        (f'for="_gazonk", for={CLIENT}', CLIENT),
        (f'for=1.1.1.1;host="a,b;for=2.2.2.2", for={CLIENT}', CLIENT),
    ],
)
def test_rfc_7239_is_read(value: str, read: str) -> None:
    """The examples of RFC 7239 s.4, s.6 and s.7, and quoted commas."""
    assert found(value, header="Forwarded") == read


@pytest.mark.parametrize(
    "value",
    [
        "for=unknown",
        'for="_SEVKISEK"',
        f"for={CLIENT}:47011",
        "for=2001:db8::1",
        "for=[2001:db8::1]",
        'for="[2001:db8::1]',
        f"for={CLIENT};for={STRANGER}",
        "proto=https",
        CLIENT,
        f"for={CLIENT} and more",
        f'for="hidden, for={CLIENT}',
    ],
)
def test_what_rfc_7239_does_not_permit_is_unreadable(value: str) -> None:
    assert found(value, header="Forwarded") == PROXY


def test_a_quote_that_a_client_left_open_hides_nothing_that_the_proxy_appended() -> None:
    assert found('for="x', f"for={CLIENT}", header="Forwarded") == PROXY
    assert found('for="x', 'for="[2001:db8::1]"', header="Forwarded") == PROXY
    assert found('for="x, for=9.9.9.9"', f"for={CLIENT}", header="Forwarded") == CLIENT


def test_a_long_header_of_a_strangers_costs_nothing_and_hides_nothing() -> None:
    assert found("a" * 200_000, f"for={CLIENT}", header="Forwarded") == CLIENT
    assert found("a" * 200_000, header="Forwarded") == PROXY


def test_another_header_of_the_same_request_means_nothing() -> None:
    both = scope(PROXY, ("Forwarded", f"for={STRANGER}"), ("X-Forwarded-For", CLIENT), ("X-Real-IP", STRANGER))
    assert ClientAddresses("X-Forwarded-For", TRUSTED).of(both) == CLIENT
    assert ClientAddresses("x-forwarded-for", TRUSTED).of(both) == CLIENT


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy", "10.0.0.0/33", "1.2.3.4:80"])
def test_networks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|does not appear"):
        read_networks(text)


WRITTEN = st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n\0") | st.sampled_from('",;=\\[]:'), max_size=80
)


def chooses_nothing(written: str) -> None:
    """Whatever a client writes before what the proxy appends, the client is whom the proxy has heard.

    By RFC 7239 a quote that is left open makes all of it unreadable: then it is the proxy's own address.
    """
    assert found(f"{written}, {CLIENT}") == CLIENT
    assert found(f"{written}, for={CLIENT}", header="Forwarded") in {CLIENT, PROXY}
    assert found(written, CLIENT) == CLIENT
    assert found(written, peer=STRANGER) == STRANGER


@given(WRITTEN)
@settings(deadline=None)
def test_whatever_a_client_writes_it_cannot_choose_an_address(written: str) -> None:
    chooses_nothing(written)


@pytest.mark.soak
@given(WRITTEN)
@settings(max_examples=20_000, deadline=None)
def test_drill_of_twenty_thousand_headers_none_chooses_an_address(written: str) -> None:
    chooses_nothing(written)
