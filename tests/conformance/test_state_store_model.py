"""Every state store against the plain reference: whatever happens, in whatever order, they say the same."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from core.model.calling import CallClass, LimitMode
from core.policies.admission import AdmissionPolicy, Ask, Granted, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.override import OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.policies.retry_budget import RetryBudget
from core.state.base import Ended, Release, Settle, Wanted
from tests.conformance.reference import Reference
from tests.conformance.stores import NAMES, SECOND, Handle, open_store, to_keep

CIRCUITS = ("address.juso", "company.nice {1}")
KEYS = ("address:search:1", "address:search:2", "company:{1}:é")
OWNERS = ("one", "two", "한글 3")
POLICIES = (
    AdmissionPolicy(),
    AdmissionPolicy(
        BreakerPolicy(failure_threshold=1, recovery_us=2 * SECOND, probe_lease_us=SECOND, probes=2), None
    ),
    AdmissionPolicy(
        BreakerPolicy(failure_threshold=2, recovery_us=500_000, probe_lease_us=250_000, probes_by_check=True),
        LimitPolicy(per_minute=30, per_hour=40, max_wait_us=20 * SECOND),
        RetryBudget(tokens=3, percent=40),
    ),
    AdmissionPolicy(
        BreakerPolicy(failure_threshold=50, failure_percent=60, slow_percent=50, minimum_calls=3),
        LimitPolicy(per_minute=6, per_hour=20, max_wait_us=0, mode=LimitMode.BUCKET),
    ),
    AdmissionPolicy(
        None, LimitPolicy(per_minute=3, per_hour=7, max_wait_us=30 * SECOND, mode=LimitMode.EXACT), None
    ),
    AdmissionPolicy(None, LimitPolicy(per_minute=3, per_hour=7, max_wait_us=0, reserved_percent=50)),
    AdmissionPolicy(None, None, None),
)
SHORT = st.sampled_from([0, 1, 249_999, 250_000, SECOND, 2 * SECOND])
LONG = st.sampled_from([60 * SECOND, 300 * SECOND, 1_000 * SECOND, 3_600 * SECOND])
BACK = SHORT | LONG | st.integers(0, 100 * SECOND)
_FRESH_SECONDS = st.sampled_from([0, 150, 400])
_KEEP_SECONDS = st.sampled_from([0, 200, 700])
_REAL_TIME_US = 30 * SECOND
_eras = count()


class Begun(NamedTuple):
    """An attempt that was granted, and what it asked for."""

    circuit: str
    policy: AdmissionPolicy
    granted: Granted


class StoreAgainstReference(RuleBasedStateMachine):
    """One store, and the reference at the store's own time."""

    handle: Handle
    begun: Bundle[Begun] = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        self.model = Reference()
        self.store = self.handle.store
        self.run = next(_eras)
        self.begin_an_era()

    def begin_an_era(self) -> None:
        """Names that nobody has used: what is kept lives by other clocks than circuits, and is not set back."""
        era = next(_eras)
        self.keys = {key: f"{key}#{era}" for key in KEYS}

    @property
    def now(self) -> int:
        return self.handle.now_us()

    def circuit(self, name: str) -> str:
        return f"{name}#{self.run}"

    @rule(
        target=begun,
        name=st.sampled_from(CIRCUITS),
        policy=st.sampled_from(POLICIES),
        wait=st.sampled_from([0, 1, 60]),
        call_class=st.sampled_from(CallClass),
        is_check=st.booleans(),
        wanted=st.none()
        | st.builds(
            Wanted,
            key=st.sampled_from(KEYS),
            owner=st.sampled_from(OWNERS),
            lease_us=st.sampled_from([1, SECOND, 31 * SECOND]),
            has_waited=st.booleans(),
            refreshes=st.booleans(),
        ),
    )
    def ask(
        self,
        name: str,
        policy: AdmissionPolicy,
        wait: int,
        call_class: CallClass,
        is_check: bool,
        wanted: Wanted | None,
    ) -> Begun | MultipleResults[Begun]:
        if wanted is not None:
            wanted = wanted._replace(key=self.keys[wanted.key])
            self.assume_that_real_time_does_not_matter(wanted.key)
        circuit, ask = self.circuit(name), Ask(wait * SECOND, call_class, is_check)
        expected = self.model.open(circuit, policy, ask, wanted, self.now)

        opening = self.handle.open(
            policy, wanted, wait=wait, call_class=call_class, is_check=is_check, circuit=circuit
        )

        assert opening == expected
        outcome = opening.outcome
        return Begun(circuit, policy, outcome) if isinstance(outcome, Granted) else multiple()

    @rule(
        attempt=consumes(begun) | begun,
        settlement=st.sampled_from(Settlement),
        pause=st.sampled_from([0, 0, 0, 1, 5, 10**7]),
        is_slow=st.booleans(),
        is_told_later=st.booleans(),
    )
    def end(
        self, attempt: Begun, settlement: Settlement, pause: int, is_slow: bool, is_told_later: bool
    ) -> None:
        circuit, policy, granted = attempt
        ended = Ended(granted, settlement, pause * SECOND, is_slow)
        expected = self.model.settle(circuit, policy, ended, self.now)

        if is_told_later:
            self.handle.later(Settle(circuit, policy, ended))
        else:
            settled = self.handle.settle(
                policy, granted, settlement, pause=pause, is_slow=is_slow, circuit=circuit
            )
            assert settled == expected

    @rule(
        key=st.sampled_from(KEYS),
        owner=st.sampled_from(OWNERS),
        value=st.binary(max_size=3),
        fresh=_FRESH_SECONDS,
        keep=_KEEP_SECONDS,
        is_told_later=st.booleans(),
    )
    def keep(self, key: str, owner: str, value: bytes, fresh: int, keep: int, is_told_later: bool) -> None:
        key = self.keys[key]
        self.model.keep(key, value, min(fresh, keep), keep, self.now)

        if is_told_later:
            self.model.release(Release(key, owner), self.now)
            self.handle.later(to_keep(key, owner, value, min(fresh, keep), keep))
        else:
            self.store.write(key, value, keep, min(fresh, keep))

    @rule(
        key=st.sampled_from(KEYS),
        owner=st.sampled_from(OWNERS),
        failure=st.none() | st.binary(max_size=3),
        failure_us=st.sampled_from([1, SECOND, 60 * SECOND]),
    )
    def release(self, key: str, owner: str, failure: bytes | None, failure_us: int) -> None:
        release = Release(self.keys[key], owner, failure, failure_us if failure is not None else 0)
        self.model.release(release, self.now)

        self.handle.later(release)

    @rule(key=st.sampled_from(KEYS))
    def read_and_forget(self, key: str) -> None:
        key = self.keys[key]
        self.assume_that_real_time_does_not_matter(key)
        kept = self.model.found(key, self.now)
        self.model.kept.pop(key, None)

        assert self.store.read(key) == (kept and kept.value)
        assert self.store.delete(key) is (kept is not None)

    @rule(
        name=st.sampled_from(CIRCUITS),
        mode=st.none() | st.sampled_from(OverrideMode),
        seconds=st.sampled_from([1, 60]),
        by=st.sampled_from(["kim", "한글 %"]),
        reason=st.sampled_from(["", "a b\n"]),
    )
    def steer(self, name: str, mode: OverrideMode | None, seconds: int, by: str, reason: str) -> None:
        circuit = self.circuit(name)
        self.model.steer(circuit, mode, seconds, by, reason, self.now)

        snapshot = self.store.steer(circuit, mode, seconds=seconds, by=by, reason=reason)

        assert snapshot.state == self.model.circuits[circuit]

    @rule(microseconds=SHORT | LONG)
    def wait(self, microseconds: int) -> None:
        self.handle.pass_time(microseconds / 1e6)

    @rule(microseconds=BACK)
    def set_clock_back(self, microseconds: int) -> None:
        self.handle.clock.start_again(microseconds / 1e6)
        self.begin_an_era()

    @invariant()
    def both_know_the_same(self) -> None:
        for name in CIRCUITS:
            circuit = self.circuit(name)
            assert self.store.peek(circuit).state == self.model.circuits[circuit]

    def assume_that_real_time_does_not_matter(self, key: str) -> None:
        """Redis forgets by its own clock, which no test can stop: what is about to end there tells nothing."""
        kept = self.model.kept.get(key)
        if self.handle.name == "redis" and kept is not None:
            now = self.now
            assume(all(not 0 <= end - now < _REAL_TIME_US for end in (kept.fresh_until, kept.expires_at)))


@pytest.mark.property(20)
@pytest.mark.property(22)
@pytest.mark.property(27)
@pytest.mark.fault("BR-03")
@pytest.mark.fault("LI-01")
@pytest.mark.parametrize("in_loop", [False, True], ids=["threads", "event loop"])
@pytest.mark.parametrize("name", NAMES)
def test_a_store_says_what_the_plain_reference_says(
    name: str, in_loop: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    loop = asyncio.Runner() if in_loop else None
    opened = open_store(name, tmp_path, lambda: str(request.getfixturevalue("empty_redis_url")), loop)
    machine = type("Machine", (StoreAgainstReference,), {"handle": opened})

    run_state_machine_as_test(
        machine,
        # A store on a real server may take its time, and steps that depend on how much of it passed are left out.
        settings=settings(
            max_examples=30,
            stateful_step_count=50,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

    opened.close()
