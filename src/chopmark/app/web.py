"""What the web is given: the portal with its API and publication, and the EST interface."""

from chopmark.app.external_ca import anchors_of, published
from chopmark.app.issuing_cas import roots, title
from chopmark.app.readiness import checks
from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.ca.shipped import profile_named
from chopmark.core.types import IssuerId, Secret
from chopmark.pki import est
from chopmark.va.ports import Crl
from chopmark.web.asgi.client_address import EVERYWHERE, ClientAddresses, read_networks
from chopmark.web.asgi.health import Health
from chopmark.web.asgi.load import Load
from chopmark.web.est.client_certificate import from_proxy, from_tls
from chopmark.web.est.service import Est, EstServices
from chopmark.web.i18n import Translator, load_catalogues
from chopmark.web.services import Demo, PublicationServices, PublishedCa, WebServices


def addresses_of(settings: Settings) -> ClientAddresses:
    """Return how clients' addresses are found; the former setting trusted the header from every address."""
    if settings.client_address_header:
        return ClientAddresses(settings.client_address_header, EVERYWHERE)
    if settings.proxy.in_front != "yes":
        return ClientAddresses()
    return ClientAddresses(settings.proxy.header, read_networks(settings.proxy.networks), settings.proxy.hops)


def web_services(services: Services, demo: Demo | None = None) -> WebServices:
    """Return what the web is given."""
    foundation = services.foundation
    settings = foundation.settings
    return WebServices(
        brand=foundation.brand,
        policy=foundation.policy,
        portal=foundation.portal,
        portal_url=settings.portal_url,
        demo_mode=settings.mode == "demo",
        csrf_secret=Secret(settings.csrf_key.get_secret_value()),
        addresses=addresses_of(settings),
        est_url=settings.est.url,
        issuer_title=services.ca.certifier.name,
        clock=foundation.clock,
        entropy=foundation.entropy,
        identity=services.identity,
        ra=services.ra,
        publication=publication_services(services),
        checks=checks(services),
        require_whole=foundation.restorewatch.require_whole,
        load=Load(settings.limits.requests, settings.limits.status_requests),
        reports=services.messaging.reports,
        demo=demo,
    )


def publication_services(services: Services) -> PublicationServices:
    """Return the status services for relying parties; for another CA only its certificates are published."""
    cas = services.ca.cas
    other = [PublishedCa(one, called, der, 0) for one, called, der in published(services.foundation.settings)]
    issuing = [
        PublishedCa(ca.authority.view.id, title(ca), ca.authority.view.certificate_der, ca.publisher.shards)
        for ca in cas
    ]
    above = [PublishedCa(root, name, certificate, 1) for root, name, certificate in roots(cas)]

    async def crl(issuer: str, shard: int) -> Crl | None:
        return await services.va.status.crl(IssuerId(issuer), shard)

    return PublicationServices(
        responders={ca.authority.view.id: ca.responder for ca in cas},
        timestamps=services.va.stamps.authority,
        authorities=(*other, *issuing, *above),
        crl=crl,
    )


def ca_certificates(services: Services) -> tuple[bytes, ...]:
    """Return the certificates, DER, of all issuing CAs, those that issue no more included, and then of their roots.

    Another CA that certifies here comes first.
    """
    other = (
        None
        if services.foundation.settings.external_ca.protocol == "none"
        else anchors_of(services.foundation.settings)
    )
    issuing = [ca.authority.view.certificate_der for ca in services.ca.cas]
    above = [certificate for _, _, certificate in roots(services.ca.cas)]
    return tuple(dict.fromkeys([*(() if other is None else (*other.between, *other.roots)), *issuing, *above]))


def est_interface(services: Services) -> Est:
    """Return the EST interface: behind a proxy when it has a socket, else ending TLS itself."""
    profile = profile_named(services.foundation.settings.profile)
    return Est(
        EstServices(
            program=services.ra.program,
            label=profile.name,
            certificates=ca_certificates(services),
            attributes=est.csr_attributes(profile),
            translator=Translator(load_catalogues()),
            certificate_of=from_tls if services.foundation.settings.est.socket is None else from_proxy,
            health=Health(checks(services), services.foundation.clock),
            require_whole=services.foundation.restorewatch.require_whole,
            load=Load(
                services.foundation.settings.limits.requests, services.foundation.settings.limits.status_requests
            ),
        )
    )
