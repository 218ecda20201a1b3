"""What the child of a fork must not go on with: locks that a thread of the parent holds, calls that are the parent's."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that begins anew in the child of a fork."""

    def begin(self) -> None:
        """Be as if just made."""


_all: WeakSet[Forgetful] = WeakSet()


def begin_in_child(one: Forgetful) -> None:
    """Have `one` begin anew in every child that is forked from now on."""
    _all.add(one)


def _begin_all() -> None:
    for one in list(_all):
        one.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
