"""What the stores that processes share do when several processes use them, one is killed, or the server goes away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.errors import StorageError
from core.model.message import ApiResponse
from core.policies.admission import AdmissionPolicy, Granted, ProviderState, RefusedByCircuit, Settlement
from core.policies.circuit_breaker import BreakerPolicy
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
from tests.fakes import FakeClock
from tests.waiting import until

BREAKER = AdmissionPolicy(limits=None)
ROOT = Path(__file__).parents[2]


class ActingClock(FakeClock):
    """A clock during whose first sleep something happens."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def sleep(self, seconds: float) -> None:
        self._act()
        super().sleep(seconds)


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
        policy = AdmissionPolicy(None, LimitPolicy(per_minute=100, per_hour=1000))
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

    @pytest.mark.fault("BR-02")
    def test_a_prober_that_is_killed_holds_the_others_off_for_its_lease_alone(self, where: str) -> None:
        policy = AdmissionPolicy(BreakerPolicy(1, recovery_us=1, probe_lease_us=2_000_000), None)
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

        assert isinstance(store.admit(CIRCUIT, policy, 0), RefusedByCircuit)
        until(lambda: isinstance(store.admit(CIRCUIT, policy, 0), Granted), what="the end of the lease")

    def test_a_forked_child_makes_a_connection_of_its_own(self, tmp_path: Path) -> None:
        store = SqliteState(tmp_path / "state.db", SystemClock())
        store.write("k", b"the parent's", 60)
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=store.write, args=("k", b"the child's", 60))
        child.start()
        child.join(30)

        assert (child.exitcode, store.read("k")) == (0, b"the child's")
        store.close()


class TestSqliteFile:
    def test_a_store_opened_again_knows_what_it_knew(self, tmp_path: Path, clock: FakeClock) -> None:
        first = SqliteState(tmp_path / "state.db", clock)
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None)
        first.settle(CIRCUIT, policy, Granted(0), Settlement.ILL)
        first.write("k", b"v", 60)
        first.close()

        second = SqliteState(tmp_path / "state.db", clock)

        assert isinstance(second.admit(CIRCUIT, policy, 0), RefusedByCircuit)
        assert second.read("k") == b"v"
        second.close()

    @pytest.mark.fault("BR-03")
    @pytest.mark.parametrize("seconds", [3600, -3600, 86_400, -86_400])
    def test_setting_the_machines_clock_neither_shortens_nor_lengthens_an_opening(
        self, tmp_path: Path, clock: FakeClock, seconds: float
    ) -> None:
        store = SqliteState(tmp_path / "state.db", clock)
        for _ in range(5):
            store.settle(CIRCUIT, BREAKER, Granted(0), Settlement.ILL)

        clock.set_back(seconds)

        assert store.admit(CIRCUIT, BREAKER, 0) == RefusedByCircuit(60_000_000)
        store.close()

    def test_the_file_is_for_its_owner_alone(self, tmp_path: Path, clock: FakeClock) -> None:
        store = SqliteState(tmp_path / "state.db", clock)
        store.write("k", b"v", 60)

        assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
        store.close()

    def test_a_damaged_file_is_reported_with_its_cure_and_used_once_it_is_gone(
        self, tmp_path: Path, clock: FakeClock
    ) -> None:
        path = tmp_path / "state.db"
        path.write_bytes(b"this is not a database" * 100)
        store = SqliteState(path, clock)
        with pytest.raises(StorageError, match="delete it"):
            store.admit(CIRCUIT, BREAKER, 0)

        path.unlink()

        assert store.admit(CIRCUIT, BREAKER, 0) == Granted(0)
        store.close()

    def test_a_file_that_another_process_is_just_making_is_waited_for(self, tmp_path: Path) -> None:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("CREATE TABLE unfinished (a)")
        other.execute("BEGIN EXCLUSIVE")
        clock = ActingClock(other.rollback)
        store = SqliteState(tmp_path / "state.db", clock)

        assert store.admit(CIRCUIT, BREAKER, 0) == Granted(0)
        assert clock.slept == [0.01]
        store.close()
        other.close()

    def test_a_folder_that_is_missing_is_reported(self, tmp_path: Path, clock: FakeClock) -> None:
        with pytest.raises(StorageError, match="No such file"):
            SqliteState(tmp_path / "missing" / "state.db", clock).read("k")

    def test_kept_values_are_bounded_in_number_and_size(self, tmp_path: Path, clock: FakeClock) -> None:
        store = SqliteState(tmp_path / "state.db", clock, max_entries=100, max_bytes=50_000)
        for number in range(400):
            store.write(f"small:{number}", b"v", 1000 + number)
        kept = sum(store.read(f"small:{number}") is not None for number in range(400))
        assert 100 <= kept < 100 + 64

        for number in range(400):
            store.write(f"large:{number}", b"v" * 1000, 5000 + number)

        assert sum(store.read(f"large:{number}") is not None for number in range(400)) <= 50 + 64
        assert store.read("large:399") is not None
        store.close()

    def test_values_whose_time_is_over_leave_the_file(self, tmp_path: Path, clock: FakeClock) -> None:
        store = SqliteState(tmp_path / "state.db", clock)
        for number in range(30):
            store.write(f"old:{number}", b"v", 10)
        clock.advance(10)

        store.write("new:1", b"v", 10)
        store.write("new:2", b"v", 10)

        with store._using() as connection:
            assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)
        store.close()


class TestRedisServer:
    @pytest.mark.fault("CA-07")
    def test_a_server_that_hangs_is_found_out_fast_and_used_again_when_it_is_back(
        self, own_redis: servers.Server
    ) -> None:
        store, clock = RedisState(f"{own_redis.url}/0"), SystemClock()
        store.write("k", b"v", 60)
        os.kill(own_redis.pid, signal.SIGSTOP)
        began = clock.monotonic()
        with pytest.raises(StorageError, match="BONGSU_REDIS_URL"):
            store.read("k")
        assert clock.monotonic() - began < 1

        os.kill(own_redis.pid, signal.SIGCONT)

        assert store.read("k") == b"v"
        store.close()

    @pytest.mark.fault("CA-07")
    def test_a_server_that_is_gone_is_found_out_fast(self, own_redis: servers.Server) -> None:
        store, clock = RedisState(f"{own_redis.url}/0"), SystemClock()
        store.peek(CIRCUIT)
        os.kill(own_redis.pid, signal.SIGKILL)
        began = clock.monotonic()

        for ask in (lambda: store.admit(CIRCUIT, BREAKER, 0), lambda: store.peek(CIRCUIT)):
            with pytest.raises(StorageError):
                ask()

        assert clock.monotonic() - began < 1
        store.close()

    def test_a_server_that_lost_its_scripts_is_given_them_again(self, own_redis: servers.Server) -> None:
        store = RedisState(f"{own_redis.url}/0")
        store.admit(CIRCUIT, BREAKER, 0)
        with redis.Redis.from_url(own_redis.url) as server:
            server.flushall()
            server.script_flush()

        assert store.admit(CIRCUIT, BREAKER, 0) == Granted(0)
        store.close()

    def test_nothing_is_kept_on_the_server_for_ever(self, empty_redis_url: str) -> None:
        store = RedisState(empty_redis_url)
        store.admit(CIRCUIT, AdmissionPolicy(), 0)
        store.write("k", b"v", 60)

        with redis.Redis.from_url(empty_redis_url) as server:
            left = {key: server.ttl(key) for key in server.scan_iter()}

        assert left[b"bongsu:{address.juso}:circuit"] > 86_000
        assert 50 < left[b"bongsu:cache:k"] <= 60
        assert len(left) == 2
        store.close()

    def test_a_key_that_another_program_wrote_counts_as_a_circuit_never_heard_of(
        self, empty_redis_url: str
    ) -> None:
        store = RedisState(empty_redis_url)
        with redis.Redis.from_url(empty_redis_url) as server:
            server.set("bongsu:{address.juso}:circuit", b"not ours")

        assert store.peek(CIRCUIT).state == ProviderState()
        assert store.settle(CIRCUIT, BREAKER, Granted(0), Settlement.ILL).state.breaker.failures == 1
        store.close()

    @pytest.mark.fault("CA-03")
    def test_forgetting_by_pattern_never_makes_the_server_list_all_its_keys(
        self, own_redis: servers.Server
    ) -> None:
        store = RedisState(f"{own_redis.url}/0")
        for number in range(1500):
            store.write(f"address:search:{number}", b"v", 60)
        store.write("company:search:1", b"v", 60)

        assert store.delete_pattern("address:*") == 1500
        with redis.Redis.from_url(own_redis.url) as server:
            assert "cmdstat_keys" not in server.info("commandstats")
        assert store.read("company:search:1") == b"v"
        store.close()

    @pytest.mark.fault("LI-02")
    def test_time_is_the_servers_and_not_the_machines(self, empty_redis_url: str, clock: FakeClock) -> None:
        ours, theirs = RedisState(empty_redis_url), RedisState(empty_redis_url)
        with redis.Redis.from_url(empty_redis_url) as server:
            seconds, _ = server.time()

        assert 0 <= ours.peek(CIRCUIT).now - seconds * 1_000_000 < 60_000_000
        assert ours.admit(CIRCUIT, AdmissionPolicy(), 0) == theirs.admit(CIRCUIT, AdmissionPolicy(), 0)
        ours.close()
        theirs.close()


class TestGuardedRedis:
    @pytest.mark.fault("BR-06")
    @pytest.mark.fault("CA-07")
    def test_calls_go_on_without_the_server_and_return_to_it(
        self, own_redis: servers.Server, clock: FakeClock
    ) -> None:
        state = GuardedState(RedisState(f"{own_redis.url}/0"), MemoryState(clock), clock)
        answers = CacheService(state, clock)
        answers.set("k", ApiResponse(200, (), b"kept by Redis"), "juso", 60, 0)
        real = SystemClock()
        with capture_logs() as logs:
            os.kill(own_redis.pid, signal.SIGSTOP)
            began = real.monotonic()
            for _ in range(100):
                assert isinstance(state.admit(CIRCUIT, AdmissionPolicy(limits=None), 0), Granted)
                assert answers.get("k") is None
            assert real.monotonic() - began < 2
            assert state.degraded_since == clock.now()

            os.kill(own_redis.pid, signal.SIGCONT)
            clock.advance(1)
            kept = answers.get("k")

        assert kept is not None
        assert kept.response.body == b"kept by Redis"
        assert not state.is_degraded
        assert [entry["event"] for entry in logs] == ["state_store_lost", "state_store_back"]
        state.close()
