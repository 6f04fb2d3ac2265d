"""The web application: routes, headers, limits, and the status services in front of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.web import problems
from chopmark.web.api import customer, delivery_reports, launches, orders
from chopmark.web.asgi.load import Counted, busy_of
from chopmark.web.backoffice import changes, expiries
from chopmark.web.brand import brand_css
from chopmark.web.i18n import Translator, load_catalogues
from chopmark.web.pages.prepared import PreparedPages
from chopmark.web.pages.views import Assets
from chopmark.web.portal import demo, order_pages, reminders, repository, stop
from chopmark.web.portal import pages as portal_pages
from chopmark.web.publication.status import Publication
from chopmark.web.services import WebServices
from chopmark.web.session import KNOWN, authenticated_request, cookie_called
from chopmark.web.state import AnyRequest, services

MAX_BODY = 64 * 1024
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
_PAGES_FILES = ("/static/", "/brand.css")
_FILE = re.compile(r"(?:[A-Za-z0-9_-]{1,60}/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", re.ASCII)
"""Names of the package's files: a folder has no dot, and none begins with one."""
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OPEN = ("/launch", "/api/v1/launches", "/static/", "/brand.css")
"""Paths that a busy process still serves without sign-in: launches by the trading program, and files of pages."""


def static_folder() -> Path:
    """Return the folder of static files within the package."""
    return Path(str(resources.files("chopmark.web") / "static"))


def assets() -> Assets:
    """Return the built files' addresses from Vite's manifest; raises FileNotFoundError before the first build."""
    manifest = json.loads((static_folder() / "build" / "manifest.json").read_text(encoding="utf-8"))
    built = {name: f"/static/build/{entry['file']}" for name, entry in manifest.items()}
    return Assets(built["src/main.ts"], built["src/styles/main.scss"])


@get("/brand.css", media_type=MediaType.CSS, include_in_schema=False, sync_to_thread=False)
def brand_stylesheet(request: Request[Any, Any, Any]) -> str:
    """Return the firm's colours."""
    return brand_css(services(request).brand)


@get("/openapi.json", media_type=MediaType.JSON, include_in_schema=False, sync_to_thread=False)
def openapi_document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return request.app.openapi_schema.to_schema()


async def let_in(request: AnyRequest) -> None:
    """Refuse a request that cannot be served now, or that another site's page has sent.

    It awaits nothing, but the framework would run a plain function in a thread. While the counter stands still after a
    restore, nothing but the files of its pages is served.
    """
    if not request.scope["path"].startswith(_PAGES_FILES):
        services(request).require_whole()
    if (busy := busy_of(request.scope)) is not None:
        raise Refused(busy)
    same_origin(request)


async def let_in_for_a_file(request: AnyRequest) -> None:
    """Refuse a request for a name that no file of the package has, before the file system is asked and fails."""
    await let_in(request)
    if not _FILE.fullmatch(request.scope["path"].removeprefix("/static/")):
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))


def knows(web: WebServices) -> Callable[[Scope], bool]:
    """Return what tells whether a request says that its customer has signed in, here or at the trading program.

    Or asks for a file of a page. It trusts the cookies without looking them up, because a look-up would cost too much
    here.
    """
    named = tuple(b"%s=" % cookie_called(name, https=web.https).encode() for name in ("chopmark", KNOWN))

    def known(scope: Scope) -> bool:
        if scope["path"].startswith(_OPEN):
            return True
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        return any(name in value for value in cookies for name in named)

    return known


def same_origin(request: AnyRequest) -> None:
    """Refuse a change that another site's page asks for (I23); a program without an Origin is not a page."""
    if request.method not in _UNSAFE:
        return
    origin = request.headers.get("origin")
    web = services(request)
    ours = {web.portal_url}
    if web.demo_mode:
        ours.add(f"{request.scope['scheme']}://{request.headers.get('host', '')}")
    if origin is not None and origin not in ours:
        raise Refused(Refusal(Kind.FORBIDDEN, text("This request came from another site."), code="origin"))


class Secured:
    """The portal with security headers on every answer, errors included; what says nothing else is never stored.

    It stands outside the framework, whose hooks see no answer that an exception handler made.
    """

    def __init__(self, portal: ASGIApp, *, https: bool) -> None:
        self._portal = portal
        named = {**SECURITY_HEADERS, "Cache-Control": "no-store", **(HTTPS_HEADERS if https else {})}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                added = [header for header in self._headers if header[0] not in said]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._portal(scope, receive, send_secured)


class Headed:
    """The portal with HEAD on every page that GET has: the same status and headers, and no body (RFC 9110 s.9.3.2)."""

    def __init__(self, portal: ASGIApp) -> None:
        self._portal = portal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD":
            await self._portal({**scope, "method": "GET"}, receive, send_head)
        else:
            await self._portal(scope, receive, send)


def cached(response: Response[Any]) -> Response[Any]:
    """Let a file of the package be cached for an hour."""
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@dataclass(frozen=True, slots=True)
class Built:
    """The application, and the framework's part of it."""

    asgi: ASGIApp
    portal: Litestar


@cache
def _pages() -> PreparedPages:
    """Return what turns pages into HTML: the same for every application of a process."""
    return PreparedPages(Translator(load_catalogues()))


def create(web: WebServices) -> Built:
    """Return the ASGI application."""
    portal = framework(web)
    return Built(in_front(web, portal), portal)


def in_front(web: WebServices, portal: Litestar) -> ASGIApp:
    """Return the application: the status services and the headers stand in front of the framework."""
    return Publication(web, Counted(web.load, Headed(Secured(portal, https=web.https)), knows(web)))


def framework(web: WebServices) -> Litestar:
    """Return the framework's part: routes, dependencies, what becomes of an error."""
    static = create_static_files_router(
        path="/static",
        directories=[static_folder()],
        include_in_schema=False,
        before_request=let_in_for_a_file,
        after_request=cached,
    )
    return Litestar(
        route_handlers=[
            customer.ROUTER,
            orders.ROUTER,
            launches.ROUTER,
            order_pages.ROUTER,
            portal_pages.ROUTER,
            stop.ROUTER,
            reminders.ROUTER,
            repository.ROUTER,
            demo.ROUTER,
            delivery_reports.ROUTER,
            changes.ROUTER,
            expiries.ROUTER,
            brand_stylesheet,
            openapi_document,
            static,
        ],
        dependencies={"authenticated": Provide(authenticated_request)},
        exception_handlers={
            Refused: problems.refused,
            HTTPException: problems.http_error,
            RecursionError: problems.too_deep,
            UnicodeDecodeError: problems.not_utf8,
            Exception: problems.unexpected,
        },
        before_request=let_in,
        csrf_config=CSRFConfig(
            secret=web.csrf_secret.reveal(),
            cookie_name="__Host-csrf" if web.https else "csrf",
            cookie_secure=web.https,
            cookie_httponly=True,
            cookie_samesite="lax",
        ),
        openapi_config=OpenAPIConfig(
            title="Chopmark",
            version="1",
            description="The certificate counter. Problems are RFC 9457; bytes are base64url, moments epoch ms.",
            path="/api/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        request_max_body_size=MAX_BODY,
        state=State({"services": web, "pages": _pages(), "assets": assets()}),
        logging_config=None,
        debug=False,
    )
