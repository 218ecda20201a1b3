"""One call as an integration hands it over: what is wanted, who can be asked, and by which policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from core.client.provider import Params, Provider
from core.errors import CallRejected
from core.model.answer import Source
from core.model.calling import CallClass, Safety
from core.policies.policy import CallPolicy
from core.transports.base import Transport

T_co = TypeVar("T_co", covariant=True)


class Route(NamedTuple, Generic[T_co]):
    """One way to an answer: a provider, the transport to it, and the name of the circuit that guards it."""

    provider: Provider[T_co]
    transport: Transport
    circuit: str


class Operation(NamedTuple, Generic[T_co]):
    """What all calls of one operation share; made once, not for each call.

    `substitute` gives what may stand in when no provider gave an answer and none is kept, with its source (`MANUAL` or
    `DEFAULT`); it is None, or answers None, when there is nothing.
    """

    integration: str
    integration_type: str
    name: str
    safety: Safety
    routes: tuple[Route[T_co], ...]
    policy: CallPolicy
    is_mock: bool
    substitute: Callable[[Params], tuple[Source, T_co] | None] | None = None


class Call(NamedTuple, Generic[T_co]):
    """One call. `cache_key` is None when its answers are not kept.

    `idempotency_key` is what an idempotent operation bears at the provider; None lets the client draw one. `refusal` is
    what is known to be wrong before anything is asked (bad input, switched off, no credentials): the call then ends
    with it, and is on record like any other. `refreshes` marks a call that renews a kept answer behind a caller.
    """

    operation: Operation[T_co]
    params: Params
    cache_key: str | None
    trace_id: str
    user_id: str | None = None
    call_class: CallClass = CallClass.INTERACTIVE
    idempotency_key: str | None = None
    refusal: CallRejected | None = None
    refreshes: bool = False
