"""The steps of a journey by the verbs of the RA, in this process."""

from datetime import date

from chopmark.app.services import Services
from chopmark.core.types import Channel, Operation, OrderState, Serial
from chopmark.demo.journey import Seen, Wanted
from chopmark.ra.context import Caller
from chopmark.ra.model import Order
from chopmark.ra.ports import SubscriberCertificate


class Verbs:
    """Implements `demo.journey.Transport`."""

    def __init__(self, services: Services, caller: Caller) -> None:
        self._services = services
        self._caller = caller
        self._order: Order | None = None
        self._certificate: bytes | None = None
        self._old: SubscriberCertificate | None = None

    @property
    def order(self) -> Order:
        """The order after the last step."""
        if self._order is None:
            raise ValueError("no order was opened")
        return self._order

    @property
    def seen(self) -> Seen:
        """As `Transport.seen`."""
        order = self.order
        asks = order.state is OrderState.CODE_VERIFIED and order.birth_date_asked
        return Seen(
            order.id,
            self._services.foundation.portal,
            asks,
            self._services.ra.rekey.consent(order, self._old).sha256,
            self._certificate,
            None if self._old is None else self._old.der,
        )

    async def start(self, wanted: Wanted) -> None:
        """As `Transport.start`."""
        begin = self._services.ra.enrolment.start
        asked = wanted.operation, wanted.account, wanted.home, wanted.reason, wanted.serial
        self._order = (await begin(self._caller, *asked)).order
        self._old = await self._held(self._order.old_serial)

    async def nonce(self) -> bytes:
        """As `Transport.nonce`."""
        return (await self._services.ra.enrolment.nonce(self._caller, self.order.id))[0]

    async def bind(self, csr: bytes, proof: bytes | None) -> None:
        """As `Transport.bind`."""
        self._order = (await self._services.ra.rekey.bind_key(self._caller, self.order.id, csr, proof)).order

    async def challenge(self, channel: Channel) -> None:
        """As `Transport.challenge`."""
        await self._services.ra.rekey.challenge(self._caller, self.order.id, channel)

    async def answer(self, code: str) -> None:
        """As `Transport.answer`."""
        self._order = (await self._services.ra.rekey.answer(self._caller, self.order.id, code)).order

    async def birth_date(self, day: date) -> None:
        """As `Transport.birth_date`."""
        self._order = (await self._services.ra.rekey.birth_date(self._caller, self.order.id, day)).order

    async def confirm(self, consent: str) -> None:
        """As `Transport.confirm`."""
        services, order = self._services, self.order
        if order.operation is Operation.REVOKE:
            self._order = await services.ra.revocation.confirm(self._caller, order.id, consent)
            return
        self._order = (await services.ra.rekey.confirm(self._caller, order.id, consent)).order
        issued = await self._held(self._order.serial)
        self._certificate = None if issued is None else issued.der

    async def prove(self, proof: bytes) -> None:
        """As `Transport.prove`."""
        self._order = (await self._services.ra.rekey.prove(self._caller, self.order.id, proof)).order

    async def _held(self, serial: Serial | None) -> SubscriberCertificate | None:
        return None if serial is None else await self._services.ra.customer_queries.certificate(self._caller, serial)
