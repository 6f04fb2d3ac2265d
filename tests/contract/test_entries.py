"""The ways in, counted apart: what a hundred wrong passwords close, what they leave open, and what opens it again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CustomerId, Secret, text
from chopmark.identity.entries import CLOSES_AT
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.password import PasswordGate
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.identity.sessions import Marks, Opened, SessionService
from chopmark.store.repositories.identity.customers import CustomerRepository, SessionRepository
from chopmark.store.repositories.rate_limits import RateLimitRepository
from tests.contract.world import ANN, BEN, PASSWORD_LOGIN, ROWS, World, outcome, refusal, world_fixture

world = world_fixture()
RIGHT, WRONG = Secret("Synthetic-1357"), Secret("Synthetic-1358")
HOME = "192.0.2.7"
SECRET = bytes(range(32))
WHO = CustomerId(ANN)
PERSON = ROWS[ANN]["person_id"]
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})


def spellings(person: str) -> list[str]:
    return [person, person.lower(), f"{person[:4]}-{person[4:]}", " ".join(person), person.translate(WIDE)]


NOBODY = "A123456789"
"""Well-formed, and nobody's here."""


class Gate(PasswordGate):
    """The gate without its cost: what is tested here is what is counted, not how long a guess takes."""

    def __init__(self) -> None:
        self.compared = 0
        self.full = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def verify(self, phc: str | None, given: Secret) -> bool | Refusal:
        if self.full:
            return Refusal(Kind.TOO_MANY, text("Please wait."), code="password_gate_full", retry_after_s=2)
        self.compared += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return phc is not None and given.reveal() == RIGHT.reveal()


@dataclass
class Site:
    """A door whose gate costs nothing, and a new network for each attempt."""

    world: World
    gate: Gate
    door: SessionService
    networks: int = 0

    def address(self) -> str:
        self.networks += 1
        return f"10.{self.networks // 250}.{self.networks % 250}.1"

    async def guess(self, claimed: str, password: Secret = WRONG, known: str | None = None, **how: str) -> object:
        replaces = how.get("replaces")
        return await outcome(self.door.sign_in(claimed, password, self.address(), replaces, known))

    async def fail(self, claimed: str, times: int = CLOSES_AT, known: str | None = None, **how: str) -> list[str]:
        """Guess so slowly that no short rate limit stops it."""
        codes = []
        for _ in range(times):
            made = await self.guess(claimed, WRONG, known, **how)
            assert isinstance(made, Refusal)
            codes.append(str(made.code))
            self.world.clock.later(hours=1)
        return codes

    async def slip(self, *customers: str) -> None:
        """Give them, or Ann, a new password at the same moment."""
        for customer in customers or (ANN,):
            row = PasswordRow(CustomerId(customer), "a verifier", PasswordKind.DEMO, None)
            await self.door.set_password(row, "alice")
        self.world.clock.later(milliseconds=1)

    async def known(self, customer: str = ANN) -> str:
        opened = await self.door.open(CustomerId(customer), PASSWORD_LOGIN, None, "portal", None)
        token = await self.door.recognise(opened.session)
        await self.door.sign_out(opened.token.reveal())
        return token.reveal()

    async def launched(self) -> Opened:
        return await self.door.open(WHO, PASSWORD_LOGIN, None, "launch", None)


def door_of(world: World, gate: PasswordGate) -> SessionService:
    """The house's door with another gate."""
    services, known = world.services, KnownBrowsers(SECRET, world.clock, world.dice)
    records, sessions = CustomerRepository(services.foundation.engine), SessionRepository(services.foundation.engine)
    rate_limits, marks = RateLimitRepository(services.foundation.engine), Marks(gate, known)
    return SessionService(
        services.identity.people,
        records,
        sessions,
        rate_limits,
        marks,
        services.foundation.audit_log,
        world.clock,
        world.dice,
    )


async def site_of(world: World) -> Site:
    gate = Gate()
    site = Site(world, gate, door_of(world, gate))
    await site.slip()
    return site


async def test_i11_all_spellings_of_a_customer_and_the_person_id_are_one_budget(world: World) -> None:
    site = await site_of(world)
    codes = [str((await refusal(site.door.sign_in(one, WRONG, HOME, None))).code) for one in spellings(PERSON)]
    assert codes == ["signin.wrong"] * 3 + ["signin.slow"] * 2
    assert (await refusal(site.door.sign_in(" c1 ", WRONG, HOME, None))).code == "signin.slow"
    assert await world.count("counters", "name LIKE 'signin:%'") == 3


async def test_i18_all_spellings_of_a_name_that_nobody_has_are_one_budget_too(world: World) -> None:
    site = await site_of(world)
    codes = [str((await refusal(site.door.sign_in(one, WRONG, HOME, None))).code) for one in spellings(NOBODY)]
    assert codes == ["signin.wrong"] * 3 + ["signin.slow"] * 2
    assert await world.count("counters", "name LIKE 'signin:%'") == 3


async def test_i11_a_slow_drip_from_ever_new_networks_closes_the_entry_of_unknown_browsers_for_good(
    world: World,
) -> None:
    site = await site_of(world)
    assert await site.fail(PERSON) == ["signin.wrong"] * CLOSES_AT
    assert site.gate.compared == CLOSES_AT
    for years in (0, 1, 10):
        world.clock.later(days=365 * years)
        for claimed in (ANN, *spellings(PERSON)):
            made = await site.guess(claimed, RIGHT)
            assert isinstance(made, Refusal)
            assert (made.kind, made.code, made.retry_after_s) == (Kind.FORBIDDEN, "signin.closed", None)
    assert site.gate.compared == CLOSES_AT
    (closed,) = await world.records(Event.PORTAL_ENTRY_CLOSED)
    assert closed["chain"] == f"customer:{ANN}"


async def test_i18_a_name_that_nobody_has_closes_in_the_same_way_with_the_same_words_and_as_many_leaves(
    world: World,
) -> None:
    site = await site_of(world)
    last = {}
    for claimed in (ANN, NOBODY, "no number at all"):
        before = await world.count("leaves")
        assert await site.fail(claimed) == ["signin.wrong"] * CLOSES_AT
        assert await world.count("leaves") - before == CLOSES_AT + 1
        last[claimed] = await site.guess(claimed, RIGHT)
    assert last[ANN] == last[NOBODY] == last["no number at all"]


async def test_i11_of_two_hundred_guesses_at_once_from_two_hundred_networks_a_hundred_are_compared(
    world: World,
) -> None:
    site = await site_of(world)
    other = door_of(await world.node(2), site.gate)
    doors = (site.door, other)
    who = [ANN, PERSON, *spellings(PERSON)]
    guesses = (
        outcome(doors[n % 2].sign_in(who[n % len(who)], WRONG, site.address(), None)) for n in range(2 * CLOSES_AT)
    )
    made = await asyncio.gather(*guesses)
    assert all(isinstance(one, Refusal) for one in made)
    assert site.gate.compared == CLOSES_AT
    (entry,) = await world.rows("SELECT * FROM entries")
    assert entry["failed"] == CLOSES_AT
    assert entry["closed_at"] is not None


async def test_i19_what_a_stranger_does_leaves_known_browser_launch_and_sessions_alone(world: World) -> None:
    site = await site_of(world)
    cookie, session = await site.known(), (await site.launched()).token.reveal()
    for _ in range(CLOSES_AT + 5):
        await site.guess(ANN)
    assert (await refusal(site.door.sign_in(ANN, RIGHT, HOME, None))).code == "signin.closed"
    assert await site.door.seen(session) is not None
    assert isinstance(await site.launched(), Opened)
    assert isinstance(await site.guess(ANN, RIGHT, cookie), Opened)
    assert isinstance(await site.guess(ANN, RIGHT, replaces=session), Opened)


async def test_i19_a_crowd_in_its_own_network_does_not_slow_a_known_browser_down(world: World) -> None:
    site = await site_of(world)
    cookie = await site.known()
    for n in range(205):
        await outcome(site.door.sign_in(f"X{n}", WRONG, HOME, None))
    codes = [str((await refusal(site.door.sign_in(ANN, WRONG, HOME, None))).code) for _ in range(3)]
    assert codes == ["signin.wrong", "signin.wrong", "signin.slow"]
    assert isinstance(await site.door.sign_in(ANN, RIGHT, HOME, None, cookie), Opened)


async def test_each_way_in_closes_at_a_hundred_of_its_own(world: World) -> None:
    site = await site_of(world)
    cookie = await site.known()
    assert await site.fail(ANN, known=cookie) == ["signin.wrong"] * CLOSES_AT
    made = await site.guess(ANN, RIGHT, cookie)
    assert isinstance(made, Refusal)
    assert made.code == "signin.closed"
    assert isinstance(await site.guess(ANN, RIGHT), Opened)
    for _ in range(CLOSES_AT):  # a session lives ten minutes without use: a fresh launch each time
        launched = (await site.launched()).token.reveal()
        assert await site.fail(ANN, 1, replaces=launched) == ["signin.wrong"]
    launched = (await site.launched()).token.reveal()
    made = await site.guess(ANN, RIGHT, replaces=launched)
    assert isinstance(made, Refusal)
    assert made.code == "signin.closed"
    assert isinstance(await site.guess(ANN, RIGHT), Opened)


async def test_success_clears_its_own_counter_only(world: World) -> None:
    site = await site_of(world)
    cookie = await site.known()
    await site.fail(ANN, CLOSES_AT - 1)
    assert isinstance(await site.guess(ANN, RIGHT, cookie), Opened)
    assert await site.fail(ANN, 1) == ["signin.wrong"]
    made = await site.guess(ANN, RIGHT)
    assert isinstance(made, Refusal)
    assert made.code == "signin.closed"


async def test_a_right_password_makes_the_row_begin_anew(world: World) -> None:
    site = await site_of(world)
    await site.fail(ANN, CLOSES_AT - 1)
    assert isinstance(await site.guess(ANN, RIGHT), Opened)
    assert await site.fail(ANN, CLOSES_AT - 1) == ["signin.wrong"] * (CLOSES_AT - 1)
    assert isinstance(await site.guess(ANN, RIGHT), Opened)


async def test_an_attempt_that_was_not_compared_does_not_count(world: World) -> None:
    site = await site_of(world)
    site.gate.full = True
    assert await site.fail(ANN, 3) == ["password_gate_full"] * 3
    (entry,) = await world.rows("SELECT failed FROM entries")
    assert entry["failed"] == 0


async def test_a_slip_opens_all_ways_again_and_ends_every_session_and_every_known_browser(world: World) -> None:
    site = await site_of(world)
    cookie, session = await site.known(), (await site.launched()).token.reveal()
    bens = (await site.door.open(CustomerId(BEN), PASSWORD_LOGIN, None, "portal", None)).token.reveal()
    await site.fail(ANN)
    await site.slip()
    assert await site.door.seen(session) is None
    assert await world.count("sessions") == 1
    assert (await world.rows("SELECT customer FROM sessions"))[0]["customer"] == BEN
    assert bens
    assert isinstance(await site.guess(ANN, RIGHT), Opened)
    await site.fail(ANN, CLOSES_AT, known=cookie)  # a cookie of before the slip is no one's: it counts as unknown
    (entry,) = await world.rows("SELECT entry, closed_at FROM entries WHERE closed_at IS NOT NULL")
    assert entry["entry"] == "stranger"


async def test_a_launch_and_a_right_code_open_again_and_neither_a_launch_nor_a_code_alone(world: World) -> None:
    site = await site_of(world)
    await site.fail(ANN)
    launched = (await site.launched()).session
    await site.door.recognise(launched)
    assert isinstance(await site.guess(ANN, RIGHT), Refusal)
    portal = (await site.door.open(WHO, PASSWORD_LOGIN, None, "portal", None)).session
    await site.door.recognise(portal, coded=True)
    assert isinstance(await site.guess(ANN, RIGHT), Refusal)
    await site.door.recognise(launched, coded=True)
    assert isinstance(await site.guess(ANN, RIGHT), Opened)
    assert len(await world.records(Event.PORTAL_ENTRY_OPENED)) == 1
    await site.door.recognise(launched, coded=True)
    assert len(await world.records(Event.PORTAL_ENTRY_OPENED)) == 1


async def test_another_customers_cookie_a_forged_one_an_old_one_and_nonsense_are_no_known_browser(
    world: World,
) -> None:
    site = await site_of(world)
    await site.slip(ANN, BEN)
    mine, bens = await site.known(), await site.known(BEN)
    version, issued, nonce, mac = mine.split(".")
    foreign = KnownBrowsers(bytes(32), world.clock, world.dice)
    bound = (await CustomerRepository(world.services.foundation.engine).binding(WHO)).bound_at
    forged = [
        bens,
        foreign.token(WHO, bound).reveal(),
        f"2.{issued}.{nonce}.{mac}",
        f"{version}.{int(issued) + 1}.{nonce}.{mac}",
        f"{version}.{issued}.{nonce}x.{mac}",
        f"{version}.{issued}.{nonce}.{mac[:-1]}",
        f"{version}.{issued}.{nonce}.",
        mine + "." + mac,
        f"{version}.²{issued}.{nonce}.{mac}",
        "",
        "....",
        "1...",
        "漢" * 5000,
    ]
    for cookie in forged:
        await site.guess(ANN, WRONG, cookie)
    rows = await world.rows("SELECT entry, failed FROM entries WHERE subject = :who", who=ANN)
    assert [(row["entry"], row["failed"]) for row in rows] == [("stranger", len(forged))]
    await site.guess(ANN, WRONG, mine)
    world.clock.later(days=366)
    await site.guess(ANN, WRONG, mine)
    rows = await world.rows("SELECT entry, failed FROM entries WHERE subject = :who ORDER BY entry", who=ANN)
    assert [(row["entry"], row["failed"]) for row in rows] == [("known", 1), ("stranger", len(forged) + 1)]


async def test_a_known_browser_still_needs_the_password(world: World) -> None:
    site = await site_of(world)
    cookie = await site.known()
    made = await site.guess(ANN, WRONG, cookie)
    assert isinstance(made, Refusal)
    assert await world.count("sessions") == 0


async def test_the_launch_of_another_customer_vouches_for_nobody(world: World) -> None:
    site = await site_of(world)
    await site.slip(BEN)
    token = (await site.launched()).token.reveal()
    await site.guess(BEN, WRONG, replaces=token)
    rows = await world.rows("SELECT subject, entry FROM entries")
    assert [(row["subject"], row["entry"]) for row in rows] == [(BEN, "stranger")]


async def test_a_session_that_opens_while_a_slip_is_printed_does_not_outlive_it(world: World) -> None:
    site = await site_of(world)
    world.clock.later(seconds=1)
    site.gate.meanwhile = site.slip
    made = await site.guess(ANN, RIGHT)
    assert isinstance(made, Refusal)
    assert made.code == "signin.wrong"
    assert await world.count("sessions") == 0


async def test_a_session_that_a_new_one_replaces_has_its_record_in_its_own_customers_chain(world: World) -> None:
    site = await site_of(world)
    old = (await site.launched()).token.reveal()
    new = (await site.door.open(CustomerId(BEN), PASSWORD_LOGIN, None, "portal", old)).token.reveal()
    (closed,) = await world.records(Event.PORTAL_SESSION_CLOSED)
    assert closed["chain"] == f"customer:{ANN}"
    assert '"reason":"replaced"' in closed["facts"]
    await site.door.open(CustomerId(BEN), PASSWORD_LOGIN, None, "portal", old)
    assert len(await world.records(Event.PORTAL_SESSION_CLOSED)) == 1
    await site.door.sign_out(new)
    assert len(await world.records(Event.PORTAL_SESSION_CLOSED)) == 2


async def test_i41_names_without_end_make_sixteen_chains_and_six_hundred_records_in_ten_minutes(
    world: World,
) -> None:
    site = await site_of(world)
    for n in range(650):
        await site.guess(f"NOBODY{n}")
    chains = await world.rows("SELECT chain FROM chains WHERE chain LIKE 'stranger:%'")
    assert 1 < len(chains) <= 16
    assert len(await world.records(Event.PORTAL_SIGNIN_REFUSED)) == 600
    world.clock.later(minutes=10)
    await site.guess("NOBODY")
    assert len(await world.records(Event.PORTAL_SIGNIN_REFUSED)) == 601


async def test_the_audit_of_all_this_verifies_and_names_no_cookie(world: World) -> None:
    site = await site_of(world)
    cookie = await site.known()
    await site.fail(ANN)
    await site.door.recognise((await site.launched()).session, coded=True)
    await site.slip()
    assert not (await world.audit()).findings
    assert cookie.rpartition(".")[2] not in str(await world.rows("SELECT * FROM leaves"))


# one network, many customers -----------------------------------------------------------------------------------------

NEIGHBOUR = "192.0.2.200"
"""Another address of the same carrier's network as HOME."""


async def spend(site: Site, world: World) -> None:
    """Use up the cap of one network, as somebody does who tries names from behind a carrier's NAT."""
    for number in range(200):
        assert (await refusal(site.door.sign_in(f"X{number}", WRONG, HOME, None))).code == "signin.wrong"
    assert await world.count("counters", "name = 'signin-network:192.0.2.0/24' AND used = 200") == 1


async def test_i19_customers_behind_one_carriers_nat_do_not_lock_each_other_out(world: World) -> None:
    site = await site_of(world)
    await site.slip(ANN, BEN)
    await spend(site, world)
    assert isinstance(await outcome(site.door.sign_in(ANN, RIGHT, NEIGHBOUR, None)), Opened)
    assert (await refusal(site.door.sign_in(BEN, WRONG, NEIGHBOUR, None))).code == "signin.wrong"
    assert isinstance(await outcome(site.door.sign_in(BEN, RIGHT, NEIGHBOUR, None)), Opened)
    for _ in range(5):
        assert isinstance(await outcome(site.door.sign_in(ANN, RIGHT, NEIGHBOUR, None)), Opened)


async def test_i11_at_a_network_whose_cap_is_used_up_two_guesses_an_hour_are_left_for_each_customer(
    world: World,
) -> None:
    site = await site_of(world)
    await spend(site, world)
    before = site.gate.compared
    codes = [str((await refusal(site.door.sign_in(ANN, WRONG, NEIGHBOUR, None))).code) for _ in range(6)]
    assert codes == ["signin.wrong"] * 2 + ["signin.slow"] * 4
    assert site.gate.compared == before + 2
    slow = await refusal(site.door.sign_in(ANN, RIGHT, NEIGHBOUR, None))
    assert slow.code == "signin.slow"
    assert slow.retry_after_s is not None
    assert slow.retry_after_s <= 15 * 60
    elsewhere = await refusal(site.door.sign_in(ANN, WRONG, "198.51.100.1", None))
    assert elsewhere.code == "signin.wrong"


async def test_i18_a_name_that_nobody_has_is_left_two_guesses_too(world: World) -> None:
    site = await site_of(world)
    await spend(site, world)
    codes = [str((await refusal(site.door.sign_in(NOBODY, WRONG, NEIGHBOUR, None))).code) for _ in range(4)]
    assert codes == ["signin.wrong"] * 2 + ["signin.slow"] * 2


async def test_strangers_whose_network_is_unknown_have_no_cap_together(world: World) -> None:
    site = await site_of(world)
    for number in range(201):
        assert (await refusal(site.door.sign_in(f"X{number}", WRONG, "", None))).code == "signin.wrong"
    assert await world.count("counters", "name LIKE 'signin-network:%'") == 0
