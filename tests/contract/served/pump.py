"""A process that floods a port with whole requests: each connection asks again as soon as it is answered.

`python -m tests.contract.served.pump PORT CONNECTIONS NETWORKS` runs until its input ends, then says what it was told.
Before that it writes a line as soon as it was asked to come again.
"""

import asyncio
import json
import re
import sys
from collections import Counter

ASKED = b"GET /sign-in HTTP/1.1\r\nhost: a\r\n\r\n"
LATER = re.compile(rb"\r\nretry-after: [1-9]", re.IGNORECASE)
PAUSE_S = 0.05
"""Before a connection that was refused or ended is opened anew."""


async def pump(port: int, network: int, told: Counter[str]) -> None:
    """Ask without end from the address of a network."""
    local = (f"127.0.{1 + network // 250}.{1 + network % 250}", 0)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
            while True:
                writer.write(ASKED)
                head = await reader.readuntil(b"\r\n\r\n")
                status = head[9:12].decode("ascii")
                said = status + (" later" if LATER.search(head) else "")
                told[said] += 1
                if told["503 later"] == 1 and said == "503 later":
                    sys.stdout.write("later\n")
                    sys.stdout.flush()
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        except (OSError, asyncio.IncompleteReadError):
            told["ended"] += 1
        else:
            writer.close()
        await asyncio.sleep(PAUSE_S)


async def main(port: int, connections: int, networks: int) -> None:
    """Pump until the input ends."""
    told: Counter[str] = Counter()
    pumps = [asyncio.create_task(pump(port, number % networks, told)) for number in range(connections)]
    await asyncio.to_thread(sys.stdin.read)
    for one in pumps:
        one.cancel()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
