"""What is asked of a socket in either way out."""

from __future__ import annotations

import os
import select
import ssl

import httpcore


def is_readable(descriptor: int) -> bool:
    """Whether something waits to be read, be it only the end. A socket that is closed is readable."""
    if descriptor < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def not_connected(error: OSError) -> httpcore.ConnectError | httpcore.ConnectTimeout:
    """What it means that no connection came about, in the same words whoever tried."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return httpcore.ConnectTimeout()
    has_number = not isinstance(error, ssl.SSLError) and (error.errno or 0) > 0
    return httpcore.ConnectError(os.strerror(error.errno) if has_number and error.errno else str(error))
