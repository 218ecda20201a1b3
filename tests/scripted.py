"""A provider and a transport that do what a test tells them: real code on a trivial wire format.

The wire format is one word a body: `ok:<text>` is an answer, `missing` is not-found, `wrong` is the caller's
mistake, `slow-down:<seconds>` asks for a pause, `doubt` is a refusal that may be a mistake, `key` one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.client.provider import Params
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict
from core.transports.base import TransportFault
from tests.fakes import FakeClock

_JUDGEMENTS = {
    "ok": Judgement(Verdict.OK),
    "missing": Judgement(Verdict.NOT_FOUND),
    "wrong": Judgement(Verdict.REQUEST_REFUSED, "no such word"),
    "doubt": Judgement(Verdict.CREDENTIALS_REFUSED, is_doubtful=True),
    "key": Judgement(Verdict.CREDENTIALS_REFUSED),
}


@dataclass(frozen=True)
class WordProvider:
    """Asks with the parameter `word` and answers with text."""

    name: str = "alpha"

    def request(self, operation: str, params: Params) -> ApiRequest:
        return ApiRequest("GET", f"https://{self.name}.example/{operation}", (("word", str(params["word"])),))

    def judge(self, operation: str, response: ApiResponse) -> Judgement:
        if response.status >= 500:
            return Judgement(Verdict.UNAVAILABLE, f"HTTP {response.status}")
        word, _, rest = response.body.decode().partition(":")
        if word == "slow-down":
            return Judgement(Verdict.THROTTLED, retry_after=float(rest))
        return _JUDGEMENTS.get(word, Judgement(Verdict.MALFORMED, word))

    def read(self, operation: str, response: ApiResponse) -> str:
        return response.body.decode().removeprefix("ok:")

    def health_request(self) -> ApiRequest:
        return ApiRequest("GET", f"https://{self.name}.example/health")

    def imitate(self, request: ApiRequest) -> ApiResponse:
        return answer(f"ok:mock {dict(request.params)['word']}")


Outcome = ApiResponse | TransportFault | BaseException


@dataclass
class ScriptedTransport:
    """Gives the outcomes of its script in order, the last one again and again. Each takes `takes_s` seconds."""

    clock: FakeClock
    script: list[Outcome]
    takes_s: float = 0.01
    sent: list[tuple[ApiRequest, float]] = field(default_factory=list)

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        self.sent.append((request, timeout_s))
        outcome = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.clock.advance(min(self.takes_s, timeout_s))
        if isinstance(outcome, ApiResponse):
            return outcome
        raise outcome


def answer(body: str, status: int = 200) -> ApiResponse:
    """An answer on the wire."""
    return ApiResponse(status, (("Content-Type", "text/plain"),), body.encode())


def outage() -> ApiResponse:
    """What a provider that is broken says."""
    return answer("sorry", 503)


def cut_off() -> TransportFault:
    """A connection that broke."""
    return TransportFault(Verdict.DISCONNECTED, "the connection broke", may_have_arrived=True)


def repeated(outcome: Outcome, times: int, then: Iterable[Outcome]) -> list[Outcome]:
    """`outcome` so many times, then the rest."""
    return [*([outcome] * times), *then]
