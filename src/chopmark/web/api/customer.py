"""What a signed-in customer may read: overview and certificates; and the server's time, for everybody."""

from typing import Any

from litestar import Request, Router, get
from litestar.params import FromPath, FromQuery

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Operation, Serial, text
from chopmark.web.api.presenters import certificate_out
from chopmark.web.api.wire import AccountOut, AdviceOut, CertificateOut, OpenOrderOut, OverviewOut, StatusOut
from chopmark.web.pages.frames import lang_of
from chopmark.web.presenters import account_label, epoch_ms, former_name
from chopmark.web.problems import PROBLEMS
from chopmark.web.session import Authenticated
from chopmark.web.state import services

Req = Request[Any, Any, Any]


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
        certificate=None
        if view.present is None
        else certificate_out(view.present, view.now, issuer=former_name(web, view.present, lang)),
        recommended=AdviceOut(
            action, reason, " ".join(translate(said, lang) for said in (view.advice.why, view.swap) if said)
        ),
        open_order=None if live is None else OpenOrderOut(live.id, live.operation.value, live.state.value),
    )


@get("/certificates", responses=PROBLEMS)
async def certificates(request: Req, authenticated: Authenticated) -> list[CertificateOut]:
    """Return the customer's certificates, newest first."""
    web, lang = services(request), lang_of(request)
    return [
        certificate_out(held, web.now(), issuer=former_name(web, held, lang))
        for held in await web.ra.customer_queries.certificates(authenticated.caller)
    ]


@get("/certificates/{serial:str}", responses=PROBLEMS)
async def certificate(request: Req, authenticated: Authenticated, serial: FromPath[str]) -> CertificateOut:
    """Return one certificate of the customer with its chain."""
    found = await services(request).ra.customer_queries.certificate(authenticated.caller, Serial(serial))
    if found is None:
        raise Refused(Refusal(Kind.NOT_FOUND, text("You have no such certificate."), field="serial", code="serial"))
    web = services(request)
    named = former_name(web, found, lang_of(request))
    return certificate_out(found, web.now(), whole=True, pem=True, issuer=named)


ROUTER = Router("/api/v1", route_handlers=[status, overview, certificates, certificate])
