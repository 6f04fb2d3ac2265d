"""The page on which the receiver of a message stops a replacement with the code in it: no sign-in, no script."""

from litestar import Response, Router, get, post

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.identity.sessions import network_of
from chopmark.ra.stopping import Stopped
from chopmark.web.pages.frames import frame_of, html
from chopmark.web.pages.views import Problem, StopPage, StoppedPage
from chopmark.web.portal.pages import Req, form_field
from chopmark.web.problems import STATUS
from chopmark.web.state import address_of, services


@get("/stop")
async def stop_page(request: Req) -> Response[str]:
    """Ask for the code of the message."""
    return html(request, StopPage(frame_of(request)))


@post("/stop", status_code=200)
async def stop(request: Req) -> Response[str]:
    """Stop the replacement that the code belongs to. All codes that stop nothing get the same answer."""
    typed = await form_field(request, "reference")
    if not typed.strip():
        return _again(request, Refusal(Kind.MALFORMED, text("Please enter the code of the message."), "reference"))
    try:
        done = await services(request).ra.stopping.stop(typed, network_of(address_of(request)))
    except Refused as refused:
        return _again(request, refused.refusal)
    return html(request, StoppedPage(frame_of(request), on_hold=done is Stopped.CERTIFICATE))


def _again(request: Req, refusal: Refusal) -> Response[str]:
    """Return the form again with the problem, without the text that was typed."""
    page = StopPage(frame_of(request), Problem(refusal.public, refusal.field))
    response = html(request, page, STATUS[refusal.kind])
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


ROUTER = Router("/", include_in_schema=False, route_handlers=[stop_page, stop])
