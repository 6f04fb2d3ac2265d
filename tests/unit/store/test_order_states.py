"""The states of an order as the statements list them, against the model's: a new state must not be forgotten in SQL."""

import re
from pathlib import Path

import chopmark.store
from chopmark.core.types import OrderState
from chopmark.ra.model import BEFORE_SUBMISSION, LIVE

STORE = Path(chopmark.store.__file__).parent
LISTED = re.compile(r"IN \(((?:\s*'[a-z]+',?)+)\)")
KEY_CAN_STILL_BE_DROPPED = BEFORE_SUBMISSION | {OrderState.ISSUED}
"""The states in which a report of the key ends an order: between submission and issuance the CA has it."""

BEFORE_ISSUANCE = LIVE - {OrderState.ISSUED}
"""The states in which a renewal has begun and is not ended: `ra/expiries` counts an issued one by its certificate."""


def lists_with(state: OrderState) -> list[tuple[str, frozenset[str]]]:
    """Return each list of words in the SQL of `store/` that has this state, with its file."""
    return [
        (str(file.relative_to(STORE)), words)
        for file in sorted(STORE.rglob("*.py"))
        if "migrations" not in file.parts
        for found in LISTED.findall(file.read_text(encoding="utf-8"))
        if state in (words := frozenset(re.findall(r"'([a-z]+)'", found)))
    ]


def test_every_list_that_begins_with_an_open_order_is_one_of_the_models() -> None:
    known = {frozenset(LIVE), frozenset(BEFORE_SUBMISSION), frozenset(KEY_CAN_STILL_BE_DROPPED), BEFORE_ISSUANCE}
    found = lists_with(OrderState.OPEN)
    assert len(found) >= 10
    beside = [(file, sorted(words)) for file, words in found if words not in known and words != {"open", "coded"}]
    assert beside == []


def test_every_list_with_a_submitted_order_has_the_pending_one() -> None:
    found = lists_with(OrderState.SUBMITTED)
    assert len(found) >= 6
    assert [(file, sorted(words)) for file, words in found if OrderState.PENDING not in words] == []
