"""The API of orders: each handler calls one RA verb; no rule is decided here."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, Router, get, post, put
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody

from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import AccountNumber, Operation, OrderId, OrderState, Serial
from chopmark.identity.sessions import SIGN_IN_AGAIN
from chopmark.ra.authentication import AuthenticatedRequest
from chopmark.ra.snapshots import OrderSnapshot
from chopmark.tw.roc import roc_date
from chopmark.tw.zone import local_date
from chopmark.web.api.once import answer_lost, once
from chopmark.web.api.presenters import named_out, order_out, order_url
from chopmark.web.api.wire import (
    BirthDateBody,
    ChannelBody,
    CodeBody,
    ConfirmBody,
    CredentialOut,
    KeyBody,
    NonceOut,
    OrderOut,
    PossessionBody,
    ProveBody,
    SlipBody,
    StartBody,
    from_b64,
    to_b64,
)
from chopmark.web.pages.frames import lang_of
from chopmark.web.presenters import credential_for, order_view
from chopmark.web.problems import PROBLEMS
from chopmark.web.session import Authenticated, enter, set_known, set_session
from chopmark.web.state import AnyRequest, address_of, services

Req = Request[Any, Any, Any]
T = TypeVar("T", bound=msgspec.Struct)
CONFIRMED = {
    201: ResponseSpec(OrderOut, generate_examples=False, description="Issued"),
    202: ResponseSpec(OrderOut, generate_examples=False, description="The CA answers later"),
}


def _order(
    request: AnyRequest, snapshot: OrderSnapshot, status: int = 200, nonce: bytes | None = None
) -> Response[OrderOut]:
    web = services(request)
    out = order_out(web, order_view(web, snapshot), request.app.state.pages.translator, lang_of(request), nonce)
    headers = {"Location": order_url(web, snapshot.order.id)} if status == 201 else {}
    return Response(out, status_code=status, headers=headers)


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
            await services(request).ra.rekey.challenge(
                authenticated.caller, OrderId(order_id), data.channel, address_of(request)
            ),
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
        return await answer_lost(request)


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


ROUTER = Router(
    "/api/v1",
    route_handlers=[
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
    ],
)
