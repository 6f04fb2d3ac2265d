"""The CA's repository: its certificates, fingerprints and revocation lists, for relying parties."""

import hashlib
import ssl
from typing import Any

from cryptography import x509
from litestar import Request, Response, Router, get
from litestar.params import FromPath

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.web.pages.frames import frame_of, html
from chopmark.web.pages.views import (
    AuthorityView,
    CrlView,
    RepositoryPage,
)
from chopmark.web.state import services

Req = Request[Any, Any, Any]


@get("/repository")
async def repository(request: Req) -> Response[str]:
    """Show CA certificates, fingerprints and revocation lists."""
    web = services(request)
    shown = []
    for authority in web.publication.authorities:
        certificate = x509.load_der_x509_certificate(authority.certificate)
        crls = []
        for shard in range(authority.shards):
            crl = await web.publication.crl(authority.id, shard)
            if crl is not None:
                href = f"/pki/{authority.id}-{shard}.crl"
                crls.append(CrlView(href, crl.number, crl.this_update, crl.next_update))
        shown.append(
            AuthorityView(
                authority.title,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
                _pairs(hashlib.sha256(authority.certificate).hexdigest()),
                f"/pki/{authority.id}.cer",
                f"/repository/{authority.id}.pem",
                tuple(crls),
            )
        )
    return html(request, RepositoryPage(frame_of(request), tuple(shown)))


def _pairs(hexadecimal: str) -> str:
    return ":".join(hexadecimal[at : at + 2] for at in range(0, len(hexadecimal), 2)).upper()


@get("/repository/{name:str}")
async def repository_pem(request: Req, name: FromPath[str]) -> Response[str]:
    """Return a CA certificate as PEM."""
    for authority in services(request).publication.authorities:
        if name == f"{authority.id}.pem":
            return Response(
                ssl.DER_cert_to_PEM_cert(authority.certificate), media_type="application/x-pem-file", status_code=200
            )
    raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))


ROUTER = Router(
    "/",
    include_in_schema=False,
    route_handlers=[repository, repository_pem],
)
