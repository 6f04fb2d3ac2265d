"""The order pages: GET /orders/{id} shows the order's next step, even in an old tab or after the back button."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from chopmark.core.types import Channel, Installed, KeyEvidence, KeyHome, Operation, OrderId, OrderState, Text, text
from chopmark.identity.people import Person
from chopmark.pki.key_words import key_name, key_words
from chopmark.ra.overview import Countdown
from chopmark.ra.snapshots import OrderSnapshot
from chopmark.web.brand import ServiceKey
from chopmark.web.pages.frames import frame_of, html, lang_of
from chopmark.web.pages.render import Page
from chopmark.web.pages.step_views import (
    STEP_BIRTH,
    STEP_CODE,
    STEP_DONE,
    STEP_INSTALL,
    STEP_KEY,
    STEP_REVIEW,
    STEP_SLIP,
    BirthDateStepPage,
    ChallengeView,
    ChannelChoice,
    ChannelStepPage,
    CodeStepPage,
    ConsentView,
    DoneStepPage,
    EndedStepPage,
    InstallStepPage,
    KeyStepPage,
    OldCertificate,
    OrderHead,
    PassedStepPage,
    PossessionStepPage,
    ProgramCredential,
    ProgramInstallPage,
    ProgramStepPage,
    Receipt,
    ReviewStepPage,
    SlipStepPage,
    WaitStepPage,
    steps_of,
)
from chopmark.web.pages.views import AccountChoice, Action, Frame
from chopmark.web.portal.certificate import certificate_view
from chopmark.web.portal.endings import ended, leaving, meanwhile
from chopmark.web.presenters import (
    OrderView,
    account_label,
    credential_for,
    former_name,
    issuer_name,
    order_view,
    receipt_number,
    terms_in,
)
from chopmark.web.services import WebServices
from chopmark.web.session import Authenticated, enter
from chopmark.web.state import services

_STEPS: dict[str, Text] = {
    "key": STEP_KEY,
    "possession": STEP_KEY,
    "channel": STEP_CODE,
    "code": STEP_CODE,
    "passed": STEP_CODE,
    "slip": STEP_SLIP,
    "birth_date": STEP_BIRTH,
    "review": STEP_REVIEW,
    "wait": STEP_REVIEW,
    "install": STEP_INSTALL,
    "done": STEP_DONE,
}
_SUBMITTED = frozenset({OrderState.SUBMITTED, OrderState.PENDING, OrderState.ACTIVE, OrderState.DONE})
_KEY_MAY_CHANGE = frozenset(
    {OrderState.OPEN, OrderState.BOUND, OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED}
)
_APPROVED = frozenset({OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED})


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the functions that build the step pages read."""

    frame: Frame
    head: OrderHead
    view: OrderView
    person: Person
    issuer: str
    code_digits: int
    code_life_s: int
    consent: ConsentView | None
    notified: tuple[Channel, str] | None
    overlap: bool
    est_url: str
    password_alone_helps: bool
    kept_when_said: timedelta
    old_issuer: str
    countdown: Countdown | None

    @property
    def key_name(self) -> str | None:
        """The short name of the key that a code approves."""
        key = self.view.order.spki_sha256
        return None if key is None else key_name(key)

    @property
    def label(self) -> str:
        return self.head.account_label


def _shown(view: OrderView, wish: str) -> str:
    """Return the name of the page to show: the next step's, or the one that `wish` (the query's `step`) may choose.

    After the right code the page 立即去申請憑證 comes first; its button asks for `apply`.
    """
    if view.next == "code" and wish == "channel":
        return "channel"
    if wish == "key" and view.order.operation is not Operation.REVOKE and not view.order.key_is_mine:
        return "possession"
    if wish == "key" and view.order.state in _KEY_MAY_CHANGE and view.order.operation is not Operation.REVOKE:
        return "key"
    if view.order.wants_slip and view.order.state in _APPROVED:
        return "slip" if wish == "slip" else view.next
    passed = view.order.state is OrderState.CODE_VERIFIED and not view.order.wants_second
    return "passed" if passed and wish != "apply" else view.next


@get("/orders/{order_id:str}")
async def order_page(
    request: Request[Any, Any, Any], order_id: FromPath[str], step: FromQuery[str] = ""
) -> Response[str]:
    """Show the order's next step."""
    authenticated = await enter(request, OrderId(order_id))
    name, scene = _scene(
        request, await services(request).ra.customer_queries.snapshot(authenticated.caller, OrderId(order_id)), step
    )
    return html(request, _PAGES[name](scene))


@post("/orders/{order_id:str}/credential", status_code=200)
async def program_credential(
    request: Request[Any, Any, Any], authenticated: Authenticated, order_id: FromPath[str]
) -> Response[str]:
    """Show a new credential for the customer's program, once. The one before it no longer works."""
    made = await credential_for(services(request), authenticated.caller, OrderId(order_id))
    _, scene = _scene(
        request, await services(request).ra.customer_queries.reread(authenticated.caller, OrderId(order_id)), "key"
    )
    minutes = int(made.life.total_seconds()) // 60
    return html(request, _program(scene, ProgramCredential(made.user, made.secret.reveal(), minutes)))


@get("/orders/{order_id:str}/credential")
async def program_credential_again(
    request: Request[Any, Any, Any], authenticated: Authenticated, order_id: FromPath[str]
) -> Redirect:
    """Lead to the order: a credential is shown once, and its address is opened again by a second tab or a bookmark."""
    found = await services(request).ra.customer_queries.reread(authenticated.caller, OrderId(order_id))
    return Redirect(f"/orders/{found.order.id}", status_code=303)


def _scene(request: Request[Any, Any, Any], snapshot: OrderSnapshot, step: str) -> tuple[str, _Scene]:
    """Return the name of the page to show and what it is built from."""
    web, order = services(request), snapshot.order
    view = order_view(web, snapshot)
    if snapshot.customer is None:
        raise ValueError(f"an order of an unknown customer {order.customer}")
    person = web.identity.people.shown(snapshot.customer)
    name = _shown(view, step)
    labels = {row.number: account_label(row, lang_of(request)) for row in snapshot.accounts}
    overlap = web.ra.rekey.overlap or (view.old is not None and view.old.former is not None)
    steps = steps_of(order.operation, birth_date_asked=order.birth_date_asked, slip=order.wants_slip)
    head = OrderHead(
        order_id=order.id,
        operation=order.operation,
        account=order.account,
        account_label=labels.get(order.account, order.account),
        accounts=tuple(
            AccountChoice(row.number, labels[row.number], row.number == order.account) for row in snapshot.accounts
        ),
        step=steps.index(_STEPS[name]) + 1 if _STEPS.get(name) in steps else 0,
        steps=steps,
        can_cancel=order.live and order.state not in _SUBMITTED,
        leaving=leaving(order, view.old, overlap=overlap),
    )
    consent = web.ra.rekey.consent(order, view.old) if name == "review" else None
    return name, _Scene(
        frame_of(request, greeting=person.masked_name, service=ServiceKey.CERTIFICATES),
        head,
        view,
        person,
        issuer_name(web, lang_of(request)),
        web.policy.code_digits,
        int(web.policy.code_life.total_seconds()),
        None
        if consent is None
        else ConsentView(str(consent.version), consent.sha256, terms_in(web, consent.sentences, lang_of(request))),
        _notified(web, snapshot),
        overlap,
        web.est_url,
        name == "channel" and web.ra.customer_queries.password_alone_helps(snapshot),
        web.policy.kept_when_said,
        former_name(web, view.old, lang_of(request)) or issuer_name(web, lang_of(request)),
        None if view.certificate is None else web.ra.customer_queries.countdown(view.certificate, view.now),
    )


def _notified(web: WebServices, snapshot: OrderSnapshot) -> tuple[Channel, str] | None:
    """Return where the notice of a finished order was sent, masked: to the other channel if there is one (OTP-13)."""
    used = snapshot.order.code_channel
    if used is None:
        return None
    contacts = web.identity.people.masked(snapshot.contacts)
    for channel in (used.other, used):
        if channel in contacts:
            return channel, contacts[channel].masked
    return None


def _program(scene: _Scene, credential: ProgramCredential | None = None) -> Page:
    renewal = scene.view.order.operation is Operation.REKEY
    return ProgramStepPage(scene.frame, scene.head, scene.est_url, renewal, credential)


def _key(scene: _Scene) -> Page:
    if scene.view.order.key_home is KeyHome.HELPER:
        return _program(scene)
    old = scene.view.old if scene.view.order.operation is Operation.REKEY else None
    shown = (
        None
        if old is None
        else OldCertificate(old.number, hashlib.sha256(old.der).hexdigest(), old.not_after, scene.old_issuer)
    )
    return KeyStepPage(scene.frame, scene.head, scene.view.order.key_home, shown)


def _possession(scene: _Scene) -> Page:
    order = scene.view.order
    by_words = order.key_evidence is KeyEvidence.CREDENTIAL
    return PossessionStepPage(scene.frame, scene.head, order.key_home, order.reason, by_words, not order.key_is_here)


def _channel(scene: _Scene) -> Page:
    choices = tuple(
        ChannelChoice(c.channel, c.masked, date.fromisoformat(c.registered_on), c.why_not is None, c.why_not)
        for c in scene.view.channels
        if c.masked
    )
    sent = scene.view.sent
    wait_s = 0 if sent is None else sent.challenge.resend_in_s(scene.view.now)
    order, until = scene.view.order, scene.view.order.waits_until
    return ChannelStepPage(
        scene.frame,
        scene.head,
        choices,
        scene.code_life_s // 60,
        scene.code_digits,
        wait_s,
        both_codes=order.both_codes,
        delay_hours=0 if order.announced_at else int(order.delay.total_seconds()) // 3600,
        waits_until=until if until is not None and scene.view.now < until else None,
        password_alone_helps=scene.password_alone_helps,
    )


def _code(scene: _Scene) -> Page:
    sent, now = scene.view.sent, scene.view.now
    if sent is None:
        return _channel(scene)
    challenge = sent.challenge
    return CodeStepPage(
        scene.frame,
        scene.head,
        ChallengeView(
            challenge.reference,
            challenge.channel,
            sent.masked,
            challenge.remaining_s(now),
            challenge.resend_in_s(now),
            challenge.tries_left,
            sent.sends_left,
            challenge.digits,
            scene.code_life_s,
            scene.key_name,
            sent.undelivered,
        ),
    )


def _slip(scene: _Scene) -> Page:
    order = scene.view.order
    return SlipStepPage(scene.frame, scene.head, key_words(order.spki_sha256 or ""), order.expires_at)


def _passed(scene: _Scene) -> Page:
    return PassedStepPage(scene.frame, scene.head)


def _birth_date(scene: _Scene) -> Page:
    return BirthDateStepPage(scene.frame, scene.head, scene.person.masked_person_id, scene.issuer)


def _review(scene: _Scene) -> Page:
    order, old = scene.view.order, scene.view.old
    if scene.consent is None:
        raise ValueError("a review page without terms")
    revoking = order.operation is Operation.REVOKE
    return ReviewStepPage(
        scene.frame,
        scene.head,
        scene.person.masked_name,
        scene.person.masked_person_id,
        scene.consent,
        None if revoking else order.key_home,
        scene.issuer,
        None if old is None else certificate_view(old, scene.label, scene.view.now),
        order.reason,
        scene.overlap,
    )


def _wait(scene: _Scene) -> Page:
    return WaitStepPage(scene.frame, scene.head)


def _install(scene: _Scene) -> Page:
    certificate = scene.view.certificate
    if certificate is None:
        raise ValueError("an issued order without a certificate")
    shown = certificate_view(certificate, scene.label, scene.view.now)
    order = scene.view.order
    if order.key_home is KeyHome.HELPER:
        return ProgramInstallPage(scene.frame, scene.head, shown, meanwhile(order, overlap=scene.overlap))
    days = scene.kept_when_said.days
    return InstallStepPage(
        scene.frame, scene.head, order.key_home, shown, meanwhile(order, overlap=scene.overlap), days
    )


def _done(scene: _Scene) -> Page:
    order, view = scene.view.order, scene.view
    certificate = view.old if order.operation is Operation.REVOKE else view.certificate
    completed = order.activated_at or order.submitted_at
    if certificate is None or completed is None:
        raise ValueError("a finished order without a certificate")
    channel, masked = scene.notified or (None, "")
    shown = certificate_view(certificate, scene.label, view.now)
    return DoneStepPage(
        scene.frame,
        scene.head,
        shown if order.operation is Operation.REVOKE else replace(shown, countdown=scene.countdown),
        Receipt(receipt_number(order), completed, channel, masked),
        None if order.operation is Operation.REVOKE else order.key_home,
        old_ends=order.operation in {Operation.REKEY, Operation.REPLACE},
        old_ends_at=_old_stays_until(scene, completed),
    )


def _old_stays_until(scene: _Scene, completed: datetime) -> datetime | None:
    """Return until when the old certificate stays valid if the customer only confirmed that the new one arrived."""
    if scene.view.order.installed is not Installed.SAID or scene.view.old is None:
        return None
    return min(completed + scene.kept_when_said, scene.view.old.not_after)


def _ended(scene: _Scene) -> Page:
    ending = ended(scene.view.order, scene.view.old, overlap=scene.overlap)
    retry = Action(text("Go to the certificate page"), "/certificates") if ending.again else None
    return EndedStepPage(scene.frame, scene.head, ending.state, ending.why, ending.what_next, retry)


_PAGES = {
    "key": _key,
    "possession": _possession,
    "channel": _channel,
    "code": _code,
    "passed": _passed,
    "slip": _slip,
    "birth_date": _birth_date,
    "review": _review,
    "wait": _wait,
    "install": _install,
    "done": _done,
    "ended": _ended,
}

ROUTER = Router(
    "/",
    route_handlers=[order_page, program_credential, program_credential_again],
    include_in_schema=False,
)
