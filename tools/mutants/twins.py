"""Runs broken twins, each against the one test that must notice it, and prints a line of JSON for each.

python -m tools.mutants.twins NAME ...
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tools.mutants import stage, trial

LIMIT_S = 120


def main(names: Sequence[str]) -> None:
    """Run the twins of these names, in this order; all of them without any."""
    with stage.ready(postgresql=False):
        from tests.twins.beside import TWINS_OF_FORMER_ISSUERS, TWINS_OF_MESSAGES  # noqa: PLC0415
        from tests.twins.twins import TWINS_OF_CERTIFICATES, TWINS_OF_CODES, Twin  # noqa: PLC0415

        every = (*TWINS_OF_CODES, *TWINS_OF_MESSAGES, *TWINS_OF_CERTIFICATES, *TWINS_OF_FORMER_ISSUERS)
        known = {twin.name: twin for twin in every}

        def told(name: str, status: str, outcome: trial.Outcome | None = None) -> None:
            found = {} if outcome is None else asdict(outcome)
            sys.stdout.write(json.dumps({**found, "name": name, "status": status}) + "\n")
            sys.stdout.flush()

        def trials() -> list[trial.Trial]:
            made = []
            for twin in [known[name] for name in names or known]:
                text = changed(twin)
                if text is None:
                    told(twin.name, "gone")
                    continue
                made.append(trial.Trial(twin.name, trial.Change(f"chopmark/{twin.path}", text), [twin.test]))
            return made

        def changed(twin: Twin) -> str | None:
            """Return the twin's module; None where there is none, or a text of it does not stand there exactly once."""
            file = trial.SOURCE / "chopmark" / twin.path
            if not file.exists():
                return None
            text = file.read_text(encoding="utf-8")
            for place, instead in twin.changes:
                if text.count(place) != 1:
                    return None
                text = text.replace(place, instead)
            return text

        trial.run(trials(), lambda one, outcome: told(one.name, outcome.status, outcome), limit_s=LIMIT_S)


if __name__ == "__main__":
    main(sys.argv[1:])
