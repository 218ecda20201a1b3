"""`BaseIntegration`: what every third party's integration shares, and what each has to say for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, TypeVar

from core.client.call import Call, Operation, Route
from core.client.client import Client
from core.client.provider import Params, Provider
from core.config.integration import IntegrationConfig
from core.errors import CallRejected, IntegrationDisabled, InvalidRequest, NotConfigured
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import HEALTH_CHECK, Attempt
from core.model.calling import CallClass, Safety
from core.model.identity import current_trace_id
from core.policies.cache import cache_key
from core.policies.policy import CallPolicy
from core.transports.base import Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """How one provider answered its health request."""

    provider: str
    attempt: Attempt


class BaseIntegration(ABC, Generic[T]):
    """One third party, by one or more providers.

    A subclass names its `operations` and what asking twice would do, builds its `_providers`, checks its callers' parameters in `_validated`,
    and says in `health_check` how its health is found out. Everything else (retry, circuit breaker, limits,
    cache, fallback, mock mode, record) is the same for all.
    """

    operations: ClassVar[Mapping[str, Safety]]

    def __init__(
        self, config: IntegrationConfig, client: Client, transports: Mapping[str, Transport]
    ) -> None:
        """`transports` holds one transport a provider, by name: real ones, or mocks in mock mode."""
        self.config = config
        self._client = client
        self._policy = CallPolicy.of(config)
        self._configuration = "mock" if config.is_mock_mode else _addresses(config)
        self._routes = tuple(
            Route(provider, transports[provider.name], self.circuit(provider.name))
            for provider in self._providers(config)
        )
        self._operations = {
            name: self._operation(name, safety)
            for name, safety in (*self.operations.items(), (HEALTH_CHECK, Safety.SAFE))
        }

    @abstractmethod
    def _providers(self, config: IntegrationConfig) -> Sequence[Provider[T]]:
        """The providers that can be asked (`config.configured_providers`), first choice first."""

    @abstractmethod
    def _validated(self, operation: str, params: Params) -> Params:
        """The parameters in their one canonical form. Raises `Invalid` when they are not acceptable."""

    @abstractmethod
    def health_check(self) -> tuple[ProviderCheck, ...]:
        """Ask each provider, in the cheapest way it offers, whether it is well. Never raises for what it does."""

    @property
    def name(self) -> str:
        return self.config.integration_name

    @property
    def is_enabled(self) -> bool:
        """Whether it may be called at all."""
        return self.config.is_enabled

    @property
    def circuits(self) -> dict[str, str]:
        """The circuit of each provider that can be asked."""
        return {route.provider.name: route.circuit for route in self._routes}

    @property
    def policy(self) -> CallPolicy:
        return self._policy

    def circuit(self, provider: str) -> str:
        """The name under which all processes share what they know of a provider. A mock has its own."""
        return f"{self.name}.{provider}" + (".mock" if self.config.is_mock_mode else "")

    def call(
        self,
        operation: str,
        params: Params,
        *,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
        idempotency_key: str | None = None,
    ) -> IntegrationResponse[T]:
        """Carry out one operation. Raises the `CallError` that says how it failed, or why it was not sent.

        An operation that is idempotent bears `idempotency_key`, or one drawn for this call, at every attempt: pass the
        key of an earlier call to ask again without having it done twice.
        """
        return self._call_with_retry(self._call(operation, params, user_id, call_class, idempotency_key))

    async def acall(
        self,
        operation: str,
        params: Params,
        *,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
        idempotency_key: str | None = None,
    ) -> IntegrationResponse[T]:
        """`call`, without holding up the event loop."""
        return await self._client.acall(self._call(operation, params, user_id, call_class, idempotency_key))

    def _call_with_retry(self, call: Call[T]) -> IntegrationResponse[T]:
        return self._client.call(call)

    def _handle_circuit_open(self, operation: str, params: Params) -> tuple[Source, T] | None:
        """What stands in when the circuit is open, or no provider answers, and no answer of theirs is kept.

        Nothing, unless a subclass knows better: a person's entry (`Source.MANUAL`), else a default (`Source.DEFAULT`).
        """

    def _generate_cache_key(self, operation: str, params: Params) -> str | None:
        """The key that equal requests share; None when answers are not kept.

        A mock's answers are its own, and so are those of providers elsewhere: a change of address begins anew. Only what changes nothing is answered from the cache.
        """
        if self._policy.cache is None or self.operations[operation] is not Safety.SAFE:
            return None
        return cache_key(self.name, operation, params, configuration=self._configuration)

    def _check_providers(self) -> tuple[ProviderCheck, ...]:
        """Send every provider its health request, one after the other."""
        call = Call(self._operations[HEALTH_CHECK], {}, None, current_trace_id())
        return tuple(
            ProviderCheck(route.provider.name, self._client.check(call, route)) for route in self._routes
        )

    def _call(
        self,
        operation: str,
        params: Params,
        user_id: str | None,
        call_class: CallClass,
        idempotency_key: str | None,
    ) -> Call[T]:
        """The call, with its parameters in their one form; or with what is wrong with it."""
        trace_id = current_trace_id()
        refusal = self._refusal(operation, trace_id)
        key = None
        if refusal is None:
            try:
                params = self._validated(operation, params)
                key = self._generate_cache_key(operation, params)
            except Invalid as invalid:
                refusal = InvalidRequest(
                    str(invalid), integration=self.name, operation=operation, trace_id=trace_id
                )
        return Call(
            self._operations[operation], params, key, trace_id, user_id, call_class, idempotency_key, refusal
        )

    def _operation(self, name: str, safety: Safety) -> Operation[T]:
        return Operation(
            integration=self.name,
            integration_type=self.config.integration_type.value,
            name=name,
            safety=safety,
            routes=self._routes,
            policy=self._policy,
            is_mock=self.config.is_mock_mode,
            substitute=partial(self._handle_circuit_open, name) if self._has_substitutes else None,
        )

    @property
    def _has_substitutes(self) -> bool:
        own = type(self)._handle_circuit_open  # noqa: SLF001 -- our own method, as the subclass has it.
        return own is not BaseIntegration._handle_circuit_open

    def _refusal(self, operation: str, trace_id: str) -> CallRejected | None:
        if operation not in self.operations:
            raise ValueError(f"{self.name} has no operation {operation!r}; it has {sorted(self.operations)}.")
        if not self.config.is_enabled:
            return IntegrationDisabled(integration=self.name, operation=operation, trace_id=trace_id)
        if not self._routes:
            keys = " or ".join(
                f"BONGSU_{provider.name.upper()}_API_KEY" for provider in self.config.providers
            )
            return NotConfigured(f"set {keys}", integration=self.name, operation=operation, trace_id=trace_id)
        return None


def _addresses(config: IntegrationConfig) -> str:
    """A name of where the answers come from."""
    return " ".join(f"{provider.name} {provider.base_url}" for provider in config.configured_providers)


class Invalid(ValueError):
    """What is wrong with a caller's parameters, for the caller to read."""
