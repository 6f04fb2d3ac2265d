"""The portal's plain pages: sign-in, launch, home, overview, apply, inquiry, revoke, profile. Forms need no script."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from litestar import HttpMethod, Request, Response, Router, get, post, route
from litestar.params import FromQuery
from litestar.response import Redirect

from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import AccountNumber, CertificateState, KeyHome, Operation, Reason, Secret, Text, text
from chopmark.identity.people import Person
from chopmark.identity.sessions import network_of
from chopmark.ra.authentication import AuthenticatedRequest
from chopmark.ra.overview import Overview
from chopmark.ra.policy import may_start
from chopmark.ra.ports import SubscriberCertificate
from chopmark.tw.zone import local_date
from chopmark.web.brand import ServiceKey
from chopmark.web.pages.frames import AGAIN, again, frame_of, html, lang_of
from chopmark.web.pages.views import (
    AccountChoice,
    Action,
    ApplyPage,
    CapabilityPage,
    CertificateView,
    ContactRow,
    Frame,
    HomePage,
    InquiryPage,
    LaunchConfirmPage,
    LaunchShellPage,
    OpenOrder,
    OverviewPage,
    Problem,
    ProfilePage,
    RevokePage,
    SignInPage,
)
from chopmark.web.portal.certificate import certificate_view
from chopmark.web.presenters import account_label, former_name
from chopmark.web.session import (
    KNOWN,
    Authenticated,
    authenticated_or_none,
    cookie_name,
    private_cookie,
    set_known,
    set_session,
    token_of,
)
from chopmark.web.state import address_of, services

Req = Request[Any, Any, Any]
_REPLACE_REASONS = (Reason.NEW_DEVICE, Reason.LOST, Reason.COMPROMISED, Reason.REPLACE)
_WANTED = {
    "home": "/home",
    "certificates": "/certificates",
    "apply": "/certificates/apply",
    "renew": "/certificates/apply?operation=rekey",
    "inquiry": "/certificates/inquiry",
    "revoke": "/certificates/revoke",
}
"""The steps that a trading program may ask for; anything else opens the overview."""
MAX_FORM_FIELD = 200


async def form_field(request: Req, name: str) -> str:
    """Return a field of the posted form, cut to a maximal length; empty if the form has no such field."""
    value = (await request.form()).get(name, "")
    return value[:MAX_FORM_FIELD] if isinstance(value, str) else ""


def _local(path: str) -> str:
    """Return a path of this portal, or the home page for anything else (no open redirect)."""
    safe = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if safe else "/home"


async def _person(request: Req, authenticated: AuthenticatedRequest) -> Person:
    person = await services(request).identity.people.person(authenticated.caller.customer)
    if person is None:
        raise ValueError(f"session of an unknown customer {authenticated.caller.customer}")
    return person


async def _frame(
    request: Req, authenticated: AuthenticatedRequest, service: ServiceKey | None = None, href: str = ""
) -> Frame:
    person = await _person(request, authenticated)
    return frame_of(request, greeting=person.masked_name, service=service, href=href)


@get("/")
async def root(request: Req) -> Redirect:
    """Go to the customer area, or to the demo's trading program."""
    if services(request).demo is not None and await authenticated_or_none(request) is None:
        return Redirect("/demo", status_code=303)
    return Redirect("/home", status_code=303)


@route(AGAIN, http_method=[HttpMethod.GET, HttpMethod.POST], status_code=303, opt={"exclude_from_csrf": True})
async def load_again(to: FromQuery[str] = "/home") -> Redirect:
    """Open the page of a form whose answer is loaded again; what a browser sends with it is not read."""
    return Redirect(_local(to), status_code=303)


@get("/sign-in")
async def sign_in_page(request: Req, next: FromQuery[str] = "/home") -> Response[str]:  # noqa: A002
    """Show the sign-in form."""
    return html(request, SignInPage(frame_of(request), next=_local(next)))


def _sign_in_again(request: Req, who: str, wanted: str, problem: Problem) -> SignInPage:
    """Return the form with the problem; loaded again it keeps where the customer wanted to go, and sends nothing."""
    there = _local(wanted)
    frame = replace(frame_of(request), again=again(f"/sign-in?{urlencode({'next': there})}"))
    return SignInPage(frame, who, there, problem)


@post("/sign-in", status_code=303)
async def sign_in(request: Req) -> Response[Any]:
    """Sign in with customer number or id and trading password."""
    who, password = await form_field(request, "who"), await form_field(request, "password")
    wanted = await form_field(request, "next")
    empty = _empty(who, password)
    if empty is not None:
        return html(request, _sign_in_again(request, who, wanted, empty), 400)
    try:
        known = request.cookies.get(cookie_name(request, KNOWN))
        sessions, address = services(request).identity.sessions, address_of(request)
        opened = await sessions.sign_in(who, Secret(password), address, token_of(request), known)
    except Refused as refused:
        refusal = refused.refusal
        if refusal.kind not in {Kind.UNAUTHENTICATED, Kind.TOO_MANY, Kind.FORBIDDEN}:
            raise
        status = 429 if refusal.kind is Kind.TOO_MANY else 401 if refusal.kind is Kind.UNAUTHENTICATED else 403
        page = _sign_in_again(request, who, wanted, Problem(refusal.public, refusal.field))
        response = html(request, page, status)
        if refusal.retry_after_s is not None:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response
    response = Redirect(_local(wanted), status_code=303)
    set_session(request, response, opened.token)
    return response


def _empty(who: str, password: str) -> Problem | None:
    if not who.strip():
        return Problem(text("Please enter your customer number or your identity card number."), "who")
    if not password:
        return Problem(text("Please enter your trading password."), "password")
    return None


@post("/sign-out", status_code=303)
async def sign_out(request: Req) -> Redirect:
    """End the session; clear the browser's cookies and cache of it."""
    token = token_of(request)
    if token is not None:
        await services(request).identity.sessions.sign_out(token)
    response = Redirect("/sign-in", status_code=303)
    response.set_cookie(private_cookie(request, "chopmark", "", max_age=0))
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@get("/launch")
async def launch_shell(request: Req) -> Response[str]:
    """Set the pre-session cookie and show the page whose script posts the ticket of the fragment."""
    response = html(request, LaunchShellPage(frame_of(request)))
    if cookie_name(request, "visitor") not in request.cookies:
        visitor = urlsafe_b64encode(services(request).entropy.token(32)).decode().rstrip("=")
        response.set_cookie(private_cookie(request, "visitor", visitor, max_age=600))
    return response


@post("/launch", status_code=303)
async def launch_take(request: Req) -> Redirect:
    """Bind the ticket to this pre-session; the question is a page of its own, which can be loaded again."""
    ticket, visitor = await form_field(request, "ticket"), request.cookies.get(cookie_name(request, "visitor"), "")
    await services(request).identity.launches.take(Secret(ticket), visitor, network_of(address_of(request)))
    response = Redirect("/launch/confirm", status_code=303)
    response.set_cookie(private_cookie(request, "ticket", ticket, max_age=300))
    return response


@get("/launch/confirm")
async def launch_ask(request: Req) -> Response[Any]:
    """Ask the customer to confirm; without a ticket of theirs, show the page that says so."""
    web = services(request)
    ticket = request.cookies.get(cookie_name(request, "ticket"), "")
    visitor = request.cookies.get(cookie_name(request, "visitor"), "")
    launch = await web.identity.launches.asked(Secret(ticket), visitor)
    if launch is None:
        return Redirect("/launch", status_code=303)
    file = await web.ra.customer_queries.on_record(launch.customer)
    name = "" if file.customer is None else web.identity.people.shown(file.customer).masked_name
    labels = {row.number: account_label(row, lang_of(request)) for row in file.accounts}
    return html(request, LaunchConfirmPage(frame_of(request), name, labels.get(launch.account, launch.account)))


@post("/launch/confirm", status_code=303)
async def launch_confirm(request: Req) -> Redirect:
    """Open the session that the customer has confirmed."""
    web = services(request)
    ticket = request.cookies.get(cookie_name(request, "ticket"), "")
    visitor = request.cookies.get(cookie_name(request, "visitor"), "")
    network = network_of(address_of(request))
    opened, wanted = await web.identity.launches.confirm(Secret(ticket), visitor, token_of(request), network)
    response = Redirect(_WANTED.get(wanted or "", "/certificates"), status_code=303)
    set_session(request, response, opened.token)
    set_known(request, response, await web.identity.sessions.recognise(opened.session))
    response.set_cookie(private_cookie(request, "ticket", "", max_age=0))
    return response


@post("/launch/refuse", status_code=303)
async def launch_refuse(request: Req) -> Redirect:
    """Forget the ticket; nobody is signed in."""
    response = Redirect("/sign-in", status_code=303)
    response.set_cookie(private_cookie(request, "ticket", "", max_age=0))
    return response


def _choices(request: Req, view: Overview, chosen: AccountNumber) -> tuple[AccountChoice, ...]:
    return tuple(
        AccountChoice(row.number, account_label(row, lang_of(request)), row.number == chosen) for row in view.accounts
    )


def _label(request: Req, view: Overview, number: AccountNumber) -> str:
    return next((account_label(row, lang_of(request)) for row in view.accounts if row.number == number), number)


def _certificate(request: Req, view: Overview, certificate: SubscriberCertificate) -> CertificateView:
    issuer = former_name(services(request), certificate, lang_of(request))
    shown = certificate_view(certificate, _label(request, view, certificate.account), view.now, issuer)
    counts = view.present is not None and certificate.serial == view.present.serial
    return replace(shown, countdown=view.countdown) if counts else shown


@get("/home")
async def home(request: Req, authenticated: Authenticated) -> Response[str]:
    """Show 客戶服務專區."""
    view = await services(request).ra.customer_queries.overview(authenticated.caller)
    present = None if view.present is None else _certificate(request, view, view.present)
    return html(request, HomePage(await _frame(request, authenticated), present))


@get("/certificates")
async def overview(request: Req, authenticated: Authenticated, account: FromQuery[str | None] = None) -> Response[str]:
    """Show the account's certificate and the one recommended action."""
    web = services(request)
    view = await web.ra.customer_queries.overview(authenticated.caller)
    chosen = web.ra.customer_queries.account(view, account or authenticated.session.account)
    live = next((order for order in view.live), None)
    recommended, others = _actions(view, chosen)
    opened = None
    if live is not None:
        opened = OpenOrder(live.id, live.operation, live.created_at, live.expires_at)
        others = () if recommended is None else (recommended, *others)
        recommended = Action(text("Go on with your order"), f"/orders/{live.id}")
    page = OverviewPage(
        await _frame(request, authenticated, ServiceKey.CERTIFICATES),
        _choices(request, view, chosen),
        None if view.present is None else _certificate(request, view, view.present),
        recommended,
        view.advice.why,
        opened,
        others if live is None else (),
        view.swap,
    )
    return html(request, page)


def _apply_href(operation: Operation, account: str) -> str:
    return f"/certificates/apply?{urlencode({'operation': operation.value, 'account': account})}"


def _actions(view: Overview, account: str) -> tuple[Action | None, tuple[Action, ...]]:
    renew = Action(text("Renew the certificate"), _apply_href(Operation.REKEY, account))
    apply = Action(text("Apply for a certificate"), _apply_href(Operation.ENROL, account))
    replace = Action(text("Apply for a new one instead"), _apply_href(Operation.REPLACE, account))
    if view.advice.operation is Operation.REKEY:
        return renew, (replace,)
    if view.advice.operation is Operation.ENROL:
        return apply, ()
    if view.advice.operation is Operation.REPLACE:
        return replace, (renew,) if may_start(Operation.REKEY, None, view.advice) is None else ()
    return None, (replace,)


@get("/certificates/apply")
async def apply_page(
    request: Req, authenticated: Authenticated, operation: FromQuery[str] = "", account: FromQuery[str | None] = None
) -> Response[str]:
    """Ask where the key will be stored, and for a replacement why."""
    web = services(request)
    view = await web.ra.customer_queries.overview(authenticated.caller)
    chosen = web.ra.customer_queries.account(view, account or authenticated.session.account)
    wanted = view.advice.meant_by(operation)
    busy = web.load.refuses_applications()
    if busy is not None and wanted is Operation.ENROL and not view.live:
        raise Refused(busy)
    probe = Reason.REPLACE if wanted is Operation.REPLACE else None
    refused = may_start(wanted, probe, view.advice)
    recommended, _ = _actions(view, chosen)
    href = "/certificates/apply?operation=rekey" if wanted is Operation.REKEY else "/certificates/apply"
    page = ApplyPage(
        await _frame(request, authenticated, ServiceKey.CERTIFICATES, href),
        _choices(request, view, chosen),
        chosen,
        wanted,
        _REPLACE_REASONS if wanted is Operation.REPLACE else (),
        key_homes=tuple(home for home in KeyHome if home is not KeyHome.HELPER or web.est_url),
        blocked=None if refused is None else refused.public,
        instead=recommended if refused is not None else None,
        swap=view.swap,
    )
    return html(request, page)


@get("/certificates/inquiry")
async def inquiry(request: Req, authenticated: Authenticated, account: FromQuery[str | None] = None) -> Response[str]:
    """Show 憑證查詢."""
    web = services(request)
    view = await web.ra.customer_queries.overview(authenticated.caller)
    chosen = web.ra.customer_queries.account(view, account or authenticated.session.account)
    held = await web.ra.customer_queries.certificates(authenticated.caller)
    current = view.present
    page = InquiryPage(
        await _frame(request, authenticated, ServiceKey.CERTIFICATES, "/certificates/inquiry"),
        _choices(request, view, chosen),
        None if current is None else _certificate(request, view, current),
        tuple(_certificate(request, view, one) for one in held if current is None or one.serial != current.serial),
    )
    return html(request, page)


@get("/certificates/revoke")
async def revoke_page(
    request: Req, authenticated: Authenticated, account: FromQuery[str | None] = None
) -> Response[str]:
    """Show 憑證廢止."""
    web = services(request)
    view = await web.ra.customer_queries.overview(authenticated.caller)
    chosen = web.ra.customer_queries.account(view, account or authenticated.session.account)
    held = await web.ra.customer_queries.revocable(authenticated.caller)
    page = RevokePage(
        await _frame(request, authenticated, ServiceKey.CERTIFICATES, "/certificates/revoke"),
        _choices(request, view, chosen),
        chosen,
        tuple(_certificate(request, view, one) for one in held),
        blocked=None if held else _nothing_to_revoke(request, view),
    )
    return html(request, page)


def _nothing_to_revoke(request: Req, view: Overview) -> Text:
    """Say why there is nothing to revoke here; whose valid certificate is a former issuer's has to ask that one."""
    present = view.present
    issuer = former_name(services(request), present, lang_of(request))
    ended = present is None or present.state is not CertificateState.ACTIVE or view.now > present.not_after
    if issuer is None or ended:
        return text("You have no valid certificate that could be revoked.")
    return text(
        "Your certificate was issued by %(issuer)s, and only that company can revoke it. Please ask them to, and call "
        "us as well.",
        issuer=issuer,
    )


@get("/profile")
async def profile(request: Req, authenticated: Authenticated) -> Response[str]:
    """Show 個人資料: the masked contacts and how to have them corrected."""
    web = services(request)
    person = await _person(request, authenticated)
    contacts = await web.identity.people.contacts(authenticated.caller.customer)
    now = web.now()
    rows = []
    for channel in web.policy.channels:
        contact = contacts.get(channel)
        if contact is None:
            rows.append(ContactRow(channel, None, None))
            continue
        cooling = local_date(contact.cool_until) if now < contact.cool_until else None
        rows.append(ContactRow(channel, contact.masked, local_date(contact.verified_at), cooling))
    accounts = tuple(
        AccountChoice(row.number, account_label(row, lang_of(request)))
        for row in await web.identity.people.accounts(authenticated.caller.customer)
    )
    page = ProfilePage(
        await _frame(request, authenticated, ServiceKey.PROFILE),
        person.masked_name,
        person.masked_person_id,
        tuple(rows),
        accounts,
    )
    return html(request, page)


@get("/help/browser")
async def capability(request: Req) -> Response[str]:
    """Show what this browser can do."""
    return html(request, CapabilityPage(frame_of(request)))


ROUTER = Router(
    "/",
    include_in_schema=False,
    route_handlers=[
        root,
        load_again,
        sign_in_page,
        sign_in,
        sign_out,
        launch_shell,
        launch_take,
        launch_ask,
        launch_confirm,
        launch_refuse,
        home,
        overview,
        apply_page,
        inquiry,
        revoke_page,
        profile,
        capability,
    ],
)
