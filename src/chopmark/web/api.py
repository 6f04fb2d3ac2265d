"""The JSON API: what the order pages and other programs call. Each handler is one RA verb; no rule lives here."""

import asyncio
import hashlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, Router, get, post, put
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import (
    AccountNumber,
    CustomerId,
    FactorClass,
    Operation,
    OrderId,
    OrderState,
    Secret,
    Serial,
    text,
)
from chopmark.identity.sessions import SIGN_IN_AGAIN, network_of
from chopmark.ra.authentication import AuthenticatedRequest
from chopmark.ra.ports import Answer
from chopmark.ra.snapshots import OrderSnapshot, Repeat
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.roc import roc_date
from chopmark.tw.zone import local_date
from chopmark.web.frames import lang_of
from chopmark.web.presenters import (
    account_label,
    certificate_out,
    credential_for,
    epoch_ms,
    named_out,
    order_out,
    order_view,
)
from chopmark.web.problems import STATUS, ProblemBody, problem
from chopmark.web.session import Authenticated, enter, set_known, set_session, token_of
from chopmark.web.state import AnyRequest, address_of, services
from chopmark.web.wire import (
    AccountOut,
    AdviceOut,
    BirthDateBody,
    CertificateOut,
    ChannelBody,
    CodeBody,
    ConfirmBody,
    CredentialOut,
    KeyBody,
    LaunchBody,
    LaunchOut,
    NonceOut,
    OpenOrderOut,
    OrderOut,
    OverviewOut,
    PossessionBody,
    ProveBody,
    SlipBody,
    StartBody,
    StatusOut,
    from_b64,
    to_b64,
)

Req = Request[Any, Any, Any]
T = TypeVar("T", bound=msgspec.Struct)
PROBLEMS = {
    code: ResponseSpec(
        ProblemBody, generate_examples=False, description="RFC 9457 problem", media_type="application/problem+json"
    )
    for code in sorted({*STATUS.values(), 500})
}
"""What any route may answer instead; for the OpenAPI document."""
CONFIRMED = {
    201: ResponseSpec(OrderOut, generate_examples=False, description="Issued"),
    202: ResponseSpec(OrderOut, generate_examples=False, description="The CA answers later"),
}
_WAIT_S = 0.05
_WAITS = 100
_RETRIED = frozenset({Kind.UNAUTHENTICATED, Kind.TOO_MANY, Kind.UNAVAILABLE})


_BUSY = Refusal(Kind.CONFLICT, text("This is being done already. Please wait a moment."), code="in_flight")


async def once(
    request: AnyRequest, do: Callable[[AuthenticatedRequest], Awaitable[Response[Any]]], order: OrderId | None = None
) -> Response[Any]:
    """Do a change once for its Idempotency-Key: a repeat gets the first answer, another body is refused (I42)."""
    repeat = await _repeat_of(request)
    if repeat is None:
        authenticated = await enter(request, order)
        return await do(authenticated)
    authenticated = await enter(request, order, repeat)
    scope = repeat.scope(authenticated.session.customer)
    answer = None if authenticated.begun else await _again(request, scope, repeat)
    if answer is None:
        return await _first(request, scope, repeat.name, partial(do, authenticated))
    return _given(answer)


async def _repeat_of(request: AnyRequest) -> Repeat | None:
    """Return what makes a repeat of this request the same one; None without an Idempotency-Key."""
    name = request.headers.get("idempotency-key", "")
    if not name:
        return None
    if len(name) > 100 or not name.isprintable():
        raise Refused(Refusal(Kind.MALFORMED, text("The Idempotency-Key is too long."), code="key"))
    body = hashlib.sha256(await request.body()).digest()
    return Repeat(name, f"{request.method}:{request.scope['path']}", body)


def _given(answer: Answer) -> Response[Any]:
    kind = "application/json" if answer.status < 400 else "application/problem+json"
    return Response(answer.body.encode(), status_code=answer.status, media_type=kind)


async def _answer_lost(request: AnyRequest) -> Response[Any]:
    """Give an answer that never arrived once more, with another session id; raise Refused for any other request."""
    token, repeat, door = token_of(request), await _repeat_of(request), services(request).identity.sessions
    session = None if token is None or repeat is None else await door.before(token, repeat.digest)
    if token is None or repeat is None or session is None:
        raise Refused(SIGN_IN_AGAIN)
    answer = await _again(request, repeat.scope(session.customer), repeat)
    if answer is None:  # its process died before the answer was stored
        await services(request).ra.idempotency.forget(repeat.scope(session.customer), repeat.name)
        raise Refused(SIGN_IN_AGAIN)
    response = _given(answer)
    set_session(request, response, await door.step_up_again(session, token, repeat.digest))
    return response


async def _again(request: AnyRequest, scope: str, repeat: Repeat) -> Answer | None:
    """Return the first answer, waiting while it is being made; None when the request has to be done after all."""
    store, waiting = services(request).ra.idempotency, _BUSY
    for _ in range(_WAITS):
        begun = await store.begin(scope, repeat.name, repeat.body_sha256, services(request).now())
        if not isinstance(begun, Refusal):
            return begun
        if begun.code != "in_flight":
            raise Refused(begun)
        waiting = begun
        await asyncio.sleep(_WAIT_S)
    raise Refused(waiting)


async def _first(
    request: AnyRequest, scope: str, name: str, do: Callable[[], Awaitable[Response[Any]]]
) -> Response[Any]:
    store = services(request).ra.idempotency
    kept = False
    try:
        try:
            response = await do()
        except Refused as refused:
            if refused.refusal.kind in _RETRIED:
                raise
            response = problem(request, refused.refusal)
        body = response.content if isinstance(response.content, bytes) else msgspec.json.encode(response.content)
        response.content = body
        store.finish(scope, name, Answer(response.status_code or 200, body.decode()))
        kept = True
        return response
    finally:
        if not kept:
            await store.forget(scope, name)


def _order(
    request: AnyRequest, snapshot: OrderSnapshot, status: int = 200, nonce: bytes | None = None
) -> Response[OrderOut]:
    web = services(request)
    out = order_out(web, order_view(web, snapshot), request.app.state.pages.translator, lang_of(request), nonce)
    headers = {"Location": f"{web.portal_url}/api/v1/orders/{snapshot.order.id}"} if status == 201 else {}
    return Response(out, status_code=status, headers=headers)


@get("/status", sync_to_thread=False, responses=PROBLEMS)
def status(request: Req) -> StatusOut:
    """Return the server's time."""
    return StatusOut(epoch_ms(services(request).now()))


@get("/overview", responses=PROBLEMS)
async def overview(request: Req, authenticated: Authenticated, account: FromQuery[str | None] = None) -> OverviewOut:
    """Return accounts, the present certificate, the recommended action and the open order."""
    web = services(request)
    view = await web.ra.customer_queries.overview(authenticated.caller)
    chosen = web.ra.customer_queries.account(view, account or authenticated.session.account)
    lang, translate = lang_of(request), request.app.state.pages.translator.translate
    live = next((order for order in view.live if order.operation is not Operation.REVOKE), None)
    action = "resume" if live is not None else view.advice.operation.value if view.advice.operation else "none"
    reason = None if view.advice.reason is None else view.advice.reason.value
    return OverviewOut(
        server_time=epoch_ms(view.now),
        accounts=[
            AccountOut(row.number, account_label(row, lang_of(request)), row.number == chosen) for row in view.accounts
        ],
        certificate=None if view.present is None else certificate_out(view.present, view.now),
        recommended=AdviceOut(
            action, reason, " ".join(translate(said, lang) for said in (view.advice.why, view.swap) if said)
        ),
        open_order=None if live is None else OpenOrderOut(live.id, live.operation.value, live.state.value),
    )


@post("/orders", responses=PROBLEMS)
async def start(request: Req, data: JSONBody[StartBody]) -> Response[OrderOut]:
    """Open an order, or return the one that is open already for the same; another open one is named in `code`."""
    busy = services(request).load.refuses_applications()
    if busy is not None and data.operation is Operation.ENROL:
        raise Refused(busy)

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        snapshot = await services(request).ra.enrolment.start(
            authenticated.caller,
            data.operation,
            AccountNumber(data.account),
            data.key_home,
            data.reason,
            None if data.serial is None else Serial(data.serial),
            None if data.instead is None else OrderId(data.instead),
        )
        return _order(request, snapshot, 201, snapshot.order.nonce)

    return await once(request, do)


@get("/orders/{order_id:str}", responses=PROBLEMS)
async def show(request: Req, order_id: FromPath[str]) -> Response[OrderOut]:
    """Return an order as it counts now, with the names that its request has to carry."""
    authenticated = await enter(request, OrderId(order_id))
    web = services(request)
    view = order_view(web, await web.ra.customer_queries.snapshot(authenticated.caller, OrderId(order_id)))
    out = order_out(web, view, request.app.state.pages.translator, lang_of(request))
    return Response(named_out(web, view, out))


@post("/orders/{order_id:str}/nonce", status_code=200, responses=PROBLEMS)
async def nonce(request: Req, order_id: FromPath[str]) -> NonceOut:
    """Return a fresh nonce; the one before is dead."""
    authenticated = await enter(request, OrderId(order_id))
    fresh, life = await services(request).ra.enrolment.nonce(authenticated.caller, OrderId(order_id))
    return NonceOut(to_b64(fresh), int(life.total_seconds()), authenticated.session.login)


@post("/orders/{order_id:str}/credential", responses=PROBLEMS)
async def credential(request: Req, authenticated: Authenticated, order_id: FromPath[str]) -> CredentialOut:
    """Return a one-time credential with which a program sends the key of this order; the one before is dead."""
    web = services(request)
    made = await credential_for(web, authenticated.caller, OrderId(order_id))
    return CredentialOut(web.est_url, made.user, made.secret.reveal(), int(made.life.total_seconds()))


@put("/orders/{order_id:str}/key", responses=PROBLEMS)
async def put_key(request: Req, order_id: FromPath[str], data: JSONBody[KeyBody]) -> Response[OrderOut]:
    """Bind the customer's new key to the order."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        proof = None if data.proof is None else from_b64(data.proof, "proof")
        csr = from_b64(data.csr, "csr")
        return _order(
            request, await services(request).ra.rekey.bind_key(authenticated.caller, OrderId(order_id), csr, proof)
        )

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/possession", status_code=200, responses=PROBLEMS)
async def possession(request: Req, order_id: FromPath[str], data: JSONBody[PossessionBody]) -> Response[OrderOut]:
    """Show that this login holds the order's key, by its signature or its key words; earlier approvals are void."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        wanted = OrderId(order_id)
        if data.proof is None:
            words = data.key_words or ""
            return _order(request, await services(request).ra.possession.name(authenticated.caller, wanted, words))
        proof = from_b64(data.proof, "proof")
        return _order(request, await services(request).ra.possession.sign(authenticated.caller, wanted, proof))

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/challenges", responses=PROBLEMS)
async def challenge(request: Req, order_id: FromPath[str], data: JSONBody[ChannelBody]) -> Response[OrderOut]:
    """Have a code sent; an earlier one is dead."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        return _order(
            request,
            await services(request).ra.rekey.challenge(authenticated.caller, OrderId(order_id), data.channel),
            201,
        )

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/code", status_code=200, responses=PROBLEMS)
async def code(request: Req, order_id: FromPath[str], data: JSONBody[CodeBody]) -> Response[OrderOut]:
    """Check a code; a wrong one costs an attempt. After the right one the session has a new id.

    Where that answer was lost, the very same request with the old id gets it once more, for a minute.
    """
    wanted = OrderId(order_id)
    return await _stepping_up(
        request,
        wanted,
        lambda authenticated: services(request).ra.rekey.answer(authenticated.caller, wanted, data.code),
    )


@post("/orders/{order_id:str}/slip", status_code=200, responses=PROBLEMS)
async def slip(request: Req, order_id: FromPath[str], data: JSONBody[SlipBody]) -> Response[OrderOut]:
    """Check an approval slip in place of a code; a wrong one counts as a wrong code. For the rest as for a code."""
    wanted = OrderId(order_id)
    return await _stepping_up(
        request,
        wanted,
        lambda authenticated: services(request).ra.slips.answer(authenticated.caller, wanted, data.slip),
    )


async def _stepping_up(
    request: Req, order_id: OrderId, answered: Callable[[AuthenticatedRequest], Awaitable[OrderSnapshot]]
) -> Response[OrderOut]:
    """Give the session a new id after the right answer; where that answer was lost, once more for a minute."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        response = _order(request, await answered(authenticated))
        lost = None if authenticated.repeat is None else authenticated.repeat.digest
        stepped = await services(request).identity.sessions.step_up(authenticated.session, lost)
        set_session(request, response, stepped.token)
        set_known(request, response, stepped.known)
        return response

    try:
        return await once(request, do, order_id)
    except Refused as refused:
        if refused.refusal is not SIGN_IN_AGAIN:
            raise
        return await _answer_lost(request)


@post("/orders/{order_id:str}/birth-date", status_code=200, responses=PROBLEMS)
async def birth_date(request: Req, order_id: FromPath[str], data: JSONBody[BirthDateBody]) -> Response[OrderOut]:
    """Check the birth date, given as year, month and day of the ROC calendar."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        today = local_date(services(request).now())
        read = roc_date(data.year, data.month, data.day, before_roc=data.era == "before_roc", today=today)
        if isinstance(read, Refusal):
            raise Refused(read)
        return _order(
            request, await services(request).ra.rekey.birth_date(authenticated.caller, OrderId(order_id), read.value)
        )

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/confirm", status_code=200, responses=CONFIRMED | PROBLEMS)
async def confirm(request: Req, order_id: FromPath[str], data: JSONBody[ConfirmBody]) -> Response[OrderOut]:
    """Send the order: 201 issued, 202 the CA answers later, 200 revoked."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        web, wanted = services(request), OrderId(order_id)
        snapshot = await web.ra.customer_queries.snapshot(authenticated.caller, wanted)
        if snapshot.order.operation is Operation.REVOKE:
            await web.ra.revocation.confirm(authenticated.caller, wanted, data.consent)
            return _order(request, await web.ra.customer_queries.reread(authenticated.caller, wanted))
        snapshot = await web.ra.rekey.confirm(authenticated.caller, wanted, data.consent)
        issued = snapshot.order.state in {OrderState.ISSUED, OrderState.ACTIVE}
        return _order(request, snapshot, 201 if issued else 202)

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/prove", status_code=200, responses=PROBLEMS)
async def prove(request: Req, order_id: FromPath[str], data: JSONBody[ProveBody]) -> Response[OrderOut]:
    """Activate the certificate: its key has signed the server's challenge."""

    async def do(authenticated: AuthenticatedRequest) -> Response[OrderOut]:
        proof = from_b64(data.proof, "proof")
        return _order(
            request,
            await services(request).ra.rekey.prove(authenticated.caller, OrderId(order_id), proof, data.installed),
        )

    return await once(request, do, OrderId(order_id))


@post("/orders/{order_id:str}/cancel", status_code=200, responses=PROBLEMS)
async def cancel(request: Req, authenticated: Authenticated, order_id: FromPath[str]) -> Response[OrderOut]:
    """End an order that was not sent yet, or whose certificate was not proved."""
    order = await services(request).ra.enrolment.cancel(authenticated.caller, OrderId(order_id))
    return _order(request, await services(request).ra.customer_queries.reread(authenticated.caller, order.id))


@post("/orders/{order_id:str}/dispute", status_code=200, responses=PROBLEMS)
async def dispute(
    request: Req, authenticated: Authenticated, order_id: FromPath[str], data: JSONBody[ChannelBody]
) -> Response[OrderOut]:
    """Say that a contact is not the customer's: the order ends and the contact is stopped; once a day."""
    order = await services(request).ra.enrolment.dispute(authenticated.caller, OrderId(order_id), data.channel)
    return _order(request, await services(request).ra.customer_queries.reread(authenticated.caller, order.id))


@get("/certificates", responses=PROBLEMS)
async def certificates(request: Req, authenticated: Authenticated) -> list[CertificateOut]:
    """Return the customer's certificates, newest first."""
    now = services(request).now()
    return [
        certificate_out(held, now)
        for held in await services(request).ra.customer_queries.holdings(authenticated.caller)
    ]


@get("/certificates/{serial:str}", responses=PROBLEMS)
async def certificate(request: Req, authenticated: Authenticated, serial: FromPath[str]) -> CertificateOut:
    """Return one certificate of the customer with its chain."""
    found = await services(request).ra.customer_queries.holding(authenticated.caller, Serial(serial))
    if found is None:
        raise Refused(Refusal(Kind.NOT_FOUND, text("You have no such certificate."), field="serial", code="serial"))
    return certificate_out(found, services(request).now(), whole=True, pem=True)


@post("/launches", opt={"exclude_from_csrf": True}, responses=PROBLEMS)
async def launch(request: Req, data: JSONBody[LaunchBody]) -> LaunchOut:
    """Return a one-time address for a customer whom the calling program has signed in (client credential, Basic)."""
    web = services(request)
    customer = parse_customer_number(data.customer)
    asked_for = CustomerId("") if isinstance(customer, Refusal) else customer
    client = await web.identity.launches.authenticate(*basic_of(request), asked_for, network_of(address_of(request)))
    if isinstance(customer, Refusal):
        raise Refused(replace(customer, field="customer"))
    known = {factor.value for factor in FactorClass}
    if not data.factors or any(factor not in known for factor in data.factors):
        said = text("Say which factor classes the login used: %(known)s.", known=", ".join(sorted(known)))
        raise Refused(Refusal(Kind.MALFORMED, said, field="factors", code="factors"))
    factors = frozenset(FactorClass(factor) for factor in data.factors)
    ticket = await web.identity.launches.create(client, customer, AccountNumber(data.account), factors, data.wanted)
    return LaunchOut(f"{web.portal_url}/launch#t={ticket.reveal()}", 60)


def basic_of(request: AnyRequest) -> tuple[str, Secret]:
    """Return client id and secret of a Basic authorization (RFC 7617); empty ones when there is none."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", Secret("")
    try:
        client, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError, ValueError):
        return "", Secret("")
    return client, Secret(secret)


ROUTER = Router(
    "/api/v1",
    route_handlers=[
        status,
        overview,
        start,
        show,
        nonce,
        credential,
        put_key,
        possession,
        challenge,
        code,
        slip,
        birth_date,
        confirm,
        prove,
        cancel,
        dispute,
        certificates,
        certificate,
        launch,
    ],
)

__all__ = ["ROUTER", "ProblemBody"]
