"""A worker that sends reminders until none is due: `python -m tests.contract.kill.reminding_child URL MOMENT FILE`.

Its gateways append each message id to the file before they answer, which is the outside truth, and say so on the
standard output, so that whoever started it can kill it in the middle.
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import datetime

from chopmark.core.types import Channel
from chopmark.messaging.ports import Message, Receipt
from chopmark.store.engine.opening import open_engine
from tests.contract.reminded import Bare, Counting, Reminded, with_policy
from tests.tables import Clock


@dataclass
class Writing(Counting):
    """A gateway that keeps what it was handed in a file that outlives the process."""

    file: int = -1

    async def send(self, message: Message) -> Receipt:
        await asyncio.sleep(0)
        os.write(self.file, f"{message.message_id}\n".encode())
        os.write(1, b"handed\n")
        await asyncio.sleep(0)
        return await super().send(message)


async def work(url: str, at: datetime, path: str) -> None:
    file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    engine = await open_engine(url)
    sms, mail = Writing("sms", Channel.MOBILE, file=file), Writing("mail", Channel.EMAIL, repeats=True, file=file)
    reminded = with_policy(Reminded(Bare(engine, Clock(at)), sms=sms, mail=mail), per_minute=60_000)
    reminding = reminded.reminding(f"worker-{os.getpid()}")
    os.write(1, b"ready\n")
    while await reminding.once():
        pass
    await engine.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], datetime.fromisoformat(sys.argv[2]), sys.argv[3]))
