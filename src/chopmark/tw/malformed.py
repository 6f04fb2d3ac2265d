"""The refusal that all of this package returns: a value has the wrong form."""

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Text


def malformed(code: str, public: Text, field: str | None) -> Refusal:
    """Return the Refusal for a wrong form; `code` is `noun.reason` and stays the same over releases."""
    return Refusal(Kind.MALFORMED, public, field=field, code=code)
