"""How a call ends: the answer that is served, kept and shared, or the error that is raised."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar, assert_never, cast

from core.client import failure
from core.client.run import Run
from core.errors import CallError
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import Attempt
from core.model.decision import Why
from core.model.verdict import Verdict
from core.policies import pipeline

T = TypeVar("T")

BEING_FETCHED = "a fresh answer is being fetched"


def conclude(run: Run[T], ending: pipeline.Ending) -> IntegrationResponse[T]:
    """End the call as the flow says. Raises the `CallError` that says how it failed, or why it was not sent."""
    run.why = ending.why
    match ending:
        case pipeline.Serve(Source.LIVE):
            return serve_live(run)
        case pipeline.Serve(source):
            return _serve_kept(run, source, BEING_FETCHED if source is Source.STALE else None)
        case pipeline.FallBack(source, because):
            error = _error(run, because)
            run.blame_on(error, ending.why)
            if source is Source.STALE:
                return _serve_kept(run, source, str(error))
            return _serve_substitute(run, str(error))
        case pipeline.Share():
            return _serve_shared(run)
        case pipeline.GiveUp(attempt, why):
            if why is Why.OUTCOME_UNKNOWN:
                raise failure.unknown(run.call, run.clean(attempt))
            if attempt.verdict is Verdict.NOT_FOUND:
                _keep_negative(run, attempt)
            raise failure.failed(run.call, run.clean(attempt))
        case pipeline.Reject(refusal):
            raise _error(run, refusal)
        case _:
            assert_never(ending)


def serve_live(run: Run[T]) -> IntegrationResponse[T]:
    """The answer that just came."""
    response, route = run.response, run.route
    if response is None or route is None:
        raise RuntimeError("A live answer is served only after one came.")
    operation, call = run.operation, run.call
    provider, key, cache = route.provider.name, call.cache_key, operation.policy.cache
    value = route.provider.read(operation.name, response)
    run.source = Source.MOCK if operation.is_mock else Source.LIVE
    answer = IntegrationResponse(value, run.source, provider, call.trace_id, 0.0, len(run.attempts))
    if key is not None and cache is not None:
        run.has_lease = False
        run.tools.cache.keep(key, run.owner(), response, provider, cache, ttl_s=cache.ttl_s)
        run.tools.cache.put_near(key, value, provider, len(response.body), cache.local_s)
    run.answer = answer
    return answer


def _keep_negative(run: Run[T], attempt: Attempt) -> None:
    """Remember for a while that the provider knows no such thing."""
    key, cache = run.call.cache_key, run.operation.policy.cache
    if key is None or cache is None or not cache.negative_s or run.response is None:
        return
    run.has_lease = False
    negative = replace(cache, stale_s=0.0, revalidate_s=0.0)
    run.tools.cache.keep(key, run.owner(), run.response, attempt.provider, negative, ttl_s=cache.negative_s)


def _serve_kept(run: Run[T], source: Source, because: str | None) -> IntegrationResponse[T]:
    if run.kept is None:
        raise RuntimeError("A kept answer is served only when one was found.")
    route, kept = run.kept
    run.provider = route.provider.name
    run.source = source
    judgement = route.provider.judge(run.operation.name, kept.response)
    if judgement.verdict is not Verdict.OK:
        attempt = Attempt(run.provider, len(run.attempts), 0.0, 0.0, judgement.verdict)
        raise failure.failed(run.call, attempt._replace(detail=run.tools.redactor.text(judgement.detail)))
    value = route.provider.read(run.operation.name, kept.response)
    age = kept.age(run.tools.clock.now())
    cache, key = run.operation.policy.cache, run.call.cache_key
    if cache is not None and key is not None and source is Source.CACHE:
        local_s = min(cache.local_s, kept.ttl_seconds - age)
        run.tools.cache.put_near(key, value, run.provider, len(kept.response.body), local_s, age_s=age)
    answer = IntegrationResponse(
        value, source, run.provider, run.call.trace_id, age, len(run.attempts), because
    )
    run.answer = answer
    return answer


def _serve_substitute(run: Run[T], because: str) -> IntegrationResponse[T]:
    if run.substitute is None:
        raise RuntimeError("Only what the integration has can stand in.")
    run.source, value = run.substitute
    answer = IntegrationResponse(
        value, run.source, run.provider or "", run.call.trace_id, 0.0, len(run.attempts), because
    )
    run.answer = answer
    return answer


def _serve_shared(run: Run[T]) -> IntegrationResponse[T]:
    shared = run.shared
    if shared.error is not None:
        raise failure.shared(run.call, shared.error)
    if shared.answer is None:
        raise RuntimeError("There is something to share only after a flight has landed.")
    run.provider, run.source, run.blame = shared.answer.provider, shared.answer.source, shared.blame
    # The key names the question, and so the type of its answer.
    answer = cast("IntegrationResponse[T]", shared.answer)
    return answer._replace(trace_id=run.call.trace_id)


def _error(run: Run[T], because: Attempt | pipeline.Refusal) -> CallError:
    if isinstance(because, Attempt):
        return failure.failed(run.call, run.clean(because))
    return failure.rejected(run.call, because, len(run.attempts))
