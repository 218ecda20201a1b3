"""Third parties that cost nothing: answers ready-made, failures on order, waits that take no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.client.call import Call, Route
from core.client.client import Client
from core.client.provider import Params
from core.clock import SystemClock, system_chance
from core.config.environment import load
from core.config.integration import IntegrationConfig
from core.integrations.address import AddressIntegration
from core.integrations.juso import JusoProvider
from core.model.address import AddressPage
from core.model.call_record import CallRecord
from core.model.identity import Sequence
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.policy import CachePolicy, CallPolicy
from core.policies.rate_limit import LimitPolicy
from core.policies.retry import RetryPolicy
from core.redaction import Redactor
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
}


class HastyClock(SystemClock):
    """The machine's clock, on which waiting takes no time."""

    def sleep(self, seconds: float) -> None:
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


ILL = ApiResponse(503, (("Content-Type", "text/plain"),), b"sorry")


class Trivial:
    """A provider with next to no format: one parameter, and a body that is the answer."""

    name = "trivial"

    def request(self, operation: str, params: Params) -> ApiRequest:
        return ApiRequest("GET", f"https://trivial.example/{operation}", (("word", str(params["word"])),))

    def judge(self, operation: str, response: ApiResponse) -> Judgement:  # noqa: ARG002 -- a provider's signature.
        return Judgement(Verdict.OK if response.status < ILL.status else Verdict.UNAVAILABLE)

    def read(self, operation: str, response: ApiResponse) -> str:  # noqa: ARG002 -- a provider's signature.
        return response.body.decode()

    def health_request(self) -> ApiRequest:
        return ApiRequest("GET", "https://trivial.example/health")

    def imitate(self, request: ApiRequest) -> ApiResponse:  # noqa: ARG002 -- a provider's signature.
        return HELLO


HELLO = ApiResponse(200, (("Content-Type", "text/plain"),), b"hello")


def forget(_record: CallRecord) -> None:
    """A call log that keeps nothing."""


def client(record: Callable[[CallRecord], None] = forget) -> Client:
    """A client on memory state of its own, which knows one secret."""
    clock = HastyClock()
    state = MemoryState(clock)
    return Client(
        state=state,
        cache=CacheService(state, clock),
        clock=clock,
        chance=system_chance,
        redactor=Redactor([KEY]),
        sequence=Sequence(),
        record=record,
    )


def trivial_policy(*, has_cache: bool) -> CallPolicy:
    """Limits that are never met, and a circuit that stays open once it is."""
    return CallPolicy(
        timeout_s=5,
        deadline_s=60,
        retry=RetryPolicy(),
        admission=AdmissionPolicy(
            breaker=BreakerPolicy(recovery_us=3_600_000_000),
            limits=LimitPolicy(per_minute=1_000_000_000, per_hour=10_000_000_000),
        ),
        cache=CachePolicy(ttl_s=3600, stale_s=0) if has_cache else None,
    )


def trivial_call(transport: Transport, word: str, policy: CallPolicy) -> Call[str]:
    """A call of the trivial provider, as an integration would hand it over."""
    return Call(
        integration="trivial",
        integration_type="api",
        operation="say",
        params={"word": word},
        routes=(Route(Trivial(), transport, "trivial.trivial"),),
        policy=policy,
        cache_key=f"trivial:say:{word}" if policy.cache else None,
        trace_id="0" * 32,
        user_id=None,
        is_mock=False,
    )


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
