"""Whether a certificate's name is the one that a profile makes of our records."""

import re
from collections.abc import Mapping, Sequence

from cryptography import x509

from chopmark.pki.profile import Line
from chopmark.pki.received import Naming
from chopmark.pki.x509 import RDN_OIDS

_SEALED = frozenset({"holder", "national_id"})
"""Subject values that are personal data: sealed in our records, and they may have changed since; any value fits."""
_WORD = re.compile(r"\{([a-z_]*)\}")


def named(subject: x509.Name, lines: Sequence[Line], values: Mapping[str, str], naming: Naming) -> bool:
    """Tell whether the subject is the template's, filled with our records; where the CA writes it, it has our last."""
    has = [(attribute.oid, str(attribute.value)) for attribute in subject]
    if naming is Naming.THEIRS:
        return any(_pattern(lines[-1], values).fullmatch(value) for _, value in has)
    exact_first = sorted(lines, key=lambda line: bool(_SEALED & set(_WORD.findall(line.template))))
    for line in exact_first:
        oid, pattern = RDN_OIDS[line.attribute], _pattern(line, values)
        at = next((one for one in has if one[0] == oid and pattern.fullmatch(one[1])), None)
        if at is None:
            return False
        has.remove(at)
    return not has


def _pattern(line: Line, values: Mapping[str, str]) -> re.Pattern[str]:
    parts = _WORD.split(line.template)
    spelled = [
        re.escape(part) if place % 2 == 0 else ".+" if part in _SEALED else re.escape(values.get(part, ""))
        for place, part in enumerate(parts)
    ]
    return re.compile("".join(spelled))
