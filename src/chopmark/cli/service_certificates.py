"""The certificates of our OCSP responders and time-stamp authority: listed, and one of them revoked."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal

from chopmark.cli.ca import ca_app
from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Serial, text

if TYPE_CHECKING:
    from chopmark.app.services import Services
    from chopmark.app.settings import Settings
    from chopmark.keys.ports import Signer
    from chopmark.va.service_revocation import Service, ServiceRevocation


@ca_app.command(name="services")
def ca_services() -> int:
    """List the certificates of our OCSP responders and time-stamp authority, and those that were revoked."""
    return run(list_services(configured()))


@ca_app.command(name="revoke")
def ca_revoke(
    serial: str,
    *,
    by: str,
    approved_by: str,
    reason: Literal["keyCompromise", "superseded", "cessationOfOperation"] = "keyCompromise",
) -> int:
    """Revoke the certificate of an OCSP responder or of the time-stamp authority; a successor takes over at once.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal, as `chopmark ca services` lists it.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    reason:
        The reason that the world is told.
    """
    return run(revoke_service(configured(), serial, reason, by, approved_by))


REASONS = {
    "keyCompromise": "key_compromise",
    "superseded": "superseded",
    "cessationOfOperation": "cessation_of_operation",
}
"""RFC 5280 s.5.3.1, as the CA calls it."""


async def services_of(services: Services) -> list[Service]:
    """Return the services that answer now: a responder for each living CA, and the time-stamp authority."""
    from chopmark.app.issuing_cas import living
    from chopmark.va.service_revocation import Service, ServiceKind

    found = []
    for ca in living(services.ca.cas, services.foundation.clock.now()):
        issuer, renewal = ca.authority.view.id, ca.renewal
        certificate = await services.va.status.responder_certificate(issuer)
        if certificate is not None:
            certified = partial(renewal.certified, certificate)
            found.append(Service(ServiceKind.RESPONDER, issuer, certificate, renewal.stream, certified))
    stamps = services.va.stamps
    certificate = None if stamps.authority is None else await stamps.authority.certificate()
    if certificate is not None and stamps.keys is not None:
        issuer, keys = services.ca.authority.view.id, stamps.keys
        found.append(Service(ServiceKind.TIMESTAMP, issuer, certificate, keys.stream, keys.certified))
    return found


def service_revocation_of(services: Services) -> ServiceRevocation:
    """Return what revokes; a successor's key is made where the CA's keys are made, and is of the same kind."""
    from chopmark.pki import signing
    from chopmark.pki.x509 import spki_der
    from chopmark.store.repositories.va.services import ServiceCertificateRepository
    from chopmark.va.service_revocation import ServiceKind, ServiceRevocation

    settings, keyring = services.foundation.settings, services.foundation.keyring

    def new_key(service: Service, number: int) -> tuple[Signer, bytes]:
        label = "ocsp" if service.kind is ServiceKind.RESPONDER else "tsa"
        algorithm = signing.kind_of(signing.public_key(spki_der(service.certificate)))
        if settings.signer == "pkcs11":
            return keyring.hold(f"chopmark-{service.issuer}-{label}-{number}", algorithm)
        return keyring.make(algorithm, services.foundation.entropy.token(32))

    return ServiceRevocation(
        ServiceCertificateRepository(services.foundation.engine),
        new_key,
        services.foundation.audit_log,
        services.foundation.clock,
    )


async def list_services(settings: Settings) -> int:
    """Print the services' certificates, a line each, and those that were revoked."""
    from chopmark.pki.x509 import not_after

    async with looking(settings) as services:
        for service in await services_of(services):
            until = not_after(service.certificate)
            say(f"{service.serial}  {service.kind} of {service.issuer}  until {until:%Y-%m-%d}")
        for gone in await service_revocation_of(services).withdrawn():
            say(f"{gone.serial}  {gone.kind} of {gone.issuer}  revoked on {gone.at:%Y-%m-%d %H:%M} UTC: {gone.reason}")
    return 0


async def revoke_service(settings: Settings, written: str, reason: str, by: str, approved_by: str) -> int:
    """Revoke a service's certificate; its successor is in place, and its issuer's list names it, when this returns.

    Raises Refused: NOT_FOUND for a serial that is no service's, CONFLICT for one that is revoked or was replaced,
    MALFORMED and FORBIDDEN for what are no two people (I32).
    """
    from chopmark.pki.x509 import serial_of
    from chopmark.ra.refusals import two_people

    serial = Serial(re.sub(r"[: ]", "", written).upper())
    async with at_console(settings) as services:
        await two_people(services.ra.context, by, approved_by, "service_revocation")
        service_revocation = service_revocation_of(services)
        if any(gone.serial == serial for gone in await service_revocation.withdrawn()):
            raise Refused(_GONE)
        service = next((one for one in await services_of(services) if one.serial == serial), None)
        if service is None:
            raise Refused(_NO_SERVICE)
        made = await service_revocation.withdraw(service, REASONS[reason], by, approved_by)
        if made is None:
            raise Refused(_GONE)
        for ca in services.ca.cas:
            if ca.authority.view.id == service.issuer:
                await ca.publisher.publish_due()
    say(f"{serial} is revoked and on the list of {service.issuer}.")
    say(f"{serial_of(made)} is its successor, with a key of its own; every process takes it over within a minute.")
    return 0


_NO_SERVICE = Refusal(
    Kind.NOT_FOUND,
    text("This is the serial number of none of our services. `chopmark ca services` lists them."),
    field="serial",
    code="no_service",
)


_GONE = Refusal(
    Kind.CONFLICT,
    text("This certificate was revoked or replaced already. `chopmark ca services` lists what is in force."),
    field="serial",
    code="gone",
)
