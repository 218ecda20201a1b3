"""Bongsu: watch and steer the third parties that your product depends on.

`core.connect()` is all that a notebook or a back end needs. Everything else is imported from the file that
owns the name, so that `import core` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.hub import Hub, connect

__all__ = ["Hub", "connect"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from core import hub

        return getattr(hub, name)
    raise AttributeError(f"module 'core' has no attribute {name!r}")
