"""The retry budget: how many retries all callers of a provider may add to its traffic (source: gRFC A6).

A budget of 10 tokens is full at first. A failed attempt costs one, an attempt that went well brings a tenth back.
Retries are allowed while more than half of the budget is there. So while a provider is down a handful of retries
go out and no more, and while it fails now and then retries add a tenth to its traffic at the most.
"""

from __future__ import annotations

from dataclasses import dataclass

_TOKEN = 1000
_HUNDREDTH = 10


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """A budget of `tokens`, of which an attempt that went well brings `percent` hundredths of one back.

    What is kept of it is the debt, in thousandths of a token: 0 is a full budget.
    """

    tokens: int = 10
    percent: int = 10

    def after_failure(self, debt: int) -> int:
        """The debt after an attempt failed; never more than the whole budget."""
        return min(self.tokens * _TOKEN, debt + _TOKEN)

    def after_success(self, debt: int) -> int:
        """The debt after an attempt went well."""
        return max(0, debt - self.percent * _HUNDREDTH)

    def allows(self, debt: int) -> bool:
        """Whether one more retry may go out."""
        return 2 * debt < self.tokens * _TOKEN
