"""`python -m tests.ha [FAULT ...]`: the drill outside pytest, with its table of figures."""

import asyncio
import sys

from tests.ha import cluster, counter
from tests.ha.drill import FAULTS, drill, judged, told


def _main(names: tuple[str, ...]) -> int:
    unknown = set(names) - set(FAULTS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}\n")
        return 2
    with cluster.running(small_disks="disk full" in names) as members, counter.opened(members, 200 * len(names)) as run:
        scene = asyncio.run(drill(members, run, names))
        sys.stdout.write(told(scene) + "\n")
        found = asyncio.run(judged(scene))
        sys.stdout.write("\n".join([*found, f"{len(found)} findings", ""]))
        sys.stderr.write(run.logs() if found else "")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(_main(tuple(sys.argv[1:]) or tuple(FAULTS)))
