"""What surrounds every page: language, menu, greeting, form token."""

from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode

from litestar.enums import MediaType
from litestar.response import Response
from litestar.utils.scope.state import ScopeState

from chopmark.core.types import Text
from chopmark.web.brand import ServiceKey
from chopmark.web.i18n import Lang, negotiate
from chopmark.web.pages.render import Page
from chopmark.web.pages.views import Frame, language_links, menu
from chopmark.web.state import AnyRequest, services

LANG_COOKIE = "lang"
AGAIN = "/again"
FORM_AT = {"/sign-out": "/home", "/launch/refuse": "/launch/confirm", "/demo/launch": "/demo"}
"""Addresses that only take a form, and the page that is opened instead."""


def lang_of(request: AnyRequest) -> Lang:
    """Return the language of the query, else of the cookie, else of the browser, else Chinese."""
    query = request.query_params.get("lang")
    return negotiate(query, request.cookies.get(LANG_COOKIE), request.headers.get("accept-language"))


def _csrf_token(request: AnyRequest) -> str:
    token = ScopeState.from_scope(cast("Any", request.scope)).csrf_token
    return token if isinstance(token, str) else ""


def local_path(path: str) -> str:
    """Return a path as a link within this portal: `//host/…`, which browsers take for another site, gets one slash."""
    return quote("/" + path.lstrip("/\\"), safe="/-._~!$&'()*+,;=:@")


def again(path: str) -> str:
    """Return where the answer to a form stands so that loading it again opens this page and sends nothing.

    Chromium and Firefox ask for the shown address by GET. WebKit sends the form to it once more, so that it has to be
    an address that does nothing with a form.
    """
    return f"{AGAIN}?{urlencode({'to': path})}"


def frame_of(
    request: AnyRequest,
    *,
    greeting: str | None = None,
    service: ServiceKey | None = None,
    href: str = "",
    notice: Text | None = None,
) -> Frame:
    """Return the frame of a page; if a greeting is given, with the menu of a signed-in customer."""
    web, lang = services(request), lang_of(request)
    kept = [(name, value) for name, value in parse_qsl(request.url.query) if name != "lang"]
    path = local_path(request.scope["path"]) + (f"?{urlencode(kept)}" if kept else "")
    return Frame(
        brand=web.brand,
        lang=lang,
        languages=language_links(path, lang),
        assets=request.app.state.assets,
        csrf_token=_csrf_token(request),
        portal_id=web.portal,
        server_time=web.now(),
        menu=menu(web.brand, service, href) if greeting is not None else (),
        greeting=greeting,
        demo=web.demo is not None,
        notice=notice,
        again=again(FORM_AT.get(request.scope["path"], path)) if request.method == "POST" else "",
    )


def html(request: AnyRequest, page: Page, status: int = 200) -> Response[str]:
    """Return a rendered page. If the address asks for a language, a cookie keeps it for the next pages."""
    response = Response(request.app.state.pages.render(page), status_code=status, media_type=MediaType.HTML)
    if request.query_params.get("lang") in {lang.value for lang in Lang}:
        response.set_cookie(
            LANG_COOKIE, page.frame.lang.value, max_age=31_536_000, samesite="lax", secure=services(request).https
        )
    return response
