"""Notices when the directory changes: at the old address, over a channel that exists; a code goes there never."""

import json
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from chopmark.app.services import Services, build
from chopmark.app.settings import Smtp
from chopmark.app.worker import tasks
from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind
from chopmark.core.types import AccountNumber, Channel, CustomerId, KeyHome, Operation, OrderState, Serial
from chopmark.messaging.ports import FaultReason, GatewayFault, OutboxJob, OutboxJobKind, Purpose, Verdict
from chopmark.ra.context import RaContext
from chopmark.ra.customer_import.ports import Allowed
from chopmark.store.repositories.messaging.outbox import queue
from tests.contract.issuers.peers import free_port
from tests.contract.test_delivery import Gateway, delivery
from tests.contract.world import ANN, BEN, DAN, EVE, ROWS, Errand, World, import_customers, refusal, world_fixture

world = world_fixture()
NEW_MOBILE, NEW_EMAIL = "0955000111", "thief@example.net"


class Sink:
    """A mail server that takes every mail, except for addresses that it does not know."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.unknown: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - the server's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails += [(address, mail) for address in envelope.rcpt_tos]
        return "250 OK"

    @property
    def to(self) -> list[str]:
        return [address for address, _ in self.mails]


@pytest.fixture
def sink() -> Iterator[tuple[Sink, int]]:
    taken = Sink()
    controller = Controller(taken, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield taken, controller.port
    controller.stop()


@pytest.fixture
async def production(world: World, sink: tuple[Sink, int]) -> Services:
    """The same installation as it runs in production with a mail server and nothing else."""
    mail = Smtp(host="127.0.0.1", port=sink[1], tls="none")
    settings = world.services.foundation.settings.model_copy(update={"mode": "production", "smtp": mail})
    services = await build(settings, world.clock, world.dice)
    world.nodes.append(services)
    return services


async def deliver(services: Services) -> None:
    job = next(task.job for task in tasks(services) if task.name == "deliver-0")
    while await job():
        pass


async def change(services: Services, customer: str, *allow: Allowed, **cells: str) -> None:
    assert (await services.ra.customer_import.add([{**ROWS[customer], **cells}], "alice", allow)).imported == 1


def addresses(gateway: Gateway) -> list[tuple[str, str]]:
    """What was sent where; that an order was opened is looked at elsewhere."""
    sent = [message for message in gateway.taken if message.purpose is not Purpose.ORDER_OPENED]
    return [(message.purpose.value, message.destination.reveal()) for message in sent]


async def outcomes(world: World) -> list[tuple[str, str]]:
    rows = await world.rows("SELECT channel, outcome FROM work WHERE kind = 'notice' ORDER BY not_before, id")
    return [(row["channel"], row["outcome"]) for row in rows]


async def failures(world: World) -> list[tuple[str, str]]:
    found = await world.records(Event.POST_MESSAGE_FAILED)
    facts = [json.loads(record["facts"]) for record in found]
    return [(one["channel"], one["code"]) for one in facts]


async def test_the_old_address_of_a_changed_contact_gets_the_notice_in_production_with_mail_only(
    world: World, production: Services, sink: tuple[Sink, int]
) -> None:
    await change(production, ANN, email=NEW_EMAIL)
    await deliver(production)
    assert sink[0].to == [ROWS[ANN]["email"]]
    assert "聯絡資料" in str(sink[0].mails[0][1]["Subject"])
    assert await outcomes(world) == [("email", "sent")]
    assert await failures(world) == []


async def test_a_customer_with_one_contact_is_told_at_the_old_one(
    world: World, production: Services, sink: tuple[Sink, int]
) -> None:
    await change(production, EVE, email=NEW_EMAIL)
    await deliver(production)
    assert sink[0].to == [ROWS[EVE]["email"]]


async def test_with_both_changed_both_old_ones_are_told_and_no_new_one(world: World) -> None:
    await change(world.services, ANN, mobile=NEW_MOBILE, email=NEW_EMAIL)
    mobile, email = Gateway(), Gateway(channel=Channel.EMAIL, name="mail")
    await delivery(world, mobile, more=(email,)).once()
    assert addresses(mobile) == [("contact_changed", "+886912555001")]
    assert addresses(email) == [("contact_changed", "canary-one@example.com")]


async def test_a_contact_that_is_removed_is_told_at_its_address(world: World) -> None:
    await change(world.services, DAN, Allowed.BLANKED, mobile="", verified_on="")
    gateway = Gateway()
    await delivery(world, gateway).once()
    assert addresses(gateway) == [("contact_changed", "+886912555004")]


async def test_where_no_old_contact_can_be_reached_the_audit_says_why(
    world: World, production: Services, sink: tuple[Sink, int]
) -> None:
    await change(production, DAN, mobile=NEW_MOBILE)
    await deliver(production)
    assert sink[0].to == []
    assert await outcomes(world) == [("mobile", "failed:no_gateway")]
    assert await failures(world) == [("mobile", "failed:no_gateway")]


async def test_in_production_with_mail_only_other_notices_take_the_mail_too(
    world: World, production: Services, sink: tuple[Sink, int]
) -> None:
    await world.to_active(ANN)
    held = Serial(world.held[ANN].certificate.serial)
    (work,) = await production.ra.context.notice(CustomerId(ANN), "activated", Channel.EMAIL)
    assert work.channel is Channel.EMAIL
    await production.ra.suspension.hold(held, "alice", "bob")
    await deliver(production)
    assert ROWS[ANN]["email"] in sink[0].to
    assert ("mobile", "failed:no_gateway") not in await outcomes(world)


async def told(context: RaContext, channel: Channel | None) -> tuple[OutboxJob, ...]:
    return await context.notice(CustomerId(ANN), "revoked", channel)


async def put(world: World, works: tuple[OutboxJob, ...]) -> None:
    await world.services.foundation.engine.run(queue, works)


async def test_a_notice_that_fails_for_good_goes_to_the_other_contact_and_both_failures_are_on_record(
    world: World,
) -> None:
    gone = GatewayFault(FaultReason.DESTINATION, Verdict.FINAL)
    mobile = Gateway([gone], name="sms")
    email = Gateway([GatewayFault(FaultReason.CONTENT, Verdict.FINAL)], Channel.EMAIL, "mail")
    await put(world, await told(world.services.ra.context, Channel.EMAIL))
    working = delivery(world, mobile, more=(email,))
    assert await working.once() == 1
    assert await failures(world) == [("mobile", "failed:destination")]
    assert await working.once() == 1
    assert [message.destination.reveal() for message in email.tried] == ["canary-one@example.com"]
    assert await failures(world) == [("mobile", "failed:destination"), ("email", "failed:content")]
    assert await working.once() == 0


async def test_a_notice_whose_gateway_is_missing_arrives_at_the_other_contact(world: World) -> None:
    email = Gateway(channel=Channel.EMAIL)
    await put(world, await told(world.services.ra.context, Channel.EMAIL))
    working = delivery(world, email)
    while await working.once():
        pass
    assert addresses(email) == [("revoked", "canary-one@example.com")]
    assert await failures(world) == [("mobile", "failed:no_gateway")]


async def test_an_address_that_the_mail_server_does_not_know_hands_the_notice_to_the_mobile(
    world: World, production: Services, sink: tuple[Sink, int]
) -> None:
    sink[0].unknown.add(ROWS[ANN]["email"])
    await put(world, await told(production.ra.context, Channel.MOBILE))
    await deliver(production)
    found = await failures(world)
    assert [channel for channel, _ in found] == ["email", "mobile"]
    assert found[-1] == ("mobile", "failed:no_gateway")


async def test_a_code_never_goes_to_a_former_contact_even_where_its_row_names_that_version(world: World) -> None:
    errand = await world.to_sent(ANN)
    await world.change("UPDATE challenges SET state = 'live'")
    await change(world.services, ANN, mobile=NEW_MOBILE)
    await world.change("UPDATE challenges SET state = 'live'")  # only its contact is in the way now
    (former,) = await world.rows("SELECT version FROM former_contacts WHERE channel = 'mobile'")
    (work,) = await world.rows("SELECT contact_version FROM work WHERE kind = 'code'")
    assert work["contact_version"] == former["version"]
    mobile, email = Gateway(), Gateway(channel=Channel.EMAIL, name="mail")
    await delivery(world, mobile, more=(email,)).once()
    assert [message for message in (*mobile.tried, *email.tried) if message.code is not None] == []
    assert addresses(mobile) == [("contact_changed", "+886912555001")]
    assert (await errand.stored()).state is OrderState.BOUND


async def test_a_contact_that_cools_down_since_its_code_was_made_carries_it_no_more(world: World) -> None:
    await world.to_sent(ANN)
    until = int(world.clock.at.timestamp() * 1000) + 1
    await world.change("UPDATE contacts SET cool_until = :until", until=until)
    gateway = Gateway()
    await delivery(world, gateway).once()
    assert gateway.tried == []


@pytest.mark.parametrize("cells", [{"name": "王改名"}, {"mobile": NEW_MOBILE}, {"accounts": "9A95-777777N"}])
async def test_what_was_approved_or_sent_before_the_record_changed_approves_nothing(
    world: World, cells: dict[str, str]
) -> None:
    coded, sent = await world.to_review(ANN), await world.to_sent(BEN)
    code = await sent.code()
    for customer in (ANN, BEN):
        await change(
            world.services, customer, **{name: value.replace("N", customer[1:]) for name, value in cells.items()}
        )
    assert (await refusal(coded.confirm())).kind is Kind.STEP_REQUIRED
    assert await coded.state() is OrderState.BOUND
    await refusal(sent.answer(code))
    assert await sent.state() is OrderState.BOUND
    assert await world.count("certificates") == 0


async def test_a_sheet_that_stays_the_same_voids_nothing(world: World) -> None:
    coded = await world.to_review(ANN)
    await import_customers(world.services)
    assert (await coded.confirm()).state is OrderState.ISSUED


async def test_a_number_that_takes_somebodys_place_gets_no_code_for_a_week_and_that_person_is_told(
    world: World,
) -> None:
    """The insider's sheets: Ann's number becomes somebody else's, and a new number becomes Ann's."""
    emptied = {"person_id": "A130000019", "accounts": "", "name": "某人"}
    await change(world.services, ANN, Allowed.ID, Allowed.BLANKED, **emptied)
    thief = {**ROWS[ANN], "customer": "C9", "mobile": NEW_MOBILE, "email": NEW_EMAIL}
    thief["accounts"] = "(期) F014000-0000001"
    assert (await world.services.ra.customer_import.add([thief], "alice")).imported == 1
    caller = replace(world.caller(), customer=CustomerId("C9"))
    account = AccountNumber("F014000-0000001")
    order = (await world.services.ra.enrolment.start(caller, Operation.ENROL, account, KeyHome.FILE, None, None)).order
    errand = Errand(world, caller, order.id, ClientKey.generate(), None)
    await errand.bind()
    world.clock.later(minutes=1)
    for channel in Channel:
        assert (await refusal(errand.send(channel))).code == "channel"
    mobile, email = Gateway(), Gateway(channel=Channel.EMAIL, name="mail")
    working = delivery(world, mobile, more=(email,))
    while await working.once():
        pass
    assert set(addresses(mobile)) == {("record_changed", "+886912555001")}
    assert len(addresses(mobile)) == 2  # when her number became another's, and when another became hers
    assert set(addresses(email)) == {("record_changed", "canary-one@example.com")}


async def test_a_row_that_was_sent_instead_is_not_queued_without_the_lease(world: World) -> None:
    await put(world, await told(world.services.ra.context, Channel.EMAIL))
    works, now = world.services.messaging.outbox, world.clock.now()
    (mine,) = await works.claim((OutboxJobKind.NOTICE,), 10, "slow", now, 60)
    instead = (replace(mine, id="other"),)
    assert not await works.done(mine, "quick", now, "failed:destination", None, instead)
    assert await world.count("work") == 1
    assert await works.done(mine, "slow", now, "failed:destination", None, instead)
    assert await world.count("work") == 2
