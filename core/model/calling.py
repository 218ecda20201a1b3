"""The words in which calls and their policies are described."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

LONGEST_HISTORY: Final = 10_000
"""The largest limit that can be kept exactly: so many calls are remembered."""


class CallClass(StrEnum):
    """Who waits for the answer. Batch work never takes the share of the limit that is kept for people."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Safety(StrEnum):
    """What happens when the same request arrives twice.

    `SAFE` changes nothing at the provider. `IDEMPOTENT` is carried out once, because every attempt bears the same
    key. `UNSAFE` would be carried out twice: it is tried again only when it is certain that nothing was accepted.
    """

    SAFE = "safe"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class LimitMode(StrEnum):
    """How a limit is kept (`core.policies.rate_limit`)."""

    ANY_WINDOW = "any_window"
    EXACT = "exact"
    BUCKET = "bucket"


class Jitter(StrEnum):
    """How chance spreads the waits before retries (`core.policies.retry`)."""

    FULL = "full"
    EQUAL = "equal"
    DECORRELATED = "decorrelated"
    NONE = "none"
