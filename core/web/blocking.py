"""Where work that waits is done: threads of our own, so that it can never use up those that serve the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from core.errors import DatabaseUnreachable

T = TypeVar("T")
_AT_ONCE: Final = 16
PATIENCE_SECONDS: Final = 5.0
"""How long an answer may take, the wait for a thread included."""


class Blocking:
    """Runs waiting work beside the event loop, so many at once; the others queue."""

    def __init__(self, at_once: int = _AT_ONCE, patience_seconds: float = PATIENCE_SECONDS) -> None:
        # A thread stays taken until its work ends, given up or not: a hung database must not collect threads.
        self._threads = ThreadPoolExecutor(at_once, "blocking")
        self._patience_seconds = patience_seconds

    async def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises. Raises `DatabaseUnreachable` when that takes too long.

        Work that has begun is not stopped then, only no longer waited for; work that has not never begins.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)
        deadline = asyncio.timeout(self._patience_seconds)
        try:
            async with deadline:
                return await running
        except TimeoutError:
            if not deadline.expired():
                raise
            reason = f"no answer within {self._patience_seconds:g} s"
            raise DatabaseUnreachable("BONGSU_DATABASE_URL", reason) from None
