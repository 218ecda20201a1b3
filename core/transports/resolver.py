"""Looks names up without ever holding anybody longer than they want to wait.

However many wait for a name, and however long the resolver hangs: one look-up of it is under way at a time.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from concurrent.futures import Future

import httpcore


class _UnderWay:
    """The look-ups that are not over yet."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Set out with none: at first, and in the child of a fork, in which nobody goes on looking."""
        self._lock = threading.Lock()
        self._found: dict[tuple[str, int], Future[list[str]]] = {}

    def join(self, host: str, port: int) -> Future[list[str]]:
        """What comes of the look-up that is under way, or of a new one."""
        with self._lock:
            found = self._found.get((host, port))
            if found is None:
                found = _pending()
                resolve = threading.Thread(
                    target=self._resolve, args=(host, port, found), name="resolver", daemon=True
                )
                resolve.start()
                self._found[host, port] = found
            return found

    def _resolve(self, host: str, port: int, found: Future[list[str]]) -> None:
        addresses: list[str] = []
        failure: OSError | UnicodeError | None = None
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            failure = error
        with self._lock:
            # First of all: whoever comes from now on wants a new answer.
            self._found.pop((host, port), None)
        if failure is None:
            found.set_result(addresses)
        else:
            found.set_exception(httpcore.ConnectError(f"the name cannot be resolved ({failure})"))


_under_way = _UnderWay()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.begin)


def look_up(host: str, port: int) -> Future[list[str]]:
    """The numeric addresses of `host`, in the resolver's order, each once; there is at least one.

    The system's resolver knows no deadline, so it works in a thread of its own, which whoever waits may leave behind
    (a thread of a pool would be waited for at the end). The future ends in `httpcore.ConnectError` when there is no
    such name. A numeric host needs no thread. All who wait for the same name share one future.
    """
    if not _is_numeric(host):
        return _under_way.join(host, port)
    found = _pending()
    found.set_result([host])
    return found


def _pending() -> Future[list[str]]:
    """A future that nobody who waits for it can cancel under the others' hands."""
    found: Future[list[str]] = Future()
    found.set_running_or_notify_cancel()
    return found


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
