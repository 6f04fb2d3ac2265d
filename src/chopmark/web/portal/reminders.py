"""The page of a certificate's reminders: what was sent, what will be sent when and by which channel, and a pause."""

from dataclasses import replace
from datetime import date
from typing import Any

from litestar import Response, Router, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Channel, text
from chopmark.ra.reminders.own import OwnReminders
from chopmark.tw.zone import local_date
from chopmark.web.brand import ServiceKey
from chopmark.web.pages.frames import frame_of, html
from chopmark.web.pages.reminder_views import ReminderRow, RemindersPage
from chopmark.web.pages.views import Problem
from chopmark.web.portal.pages import Req, form_field
from chopmark.web.problems import STATUS
from chopmark.web.session import Authenticated
from chopmark.web.state import services

_HERE = "/certificates/reminders"


@get(_HERE)
async def reminders_page(request: Req, authenticated: Authenticated, saved: FromQuery[bool] = False) -> Response[str]:
    """Show the reminders of the present certificate."""
    own = await services(request).ra.own_reminders.shown(authenticated.caller)
    return html(request, await _page(request, authenticated, own, saved=saved))


@post(_HERE, status_code=303)
async def ask(request: Req, authenticated: Authenticated) -> Response[Any]:
    """Store the channel and the pause that the customer asks for."""
    reminders = services(request).ra.own_reminders
    channel, until = await form_field(request, "channel"), await form_field(request, "paused_until")
    try:
        await reminders.ask(authenticated.caller, _channel(channel), _day(until))
    except Refused as refused:
        if refused.refusal.kind is not Kind.MALFORMED:
            raise
        own = await reminders.shown(authenticated.caller)
        problem = Problem(refused.refusal.public, refused.refusal.field)
        page = _with_answers(await _page(request, authenticated, own, problem), channel, until)
        return html(request, page, STATUS[Kind.MALFORMED])
    return Redirect(f"{_HERE}?saved=true", status_code=303)


async def _page(
    request: Req,
    authenticated: Authenticated,
    own: OwnReminders,
    problem: Problem | None = None,
    *,
    saved: bool = False,
) -> RemindersPage:
    web = services(request)
    person = await web.identity.people.person(authenticated.caller.customer)
    done = text("We have noted how you want to be reminded.") if saved else None
    until = own.wishes.paused_until
    return RemindersPage(
        frame_of(
            request,
            greeting="" if person is None else person.masked_name,
            service=ServiceKey.CERTIFICATES,
            href="/certificates/inquiry",
            notice=done,
        ),
        None if own.present is None else own.present.not_after,
        tuple(ReminderRow(line.step.days, line.at, line.state, line.channel, line.paused) for line in own.lines),
        own.channels,
        own.wishes.channel,
        own.pauses,
        None if until is None or until <= web.now() else local_date(until),
        problem,
    )


def _with_answers(page: RemindersPage, channel: str, until: str) -> RemindersPage:
    """Return the page with what the customer has chosen, as far as it is among the answers; nothing of it is stored."""
    wanted = next((one for one in page.reached if one.value == channel), None)
    return replace(
        page, wanted=wanted, paused_until=next((day for day in page.pauses if day.isoformat() == until), None)
    )


def _channel(given: str) -> Channel | None:
    if not given:
        return None
    try:
        return Channel(given)
    except ValueError:
        raise Refused(_wrong("channel")) from None


def _day(given: str) -> date | None:
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Refused(_wrong("paused_until")) from None


def _wrong(field: str) -> Refusal:
    return Refusal(Kind.MALFORMED, text("Please choose one of the answers."), field=field, code="choice")


ROUTER = Router("/", include_in_schema=False, route_handlers=[reminders_page, ask])
