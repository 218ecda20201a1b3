"""A line from the supervisor to its programs: when it goes dead, they end, however the supervisor ended.

It is the read end of a pipe whose write end the supervisor alone holds and never writes to. A process that is
killed can tell nobody; but the system closes what it held, and that is what the programs see.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from typing import Final

from core import settings

_PATIENCE_S: Final = 15.0
_ABANDONED: Final = 1


def hold(end: Callable[[], None], patience_s: float = _PATIENCE_S) -> None:
    """Call `end` when the supervisor is gone, and insist when the process is still there after a while.

    Does nothing in a process that no supervisor of ours has started.
    """
    line = settings.lifeline()
    if line is not None and _is_pipe(line):
        threading.Thread(target=_watch, args=(line, end, patience_s), name="lifeline", daemon=True).start()


def _watch(line: int, end: Callable[[], None], patience_s: float) -> None:
    os.read(line, 1)  # returns at the end of the line alone: nothing is ever written
    end()
    threading.Event().wait(patience_s)
    os._exit(_ABANDONED)


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False
