"""One call as an integration hands it over: what is wanted, who can be asked, and by which policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from core.client.provider import Params, Provider
from core.errors import CallRejected
from core.policies.policy import CallPolicy
from core.transports.base import Transport

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Route(Generic[T_co]):
    """One way to an answer: a provider, the transport to it, and the name of the circuit that guards it."""

    provider: Provider[T_co]
    transport: Transport
    circuit: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One call. `cache_key` is None when its answers are not kept.

    `refusal` is what is known to be wrong before anything is asked (bad input, switched off, no credentials):
    the call then ends with it, and is on record like any other.
    """

    integration: str
    integration_type: str
    operation: str
    params: Params
    routes: tuple[Route[T_co], ...]
    policy: CallPolicy
    cache_key: str | None
    trace_id: str
    user_id: str | None
    is_mock: bool
    refusal: CallRejected | None = None
