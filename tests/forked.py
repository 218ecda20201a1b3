"""Work in a forked child, which never goes on to be a second test run nor hangs, whatever happens in it."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 30


def in_child(work: Callable[[], None]) -> bool:
    """Whether a child that does `work` comes to its end without an error. What went wrong is printed."""
    pid = os.fork()
    if not pid:
        code = 1
        # A child that waits for a lock of its parent's would wait for ever.
        signal.alarm(_SECONDS)
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 -- it is reported, and nothing may leave the child.
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
