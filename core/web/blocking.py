"""Where work that waits is done: threads of our own, so that it can never use up those that serve the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import anyio

T = TypeVar("T")
_AT_ONCE: Final = 16


class Blocking:
    """Runs waiting work beside the event loop, so many at once; the others queue."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._limiter = anyio.CapacityLimiter(at_once)

    async def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises."""
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)
