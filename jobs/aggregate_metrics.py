"""The job that turns call-log rows into 5-minute windows."""

from __future__ import annotations

from core.hub import Hub


def aggregate_metrics(hub: Hub) -> str:
    """Aggregate what is new, and the last windows once more for calls that came late."""
    count = hub.collector.aggregate_metrics(hub.clock.now())
    return f"{count} window{'' if count == 1 else 's'}"
