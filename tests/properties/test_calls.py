"""What holds for every call, however it ends: one record, its trace, its exchange, and whether it was a mock."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.client.call import Route
from core.config.environment import load
from core.errors import CallError
from core.hub import Hub
from core.model.answer import Source
from core.model.identity import carried, tracing
from core.model.message import ApiResponse, Pairs
from core.persistence import schema
from core.persistence.call_log import CallLog
from core.persistence.database import Database
from core.redaction import MASK
from tests import calling
from tests.fakes import FakeChance, FakeClock
from tests.log_lines import log_lines
from tests.scripted import Bench, LetterProvider, Outcome, answer, cut_off, outage

ROOT = Path(__file__).parents[2]
NOBODY_LISTENS = "http://127.0.0.1:9"

outcomes = st.lists(
    st.sampled_from(
        [
            answer("ok:hi"),
            answer("missing"),
            answer("wrong"),
            answer("key"),
            answer("doubt"),
            answer("garbage"),
            answer("slow-down:2"),
            outage(),
            cut_off(),
        ]
    ),
    min_size=1,
    max_size=8,
)
keywords = st.text("가나다라마바사로길 0123456789", min_size=3, max_size=20).filter(
    lambda text: any(letter in text for letter in "가나다라마바사로길") and len(text.strip()) > 2
)


trace_ids = st.lists(st.from_regex(r"\A[0-9a-f]{32}\Z"), min_size=1, max_size=6, unique=True)
proses = st.text("가나다라마바사 abcdefghij.,", min_size=1, max_size=60)
header_names = st.from_regex(r"\AX-[A-J]{1,6}\Z")
headers = st.lists(st.tuples(header_names, st.text("abcdefghij ", min_size=1, max_size=20)), max_size=4)


@contextmanager
def opened_hub(data: Path, **variables: str) -> Iterator[Hub]:
    """A hub on a fake clock; the settings are keywords without their prefix."""
    environ = {f"BONGSU_{name.upper()}": value for name, value in variables.items()}
    configuration = load(
        {
            "BONGSU_DATA_DIR": str(data),
            "BONGSU_DEMO": "false",
            "BONGSU_ADDRESS_RATE_LIMIT_ENABLED": "false",
            **environ,
        }
    )
    with Hub.build(configuration, FakeClock(), FakeChance()) as built:
        yield built


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub in mock mode that keeps no answers, so that each call reaches the mock."""
    with opened_hub(tmp_path_factory.mktemp("data"), address_cache_enabled="false") as built:
        yield built


@pytest.fixture(scope="module")
def keeping_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub in mock mode that keeps answers."""
    with opened_hub(tmp_path_factory.mktemp("data")) as built:
        yield built


@pytest.fixture(scope="module")
def cut_off_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose one provider cannot be reached: each of its calls fails, and leaves two lines."""
    with opened_hub(
        tmp_path_factory.mktemp("data"),
        juso_api_key="a-made-up-key",
        juso_base_url=NOBODY_LISTENS,
        address_max_retries="0",
        address_circuit_breaker_enabled="false",
        address_cache_enabled="false",
    ) as built:
        yield built


@pytest.fixture(scope="module")
def call_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallLog]:
    """A call log in a database of its own."""
    database = Database.at(f"sqlite:///{tmp_path_factory.mktemp('log') / 'bongsu.db'}")
    schema.upgrade(database)
    yield CallLog(database)
    database.close()


@pytest.fixture(scope="module")
def one_clock() -> FakeClock:
    """A clock for all examples of a test: records of one millisecond might share an id."""
    return FakeClock()


@contextmanager
def closed_sockets() -> Iterator[list[str]]:
    """Close every way out of the process, and note who tries one."""
    tried: list[str] = []

    def closed(name: str) -> Callable[..., None]:
        def refuse(*_: object, **__: object) -> None:
            tried.append(name)
            raise ConnectionRefusedError(name)

        return refuse

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "sendmsg"):
            patch.setattr(socket.socket, name, closed(name))
        for name in ("getaddrinfo", "gethostbyname", "create_connection"):
            patch.setattr(socket, name, closed(name))
        yield tried


def failing_search(hub: Hub, keyword: str, user_id: str) -> None:
    """A call that fails."""
    with pytest.raises(CallError):
        hub.address.search_address(keyword, user_id=user_id)


def trace_of_each(hub: Hub, users: list[str]) -> list[str]:
    """The trace id of the one row of each of these users."""
    calls = hub.calls("1h").set_index("user_id")["trace_id"]
    return [str(calls.loc[user]) for user in users]


def outcome_of(bench: Bench, word: str) -> str:
    """Where the answer came from, or the name of the error."""
    try:
        return bench.call(word).source
    except CallError as error:
        return type(error).__name__


@pytest.mark.property(1)
@given(
    scripts=st.lists(outcomes, min_size=1, max_size=2),
    words=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    pauses=st.lists(st.floats(0, 200), min_size=12, max_size=12),
)
def test_each_call_leaves_exactly_one_record(
    scripts: list[list[Outcome]], words: list[str], pauses: list[float]
) -> None:
    """One record a call, in order, with what it needs: provider and endpoint if anything was sent, time, outcome."""
    bench = Bench(FakeClock())
    bench.providers(**{f"p{number}": list(script) for number, script in enumerate(scripts)})
    for number, (word, pause) in enumerate(zip(words, pauses, strict=False)):
        sent = sum(bench.sent(name) for name in bench.transports)
        ended = outcome_of(bench, word)

        assert len(bench.records) == number + 1
        record = bench.records[-1]
        sent = sum(bench.sent(name) for name in bench.transports) - sent
        assert len(record.attempts) == sent
        assert (record.exchange is not None) == (sent > 0)
        assert record.duration_ms >= 0
        assert ended in {record.source, record.error_type}
        if sent:
            assert record.provider in bench.transports
            assert record.exchange is not None
            assert record.exchange.url.startswith("https://")
        bench.clock.advance(pause)
    assert len({record.id for record in bench.records}) == len(words)


@pytest.mark.property(18)
@settings(max_examples=50)
@given(keyword=keywords)
def test_a_repeated_search_is_answered_from_the_cache(keeping_hub: Hub, keyword: str) -> None:
    """The first of an example always reaches the mock: what earlier examples left is too old even to stand in."""
    hub = keeping_hub
    cache = hub.address.policy.cache
    assert cache is not None
    assert isinstance(hub.clock, FakeClock)
    hub.clock.advance(cache.ttl_s + cache.stale_s)

    first = hub.address.search_address(keyword)
    second = hub.address.search_address(keyword)

    assert (first.source, second.source) == (Source.MOCK, Source.CACHE)
    assert second.value == first.value


@pytest.mark.property(43)
@settings(max_examples=50)
@given(keyword=keywords)
def test_with_mock_mode_on_nothing_leaves_the_process(hub: Hub, keyword: str) -> None:
    """Every way to a socket is closed, and the mock still answers, for calls and for health checks alike."""
    with closed_sockets() as tried:
        response = hub.address.search_address(keyword)
        assert response.source is Source.MOCK
        assert response.value.addresses
        assert all(check.attempt.status == 200 for check in hub.address.health_check())

    assert tried == []


def test_without_mock_mode_the_same_search_tries_a_socket(cut_off_hub: Hub) -> None:
    """Otherwise the test above would prove nothing."""
    with closed_sockets() as tried, suppress(CallError):
        cut_off_hub.address.search_address("세종대로 110")

    assert tried


@pytest.mark.property(46)
@settings(max_examples=25)
@given(keyword=keywords)
def test_each_mocked_call_says_so_in_its_row_and_its_line(hub: Hub, keyword: str) -> None:
    with log_lines() as lines:
        response = hub.address.search_address(keyword)
        calls = hub.calls("1h")

    assert response.source is Source.MOCK
    [row] = calls[calls["trace_id"] == response.trace_id].to_dict("records")
    assert (row["is_mock"], row["source"]) == (True, "mock")
    assert [line["is_mock"] for line in lines.all()] == [True]


def test_a_call_that_is_not_mocked_does_not_say_so(cut_off_hub: Hub) -> None:
    with log_lines() as lines:
        failing_search(cut_off_hub, "세종대로 110", "real")
        calls = cut_off_hub.calls("1h")

    assert not calls.iloc[0]["is_mock"]
    assert [line["is_mock"] for line in lines.all()] == [False, False]


@pytest.mark.property(47)
@pytest.mark.property(48)
@given(
    letter=proses,
    request_headers=headers,
    reply=proses,
    status=st.sampled_from([200, 201, 404, 503]),
    response_headers=headers,
)
def test_what_was_asked_and_answered_is_on_record(
    call_log: CallLog,
    one_clock: FakeClock,
    letter: str,
    request_headers: list[tuple[str, str]],
    reply: str,
    status: int,
    response_headers: list[tuple[str, str]],
) -> None:
    """Method, URL, headers and body of the request; status, headers and body of the answer; the key masked."""
    asked_with: Pairs = (("Authorization", "Bearer made-up-key"), *request_headers)
    one_clock.advance(1)
    bench = Bench(one_clock)
    bench.providers(alpha=[ApiResponse(status, tuple(response_headers), f"ok:{reply}".encode())])
    route = Route(LetterProvider("alpha", asked_with), bench.transports["alpha"], "words.alpha")
    operation = bench.operation()._replace(routes=(route,))
    wanted = bench.wanted()._replace(operation=operation, params={"letter": letter}, cache_key=None)

    with suppress(CallError):
        bench.client.call(wanted)
    [record] = bench.records
    call_log.append([record])

    [row] = [row for row in call_log.by_trace(record.trace_id) if row.id == record.id]
    said = call_log.bodies(row.id)
    assert said is not None
    assert (row.request_method, row.request_url) == ("POST", "https://alpha.example/look_up")
    assert said.request_headers == (("Authorization", MASK), *request_headers)
    assert said.request_body == letter
    assert row.response_status == status
    assert said.response_headers == tuple(response_headers)
    assert said.response_body == f"ok:{reply}"


@pytest.mark.property(50)
@settings(max_examples=25)
@given(traces=trace_ids)
def test_rows_and_lines_of_calls_in_threads_carry_the_trace_that_was_carried_there(
    cut_off_hub: Hub, traces: list[str]
) -> None:
    """Several threads at once, each with the trace of whoever started it."""
    hub = cut_off_hub
    users = [f"thread-{trace}" for trace in traces]
    with log_lines() as lines:
        with ThreadPoolExecutor(4) as pool:
            for number, (trace, user) in enumerate(zip(traces, users, strict=True)):
                with tracing(trace):
                    pool.submit(carried(failing_search), hub, f"세종대로 {number}", user)
        found = trace_of_each(hub, users)

    assert found == traces
    assert sorted(str(line["trace_id"]) for line in lines.all()) == sorted([*traces, *traces])


def test_a_thread_that_nothing_was_carried_to_has_a_trace_of_its_own(cut_off_hub: Hub) -> None:
    with tracing("0" * 32), log_lines() as lines, ThreadPoolExecutor(1) as pool:
        pool.submit(failing_search, cut_off_hub, "세종대로 110", "alone").result()
        [trace] = trace_of_each(cut_off_hub, ["alone"])

    assert trace != "0" * 32
    assert [line["trace_id"] for line in lines.all()] == [trace, trace]


@pytest.mark.property(50)
@settings(max_examples=25)
@given(traces=trace_ids)
def test_rows_and_lines_of_calls_in_tasks_carry_the_trace_of_their_task(
    cut_off_hub: Hub, traces: list[str]
) -> None:
    """Tasks that take turns between setting their trace and calling, each call in a thread of `asyncio.to_thread`."""
    hub = cut_off_hub
    users = [f"task-{trace}" for trace in traces]

    async def work(number: int, trace: str, user: str) -> None:
        with tracing(trace):
            await asyncio.sleep(0)
            await asyncio.to_thread(failing_search, hub, f"세종대로 {number}", user)

    async def together() -> None:
        await asyncio.gather(
            *(
                work(number, trace, user)
                for number, (trace, user) in enumerate(zip(traces, users, strict=True))
            )
        )

    with log_lines() as lines:
        asyncio.run(together())
        found = trace_of_each(hub, users)

    assert found == traces
    assert sorted(str(line["trace_id"]) for line in lines.all()) == sorted([*traces, *traces])


@pytest.mark.property(50)
@settings(max_examples=3)
@given(traces=trace_ids)
def test_rows_and_lines_of_another_process_carry_the_trace_that_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, traces: list[str]
) -> None:
    data = tmp_path_factory.mktemp("data")

    done = subprocess.run(
        [sys.executable, "-m", "tests.calling", str(data), *traces],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["trace_id"] for line in lines if line["event"] == "call.answered"] == traces
    with Hub.build(load({"BONGSU_DATA_DIR": str(data)})) as hub:
        calls = hub.calls("1h")
    assert list(calls["user_id"]) == [calling.USER] * len(traces)
    assert sorted(calls["trace_id"]) == sorted(traces)
