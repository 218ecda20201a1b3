"""The job that checks every integration."""

from __future__ import annotations

from collections import Counter

from core.hub import Hub


def check_health(hub: Hub) -> str:
    """Check them all; say how many are how."""
    counts = Counter(check.status.value for check in hub.health.check_all_health())
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to check"
