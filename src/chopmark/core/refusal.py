"""Refusals of all kinds. Nothing here is about a protocol: each interface translates a Kind in one place."""

from dataclasses import dataclass
from enum import StrEnum

from chopmark.core.types import Text


class Kind(StrEnum):
    """Why something was not done."""

    MALFORMED = "malformed"  # a value has the wrong form; `field` says which
    UNAUTHENTICATED = "unauthenticated"  # nobody is signed in, or the session ended
    FORBIDDEN = "forbidden"  # policy says no, whatever is tried again
    NOT_FOUND = "not_found"  # no such thing for this customer
    CONFLICT = "conflict"  # the thing is in another state than the request assumes
    STEP_REQUIRED = "step_required"  # an earlier step of the order is missing or has lapsed
    WRONG_CODE = "wrong_code"  # the code was compared and differs
    CODE_DEAD = "code_dead"  # expired, used up, replaced: a new code is needed
    WRONG_BIRTH_DATE = "wrong_birth_date"  # well-formed, and not the one on record
    BAD_KEY = "bad_key"  # the CSR or its key is unfit
    BAD_PROOF = "bad_proof"  # a signature by the old or new key does not hold
    LOCKED = "held"  # too many failures: a person at the firm has to release it
    TOO_MANY = "too_many"  # a rate limit is used up for now; `retry_after_s` says how long
    TOO_LARGE = "too_large"  # the request is bigger than anything legitimate
    UNAVAILABLE = "unavailable"  # a part is down or full; nothing was done


@dataclass(frozen=True, slots=True)
class Refusal:
    """An expected "no": returned inside a transaction, so that what it counts is committed.

    `public` is a whole sentence that the customer can act on; `field` is the name of the request's
    member it belongs to; `code` is a stable word for programs, finer than `kind`.
    """

    kind: Kind
    public: Text
    field: str | None = None
    code: str | None = None
    retry_after_s: int | None = None


class Refused(Exception):
    """A Refusal that is passed up to the interface; raised only outside a transaction."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.kind}: {refusal.public}")
        self.refusal = refusal
