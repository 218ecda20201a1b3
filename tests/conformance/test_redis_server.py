"""What the Redis store does with its server: how often it asks, what it leaves there, and what comes of it when it fails."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from core.clock import SystemClock
from core.errors import StorageError
from core.model.calling import LimitMode
from core.policies.admission import AdmissionPolicy, Ask, Granted, ProviderState, RefusedByCircuit, Settlement
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import LimitPolicy
from core.policies.tally import Slice
from core.state.base import Ended, FetchedElsewhere, Keep, Opening, Release, Settle, Wanted
from core.state.encoding import encode
from core.state.redis import RedisState
from tests import servers
from tests.conformance import workers
from tests.conformance.relay import relay_to
from tests.ports import free_port
from tests.waiting import until

CIRCUIT = "address.juso"
KEY = "address:search:1"
POLICY = AdmissionPolicy()
EXACT = AdmissionPolicy(limits=LimitPolicy(mode=LimitMode.EXACT))
WANTED = Wanted(KEY, "one", 30_000_000)
AS_ONCE = Wanted(KEY, "two", 30_000_000)
ENDED = Ended(Granted(0), Settlement.ILL)
KEEP = Keep(KEY, "one", lambda: b"an answer", 9, 30, 60)
DAY = 86_400
PATIENT = 10.0
"""A server that is alive is waited for as long as a busy machine takes."""


@pytest.fixture
def own_redis() -> Iterator[servers.Server]:
    """A server of this test alone, which it may stop and end."""
    server = servers.start_redis()
    yield server
    server.stop()


@pytest.fixture
def own_cluster() -> Iterator[servers.Server]:
    """A cluster of one server, which takes no script that looks into two of its places."""
    server = servers.start_redis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis.Redis.from_url(server.url) as node:
        node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        until(lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok", what="the cluster")
    yield server
    server.stop()


@pytest.fixture
def store(empty_redis_url: str) -> Iterator[RedisState]:
    """A store on an empty database, and on the server's own time."""
    opened = RedisState(empty_redis_url, patience=PATIENT)
    yield opened
    opened.close()


@pytest.fixture
def server(empty_redis_url: str) -> Iterator[redis.Redis]:
    """What looks at the same database from outside."""
    with redis.Redis.from_url(empty_redis_url) as client:
        yield client


def ask(store: RedisState, wanted: Wanted | None = None, policy: AdmissionPolicy = POLICY) -> Opening:
    """The first step of a call."""
    return store.open(CIRCUIT, policy, Ask(), wanted)


def granted(opening: Opening) -> bool:
    return isinstance(opening.outcome, Granted)


def later(store: RedisState, *lates: Settle | Keep | Release) -> None:
    """Tell these later, and wait until that is done."""
    for late in lates:
        store.later(late)
    store.flush()


class TestFlights:
    def test_each_step_of_a_call_is_one_flight(self, own_redis: servers.Server) -> None:
        with relay_to(own_redis.port) as relay:
            store = RedisState(f"redis://127.0.0.1:{relay.port}/0", patience=PATIENT)
            ask(store)
            flights = []
            for step in (
                lambda: ask(store, WANTED),
                lambda: ask(store, AS_ONCE),
                lambda: store.settle(CIRCUIT, POLICY, ENDED),
                lambda: later(store, KEEP, Settle(CIRCUIT, POLICY, ENDED), Release(KEY, "one")),
                lambda: ask(store, WANTED),
            ):
                before = relay.flights
                step()
                flights.append(relay.flights - before)
            store.close()

        # What is told later may be taken up before the last of it has been told.
        assert flights[:3] + flights[4:] == [1, 1, 1, 1]
        assert 1 <= flights[3] <= 3

    def test_each_step_of_a_call_is_one_flight_from_an_event_loop_too(
        self, own_redis: servers.Server
    ) -> None:
        async def steps(store: RedisState, flown: Callable[[], int]) -> list[int]:
            await store.aopen(CIRCUIT, POLICY, Ask())
            flights = [flown()]
            await store.aopen(CIRCUIT, POLICY, Ask(), WANTED)
            flights.append(flown())
            await store.asettle(CIRCUIT, POLICY, ENDED)
            return [*flights, flown()]

        with relay_to(own_redis.port) as relay:
            store = RedisState(f"redis://127.0.0.1:{relay.port}/0", patience=PATIENT)
            first, second, third = asyncio.run(steps(store, lambda: relay.flights))
            store.close()

        assert (second - first, third - second) == (1, 1)

    def test_what_is_told_at_once_goes_out_at_once(self, own_redis: servers.Server) -> None:
        with relay_to(own_redis.port) as relay:
            store = RedisState(f"redis://127.0.0.1:{relay.port}/0", patience=PATIENT)
            ask(store)
            before = relay.flights
            store._do([KEEP, Settle(CIRCUIT, POLICY, ENDED), Release(KEY, "one")] * 50)
            flights = relay.flights - before
            store.close()

        assert flights == 1


class TestServerAway:
    @pytest.mark.fault("CA-07")
    def test_a_server_that_hangs_costs_fifty_milliseconds_and_is_used_again_when_it_is_back(
        self, own_redis: servers.Server
    ) -> None:
        store = RedisState(f"{own_redis.url}/0")
        until(lambda: _answers(store), what="the server")
        own_redis.send(signal.SIGSTOP)

        costs = [_cost(partial(ask, store, WANTED)) for _ in range(5)]

        assert 0.045 <= min(costs) < 0.075
        own_redis.send(signal.SIGCONT)
        until(lambda: _answers(store), what="the server")
        store.close()

    @pytest.mark.fault("CA-07")
    def test_a_server_that_hangs_costs_an_event_loop_no_more(self, own_redis: servers.Server) -> None:
        store = RedisState(f"{own_redis.url}/0")
        with asyncio.Runner() as runner:
            until(lambda: _answers(store), what="the server")
            runner.run(_aanswers(store))
            own_redis.send(signal.SIGSTOP)
            costs = [_cost(lambda: runner.run(store.aopen(CIRCUIT, POLICY, Ask(), WANTED))) for _ in range(5)]
            own_redis.send(signal.SIGCONT)
            until(lambda: runner.run(_aanswers(store)), what="the server")
        store.close()

        assert 0.045 <= min(costs) < 0.075

    @pytest.mark.fault("CA-07")
    def test_a_server_that_is_gone_costs_next_to_nothing(self, own_redis: servers.Server) -> None:
        store = RedisState(f"{own_redis.url}/0")
        until(lambda: _answers(store), what="the server")
        own_redis.send(signal.SIGKILL)
        with asyncio.Runner() as runner:
            costs = [_cost(partial(ask, store, WANTED)) for _ in range(5)]
            acosts = [_cost(lambda: runner.run(store.asettle(CIRCUIT, POLICY, ENDED))) for _ in range(5)]
        store.close()

        assert min(costs) < 0.02
        assert min(acosts) < 0.02

    def test_what_is_told_later_is_dropped_without_a_word_to_the_caller(
        self, own_redis: servers.Server
    ) -> None:
        store = RedisState(f"{own_redis.url}/0")
        own_redis.send(signal.SIGKILL)

        later(store, KEEP, Release(KEY, "one"))

        assert store._behind.dropped == 2
        store.close()

    def test_a_connection_that_the_server_ended_meanwhile_is_replaced(
        self, own_redis: servers.Server
    ) -> None:
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        with asyncio.Runner() as runner, redis.Redis.from_url(own_redis.url) as server:
            ask(store)
            runner.run(store.aopen(CIRCUIT, POLICY, Ask()))
            server.client_kill_filter(_type="normal", skipme=True)

            assert granted(ask(store))
            # Its end has to reach the loop, which looks at its sockets in between.
            runner.run(asyncio.sleep(0))
            assert granted(runner.run(store.aopen(CIRCUIT, POLICY, Ask(60_000_000))))
        store.close()

    def test_a_server_that_lost_its_scripts_is_given_them_again(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        def forget() -> None:
            server.script_flush()

        forget()
        assert granted(ask(store, WANTED))
        forget()
        store.settle(CIRCUIT, POLICY, ENDED)
        forget()
        later(store, Settle(CIRCUIT, POLICY, ENDED), KEEP, Settle(CIRCUIT, POLICY, ENDED))
        forget()
        store.steer(CIRCUIT, OverrideMode.SHADOW, seconds=60)
        forget()
        assert granted(asyncio.run(store.aopen(CIRCUIT, POLICY, Ask(60_000_000))))

        assert store.peek(CIRCUIT).state.breaker.failures == 3
        assert ask(store, AS_ONCE) == Opening(b"an answer", None)


class TestEventLoops:
    def test_the_connections_of_a_loop_end_with_it(self, own_redis: servers.Server) -> None:
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        with redis.Redis.from_url(own_redis.url) as server:
            for _ in range(3):
                assert granted(asyncio.run(store.aopen(CIRCUIT, POLICY, Ask(60_000_000))))
                until(lambda: server.info("clients")["connected_clients"] == 1, what="their end")
        assert not store._link._sides
        store.close()

    def test_a_store_that_is_closed_while_a_loop_runs_ends_its_connections(
        self, own_redis: servers.Server
    ) -> None:
        async def use_and_close(server: redis.Redis) -> None:
            store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
            await store.aopen(CIRCUIT, POLICY, Ask())
            store.close()
            await asyncio.to_thread(
                until, lambda: server.info("clients")["connected_clients"] == 1, what="their end"
            )

        with redis.Redis.from_url(own_redis.url) as server:
            asyncio.run(use_and_close(server))

    def test_a_loop_that_outlives_its_store_ends_the_connections_all_the_same(
        self, own_redis: servers.Server
    ) -> None:
        with redis.Redis.from_url(own_redis.url) as server:
            with asyncio.Runner() as runner:
                store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
                runner.run(store.aopen(CIRCUIT, POLICY, Ask()))
                store.close()
                del store
                gc.collect()
                assert server.info("clients")["connected_clients"] == 2

            until(lambda: server.info("clients")["connected_clients"] == 1, what="their end")

    def test_a_loop_that_is_closed_without_its_rites_is_forgotten(self, store: RedisState) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(store.aopen(CIRCUIT, POLICY, Ask()))
        loop.close()

        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            asyncio.run(store.aopen(CIRCUIT, POLICY, Ask()))
            del loop
            gc.collect()

        assert not store._link._sides

    def test_a_crowd_of_tasks_opens_no_crowd_of_connections(self, own_redis: servers.Server) -> None:
        async def crowd(store: RedisState) -> list[Opening]:
            free = AdmissionPolicy(None, None, None)
            return await asyncio.gather(*(store.aopen(CIRCUIT, free, Ask()) for _ in range(300)))

        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        openings = asyncio.run(crowd(store))
        store.close()

        assert all(map(granted, openings))
        with redis.Redis.from_url(own_redis.url) as server:
            assert server.info("stats")["total_connections_received"] <= 32 + 2

    def test_a_call_that_is_cancelled_midway_leaves_no_answer_behind_for_the_next(
        self, own_redis: servers.Server
    ) -> None:
        async def cancel_and_go_on() -> list[Opening]:
            store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
            await store.aopen(CIRCUIT, POLICY, Ask())
            own_redis.send(signal.SIGSTOP)
            cancelled = asyncio.create_task(store.aopen("address.kakao", POLICY, Ask(), WANTED))
            for _ in range(20):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            own_redis.send(signal.SIGCONT)
            openings = [
                await store.aopen(CIRCUIT, AdmissionPolicy(None, None, None), Ask()) for _ in range(3)
            ]
            store.close()
            return [Opening(b"cancelled" if cancelled.cancelled() else None, None), *openings]

        first, *others = asyncio.run(cancel_and_go_on())

        assert first.kept == b"cancelled"
        assert all(opening.kept is None and granted(opening) for opening in others)

    def test_what_is_granted_to_a_task_that_was_cancelled_meanwhile_is_given_back(
        self, own_redis: servers.Server
    ) -> None:
        """The server grants a probe and a lease while the task that asked is already gone."""

        async def cancel_a_probe(store: RedisState) -> None:
            own_redis.send(signal.SIGSTOP)
            cancelled = asyncio.create_task(store.aopen("address.kakao", policy, Ask(), WANTED))
            for _ in range(20):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            own_redis.send(signal.SIGCONT)
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.wait(others)

        policy = AdmissionPolicy(BreakerPolicy(1, recovery_us=1, probe_lease_us=3_600_000_000), None)
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        first = store.open("address.kakao", policy, Ask()).outcome
        assert isinstance(first, Granted)
        store.settle("address.kakao", policy, Ended(first, Settlement.ILL))

        asyncio.run(cancel_a_probe(store))
        store.flush()

        again = store.open("address.kakao", policy, Ask(), WANTED._replace(owner="another")).outcome
        store.close()
        assert isinstance(again, Granted)
        assert again.is_probe

    @pytest.mark.parametrize("has_answered", [False, True])
    def test_what_is_granted_to_a_coroutine_that_was_closed_meanwhile_is_given_back(
        self, own_redis: servers.Server, has_answered: bool
    ) -> None:
        """Whether the answer comes after that, or was there and the coroutine not yet told of it."""

        async def close_midway(store: RedisState) -> None:
            closed = store.aopen(CIRCUIT, free, Ask(), WANTED)
            closed.send(None)
            (asking,) = asyncio.all_tasks() - {asyncio.current_task()}
            if has_answered:
                await asyncio.wait([asking])
            closed.close()
            await asyncio.wait([asking])
            await asyncio.sleep(0)

        free = AdmissionPolicy(None, None, None)
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)

        asyncio.run(close_midway(store))
        store.flush()

        again = store.open(CIRCUIT, free, Ask(), WANTED._replace(owner="another")).outcome
        store.close()
        assert isinstance(again, Granted)

    def test_a_loop_that_was_held_up_still_hears_the_answer(self, own_redis: servers.Server) -> None:
        async def hold_up(store: RedisState) -> bool:
            if not await _aanswers(store):
                return False
            opening = asyncio.create_task(_aanswers(store))
            await asyncio.sleep(0)
            SystemClock().sleep(0.1)
            return await opening

        store = RedisState(f"{own_redis.url}/0")
        with asyncio.Runner() as runner:
            # On a busy machine the server itself may be late now and then.
            assert any(runner.run(hold_up(store)) for _ in range(5))
        store.close()


class TestThreadsAndProcesses:
    def test_threads_that_share_a_store_do_not_share_a_connection(self, own_redis: servers.Server) -> None:
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=10_000), None, None)
        barrier = threading.Barrier(20)

        def fail() -> None:
            barrier.wait()
            for _ in range(20):
                store.settle(CIRCUIT, policy, ENDED)
                assert granted(store.open(CIRCUIT, policy, Ask()))

        threads = [threading.Thread(target=fail) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert store.peek(CIRCUIT).state.breaker.failures == 400
        with redis.Redis.from_url(own_redis.url) as server:
            assert server.info("clients")["connected_clients"] <= 20 + 1
        store.close()

    def test_a_forked_child_makes_a_connection_of_its_own(self, store: RedisState) -> None:
        store.write(KEY, b"the parent's", 60)
        child = multiprocessing.get_context("fork").Process(
            target=store.write, args=(KEY, b"the child's", 60)
        )
        child.start()
        child.join(30)

        assert (child.exitcode, store.read(KEY)) == (0, b"the child's")

    @pytest.mark.property(27)
    def test_four_processes_together_keep_an_exact_limit(self, empty_redis_url: str) -> None:
        limits = LimitPolicy(per_minute=50, per_hour=70, mode=LimitMode.EXACT, reserved_percent=40)
        policy = AdmissionPolicy(None, limits)

        grants = workers.in_four_processes(
            partial(workers.count_grants, policy=policy, times=60), empty_redis_url
        )

        assert sum(grants) == 50


class TestWhatIsLeft:
    def test_nothing_is_kept_on_the_server_for_ever(self, store: RedisState, server: redis.Redis) -> None:
        ask(store, WANTED)
        ask(store, Wanted("address:search:2", "one", 30_000_000), EXACT)
        later(store, KEEP, Release("address:search:2", "one", b"failed", 1_000_000))
        ask(store, AS_ONCE._replace(key="address:search:3"))

        left = {key.decode(): server.ttl(key) for key in server.scan_iter()}

        assert {name: round(seconds, -1) for name, seconds in left.items()} == {
            "bongsu:{address}:circuit:juso": DAY,
            "bongsu:{address}:went-reserved:juso": DAY,
            "bongsu:{address}:fresh:search:1": 30,
            "bongsu:{address}:lease:search:2": 60,
            "bongsu:{address}:lease:search:3": 90,
            "bongsu:cache:address:search:1": 60,
        }

    def test_an_operators_word_is_kept_as_long_as_it_holds(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        store.steer(CIRCUIT, OverrideMode.SHADOW, seconds=3 * DAY)
        left = [server.ttl("bongsu:{address}:circuit:juso")]
        ask(store)
        left.append(server.ttl("bongsu:{address}:circuit:juso"))
        store.settle(CIRCUIT, POLICY, ENDED)
        left.append(server.ttl("bongsu:{address}:circuit:juso"))

        assert all(3 * DAY - 60 < seconds <= 3 * DAY for seconds in left)

    def test_an_answer_is_never_called_fresh_for_longer_than_it_is_kept(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        store.write(KEY, b"v", keep_seconds=20, fresh_seconds=60)

        assert server.pttl("bongsu:{address}:fresh:search:1") <= 20_000

    def test_an_answer_that_the_server_threw_away_is_asked_for_again(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        store.write(KEY, b"v", 60, 60)
        server.delete(f"bongsu:cache:{KEY}")

        assert ask(store, WANTED) == Opening(None, None)
        assert granted(ask(store, WANTED._replace(refreshes=True)))

    @pytest.mark.parametrize(
        "forget", [lambda store: store.delete(KEY), lambda store: store.delete_pattern("a*")]
    )
    def test_what_is_forgotten_is_no_longer_called_fresh(
        self, store: RedisState, server: redis.Redis, forget: Callable[[RedisState], object]
    ) -> None:
        store.write(KEY, b"v", 60, 60)

        forget(store)

        assert server.dbsize() == 0
        assert granted(ask(store, WANTED))

    def test_an_answer_that_cannot_be_kept_only_ends_the_lease(self, store: RedisState) -> None:
        ask(store, WANTED)
        assert isinstance(ask(store, AS_ONCE).outcome, FetchedElsewhere)

        later(store, KEEP._replace(pack=lambda: None))

        assert granted(ask(store, AS_ONCE))
        assert store.read(KEY) is None

    @pytest.mark.fault("CA-03")
    def test_forgetting_by_pattern_never_makes_the_server_list_all_its_keys(
        self, own_redis: servers.Server
    ) -> None:
        store = RedisState(f"{own_redis.url}/0", patience=PATIENT)
        store._do([KEEP._replace(key=f"address:search:{number}") for number in range(1500)])
        store.write("company:search:1", b"v", 60)

        assert store.delete_pattern("address:*") == 1500
        with redis.Redis.from_url(own_redis.url) as server:
            assert "cmdstat_keys" not in server.info("commandstats")
        assert store.read("company:search:1") == b"v"
        store.close()

    def test_what_a_script_looks_at_lies_in_one_place_of_a_cluster_and_answers_lie_anywhere(
        self, own_cluster: servers.Server
    ) -> None:
        with redis.Redis.from_url(own_cluster.url) as node:
            store = RedisState(f"{own_cluster.url}/0", patience=PATIENT)
            for number in range(3):
                wanted = Wanted(f"address:search:{number}", "one", 1_000_000)
                assert granted(store.open("address.juso", EXACT, Ask(), wanted))
                later(store, KEEP._replace(key=wanted.key), Settle("address.kakao", EXACT, ENDED))
                later(store, Release(wanted.key, "one", b"failed", 1_000_000))
            slots = {key: key_slot(key) for key in node.scan_iter()}
            assert store.delete_pattern("address:*") == 3
            store.close()

        assert len({slot for key, slot in slots.items() if key.startswith(b"bongsu:{")}) == 1
        assert len({slot for key, slot in slots.items() if key.startswith(b"bongsu:cache:")}) == 3


LINE = encode(
    ProviderState(
        CircuitBreaker(2, 10**15, 10**15, 1, 3, (Slice(1, 2, 1, 0),)),
        override=Override(OverrideMode.SHADOW, 10**16, "me", "why"),
    )
)
damaged = st.builds(
    lambda at, much, other: LINE[:at] + other + LINE[at + much :],
    st.integers(0, len(LINE)),
    st.integers(0, 9),
    st.text(alphabet="0- ax:,é", max_size=4),
)


class TestForeignKeys:
    # One fixture serves all examples: each example replaces what it reads.
    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(line=damaged | st.text(max_size=5))
    def test_a_line_that_is_damaged_never_stops_a_call(
        self, store: RedisState, server: redis.Redis, line: str
    ) -> None:
        server.set("bongsu:{address}:circuit:juso", line)
        server.set("bongsu:{address}:lease:search:1", line)

        opening = ask(store, WANTED)
        store.settle(CIRCUIT, POLICY, ENDED)

        assert isinstance(opening.outcome, Granted | RefusedByCircuit)
        assert isinstance(store.peek(CIRCUIT).state, ProviderState)

    def test_a_circuit_that_another_program_wrote_counts_as_never_heard_of(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        server.set("bongsu:{address}:circuit:juso", b"not ours")

        assert store.peek(CIRCUIT).state == ProviderState()
        assert store.settle(CIRCUIT, POLICY, ENDED).state.breaker.failures == 1

    def test_a_key_of_another_kind_is_reported_with_its_cure(
        self, store: RedisState, server: redis.Redis
    ) -> None:
        server.rpush(f"bongsu:cache:{KEY}", "one")

        with pytest.raises(StorageError, match=r"WRONGTYPE.*BONGSU_REDIS_URL"):
            ask(store, WANTED)
        assert granted(ask(store))


class TestTime:
    @pytest.mark.fault("LI-02")
    def test_time_is_the_servers_and_not_the_machines(self, store: RedisState, server: redis.Redis) -> None:
        before, _ = server.time()
        opening = ask(store)
        after, _ = server.time()

        assert isinstance(opening.outcome, Granted)
        assert before * 1_000_000 <= opening.outcome.at < (after + 1) * 1_000_000
        assert before * 1_000_000 <= store.peek(CIRCUIT).now


def _cost(ask: Callable[[], object]) -> float:
    """Seconds until a question is known to have no answer."""
    clock = SystemClock()
    began = clock.monotonic()
    with pytest.raises(StorageError, match="BONGSU_REDIS_URL"):
        ask()
    return clock.monotonic() - began


def _answers(store: RedisState) -> bool:
    try:
        store.peek(CIRCUIT)
    except StorageError:
        return False
    return True


async def _aanswers(store: RedisState) -> bool:
    try:
        await store.aopen("address.other", AdmissionPolicy(None, None, None), Ask())
    except StorageError:
        return False
    return True
