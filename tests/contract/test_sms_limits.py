"""Codes by SMS cost money: who asks for many from one block of addresses, or for another country, is stopped (I16)."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from chopmark.app.services import build
from chopmark.app.settings_messages import SmsSettings
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import Channel
from chopmark.limits.blocks import block_of
from chopmark.ra.rekey import Rekey
from chopmark.store.repositories.stepup.challenges import FailureRepository
from tests.contract.world import ANN, ROWS, Dice, World, world_fixture

world = world_fixture()


def counting(world: World, **changes: Any) -> World:
    """The same house under a policy with other numbers."""
    services = world.services
    context = replace(services.ra.context, policy=replace(services.ra.context.policy, **changes))
    failures = FailureRepository(services.foundation.engine)
    rekey = Rekey(context, services.ra.verifier, failures, services.ca.certifier)
    ra = replace(services.ra, context=context, rekey=rekey)
    return world.with_services(replace(services, ra=ra))


async def asked(world: World, customer: str, address: str, channel: Channel = Channel.MOBILE) -> str:
    """Ask for a code from an address; return the refusal's code, or nothing."""
    errand = await world.to_key(customer)
    try:
        await world.services.ra.rekey.challenge(errand.caller, errand.id, channel, address)
    except Refused as refused:
        refusal = refused.refusal
        told = refusal.kind is Kind.TOO_MANY and refusal.field == "channel" and refusal.retry_after_s
        return (refusal.code or "?") if told else repr(refusal)
    return ""


async def test_one_block_of_addresses_gets_so_many_codes_by_sms_an_hour_and_others_and_mail_go_on(
    world: World,
) -> None:
    small = counting(world, codes_per_block=2)
    assert await asked(small, "C1", "203.0.113.7") == ""
    assert await asked(small, "C2", "203.0.113.250") == ""
    assert await asked(small, "C6", "203.0.113.99") == "sends_network"  # the same /24, another customer
    assert await asked(small, "C6", "203.0.113.99", Channel.EMAIL) == ""
    small.clock.later(seconds=61)
    assert await asked(small, "C7", "203.0.114.1") == ""  # its neighbour
    assert await asked(small, "C3", "") == ""  # nobody knows from where: the other limits hold
    names = {str(row["name"]) for row in await world.rows("SELECT name FROM counters WHERE name LIKE 'send-block:%'")}
    assert names == {"send-block:203.0.113.0/24:1h", "send-block:203.0.114.0/24:1h"}
    (used,) = await world.rows("SELECT used FROM counters WHERE name = 'send-block:203.0.113.0/24:1h'")
    assert used["used"] == 2  # what was refused is not counted
    small.clock.later(minutes=60)
    assert await asked(small, "C4", "203.0.113.7") == ""


async def test_without_a_limit_no_block_is_counted(world: World) -> None:
    free = counting(world, codes_per_block=0)
    assert await asked(free, "C1", "203.0.113.7") == ""
    assert await world.count("counters", "name LIKE 'send-block:%'") == 0


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ("2001:db8:2::1", "2001:db8:2::/48"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_an_address_counts_for_its_block(address: str, block: str) -> None:
    assert block_of(address) == block


async def with_countries(world: World, written: str, abroad: int = 200) -> World:
    """Another process of the installation, whose settings name countries."""
    sms = SmsSettings(countries=written, codes_abroad=abroad)
    settings = world.services.foundation.settings.model_copy(update={"sms": sms, "node": 7})
    dice = Dice(Random(7))
    services = await build(settings, world.clock, dice)
    world.nodes.append(services)
    return world.with_services(services, dice)


async def test_numbers_of_other_countries_get_codes_where_the_settings_say_so_and_a_clear_no_elsewhere(
    world: World,
) -> None:
    # 1. By default a sheet with a foreign number is refused, however it is written.
    row = {**ROWS["C2"], "customer": "C2", "mobile": "+81 90-1234-5678"}
    for written in ("+81 90-1234-5678", "0081 90 1234 5678", "＋８１９０１２３４５６７８"):
        report = await world.services.ra.customer_import.add([{**row, "mobile": written}], "alice")
        assert [fault.code for fault in report.faults] == ["mobile.foreign"], written
    # 2. With Japan in the settings all spellings are one key, and the day has its number of codes for it.
    open_house = await with_countries(world, "886, 81", abroad=1)
    stored = set()
    for written in ("+81 90-1234-5678", "0081 90 1234 5678", "＋８１９０１２３４５６７８"):
        report = await open_house.services.ra.customer_import.add([{**row, "mobile": written}], "alice")
        assert report.faults == ()
        (found,) = await world.rows(
            "SELECT destination_hash FROM contacts WHERE customer = 'C2' AND channel = 'mobile'"
        )
        stored.add(found["destination_hash"])
    assert len(stored) == 1
    world.clock.later(days=8)  # a changed contact waits
    assert await asked(open_house, "C2", "203.0.113.7") == ""
    (counted,) = await world.rows("SELECT name, used FROM counters WHERE name LIKE 'send-country:%'")
    assert (counted["name"], counted["used"]) == ("send-country:81:1d", 1)
    world.clock.later(seconds=61)
    errand = await open_house.open("C2")
    contacts = await open_house.services.identity.people.contacts(errand.caller.customer)
    assert contacts[Channel.MOBILE].masked.startswith("+81 ")
    assert contacts[Channel.MOBILE].masked.endswith("678")
    assert await asked(open_house, "C2", "203.0.113.7") == "sends_country"
    assert await asked(open_house, ANN, "203.0.113.7") == ""
    assert await world.count("counters", "name LIKE 'send-country:%'") == 1  # at home only gateways have days
    # 3. Japan is taken out of the settings: the page says why the phone gets nothing, and nothing is sent.
    errand = await world.to_key("C2")
    with pytest.raises(Refused) as raised:
        await world.services.ra.rekey.challenge(errand.caller, errand.id, Channel.MOBILE)
    assert raised.value.refusal.kind is Kind.FORBIDDEN
    assert str(raised.value.refusal.public) == (
        "No codes are sent to mobile numbers of this country. Please use your e-mail, or call us."
    )
    await world.services.ra.rekey.challenge(errand.caller, errand.id, Channel.EMAIL)


def test_countries_are_calling_codes() -> None:
    assert SmsSettings(countries="886, +81,1").calling_codes == ("886", "81", "1")
    for wrong in ("", "Taiwan", "88", "8861", "0081", "81;82"):
        with pytest.raises(ValueError, match="calling codes"):
            SmsSettings(countries=wrong)
