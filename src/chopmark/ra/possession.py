"""Proving that a login holds the key of its order, when another login has bound that key.

Somebody who knows only the trading password can open an order and bind their own key to it. When the customer signs in
and is shown that order, they must not approve the stranger's key. So a login can approve only a key that it has bound
itself, or of which it has proved possession: by the key's signature over a fresh nonce and the login's id, or, for a
program's key, by typing the key words that the program shows.
"""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import KeyEvidence, Operation, OrderId, text
from chopmark.pki import csr, possession
from chopmark.pki.key_words import are_key_words
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.model import BEFORE_SUBMISSION, Order
from chopmark.ra.snapshots import OrderSnapshot

MAX_SKEW = timedelta(minutes=10)


class Possession:
    """Takes the proofs by which a login shows that it holds its order's key."""

    def __init__(self, context: RaContext) -> None:
        self._context = context

    async def sign(self, caller: Caller, order_id: OrderId, proof_der: bytes) -> OrderSnapshot:
        """Accept the key's signature over the order's nonce and this login's id, and return the order's snapshot.

        Approvals given before become void. Raises Refused: BAD_PROOF when the signature is wrong or the nonce too old.
        """
        snapshot = await self._snapshot(caller, order_id)
        order, now = snapshot.order, self._context.now()
        if order.key_evidence is KeyEvidence.CREDENTIAL:
            raise Refused(_TYPE_THE_WORDS)
        if order.nonce is None or order.nonce_expires_at is None or now >= order.nonce_expires_at:
            raise Refused(_TOO_LATE)
        spki_der, digest = _key_of(order)
        stated = possession.Possession(self._context.portal, order.id, caller.login, order.nonce, digest, now)
        refused = possession.verify(proof_der, spki_der, stated, MAX_SKEW)
        if refused is not None:
            raise Refused(refused)
        return await self._note(caller, snapshot, order.nonce)

    async def name(self, caller: Caller, order_id: OrderId, words: str) -> OrderSnapshot:
        """Accept the key words of a key that a program made, as the customer typed them; return the order's snapshot.

        Raises Refused: MALFORMED when they are another key's words. Wrong words cost nothing, because the words are no
        secret: typing them only makes the customer compare the key with what their program shows.
        """
        snapshot = await self._snapshot(caller, order_id)
        order = snapshot.order
        if order.key_evidence is not KeyEvidence.CREDENTIAL:
            raise Refused(_SIGN)
        if not are_key_words(words, order.spki_sha256 or ""):
            raise Refused(_OTHER_WORDS)
        return await self._note(caller, snapshot, None)

    async def _snapshot(self, caller: Caller, order_id: OrderId) -> OrderSnapshot:
        snapshot = await self._context.snapshot(caller, order_id)
        order = snapshot.order
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION or order.spki_sha256 is None:
            raise Refused(order.elsewhere())
        return snapshot

    async def _note(self, caller: Caller, snapshot: OrderSnapshot, nonce: bytes | None) -> OrderSnapshot:
        context, order, now = self._context, snapshot.order, self._context.now()
        acting = context.acting(caller, order)

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.RA_KEY_PROVED,
                spki_sha256=order.spki_sha256,
                login=acting.id,
                evidence="words" if nonce is None else "signature",
                factor="+".join(sorted(acting.union)),
                door=caller.interface,
            )
            return await context.orders.possess(order, nonce, acting, now, record)

        if not await context.audit_log.write(order_stream(order.id), attempt):
            raise Refused((await context.order(caller, order.id)).elsewhere())
        return snapshot.now_as(order.touched(acting).possessed(acting.id, used_nonce=nonce is not None))


def _key_of(order: Order) -> tuple[bytes, bytes]:
    """Return the order's key, SubjectPublicKeyInfo in DER, and its SHA-256."""
    request = None if order.csr is None else csr.parse(order.csr)
    if request is None or isinstance(request, Refusal) or request.spki_sha256 != order.spki_sha256:
        raise ValueError(f"order {order.id}: its stored request does not parse, or is of another key")
    return request.spki_der, bytes.fromhex(request.spki_sha256)


_TOO_LATE = Refusal(
    Kind.BAD_PROOF,
    text("This step took too long. Please press the button again."),
    field="proof",
    code="nonce",
)
_TYPE_THE_WORDS = Refusal(
    Kind.MALFORMED,
    text("The key of this order was made by a program. Please type the key words that the program shows."),
    field="key_words",
    code="key_words",
)
_SIGN = Refusal(
    Kind.MALFORMED,
    text("The key of this order was made in a browser. Please go on in that browser, or begin again."),
    field="proof",
    code="possession",
)
_OTHER_WORDS = Refusal(
    Kind.MALFORMED,
    text(
        "These are not the key words of this order. Please compare them with what your program shows. If they differ, "
        "somebody else has sent a key: begin again, and call us."
    ),
    field="key_words",
    code="other_key_words",
)
