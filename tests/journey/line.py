"""The line between a browser and the server: a forwarder that can be cut, or be as slow as a bad mobile network."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SLOW_DELAY_S = 0.4
SLOW_BYTES_A_SECOND = 50_000
"""What browsers call "slow 3G": 400 ms and 400 kbit/s."""
_PIECE = 4_096


@dataclass
class Line:
    """Forwards from `port` to the server's port. `cut` and `slow` may change at any moment."""

    server_port: int
    listener: socket.socket
    cut: bool = False
    slow: bool = False
    ends: set[socket.socket] = field(default_factory=set)

    @property
    def port(self) -> int:
        """Where browsers connect."""
        number: int = self.listener.getsockname()[1]
        return number

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Have nothing come through: what is open breaks, and what is new is closed at once."""
        self.cut = True
        for end in list(self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.cut = False

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """Let everything take as long as it does on a bad mobile network."""
        self.slow = True
        try:
            yield
        finally:
            self.slow = False

    def close(self) -> None:
        """End what is open, and take nothing more."""
        with self.offline():
            self.listener.shutdown(socket.SHUT_RDWR)

    def accept(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.cut:
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.server_port)) as far:
            self.ends |= {near, far}
            answers = threading.Thread(target=self._forward, args=(far, near), daemon=True)
            answers.start()
            self._forward(near, far)
            answers.join()
            self.ends -= {near, far}

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(_PIECE):
                if self.slow:
                    time.sleep(SLOW_DELAY_S / 4 + len(piece) / SLOW_BYTES_A_SECOND)
                other.sendall(piece)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(server_port: int) -> Iterator[Line]:
    """Give a line to this server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(server_port, listener)
        accepting = threading.Thread(target=line.accept, daemon=True)
        accepting.start()
        yield line
        line.close()
        accepting.join()
