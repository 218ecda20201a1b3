"""What holds for every call, however it ends: one record, its trace, its exchange, and whether it was a mock."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.environment import load
from core.errors import CallError
from core.hub import Hub
from core.model.answer import Source
from core.model.identity import tracing
from tests.fakes import FakeChance, FakeClock
from tests.scripted import Bench, Outcome, answer, cut_off, outage

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


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub in mock mode on a fake clock."""
    data: Path = tmp_path_factory.mktemp("data")
    configuration = load(
        {
            "BONGSU_DATA_DIR": str(data),
            "BONGSU_DEMO": "false",
            "BONGSU_ADDRESS_RATE_LIMIT_ENABLED": "false",
        }
    )
    with Hub.build(configuration, FakeClock(), FakeChance()) as built:
        yield built


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
def test_a_repeated_search_is_answered_from_the_cache(hub: Hub, keyword: str) -> None:
    first = hub.address.search_address(keyword)
    second = hub.address.search_address(keyword)

    assert first.source in {Source.MOCK, Source.CACHE}
    assert second.source is Source.CACHE
    assert second.value == first.value


@pytest.mark.property(43)
@settings(max_examples=50)
@given(keyword=keywords)
def test_with_mock_mode_on_nothing_leaves_the_process(hub: Hub, keyword: str) -> None:
    """Every way to a socket is closed, and the mock still answers, for calls and for health checks alike."""

    def closed(*_: object, **__: object) -> None:
        pytest.fail("a mock opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", closed)
        patch.setattr(socket, "getaddrinfo", closed)

        assert hub.address.search_address(keyword).value.addresses
        assert hub.address.health_check()


@pytest.mark.property(46)
@settings(max_examples=25)
@given(keyword=keywords)
def test_each_mocked_call_says_so_in_its_row_and_its_line(hub: Hub, keyword: str) -> None:
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign,assignment]  # a handler that keeps what it is given
    logger = logging.getLogger("bongsu.integration.address")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        response = hub.address.search_address(keyword)
    finally:
        logger.removeHandler(handler)

    calls = hub.calls("1h")
    row = calls[calls["trace_id"] == response.trace_id].iloc[0]
    assert row["is_mock"]
    assert [vars(line)["is_mock"] for line in lines] == [True]


@pytest.mark.property(47)
@pytest.mark.property(48)
@settings(max_examples=25)
@given(keyword=keywords)
def test_what_was_asked_and_answered_is_on_record(hub: Hub, keyword: str) -> None:
    """Method, URL and headers of the request; status, headers and body of the answer."""
    with tracing(f"{abs(hash(keyword)):032x}"[-32:]) as trace_id:
        hub.address.search_address(keyword, page=2)
    hub.calls("1h")
    row = hub.call_log.by_trace(trace_id)[-1]
    said = hub.call_log.bodies(row.id)

    assert said is not None
    if row.source is Source.MOCK:
        assert (row.request_method, row.response_status) == ("GET", 200)
        assert row.request_url is not None
        assert "currentPage=2" in row.request_url
        assert said.response_headers
        assert said.response_body is not None
        assert '"errorCode":"0"' in said.response_body.replace(" ", "")
    else:
        assert row.source is Source.CACHE
        assert said.response_body is None


@pytest.mark.property(50)
@settings(max_examples=25)
@given(keyword=keywords, trace_id=st.from_regex(r"\A[0-9a-f]{32}\Z"))
def test_the_row_of_a_call_carries_the_trace_of_whoever_made_it(
    hub: Hub, keyword: str, trace_id: str
) -> None:
    with tracing(trace_id):
        response = hub.address.search_address(keyword)

    hub.calls("1h")
    assert response.trace_id == trace_id
    assert [row.trace_id for row in hub.call_log.by_trace(trace_id)][-1:] == [trace_id]
