"""A worker that sends reminders: `python -m tests.contract.kill.reminding_child URL MOMENT FILE NUMBER`.

Its gateways append each message id to the file before they answer, which is the outside truth. After so many messages
they say so on the standard output and answer no more, so that whoever started the process can kill it in the middle;
with 0 they always answer.
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
    left: int = 0
    endless: bool = False

    async def send(self, message: Message) -> Receipt:
        await asyncio.sleep(0)
        os.write(self.file, f"{message.message_id}\n".encode())
        self.left -= 1
        if self.left == 0:
            os.write(1, b"handed\n")
        if self.left <= 0 and not self.endless:
            await asyncio.Event().wait()
        return await super().send(message)


async def work(url: str, at: datetime, path: str, number: int) -> None:
    file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    engine = await open_engine(url)
    sms = Writing("sms", Channel.MOBILE, file=file, left=number, endless=number == 0)
    mail = Writing("mail", Channel.EMAIL, repeats=True, file=file, left=number, endless=number == 0)
    reminded = with_policy(Reminded(Bare(engine, Clock(at)), sms=sms, mail=mail), per_minute=60_000)
    reminding = reminded.reminding(f"worker-{os.getpid()}")
    while await reminding.once():
        pass
    await engine.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], datetime.fromisoformat(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
