"""How an order is stored: its columns, the guards that several statements share, and an order made of a row."""

from datetime import timedelta
from typing import Final

from chopmark.core.types import (
    AccountNumber,
    ActingLogin,
    Channel,
    CustomerId,
    FactorClass,
    Installed,
    KeyEvidence,
    KeyHome,
    LoginId,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
)
from chopmark.ra.model import Order
from chopmark.store.engine.columns import moment, moment_or_none, words
from chopmark.store.engine.script import Row

ORDER_COLUMNS = """id, customer, operation, reason, account, profile, key_home, state, login_factors, policy,
  created_at, expires_at, birth_date_asked, nonce, nonce_expires_at, old_serial, spki_sha256, csr, bound_at,
  code_channel, coded_at, checked_at, consent, submitted_at, serial, issued_at, activated_at, ended, login, bound_login,
  proved_login, approved_login, key_evidence, both_codes, second_channel, second_coded_at, delay,
  announced_at, slip_unless, slip_id, installed"""
LIVE = "('open', 'bound', 'coded', 'checked', 'submitted', 'pending', 'issued')"
ORDER = f"SELECT {ORDER_COLUMNS} FROM orders WHERE id = :id"
KILL_CODES = "UPDATE challenges SET state = 'dead' WHERE order_id = :id AND state = 'live'"
BYTES: Final = {"sqlite": "BLOB", "postgresql": "BYTEA"}
"""The type of a column of bytes, for a CAST of a value whose type PostgreSQL cannot see."""
LIVE_ORDERS = f"""
SELECT {ORDER_COLUMNS} FROM orders WHERE customer = :customer AND state IN {LIVE} ORDER BY created_at DESC
"""
HELD_HERE = """(operation = 'revoke' OR key_evidence IN ('old_key', 'tls') OR proved_login = :login
  OR (bound_login = :login AND key_evidence = 'login'))"""
"""Guard: this login holds the order's key, as in `Order.held_by`. A revocation has no key of its own."""


BOTH_GIVEN = "(both_codes = 0 OR (second_channel <> code_channel AND second_coded_at > :since))"
"""Guard: the order has the codes of both contacts, if it asks for both."""

WAITED = "(delay = 0 OR announced_at + delay <= :now)"
"""Guard: an order with a waiting time was announced, and the time is over."""
NOT_WAITING = f"(announced_at IS NULL OR {WAITED})"
"""Guard: the order accepts a code. An announced order accepts none before its waiting time is over."""


CARRIES_NOW = """EXISTS (
  SELECT 1 FROM contacts carrying WHERE carrying.customer = orders.customer AND carrying.disputed_at IS NULL
    AND carrying.cool_until <= :now AND orders.slip_unless LIKE '%' || carrying.channel || '%')"""
"""Some contact on the channels of `Order.slip_unless` can carry a code by now, so that no slip is accepted."""
SLIP_GIVEN = f"""(slip_unless IS NULL OR (NOT {CARRIES_NOW} AND EXISTS (
  SELECT 1 FROM slips given WHERE given.id = orders.slip_id AND given.state = 'used' AND given.order_id = orders.id
    AND given.spki = orders.spki_sha256)))"""
"""Guard: an order that asks for a slip was given one for its key, and no newer slip has made it void."""


def by(acting: ActingLogin) -> dict[str, str]:
    """Return the values by which a statement names the login that takes the step."""
    return {
        "login": acting.id,
        "known": words(frozenset(acting.known)),
        "union": words(frozenset(acting.union)),
    }


def order_of(row: Row) -> Order:
    """Return an order as stored."""
    return Order(
        id=OrderId(row["id"]),
        customer=CustomerId(row["customer"]),
        operation=Operation(row["operation"]),
        account=AccountNumber(row["account"]),
        profile=row["profile"],
        key_home=KeyHome(row["key_home"]),
        state=OrderState(row["state"]),
        login_factors=frozenset(FactorClass(word) for word in row["login_factors"].split("+") if word),
        policy=row["policy"],
        created_at=moment(row["created_at"]),
        expires_at=moment(row["expires_at"]),
        birth_date_asked=bool(row["birth_date_asked"]),
        reason=None if row["reason"] is None else Reason(row["reason"]),
        nonce=None if row["nonce"] is None else bytes(row["nonce"]),
        nonce_expires_at=moment_or_none(row["nonce_expires_at"]),
        old_serial=None if row["old_serial"] is None else Serial(row["old_serial"]),
        spki_sha256=row["spki_sha256"],
        csr=None if row["csr"] is None else bytes(row["csr"]),
        bound_at=moment_or_none(row["bound_at"]),
        code_channel=None if row["code_channel"] is None else Channel(row["code_channel"]),
        coded_at=moment_or_none(row["coded_at"]),
        checked_at=moment_or_none(row["checked_at"]),
        consent=row["consent"],
        submitted_at=moment_or_none(row["submitted_at"]),
        serial=None if row["serial"] is None else Serial(row["serial"]),
        issued_at=moment_or_none(row["issued_at"]),
        activated_at=moment_or_none(row["activated_at"]),
        ended=row["ended"],
        login=_login(row["login"]),
        bound_login=_login(row["bound_login"]),
        proved_login=_login(row["proved_login"]),
        approved_login=_login(row["approved_login"]),
        key_evidence=None if row["key_evidence"] is None else KeyEvidence(row["key_evidence"]),
        both_codes=bool(row["both_codes"]),
        second_channel=None if row["second_channel"] is None else Channel(row["second_channel"]),
        second_coded_at=moment_or_none(row["second_coded_at"]),
        delay=timedelta(milliseconds=row["delay"]),
        announced_at=moment_or_none(row["announced_at"]),
        slip_unless=_channels(row["slip_unless"]),
        slip_id=row["slip_id"],
        installed=None if row["installed"] is None else Installed(row["installed"]),
    )


def _channels(stored: str | None) -> frozenset[Channel] | None:
    return None if stored is None else frozenset(Channel(word) for word in stored.split("+") if word)


def _login(stored: str | None) -> LoginId | None:
    return None if stored is None else LoginId(stored)
