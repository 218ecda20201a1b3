"""A relay on loopback that counts flights: how often a client speaks and then waits for what comes back."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Passes on what one client and the server at `port` say to each other. Its own address is `port`."""

    def __init__(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._server = socket.create_connection(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_answered = True
        self.port: int = self._listening.getsockname()[1]
        self.flights = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._listening.close()
        self._server.close()
        self._thread.join(10)

    def _run(self) -> None:
        with suppress(OSError), selectors.DefaultSelector() as ready:
            client, _ = self._listening.accept()
            ready.register(client, selectors.EVENT_READ, self._server)
            ready.register(self._server, selectors.EVENT_READ, client)
            with client:
                while self._pass_on(ready):
                    pass

    def _pass_on(self, ready: selectors.BaseSelector) -> bool:
        for key, _ in ready.select(10):
            speaker, hearer = key.fileobj, key.data
            assert isinstance(speaker, socket.socket)
            said = speaker.recv(1 << 20)
            if not said:
                return False
            is_client = hearer is self._server
            self.flights += is_client and self._is_answered
            self._is_answered = not is_client
            hearer.sendall(said)
        return True


@contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    """A relay that runs meanwhile."""
    relay = Relay(port)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
