"""Third parties that cost nothing: answers ready-made, failures on order, waits that take no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.client.background import BackgroundThreads
from core.client.bulkhead import Bulkhead
from core.client.call import Call, Operation, Route
from core.client.client import Client
from core.client.flights import Flights
from core.client.provider import Params
from core.clock import Clock, SystemClock, system_chance
from core.config.environment import load
from core.config.integration import IntegrationConfig
from core.integrations.address import AddressIntegration
from core.integrations.juso import JusoProvider
from core.model.address import AddressPage
from core.model.call_record import EndedCall
from core.model.calling import Safety
from core.model.identity import Sequence, new_trace_id
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.policy import CachePolicy, CallPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.policies.retry_budget import RetryBudget
from core.redaction import Redactor
from core.state.base import StateStore
from core.state.cache import CacheService
from core.state.memory import MemoryState
from core.transports.base import Transport

KEY = "U01TX0FVVEgyMDI2MDEwMTAwMDAwMDExNTI3MDc="
"""A made-up key of the length that juso.go.kr hands out."""
_ENVIRON = {
    "BONGSU_JUSO_API_KEY": KEY,
    "BONGSU_ADDRESS_RATE_LIMIT_CALLS_PER_MINUTE": "100000",
    "BONGSU_ADDRESS_RATE_LIMIT_CALLS_PER_HOUR": "1000000",
    "BONGSU_ADDRESS_CIRCUIT_BREAKER_TIMEOUT_SECONDS": "3600",
    "BONGSU_ADDRESS_RETRY_BUDGET_PERCENT": "0",
}

RETRIES: Final = 3
THRESHOLD: Final = 5
RECOVERY_S: Final = 3600
TTL_S: Final = 3600
LONGEST_WAIT_S: Final = 60
PER_MINUTE: Final = 1_000_000_000
PER_HOUR: Final = 10_000_000_000
_SECOND_US: Final = 1_000_000
NEVER_USED_UP: Final = RetryBudget(tokens=1_000_000_000)
"""A retry budget that is kept, and stops nobody."""


class HastyClock(SystemClock):
    """The machine's clock, on which waiting takes no time."""

    def sleep(self, seconds: float) -> None:
        """Return at once."""

    async def asleep(self, seconds: float) -> None:
        """Return at once."""


@dataclass(slots=True)
class Canned:
    """A transport that does nothing: after `failures` answers of illness it gives `good`, and so on in turn."""

    good: ApiResponse
    failures: int = 0
    sent: int = 0

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:  # noqa: ARG002 -- a transport's signature.
        self.sent += 1
        return self.good if self.sent % (self.failures + 1) == 0 else ILL

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        return self.send(request, timeout_s)


ILL = ApiResponse(503, (("Content-Type", "text/plain"),), b"sorry")


class Trivial:
    """A provider with next to no format: one parameter, and a body that is the answer."""

    name = "trivial"

    def __init__(self, url: str = "https://trivial.example") -> None:
        self._url = url

    def request(
        self,
        operation: str,
        params: Params,
        *,
        idempotency_key: str | None = None,  # noqa: ARG002 -- a provider's signature.
    ) -> ApiRequest:
        return ApiRequest("GET", f"{self._url}/{operation}", (("word", str(params["word"])),))

    def judge(self, operation: str, response: ApiResponse) -> Judgement:  # noqa: ARG002 -- a provider's signature.
        return _IS_WELL if response.status < ILL.status else _IS_ILL

    def read(self, operation: str, response: ApiResponse) -> str:  # noqa: ARG002 -- a provider's signature.
        return response.body.decode()

    def health_request(self) -> ApiRequest:
        return ApiRequest("GET", f"{self._url}/health")

    def imitate(self, request: ApiRequest) -> ApiResponse:  # noqa: ARG002 -- a provider's signature.
        return HELLO


HELLO = ApiResponse(200, (("Content-Type", "text/plain"),), b"hello")
_IS_WELL = Judgement(Verdict.OK)
_IS_ILL = Judgement(Verdict.UNAVAILABLE)


ANSWERS: Final = "trivial:say:"
"""What the keys of its answers begin with."""


def forget(_ended: EndedCall) -> None:
    """A call log that keeps nothing."""


def client(
    record: Callable[[EndedCall], None] = forget, state: StateStore | None = None, clock: Clock | None = None
) -> Client:
    """A client that knows one secret, on memory of its own and a clock on which nobody waits unless others are given."""
    clock = clock or HastyClock()
    state = state or MemoryState(clock)
    return Client(
        state=state,
        cache=CacheService(state, clock),
        clock=clock,
        chance=system_chance,
        redactor=Redactor([KEY]),
        sequence=Sequence(),
        record=record,
        flights=Flights(),
        bulkhead=Bulkhead(),
        background=BackgroundThreads(),
    )


def trivial_policy(
    *,
    retries: int = RETRIES,
    threshold: int | None = THRESHOLD,
    budget: RetryBudget = NEVER_USED_UP,
    has_cache: bool = True,
    local_s: float = TTL_S,
) -> CallPolicy:
    """Limits that are never met, and a circuit that stays open once it is.

    Without a threshold there is no circuit breaker. An answer is served from the process's own memory for `local_s`.
    """
    breaker = (
        BreakerPolicy(failure_threshold=threshold, recovery_us=RECOVERY_S * _SECOND_US) if threshold else None
    )
    return CallPolicy(
        timeout_s=5,
        deadline_s=60,
        retry=RetryPolicy(max_retries=retries, max_delay_s=LONGEST_WAIT_S),
        admission=AdmissionPolicy(
            breaker=breaker, limits=LimitPolicy(per_minute=PER_MINUTE, per_hour=PER_HOUR), budget=budget
        ),
        cache=CachePolicy(ttl_s=TTL_S, stale_s=0, local_s=local_s) if has_cache else None,
    )


def trivial_operation(
    transport: Transport, policy: CallPolicy, provider: Trivial | None = None
) -> Operation[str]:
    """The one operation of the trivial provider, as an integration would make it once."""
    return Operation(
        integration="trivial",
        integration_type="api",
        name="say",
        safety=Safety.SAFE,
        routes=(Route(provider or Trivial(), transport, "trivial.trivial"),),
        policy=policy,
        is_mock=False,
        substitute=None,
    )


def trivial_call(operation: Operation[str], word: str) -> Call[str]:
    """One call of it, as an integration would hand it over."""
    key = f"{ANSWERS}{word}" if operation.policy.cache else None
    return Call(operation, {"word": word}, key, new_trace_id())


def juso(base_url: str | None = None) -> JusoProvider:
    """The provider that the address integration asks first."""
    return JusoProvider(_config(base_url=base_url).provider("juso"))


def juso_answer(size: int = 10) -> ApiResponse:
    """A page of so many addresses, as juso.go.kr gives it."""
    provider = juso()
    request = provider.request("search_address", {"keyword": "테헤란로", "page": 1, "page_size": size})
    return provider.imitate(request)


def address(
    transport: Transport, used: Client, *, base_url: str | None = None, has_cache: bool = True
) -> AddressIntegration:
    """The address integration as it is configured with a key of juso.go.kr and nothing else."""
    return AddressIntegration(_config(base_url=base_url, has_cache=has_cache), used, {"juso": transport})


def _config(*, base_url: str | None, has_cache: bool = True) -> IntegrationConfig:
    environ = {**_ENVIRON, "BONGSU_ADDRESS_CACHE_ENABLED": str(has_cache).lower()}
    if base_url:
        environ["BONGSU_JUSO_BASE_URL"] = base_url
    return load(environ).integrations["address"]


def read_addresses(provider: JusoProvider, transport: Transport, keyword: str) -> AddressPage:
    """What somebody does who uses the provider's format and none of the rest."""
    request = provider.request("search_address", {"keyword": keyword, "page": 1, "page_size": 10})
    response = transport.send(request, 5)
    if provider.judge("search_address", response).verdict is not Verdict.OK:
        raise ConnectionError(response.status)
    return provider.read("search_address", response)
