"""What Ctrl-C does while nothing is open that has to be closed: it ends the process where it stands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code by which shells know that Ctrl-C ended a program."""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process with `INTERRUPTED`, without a word.

    Otherwise it raises an exception wherever the process is, and libraries that are just being imported report
    that with a traceback.
    """
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
