"""How a statement asks for the rows of many keys: `WHERE id {among}`, with the keys as a JSON list, `:listed`."""

import json
from collections.abc import Collection, Mapping
from typing import Final

AMONG: Final[Mapping[str, str]] = {
    "sqlite": "IN (SELECT value FROM json_each(:listed))",
    "postgresql": "= ANY(ARRAY(SELECT json_array_elements_text(CAST(:listed AS json))))",  # an index serves it
}
"""What stands for `{among}`, by dialect."""


def listed(keys: Collection[str]) -> str:
    """Return the keys as the value of `:listed`."""
    return json.dumps(sorted(keys))
