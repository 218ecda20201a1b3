"""The seam to the outside: a request goes out, a whole answer or a named fault comes back."""

from __future__ import annotations

from typing import Protocol

from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict


class TransportFault(Exception):
    """No whole answer came back. It stays inside the core: the client turns it into a `core.errors.CallError`.

    `verdict` says what that amounts to; `detail` is for operators and never quotes the request, so it holds no
    secret. `may_have_arrived` is False only when it is certain that no byte of the request left the process.
    """

    def __init__(self, verdict: Verdict, detail: str, *, may_have_arrived: bool) -> None:
        self.verdict = verdict
        self.detail = detail
        self.may_have_arrived = may_have_arrived
        super().__init__(f"{verdict.value}: {detail}")


class Transport(Protocol):
    """One way out. Safe to share between threads and between event loops."""

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """Bring `request` out and its whole answer back within `timeout_s` seconds, all in all.

        Raises `TransportFault` and nothing else.
        """

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """The same for a caller on an event loop of asyncio, which goes on meanwhile.

        A cancellation goes through, once everything that the attempt held is given back.
        """
