"""One customer's way from the order to the proved certificate, through the verbs or over HTTP.

The demo plays its past with it, tests and benches their customers. `Journey` is the customer with the key, and a
`Transport` takes the steps. `HttpTransport` knows the requests of the API, and whoever derives from it sends them;
`demo.verbs` calls the verbs of the RA in this process.
"""

from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from chopmark.client.signing import ClientKey
from chopmark.core.types import AccountNumber, Channel, KeyHome, Operation, OrderId, Reason, Serial


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an order is for."""

    operation: Operation
    account: AccountNumber
    home: KeyHome = KeyHome.FILE
    reason: Reason | None = None
    serial: Serial | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as its customer sees it after a step."""

    id: OrderId
    portal: str
    asks_birth_date: bool
    consent: str
    """The digest of the terms to agree to, empty before the review."""
    certificate: bytes | None = None
    old_certificate: bytes | None = None
    """The certificate that a renewal replaces, DER."""
    nonce: bytes | None = None


class Transport(Protocol):
    """Takes the steps of one order. Each step raises what its side of the interface raises for a refusal."""

    @property
    def seen(self) -> Seen:
        """The order after the last step."""
        ...

    async def start(self, wanted: Wanted) -> None:
        """Open the order."""
        ...

    async def nonce(self) -> bytes:
        """Return a new nonce to be signed."""
        ...

    async def bind(self, csr: bytes, proof: bytes | None) -> None:
        """Bind the key of a request, with the old key's proof where there is one."""
        ...

    async def challenge(self, channel: Channel) -> None:
        """Have a code sent."""
        ...

    async def answer(self, code: str) -> None:
        """Give the code."""
        ...

    async def birth_date(self, day: date) -> None:
        """Give the birth date."""
        ...

    async def confirm(self, consent: str) -> None:
        """Agree to the terms: the certificate is issued, or revoked."""
        ...

    async def prove(self, proof: bytes) -> None:
        """Show that the new key works."""
        ...


@dataclass
class Journey:
    """A customer with a new key. `expect()` is called before a code is sent; what it returns waits for the code."""

    transport: Transport
    now: Callable[[], datetime]
    expect: Callable[[], Callable[[], Awaitable[str]]]
    key: ClientKey
    csr: bytes
    birth: date | None = None
    old_key: ClientKey | None = None

    async def to_review(self, wanted: Wanted, channel: Channel) -> None:
        """Open the order, bind the key, give the code, and the birth date where it is asked."""
        await self.transport.start(wanted)
        await self.bind()
        await self.code(channel)
        if self.transport.seen.asks_birth_date:
            if self.birth is None:
                raise ValueError("a birth date is asked of a customer who has none")
            await self.transport.birth_date(self.birth)

    async def bind(self) -> None:
        """Bind the new key; a renewal proves the old one."""
        proof = None
        if self.old_key is not None:
            nonce = self.transport.seen.nonce or await self.transport.nonce()
            proof = self._signed(self.old_key, self.transport.seen.old_certificate, nonce, "rekey")
        await self.transport.bind(self.csr, proof)

    async def code(self, channel: Channel) -> None:
        """Have a code sent, and give it."""
        read = self.expect()
        await self.transport.challenge(channel)
        await self.transport.answer(await read())

    async def confirm(self) -> None:
        """Agree to the terms that were shown."""
        await self.transport.confirm(self.transport.seen.consent)

    async def prove(self) -> None:
        """Show that the new key works."""
        certificate, nonce = self.transport.seen.certificate, await self.transport.nonce()
        await self.transport.prove(self._signed(self.key, certificate, nonce, "install"))

    def _signed(self, key: ClientKey, certificate: bytes | None, nonce: bytes, purpose: str) -> bytes:
        if certificate is None:
            raise ValueError("there is no certificate to prove")
        return key.prove(
            certificate,
            portal=self.transport.seen.portal,
            order=self.transport.seen.id,
            nonce=nonce,
            new_spki_sha256=self.key.spki_sha256,
            purpose=purpose,
            at=self.now(),
        )


CREATED = frozenset({"order", "challenge", "confirm"})
"""The steps that are answered with 201 and not with 200."""


class HttpTransport(ABC):
    """Takes the steps as requests to the API (docs/api.md); whoever derives from it sends them."""

    order: dict[str, Any]
    """The order as the last answer showed it."""

    @abstractmethod
    async def call(self, step: str, method: str, path: str, body: Mapping[str, Any], status: int) -> dict[str, Any]:
        """Send a request to a path below /api/v1, check the status, keep an order in `order`, return the answer."""

    @property
    def seen(self) -> Seen:
        """As `Transport.seen`."""
        order = self.order
        certificate, old, nonce = order.get("certificate"), order.get("old_certificate"), order.get("nonce")
        return Seen(
            OrderId(order["id"]),
            order["portal"],
            order["next"] == "birth_date",
            (order.get("consent") or {}).get("sha256", ""),
            None if not certificate else unb64(certificate["der"]),
            None if not old else unb64(old["der"]),
            None if not nonce else unb64(nonce),
        )

    async def start(self, wanted: Wanted) -> None:
        """As `Transport.start`."""
        given = {"operation": wanted.operation.value, "account": wanted.account, "key_home": wanted.home.value}
        chosen = {"reason": None if wanted.reason is None else wanted.reason.value, "serial": wanted.serial}
        await self._step("order", "POST", given | {name: value for name, value in chosen.items() if value is not None})

    async def nonce(self) -> bytes:
        """As `Transport.nonce`."""
        return unb64((await self._step("nonce", "POST", {}, "nonce"))["nonce"])

    async def bind(self, csr: bytes, proof: bytes | None) -> None:
        """As `Transport.bind`."""
        body = {"csr": b64(csr)} if proof is None else {"csr": b64(csr), "proof": b64(proof)}
        await self._step("key", "PUT", body, "key")

    async def challenge(self, channel: Channel) -> None:
        """As `Transport.challenge`."""
        await self._step("challenge", "POST", {"channel": channel.value}, "challenges")

    async def answer(self, code: str) -> None:
        """As `Transport.answer`."""
        await self._step("code", "POST", {"code": code}, "code")

    async def birth_date(self, day: date) -> None:
        """As `Transport.birth_date`."""
        era, year = ("roc", day.year - 1911) if day.year > 1911 else ("before_roc", 1912 - day.year)
        born = {"era": era, "year": str(year), "month": str(day.month), "day": str(day.day)}
        await self._step("birth-date", "POST", born, "birth-date")

    async def confirm(self, consent: str) -> None:
        """As `Transport.confirm`."""
        await self._step("confirm", "POST", {"consent": consent}, "confirm")

    async def prove(self, proof: bytes) -> None:
        """As `Transport.prove`."""
        await self._step("prove", "POST", {"proof": b64(proof)}, "prove")

    async def _step(self, step: str, method: str, body: Mapping[str, Any], below: str = "") -> dict[str, Any]:
        path = f"/orders/{self.order['id']}/{below}" if below else "/orders"
        return await self.call(step, method, path, body, 201 if step in CREATED else 200)


def b64(data: bytes) -> str:
    """Return bytes as the API takes them: base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return the bytes of `b64`."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
