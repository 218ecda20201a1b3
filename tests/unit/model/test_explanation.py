"""What an operator reads of a call: each step in its order, with the figures that decided, and the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.call_record import Attempt
from core.model.calling import CallClass, Safety
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.explanation import explained
from core.model.health import CircuitState
from core.model.verdict import Verdict


def decided(
    *admissions: AdmissionSight,
    why: Why = Why.ANSWERED,
    cache: CacheSight = CacheSight.NOT_LOOKED,
    age_ms: float | None = None,
) -> Decision:
    return Decision(
        CallClass.INTERACTIVE, Safety.SAFE, 60_000.0, "5d41402abc4b", why, cache, age_ms, admissions
    )


def step(sight: AdmissionSight) -> str:
    """The sentence about one question to the state store."""
    sentence, _ = explained(decided(sight), ())
    return sentence


def tried(attempt: Attempt) -> str:
    """The sentence about one attempt."""
    sentence, _ = explained(decided(), [attempt])
    return sentence


def test_a_call_is_told_from_its_first_step_to_its_end() -> None:
    """Whichever list a step stands in, the sentences follow the time; what was asked comes before what was sent on it."""
    decision = decided(
        AdmissionSight("juso", 0.2, Turn.GRANTED, CircuitState.CLOSED, 4, 59, 1_999),
        AdmissionSight(
            "juso", 41.0, Turn.CIRCUIT_OPEN, CircuitState.OPEN, failures=5, retry_after_ms=12_340.0
        ),
        AdmissionSight("kakao", 41.2, Turn.GRANTED, CircuitState.CLOSED, 0, wait_ms=250.0),
        why=Why.ANSWERED,
        cache=CacheSight.STALE,
        age_ms=9_000_000.0,
    )
    attempts = [
        Attempt("juso", 1, 0.2, 40.4, Verdict.UNAVAILABLE, 503, "E0001 점검 중"),
        Attempt("kakao", 2, 291.5, 33.0, Verdict.OK, 200),
    ]

    assert explained(decision, attempts) == (
        "cache: an old answer was kept, 2.5 h old",
        "juso: allowed at once (4 failures in a row; calls left: 59 this minute, 1,999 this hour)",
        "juso: attempt 1 was answered after 40 ms: it is unavailable (HTTP 503, E0001 점검 중)",
        "juso: refused, the circuit is open for another 12.3 s (5 failures in a row)",
        "kakao: allowed after waiting 250 ms for its turn",
        "kakao: attempt 2 was answered after 33 ms (HTTP 200)",
        "ended: the provider answered",
    )


@pytest.mark.parametrize(
    ("sight", "sentence"),
    [
        (
            AdmissionSight("juso", 0, Turn.GRANTED, CircuitState.HALF_OPEN, failures=1, minute_left=0),
            "juso: allowed at once as the probe of a half-open circuit (1 failure; calls left: 0 this minute)",
        ),
        (
            AdmissionSight(
                "juso", 0, Turn.CIRCUIT_OPEN, CircuitState.OPEN, retry_after_ms=600_000, reason="kim: 점검"
            ),
            "juso: refused, the circuit was forced open for another 10 min (kim: 점검)",
        ),
        (
            AdmissionSight("juso", 0, Turn.CIRCUIT_OPEN, CircuitState.HALF_OPEN, retry_after_ms=1_000),
            "juso: refused, the circuit is half open and waits for a health check",
        ),
        (AdmissionSight("juso", 0, Turn.CIRCUIT_OPEN), "juso: refused, the circuit is open"),
        (
            AdmissionSight("juso", 0, Turn.LIMIT_REACHED, minute_left=0, hour_left=7, retry_after_ms=31_000),
            (
                "juso: refused, the rate limit is used up; a turn would come in 31.0 s "
                "(calls left: 0 this minute, 7 this hour)"
            ),
        ),
        (AdmissionSight("juso", 0, Turn.LIMIT_REACHED), "juso: refused, the rate limit is used up"),
        (
            AdmissionSight("juso", 0, Turn.FETCHED_ELSEWHERE, retry_after_ms=300),
            "juso: not asked, another process was fetching the same answer",
        ),
        (
            AdmissionSight("juso", 0, Turn.FAILED_ELSEWHERE),
            "juso: not asked, another process had just failed to get the same answer",
        ),
    ],
)
def test_each_refusal_says_who_refused_and_until_when(sight: AdmissionSight, sentence: str) -> None:
    assert step(sight) == sentence


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (
            Attempt("ses", 1, 0, 10_000, Verdict.TIMED_OUT),
            "ses: attempt 1 was not answered within 10.0 s, and may have arrived",
        ),
        (
            Attempt("ses", 1, 0, 3, Verdict.DISCONNECTED, detail="refused", may_have_arrived=False),
            "ses: attempt 1 lost its connection after 3 ms, and did not arrive (refused)",
        ),
        (
            Attempt("juso", 2, 0, 3, Verdict.THROTTLED, 429, retry_after=150.0),
            "juso: attempt 2 was answered after 3 ms: we are to slow down (HTTP 429); come back in 2 min",
        ),
        (
            Attempt("juso", 1, 0, 3, Verdict.NOT_FOUND),
            "juso: attempt 1 was answered after 3 ms: there is no such thing",
        ),
    ],
)
def test_each_attempt_says_what_came_of_it(attempt: Attempt, sentence: str) -> None:
    """And of one without an answer whether the provider may have acted on it."""
    assert tried(attempt) == sentence


@pytest.mark.parametrize(
    ("cache", "age_ms", "sentences"),
    [
        (CacheSight.NOT_LOOKED, None, ()),
        (CacheSight.NOTHING, None, ("cache: no answer was kept",)),
        (
            CacheSight.FRESH_HERE,
            1_500.0,
            ("cache: a fresh answer was kept in this process, 1.5 s old",),
        ),
        (CacheSight.FRESH, 60_000.0, ("cache: a fresh answer was kept, 60.0 s old",)),
        (CacheSight.STALE, None, ("cache: an old answer was kept",)),
    ],
)
def test_what_was_found_in_the_cache_comes_first(
    cache: CacheSight, age_ms: float | None, sentences: tuple[str, ...]
) -> None:
    decision = decided(AdmissionSight("juso", 0, Turn.CIRCUIT_OPEN), cache=cache, age_ms=age_ms)

    assert explained(decision, ())[:-2] == sentences


def test_a_call_that_ran_out_of_time_says_how_much_it_had() -> None:
    assert explained(decided(why=Why.DEADLINE), ())[-1] == (
        "ended: of the 60.0 s that the call had, too little was left"
    )


def test_no_two_reasons_read_alike() -> None:
    """Whoever reads the sentence knows which of the reasons it was."""
    ends = {explained(decided(why=why), ())[-1] for why in Why}
    turns = {step(AdmissionSight("juso", 0, turn)) for turn in Turn}
    verdicts = {tried(Attempt("juso", 1, 0, 1, verdict)) for verdict in Verdict}

    assert (len(ends), len(turns), len(verdicts)) == (len(Why), len(Turn), len(Verdict))


@given(
    st.lists(
        st.builds(
            AdmissionSight,
            st.sampled_from(["juso", "kakao"]),
            st.floats(0, 1e6),
            st.sampled_from(Turn),
            st.none() | st.sampled_from(CircuitState),
            st.none() | st.integers(0, 9),
            wait_ms=st.floats(0, 1e9),
            retry_after_ms=st.none() | st.floats(0, 1e9),
            reason=st.none() | st.text(),
        ),
        max_size=5,
    ),
    st.lists(
        st.builds(
            Attempt,
            st.sampled_from(["juso", "kakao"]),
            st.integers(1, 9),
            st.floats(0, 1e6),
            st.floats(0, 1e9),
            st.sampled_from(Verdict),
            detail=st.text(),
        ),
        max_size=5,
    ),
    st.sampled_from(Why),
    st.sampled_from(CacheSight),
)
def test_each_step_of_any_call_has_one_sentence(
    admissions: list[AdmissionSight], attempts: list[Attempt], why: Why, cache: CacheSight
) -> None:
    """None is left out, none is told twice, and each is one line that names its subject, whatever others wrote."""
    sentences = explained(decided(*admissions, why=why, cache=cache), attempts)

    has_cache = cache is not CacheSight.NOT_LOOKED
    assert len(sentences) == has_cache + len(admissions) + len(attempts) + 1
    subjects = [sentence.split(":", maxsplit=1)[0] for sentence in sentences]
    providers = [sight.provider for sight in admissions] + [attempt.provider for attempt in attempts]
    assert sorted(subjects) == sorted([*providers, *["cache"] * has_cache, "ended"])
    assert all(len(sentence.splitlines()) == 1 for sentence in sentences)
