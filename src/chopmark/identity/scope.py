"""What a program of the firm may ask for: which accounts and pages, which factors of its login, how many a minute."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber, FactorClass, text

PER_MINUTE: Final = 1200
"""Launch tickets a minute that a client may ask for unless its scope says otherwise."""
MOST_PER_MINUTE: Final = 1_000_000
LANDING: Final = "certificates"
"""The page for a ticket that names no page, or an unknown one."""
PURPOSES: Final = frozenset({"home", LANDING, "apply", "renew", "inquiry", "revoke"})
_PATTERN: Final = re.compile(r"[A-Z0-9*?-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a client may ask for; an empty set restricts nothing.

    `accounts` are patterns: `*` stands for any characters, `?` for one.
    """

    accounts: tuple[str, ...] = ()
    purposes: frozenset[str] = frozenset()
    factors: frozenset[FactorClass] = frozenset()
    per_minute: int = PER_MINUTE

    def refusal(self, account: AccountNumber, factors: frozenset[FactorClass], wanted: str | None) -> Refusal | None:
        """Return a refusal when a ticket is outside the scope; None when it is inside."""
        if self.accounts and not any(fnmatchcase(account, pattern) for pattern in self.accounts):
            return _outside("account")
        if self.factors and not factors <= self.factors:
            return _outside("factors")
        purpose = wanted if wanted in PURPOSES else LANDING
        if self.purposes and purpose not in self.purposes:
            return _outside("wanted")
        return None

    def covers(self, account: AccountNumber) -> bool:
        """Tell whether an account is one that the client may ask about."""
        return not self.accounts or any(fnmatchcase(account, pattern) for pattern in self.accounts)

    def __str__(self) -> str:
        """Return the scope in one line, for the operator and the audit."""
        parts = (
            ("accounts", " ".join(self.accounts)),
            ("purposes", " ".join(sorted(self.purposes))),
            ("factors", " ".join(sorted(self.factors))),
        )
        said = "; ".join(f"{name} {words or 'all'}" for name, words in parts)
        return f"{said}; {self.per_minute} a minute"


EVERYTHING: Final = Scope()
"""The scope of a client for whom none was set."""


def scope_of(
    accounts: Iterable[str], purposes: Iterable[str], factors: Iterable[str], per_minute: int
) -> Scope | Refusal:
    """Return the scope that an operator has typed, or a refusal that names what is wrong with it."""
    patterns, pages, classes = tuple(accounts), frozenset(purposes), frozenset(factors)
    if not all(_PATTERN.fullmatch(pattern) for pattern in patterns):
        said = text("An account pattern has 1 to 40 of A-Z, 0-9, '-', '*' and '?'.")
        return Refusal(Kind.MALFORMED, said, field="account", code="scope")
    if not pages <= PURPOSES:
        said = text("A purpose is one of %(known)s.", known=", ".join(sorted(PURPOSES)))
        return Refusal(Kind.MALFORMED, said, field="purpose", code="scope")
    if not classes <= {factor.value for factor in FactorClass}:
        said = text("A factor is one of %(known)s.", known=", ".join(sorted(FactorClass)))
        return Refusal(Kind.MALFORMED, said, field="factor", code="scope")
    if not 1 <= per_minute <= MOST_PER_MINUTE:
        said = text("The rate is 1 to %(most)s tickets a minute.", most=MOST_PER_MINUTE)
        return Refusal(Kind.MALFORMED, said, field="per_minute", code="scope")
    return Scope(patterns, pages, frozenset(FactorClass(one) for one in classes), per_minute)


def _outside(field: str) -> Refusal:
    said = text("This client may not ask for that: it is outside what the firm has allowed it.")
    return Refusal(Kind.FORBIDDEN, said, field=field, code="scope")
