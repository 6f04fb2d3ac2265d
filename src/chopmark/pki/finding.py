"""One fault that was found in bytes: a stable word for programs and a sentence for people."""

from dataclasses import dataclass

from chopmark.core.types import Text


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `code` is stable, `text` is a whole sentence."""

    code: str
    text: Text
