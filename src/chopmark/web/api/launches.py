"""POST /launches: a program that has signed a customer in asks for an address to open."""

from dataclasses import replace
from typing import Any

from litestar import Request, Router, post
from litestar.params import JSONBody

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, text
from chopmark.identity.sessions import network_of
from chopmark.tw.customer_number import parse_customer_number
from chopmark.web.api.wire import LaunchBody, LaunchOut
from chopmark.web.basic import basic_of
from chopmark.web.problems import PROBLEMS
from chopmark.web.state import address_of, services

Req = Request[Any, Any, Any]


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


ROUTER = Router("/api/v1", route_handlers=[launch])
