"""The bulkhead: how many calls of one integration may be under way at once in a process.

One provider that hangs can then take so many threads and no more: the others are refused at once, and the rest of
the product goes on.
"""

from __future__ import annotations

from collections import defaultdict
from threading import RLock

from core.client.fork import begin_in_child


class Bulkhead:
    """Knows the calls under way. Threads and event loops may share it.

    The lock may be taken again by whoever holds it: an abandoned call may be collected, and leave, inside.
    """

    def __init__(self) -> None:
        self.begin()
        begin_in_child(self)

    def begin(self) -> None:
        """Begin with every place free: at first, and in the child of a fork."""
        self._lock = RLock()
        self._under_way: defaultdict[str, set[object]] = defaultdict(set)

    def enter(self, integration: str, caller: object, limit: int) -> bool:
        """Take a place for `caller`. False when all `limit` are taken."""
        with self._lock:
            under_way = self._under_way[integration]
            if len(under_way) >= limit:
                return False
            under_way.add(caller)
            return True

    def leave(self, integration: str, caller: object) -> None:
        """Give the place of `caller` back, if it has one."""
        with self._lock:
            self._under_way[integration].discard(caller)

    def under_way(self, integration: str) -> int:
        """How many places are taken."""
        return len(self._under_way[integration])
