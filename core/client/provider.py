"""The seam to one provider's wire format: how it is asked, how its answers are judged, how a mock plays it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement

Params = Mapping[str, str | int | bool]
"""What the caller asked for, already validated."""

T_co = TypeVar("T_co", covariant=True)


class Provider(Protocol[T_co]):
    """One provider of an integration. All methods are pure: no I/O, no clock, no chance."""

    @property
    def name(self) -> str:
        """The provider's name in `core.config.templates`."""

    def request(self, operation: str, params: Params, *, idempotency_key: str | None = None) -> ApiRequest:
        """The request that asks for `operation`. It may hold secrets: it is redacted before it is recorded.

        `idempotency_key` is the same for every attempt of a call; None for an operation that needs none.
        """

    def judge(self, operation: str, response: ApiResponse) -> Judgement:
        """What the answer amounts to, by the provider's own codes first and the HTTP status second.

        Never raises, whatever the answer holds: what cannot be understood is `Verdict.MALFORMED`.
        """

    def read(self, operation: str, response: ApiResponse) -> T_co:
        """The typed answer in a response that `judge` called OK."""

    def health_request(self) -> ApiRequest:
        """The cheapest request whose answer shows that the provider is well."""

    def imitate(self, request: ApiRequest) -> ApiResponse:
        """What the provider might answer, in its own wire format: the same request, the same answer."""
