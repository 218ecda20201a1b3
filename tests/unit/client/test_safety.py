"""What may not be done twice is never asked twice, and what bears a key bears the same at every attempt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CallError, OutcomeUnknown
from core.model.calling import Safety
from core.model.decision import Why
from tests.fakes import FakeClock
from tests.scripted import Bench, Outcome, answer, cut_off, outage


def bench(safety: Safety, **scripts: list[Outcome]) -> Bench:
    return Bench(FakeClock(), safety=safety).providers(**scripts)


def keys(bench: Bench, provider: str = "alpha") -> Iterator[str | None]:
    return (dict(request.headers).get("Idempotency-Key") for request, _ in bench.transports[provider].sent)


def test_every_attempt_bears_the_key_that_stands_in_the_record() -> None:
    words = bench(Safety.IDEMPOTENT, alpha=[outage(), cut_off(), answer("ok:done")])

    words.call()

    [key] = set(keys(words))
    assert words.sent() == 3
    assert words.records[0].idempotency_key == key
    assert key is not None
    assert len(key) == 32


def test_a_call_bears_the_key_that_its_caller_gives_it() -> None:
    words = bench(Safety.IDEMPOTENT, alpha=[answer("ok:done")])

    words.client.call(words.wanted()._replace(idempotency_key="order 17"))

    assert set(keys(words)) == {"order 17"}


def test_two_calls_bear_different_keys() -> None:
    words = bench(Safety.IDEMPOTENT, alpha=[answer("ok:done")])

    words.call()
    words.call()

    assert len(set(keys(words))) == 2


@pytest.mark.parametrize("safety", [Safety.SAFE, Safety.UNSAFE])
def test_what_needs_no_key_bears_none(safety: Safety) -> None:
    words = bench(safety, alpha=[answer("ok:done")])

    words.call()

    assert set(keys(words)) == {None}
    assert words.records[0].idempotency_key is None


def test_an_unsafe_call_whose_fate_is_not_known_says_so_and_is_not_repeated() -> None:
    words = bench(Safety.UNSAFE, alpha=[cut_off(), answer("ok:done")], beta=[answer("ok:done")])

    with pytest.raises(OutcomeUnknown, match="disconnected: the connection broke") as unknown:
        words.call()

    assert (words.sent("alpha"), words.sent("beta")) == (1, 0)
    assert words.records[0].decision is not None
    assert words.records[0].decision.why is Why.OUTCOME_UNKNOWN
    assert "확인" in unknown.value.user_message("ko")


def test_an_unsafe_call_that_the_provider_surely_did_not_take_is_repeated() -> None:
    words = bench(Safety.UNSAFE, alpha=[answer("not-now"), answer("ok:done")])

    assert words.call().value == "done"
    assert [attempt.may_have_arrived for attempt in words.records[0].attempts] == [False, True]


outcomes: st.SearchStrategy[list[Outcome]] = st.lists(
    st.one_of(
        st.sampled_from(("ok:hi", "missing", "wrong", "key", "slow-down:2", "not-now", "gibberish")).map(
            answer
        ),
        st.builds(outage),
        st.builds(cut_off),
    ),
    min_size=1,
    max_size=8,
)


@given(alpha=outcomes, beta=outcomes)
def test_nothing_unsafe_is_sent_after_it_may_have_arrived(alpha: list[Outcome], beta: list[Outcome]) -> None:
    words = bench(Safety.UNSAFE, alpha=alpha, beta=beta)

    with contextlib.suppress(CallError):
        words.call()

    arrived = [attempt.may_have_arrived for attempt in words.records[0].attempts]
    assert not any(arrived[:-1])
