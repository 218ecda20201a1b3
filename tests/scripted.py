"""A provider and a transport that do what a test tells them: real code on a trivial wire format.

The wire format is one word a body: `ok:<text>` is an answer, `missing` is not-found, `wrong` is the caller's
mistake, `slow-down:<seconds>` asks for a pause, `doubt` is a refusal that may be a mistake, `key` one that is not, and `not-now`
is a failure in which nothing was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from core.client.bulkhead import Bulkhead
from core.client.call import Call, Operation, Route
from core.client.client import Client
from core.client.flights import Flights
from core.client.provider import Params
from core.model.answer import IntegrationResponse
from core.model.call_record import CallRecord, EndedCall
from core.model.calling import CallClass, Safety
from core.model.identity import Sequence
from core.model.message import ApiRequest, ApiResponse, Pairs
from core.model.verdict import Judgement, Verdict
from core.policies.admission import AdmissionPolicy
from core.policies.policy import CachePolicy, CallPolicy
from core.policies.retry import RetryPolicy
from core.redaction import Redactor
from core.state.cache import CacheService
from core.state.memory import MemoryState
from core.transports.base import TransportFault
from tests.fakes import FakeChance, FakeClock

_JUDGEMENTS = {
    "ok": Judgement(Verdict.OK),
    "missing": Judgement(Verdict.NOT_FOUND),
    "wrong": Judgement(Verdict.REQUEST_REFUSED, "no such word"),
    "doubt": Judgement(Verdict.CREDENTIALS_REFUSED, is_doubtful=True),
    "key": Judgement(Verdict.CREDENTIALS_REFUSED),
    "not-now": Judgement(Verdict.UNAVAILABLE, nothing_accepted=True),
}


@dataclass(frozen=True)
class WordProvider:
    """Asks with the parameter `word` and answers with text."""

    name: str = "alpha"

    def request(self, operation: str, params: Params, *, idempotency_key: str | None = None) -> ApiRequest:
        headers = (("Idempotency-Key", idempotency_key),) if idempotency_key else ()
        word = (("word", str(params["word"])),)
        return ApiRequest("GET", f"https://{self.name}.example/{operation}", word, headers)

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


@dataclass(frozen=True)
class LetterProvider(WordProvider):
    """Sends the parameter `letter` as the body of a POST, under the headers that it was made with."""

    headers: Pairs = ()

    def request(self, operation: str, params: Params, *, idempotency_key: str | None = None) -> ApiRequest:
        url = f"https://{self.name}.example/{operation}"
        return ApiRequest("POST", url, (), self.headers, str(params["letter"]).encode())


Outcome = ApiResponse | TransportFault | BaseException


@dataclass
class ScriptedTransport:
    """Gives the outcomes of its script in order, the last one again and again. Each takes `takes_s` seconds."""

    clock: FakeClock
    script: list[Outcome]
    takes_s: float = 0.01
    sent: list[tuple[ApiRequest, float]] = field(default_factory=list)

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        outcome = self._next(request, timeout_s)
        if isinstance(outcome, ApiResponse):
            return outcome
        raise outcome

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        return self.send(request, timeout_s)

    def _next(self, request: ApiRequest, timeout_s: float) -> Outcome:
        self.sent.append((request, timeout_s))
        outcome = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.clock.advance(min(self.takes_s, timeout_s))
        return outcome


POLICY = CallPolicy(
    timeout_s=5,
    deadline_s=60,
    retry=RetryPolicy(),
    admission=AdmissionPolicy(),
    cache=CachePolicy(ttl_s=60, stale_s=600),
)


@dataclass
class Errands:
    """A `core.client.background.Background` whose errands wait until a test runs them."""

    waiting: list[Callable[[], object]] = field(default_factory=list)

    def submit(self, errand: Callable[[], object]) -> bool:
        self.waiting.append(errand)
        return True

    def run(self) -> None:
        """Run what is waiting, in order."""
        while self.waiting:
            self.waiting.pop(0)()


@dataclass
class Bench:
    """A client on fakes, with a list for a call log."""

    clock: FakeClock
    policy: CallPolicy = POLICY
    safety: Safety = Safety.SAFE
    records: list[CallRecord] = field(default_factory=list)
    transports: dict[str, ScriptedTransport] = field(default_factory=dict)
    errands: Errands = field(default_factory=Errands)

    def __post_init__(self) -> None:
        self.state = MemoryState(self.clock)
        self.client = self.another_client()

    def another_client(self) -> Client:
        """A client of another process, as it were: it shares the store, and no memory of its own."""
        return Client(
            state=self.state,
            cache=CacheService(self.state, self.clock),
            clock=self.clock,
            chance=FakeChance([0.5]),
            redactor=Redactor([]),
            sequence=Sequence(),
            record=self._note,
            flights=Flights(),
            bulkhead=Bulkhead(),
            background=self.errands,
        )

    def _note(self, ended: EndedCall) -> None:
        self.records.append(ended.record())

    def providers(self, **scripts: list[Outcome]) -> Bench:
        """One provider a keyword, each with the script of its transport."""
        self.transports = {name: ScriptedTransport(self.clock, script) for name, script in scripts.items()}
        return self

    def routes(self) -> tuple[Route[str], ...]:
        return tuple(
            Route(WordProvider(name), transport, f"words.{name}")
            for name, transport in self.transports.items()
        )

    def operation(self) -> Operation[str]:
        return Operation(
            integration="words",
            integration_type="api",
            name="look_up",
            safety=self.safety,
            routes=self.routes(),
            policy=self.policy,
            is_mock=False,
        )

    def wanted(self, word: str = "hello", call_class: CallClass = CallClass.INTERACTIVE) -> Call[str]:
        key = f"words:look_up:{word}" if self.policy.cache and self.safety is Safety.SAFE else None
        return Call(self.operation(), {"word": word}, key, "0" * 32, "ops", call_class)

    def call(self, word: str = "hello") -> IntegrationResponse[str]:
        return self.client.call(self.wanted(word))

    def sent(self, provider: str = "alpha") -> int:
        return len(self.transports[provider].sent)


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
