"""Compare the subject of a certificate with the subject that a profile makes from our records."""

import re
from collections.abc import Mapping, Sequence

from cryptography import x509

from chopmark.pki.profile import Line
from chopmark.pki.received import Naming
from chopmark.pki.x509 import RDN_OIDS

_SEALED = frozenset({"holder", "national_id"})
"""Subject values that are personal data. They are sealed in our records and may have changed since: any value fits."""
_WORD = re.compile(r"\{([a-z_]*)\}")


def named(subject: x509.Name, lines: Sequence[Line], values: Mapping[str, str], naming: Naming) -> bool:
    """Tell whether the subject is what the template lines give when they are filled with `values` from our records.

    With `Naming.THEIRS` the CA composes the subject itself. Then only the last line must occur in it, in any attribute.
    """
    has = [(attribute.oid, str(attribute.value)) for attribute in subject]
    if naming is Naming.THEIRS:
        return any(_pattern(lines[-1], values).fullmatch(value) for _, value in has)
    # Lines without personal data come first: each fits one value only. A line that fits any value takes what is left.
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
