"""The demo's own pages: the trading program, the inbox, and stand-ins for the firm's other systems."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, text
from chopmark.messaging.demo import CODE_GAP
from chopmark.web.brand import ServiceKey
from chopmark.web.pages.frames import frame_of, html
from chopmark.web.pages.views import (
    DemoCustomer,
    DemoPage,
    ElsewherePage,
    InboxMessage,
    InboxPage,
)
from chopmark.web.presenters import epoch_ms
from chopmark.web.problems import wants_json
from chopmark.web.services import Demo
from chopmark.web.session import authenticated_or_none
from chopmark.web.state import services

Req = Request[Any, Any, Any]
INBOX_SIZE = 50


def _demo(request: Req) -> Demo:
    demo = services(request).demo
    if demo is None:
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))
    return demo


@get("/demo")
async def trading(request: Req, customer: FromQuery[str] = "") -> Response[str]:
    """Show the demo's trading program."""
    demo = _demo(request)
    people = tuple(
        DemoCustomer(person.customer, person.name, person.note, person.customer == customer) for person in demo.people
    )
    return html(request, DemoPage(frame_of(request), people))


@post("/demo/launch", status_code=303)
async def trading_launch(request: Req) -> Redirect:
    """Act as the firm's trading program: ask for a launch ticket and open the customer area with it."""
    demo, web = _demo(request), services(request)
    wanted = (await request.form()).get("customer", "")
    person = next((one for one in demo.people if one.customer == wanted), None)
    if person is None:
        raise Refused(Refusal(Kind.NOT_FOUND, text("Please choose a customer of the demonstration."), field="customer"))
    client = await web.identity.launches.authenticate(demo.client, demo.client_secret, CustomerId(person.customer))
    found = await web.identity.people.find(person.customer)
    if found is None:
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such customer."), field="customer"))
    factors = frozenset({FactorClass.PASSWORD})
    ticket = await web.identity.launches.create(
        client, found.id, AccountNumber(person.account), factors, "certificates"
    )
    return Redirect(f"/launch#t={ticket.reveal()}", status_code=303)


@dataclass(frozen=True, slots=True)
class _Shown:
    channel: str
    masked: str
    at: int
    subject: str
    text: str
    attachment: str | None


@get("/demo/inbox")
async def inbox(request: Req) -> Response[Any]:
    """Show the messages that were sent. Codes are not stored: each is derived now and put into its text."""
    demo = _demo(request)
    messages = []
    for entry in await demo.newest(INBOX_SIZE):
        code = await demo.code_of(entry)
        body = entry.body.replace(CODE_GAP, "------" if code is None else code.reveal())
        file = None
        if entry.attachment is not None:
            file = entry.attachment.name, f"/demo/inbox/{entry.message_id}/{entry.attachment.name}"
        messages.append(InboxMessage(entry.channel, entry.masked, entry.at, entry.subject, body, file))
    if wants_json(request):
        shown = [
            _Shown(m.channel.value, m.masked, epoch_ms(m.at), m.subject, m.body, m.attachment and m.attachment[1])
            for m in messages
        ]
        return Response(msgspec.json.encode(shown), media_type=MediaType.JSON, status_code=200)
    return html(request, InboxPage(frame_of(request), tuple(messages)))


@get("/demo/inbox/{message:str}/{name:str}")
async def attached(request: Req, message: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Give the file of a mail that the inbox shows."""
    for entry in await _demo(request).newest(INBOX_SIZE):
        file = entry.attachment
        if file is not None and (entry.message_id, file.name) == (message, name):
            headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
            kind = file.content_type.partition(";")[0]  # the framework adds the charset
            return Response(file.content, media_type=kind, status_code=200, headers=headers)
    raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))


@get("/elsewhere/{service:str}")
async def elsewhere(request: Req, service: FromPath[str]) -> Response[str]:
    """Show the stand-in for a system of the firm's own."""
    _demo(request)
    if service not in {key.value for key in ServiceKey}:
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))
    authenticated = await authenticated_or_none(request)
    greeting = None
    if authenticated is not None:
        person = await services(request).identity.people.person(authenticated.caller.customer)
        greeting = None if person is None else person.masked_name
    frame = frame_of(request, greeting=greeting, service=ServiceKey(service))
    return html(request, ElsewherePage(frame, ServiceKey(service)))


ROUTER = Router("/", include_in_schema=False, route_handlers=[trading, trading_launch, inbox, attached, elsewhere])
