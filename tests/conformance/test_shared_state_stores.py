"""What the stores that processes share do when several processes use them, one is killed, or the server goes away."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.model.message import ApiResponse
from core.policies.admission import AdmissionPolicy
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.policy import CachePolicy
from core.policies.rate_limit import LimitPolicy
from core.settings import environment_for_child
from core.state.cache import CacheService
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from core.state.sqlite import SqliteState
from tests import servers
from tests.conformance import workers
from tests.conformance.stores import SHARED
from tests.conformance.workers import CIRCUIT
from tests.fakes import FakeChance, FakeClock
from tests.waiting import until

BREAKER = AdmissionPolicy(limits=None)
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=SHARED)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty shared store is."""
    if request.param == "redis":
        return str(request.getfixturevalue("empty_redis_url"))
    return str(tmp_path / "state.db")


@pytest.fixture
def own_redis() -> Iterator[servers.Server]:
    """A server of this test alone, which it may stop and end."""
    server = servers.start_redis()
    yield server
    server.stop()


class TestSeveralProcesses:
    @pytest.mark.property(27)
    @pytest.mark.fault("LI-02")
    def test_four_processes_together_keep_one_limit(self, where: str) -> None:
        policy = AdmissionPolicy(None, LimitPolicy(100, 1000, reserved_percent=0))
        clock = SystemClock()
        began = clock.monotonic()

        grants = workers.in_four_processes(partial(workers.count_grants, policy=policy, times=200), where)

        refilled = int((clock.monotonic() - began) / (60 / 91)) + 1
        assert 10 <= sum(grants) <= 10 + refilled

    @pytest.mark.property(22)
    @pytest.mark.fault("BR-01")
    def test_of_four_processes_at_a_half_open_circuit_one_probes(self, where: str) -> None:
        policy = AdmissionPolicy(BreakerPolicy(1, recovery_us=1, probe_lease_us=120_000_000), None)
        workers.fail_often(where, policy, 1)

        grants = workers.in_four_processes(partial(workers.count_grants, policy=policy, times=20), where)

        assert sum(grants) == 1

    @pytest.mark.property(20)
    def test_no_failure_is_lost_between_four_processes(self, where: str) -> None:
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=10_000), None)

        workers.in_four_processes(partial(workers.fail_often, policy=policy, times=50), where)

        assert workers.open_shared(where).peek(CIRCUIT).state.breaker.failures == 200

    @pytest.mark.fault("CA-04")
    def test_of_four_processes_that_want_an_answer_one_fetches_it(self, where: str) -> None:
        fetched = workers.in_four_processes(partial(workers.fetch_each, keys=100), where)

        assert sorted(number for each in fetched for number in each) == list(range(100))

    @pytest.mark.fault("BR-02")
    def test_a_prober_that_is_killed_holds_the_others_off_for_its_lease_alone(self, where: str) -> None:
        policy = AdmissionPolicy(BreakerPolicy(1, recovery_us=1, probe_lease_us=2_000_000), None, None)
        store = workers.open_shared(where)
        workers.fail_often(where, policy, 1)
        code = (
            "from core.policies.admission import AdmissionPolicy\n"
            "from core.policies.circuit_breaker import BreakerPolicy\n"
            "from tests.conformance.workers import probe_and_hang\n"
            f"probe_and_hang({where!r}, {policy!r})"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment_for_child(PYTHONPATH=str(ROOT)),
        ) as prober:
            assert prober.stdout is not None
            assert prober.stdout.readline() == b"probing\n"
            prober.kill()

        assert workers.admitted(store, policy) is None
        until(lambda: workers.admitted(store, policy) is not None, what="the end of the lease")

    def test_a_forked_child_makes_a_connection_of_its_own(self, tmp_path: Path) -> None:
        store = SqliteState(tmp_path / "state.db", SystemClock())
        store.write("k", b"the parent's", 60)
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=store.write, args=("k", b"the child's", 60))
        child.start()
        child.join(30)

        assert (child.exitcode, store.read("k")) == (0, b"the child's")
        store.close()


class TestGuardedRedis:
    @pytest.mark.fault("BR-06")
    @pytest.mark.fault("CA-07")
    @pytest.mark.fault("LI-03")
    def test_calls_go_on_without_the_server_and_return_to_it(
        self, own_redis: servers.Server, clock: FakeClock
    ) -> None:
        state = GuardedState(
            RedisState(f"{own_redis.url}/0"), MemoryState(clock), clock, FakeChance(), in_background=False
        )
        answers = CacheService(state, clock)
        response = ApiResponse(200, (), b"kept by both")
        answers.keep("address:search:1", "one", response, "juso", CachePolicy(60, 0), ttl_s=60)
        state.flush()
        real = SystemClock()
        with capture_logs() as logs:
            own_redis.send(signal.SIGSTOP)
            began = real.monotonic()
            for _ in range(100):
                assert workers.admitted(state, BREAKER) is not None
            assert real.monotonic() - began < 1
            assert state.degraded_since == clock.now()
            kept = answers.get("address:search:1")
            assert kept is not None
            assert kept.response == response

            own_redis.send(signal.SIGCONT)
            clock.advance(1)
            state.tend()
            assert workers.admitted(state, BREAKER) is not None

        assert not state.is_degraded
        assert [entry["event"] for entry in logs] == ["state_store_lost", "state_store_back"]
        state.close()

    @pytest.mark.parametrize(
        ("fault", "cure"),
        [
            ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
            ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ],
        ids=["full", "a replica"],
    )
    def test_a_server_that_can_only_be_read_is_lost_once_until_it_can_be_written_to(
        self, own_redis: servers.Server, clock: FakeClock, fault: str, cure: str
    ) -> None:
        primary = RedisState(f"{own_redis.url}/0", patience=10)
        state = GuardedState(primary, MemoryState(clock), clock, FakeChance(), in_background=False)
        assert workers.admitted(state, BREAKER) is not None
        with redis.Redis.from_url(own_redis.url) as server, capture_logs() as logs:
            server.execute_command(*fault.split())
            for _ in range(5):
                assert workers.admitted(state, BREAKER) is not None
                primary.peek(workers.CIRCUIT)
                clock.advance(1)
                state.tend()
                assert state.is_degraded

            server.execute_command(*cure.split())
            clock.advance(1)
            state.tend()
            assert workers.admitted(state, BREAKER) is not None

        assert not state.is_degraded
        assert [entry["event"] for entry in logs] == ["state_store_lost", "state_store_back"]
        state.close()
